/*
 * Binding: which memory and offset each buffer and image lies at. Hooks on
 * any thread; recorded after the call came back, each binding for itself,
 * because a call for several may fail for some.
 */
#include "layer.h"
#include "pool.h"

/* One binding as any of the commands says it. */
struct binding {
    uint64_t resource, memory, offset;
    uint64_t swapchain; /* an image bound to an image of a swapchain: no memory is named */
    bool is_plane;
};

static const void *find_structure(const void *chain, int type)
{
    const VkBaseInStructure *at = chain;
    while (at && (int)at->sType != type) at = at->pNext;
    return at;
}

/* The caller holds the lock of the memory and inside it that of the resource. */
static void put_on_list(struct mt_node *memory, struct mt_node *resource)
{
    resource->bound_previous = NULL;
    struct mt_node *first = atomic_load_explicit(&memory->bound, memory_order_relaxed);
    resource->bound_next = first;
    if (first) first->bound_previous = resource;
    atomic_store_explicit(&memory->bound, resource, memory_order_release);
    atomic_store_explicit(&resource->memory, memory, memory_order_release); /* pairs with mt_resource_unlink() */
}

static void write_binding(struct mt_device *device, const struct mt_node *resource, const struct binding *binding,
                          uint32_t link)
{
    struct mt_object *record = mt_node_object(device, resource);
    if (!record) return;
    uint64_t flags = MT_VK_RESOURCE_BOUND | (binding->is_plane ? MT_VK_RESOURCE_DISJOINT : 0) |
                     (binding->memory ? 0 : MT_VK_RESOURCE_SWAPCHAIN);
    mt_object_begin(record);
    record->link = link;
    record->offset = binding->offset;
    record->attr[MT_VK_RESOURCE_FLAGS] |= flags;
    record->attr[MT_VK_RESOURCE_BIND_NS] = mt_now_coarse_ns();
    mt_object_end(record);
}

static void count_resource(struct mt_device *device, const struct mt_node *memory)
{
    struct mt_object *record = mt_node_object(device, memory);
    if (!record) return;
    mt_object_begin(record);
    record->attr[MT_VK_MEMORY_BOUND]++;
    mt_object_end(record);
}

/* False when the resource is not known or its requirements are not yet. */
static bool bind_to_memory(struct mt_device *device, struct mt_handle_map *map, struct mt_node *memory,
                           const struct binding *binding)
{
    struct mt_node *resource = mt_handles_enter(map, binding->resource);
    if (!resource) {
        mt_device_unknown(device);
        return true;
    }
    bool is_complete = resource->flags & (MT_NODE_REQUIREMENTS | MT_NODE_NO_QUERY);
    if (!atomic_load_explicit(&resource->memory, memory_order_relaxed)) {
        put_on_list(memory, resource);
        mt_pool_hold(device, memory, true);
        count_resource(device, memory);
    }
    write_binding(device, resource, binding, memory->object);
    mt_handles_leave(map, resource);
    return is_complete;
}

static void bind_to_swapchain(struct mt_device *device, struct mt_handle_map *map, const struct binding *binding)
{
    struct mt_node *swapchain = mt_handles_enter(&device->swapchains, binding->swapchain);
    uint32_t link = swapchain ? swapchain->object : 0;
    if (swapchain) mt_handles_leave(&device->swapchains, swapchain);
    struct mt_node *resource = mt_handles_enter(map, binding->resource);
    if (!resource) return;
    write_binding(device, resource, binding, link);
    mt_handles_leave(map, resource);
}

/* A plane of a resource that hangs on another memory already: it moves to the new one. */
static void leave_old_memory(struct mt_device *device, struct mt_handle_map *map, const struct binding *binding)
{
    struct mt_node *resource = mt_handles_enter(map, binding->resource);
    if (!resource) return;
    mt_handles_leave(map, resource);
    mt_resource_unlink(device, resource);
}

/* True when the resource's requirements should be asked for. */
static bool record_binding(struct mt_device *device, struct mt_handle_map *map, const struct binding *binding)
{
    if (!binding->memory) {
        if (binding->swapchain) bind_to_swapchain(device, map, binding);
        return false;
    }
    if (binding->is_plane) leave_old_memory(device, map, binding);
    struct mt_node *memory = mt_handles_enter(&device->memories, binding->memory);
    if (!memory) {
        mt_device_unknown(device);
        return false;
    }
    bool is_complete = bind_to_memory(device, map, memory, binding);
    mt_handles_leave(&device->memories, memory);
    return !is_complete;
}

bool mt_bind_record(struct mt_device *device, struct mt_handle_map *map, uint64_t resource, uint64_t memory,
                    uint64_t offset)
{
    struct binding binding = {resource, memory, offset, 0, false};
    return record_binding(device, map, &binding);
}

static void learn(struct mt_device *device, struct mt_handle_map *map, uint64_t resource,
                  const VkMemoryRequirements *required)
{
    struct mt_node *node = mt_handles_enter(map, resource);
    if (!node) return;
    mt_resource_set_requirements(device, node, required, 0);
    mt_handles_leave(map, node);
}

/* ---- buffers ------------------------------------------------------------------- */

static void record_buffer(VkDevice handle, struct mt_device *device, const struct binding *binding, VkBuffer buffer)
{
    VkMemoryRequirements required;
    if (!record_binding(device, &device->buffers, binding)) return;
    device->next.GetBufferMemoryRequirements(handle, buffer, &required);
    learn(device, &device->buffers, binding->resource, &required);
}

VKAPI_ATTR VkResult VKAPI_CALL memtrack_BindBufferMemory(VkDevice handle, VkBuffer buffer, VkDeviceMemory memory,
                                                         VkDeviceSize offset)
{
    struct mt_device *device = mt_device_find(handle);
    if (!device) return VK_ERROR_OUT_OF_HOST_MEMORY;
    VkResult result = device->pool ? mt_pool_bind_buffer(device->pool, buffer, memory, offset)
                                   : device->next.BindBufferMemory(handle, buffer, memory, offset);
    if (result == VK_SUCCESS && mt_device_is_tracked(device)) {
        struct binding binding = {MT_HANDLE(buffer), MT_HANDLE(memory), offset, 0, false};
        record_buffer(handle, device, &binding, buffer);
    }
    return result;
}

/* Whether this binding of several was made: maintenance6 tells it for each, otherwise the call's result tells for
 * all. */
static bool was_bound(VkResult result, const void *chain)
{
    const struct mt_bind_status *status = find_structure(chain, MT_STYPE_BIND_MEMORY_STATUS);
    if (status && status->pResult && result != VK_SUCCESS) return *status->pResult == VK_SUCCESS;
    return result == VK_SUCCESS;
}

static VkResult bind_buffers(VkDevice handle, struct mt_device *device, PFN_vkBindBufferMemory2 next,
                             uint32_t count, const VkBindBufferMemoryInfo *infos)
{
    if (!next) return VK_ERROR_OUT_OF_HOST_MEMORY;
    VkResult result = device->pool ? mt_pool_bind_buffers(device->pool, next, count, infos)
                                   : next(handle, count, infos);
    if (!mt_device_is_tracked(device)) return result;
    for (uint32_t i = 0; i < count; i++) {
        if (!was_bound(result, infos[i].pNext)) continue;
        struct binding binding = {MT_HANDLE(infos[i].buffer), MT_HANDLE(infos[i].memory), infos[i].memoryOffset, 0,
                                  false};
        record_buffer(handle, device, &binding, infos[i].buffer);
    }
    return result;
}

VKAPI_ATTR VkResult VKAPI_CALL memtrack_BindBufferMemory2(VkDevice handle, uint32_t count,
                                                          const VkBindBufferMemoryInfo *infos)
{
    struct mt_device *device = mt_device_find(handle);
    return device ? bind_buffers(handle, device, device->next.BindBufferMemory2, count, infos)
                  : VK_ERROR_OUT_OF_HOST_MEMORY;
}

VKAPI_ATTR VkResult VKAPI_CALL memtrack_BindBufferMemory2KHR(VkDevice handle, uint32_t count,
                                                             const VkBindBufferMemoryInfo *infos)
{
    struct mt_device *device = mt_device_find(handle);
    return device ? bind_buffers(handle, device, device->next.BindBufferMemory2KHR, count, infos)
                  : VK_ERROR_OUT_OF_HOST_MEMORY;
}

/* ---- images -------------------------------------------------------------------- */

static void record_image(VkDevice handle, struct mt_device *device, const struct binding *binding, VkImage image)
{
    VkMemoryRequirements required;
    if (!record_binding(device, &device->images, binding)) return;
    device->next.GetImageMemoryRequirements(handle, image, &required);
    learn(device, &device->images, binding->resource, &required);
}

VKAPI_ATTR VkResult VKAPI_CALL memtrack_BindImageMemory(VkDevice handle, VkImage image, VkDeviceMemory memory,
                                                        VkDeviceSize offset)
{
    struct mt_device *device = mt_device_find(handle);
    if (!device) return VK_ERROR_OUT_OF_HOST_MEMORY;
    VkResult result = device->pool ? mt_pool_bind_image(device->pool, image, memory, offset)
                                   : device->next.BindImageMemory(handle, image, memory, offset);
    if (result == VK_SUCCESS && mt_device_is_tracked(device)) {
        struct binding binding = {MT_HANDLE(image), MT_HANDLE(memory), offset, 0, false};
        record_image(handle, device, &binding, image);
    }
    return result;
}

static struct binding image_binding(const VkBindImageMemoryInfo *info)
{
    const VkBindImageMemorySwapchainInfoKHR *swapchain = find_structure(
        info->pNext, VK_STRUCTURE_TYPE_BIND_IMAGE_MEMORY_SWAPCHAIN_INFO_KHR);
    struct binding binding = {MT_HANDLE(info->image), MT_HANDLE(info->memory), info->memoryOffset, 0, false};
    if (swapchain && swapchain->swapchain) {
        binding.swapchain = MT_HANDLE(swapchain->swapchain);
        binding.memory = 0; /* ignored by the driver too */
        binding.offset = 0;
    }
    binding.is_plane = find_structure(info->pNext, VK_STRUCTURE_TYPE_BIND_IMAGE_PLANE_MEMORY_INFO) != NULL;
    return binding;
}

static VkResult bind_images(VkDevice handle, struct mt_device *device, PFN_vkBindImageMemory2 next, uint32_t count,
                            const VkBindImageMemoryInfo *infos)
{
    if (!next) return VK_ERROR_OUT_OF_HOST_MEMORY;
    VkResult result = device->pool ? mt_pool_bind_images(device->pool, next, count, infos)
                                   : next(handle, count, infos);
    if (!mt_device_is_tracked(device)) return result;
    for (uint32_t i = 0; i < count; i++) {
        if (!was_bound(result, infos[i].pNext)) continue;
        struct binding binding = image_binding(&infos[i]);
        record_image(handle, device, &binding, infos[i].image);
    }
    return result;
}

VKAPI_ATTR VkResult VKAPI_CALL memtrack_BindImageMemory2(VkDevice handle, uint32_t count,
                                                         const VkBindImageMemoryInfo *infos)
{
    struct mt_device *device = mt_device_find(handle);
    return device ? bind_images(handle, device, device->next.BindImageMemory2, count, infos)
                  : VK_ERROR_OUT_OF_HOST_MEMORY;
}

VKAPI_ATTR VkResult VKAPI_CALL memtrack_BindImageMemory2KHR(VkDevice handle, uint32_t count,
                                                            const VkBindImageMemoryInfo *infos)
{
    struct mt_device *device = mt_device_find(handle);
    return device ? bind_images(handle, device, device->next.BindImageMemory2KHR, count, infos)
                  : VK_ERROR_OUT_OF_HOST_MEMORY;
}
