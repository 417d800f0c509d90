/*
 * Sparse buffers and images: which range of each lies where in which memory,
 * as vkQueueBindSparse says it, counted from the submission on. A range is a
 * resource of its memory like a buffer is, numbered because it has no handle;
 * its resource keeps the ranges in order. A later bind cuts what it covers out
 * of earlier ones; ranges that follow each other in both are one.
 *
 * Hooks on any thread. A resource's ranges are guarded by the program, which
 * may not bind or destroy one resource on two threads at once; a range's node
 * and record are guarded as all are.
 */
#include "layer.h"
#include "pool.h"

#include <string.h>

enum {
    FIRST_RANGES = 100, /* a page */
    GROUP_DEVICES = 8,
};

struct range {
    uint64_t start, end; /* in the resource */
    uint64_t memory, memory_offset;
};

/* In order of their starts; nodes[i] belongs to ranges[i]. One mapping holds both. */
struct mt_sparse {
    size_t mapped_bytes;
    size_t count, capacity;
    struct range *ranges;
    struct mt_node **nodes;
};

/* ---- the list ------------------------------------------------------------------------ */

static struct mt_sparse *map_list(struct mt_device *device, size_t capacity)
{
    size_t bytes = sizeof(struct mt_sparse) + capacity * (sizeof(struct range) + sizeof(struct mt_node *));
    struct mt_sparse *list = mt_layer_map(device->core, bytes);
    if (!list) return NULL;
    list->mapped_bytes = bytes;
    list->capacity = capacity;
    list->ranges = (struct range *)(list + 1);
    list->nodes = (struct mt_node **)(list->ranges + capacity);
    return list;
}

/* Room for two more, which is what one cut and one bind can need; false, counted, when there is no memory. */
static bool make_room(struct mt_device *device, struct mt_sparse **list)
{
    struct mt_sparse *old = *list;
    if (old && old->count + 2 <= old->capacity) return true;
    struct mt_sparse *made = map_list(device, old ? old->capacity * 2 : FIRST_RANGES);
    if (!made) {
        mt_core_drop(device->core, MT_DROPPED_OBJECTS);
        return false;
    }
    if (old) {
        made->count = old->count;
        memcpy(made->ranges, old->ranges, old->count * sizeof *old->ranges);
        memcpy(made->nodes, old->nodes, old->count * sizeof *old->nodes);
        mt_layer_unmap(device->core, old, old->mapped_bytes);
    }
    *list = made;
    return true;
}

/* The first range that ends behind a place. */
static size_t first_behind(const struct mt_sparse *list, uint64_t place)
{
    size_t low = 0, high = list->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (list->ranges[middle].end <= place)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void move_list(struct mt_sparse *list, size_t to, size_t from)
{
    size_t rest = list->count - from;
    memmove(list->ranges + to, list->ranges + from, rest * sizeof *list->ranges);
    memmove(list->nodes + to, list->nodes + from, rest * sizeof *list->nodes);
    list->count = to + rest;
}

/* ---- one range: its node and record ------------------------------------------------------- */

struct owner {
    uint64_t handle;
    uint32_t record;
};

static void drop_node(struct mt_device *device, struct mt_node *node)
{
    node = node ? mt_handles_take(&device->sparse_ranges, node->handle) : NULL;
    if (!node) return;
    mt_resource_unlink(device, node);
    if (node->object) mt_object_free_in(device->core, mt_process_lane(device->core), node->object);
    mt_handles_give_back(&device->sparse_ranges, node);
}

static struct mt_node *make_node(struct mt_device *device, const struct owner *owner, const struct range *range,
                                 const struct mt_sparse_place *place)
{
    struct mt_node node = {.size_bytes = range->end - range->start, .flags = MT_NODE_IS_SPARSE | MT_NODE_NO_QUERY};
    node.handle = atomic_fetch_add_explicit(&device->last_sparse_range, 1, memory_order_relaxed) + 1;
    struct mt_object *record = mt_resource_record(device, MT_VK_SPARSE_RANGE, owner->handle, &node.object);
    if (record) {
        record->size_bytes = node.size_bytes;
        record->attr[MT_VK_SPARSE_RESOURCE] = owner->record;
        record->attr[MT_VK_SPARSE_START] = range->start;
        record->attr[MT_VK_SPARSE_ASPECT] = place->aspect;
        record->attr[MT_VK_SPARSE_BLOCK_BYTES] = place->block_bytes;
        mt_object_publish(record);
    }
    struct mt_node *made = mt_handles_add(&device->sparse_ranges, &node);
    if (!made && node.object) mt_object_free_in(device->core, mt_process_lane(device->core), node.object);
    if (made) mt_bind_record(device, &device->sparse_ranges, node.handle, range->memory, range->memory_offset);
    return made;
}

static bool is_bound(const struct mt_node *node)
{
    return node && atomic_load_explicit(&node->memory, memory_order_acquire);
}

/* Says again where a range lies after it was cut or has grown. */
static void write_range(struct mt_device *device, const struct range *range, struct mt_node *node)
{
    struct mt_lock *lock = node ? mt_handles_lock(&device->sparse_ranges, node) : NULL;
    struct mt_object *record = node ? mt_node_object(device, node) : NULL;
    if (!record) return;
    mt_lock_enter(lock);
    mt_object_begin(record);
    record->size_bytes = range->end - range->start;
    record->offset = range->memory_offset;
    record->attr[MT_VK_SPARSE_START] = range->start;
    mt_object_end(record);
    mt_lock_leave(lock);
}

/* ---- binding --------------------------------------------------------------------------------- */

static void insert(struct mt_sparse *list, size_t at, const struct range *range, struct mt_node *node)
{
    move_list(list, at + 1, at);
    list->ranges[at] = *range;
    list->nodes[at] = node;
}

static void set_start(struct range *range, uint64_t start)
{
    range->memory_offset += start - range->start;
    range->start = start;
}

/* Cuts [start, end) out of the middle of a range: what lies behind it becomes a range of its own. */
static void split(struct mt_device *device, struct mt_sparse *list, size_t at, const struct owner *owner,
                  const struct mt_sparse_place *place)
{
    struct range behind = list->ranges[at];
    set_start(&behind, place->start + place->bytes);
    list->ranges[at].end = place->start;
    write_range(device, &list->ranges[at], list->nodes[at]);
    if (!is_bound(list->nodes[at])) return;
    struct mt_node *node = make_node(device, owner, &behind, place);
    if (is_bound(list->nodes[at]))
        insert(list, at + 1, &behind, node);
    else /* its memory has just been freed, and the handle may be another's by now */
        drop_node(device, node);
}

/* Takes [start, end) out of all ranges. */
static void clear(struct mt_device *device, struct mt_sparse *list, const struct owner *owner,
                  const struct mt_sparse_place *place)
{
    uint64_t start = place->start, end = start + place->bytes;
    size_t at = first_behind(list, start);
    if (at < list->count && list->ranges[at].start < start) {
        if (list->ranges[at].end > end) {
            split(device, list, at, owner, place);
            return;
        }
        list->ranges[at].end = start;
        write_range(device, &list->ranges[at], list->nodes[at]);
        at++;
    }
    size_t first = at;
    for (; at < list->count && list->ranges[at].end <= end; at++) drop_node(device, list->nodes[at]);
    if (at < list->count && list->ranges[at].start < end) {
        set_start(&list->ranges[at], end);
        write_range(device, &list->ranges[at], list->nodes[at]);
    }
    move_list(list, first, at);
}

static bool follow(const struct range *left, const struct mt_node *node, const struct range *right)
{
    return left->end == right->start && left->memory == right->memory &&
           left->memory_offset + (left->end - left->start) == right->memory_offset && is_bound(node);
}

static bool add(struct mt_device *device, struct mt_sparse *list, const struct owner *owner,
                const struct mt_sparse_place *place)
{
    struct range range = {place->start, place->start + place->bytes, place->memory, place->memory_offset};
    size_t at = first_behind(list, range.start);
    if (at && follow(&list->ranges[at - 1], list->nodes[at - 1], &range)) {
        list->ranges[at - 1].end = range.end;
        write_range(device, &list->ranges[at - 1], list->nodes[at - 1]);
        return true;
    }
    if (at < list->count && follow(&range, list->nodes[at], &list->ranges[at])) {
        list->ranges[at].start = range.start;
        list->ranges[at].memory_offset = range.memory_offset;
        write_range(device, &list->ranges[at], list->nodes[at]);
        return true;
    }
    struct mt_node *node = make_node(device, owner, &range, place);
    if (!node) return false;
    insert(list, at, &range, node);
    return node->object && is_bound(node);
}

/* The resource's node and who it is; NULL, counted, when it was never seen. */
static struct mt_node *find_owner(struct mt_device *device, const struct mt_sparse_place *place,
                                  struct owner *owner)
{
    struct mt_node *node = mt_handles_enter(place->map, place->resource);
    if (!node) {
        mt_device_unknown(device);
        return NULL;
    }
    *owner = (struct owner){node->handle, node->object};
    struct mt_object *record = mt_node_object(device, node);
    if (record) {
        mt_object_begin(record);
        record->attr[MT_VK_RESOURCE_BIND_NS] = mt_now_coarse_ns();
        mt_object_end(record);
    }
    mt_handles_leave(place->map, node);
    return node; /* it stays while the program uses it */
}

bool mt_sparse_record(struct mt_device *device, const struct mt_sparse_place *place)
{
    struct owner owner;
    struct mt_node *node = find_owner(device, place, &owner);
    if (!node || place->start + place->bytes < place->start) return false;
    if (!place->bytes) return true;
    if (!place->memory && !node->sparse) return true;
    if (!make_room(device, &node->sparse)) return false;
    clear(device, node->sparse, &owner, place);
    return !place->memory || add(device, node->sparse, &owner, place);
}

void mt_sparse_forget(struct mt_device *device, struct mt_node *resource)
{
    struct mt_sparse *list = resource->sparse;
    for (size_t i = 0; i < list->count; i++) drop_node(device, list->nodes[i]);
    mt_layer_unmap(device->core, list, list->mapped_bytes);
    resource->sparse = NULL;
}

static void free_list(struct mt_node *resource, void *device)
{
    struct mt_sparse *list = resource->sparse;
    if (list) mt_layer_unmap(((struct mt_device *)device)->core, list, list->mapped_bytes);
    resource->sparse = NULL;
}

void mt_sparse_end(struct mt_device *device)
{
    if (!atomic_load_explicit(&device->last_sparse_range, memory_order_relaxed)) return;
    mt_handles_visit(&device->buffers, free_list, device);
    mt_handles_visit(&device->images, free_list, device);
}

/* ---- vkQueueBindSparse --------------------------------------------------------------------------- */

static void mark_memory(struct mt_device *device, VkDeviceMemory memory, bool is_recorded)
{
    struct mt_node *node = memory ? mt_handles_enter(&device->memories, MT_HANDLE(memory)) : NULL;
    if (!node) return;
    uint64_t flags = MT_VK_MEMORY_IS_SPARSE | (is_recorded ? 0 : MT_VK_MEMORY_SPARSE_UNKNOWN);
    struct mt_object *record = mt_node_object(device, node);
    if (record && (record->attr[MT_VK_MEMORY_FLAGS] & flags) != flags) {
        mt_object_begin(record);
        record->attr[MT_VK_MEMORY_FLAGS] |= flags;
        mt_object_end(record);
    }
    mt_handles_leave(&device->memories, node);
}

static void record_opaque(struct mt_device *device, struct mt_handle_map *map, uint64_t resource,
                          uint64_t group_device, uint32_t count, const VkSparseMemoryBind *binds)
{
    for (uint32_t i = 0; i < count; i++) {
        struct mt_sparse_place place = {.map = map, .resource = resource, .bytes = binds[i].size};
        place.start = binds[i].resourceOffset | group_device << MT_VK_SPARSE_DEVICE_SHIFT;
        if (binds[i].flags & VK_SPARSE_MEMORY_BIND_METADATA_BIT) place.start |= MT_VK_SPARSE_METADATA;
        place.memory = MT_HANDLE(binds[i].memory);
        place.memory_offset = binds[i].memoryOffset;
        mark_memory(device, binds[i].memory, group_device < GROUP_DEVICES && mt_sparse_record(device, &place));
    }
}

static void record_blocks(struct mt_device *device, uint64_t group_device, const VkSparseImageMemoryBindInfo *info)
{
    bool is_recorded = group_device < GROUP_DEVICES && mt_sparse_record_blocks(device, group_device, info);
    for (uint32_t i = 0; i < info->bindCount; i++) mark_memory(device, info->pBinds[i].memory, is_recorded);
}

/* On which device of a group the resource is bound. */
static uint64_t group_device_of(const void *chain)
{
    const VkBaseInStructure *at = chain;
    while (at && at->sType != VK_STRUCTURE_TYPE_DEVICE_GROUP_BIND_SPARSE_INFO) at = at->pNext;
    return at ? ((const VkDeviceGroupBindSparseInfo *)(const void *)at)->resourceDeviceIndex : 0;
}

/* Returns how many binds there are. */
static uint64_t record_info(struct mt_device *device, const VkBindSparseInfo *info)
{
    uint64_t count = 0, group_device = group_device_of(info->pNext);
    for (uint32_t i = 0; i < info->bufferBindCount; i++) {
        const VkSparseBufferMemoryBindInfo *buffer = &info->pBufferBinds[i];
        record_opaque(device, &device->buffers, MT_HANDLE(buffer->buffer), group_device, buffer->bindCount,
                      buffer->pBinds);
        count += buffer->bindCount;
    }
    for (uint32_t i = 0; i < info->imageOpaqueBindCount; i++) {
        const VkSparseImageOpaqueMemoryBindInfo *image = &info->pImageOpaqueBinds[i];
        record_opaque(device, &device->images, MT_HANDLE(image->image), group_device, image->bindCount,
                      image->pBinds);
        count += image->bindCount;
    }
    for (uint32_t i = 0; i < info->imageBindCount; i++) {
        record_blocks(device, group_device, &info->pImageBinds[i]);
        count += info->pImageBinds[i].bindCount;
    }
    return count;
}

VKAPI_ATTR VkResult VKAPI_CALL memtrack_QueueBindSparse(VkQueue queue, uint32_t count,
                                                        const VkBindSparseInfo *infos, VkFence fence)
{
    struct mt_device *device = mt_device_find(queue);
    if (!device || !device->next.QueueBindSparse) return VK_ERROR_OUT_OF_HOST_MEMORY;
    VkResult result = device->pool ? mt_pool_bind_sparse(device->pool, queue, count, infos, fence)
                                   : device->next.QueueBindSparse(queue, count, infos, fence);
    if (result != VK_SUCCESS || !mt_device_is_tracked(device)) return result;
    uint64_t binds = 0;
    for (uint32_t i = 0; i < count; i++) binds += record_info(device, &infos[i]);
    mt_device_sparse(device, binds);
    return result;
}
