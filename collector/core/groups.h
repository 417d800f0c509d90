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

/* How far all of a thread's bytes went above and below where they were at its last look. */
struct mt_group_range {
    int64_t rise, fall;
    int64_t batch; /* how far they can have gone before the call that ended the step */
};

/* What that says of one group. */
struct mt_group_bounds {
    int64_t least, most; /* its highest point was between these above where it was */
    int64_t lag;         /* it was never further away from there before the call that ended the step */
};

/*
 * The range of a shard's owner now; flushed, high: what they were before a
 * flush changes them. all: the sum over its groups of one kind. Where the two
 * do not agree, other blocks than those of origins changed too, and the range
 * says nothing of a group: rise and fall are then those of all that may be.
 */
struct mt_group_range mt_group_range_of(const struct mt_shard *shard, int64_t batch_bytes,
                                        struct mt_group_step all);
struct mt_group_bounds mt_group_bounds_of(struct mt_group_step own, struct mt_group_step all,
                                          struct mt_group_range range);

/* What a row of counts holds of usable bytes that were ever allocated and freed; classes: only those marked as
 * used. */
struct mt_group_step mt_group_total(const struct mt_origin_counts *counts);

/* A look by the owner of a shard that is not shard 0, in the middle of a flush. */
void mt_groups_look(struct mt_core *core, struct mt_shard *shard);
/* Bytes that are counted in a row of shard 0, at once; and what was live of an origin at the fork that made the
 * process. */
void mt_groups_add(struct mt_core *core, struct mt_origin_counts *counts, int64_t bytes);
void mt_groups_inherit(struct mt_core *core, unsigned origin, int64_t bytes);
/* A new origin: finds the group of its tag. Before the origin is published. */
void mt_groups_join(struct mt_core *core, struct mt_origin *origin);

static inline void mt_groups_use(struct mt_origin_counts *counts, unsigned class)
{
    if (class < 64)
        counts->used |= UINT64_C(1) << class;
    else
        counts->used_above |= (uint8_t)(1u << (class - 64));
}

/* A bin counts in a cell of this row from now on; and something else did. By the row's owner. */
static inline void mt_groups_open(struct mt_shard *shard, struct mt_origin_counts *counts, unsigned class)
{
    mt_groups_use(counts, class);
    counts->is_open = 1;
    shard->is_followed = 1;
}
static inline void mt_groups_changed(struct mt_shard *shard, struct mt_origin_counts *counts, unsigned class)
{
    mt_groups_use(counts, class);
    counts->is_changed = 1;
    shard->is_followed = 1;
}

#endif
