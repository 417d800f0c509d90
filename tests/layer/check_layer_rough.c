/*
 * What a program, a driver or time may do to the layer: lost devices, structures
 * that nobody knows, a thousand instances and devices at once, everything alive
 * at the end, many threads. A process per test.
 */
#include "layer_support.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A structure of a Vulkan that is not written yet, in front of one that is known or of nothing. */
static VkBaseInStructure future(const void *next)
{
    return (VkBaseInStructure){(VkStructureType)0x7eadbeef, next};
}

/* ---- a lost device ------------------------------------------------------------------------ */

static void expect_lost(VkResult result, const char *name)
{
    ck_assert_msg(result == VK_ERROR_DEVICE_LOST, "%s returned %d", name, (int)result);
}

#define LOST(Name, ...) expect_lost(DEVICE_COMMAND(device, Name)(device, __VA_ARGS__), #Name)

static VkDeviceMemory memory;
static VkBuffer buffer;
static VkImage image;
static VkSwapchainKHR swapchain;

static void lose_memory_commands(void)
{
    void *data = NULL;
    VkDeviceMemory made = VK_NULL_HANDLE;
    VkMemoryAllocateInfo allocate_info = {VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, NULL, 100, 0};
    VkMemoryMapInfoKHR map_info = {.memory = memory, .size = 10};
    VkMemoryUnmapInfoKHR unmap_info = {.memory = memory};
    LOST(AllocateMemory, &allocate_info, NULL, &made);
    LOST(MapMemory, memory, 0, 10, 0, &data);
    LOST(MapMemory2, &map_info, &data);
    LOST(MapMemory2KHR, &map_info, &data);
    LOST(UnmapMemory2, &unmap_info);
    LOST(UnmapMemory2KHR, &unmap_info);
}

static void lose_creations(void)
{
    VkBuffer made_buffer = VK_NULL_HANDLE;
    VkImage made_image = VK_NULL_HANDLE;
    VkSwapchainKHR made_swapchain = VK_NULL_HANDLE;
    VkAccelerationStructureKHR accel = VK_NULL_HANDLE;
    VkAccelerationStructureNV accel_nv = VK_NULL_HANDLE;
    VkMicromapEXT micromap = VK_NULL_HANDLE;
    VkVideoSessionKHR session = VK_NULL_HANDLE;
    LOST(CreateBuffer, &(VkBufferCreateInfo){.size = 10}, NULL, &made_buffer);
    LOST(CreateImage, &(VkImageCreateInfo){.mipLevels = 1}, NULL, &made_image);
    LOST(CreateSwapchainKHR, &(VkSwapchainCreateInfoKHR){.minImageCount = 2}, NULL, &made_swapchain);
    LOST(CreateSharedSwapchainsKHR, 1, &(VkSwapchainCreateInfoKHR){.minImageCount = 2}, NULL, &made_swapchain);
    LOST(CreateAccelerationStructureKHR, &(VkAccelerationStructureCreateInfoKHR){.size = 10}, NULL, &accel);
    LOST(CreateAccelerationStructureNV, &(VkAccelerationStructureCreateInfoNV){.compactedSize = 10}, NULL,
         &accel_nv);
    LOST(CreateMicromapEXT, &(VkMicromapCreateInfoEXT){.size = 10}, NULL, &micromap);
    LOST(CreateVideoSessionKHR, &(VkVideoSessionCreateInfoKHR){.flags = 0}, NULL, &session);
}

static void lose_bindings(void)
{
    VkBindBufferMemoryInfo buffers = {.buffer = buffer, .memory = memory};
    VkBindImageMemoryInfo images = {.image = image, .memory = memory};
    VkBindVideoSessionMemoryInfoKHR video = {.memory = memory, .memorySize = 10};
    VkBindAccelerationStructureMemoryInfoNV accel = {.memory = memory};
    LOST(BindBufferMemory, buffer, memory, 0);
    LOST(BindBufferMemory2, 1, &buffers);
    LOST(BindBufferMemory2KHR, 1, &buffers);
    LOST(BindImageMemory, image, memory, 0);
    LOST(BindImageMemory2, 1, &images);
    LOST(BindImageMemory2KHR, 1, &images);
    LOST(BindVideoSessionMemoryKHR, (VkVideoSessionKHR)5, 1, &video);
    LOST(BindAccelerationStructureMemoryNV, 1, &accel);
}

static void lose_queue_commands(void)
{
    VkPresentInfoKHR present = {.swapchainCount = 1, .pSwapchains = &swapchain};
    VkSparseMemoryBind bind = {0, 4096, memory, 0, 0};
    VkSparseBufferMemoryBindInfo buffers = {buffer, 1, &bind};
    VkBindSparseInfo sparse = {.bufferBindCount = 1, .pBufferBinds = &buffers};
    VkDebugUtilsObjectNameInfoEXT name = {
        .objectType = VK_OBJECT_TYPE_BUFFER, .objectHandle = (uint64_t)buffer, .pObjectName = "last words"};
    expect_lost(DEVICE_COMMAND(device, QueuePresentKHR)(fake_queue(device), &present), "QueuePresentKHR");
    expect_lost(DEVICE_COMMAND(device, QueueBindSparse)(fake_queue(device), 1, &sparse, VK_NULL_HANDLE),
                "QueueBindSparse");
    LOST(SetDebugUtilsObjectNameEXT, &name);
}

START_TEST(a_lost_device_records_nothing_new_and_ends_well)
{
    memory = allocate(65536, 0);
    buffer = create_buffer(100);
    image = create_image(NULL, 0);
    ck_assert_int_eq(create_swapchain(VK_NULL_HANDLE, &swapchain), VK_SUCCESS);
    fake.fail = VK_ERROR_DEVICE_LOST;
    lose_memory_commands();
    lose_creations();
    lose_bindings();
    lose_queue_commands();
    ck_assert_uint_eq(view_count(segment, MT_VK_MEMORY), 1);
    ck_assert_uint_eq(view_count(segment, MT_VK_BUFFER), 1);
    ck_assert_uint_eq(view_count(segment, MT_VK_IMAGE), 1);
    ck_assert_uint_eq(view_count(segment, MT_VK_SWAPCHAIN), 1);
    ck_assert_uint_eq(view_count(segment, MT_VK_ACCEL) + view_count(segment, MT_VK_VIDEO_SESSION) +
                          view_count(segment, MT_VK_VIDEO_MEMORY),
                      0);
    ck_assert_uint_eq(RECORD(MT_VK_MEMORY, memory)->attr[MT_VK_MEMORY_BOUND], 0);
    ck_assert_uint_eq(RECORD(MT_VK_MEMORY, memory)->attr[MT_VK_MEMORY_FLAGS], 0);
    ck_assert_uint_eq(view_nth(segment, MT_VK_DEVICE, 0)->size_bytes, 0); /* sparse binds */
    ck_assert_uint_eq(DEVICE_FLAG(MT_VK_DEVICE_UNKNOWN_FREES), 0);
    destroy_buffer(buffer);
    DEVICE_COMMAND(device, DestroyImage)(device, image, NULL);
    DEVICE_COMMAND(device, DestroySwapchainKHR)(device, swapchain, NULL);
    free_memory(memory);
    DEVICE_COMMAND(device, DestroyDevice)(device, NULL);
    ck_assert_uint_eq(DEVICE_FLAG(MT_VK_DEVICE_LEAKED), 0);
    check_heap(MT_HEAP_DEVICE_HEAP, 0, 0, 0, 65536, 65536);
}
END_TEST

START_TEST(a_device_that_is_lost_at_once_is_no_device)
{
    fake.fail_device = VK_ERROR_DEVICE_LOST;
    ck_assert_int_eq(fake_create_instance(&plain, &instance), VK_SUCCESS);
    ck_assert_int_eq(fake_create_device(instance, 0, &device), VK_ERROR_DEVICE_LOST);
    segment = view_open(session_directory, getpid());
    ck_assert_uint_eq(view_count(segment, MT_VK_DEVICE), 0);
    INSTANCE_COMMAND(instance, DestroyInstance)(instance, NULL);
}
END_TEST

/* ---- structures from the future ---------------------------------------------------------------- */

START_TEST(unknown_structures_pass_everywhere)
{
    VkMemoryDedicatedAllocateInfo dedicated = {.sType = VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO};
    VkBaseInStructure strange = future(NULL), before = future(&dedicated);
    VkBufferCreateInfo buffer_info = {
        .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, .pNext = &strange, .size = 100};
    ck_assert_int_eq(DEVICE_COMMAND(device, CreateBuffer)(device, &buffer_info, NULL, &buffer), VK_SUCCESS);
    image = create_image(&strange, 0);
    dedicated.buffer = buffer;
    memory = allocate_on(device, 4096, 0, &before);
    const struct mt_object *record = RECORD(MT_VK_MEMORY, memory);
    ck_assert_uint_eq(record->attr[MT_VK_MEMORY_FLAGS] >> 32, 0x7eadbeef); /* named in the report */
    ck_assert_uint_ne(record->attr[MT_VK_MEMORY_FLAGS] & MT_VK_MEMORY_IS_DEDICATED, 0);
    VkBindBufferMemoryInfo buffers = {.pNext = &strange, .buffer = buffer, .memory = memory};
    VkBindImageMemoryInfo images = {.pNext = &strange, .image = image, .memory = memory};
    ck_assert_int_eq(DEVICE_COMMAND(device, BindBufferMemory2)(device, 1, &buffers), VK_SUCCESS);
    ck_assert_int_eq(DEVICE_COMMAND(device, BindImageMemory2)(device, 1, &images), VK_SUCCESS);
    ck_assert_uint_eq(record->attr[MT_VK_MEMORY_BOUND], 2);
    VkSwapchainCreateInfoKHR swapchain_info = {.pNext = &strange, .minImageCount = 2, .imageArrayLayers = 1};
    ck_assert_int_eq(DEVICE_COMMAND(device, CreateSwapchainKHR)(device, &swapchain_info, NULL, &swapchain),
                     VK_SUCCESS);
    VkPresentInfoKHR present = {.pNext = &strange, .swapchainCount = 1, .pSwapchains = &swapchain};
    ck_assert_int_eq(DEVICE_COMMAND(device, QueuePresentKHR)(fake_queue(device), &present), VK_SUCCESS);
    ck_assert_uint_eq(RECORD(MT_VK_SWAPCHAIN, swapchain)->attr[MT_VK_SWAPCHAIN_PRESENTS], 1);
    ck_assert_ptr_eq(strange.pNext, NULL);
}
END_TEST

/* ---- too little memory ---------------------------------------------------------------------------- */

static VkResult try_type(uint32_t type)
{
    VkDeviceMemory made;
    VkMemoryAllocateInfo info = {VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, NULL, 77, type};
    return DEVICE_COMMAND(device, AllocateMemory)(device, &info, NULL, &made);
}

static unsigned count_events(const char *kind)
{
    unsigned count = 0;
    for (unsigned i = 0; i < MT_EVENT_MAX; i++) count += !strcmp(segment->events[i].kind, kind);
    return count;
}

START_TEST(refused_allocations_are_told)
{
    fake.fail = VK_ERROR_OUT_OF_DEVICE_MEMORY;
    try_type(0);
    ck_assert(view_event(segment, "allocation-refused", "77 bytes of memory type 0 (heap 0)"));
    ck_assert_uint_eq(count_events("staging-exhausted"), 0);
    fake.fail = VK_ERROR_TOO_MANY_OBJECTS;
    try_type(1);
    ck_assert(view_event(segment, "staging-exhausted", "VK_ERROR_TOO_MANY_OBJECTS"));
    for (unsigned i = 0; i < 1000; i++) try_type(i % FAKE_TYPES);
    ck_assert_uint_eq(count_events("allocation-refused") + count_events("staging-exhausted"), 16);
    ck_assert_uint_eq(view_heap(segment, MT_HEAP_DEVICE_TYPE, 1, 0)->failed_count, 334);
}
END_TEST

START_TEST(a_lost_device_is_no_shortage)
{
    fake.fail = VK_ERROR_DEVICE_LOST;
    try_type(0);
    ck_assert_uint_eq(count_events("allocation-refused") + count_events("staging-exhausted"), 0);
}
END_TEST

static const struct mt_heap *staging_heap(void)
{
    return view_heap(segment, MT_HEAP_DEVICE_HEAP, 1, 0);
}

static void set_usage(uint64_t bytes)
{
    fake.usage_bytes = bytes;
    for (unsigned i = 0; i < 2000 && staging_heap()->usage_bytes != bytes; i++) usleep(1000);
    ck_assert_uint_eq(staging_heap()->usage_bytes, bytes);
    uint64_t seen = staging_heap()->budget_ns; /* what belongs to the reading is told right after it */
    for (unsigned i = 0; i < 2000 && staging_heap()->budget_ns == seen; i++) usleep(1000);
}

START_TEST(the_drivers_budget_is_watched)
{
    fake.has_budget = true;
    fake.budget_bytes = 1000000;
    ck_assert_int_eq(fake_create_instance(&plain, &instance), VK_SUCCESS);
    ck_assert_int_eq(fake_create_device(instance, 0, &device), VK_SUCCESS);
    segment = view_open(session_directory, getpid());
    set_usage(940000);
    ck_assert_uint_eq(count_events("staging-exhausted") + count_events("driver-budget"), 0);
    set_usage(950000); /* heap 1 has only memory that can be mapped, heap 0 has other */
    ck_assert(view_event(segment, "staging-exhausted", "memory heap 1, for staging, is nearly full: 950000"));
    ck_assert_uint_eq(count_events("staging-exhausted"), 1);
    set_usage(1000001);
    ck_assert(view_event(segment, "driver-budget", "memory heap 0 is over the driver's budget: 1000001"));
    ck_assert_uint_eq(count_events("driver-budget"), 2); /* both heaps, once */
    set_usage(960000);                                   /* not far enough down for anything */
    ck_assert_uint_eq(count_events("driver-budget") + count_events("staging-exhausted"), 3);
    set_usage(500000);
    ck_assert(view_event(segment, "driver-budget", "memory heap 1 is back below"));
    ck_assert(view_event(segment, "staging-exhausted", "is no longer full"));
    ck_assert_uint_eq(count_events("driver-budget"), 4);
}
END_TEST

/* ---- very many --------------------------------------------------------------------------------- */

START_TEST(thousands_of_instances_and_devices_at_once)
{
    enum { MANY = 1500 };
    VkInstance *instances = calloc(MANY, sizeof *instances);
    VkDevice *devices = calloc(MANY, sizeof *devices);
    VkDeviceMemory *memories = calloc(MANY, sizeof *memories);
    for (unsigned i = 0; i < MANY; i++) {
        ck_assert_int_eq(fake_create_instance(&plain, &instances[i]), VK_SUCCESS);
        ck_assert_int_eq(fake_create_device(instances[i], 0, &devices[i]), VK_SUCCESS);
        memories[i] = allocate_on(devices[i], 1000 + i, 0, NULL);
    }
    segment = view_open(session_directory, getpid());
    ck_assert_uint_eq(view_count(segment, MT_VK_DEVICE), MANY);
    ck_assert_uint_eq(view_count(segment, MT_VK_MEMORY), MANY);
    ck_assert_uint_gt(segment->dropped[MT_DROPPED_HEAPS], 0); /* more rows than the table has: told, not hidden */
    for (unsigned i = 0; i < MANY; i++) {
        DEVICE_COMMAND(devices[i], FreeMemory)(devices[i], memories[i], NULL);
        DEVICE_COMMAND(devices[i], DestroyDevice)(devices[i], NULL);
        INSTANCE_COMMAND(instances[i], DestroyInstance)(instances[i], NULL);
    }
    ck_assert_uint_eq(view_count(segment, MT_VK_MEMORY), 0);
    ck_assert_uint_eq(fake.calls.DestroyInstance, MANY);
    ck_assert_int_eq(view_heap(segment, MT_HEAP_DEVICE_HEAP, 0, 0)->current_bytes, 0);
    free(memories);
    free(devices);
    free(instances);
}
END_TEST

START_TEST(everything_alive_at_the_end)
{
    enum { MANY = 2000 };
    for (unsigned i = 0; i < MANY; i++) {
        VkVideoSessionKHR session = VK_NULL_HANDLE;
        VkVideoSessionCreateInfoKHR info = {.flags = 0};
        void *data;
        memory = allocate(4096, i % FAKE_TYPES);
        buffer = create_buffer(10);
        image = create_image(NULL, 0);
        DEVICE_COMMAND(device, BindBufferMemory)(device, buffer, memory, 0);
        DEVICE_COMMAND(device, BindImageMemory)(device, image, memory, 256);
        ck_assert_int_eq(DEVICE_COMMAND(device, CreateVideoSessionKHR)(device, &info, NULL, &session), VK_SUCCESS);
        VkBindVideoSessionMemoryInfoKHR bind = {.memory = memory, .memorySize = 64};
        DEVICE_COMMAND(device, BindVideoSessionMemoryKHR)(device, session, 1, &bind);
        DEVICE_COMMAND(device, MapMemory)(device, memory, 0, VK_WHOLE_SIZE, 0, &data);
    }
    create_swapchain(VK_NULL_HANDLE, &swapchain);
    DEVICE_COMMAND(device, DestroyDevice)(device, NULL);
    ck_assert_uint_eq(DEVICE_FLAG(MT_VK_DEVICE_LEAKED), MANY);
    ck_assert_uint_eq(DEVICE_FLAG(MT_VK_DEVICE_LEAKED_BYTES), MANY * 4096);
    ck_assert(view_event(segment, "leak", "2000 device memory allocations"));
    ck_assert_int_eq(fake_create_device(instance, 0, &device),
                     VK_SUCCESS); /* the old handles are strangers to it */
    DEVICE_COMMAND(device, FreeMemory)(device, memory, NULL);
    ck_assert_uint_eq(DEVICE_FLAG(MT_VK_DEVICE_UNKNOWN_FREES), 1);
    DEVICE_COMMAND(device, DestroyDevice)(device, NULL);
    ck_assert_uint_eq(DEVICE_FLAG(MT_VK_DEVICE_LEAKED), MANY);
}
END_TEST

/* ---- many threads ---------------------------------------------------------------------------------- */

enum { THREADS = 8, ROUNDS = 1000 };
static VkDeviceMemory shared[4];

static void *work(void *argument)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        VkDeviceMemory own = allocate(8192, 0), used = i % 2 ? own : shared[i / 2 % 4];
        VkVideoSessionKHR session = VK_NULL_HANDLE;
        VkAccelerationStructureNV accel;
        VkVideoSessionCreateInfoKHR session_info = {.flags = 0};
        VkAccelerationStructureCreateInfoNV accel_info = {.compactedSize = 10};
        DEVICE_COMMAND(device, CreateVideoSessionKHR)(device, &session_info, NULL, &session);
        DEVICE_COMMAND(device, CreateAccelerationStructureNV)(device, &accel_info, NULL, &accel);
        VkBindVideoSessionMemoryInfoKHR binds[2] = {{.memory = used, .memorySize = 64},
                                                    {.memory = own, .memorySize = 32, .memoryBindIndex = 1}};
        VkBindAccelerationStructureMemoryInfoNV bind = {.accelerationStructure = accel, .memory = used};
        DEVICE_COMMAND(device, BindVideoSessionMemoryKHR)(device, session, 2, binds);
        DEVICE_COMMAND(device, BindAccelerationStructureMemoryNV)(device, 1, &bind);
        if (i % 3) free_memory(own); /* before what lies in it, as programs do at their end */
        DEVICE_COMMAND(device, DestroyVideoSessionKHR)(device, session, NULL);
        DEVICE_COMMAND(device, DestroyAccelerationStructureNV)(device, accel, NULL);
        if (!(i % 3)) free_memory(own);
    }
    return argument;
}

START_TEST(eight_threads_with_sessions_and_structures)
{
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < 4; i++) shared[i] = allocate(1 << 20, 0);
    for (unsigned i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, work, NULL);
    for (unsigned i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    ck_assert_uint_eq(view_count(segment, MT_VK_MEMORY), 4);
    ck_assert_uint_eq(view_count(segment, MT_VK_VIDEO_SESSION) + view_count(segment, MT_VK_VIDEO_MEMORY) +
                          view_count(segment, MT_VK_ACCEL),
                      0);
    for (unsigned i = 0; i < 4; i++)
        ck_assert_uint_eq(RECORD(MT_VK_MEMORY, shared[i])->attr[MT_VK_MEMORY_BOUND], 0);
    ck_assert_uint_eq(DEVICE_FLAG(MT_VK_DEVICE_UNKNOWN_FREES), 0);
}
END_TEST

void add_rough_tests(Suite *suite)
{
    const TTest *const bare[] = {a_device_that_is_lost_at_once_is_no_device,
                                 thousands_of_instances_and_devices_at_once, the_drivers_budget_is_watched};
    const TTest *const with_device[] = {a_lost_device_records_nothing_new_and_ends_well,
                                        unknown_structures_pass_everywhere,
                                        refused_allocations_are_told,
                                        a_lost_device_is_no_shortage,
                                        everything_alive_at_the_end,
                                        eight_threads_with_sessions_and_structures};
    add_tests(suite, "rough", start_layer, bare, sizeof bare / sizeof *bare);
    add_tests(suite, "rough with a device", start_device, with_device, sizeof with_device / sizeof *with_device);
}
