/*
 * Lanes: one thread's own counters for rows of heaps and histograms, and its
 * own store of object ids, for clients whose threads count often (the Vulkan
 * layer). A lane has a single writer, so that its counting needs no atomic
 * read-modify-write and no line that another thread writes. Whoever has no
 * lane passes NULL and counts in the shared rows.
 *
 * A lane that is given back counts on for the next thread that takes it.
 */
#ifndef MT_LANE_H
#define MT_LANE_H

#include "core.h"

/* A lane flushes to the shared row when it has moved by so many times MEMTRACK_PEAK_BATCH. */
enum { MT_LANE_BATCHES = 16 };

/* A lane for the calling thread; NULL when all are taken or there is no memory. Give it back in the same epoch. */
struct mt_lane *mt_lane_claim(struct mt_core *core, int32_t tid);
void mt_lane_release(struct mt_core *core, struct mt_lane *lane);

#define MT_LANE_LOAD(field)       atomic_load_explicit(&(field), memory_order_relaxed)
#define MT_LANE_STORE(field, new) atomic_store_explicit(&(field), new, memory_order_relaxed)
#define MT_LANE_ADD(field, more)  MT_LANE_STORE(field, MT_LANE_LOAD(field) + (more))

static inline uint64_t mt_lane_batch_bytes(const struct mt_segment *segment)
{
    return segment->globals.batch_bytes * MT_LANE_BATCHES;
}

/* Hands a lane's change of a row to the row, with the highest point since the last time. */
void mt_lane_flush(struct mt_core *core, struct mt_lane *lane, unsigned heap);

/* mt_heap_allocated() and mt_heap_freed() by the owner of a lane; the core is ready. */
static inline void mt_lane_allocated(struct mt_core *core, struct mt_lane *lane, unsigned heap, uint64_t bytes)
{
    if (__builtin_expect(!lane || !heap, 0)) {
        mt_heap_allocated(core, heap, bytes);
        return;
    }
    struct mt_lane_heap *row = &lane->heaps[heap - 1];
    int64_t live = MT_LANE_LOAD(row->live_bytes) + (int64_t)bytes;
    MT_LANE_ADD(row->allocation_count, 1);
    MT_LANE_ADD(row->total_bytes, bytes);
    MT_LANE_STORE(row->live_bytes, live);
    if (live <= MT_LANE_LOAD(row->high_bytes)) return;
    MT_LANE_STORE(row->high_bytes, live);
    if (live - MT_LANE_LOAD(row->flushed_bytes) >= (int64_t)mt_lane_batch_bytes(core->segment))
        mt_lane_flush(core, lane, heap);
}

static inline void mt_lane_freed(struct mt_core *core, struct mt_lane *lane, unsigned heap, uint64_t bytes)
{
    if (__builtin_expect(!lane || !heap, 0)) {
        mt_heap_freed(core, heap, bytes);
        return;
    }
    struct mt_lane_heap *row = &lane->heaps[heap - 1];
    int64_t live = MT_LANE_LOAD(row->live_bytes) - (int64_t)bytes;
    MT_LANE_ADD(row->free_count, 1);
    MT_LANE_STORE(row->live_bytes, live);
    if (MT_LANE_LOAD(row->flushed_bytes) - live >= (int64_t)mt_lane_batch_bytes(core->segment))
        mt_lane_flush(core, lane, heap);
}

/* mt_histogram_add() by the owner of a lane. */
void mt_lane_histogram_add(struct mt_core *core, struct mt_lane *lane, struct mt_histogram *histogram,
                           uint64_t value);

/* Counts the time of a call into the driver for memory. */
static inline void mt_lane_add_call(struct mt_core *core, struct mt_lane *lane, uint64_t spent_ns)
{
    if (__builtin_expect(lane != NULL, 1))
        MT_LANE_ADD(lane->device_call_ns, spent_ns);
    else
        atomic_fetch_add_explicit(&core->segment->laneless_call_ns, spent_ns, memory_order_relaxed);
}

/*
 * mt_object_new() and mt_object_free() with the ids of a lane; NULL: with the
 * shared ones. text is left as it was, for kinds of objects that have none. A
 * lane's thread writes the record of a freed object MT_LANE_ENDING frees later;
 * until then its id stands in lane->ending, by which readers know. Free an
 * object once: a second time is not noticed in time.
 */
struct mt_object *mt_object_new_in(struct mt_core *core, struct mt_lane *lane, uint16_t kind, uint32_t *id);
void mt_object_free_in(struct mt_core *core, struct mt_lane *lane, uint32_t id);
/* Objects alive now, over all lanes. */
int64_t mt_object_count(const struct mt_segment *segment);
/* Ends what is ending and gives a lane's store of ids back, for mt_lane_release(). */
void mt_object_give_back_store(struct mt_core *core, struct mt_lane *lane);

/* Time that all lanes spent in the driver's own calls for memory. */
uint64_t mt_lanes_call_ns(const struct mt_segment *segment);

#endif
