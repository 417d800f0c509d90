/*
 * Counting on the hot path: one load of the thread's shard, one branch, and
 * the stores of shard.h. Included by the hooks.
 */
#ifndef MT_COUNT_H
#define MT_COUNT_H

#include "export.h"
#include "init.h"
#include "next.h"
#include "thread.h"
#include "trace.h"

/* What is rarely due after an allocation: the thread's change goes to the shared total, the block gets its stack.
 */
void mt_count_due(struct mt_shard *shard, void *block, size_t usable_bytes);

/* Counts a block that the next allocator has just handed out. */
static inline void mt_count_allocated(void *block, size_t requested_bytes)
{
    struct mt_shard *shard = mt_thread.shard;
    size_t usable_bytes = mt_next_usable(block);
    if (MT_UNLIKELY(!shard)) {
        mt_thread_allocated_slow(requested_bytes, usable_bytes);
        if (mt_thread.state == MT_THREAD_SHARED) mt_trace_allocated(NULL, block, requested_bytes, usable_bytes);
        return;
    }
    mt_shard_will_allocate(shard, requested_bytes);
    if (mt_shard_did_allocate(&mt_core, shard, usable_bytes)) mt_count_due(shard, block, usable_bytes);
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

/* The rare ends of a free and of an allocation: the thread's change goes to the shared total. */
void mt_count_flush_and_free(void *block);
void *mt_count_due_and_return(void *block);
/* The second half of an allocation whose block is mapped alone. */
void *mt_count_mapped_alone(void *block);

/*
 * The second half of the fast path of an allocation, after mt_shard_will_allocate()
 * and the call. A block mapped alone is rare and large. The block is not NULL.
 */
static inline void *mt_count_did_allocate(struct mt_shard *shard, void *block)
{
    size_t header = mt_next_header(block);
    if (MT_UNLIKELY(mt_next_is_mapped_alone(header))) return mt_count_mapped_alone(block);
    if (mt_shard_did_allocate_unsampled(&mt_core, shard, mt_next_usable_of(header)))
        return mt_count_due_and_return(block);
    return block;
}

/* The same for mt_thread.sampled. */
static inline void *mt_count_did_allocate_sampled(struct mt_shard *shard, void *block)
{
    size_t header = mt_next_header(block);
    if (MT_UNLIKELY(mt_next_is_mapped_alone(header))) return mt_count_mapped_alone(block);
    if (mt_shard_did_allocate(&mt_core, shard, mt_next_usable_of(header))) return mt_count_due_and_return(block);
    return block;
}

/* Counts and frees a block whose size stands in its header; false, and nothing done, where that is not so. */
static inline bool mt_count_free_by_header(struct mt_shard *shard, void *block)
{
    if (MT_UNLIKELY(!block || mt_next_is_mapped_alone(mt_next_header(block)))) return false;
    if (mt_shard_count_freed(shard, mt_next_usable_of(mt_next_header(block))))
        mt_count_flush_and_free(block);
    else
        mt_next_free(block);
    return true;
}

/* The same for mt_thread.sampled, which may be NULL: a block with a call stack takes the slow path. */
static inline bool mt_count_free_sampled(struct mt_shard *shard, void *block)
{
    return shard && !mt_live_may_hold(block) && mt_count_free_by_header(shard, block);
}

/* True when the next allocator may be called; false: the bootstrap pool serves. */
static inline bool mt_count_enter(void)
{
    return MT_LIKELY(mt_thread.shard != NULL) || mt_thread_enter();
}

#endif
