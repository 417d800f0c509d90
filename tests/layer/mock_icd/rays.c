/*
 * Acceleration structures, micromaps and video sessions of the mock driver:
 * made and destroyed under the rules that their places must keep. Any thread.
 */
#include "mock.h"

enum { ACCEL_ALIGNMENT = 256, VIDEO_BINDINGS = 2, VIDEO_BYTES = 65536 };

static VkResult make(uint64_t *handle, uint64_t bytes)
{
    struct mock_object *object = mock_object_new(MOCK_OTHER, handle);
    if (!object) return VK_ERROR_OUT_OF_HOST_MEMORY;
    object->bytes = bytes;
    atomic_fetch_add(&mock.live_resource_count, 1);
    return VK_SUCCESS;
}

static void destroy(uint64_t handle, const char *who)
{
    if (!handle || !mock_object_of(MOCK_OTHER, handle, who)) return;
    atomic_fetch_add(&mock.live_resource_count, (uint64_t)-1);
    mock_object_free(handle);
}

/* The buffer must live and hold the range; its memory must be bound. */
static void check_range(VkBuffer buffer, uint64_t offset, uint64_t bytes, const char *who)
{
    const struct mock_object *object = mock_object_of(MOCK_BUFFER, MOCK_HANDLE(buffer), who);
    if (!object) return;
    if (!object->is_bound) mock_breach("%s in a buffer without memory", who);
    if (offset % ACCEL_ALIGNMENT) mock_breach("%s at an offset that is no multiple of 256", who);
    if (offset > object->bytes || bytes > object->bytes - offset) mock_breach("%s beyond its buffer", who);
}

static VkResult VKAPI_CALL mock_CreateAccelerationStructureKHR(VkDevice device,
                                                               const VkAccelerationStructureCreateInfoKHR *info,
                                                               const VkAllocationCallbacks *allocator,
                                                               VkAccelerationStructureKHR *made)
{
    (void)device, (void)allocator;
    uint64_t handle = 0;
    check_range(info->buffer, info->offset, info->size, "vkCreateAccelerationStructureKHR");
    VkResult result = make(&handle, info->size);
    *made = (VkAccelerationStructureKHR)handle;
    return result;
}

static void VKAPI_CALL mock_DestroyAccelerationStructureKHR(VkDevice device, VkAccelerationStructureKHR gone,
                                                            const VkAllocationCallbacks *allocator)
{
    (void)device, (void)allocator;
    destroy(MOCK_HANDLE(gone), "vkDestroyAccelerationStructureKHR");
}

static VkResult VKAPI_CALL mock_CreateMicromapEXT(VkDevice device, const VkMicromapCreateInfoEXT *info,
                                                  const VkAllocationCallbacks *allocator, VkMicromapEXT *made)
{
    (void)device, (void)allocator;
    uint64_t handle = 0;
    check_range(info->buffer, info->offset, info->size, "vkCreateMicromapEXT");
    VkResult result = make(&handle, info->size);
    *made = (VkMicromapEXT)handle;
    return result;
}

static void VKAPI_CALL mock_DestroyMicromapEXT(VkDevice device, VkMicromapEXT gone,
                                               const VkAllocationCallbacks *allocator)
{
    (void)device, (void)allocator;
    destroy(MOCK_HANDLE(gone), "vkDestroyMicromapEXT");
}

static VkResult VKAPI_CALL mock_CreateAccelerationStructureNV(VkDevice device,
                                                              const VkAccelerationStructureCreateInfoNV *info,
                                                              const VkAllocationCallbacks *allocator,
                                                              VkAccelerationStructureNV *made)
{
    (void)device, (void)allocator;
    uint64_t handle = 0;
    VkResult result = make(&handle, info->compactedSize ? info->compactedSize : 4096);
    *made = (VkAccelerationStructureNV)handle;
    return result;
}

static void VKAPI_CALL mock_DestroyAccelerationStructureNV(VkDevice device, VkAccelerationStructureNV gone,
                                                           const VkAllocationCallbacks *allocator)
{
    (void)device, (void)allocator;
    destroy(MOCK_HANDLE(gone), "vkDestroyAccelerationStructureNV");
}

static void VKAPI_CALL mock_GetAccelerationStructureMemoryRequirementsNV(
    VkDevice device, const VkAccelerationStructureMemoryRequirementsInfoNV *info, VkMemoryRequirements2 *required)
{
    (void)device;
    const struct mock_object *object = mock_object_of(MOCK_OTHER, MOCK_HANDLE(info->accelerationStructure),
                                                      "vkGetAccelerationStructureMemoryRequirementsNV");
    required->memoryRequirements = (VkMemoryRequirements){object ? object->bytes : 0, ACCEL_ALIGNMENT, 1};
}

static VkResult VKAPI_CALL mock_CreateVideoSessionKHR(VkDevice device, const VkVideoSessionCreateInfoKHR *info,
                                                      const VkAllocationCallbacks *allocator,
                                                      VkVideoSessionKHR *session)
{
    (void)device, (void)info, (void)allocator;
    uint64_t handle = 0;
    VkResult result = make(&handle, 0);
    *session = (VkVideoSessionKHR)handle;
    return result;
}

static void VKAPI_CALL mock_DestroyVideoSessionKHR(VkDevice device, VkVideoSessionKHR session,
                                                   const VkAllocationCallbacks *allocator)
{
    (void)device, (void)allocator;
    destroy(MOCK_HANDLE(session), "vkDestroyVideoSessionKHR");
}

static VkResult VKAPI_CALL mock_GetVideoSessionMemoryRequirementsKHR(VkDevice device, VkVideoSessionKHR session,
                                                                     uint32_t *count,
                                                                     VkVideoSessionMemoryRequirementsKHR *required)
{
    (void)device;
    mock_object_of(MOCK_OTHER, MOCK_HANDLE(session), "vkGetVideoSessionMemoryRequirementsKHR");
    for (uint32_t i = 0; required && i < *count && i < VIDEO_BINDINGS; i++) {
        required[i].memoryBindIndex = i * 3; /* any numbers, says the specification */
        required[i].memoryRequirements = (VkMemoryRequirements){VIDEO_BYTES, 256, 1};
    }
    *count = VIDEO_BINDINGS;
    return VK_SUCCESS;
}

static const struct mock_command commands[] = {
    MOCK_ALIAS(CreateAccelerationStructureKHR, CreateAccelerationStructureKHR, "VK_KHR_acceleration_structure"),
    MOCK_ALIAS(DestroyAccelerationStructureKHR, DestroyAccelerationStructureKHR, "VK_KHR_acceleration_structure"),
    MOCK_ALIAS(CreateMicromapEXT, CreateMicromapEXT, "VK_EXT_opacity_micromap"),
    MOCK_ALIAS(DestroyMicromapEXT, DestroyMicromapEXT, "VK_EXT_opacity_micromap"),
    MOCK_ALIAS(CreateAccelerationStructureNV, CreateAccelerationStructureNV, "VK_NV_ray_tracing"),
    MOCK_ALIAS(DestroyAccelerationStructureNV, DestroyAccelerationStructureNV, "VK_NV_ray_tracing"),
    MOCK_ALIAS(GetAccelerationStructureMemoryRequirementsNV, GetAccelerationStructureMemoryRequirementsNV,
               "VK_NV_ray_tracing"),
    MOCK_ALIAS(CreateVideoSessionKHR, CreateVideoSessionKHR, "VK_KHR_video_queue"),
    MOCK_ALIAS(DestroyVideoSessionKHR, DestroyVideoSessionKHR, "VK_KHR_video_queue"),
    MOCK_ALIAS(GetVideoSessionMemoryRequirementsKHR, GetVideoSessionMemoryRequirementsKHR, "VK_KHR_video_queue"),
};

PFN_vkVoidFunction mock_ray_command(const char *name)
{
    return mock_search(commands, sizeof commands / sizeof *commands, name);
}
