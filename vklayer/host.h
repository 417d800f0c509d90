/*
 * Host memory of the driver: a scope around each call down, by which the
 * preloaded library attributes what the driver takes from malloc, and counting
 * in the VkAllocationCallbacks that the program passes. Any thread.
 */
#ifndef MT_HOST_H
#define MT_HOST_H

#include "layer.h"

enum mt_host_command {
    MT_HOST_OUTSIDE, /* a callback that comes outside of all commands */
    MT_HOST_CreateInstance,
    MT_HOST_DestroyInstance,
    MT_HOST_CreateDevice,
    MT_HOST_DestroyDevice,
#define MT_HOST_VOID(Name, First, Allocator, Parameters, Arguments) MT_HOST_##Name,
#include "host_hooks.def"
    MT_HOST_COMMANDS
};

/* One call down, between mt_host_begin() and mt_host_end() on the same thread. Calls may nest. */
struct mt_host_call {
    struct mt_core *core;                   /* NULL: nothing is recorded */
    const VkAllocationCallbacks *allocator; /* to pass down */
    uint32_t scope;                         /* that the thread was in */
    uint16_t command;                       /* likewise */
};

/* core may be NULL; allocator is what the program passed. Preserves errno. */
void mt_host_begin(struct mt_host_call *call, struct mt_core *core, enum mt_host_command command,
                   const VkAllocationCallbacks *allocator);
void mt_host_end(const struct mt_host_call *call);
/* The core where host memory is to be recorded, for calls without a device; else NULL. */
static inline struct mt_core *mt_host_core(void)
{
    struct mt_core *core = mt_process_core();
    return core && mt_core_is_on(core) && core->options.number[MT_OPT_VULKAN_HOST] ? core : NULL;
}

/* Puts the scopes under all commands of a device that has just been made. */
void mt_host_start(struct mt_device *device, PFN_vkGetDeviceProcAddr next);
/* The command with its scope, for programs; NULL when it has none. */
PFN_vkVoidFunction mt_host_hook(const char *name);
const char *mt_host_command_name(unsigned command);

/* Callbacks that count and then do what the program's do; the program's own when there is no room for more. */
const VkAllocationCallbacks *mt_host_callbacks(struct mt_core *core, const VkAllocationCallbacks *callbacks);
void mt_host_after_fork(void);

#endif
