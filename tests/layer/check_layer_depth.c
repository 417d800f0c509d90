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

void add_depth_tests(Suite *suite)
{
    const TTest *const tests[] = {an_attachment_leaves_its_frames_and_its_place,
                                  only_attachments_that_leave_memory_behind_are_remembered,
                                  the_newest_attachments_are_remembered, that_memory_was_mapped_is_remembered};
    add_tests(suite, "depth", start_device, tests, sizeof tests / sizeof *tests);
}
