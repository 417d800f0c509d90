/*
 * A snapshot: a copy of what a segment says at one moment, as plain memory
 * that never changes again. Taken by the collector, report and top; belongs to
 * one thread.
 */
#ifndef MT_SNAPSHOT_H
#define MT_SNAPSHOT_H

#include "arenas.h"
#include "origins.h"
#include "own_peaks.h"
#include "segment_file.h"
#include "shard.h"
#include "stacks.h"

/* Reads a field of a snapshot's segment. */
#define MT_GET(field) atomic_load_explicit(&(field), memory_order_relaxed)

struct mt_snapshot_object {
    uint32_t id;
    struct mt_object record;
};

struct mt_snapshot {
    struct mt_segment *segment; /* a copy of the fixed part; what was never used is zero */
    uint64_t taken_ns;          /* CLOCK_MONOTONIC */
    uint64_t taken_realtime_ns;
    uint64_t segment_resident_bytes;    /* memory behind the segment's file */
    uint32_t shard_limit;               /* shards 0 .. shard_limit - 1 were read */
    struct mt_snapshot_object *objects; /* in ascending order of id */
    size_t object_count;
    uint64_t unreadable_objects; /* records that were being written each time they were read */
    struct mt_shard_sum cpu;
    uint64_t heap_peak_error_bytes[MT_HEAP_MAX]; /* by row of heaps; 0 = its peak is exact */
    struct mt_stacks stacks;
    struct mt_arenas *arenas; /* NULL: no call site ever had one */
    struct mt_origins_copy origins;
    struct mt_own_peaks *own_peaks; /* NULL: nobody knows what is live by origin */
};

/* Copies a segment. Returns 0, or -errno with one line in `why`; then nothing is held. */
int mt_snapshot_take(struct mt_snapshot *snapshot, const struct mt_segment_file *file, char *why, size_t why_bytes);
/* The same without the tables: counters, threads and heaps only, for numbers that must be of one moment. */
int mt_snapshot_take_counters(struct mt_snapshot *snapshot, const struct mt_segment_file *file);
void mt_snapshot_free(struct mt_snapshot *snapshot);

/* The peak of all together. With one thread, or with every call flushed, it is exact. */
struct mt_own_peak mt_snapshot_peak(const struct mt_snapshot *snapshot);

/* The object of an id, NULL when there is none. */
const struct mt_object *mt_snapshot_object(const struct mt_snapshot *snapshot, uint32_t id);

/* The value of an option in force in the process, "" when it is not known. Valid as long as the snapshot. */
size_t mt_snapshot_option(const struct mt_snapshot *snapshot, const char *name, char *value, size_t bytes);

/* The p-th part (0 .. 1) of a histogram by nearest rank: the highest value of its bucket, at most the maximum. */
uint64_t mt_histogram_percentile(const struct mt_histogram *histogram, double part);

#endif
