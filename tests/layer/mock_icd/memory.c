/*
 * Device memory, buffers, images, their requirements and bindings, mapping and
 * sparse binding. Every argument is checked against the rules that a layer
 * which hands out parts of an allocation could break. Any thread.
 */
#include "mock.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define ADD(counter, value) atomic_fetch_add_explicit(&mock.counter, value, memory_order_relaxed)

#define IMPORTED (UINT64_C(1) << 34) /* in the flags of memory */

static const void *find(const void *chain, int type)
{
    const VkBaseInStructure *at = chain;
    while (at && (int)at->sType != type) at = at->pNext;
    return at;
}

/* ---- memory ------------------------------------------------------------------------- */

static bool should_fail(uint64_t count, uint64_t bytes)
{
    const struct mock_config *config = &mock.config;
    for (unsigned i = 0; i < MOCK_FAILURES; i++)
        if (config->fail_allocate[i] == count) return true;
    if (config->fail_allocate_from && count >= config->fail_allocate_from) return true;
    return config->fail_larger && bytes > config->fail_larger;
}

static void wait_us(uint64_t us)
{
    if (us) nanosleep(&(struct timespec){(time_t)(us / 1000000), (long)(us % 1000000) * 1000}, NULL);
}

static uint32_t properties_of(uint32_t type)
{
    return type < mock.config.memory.memoryTypeCount ? mock.config.memory.memoryTypes[type].propertyFlags : 0;
}

static uint32_t heap_of(uint32_t type)
{
    return type < mock.config.memory.memoryTypeCount ? mock.config.memory.memoryTypes[type].heapIndex : 0;
}

/* Memory is address space only until it is touched, so that a test may hold a lot of it. */
static bool back(struct mock_object *memory)
{
    if (!(properties_of(memory->type) & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT)) return true;
    memory->data = mmap(NULL, memory->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                        -1, 0);
    if (memory->data == MAP_FAILED) return false;
    if (mock.config.has_garbage) memset(memory->data, 0xa5, memory->bytes);
    return true;
}

static uint64_t flags_of(const VkMemoryAllocateInfo *info)
{
    const VkMemoryAllocateFlagsInfo *flags = find(info->pNext, VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO);
    const VkImportMemoryFdInfoKHR *imported = find(info->pNext, VK_STRUCTURE_TYPE_IMPORT_MEMORY_FD_INFO_KHR);
    const VkExportMemoryAllocateInfo *exported = find(info->pNext, VK_STRUCTURE_TYPE_EXPORT_MEMORY_ALLOCATE_INFO);
    const VkMemoryDedicatedAllocateInfo *dedicated = find(info->pNext,
                                                          VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO);
    return (flags ? flags->flags : 0) | (exported && exported->handleTypes ? UINT64_C(1) << 32 : 0) |
           (dedicated && (dedicated->buffer || dedicated->image) ? UINT64_C(1) << 33 : 0) |
           (imported && imported->handleType ? IMPORTED : 0);
}

static void note_peak(uint64_t live)
{
    uint64_t peak = atomic_load_explicit(&mock.peak_memory_bytes, memory_order_relaxed);
    while (live > peak && !atomic_compare_exchange_weak(&mock.peak_memory_bytes, &peak, live)) {
    }
}

static VkResult VKAPI_CALL mock_AllocateMemory(VkDevice device, const VkMemoryAllocateInfo *info,
                                               const VkAllocationCallbacks *allocator, VkDeviceMemory *result)
{
    (void)device, (void)allocator;
    uint64_t handle, count = ADD(allocate_count, 1) + 1;
    uint32_t heap = heap_of(info->memoryTypeIndex);
    wait_us(mock.config.delay_allocate_us);
    if (!info->allocationSize) mock_breach("vkAllocateMemory of 0 bytes");
    if (info->memoryTypeIndex >= mock.config.memory.memoryTypeCount) mock_breach("vkAllocateMemory of no type");
    if (should_fail(count, info->allocationSize)) {
        mock_log("vkAllocateMemory type=%u size=%llu failed", info->memoryTypeIndex,
                 (unsigned long long)info->allocationSize);
        mock_report_event(VK_DEVICE_MEMORY_REPORT_EVENT_TYPE_ALLOCATION_FAILED_EXT, 0, info->allocationSize,
                          VK_OBJECT_TYPE_DEVICE_MEMORY, 0, heap);
        return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    }
    struct mock_object *memory = mock_object_new(MOCK_MEMORY, &handle);
    if (!memory) return VK_ERROR_OUT_OF_HOST_MEMORY;
    memory->bytes = info->allocationSize;
    memory->type = info->memoryTypeIndex;
    memory->flags = flags_of(info);
    if (!back(memory)) {
        mock_object_free(handle);
        return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    }
    ADD(live_memory_count, 1);
    note_peak(ADD(live_memory_bytes, memory->bytes) + memory->bytes);
    *result = (VkDeviceMemory)handle;
    mock_report_event(memory->flags & IMPORTED ? VK_DEVICE_MEMORY_REPORT_EVENT_TYPE_IMPORT_EXT
                                               : VK_DEVICE_MEMORY_REPORT_EVENT_TYPE_ALLOCATE_EXT,
                      handle, memory->bytes, VK_OBJECT_TYPE_DEVICE_MEMORY, handle, heap);
    if (mock.config.alias && !mock.alias_of) {
        mock.alias_of = handle;
        *result = (VkDeviceMemory)mock.config.alias;
    }
    mock_log("vkAllocateMemory type=%u size=%llu flags=%llx memory=%llx", memory->type,
             (unsigned long long)memory->bytes, (unsigned long long)memory->flags, (unsigned long long)handle);
    return VK_SUCCESS;
}

static void VKAPI_CALL mock_FreeMemory(VkDevice device, VkDeviceMemory handle,
                                       const VkAllocationCallbacks *allocator)
{
    (void)device, (void)allocator;
    if (!handle) return;
    struct mock_object *memory = mock_object_of(MOCK_MEMORY, MOCK_HANDLE(handle), "vkFreeMemory");
    if (!memory) return;
    mock_log("vkFreeMemory memory=%llx", (unsigned long long)MOCK_HANDLE(handle));
    mock_report_event(memory->flags & IMPORTED ? VK_DEVICE_MEMORY_REPORT_EVENT_TYPE_UNIMPORT_EXT
                                               : VK_DEVICE_MEMORY_REPORT_EVENT_TYPE_FREE_EXT,
                      MOCK_HANDLE(handle), 0, VK_OBJECT_TYPE_DEVICE_MEMORY, MOCK_HANDLE(handle),
                      heap_of(memory->type));
    if (memory->data) munmap(memory->data, memory->bytes);
    ADD(free_count, 1);
    ADD(live_memory_count, (uint64_t)-1);
    ADD(live_memory_bytes, 0 - memory->bytes);
    mock_object_free(MOCK_HANDLE(handle));
}

static VkResult map(uint64_t handle, uint64_t offset, uint64_t bytes, void **data)
{
    struct mock_object *memory = mock_object_of(MOCK_MEMORY, handle, "vkMapMemory");
    if (!memory) return VK_ERROR_MEMORY_MAP_FAILED;
    if (memory->is_mapped) mock_breach("vkMapMemory of memory that is mapped");
    if (!memory->data) mock_breach("vkMapMemory of memory that is not visible to the host");
    if (offset >= memory->bytes || (bytes != VK_WHOLE_SIZE && bytes > memory->bytes - offset) || !bytes)
        mock_breach("vkMapMemory beyond the memory");
    if (ADD(map_count, 1) + 1 == mock.config.fail_map || !memory->data) return VK_ERROR_MEMORY_MAP_FAILED;
    memory->is_mapped = true;
    memory->mapped_offset = offset;
    memory->mapped_bytes = bytes == VK_WHOLE_SIZE ? memory->bytes - offset : bytes;
    *data = memory->data + offset;
    mock_log("vkMapMemory memory=%llx offset=%llu", (unsigned long long)handle, (unsigned long long)offset);
    return VK_SUCCESS;
}

static VkResult unmap(uint64_t handle)
{
    struct mock_object *memory = mock_object_of(MOCK_MEMORY, handle, "vkUnmapMemory");
    if (!memory) return VK_ERROR_MEMORY_MAP_FAILED;
    if (!memory->is_mapped) mock_breach("vkUnmapMemory of memory that is not mapped");
    memory->is_mapped = false;
    ADD(unmap_count, 1);
    return VK_SUCCESS;
}

static VkResult VKAPI_CALL mock_MapMemory(VkDevice device, VkDeviceMemory memory, VkDeviceSize offset,
                                          VkDeviceSize bytes, VkMemoryMapFlags flags, void **data)
{
    (void)device, (void)flags;
    return map(MOCK_HANDLE(memory), offset, bytes, data);
}

static VkResult VKAPI_CALL mock_MapMemory2KHR(VkDevice device, const VkMemoryMapInfoKHR *info, void **data)
{
    (void)device;
    return map(MOCK_HANDLE(info->memory), info->offset, info->size, data);
}

static void VKAPI_CALL mock_UnmapMemory(VkDevice device, VkDeviceMemory memory)
{
    (void)device;
    unmap(MOCK_HANDLE(memory));
}

static VkResult VKAPI_CALL mock_UnmapMemory2KHR(VkDevice device, const VkMemoryUnmapInfoKHR *info)
{
    (void)device;
    return unmap(MOCK_HANDLE(info->memory));
}

static void check_range(const VkMappedMemoryRange *range)
{
    struct mock_object *memory = mock_object_of(MOCK_MEMORY, MOCK_HANDLE(range->memory),
                                                "vkFlushMappedMemoryRanges");
    if (!memory) return;
    uint64_t end = memory->mapped_offset + memory->mapped_bytes;
    if (!memory->is_mapped) mock_breach("a range of memory that is not mapped");
    if (range->offset % mock.config.atom) mock_breach("a range that starts beside an atom");
    if (range->offset < memory->mapped_offset || range->offset > end)
        mock_breach("a range before or beyond the mapping");
    if (range->size == VK_WHOLE_SIZE) return;
    if (range->size > end - range->offset) mock_breach("a range that ends beyond the mapping");
    if (range->size % mock.config.atom && range->offset + range->size != memory->bytes)
        mock_breach("a range that ends inside an atom");
}

static VkResult VKAPI_CALL mock_FlushMappedMemoryRanges(VkDevice device, uint32_t count,
                                                        const VkMappedMemoryRange *ranges)
{
    (void)device;
    for (uint32_t i = 0; i < count; i++) check_range(&ranges[i]);
    ADD(flush_count, count);
    return VK_SUCCESS;
}

static void VKAPI_CALL mock_GetDeviceMemoryCommitment(VkDevice device, VkDeviceMemory handle, VkDeviceSize *bytes)
{
    (void)device;
    struct mock_object *memory = mock_object_of(MOCK_MEMORY, MOCK_HANDLE(handle), "vkGetDeviceMemoryCommitment");
    if (memory && !(properties_of(memory->type) & VK_MEMORY_PROPERTY_LAZILY_ALLOCATED_BIT))
        mock_breach("vkGetDeviceMemoryCommitment of memory that is not allocated lazily");
    *bytes = memory ? memory->bytes / 2 : 0;
}

static uint64_t VKAPI_CALL
mock_GetDeviceMemoryOpaqueCaptureAddress(VkDevice device, const VkDeviceMemoryOpaqueCaptureAddressInfo *info)
{
    (void)device;
    struct mock_object *memory = mock_object_of(MOCK_MEMORY, MOCK_HANDLE(info->memory),
                                                "vkGetDeviceMemoryOpaqueCaptureAddress");
    if (memory && !(memory->flags & VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT))
        mock_breach("a capture address of memory without device address");
    ADD(capture_count, 1);
    return memory ? MOCK_HANDLE(info->memory) << 16 : 0;
}

static void VKAPI_CALL mock_SetDeviceMemoryPriorityEXT(VkDevice device, VkDeviceMemory memory, float priority)
{
    (void)device, (void)priority;
    mock_object_of(MOCK_MEMORY, MOCK_HANDLE(memory), "vkSetDeviceMemoryPriorityEXT");
}

static VkResult VKAPI_CALL mock_GetMemoryFdKHR(VkDevice device, const VkMemoryGetFdInfoKHR *info, int *fd)
{
    (void)device;
    struct mock_object *memory = mock_object_of(MOCK_MEMORY, MOCK_HANDLE(info->memory), "vkGetMemoryFdKHR");
    if (memory && !(memory->flags >> 32 & 1)) mock_breach("vkGetMemoryFdKHR of memory that is not exportable");
    *fd = -1;
    return VK_SUCCESS;
}

/* ---- resources ---------------------------------------------------------------------------- */

static uint64_t round_up(uint64_t value, uint64_t to)
{
    return (value + to - 1) / to * to;
}

static VkResult VKAPI_CALL mock_CreateBuffer(VkDevice device, const VkBufferCreateInfo *info,
                                             const VkAllocationCallbacks *allocator, VkBuffer *result)
{
    (void)device;
    uint64_t handle;
    struct mock_object *buffer = mock_object_new(MOCK_BUFFER, &handle);
    if (!buffer) return VK_ERROR_OUT_OF_HOST_MEMORY;
    buffer->host = mock_host_allocate(allocator, VK_SYSTEM_ALLOCATION_SCOPE_OBJECT);
    buffer->alignment = mock.config.buffer_alignment;
    buffer->bytes = round_up(info->size, buffer->alignment);
    buffer->is_sparse = info->flags & VK_BUFFER_CREATE_SPARSE_BINDING_BIT;
    ADD(live_resource_count, 1);
    *result = (VkBuffer)handle;
    return VK_SUCCESS;
}

static uint64_t image_bytes(const VkImageCreateInfo *info)
{
    uint64_t bytes = (uint64_t)info->extent.width * info->extent.height * info->extent.depth * 4 *
                     info->arrayLayers * (uint64_t)info->samples;
    return round_up(info->mipLevels > 1 ? bytes + bytes / 3 : bytes, mock.config.image_alignment);
}

static VkResult VKAPI_CALL mock_CreateImage(VkDevice device, const VkImageCreateInfo *info,
                                            const VkAllocationCallbacks *allocator, VkImage *result)
{
    (void)device;
    uint64_t handle;
    struct mock_object *image = mock_object_new(MOCK_IMAGE, &handle);
    if (!image) return VK_ERROR_OUT_OF_HOST_MEMORY;
    image->host = mock_host_allocate(allocator, VK_SYSTEM_ALLOCATION_SCOPE_OBJECT);
    image->alignment = mock.config.image_alignment;
    image->bytes = image_bytes(info);
    image->is_sparse = info->flags & VK_IMAGE_CREATE_SPARSE_BINDING_BIT;
    ADD(live_resource_count, 1);
    *result = (VkImage)handle;
    return VK_SUCCESS;
}

static void destroy(enum mock_kind kind, uint64_t handle, const VkAllocationCallbacks *allocator, const char *who)
{
    struct mock_object *object = handle ? mock_object_of(kind, handle, who) : NULL;
    if (!object) return;
    mock_host_free(allocator, object->host, VK_SYSTEM_ALLOCATION_SCOPE_OBJECT);
    ADD(live_resource_count, (uint64_t)-1);
    mock_object_free(handle);
}

static void VKAPI_CALL mock_DestroyBuffer(VkDevice device, VkBuffer buffer, const VkAllocationCallbacks *allocator)
{
    (void)device;
    destroy(MOCK_BUFFER, MOCK_HANDLE(buffer), allocator, "vkDestroyBuffer");
}

static void VKAPI_CALL mock_DestroyImage(VkDevice device, VkImage image, const VkAllocationCallbacks *allocator)
{
    (void)device;
    destroy(MOCK_IMAGE, MOCK_HANDLE(image), allocator, "vkDestroyImage");
}

static uint32_t all_types(void)
{
    return (UINT32_C(1) << mock.config.memory.memoryTypeCount) - 1;
}

static void require(enum mock_kind kind, uint64_t handle, VkMemoryRequirements *required)
{
    struct mock_object *object = mock_object_of(kind, handle, "a question for memory requirements");
    *required = (VkMemoryRequirements){object ? object->bytes : 0, object ? object->alignment : 1, all_types()};
}

static void VKAPI_CALL mock_GetBufferMemoryRequirements(VkDevice device, VkBuffer buffer,
                                                        VkMemoryRequirements *required)
{
    (void)device;
    require(MOCK_BUFFER, MOCK_HANDLE(buffer), required);
}

static void VKAPI_CALL mock_GetBufferMemoryRequirements2(VkDevice device,
                                                         const VkBufferMemoryRequirementsInfo2 *info,
                                                         VkMemoryRequirements2 *required)
{
    (void)device;
    require(MOCK_BUFFER, MOCK_HANDLE(info->buffer), &required->memoryRequirements);
}

static void VKAPI_CALL mock_GetImageMemoryRequirements(VkDevice device, VkImage image,
                                                       VkMemoryRequirements *required)
{
    (void)device;
    require(MOCK_IMAGE, MOCK_HANDLE(image), required);
}

static void VKAPI_CALL mock_GetImageMemoryRequirements2(VkDevice device, const VkImageMemoryRequirementsInfo2 *info,
                                                        VkMemoryRequirements2 *required)
{
    (void)device;
    require(MOCK_IMAGE, MOCK_HANDLE(info->image), &required->memoryRequirements);
}

static void VKAPI_CALL mock_GetDeviceBufferMemoryRequirements(VkDevice device,
                                                              const VkDeviceBufferMemoryRequirements *info,
                                                              VkMemoryRequirements2 *required)
{
    (void)device;
    uint64_t alignment = mock.config.buffer_alignment;
    required->memoryRequirements = (VkMemoryRequirements){round_up(info->pCreateInfo->size, alignment), alignment,
                                                          all_types()};
}

static void VKAPI_CALL mock_GetDeviceImageMemoryRequirements(VkDevice device,
                                                             const VkDeviceImageMemoryRequirements *info,
                                                             VkMemoryRequirements2 *required)
{
    (void)device;
    required->memoryRequirements = (VkMemoryRequirements){image_bytes(info->pCreateInfo),
                                                          mock.config.image_alignment, all_types()};
}

static VkDeviceAddress VKAPI_CALL mock_GetBufferDeviceAddress(VkDevice device,
                                                              const VkBufferDeviceAddressInfo *info)
{
    (void)device;
    struct mock_object *buffer = mock_object_of(MOCK_BUFFER, MOCK_HANDLE(info->buffer), "vkGetBufferDeviceAddress");
    if (buffer && !buffer->is_bound) mock_breach("vkGetBufferDeviceAddress of an unbound buffer");
    return buffer ? (buffer->memory << 16) + buffer->offset : 0;
}

/* ---- bindings -------------------------------------------------------------------------------- */

static struct mock_object *check_place(uint64_t memory, uint64_t offset, uint64_t bytes, uint64_t alignment,
                                       const char *who)
{
    struct mock_object *object = mock_object_of(MOCK_MEMORY, memory, who);
    if (!object) return NULL;
    if (offset % alignment)
        mock_breach("%s: offset %llu of alignment %llu", who, (unsigned long long)offset,
                    (unsigned long long)alignment);
    if (offset >= object->bytes || bytes > object->bytes - offset) mock_breach("%s beyond the memory", who);
    atomic_store(&mock.last_bind_memory, memory);
    atomic_store(&mock.last_bind_offset, offset);
    ADD(bind_count, 1);
    return object;
}

static VkResult bind(enum mock_kind kind, uint64_t handle, uint64_t memory, uint64_t offset, const void *chain)
{
    const char *who = kind == MOCK_BUFFER ? "vkBindBufferMemory" : "vkBindImageMemory";
    const struct mt_bind_status *status = find(chain, MT_STYPE_BIND_MEMORY_STATUS);
    const VkBindImageMemorySwapchainInfoKHR *swapchain = find(
        chain, VK_STRUCTURE_TYPE_BIND_IMAGE_MEMORY_SWAPCHAIN_INFO_KHR);
    struct mock_object *object = mock_object_of(kind, handle, who);
    VkResult result = VK_ERROR_OUT_OF_DEVICE_MEMORY;
    if (object && swapchain && swapchain->swapchain && !memory)
        result = VK_SUCCESS;
    else if (object && check_place(memory, offset, object->bytes, object->alignment, who)) {
        if (object->is_bound) mock_breach("%s of a resource that is bound", who);
        if (object->is_sparse) mock_breach("%s of a sparse resource", who);
        object->is_bound = true;
        object->memory = memory;
        object->offset = offset;
        result = VK_SUCCESS;
    }
    if (status && status->pResult) *status->pResult = result;
    return result;
}

static VkResult VKAPI_CALL mock_BindBufferMemory(VkDevice device, VkBuffer buffer, VkDeviceMemory memory,
                                                 VkDeviceSize offset)
{
    (void)device;
    return bind(MOCK_BUFFER, MOCK_HANDLE(buffer), MOCK_HANDLE(memory), offset, NULL);
}

static VkResult VKAPI_CALL mock_BindImageMemory(VkDevice device, VkImage image, VkDeviceMemory memory,
                                                VkDeviceSize offset)
{
    (void)device;
    return bind(MOCK_IMAGE, MOCK_HANDLE(image), MOCK_HANDLE(memory), offset, NULL);
}

static VkResult VKAPI_CALL mock_BindBufferMemory2(VkDevice device, uint32_t count,
                                                  const VkBindBufferMemoryInfo *infos)
{
    (void)device;
    VkResult all = VK_SUCCESS;
    for (uint32_t i = 0; i < count; i++) {
        VkResult one = bind(MOCK_BUFFER, MOCK_HANDLE(infos[i].buffer), MOCK_HANDLE(infos[i].memory),
                            infos[i].memoryOffset, infos[i].pNext);
        if (one) all = one;
    }
    return all;
}

static VkResult VKAPI_CALL mock_BindImageMemory2(VkDevice device, uint32_t count,
                                                 const VkBindImageMemoryInfo *infos)
{
    (void)device;
    VkResult all = VK_SUCCESS;
    for (uint32_t i = 0; i < count; i++) {
        VkResult one = bind(MOCK_IMAGE, MOCK_HANDLE(infos[i].image), MOCK_HANDLE(infos[i].memory),
                            infos[i].memoryOffset, infos[i].pNext);
        if (one) all = one;
    }
    return all;
}

static void check_sparse(uint64_t memory, uint64_t offset, uint64_t bytes)
{
    if (memory) check_place(memory, offset, bytes, 4096, "vkQueueBindSparse");
    ADD(sparse_count, 1);
}

static void check_opaque(uint32_t count, const VkSparseMemoryBind *binds)
{
    for (uint32_t i = 0; i < count; i++)
        check_sparse(MOCK_HANDLE(binds[i].memory), binds[i].memoryOffset, binds[i].size);
}

static VkResult VKAPI_CALL mock_QueueBindSparse(VkQueue queue, uint32_t count, const VkBindSparseInfo *infos,
                                                VkFence fence)
{
    (void)queue, (void)fence;
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t b = 0; b < infos[i].bufferBindCount; b++)
            check_opaque(infos[i].pBufferBinds[b].bindCount, infos[i].pBufferBinds[b].pBinds);
        for (uint32_t b = 0; b < infos[i].imageOpaqueBindCount; b++)
            check_opaque(infos[i].pImageOpaqueBinds[b].bindCount, infos[i].pImageOpaqueBinds[b].pBinds);
        for (uint32_t b = 0; b < infos[i].imageBindCount; b++)
            for (uint32_t k = 0; k < infos[i].pImageBinds[b].bindCount; k++)
                check_sparse(MOCK_HANDLE(infos[i].pImageBinds[b].pBinds[k].memory),
                             infos[i].pImageBinds[b].pBinds[k].memoryOffset, 1);
    }
    return VK_SUCCESS;
}

static VkResult VKAPI_CALL mock_BindVideoSessionMemoryKHR(VkDevice device, VkVideoSessionKHR session,
                                                          uint32_t count,
                                                          const VkBindVideoSessionMemoryInfoKHR *infos)
{
    (void)device, (void)session;
    for (uint32_t i = 0; i < count; i++)
        if (!check_place(MOCK_HANDLE(infos[i].memory), infos[i].memoryOffset, infos[i].memorySize, 256,
                         "vkBindVideoSessionMemoryKHR"))
            return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    return VK_SUCCESS;
}

static VkResult VKAPI_CALL mock_BindAccelerationStructureMemoryNV(
    VkDevice device, uint32_t count, const VkBindAccelerationStructureMemoryInfoNV *infos)
{
    (void)device;
    for (uint32_t i = 0; i < count; i++)
        if (!check_place(MOCK_HANDLE(infos[i].memory), infos[i].memoryOffset, 1, 256,
                         "vkBindAccelerationStructureMemoryNV"))
            return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    return VK_SUCCESS;
}

static VkResult VKAPI_CALL mock_BindTensorMemoryARM(VkDevice device, uint32_t count,
                                                    const struct mt_bind_tensor_info *infos)
{
    (void)device;
    for (uint32_t i = 0; i < count; i++)
        if (!check_place(MOCK_HANDLE(infos[i].memory), infos[i].memoryOffset, 1, 64, "vkBindTensorMemoryARM"))
            return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    return VK_SUCCESS;
}

static VkResult VKAPI_CALL mock_BindDataGraphPipelineSessionMemoryARM(
    VkDevice device, uint32_t count, const struct mt_bind_graph_session_info *infos)
{
    (void)device;
    for (uint32_t i = 0; i < count; i++)
        if (!check_place(MOCK_HANDLE(infos[i].memory), infos[i].memoryOffset, 1, 64,
                         "vkBindDataGraphPipelineSessionMemoryARM"))
            return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    return VK_SUCCESS;
}

/* Tensors and sessions are numbers here, and all need the same. */
static _Atomic uint64_t newer_made;
static VkResult VKAPI_CALL mock_CreateTensorARM(VkDevice device, const struct mt_tensor_create_info *info,
                                                const VkAllocationCallbacks *callbacks, uint64_t *tensor)
{
    (void)device, (void)info, (void)callbacks;
    *tensor = 0x7e0000 + ++newer_made;
    return VK_SUCCESS;
}

static VkResult VKAPI_CALL mock_CreateDataGraphPipelineSessionARM(VkDevice device,
                                                                  const struct mt_graph_session_create_info *info,
                                                                  const VkAllocationCallbacks *callbacks,
                                                                  uint64_t *session)
{
    (void)device, (void)info, (void)callbacks;
    *session = 0x7e0000 + ++newer_made;
    return VK_SUCCESS;
}

static void VKAPI_CALL mock_DestroyTensorARM(VkDevice device, uint64_t handle,
                                             const VkAllocationCallbacks *callbacks)
{
    (void)device, (void)handle, (void)callbacks;
}

static void VKAPI_CALL mock_GetTensorMemoryRequirementsARM(VkDevice device,
                                                           const struct mt_tensor_requirements_info *info,
                                                           VkMemoryRequirements2 *required)
{
    (void)device, (void)info;
    required->memoryRequirements = (VkMemoryRequirements){8192, 64, ~0u};
}

static void VKAPI_CALL mock_GetDataGraphPipelineSessionMemoryRequirementsARM(
    VkDevice device, const struct mt_graph_requirements_info *info, VkMemoryRequirements2 *required)
{
    (void)device;
    required->memoryRequirements = (VkMemoryRequirements){4096 * (1 + info->object_index), 64, ~0u};
}

#define MAP2 "VK_KHR_map_memory2"
static const struct mock_command commands[] = {
    MOCK_COMMAND(AllocateMemory),
    MOCK_COMMAND(FreeMemory),
    MOCK_COMMAND(MapMemory),
    MOCK_COMMAND(UnmapMemory),
    MOCK_ALIAS(MapMemory2KHR, MapMemory2KHR, MAP2),
    MOCK_ALIAS(UnmapMemory2KHR, UnmapMemory2KHR, MAP2),
    MOCK_ALIAS(MapMemory2, MapMemory2KHR, "1.4"),
    MOCK_ALIAS(UnmapMemory2, UnmapMemory2KHR, "1.4"),
    MOCK_COMMAND(FlushMappedMemoryRanges),
    MOCK_ALIAS(InvalidateMappedMemoryRanges, FlushMappedMemoryRanges, NULL),
    MOCK_COMMAND(GetDeviceMemoryCommitment),
    MOCK_COMMAND(CreateBuffer),
    MOCK_COMMAND(DestroyBuffer),
    MOCK_COMMAND(CreateImage),
    MOCK_COMMAND(DestroyImage),
    MOCK_COMMAND(GetBufferMemoryRequirements),
    MOCK_COMMAND(GetImageMemoryRequirements),
    MOCK_COMMAND(BindBufferMemory),
    MOCK_COMMAND(BindImageMemory),
    MOCK_COMMAND(QueueBindSparse),
    MOCK_ALIAS(GetBufferMemoryRequirements2, GetBufferMemoryRequirements2, "1.1"),
    MOCK_ALIAS(GetImageMemoryRequirements2, GetImageMemoryRequirements2, "1.1"),
    MOCK_ALIAS(BindBufferMemory2, BindBufferMemory2, "1.1"),
    MOCK_ALIAS(BindImageMemory2, BindImageMemory2, "1.1"),
    MOCK_ALIAS(GetBufferMemoryRequirements2KHR, GetBufferMemoryRequirements2, "VK_KHR_get_memory_requirements2"),
    MOCK_ALIAS(GetImageMemoryRequirements2KHR, GetImageMemoryRequirements2, "VK_KHR_get_memory_requirements2"),
    MOCK_ALIAS(BindBufferMemory2KHR, BindBufferMemory2, "VK_KHR_bind_memory2"),
    MOCK_ALIAS(BindImageMemory2KHR, BindImageMemory2, "VK_KHR_bind_memory2"),
    MOCK_ALIAS(GetDeviceMemoryOpaqueCaptureAddress, GetDeviceMemoryOpaqueCaptureAddress, "1.2"),
    MOCK_ALIAS(GetDeviceMemoryOpaqueCaptureAddressKHR, GetDeviceMemoryOpaqueCaptureAddress,
               "VK_KHR_buffer_device_address"),
    MOCK_ALIAS(GetBufferDeviceAddress, GetBufferDeviceAddress, "1.2"),
    MOCK_ALIAS(GetDeviceBufferMemoryRequirements, GetDeviceBufferMemoryRequirements, "1.3"),
    MOCK_ALIAS(GetDeviceImageMemoryRequirements, GetDeviceImageMemoryRequirements, "1.3"),
    MOCK_ALIAS(GetDeviceBufferMemoryRequirementsKHR, GetDeviceBufferMemoryRequirements, "VK_KHR_maintenance4"),
    MOCK_ALIAS(GetDeviceImageMemoryRequirementsKHR, GetDeviceImageMemoryRequirements, "VK_KHR_maintenance4"),
    MOCK_ALIAS(SetDeviceMemoryPriorityEXT, SetDeviceMemoryPriorityEXT, "VK_EXT_pageable_device_local_memory"),
    MOCK_ALIAS(GetMemoryFdKHR, GetMemoryFdKHR, "VK_KHR_external_memory_fd"),
    MOCK_ALIAS(BindVideoSessionMemoryKHR, BindVideoSessionMemoryKHR, "VK_KHR_video_queue"),
    MOCK_ALIAS(BindAccelerationStructureMemoryNV, BindAccelerationStructureMemoryNV, "VK_NV_ray_tracing"),
    MOCK_ALIAS(CreateTensorARM, CreateTensorARM, "VK_ARM_tensors"),
    MOCK_ALIAS(DestroyTensorARM, DestroyTensorARM, "VK_ARM_tensors"),
    MOCK_ALIAS(GetTensorMemoryRequirementsARM, GetTensorMemoryRequirementsARM, "VK_ARM_tensors"),
    MOCK_ALIAS(CreateDataGraphPipelineSessionARM, CreateDataGraphPipelineSessionARM, "VK_ARM_data_graph"),
    MOCK_ALIAS(DestroyDataGraphPipelineSessionARM, DestroyTensorARM, "VK_ARM_data_graph"),
    MOCK_ALIAS(GetDataGraphPipelineSessionMemoryRequirementsARM, GetDataGraphPipelineSessionMemoryRequirementsARM,
               "VK_ARM_data_graph"),
    MOCK_ALIAS(BindTensorMemoryARM, BindTensorMemoryARM, "VK_ARM_tensors"),
    MOCK_ALIAS(BindDataGraphPipelineSessionMemoryARM, BindDataGraphPipelineSessionMemoryARM, "VK_ARM_data_graph"),
};

PFN_vkVoidFunction mock_memory_command(const char *name)
{
    return mock_search(commands, sizeof commands / sizeof *commands, name);
}
