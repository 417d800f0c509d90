/*
 * Builds what a report says about frames. A hitch is a frame that stands out by
 * its length; beside each stands what was allocated in it and how long the
 * driver took to give device memory, so that the cause can be seen.
 */
#include "frames_json.h"

#include "json_build.h"
#include "report_json.h"

#include <math.h>
#include <stdlib.h>

/* Frames listed one by one; the segment's ring holds MT_FRAME_RING. */
enum { RECENT_FRAMES = 600 };

/* A hitch lasts twice the median and this much longer: below, nobody sees it. */
static const uint64_t HITCH_EXCESS_NS = 4000000;

json_t *mt_histogram_json(const struct mt_histogram *histogram)
{
    uint64_t count = MT_GET(histogram->count), sum = MT_GET(histogram->sum);
    json_t *part = json_object();
    mt_json_set_u64(part, "count", count);
    mt_json_set_u64(part, "sum", sum);
    mt_json_set(part, "mean", count ? json_integer((json_int_t)(sum / count)) : NULL);
    mt_json_set(part, "p50", count ? mt_json_u64(mt_histogram_percentile(histogram, 0.50)) : NULL);
    mt_json_set(part, "p95", count ? mt_json_u64(mt_histogram_percentile(histogram, 0.95)) : NULL);
    mt_json_set(part, "p99", count ? mt_json_u64(mt_histogram_percentile(histogram, 0.99)) : NULL);
    mt_json_set(part, "max", count ? mt_json_u64(MT_GET(histogram->max)) : NULL);
    return part;
}

/* ---- one frame ---------------------------------------------------------------- */

static json_t *frame_json(const struct mt_snapshot *snapshot, const struct mt_frame *frame)
{
    json_t *row = json_object();
    mt_json_set_u64(row, "frame", MT_GET(frame->index));
    mt_json_set(row, "t_s", mt_report_time_json(snapshot, frame->end_ns));
    mt_json_set_u64(row, "duration_ns", frame->duration_ns);
    mt_json_set_u64(row, "allocation_count", frame->allocation_count);
    mt_json_set_u64(row, "free_count", frame->free_count);
    mt_json_set_u64(row, "bytes", frame->requested_bytes);
    mt_json_set_i64(row, "cpu_current_bytes", frame->current_bytes);
    mt_json_set_u64(row, "device_allocation_count", frame->device_allocation_count);
    mt_json_set_u64(row, "device_bytes", frame->device_bytes);
    mt_json_set_u64(row, "device_ns", frame->device_call_ns);
    return row;
}

static json_t *frame_stack_json(const struct mt_frame_stack *stack)
{
    json_t *row = json_object();
    mt_json_set_u64(row, "stack", stack->id);
    mt_json_set_i64(row, "count", llround((double)stack->count / MT_SCALE));
    mt_json_set_u64(row, "bytes", stack->bytes);
    mt_json_set_u64(row, "sample_count", stack->sample_count);
    return row;
}

static unsigned stack_count_of(const struct mt_kept_frame *kept)
{
    return kept->stack_count < MT_FRAME_STACKS ? kept->stack_count : MT_FRAME_STACKS;
}

static json_t *kept_json(const struct mt_snapshot *snapshot, const struct mt_kept_frame *kept)
{
    json_t *row = frame_json(snapshot, &kept->frame), *stacks = json_array();
    for (unsigned i = 0; i < stack_count_of(kept); i++)
        json_array_append_new(stacks, frame_stack_json(&kept->stacks[i]));
    mt_json_set(row, "stacks", stacks);
    mt_json_set_bool(row, "stacks_estimated", snapshot->stacks.mode == MT_STACKS_SAMPLED);
    mt_json_set_bool(row, "stacks_cut", kept->is_cut == 1);
    mt_json_set_i64(row, "other_count", llround((double)kept->other_count / MT_SCALE));
    mt_json_set_u64(row, "other_bytes", kept->other_bytes);
    return row;
}

/* The writer keeps its list in order, but moves rows while we read: a frame may be there twice or be missing. */
static json_t *kept_frames_json(const struct mt_snapshot *snapshot, const struct mt_kept_frame *list,
                                uint64_t least_ns)
{
    json_t *rows = json_array();
    uint64_t before = 0;
    for (unsigned i = 0; i < MT_WORST_FRAMES; i++) {
        uint64_t index = MT_GET(list[i].frame.index);
        if (!index || index == before || list[i].frame.duration_ns < least_ns) continue;
        json_array_append_new(rows, kept_json(snapshot, &list[i]));
        before = index;
    }
    return rows;
}

static size_t add_ids(const struct mt_kept_frame *list, uint32_t *ids, size_t count)
{
    for (unsigned i = 0; i < MT_WORST_FRAMES; i++)
        for (unsigned k = 0; MT_GET(list[i].frame.index) && k < stack_count_of(&list[i]); k++)
            ids[count++] = list[i].stacks[k].id;
    return count;
}

int mt_compare_u32(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return left < right ? -1 : left > right;
}

size_t mt_frames_stack_ids(const struct mt_snapshot *snapshot, uint32_t ids[MT_FRAMES_STACK_IDS])
{
    const struct mt_frames *frames = &snapshot->segment->frames;
    size_t count = add_ids(frames->longest, ids, add_ids(frames->worst, ids, 0));
    qsort(ids, count, sizeof *ids, mt_compare_u32);
    return count;
}

/* ---- the last frames ------------------------------------------------------------ */

/* The last frames as columns, oldest first: one list per number keeps a long ring small. */
static json_t *recent_frames_json(const struct mt_frames *frames)
{
    json_t *index = json_array(), *duration = json_array(), *allocations = json_array();
    json_t *bytes = json_array(), *current = json_array(), *device = json_array();
    uint64_t last = MT_GET(frames->count), listed = last < RECENT_FRAMES ? last : RECENT_FRAMES;
    for (uint64_t i = 0; i < listed; i++) {
        uint64_t n = last - listed + 1 + i;
        const struct mt_frame *frame = &frames->ring[(n - 1) % MT_FRAME_RING];
        if (MT_GET(frame->index) != n) continue; /* being written or already overwritten */
        json_array_append_new(index, mt_json_u64(n));
        json_array_append_new(duration, mt_json_u64(frame->duration_ns));
        json_array_append_new(allocations, mt_json_u64(frame->allocation_count));
        json_array_append_new(bytes, mt_json_u64(frame->requested_bytes));
        json_array_append_new(current, json_integer(frame->current_bytes));
        json_array_append_new(device, mt_json_u64(frame->device_call_ns));
    }
    json_t *part = json_object();
    mt_json_set(part, "frame", index);
    mt_json_set(part, "duration_ns", duration);
    mt_json_set(part, "allocation_count", allocations);
    mt_json_set(part, "bytes", bytes);
    mt_json_set(part, "cpu_current_bytes", current);
    mt_json_set(part, "device_ns", device);
    return part;
}

/* ---- hitches ------------------------------------------------------------------------ */

/* Rounded up to where a bucket of the histogram begins, so that the count below is exact. */
static unsigned hitch_bucket(uint64_t median)
{
    uint64_t least = 2 * median > median + HITCH_EXCESS_NS ? 2 * median : median + HITCH_EXCESS_NS;
    unsigned bucket = mt_histogram_bucket(least);
    return mt_histogram_bucket_low(bucket) < least ? bucket + 1 : bucket;
}

static uint64_t count_from(const struct mt_histogram *histogram, unsigned bucket)
{
    uint64_t count = 0;
    for (; bucket < MT_HISTOGRAM_BUCKETS; bucket++) count += MT_GET(histogram->buckets[bucket]);
    return count;
}

/* Sums for the correlation (Pearson) of the frames' time with another number. */
struct pairs {
    double n, x, y, xx, yy, xy;
};

static void add_pair(struct pairs *pairs, double x, double y)
{
    pairs->n++;
    pairs->x += x;
    pairs->y += y;
    pairs->xx += x * x;
    pairs->yy += y * y;
    pairs->xy += x * y;
}

static json_t *correlation_json(const struct pairs *p)
{
    double across = p->n * p->xy - p->x * p->y;
    double below = (p->n * p->xx - p->x * p->x) * (p->n * p->yy - p->y * p->y);
    if (p->n < 10 || !(below > 0)) return json_null(); /* too few, or one of the two never changes */
    return json_real(round(across / sqrt(below) * 1000) / 1000);
}

/* The frames of the ring: how many hitches have which companion. */
static json_t *recent_hitches_json(const struct mt_frames *frames, uint64_t threshold_ns)
{
    uint64_t many = mt_histogram_percentile(&frames->allocations, 0.95), listed = 0, hitches = 0;
    uint64_t with_device = 0, with_many = 0, with_neither = 0;
    struct pairs allocations = {0}, device = {0};
    for (unsigned i = 0; i < MT_FRAME_RING; i++) {
        const struct mt_frame *frame = &frames->ring[i];
        if (!MT_GET(frame->index)) continue;
        listed++;
        add_pair(&allocations, (double)frame->duration_ns, (double)frame->allocation_count);
        add_pair(&device, (double)frame->duration_ns, (double)frame->device_call_ns);
        if (frame->duration_ns < threshold_ns) continue;
        bool has_device = frame->device_allocation_count != 0, has_many = frame->allocation_count > many;
        hitches++;
        with_device += has_device;
        with_many += has_many;
        with_neither += !has_device && !has_many;
    }
    json_t *part = json_object();
    mt_json_set_u64(part, "frame_count", listed);
    mt_json_set_u64(part, "count", hitches);
    mt_json_set_u64(part, "with_device_allocations", with_device);
    mt_json_set_u64(part, "with_many_allocations", with_many);
    mt_json_set_u64(part, "with_neither", with_neither);
    mt_json_set(part, "correlation_allocations", correlation_json(&allocations));
    mt_json_set(part, "correlation_device_ns", correlation_json(&device));
    return part;
}

static json_t *hitches_json(const struct mt_snapshot *snapshot)
{
    const struct mt_frames *frames = &snapshot->segment->frames;
    uint64_t median = mt_histogram_percentile(&frames->duration, 0.5);
    unsigned bucket = hitch_bucket(median);
    uint64_t threshold = mt_histogram_bucket_low(bucket);
    json_t *part = json_object();
    mt_json_set_u64(part, "median_ns", median);
    mt_json_set_u64(part, "threshold_ns", threshold);
    mt_json_set_u64(part, "count", count_from(&frames->duration, bucket));
    mt_json_set(part, "recent", recent_hitches_json(frames, threshold));
    mt_json_set(part, "longest", kept_frames_json(snapshot, frames->longest, threshold));
    return part;
}

/* ---- the part --------------------------------------------------------------------------- */

static const char *source_name(uint32_t source)
{
    static const char *const names[] = {NULL, "vulkan", "egl", "glx", "sdl", "glfw", "api"};
    return source < sizeof names / sizeof *names ? names[source] : NULL;
}

json_t *mt_frames_json(const struct mt_snapshot *snapshot, const struct mt_rates *rates)
{
    const struct mt_frames *frames = &snapshot->segment->frames;
    bool has_frames = MT_GET(frames->count) != 0;
    json_t *part = json_object();
    mt_json_set_u64(part, "count", MT_GET(frames->count));
    mt_json_set_text(part, "source", source_name(MT_GET(frames->source)));
    mt_json_set(part, "first_s", mt_report_time_json(snapshot, MT_GET(frames->first_ns)));
    mt_json_set(part, "last_s", mt_report_time_json(snapshot, MT_GET(frames->last_ns)));
    mt_json_set(part, "allocations_per_frame", mt_histogram_json(&frames->allocations));
    mt_json_set(part, "frees_per_frame", mt_histogram_json(&frames->frees));
    mt_json_set(part, "bytes_per_frame", mt_histogram_json(&frames->bytes));
    mt_json_set(part, "duration_ns", mt_histogram_json(&frames->duration));
    mt_json_set_u64(part, "zero_allocation_frames", MT_GET(frames->zero_allocation_frames));
    mt_json_set_u64(part, "ignored_presents", MT_GET(frames->ignored_presents));
    mt_json_set(part, "worst", kept_frames_json(snapshot, frames->worst, 0));
    mt_json_set(part, "hitches", has_frames ? hitches_json(snapshot) : NULL);
    mt_json_set(part, "rates", rates ? mt_rates_json(rates) : NULL);
    mt_json_set(part, "recent", recent_frames_json(frames));
    return part;
}
