/*
 * Builds the report's document out of a snapshot, part by part in the order
 * of docs/report.md. Numbers come from the segment or the kernel; what neither
 * knows is null or an empty list. Called by the collector and the command.
 */
#include "report_json.h"

#include "arena_json.h"
#include "frames_json.h"
#include "json_build.h"
#include "pools_json.h"
#include "stacks_json.h"
#include "tags.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Threads beyond this keep the name they had when they were first seen: one file is read for each. */
enum { MAX_NAMES_FROM_PROC = 256 };

struct mt_process_end mt_process_end_of(const struct mt_segment_glance *glance, enum mt_liveness liveness)
{
    struct mt_process_end end = {.state = MT_EXIT_RUNNING, .end_ns = glance->end_ns};
    if (glance->state == MT_STATE_EXITED) {
        end.state = MT_EXIT_EXITED;
        end.code_known = true;
        end.code = glance->exit_code;
    } else if (glance->state == MT_STATE_EXECED) {
        end.state = MT_EXIT_EXITED;
        end.exec = true;
    } else if (liveness == MT_REUSED) {
        end.state = MT_EXIT_LOST;
    } else if (liveness == MT_GONE) {
        end.state = MT_EXIT_KILLED;
    }
    return end;
}

json_t *mt_report_time_json(const struct mt_snapshot *snapshot, uint64_t when_ns)
{
    uint64_t start = snapshot->segment->process.start_ns;
    return when_ns ? mt_json_seconds(when_ns > start ? when_ns - start : 0) : json_null();
}

void mt_report_set_own_peak(json_t *part, const struct mt_snapshot *snapshot, const struct mt_own_peak *peak)
{
    mt_json_set(part, "peak_bytes", peak ? json_integer(peak->bytes) : NULL);
    mt_json_set(part, "peak_error_bytes", peak && peak->error_bytes >= 0 ? json_integer(peak->error_bytes) : NULL);
    mt_json_set(part, "peak_s", mt_report_time_json(snapshot, peak ? peak->when_ns : 0));
    mt_json_set(part, "peak_frame", peak && peak->when_ns ? mt_json_u64(peak->frame) : NULL);
}

static json_t *date_json(uint64_t realtime_ns)
{
    char text[48], day[32];
    time_t seconds = (time_t)(realtime_ns / UINT64_C(1000000000));
    struct tm parts;
    if (!realtime_ns || !gmtime_r(&seconds, &parts)) return json_null();
    strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(text, sizeof text, "%s.%03uZ", day, (unsigned)(realtime_ns / 1000000u % 1000u));
    return json_string(text);
}

/* ---- process -------------------------------------------------------------- */

static json_t *command_line_json(const struct mt_process *process)
{
    json_t *words = json_array();
    const char *at = process->command_line, *end = at + process->command_line_bytes;
    while (at < end) {
        size_t length = strnlen(at, (size_t)(end - at));
        json_array_append_new(words, mt_json_text_n(at, length));
        at += length + 1;
    }
    return words;
}

static json_t *exit_json(const struct mt_process_end *end)
{
    static const char *const names[] = {"running", "exited", "killed", "lost"};
    json_t *part = json_object();
    mt_json_set_text(part, "state", names[end->state]);
    mt_json_set(part, "code", end->code_known ? json_integer(end->code) : NULL);
    mt_json_set(part, "signal", end->signal ? json_integer(end->signal) : NULL);
    mt_json_set_bool(part, "exec", end->exec);
    return part;
}

static json_t *clients_json(uint32_t clients)
{
    json_t *names = json_array();
    if (clients & MT_CLIENT_PRELOAD) json_array_append_new(names, json_string("preload"));
    if (clients & MT_CLIENT_LAYER) json_array_append_new(names, json_string("layer"));
    return names;
}

static json_t *process_json(const struct mt_snapshot *snapshot, const struct mt_report_context *context)
{
    const struct mt_process *process = &snapshot->segment->process;
    uint64_t now = context->end.end_ns ? context->end.end_ns : snapshot->taken_ns;
    json_t *part = json_object();
    mt_json_set_i64(part, "pid", process->pid);
    mt_json_set_i64(part, "parent_pid", process->parent_pid);
    mt_json_set_text(part, "executable", process->executable);
    mt_json_set(part, "command_line", command_line_json(process));
    mt_json_set(part, "start_time", date_json(process->start_realtime_ns));
    mt_json_set(part, "uptime_s", mt_json_seconds(now > process->start_ns ? now - process->start_ns : 0));
    mt_json_set_bool(part, "is_fork", process->is_fork == 1);
    mt_json_set(part, "clients", clients_json(MT_GET(process->clients)));
    mt_json_set_name(part, "next_allocator", process->next_allocator);
    mt_json_set_name(part, "foreign_allocator", process->foreign_allocator);
    mt_json_set(part, "exit", exit_json(&context->end));
    return part;
}

/* ---- cpu ------------------------------------------------------------------ */

static uint64_t net_of(uint64_t plus, uint64_t minus)
{
    return plus - minus; /* read as signed: a snapshot of a running program may see a free before its allocation */
}

static void count_classes(const struct mt_snapshot *snapshot, uint64_t allocated[], uint64_t freed[])
{
    for (uint32_t s = 0; s < snapshot->shard_limit; s++) {
        const struct mt_shard *shard = &snapshot->segment->shards[s];
        for (unsigned i = 0; i < MT_CLASS_COUNT; i++) {
            allocated[i] += MT_GET(shard->classes[i].allocation_count);
            freed[i] += MT_GET(shard->classes[i].free_count);
        }
    }
}

static json_t *class_json(unsigned index, uint64_t allocated, uint64_t freed)
{
    int64_t count = (int64_t)net_of(allocated, freed);
    uint64_t low = index ? mt_class_bytes(index - 1) + 1 : 0, high = mt_class_bytes(index);
    json_t *row = json_object();
    mt_json_set_u64(row, "min_bytes", low);
    mt_json_set_u64(row, "max_bytes", high); /* null: the last class has no limit */
    mt_json_set_i64(row, "current_count", count);
    mt_json_set_i64(row, "current_bytes_low", count * (int64_t)low);
    mt_json_set(row, "current_bytes_high", high > INT64_MAX ? NULL : json_integer(count * (int64_t)high));
    mt_json_set_u64(row, "allocation_count", allocated);
    mt_json_set_u64(row, "free_count", freed);
    return row;
}

static json_t *size_classes_json(const struct mt_snapshot *snapshot)
{
    uint64_t allocated[MT_CLASS_COUNT] = {0}, freed[MT_CLASS_COUNT] = {0};
    json_t *rows = json_array();
    count_classes(snapshot, allocated, freed);
    for (unsigned i = 0; i < MT_CLASS_COUNT; i++)
        if (allocated[i] || freed[i]) json_array_append_new(rows, class_json(i, allocated[i], freed[i]));
    return rows;
}

struct thread_row {
    int32_t tid; /* 0 = several threads */
    const char *name, *state;
    uint64_t thread_count, allocation_count, free_count, requested_bytes, start_ns;
    int64_t live_bytes;
    struct mt_own_peak peak;
    bool has_peak;
};

static json_t *thread_json(const struct mt_snapshot *snapshot, const struct thread_row *thread)
{
    json_t *row = json_object();
    mt_json_set(row, "tid", thread->tid ? json_integer(thread->tid) : NULL);
    mt_json_set_text(row, "name", thread->name);
    mt_json_set_text(row, "state", thread->state);
    mt_json_set_u64(row, "thread_count", thread->thread_count);
    mt_json_set(row, "start_s", mt_report_time_json(snapshot, thread->start_ns));
    mt_json_set_i64(row, "current_bytes", thread->live_bytes);
    mt_report_set_own_peak(row, snapshot, thread->has_peak ? &thread->peak : NULL);
    mt_json_set_u64(row, "total_bytes", thread->requested_bytes);
    mt_json_set_u64(row, "allocation_count", thread->allocation_count);
    mt_json_set_u64(row, "free_count", thread->free_count);
    return row;
}

/* What was flushed last, or what is higher since then. */
static struct mt_own_peak peak_of_thread(const struct mt_snapshot *snapshot, const struct mt_shard *shard)
{
    int64_t live = MT_GET(shard->live_bytes), high = MT_GET(shard->high_bytes);
    int64_t now = (high > live ? high : live) - shard->base_live_bytes;
    struct mt_own_peak peak = {MT_GET(shard->own_peak_bytes), 0, MT_GET(shard->own_peak_ns),
                               MT_GET(shard->own_peak_frame)};
    if (now > peak.bytes)
        peak = (struct mt_own_peak){now, 0, snapshot->taken_ns, MT_GET(snapshot->segment->frames.count)};
    return peak;
}

static json_t *live_thread_json(const struct mt_snapshot *snapshot, const struct mt_shard *shard, bool ask_proc)
{
    char name[MT_NAME_BYTES];
    snprintf(name, sizeof name, "%s", shard->name);
    if (ask_proc) mt_proc_thread_name(snapshot->segment->process.pid, MT_GET(shard->tid), name, sizeof name);
    struct thread_row row = {
        .tid = MT_GET(shard->tid),
        .name = name,
        .state = "live",
        .thread_count = 1,
        .start_ns = shard->start_ns,
        .allocation_count = MT_GET(shard->allocation_count) - shard->base_allocation_count,
        .free_count = MT_GET(shard->free_count) - shard->base_free_count,
        .requested_bytes = MT_GET(shard->requested_bytes) - shard->base_requested_bytes,
        .live_bytes = MT_GET(shard->live_bytes) - shard->base_live_bytes,
        .peak = peak_of_thread(snapshot, shard),
        .has_peak = true,
    };
    return thread_json(snapshot, &row);
}

/* Shard 0 serves every thread that found no shard of its own, and what was counted before threads had one. */
static void append_shared_shard(const struct mt_snapshot *snapshot, json_t *rows)
{
    const struct mt_shard *shard = &snapshot->segment->shards[0];
    struct thread_row row = {
        .name = "(shared)",
        .state = "shared",
        .thread_count = MT_GET(snapshot->segment->dropped[MT_DROPPED_SHARDS]),
        .allocation_count = MT_GET(shard->allocation_count),
        .free_count = MT_GET(shard->free_count),
        .requested_bytes = MT_GET(shard->requested_bytes),
        .live_bytes = MT_GET(shard->live_bytes),
    };
    if (row.allocation_count || row.free_count) json_array_append_new(rows, thread_json(snapshot, &row));
}

static void append_ended_threads(const struct mt_snapshot *snapshot, json_t *rows)
{
    for (unsigned i = 0; i < MT_THREAD_MAX; i++) {
        const struct mt_ended_threads *ended = &snapshot->segment->ended_threads[i];
        if (!MT_GET(ended->key)) continue;
        struct thread_row row = {
            .name = ended->name,
            .state = "ended",
            .thread_count = MT_GET(ended->thread_count),
            .allocation_count = MT_GET(ended->allocation_count),
            .free_count = MT_GET(ended->free_count),
            .requested_bytes = MT_GET(ended->requested_bytes),
            .live_bytes = MT_GET(ended->live_bytes),
            .peak = {MT_GET(ended->peak_bytes), 0, MT_GET(ended->peak_ns), MT_GET(ended->peak_frame)},
            .has_peak = true,
        };
        json_array_append_new(rows, thread_json(snapshot, &row));
    }
}

/* What is left of threads that ended when there was no memory for a row: all that no other row has. */
static void append_lost_threads(const struct mt_snapshot *snapshot, json_t *rows)
{
    if (!MT_GET(snapshot->segment->dropped[MT_DROPPED_THREAD_NAMES])) return;
    const struct mt_shard_sum *all = &snapshot->cpu;
    struct thread_row lost = {
        .name = "(other)",
        .state = "ended",
        .thread_count = MT_GET(snapshot->segment->globals.thread_count),
        .allocation_count = all->allocation_count,
        .free_count = all->free_count,
        .requested_bytes = all->requested_bytes,
        .live_bytes = all->live_bytes,
    };
    size_t at;
    const json_t *row;
    json_array_foreach(rows, at, row)
    {
        lost.thread_count -= (uint64_t)mt_json_get_i64(row, "thread_count");
        lost.allocation_count -= (uint64_t)mt_json_get_i64(row, "allocation_count");
        lost.free_count -= (uint64_t)mt_json_get_i64(row, "free_count");
        lost.requested_bytes -= (uint64_t)mt_json_get_i64(row, "total_bytes");
        lost.live_bytes -= mt_json_get_i64(row, "current_bytes");
    }
    if ((int64_t)lost.thread_count < 0) lost.thread_count = 0; /* those that share a row may be counted elsewhere */
    bool is_sensible = (int64_t)lost.allocation_count >= 0 && (int64_t)lost.free_count >= 0; /* others may run */
    if (is_sensible && (lost.allocation_count || lost.free_count))
        json_array_append_new(rows, thread_json(snapshot, &lost));
}

static json_t *threads_json(const struct mt_snapshot *snapshot, bool names_from_proc)
{
    json_t *rows = json_array();
    bool ask_proc = names_from_proc && MT_GET(snapshot->segment->globals.live_shards) <= MAX_NAMES_FROM_PROC;
    for (uint32_t i = 1; i < snapshot->shard_limit; i++) {
        const struct mt_shard *shard = &snapshot->segment->shards[i];
        if (MT_GET(shard->state) == MT_SHARD_LIVE)
            json_array_append_new(rows, live_thread_json(snapshot, shard, ask_proc));
    }
    append_shared_shard(snapshot, rows);
    append_ended_threads(snapshot, rows);
    append_lost_threads(snapshot, rows);
    return rows;
}

/* Memory behind the segment plus memtrack's private mappings in the process. */
static uint64_t memtrack_bytes(const struct mt_snapshot *snapshot)
{
    return snapshot->segment_resident_bytes + MT_GET(snapshot->segment->globals.private_bytes);
}

static json_t *categories_json(const struct mt_proc_mappings *mappings)
{
    json_t *rows = json_array();
    for (unsigned i = 0; mappings && mappings->known && i < MT_PROC_CATEGORIES; i++) {
        json_t *row = json_object();
        mt_json_set_text(row, "category", mt_proc_category_name[i]);
        mt_json_set_u64(row, "count", mappings->category[i].count);
        mt_json_set_u64(row, "size_bytes", mappings->category[i].size_bytes);
        mt_json_set_u64(row, "rss_bytes", mappings->category[i].rss_bytes);
        json_array_append_new(rows, row);
    }
    return rows;
}

static void set_kernel_numbers(json_t *part, const struct mt_snapshot *snapshot,
                               const struct mt_proc_memory *memory)
{
    bool known = memory && memory->known;
    mt_json_set(part, "sampled_s", known ? mt_report_time_json(snapshot, memory->taken_ns) : NULL);
    mt_json_set(part, "rss_peak_bytes", known ? mt_json_u64(memory->rss_peak_bytes) : NULL);
    mt_json_set(part, "anonymous_bytes", known ? mt_json_u64(memory->anonymous_bytes) : NULL);
    mt_json_set(part, "file_bytes", known ? mt_json_u64(memory->file_bytes) : NULL);
    mt_json_set(part, "shared_bytes", known ? mt_json_u64(memory->shared_bytes) : NULL);
    mt_json_set(part, "swap_bytes", known ? mt_json_u64(memory->swap_bytes) : NULL);
    mt_json_set(part, "virtual_bytes", known ? mt_json_u64(memory->virtual_bytes) : NULL);
}

struct mt_memory_split mt_memory_split_of(const struct mt_snapshot *snapshot)
{
    const struct mt_globals *globals = &snapshot->segment->globals;
    return (struct mt_memory_split){
        .known = true,
        .heap_bytes = (int64_t)globals->inherited_bytes + snapshot->cpu.live_bytes,
        .mappings_bytes = (int64_t)MT_GET(globals->mapped_bytes),
        .memtrack_bytes = (int64_t)memtrack_bytes(snapshot),
    };
}

/* rss = heap + mappings + memtrack + rest - untouched. What is counted was set aside, so that all that is known of
 * what was never touched is that it is no less than what the sum is above the RSS. */
static json_t *memory_json(const struct mt_snapshot *snapshot, const struct mt_report_context *context)
{
    struct mt_memory_split split = context->split.known ? context->split : mt_memory_split_of(snapshot);
    int64_t counted = split.heap_bytes + split.mappings_bytes + split.memtrack_bytes;
    bool known = context->memory && context->memory->known;
    json_t *part = json_object();
    mt_json_set(part, "rss_bytes", known ? mt_json_u64(context->memory->rss_bytes) : NULL);
    mt_json_set_i64(part, "heap_bytes", split.heap_bytes);
    mt_json_set_i64(part, "mappings_bytes", split.mappings_bytes);
    mt_json_set_i64(part, "memtrack_bytes", split.memtrack_bytes);
    int64_t beside = known ? (int64_t)context->memory->rss_bytes - counted : 0;
    mt_json_set(part, "rest_bytes", known ? json_integer(beside > 0 ? beside : 0) : NULL);
    mt_json_set(part, "untouched_bytes", known ? json_integer(beside < 0 ? -beside : 0) : NULL);
    set_kernel_numbers(part, snapshot, context->memory);
    mt_json_set(part, "categories_sampled_s",
                context->mappings && context->mappings->known
                    ? mt_report_time_json(snapshot, context->mappings->taken_ns)
                    : NULL);
    mt_json_set(part, "categories", categories_json(context->mappings));
    return part;
}

static json_t *mappings_json(const struct mt_globals *globals)
{
    json_t *part = json_object();
    mt_json_set_u64(part, "current_bytes", MT_GET(globals->mapped_bytes));
    mt_json_set_u64(part, "current_count", MT_GET(globals->mapped_count));
    mt_json_set_u64(part, "peak_bytes", MT_GET(globals->mapped_peak_bytes));
    mt_json_set_u64(part, "map_count", MT_GET(globals->map_count));
    mt_json_set_u64(part, "unmap_count", MT_GET(globals->unmap_count));
    mt_json_set_i64(part, "break_bytes", MT_GET(globals->brk_bytes));
    mt_json_set_u64(part, "stack_bytes", MT_GET(globals->stack_bytes));
    mt_json_set_u64(part, "stack_count", MT_GET(globals->stack_count));
    mt_json_set_u64(part, "stack_peak_bytes", MT_GET(globals->stack_peak_bytes));
    return part;
}

void mt_seen_peak_look(struct mt_seen_peak *peak, const struct mt_snapshot *snapshot)
{
    int64_t current = (int64_t)snapshot->segment->globals.inherited_bytes + snapshot->cpu.live_bytes;
    if (current <= peak->bytes) return;
    peak->bytes = current;
    peak->when_ns = snapshot->taken_ns;
    peak->frame = MT_GET(snapshot->segment->frames.count);
}

static void set_counts(json_t *part, const struct mt_snapshot *snapshot, const struct mt_seen_peak *seen,
                       int64_t current)
{
    const struct mt_globals *globals = &snapshot->segment->globals;
    const struct mt_shard_sum *sum = &snapshot->cpu;
    int64_t net = (int64_t)net_of(sum->allocation_count, sum->free_count);
    struct mt_seen_peak peak = {sum->peak_bytes, MT_GET(globals->peak_ns), MT_GET(globals->peak_frame)};
    uint64_t error = (uint64_t)mt_snapshot_peak(snapshot).error_bytes;
    if (seen->bytes > peak.bytes) peak = *seen;
    mt_seen_peak_look(&peak, snapshot);
    /* A peak that was seen leaves less above it; looking at threads one after the other may be off by what they do
     * meanwhile. */
    uint64_t raised = (uint64_t)(peak.bytes - sum->peak_bytes);
    if (error) error = error > raised + globals->batch_bytes ? error - raised : globals->batch_bytes;
    mt_json_set_i64(part, "current_bytes", current);
    mt_json_set(part, "current_requested_bytes", mt_pools_requested_json(snapshot));
    mt_json_set_i64(part, "current_count", (int64_t)globals->inherited_count + net);
    mt_json_set_i64(part, "peak_bytes", peak.bytes);
    mt_json_set_u64(part, "peak_error_bytes", error);
    mt_json_set(part, "peak_s", mt_report_time_json(snapshot, peak.when_ns));
    mt_json_set_u64(part, "peak_frame", peak.frame);
    mt_json_set_u64(part, "total_bytes", sum->requested_bytes);
    mt_json_set_u64(part, "allocation_count", sum->allocation_count);
    mt_json_set_u64(part, "free_count", sum->free_count);
    mt_json_set_i64(part, "net_count", net);
    mt_json_set_u64(part, "realloc_count", sum->realloc_count);
    mt_json_set_u64(part, "failed_count", sum->failed_count);
    mt_json_set_u64(part, "foreign_free_count", sum->foreign_free_count);
    mt_json_set_u64(part, "inherited_bytes", globals->inherited_bytes);
    mt_json_set_u64(part, "inherited_count", globals->inherited_count);
}

static void set_budget(json_t *part, const struct mt_snapshot *snapshot, int64_t current)
{
    char text[32];
    mt_snapshot_option(snapshot, "MEMTRACK_BUDGET", text, sizeof text);
    uint64_t budget = mt_budget_of_text(text);
    mt_json_set_known(part, "budget_bytes", budget);
    mt_json_set_text(part, "budget_state",
                     mt_budget_state_name[mt_budget_state(current, budget, mt_budget_warning_percent(snapshot))]);
}

static json_t *cpu_json(const struct mt_snapshot *snapshot, const struct mt_report_context *context)
{
    const struct mt_globals *globals = &snapshot->segment->globals;
    int64_t current = (int64_t)globals->inherited_bytes + snapshot->cpu.live_bytes;
    bool known = context->memory && context->memory->known;
    json_t *part = json_object();
    set_counts(part, snapshot, &context->seen_peak, current);
    mt_json_set(part, "rss_bytes", known ? mt_json_u64(context->memory->rss_bytes) : NULL);
    mt_json_set_u64(part, "mapped_bytes", MT_GET(globals->mapped_bytes));
    mt_json_set_u64(part, "overhead_bytes", memtrack_bytes(snapshot));
    mt_json_set_u64(part, "thread_count", MT_GET(globals->thread_count));
    mt_json_set_u64(part, "thread_count_live", MT_GET(globals->live_shards));
    mt_json_set(part, "memory", memory_json(snapshot, context));
    mt_json_set(part, "mappings", mappings_json(globals));
    mt_json_set(part, "size_classes", size_classes_json(snapshot));
    set_budget(part, snapshot, current);
    mt_json_set(part, "tags", mt_tags_json(snapshot));
    mt_json_set(part, "threads",
                threads_json(snapshot, context->end.state == MT_EXIT_RUNNING && !context->in_container));
    mt_stacks_json_set(part, snapshot, context->end.state != MT_EXIT_RUNNING);
    mt_json_set(part, "leak_suspects", mt_suspects_json(context->suspects));
    mt_json_set(part, "pools", mt_pools_json(snapshot));
    return part;
}

/* ---- the rest ---------------------------------------------------------------- */

static int by_sequence(const void *a, const void *b)
{
    uint64_t left = MT_GET((*(const struct mt_event *const *)a)->sequence);
    uint64_t right = MT_GET((*(const struct mt_event *const *)b)->sequence);
    return left < right ? -1 : left > right;
}

static json_t *events_json(const struct mt_snapshot *snapshot, json_t *told)
{
    const struct mt_event *sorted[MT_EVENT_MAX];
    size_t count = 0;
    for (unsigned i = 0; i < MT_EVENT_MAX; i++)
        if (MT_GET(snapshot->segment->events[i].sequence)) sorted[count++] = &snapshot->segment->events[i];
    qsort(sorted, count, sizeof *sorted, by_sequence);
    json_t *rows = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *row = json_object();
        mt_json_set(row, "t_s", mt_report_time_json(snapshot, sorted[i]->time_ns));
        mt_json_set_text(row, "kind", sorted[i]->kind);
        mt_json_set_text(row, "text", sorted[i]->text);
        json_array_append_new(rows, row);
    }
    if (told) json_array_extend(rows, told);
    return rows;
}

static json_t *dropped_json(const struct mt_snapshot *snapshot, const struct mt_timeline *timeline)
{
    static const char *const names[MT_DROPPED_COUNT] = {
        [MT_DROPPED_OBJECTS] = "objects",   [MT_DROPPED_EVENTS] = "events",
        [MT_DROPPED_MAPPINGS] = "mappings", [MT_DROPPED_THREAD_NAMES] = "thread_names",
        [MT_DROPPED_SHARDS] = "shards",     [MT_DROPPED_HEAPS] = "heaps",
        [MT_DROPPED_NAMES] = "names",       [MT_DROPPED_FRAMES] = "frames",
        [MT_DROPPED_MEMORY] = "memory",     [MT_DROPPED_ORIGINS] = "origins",
        [MT_DROPPED_TAGS] = "tags",
    };
    json_t *part = json_object();
    for (unsigned i = 0; i < MT_DROPPED_COUNT; i++)
        mt_json_set_u64(part, names[i], MT_GET(snapshot->segment->dropped[i]));
    mt_json_set_u64(part, "unreadable_objects", snapshot->unreadable_objects);
    mt_json_set_u64(part, "timeline_points", timeline ? timeline->thinned_count : 0);
    return part;
}

static json_t *config_json(const struct mt_process *process)
{
    json_t *part = json_object();
    for (const char *line = process->options; *line;) {
        const char *end = strchrnul(line, '\n'), *equals = memchr(line, '=', (size_t)(end - line));
        char name[80];
        if (equals && (size_t)(equals - line) < sizeof name) {
            memcpy(name, line, (size_t)(equals - line));
            name[equals - line] = 0;
            json_object_set_new(part, name, mt_json_text_n(equals + 1, (size_t)(end - equals - 1)));
        }
        line = *end ? end + 1 : end;
    }
    return part;
}

static json_t *report_part_json(const struct mt_snapshot *snapshot, const struct mt_report_context *context)
{
    json_t *part = json_object();
    mt_json_set_text(part, "writer", "memtrack " MT_VERSION);
    mt_json_set_name(part, "segment_writer", snapshot->segment->build);
    mt_json_set_text(part, "reason", context->reason);
    mt_json_set_u64(part, "sequence", context->sequence);
    mt_json_set(part, "time", date_json(snapshot->taken_realtime_ns));
    mt_json_set_text(part, "segment", context->segment_path);
    return part;
}

json_t *mt_report_json(const struct mt_snapshot *snapshot, const struct mt_report_context *context)
{
    struct mt_timeline_point now = mt_timeline_point_of(snapshot, context->memory);
    struct mt_timeline single = {.points = &now, .count = 1};
    const struct mt_timeline *timeline = context->timeline && context->timeline->count ? context->timeline
                                                                                       : &single;
    json_t *report = json_object();
    if (!report) return NULL;
    mt_json_set_text(report, "schema", MT_REPORT_SCHEMA);
    mt_json_set_i64(report, "schema_version", MT_REPORT_SCHEMA_VERSION);
    mt_json_set(report, "report", report_part_json(snapshot, context));
    mt_json_set(report, "process", process_json(snapshot, context));
    mt_json_set(report, "cpu", cpu_json(snapshot, context));
    json_t *vulkan = mt_report_vulkan_json(snapshot);
    mt_json_set(vulkan, "stacks", mt_stacks_json_of_objects(snapshot));
    mt_json_set(report, "vulkan", vulkan);
    if (context->rates)
        mt_rates_note(context->rates, mt_json_get(report, "cpu"), (int64_t)MT_GET(snapshot->segment->frames.count));
    mt_json_set(report, "frames", mt_frames_json(snapshot, context->rates));
    mt_json_set(report, "timeline", mt_timeline_json(timeline));
    mt_json_set(report, "trend", mt_trend_json(timeline));
    mt_json_set(report, "events", events_json(snapshot, context->events));
    mt_json_set(report, "dropped", dropped_json(snapshot, context->timeline));
    mt_json_set(report, "config", config_json(&snapshot->segment->process));
    return report;
}
