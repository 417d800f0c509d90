/*
 * "In short": one line for each question that people come with. Each line
 * names modules, threads and stacks; what the report does not know has no line.
 */
#include "summary_text.h"

#include "human.h"
#include "json_build.h"
#include "stack_names.h"
#include "views_text.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { NAMED = 2, LABEL = 16 };

/* ---- parts of lines ------------------------------------------------------------------ */

static void label(FILE *out, const char *text)
{
    fprintf(out, "  %-*s ", LABEL, text);
}

/* A part that was estimated can come out larger than the whole that was counted: it is all of it then. */
static int percent(double part, double whole)
{
    return whole > 0 ? (int)lround(100 * fmin(part / whole, 1)) : 0;
}

static const char *shown_name(const json_t *row, const char *key)
{
    const char *name = mt_json_get_text(row, key);
    return *name ? mt_base_name(name) : "(unknown)";
}

/* "module a (58 %), b (30 %)"; true when anything was printed. */
static bool print_shares(FILE *out, const char *what, const json_t *list, const char *name_key, const char *key,
                         double whole)
{
    size_t count, shown = 0;
    struct mt_json_row *rows = mt_json_sort_rows(list, key, &count);
    for (; shown < count && shown < NAMED; shown++) {
        if (rows[shown].key <= 0 || percent((double)rows[shown].key, whole) < 1) break;
        fprintf(out, "%s%s%s (%d %%)", shown ? ", " : what, shown ? "" : " ", shown_name(rows[shown].row, name_key),
                percent((double)rows[shown].key, whole));
    }
    free(rows);
    return shown != 0;
}

/* What one stack has of a whole; an estimate that its error swallows is not given as a number. */
static void print_stack_share(FILE *out, const json_t *stack, const json_t *report, int64_t value, int64_t error,
                              double whole)
{
    char name[400], bytes[MT_HUMAN_BYTES], share[64] = "too few samples for a number";
    mt_stack_headline(stack, mt_json_get_text(mt_json_get(report, "process"), "executable"), name, sizeof name);
    if (error < value && (double)value <= whole)
        snprintf(share, sizeof share, "%s (%d %%)", mt_human_bytes(bytes, value), percent((double)value, whole));
    label(out, "");
    fprintf(out, "most by one stack: %s in %.110s  #%" PRId64 "\n", share, name, mt_json_get_i64(stack, "id"));
}

/* A line of its own for the stack that has most of something. */
static void print_top_stack(FILE *out, const json_t *report, const char *key, double whole)
{
    size_t count;
    struct mt_json_row *rows = mt_json_sort_rows(mt_json_get(mt_json_get(report, "cpu"), "stacks"), key, &count);
    if (count && rows[0].key > 0) print_stack_share(out, rows[0].row, report, rows[0].key, 0, whole);
    free(rows);
}

/* ---- lines ------------------------------------------------------------------------------ */

static double sum_of(const json_t *rows, const char *key)
{
    double sum = 0;
    size_t index;
    const json_t *row;
    json_array_foreach((json_t *)rows, index, row) sum += mt_json_get_real(row, key);
    return sum;
}

static void print_rate(FILE *out, const char *what, const json_t *rows, double whole, const char *before)
{
    const json_t *row = json_array_get(rows, 0);
    char count[MT_HUMAN_BYTES];
    if (!row) return;
    fprintf(out, "%s%s %s %s (%d %%)", before, what, shown_name(row, "name"),
            mt_human_count(count, llround(mt_json_get_real(row, "count"))),
            percent(mt_json_get_real(row, "count"), whole));
}

/* Rows of threads are exact and cover every allocation: their sum is the whole. */
static void print_per_frame(FILE *out, const json_t *report)
{
    const json_t *run = mt_json_get(mt_json_get(mt_json_get(report, "frames"), "rates"), "run");
    double whole = sum_of(mt_json_get(run, "threads"), "count");
    char count[MT_HUMAN_BYTES], bytes[MT_HUMAN_BYTES];
    if (!(whole > 0)) return;
    label(out, "per frame");
    fprintf(out, "%s allocations, %s;", mt_human_count(count, llround(whole)),
            mt_human_bytes(bytes, (int64_t)sum_of(mt_json_get(run, "threads"), "bytes")));
    print_rate(out, "module", mt_json_get(run, "modules"), whole, " most by ");
    print_rate(out, "thread", mt_json_get(run, "threads"), whole, ", by ");
    print_rate(out, "tag", mt_json_get(run, "tags"), whole, ", by ");
    fputc('\n', out);
}

static void print_in_all(FILE *out, const json_t *report)
{
    const json_t *cpu = mt_json_get(report, "cpu");
    double whole = (double)mt_json_get_i64(cpu, "allocation_count");
    char count[MT_HUMAN_BYTES];
    label(out, "allocations");
    if (!(whole > 0)) {
        fputs("none counted\n", out);
        return;
    }
    fprintf(out, "%s in all;", mt_human_count(count, (int64_t)whole));
    const json_t *modules = mt_json_get(cpu, "modules");
    bool is_exact = json_is_integer(mt_json_get(json_array_get(modules, 0), "allocation_count"));
    bool any = print_shares(out, " most by module", modules, "path", is_exact ? "allocation_count" : "total_count",
                            whole);
    print_shares(out, any ? ", by thread" : " most by thread", mt_json_get(cpu, "threads"), "name",
                 "allocation_count", whole);
    fputc('\n', out);
}

static void print_peak(FILE *out, const json_t *report)
{
    const json_t *cpu = mt_json_get(report, "cpu");
    int64_t peak = mt_json_get_i64(cpu, "peak_bytes"), frame = mt_json_get_i64(cpu, "peak_frame");
    char bytes[MT_HUMAN_BYTES], number[MT_HUMAN_BYTES];
    if (peak <= 0) return;
    label(out, "at the peak");
    fprintf(out, "%s at %.1f s", mt_human_bytes(bytes, peak), mt_json_get_real(cpu, "peak_s"));
    if (frame) fprintf(out, ", frame %s", mt_human_count(number, frame));
    print_shares(out, "; module", mt_json_get(cpu, "modules"), "path", "at_peak_bytes", (double)peak);
    print_shares(out, "; tag", mt_json_get(cpu, "tags"), "tag", "at_peak_bytes", (double)peak);
    fputc('\n', out);
    print_top_stack(out, report, "peak_bytes", (double)peak);
}

static void print_growth(FILE *out, const json_t *report)
{
    const json_t *suspects = mt_json_get(mt_json_get(report, "cpu"), "leak_suspects"),
                 *first = json_array_get(suspects, 0);
    const char *direction = mt_json_get_text(mt_json_get(mt_json_get(report, "trend"), "cpu"), "direction");
    char rate[MT_HUMAN_BYTES], name[400] = "";
    if (!*direction && !first) return;
    label(out, "grows");
    if (!first) {
        fprintf(out, "no stack grew all the time; the heap as a whole is %s\n", direction);
        return;
    }
    int64_t id = mt_json_get_i64(first, "stack");
    const json_t *stack = mt_report_stack(report, id);
    if (stack)
        mt_stack_headline(stack, mt_json_get_text(mt_json_get(report, "process"), "executable"), name, sizeof name);
    fprintf(out, "%s/min by %.110s  #%" PRId64,
            mt_human_bytes(rate, mt_json_get_i64(first, "growth_bytes_per_minute")), name, id);
    if (json_array_size(suspects) > 1) fprintf(out, "; %zu more leak suspects", json_array_size(suspects) - 1);
    fputc('\n', out);
}

/* A line of its own for the stack that lost most. */
static void print_top_leak(FILE *out, const json_t *report, double whole)
{
    const json_t *leak = json_array_get(mt_json_get(mt_json_get(report, "cpu"), "leaks"), 0);
    const json_t *stack = leak ? mt_report_stack(report, mt_json_get_i64(leak, "stack")) : NULL;
    if (stack)
        print_stack_share(out, stack, report, mt_json_get_i64(leak, "live_bytes"),
                          mt_json_get_i64(leak, "live_error_bytes"), whole);
}

/* Where the program's memory was looked through at its end: what nothing points to any more. False: it was not. */
static bool print_lost(FILE *out, const json_t *report)
{
    const json_t *scan = mt_json_get(mt_json_get(report, "cpu"), "leak_scan");
    char bytes[MT_HUMAN_BYTES], count[MT_HUMAN_BYTES], kept[MT_HUMAN_BYTES];
    if (strcmp(mt_json_get_text(scan, "mode"), "reachable") || json_is_true(mt_json_get(scan, "failed")))
        return false;
    int64_t lost = mt_json_get_i64(scan, "lost_bytes");
    label(out, "leaked");
    fprintf(out, "%s in %s blocks that nothing points to any more; %s more were still in use at the end\n",
            mt_human_bytes(bytes, lost), mt_human_count(count, mt_json_get_i64(scan, "lost_count")),
            mt_human_bytes(kept, mt_json_get_i64(scan, "reachable_bytes")));
    if (lost > 0) print_top_leak(out, report, (double)lost);
    return true;
}

/* What an ended program left; games leave much to the system, so the stack matters more than the sum. */
static void print_left(FILE *out, const json_t *report)
{
    const json_t *cpu = mt_json_get(report, "cpu");
    const char *state = mt_json_get_text(mt_json_get(mt_json_get(report, "process"), "exit"), "state");
    int64_t bytes = mt_json_get_i64(cpu, "current_bytes");
    const char *live = json_is_integer(mt_json_get(json_array_get(mt_json_get(cpu, "modules"), 0), "current_bytes"))
                           ? "current_bytes"
                           : "live_bytes";
    char text[MT_HUMAN_BYTES], count[MT_HUMAN_BYTES];
    if (strcmp(state, "exited") || bytes <= 0) return;
    if (print_lost(out, report)) return;
    label(out, "never freed");
    fprintf(out, "%s in %s blocks", mt_human_bytes(text, bytes),
            mt_human_count(count, mt_json_get_i64(cpu, "current_count")));
    print_shares(out, "; module", mt_json_get(cpu, "modules"), "path", live, (double)bytes);
    fputc('\n', out);
    print_top_stack(out, report, "live_bytes", (double)bytes);
}

/* Device memory that outlived its device. */
static void print_device_leaks(FILE *out, const json_t *report)
{
    const json_t *devices = mt_json_get(mt_json_get(report, "vulkan"), "devices"), *device;
    char bytes[MT_HUMAN_BYTES], count[MT_HUMAN_BYTES];
    size_t index;
    json_array_foreach((json_t *)devices, index, device)
    {
        if (!mt_json_get_i64(device, "leaked_count")) continue;
        label(out, "device leaks");
        fprintf(out, "%s in %s allocations were alive when %s was destroyed\n",
                mt_human_bytes(bytes, mt_json_get_i64(device, "leaked_bytes")),
                mt_human_count(count, mt_json_get_i64(device, "leaked_count")), mt_json_get_text(device, "name"));
    }
}

static void print_hitches(FILE *out, const json_t *report)
{
    const json_t *hitches = mt_json_get(mt_json_get(report, "frames"), "hitches"),
                 *recent = mt_json_get(hitches, "recent");
    char count[MT_HUMAN_BYTES], limit[MT_HUMAN_BYTES];
    if (!hitches || json_is_null(hitches)) return;
    label(out, "hitches");
    fprintf(out, "%s of %s frames took more than %s",
            mt_json_get_i64(hitches, "count") ? mt_human_count(count, mt_json_get_i64(hitches, "count")) : "none",
            mt_human_count((char[MT_HUMAN_BYTES]){0}, mt_json_get_i64(mt_json_get(report, "frames"), "count")),
            mt_human_ns(limit, mt_json_get_i64(hitches, "threshold_ns")));
    if (mt_json_get_i64(recent, "count"))
        fprintf(out,
                "; of the last %" PRId64 ": %" PRId64 " with many allocations, %" PRId64
                " with device memory allocated, %" PRId64 " with neither",
                mt_json_get_i64(recent, "count"), mt_json_get_i64(recent, "with_many_allocations"),
                mt_json_get_i64(recent, "with_device_allocations"), mt_json_get_i64(recent, "with_neither"));
    fputc('\n', out);
}

void mt_summary_text(FILE *out, const json_t *report)
{
    fputs("\nIn short\n", out);
    if (json_is_object(mt_json_get(mt_json_get(mt_json_get(report, "frames"), "rates"), "run")))
        print_per_frame(out, report);
    else
        print_in_all(out, report);
    print_peak(out, report);
    print_growth(out, report);
    print_left(out, report);
    print_device_leaks(out, report);
    print_hitches(out, report);
}
