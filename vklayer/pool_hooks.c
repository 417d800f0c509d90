/*
 * The commands that only pools need hooked: questions about device memory,
 * private data and tags of slices, which the driver must not see, and
 * requirements of things that do not exist yet, for their alignment. Hooked
 * only where the device is pooled; passed on otherwise. Any thread.
 */
#include "pool.h"

static struct mt_slice *slice_of(struct mt_device *device, VkDeviceMemory memory)
{
    if (!device->pool || !mt_pool_owns(device->pool, MT_HANDLE(memory))) return NULL;
    return mt_pool_slice(device->pool, MT_HANDLE(memory));
}

static bool is_slice(const struct mt_device *device, uint64_t handle)
{
    return device->pool && mt_pool_owns(device->pool, handle);
}

/* ---- questions ----------------------------------------------------------------------------- */

VKAPI_ATTR void VKAPI_CALL memtrack_GetDeviceMemoryCommitment(VkDevice handle, VkDeviceMemory memory,
                                                              VkDeviceSize *bytes)
{
    struct mt_device *device = mt_device_find(handle);
    if (!device) return;
    if (!is_slice(device, MT_HANDLE(memory))) {
        device->next.GetDeviceMemoryCommitment(handle, memory, bytes);
        return;
    }
    struct mt_slice *slice = slice_of(
        device, memory); /* only lazily allocated memory may be asked, and that is never pooled */
    *bytes = slice ? slice->bytes : 0;
}

static uint64_t capture_address(VkDevice handle, struct mt_device *device,
                                PFN_vkGetDeviceMemoryOpaqueCaptureAddress next,
                                const VkDeviceMemoryOpaqueCaptureAddressInfo *info)
{
    if (!next) return 0;
    if (!is_slice(device, MT_HANDLE(info->memory))) return next(handle, info);
    struct mt_slice *slice = slice_of(device, info->memory);
    if (!slice) return 0;
    VkDeviceMemoryOpaqueCaptureAddressInfo chunk = *info;
    chunk.memory = slice->chunk->handle;
    return next(handle, &chunk) + slice->offset;
}

VKAPI_ATTR uint64_t VKAPI_CALL
memtrack_GetDeviceMemoryOpaqueCaptureAddress(VkDevice handle, const VkDeviceMemoryOpaqueCaptureAddressInfo *info)
{
    struct mt_device *device = mt_device_find(handle);
    return device ? capture_address(handle, device, device->next.GetDeviceMemoryOpaqueCaptureAddress, info) : 0;
}

VKAPI_ATTR uint64_t VKAPI_CALL
memtrack_GetDeviceMemoryOpaqueCaptureAddressKHR(VkDevice handle, const VkDeviceMemoryOpaqueCaptureAddressInfo *info)
{
    struct mt_device *device = mt_device_find(handle);
    return device ? capture_address(handle, device, device->next.GetDeviceMemoryOpaqueCaptureAddressKHR, info) : 0;
}

/* Exportable memory is never pooled, so a slice here is the program's error; the driver would not survive it. */
VKAPI_ATTR VkResult VKAPI_CALL memtrack_GetMemoryFdKHR(VkDevice handle, const VkMemoryGetFdInfoKHR *info, int *fd)
{
    struct mt_device *device = mt_device_find(handle);
    if (!device || !device->next.GetMemoryFdKHR) return VK_ERROR_OUT_OF_HOST_MEMORY;
    if (!is_slice(device, MT_HANDLE(info->memory))) return device->next.GetMemoryFdKHR(handle, info, fd);
    mt_pool_violation(device->pool, "vkGetMemoryFdKHR of memory that is not exportable");
    return VK_ERROR_OUT_OF_HOST_MEMORY;
}

/* ---- requirements ahead of creation ------------------------------------------------------------ */

#define DEFINE_REQUIREMENTS(Name, Info)                                                                            \
    VKAPI_ATTR void VKAPI_CALL memtrack_##Name(VkDevice handle, const Info *info, VkMemoryRequirements2 *required) \
    {                                                                                                              \
        struct mt_device *device = mt_device_find(handle);                                                         \
        if (!device || !device->next.Name) return;                                                                 \
        device->next.Name(handle, info, required);                                                                 \
        if (device->pool) mt_pool_learn(device->pool, required->memoryRequirements.alignment);                     \
    }
DEFINE_REQUIREMENTS(GetDeviceBufferMemoryRequirements, VkDeviceBufferMemoryRequirements)
DEFINE_REQUIREMENTS(GetDeviceBufferMemoryRequirementsKHR, VkDeviceBufferMemoryRequirements)
DEFINE_REQUIREMENTS(GetDeviceImageMemoryRequirements, VkDeviceImageMemoryRequirements)
DEFINE_REQUIREMENTS(GetDeviceImageMemoryRequirementsKHR, VkDeviceImageMemoryRequirements)
DEFINE_REQUIREMENTS(GetAccelerationStructureMemoryRequirementsNV, VkAccelerationStructureMemoryRequirementsInfoNV)

VKAPI_ATTR VkResult VKAPI_CALL memtrack_GetVideoSessionMemoryRequirementsKHR(
    VkDevice handle, VkVideoSessionKHR session, uint32_t *count, VkVideoSessionMemoryRequirementsKHR *required)
{
    struct mt_device *device = mt_device_find(handle);
    if (!device || !device->next.GetVideoSessionMemoryRequirementsKHR) return VK_ERROR_INITIALIZATION_FAILED;
    VkResult result = device->next.GetVideoSessionMemoryRequirementsKHR(handle, session, count, required);
    for (uint32_t i = 0; device->pool && required && result >= 0 && i < *count; i++)
        mt_pool_learn(device->pool, required[i].memoryRequirements.alignment);
    return result;
}

/* ---- tags ---------------------------------------------------------------------------------------- */

VKAPI_ATTR VkResult VKAPI_CALL memtrack_SetDebugUtilsObjectTagEXT(VkDevice handle,
                                                                  const VkDebugUtilsObjectTagInfoEXT *info)
{
    struct mt_device *device = mt_device_find(handle);
    if (!device || !device->next.SetDebugUtilsObjectTagEXT) return VK_SUCCESS;
    if (info->objectType == VK_OBJECT_TYPE_DEVICE_MEMORY && is_slice(device, info->objectHandle)) return VK_SUCCESS;
    return device->next.SetDebugUtilsObjectTagEXT(handle, info);
}

VKAPI_ATTR VkResult VKAPI_CALL memtrack_DebugMarkerSetObjectTagEXT(VkDevice handle,
                                                                   const VkDebugMarkerObjectTagInfoEXT *info)
{
    struct mt_device *device = mt_device_find(handle);
    if (!device || !device->next.DebugMarkerSetObjectTagEXT) return VK_SUCCESS;
    if (info->objectType == VK_DEBUG_REPORT_OBJECT_TYPE_DEVICE_MEMORY_EXT && is_slice(device, info->object))
        return VK_SUCCESS;
    return device->next.DebugMarkerSetObjectTagEXT(handle, info);
}

/* ---- private data of slices: kept here, by slice and slot --------------------------------------------- */

struct mt_private {
    struct mt_private *next;
    struct mt_slice *slice;
    uint64_t slot, data;
};

static struct mt_private **private_list(struct mt_device_pool *pools, const struct mt_slice *slice)
{
    return &pools->privates[mt_handle_hash((uint64_t)(uintptr_t)slice) >> 58];
}

/* The caller holds the lock. */
static struct mt_private *find_private(struct mt_device_pool *pools, const struct mt_slice *slice, uint64_t slot)
{
    struct mt_private *at = *private_list(pools, slice);
    while (at && (at->slice != slice || at->slot != slot)) at = at->next;
    return at;
}

static struct mt_private *add_private(struct mt_device_pool *pools, struct mt_slice *slice, uint64_t slot)
{
    struct mt_private *made = pools->spare_privates, **list = private_list(pools, slice);
    if (made)
        pools->spare_privates = made->next;
    else
        made = mt_arena_alloc(&pools->device->arena, sizeof *made);
    if (!made) return NULL;
    *made = (struct mt_private){*list, slice, slot, 0};
    *list = made;
    atomic_fetch_or_explicit(mt_pool_word_at(pools, slice), MT_WORD_HAS_PRIVATE, memory_order_relaxed);
    return made;
}

static void drop_private(struct mt_device_pool *pools, struct mt_private **at)
{
    struct mt_private *gone = *at;
    *at = gone->next;
    gone->next = pools->spare_privates;
    pools->spare_privates = gone;
}

void mt_pool_forget_privates(struct mt_device_pool *pools, const struct mt_slice *slice)
{
    mt_lock_enter(&pools->lock);
    for (struct mt_private **at = private_list(pools, slice); *at;) {
        if ((*at)->slice == slice)
            drop_private(pools, at);
        else
            at = &(*at)->next;
    }
    mt_lock_leave(&pools->lock);
}

/* A new slot may get the handle of an old one, and must read 0. */
static void forget_slot(struct mt_device_pool *pools, uint64_t slot)
{
    mt_lock_enter(&pools->lock);
    for (unsigned i = 0; i < MT_POOL_PRIVATE_LISTS; i++) {
        for (struct mt_private **at = &pools->privates[i]; *at;) {
            if ((*at)->slot == slot)
                drop_private(pools, at);
            else
                at = &(*at)->next;
        }
    }
    mt_lock_leave(&pools->lock);
}

static VkResult set_private(struct mt_device_pool *pools, uint64_t handle, uint64_t slot, uint64_t data)
{
    struct mt_slice *slice = mt_pool_slice(pools, handle);
    if (!slice) return VK_ERROR_OUT_OF_HOST_MEMORY;
    mt_lock_enter(&pools->lock);
    struct mt_private *entry = find_private(pools, slice, slot);
    if (!entry) entry = add_private(pools, slice, slot);
    if (entry) entry->data = data;
    mt_lock_leave(&pools->lock);
    return entry ? VK_SUCCESS : VK_ERROR_OUT_OF_HOST_MEMORY;
}

static uint64_t get_private(struct mt_device_pool *pools, uint64_t handle, uint64_t slot)
{
    struct mt_slice *slice = mt_pool_slice(pools, handle);
    if (!slice) return 0;
    mt_lock_enter(&pools->lock);
    const struct mt_private *entry = find_private(pools, slice, slot);
    uint64_t data = entry ? entry->data : 0;
    mt_lock_leave(&pools->lock);
    return data;
}

#define DEFINE_PRIVATE_DATA(Suffix)                                                                                \
    VKAPI_ATTR VkResult VKAPI_CALL memtrack_SetPrivateData##Suffix(                                                \
        VkDevice handle, VkObjectType type, uint64_t object, VkPrivateDataSlot slot, uint64_t data)                \
    {                                                                                                              \
        struct mt_device *device = mt_device_find(handle);                                                         \
        if (!device || !device->next.SetPrivateData##Suffix) return VK_ERROR_OUT_OF_HOST_MEMORY;                   \
        if (type == VK_OBJECT_TYPE_DEVICE_MEMORY && is_slice(device, object))                                      \
            return set_private(device->pool, object, MT_HANDLE(slot), data);                                       \
        return device->next.SetPrivateData##Suffix(handle, type, object, slot, data);                              \
    }                                                                                                              \
    VKAPI_ATTR void VKAPI_CALL memtrack_GetPrivateData##Suffix(                                                    \
        VkDevice handle, VkObjectType type, uint64_t object, VkPrivateDataSlot slot, uint64_t *data)               \
    {                                                                                                              \
        struct mt_device *device = mt_device_find(handle);                                                         \
        if (!device || !device->next.GetPrivateData##Suffix) return;                                               \
        if (type == VK_OBJECT_TYPE_DEVICE_MEMORY && is_slice(device, object))                                      \
            *data = get_private(device->pool, object, MT_HANDLE(slot));                                            \
        else                                                                                                       \
            device->next.GetPrivateData##Suffix(handle, type, object, slot, data);                                 \
    }                                                                                                              \
    VKAPI_ATTR void VKAPI_CALL memtrack_DestroyPrivateDataSlot##Suffix(VkDevice handle, VkPrivateDataSlot slot,    \
                                                                       const VkAllocationCallbacks *allocator)     \
    {                                                                                                              \
        struct mt_device *device = mt_device_find(handle);                                                         \
        if (!device || !device->next.DestroyPrivateDataSlot##Suffix) return;                                       \
        if (device->pool && slot) forget_slot(device->pool, MT_HANDLE(slot));                                      \
        device->next.DestroyPrivateDataSlot##Suffix(handle, slot, allocator);                                      \
    }
DEFINE_PRIVATE_DATA()
DEFINE_PRIVATE_DATA(EXT)
