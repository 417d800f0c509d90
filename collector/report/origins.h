/*
 * What a segment says about origins: who allocated, exactly. Copied out of its
 * file; belongs to a snapshot and to its thread. Empty where the pools do not
 * serve.
 */
#ifndef MT_REPORT_ORIGINS_H
#define MT_REPORT_ORIGINS_H

#include "origin.h"
#include "segment_file.h"

struct mt_class_sum {
    uint64_t allocation_count, free_count, requested_bytes; /* cumulative */
};

struct mt_origins_copy {
    bool knows_live; /* false where the next allocator serves: only allocations are counted then */
    size_t count;    /* origins 0 .. count - 1; 0 = nothing was counted by origin */
    struct mt_origin *rows;
    struct mt_origin_sum *sums;
    char (*scopes)[MT_SCOPE_BYTES];
    uint64_t budgets[MT_SCOPE_MAX];                              /* of tags, as the program gave them; 0 = none */
    struct mt_class_sum slab_classes[MT_POOL_CLASSES];           /* blocks that lie in slabs */
    uint64_t large_requested_bytes, large_requested_freed_bytes; /* TLSF blocks and mappings */
    uint64_t large_allocation_count, large_free_count;
    int64_t large_live_bytes;
};

/*
 * Copies them. What the shards' origins count in size classes is added to the
 * sums and classes of the shards, which are the snapshot's own copies, so that those
 * hold everything; they still name the rows. Returns 0 or -errno; -EINVAL when an offset lies outside the file.
 */
int mt_origins_take(struct mt_origins_copy *origins, const struct mt_segment_file *file, struct mt_shard *shards,
                    uint32_t shard_count);
/* That addition alone. */
int mt_origins_fold(const struct mt_segment_file *file, struct mt_shard *shards, uint32_t shard_count);
void mt_origins_free(struct mt_origins_copy *origins);

/*
 * Copies one row. Its sums of large blocks then hold those of its cells for
 * sizes too, which are also added to the classes of the shard's copy; shard may
 * be NULL. Returns 0 or -errno, as above.
 */
int mt_origins_read_row(const struct mt_segment_file *file, uint64_t offset, struct mt_origin_counts *row,
                        struct mt_shard *shard);

#endif
