/* The timeline of a process and its trend; see timeline.h. */
#include "timeline.h"
#include "json_build.h"

#include <stdlib.h>

/* The window of the trend, and how small a change of the window's mean counts as none. */
static const uint64_t TREND_WINDOW_NS = UINT64_C(60000000000);
static const double TREND_STABLE_PART = 0.01;

static int64_t device_bytes(const struct mt_segment *segment)
{
    int64_t sum = 0;
    for (unsigned i = 0; i < MT_HEAP_MAX; i++)
        if (MT_GET(segment->heaps[i].kind) == MT_HEAP_DEVICE_HEAP) sum += MT_GET(segment->heaps[i].current_bytes);
    return sum;
}

struct mt_timeline_point mt_timeline_point_of(const struct mt_snapshot *snapshot,
                                              const struct mt_proc_memory *memory)
{
    const struct mt_segment *segment = snapshot->segment;
    uint64_t start = segment->process.start_ns, end = MT_GET(segment->process.end_ns);
    uint64_t now = end ? end : snapshot->taken_ns;
    struct mt_timeline_point point = {
        .t_ns = now > start ? now - start : 0,
        .cpu_current_bytes = (int64_t)segment->globals.inherited_bytes + snapshot->cpu.live_bytes,
        .cpu_allocation_count = snapshot->cpu.allocation_count,
        .vulkan_current_bytes = device_bytes(segment),
        .frame = MT_GET(segment->frames.count),
    };
    if (memory && memory->known) {
        point.rss_known = true;
        point.rss_bytes = memory->rss_bytes;
    }
    return point;
}

static void thin_out(struct mt_timeline *timeline)
{
    size_t kept = 0;
    for (size_t i = 0; i < timeline->count; i += 2) timeline->points[kept++] = timeline->points[i];
    timeline->thinned_count += timeline->count - kept;
    timeline->count = kept;
    timeline->stride *= 2;
}

void mt_timeline_add(struct mt_timeline *timeline, const struct mt_timeline_point *point)
{
    if (!timeline->stride) timeline->stride = 1;
    if (timeline->skip) {
        timeline->skip--;
        timeline->thinned_count++;
        return;
    }
    if (timeline->count == MT_TIMELINE_POINTS) thin_out(timeline);
    if (timeline->count == timeline->room) {
        size_t room = timeline->room ? timeline->room * 2 : 8;
        void *moved = realloc(timeline->points, room * sizeof *timeline->points);
        if (!moved) {
            timeline->thinned_count++;
            return;
        }
        timeline->points = moved;
        timeline->room = room;
    }
    timeline->points[timeline->count++] = *point;
    timeline->skip = timeline->stride - 1;
}

void mt_timeline_free(struct mt_timeline *timeline)
{
    free(timeline->points);
    timeline->points = NULL;
    timeline->count = timeline->room = 0;
}

json_t *mt_timeline_point_json(const struct mt_timeline_point *point)
{
    json_t *row = json_object();
    mt_json_set(row, "t_s", mt_json_seconds(point->t_ns));
    mt_json_set_i64(row, "cpu_current_bytes", point->cpu_current_bytes);
    mt_json_set_u64(row, "cpu_allocation_count", point->cpu_allocation_count);
    mt_json_set_i64(row, "vulkan_current_bytes", point->vulkan_current_bytes);
    mt_json_set(row, "rss_bytes", point->rss_known ? mt_json_u64(point->rss_bytes) : NULL);
    mt_json_set_u64(row, "frame", point->frame);
    return row;
}

json_t *mt_timeline_json(const struct mt_timeline *timeline)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < timeline->count; i++)
        json_array_append_new(rows, mt_timeline_point_json(&timeline->points[i]));
    return rows;
}

static double value_of(const struct mt_timeline_point *point, bool vulkan)
{
    return (double)(vulkan ? point->vulkan_current_bytes : point->cpu_current_bytes);
}

/* Slope in bytes a second over points [first, count); *mean is their mean value, *seconds their span. */
static double slope_of(const struct mt_timeline *timeline, size_t first, bool vulkan, double *mean, double *seconds)
{
    double n = (double)(timeline->count - first), t0 = (double)timeline->points[first].t_ns;
    double st = 0, sv = 0, stt = 0, stv = 0;
    for (size_t i = first; i < timeline->count; i++) {
        double t = ((double)timeline->points[i].t_ns - t0) / 1e9, v = value_of(&timeline->points[i], vulkan);
        st += t;
        sv += v;
        stt += t * t;
        stv += t * v;
    }
    double divisor = n * stt - st * st;
    *mean = sv / n;
    *seconds = ((double)timeline->points[timeline->count - 1].t_ns - t0) / 1e9;
    return divisor > 0 ? (n * stv - st * sv) / divisor : 0;
}

static json_t *trend_of(const struct mt_timeline *timeline, bool vulkan)
{
    json_t *trend = json_object();
    size_t first = timeline->count;
    uint64_t newest = timeline->count ? timeline->points[timeline->count - 1].t_ns : 0;
    while (first && newest - timeline->points[first - 1].t_ns <= TREND_WINDOW_NS) first--;
    if (timeline->count - first < 3) {
        mt_json_set(trend, "direction", NULL);
        mt_json_set(trend, "bytes_per_s", NULL);
        return trend;
    }
    double mean, seconds, slope = slope_of(timeline, first, vulkan, &mean, &seconds);
    double change = slope * seconds, least = TREND_STABLE_PART * (mean > 0 ? mean : 1);
    mt_json_set_text(trend, "direction", change > least ? "increasing" : change < -least ? "decreasing" : "stable");
    mt_json_set_i64(trend, "bytes_per_s", (int64_t)slope);
    return trend;
}

json_t *mt_trend_json(const struct mt_timeline *timeline)
{
    json_t *trend = json_object();
    mt_json_set(trend, "cpu", trend_of(timeline, false));
    mt_json_set(trend, "vulkan", trend_of(timeline, true));
    return trend;
}
