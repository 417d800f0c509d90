/*
 * Pools for device memory: parts (slices) of larger allocations of the driver
 * (chunks) in place of allocations of their own. A slice has a handle of the
 * layer's own, recognised by its address; every command that names device
 * memory is given the chunk and an offset instead.
 *
 * Decided once per device (pool_decide.c); pool_space.c cuts chunks and
 * touches no Vulkan; pool_front.c is what each thread has of a pool, and serves
 * most requests; pool.c allocates, grows and releases; pool_rewrite.c and
 * pool_hooks.c change what goes down. Hooks on any thread. No lock of a pool is
 * held across a call down the chain; a front's lock comes before its pool's.
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
    MT_POOL_SIZES = 16,   /* slices of 1 to so many granules wait ready for the next request of their size */
    MT_POOL_FRONTS = MT_LANE_MAX + 1,
    MT_POOL_RESTING = 2048, /* slices at rest in one pool */
    MT_POOL_FREED = 32,     /* slices that a thread frees before they are put to rest together */
};

/* One driver allocation. Under its pool's lock, but for what never changes. */
struct mt_chunk {
    VkDeviceMemory handle;
    uint64_t bytes;
    char *mapped;        /* host-visible: for good; else NULL */
    uint64_t bump;       /* arena: bytes from here on are free */
    uint64_t fresh_from; /* bytes from here on were never handed out */
    uint32_t live;       /* slices, those at rest and those ready included */
    uint32_t index;      /* in the pool's chunks */
    uint32_t block;      /* TLSF: the free block while the whole chunk is free */
    uint64_t empty_stamp;
    uint64_t *granules; /* verify: one bit for each granule in use */
    struct mt_chunk *next;
};

/* A slice's address is the handle that the program holds. */
struct mt_slice {
    _Alignas(64) uint64_t offset; /* in its chunk */
    uint64_t bytes;               /* as the program asked */
    struct mt_chunk *chunk;
    struct mt_pool *pool;
    struct mt_slice *next;   /* spare or ready list */
    uint32_t block;          /* TLSF block */
    uint32_t dirty_granules; /* while it is ready: so many from its start were handed out before */
    /* What the layer knows of it as device memory; under the lock of its handle. */
    _Alignas(64) struct mt_node node;
};
_Static_assert(sizeof(struct mt_slice) == 128, "two cache lines");

/*
 * What freeing a slice must know of it, in one word of a table by slice: eight
 * slices share a line, and the slice itself may stay far away. 0: it is not
 * live. Written by the thread that allocates or frees it; the bits of what
 * hangs on it by others, see mt_pool_hold().
 */
enum {
    MT_WORD_IS_LIVE = 1,
    MT_WORD_IS_BOUND = 2, /* resources are bound to it */
    MT_WORD_HAS_PRIVATE = 4,
    MT_WORD_VARIANT = 3, /* shifts: 2 bits */
    MT_WORD_TYPE = 5,    /* 5 bits */
    MT_WORD_OBJECT = 10, /* 23 bits: its record's id */
    MT_WORD_BYTES = 33,  /* as the program asked */
};
#define MT_SLICE_BYTES_MOST ((UINT64_C(1) << (64 - MT_WORD_BYTES)) - 1)
_Static_assert(MT_OBJECT_CHUNK *MT_OBJECT_CHUNKS < 1 << 23, "ids of records");
_Static_assert(VK_MAX_MEMORY_TYPES == 1 << (MT_WORD_OBJECT - MT_WORD_TYPE), "memory types");

/* Slices of one size that may be handed out at once. */
struct mt_ready {
    struct mt_slice *first;
    uint32_t count, fewest; /* fewest: since the last look; so many were not needed */
};

/* A slice at rest: read one after the other, while the slices lie anywhere. */
struct mt_resting {
    struct mt_slice *slice;
    uint64_t stamp; /* of its free; in a front the frame, 0 before the first one */
    uint64_t granules;
};

/*
 * What one thread has of a pool: slices ready to be handed out, slices it freed
 * and has not put to rest with the others yet, and its counters. All under the
 * lock, which is its own: others take it at the end of frames, when memory runs
 * out, and when they have no lane and share the last front.
 */
struct mt_front {
    _Alignas(64) struct mt_lock lock;
    uint32_t freed_count;
    uint64_t freed_bytes;
    uint64_t *stats, *times;         /* the attr[] of its two records, or the scratch below */
    uint64_t *own_stats, *own_times; /* of its records */
    uint32_t records[2];
    uint64_t hits_at_look;
    struct mt_slice *ready[MT_POOL_SIZES];
    uint8_t batch[MT_POOL_SIZES];           /* slices that it gets next when none is ready */
    struct mt_resting freed[MT_POOL_FREED]; /* oldest first */
    uint64_t scratch[24];
};

/* One memory type, with or without device address, of one kind. All under the lock, but for the fronts. */
struct mt_pool {
    _Alignas(64) struct mt_lock lock;
    struct mt_device_pool *owner;
    uint32_t type;
    bool has_address, is_host_visible, is_growing;
    enum mt_pool_kind kind;
    uint64_t next_chunk_bytes, most_chunk_bytes, limit_bytes;
    uint64_t no_chunk_until; /* stamp: the driver has just refused one */
    struct mt_slice *spare;
    uint64_t resting_bytes, resting_most;
    uint32_t resting_first, resting_count; /* in `resting`: where the oldest is, and how many */
    struct mt_ready ready[MT_POOL_SIZES];
    uint64_t ready_bytes, ready_most;
    uint32_t looks;
    unsigned variant;
    struct mt_chunk *current; /* arena: the one being filled */
    struct mt_chunk *empty;   /* the one kept in reserve */
    uint32_t chunk_limit;     /* numbers below this have been given to chunks */
    struct mt_tlsf_block *records;
    size_t records_bytes;
    uint64_t *stats, *times;         /* the attr[] of its two records, or the scratch below */
    uint64_t *own_stats, *own_times; /* of its records */
    uint64_t scratch[24];
    _Atomic uint32_t checks;                         /* verify: operations, for the full checks */
    struct mt_front *_Atomic fronts[MT_POOL_FRONTS]; /* by lane; the last one serves threads without a lane */
    struct mt_front shared;
    struct mt_tlsf tlsf;
    struct mt_chunk *chunks[MT_POOL_CHUNKS];
    struct mt_resting resting[MT_POOL_RESTING]; /* a ring */
};

/* What one device has. */
struct mt_device_pool {
    struct mt_device *device;
    enum mt_pool_mode mode;
    bool uses_tlsf, is_verifying;
    char *slices; /* address space for slices; their handles lie in it */
    uint64_t slices_bytes;
    _Atomic uint64_t *words; /* MT_WORD_*, by slice; behind the slices */
    uint64_t granule_bytes, atom_bytes;
    unsigned granule_shift;
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

static inline _Atomic uint64_t *mt_pool_word_at(const struct mt_device_pool *pools, const struct mt_slice *slice)
{
    return &pools->words[slice - (const struct mt_slice *)(const void *)pools->slices];
}
static inline uint32_t mt_word_type(uint64_t word)
{
    return word >> MT_WORD_TYPE & (VK_MAX_MEMORY_TYPES - 1);
}
static inline uint32_t mt_word_object(uint64_t word)
{
    return word >> MT_WORD_OBJECT & ((1u << (MT_WORD_BYTES - MT_WORD_OBJECT)) - 1);
}
static inline uint64_t mt_word_bytes(uint64_t word)
{
    return word >> MT_WORD_BYTES;
}
static inline bool mt_slice_is_live(const struct mt_device_pool *pools, const struct mt_slice *slice)
{
    return atomic_load_explicit(mt_pool_word_at(pools, slice), memory_order_relaxed) & MT_WORD_IS_LIVE;
}

/*
 * vkAllocateMemory; *call_ns is the time of the driver's call for this very allocation, 0 for a slice. `self`: the
 * calling thread, NULL where the device is not tracked.
 */
VkResult mt_pool_allocate(struct mt_device_pool *pools, const struct mt_self *self,
                          const VkMemoryAllocateInfo *info, const VkAllocationCallbacks *allocator,
                          VkDeviceMemory *memory, uint64_t *call_ns);
/* The word of a live slice; 0, counted, when the handle is not one's. Acquire: pairs with mt_pool_hold(). */
uint64_t mt_pool_word(struct mt_device_pool *pools, uint64_t handle);
/* Frees a live slice with this word, to which nothing is bound any more. */
void mt_pool_free(struct mt_device_pool *pools, const struct mt_self *self, uint64_t handle, uint64_t word);
VkResult mt_pool_map(struct mt_device_pool *pools, uint64_t handle, uint64_t offset, void **data);
/* The id of its record, of a slice that was just allocated. */
static inline void mt_pool_set_object(struct mt_device_pool *pools, uint64_t handle, uint32_t object)
{
    _Atomic uint64_t *word = mt_pool_word_at(pools, (const struct mt_slice *)(uintptr_t)handle);
    uint64_t value = atomic_load_explicit(word, memory_order_relaxed);
    atomic_store_explicit(word, value | (uint64_t)object << MT_WORD_OBJECT, memory_order_relaxed);
}
/*
 * Notes that resources are bound to a memory, or that none is any more. Under
 * the memory's lock, after the last look at its node: who frees a slice without
 * the bit looks no more at what hung on it.
 */
static inline void mt_pool_hold(const struct mt_device *device, const struct mt_node *memory, bool is_bound)
{
    if (!device->pool || !(memory->flags & MT_NODE_IS_SLICE)) return;
    _Atomic uint64_t *word = mt_pool_word_at(device->pool, (const struct mt_slice *)(uintptr_t)memory->handle);
    if (is_bound)
        atomic_fetch_or_explicit(word, MT_WORD_IS_BOUND, memory_order_relaxed);
    else
        atomic_fetch_and_explicit(word, ~(uint64_t)MT_WORD_IS_BOUND, memory_order_release);
}
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
VkResult mt_pool_bind_tensors(struct mt_device_pool *pools, uint32_t count,
                              const struct mt_bind_tensor_info *infos);
VkResult mt_pool_bind_graphs(struct mt_device_pool *pools, uint32_t count,
                             const struct mt_bind_graph_session_info *infos);
VkResult mt_pool_bind_video(struct mt_device_pool *pools, VkVideoSessionKHR session, uint32_t count,
                            const VkBindVideoSessionMemoryInfoKHR *infos);
/* Forgets the private data of a slice. */
void mt_pool_forget_privates(struct mt_device_pool *pools, const struct mt_slice *slice);

/* ---- pool.c, for pool_front.c --------------------------------------------------------- */

/* Frames; before the first one, sixtieths of a second, in numbers that no frame has. */
uint64_t mt_pool_stamp(const struct mt_device_pool *pools);
void mt_pool_enter(struct mt_pool *pool);
void mt_pool_leave(struct mt_pool *pool);
/* A live record of the device's with this id, or a new one of a kind. */
struct mt_object *mt_pool_record(struct mt_device *device, uint16_t kind, uint32_t *id);
/* Gives chunks back to the driver; no lock is held. True when there were any. */
bool mt_pool_end_chunks(struct mt_pool *pool, struct mt_chunk *list);
/* Puts spare slices on the pool's list, when there is memory. Under the pool's lock. */
void mt_pool_refill_spare(struct mt_pool *pool);

/* ---- pool_front.c --------------------------------------------------------------------- */

/* Makes the front of threads without a lane; false when there is no room for its records. */
bool mt_front_start(struct mt_pool *pool);
/* A live slice, cleared where the host can; NULL when no chunk has room. */
struct mt_slice *mt_front_take(struct mt_pool *pool, const struct mt_self *self, uint64_t bytes);
/* Takes what all fronts hold, or only what lies idle in them. */
void mt_front_collect(struct mt_pool *pool, bool all);
/* Checks everything that must hold. No lock is held. */
void mt_front_check(struct mt_pool *pool);
/* At the end of the device: adds the counters of all fronts to the pool's own. */
void mt_front_end(struct mt_pool *pool);

/* ---- pool_decide.c ---------------------------------------------------------------------- */

/* What stands against pools on this device, as one line in `reason`; false when nothing does. */
bool mt_pool_is_refused(const struct mt_device *device, const struct mt_instance *instance,
                        const VkDeviceCreateInfo *info, char *reason, size_t bytes);
/* Which kind a memory type may serve; MT_POOL_NONE: it is passed through. */
enum mt_pool_kind mt_pool_kind_of(const struct mt_device *device, uint32_t type);
/* MT_VK_POOL_HIT, or why an allocation is passed through. */
enum mt_vulkan_pool_miss mt_pool_judge(const VkMemoryAllocateInfo *info, bool *has_address);

/* ---- pool_space.c: under the pool's lock -------------------------------------------------- */

/* Cuts `granules` out of a chunk for a slice that has none; false when no chunk has room. */
bool mt_space_cut(struct mt_pool *pool, struct mt_slice *slice, uint64_t granules);
/* A slice of this size that is ready, or NULL. */
struct mt_slice *mt_space_take_ready(struct mt_pool *pool, uint64_t granules);
/* Puts at most MT_POOL_FREED freed slices to rest. */
void mt_space_rest(struct mt_pool *pool, const struct mt_resting *freed, uint32_t count, uint64_t stamp,
                   struct mt_chunk **released);
/* Ends the rest of what has rested, of at most `most` slices. */
void mt_space_expire(struct mt_pool *pool, uint64_t stamp, unsigned most, struct mt_chunk **released);
/* Gives a slice's place back, whose size is that of its bytes. A chunk that is to be freed comes on the list. */
void mt_space_give(struct mt_pool *pool, struct mt_slice *slice, uint64_t stamp, struct mt_chunk **released);
/* Gives back what is ready: all, or what was not needed since the last time. */
void mt_space_trim(struct mt_pool *pool, uint64_t stamp, bool all, struct mt_chunk **released);
/* Verify: notes that a slice is handed out, or that its rest is over. */
void mt_space_mark(struct mt_pool *pool, const struct mt_slice *slice, bool is_used);
/* Adds a chunk; false when the tables are full. */
bool mt_space_add(struct mt_pool *pool, struct mt_chunk *chunk);
/* Takes the empty chunk in reserve out; NULL when there is none, or not for long enough. */
struct mt_chunk *mt_space_take_empty(struct mt_pool *pool, uint64_t stamp, uint64_t age);
/* Takes any chunk out, used or not; NULL when none is left. For the end of the device. */
struct mt_chunk *mt_space_take_any(struct mt_pool *pool);
/* Checks what must hold of the chunks and what is cut out of them; `slices` are held by threads and fronts. */
void mt_space_check(struct mt_pool *pool, uint64_t slices);

static inline uint64_t mt_round_up(uint64_t value, uint64_t power)
{
    return (value + power - 1) & ~(power - 1);
}

static inline uint64_t mt_pool_granules(const struct mt_pool *pool, uint64_t bytes)
{
    return (bytes + pool->owner->granule_bytes - 1) >> pool->owner->granule_shift;
}

#endif
