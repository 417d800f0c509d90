/*
 * Prints the stacks of a report by what they hold and do: live, at the peak,
 * in total, temporary; then leaks and lifetimes. One thread.
 */
#include "stacks_text.h"

#include "human.h"
#include "json_build.h"
#include "views_text.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { FRAMES_SHOWN = 8, BAR = 30 };

/* ---- one stack ------------------------------------------------------------------------ */

static void print_numbers(FILE *out, const json_t *stack, const char *key, bool is_bytes)
{
    char first[MT_HUMAN_BYTES], live[MT_HUMAN_BYTES], error[MT_HUMAN_BYTES], total[MT_HUMAN_BYTES];
    char calls[MT_HUMAN_BYTES];
    int64_t value = mt_json_get_i64(stack, key), width = mt_json_get_i64(stack, "live_error_bytes");
    fprintf(out, "  %12s   live %s", is_bytes ? mt_human_bytes(first, value) : mt_human_count(first, value),
            mt_human_bytes(live, mt_json_get_i64(stack, "live_bytes")));
    if (width) fprintf(out, " (+- %s)", mt_human_bytes(error, width));
    fprintf(out, ", in all %s in %s calls   #%" PRId64,
            mt_human_bytes(total, mt_json_get_i64(stack, "total_bytes")),
            mt_human_count(calls, mt_json_get_i64(stack, "total_count")), mt_json_get_i64(stack, "id"));
}

/* A stack is spelled out where it comes first; later sections name it by its number. */
static void print_stack(FILE *out, json_t *printed, const json_t *stack, const char *key, bool is_bytes)
{
    char id[24];
    snprintf(id, sizeof id, "%" PRId64, mt_json_get_i64(stack, "id"));
    bool is_known = json_object_get(printed, id) != NULL;
    print_numbers(out, stack, key, is_bytes);
    fputs(is_known ? ", see above\n" : "\n", out);
    if (is_known) return;
    mt_stack_frames_text(out, stack, FRAMES_SHOWN, 8);
    json_object_set_new(printed, id, json_true());
}

static void print_stacks(FILE *out, json_t *printed, const json_t *stacks, const char *heading, const char *key,
                         size_t limit)
{
    size_t count, shown = 0;
    bool is_bytes = strstr(key, "bytes") != NULL;
    struct mt_json_row *rows = mt_json_sort_rows(stacks, key, &count);
    if (count && rows[0].key > 0) fprintf(out, "\n%s\n", heading);
    for (; shown < count && shown < limit && rows[shown].key > 0; shown++)
        print_stack(out, printed, rows[shown].row, key, is_bytes);
    free(rows);
}

/* ---- the others ---------------------------------------------------------------------------- */

static void print_histogram(FILE *out, const json_t *buckets, const char *heading, bool is_time)
{
    int64_t sum = 0;
    size_t index;
    const json_t *bucket;
    json_array_foreach((json_t *)buckets, index, bucket) sum += mt_json_get_i64(bucket, "count");
    if (sum <= 0) return;
    fprintf(out, "\n%s\n", heading);
    json_array_foreach((json_t *)buckets, index, bucket)
    {
        char below[MT_HUMAN_BYTES], count[MT_HUMAN_BYTES];
        int64_t limit = mt_json_get_i64(bucket, "below"), here = mt_json_get_i64(bucket, "count");
        bool is_last = json_is_null(mt_json_get(bucket, "below"));
        if (is_last)
            snprintf(below, sizeof below, "longer");
        else if (is_time)
            mt_human_ns(below, limit);
        else
            snprintf(below, sizeof below, "%" PRId64 " frame%s", limit, limit == 1 ? "" : "s");
        fprintf(out, "  %s %-12s %14s  %.*s\n", is_last ? "     " : "below", below, mt_human_count(count, here),
                (int)(BAR * here / sum), "##############################");
    }
}

static void print_leaks(FILE *out, json_t *printed, const json_t *report, size_t limit)
{
    const json_t *leaks = mt_json_get(mt_json_get(report, "cpu"), "leaks"), *leak;
    const json_t *scan = mt_json_get(mt_json_get(report, "cpu"), "leak_scan");
    bool is_scanned = scan && !strcmp(mt_json_get_text(scan, "mode"), "reachable");
    int64_t bytes = 0, count = 0;
    size_t index;
    char text[MT_HUMAN_BYTES], blocks[MT_HUMAN_BYTES];
    json_array_foreach((json_t *)leaks, index, leak)
    {
        bytes += mt_json_get_i64(leak, "live_bytes");
        count += mt_json_get_i64(leak, "live_count");
    }
    if (!json_array_size(leaks)) return;
    fprintf(out, "\n%s: %s in %s blocks from %zu stacks", is_scanned ? "No longer reachable" : "Never freed",
            mt_human_bytes(text, bytes), mt_human_count(blocks, count), json_array_size(leaks));
    if (is_scanned)
        fprintf(out, "; %s in use at the end could still be reached",
                mt_human_bytes(text, mt_json_get_i64(scan, "reachable_bytes")));
    fputc('\n', out);
    json_array_foreach((json_t *)leaks, index, leak)
    {
        const json_t *stack = index < limit ? mt_report_stack(report, mt_json_get_i64(leak, "stack")) : NULL;
        if (stack) print_stack(out, printed, stack, "live_bytes", true);
    }
}

static void print_suspects(FILE *out, const json_t *suspects, size_t limit)
{
    size_t index;
    const json_t *row;
    if (json_array_size(suspects)) fputs("\nLeak suspects: stacks whose memory only grows\n", out);
    json_array_foreach((json_t *)suspects, index, row)
    {
        char rate[MT_HUMAN_BYTES], live[MT_HUMAN_BYTES];
        if (index == limit) break;
        fprintf(out, "  %12s/min   live %s, %.1f %% sure from %" PRId64 " samples   #%" PRId64 "\n",
                mt_human_bytes(rate, mt_json_get_i64(row, "growth_bytes_per_minute")),
                mt_human_bytes(live, mt_json_get_i64(row, "live_bytes")), 100 * mt_json_get_real(row, "confidence"),
                mt_json_get_i64(row, "samples"), mt_json_get_i64(row, "stack"));
    }
}

void mt_stacks_text(FILE *out, const json_t *report, size_t rows)
{
    const json_t *cpu = mt_json_get(report, "cpu");
    const json_t *summary = mt_json_get(cpu, "stack_summary"), *stacks = mt_json_get(cpu, "stacks");
    const char *mode = mt_json_get_text(summary, "mode");
    if (!strcmp(mode, "off") || !json_array_size(stacks)) return;
    bool is_sampled = !strcmp(mode, "sampled");
    json_t *printed = json_object();
    char rate[MT_HUMAN_BYTES], samples[MT_HUMAN_BYTES];
    fprintf(out, "\nCall stacks: %" PRId64 " different ones", mt_json_get_i64(summary, "stack_count"));
    int64_t finest = mt_json_get_i64(summary, "rate_bytes"),
            coarsest = mt_json_get_i64(summary, "coarsest_rate_bytes");
    if (is_sampled)
        fprintf(out, ", estimated from %s samples, one for each %s",
                mt_human_count(samples, mt_json_get_i64(summary, "sample_count")), mt_human_bytes(rate, finest));
    if (is_sampled && coarsest > finest) fprintf(out, ", in bursts %s", mt_human_bytes(rate, coarsest));
    fputc('\n', out);
    print_stacks(out, printed, stacks, "Stacks that hold most memory", "live_bytes", rows);
    print_stacks(out, printed, stacks, "Stacks that held most when the process stood at its peak", "peak_bytes",
                 rows);
    print_stacks(out, printed, stacks, "Stacks that allocated most bytes", "total_bytes", rows);
    print_stacks(out, printed, stacks, "Stacks that allocated most often", "total_count", rows);
    print_stacks(out, printed, stacks, "Stacks whose blocks were freed at once", "temporary_count", rows);
    const json_t *lifetimes = mt_json_get(cpu, "lifetimes");
    print_histogram(out, mt_json_get(lifetimes, "time_ns"), "How long blocks lived", true);
    print_histogram(out, mt_json_get(lifetimes, "frames"), "How many frames blocks lived", false);
    print_suspects(out, mt_json_get(cpu, "leak_suspects"), rows);
    print_leaks(out, printed, report, rows);
    json_decref(printed);
}
