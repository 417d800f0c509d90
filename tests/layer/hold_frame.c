/*
 * A layer for tests only: after the presentation of frame HOLD_FRAME it makes
 * the file HOLD_FILE and keeps the program there until the file is gone, at
 * most 20 seconds, so that a test can look at the screen. One instance and
 * one device at a time.
 */
#include <vulkan/vulkan.h>
#include <vulkan/vk_layer.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

static PFN_vkGetInstanceProcAddr next_instance_command;
static PFN_vkGetDeviceProcAddr next_device_command;
static PFN_vkCreateDevice next_create_device;
static PFN_vkQueuePresentKHR next_present;
static PFN_vkQueueWaitIdle next_wait_idle;
static long frames;

static void hold(VkQueue queue)
{
    const char *file = getenv("HOLD_FILE");
    int made = file ? open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600) : -1;
    if (made < 0) return;
    next_wait_idle(queue);
    close(made);
    for (int i = 0; i < 2000 && !access(file, F_OK); i++) nanosleep(&(struct timespec){0, 10000000}, NULL);
}

static VKAPI_ATTR VkResult VKAPI_CALL present(VkQueue queue, const VkPresentInfoKHR *info)
{
    const char *wanted = getenv("HOLD_FRAME");
    VkResult result = next_present(queue, info);
    if (wanted && ++frames == atol(wanted)) hold(queue);
    return result;
}

static const VkBaseInStructure *find(const void *chain, VkStructureType type)
{
    const VkBaseInStructure *at = chain;
    while (at && at->sType != type) at = at->pNext;
    return at;
}

static VKAPI_ATTR VkResult VKAPI_CALL create_instance(const VkInstanceCreateInfo *info,
                                                      const VkAllocationCallbacks *allocator, VkInstance *instance)
{
    VkLayerInstanceCreateInfo *link = (void *)(uintptr_t)find(info->pNext,
                                                              VK_STRUCTURE_TYPE_LOADER_INSTANCE_CREATE_INFO);
    while (link && link->function != VK_LAYER_LINK_INFO)
        link = (void *)(uintptr_t)find(link->pNext, VK_STRUCTURE_TYPE_LOADER_INSTANCE_CREATE_INFO);
    if (!link) return VK_ERROR_INITIALIZATION_FAILED;
    next_instance_command = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
    link->u.pLayerInfo = link->u.pLayerInfo->pNext;
    VkResult result = ((PFN_vkCreateInstance)next_instance_command(NULL, "vkCreateInstance"))(info, allocator,
                                                                                              instance);
    if (result == VK_SUCCESS)
        next_create_device = (PFN_vkCreateDevice)next_instance_command(*instance, "vkCreateDevice");
    return result;
}

static VKAPI_ATTR VkResult VKAPI_CALL create_device(VkPhysicalDevice physical, const VkDeviceCreateInfo *info,
                                                    const VkAllocationCallbacks *allocator, VkDevice *device)
{
    VkLayerDeviceCreateInfo *link = (void *)(uintptr_t)find(info->pNext,
                                                            VK_STRUCTURE_TYPE_LOADER_DEVICE_CREATE_INFO);
    while (link && link->function != VK_LAYER_LINK_INFO)
        link = (void *)(uintptr_t)find(link->pNext, VK_STRUCTURE_TYPE_LOADER_DEVICE_CREATE_INFO);
    if (!link) return VK_ERROR_INITIALIZATION_FAILED;
    next_device_command = link->u.pLayerInfo->pfnNextGetDeviceProcAddr;
    link->u.pLayerInfo = link->u.pLayerInfo->pNext;
    VkResult result = next_create_device(physical, info, allocator, device);
    if (result != VK_SUCCESS) return result;
    next_present = (PFN_vkQueuePresentKHR)next_device_command(*device, "vkQueuePresentKHR");
    next_wait_idle = (PFN_vkQueueWaitIdle)next_device_command(*device, "vkQueueWaitIdle");
    return result;
}

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL device_command(VkDevice device, const char *name)
{
    if (!strcmp(name, "vkGetDeviceProcAddr")) return (PFN_vkVoidFunction)device_command;
    if (!strcmp(name, "vkQueuePresentKHR")) return (PFN_vkVoidFunction)present;
    return next_device_command(device, name);
}

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL instance_command(VkInstance instance, const char *name)
{
    if (!strcmp(name, "vkGetInstanceProcAddr")) return (PFN_vkVoidFunction)instance_command;
    if (!strcmp(name, "vkGetDeviceProcAddr")) return (PFN_vkVoidFunction)device_command;
    if (!strcmp(name, "vkCreateInstance")) return (PFN_vkVoidFunction)create_instance;
    if (!strcmp(name, "vkCreateDevice")) return (PFN_vkVoidFunction)create_device;
    if (!strcmp(name, "vkQueuePresentKHR")) return (PFN_vkVoidFunction)present;
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
