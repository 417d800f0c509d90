/*
 * The timeline of one process: a point per interval, kept by the collector for
 * the report, and the trend drawn from its last points. One thread.
 */
#ifndef MT_TIMELINE_H
#define MT_TIMELINE_H

#include "procfs.h"
#include "snapshot.h"

#include <jansson.h>

struct mt_timeline_point {
    uint64_t t_ns; /* since the process's start */
    int64_t cpu_current_bytes, vulkan_current_bytes;
    uint64_t cpu_allocation_count, rss_bytes, frame;
    bool rss_known;
};

struct mt_timeline {
    struct mt_timeline_point *points;
    size_t count, room;
    uint64_t thinned_count; /* points left out again because the timeline grew long */
    uint64_t stride, skip;  /* every stride-th point is kept */
};

struct mt_timeline_point mt_timeline_point_of(const struct mt_snapshot *snapshot,
                                              const struct mt_proc_memory *memory);
/* Adds a point. When there are MT_TIMELINE_POINTS, every other one goes and only every second new one is kept. */
enum { MT_TIMELINE_POINTS = 4096 };
void mt_timeline_add(struct mt_timeline *timeline, const struct mt_timeline_point *point);
void mt_timeline_free(struct mt_timeline *timeline);

json_t *mt_timeline_point_json(const struct mt_timeline_point *point);
json_t *mt_timeline_json(const struct mt_timeline *timeline);
/* {cpu{direction,bytes_per_s}, vulkan{...}}: the line of least squares through the points of the last minute. */
json_t *mt_trend_json(const struct mt_timeline *timeline);

#endif
