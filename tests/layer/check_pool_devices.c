/*
 * Several physical devices, groups of them, and programs of Vulkan 1.0,
 * through the real loader on the mock driver.
 */
#include "pool_support.h"

#include <unistd.h>

static VkPhysicalDevice cards[MOCK_DEVICES];

static void start_cards(uint32_t expected)
{
    uint32_t count = MOCK_DEVICES;
    start_instance(expected == 2 ? "devices=2" : "devices=1", "MEMTRACK_VERBOSE=off");
    ck_assert_int_ge(vkEnumeratePhysicalDevices(instance, &count, cards), VK_SUCCESS);
    ck_assert_uint_eq(count, expected);
}

START_TEST(a_group_of_two_devices)
{
    start_cards(2);
    VkPhysicalDeviceGroupProperties group = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_GROUP_PROPERTIES};
    uint32_t count = 1;
    ck_assert_int_ge(vkEnumeratePhysicalDeviceGroups(instance, &count, &group), VK_SUCCESS);
    ck_assert_uint_eq(group.physicalDeviceCount, 2);
    VkDeviceGroupDeviceCreateInfo members = {VK_STRUCTURE_TYPE_DEVICE_GROUP_DEVICE_CREATE_INFO, NULL, 2,
                                             group.physicalDevices};
    ck_assert_int_eq(make_device("", &members, NULL, &device), VK_SUCCESS);
    VkMemoryAllocateFlagsInfo flags = {VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO, NULL,
                                       VK_MEMORY_ALLOCATE_DEVICE_MASK_BIT, 2};
    VkDeviceMemory both = allocate(1 << 20, DEVICE_TYPE), second = VK_NULL_HANDLE;
    ck_assert_int_eq(try_allocate(4096, DEVICE_TYPE, &flags, &second), VK_SUCCESS);
    const struct mt_object *record = view_handle(segment, MT_VK_MEMORY, MOCK_HANDLE(second));
    ck_assert_uint_ne(record->attr[MT_VK_MEMORY_FLAGS] & MT_VK_MEMORY_HAS_DEVICE_MASK, 0);
    const uint32_t indices[2] = {1, 0};
    VkBindBufferMemoryDeviceGroupInfo crossed = {VK_STRUCTURE_TYPE_BIND_BUFFER_MEMORY_DEVICE_GROUP_INFO, NULL, 2,
                                                 indices};
    VkBuffer buffer = create_buffer(4096);
    VkBindBufferMemoryInfo bind = {VK_STRUCTURE_TYPE_BIND_BUFFER_MEMORY_INFO, &crossed, buffer, both, 8192};
    ck_assert_int_eq(vkBindBufferMemory2(device, 1, &bind), VK_SUCCESS);
    ck_assert_uint_eq(view_handle(segment, MT_VK_BUFFER, MOCK_HANDLE(buffer))->offset, 8192);
    ck_assert_int_eq(heap_row(0)->current_bytes, (1 << 20) + 4096);
    vkDestroyBuffer(device, buffer, NULL);
    free_memory(both);
    free_memory(second);
    end_device();
}
END_TEST

START_TEST(two_devices_of_two_cards)
{
    VkDevice other;
    start_cards(2);
    physical = cards[0];
    ck_assert_int_eq(make_device("", NULL, NULL, &device), VK_SUCCESS);
    physical = cards[1];
    ck_assert_int_eq(make_device("", NULL, NULL, &other), VK_SUCCESS);
    VkDeviceMemory one = allocate(1000, DEVICE_TYPE), two;
    VkMemoryAllocateInfo info = {VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, NULL, 3000, DEVICE_TYPE};
    ck_assert_int_eq(vkAllocateMemory(other, &info, NULL, &two), VK_SUCCESS);
    ck_assert_uint_eq(view_count(segment, MT_VK_DEVICE), 2);
    ck_assert_int_eq(view_heap(segment, MT_HEAP_DEVICE_HEAP, 0, 0)->current_bytes, 1000);
    ck_assert_int_eq(view_heap(segment, MT_HEAP_DEVICE_HEAP, 0, 1)->current_bytes, 3000);
    vkFreeMemory(other, two, NULL);
    vkDestroyDevice(other, NULL);
    ck_assert_int_eq(view_heap(segment, MT_HEAP_DEVICE_HEAP, 0, 1)->current_bytes, 0);
    free_memory(one);
    end_device();
}
END_TEST

START_TEST(a_program_without_application_info)
{
    start_cards(1);
    vkDestroyInstance(instance, NULL);
    VkInstanceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO};
    uint32_t count = 1;
    ck_assert_int_eq(vkCreateInstance(&info, NULL, &instance), VK_SUCCESS);
    ck_assert_int_ge(vkEnumeratePhysicalDevices(instance, &count, &physical), VK_SUCCESS);
    ck_assert_int_eq(make_device("", NULL, NULL, &device), VK_SUCCESS);
    VkDeviceMemory memory = allocate(4096, STAGING_TYPE);
    VkBuffer buffer = create_buffer(1000);
    ck_assert_int_eq(vkBindBufferMemory(device, buffer, memory, 0), VK_SUCCESS);
    ck_assert_uint_eq(view_handle(segment, MT_VK_MEMORY, MOCK_HANDLE(memory))->attr[MT_VK_MEMORY_BOUND], 1);
    const struct mt_object *record = view_nth(segment, MT_VK_DEVICE, 0);
    ck_assert_uint_eq(record->attr[MT_VK_DEVICE_FLAGS] & MT_VK_DEVICE_HAS_BUDGET, 0); /* 1.0 may not ask */
    ck_assert_str_eq(record->name, "mock device");
    ck_assert_ptr_null((void *)vkGetDeviceProcAddr(device, "vkMapMemory2KHR"));
    vkDestroyBuffer(device, buffer, NULL);
    free_memory(memory);
    end_device();
}
END_TEST

Suite *devices_suite(void)
{
    Suite *suite = suite_create("devices");
    TCase *cases = tcase_create("devices");
    tcase_add_test(cases, a_group_of_two_devices);
    tcase_add_test(cases, two_devices_of_two_cards);
    tcase_add_test(cases, a_program_without_application_info);
    suite_add_tcase(suite, cases);
    return suite;
}
