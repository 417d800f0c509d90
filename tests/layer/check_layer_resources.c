/*
 * Buffers, images, bindings, swapchains and frames, in tests that are a
 * process each.
 */
#include "layer_support.h"

/* ---- resources ------------------------------------------------------------------------------------- */

START_TEST(buffers_and_their_binding)
{
    VkDeviceMemory memory = allocate(65536, 0);
    VkBuffer buffer = create_buffer(3000);
    const struct mt_object *record = RECORD(MT_VK_BUFFER, buffer);
    ck_assert_uint_eq(record->size_bytes, 3000);
    ck_assert_uint_eq(record->attr[MT_VK_RESOURCE_USAGE], VK_BUFFER_USAGE_VERTEX_BUFFER_BIT);
    ck_assert_uint_eq(record->attr[MT_VK_RESOURCE_REQUIRED_BYTES], 0);
    VkMemoryRequirements required;
    DEVICE_COMMAND(device, GetBufferMemoryRequirements)(device, buffer, &required);
    ck_assert_uint_eq(record->attr[MT_VK_RESOURCE_REQUIRED_BYTES], 4096);
    ck_assert_uint_eq(record->attr[MT_VK_RESOURCE_ALIGNMENT], 256);
    ck_assert_uint_eq(record->attr[MT_VK_RESOURCE_TYPE_BITS], 7);
    ck_assert_int_eq(DEVICE_COMMAND(device, BindBufferMemory)(device, buffer, memory, 8192), VK_SUCCESS);
    ck_assert_uint_eq(fake.calls.GetBufferMemoryRequirements, 1); /* known already */
    ck_assert_uint_eq(record->offset, 8192);
    ck_assert_ptr_eq(view_at(segment, record->link), RECORD(MT_VK_MEMORY, memory));
    ck_assert_uint_eq(record->attr[MT_VK_RESOURCE_FLAGS], MT_VK_RESOURCE_BOUND);
    ck_assert_uint_ne(record->attr[MT_VK_RESOURCE_BIND_NS], 0);
    ck_assert_uint_eq(RECORD(MT_VK_MEMORY, memory)->attr[MT_VK_MEMORY_BOUND], 1);
    destroy_buffer(buffer);
    ck_assert_uint_eq(view_count(segment, MT_VK_BUFFER), 0);
    ck_assert_uint_eq(RECORD(MT_VK_MEMORY, memory)->attr[MT_VK_MEMORY_BOUND], 0);
}
END_TEST

START_TEST(usage_of_a_buffer_in_64_bits)
{
    struct mt_buffer_usage usage = {(VkStructureType)MT_STYPE_BUFFER_USAGE, NULL, UINT64_C(1) << 33 | 0x40};
    VkBaseInStructure first = {(VkStructureType)1999999000, (const VkBaseInStructure *)(const void *)&usage};
    VkBufferCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, .pNext = &first, .size = 3000, .usage = 1};
    VkBuffer buffer;
    ck_assert_int_eq(DEVICE_COMMAND(device, CreateBuffer)(device, &info, NULL, &buffer), VK_SUCCESS);
    ck_assert_uint_eq(RECORD(MT_VK_BUFFER, buffer)->attr[MT_VK_RESOURCE_USAGE], UINT64_C(1) << 33 | 0x40);
}
END_TEST

START_TEST(requirements_are_asked_at_bind_when_unknown)
{
    VkDeviceMemory memory = allocate(65536, 0);
    VkBuffer buffer = create_buffer(3000);
    VkImage image = create_image(NULL, 0);
    DEVICE_COMMAND(device, BindBufferMemory)(device, buffer, memory, 0);
    DEVICE_COMMAND(device, BindImageMemory)(device, image, memory, 4096);
    ck_assert_uint_eq(fake.calls.GetBufferMemoryRequirements, 1);
    ck_assert_uint_eq(fake.calls.GetImageMemoryRequirements, 1);
    ck_assert_uint_eq(RECORD(MT_VK_BUFFER, buffer)->attr[MT_VK_RESOURCE_REQUIRED_BYTES], 4096);
    ck_assert_uint_eq(RECORD(MT_VK_IMAGE, image)->size_bytes, 4096);
    ck_assert_uint_eq(RECORD(MT_VK_MEMORY, memory)->attr[MT_VK_MEMORY_BOUND], 2);
}
END_TEST

START_TEST(images_and_their_requirements)
{
    VkImage image = create_image(NULL, VK_IMAGE_CREATE_SPARSE_BINDING_BIT);
    const struct mt_object *record = RECORD(MT_VK_IMAGE, image);
    ck_assert_uint_eq(record->size_bytes, 0);
    ck_assert_uint_eq(record->attr[MT_VK_IMAGE_EXTENT], 640 | UINT64_C(480) << 32);
    ck_assert_uint_eq(record->attr[MT_VK_IMAGE_DEPTH_LAYERS], 1 | UINT64_C(6) << 32);
    ck_assert_uint_eq(record->attr[MT_VK_IMAGE_MIPS_SAMPLES], 5 | UINT64_C(4) << 32);
    ck_assert_uint_eq(record->attr[MT_VK_IMAGE_FORMAT], VK_FORMAT_R8G8B8A8_UNORM);
    ck_assert_uint_eq(record->attr[MT_VK_IMAGE_TYPE], VK_IMAGE_TYPE_2D);
    ck_assert_uint_eq(record->attr[MT_VK_RESOURCE_FLAGS], MT_VK_RESOURCE_SPARSE);
    VkImageMemoryRequirementsInfo2 info = {VK_STRUCTURE_TYPE_IMAGE_MEMORY_REQUIREMENTS_INFO_2, NULL, image};
    VkMemoryRequirements2 required = {.sType = VK_STRUCTURE_TYPE_MEMORY_REQUIREMENTS_2};
    DEVICE_COMMAND(device, GetImageMemoryRequirements2KHR)(device, &info, &required);
    ck_assert_uint_eq(record->size_bytes, 4096);
    DEVICE_COMMAND(device, GetImageMemoryRequirements2)(device, &info, &required);
    ck_assert_uint_eq(record->size_bytes, 4096);
    ck_assert_uint_eq(fake.calls.GetImageMemoryRequirements2KHR, 1);
    ck_assert_uint_eq(fake.calls.GetImageMemoryRequirements2, 1);
}
END_TEST

START_TEST(planes_add_up_and_bind_apart)
{
    VkDeviceMemory a = allocate(65536, 0), b = allocate(65536, 0);
    VkImage image = create_image(NULL, VK_IMAGE_CREATE_DISJOINT_BIT);
    const struct mt_object *record = RECORD(MT_VK_IMAGE, image);
    VkImagePlaneMemoryRequirementsInfo plane = {VK_STRUCTURE_TYPE_IMAGE_PLANE_MEMORY_REQUIREMENTS_INFO, NULL,
                                                VK_IMAGE_ASPECT_PLANE_0_BIT};
    VkImageMemoryRequirementsInfo2 info = {VK_STRUCTURE_TYPE_IMAGE_MEMORY_REQUIREMENTS_INFO_2, &plane, image};
    VkMemoryRequirements2 required = {.sType = VK_STRUCTURE_TYPE_MEMORY_REQUIREMENTS_2};
    PFN_vkGetImageMemoryRequirements2 ask = DEVICE_COMMAND(device, GetImageMemoryRequirements2);
    ask(device, &info, &required);
    ask(device, &info, &required); /* asked again: not added again */
    plane.planeAspect = VK_IMAGE_ASPECT_PLANE_1_BIT;
    ask(device, &info, &required);
    ck_assert_uint_eq(record->size_bytes, 8192);
    VkBindImagePlaneMemoryInfo planes[2] = {
        {VK_STRUCTURE_TYPE_BIND_IMAGE_PLANE_MEMORY_INFO, NULL, VK_IMAGE_ASPECT_PLANE_0_BIT},
        {VK_STRUCTURE_TYPE_BIND_IMAGE_PLANE_MEMORY_INFO, NULL, VK_IMAGE_ASPECT_PLANE_1_BIT}};
    VkBindImageMemoryInfo binds[2] = {{VK_STRUCTURE_TYPE_BIND_IMAGE_MEMORY_INFO, &planes[0], image, a, 0},
                                      {VK_STRUCTURE_TYPE_BIND_IMAGE_MEMORY_INFO, &planes[1], image, b, 256}};
    ck_assert_int_eq(DEVICE_COMMAND(device, BindImageMemory2)(device, 2, binds), VK_SUCCESS);
    ck_assert_ptr_eq(view_at(segment, record->link), RECORD(MT_VK_MEMORY, b));
    ck_assert_uint_eq(record->attr[MT_VK_RESOURCE_FLAGS], MT_VK_RESOURCE_BOUND | MT_VK_RESOURCE_DISJOINT);
    ck_assert_uint_eq(RECORD(MT_VK_MEMORY, a)->attr[MT_VK_MEMORY_BOUND], 0);
    ck_assert_uint_eq(RECORD(MT_VK_MEMORY, b)->attr[MT_VK_MEMORY_BOUND], 1);
    ck_assert_uint_eq(fake.calls.GetImageMemoryRequirements, 0); /* must not be asked plainly */
    DEVICE_COMMAND(device, DestroyImage)(device, image, NULL);
    ck_assert_uint_eq(RECORD(MT_VK_MEMORY, b)->attr[MT_VK_MEMORY_BOUND], 0);
}
END_TEST

START_TEST(binding_several_at_once)
{
    VkDeviceMemory memory = allocate(65536, 0);
    VkBuffer buffers[3] = {create_buffer(1), create_buffer(2), create_buffer(3)};
    VkResult results[3] = {VK_SUCCESS, VK_ERROR_OUT_OF_DEVICE_MEMORY, VK_SUCCESS};
    struct mt_bind_status status[3];
    VkBindBufferMemoryInfo binds[3];
    for (unsigned i = 0; i < 3; i++) {
        status[i] = (struct mt_bind_status){(VkStructureType)MT_STYPE_BIND_MEMORY_STATUS, NULL, &results[i]};
        binds[i] = (VkBindBufferMemoryInfo){VK_STRUCTURE_TYPE_BIND_BUFFER_MEMORY_INFO, NULL, buffers[i], memory,
                                            i * 256};
    }
    fake.fail = VK_ERROR_OUT_OF_DEVICE_MEMORY;
    ck_assert_int_eq(DEVICE_COMMAND(device, BindBufferMemory2)(device, 3, binds), VK_ERROR_OUT_OF_DEVICE_MEMORY);
    ck_assert_uint_eq(RECORD(MT_VK_MEMORY, memory)->attr[MT_VK_MEMORY_BOUND], 0);
    for (unsigned i = 0; i < 3; i++) binds[i].pNext = &status[i];
    DEVICE_COMMAND(device, BindBufferMemory2)(device, 3, binds);
    ck_assert_uint_eq(RECORD(MT_VK_MEMORY, memory)->attr[MT_VK_MEMORY_BOUND], 2);
    ck_assert_uint_eq(RECORD(MT_VK_BUFFER, buffers[1])->attr[MT_VK_RESOURCE_FLAGS], 0);
    fake.fail = VK_SUCCESS;
    DEVICE_COMMAND(device, BindBufferMemory2KHR)(device, 1, &binds[1]);
    ck_assert_uint_eq(RECORD(MT_VK_BUFFER, buffers[1])->offset, 256);
    ck_assert_uint_eq(RECORD(MT_VK_MEMORY, memory)->attr[MT_VK_MEMORY_BOUND], 3);
    ck_assert_uint_eq(fake.calls.BindBufferMemory2KHR, 1);
}
END_TEST

START_TEST(memory_freed_before_its_resources)
{
    VkDeviceMemory memory = allocate(65536, 0);
    VkBuffer buffers[3];
    VkImage image = create_image(NULL, 0);
    for (unsigned i = 0; i < 3; i++) {
        buffers[i] = create_buffer(10);
        DEVICE_COMMAND(device, BindBufferMemory)(device, buffers[i], memory, 0);
    }
    DEVICE_COMMAND(device, BindImageMemory)(device, image, memory, 0);
    destroy_buffer(buffers[1]); /* out of the middle of the list */
    free_memory(memory);
    check_heap(MT_HEAP_DEVICE_HEAP, 0, 0, 0, 65536, 65536);
    ck_assert_uint_eq(RECORD(MT_VK_BUFFER, buffers[0])->attr[MT_VK_RESOURCE_FLAGS],
                      MT_VK_RESOURCE_BOUND | MT_VK_RESOURCE_MEMORY_FREED);
    ck_assert_uint_eq(RECORD(MT_VK_BUFFER, buffers[2])->link, 0);
    ck_assert_uint_ne(RECORD(MT_VK_IMAGE, image)->attr[MT_VK_RESOURCE_FLAGS] & MT_VK_RESOURCE_MEMORY_FREED, 0);
    destroy_buffer(buffers[0]);
    destroy_buffer(buffers[2]);
    DEVICE_COMMAND(device, DestroyImage)(device, image, NULL);
    ck_assert_uint_eq(view_count(segment, MT_VK_BUFFER) + view_count(segment, MT_VK_IMAGE), 0);
}
END_TEST

START_TEST(sparse_binds_are_counted)
{
    VkSparseMemoryBind memory_binds[3] = {{0}};
    VkSparseBufferMemoryBindInfo buffer_binds[2] = {{(VkBuffer)1, 3, memory_binds}, {(VkBuffer)2, 1, memory_binds}};
    VkBindSparseInfo info = {
        .sType = VK_STRUCTURE_TYPE_BIND_SPARSE_INFO, .bufferBindCount = 2, .pBufferBinds = buffer_binds};
    ck_assert_int_eq(DEVICE_COMMAND(device, QueueBindSparse)(fake_queue(device), 1, &info, VK_NULL_HANDLE),
                     VK_SUCCESS);
    ck_assert_uint_eq(fake.calls.QueueBindSparse, 1);
    ck_assert_uint_eq(view_nth(segment, MT_VK_DEVICE, 0)->size_bytes, 4);
}
END_TEST

/* ---- swapchains and frames ------------------------------------------------------------------------------ */

START_TEST(swapchains_old_and_new)
{
    VkSwapchainKHR first, second, failed = VK_NULL_HANDLE;
    uint32_t count = 2;
    VkImage images[FAKE_SWAPCHAIN_IMAGES];
    ck_assert_int_eq(create_swapchain(VK_NULL_HANDLE, &first), VK_SUCCESS);
    const struct mt_object *record = RECORD(MT_VK_SWAPCHAIN, first);
    ck_assert_uint_eq(record->size_bytes, 3 * 640 * 480 * 4);
    PFN_vkGetSwapchainImagesKHR get = DEVICE_COMMAND(device, GetSwapchainImagesKHR);
    ck_assert_int_eq(get(device, first, &count, images), VK_INCOMPLETE);
    ck_assert_uint_eq(record->attr[MT_VK_SWAPCHAIN_IMAGES], 3);
    ck_assert_int_eq(get(device, first, &count, NULL), VK_SUCCESS);
    ck_assert_uint_eq(record->size_bytes, FAKE_SWAPCHAIN_IMAGES * 640 * 480 * 4);
    ck_assert_int_eq(create_swapchain(first, &second), VK_SUCCESS);
    ck_assert_uint_eq(view_count(segment, MT_VK_SWAPCHAIN), 2);
    ck_assert_uint_eq(record->attr[MT_VK_SWAPCHAIN_RETIRED], 1);
    DEVICE_COMMAND(device, DestroySwapchainKHR)(device, first, NULL);
    ck_assert_uint_eq(view_count(segment, MT_VK_SWAPCHAIN), 1);
    fake.fail = VK_ERROR_SURFACE_LOST_KHR;
    ck_assert_int_eq(create_swapchain(second, &failed), VK_ERROR_SURFACE_LOST_KHR);
    ck_assert_uint_eq(view_count(segment, MT_VK_SWAPCHAIN), 1);
    ck_assert_uint_eq(RECORD(MT_VK_SWAPCHAIN, second)->attr[MT_VK_SWAPCHAIN_RETIRED], 1);
}
END_TEST

START_TEST(images_bound_to_a_swapchain)
{
    VkSwapchainKHR swapchain;
    ck_assert_int_eq(create_swapchain(VK_NULL_HANDLE, &swapchain), VK_SUCCESS);
    VkImageSwapchainCreateInfoKHR create = {VK_STRUCTURE_TYPE_IMAGE_SWAPCHAIN_CREATE_INFO_KHR, NULL, swapchain};
    VkImage image = create_image(&create, 0);
    VkBindImageMemorySwapchainInfoKHR info = {VK_STRUCTURE_TYPE_BIND_IMAGE_MEMORY_SWAPCHAIN_INFO_KHR, NULL,
                                              swapchain, 1};
    VkBindImageMemoryInfo bind = {VK_STRUCTURE_TYPE_BIND_IMAGE_MEMORY_INFO, &info, image, VK_NULL_HANDLE, 0};
    ck_assert_int_eq(DEVICE_COMMAND(device, BindImageMemory2)(device, 1, &bind), VK_SUCCESS);
    const struct mt_object *record = RECORD(MT_VK_IMAGE, image);
    ck_assert_uint_eq(record->attr[MT_VK_RESOURCE_FLAGS], MT_VK_RESOURCE_BOUND | MT_VK_RESOURCE_SWAPCHAIN);
    ck_assert_ptr_eq(view_at(segment, record->link), RECORD(MT_VK_SWAPCHAIN, swapchain));
    ck_assert_uint_eq(fake.calls.GetImageMemoryRequirements, 0);
    ck_assert_uint_eq(DEVICE_FLAG(MT_VK_DEVICE_UNKNOWN_FREES), 0);
}
END_TEST

START_TEST(presents_are_frames)
{
    VkSwapchainKHR swapchain;
    ck_assert_int_eq(create_swapchain(VK_NULL_HANDLE, &swapchain), VK_SUCCESS);
    VkPresentInfoKHR info = {
        .sType = VK_STRUCTURE_TYPE_PRESENT_INFO_KHR, .swapchainCount = 1, .pSwapchains = &swapchain};
    for (unsigned i = 0; i < 10; i++) {
        if (i) allocate(100, 0);
        ck_assert_int_eq(DEVICE_COMMAND(device, QueuePresentKHR)(fake_queue(device), &info), VK_SUCCESS);
    }
    fake.fail = VK_ERROR_OUT_OF_DATE_KHR;
    ck_assert_int_eq(DEVICE_COMMAND(device, QueuePresentKHR)(fake_queue(device), &info), VK_ERROR_OUT_OF_DATE_KHR);
    fake.fail = VK_SUCCESS;
    ck_assert_uint_eq(segment->frames.count, 11);
    ck_assert_uint_eq(segment->frames.source, MT_FRAME_VULKAN);
    ck_assert_uint_eq(segment->frames.ring[5].device_allocation_count, 1);
    ck_assert_uint_eq(segment->frames.ring[5].device_bytes, 100);
    ck_assert_uint_eq(RECORD(MT_VK_SWAPCHAIN, swapchain)->attr[MT_VK_SWAPCHAIN_PRESENTS], 11);
    ck_assert_uint_eq(RECORD(MT_VK_MEMORY, allocate(1, 0))->create_frame, 11);
}
END_TEST

void add_resource_tests(Suite *suite)
{
    const TTest *const with_device[] = {buffers_and_their_binding,
                                        usage_of_a_buffer_in_64_bits,
                                        requirements_are_asked_at_bind_when_unknown,
                                        images_and_their_requirements,
                                        planes_add_up_and_bind_apart,
                                        binding_several_at_once,
                                        memory_freed_before_its_resources,
                                        sparse_binds_are_counted,
                                        swapchains_old_and_new,
                                        images_bound_to_a_swapchain,
                                        presents_are_frames};
    add_tests(suite, "resource with a device", start_device, with_device, sizeof with_device / sizeof *with_device);
}
