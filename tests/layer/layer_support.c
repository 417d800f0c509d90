/*
 * Shared by the layer's tests; see the header.
 */
#include "layer_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char session_directory[] = "/tmp/memtrack-layer.XXXXXX", layer_path[4096];
VkInstance instance;
VkDevice device;
const struct mt_segment *segment;

const struct fake_instance_options plain = {.api_version = VK_API_VERSION_1_3};

void start_layer(void)
{
    fake_start(layer_path);
}

void start_device(void)
{
    fake_start(layer_path);
    ck_assert_int_eq(fake_create_instance(&plain, &instance), VK_SUCCESS);
    ck_assert_int_eq(fake_create_device(instance, 0, &device), VK_SUCCESS);
    segment = view_open(session_directory, getpid());
    ck_assert_ptr_nonnull(segment);
}

/* ---- short forms of the commands --------------------------------------------------- */

VkDeviceMemory allocate_on(VkDevice on, uint64_t bytes, uint32_t type, const void *chain)
{
    VkMemoryAllocateInfo info = {VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, chain, bytes, type};
    VkDeviceMemory memory = VK_NULL_HANDLE;
    ck_assert_int_eq(DEVICE_COMMAND(on, AllocateMemory)(on, &info, NULL, &memory), VK_SUCCESS);
    return memory;
}

VkDeviceMemory allocate(uint64_t bytes, uint32_t type)
{
    return allocate_on(device, bytes, type, NULL);
}

void free_memory(VkDeviceMemory memory)
{
    DEVICE_COMMAND(device, FreeMemory)(device, memory, NULL);
}

VkBuffer create_buffer(uint64_t bytes)
{
    VkBufferCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, .size = bytes, .usage = VK_BUFFER_USAGE_VERTEX_BUFFER_BIT};
    VkBuffer buffer = VK_NULL_HANDLE;
    ck_assert_int_eq(DEVICE_COMMAND(device, CreateBuffer)(device, &info, NULL, &buffer), VK_SUCCESS);
    return buffer;
}

void destroy_buffer(VkBuffer buffer)
{
    DEVICE_COMMAND(device, DestroyBuffer)(device, buffer, NULL);
}

VkImage create_image(const void *chain, VkImageCreateFlags flags)
{
    VkImageCreateInfo info = {.sType = VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO,
                              .pNext = chain,
                              .flags = flags,
                              .imageType = VK_IMAGE_TYPE_2D,
                              .format = VK_FORMAT_R8G8B8A8_UNORM,
                              .extent = {640, 480, 1},
                              .mipLevels = 5,
                              .arrayLayers = 6,
                              .samples = VK_SAMPLE_COUNT_4_BIT,
                              .tiling = VK_IMAGE_TILING_OPTIMAL,
                              .usage = VK_IMAGE_USAGE_SAMPLED_BIT};
    VkImage image = VK_NULL_HANDLE;
    ck_assert_int_eq(DEVICE_COMMAND(device, CreateImage)(device, &info, NULL, &image), VK_SUCCESS);
    return image;
}

VkResult create_swapchain(VkSwapchainKHR old, VkSwapchainKHR *swapchain)
{
    VkSwapchainCreateInfoKHR info = {.sType = VK_STRUCTURE_TYPE_SWAPCHAIN_CREATE_INFO_KHR,
                                     .minImageCount = 3,
                                     .imageFormat = VK_FORMAT_B8G8R8A8_UNORM,
                                     .imageExtent = {640, 480},
                                     .imageArrayLayers = 1,
                                     .presentMode = VK_PRESENT_MODE_FIFO_KHR,
                                     .oldSwapchain = old};
    return DEVICE_COMMAND(device, CreateSwapchainKHR)(device, &info, NULL, swapchain);
}

const struct mt_object *record_of(uint16_t kind, uint64_t handle)
{
    const struct mt_object *object = view_handle(segment, kind, handle);
    ck_assert_msg(object != NULL, "no record of kind %u for handle %#lx", kind, (unsigned long)handle);
    return object;
}

void check_heap(uint32_t kind, uint32_t index, int64_t current, int64_t count, int64_t peak, uint64_t total)
{
    const struct mt_heap *heap = view_heap(segment, kind, index, 0);
    ck_assert_ptr_nonnull(heap);
    ck_assert_int_eq(heap->current_bytes, current);
    ck_assert_int_eq(heap->current_count, count);
    ck_assert_int_eq(heap->peak_bytes, peak);
    ck_assert_uint_eq(heap->total_bytes, total);
    ck_assert_int_eq((int64_t)(heap->allocation_count - heap->free_count), count);
}

/* ---- the suite ------------------------------------------------------------------- */

bool prepare_tests(void)
{
    const char *build = getenv("MEMTRACK_BUILD");
    snprintf(layer_path, sizeof layer_path, "%s/libVkLayer_memtrack.so", build ? build : "build");
    unsetenv("MEMTRACK_BUILD"); /* the layer would complain of an unknown option */
    if (!mkdtemp(session_directory)) return false;
    setenv("MEMTRACK_SESSION", session_directory, 1);
    setenv("MEMTRACK_COLLECTOR", "none", 1);
    setenv("MEMTRACK_VULKAN_BUDGET_INTERVAL", "0.1", 1);
    return true;
}

void add_tests(Suite *suite, const char *name, void (*setup)(void), const TTest *const *tests, size_t count)
{
    TCase *tests_case = tcase_create(name);
    tcase_add_checked_fixture(tests_case, setup, NULL);
    tcase_set_timeout(tests_case, 60);
    for (size_t i = 0; i < count; i++) tcase_add_test(tests_case, tests[i]);
    suite_add_tcase(suite, tests_case);
}

int run_suite(Suite *suite)
{
    char command[128];
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    snprintf(command, sizeof command, "rm -rf %s", session_directory);
    if (system(command)) fprintf(stderr, "left behind: %s\n", session_directory);
    return failed != 0;
}
