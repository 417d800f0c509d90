/*
 * Copies the table of origins and their counters out of a segment's file. See origins.h.
 */
#include "origins.h"

#include "size_counts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define GET(field) atomic_load_explicit(&(field), memory_order_relaxed)

static void add_to(_Atomic uint64_t *field, uint64_t value)
{
    atomic_store_explicit(field, GET(*field) + value, memory_order_relaxed);
}

static void add_large(struct mt_origins_copy *origins, struct mt_origin_sum *sum,
                      const struct mt_origin_counts *counts)
{
    sum->allocation_count += GET(counts->large_allocation_count);
    sum->free_count += GET(counts->large_free_count);
    sum->requested_bytes += GET(counts->large_requested_bytes);
    int64_t live = (int64_t)(GET(counts->large_allocated_bytes) - GET(counts->large_freed_bytes));
    sum->live_bytes += live;
    origins->large_allocation_count += GET(counts->large_allocation_count);
    origins->large_free_count += GET(counts->large_free_count);
    origins->large_requested_bytes += GET(counts->large_requested_bytes);
    origins->large_requested_freed_bytes += GET(counts->large_requested_freed_bytes);
    origins->large_live_bytes += live;
}

static void add_counts(struct mt_origins_copy *origins, const struct mt_origin_counts *counts)
{
    struct mt_origin_sum *sum = &origins->sums[counts->origin < origins->count ? counts->origin : 0];
    add_large(origins, sum, counts);
    for (unsigned class = 0; class < MT_POOL_CLASSES; class ++) {
        const struct mt_origin_cell *cell = &counts->classes[class];
        uint64_t allocations = GET(cell->allocation_count), frees = GET(cell->free_count);
        sum->allocation_count += allocations;
        sum->free_count += frees;
        sum->requested_bytes += GET(cell->requested_bytes);
        sum->live_bytes += (int64_t)(allocations - frees) * (int64_t)mt_class_bytes(class);
        if (!counts->site) {
            origins->slab_classes[class].allocation_count += allocations;
            origins->slab_classes[class].free_count += frees;
            origins->slab_classes[class].requested_bytes += GET(cell->requested_bytes);
        }
    }
}

/* From here on the copy's sums and classes hold what was counted in cells, too. */
static void fold_cells(struct mt_shard *shard, const struct mt_origin_counts *counts)
{
    for (unsigned class = 0; class < MT_POOL_CLASSES; class ++) {
        uint64_t allocations = GET(counts->classes[class].allocation_count);
        uint64_t frees = GET(counts->classes[class].free_count);
        add_to(&shard->classes[class].allocation_count, allocations);
        add_to(&shard->classes[class].free_count, frees);
        add_to(&shard->allocation_count, allocations);
        add_to(&shard->free_count, frees);
    }
}

/* From here on the copy's sums and classes hold what was counted by step, and its steps nothing. */
static void fold_steps(struct mt_shard *shard)
{
    if (!GET(shard->is_stepped)) return;
    for (unsigned n = 1; n < MT_STEP_COUNT; n++) {
        uint64_t allocations = GET(shard->steps[n].allocation_count), frees = GET(shard->steps[n].free_count);
        unsigned class = mt_class_of(16 * n - 8);
        add_to(&shard->classes[class].allocation_count, allocations);
        add_to(&shard->classes[class].free_count, frees);
        add_to(&shard->allocation_count, allocations);
        add_to(&shard->free_count, frees);
    }
    memset(shard->steps, 0, sizeof shard->steps);
}

static bool is_inside(const struct mt_segment_file *file, uint64_t offset, size_t bytes)
{
    return offset >= sizeof(struct mt_segment) && offset % 64 == 0 && offset <= file->file_bytes &&
           file->file_bytes - offset >= bytes;
}

static void add_cell(struct mt_origin_counts *row, struct mt_shard *shard, const struct mt_size_counts *cell)
{
    struct mt_large_sum sum = {0};
    mt_size_counts_add(&sum, cell);
    add_to(&row->large_allocation_count, sum.allocation_count);
    add_to(&row->large_free_count, sum.free_count);
    add_to(&row->large_requested_bytes, sum.requested_bytes);
    add_to(&row->large_requested_freed_bytes, sum.requested_freed_bytes);
    add_to(&row->large_allocated_bytes, sum.allocated_bytes);
    add_to(&row->large_freed_bytes, sum.freed_bytes);
    if (!shard) return;
    unsigned class = mt_class_of(cell->usable_bytes);
    add_to(&shard->classes[class].allocation_count, sum.allocation_count);
    add_to(&shard->classes[class].free_count, sum.free_count);
}

int mt_origins_read_row(const struct mt_segment_file *file, uint64_t offset, struct mt_origin_counts *row,
                        struct mt_shard *shard)
{
    if (!is_inside(file, offset, sizeof *row)) return -EINVAL;
    int error = mt_segment_file_read(file, offset, row, sizeof *row);
    uint64_t at = error ? 0 : (uint64_t)GET(row->sizes) * 64;
    for (unsigned n = 0; at && !error && n < MT_SIZE_COUNTS_MAX; n++) { /* a damaged file may have a ring */
        struct mt_size_counts cell;
        if (!is_inside(file, at, sizeof cell)) return -EINVAL;
        error = mt_segment_file_read(file, at, &cell, sizeof cell);
        if (!error) add_cell(row, shard, &cell);
        at = (uint64_t)cell.next * 64;
    }
    return error;
}

/* origins: NULL, or what the rows are added to. */
static int read_shard(struct mt_origins_copy *origins, const struct mt_segment_file *file, struct mt_shard *shard)
{
    uint64_t offset = GET(shard->origins);
    for (unsigned n = 0; offset && n < 2 * MT_ORIGIN_MAX; n++) { /* a damaged file may have a ring */
        struct mt_origin_counts counts;
        int error = mt_origins_read_row(file, offset, &counts, shard);
        if (error) return error;
        if (origins) add_counts(origins, &counts);
        fold_cells(shard, &counts);
        offset = counts.next;
    }
    return 0;
}

static int read_table(struct mt_origins_copy *origins, const struct mt_segment_file *file, uint32_t count)
{
    uint64_t at = offsetof(struct mt_segment, origins);
    origins->rows = aligned_alloc(64, count * sizeof *origins->rows);
    origins->sums = calloc(count, sizeof *origins->sums);
    if (!origins->rows || !origins->sums) return -ENOMEM;
    origins->count = count;
    int error = mt_segment_file_read(file, at + offsetof(struct mt_origins, rows), origins->rows,
                                     count * sizeof *origins->rows);
    for (uint32_t i = 0; i < count; i++) {
        origins->rows[i].thread[MT_ORIGIN_THREAD_BYTES - 1] = 0;
        if (origins->rows[i].scope >= MT_SCOPE_MAX) origins->rows[i].scope = 0;
    }
    return error;
}

/* Of scopes and tags; objects have tags too, also where nothing is counted by origin. */
static int read_names(struct mt_origins_copy *origins, const struct mt_segment_file *file)
{
    origins->scopes = calloc(MT_SCOPE_MAX, MT_SCOPE_BYTES);
    if (!origins->scopes) return -ENOMEM;
    int error = mt_segment_file_read(file,
                                     offsetof(struct mt_segment, origins) + offsetof(struct mt_origins, scopes),
                                     origins->scopes, (size_t)MT_SCOPE_MAX * MT_SCOPE_BYTES);
    for (unsigned i = 0; i < MT_SCOPE_MAX; i++) origins->scopes[i][MT_SCOPE_BYTES - 1] = 0;
    if (error) return error;
    return mt_segment_file_read(file, offsetof(struct mt_segment, origins) + offsetof(struct mt_origins, budgets),
                                origins->budgets, sizeof origins->budgets);
}

int mt_origins_take(struct mt_origins_copy *origins, const struct mt_segment_file *file, struct mt_shard *shards,
                    uint32_t shard_count)
{
    uint32_t count = 0;
    memset(origins, 0, sizeof *origins);
    int error = mt_segment_file_read(
        file, offsetof(struct mt_segment, origins) + offsetof(struct mt_origins, count), &count, sizeof count);
    if (error) return error;
    for (uint32_t i = 0; i < shard_count; i++) fold_steps(&shards[i]);
    error = read_names(origins, file);
    if (!error && count) error = count > MT_ORIGIN_MAX ? -EINVAL : read_table(origins, file, count);
    for (uint32_t i = 0; i < shard_count && count && !error; i++) error = read_shard(origins, file, &shards[i]);
    if (error) mt_origins_free(origins);
    return error;
}

int mt_origins_fold(const struct mt_segment_file *file, struct mt_shard *shards, uint32_t shard_count)
{
    int error = 0;
    for (uint32_t i = 0; i < shard_count && !error; i++) error = read_shard(NULL, file, &shards[i]);
    return error;
}

void mt_origins_free(struct mt_origins_copy *origins)
{
    free(origins->rows);
    free(origins->sums);
    free(origins->scopes);
    memset(origins, 0, sizeof *origins);
}
