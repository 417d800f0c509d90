/*
 * Acceleration structures and micromaps. Those of KHR and EXT lie in a buffer,
 * whose memory is counted already; those of NV are bound to memory as images
 * are. Hooks on any thread.
 */
#include "layer.h"
#include "pool.h"

/* An acceleration structure as any of the commands says it. */
struct accel {
    uint64_t handle, buffer, offset, bytes, create_flags;
    uint32_t type;
    enum mt_vulkan_accel_api api;
};

/* The record of a buffer, 0 when there is none. */
static uint32_t buffer_record(struct mt_device *device, uint64_t buffer)
{
    struct mt_node *node = buffer ? mt_handles_enter(&device->buffers, buffer) : NULL;
    if (!node) return 0;
    uint32_t record = node->object;
    mt_handles_leave(&device->buffers, node);
    return record;
}

static void record_accel(struct mt_device *device, const struct accel *accel)
{
    struct mt_node node = {
        .handle = accel->handle, .size_bytes = accel->bytes, .flags = MT_NODE_IS_ACCEL | MT_NODE_NO_QUERY};
    struct mt_object *record = mt_resource_record(device, MT_VK_ACCEL, accel->handle, &node.object);
    if (record) {
        record->size_bytes = accel->bytes;
        record->link = buffer_record(device, accel->buffer);
        record->offset = accel->offset;
        record->attr[MT_VK_RESOURCE_CREATE_FLAGS] = accel->create_flags;
        record->attr[MT_VK_RESOURCE_REQUIRED_BYTES] = accel->bytes;
        record->attr[MT_VK_RESOURCE_FLAGS] = accel->buffer ? MT_VK_RESOURCE_BOUND : 0;
        record->attr[MT_VK_ACCEL_TYPE] = accel->type;
        record->attr[MT_VK_ACCEL_API] = accel->api;
        record->attr[MT_VK_ACCEL_BUFFER] = accel->buffer;
        mt_object_publish(record);
    }
    mt_resource_add(device, &device->accels, &node);
}

VKAPI_ATTR VkResult VKAPI_CALL
memtrack_CreateAccelerationStructureKHR(VkDevice handle, const VkAccelerationStructureCreateInfoKHR *info,
                                        const VkAllocationCallbacks *allocator, VkAccelerationStructureKHR *made)
{
    struct mt_device *device = mt_device_find(handle);
    if (!device || !device->next.CreateAccelerationStructureKHR) return VK_ERROR_OUT_OF_HOST_MEMORY;
    VkResult result = device->next.CreateAccelerationStructureKHR(handle, info, allocator, made);
    if (result != VK_SUCCESS || !mt_device_is_tracked(device)) return result;
    struct accel accel = {MT_HANDLE(*made), MT_HANDLE(info->buffer), info->offset, info->size, info->createFlags,
                          info->type,       MT_VK_ACCEL_KHR};
    record_accel(device, &accel);
    return result;
}

VKAPI_ATTR VkResult VKAPI_CALL memtrack_CreateMicromapEXT(VkDevice handle, const VkMicromapCreateInfoEXT *info,
                                                          const VkAllocationCallbacks *allocator,
                                                          VkMicromapEXT *made)
{
    struct mt_device *device = mt_device_find(handle);
    if (!device || !device->next.CreateMicromapEXT) return VK_ERROR_OUT_OF_HOST_MEMORY;
    VkResult result = device->next.CreateMicromapEXT(handle, info, allocator, made);
    if (result != VK_SUCCESS || !mt_device_is_tracked(device)) return result;
    struct accel accel = {MT_HANDLE(*made), MT_HANDLE(info->buffer), info->offset, info->size, info->createFlags,
                          info->type,       MT_VK_ACCEL_MICROMAP};
    record_accel(device, &accel);
    return result;
}

/* What it will need once it is bound; the driver says that only after it was made. */
static uint64_t required_bytes(VkDevice handle, struct mt_device *device, VkAccelerationStructureNV structure)
{
    VkAccelerationStructureMemoryRequirementsInfoNV info = {
        .sType = VK_STRUCTURE_TYPE_ACCELERATION_STRUCTURE_MEMORY_REQUIREMENTS_INFO_NV,
        .type = VK_ACCELERATION_STRUCTURE_MEMORY_REQUIREMENTS_TYPE_OBJECT_NV,
        .accelerationStructure = structure};
    VkMemoryRequirements2 required = {.sType = VK_STRUCTURE_TYPE_MEMORY_REQUIREMENTS_2};
    if (!device->next.GetAccelerationStructureMemoryRequirementsNV) return 0;
    device->next.GetAccelerationStructureMemoryRequirementsNV(handle, &info, &required);
    return required.memoryRequirements.size;
}

VKAPI_ATTR VkResult VKAPI_CALL
memtrack_CreateAccelerationStructureNV(VkDevice handle, const VkAccelerationStructureCreateInfoNV *info,
                                       const VkAllocationCallbacks *allocator, VkAccelerationStructureNV *made)
{
    struct mt_device *device = mt_device_find(handle);
    if (!device || !device->next.CreateAccelerationStructureNV) return VK_ERROR_OUT_OF_HOST_MEMORY;
    VkResult result = device->next.CreateAccelerationStructureNV(handle, info, allocator, made);
    if (result != VK_SUCCESS || !mt_device_is_tracked(device)) return result;
    uint64_t bytes = required_bytes(handle, device, *made);
    struct accel accel = {
        MT_HANDLE(*made), 0, 0, bytes ? bytes : info->compactedSize, info->info.flags, info->info.type,
        MT_VK_ACCEL_NV};
    record_accel(device, &accel);
    return result;
}

VKAPI_ATTR VkResult VKAPI_CALL memtrack_BindAccelerationStructureMemoryNV(
    VkDevice handle, uint32_t count, const VkBindAccelerationStructureMemoryInfoNV *infos)
{
    struct mt_device *device = mt_device_find(handle);
    if (!device || !device->next.BindAccelerationStructureMemoryNV) return VK_ERROR_OUT_OF_HOST_MEMORY;
    VkResult result = device->pool ? mt_pool_bind_accels(device->pool, count, infos)
                                   : device->next.BindAccelerationStructureMemoryNV(handle, count, infos);
    for (uint32_t i = 0; result == VK_SUCCESS && mt_device_is_tracked(device) && i < count; i++)
        mt_bind_record(device, &device->accels, MT_HANDLE(infos[i].accelerationStructure),
                       MT_HANDLE(infos[i].memory), infos[i].memoryOffset);
    return result;
}

#define DEFINE_DESTROY(Name, Handle)                                                                               \
    VKAPI_ATTR void VKAPI_CALL memtrack_##Name(VkDevice handle, Handle gone,                                       \
                                               const VkAllocationCallbacks *callbacks)                             \
    {                                                                                                              \
        struct mt_device *device = mt_device_find(handle);                                                         \
        if (!device || !device->next.Name) return;                                                                 \
        if (gone && mt_device_is_tracked(device)) mt_resource_forget(device, &device->accels, MT_HANDLE(gone));    \
        device->next.Name(handle, gone, callbacks);                                                                \
    }
DEFINE_DESTROY(DestroyAccelerationStructureKHR, VkAccelerationStructureKHR)
DEFINE_DESTROY(DestroyAccelerationStructureNV, VkAccelerationStructureNV)
DEFINE_DESTROY(DestroyMicromapEXT, VkMicromapEXT)
