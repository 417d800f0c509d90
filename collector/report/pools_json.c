/*
 * The part cpu.pools of the report: what each pool holds, and how much of it
 * is no program's data. Built out of a snapshot. One thread.
 */
#include "pools_json.h"

#include "arena_json.h"
#include "human.h"
#include "json_build.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- slabs by size class -------------------------------------------------------- */

/* Whether the slack of live blocks is estimated: from sampled blocks, of which those before a fork are not known.
 */
static bool knows_slack(const struct mt_snapshot *snapshot)
{
    return snapshot->origins.count && snapshot->stacks.mode == MT_STACKS_SAMPLED &&
           !snapshot->segment->globals.inherited_count;
}

static int64_t live_count(const struct mt_snapshot *snapshot, unsigned class)
{
    const struct mt_class_sum *sum = &snapshot->origins.slab_classes[class];
    return (int64_t)(sum->allocation_count - sum->free_count);
}

/* Like all sums here modulo 2^64: a damaged segment may hold any numbers. */
static int64_t live_bytes(const struct mt_snapshot *snapshot, unsigned class)
{
    return (int64_t)((uint64_t)live_count(snapshot, class) * mt_class_bytes(class));
}

/* At least 0 and at most what the blocks can hold; sampled arena blocks are part of it. */
static int64_t slack_of(const struct mt_snapshot *snapshot, unsigned class)
{
    int64_t live = live_bytes(snapshot, class);
    int64_t slack = snapshot->stacks.live_slack_bytes[class];
    return slack < 0 ? 0 : slack > live ? (live > 0 ? live : 0) : slack;
}

static int64_t excess(int64_t reserved, int64_t used)
{
    return reserved > used ? (int64_t)((uint64_t)reserved - (uint64_t)used) : 0;
}

static json_t *class_json(const struct mt_snapshot *snapshot, unsigned class)
{
    const struct mt_class_sum *sum = &snapshot->origins.slab_classes[class];
    const struct mt_pool_class *slabs = &snapshot->segment->pools.classes[class];
    int64_t reserved = (int64_t)MT_GET(slabs->reserved_bytes), count = live_count(snapshot, class);
    int64_t used = live_bytes(snapshot, class);
    bool has_inherited = snapshot->segment->globals.inherited_count != 0;
    json_t *row = json_object();
    mt_json_set_u64(row, "max_bytes", mt_class_bytes(class));
    mt_json_set_i64(row, "current_count", count);
    mt_json_set_u64(row, "allocation_count", sum->allocation_count);
    mt_json_set_u64(row, "total_bytes", sum->requested_bytes);
    mt_json_set_u64(row, "slab_count", MT_GET(slabs->slab_count));
    mt_json_set_i64(row, "reserved_bytes", reserved);
    mt_json_set_i64(row, "used_bytes", used);
    mt_json_set(row, "external_bytes", has_inherited ? NULL : json_integer(excess(reserved, used)));
    mt_json_set(row, "internal_bytes", knows_slack(snapshot) ? json_integer(slack_of(snapshot, class)) : NULL);
    return row;
}

static json_t *classes_json(const struct mt_snapshot *snapshot)
{
    json_t *rows = json_array();
    for (unsigned i = 0; i < MT_POOL_CLASSES; i++)
        if (MT_GET(snapshot->segment->pools.classes[i].slab_count) ||
            snapshot->origins.slab_classes[i].allocation_count)
            json_array_append_new(rows, class_json(snapshot, i));
    return rows;
}

/* ---- fragmentation ------------------------------------------------------------------ */

struct use {
    uint64_t slab_reserved, slab_used, slab_slack;
    uint64_t large_slack;
};

static struct use use_of(const struct mt_snapshot *snapshot)
{
    const struct mt_origins_copy *origins = &snapshot->origins;
    struct use use = {.large_slack = (uint64_t)origins->large_live_bytes -
                                     (origins->large_requested_bytes - origins->large_requested_freed_bytes)};
    for (unsigned i = 0; i < MT_POOL_CLASSES; i++) {
        use.slab_reserved += MT_GET(snapshot->segment->pools.classes[i].reserved_bytes);
        use.slab_used += (uint64_t)live_bytes(snapshot, i);
        use.slab_slack += (uint64_t)slack_of(snapshot, i);
    }
    return use;
}

/* The most that the live blocks in slabs can leave unused: all but one byte of the step to the class below. */
static double most_slack(const struct mt_snapshot *snapshot)
{
    double most = 0;
    for (unsigned i = 0; i < MT_POOL_CLASSES; i++) {
        uint64_t step = mt_class_bytes(i) - (i ? mt_class_bytes(i - 1) : 0);
        if (live_count(snapshot, i) > 0) most += (double)live_count(snapshot, i) * (double)(step - 1);
    }
    return most;
}

/*
 * Half the width of the 95 % interval of the slabs' slack. Blocks of three
 * times the sampling rate go without any sample in 5 of 100 cases, so theirs
 * is not known (the rule of three).
 */
static int64_t slack_error(const struct mt_snapshot *snapshot, uint64_t used_bytes)
{
    double variance = (double)snapshot->stacks.live_slack_variance, most = most_slack(snapshot);
    double error = variance > 0 ? 1.96 * sqrt(variance) : 0;
    double unseen = 3 * (double)snapshot->stacks.rate_bytes;
    if (unseen >= (double)used_bytes) return llround(fmax(error, most));
    return llround(fmax(error, most * unseen / (double)used_bytes));
}

static json_t *fragmentation_json(const struct mt_snapshot *snapshot)
{
    struct use use = use_of(snapshot);
    bool has_inherited = snapshot->segment->globals.inherited_count != 0, is_known = knows_slack(snapshot);
    int64_t external = excess((int64_t)use.slab_reserved, (int64_t)use.slab_used);
    json_t *part = json_object();
    mt_json_set(part, "slab_internal_bytes", is_known ? json_integer((int64_t)use.slab_slack) : NULL);
    mt_json_set(part, "slab_internal_error_bytes",
                is_known ? json_integer(slack_error(snapshot, use.slab_used)) : NULL);
    mt_json_set(part, "slab_external_bytes", has_inherited ? NULL : json_integer(external));
    mt_json_set(part, "large_internal_bytes", has_inherited ? NULL : json_integer((int64_t)use.large_slack));
    return part;
}

json_t *mt_pools_requested_json(const struct mt_snapshot *snapshot)
{
    struct use use = use_of(snapshot);
    if (!MT_GET(snapshot->segment->pools.is_on) || !knows_slack(snapshot)) return NULL;
    return json_integer((int64_t)((uint64_t)snapshot->cpu.live_bytes - use.slab_slack - use.large_slack));
}

/* ---- the pools ------------------------------------------------------------------------ */

static json_t *slab_json(const struct mt_snapshot *snapshot, const struct mt_pools *pools)
{
    json_t *part = json_object();
    uint64_t used = MT_GET(pools->slab_used_bytes);
    uint64_t arenas = MT_GET(pools->arena_chunk_count) * MT_ARENA_CHUNK_BYTES;
    mt_json_set_u64(part, "reserved_bytes", MT_GET(pools->slab_reserved_bytes));
    mt_json_set_u64(part, "used_bytes", used > arenas ? used - arenas : 0);
    mt_json_set_u64(part, "dirty_bytes", MT_GET(pools->slab_dirty_bytes));
    mt_json_set_u64(part, "purged_bytes", MT_GET(pools->slab_purged_bytes));
    mt_json_set_u64(part, "purge_count", MT_GET(pools->slab_purge_count));
    mt_json_set_u64(part, "huge_page_bytes", MT_GET(pools->slab_huge_page_bytes));
    mt_json_set_u64(part, "remote_free_count", MT_GET(pools->remote_free_count));
    mt_json_set_u64(part, "remote_batch_count", MT_GET(pools->remote_batch_count));
    mt_json_set_u64(part, "heap_count", MT_GET(pools->heap_count));
    mt_json_set_u64(part, "absorbed_heap_count", MT_GET(pools->absorbed_heap_count));
    mt_json_set(part, "classes", classes_json(snapshot));
    return part;
}

#define TLSF_SUM(field)                                                                                            \
    (MT_GET(pools->tlsf[0].field) + MT_GET(pools->tlsf[1].field) + MT_GET(pools->tlsf[2].field) +                  \
     MT_GET(pools->tlsf[3].field))

static json_t *tlsf_json(const struct mt_pools *pools)
{
    json_t *part = json_object();
    mt_json_set_u64(part, "reserved_bytes", MT_GET(pools->tlsf_reserved_bytes));
    mt_json_set_u64(part, "used_bytes", TLSF_SUM(used_bytes));
    mt_json_set_u64(part, "dirty_bytes", TLSF_SUM(dirty_bytes));
    mt_json_set_u64(part, "chunk_count", MT_GET(pools->tlsf_chunk_count));
    mt_json_set_u64(part, "used_count", TLSF_SUM(used_count));
    mt_json_set_u64(part, "free_count", TLSF_SUM(free_count));
    mt_json_set_u64(part, "largest_free_bytes", MT_GET(pools->tlsf_largest_free_bytes));
    mt_json_set_u64(part, "allocation_count", TLSF_SUM(allocation_count));
    mt_json_set_u64(part, "resize_count", MT_GET(pools->tlsf_resize_count));
    mt_json_set_u64(part, "purged_bytes", MT_GET(pools->tlsf_purged_bytes));
    mt_json_set_u64(part, "purge_count", MT_GET(pools->tlsf_purge_count));
    return part;
}

static json_t *huge_json(const struct mt_pools *pools)
{
    json_t *part = json_object();
    mt_json_set_u64(part, "current_bytes", MT_GET(pools->huge_bytes));
    mt_json_set_u64(part, "current_count", MT_GET(pools->huge_count));
    mt_json_set_u64(part, "allocation_count", MT_GET(pools->huge_allocation_count));
    mt_json_set_u64(part, "remap_count", MT_GET(pools->huge_remap_count));
    return part;
}

json_t *mt_pools_json(const struct mt_snapshot *snapshot)
{
    const struct mt_pools *pools = &snapshot->segment->pools;
    const char *next = snapshot->segment->process.next_allocator;
    bool on = MT_GET(pools->is_on) == 1;
    char reason[400];
    snprintf(reason, sizeof reason, "requests are counted and passed to %s", *next ? next : "the next allocator");
    json_t *part = json_object();
    mt_json_set_text(part, "mode", on ? "on" : "off");
    mt_json_set_text(part, "reason", pools->reason[0] ? pools->reason : reason);
    mt_json_set(part, "fragmentation", on ? fragmentation_json(snapshot) : json_object());
    mt_json_set(part, "slab", on ? slab_json(snapshot, pools) : json_object());
    mt_json_set(part, "tlsf", on ? tlsf_json(pools) : json_object());
    mt_json_set(part, "huge", on ? huge_json(pools) : json_object());
    mt_json_set(part, "arena", on ? mt_arena_json(snapshot) : json_object());
    return part;
}

/* ---- text -------------------------------------------------------------------------------- */

static void print_bytes(FILE *out, const json_t *row, const char *key, int width)
{
    char text[MT_HUMAN_BYTES];
    const json_t *value = mt_json_get(row, key);
    fprintf(out, " %*s", width, json_is_integer(value) ? mt_human_bytes(text, json_integer_value(value)) : "-");
}

static void print_class(FILE *out, const json_t *row)
{
    char count[MT_HUMAN_BYTES], calls[MT_HUMAN_BYTES];
    fprintf(out, "     ");
    print_bytes(out, row, "max_bytes", 10);
    fprintf(out, " %13s %14s", mt_human_count(count, mt_json_get_i64(row, "current_count")),
            mt_human_count(calls, mt_json_get_i64(row, "allocation_count")));
    print_bytes(out, row, "used_bytes", 11);
    print_bytes(out, row, "internal_bytes", 11);
    print_bytes(out, row, "external_bytes", 11);
    print_bytes(out, row, "reserved_bytes", 11);
    fputc('\n', out);
}

/* What is not known, as in a fork's child or without samples, is left out. */
static void print_fragmentation(FILE *out, const json_t *part)
{
    if (json_is_null(mt_json_get(part, "large_internal_bytes"))) return;
    fprintf(out, "    fragmentation: inside live blocks");
    if (!json_is_null(mt_json_get(part, "slab_internal_bytes"))) {
        fprintf(out, " of slabs");
        print_bytes(out, part, "slab_internal_bytes", 0);
        fprintf(out, " (estimated, +-");
        print_bytes(out, part, "slab_internal_error_bytes", 0);
        fprintf(out, "),");
    }
    fprintf(out, " of larger ones");
    print_bytes(out, part, "large_internal_bytes", 0);
    fprintf(out, "; free in slabs");
    print_bytes(out, part, "slab_external_bytes", 0);
    fputc('\n', out);
}

void mt_pools_text(FILE *out, const json_t *pools, size_t rows)
{
    size_t count;
    const json_t *classes = mt_json_get(mt_json_get(pools, "slab"), "classes"),
                 *fragmentation = mt_json_get(pools, "fragmentation");
    struct mt_json_row *sorted = mt_json_sort_rows(classes, "reserved_bytes", &count);
    print_fragmentation(out, fragmentation);
    if (count)
        fprintf(out, "      %10s %13s %14s %11s %11s %11s %11s\n", "block", "live", "allocations", "live bytes",
                "inside free", "between", "slabs");
    for (size_t i = 0; i < count && i < rows; i++) print_class(out, sorted[i].row);
    if (count > rows) fprintf(out, "      ... %zu more size classes\n", count - rows);
    free(sorted);
}
