/*
 * Groups of origins and their own peaks: the highest that one origin, one
 * calling module or one tag ever held, whatever the others did meanwhile.
 *
 * The allocation path knows nothing of them. When a thread hands its change to
 * the process's total (a flush, see shard.h) it looks through what it counts by
 * origin, adds what changed since its last look to the groups, and raises their
 * peaks. What happened between two looks is known within bounds: what was
 * allocated and freed of each group, and how far all of the thread's bytes rose
 * and fell. Where one group alone changed, its bounds meet, and the peak is
 * exact; otherwise the reader states the difference.
 *
 * The owner of a shard calls mt_groups_look(), any thread the rest. No lock;
 * nothing here allocates from the program's heap; errno is preserved.
 */
#ifndef MT_GROUPS_H
#define MT_GROUPS_H

#include "core.h"

/* Usable bytes that were allocated and freed since the last look. */
struct mt_group_step {
    int64_t allocated, freed;
};

/*
 * How far all of a thread's bytes went above and below where they were at its
 * last look; and the same before the call that ended the step.
 */
struct mt_group_range {
    int64_t rise, fall;
    int64_t rise_before, fall_before;
};

/* What that says of one group. */
struct mt_group_bounds {
    int64_t least, most; /* its highest point was between these above where it was */
    int64_t lag;         /* it was never further away from there before the call that ended the step */
};

static inline int64_t mt_group_load(const _Atomic int64_t *field)
{
    return atomic_load_explicit(field, memory_order_relaxed);
}

static inline int64_t mt_group_least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t mt_group_most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/*
 * The range of a shard's owner now, before a flush changes what was flushed.
 * all: the sum over its groups of one kind. Where that and the shard do not
 * agree, other blocks than those of origins changed too, and the range says
 * nothing of a group: it is then that of all that may be.
 */
static inline struct mt_group_range mt_group_range_of(const struct mt_shard *shard, int64_t batch_bytes,
                                                      struct mt_group_step all)
{
    int64_t live = mt_group_load(&shard->live_bytes), from = mt_group_load(&shard->look_bytes),
            flushed = mt_group_load(&shard->flushed_bytes);
    int64_t high = mt_group_load(&shard->look_high_bytes), low = mt_group_load(&shard->look_low_bytes);
    if (live - from != all.allocated - all.freed)
        return (struct mt_group_range){all.allocated, all.freed, all.allocated, all.freed};
    int64_t high_before = mt_group_most(high, flushed + batch_bytes),
            low_before = mt_group_least(low, flushed - batch_bytes);
    high = mt_group_most(mt_group_most(high, live), mt_group_load(&shard->high_bytes));
    return (struct mt_group_range){high - from, from - mt_group_least(low_before, live), high_before - from,
                                   from - low_before};
}

/* See struct mt_group_bounds. */
static inline struct mt_group_bounds mt_group_bounds_of(struct mt_group_step own, struct mt_group_step all,
                                                        struct mt_group_range range)
{
    int64_t others_allocated = all.allocated - own.allocated, others_freed = all.freed - own.freed;
    int64_t most = mt_group_most(0, mt_group_least(own.allocated, range.rise + others_freed));
    int64_t down = mt_group_most(0, mt_group_least(own.freed, range.fall + others_allocated));
    int64_t least = mt_group_most(0, mt_group_most(own.allocated - own.freed, range.rise - others_allocated));
    return (struct mt_group_bounds){mt_group_least(least, most), most,
                                    mt_group_most(mt_group_least(most, range.rise_before + others_freed),
                                                  mt_group_least(down, range.fall_before + others_allocated))};
}

/*
 * A number for what was counted: requested bytes, which every allocation adds to, and live ones, which every free
 * takes from. The print of a shard is the sum of those of its parts, and one that stays the same says that nothing
 * was counted there (but for blocks of 0 bytes that came and went).
 */
static inline uint64_t mt_group_print(uint64_t requested_bytes, int64_t live_bytes)
{
    return requested_bytes + (uint64_t)live_bytes * UINT64_C(0x9e3779b97f4a7c15); /* 2^64 / golden ratio */
}

/* Of the classes of a row: and how often something was allocated and freed. */
struct mt_group_told {
    uint64_t print, calls;
};

/* What the classes of a row that are marked as used hold of usable bytes that were ever allocated and freed. */
struct mt_group_step mt_group_of_classes(const struct mt_origin_counts *counts, struct mt_group_told *told);
/* The same of its large blocks. */
static inline struct mt_group_step mt_group_of_large(const struct mt_origin_counts *counts)
{
    return (struct mt_group_step){
        (int64_t)atomic_load_explicit(&counts->large_allocated_bytes, memory_order_relaxed),
        (int64_t)atomic_load_explicit(&counts->large_freed_bytes, memory_order_relaxed)};
}

/*
 * A look by the owner of a shard that is not shard 0, in the middle of a flush.
 * Where little has happened since the last one it only takes down how far the
 * thread's bytes went: fewer calls and fewer batches than these, or, with
 * several threads, less than their share of a 32nd of the most that the process
 * ever held. A look costs about as much as 10 calls; what is not handed over yet
 * is part of the error as soon as there are several threads.
 */
enum {
    MT_GROUP_CALLS = 512,
    MT_GROUP_BATCHES = 4,
    MT_GROUP_BATCHES_ALONE = 64,
    MT_GROUP_PARTS = 32,
    MT_GROUP_FLUSHES = 32,
    MT_GROUP_SAMPLES = 8 /* without a count of calls, where these are few */
};
void mt_groups_look(struct mt_core *core, struct mt_shard *shard);
/* So many calls have come since the last look that a flush should look: all, and those that no cell counts, which
 * are large blocks before all. By the shard's owner. */
bool mt_groups_are_many(const struct mt_core *core, struct mt_shard *shard);
static inline bool mt_groups_are_many_large(const struct mt_shard *shard)
{
    return atomic_load_explicit(&shard->allocation_count, memory_order_relaxed) +
               atomic_load_explicit(&shard->free_count, memory_order_relaxed) - shard->look_kept_calls >=
           MT_GROUP_CALLS;
}
/* Bytes that are counted in a row of shard 0, at once; and what was live of an origin at the fork that made the
 * process. */
void mt_groups_add(struct mt_core *core, struct mt_origin_counts *counts, int64_t bytes);
void mt_groups_inherit(struct mt_core *core, unsigned origin, int64_t bytes);
/* A new origin: finds the group of its tag. Before the origin is published. */
void mt_groups_join(struct mt_core *core, struct mt_origin *origin);

static inline void mt_groups_use(struct mt_origin_counts *counts, unsigned class)
{
    uint64_t used = atomic_load_explicit(&counts->used, memory_order_relaxed);
    uint8_t above = atomic_load_explicit(&counts->used_above, memory_order_relaxed);
    if (class < 64)
        atomic_store_explicit(&counts->used, used | UINT64_C(1) << class, memory_order_relaxed);
    else
        atomic_store_explicit(&counts->used_above, (uint8_t)(above | 1u << (class - 64)), memory_order_relaxed);
}

/* Bins, or an arena, count in cells of this row from now on: which class is used is told, or found out. By the
 * row's owner. */
static inline void mt_groups_open(struct mt_shard *shard, struct mt_origin_counts *counts)
{
    counts->is_open = 1;
    shard->is_followed = 1;
}

/* Something else counted in it. */
static inline void mt_groups_changed(struct mt_shard *shard, struct mt_origin_counts *counts, unsigned class)
{
    mt_groups_use(counts, class);
    counts->is_changed = 1;
    shard->is_followed = 1;
}

#endif
