/*
 * Every command and structure that names device memory, with slices in it: the
 * driver must see its own memory and the right offset, and what the program
 * passed stays as it was.
 */
#include "pool_support.h"

#include <string.h>

#define KIB (UINT64_C(1) << 10)

static VkDeviceMemory fence, slice; /* two neighbours: the second one does not start at 0 */
static uint64_t chunk, base;        /* where the driver has it */

#define EVERYTHING                                                                                                 \
    "VK_KHR_bind_memory2 VK_KHR_get_memory_requirements2 VK_KHR_map_memory2 VK_EXT_private_data "                  \
    "VK_EXT_debug_marker "                                                                                         \
    "VK_KHR_external_memory_fd VK_KHR_video_queue VK_NV_ray_tracing VK_ARM_tensors VK_ARM_data_graph "             \
    "VK_KHR_buffer_device_address VK_KHR_maintenance4 VK_EXT_pageable_device_local_memory"

static void find_place(void)
{
    VkBuffer buffer = create_buffer(4096);
    ck_assert_int_eq(vkBindBufferMemory(device, buffer, slice, 0), VK_SUCCESS);
    chunk = driver->last_bind_memory;
    base = driver->last_bind_offset;
    vkDestroyBuffer(device, buffer, NULL);
    ck_assert_uint_gt(base, 0);
}

static void start(uint32_t type)
{
    start_instance(
        "extensions=VK_KHR_map_memory2,VK_EXT_private_data,VK_EXT_debug_marker,VK_KHR_external_memory_fd,"
        "VK_KHR_video_queue,VK_NV_ray_tracing,VK_ARM_tensors,VK_ARM_data_graph,VK_KHR_buffer_device_address,"
        "VK_KHR_maintenance4,VK_EXT_pageable_device_local_memory",
        "MEMTRACK_VULKAN_POOL=verify");
    ck_assert_int_eq(make_device(EVERYTHING, NULL, NULL, &device), VK_SUCCESS);
    ck_assert_msg(pools_number(MT_VK_POOLS_MODE) == MT_POOL_VERIFY, "%s", pools_reason());
    fence = allocate(4096, type);
    slice = allocate(1 << 20, type);
    ck_assert(is_slice(slice));
    find_place();
}

static void end(void)
{
    free_memory(fence);
    free_memory(slice);
    end_device();
}

static void expect_place(uint64_t offset)
{
    ck_assert_uint_eq(driver->last_bind_memory, chunk);
    ck_assert_uint_eq(driver->last_bind_offset, base + offset);
}

START_TEST(buffers_and_images)
{
    start(DEVICE_TYPE);
    VkBuffer buffer = create_buffer(4096);
    VkImage image = create_image(16);
    ck_assert_int_eq(vkBindBufferMemory(device, buffer, slice, 512), VK_SUCCESS);
    expect_place(512);
    ck_assert_int_eq(vkBindImageMemory(device, image, slice, 8192), VK_SUCCESS);
    expect_place(8192);
    vkDestroyBuffer(device, buffer, NULL);
    vkDestroyImage(device, image, NULL);
    end();
}
END_TEST

static const char *const buffer_names[] = {"vkBindBufferMemory2", "vkBindBufferMemory2KHR"};
static const char *const image_names[] = {"vkBindImageMemory2", "vkBindImageMemory2KHR"};

START_TEST(arrays_of_buffers)
{
    enum { COUNT = 40 }; /* more than fit into the copy on the stack */
    VkBindBufferMemoryInfo infos[COUNT], copy[COUNT];
    VkResult results[COUNT];
    struct mt_bind_status statuses[COUNT];
    start(DEVICE_TYPE);
    VkDeviceMemory own = allocate(64 << 20, DEVICE_TYPE); /* not a slice */
    ck_assert(!is_slice(own));
    for (unsigned i = 0; i < COUNT; i++) {
        statuses[i] = (struct mt_bind_status){(VkStructureType)MT_STYPE_BIND_MEMORY_STATUS, NULL, &results[i]};
        infos[i] = (VkBindBufferMemoryInfo){VK_STRUCTURE_TYPE_BIND_BUFFER_MEMORY_INFO, &statuses[i],
                                            create_buffer(4096), i % 2 ? own : slice, i * 4096};
    }
    memcpy(copy, infos, sizeof copy);
    PFN_vkBindBufferMemory2 bind = (PFN_vkBindBufferMemory2)command(buffer_names[_i]);
    ck_assert_int_eq(bind(device, COUNT - 1, infos), VK_SUCCESS);
    expect_place((COUNT - 2) * 4096);
    ck_assert_int_eq(bind(device, 1, &infos[COUNT - 1]), VK_SUCCESS);
    ck_assert_uint_eq(driver->last_bind_memory, MOCK_HANDLE(own));
    ck_assert_int_eq(memcmp(copy, infos, sizeof copy), 0);
    for (unsigned i = 0; i < COUNT; i++) ck_assert_int_eq(results[i], VK_SUCCESS);
    const struct mt_object *record = view_handle(segment, MT_VK_BUFFER, MOCK_HANDLE(infos[2].buffer));
    ck_assert_uint_eq(record->offset, 2 * 4096); /* the program's offset, not the chunk's */
    for (unsigned i = 0; i < COUNT; i++) vkDestroyBuffer(device, infos[i].buffer, NULL);
    free_memory(own);
    end();
}
END_TEST

START_TEST(a_binding_to_freed_memory_gets_its_own_error)
{
    VkResult own = VK_SUCCESS;
    struct mt_bind_status status = {(VkStructureType)MT_STYPE_BIND_MEMORY_STATUS, NULL, &own};
    start_device("", "MEMTRACK_VULKAN_POOL=tlsf");
    VkDeviceMemory gone = allocate(4096, DEVICE_TYPE);
    VkBindBufferMemoryInfo info = {VK_STRUCTURE_TYPE_BIND_BUFFER_MEMORY_INFO, &status, create_buffer(4096), gone,
                                   0};
    free_memory(gone);
    ck_assert_int_eq(vkBindBufferMemory2(device, 1, &info), VK_ERROR_OUT_OF_DEVICE_MEMORY);
    ck_assert_int_eq(own, VK_ERROR_OUT_OF_DEVICE_MEMORY);
    ck_assert_uint_eq(view_handle(segment, MT_VK_BUFFER, MOCK_HANDLE(info.buffer))->attr[MT_VK_RESOURCE_FLAGS], 0);
    ck_assert_uint_eq(driver->breach_count, 0);
    vkDestroyBuffer(device, info.buffer, NULL);
    vkDestroyDevice(device, NULL);
    vkDestroyInstance(instance, NULL);
}
END_TEST

START_TEST(arrays_of_images)
{
    VkBindImageMemoryInfo infos[3];
    start(DEVICE_TYPE);
    for (unsigned i = 0; i < 3; i++)
        infos[i] = (VkBindImageMemoryInfo){VK_STRUCTURE_TYPE_BIND_IMAGE_MEMORY_INFO, NULL, create_image(16), slice,
                                           i * 4096};
    VkBindImageMemorySwapchainInfoKHR swapchain = {VK_STRUCTURE_TYPE_BIND_IMAGE_MEMORY_SWAPCHAIN_INFO_KHR, NULL,
                                                   (VkSwapchainKHR)1, 0};
    infos[1].pNext = &swapchain; /* memory of a swapchain comes without a handle */
    infos[1].memory = VK_NULL_HANDLE;
    infos[1].memoryOffset = 0;
    ck_assert_int_eq(((PFN_vkBindImageMemory2)command(image_names[_i]))(device, 3, infos), VK_SUCCESS);
    expect_place(2 * 4096);
    for (unsigned i = 0; i < 3; i++) vkDestroyImage(device, infos[i].image, NULL);
    end();
}
END_TEST

START_TEST(mapping)
{
    void *whole = NULL, *part = NULL, *second = NULL;
    start(STAGING_TYPE);
    uint64_t maps = driver->map_count;
    ck_assert_int_eq(vkMapMemory(device, slice, 0, VK_WHOLE_SIZE, 0, &whole), VK_SUCCESS);
    ck_assert_uint_eq(((uintptr_t)whole - base) % 64, 0);
    vkUnmapMemory(device, slice);
    ck_assert_int_eq(vkMapMemory(device, slice, 4096, 100, 0, &part), VK_SUCCESS);
    ck_assert_ptr_eq(part, (char *)whole + 4096);
    const struct mt_object *record = view_handle(segment, MT_VK_MEMORY, MOCK_HANDLE(slice));
    ck_assert_uint_eq(record->attr[MT_VK_MEMORY_MAP_OFFSET], 4096);
    vkUnmapMemory(device, slice);
    VkMemoryMapInfoKHR info = {(VkStructureType)1000271000, NULL, 0, slice, 8192, VK_WHOLE_SIZE};
    VkMemoryUnmapInfoKHR unmap = {(VkStructureType)1000271001, NULL, 0, slice};
    ck_assert_int_eq(((PFN_vkMapMemory2KHR)command("vkMapMemory2KHR"))(device, &info, &second), VK_SUCCESS);
    ck_assert_ptr_eq(second, (char *)whole + 8192);
    ck_assert_int_eq(((PFN_vkUnmapMemory2KHR)command("vkUnmapMemory2KHR"))(device, &unmap), VK_SUCCESS);
    ck_assert_uint_eq(driver->map_count, maps); /* nothing went down */
    ck_assert_uint_eq(driver->unmap_count, 0);
    end();
}
END_TEST

START_TEST(memory_that_the_host_does_not_see_cannot_be_mapped)
{
    void *data;
    start(DEVICE_TYPE);
    ck_assert_int_eq(vkMapMemory(device, slice, 0, VK_WHOLE_SIZE, 0, &data), VK_ERROR_MEMORY_MAP_FAILED);
    end();
}
END_TEST

START_TEST(flushing)
{
    void *data, *other;
    start(STAGING_TYPE);
    VkDeviceMemory own = allocate(64 << 20, INCOHERENT_TYPE);
    ck_assert_int_eq(vkMapMemory(device, slice, 0, VK_WHOLE_SIZE, 0, &data), VK_SUCCESS);
    ck_assert_int_eq(vkMapMemory(device, own, 0, VK_WHOLE_SIZE, 0, &other), VK_SUCCESS);
    VkMappedMemoryRange ranges[] = {{VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE, NULL, slice, 128, 256},
                                    {VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE, NULL, own, 0, VK_WHOLE_SIZE},
                                    {VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE, NULL, slice, 64, VK_WHOLE_SIZE},
                                    {VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE, NULL, slice, (1 << 20) - 64, 64}};
    ck_assert_int_eq(vkFlushMappedMemoryRanges(device, 4, ranges), VK_SUCCESS);
    ck_assert_int_eq(vkInvalidateMappedMemoryRanges(device, 4, ranges), VK_SUCCESS);
    ck_assert_uint_eq(driver->flush_count, 8);
    ck_assert_uint_eq(ranges[2].size, VK_WHOLE_SIZE);
    free_memory(own);
    end();
}
END_TEST

START_TEST(questions)
{
    VkDeviceSize committed = 0;
    int fd = 0;
    start_instance("extensions=VK_KHR_buffer_device_address,VK_KHR_external_memory_fd",
                   "MEMTRACK_VULKAN_POOL=verify");
    ck_assert_int_eq(make_device("VK_KHR_buffer_device_address VK_KHR_external_memory_fd", NULL, NULL, &device),
                     VK_SUCCESS);
    VkMemoryAllocateFlagsInfo flags = {VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO, NULL,
                                       VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT, 0};
    ck_assert_int_eq(try_allocate(4096, DEVICE_TYPE, &flags, &fence), VK_SUCCESS);
    ck_assert_int_eq(try_allocate(4096, DEVICE_TYPE, &flags, &slice), VK_SUCCESS);
    find_place();
    VkDeviceMemoryOpaqueCaptureAddressInfo info = {VK_STRUCTURE_TYPE_DEVICE_MEMORY_OPAQUE_CAPTURE_ADDRESS_INFO,
                                                   NULL, slice};
    ck_assert_uint_eq(COMMAND(GetDeviceMemoryOpaqueCaptureAddress)(device, &info), (chunk << 16) + base);
    ck_assert_uint_eq(COMMAND(GetDeviceMemoryOpaqueCaptureAddressKHR)(device, &info), (chunk << 16) + base);
    vkGetDeviceMemoryCommitment(device, slice, &committed);
    ck_assert_uint_eq(committed, 4096);
    VkDeviceMemory lazy = allocate(1 << 20, LAZY_TYPE);
    vkGetDeviceMemoryCommitment(device, lazy, &committed);
    ck_assert_uint_eq(committed, 1 << 19);
    free_memory(lazy);
    VkExportMemoryAllocateInfo exported = {VK_STRUCTURE_TYPE_EXPORT_MEMORY_ALLOCATE_INFO, NULL,
                                           VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT};
    VkDeviceMemory own;
    ck_assert_int_eq(try_allocate(4096, DEVICE_TYPE, &exported, &own), VK_SUCCESS);
    VkMemoryGetFdInfoKHR get = {VK_STRUCTURE_TYPE_MEMORY_GET_FD_INFO_KHR, NULL, own,
                                VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT};
    ck_assert_int_eq(COMMAND(GetMemoryFdKHR)(device, &get, &fd), VK_SUCCESS);
    free_memory(own);
    end();
}
END_TEST

START_TEST(device_addresses_of_slices)
{
    VkMemoryAllocateFlagsInfo flags = {VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO, NULL,
                                       VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT, 0};
    start(DEVICE_TYPE);
    VkDeviceMemory memory[2];
    VkDeviceAddress addresses[2];
    for (unsigned i = 0; i < 2; i++) {
        VkBuffer buffer = create_buffer(4096);
        ck_assert_int_eq(try_allocate(4096, DEVICE_TYPE, &flags, &memory[i]), VK_SUCCESS);
        ck_assert_int_eq(vkBindBufferMemory(device, buffer, memory[i], 0), VK_SUCCESS);
        VkBufferDeviceAddressInfo info = {VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO, NULL, buffer};
        addresses[i] = vkGetBufferDeviceAddress(device, &info);
        vkDestroyBuffer(device, buffer, NULL);
    }
    ck_assert_uint_ge(addresses[1], addresses[0] + 64 * KIB);
    free_memory(memory[0]);
    free_memory(memory[1]);
    end();
}
END_TEST

START_TEST(names_and_tags_stay_here)
{
    start(DEVICE_TYPE);
    VkDebugUtilsObjectNameInfoEXT name = {VK_STRUCTURE_TYPE_DEBUG_UTILS_OBJECT_NAME_INFO_EXT, NULL,
                                          VK_OBJECT_TYPE_DEVICE_MEMORY, MOCK_HANDLE(slice), "shadow maps"};
    VkDebugUtilsObjectTagInfoEXT tag = {VK_STRUCTURE_TYPE_DEBUG_UTILS_OBJECT_TAG_INFO_EXT,
                                        NULL,
                                        VK_OBJECT_TYPE_DEVICE_MEMORY,
                                        MOCK_HANDLE(slice),
                                        1,
                                        4,
                                        "tag"};
    VkDebugMarkerObjectNameInfoEXT marker = {VK_STRUCTURE_TYPE_DEBUG_MARKER_OBJECT_NAME_INFO_EXT, NULL,
                                             VK_DEBUG_REPORT_OBJECT_TYPE_DEVICE_MEMORY_EXT, MOCK_HANDLE(fence),
                                             "staging"};
    VkDebugMarkerObjectTagInfoEXT marker_tag = {VK_STRUCTURE_TYPE_DEBUG_MARKER_OBJECT_TAG_INFO_EXT,
                                                NULL,
                                                VK_DEBUG_REPORT_OBJECT_TYPE_DEVICE_MEMORY_EXT,
                                                MOCK_HANDLE(fence),
                                                1,
                                                4,
                                                "tag"};
    ck_assert_int_eq(COMMAND(SetDebugUtilsObjectNameEXT)(device, &name), VK_SUCCESS);
    ck_assert_int_eq(COMMAND(SetDebugUtilsObjectTagEXT)(device, &tag), VK_SUCCESS);
    ck_assert_int_eq(COMMAND(DebugMarkerSetObjectNameEXT)(device, &marker), VK_SUCCESS);
    ck_assert_int_eq(COMMAND(DebugMarkerSetObjectTagEXT)(device, &marker_tag), VK_SUCCESS);
    ck_assert_uint_eq(driver->name_count, 0);
    ck_assert_str_eq(view_handle(segment, MT_VK_MEMORY, MOCK_HANDLE(slice))->name, "shadow maps");
    ck_assert_str_eq(view_handle(segment, MT_VK_MEMORY, MOCK_HANDLE(fence))->name, "staging");
    VkBuffer buffer = create_buffer(16);
    name.objectType = VK_OBJECT_TYPE_BUFFER;
    name.objectHandle = MOCK_HANDLE(buffer);
    ck_assert_int_eq(COMMAND(SetDebugUtilsObjectNameEXT)(device, &name), VK_SUCCESS);
    ck_assert_uint_eq(driver->name_count, 1);
    vkDestroyBuffer(device, buffer, NULL);
    end();
}
END_TEST

static uint64_t private_of(VkPrivateDataSlot slot, VkDeviceMemory memory)
{
    uint64_t data = 1;
    COMMAND(GetPrivateData)(device, VK_OBJECT_TYPE_DEVICE_MEMORY, MOCK_HANDLE(memory), slot, &data);
    return data;
}

START_TEST(private_data_stays_here)
{
    VkPrivateDataSlotCreateInfo info = {VK_STRUCTURE_TYPE_PRIVATE_DATA_SLOT_CREATE_INFO, NULL, 0};
    VkPrivateDataSlot one, two, again;
    start(DEVICE_TYPE);
    ck_assert_int_eq(COMMAND(CreatePrivateDataSlot)(device, &info, NULL, &one), VK_SUCCESS);
    ck_assert_int_eq(COMMAND(CreatePrivateDataSlotEXT)(device, &info, NULL, &two), VK_SUCCESS);
    ck_assert_uint_eq(private_of(one, slice), 0);
    ck_assert_int_eq(COMMAND(SetPrivateData)(device, VK_OBJECT_TYPE_DEVICE_MEMORY, MOCK_HANDLE(slice), one, 11),
                     VK_SUCCESS);
    ck_assert_int_eq(COMMAND(SetPrivateDataEXT)(device, VK_OBJECT_TYPE_DEVICE_MEMORY, MOCK_HANDLE(slice), two, 22),
                     VK_SUCCESS);
    ck_assert_int_eq(COMMAND(SetPrivateData)(device, VK_OBJECT_TYPE_DEVICE_MEMORY, MOCK_HANDLE(fence), one, 33),
                     VK_SUCCESS);
    ck_assert_int_eq(COMMAND(SetPrivateData)(device, VK_OBJECT_TYPE_DEVICE_MEMORY, MOCK_HANDLE(fence), one, 44),
                     VK_SUCCESS);
    ck_assert_uint_eq(private_of(one, slice), 11);
    ck_assert_uint_eq(private_of(two, slice), 22);
    ck_assert_uint_eq(private_of(one, fence), 44);
    ck_assert_uint_eq(driver->private_count, 0);
    COMMAND(DestroyPrivateDataSlot)(device, one, NULL);
    ck_assert_int_eq(COMMAND(CreatePrivateDataSlot)(device, &info, NULL, &again), VK_SUCCESS);
    ck_assert_uint_eq(MOCK_HANDLE(again), MOCK_HANDLE(one)); /* the driver hands the same slot out */
    ck_assert_uint_eq(private_of(again, slice), 0);
    COMMAND(DestroyPrivateDataSlotEXT)(device, two, NULL);
    COMMAND(DestroyPrivateDataSlot)(device, again, NULL);
    end();
}
END_TEST

START_TEST(other_things_that_are_bound)
{
    start(DEVICE_TYPE);
    VkBindVideoSessionMemoryInfoKHR video = {
        VK_STRUCTURE_TYPE_BIND_VIDEO_SESSION_MEMORY_INFO_KHR, NULL, 0, slice, 256, 4096};
    VkBindAccelerationStructureMemoryInfoNV structure = {
        VK_STRUCTURE_TYPE_BIND_ACCELERATION_STRUCTURE_MEMORY_INFO_NV,
        NULL,
        (VkAccelerationStructureNV)1,
        slice,
        512,
        0,
        NULL};
    struct mt_bind_tensor_info tensor = {(VkStructureType)1000460002, NULL, 1, slice, 1024};
    struct mt_bind_graph_session_info graph = {(VkStructureType)1000507004, NULL, 1, 0, 0, slice, 2048};
    ck_assert_int_eq(COMMAND(BindVideoSessionMemoryKHR)(device, (VkVideoSessionKHR)1, 1, &video), VK_SUCCESS);
    expect_place(256);
    ck_assert_int_eq(COMMAND(BindAccelerationStructureMemoryNV)(device, 1, &structure), VK_SUCCESS);
    expect_place(512);
    ck_assert_int_eq(COMMAND(BindTensorMemoryARM)(device, 1, &tensor), VK_SUCCESS);
    expect_place(1024);
    ck_assert_int_eq(COMMAND(BindDataGraphPipelineSessionMemoryARM)(device, 1, &graph), VK_SUCCESS);
    expect_place(2048);
    end();
}
END_TEST

/* Not legal without sparseBinding, which keeps a device unpooled; but a driver would not survive a slice. */
START_TEST(sparse_bindings)
{
    VkQueue queue;
    start(DEVICE_TYPE);
    vkGetDeviceQueue(device, 0, 0, &queue);
    VkSparseMemoryBind binds[2] = {{0, 4096, slice, 4096, 0}, {4096, 4096, VK_NULL_HANDLE, 0, 0}};
    VkSparseImageMemoryBind image_bind = {.memory = slice, .memoryOffset = 8192};
    VkSparseBufferMemoryBindInfo buffers = {VK_NULL_HANDLE, 2, binds};
    VkSparseImageOpaqueMemoryBindInfo opaque = {VK_NULL_HANDLE, 1, binds};
    VkSparseImageMemoryBindInfo images = {VK_NULL_HANDLE, 1, &image_bind};
    VkBindSparseInfo infos[2] = {
        {.sType = VK_STRUCTURE_TYPE_BIND_SPARSE_INFO, .bufferBindCount = 1, .pBufferBinds = &buffers},
        {.sType = VK_STRUCTURE_TYPE_BIND_SPARSE_INFO,
         .imageOpaqueBindCount = 1,
         .pImageOpaqueBinds = &opaque,
         .imageBindCount = 1,
         .pImageBinds = &images}};
    ck_assert_int_eq(vkQueueBindSparse(queue, 2, infos, VK_NULL_HANDLE), VK_SUCCESS);
    ck_assert_uint_eq(driver->sparse_count, 4);
    expect_place(8192);
    ck_assert_uint_eq(MOCK_HANDLE(binds[0].memory), MOCK_HANDLE(slice));
    ck_assert_int_eq(vkQueueBindSparse(queue, 0, NULL, VK_NULL_HANDLE), VK_SUCCESS);
    end();
}
END_TEST

START_TEST(a_larger_alignment_is_learned)
{
    start_device("image_alignment=1048576", "MEMTRACK_VULKAN_POOL=verify");
    VkDeviceMemory first = allocate(4096, DEVICE_TYPE);
    VkImage image = create_image(16);
    VkMemoryRequirements required;
    vkGetImageMemoryRequirements(device, image, &required);
    ck_assert_uint_eq(required.alignment, 1 << 20);
    VkDeviceMemory memory = allocate(required.size, DEVICE_TYPE);
    ck_assert(is_slice(memory));
    ck_assert_int_eq(vkBindImageMemory(device, image, memory, 0), VK_SUCCESS);
    ck_assert_uint_eq(driver->last_bind_offset % (1 << 20), 0);
    vkDestroyImage(device, image, NULL);
    free_memory(first);
    free_memory(memory);
    end_device();
}
END_TEST

START_TEST(an_alignment_learned_ahead_of_creation)
{
    start_device("image_alignment=2097152", "MEMTRACK_VULKAN_POOL=verify");
    VkImageCreateInfo create = {.sType = VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO,
                                .imageType = VK_IMAGE_TYPE_2D,
                                .format = VK_FORMAT_R8G8B8A8_UNORM,
                                .extent = {16, 16, 1},
                                .mipLevels = 1,
                                .arrayLayers = 1,
                                .samples = VK_SAMPLE_COUNT_1_BIT,
                                .usage = VK_IMAGE_USAGE_SAMPLED_BIT};
    VkDeviceImageMemoryRequirements ask = {VK_STRUCTURE_TYPE_DEVICE_IMAGE_MEMORY_REQUIREMENTS, NULL, &create, 0};
    VkMemoryRequirements2 required = {.sType = VK_STRUCTURE_TYPE_MEMORY_REQUIREMENTS_2};
    VkDeviceMemory first = allocate(4096, DEVICE_TYPE);
    vkGetDeviceImageMemoryRequirements(device, &ask, &required);
    VkImage image = create_image(16);
    VkDeviceMemory memory = allocate(required.memoryRequirements.size, DEVICE_TYPE);
    ck_assert_int_eq(vkBindImageMemory(device, image, memory, 0), VK_SUCCESS);
    vkDestroyImage(device, image, NULL);
    free_memory(first);
    free_memory(memory);
    end_device();
}
END_TEST

START_TEST(an_alignment_that_comes_too_late_is_counted)
{
    start_device("image_alignment=1048576", "MEMTRACK_VULKAN_POOL=tlsf");
    VkDeviceMemory first = allocate(4096, DEVICE_TYPE), memory = allocate(1 << 20, DEVICE_TYPE);
    VkImage image = create_image(16);
    vkBindImageMemory(device, image, memory, 0);
    ck_assert_uint_eq(pools_number(MT_VK_POOLS_VIOLATIONS), 1);
    ck_assert(view_event(segment, "pool", "more alignment than its slice has"));
    vkDestroyImage(device, image, NULL);
    free_memory(first);
    free_memory(memory);
    vkDestroyDevice(device, NULL);
    vkDestroyInstance(instance, NULL);
}
END_TEST

START_TEST(commands_for_pools_are_hooked_only_where_there_are_pools)
{
    start_device("", "MEMTRACK_VERBOSE=off");
    PFN_vkVoidFunction off = command("vkFlushMappedMemoryRanges");
    VkDeviceMemory memory = allocate(4096, STAGING_TYPE);
    void *data;
    ck_assert_int_eq(vkMapMemory(device, memory, 0, VK_WHOLE_SIZE, 0, &data), VK_SUCCESS);
    VkMappedMemoryRange range = {VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE, NULL, memory, 0, VK_WHOLE_SIZE};
    ck_assert_int_eq(((PFN_vkFlushMappedMemoryRanges)off)(device, 1, &range), VK_SUCCESS);
    ck_assert_ptr_null((void *)vkGetDeviceProcAddr(device, "vkBindTensorMemoryARM"));
    ck_assert_ptr_null((void *)vkGetDeviceProcAddr(device, "vkGetPhysicalDeviceMemoryProperties"));
    free_memory(memory);
    end_device();
}
END_TEST

Suite *structures_suite(void)
{
    Suite *suite = suite_create("structures");
    TCase *cases = tcase_create("structures");
    tcase_add_test(cases, buffers_and_images);
    tcase_add_loop_test(cases, arrays_of_buffers, 0, 2);
    tcase_add_loop_test(cases, arrays_of_images, 0, 2);
    tcase_add_test(cases, a_binding_to_freed_memory_gets_its_own_error);
    tcase_add_test(cases, mapping);
    tcase_add_test(cases, memory_that_the_host_does_not_see_cannot_be_mapped);
    tcase_add_test(cases, flushing);
    tcase_add_test(cases, questions);
    tcase_add_test(cases, device_addresses_of_slices);
    tcase_add_test(cases, names_and_tags_stay_here);
    tcase_add_test(cases, private_data_stays_here);
    tcase_add_test(cases, other_things_that_are_bound);
    tcase_add_test(cases, sparse_bindings);
    tcase_add_test(cases, a_larger_alignment_is_learned);
    tcase_add_test(cases, an_alignment_learned_ahead_of_creation);
    tcase_add_test(cases, an_alignment_that_comes_too_late_is_counted);
    tcase_add_test(cases, commands_for_pools_are_hooked_only_where_there_are_pools);
    suite_add_tcase(suite, cases);
    return suite;
}
