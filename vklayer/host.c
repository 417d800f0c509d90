/*
 * Scopes around calls down. Each command of host_hooks.def has a function here
 * that lies between the layer's own hook, or the program where there is none,
 * and the next layer. Any thread; no lock; nothing is allocated.
 */
#include "host.h"

#include "origin.h"

#include <string.h>

static const char *const names[MT_HOST_COMMANDS] = {
    "(outside of commands)", "vkCreateInstance", "vkDestroyInstance", "vkCreateDevice", "vkDestroyDevice",
#define MT_HOST_VOID(Name, First, Allocator, Parameters, Arguments) "vk" #Name,
#include "host_hooks.def"
};

const char *mt_host_command_name(unsigned command)
{
    return names[command < MT_HOST_COMMANDS ? command : MT_HOST_OUTSIDE];
}

/* ---- scopes ------------------------------------------------------------------- */

/* Numbers of scopes are of the process and stay over fork: asked for once. */
static uint32_t scope_of(struct mt_core *core, enum mt_host_command command)
{
    static _Atomic uint32_t scopes[MT_HOST_COMMANDS];
    uint32_t scope = atomic_load_explicit(&scopes[command], memory_order_relaxed);
    if (__builtin_expect(!scope, 0)) {
        scope = mt_scope_find(core, names[command]);
        atomic_store_explicit(&scopes[command], scope, memory_order_relaxed);
    }
    return scope;
}

static bool has_scopes(struct mt_core *core)
{
    return atomic_load_explicit(&core->change_scope, memory_order_relaxed) != NULL;
}

void mt_host_begin(struct mt_host_call *call, struct mt_core *core, enum mt_host_command command,
                   const VkAllocationCallbacks *allocator)
{
    *call = (struct mt_host_call){.allocator = allocator};
    if (!core || !mt_core_is_on(core)) return;
    bool is_scoped = has_scopes(core);
    if (!is_scoped && !allocator) return;
    call->core = core;
    struct mt_self *self = mt_process_self(core); /* a new thread's storage may cost a malloc: not the driver's */
    if (is_scoped) call->scope = mt_scope_enter(core, scope_of(core, command));
    call->command = self->command;
    self->command = (uint16_t)command;
    if (allocator) call->allocator = mt_host_callbacks(core, allocator);
}

void mt_host_end(const struct mt_host_call *call)
{
    if (!call->core) return;
    mt_process_self(call->core)->command = call->command;
    mt_scope_leave(call->core, call->scope);
}

/* ---- the commands --------------------------------------------------------------- */

#define MT_HOST_RESULT(Name, First, Allocator, Parameters, Arguments)                                              \
    static VKAPI_ATTR VkResult VKAPI_CALL host_##Name Parameters                                                   \
    {                                                                                                              \
        struct mt_device *on = mt_device_find(First);                                                              \
        struct mt_host_call call;                                                                                  \
        if (!on) return VK_ERROR_OUT_OF_HOST_MEMORY;                                                               \
        mt_host_begin(&call, on->core, MT_HOST_##Name, Allocator);                                                 \
        const VkAllocationCallbacks *allocator = call.allocator;                                                   \
        (void)allocator;                                                                                           \
        VkResult result = on->below.Name Arguments;                                                                \
        mt_host_end(&call);                                                                                        \
        return result;                                                                                             \
    }
#define MT_HOST_VOID(Name, First, Allocator, Parameters, Arguments)                                                \
    static VKAPI_ATTR void VKAPI_CALL host_##Name Parameters                                                       \
    {                                                                                                              \
        struct mt_device *on = mt_device_find(First);                                                              \
        struct mt_host_call call;                                                                                  \
        if (!on) return;                                                                                           \
        mt_host_begin(&call, on->core, MT_HOST_##Name, Allocator);                                                 \
        const VkAllocationCallbacks *allocator = call.allocator;                                                   \
        on->below.Name Arguments;                                                                                  \
        mt_host_end(&call);                                                                                        \
    }
#include "host_hooks.def"

static const PFN_vkVoidFunction functions[MT_HOST_COMMANDS] = {
#define MT_HOST_VOID(Name, First, Allocator, Parameters, Arguments)                                                \
    [MT_HOST_##Name] = (PFN_vkVoidFunction)host_##Name,
#include "host_hooks.def"
};

PFN_vkVoidFunction mt_host_hook(const char *name)
{
    for (unsigned i = 0; i < MT_HOST_COMMANDS; i++)
        if (functions[i] && !strcmp(names[i], name)) return functions[i];
    return NULL;
}

static PFN_vkVoidFunction scoped(PFN_vkVoidFunction next, const char *name)
{
    PFN_vkVoidFunction function = next ? mt_host_hook(name) : NULL;
    return function ? function : next;
}

void mt_host_start(struct mt_device *device, PFN_vkGetDeviceProcAddr next)
{
#define MT_HOST_VOID(Name, First, Allocator, Parameters, Arguments)                                                \
    device->below.Name = (PFN_vk##Name)next(device->handle, "vk" #Name);
#include "host_hooks.def"
#define MT_DEVICE_HOOK(Name)                                                                                       \
    device->next.Name = (PFN_vk##Name)scoped((PFN_vkVoidFunction)device->next.Name, "vk" #Name);
#include "hooks.def"
    device->has_scopes = true;
}
