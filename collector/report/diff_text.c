/*
 * Compares reports. Stacks are the same when the names of their functions (or
 * their places in a module) are, so that two runs and two builds can be compared.
 */
#include "diff_text.h"

#include "export.h"
#include "human.h"
#include "json_build.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FRAMES_SHOWN = 6 };

/* `program` is the executable's path: it is the same thing in two builds, whatever its name. */
typedef void name_row(const json_t *row, const char *program, char *name, size_t bytes);

struct list {
    const char *name, *member;        /* of `cpu`; NULL: the memory heaps of all devices */
    const char *live, *total, *count; /* members of a row; NULL: it has no such number */
    name_row *name_of;
};

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static void name_of_tag(const json_t *row, const char *program, char *name, size_t bytes)
{
    (void)program;
    snprintf(name, bytes, "%s", mt_json_get_text(row, "tag"));
}

static void name_of_module(const json_t *row, const char *program, char *name, size_t bytes)
{
    const char *path = mt_json_get_text(row, "path");
    const char *known = !strcmp(path, program) ? "(the program)" : base_name(path);
    snprintf(name, bytes, "%s", *path ? known : "(unknown code)");
}

static void name_of_thread(const json_t *row, const char *program, char *name, size_t bytes)
{
    const char *text = mt_json_get_text(row, "name");
    bool is_main = *text && !strncmp(text, base_name(program), 15); /* the kernel keeps 15 bytes */
    snprintf(name, bytes, "%s", is_main ? "(named as the program)" : text);
}

static void name_of_class(const json_t *row, const char *program, char *name, size_t bytes)
{
    (void)program;
    char high[MT_HUMAN_BYTES];
    const json_t *limit = mt_json_get(row, "max_bytes");
    snprintf(name, bytes, "up to %s",
             json_is_integer(limit) ? mt_human_bytes(high, json_integer_value(limit)) : "any size");
}

/* Of all devices: two runs have the same ones, and an index alone says too little. */
static void name_of_heap(const json_t *row, const char *program, char *name, size_t bytes)
{
    (void)program;
    char size[MT_HUMAN_BYTES];
    bool is_local = false;
    size_t index;
    const json_t *flag;
    json_array_foreach((json_t *)mt_json_get(row, "flags"), index, flag)
        is_local |= json_is_string(flag) && !strcmp(json_string_value(flag), "DEVICE_LOCAL");
    snprintf(name, bytes, "heap %" PRId64 ", %s%s", mt_json_get_i64(row, "index"),
             mt_human_bytes(size, mt_json_get_i64(row, "size_bytes")), is_local ? ", device-local" : "");
}

/* The frames from the innermost on, one a line. */
static void name_of_stack(const json_t *row, const char *program, char *name, size_t bytes)
{
    size_t at = 0, index;
    const json_t *frame;
    name[0] = 0;
    json_array_foreach((json_t *)mt_json_get(row, "frames"), index, frame)
    {
        char text[512];
        const char *path = mt_json_get_text(frame, "module");
        mt_export_frame_name(frame, text, sizeof text);
        bool is_foreign = *path && strcmp(path, program) && *mt_json_get_text(frame, "function");
        int put = snprintf(name + at, bytes - at, is_foreign ? "%s%s  (%s)" : "%s%s", index ? "\n" : "", text,
                           base_name(path));
        at += put > 0 ? (size_t)put : 0;
        if (at >= bytes) return;
    }
}

static const struct list lists[] = {
    {"tags", "tags", "current_bytes", "total_bytes", "allocation_count", name_of_tag},
    {"modules", "modules", "live_bytes", "total_bytes", "total_count", name_of_module},
    {"threads", "threads", "current_bytes", "total_bytes", "allocation_count", name_of_thread},
    {"size_classes", "size_classes", "current_bytes_high", NULL, "allocation_count", name_of_class},
    {"stacks", "stacks", "live_bytes", "total_bytes", "total_count", name_of_stack},
    {"heaps", NULL, "current_bytes", "total_bytes", "allocation_count", name_of_heap},
};
enum { LISTS = sizeof lists / sizeof *lists };

/* ---- the document ------------------------------------------------------------------------ */

static void add_to(json_t *row, const char *key, int64_t value)
{
    mt_json_set_i64(row, key, mt_json_get_i64(row, key) + value);
}

static json_t *new_row(const char *name)
{
    static const char *const keys[] = {"live_before", "live_after",   "total_before",
                                       "total_after", "count_before", "count_after"};
    json_t *row = json_object();
    mt_json_set(row, "name", mt_json_text(name));
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) mt_json_set_i64(row, keys[i], 0);
    return row;
}

/* Rows of one name are added up: two threads of a pool, two stacks that differ in their lines only. */
static void collect_rows(json_t *table, const struct list *list, const json_t *rows, const char *program,
                         bool is_after)
{
    char name[8192];
    size_t index;
    const json_t *from;
    json_array_foreach((json_t *)rows, index, from)
    {
        list->name_of(from, program, name, sizeof name);
        json_t *row = json_object_get(table, name);
        if (!row) {
            row = new_row(name);
            json_object_set_new(table, name, row);
        }
        if (list->live) add_to(row, is_after ? "live_after" : "live_before", mt_json_get_i64(from, list->live));
        if (list->total) add_to(row, is_after ? "total_after" : "total_before", mt_json_get_i64(from, list->total));
        if (list->count) add_to(row, is_after ? "count_after" : "count_before", mt_json_get_i64(from, list->count));
    }
}

static void collect(json_t *table, const struct list *list, const json_t *report, bool is_after)
{
    const char *program = mt_json_get_text(mt_json_get(report, "process"), "executable");
    size_t index;
    const json_t *device;
    if (list->member) {
        collect_rows(table, list, mt_json_get(mt_json_get(report, "cpu"), list->member), program, is_after);
        return;
    }
    json_array_foreach((json_t *)mt_json_get(mt_json_get(report, "vulkan"), "devices"), index, device)
        collect_rows(table, list, mt_json_get(device, "heaps"), program, is_after);
}

struct change {
    json_t *row;
    int64_t live, total;
};

static int64_t magnitude(int64_t value)
{
    return value < 0 ? -value : value;
}

static int larger_change(const void *a, const void *b)
{
    const struct change *left = a, *right = b;
    int64_t l = magnitude(left->live), r = magnitude(right->live);
    if (l == r) {
        l = magnitude(left->total);
        r = magnitude(right->total);
    }
    return l < r   ? 1
           : l > r ? -1
                   : strcmp(mt_json_get_text(left->row, "name"), mt_json_get_text(right->row, "name"));
}

static json_t *sorted(json_t *table)
{
    const char *key;
    json_t *row, *rows = json_array();
    size_t count = 0;
    struct change *changes = calloc(json_object_size(table) + 1, sizeof *changes);
    if (!changes) return rows;
    json_object_foreach(table, key, row)
    {
        struct change change = {row, mt_json_get_i64(row, "live_after") - mt_json_get_i64(row, "live_before"),
                                mt_json_get_i64(row, "total_after") - mt_json_get_i64(row, "total_before")};
        changes[count++] = change;
    }
    if (count) qsort(changes, count, sizeof *changes, larger_change);
    for (size_t i = 0; i < count; i++) json_array_append(rows, changes[i].row);
    free(changes);
    return rows;
}

static void set_values(json_t *totals, const char *name, int64_t before, int64_t after)
{
    json_t *row = json_object();
    mt_json_set_i64(row, "before", before);
    mt_json_set_i64(row, "after", after);
    mt_json_set(totals, name, row);
}

static void set_total(json_t *totals, const char *name, const json_t *before, const json_t *after, const char *key)
{
    set_values(totals, name, mt_json_get_i64(before, key), mt_json_get_i64(after, key));
}

static int64_t device_bytes(const json_t *report)
{
    int64_t sum = 0;
    size_t index, place;
    const json_t *device, *heap;
    json_array_foreach((json_t *)mt_json_get(mt_json_get(report, "vulkan"), "devices"), index, device)
        json_array_foreach((json_t *)mt_json_get(device, "heaps"), place, heap)
            sum += mt_json_get_i64(heap, "current_bytes");
    return sum;
}

static bool is_one_process(const json_t *before, const json_t *after)
{
    const json_t *a = mt_json_get(before, "process"), *b = mt_json_get(after, "process");
    return mt_json_get_i64(a, "pid") == mt_json_get_i64(b, "pid") &&
           !strcmp(mt_json_get_text(a, "start_time"), mt_json_get_text(b, "start_time")) &&
           !strcmp(mt_json_get_text(a, "executable"), mt_json_get_text(b, "executable"));
}

/* What went on between two moments of one process. NULL: no time has passed. */
static json_t *between_json(const json_t *totals, double from_s, double to_s)
{
    static const char *const changes[][2] = {{"heap_bytes_per_s", "current_bytes"},
                                             {"device_bytes_per_s", "vulkan_current_bytes"},
                                             {"allocations_per_s", "allocation_count"}};
    double seconds = to_s - from_s;
    if (!(seconds > 0)) return NULL;
    json_t *part = json_object();
    mt_json_set(part, "from_s", json_real(from_s));
    mt_json_set(part, "to_s", json_real(to_s));
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        const json_t *row = mt_json_get(totals, changes[i][1]);
        double change = (double)(mt_json_get_i64(row, "after") - mt_json_get_i64(row, "before"));
        mt_json_set(part, changes[i][0], json_real(change / seconds));
    }
    const json_t *frames = mt_json_get(totals, "frame_count"), *calls = mt_json_get(totals, "allocation_count");
    int64_t frame_count = mt_json_get_i64(frames, "after") - mt_json_get_i64(frames, "before");
    double call_count = (double)(mt_json_get_i64(calls, "after") - mt_json_get_i64(calls, "before"));
    mt_json_set(part, "allocations_per_frame",
                frame_count > 0 ? json_real(call_count / (double)frame_count) : NULL);
    return part;
}

/* The medians of what a frame costs. */
static void set_frame_totals(json_t *totals, const json_t *before, const json_t *after)
{
    static const char *const medians[][2] = {{"frame_allocations", "allocations_per_frame"},
                                             {"frame_bytes", "bytes_per_frame"},
                                             {"frame_ns", "duration_ns"}};
    const json_t *first = mt_json_get(before, "frames"), *second = mt_json_get(after, "frames");
    for (size_t i = 0; i < sizeof medians / sizeof *medians; i++)
        set_total(totals, medians[i][0], mt_json_get(first, medians[i][1]), mt_json_get(second, medians[i][1]),
                  "p50");
}

json_t *mt_diff_json(const json_t *before, const json_t *after, const char *by)
{
    static const char *const totals[] = {"current_bytes", "current_count",    "peak_bytes",
                                         "total_bytes",   "allocation_count", "rss_bytes"};
    json_t *diff = json_object(), *part = json_object();
    for (size_t i = 0; i < sizeof totals / sizeof *totals; i++)
        set_total(part, totals[i], mt_json_get(before, "cpu"), mt_json_get(after, "cpu"), totals[i]);
    set_values(part, "vulkan_current_bytes", device_bytes(before), device_bytes(after));
    set_total(part, "frame_count", mt_json_get(before, "frames"), mt_json_get(after, "frames"), "count");
    set_frame_totals(part, before, after);
    mt_json_set(diff, "totals", part);
    mt_json_set(diff, "between",
                is_one_process(before, after)
                    ? between_json(part, mt_json_get_real(mt_json_get(before, "process"), "uptime_s"),
                                   mt_json_get_real(mt_json_get(after, "process"), "uptime_s"))
                    : NULL);
    for (size_t i = 0; i < LISTS; i++) {
        if (by && strcmp(by, lists[i].name)) continue;
        json_t *table = json_object();
        collect(table, &lists[i], before, false);
        collect(table, &lists[i], after, true);
        mt_json_set(diff, lists[i].name, sorted(table));
        json_decref(table);
    }
    return diff;
}

json_t *mt_diff_lines_json(const json_t *before, const json_t *after)
{
    static const char *const members[][2] = {{"current_bytes", "cpu_current_bytes"},
                                             {"allocation_count", "cpu_allocation_count"},
                                             {"rss_bytes", "rss_bytes"},
                                             {"vulkan_current_bytes", "vulkan_current_bytes"},
                                             {"frame_count", "frame"}};
    json_t *diff = json_object(), *part = json_object();
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        set_total(part, members[i][0], before, after, members[i][1]);
    mt_json_set(diff, "totals", part);
    mt_json_set(diff, "between",
                between_json(part, mt_json_get_real(before, "t_s"), mt_json_get_real(after, "t_s")));
    return diff;
}

/* ---- text ------------------------------------------------------------------------------------ */

/* "+1.5 MiB", "-12 B", "0 B" */
static const char *signed_bytes(char buffer[MT_HUMAN_BYTES + 1], int64_t bytes)
{
    buffer[0] = '+';
    return bytes > 0 ? (mt_human_bytes(buffer + 1, bytes), buffer) : mt_human_bytes(buffer, bytes);
}

static const char *signed_count(char buffer[MT_HUMAN_BYTES + 1], int64_t count)
{
    buffer[0] = '+';
    return count > 0 ? (mt_human_count(buffer + 1, count), buffer) : mt_human_count(buffer, count);
}

enum total_form { TOTAL_BYTES, TOTAL_COUNT, TOTAL_NS };

static const char *total_text(enum total_form form, int64_t value, bool has_sign, char buffer[MT_HUMAN_BYTES + 1])
{
    if (form == TOTAL_BYTES) return has_sign ? signed_bytes(buffer, value) : mt_human_bytes(buffer, value);
    if (form == TOTAL_COUNT) return has_sign ? signed_count(buffer, value) : mt_human_count(buffer, value);
    bool is_negative = value < 0;
    buffer[0] = is_negative ? '-' : '+';
    if (!has_sign || !value) return mt_human_ns(buffer, value);
    mt_human_ns(buffer + 1, is_negative ? -value : value);
    return buffer;
}

/* Rows of programs without frames or device memory, and what lines of a timeline do not hold, are left out. */
static void print_totals(const json_t *totals)
{
    static const struct {
        const char *key, *name;
        enum total_form form;
        bool is_optional;
    } rows[] = {{"current_bytes", "heap", TOTAL_BYTES, false},
                {"current_count", "blocks", TOTAL_COUNT, false},
                {"peak_bytes", "heap at its peak", TOTAL_BYTES, false},
                {"total_bytes", "allocated in all", TOTAL_BYTES, false},
                {"allocation_count", "allocations", TOTAL_COUNT, false},
                {"rss_bytes", "resident (RSS)", TOTAL_BYTES, false},
                {"vulkan_current_bytes", "device memory", TOTAL_BYTES, true},
                {"frame_count", "frames", TOTAL_COUNT, true},
                {"frame_allocations", "allocations / frame", TOTAL_COUNT, true},
                {"frame_bytes", "bytes / frame", TOTAL_BYTES, true},
                {"frame_ns", "time / frame", TOTAL_NS, true}};
    printf("%-20s %14s %14s %14s\n", "", "before", "after", "change");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char before[MT_HUMAN_BYTES + 1], after[MT_HUMAN_BYTES + 1], change[MT_HUMAN_BYTES + 1];
        const json_t *row = mt_json_get(totals, rows[i].key);
        int64_t a = mt_json_get_i64(row, "before"), b = mt_json_get_i64(row, "after");
        if (!row || (rows[i].is_optional && !a && !b)) continue;
        printf("%-20s %14s %14s %14s\n", rows[i].name, total_text(rows[i].form, a, false, before),
               total_text(rows[i].form, b, false, after), total_text(rows[i].form, b - a, true, change));
    }
}

static void print_between(const json_t *between)
{
    char from[MT_HUMAN_BYTES], to[MT_HUMAN_BYTES], heap[MT_HUMAN_BYTES + 1], device[MT_HUMAN_BYTES + 1];
    char calls[MT_HUMAN_BYTES];
    if (!json_is_object(between)) return;
    printf("\nBetween %s and %s: heap %s/s, ", mt_human_seconds(from, mt_json_get_real(between, "from_s")),
           mt_human_seconds(to, mt_json_get_real(between, "to_s")),
           signed_bytes(heap, (int64_t)mt_json_get_real(between, "heap_bytes_per_s")));
    int64_t rate = (int64_t)mt_json_get_real(between, "device_bytes_per_s");
    if (rate) printf("device memory %s/s, ", signed_bytes(device, rate));
    printf("%s allocations/s", mt_human_count(calls, (int64_t)mt_json_get_real(between, "allocations_per_s")));
    const json_t *per_frame = mt_json_get(between, "allocations_per_frame");
    if (json_is_real(per_frame)) printf(", %.1f allocations/frame", json_real_value(per_frame));
    putchar('\n');
}

static void print_name(const char *name)
{
    int lines = 0;
    for (const char *at = name; *at && lines < FRAMES_SHOWN; lines++) {
        const char *end = strchrnul(at, '\n');
        int length = end - at > 110 ? 110 : (int)(end - at);
        printf("%s%.*s%s\n", lines ? "                                                      " : "", length, at,
               end - at > 110 ? "..." : "");
        at = *end ? end + 1 : end;
    }
    if (!lines) putchar('\n');
}

static bool print_row(const json_t *row)
{
    char live[MT_HUMAN_BYTES + 1], total[MT_HUMAN_BYTES + 1], count[MT_HUMAN_BYTES + 1];
    int64_t live_change = mt_json_get_i64(row, "live_after") - mt_json_get_i64(row, "live_before");
    int64_t total_change = mt_json_get_i64(row, "total_after") - mt_json_get_i64(row, "total_before");
    int64_t count_change = mt_json_get_i64(row, "count_after") - mt_json_get_i64(row, "count_before");
    if (!live_change && !total_change && !count_change) return false;
    printf("  %14s %14s %18s   ", signed_bytes(live, live_change), signed_bytes(total, total_change),
           signed_count(count, count_change));
    print_name(mt_json_get_text(row, "name"));
    return true;
}

static void print_list(const char *heading, const json_t *rows, size_t limit)
{
    size_t index, shown = 0;
    const json_t *row;
    if (!json_array_size(rows)) return;
    printf("\n%s\n  %14s %14s %18s\n", heading, "live", "in all", "allocations");
    json_array_foreach((json_t *)rows, index, row)
    {
        if (shown < limit) shown += print_row(row);
    }
    if (!shown) puts("  no change");
}

void mt_diff_text(const json_t *diff, size_t rows)
{
    static const char *const headings[LISTS] = {"Tags",         "Modules",     "Threads",
                                                "Size classes", "Call stacks", "Heaps of device memory"};
    print_totals(mt_json_get(diff, "totals"));
    print_between(mt_json_get(diff, "between"));
    for (size_t i = 0; i < LISTS; i++) print_list(headings[i], mt_json_get(diff, lists[i].name), rows);
}
