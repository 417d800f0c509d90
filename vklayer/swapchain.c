/*
 * Swapchains and presentation. The driver makes a swapchain's images itself,
 * so no vkAllocateMemory is seen: their bytes are estimated from extent,
 * format and number. While an old swapchain is not destroyed, both count.
 * Hooks on any thread.
 */
#include "layer.h"
#include "pool.h"

/* What an image of the swapchain needs, 0 where the format is not known. Rows are taken as packed. */
static uint64_t image_bytes(const struct mt_object *record)
{
    uint64_t extent = record->attr[MT_VK_SWAPCHAIN_EXTENT];
    return (extent & UINT32_MAX) * (extent >> 32) * record->attr[MT_VK_SWAPCHAIN_LAYERS] *
           mt_texel_bytes((VkFormat)record->attr[MT_VK_SWAPCHAIN_FORMAT]);
}

static uint32_t write_record(struct mt_device *device, const VkSwapchainCreateInfoKHR *info, uint64_t handle)
{
    uint32_t id = 0;
    struct mt_object *record = mt_object_new(device->core, MT_VK_SWAPCHAIN, &id);
    if (!record) return 0;
    record->owner = device->stats->object;
    record->handle = handle;
    record->create_tid = mt_process_tid(device->core);
    record->stack = mt_process_stack(device->core);
    record->attr[MT_VK_SWAPCHAIN_IMAGES] = info->minImageCount;
    record->attr[MT_VK_SWAPCHAIN_EXTENT] = info->imageExtent.width | (uint64_t)info->imageExtent.height << 32;
    record->attr[MT_VK_SWAPCHAIN_FORMAT] = (uint32_t)info->imageFormat;
    record->attr[MT_VK_SWAPCHAIN_USAGE] = info->imageUsage;
    record->attr[MT_VK_SWAPCHAIN_PRESENT_MODE] = (uint32_t)info->presentMode;
    record->attr[MT_VK_SWAPCHAIN_LAYERS] = info->imageArrayLayers;
    record->size_bytes = info->minImageCount * image_bytes(record);
    mt_object_publish(record);
    return id;
}

static void record_swapchain(struct mt_device *device, const VkSwapchainCreateInfoKHR *info, uint64_t handle)
{
    struct mt_node node = {.handle = handle};
    node.object = write_record(device, info, handle);
    if (!mt_handles_add(&device->swapchains, &node) && node.object) mt_object_free(device->core, node.object);
}

/* Runs `change` on the record of a swapchain, when it has one. */
static void change_record(struct mt_device *device, uint64_t handle, void (*change)(struct mt_object *, uint64_t),
                          uint64_t value)
{
    struct mt_node *node = mt_handles_enter(&device->swapchains, handle);
    if (!node) return;
    struct mt_object *record = mt_node_object(device, node);
    if (record) {
        mt_object_begin(record);
        change(record, value);
        mt_object_end(record);
    }
    mt_handles_leave(&device->swapchains, node);
}

static void set_retired(struct mt_object *record, uint64_t value)
{
    record->attr[MT_VK_SWAPCHAIN_RETIRED] = value;
}

static void set_images(struct mt_object *record, uint64_t count)
{
    record->attr[MT_VK_SWAPCHAIN_IMAGES] = count;
    record->size_bytes = count * image_bytes(record);
}

static void add_present(struct mt_object *record, uint64_t count)
{
    record->attr[MT_VK_SWAPCHAIN_PRESENTS] += count;
}

/* The old swapchain is retired even when the new one could not be made. */
static void retire_old(struct mt_device *device, const VkSwapchainCreateInfoKHR *info)
{
    if (info->oldSwapchain) change_record(device, MT_HANDLE(info->oldSwapchain), set_retired, 1);
}

VKAPI_ATTR VkResult VKAPI_CALL memtrack_CreateSwapchainKHR(VkDevice handle, const VkSwapchainCreateInfoKHR *info,
                                                           const VkAllocationCallbacks *allocator,
                                                           VkSwapchainKHR *swapchain)
{
    struct mt_device *device = mt_device_find(handle);
    if (!device || !device->next.CreateSwapchainKHR) return VK_ERROR_INITIALIZATION_FAILED;
    VkResult result = device->next.CreateSwapchainKHR(handle, info, allocator, swapchain);
    if (!mt_device_is_tracked(device)) return result;
    retire_old(device, info);
    if (result == VK_SUCCESS) record_swapchain(device, info, MT_HANDLE(*swapchain));
    return result;
}

VKAPI_ATTR VkResult VKAPI_CALL memtrack_CreateSharedSwapchainsKHR(VkDevice handle, uint32_t count,
                                                                  const VkSwapchainCreateInfoKHR *infos,
                                                                  const VkAllocationCallbacks *allocator,
                                                                  VkSwapchainKHR *swapchains)
{
    struct mt_device *device = mt_device_find(handle);
    if (!device || !device->next.CreateSharedSwapchainsKHR) return VK_ERROR_INITIALIZATION_FAILED;
    VkResult result = device->next.CreateSharedSwapchainsKHR(handle, count, infos, allocator, swapchains);
    if (!mt_device_is_tracked(device)) return result;
    for (uint32_t i = 0; i < count; i++) {
        retire_old(device, &infos[i]);
        if (result == VK_SUCCESS) record_swapchain(device, &infos[i], MT_HANDLE(swapchains[i]));
    }
    return result;
}

static void forget(struct mt_device *device, uint64_t handle)
{
    struct mt_node *node = mt_handles_take(&device->swapchains, handle);
    if (!node) {
        mt_device_unknown(device);
        return;
    }
    if (node->object) mt_object_free(device->core, node->object);
    mt_handles_give_back(&device->swapchains, node);
}

VKAPI_ATTR void VKAPI_CALL memtrack_DestroySwapchainKHR(VkDevice handle, VkSwapchainKHR swapchain,
                                                        const VkAllocationCallbacks *allocator)
{
    struct mt_device *device = mt_device_find(handle);
    if (!device || !device->next.DestroySwapchainKHR) return;
    if (swapchain && mt_device_is_tracked(device)) forget(device, MT_HANDLE(swapchain));
    device->next.DestroySwapchainKHR(handle, swapchain, allocator);
}

VKAPI_ATTR VkResult VKAPI_CALL memtrack_GetSwapchainImagesKHR(VkDevice handle, VkSwapchainKHR swapchain,
                                                              uint32_t *count, VkImage *images)
{
    struct mt_device *device = mt_device_find(handle);
    if (!device || !device->next.GetSwapchainImagesKHR) return VK_ERROR_INITIALIZATION_FAILED;
    VkResult result = device->next.GetSwapchainImagesKHR(handle, swapchain, count, images);
    if (result == VK_SUCCESS && mt_device_is_tracked(device))
        change_record(device, MT_HANDLE(swapchain), set_images, *count);
    return result;
}

VKAPI_ATTR VkResult VKAPI_CALL memtrack_QueuePresentKHR(VkQueue queue, const VkPresentInfoKHR *info)
{
    struct mt_device *device = mt_device_find(queue);
    if (!device || !device->next.QueuePresentKHR) return VK_ERROR_INITIALIZATION_FAILED;
    if (!mt_device_is_tracked(device)) return device->next.QueuePresentKHR(queue, info);
    bool ends_frame = mt_frame_begin(device->core, MT_FRAME_VULKAN);
    VkResult result = device->next.QueuePresentKHR(queue, info);
    if (ends_frame) mt_frame_end(device->core, MT_FRAME_VULKAN);
    if (device->pool) mt_pool_frame(device->pool);
    for (uint32_t i = 0; i < info->swapchainCount; i++)
        change_record(device, MT_HANDLE(info->pSwapchains[i]), add_present, 1);
    return result;
}
