/*
 * Blocks above 32 KiB that come from what waits near their thread, or go
 * there, in few instructions: no lock, no atomic operation. The inline
 * functions are for the hooks, which end in a tail call; everything else is
 * the slow paths'. The heap is the calling thread's.
 *
 * A large block alone is as much as a thread holds back of its change before
 * it hands it to the process's total (see shard.h), so that the free of one
 * and the next allocation would each do that, the second one to take back what
 * the first one did. In a process of one thread, where nobody could tell the
 * difference, the free owes it until the next large allocation: one by the same
 * origin pays what the two changed together, which is nothing where the sizes
 * are the same. Every other free pays at once.
 */
#ifndef MT_POOLS_LARGE_H
#define MT_POOLS_LARGE_H

#include "account.h"
#include "alone.h"
#include "huge.h"
#include "mid_block.h"
#include "mid_cache.h"

extern struct mt_pools_client mt_pools_clients __attribute__((visibility("hidden")));

/* NULL when there is no memory; false when the block is not the pools'. */
void *mt_pools_allocate_large_slow(struct mt_theap *heap, unsigned origin, size_t bytes) __attribute__((noinline));
bool mt_pools_free_large_slow(struct mt_theap *heap, void *block) __attribute__((noinline));
/* What is seldom due after an allocation, a call stack for one (is_counted_off: its sampler has come to it);
 * returns the block. And after a free. */
void *mt_pools_large_due(struct mt_theap *heap, void *block, size_t bytes, size_t usable, bool is_counted_off)
    __attribute__((noinline));
void mt_pools_large_freed(struct mt_theap *heap, bool is_flush_due) __attribute__((noinline));

/* ---- call stacks ---------------------------------------------------------------------- */

/* From the next block on as if nothing was known. */
static inline void mt_large_sampler_begin(struct mt_large_sampler *sampler, uint64_t from_bytes)
{
    *sampler = (struct mt_large_sampler){.from_bytes = from_bytes};
}

/*
 * Before a block is counted: true when it gets a call stack by the sampler. Any redraw of the blocks that are left
 * is without bias, because whether a block gets one depends on no other.
 */
static inline bool mt_large_counts_off(struct mt_theap *heap, size_t bytes)
{
    struct mt_large_sampler *sampler = &heap->near.sampler;
    if (bytes < sampler->from_bytes) return false;
    MT_ADD(heap->shard->sample_countdown_bytes, bytes);
    return sampler->left-- == 0;
}

/* ---- flushes that are owed ------------------------------------------------------------------ */

/* Says whose free it was: sizes are multiples of 4 KiB, and there are fewer origins. 0: nothing is owed. */
static inline uint64_t mt_large_owed(unsigned origin, size_t usable)
{
    _Static_assert((int)MT_ORIGIN_MAX <= (int)MT_MID_GRANULE, "an origin fits below a size");
    return usable + origin;
}

/* A flush is due after the free of a large block. True when it can be owed. */
static inline bool mt_large_owe(struct mt_theap *heap, unsigned origin, size_t usable)
{
    if (heap->near.owed || !mt_is_alone() || !heap->batch_bytes) return false;
    heap->near.owed = mt_large_owed(origin, usable);
    return true;
}

/* A large block was allocated and counted. False when what is owed has to be flushed. */
static inline bool mt_large_settle(struct mt_theap *heap, unsigned origin, size_t usable)
{
    uint64_t owed = heap->near.owed;
    if (__builtin_expect(owed != mt_large_owed(origin, usable), 0)) return !owed;
    heap->near.owed = 0;
    return true;
}

/* What is owed is paid after an allocation by an origin, which was counted. */
void mt_large_pay(struct mt_theap *heap, unsigned origin);

static inline void mt_large_flush(struct mt_theap *heap)
{
    heap->near.owed = 0;
    mt_account_flush(heap);
}

/* ---- the short ways --------------------------------------------------------------------------- */

/* The counters of an origin, where they are at hand. */
static inline struct mt_origin_counts *mt_large_counts(const struct mt_theap *heap, unsigned origin)
{
    struct mt_origin_counts *counts = heap->counts[origin % MT_ORIGIN_CACHED];
    return __builtin_expect(counts && counts->origin == origin, 1) ? counts : NULL;
}

struct mt_large_taken {
    void *block;
    size_t usable;
    bool is_counted_off;
};

/* MISS: nothing was done, mt_pools_allocate_large_slow() does it; DUE: mt_pools_large_due() is to be called. */
static inline __attribute__((always_inline)) enum mt_pools_end
mt_large_take(struct mt_theap *heap, unsigned origin, size_t bytes, struct mt_large_taken *taken)
{
    struct mt_mid_near *near = &heap->near;
    if (near->count <= near->idle_count) return MT_POOLS_MISS;
    const struct mt_mid_cached *newest = &near->blocks[near->count - 1];
    struct mt_origin_counts *counts = mt_large_counts(heap, origin);
    if (!mt_mid_cache_fits(newest->bytes, bytes) || !counts) return MT_POOLS_MISS;
    size_t usable = newest->bytes;
    taken->block = newest->block;
    taken->usable = usable;
    if (__builtin_expect(newest->mark != NULL, 1))
        mt_mid_begin_again(newest->mark, usable, bytes, origin);
    else
        mt_huge_begin_again(newest->huge, usable, bytes, origin);
    uint64_t class_at = newest->class_at;
    near->count--;
    near->bytes -= usable;
    taken->is_counted_off = mt_large_counts_off(heap, bytes);
    bool is_due = mt_account_large_allocated_in(heap, counts, class_at, bytes, usable);
    bool is_settled = mt_large_settle(heap, origin, usable);
    return __builtin_expect(is_due || !is_settled || taken->is_counted_off, 0) ? MT_POOLS_DUE : MT_POOLS_DONE;
}

/* What stands beside a block that is being freed; false where that is the slow path's. */
struct mt_large_note {
    size_t usable, requested;
    unsigned origin;
};
static inline bool mt_large_read_mid(const struct mt_mid_mark *mark, const void *block, struct mt_large_note *note)
{
    size_t granules = atomic_load_explicit(&mark->granules, memory_order_relaxed);
    note->usable = granules << MT_MID_GRANULE_SHIFT;
    note->requested = mark->requested;
    note->origin = mark->origin;
    return (uintptr_t)block % MT_MID_GRANULE == 0 && granules && !mark->is_sampled && !mark->room;
}
static inline bool mt_large_read_huge(const struct mt_huge *huge, const void *block, struct mt_large_note *note)
{
    note->usable = atomic_load_explicit(&huge->bytes, memory_order_relaxed);
    note->requested = huge->requested;
    note->origin = huge->origin;
    return huge->base == block && note->usable && !huge->is_sampled;
}

/* MISS: nothing was done, mt_pools_free_large_slow() does it; DUE: mt_pools_large_freed() is to be called. */
static inline __attribute__((always_inline)) enum mt_pools_end mt_large_give(struct mt_theap *heap, void *block,
                                                                             uint64_t entry, bool *is_flush_due)
{
    struct mt_large_note note;
    struct mt_mid_mark *mark = NULL;
    struct mt_huge *huge = NULL;
    if (mt_entry_bin(entry) == MT_ENTRY_MID) {
        mark = mt_mid_mark_of(mt_entry_record(entry), block);
        if (!mt_large_read_mid(mark, block, &note)) return MT_POOLS_MISS;
    } else {
        huge = mt_entry_record(entry);
        if (!mt_large_read_huge(huge, block, &note)) return MT_POOLS_MISS;
    }
    struct mt_origin_counts *counts = mt_large_counts(heap, note.origin);
    struct mt_mid_cached freed = {block, note.usable, mark, huge, mt_account_class_at(note.usable)};
    if (!counts || !mt_mid_near_put(&heap->near, freed)) return MT_POOLS_MISS;
    if (mark)
        atomic_store_explicit(&mark->granules, 0, memory_order_relaxed);
    else
        atomic_store_explicit(&huge->bytes, 0, memory_order_relaxed);
    bool is_low = mt_account_large_freed_in(heap, counts, freed.class_at, note.requested, note.usable);
    *is_flush_due = is_low && !mt_large_owe(heap, note.origin, note.usable);
    bool is_look_due = ++heap->near.free_count % MT_MID_FREES_PER_LOOK == 0;
    return *is_flush_due || is_look_due ? MT_POOLS_DUE : MT_POOLS_DONE;
}

#endif
