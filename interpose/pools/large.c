/*
 * Blocks above 32 KiB that come from what waits near their thread, or go
 * there: no lock, no atomic operation but for the batch of counters that so
 * large a block fills. Everything else is the slow paths'.
 */
#include "large.h"
#include "account.h"
#include "mid.h"
#include "mid_block.h"
#include "mid_cache.h"

void *mt_pools_allocate_large(struct mt_theap *heap, const struct mt_site *site, size_t bytes)
{
    struct mt_mid_near *near = &heap->near;
    unsigned newest = near->count - 1; /* of none: more than idle_count and more than there are */
    if (newest >= MT_MID_NEAR || newest < near->idle_count || !mt_mid_cache_fits(near->blocks[newest].bytes, bytes))
        return mt_pools_allocate_large_slow(heap, site->origin, bytes);
    void *block = near->blocks[newest].block;
    size_t usable = near->blocks[newest].bytes;
    near->count = newest;
    near->bytes -= usable;
    struct mt_mid_mark *mark = mt_mid_mark_of(mt_entry_record(mt_pagemap_entry(block)), block);
    mt_mid_begin_again(mark, usable, bytes, site->origin);
    if (!mt_account_large_allocated_own(heap, site->origin, bytes, usable)) return block;
    return mt_pools_large_due(heap, block, bytes, usable);
}

bool mt_pools_free_large(struct mt_theap *heap, void *block)
{
    uint64_t entry = mt_pagemap_entry(block);
    if (mt_entry_bin(entry) != MT_ENTRY_MID || (uintptr_t)block % MT_MID_GRANULE)
        return mt_pools_free_large_slow(heap, block);
    struct mt_mid_mark *mark = mt_mid_mark_of(mt_entry_record(entry), block);
    size_t granules = atomic_load_explicit(&mark->granules, memory_order_relaxed);
    if (!granules) return mt_pools_free_large_slow(heap, block);
    size_t usable = granules << MT_MID_GRANULE_SHIFT;
    struct mt_mid_cached freed = {block, usable + ((size_t)mark->room << MT_MID_GRANULE_SHIFT)};
    atomic_store_explicit(&mark->granules, 0, memory_order_relaxed);
    if (mt_account_large_freed_own(heap, mark->origin, mark->requested, usable)) mt_account_flush(heap);
    if (mt_pools_clients.sample_freed) mt_pools_clients.sample_freed(heap->shard, block, usable);
    if (!mt_mid_near_put(&heap->near, freed))
        mt_mid_give(heap, block, entry, freed.bytes);
    else if (++heap->near.free_count % MT_MID_FREES_PER_LOOK == 0)
        mt_mid_look();
    return true;
}
