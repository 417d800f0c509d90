/*
 * Rates per frame out of differences of counters; see rates.h. Rows of one name
 * are added up: a module that was loaded twice, two threads of a pool.
 */
#include "rates.h"

#include "json_build.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* How to find a row's name and numbers; older reports have other names for a module's. */
static const struct {
    const char *list, *name, *count, *other_count, *bytes;
} lists[] = {{"tags", "tag", "allocation_count", "total_count", "total_bytes"},
             {"modules", "path", "allocation_count", "total_count", "total_bytes"},
             {"threads", "name", "allocation_count", "total_count", "total_bytes"}};
enum { LISTS = sizeof lists / sizeof *lists, LISTED = 64 };

/* ---- counters ------------------------------------------------------------------- */

static void add_to(json_t *counters, const char *key, int64_t value)
{
    mt_json_set_i64(counters, key, mt_json_get_i64(counters, key) + value);
}

static json_t *counters_of(const json_t *rows, size_t which)
{
    json_t *by_name = json_object();
    const json_t *row;
    size_t index;
    json_array_foreach((json_t *)rows, index, row)
    {
        const char *name = mt_json_get_text(row, lists[which].name);
        bool has_count = json_is_integer(mt_json_get(row, lists[which].count));
        json_t *counters = json_object_get(by_name, name);
        if (!counters) {
            counters = json_object();
            json_object_set_new(by_name, name, counters);
        }
        add_to(counters, "count", mt_json_get_i64(row, has_count ? lists[which].count : lists[which].other_count));
        add_to(counters, "bytes", mt_json_get_i64(row, lists[which].bytes));
    }
    return by_name;
}

static json_t *note_of(const json_t *cpu, int64_t frame)
{
    json_t *note = json_object();
    mt_json_set_i64(note, "frame", frame);
    for (size_t i = 0; i < LISTS; i++)
        mt_json_set(note, lists[i].list, counters_of(mt_json_get(cpu, lists[i].list), i));
    return note;
}

void mt_rates_note(struct mt_rates *rates, const json_t *cpu, int64_t frame)
{
    if (!frame) return;
    json_t *note = note_of(cpu, frame);
    if (!rates->first) rates->first = json_incref(note);
    json_decref(rates->previous);
    rates->previous = rates->newest;
    rates->newest = note;
}

void mt_rates_free(struct mt_rates *rates)
{
    json_decref(rates->first);
    json_decref(rates->previous);
    json_decref(rates->newest);
    *rates = (struct mt_rates){0};
}

/* ---- rates -------------------------------------------------------------------------- */

struct rate {
    const char *name;
    double count, bytes;
};

static int more_first(const void *a, const void *b)
{
    const struct rate *left = a, *right = b;
    if (left->count != right->count) return left->count < right->count ? 1 : -1;
    return strcmp(left->name, right->name);
}

static double tenth(double value)
{
    return round(value * 10) / 10;
}

/* The rows that grew, most allocations per frame first. */
static json_t *list_json(const json_t *before, const json_t *after, double frames)
{
    json_t *rows = json_array(), *now;
    const char *name;
    size_t count = 0;
    struct rate *rates = calloc(json_object_size(after) + 1, sizeof *rates);
    if (!rates) return rows;
    json_object_foreach((json_t *)after, name, now)
    {
        const json_t *then = mt_json_get(before, name);
        struct rate rate = {name, (double)(mt_json_get_i64(now, "count") - mt_json_get_i64(then, "count")) / frames,
                            (double)(mt_json_get_i64(now, "bytes") - mt_json_get_i64(then, "bytes")) / frames};
        if (rate.count > 0 || rate.bytes > 0) rates[count++] = rate;
    }
    if (count) qsort(rates, count, sizeof *rates, more_first);
    for (size_t i = 0; i < count && i < LISTED; i++) {
        json_t *row = json_object();
        mt_json_set(row, "name", *rates[i].name ? mt_json_text(rates[i].name) : NULL);
        mt_json_set(row, "count", json_real(tenth(rates[i].count)));
        mt_json_set_i64(row, "bytes", (int64_t)rates[i].bytes);
        json_array_append_new(rows, row);
    }
    free(rates);
    return rows;
}

static json_t *span_json(const json_t *before, const json_t *after)
{
    int64_t from = mt_json_get_i64(before, "frame"), to = mt_json_get_i64(after, "frame");
    if (!before || to <= from) return json_null();
    json_t *part = json_object();
    mt_json_set_i64(part, "from_frame", from + 1);
    mt_json_set_i64(part, "to_frame", to);
    for (size_t i = 0; i < LISTS; i++)
        mt_json_set(
            part, lists[i].list,
            list_json(mt_json_get(before, lists[i].list), mt_json_get(after, lists[i].list), (double)(to - from)));
    return part;
}

json_t *mt_rates_json(const struct mt_rates *rates)
{
    json_t *part = json_object();
    mt_json_set(part, "run", span_json(rates->first, rates->newest));
    mt_json_set(part, "window", span_json(rates->previous, rates->newest));
    return part;
}
