/*
 * Pools for device memory: parts (slices) of larger allocations of the driver
 * (chunks) in place of allocations of their own. A slice has a handle of the
 * layer's own, recognised by its address; every command that names device
 * memory is given the chunk and an offset instead.
 *
 * Decided once per device (pool_decide.c); pool_space.c cuts chunks and
 * touches no Vulkan; pool.c allocates, grows and releases; pool_rewrite.c and
 * pool_hooks.c change what goes down. Hooks on any thread. A pool's lock is
 * never held across a call down the chain.
 */
#ifndef MT_POOL_H
#define MT_POOL_H

#include "layer.h"
#include "tlsf.h"

enum mt_pool_kind { MT_POOL_DEVICE, MT_POOL_STAGING, MT_POOL_IMAGE, MT_POOL_NONE };

enum {
    MT_POOL_CHUNKS = 4096, /* of one pool */
    MT_POOL_PRIVATE_LISTS = 64,
    MT_POOL_HEAP_SHARE = 64,              /* a chunk is at most so small a part of its heap */
    MT_POOL_SMALLEST_CHUNK = 1024 * 1024, /* a heap too small for these is not pooled */
    MT_POOL_VARIANTS = 4, /* of one memory type: with and without device address, small and image-sized */
};

/* One driver allocation. Under its pool's lock, but for what never changes. */
struct mt_chunk {
    VkDeviceMemory handle;
    uint64_t bytes;
    char *mapped;        /* host-visible: for good; else NULL */
    uint64_t bump;       /* arena: bytes from here on are free */
    uint64_t fresh_from; /* bytes from here on were never handed out */
    uint32_t live;       /* slices, those at rest included */
    uint32_t index;      /* in the pool's chunks */
    uint32_t block;      /* TLSF: the free block while the whole chunk is free */
    uint64_t empty_stamp;
    uint64_t *granules; /* verify: one bit for each granule in use */
    struct mt_chunk *next;
};

enum mt_slice_state { MT_SLICE_FREE, MT_SLICE_LIVE, MT_SLICE_RESTING };

/* A slice's address is the handle that the program holds. */
struct mt_slice {
    _Atomic uint32_t state; /* enum mt_slice_state */
    uint32_t block;         /* TLSF block */
    uint64_t offset, bytes; /* in its chunk; as the program asked */
    struct mt_chunk *chunk;
    struct mt_pool *pool;
    struct mt_slice *next; /* spare or resting list */
    uint64_t stamp;        /* when it was freed */
    _Atomic uint32_t private_count;
    uint32_t padding;
    struct mt_node node; /* what the layer knows of it as device memory; under the lock of its handle */
};

/* One memory type, with or without device address, of one kind. All under the lock. */
struct mt_pool {
    _Alignas(64) struct mt_lock lock;
    struct mt_device_pool *owner;
    uint32_t type;
    bool has_address, is_host_visible, is_growing;
    enum mt_pool_kind kind;
    uint64_t next_chunk_bytes, most_chunk_bytes, limit_bytes;
    uint64_t no_chunk_until; /* stamp: the driver has just refused one */
    uint64_t operations;
    struct mt_slice *spare;
    struct mt_slice *resting, *resting_last; /* oldest first */
    uint64_t resting_bytes, resting_most;
    struct mt_chunk *current; /* arena: the one being filled */
    struct mt_chunk *empty;   /* the one kept in reserve */
    uint32_t chunk_limit;     /* numbers below this have been given to chunks */
    struct mt_tlsf_block *records;
    size_t records_bytes;
    uint64_t *stats, *times;         /* the attr[] of its two records, or the scratch below */
    uint64_t *own_stats, *own_times; /* of its records */
    uint64_t scratch[24];
    struct mt_tlsf tlsf;
    struct mt_chunk *chunks[MT_POOL_CHUNKS];
};

/* What one device has. */
struct mt_device_pool {
    struct mt_device *device;
    enum mt_pool_mode mode;
    bool uses_tlsf, is_verifying;
    char *slices; /* address space for slices; their handles lie in it */
    uint64_t slices_bytes;
    uint64_t granule_bytes, atom_bytes;
    _Atomic uint64_t alignment; /* grows with the largest requirement seen */
    uint32_t rest_frames;
    enum mt_pool_kind kinds[VK_MAX_MEMORY_TYPES];
    struct mt_pool *_Atomic pools[VK_MAX_MEMORY_TYPES][MT_POOL_VARIANTS];
    uint64_t *counters; /* attr[] of the record of the whole */
    _Atomic uint32_t told;
    _Atomic uint64_t slices_used; /* bytes; changed under the lock */
    struct mt_lock lock;          /* guards what follows */
    uint64_t slices_committed;
    struct mt_chunk *spare_chunks;
    struct mt_private *privates[MT_POOL_PRIVATE_LISTS], *spare_privates;
};

/* ---- for the layer's other files -------------------------------------------------- */

/* True when the options ask for pools, so that commands are hooked which only pools need. */
bool mt_pool_is_wanted(void);
/* The pool of a device that was just made; NULL: it is not pooled. Calls the driver. */
struct mt_device_pool *mt_pool_start(struct mt_device *device, const struct mt_instance *instance,
                                     const VkDeviceCreateInfo *info);
/* Gives all chunks back; the device is about to go. */
void mt_pool_end(struct mt_device_pool *pools);

/* True when a handle is a slice's, live or not. */
static inline bool mt_pool_owns(const struct mt_device_pool *pools, uint64_t handle)
{
    return handle - (uint64_t)(uintptr_t)pools->slices < pools->slices_bytes;
}

/* vkAllocateMemory; *call_ns is the time of the driver's call for this very allocation, 0 for a slice. */
VkResult mt_pool_allocate(struct mt_device_pool *pools, const VkMemoryAllocateInfo *info,
                          const VkAllocationCallbacks *allocator, VkDeviceMemory *memory, uint64_t *call_ns);
void mt_pool_free(struct mt_device_pool *pools, struct mt_slice *slice);
/* Fetches what freeing a slice will need. */
static inline void mt_pool_fetch(const struct mt_slice *slice)
{
    /* Without the lock: a stale address is fetched in vain, nothing more. */
    const struct mt_tlsf_block *records = __atomic_load_n(&slice->pool->records, __ATOMIC_RELAXED);
    const struct mt_slice *resting = __atomic_load_n(&slice->pool->resting, __ATOMIC_RELAXED);
    if (records) __builtin_prefetch(records + slice->block, 1);
    if (resting) __builtin_prefetch(resting, 1);
}
VkResult mt_pool_map(struct mt_device_pool *pools, uint64_t handle, uint64_t offset, void **data);
/* Calls visit for the node of every live slice. Only while no other thread uses the device. */
void mt_pool_visit(struct mt_device_pool *pools, void (*visit)(struct mt_node *node, void *context), void *context);
/* The slice of a handle, or NULL, counted, when the handle is not a live one. */
struct mt_slice *mt_pool_slice(struct mt_device_pool *pools, uint64_t handle);
/* Notes an alignment that the driver asked for. */
void mt_pool_learn(struct mt_device_pool *pools, uint64_t alignment);
/* A frame has ended: ends the rest of old slices and gives back what has been empty for long. */
void mt_pool_frame(struct mt_device_pool *pools);
/* Counts and tells a broken rule. */
void mt_pool_violation(struct mt_device_pool *pools, const char *what);

/* Binding, with the memory of the driver in place of slices. */
VkResult mt_pool_bind_buffer(struct mt_device_pool *pools, VkBuffer buffer, VkDeviceMemory memory,
                             VkDeviceSize offset);
VkResult mt_pool_bind_image(struct mt_device_pool *pools, VkImage image, VkDeviceMemory memory,
                            VkDeviceSize offset);
VkResult mt_pool_bind_buffers(struct mt_device_pool *pools, PFN_vkBindBufferMemory2 next, uint32_t count,
                              const VkBindBufferMemoryInfo *infos);
VkResult mt_pool_bind_images(struct mt_device_pool *pools, PFN_vkBindImageMemory2 next, uint32_t count,
                             const VkBindImageMemoryInfo *infos);
VkResult mt_pool_bind_sparse(struct mt_device_pool *pools, VkQueue queue, uint32_t count,
                             const VkBindSparseInfo *infos, VkFence fence);
VkResult mt_pool_bind_accels(struct mt_device_pool *pools, uint32_t count,
                             const VkBindAccelerationStructureMemoryInfoNV *infos);
VkResult mt_pool_bind_video(struct mt_device_pool *pools, VkVideoSessionKHR session, uint32_t count,
                            const VkBindVideoSessionMemoryInfoKHR *infos);
/* Forgets the private data of a slice. */
void mt_pool_forget_privates(struct mt_device_pool *pools, struct mt_slice *slice);

/* ---- pool_decide.c ---------------------------------------------------------------------- */

/* What stands against pools on this device, as one line in `reason`; false when nothing does. */
bool mt_pool_is_refused(const struct mt_device *device, const struct mt_instance *instance,
                        const VkDeviceCreateInfo *info, char *reason, size_t bytes);
/* Which kind a memory type may serve; MT_POOL_NONE: it is passed through. */
enum mt_pool_kind mt_pool_kind_of(const struct mt_device *device, uint32_t type);
/* MT_VK_POOL_HIT, or why an allocation is passed through. */
enum mt_vulkan_pool_miss mt_pool_judge(const VkMemoryAllocateInfo *info, bool *has_address);

/* ---- pool_space.c: under the pool's lock -------------------------------------------------- */

/* A part of a chunk for a spare slice; false when no chunk has room. *dirty_bytes of it were used before. */
bool mt_space_take(struct mt_pool *pool, struct mt_slice *slice, uint64_t bytes, uint64_t *dirty_bytes);
/* Sets a slice to rest; it is given back later. */
void mt_space_rest(struct mt_pool *pool, struct mt_slice *slice, uint64_t stamp);
/* Gives back what has rested. Returns chunks that are to be freed, in a list. */
struct mt_chunk *mt_space_expire(struct mt_pool *pool, uint64_t stamp);
/* Adds a chunk; false when the tables are full. */
bool mt_space_add(struct mt_pool *pool, struct mt_chunk *chunk);
/* Takes the empty chunk in reserve out; NULL when there is none, or not for long enough. */
struct mt_chunk *mt_space_take_empty(struct mt_pool *pool, uint64_t stamp, uint64_t age);
/* Takes any chunk out, used or not; NULL when none is left. For the end of the device. */
struct mt_chunk *mt_space_take_any(struct mt_pool *pool);
/* Checks everything that must hold; only what is cheap unless `all`. */
void mt_space_check(struct mt_pool *pool, bool all);

static inline uint64_t mt_round_up(uint64_t value, uint64_t power)
{
    return (value + power - 1) & ~(power - 1);
}

#endif
