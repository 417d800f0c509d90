/*
 * Keeps what each stack held at up to HISTORY moments, evenly spread over the
 * run (every second one is dropped when they are full), and tests for a trend
 * with Mann and Kendall's statistic (Kendall, Rank Correlation Methods, 1975).
 */
#include "suspects.h"

#include "json_build.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { HISTORY = 32, LEAST_POINTS = 6 };

/* What grows by less since its first point is no suspect. */
static const int64_t least_growth_bytes = 16 * 1024;
/* How sure the trend must be. */
static const double least_confidence = 0.95;

struct mt_history {
    unsigned count, stride, skip;
    int64_t error_bytes;
    struct {
        uint64_t time_ns;
        int64_t bytes;
    } points[HISTORY], newest;
};

static void add_point(struct mt_history *history, uint64_t time_ns, int64_t bytes)
{
    history->newest.time_ns = time_ns;
    history->newest.bytes = bytes;
    if (history->skip) {
        history->skip--;
        return;
    }
    if (history->count == HISTORY) {
        for (unsigned i = 0; i < HISTORY / 2; i++) history->points[i] = history->points[2 * i];
        history->count = HISTORY / 2;
        history->stride = 2 * history->stride + 1;
    }
    history->points[history->count].time_ns = time_ns;
    history->points[history->count++].bytes = bytes;
    history->skip = history->stride;
}

static struct mt_history *history_of(struct mt_suspects *suspects, uint32_t id)
{
    if (id >= suspects->room) {
        size_t room = 2 * (size_t)id + 64;
        struct mt_history **grown = realloc(suspects->histories, room * sizeof *grown);
        if (!grown) return NULL;
        memset(grown + suspects->room, 0, (room - suspects->room) * sizeof *grown);
        suspects->histories = grown;
        suspects->room = room;
    }
    if (!suspects->histories[id]) suspects->histories[id] = calloc(1, sizeof **suspects->histories);
    return suspects->histories[id];
}

/* Stacks that never held much are not followed. */
void mt_suspects_add(struct mt_suspects *suspects, const struct mt_snapshot *snapshot)
{
    for (size_t i = 0; i < snapshot->stacks.count; i++) {
        const struct mt_stack_copy *stack = &snapshot->stacks.stacks[i];
        bool is_known = stack->id < suspects->room && suspects->histories[stack->id];
        int64_t bytes = mt_stack_live_bytes(&stack->record);
        if (!is_known && bytes < least_growth_bytes) continue;
        struct mt_history *history = history_of(suspects, stack->id);
        if (!history) return;
        history->error_bytes = mt_stack_error_bytes(&stack->record);
        add_point(history, snapshot->taken_ns, bytes);
    }
}

/* How sure it is that the values grow, 0 to 1 (one-sided, normal approximation without ties). */
static double confidence_of(const struct mt_history *history)
{
    int64_t sum = 0;
    double n = history->count;
    for (unsigned i = 0; i < history->count; i++)
        for (unsigned k = 0; k < i; k++)
            sum += (history->points[i].bytes > history->points[k].bytes) -
                   (history->points[i].bytes < history->points[k].bytes);
    double deviation = sqrt(n * (n - 1) * (2 * n + 5) / 18);
    return sum <= 0 ? 0 : 0.5 * erfc(-((double)sum - 1) / deviation / sqrt(2));
}

/* Least squares, bytes per minute. */
static double slope_of(const struct mt_history *history)
{
    double n = history->count, times = 0, bytes = 0, products = 0, squares = 0;
    for (unsigned i = 0; i < history->count; i++) {
        double time = (double)(history->points[i].time_ns - history->points[0].time_ns) / 6e10;
        double value = (double)history->points[i].bytes;
        times += time;
        bytes += value;
        products += time * value;
        squares += time * time;
    }
    double below = n * squares - times * times;
    return below > 0 ? (n * products - times * bytes) / below : 0;
}

static json_t *suspect_json(uint32_t id, const struct mt_history *history)
{
    if (history->count < LEAST_POINTS) return NULL;
    int64_t growth = history->newest.bytes - history->points[0].bytes;
    double confidence = confidence_of(history);
    int64_t late_growth = history->newest.bytes - history->points[history->count / 2].bytes;
    if (growth < least_growth_bytes || growth < history->error_bytes || confidence < least_confidence) return NULL;
    if (late_growth < growth / 4) return NULL; /* it filled up and stays so */
    json_t *row = json_object();
    mt_json_set_u64(row, "stack", id);
    mt_json_set_i64(row, "live_bytes", history->newest.bytes);
    mt_json_set_i64(row, "growth_bytes_per_minute", (int64_t)slope_of(history));
    mt_json_set(row, "confidence", json_real(round(confidence * 10000) / 10000));
    mt_json_set_u64(row, "samples", history->count);
    return row;
}

/* Keeps the list in order, fastest growth first. */
static void insert(json_t *list, json_t *row)
{
    size_t at = 0;
    int64_t growth = mt_json_get_i64(row, "growth_bytes_per_minute");
    while (at < json_array_size(list) &&
           mt_json_get_i64(json_array_get(list, at), "growth_bytes_per_minute") >= growth)
        at++;
    json_array_insert_new(list, at, row);
}

json_t *mt_suspects_json(const struct mt_suspects *suspects)
{
    json_t *list = json_array();
    for (size_t id = 1; suspects && id < suspects->room; id++) {
        json_t *row = suspects->histories[id] ? suspect_json((uint32_t)id, suspects->histories[id]) : NULL;
        if (row) insert(list, row);
    }
    return list;
}

void mt_suspects_free(struct mt_suspects *suspects)
{
    for (size_t id = 0; id < suspects->room; id++) free(suspects->histories[id]);
    free(suspects->histories);
    suspects->histories = NULL;
    suspects->room = 0;
}
