/*
 * What the files of the layer share: the instances and devices with their
 * next-layer commands, and the verbs of each file. Hooks run on any thread of
 * the program; every one of them looks its device up, calls down without a
 * lock held, and records. Where memtrack has trouble of its own the hook just
 * calls down: the program never sees an error that the layer made, except
 * when not even a dispatch table could be kept.
 */
#ifndef MT_LAYER_H
#define MT_LAYER_H

#include "vulkan_compat.h"
#include "handles.h"
#include "core.h"
#include "lane.h"
#include "simulate.h"
#include "vulkan_records.h"

#define MT_LAYER_NAME "VK_LAYER_MEMTRACK_memtrack"

/* A handle as a number, whether the platform defines it as a pointer or as an integer. */
#define MT_HANDLE(handle) ((uint64_t)(handle))

/* ---- dispatch: instances and devices by the key of their handles --------- */

struct mt_instance_next {
#define MT_INSTANCE_HOOK(Name) PFN_vk##Name Name;
#include "hooks.def"
    PFN_vkGetPhysicalDeviceProperties GetPhysicalDeviceProperties;
    PFN_vkGetPhysicalDeviceProperties2 GetPhysicalDeviceProperties2;
    PFN_vkGetPhysicalDeviceProperties2KHR GetPhysicalDeviceProperties2KHR;
    PFN_vkGetPhysicalDeviceFeatures2 GetPhysicalDeviceFeatures2;
    PFN_vkGetPhysicalDeviceFeatures2KHR GetPhysicalDeviceFeatures2KHR;
    PFN_vkGetPhysicalDeviceMemoryProperties GetPhysicalDeviceMemoryProperties;
    PFN_vkGetPhysicalDeviceMemoryProperties2 GetPhysicalDeviceMemoryProperties2;
    PFN_vkGetPhysicalDeviceMemoryProperties2KHR GetPhysicalDeviceMemoryProperties2KHR;
};

struct mt_device_next {
#define MT_DEVICE_HOOK(Name) PFN_vk##Name Name;
#define MT_POOL_HOOK(Name)   PFN_vk##Name Name;
#include "hooks.def"
};

/* The next layer's commands that have a scope around them; see host.c. */
struct mt_device_below {
#define MT_HOST_VOID(Name, First, Allocator, Parameters, Arguments) PFN_vk##Name Name;
#include "host_hooks.def"
};

struct mt_instance {
    void *key;
    VkInstance handle;
    uint32_t api_version; /* what the program asked for; 1.0 where it said nothing */
    bool has_properties2; /* VK_KHR_get_physical_device_properties2 is enabled */
    struct mt_instance_next next;
    PFN_GetPhysicalDeviceProcAddr next_physical; /* NULL: no layer below has one */
};

enum { MT_REPORT_ROWS = 64 };
enum mt_call { MT_CALL_ALLOCATE, MT_CALL_FREE, MT_CALL_MAP, MT_CALL_COUNT };

/* The attachments that were destroyed last: a ring of records, made as it fills; see past.c. */
struct mt_past_images {
    struct mt_lock lock;
    uint32_t count, next; /* records there are; the oldest once all are there */
    uint32_t objects[MT_VK_PAST_MAX];
};

/*
 * The rows of one physical device in the segment. They outlive the VkDevice,
 * so that leaks and totals stay in the report, and serve the next VkDevice of
 * the same physical device once no other one uses them: a program that makes
 * a thousand devices, one after the other, fills one set of rows.
 */
struct mt_device_stats {
    struct mt_device_stats *next;
    uint64_t identity;
    uint32_t epoch;
    uint32_t object; /* the device's record */
    bool in_use;
    unsigned heaps[VK_MAX_MEMORY_HEAPS], types[VK_MAX_MEMORY_TYPES], imports;
    struct mt_histogram *_Atomic calls[MT_CALL_COUNT][VK_MAX_MEMORY_TYPES];
    struct mt_lock report_lock; /* guards what follows; see memory_report.c */
    uint32_t report_count;
    struct {
        uint64_t key;
        uint32_t record;
    } reports[MT_REPORT_ROWS];
    uint32_t pools_record, pool_records[VK_MAX_MEMORY_TYPES][4][2]; /* of pool.c */
    struct mt_past_images past;
    _Atomic uint32_t refused_count; /* of pressure.c */
};

struct mt_device {
    void *key;
    VkDevice handle;
    struct mt_instance *instance; /* NULL once it was destroyed before the device */
    VkPhysicalDevice physical_device;
    struct mt_core *core;
    uint32_t epoch;  /* of the core when the device was made */
    bool is_tracked; /* set once, before the device is known to others */
    bool is_end_told;
    struct mt_device_stats *stats;
    struct mt_device_next next;
    struct mt_device_below below;
    PFN_vkGetImageSparseMemoryRequirements GetImageSparseMemoryRequirements; /* not hooked; NULL: there is none */
    bool has_scopes; /* next leads through the scopes to below */
    VkPhysicalDeviceMemoryProperties memory;
    struct mt_simulated_card *card;  /* NULL: nothing is simulated */
    struct mt_device_pool *pool;     /* NULL: its memory is not pooled */
    struct mt_memory_report *report; /* NULL: the driver is not asked for memory reports */
    enum mt_vulkan_report_status report_status;
    struct mt_arena arena;
    struct mt_handle_map memories, buffers, images, swapchains;
    struct mt_handle_map accels, video_sessions, video_bindings, sparse_ranges, tensors, graph_sessions;
    /* Bindings (of sessions of both kinds) have no handle of their own: they are numbered. */
    _Atomic uint64_t last_video_binding, last_sparse_range;
};

/* Any dispatchable handle's key: equal for an instance and its physical devices, for a device and its queues. */
static inline void *mt_dispatch_key(const void *handle)
{
    return *(void *const *)handle;
}
/* The instance or device of a dispatchable handle; NULL when it is not known or NULL. Lock-free. */
struct mt_instance *mt_instance_find(const void *handle);
struct mt_device *mt_device_find(const void *handle);
/* Makes them known; false when the table is full. */
bool mt_instance_register(struct mt_instance *instance);
bool mt_device_register(struct mt_device *device);
void mt_instance_unregister(struct mt_instance *instance);
void mt_device_unregister(struct mt_device *device);
/* Calls visit for every known device. */
void mt_device_visit(void (*visit)(struct mt_device *device, void *context), void *context);

/* True when what happens on this device is to be recorded: not in a fork's child that inherited it. */
static inline bool mt_device_is_tracked(struct mt_device *device)
{
    return device->is_tracked &&
           atomic_load_explicit(&device->core->epoch, memory_order_relaxed) == device->epoch &&
           mt_core_ready(device->core);
}

/* ---- process: the core, shared with the preloaded library or the layer's own */

/* The core to write to, started; or NULL: pass through. */
struct mt_core *mt_process_attach(void);
/* The same core without starting it; never NULL after the first mt_process_attach(). */
struct mt_core *mt_process_core(void);
/* What a thread of the program has here. */
struct mt_self {
    struct mt_lane *lane;     /* its counters; NULL: it counts in the shared rows */
    struct mt_walker *walker; /* NULL: none yet */
    uint32_t epoch;           /* of the core when the rest was filled in */
    int32_t tid;              /* 0: not filled in yet */
    uint16_t thread;          /* number of its name, as it was then; 0: not known */
    uint16_t lane_index;      /* of its lane; MT_LANE_MAX: it has none */
    bool is_watched;          /* its end will be told */
    uint16_t command;         /* of the call down that the thread is in; enum mt_host_command */
};
/* The calling thread's, for its own use only. Never NULL. */
struct mt_self *mt_process_self(struct mt_core *core);
struct mt_lane *mt_process_lane(struct mt_core *core);
/* The calling thread's id, cached. */
int32_t mt_process_tid(struct mt_core *core);
/* The id of the calling stack without the layer's own frames; 0 when stacks are off. */
uint32_t mt_process_stack(struct mt_core *core);
uint32_t mt_process_stack_of(struct mt_core *core, struct mt_self *self);

/* ---- chain: which command is ours ----------------------------------------- */

/* The layer's own hook for a command, NULL when it has none. */
PFN_vkVoidFunction mt_chain_instance_hook(const char *name);
PFN_vkVoidFunction mt_chain_device_hook(const char *name);
/* True for the entry point of this layer, loaded from here or from another copy of the file. */
bool mt_chain_is_self(PFN_vkVoidFunction get_proc_addr);

/* ---- device: records of devices -------------------------------------------- */

/* Finds or makes the device's rows and record; false: the device is not tracked. */
bool mt_device_record(struct mt_device *device, const struct mt_instance *instance);
/* At the end of the device: marks what is still alive as leaked and lets the rows go. */
void mt_device_close(struct mt_device *device);
/* Counts the time of one call of the driver's for a memory type. */
void mt_device_count_call(struct mt_device *device, enum mt_call call, uint32_t type, uint64_t spent_ns);
/* Counts a handle that the layer never saw. */
void mt_device_unknown(struct mt_device *device);
/* Adds sparse binds to the device's record. */
void mt_device_sparse(struct mt_device *device, uint64_t count);
/* Forgets lock states after fork; only in the child, before other threads exist. */
void mt_device_after_fork(void);

/* ---- resource: buffers and images ------------------------------------------- */

/* memory's resources lose it; called with the memory's node out of its map. Returns how many there were. */
uint32_t mt_resource_memory_gone(struct mt_device *device, struct mt_node *memory);
static inline struct mt_handle_map *mt_resource_map(struct mt_device *device, const struct mt_node *node)
{
    if (__builtin_expect(node->flags & MT_NODE_IS_SPARSE, 0)) return &device->sparse_ranges;
    if (__builtin_expect(node->flags & MT_NODE_IS_TENSOR, 0)) return &device->tensors;
    if (node->flags & (MT_NODE_IS_ACCEL | MT_NODE_IS_VIDEO))
        return node->flags & MT_NODE_IS_ACCEL ? &device->accels : &device->video_bindings;
    return node->flags & MT_NODE_IS_IMAGE ? &device->images : &device->buffers;
}
/* Takes a resource off its memory's list and count. */
void mt_resource_unlink(struct mt_device *device, struct mt_node *resource);
/* Notes what a resource needs; plane: the aspect of a plane, 0 for the whole. The caller holds its lock. */
void mt_resource_set_requirements(struct mt_device *device, struct mt_node *node,
                                  const VkMemoryRequirements *required, uint16_t plane);

/* A new record of a kind for a handle, made by the calling thread and stack, not published yet; or NULL. */
struct mt_object *mt_resource_record(struct mt_device *device, uint16_t kind, uint64_t handle, uint32_t *id);
/* Puts the node into its map; what cannot be found again is not recorded. */
void mt_resource_add(struct mt_device *device, struct mt_handle_map *map, const struct mt_node *node);
/* Forgets a resource that is about to be destroyed. */
void mt_resource_forget(struct mt_device *device, struct mt_handle_map *map, uint64_t handle);
/* Notes that a resource of a map lies in a memory now; both are handles. True: its requirements are not known. */
bool mt_bind_record(struct mt_device *device, struct mt_handle_map *map, uint64_t resource, uint64_t memory,
                    uint64_t offset);

/* ---- video: sessions and the places they are bound to --------------------------------- */

/* One place of a session, of video or of a data graph. */
struct mt_session_place {
    uint64_t index; /* as in MT_VK_VIDEO_BIND_INDEX */
    uint64_t memory, offset, bytes;
};
/* Notes that a session of a map is bound there too. */
void mt_session_bind(struct mt_device *device, struct mt_handle_map *map, uint64_t session,
                     const struct mt_session_place *place);
/* Forgets a session that is about to be destroyed. */
void mt_session_forget(struct mt_device *device, struct mt_handle_map *map, uint64_t session);

/* ---- sparse: what is bound where of sparse buffers and images ------------------- */

/* Notes one bind, of an opaque range or of blocks; see sparse_blocks.c. False: it could not be recorded in full. */
struct mt_sparse_place {
    struct mt_handle_map *map; /* of the resource */
    uint64_t resource;
    uint64_t start, bytes;          /* as in MT_VK_SPARSE_START */
    uint64_t aspect, block_bytes;   /* of blocks */
    uint64_t memory, memory_offset; /* memory 0: nothing from now on */
};
bool mt_sparse_record(struct mt_device *device, const struct mt_sparse_place *place);
/* Notes the binds of blocks of one image; group_device is which one of a group. False as above. */
bool mt_sparse_record_blocks(struct mt_device *device, uint64_t group_device,
                             const VkSparseImageMemoryBindInfo *info);
/* Forgets the ranges of a resource that is about to be destroyed; its node is out of its map. */
void mt_sparse_forget(struct mt_device *device, struct mt_node *resource);
/* Frees what the ranges of all resources need; the device is about to go. */
void mt_sparse_end(struct mt_device *device);

/* The object of a node for writing, NULL when it has none. The caller holds the node's lock. */
static inline struct mt_object *mt_node_object(struct mt_device *device, const struct mt_node *node)
{
    return node->object ? mt_object_at(device->core, node->object) : NULL;
}

/* Fetches a node's record, which is far away where many live: all of it at once, not line by line as it is used. */
static inline void mt_node_fetch(const struct mt_device *device, const struct mt_node *node)
{
    const char *record = (const char *)mt_object_at(device->core, node->object);
    for (unsigned line = 0; record && line < 3; line++) __builtin_prefetch(record + line * 64, 1);
}

/* The bytes of one texel of a format; 0 for compressed, planar and unknown ones. */
uint32_t mt_texel_bytes(VkFormat format);

/* ---- pressure: too little memory ---------------------------------------------- */

/* An event for an allocation that was refused, for the first ones of a device. */
void mt_pressure_refused(struct mt_device *device, const VkMemoryAllocateInfo *info, VkResult result);
/*
 * Events when the driver's usage of a heap passes its budget, or most of a heap
 * that only staging memory comes from is used, and when that is over. `told`
 * has the bits of what was told of this heap. Called by the budget thread alone.
 */
void mt_pressure_budget(struct mt_core *core, const VkPhysicalDeviceMemoryProperties *memory, uint32_t heap,
                        const VkPhysicalDeviceMemoryBudgetPropertiesEXT *budget, uint8_t *told);

/* ---- past: attachments that are gone ----------------------------------------- */

/* Remembers an attachment that is about to be forgotten, where it leaves memory behind. */
void mt_past_note(struct mt_device *device, struct mt_node *image);

/* ---- budget: the quiet thread -------------------------------------------------- */

/* From now on the heaps' budgets of this device are asked for, until mt_budget_forget_instance(). */
void mt_budget_watch(struct mt_device *device, const struct mt_instance *instance);
void mt_budget_forget_device(const struct mt_device *device);
/* Waits for a question in flight; after it no physical device of the instance is touched. Ends the thread with the
 * last one. */
void mt_budget_forget_instance(const struct mt_instance *instance);
void mt_budget_after_fork(void);

/* ---- hooks ------------------------------------------------------------------------ */

#define MT_HOOK_OF(Name) memtrack_##Name
VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL memtrack_GetInstanceProcAddr(VkInstance, const char *);
VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL memtrack_GetDeviceProcAddr(VkDevice, const char *);
VKAPI_ATTR VkResult VKAPI_CALL memtrack_CreateInstance(const VkInstanceCreateInfo *, const VkAllocationCallbacks *,
                                                       VkInstance *);
VKAPI_ATTR void VKAPI_CALL memtrack_DestroyInstance(VkInstance, const VkAllocationCallbacks *);
VKAPI_ATTR VkResult VKAPI_CALL memtrack_CreateDevice(VkPhysicalDevice, const VkDeviceCreateInfo *,
                                                     const VkAllocationCallbacks *, VkDevice *);
VKAPI_ATTR void VKAPI_CALL memtrack_DestroyDevice(VkDevice, const VkAllocationCallbacks *);
VKAPI_ATTR VkResult VKAPI_CALL memtrack_EnumerateInstanceLayerProperties(uint32_t *, VkLayerProperties *);
VKAPI_ATTR VkResult VKAPI_CALL memtrack_EnumerateInstanceExtensionProperties(const char *, uint32_t *,
                                                                             VkExtensionProperties *);
VKAPI_ATTR VkResult VKAPI_CALL memtrack_EnumerateDeviceLayerProperties(VkPhysicalDevice, uint32_t *,
                                                                       VkLayerProperties *);
VKAPI_ATTR VkResult VKAPI_CALL memtrack_EnumerateDeviceExtensionProperties(VkPhysicalDevice, const char *,
                                                                           uint32_t *, VkExtensionProperties *);
VKAPI_ATTR VkResult VKAPI_CALL memtrack_AllocateMemory(VkDevice, const VkMemoryAllocateInfo *,
                                                       const VkAllocationCallbacks *, VkDeviceMemory *);
VKAPI_ATTR void VKAPI_CALL memtrack_FreeMemory(VkDevice, VkDeviceMemory, const VkAllocationCallbacks *);
VKAPI_ATTR VkResult VKAPI_CALL memtrack_MapMemory(VkDevice, VkDeviceMemory, VkDeviceSize, VkDeviceSize,
                                                  VkMemoryMapFlags, void **);
VKAPI_ATTR VkResult VKAPI_CALL memtrack_MapMemory2(VkDevice, const VkMemoryMapInfoKHR *, void **);
VKAPI_ATTR VkResult VKAPI_CALL memtrack_MapMemory2KHR(VkDevice, const VkMemoryMapInfoKHR *, void **);
VKAPI_ATTR void VKAPI_CALL memtrack_UnmapMemory(VkDevice, VkDeviceMemory);
VKAPI_ATTR VkResult VKAPI_CALL memtrack_UnmapMemory2(VkDevice, const VkMemoryUnmapInfoKHR *);
VKAPI_ATTR VkResult VKAPI_CALL memtrack_UnmapMemory2KHR(VkDevice, const VkMemoryUnmapInfoKHR *);
VKAPI_ATTR void VKAPI_CALL memtrack_SetDeviceMemoryPriorityEXT(VkDevice, VkDeviceMemory, float);
VKAPI_ATTR VkResult VKAPI_CALL memtrack_CreateBuffer(VkDevice, const VkBufferCreateInfo *,
                                                     const VkAllocationCallbacks *, VkBuffer *);
VKAPI_ATTR void VKAPI_CALL memtrack_DestroyBuffer(VkDevice, VkBuffer, const VkAllocationCallbacks *);
VKAPI_ATTR VkResult VKAPI_CALL memtrack_CreateImage(VkDevice, const VkImageCreateInfo *,
                                                    const VkAllocationCallbacks *, VkImage *);
VKAPI_ATTR void VKAPI_CALL memtrack_DestroyImage(VkDevice, VkImage, const VkAllocationCallbacks *);
VKAPI_ATTR void VKAPI_CALL memtrack_GetBufferMemoryRequirements(VkDevice, VkBuffer, VkMemoryRequirements *);
VKAPI_ATTR void VKAPI_CALL memtrack_GetBufferMemoryRequirements2(VkDevice, const VkBufferMemoryRequirementsInfo2 *,
                                                                 VkMemoryRequirements2 *);
VKAPI_ATTR void VKAPI_CALL memtrack_GetBufferMemoryRequirements2KHR(VkDevice,
                                                                    const VkBufferMemoryRequirementsInfo2 *,
                                                                    VkMemoryRequirements2 *);
VKAPI_ATTR void VKAPI_CALL memtrack_GetImageMemoryRequirements(VkDevice, VkImage, VkMemoryRequirements *);
VKAPI_ATTR void VKAPI_CALL memtrack_GetImageMemoryRequirements2(VkDevice, const VkImageMemoryRequirementsInfo2 *,
                                                                VkMemoryRequirements2 *);
VKAPI_ATTR void VKAPI_CALL memtrack_GetImageMemoryRequirements2KHR(VkDevice, const VkImageMemoryRequirementsInfo2 *,
                                                                   VkMemoryRequirements2 *);
VKAPI_ATTR VkResult VKAPI_CALL memtrack_BindBufferMemory(VkDevice, VkBuffer, VkDeviceMemory, VkDeviceSize);
VKAPI_ATTR VkResult VKAPI_CALL memtrack_BindBufferMemory2(VkDevice, uint32_t, const VkBindBufferMemoryInfo *);
VKAPI_ATTR VkResult VKAPI_CALL memtrack_BindBufferMemory2KHR(VkDevice, uint32_t, const VkBindBufferMemoryInfo *);
VKAPI_ATTR VkResult VKAPI_CALL memtrack_BindImageMemory(VkDevice, VkImage, VkDeviceMemory, VkDeviceSize);
VKAPI_ATTR VkResult VKAPI_CALL memtrack_BindImageMemory2(VkDevice, uint32_t, const VkBindImageMemoryInfo *);
VKAPI_ATTR VkResult VKAPI_CALL memtrack_BindImageMemory2KHR(VkDevice, uint32_t, const VkBindImageMemoryInfo *);
VKAPI_ATTR VkResult VKAPI_CALL memtrack_QueueBindSparse(VkQueue, uint32_t, const VkBindSparseInfo *, VkFence);
VKAPI_ATTR VkResult VKAPI_CALL memtrack_CreateAccelerationStructureKHR(VkDevice,
                                                                       const VkAccelerationStructureCreateInfoKHR *,
                                                                       const VkAllocationCallbacks *,
                                                                       VkAccelerationStructureKHR *);
VKAPI_ATTR void VKAPI_CALL memtrack_DestroyAccelerationStructureKHR(VkDevice, VkAccelerationStructureKHR,
                                                                    const VkAllocationCallbacks *);
VKAPI_ATTR VkResult VKAPI_CALL memtrack_CreateAccelerationStructureNV(VkDevice,
                                                                      const VkAccelerationStructureCreateInfoNV *,
                                                                      const VkAllocationCallbacks *,
                                                                      VkAccelerationStructureNV *);
VKAPI_ATTR void VKAPI_CALL memtrack_DestroyAccelerationStructureNV(VkDevice, VkAccelerationStructureNV,
                                                                   const VkAllocationCallbacks *);
VKAPI_ATTR VkResult VKAPI_CALL
memtrack_BindAccelerationStructureMemoryNV(VkDevice, uint32_t, const VkBindAccelerationStructureMemoryInfoNV *);
VKAPI_ATTR VkResult VKAPI_CALL memtrack_CreateMicromapEXT(VkDevice, const VkMicromapCreateInfoEXT *,
                                                          const VkAllocationCallbacks *, VkMicromapEXT *);
VKAPI_ATTR void VKAPI_CALL memtrack_DestroyMicromapEXT(VkDevice, VkMicromapEXT, const VkAllocationCallbacks *);
VKAPI_ATTR VkResult VKAPI_CALL memtrack_CreateVideoSessionKHR(VkDevice, const VkVideoSessionCreateInfoKHR *,
                                                              const VkAllocationCallbacks *, VkVideoSessionKHR *);
VKAPI_ATTR void VKAPI_CALL memtrack_DestroyVideoSessionKHR(VkDevice, VkVideoSessionKHR,
                                                           const VkAllocationCallbacks *);
VKAPI_ATTR VkResult VKAPI_CALL memtrack_BindVideoSessionMemoryKHR(VkDevice, VkVideoSessionKHR, uint32_t,
                                                                  const VkBindVideoSessionMemoryInfoKHR *);
VKAPI_ATTR VkResult VKAPI_CALL memtrack_CreateTensorARM(VkDevice, const struct mt_tensor_create_info *,
                                                        const VkAllocationCallbacks *, uint64_t *);
VKAPI_ATTR void VKAPI_CALL memtrack_DestroyTensorARM(VkDevice, uint64_t, const VkAllocationCallbacks *);
VKAPI_ATTR VkResult VKAPI_CALL memtrack_BindTensorMemoryARM(VkDevice, uint32_t, const struct mt_bind_tensor_info *);
VKAPI_ATTR void VKAPI_CALL memtrack_GetTensorMemoryRequirementsARM(VkDevice,
                                                                   const struct mt_tensor_requirements_info *,
                                                                   VkMemoryRequirements2 *);
VKAPI_ATTR VkResult VKAPI_CALL memtrack_CreateDataGraphPipelineSessionARM(
    VkDevice, const struct mt_graph_session_create_info *, const VkAllocationCallbacks *, uint64_t *);
VKAPI_ATTR void VKAPI_CALL memtrack_DestroyDataGraphPipelineSessionARM(VkDevice, uint64_t,
                                                                       const VkAllocationCallbacks *);
VKAPI_ATTR VkResult VKAPI_CALL
memtrack_BindDataGraphPipelineSessionMemoryARM(VkDevice, uint32_t, const struct mt_bind_graph_session_info *);
VKAPI_ATTR void VKAPI_CALL memtrack_GetDataGraphPipelineSessionMemoryRequirementsARM(
    VkDevice, const struct mt_graph_requirements_info *, VkMemoryRequirements2 *);
VKAPI_ATTR VkResult VKAPI_CALL memtrack_CreateSwapchainKHR(VkDevice, const VkSwapchainCreateInfoKHR *,
                                                           const VkAllocationCallbacks *, VkSwapchainKHR *);
VKAPI_ATTR VkResult VKAPI_CALL memtrack_CreateSharedSwapchainsKHR(VkDevice, uint32_t,
                                                                  const VkSwapchainCreateInfoKHR *,
                                                                  const VkAllocationCallbacks *, VkSwapchainKHR *);
VKAPI_ATTR void VKAPI_CALL memtrack_DestroySwapchainKHR(VkDevice, VkSwapchainKHR, const VkAllocationCallbacks *);
VKAPI_ATTR VkResult VKAPI_CALL memtrack_GetSwapchainImagesKHR(VkDevice, VkSwapchainKHR, uint32_t *, VkImage *);
VKAPI_ATTR VkResult VKAPI_CALL memtrack_QueuePresentKHR(VkQueue, const VkPresentInfoKHR *);
VKAPI_ATTR VkResult VKAPI_CALL memtrack_SetDebugUtilsObjectNameEXT(VkDevice, const VkDebugUtilsObjectNameInfoEXT *);
VKAPI_ATTR VkResult VKAPI_CALL memtrack_DebugMarkerSetObjectNameEXT(VkDevice,
                                                                    const VkDebugMarkerObjectNameInfoEXT *);
/* Answered only where the device is pooled; see pool_hooks.c and pool_rewrite.c. */
VKAPI_ATTR VkResult VKAPI_CALL memtrack_FlushMappedMemoryRanges(VkDevice, uint32_t, const VkMappedMemoryRange *);
VKAPI_ATTR VkResult VKAPI_CALL memtrack_InvalidateMappedMemoryRanges(VkDevice, uint32_t,
                                                                     const VkMappedMemoryRange *);
VKAPI_ATTR void VKAPI_CALL memtrack_GetDeviceMemoryCommitment(VkDevice, VkDeviceMemory, VkDeviceSize *);
VKAPI_ATTR uint64_t VKAPI_CALL
memtrack_GetDeviceMemoryOpaqueCaptureAddress(VkDevice, const VkDeviceMemoryOpaqueCaptureAddressInfo *);
VKAPI_ATTR uint64_t VKAPI_CALL
memtrack_GetDeviceMemoryOpaqueCaptureAddressKHR(VkDevice, const VkDeviceMemoryOpaqueCaptureAddressInfo *);
VKAPI_ATTR VkResult VKAPI_CALL memtrack_GetMemoryFdKHR(VkDevice, const VkMemoryGetFdInfoKHR *, int *);
VKAPI_ATTR void VKAPI_CALL memtrack_GetDeviceBufferMemoryRequirements(VkDevice,
                                                                      const VkDeviceBufferMemoryRequirements *,
                                                                      VkMemoryRequirements2 *);
VKAPI_ATTR void VKAPI_CALL memtrack_GetDeviceBufferMemoryRequirementsKHR(VkDevice,
                                                                         const VkDeviceBufferMemoryRequirements *,
                                                                         VkMemoryRequirements2 *);
VKAPI_ATTR void VKAPI_CALL memtrack_GetDeviceImageMemoryRequirements(VkDevice,
                                                                     const VkDeviceImageMemoryRequirements *,
                                                                     VkMemoryRequirements2 *);
VKAPI_ATTR void VKAPI_CALL memtrack_GetDeviceImageMemoryRequirementsKHR(VkDevice,
                                                                        const VkDeviceImageMemoryRequirements *,
                                                                        VkMemoryRequirements2 *);
VKAPI_ATTR void VKAPI_CALL memtrack_GetAccelerationStructureMemoryRequirementsNV(
    VkDevice, const VkAccelerationStructureMemoryRequirementsInfoNV *, VkMemoryRequirements2 *);
VKAPI_ATTR VkResult VKAPI_CALL memtrack_GetVideoSessionMemoryRequirementsKHR(VkDevice, VkVideoSessionKHR,
                                                                             uint32_t *,
                                                                             VkVideoSessionMemoryRequirementsKHR *);
VKAPI_ATTR VkResult VKAPI_CALL memtrack_SetDebugUtilsObjectTagEXT(VkDevice, const VkDebugUtilsObjectTagInfoEXT *);
VKAPI_ATTR VkResult VKAPI_CALL memtrack_DebugMarkerSetObjectTagEXT(VkDevice, const VkDebugMarkerObjectTagInfoEXT *);
VKAPI_ATTR VkResult VKAPI_CALL memtrack_SetPrivateData(VkDevice, VkObjectType, uint64_t, VkPrivateDataSlot,
                                                       uint64_t);
VKAPI_ATTR void VKAPI_CALL memtrack_GetPrivateData(VkDevice, VkObjectType, uint64_t, VkPrivateDataSlot, uint64_t *);
VKAPI_ATTR void VKAPI_CALL memtrack_DestroyPrivateDataSlot(VkDevice, VkPrivateDataSlot,
                                                           const VkAllocationCallbacks *);
VKAPI_ATTR VkResult VKAPI_CALL memtrack_SetPrivateDataEXT(VkDevice, VkObjectType, uint64_t, VkPrivateDataSlot,
                                                          uint64_t);
VKAPI_ATTR void VKAPI_CALL memtrack_GetPrivateDataEXT(VkDevice, VkObjectType, uint64_t, VkPrivateDataSlot,
                                                      uint64_t *);
VKAPI_ATTR void VKAPI_CALL memtrack_DestroyPrivateDataSlotEXT(VkDevice, VkPrivateDataSlot,
                                                              const VkAllocationCallbacks *);

#endif
