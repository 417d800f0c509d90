/*
 * A Vulkan driver for tests: it draws nothing, but takes memory, buffers,
 * images and bindings as strictly as the specification asks, and writes down
 * every breach. What it offers and when it fails is read from the environment
 * (MOCK_ICD) at vkCreateInstance; a test in the same process reaches it through mock_state().
 * Any thread.
 *
 * MOCK_ICD is a list of key=value pairs with ';' between them, or @FILE with one pair a line:
 *   heaps=4G:local,16G          sizes, ":local" for device-local
 *   types=0:local,1:visible+coherent,...   heap and properties (local visible coherent cached lazy protected amd)
 *   extensions=NAME,NAME        listed beside those the driver always has
 *   features=NAME,NAME          sparse capture_replay pageable placed (offered, not enabled)
 *   api=1.3  device=cpu|discrete  name=TEXT  granularity=N  atom=N  map_alignment=N
 *   buffer_alignment=N  image_alignment=N  max_allocations=N  tool=PURPOSE BITS
 *   devices=N                   physical devices, all in one group; at most 4
 *   fail_allocate=N             the N-th vkAllocateMemory fails; N+N+N for several
 *   fail_allocate_from=N        all from the N-th on fail
 *   fail_larger=SIZE            allocations of more bytes fail
 *   fail_map=N                  the N-th vkMapMemory fails
 *   fail_device=RESULT          vkCreateDevice returns this
 *   fail_reports=1              vkCreateDevice fails when memory reports are asked for
 *   delay_allocate_us=N         vkAllocateMemory takes so long
 *   alias=HANDLE                the next vkAllocateMemory returns this handle, whatever it is
 *   host=N                      the instance, the device and most objects take N bytes of host memory each
 *   lost_reports=1              vkDestroyDevice does not report the device's own memory as freed
 *   garbage=1                   new memory is filled with 0xa5 instead of zero
 *   log=FILE                    one line for each call that concerns memory
 */
#ifndef MOCK_H
#define MOCK_H

#include "vklayer/vulkan_compat.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MOCK_EXTENSIONS = 64, MOCK_FAILURES = 16, MOCK_DEVICES = 4 };

struct mock_config {
    VkPhysicalDeviceMemoryProperties memory;
    uint32_t api_version, device_type, tool_purposes;
    char name[64];
    uint64_t granularity, atom, map_alignment, buffer_alignment, image_alignment, max_allocations, devices;
    uint64_t host_bytes;
    uint64_t fail_allocate[MOCK_FAILURES], fail_allocate_from, fail_larger, fail_map, delay_allocate_us, alias;
    int fail_device;
    bool has_sparse, has_capture_replay, has_pageable, has_placed, has_garbage, has_lost_reports,
        fails_with_reports;
    char extensions[MOCK_EXTENSIONS][VK_MAX_EXTENSION_NAME_SIZE];
    uint32_t extension_count;
};

/* What happened, for tests in the same process. */
struct mock_state {
    struct mock_config config;
    _Atomic uint64_t allocate_count, free_count, map_count, unmap_count, bind_count, flush_count, sparse_count;
    _Atomic uint64_t live_memory_count, live_memory_bytes, peak_memory_bytes, live_resource_count;
    _Atomic uint64_t private_count, name_count, capture_count, device_count;
    unsigned listener_count; /* requests for memory reports of the newest device */
    _Atomic uint64_t breach_count;
    char first_breach[160];
    uint64_t alias_of;                                   /* what the handle `alias` stands for while it lives */
    _Atomic uint64_t last_bind_memory, last_bind_offset; /* of the newest binding of any kind */
};
typedef struct mock_state *mock_state_function(void);

extern struct mock_state mock;

/* Reads "key=value;..." over what is in force. Unknown keys are breaches. */
void mock_configure(const char *text);
void mock_start(void);
void mock_log(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Something that the specification forbids. */
void mock_breach(const char *format, ...) __attribute__((format(printf, 1, 2)));

enum mock_kind { MOCK_MEMORY = 1, MOCK_BUFFER, MOCK_IMAGE, MOCK_OTHER };

struct mock_object {
    uint8_t kind; /* 0: free */
    bool is_mapped;
    bool is_bound;
    bool is_sparse;
    uint32_t type;
    uint64_t bytes, alignment;
    uint64_t memory, offset; /* of the binding */
    uint64_t mapped_offset, mapped_bytes;
    uint64_t flags; /* memory: allocate flags, bit 32: exportable, bit 33: dedicated */
    char *data;
    void *host; /* the driver's own host memory for it */
    uint32_t next_free;
};

/* A new object and its handle. */
struct mock_object *mock_object_new(enum mock_kind kind, uint64_t *handle);
/* The object of a handle; NULL, and a breach, when it is not a live one of this kind. */
struct mock_object *mock_object_of(enum mock_kind kind, uint64_t handle, const char *who);
void mock_object_free(uint64_t handle);

#define MOCK_HANDLE(handle) ((uint64_t)(handle))

/* Host memory of config.host_bytes, and the callbacks of the device that is in force where a command has none. */
void mock_host_device(const VkAllocationCallbacks *allocator);
void *mock_host_allocate(const VkAllocationCallbacks *allocator, VkSystemAllocationScope scope);
void mock_host_free(const VkAllocationCallbacks *allocator, void *block, VkSystemAllocationScope scope);
PFN_vkVoidFunction mock_host_command(const char *name);

/* Memory reports of the newest device. */
void mock_report_start(const VkDeviceCreateInfo *info, bool is_enabled, VkDevice device);
void mock_report_event(VkDeviceMemoryReportEventTypeEXT type, uint64_t id, uint64_t bytes, VkObjectType object_type,
                       uint64_t object, uint32_t heap);
void mock_report_end(void);

PFN_vkVoidFunction mock_memory_command(const char *name);
PFN_vkVoidFunction mock_ray_command(const char *name);
PFN_vkVoidFunction mock_device_command(const char *name);
PFN_vkVoidFunction mock_instance_command(const char *name);
/* True when the device that was made last enables an extension, or has it in its core version. */
bool mock_device_enables(const char *extension);

struct mock_command {
    const char *name;
    PFN_vkVoidFunction function;
    const char *extension; /* NULL: always there */
};
PFN_vkVoidFunction mock_search(const struct mock_command *commands, size_t count, const char *name);
#define MOCK_COMMAND(Name)                                                                                         \
    {                                                                                                              \
        "vk" #Name, (PFN_vkVoidFunction)mock_##Name, NULL                                                          \
    }
#define MOCK_ALIAS(Alias, Name, Extension)                                                                         \
    {                                                                                                              \
        "vk" #Alias, (PFN_vkVoidFunction)mock_##Name, Extension                                                    \
    }

#endif
