/*
 * Blocks above 32 KiB that come from what waits near their thread, or go
 * there: no lock, no atomic operation but for the batch of counters that so
 * large a block fills. Everything else is the slow paths', and each call of
 * them is a tail call, so that the short ways need no stack frame.
 */
#include "large.h"
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
    unsigned origin = site->origin;
    struct mt_origin_counts *counts = mt_large_counts(heap, origin);
    struct mt_mid_mark *mark = near->blocks[newest].mark;
    if (!counts || !mark) return mt_pools_allocate_large_slow(heap, origin, bytes);
    mt_mid_begin_again(mark, usable, bytes, origin);
    near->count = newest;
    near->bytes -= usable;
    bool is_counted_off = bytes >= near->sampler.from_bytes && mt_large_counts_off(heap, bytes);
    bool is_due = mt_account_large_allocated_in(heap, counts, bytes, usable);
    if (is_counted_off) return mt_pools_large_sampled(heap, block, bytes, usable);
    if (__builtin_expect(!mt_large_settle(heap, origin, usable) || is_due, 0))
        return mt_pools_large_due(heap, block, bytes, usable);
    return block;
}

static __attribute__((noinline)) bool flush_and_look(struct mt_theap *heap)
{
    mt_large_flush(heap);
    if (heap->near.free_count % MT_MID_FREES_PER_LOOK == 0) mt_mid_look(heap);
    return true;
}

static __attribute__((noinline)) bool look(struct mt_theap *heap)
{
    mt_mid_look(heap);
    return true;
}

bool mt_pools_free_large(struct mt_theap *heap, void *block)
{
    uint64_t entry = mt_pagemap_entry(block);
    if (mt_entry_bin(entry) != MT_ENTRY_MID || (uintptr_t)block % MT_MID_GRANULE)
        return mt_pools_free_large_slow(heap, block);
    struct mt_mid_mark *mark = mt_mid_mark_of(mt_entry_record(entry), block);
    size_t usable = (size_t)atomic_load_explicit(&mark->granules, memory_order_relaxed) << MT_MID_GRANULE_SHIFT;
    struct mt_mid_cached freed = {block, usable + ((size_t)mark->room << MT_MID_GRANULE_SHIFT), mark};
    unsigned origin = mark->origin;
    struct mt_origin_counts *counts = mt_large_counts(heap, origin);
    if (!usable || mark->is_sampled || !counts || !mt_mid_near_put(&heap->near, freed))
        return mt_pools_free_large_slow(heap, block);
    atomic_store_explicit(&mark->granules, 0, memory_order_relaxed);
    heap->near.free_count++;
    if (mt_account_large_freed_in(heap, counts, mark->requested, usable) && !mt_large_owe(heap, origin, usable))
        return flush_and_look(heap);
    return heap->near.free_count % MT_MID_FREES_PER_LOOK ? true : look(heap);
}
