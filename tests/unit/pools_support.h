/*
 * The pools over a core of the test's own, and a heap for a thread of it. All
 * requests come from one place.
 */
#ifndef MT_POOLS_SUPPORT_H
#define MT_POOLS_SUPPORT_H

#include "core_support.h"
#include "pools.h"
#include "stats.h"

#include <check.h>

static const char caller;
#define mt_pools_allocate(bytes)                    mt_pools_allocate(bytes, &caller)
#define mt_pools_allocate_zeroed(bytes)             mt_pools_allocate_zeroed(bytes, &caller)
#define mt_pools_allocate_aligned(alignment, bytes) mt_pools_allocate_aligned(alignment, bytes, &caller)

static struct mt_core core;

static inline void attach(void)
{
    ck_assert(mt_pools_attach(mt_shard_claim(&core, mt_gettid(), "test"), 0));
}

static inline void detach(void)
{
    struct mt_shard *shard = mt_theap_self->shard;
    mt_pools_detach();
    mt_shard_retire(&core, shard);
}

static inline void set_up(void)
{
    set_up_core(&core);
    mt_pools_start(&core, NULL);
    mt_pools_publish(&core);
    attach();
}

static inline void tear_down(void)
{
    tear_down_core(&core);
}

static inline struct mt_shard_sum sum(void)
{
    struct mt_shard_sum result;
    mt_shards_sum(core.segment, &result);
    return result;
}

#endif
