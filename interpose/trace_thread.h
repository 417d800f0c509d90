/*
 * What a thread keeps for call stacks, and how it becomes ready to record:
 * shared by trace.c (sampled) and trace_all.c (every block), nobody else.
 * Written by its thread alone, with the busy mark set.
 */
#ifndef MT_TRACE_THREAD_H
#define MT_TRACE_THREAD_H

#include "init.h"
#include "live.h"
#include "thread.h"
#include "trace.h"

struct mt_trace_thread {
    struct mt_walker *walker;
    uint32_t ready_epoch; /* mode all: the core's epoch + 1 that this thread may record in at once, 0 = none */
    bool has_no_walker;
    uintptr_t last_block; /* the newest recorded block, inverted: no pointer to it; and the thread's allocations
                             when it was made */
    uint64_t last_count;
    uint64_t random_state;
    uint64_t asked_bytes, mark; /* of the sampler, where it has no shard of its own */
    uint64_t rate_bytes;        /* that the mark of the sample in progress was drawn with */
    struct mt_trace_pace pace;
    char name[28];       /* that walker->thread stands for */
    uint32_t name_epoch; /* the core's epoch + 1 that it was given its number in */
};

extern _Thread_local struct mt_trace_thread mt_trace_thread
    __attribute__((tls_model("initial-exec"), visibility("hidden")));

extern _Atomic uint32_t mt_trace_live_epoch __attribute__((visibility("hidden")));

/* True when the store of live blocks, the table of stacks and the thread's walker are there; makes them. */
bool mt_trace_prepare(struct mt_trace_thread *thread);
/* True when blocks that this process recorded may be in the store: those of a parent are not in this segment. */
static inline bool mt_trace_is_usable(void)
{
    /* Acquire pairs with the release of whoever started the store. */
    return mt_core_is_on(&mt_core) && atomic_load_explicit(&mt_trace_live_epoch, memory_order_acquire) ==
                                          atomic_load_explicit(&mt_core.epoch, memory_order_relaxed) + 1;
}

void mt_trace_lose(enum mt_attribution_dropped what);
/* Follows the thread's name where stacks are told apart by it. */
void mt_trace_name_thread(struct mt_trace_thread *thread, const struct mt_shard *shard);
/* A peak that lies behind was reached by what is recorded already. */
void mt_trace_note_peak_behind(const struct mt_shard *shard);

/* The part of a shard that counts lifetimes; made on first use. NULL when there is no memory. */
struct mt_shard_attribution *mt_trace_counters_slow(struct mt_shard *shard);
static inline struct mt_shard_attribution *mt_trace_counters(struct mt_shard *shard)
{
    uint64_t offset = atomic_load_explicit(&shard->attribution, memory_order_relaxed);
    if (__builtin_expect(!offset, 0)) return mt_trace_counters_slow(shard);
    return (struct mt_shard_attribution *)(void *)((char *)mt_core.segment + offset);
}
/* Counts how long a block lived: `time` in steps of 4 ms, count in 1/MT_SCALE. */
void mt_trace_add_lifetime(struct mt_shard *shard, uint64_t time, uint64_t frames, uint64_t count);

/* The newest recorded block of a thread, for blocks that are freed before it allocates again. */
static inline void mt_trace_remember_last(struct mt_trace_thread *thread, const struct mt_shard *shard,
                                          const void *block)
{
    if (!shard) return;
    thread->last_block = ~(uintptr_t)block;
    thread->last_count = atomic_load_explicit(&shard->allocation_count, memory_order_relaxed);
}
static inline bool mt_trace_is_last(const struct mt_trace_thread *thread, const struct mt_shard *shard,
                                    const void *block)
{
    return shard && thread->last_block == ~(uintptr_t)block &&
           thread->last_count == atomic_load_explicit(&shard->allocation_count, memory_order_relaxed);
}

/* Set by the linker: where this library begins and ends. */
extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char _end[] __attribute__((visibility("hidden")));

#endif
