/*
 * Nothing of the layer's own grows with the number of calls: its mappings,
 * its records in the segment, and the process's own memory.
 */
#include "check_driver.h"

#include <inttypes.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

enum { CYCLES = 1000000, WARM_UP = 20000, SLACK_KIB = 256 };

struct footprint {
    uint64_t layer_bytes, private_bytes, segment_bytes, anonymous_kib;
};

static struct footprint measure(void)
{
    struct footprint now = {segment->globals.layer_bytes, segment->globals.private_bytes, segment->used_bytes, 0};
    char line[128];
    /* statm's figure may be hundreds of pages late, and pages of files come and go as the system likes. */
    FILE *file = fopen("/proc/self/smaps_rollup", "re");
    ck_assert_ptr_nonnull(file);
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "Anonymous: %" SCNu64, &now.anonymous_kib) == 1) break;
    fclose(file);
    ck_assert_uint_gt(now.anonymous_kib, 0);
    return now;
}

static void expect_no_growth(const struct footprint *before)
{
    struct footprint now = measure();
    ck_assert_uint_eq(now.layer_bytes, before->layer_bytes);
    ck_assert_uint_eq(now.private_bytes, before->private_bytes);
    ck_assert_uint_le(now.segment_bytes, before->segment_bytes + 2 * sizeof(struct mt_histogram));
    ck_assert_uint_le(now.anonymous_kib, before->anonymous_kib + SLACK_KIB);
    ck_assert_uint_gt(now.layer_bytes, 0); /* it is counted at all */
}

/* Runs a step often, with some of it first so that everything that is made once is there. */
static void repeat(void step(void), unsigned count)
{
    for (unsigned i = 0; i < WARM_UP && i < count; i++) step();
    struct footprint before = measure();
    for (unsigned i = 0; i < count; i++) step();
    expect_no_growth(&before);
}

static void memory_step(void)
{
    free_memory(allocate(4096, DEVICE_TYPE));
}

static VkDeviceMemory home;

static void buffer_step(void)
{
    VkBuffer buffer = create_buffer(4096);
    ck_assert_int_eq(vkBindBufferMemory(device, buffer, home, 0), VK_SUCCESS);
    vkDestroyBuffer(device, buffer, NULL);
}

static void image_step(void)
{
    vkDestroyImage(device, create_image(16), NULL);
}

static void device_step(void)
{
    VkDevice made;
    ck_assert_int_eq(make_device("", NULL, NULL, &made), VK_SUCCESS);
    vkDestroyDevice(made, NULL);
}

static void instance_step(void)
{
    VkInstance made;
    VkInstanceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO};
    ck_assert_int_eq(vkCreateInstance(&info, NULL, &made), VK_SUCCESS);
    vkDestroyInstance(made, NULL);
}

START_TEST(a_million_allocations)
{
    start_device("", "");
    repeat(memory_step, CYCLES);
    ck_assert_uint_eq(heap_row(0)->allocation_count, CYCLES + WARM_UP);
    ck_assert_uint_eq(heap_row(0)->free_count, CYCLES + WARM_UP);
    end_device();
}
END_TEST

START_TEST(a_million_buffers)
{
    start_device("", "");
    home = allocate(1 << 20, DEVICE_TYPE);
    repeat(buffer_step, CYCLES);
    free_memory(home);
    end_device();
}
END_TEST

START_TEST(a_million_images)
{
    start_device("", "");
    repeat(image_step, CYCLES);
    end_device();
}
END_TEST

START_TEST(a_thousand_devices)
{
    start_device("extensions=VK_EXT_device_memory_report", "");
    repeat(device_step, 1000);
    end_device();
}
END_TEST

/* The loader takes 800 KiB for each instance, from a heap that may keep it or not: from mappings it goes back. */
START_TEST(hundreds_of_instances)
{
    ck_assert_int_eq(mallopt(M_MMAP_THRESHOLD, 128 << 10), 1);
    start_device("", "");
    repeat(instance_step, 300);
    end_device();
}
END_TEST

/* Two threads hand each other what they make: no id, node or lane stays behind. */
static VkBuffer handed[256];

static void *destroy_all(void *unused)
{
    (void)unused;
    for (unsigned i = 0; i < 256; i++) vkDestroyBuffer(device, handed[i], NULL);
    return NULL;
}

static void handing_step(void)
{
    pthread_t thread;
    for (unsigned i = 0; i < 256; i++) handed[i] = create_buffer(4096);
    pthread_create(&thread, NULL, destroy_all, NULL);
    pthread_join(thread, NULL);
}

START_TEST(threads_that_come_and_go)
{
    start_device("", "");
    repeat(handing_step, 1000);
    ck_assert_uint_eq(__builtin_popcountll(segment->lanes_taken), 1);
    end_device();
}
END_TEST

Suite *growth_suite(void)
{
    Suite *suite = suite_create("growth");
    TCase *cases = tcase_create("growth");
    tcase_set_timeout(cases, 120);
    tcase_add_test(cases, a_million_allocations);
    tcase_add_test(cases, a_million_buffers);
    tcase_add_test(cases, a_million_images);
    tcase_add_test(cases, a_thousand_devices);
    tcase_add_test(cases, hundreds_of_instances);
    tcase_add_test(cases, threads_that_come_and_go);
    suite_add_tcase(suite, cases);
    return suite;
}
