/*
 * Slices that go from thread to thread, and what threads leave lying: one
 * thread allocates and another frees, a thread ends with slices of its own, and
 * frames end while others hold what they do not need.
 */
#include "pool_support.h"

#include <pthread.h>
#include <stdatomic.h>

enum { RING = 64, PASSED = 20000, IDLE = 300, FRAMES = 800 };

static const char *const modes[] = {"MEMTRACK_VULKAN_POOL=tlsf", "MEMTRACK_VULKAN_POOL=arena",
                                    "MEMTRACK_VULKAN_POOL=verify"};

/* Memory on its way from the thread that allocates to the one that frees. */
static struct {
    VkDeviceMemory items[RING];
    _Atomic unsigned put, taken;
} ring;

static void *free_what_comes(void *unused)
{
    (void)unused;
    for (unsigned i = 0; i < PASSED; i++) {
        while (atomic_load_explicit(&ring.put, memory_order_acquire) == i) sched_yield();
        free_memory(ring.items[i % RING]);
        atomic_store_explicit(&ring.taken, i + 1, memory_order_release);
    }
    return NULL;
}

START_TEST(one_thread_allocates_and_another_frees)
{
    pthread_t other;
    start_device("", modes[_i]);
    VkDeviceMemory fence = allocate(4096, DEVICE_TYPE);
    pthread_create(&other, NULL, free_what_comes, NULL);
    for (unsigned i = 0; i < PASSED; i++) {
        while (i - atomic_load_explicit(&ring.taken, memory_order_acquire) == RING) sched_yield();
        ring.items[i % RING] = allocate(1 + i % 5 * 50000, DEVICE_TYPE);
        atomic_store_explicit(&ring.put, i + 1, memory_order_release);
    }
    pthread_join(other, NULL);
    ck_assert_uint_eq(pool_sum(MT_VK_POOL_HITS), PASSED + 1);
    ck_assert_uint_eq(times_sum(MT_VK_POOL_FREES), PASSED);
    ck_assert_uint_eq(pool_sum(MT_VK_POOL_LIVE), 1);
    ck_assert_uint_eq(pool_sum(MT_VK_POOL_REQUESTED_BYTES), 4096);
    ck_assert_uint_eq(pool_sum(MT_VK_POOL_SLICE_BYTES), 65536);
    /* 64 MiB may rest; an arena of memory that cannot be cleared uses no byte twice until a chunk is free. */
    ck_assert_uint_le(pool_sum(MT_VK_POOL_CHUNK_BYTES), UINT64_C(256) << 20);
    ck_assert_uint_eq(pools_number(MT_VK_POOLS_VIOLATIONS), 0);
    free_memory(fence);
    end_device();
}
END_TEST

/* Buffers on their way likewise; each goes while its memory goes. */
static VkBuffer bound[RING];
static _Atomic unsigned destroyed;

static void *destroy_what_comes(void *unused)
{
    (void)unused;
    for (unsigned i = 0; i < PASSED; i++) {
        while (atomic_load_explicit(&ring.put, memory_order_acquire) == i) sched_yield();
        vkDestroyBuffer(device, bound[i % RING], NULL);
        atomic_store_explicit(&destroyed, i + 1, memory_order_release);
    }
    return NULL;
}

static bool is_full(unsigned i)
{
    return i - atomic_load_explicit(&ring.taken, memory_order_acquire) == RING ||
           i - atomic_load_explicit(&destroyed, memory_order_acquire) == RING;
}

START_TEST(a_resource_and_its_memory_go_at_the_same_time)
{
    pthread_t others[2];
    start_device("", modes[_i]);
    pthread_create(&others[0], NULL, free_what_comes, NULL);
    pthread_create(&others[1], NULL, destroy_what_comes, NULL);
    for (unsigned i = 0; i < PASSED; i++) {
        while (is_full(i)) sched_yield();
        ring.items[i % RING] = allocate(65536, DEVICE_TYPE);
        bound[i % RING] = create_buffer(4096);
        ck_assert_int_eq(vkBindBufferMemory(device, bound[i % RING], ring.items[i % RING], 0), VK_SUCCESS);
        atomic_store_explicit(&ring.put, i + 1, memory_order_release);
    }
    for (unsigned i = 0; i < 2; i++) pthread_join(others[i], NULL);
    ck_assert_uint_eq(view_count(segment, MT_VK_BUFFER), 0);
    ck_assert_uint_eq(view_count(segment, MT_VK_MEMORY), 0);
    ck_assert_int_eq(heap_row(0)->current_bytes, 0);
    ck_assert_uint_eq(pool_sum(MT_VK_POOL_LIVE), 0);
    ck_assert_uint_eq(pools_number(MT_VK_POOLS_STALE), 0);
    ck_assert_uint_eq(pools_number(MT_VK_POOLS_VIOLATIONS), 0);
    end_device();
}
END_TEST

static pthread_barrier_t barrier;

/* Leaves freed slices and slices of its own behind, and lives on. */
static void *use_and_wait(void *unused)
{
    VkDeviceMemory memory[IDLE];
    (void)unused;
    for (unsigned i = 0; i < IDLE; i++) memory[i] = allocate(1 + i % 9 * 65536, DEVICE_TYPE);
    for (unsigned i = 0; i < IDLE; i++) free_memory(memory[i]);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    return NULL;
}

static void present(unsigned count)
{
    VkQueue queue;
    VkPresentInfoKHR info = {.sType = VK_STRUCTURE_TYPE_PRESENT_INFO_KHR};
    vkGetDeviceQueue(device, 0, 0, &queue);
    while (count--) ck_assert_int_eq(COMMAND(QueuePresentKHR)(queue, &info), VK_SUCCESS);
}

START_TEST(what_a_thread_leaves_lying_goes_back_with_the_frames)
{
    pthread_t other;
    start_instance("extensions=VK_KHR_swapchain", modes[_i]);
    ck_assert_int_eq(make_device("VK_KHR_swapchain", NULL, NULL, &device), VK_SUCCESS);
    pthread_barrier_init(&barrier, NULL, 2);
    pthread_create(&other, NULL, use_and_wait, NULL);
    pthread_barrier_wait(&barrier);
    ck_assert_uint_gt(driver->live_memory_bytes, 0);
    present(FRAMES);
    ck_assert_uint_eq(pool_sum(MT_VK_POOL_RESTING_BYTES), 0);
    ck_assert_uint_eq(pool_sum(MT_VK_POOL_CHUNKS), 0);
    ck_assert_uint_eq(driver->live_memory_bytes, 0);
    pthread_barrier_wait(&barrier);
    pthread_join(other, NULL);
    end_device();
}
END_TEST

static void *use_and_end(void *kept)
{
    for (unsigned i = 0; i < 40; i++) free_memory(allocate(4096, DEVICE_TYPE));
    *(VkDeviceMemory *)kept = allocate(4096, DEVICE_TYPE);
    return NULL;
}

/* The next thread takes over what the last one had: its lane, and with it its part of the pools. */
START_TEST(threads_follow_each_other)
{
    enum { THREADS = 200 };
    VkDeviceMemory kept[THREADS];
    start_device("", modes[_i]);
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_t other;
        pthread_create(&other, NULL, use_and_end, &kept[i]);
        pthread_join(other, NULL);
    }
    ck_assert_uint_eq(pool_sum(MT_VK_POOL_LIVE), THREADS);
    ck_assert_uint_le(view_count(segment, MT_VK_POOL_PART), 3); /* this thread's, the others', and the shared one */
    for (unsigned i = 0; i < THREADS; i++) free_memory(kept[i]);
    ck_assert_uint_eq(pool_sum(MT_VK_POOL_LIVE), 0);
    ck_assert_uint_eq(pools_number(MT_VK_POOLS_VIOLATIONS), 0);
    end_device();
    ck_assert_uint_eq(view_count(segment, MT_VK_POOL_PART), 0); /* the pool's own record has it all now */
    ck_assert_uint_eq(pool_sum(MT_VK_POOL_HITS), THREADS * 41);
}
END_TEST

/* More alignment is asked for when slices with less of it wait ready. */
START_TEST(a_ready_slice_with_too_little_alignment_is_not_handed_out)
{
    start_device("image_alignment=262144", modes[_i]);
    VkDeviceMemory memory[100];
    for (unsigned i = 0; i < 100; i++) memory[i] = allocate(4096, DEVICE_TYPE);
    VkImage image = create_image(64);
    VkMemoryRequirements required;
    vkGetImageMemoryRequirements(device, image, &required);
    ck_assert_uint_eq(required.alignment, 262144);
    vkDestroyImage(device, image, NULL);
    for (unsigned i = 0; i < 100; i++) {
        image = create_image(16);
        VkDeviceMemory place = allocate(262144, DEVICE_TYPE);
        ck_assert_int_eq(vkBindImageMemory(device, image, place, 0), VK_SUCCESS);
        ck_assert_uint_eq(driver->last_bind_offset % 262144, 0);
        vkDestroyImage(device, image, NULL);
        free_memory(place);
    }
    for (unsigned i = 0; i < 100; i++) free_memory(memory[i]);
    ck_assert_uint_eq(pools_number(MT_VK_POOLS_VIOLATIONS), 0);
    end_device();
}
END_TEST

Suite *threads_suite(void)
{
    Suite *suite = suite_create("threads");
    TCase *cases = tcase_create("threads");
    tcase_set_timeout(cases, 60);
    tcase_add_loop_test(cases, one_thread_allocates_and_another_frees, 0, 3);
    tcase_add_loop_test(cases, a_resource_and_its_memory_go_at_the_same_time, 0, 3);
    tcase_add_loop_test(cases, what_a_thread_leaves_lying_goes_back_with_the_frames, 0, 3);
    tcase_add_loop_test(cases, threads_follow_each_other, 0, 3);
    tcase_add_loop_test(cases, a_ready_slice_with_too_little_alignment_is_not_handed_out, 0, 3);
    suite_add_tcase(suite, cases);
    return suite;
}
