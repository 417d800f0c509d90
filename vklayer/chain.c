/*
 * The layer's face to the loader: the one exported symbol, which command is
 * hooked, and the enumeration of the layer itself. Any thread, any moment,
 * also before an instance exists.
 */
#include "host.h"
#include "layer.h"
#include "pool.h"

#include <dlfcn.h>
#include <string.h>

static const VkLayerProperties own_properties = {MT_LAYER_NAME, VK_MAKE_API_VERSION(0, 1, 4, 350), 1,
                                                 "memtrack: where the memory of a game goes"};

struct hook {
    const char *name;
    PFN_vkVoidFunction function;
};

static const struct hook instance_hooks[] = {
#define MT_INSTANCE_HOOK(Name) {"vk" #Name, (PFN_vkVoidFunction)memtrack_##Name},
#include "hooks.def"
};

static const struct hook device_hooks[] = {
#define MT_DEVICE_HOOK(Name) {"vk" #Name, (PFN_vkVoidFunction)memtrack_##Name},
#include "hooks.def"
};

static PFN_vkVoidFunction search(const struct hook *hooks, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (!strcmp(hooks[i].name, name)) return hooks[i].function;
    return NULL;
}

static const struct hook pool_hooks[] = {
#define MT_POOL_HOOK(Name) {"vk" #Name, (PFN_vkVoidFunction)memtrack_##Name},
#include "hooks.def"
};

static const struct hook physical_hooks[] = {
#define MT_PHYSICAL_HOOK(Name) {"vk" #Name, (PFN_vkVoidFunction)memtrack_##Name},
#include "hooks.def"
};

PFN_vkVoidFunction mt_chain_instance_hook(const char *name)
{
    return search(instance_hooks, sizeof instance_hooks / sizeof *instance_hooks, name);
}

PFN_vkVoidFunction mt_chain_device_hook(const char *name)
{
    return search(device_hooks, sizeof device_hooks / sizeof *device_hooks, name);
}

static PFN_vkVoidFunction pool_hook(const char *name)
{
    return search(pool_hooks, sizeof pool_hooks / sizeof *pool_hooks, name);
}

static PFN_vkVoidFunction physical_hook(const char *name)
{
    if (!mt_simulate_limits_heaps()) return NULL;
    return search(physical_hooks, sizeof physical_hooks / sizeof *physical_hooks, name);
}

static const char *file_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

bool mt_chain_is_self(PFN_vkVoidFunction get_proc_addr)
{
    if (get_proc_addr == (PFN_vkVoidFunction)memtrack_GetInstanceProcAddr) return true;
    Dl_info own, other;
    if (!dladdr((void *)(uintptr_t)memtrack_GetInstanceProcAddr, &own) || !own.dli_fname) return false;
    if (!dladdr((void *)(uintptr_t)get_proc_addr, &other) || !other.dli_fname) return false;
    return !strcmp(file_part(own.dli_fname), file_part(other.dli_fname));
}

VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL memtrack_GetInstanceProcAddr(VkInstance handle, const char *name)
{
    if (!name) return NULL;
    PFN_vkVoidFunction hook = mt_chain_instance_hook(name);
    if (hook) return hook;
    if (!handle) return !strcmp(name, "vkGetDeviceProcAddr") ? mt_chain_device_hook(name) : NULL;
    struct mt_instance *instance = mt_instance_find(handle);
    if (!instance) return NULL;
    PFN_vkVoidFunction next = instance->next.GetInstanceProcAddr(handle, name);
    hook = mt_chain_device_hook(name);
    if (!hook && mt_pool_is_wanted()) hook = pool_hook(name);
    if (!hook) hook = physical_hook(name);
    return hook && next ? hook : next;
}

/* The loader asks here for commands of physical devices that it does not know itself. */
static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL physical_device_proc_addr(VkInstance handle, const char *name)
{
    struct mt_instance *instance = name ? mt_instance_find(handle) : NULL;
    if (!instance || mt_chain_instance_hook(name) || mt_chain_device_hook(name)) return NULL;
    PFN_vkVoidFunction next = instance->next_physical ? instance->next_physical(handle, name) : NULL;
    PFN_vkVoidFunction hook = physical_hook(name);
    return hook && next ? hook : next;
}

VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL memtrack_GetDeviceProcAddr(VkDevice handle, const char *name)
{
    struct mt_device *device = name ? mt_device_find(handle) : NULL;
    if (!device || mt_chain_instance_hook(name)) return NULL;
    PFN_vkVoidFunction next = device->next.GetDeviceProcAddr(handle, name);
    if (!next) return NULL;
    PFN_vkVoidFunction hook = mt_chain_device_hook(name);
    if (!hook && device->pool) hook = pool_hook(name);
    if (!hook && device->has_scopes) hook = mt_host_hook(name);
    bool is_needed = hook == (PFN_vkVoidFunction)memtrack_GetDeviceProcAddr ||
                     hook == (PFN_vkVoidFunction)memtrack_DestroyDevice;
    return hook && (device->is_tracked || is_needed) ? hook : next;
}

VKAPI_ATTR VkResult VKAPI_CALL memtrack_EnumerateInstanceLayerProperties(uint32_t *count,
                                                                         VkLayerProperties *properties)
{
    if (!properties) {
        *count = 1;
        return VK_SUCCESS;
    }
    if (!*count) return VK_INCOMPLETE;
    *count = 1;
    properties[0] = own_properties;
    return VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL memtrack_EnumerateDeviceLayerProperties(VkPhysicalDevice device, uint32_t *count,
                                                                       VkLayerProperties *properties)
{
    (void)device;
    return memtrack_EnumerateInstanceLayerProperties(count, properties);
}

static bool names_self(const char *layer)
{
    return layer && !strcmp(layer, MT_LAYER_NAME);
}

VKAPI_ATTR VkResult VKAPI_CALL memtrack_EnumerateInstanceExtensionProperties(const char *layer, uint32_t *count,
                                                                             VkExtensionProperties *properties)
{
    (void)properties;
    if (!names_self(layer)) return VK_ERROR_LAYER_NOT_PRESENT;
    *count = 0;
    return VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL memtrack_EnumerateDeviceExtensionProperties(VkPhysicalDevice device,
                                                                           const char *layer, uint32_t *count,
                                                                           VkExtensionProperties *properties)
{
    if (names_self(layer)) {
        *count = 0;
        return VK_SUCCESS;
    }
    struct mt_instance *instance = mt_instance_find(device);
    if (!instance || !instance->next.EnumerateDeviceExtensionProperties) return VK_ERROR_LAYER_NOT_PRESENT;
    return instance->next.EnumerateDeviceExtensionProperties(device, layer, count, properties);
}

__attribute__((visibility("default"))) VKAPI_ATTR VkResult VKAPI_CALL
vkNegotiateLoaderLayerInterfaceVersion(VkNegotiateLayerInterface *interface)
{
    if (!interface || interface->sType != LAYER_NEGOTIATE_INTERFACE_STRUCT) return VK_ERROR_INITIALIZATION_FAILED;
    if (interface->loaderLayerInterfaceVersion < 2) return VK_ERROR_INITIALIZATION_FAILED;
    interface->loaderLayerInterfaceVersion = 2;
    interface->pfnGetInstanceProcAddr = memtrack_GetInstanceProcAddr;
    interface->pfnGetDeviceProcAddr = memtrack_GetDeviceProcAddr;
    interface->pfnGetPhysicalDeviceProcAddr = physical_device_proc_addr;
    return VK_SUCCESS;
}
