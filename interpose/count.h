/*
 * Counting on the hot path: one load of what the thread counts by, one branch,
 * and the stores of shard.h and through.h. Included by the hooks.
 */
#ifndef MT_COUNT_H
#define MT_COUNT_H

#include "export.h"
#include "init.h"
#include "next.h"
#include "thread.h"
#include "through.h"
#include "trace.h"

/* What is rarely due after an allocation by a thread with a shard: its change goes to the shared total, the block
 * gets its stack. Returns the block. */
void *mt_count_due(void *block, size_t requested_bytes);
/* Counts a block that the next allocator has just handed out to a caller, whatever it is; returns it. */
void *mt_count_beside(void *block, size_t requested_bytes, const void *caller);

/* Counts a block that the next allocator has just handed out, but for its call site. */
static inline void mt_count_allocated(void *block, size_t requested_bytes)
{
    struct mt_shard *shard = mt_thread.shard;
    size_t usable_bytes = mt_next_usable(block);
    if (MT_UNLIKELY(!shard)) {
        mt_thread_allocated_slow(requested_bytes, usable_bytes);
        if (mt_thread.state == MT_THREAD_SHARED) mt_trace_allocated(NULL, block, requested_bytes, usable_bytes);
        return;
    }
    bool is_flush_due = mt_shard_count_allocated(&mt_core, shard, requested_bytes, usable_bytes);
    if (is_flush_due || mt_shard_is_sample_due(shard)) mt_count_due(block, requested_bytes);
}

/* Counts a free of so many usable bytes. */
static inline void mt_count_freed_bytes(size_t usable_bytes)
{
    struct mt_shard *shard = mt_thread.shard;
    if (MT_LIKELY(shard != NULL))
        mt_shard_freed(&mt_core, shard, usable_bytes);
    else
        mt_thread_freed_slow(usable_bytes);
}

/* Counts a free of a block; called before the block goes back. */
static inline void mt_count_freed(void *block, size_t usable_bytes)
{
    mt_count_freed_bytes(usable_bytes);
    if (mt_live_may_hold(block)) mt_trace_freed(mt_thread.shard, block, usable_bytes);
}

/* The rare end of a free: the thread's change goes to the shared total. */
void mt_count_flush_and_free(void *block);

/*
 * The fast path of an allocation, after the call of the next allocator, where glibc serves. The block is not NULL.
 * Returns it. Nothing is counted before the call, so that nothing must be taken back when it fails; all that is
 * rare is the last call here, so that nothing must be kept across it.
 */
static inline void *mt_count_through(struct mt_through *through, void *block, size_t requested_bytes,
                                     const void *caller)
{
    size_t chunk = mt_next_chunk(block);
    const struct mt_through_site *site = mt_through_find(through, caller);
    if (MT_UNLIKELY(!site) || MT_UNLIKELY(chunk > MT_NEXT_SMALL))
        return mt_count_beside(block, requested_bytes, caller);
    struct mt_origin_counts *counts = site->counts;
    MT_ADD(counts->large_allocation_count, 1);
    MT_ADD(counts->large_requested_bytes, requested_bytes);
    bool is_due = mt_shard_step_allocated(through->shard, requested_bytes, chunk, &through->batch_bytes);
    return is_due ? mt_count_due(block, requested_bytes) : block;
}

/* The same for mt_thread.sampled; here the shard's own sums tell the sampler what lies between two calls. */
static inline void *mt_count_sampled(struct mt_through *through, void *block, size_t requested_bytes,
                                     const void *caller)
{
    size_t header = mt_next_header(block);
    const struct mt_through_site *site = mt_through_find(through, caller);
    if (MT_UNLIKELY(!site || mt_next_is_mapped_alone(header)))
        return mt_count_beside(block, requested_bytes, caller);
    struct mt_origin_counts *counts = site->counts;
    struct mt_shard *shard = through->shard;
    MT_ADD(counts->large_allocation_count, 1);
    MT_ADD(counts->large_requested_bytes, requested_bytes);
    bool is_due = mt_shard_count_allocated(&mt_core, shard, requested_bytes, mt_next_usable_of(header));
    return is_due || mt_shard_is_sample_due(shard) ? mt_count_due(block, requested_bytes) : block;
}

/* Counts and frees a block of the next allocator's; false, and nothing done, where it is not small, or NULL. */
static inline bool mt_count_free_small(struct mt_through *through, void *block)
{
    if (MT_UNLIKELY(!block)) return false;
    size_t chunk = mt_next_chunk(block);
    if (MT_UNLIKELY(chunk > MT_NEXT_SMALL)) return false;
    if (mt_shard_step_freed(through->shard, chunk))
        mt_count_flush_and_free(block);
    else
        mt_next_free(block);
    return true;
}

/* The same for mt_thread.sampled, which may be NULL, and any size: a block with a call stack takes the slow path.
 */
static inline bool mt_count_free_sampled(struct mt_through *through, void *block)
{
    if (!through || !block || mt_live_may_hold(block)) return false;
    size_t header = mt_next_header(block);
    if (MT_UNLIKELY(mt_next_is_mapped_alone(header))) return false;
    if (mt_shard_count_freed(through->shard, mt_next_usable_of(header)))
        mt_count_flush_and_free(block);
    else
        mt_next_free(block);
    return true;
}

/* True when the next allocator may be called; false: the bootstrap pool serves. */
static inline bool mt_count_enter(void)
{
    return MT_LIKELY(mt_thread.shard != NULL) || mt_thread_enter();
}

#endif
