/*
 * Looks through what a thread counted by origin, hands it to the groups and
 * raises their peaks. See groups.h. Runs inside a flush, on the thread that
 * allocates: a signal handler that flushes in the middle of it leaves its
 * change to the next look.
 */
#include "groups.h"

#include "alone.h"
#include "origin.h"
#include "segment.h"
#include "shard.h"
#include "size_counts.h"
#include "tag_table.h"

#include <string.h>

#define LOAD(field)         atomic_load_explicit(&(field), memory_order_relaxed)
#define STORE(field, value) atomic_store_explicit(&(field), value, memory_order_relaxed)

_Static_assert(sizeof(struct mt_group_part) == 64, "what mt_core_alloc() aligns");
_Static_assert(MT_POOL_CLASSES == 64 + 8, "bits of used and used_above");
_Static_assert((int)MT_ORIGIN_MAX <= (int)MT_GROUP_MAX && (int)MT_SCOPE_MAX <= (int)MT_GROUP_MAX,
               "ids of every kind");

/* ---- arithmetic ------------------------------------------------------------------------- */

/* mt_class_bytes(), which takes more arithmetic than the rest of a look. */
#define EIGHT(from)                                                                                                \
    (from) / 8 * 9, (from) / 8 * 10, (from) / 8 * 11, (from) / 8 * 12, (from) / 8 * 13, (from) / 8 * 14,           \
        (from) / 8 * 15, (from)*2
static const int32_t class_bytes[MT_POOL_CLASSES] = {
    16,         32,         48,         64,          80,          96,          112,         128,
    EIGHT(128), EIGHT(256), EIGHT(512), EIGHT(1024), EIGHT(2048), EIGHT(4096), EIGHT(8192), EIGHT(16384)};

/* Adds requested bytes to told->print. */
static void add_classes(struct mt_group_step *sum, struct mt_group_told *told,
                        const struct mt_origin_counts *counts, unsigned first, uint64_t bits)
{
    for (; bits; bits &= bits - 1) {
        unsigned class = first + (unsigned)__builtin_ctzll(bits);
        const struct mt_origin_cell *cell = &counts->classes[class];
        uint64_t allocations = LOAD(cell->allocation_count), frees = LOAD(cell->free_count);
        sum->allocated += (int64_t)allocations * class_bytes[class];
        sum->freed += (int64_t)frees * class_bytes[class];
        told->print += LOAD(cell->requested_bytes);
        told->calls += allocations + frees;
    }
}

struct mt_group_step mt_group_of_classes(const struct mt_origin_counts *counts, struct mt_group_told *told)
{
    struct mt_group_step sum = {0, 0};
    *told = (struct mt_group_told){0, 0};
    add_classes(&sum, told, counts, 0, LOAD(counts->used));
    if (LOAD(counts->used_above)) add_classes(&sum, told, counts, 64, LOAD(counts->used_above));
    told->print = mt_group_print(told->print, sum.allocated - sum.freed);
    return sum;
}

/* ---- groups ----------------------------------------------------------------------------- */

static void *at(struct mt_core *core, uint64_t offset)
{
    return offset ? (char *)core->segment + offset : NULL;
}

/* Takes a value that is higher. Returns true when it was. */
static bool raise(_Atomic int64_t *field, int64_t value)
{
    int64_t seen = LOAD(*field);
    while (seen < value)
        if (atomic_compare_exchange_weak_explicit(field, &seen, value, memory_order_relaxed, memory_order_relaxed))
            return true;
    return false;
}

static void raise_peak(struct mt_core *core, struct mt_group *group, int64_t peak, int64_t limit)
{
    if (limit > LOAD(group->limit_bytes)) raise(&group->limit_bytes, limit);
    if (peak <= LOAD(group->peak_bytes) || !raise(&group->peak_bytes, peak)) return;
    STORE(group->peak_ns, mt_now_coarse_ns());
    STORE(group->peak_frame, mt_frame_now(core));
}

static unsigned id_of(const struct mt_core *core, enum mt_group_kind kind, unsigned origin)
{
    const struct mt_origin *row = &core->segment->origins.rows[origin];
    unsigned id = kind == MT_GROUP_ORIGIN ? origin : kind == MT_GROUP_MODULE ? row->module : row->tag_group;
    return id < MT_GROUP_MAX ? id : 0;
}

/* ---- a look ------------------------------------------------------------------------------- */

/* The shard's part of a group, made when new; 0 when there is no memory for it (counted). */
static uint64_t find_part(struct mt_core *core, struct mt_shard *shard, enum mt_group_kind kind, unsigned id)
{
    uint64_t head = LOAD(shard->group_parts);
    for (struct mt_group_part *part = at(core, head); part; part = at(core, part->next))
        if (part->kind == kind && part->id == id) return (uint64_t)((char *)part - (char *)core->segment);
    struct mt_group *group = &core->segment->groups[id][kind];
    if (!mt_segment_commit(core, group, sizeof *group)) return 0;
    uint64_t offset = mt_core_alloc(core, sizeof(struct mt_group_part));
    struct mt_group_part *made = at(core, offset);
    if (!made) return 0;
    made->kind = kind;
    made->id = id;
    made->next = head;
    atomic_store_explicit(&shard->group_parts, offset, memory_order_release);
    return offset;
}

static void add_to_part(struct mt_core *core, struct mt_shard *shard, uint64_t offset, struct mt_group_step step)
{
    struct mt_group_part *part = at(core, offset);
    if (part->look != shard->look) {
        part->look = shard->look;
        part->allocated = part->freed = 0;
        part->next_touched = shard->touched;
        shard->touched = offset;
    }
    part->allocated += step.allocated;
    part->freed += step.freed;
}

static struct mt_group_step minus(struct mt_group_step now, const _Atomic uint64_t *allocated,
                                  const _Atomic uint64_t *freed)
{
    return (struct mt_group_step){now.allocated - (int64_t)LOAD(*allocated), now.freed - (int64_t)LOAD(*freed)};
}

/* What a row counted of large blocks since the last look, and of others. */
static struct mt_group_step step_of_large(struct mt_core *core, struct mt_origin_counts *counts)
{
    struct mt_large_sum sum = mt_size_counts_sum(core->segment, core->mapped_bytes, counts);
    struct mt_group_step large = {(int64_t)sum.allocated_bytes, (int64_t)sum.freed_bytes};
    struct mt_group_step step = minus(large, &counts->told_large_allocated, &counts->told_large_freed);
    if (!step.allocated && !step.freed) return step;
    STORE(counts->told_large_allocated, (uint64_t)large.allocated);
    STORE(counts->told_large_freed, (uint64_t)large.freed);
    return step;
}

static struct mt_group_step step_of_small(struct mt_origin_counts *counts)
{
    struct mt_group_told told;
    struct mt_group_step small = mt_group_of_classes(counts, &told);
    counts->told_print = told.print;
    counts->told_calls = told.calls;
    struct mt_group_step step = minus(small, &counts->told_allocated, &counts->told_freed);
    counts->is_changed = 0;
    counts->is_quiet = !step.allocated && !step.freed;
    STORE(counts->told_allocated, (uint64_t)small.allocated);
    STORE(counts->told_freed, (uint64_t)small.freed);
    return step;
}

static void add_to_parts(struct mt_core *core, struct mt_shard *shard, struct mt_origin_counts *counts,
                         struct mt_group_step step)
{
    for (unsigned kind = 0; kind < MT_GROUP_KINDS; kind++) {
        uint64_t part = (uint64_t)LOAD(counts->parts[kind]) * 64;
        if (!part) {
            part = find_part(core, shard, kind, id_of(core, kind, counts->origin));
            STORE(counts->parts[kind], (uint32_t)(part / 64));
        }
        if (part) add_to_part(core, shard, part, step);
    }
}

static void hand_over(struct mt_core *core, struct mt_group_part *part, int64_t change,
                      struct mt_group_bounds bounds)
{
    struct mt_group *group = &core->segment->groups[part->id][part->kind];
    int64_t before = mt_alone_add_signed(&group->current_bytes, change);
    if (before + bounds.most > LOAD(group->limit_bytes) || before + bounds.least > LOAD(group->peak_bytes))
        raise_peak(core, group, before + bounds.least, before + bounds.most);
    if (bounds.lag > LOAD(part->lag_bytes)) STORE(part->lag_bytes, bounds.lag);
}

static uint64_t large_print(const struct mt_core *core, const struct mt_origin_counts *counts)
{
    struct mt_large_sum sum = mt_size_counts_sum(core->segment, core->mapped_bytes, counts);
    return mt_group_print(sum.requested_bytes, (int64_t)(sum.allocated_bytes - sum.freed_bytes));
}

static uint64_t sum_large_prints(struct mt_core *core, const struct mt_shard *shard)
{
    uint64_t print = 0;
    for (const struct mt_origin_counts *row = at(core, LOAD(shard->origins)); row; row = at(core, row->next))
        print += large_print(core, row);
    return print;
}

/* Which rows' classes a look goes through: those that changed last time, or all that may have. */
enum { NO_CLASSES, LIVELY_CLASSES, ALL_CLASSES };

/* Adds what rows counted since they were looked at last. Returns the print of their classes. */
static uint64_t look_at_rows(struct mt_core *core, struct mt_shard *shard, int which, struct mt_group_step *all)
{
    uint64_t print = 0, calls = shard->look_kept_calls;
    for (struct mt_origin_counts *row = at(core, LOAD(shard->origins)); row; row = at(core, row->next)) {
        struct mt_group_step step = step_of_large(core, row);
        if (step.allocated || step.freed) {
            shard->look_row = (uint64_t)((char *)row - (char *)core->segment);
            shard->look_row_print = large_print(core, row);
        }
        bool is_lively = row->is_changed || (row->is_open && (which == ALL_CLASSES || !row->is_quiet));
        if (which != NO_CLASSES && is_lively) {
            struct mt_group_step small = step_of_small(row);
            step.allocated += small.allocated;
            step.freed += small.freed;
        }
        print += row->told_print;
        calls += row->told_calls;
        if (!step.allocated && !step.freed) continue;
        add_to_parts(core, shard, row, step);
        all->allocated += step.allocated;
        all->freed += step.freed;
    }
    shard->look_calls = calls;
    return print;
}

/* An arena counts in classes of its row that nobody marked. */
static void find_used(struct mt_core *core, const struct mt_shard *shard)
{
    for (struct mt_origin_counts *row = at(core, LOAD(shard->origins)); row; row = at(core, row->next))
        for (unsigned class = 0; row->is_open && class < MT_POOL_CLASSES; class ++)
            if (LOAD(row->classes[class].allocation_count) | LOAD(row->classes[class].free_count))
                mt_groups_use(row, class);
}

static uint64_t shard_print(const struct mt_shard *shard)
{
    return mt_group_print(LOAD(shard->requested_bytes), LOAD(shard->live_bytes));
}

static __attribute__((noinline)) void look(struct mt_core *core, struct mt_shard *shard)
{
    struct mt_group_step all = {0, 0};
    uint64_t print = shard_print(shard), small = print - sum_large_prints(core, shard);
    bool has_small = small != shard->look_small_print;
    shard->look_print = print;
    shard->look_small_print = small;
    shard->look++;
    shard->touched = 0;
    uint64_t known = look_at_rows(core, shard, has_small ? LIVELY_CLASSES : NO_CLASSES, &all);
    if (small - known != shard->look_other_print) known = look_at_rows(core, shard, ALL_CLASSES, &all);
    if (small - known != shard->look_other_print) {
        find_used(core, shard);
        shard->look_other_print = small - look_at_rows(core, shard, ALL_CLASSES, &all);
    }
    struct mt_group_range range = mt_group_range_of(shard, (int64_t)core->segment->globals.batch_bytes, all);
    for (struct mt_group_part *part = at(core, shard->touched); part; part = at(core, part->next_touched)) {
        struct mt_group_step own = {part->allocated, part->freed};
        hand_over(core, part, own.allocated - own.freed, mt_group_bounds_of(own, all, range));
    }
}

/* Where all calls since the last look were for large blocks of one row, the same one as then: the others need not
 * be looked at. */
static __attribute__((noinline)) bool look_at_one(struct mt_core *core, struct mt_shard *shard)
{
    struct mt_origin_counts *row = at(core, shard->look_row);
    uint64_t print = shard_print(shard);
    if (!row || large_print(core, row) - shard->look_row_print != print - shard->look_print) return false;
    shard->look_row_print += print - shard->look_print;
    shard->look_print = print;
    struct mt_group_step step = step_of_large(core, row);
    struct mt_group_range range = mt_group_range_of(shard, (int64_t)core->segment->globals.batch_bytes, step);
    struct mt_group_bounds bounds = mt_group_bounds_of(step, step, range);
    for (unsigned kind = 0; kind < MT_GROUP_KINDS; kind++) {
        struct mt_group_part *part = at(core, (uint64_t)LOAD(row->parts[kind]) * 64);
        if (part) hand_over(core, part, step.allocated - step.freed, bounds);
    }
    return true;
}

static void begin_again(struct mt_shard *shard)
{
    int64_t live = LOAD(shard->live_bytes);
    STORE(shard->look_bytes, live);
    STORE(shard->look_high_bytes, live);
    STORE(shard->look_low_bytes, live);
}

static int64_t much_of_batches(const struct mt_core *core)
{
    return (mt_is_alone() ? MT_GROUP_BATCHES_ALONE : MT_GROUP_BATCHES) *
           (int64_t)core->segment->globals.batch_bytes;
}

/* All threads together may hold back a part of what the process ever held: one large block can be more than all
 * batches. */
static bool is_much(const struct mt_core *core, int64_t bytes)
{
    const struct mt_globals *globals = &core->segment->globals;
    if (mt_is_alone() || !globals->batch_bytes) return true;
    return bytes * MT_GROUP_PARTS * (int64_t)LOAD(globals->live_shards) > LOAD(globals->peak_bytes);
}

static uint64_t kept_calls(const struct mt_shard *shard)
{
    return LOAD(shard->allocation_count) + LOAD(shard->free_count);
}

static uint64_t all_calls(const struct mt_core *core, const struct mt_shard *shard)
{
    struct mt_shard_counts sum = {kept_calls(shard), 0};
    for (uint64_t offset = LOAD(shard->origins); offset;) {
        const struct mt_origin_counts *row = (const void *)((const char *)core->segment + offset);
        uint64_t used = LOAD(row->used), used_above = LOAD(row->used_above);
        bool is_marked = used || used_above || !row->site;
        mt_shard_add_cells(&sum, row->classes, is_marked ? used : UINT64_MAX);
        mt_shard_add_cells(&sum, &row->classes[64], is_marked ? used_above : UINT8_MAX);
        offset = row->next;
    }
    return sum.allocation_count + sum.free_count;
}

static uint32_t least_flushes(uint64_t flushes)
{
    return (uint32_t)(flushes < MT_GROUP_FLUSHES ? flushes : MT_GROUP_FLUSHES);
}

/* Calls that cells count are counted when they will be many if they go on to come as they came before. */
static bool are_many(const struct mt_core *core, struct mt_shard *shard)
{
    if (kept_calls(shard) - shard->look_kept_calls >= MT_GROUP_CALLS) return true;
    if (shard->look_flushes < shard->look_next) return false;
    uint64_t calls = all_calls(core, shard) - shard->look_calls;
    if (calls >= MT_GROUP_CALLS) return true;
    uint64_t more = (MT_GROUP_CALLS - calls) * shard->look_flushes / (calls ? calls : 1);
    shard->look_next = shard->look_flushes + least_flushes(more ? more : 1);
    return false;
}

bool mt_groups_are_many(const struct mt_core *core, struct mt_shard *shard)
{
    uint64_t calls = kept_calls(shard) - shard->look_kept_calls;
    shard->look_samples++;
    if (calls < MT_GROUP_CALLS) {
        if (shard->look_samples < shard->look_samples_next) return false;
        calls = all_calls(core, shard) - shard->look_calls;
    }
    if (calls < MT_GROUP_CALLS) {
        uint64_t more = (MT_GROUP_CALLS - calls) * shard->look_samples / (calls ? calls : 1) / 2;
        shard->look_samples_next = shard->look_samples +
                                   (uint32_t)(more < MT_GROUP_SAMPLES ? more : MT_GROUP_SAMPLES);
        return false;
    }
    shard->look_next = 0;
    return true;
}

/* True when it can wait. */
static bool take_down(const struct mt_core *core, struct mt_shard *shard)
{
    int64_t live = LOAD(shard->live_bytes), from = LOAD(shard->look_bytes);
    int64_t high = mt_group_most(mt_group_most(LOAD(shard->high_bytes), live), LOAD(shard->look_high_bytes));
    int64_t low = mt_group_least(live, LOAD(shard->look_low_bytes));
    int64_t way = mt_group_most(high - from, from - low);
    if ((way >= much_of_batches(core) && is_much(core, way)) || are_many(core, shard)) return false;
    STORE(shard->look_high_bytes, high);
    STORE(shard->look_low_bytes, low);
    return true;
}

static __attribute__((noinline)) void look_now(struct mt_core *core, struct mt_shard *shard)
{
    shard->is_looking = 1;
    atomic_signal_fence(memory_order_seq_cst);
    uint64_t kept = kept_calls(shard), before = shard->look_calls;
    shard->look_calls += kept - shard->look_kept_calls;
    shard->look_kept_calls = kept;
    if (!look_at_one(core, shard)) look(core, shard);
    uint64_t calls = shard->look_calls - before;
    shard->look_next = calls ? least_flushes(MT_GROUP_CALLS * (uint64_t)shard->look_flushes / calls) : 0;
    shard->look_flushes = shard->look_samples = shard->look_samples_next = 0;
    begin_again(shard);
    atomic_signal_fence(memory_order_seq_cst);
    shard->is_looking = 0;
}

void mt_groups_look(struct mt_core *core, struct mt_shard *shard)
{
    if (!shard->is_followed || shard->is_looking) return;
    shard->look_flushes++;
    if (!take_down(core, shard)) look_now(core, shard);
}

/* ---- others --------------------------------------------------------------------------------- */

static void add(struct mt_core *core, struct mt_group *group, int64_t bytes)
{
    int64_t now = atomic_fetch_add_explicit(&group->current_bytes, bytes, memory_order_relaxed) + bytes;
    raise_peak(core, group, now, now);
}

void mt_groups_add(struct mt_core *core, struct mt_origin_counts *counts, int64_t bytes)
{
    for (unsigned kind = 0; kind < MT_GROUP_KINDS; kind++) {
        struct mt_group *group = &core->segment->groups[id_of(core, kind, counts->origin)][kind];
        if (!LOAD(counts->parts[kind])) {
            if (!mt_segment_commit(core, group, sizeof *group)) continue;
            STORE(counts->parts[kind], 1); /* shard 0 has no parts: that its group has memory */
        }
        add(core, group, bytes);
    }
}

void mt_groups_inherit(struct mt_core *core, unsigned origin, int64_t bytes)
{
    for (unsigned kind = 0; kind < MT_GROUP_KINDS && bytes; kind++) {
        struct mt_group *group = &core->segment->groups[id_of(core, kind, origin)][kind];
        if (mt_segment_commit(core, group, sizeof *group)) add(core, group, bytes);
    }
}

void mt_groups_join(struct mt_core *core, struct mt_origin *origin)
{
    const struct mt_modules *modules = &core->segment->attribution.modules;
    const char *module = origin->module && origin->module <= MT_MODULE_MAX ? modules->rows[origin->module - 1].path
                                                                           : NULL;
    origin->tag_group = origin->tag
                            ? origin->tag
                            : mt_tag_table_find(core, module, origin->thread, core->scopes[origin->scope].name);
    mt_scope_tell(core, origin->tag_group);
}
