/*
 * What is known of a block in an arena's chunk, beside the chunk: for the two
 * files that serve such blocks. Whoever holds the block writes its mark; what a
 * free of a wrong pointer may meet is atomic.
 */
#ifndef MT_POOLS_MID_BLOCK_H
#define MT_POOLS_MID_BLOCK_H

#include "note.h"
#include "pools.h"

enum { MT_MID_GRANULE_SHIFT = 12, MT_MID_GRANULE = 1 << MT_MID_GRANULE_SHIFT };

/* Where a block starts: how large it is, its id in the engine, and what was noted of it. The note is 0 elsewhere.
 */
struct mt_mid_mark {
    _Atomic uint32_t shape; /* mt_mid_shape() */
    uint32_t id;
    _Atomic uint64_t note;
};

/* A block's granules, and those behind them that are its too, for it to grow into. */
enum { MT_MID_ROOM_SHIFT = 16 };
_Static_assert(MT_MID_MAX >> MT_MID_GRANULE_SHIFT < UINT16_MAX / 2, "a block and its room fit into their fields");

static inline uint32_t mt_mid_shape(size_t granules, size_t room)
{
    return (uint32_t)(granules | room << MT_MID_ROOM_SHIFT);
}

static inline void mt_mid_set_shape(struct mt_mid_mark *mark, size_t granules, size_t room)
{
    atomic_store_explicit(&mark->shape, mt_mid_shape(granules, room), memory_order_relaxed);
}

static inline uint32_t mt_mid_shape_of(const struct mt_mid_mark *mark)
{
    return atomic_load_explicit(&mark->shape, memory_order_relaxed);
}

static inline size_t mt_mid_granules(const struct mt_mid_mark *mark)
{
    return mt_mid_shape_of(mark) & ((1u << MT_MID_ROOM_SHIFT) - 1);
}

static inline size_t mt_mid_room(const struct mt_mid_mark *mark)
{
    return mt_mid_shape_of(mark) >> MT_MID_ROOM_SHIFT;
}

enum { MT_MID_UNIT_SHIFT = 6 }; /* 256 KiB are idle or busy as one */

struct mt_mid_chunk {
    _Alignas(MT_RECORD_ALIGN) char *base;
    size_t bytes, reserved_bytes; /* the part that is open, and all */
    struct mt_mid_arena *arena;
    struct mt_mid_mark *marks;
    _Atomic uint64_t *touched; /* one bit per granule: has been part of a freed block, so may hold old content */
    _Atomic uint64_t *busy; /* one bit per unit of granules: a block that lay there was freed since the last look */
    char *side;             /* where the marks and both maps lie */
    size_t side_bytes;
    struct mt_mid_chunk *next;
    uint32_t first_id; /* of the block at its base */
};
_Static_assert(sizeof(struct mt_mid_chunk) == MT_RECORD_ALIGN, "a chunk's record has the size of all records");

/*
 * Blocks of one size begin at even distances, often powers of two, so that their marks would share a few sets of
 * the processor's caches: they are spread within groups, which are pages.
 */
enum { MT_MID_MARK_GROUP_BITS = 8, MT_MID_MARK_GROUP = 1 << MT_MID_MARK_GROUP_BITS };

/* In bytes, which saves the fast path an instruction or two; way: of the granule's first byte behind the base. */
static inline struct mt_mid_mark *mt_mid_mark_behind(const struct mt_mid_chunk *chunk, size_t way)
{
    enum { SHIFT = MT_MID_GRANULE_SHIFT - 4, MASK = (MT_MID_MARK_GROUP - 1) * sizeof(struct mt_mid_mark) };
    _Static_assert(sizeof(struct mt_mid_mark) == 1 << 4, "a mark's size is what the shift says");
    size_t at = way >> SHIFT, spread = at >> MT_MID_MARK_GROUP_BITS & MASK;
    return (struct mt_mid_mark *)(void *)((char *)chunk->marks + (at ^ spread));
}

static inline struct mt_mid_mark *mt_mid_mark_at(const struct mt_mid_chunk *chunk, size_t granule)
{
    return mt_mid_mark_behind(chunk, granule << MT_MID_GRANULE_SHIFT);
}

static inline struct mt_mid_mark *mt_mid_mark_of(const struct mt_mid_chunk *chunk, const void *block)
{
    size_t way = (size_t)((const char *)block - chunk->base);
    return mt_mid_mark_behind(chunk, way & ~(size_t)(MT_MID_GRANULE - 1));
}

/* A block that has waited, all of whose bytes are usable now, is handed out. */
static inline void mt_mid_begin_again(struct mt_mid_mark *mark, size_t bytes, size_t requested, unsigned origin)
{
    mt_mid_set_shape(mark, bytes >> MT_MID_GRANULE_SHIFT, 0);
    mt_note_store(&mark->note, mt_note_make(requested, origin) | MT_NOTE_AGAIN);
}

#endif
