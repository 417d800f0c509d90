/*
 * Device memory: each allocation's record, its heap and type counters, what
 * it was made for, its mapping. Hooks on any thread. What is freed is
 * forgotten before the call goes down, because the handle may come back on
 * another thread at once; what is made is recorded after it came back.
 */
#include "layer.h"
#include "pool.h"
#include "scope.h"

#include <string.h>

/* What the pNext chain of an allocation says. */
struct facts {
    uint64_t flags; /* MT_VK_MEMORY_* */
    uint64_t import_type, export_types, priority, dedicated;
};

static void note_dedicated(struct facts *facts, const VkMemoryDedicatedAllocateInfo *info)
{
    if (info->image)
        facts->dedicated = MT_HANDLE(info->image);
    else if (info->buffer)
        facts->dedicated = MT_HANDLE(info->buffer);
    else
        return;
    facts->flags |= MT_VK_MEMORY_IS_DEDICATED | (info->image ? 0 : MT_VK_MEMORY_FOR_BUFFER);
}

static void note_import(struct facts *facts, uint64_t type)
{
    if (!type) return; /* a handle type of 0 imports nothing */
    facts->flags |= MT_VK_MEMORY_IS_IMPORT;
    facts->import_type = type;
}

static void note_export(struct facts *facts, uint64_t types)
{
    if (!types) return;
    facts->flags |= MT_VK_MEMORY_IS_EXPORT;
    facts->export_types = types;
}

static void note_allocate_flags(struct facts *facts, VkMemoryAllocateFlags flags)
{
    enum { DEVICE_MASK = 1, DEVICE_ADDRESS = 2, CAPTURE_REPLAY = 4, ZERO_INITIALIZE = 8 };
    if (flags & DEVICE_MASK) facts->flags |= MT_VK_MEMORY_HAS_DEVICE_MASK;
    if (flags & DEVICE_ADDRESS) facts->flags |= MT_VK_MEMORY_HAS_ADDRESS;
    if (flags & CAPTURE_REPLAY) facts->flags |= MT_VK_MEMORY_CAPTURE_REPLAY;
    if (flags & ZERO_INITIALIZE) facts->flags |= MT_VK_MEMORY_ZERO_INITIALIZE;
}

static void note_priority(struct facts *facts, float priority)
{
    uint32_t bits;
    memcpy(&bits, &priority, sizeof bits);
    facts->flags |= MT_VK_MEMORY_HAS_PRIORITY;
    facts->priority = bits;
}

/* All import and export structures carry the handle type, where they have one, in this place. */
struct with_handle_type {
    VkStructureType sType;
    const void *pNext;
    VkFlags handle_type;
};

static void note_structure(struct facts *facts, const VkBaseInStructure *at)
{
    const struct with_handle_type *typed = (const void *)at;
    switch ((int)at->sType) {
    case VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO:
    case MT_STYPE_DEDICATED_NV: note_dedicated(facts, (const void *)at); break;
    case VK_STRUCTURE_TYPE_EXPORT_MEMORY_ALLOCATE_INFO:
    case MT_STYPE_EXPORT_NV: note_export(facts, typed->handle_type); break;
    case MT_STYPE_IMPORT_FD:
    case MT_STYPE_IMPORT_HOST_POINTER:
    case MT_STYPE_IMPORT_WIN32:
    case MT_STYPE_IMPORT_ZIRCON:
    case MT_STYPE_IMPORT_METAL:
    case MT_STYPE_IMPORT_SCI_BUF: note_import(facts, typed->handle_type); break;
    case MT_STYPE_IMPORT_WIN32_NV: note_import(facts, UINT64_C(1) << 32 | typed->handle_type); break;
    case MT_STYPE_IMPORT_ANDROID:
        note_import(facts, VK_EXTERNAL_MEMORY_HANDLE_TYPE_ANDROID_HARDWARE_BUFFER_BIT_ANDROID);
        break;
    case MT_STYPE_IMPORT_BUFFER_COLLECTION:
    case MT_STYPE_IMPORT_SCREEN:
    case MT_STYPE_IMPORT_NATIVE_BUFFER:
    case MT_STYPE_IMPORT_METAL_BUFFER: note_import(facts, UINT64_C(1) << 33); break;
    case VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO:
        note_allocate_flags(facts, ((const VkMemoryAllocateFlagsInfo *)at)->flags);
        break;
    case VK_STRUCTURE_TYPE_MEMORY_PRIORITY_ALLOCATE_INFO_EXT:
        note_priority(facts, ((const VkMemoryPriorityAllocateInfoEXT *)at)->priority);
        break;
    case VK_STRUCTURE_TYPE_MEMORY_OPAQUE_CAPTURE_ADDRESS_ALLOCATE_INFO:
        if (((const VkMemoryOpaqueCaptureAddressAllocateInfo *)at)->opaqueCaptureAddress)
            facts->flags |= MT_VK_MEMORY_CAPTURE_REPLAY;
        break;
    case MT_STYPE_EXPORT_WIN32:
    case MT_STYPE_EXPORT_WIN32_NV:
    case MT_STYPE_EXPORT_SCI_BUF: break; /* attributes of an export that is named elsewhere */
    default:
        if (!(facts->flags >> 32)) facts->flags |= MT_VK_MEMORY_OTHER_PNEXT | (uint64_t)(uint32_t)at->sType << 32;
    }
}

static uint32_t heap_of_type(const struct mt_device *device, uint32_t type)
{
    return type < device->memory.memoryTypeCount ? device->memory.memoryTypes[type].heapIndex : 0;
}

static unsigned row_of(const struct mt_device *device, uint32_t type, bool is_import)
{
    if (is_import) return device->stats->imports;
    return type < VK_MAX_MEMORY_TYPES ? device->stats->types[type] : 0;
}

static void count_allocation(struct mt_device *device, struct mt_lane *lane, uint32_t type, bool is_import,
                             uint64_t bytes)
{
    mt_lane_allocated(device->core, lane, row_of(device, type, is_import), bytes);
    if (!is_import) mt_lane_allocated(device->core, lane, device->stats->heaps[heap_of_type(device, type)], bytes);
}

static void count_free(struct mt_device *device, struct mt_lane *lane, uint32_t type, bool is_import,
                       uint64_t bytes)
{
    mt_lane_freed(device->core, lane, row_of(device, type, is_import), bytes);
    if (!is_import) mt_lane_freed(device->core, lane, device->stats->heaps[heap_of_type(device, type)], bytes);
}

static uint32_t write_record(struct mt_device *device, struct mt_self *self, const VkMemoryAllocateInfo *info,
                             const struct facts *facts, uint64_t handle, uint64_t spent_ns)
{
    uint32_t id = 0, type = info->memoryTypeIndex;
    struct mt_object *record = mt_object_new_in(device->core, self->lane, MT_VK_MEMORY, &id);
    if (!record) return 0;
    record->owner = device->stats->object;
    record->handle = handle;
    record->size_bytes = info->allocationSize;
    record->create_tid = self->tid;
    record->thread = self->thread;
    record->tag = (uint16_t)mt_scope_tag_told(device->core);
    record->stack = mt_process_stack_of(device->core, self);
    record->heap = (uint16_t)row_of(device, type, facts->flags & MT_VK_MEMORY_IS_IMPORT);
    record->attr[MT_VK_MEMORY_TYPE] = type;
    record->attr[MT_VK_MEMORY_HEAP] = heap_of_type(device, type);
    if (type < device->memory.memoryTypeCount)
        record->attr[MT_VK_MEMORY_PROPERTIES] = device->memory.memoryTypes[type].propertyFlags;
    record->attr[MT_VK_MEMORY_FLAGS] = facts->flags;
    record->attr[MT_VK_MEMORY_IMPORT_TYPE] = facts->import_type;
    record->attr[MT_VK_MEMORY_EXPORT_TYPES] = facts->export_types;
    record->attr[MT_VK_MEMORY_PRIORITY] = facts->priority;
    record->attr[MT_VK_MEMORY_DEDICATED] = facts->dedicated;
    record->attr[MT_VK_MEMORY_CALL_NS] = spent_ns;
    mt_object_publish(record);
    return id;
}

/* It holds its own node. Nobody else knows the handle yet: no lock. */
static void record_slice(struct mt_device *device, struct mt_self *self, const VkMemoryAllocateInfo *info,
                         struct facts *facts, uint64_t handle)
{
    struct mt_node *node = &((struct mt_slice *)(uintptr_t)handle)->node;
    facts->flags |= MT_VK_MEMORY_IS_SLICE;
    if (!node->handle) node->handle = handle; /* for good: who unlinks a resource finds its lock by it */
    node->object = write_record(device, self, info, facts, handle, 0);
    node->type = (uint8_t)info->memoryTypeIndex;
    node->flags = MT_NODE_IS_SLICE;
    node->size_bytes = info->allocationSize;
    atomic_store_explicit(&node->bound, NULL, memory_order_relaxed);
    count_allocation(device, self->lane, info->memoryTypeIndex, false, info->allocationSize);
    mt_pool_set_object(device->pool, handle, node->object);
}

static void record_memory(struct mt_device *device, struct mt_self *self, const VkMemoryAllocateInfo *info,
                          uint64_t handle, uint64_t spent_ns)
{
    struct facts facts = {0};
    const VkBaseInStructure *at = info->pNext;
    for (; at; at = at->pNext) note_structure(&facts, at);
    if (device->pool && mt_pool_owns(device->pool, handle)) {
        record_slice(device, self, info, &facts, handle);
        return;
    }
    bool is_import = facts.flags & MT_VK_MEMORY_IS_IMPORT;
    uint32_t type = info->memoryTypeIndex < VK_MAX_MEMORY_TYPES ? info->memoryTypeIndex : VK_MAX_MEMORY_TYPES;
    mt_handles_fetch(&device->memories, handle);
    struct mt_node node = {.handle = handle, .size_bytes = info->allocationSize, .type = (uint8_t)type};
    node.flags = is_import ? MT_NODE_IMPORT : 0;
    node.object = write_record(device, self, info, &facts, handle, spent_ns);
    count_allocation(device, self->lane, type, is_import, node.size_bytes);
    mt_device_count_call(device, MT_CALL_ALLOCATE, type, spent_ns);
    if (mt_handles_add(&device->memories, &node)) return;
    count_free(device, self->lane, type, is_import, node.size_bytes); /* its free could not be told: at once */
    mt_object_free_in(device->core, self->lane, node.object);
}

/* The bytes that a simulated heap must have: none for what brings its own memory. */
static uint64_t bytes_needed(const VkMemoryAllocateInfo *info)
{
    struct facts facts = {0};
    for (const VkBaseInStructure *at = info->pNext; at; at = at->pNext) note_structure(&facts, at);
    return facts.flags & MT_VK_MEMORY_IS_IMPORT ? 0 : info->allocationSize;
}

static VkResult allocate_below(struct mt_device *device, const struct mt_self *self,
                               const VkMemoryAllocateInfo *info, const VkAllocationCallbacks *allocator,
                               VkDeviceMemory *memory, uint64_t *spent_ns)
{
    if (device->pool) return mt_pool_allocate(device->pool, self, info, allocator, memory, spent_ns);
    uint64_t start_ns = mt_now_ns();
    VkResult result = device->next.AllocateMemory(device->handle, info, allocator, memory);
    *spent_ns = mt_now_ns() - start_ns;
    return result;
}

static VkResult allocate_simulated(struct mt_device *device, const struct mt_self *self,
                                   const VkMemoryAllocateInfo *info, const VkAllocationCallbacks *allocator,
                                   VkDeviceMemory *memory, uint64_t *spent_ns)
{
    uint32_t heap = heap_of_type(device, info->memoryTypeIndex);
    uint64_t bytes = bytes_needed(info);
    VkResult result = mt_simulate_allocate(device->card, device->core, heap, bytes);
    if (result != VK_SUCCESS) return result;
    result = allocate_below(device, self, info, allocator, memory, spent_ns);
    if (result != VK_SUCCESS) mt_simulate_freed(device->card, heap, bytes);
    return result;
}

VKAPI_ATTR VkResult VKAPI_CALL memtrack_AllocateMemory(VkDevice handle, const VkMemoryAllocateInfo *info,
                                                       const VkAllocationCallbacks *allocator,
                                                       VkDeviceMemory *memory)
{
    struct mt_device *device = mt_device_find(handle);
    if (!device) return VK_ERROR_OUT_OF_HOST_MEMORY;
    uint64_t spent_ns = 0;
    if (!mt_device_is_tracked(device)) return allocate_below(device, NULL, info, allocator, memory, &spent_ns);
    struct mt_self *self = mt_process_self(device->core);
    VkResult result = device->card ? allocate_simulated(device, self, info, allocator, memory, &spent_ns)
                                   : allocate_below(device, self, info, allocator, memory, &spent_ns);
    if (result == VK_SUCCESS)
        record_memory(device, self, info, MT_HANDLE(*memory), spent_ns);
    else {
        mt_heap_failed(device->core, row_of(device, info->memoryTypeIndex, false));
        mt_heap_failed(device->core, device->stats->heaps[heap_of_type(device, info->memoryTypeIndex)]);
        mt_pressure_refused(device, info, result);
    }
    return result;
}

/* Ends the counting of memory that nobody can find any more and nothing is bound to. */
static void uncount(struct mt_device *device, struct mt_lane *lane, uint32_t type, bool is_import, uint64_t bytes)
{
    count_free(device, lane, type, is_import, bytes);
    if (device->card && !is_import) mt_simulate_freed(device->card, heap_of_type(device, type), bytes);
}

/* Leaves a copy of the memory's node, where it is known: its record is still to be freed. */
static void forget_memory(struct mt_device *device, struct mt_lane *lane, uint64_t handle, struct mt_node *copy)
{
    struct mt_node *in_use;
    if (!mt_handles_remove(&device->memories, handle, copy, &in_use)) {
        mt_device_unknown(device);
        return;
    }
    mt_node_fetch(device, copy);
    if (in_use) {
        mt_resource_memory_gone(device, in_use);
        mt_handles_give_back(&device->memories, in_use);
    }
    uncount(device, lane, copy->type, copy->flags & MT_NODE_IMPORT, copy->size_bytes);
}

/* Whoever is just taking a resource off the memory's list is done when its lock has been ours. */
static void let_go(struct mt_device *device, struct mt_slice *slice)
{
    mt_resource_memory_gone(device, &slice->node);
    mt_lock_enter(mt_handles_lock(&device->memories, &slice->node));
    mt_lock_leave(mt_handles_lock(&device->memories, &slice->node));
}

/* All that it needs stands in the slice's word: slice and record are far away where many live. */
static void free_slice(struct mt_device *device, uint64_t handle)
{
    uint64_t word = mt_pool_word(device->pool, handle);
    struct mt_self *self = mt_device_is_tracked(device) ? mt_process_self(device->core) : NULL;
    if (!word && self) mt_device_unknown(device);
    if (!word) return;
    if (!self) {
        mt_pool_free(device->pool, NULL, handle, word);
        return;
    }
    if (word & MT_WORD_IS_BOUND) let_go(device, (struct mt_slice *)(uintptr_t)handle);
    mt_pool_free(device->pool, self, handle, word);
    uncount(device, self->lane, mt_word_type(word), false, mt_word_bytes(word));
    mt_object_free_in(device->core, self->lane, mt_word_object(word));
}

VKAPI_ATTR void VKAPI_CALL memtrack_FreeMemory(VkDevice handle, VkDeviceMemory memory,
                                               const VkAllocationCallbacks *allocator)
{
    struct mt_device *device = mt_device_find(handle);
    if (!device) return;
    if (device->pool && mt_pool_owns(device->pool, MT_HANDLE(memory))) {
        free_slice(device, MT_HANDLE(memory));
        return;
    }
    if (!memory || !mt_device_is_tracked(device)) {
        device->next.FreeMemory(handle, memory, allocator);
        return;
    }
    struct mt_lane *lane = mt_process_lane(device->core);
    struct mt_node node = {.type = VK_MAX_MEMORY_TYPES};
    forget_memory(device, lane, MT_HANDLE(memory), &node);
    uint64_t start_ns = mt_now_ns();
    device->next.FreeMemory(handle, memory, allocator);
    mt_device_count_call(device, MT_CALL_FREE, node.type, mt_now_ns() - start_ns);
    mt_object_free_in(device->core, lane, node.object); /* it came from far away meanwhile */
}

/* ---- mapping -------------------------------------------------------------------- */

static void record_map(struct mt_device *device, uint64_t memory, uint64_t offset, uint64_t bytes,
                       uint64_t spent_ns)
{
    struct mt_node *node = mt_handles_enter(&device->memories, memory);
    if (!node) {
        mt_device_unknown(device);
        return;
    }
    uint32_t type = node->type;
    struct mt_object *record = mt_node_object(device, node);
    if (record) {
        mt_object_begin(record);
        record->attr[MT_VK_MEMORY_FLAGS] |= MT_VK_MEMORY_IS_MAPPED | MT_VK_MEMORY_WAS_MAPPED;
        record->attr[MT_VK_MEMORY_MAP_OFFSET] = offset;
        record->attr[MT_VK_MEMORY_MAP_BYTES] = bytes != VK_WHOLE_SIZE ? bytes : node->size_bytes - offset;
        mt_object_end(record);
    }
    mt_handles_leave(&device->memories, node);
    if (spent_ns) mt_device_count_call(device, MT_CALL_MAP, type, spent_ns);
}

static void record_unmap(struct mt_device *device, uint64_t memory)
{
    struct mt_node *node = mt_handles_enter(&device->memories, memory);
    if (!node) return;
    struct mt_object *record = mt_node_object(device, node);
    if (record) {
        mt_object_begin(record);
        record->attr[MT_VK_MEMORY_FLAGS] &= ~(uint64_t)MT_VK_MEMORY_IS_MAPPED;
        record->attr[MT_VK_MEMORY_MAP_OFFSET] = 0;
        record->attr[MT_VK_MEMORY_MAP_BYTES] = 0;
        mt_object_end(record);
    }
    mt_handles_leave(&device->memories, node);
}

/* Its chunk is mapped: nothing goes down, and no time of a driver's call is counted. */
static VkResult map_slice(struct mt_device *device, uint64_t memory, uint64_t offset, uint64_t bytes, void **data)
{
    VkResult result = mt_pool_map(device->pool, memory, offset, data);
    if (result == VK_SUCCESS && mt_device_is_tracked(device)) record_map(device, memory, offset, bytes, 0);
    return result;
}

VKAPI_ATTR VkResult VKAPI_CALL memtrack_MapMemory(VkDevice handle, VkDeviceMemory memory, VkDeviceSize offset,
                                                  VkDeviceSize bytes, VkMemoryMapFlags flags, void **data)
{
    struct mt_device *device = mt_device_find(handle);
    if (!device) return VK_ERROR_MEMORY_MAP_FAILED;
    if (device->pool && mt_pool_owns(device->pool, MT_HANDLE(memory)))
        return map_slice(device, MT_HANDLE(memory), offset, bytes, data);
    if (!mt_device_is_tracked(device)) return device->next.MapMemory(handle, memory, offset, bytes, flags, data);
    uint64_t start_ns = mt_now_ns();
    VkResult result = device->next.MapMemory(handle, memory, offset, bytes, flags, data);
    if (result == VK_SUCCESS) record_map(device, MT_HANDLE(memory), offset, bytes, mt_now_ns() - start_ns);
    return result;
}

static VkResult map2(VkDevice handle, struct mt_device *device, PFN_vkMapMemory2KHR next,
                     const VkMemoryMapInfoKHR *info, void **data)
{
    if (!next) return VK_ERROR_MEMORY_MAP_FAILED;
    if (device->pool && mt_pool_owns(device->pool, MT_HANDLE(info->memory)))
        return map_slice(device, MT_HANDLE(info->memory), info->offset, info->size, data);
    if (!mt_device_is_tracked(device)) return next(handle, info, data);
    uint64_t start_ns = mt_now_ns();
    VkResult result = next(handle, info, data);
    if (result == VK_SUCCESS)
        record_map(device, MT_HANDLE(info->memory), info->offset, info->size, mt_now_ns() - start_ns);
    return result;
}

VKAPI_ATTR VkResult VKAPI_CALL memtrack_MapMemory2(VkDevice handle, const VkMemoryMapInfoKHR *info, void **data)
{
    struct mt_device *device = mt_device_find(handle);
    return device ? map2(handle, device, device->next.MapMemory2, info, data) : VK_ERROR_MEMORY_MAP_FAILED;
}

VKAPI_ATTR VkResult VKAPI_CALL memtrack_MapMemory2KHR(VkDevice handle, const VkMemoryMapInfoKHR *info, void **data)
{
    struct mt_device *device = mt_device_find(handle);
    return device ? map2(handle, device, device->next.MapMemory2KHR, info, data) : VK_ERROR_MEMORY_MAP_FAILED;
}

VKAPI_ATTR void VKAPI_CALL memtrack_UnmapMemory(VkDevice handle, VkDeviceMemory memory)
{
    struct mt_device *device = mt_device_find(handle);
    if (!device) return;
    if (mt_device_is_tracked(device)) record_unmap(device, MT_HANDLE(memory));
    if (device->pool && mt_pool_owns(device->pool, MT_HANDLE(memory))) return;
    device->next.UnmapMemory(handle, memory);
}

/* Unlike vkUnmapMemory it may fail, so it is recorded after the call; the program still holds the memory then. */
static VkResult unmap2(VkDevice handle, struct mt_device *device, PFN_vkUnmapMemory2KHR next,
                       const VkMemoryUnmapInfoKHR *info)
{
    if (!next) return VK_ERROR_MEMORY_MAP_FAILED;
    bool is_slice = device->pool && mt_pool_owns(device->pool, MT_HANDLE(info->memory));
    VkResult result = is_slice ? VK_SUCCESS : next(handle, info);
    if (result == VK_SUCCESS && mt_device_is_tracked(device)) record_unmap(device, MT_HANDLE(info->memory));
    return result;
}

VKAPI_ATTR VkResult VKAPI_CALL memtrack_UnmapMemory2(VkDevice handle, const VkMemoryUnmapInfoKHR *info)
{
    struct mt_device *device = mt_device_find(handle);
    return device ? unmap2(handle, device, device->next.UnmapMemory2, info) : VK_ERROR_MEMORY_MAP_FAILED;
}

VKAPI_ATTR VkResult VKAPI_CALL memtrack_UnmapMemory2KHR(VkDevice handle, const VkMemoryUnmapInfoKHR *info)
{
    struct mt_device *device = mt_device_find(handle);
    return device ? unmap2(handle, device, device->next.UnmapMemory2KHR, info) : VK_ERROR_MEMORY_MAP_FAILED;
}

VKAPI_ATTR void VKAPI_CALL memtrack_SetDeviceMemoryPriorityEXT(VkDevice handle, VkDeviceMemory memory,
                                                               float priority)
{
    struct mt_device *device = mt_device_find(handle);
    if (!device || !device->next.SetDeviceMemoryPriorityEXT) return;
    if (!device->pool || !mt_pool_owns(device->pool, MT_HANDLE(memory)))
        device->next.SetDeviceMemoryPriorityEXT(handle, memory, priority);
    struct mt_node *node = mt_device_is_tracked(device) ? mt_handles_enter(&device->memories, MT_HANDLE(memory))
                                                        : NULL;
    if (!node) return;
    struct mt_object *record = mt_node_object(device, node);
    if (record) {
        struct facts facts = {0};
        note_priority(&facts, priority);
        mt_object_begin(record);
        record->attr[MT_VK_MEMORY_FLAGS] |= facts.flags;
        record->attr[MT_VK_MEMORY_PRIORITY] = facts.priority;
        mt_object_end(record);
    }
    mt_handles_leave(&device->memories, node);
}
