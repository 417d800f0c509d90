/*
 * Device memory: counters, chains, handles, mappings and names, in tests that
 * are a process each.
 */
#include "layer_support.h"

#include <string.h>
#include <unistd.h>

/* ---- memory ----------------------------------------------------------------------------------- */

START_TEST(memory_is_counted_on_its_heap_and_type)
{
    VkDeviceMemory a = allocate(1000, 0), b = allocate(500, 2), c = allocate(70, 1);
    check_heap(MT_HEAP_DEVICE_HEAP, 0, 1500, 2, 1500, 1500);
    check_heap(MT_HEAP_DEVICE_HEAP, 1, 70, 1, 70, 70);
    check_heap(MT_HEAP_DEVICE_TYPE, 0, 1000, 1, 1000, 1000);
    check_heap(MT_HEAP_DEVICE_TYPE, 2, 500, 1, 500, 500);
    const struct mt_object *record = RECORD(MT_VK_MEMORY, b);
    ck_assert_uint_eq(record->size_bytes, 500);
    ck_assert_uint_eq(record->attr[MT_VK_MEMORY_TYPE], 2);
    ck_assert_uint_eq(record->attr[MT_VK_MEMORY_HEAP], 0);
    ck_assert_int_eq(record->create_tid, getpid());
    ck_assert_uint_eq(segment->heaps[record->heap - 1].index, 2);
    free_memory(a);
    free_memory(b);
    free_memory(c);
    check_heap(MT_HEAP_DEVICE_HEAP, 0, 0, 0, 1500, 1500);
    ck_assert_uint_eq(view_count(segment, MT_VK_MEMORY), 0);
    ck_assert_uint_eq(view_histogram(segment, "vkAllocateMemory type 0")->count, 1);
    ck_assert_uint_eq(view_histogram(segment, "vkFreeMemory type 2")->count, 1);
    ck_assert_ptr_null(view_histogram(segment, "vkMapMemory type 0"));
}
END_TEST

START_TEST(failed_allocations_are_counted_as_failed_only)
{
    VkMemoryAllocateInfo info = {VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, NULL, 1000, 0};
    VkDeviceMemory memory = VK_NULL_HANDLE;
    fake.fail = VK_ERROR_OUT_OF_DEVICE_MEMORY;
    ck_assert_int_eq(DEVICE_COMMAND(device, AllocateMemory)(device, &info, NULL, &memory),
                     VK_ERROR_OUT_OF_DEVICE_MEMORY);
    check_heap(MT_HEAP_DEVICE_HEAP, 0, 0, 0, 0, 0);
    ck_assert_uint_eq(view_heap(segment, MT_HEAP_DEVICE_HEAP, 0, 0)->failed_count, 1);
    ck_assert_uint_eq(view_heap(segment, MT_HEAP_DEVICE_TYPE, 0, 0)->failed_count, 1);
    ck_assert_uint_eq(view_count(segment, MT_VK_MEMORY), 0);
    info.memoryTypeIndex = 31; /* there is none: the program's error */
    DEVICE_COMMAND(device, AllocateMemory)(device, &info, NULL, &memory);
    info.memoryTypeIndex = 77777;
    DEVICE_COMMAND(device, AllocateMemory)(device, &info, NULL, &memory);
}
END_TEST

START_TEST(imports_are_counted_apart)
{
    VkImportMemoryFdInfoKHR fd = {VK_STRUCTURE_TYPE_IMPORT_MEMORY_FD_INFO_KHR, NULL,
                                  VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT, 5};
    VkImportMemoryHostPointerInfoEXT host = {VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT, NULL,
                                             VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT, &fd};
    VkDeviceMemory a = allocate_on(device, 4096, 0, &fd), b = allocate_on(device, 8192, 1, &host);
    fd.handleType = 0; /* imports nothing */
    VkDeviceMemory c = allocate_on(device, 100, 0, &fd);
    check_heap(MT_HEAP_DEVICE_IMPORT, 0, 12288, 2, 12288, 12288);
    check_heap(MT_HEAP_DEVICE_HEAP, 0, 100, 1, 100, 100);
    check_heap(MT_HEAP_DEVICE_TYPE, 1, 0, 0, 0, 0);
    ck_assert_uint_eq(RECORD(MT_VK_MEMORY, a)->attr[MT_VK_MEMORY_IMPORT_TYPE],
                      VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT);
    ck_assert_uint_ne(RECORD(MT_VK_MEMORY, b)->attr[MT_VK_MEMORY_FLAGS] & MT_VK_MEMORY_IS_IMPORT, 0);
    ck_assert_uint_eq(RECORD(MT_VK_MEMORY, c)->attr[MT_VK_MEMORY_FLAGS], 0);
    free_memory(a);
    free_memory(b);
    free_memory(c);
    check_heap(MT_HEAP_DEVICE_IMPORT, 0, 0, 0, 12288, 12288);
    check_heap(MT_HEAP_DEVICE_HEAP, 0, 0, 0, 100, 100);
}
END_TEST

START_TEST(allocation_chains_are_noted)
{
    VkMemoryDedicatedAllocateInfo dedicated = {VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO, NULL,
                                               VK_NULL_HANDLE, (VkBuffer)0x77};
    VkMemoryPriorityAllocateInfoEXT priority = {VK_STRUCTURE_TYPE_MEMORY_PRIORITY_ALLOCATE_INFO_EXT, &dedicated,
                                                0.75f};
    VkExportMemoryAllocateInfo exported = {VK_STRUCTURE_TYPE_EXPORT_MEMORY_ALLOCATE_INFO, &priority,
                                           VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT};
    VkMemoryAllocateFlagsInfo flags = {VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO, &exported,
                                       VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT, 0};
    VkBaseInStructure unknown = {(VkStructureType)1999999999, (const VkBaseInStructure *)&flags};
    const struct mt_object *record = RECORD(MT_VK_MEMORY, allocate_on(device, 100, 0, &unknown));
    ck_assert_uint_eq(record->attr[MT_VK_MEMORY_FLAGS] & UINT32_MAX,
                      MT_VK_MEMORY_IS_DEDICATED | MT_VK_MEMORY_FOR_BUFFER | MT_VK_MEMORY_HAS_PRIORITY |
                          MT_VK_MEMORY_IS_EXPORT | MT_VK_MEMORY_HAS_ADDRESS | MT_VK_MEMORY_OTHER_PNEXT);
    ck_assert_uint_eq(record->attr[MT_VK_MEMORY_FLAGS] >> 32, 1999999999);
    ck_assert_uint_eq(record->attr[MT_VK_MEMORY_DEDICATED], 0x77);
    ck_assert_uint_eq(record->attr[MT_VK_MEMORY_PRIORITY], 0x3f400000);
    ck_assert_uint_eq(record->attr[MT_VK_MEMORY_EXPORT_TYPES], VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT);
    DEVICE_COMMAND(device, SetDeviceMemoryPriorityEXT)(device, (VkDeviceMemory)record->handle, 1.0f);
    ck_assert_uint_eq(record->attr[MT_VK_MEMORY_PRIORITY], 0x3f800000);
}
END_TEST

START_TEST(null_handles_pass_through)
{
    free_memory(VK_NULL_HANDLE);
    destroy_buffer(VK_NULL_HANDLE);
    DEVICE_COMMAND(device, DestroyImage)(device, VK_NULL_HANDLE, NULL);
    DEVICE_COMMAND(device, DestroySwapchainKHR)(device, VK_NULL_HANDLE, NULL);
    ck_assert_uint_eq(fake.calls.FreeMemory, 1);
    ck_assert_uint_eq(fake.calls.DestroyBuffer, 1);
    ck_assert_uint_eq(fake.calls.DestroyImage, 1);
    ck_assert_uint_eq(fake.calls.DestroySwapchainKHR, 1);
    ck_assert_uint_eq(DEVICE_FLAG(MT_VK_DEVICE_UNKNOWN_FREES), 0);
}
END_TEST

START_TEST(unknown_handles_are_counted_and_passed_on)
{
    free_memory((VkDeviceMemory)0x999);
    destroy_buffer((VkBuffer)0x999);
    DEVICE_COMMAND(device, BindBufferMemory)(device, (VkBuffer)0x999, (VkDeviceMemory)0x998, 0);
    ck_assert_uint_eq(fake.calls.FreeMemory, 1);
    ck_assert_uint_eq(DEVICE_FLAG(MT_VK_DEVICE_UNKNOWN_FREES), 3);
    check_heap(MT_HEAP_DEVICE_HEAP, 0, 0, 0, 0, 0);
}
END_TEST

START_TEST(a_handle_value_may_come_back)
{
    fake.handle_step = 0;
    for (uint64_t i = 1; i <= 100; i++) {
        VkDeviceMemory memory = allocate(i, 0);
        ck_assert_uint_eq(RECORD(MT_VK_MEMORY, memory)->size_bytes, i);
        free_memory(memory);
    }
    check_heap(MT_HEAP_DEVICE_HEAP, 0, 0, 0, 100, 5050);
    allocate(1, 0);
    VkDeviceMemory twin = allocate(1, 0); /* two live objects with one value */
    free_memory(twin);
    free_memory(twin);
    check_heap(MT_HEAP_DEVICE_HEAP, 0, 0, 0, 100, 5052);
}
END_TEST

static VkDeviceMemory victim;

static void free_victim(VkDevice on)
{
    DEVICE_COMMAND(on, FreeMemory)(on, victim, NULL);
}

START_TEST(no_lock_is_held_across_a_call_down)
{
    fake.handle_step = 0; /* the same shard */
    victim = allocate(10, 0);
    fake.during_allocate = free_victim; /* would deadlock */
    allocate(20, 0);
    check_heap(MT_HEAP_DEVICE_HEAP, 0, 20, 1, 20, 30);
}
END_TEST

START_TEST(mappings)
{
    VkDeviceMemory memory = allocate(1000, 1);
    const struct mt_object *record = RECORD(MT_VK_MEMORY, memory);
    void *data;
    ck_assert_int_eq(DEVICE_COMMAND(device, MapMemory)(device, memory, 100, VK_WHOLE_SIZE, 0, &data), VK_SUCCESS);
    ck_assert_uint_ne(record->attr[MT_VK_MEMORY_FLAGS] & MT_VK_MEMORY_IS_MAPPED, 0);
    ck_assert_uint_eq(record->attr[MT_VK_MEMORY_MAP_OFFSET], 100);
    ck_assert_uint_eq(record->attr[MT_VK_MEMORY_MAP_BYTES], 900);
    DEVICE_COMMAND(device, UnmapMemory)(device, memory);
    ck_assert_uint_eq(record->attr[MT_VK_MEMORY_FLAGS] & MT_VK_MEMORY_IS_MAPPED, 0);
    VkMemoryMapInfoKHR map = {.memory = memory, .offset = 0, .size = 64};
    VkMemoryUnmapInfoKHR unmap = {.memory = memory};
    ck_assert_int_eq(DEVICE_COMMAND(device, MapMemory2KHR)(device, &map, &data), VK_SUCCESS);
    ck_assert_uint_eq(record->attr[MT_VK_MEMORY_MAP_BYTES], 64);
    ck_assert_int_eq(DEVICE_COMMAND(device, UnmapMemory2)(device, &unmap), VK_SUCCESS);
    ck_assert_uint_eq(record->attr[MT_VK_MEMORY_MAP_BYTES], 0);
    ck_assert_int_eq(DEVICE_COMMAND(device, MapMemory2)(device, &map, &data), VK_SUCCESS);
    fake.fail = VK_ERROR_MEMORY_MAP_FAILED;
    ck_assert_int_eq(DEVICE_COMMAND(device, UnmapMemory2KHR)(device, &unmap), VK_ERROR_MEMORY_MAP_FAILED);
    ck_assert_uint_eq(record->attr[MT_VK_MEMORY_MAP_BYTES], 64);
    ck_assert_uint_eq(fake.calls.MapMemory2KHR, 1);
    ck_assert_uint_eq(fake.calls.MapMemory2, 1);
    ck_assert_uint_eq(view_histogram(segment, "vkMapMemory type 1")->count, 3);
    fake.fail = VK_SUCCESS;
    free_memory(memory); /* while mapped: legal */
}
END_TEST

START_TEST(names)
{
    VkDeviceMemory memory = allocate(10, 0);
    VkBuffer buffer = create_buffer(10);
    VkImage image = create_image(NULL, 0);
    VkDebugUtilsObjectNameInfoEXT name = {.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_OBJECT_NAME_INFO_EXT,
                                          .objectType = VK_OBJECT_TYPE_DEVICE_MEMORY,
                                          .objectHandle = (uint64_t)memory,
                                          .pObjectName = "terrain heap"};
    VkDebugMarkerObjectNameInfoEXT marker = {.sType = VK_STRUCTURE_TYPE_DEBUG_MARKER_OBJECT_NAME_INFO_EXT,
                                             .objectType = VK_DEBUG_REPORT_OBJECT_TYPE_IMAGE_EXT,
                                             .object = (uint64_t)image,
                                             .pObjectName = "sky"};
    PFN_vkSetDebugUtilsObjectNameEXT set = DEVICE_COMMAND(device, SetDebugUtilsObjectNameEXT);
    set(device, &name);
    name.objectType = VK_OBJECT_TYPE_BUFFER;
    name.objectHandle = (uint64_t)buffer;
    name.pObjectName = "a name that is far too long for the field of the record it is to be kept in, so it is cut";
    set(device, &name);
    name.objectType = VK_OBJECT_TYPE_FENCE;
    set(device, &name);
    DEVICE_COMMAND(device, DebugMarkerSetObjectNameEXT)(device, &marker);
    ck_assert_str_eq(RECORD(MT_VK_MEMORY, memory)->name, "terrain heap");
    ck_assert_uint_eq(strlen(RECORD(MT_VK_BUFFER, buffer)->name), MT_NAME_BYTES - 1);
    ck_assert_str_eq(RECORD(MT_VK_IMAGE, image)->name, "sky");
    name.objectType = VK_OBJECT_TYPE_DEVICE_MEMORY;
    name.objectHandle = (uint64_t)memory;
    name.pObjectName = NULL;
    set(device, &name);
    ck_assert_str_eq(RECORD(MT_VK_MEMORY, memory)->name, "");
    ck_assert_uint_eq(fake.calls.SetDebugUtilsObjectNameEXT, 4);
}
END_TEST

void add_memory_tests(Suite *suite)
{
    const TTest *const with_device[] = {memory_is_counted_on_its_heap_and_type,
                                        failed_allocations_are_counted_as_failed_only,
                                        imports_are_counted_apart,
                                        allocation_chains_are_noted,
                                        null_handles_pass_through,
                                        unknown_handles_are_counted_and_passed_on,
                                        a_handle_value_may_come_back,
                                        no_lock_is_held_across_a_call_down,
                                        mappings,
                                        names};
    add_tests(suite, "memory with a device", start_device, with_device, sizeof with_device / sizeof *with_device);
}
