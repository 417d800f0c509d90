/*
 * Tensors and sessions of data graphs (VK_ARM_tensors, VK_ARM_data_graph). A
 * tensor is bound to memory as an image is; a session in several places, as a
 * video session is. Declared in vulkan_compat.h, because the headers of the
 * build may not know them. Hooks on any thread.
 */
#include "layer.h"
#include "pool.h"

static bool ask_tensor(struct mt_device *device, uint64_t tensor, VkMemoryRequirements2 *required)
{
    const struct mt_tensor_requirements_info info = {(VkStructureType)MT_STYPE_TENSOR_REQUIREMENTS, NULL, tensor};
    if (!device->next.GetTensorMemoryRequirementsARM) return false;
    device->next.GetTensorMemoryRequirementsARM(device->handle, &info, required);
    return true;
}

static void record_tensor(struct mt_device *device, const struct mt_tensor_create_info *info, uint64_t handle)
{
    VkMemoryRequirements2 required = {.sType = VK_STRUCTURE_TYPE_MEMORY_REQUIREMENTS_2};
    ask_tensor(device, handle, &required);
    const VkMemoryRequirements *needs = &required.memoryRequirements;
    struct mt_node node = {
        .handle = handle, .size_bytes = needs->size, .flags = MT_NODE_IS_TENSOR | MT_NODE_NO_QUERY};
    struct mt_object *record = mt_resource_record(device, MT_VK_TENSOR, handle, &node.object);
    if (record) {
        record->size_bytes = needs->size;
        record->attr[MT_VK_RESOURCE_CREATE_FLAGS] = info->flags;
        record->attr[MT_VK_RESOURCE_REQUIRED_BYTES] = needs->size;
        record->attr[MT_VK_RESOURCE_ALIGNMENT] = needs->alignment;
        mt_object_publish(record);
    }
    mt_resource_add(device, &device->tensors, &node);
    if (device->pool) mt_pool_learn(device->pool, needs->alignment);
}

VKAPI_ATTR VkResult VKAPI_CALL memtrack_CreateTensorARM(VkDevice handle, const struct mt_tensor_create_info *info,
                                                        const VkAllocationCallbacks *allocator, uint64_t *tensor)
{
    struct mt_device *device = mt_device_find(handle);
    if (!device || !device->next.CreateTensorARM) return VK_ERROR_OUT_OF_HOST_MEMORY;
    VkResult result = device->next.CreateTensorARM(handle, info, allocator, tensor);
    if (result == VK_SUCCESS && mt_device_is_tracked(device)) record_tensor(device, info, *tensor);
    return result;
}

VKAPI_ATTR void VKAPI_CALL memtrack_DestroyTensorARM(VkDevice handle, uint64_t tensor,
                                                     const VkAllocationCallbacks *allocator)
{
    struct mt_device *device = mt_device_find(handle);
    if (!device || !device->next.DestroyTensorARM) return;
    if (tensor && mt_device_is_tracked(device)) mt_resource_forget(device, &device->tensors, tensor);
    device->next.DestroyTensorARM(handle, tensor, allocator);
}

VKAPI_ATTR VkResult VKAPI_CALL memtrack_BindTensorMemoryARM(VkDevice handle, uint32_t count,
                                                            const struct mt_bind_tensor_info *infos)
{
    struct mt_device *device = mt_device_find(handle);
    if (!device || !device->next.BindTensorMemoryARM) return VK_ERROR_OUT_OF_HOST_MEMORY;
    VkResult result = device->pool ? mt_pool_bind_tensors(device->pool, count, infos)
                                   : device->next.BindTensorMemoryARM(handle, count, infos);
    for (uint32_t i = 0; result == VK_SUCCESS && mt_device_is_tracked(device) && i < count; i++)
        mt_bind_record(device, &device->tensors, infos[i].tensor, MT_HANDLE(infos[i].memory),
                       infos[i].memoryOffset);
    return result;
}

VKAPI_ATTR void VKAPI_CALL memtrack_GetTensorMemoryRequirementsARM(VkDevice handle,
                                                                   const struct mt_tensor_requirements_info *info,
                                                                   VkMemoryRequirements2 *required)
{
    struct mt_device *device = mt_device_find(handle);
    if (!device || !device->next.GetTensorMemoryRequirementsARM) return;
    device->next.GetTensorMemoryRequirementsARM(handle, info, required);
    if (device->pool) mt_pool_learn(device->pool, required->memoryRequirements.alignment);
}

/* ---- sessions of data graphs ------------------------------------------------------------- */

VKAPI_ATTR VkResult VKAPI_CALL
memtrack_CreateDataGraphPipelineSessionARM(VkDevice handle, const struct mt_graph_session_create_info *info,
                                           const VkAllocationCallbacks *allocator, uint64_t *session)
{
    struct mt_device *device = mt_device_find(handle);
    if (!device || !device->next.CreateDataGraphPipelineSessionARM) return VK_ERROR_OUT_OF_HOST_MEMORY;
    VkResult result = device->next.CreateDataGraphPipelineSessionARM(handle, info, allocator, session);
    if (result != VK_SUCCESS || !mt_device_is_tracked(device)) return result;
    struct mt_node node = {.handle = *session};
    struct mt_object *record = mt_resource_record(device, MT_VK_GRAPH_SESSION, *session, &node.object);
    if (record) {
        record->attr[MT_VK_VIDEO_CREATE_FLAGS] = info->flags;
        mt_object_publish(record);
    }
    mt_resource_add(device, &device->graph_sessions, &node);
    return result;
}

VKAPI_ATTR void VKAPI_CALL memtrack_DestroyDataGraphPipelineSessionARM(VkDevice handle, uint64_t session,
                                                                       const VkAllocationCallbacks *allocator)
{
    struct mt_device *device = mt_device_find(handle);
    if (!device || !device->next.DestroyDataGraphPipelineSessionARM) return;
    if (session && mt_device_is_tracked(device)) mt_session_forget(device, &device->graph_sessions, session);
    device->next.DestroyDataGraphPipelineSessionARM(handle, session, allocator);
}

/* The bind says how much is bound by naming what for. */
static uint64_t bytes_of_place(struct mt_device *device, const struct mt_bind_graph_session_info *info)
{
    const struct mt_graph_requirements_info ask = {(VkStructureType)MT_STYPE_GRAPH_REQUIREMENTS, NULL,
                                                   info->session, info->bind_point, info->object_index};
    VkMemoryRequirements2 required = {.sType = VK_STRUCTURE_TYPE_MEMORY_REQUIREMENTS_2};
    if (!device->next.GetDataGraphPipelineSessionMemoryRequirementsARM) return 0;
    device->next.GetDataGraphPipelineSessionMemoryRequirementsARM(device->handle, &ask, &required);
    return required.memoryRequirements.size;
}

VKAPI_ATTR VkResult VKAPI_CALL memtrack_BindDataGraphPipelineSessionMemoryARM(
    VkDevice handle, uint32_t count, const struct mt_bind_graph_session_info *infos)
{
    struct mt_device *device = mt_device_find(handle);
    if (!device || !device->next.BindDataGraphPipelineSessionMemoryARM) return VK_ERROR_OUT_OF_HOST_MEMORY;
    VkResult result = device->pool ? mt_pool_bind_graphs(device->pool, count, infos)
                                   : device->next.BindDataGraphPipelineSessionMemoryARM(handle, count, infos);
    for (uint32_t i = 0; result == VK_SUCCESS && mt_device_is_tracked(device) && i < count; i++) {
        const struct mt_session_place place = {.index = infos[i].bind_point | (uint64_t)infos[i].object_index << 32,
                                               .memory = MT_HANDLE(infos[i].memory),
                                               .offset = infos[i].memoryOffset,
                                               .bytes = bytes_of_place(device, &infos[i])};
        mt_session_bind(device, &device->graph_sessions, infos[i].session, &place);
    }
    return result;
}

VKAPI_ATTR void VKAPI_CALL memtrack_GetDataGraphPipelineSessionMemoryRequirementsARM(
    VkDevice handle, const struct mt_graph_requirements_info *info, VkMemoryRequirements2 *required)
{
    struct mt_device *device = mt_device_find(handle);
    if (!device || !device->next.GetDataGraphPipelineSessionMemoryRequirementsARM) return;
    device->next.GetDataGraphPipelineSessionMemoryRequirementsARM(handle, info, required);
    if (device->pool) mt_pool_learn(device->pool, required->memoryRequirements.alignment);
}
