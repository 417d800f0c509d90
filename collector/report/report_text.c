/*
 * The text form of a report. It reads the JSON document alone, so that a
 * report file and a segment look the same; what a document lacks is left out.
 * The first lines answer where the memory goes.
 */
#include "report_text.h"

#include "arena_json.h"
#include "human.h"
#include "json_build.h"
#include "pools_json.h"
#include "stack_names.h"
#include "stacks_text.h"
#include "summary_text.h"
#include "views_text.h"
#include "vulkan_advice_text.h"
#include "vulkan_host_text.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct text {
    FILE *out;
    size_t rows, details; /* rows of a list; rows of lists that print several lines for each */
    const char *sort;
    const json_t *report;
};

/* Several numbers can stand in one printf: each gets the next of a few buffers. */
static char *next_buffer(void)
{
    static char buffers[16][MT_HUMAN_BYTES];
    static unsigned next;
    return buffers[next++ % 16];
}

static const char *bytes_of(const json_t *object, const char *key)
{
    const json_t *value = mt_json_get(object, key);
    return !value || json_is_null(value) ? "-" : mt_human_bytes(next_buffer(), mt_json_get_i64(object, key));
}

static const char *count_of(const json_t *object, const char *key)
{
    const json_t *value = mt_json_get(object, key);
    return !value || json_is_null(value) ? "-" : mt_human_count(next_buffer(), mt_json_get_i64(object, key));
}

static const char *ns_of(const json_t *object, const char *key)
{
    const json_t *value = mt_json_get(object, key);
    return !value || json_is_null(value) ? "-" : mt_human_ns(next_buffer(), mt_json_get_i64(object, key));
}

static const char *name_or(const json_t *object, const char *key, const char *fallback)
{
    const char *text = mt_json_get_text(object, key);
    return *text ? text : fallback;
}

static void title(const struct text *text, const char *name)
{
    fprintf(text->out, "\n%s\n", name);
}

/* "DEVICE_LOCAL HOST_VISIBLE" */
static const char *words_of(const json_t *list, char *buffer, size_t bytes)
{
    size_t index, at = 0;
    const json_t *word;
    buffer[0] = 0;
    json_array_foreach((json_t *)list, index, word)
    {
        int put = snprintf(buffer + at, bytes - at, "%s%s", index ? " " : "",
                           json_string_value(word) ? json_string_value(word) : "");
        at += put > 0 ? (size_t)put : 0;
        if (at >= bytes) break;
    }
    return buffer;
}

typedef void print_row(const struct text *text, const json_t *row);

static void print_sorted(const struct text *text, const json_t *list, const char *key, print_row *print)
{
    size_t count;
    struct mt_json_row *rows = mt_json_sort_rows(list, key, &count);
    size_t shown = count < text->rows ? count : text->rows;
    for (size_t i = 0; i < shown; i++) print(text, rows[i].row);
    if (count > shown) fprintf(text->out, "  ... and %zu more\n", count - shown);
    free(rows);
}

/* ---- process --------------------------------------------------------------------------- */

static void print_end(const struct text *text, const json_t *end, double uptime)
{
    const char *state = name_or(end, "state", "unknown");
    const char *after = mt_human_seconds(next_buffer(), uptime);
    if (!strcmp(state, "running"))
        fprintf(text->out, "running since %s", after);
    else if (json_is_true(mt_json_get(end, "exec")))
        fprintf(text->out, "became another program (exec) after %s", after);
    else if (json_is_integer(mt_json_get(end, "signal")))
        fprintf(text->out, "killed by signal %" PRId64 " after %s", mt_json_get_i64(end, "signal"), after);
    else if (json_is_integer(mt_json_get(end, "code")))
        fprintf(text->out, "exited with %" PRId64 " after %s", mt_json_get_i64(end, "code"), after);
    else
        fprintf(text->out, "%s after %s", state, after);
}

static void print_process(const struct text *text, const json_t *report)
{
    const json_t *process = mt_json_get(report, "process"), *words = mt_json_get(process, "command_line");
    fprintf(text->out, "%s  (pid %" PRId64 ", ", name_or(process, "executable", "unknown program"),
            mt_json_get_i64(process, "pid"));
    print_end(text, mt_json_get(process, "exit"), mt_json_get_real(process, "uptime_s"));
    fprintf(text->out, ", started %s)\n", name_or(process, "start_time", "at an unknown time"));
    size_t index;
    const json_t *word;
    if (json_array_size(words)) fputs("  command:", text->out);
    json_array_foreach((json_t *)words, index, word) fprintf(text->out, " %s", json_string_value(word));
    if (json_array_size(words)) fputc('\n', text->out);
    if (*mt_json_get_text(process, "foreign_allocator"))
        fprintf(text->out, "  The program brings its own allocator: %s\n",
                mt_json_get_text(process, "foreign_allocator"));
}

/* ---- where the memory goes ----------------------------------------------------------------- */

/* One row of the first table: what is there now (or was at the end), and the most there ever was. */
static void print_now_and_peak(const struct text *text, const char *what, const char *now, const char *peak,
                               const char *remark)
{
    fprintf(text->out, "  %-26.26s %12s %12s%s%s\n", what, now, peak, *remark ? "   " : "", remark);
}

static void print_heap_row(const struct text *text, const json_t *cpu)
{
    char remark[160] = "";
    int at = 0;
    if (mt_json_get_i64(cpu, "peak_error_bytes"))
        at = snprintf(remark, sizeof remark, "peak +- %s, ", bytes_of(cpu, "peak_error_bytes"));
    at += snprintf(remark + at, sizeof remark - (size_t)at, "at %.1f s", mt_json_get_real(cpu, "peak_s"));
    if (mt_json_get_i64(cpu, "peak_frame"))
        snprintf(remark + at, sizeof remark - (size_t)at, ", frame %s", count_of(cpu, "peak_frame"));
    print_now_and_peak(text, "CPU heap", bytes_of(cpu, "current_bytes"), bytes_of(cpu, "peak_bytes"), remark);
}

/* The heap with the highest peak tells when; the device's own peak is at most the sum over its heaps. */
static void print_device_row(const struct text *text, const json_t *device)
{
    int64_t peak = 0;
    size_t index;
    const json_t *heap;
    char remark[200] = "";
    json_array_foreach((json_t *)mt_json_get(device, "heaps"), index, heap)
        peak += mt_json_get_i64(heap, "peak_bytes");
    int at = snprintf(remark, sizeof remark, "%.60s", name_or(device, "name", "unknown device"));
    if (mt_json_get_i64(mt_json_get(device, "imported"), "bytes"))
        at += snprintf(remark + at, sizeof remark - (size_t)at, ", and %s imported",
                       bytes_of(mt_json_get(device, "imported"), "bytes"));
    if (json_is_true(mt_json_get(device, "in_process_memory")))
        snprintf(remark + at, sizeof remark - (size_t)at, "; a software driver: it is part of the RSS");
    print_now_and_peak(text, "Vulkan device memory", bytes_of(device, "current_bytes"),
                       mt_human_bytes(next_buffer(), peak), remark);
}

/* The sum that explains the RSS; its parts are of the moment when the kernel was asked. */
static void print_resident(const struct text *text, const json_t *memory)
{
    if (!json_is_integer(mt_json_get(memory, "rss_bytes"))) return;
    bool has_untouched = mt_json_get_i64(memory, "untouched_bytes") > 0;
    fprintf(text->out, "\n  At %.1f s: RSS %s = CPU heap %s + mappings %s + memtrack %s %s %s (%s)\n",
            mt_json_get_real(memory, "sampled_s"), bytes_of(memory, "rss_bytes"), bytes_of(memory, "heap_bytes"),
            bytes_of(memory, "mappings_bytes"), bytes_of(memory, "memtrack_bytes"),
            has_untouched ? "- untouched" : "+ rest",
            bytes_of(memory, has_untouched ? "untouched_bytes" : "rest_bytes"),
            has_untouched ? "set aside without memory behind it"
                          : "code, files, stacks, free memory of the allocator");
}

/* The kernel forgets a process's RSS when the process ends: what is known is what it last said. */
static const char *rss_remark(const json_t *memory, bool running, char remark[80])
{
    if (!json_is_integer(mt_json_get(memory, "rss_bytes"))) return "the program ended before it could be asked for";
    if (running) return "";
    snprintf(remark, 80, "when last asked for, at %.1f s", mt_json_get_real(memory, "sampled_s"));
    return remark;
}

static void print_memory(const struct text *text, const json_t *report)
{
    char remark[80];
    const json_t *cpu = mt_json_get(report, "cpu"), *memory = mt_json_get(cpu, "memory"), *device;
    const json_t *mappings = mt_json_get(cpu, "mappings"),
                 *end = mt_json_get(mt_json_get(report, "process"), "exit");
    bool running = !strcmp(mt_json_get_text(end, "state"), "running");
    size_t index;
    fprintf(text->out, "\n%-28s %12s %12s\n", "Where the memory goes", running ? "now" : "at the end", "peak");
    print_heap_row(text, cpu);
    print_now_and_peak(text, "mappings (mmap, brk)", bytes_of(mappings, "current_bytes"),
                       bytes_of(mappings, "peak_bytes"), "");
    print_now_and_peak(text, "thread stacks", bytes_of(mappings, "stack_bytes"),
                       bytes_of(mappings, "stack_peak_bytes"), "");
    print_now_and_peak(text, "memtrack itself", bytes_of(cpu, "overhead_bytes"), "-", "");
    json_array_foreach((json_t *)mt_json_get(mt_json_get(report, "vulkan"), "devices"), index, device)
        print_device_row(text, device);
    print_now_and_peak(text, "resident (RSS)", bytes_of(memory, "rss_bytes"), bytes_of(memory, "rss_peak_bytes"),
                       rss_remark(memory, running, remark));
    print_resident(text, memory);
}

static void print_category(const struct text *text, const json_t *row)
{
    if (mt_json_get_i64(row, "count"))
        fprintf(text->out, "  %-12s %12s resident of %12s in %s mappings\n", mt_json_get_text(row, "category"),
                bytes_of(row, "rss_bytes"), bytes_of(row, "size_bytes"), count_of(row, "count"));
}

static void print_categories(const struct text *text, const json_t *report)
{
    const json_t *categories = mt_json_get(mt_json_get(mt_json_get(report, "cpu"), "memory"), "categories");
    if (!json_array_size(categories)) return;
    title(text, "Resident memory by mapping");
    struct text all = {text->out, 100, 100, NULL, text->report};
    print_sorted(&all, categories, "rss_bytes", print_category);
}

/* ---- CPU heap ---------------------------------------------------------------------------------- */

static void print_pools(const struct text *text, const json_t *pools)
{
    const json_t *slab = mt_json_get(pools, "slab"), *tlsf = mt_json_get(pools, "tlsf"),
                 *huge = mt_json_get(pools, "huge");
    fprintf(text->out, "  pools %s: %s\n", name_or(pools, "mode", "off"), name_or(pools, "reason", ""));
    if (!json_object_size(slab)) return;
    fprintf(text->out,
            "    slabs  %11s used of %11s reserved, %11s free with memory; %s blocks freed by other threads\n",
            bytes_of(slab, "used_bytes"), bytes_of(slab, "reserved_bytes"), bytes_of(slab, "dirty_bytes"),
            count_of(slab, "remote_free_count"));
    if (json_integer_value(mt_json_get(slab, "huge_page_bytes")))
        fprintf(text->out, "           %11s of it are for huge pages\n", bytes_of(slab, "huge_page_bytes"));
    fprintf(text->out, "    TLSF   %11s used of %11s reserved, %11s free with memory; largest free %s\n",
            bytes_of(tlsf, "used_bytes"), bytes_of(tlsf, "reserved_bytes"), bytes_of(tlsf, "dirty_bytes"),
            bytes_of(tlsf, "largest_free_bytes"));
    fprintf(text->out, "    huge   %11s used in %s blocks\n", bytes_of(huge, "current_bytes"),
            count_of(huge, "current_count"));
    mt_pools_text(text->out, pools, text->rows);
    mt_arena_text(text->out, mt_json_get(pools, "arena"), text->rows);
}

static void print_heap(const struct text *text, const json_t *report)
{
    const json_t *cpu = mt_json_get(report, "cpu");
    title(text, "CPU heap");
    fprintf(text->out, "  live %s in %s blocks; total %s asked for in %s allocations, %s frees, %s reallocs\n",
            bytes_of(cpu, "current_bytes"), count_of(cpu, "current_count"), bytes_of(cpu, "total_bytes"),
            count_of(cpu, "allocation_count"), count_of(cpu, "free_count"), count_of(cpu, "realloc_count"));
    if (mt_json_get_i64(cpu, "failed_count") || mt_json_get_i64(cpu, "foreign_free_count"))
        fprintf(text->out, "  %s failed requests, %s frees of blocks that memtrack did not see made\n",
                count_of(cpu, "failed_count"), count_of(cpu, "foreign_free_count"));
    if (mt_json_get_i64(cpu, "inherited_count"))
        fprintf(text->out, "  of that %s in %s blocks inherited over fork\n", bytes_of(cpu, "inherited_bytes"),
                count_of(cpu, "inherited_count"));
    print_pools(text, mt_json_get(cpu, "pools"));
}

/* ---- Vulkan --------------------------------------------------------------------------------------- */

static void print_device_heap(const struct text *text, const json_t *row)
{
    char words[160];
    fprintf(text->out, "  heap %" PRId64 "  live %11s in %6s  peak %11s  of %11s", mt_json_get_i64(row, "index"),
            bytes_of(row, "current_bytes"), count_of(row, "current_count"), bytes_of(row, "peak_bytes"),
            bytes_of(row, "size_bytes"));
    if (json_is_integer(mt_json_get(row, "budget_bytes")))
        fprintf(text->out, "  budget %s, all in use %s", bytes_of(row, "budget_bytes"),
                bytes_of(row, "usage_bytes"));
    fprintf(text->out, "  %s\n", words_of(mt_json_get(row, "flags"), words, sizeof words));
}

static void print_device_type(const struct text *text, const json_t *row)
{
    char words[160];
    if (!mt_json_get_i64(row, "allocation_count")) return;
    fprintf(text->out, "  type %" PRId64 "  live %11s in %6s  peak %11s  on heap %" PRId64 "  %s\n",
            mt_json_get_i64(row, "index"), bytes_of(row, "current_bytes"), count_of(row, "current_count"),
            bytes_of(row, "peak_bytes"), mt_json_get_i64(row, "heap_index"),
            words_of(mt_json_get(row, "flags"), words, sizeof words));
}

static void print_kinds(const struct text *text, const char *what, const json_t *part)
{
    size_t index;
    const json_t *row;
    if (!mt_json_get_i64(part, "count")) return;
    fprintf(text->out, "  %s: %s, bound %s\n", what, count_of(part, "count"), bytes_of(part, "bound_bytes"));
    json_array_foreach((json_t *)mt_json_get(part, "by_kind"), index, row)
        fprintf(text->out, "    %-22s %8s  bound %11s\n", mt_json_get_text(row, "kind"), count_of(row, "count"),
                bytes_of(row, "bound_bytes"));
}

static void print_allocation(const struct text *text, const json_t *row)
{
    fprintf(text->out, "    %11s  type %" PRId64 "  bound %11s  unbound %11s  %2s resources  %s%s%s\n",
            bytes_of(row, "size_bytes"), mt_json_get_i64(row, "type_index"), bytes_of(row, "bound_bytes"),
            bytes_of(row, "unbound_bytes"), count_of(row, "resource_count"), name_or(row, "name", ""),
            json_is_object(mt_json_get(row, "dedicated")) ? " dedicated" : "",
            json_is_array(mt_json_get(row, "imported_from")) ? " imported" : "");
}

/* The call stack of a Vulkan object; NULL where it has none. */
static const json_t *object_stack(const struct text *text, const json_t *row)
{
    const json_t *stacks = mt_json_get(mt_json_get(text->report, "vulkan"), "stacks"), *stack;
    int64_t id = mt_json_get_i64(row, "stack");
    size_t index;
    json_array_foreach((json_t *)stacks, index, stack) if (id && mt_json_get_i64(stack, "id") == id) return stack;
    return NULL;
}

static void print_leak(const struct text *text, const json_t *row)
{
    const json_t *stack = object_stack(text, row);
    char made[400] = "";
    if (stack)
        mt_stack_headline(stack, mt_json_get_text(mt_json_get(text->report, "process"), "executable"), made,
                          sizeof made);
    fprintf(text->out, "    %-9s %11s  %s%s%s%s%.110s\n", mt_json_get_text(row, "type"), bytes_of(row, "bytes"),
            mt_json_get_text(row, "handle"), *mt_json_get_text(row, "name") ? "  " : "", name_or(row, "name", ""),
            *made ? "  made in " : "", made);
}

static void print_swapchain(const struct text *text, const json_t *row)
{
    fprintf(text->out, "  swapchain %" PRId64 "x%" PRId64 ", %s images, %s, about %s%s\n",
            mt_json_get_i64(row, "width"), mt_json_get_i64(row, "height"), count_of(row, "image_count"),
            name_or(mt_json_get(row, "format"), "name", "unknown format"), bytes_of(row, "estimated_bytes"),
            json_is_true(mt_json_get(row, "retired")) ? " (being replaced)" : "");
}

static void print_call_times(const struct text *text, const json_t *times)
{
    const char *command;
    const json_t *rows, *row;
    size_t index;
    json_object_foreach((json_t *)times, command, rows) json_array_foreach((json_t *)rows, index, row) fprintf(
        text->out, "  %s type %s: %s calls, p50 %s, p99 %s, max %s, sum %s\n", command, count_of(row, "type_index"),
        count_of(row, "count"), ns_of(row, "p50"), ns_of(row, "p99"), ns_of(row, "max"), ns_of(row, "sum"));
}

static void print_memory_sum(const struct text *text, const json_t *device)
{
    const json_t *memory = mt_json_get(device, "memory"), *imported = mt_json_get(device, "imported");
    fprintf(text->out, "  allocations: %s, %s; bound %s, unbound (wasted) %s, aliased %s\n",
            count_of(memory, "count"), bytes_of(memory, "bytes"), bytes_of(memory, "bound_bytes"),
            bytes_of(memory, "unbound_bytes"), bytes_of(memory, "aliased_bytes"));
    if (mt_json_get_i64(imported, "import_count"))
        fprintf(text->out, "  imported: %s live, %s (not new memory)\n", count_of(imported, "count"),
                bytes_of(imported, "bytes"));
}

static void print_pool(const struct text *text, const json_t *row)
{
    fprintf(text->out,
            "    type %-2" PRId64 " %-8s %s slices of %s in %s of chunks, peak %s; %s hits, %s chunk calls\n",
            mt_json_get_i64(row, "type_index"), mt_json_get_text(row, "kind"), count_of(row, "current_count"),
            bytes_of(row, "requested_bytes"), bytes_of(row, "chunk_bytes"), bytes_of(row, "chunk_peak_bytes"),
            count_of(row, "hit_count"), count_of(row, "chunk_allocation_count"));
}

static void print_device_pools(const struct text *text, const json_t *pools)
{
    bool is_default = !json_array_size(mt_json_get(pools, "rows")) && json_is_null(mt_json_get(pools, "verdict"));
    if (is_default &&
        !strcmp(mt_json_get_text(pools, "reason"), "device memory is counted and passed to the driver"))
        return;
    fprintf(text->out, "  pools %s: %s\n", name_or(pools, "mode", "off"), mt_json_get_text(pools, "reason"));
    print_sorted(text, mt_json_get(pools, "rows"), "hit_count", print_pool);
    if (*mt_json_get_text(pools, "verdict")) fprintf(text->out, "    %s\n", mt_json_get_text(pools, "verdict"));
    size_t violations = (size_t)mt_json_get_i64(pools, "violation_count");
    if (violations) fprintf(text->out, "    %zu broken rules were found; see the events\n", violations);
}

static void print_device(const struct text *text, const json_t *device)
{
    fprintf(text->out, "\nVulkan: %s (%s, API %s)%s\n", name_or(device, "name", "device"),
            name_or(device, "driver", "unknown driver"), name_or(device, "api_version", "unknown"),
            json_is_true(mt_json_get(device, "in_process_memory"))
                ? ", a software driver: its memory is the process's own"
                : "");
    mt_vulkan_advice_print(text->out, device);
    print_sorted(text, mt_json_get(device, "heaps"), "current_bytes", print_device_heap);
    struct text all = {text->out, 100, 100, NULL, text->report};
    print_sorted(&all, mt_json_get(device, "memory_types"), "current_bytes", print_device_type);
    mt_vulkan_memory_report_print(text->out, device);
    print_memory_sum(text, device);
    print_sorted(text, mt_json_get(device, "allocations"), "size_bytes", print_allocation);
    print_kinds(text, "buffers", mt_json_get(device, "buffers"));
    print_kinds(text, "images", mt_json_get(device, "images"));
    print_sorted(text, mt_json_get(device, "swapchains"), "estimated_bytes", print_swapchain);
    print_call_times(text, mt_json_get(device, "call_times"));
    print_device_pools(text, mt_json_get(device, "pools"));
    if (!json_array_size(mt_json_get(device, "leaks"))) return;
    fprintf(text->out, "  alive when the device was destroyed:\n");
    print_sorted(text, mt_json_get(device, "leaks"), "bytes", print_leak);
}

static void print_devices(const struct text *text, const json_t *report)
{
    size_t index;
    const json_t *device;
    json_array_foreach((json_t *)mt_json_get(mt_json_get(report, "vulkan"), "devices"), index, device)
        print_device(text, device);
    mt_vulkan_host_print(text->out, mt_json_get(report, "vulkan"), text->rows);
}

/* ---- frames ------------------------------------------------------------------------------------------ */

static void print_percentiles(const struct text *text, const char *what, const json_t *part,
                              const char *(*form)(const json_t *, const char *))
{
    fprintf(text->out, "  %-20s p50 %10s  p95 %10s  p99 %10s  max %10s\n", what, form(part, "p50"),
            form(part, "p95"), form(part, "p99"), form(part, "max"));
}

static void print_kept(const struct text *text, const json_t *row, bool has_stacks)
{
    fprintf(text->out, "    frame %-8s %10s  %10s allocations  %11s", count_of(row, "frame"),
            ns_of(row, "duration_ns"), count_of(row, "allocation_count"), bytes_of(row, "bytes"));
    if (mt_json_get_i64(row, "device_allocation_count"))
        fprintf(text->out, "  device memory: %s in %s, driver %s", bytes_of(row, "device_bytes"),
                count_of(row, "device_allocation_count"), ns_of(row, "device_ns"));
    fputs(has_stacks ? "\n" : ", see above\n", text->out);
    if (has_stacks) mt_frame_stacks_text(text->out, text->report, row, 3);
}

/* True when the frame is among the first `limit` of a list. */
static bool is_listed(const json_t *list, size_t limit, const json_t *row)
{
    size_t index;
    const json_t *other;
    json_array_foreach((json_t *)list, index,
                       other) if (index < limit &&
                                  mt_json_get_i64(other, "frame") == mt_json_get_i64(row, "frame")) return true;
    return false;
}

/* What the list `printed` spelled out already is named only. */
static void print_kept_list(const struct text *text, const json_t *list, const json_t *printed, const char *heading)
{
    size_t index;
    const json_t *row;
    if (json_array_size(list)) fprintf(text->out, "  %s\n", heading);
    json_array_foreach((json_t *)list, index, row)
    {
        if (index < text->details) print_kept(text, row, !is_listed(printed, text->details, row));
    }
}

static void print_hitches(const struct text *text, const json_t *hitches)
{
    const json_t *recent = mt_json_get(hitches, "recent");
    if (!mt_json_get_i64(hitches, "count")) return;
    fprintf(
        text->out,
        "  hitches: %s frames longer than %s (twice the median of %s, and 4 ms more than it)\n"
        "    of the %s in the last %s frames %s had more allocations than 95 %% of all frames, %s allocated device "
        "memory, %s neither\n",
        count_of(hitches, "count"), ns_of(hitches, "threshold_ns"), ns_of(hitches, "median_ns"),
        count_of(recent, "count"), count_of(recent, "frame_count"), count_of(recent, "with_many_allocations"),
        count_of(recent, "with_device_allocations"), count_of(recent, "with_neither"));
    if (json_is_real(mt_json_get(recent, "correlation_allocations")))
        fprintf(text->out, "    correlation of a frame's time with its allocations %.2f",
                mt_json_get_real(recent, "correlation_allocations"));
    if (json_is_real(mt_json_get(recent, "correlation_device_ns")))
        fprintf(text->out, ", with the driver's time for device memory %.2f",
                mt_json_get_real(recent, "correlation_device_ns"));
    fputc('\n', text->out);
    print_kept_list(text, mt_json_get(hitches, "longest"), NULL, "longest frames:");
}

static void print_frames(const struct text *text, const json_t *report)
{
    const json_t *frames = mt_json_get(report, "frames"), *hitches = mt_json_get(frames, "hitches");
    if (!mt_json_get_i64(frames, "count")) return;
    fprintf(text->out, "\nFrames: %s (%s), %s without any allocation\n", count_of(frames, "count"),
            name_or(frames, "source", "unknown source"), count_of(frames, "zero_allocation_frames"));
    print_percentiles(text, "allocations / frame", mt_json_get(frames, "allocations_per_frame"), count_of);
    print_percentiles(text, "bytes / frame", mt_json_get(frames, "bytes_per_frame"), bytes_of);
    print_percentiles(text, "time / frame", mt_json_get(frames, "duration_ns"), ns_of);
    print_hitches(text, hitches);
    print_kept_list(text, mt_json_get(frames, "worst"), mt_json_get(hitches, "longest"), "most allocations:");
}

static void print_tag_budgets(const struct text *text, const json_t *tags)
{
    size_t index;
    const json_t *row;
    json_array_foreach((json_t *)tags, index, row)
    {
        if (!mt_json_get_i64(row, "budget_bytes")) continue;
        fprintf(text->out, "  budget of %s: %s (%s)\n", mt_json_get_text(row, "tag"), bytes_of(row, "budget_bytes"),
                mt_json_get_text(row, "budget_state"));
    }
}

/* What each list is sorted by where nothing was asked for: what a game pays for in each frame. */
static void print_views(const struct text *text, const json_t *report)
{
    static const enum mt_view views[] = {MT_VIEW_MODULE, MT_VIEW_THREAD, MT_VIEW_TAG, MT_VIEW_SIZE};
    const json_t *tags = mt_json_get(mt_json_get(report, "cpu"), "tags");
    for (size_t i = 0; i < sizeof views / sizeof *views; i++) {
        if (views[i] == MT_VIEW_TAG && json_array_size(tags) < 2) continue; /* only "default": the totals above */
        mt_view_section(text->out, report, views[i], text->sort, views[i] == MT_VIEW_SIZE ? "live" : "frame",
                        text->rows);
    }
    print_tag_budgets(text, tags);
}

/* ---- the rest ------------------------------------------------------------------------------------------- */

static void print_trend(const struct text *text, const json_t *report)
{
    const json_t *cpu = mt_json_get(mt_json_get(report, "trend"), "cpu");
    const json_t *vulkan = mt_json_get(mt_json_get(report, "trend"), "vulkan");
    if (!*mt_json_get_text(cpu, "direction")) return;
    fprintf(text->out, "\nTrend of the last minute: CPU heap %s (%s/s), Vulkan %s (%s/s)\n",
            mt_json_get_text(cpu, "direction"), bytes_of(cpu, "bytes_per_s"),
            name_or(vulkan, "direction", "unknown"), bytes_of(vulkan, "bytes_per_s"));
}

static void print_events(const struct text *text, const json_t *report)
{
    const json_t *events = mt_json_get(report, "events"), *event;
    size_t count = json_array_size(events), first = count > text->rows ? count - text->rows : 0;
    if (!count) return;
    title(text, "Events");
    if (first) fprintf(text->out, "  %zu earlier ones ...\n", first);
    for (size_t i = first; i < count; i++) {
        event = json_array_get(events, i);
        fprintf(text->out, "  %9.3f s  %-12s %s\n", mt_json_get_real(event, "t_s"), mt_json_get_text(event, "kind"),
                mt_json_get_text(event, "text"));
    }
}

static void print_dropped(const struct text *text, const json_t *report)
{
    const char *name;
    json_t *value;
    bool titled = false;
    json_object_foreach((json_t *)mt_json_get(report, "dropped"), name, value)
    {
        if (!json_integer_value(value)) continue;
        fprintf(text->out, "%s %s %s",
                titled ? "," : "\nDropped:", mt_human_count(next_buffer(), json_integer_value(value)), name);
        titled = true;
    }
    if (titled) fputc('\n', text->out);
}

void mt_report_text(FILE *out, const json_t *report, size_t rows, const char *sort)
{
    size_t all = rows ? rows : 10, details = rows ? rows : 5;
    struct text text = {out, all, details, sort, report};
    print_process(&text, report);
    mt_summary_text(out, report);
    print_memory(&text, report);
    print_frames(&text, report);
    print_views(&text, report);
    print_heap(&text, report);
    print_devices(&text, report);
    mt_stacks_text(out, report, details);
    print_categories(&text, report);
    print_trend(&text, report);
    print_events(&text, report);
    print_dropped(&text, report);
    fputc('\n', out);
}
