/*
 * The short ways of blocks above 32 KiB, for callers that are no hooks, and
 * what follows a free now and then.
 */
#include "large.h"
#include "mid.h"

void *mt_pools_allocate_large(struct mt_theap *heap, const struct mt_site *site, size_t bytes)
{
    struct mt_large_taken taken;
    switch (mt_large_take(heap, site->origin, bytes, &taken)) {
    case MT_POOLS_DONE: return taken.block;
    case MT_POOLS_DUE: return mt_pools_large_due(heap, taken.block, bytes, taken.usable, taken.is_counted_off);
    default: return mt_pools_allocate_large_slow(heap, site->origin, bytes);
    }
}

bool mt_pools_free_large(struct mt_theap *heap, void *block, uint64_t entry)
{
    bool is_flush_due;
    switch (mt_large_give(heap, block, entry, &is_flush_due)) {
    case MT_POOLS_DONE: return true;
    case MT_POOLS_DUE: mt_pools_large_freed(heap, is_flush_due); return true;
    default: return mt_pools_free_large_slow(heap, block);
    }
}

void mt_pools_large_freed(struct mt_theap *heap, bool is_flush_due)
{
    if (is_flush_due) mt_large_flush(heap);
    if (heap->near.free_count % MT_MID_FREES_PER_LOOK == 0) mt_mid_look(heap);
}

void mt_large_pay(struct mt_theap *heap, unsigned origin)
{
    const struct mt_shard *shard = heap->shard;
    bool is_same = heap->near.owed % MT_MID_GRANULE == origin;
    bool is_low = atomic_load_explicit(&shard->live_bytes, memory_order_relaxed) <
                  atomic_load_explicit(&shard->low_limit_bytes, memory_order_relaxed);
    heap->near.owed = 0;
    if (is_same && !is_low)
        mt_account_flush_if_due(heap);
    else
        mt_account_flush(heap);
}
