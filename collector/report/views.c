/*
 * The tables behind `--by`; see views.h. Each view is one row of `views`: where
 * its rows are in the report, how a row is called, and what its columns are.
 */
#include "views.h"

#include "human.h"
#include "json_build.h"
#include "stack_names.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum form { BYTES, COUNT, NS, PER_FRAME, PER_RECENT_FRAME, PER_SECOND };

/* members: names of the row's number, the first that is there; the PER_ forms are looked up by name. */
struct column {
    const char *key, *title, *members[2];
    enum form form;
};

enum { COLUMNS = 8, WIDTH = 11, LEAST_NAME = 22 };

struct view {
    const char *name, *title;
    const char *list[2]; /* parts of the report that lead to the rows */
    const char *rates;   /* the list in frames.rates */
    const char *default_key;
    struct column columns[COLUMNS];
};

#define LIVE_COLUMNS                                                                                               \
    {"live", "live", {"current_bytes", "live_bytes"}, BYTES},                                                      \
    {                                                                                                              \
        "peak", "own peak", {"peak_bytes"}, BYTES                                                                  \
    }
#define TOTAL_COLUMNS                                                                                              \
    {"total", "total", {"total_bytes"}, BYTES},                                                                    \
    {                                                                                                              \
        "count", "allocations", {"allocation_count", "total_count"}, COUNT                                         \
    }
#define RATE_COLUMNS                                                                                               \
    {"rate", "alloc/s", {NULL}, PER_SECOND}, {"frame", "alloc/frame", {NULL}, PER_FRAME},                          \
    {                                                                                                              \
        "recent", "/frame now", {NULL}, PER_RECENT_FRAME                                                           \
    }

static const struct view views[MT_VIEW_COUNT] = {
    [MT_VIEW_TAG] = {"tag",
                     "Tags",
                     {"cpu", "tags"},
                     "tags",
                     "live",
                     {LIVE_COLUMNS, TOTAL_COLUMNS, RATE_COLUMNS, {"device", "device", {"vulkan_bytes"}, BYTES}}},
    [MT_VIEW_MODULE] = {"module",
                        "Modules that called malloc or new",
                        {"cpu", "modules"},
                        "modules",
                        "live",
                        {LIVE_COLUMNS, TOTAL_COLUMNS, RATE_COLUMNS}},
    [MT_VIEW_THREAD] = {"thread",
                        "Threads (live: made minus freed by them)",
                        {"cpu", "threads"},
                        "threads",
                        "count",
                        {{"live", "live", {"current_bytes"}, BYTES},
                         {"peak", "own peak", {"peak_bytes"}, BYTES},
                         TOTAL_COLUMNS,
                         {"frees", "frees", {"free_count"}, COUNT},
                         RATE_COLUMNS}},
    [MT_VIEW_STACK] = {"stack",
                       "Call stacks",
                       {"cpu", "stacks"},
                       NULL,
                       "live",
                       {{"live", "live", {"live_bytes"}, BYTES},
                        {"peak", "at peak", {"peak_bytes"}, BYTES},
                        TOTAL_COLUMNS,
                        {"rate", "alloc/s", {NULL}, PER_SECOND},
                        {"temporary", "temporary", {"temporary_count"}, COUNT}}},
    [MT_VIEW_SIZE] = {"size",
                      "Size classes (live: at most)",
                      {"cpu", "size_classes"},
                      NULL,
                      "live",
                      {{"live", "live", {"current_bytes_high"}, BYTES},
                       {"blocks", "blocks", {"current_count"}, COUNT},
                       {"count", "allocations", {"allocation_count"}, COUNT},
                       {"frees", "frees", {"free_count"}, COUNT},
                       {"rate", "alloc/s", {NULL}, PER_SECOND}}},
    [MT_VIEW_HEAP] = {"heap",
                      "Memory heaps and types of devices",
                      {"vulkan", "devices"},
                      NULL,
                      "live",
                      {{"live", "live", {"current_bytes"}, BYTES},
                       {"peak", "peak", {"peak_bytes"}, BYTES},
                       {"blocks", "blocks", {"current_count"}, COUNT},
                       {"count", "allocations", {"allocation_count"}, COUNT},
                       {"size", "size", {"size_bytes"}, BYTES},
                       {"budget", "budget", {"budget_bytes"}, BYTES},
                       {"usage", "in use", {"usage_bytes"}, BYTES}}},
    [MT_VIEW_FRAME] = {"frame",
                       "Frames: those with most allocations and the longest",
                       {"frames", "worst"},
                       NULL,
                       "count",
                       {{"count", "allocations", {"allocation_count"}, COUNT},
                        {"total", "bytes", {"bytes"}, BYTES},
                        {"time", "time", {"duration_ns"}, NS},
                        {"live", "live", {"cpu_current_bytes"}, BYTES},
                        {"device", "dev. allocs", {"device_allocation_count"}, COUNT},
                        {"device-total", "dev. bytes", {"device_bytes"}, BYTES},
                        {"device-time", "driver time", {"device_ns"}, NS}}},
};

/* ---- names and keys ------------------------------------------------------------------ */

enum mt_view mt_view_of(const char *name)
{
    for (int i = 0; name && i < MT_VIEW_COUNT; i++)
        if (!strcmp(views[i].name, name)) return (enum mt_view)i;
    return MT_VIEW_COUNT;
}

const char *mt_view_name(enum mt_view view)
{
    return views[view].name;
}

const char *mt_view_title(enum mt_view view)
{
    return views[view].title;
}

const char *mt_view_names(void)
{
    static char names[100];
    for (size_t i = 0, at = 0; i < MT_VIEW_COUNT && !names[at]; i++)
        at += (size_t)snprintf(names + at, sizeof names - at, "%s%s",
                               !i                      ? ""
                               : i + 1 < MT_VIEW_COUNT ? ", "
                                                       : " or ",
                               views[i].name);
    return names;
}

size_t mt_view_key_count(enum mt_view view)
{
    size_t count = 0;
    while (count < COLUMNS && views[view].columns[count].key) count++;
    return count;
}

const char *mt_view_key_name(enum mt_view view, size_t index)
{
    return views[view].columns[index].key;
}

int mt_view_key(enum mt_view view, const char *key)
{
    if (!key) key = views[view].default_key;
    for (size_t i = 0; i < mt_view_key_count(view); i++)
        if (!strcmp(views[view].columns[i].key, key)) return (int)i;
    return -1;
}

const char *mt_view_keys(enum mt_view view, char *buffer, size_t bytes)
{
    size_t at = 0;
    buffer[0] = 0;
    for (size_t i = 0; i < mt_view_key_count(view) && at < bytes; i++)
        at += (size_t)snprintf(buffer + at, bytes - at, "%s%s", i ? ", " : "", views[view].columns[i].key);
    return buffer;
}

/* ---- what a row is called --------------------------------------------------------------- */

struct source {
    const json_t *report;
    const char *program;
    enum mt_view view;
    const struct mt_view_before *before;
    const json_t *rates, *recent; /* lists of frames.rates: of the run and of the last window */
};

static void name_tag(const json_t *row, char *name, size_t bytes)
{
    const char *state = mt_json_get_text(row, "budget_state");
    char budget[MT_HUMAN_BYTES];
    if (!strcmp(state, "over") || !strcmp(state, "warning"))
        snprintf(name, bytes, "%s (%s its budget of %s)", mt_json_get_text(row, "tag"),
                 *state == 'o' ? "over" : "near", mt_human_bytes(budget, mt_json_get_i64(row, "budget_bytes")));
    else
        snprintf(name, bytes, "%s", mt_json_get_text(row, "tag"));
}

static void name_thread(const json_t *row, char *name, size_t bytes)
{
    const char *text = mt_json_get_text(row, "name");
    int64_t threads = mt_json_get_i64(row, "thread_count"), tid = mt_json_get_i64(row, "tid");
    if (tid)
        snprintf(name, bytes, "%.60s (%" PRId64 ")", *text ? text : "(no name)", tid);
    else
        snprintf(name, bytes, threads > 1 ? "%.60s x%" PRId64 " (%s)" : "%.60s%.0" PRId64 " (%s)",
                 *text ? text : "(no name)", threads > 1 ? threads : 0, mt_json_get_text(row, "state"));
}

static void name_heap(const json_t *row, char *name, size_t bytes)
{
    const json_t *flags = mt_json_get(row, "flags");
    bool is_type = json_is_integer(mt_json_get(row, "heap_index"));
    int put = snprintf(name, bytes, is_type ? "  type %" PRId64 : "heap %" PRId64, mt_json_get_i64(row, "index"));
    for (size_t i = 0, at = (size_t)put; i < json_array_size(flags) && at < bytes; i++)
        at += (size_t)snprintf(name + at, bytes - at, " %s", json_string_value(json_array_get(flags, i)));
}

static void name_row(const struct source *source, const json_t *row, char *name, size_t bytes)
{
    char text[480];
    const char *path = mt_json_get_text(row, "path");
    switch (source->view) {
    case MT_VIEW_TAG: name_tag(row, name, bytes); return;
    case MT_VIEW_MODULE: snprintf(name, bytes, "%s", *path ? mt_base_name(path) : "(unknown code)"); return;
    case MT_VIEW_THREAD: name_thread(row, name, bytes); return;
    case MT_VIEW_STACK:
        mt_stack_headline(row, source->program, text, sizeof text);
        snprintf(name, bytes, "#%" PRId64 " %s", mt_json_get_i64(row, "id"), text);
        return;
    case MT_VIEW_SIZE:
        if (json_is_integer(mt_json_get(row, "max_bytes")))
            snprintf(name, bytes, "up to %s", mt_human_bytes(text, mt_json_get_i64(row, "max_bytes")));
        else
            snprintf(name, bytes, "larger");
        return;
    case MT_VIEW_HEAP: name_heap(row, name, bytes); return;
    case MT_VIEW_FRAME:
        snprintf(name, bytes, "frame %s at %.3f s", mt_human_count(text, mt_json_get_i64(row, "frame")),
                 mt_json_get_real(row, "t_s"));
        return;
    case MT_VIEW_COUNT: break;
    }
}

/* ---- numbers --------------------------------------------------------------------------------- */

static double member_of(const json_t *row, const struct column *column)
{
    for (size_t i = 0; i < 2 && column->members[i]; i++) {
        const json_t *value = mt_json_get(row, column->members[i]);
        if (json_is_number(value)) return json_number_value(value);
    }
    return NAN;
}

static double count_of(enum mt_view view, const json_t *row)
{
    int column = mt_view_key(view, "count");
    return column < 0 ? NAN : member_of(row, &views[view].columns[column]);
}

static bool has_larger_namesake(const struct source *source, const json_t *row)
{
    const json_t *threads = mt_json_get(mt_json_get(source->report, "cpu"), "threads"), *other;
    const char *name = mt_json_get_text(row, "name");
    bool is_behind = false;
    size_t index;
    json_array_foreach((json_t *)threads, index, other)
    {
        is_behind |= other == row;
        double more = count_of(source->view, other) - count_of(source->view, row);
        if ((more > 0 || (more == 0 && !is_behind)) && !strcmp(mt_json_get_text(other, "name"), name)) return true;
    }
    return false;
}

static double growth_of(const struct source *source, const struct mt_view_row *row)
{
    const json_t *then = source->before ? mt_json_get(source->before->counts, row->name) : NULL;
    double more = count_of(source->view, row->row) - (then ? json_number_value(then) : 0);
    return more > 0 ? more : 0;
}

/* A report's own rate. Threads of one name share it: the one that allocates most has it. */
static double reported_rate(const struct source *source, const struct mt_view_row *row, const json_t *rates)
{
    const char *key = source->view == MT_VIEW_TAG ? "tag" : source->view == MT_VIEW_MODULE ? "path" : "name";
    const char *name = mt_json_get_text(row->row, key);
    if (source->before || !json_array_size(rates)) return NAN;
    if (source->view == MT_VIEW_THREAD && has_larger_namesake(source, row->row)) return NAN;
    for (size_t i = 0; i < json_array_size(rates); i++)
        if (!strcmp(mt_json_get_text(json_array_get(rates, i), "name"), name))
            return mt_json_get_real(json_array_get(rates, i), "count");
    return 0;
}

static double per_frame(const struct source *source, const struct mt_view_row *row)
{
    if (!source->before) return reported_rate(source, row, source->rates);
    return source->before->counts && source->before->frames > 0 ? growth_of(source, row) / source->before->frames
                                                                : NAN;
}

static double per_second(const struct source *source, const struct mt_view_row *row)
{
    if (!source->before || !source->before->counts || !(source->before->seconds > 0)) return NAN;
    return growth_of(source, row) / source->before->seconds;
}

static double number_of(const struct source *source, const struct mt_view_row *row, const struct column *column)
{
    switch (column->form) {
    case PER_FRAME: return per_frame(source, row);
    case PER_RECENT_FRAME: return reported_rate(source, row, source->recent);
    case PER_SECOND: return per_second(source, row);
    case BYTES:
    case COUNT:
    case NS: break;
    }
    return member_of(row->row, column);
}

/* A row without any number is not worth a line; a column of nothing but zeros is none worth its width. */
static void fill(struct mt_view_table *table, const struct source *source, const json_t *row)
{
    struct mt_view_row *filled = &table->rows[table->count];
    unsigned shown = 0;
    filled->row = row;
    name_row(source, row, filled->name, sizeof filled->name);
    for (size_t i = 0; i < mt_view_key_count(source->view); i++) {
        const struct column *column = &views[source->view].columns[i];
        filled->numbers[i] = number_of(source, filled, column);
        if (!isnan(filled->numbers[i]) && filled->numbers[i] != 0) shown |= 1u << i;
    }
    table->shown |= shown;
    table->count += shown != 0;
}

/* ---- rows --------------------------------------------------------------------------------------- */

/* A device's heaps, each followed by its types that were used. */
static void add_device_rows(json_t *rows, const json_t *device)
{
    const json_t *heap, *type;
    size_t i, k;
    json_array_foreach((json_t *)mt_json_get(device, "heaps"), i, heap)
    {
        json_array_append(rows, (json_t *)heap);
        json_array_foreach((json_t *)mt_json_get(device, "memory_types"), k,
                           type) if (mt_json_get_i64(type, "heap_index") == mt_json_get_i64(heap, "index") &&
                                     mt_json_get_i64(type, "allocation_count"))
            json_array_append(rows, (json_t *)type);
    }
}

static bool has_frame(const json_t *rows, int64_t frame)
{
    for (size_t i = 0; i < json_array_size(rows); i++)
        if (mt_json_get_i64(json_array_get(rows, i), "frame") == frame) return true;
    return false;
}

/* A new list of the rows that the view has in this report. */
static json_t *rows_of(const json_t *report, enum mt_view view)
{
    const json_t *list = mt_json_get(mt_json_get(report, views[view].list[0]), views[view].list[1]), *row;
    const json_t *longest = mt_json_get(mt_json_get(mt_json_get(report, "frames"), "hitches"), "longest");
    json_t *rows = json_array();
    size_t index;
    json_array_foreach((json_t *)list, index, row)
    {
        if (view == MT_VIEW_HEAP)
            add_device_rows(rows, row);
        else
            json_array_append(rows, (json_t *)row);
    }
    if (view != MT_VIEW_FRAME) return rows;
    json_array_foreach((json_t *)longest, index, row) if (!has_frame(rows, mt_json_get_i64(row, "frame")))
        json_array_append(rows, (json_t *)row);
    return rows;
}

static int larger_first(const void *a, const void *b, void *key)
{
    const struct mt_view_row *left = a, *right = b;
    double l = left->numbers[*(const int *)key], r = right->numbers[*(const int *)key];
    if (isnan(l)) l = -INFINITY;
    if (isnan(r)) r = -INFINITY;
    return l < r ? 1 : l > r ? -1 : strcmp(left->name, right->name);
}

struct mt_view_table mt_view_make(const json_t *report, enum mt_view view, int key,
                                  const struct mt_view_before *before)
{
    const json_t *rates = mt_json_get(mt_json_get(report, "frames"), "rates");
    const char *list = views[view].rates;
    struct source source = {report,
                            mt_json_get_text(mt_json_get(report, "process"), "executable"),
                            view,
                            before,
                            list ? mt_json_get(mt_json_get(rates, "run"), list) : NULL,
                            list ? mt_json_get(mt_json_get(rates, "window"), list) : NULL};
    struct mt_view_table table = {.view = view, .key = key >= 0 ? key : mt_view_key(view, NULL)};
    json_t *rows = rows_of(report, view), *row;
    size_t index;
    table.rows = calloc(json_array_size(rows) + 1, sizeof *table.rows);
    json_array_foreach(rows, index, row)
    {
        if (table.rows) fill(&table, &source, row);
    }
    /* Heaps stay beside their types unless another key is asked for. */
    if (table.count && (view != MT_VIEW_HEAP || table.key != mt_view_key(view, NULL)))
        qsort_r(table.rows, table.count, sizeof *table.rows, larger_first, &table.key);
    json_decref(rows); /* the rows themselves belong to the report */
    return table;
}

void mt_view_free(struct mt_view_table *table)
{
    free(table->rows);
    table->rows = NULL;
    table->count = 0;
}

json_t *mt_view_counts(const struct mt_view_table *table)
{
    json_t *counts = json_object();
    for (size_t i = 0; i < table->count; i++) {
        double count = count_of(table->view, table->rows[i].row);
        if (!isnan(count)) json_object_set_new(counts, table->rows[i].name, json_real(count));
    }
    return counts;
}

static json_t *number_json(enum form form, double value)
{
    if (isnan(value)) return json_null();
    return form == PER_FRAME || form == PER_RECENT_FRAME || form == PER_SECOND ? json_real(value)
                                                                               : json_integer((json_int_t)value);
}

json_t *mt_view_json(const json_t *report, enum mt_view view, const char *key, size_t rows)
{
    struct mt_view_table table = mt_view_make(report, view, key ? mt_view_key(view, key) : -1, NULL);
    json_t *list = json_array();
    for (size_t i = 0; i < table.count && (!rows || i < rows); i++) {
        json_t *row = json_object();
        mt_json_set(row, "name", mt_json_text(table.rows[i].name));
        for (size_t k = 0; k < mt_view_key_count(view); k++)
            if (table.shown & (1u << k))
                mt_json_set(row, views[view].columns[k].key,
                            number_json(views[view].columns[k].form, table.rows[i].numbers[k]));
        json_array_append_new(list, row);
    }
    mt_view_free(&table);
    return list;
}

/* ---- lines ------------------------------------------------------------------------------------------ */

/*
 * What stands before a number: "~" where an own peak may be off by more than a
 * hundredth; "<", before the highest that it may have been, where it may be
 * off by all of it.
 */
static const char *mark_of(const struct column *column, const json_t *row, double *value)
{
    const json_t *error = mt_json_get(row, "peak_error_bytes");
    if (!error || !column->members[0] || strcmp(column->members[0], "peak_bytes") || isnan(*value)) return "";
    if (!json_is_number(error)) return "~";
    double off = json_number_value(error);
    if (off * 100 <= *value) return "";
    if (off < *value) return "~";
    *value += off;
    return "<";
}

/* At most WIDTH - 1 bytes. */
static const char *number_text(enum form form, double value, char text[MT_HUMAN_BYTES])
{
    if (isnan(value)) return "-";
    if (form == BYTES) return mt_human_bytes(text, (int64_t)value);
    if (form == NS) return mt_human_ns(text, (int64_t)value);
    if ((form == PER_FRAME || form == PER_RECENT_FRAME) && value < 1000) {
        snprintf(text, MT_HUMAN_BYTES, "%.1f", value);
        return text;
    }
    if (fabs(value) < 1e8) return mt_human_count(text, llround(value));
    snprintf(text, MT_HUMAN_BYTES, fabs(value) < 1e11 ? "%.1f M" : "%.2e",
             fabs(value) < 1e11 ? value / 1e6 : value);
    return text;
}

static unsigned column_bit(enum mt_view view, const char *key)
{
    int column = mt_view_key(view, key);
    return column < 0 ? 0 : 1u << column;
}

/* The columns that leave room for a name: the one that is sorted by, then those that say most, then the others. */
static unsigned columns_that_fit(const struct mt_view_table *table, size_t width)
{
    static const char *const first[] = {"live", "rate", "frame", "count", "time"};
    size_t room = width > LEAST_NAME ? (width - LEAST_NAME) / (WIDTH + 1) : 1, used = 1;
    unsigned chosen = 1u << table->key;
    for (size_t i = 0; i < sizeof first / sizeof *first + COLUMNS && used < room; i++) {
        size_t firsts = sizeof first / sizeof *first;
        unsigned bit = i < firsts ? column_bit(table->view, first[i]) : 1u << (i - firsts);
        if (!(table->shown & bit) || (chosen & bit)) continue;
        chosen |= bit;
        used++;
    }
    return chosen;
}

/* Cuts a line at `width` bytes, but not inside a character. */
static void cut(char *line, size_t width)
{
    size_t length = strlen(line);
    if (length <= width) return;
    while (width && ((unsigned char)line[width] & 0xc0) == 0x80) width--;
    line[width] = 0;
}

static void make_line(const struct mt_view_table *table, const struct mt_view_row *row, size_t width, char *line,
                      size_t bytes)
{
    unsigned chosen = columns_that_fit(table, width);
    size_t at = 0;
    for (unsigned i = 0; i < COLUMNS && at < bytes; i++) {
        const struct column *column = &views[table->view].columns[i];
        char text[MT_HUMAN_BYTES];
        if (!(chosen & (1u << i))) continue;
        double value = row ? row->numbers[i] : 0;
        const char *mark = row ? mark_of(column, row->row, &value) : "";
        const char *shown = row ? number_text(column->form, value, text) : column->title;
        char cell[MT_HUMAN_BYTES + 1];
        snprintf(cell, sizeof cell, "%s%s", mark, shown);
        at += (size_t)snprintf(line + at, bytes - at, "%*s ", WIDTH, cell);
    }
    if (at < bytes) snprintf(line + at, bytes - at, " %s", row ? row->name : views[table->view].name);
    cut(line, width);
}

void mt_view_head_line(const struct mt_view_table *table, size_t width, char *line, size_t bytes)
{
    make_line(table, NULL, width, line, bytes);
}

void mt_view_row_line(const struct mt_view_table *table, size_t index, size_t width, char *line, size_t bytes)
{
    make_line(table, &table->rows[index], width, line, bytes);
}
