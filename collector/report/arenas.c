/*
 * Reads the sites of arenas and their counters out of a segment. See arenas.h.
 */
#include "arenas.h"

#include <errno.h>
#include <stdlib.h>

#define GET(field) atomic_load_explicit(&(field), memory_order_relaxed)

static void add_counts(struct mt_arena_sum *sum, const struct mt_origin_counts *counts)
{
    for (unsigned class = 0; class < MT_POOL_CLASSES; class ++) {
        const struct mt_origin_cell *cell = &counts->classes[class];
        uint64_t allocations = GET(cell->allocation_count), frees = GET(cell->free_count);
        sum->allocation_count += allocations;
        sum->free_count += frees;
        sum->requested_bytes += GET(cell->requested_bytes);
        sum->live_bytes += (int64_t)(allocations - frees) * (int64_t)mt_class_bytes(class);
    }
}

/* The rows that one shard counts in. A damaged file may have a ring: at most as many as there can be. */
static int add_shard(struct mt_arenas *arenas, const struct mt_segment_file *file, const struct mt_shard *shard)
{
    struct mt_origin_counts counts;
    uint64_t offset = GET(shard->origins);
    for (unsigned i = 0; offset && i < MT_ORIGIN_MAX + MT_ARENA_SITE_MAX; i++, offset = counts.next) {
        if (offset % 64 || offset < sizeof(struct mt_segment) || offset > file->file_bytes - sizeof counts)
            return -EINVAL;
        int error = mt_segment_file_read(file, offset, &counts, sizeof counts);
        if (error) return error;
        if (counts.site && counts.site < MT_ARENA_SITE_MAX) add_counts(&arenas->sums[counts.site], &counts);
    }
    return 0;
}

int mt_arenas_take(struct mt_arenas **arenas, const struct mt_segment_file *file, const struct mt_segment *copy,
                   uint32_t shard_limit)
{
    uint64_t offset = GET(copy->pools.arena_sites);
    *arenas = NULL;
    if (!offset) return 0;
    if (offset % 64 || offset < sizeof *copy || offset > file->file_bytes - sizeof(*arenas)->sites) return -EINVAL;
    struct mt_arenas *found = aligned_alloc(64, (sizeof *found + 63) & ~(size_t)63);
    if (!found) return -ENOMEM;
    for (unsigned i = 0; i < MT_ARENA_SITE_MAX; i++) found->sums[i] = (struct mt_arena_sum){0};
    int error = mt_segment_file_read(file, offset, found->sites, sizeof found->sites);
    for (uint32_t i = 0; i < shard_limit && !error; i++) error = add_shard(found, file, &copy->shards[i]);
    if (error)
        free(found);
    else
        *arenas = found;
    return error;
}
