/*
 * Host memory through VkAllocationCallbacks: every number against what the
 * program's own callbacks saw, which the layer must not change in any way.
 */
#include "check_driver.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HOST_BYTES = 1000 };

/* A program's callbacks with books of their own; a header in front of each block keeps its size. */
struct books {
    uint64_t current_bytes, current_count, internal_bytes, allocation_count, free_count, call_count;
    uint64_t fail_at; /* the n-th allocation or reallocation fails */
    bool has_failed;
};

struct header {
    uint64_t bytes, mark;
};
#define MARK UINT64_C(0x6d656d747261636b)

static bool should_fail(struct books *books)
{
    bool fails = ++books->call_count == books->fail_at;
    books->has_failed |= fails;
    return fails;
}

static void *VKAPI_CALL give(void *context, size_t bytes, size_t alignment, VkSystemAllocationScope scope)
{
    struct books *books = context;
    (void)scope;
    ck_assert_uint_le(alignment, 16);
    if (should_fail(books)) return NULL;
    struct header *header = malloc(sizeof *header + bytes);
    *header = (struct header){bytes, MARK};
    books->current_bytes += bytes;
    books->current_count++;
    books->allocation_count++;
    return header + 1;
}

static void VKAPI_CALL take_back(void *context, void *block)
{
    struct books *books = context;
    struct header *header = (struct header *)block - 1;
    if (!block) return;
    ck_assert_uint_eq(header->mark, MARK);
    header->mark = 0;
    books->current_bytes -= header->bytes;
    books->current_count--;
    books->free_count++;
    free(header);
}

static void *VKAPI_CALL change(void *context, void *block, size_t bytes, size_t alignment,
                               VkSystemAllocationScope scope)
{
    void *made = give(context, bytes, alignment, scope);
    if (!made) return NULL;
    if (block) {
        uint64_t old = ((struct header *)block - 1)->bytes;
        memcpy(made, block, old < bytes ? old : bytes);
        take_back(context, block);
    }
    return made;
}

static void VKAPI_CALL internal_given(void *context, size_t bytes, VkInternalAllocationType type,
                                      VkSystemAllocationScope scope)
{
    (void)type, (void)scope;
    ((struct books *)context)->internal_bytes += bytes;
}

static void VKAPI_CALL internal_taken_back(void *context, size_t bytes, VkInternalAllocationType type,
                                           VkSystemAllocationScope scope)
{
    (void)type, (void)scope;
    ((struct books *)context)->internal_bytes -= bytes;
}

static VkAllocationCallbacks callbacks_of(struct books *books)
{
    return (VkAllocationCallbacks){books, give, change, take_back, internal_given, internal_taken_back};
}

/* ---- what the segment says ------------------------------------------------------------ */

static const struct mt_heap *scope_row(unsigned scope)
{
    const struct mt_heap *row = view_heap(segment, MT_HEAP_HOST, scope, 0);
    ck_assert_ptr_nonnull(row);
    return row;
}

static const uint64_t *numbers_of(const char *name)
{
    const struct mt_object *record;
    for (unsigned n = 0; (record = view_nth(segment, MT_VK_HOST_COMMAND, n)); n++)
        if (!strcmp(record->name, name)) return record->attr;
    ck_abort_msg("no record of %s", name);
}

static VkFence make_fence(const VkAllocationCallbacks *allocator)
{
    VkFence fence = VK_NULL_HANDLE;
    VkFenceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    ck_assert_int_eq(vkCreateFence(device, &info, allocator, &fence), VK_SUCCESS);
    return fence;
}

static VkBuffer make_buffer(const VkAllocationCallbacks *allocator)
{
    VkBuffer buffer = VK_NULL_HANDLE;
    VkBufferCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, .size = 4096, .usage = VK_BUFFER_USAGE_VERTEX_BUFFER_BIT};
    ck_assert_int_eq(vkCreateBuffer(device, &info, allocator, &buffer), VK_SUCCESS);
    return buffer;
}

/* ---- tests ------------------------------------------------------------------------------ */

START_TEST(objects_count_by_scope_and_command)
{
    struct books books = {0};
    VkAllocationCallbacks callbacks = callbacks_of(&books);
    start_device("host=1000", "");
    VkFence fences[3];
    for (int i = 0; i < 3; i++) fences[i] = make_fence(&callbacks);
    VkBuffer buffer = make_buffer(&callbacks);
    ck_assert_uint_eq(books.current_bytes, 4 * HOST_BYTES);
    ck_assert_int_eq(scope_row(VK_SYSTEM_ALLOCATION_SCOPE_OBJECT)->current_bytes, 4 * HOST_BYTES);
    ck_assert_int_eq(scope_row(VK_SYSTEM_ALLOCATION_SCOPE_OBJECT)->current_count, 4);
    ck_assert_uint_eq(scope_row(VK_SYSTEM_ALLOCATION_SCOPE_OBJECT)->allocation_count, books.allocation_count);
    ck_assert_uint_eq(scope_row(VK_SYSTEM_ALLOCATION_SCOPE_OBJECT)->free_count, books.free_count);
    ck_assert_uint_eq(numbers_of("vkCreateFence")[MT_VK_HOST_CURRENT_BYTES], 3 * HOST_BYTES);
    ck_assert_uint_eq(numbers_of("vkCreateBuffer")[MT_VK_HOST_CURRENT_BYTES], HOST_BYTES);
    ck_assert_uint_eq(numbers_of("vkCreateFence")[MT_VK_HOST_TOTAL_BYTES], 3 * (HOST_BYTES / 2 + HOST_BYTES));
    ck_assert_uint_eq(numbers_of("vkCreateFence")[MT_VK_HOST_INTERNAL_COUNT], 3);
    ck_assert_int_eq(scope_row(5 + VK_SYSTEM_ALLOCATION_SCOPE_OBJECT)->current_bytes, 4 * 4096);
    ck_assert_uint_eq(books.internal_bytes, 4 * 4096);
    for (int i = 0; i < 3; i++) vkDestroyFence(device, fences[i], &callbacks);
    vkDestroyBuffer(device, buffer, &callbacks);
    ck_assert_uint_eq(books.current_count, 0);
    ck_assert_uint_eq(books.internal_bytes, 0);
    ck_assert_int_eq(scope_row(VK_SYSTEM_ALLOCATION_SCOPE_OBJECT)->current_bytes, 0);
    ck_assert_int_eq(scope_row(5 + VK_SYSTEM_ALLOCATION_SCOPE_OBJECT)->current_bytes, 0);
    ck_assert_uint_eq(numbers_of("vkCreateFence")[MT_VK_HOST_CURRENT_BYTES], 0);
    ck_assert_uint_eq(numbers_of("vkCreateFence")[MT_VK_HOST_FREES], 6);
    ck_assert_uint_ge(numbers_of("vkCreateFence")[MT_VK_HOST_PEAK_BYTES], 3 * HOST_BYTES);
    end_device();
}
END_TEST

/* A driver keeps the device's callbacks and uses them for objects that have none, until the device is gone. */
START_TEST(a_device_keeps_its_callbacks)
{
    struct books books = {0};
    VkAllocationCallbacks callbacks = callbacks_of(&books);
    start_instance("host=1000", "");
    float priority = 1;
    VkDeviceQueueCreateInfo queue = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, .queueCount = 1, .pQueuePriorities = &priority};
    VkDeviceCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO, .queueCreateInfoCount = 1, .pQueueCreateInfos = &queue};
    ck_assert_int_eq(vkCreateDevice(physical, &info, &callbacks, &device), VK_SUCCESS);
    uint64_t of_loader = books.current_bytes - HOST_BYTES;
    memset(&callbacks, 0, sizeof callbacks); /* the driver has its own copy */
    VkFence fence = make_fence(NULL);
    ck_assert_uint_eq(books.current_bytes, of_loader + 2 * HOST_BYTES);
    ck_assert_int_eq(scope_row(VK_SYSTEM_ALLOCATION_SCOPE_DEVICE)->current_bytes, HOST_BYTES);
    ck_assert_int_eq(scope_row(VK_SYSTEM_ALLOCATION_SCOPE_OBJECT)->current_bytes, HOST_BYTES);
    ck_assert_uint_eq(numbers_of("vkCreateDevice")[MT_VK_HOST_CURRENT_BYTES], HOST_BYTES);
    vkDestroyFence(device, fence, NULL);
    callbacks = callbacks_of(&books);
    vkDestroyDevice(device, &callbacks);
    ck_assert_uint_eq(books.current_count, 0);
    ck_assert_int_eq(scope_row(VK_SYSTEM_ALLOCATION_SCOPE_DEVICE)->current_bytes, 0);
    expect_no_breach();
    vkDestroyInstance(instance, NULL);
}
END_TEST

START_TEST(failures_are_passed_on_and_counted)
{
    struct books books = {.fail_at = 1};
    VkAllocationCallbacks callbacks = callbacks_of(&books);
    VkFence fence;
    VkFenceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    start_device("host=1000", "");
    ck_assert_int_eq(vkCreateFence(device, &info, &callbacks, &fence), VK_ERROR_OUT_OF_HOST_MEMORY);
    ck_assert_uint_eq(scope_row(VK_SYSTEM_ALLOCATION_SCOPE_OBJECT)->failed_count, 1);
    books.fail_at = books.call_count + 2; /* the reallocation: the first half must stay in the books until freed */
    ck_assert_int_eq(vkCreateFence(device, &info, &callbacks, &fence), VK_ERROR_OUT_OF_HOST_MEMORY);
    ck_assert(books.has_failed);
    ck_assert_uint_eq(books.current_count, 0);
    ck_assert_uint_eq(scope_row(VK_SYSTEM_ALLOCATION_SCOPE_OBJECT)->failed_count, 2);
    ck_assert_int_eq(scope_row(VK_SYSTEM_ALLOCATION_SCOPE_OBJECT)->current_bytes, 0);
    ck_assert_uint_eq(scope_row(VK_SYSTEM_ALLOCATION_SCOPE_OBJECT)->allocation_count, 1);
    ck_assert_uint_eq(scope_row(VK_SYSTEM_ALLOCATION_SCOPE_OBJECT)->free_count, 1);
    end_device();
}
END_TEST

/* A block that the driver got past the layer comes back through it, and the other way round. */
START_TEST(blocks_may_pass_beside_the_layer)
{
    struct books books = {0};
    VkAllocationCallbacks callbacks = callbacks_of(&books);
    char path[600];
    start_device("host=1000", "");
    snprintf(path, sizeof path, "%s/tests/layer/mock_icd/libmock_icd.so", getenv("MEMTRACK_BUILD") ?: "build");
    void *library = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
    ck_assert_ptr_nonnull(library);
    PFN_vkGetInstanceProcAddr next;
    *(void **)&next = dlsym(library, "vk_icdGetInstanceProcAddr");
    PFN_vkCreateFence create = (PFN_vkCreateFence)next(instance, "vkCreateFence");
    PFN_vkDestroyFence destroy = (PFN_vkDestroyFence)next(instance, "vkDestroyFence");
    VkFence beside, through = make_fence(&callbacks);
    VkFenceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    ck_assert_int_eq(create(device, &info, &callbacks, &beside), VK_SUCCESS);
    vkDestroyFence(device, beside, &callbacks);
    ck_assert_int_eq(scope_row(VK_SYSTEM_ALLOCATION_SCOPE_OBJECT)->current_bytes, HOST_BYTES);
    destroy(device, through, &callbacks);
    ck_assert_uint_eq(books.current_count, 0);
    dlclose(library);
    end_device();
}
END_TEST

START_TEST(as_many_sets_of_callbacks_as_a_program_likes)
{
    static struct books books[300];
    VkFence fences[300];
    start_device("host=1000", "");
    for (int i = 0; i < 300; i++) {
        VkAllocationCallbacks callbacks = callbacks_of(&books[i]);
        fences[i] = make_fence(&callbacks);
    }
    for (int i = 0; i < 300; i++) {
        VkAllocationCallbacks callbacks = callbacks_of(&books[i]);
        ck_assert_uint_eq(books[i].current_bytes, HOST_BYTES);
        vkDestroyFence(device, fences[i], &callbacks);
        ck_assert_uint_eq(books[i].current_count, 0);
    }
    ck_assert_uint_eq(scope_row(VK_SYSTEM_ALLOCATION_SCOPE_OBJECT)->allocation_count, 2 * 256);
    ck_assert_int_eq(scope_row(VK_SYSTEM_ALLOCATION_SCOPE_OBJECT)->current_bytes, 0);
    ck_assert_uint_eq(segment->dropped[MT_DROPPED_HEAPS], 2 * 44); /* counted where callbacks were not */
    end_device();
}
END_TEST

static void *churn(void *unused)
{
    struct books books = {0};
    VkAllocationCallbacks callbacks = callbacks_of(&books);
    (void)unused;
    for (int i = 0; i < 2000; i++) vkDestroyFence(device, make_fence(&callbacks), &callbacks);
    ck_assert_uint_eq(books.current_count, 0);
    return NULL;
}

START_TEST(threads_add_up)
{
    pthread_t threads[4];
    start_device("host=1000", "");
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, churn, NULL);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    ck_assert_uint_eq(scope_row(VK_SYSTEM_ALLOCATION_SCOPE_OBJECT)->allocation_count, 4 * 2000 * 2);
    ck_assert_uint_eq(scope_row(VK_SYSTEM_ALLOCATION_SCOPE_OBJECT)->free_count, 4 * 2000 * 2);
    ck_assert_int_eq(scope_row(VK_SYSTEM_ALLOCATION_SCOPE_OBJECT)->current_bytes, 0);
    ck_assert_uint_eq(numbers_of("vkCreateFence")[MT_VK_HOST_ALLOCATIONS], 4 * 2000 * 2);
    end_device();
}
END_TEST

START_TEST(switched_off_nothing_is_in_between)
{
    struct books books = {0};
    VkAllocationCallbacks callbacks = callbacks_of(&books);
    start_device("host=1000", "MEMTRACK_VULKAN_HOST=off");
    vkDestroyFence(device, make_fence(&callbacks), &callbacks);
    ck_assert_uint_eq(books.current_count, 0);
    ck_assert_ptr_null(view_heap(segment, MT_HEAP_HOST, VK_SYSTEM_ALLOCATION_SCOPE_OBJECT, 0));
    end_device();
}
END_TEST

Suite *host_suite(void)
{
    Suite *suite = suite_create("host");
    TCase *cases = tcase_create("callbacks");
    tcase_set_timeout(cases, 60);
    tcase_add_test(cases, objects_count_by_scope_and_command);
    tcase_add_test(cases, a_device_keeps_its_callbacks);
    tcase_add_test(cases, failures_are_passed_on_and_counted);
    tcase_add_test(cases, blocks_may_pass_beside_the_layer);
    tcase_add_test(cases, as_many_sets_of_callbacks_as_a_program_likes);
    tcase_add_test(cases, threads_add_up);
    tcase_add_test(cases, switched_off_nothing_is_in_between);
    suite_add_tcase(suite, cases);
    return suite;
}
