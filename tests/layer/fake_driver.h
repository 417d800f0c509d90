/*
 * A Vulkan driver that does nothing, and the loader's side of a layer chain,
 * in the test's own process: the layer is opened with dlopen, negotiated with
 * and linked as the loader does it. Every call that arrives below the layer
 * is counted; failures and missing commands can be asked for.
 */
#ifndef FAKE_DRIVER_H
#define FAKE_DRIVER_H

#include "vklayer/vulkan_compat.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { FAKE_HEAPS = 2, FAKE_TYPES = 3, FAKE_SWAPCHAIN_IMAGES = 4 };
#define FAKE_HEAP_BYTES (UINT64_C(4) << 30)

/* How often each command arrived below the layer. */
struct fake_calls {
    _Atomic unsigned CreateInstance, DestroyInstance, CreateDevice;
#define MT_DEVICE_HOOK(Name) _Atomic unsigned Name;
#include "vklayer/hooks.def"
    _Atomic unsigned GetPhysicalDeviceMemoryProperties2, strict_violations;
};

struct fake {
    struct fake_calls calls;
    VkResult fail_instance, fail_device; /* what vkCreateInstance and vkCreateDevice return */
    VkResult fail;                       /* what every other command that can fail returns */
    const char *hidden[16];              /* commands that vkGet*ProcAddr does not know */
    bool has_budget;                     /* lists VK_EXT_memory_budget */
    uint32_t api_version;                /* of the physical device */
    VkPhysicalDeviceType type;
    uint64_t budget_bytes, usage_bytes; /* of each heap */
    unsigned budget_delay_ms;
    _Atomic uint64_t next_handle;             /* value of the next object */
    uint64_t handle_step;                     /* 0: the same value again and again */
    uint64_t required_bytes;                  /* of every buffer and image */
    bool is_quiet;                            /* counts nothing: for measurements */
    void (*during_allocate)(VkDevice device); /* called inside vkAllocateMemory */
};
extern struct fake fake;

/* The layer's own entry points. */
extern PFN_vkGetInstanceProcAddr layer_gipa;
extern PFN_vkGetDeviceProcAddr layer_gdpa;
extern PFN_vkNegotiateLoaderLayerInterfaceVersion layer_negotiate;

/* Opens the layer, negotiates and resets the driver. Ends the test program when it cannot. */
void fake_start(const char *layer_path);
void fake_reset(void);

/* Creation through the layer, as the loader does it. Returns the result of the layer. */
struct fake_instance_options {
    bool without_application_info;
    uint32_t api_version;
    bool with_properties2;
    unsigned self_again; /* the layer a second time: 1 directly below itself, 2 below another layer */
};
VkResult fake_create_instance(const struct fake_instance_options *options, VkInstance *instance);
VkResult fake_create_device(VkInstance instance, unsigned self_again, VkDevice *device);
VkPhysicalDevice fake_physical_device(VkInstance instance);
VkQueue fake_queue(VkDevice device);

/* The layer's command for a device or an instance, NULL when it hides it. */
PFN_vkVoidFunction fake_device_command(VkDevice device, const char *name);
/* The same command of the driver itself, without the layer. */
PFN_vkVoidFunction fake_driver_command(const char *name);
#define DEVICE_COMMAND(device, Name)     ((PFN_vk##Name)fake_device_command(device, "vk" #Name))
#define INSTANCE_COMMAND(instance, Name) ((PFN_vk##Name)layer_gipa(instance, "vk" #Name))

#endif
