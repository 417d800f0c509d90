/*
 * What each thread has of a pool: slices that are ready to be handed out,
 * slices it freed, its counters. Most requests are served here, under a lock
 * that no other thread wants; chunks are cut and slices put to rest in batches,
 * under the pool's. Any thread; nothing is called down the chain under a lock.
 */
#include "pool.h"

#include <string.h>

enum {
    BATCH_MOST = 16,   /* granules that a thread gets at once; it begins with one slice */
    EXPIRE_MOST = 64,  /* slices whose rest a thread ends when it has the pool's lock anyway */
    SAMPLE_EVERY = 64, /* hits and frees of which one is timed */
    LOOK_EVERY = 256,  /* refills after which what nobody needed goes back */
    CHECK_EVERY = 256, /* verify: operations between two full checks */
    ATTRIBUTES = sizeof(((struct mt_object *)0)->attr) / sizeof(uint64_t),
};
#define FREED_BYTES_MOST (UINT64_C(2) << 20)

/* ---- fronts ------------------------------------------------------------------------------- */

static bool attach_records(struct mt_pool *pool, struct mt_front *front)
{
    struct mt_device *device = pool->owner->device;
    struct mt_object *stats = mt_pool_record(device, MT_VK_POOL_PART, &front->records[0]);
    struct mt_object *times = stats ? mt_pool_record(device, MT_VK_POOL_TIMES_PART, &front->records[1]) : NULL;
    if (!times) return false;
    uint32_t pool_id = device->stats->pool_records[pool->type][pool->variant][0];
    stats->link = times->link = pool_id;
    mt_object_publish(stats);
    mt_object_publish(times);
    front->stats = front->own_stats = stats->attr;
    front->times = front->own_times = times->attr;
    return true;
}

bool mt_front_start(struct mt_pool *pool)
{
    if (!attach_records(pool, &pool->shared)) return false;
    atomic_store_explicit(&pool->fronts[MT_POOL_FRONTS - 1], &pool->shared, memory_order_release);
    return true;
}

/* A lane has one thread at a time, so that nobody else makes this front. */
static struct mt_front *make_front(struct mt_pool *pool, unsigned index)
{
    struct mt_front *front = mt_arena_alloc(&pool->owner->device->arena, sizeof *front);
    if (!front || !attach_records(pool, front)) return &pool->shared;
    atomic_store_explicit(&pool->fronts[index], front, memory_order_release);
    return front;
}

static inline struct mt_front *front_of(struct mt_pool *pool, const struct mt_self *self)
{
    if (__builtin_expect(!self, 0)) return &pool->shared;
    struct mt_front *front = atomic_load_explicit(&pool->fronts[self->lane_index], memory_order_relaxed);
    return __builtin_expect(front != NULL, 1) ? front : make_front(pool, self->lane_index);
}

static inline void enter(struct mt_front *front, bool is_tracked)
{
    mt_lock_enter(&front->lock);
    if (__builtin_expect(!is_tracked, 0)) { /* as in mt_pool_enter() */
        front->stats = front->scratch;
        front->times = front->scratch + 12;
    }
}

static uint64_t bytes_of(const struct mt_pool *pool, uint64_t granules)
{
    return granules << pool->owner->granule_shift;
}

/* The first ones, so that a program with few is measured too, and then a part. */
static bool is_sample(uint64_t number)
{
    return number < SAMPLE_EVERY || number % SAMPLE_EVERY == 0;
}

/* ---- with the pool's lock, inside the front's ------------------------------------------------- */

/* Ends the rest of what has rested, and puts to rest what the thread freed. */
static void settle(struct mt_pool *pool, struct mt_front *front, struct mt_chunk **released)
{
    uint64_t stamp = mt_pool_stamp(pool->owner);
    mt_space_rest(pool, front->freed, front->freed_count, stamp, released);
    front->freed_count = 0;
    front->freed_bytes = 0;
    if (pool->resting_count) mt_space_expire(pool, stamp, EXPIRE_MOST, released);
    if (++pool->looks % LOOK_EVERY == 0) mt_space_trim(pool, stamp, false, released);
}

static struct mt_slice *cut(struct mt_pool *pool, uint64_t granules)
{
    if (!pool->spare) mt_pool_refill_spare(pool);
    struct mt_slice *slice = pool->spare;
    if (!slice || !mt_space_cut(pool, slice, granules)) return NULL;
    pool->spare = slice->next;
    return slice;
}

/* What waits ready for other sizes may make room for this one. */
static struct mt_slice *cut_or_join(struct mt_pool *pool, uint64_t granules, struct mt_chunk **released)
{
    struct mt_slice *slice = cut(pool, granules);
    if (slice || !pool->ready_bytes) return slice;
    mt_space_trim(pool, mt_pool_stamp(pool->owner), true, released);
    return cut(pool, granules);
}

static void refill(struct mt_pool *pool, struct mt_front *front, uint64_t granules, struct mt_chunk **released)
{
    struct mt_slice **end = &front->ready[granules - 1], *slice;
    uint8_t *batch = &front->batch[granules - 1];
    unsigned most = (unsigned)(BATCH_MOST / granules), want = *batch ? *batch : 1;
    *batch = (uint8_t)(want * 2 < most ? want * 2 : most ? most : 1);
    mt_pool_enter(pool);
    settle(pool, front, released);
    for (unsigned i = 0; i < want; i++) {
        slice = mt_space_take_ready(pool, granules);
        if (!slice) slice = i ? cut(pool, granules) : cut_or_join(pool, granules, released);
        if (!slice) break;
        *end = slice;
        end = &slice->next;
    }
    *end = NULL;
    mt_pool_leave(pool);
}

static struct mt_slice *take_large(struct mt_pool *pool, struct mt_front *front, uint64_t granules,
                                   struct mt_chunk **released)
{
    mt_pool_enter(pool);
    settle(pool, front, released);
    struct mt_slice *slice = cut_or_join(pool, granules, released);
    mt_pool_leave(pool);
    return slice;
}

static void give_one(struct mt_pool *pool, struct mt_slice *slice, struct mt_chunk **released)
{
    mt_pool_enter(pool);
    mt_space_give(pool, slice, mt_pool_stamp(pool->owner), released);
    mt_pool_leave(pool);
}

/* ---- handing out --------------------------------------------------------------------------------- */

/* The rest of a slice that is handed out next; its first line came when it became ready. */
static inline void fetch(const struct mt_pool *pool, const struct mt_slice *slice)
{
    __builtin_prefetch(&slice->node, 1);
    __builtin_prefetch(mt_pool_word_at(pool->owner, slice), 1);
}

static inline struct mt_slice *pop(struct mt_pool *pool, struct mt_front *front, uint64_t granules,
                                   struct mt_chunk **released)
{
    struct mt_slice **ready = &front->ready[granules - 1];
    for (;;) {
        if (!*ready) refill(pool, front, granules, released);
        struct mt_slice *slice = *ready;
        if (!slice) return NULL;
        *ready = slice->next;
        if (slice->next) fetch(pool, slice->next);
        uint64_t alignment = atomic_load_explicit(&pool->owner->alignment, memory_order_relaxed);
        if (__builtin_expect(!(slice->offset & (alignment - 1)), 1)) return slice;
        give_one(pool, slice, released); /* cut before more was asked for */
    }
}

static inline uint64_t word_of(const struct mt_pool *pool, uint64_t bytes)
{
    return MT_WORD_IS_LIVE | (uint64_t)pool->variant << MT_WORD_VARIANT | (uint64_t)pool->type << MT_WORD_TYPE |
           bytes << MT_WORD_BYTES;
}

/* Returns how many of the slice's bytes were handed out before. */
static inline uint64_t count_hit(struct mt_pool *pool, struct mt_front *front, struct mt_slice *slice,
                                 uint64_t bytes, uint64_t granules)
{
    uint64_t *stats = front->stats, dirty_bytes = bytes_of(pool, slice->dirty_granules);
    if (dirty_bytes > bytes) dirty_bytes = bytes;
    slice->bytes = bytes;
    atomic_store_explicit(mt_pool_word_at(pool->owner, slice), word_of(pool, bytes), memory_order_relaxed);
    stats[MT_VK_POOL_LIVE]++;
    stats[MT_VK_POOL_REQUESTED_BYTES] += bytes;
    stats[MT_VK_POOL_SLICE_BYTES] += bytes_of(pool, granules);
    stats[MT_VK_POOL_HITS]++;
    front->times[MT_VK_POOL_TOTAL_BYTES] += bytes;
    if (pool->is_host_visible)
        stats[MT_VK_POOL_CLEARED_BYTES] += dirty_bytes;
    else
        stats[MT_VK_POOL_UNCLEARED] += dirty_bytes != 0;
    return dirty_bytes;
}

/* The time of a hit, with what clearing took. */
static void note_hit(struct mt_front *front, uint64_t start_ns)
{
    uint64_t spent_ns = mt_now_ns() - start_ns;
    mt_lock_enter(&front->lock);
    front->times[MT_VK_POOL_HIT_NS] += spent_ns;
    front->times[MT_VK_POOL_HIT_SAMPLES]++;
    mt_lock_leave(&front->lock);
}

static void verify_taken(struct mt_pool *pool, const struct mt_slice *slice)
{
    mt_pool_enter(pool);
    mt_space_mark(pool, slice, true);
    mt_pool_leave(pool);
    if (atomic_fetch_add_explicit(&pool->checks, 1, memory_order_relaxed) % CHECK_EVERY == 0) mt_front_check(pool);
}

struct mt_slice *mt_front_take(struct mt_pool *pool, const struct mt_self *self, uint64_t bytes)
{
    struct mt_front *front = front_of(pool, self);
    struct mt_chunk *released = NULL;
    uint64_t granules = mt_pool_granules(pool, bytes), dirty_bytes = 0;
    enter(front, self != NULL);
    bool is_sampled = is_sample(front->stats[MT_VK_POOL_HITS]);
    uint64_t start_ns = is_sampled ? mt_now_ns() : 0;
    struct mt_slice *slice = granules <= MT_POOL_SIZES ? pop(pool, front, granules, &released)
                                                       : take_large(pool, front, granules, &released);
    if (slice) dirty_bytes = count_hit(pool, front, slice, bytes, granules);
    mt_lock_leave(&front->lock);
    if (released) mt_pool_end_chunks(pool, released);
    if (!slice) return NULL;
    if (dirty_bytes && slice->chunk->mapped) memset(slice->chunk->mapped + slice->offset, 0, dirty_bytes);
    if (is_sampled) note_hit(front, start_ns);
    if (__builtin_expect(pool->owner->is_verifying, 0)) verify_taken(pool, slice);
    return slice;
}

/* ---- taking back ------------------------------------------------------------------------------------ */

static inline void put_freed(struct mt_pool *pool, struct mt_front *front, struct mt_slice *slice,
                             uint64_t requested_bytes)
{
    uint64_t granules = mt_pool_granules(pool, requested_bytes), bytes = bytes_of(pool, granules);
    front->freed[front->freed_count++] = (struct mt_resting){slice, mt_frame_now(pool->owner->device->core),
                                                             granules};
    front->freed_bytes += bytes;
    front->stats[MT_VK_POOL_LIVE]--;
    front->stats[MT_VK_POOL_REQUESTED_BYTES] -= requested_bytes;
    front->stats[MT_VK_POOL_SLICE_BYTES] -= bytes;
    front->stats[MT_VK_POOL_RESTING_BYTES] += bytes;
    front->times[MT_VK_POOL_FREES]++;
}

static void hand_over(struct mt_pool *pool, struct mt_front *front, struct mt_chunk **released)
{
    mt_pool_enter(pool);
    settle(pool, front, released);
    mt_pool_leave(pool);
}

/* From here on the handle is nobody's. The slice itself is not looked at: it lies far away where many live. */
static struct mt_slice *end_life(struct mt_device_pool *pools, uint64_t handle, uint64_t word)
{
    struct mt_slice *slice = (struct mt_slice *)(uintptr_t)handle;
    if (__builtin_expect(word & MT_WORD_HAS_PRIVATE, 0)) mt_pool_forget_privates(pools, slice);
    atomic_store_explicit(mt_pool_word_at(pools, slice), 0, memory_order_relaxed);
    return slice;
}

void mt_pool_free(struct mt_device_pool *pools, const struct mt_self *self, uint64_t handle, uint64_t word)
{
    struct mt_slice *slice = end_life(pools, handle, word);
    struct mt_pool *pool = atomic_load_explicit(
        &pools->pools[mt_word_type(word)][word >> MT_WORD_VARIANT & (MT_POOL_VARIANTS - 1)], memory_order_relaxed);
    struct mt_front *front = front_of(pool, self);
    struct mt_chunk *released = NULL;
    enter(front, self != NULL);
    bool is_sampled = is_sample(front->times[MT_VK_POOL_FREES]);
    uint64_t start_ns = is_sampled ? mt_now_ns() : 0;
    put_freed(pool, front, slice, mt_word_bytes(word));
    if (front->freed_count == MT_POOL_FREED || front->freed_bytes >= FREED_BYTES_MOST)
        hand_over(pool, front, &released);
    if (is_sampled) {
        front->times[MT_VK_POOL_FREE_NS] += mt_now_ns() - start_ns;
        front->times[MT_VK_POOL_FREE_SAMPLES]++;
    }
    mt_lock_leave(&front->lock);
    if (released) mt_pool_end_chunks(pool, released);
}

/* ---- all fronts of a pool ----------------------------------------------------------------------------- */

/* Gives back what is ready in a front, under both locks. */
static void give_ready(struct mt_pool *pool, struct mt_front *front, struct mt_chunk **released)
{
    uint64_t stamp = mt_pool_stamp(pool->owner);
    for (unsigned i = 0; i < MT_POOL_SIZES; i++) {
        for (struct mt_slice *slice = front->ready[i], *next; slice; slice = next) {
            next = slice->next;
            mt_space_give(pool, slice, stamp, released);
        }
        front->ready[i] = NULL;
        front->batch[i] = 0;
    }
}

static void collect(struct mt_pool *pool, struct mt_front *front, bool all)
{
    struct mt_chunk *released = NULL;
    enter(front, mt_device_is_tracked(pool->owner->device));
    uint64_t hits = front->stats[MT_VK_POOL_HITS];
    mt_pool_enter(pool);
    settle(pool, front, &released);
    if (all || hits == front->hits_at_look) give_ready(pool, front, &released);
    mt_pool_leave(pool);
    front->hits_at_look = hits;
    mt_lock_leave(&front->lock);
    mt_pool_end_chunks(pool, released);
}

void mt_front_collect(struct mt_pool *pool, bool all)
{
    for (unsigned i = 0; i < MT_POOL_FRONTS; i++) {
        struct mt_front *front = atomic_load_explicit(&pool->fronts[i], memory_order_acquire);
        if (front) collect(pool, front, all);
    }
}

/* The slices that a front and the program hold by its account; adds up what may be compared. */
static uint64_t held_by(struct mt_pool *pool, const struct mt_front *front, uint64_t sums[3])
{
    uint64_t held = front->freed_count + front->own_stats[MT_VK_POOL_LIVE];
    sums[0] += front->own_stats[MT_VK_POOL_REQUESTED_BYTES];
    sums[1] += front->own_stats[MT_VK_POOL_SLICE_BYTES];
    sums[2] += front->freed_bytes;
    for (unsigned i = 0; i < MT_POOL_SIZES; i++) {
        for (const struct mt_slice *slice = front->ready[i]; slice; slice = slice->next, held++)
            if (mt_pool_granules(pool, slice->bytes) != i + 1 || mt_slice_is_live(pool->owner, slice))
                mt_pool_violation(pool->owner, "a slice ready in the wrong front");
    }
    return held;
}

/* Every front's lock is held, in order, and then the pool's. */
static void check_all(struct mt_pool *pool, struct mt_front *const *fronts, unsigned count)
{
    uint64_t held = 0, sums[3] = {0};
    for (unsigned i = 0; i < count; i++) held += held_by(pool, fronts[i], sums);
    if (mt_device_is_tracked(pool->owner->device)) {
        if (sums[1] < sums[0]) mt_pool_violation(pool->owner, "slices smaller than what was asked for");
        if (sums[1] + sums[2] + pool->resting_bytes > pool->own_stats[MT_VK_POOL_CHUNK_BYTES])
            mt_pool_violation(pool->owner, "more bytes in slices than in chunks");
        mt_space_check(pool, held);
    }
}

static unsigned count_fronts(struct mt_pool *pool)
{
    unsigned count = 0;
    for (unsigned i = 0; i < MT_POOL_FRONTS; i++)
        count += atomic_load_explicit(&pool->fronts[i], memory_order_acquire) != NULL;
    return count;
}

void mt_front_check(struct mt_pool *pool)
{
    struct mt_front *fronts[MT_POOL_FRONTS];
    unsigned count = 0;
    for (unsigned i = 0; i < MT_POOL_FRONTS; i++) {
        struct mt_front *front = atomic_load_explicit(&pool->fronts[i], memory_order_acquire);
        if (!front) continue;
        mt_lock_enter(&front->lock);
        fronts[count++] = front;
    }
    mt_pool_enter(pool);
    if (count == count_fronts(pool)) check_all(pool, fronts, count); /* else one was made meanwhile */
    mt_pool_leave(pool);
    while (count) mt_lock_leave(&fronts[--count]->lock);
}

static void add_part(uint64_t *sums, const uint64_t *part)
{
    for (unsigned i = 0; i < ATTRIBUTES; i++) sums[i] += part[i];
}

void mt_front_end(struct mt_pool *pool)
{
    struct mt_device *device = pool->owner->device;
    bool is_tracked = mt_device_is_tracked(device);
    for (unsigned i = 0; is_tracked && i < MT_POOL_FRONTS; i++) {
        const struct mt_front *front = atomic_load_explicit(&pool->fronts[i], memory_order_acquire);
        if (!front) continue;
        uint64_t parts[2][ATTRIBUTES];
        memcpy(parts[0], front->own_stats, sizeof parts[0]);
        memcpy(parts[1], front->own_times, sizeof parts[1]);
        for (unsigned k = 0; k < 2; k++) mt_object_free(device->core, front->records[k]);
        add_part(pool->own_stats, parts[0]);
        add_part(pool->own_times, parts[1]);
    }
}
