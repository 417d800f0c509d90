/*
 * Video sessions: a session needs several pieces of memory, each bound at a
 * place of its own; those of data graphs (tensor.c) are kept the same way. A binding is a resource of its memory
 * like a buffer is, numbered because it has no handle; the session keeps the list of its bindings, under its own
 * lock. Hooks on any thread.
 */
#include "layer.h"
#include "pool.h"

static void record_session(struct mt_device *device, const VkVideoSessionCreateInfoKHR *info, uint64_t handle)
{
    struct mt_node node = {.handle = handle};
    struct mt_object *record = mt_resource_record(device, MT_VK_VIDEO_SESSION, handle, &node.object);
    if (record) {
        if (info->pVideoProfile) record->attr[MT_VK_VIDEO_CODEC] = info->pVideoProfile->videoCodecOperation;
        record->attr[MT_VK_VIDEO_CREATE_FLAGS] = info->flags;
        record->attr[MT_VK_VIDEO_FORMATS] = (uint32_t)info->pictureFormat |
                                            (uint64_t)(uint32_t)info->referencePictureFormat << 32;
        record->attr[MT_VK_VIDEO_DPB] = info->maxDpbSlots | (uint64_t)info->maxActiveReferencePictures << 32;
        record->attr[MT_VK_VIDEO_EXTENT] = info->maxCodedExtent.width | (uint64_t)info->maxCodedExtent.height << 32;
        mt_object_publish(record);
    }
    mt_resource_add(device, &device->video_sessions, &node);
}

VKAPI_ATTR VkResult VKAPI_CALL memtrack_CreateVideoSessionKHR(VkDevice handle,
                                                              const VkVideoSessionCreateInfoKHR *info,
                                                              const VkAllocationCallbacks *allocator,
                                                              VkVideoSessionKHR *session)
{
    struct mt_device *device = mt_device_find(handle);
    if (!device || !device->next.CreateVideoSessionKHR) return VK_ERROR_OUT_OF_HOST_MEMORY;
    VkResult result = device->next.CreateVideoSessionKHR(handle, info, allocator, session);
    if (result == VK_SUCCESS && mt_device_is_tracked(device)) record_session(device, info, MT_HANDLE(*session));
    return result;
}

/* ---- bindings --------------------------------------------------------------------------- */

/* A binding that is in its map but in no session's list and no memory's yet; NULL when there is no room. */
static struct mt_node *make_binding(struct mt_device *device, uint64_t session, uint32_t session_record,
                                    const struct mt_session_place *place)
{
    struct mt_node node = {.size_bytes = place->bytes, .flags = MT_NODE_IS_VIDEO | MT_NODE_NO_QUERY};
    node.handle = atomic_fetch_add_explicit(&device->last_video_binding, 1, memory_order_relaxed) + 1;
    struct mt_object *record = mt_resource_record(device, MT_VK_VIDEO_MEMORY, session, &node.object);
    if (record) {
        record->size_bytes = place->bytes;
        record->attr[MT_VK_RESOURCE_REQUIRED_BYTES] = place->bytes;
        record->attr[MT_VK_VIDEO_SESSION_ID] = session_record;
        record->attr[MT_VK_VIDEO_BIND_INDEX] = place->index;
        mt_object_publish(record);
    }
    struct mt_node *made = mt_handles_add(&device->video_bindings, &node);
    if (!made && node.object) mt_object_free_in(device->core, mt_process_lane(device->core), node.object);
    return made;
}

static void drop_binding(struct mt_device *device, uint64_t number)
{
    struct mt_node *binding = mt_handles_take(&device->video_bindings, number);
    if (!binding) return;
    mt_resource_unlink(device, binding);
    if (binding->object) mt_object_free_in(device->core, mt_process_lane(device->core), binding->object);
    mt_handles_give_back(&device->video_bindings, binding);
}

/* Puts the binding on the session's list; false when the session is not known. */
static bool join_session(struct mt_device *device, struct mt_handle_map *map, uint64_t handle,
                         struct mt_node *binding)
{
    struct mt_node *session = mt_handles_enter(map, handle);
    if (!session) return false;
    struct mt_node *first = atomic_load_explicit(&session->bound, memory_order_relaxed);
    atomic_store_explicit(&binding->bound, first, memory_order_relaxed);
    atomic_store_explicit(&session->bound, binding, memory_order_relaxed);
    struct mt_object *record = mt_node_object(device, session);
    if (record) {
        mt_object_begin(record);
        record->size_bytes += binding->size_bytes;
        record->attr[MT_VK_VIDEO_BINDINGS]++;
        mt_object_end(record);
    }
    mt_handles_leave(map, session);
    return true;
}

static uint32_t record_of_session(struct mt_handle_map *map, uint64_t handle)
{
    struct mt_node *session = mt_handles_enter(map, handle);
    if (!session) return 0;
    uint32_t record = session->object;
    mt_handles_leave(map, session);
    return record;
}

void mt_session_bind(struct mt_device *device, struct mt_handle_map *map, uint64_t session,
                     const struct mt_session_place *place)
{
    struct mt_node *binding = make_binding(device, session, record_of_session(map, session), place);
    if (!binding) return;
    uint64_t number = binding->handle;
    if (!join_session(device, map, session, binding)) {
        mt_device_unknown(device);
        drop_binding(device, number);
        return;
    }
    mt_bind_record(device, &device->video_bindings, number, place->memory, place->offset);
}

VKAPI_ATTR VkResult VKAPI_CALL memtrack_BindVideoSessionMemoryKHR(VkDevice handle, VkVideoSessionKHR session,
                                                                  uint32_t count,
                                                                  const VkBindVideoSessionMemoryInfoKHR *infos)
{
    struct mt_device *device = mt_device_find(handle);
    if (!device || !device->next.BindVideoSessionMemoryKHR) return VK_ERROR_OUT_OF_HOST_MEMORY;
    VkResult result = device->pool ? mt_pool_bind_video(device->pool, session, count, infos)
                                   : device->next.BindVideoSessionMemoryKHR(handle, session, count, infos);
    for (uint32_t i = 0; result == VK_SUCCESS && mt_device_is_tracked(device) && i < count; i++) {
        const struct mt_session_place place = {infos[i].memoryBindIndex, MT_HANDLE(infos[i].memory),
                                               infos[i].memoryOffset, infos[i].memorySize};
        mt_session_bind(device, &device->video_sessions, MT_HANDLE(session), &place);
    }
    return result;
}

/* ---- the end ------------------------------------------------------------------------------ */

void mt_session_forget(struct mt_device *device, struct mt_handle_map *map, uint64_t handle)
{
    struct mt_node *session = mt_handles_take(map, handle);
    if (!session) {
        mt_device_unknown(device);
        return;
    }
    struct mt_node *binding = atomic_load_explicit(&session->bound, memory_order_relaxed), *next;
    for (; binding; binding = next) {
        next = atomic_load_explicit(&binding->bound, memory_order_relaxed);
        drop_binding(device, binding->handle);
    }
    if (session->object) mt_object_free_in(device->core, mt_process_lane(device->core), session->object);
    mt_handles_give_back(map, session);
}

VKAPI_ATTR void VKAPI_CALL memtrack_DestroyVideoSessionKHR(VkDevice handle, VkVideoSessionKHR session,
                                                           const VkAllocationCallbacks *allocator)
{
    struct mt_device *device = mt_device_find(handle);
    if (!device || !device->next.DestroyVideoSessionKHR) return;
    if (session && mt_device_is_tracked(device))
        mt_session_forget(device, &device->video_sessions, MT_HANDLE(session));
    device->next.DestroyVideoSessionKHR(handle, session, allocator);
}
