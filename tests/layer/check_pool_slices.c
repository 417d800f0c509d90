/*
 * Which allocations are pooled, where slices lie, what happens when they are
 * freed and when the driver refuses: every device and allocation that must be
 * passed through, growth, rest, release, fallback.
 */
#include "pool_support.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)

static void wait_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static char *map(VkDeviceMemory memory)
{
    void *data = NULL;
    ck_assert_int_eq(vkMapMemory(device, memory, 0, VK_WHOLE_SIZE, 0, &data), VK_SUCCESS);
    return data;
}

/* ---- which devices -------------------------------------------------------------------------- */

START_TEST(off_by_default)
{
    start_device("", "MEMTRACK_VERBOSE=off");
    VkDeviceMemory memory = allocate(4096, DEVICE_TYPE);
    ck_assert(!is_slice(memory));
    ck_assert_ptr_null(view_nth(segment, MT_VK_POOLS, 0));
    ck_assert_uint_eq(driver->allocate_count, 1);
    free_memory(memory);
    end_device();
}
END_TEST

static void expect_refusal(const char *part)
{
    ck_assert_uint_eq(pools_number(MT_VK_POOLS_MODE), MT_POOL_OFF);
    ck_assert_msg(strstr(pools_reason(), part) != NULL, "%s", pools_reason());
    ck_assert(view_event(segment, "pool", part));
    VkDeviceMemory memory = allocate(4096, DEVICE_TYPE);
    ck_assert(!is_slice(memory));
    free_memory(memory);
    end_device();
}

START_TEST(an_unknown_extension_keeps_a_device_unpooled)
{
    start_instance("extensions=VK_NV_external_memory_rdma", "MEMTRACK_VULKAN_POOL=tlsf");
    ck_assert_int_eq(make_device("VK_KHR_bind_memory2 VK_NV_external_memory_rdma", NULL, NULL, &device),
                     VK_SUCCESS);
    expect_refusal("extension VK_NV_external_memory_rdma is not on the allow-list");
}
END_TEST

START_TEST(sparse_binding_keeps_a_device_unpooled)
{
    VkPhysicalDeviceFeatures features = {.sparseBinding = VK_TRUE};
    start_instance("features=sparse", "MEMTRACK_VULKAN_POOL=tlsf");
    ck_assert_int_eq(make_device("", NULL, &features, &device), VK_SUCCESS);
    expect_refusal("feature sparseBinding");
}
END_TEST

START_TEST(a_reason_is_told_once)
{
    VkPhysicalDeviceFeatures features = {.sparseBinding = VK_TRUE};
    start_instance("features=sparse", "MEMTRACK_VULKAN_POOL=tlsf");
    for (unsigned i = 0; i < 50; i++) {
        ck_assert_int_eq(make_device("", NULL, &features, &device), VK_SUCCESS);
        vkDestroyDevice(device, NULL);
    }
    ck_assert_uint_eq(segment->event_count, 1);
    vkDestroyInstance(instance, NULL);
}
END_TEST

START_TEST(sparse_binding_in_the_chain_counts_too)
{
    VkPhysicalDeviceFeatures2 features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
                                          .features.sparseBinding = VK_TRUE};
    start_instance("features=sparse", "MEMTRACK_VULKAN_POOL=tlsf");
    ck_assert_int_eq(make_device("", &features, NULL, &device), VK_SUCCESS);
    expect_refusal("feature sparseBinding");
}
END_TEST

static const struct {
    int type;
    unsigned index; /* of the feature that is on */
    const char *name;
} single_features[] = {{1000257000, 1, "bufferDeviceAddressCaptureReplay"},
                       {1000412000, 0, "pageableDeviceLocalMemory"},
                       {1000272000, 0, "memoryMapPlaced"},
                       {1000284000, 0, "deviceMemoryReport"},
                       {1000354000, 0, "reportAddressBinding"}};

START_TEST(a_feature_of_single_allocations_keeps_a_device_unpooled)
{
    struct {
        VkStructureType sType;
        void *pNext;
        VkBool32 on[4];
    } features = {(VkStructureType)single_features[_i].type, NULL, {0}};
    features.on[single_features[_i].index] = VK_TRUE;
    start_instance("", "MEMTRACK_VULKAN_POOL=tlsf");
    ck_assert_int_eq(make_device("", &features, NULL, &device), VK_SUCCESS);
    expect_refusal(single_features[_i].name);
}
END_TEST

START_TEST(the_same_structures_with_nothing_enabled_do_not)
{
    VkPhysicalDeviceVulkan12Features features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
                                                 .bufferDeviceAddress = VK_TRUE};
    start_instance("", "MEMTRACK_VULKAN_POOL=tlsf");
    ck_assert_int_eq(make_device("", &features, NULL, &device), VK_SUCCESS);
    ck_assert_uint_eq(pools_number(MT_VK_POOLS_MODE), MT_POOL_TLSF);
    features.bufferDeviceAddressCaptureReplay = VK_TRUE;
    VkDevice second;
    ck_assert_int_eq(make_device("", &features, NULL, &second), VK_SUCCESS);
    ck_assert(view_event(segment, "pool", "bufferDeviceAddressCaptureReplay"));
    vkDestroyDevice(second, NULL);
    end_device();
}
END_TEST

START_TEST(a_device_group_is_unpooled)
{
    VkPhysicalDevice members[2];
    start_instance("", "MEMTRACK_VULKAN_POOL=tlsf");
    members[0] = members[1] = physical;
    VkDeviceGroupDeviceCreateInfo group = {VK_STRUCTURE_TYPE_DEVICE_GROUP_DEVICE_CREATE_INFO, NULL, 2, members};
    ck_assert_int_eq(make_device("", &group, NULL, &device), VK_SUCCESS);
    expect_refusal("a device group of 2");
}
END_TEST

START_TEST(a_tracing_tool_keeps_a_device_unpooled)
{
    start_device("tool=4", "MEMTRACK_VULKAN_POOL=tlsf");
    expect_refusal("mock tool");
}
END_TEST

START_TEST(a_capture_library_in_the_process_does_too)
{
    char line[2400], path[1024];
    start_instance("", "MEMTRACK_VULKAN_POOL=tlsf");
    snprintf(path, sizeof path, "%s/librenderdoc.so", session_directory());
    snprintf(line, sizeof line, "cp \"%s/tests/layer/mock_icd/libmock_icd.so\" \"%s\"", getenv("MEMTRACK_BUILD"),
             path);
    ck_assert_int_eq(system(line), 0);
    ck_assert_ptr_nonnull(dlopen(path, RTLD_NOW | RTLD_LOCAL));
    ck_assert_int_eq(make_device("", NULL, NULL, &device), VK_SUCCESS);
    expect_refusal("a capture tool is in the process: librenderdoc");
}
END_TEST

START_TEST(a_validating_tool_does_not)
{
    start_device("tool=1", "MEMTRACK_VULKAN_POOL=tlsf");
    ck_assert_uint_eq(pools_number(MT_VK_POOLS_MODE), MT_POOL_TLSF);
    end_device();
}
END_TEST

/* ---- which allocations -------------------------------------------------------------------------- */

static void expect_miss(const void *chain, uint64_t bytes, uint32_t type, enum mt_vulkan_pool_miss reason)
{
    VkDeviceMemory memory;
    uint64_t before = misses(reason);
    ck_assert_int_eq(try_allocate(bytes, type, chain, &memory), VK_SUCCESS);
    ck_assert(!is_slice(memory));
    ck_assert_uint_eq(misses(reason), before + 1);
    free_memory(memory);
}

START_TEST(what_must_be_passed_through_is)
{
    start_device("", "MEMTRACK_VULKAN_POOL=tlsf");
    VkImage image = create_image(16);
    VkMemoryDedicatedAllocateInfo dedicated = {VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO, NULL, image,
                                               VK_NULL_HANDLE};
    VkExportMemoryAllocateInfo exported = {VK_STRUCTURE_TYPE_EXPORT_MEMORY_ALLOCATE_INFO, NULL,
                                           VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT};
    VkImportMemoryFdInfoKHR imported = {VK_STRUCTURE_TYPE_IMPORT_MEMORY_FD_INFO_KHR, NULL,
                                        VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT, -1};
    VkMemoryAllocateFlagsInfo mask = {VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO, NULL,
                                      VK_MEMORY_ALLOCATE_DEVICE_MASK_BIT, 1};
    VkMemoryOpaqueCaptureAddressAllocateInfo capture = {
        VK_STRUCTURE_TYPE_MEMORY_OPAQUE_CAPTURE_ADDRESS_ALLOCATE_INFO, NULL, 4096};
    VkMemoryPriorityAllocateInfoEXT priority = {VK_STRUCTURE_TYPE_MEMORY_PRIORITY_ALLOCATE_INFO_EXT, NULL, 0.5f};
    VkBaseInStructure unknown = {(VkStructureType)1999999000, NULL};
    expect_miss(&dedicated, 4096, DEVICE_TYPE, MT_VK_MISS_DEDICATED);
    expect_miss(&exported, 4096, DEVICE_TYPE, MT_VK_MISS_EXTERNAL);
    expect_miss(&imported, 4096, DEVICE_TYPE, MT_VK_MISS_EXTERNAL);
    expect_miss(&mask, 4096, DEVICE_TYPE, MT_VK_MISS_FLAGS);
    expect_miss(&capture, 4096, DEVICE_TYPE, MT_VK_MISS_FLAGS);
    expect_miss(&priority, 4096, DEVICE_TYPE, MT_VK_MISS_PRIORITY);
    expect_miss(&unknown, 4096, DEVICE_TYPE, MT_VK_MISS_STRUCTURE);
    expect_miss(NULL, 4096, LAZY_TYPE, MT_VK_MISS_TYPE);
    expect_miss(NULL, 4096, INCOHERENT_TYPE, MT_VK_MISS_TYPE);
    expect_miss(NULL, 17 * MIB, DEVICE_TYPE, MT_VK_MISS_SIZE);
    expect_miss(NULL, 9 * MIB, STAGING_TYPE, MT_VK_MISS_SIZE);
    vkDestroyImage(device, image, NULL);
    ck_assert_uint_eq(pool_sum(MT_VK_POOL_HITS), 0);
    end_device();
}
END_TEST

START_TEST(harmless_structures_are_pooled)
{
    start_device("", "MEMTRACK_VULKAN_POOL=tlsf");
    VkExportMemoryAllocateInfo exported = {VK_STRUCTURE_TYPE_EXPORT_MEMORY_ALLOCATE_INFO, NULL, 0};
    VkMemoryOpaqueCaptureAddressAllocateInfo capture = {
        VK_STRUCTURE_TYPE_MEMORY_OPAQUE_CAPTURE_ADDRESS_ALLOCATE_INFO, &exported, 0};
    VkMemoryAllocateFlagsInfo address = {VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO, &capture,
                                         VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT, 0};
    VkDeviceMemory with, without;
    ck_assert_int_eq(try_allocate(4096, DEVICE_TYPE, &address, &with), VK_SUCCESS);
    ck_assert_int_eq(try_allocate(4096, DEVICE_TYPE, &capture, &without), VK_SUCCESS);
    ck_assert(is_slice(with) && is_slice(without));
    ck_assert_uint_eq(view_count(segment, MT_VK_POOL), 2); /* memory with device addresses is a pool of its own */
    free_memory(with);
    free_memory(without);
    end_device();
}
END_TEST

/* ---- slices --------------------------------------------------------------------------------------------- */

static const char *const modes[] = {"MEMTRACK_VULKAN_POOL=tlsf", "MEMTRACK_VULKAN_POOL=arena",
                                    "MEMTRACK_VULKAN_POOL=verify"};

START_TEST(the_record_is_that_of_the_program)
{
    start_device("", modes[_i]);
    VkDeviceMemory memory = allocate(10000, STAGING_TYPE);
    const struct mt_object *record = view_handle(segment, MT_VK_MEMORY, MOCK_HANDLE(memory));
    ck_assert_ptr_nonnull(record);
    ck_assert_uint_eq(record->size_bytes, 10000);
    ck_assert(record->attr[MT_VK_MEMORY_FLAGS] & MT_VK_MEMORY_IS_SLICE);
    ck_assert_int_eq(heap_row(1)->current_bytes, 10000);
    ck_assert_uint_eq(pool_sum(MT_VK_POOL_REQUESTED_BYTES), 10000);
    ck_assert_uint_eq(pool_sum(MT_VK_POOL_SLICE_BYTES), 64 * KIB);
    ck_assert_uint_eq(pool_sum(MT_VK_POOL_CHUNK_BYTES), driver->live_memory_bytes);
    ck_assert_uint_eq(pool_sum(MT_VK_POOL_HITS), 1);
    free_memory(memory);
    ck_assert_int_eq(heap_row(1)->current_bytes, 0);
    ck_assert_uint_eq(view_count(segment, MT_VK_MEMORY), 0);
    end_device();
}
END_TEST

START_TEST(slices_share_a_chunk_and_do_not_overlap)
{
    VkDeviceMemory memory[16];
    start_device("", modes[_i]);
    uint64_t calls = 0;
    for (unsigned i = 0; i < 16; i++) {
        memory[i] = allocate(70000, STAGING_TYPE);
        if (!i) calls = driver->allocate_count;
        memset(map(memory[i]), (int)i + 1, 70000);
    }
    ck_assert_uint_eq(driver->allocate_count, calls);
    for (unsigned i = 0; i < 16; i++) {
        vkUnmapMemory(device, memory[i]);
        char *data = map(memory[i]);
        for (unsigned at = 0; at < 70000; at++) ck_assert_int_eq(data[at], (int)i + 1);
    }
    for (unsigned i = 0; i < 16; i++) free_memory(memory[i]); /* still mapped: legal */
    end_device();
}
END_TEST

START_TEST(memory_used_again_is_clear)
{
    start_device("", modes[_i]);
    VkDeviceMemory fence = allocate(4096, STAGING_TYPE);
    for (unsigned round = 0; round < 200; round++) {
        VkDeviceMemory memory = allocate(300000, STAGING_TYPE);
        char *data = map(memory);
        for (unsigned at = 0; at < 300000; at += 997) ck_assert_int_eq(data[at], 0);
        memset(data, 0x77, 300000);
        free_memory(memory);
    }
    free_memory(fence);
    end_device();
}
END_TEST

START_TEST(freed_slices_rest)
{
    start_device("", "MEMTRACK_VULKAN_POOL=tlsf MEMTRACK_VULKAN_POOL_REST=6");
    VkDeviceMemory fence = allocate(4096, STAGING_TYPE), first = allocate(4096, STAGING_TYPE);
    char *place = map(first);
    free_memory(first);
    ck_assert_uint_eq(pool_sum(MT_VK_POOL_RESTING_BYTES), 64 * KIB);
    VkDeviceMemory second = allocate(4096, STAGING_TYPE);
    ck_assert_ptr_ne(map(second), place);
    wait_ms(200); /* without frames, six sixtieths of a second and the clock's grain */
    bool is_used_again = false;
    for (unsigned i = 0; i < 4; i++) is_used_again |= map(allocate(4096, STAGING_TYPE)) == place;
    ck_assert(is_used_again);
    ck_assert_uint_eq(pool_sum(MT_VK_POOL_RESTING_BYTES), 0);
    free_memory(fence);
    free_memory(second);
    end_device();
}
END_TEST

START_TEST(an_arena_never_hands_out_a_byte_twice)
{
    /* Device memory cannot be looked into, so the places are compared through bindings. */
    static unsigned char used[4096];
    start_device("", "MEMTRACK_VULKAN_POOL=arena MEMTRACK_VULKAN_POOL_REST=0");
    VkDeviceMemory fence = allocate(4096, DEVICE_TYPE);
    for (unsigned i = 0; i < 60; i++) {
        VkBuffer buffer = create_buffer(4096);
        VkDeviceMemory memory = allocate(4096, DEVICE_TYPE);
        ck_assert_int_eq(vkBindBufferMemory(device, buffer, memory, 0), VK_SUCCESS);
        ck_assert_uint_eq(used[driver->last_bind_offset / (64 * KIB)]++, 0);
        vkDestroyBuffer(device, buffer, NULL);
        free_memory(memory);
    }
    ck_assert_uint_eq(pool_sum(MT_VK_POOL_UNCLEARED), 0);
    ck_assert_uint_eq(pool_sum(MT_VK_POOL_CHUNKS), 1);
    free_memory(fence);
    end_device();
}
END_TEST

START_TEST(a_full_and_empty_arena_goes_back_to_the_driver)
{
    start_device("", "MEMTRACK_VULKAN_POOL=arena MEMTRACK_VULKAN_POOL_REST=0");
    for (unsigned i = 0; i < 1000; i++) free_memory(allocate(MIB, DEVICE_TYPE));
    ck_assert_uint_le(pool_sum(MT_VK_POOL_CHUNKS), 2);
    ck_assert_uint_gt(pool_sum(MT_VK_POOL_CHUNK_CALLS) >> 32, 10); /* freed chunks */
    ck_assert_uint_eq(driver->live_memory_bytes, pool_sum(MT_VK_POOL_CHUNK_BYTES));
    end_device();
}
END_TEST

START_TEST(chunks_grow_and_are_released)
{
    enum { COUNT = 3000 };
    static VkDeviceMemory memory[COUNT];
    start_device("", modes[_i]);
    for (unsigned i = 0; i < COUNT; i++) memory[i] = allocate(64 * KIB, DEVICE_TYPE);
    ck_assert_uint_ge(pool_sum(MT_VK_POOL_CHUNKS), 4); /* 4, 8, 16, 32, 64, 64 MiB */
    ck_assert_uint_eq(pool_sum(MT_VK_POOL_CHUNK_BYTES), driver->live_memory_bytes);
    for (unsigned i = 0; i < COUNT; i++) free_memory(memory[i]);
    wait_ms(120);
    for (unsigned i = 0; i < COUNT / 4; i++) free_memory(allocate(4096, DEVICE_TYPE));
    ck_assert_uint_lt(pool_sum(MT_VK_POOL_CHUNK_BYTES), pool_sum(MT_VK_POOL_PEAK_CHUNK_BYTES));
    ck_assert_uint_ge(pool_sum(MT_VK_POOL_CHUNK_CALLS) >> 32, 3);
    ck_assert_uint_eq(pool_sum(MT_VK_POOL_CHUNK_BYTES), driver->live_memory_bytes);
    end_device();
}
END_TEST

START_TEST(a_small_heap_gets_small_chunks)
{
    start_device("heaps=256M:local,1G;types=0:local,1:visible+coherent", modes[_i]);
    VkDeviceMemory memory = allocate(64 * KIB, DEVICE_TYPE);
    ck_assert(is_slice(memory));
    ck_assert_uint_le(driver->live_memory_bytes, 4 * MIB); /* 1/64 of the heap */
    free_memory(memory);
    end_device();
}
END_TEST

START_TEST(a_tiny_heap_is_not_pooled)
{
    start_device("heaps=63M:local,1G;types=0:local,1:visible+coherent", "MEMTRACK_VULKAN_POOL=tlsf");
    expect_miss(NULL, 4096, DEVICE_TYPE, MT_VK_MISS_TYPE);
    end_device();
}
END_TEST

/* ---- when the driver refuses ------------------------------------------------------------------------------- */

START_TEST(a_refused_chunk_leaves_the_allocation_itself)
{
    start_device("fail_larger=1000000", modes[_i]);
    VkDeviceMemory memory = allocate(4096, DEVICE_TYPE);
    ck_assert(!is_slice(memory));
    ck_assert_uint_eq(misses(MT_VK_MISS_CHUNK), 1);
    free_memory(memory);
    memory = allocate(4096, DEVICE_TYPE); /* and the driver is not asked for a chunk each time */
    ck_assert_uint_eq(misses(MT_VK_MISS_CHUNK), 2);
    free_memory(memory);
    end_device();
}
END_TEST

START_TEST(a_chunk_that_cannot_be_mapped_is_given_back)
{
    start_device("fail_map=1", modes[_i]);
    VkDeviceMemory memory = allocate(4096, STAGING_TYPE);
    ck_assert_uint_eq(driver->live_memory_count, 1);
    free_memory(memory);
    end_device();
}
END_TEST

START_TEST(empty_chunks_are_given_back_before_an_error_is)
{
    VkDeviceMemory memory;
    char script[64];
    start_device("", modes[_i]);
    free_memory(allocate(4096, STAGING_TYPE));
    ck_assert_uint_ge(driver->live_memory_count, 1);
    snprintf(script, sizeof script, "fail_allocate=%lu", (unsigned long)driver->allocate_count + 1);
    set_driver(script);
    ck_assert_int_eq(try_allocate(100 * MIB, DEVICE_TYPE, NULL, &memory), VK_SUCCESS);
    ck_assert_uint_eq(driver->live_memory_count, 1); /* the staging chunk is gone */
    free_memory(memory);
    ck_assert(!view_event(segment, "allocation-refused", "")); /* the program saw no error */
    end_device();
}
END_TEST

START_TEST(the_drivers_error_is_the_programs)
{
    VkDeviceMemory memory;
    start_device("", modes[_i]);
    VkDeviceMemory held = allocate(4096, STAGING_TYPE);
    set_driver("fail_allocate_from=1");
    ck_assert_int_eq(try_allocate(100 * MIB, DEVICE_TYPE, NULL, &memory), VK_ERROR_OUT_OF_DEVICE_MEMORY);
    ck_assert_int_eq(try_allocate(4096, DEVICE_TYPE, NULL, &memory), VK_ERROR_OUT_OF_DEVICE_MEMORY);
    ck_assert_uint_eq(heap_row(0)->failed_count, 2);
    set_driver("fail_allocate_from=0");
    free_memory(held);
    end_device();
}
END_TEST

START_TEST(a_handle_of_the_drivers_that_looks_like_a_slice_is_not_given_out)
{
    char script[64];
    start_device("", "MEMTRACK_VULKAN_POOL=tlsf");
    VkDeviceMemory slice = allocate(4096, DEVICE_TYPE);
    uint64_t live = driver->live_memory_count;
    snprintf(script, sizeof script, "alias=%lu", (unsigned long)(MOCK_HANDLE(slice) + 4096));
    set_driver(script);
    VkDeviceMemory own = allocate(100 * MIB, DEVICE_TYPE);
    ck_assert(!is_slice(own));
    ck_assert_uint_eq(driver->config.alias, 0); /* it was given out, and back */
    ck_assert_uint_eq(driver->live_memory_count, live + 1);
    free_memory(own);
    free_memory(slice);
    end_device();
}
END_TEST

/* ---- errors of the program, and ends --------------------------------------------------------------------------
 */

START_TEST(a_second_free_is_counted_and_harmless)
{
    void *data;
    start_device("", modes[_i]);
    VkBuffer buffer = create_buffer(4096);
    VkDeviceMemory memory = allocate(4096, STAGING_TYPE);
    free_memory(memory);
    free_memory(memory);
    ck_assert_uint_eq(pools_number(MT_VK_POOLS_STALE), 1);
    ck_assert_int_eq(vkBindBufferMemory(device, buffer, memory, 0), VK_ERROR_OUT_OF_DEVICE_MEMORY);
    ck_assert_int_eq(vkMapMemory(device, memory, 0, VK_WHOLE_SIZE, 0, &data), VK_ERROR_MEMORY_MAP_FAILED);
    ck_assert(view_event(segment, "pool", "device memory was used after vkFreeMemory"));
    vkDestroyBuffer(device, buffer, NULL);
    ck_assert_uint_eq(driver->breach_count, 0);
    vkDestroyDevice(device, NULL);
    vkDestroyInstance(instance, NULL);
}
END_TEST

START_TEST(a_device_ends_with_everything_alive)
{
    start_device("", modes[_i]);
    for (unsigned i = 0; i < 100; i++) {
        VkBuffer buffer = create_buffer(4096);
        ck_assert_int_eq(vkBindBufferMemory(device, buffer, allocate(4096, i % 2 ? DEVICE_TYPE : STAGING_TYPE), 0),
                         VK_SUCCESS);
    }
    end_device();
    ck_assert_uint_eq(view_nth(segment, MT_VK_DEVICE, 0)->attr[MT_VK_DEVICE_LEAKED], 100);
}
END_TEST

/* But for a few pages of what threads learn of call stacks, whenever they first meet one: no 64 bytes for each
 * device. */
START_TEST(a_thousand_devices_leave_no_more_than_one)
{
    enum { LEARNT = 16 * 4096 };
    start_device("", modes[_i]);
    uint64_t first = 0;
    for (unsigned i = 0; i < 1000; i++) {
        free_memory(allocate(4096, DEVICE_TYPE));
        free_memory(allocate(4096, STAGING_TYPE));
        vkDestroyDevice(device, NULL);
        if (i == 2) first = segment->globals.private_bytes;
        ck_assert_int_eq(make_device("", NULL, NULL, &device), VK_SUCCESS);
    }
    vkDestroyDevice(device, NULL);
    ck_assert_uint_eq(view_count(segment, MT_VK_POOLS), 1);
    ck_assert_uint_eq(view_count(segment, MT_VK_POOL), 2);
    ck_assert_uint_eq(pool_sum(MT_VK_POOL_HITS), 2000);
    ck_assert_uint_le(segment->globals.private_bytes, first + LEARNT);
    ck_assert_uint_eq(driver->live_memory_count, 0);
    device = VK_NULL_HANDLE;
    vkDestroyInstance(instance, NULL);
}
END_TEST

START_TEST(a_million_cycles_do_not_grow)
{
    start_device("", modes[_i]);
    for (unsigned i = 0; i < 20000; i++) free_memory(allocate(4096, DEVICE_TYPE));
    uint64_t bytes = segment->globals.private_bytes, used = segment->used_bytes;
    for (unsigned i = 0; i < 1000000; i++) free_memory(allocate(4096, DEVICE_TYPE));
    ck_assert_uint_le(segment->globals.private_bytes, bytes + (1 << 20));           /* the slices at rest */
    ck_assert_uint_le(segment->used_bytes, used + 2 * sizeof(struct mt_histogram)); /* of rare calls, once */
    ck_assert_uint_eq(pool_sum(MT_VK_POOL_HITS), 1020000);
    end_device();
}
END_TEST

START_TEST(simulation_and_pools_work_together)
{
    VkDeviceMemory memory;
    start_device("", "MEMTRACK_VULKAN_POOL=tlsf MEMTRACK_VULKAN_HEAP_LIMIT=0:512M MEMTRACK_VULKAN_FAIL=3");
    memory = allocate(4096, DEVICE_TYPE);
    ck_assert(is_slice(memory));
    ck_assert_int_eq(try_allocate(512 * MIB, DEVICE_TYPE, NULL, &memory), VK_ERROR_OUT_OF_DEVICE_MEMORY);
    ck_assert_int_eq(try_allocate(4096, DEVICE_TYPE, NULL, &memory), VK_ERROR_OUT_OF_DEVICE_MEMORY);
    ck_assert_int_eq(try_allocate(4096, DEVICE_TYPE, NULL, &memory), VK_SUCCESS);
    ck_assert_uint_eq(heap_row(0)->failed_count, 2);
    end_device();
}
END_TEST

Suite *pool_suite(void)
{
    Suite *suite = suite_create("pool");
    TCase *cases = tcase_create("slices");
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, off_by_default);
    tcase_add_test(cases, an_unknown_extension_keeps_a_device_unpooled);
    tcase_add_test(cases, sparse_binding_keeps_a_device_unpooled);
    tcase_add_test(cases, a_reason_is_told_once);
    tcase_add_test(cases, sparse_binding_in_the_chain_counts_too);
    tcase_add_loop_test(cases, a_feature_of_single_allocations_keeps_a_device_unpooled, 0,
                        sizeof single_features / sizeof *single_features);
    tcase_add_test(cases, the_same_structures_with_nothing_enabled_do_not);
    tcase_add_test(cases, a_device_group_is_unpooled);
    tcase_add_test(cases, a_tracing_tool_keeps_a_device_unpooled);
    tcase_add_test(cases, a_capture_library_in_the_process_does_too);
    tcase_add_test(cases, a_validating_tool_does_not);
    tcase_add_test(cases, what_must_be_passed_through_is);
    tcase_add_test(cases, harmless_structures_are_pooled);
    tcase_add_test(cases, a_tiny_heap_is_not_pooled);
    tcase_add_test(cases, a_handle_of_the_drivers_that_looks_like_a_slice_is_not_given_out);
    tcase_add_test(cases, freed_slices_rest);
    tcase_add_test(cases, an_arena_never_hands_out_a_byte_twice);
    tcase_add_test(cases, a_full_and_empty_arena_goes_back_to_the_driver);
    tcase_add_test(cases, simulation_and_pools_work_together);
    const TTest *const in_each_mode[] = {the_record_is_that_of_the_program,
                                         slices_share_a_chunk_and_do_not_overlap,
                                         memory_used_again_is_clear,
                                         chunks_grow_and_are_released,
                                         a_small_heap_gets_small_chunks,
                                         a_refused_chunk_leaves_the_allocation_itself,
                                         a_chunk_that_cannot_be_mapped_is_given_back,
                                         empty_chunks_are_given_back_before_an_error_is,
                                         the_drivers_error_is_the_programs,
                                         a_second_free_is_counted_and_harmless,
                                         a_device_ends_with_everything_alive,
                                         a_thousand_devices_leave_no_more_than_one,
                                         a_million_cycles_do_not_grow};
    for (unsigned i = 0; i < sizeof in_each_mode / sizeof *in_each_mode; i++)
        tcase_add_loop_test(cases, in_each_mode[i], 0, sizeof modes / sizeof *modes);
    suite_add_tcase(suite, cases);
    return suite;
}
