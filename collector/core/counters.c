/*
 * The shared tables: heaps, histograms, names. Rows are taken by a
 * compare-and-swap and never move; counting in them uses shared atomics, so
 * they are for events that do not come by the million a second.
 */
#include "segment.h"

#include <string.h>

#define LOAD(field)             atomic_load_explicit(&(field), memory_order_relaxed)
#define STORE(field, value)     atomic_store_explicit(&(field), value, memory_order_relaxed)
#define FETCH_ADD(field, value) atomic_fetch_add_explicit(&(field), value, memory_order_relaxed)

enum { ROW_TAKEN = UINT32_MAX }; /* being filled in; readers skip it */

/* Takes a row whose word is 0; false when another thread has it. */
static bool take_row(_Atomic uint32_t *word)
{
    uint32_t unused = 0;
    return atomic_compare_exchange_strong_explicit(word, &unused, ROW_TAKEN, memory_order_acquire,
                                                   memory_order_relaxed);
}

void mt_copy_name(struct mt_core *core, char *field, size_t field_bytes, const char *name)
{
    if (strlen(name) >= field_bytes) mt_core_drop(core, MT_DROPPED_NAMES);
    size_t length = mt_format(field, field_bytes, "%s", name);
    while (length && ((unsigned char)field[length - 1] & 0xc0) == 0x80 && strlen(name) >= field_bytes)
        length--; /* keep UTF-8 whole */
    if (strlen(name) >= field_bytes && length && ((unsigned char)field[length - 1] & 0x80)) field[length - 1] = 0;
}

struct mt_histogram *mt_histogram_new(struct mt_core *core, uint32_t owner, const char *name, const char *unit)
{
    if (!mt_core_ready(core)) return NULL;
    for (unsigned i = 0; i < MT_HISTOGRAM_MAX; i++) {
        struct mt_histogram *row = &core->segment->histograms[i];
        if (!mt_segment_commit(core, row, sizeof *row)) break;
        if (!take_row(&row->used)) continue;
        row->owner = owner;
        mt_copy_name(core, row->name, sizeof row->name, name);
        mt_copy_name(core, row->unit, sizeof row->unit, unit);
        atomic_store_explicit(&row->used, 1, memory_order_release); /* readers see the names */
        return row;
    }
    mt_core_drop(core, MT_DROPPED_HEAPS);
    return NULL;
}

static void raise_u64(_Atomic uint64_t *field, uint64_t value)
{
    uint64_t seen = LOAD(*field);
    while (seen < value && !atomic_compare_exchange_weak_explicit(field, &seen, value, memory_order_relaxed,
                                                                  memory_order_relaxed)) {
    }
}

void mt_histogram_add(struct mt_histogram *histogram, uint64_t value)
{
    if (!histogram) return;
    FETCH_ADD(histogram->count, 1);
    FETCH_ADD(histogram->sum, value);
    FETCH_ADD(histogram->buckets[mt_histogram_bucket(value)], 1);
    raise_u64(&histogram->max, value);
}

void mt_histogram_add_alone(struct mt_histogram *histogram, uint64_t value)
{
    _Atomic uint64_t *bucket = &histogram->buckets[mt_histogram_bucket(value)];
    STORE(histogram->count, LOAD(histogram->count) + 1);
    STORE(histogram->sum, LOAD(histogram->sum) + value);
    STORE(*bucket, LOAD(*bucket) + 1);
    if (value > LOAD(histogram->max)) STORE(histogram->max, value);
}

unsigned mt_heap_new(struct mt_core *core, enum mt_heap_kind kind, uint32_t owner, uint32_t index,
                     uint32_t heap_index, uint32_t flags, uint64_t size_bytes, const char *name)
{
    if (!mt_core_ready(core)) return 0;
    for (unsigned i = 0; i < MT_HEAP_MAX; i++) {
        struct mt_heap *heap = &core->segment->heaps[i];
        if (!mt_segment_commit(core, heap, sizeof *heap)) return 0;
        if (!take_row(&heap->kind)) continue;
        heap->owner = owner;
        heap->index = index;
        heap->heap_index = heap_index;
        heap->flags = flags;
        heap->size_bytes = size_bytes;
        mt_copy_name(core, heap->name, sizeof heap->name, name);
        atomic_store_explicit(&heap->kind, kind, memory_order_release); /* readers see the row */
        if (kind == MT_HEAP_DEVICE_HEAP)
            atomic_fetch_or_explicit(&core->segment->device_heaps[i / 64], UINT64_C(1) << i % 64,
                                     memory_order_relaxed);
        return i + 1;
    }
    mt_core_drop(core, MT_DROPPED_HEAPS);
    return 0;
}

void mt_heap_release(struct mt_core *core, unsigned heap)
{
    if (!heap || !mt_core_ready(core)) return;
    struct mt_heap *row = &core->segment->heaps[heap - 1];
    struct mt_heap_sum sum;
    mt_heap_sum(core->segment, heap - 1, &sum);
    if (sum.allocation_count || LOAD(row->failed_count)) return;
    STORE(row->budget_bytes, 0);
    STORE(row->usage_bytes, 0);
    STORE(row->budget_ns, 0);
    STORE(row->budget_rejected_count, 0);
    atomic_fetch_and_explicit(&core->segment->device_heaps[(heap - 1) / 64], ~(UINT64_C(1) << (heap - 1) % 64),
                              memory_order_relaxed);
    atomic_store_explicit(&row->kind, MT_HEAP_UNUSED, memory_order_release);
}

void mt_heap_allocated(struct mt_core *core, unsigned heap, uint64_t bytes)
{
    if (!heap || !mt_core_ready(core)) return;
    struct mt_heap *row = &core->segment->heaps[heap - 1];
    int64_t current = FETCH_ADD(row->current_bytes, (int64_t)bytes) + (int64_t)bytes;
    FETCH_ADD(row->current_count, 1);
    FETCH_ADD(row->total_bytes, bytes);
    FETCH_ADD(row->allocation_count, 1);
    int64_t seen = LOAD(row->peak_bytes);
    while (current > seen) {
        if (!atomic_compare_exchange_weak_explicit(&row->peak_bytes, &seen, current, memory_order_relaxed,
                                                   memory_order_relaxed))
            continue;
        STORE(row->peak_ns, mt_now_coarse_ns());
        STORE(row->peak_frame, mt_frame_now(core));
        return;
    }
}

void mt_heap_freed(struct mt_core *core, unsigned heap, uint64_t bytes)
{
    if (!heap || !mt_core_ready(core)) return;
    struct mt_heap *row = &core->segment->heaps[heap - 1];
    FETCH_ADD(row->current_bytes, -(int64_t)bytes);
    FETCH_ADD(row->current_count, -1);
    FETCH_ADD(row->free_count, 1);
}

void mt_heap_failed(struct mt_core *core, unsigned heap)
{
    if (heap && mt_core_ready(core)) FETCH_ADD(core->segment->heaps[heap - 1].failed_count, 1);
}

bool mt_heap_budget(struct mt_core *core, unsigned heap, uint64_t budget_bytes, uint64_t usage_bytes)
{
    if (!heap || !mt_core_ready(core)) return false;
    struct mt_heap *row = &core->segment->heaps[heap - 1];
    if (usage_bytes >> 63 || budget_bytes >> 63 || budget_bytes / 4 > row->size_bytes) {
        FETCH_ADD(row->budget_rejected_count, 1);
        return false;
    }
    STORE(row->budget_bytes, budget_bytes);
    STORE(row->usage_bytes, usage_bytes);
    STORE(row->budget_ns, mt_now_ns());
    return true;
}
