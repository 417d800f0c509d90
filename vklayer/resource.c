/*
 * Buffers and images: their records, their memory requirements as the program
 * asks for them, and which memory they lie in. Hooks on any thread. A
 * resource hangs on a list of its memory; the list is the memory's lock's.
 */
#include "layer.h"
#include "pool.h"
#include "scope.h"

/* ---- the list of a memory --------------------------------------------------------- */

/* The caller holds the memory's lock. */
static void take_off_list(struct mt_node *memory, struct mt_node *resource)
{
    if (resource->bound_next) resource->bound_next->bound_previous = resource->bound_previous;
    if (resource->bound_previous)
        resource->bound_previous->bound_next = resource->bound_next;
    else /* Release: who sees NULL sees that nobody works on this memory or its record any more. */
        atomic_store_explicit(&memory->bound, resource->bound_next, memory_order_release);
    resource->bound_next = resource->bound_previous = NULL;
    /* Release: who sees NULL sees that nobody works on this resource from the memory's side any more. */
    atomic_store_explicit(&resource->memory, NULL, memory_order_release);
}

static void count_bound(struct mt_device *device, const struct mt_node *memory, int change)
{
    struct mt_object *record = mt_node_object(device, memory);
    if (!record) return;
    mt_object_begin(record);
    record->attr[MT_VK_MEMORY_BOUND] += (uint64_t)(int64_t)change;
    mt_object_end(record);
}

void mt_resource_unlink(struct mt_device *device, struct mt_node *resource)
{
    /* Acquire: pairs with the release in take_off_list(). */
    struct mt_node *memory = atomic_load_explicit(&resource->memory, memory_order_acquire);
    if (!memory) return;
    struct mt_lock *lock = mt_handles_lock(&device->memories, memory);
    mt_lock_enter(lock);
    if (atomic_load_explicit(&resource->memory, memory_order_relaxed) == memory) { /* else it was freed meanwhile */
        count_bound(device, memory, -1);
        take_off_list(memory, resource);
        if (!atomic_load_explicit(&memory->bound, memory_order_relaxed)) mt_pool_hold(device, memory, false);
    }
    mt_lock_leave(lock);
}

static void mark_memory_freed(struct mt_device *device, struct mt_node *resource)
{
    struct mt_lock *lock = mt_handles_lock(mt_resource_map(device, resource), resource);
    mt_lock_enter(lock);
    struct mt_object *record = mt_node_object(device, resource);
    if (record) {
        mt_object_begin(record);
        record->attr[MT_VK_RESOURCE_FLAGS] |= MT_VK_RESOURCE_MEMORY_FREED;
        record->link = 0;
        mt_object_end(record);
    }
    mt_lock_leave(lock);
}

uint32_t mt_resource_memory_gone(struct mt_device *device, struct mt_node *memory)
{
    uint32_t count = 0;
    /* Acquire: pairs with the release in take_off_list(). Nothing is bound to memory that is being freed. */
    if (!atomic_load_explicit(&memory->bound, memory_order_acquire)) return 0;
    struct mt_lock *lock = mt_handles_lock(&device->memories, memory);
    struct mt_node *resource;
    mt_lock_enter(lock);
    while ((resource = atomic_load_explicit(&memory->bound, memory_order_relaxed))) {
        mark_memory_freed(device, resource);
        take_off_list(memory, resource);
        count++;
    }
    mt_lock_leave(lock);
    return count;
}

/* ---- making and destroying --------------------------------------------------------- */

struct mt_object *mt_resource_record(struct mt_device *device, uint16_t kind, uint64_t handle, uint32_t *id)
{
    struct mt_self *self = mt_process_self(device->core);
    struct mt_object *record = mt_object_new_in(device->core, self->lane, kind, id);
    if (!record) return NULL;
    record->owner = device->stats->object;
    record->handle = handle;
    record->create_tid = self->tid;
    record->thread = self->thread;
    record->tag = (uint16_t)mt_scope_tag_told(device->core);
    record->stack = mt_process_stack_of(device->core, self);
    return record;
}

void mt_resource_add(struct mt_device *device, struct mt_handle_map *map, const struct mt_node *node)
{
    if (!mt_handles_add(map, node) && node->object)
        mt_object_free_in(device->core, mt_process_lane(device->core), node->object);
}

/* Before the call goes down, because the handle may come back at once. */
void mt_resource_forget(struct mt_device *device, struct mt_handle_map *map, uint64_t handle)
{
    struct mt_node *node = mt_handles_take(map, handle);
    if (!node) {
        mt_device_unknown(device);
        return;
    }
    mt_node_fetch(device, node);
    if (node->flags & MT_NODE_IS_IMAGE) mt_past_note(device, node);
    mt_resource_unlink(device, node);
    bool has_ranges = (map == &device->buffers || map == &device->images) && node->sparse;
    if (__builtin_expect(has_ranges, 0)) mt_sparse_forget(device, node);
    if (node->object) mt_object_free_in(device->core, mt_process_lane(device->core), node->object);
    mt_handles_give_back(map, node);
}

static const void *find_structure(const void *chain, int type)
{
    const VkBaseInStructure *at = chain;
    while (at && (int)at->sType != type) at = at->pNext;
    return at;
}

static uint64_t usage_of(const VkBufferCreateInfo *info)
{
    const struct mt_buffer_usage *usage = find_structure(info->pNext, MT_STYPE_BUFFER_USAGE);
    return usage ? usage->usage : info->usage;
}

static void record_buffer(struct mt_device *device, const VkBufferCreateInfo *info, uint64_t handle)
{
    struct mt_node node = {.handle = handle, .size_bytes = info->size};
    mt_handles_fetch(&device->buffers, handle);
    struct mt_object *record = mt_resource_record(device, MT_VK_BUFFER, handle, &node.object);
    if (record) {
        record->size_bytes = info->size;
        record->attr[MT_VK_RESOURCE_USAGE] = usage_of(info);
        record->attr[MT_VK_RESOURCE_CREATE_FLAGS] = info->flags;
        if (info->flags & VK_BUFFER_CREATE_SPARSE_BINDING_BIT)
            record->attr[MT_VK_RESOURCE_FLAGS] = MT_VK_RESOURCE_SPARSE;
        mt_object_publish(record);
    }
    mt_resource_add(device, &device->buffers, &node);
}

VKAPI_ATTR VkResult VKAPI_CALL memtrack_CreateBuffer(VkDevice handle, const VkBufferCreateInfo *info,
                                                     const VkAllocationCallbacks *allocator, VkBuffer *buffer)
{
    struct mt_device *device = mt_device_find(handle);
    if (!device) return VK_ERROR_OUT_OF_HOST_MEMORY;
    VkResult result = device->next.CreateBuffer(handle, info, allocator, buffer);
    if (result == VK_SUCCESS && mt_device_is_tracked(device)) record_buffer(device, info, MT_HANDLE(*buffer));
    return result;
}

VKAPI_ATTR void VKAPI_CALL memtrack_DestroyBuffer(VkDevice handle, VkBuffer buffer,
                                                  const VkAllocationCallbacks *allocator)
{
    struct mt_device *device = mt_device_find(handle);
    if (!device) return;
    if (buffer && mt_device_is_tracked(device)) mt_resource_forget(device, &device->buffers, MT_HANDLE(buffer));
    device->next.DestroyBuffer(handle, buffer, allocator);
}

static uint64_t image_flags(const VkImageCreateInfo *info)
{
    return (info->flags & VK_IMAGE_CREATE_SPARSE_BINDING_BIT ? MT_VK_RESOURCE_SPARSE : 0) |
           (info->flags & VK_IMAGE_CREATE_DISJOINT_BIT ? MT_VK_RESOURCE_DISJOINT : 0);
}

/* vkGetImageMemoryRequirements must not be asked for these. */
static bool forbids_query(const VkImageCreateInfo *info)
{
    const VkExternalMemoryImageCreateInfo *external = find_structure(
        info->pNext, VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_IMAGE_CREATE_INFO);
    const VkImageSwapchainCreateInfoKHR *swapchain = find_structure(
        info->pNext, VK_STRUCTURE_TYPE_IMAGE_SWAPCHAIN_CREATE_INFO_KHR);
    return info->flags & VK_IMAGE_CREATE_DISJOINT_BIT || (swapchain && swapchain->swapchain) ||
           (external && external->handleTypes & VK_EXTERNAL_MEMORY_HANDLE_TYPE_ANDROID_HARDWARE_BUFFER_BIT_ANDROID);
}

static void record_image(struct mt_device *device, const VkImageCreateInfo *info, uint64_t handle)
{
    struct mt_node node = {.handle = handle, .flags = MT_NODE_IS_IMAGE};
    mt_handles_fetch(&device->images, handle);
    if (forbids_query(info)) node.flags |= MT_NODE_NO_QUERY;
    struct mt_object *record = mt_resource_record(device, MT_VK_IMAGE, handle, &node.object);
    if (record) {
        record->attr[MT_VK_RESOURCE_USAGE] = info->usage;
        record->attr[MT_VK_RESOURCE_CREATE_FLAGS] = info->flags;
        record->attr[MT_VK_RESOURCE_FLAGS] = image_flags(info);
        record->attr[MT_VK_IMAGE_EXTENT] = info->extent.width | (uint64_t)info->extent.height << 32;
        record->attr[MT_VK_IMAGE_DEPTH_LAYERS] = info->extent.depth | (uint64_t)info->arrayLayers << 32;
        record->attr[MT_VK_IMAGE_MIPS_SAMPLES] = info->mipLevels | (uint64_t)info->samples << 32;
        record->attr[MT_VK_IMAGE_FORMAT] = (uint32_t)info->format | (uint64_t)(uint32_t)info->tiling << 32;
        record->attr[MT_VK_IMAGE_TYPE] = info->imageType;
        mt_object_publish(record);
    }
    mt_resource_add(device, &device->images, &node);
}

VKAPI_ATTR VkResult VKAPI_CALL memtrack_CreateImage(VkDevice handle, const VkImageCreateInfo *info,
                                                    const VkAllocationCallbacks *allocator, VkImage *image)
{
    struct mt_device *device = mt_device_find(handle);
    if (!device) return VK_ERROR_OUT_OF_HOST_MEMORY;
    VkResult result = device->next.CreateImage(handle, info, allocator, image);
    if (result == VK_SUCCESS && mt_device_is_tracked(device)) record_image(device, info, MT_HANDLE(*image));
    return result;
}

VKAPI_ATTR void VKAPI_CALL memtrack_DestroyImage(VkDevice handle, VkImage image,
                                                 const VkAllocationCallbacks *allocator)
{
    struct mt_device *device = mt_device_find(handle);
    if (!device) return;
    if (image && mt_device_is_tracked(device)) mt_resource_forget(device, &device->images, MT_HANDLE(image));
    device->next.DestroyImage(handle, image, allocator);
}

/* ---- memory requirements --------------------------------------------------------------- */

void mt_resource_set_requirements(struct mt_device *device, struct mt_node *node,
                                  const VkMemoryRequirements *required, uint16_t plane)
{
    if (node->flags & MT_NODE_REQUIREMENTS && (!plane || node->planes & plane)) return;
    struct mt_object *record = mt_node_object(device, node);
    if (record) {
        mt_object_begin(record);
        record->attr[MT_VK_RESOURCE_REQUIRED_BYTES] += required->size; /* planes add up */
        record->attr[MT_VK_RESOURCE_ALIGNMENT] = required->alignment;
        record->attr[MT_VK_RESOURCE_TYPE_BITS] = required->memoryTypeBits;
        if (node->flags & MT_NODE_IS_IMAGE) record->size_bytes = record->attr[MT_VK_RESOURCE_REQUIRED_BYTES];
        mt_object_end(record);
    }
    node->flags |= MT_NODE_REQUIREMENTS;
    node->planes |= plane;
}

static void learn(struct mt_device *device, struct mt_handle_map *map, uint64_t handle,
                  const VkMemoryRequirements *required, uint16_t plane)
{
    if (device->pool) mt_pool_learn(device->pool, required->alignment);
    if (!mt_device_is_tracked(device)) return;
    struct mt_node *node = mt_handles_enter(map, handle);
    if (!node) return; /* an image of a swapchain: made by the driver */
    mt_resource_set_requirements(device, node, required, plane);
    mt_handles_leave(map, node);
}

VKAPI_ATTR void VKAPI_CALL memtrack_GetBufferMemoryRequirements(VkDevice handle, VkBuffer buffer,
                                                                VkMemoryRequirements *required)
{
    struct mt_device *device = mt_device_find(handle);
    if (!device) return;
    device->next.GetBufferMemoryRequirements(handle, buffer, required);
    learn(device, &device->buffers, MT_HANDLE(buffer), required, 0);
}

static void buffer_requirements2(VkDevice handle, struct mt_device *device, PFN_vkGetBufferMemoryRequirements2 next,
                                 const VkBufferMemoryRequirementsInfo2 *info, VkMemoryRequirements2 *required)
{
    if (!next) return;
    next(handle, info, required);
    learn(device, &device->buffers, MT_HANDLE(info->buffer), &required->memoryRequirements, 0);
}

VKAPI_ATTR void VKAPI_CALL memtrack_GetBufferMemoryRequirements2(VkDevice handle,
                                                                 const VkBufferMemoryRequirementsInfo2 *info,
                                                                 VkMemoryRequirements2 *required)
{
    struct mt_device *device = mt_device_find(handle);
    if (device) buffer_requirements2(handle, device, device->next.GetBufferMemoryRequirements2, info, required);
}

VKAPI_ATTR void VKAPI_CALL memtrack_GetBufferMemoryRequirements2KHR(VkDevice handle,
                                                                    const VkBufferMemoryRequirementsInfo2 *info,
                                                                    VkMemoryRequirements2 *required)
{
    struct mt_device *device = mt_device_find(handle);
    if (device) buffer_requirements2(handle, device, device->next.GetBufferMemoryRequirements2KHR, info, required);
}

VKAPI_ATTR void VKAPI_CALL memtrack_GetImageMemoryRequirements(VkDevice handle, VkImage image,
                                                               VkMemoryRequirements *required)
{
    struct mt_device *device = mt_device_find(handle);
    if (!device) return;
    device->next.GetImageMemoryRequirements(handle, image, required);
    learn(device, &device->images, MT_HANDLE(image), required, 0);
}

static void image_requirements2(VkDevice handle, struct mt_device *device, PFN_vkGetImageMemoryRequirements2 next,
                                const VkImageMemoryRequirementsInfo2 *info, VkMemoryRequirements2 *required)
{
    if (!next) return;
    next(handle, info, required);
    const VkImagePlaneMemoryRequirementsInfo *plane = find_structure(
        info->pNext, VK_STRUCTURE_TYPE_IMAGE_PLANE_MEMORY_REQUIREMENTS_INFO);
    learn(device, &device->images, MT_HANDLE(info->image), &required->memoryRequirements,
          plane ? (uint16_t)plane->planeAspect : 0);
}

VKAPI_ATTR void VKAPI_CALL memtrack_GetImageMemoryRequirements2(VkDevice handle,
                                                                const VkImageMemoryRequirementsInfo2 *info,
                                                                VkMemoryRequirements2 *required)
{
    struct mt_device *device = mt_device_find(handle);
    if (device) image_requirements2(handle, device, device->next.GetImageMemoryRequirements2, info, required);
}

VKAPI_ATTR void VKAPI_CALL memtrack_GetImageMemoryRequirements2KHR(VkDevice handle,
                                                                   const VkImageMemoryRequirementsInfo2 *info,
                                                                   VkMemoryRequirements2 *required)
{
    struct mt_device *device = mt_device_find(handle);
    if (device) image_requirements2(handle, device, device->next.GetImageMemoryRequirements2KHR, info, required);
}
