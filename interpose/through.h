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

enum { MT_THROUGH_SITES = 256, MT_THROUGH_PAGE_BITS = 12 };

/* One page of code: all calls from it have one origin, because no two objects share a page. */
struct mt_through_site {
    _Atomic uintptr_t key; /* see mt_through_key(); 0 = empty */
    struct mt_origin_counts *counts;
};

/* Of one shard, for the threads that have it one after the other. */
struct mt_through {
    struct mt_shard *shard;
    uintptr_t scope_key; /* mt_site_scope_key() */
    int64_t batch_bytes; /* of the core */
    uint32_t epoch;      /* of the core, whose segment the counters lie in */
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

/* What another thread may set to 0 meanwhile; a plain load, so that it can be an operand of the comparison. */
static inline bool mt_through_is(const struct mt_through_site *site, uintptr_t key)
{
#ifdef __SANITIZE_THREAD__
    return atomic_load_explicit(&site->key, memory_order_relaxed) == key;
#else
    return *(const uintptr_t *)&site->key == key;
#endif
}

/* The page of a return address, with the scope in force in the upper bits. */
static inline uintptr_t mt_through_key(const struct mt_through *through, const void *caller)
{
    return ((uintptr_t)caller >> MT_THROUGH_PAGE_BITS) + through->scope_key;
}

static inline struct mt_through_site *mt_through_site(struct mt_through *through, uintptr_t key)
{
    uintptr_t offset = key % MT_THROUGH_SITES * sizeof(struct mt_through_site);
    return (struct mt_through_site *)(void *)((char *)through->sites + offset);
}

/* The site of a return address; NULL when that is not known. A site that is known has counters. */
static inline struct mt_through_site *mt_through_find(struct mt_through *through, const void *caller)
{
    uintptr_t key = mt_through_key(through, caller);
    struct mt_through_site *site = mt_through_site(through, key);
    return __builtin_expect(mt_through_is(site, key), 1) ? site : NULL;
}

/* Counts a block that was handed out to the code that a return address lies in. For every thread. */
void mt_through_count(size_t bytes, const void *caller) __attribute__((noinline));

#endif
