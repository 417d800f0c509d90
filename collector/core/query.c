/*
 * Answers what a program asks of its own numbers. See query.h. Reads what the
 * report's reader would read; relaxed loads of counters that go on counting.
 */
#include "query.h"

#include "origin.h"
#include "segment.h"
#include "shard.h"
#include "size_counts.h"

#include <string.h>

#define LOAD(field) atomic_load_explicit(&(field), memory_order_relaxed)

static uint64_t not_below_zero(int64_t value)
{
    return value > 0 ? (uint64_t)value : 0;
}

static bool of_all(const struct mt_segment *segment, struct memtrack_statistics *found)
{
    const struct mt_globals *globals = &segment->globals;
    struct mt_shard_sum sum;
    mt_shards_sum(segment, &sum);
    int64_t live = (int64_t)globals->inherited_bytes + sum.live_bytes;
    uint64_t threads = LOAD(globals->live_shards_max);
    *found = (struct memtrack_statistics){
        .known = MEMTRACK_KNOWS_COUNTS | MEMTRACK_KNOWS_CURRENT | MEMTRACK_KNOWS_PEAK,
        .allocation_count = sum.allocation_count,
        .free_count = sum.free_count,
        .total_bytes = sum.requested_bytes,
        .current_bytes = not_below_zero(live),
        .current_count = not_below_zero(
            (int64_t)(globals->inherited_count + sum.allocation_count - sum.free_count)),
        .peak_bytes = not_below_zero(sum.peak_bytes > live ? sum.peak_bytes : live),
        .peak_error_bytes = threads > 1 ? threads * globals->batch_bytes : 0,
    };
    return true;
}

/* What is found out of a tag. */
struct tag_sum {
    struct mt_origin_sum all;
    uint64_t not_handed_bytes; /* allocated since the threads last told the tag's group of it */
    uint64_t lag_bytes;        /* how far threads ever were from what they had told, added up */
    unsigned thread_count;     /* that told anything */
};

static uint64_t not_handed(const struct mt_core *core, const struct mt_origin_counts *counts)
{
    uint64_t allocated = mt_size_counts_sum(core->segment, core->mapped_bytes, counts).allocated_bytes;
    uint64_t told = LOAD(counts->told_allocated);
    for (unsigned class = 0; class < MT_POOL_CLASSES; class ++)
        allocated += LOAD(counts->classes[class].allocation_count) * mt_class_bytes(class);
    told += LOAD(counts->told_large_allocated);
    return allocated > told ? allocated - told : 0;
}

/* What all threads count together in shard 0 is handed over at once. */
static void add_rows(const struct mt_core *core, const struct mt_shard *shard, uint32_t tag, struct tag_sum *sum)
{
    const struct mt_origins *origins = &core->segment->origins;
    const struct mt_origin_counts *counts = NULL;
    while ((counts = mt_origin_counts_next(core->segment, core->mapped_bytes, shard, counts))) {
        if (origins->rows[counts->origin % MT_ORIGIN_MAX].tag_group != tag) continue;
        mt_origin_add_counts(core->segment, core->mapped_bytes, &sum->all, counts);
        if (shard != core->segment->shards) sum->not_handed_bytes += not_handed(core, counts);
    }
}

static void add_lag(const struct mt_core *core, const struct mt_shard *shard, uint32_t tag, struct tag_sum *sum)
{
    /* Acquire pairs with the release of the thread that made the part. */
    uint64_t at = atomic_load_explicit(&shard->group_parts, memory_order_acquire);
    for (const struct mt_group_part *part; at && at < core->mapped_bytes; at = part->next) {
        part = (const struct mt_group_part *)(const void *)((const char *)core->segment + at);
        if (part->kind != MT_GROUP_TAG || part->id != tag) continue;
        sum->lag_bytes += not_below_zero(LOAD(part->lag_bytes));
        sum->thread_count++;
    }
}

/* Between the highest that is known for sure and the highest that may have been; see groups.h. */
static void set_peak(struct mt_core *core, uint32_t tag, const struct tag_sum *sum,
                     struct memtrack_statistics *found)
{
    struct mt_group *group = &core->segment->groups[tag][MT_GROUP_TAG];
    if (!mt_segment_commit(core, group, sizeof *group)) return;
    uint64_t least = not_below_zero(LOAD(group->peak_bytes)), most = not_below_zero(LOAD(group->limit_bytes));
    uint64_t now = not_below_zero(LOAD(group->current_bytes)) + sum->not_handed_bytes;
    uint64_t lag = sum->thread_count > 1 ? sum->lag_bytes + sum->not_handed_bytes : 0;
    if (least < found->current_bytes) least = found->current_bytes;
    if (most < now) most = now;
    found->known |= MEMTRACK_KNOWS_PEAK;
    found->peak_bytes = least;
    found->peak_error_bytes = most > least ? most - least : 0;
    if (found->peak_error_bytes < lag) found->peak_error_bytes = lag;
}

/* What is live of an origin is counted where the pools serve. */
static bool of_tag(struct mt_core *core, uint32_t tag, struct memtrack_statistics *found)
{
    const struct mt_segment *segment = core->segment;
    const struct mt_origins *origins = &segment->origins;
    struct tag_sum found_of = {0};
    const struct mt_origin_sum *sum = &found_of.all;
    uint32_t tables = atomic_load_explicit(&segment->committed_tables, memory_order_acquire);
    if (!(tables & 1u << MT_TABLE_ORIGINS)) return false;
    unsigned limit = LOAD(segment->shard_limit), count = LOAD(origins->count);
    for (unsigned i = 0; i < (limit < MT_SHARD_MAX ? limit : MT_SHARD_MAX); i++) {
        add_rows(core, &segment->shards[i], tag, &found_of);
        add_lag(core, &segment->shards[i], tag, &found_of);
    }
    *found = (struct memtrack_statistics){.known = MEMTRACK_KNOWS_COUNTS,
                                          .allocation_count = sum->allocation_count,
                                          .total_bytes = sum->requested_bytes};
    if (LOAD(segment->pools.is_on) != 1) return true;
    int64_t live_count = (int64_t)(sum->allocation_count - sum->free_count), live_bytes = sum->live_bytes;
    for (unsigned i = 0; i < (count < MT_ORIGIN_MAX ? count : MT_ORIGIN_MAX); i++) {
        if (origins->rows[i].tag_group != tag) continue;
        live_bytes += origins->rows[i].inherited_bytes;
        live_count += origins->rows[i].inherited_count;
    }
    found->known |= MEMTRACK_KNOWS_CURRENT;
    found->free_count = sum->free_count;
    found->current_bytes = not_below_zero(live_bytes);
    found->current_count = not_below_zero(live_count);
    set_peak(core, tag, &found_of, found);
    return true;
}

static bool of_device_heap(const struct mt_segment *segment, uint32_t index, struct memtrack_statistics *found)
{
    unsigned rows = 0;
    for (unsigned word = 0; word < MT_HEAP_MAX / 64; word++) {
        for (uint64_t bits = LOAD(segment->device_heaps[word]); bits; bits &= bits - 1) {
            unsigned row = word * 64 + (unsigned)__builtin_ctzll(bits);
            const struct mt_heap *heap = &segment->heaps[row];
            struct mt_heap_sum sum;
            if (heap->index != index) continue;
            mt_heap_sum(segment, row, &sum);
            rows++;
            found->allocation_count += sum.allocation_count;
            found->free_count += sum.free_count;
            found->total_bytes += sum.total_bytes;
            found->current_bytes += not_below_zero(sum.current_bytes);
            found->current_count += not_below_zero(sum.current_count);
            found->peak_bytes = not_below_zero(sum.peak_bytes);
            found->peak_error_bytes = sum.peak_error_bytes;
            found->size_bytes += heap->size_bytes;
            found->budget_bytes += LOAD(heap->budget_bytes);
            found->usage_bytes += LOAD(heap->usage_bytes);
        }
    }
    found->known = MEMTRACK_KNOWS_COUNTS | MEMTRACK_KNOWS_CURRENT | MEMTRACK_KNOWS_PEAK;
    if (rows > 1) {
        found->known &= ~(uint64_t)MEMTRACK_KNOWS_PEAK; /* that of a sum is not the sum of peaks */
        found->peak_bytes = found->peak_error_bytes = 0;
    }
    if (found->budget_bytes) found->known |= MEMTRACK_KNOWS_BUDGET;
    return rows != 0;
}

int mt_query(struct mt_core *core, enum memtrack_subject subject, const char *tag, uint32_t index,
             struct memtrack_statistics *statistics, size_t bytes)
{
    struct memtrack_statistics found = {0};
    bool is_known = false;
    uint32_t number = subject == MEMTRACK_OF_TAG && tag && *tag ? mt_scope_known_tag(core, tag) : 0;
    if (subject == MEMTRACK_OF_ALL) is_known = of_all(core->segment, &found);
    if (number) is_known = of_tag(core, number, &found);
    if (subject == MEMTRACK_OF_DEVICE_HEAP) is_known = of_device_heap(core->segment, index, &found);
    if (is_known) memcpy(statistics, &found, bytes < sizeof found ? bytes : sizeof found);
    return is_known;
}
