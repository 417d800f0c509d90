/*
 * Arenas: bump allocation for blocks that die young. A thread heap hands out
 * one block behind the other from a chunk of one slice and counts the live
 * ones; a chunk whose last block is freed begins anew, so that a block may be
 * kept as long as the program likes and only holds its chunk.
 *
 * Who may call: the functions that take an arena, its thread alone;
 * mt_arena_give_remote(), any thread. Nothing here counts allocations or
 * knows what the program asked for; errno is untouched.
 */
#ifndef MT_POOLS_ARENA_H
#define MT_POOLS_ARENA_H

#include "core.h"
#include "pagemap.h"

enum {
    MT_ARENA_CELL_SHIFT = 5, /* every block begins at the start of a cell of 32 bytes */
    MT_ARENA_LEAST = 1 << MT_ARENA_CELL_SHIFT,
    MT_ARENA_HEAD = 4096, /* of a chunk: its record and its cells */
    MT_ARENA_MAX = 8192,  /* larger blocks are not the arenas' */
    /* A site is not learned by larger ones: few of them fill a chunk, and slabs serve them faster. */
    MT_ARENA_LEARN_MAX = 512,
};

/*
 * A chunk's record, at its start, where the cells of the head itself would
 * lie. live counts what the owner handed out and did not free; remote what
 * others freed. The chunk is empty when they are equal. A chunk whose owner
 * has left has owner 0 and counts its live blocks down in remote, from below
 * 0: who brings it to 0 gives the chunk back.
 */
struct mt_arena_chunk {
    struct mt_arena_chunk *next, *previous; /* in one of the owner's lists */
    struct mt_span_chunk *span;
    uint64_t turn, frame; /* of the arena and of the program when it was full */
    uint32_t live;
    uint32_t seen_live;    /* live blocks when it was full, or when it was accounted last */
    uint32_t pinned_bytes; /* what it is accounted for while it is pinned */
    uint8_t list;          /* enum mt_arena_list */
    uint8_t pinned_by;     /* the site that is accounted for it */
    _Alignas(64) _Atomic int32_t remote;
    _Atomic uint16_t owner;
};

enum mt_arena_list { MT_ARENA_CURRENT, MT_ARENA_FULL, MT_ARENA_PINNED, MT_ARENA_EMPTY, MT_ARENA_LISTS };

/* A thread heap's arena. Zero but for owner before the first block. */
struct mt_arena {
    char *at, *end; /* the room left in the current chunk; both NULL without one */
    struct mt_arena_chunk *current;
    uint16_t owner; /* the heap's id */
    uint32_t counts[MT_ARENA_LISTS];
    uint32_t idle_count; /* empty chunks that were never needed since the last look */
    uint64_t turn, look; /* chunks begun; and the turn at which idle ones are dropped next */
    uint64_t tidied;     /* the turn when it was last tidied */
    struct {
        struct mt_arena_chunk *first, *last;
    } lists[MT_ARENA_LISTS];
};

/* ---- cells: what begins where ------------------------------------------------- */

/*
 * A cell is 0 where no live block begins, else
 *   bits 0-7   the size class of the block
 *   bits 8-15  the site it was allocated at, which is not 0
 */
typedef _Atomic uint16_t mt_arena_cell;

static inline struct mt_arena_chunk *mt_arena_chunk_of(const void *block)
{
    return (struct mt_arena_chunk *)((uintptr_t)block & ~(uintptr_t)(MT_SLICE_BYTES - 1));
}

static inline mt_arena_cell *mt_arena_cell_of(const void *block)
{
    mt_arena_cell *cells = (mt_arena_cell *)(void *)mt_arena_chunk_of(block);
    return &cells[((uintptr_t)block & (MT_SLICE_BYTES - 1)) >> MT_ARENA_CELL_SHIFT];
}

static inline uint16_t mt_arena_cell_make(unsigned class, unsigned site)
{
    return (uint16_t)(class | site << 8);
}

static inline size_t mt_arena_cell_class(uint16_t cell)
{
    return cell & 255u;
}

static inline unsigned mt_arena_cell_site(uint16_t cell)
{
    return cell >> 8;
}

/* What lies at an address of a chunk: 0 when no live block begins there. */
static inline uint16_t mt_arena_look(const void *block)
{
    bool is_inside = (uintptr_t)block & (MT_ARENA_LEAST - 1);
    bool is_in_head = !((uintptr_t)block & (MT_SLICE_BYTES - MT_ARENA_HEAD));
    if (__builtin_expect(is_inside, 0) || __builtin_expect(is_in_head, 0)) return 0;
    return atomic_load_explicit(mt_arena_cell_of(block), memory_order_relaxed);
}

/* Bytes from a block of a size class to the next one. */
static inline uint64_t mt_arena_stride(uint64_t class_bytes)
{
    return (class_bytes + MT_ARENA_LEAST - 1) & ~(uint64_t)(MT_ARENA_LEAST - 1);
}

/* ---- blocks --------------------------------------------------------------------- */

/* Begins another chunk. False when there is no memory; what there was is unchanged then. */
bool mt_arena_turn(struct mt_arena *arena, uint64_t frame) __attribute__((noinline, cold));
/* The last block of a chunk was freed. */
void mt_arena_emptied(struct mt_arena *arena, struct mt_arena_chunk *chunk) __attribute__((noinline));
/* Frees a block of another owner's chunk, which the caller has looked at. */
void mt_arena_give_remote(void *block);

/* A block of a class's size, by its cell; false when the chunk has no room. */
static inline bool mt_arena_put(struct mt_arena *arena, uint64_t class_bytes, uint32_t cell, void **block)
{
    char *at = arena->at;
    uint64_t stride = mt_arena_stride(class_bytes);
    if (__builtin_expect((size_t)(arena->end - at) < stride, 0)) return false;
    arena->at = at + stride;
    mt_arena_chunk_of(at)->live++;
    atomic_store_explicit(mt_arena_cell_of(at), (uint16_t)cell, memory_order_relaxed);
    *block = at;
    return true;
}

/* The same; NULL when there is no room. */
static inline void *mt_arena_take(struct mt_arena *arena, unsigned class, uint32_t class_bytes, unsigned site)
{
    void *block;
    return mt_arena_put(arena, class_bytes, mt_arena_cell_make(class, site), &block) ? block : NULL;
}

static inline bool mt_arena_is_of(unsigned owner, const void *block)
{
    return atomic_load_explicit(&mt_arena_chunk_of(block)->owner, memory_order_relaxed) == owner;
}

static inline bool mt_arena_owns(const struct mt_arena *arena, const void *block)
{
    return mt_arena_is_of(arena->owner, block);
}

/* No block of it lives. Asked by its owner. */
static inline bool mt_arena_is_empty(const struct mt_arena_chunk *chunk)
{
    /* Acquire pairs with the release in mt_arena_give_remote(): others are done with what they freed. */
    return chunk->live == (uint32_t)atomic_load_explicit(&chunk->remote, memory_order_acquire);
}

/* Frees a block of the arena's own. True when that was the chunk's last one and mt_arena_emptied() is to be called.
 */
static inline bool mt_arena_take_back(struct mt_arena *arena, void *block, uint64_t class_bytes)
{
    struct mt_arena_chunk *chunk = mt_arena_chunk_of(block);
    atomic_store_explicit(mt_arena_cell_of(block), 0, memory_order_relaxed);
    if ((char *)block + mt_arena_stride(class_bytes) == arena->at) arena->at = block;
    chunk->live--;
    return __builtin_expect(mt_arena_is_empty(chunk), 0);
}

static inline void mt_arena_give(struct mt_arena *arena, void *block, uint32_t class_bytes)
{
    if (mt_arena_take_back(arena, block, class_bytes)) mt_arena_emptied(arena, mt_arena_chunk_of(block));
}

/* The same as mt_arena_take() at a multiple of an alignment (a power of two up to MT_ARENA_MAX). */
void *mt_arena_take_aligned(struct mt_arena *arena, size_t alignment, unsigned class, uint32_t class_bytes,
                            unsigned site);
/* Gives the newest block of the arena another size, where it lies. False when it is not that or has no room. */
bool mt_arena_resize(struct mt_arena *arena, void *block, uint32_t class_bytes, unsigned new_class,
                     uint32_t new_class_bytes);

/* ---- giving back ------------------------------------------------------------------- */

/* Gives empty chunks back to the spans: all, or all of an arena that has begun none since it was last asked. */
void mt_arena_trim(struct mt_arena *arena);
void mt_arena_tidy(struct mt_arena *arena);
/* The thread ends: chunks with live blocks are left to whoever frees the last one. */
void mt_arena_leave(struct mt_arena *arena);

/*
 * In a fork's child: whose thread a chunk was, 0 = nobody's; and leaves one
 * whose thread vanished to whoever frees its last block. What that thread was
 * doing leaves the chunk's count of live blocks right or one too high. Chunks
 * without any are given back by mt_arena_drop_orphans(). One thread at a time.
 */
unsigned mt_arena_owner(const void *chunk);
void mt_arena_orphan(void *chunk);
void mt_arena_drop_orphans(void);

#endif
