/*
 * The rest of the driver: instance, physical device, device, queue, names and
 * private data, and the entry points for the loader. Any thread.
 */
#include "mock.h"

#include <vulkan/vk_icd.h>

#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

struct dispatchable {
    VK_LOADER_DATA loader;
};

static struct dispatchable physical_devices[MOCK_DEVICES] = {
    {{ICD_LOADER_MAGIC}}, {{ICD_LOADER_MAGIC}}, {{ICD_LOADER_MAGIC}}, {{ICD_LOADER_MAGIC}}};
/* Extensions of the newest device, whose commands its vkGetDeviceProcAddr knows. */
static char enabled[MOCK_EXTENSIONS][VK_MAX_EXTENSION_NAME_SIZE];
static uint32_t enabled_count;
static uint32_t instance_version = VK_API_VERSION_1_0;

static const char *const own_extensions[] = {"VK_KHR_bind_memory2", "VK_KHR_get_memory_requirements2",
                                             "VK_EXT_memory_budget"};
enum { OWN_EXTENSIONS = sizeof own_extensions / sizeof *own_extensions };

/* An instance, or a device with its one queue behind it. */
struct made {
    struct dispatchable self, queue;
    void *host;
};

static struct made *new_dispatchable(void)
{
    struct made *made = calloc(1, sizeof *made);
    set_loader_magic_value(&made->self);
    set_loader_magic_value(&made->queue);
    return made;
}

/* ---- instance ------------------------------------------------------------------- */

static VkResult VKAPI_CALL mock_CreateInstance(const VkInstanceCreateInfo *info,
                                               const VkAllocationCallbacks *allocator, VkInstance *instance)
{
    mock_start();
    instance_version = info->pApplicationInfo && info->pApplicationInfo->apiVersion
                           ? info->pApplicationInfo->apiVersion
                           : VK_API_VERSION_1_0;
    struct made *made = new_dispatchable();
    made->host = mock_host_allocate(allocator, VK_SYSTEM_ALLOCATION_SCOPE_INSTANCE);
    *instance = (VkInstance)made;
    return VK_SUCCESS;
}

static void VKAPI_CALL mock_DestroyInstance(VkInstance instance, const VkAllocationCallbacks *allocator)
{
    if (!instance) return;
    mock_host_free(allocator, ((struct made *)instance)->host, VK_SYSTEM_ALLOCATION_SCOPE_INSTANCE);
    free(instance);
}

static VkResult VKAPI_CALL mock_EnumerateInstanceVersion(uint32_t *version)
{
    *version = VK_API_VERSION_1_3;
    return VK_SUCCESS;
}

static VkResult VKAPI_CALL mock_EnumerateInstanceExtensionProperties(const char *layer, uint32_t *count,
                                                                     VkExtensionProperties *list)
{
    static const char *const names[] = {VK_KHR_GET_PHYSICAL_DEVICE_PROPERTIES_2_EXTENSION_NAME,
                                        VK_EXT_DEBUG_UTILS_EXTENSION_NAME};
    (void)layer;
    uint32_t all = sizeof names / sizeof *names, given = 0;
    if (!list) {
        *count = all;
        return VK_SUCCESS;
    }
    for (; given < *count && given < all; given++) {
        memset(&list[given], 0, sizeof list[given]);
        strcpy(list[given].extensionName, names[given]);
        list[given].specVersion = 1;
    }
    *count = given;
    return given < all ? VK_INCOMPLETE : VK_SUCCESS;
}

static VkResult VKAPI_CALL mock_EnumeratePhysicalDevices(VkInstance instance, uint32_t *count,
                                                         VkPhysicalDevice *devices)
{
    (void)instance;
    uint32_t all = (uint32_t)mock.config.devices, given = 0;
    if (!devices) {
        *count = all;
        return VK_SUCCESS;
    }
    for (; given < *count && given < all; given++) devices[given] = (VkPhysicalDevice)&physical_devices[given];
    *count = given;
    return given < all ? VK_INCOMPLETE : VK_SUCCESS;
}

static VkResult VKAPI_CALL mock_EnumeratePhysicalDeviceGroups(VkInstance instance, uint32_t *count,
                                                              VkPhysicalDeviceGroupProperties *groups)
{
    (void)instance;
    if (groups && !*count) return VK_INCOMPLETE;
    *count = 1;
    if (!groups) return VK_SUCCESS;
    groups->physicalDeviceCount = (uint32_t)mock.config.devices;
    for (uint32_t i = 0; i < groups->physicalDeviceCount; i++)
        groups->physicalDevices[i] = (VkPhysicalDevice)&physical_devices[i];
    groups->subsetAllocation = groups->physicalDeviceCount > 1;
    return VK_SUCCESS;
}

/* ---- physical device ------------------------------------------------------------------- */

static void VKAPI_CALL mock_GetPhysicalDeviceProperties(VkPhysicalDevice device,
                                                        VkPhysicalDeviceProperties *properties)
{
    (void)device;
    const struct mock_config *config = &mock.config;
    memset(properties, 0, sizeof *properties);
    properties->apiVersion = config->api_version;
    properties->driverVersion = VK_MAKE_VERSION(1, 0, 0);
    properties->vendorID = 0x10005;
    properties->deviceID = 1;
    properties->deviceType = (VkPhysicalDeviceType)config->device_type;
    strcpy(properties->deviceName, config->name);
    properties->limits.maxMemoryAllocationCount = (uint32_t)config->max_allocations;
    properties->limits.bufferImageGranularity = config->granularity;
    properties->limits.nonCoherentAtomSize = config->atom;
    properties->limits.minMemoryMapAlignment = config->map_alignment;
    properties->limits.maxImageDimension2D = 16384;
}

static void VKAPI_CALL mock_GetPhysicalDeviceProperties2(VkPhysicalDevice device,
                                                         VkPhysicalDeviceProperties2 *properties)
{
    mock_GetPhysicalDeviceProperties(device, &properties->properties);
    for (VkBaseOutStructure *at = properties->pNext; at; at = at->pNext)
        if (at->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES)
            strcpy(((VkPhysicalDeviceDriverProperties *)at)->driverName, "mock driver");
}

static void VKAPI_CALL mock_GetPhysicalDeviceFeatures(VkPhysicalDevice device, VkPhysicalDeviceFeatures *features)
{
    (void)device;
    memset(features, 0, sizeof *features);
    features->sparseBinding = mock.config.has_sparse;
}

static void VKAPI_CALL mock_GetPhysicalDeviceFeatures2(VkPhysicalDevice device, VkPhysicalDeviceFeatures2 *features)
{
    mock_GetPhysicalDeviceFeatures(device, &features->features);
    for (VkBaseOutStructure *at = features->pNext; at; at = at->pNext)
        if (at->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DEVICE_MEMORY_REPORT_FEATURES_EXT)
            ((VkPhysicalDeviceDeviceMemoryReportFeaturesEXT *)(void *)at)->deviceMemoryReport = VK_TRUE;
}

static void VKAPI_CALL mock_GetPhysicalDeviceMemoryProperties(VkPhysicalDevice device,
                                                              VkPhysicalDeviceMemoryProperties *memory)
{
    (void)device;
    *memory = mock.config.memory;
}

static void VKAPI_CALL mock_GetPhysicalDeviceMemoryProperties2(VkPhysicalDevice device,
                                                               VkPhysicalDeviceMemoryProperties2 *memory)
{
    (void)device;
    memory->memoryProperties = mock.config.memory;
    for (VkBaseOutStructure *at = memory->pNext; at; at = at->pNext) {
        if (at->sType != VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT) continue;
        VkPhysicalDeviceMemoryBudgetPropertiesEXT *budget = (void *)at;
        for (uint32_t i = 0; i < mock.config.memory.memoryHeapCount; i++) {
            budget->heapBudget[i] = mock.config.memory.memoryHeaps[i].size / 10 * 9;
            budget->heapUsage[i] = i ? 0 : atomic_load(&mock.live_memory_bytes);
        }
    }
}

static void VKAPI_CALL mock_GetPhysicalDeviceQueueFamilyProperties(VkPhysicalDevice device, uint32_t *count,
                                                                   VkQueueFamilyProperties *list)
{
    (void)device;
    if (list && *count)
        list[0] = (VkQueueFamilyProperties){VK_QUEUE_GRAPHICS_BIT | VK_QUEUE_COMPUTE_BIT | VK_QUEUE_TRANSFER_BIT |
                                                VK_QUEUE_SPARSE_BINDING_BIT,
                                            1,
                                            64,
                                            {1, 1, 1}};
    *count = 1;
}

static void VKAPI_CALL mock_GetPhysicalDeviceQueueFamilyProperties2(VkPhysicalDevice device, uint32_t *count,
                                                                    VkQueueFamilyProperties2 *list)
{
    mock_GetPhysicalDeviceQueueFamilyProperties(device, count, list ? &list[0].queueFamilyProperties : NULL);
}

static void VKAPI_CALL mock_GetPhysicalDeviceFormatProperties(VkPhysicalDevice device, VkFormat format,
                                                              VkFormatProperties *properties)
{
    (void)device, (void)format;
    *properties = (VkFormatProperties){UINT32_C(0x1ffff), UINT32_C(0x1ffff), UINT32_C(0x1ffff)};
}

static VkResult VKAPI_CALL mock_GetPhysicalDeviceImageFormatProperties(VkPhysicalDevice device, VkFormat format,
                                                                       VkImageType type, VkImageTiling tiling,
                                                                       VkImageUsageFlags usage,
                                                                       VkImageCreateFlags flags,
                                                                       VkImageFormatProperties *properties)
{
    (void)device, (void)format, (void)type, (void)tiling, (void)usage, (void)flags;
    *properties = (VkImageFormatProperties){
        {16384, 16384, 2048}, 15, 2048, VK_SAMPLE_COUNT_1_BIT | VK_SAMPLE_COUNT_4_BIT, UINT64_C(1) << 40};
    return VK_SUCCESS;
}

static void VKAPI_CALL mock_GetPhysicalDeviceSparseImageFormatProperties(
    VkPhysicalDevice device, VkFormat format, VkImageType type, VkSampleCountFlagBits samples,
    VkImageUsageFlags usage, VkImageTiling tiling, uint32_t *count, VkSparseImageFormatProperties *properties)
{
    (void)device, (void)format, (void)type, (void)samples, (void)usage, (void)tiling, (void)properties;
    *count = 0;
}

static VkResult VKAPI_CALL mock_GetPhysicalDeviceToolProperties(VkPhysicalDevice device, uint32_t *count,
                                                                VkPhysicalDeviceToolProperties *tools)
{
    (void)device;
    uint32_t all = mock.config.tool_purposes ? 1 : 0;
    if (tools && *count && all) {
        tools[0].purposes = mock.config.tool_purposes;
        strcpy(tools[0].name, "mock tool");
    }
    *count = all;
    return VK_SUCCESS;
}

static VkResult VKAPI_CALL mock_EnumerateDeviceExtensionProperties(VkPhysicalDevice device, const char *layer,
                                                                   uint32_t *count, VkExtensionProperties *list)
{
    (void)device, (void)layer;
    uint32_t all = OWN_EXTENSIONS + mock.config.extension_count, given = 0;
    if (!list) {
        *count = all;
        return VK_SUCCESS;
    }
    for (; given < *count && given < all; given++) {
        memset(&list[given], 0, sizeof list[given]);
        strcpy(list[given].extensionName,
               given < OWN_EXTENSIONS ? own_extensions[given] : mock.config.extensions[given - OWN_EXTENSIONS]);
        list[given].specVersion = 1;
    }
    *count = given;
    return given < all ? VK_INCOMPLETE : VK_SUCCESS;
}

/* ---- device ----------------------------------------------------------------------------------- */

static uint32_t common_version(void)
{
    return instance_version < mock.config.api_version ? instance_version : mock.config.api_version;
}

bool mock_device_enables(const char *extension)
{
    if (extension[0] == '1') return VK_API_VERSION_MINOR(common_version()) >= (uint32_t)atoi(extension + 2);
    for (uint32_t i = 0; i < enabled_count; i++)
        if (!strcmp(enabled[i], extension)) return true;
    return false;
}

PFN_vkVoidFunction mock_search(const struct mock_command *commands, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(commands[i].name, name)) continue;
        return !commands[i].extension || mock_device_enables(commands[i].extension) ? commands[i].function : NULL;
    }
    return NULL;
}

static VkResult VKAPI_CALL mock_CreateDevice(VkPhysicalDevice physical, const VkDeviceCreateInfo *info,
                                             const VkAllocationCallbacks *allocator, VkDevice *device)
{
    (void)physical;
    if (mock.config.fail_device) return (VkResult)mock.config.fail_device;
    enabled_count = info->enabledExtensionCount < MOCK_EXTENSIONS ? info->enabledExtensionCount : MOCK_EXTENSIONS;
    for (uint32_t i = 0; i < enabled_count; i++) strcpy(enabled[i], info->ppEnabledExtensionNames[i]);
    bool has_reports = mock_device_enables(VK_EXT_DEVICE_MEMORY_REPORT_EXTENSION_NAME);
    if (has_reports && mock.config.fails_with_reports) return VK_ERROR_INITIALIZATION_FAILED;
    struct made *made = new_dispatchable();
    mock_host_device(allocator);
    made->host = mock_host_allocate(NULL, VK_SYSTEM_ALLOCATION_SCOPE_DEVICE);
    *device = (VkDevice)made;
    mock_report_start(info, has_reports, *device);
    atomic_fetch_add(&mock.device_count, 1);
    return VK_SUCCESS;
}

static void VKAPI_CALL mock_DestroyDevice(VkDevice device, const VkAllocationCallbacks *allocator)
{
    if (!device) return;
    mock_report_end();
    mock_host_free(allocator, ((struct made *)device)->host, VK_SYSTEM_ALLOCATION_SCOPE_DEVICE);
    mock_host_device(NULL);
    mock_log("vkDestroyDevice memory=%llu", (unsigned long long)atomic_load(&mock.live_memory_count));
    free(device);
}

/* A device's one queue lies behind it. */
static void VKAPI_CALL mock_GetDeviceQueue(VkDevice device, uint32_t family, uint32_t index, VkQueue *result)
{
    (void)family, (void)index;
    *result = (VkQueue)((struct dispatchable *)device + 1);
}

static VkResult VKAPI_CALL mock_DeviceWaitIdle(VkDevice device)
{
    (void)device;
    return VK_SUCCESS;
}

static VkResult VKAPI_CALL mock_QueueWaitIdle(VkQueue which)
{
    (void)which;
    return VK_SUCCESS;
}

static VkResult VKAPI_CALL mock_QueueSubmit(VkQueue which, uint32_t count, const VkSubmitInfo *infos, VkFence fence)
{
    (void)which, (void)count, (void)infos, (void)fence;
    return VK_SUCCESS;
}

static VkResult VKAPI_CALL mock_QueuePresentKHR(VkQueue which, const VkPresentInfoKHR *info)
{
    (void)which, (void)info;
    return VK_SUCCESS;
}

/* ---- names and private data: the handle must be one that the driver gave out --------------------- */

static void check_named(VkObjectType type, uint64_t handle, const char *who)
{
    if (type == VK_OBJECT_TYPE_DEVICE_MEMORY) mock_object_of(MOCK_MEMORY, handle, who);
    atomic_fetch_add(&mock.name_count, 1);
}

static VkResult VKAPI_CALL mock_SetDebugUtilsObjectNameEXT(VkDevice device,
                                                           const VkDebugUtilsObjectNameInfoEXT *info)
{
    (void)device;
    check_named(info->objectType, info->objectHandle, "vkSetDebugUtilsObjectNameEXT");
    return VK_SUCCESS;
}

static VkResult VKAPI_CALL mock_SetDebugUtilsObjectTagEXT(VkDevice device, const VkDebugUtilsObjectTagInfoEXT *info)
{
    (void)device;
    check_named(info->objectType, info->objectHandle, "vkSetDebugUtilsObjectTagEXT");
    return VK_SUCCESS;
}

static VkResult VKAPI_CALL mock_DebugMarkerSetObjectNameEXT(VkDevice device,
                                                            const VkDebugMarkerObjectNameInfoEXT *info)
{
    (void)device;
    check_named((VkObjectType)info->objectType, info->object, "vkDebugMarkerSetObjectNameEXT");
    return VK_SUCCESS;
}

static VkResult VKAPI_CALL mock_DebugMarkerSetObjectTagEXT(VkDevice device,
                                                           const VkDebugMarkerObjectTagInfoEXT *info)
{
    (void)device;
    check_named((VkObjectType)info->objectType, info->object, "vkDebugMarkerSetObjectTagEXT");
    return VK_SUCCESS;
}

static VkResult VKAPI_CALL mock_CreatePrivateDataSlot(VkDevice device, const VkPrivateDataSlotCreateInfo *info,
                                                      const VkAllocationCallbacks *allocator,
                                                      VkPrivateDataSlot *slot)
{
    (void)device, (void)info, (void)allocator;
    uint64_t handle;
    if (!mock_object_new(MOCK_OTHER, &handle)) return VK_ERROR_OUT_OF_HOST_MEMORY;
    *slot = (VkPrivateDataSlot)handle;
    return VK_SUCCESS;
}

static void VKAPI_CALL mock_DestroyPrivateDataSlot(VkDevice device, VkPrivateDataSlot slot,
                                                   const VkAllocationCallbacks *allocator)
{
    (void)device, (void)allocator;
    if (slot && mock_object_of(MOCK_OTHER, MOCK_HANDLE(slot), "vkDestroyPrivateDataSlot"))
        mock_object_free(MOCK_HANDLE(slot));
}

static VkResult VKAPI_CALL mock_SetPrivateData(VkDevice device, VkObjectType type, uint64_t object,
                                               VkPrivateDataSlot slot, uint64_t data)
{
    (void)device, (void)slot, (void)data;
    if (type == VK_OBJECT_TYPE_DEVICE_MEMORY) mock_object_of(MOCK_MEMORY, object, "vkSetPrivateData");
    atomic_fetch_add(&mock.private_count, 1);
    return VK_SUCCESS;
}

static void VKAPI_CALL mock_GetPrivateData(VkDevice device, VkObjectType type, uint64_t object,
                                           VkPrivateDataSlot slot, uint64_t *data)
{
    (void)device, (void)slot;
    if (type == VK_OBJECT_TYPE_DEVICE_MEMORY) mock_object_of(MOCK_MEMORY, object, "vkGetPrivateData");
    *data = 0;
}

/* ---- lookup ------------------------------------------------------------------------------------------ */

static PFN_vkVoidFunction VKAPI_CALL mock_GetDeviceProcAddr(VkDevice device, const char *name)
{
    (void)device;
    PFN_vkVoidFunction found = mock_device_command(name);
    if (!found) found = mock_ray_command(name);
    if (!found) found = mock_host_command(name);
    return found ? found : mock_memory_command(name);
}

static const struct mock_command device_commands[] = {
    MOCK_COMMAND(GetDeviceProcAddr),
    MOCK_COMMAND(DestroyDevice),
    MOCK_COMMAND(GetDeviceQueue),
    MOCK_COMMAND(DeviceWaitIdle),
    MOCK_COMMAND(QueueWaitIdle),
    MOCK_COMMAND(QueueSubmit),
    MOCK_ALIAS(QueuePresentKHR, QueuePresentKHR, "VK_KHR_swapchain"),
    MOCK_COMMAND(SetDebugUtilsObjectNameEXT),
    MOCK_COMMAND(SetDebugUtilsObjectTagEXT),
    MOCK_ALIAS(DebugMarkerSetObjectNameEXT, DebugMarkerSetObjectNameEXT, "VK_EXT_debug_marker"),
    MOCK_ALIAS(DebugMarkerSetObjectTagEXT, DebugMarkerSetObjectTagEXT, "VK_EXT_debug_marker"),
    MOCK_ALIAS(CreatePrivateDataSlot, CreatePrivateDataSlot, "1.3"),
    MOCK_ALIAS(DestroyPrivateDataSlot, DestroyPrivateDataSlot, "1.3"),
    MOCK_ALIAS(SetPrivateData, SetPrivateData, "1.3"),
    MOCK_ALIAS(GetPrivateData, GetPrivateData, "1.3"),
    MOCK_ALIAS(CreatePrivateDataSlotEXT, CreatePrivateDataSlot, "VK_EXT_private_data"),
    MOCK_ALIAS(DestroyPrivateDataSlotEXT, DestroyPrivateDataSlot, "VK_EXT_private_data"),
    MOCK_ALIAS(SetPrivateDataEXT, SetPrivateData, "VK_EXT_private_data"),
    MOCK_ALIAS(GetPrivateDataEXT, GetPrivateData, "VK_EXT_private_data"),
};

static const struct mock_command instance_commands[] = {
    MOCK_COMMAND(CreateInstance),
    MOCK_COMMAND(DestroyInstance),
    MOCK_COMMAND(EnumerateInstanceVersion),
    MOCK_COMMAND(EnumerateInstanceExtensionProperties),
    MOCK_COMMAND(EnumeratePhysicalDevices),
    MOCK_COMMAND(EnumeratePhysicalDeviceGroups),
    MOCK_COMMAND(GetPhysicalDeviceProperties),
    MOCK_COMMAND(GetPhysicalDeviceProperties2),
    MOCK_COMMAND(GetPhysicalDeviceFeatures),
    MOCK_COMMAND(GetPhysicalDeviceFeatures2),
    MOCK_COMMAND(GetPhysicalDeviceMemoryProperties),
    MOCK_COMMAND(GetPhysicalDeviceMemoryProperties2),
    MOCK_COMMAND(GetPhysicalDeviceQueueFamilyProperties),
    MOCK_COMMAND(GetPhysicalDeviceQueueFamilyProperties2),
    MOCK_COMMAND(GetPhysicalDeviceFormatProperties),
    MOCK_COMMAND(GetPhysicalDeviceImageFormatProperties),
    MOCK_COMMAND(GetPhysicalDeviceSparseImageFormatProperties),
    MOCK_COMMAND(GetPhysicalDeviceToolProperties),
    MOCK_COMMAND(EnumerateDeviceExtensionProperties),
    MOCK_COMMAND(CreateDevice),
    {"vkGetPhysicalDeviceProperties2KHR", (PFN_vkVoidFunction)mock_GetPhysicalDeviceProperties2, NULL},
    {"vkGetPhysicalDeviceMemoryProperties2KHR", (PFN_vkVoidFunction)mock_GetPhysicalDeviceMemoryProperties2, NULL},
    {"vkGetPhysicalDeviceFeatures2KHR", (PFN_vkVoidFunction)mock_GetPhysicalDeviceFeatures2, NULL},
};

PFN_vkVoidFunction mock_device_command(const char *name)
{
    return mock_search(device_commands, sizeof device_commands / sizeof *device_commands, name);
}

PFN_vkVoidFunction mock_instance_command(const char *name)
{
    return mock_search(instance_commands, sizeof instance_commands / sizeof *instance_commands, name);
}

EXPORT VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL vk_icdGetInstanceProcAddr(VkInstance instance, const char *name)
{
    PFN_vkVoidFunction found = mock_instance_command(name);
    if (found) return found;
    return instance ? mock_GetDeviceProcAddr(NULL, name) : NULL;
}

EXPORT VKAPI_ATTR VkResult VKAPI_CALL vk_icdNegotiateLoaderICDInterfaceVersion(uint32_t *version)
{
    if (*version > 5) *version = 5;
    return VK_SUCCESS;
}

EXPORT struct mock_state *mock_state(void);
EXPORT struct mock_state *mock_state(void)
{
    mock_start();
    return &mock;
}

EXPORT void mock_set(const char *text);
EXPORT void mock_set(const char *text)
{
    mock_configure(text);
}
