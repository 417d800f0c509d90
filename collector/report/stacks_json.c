/*
 * Builds what a report says about call stacks, modules and lifetimes. The list
 * of stacks holds the most important ones by each measure; what it leaves out
 * is summed up in stack_summary.
 */
#include "stacks_json.h"

#include "frames_json.h"
#include "json_build.h"
#include "stacks.h"
#include "symbols.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct mt_symbols *symbols; /* kept for the next report of this collector */

static struct mt_symbols *symbols_for(const struct mt_snapshot *snapshot)
{
    char value[16];
    if (symbols) return symbols;
    mt_snapshot_option(snapshot, "MEMTRACK_DEBUGINFOD", value, sizeof value);
    symbols = mt_symbols_new(!strcmp(value, "on"));
    return symbols;
}

struct mt_symbol_list mt_stacks_json_symbols(const struct mt_snapshot *snapshot, const struct mt_module *module,
                                             uint64_t return_address)
{
    return mt_symbols_of_return(symbols_for(snapshot), module, return_address);
}

/* ---- frames ------------------------------------------------------------------------- */

static json_t *frame_json(const struct mt_symbol *symbol, const struct mt_module *module, uint64_t address)
{
    json_t *frame = json_object();
    mt_json_set(frame, "function", symbol->function ? mt_json_text(symbol->function) : NULL);
    mt_json_set(frame, "module", module ? mt_json_text(module->path) : NULL);
    mt_json_set(frame, "file", symbol->file ? mt_json_text(symbol->file) : NULL);
    mt_json_set(frame, "line", symbol->line ? json_integer(symbol->line) : NULL);
    mt_json_set(frame, "address", mt_json_handle(address));
    mt_json_set(frame, "offset", module ? mt_json_handle(address - module->base) : NULL);
    mt_json_set_bool(frame, "inlined", symbol->is_inlined);
    return frame;
}

static json_t *frames_of(const struct mt_snapshot *snapshot, const struct mt_stack_copy *stack)
{
    json_t *frames = json_array();
    for (unsigned i = stack->record.depth; i-- > 0;) {
        uint64_t address = stack->frames[i];
        const struct mt_module *module = mt_stacks_module(&snapshot->stacks, address, stack->record.generation);
        struct mt_symbol_list list = mt_symbols_of_return(symbols_for(snapshot), module, address);
        for (size_t k = 0; k < list.count; k++)
            json_array_append_new(frames, frame_json(&list.symbols[k], module, address));
    }
    return frames;
}

json_t *mt_stacks_json_frames(const struct mt_snapshot *snapshot, uint32_t id)
{
    const struct mt_stack_copy *stack = id ? mt_stacks_find(&snapshot->stacks, id) : NULL;
    return stack ? frames_of(snapshot, stack) : json_array();
}

bool mt_stacks_json_look_ahead(const struct mt_snapshot *snapshot, uint64_t until_ns)
{
    const struct mt_stacks *stacks = &snapshot->stacks;
    for (size_t i = 0; i < stacks->count; i++) {
        const struct mt_stack_copy *stack = &stacks->stacks[i];
        for (unsigned k = 0; k < stack->record.depth; k++) {
            const struct mt_module *module = mt_stacks_module(stacks, stack->frames[k], stack->record.generation);
            mt_stacks_json_symbols(snapshot, module, stack->frames[k]);
        }
        if (mt_now_ns() > until_ns) return false;
    }
    return true;
}

json_t *mt_stacks_json_of_objects(const struct mt_snapshot *snapshot)
{
    json_t *list = json_array(), *seen = json_object();
    for (size_t i = 0; i < snapshot->object_count; i++) {
        char key[16];
        uint32_t id = snapshot->objects[i].record.stack;
        const struct mt_stack_copy *stack = id ? mt_stacks_find(&snapshot->stacks, id) : NULL;
        snprintf(key, sizeof key, "%" PRIu32, id);
        if (!stack || json_object_get(seen, key)) continue;
        json_t *row = json_object();
        mt_json_set_u64(row, "id", id);
        mt_json_set(row, "frames", frames_of(snapshot, stack));
        json_array_append_new(list, row);
        json_object_set_new(seen, key, json_true());
    }
    json_decref(seen);
    return list;
}

/* ---- stacks --------------------------------------------------------------------------- */

struct row {
    const struct mt_stack_copy *stack;
    int64_t live_bytes, peak_bytes;
    int64_t lost_bytes; /* where it was looked for what the program can reach */
    bool is_listed;
};

struct rows {
    struct row *row;
    size_t count;
};

static int64_t scaled(uint64_t count)
{
    return llround((double)count / MT_SCALE);
}

static int64_t scaled_signed(int64_t count)
{
    return llround((double)count / MT_SCALE);
}

static int by_live(const void *a, const void *b)
{
    int64_t left = ((const struct row *)a)->live_bytes, right = ((const struct row *)b)->live_bytes;
    return left < right ? 1 : left > right ? -1 : 0;
}

static int by_peak(const void *a, const void *b)
{
    int64_t left = ((const struct row *)a)->peak_bytes, right = ((const struct row *)b)->peak_bytes;
    return left < right ? 1 : left > right ? -1 : 0;
}

static int by_total(const void *a, const void *b)
{
    uint64_t left = ((const struct row *)a)->stack->record.total_bytes;
    uint64_t right = ((const struct row *)b)->stack->record.total_bytes;
    return left < right ? 1 : left > right ? -1 : 0;
}

static int by_count(const void *a, const void *b)
{
    uint64_t left = ((const struct row *)a)->stack->record.total_count;
    uint64_t right = ((const struct row *)b)->stack->record.total_count;
    return left < right ? 1 : left > right ? -1 : 0;
}

static int by_temporary(const void *a, const void *b)
{
    uint64_t left = ((const struct row *)a)->stack->record.temporary_count;
    uint64_t right = ((const struct row *)b)->stack->record.temporary_count;
    return left < right ? 1 : left > right ? -1 : 0;
}

static const struct mt_leak *leak_of(const struct mt_stacks *stacks, uint32_t id)
{
    return stacks->leaks && id < stacks->leak_count ? &stacks->leaks[id] : NULL;
}

static int64_t lost_bytes(const struct mt_leak *leak)
{
    return leak ? (int64_t)(leak->direct_bytes + leak->indirect_bytes) : 0;
}

static int by_lost(const void *a, const void *b)
{
    int64_t left = ((const struct row *)a)->lost_bytes, right = ((const struct row *)b)->lost_bytes;
    return left < right ? 1 : left > right ? -1 : 0;
}

static struct rows make_rows(const struct mt_snapshot *snapshot)
{
    const struct mt_stacks *stacks = &snapshot->stacks;
    struct rows rows = {calloc(stacks->count + 1, sizeof *rows.row), 0};
    uint32_t ids[MT_FRAMES_STACK_IDS];
    size_t id_count = mt_frames_stack_ids(snapshot, ids);
    for (size_t i = 0; rows.row && i < stacks->count; i++) {
        const struct mt_stack *record = &stacks->stacks[i].record;
        if (!record->total_count) continue; /* of an object, not of a block */
        rows.row[rows.count++] = (struct row){
            .stack = &stacks->stacks[i],
            .live_bytes = mt_stack_live_bytes(record),
            .lost_bytes = lost_bytes(leak_of(stacks, stacks->stacks[i].id)),
            .peak_bytes = mt_stack_peak_bytes(stacks, record, snapshot->cpu.peak_bytes),
            .is_listed = bsearch(&stacks->stacks[i].id, ids, id_count, sizeof *ids, mt_compare_u32) != NULL,
        };
    }
    return rows;
}

/* Marks the first `limit` of each order, beside those that frames name; the last order is by live bytes, in which
 * the list is written. */
static void choose(struct rows *rows, size_t limit)
{
    int (*const orders[])(const void *, const void *) = {by_temporary, by_count, by_total,
                                                         by_peak,      by_lost,  by_live};
    for (unsigned k = 0; k < sizeof orders / sizeof *orders; k++) {
        if (rows->count) qsort(rows->row, rows->count, sizeof *rows->row, orders[k]);
        for (size_t i = 0; i < rows->count && i < limit; i++) rows->row[i].is_listed = true;
    }
}

static json_t *row_json(const struct mt_snapshot *snapshot, const struct row *row)
{
    const struct mt_stack *stack = &row->stack->record;
    int64_t freed = (int64_t)stack->total_count - stack->at_peak_count - stack->since_count;
    json_t *part = json_object();
    mt_json_set_u64(part, "id", row->stack->id);
    mt_json_set_i64(part, "live_bytes", row->live_bytes);
    mt_json_set_i64(part, "live_count", llround(mt_stack_live_count(stack)));
    mt_json_set_i64(part, "live_error_bytes", mt_stack_error_bytes(stack));
    mt_json_set_u64(part, "total_bytes", stack->total_bytes);
    mt_json_set_i64(part, "total_count", scaled(stack->total_count));
    mt_json_set_i64(part, "peak_bytes", row->peak_bytes);
    mt_json_set_i64(part, "peak_count",
                    scaled_signed(mt_stack_peak_count(&snapshot->stacks, stack, snapshot->cpu.peak_bytes)));
    mt_json_set_i64(part, "max_bytes", stack->max_bytes);
    mt_json_set_i64(part, "max_count", scaled_signed(stack->max_count));
    mt_json_set(part, "max_error_bytes",
                snapshot->stacks.mode == MT_STACKS_ALL ? json_integer((json_int_t)row->stack->max_error_bytes)
                                                       : NULL);
    mt_json_set_i64(part, "temporary_count", scaled(stack->temporary_count));
    mt_json_set_i64(part, "same_frame_count", scaled(stack->same_frame_count));
    mt_json_set_i64(part, "lifetime_ms", scaled(stack->lifetime_ms));
    mt_json_set(part, "mean_lifetime_ms",
                freed > 0 ? json_integer(llround((double)stack->lifetime_ms / (double)freed)) : NULL);
    mt_json_set_u64(part, "sample_count", stack->sample_count);
    mt_json_set(part, "first_s", mt_report_time_json(snapshot, stack->first_ns));
    mt_json_set(part, "last_s", mt_report_time_json(snapshot, stack->last_ns));
    mt_json_set_bool(part, "is_cut", stack->is_cut);
    mt_json_set(part, "frames", frames_of(snapshot, row->stack));
    return part;
}

static json_t *list_json(const struct mt_snapshot *snapshot, const struct rows *rows)
{
    json_t *list = json_array();
    for (size_t i = 0; i < rows->count; i++)
        if (rows->row[i].is_listed) json_array_append_new(list, row_json(snapshot, &rows->row[i]));
    return list;
}

/* ---- leaks ------------------------------------------------------------------------------- */

static json_t *leak_json(const struct row *row, const struct mt_leak *leak)
{
    const struct mt_stack *record = &row->stack->record;
    json_t *part = json_object();
    mt_json_set_u64(part, "stack", row->stack->id);
    mt_json_set_i64(part, "live_bytes",
                    leak ? (int64_t)(leak->direct_bytes + leak->indirect_bytes) : row->live_bytes);
    mt_json_set_i64(part, "live_count",
                    leak ? (int64_t)(leak->direct_count + leak->indirect_count)
                         : llround(mt_stack_live_count(record)));
    mt_json_set_i64(part, "live_error_bytes", leak ? 0 : mt_stack_error_bytes(record));
    mt_json_set(part, "indirect_bytes", leak ? json_integer((json_int_t)leak->indirect_bytes) : NULL);
    mt_json_set(part, "indirect_count", leak ? json_integer((json_int_t)leak->indirect_count) : NULL);
    return part;
}

/*
 * What is alive when the process has ended, largest first; where the program's
 * memory was looked through, without what it could still reach.
 */
static json_t *leaks_json(const struct mt_stacks *stacks, struct rows *rows)
{
    json_t *list = json_array();
    if (stacks->leaks && rows->count) qsort(rows->row, rows->count, sizeof *rows->row, by_lost);
    for (size_t i = 0; i < rows->count; i++) {
        const struct row *row = &rows->row[i];
        const struct mt_leak *leak = leak_of(stacks, row->stack->id);
        bool is_leak = leak ? leak->direct_count + leak->indirect_count > 0 : row->live_bytes > 0;
        if (is_leak && row->is_listed) json_array_append_new(list, leak_json(row, leak));
    }
    return list;
}

/* How the list of leaks was made. */
static json_t *leak_scan_json(const struct mt_snapshot *snapshot)
{
    const struct mt_stacks *stacks = &snapshot->stacks;
    bool is_done = stacks->leaks_state == MT_LEAKS_DONE;
    uint64_t bytes = 0, count = 0;
    for (uint32_t i = 0; is_done && i < stacks->leak_count; i++) {
        bytes += stacks->leaks[i].direct_bytes + stacks->leaks[i].indirect_bytes;
        count += stacks->leaks[i].direct_count + stacks->leaks[i].indirect_count;
    }
    json_t *part = json_object();
    mt_json_set(part, "mode", json_string(is_done ? "reachable" : "all"));
    mt_json_set_bool(part, "failed", stacks->leaks_state == MT_LEAKS_FAILED);
    mt_json_set(part, "lost_bytes", is_done ? json_integer((json_int_t)bytes) : NULL);
    mt_json_set(part, "lost_count", is_done ? json_integer((json_int_t)count) : NULL);
    mt_json_set(part, "reachable_bytes",
                is_done ? json_integer((json_int_t)stacks->leaks_reachable.direct_bytes) : NULL);
    mt_json_set(part, "reachable_count",
                is_done ? json_integer((json_int_t)stacks->leaks_reachable.direct_count) : NULL);
    return part;
}

/* ---- the sum ------------------------------------------------------------------------------ */

static json_t *lost_json(const struct mt_stacks *stacks)
{
    static const char *const names[MT_LOST_COUNT] = {
        [MT_LOST_STACKS] = "stacks", [MT_LOST_THREADS] = "threads", [MT_LOST_NESTED] = "nested",
        [MT_LOST_BLOCKS] = "blocks", [MT_LOST_MODULES] = "modules",
    };
    json_t *part = json_object();
    for (unsigned i = 0; i < MT_LOST_COUNT; i++) mt_json_set_u64(part, names[i], stacks->lost[i]);
    return part;
}

struct sums {
    uint64_t count, samples, total_bytes, total_count, temporary, same_frame;
    int64_t live_bytes, live_count, peak_bytes, variance;
};

static struct sums sum_of(const struct rows *rows, bool not_listed_only)
{
    struct sums sums = {0};
    for (size_t i = 0; i < rows->count; i++) {
        const struct mt_stack *stack = &rows->row[i].stack->record;
        if (not_listed_only && rows->row[i].is_listed) continue;
        sums.count++;
        sums.samples += stack->sample_count;
        sums.total_bytes += stack->total_bytes;
        sums.total_count += stack->total_count;
        sums.temporary += stack->temporary_count;
        sums.same_frame += stack->same_frame_count;
        sums.live_bytes += rows->row[i].live_bytes;
        sums.live_count += stack->at_peak_count + stack->since_count;
        sums.peak_bytes += rows->row[i].peak_bytes;
        sums.variance += stack->live_variance;
    }
    return sums;
}

static void set_sums(json_t *part, const struct sums *sums)
{
    mt_json_set_u64(part, "stack_count", sums->count);
    mt_json_set_i64(part, "live_bytes", sums->live_bytes);
    mt_json_set_i64(part, "live_count", llround((double)sums->live_count / MT_SCALE));
    mt_json_set_i64(part, "live_error_bytes",
                    sums->variance > 0 ? (int64_t)(1.96 * 1024 * sqrt((double)sums->variance)) : 0);
    mt_json_set_i64(part, "peak_bytes", sums->peak_bytes);
    mt_json_set_u64(part, "total_bytes", sums->total_bytes);
    mt_json_set_i64(part, "total_count", scaled(sums->total_count));
    mt_json_set_i64(part, "temporary_count", scaled(sums->temporary));
    mt_json_set_i64(part, "same_frame_count", scaled(sums->same_frame));
    mt_json_set_u64(part, "sample_count", sums->samples);
}

static json_t *summary_json(const struct mt_stacks *stacks, const struct rows *rows)
{
    static const char *const modes[] = {"off", "sampled", "all"};
    struct sums all = sum_of(rows, false), rest = sum_of(rows, true);
    json_t *part = json_object(), *not_listed = json_object();
    mt_json_set_text(part, "mode", modes[stacks->mode <= MT_STACKS_ALL ? stacks->mode : MT_STACKS_OFF]);
    bool is_sampled = stacks->mode == MT_STACKS_SAMPLED;
    mt_json_set(part, "rate_bytes", is_sampled ? mt_json_u64(stacks->rate_bytes) : NULL);
    mt_json_set(part, "coarsest_rate_bytes", is_sampled ? mt_json_u64(stacks->coarsest_rate_bytes) : NULL);
    set_sums(part, &all);
    set_sums(not_listed, &rest);
    mt_json_set(part, "not_listed", not_listed);
    mt_json_set(part, "lost", lost_json(stacks));
    return part;
}

/* ---- modules --------------------------------------------------------------------------------- */

struct module_sum {
    int64_t live_bytes, live_count, inherited_count, at_peak_bytes;
    int64_t largest_stack, all_stacks; /* own peaks of its stacks: the highest, and the sum */
    uint64_t total_bytes, total_count;
};

/* What the origins know of modules; the rest comes from stacks. */
enum known { KNOWS_NOTHING, KNOWS_TOTALS, KNOWS_ALL };

static enum known known_of(const struct mt_snapshot *snapshot)
{
    if (!snapshot->origins.count || snapshot->stacks.mode == MT_STACKS_ALL) return KNOWS_NOTHING;
    return snapshot->origins.knows_live ? KNOWS_ALL : KNOWS_TOTALS;
}

/* A stack counts for the module that called the allocation function. */
static void add_to_modules(const struct mt_stacks *stacks, const struct rows *rows, enum known known,
                           struct module_sum *sums)
{
    for (size_t i = 0; i < rows->count; i++) {
        const struct mt_stack_copy *stack = rows->row[i].stack;
        const struct mt_module *module = mt_stacks_module(stacks, stack->frames[stack->record.depth - 1],
                                                          stack->record.generation);
        struct module_sum *sum = &sums[module ? (size_t)(module - stacks->modules) : stacks->module_count];
        sum->at_peak_bytes += rows->row[i].peak_bytes;
        sum->all_stacks += stack->record.max_bytes + stack->max_error_bytes;
        if (stack->record.max_bytes > sum->largest_stack) sum->largest_stack = stack->record.max_bytes;
        if (known == KNOWS_ALL) continue;
        sum->live_bytes += rows->row[i].live_bytes;
        sum->live_count += stack->record.at_peak_count + stack->record.since_count;
        if (known == KNOWS_TOTALS) continue;
        sum->total_bytes += stack->record.total_bytes;
        sum->total_count += stack->record.total_count;
    }
}

/* What was counted by origin, exactly. */
static void add_origins_to_modules(const struct mt_snapshot *snapshot, struct module_sum *sums)
{
    const struct mt_origins_copy *origins = &snapshot->origins;
    size_t modules = snapshot->stacks.module_count;
    for (size_t i = 0; i < origins->count; i++) {
        const struct mt_origin *row = &origins->rows[i];
        const struct mt_origin_sum *counted = &origins->sums[i];
        struct module_sum *sum = &sums[row->module && row->module <= modules ? row->module - 1 : modules];
        int64_t live = (int64_t)(counted->allocation_count - counted->free_count) + row->inherited_count;
        sum->total_bytes += counted->requested_bytes;
        sum->total_count += counted->allocation_count * MT_SCALE;
        if (!origins->knows_live) continue;
        sum->live_bytes += counted->live_bytes + row->inherited_bytes;
        sum->live_count += live * MT_SCALE;
        sum->inherited_count += row->inherited_count * MT_SCALE;
    }
}

static json_t *build_id_json(const struct mt_module *module)
{
    char text[2 * sizeof module->build_id + 1] = "";
    for (uint32_t i = 0; i < module->build_id_bytes; i++) snprintf(text + 2 * i, 3, "%02x", module->build_id[i]);
    return *text ? json_string(text) : NULL;
}

/* Null where neither origins nor stacks tell. */
static void set_live(json_t *part, const struct module_sum *sum, enum known known, uint32_t mode)
{
    bool has_live = known == KNOWS_ALL || mode != MT_STACKS_OFF;
    int64_t count = llround((double)sum->live_count / MT_SCALE);
    int64_t inherited = llround((double)sum->inherited_count / MT_SCALE);
    mt_json_set(part, "live_bytes", has_live ? json_integer(sum->live_bytes) : NULL);
    mt_json_set(part, "live_count", has_live ? json_integer(count) : NULL);
    mt_json_set(part, "free_count", has_live ? json_integer(scaled(sum->total_count) + inherited - count) : NULL);
    mt_json_set(part, "at_peak_bytes", mode != MT_STACKS_OFF ? json_integer(sum->at_peak_bytes) : NULL);
    mt_json_set_bool(part, "is_exact", known == KNOWS_ALL || mode == MT_STACKS_ALL);
    mt_json_set_bool(part, "is_total_exact", known != KNOWS_NOTHING || mode == MT_STACKS_ALL);
}

/* Whether the rows of a module's origins are all in this one: a file that was loaded again has another row, which
 * only stacks tell apart. index: module_count for code of no module. */
static bool is_of_one_row(const struct mt_stacks *stacks, size_t index, enum known known)
{
    if (known == KNOWS_ALL || index == stacks->module_count) return true;
    for (size_t i = 0; i < stacks->module_count; i++)
        if (i != index && stacks->modules[i].first == stacks->modules[index].first) return false;
    return true;
}

/* From stacks alone: between what it surely reached and what it cannot have passed; from sampled ones nobody knows
 * how far off that is. */
static struct mt_own_peak peak_from_stacks(const struct mt_snapshot *snapshot, const struct module_sum *sum)
{
    struct mt_own_peak process = mt_snapshot_peak(snapshot),
                       peak = {.bytes = sum->at_peak_bytes, .error_bytes = -1};
    int64_t limit = process.bytes + process.error_bytes;
    if (sum->live_bytes > peak.bytes) peak.bytes = sum->live_bytes;
    if (sum->largest_stack > peak.bytes) peak.bytes = sum->largest_stack;
    if (snapshot->stacks.mode != MT_STACKS_ALL) return peak;
    if (sum->all_stacks < limit) limit = sum->all_stacks;
    peak.error_bytes = limit > peak.bytes ? limit - peak.bytes : 0;
    return peak;
}

static void set_module_peak(json_t *part, const struct mt_snapshot *snapshot, const struct module_sum *sum,
                            enum known known, size_t index)
{
    const struct mt_stacks *stacks = &snapshot->stacks;
    struct mt_own_peak peak = peak_from_stacks(snapshot, sum);
    bool is_known = stacks->mode != MT_STACKS_OFF, knows_all = stacks->mode == MT_STACKS_ALL;
    uint32_t group = index == stacks->module_count ? 0 : stacks->modules[index].first;
    if (snapshot->own_peaks && group < MT_GROUP_MAX && (!group || group == index + 1) &&
        is_of_one_row(stacks, index, known)) {
        /* Where a fork's child had no memory for origins, every stack knows more. */
        const struct mt_own_peak *of_group = &snapshot->own_peaks->of[MT_GROUP_MODULE][group];
        if (!knows_all || of_group->bytes >= peak.bytes) peak = *of_group;
        is_known = true;
    }
    mt_report_set_own_peak(part, snapshot, is_known ? &peak : NULL);
}

static json_t *module_json(const struct mt_module *module, const struct module_sum *sum, enum known known,
                           uint32_t mode)
{
    json_t *part = json_object();
    mt_json_set(part, "path", module ? mt_json_text(module->path) : NULL);
    mt_json_set(part, "build_id", module ? build_id_json(module) : NULL);
    mt_json_set(part, "base", module ? mt_json_handle(module->base) : NULL);
    mt_json_set(part, "start", module ? mt_json_handle(module->start) : NULL);
    mt_json_set(part, "end", module ? mt_json_handle(module->end) : NULL);
    mt_json_set(part, "generation", module ? json_integer(module->first_generation) : NULL);
    mt_json_set_bool(part, "is_replaced", module && MT_GET(module->end_generation));
    mt_json_set_u64(part, "total_bytes", sum->total_bytes);
    mt_json_set_i64(part, "total_count", scaled(sum->total_count));
    mt_json_set_i64(part, "allocation_count", scaled(sum->total_count));
    set_live(part, sum, known, mode);
    return part;
}

static void append_module(json_t *list, const struct mt_snapshot *snapshot, const struct module_sum *sum,
                          enum known known, size_t index)
{
    const struct mt_stacks *stacks = &snapshot->stacks;
    const struct mt_module *module = index < stacks->module_count ? &stacks->modules[index] : NULL;
    json_t *part = module_json(module, sum, known, stacks->mode);
    set_module_peak(part, snapshot, sum, known, index);
    json_array_append_new(list, part);
}

static json_t *modules_json(const struct mt_snapshot *snapshot, const struct rows *rows)
{
    const struct mt_stacks *stacks = &snapshot->stacks;
    enum known known = known_of(snapshot);
    json_t *list = json_array();
    struct module_sum *sums = calloc(stacks->module_count + 1, sizeof *sums);
    if (!sums) return list;
    add_to_modules(stacks, rows, known, sums);
    if (known != KNOWS_NOTHING) add_origins_to_modules(snapshot, sums);
    for (size_t i = 0; i < stacks->module_count; i++) append_module(list, snapshot, &sums[i], known, i);
    if (sums[stacks->module_count].total_count || sums[stacks->module_count].live_count)
        append_module(list, snapshot, &sums[stacks->module_count], known, stacks->module_count);
    free(sums);
    return list;
}

/* ---- lifetimes ----------------------------------------------------------------------------------- */

static json_t *bucket_json(uint64_t low, uint64_t high, bool is_last, uint64_t count)
{
    json_t *part = json_object();
    mt_json_set_u64(part, "from", low);
    mt_json_set(part, "below", is_last ? NULL : mt_json_u64(high));
    mt_json_set_i64(part, "count", scaled(count));
    return part;
}

static json_t *times_json(const struct mt_stacks *stacks)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < MT_LIFETIME_BUCKETS; i++) {
        uint64_t tick = UINT64_C(1) << 22, low = i ? (UINT64_C(1) << (i - 1)) * tick : 0, high = (tick << i);
        if (stacks->lifetime_time[i])
            json_array_append_new(list,
                                  bucket_json(low, high, i == MT_LIFETIME_BUCKETS - 1, stacks->lifetime_time[i]));
    }
    return list;
}

/* The last bucket is MT_FRAME_RING frames and more. */
static json_t *frames_lived_json(const struct mt_stacks *stacks)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < MT_LIFETIME_BUCKETS; i++) {
        uint64_t low = i ? UINT64_C(1) << (i - 1) : 0;
        if (stacks->lifetime_frames[i])
            json_array_append_new(
                list, bucket_json(low, low ? 2 * low : 1, low >= MT_FRAME_RING, stacks->lifetime_frames[i]));
    }
    return list;
}

static json_t *lifetimes_json(const struct mt_snapshot *snapshot, const struct rows *rows)
{
    struct sums all = sum_of(rows, false);
    bool has_frames = MT_GET(snapshot->segment->frames.count) != 0;
    json_t *part = json_object();
    mt_json_set(part, "time_ns", times_json(&snapshot->stacks));
    mt_json_set(part, "frames", has_frames ? frames_lived_json(&snapshot->stacks) : json_array());
    mt_json_set_i64(part, "temporary_count", scaled(all.temporary));
    mt_json_set_i64(part, "same_frame_count", scaled(all.same_frame));
    return part;
}

void mt_stacks_json_set(json_t *cpu, const struct mt_snapshot *snapshot, bool has_ended)
{
    char value[32];
    struct rows rows = make_rows(snapshot);
    mt_snapshot_option(snapshot, "MEMTRACK_REPORT_STACKS", value, sizeof value);
    long limit = strtol(value, NULL, 10);
    choose(&rows, limit > 0 ? (size_t)limit : 500);
    mt_json_set(cpu, "modules", modules_json(snapshot, &rows));
    mt_json_set(cpu, "stack_summary", summary_json(&snapshot->stacks, &rows));
    mt_json_set(cpu, "stacks", list_json(snapshot, &rows));
    mt_json_set(cpu, "lifetimes", lifetimes_json(snapshot, &rows));
    mt_json_set(cpu, "leaks", has_ended ? leaks_json(&snapshot->stacks, &rows) : json_array());
    mt_json_set(cpu, "leak_scan", leak_scan_json(snapshot));
    free(rows.row);
}
