/*
 * The list of cells of a row. See size_counts.h.
 */
#include "size_counts.h"
#include "segment.h"

struct mt_size_counts *mt_size_counts_find(struct mt_core *core, struct mt_origin_counts *row, uint64_t requested,
                                           uint64_t usable)
{
    unsigned count = 0;
    uint32_t head = atomic_load_explicit(&row->sizes, memory_order_relaxed);
    struct mt_size_counts *cell = mt_size_counts_at(core->segment, core->mapped_bytes, head);
    for (; cell; cell = mt_size_counts_at(core->segment, core->mapped_bytes, cell->next), count++)
        if (cell->requested_bytes == requested && cell->usable_bytes == usable) return cell;
    if (count >= MT_SIZE_COUNTS_MAX) return NULL;
    uint64_t offset = mt_core_alloc(core, sizeof *cell);
    cell = mt_size_counts_at(core->segment, core->mapped_bytes, (uint32_t)(offset / 64));
    if (!cell) return NULL;
    cell->requested_bytes = requested;
    cell->usable_bytes = usable;
    cell->next = head;
    /* Release: pairs with the acquire in mt_size_counts_sum(). */
    atomic_store_explicit(&row->sizes, (uint32_t)(offset / 64), memory_order_release);
    return cell;
}
