/*
 * The handle maps: chained buckets per shard, nodes in slabs from the
 * device's arena. Called from hooks on any thread; never calls down the
 * chain; the only locks are the shard's and, inside it, the arena's.
 */
#include "handles.h"
#include "core.h"

#include <string.h>

/* First mapping of a device's arena; each further one doubles up to the second figure. */
enum { ARENA_FIRST_BYTES = 64 * 1024, ARENA_MOST_BYTES = 4 * 1024 * 1024 };
enum { SLAB_FIRST_NODES = 8, SLAB_MOST_NODES = 512, FIRST_BUCKETS = 8 };

struct mt_arena_block {
    struct mt_arena_block *next;
    size_t bytes, used;
    uint64_t align[5]; /* what follows starts on a cache line */
};

void mt_arena_start(struct mt_arena *arena, struct mt_core *core)
{
    memset(arena, 0, sizeof *arena);
    arena->core = core;
    arena->next_bytes = ARENA_FIRST_BYTES;
}

static struct mt_arena_block *arena_grow(struct mt_arena *arena, size_t bytes)
{
    size_t want = arena->next_bytes;
    while (want < bytes + sizeof(struct mt_arena_block)) want *= 2;
    struct mt_arena_block *block = mt_layer_map(arena->core, want);
    if (!block) return NULL;
    block->bytes = want;
    block->used = sizeof *block;
    block->next = arena->blocks;
    arena->blocks = block;
    if (arena->next_bytes < ARENA_MOST_BYTES) arena->next_bytes *= 2;
    return block;
}

/* Zeroed, on a cache line, never given back before the device is. */
void *mt_arena_alloc(struct mt_arena *arena, size_t bytes)
{
    void *at = NULL;
    bytes = (bytes + 63) & ~(size_t)63;
    mt_lock_enter(&arena->lock);
    struct mt_arena_block *block = arena->blocks;
    if (!block || block->bytes - block->used < bytes) block = arena_grow(arena, bytes);
    if (block) {
        at = (char *)block + block->used;
        block->used += bytes;
    }
    mt_lock_leave(&arena->lock);
    return at;
}

void mt_arena_end(struct mt_arena *arena)
{
    while (arena->blocks) {
        struct mt_arena_block *block = arena->blocks;
        arena->blocks = block->next;
        mt_layer_unmap(arena->core, block, block->bytes);
    }
}

static inline struct mt_shard_map *shard_of(struct mt_handle_map *map, uint64_t hash)
{
    return &map->shards[hash >> (64 - MT_SHARD_BITS)];
}

static inline struct mt_node **bucket_of(struct mt_shard_map *shard, uint64_t hash)
{
    return &shard->buckets[(hash >> 24) & shard->mask];
}

/* Twice the buckets, all nodes moved. Where there is no memory the chains just get longer. */
static bool grow_buckets(struct mt_arena *arena, struct mt_shard_map *shard)
{
    uint32_t old_count = shard->buckets ? shard->mask + 1 : 0;
    uint32_t count = old_count ? old_count * 2 : FIRST_BUCKETS;
    struct mt_node **old = shard->buckets;
    struct mt_node **buckets = mt_arena_alloc(arena, count * sizeof *buckets);
    if (!buckets) return old != NULL;
    __atomic_store_n(&shard->buckets, buckets,
                     __ATOMIC_RELEASE); /* before the mask: mt_handles_fetch() looks at both */
    __atomic_store_n(&shard->mask, count - 1, __ATOMIC_RELAXED);
    for (uint32_t i = 0; i < old_count; i++) {
        for (struct mt_node *node = old[i], *next; node; node = next) {
            struct mt_node **bucket = bucket_of(shard, mt_handle_hash(node->handle));
            next = node->chain;
            node->chain = *bucket;
            *bucket = node;
        }
    }
    return true;
}

static bool add_slab(struct mt_arena *arena, struct mt_shard_map *shard)
{
    uint32_t nodes = SLAB_FIRST_NODES << (shard->slab_count < 6 ? shard->slab_count : 6);
    if (nodes > SLAB_MOST_NODES) nodes = SLAB_MOST_NODES;
    struct mt_node *slab = mt_arena_alloc(arena, nodes * sizeof *slab);
    if (!slab) return false;
    shard->slab_count++;
    for (uint32_t i = nodes; i-- > 0;) {
        slab[i].chain = shard->free;
        shard->free = &slab[i];
    }
    return true;
}

static struct mt_node *add_locked(struct mt_handle_map *map, struct mt_shard_map *shard, const struct mt_node *from)
{
    if (shard->count >= shard->mask && !grow_buckets(map->arena, shard)) return NULL;
    if (!shard->free && !add_slab(map->arena, shard)) return NULL;
    struct mt_node *node = shard->free;
    struct mt_node **bucket = bucket_of(shard, mt_handle_hash(from->handle));
    shard->free = node->chain;
    memcpy(node, from, sizeof *node);
    node->chain = *bucket;
    *bucket = node;
    shard->count++;
    return node;
}

struct mt_node *mt_handles_add(struct mt_handle_map *map, const struct mt_node *from)
{
    struct mt_shard_map *shard = shard_of(map, mt_handle_hash(from->handle));
    mt_lock_enter(&shard->lock);
    struct mt_node *node = add_locked(map, shard, from);
    mt_lock_leave(&shard->lock);
    if (!node) mt_core_drop(map->arena->core, MT_DROPPED_OBJECTS);
    return node;
}

/* The place that points to the node, NULL when the handle is not there. */
static struct mt_node **locate(struct mt_shard_map *shard, uint64_t handle, uint64_t hash)
{
    if (!shard->buckets) return NULL;
    struct mt_node **at = bucket_of(shard, hash);
    while (*at && (*at)->handle != handle) at = &(*at)->chain;
    return *at ? at : NULL;
}

struct mt_node *mt_handles_enter(struct mt_handle_map *map, uint64_t handle)
{
    uint64_t hash = mt_handle_hash(handle);
    struct mt_shard_map *shard = shard_of(map, hash);
    struct mt_node *node;
    mt_lock_enter(&shard->lock);
    if (handle - map->inline_from < map->inline_bytes) {
        node = map->inline_node(map->inline_owner, handle);
    } else {
        struct mt_node **at = locate(shard, handle, hash);
        node = at ? *at : NULL;
    }
    if (!node) mt_lock_leave(&shard->lock);
    return node;
}

bool mt_handles_remove(struct mt_handle_map *map, uint64_t handle, struct mt_node *copy, struct mt_node **in_use)
{
    uint64_t hash = mt_handle_hash(handle);
    struct mt_shard_map *shard = shard_of(map, hash);
    mt_lock_enter(&shard->lock);
    struct mt_node **at = locate(shard, handle, hash), *node = at ? *at : NULL;
    if (node) {
        *at = node->chain;
        shard->count--;
        memcpy(copy, node, sizeof *copy);
        /* Acquire: pairs with the release where the list of what is bound becomes empty. */
        bool is_used = atomic_load_explicit(&node->bound, memory_order_acquire);
        *in_use = is_used ? node : NULL;
        if (!is_used) {
            node->chain = shard->free;
            shard->free = node;
        }
    }
    mt_lock_leave(&shard->lock);
    return node;
}

struct mt_node *mt_handles_take(struct mt_handle_map *map, uint64_t handle)
{
    uint64_t hash = mt_handle_hash(handle);
    struct mt_shard_map *shard = shard_of(map, hash);
    mt_lock_enter(&shard->lock);
    struct mt_node **at = locate(shard, handle, hash);
    struct mt_node *node = at ? *at : NULL;
    if (node) {
        *at = node->chain;
        shard->count--;
    }
    mt_lock_leave(&shard->lock);
    return node;
}

void mt_handles_give_back(struct mt_handle_map *map, struct mt_node *node)
{
    struct mt_shard_map *shard = shard_of(map, mt_handle_hash(node->handle));
    mt_lock_enter(&shard->lock);
    node->chain = shard->free;
    shard->free = node;
    mt_lock_leave(&shard->lock);
}

void mt_handles_visit(struct mt_handle_map *map, void (*visit)(struct mt_node *node, void *context), void *context)
{
    for (unsigned s = 0; s < MT_MAP_SHARDS; s++) {
        struct mt_shard_map *shard = &map->shards[s];
        for (uint32_t i = 0; shard->buckets && i <= shard->mask; i++)
            for (struct mt_node *node = shard->buckets[i]; node; node = node->chain) visit(node, context);
    }
}
