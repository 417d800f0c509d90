/*
 * The short ways of blocks above 32 KiB, for callers that are no hooks, and
 * what follows a free now and then.
 */
#include "large.h"
#include "groups.h"
#include "mid.h"

enum { MANY_LOOKS = 8, FREES_PER_LOOK = 64 }; /* where the clock stands still */

void *mt_pools_allocate_large(struct mt_theap *heap, const struct mt_site *site, size_t bytes)
{
    char *block;
    switch (mt_large_take(heap, site->origin, bytes, &block)) {
    case MT_POOLS_DONE: return block;
    case MT_POOLS_DUE: return mt_pools_large_due(heap, block, bytes);
    default: return mt_pools_allocate_large_slow(heap, site->origin, bytes);
    }
}

bool mt_pools_free_large(struct mt_theap *heap, void *block, uint64_t entry)
{
    switch (mt_entry_bin(entry) == MT_ENTRY_MID ? mt_large_give_mid(heap, block, entry)
                                                : mt_large_give_huge(heap, block, entry)) {
    case MT_POOLS_DONE: return true;
    case MT_POOLS_DUE: mt_pools_large_freed(heap); return true;
    default: return mt_pools_free_large_slow(heap, block);
    }
}

void mt_pools_large_freed(struct mt_theap *heap)
{
    const struct mt_shard *shard = heap->shard;
    struct mt_mid_near *near = &heap->near;
    bool is_low = atomic_load_explicit(&shard->live_bytes, memory_order_relaxed) <
                  atomic_load_explicit(&shard->low_limit_bytes, memory_order_relaxed);
    if (is_low || mt_groups_are_many_large(shard)) mt_account_flush(heap);
    if (near->looks_in && (!is_low || --near->looks_in)) return;
    near->looks_in = ++near->looks < MANY_LOOKS ? MT_MID_FREES_PER_LOOK : FREES_PER_LOOK;
    mt_mid_look(heap);
}

void mt_large_clear(struct mt_theap *heap, struct mt_large_slot *slot)
{
    struct mt_mid_cached other = {slot->block, slot->usable};
    slot->block = NULL;
    slot->note = MT_NOTE_NEVER;
    slot->requested = slot->usable = 0;
    if (other.block) mt_mid_wait(heap, other);
}

static bool is_small(size_t usable)
{
    return usable <= MT_MID_NEAR_BYTES;
}

/* Large ones do not take the room of others. */
static bool has_room(const struct mt_theap *heap, size_t usable)
{
    const struct mt_large_slot *slots = heap->near.slots;
    size_t bytes = usable, most = is_small(usable) ? (size_t)MT_MID_NEAR_BYTES : mt_mid_cache_most(usable);
    for (unsigned i = 0; i < MT_LARGE_SLOTS; i++)
        if (is_small(slots[i].usable) == is_small(usable)) bytes += slots[i].usable;
    return bytes <= most;
}

/* Sizes that come once would fill the table of cells. */
static bool comes_again(struct mt_large_slot *slot, unsigned origin, size_t requested)
{
    if (slot->wanted == requested && slot->wanted_origin == origin) return true;
    slot->wanted = requested;
    slot->wanted_origin = (uint16_t)origin;
    return false;
}

void mt_large_prepare(struct mt_theap *heap, unsigned origin, size_t requested, size_t usable)
{
    struct mt_large_slot *slot = mt_large_slot_of(heap, requested);
    if (!comes_again(slot, origin, requested) || !heap->batch_bytes || (!is_small(usable) && !mt_is_alone()))
        return;
    struct mt_size_counts *cell = mt_account_size(heap, origin, requested, usable);
    if (!cell) return;
    mt_large_clear(heap, slot);
    for (unsigned i = 0; i < MT_LARGE_SLOTS && !has_room(heap, usable); i++)
        if (is_small(heap->near.slots[i].usable) == is_small(usable)) mt_large_clear(heap, &heap->near.slots[i]);
    if (!has_room(heap, usable)) return;
    if (!heap->near.looks_in) heap->near.looks_in = MT_MID_FREES_PER_LOOK;
    heap->near.has_slots = true;
    *slot = (struct mt_large_slot){.note = mt_note_make(requested, origin) | MT_NOTE_AGAIN,
                                   .requested = requested,
                                   .usable = usable,
                                   .cell = cell,
                                   .origin = (uint16_t)origin};
}
