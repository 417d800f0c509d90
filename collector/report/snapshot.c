/*
 * Copies a segment part by part into memory of the same layout, reading only
 * the tables that were used. Runs in the memtrack command, one thread at a
 * time. It never writes to the segment.
 */
#include "snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

static uint64_t now_realtime_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* Reads [from, to) of the segment to the same place in the copy. */
static int copy_part(struct mt_snapshot *snapshot, const struct mt_segment_file *file, uint64_t from, uint64_t to)
{
    return mt_segment_file_read(file, from, (char *)snapshot->segment + from, (size_t)(to - from));
}

static int copy_shards(struct mt_snapshot *snapshot, const struct mt_segment_file *file)
{
    uint32_t limit = MT_GET(snapshot->segment->shard_limit);
    if (limit > MT_SHARD_MAX) limit = MT_SHARD_MAX;
    if (!limit) limit = 1;
    snapshot->shard_limit = limit;
    uint64_t from = offsetof(struct mt_segment, shards);
    return copy_part(snapshot, file, from, from + limit * sizeof(struct mt_shard));
}

static int copy_frames(struct mt_snapshot *snapshot, const struct mt_segment_file *file)
{
    uint64_t from = offsetof(struct mt_segment, frames);
    int error = copy_part(snapshot, file, from, from + offsetof(struct mt_frames, ring));
    if (error || (!MT_GET(snapshot->segment->frames.count) && !MT_GET(snapshot->segment->frames.ignored_presents)))
        return error;
    return copy_part(snapshot, file, from, from + sizeof(struct mt_frames));
}

static int copy_histograms(struct mt_snapshot *snapshot, const struct mt_segment_file *file)
{
    for (unsigned i = 0; i < MT_HISTOGRAM_MAX; i++) {
        uint64_t from = offsetof(struct mt_segment, histograms) + i * sizeof(struct mt_histogram);
        int error = copy_part(snapshot, file, from, from + sizeof(uint32_t));
        if (!error && MT_GET(snapshot->segment->histograms[i].used))
            error = copy_part(snapshot, file, from, from + sizeof(struct mt_histogram));
        if (error) return error;
    }
    return 0;
}

/* ---- lanes: added to the rows that they belong to ---------------------------------- */

static int copy_lanes(struct mt_snapshot *snapshot, const struct mt_segment_file *file)
{
    uint32_t limit = MT_GET(snapshot->segment->lane_limit);
    uint64_t from = offsetof(struct mt_segment, lanes);
    if (limit > MT_LANE_MAX)
        atomic_store_explicit(&snapshot->segment->lane_limit, limit = MT_LANE_MAX, memory_order_relaxed);
    return copy_part(snapshot, file, from, from + limit * sizeof(struct mt_lane));
}

/* From here on the copy's rows hold everything, and its lanes nothing of it. */
static void fold_heaps(struct mt_snapshot *snapshot)
{
    struct mt_segment *segment = snapshot->segment;
    for (unsigned i = 0; i < MT_HEAP_MAX; i++) {
        struct mt_heap *row = &segment->heaps[i];
        struct mt_heap_sum sum;
        if (MT_GET(row->kind) == MT_HEAP_UNUSED) continue;
        mt_heap_sum(segment, i, &sum);
        atomic_store_explicit(&row->allocation_count, sum.allocation_count, memory_order_relaxed);
        atomic_store_explicit(&row->free_count, sum.free_count, memory_order_relaxed);
        atomic_store_explicit(&row->total_bytes, sum.total_bytes, memory_order_relaxed);
        atomic_store_explicit(&row->current_bytes, sum.current_bytes, memory_order_relaxed);
        atomic_store_explicit(&row->current_count, sum.current_count, memory_order_relaxed);
        atomic_store_explicit(&row->peak_bytes, sum.peak_bytes, memory_order_relaxed);
        snapshot->heap_peak_error_bytes[i] = sum.peak_error_bytes;
    }
    for (uint32_t i = 0; i < MT_GET(segment->lane_limit); i++)
        memset(segment->lanes[i].heaps, 0, sizeof segment->lanes[i].heaps);
}

static int fold_histogram(struct mt_snapshot *snapshot, const struct mt_segment_file *file, unsigned lane,
                          unsigned index)
{
    struct mt_histogram part, *row = &snapshot->segment->histograms[index];
    uint64_t at = MT_GET(snapshot->segment->lanes[lane].histograms[index]);
    if (!at) return 0;
    if (at < sizeof(struct mt_segment) || at % 64 || at > file->file_bytes - sizeof part) return -EINVAL;
    int error = mt_segment_file_read(file, at, &part, sizeof part);
    if (error) return error;
    atomic_fetch_add_explicit(&row->count, MT_GET(part.count), memory_order_relaxed);
    atomic_fetch_add_explicit(&row->sum, MT_GET(part.sum), memory_order_relaxed);
    for (unsigned i = 0; i < MT_HISTOGRAM_BUCKETS; i++)
        atomic_fetch_add_explicit(&row->buckets[i], MT_GET(part.buckets[i]), memory_order_relaxed);
    if (MT_GET(part.max) > MT_GET(row->max))
        atomic_store_explicit(&row->max, MT_GET(part.max), memory_order_relaxed);
    return 0;
}

static int fold_lanes(struct mt_snapshot *snapshot, const struct mt_segment_file *file)
{
    uint32_t limit = MT_GET(snapshot->segment->lane_limit);
    int error = 0;
    fold_heaps(snapshot);
    for (uint32_t lane = 0; lane < limit && !error; lane++)
        for (unsigned i = 0; i < MT_HISTOGRAM_MAX && !error; i++)
            if (MT_GET(snapshot->segment->histograms[i].used)) error = fold_histogram(snapshot, file, lane, i);
    return error;
}

static int copy_events(struct mt_snapshot *snapshot, const struct mt_segment_file *file)
{
    uint64_t count = MT_GET(snapshot->segment->event_count);
    if (count > MT_EVENT_MAX) count = MT_EVENT_MAX;
    uint64_t from = offsetof(struct mt_segment, events);
    return copy_part(snapshot, file, from, from + count * sizeof(struct mt_event));
}

/* Ended threads are spread over the table by hash; most programs have none. */
static int copy_ended_threads(struct mt_snapshot *snapshot, const struct mt_segment_file *file)
{
    uint64_t threads = MT_GET(snapshot->segment->globals.thread_count);
    uint64_t live = MT_GET(snapshot->segment->globals.live_shards);
    if (threads <= live) return 0;
    uint64_t from = offsetof(struct mt_segment, ended_threads);
    return copy_part(snapshot, file, from, from + sizeof snapshot->segment->ended_threads);
}

/*
 * Every string of the copy ends with NUL, every length lies in its field, so
 * that what follows can trust them.
 */
static void tame_process(struct mt_process *process)
{
    process->executable[sizeof process->executable - 1] = 0;
    process->output_directory[sizeof process->output_directory - 1] = 0;
    process->options[sizeof process->options - 1] = 0;
    process->next_allocator[sizeof process->next_allocator - 1] = 0;
    process->foreign_allocator[sizeof process->foreign_allocator - 1] = 0;
    if (process->command_line_bytes > sizeof process->command_line)
        process->command_line_bytes = sizeof process->command_line;
    process->command_line[sizeof process->command_line - 1] = 0;
    if (process->options_bytes >= sizeof process->options) process->options_bytes = sizeof process->options - 1;
}

static void tame_tables(struct mt_snapshot *snapshot)
{
    struct mt_segment *segment = snapshot->segment;
    segment->build[sizeof segment->build - 1] = 0;
    segment->pools.reason[sizeof segment->pools.reason - 1] = 0;
    for (unsigned i = 0; i < MT_HEAP_MAX; i++) segment->heaps[i].name[MT_NAME_BYTES - 1] = 0;
    for (unsigned i = 0; i < MT_THREAD_MAX; i++)
        if (MT_GET(segment->ended_threads[i].key)) segment->ended_threads[i].name[MT_NAME_BYTES - 1] = 0;
    for (unsigned i = 0; i < MT_HISTOGRAM_MAX; i++) {
        struct mt_histogram *histogram = &segment->histograms[i];
        if (!MT_GET(histogram->used)) continue;
        histogram->name[MT_NAME_BYTES - 1] = 0;
        histogram->unit[sizeof histogram->unit - 1] = 0;
    }
    for (unsigned i = 0; i < MT_EVENT_MAX; i++) {
        struct mt_event *event = &segment->events[i];
        if (!MT_GET(event->sequence)) continue;
        event->kind[sizeof event->kind - 1] = 0;
        event->text[sizeof event->text - 1] = 0;
    }
    for (uint32_t i = 0; i < snapshot->shard_limit; i++) segment->shards[i].name[MT_NAME_BYTES - 1] = 0;
}

static void tame_object(struct mt_object *record)
{
    record->name[sizeof record->name - 1] = 0;
    record->text[sizeof record->text - 1] = 0;
}

/*
 * The first of two copies made one after the other is whole when seq was even
 * and the same both times: seq grows with each change (released in
 * mt_object_end()) and is the first word copied. Records whose owner does
 * without seq hold single integers; each of those is whole by itself.
 */
static bool is_whole(const struct mt_object *first, const struct mt_object *second)
{
    return !(MT_GET(first->seq) & 1u) && MT_GET(first->seq) == MT_GET(second->seq);
}

static bool read_again(const struct mt_segment_file *file, uint64_t offset, struct mt_object *record)
{
    struct mt_object copies[2];
    for (int attempt = 0; attempt < 50; attempt++) {
        if (mt_segment_file_read(file, offset, &copies[0], sizeof copies[0])) return false;
        if (mt_segment_file_read(file, offset, &copies[1], sizeof copies[1])) return false;
        if (is_whole(&copies[0], &copies[1])) {
            memcpy(record, &copies[0], sizeof *record);
            return true;
        }
        struct timespec pause = {0, 20000};
        if (attempt > 10) nanosleep(&pause, NULL);
    }
    return false;
}

static int keep_object(struct mt_snapshot *snapshot, size_t *room, uint32_t id, const struct mt_object *record)
{
    if (snapshot->object_count == *room) {
        size_t larger = *room ? *room * 2 : 256;
        void *moved = aligned_alloc(_Alignof(struct mt_snapshot_object), larger * sizeof *snapshot->objects);
        if (!moved) return -ENOMEM;
        if (snapshot->object_count)
            memcpy(moved, snapshot->objects, snapshot->object_count * sizeof *snapshot->objects);
        free(snapshot->objects);
        snapshot->objects = moved;
        *room = larger;
    }
    struct mt_snapshot_object *object = &snapshot->objects[snapshot->object_count++];
    object->id = id;
    memcpy(&object->record, record, sizeof object->record);
    tame_object(&object->record);
    return 0;
}

struct chunk_copy {
    struct mt_object first[MT_OBJECT_CHUNK];
    struct mt_object second[MT_OBJECT_CHUNK];
};

static int keep_chunk(struct mt_snapshot *snapshot, const struct mt_segment_file *file, size_t *room,
                      struct chunk_copy *chunk, uint64_t offset, uint32_t first_id, uint32_t count)
{
    size_t bytes = count * sizeof(struct mt_object);
    int error = mt_segment_file_read(file, offset, chunk->first, bytes);
    if (!error) error = mt_segment_file_read(file, offset, chunk->second, bytes);
    for (uint32_t i = 0; i < count && !error; i++) {
        struct mt_object *record = &chunk->first[i];
        bool whole = is_whole(record, &chunk->second[i]);
        if (!whole) whole = read_again(file, offset + i * sizeof *record, record);
        if (!whole)
            snapshot->unreadable_objects++;
        else if (record->kind)
            error = keep_object(snapshot, room, first_id + i, record);
    }
    return error;
}

static int copy_objects(struct mt_snapshot *snapshot, const struct mt_segment_file *file)
{
    const struct mt_objects *table = &snapshot->segment->objects;
    uint32_t used = MT_GET(table->used_slots);
    if (used > MT_OBJECT_CHUNK * MT_OBJECT_CHUNKS) return -EINVAL;
    if (!used) return 0;
    struct chunk_copy *chunk = aligned_alloc(64, sizeof *chunk);
    if (!chunk) return -ENOMEM;
    int error = 0;
    size_t room = 0;
    for (uint32_t base = 0; base < used && !error; base += MT_OBJECT_CHUNK) {
        uint64_t offset = MT_GET(snapshot->segment->object_chunks[base / MT_OBJECT_CHUNK]);
        uint32_t count = used - base < MT_OBJECT_CHUNK ? used - base : MT_OBJECT_CHUNK;
        if (!offset) continue; /* handed out, but its chunk is not there yet */
        if (offset < sizeof(struct mt_segment) || offset % 64 ||
            offset > file->file_bytes - MT_OBJECT_CHUNK * sizeof(struct mt_object))
            error = -EINVAL;
        else
            error = keep_chunk(snapshot, file, &room, chunk, offset, base + 1, count);
    }
    free(chunk);
    return error;
}

static int compare_ids(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

static void leave_out(struct mt_snapshot *snapshot, uint32_t *ids, size_t count)
{
    size_t kept = 0, at = 0;
    qsort(ids, count, sizeof *ids, compare_ids);
    for (size_t i = 0; i < snapshot->object_count; i++) {
        uint32_t id = snapshot->objects[i].id;
        while (at < count && ids[at] < id) at++;
        if (at < count && ids[at] == id) continue;
        if (kept != i) snapshot->objects[kept] = snapshot->objects[i];
        kept++;
    }
    snapshot->object_count = kept;
}

/* Read after the objects: what was freed and is not marked so yet. */
static int leave_out_ending(struct mt_snapshot *snapshot, const struct mt_segment_file *file)
{
    uint32_t ids[MT_LANE_MAX * MT_LANE_ENDING], limit = MT_GET(snapshot->segment->lane_limit);
    for (uint32_t i = 0; i < limit; i++) {
        uint64_t at = offsetof(struct mt_segment, lanes) + i * sizeof(struct mt_lane);
        int error = mt_segment_file_read(file, at + offsetof(struct mt_lane, ending), ids + i * MT_LANE_ENDING,
                                         MT_LANE_ENDING * sizeof *ids);
        if (error) return error;
    }
    leave_out(snapshot, ids, limit * MT_LANE_ENDING);
    return 0;
}

/*
 * Nothing held more than the whole process: what a group's sum was above it,
 * where a block that moves was in two places between two hand-overs, is part
 * of the error.
 */
static void bound_own_peaks(struct mt_snapshot *snapshot)
{
    struct mt_own_peak process = mt_snapshot_peak(snapshot);
    int64_t highest = process.bytes + process.error_bytes;
    for (unsigned kind = 0; snapshot->own_peaks && kind < MT_GROUP_KINDS; kind++)
        for (unsigned id = 0; id < MT_GROUP_MAX; id++) {
            struct mt_own_peak *peak = &snapshot->own_peaks->of[kind][id];
            int64_t above = peak->bytes - highest;
            if (above <= 0) continue;
            peak->bytes = highest;
            if (peak->error_bytes < above) peak->error_bytes = above;
        }
}

static int copy_own_peaks(struct mt_snapshot *snapshot, const struct mt_segment_file *file)
{
    struct mt_own_peaks_moment now = {snapshot->taken_ns, MT_GET(snapshot->segment->frames.count)};
    return mt_own_peaks_take(&snapshot->own_peaks, file, snapshot->segment, snapshot->shard_limit,
                             &snapshot->origins, now);
}

static int copy_all(struct mt_snapshot *snapshot, const struct mt_segment_file *file)
{
    uint64_t heaps = offsetof(struct mt_segment, heaps);
    int error = copy_part(snapshot, file, 0, offsetof(struct mt_segment, frames));
    if (!error) error = copy_part(snapshot, file, heaps, offsetof(struct mt_segment, attribution));
    if (!error) error = copy_shards(snapshot, file);
    if (!error) error = copy_lanes(snapshot, file);
    if (!error) error = copy_frames(snapshot, file);
    if (!error) error = copy_histograms(snapshot, file);
    if (!error) error = fold_lanes(snapshot, file);
    if (!error) error = copy_events(snapshot, file);
    if (!error) error = copy_ended_threads(snapshot, file);
    if (error) return error;
    tame_process(&snapshot->segment->process);
    tame_tables(snapshot);
    /* Origins name modules: those are read after them. */
    error = mt_origins_take(&snapshot->origins, file, snapshot->segment->shards, snapshot->shard_limit);
    snapshot->origins.knows_live = MT_GET(snapshot->segment->pools.is_on) == 1;
    if (!error) error = mt_stacks_take(&snapshot->stacks, file, snapshot->segment->shards, snapshot->shard_limit);
    if (!error) error = mt_arenas_take(&snapshot->arenas, file, snapshot->segment, snapshot->shard_limit);
    if (!error) error = copy_own_peaks(snapshot, file);
    if (!error) error = copy_objects(snapshot, file);
    return error ? error : leave_out_ending(snapshot, file);
}

static int begin(struct mt_snapshot *snapshot, const struct mt_segment_file *file)
{
    memset(snapshot, 0, sizeof *snapshot);
    void *copy = mmap(NULL, sizeof(struct mt_segment), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (copy == MAP_FAILED) return -ENOMEM;
    snapshot->segment = copy;
    snapshot->taken_ns = mt_now_ns();
    snapshot->taken_realtime_ns = now_realtime_ns();
    snapshot->segment_resident_bytes = mt_segment_file_allocated_bytes(file);
    return 0;
}

/* What they hold has been added to the copy's shards. */
static void forget_rows(struct mt_snapshot *snapshot)
{
    for (uint32_t i = 0; i < snapshot->shard_limit; i++)
        atomic_store_explicit(&snapshot->segment->shards[i].origins, 0, memory_order_relaxed);
}

static const char *reason_of(int error)
{
    if (error == -EINVAL) return "the segment is corrupt: an offset lies outside it";
    if (error == -ENODATA) return "the segment is truncated";
    return strerror(-error);
}

int mt_snapshot_take(struct mt_snapshot *snapshot, const struct mt_segment_file *file, char *why, size_t why_bytes)
{
    int error = begin(snapshot, file);
    if (!error) error = copy_all(snapshot, file);
    if (!error) {
        forget_rows(snapshot);
        mt_shards_sum(snapshot->segment, &snapshot->cpu);
        bound_own_peaks(snapshot);
        return 0;
    }
    snprintf(why, why_bytes, "%s", reason_of(error));
    mt_snapshot_free(snapshot);
    return error;
}

int mt_snapshot_take_counters(struct mt_snapshot *snapshot, const struct mt_segment_file *file)
{
    int error = begin(snapshot, file);
    uint64_t frames = offsetof(struct mt_segment, frames), heaps = offsetof(struct mt_segment, heaps);
    if (!error) error = copy_part(snapshot, file, 0, frames + offsetof(struct mt_frames, ring));
    if (!error) error = copy_part(snapshot, file, heaps, offsetof(struct mt_segment, object_chunks));
    if (!error) error = copy_shards(snapshot, file);
    if (!error) error = mt_origins_fold(file, snapshot->segment->shards, snapshot->shard_limit);
    if (!error) error = copy_lanes(snapshot, file);
    if (error) {
        mt_snapshot_free(snapshot);
        return error;
    }
    forget_rows(snapshot);
    fold_heaps(snapshot);
    tame_process(&snapshot->segment->process);
    mt_shards_sum(snapshot->segment, &snapshot->cpu);
    return 0;
}

void mt_snapshot_free(struct mt_snapshot *snapshot)
{
    if (snapshot->segment) munmap(snapshot->segment, sizeof(struct mt_segment));
    free(snapshot->objects);
    mt_stacks_free(&snapshot->stacks);
    free(snapshot->arenas);
    free(snapshot->own_peaks);
    snapshot->own_peaks = NULL;
    snapshot->arenas = NULL;
    mt_origins_free(&snapshot->origins);
    snapshot->segment = NULL;
    snapshot->objects = NULL;
    snapshot->object_count = 0;
}

struct mt_own_peak mt_snapshot_peak(const struct mt_snapshot *snapshot)
{
    const struct mt_globals *globals = &snapshot->segment->globals;
    uint64_t threads = MT_GET(globals->live_shards_max);
    return (struct mt_own_peak){.bytes = snapshot->cpu.peak_bytes,
                                .error_bytes = threads > 1 ? (int64_t)(threads * globals->batch_bytes) : 0,
                                .when_ns = MT_GET(globals->peak_ns),
                                .frame = MT_GET(globals->peak_frame)};
}

const struct mt_object *mt_snapshot_object(const struct mt_snapshot *snapshot, uint32_t id)
{
    size_t low = 0, high = snapshot->object_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (snapshot->objects[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < snapshot->object_count && snapshot->objects[low].id == id ? &snapshot->objects[low].record : NULL;
}

size_t mt_snapshot_option(const struct mt_snapshot *snapshot, const char *name, char *value, size_t bytes)
{
    size_t length = strlen(name), width = 0;
    value[0] = 0;
    for (const char *line = snapshot->segment->process.options; *line;) {
        const char *end = strchrnul(line, '\n');
        if (!strncmp(line, name, length) && line[length] == '=') {
            width = (size_t)(end - line) - length - 1;
            if (width >= bytes) width = bytes - 1;
            memcpy(value, line + length + 1, width);
            value[width] = 0;
        }
        line = *end ? end + 1 : end;
    }
    return width;
}

uint64_t mt_histogram_percentile(const struct mt_histogram *histogram, double part)
{
    uint64_t count = 0, seen = 0, max = MT_GET(histogram->max);
    for (unsigned i = 0; i < MT_HISTOGRAM_BUCKETS; i++) count += MT_GET(histogram->buckets[i]);
    if (!count) return 0;
    uint64_t rank = (uint64_t)(part * (double)count + 0.999999);
    if (rank < 1) rank = 1;
    for (unsigned i = 0; i + 1 < MT_HISTOGRAM_BUCKETS; i++) {
        seen += MT_GET(histogram->buckets[i]);
        if (seen < rank) continue;
        uint64_t high = mt_histogram_bucket_low(i + 1) - 1;
        return high < max ? high : max;
    }
    return max;
}
