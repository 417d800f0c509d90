/*
 * Gives stacks and Vulkan objects their tags and sums them up. Reads a
 * snapshot; function names are looked up only where a rule asks for them.
 */
#include "tags.h"

#include "json_build.h"
#include "stacks_json.h"
#include "tag_rules.h"
#include "tag_sources.h"
#include "tag_table.h"
#include "vulkan_records.h"
#include "vulkan_view.h"

#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char untagged[] = "(unknown)";

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* ---- what the rules ask of a stack ------------------------------------------------ */

struct sorter {
    const struct mt_tag_rules *rules;
    const struct mt_snapshot *snapshot;
    const char **module_tags; /* default tag of each module */
    const char **stack_tags;  /* where there are origins: of each stack */
};

/* The tag that the program said through memtrack.h, by number; NULL where it said none. It goes before all others.
 */
static const char *said_tag(const struct sorter *sorter, uint32_t number)
{
    const char(*names)[MT_SCOPE_BYTES] = (const char(*)[MT_SCOPE_BYTES])sorter->snapshot->origins.scopes;
    return names && number && number < MT_SCOPE_MAX && *names[number] ? names[number] : NULL;
}

static const struct mt_module *module_at(const struct sorter *sorter, const struct mt_stack_copy *stack,
                                         unsigned index)
{
    return mt_stacks_module(&sorter->snapshot->stacks, stack->frames[index], stack->record.generation);
}

static const char *tag_of_module(const struct sorter *sorter, const struct mt_module *module)
{
    return module ? sorter->module_tags[module - sorter->snapshot->stacks.modules] : "";
}

/* The innermost module that is not the same in every program; NULL when there is none. */
static const struct mt_module *calling_module(const struct sorter *sorter, const struct mt_stack_copy *stack)
{
    for (unsigned i = stack->record.depth; i-- > 0;) {
        const struct mt_module *module = module_at(sorter, stack, i);
        if (*tag_of_module(sorter, module)) return module;
    }
    return NULL;
}

static bool fits_module(const char *pattern, const struct mt_module *module)
{
    if (!module) return false;
    return !fnmatch(pattern, strchr(pattern, '/') ? module->path : base_name(module->path), 0);
}

static bool fits_symbol(const struct sorter *sorter, const char *pattern, const struct mt_stack_copy *stack)
{
    for (unsigned i = stack->record.depth; i-- > 0;) {
        struct mt_symbol_list list = mt_stacks_json_symbols(sorter->snapshot, module_at(sorter, stack, i),
                                                            stack->frames[i]);
        for (size_t k = 0; k < list.count; k++)
            if (list.symbols[k].function && !fnmatch(pattern, list.symbols[k].function, 0)) return true;
    }
    return false;
}

static bool fits_thread(const struct sorter *sorter, const char *pattern, const struct mt_stack_copy *stack)
{
    uint32_t thread = stack->record.thread;
    return thread && thread <= MT_THREAD_NAMES &&
           !fnmatch(pattern, sorter->snapshot->stacks.thread_names[thread - 1].name, 0);
}

static bool fits_stack(const struct sorter *sorter, const struct mt_tag_match *match,
                       const struct mt_stack_copy *stack)
{
    char *const *pattern = match->pattern;
    if (match->is_vulkan || pattern[MT_PATTERN_SCOPE]) return false;
    if (pattern[MT_PATTERN_MODULE] && !fits_module(pattern[MT_PATTERN_MODULE], calling_module(sorter, stack)))
        return false;
    if (pattern[MT_PATTERN_THREAD] && !fits_thread(sorter, pattern[MT_PATTERN_THREAD], stack)) return false;
    return !pattern[MT_PATTERN_SYMBOL] || fits_symbol(sorter, pattern[MT_PATTERN_SYMBOL], stack);
}

/* A kind is what the object is ("image") or what it is for ("texture"). */
static bool fits_kind(const struct sorter *sorter, const char *pattern, const struct mt_object *object)
{
    bool is_resource = mt_vulkan_is_resource(object);
    return !fnmatch(pattern, mt_vulkan_type_of(object), 0) ||
           (is_resource && !fnmatch(pattern, mt_vulkan_kind_of(sorter->snapshot, object), 0));
}

static bool fits_maker(const struct sorter *sorter, const char *pattern, const struct mt_object *object)
{
    return object->thread && object->thread <= MT_THREAD_NAMES &&
           !fnmatch(pattern, sorter->snapshot->stacks.thread_names[object->thread - 1].name, 0);
}

static bool fits_object(const struct sorter *sorter, const struct mt_tag_match *match,
                        const struct mt_object *object)
{
    char *const *pattern = match->pattern;
    const struct mt_stack_copy *stack = mt_stacks_find(&sorter->snapshot->stacks, object->stack);
    if (pattern[MT_PATTERN_SCOPE]) return false; /* not known of objects */
    if (pattern[MT_PATTERN_VULKAN_NAME] && fnmatch(pattern[MT_PATTERN_VULKAN_NAME], object->name, 0)) return false;
    if (pattern[MT_PATTERN_VULKAN_KIND] && !fits_kind(sorter, pattern[MT_PATTERN_VULKAN_KIND], object))
        return false;
    if (pattern[MT_PATTERN_THREAD] && !fits_maker(sorter, pattern[MT_PATTERN_THREAD], object)) return false;
    if (pattern[MT_PATTERN_MODULE] &&
        !(stack && fits_module(pattern[MT_PATTERN_MODULE], calling_module(sorter, stack))))
        return false;
    return !pattern[MT_PATTERN_SYMBOL] || (stack && fits_symbol(sorter, pattern[MT_PATTERN_SYMBOL], stack));
}

/* ---- sums --------------------------------------------------------------------------- */

struct table {
    struct mt_tag_sum *sums;
    size_t count, room;
};

static struct mt_tag_sum *row_of(struct table *table, const char *tag)
{
    for (size_t i = 0; i < table->count; i++)
        if (!strcmp(table->sums[i].tag, tag)) return &table->sums[i];
    if (table->count == table->room) return NULL; /* not reached: there is room for all tags there are */
    table->sums[table->count] = (struct mt_tag_sum){.tag = tag};
    return &table->sums[table->count++];
}

static const char *tag_of_stack(const struct sorter *sorter, const struct mt_stack_copy *stack)
{
    const struct mt_tag_rules *rules = sorter->rules;
    const char *said = said_tag(sorter, stack->record.tag);
    if (said) return said;
    for (size_t i = 0; i < rules->count; i++)
        for (size_t k = 0; k < rules->rules[i].match_count; k++)
            if (fits_stack(sorter, &rules->rules[i].matches[k], stack)) return rules->rules[i].name;
    const struct mt_module *module = calling_module(sorter, stack);
    if (module) return tag_of_module(sorter, module);
    return module_at(sorter, stack, stack->record.depth - 1u) ? "libc" : untagged;
}

static void add_stack(const struct sorter *sorter, struct table *table, const struct mt_stack_copy *stack)
{
    const struct mt_stack *record = &stack->record;
    struct mt_tag_sum *sum = record->total_count ? row_of(table, tag_of_stack(sorter, stack)) : NULL;
    if (!sum) return;
    sum->live_bytes += mt_stack_live_bytes(record);
    sum->live_count += record->at_peak_count + record->since_count;
    sum->at_peak_bytes += mt_stack_peak_bytes(&sorter->snapshot->stacks, record, sorter->snapshot->cpu.peak_bytes);
    sum->variance += record->live_variance;
    sum->total_bytes += record->total_bytes;
    sum->total_count += record->total_count;
    if (sorter->snapshot->stacks.mode == MT_STACKS_ALL) return;
    sum->has_estimates = true;
    sum->estimated_bytes += mt_stack_live_bytes(record);
}

/* What stood at the process's peak is known through stacks alone. */
static void add_at_peak(const struct sorter *sorter, struct table *table, size_t index)
{
    const struct mt_stack *record = &sorter->snapshot->stacks.stacks[index].record;
    struct mt_tag_sum *sum = record->total_count ? row_of(table, sorter->stack_tags[index]) : NULL;
    if (sum)
        sum->at_peak_bytes += mt_stack_peak_bytes(&sorter->snapshot->stacks, record,
                                                  sorter->snapshot->cpu.peak_bytes);
}

/* ---- origins --------------------------------------------------------------------------- */

enum fit { FITS_NOT, FITS, DEPENDS }; /* DEPENDS: on the call stack */

static const struct mt_module *module_of(const struct sorter *sorter, const struct mt_origin *origin)
{
    const struct mt_stacks *stacks = &sorter->snapshot->stacks;
    return origin->module && origin->module <= stacks->module_count ? &stacks->modules[origin->module - 1] : NULL;
}

static enum fit fits_origin(const struct sorter *sorter, const struct mt_tag_match *match,
                            const struct mt_origin *origin)
{
    char *const *pattern = match->pattern;
    const struct mt_module *module = module_of(sorter, origin);
    bool is_runtime = !*tag_of_module(sorter, module); /* the module that counts stands further out */
    if (match->is_vulkan) return FITS_NOT;
    if (pattern[MT_PATTERN_THREAD] && fnmatch(pattern[MT_PATTERN_THREAD], origin->thread, 0)) return FITS_NOT;
    if (pattern[MT_PATTERN_SCOPE] &&
        (!origin->scope || fnmatch(pattern[MT_PATTERN_SCOPE], sorter->snapshot->origins.scopes[origin->scope], 0)))
        return FITS_NOT;
    if (pattern[MT_PATTERN_MODULE] && !is_runtime && !fits_module(pattern[MT_PATTERN_MODULE], module))
        return FITS_NOT;
    return pattern[MT_PATTERN_SYMBOL] || (pattern[MT_PATTERN_MODULE] && is_runtime) ? DEPENDS : FITS;
}

/* NULL where only call stacks can tell. */
static const char *tag_of_origin(const struct sorter *sorter, const struct mt_origin *origin)
{
    const struct mt_tag_rules *rules = sorter->rules;
    const char *said = said_tag(sorter, origin->tag);
    if (said) return said;
    for (size_t i = 0; i < rules->count; i++)
        for (size_t k = 0; k < rules->rules[i].match_count; k++) {
            enum fit fit = fits_origin(sorter, &rules->rules[i].matches[k], origin);
            if (fit == FITS) return rules->rules[i].name;
            if (fit == DEPENDS) return NULL;
        }
    const char *tag = tag_of_module(sorter, module_of(sorter, origin));
    return *tag ? tag : NULL;
}

/* What an origin holds, in the units of mt_tag_sum. */
struct mass {
    int64_t live_bytes, live_count, inherited_count;
    uint64_t total_bytes, total_count;
};

static struct mass mass_of(const struct mt_origins_copy *origins, size_t id)
{
    const struct mt_origin_sum *sum = &origins->sums[id];
    const struct mt_origin *row = &origins->rows[id];
    return (struct mass){.live_bytes = sum->live_bytes + row->inherited_bytes,
                         .live_count = ((int64_t)(sum->allocation_count - sum->free_count) + row->inherited_count) *
                                       MT_SCALE,
                         .inherited_count = row->inherited_count * MT_SCALE,
                         .total_bytes = sum->requested_bytes,
                         .total_count = sum->allocation_count * MT_SCALE};
}

static void add_mass(struct mt_tag_sum *sum, const struct mass *mass)
{
    sum->live_bytes += mass->live_bytes;
    sum->live_count += mass->live_count;
    sum->total_bytes += mass->total_bytes;
    sum->inherited_count += mass->inherited_count;
    sum->total_count += mass->total_count;
}

/* True when the stack's blocks belong to the origin, as far as stacks know. */
static bool is_of_origin(const struct sorter *sorter, size_t index, const struct mt_origin *origin)
{
    const struct mt_stacks *stacks = &sorter->snapshot->stacks;
    const struct mt_stack *record = &stacks->stacks[index].record;
    const struct mt_module *module = module_at(sorter, &stacks->stacks[index], record->depth - 1u);
    if (!record->total_count || module != module_of(sorter, origin) || record->tag != origin->tag) return false;
    if (!record->thread || record->thread > MT_THREAD_NAMES) return true;
    return !strcmp(stacks->thread_names[record->thread - 1].name, origin->thread);
}

/* A whole number of value * part / all, blocks in whole ones. */
static int64_t share(int64_t value, double part, double all, int64_t unit)
{
    return all > 0 ? (int64_t)((double)value * (part / all) / (double)unit) * unit : 0;
}

/* A part of what is there, by one stack's part of all sampled stacks. */
static struct mass part_of(const struct mass *mass, const struct mt_stack *record, const double all[2])
{
    double live = (double)mt_stack_live_bytes(record), total = (double)record->total_bytes;
    struct mass part = {.live_bytes = share(mass->live_bytes, live > 0 ? live : 0, all[0], 1),
                        .live_count = share(mass->live_count, live > 0 ? live : 0, all[0], MT_SCALE),
                        .inherited_count = share(mass->inherited_count, live > 0 ? live : 0, all[0], MT_SCALE),
                        .total_bytes = (uint64_t)share((int64_t)mass->total_bytes, total, all[1], 1),
                        .total_count = (uint64_t)share((int64_t)mass->total_count, total, all[1], MT_SCALE)};
    return part;
}

static void take_from(struct mass *mass, const struct mass *part)
{
    mass->live_bytes -= part->live_bytes;
    mass->live_count -= part->live_count;
    mass->total_bytes -= part->total_bytes;
    mass->inherited_count -= part->inherited_count;
    mass->total_count -= part->total_count;
}

/*
 * An origin whose tag the call stacks must tell: what it holds is exact, and
 * is divided as the sampled stacks that begin in its module are. What rounding
 * leaves goes to the last of them, so that the sum stays exact.
 */
static void divide(const struct sorter *sorter, struct table *table, const struct mt_origin *origin,
                   struct mass mass)
{
    struct mass left = mass;
    const struct mt_stacks *stacks = &sorter->snapshot->stacks;
    double all[2] = {0};
    struct mt_tag_sum *last = NULL;
    for (size_t i = 0; i < stacks->count; i++) {
        if (!is_of_origin(sorter, i, origin)) continue;
        int64_t live = mt_stack_live_bytes(&stacks->stacks[i].record);
        all[0] += live > 0 ? (double)live : 0;
        all[1] += (double)stacks->stacks[i].record.total_bytes;
    }
    for (size_t i = 0; i < stacks->count; i++) {
        if (!is_of_origin(sorter, i, origin)) continue;
        struct mt_tag_sum *sum = row_of(table, sorter->stack_tags[i]);
        struct mass part = part_of(&mass, &stacks->stacks[i].record, all);
        if (!sum) continue;
        add_mass(sum, &part);
        take_from(&left, &part);
        sum->variance += stacks->stacks[i].record.live_variance;
        sum->estimated_bytes += part.live_bytes;
        sum->has_estimates = true;
        last = sum;
    }
    if (!last) last = row_of(table, module_of(sorter, origin) ? "libc" : untagged);
    if (!last) return;
    add_mass(last, &left);
    /* Where no sample is live this is all of it, and anybody's. */
    double unseen = (double)left.live_bytes / 1024 / 1.96;
    last->variance += (int64_t)(unseen * unseen);
    last->estimated_bytes += left.live_bytes;
    last->has_estimates = true;
}

static void add_origins(const struct sorter *sorter, struct table *table)
{
    const struct mt_origins_copy *origins = &sorter->snapshot->origins;
    for (size_t id = 0; id < origins->count; id++) {
        struct mass mass = mass_of(origins, id);
        if (!mass.total_count && !mass.live_count && !mass.live_bytes && !mass.inherited_count) continue;
        const char *tag = id ? tag_of_origin(sorter, &origins->rows[id]) : untagged;
        struct mt_tag_sum *sum = tag ? row_of(table, tag) : NULL;
        if (sum)
            add_mass(sum, &mass);
        else
            divide(sorter, table, &origins->rows[id], mass);
    }
    for (size_t i = 0; i < sorter->snapshot->stacks.count; i++) add_at_peak(sorter, table, i);
}

/* ---- own peaks -------------------------------------------------------------------------- */

/* What is known of a tag's own peak. */
struct bracket {
    uint32_t group;                    /* that the process kept for it; 0 = none */
    bool is_strange;                   /* the process and the rules do not agree on its origins */
    bool has_parts;                    /* some of it is told apart by call stacks alone */
    int64_t origins_low, origins_high; /* the highest of its origins; the sum of all theirs */
    int64_t parts, parts_high;         /* of origins that it has a part of: an estimate; at most */
    size_t last_origin;
};

static struct bracket *bracket_of(struct table *table, struct bracket *brackets, const char *tag)
{
    for (size_t i = 0; tag && i < table->count; i++)
        if (!strcmp(table->sums[i].tag, tag)) return &brackets[i];
    return NULL;
}

static int64_t highest(const struct mt_own_peak *peak)
{
    return peak->bytes + (peak->error_bytes > 0 ? peak->error_bytes : 0);
}

static void add_part(struct bracket *bracket, const struct mt_own_peak *whole, double part, size_t origin)
{
    if (!bracket) return;
    if (!bracket->has_parts || bracket->last_origin != origin) bracket->parts_high += highest(whole);
    bracket->has_parts = true;
    bracket->last_origin = origin;
    bracket->parts += (int64_t)((double)whole->bytes * part);
}

/* As divide() does it, by what the stacks ever allocated. */
static void divide_peak(const struct sorter *sorter, struct table *table, struct bracket *brackets, size_t id)
{
    const struct mt_stacks *stacks = &sorter->snapshot->stacks;
    const struct mt_origin *origin = &sorter->snapshot->origins.rows[id];
    const struct mt_own_peak *whole = &sorter->snapshot->own_peaks->of[MT_GROUP_ORIGIN][id];
    double all = 0;
    for (size_t i = 0; i < stacks->count; i++)
        if (is_of_origin(sorter, i, origin)) all += (double)stacks->stacks[i].record.total_bytes;
    for (size_t i = 0; i < stacks->count && all > 0; i++)
        if (is_of_origin(sorter, i, origin))
            add_part(bracket_of(table, brackets, sorter->stack_tags[i]), whole,
                     (double)stacks->stacks[i].record.total_bytes / all, id);
    if (!(all > 0))
        add_part(bracket_of(table, brackets, module_of(sorter, origin) ? "libc" : untagged), whole, 1, id);
}

static void add_origin_peak(const struct sorter *sorter, struct table *table, struct bracket *brackets, size_t id)
{
    const struct mt_origins_copy *origins = &sorter->snapshot->origins;
    const struct mt_own_peak *peak = &sorter->snapshot->own_peaks->of[MT_GROUP_ORIGIN][id];
    uint32_t group = origins->rows[id].tag_group < MT_SCOPE_MAX ? origins->rows[id].tag_group : 0;
    const char *tag = id ? tag_of_origin(sorter, &origins->rows[id]) : untagged;
    const char *found = group ? origins->scopes[group] : NULL;
    bool is_same = tag && found && !strcmp(tag, found);
    struct bracket *bracket = bracket_of(table, brackets, tag), *other = bracket_of(table, brackets, found);
    if (bracket) {
        if (peak->bytes > bracket->origins_low) bracket->origins_low = peak->bytes;
        bracket->origins_high += highest(peak);
        if (is_same)
            bracket->group = group;
        else
            bracket->is_strange = true;
    }
    if (other && !is_same) other->is_strange = true;
    if (!tag && sorter->stack_tags) divide_peak(sorter, table, brackets, id);
}

/* What a tag has of origins that only the stacks tell apart; all that it has where nothing is live by origin. */
static void add_stack_peak(const struct sorter *sorter, struct table *table, struct bracket *brackets,
                           const struct mt_stack_copy *stack)
{
    const struct mt_module *module = module_at(sorter, stack, stack->record.depth - 1u);
    struct mt_origin origin = {.module = module ? (uint32_t)(module - sorter->snapshot->stacks.modules) + 1 : 0,
                               .tag = stack->record.tag};
    uint32_t thread = stack->record.thread;
    if (!stack->record.total_count) return;
    if (thread && thread <= MT_THREAD_NAMES)
        snprintf(origin.thread, sizeof origin.thread, "%s", sorter->snapshot->stacks.thread_names[thread - 1].name);
    struct bracket *bracket = bracket_of(table, brackets, tag_of_stack(sorter, stack));
    if (!bracket || (sorter->snapshot->own_peaks && tag_of_origin(sorter, &origin))) return;
    bracket->has_parts = true;
    bracket->parts_high += stack->record.max_bytes + (int64_t)stack->max_error_bytes;
    if (!sorter->snapshot->own_peaks && stack->record.max_bytes > bracket->origins_low)
        bracket->origins_low = stack->record.max_bytes;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Between what it surely reached and what it cannot have passed. */
static struct mt_own_peak own_peak_of(const struct sorter *sorter, const struct mt_tag_sum *sum,
                                      const struct bracket *bracket)
{
    const struct mt_snapshot *snapshot = sorter->snapshot;
    struct mt_own_peak process = mt_snapshot_peak(snapshot), peak = {.bytes = bracket->origins_low};
    int64_t high = bracket->origins_high;
    if (bracket->group && !bracket->is_strange) {
        peak = snapshot->own_peaks->of[MT_GROUP_TAG][bracket->group];
        high = highest(&peak);
    }
    int64_t low = peak.bytes;
    high += bracket->parts_high;
    if (high > highest(&process)) high = highest(&process);
    if (bracket->has_parts) {
        bool has_all = snapshot->stacks.mode == MT_STACKS_ALL;
        peak.bytes = larger(peak.bytes + bracket->parts, sum->live_bytes);
        if (has_all) peak.bytes = larger(peak.bytes, sum->at_peak_bytes);
        if (peak.bytes > high) peak.bytes = larger(high, low);
        if (has_all) low = peak.bytes;
        if (peak.bytes != low || bracket->is_strange) peak.when_ns = 0;
    }
    if (snapshot->stacks.mode == MT_STACKS_ALL && peak.bytes < sum->live_bytes) { /* as in set_module_peak() */
        low = peak.bytes = sum->live_bytes;
        high = highest(&process);
        peak.when_ns = 0;
    }
    peak.error_bytes = larger(0, larger(peak.bytes - low, high - peak.bytes));
    return peak;
}

/* Whether stacks and origins mean the same threads: rules on threads need stacks that know theirs. */
static bool origins_fit_stacks(const struct sorter *sorter)
{
    const struct mt_stacks *stacks = &sorter->snapshot->stacks;
    if (stacks->mode != MT_STACKS_ALL || !mt_tag_rules_need_threads(sorter->rules)) return true;
    for (size_t i = 0; i < stacks->count; i++)
        if (stacks->stacks[i].record.total_count && !stacks->stacks[i].record.thread) return false;
    return true;
}

static void find_own_peaks(const struct sorter *sorter, struct table *table)
{
    const struct mt_snapshot *snapshot = sorter->snapshot;
    bool has_all = snapshot->stacks.mode == MT_STACKS_ALL;
    struct bracket *brackets = calloc(table->room, sizeof *brackets);
    bool is_known = brackets && (has_all || snapshot->own_peaks) && origins_fit_stacks(sorter);
    for (size_t id = 0; is_known && snapshot->own_peaks && id < snapshot->origins.count; id++)
        if (snapshot->own_peaks->of[MT_GROUP_ORIGIN][id].bytes > 0) add_origin_peak(sorter, table, brackets, id);
    bool asks_stacks = brackets && (has_all ? is_known : !snapshot->own_peaks);
    for (size_t i = 0; asks_stacks && i < snapshot->stacks.count; i++)
        add_stack_peak(sorter, table, brackets, &snapshot->stacks.stacks[i]);
    for (size_t i = 0; i < table->count; i++) {
        struct mt_tag_sum *sum = &table->sums[i];
        int64_t seen = larger(brackets ? brackets[i].origins_low : 0, larger(sum->live_bytes, sum->at_peak_bytes));
        sum->own_peak = is_known ? own_peak_of(sorter, sum, &brackets[i])
                                 : (struct mt_own_peak){.bytes = seen, .error_bytes = -1};
    }
    free(brackets);
}

/* ---- device memory --------------------------------------------------------------------- */

/* Said by the program, or by a rule; NULL where neither is. */
static const char *own_tag_of_object(const struct sorter *sorter, const struct mt_object *object)
{
    const struct mt_tag_rules *rules = sorter->rules;
    const char *said = said_tag(sorter, object->tag);
    if (said) return said;
    for (size_t i = 0; i < rules->count; i++)
        for (size_t k = 0; k < rules->rules[i].match_count; k++)
            if (fits_object(sorter, &rules->rules[i].matches[k], object)) return rules->rules[i].name;
    return NULL;
}

static const char *tag_of_object(const struct sorter *sorter, const struct mt_object *object)
{
    const char *tag = own_tag_of_object(sorter, object);
    if (tag) return tag;
    const struct mt_stack_copy *stack = mt_stacks_find(&sorter->snapshot->stacks, object->stack);
    const struct mt_module *module = stack ? calling_module(sorter, stack) : NULL;
    return module ? tag_of_module(sorter, module) : untagged;
}

static void add_bytes(struct table *table, const char *tag, uint64_t bytes)
{
    struct mt_tag_sum *sum = row_of(table, tag);
    if (!sum) return;
    sum->vulkan_bytes += (int64_t)bytes;
    sum->vulkan_count++;
}

/* What covers a range of memory: a binding stands for its session, a range for its sparse resource. */
static const struct mt_object *holder_of(const struct sorter *sorter, const struct mt_object *resource)
{
    if (resource->kind == MT_VK_SPARSE_RANGE)
        return mt_snapshot_object(sorter->snapshot, (uint32_t)resource->attr[MT_VK_SPARSE_RESOURCE]);
    if (resource->kind != MT_VK_VIDEO_MEMORY) return resource;
    const struct mt_object *session = mt_snapshot_object(sorter->snapshot,
                                                         (uint32_t)resource->attr[MT_VK_VIDEO_SESSION_ID]);
    return session && mt_vulkan_is_session(session) ? session : NULL;
}

/* Where several resources cover a byte, the one that begins first has it. */
static void add_memory(const struct sorter *sorter, struct table *table, const struct mt_vulkan_view *view,
                       const struct mt_snapshot_object *memory)
{
    uint64_t size = memory->record.size_bytes, covered_to = 0, rest = size;
    for (size_t i = mt_vulkan_first_binding(view, memory->id);
         i < view->binding_count && view->bindings[i].memory == memory->id; i++) {
        const struct mt_vulkan_binding *binding = &view->bindings[i];
        uint64_t start = binding->start > covered_to ? binding->start : covered_to,
                 end = binding->end < size ? binding->end : size;
        const struct mt_object *holder = holder_of(sorter, binding->resource);
        const char *tag = holder && end > start ? own_tag_of_object(sorter, holder) : NULL;
        if (end > covered_to) covered_to = end;
        if (!tag) continue;
        add_bytes(table, tag, end - start);
        rest -= end - start;
    }
    if (rest || !size) add_bytes(table, tag_of_object(sorter, &memory->record), rest);
}

/* Of one device, or of all with 0. Imports are no memory of their own. */
static void add_device_memory(const struct sorter *sorter, struct table *table, uint32_t device)
{
    struct mt_vulkan_view view;
    mt_vulkan_view_start(&view, sorter->snapshot);
    for (size_t i = 0; i < sorter->snapshot->object_count; i++) {
        const struct mt_snapshot_object *object = &sorter->snapshot->objects[i];
        if (object->record.kind != MT_VK_MEMORY || (device && object->record.owner != device)) continue;
        if (!(object->record.attr[MT_VK_MEMORY_FLAGS] & MT_VK_MEMORY_IS_IMPORT))
            add_memory(sorter, table, &view, object);
    }
    mt_vulkan_view_end(&view);
}

bool mt_tags_are_by_origin(const struct mt_snapshot *snapshot)
{
    return snapshot->origins.count && snapshot->origins.knows_live && snapshot->stacks.mode != MT_STACKS_ALL;
}

/* Those of the rules go before what the program gave. */
static void add_said_budgets(const struct sorter *sorter, struct table *table)
{
    for (uint32_t i = 1; i < MT_SCOPE_MAX; i++) {
        uint64_t bytes = sorter->snapshot->origins.budgets[i];
        const char *name = bytes ? said_tag(sorter, i) : NULL;
        struct mt_tag_sum *sum = name ? row_of(table, name) : NULL;
        if (sum && !sum->budget_bytes) sum->budget_bytes = bytes;
    }
}

static bool prepare(struct sorter *sorter, struct table *table)
{
    const struct mt_stacks *stacks = &sorter->snapshot->stacks;
    size_t defaults = mt_tag_table_count();
    table->room = sorter->rules->count + defaults + 3 + MT_SCOPE_MAX;
    table->sums = calloc(table->room, sizeof *table->sums);
    sorter->module_tags = calloc(stacks->module_count + 1, sizeof *sorter->module_tags);
    if (!table->sums || !sorter->module_tags) return false;
    for (size_t i = 0; i < stacks->module_count; i++) {
        const char *tag = mt_tag_table_of_module(stacks->modules[i].path);
        sorter->module_tags[i] = tag ? tag : MT_TAG_ENGINE;
    }
    if (mt_tags_are_by_origin(sorter->snapshot)) {
        sorter->stack_tags = calloc(stacks->count + 1, sizeof *sorter->stack_tags);
        if (!sorter->stack_tags) return false;
        for (size_t i = 0; i < stacks->count; i++) sorter->stack_tags[i] = tag_of_stack(sorter, &stacks->stacks[i]);
    }
    for (size_t i = 0; i < sorter->rules->count; i++)
        row_of(table, sorter->rules->rules[i].name)->budget_bytes = sorter->rules->rules[i].budget_bytes;
    add_said_budgets(sorter, table);
    return true;
}

size_t mt_tags_sum(const struct mt_tag_rules *rules, const struct mt_snapshot *snapshot, struct mt_tag_sum **sums)
{
    struct sorter sorter = {rules, snapshot, NULL, NULL};
    struct table table = {0};
    if (prepare(&sorter, &table)) {
        if (mt_tags_are_by_origin(snapshot)) add_origins(&sorter, &table);
        for (size_t i = 0; i < snapshot->stacks.count && !mt_tags_are_by_origin(snapshot); i++)
            add_stack(&sorter, &table, &snapshot->stacks.stacks[i]);
        find_own_peaks(&sorter, &table);
        add_device_memory(&sorter, &table, 0);
    }
    free(sorter.module_tags);
    free(sorter.stack_tags);
    struct mt_said_tags said;
    mt_tags_said(snapshot, &said);
    for (size_t i = 0; i < table.count; i++)
        table.sums[i].source = mt_tag_source(snapshot, &said, rules, table.sums[i].tag);
    *sums = table.sums;
    return table.count;
}

/* ---- of Vulkan objects --------------------------------------------------------------------- */

struct mt_tagger {
    struct sorter sorter;
};

struct mt_tagger *mt_tagger_new(const struct mt_snapshot *snapshot)
{
    struct mt_tagger *tagger = calloc(1, sizeof *tagger);
    struct table table = {0};
    if (!tagger) return NULL;
    tagger->sorter = (struct sorter){mt_tag_rules_of(snapshot), snapshot, NULL, NULL};
    bool is_ready = tagger->sorter.rules && prepare(&tagger->sorter, &table);
    free(table.sums);
    if (is_ready) return tagger;
    mt_tagger_free(tagger);
    return NULL;
}

void mt_tagger_free(struct mt_tagger *tagger)
{
    if (!tagger) return;
    free(tagger->sorter.module_tags);
    free(tagger->sorter.stack_tags);
    free(tagger);
}

const char *mt_tagger_object(const struct mt_tagger *tagger, const struct mt_object *object)
{
    return tag_of_object(&tagger->sorter, object);
}

json_t *mt_tagger_device_json(const struct mt_tagger *tagger, uint32_t device)
{
    struct table table = {.room = tagger->sorter.rules->count + mt_tag_table_count() + 3 + MT_SCOPE_MAX};
    json_t *rows = json_array();
    struct mt_said_tags said;
    mt_tags_said(tagger->sorter.snapshot, &said);
    table.sums = calloc(table.room, sizeof *table.sums);
    if (table.sums) add_device_memory(&tagger->sorter, &table, device);
    for (size_t i = 0; i < table.count; i++) {
        json_t *row = json_object();
        mt_json_set_text(row, "tag", table.sums[i].tag);
        mt_json_set_text(row, "source",
                         mt_tag_source(tagger->sorter.snapshot, &said, tagger->sorter.rules, table.sums[i].tag));
        mt_json_set_i64(row, "current_bytes", table.sums[i].vulkan_bytes);
        mt_json_set_i64(row, "current_count", table.sums[i].vulkan_count);
        json_array_append_new(rows, row);
    }
    free(table.sums);
    return rows;
}

/* ---- budgets ---------------------------------------------------------------------------- */

const char *const mt_budget_state_name[] = {"none", "ok", "warning", "over"};

enum mt_budget_state mt_budget_state(int64_t bytes, uint64_t budget_bytes, unsigned warning_percent)
{
    if (!budget_bytes) return MT_BUDGET_NONE;
    if (bytes > 0 && (uint64_t)bytes > budget_bytes) return MT_BUDGET_OVER;
    return bytes > 0 && (double)bytes * 100 >= (double)budget_bytes * warning_percent ? MT_BUDGET_WARNING
                                                                                      : MT_BUDGET_OK;
}

uint64_t mt_budget_of_text(const char *text)
{
    static const char units[] = "KMGT";
    char *end;
    double number = strtod(text, &end);
    const char *unit = *end ? strchr(units, *end & ~0x20) : NULL;
    if (!(number > 0)) return 0;
    return (uint64_t)(number * (double)(UINT64_C(1) << (unit ? 10 * (unit - units + 1) : 0)));
}

unsigned mt_budget_warning_percent(const struct mt_snapshot *snapshot)
{
    char value[16];
    mt_snapshot_option(snapshot, "MEMTRACK_BUDGET_WARNING", value, sizeof value);
    unsigned percent = (unsigned)strtoul(value, NULL, 10);
    return percent ? percent : 85;
}

/* ---- the report ---------------------------------------------------------------------------- */

const struct mt_tag_rules *mt_tag_rules_of(const struct mt_snapshot *snapshot)
{
    static struct mt_tag_rules *kept;
    static char kept_path[1024];
    char path[1024], why[512];
    mt_snapshot_option(snapshot, "MEMTRACK_TAGS", path, sizeof path);
    if (kept && !strcmp(path, kept_path)) return kept;
    struct mt_tag_rules *rules = mt_tag_rules_load(path, why, sizeof why);
    if (!rules) {
        mt_say("%s; the default tags are used", why);
        rules = mt_tag_rules_load("", why, sizeof why);
    }
    mt_tag_rules_free(kept);
    snprintf(kept_path, sizeof kept_path, "%s", path);
    return kept = rules;
}
