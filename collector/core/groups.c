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
#include "tag_table.h"

#include <string.h>

#define LOAD(field)         atomic_load_explicit(&(field), memory_order_relaxed)
#define STORE(field, value) atomic_store_explicit(&(field), value, memory_order_relaxed)

_Static_assert(sizeof(struct mt_group_part) == 64, "what mt_core_alloc() aligns");
_Static_assert(MT_POOL_CLASSES == 64 + 8, "bits of used and used_above");
_Static_assert((int)MT_ORIGIN_MAX <= (int)MT_GROUP_MAX && (int)MT_SCOPE_MAX <= (int)MT_GROUP_MAX,
               "ids of every kind");

/* ---- arithmetic ------------------------------------------------------------------------- */

static int64_t least_of(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t most_of(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

struct mt_group_range mt_group_range_of(const struct mt_shard *shard, int64_t batch_bytes, struct mt_group_step all)
{
    int64_t live = LOAD(shard->live_bytes), flushed = LOAD(shard->flushed_bytes);
    int64_t high = most_of(LOAD(shard->high_bytes), most_of(live, flushed));
    if (live - flushed != all.allocated - all.freed)
        return (struct mt_group_range){all.allocated, all.freed, INT64_MAX / 4};
    return (struct mt_group_range){high - flushed, flushed - least_of(live, flushed - batch_bytes), batch_bytes};
}

struct mt_group_bounds mt_group_bounds_of(struct mt_group_step own, struct mt_group_step all,
                                          struct mt_group_range range)
{
    int64_t others_allocated = all.allocated - own.allocated, others_freed = all.freed - own.freed;
    int64_t most = most_of(0, least_of(own.allocated, range.rise + others_freed));
    int64_t down = most_of(0, least_of(own.freed, range.fall + others_allocated));
    int64_t least = most_of(0, most_of(own.allocated - own.freed, range.rise - others_allocated));
    return (struct mt_group_bounds){
        least_of(least, most), most,
        most_of(least_of(most, range.batch + others_freed), least_of(down, range.batch + others_allocated))};
}

static void add_classes(struct mt_group_step *sum, const struct mt_origin_counts *counts, unsigned first,
                        uint64_t bits)
{
    for (; bits; bits &= bits - 1) {
        unsigned class = first + (unsigned)__builtin_ctzll(bits);
        const struct mt_origin_cell *cell = &counts->classes[class];
        int64_t bytes = (int64_t)mt_class_bytes(class);
        sum->allocated += (int64_t)LOAD(cell->allocation_count) * bytes;
        sum->freed += (int64_t)LOAD(cell->free_count) * bytes;
    }
}

struct mt_group_step mt_group_total(const struct mt_origin_counts *counts)
{
    struct mt_group_step sum = {(int64_t)LOAD(counts->large_allocated_bytes),
                                (int64_t)LOAD(counts->large_freed_bytes)};
    add_classes(&sum, counts, 0, counts->used);
    add_classes(&sum, counts, 64, counts->used_above);
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
    struct mt_group *group = &core->segment->groups[kind][id];
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

static uint32_t large_calls(const struct mt_origin_counts *counts)
{
    return (uint32_t)(LOAD(counts->large_allocation_count) + LOAD(counts->large_free_count));
}

/* Adds what a row counted since the last look to its groups' parts. Returns it. */
static struct mt_group_step look_at_row(struct mt_core *core, struct mt_shard *shard,
                                        struct mt_origin_counts *counts)
{
    struct mt_group_step total = mt_group_total(counts);
    struct mt_group_step step = {total.allocated - (int64_t)LOAD(counts->told_allocated),
                                 total.freed - (int64_t)LOAD(counts->told_freed)};
    counts->is_changed = 0;
    counts->told_large = large_calls(counts);
    if (!step.allocated && !step.freed) return step;
    for (unsigned kind = 0; kind < MT_GROUP_KINDS; kind++) {
        uint64_t part = LOAD(counts->parts[kind]);
        if (!part) {
            part = find_part(core, shard, kind, id_of(core, kind, counts->origin));
            STORE(counts->parts[kind], part);
        }
        if (part) add_to_part(core, shard, part, step);
    }
    STORE(counts->told_allocated, (uint64_t)total.allocated);
    STORE(counts->told_freed, (uint64_t)total.freed);
    return step;
}

static void hand_over(struct mt_core *core, struct mt_group_part *part, struct mt_group_step all,
                      struct mt_group_range range)
{
    struct mt_group *group = &core->segment->groups[part->kind][part->id];
    struct mt_group_step own = {part->allocated, part->freed};
    struct mt_group_bounds bounds = mt_group_bounds_of(own, all, range);
    int64_t before = mt_alone_add_signed(&group->current_bytes, own.allocated - own.freed);
    raise_peak(core, group, before + bounds.least, before + bounds.most);
    if (bounds.lag > LOAD(part->lag_bytes)) STORE(part->lag_bytes, bounds.lag);
}

static void look(struct mt_core *core, struct mt_shard *shard)
{
    struct mt_group_step all = {0, 0};
    shard->look++;
    shard->touched = 0;
    for (struct mt_origin_counts *row = at(core, LOAD(shard->origins)); row; row = at(core, row->next)) {
        if (!row->is_open && !row->is_changed && row->told_large == large_calls(row)) continue;
        struct mt_group_step step = look_at_row(core, shard, row);
        all.allocated += step.allocated;
        all.freed += step.freed;
    }
    struct mt_group_range range = mt_group_range_of(shard, (int64_t)core->segment->globals.batch_bytes, all);
    for (struct mt_group_part *part = at(core, shard->touched); part; part = at(core, part->next_touched))
        hand_over(core, part, all, range);
}

void mt_groups_look(struct mt_core *core, struct mt_shard *shard)
{
    if (!shard->is_followed || shard->is_looking) return;
    shard->is_looking = 1;
    atomic_signal_fence(memory_order_seq_cst);
    look(core, shard);
    atomic_signal_fence(memory_order_seq_cst);
    shard->is_looking = 0;
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
        struct mt_group *group = &core->segment->groups[kind][id_of(core, kind, counts->origin)];
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
        struct mt_group *group = &core->segment->groups[kind][id_of(core, kind, origin)];
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
