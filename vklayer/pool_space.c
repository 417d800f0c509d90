/*
 * How a pool's chunks are cut: by the TLSF engine, which hands a freed range
 * out again, or as arenas, which only move forward until the whole chunk is
 * free. What has rested waits ready for the next request of its size and is
 * joined with its neighbours only when it is not needed. Under the pool's lock;
 * no call down the chain, no lock of its own.
 */
#include "pool.h"

#include <string.h>

enum {
    CHUNKS_LOOKED_AT = 8,
    RECORDS_FIRST = 1024,
    READY_MOST = 64, /* slices of one size */
    FETCH_AHEAD = 8,
};

/* ---- which granules are in use: an independent account for verify mode ---------------- */

static void mark(struct mt_pool *pool, struct mt_chunk *chunk, uint64_t offset, uint64_t bytes, bool is_used)
{
    struct mt_device_pool *owner = pool->owner;
    if (offset + bytes > chunk->bytes || offset % owner->granule_bytes)
        mt_pool_violation(owner, "a slice beyond its chunk");
    for (uint64_t at = offset; at < offset + bytes; at += owner->granule_bytes) {
        uint64_t granule = at / owner->granule_bytes, bit = UINT64_C(1) << granule % 64;
        if (!(chunk->granules[granule / 64] & bit) != is_used)
            mt_pool_violation(owner, is_used ? "a slice over another one" : "a free range given back again");
        chunk->granules[granule / 64] ^= bit;
    }
}

void mt_space_mark(struct mt_pool *pool, const struct mt_slice *slice, bool is_used)
{
    uint64_t bytes = mt_pool_granules(pool, slice->bytes) << pool->owner->granule_shift;
    if (slice->chunk->granules) mark(pool, slice->chunk, slice->offset, bytes, is_used);
}

/* ---- the TLSF engine's records ------------------------------------------------------------ */

static bool grow_records(struct mt_pool *pool)
{
    struct mt_core *core = pool->owner->device->core;
    size_t bytes = pool->records_bytes ? pool->records_bytes * 2 : RECORDS_FIRST * sizeof(struct mt_tlsf_block);
    struct mt_tlsf_block *records = mt_layer_map(core, bytes);
    if (!records) return false;
    uint32_t capacity = (uint32_t)(bytes / sizeof *records);
    if (pool->records) {
        memcpy(records, pool->records, pool->records_bytes);
        mt_tlsf_move_records(&pool->tlsf, records, capacity);
        mt_layer_unmap(core, pool->records, pool->records_bytes);
    } else {
        mt_tlsf_init(&pool->tlsf, pool->owner->granule_bytes, pool->owner->granule_bytes, records, capacity);
    }
    pool->records = records;
    pool->records_bytes = bytes;
    return true;
}

static bool has_records(struct mt_pool *pool)
{
    return (pool->records && mt_tlsf_records_left(&pool->tlsf) >= MT_TLSF_RECORDS_NEEDED) || grow_records(pool);
}

/* ---- taking --------------------------------------------------------------------------------- */

static bool take_by_tlsf(struct mt_pool *pool, struct mt_slice *slice, uint64_t bytes, uint64_t alignment)
{
    if (!has_records(pool)) return false;
    uint32_t id = mt_tlsf_allocate(&pool->tlsf, bytes, alignment);
    if (!id) return false;
    const struct mt_tlsf_block *block = mt_tlsf_block(&pool->tlsf, id);
    slice->block = id;
    slice->offset = block->offset;
    slice->chunk = pool->chunks[block->user];
    return true;
}

static bool take_from_arena(struct mt_chunk *chunk, struct mt_slice *slice, uint64_t bytes, uint64_t alignment)
{
    uint64_t at = mt_round_up(chunk->bump, alignment);
    if (at > chunk->bytes || bytes > chunk->bytes - at) return false;
    chunk->bump = at + bytes;
    slice->offset = at;
    slice->chunk = chunk;
    return true;
}

/* The newest chunks may have room at their end. A chunk that is free and visible to the host starts again. */
static bool find_arena(struct mt_pool *pool, struct mt_slice *slice, uint64_t bytes, uint64_t alignment)
{
    uint32_t looked = 0;
    for (uint32_t i = pool->chunk_limit; i > 0 && looked < CHUNKS_LOOKED_AT; i--, looked++) {
        struct mt_chunk *chunk = pool->chunks[i - 1];
        if (!chunk) continue;
        if (!chunk->live && pool->is_host_visible) chunk->bump = 0;
        if (!take_from_arena(chunk, slice, bytes, alignment)) continue;
        pool->current = chunk;
        return true;
    }
    return false;
}

static bool take_by_arena(struct mt_pool *pool, struct mt_slice *slice, uint64_t bytes, uint64_t alignment)
{
    if (pool->current && take_from_arena(pool->current, slice, bytes, alignment)) return true;
    return find_arena(pool, slice, bytes, alignment);
}

bool mt_space_cut(struct mt_pool *pool, struct mt_slice *slice, uint64_t granules)
{
    unsigned shift = pool->owner->granule_shift;
    uint64_t bytes = granules << shift;
    uint64_t alignment = atomic_load_explicit(&pool->owner->alignment, memory_order_relaxed);
    bool is_cut = pool->owner->uses_tlsf ? take_by_tlsf(pool, slice, bytes, alignment)
                                         : take_by_arena(pool, slice, bytes, alignment);
    if (!is_cut) return false;
    struct mt_chunk *chunk = slice->chunk;
    uint64_t dirty = chunk->fresh_from > slice->offset ? chunk->fresh_from - slice->offset : 0;
    slice->dirty_granules = (uint32_t)((dirty < bytes ? dirty : bytes) >> shift);
    if (slice->offset + bytes > chunk->fresh_from) chunk->fresh_from = slice->offset + bytes;
    slice->bytes = bytes;
    chunk->live++;
    if (pool->empty == chunk) pool->empty = NULL;
    return true;
}

struct mt_slice *mt_space_take_ready(struct mt_pool *pool, uint64_t granules)
{
    struct mt_ready *ready = &pool->ready[granules - 1];
    struct mt_slice *slice = ready->first;
    if (!slice) return NULL;
    ready->first = slice->next;
    ready->count--;
    if (ready->count < ready->fewest) ready->fewest = ready->count;
    pool->ready_bytes -= granules << pool->owner->granule_shift;
    return slice;
}

/* ---- chunks ------------------------------------------------------------------------------------ */

static void count_chunks(struct mt_pool *pool, const struct mt_chunk *chunk, bool is_new)
{
    uint64_t *stats = pool->stats;
    stats[MT_VK_POOL_CHUNK_BYTES] += is_new ? chunk->bytes : 0 - chunk->bytes;
    stats[MT_VK_POOL_CHUNKS] += is_new ? 1 : (uint64_t)-1;
    if (stats[MT_VK_POOL_CHUNK_BYTES] > stats[MT_VK_POOL_PEAK_CHUNK_BYTES])
        stats[MT_VK_POOL_PEAK_CHUNK_BYTES] = stats[MT_VK_POOL_CHUNK_BYTES];
    stats[MT_VK_POOL_CHUNK_CALLS] += is_new ? 1 : UINT64_C(1) << 32;
}

/* Numbers stay as they are while a chunk lives: the TLSF's blocks carry them. */
static uint32_t free_number(const struct mt_pool *pool)
{
    uint32_t index = 0;
    while (index < pool->chunk_limit && pool->chunks[index]) index++;
    return index;
}

bool mt_space_add(struct mt_pool *pool, struct mt_chunk *chunk)
{
    uint32_t index = free_number(pool);
    if (index == MT_POOL_CHUNKS) return false;
    if (pool->owner->uses_tlsf) {
        if (!has_records(pool)) return false;
        chunk->block = mt_tlsf_add_chunk(&pool->tlsf, 0, chunk->bytes, index);
    }
    chunk->index = index;
    pool->chunks[index] = chunk;
    if (index == pool->chunk_limit) pool->chunk_limit++;
    pool->current = chunk;
    count_chunks(pool, chunk, true);
    return true;
}

static void take_out(struct mt_pool *pool, struct mt_chunk *chunk)
{
    pool->chunks[chunk->index] = NULL;
    while (pool->chunk_limit && !pool->chunks[pool->chunk_limit - 1]) pool->chunk_limit--;
    if (pool->current == chunk) pool->current = NULL;
    if (pool->empty == chunk) pool->empty = NULL;
    if (pool->next_chunk_bytes > chunk->bytes) pool->next_chunk_bytes = chunk->bytes; /* grow again from there */
    count_chunks(pool, chunk, false);
}

static void take_out_empty(struct mt_pool *pool, struct mt_chunk *chunk)
{
    if (pool->owner->uses_tlsf) mt_tlsf_remove_chunk(&pool->tlsf, chunk->block);
    take_out(pool, chunk);
}

/*
 * A chunk has become free. One is kept in reserve. An arena of memory that
 * cannot be cleared goes on from where it is while it is the current one, and
 * goes back to the driver otherwise, so that no byte is handed out twice.
 * Returns the chunk when it is to be freed.
 */
static struct mt_chunk *became_empty(struct mt_pool *pool, struct mt_chunk *chunk, uint64_t stamp)
{
    bool may_recycle = pool->owner->uses_tlsf || pool->is_host_visible;
    bool is_kept = may_recycle ? !pool->empty : pool->current == chunk && chunk->bump < chunk->bytes;
    chunk->empty_stamp = stamp;
    if (is_kept) {
        pool->empty = chunk;
        return NULL;
    }
    take_out_empty(pool, chunk);
    return chunk;
}

struct mt_chunk *mt_space_take_empty(struct mt_pool *pool, uint64_t stamp, uint64_t age)
{
    struct mt_chunk *chunk = pool->empty;
    if (!chunk || stamp - chunk->empty_stamp < age) return NULL;
    take_out_empty(pool, chunk);
    return chunk;
}

struct mt_chunk *mt_space_take_any(struct mt_pool *pool)
{
    if (!pool->chunk_limit) return NULL;
    struct mt_chunk *chunk = pool->chunks[pool->chunk_limit - 1];
    take_out(pool, chunk);
    return chunk;
}

/* ---- giving back ----------------------------------------------------------------------------------- */

void mt_space_give(struct mt_pool *pool, struct mt_slice *slice, uint64_t stamp, struct mt_chunk **released)
{
    struct mt_chunk *chunk = slice->chunk;
    if (pool->owner->uses_tlsf) chunk->block = mt_tlsf_free(&pool->tlsf, slice->block);
    slice->next = pool->spare;
    pool->spare = slice;
    if (--chunk->live) return;
    chunk = became_empty(pool, chunk, stamp);
    if (!chunk) return;
    chunk->next = *released;
    *released = chunk;
}

/* Only what TLSF cut may be handed out again: an arena's bytes are used up. */
static bool keep_ready(struct mt_pool *pool, struct mt_slice *slice, uint64_t granules)
{
    uint64_t bytes = granules << pool->owner->granule_shift;
    if (granules > MT_POOL_SIZES || !pool->owner->uses_tlsf || pool->ready_bytes + bytes > pool->ready_most)
        return false;
    struct mt_ready *ready = &pool->ready[granules - 1];
    if (ready->count >= READY_MOST) return false;
    slice->dirty_granules = (uint32_t)granules;
    slice->next = ready->first;
    ready->first = slice;
    ready->count++;
    pool->ready_bytes += bytes;
    return true;
}

static bool has_rested(const struct mt_pool *pool, uint64_t freed_stamp, uint64_t stamp)
{
    /* Negative: another thread saw a later frame. Very negative: it was freed before the first one. */
    int64_t age = (int64_t)(stamp - freed_stamp);
    return age >= (int64_t)pool->owner->rest_frames || age < INT32_MIN;
}

static struct mt_resting *resting_at(struct mt_pool *pool, uint32_t n)
{
    return &pool->resting[(pool->resting_first + n) % MT_POOL_RESTING];
}

/* Ends the rest of the oldest. */
static void end_rest(struct mt_pool *pool, uint64_t stamp, struct mt_chunk **released)
{
    const struct mt_resting *oldest = resting_at(pool, 0);
    struct mt_slice *slice = oldest->slice;
    pool->resting_first++;
    pool->resting_count--;
    pool->resting_bytes -= oldest->granules << pool->owner->granule_shift;
    if (__builtin_expect(pool->owner->is_verifying, 0)) mt_space_mark(pool, slice, false);
    if (!keep_ready(pool, slice, oldest->granules)) mt_space_give(pool, slice, stamp, released);
}

/* The slices are far away where many live: those that follow are asked for ahead. */
void mt_space_expire(struct mt_pool *pool, uint64_t stamp, unsigned most, struct mt_chunk **released)
{
    uint64_t before = pool->resting_bytes;
    for (uint32_t i = 0; i < FETCH_AHEAD; i++) __builtin_prefetch(resting_at(pool, i)->slice, 1);
    for (unsigned i = 0; pool->resting_count && i < most; i++) {
        bool is_early = !has_rested(pool, resting_at(pool, 0)->stamp, stamp);
        if (is_early && pool->resting_bytes <= pool->resting_most) break;
        pool->times[MT_VK_POOL_SHORT_RESTS] += is_early;
        __builtin_prefetch(resting_at(pool, FETCH_AHEAD)->slice, 1);
        end_rest(pool, stamp, released);
    }
    pool->stats[MT_VK_POOL_RESTING_BYTES] -= before - pool->resting_bytes;
}

void mt_space_rest(struct mt_pool *pool, const struct mt_resting *freed, uint32_t count, uint64_t stamp,
                   struct mt_chunk **released)
{
    while (pool->resting_count + count > MT_POOL_RESTING) { /* more than fits: the oldest make room */
        pool->times[MT_VK_POOL_SHORT_RESTS]++;
        pool->stats[MT_VK_POOL_RESTING_BYTES] -= resting_at(pool, 0)->granules << pool->owner->granule_shift;
        end_rest(pool, stamp, released);
    }
    for (uint32_t i = 0; i < count; i++) {
        struct mt_resting *at = resting_at(pool, pool->resting_count++);
        *at = freed[i];
        if (!at->stamp) at->stamp = stamp;
        pool->resting_bytes += freed[i].granules << pool->owner->granule_shift;
    }
}

void mt_space_trim(struct mt_pool *pool, uint64_t stamp, bool all, struct mt_chunk **released)
{
    for (unsigned i = 0; i < MT_POOL_SIZES; i++) {
        struct mt_ready *ready = &pool->ready[i];
        uint32_t count = all ? ready->count : ready->fewest;
        while (count--) mt_space_give(pool, mt_space_take_ready(pool, i + 1), stamp, released);
        ready->fewest = ready->count;
    }
}

/* ---- what must hold ------------------------------------------------------------------------------------ */

static uint64_t check_chunks(struct mt_pool *pool)
{
    uint64_t live = 0;
    for (uint32_t i = 0; i < pool->chunk_limit; i++) {
        const struct mt_chunk *chunk = pool->chunks[i];
        if (!chunk) continue;
        live += chunk->live;
        if (chunk->index != i) mt_pool_violation(pool->owner, "a chunk with a wrong number");
        if (chunk->bump > chunk->bytes || chunk->fresh_from > chunk->bytes)
            mt_pool_violation(pool->owner, "a chunk filled beyond its end");
    }
    return live;
}

static uint64_t count_resting(struct mt_pool *pool)
{
    uint64_t count = 0, bytes = 0;
    for (; count < pool->resting_count; count++) {
        const struct mt_resting *at = resting_at(pool, (uint32_t)count);
        bytes += at->granules << pool->owner->granule_shift;
        if (mt_slice_is_live(pool->owner, at->slice))
            mt_pool_violation(pool->owner, "a slice at rest that is used");
    }
    if (bytes != pool->resting_bytes) mt_pool_violation(pool->owner, "wrong bytes at rest");
    return count;
}

static uint64_t count_ready(struct mt_pool *pool)
{
    uint64_t count = 0, bytes = 0;
    for (unsigned i = 0; i < MT_POOL_SIZES; i++) {
        uint32_t here = 0;
        for (const struct mt_slice *slice = pool->ready[i].first; slice; slice = slice->next, here++)
            if (mt_pool_granules(pool, slice->bytes) != i + 1 || mt_slice_is_live(pool->owner, slice))
                mt_pool_violation(pool->owner, "a slice ready in the wrong list");
        if (here != pool->ready[i].count) mt_pool_violation(pool->owner, "a wrong number of ready slices");
        count += here;
        bytes += (uint64_t)here * (i + 1) << pool->owner->granule_shift;
    }
    if (bytes != pool->ready_bytes) mt_pool_violation(pool->owner, "wrong bytes ready");
    return count;
}

void mt_space_check(struct mt_pool *pool, uint64_t slices)
{
    uint64_t cut = check_chunks(pool);
    if (cut != slices + count_resting(pool) + count_ready(pool))
        mt_pool_violation(pool->owner, "a wrong number of slices");
    const char *problem = pool->records ? mt_tlsf_check(&pool->tlsf) : NULL;
    if (problem) mt_pool_violation(pool->owner, problem);
}
