/* DHAT's file format, version 2, for dh_view.html of valgrind. */
#include "export.h"

#include "json_build.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *frame_index(json_t *table, json_t *index_of, const json_t *frame)
{
    char name[1024], text[1400];
    const char *file = mt_json_get_text(frame, "file"), *module = mt_json_get_text(frame, "module");
    mt_export_frame_name(frame, name, sizeof name);
    snprintf(text, sizeof text, *file ? "%s: %s (%s:%" PRId64 ")" : "%s: %s (in %s)",
             mt_json_get_text(frame, "address"), name, *file ? file : module, mt_json_get_i64(frame, "line"));
    json_t *known = json_object_get(index_of, text);
    if (known) return json_incref(known);
    json_t *at = json_integer((json_int_t)json_array_size(table));
    json_array_append_new(table, mt_json_text(text));
    json_object_set(index_of, text, at);
    return at;
}

static void copy_number(json_t *point, const char *key, const json_t *stack, const char *from)
{
    int64_t value = mt_json_get_i64(stack, from);
    mt_json_set_i64(point, key, value > 0 ? value : 0);
}

static json_t *point_json(json_t *table, json_t *index_of, const json_t *stack)
{
    size_t index;
    const json_t *frame;
    json_t *point = json_object(), *frames = json_array();
    copy_number(point, "tb", stack, "total_bytes");
    copy_number(point, "tbk", stack, "total_count");
    mt_json_set_i64(point, "tl", 1000 * mt_json_get_i64(stack, "lifetime_ms"));
    copy_number(point, "mb", stack, "max_bytes");
    copy_number(point, "mbk", stack, "max_count");
    copy_number(point, "gb", stack, "peak_bytes");
    copy_number(point, "gbk", stack, "peak_count");
    copy_number(point, "eb", stack, "live_bytes");
    copy_number(point, "ebk", stack, "live_count");
    json_array_foreach((json_t *)mt_json_get(stack, "frames"), index, frame)
        json_array_append_new(frames, frame_index(table, index_of, frame));
    mt_json_set(point, "fs", frames);
    return point;
}

static json_t *command_json(const json_t *process)
{
    char text[4096] = "";
    size_t index, at = 0;
    const json_t *word;
    json_array_foreach((json_t *)mt_json_get(process, "command_line"), index, word)
    {
        int put = snprintf(text + at, sizeof text - at, "%s%s", index ? " " : "", json_string_value(word));
        at += put > 0 ? (size_t)put : 0;
        if (at >= sizeof text) break;
    }
    return mt_json_text(text);
}

/*
 * The viewer wants each list of frames once. Stacks can have the same frames
 * and yet be two: of two threads, or of a module that was loaded twice. Their
 * numbers are added up; for the highest of each alone ("mb") that is a bound.
 */
static void add_point(json_t *points, json_t *point_of, json_t *point)
{
    char *key = json_dumps(json_object_get(point, "fs"), JSON_COMPACT);
    json_t *known = key ? json_object_get(point_of, key) : NULL, *value;
    const char *name;
    if (known) {
        json_object_foreach(point, name, value)
        {
            if (json_is_integer(value))
                mt_json_set_i64(known, name, mt_json_get_i64(known, name) + json_integer_value(value));
        }
    } else {
        json_array_append(points, point);
        if (key) json_object_set(point_of, key, point);
    }
    json_decref(point);
    free(key);
}

bool mt_export_dhat(const struct mt_export *job)
{
    const json_t *process = mt_json_get(job->report, "process"), *cpu = mt_json_get(job->report, "cpu");
    json_t *document = json_object(), *points = json_array(), *table = json_array(), *index_of = json_object();
    json_t *point_of = json_object();
    json_array_append_new(table, json_string("[root]"));
    size_t index;
    const json_t *stack;
    json_array_foreach((json_t *)mt_export_stacks(job), index, stack)
        add_point(points, point_of, point_json(table, index_of, stack));
    mt_json_set_i64(document, "dhatFileVersion", 2);
    mt_json_set_text(document, "mode", "heap");
    mt_json_set_text(document, "verb", "Allocated");
    mt_json_set_bool(document, "bklt", true);
    mt_json_set_bool(document, "bkacc", false);
    mt_json_set_text(document, "tu", "us"); /* a million of them is one "Mtu" */
    mt_json_set_text(document, "Mtu", "s");
    mt_json_set_i64(document, "tuth", 10000);
    mt_json_set(document, "cmd", command_json(process));
    mt_json_set_i64(document, "pid", mt_json_get_i64(process, "pid"));
    mt_json_set_i64(document, "tg", (int64_t)(mt_json_get_real(cpu, "peak_s") * 1e6));
    mt_json_set_i64(document, "te", (int64_t)(mt_json_get_real(process, "uptime_s") * 1e6));
    mt_json_set(document, "pps", points);
    mt_json_set(document, "ftbl", table);
    json_decref(index_of);
    json_decref(point_of);
    int error = json_dumpf(document, job->out, JSON_COMPACT);
    fputc('\n', job->out);
    json_decref(document);
    return !error;
}
