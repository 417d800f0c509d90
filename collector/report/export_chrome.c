/*
 * The trace event format of Chrome, which Perfetto's viewer and speedscope
 * open: counters over time, frames as slices of one track, events as instants.
 * Times are whole microseconds since the program's start: with fractions, the
 * end of a frame and the start of the next would differ by rounding, and
 * readers would take the two for overlapping.
 */
#include "export.h"

#include "json_build.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct trace {
    const json_t *report;
    json_t *events;
    int64_t pid;
};

static int64_t ns_of(const json_t *row, const char *key)
{
    return llround(mt_json_get_real(row, key) * 1e9);
}

static int64_t us_of(int64_t time_ns)
{
    return time_ns > 0 ? time_ns / 1000 : 0;
}

/*
 * Tracks are threads to the format, and Perfetto takes a thread's id for one of the whole machine, with a meaning
 * of its own for 0. The only id that is certainly this process's is that of its main thread, the process's own.
 */
static json_t *add_event(const struct trace *trace, const char *phase, const char *name, int64_t time_ns)
{
    json_t *event = json_object();
    mt_json_set_text(event, "ph", phase);
    mt_json_set_i64(event, "pid", trace->pid);
    mt_json_set_i64(event, "tid", trace->pid);
    mt_json_set_text(event, "name", *name ? name : "unnamed");
    mt_json_set_i64(event, "ts", us_of(time_ns));
    json_array_append_new(trace->events, event);
    return event;
}

static void add_name(const struct trace *trace, const char *kind, const char *name)
{
    json_t *arguments = json_object();
    mt_json_set_text(arguments, "name", name);
    mt_json_set(add_event(trace, "M", kind, 0), "args", arguments);
}

/* ---- counters ------------------------------------------------------------------------ */

/* Takes the value over; what is not known is left out. */
static void add_counter(const struct trace *trace, const char *name, const char *unit, int64_t time_ns,
                        json_t *value)
{
    if (json_is_number(value)) {
        json_t *arguments = json_object();
        json_object_set(arguments, unit, value);
        mt_json_set(add_event(trace, "C", name, time_ns), "args", arguments);
    }
    json_decref(value);
}

static json_t *copy_of(const json_t *row, const char *key)
{
    return json_incref((json_t *)mt_json_get(row, key));
}

/* A counter keeps its value until the next one: the rate between two points stands at the first. */
static json_t *rate_of(const json_t *point, const json_t *next)
{
    double seconds = mt_json_get_real(next, "t_s") - mt_json_get_real(point, "t_s");
    int64_t count = mt_json_get_i64(next, "cpu_allocation_count") - mt_json_get_i64(point, "cpu_allocation_count");
    return next && seconds > 0 && count >= 0 ? json_real(round((double)count / seconds)) : NULL;
}

static void add_timeline(const struct trace *trace)
{
    const json_t *timeline = mt_json_get(trace->report, "timeline"), *point;
    size_t index;
    json_array_foreach((json_t *)timeline, index, point)
    {
        int64_t time_ns = ns_of(point, "t_s");
        add_counter(trace, "heap", "bytes", time_ns, copy_of(point, "cpu_current_bytes"));
        add_counter(trace, "device memory", "bytes", time_ns, copy_of(point, "vulkan_current_bytes"));
        add_counter(trace, "resident", "bytes", time_ns, copy_of(point, "rss_bytes"));
        add_counter(trace, "allocations", "per_s", time_ns, rate_of(point, json_array_get(timeline, index + 1)));
    }
}

/* ---- frames ------------------------------------------------------------------------------ */

struct slice {
    int64_t start_ns, end_ns, frame;
    json_t *arguments;
};

struct slices {
    struct slice *rows;
    size_t count, room;
    bool is_short_of_memory;
};

/* Takes the arguments over. A frame that is there already, or that began before the program, is left out. */
static void add_slice(struct slices *slices, int64_t frame, int64_t end_ns, int64_t duration_ns, json_t *arguments)
{
    bool is_known = duration_ns < 0 || end_ns < duration_ns;
    for (size_t i = 0; i < slices->count && !is_known; i++) is_known = slices->rows[i].frame == frame;
    if (!is_known && slices->count == slices->room) {
        void *moved = realloc(slices->rows, (slices->room * 2 + 64) * sizeof *slices->rows);
        if (moved) {
            slices->rows = moved;
            slices->room = slices->room * 2 + 64;
        } else {
            slices->is_short_of_memory = is_known = true;
        }
    }
    if (is_known) {
        json_decref(arguments);
        return;
    }
    struct slice slice = {end_ns - duration_ns, end_ns, frame, arguments};
    slices->rows[slices->count++] = slice;
}

static int64_t column(const json_t *columns, const char *key, size_t row)
{
    return json_integer_value(json_array_get(mt_json_get(columns, key), row));
}

/*
 * The last frames, from the newest backwards: each ends where the next begins. A frame that is missing in the list,
 * because it was written when the report was made, ends it: when the older ones were is not known.
 */
static void collect_recent(struct slices *slices, const json_t *frames)
{
    const json_t *recent = mt_json_get(frames, "recent");
    int64_t end_ns = ns_of(frames, "last_s"), expected = mt_json_get_i64(frames, "count");
    for (size_t i = json_array_size(mt_json_get(recent, "frame")); i-- > 0; expected--) {
        int64_t frame = column(recent, "frame", i), duration_ns = column(recent, "duration_ns", i);
        if (frame != expected) return;
        json_t *arguments = json_object();
        mt_json_set_i64(arguments, "frame", frame);
        mt_json_set_i64(arguments, "allocations", column(recent, "allocation_count", i));
        mt_json_set_i64(arguments, "bytes", column(recent, "bytes", i));
        mt_json_set_i64(arguments, "heap_bytes", column(recent, "cpu_current_bytes", i));
        mt_json_set_i64(arguments, "driver_ns", column(recent, "device_ns", i));
        add_slice(slices, frame, end_ns, duration_ns, arguments);
        end_ns -= duration_ns;
    }
}

/* Frames that were kept for their allocations or their length, also from long ago. */
static void collect_kept(struct slices *slices, const json_t *rows)
{
    size_t index;
    const json_t *row;
    json_array_foreach((json_t *)rows, index, row)
    {
        json_t *arguments = json_object();
        mt_json_set_i64(arguments, "frame", mt_json_get_i64(row, "frame"));
        mt_json_set_i64(arguments, "allocations", mt_json_get_i64(row, "allocation_count"));
        mt_json_set_i64(arguments, "bytes", mt_json_get_i64(row, "bytes"));
        mt_json_set_i64(arguments, "heap_bytes", mt_json_get_i64(row, "cpu_current_bytes"));
        mt_json_set_i64(arguments, "driver_ns", mt_json_get_i64(row, "device_ns"));
        add_slice(slices, mt_json_get_i64(row, "frame"), ns_of(row, "t_s"), mt_json_get_i64(row, "duration_ns"),
                  arguments);
    }
}

static int earlier(const void *a, const void *b)
{
    const struct slice *left = a, *right = b;
    return left->frame < right->frame ? -1 : left->frame > right->frame;
}

/* Slices of a track must not overlap; times of kept frames are rounded to microseconds. */
static void add_slices(const struct trace *trace, const struct slices *slices, int64_t hitch_ns)
{
    int64_t last_ns = 0;
    for (size_t i = 0; i < slices->count; i++) {
        const struct slice *slice = &slices->rows[i];
        int64_t start_ns = slice->start_ns > last_ns ? slice->start_ns : last_ns;
        int64_t end_ns = slice->end_ns > start_ns ? slice->end_ns : start_ns;
        bool is_hitch = hitch_ns > 0 && slice->end_ns - slice->start_ns >= hitch_ns;
        add_counter(trace, "allocations in a frame", "count", start_ns, copy_of(slice->arguments, "allocations"));
        add_counter(trace, "heap", "bytes", end_ns, copy_of(slice->arguments, "heap_bytes"));
        json_t *event = add_event(trace, "X", is_hitch ? "hitch" : "frame", start_ns);
        mt_json_set_i64(event, "dur", us_of(end_ns) - us_of(start_ns));
        mt_json_set_i64(slice->arguments, "duration_ns", slice->end_ns - slice->start_ns);
        mt_json_set(event, "args", slice->arguments);
        last_ns = end_ns;
    }
}

static bool add_frames(const struct trace *trace)
{
    const json_t *frames = mt_json_get(trace->report, "frames"), *hitches = mt_json_get(frames, "hitches");
    struct slices slices = {0};
    collect_recent(&slices, frames);
    collect_kept(&slices, mt_json_get(frames, "worst"));
    collect_kept(&slices, mt_json_get(hitches, "longest"));
    if (slices.count) {
        qsort(slices.rows, slices.count, sizeof *slices.rows, earlier);
        add_name(trace, "thread_name", "frames");
        add_slices(trace, &slices, mt_json_get_i64(hitches, "threshold_ns"));
    }
    free(slices.rows);
    return !slices.is_short_of_memory;
}

/* ---- events -------------------------------------------------------------------------------- */

static void add_instants(const struct trace *trace)
{
    size_t index;
    const json_t *row;
    json_array_foreach((json_t *)mt_json_get(trace->report, "events"), index, row)
    {
        json_t *event = add_event(trace, "i", mt_json_get_text(row, "kind"), ns_of(row, "t_s"));
        json_t *arguments = json_deep_copy(row);
        json_object_del(arguments, "kind");
        json_object_del(arguments, "t_s");
        mt_json_set_text(event, "s", "p");
        mt_json_set(event, "args", arguments);
    }
}

bool mt_export_chrome(const struct mt_export *job)
{
    const json_t *process = mt_json_get(job->report, "process");
    struct trace trace = {job->report, json_array(), mt_json_get_i64(process, "pid")};
    json_t *document = json_object();
    add_name(&trace, "process_name", mt_json_get_text(process, "executable"));
    add_timeline(&trace);
    bool is_whole = add_frames(&trace);
    add_instants(&trace);
    mt_json_set_text(document, "displayTimeUnit", "ms");
    mt_json_set(document, "traceEvents", trace.events);
    int error = json_dumpf(document, job->out, JSON_COMPACT | JSON_REAL_PRECISION(15));
    fputc('\n', job->out);
    json_decref(document);
    return is_whole && !error;
}
