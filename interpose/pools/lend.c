/*
 * Which bin lends to which. See lend.h. A block that is lent takes the slow
 * path, so that a bin borrows once in so many blocks of its own at most.
 */
#include "lend.h"
#include "slab.h"

enum {
    LEND_CLASSES = 4, /* so many classes larger at most: 60 % */
    LENDS_MOST = 55,  /* the class of 8 KiB: slabs of larger blocks have four slices */
    SPARE_SHARE = 64, /* more than this part of a bin's blocks must be free */
    EARN_SHIFT = 4,   /* 16 blocks of its own for each that a bin borrows */
    SAVE_MOST = 256,  /* that it may borrow one after the other */
};

/* More of its blocks can be handed out without new memory, or there may be: its own refill finds out. */
static bool has_own(const struct mt_theap *heap, const struct mt_bin *bin)
{
    const struct mt_slab *fresh = bin->fresh;
    if (bin->partial || atomic_load_explicit(&heap->inbox, memory_order_relaxed)) return true;
    return !bin->slab_count || (fresh && fresh->touched_bytes > fresh->cut_count * fresh->block_bytes);
}

static bool can_spare(const struct mt_bin *bin)
{
    if (!bin->head && !bin->partial) return false;
    uint64_t capacity = MT_SLICE_BYTES / bin->bytes, blocks = bin->slab_count * capacity;
    if (bin->fresh && bin->fresh->cut_count < capacity) blocks -= capacity - bin->fresh->cut_count;
    uint64_t spare = (uint64_t)mt_slab_bin_length(bin) + (bin->partial ? bin->partial->free_count : 0);
    return spare > blocks / SPARE_SHARE;
}

/* What a bin has earned is the difference of two counters that go around. */
static bool may_borrow(struct mt_bin *bin)
{
    uint64_t allocations = atomic_load_explicit(&bin->cell->allocation_count, memory_order_relaxed);
    uint16_t earned = (uint16_t)(allocations >> EARN_SHIFT), saved = (uint16_t)(earned - bin->borrowed);
    if (saved > SAVE_MOST) saved = SAVE_MOST;
    bin->borrowed = (uint16_t)(earned - saved);
    if (!saved) return false;
    bin->borrowed++;
    return true;
}

struct mt_bin *mt_lend_find(struct mt_theap *heap, struct mt_bin *empty)
{
    if (has_own(heap, empty)) return NULL;
    for (unsigned step = 1; step <= LEND_CLASSES && empty->class + step <= LENDS_MOST; step++) {
        struct mt_bin *bin = empty + step;
        if (!bin->bytes || !can_spare(bin)) continue;
        if (!may_borrow(empty)) return NULL;
        return bin->head || mt_slab_refill(heap, bin) ? bin : NULL;
    }
    return NULL;
}
