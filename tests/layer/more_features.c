/*
 * A layer for tests only: it says of a device that shaders may index arrays of
 * images dynamically, which the software driver of Mesa 22 does not offer and
 * Dawn insists on. It takes that back when the device is made, so nothing
 * below it sees a difference; no shader of the tests does such indexing.
 * One instance at a time.
 */
#include <vulkan/vulkan.h>
#include <vulkan/vk_layer.h>

#include <string.h>

#define EXPORT __attribute__((visibility("default")))

static PFN_vkGetInstanceProcAddr next_instance_command;
static PFN_vkGetDeviceProcAddr next_device_command;
static PFN_vkGetPhysicalDeviceFeatures next_features;
static PFN_vkGetPhysicalDeviceFeatures2 next_features2;
static PFN_vkCreateDevice next_create_device;

static void set(VkPhysicalDeviceFeatures *features, VkBool32 value)
{
    features->shaderSampledImageArrayDynamicIndexing = value;
    features->shaderStorageImageArrayDynamicIndexing = value;
}

static VKAPI_ATTR void VKAPI_CALL get_features(VkPhysicalDevice device, VkPhysicalDeviceFeatures *features)
{
    next_features(device, features);
    set(features, VK_TRUE);
}

static VKAPI_ATTR void VKAPI_CALL get_features2(VkPhysicalDevice device, VkPhysicalDeviceFeatures2 *features)
{
    next_features2(device, features);
    set(&features->features, VK_TRUE);
}

/* ---- linking --------------------------------------------------------------------------- */

/* The link of the loader in a chain; instance and device structures are alike as far as this goes. */
static VkBaseOutStructure *find(const void *chain, VkStructureType type)
{
    const VkBaseInStructure *at = chain;
    while (at && at->sType != type) at = at->pNext;
    return (VkBaseOutStructure *)(uintptr_t)at;
}

static VKAPI_ATTR VkResult VKAPI_CALL create_instance(const VkInstanceCreateInfo *info,
                                                      const VkAllocationCallbacks *allocator, VkInstance *instance)
{
    VkLayerInstanceCreateInfo *link = (void *)find(info->pNext, VK_STRUCTURE_TYPE_LOADER_INSTANCE_CREATE_INFO);
    while (link && link->function != VK_LAYER_LINK_INFO)
        link = (void *)find(link->pNext, VK_STRUCTURE_TYPE_LOADER_INSTANCE_CREATE_INFO);
    if (!link) return VK_ERROR_INITIALIZATION_FAILED;
    next_instance_command = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
    link->u.pLayerInfo = link->u.pLayerInfo->pNext;
    VkResult result = ((PFN_vkCreateInstance)next_instance_command(NULL, "vkCreateInstance"))(info, allocator,
                                                                                              instance);
    if (result != VK_SUCCESS) return result;
    /* Now, not later: the loader answers with the top of the chain, which is this layer, once it is complete. */
    next_features = (PFN_vkGetPhysicalDeviceFeatures)next_instance_command(*instance,
                                                                           "vkGetPhysicalDeviceFeatures");
    next_features2 = (PFN_vkGetPhysicalDeviceFeatures2)next_instance_command(*instance,
                                                                             "vkGetPhysicalDeviceFeatures2");
    next_create_device = (PFN_vkCreateDevice)next_instance_command(*instance, "vkCreateDevice");
    return result;
}

static VKAPI_ATTR VkResult VKAPI_CALL create_device(VkPhysicalDevice physical, const VkDeviceCreateInfo *info,
                                                    const VkAllocationCallbacks *allocator, VkDevice *device)
{
    VkLayerDeviceCreateInfo *link = (void *)find(info->pNext, VK_STRUCTURE_TYPE_LOADER_DEVICE_CREATE_INFO);
    while (link && link->function != VK_LAYER_LINK_INFO)
        link = (void *)find(link->pNext, VK_STRUCTURE_TYPE_LOADER_DEVICE_CREATE_INFO);
    if (!link) return VK_ERROR_INITIALIZATION_FAILED;
    next_device_command = link->u.pLayerInfo->pfnNextGetDeviceProcAddr;
    link->u.pLayerInfo = link->u.pLayerInfo->pNext;
    VkPhysicalDeviceFeatures2 *chained = (void *)find(info->pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2);
    if (chained) set(&chained->features, VK_FALSE);
    if (info->pEnabledFeatures) set((VkPhysicalDeviceFeatures *)(uintptr_t)info->pEnabledFeatures, VK_FALSE);
    return next_create_device(physical, info, allocator, device);
}

/* ---- lookup ------------------------------------------------------------------------------- */

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL device_command(VkDevice device, const char *name)
{
    if (!strcmp(name, "vkGetDeviceProcAddr")) return (PFN_vkVoidFunction)device_command;
    return next_device_command(device, name);
}

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL instance_command(VkInstance instance, const char *name)
{
    static const struct {
        const char *name;
        PFN_vkVoidFunction function;
    } own[] = {{"vkGetInstanceProcAddr", (PFN_vkVoidFunction)instance_command},
               {"vkGetDeviceProcAddr", (PFN_vkVoidFunction)device_command},
               {"vkCreateInstance", (PFN_vkVoidFunction)create_instance},
               {"vkCreateDevice", (PFN_vkVoidFunction)create_device},
               {"vkGetPhysicalDeviceFeatures", (PFN_vkVoidFunction)get_features},
               {"vkGetPhysicalDeviceFeatures2", (PFN_vkVoidFunction)get_features2},
               {"vkGetPhysicalDeviceFeatures2KHR", (PFN_vkVoidFunction)get_features2}};
    for (unsigned i = 0; i < sizeof own / sizeof *own; i++)
        if (!strcmp(own[i].name, name)) return own[i].function;
    return instance ? next_instance_command(instance, name) : NULL;
}

EXPORT VKAPI_ATTR VkResult VKAPI_CALL vkNegotiateLoaderLayerInterfaceVersion(VkNegotiateLayerInterface *interface);
EXPORT VKAPI_ATTR VkResult VKAPI_CALL vkNegotiateLoaderLayerInterfaceVersion(VkNegotiateLayerInterface *interface)
{
    interface->loaderLayerInterfaceVersion = 2;
    interface->pfnGetInstanceProcAddr = instance_command;
    interface->pfnGetDeviceProcAddr = device_command;
    interface->pfnGetPhysicalDeviceProcAddr = NULL;
    return VK_SUCCESS;
}
