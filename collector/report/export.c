/*
 * Folded stacks, speedscope and CSV, and what all exporters share.
 */
#include "export.h"

#include "json_build.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

const json_t *mt_export_stacks(const struct mt_export *job)
{
    return mt_json_get(mt_json_get(job->report, "cpu"), "stacks");
}

const char *mt_export_frame_name(const json_t *frame, char *buffer, size_t bytes)
{
    const char *function = mt_json_get_text(frame, "function"), *module = mt_json_get_text(frame, "module");
    const char *slash = strrchr(module, '/'), *address = mt_json_get_text(frame, "address");
    if (*function)
        snprintf(buffer, bytes, "%s", function);
    else if (*module)
        snprintf(buffer, bytes, "%s+%s", slash ? slash + 1 : module, mt_json_get_text(frame, "offset"));
    else
        snprintf(buffer, bytes, "%s", *address ? address : "?");
    return buffer;
}

/* ---- folded: root;...;leaf value ------------------------------------------------------- */

static void put_folded_name(FILE *out, const char *name)
{
    for (; *name; name++) fputc(*name == ';' || *name == '\n' ? ':' : *name, out);
}

static void put_folded(const struct mt_export *job, const json_t *stack, int64_t value)
{
    char name[1024];
    const json_t *frames = mt_json_get(stack, "frames");
    for (size_t i = json_array_size(frames); i-- > 0;) {
        put_folded_name(job->out, mt_export_frame_name(json_array_get(frames, i), name, sizeof name));
        if (i) fputc(';', job->out);
    }
    fprintf(job->out, " %" PRId64 "\n", value);
}

bool mt_export_folded(const struct mt_export *job)
{
    size_t index;
    const json_t *stack;
    json_array_foreach((json_t *)mt_export_stacks(job), index, stack)
    {
        int64_t value = mt_json_get_i64(stack, job->measure);
        if (value > 0) put_folded(job, stack, value);
    }
    return true;
}

/* ---- speedscope --------------------------------------------------------------------------- */

struct frame_table {
    json_t *frames, *index_of; /* the list, and the place in it by name, file and line */
};

static int64_t frame_index(struct frame_table *table, const json_t *frame)
{
    char name[1024], key[2048];
    const char *file = mt_json_get_text(frame, "file");
    int64_t line = mt_json_get_i64(frame, "line");
    mt_export_frame_name(frame, name, sizeof name);
    snprintf(key, sizeof key, "%s\n%s\n%" PRId64, name, file, line);
    const json_t *known = json_object_get(table->index_of, key);
    if (known) return json_integer_value(known);
    json_t *row = json_object();
    mt_json_set_text(row, "name", name);
    if (*file) mt_json_set_text(row, "file", file);
    if (line) mt_json_set_i64(row, "line", line);
    json_array_append_new(table->frames, row);
    int64_t at = (int64_t)json_array_size(table->frames) - 1;
    json_object_set_new(table->index_of, key, json_integer(at));
    return at;
}

static json_t *profile_json(struct frame_table *table, const json_t *stacks, const char *name, const char *measure,
                            bool is_bytes)
{
    json_t *samples = json_array(), *weights = json_array(), *profile = json_object();
    int64_t sum = 0;
    size_t index;
    const json_t *stack;
    json_array_foreach((json_t *)stacks, index, stack)
    {
        int64_t value = mt_json_get_i64(stack, measure);
        const json_t *frames = mt_json_get(stack, "frames");
        if (value <= 0) continue;
        json_t *sample = json_array();
        for (size_t i = json_array_size(frames); i-- > 0;)
            json_array_append_new(sample, json_integer(frame_index(table, json_array_get(frames, i))));
        json_array_append_new(samples, sample);
        json_array_append_new(weights, json_integer(value));
        sum += value;
    }
    mt_json_set_text(profile, "type", "sampled");
    mt_json_set_text(profile, "name", name);
    mt_json_set_text(profile, "unit", is_bytes ? "bytes" : "none");
    mt_json_set_i64(profile, "startValue", 0);
    mt_json_set_i64(profile, "endValue", sum);
    mt_json_set(profile, "samples", samples);
    mt_json_set(profile, "weights", weights);
    return profile;
}

bool mt_export_speedscope(const struct mt_export *job)
{
    static const struct {
        const char *name, *measure;
        bool is_bytes;
    } profiles[] = {{"live", "live_bytes", true},
                    {"at the peak", "peak_bytes", true},
                    {"allocated in all", "total_bytes", true},
                    {"allocations", "total_count", false},
                    {"temporary allocations", "temporary_count", false}};
    struct frame_table table = {json_array(), json_object()};
    json_t *document = json_object(), *shared = json_object(), *list = json_array();
    for (size_t i = 0; i < sizeof profiles / sizeof *profiles; i++)
        json_array_append_new(list, profile_json(&table, mt_export_stacks(job), profiles[i].name,
                                                 profiles[i].measure, profiles[i].is_bytes));
    mt_json_set_text(document, "$schema", "https://www.speedscope.app/file-format-schema.json");
    mt_json_set_text(document, "name", mt_json_get_text(mt_json_get(job->report, "process"), "executable"));
    mt_json_set_text(document, "exporter", "memtrack " MT_VERSION);
    mt_json_set(shared, "frames", table.frames);
    mt_json_set(document, "shared", shared);
    mt_json_set(document, "profiles", list);
    json_decref(table.index_of);
    int error = json_dumpf(document, job->out, JSON_COMPACT);
    fputc('\n', job->out);
    json_decref(document);
    return !error;
}

/* ---- CSV: the timeline ----------------------------------------------------------------------- */

bool mt_export_csv(const struct mt_export *job)
{
    static const char *const columns[] = {
        "t_s", "cpu_current_bytes", "cpu_allocation_count", "vulkan_current_bytes", "rss_bytes", "frame"};
    const size_t count = sizeof columns / sizeof *columns;
    size_t index;
    const json_t *point;
    for (size_t i = 0; i < count; i++) fprintf(job->out, "%s%c", columns[i], i + 1 < count ? ',' : '\n');
    json_array_foreach((json_t *)mt_json_get(job->report, "timeline"), index, point)
    {
        for (size_t i = 0; i < count; i++) {
            const json_t *value = mt_json_get(point, columns[i]);
            if (json_is_integer(value))
                fprintf(job->out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
            else if (json_is_real(value))
                fprintf(job->out, "%.6f", json_real_value(value));
            fputc(i + 1 < count ? ',' : '\n', job->out);
        }
    }
    return true;
}
