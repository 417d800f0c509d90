/*
 * Who allocates while the next allocator serves. See through.h. Takes no lock;
 * preserves errno.
 */
#include "through.h"

#include "caller.h"
#include "export.h"
#include "init.h"
#include "origin.h"
#include "pooled.h"
#include "pools/sites.h"

#include <string.h>

#define LOAD(field)             atomic_load_explicit(&(field), memory_order_relaxed)
#define FETCH_ADD(field, value) atomic_fetch_add_explicit(&(field), value, memory_order_relaxed)

static struct mt_through *_Atomic through_of[MT_SHARD_MAX];
static _Atomic uint32_t sites_epoch; /* grows when all sites are to be forgotten */

static void forget(struct mt_through *through)
{
    for (unsigned i = 0; i < MT_THROUGH_SITES; i++)
        if (LOAD(through->sites[i].key)) atomic_store_explicit(&through->sites[i].key, 0, memory_order_relaxed);
}

void mt_through_set_shard(struct mt_shard *shard)
{
    mt_thread.through = NULL;
    if (!shard || mt_pooled()) return;
    struct mt_through *_Atomic *slot = &through_of[shard - mt_core.segment->shards];
    struct mt_through *through = LOAD(*slot);
    if (!through) {
        through = mt_private_map(&mt_core, sizeof *through);
        atomic_store_explicit(slot, through, memory_order_release); /* pairs with mt_through_forget_all() */
    }
    mt_thread.through = through;
    if (!through) return;
    through->shard = shard;
    atomic_store_explicit(&shard->is_stepped, 1, memory_order_relaxed);
    through->batch_bytes = (int64_t)mt_core.segment->globals.batch_bytes;
    mt_through_changed();
}

void mt_through_changed(void)
{
    struct mt_through *through = mt_thread.through;
    if (!through) return;
    uint32_t epoch = LOAD(mt_core.epoch);
    through->scope_key = mt_site_scope_key(mt_thread.context);
    if (through->epoch == epoch && !strncmp(through->thread, mt_thread.name, sizeof through->thread - 1)) return;
    through->epoch = epoch;
    memcpy(through->thread, mt_thread.name, sizeof mt_thread.name);
    forget(through);
}

void mt_through_forget_counters(void)
{
    if (mt_thread.through) forget(mt_thread.through);
}

void mt_through_forget_all(void)
{
    FETCH_ADD(sites_epoch, 1);
    for (unsigned i = 0; i < MT_SHARD_MAX; i++) {
        struct mt_through *through = atomic_load_explicit(&through_of[i], memory_order_acquire);
        if (through) forget(through);
    }
}

/* A thread that shares shard 0 with others. */
static void count_shared(size_t bytes, const void *caller)
{
    if (!mt_thread_counts_shared()) return;
    unsigned origin = mt_caller_origin(caller, mt_thread.name, mt_thread.context);
    struct mt_origin_counts *counts = mt_origin_counts(&mt_core, &mt_core.segment->shards[0],
                                                       origin < MT_ORIGIN_MAX ? origin : 0);
    if (!counts) return;
    FETCH_ADD(counts->large_allocation_count, 1);
    FETCH_ADD(counts->large_requested_bytes, bytes);
}

/* Finds out whose the page is and remembers it. NULL when there is no memory to count in. */
static MT_COLD struct mt_origin_counts *learn(struct mt_through *through, const void *caller)
{
    uint32_t epoch = LOAD(sites_epoch);
    if (through->sites_epoch != epoch) forget(through);
    through->sites_epoch = epoch;
    uintptr_t key = mt_through_key(through, caller);
    struct mt_through_site *site = mt_through_site(through, key);
    unsigned origin = mt_caller_origin(caller, through->thread, mt_thread.context);
    struct mt_origin_counts *counts = mt_origin_counts(&mt_core, through->shard,
                                                       origin < MT_ORIGIN_MAX ? origin : 0);
    if (!counts || origin >= MT_ORIGIN_MAX) return counts; /* not known now: asked again at the next call */
    atomic_store_explicit(&site->key, 0, memory_order_relaxed);
    site->counts = counts;
    atomic_store_explicit(&site->key, key, memory_order_release);
    return counts;
}

void mt_through_count(size_t bytes, const void *caller)
{
    struct mt_through *through = mt_thread.through;
    if (!through) {
        count_shared(bytes, caller);
        return;
    }
    const struct mt_through_site *site = mt_through_find(through, caller);
    struct mt_origin_counts *counts = site ? site->counts : learn(through, caller);
    if (!counts) return;
    MT_ADD(counts->large_allocation_count, 1);
    MT_ADD(counts->large_requested_bytes, bytes);
}
