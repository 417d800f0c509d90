/*
 * Instances: linking into the chain, the table of next commands, and the end.
 * The loader holds its own lock around these hooks, so they call nothing but
 * the next layer's commands, and wait only for a question of the budget thread.
 */
#include "host.h"
#include "layer.h"

#include <string.h>

/* The loader's link in the create info: structures of the same type carry other things too. */
static VkLayerInstanceCreateInfo *find_link(const VkInstanceCreateInfo *info)
{
    const VkBaseInStructure *at = info->pNext;
    for (; at; at = at->pNext) {
        if (at->sType != VK_STRUCTURE_TYPE_LOADER_INSTANCE_CREATE_INFO) continue;
        VkLayerInstanceCreateInfo *link = (VkLayerInstanceCreateInfo *)(uintptr_t)at;
        if (link->function == VK_LAYER_LINK_INFO) return link;
    }
    return NULL;
}

/* The same layer further down the chain (implicit and explicit) is taken out of it: two would count twice. */
static void drop_second_self(VkLayerInstanceLink *link)
{
    for (; link; link = link->pNext) {
        while (link->pNext && mt_chain_is_self((PFN_vkVoidFunction)link->pfnNextGetInstanceProcAddr)) {
            VkLayerInstanceLink *second = link->pNext;
            *link = *second;
        }
    }
}

static void fill_next(struct mt_instance *instance, PFN_vkGetInstanceProcAddr next)
{
    VkInstance handle = instance->handle;
#define LOAD(Name)             instance->next.Name = (PFN_vk##Name)next(handle, "vk" #Name);
#define MT_INSTANCE_HOOK(Name) LOAD(Name)
#include "hooks.def"
    LOAD(GetPhysicalDeviceProperties)
    LOAD(GetPhysicalDeviceMemoryProperties)
    if (instance->api_version >= VK_API_VERSION_1_1) {
        LOAD(GetPhysicalDeviceProperties2)
        LOAD(GetPhysicalDeviceFeatures2)
        LOAD(GetPhysicalDeviceMemoryProperties2)
    }
    if (instance->has_properties2) {
        LOAD(GetPhysicalDeviceProperties2KHR)
        LOAD(GetPhysicalDeviceFeatures2KHR)
        LOAD(GetPhysicalDeviceMemoryProperties2KHR)
    }
#undef LOAD
    instance->next.GetInstanceProcAddr = next;
}

static bool enables(const VkInstanceCreateInfo *info, const char *extension)
{
    for (uint32_t i = 0; i < info->enabledExtensionCount; i++)
        if (!strcmp(info->ppEnabledExtensionNames[i], extension)) return true;
    return false;
}

static struct mt_instance *make_instance(VkInstance handle, const VkInstanceCreateInfo *info,
                                         PFN_vkGetInstanceProcAddr next,
                                         PFN_GetPhysicalDeviceProcAddr next_physical)
{
    struct mt_instance *instance = mt_layer_map(mt_process_core(), sizeof *instance);
    if (!instance) return NULL;
    uint32_t version = info->pApplicationInfo ? info->pApplicationInfo->apiVersion : 0;
    instance->key = mt_dispatch_key(handle);
    instance->handle = handle;
    instance->api_version = version ? version : VK_API_VERSION_1_0;
    instance->has_properties2 = enables(info, VK_KHR_GET_PHYSICAL_DEVICE_PROPERTIES_2_EXTENSION_NAME);
    instance->next_physical = next_physical;
    fill_next(instance, next);
    if (mt_instance_register(instance)) return instance;
    mt_layer_unmap(mt_process_core(), instance, sizeof *instance);
    return NULL;
}

/* Without a table of next commands nothing of this instance could be forwarded: undo it. */
static VkResult give_up(VkInstance *handle, const VkAllocationCallbacks *allocator, PFN_vkGetInstanceProcAddr next)
{
    PFN_vkDestroyInstance destroy = (PFN_vkDestroyInstance)next(*handle, "vkDestroyInstance");
    if (destroy) destroy(*handle, allocator);
    *handle = VK_NULL_HANDLE;
    return VK_ERROR_OUT_OF_HOST_MEMORY;
}

VKAPI_ATTR VkResult VKAPI_CALL memtrack_CreateInstance(const VkInstanceCreateInfo *info,
                                                       const VkAllocationCallbacks *allocator, VkInstance *handle)
{
    VkLayerInstanceCreateInfo *link = find_link(info);
    if (!link || !link->u.pLayerInfo) return VK_ERROR_INITIALIZATION_FAILED;
    drop_second_self(link->u.pLayerInfo);
    PFN_vkGetInstanceProcAddr next = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
    PFN_vkCreateInstance create = (PFN_vkCreateInstance)next(VK_NULL_HANDLE, "vkCreateInstance");
    if (!create) return VK_ERROR_INITIALIZATION_FAILED;
    PFN_GetPhysicalDeviceProcAddr next_physical = link->u.pLayerInfo->pfnNextGetPhysicalDeviceProcAddr;
    struct mt_core *core = mt_process_attach();
    if (core) mt_simulate_start(core);
    link->u.pLayerInfo = link->u.pLayerInfo->pNext;
    struct mt_host_call call;
    mt_host_begin(&call, mt_host_core(), MT_HOST_CreateInstance, allocator);
    VkResult result = create(info, call.allocator, handle);
    mt_host_end(&call);
    if (result != VK_SUCCESS) return result;
    return make_instance(*handle, info, next, next_physical) ? VK_SUCCESS : give_up(handle, allocator, next);
}

struct orphans {
    struct mt_instance *instance;
    uint32_t count;
};

/* A device that outlives its instance: the program's error. Its memory is as good as leaked. */
static void orphan(struct mt_device *device, void *context)
{
    struct orphans *orphans = context;
    if (device->instance != orphans->instance) return;
    device->instance = NULL;
    orphans->count++;
    mt_device_close(device);
}

VKAPI_ATTR void VKAPI_CALL memtrack_DestroyInstance(VkInstance handle, const VkAllocationCallbacks *allocator)
{
    struct mt_instance *instance = mt_instance_find(handle);
    if (!instance) return;
    PFN_vkDestroyInstance destroy = instance->next.DestroyInstance;
    struct orphans orphans = {instance, 0};
    mt_budget_forget_instance(instance);
    mt_device_visit(orphan, &orphans);
    if (orphans.count && mt_core_ready(mt_process_core()))
        mt_event(mt_process_core(), "vulkan", "vkDestroyInstance with %u devices alive", orphans.count);
    mt_instance_unregister(instance);
    mt_layer_unmap(mt_process_core(), instance, sizeof *instance);
    struct mt_host_call call;
    mt_host_begin(&call, mt_host_core(), MT_HOST_DestroyInstance, allocator);
    destroy(handle, call.allocator);
    mt_host_end(&call);
}
