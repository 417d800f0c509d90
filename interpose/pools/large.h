/*
 * The short way of blocks above 32 KiB, and where it ends in the pools' slow
 * paths. The heap is the calling thread's.
 *
 * A large block alone is as much as a thread holds back of its change before
 * it hands it to the process's total (see shard.h), so that the free of one
 * and the next allocation would each do that, the second one to take back what
 * the first one did. In a process of one thread, where nobody could tell the
 * difference, the free owes it until the next large allocation: one of the same
 * size and origin settles it by doing nothing. Every other free pays at once.
 */
#ifndef MT_POOLS_LARGE_H
#define MT_POOLS_LARGE_H

#include "account.h"
#include "alone.h"

extern struct mt_pools_client mt_pools_clients __attribute__((visibility("hidden")));

void *mt_pools_allocate_large_slow(struct mt_theap *heap, unsigned origin, size_t bytes) __attribute__((noinline));
bool mt_pools_free_large_slow(struct mt_theap *heap, void *block) __attribute__((noinline));
/* What is seldom due after an allocation; returns the block. And where it gets a call stack. */
void *mt_pools_large_due(struct mt_theap *heap, void *block, size_t bytes, size_t usable) __attribute__((noinline));
void *mt_pools_large_sampled(struct mt_theap *heap, void *block, size_t bytes, size_t usable)
    __attribute__((noinline));

/* The counters of an origin, where they are at hand. */
static inline struct mt_origin_counts *mt_large_counts(const struct mt_theap *heap, unsigned origin)
{
    struct mt_origin_counts *counts = heap->counts[origin % MT_ORIGIN_CACHED];
    return __builtin_expect(counts && counts->origin == origin, 1) ? counts : NULL;
}

/* From the next block on as if nothing was known. */
static inline void mt_large_sampler_begin(struct mt_large_sampler *sampler, uint64_t from_bytes)
{
    *sampler = (struct mt_large_sampler){.from_bytes = from_bytes};
}

/*
 * Before a block of at least from_bytes is counted: true when it gets a call stack. Any redraw of the blocks that
 * are left is without bias, because whether a block gets one depends on no other.
 */
static inline bool mt_large_counts_off(struct mt_theap *heap, size_t bytes)
{
    struct mt_large_sampler *sampler = &heap->near.sampler;
    MT_ADD(heap->shard->sample_countdown_bytes, bytes);
    return __builtin_expect(sampler->left-- == 0, 0);
}

/* A flush is due after the free of a large block. True when it can be owed. */
static inline bool mt_large_owe(struct mt_theap *heap, unsigned origin, size_t usable)
{
    struct mt_mid_near *near = &heap->near;
    if (near->owed_bytes || !mt_is_alone() || !heap->batch_bytes) return false;
    near->owed_bytes = usable;
    near->owed_origin = origin;
    return true;
}

/* A large block was allocated and counted. False when what is owed has to be flushed, or was. */
static inline bool mt_large_settle(struct mt_theap *heap, unsigned origin, size_t usable)
{
    struct mt_mid_near *near = &heap->near;
    if (__builtin_expect(!near->owed_bytes, 0)) return true;
    if (near->owed_bytes != usable || near->owed_origin != origin) return false;
    near->owed_bytes = 0;
    return true;
}

static inline void mt_large_flush(struct mt_theap *heap)
{
    heap->near.owed_bytes = 0;
    mt_account_flush(heap);
}

#endif
