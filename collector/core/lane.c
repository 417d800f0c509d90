/*
 * Claiming lanes and adding them up. A lane's fields are written by the one
 * thread that holds it; the bits of lanes_taken carry them from one holder to
 * the next. Readers add up relaxed loads at any time. Any thread.
 */
#include "lane.h"

#include "segment.h"

#include <string.h>

#define LOAD(field)             atomic_load_explicit(&(field), memory_order_relaxed)
#define STORE(field, value)     atomic_store_explicit(&(field), value, memory_order_relaxed)
#define FETCH_ADD(field, value) atomic_fetch_add_explicit(&(field), value, memory_order_relaxed)

static void raise_limit(struct mt_segment *segment, uint32_t limit)
{
    uint32_t seen = LOAD(segment->lane_limit);
    while (seen < limit && !atomic_compare_exchange_weak_explicit(&segment->lane_limit, &seen, limit,
                                                                  memory_order_release, memory_order_relaxed)) {
    }
}

struct mt_lane *mt_lane_claim(struct mt_core *core, int32_t tid)
{
    if (!mt_core_ready(core)) return NULL;
    struct mt_segment *segment = core->segment;
    uint64_t taken = LOAD(segment->lanes_taken), bit;
    do {
        if (taken == UINT64_MAX) return NULL;
        bit = ~taken & (taken + 1);
        /* Acquire: pairs with the release in mt_lane_release(). */
    } while (!atomic_compare_exchange_weak_explicit(&segment->lanes_taken, &taken, taken | bit,
                                                    memory_order_acquire, memory_order_relaxed));
    unsigned index = (unsigned)__builtin_ctzll(bit);
    struct mt_lane *lane = &segment->lanes[index];
    if (!mt_segment_commit(core, lane, sizeof *lane)) {
        atomic_fetch_and_explicit(&segment->lanes_taken, ~bit, memory_order_release);
        return NULL;
    }
    raise_limit(segment, index + 1);
    STORE(lane->tid, tid);
    return lane;
}

void mt_lane_release(struct mt_core *core, struct mt_lane *lane)
{
    struct mt_segment *segment = core->segment;
    mt_object_give_back_store(core, lane);
    STORE(lane->tid, 0);
    atomic_fetch_and_explicit(&segment->lanes_taken, ~(UINT64_C(1) << (lane - segment->lanes)),
                              memory_order_release);
}

static unsigned lane_limit(const struct mt_segment *segment)
{
    /* Acquire: pairs with raise_limit(), so that the lane has memory behind it. */
    uint32_t limit = atomic_load_explicit(&segment->lane_limit, memory_order_acquire);
    return limit < MT_LANE_MAX ? limit : MT_LANE_MAX;
}

/* ---- heaps ------------------------------------------------------------------------- */

static void raise_peak(struct mt_core *core, struct mt_heap *row, int64_t candidate)
{
    int64_t seen = LOAD(row->peak_bytes);
    while (candidate > seen) {
        if (!atomic_compare_exchange_weak_explicit(&row->peak_bytes, &seen, candidate, memory_order_relaxed,
                                                   memory_order_relaxed))
            continue;
        STORE(row->peak_ns, mt_now_coarse_ns());
        STORE(row->peak_frame, mt_frame_now(core));
        return;
    }
}

void mt_lane_flush(struct mt_core *core, struct mt_lane *lane, unsigned heap)
{
    struct mt_heap *shared = &core->segment->heaps[heap - 1];
    struct mt_lane_heap *row = &lane->heaps[heap - 1];
    int64_t live = LOAD(row->live_bytes), flushed = LOAD(row->flushed_bytes), high = LOAD(row->high_bytes);
    int64_t before = FETCH_ADD(shared->current_bytes, live - flushed);
    raise_peak(core, shared, before + (high > live ? high : live) - flushed);
    STORE(row->flushed_bytes, live);
    STORE(row->high_bytes, live);
}

void mt_heap_sum(const struct mt_segment *segment, unsigned row, struct mt_heap_sum *sum)
{
    const struct mt_heap *heap = &segment->heaps[row];
    int64_t flushed_total = LOAD(heap->current_bytes);
    unsigned limit = lane_limit(segment), counting = 0;
    *sum = (struct mt_heap_sum){.allocation_count = LOAD(heap->allocation_count),
                                .free_count = LOAD(heap->free_count),
                                .total_bytes = LOAD(heap->total_bytes),
                                .current_bytes = flushed_total,
                                .current_count = LOAD(heap->current_count),
                                .peak_bytes = LOAD(heap->peak_bytes)};
    for (unsigned i = 0; i < limit; i++) {
        const struct mt_lane_heap *lane = &segment->lanes[i].heaps[row];
        uint64_t made = LOAD(lane->allocation_count), freed = LOAD(lane->free_count);
        int64_t flushed = LOAD(lane->flushed_bytes), highest = flushed_total + LOAD(lane->high_bytes) - flushed;
        sum->allocation_count += made;
        sum->free_count += freed;
        sum->total_bytes += LOAD(lane->total_bytes);
        sum->current_bytes += LOAD(lane->live_bytes) - flushed;
        sum->current_count += (int64_t)(made - freed);
        counting += made || freed;
        if (highest > sum->peak_bytes) sum->peak_bytes = highest;
    }
    if (sum->current_bytes > sum->peak_bytes) sum->peak_bytes = sum->current_bytes; /* of several lanes together */
    if (counting > 1) sum->peak_error_bytes = counting * mt_lane_batch_bytes(segment);
}

void mt_heap_add_totals(const struct mt_segment *segment, unsigned row, uint64_t *allocation_count,
                        uint64_t *total_bytes)
{
    const struct mt_heap *heap = &segment->heaps[row];
    unsigned limit = lane_limit(segment);
    *allocation_count += LOAD(heap->allocation_count);
    *total_bytes += LOAD(heap->total_bytes);
    for (unsigned i = 0; i < limit; i++) {
        *allocation_count += LOAD(segment->lanes[i].heaps[row].allocation_count);
        *total_bytes += LOAD(segment->lanes[i].heaps[row].total_bytes);
    }
}

/* ---- histograms ------------------------------------------------------------------------ */

/* The lane's own part of a row, made when it is first needed; NULL when there is no memory. */
static struct mt_histogram *part_of(struct mt_core *core, struct mt_lane *lane, const struct mt_histogram *row)
{
    _Atomic uint64_t *offset = &lane->histograms[row - core->segment->histograms];
    uint64_t at = LOAD(*offset);
    if (__builtin_expect(!at, 0)) {
        at = mt_core_alloc(core, sizeof(struct mt_histogram));
        if (!at) return NULL;
        atomic_store_explicit(offset, at, memory_order_release); /* readers find zeros behind it */
    }
    return (struct mt_histogram *)(void *)((char *)core->segment + at);
}

void mt_lane_histogram_add(struct mt_core *core, struct mt_lane *lane, struct mt_histogram *histogram,
                           uint64_t value)
{
    struct mt_histogram *part = lane && histogram ? part_of(core, lane, histogram) : NULL;
    if (!part) {
        mt_histogram_add(histogram, value);
        return;
    }
    MT_LANE_ADD(part->count, 1);
    MT_LANE_ADD(part->sum, value);
    MT_LANE_ADD(part->buckets[mt_histogram_bucket(value)], 1);
    if (value > LOAD(part->max)) STORE(part->max, value);
}

/* ---- sums ---------------------------------------------------------------------------------- */

int64_t mt_object_count(const struct mt_segment *segment)
{
    int64_t count = LOAD(segment->objects.live_count);
    unsigned limit = lane_limit(segment);
    for (unsigned i = 0; i < limit; i++) count += LOAD(segment->lanes[i].live_objects);
    return count;
}

uint64_t mt_lanes_call_ns(const struct mt_segment *segment)
{
    uint64_t sum = LOAD(segment->laneless_call_ns);
    unsigned limit = lane_limit(segment);
    for (unsigned i = 0; i < limit; i++) sum += LOAD(segment->lanes[i].device_call_ns);
    return sum;
}
