/*
 * Which record belongs to a handle: one map per device and kind of object,
 * from 64-bit handle to a node that keeps its address as long as the object
 * lives. Sharded by handle; each shard has its own lock. The memory comes
 * from an arena of the device, straight from mmap, and goes when the device goes.
 *
 * Two live objects may have the same handle value (Vulkan allows it for
 * non-dispatchable handles); the map then holds both and gives back either.
 */
#ifndef MT_HANDLES_H
#define MT_HANDLES_H

#include "lock.h"

#include <stdbool.h>
#include <stddef.h>

struct mt_core;

/* mt_private_map() and its end, counted as the layer's own; see process.c. */
void *mt_layer_map(struct mt_core *core, size_t bytes);
void mt_layer_unmap(struct mt_core *core, void *pointer, size_t bytes);
void mt_layer_count(struct mt_core *core, int64_t bytes);

enum { MT_SHARD_BITS = 5, MT_MAP_SHARDS = 1 << MT_SHARD_BITS };

/* One live object. The fields below `type` belong to the shard's lock that is named beside them. */
struct mt_node {
    struct mt_node *chain; /* next in its bucket, or in the shard's free list */
    uint64_t handle;
    uint32_t object;     /* object id in the segment, 0 = none: the tables were full */
    uint8_t type;        /* memory: memory type index */
    uint8_t flags;       /* enum mt_node_flags */
    uint16_t planes;     /* image: aspects whose requirements are in size_bytes */
    uint64_t size_bytes; /* memory: allocationSize; buffer: size; image: required size; swapchain: estimate */
    /*
     * memory: first of the resources bound to it, under the memory's lock; NULL is stored last, with release.
     * Video session: first of its bindings, and in a binding the next one, under the session's lock.
     */
    union {
        struct mt_node *_Atomic bound;
        struct mt_sparse *sparse; /* resource: its ranges; NULL: none were ever bound. See sparse.c */
    };
    /* resource: the memory it is bound to and its place in that list, under the memory's lock */
    struct mt_node *_Atomic memory;
    struct mt_node *bound_next, *bound_previous;
};

enum mt_node_flags {
    MT_NODE_IMPORT = 1 << 0,       /* memory: counted with the imports */
    MT_NODE_IS_TENSOR = 1 << 0,    /* resource: it lies in the map of tensors */
    MT_NODE_IS_IMAGE = 1 << 1,     /* resource: it lies in the map of images */
    MT_NODE_REQUIREMENTS = 1 << 2, /* resource: its memory requirements are recorded */
    MT_NODE_NO_QUERY = 1 << 3,     /* its requirements may not be asked plainly (disjoint, of a swapchain, known) */
    MT_NODE_IS_ACCEL = 1 << 4,     /* resource: it lies in the map of acceleration structures */
    MT_NODE_IS_VIDEO = 1 << 5,     /* resource: a binding of a video session, in the map of those */
    MT_NODE_IS_SPARSE = 1 << 6,    /* resource: a bound range of a sparse one, in the map of those */
    MT_NODE_IS_SLICE = 1 << 7,     /* memory: a part of a pool's chunk, which holds its node */
};

struct mt_arena {
    struct mt_lock lock;
    struct mt_core *core;
    struct mt_arena_block *blocks;
    size_t next_bytes;
};

struct mt_shard_map {
    _Alignas(64) struct mt_lock lock;
    uint32_t count, mask, slab_count;
    struct mt_node **buckets;
    struct mt_node *free;
};

/*
 * Handles in [inline_from, inline_from + inline_bytes) are not in the map:
 * the objects themselves hold their nodes, and inline_node() finds them (NULL:
 * not a live one). Locked like the others.
 */
struct mt_handle_map {
    struct mt_arena *arena;
    uint64_t inline_from, inline_bytes;
    struct mt_node *(*inline_node)(void *owner, uint64_t handle);
    void *inline_owner;
    struct mt_shard_map shards[MT_MAP_SHARDS];
};

static inline uint64_t mt_handle_hash(uint64_t handle)
{
    return handle * UINT64_C(0x9e3779b97f4a7c15);
}

/*
 * Fetches the place where a handle will be looked for or added: far away where
 * many live. Without the lock: a stale place is fetched in vain, nothing more.
 */
static inline void mt_handles_fetch(const struct mt_handle_map *map, uint64_t handle)
{
    uint64_t hash = mt_handle_hash(handle);
    const struct mt_shard_map *shard = &map->shards[hash >> (64 - MT_SHARD_BITS)];
    struct mt_node *const *buckets = __atomic_load_n(&shard->buckets, __ATOMIC_RELAXED);
    if (buckets) __builtin_prefetch(&buckets[(hash >> 24) & __atomic_load_n(&shard->mask, __ATOMIC_RELAXED)], 1);
}

/* A node for a handle, filled by the caller through `from`; NULL when there is no memory (counted as dropped). */
struct mt_node *mt_handles_add(struct mt_handle_map *map, const struct mt_node *from);
/* The node of a handle with its lock held, for mt_handles_leave(); NULL without a lock when it is not known. */
struct mt_node *mt_handles_enter(struct mt_handle_map *map, uint64_t handle);
/* Takes the node out of the map, so that the handle may come back at once. It stays valid until given back. */
struct mt_node *mt_handles_take(struct mt_handle_map *map, uint64_t handle);
void mt_handles_give_back(struct mt_handle_map *map, struct mt_node *node);
/*
 * The same for a memory, with its node copied; false when it is not known. The node is given back at once unless
 * something is bound to it: then it is *in_use, and the caller's to give back.
 */
bool mt_handles_remove(struct mt_handle_map *map, uint64_t handle, struct mt_node *copy, struct mt_node **in_use);

/*
 * The lock that guards a node and the object of its record. Where two are
 * held, the memory's comes first and the resource's inside it.
 */
static inline struct mt_lock *mt_handles_lock(struct mt_handle_map *map, const struct mt_node *node)
{
    return &map->shards[mt_handle_hash(node->handle) >> (64 - MT_SHARD_BITS)].lock;
}

static inline void mt_handles_leave(struct mt_handle_map *map, const struct mt_node *node)
{
    mt_lock_leave(mt_handles_lock(map, node));
}

/* Calls visit for every node. Only while no other thread uses the map. */
void mt_handles_visit(struct mt_handle_map *map, void (*visit)(struct mt_node *node, void *context), void *context);

void mt_arena_start(struct mt_arena *arena, struct mt_core *core);
void *mt_arena_alloc(struct mt_arena *arena, size_t bytes);
void mt_arena_end(struct mt_arena *arena);

#endif
