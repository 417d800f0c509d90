/*
 * Names that the program gives its objects through VK_EXT_debug_utils or
 * VK_EXT_debug_marker. Hooks on any thread.
 */
#include "layer.h"
#include "pool.h"

static void set_name(struct mt_device *device, struct mt_handle_map *map, uint64_t handle, const char *name)
{
    struct mt_node *node = mt_handles_enter(map, handle);
    if (!node) return;
    struct mt_object *record = mt_node_object(device, node);
    if (record) {
        mt_object_begin(record);
        mt_copy_name(device->core, record->name, sizeof record->name, name ? name : "");
        mt_object_end(record);
    }
    mt_handles_leave(map, node);
}

static struct mt_handle_map *map_of_type(struct mt_device *device, VkObjectType type)
{
    switch ((int)type) {
    case VK_OBJECT_TYPE_DEVICE_MEMORY: return &device->memories;
    case VK_OBJECT_TYPE_BUFFER: return &device->buffers;
    case VK_OBJECT_TYPE_IMAGE: return &device->images;
    case VK_OBJECT_TYPE_SWAPCHAIN_KHR: return &device->swapchains;
    case VK_OBJECT_TYPE_ACCELERATION_STRUCTURE_KHR:
    case VK_OBJECT_TYPE_ACCELERATION_STRUCTURE_NV:
    case VK_OBJECT_TYPE_MICROMAP_EXT: return &device->accels;
    case VK_OBJECT_TYPE_VIDEO_SESSION_KHR: return &device->video_sessions;
    case MT_OBJECT_TENSOR: return &device->tensors;
    case MT_OBJECT_GRAPH_SESSION: return &device->graph_sessions;
    default: return NULL;
    }
}

static struct mt_handle_map *map_of_report_type(struct mt_device *device, VkDebugReportObjectTypeEXT type)
{
    switch ((int)type) {
    case VK_DEBUG_REPORT_OBJECT_TYPE_DEVICE_MEMORY_EXT: return &device->memories;
    case VK_DEBUG_REPORT_OBJECT_TYPE_BUFFER_EXT: return &device->buffers;
    case VK_DEBUG_REPORT_OBJECT_TYPE_IMAGE_EXT: return &device->images;
    case VK_DEBUG_REPORT_OBJECT_TYPE_SWAPCHAIN_KHR_EXT: return &device->swapchains;
    case VK_DEBUG_REPORT_OBJECT_TYPE_ACCELERATION_STRUCTURE_KHR_EXT:
    case VK_DEBUG_REPORT_OBJECT_TYPE_ACCELERATION_STRUCTURE_NV_EXT: return &device->accels;
    default: return NULL;
    }
}

VKAPI_ATTR VkResult VKAPI_CALL memtrack_SetDebugUtilsObjectNameEXT(VkDevice handle,
                                                                   const VkDebugUtilsObjectNameInfoEXT *info)
{
    struct mt_device *device = mt_device_find(handle);
    if (!device || !device->next.SetDebugUtilsObjectNameEXT) return VK_SUCCESS;
    bool is_slice = info->objectType == VK_OBJECT_TYPE_DEVICE_MEMORY && device->pool &&
                    mt_pool_owns(device->pool, info->objectHandle);
    VkResult result = is_slice ? VK_SUCCESS : device->next.SetDebugUtilsObjectNameEXT(handle, info);
    struct mt_handle_map *map = mt_device_is_tracked(device) ? map_of_type(device, info->objectType) : NULL;
    if (map) set_name(device, map, info->objectHandle, info->pObjectName);
    return result;
}

VKAPI_ATTR VkResult VKAPI_CALL memtrack_DebugMarkerSetObjectNameEXT(VkDevice handle,
                                                                    const VkDebugMarkerObjectNameInfoEXT *info)
{
    struct mt_device *device = mt_device_find(handle);
    if (!device || !device->next.DebugMarkerSetObjectNameEXT) return VK_SUCCESS;
    bool is_slice = info->objectType == VK_DEBUG_REPORT_OBJECT_TYPE_DEVICE_MEMORY_EXT && device->pool &&
                    mt_pool_owns(device->pool, info->object);
    VkResult result = is_slice ? VK_SUCCESS : device->next.DebugMarkerSetObjectNameEXT(handle, info);
    struct mt_handle_map *map = mt_device_is_tracked(device) ? map_of_report_type(device, info->objectType) : NULL;
    if (map) set_name(device, map, info->object, info->pObjectName);
    return result;
}
