/*
 * Decides whether the pools serve the program's allocations, and starts them.
 * Runs on the slow path of the first allocation, in a fork's child again for
 * its segment. Allocates nothing.
 */
#include "pooled.h"

#include "caller.h"
#include "export.h"
#include "init.h"
#include "next.h"
#include "record.h"
#include "pools/stats.h"
#include "thread.h"
#include "trace.h"

#include <string.h>

enum { POOLS_AUTO, POOLS_ON, POOLS_OFF }; /* the choices of MEMTRACK_POOLS */

_Atomic bool mt_pooled_is_on;

static _Atomic bool is_decided;
static _Atomic uint32_t told_epoch; /* the core's epoch + 1 whose segment was told */

static void thread_start(void)
{
    mt_thread_enter();
}

static void sample_freed(struct mt_shard *shard, const void *block, uint64_t usable_bytes)
{
    if (mt_live_may_hold(block)) mt_trace_freed(shard, block, usable_bytes);
}

static const struct mt_pools_client client = {.thread_start = thread_start,
                                              .sampled = mt_trace_allocated,
                                              .sample_freed = sample_freed,
                                              .large_sampled = mt_trace_large_allocated,
                                              .sample_is_near = mt_trace_is_near,
                                              .origin = mt_caller_origin};

/* Where every block is recorded the hooks do that themselves. */
static const struct mt_pools_client recording_client = {.thread_start = thread_start, .origin = mt_caller_origin};

static bool next_is_libc(void)
{
    const char *slash = strrchr(mt_next.path, '/');
    return mt_next.is_glibc && !strncmp(slash ? slash + 1 : mt_next.path, "libc", 4);
}

/* NULL when nothing speaks against the pools, else what does. */
static const char *objection(void)
{
    uint64_t choice = mt_core.options.number[MT_OPT_POOLS];
    if (choice == POOLS_OFF) return "MEMTRACK_POOLS=off";
    if (choice == POOLS_ON) return NULL;
    if (mt_next.is_replaceable) return NULL;
    if (mt_next.foreign[0]) return "the program brings an allocator of its own";
    return next_is_libc() ? NULL : "another allocator than libc's serves malloc";
}

static const char *consent(void)
{
    if (!MT_TRACKING) return "a build without tracking (TRACKING=0): the counts are void";
    if (mt_next.is_replaceable) return "the program uses nothing of its own allocator but malloc and its family";
    return "nothing speaks against it";
}

static void decide(void)
{
    const char *reason = objection();
    bool records = mt_trace_mode() == MT_STACKS_ALL;
    bool is_on = !reason;
    if (is_on) mt_pools_start(&mt_core, records ? &recording_client : &client);
    if (is_on)
        reason = consent();
    else
        mt_next_probe_headers();
    mt_format(mt_pools_stats.reason, sizeof mt_pools_stats.reason, "%s", reason);
    atomic_store_explicit(&mt_pools_stats.is_on, is_on, memory_order_relaxed);
    if (is_on && records) mt_record_start();
    atomic_store_explicit(&mt_pooled_is_on, is_on, memory_order_relaxed);
}

void mt_pooled_ready(void)
{
    if (!atomic_exchange_explicit(&is_decided, true, memory_order_relaxed)) decide();
    uint32_t epoch = atomic_load_explicit(&mt_core.epoch, memory_order_relaxed) + 1;
    if (atomic_exchange_explicit(&told_epoch, epoch, memory_order_relaxed) != epoch) mt_pools_publish(&mt_core);
}

MT_COLD void mt_pooled_count_foreign(void)
{
    struct mt_shard *shard = mt_thread.shard;
    if (shard)
        MT_ADD(shard->foreign_free_count, 1);
    else if (mt_core_is_on(&mt_core))
        atomic_fetch_add_explicit(&mt_core.segment->shards[0].foreign_free_count, 1, memory_order_relaxed);
}
