/*
 * VK_EXT_device_memory_report: asked for where the driver has it, beside the
 * program's own use of it, and counted exactly.
 */
#include "check_driver.h"

#include <string.h>

#define EXTENSION "VK_EXT_device_memory_report"
#define OFFERED   "extensions=" EXTENSION

static enum mt_vulkan_report_status status(void)
{
    return (enum mt_vulkan_report_status)(view_nth(segment, MT_VK_DEVICE, 0)->attr[MT_VK_DEVICE_FLAGS] >>
                                          MT_VK_DEVICE_REPORT_SHIFT);
}

static const uint64_t *row(uint64_t by, uint64_t which)
{
    static const uint64_t none[12];
    const struct mt_object *record;
    for (unsigned n = 0; (record = view_nth(segment, MT_VK_MEMORY_REPORT, n)); n++)
        if (record->attr[MT_VK_REPORT_KEY] == (by << 32 | which)) return record->attr;
    return none;
}

static const uint64_t *object_row(VkObjectType type)
{
    return row(MT_VK_REPORT_BY_OBJECT, (uint64_t)type);
}

START_TEST(events_are_counted_by_object_and_heap)
{
    VkDeviceMemory failed;
    start_device(OFFERED, "");
    ck_assert_int_eq(status(), MT_VK_REPORT_ON);
    ck_assert_uint_eq(driver->listener_count, 1);
    ck_assert_uint_eq(object_row(VK_OBJECT_TYPE_DEVICE)[MT_VK_REPORT_CURRENT_BYTES],
                      1 << 20); /* before it was known */
    VkDeviceMemory local = allocate(4096, DEVICE_TYPE), staging = allocate(8192, STAGING_TYPE);
    set_driver("fail_larger=1M");
    ck_assert_int_ne(try_allocate(2 << 20, STAGING_TYPE, NULL, &failed), VK_SUCCESS);
    const uint64_t *memory = object_row(VK_OBJECT_TYPE_DEVICE_MEMORY);
    ck_assert_uint_eq(memory[MT_VK_REPORT_CURRENT_BYTES], 4096 + 8192);
    ck_assert_uint_eq(memory[MT_VK_REPORT_FAILED], 1);
    ck_assert_uint_eq(row(MT_VK_REPORT_BY_HEAP, 0)[MT_VK_REPORT_CURRENT_BYTES], 4096);
    ck_assert_uint_eq(row(MT_VK_REPORT_BY_HEAP, 1)[MT_VK_REPORT_CURRENT_BYTES], 8192);
    ck_assert_uint_eq(row(MT_VK_REPORT_BY_HEAP, 1)[MT_VK_REPORT_FAILED], 1);
    ck_assert_uint_eq(row(MT_VK_REPORT_BY_HEAP, 1 << 8)[MT_VK_REPORT_CURRENT_BYTES], 1 << 20);
    free_memory(local);
    free_memory(staging);
    ck_assert_uint_eq(memory[MT_VK_REPORT_CURRENT_BYTES], 0);
    ck_assert_uint_eq(memory[MT_VK_REPORT_PEAK_BYTES], 4096 + 8192);
    ck_assert_uint_eq(memory[MT_VK_REPORT_ALLOCATIONS], 2);
    ck_assert_uint_eq(memory[MT_VK_REPORT_FREES], 2);
    end_device();
    ck_assert_uint_eq(object_row(VK_OBJECT_TYPE_DEVICE)[MT_VK_REPORT_FREES], 1);
    ck_assert_uint_eq(object_row(VK_OBJECT_TYPE_DEVICE)[MT_VK_REPORT_LOST], 0);
}
END_TEST

START_TEST(imports_are_apart)
{
    VkImportMemoryFdInfoKHR import = {.sType = VK_STRUCTURE_TYPE_IMPORT_MEMORY_FD_INFO_KHR,
                                      .handleType = VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT,
                                      .fd = -1};
    VkDeviceMemory memory;
    start_device(OFFERED, "");
    ck_assert_int_eq(try_allocate(4096, DEVICE_TYPE, &import, &memory), VK_SUCCESS);
    const uint64_t *numbers = object_row(VK_OBJECT_TYPE_DEVICE_MEMORY);
    ck_assert_uint_eq(numbers[MT_VK_REPORT_IMPORTS], 1);
    ck_assert_uint_eq(numbers[MT_VK_REPORT_IMPORTED_BYTES], 4096);
    ck_assert_uint_eq(numbers[MT_VK_REPORT_CURRENT_BYTES], 0);
    free_memory(memory);
    ck_assert_uint_eq(numbers[MT_VK_REPORT_UNIMPORTS], 1);
    ck_assert_uint_eq(numbers[MT_VK_REPORT_IMPORTED_BYTES], 0);
    end_device();
}
END_TEST

static void VKAPI_CALL listen(const VkDeviceMemoryReportCallbackDataEXT *data, void *context)
{
    if (data->objectType == VK_OBJECT_TYPE_DEVICE_MEMORY) ++*(uint64_t *)context;
}

START_TEST(the_program_listens_too)
{
    uint64_t heard[2] = {0, 0};
    VkPhysicalDeviceDeviceMemoryReportFeaturesEXT feature = {
        VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DEVICE_MEMORY_REPORT_FEATURES_EXT, NULL, VK_TRUE};
    VkDeviceDeviceMemoryReportCreateInfoEXT second = {VK_STRUCTURE_TYPE_DEVICE_DEVICE_MEMORY_REPORT_CREATE_INFO_EXT,
                                                      &feature, 0, listen, &heard[1]};
    VkDeviceDeviceMemoryReportCreateInfoEXT first = {VK_STRUCTURE_TYPE_DEVICE_DEVICE_MEMORY_REPORT_CREATE_INFO_EXT,
                                                     &second, 0, listen, &heard[0]};
    start_instance(OFFERED, "");
    ck_assert_int_eq(make_device(EXTENSION, &first, NULL, &device), VK_SUCCESS);
    ck_assert_uint_eq(driver->listener_count, 3);
    ck_assert_ptr_eq(first.pNext, &second);
    free_memory(allocate(4096, DEVICE_TYPE));
    ck_assert_uint_eq(heard[0], 2);
    ck_assert_uint_eq(heard[1], 2);
    ck_assert_uint_eq(object_row(VK_OBJECT_TYPE_DEVICE_MEMORY)[MT_VK_REPORT_FREES], 1);
    end_device();
}
END_TEST

START_TEST(a_feature_that_the_program_leaves_off_stays_off)
{
    VkPhysicalDeviceDeviceMemoryReportFeaturesEXT feature = {
        VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DEVICE_MEMORY_REPORT_FEATURES_EXT, NULL, VK_FALSE};
    start_instance(OFFERED, "");
    ck_assert_int_eq(make_device("", &feature, NULL, &device), VK_SUCCESS);
    ck_assert_int_eq(status(), MT_VK_REPORT_DISABLED);
    ck_assert_uint_eq(driver->listener_count, 0);
    end_device();
}
END_TEST

START_TEST(without_the_extension_nothing_is_asked)
{
    start_device("", "");
    ck_assert_int_eq(status(), MT_VK_REPORT_ABSENT);
    ck_assert_uint_eq(driver->listener_count, 0);
    ck_assert_ptr_null(view_nth(segment, MT_VK_MEMORY_REPORT, 0));
    end_device();
}
END_TEST

START_TEST(switched_off_nothing_is_asked)
{
    start_device(OFFERED, "MEMTRACK_VULKAN_MEMORY_REPORT=off");
    ck_assert_int_eq(status(), MT_VK_REPORT_OFF);
    ck_assert_uint_eq(driver->listener_count, 0);
    end_device();
}
END_TEST

START_TEST(a_driver_that_refuses_makes_a_device_all_the_same)
{
    start_device(OFFERED ";fail_reports=1", "");
    ck_assert_int_eq(status(), MT_VK_REPORT_REFUSED);
    ck_assert_uint_eq(driver->device_count, 1);
    free_memory(allocate(4096, DEVICE_TYPE));
    end_device();
}
END_TEST

START_TEST(what_is_never_reported_as_freed_goes_with_the_device)
{
    start_device(OFFERED ";lost_reports=1", "");
    for (int i = 0; i < 3; i++) {
        vkDestroyDevice(device, NULL);
        ck_assert_int_eq(make_device("", NULL, NULL, &device), VK_SUCCESS);
    }
    const uint64_t *numbers = object_row(VK_OBJECT_TYPE_DEVICE);
    ck_assert_uint_eq(numbers[MT_VK_REPORT_LOST], 3);
    ck_assert_uint_eq(numbers[MT_VK_REPORT_ALLOCATIONS], 4);
    ck_assert_uint_eq(numbers[MT_VK_REPORT_CURRENT_BYTES], 1 << 20);
    ck_assert_uint_eq(view_count(segment, MT_VK_MEMORY_REPORT), 2);
    end_device();
    ck_assert_uint_eq(numbers[MT_VK_REPORT_CURRENT_BYTES], 0);
}
END_TEST

START_TEST(pools_and_reports_together)
{
    start_device(OFFERED, "MEMTRACK_VULKAN_POOL=tlsf");
    VkDeviceMemory memory = allocate(4096, DEVICE_TYPE);
    ck_assert(is_slice(memory));
    ck_assert_uint_ge(object_row(VK_OBJECT_TYPE_DEVICE_MEMORY)[MT_VK_REPORT_CURRENT_BYTES],
                      1 << 20); /* the chunk */
    free_memory(memory);
    end_device();
    ck_assert_uint_eq(object_row(VK_OBJECT_TYPE_DEVICE_MEMORY)[MT_VK_REPORT_CURRENT_BYTES], 0);
}
END_TEST

Suite *reports_suite(void)
{
    Suite *suite = suite_create("memory reports");
    TCase *cases = tcase_create("reports");
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, events_are_counted_by_object_and_heap);
    tcase_add_test(cases, imports_are_apart);
    tcase_add_test(cases, the_program_listens_too);
    tcase_add_test(cases, a_feature_that_the_program_leaves_off_stays_off);
    tcase_add_test(cases, without_the_extension_nothing_is_asked);
    tcase_add_test(cases, switched_off_nothing_is_asked);
    tcase_add_test(cases, a_driver_that_refuses_makes_a_device_all_the_same);
    tcase_add_test(cases, what_is_never_reported_as_freed_goes_with_the_device);
    tcase_add_test(cases, pools_and_reports_together);
    suite_add_tcase(suite, cases);
    return suite;
}
