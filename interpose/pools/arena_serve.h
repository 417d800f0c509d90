/*
 * The arena of a thread heap as the pools use it: blocks of the call sites
 * that are taken up, counted like all others, in a row of their site's own. A
 * heap's thread calls these with its heap; where NULL is allowed, any thread.
 */
#ifndef MT_POOLS_ARENA_SERVE_H
#define MT_POOLS_ARENA_SERVE_H

#include "arena.h"
#include "pools.h"

/* What a heap has once a site of its thread was taken up; never given back. */
struct mt_arena_heap {
    struct mt_arena arena;
    struct mt_origin_counts *counts[MT_ARENA_SITE_MAX]; /* NULL: not asked for yet */
    /* Of the sites that it has served: never a block, so that a request comes here, and what is to be known of each
     * class. Those above MT_ARENA_MAX have more bytes than any chunk. */
    struct mt_bin bins[MT_SLAB_CLASSES];
};

/* In fill_site(): makes a new site one of the arenas' if it is to be. */
void mt_arena_fill_site(struct mt_theap *heap, struct mt_site *site, const void *caller);

/* A block for a site that has an arena number; from slabs where the arena cannot. NULL when there is no memory. */
void *mt_arena_allocate(struct mt_theap *heap, const struct mt_site *site, size_t bytes);
void *mt_arena_allocate_slowly(struct mt_theap *heap, const struct mt_site *site, size_t bytes)
    __attribute__((noinline));
/* The pools' rarer duties after an allocation. Returns the block, or another one in its place. */
void *mt_arena_due(struct mt_theap *heap, void *block, size_t bytes) __attribute__((noinline, cold));

static inline void mt_arena_count(struct mt_origin_counts *counts, size_t class, size_t bytes)
{
    MT_ADD(counts->classes[class].allocation_count, 1);
    MT_ADD(counts->classes[class].requested_bytes, bytes);
}

/*
 * mt_arena_allocate() to be put where it is called from, so that each of its ends can be a tail call: DONE; DUE =
 * done, and mt_arena_due() is to be called; MISS = nothing was done, mt_arena_allocate_slowly() does it. A site
 * that has served has its counters at hand.
 */
static inline __attribute__((always_inline)) enum mt_pools_end mt_arena_bump(struct mt_theap *heap,
                                                                             const struct mt_site *site,
                                                                             const struct mt_bin *bin, size_t bytes,
                                                                             void **block)
{
    struct mt_origin_counts *counts = site->data;
    if (__builtin_expect(!counts, 0)) return MT_POOLS_MISS;
    uint64_t class_bytes = bin->bytes;
    size_t class = bin->class;
    if (!mt_arena_put(&heap->arenas->arena, class_bytes, site->cell + (uint32_t) class, block))
        return MT_POOLS_MISS;
    mt_arena_count(counts, class, bytes);
    return mt_pools_count_allocated(heap, bytes, class_bytes) ? MT_POOLS_DUE : MT_POOLS_DONE;
}

/* The bin of its site that a request of 0 to MT_SLAB_MAX bytes goes by. */
static inline const struct mt_bin *mt_arena_bin(const struct mt_theap *heap, const struct mt_site *site,
                                                size_t bytes)
{
    return &site->bins[mt_pools_class(heap, bytes)];
}

/* At a multiple of an alignment, a power of two that the class's size is a multiple of. NULL: ask the slabs. */
void *mt_arena_allocate_aligned(struct mt_theap *heap, const struct mt_site *site, size_t alignment, unsigned class,
                                size_t bytes);

/* Frees what lies at an address of an arena's chunk; nothing when no live block begins there. heap may be NULL.
 * True. */
bool mt_arena_free(struct mt_theap *heap, void *block);
/* What is due then, for a block that has just been freed. True. */
bool mt_arena_after_free(struct mt_theap *heap, void *block) __attribute__((noinline));

/* mt_arena_free() of a heap's own block, as mt_arena_bump() is: MISS leaves it to that function. */
static inline __attribute__((always_inline)) enum mt_pools_end mt_arena_free_fast(struct mt_theap *heap,
                                                                                  void *block)
{
    uint16_t cell = mt_arena_look(block);
    if (__builtin_expect(!cell || !mt_arena_is_of(heap->id, block), 0)) return MT_POOLS_MISS;
    struct mt_arena_heap *own = heap->arenas; /* who owns a chunk has them */
    struct mt_origin_counts *counts = own->counts[mt_arena_cell_site(cell)];
    if (__builtin_expect(!counts, 0)) return MT_POOLS_MISS;
    size_t class = mt_arena_cell_class(cell);
    uint64_t class_bytes = heap->bins[class].bytes;
    MT_ADD(counts->classes[class].free_count, 1);
    bool is_low = mt_pools_count_freed(heap, class_bytes);
    return mt_arena_take_back(&own->arena, block, class_bytes) || is_low ? MT_POOLS_DUE : MT_POOLS_DONE;
}

/* 0 when no live block begins there. */
size_t mt_arena_usable(const void *block);

/* Changes the size where the block lies, and counts one free and one allocation. NULL, with nothing done, when it
 * cannot. */
void *mt_arena_reallocate(struct mt_theap *heap, void *block, size_t bytes, bool may_stay);
/* Another block for the same site, for the content of this one. NULL: ask the slabs, for the block's origin. */
void *mt_arena_allocate_like(struct mt_theap *heap, const void *block, size_t bytes, unsigned *origin);

/* ---- life ----------------------------------------------------------------------------- */

void mt_arena_start(struct mt_core *core);
/* The heap counts in another shard from now on. */
void mt_arena_forget_counts(struct mt_theap *heap);
/* The thread ends. */
void mt_arena_leave_heap(struct mt_theap *heap);
/* Give empty chunks back, as mt_arena_trim() and mt_arena_tidy() do. */
void mt_arena_trim_heap(struct mt_theap *heap);
void mt_arena_tidy_heap(struct mt_theap *heap);

#endif
