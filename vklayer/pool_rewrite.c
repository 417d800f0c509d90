/*
 * Bindings that name slices, rewritten for the driver: the chunk in place of
 * the slice, the offset counted from the chunk's start. What the program gave
 * is const and stays as it is; arrays are copied. Hooks on any thread.
 */
#include "pool.h"

#include <string.h>

enum { COPY_BYTES = 1024 };

/* A copy of an array: on the stack when it is small. */
struct copy {
    _Alignas(16) char small[COPY_BYTES];
    void *items;
    size_t bytes;
};

static void *copy_start(struct mt_device_pool *pools, struct copy *copy, const void *items, size_t bytes)
{
    copy->bytes = bytes;
    copy->items = bytes <= sizeof copy->small ? copy->small : mt_layer_map(pools->device->core, bytes);
    if (copy->items) memcpy(copy->items, items, bytes);
    return copy->items;
}

static void copy_end(struct mt_device_pool *pools, struct copy *copy)
{
    if (copy->items && copy->items != copy->small) mt_layer_unmap(pools->device->core, copy->items, copy->bytes);
}

/* False when the handle is a slice's that is gone. */
static bool place(struct mt_device_pool *pools, VkDeviceMemory *memory, VkDeviceSize *offset)
{
    if (!mt_pool_owns(pools, MT_HANDLE(*memory))) return true;
    struct mt_slice *slice = mt_pool_slice(pools, MT_HANDLE(*memory));
    if (!slice) return false;
    *memory = slice->chunk->handle;
    *offset += slice->offset;
    return true;
}

/* ---- the alignment rule, checked again when it is known what is bound ------------------------- */

static void check_alignment(struct mt_device_pool *pools, uint64_t memory, uint64_t offset, uint64_t alignment)
{
    struct mt_slice *slice = mt_pool_slice(pools, memory);
    mt_pool_learn(pools, alignment);
    if (slice && alignment && offset % alignment == 0 && (slice->offset + offset) % alignment != 0)
        mt_pool_violation(pools, "a resource needs more alignment than its slice has");
}

static bool known_alignment(struct mt_device *device, struct mt_handle_map *map, uint64_t resource,
                            uint64_t *alignment)
{
    struct mt_node *node = mt_handles_enter(map, resource);
    if (!node) return true; /* not ours to ask for */
    bool is_known = node->flags & (MT_NODE_REQUIREMENTS | MT_NODE_NO_QUERY);
    const struct mt_object *record = mt_node_object(device, node);
    *alignment = is_known && record ? record->attr[MT_VK_RESOURCE_ALIGNMENT] : 0;
    mt_handles_leave(map, node);
    return is_known;
}

static void check_buffer(struct mt_device_pool *pools, VkBuffer buffer, VkDeviceMemory memory, uint64_t offset)
{
    struct mt_device *device = pools->device;
    VkMemoryRequirements required;
    uint64_t alignment = 0;
    if (!mt_pool_owns(pools, MT_HANDLE(memory))) return;
    if (!known_alignment(device, &device->buffers, MT_HANDLE(buffer), &alignment)) {
        device->next.GetBufferMemoryRequirements(device->handle, buffer, &required);
        alignment = required.alignment;
    }
    check_alignment(pools, MT_HANDLE(memory), offset, alignment);
}

static void check_image(struct mt_device_pool *pools, VkImage image, VkDeviceMemory memory, uint64_t offset)
{
    struct mt_device *device = pools->device;
    VkMemoryRequirements required;
    uint64_t alignment = 0;
    if (!mt_pool_owns(pools, MT_HANDLE(memory))) return;
    if (!known_alignment(device, &device->images, MT_HANDLE(image), &alignment)) {
        device->next.GetImageMemoryRequirements(device->handle, image, &required);
        alignment = required.alignment;
    }
    check_alignment(pools, MT_HANDLE(memory), offset, alignment);
}

/* ---- buffers and images ---------------------------------------------------------------------------- */

VkResult mt_pool_bind_buffer(struct mt_device_pool *pools, VkBuffer buffer, VkDeviceMemory memory,
                             VkDeviceSize offset)
{
    struct mt_device *device = pools->device;
    check_buffer(pools, buffer, memory, offset);
    if (!place(pools, &memory, &offset)) return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    return device->next.BindBufferMemory(device->handle, buffer, memory, offset);
}

VkResult mt_pool_bind_image(struct mt_device_pool *pools, VkImage image, VkDeviceMemory memory, VkDeviceSize offset)
{
    struct mt_device *device = pools->device;
    check_image(pools, image, memory, offset);
    if (!place(pools, &memory, &offset)) return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    return device->next.BindImageMemory(device->handle, image, memory, offset);
}

/* The call does not go down: each binding that wants its own result gets the error. */
static void refuse(const void *chain)
{
    for (const VkBaseInStructure *at = chain; at; at = at->pNext) {
        const struct mt_bind_status *status = (const void *)at;
        if ((int)at->sType == MT_STYPE_BIND_MEMORY_STATUS && status->pResult)
            *status->pResult = VK_ERROR_OUT_OF_DEVICE_MEMORY;
    }
}

VkResult mt_pool_bind_buffers(struct mt_device_pool *pools, PFN_vkBindBufferMemory2 next, uint32_t count,
                              const VkBindBufferMemoryInfo *infos)
{
    struct copy copy;
    VkBindBufferMemoryInfo *items = copy_start(pools, &copy, infos, count * sizeof *infos);
    bool is_right = items != NULL;
    for (uint32_t i = 0; is_right && i < count; i++) {
        check_buffer(pools, items[i].buffer, items[i].memory, items[i].memoryOffset);
        is_right = place(pools, &items[i].memory, &items[i].memoryOffset);
    }
    VkResult result = is_right ? next(pools->device->handle, count, items) : VK_ERROR_OUT_OF_DEVICE_MEMORY;
    for (uint32_t i = 0; !is_right && i < count; i++) refuse(infos[i].pNext);
    copy_end(pools, &copy);
    return result;
}

VkResult mt_pool_bind_images(struct mt_device_pool *pools, PFN_vkBindImageMemory2 next, uint32_t count,
                             const VkBindImageMemoryInfo *infos)
{
    struct copy copy;
    VkBindImageMemoryInfo *items = copy_start(pools, &copy, infos, count * sizeof *infos);
    bool is_right = items != NULL;
    for (uint32_t i = 0; is_right && i < count; i++) {
        check_image(pools, items[i].image, items[i].memory, items[i].memoryOffset);
        is_right = place(pools, &items[i].memory, &items[i].memoryOffset);
    }
    VkResult result = is_right ? next(pools->device->handle, count, items) : VK_ERROR_OUT_OF_DEVICE_MEMORY;
    for (uint32_t i = 0; !is_right && i < count; i++) refuse(infos[i].pNext);
    copy_end(pools, &copy);
    return result;
}

/* ---- sparse: three levels of arrays, copied into one piece ------------------------------------------ */

/* Sums what is needed first, then cuts it off piece by piece. */
struct tape {
    char *at;
    size_t bytes;
    bool is_right;
};

static void *put(struct tape *tape, const void *items, size_t bytes)
{
    size_t rounded = (bytes + 15) & ~(size_t)15;
    tape->bytes += rounded;
    if (!tape->at) return NULL;
    void *here = tape->at;
    if (bytes) memcpy(here, items, bytes); /* a count of 0 may come with a NULL pointer */
    tape->at += rounded;
    return here;
}

static const VkSparseMemoryBind *put_binds(struct mt_device_pool *pools, struct tape *tape, uint32_t count,
                                           const VkSparseMemoryBind *binds)
{
    VkSparseMemoryBind *copied = put(tape, binds, count * sizeof *binds);
    for (uint32_t i = 0; copied && i < count; i++)
        if (copied[i].memory) tape->is_right &= place(pools, &copied[i].memory, &copied[i].memoryOffset);
    return copied;
}

static const VkSparseImageMemoryBind *put_image_binds(struct mt_device_pool *pools, struct tape *tape,
                                                      uint32_t count, const VkSparseImageMemoryBind *binds)
{
    VkSparseImageMemoryBind *copied = put(tape, binds, count * sizeof *binds);
    for (uint32_t i = 0; copied && i < count; i++)
        if (copied[i].memory) tape->is_right &= place(pools, &copied[i].memory, &copied[i].memoryOffset);
    return copied;
}

static void put_buffers(struct mt_device_pool *pools, struct tape *tape, VkBindSparseInfo *to,
                        const VkBindSparseInfo *from)
{
    VkSparseBufferMemoryBindInfo *infos = put(tape, from->pBufferBinds, from->bufferBindCount * sizeof *infos);
    for (uint32_t i = 0; i < from->bufferBindCount; i++) {
        const VkSparseMemoryBind *binds = put_binds(pools, tape, from->pBufferBinds[i].bindCount,
                                                    from->pBufferBinds[i].pBinds);
        if (infos) infos[i].pBinds = binds;
    }
    if (to) to->pBufferBinds = infos;
}

static void put_opaque(struct mt_device_pool *pools, struct tape *tape, VkBindSparseInfo *to,
                       const VkBindSparseInfo *from)
{
    VkSparseImageOpaqueMemoryBindInfo *infos = put(tape, from->pImageOpaqueBinds,
                                                   from->imageOpaqueBindCount * sizeof *infos);
    for (uint32_t i = 0; i < from->imageOpaqueBindCount; i++) {
        const VkSparseMemoryBind *binds = put_binds(pools, tape, from->pImageOpaqueBinds[i].bindCount,
                                                    from->pImageOpaqueBinds[i].pBinds);
        if (infos) infos[i].pBinds = binds;
    }
    if (to) to->pImageOpaqueBinds = infos;
}

static void put_images(struct mt_device_pool *pools, struct tape *tape, VkBindSparseInfo *to,
                       const VkBindSparseInfo *from)
{
    VkSparseImageMemoryBindInfo *infos = put(tape, from->pImageBinds, from->imageBindCount * sizeof *infos);
    for (uint32_t i = 0; i < from->imageBindCount; i++) {
        const VkSparseImageMemoryBind *binds = put_image_binds(pools, tape, from->pImageBinds[i].bindCount,
                                                               from->pImageBinds[i].pBinds);
        if (infos) infos[i].pBinds = binds;
    }
    if (to) to->pImageBinds = infos;
}

static VkBindSparseInfo *put_all(struct mt_device_pool *pools, struct tape *tape, uint32_t count,
                                 const VkBindSparseInfo *infos)
{
    VkBindSparseInfo *copied = put(tape, infos, count * sizeof *infos);
    for (uint32_t i = 0; i < count; i++) {
        put_buffers(pools, tape, copied ? &copied[i] : NULL, &infos[i]);
        put_opaque(pools, tape, copied ? &copied[i] : NULL, &infos[i]);
        put_images(pools, tape, copied ? &copied[i] : NULL, &infos[i]);
    }
    return copied;
}

VkResult mt_pool_bind_sparse(struct mt_device_pool *pools, VkQueue queue, uint32_t count,
                             const VkBindSparseInfo *infos, VkFence fence)
{
    struct mt_device *device = pools->device;
    struct tape measure = {NULL, 0, true};
    put_all(pools, &measure, count, infos);
    if (!measure.bytes) return device->next.QueueBindSparse(queue, count, infos, fence);
    char *memory = mt_layer_map(device->core, measure.bytes);
    if (!memory) return VK_ERROR_OUT_OF_HOST_MEMORY;
    struct tape tape = {memory, 0, true};
    const VkBindSparseInfo *copied = put_all(pools, &tape, count, infos);
    VkResult result = tape.is_right ? device->next.QueueBindSparse(queue, count, copied, fence)
                                    : VK_ERROR_OUT_OF_DEVICE_MEMORY;
    mt_layer_unmap(device->core, memory, measure.bytes);
    return result;
}

/* ---- bindings of other things ---------------------------------------------------------------------------- */

#define DEFINE_BIND(name, Name, Info)                                                                              \
    VkResult name(struct mt_device_pool *pools, uint32_t count, const Info *infos)                                 \
    {                                                                                                              \
        struct mt_device *device = pools->device;                                                                  \
        struct copy copy;                                                                                          \
        Info *items = copy_start(pools, &copy, infos, count * sizeof *infos);                                      \
        bool is_right = items != NULL;                                                                             \
        for (uint32_t i = 0; is_right && i < count; i++)                                                           \
            is_right = place(pools, &items[i].memory, &items[i].memoryOffset);                                     \
        VkResult result = is_right ? device->next.Name(device->handle, count, items)                               \
                                   : VK_ERROR_OUT_OF_DEVICE_MEMORY;                                                \
        copy_end(pools, &copy);                                                                                    \
        return result;                                                                                             \
    }
DEFINE_BIND(mt_pool_bind_tensors, BindTensorMemoryARM, struct mt_bind_tensor_info)
DEFINE_BIND(mt_pool_bind_graphs, BindDataGraphPipelineSessionMemoryARM, struct mt_bind_graph_session_info)
DEFINE_BIND(mt_pool_bind_accels, BindAccelerationStructureMemoryNV, VkBindAccelerationStructureMemoryInfoNV)

VkResult mt_pool_bind_video(struct mt_device_pool *pools, VkVideoSessionKHR session, uint32_t count,
                            const VkBindVideoSessionMemoryInfoKHR *infos)
{
    struct mt_device *device = pools->device;
    struct copy copy;
    VkBindVideoSessionMemoryInfoKHR *items = copy_start(pools, &copy, infos, count * sizeof *infos);
    bool is_right = items != NULL;
    for (uint32_t i = 0; is_right && i < count; i++)
        is_right = place(pools, &items[i].memory, &items[i].memoryOffset);
    VkResult result = is_right ? device->next.BindVideoSessionMemoryKHR(device->handle, session, count, items)
                               : VK_ERROR_OUT_OF_DEVICE_MEMORY;
    copy_end(pools, &copy);
    return result;
}

/* ---- ranges of mapped memory -------------------------------------------------------------------------------- */

/* The range of a slice in its chunk, out to whole atoms: the slice is made of them. */
static bool place_range(struct mt_device_pool *pools, VkMappedMemoryRange *range)
{
    if (!mt_pool_owns(pools, MT_HANDLE(range->memory))) return true;
    struct mt_slice *slice = mt_pool_slice(pools, MT_HANDLE(range->memory));
    if (!slice) return false;
    uint64_t end = range->size == VK_WHOLE_SIZE ? slice->bytes : range->offset + range->size;
    end = (end + pools->atom_bytes - 1) / pools->atom_bytes * pools->atom_bytes;
    range->size = end - range->offset;
    range->offset += slice->offset;
    range->memory = slice->chunk->handle;
    return true;
}

static VkResult move_ranges(VkDevice handle, struct mt_device *device, PFN_vkFlushMappedMemoryRanges next,
                            uint32_t count, const VkMappedMemoryRange *ranges)
{
    struct mt_device_pool *pools = device->pool;
    if (!pools) return next(handle, count, ranges);
    struct copy copy;
    VkMappedMemoryRange *items = copy_start(pools, &copy, ranges, count * sizeof *ranges);
    bool is_right = items != NULL;
    for (uint32_t i = 0; is_right && i < count; i++) is_right = place_range(pools, &items[i]);
    VkResult result = is_right ? next(handle, count, items) : VK_ERROR_OUT_OF_HOST_MEMORY;
    copy_end(pools, &copy);
    return result;
}

VKAPI_ATTR VkResult VKAPI_CALL memtrack_FlushMappedMemoryRanges(VkDevice handle, uint32_t count,
                                                                const VkMappedMemoryRange *ranges)
{
    struct mt_device *device = mt_device_find(handle);
    return device ? move_ranges(handle, device, device->next.FlushMappedMemoryRanges, count, ranges)
                  : VK_ERROR_OUT_OF_HOST_MEMORY;
}

VKAPI_ATTR VkResult VKAPI_CALL memtrack_InvalidateMappedMemoryRanges(VkDevice handle, uint32_t count,
                                                                     const VkMappedMemoryRange *ranges)
{
    struct mt_device *device = mt_device_find(handle);
    return device ? move_ranges(handle, device, device->next.InvalidateMappedMemoryRanges, count, ranges)
                  : VK_ERROR_OUT_OF_HOST_MEMORY;
}
