/*
 * Acceleration structures, micromaps, video sessions, tensors and sessions of
 * data graphs through the real loader on the mock driver, with pools on and off: what the driver is told,
 * and what is recorded.
 */
#include "pool_support.h"

#define EXTENSIONS                                                                                                 \
    "VK_KHR_acceleration_structure VK_EXT_opacity_micromap VK_NV_ray_tracing VK_KHR_video_queue VK_ARM_tensors "   \
    "VK_ARM_data_graph"

static const char *const modes[] = {"MEMTRACK_VULKAN_POOL=off", "MEMTRACK_VULKAN_POOL=arena",
                                    "MEMTRACK_VULKAN_POOL=verify"};

static void start(int mode)
{
    start_instance("extensions=VK_KHR_acceleration_structure,VK_EXT_opacity_micromap,VK_NV_ray_tracing,"
                   "VK_KHR_video_queue,VK_ARM_tensors,VK_ARM_data_graph",
                   modes[mode]);
    ck_assert_int_eq(make_device(EXTENSIONS, NULL, NULL, &device), VK_SUCCESS);
}

START_TEST(structures_lie_in_buffers)
{
    VkAccelerationStructureKHR accel;
    VkMicromapEXT micromap;
    start(_i);
    VkDeviceMemory before = allocate(4096, DEVICE_TYPE), memory = allocate(1 << 20, DEVICE_TYPE);
    ck_assert_int_eq(is_slice(memory), _i > 0);
    VkBuffer buffer = create_buffer(65536);
    ck_assert_int_eq(vkBindBufferMemory(device, buffer, memory, 4096), VK_SUCCESS);
    VkAccelerationStructureCreateInfoKHR info = {.sType = VK_STRUCTURE_TYPE_ACCELERATION_STRUCTURE_CREATE_INFO_KHR,
                                                 .buffer = buffer,
                                                 .offset = 512,
                                                 .size = 10000};
    VkMicromapCreateInfoEXT micromap_info = {
        .sType = VK_STRUCTURE_TYPE_MICROMAP_CREATE_INFO_EXT, .buffer = buffer, .offset = 16384, .size = 300};
    ck_assert_int_eq(COMMAND(CreateAccelerationStructureKHR)(device, &info, NULL, &accel), VK_SUCCESS);
    ck_assert_int_eq(COMMAND(CreateMicromapEXT)(device, &micromap_info, NULL, &micromap), VK_SUCCESS);
    const struct mt_object *record = view_handle(segment, MT_VK_ACCEL, MOCK_HANDLE(accel));
    ck_assert_ptr_nonnull(record);
    ck_assert_uint_eq(record->size_bytes, 10000);
    ck_assert_uint_eq(view_at(segment, record->link)->handle, MOCK_HANDLE(buffer));
    ck_assert_uint_eq(view_count(segment, MT_VK_ACCEL), 2);
    COMMAND(DestroyAccelerationStructureKHR)(device, accel, NULL);
    COMMAND(DestroyMicromapEXT)(device, micromap, NULL);
    ck_assert_uint_eq(view_count(segment, MT_VK_ACCEL), 0);
    vkDestroyBuffer(device, buffer, NULL);
    free_memory(before);
    free_memory(memory);
    ck_assert_uint_eq(driver->live_resource_count, 0);
    end_device();
}
END_TEST

START_TEST(older_structures_lie_in_memory)
{
    VkAccelerationStructureNV accel;
    start(_i);
    VkDeviceMemory before = allocate(4096, DEVICE_TYPE), memory = allocate(1 << 20, DEVICE_TYPE);
    VkAccelerationStructureCreateInfoNV info = {.sType = VK_STRUCTURE_TYPE_ACCELERATION_STRUCTURE_CREATE_INFO_NV,
                                                .compactedSize = 5000};
    ck_assert_int_eq(COMMAND(CreateAccelerationStructureNV)(device, &info, NULL, &accel), VK_SUCCESS);
    VkBindAccelerationStructureMemoryInfoNV bind = {
        .sType = VK_STRUCTURE_TYPE_BIND_ACCELERATION_STRUCTURE_MEMORY_INFO_NV,
        .accelerationStructure = accel,
        .memory = memory,
        .memoryOffset = 2048};
    ck_assert_int_eq(COMMAND(BindAccelerationStructureMemoryNV)(device, 1, &bind), VK_SUCCESS);
    const struct mt_object *record = view_handle(segment, MT_VK_ACCEL, MOCK_HANDLE(accel));
    ck_assert_uint_eq(record->size_bytes, 5000);
    ck_assert_uint_eq(record->offset, 2048);
    ck_assert_uint_eq(view_at(segment, record->link)->handle, MOCK_HANDLE(memory));
    if (_i) ck_assert_uint_gt(driver->last_bind_offset, 2048); /* the slice does not start its chunk */
    COMMAND(DestroyAccelerationStructureNV)(device, accel, NULL);
    free_memory(before);
    free_memory(memory);
    end_device();
}
END_TEST

START_TEST(tensors_lie_in_memory)
{
    uint64_t tensor = 0;
    start(_i);
    VkDeviceMemory before = allocate(4096, DEVICE_TYPE), memory = allocate(1 << 20, DEVICE_TYPE);
    struct mt_tensor_create_info info = {.sType = (VkStructureType)1000460000, .flags = 1};
    ck_assert_int_eq(COMMAND(CreateTensorARM)(device, &info, NULL, &tensor), VK_SUCCESS);
    struct mt_bind_tensor_info bind = {(VkStructureType)1000460002, NULL, tensor, memory, 4096};
    VkDebugUtilsObjectNameInfoEXT name = {.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_OBJECT_NAME_INFO_EXT,
                                          .objectType = (VkObjectType)1000460000,
                                          .objectHandle = tensor,
                                          .pObjectName = "weights"};
    ck_assert_int_eq(COMMAND(BindTensorMemoryARM)(device, 1, &bind), VK_SUCCESS);
    ck_assert_ptr_eq(bind.memory, memory); /* the program's own structure stays as it was */
    if (vkGetDeviceProcAddr(device, "vkSetDebugUtilsObjectNameEXT"))
        ck_assert_int_eq(COMMAND(SetDebugUtilsObjectNameEXT)(device, &name), VK_SUCCESS);
    const struct mt_object *record = view_handle(segment, MT_VK_TENSOR, tensor);
    ck_assert_ptr_nonnull(record);
    ck_assert_uint_eq(record->size_bytes, 8192);
    ck_assert_uint_eq(record->offset, 4096);
    ck_assert_uint_eq(record->attr[MT_VK_RESOURCE_ALIGNMENT], 64);
    ck_assert_uint_eq(view_at(segment, record->link)->handle, MOCK_HANDLE(memory));
    ck_assert_uint_eq(view_handle(segment, MT_VK_MEMORY, MOCK_HANDLE(memory))->attr[MT_VK_MEMORY_BOUND], 1);
    if (_i) ck_assert_uint_gt(driver->last_bind_offset, 4096); /* the slice does not start its chunk */
    COMMAND(DestroyTensorARM)(device, tensor, NULL);
    ck_assert_uint_eq(view_count(segment, MT_VK_TENSOR), 0);
    ck_assert_uint_eq(view_handle(segment, MT_VK_MEMORY, MOCK_HANDLE(memory))->attr[MT_VK_MEMORY_BOUND], 0);
    free_memory(before);
    free_memory(memory);
    end_device();
}
END_TEST

/* The memory goes before the session: its places are let go. */
START_TEST(sessions_of_data_graphs_lie_in_several_places)
{
    uint64_t session = 0;
    start(_i);
    VkDeviceMemory before = allocate(4096, DEVICE_TYPE), memory = allocate(1 << 20, DEVICE_TYPE);
    struct mt_graph_session_create_info info = {.sType = (VkStructureType)1000507001};
    ck_assert_int_eq(COMMAND(CreateDataGraphPipelineSessionARM)(device, &info, NULL, &session), VK_SUCCESS);
    struct mt_bind_graph_session_info binds[2];
    for (uint32_t i = 0; i < 2; i++)
        binds[i] = (struct mt_bind_graph_session_info){(VkStructureType)1000507005, NULL, session, 0, i, memory,
                                                       i * UINT64_C(65536)};
    ck_assert_int_eq(COMMAND(BindDataGraphPipelineSessionMemoryARM)(device, 2, binds), VK_SUCCESS);
    ck_assert_uint_eq(view_handle(segment, MT_VK_GRAPH_SESSION, session)->size_bytes, 4096 + 8192);
    ck_assert_uint_eq(view_handle(segment, MT_VK_GRAPH_SESSION, session)->attr[MT_VK_VIDEO_BINDINGS], 2);
    ck_assert_uint_eq(view_count(segment, MT_VK_VIDEO_MEMORY), 2);
    ck_assert_uint_eq(view_handle(segment, MT_VK_MEMORY, MOCK_HANDLE(memory))->attr[MT_VK_MEMORY_BOUND], 2);
    free_memory(before);
    free_memory(memory);
    const struct mt_object *place = view_nth(segment, MT_VK_VIDEO_MEMORY, 0);
    ck_assert_uint_eq(place->link, 0);
    ck_assert_uint_ne(place->attr[MT_VK_RESOURCE_FLAGS] & MT_VK_RESOURCE_MEMORY_FREED, 0);
    COMMAND(DestroyDataGraphPipelineSessionARM)(device, session, NULL);
    ck_assert_uint_eq(view_count(segment, MT_VK_VIDEO_MEMORY), 0);
    ck_assert_uint_eq(view_count(segment, MT_VK_GRAPH_SESSION), 0);
    end_device();
}
END_TEST

START_TEST(video_sessions_lie_in_several_places)
{
    VkVideoSessionKHR session;
    uint32_t count = 0;
    start(_i);
    VkDeviceMemory before = allocate(4096, DEVICE_TYPE), memory = allocate(1 << 20, DEVICE_TYPE);
    VkVideoSessionCreateInfoKHR info = {.sType = VK_STRUCTURE_TYPE_VIDEO_SESSION_CREATE_INFO_KHR};
    ck_assert_int_eq(COMMAND(CreateVideoSessionKHR)(device, &info, NULL, &session), VK_SUCCESS);
    COMMAND(GetVideoSessionMemoryRequirementsKHR)(device, session, &count, NULL);
    ck_assert_uint_eq(count, 2);
    VkVideoSessionMemoryRequirementsKHR required[2] = {
        {.sType = VK_STRUCTURE_TYPE_VIDEO_SESSION_MEMORY_REQUIREMENTS_KHR},
        {.sType = VK_STRUCTURE_TYPE_VIDEO_SESSION_MEMORY_REQUIREMENTS_KHR}};
    COMMAND(GetVideoSessionMemoryRequirementsKHR)(device, session, &count, required);
    VkBindVideoSessionMemoryInfoKHR binds[2];
    for (uint32_t i = 0; i < 2; i++)
        binds[i] = (VkBindVideoSessionMemoryInfoKHR){VK_STRUCTURE_TYPE_BIND_VIDEO_SESSION_MEMORY_INFO_KHR,
                                                     NULL,
                                                     required[i].memoryBindIndex,
                                                     memory,
                                                     i * UINT64_C(131072),
                                                     required[i].memoryRequirements.size};
    ck_assert_int_eq(COMMAND(BindVideoSessionMemoryKHR)(device, session, 2, binds), VK_SUCCESS);
    ck_assert_ptr_eq(binds[0].memory, memory); /* the program's own structure stays as it was */
    ck_assert_uint_eq(view_handle(segment, MT_VK_VIDEO_SESSION, MOCK_HANDLE(session))->size_bytes, 131072);
    ck_assert_uint_eq(view_count(segment, MT_VK_VIDEO_MEMORY), 2);
    ck_assert_uint_eq(view_handle(segment, MT_VK_MEMORY, MOCK_HANDLE(memory))->attr[MT_VK_MEMORY_BOUND], 2);
    COMMAND(DestroyVideoSessionKHR)(device, session, NULL);
    ck_assert_uint_eq(view_count(segment, MT_VK_VIDEO_MEMORY), 0);
    free_memory(before);
    free_memory(memory);
    end_device();
}
END_TEST

Suite *rays_suite(void)
{
    Suite *suite = suite_create("rays");
    TCase *cases = tcase_create("rays");
    tcase_add_loop_test(cases, structures_lie_in_buffers, 0, 3);
    tcase_add_loop_test(cases, older_structures_lie_in_memory, 0, 3);
    tcase_add_loop_test(cases, video_sessions_lie_in_several_places, 0, 3);
    tcase_add_loop_test(cases, tensors_lie_in_memory, 0, 3);
    tcase_add_loop_test(cases, sessions_of_data_graphs_lie_in_several_places, 0, 3);
    suite_add_tcase(suite, cases);
    return suite;
}
