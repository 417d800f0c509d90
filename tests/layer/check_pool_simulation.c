/*
 * Simulated heaps, failures and delays: what the program sees, what is
 * recorded of what failed, and nonsense in the options.
 */
#include "pool_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)

static void ask_budget(VkPhysicalDeviceMemoryBudgetPropertiesEXT *budget, VkPhysicalDeviceMemoryProperties2 *memory)
{
    *budget = (VkPhysicalDeviceMemoryBudgetPropertiesEXT){
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT};
    *memory = (VkPhysicalDeviceMemoryProperties2){.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2,
                                                  .pNext = budget};
    vkGetPhysicalDeviceMemoryProperties2(physical, memory);
}

START_TEST(limited_heaps_are_what_the_program_sees)
{
    VkPhysicalDeviceMemoryBudgetPropertiesEXT budget;
    VkPhysicalDeviceMemoryProperties2 memory;
    VkPhysicalDeviceMemoryProperties plain;
    start_device("", "MEMTRACK_VULKAN_HEAP_LIMIT=0:64M,1:100G");
    vkGetPhysicalDeviceMemoryProperties(physical, &plain);
    ck_assert_uint_eq(plain.memoryHeaps[0].size, 64 * MIB);
    ck_assert_uint_eq(plain.memoryHeaps[1].size, 16384 * MIB); /* a limit above the real size changes nothing */
    ask_budget(&budget, &memory);
    ck_assert_uint_eq(memory.memoryProperties.memoryHeaps[0].size, 64 * MIB);
    ck_assert_uint_eq(budget.heapBudget[0], 64 * MIB);
    ck_assert_uint_eq(budget.heapBudget[1], 16384 * MIB / 10 * 9);
    ck_assert_uint_eq(heap_row(0)->size_bytes, 64 * MIB);
    ck_assert(view_event(segment, "simulation", "memory heap 0 is limited to 67108864 bytes"));
    end_device();
}
END_TEST

START_TEST(nothing_changes_without_simulation)
{
    VkPhysicalDeviceMemoryProperties plain;
    start_device("", "MEMTRACK_VERBOSE=off");
    vkGetPhysicalDeviceMemoryProperties(physical, &plain);
    ck_assert_uint_eq(plain.memoryHeaps[0].size, 4096 * MIB);
    ck_assert(!view_event(segment, "simulation", ""));
    end_device();
}
END_TEST

START_TEST(a_full_heap_refuses_and_records_nothing_but_that)
{
    VkDeviceMemory first, second;
    start_device("", "MEMTRACK_VULKAN_HEAP_LIMIT=0:64M");
    first = allocate(40 * MIB, DEVICE_TYPE);
    ck_assert_int_eq(try_allocate(25 * MIB, DEVICE_TYPE, NULL, &second), VK_ERROR_OUT_OF_DEVICE_MEMORY);
    ck_assert_uint_eq(driver->allocate_count, 1);
    ck_assert_int_eq(heap_row(0)->current_bytes, 40 * MIB);
    ck_assert_uint_eq(heap_row(0)->allocation_count, 1);
    ck_assert_uint_eq(heap_row(0)->failed_count, 1);
    ck_assert_uint_eq(view_count(segment, MT_VK_MEMORY), 1);
    ck_assert(view_event(segment, "simulation", "the limited heap is full"));
    ck_assert(view_event(segment, "allocation-refused", "26214400 bytes of memory type 0 (heap 0)"));
    ck_assert(!view_event(segment, "staging-exhausted", ""));
    second = allocate(24 * MIB, DEVICE_TYPE);
    VkDeviceMemory other = allocate(300 * MIB, STAGING_TYPE); /* another heap */
    free_memory(first);
    first = allocate(40 * MIB, DEVICE_TYPE);
    free_memory(first);
    free_memory(second);
    free_memory(other);
    end_device();
}
END_TEST

START_TEST(a_full_staging_heap_is_told_as_such)
{
    VkDeviceMemory refused;
    start_device("", "MEMTRACK_VULKAN_HEAP_LIMIT=1:8M");
    VkDeviceMemory memory = allocate(8 * MIB, STAGING_TYPE);
    ck_assert(!view_event(segment, "staging-exhausted", "vkAllocateMemory"));
    ck_assert_int_eq(try_allocate(1, STAGING_TYPE, NULL, &refused), VK_ERROR_OUT_OF_DEVICE_MEMORY);
    ck_assert(view_event(segment, "staging-exhausted", "1 bytes of memory type 1 (heap 1)"));
    free_memory(memory);
    end_device();
}
END_TEST

START_TEST(imports_do_not_fill_a_heap)
{
    VkDeviceMemory memory;
    VkImportMemoryFdInfoKHR import = {.sType = VK_STRUCTURE_TYPE_IMPORT_MEMORY_FD_INFO_KHR,
                                      .handleType = VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT,
                                      .fd = -1};
    start_device("", "MEMTRACK_VULKAN_HEAP_LIMIT=0:1M");
    ck_assert_int_eq(try_allocate(8 * MIB, DEVICE_TYPE, &import, &memory), VK_SUCCESS);
    VkDeviceMemory own = allocate(MIB, DEVICE_TYPE);
    free_memory(memory);
    ck_assert_int_eq(try_allocate(1, DEVICE_TYPE, NULL, &memory), VK_ERROR_OUT_OF_DEVICE_MEMORY);
    free_memory(own);
    end_device();
}
END_TEST

START_TEST(devices_share_a_card_and_leaks_go_with_their_device)
{
    VkDevice second;
    VkDeviceMemory memory;
    start_device("", "MEMTRACK_VULKAN_HEAP_LIMIT=0:64M");
    ck_assert_int_eq(make_device("", NULL, NULL, &second), VK_SUCCESS);
    VkMemoryAllocateInfo info = {VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, NULL, 60 * MIB, DEVICE_TYPE};
    ck_assert_int_eq(vkAllocateMemory(second, &info, NULL, &memory), VK_SUCCESS);
    VkDeviceMemory refused;
    ck_assert_int_eq(try_allocate(5 * MIB, DEVICE_TYPE, NULL, &refused), VK_ERROR_OUT_OF_DEVICE_MEMORY);
    vkDestroyDevice(second, NULL); /* the memory is leaked */
    refused = allocate(60 * MIB, DEVICE_TYPE);
    free_memory(refused);
    vkDestroyDevice(device, NULL);
    vkDestroyInstance(instance, NULL);
}
END_TEST

START_TEST(a_failure_below_gives_the_bytes_back)
{
    VkDeviceMemory memory;
    start_device("fail_allocate=1+2+3", "MEMTRACK_VULKAN_HEAP_LIMIT=0:64M");
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(try_allocate(60 * MIB, DEVICE_TYPE, NULL, &memory), VK_ERROR_OUT_OF_DEVICE_MEMORY);
    memory = allocate(60 * MIB, DEVICE_TYPE);
    free_memory(memory);
    end_device();
}
END_TEST

static unsigned failures_among(unsigned calls, unsigned *first)
{
    unsigned failed = 0;
    for (unsigned i = 1; i <= calls; i++) {
        VkDeviceMemory memory;
        VkResult result = try_allocate(4096, DEVICE_TYPE, NULL, &memory);
        if (result == VK_SUCCESS)
            free_memory(memory);
        else {
            ck_assert_int_eq(result, VK_ERROR_OUT_OF_DEVICE_MEMORY);
            if (!failed++) *first = i;
        }
    }
    return failed;
}

START_TEST(one_allocation_fails)
{
    unsigned first = 0;
    start_device("", "MEMTRACK_VULKAN_FAIL=7");
    ck_assert_uint_eq(failures_among(50, &first), 1);
    ck_assert_uint_eq(first, 7);
    ck_assert_uint_eq(driver->allocate_count, 49);
    ck_assert_uint_eq(heap_row(0)->failed_count, 1);
    ck_assert_uint_eq(heap_row(0)->allocation_count, 49);
    ck_assert(view_event(segment, "simulation", "vkAllocateMemory is made to fail: 7"));
    end_device();
}
END_TEST

START_TEST(every_fifth_allocation_fails)
{
    unsigned first = 0;
    start_device("", "MEMTRACK_VULKAN_FAIL=every:5");
    ck_assert_uint_eq(failures_among(50, &first), 10);
    ck_assert_uint_eq(first, 5);
    end_device();
}
END_TEST

START_TEST(a_part_of_allocations_fails)
{
    unsigned first = 0;
    start_device("", "MEMTRACK_VULKAN_FAIL=rate:0.25");
    unsigned failed = failures_among(4000, &first);
    ck_assert_uint_gt(failed, 900);
    ck_assert_uint_lt(failed, 1100);
    end_device();
}
END_TEST

START_TEST(allocations_are_delayed)
{
    struct timespec before, after;
    start_device("", "MEMTRACK_VULKAN_DELAY=20000");
    clock_gettime(CLOCK_MONOTONIC, &before);
    free_memory(allocate(4096, DEVICE_TYPE));
    clock_gettime(CLOCK_MONOTONIC, &after);
    int64_t spent_ns = (after.tv_sec - before.tv_sec) * INT64_C(1000000000) + after.tv_nsec - before.tv_nsec;
    ck_assert_int_ge(spent_ns, 20000000);
    ck_assert(view_event(segment, "simulation", "delayed by 20000 us"));
    end_device();
}
END_TEST

static const char *const nonsense[] = {"MEMTRACK_VULKAN_HEAP_LIMIT=4G",
                                       "MEMTRACK_VULKAN_HEAP_LIMIT=0:0",
                                       "MEMTRACK_VULKAN_HEAP_LIMIT=16:1G",
                                       "MEMTRACK_VULKAN_HEAP_LIMIT=0:4G,",
                                       "MEMTRACK_VULKAN_HEAP_LIMIT=0:1G,0:2G",
                                       "MEMTRACK_VULKAN_HEAP_LIMIT=0:4Q",
                                       "MEMTRACK_VULKAN_HEAP_LIMIT=0:99999999999999999999",
                                       "MEMTRACK_VULKAN_FAIL=0",
                                       "MEMTRACK_VULKAN_FAIL=x",
                                       "MEMTRACK_VULKAN_FAIL=every:",
                                       "MEMTRACK_VULKAN_FAIL=rate:2",
                                       "MEMTRACK_VULKAN_FAIL=rate:0",
                                       "MEMTRACK_VULKAN_FAIL=5x"};

/* The line about it comes from the core, once for a session: see check_options. */
START_TEST(nonsense_simulates_nothing)
{
    start_device("", nonsense[_i]);
    for (int i = 0; i < 10; i++) free_memory(allocate(1 << 20, DEVICE_TYPE));
    ck_assert(!view_event(segment, "simulation", ""));
    end_device();
}
END_TEST

Suite *simulation_suite(void)
{
    Suite *suite = suite_create("simulation");
    TCase *cases = tcase_create("simulation");
    tcase_add_test(cases, limited_heaps_are_what_the_program_sees);
    tcase_add_test(cases, nothing_changes_without_simulation);
    tcase_add_test(cases, a_full_heap_refuses_and_records_nothing_but_that);
    tcase_add_test(cases, a_full_staging_heap_is_told_as_such);
    tcase_add_test(cases, imports_do_not_fill_a_heap);
    tcase_add_test(cases, devices_share_a_card_and_leaks_go_with_their_device);
    tcase_add_test(cases, a_failure_below_gives_the_bytes_back);
    tcase_add_test(cases, one_allocation_fails);
    tcase_add_test(cases, every_fifth_allocation_fails);
    tcase_add_test(cases, a_part_of_allocations_fails);
    tcase_add_test(cases, allocations_are_delayed);
    tcase_add_loop_test(cases, nonsense_simulates_nothing, 0, sizeof nonsense / sizeof *nonsense);
    suite_add_tcase(suite, cases);
    return suite;
}
