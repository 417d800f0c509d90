/*
 * What is known of a block in an arena's chunk, beside the chunk: for the two
 * files that serve such blocks. Whoever holds the block writes its mark; what a
 * free of a wrong pointer may meet is atomic.
 */
#ifndef MT_POOLS_MID_BLOCK_H
#define MT_POOLS_MID_BLOCK_H

#include "note.h"
#include "pools.h"

/* Blocks begin at steps and have whole ones. No range is smaller than a page, so that at most one block begins in
 * each page, and what is known of blocks and of memory is known by pages. */
enum {
    MT_MID_STEP_SHIFT = 6,
    MT_MID_STEP = 1 << MT_MID_STEP_SHIFT,
    MT_MID_PAGE_SHIFT = 12,
    MT_MID_PAGE = 1 << MT_MID_PAGE_SHIFT,
};

/* Of the page where a block begins: where there, how large the block is, its id in the engine, and what was noted
 * of it. The note is 0 where no live block begins. */
struct mt_mid_mark {
    _Atomic uint32_t shape; /* the way from the page to the block, and above MT_MID_PAGE_SHIFT its steps */
    _Atomic uint32_t range; /* the id, and above MT_MID_ID_BITS the pages behind the block that it may grow into */
    _Atomic uint64_t note;
};

enum {
    MT_MID_ID_BITS = 26,
    MT_MID_IDS = 1 << MT_MID_ID_BITS,
    MT_MID_MOST_ROOM = (1 << (32 - MT_MID_ID_BITS)) - 1,
};
_Static_assert(MT_MID_MAX >> MT_MID_STEP_SHIFT < 1 << (32 - MT_MID_PAGE_SHIFT), "a block's steps fit into a shape");

static inline uint32_t mt_mid_shape_of(const struct mt_mid_mark *mark)
{
    return atomic_load_explicit(&mark->shape, memory_order_relaxed);
}

/* Whether a block of that shape begins at an address. */
static inline bool mt_mid_is_begin(uint32_t shape, uintptr_t address)
{
    return ((shape ^ (uint32_t)address) & (MT_MID_PAGE - 1)) == 0;
}

static inline size_t mt_mid_shape_bytes(uint32_t shape)
{
    return (size_t)(shape >> MT_MID_PAGE_SHIFT) << MT_MID_STEP_SHIFT;
}

/* Says where its block begins, and how many bytes it has, a multiple of the step. */
static inline void mt_mid_set_shape(struct mt_mid_mark *mark, const void *block, size_t bytes)
{
    uint32_t place = (uint32_t)((uintptr_t)block & (MT_MID_PAGE - 1));
    atomic_store_explicit(&mark->shape, place | (uint32_t)(bytes >> MT_MID_STEP_SHIFT) << MT_MID_PAGE_SHIFT,
                          memory_order_relaxed);
}

static inline uint32_t mt_mid_id(const struct mt_mid_mark *mark)
{
    return atomic_load_explicit(&mark->range, memory_order_relaxed) & (MT_MID_IDS - 1);
}

static inline size_t mt_mid_room(const struct mt_mid_mark *mark)
{
    return atomic_load_explicit(&mark->range, memory_order_relaxed) >> MT_MID_ID_BITS;
}

static inline void mt_mid_set_range(struct mt_mid_mark *mark, uint32_t id, size_t room_pages)
{
    atomic_store_explicit(&mark->range, id | (uint32_t)room_pages << MT_MID_ID_BITS, memory_order_relaxed);
}

enum { MT_MID_UNIT_SHIFT = 6 }; /* 256 KiB are idle or busy as one */

struct mt_mid_chunk {
    _Alignas(MT_RECORD_ALIGN) char *base;
    size_t bytes, reserved_bytes; /* the part that is open, and all */
    struct mt_mid_arena *arena;
    struct mt_mid_mark *marks;
    _Atomic uint64_t *touched; /* one bit per page: some of it was part of a freed block, so may hold old content */
    _Atomic uint64_t *busy;    /* one bit per unit of pages: a block that lay there was freed since the last look */
    char *side;                /* where the marks and both maps lie */
    size_t side_bytes;
    struct mt_mid_chunk *next;
    uint32_t first_id; /* of the block at its base */
    size_t reached;    /* behind the base: nothing further up may have memory */
};
_Static_assert(sizeof(struct mt_mid_chunk) == MT_RECORD_ALIGN, "a chunk's record has the size of all records");

/*
 * Blocks of one size begin at even distances, often powers of two, so that their marks would share a few sets of
 * the processor's caches: they are spread within groups, which are pages.
 */
enum { MT_MID_MARK_GROUP_BITS = 8, MT_MID_MARK_GROUP = 1 << MT_MID_MARK_GROUP_BITS };

/* In bytes, which saves the fast path an instruction or two; way: from the chunk's base to any byte of the page. */
static inline struct mt_mid_mark *mt_mid_mark_behind(const struct mt_mid_chunk *chunk, size_t way)
{
    enum {
        SIZE = sizeof(struct mt_mid_mark),
        SHIFT = MT_MID_PAGE_SHIFT - 4,
        MASK = (MT_MID_MARK_GROUP - 1) * SIZE,
    };
    _Static_assert(SIZE == 1 << 4, "a mark's size is what the shift says");
    size_t at = way >> SHIFT, spread = at >> MT_MID_MARK_GROUP_BITS & MASK;
    return (struct mt_mid_mark *)(void *)((char *)chunk->marks + ((at ^ spread) & ~(size_t)(SIZE - 1)));
}

static inline struct mt_mid_mark *mt_mid_mark_of(const struct mt_mid_chunk *chunk, const void *block)
{
    return mt_mid_mark_behind(chunk, (size_t)((const char *)block - chunk->base));
}

/* A block that has waited, all of whose bytes are usable now, is handed out. */
static inline void mt_mid_begin_again(struct mt_mid_mark *mark, const void *block, size_t bytes, size_t requested,
                                      unsigned origin)
{
    mt_mid_set_shape(mark, block, bytes);
    mt_mid_set_range(mark, mt_mid_id(mark), 0);
    mt_note_store(&mark->note, mt_note_make(requested, origin) | MT_NOTE_AGAIN);
}

#endif
