/*
 * Pools of device memory: handing slices out and taking them back, making
 * chunks and giving them back to the driver, falling back to the driver. Hooks
 * on any thread; no lock is held while the driver is called.
 */
#include "pool.h"

#include "sys.h"

#include <errno.h>
#include <string.h>

enum {
    SLICES_PER_REFILL = 64,
    PROBES = 3,
    EMPTY_FRAMES = 300, /* an empty chunk is kept so many frames */
    RETRY_STAMPS = 60,  /* no chunk is asked for so many frames after the driver refused one */
    LARGEST_EVERY = 64, /* frames between two looks for the largest free range and for what lies idle */
    EXPIRE_MOST = 64,   /* slices whose rest one thread ends at the end of a frame */
    TOLD_VIOLATIONS = 16,
    FIRST_CHUNK_SHARE = 16, /* the first chunk is so much smaller than the largest */
    COMMIT_BYTES = 256 * 1024,
    HUGE_BYTES = 2 * 1024 * 1024, /* from so many on slices come in huge pages: fewer misses where many live */
    TRIES = 4,
};
#define ALIGNMENT_FLOOR (UINT64_C(64) << 10)
#define IMAGE_FROM      (UINT64_C(1) << 20) /* larger requests of device-local memory count as image-sized */
#define RESTING_MOST    (UINT64_C(64) << 20)
#define READY_SHARE     8 /* of a chunk may wait ready */
#define READY_MOST      (UINT64_C(8) << 20)
#define TIME_STAMP      (UINT64_C(1) << 62)
#define SLICES_BYTES    (sizeof(void *) == 8 ? UINT64_C(256) << 20 : UINT64_C(8) << 20)
/* Of the words of so many bytes of slices. */
#define WORDS_BYTES(slices_bytes) ((slices_bytes) / sizeof(struct mt_slice) * sizeof(uint64_t))

uint64_t mt_pool_stamp(const struct mt_device_pool *pools)
{
    uint64_t frame = mt_frame_now(pools->device->core);
    return frame ? frame : TIME_STAMP | mt_now_coarse_ns() >> 24;
}

void mt_pool_enter(struct mt_pool *pool)
{
    mt_lock_enter(&pool->lock);
    if (__builtin_expect(!mt_device_is_tracked(pool->owner->device),
                         0)) { /* a fork's child: the records are not ours */
        pool->stats = pool->scratch;
        pool->times = pool->scratch + 12;
    }
}

void mt_pool_leave(struct mt_pool *pool)
{
    mt_lock_leave(&pool->lock);
}

static void count(struct mt_device_pool *pools, unsigned which)
{
    if (mt_device_is_tracked(pools->device)) __atomic_fetch_add(&pools->counters[which], 1, __ATOMIC_RELAXED);
}

static void tell(struct mt_device_pool *pools, const char *what)
{
    if (atomic_fetch_add_explicit(&pools->told, 1, memory_order_relaxed) < TOLD_VIOLATIONS &&
        mt_device_is_tracked(pools->device))
        mt_event(pools->device->core, "pool", "%s", what);
}

void mt_pool_violation(struct mt_device_pool *pools, const char *what)
{
    count(pools, MT_VK_POOLS_VIOLATIONS);
    tell(pools, what);
}

/* ---- chunks: calls of the driver ----------------------------------------------------------- */

static VkResult call_allocate(struct mt_pool *pool, uint64_t bytes, VkDeviceMemory *memory)
{
    struct mt_device *device = pool->owner->device;
    VkMemoryAllocateFlagsInfo flags = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO,
                                       .flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT};
    VkMemoryAllocateInfo info = {VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, pool->has_address ? &flags : NULL, bytes,
                                 pool->type};
    return device->next.AllocateMemory(device->handle, &info, NULL, memory);
}

static void note_call(struct mt_pool *pool, enum mt_call call, uint64_t spent_ns)
{
    struct mt_device *device = pool->owner->device;
    if (!mt_device_is_tracked(device)) return;
    mt_device_count_call(device, call, pool->type, spent_ns);
    __atomic_fetch_add(&pool->own_times[MT_VK_POOL_CHUNK_NS], spent_ns, __ATOMIC_RELAXED);
}

static void drop_chunk(struct mt_device_pool *pools, struct mt_chunk *chunk)
{
    mt_lock_enter(&pools->lock);
    chunk->next = pools->spare_chunks;
    pools->spare_chunks = chunk;
    mt_lock_leave(&pools->lock);
}

static size_t bitmap_bytes(const struct mt_device_pool *pools, uint64_t bytes)
{
    return (size_t)((bytes / pools->granule_bytes + 63) / 64 * 8);
}

static struct mt_chunk *new_chunk(struct mt_device_pool *pools, uint64_t bytes)
{
    mt_lock_enter(&pools->lock);
    struct mt_chunk *chunk = pools->spare_chunks;
    if (chunk) pools->spare_chunks = chunk->next;
    mt_lock_leave(&pools->lock);
    if (!chunk) chunk = mt_arena_alloc(&pools->device->arena, sizeof *chunk);
    if (!chunk) return NULL;
    memset(chunk, 0, sizeof *chunk);
    chunk->bytes = bytes;
    if (pools->is_verifying) chunk->granules = mt_layer_map(pools->device->core, bitmap_bytes(pools, bytes));
    return chunk;
}

static void end_chunk(struct mt_pool *pool, struct mt_chunk *chunk)
{
    struct mt_device_pool *pools = pool->owner;
    struct mt_device *device = pools->device;
    uint64_t start_ns = mt_now_ns();
    device->next.FreeMemory(device->handle, chunk->handle, NULL);
    note_call(pool, MT_CALL_FREE, mt_now_ns() - start_ns);
    if (chunk->granules) mt_layer_unmap(device->core, chunk->granules, bitmap_bytes(pools, chunk->bytes));
    drop_chunk(pools, chunk);
}

bool mt_pool_end_chunks(struct mt_pool *pool, struct mt_chunk *list)
{
    bool has_any = list != NULL;
    while (list) {
        struct mt_chunk *next = list->next;
        end_chunk(pool, list);
        list = next;
    }
    return has_any;
}

/* Memory that the host sees is mapped here for as long as it lives. */
static bool map_chunk(struct mt_pool *pool, struct mt_chunk *chunk)
{
    struct mt_device *device = pool->owner->device;
    void *data = NULL;
    if (!pool->is_host_visible) return true;
    if (device->next.MapMemory(device->handle, chunk->handle, 0, VK_WHOLE_SIZE, 0, &data) != VK_SUCCESS)
        return false;
    chunk->mapped = data;
    return true;
}

static struct mt_chunk *make_chunk(struct mt_pool *pool, uint64_t bytes)
{
    struct mt_chunk *chunk = new_chunk(pool->owner, bytes);
    if (!chunk) return NULL;
    uint64_t start_ns = mt_now_ns();
    VkResult result = call_allocate(pool, bytes, &chunk->handle);
    if (result == VK_SUCCESS) {
        note_call(pool, MT_CALL_ALLOCATE, mt_now_ns() - start_ns);
        if (map_chunk(pool, chunk)) return chunk;
        end_chunk(pool, chunk);
        return NULL;
    }
    if (chunk->granules)
        mt_layer_unmap(pool->owner->device->core, chunk->granules, bitmap_bytes(pool->owner, bytes));
    drop_chunk(pool->owner, chunk);
    return NULL;
}

/* ---- growth ------------------------------------------------------------------------------------ */

static uint64_t chunk_bytes_for(const struct mt_pool *pool, uint64_t need)
{
    uint64_t bytes = pool->next_chunk_bytes;
    while (bytes < 2 * need && bytes < pool->most_chunk_bytes) bytes *= 2;
    return bytes;
}

/* An arena of memory that cannot be cleared is used up: it goes before the next one comes. */
static struct mt_chunk *take_used_up(struct mt_pool *pool, uint64_t stamp)
{
    bool may_recycle = pool->owner->uses_tlsf || pool->is_host_visible;
    return may_recycle ? NULL : mt_space_take_empty(pool, stamp, 0);
}

static bool add_chunk(struct mt_pool *pool, struct mt_chunk *chunk, uint64_t bytes, uint64_t stamp)
{
    mt_pool_enter(pool);
    pool->is_growing = false;
    bool is_added = chunk && mt_space_add(pool, chunk);
    if (!is_added)
        pool->no_chunk_until = stamp + RETRY_STAMPS;
    else
        pool->next_chunk_bytes = bytes * 2 < pool->most_chunk_bytes ? bytes * 2 : pool->most_chunk_bytes;
    mt_pool_leave(pool);
    return is_added;
}

/* One thread grows a pool at a time; the others go to the driver meanwhile. Returns the new chunk's size, 0: no. */
static uint64_t start_growing(struct mt_pool *pool, uint64_t stamp, uint64_t need, struct mt_chunk **used_up,
                              enum mt_vulkan_pool_miss *miss)
{
    mt_pool_enter(pool);
    uint64_t left = pool->no_chunk_until -
                    stamp; /* far more where the time is over, or was counted before the first frame */
    bool is_refused = pool->no_chunk_until && left && left <= RETRY_STAMPS;
    *miss = is_refused ? MT_VK_MISS_CHUNK : MT_VK_MISS_BUSY;
    uint64_t bytes = 0;
    if (!is_refused && !pool->is_growing) {
        pool->is_growing = true;
        *used_up = take_used_up(pool, stamp);
        bytes = chunk_bytes_for(pool, need);
    }
    mt_pool_leave(pool);
    return bytes;
}

static uint64_t median(uint64_t *values)
{
    uint64_t low = values[0] < values[1] ? values[0] : values[1], high = values[0] ^ values[1] ^ low;
    if (values[2] < low) return low;
    return values[2] < high ? values[2] : high;
}

/* What the driver itself takes for a small allocation, to say later whether pools pay. */
static void probe(struct mt_pool *pool)
{
    struct mt_device *device = pool->owner->device;
    uint64_t allocate_ns[PROBES], free_ns[PROBES];
    for (unsigned i = 0; i < PROBES; i++) {
        VkDeviceMemory memory;
        uint64_t start_ns = mt_now_ns();
        if (call_allocate(pool, ALIGNMENT_FLOOR, &memory) != VK_SUCCESS) return;
        uint64_t middle_ns = mt_now_ns();
        device->next.FreeMemory(device->handle, memory, NULL);
        allocate_ns[i] = middle_ns - start_ns;
        free_ns[i] = mt_now_ns() - middle_ns;
    }
    mt_pool_enter(pool);
    pool->times[MT_VK_POOL_PROBE_ALLOCATE_NS] = median(allocate_ns);
    pool->times[MT_VK_POOL_PROBE_FREE_NS] = median(free_ns);
    pool->times[MT_VK_POOL_PROBES] += 2 * PROBES;
    mt_pool_leave(pool);
}

static bool grow(struct mt_pool *pool, uint64_t need, enum mt_vulkan_pool_miss *miss)
{
    struct mt_chunk *used_up = NULL, *chunk = NULL;
    uint64_t stamp = mt_pool_stamp(pool->owner);
    uint64_t bytes = start_growing(pool, stamp, need, &used_up, miss);
    if (!bytes) return false;
    mt_pool_end_chunks(pool, used_up);
    if (!pool->own_times[MT_VK_POOL_PROBES]) probe(pool);
    while (!(chunk = make_chunk(pool, bytes)) && bytes / 2 >= need && bytes / 2 >= MT_POOL_SMALLEST_CHUNK)
        bytes /= 2;
    if (add_chunk(pool, chunk, bytes, stamp)) return true;
    if (chunk) end_chunk(pool, chunk);
    *miss = MT_VK_MISS_CHUNK;
    return false;
}

/* ---- slices ---------------------------------------------------------------------------------------- */

static bool commit(char *at, size_t bytes)
{
    return mt_sys_mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE,
                       -1) != MAP_FAILED;
}

static void count_committed(struct mt_device_pool *pools, int64_t bytes)
{
    struct mt_core *core = pools->device->core;
    if (mt_core_is_on(core))
        atomic_fetch_add_explicit(&core->segment->globals.private_bytes, (uint64_t)bytes, memory_order_relaxed);
    mt_layer_count(core, bytes);
}

/* Few slices take a few pages; many lie far apart, and a huge page spares most misses of addresses. */
static bool commit_slices(struct mt_device_pool *pools)
{
    uint64_t done = pools->slices_committed, bytes = done < HUGE_BYTES ? COMMIT_BYTES : HUGE_BYTES;
    if (done >= pools->slices_bytes) return false;
    if (bytes > pools->slices_bytes - done) bytes = pools->slices_bytes - done;
    char *slices = pools->slices + done, *words = (char *)pools->words + WORDS_BYTES(done);
    if (!commit(words, WORDS_BYTES(bytes)) || !commit(slices, bytes)) return false;
    int saved = errno;
    if (bytes == HUGE_BYTES) madvise(slices, bytes, MADV_HUGEPAGE); /* where the system has none, small ones do */
    errno = saved;
    pools->slices_committed += bytes;
    count_committed(pools, (int64_t)(bytes + WORDS_BYTES(bytes)));
    return true;
}

void mt_pool_refill_spare(struct mt_pool *pool)
{
    struct mt_device_pool *pools = pool->owner;
    mt_lock_enter(&pools->lock);
    uint64_t used = atomic_load_explicit(&pools->slices_used, memory_order_relaxed);
    if (used < pools->slices_committed || commit_slices(pools)) {
        struct mt_slice *slices = (struct mt_slice *)(pools->slices + used);
        atomic_store_explicit(&pools->slices_used, used + SLICES_PER_REFILL * sizeof *slices, memory_order_relaxed);
        for (unsigned i = SLICES_PER_REFILL; i-- > 0;) {
            slices[i].pool = pool;
            slices[i].next = pool->spare;
            pool->spare = &slices[i];
        }
    }
    mt_lock_leave(&pools->lock);
}

/* 0 when the handle is not a live slice's. */
static inline uint64_t word_of(const struct mt_device_pool *pools, uint64_t handle)
{
    uint64_t place = handle - (uint64_t)(uintptr_t)pools->slices;
    if (place >= atomic_load_explicit(&pools->slices_used, memory_order_relaxed) || place % sizeof(struct mt_slice))
        return 0;
    return atomic_load_explicit(&pools->words[place / sizeof(struct mt_slice)], memory_order_acquire);
}

/* For the map of device memory. */
static struct mt_node *node_of_handle(void *owner, uint64_t handle)
{
    return word_of(owner, handle) ? &((struct mt_slice *)(uintptr_t)handle)->node : NULL;
}

void mt_pool_visit(struct mt_device_pool *pools, void (*visit)(struct mt_node *node, void *context), void *context)
{
    struct mt_slice *slices = (struct mt_slice *)(void *)pools->slices;
    size_t count = atomic_load_explicit(&pools->slices_used, memory_order_relaxed) / sizeof *slices;
    for (size_t i = 0; i < count; i++)
        if (mt_slice_is_live(pools, &slices[i])) visit(&slices[i].node, context);
}

static __attribute__((noinline)) void tell_stale(struct mt_device_pool *pools)
{
    count(pools, MT_VK_POOLS_STALE);
    tell(pools, "device memory was used after vkFreeMemory");
}

uint64_t mt_pool_word(struct mt_device_pool *pools, uint64_t handle)
{
    uint64_t word = word_of(pools, handle);
    if (__builtin_expect(!word, 0)) tell_stale(pools);
    return word;
}

struct mt_slice *mt_pool_slice(struct mt_device_pool *pools, uint64_t handle)
{
    return mt_pool_word(pools, handle) ? (struct mt_slice *)(uintptr_t)handle : NULL;
}

VkResult mt_pool_map(struct mt_device_pool *pools, uint64_t handle, uint64_t offset, void **data)
{
    struct mt_slice *slice = mt_pool_slice(pools, handle);
    if (!slice || !slice->chunk->mapped || offset >= slice->bytes) return VK_ERROR_MEMORY_MAP_FAILED;
    *data = slice->chunk->mapped + slice->offset + offset;
    return VK_SUCCESS;
}

void mt_pool_learn(struct mt_device_pool *pools, uint64_t alignment)
{
    if (!alignment || (alignment & (alignment - 1))) return;
    uint64_t known = atomic_load_explicit(&pools->alignment, memory_order_relaxed);
    while (known < alignment &&
           !atomic_compare_exchange_weak_explicit(&pools->alignment, &known, alignment, memory_order_relaxed,
                                                  memory_order_relaxed)) {
    }
}

/* ---- making a pool ------------------------------------------------------------------------------------- */

struct mt_object *mt_pool_record(struct mt_device *device, uint16_t kind, uint32_t *id)
{
    struct mt_object *record = mt_object_at(device->core, *id);
    if (record) return record;
    record = mt_object_new(device->core, kind, id);
    if (!record) return NULL;
    record->owner = device->stats->object;
    return record;
}

/* The records of a pool, those of the last device of this kind when there was one. */
static bool attach_records(struct mt_pool *pool, unsigned variant)
{
    struct mt_device *device = pool->owner->device;
    uint32_t *ids = device->stats->pool_records[pool->type][variant];
    struct mt_object *record = mt_pool_record(device, MT_VK_POOL, &ids[0]);
    struct mt_object *times = record ? mt_pool_record(device, MT_VK_POOL_TIMES, &ids[1]) : NULL;
    if (!times) return false;
    mt_object_begin(record);
    record->heap = (uint16_t)device->stats->types[pool->type];
    record->size_bytes = pool->most_chunk_bytes;
    record->offset = pool->owner->granule_bytes;
    record->attr[MT_VK_POOL_TYPE] = pool->type | (uint64_t)pool->kind << 8 | (uint64_t)pool->has_address << 16;
    mt_object_end(record);
    mt_object_begin(times);
    times->link = ids[0];
    mt_object_end(times);
    pool->stats = pool->own_stats = record->attr;
    pool->times = pool->own_times = times->attr;
    return true;
}

static uint64_t power_below(uint64_t value)
{
    return value ? UINT64_C(1) << (63 - __builtin_clzll(value)) : 0;
}

static void set_sizes(struct mt_pool *pool)
{
    static const enum mt_option options[] = {[MT_POOL_DEVICE] = MT_OPT_VULKAN_POOL_DEVICE_CHUNK,
                                             [MT_POOL_STAGING] = MT_OPT_VULKAN_POOL_STAGING_CHUNK,
                                             [MT_POOL_IMAGE] = MT_OPT_VULKAN_POOL_IMAGE_CHUNK};
    const struct mt_device *device = pool->owner->device;
    const struct mt_core *core = device->core;
    uint64_t heap_bytes = device->memory.memoryHeaps[device->memory.memoryTypes[pool->type].heapIndex].size;
    uint64_t most = core->options.number[options[pool->kind]],
             limit = core->options.number[MT_OPT_VULKAN_POOL_LIMIT];
    if (sizeof(void *) == 4 && most > UINT64_C(16) << 20)
        most = UINT64_C(16) << 20; /* mapped for good: address space */
    if (most > heap_bytes / MT_POOL_HEAP_SHARE) most = heap_bytes / MT_POOL_HEAP_SHARE;
    pool->most_chunk_bytes = power_below(most);
    pool->next_chunk_bytes = pool->most_chunk_bytes / FIRST_CHUNK_SHARE;
    if (pool->next_chunk_bytes < MT_POOL_SMALLEST_CHUNK) pool->next_chunk_bytes = MT_POOL_SMALLEST_CHUNK;
    pool->limit_bytes = limit < pool->most_chunk_bytes / 4 ? limit : pool->most_chunk_bytes / 4;
    if (pool->limit_bytes > MT_SLICE_BYTES_MOST) pool->limit_bytes = MT_SLICE_BYTES_MOST;
    pool->ready_most = pool->most_chunk_bytes / READY_SHARE < READY_MOST ? pool->most_chunk_bytes / READY_SHARE
                                                                         : READY_MOST;
    pool->resting_most = RESTING_MOST < pool->most_chunk_bytes ? RESTING_MOST : pool->most_chunk_bytes;
}

static struct mt_pool *make_pool(struct mt_device_pool *pools, uint32_t type, unsigned variant)
{
    struct mt_core *core = pools->device->core;
    struct mt_pool *pool = mt_layer_map(core, sizeof *pool), *other = NULL;
    if (!pool) return NULL;
    pool->owner = pools;
    pool->type = type;
    pool->variant = variant;
    pool->has_address = variant & 1;
    pool->kind = variant & 2 ? MT_POOL_IMAGE : pools->kinds[type];
    pool->is_host_visible = pools->kinds[type] == MT_POOL_STAGING;
    set_sizes(pool);
    mt_lock_enter(&pools->lock);
    other = atomic_load_explicit(&pools->pools[type][variant], memory_order_relaxed);
    bool is_made = !other && attach_records(pool, variant) && mt_front_start(pool);
    if (is_made) atomic_store_explicit(&pools->pools[type][variant], pool, memory_order_release);
    mt_lock_leave(&pools->lock);
    if (is_made) return pool;
    mt_layer_unmap(core, pool, sizeof *pool); /* no room for its records, or another thread was faster */
    return other;
}

static struct mt_pool *pool_for(struct mt_device_pool *pools, uint32_t type, bool has_address, uint64_t bytes,
                                enum mt_vulkan_pool_miss *miss)
{
    *miss = MT_VK_MISS_TYPE;
    if (type >= VK_MAX_MEMORY_TYPES || pools->kinds[type] == MT_POOL_NONE) return NULL;
    bool is_image = pools->kinds[type] == MT_POOL_DEVICE && bytes > IMAGE_FROM;
    unsigned variant = (unsigned)has_address | (unsigned)is_image << 1;
    struct mt_pool *pool = atomic_load_explicit(&pools->pools[type][variant], memory_order_acquire);
    if (!pool) pool = make_pool(pools, type, variant);
    *miss = pool ? MT_VK_MISS_SIZE : MT_VK_MISS_BUSY;
    return pool && bytes <= pool->limit_bytes ? pool : NULL;
}

/* ---- allocation ------------------------------------------------------------------------------------------- */

static struct mt_slice *allocate_slice(struct mt_device_pool *pools, const struct mt_self *self,
                                       const VkMemoryAllocateInfo *info, enum mt_vulkan_pool_miss *miss)
{
    bool has_address = false;
    *miss = mt_pool_judge(info, &has_address);
    if (*miss || !info->allocationSize) return NULL;
    struct mt_pool *pool = pool_for(pools, info->memoryTypeIndex, has_address, info->allocationSize, miss);
    if (!pool) return NULL;
    struct mt_slice *slice = mt_front_take(pool, self, info->allocationSize);
    if (slice) return slice;
    uint64_t alignment = atomic_load_explicit(&pools->alignment, memory_order_relaxed);
    if (!grow(pool, mt_round_up(info->allocationSize, alignment), miss)) return NULL;
    slice = mt_front_take(pool, self, info->allocationSize);
    if (!slice) *miss = MT_VK_MISS_BUSY;
    return slice;
}

static struct mt_chunk *take_all_empty(struct mt_pool *pool)
{
    struct mt_chunk *list = NULL, *more;
    mt_front_collect(pool, true);
    mt_pool_enter(pool);
    while (pool->resting_count) mt_space_expire(pool, INT64_MAX, UINT32_MAX, &list);
    mt_space_trim(pool, 0, true, &list);
    more = mt_space_take_empty(pool, 0, 0);
    if (more) {
        more->next = list;
        list = more;
    }
    mt_pool_leave(pool);
    return list;
}

/* Gives the driver back what is not in use; true when there was any. */
static bool give_back_empty(struct mt_device_pool *pools)
{
    bool has_any = false;
    for (uint32_t type = 0; type < VK_MAX_MEMORY_TYPES; type++) {
        for (unsigned variant = 0; variant < MT_POOL_VARIANTS; variant++) {
            struct mt_pool *pool = atomic_load_explicit(&pools->pools[type][variant], memory_order_acquire);
            if (pool) has_any |= mt_pool_end_chunks(pool, take_all_empty(pool));
        }
    }
    return has_any;
}

static bool is_out_of_memory(VkResult result)
{
    return result == VK_ERROR_OUT_OF_DEVICE_MEMORY || result == VK_ERROR_OUT_OF_HOST_MEMORY ||
           result == VK_ERROR_TOO_MANY_OBJECTS;
}

/* A handle of the driver's that looks like a slice could not be told from one: another is asked for. */
static VkResult allocate_apart(struct mt_device_pool *pools, const VkMemoryAllocateInfo *info,
                               const VkAllocationCallbacks *allocator, VkDeviceMemory *memory)
{
    struct mt_device *device = pools->device;
    VkDeviceMemory held[TRIES];
    unsigned held_count = 0;
    VkResult result = device->next.AllocateMemory(device->handle, info, allocator, memory);
    while (result == VK_SUCCESS && mt_pool_owns(pools, MT_HANDLE(*memory))) {
        held[held_count++] = *memory;
        result = held_count < TRIES ? device->next.AllocateMemory(device->handle, info, allocator, memory)
                                    : VK_ERROR_OUT_OF_DEVICE_MEMORY;
    }
    while (held_count) device->next.FreeMemory(device->handle, held[--held_count], allocator);
    return result;
}

static VkResult allocate_from_driver(struct mt_device_pool *pools, const VkMemoryAllocateInfo *info,
                                     const VkAllocationCallbacks *allocator, VkDeviceMemory *memory,
                                     uint64_t *call_ns)
{
    uint64_t start_ns = mt_now_ns();
    VkResult result = allocate_apart(pools, info, allocator, memory);
    if (is_out_of_memory(result) && give_back_empty(pools)) {
        start_ns = mt_now_ns();
        result = allocate_apart(pools, info, allocator, memory);
    }
    *call_ns = mt_now_ns() - start_ns;
    return result;
}

VkResult mt_pool_allocate(struct mt_device_pool *pools, const struct mt_self *self,
                          const VkMemoryAllocateInfo *info, const VkAllocationCallbacks *allocator,
                          VkDeviceMemory *memory, uint64_t *call_ns)
{
    enum mt_vulkan_pool_miss miss;
    struct mt_slice *slice = allocate_slice(pools, self, info, &miss);
    *call_ns = 0;
    if (slice) {
        *memory = (VkDeviceMemory)(uintptr_t)slice;
        return VK_SUCCESS;
    }
    if (miss != MT_VK_POOL_HIT) count(pools, MT_VK_POOLS_MISSES + (unsigned)miss);
    return allocate_from_driver(pools, info, allocator, memory, call_ns);
}

/* ---- frames -------------------------------------------------------------------------------------------------- */

static uint64_t largest_free(const struct mt_pool *pool)
{
    if (pool->owner->uses_tlsf) return pool->records ? mt_tlsf_largest_free(&pool->tlsf) : 0;
    return pool->current ? pool->current->bytes - pool->current->bump : 0;
}

static void end_frame(struct mt_pool *pool, uint64_t stamp)
{
    struct mt_chunk *released = NULL;
    bool is_look = stamp % LARGEST_EVERY == 0;
    if (is_look) mt_front_collect(pool, false);
    mt_pool_enter(pool);
    mt_space_expire(pool, stamp, EXPIRE_MOST, &released);
    if (is_look) mt_space_trim(pool, stamp, false, &released);
    if (!released) released = mt_space_take_empty(pool, stamp, EMPTY_FRAMES);
    if (is_look) pool->times[MT_VK_POOL_LARGEST_FREE] = largest_free(pool);
    mt_pool_leave(pool);
    if (released) mt_pool_end_chunks(pool, released);
}

void mt_pool_frame(struct mt_device_pool *pools)
{
    uint64_t stamp = mt_pool_stamp(pools);
    for (uint32_t type = 0; type < pools->device->memory.memoryTypeCount; type++) {
        for (unsigned variant = 0; variant < MT_POOL_VARIANTS; variant++) {
            struct mt_pool *pool = atomic_load_explicit(&pools->pools[type][variant], memory_order_acquire);
            if (pool) end_frame(pool, stamp);
        }
    }
}

/* ---- start and end of a device
 * ----------------------------------------------------------------------------------- */

bool mt_pool_is_wanted(void)
{
    const struct mt_core *core = mt_process_core();
    return core && core->options.number[MT_OPT_VULKAN_POOL] != MT_POOL_OFF;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static void set_limits(struct mt_device_pool *pools, const struct mt_instance *instance)
{
    VkPhysicalDeviceProperties properties;
    instance->next.GetPhysicalDeviceProperties(pools->device->physical_device, &properties);
    const VkPhysicalDeviceLimits *limits = &properties.limits;
    uint64_t granule = larger(ALIGNMENT_FLOOR, larger(limits->bufferImageGranularity, limits->nonCoherentAtomSize));
    granule = larger(granule, limits->minMemoryMapAlignment);
    pools->granule_bytes = granule & (granule - 1) ? power_below(granule) * 2 : granule;
    pools->atom_bytes = limits->nonCoherentAtomSize ? limits->nonCoherentAtomSize : 1;
    pools->granule_shift = (unsigned)__builtin_ctzll(pools->granule_bytes);
    atomic_store_explicit(&pools->alignment, pools->granule_bytes, memory_order_relaxed);
}

/* On a boundary of huge pages; what lies before it goes back. */
static bool reserve_slices(struct mt_device_pool *pools)
{
    size_t bytes = SLICES_BYTES + WORDS_BYTES(SLICES_BYTES);
    char *at = mt_sys_mmap(NULL, bytes + HUGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
    if (at == MAP_FAILED) return false;
    size_t before = -(uintptr_t)at % HUGE_BYTES;
    if (before) mt_sys_munmap(at, before);
    mt_sys_munmap(at + before + bytes, HUGE_BYTES - before);
    pools->slices = at + before;
    pools->slices_bytes = SLICES_BYTES;
    pools->words = (_Atomic uint64_t *)(void *)(pools->slices + SLICES_BYTES);
    return true;
}

/* A program may make a thousand devices: what is decided as before is not told again. */
static struct mt_object *write_decision(struct mt_device *device, enum mt_pool_mode mode, const char *reason)
{
    struct mt_object *record = mt_pool_record(device, MT_VK_POOLS, &device->stats->pools_record);
    if (!record) return NULL;
    if (mode == MT_POOL_OFF && strcmp(record->text, reason))
        mt_event(device->core, "pool", "device memory is not pooled: %s", reason);
    mt_object_begin(record);
    mt_format(record->text, sizeof record->text, "%s", reason);
    record->attr[MT_VK_POOLS_MODE] = mode;
    mt_object_end(record);
    return record;
}

static struct mt_device_pool *make_pools(struct mt_device *device, const struct mt_instance *instance,
                                         struct mt_object *record, enum mt_pool_mode mode)
{
    struct mt_device_pool *pools = mt_layer_map(device->core, sizeof *pools);
    if (!pools) return NULL;
    pools->device = device;
    pools->mode = mode;
    pools->uses_tlsf = mode != MT_POOL_ARENA;
    pools->is_verifying = mode == MT_POOL_VERIFY;
    pools->counters = record->attr;
    pools->rest_frames = (uint32_t)device->core->options.number[MT_OPT_VULKAN_POOL_REST];
    for (uint32_t i = 0; i < VK_MAX_MEMORY_TYPES; i++) pools->kinds[i] = mt_pool_kind_of(device, i);
    set_limits(pools, instance);
    if (reserve_slices(pools)) {
        struct mt_handle_map *map = &device->memories;
        map->inline_node = node_of_handle;
        map->inline_owner = pools;
        map->inline_from = (uint64_t)(uintptr_t)pools->slices;
        map->inline_bytes = pools->slices_bytes;
        return pools;
    }
    mt_layer_unmap(device->core, pools, sizeof *pools);
    return NULL;
}

struct mt_device_pool *mt_pool_start(struct mt_device *device, const struct mt_instance *instance,
                                     const VkDeviceCreateInfo *info)
{
    char reason[80];
    enum mt_pool_mode mode = (enum mt_pool_mode)device->core->options.number[MT_OPT_VULKAN_POOL];
    if (mode == MT_POOL_OFF || !device->is_tracked) return NULL;
    bool is_refused = mt_pool_is_refused(device, instance, info, reason, sizeof reason);
    if (!is_refused) mt_format(reason, sizeof reason, "asked for by %s", mt_option_table[MT_OPT_VULKAN_POOL].name);
    struct mt_object *record = write_decision(device, is_refused ? MT_POOL_OFF : mode, reason);
    return is_refused || !record ? NULL : make_pools(device, instance, record, mode);
}

static void end_pool(struct mt_pool *pool)
{
    static const unsigned now[] = {MT_VK_POOL_LIVE, MT_VK_POOL_REQUESTED_BYTES, MT_VK_POOL_SLICE_BYTES,
                                   MT_VK_POOL_RESTING_BYTES};
    struct mt_core *core = pool->owner->device->core;
    struct mt_chunk *chunk;
    if (pool->owner->is_verifying) mt_front_check(pool);
    mt_pool_enter(pool);
    pool->times[MT_VK_POOL_LARGEST_FREE] = largest_free(pool);
    mt_pool_leave(pool);
    mt_front_end(pool);
    while ((chunk = mt_space_take_any(pool))) end_chunk(pool, chunk);
    for (unsigned i = 0; i < sizeof now / sizeof *now; i++) pool->stats[now[i]] = 0;
    if (pool->records) mt_layer_unmap(core, pool->records, pool->records_bytes);
    mt_layer_unmap(core, pool, sizeof *pool);
}

void mt_pool_end(struct mt_device_pool *pools)
{
    struct mt_core *core = pools->device->core;
    for (uint32_t type = 0; type < VK_MAX_MEMORY_TYPES; type++)
        for (unsigned variant = 0; variant < MT_POOL_VARIANTS; variant++)
            if (pools->pools[type][variant]) end_pool(pools->pools[type][variant]);
    mt_sys_munmap(pools->slices, pools->slices_bytes + WORDS_BYTES(pools->slices_bytes));
    count_committed(pools, -(int64_t)(pools->slices_committed + WORDS_BYTES(pools->slices_committed)));
    mt_layer_unmap(core, pools, sizeof *pools);
}
