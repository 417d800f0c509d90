/*
 * Records that outlive or lie inside others: attachments that are gone,
 * acceleration structures in buffers, video sessions. A process per test.
 */
#include "layer_support.h"

/* ---- attachments that are gone ---------------------------------------------------------- */

static VkImage create_attachment(void)
{
    VkImageCreateInfo info = {.sType = VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO,
                              .imageType = VK_IMAGE_TYPE_2D,
                              .format = VK_FORMAT_R8G8B8A8_UNORM,
                              .extent = {320, 200, 1},
                              .mipLevels = 1,
                              .arrayLayers = 1,
                              .samples = VK_SAMPLE_COUNT_1_BIT,
                              .usage = VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT};
    VkImage image = VK_NULL_HANDLE;
    ck_assert_int_eq(DEVICE_COMMAND(device, CreateImage)(device, &info, NULL, &image), VK_SUCCESS);
    return image;
}

static void destroy_image(VkImage image)
{
    DEVICE_COMMAND(device, DestroyImage)(device, image, NULL);
}

static void present(void)
{
    VkPresentInfoKHR info = {.sType = VK_STRUCTURE_TYPE_PRESENT_INFO_KHR};
    DEVICE_COMMAND(device, QueuePresentKHR)(fake_queue(device), &info);
}

START_TEST(an_attachment_leaves_its_frames_and_its_place)
{
    VkDeviceMemory memory = allocate(65536, 0);
    present();
    VkImage image = create_attachment();
    DEVICE_COMMAND(device, BindImageMemory)(device, image, memory, 8192);
    uint64_t born = RECORD(MT_VK_IMAGE, image)->create_frame;
    present();
    present();
    destroy_image(image);
    const struct mt_object *past = view_nth(segment, MT_VK_PAST_IMAGE, 0), *held = RECORD(MT_VK_MEMORY, memory);
    ck_assert_ptr_nonnull(past);
    ck_assert_uint_eq(past->create_frame, born);
    ck_assert_uint_eq(past->attr[MT_VK_PAST_LAST_FRAME], born + 2);
    ck_assert_uint_eq(past->offset, 8192);
    ck_assert_uint_eq(past->size_bytes, 4096);
    ck_assert_uint_eq(past->handle, held->handle);
    ck_assert_ptr_eq(view_at(segment, past->link), held);
    ck_assert_uint_eq(past->attr[MT_VK_PAST_MEMORY_NS], held->create_ns);
    ck_assert_uint_eq(past->attr[MT_VK_RESOURCE_USAGE], VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT);
    ck_assert_uint_eq(view_count(segment, MT_VK_IMAGE), 0);
}
END_TEST

START_TEST(only_attachments_that_leave_memory_behind_are_remembered)
{
    VkDeviceMemory memory = allocate(65536, 0);
    VkImage texture = create_image(NULL, 0), unbound = create_attachment(), late = create_attachment(),
            own = create_attachment();
    VkMemoryDedicatedAllocateInfo dedicated = {.sType = VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO,
                                               .image = own};
    VkDeviceMemory own_memory = allocate_on(device, 4096, 0, &dedicated), gone = allocate(4096, 0);
    DEVICE_COMMAND(device, BindImageMemory)(device, texture, memory, 0);
    DEVICE_COMMAND(device, BindImageMemory)(device, late, gone, 0);
    DEVICE_COMMAND(device, BindImageMemory)(device, own, own_memory, 0);
    free_memory(gone);
    destroy_image(texture);
    destroy_image(unbound);
    destroy_image(late);
    destroy_image(own);
    ck_assert_uint_eq(view_count(segment, MT_VK_PAST_IMAGE), 0);
}
END_TEST

START_TEST(the_newest_attachments_are_remembered)
{
    enum { MANY = MT_VK_PAST_MAX + 100 };
    VkDeviceMemory memory = allocate((uint64_t)MANY * 4096, 0);
    for (unsigned i = 0; i < MANY; i++) {
        VkImage image = create_attachment();
        DEVICE_COMMAND(device, BindImageMemory)(device, image, memory, i * 4096u);
        destroy_image(image);
    }
    ck_assert_uint_eq(view_count(segment, MT_VK_PAST_IMAGE), MT_VK_PAST_MAX);
    uint64_t lowest = UINT64_MAX;
    for (unsigned i = 0; i < MT_VK_PAST_MAX; i++)
        if (view_nth(segment, MT_VK_PAST_IMAGE, i)->offset < lowest)
            lowest = view_nth(segment, MT_VK_PAST_IMAGE, i)->offset;
    ck_assert_uint_eq(lowest, 100 * 4096);
    ck_assert_uint_eq(RECORD(MT_VK_MEMORY, memory)->attr[MT_VK_MEMORY_BOUND], 0);
}
END_TEST

START_TEST(that_memory_was_mapped_is_remembered)
{
    void *data;
    VkDeviceMemory memory = allocate(65536, 1);
    const struct mt_object *record = RECORD(MT_VK_MEMORY, memory);
    ck_assert_uint_eq(record->attr[MT_VK_MEMORY_FLAGS] & MT_VK_MEMORY_WAS_MAPPED, 0);
    DEVICE_COMMAND(device, MapMemory)(device, memory, 0, VK_WHOLE_SIZE, 0, &data);
    DEVICE_COMMAND(device, UnmapMemory)(device, memory);
    ck_assert_uint_eq(record->attr[MT_VK_MEMORY_FLAGS], MT_VK_MEMORY_WAS_MAPPED);
}
END_TEST

START_TEST(memory_of_sparse_binds_is_marked)
{
    VkDeviceMemory memories[4];
    for (unsigned i = 0; i < 4; i++) memories[i] = allocate(65536, 0);
    VkSparseMemoryBind binds[3] = {{.size = 4096, .memory = memories[0]},
                                   {.size = 4096}, /* takes one away */
                                   {.size = 4096, .memory = memories[1]}};
    VkSparseImageMemoryBind part = {.memory = memories[2]};
    VkSparseBufferMemoryBindInfo buffers = {(VkBuffer)1, 2, binds};
    VkSparseImageOpaqueMemoryBindInfo opaque = {(VkImage)2, 1, &binds[2]};
    VkSparseImageMemoryBindInfo images = {(VkImage)3, 1, &part};
    VkBindSparseInfo info = {.sType = VK_STRUCTURE_TYPE_BIND_SPARSE_INFO,
                             .bufferBindCount = 1,
                             .pBufferBinds = &buffers,
                             .imageOpaqueBindCount = 1,
                             .pImageOpaqueBinds = &opaque,
                             .imageBindCount = 1,
                             .pImageBinds = &images};
    fake.fail = VK_ERROR_OUT_OF_DEVICE_MEMORY;
    DEVICE_COMMAND(device, QueueBindSparse)(fake_queue(device), 1, &info, VK_NULL_HANDLE);
    for (unsigned i = 0; i < 4; i++)
        ck_assert_uint_eq(RECORD(MT_VK_MEMORY, memories[i])->attr[MT_VK_MEMORY_FLAGS], 0);
    fake.fail = VK_SUCCESS;
    DEVICE_COMMAND(device, QueueBindSparse)(fake_queue(device), 1, &info, VK_NULL_HANDLE);
    for (unsigned i = 0; i < 4; i++)
        ck_assert_uint_eq(RECORD(MT_VK_MEMORY, memories[i])->attr[MT_VK_MEMORY_FLAGS],
                          i < 3 ? MT_VK_MEMORY_IS_SPARSE | MT_VK_MEMORY_SPARSE_UNKNOWN
                                : 0); /* of resources never seen */
}
END_TEST

/* ---- acceleration structures ---------------------------------------------------------------- */

static VkAccelerationStructureKHR create_accel(VkBuffer buffer, uint64_t offset, uint64_t bytes)
{
    VkAccelerationStructureCreateInfoKHR info = {.sType = VK_STRUCTURE_TYPE_ACCELERATION_STRUCTURE_CREATE_INFO_KHR,
                                                 .buffer = buffer,
                                                 .offset = offset,
                                                 .size = bytes,
                                                 .type = VK_ACCELERATION_STRUCTURE_TYPE_BOTTOM_LEVEL_KHR};
    VkAccelerationStructureKHR made = VK_NULL_HANDLE;
    ck_assert_int_eq(DEVICE_COMMAND(device, CreateAccelerationStructureKHR)(device, &info, NULL, &made),
                     VK_SUCCESS);
    return made;
}

START_TEST(an_acceleration_structure_lies_in_its_buffer)
{
    VkBuffer buffer = create_buffer(65536);
    VkAccelerationStructureKHR made = create_accel(buffer, 256, 4000);
    VkDebugMarkerObjectNameInfoEXT marker = {
        .sType = VK_STRUCTURE_TYPE_DEBUG_MARKER_OBJECT_NAME_INFO_EXT,
        .objectType = VK_DEBUG_REPORT_OBJECT_TYPE_ACCELERATION_STRUCTURE_KHR_EXT,
        .object = (uint64_t)made,
        .pObjectName = "level"};
    DEVICE_COMMAND(device, DebugMarkerSetObjectNameEXT)(device, &marker);
    ck_assert_str_eq(RECORD(MT_VK_ACCEL, made)->name, "level");
    const struct mt_object *record = RECORD(MT_VK_ACCEL, made);
    ck_assert_uint_eq(record->size_bytes, 4000);
    ck_assert_uint_eq(record->offset, 256);
    ck_assert_ptr_eq(view_at(segment, record->link), RECORD(MT_VK_BUFFER, buffer));
    ck_assert_uint_eq(record->attr[MT_VK_ACCEL_BUFFER], (uint64_t)buffer);
    ck_assert_uint_eq(record->attr[MT_VK_ACCEL_TYPE], 1);
    ck_assert_uint_eq(record->attr[MT_VK_ACCEL_API], MT_VK_ACCEL_KHR);
    const VkDebugUtilsObjectNameInfoEXT name = {.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_OBJECT_NAME_INFO_EXT,
                                                .objectType = VK_OBJECT_TYPE_ACCELERATION_STRUCTURE_KHR,
                                                .objectHandle = (uint64_t)made,
                                                .pObjectName = "rocks"};
    DEVICE_COMMAND(device, SetDebugUtilsObjectNameEXT)(device, &name);
    ck_assert_str_eq(record->name, "rocks");
    DEVICE_COMMAND(device, DestroyAccelerationStructureKHR)(device, made, NULL);
    DEVICE_COMMAND(device, DestroyAccelerationStructureKHR)(device, VK_NULL_HANDLE, NULL);
    ck_assert_uint_eq(view_count(segment, MT_VK_ACCEL), 0);
    ck_assert_uint_eq(fake.calls.DestroyAccelerationStructureKHR, 2);
    ck_assert_uint_eq(DEVICE_FLAG(MT_VK_DEVICE_UNKNOWN_FREES), 0);
}
END_TEST

START_TEST(a_micromap_lies_in_its_buffer)
{
    VkMicromapEXT made = VK_NULL_HANDLE;
    VkBuffer buffer = create_buffer(65536);
    VkMicromapCreateInfoEXT info = {
        .sType = VK_STRUCTURE_TYPE_MICROMAP_CREATE_INFO_EXT, .buffer = buffer, .offset = 512, .size = 77};
    ck_assert_int_eq(DEVICE_COMMAND(device, CreateMicromapEXT)(device, &info, NULL, &made), VK_SUCCESS);
    const struct mt_object *record = RECORD(MT_VK_ACCEL, made);
    ck_assert_uint_eq(record->attr[MT_VK_ACCEL_API], MT_VK_ACCEL_MICROMAP);
    ck_assert_uint_eq(record->size_bytes, 77);
    DEVICE_COMMAND(device, DestroyMicromapEXT)(device, made, NULL);
    ck_assert_uint_eq(view_count(segment, MT_VK_ACCEL), 0);
}
END_TEST

static VkAccelerationStructureNV create_accel_nv(void)
{
    VkAccelerationStructureNV made = VK_NULL_HANDLE;
    VkAccelerationStructureCreateInfoNV info = {.sType = VK_STRUCTURE_TYPE_ACCELERATION_STRUCTURE_CREATE_INFO_NV};
    ck_assert_int_eq(DEVICE_COMMAND(device, CreateAccelerationStructureNV)(device, &info, NULL, &made), VK_SUCCESS);
    return made;
}

START_TEST(an_older_acceleration_structure_is_bound_to_memory)
{
    VkDeviceMemory memory = allocate(65536, 0);
    VkAccelerationStructureNV made = create_accel_nv();
    VkBindAccelerationStructureMemoryInfoNV bind = {
        .sType = VK_STRUCTURE_TYPE_BIND_ACCELERATION_STRUCTURE_MEMORY_INFO_NV,
        .accelerationStructure = made,
        .memory = memory,
        .memoryOffset = 1024};
    const struct mt_object *record = RECORD(MT_VK_ACCEL, made), *held = RECORD(MT_VK_MEMORY, memory);
    ck_assert_uint_eq(record->size_bytes, 4096);
    fake.fail = VK_ERROR_OUT_OF_DEVICE_MEMORY;
    DEVICE_COMMAND(device, BindAccelerationStructureMemoryNV)(device, 1, &bind);
    ck_assert_uint_eq(held->attr[MT_VK_MEMORY_BOUND], 0);
    fake.fail = VK_SUCCESS;
    DEVICE_COMMAND(device, BindAccelerationStructureMemoryNV)(device, 1, &bind);
    ck_assert_uint_eq(held->attr[MT_VK_MEMORY_BOUND], 1);
    ck_assert_ptr_eq(view_at(segment, record->link), held);
    ck_assert_uint_eq(record->offset, 1024);
    free_memory(memory);
    ck_assert_uint_ne(record->attr[MT_VK_RESOURCE_FLAGS] & MT_VK_RESOURCE_MEMORY_FREED, 0);
    DEVICE_COMMAND(device, DestroyAccelerationStructureNV)(device, made, NULL);
    ck_assert_uint_eq(view_count(segment, MT_VK_ACCEL), 0);
}
END_TEST

START_TEST(what_could_not_be_made_is_not_recorded)
{
    VkAccelerationStructureKHR accel = VK_NULL_HANDLE;
    VkVideoSessionKHR session = VK_NULL_HANDLE;
    VkAccelerationStructureCreateInfoKHR accel_info = {
        .sType = VK_STRUCTURE_TYPE_ACCELERATION_STRUCTURE_CREATE_INFO_KHR};
    VkVideoSessionCreateInfoKHR session_info = {.sType = VK_STRUCTURE_TYPE_VIDEO_SESSION_CREATE_INFO_KHR};
    fake.fail = VK_ERROR_OUT_OF_HOST_MEMORY;
    ck_assert_int_eq(DEVICE_COMMAND(device, CreateAccelerationStructureKHR)(device, &accel_info, NULL, &accel),
                     VK_ERROR_OUT_OF_HOST_MEMORY);
    ck_assert_int_eq(DEVICE_COMMAND(device, CreateVideoSessionKHR)(device, &session_info, NULL, &session),
                     VK_ERROR_OUT_OF_HOST_MEMORY);
    ck_assert_uint_eq(view_count(segment, MT_VK_ACCEL) + view_count(segment, MT_VK_VIDEO_SESSION), 0);
}
END_TEST

/* ---- video sessions ----------------------------------------------------------------------------- */

static VkVideoSessionKHR create_session(void)
{
    VkVideoSessionKHR session = VK_NULL_HANDLE;
    VkVideoProfileInfoKHR profile = {.sType = VK_STRUCTURE_TYPE_VIDEO_PROFILE_INFO_KHR,
                                     .videoCodecOperation = 2 /* decode H.265 */};
    VkVideoSessionCreateInfoKHR info = {.sType = VK_STRUCTURE_TYPE_VIDEO_SESSION_CREATE_INFO_KHR,
                                        .pVideoProfile = &profile,
                                        .pictureFormat = VK_FORMAT_G8_B8R8_2PLANE_420_UNORM,
                                        .maxCodedExtent = {1920, 1080},
                                        .maxDpbSlots = 17};
    ck_assert_int_eq(DEVICE_COMMAND(device, CreateVideoSessionKHR)(device, &info, NULL, &session), VK_SUCCESS);
    return session;
}

static void bind_session(VkVideoSessionKHR session, uint32_t index, VkDeviceMemory memory, uint64_t offset,
                         uint64_t bytes)
{
    VkBindVideoSessionMemoryInfoKHR info = {.sType = VK_STRUCTURE_TYPE_BIND_VIDEO_SESSION_MEMORY_INFO_KHR,
                                            .memoryBindIndex = index,
                                            .memory = memory,
                                            .memoryOffset = offset,
                                            .memorySize = bytes};
    ck_assert_int_eq(DEVICE_COMMAND(device, BindVideoSessionMemoryKHR)(device, session, 1, &info), VK_SUCCESS);
}

START_TEST(a_video_session_has_several_places)
{
    VkDeviceMemory one = allocate(65536, 0), two = allocate(65536, 1);
    VkVideoSessionKHR session = create_session(), other = create_session();
    const struct mt_object *record = RECORD(MT_VK_VIDEO_SESSION, session);
    ck_assert_uint_eq(record->attr[MT_VK_VIDEO_CODEC], 2);
    ck_assert_uint_eq(record->attr[MT_VK_VIDEO_EXTENT], 1920 | UINT64_C(1080) << 32);
    bind_session(session, 0, one, 256, 4000);
    bind_session(session, 7, two, 0, 500);
    bind_session(other, 0, one, 8192, 9);
    ck_assert_uint_eq(record->size_bytes, 4500);
    ck_assert_uint_eq(record->attr[MT_VK_VIDEO_BINDINGS], 2);
    ck_assert_uint_eq(view_count(segment, MT_VK_VIDEO_MEMORY), 3);
    ck_assert_uint_eq(RECORD(MT_VK_MEMORY, one)->attr[MT_VK_MEMORY_BOUND], 2);
    ck_assert_uint_eq(RECORD(MT_VK_MEMORY, two)->attr[MT_VK_MEMORY_BOUND], 1);
    const struct mt_object *binding = view_nth(segment, MT_VK_VIDEO_MEMORY, 0);
    ck_assert_ptr_eq(view_at(segment, (uint32_t)binding->attr[MT_VK_VIDEO_SESSION_ID]), record);
    ck_assert_ptr_eq(view_at(segment, binding->link), RECORD(MT_VK_MEMORY, one));
    ck_assert_uint_eq(binding->offset, 256);
    free_memory(two);
    DEVICE_COMMAND(device, DestroyVideoSessionKHR)(device, session, NULL);
    ck_assert_uint_eq(view_count(segment, MT_VK_VIDEO_MEMORY), 1);
    ck_assert_uint_eq(RECORD(MT_VK_MEMORY, one)->attr[MT_VK_MEMORY_BOUND], 1);
    free_memory(one);
    DEVICE_COMMAND(device, DestroyVideoSessionKHR)(device, other, NULL);
    ck_assert_uint_eq(view_count(segment, MT_VK_VIDEO_MEMORY) + view_count(segment, MT_VK_VIDEO_SESSION), 0);
    ck_assert_uint_eq(DEVICE_FLAG(MT_VK_DEVICE_UNKNOWN_FREES), 0);
}
END_TEST

START_TEST(a_session_that_is_not_known_leaves_nothing)
{
    VkDeviceMemory memory = allocate(65536, 0);
    bind_session((VkVideoSessionKHR)0x77, 0, memory, 0, 100);
    ck_assert_uint_eq(view_count(segment, MT_VK_VIDEO_MEMORY), 0);
    ck_assert_uint_eq(RECORD(MT_VK_MEMORY, memory)->attr[MT_VK_MEMORY_BOUND], 0);
    ck_assert_uint_eq(DEVICE_FLAG(MT_VK_DEVICE_UNKNOWN_FREES), 1);
}
END_TEST

START_TEST(they_are_leaks_when_the_device_goes_first)
{
    VkBuffer buffer = create_buffer(65536);
    VkAccelerationStructureKHR accel = create_accel(buffer, 0, 1000);
    VkVideoSessionKHR session = create_session();
    bind_session(session, 0, allocate(65536, 0), 0, 100);
    DEVICE_COMMAND(device, DestroyDevice)(device, NULL);
    ck_assert_uint_ne(RECORD(MT_VK_ACCEL, accel)->attr[MT_VK_RESOURCE_FLAGS] & MT_VK_RESOURCE_LEAKED, 0);
    ck_assert_uint_ne(RECORD(MT_VK_VIDEO_SESSION, session)->attr[MT_VK_VIDEO_FLAGS] & MT_VK_RESOURCE_LEAKED, 0);
    ck_assert(view_event(segment, "leak", "3 buffers, images and the like"));
}
END_TEST

void add_depth_tests(Suite *suite)
{
    const TTest *const tests[] = {an_attachment_leaves_its_frames_and_its_place,
                                  only_attachments_that_leave_memory_behind_are_remembered,
                                  the_newest_attachments_are_remembered,
                                  that_memory_was_mapped_is_remembered,
                                  memory_of_sparse_binds_is_marked,
                                  an_acceleration_structure_lies_in_its_buffer,
                                  a_micromap_lies_in_its_buffer,
                                  an_older_acceleration_structure_is_bound_to_memory,
                                  what_could_not_be_made_is_not_recorded,
                                  a_video_session_has_several_places,
                                  a_session_that_is_not_known_leaves_nothing,
                                  they_are_leaks_when_the_device_goes_first};
    add_tests(suite, "depth", start_device, tests, sizeof tests / sizeof *tests);
}
