/*
 * Who allocates while the next allocator serves: allocations and requested
 * bytes are counted by origin, exactly. What is live of each is not known
 * there, because a free does not say whose block it is.
 *
 * Called by the hooks on the thread that allocates, once for each block that
 * is counted. A thread finds its call sites in memory of its shard.
 */
#ifndef MT_THROUGH_H
#define MT_THROUGH_H

#include "shard.h"
#include "thread.h"

enum { MT_THROUGH_SITES = 256 };

struct mt_through_site {
    _Atomic uintptr_t key; /* return address and scope, as mt_site's; 0 = empty */
    struct mt_origin_counts *counts;
};

/* Of one shard, for the threads that have it one after the other. */
struct mt_through {
    uintptr_t scope_key;
    struct mt_origin_counts *last; /* what was counted last, in case the call fails */
    uint32_t epoch;                /* of the core, whose segment the counters lie in */
    uint32_t sites_epoch;
    char thread[MT_ORIGIN_THREAD_BYTES];
    struct mt_through_site sites[MT_THROUGH_SITES];
};

/* The thread has a shard now that is not shard 0, or none: NULL. Or its name or scope has changed. */
void mt_through_set_shard(struct mt_shard *shard);
void mt_through_changed(void);
/* An object was unloaded. */
void mt_through_forget_all(void);
/* The segment was replaced under the thread's feet: its counters are gone. */
void mt_through_forget_counters(void);

void mt_through_slow(size_t bytes, const void *caller) __attribute__((noinline, cold));
/* Takes the newest count of this thread back: the call failed. bytes as before. */
void mt_through_undo(size_t bytes) __attribute__((noinline, cold));

static inline void mt_through_count(size_t bytes, const void *caller)
{
    struct mt_through *through = mt_thread.through;
    uintptr_t key = (uintptr_t)caller + (through ? through->scope_key : 0);
    struct mt_through_site *site = through ? &through->sites[(uint8_t)key] : NULL;
    if (__builtin_expect(!site || atomic_load_explicit(&site->key, memory_order_relaxed) != key, 0)) {
        mt_through_slow(bytes, caller);
        return;
    }
    struct mt_origin_counts *counts = site->counts;
    through->last = counts;
    MT_ADD(counts->large_allocation_count, 1);
    MT_ADD(counts->large_requested_bytes, bytes);
}

#endif
