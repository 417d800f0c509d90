/*
 * Shards: claimed and retired without locks, flushed into the shared total,
 * summed by readers. Owner threads call claim, retire, rename and flush.
 */
#include "segment.h"
#include "shard.h"
#include "alone.h"
#include "groups.h"

#include <string.h>

#define LOAD(field)             atomic_load_explicit(&(field), memory_order_relaxed)
#define STORE(field, value)     atomic_store_explicit(&(field), value, memory_order_relaxed)
#define FETCH_ADD(field, value) atomic_fetch_add_explicit(&(field), value, memory_order_relaxed)

static void raise_u32(_Atomic uint32_t *field, uint32_t value)
{
    uint32_t seen = LOAD(*field);
    while (seen < value && !atomic_compare_exchange_weak_explicit(field, &seen, value, memory_order_relaxed,
                                                                  memory_order_relaxed)) {
    }
}

/* Takes the lowest free bit; 0 when there is none. Acquire pairs with release in give_back(). */
static unsigned take_free_shard(struct mt_segment *segment)
{
    for (unsigned word = 0; word < MT_SHARD_MAX / 64; word++) {
        uint64_t bits = LOAD(segment->shard_free_bits[word]);
        while (bits) {
            if (atomic_compare_exchange_weak_explicit(&segment->shard_free_bits[word], &bits, bits & (bits - 1),
                                                      memory_order_acquire, memory_order_relaxed))
                return word * 64 + (unsigned)__builtin_ctzll(bits);
        }
    }
    return 0;
}

/* Release: the next owner sees all that this thread counted. Pairs with take_free_shard(). */
static void give_back(struct mt_segment *segment, unsigned index)
{
    atomic_fetch_or_explicit(&segment->shard_free_bits[index / 64], UINT64_C(1) << (index % 64),
                             memory_order_release);
}

/* A shard keeps its memory: threads that come and go ask the system once. */
static bool commit(struct mt_core *core, unsigned index)
{
    struct mt_segment *segment = core->segment;
    _Atomic uint64_t *ready = &segment->shard_ready_bits[index / 64];
    uint64_t bit = UINT64_C(1) << (index % 64);
    if (LOAD(*ready) & bit) return true;
    if (!mt_segment_commit(core, &segment->shards[index], sizeof segment->shards[index])) return false;
    atomic_fetch_or_explicit(ready, bit, memory_order_relaxed);
    return true;
}

static inline void set_limits(struct mt_core *core, struct mt_shard *shard, int64_t live)
{
    int64_t batch = (int64_t)core->segment->globals.batch_bytes;
    STORE(shard->flushed_bytes, live);
    STORE(shard->high_bytes, batch ? live : INT64_MIN);
    STORE(shard->low_limit_bytes, batch ? live - batch - LOAD(shard->slack_bytes) : INT64_MAX);
}

struct mt_shard *mt_shard_claim(struct mt_core *core, int32_t tid, const char *name)
{
    struct mt_segment *segment = core->segment;
    FETCH_ADD(segment->globals.thread_count, 1);
    unsigned index = take_free_shard(segment);
    struct mt_shard *shard = &segment->shards[index];
    if (!index) {
        mt_core_drop(core, MT_DROPPED_SHARDS);
        return shard;
    }
    if (!commit(core, index)) { /* no memory: count with the others */
        give_back(segment, index);
        mt_core_drop(core, MT_DROPPED_SHARDS);
        return &segment->shards[0];
    }
    raise_u32(&segment->shard_limit, index + 1);
    raise_u32(&segment->globals.live_shards_max, FETCH_ADD(segment->globals.live_shards, 1) + 1);
    STORE(shard->tid, tid);
    STORE(shard->tag, 0);
    shard->start_ns = mt_now_ns();
    struct mt_shard_counts counts = mt_shard_counts(segment, shard);
    shard->base_allocation_count = counts.allocation_count;
    shard->base_free_count = counts.free_count;
    shard->base_requested_bytes = LOAD(shard->requested_bytes);
    shard->base_live_bytes = LOAD(shard->live_bytes);
    STORE(shard->own_peak_bytes, 0);
    STORE(shard->own_peak_ns, 0);
    STORE(shard->own_peak_frame, 0);
    mt_shard_rename(core, shard, name);
    STORE(shard->slack_bytes, 0);
    set_limits(core, shard, LOAD(shard->live_bytes));
    FETCH_ADD(shard->generation, 1);
    atomic_store_explicit(&shard->state, MT_SHARD_LIVE,
                          memory_order_release); /* the reader's acquire sees the base */
    return shard;
}

void mt_shard_rename(struct mt_core *core, struct mt_shard *shard, const char *name)
{
    mt_copy_name(core, shard->name, sizeof shard->name, name ? name : "");
}

static uint64_t name_key(const char *name)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a, 64 bit */
    for (; *name; name++) hash = (hash ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
    return hash | 1;
}

/* The row of a name among `count` rows; NULL when all that it may have are taken by others. */
static struct mt_ended_threads *find_ended(struct mt_core *core, unsigned count, const char *name)
{
    enum { STEPS = 16 };
    uint64_t key = name_key(name);
    for (unsigned step = 0; step < STEPS; step++) {
        struct mt_ended_threads *row = &core->segment->ended_threads[(key + step) % count];
        uint64_t seen = 0;
        if (atomic_compare_exchange_strong_explicit(&row->key, &seen, key, memory_order_acq_rel,
                                                    memory_order_acquire)) {
            mt_copy_name(core, row->name, sizeof row->name, name);
            return row;
        }
        if (seen == key) return row;
    }
    return NULL;
}

/*
 * The row of a name: most programs have few, which share a page. The last row,
 * "(other)", when the table is full; NULL when there is no memory for it.
 */
static struct mt_ended_threads *ended_row(struct mt_core *core, const char *name)
{
    if (!mt_segment_commit_table(core, MT_TABLE_ENDED_FEW)) return NULL;
    struct mt_ended_threads *row = find_ended(core, MT_ENDED_FEW, name);
    if (row) return row;
    if (!mt_segment_commit_table(core, MT_TABLE_ENDED_THREADS)) return NULL;
    row = find_ended(core, MT_THREAD_MAX - 1, name);
    if (row) return row;
    struct mt_ended_threads *other = &core->segment->ended_threads[MT_THREAD_MAX - 1];
    uint64_t unused = 0;
    if (atomic_compare_exchange_strong(&other->key, &unused, UINT64_MAX))
        mt_copy_name(core, other->name, sizeof other->name, "(other)");
    mt_core_drop(core, MT_DROPPED_THREAD_NAMES);
    return other;
}

static void raise_ended_peak(struct mt_ended_threads *row, const struct mt_shard *shard)
{
    int64_t own = LOAD(shard->own_peak_bytes), seen = LOAD(row->peak_bytes);
    while (seen < own) {
        if (!atomic_compare_exchange_weak_explicit(&row->peak_bytes, &seen, own, memory_order_relaxed,
                                                   memory_order_relaxed))
            continue;
        STORE(row->peak_ns, LOAD(shard->own_peak_ns));
        STORE(row->peak_frame, LOAD(shard->own_peak_frame));
        return;
    }
}

static void add_ended(struct mt_core *core, const struct mt_shard *shard)
{
    struct mt_ended_threads *row = ended_row(core, shard->name);
    if (!row) {
        mt_core_drop(core, MT_DROPPED_THREAD_NAMES);
        return;
    }
    struct mt_shard_counts counts = mt_shard_counts(core->segment, shard);
    FETCH_ADD(row->thread_count, 1);
    FETCH_ADD(row->allocation_count, counts.allocation_count - shard->base_allocation_count);
    FETCH_ADD(row->free_count, counts.free_count - shard->base_free_count);
    FETCH_ADD(row->requested_bytes, LOAD(shard->requested_bytes) - shard->base_requested_bytes);
    FETCH_ADD(row->live_bytes, LOAD(shard->live_bytes) - shard->base_live_bytes);
    raise_ended_peak(row, shard);
}

void mt_shard_retire(struct mt_core *core, struct mt_shard *shard)
{
    struct mt_segment *segment = core->segment;
    if (mt_shard_is_shared(core, shard)) return;
    mt_shard_flush(core, shard);
    add_ended(core, shard);
    atomic_store_explicit(&shard->state, MT_SHARD_FREE, memory_order_release);
    atomic_fetch_sub_explicit(&segment->globals.live_shards, 1, memory_order_relaxed);
    give_back(segment, (unsigned)(shard - segment->shards));
}

static __attribute__((noinline, cold)) void raise_peak(struct mt_core *core, int64_t candidate)
{
    struct mt_globals *globals = &core->segment->globals;
    int64_t seen = LOAD(globals->peak_bytes);
    while (candidate > seen) {
        if (!atomic_compare_exchange_weak_explicit(&globals->peak_bytes, &seen, candidate, memory_order_relaxed,
                                                   memory_order_relaxed))
            continue;
        STORE(globals->peak_ns, mt_now_coarse_ns());
        STORE(globals->peak_frame, mt_frame_now(core));
        return;
    }
}

/*
 * A child that was made without fork's handlers (raw clone) still counts in
 * its parent's segment. From here on it has its own, and this shard in it.
 */
static void leave_parent(struct mt_core *core, struct mt_shard *shard)
{
    struct mt_segment *segment = core->segment;
    unsigned index = (unsigned)(shard - segment->shards);
    uint64_t is_stepped = LOAD(shard->is_stepped);
    mt_core_before_fork(core); /* what the parent has by now stands for what it had */
    mt_core_after_fork_in_child(core);
    bool is_ready = mt_core_ready(core) && mt_segment_commit(core, shard, sizeof *shard);
    void (*left_parent)(void) = atomic_load_explicit(&core->left_parent, memory_order_relaxed);
    if (left_parent) left_parent();
    if (!is_ready) return;
    atomic_fetch_and_explicit(&segment->shard_free_bits[index / 64], ~(UINT64_C(1) << (index % 64)),
                              memory_order_relaxed);
    raise_u32(&segment->shard_limit, index + 1);
    raise_u32(&segment->globals.live_shards_max, FETCH_ADD(segment->globals.live_shards, 1) + 1);
    FETCH_ADD(segment->globals.thread_count, 1);
    STORE(shard->tid, mt_gettid());
    STORE(shard->is_stepped, is_stepped);
    STORE(shard->state, MT_SHARD_LIVE);
    set_limits(core, shard, 0);
}

/* The thread's own: a plain store. */
static inline void raise_own_peak(struct mt_core *core, struct mt_shard *shard, int64_t high)
{
    int64_t own = high - shard->base_live_bytes;
    if (own <= LOAD(shard->own_peak_bytes)) return;
    STORE(shard->own_peak_bytes, own);
    STORE(shard->own_peak_ns, mt_now_coarse_ns());
    STORE(shard->own_peak_frame, mt_frame_now(core));
}

void mt_shard_flush(struct mt_core *core, struct mt_shard *shard)
{
    if (__builtin_expect(core->fork_mark && !*core->fork_mark, 0)) {
        leave_parent(core, shard);
        return;
    }
    int64_t live = LOAD(shard->live_bytes);
    int64_t flushed = LOAD(shard->flushed_bytes);
    int64_t high = LOAD(shard->high_bytes);
    struct mt_globals *globals = &core->segment->globals;
    raise_own_peak(core, shard, high > live ? high : live);
    mt_groups_look(core, shard);
    int64_t peak = mt_alone_add_signed(&globals->current_bytes, live - flushed) +
                   ((high > live ? high : live) - flushed);
    if (peak > LOAD(globals->peak_bytes)) raise_peak(core, peak);
    set_limits(core, shard, live);
}

void mt_shard_look(struct mt_core *core, struct mt_shard *shard)
{
    if (__builtin_expect(core->fork_mark && !*core->fork_mark, 0)) return; /* the next flush sees to that */
    int64_t live = LOAD(shard->live_bytes), high = LOAD(shard->high_bytes);
    struct mt_globals *globals = &core->segment->globals;
    if (high < live) high = live;
    raise_own_peak(core, shard, high);
    mt_groups_look(core, shard);
    int64_t peak = LOAD(globals->current_bytes) + high - LOAD(shard->flushed_bytes);
    if (peak > LOAD(globals->peak_bytes)) raise_peak(core, peak);
    STORE(shard->high_bytes, globals->batch_bytes ? live : INT64_MIN); /* since the look, as its bounds have it */
}

static void count_shared(struct mt_core *core, int64_t bytes)
{
    struct mt_shard *shard = &core->segment->shards[0];
    FETCH_ADD(shard->live_bytes, bytes);
    FETCH_ADD(shard->flushed_bytes, bytes);
    int64_t before = FETCH_ADD(core->segment->globals.current_bytes, bytes);
    raise_peak(core, before + bytes);
}

void mt_shard_allocated_shared(struct mt_core *core, struct mt_origin_cell *cell, uint64_t requested_bytes,
                               uint64_t usable_bytes)
{
    struct mt_shard *shard = &core->segment->shards[0];
    FETCH_ADD(shard->requested_bytes, requested_bytes);
    if (cell) {
        FETCH_ADD(cell->allocation_count, 1);
        FETCH_ADD(cell->requested_bytes, requested_bytes);
    } else {
        FETCH_ADD(shard->allocation_count, 1);
        FETCH_ADD(shard->classes[mt_class_of(usable_bytes)].allocation_count, 1);
    }
    count_shared(core, (int64_t)usable_bytes);
}

void mt_shard_freed_shared(struct mt_core *core, struct mt_origin_cell *cell, uint64_t usable_bytes)
{
    struct mt_shard *shard = &core->segment->shards[0];
    FETCH_ADD(*(cell ? &cell->free_count : &shard->free_count), 1);
    if (!cell) FETCH_ADD(shard->classes[mt_class_of(usable_bytes)].free_count, 1);
    count_shared(core, -(int64_t)usable_bytes);
}

void mt_shards_sum(const struct mt_segment *segment, struct mt_shard_sum *sum)
{
    memset(sum, 0, sizeof *sum);
    int64_t flushed_total = LOAD(segment->globals.current_bytes);
    sum->peak_bytes = LOAD(segment->globals.peak_bytes);
    unsigned limit = LOAD(segment->shard_limit);
    for (unsigned i = 0; i < (limit < MT_SHARD_MAX ? limit : MT_SHARD_MAX); i++) {
        const struct mt_shard *shard = &segment->shards[i];
        struct mt_shard_counts counts = mt_shard_counts(segment, shard);
        sum->allocation_count += counts.allocation_count;
        sum->free_count += counts.free_count;
        sum->requested_bytes += LOAD(shard->requested_bytes);
        sum->realloc_count += LOAD(shard->realloc_count);
        sum->failed_count += LOAD(shard->failed_count);
        sum->foreign_free_count += LOAD(shard->foreign_free_count);
        sum->live_bytes += LOAD(shard->live_bytes);
        int64_t candidate = flushed_total + LOAD(shard->high_bytes) - LOAD(shard->flushed_bytes);
        if (i && LOAD(shard->high_bytes) != INT64_MIN && candidate > sum->peak_bytes) sum->peak_bytes = candidate;
    }
}
