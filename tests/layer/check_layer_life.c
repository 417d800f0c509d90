/*
 * Leaks, budgets, fork, threads and shortage, in tests that are a process each.
 */
#include "layer_support.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* ---- leaks, budgets, fork, threads --------------------------------------------------------------------------- */

START_TEST(leaks_stay_in_the_report)
{
    VkSwapchainKHR swapchain;
    VkDeviceMemory memory = allocate(1000, 0), freed = allocate(500, 0);
    VkBuffer buffer = create_buffer(10);
    DEVICE_COMMAND(device, BindBufferMemory)(device, buffer, memory, 0);
    create_swapchain(VK_NULL_HANDLE, &swapchain);
    free_memory(freed);
    DEVICE_COMMAND(device, DestroyDevice)(device, NULL);
    ck_assert_uint_eq(DEVICE_FLAG(MT_VK_DEVICE_LEAKED), 1);
    ck_assert_uint_eq(DEVICE_FLAG(MT_VK_DEVICE_LEAKED_BYTES), 1000);
    ck_assert_uint_ne(RECORD(MT_VK_MEMORY, memory)->attr[MT_VK_MEMORY_FLAGS] & MT_VK_MEMORY_LEAKED, 0);
    ck_assert_uint_ne(RECORD(MT_VK_BUFFER, buffer)->attr[MT_VK_RESOURCE_FLAGS] & MT_VK_RESOURCE_LEAKED, 0);
    ck_assert_uint_eq(RECORD(MT_VK_SWAPCHAIN, swapchain)->attr[MT_VK_SWAPCHAIN_LEAKED], 1);
    ck_assert(view_event(segment, "leak", "1 device memory allocations (1000 bytes)"));
    check_heap(MT_HEAP_DEVICE_HEAP, 0, 1000, 1, 1500, 1500);
    ck_assert_int_eq(fake_create_device(instance, 0, &device), VK_SUCCESS); /* the rows go on */
    ck_assert_uint_eq(view_count(segment, MT_VK_DEVICE), 1);
    ck_assert_uint_eq(DEVICE_FLAG(MT_VK_DEVICE_FLAGS) & MT_VK_DEVICE_DESTROYED, 0);
    ck_assert_uint_eq(DEVICE_FLAG(MT_VK_DEVICE_LEAKED), 1);
}
END_TEST

static void wait_for_budget(uint64_t expected)
{
    for (unsigned i = 0; i < 2000 && view_heap(segment, MT_HEAP_DEVICE_HEAP, 0, 0)->budget_bytes != expected; i++)
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    ck_assert_uint_eq(view_heap(segment, MT_HEAP_DEVICE_HEAP, 0, 0)->budget_bytes, expected);
}

START_TEST(budgets_come_from_a_quiet_thread)
{
    fake.has_budget = true;
    fake.budget_bytes = 1000000;
    fake.usage_bytes = 2000;
    ck_assert_int_eq(fake_create_instance(&plain, &instance), VK_SUCCESS);
    ck_assert_int_eq(fake_create_device(instance, 0, &device), VK_SUCCESS);
    segment = view_open(session_directory, getpid());
    wait_for_budget(1000000);
    ck_assert_uint_eq(view_heap(segment, MT_HEAP_DEVICE_HEAP, 1, 0)->usage_bytes, 2000);
    ck_assert_uint_ne(DEVICE_FLAG(MT_VK_DEVICE_FLAGS) & MT_VK_DEVICE_HAS_BUDGET, 0);
    fake.budget_bytes = 900000;
    wait_for_budget(900000);
    fake.usage_bytes = UINT64_MAX - 5; /* drivers have said such things */
    for (unsigned i = 0; i < 2000 && !view_heap(segment, MT_HEAP_DEVICE_HEAP, 0, 0)->budget_rejected_count; i++)
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    ck_assert_uint_gt(view_heap(segment, MT_HEAP_DEVICE_HEAP, 0, 0)->budget_rejected_count, 0);
    ck_assert_uint_eq(view_heap(segment, MT_HEAP_DEVICE_HEAP, 0, 0)->usage_bytes, 2000);
}
END_TEST

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

START_TEST(a_slow_budget_is_waited_for_only_by_the_instances_end)
{
    fake.has_budget = true;
    fake.budget_delay_ms = 400;
    ck_assert_int_eq(fake_create_instance(&plain, &instance), VK_SUCCESS);
    double start = seconds_now();
    ck_assert_int_eq(fake_create_device(instance, 0, &device), VK_SUCCESS);
    free_memory(allocate(10, 0));
    while (!fake.calls.GetPhysicalDeviceMemoryProperties2) nanosleep(&(struct timespec){0, 1000000}, NULL);
    free_memory(allocate(10, 0));
    DEVICE_COMMAND(device, DestroyDevice)(device, NULL);
    ck_assert(seconds_now() - start < 0.35);
    INSTANCE_COMMAND(instance, DestroyInstance)
    (instance, NULL); /* the physical device goes: no question may be on its way */
    unsigned asked = fake.calls.GetPhysicalDeviceMemoryProperties2;
    ck_assert(seconds_now() - start >= 0.35);
    nanosleep(&(struct timespec){0, 300000000}, NULL);
    ck_assert_uint_eq(fake.calls.GetPhysicalDeviceMemoryProperties2, asked);
}
END_TEST

START_TEST(budgets_by_the_extension_on_version_1_0)
{
    struct fake_instance_options options = {.api_version = VK_API_VERSION_1_0, .with_properties2 = true};
    fake.has_budget = true;
    fake.api_version = VK_API_VERSION_1_0;
    fake.budget_bytes = 5000;
    ck_assert_int_eq(fake_create_instance(&options, &instance), VK_SUCCESS);
    ck_assert_int_eq(fake_create_device(instance, 0, &device), VK_SUCCESS);
    segment = view_open(session_directory, getpid());
    wait_for_budget(5000);
}
END_TEST

static int in_child(void)
{
    VkInstance own_instance;
    VkDevice own_device;
    free_memory((VkDeviceMemory)0x10000); /* the parent's: passed on, not counted */
    if (fake_create_instance(&plain, &own_instance) || fake_create_device(own_instance, 0, &own_device)) return 2;
    allocate_on(own_device, 77, 0, NULL);
    const struct mt_segment *own = view_open(session_directory, getpid());
    if (!own || own->process.is_fork != 1) return 3;
    if (view_heap(own, MT_HEAP_DEVICE_HEAP, 0, 0)->current_bytes != 77) return 4;
    if (view_count(own, MT_VK_DEVICE) != 1 || view_count(own, MT_VK_MEMORY) != 1) return 5;
    DEVICE_COMMAND(device, DestroyDevice)(device, NULL); /* the inherited one */
    DEVICE_COMMAND(own_device, DestroyDevice)(own_device, NULL);
    if (view_nth(own, MT_VK_DEVICE, 0)->attr[MT_VK_DEVICE_LEAKED] != 1) return 6;
    INSTANCE_COMMAND(instance, DestroyInstance)(instance, NULL);
    INSTANCE_COMMAND(own_instance, DestroyInstance)(own_instance, NULL);
    return 0;
}

START_TEST(a_forks_child_counts_for_itself)
{
    int status;
    fake.has_budget = true; /* the thread of the parent is not in the child */
    VkDevice second;
    ck_assert_int_eq(fake_create_device(instance, 0, &second), VK_SUCCESS);
    VkDeviceMemory memory = allocate(1000, 0);
    pid_t child = fork();
    if (!child) _exit(in_child());
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(view_heap(segment, MT_HEAP_DEVICE_HEAP, 0, 0)->current_bytes +
                         view_heap(segment, MT_HEAP_DEVICE_HEAP, 0, 1)->current_bytes,
                     1000);
    free_memory(memory);
}
END_TEST

enum { THREADS = 8, ROUNDS = 2000, KEPT = 16 };
static VkDeviceMemory shared_memory;

static void *work(void *unused)
{
    VkDeviceMemory memories[KEPT] = {0};
    VkBuffer buffers[KEPT] = {0};
    for (unsigned i = 0; i < ROUNDS; i++) {
        unsigned at = i % KEPT;
        if (buffers[at]) destroy_buffer(buffers[at]);
        if (memories[at]) free_memory(memories[at]);
        memories[at] = allocate(100 + at, i % FAKE_TYPES);
        buffers[at] = create_buffer(10);
        DEVICE_COMMAND(device, BindBufferMemory)(device, buffers[at], i % 3 ? memories[at] : shared_memory, 0);
    }
    for (unsigned at = 0; at < KEPT; at++) {
        if (at % 2) destroy_buffer(buffers[at]);
        free_memory(memories[at]);
        if (!(at % 2)) destroy_buffer(buffers[at]);
    }
    return unused;
}

START_TEST(eight_threads)
{
    pthread_t threads[THREADS];
    shared_memory = allocate(1 << 20, 0);
    for (unsigned i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, work, NULL);
    for (unsigned i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    ck_assert_uint_eq(view_count(segment, MT_VK_MEMORY), 1);
    ck_assert_uint_eq(view_count(segment, MT_VK_BUFFER), 0);
    ck_assert_uint_eq(RECORD(MT_VK_MEMORY, shared_memory)->attr[MT_VK_MEMORY_BOUND], 0);
    ck_assert_int_eq(view_heap(segment, MT_HEAP_DEVICE_HEAP, 0, 0)->current_bytes, 1 << 20);
    ck_assert_int_eq(view_heap(segment, MT_HEAP_DEVICE_HEAP, 1, 0)->current_bytes, 0);
    uint64_t allocations = view_heap(segment, MT_HEAP_DEVICE_HEAP, 0, 0)->allocation_count +
                           view_heap(segment, MT_HEAP_DEVICE_HEAP, 1, 0)->allocation_count;
    ck_assert_uint_eq(allocations, THREADS * ROUNDS + 1);
    ck_assert_uint_eq(DEVICE_FLAG(MT_VK_DEVICE_UNKNOWN_FREES), 0);
}
END_TEST

static void *cycle_many(void *unused)
{
    for (unsigned i = 0; i < 200; i++) {
        VkInstance own_instance;
        VkDevice own_device;
        if (fake_create_instance(&plain, &own_instance) || fake_create_device(own_instance, 0, &own_device))
            abort();
        VkDeviceMemory memory = allocate_on(own_device, 10, 0, NULL);
        DEVICE_COMMAND(own_device, FreeMemory)(own_device, memory, NULL);
        DEVICE_COMMAND(own_device, DestroyDevice)(own_device, NULL);
        INSTANCE_COMMAND(own_instance, DestroyInstance)(own_instance, NULL);
    }
    return unused;
}

START_TEST(devices_come_and_go_on_eight_threads)
{
    pthread_t threads[THREADS];
    fake.has_budget = true;
    for (unsigned i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, cycle_many, NULL);
    for (unsigned i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    segment = view_open(session_directory, getpid());
    uint64_t devices = 0, allocations = 0;
    for (unsigned i = 0; i < view_count(segment, MT_VK_DEVICE); i++) {
        devices += view_nth(segment, MT_VK_DEVICE, i)->offset;
        allocations += view_heap(segment, MT_HEAP_DEVICE_HEAP, 0, i)->allocation_count;
        ck_assert_int_eq(view_heap(segment, MT_HEAP_DEVICE_HEAP, 0, i)->current_bytes, 0);
    }
    ck_assert_uint_eq(devices, THREADS * 200);
    ck_assert_uint_eq(allocations, THREADS * 200);
    ck_assert_uint_le(view_count(segment, MT_VK_DEVICE), THREADS);
}
END_TEST

START_TEST(a_hundred_thousand_objects)
{
    enum { MANY = 100000 };
    VkDeviceMemory memory = allocate(1 << 20, 0);
    VkBuffer *buffers = calloc(MANY, sizeof *buffers);
    for (unsigned i = 0; i < MANY; i++) {
        buffers[i] = create_buffer(i);
        DEVICE_COMMAND(device, BindBufferMemory)(device, buffers[i], memory, i);
    }
    ck_assert_uint_eq(view_count(segment, MT_VK_BUFFER), MANY);
    ck_assert_uint_eq(RECORD(MT_VK_MEMORY, memory)->attr[MT_VK_MEMORY_BOUND], MANY);
    free_memory(memory);
    for (unsigned i = 0; i < MANY; i++) destroy_buffer(buffers[i]);
    ck_assert_uint_eq(view_count(segment, MT_VK_BUFFER), 0);
    ck_assert_uint_eq(segment->dropped[MT_DROPPED_OBJECTS], 0);
    free(buffers);
}
END_TEST

START_TEST(switched_off_it_forwards_only)
{
    setenv("MEMTRACK_DISABLE", "1", 1); /* the loader skips the layer then; a forced load must stay harmless */
    ck_assert_int_eq(fake_create_instance(&plain, &instance), VK_SUCCESS);
    ck_assert_int_eq(fake_create_device(instance, 0, &device), VK_SUCCESS);
    VkDeviceMemory memory = allocate(10, 0);
    free_memory(memory);
    destroy_buffer(create_buffer(10));
    ck_assert_uint_eq(fake.calls.AllocateMemory, 1);
    ck_assert_ptr_null(view_open(session_directory, getpid()));
    DEVICE_COMMAND(device, DestroyDevice)(device, NULL);
    INSTANCE_COMMAND(instance, DestroyInstance)(instance, NULL);
    ck_assert_uint_eq(fake.calls.DestroyDevice, 1);
    ck_assert_uint_eq(fake.calls.DestroyInstance, 1);
}
END_TEST

START_TEST(a_small_segment_drops_and_counts)
{
    setenv("MEMTRACK_SEGMENT_SIZE", "32M", 1);
    ck_assert_int_eq(fake_create_instance(&plain, &instance), VK_SUCCESS);
    ck_assert_int_eq(fake_create_device(instance, 0, &device), VK_SUCCESS);
    segment = view_open(session_directory, getpid());
    enum { MANY = 120000 };
    VkDeviceMemory *memories = calloc(MANY, sizeof *memories);
    for (unsigned i = 0; i < MANY; i++) memories[i] = allocate(10, 0);
    ck_assert_uint_gt(segment->dropped[MT_DROPPED_OBJECTS], 0);
    check_heap(MT_HEAP_DEVICE_HEAP, 0, 10 * MANY, MANY, 10 * MANY, 10 * MANY); /* the counters stay exact */
    for (unsigned i = 0; i < MANY; i++) free_memory(memories[i]);
    check_heap(MT_HEAP_DEVICE_HEAP, 0, 0, 0, 10 * MANY, 10 * MANY);
    free(memories);
}
END_TEST

void add_life_tests(Suite *suite)
{
    const TTest *const bare[] = {
        budgets_come_from_a_quiet_thread,        a_slow_budget_is_waited_for_only_by_the_instances_end,
        budgets_by_the_extension_on_version_1_0, devices_come_and_go_on_eight_threads,
        switched_off_it_forwards_only,           a_small_segment_drops_and_counts};
    const TTest *const with_device[] = {leaks_stay_in_the_report, a_forks_child_counts_for_itself, eight_threads,
                                        a_hundred_thousand_objects};
    add_tests(suite, "life", start_layer, bare, sizeof bare / sizeof *bare);
    add_tests(suite, "life with a device", start_device, with_device, sizeof with_device / sizeof *with_device);
}
