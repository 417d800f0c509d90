/*
 * The table of origins and the counters that each shard keeps for them. Rows
 * are appended and never change once published; writers meet by
 * compare-and-swap on a bucket, readers take no lock. Called on the slow paths
 * of allocation, in fork, and by readers.
 */
#include "origin.h"

#include "groups.h"
#include "module.h"
#include "segment.h"
#include "size_counts.h"

#include <string.h>

#define LOAD(field)             atomic_load_explicit(&(field), memory_order_relaxed)
#define STORE(field, value)     atomic_store_explicit(&(field), value, memory_order_relaxed)
#define FETCH_ADD(field, value) atomic_fetch_add_explicit(&(field), value, memory_order_relaxed)

enum { ROWS_PER_PAGE = 4096 / sizeof(struct mt_origin) };

_Static_assert(sizeof(struct mt_origin) == 64, "whole rows to a page");

/* ---- origins -------------------------------------------------------------------------- */

static uint32_t bucket_of(uint32_t module, const char *thread, struct mt_scope_parts doing)
{
    uint64_t hash = (UINT64_C(0xcbf29ce484222325) ^ module) * UINT64_C(0x100000001b3); /* FNV-1a, 64 bit */
    hash = (hash ^ doing.tag << 16 ^ doing.scope) * UINT64_C(0x100000001b3);
    for (; *thread; thread++) hash = (hash ^ (unsigned char)*thread) * UINT64_C(0x100000001b3);
    return (uint32_t)(hash >> 40) % MT_ORIGIN_BUCKETS;
}

static bool is_origin(const struct mt_origin *row, uint32_t module, const char *thread, struct mt_scope_parts doing)
{
    return row->module == module && row->scope == doing.scope && row->tag == doing.tag &&
           !strcmp(row->thread, thread);
}

/* Looks through a bucket's chain from one id up to, but not with, another. */
static unsigned find_in_chain(const struct mt_origins *origins, uint32_t from, uint32_t end, uint32_t module,
                              const char *thread, struct mt_scope_parts doing)
{
    for (uint32_t id = from; id != end && id && id < MT_ORIGIN_MAX; id = origins->rows[id].next)
        if (is_origin(&origins->rows[id], module, thread, doing)) return id;
    return 0;
}

/* A row that nobody else has, with memory behind it; 0 when there is none. */
static unsigned take_row(struct mt_core *core)
{
    struct mt_origins *origins = &core->segment->origins;
    uint32_t id = LOAD(origins->count);
    do {
        if (id >= MT_ORIGIN_MAX) return 0;
    } while (!atomic_compare_exchange_weak_explicit(&origins->count, &id, id + 1, memory_order_relaxed,
                                                    memory_order_relaxed));
    return mt_segment_commit(core, &origins->rows[id], sizeof origins->rows[id]) ? id : 0;
}

/* Origin 0, for whatever finds no other: written by the one thread that moves the count on from 0. */
static bool start_table(struct mt_core *core)
{
    struct mt_origins *origins = &core->segment->origins;
    if (!mt_segment_commit_table(core, MT_TABLE_ORIGINS)) return false;
    uint32_t unused = 0;
    if (LOAD(origins->count) || !atomic_compare_exchange_strong_explicit(
                                    &origins->count, &unused, 1, memory_order_relaxed, memory_order_relaxed))
        return true;
    mt_format(origins->rows[0].thread, sizeof origins->rows[0].thread, "(other)");
    atomic_store_explicit(&origins->rows[0].state, 1, memory_order_release);
    return true;
}

static unsigned add_origin(struct mt_core *core, _Atomic uint32_t *bucket, uint32_t head, uint32_t module,
                           const char *thread, struct mt_scope_parts doing)
{
    struct mt_origins *origins = &core->segment->origins;
    unsigned id = take_row(core);
    if (!id) {
        mt_core_drop(core, MT_DROPPED_ORIGINS);
        return 0;
    }
    struct mt_origin *row = &origins->rows[id];
    row->module = module;
    row->scope = doing.scope;
    row->tag = doing.tag;
    memcpy(row->thread, thread, strlen(thread) + 1);
    mt_groups_join(core, row);
    mt_scope_tell(core, doing.scope);
    mt_scope_tell(core, doing.tag);
    for (;;) {
        uint32_t seen = head;
        row->next = head;
        /* Release: whoever finds the id sees the row. Pairs with the acquire in mt_origin_find(). */
        if (atomic_compare_exchange_strong_explicit(bucket, &seen, id, memory_order_release, memory_order_acquire))
            break;
        unsigned found = find_in_chain(origins, seen, head, module, thread, doing);
        if (found) return found; /* another thread was faster; the row taken stays empty */
        head = seen;
    }
    atomic_store_explicit(&row->state, 1, memory_order_release);
    return id;
}

unsigned mt_origin_find(struct mt_core *core, uint32_t module, const char *thread, uint32_t context)
{
    struct mt_scope_parts doing = mt_scope_parts(core, context);
    char name[MT_ORIGIN_THREAD_BYTES];
    size_t length = strnlen(thread, sizeof name - 1);
    memcpy(name, thread, length);
    name[length] = 0;
    if (!start_table(core)) return 0;
    struct mt_origins *origins = &core->segment->origins;
    _Atomic uint32_t *bucket = &origins->buckets[bucket_of(module, name, doing)];
    uint32_t head = atomic_load_explicit(bucket, memory_order_acquire);
    unsigned found = find_in_chain(origins, head, 0, module, name, doing);
    return found ? found : add_origin(core, bucket, head, module, name, doing);
}

/* ---- counters --------------------------------------------------------------------------- */

static struct mt_origin_counts *counts_at(struct mt_core *core, uint64_t offset)
{
    return offset ? (struct mt_origin_counts *)(void *)((char *)core->segment + offset) : NULL;
}

static struct mt_origin_counts *find_counts(struct mt_core *core, uint64_t from, uint64_t end, unsigned origin,
                                            unsigned site)
{
    for (uint64_t offset = from; offset != end;) {
        struct mt_origin_counts *counts = counts_at(core, offset);
        if (counts->origin == origin && counts->site == site) return counts;
        offset = counts->next;
    }
    return NULL;
}

struct mt_origin_counts *mt_origin_counts(struct mt_core *core, struct mt_shard *shard, unsigned origin)
{
    return mt_origin_counts_of_site(core, shard, origin, 0);
}

struct mt_origin_counts *mt_origin_counts_of_site(struct mt_core *core, struct mt_shard *shard, unsigned origin,
                                                  unsigned site)
{
    uint64_t head = atomic_load_explicit(&shard->origins, memory_order_acquire);
    struct mt_origin_counts *found = find_counts(core, head, 0, origin, site);
    if (found) return found;
    uint64_t offset = mt_core_alloc(core, sizeof *found);
    struct mt_origin_counts *counts = counts_at(core, offset);
    if (!counts) return NULL;
    counts->origin = (uint16_t)origin;
    counts->site = (uint16_t)site;
    for (;;) {
        uint64_t seen = head;
        counts->next = head;
        if (atomic_compare_exchange_strong_explicit(&shard->origins, &seen, offset, memory_order_release,
                                                    memory_order_acquire))
            return counts;
        found = find_counts(core, seen, head, origin, site); /* shard 0 alone: another thread was faster */
        if (found) return found;
        head = seen;
    }
}

/* ---- fork ------------------------------------------------------------------------------- */

/* What is live by origin in the parent at a fork; in memory of memtrack's own, which the child gets a copy of. */
struct fork_live {
    uint32_t is_filled, count;
    struct mt_origin_sum live[MT_ORIGIN_MAX];
};

/* While the pools serve, every block has an origin. Other threads count on meanwhile, and two sums would differ. */
static void inherit_sum(struct mt_core *core, const struct fork_live *left)
{
    int64_t bytes = 0, count = 0;
    for (uint32_t i = 0; i < left->count; i++) {
        bytes += left->live[i].live_bytes;
        count += (int64_t)(left->live[i].allocation_count - left->live[i].free_count);
    }
    core->fork_live_bytes = bytes > 0 ? (uint64_t)bytes : 0;
    core->fork_live_count = count > 0 ? (uint64_t)count : 0;
}

void mt_origin_before_fork(struct mt_core *core)
{
    struct mt_origins *origins = &core->segment->origins;
    struct fork_live *left = core->fork_origins;
    core->fork_origin_count = 0;
    if (!(atomic_load_explicit(&core->segment->committed_tables, memory_order_acquire) & 1u << MT_TABLE_ORIGINS))
        return;
    core->fork_origin_count = LOAD(origins->count);
    if (!left) left = core->fork_origins = mt_private_map(core, sizeof *left);
    if (!left) return;
    memset(left->live, 0, sizeof left->live);
    left->count = core->fork_origin_count;
    mt_origins_sum(core->segment, core->mapped_bytes, left->live);
    for (uint32_t i = 0; i < left->count; i++) {
        left->live[i].live_bytes += origins->rows[i].inherited_bytes;
        left->live[i].allocation_count += (uint64_t)origins->rows[i].inherited_count;
    }
    if (LOAD(core->segment->pools.is_on)) inherit_sum(core, left);
    left->is_filled = 1;
}

/* A copy of the parent's tables, held by the child while its segment is replaced. */
struct mt_origin_kept {
    uint32_t origin_count, module_count, module_generation, reserved;
    struct mt_module modules[MT_MODULE_MAX];
    struct mt_origin rows[MT_ORIGIN_MAX];
};

/*
 * Rows that other threads of the parent add after the fork may come along;
 * they do no harm. The ids that inherited blocks carry are all there.
 */
struct mt_origin_kept *mt_origin_keep(struct mt_core *core)
{
    const struct fork_live *left = core->fork_origins;
    if (!left || !left->is_filled) return NULL;
    struct mt_origin_kept *kept = mt_private_map(core, sizeof *kept);
    if (!kept) return NULL;
    const struct mt_modules *modules = &core->segment->attribution.modules;
    kept->origin_count = left->count;
    memcpy(kept->rows, core->segment->origins.rows, left->count * sizeof kept->rows[0]);
    unsigned count = atomic_load_explicit(&modules->count, memory_order_acquire);
    kept->module_count = count < MT_MODULE_MAX ? count : MT_MODULE_MAX;
    kept->module_generation = LOAD(modules->generation);
    memcpy(kept->modules, modules->rows, kept->module_count * sizeof kept->modules[0]);
    return kept;
}

static bool restore_modules(struct mt_core *core, const struct mt_origin_kept *kept)
{
    struct mt_modules *modules = &core->segment->attribution.modules;
    size_t bytes = kept->module_count * sizeof modules->rows[0];
    if (!mt_module_ready(core) || !mt_segment_commit(core, modules->rows, bytes)) return false;
    memcpy(modules->rows, kept->modules, bytes);
    STORE(modules->generation, kept->module_generation);
    atomic_store_explicit(&modules->count, kept->module_count, memory_order_release);
    return true;
}

static void restore_row(struct mt_core *core, const struct mt_origin *from, const struct mt_origin_sum *live,
                        uint32_t id)
{
    struct mt_origins *origins = &core->segment->origins;
    struct mt_origin *row = &origins->rows[id];
    memcpy(row, from, sizeof *row);
    row->inherited_bytes = live->live_bytes;
    row->inherited_count = (int64_t)(live->allocation_count - live->free_count);
    row->next = 0;
    mt_groups_join(core, row);
    mt_groups_inherit(core, id, row->inherited_bytes);
    if (!id || !LOAD(row->state)) return;
    struct mt_scope_parts doing = {.tag = row->tag, .scope = row->scope};
    _Atomic uint32_t *bucket = &origins->buckets[bucket_of(row->module, row->thread, doing)];
    row->next = LOAD(*bucket);
    STORE(*bucket, id);
    mt_scope_tell(core, row->scope);
    mt_scope_tell(core, row->tag);
}

static bool restore(struct mt_core *core, const struct mt_origin_kept *kept, const struct fork_live *left)
{
    struct mt_origins *origins = &core->segment->origins;
    if (!restore_modules(core, kept) || !mt_segment_commit_table(core, MT_TABLE_ORIGINS) ||
        !mt_segment_commit(core, origins->rows, kept->origin_count * sizeof origins->rows[0]))
        return false;
    for (uint32_t i = 0; i < kept->origin_count; i++) restore_row(core, &kept->rows[i], &left->live[i], i);
    atomic_store_explicit(&origins->count, kept->origin_count, memory_order_release);
    return true;
}

/* Without memory for what they were, the parent's origins are others, whose ids no new one gets: inherited blocks
 * carry them. */
static void restore_unknown(struct mt_core *core)
{
    struct mt_origins *origins = &core->segment->origins;
    uint32_t count = core->fork_origin_count < MT_ORIGIN_MAX ? core->fork_origin_count : MT_ORIGIN_MAX;
    if (!count || !mt_segment_commit_table(core, MT_TABLE_ORIGINS) ||
        !mt_segment_commit(core, origins->rows, count * sizeof origins->rows[0]))
        return;
    memset(origins->rows, 0, count * sizeof origins->rows[0]);
    for (uint32_t i = 0; i < count; i++) {
        mt_format(origins->rows[i].thread, sizeof origins->rows[i].thread, "(other)");
        mt_groups_join(core, &origins->rows[i]);
        STORE(origins->rows[i].state, 1);
    }
    origins->rows[0].inherited_bytes = (int64_t)core->fork_live_bytes;
    origins->rows[0].inherited_count = (int64_t)core->fork_live_count;
    mt_groups_inherit(core, 0, (int64_t)core->fork_live_bytes);
    atomic_store_explicit(&origins->count, count, memory_order_release);
}

void mt_origin_restore(struct mt_core *core, struct mt_origin_kept *kept)
{
    struct fork_live *left = core->fork_origins;
    if (!kept || !restore(core, kept, left)) restore_unknown(core);
    if (left) left->is_filled = 0;
    if (kept) mt_private_unmap(core, kept, sizeof *kept);
}

/* ---- reading ------------------------------------------------------------------------------ */

const struct mt_origin_counts *mt_origin_counts_next(const struct mt_segment *segment, uint64_t bytes,
                                                     const struct mt_shard *shard,
                                                     const struct mt_origin_counts *previous)
{
    uint64_t offset = previous ? previous->next : atomic_load_explicit(&shard->origins, memory_order_acquire);
    if (offset % 64 || offset < sizeof *segment || offset > bytes ||
        bytes - offset < sizeof(struct mt_origin_counts))
        return NULL;
    return (const struct mt_origin_counts *)(const void *)((const char *)segment + offset);
}

void mt_origin_add_counts(const struct mt_segment *segment, uint64_t bytes, struct mt_origin_sum *sum,
                          const struct mt_origin_counts *counts)
{
    struct mt_large_sum large = mt_size_counts_sum(segment, bytes, counts);
    sum->allocation_count += large.allocation_count;
    sum->free_count += large.free_count;
    sum->requested_bytes += large.requested_bytes;
    sum->live_bytes += (int64_t)(large.allocated_bytes - large.freed_bytes);
    for (unsigned class = 0; class < MT_POOL_CLASSES; class ++) {
        const struct mt_origin_cell *cell = &counts->classes[class];
        uint64_t allocations = LOAD(cell->allocation_count), frees = LOAD(cell->free_count);
        sum->allocation_count += allocations;
        sum->free_count += frees;
        sum->requested_bytes += LOAD(cell->requested_bytes);
        sum->live_bytes += (int64_t)(allocations - frees) * (int64_t)mt_class_bytes(class);
    }
}

void mt_origins_sum(const struct mt_segment *segment, uint64_t bytes, struct mt_origin_sum *sums)
{
    unsigned limit = LOAD(segment->shard_limit);
    for (unsigned i = 0; i < (limit < MT_SHARD_MAX ? limit : MT_SHARD_MAX); i++) {
        const struct mt_shard *shard = &segment->shards[i];
        const struct mt_origin_counts *counts = NULL;
        for (unsigned n = 0; n < MT_ORIGIN_MAX + MT_ARENA_SITE_MAX; n++) { /* a damaged file may have a ring */
            counts = mt_origin_counts_next(segment, bytes, shard, counts);
            if (!counts) break;
            if (counts->origin < MT_ORIGIN_MAX) mt_origin_add_counts(segment, bytes, &sums[counts->origin], counts);
        }
    }
}
