/*
 * Whether a device may be pooled at all, and which of its allocations: an
 * allow-list of extensions, the features that give a single allocation a
 * meaning of its own, tools that watch memory, and the structures chained to
 * vkAllocateMemory. Called from vkCreateDevice and from vkAllocateMemory.
 */
#include "pool.h"

#include <link.h>
#include <string.h>

/* The newest core version whose commands this file has been held against. */
#define KNOWN_VERSION VK_MAKE_API_VERSION(0, 1, 4, 0)

static const char *const allowed_extensions[] = {
#define MT_POOL_EXTENSION(name) name,
#include "pool_extensions.def"
};

static bool is_allowed(const char *extension)
{
    for (size_t i = 0; i < sizeof allowed_extensions / sizeof *allowed_extensions; i++)
        if (!strcmp(allowed_extensions[i], extension)) return true;
    return false;
}

static const char *unknown_extension(const VkDeviceCreateInfo *info)
{
    for (uint32_t i = 0; i < info->enabledExtensionCount; i++)
        if (!is_allowed(info->ppEnabledExtensionNames[i])) return info->ppEnabledExtensionNames[i];
    return NULL;
}

/* ---- features ----------------------------------------------------------------------------- */

/* A structure of features begins so; the features follow as VkBool32. */
struct features {
    VkStructureType sType;
    void *pNext;
    VkBool32 first, second, third;
};

/* The feature in a structure that keeps the device unpooled, NULL when there is none. */
static const char *forbidding_feature(const struct features *features)
{
    switch ((int)features->sType) {
    case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2:
        return ((const VkPhysicalDeviceFeatures2 *)(const void *)features)->features.sparseBinding ? "sparseBinding"
                                                                                                   : NULL;
    case MT_STYPE_FEATURES_1_2:
        return ((const VkPhysicalDeviceVulkan12Features *)(const void *)features)->bufferDeviceAddressCaptureReplay
                   ? "bufferDeviceAddressCaptureReplay"
                   : NULL;
    case MT_STYPE_FEATURES_DEVICE_ADDRESS:
    case MT_STYPE_FEATURES_DEVICE_ADDRESS_EXT: return features->second ? "bufferDeviceAddressCaptureReplay" : NULL;
    case MT_STYPE_FEATURES_PAGEABLE: return features->first ? "pageableDeviceLocalMemory" : NULL;
    case MT_STYPE_FEATURES_MAP_PLACED: return features->first ? "memoryMapPlaced" : NULL;
    case MT_STYPE_FEATURES_MEMORY_REPORT: return features->first ? "deviceMemoryReport" : NULL;
    case MT_STYPE_FEATURES_ADDRESS_BINDING: return features->first ? "reportAddressBinding" : NULL;
    case MT_STYPE_DEVICE_MEMORY_REPORT: return "deviceMemoryReport";
    default: return NULL;
    }
}

static const char *forbidden_feature(const VkDeviceCreateInfo *info)
{
    if (info->pEnabledFeatures && info->pEnabledFeatures->sparseBinding) return "sparseBinding";
    for (const VkBaseInStructure *at = info->pNext; at; at = at->pNext) {
        const char *feature = forbidding_feature((const struct features *)(const void *)at);
        if (feature) return feature;
    }
    return NULL;
}

static uint32_t group_size(const VkDeviceCreateInfo *info)
{
    const VkBaseInStructure *at = info->pNext;
    while (at && at->sType != VK_STRUCTURE_TYPE_DEVICE_GROUP_DEVICE_CREATE_INFO) at = at->pNext;
    return at ? ((const VkDeviceGroupDeviceCreateInfo *)(const void *)at)->physicalDeviceCount : 1;
}

/* ---- tools -------------------------------------------------------------------------------------- */

enum { TOOLS = 4 };

/* Only layers below this one answer here. Fills `name` when one of them watches or changes what goes down. */
static bool has_watching_tool(const struct mt_device *device, const struct mt_instance *instance, char *name,
                              size_t bytes)
{
    PFN_vkGetPhysicalDeviceToolProperties ask =
        (PFN_vkGetPhysicalDeviceToolProperties)instance->next.GetInstanceProcAddr(
            instance->handle, "vkGetPhysicalDeviceToolProperties");
    size_t list_bytes = TOOLS * sizeof(VkPhysicalDeviceToolProperties);
    VkPhysicalDeviceToolProperties *tools = ask ? mt_layer_map(device->core, list_bytes) : NULL;
    if (!tools) return false;
    uint32_t count = TOOLS;
    bool is_found = false;
    for (uint32_t i = 0; i < TOOLS; i++) tools[i].sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TOOL_PROPERTIES;
    VkResult result = ask(device->physical_device, &count, tools);
    for (uint32_t i = 0; !is_found && (result == VK_SUCCESS || result == VK_INCOMPLETE) && i < count && i < TOOLS;
         i++) {
        is_found = tools[i].purposes & (VK_TOOL_PURPOSE_TRACING_BIT | VK_TOOL_PURPOSE_MODIFYING_FEATURES_BIT);
        if (is_found) mt_format(name, bytes, "%s", tools[i].name);
    }
    mt_layer_unmap(device->core, tools, list_bytes);
    return is_found;
}

/*
 * Capture layers, by the library that the loader has brought into the process
 * for them. Unlike the question above this sees layers above too, and works
 * for programs of every version.
 */
static int is_capture_library(struct dl_phdr_info *info, size_t bytes, void *found)
{
    static const char *const names[] = {
        "librenderdoc",     "libVkLayer_gfxreconstruct", "libVkLayer_GLES_gfxreconstruct",
        "libNvda.Graphics", "libVkLayer_GraphicsSpy",    "libgapii"};
    const char *slash = strrchr(info->dlpi_name ? info->dlpi_name : "", '/'),
               *file = slash ? slash + 1 : info->dlpi_name;
    (void)bytes;
    for (size_t i = 0; file && i < sizeof names / sizeof *names; i++) {
        if (strncmp(file, names[i], strlen(names[i]))) continue;
        *(const char **)found = names[i];
        return 1;
    }
    return 0;
}

static const char *capture_library(void)
{
    const char *found = NULL;
    dl_iterate_phdr(is_capture_library, &found);
    return found;
}

/* The version that the program may use of this device. */
static uint32_t version_of(const struct mt_device *device, const struct mt_instance *instance)
{
    VkPhysicalDeviceProperties properties;
    instance->next.GetPhysicalDeviceProperties(device->physical_device, &properties);
    return instance->api_version < properties.apiVersion ? instance->api_version : properties.apiVersion;
}

bool mt_pool_is_refused(const struct mt_device *device, const struct mt_instance *instance,
                        const VkDeviceCreateInfo *info, char *reason, size_t bytes)
{
    char tool[48];
    uint32_t version = version_of(device, instance);
    const char *extension = unknown_extension(info), *feature = forbidden_feature(info),
               *library = capture_library();
    if (VK_API_VERSION_VARIANT(version) || version >= KNOWN_VERSION + (1u << 12))
        mt_format(reason, bytes, "Vulkan %u.%u is newer than this layer knows", VK_API_VERSION_MAJOR(version),
                  VK_API_VERSION_MINOR(version));
    else if (group_size(info) > 1)
        mt_format(reason, bytes, "a device group of %u", group_size(info));
    else if (extension)
        mt_format(reason, bytes, "extension %s is not on the allow-list", extension);
    else if (feature)
        mt_format(reason, bytes, "feature %s is enabled", feature);
    else if (library)
        mt_format(reason, bytes, "a capture tool is in the process: %s", library);
    else if (version >= VK_API_VERSION_1_3 && has_watching_tool(device, instance, tool, sizeof tool))
        mt_format(reason, bytes, "a tool watches or changes calls: %s", tool);
    else
        return false;
    return true;
}

/* ---- memory types ---------------------------------------------------------------------------------- */

enum mt_pool_kind mt_pool_kind_of(const struct mt_device *device, uint32_t type)
{
    const VkMemoryPropertyFlags visible = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT,
                                coherent = VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    const VkMemoryPropertyFlags known = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT | visible | coherent |
                                        VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
    if (type >= device->memory.memoryTypeCount) return MT_POOL_NONE;
    VkMemoryPropertyFlags flags = device->memory.memoryTypes[type].propertyFlags;
    const VkMemoryHeap *of = &device->memory.memoryHeaps[device->memory.memoryTypes[type].heapIndex];
    VkMemoryHeapFlags heap = of->flags;
    if (of->size / MT_POOL_HEAP_SHARE < MT_POOL_SMALLEST_CHUNK) return MT_POOL_NONE;
    if (flags & ~known ||
        heap & ~(VkMemoryHeapFlags)(VK_MEMORY_HEAP_DEVICE_LOCAL_BIT | VK_MEMORY_HEAP_MULTI_INSTANCE_BIT))
        return MT_POOL_NONE;
    if (flags & visible) return flags & coherent ? MT_POOL_STAGING : MT_POOL_NONE;
    return flags & VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT ? MT_POOL_DEVICE : MT_POOL_NONE;
}

/* ---- allocations -------------------------------------------------------------------------------------- */

static enum mt_vulkan_pool_miss judge_structure(const VkBaseInStructure *at, bool *has_address)
{
    const VkMemoryAllocateFlagsInfo *flags = (const void *)at;
    switch ((int)at->sType) {
    case VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO:
        *has_address = flags->flags & VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT;
        return flags->flags & ~(VkMemoryAllocateFlags)VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT ? MT_VK_MISS_FLAGS
                                                                                            : MT_VK_POOL_HIT;
    case VK_STRUCTURE_TYPE_EXPORT_MEMORY_ALLOCATE_INFO:
        return ((const VkExportMemoryAllocateInfo *)(const void *)at)->handleTypes ? MT_VK_MISS_EXTERNAL
                                                                                   : MT_VK_POOL_HIT;
    case VK_STRUCTURE_TYPE_MEMORY_OPAQUE_CAPTURE_ADDRESS_ALLOCATE_INFO:
        return ((const VkMemoryOpaqueCaptureAddressAllocateInfo *)(const void *)at)->opaqueCaptureAddress
                   ? MT_VK_MISS_FLAGS
                   : MT_VK_POOL_HIT;
    case VK_STRUCTURE_TYPE_MEMORY_PRIORITY_ALLOCATE_INFO_EXT: return MT_VK_MISS_PRIORITY;
    case VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO:
    case MT_STYPE_DEDICATED_NV:
    case MT_STYPE_DEDICATED_TENSOR: return MT_VK_MISS_DEDICATED;
    case MT_STYPE_IMPORT_FD:
    case MT_STYPE_IMPORT_HOST_POINTER:
    case MT_STYPE_IMPORT_WIN32:
    case MT_STYPE_EXPORT_WIN32: return MT_VK_MISS_EXTERNAL;
    default: return MT_VK_MISS_STRUCTURE;
    }
}

enum mt_vulkan_pool_miss mt_pool_judge(const VkMemoryAllocateInfo *info, bool *has_address)
{
    for (const VkBaseInStructure *at = info->pNext; at; at = at->pNext) {
        enum mt_vulkan_pool_miss miss = judge_structure(at, has_address);
        if (miss != MT_VK_POOL_HIT) return miss;
    }
    return MT_VK_POOL_HIT;
}
