/*
 * Origins: small numbers for who allocates. An origin is a calling module, the
 * name of the thread and the context in force (scope.h), interned in the segment
 * once and then known by its id; each shard counts for the origins it meets.
 *
 * Any thread unless said otherwise. Nothing here allocates from the program's
 * heap; all preserve errno.
 */
#ifndef MT_ORIGIN_H
#define MT_ORIGIN_H

#include "core.h"
#include "scope.h"

/* ---- origins -------------------------------------------------------------------- */

/*
 * The id of an origin, made when new. module is a row of the module table + 1,
 * 0 where the caller lies in none. 0, which means "(other)", when the table is
 * full (counted).
 */
unsigned mt_origin_find(struct mt_core *core, uint32_t module, const char *thread, uint32_t context);

/*
 * Where a shard counts for an origin; made when new. Only the shard's owner
 * calls it, any thread for shard 0. NULL when there is no memory (counted).
 */
struct mt_origin_counts *mt_origin_counts(struct mt_core *core, struct mt_shard *shard, unsigned origin);
/* The same for the blocks of one arena site, which has the origin; 0 = of none. */
struct mt_origin_counts *mt_origin_counts_of_site(struct mt_core *core, struct mt_shard *shard, unsigned origin,
                                                  unsigned site);

/*
 * What is live by origin, kept before a fork for the child; and put into the
 * child's new segment, with the origins and modules of the parent, whose ids
 * the inherited blocks carry. One thread.
 */
void mt_origin_before_fork(struct mt_core *core);
/* Between the two the segment is replaced. kept is NULL where there is nothing to keep. */
struct mt_origin_kept *mt_origin_keep(struct mt_core *core);
void mt_origin_restore(struct mt_core *core, struct mt_origin_kept *kept);

/* ---- reading --------------------------------------------------------------------- */

struct mt_origin_sum {
    uint64_t allocation_count, free_count;
    uint64_t requested_bytes; /* cumulative */
    int64_t live_bytes;       /* usable, without what was inherited */
};

/*
 * Adds what all shards counted by origin to sums[MT_ORIGIN_MAX]. bytes: how
 * much of the segment is mapped; rows that do not lie in it are left out.
 */
void mt_origins_sum(const struct mt_segment *segment, uint64_t bytes, struct mt_origin_sum *sums);
/* Adds one row. */
void mt_origin_add_counts(const struct mt_segment *segment, uint64_t bytes, struct mt_origin_sum *sum,
                          const struct mt_origin_counts *counts);
/* The rows of one shard, one after the other; NULL ends them. */
const struct mt_origin_counts *mt_origin_counts_next(const struct mt_segment *segment, uint64_t bytes,
                                                     const struct mt_shard *shard,
                                                     const struct mt_origin_counts *previous);

#endif
