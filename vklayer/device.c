/*
 * Devices: linking into the chain, the rows and the record of each in the
 * segment, leaks at the end. vkCreateDevice and vkDestroyDevice come on any
 * thread; the loader holds its own lock around them, so they call nothing but
 * the next layer's commands.
 */
#include "host.h"
#include "layer.h"
#include "memory_report.h"
#include "pool.h"

#include <string.h>

static struct mt_lock stats_lock; /* guards the list and the making of histograms */
static struct mt_device_stats *all_stats;

/* ---- what a physical device is ---------------------------------------------- */

/* Filled once per vkCreateDevice, in memory of its own because it is large. */
struct description {
    VkPhysicalDeviceProperties2 properties;
    VkPhysicalDeviceIDProperties ids;
    VkPhysicalDeviceDriverProperties driver;
    bool has_budget;
    char text[80];
};

static bool lists_extension(const VkExtensionProperties *list, uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < count; i++)
        if (!strcmp(list[i].extensionName, name)) return true;
    return false;
}

struct found_extensions {
    bool has_budget, has_driver_properties;
};

static void find_extensions(const struct mt_instance *instance, struct mt_device *device,
                            struct found_extensions *found)
{
    PFN_vkEnumerateDeviceExtensionProperties enumerate = instance->next.EnumerateDeviceExtensionProperties;
    uint32_t count = 0;
    if (!enumerate || enumerate(device->physical_device, NULL, &count, NULL) || !count) return;
    size_t bytes = count * sizeof(VkExtensionProperties);
    VkExtensionProperties *list = mt_layer_map(device->core, bytes);
    if (!list) return;
    VkResult result = enumerate(device->physical_device, NULL, &count, list);
    if (result == VK_SUCCESS || result == VK_INCOMPLETE) {
        found->has_budget = lists_extension(list, count, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
        found->has_driver_properties = lists_extension(list, count, VK_KHR_DRIVER_PROPERTIES_EXTENSION_NAME);
    }
    mt_layer_unmap(device->core, list, bytes);
}

/* The version up to which the program and the device may both be asked. */
static uint32_t common_version(const struct mt_instance *instance, const struct description *description)
{
    uint32_t device = description->properties.properties.apiVersion;
    return instance->api_version < device ? instance->api_version : device;
}

static void ask_properties2(const struct mt_instance *instance, const struct mt_device *device,
                            const struct found_extensions *found, struct description *description)
{
    PFN_vkGetPhysicalDeviceProperties2 ask = instance->next.GetPhysicalDeviceProperties2;
    uint32_t version = common_version(instance, description);
    if (!ask || version < VK_API_VERSION_1_1) ask = instance->next.GetPhysicalDeviceProperties2KHR;
    if (!ask) return;
    void *chain = NULL;
    if (version >= VK_API_VERSION_1_2 || found->has_driver_properties) {
        description->driver.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES;
        chain = &description->driver;
    }
    if (version >= VK_API_VERSION_1_1) {
        description->ids.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ID_PROPERTIES;
        description->ids.pNext = chain;
        chain = &description->ids;
    }
    description->properties.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
    description->properties.pNext = chain;
    ask(device->physical_device, &description->properties);
}

static void describe_driver(struct description *description)
{
    const VkPhysicalDeviceDriverProperties *driver = &description->driver;
    uint32_t version = description->properties.properties.driverVersion;
    if (driver->driverName[0])
        mt_format(description->text, sizeof description->text, "%s %s", driver->driverName, driver->driverInfo);
    else
        mt_format(description->text, sizeof description->text, "driver version %u.%u.%u", VK_VERSION_MAJOR(version),
                  VK_VERSION_MINOR(version), VK_VERSION_PATCH(version));
}

static void describe(const struct mt_instance *instance, struct mt_device *device, struct description *description)
{
    struct found_extensions found = {false, false};
    instance->next.GetPhysicalDeviceProperties(device->physical_device, &description->properties.properties);
    instance->next.GetPhysicalDeviceMemoryProperties(device->physical_device, &device->memory);
    mt_simulate_memory(&device->memory);
    find_extensions(instance, device, &found);
    ask_properties2(instance, device, &found, description);
    bool can_ask = common_version(instance, description) >= VK_API_VERSION_1_1 || instance->has_properties2;
    description->has_budget = found.has_budget && can_ask;
    describe_driver(description);
}

/* FNV-1a. */
static uint64_t mix(uint64_t hash, const void *data, size_t bytes)
{
    for (const unsigned char *at = data; bytes--; at++) hash = (hash ^ *at) * UINT64_C(0x100000001b3);
    return hash;
}

static uint64_t identify(const struct mt_device *device, const struct description *description)
{
    const VkPhysicalDeviceProperties *properties = &description->properties.properties;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    hash = mix(hash, &properties->driverVersion, sizeof properties->driverVersion);
    hash = mix(hash, &properties->vendorID, sizeof properties->vendorID);
    hash = mix(hash, &properties->deviceID, sizeof properties->deviceID);
    hash = mix(hash, properties->deviceName, strnlen(properties->deviceName, sizeof properties->deviceName));
    hash = mix(hash, description->ids.deviceUUID, sizeof description->ids.deviceUUID);
    for (uint32_t i = 0; i < device->memory.memoryTypeCount; i++)
        hash = mix(hash, &device->memory.memoryTypes[i], sizeof device->memory.memoryTypes[i]);
    for (uint32_t i = 0; i < device->memory.memoryHeapCount; i++)
        hash = mix(hash, &device->memory.memoryHeaps[i].size, sizeof device->memory.memoryHeaps[i].size);
    return hash;
}

/* ---- rows and record ------------------------------------------------------------ */

static bool is_software(const struct description *description)
{
    const VkPhysicalDeviceProperties *properties = &description->properties.properties;
    VkDriverId driver = description->driver.driverID;
    return properties->deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU || driver == VK_DRIVER_ID_MESA_LLVMPIPE ||
           driver == VK_DRIVER_ID_GOOGLE_SWIFTSHADER || strstr(properties->deviceName, "llvmpipe") ||
           strstr(properties->deviceName, "SwiftShader");
}

static void fill_record(struct mt_object *record, const struct mt_device *device,
                        const struct description *description)
{
    const VkPhysicalDeviceProperties *properties = &description->properties.properties;
    mt_copy_name(device->core, record->name, sizeof record->name, properties->deviceName);
    mt_format(record->text, sizeof record->text, "%s", description->text);
    record->attr[MT_VK_DEVICE_API_VERSION] = properties->apiVersion;
    record->attr[MT_VK_DEVICE_DRIVER_VERSION] = properties->driverVersion;
    record->attr[MT_VK_DEVICE_IDS] = (uint64_t)properties->vendorID << 32 | properties->deviceID;
    record->attr[MT_VK_DEVICE_TYPE] = properties->deviceType;
    record->attr[MT_VK_DEVICE_FLAGS] = (is_software(description) ? MT_VK_DEVICE_IN_PROCESS : 0) |
                                       (description->has_budget ? MT_VK_DEVICE_HAS_BUDGET : 0) |
                                       (uint64_t)device->report_status << MT_VK_DEVICE_REPORT_SHIFT;
    record->attr[MT_VK_DEVICE_DESTROY_NS] = 0;
    record->attr[MT_VK_DEVICE_LIMITS] = properties->limits.bufferImageGranularity << 32 |
                                        (uint32_t)properties->limits.nonCoherentAtomSize;
    record->attr[MT_VK_DEVICE_MAX_ALLOCATIONS] = properties->limits.maxMemoryAllocationCount;
    record->attr[MT_VK_DEVICE_DRIVER_ID] = description->driver.driverID;
    record->handle = MT_HANDLE((uintptr_t)device->handle);
    record->create_tid = mt_process_tid(device->core);
    record->offset++;
}

static void make_rows(struct mt_device *device, struct mt_device_stats *stats)
{
    const VkPhysicalDeviceMemoryProperties *memory = &device->memory;
    char name[MT_NAME_BYTES];
    for (uint32_t i = 0; i < memory->memoryHeapCount && i < VK_MAX_MEMORY_HEAPS; i++) {
        mt_format(name, sizeof name, "heap %u", i);
        stats->heaps[i] = mt_heap_new(device->core, MT_HEAP_DEVICE_HEAP, stats->object, i, i,
                                      memory->memoryHeaps[i].flags, memory->memoryHeaps[i].size, name);
    }
    for (uint32_t i = 0; i < memory->memoryTypeCount && i < VK_MAX_MEMORY_TYPES; i++) {
        uint32_t heap = memory->memoryTypes[i].heapIndex;
        mt_format(name, sizeof name, "type %u", i);
        stats->types[i] = mt_heap_new(device->core, MT_HEAP_DEVICE_TYPE, stats->object, i, heap,
                                      memory->memoryTypes[i].propertyFlags, memory->memoryHeaps[heap].size, name);
    }
    stats->imports = mt_heap_new(device->core, MT_HEAP_DEVICE_IMPORT, stats->object, 0, 0, 0, 0, "imports");
}

/* Rows of the same physical device that no live device uses. */
static struct mt_device_stats *take_old_stats(uint64_t identity, uint32_t epoch)
{
    mt_lock_enter(&stats_lock);
    struct mt_device_stats *stats = all_stats;
    while (stats && (stats->in_use || stats->identity != identity || stats->epoch != epoch)) stats = stats->next;
    if (stats) stats->in_use = true;
    mt_lock_leave(&stats_lock);
    return stats;
}

static struct mt_device_stats *make_stats(struct mt_device *device, uint64_t identity,
                                          const struct description *description)
{
    struct mt_device_stats *stats = mt_layer_map(device->core, sizeof *stats);
    if (!stats) return NULL;
    struct mt_object *record = mt_object_new(device->core, MT_VK_DEVICE, &stats->object);
    if (!record) {
        mt_layer_unmap(device->core, stats, sizeof *stats);
        return NULL;
    }
    stats->identity = identity;
    stats->epoch = device->epoch;
    stats->in_use = true;
    make_rows(device, stats);
    fill_record(record, device, description);
    mt_object_publish(record);
    mt_lock_enter(&stats_lock);
    stats->next = all_stats;
    all_stats = stats;
    mt_lock_leave(&stats_lock);
    return stats;
}

static struct mt_device_stats *find_stats(struct mt_device *device, const struct description *description)
{
    uint64_t identity = identify(device, description);
    struct mt_device_stats *stats = take_old_stats(identity, device->epoch);
    if (!stats) return make_stats(device, identity, description);
    struct mt_object *record = mt_object_at(device->core, stats->object);
    mt_object_begin(record);
    fill_record(record, device, description);
    mt_object_end(record);
    return stats;
}

bool mt_device_record(struct mt_device *device, const struct mt_instance *instance)
{
    device->epoch = atomic_load_explicit(&device->core->epoch, memory_order_relaxed);
    struct description *description = mt_layer_map(device->core, sizeof *description);
    if (!description) return false;
    describe(instance, device, description);
    device->stats = find_stats(device, description);
    if (device->stats && description->has_budget) mt_budget_watch(device, instance);
    mt_layer_unmap(device->core, description, sizeof *description);
    return device->stats != NULL;
}

/* ---- counters of a device ----------------------------------------------------------- */

static struct mt_histogram *make_histogram(struct mt_device *device, enum mt_call call, uint32_t type)
{
    static const char *const names[MT_CALL_COUNT] = {MT_VK_HISTOGRAM_ALLOCATE, MT_VK_HISTOGRAM_FREE,
                                                     MT_VK_HISTOGRAM_MAP};
    char name[MT_NAME_BYTES];
    mt_lock_enter(&stats_lock);
    struct mt_histogram *made = atomic_load_explicit(&device->stats->calls[call][type], memory_order_relaxed);
    if (!made) {
        mt_format(name, sizeof name, "%s type %u", names[call], type);
        made = mt_histogram_new(device->core, device->stats->object, name, "ns");
        atomic_store_explicit(&device->stats->calls[call][type], made, memory_order_release);
    }
    mt_lock_leave(&stats_lock);
    return made;
}

void mt_device_count_call(struct mt_device *device, enum mt_call call, uint32_t type, uint64_t spent_ns)
{
    struct mt_lane *lane = mt_process_lane(device->core);
    if (call != MT_CALL_MAP) mt_lane_add_call(device->core, lane, spent_ns);
    if (type >= VK_MAX_MEMORY_TYPES) return;
    struct mt_histogram *made = atomic_load_explicit(&device->stats->calls[call][type], memory_order_acquire);
    if (__builtin_expect(!made, 0)) made = make_histogram(device, call, type);
    mt_lane_histogram_add(device->core, lane, made, spent_ns);
}

void mt_device_unknown(struct mt_device *device)
{
    struct mt_object *record = mt_object_at(device->core, device->stats->object);
    if (record) __atomic_fetch_add(&record->attr[MT_VK_DEVICE_UNKNOWN_FREES], 1, __ATOMIC_RELAXED);
}

void mt_device_sparse(struct mt_device *device, uint64_t count)
{
    struct mt_object *record = mt_object_at(device->core, device->stats->object);
    if (record) __atomic_fetch_add(&record->size_bytes, count, __ATOMIC_RELAXED);
}

void mt_device_after_fork(void)
{
    atomic_store_explicit(&stats_lock.state, 0, memory_order_relaxed);
    mt_host_after_fork();
}

/* ---- the end: leaks ------------------------------------------------------------------- */

struct leaks {
    struct mt_device *device;
    uint64_t memory_count, memory_bytes, resource_count, swapchain_count;
};

static void mark_leak(struct leaks *leaks, const struct mt_node *node, unsigned attribute, uint64_t flag)
{
    struct mt_object *object = mt_node_object(leaks->device, node);
    if (!object) return;
    mt_object_begin(object);
    object->attr[attribute] |= flag;
    mt_object_end(object);
}

static void leak_memory(struct mt_node *node, void *context)
{
    struct leaks *leaks = context;
    leaks->memory_count++;
    if (!(node->flags & MT_NODE_IMPORT)) leaks->memory_bytes += node->size_bytes;
    if (!(node->flags & MT_NODE_IMPORT) && leaks->device->card && node->type < VK_MAX_MEMORY_TYPES)
        mt_simulate_freed(leaks->device->card, leaks->device->memory.memoryTypes[node->type].heapIndex,
                          node->size_bytes);
    mark_leak(leaks, node, MT_VK_MEMORY_FLAGS, MT_VK_MEMORY_LEAKED);
}

static void leak_resource(struct mt_node *node, void *context)
{
    struct leaks *leaks = context;
    leaks->resource_count++;
    mark_leak(leaks, node, MT_VK_RESOURCE_FLAGS, MT_VK_RESOURCE_LEAKED);
}

static void leak_swapchain(struct mt_node *node, void *context)
{
    struct leaks *leaks = context;
    leaks->swapchain_count++;
    mark_leak(leaks, node, MT_VK_SWAPCHAIN_LEAKED, 1);
}

static void tell_leaks(const struct leaks *leaks, const char *name)
{
    struct mt_core *core = leaks->device->core;
    if (leaks->memory_count)
        mt_event(core, "leak", "%lu device memory allocations (%lu bytes) alive at the end of device %s",
                 (unsigned long)leaks->memory_count, (unsigned long)leaks->memory_bytes, name);
    if (leaks->resource_count || leaks->swapchain_count)
        mt_event(core, "leak", "%lu buffers, images and the like and %lu swapchains alive at the end of device %s",
                 (unsigned long)leaks->resource_count, (unsigned long)leaks->swapchain_count, name);
}

/* Marks and tells what is alive now, before the pools go that hold a part of it. */
static void tell_end(struct mt_device *device)
{
    if (!mt_device_is_tracked(device) || device->is_end_told) return;
    struct leaks leaks = {device, 0, 0, 0, 0};
    device->is_end_told = true;
    mt_budget_forget_device(device);
    mt_handles_visit(&device->memories, leak_memory, &leaks);
    if (device->pool) mt_pool_visit(device->pool, leak_memory, &leaks);
    mt_handles_visit(&device->buffers, leak_resource, &leaks);
    mt_handles_visit(&device->images, leak_resource, &leaks);
    mt_handles_visit(&device->accels, leak_resource, &leaks);
    mt_handles_visit(&device->video_sessions, leak_resource, &leaks);
    mt_handles_visit(&device->tensors, leak_resource, &leaks);
    mt_handles_visit(&device->graph_sessions, leak_resource, &leaks);
    mt_handles_visit(&device->swapchains, leak_swapchain, &leaks);
    struct mt_object *record = mt_object_at(device->core, device->stats->object);
    if (record) {
        tell_leaks(&leaks, record->name);
        mt_object_begin(record);
        record->attr[MT_VK_DEVICE_DESTROY_NS] = mt_now_ns();
        record->attr[MT_VK_DEVICE_FLAGS] |= MT_VK_DEVICE_DESTROYED;
        record->attr[MT_VK_DEVICE_LEAKED] += leaks.memory_count;
        record->attr[MT_VK_DEVICE_LEAKED_BYTES] += leaks.memory_bytes;
        mt_object_end(record);
    }
}

void mt_device_close(struct mt_device *device)
{
    if (!mt_device_is_tracked(device)) return;
    tell_end(device);
    device->is_tracked = false;
    mt_lock_enter(&stats_lock);
    device->stats->in_use = false;
    mt_lock_leave(&stats_lock);
}

/* ---- hooks ------------------------------------------------------------------------------ */

static VkLayerDeviceCreateInfo *find_link(const VkDeviceCreateInfo *info)
{
    const VkBaseInStructure *at = info->pNext;
    for (; at; at = at->pNext) {
        if (at->sType != VK_STRUCTURE_TYPE_LOADER_DEVICE_CREATE_INFO) continue;
        VkLayerDeviceCreateInfo *link = (VkLayerDeviceCreateInfo *)(uintptr_t)at;
        if (link->function == VK_LAYER_LINK_INFO) return link;
    }
    return NULL;
}

static void drop_second_self(VkLayerDeviceLink *link)
{
    for (; link; link = link->pNext) {
        while (link->pNext && mt_chain_is_self((PFN_vkVoidFunction)link->pfnNextGetInstanceProcAddr)) {
            VkLayerDeviceLink *second = link->pNext;
            *link = *second;
        }
    }
}

static void fill_next(struct mt_device *device, PFN_vkGetDeviceProcAddr next)
{
#define MT_DEVICE_HOOK(Name) device->next.Name = (PFN_vk##Name)next(device->handle, "vk" #Name);
#define MT_POOL_HOOK(Name)   MT_DEVICE_HOOK(Name)
#include "hooks.def"
    device->next.GetDeviceProcAddr = next;
    device->GetImageSparseMemoryRequirements = (PFN_vkGetImageSparseMemoryRequirements)next(
        device->handle, "vkGetImageSparseMemoryRequirements");
}

static void free_device(struct mt_device *device)
{
    mt_sparse_end(device);
    mt_arena_end(&device->arena);
    mt_layer_unmap(device->core, device, sizeof *device);
}

static void start_maps(struct mt_device *device)
{
    mt_arena_start(&device->arena, device->core);
    device->memories.arena = &device->arena;
    device->buffers.arena = &device->arena;
    device->images.arena = &device->arena;
    device->swapchains.arena = &device->arena;
    device->accels.arena = &device->arena;
    device->video_sessions.arena = &device->arena;
    device->tensors.arena = &device->arena;
    device->graph_sessions.arena = &device->arena;
    device->video_bindings.arena = &device->arena;
    device->sparse_ranges.arena = &device->arena;
}

static bool make_device(VkDevice handle, struct mt_instance *instance, VkPhysicalDevice physical_device,
                        const VkDeviceCreateInfo *info, struct mt_report_request *request,
                        PFN_vkGetDeviceProcAddr next)
{
    struct mt_core *core = mt_process_core();
    struct mt_device *device = mt_layer_map(core, sizeof *device);
    if (!device) return false;
    device->key = mt_dispatch_key(handle);
    device->handle = handle;
    device->instance = instance;
    device->physical_device = physical_device;
    device->core = core;
    device->report_status = request->status;
    start_maps(device);
    fill_next(device, next);
    if (mt_core_ready(core) && core->options.number[MT_OPT_VULKAN_HOST]) mt_host_start(device, next);
    device->is_tracked = mt_core_ready(core) && mt_device_record(device, instance);
    if (device->is_tracked) {
        device->card = mt_simulate_card(core, device->stats->identity);
        device->pool = mt_pool_start(device, instance, info);
    }
    mt_report_attach(request, device);
    if (mt_device_register(device)) return true;
    if (device->pool) mt_pool_end(device->pool);
    if (device->is_tracked) mt_device_close(device);
    free_device(device);
    return false;
}

/* A driver that makes no device with memory reports is asked for one without; each layer below moves the link on.
 */
static VkResult create_below(struct mt_report_request *request, const struct mt_instance *instance,
                             VkPhysicalDevice physical_device, const VkDeviceCreateInfo *info,
                             VkLayerDeviceCreateInfo *link, const VkAllocationCallbacks *allocator,
                             VkDevice *handle)
{
    const VkDeviceCreateInfo *asked = mt_report_prepare(request, instance, physical_device, info);
    VkLayerDeviceLink *rest = link->u.pLayerInfo;
    struct mt_host_call call;
    mt_host_begin(&call, mt_host_core(), MT_HOST_CreateDevice, allocator);
    VkResult result = instance->next.CreateDevice(physical_device, asked, call.allocator, handle);
    if (result != VK_SUCCESS && asked != info) {
        mt_report_refused(request);
        link->u.pLayerInfo = rest;
        result = instance->next.CreateDevice(physical_device, info, call.allocator, handle);
    }
    mt_host_end(&call);
    return result;
}

VKAPI_ATTR VkResult VKAPI_CALL memtrack_CreateDevice(VkPhysicalDevice physical_device,
                                                     const VkDeviceCreateInfo *info,
                                                     const VkAllocationCallbacks *allocator, VkDevice *handle)
{
    struct mt_instance *instance = mt_instance_find(physical_device);
    VkLayerDeviceCreateInfo *link = find_link(info);
    if (!instance || !instance->next.CreateDevice || !link || !link->u.pLayerInfo)
        return VK_ERROR_INITIALIZATION_FAILED;
    drop_second_self(link->u.pLayerInfo);
    PFN_vkGetDeviceProcAddr next = link->u.pLayerInfo->pfnNextGetDeviceProcAddr;
    link->u.pLayerInfo = link->u.pLayerInfo->pNext;
    struct mt_report_request request;
    VkResult result = create_below(&request, instance, physical_device, info, link, allocator, handle);
    if (result != VK_SUCCESS) return result;
    if (make_device(*handle, instance, physical_device, info, &request, next)) return VK_SUCCESS;
    PFN_vkDestroyDevice destroy = (PFN_vkDestroyDevice)next(*handle, "vkDestroyDevice");
    if (destroy) destroy(*handle, allocator);
    mt_report_end(request.report);
    *handle = VK_NULL_HANDLE;
    return VK_ERROR_OUT_OF_HOST_MEMORY;
}

VKAPI_ATTR void VKAPI_CALL memtrack_DestroyDevice(VkDevice handle, const VkAllocationCallbacks *allocator)
{
    struct mt_device *device = mt_device_find(handle);
    if (!device) return;
    PFN_vkDestroyDevice destroy = device->next.DestroyDevice;
    tell_end(device);
    if (device->pool) mt_pool_end(device->pool);
    mt_device_close(device);
    mt_device_unregister(device);
    struct mt_memory_report *report = device->report;
    free_device(device);
    struct mt_host_call call;
    mt_host_begin(&call, mt_host_core(), MT_HOST_DestroyDevice, allocator);
    destroy(handle, call.allocator);
    mt_host_end(&call);
    mt_report_end(report);
}
