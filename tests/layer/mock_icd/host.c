/*
 * The driver's own host memory, taken as real drivers take it: through the
 * callbacks that a command is given, else those of the device, else malloc.
 * And the driver's side of VK_EXT_device_memory_report. Any thread.
 */
#include "mock.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { LISTENERS = 4 };

/* ---- host memory ------------------------------------------------------------------- */

static VkAllocationCallbacks of_device;
static bool has_callbacks;

void mock_host_device(const VkAllocationCallbacks *allocator)
{
    has_callbacks = allocator != NULL;
    if (allocator) of_device = *allocator;
}

static const VkAllocationCallbacks *choose(const VkAllocationCallbacks *allocator)
{
    return allocator ? allocator : has_callbacks ? &of_device : NULL;
}

/* Half the bytes first and then all of them, so that reallocation is used as well. */
void *mock_host_allocate(const VkAllocationCallbacks *allocator, VkSystemAllocationScope scope)
{
    size_t bytes = mock.config.host_bytes;
    if (!bytes) return NULL;
    allocator = choose(allocator);
    if (!allocator) return memset(malloc(bytes), 1, bytes);
    void *half = allocator->pfnAllocation(allocator->pUserData, bytes / 2, 16, scope);
    void *whole = half ? allocator->pfnReallocation(allocator->pUserData, half, bytes, 16, scope) : NULL;
    if (!whole && half) allocator->pfnFree(allocator->pUserData, half);
    if (whole) memset(whole, 1, bytes);
    if (whole && allocator->pfnInternalAllocation)
        allocator->pfnInternalAllocation(allocator->pUserData, 4096, VK_INTERNAL_ALLOCATION_TYPE_EXECUTABLE, scope);
    return whole;
}

void mock_host_free(const VkAllocationCallbacks *allocator, void *block, VkSystemAllocationScope scope)
{
    if (!block) return;
    allocator = choose(allocator);
    if (!allocator) {
        free(block);
        return;
    }
    if (allocator->pfnInternalFree)
        allocator->pfnInternalFree(allocator->pUserData, 4096, VK_INTERNAL_ALLOCATION_TYPE_EXECUTABLE, scope);
    allocator->pfnFree(allocator->pUserData, block);
}

/* ---- fences: a command of which the layer records nothing else ------------------------- */

static VkResult VKAPI_CALL mock_CreateFence(VkDevice device, const VkFenceCreateInfo *info,
                                            const VkAllocationCallbacks *allocator, VkFence *fence)
{
    (void)device, (void)info;
    uint64_t handle;
    struct mock_object *object = mock_object_new(MOCK_OTHER, &handle);
    if (!object) return VK_ERROR_OUT_OF_HOST_MEMORY;
    object->host = mock_host_allocate(allocator, VK_SYSTEM_ALLOCATION_SCOPE_OBJECT);
    if (mock.config.host_bytes && !object->host) {
        mock_object_free(handle);
        return VK_ERROR_OUT_OF_HOST_MEMORY;
    }
    *fence = (VkFence)handle;
    return VK_SUCCESS;
}

static void VKAPI_CALL mock_DestroyFence(VkDevice device, VkFence fence, const VkAllocationCallbacks *allocator)
{
    (void)device;
    struct mock_object *object = fence ? mock_object_of(MOCK_OTHER, MOCK_HANDLE(fence), "vkDestroyFence") : NULL;
    if (!object) return;
    mock_host_free(allocator, object->host, VK_SYSTEM_ALLOCATION_SCOPE_OBJECT);
    mock_object_free(MOCK_HANDLE(fence));
}

static const struct mock_command commands[] = {MOCK_COMMAND(CreateFence), MOCK_COMMAND(DestroyFence)};

PFN_vkVoidFunction mock_host_command(const char *name)
{
    return mock_search(commands, sizeof commands / sizeof *commands, name);
}

/* ---- memory reports ------------------------------------------------------------------------ */

static VkDeviceDeviceMemoryReportCreateInfoEXT listeners[LISTENERS];
static unsigned listener_count;
static VkDevice reported_device;

static const VkBaseInStructure *find(const void *chain, VkStructureType type)
{
    const VkBaseInStructure *at = chain;
    while (at && at->sType != type) at = at->pNext;
    return at;
}

void mock_report_event(VkDeviceMemoryReportEventTypeEXT type, uint64_t id, uint64_t bytes, VkObjectType object_type,
                       uint64_t object, uint32_t heap)
{
    VkDeviceMemoryReportCallbackDataEXT data = {VK_STRUCTURE_TYPE_DEVICE_MEMORY_REPORT_CALLBACK_DATA_EXT,
                                                NULL,
                                                0,
                                                type,
                                                id,
                                                bytes,
                                                object_type,
                                                object,
                                                heap};
    for (unsigned i = 0; i < listener_count; i++) listeners[i].pfnUserCallback(&data, listeners[i].pUserData);
}

/* Takes all requests of the chain, as the extension asks; a driver's own memory for the device comes first. */
void mock_report_start(const VkDeviceCreateInfo *info, bool is_enabled, VkDevice device)
{
    const VkPhysicalDeviceDeviceMemoryReportFeaturesEXT *feature = (const void *)find(
        info->pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DEVICE_MEMORY_REPORT_FEATURES_EXT);
    const VkBaseInStructure *at = info->pNext;
    bool is_on = is_enabled && feature && feature->deviceMemoryReport;
    listener_count = 0;
    reported_device = device;
    while ((at = find(at, VK_STRUCTURE_TYPE_DEVICE_DEVICE_MEMORY_REPORT_CREATE_INFO_EXT))) {
        if (!is_on) mock_breach("a memory report is asked for without its extension and feature");
        if (is_on && listener_count < LISTENERS)
            listeners[listener_count++] = *(const VkDeviceDeviceMemoryReportCreateInfoEXT *)(const void *)at;
        at = at->pNext;
    }
    mock.listener_count = listener_count;
    mock_report_event(VK_DEVICE_MEMORY_REPORT_EVENT_TYPE_ALLOCATE_EXT, 1, 1 << 20, VK_OBJECT_TYPE_DEVICE,
                      (uint64_t)(uintptr_t)device, 0);
}

void mock_report_end(void)
{
    if (!mock.config.has_lost_reports)
        mock_report_event(VK_DEVICE_MEMORY_REPORT_EVENT_TYPE_FREE_EXT, 1, 0, VK_OBJECT_TYPE_DEVICE,
                          (uint64_t)(uintptr_t)reported_device, 0);
    listener_count = 0;
}
