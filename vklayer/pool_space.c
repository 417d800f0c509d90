/*
 * How a pool's chunks are cut: by the TLSF engine, which hands a freed range
 * out again, or as arenas, which only move forward until the whole chunk is
 * free. Under the pool's lock; no call down the chain, no lock of its own.
 */
#include "pool.h"

#include <string.h>

enum { RELEASES_PER_CALL = 8, CHUNKS_LOOKED_AT = 8, RECORDS_FIRST = 1024 };

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

static uint64_t size_in_chunk(const struct mt_pool *pool, uint64_t bytes)
{
    return mt_round_up(bytes, pool->owner->granule_bytes);
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
        mt_tlsf_init(&pool->tlsf, pool->owner->granule_bytes, records, capacity);
    }
    __atomic_store_n(&pool->records, records, __ATOMIC_RELAXED); /* mt_pool_fetch() looks without the lock */
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

static void count_taken(struct mt_pool *pool, uint64_t bytes, uint64_t rounded)
{
    pool->stats[MT_VK_POOL_LIVE]++;
    pool->stats[MT_VK_POOL_REQUESTED_BYTES] += bytes;
    pool->stats[MT_VK_POOL_SLICE_BYTES] += rounded;
    pool->stats[MT_VK_POOL_HITS]++;
    pool->times[MT_VK_POOL_TOTAL_BYTES] += bytes;
}

bool mt_space_take(struct mt_pool *pool, struct mt_slice *slice, uint64_t bytes, uint64_t *dirty_bytes)
{
    uint64_t rounded = size_in_chunk(pool, bytes);
    uint64_t alignment = atomic_load_explicit(&pool->owner->alignment, memory_order_relaxed);
    bool is_taken = pool->owner->uses_tlsf ? take_by_tlsf(pool, slice, rounded, alignment)
                                           : take_by_arena(pool, slice, rounded, alignment);
    if (!is_taken) return false;
    struct mt_chunk *chunk = slice->chunk;
    uint64_t fresh = chunk->fresh_from > slice->offset ? chunk->fresh_from - slice->offset : 0;
    *dirty_bytes = fresh < bytes ? fresh : bytes;
    if (slice->offset + rounded > chunk->fresh_from) chunk->fresh_from = slice->offset + rounded;
    slice->bytes = bytes;
    chunk->live++;
    if (pool->empty == chunk) pool->empty = NULL;
    if (__builtin_expect(chunk->granules != NULL, 0)) mark(pool, chunk, slice->offset, rounded, true);
    if (slice->offset & (alignment - 1)) mt_pool_violation(pool->owner, "a slice beside its alignment");
    count_taken(pool, bytes, rounded);
    return true;
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

void mt_space_rest(struct mt_pool *pool, struct mt_slice *slice, uint64_t stamp)
{
    uint64_t rounded = size_in_chunk(pool, slice->bytes);
    slice->stamp = stamp;
    slice->next = NULL;
    if (pool->resting)
        pool->resting_last->next = slice;
    else
        __atomic_store_n(&pool->resting, slice, __ATOMIC_RELAXED); /* mt_pool_fetch() looks without the lock */
    pool->resting_last = slice;
    pool->resting_bytes += rounded;
    pool->stats[MT_VK_POOL_LIVE]--;
    pool->stats[MT_VK_POOL_REQUESTED_BYTES] -= slice->bytes;
    pool->stats[MT_VK_POOL_SLICE_BYTES] -= rounded;
    pool->stats[MT_VK_POOL_RESTING_BYTES] += rounded;
    pool->times[MT_VK_POOL_FREES]++;
}

static void give_back(struct mt_pool *pool, struct mt_slice *slice, uint64_t stamp, struct mt_chunk **released)
{
    uint64_t rounded = size_in_chunk(pool, slice->bytes);
    struct mt_chunk *chunk = slice->chunk;
    if (__builtin_expect(chunk->granules != NULL, 0)) mark(pool, chunk, slice->offset, rounded, false);
    pool->resting_bytes -= rounded;
    pool->stats[MT_VK_POOL_RESTING_BYTES] -= rounded;
    if (pool->owner->uses_tlsf) chunk->block = mt_tlsf_free(&pool->tlsf, slice->block);
    slice->next = pool->spare;
    pool->spare = slice;
    atomic_store_explicit(&slice->state, MT_SLICE_FREE, memory_order_relaxed);
    if (--chunk->live) return;
    chunk = became_empty(pool, chunk, stamp);
    if (!chunk) return;
    chunk->next = *released;
    *released = chunk;
}

static bool has_rested(const struct mt_pool *pool, const struct mt_slice *slice, uint64_t stamp)
{
    /* Unsigned: stamps change from time to frames when the first frame ends, and then all are old. */
    return stamp - slice->stamp >= pool->owner->rest_frames;
}

struct mt_chunk *mt_space_expire(struct mt_pool *pool, uint64_t stamp)
{
    struct mt_chunk *released = NULL;
    for (unsigned i = 0; pool->resting && i < RELEASES_PER_CALL; i++) {
        struct mt_slice *slice = pool->resting;
        bool is_early = !has_rested(pool, slice, stamp);
        if (is_early && pool->resting_bytes <= pool->resting_most) break;
        pool->times[MT_VK_POOL_SHORT_RESTS] += is_early;
        __atomic_store_n(&pool->resting, slice->next, __ATOMIC_RELAXED);
        give_back(pool, slice, stamp, &released);
    }
    return released;
}

/* ---- what must hold ------------------------------------------------------------------------------------ */

static void check_chunks(struct mt_pool *pool)
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
    uint64_t resting = 0;
    for (const struct mt_slice *slice = pool->resting; slice; slice = slice->next) resting++;
    if (live != pool->stats[MT_VK_POOL_LIVE] + resting) mt_pool_violation(pool->owner, "a wrong number of slices");
}

void mt_space_check(struct mt_pool *pool, bool all)
{
    if (pool->stats[MT_VK_POOL_SLICE_BYTES] < pool->stats[MT_VK_POOL_REQUESTED_BYTES])
        mt_pool_violation(pool->owner, "slices smaller than what was asked for");
    if (pool->stats[MT_VK_POOL_SLICE_BYTES] + pool->resting_bytes > pool->stats[MT_VK_POOL_CHUNK_BYTES])
        mt_pool_violation(pool->owner, "more bytes in slices than in chunks");
    if (!all) return;
    if (pool->stats == pool->own_stats) check_chunks(pool);
    const char *problem = pool->records ? mt_tlsf_check(&pool->tlsf) : NULL;
    if (problem) mt_pool_violation(pool->owner, problem);
}
