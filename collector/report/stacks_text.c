/*
 * Prints the stacks of a report by what they hold and do: live, at the peak,
 * in total, temporary; then modules, leaks and lifetimes. One thread.
 */
#include "stacks_text.h"

#include "human.h"
#include "json_build.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { FRAMES_SHOWN = 8, NAME_SHOWN = 100, BAR = 30 };

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* ---- one stack ------------------------------------------------------------------------ */

static void print_frame(FILE *out, const json_t *frame)
{
    const char *function = mt_json_get_text(frame, "function"),
               *module = base_name(mt_json_get_text(frame, "module"));
    const char *file = mt_json_get_text(frame, "file"), *offset = mt_json_get_text(frame, "offset");
    fputs("        ", out);
    if (*function)
        fprintf(out, "%.*s%s", NAME_SHOWN, function, strlen(function) > NAME_SHOWN ? "..." : "");
    else if (*module)
        fprintf(out, "%s+%s", module, offset);
    else
        fputs(mt_json_get_text(frame, "address"), out);
    if (*file) fprintf(out, "  %s:%" PRId64, base_name(file), mt_json_get_i64(frame, "line"));
    if (*function && *module) fprintf(out, "  (%s)", module);
    if (json_is_true(mt_json_get(frame, "inlined"))) fputs("  [inlined]", out);
    fputc('\n', out);
}

/* Frames of the C++ library between the program and the allocator say nothing that the program's own do not. */
static bool is_library_frame(const json_t *frame)
{
    const char *function = mt_json_get_text(frame, "function");
    return !strncmp(function, "std::", 5) || !strncmp(function, "__gnu_cxx::", 11) ||
           !strncmp(function, "void std::", 10) || !strncmp(function, "operator new", 12);
}

static void print_frames(FILE *out, const json_t *stack)
{
    const json_t *frames = mt_json_get(stack, "frames");
    size_t count = json_array_size(frames), first = 0;
    while (first < count && is_library_frame(json_array_get(frames, first))) first++;
    if (first == count) first = 0;
    if (first) fprintf(out, "        ... %zu frames of the C++ library\n", first);
    for (size_t i = first; i < count && i < first + FRAMES_SHOWN; i++) print_frame(out, json_array_get(frames, i));
    if (count > first + FRAMES_SHOWN) fprintf(out, "        ... %zu more frames\n", count - first - FRAMES_SHOWN);
}

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
    print_frames(out, stack);
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

static void print_modules(FILE *out, const json_t *modules, size_t limit)
{
    size_t count;
    struct mt_json_row *rows = mt_json_sort_rows(modules, "total_bytes", &count);
    if (count && rows[0].key > 0)
        fprintf(out, "\nModules that called malloc or new\n  %12s %12s %12s %12s   %s\n", "live", "at peak",
                "in all", "calls", "module");
    for (size_t i = 0; i < count && i < limit && rows[i].key > 0; i++) {
        char live[MT_HUMAN_BYTES], peak[MT_HUMAN_BYTES], total[MT_HUMAN_BYTES], calls[MT_HUMAN_BYTES];
        const char *path = mt_json_get_text(rows[i].row, "path");
        fprintf(
            out, "  %12s %12s %12s %12s   %s\n", mt_human_bytes(live, mt_json_get_i64(rows[i].row, "live_bytes")),
            mt_human_bytes(peak, mt_json_get_i64(rows[i].row, "peak_bytes")), mt_human_bytes(total, rows[i].key),
            mt_human_count(calls, mt_json_get_i64(rows[i].row, "total_count")),
            *path ? base_name(path) : "(generated or unknown code)");
    }
    free(rows);
}

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

static void print_leaks(FILE *out, const json_t *cpu)
{
    const json_t *leaks = mt_json_get(cpu, "leaks");
    int64_t bytes = 0, count = 0;
    size_t index;
    const json_t *leak;
    char text[MT_HUMAN_BYTES], blocks[MT_HUMAN_BYTES];
    json_array_foreach((json_t *)leaks, index, leak)
    {
        bytes += mt_json_get_i64(leak, "live_bytes");
        count += mt_json_get_i64(leak, "live_count");
    }
    if (json_array_size(leaks))
        fprintf(out, "\nStill allocated at the end: %s in %s blocks from %zu stacks (see live above)\n",
                mt_human_bytes(text, bytes), mt_human_count(blocks, count), json_array_size(leaks));
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

void mt_stacks_text(FILE *out, const json_t *cpu, size_t rows)
{
    const json_t *summary = mt_json_get(cpu, "stack_summary"), *stacks = mt_json_get(cpu, "stacks");
    const char *mode = mt_json_get_text(summary, "mode");
    if (!strcmp(mode, "off") || !json_array_size(stacks)) return;
    bool is_sampled = !strcmp(mode, "sampled");
    json_t *printed = json_object();
    char rate[MT_HUMAN_BYTES], samples[MT_HUMAN_BYTES];
    fprintf(out, "\nCall stacks: %" PRId64 " different ones", mt_json_get_i64(summary, "stack_count"));
    if (is_sampled)
        fprintf(out, ", estimated from %s samples, one for each %s",
                mt_human_count(samples, mt_json_get_i64(summary, "sample_count")),
                mt_human_bytes(rate, mt_json_get_i64(summary, "rate_bytes")));
    fputc('\n', out);
    print_stacks(out, printed, stacks, "Stacks that hold most memory", "live_bytes", rows);
    print_stacks(out, printed, stacks, "Stacks that held most when the process stood at its peak", "peak_bytes",
                 rows);
    print_stacks(out, printed, stacks, "Stacks that allocated most bytes", "total_bytes", rows);
    print_stacks(out, printed, stacks, "Stacks that allocated most often", "total_count", rows);
    print_stacks(out, printed, stacks, "Stacks whose blocks were freed at once", "temporary_count", rows);
    json_decref(printed);
    print_modules(out, mt_json_get(cpu, "modules"), rows);
    const json_t *lifetimes = mt_json_get(cpu, "lifetimes");
    print_histogram(out, mt_json_get(lifetimes, "time_ns"), "How long blocks lived", true);
    print_histogram(out, mt_json_get(lifetimes, "frames"), "How many frames blocks lived", false);
    print_suspects(out, mt_json_get(cpu, "leak_suspects"), rows);
    print_leaks(out, cpu);
}
