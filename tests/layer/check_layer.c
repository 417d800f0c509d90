/*
 * The Vulkan layer against a fake next chain, without loader or driver: the
 * contract point by point, and what it writes into the segment. Each test is
 * a process of its own (Check's fork mode), with a segment of its own.
 */
#include "fake_driver.h"
#include "segment_view.h"

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char directory[] = "/tmp/memtrack-layer.XXXXXX";
static char layer_path[4096];
static VkInstance instance;
static VkDevice device;
static const struct mt_segment *segment;

static const struct fake_instance_options plain = {.api_version = VK_API_VERSION_1_3};

static void start_layer(void)
{
    fake_start(layer_path);
}

static void start_device(void)
{
    fake_start(layer_path);
    ck_assert_int_eq(fake_create_instance(&plain, &instance), VK_SUCCESS);
    ck_assert_int_eq(fake_create_device(instance, 0, &device), VK_SUCCESS);
    segment = view_open(directory, getpid());
    ck_assert_ptr_nonnull(segment);
}

/* ---- short forms of the commands --------------------------------------------------- */

static VkDeviceMemory allocate_on(VkDevice on, uint64_t bytes, uint32_t type, const void *chain)
{
    VkMemoryAllocateInfo info = {VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, chain, bytes, type};
    VkDeviceMemory memory = VK_NULL_HANDLE;
    ck_assert_int_eq(DEVICE_COMMAND(on, AllocateMemory)(on, &info, NULL, &memory), VK_SUCCESS);
    return memory;
}

static VkDeviceMemory allocate(uint64_t bytes, uint32_t type)
{
    return allocate_on(device, bytes, type, NULL);
}

static void free_memory(VkDeviceMemory memory)
{
    DEVICE_COMMAND(device, FreeMemory)(device, memory, NULL);
}

static VkBuffer create_buffer(uint64_t bytes)
{
    VkBufferCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, .size = bytes, .usage = VK_BUFFER_USAGE_VERTEX_BUFFER_BIT};
    VkBuffer buffer = VK_NULL_HANDLE;
    ck_assert_int_eq(DEVICE_COMMAND(device, CreateBuffer)(device, &info, NULL, &buffer), VK_SUCCESS);
    return buffer;
}

static void destroy_buffer(VkBuffer buffer)
{
    DEVICE_COMMAND(device, DestroyBuffer)(device, buffer, NULL);
}

static VkImage create_image(const void *chain, VkImageCreateFlags flags)
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

static VkResult create_swapchain(VkSwapchainKHR old, VkSwapchainKHR *swapchain)
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

static const struct mt_object *record_of(uint16_t kind, uint64_t handle)
{
    const struct mt_object *object = view_handle(segment, kind, handle);
    ck_assert_msg(object != NULL, "no record of kind %u for handle %#lx", kind, (unsigned long)handle);
    return object;
}

#define RECORD(kind, handle)   record_of(kind, (uint64_t)(handle))
#define DEVICE_FLAG(attribute) (view_nth(segment, MT_VK_DEVICE, 0)->attr[attribute])

static void check_heap(uint32_t kind, uint32_t index, int64_t current, int64_t count, int64_t peak, uint64_t total)
{
    const struct mt_heap *heap = view_heap(segment, kind, index, 0);
    ck_assert_ptr_nonnull(heap);
    ck_assert_int_eq(heap->current_bytes, current);
    ck_assert_int_eq(heap->current_count, count);
    ck_assert_int_eq(heap->peak_bytes, peak);
    ck_assert_uint_eq(heap->total_bytes, total);
    ck_assert_int_eq((int64_t)(heap->allocation_count - heap->free_count), count);
}

/* ---- the library and its lookups ------------------------------------------------------ */

START_TEST(negotiation_refuses_old_and_foreign_interfaces)
{
    VkNegotiateLayerInterface interface = {.sType = LAYER_NEGOTIATE_INTERFACE_STRUCT,
                                           .loaderLayerInterfaceVersion = 7};
    ck_assert_int_eq(layer_negotiate(&interface), VK_SUCCESS);
    ck_assert_uint_eq(interface.loaderLayerInterfaceVersion, 2);
    ck_assert_ptr_nonnull((void *)interface.pfnGetDeviceProcAddr);
    interface.loaderLayerInterfaceVersion = 1;
    ck_assert_int_eq(layer_negotiate(&interface), VK_ERROR_INITIALIZATION_FAILED);
    interface = (VkNegotiateLayerInterface){.sType = LAYER_NEGOTIATE_UNINTIALIZED,
                                            .loaderLayerInterfaceVersion = 2};
    ck_assert_int_eq(layer_negotiate(&interface), VK_ERROR_INITIALIZATION_FAILED);
    ck_assert_int_eq(layer_negotiate(NULL), VK_ERROR_INITIALIZATION_FAILED);
}
END_TEST

START_TEST(commands_without_an_instance)
{
    static const char *const ours[] = {"vkGetInstanceProcAddr",
                                       "vkCreateInstance",
                                       "vkCreateDevice",
                                       "vkDestroyInstance",
                                       "vkEnumerateInstanceLayerProperties",
                                       "vkEnumerateInstanceExtensionProperties",
                                       "vkEnumerateDeviceExtensionProperties",
                                       "vkGetDeviceProcAddr"};
    for (unsigned i = 0; i < sizeof ours / sizeof *ours; i++)
        ck_assert_msg(layer_gipa(NULL, ours[i]) != NULL, "%s", ours[i]);
    ck_assert_ptr_null((void *)layer_gipa(NULL, "vkAllocateMemory"));
    ck_assert_ptr_null((void *)layer_gipa(NULL, "vkNoSuchCommand"));
    ck_assert_ptr_null((void *)layer_gipa(NULL, ""));
    ck_assert_ptr_null((void *)layer_gdpa(NULL, "vkAllocateMemory"));
    ck_assert_uint_eq(fake.calls.strict_violations, 0);
}
END_TEST

START_TEST(unknown_instances_and_devices_give_nothing)
{
    void *stranger[2] = {stranger, NULL};
    ck_assert_ptr_null((void *)layer_gipa((VkInstance)stranger, "vkAllocateMemory"));
    ck_assert_ptr_null((void *)layer_gdpa((VkDevice)stranger, "vkAllocateMemory"));
    ((PFN_vkDestroyInstance)layer_gipa(NULL, "vkDestroyInstance"))((VkInstance)stranger, NULL);
    ((PFN_vkDestroyInstance)layer_gipa(NULL, "vkDestroyInstance"))(VK_NULL_HANDLE, NULL);
    ck_assert_uint_eq(fake.calls.DestroyInstance, 0);
}
END_TEST

START_TEST(enumerates_itself_only)
{
    PFN_vkEnumerateInstanceLayerProperties layers = INSTANCE_COMMAND(NULL, EnumerateInstanceLayerProperties);
    PFN_vkEnumerateInstanceExtensionProperties extensions = INSTANCE_COMMAND(NULL,
                                                                             EnumerateInstanceExtensionProperties);
    VkLayerProperties properties;
    uint32_t count = 0;
    ck_assert_int_eq(layers(&count, NULL), VK_SUCCESS);
    ck_assert_uint_eq(count, 1);
    count = 0;
    ck_assert_int_eq(layers(&count, &properties), VK_INCOMPLETE);
    count = 5;
    ck_assert_int_eq(layers(&count, &properties), VK_SUCCESS);
    ck_assert_uint_eq(count, 1);
    ck_assert_str_eq(properties.layerName, "VK_LAYER_MEMTRACK_memtrack");
    ck_assert_int_eq(extensions("VK_LAYER_MEMTRACK_memtrack", &count, NULL), VK_SUCCESS);
    ck_assert_uint_eq(count, 0);
    ck_assert_int_eq(extensions(NULL, &count, NULL), VK_ERROR_LAYER_NOT_PRESENT);
    ck_assert_int_eq(extensions("VK_LAYER_other", &count, NULL), VK_ERROR_LAYER_NOT_PRESENT);
}
END_TEST

START_TEST(device_extensions_are_the_drivers)
{
    PFN_vkEnumerateDeviceExtensionProperties extensions = INSTANCE_COMMAND(instance,
                                                                           EnumerateDeviceExtensionProperties);
    uint32_t count = 7;
    fake.has_budget = true;
    ck_assert_int_eq(extensions(fake_physical_device(instance), NULL, &count, NULL), VK_SUCCESS);
    ck_assert_uint_eq(count, 1);
    ck_assert_int_eq(extensions(fake_physical_device(instance), "VK_LAYER_MEMTRACK_memtrack", &count, NULL),
                     VK_SUCCESS);
    ck_assert_uint_eq(count, 0);
}
END_TEST

START_TEST(device_commands_are_reachable_through_the_instance)
{
    ck_assert_ptr_eq((void *)layer_gipa(instance, "vkAllocateMemory"),
                     (void *)layer_gdpa(device, "vkAllocateMemory"));
    ck_assert_ptr_eq((void *)layer_gipa(instance, "vkQueuePresentKHR"),
                     (void *)layer_gdpa(device, "vkQueuePresentKHR"));
    ck_assert_ptr_nonnull((void *)layer_gipa(instance, "vkDeviceWaitIdle"));
    ck_assert_ptr_null((void *)layer_gipa(instance, "vkNoSuchCommand"));
    fake.hidden[0] = "vkQueuePresentKHR";
    ck_assert_ptr_null((void *)layer_gipa(instance, "vkQueuePresentKHR"));
}
END_TEST

START_TEST(commands_of_absent_extensions_are_hidden)
{
#define MT_DEVICE_HOOK(Name)                                                                                       \
    fake.hidden[0] = NULL;                                                                                         \
    ck_assert_msg(layer_gdpa(device, "vk" #Name) != NULL, "vk" #Name);                                             \
    fake.hidden[0] = "vk" #Name;                                                                                   \
    ck_assert_msg(layer_gdpa(device, "vk" #Name) == NULL, "vk" #Name " when absent");
#include "vklayer/hooks.def"
    fake.hidden[0] = NULL;
}
END_TEST

START_TEST(instance_commands_are_not_device_commands)
{
    ck_assert_ptr_null((void *)layer_gdpa(device, "vkCreateInstance"));
    ck_assert_ptr_null((void *)layer_gdpa(device, "vkCreateDevice"));
    ck_assert_ptr_null((void *)layer_gdpa(device, "vkGetInstanceProcAddr"));
    ck_assert_ptr_null((void *)layer_gdpa(device, "vkEnumerateDeviceExtensionProperties"));
    ck_assert_ptr_null((void *)layer_gdpa(device, "vkNoSuchCommand"));
    ck_assert_ptr_nonnull((void *)layer_gdpa(device, "vkDeviceWaitIdle"));
}
END_TEST

/* ---- instances and devices --------------------------------------------------------------- */

START_TEST(instance_without_application_info_is_version_1_0)
{
    struct fake_instance_options options = {.without_application_info = true};
    fake.has_budget = true;
    ck_assert_int_eq(fake_create_instance(&options, &instance), VK_SUCCESS);
    ck_assert_int_eq(fake_create_device(instance, 0, &device), VK_SUCCESS);
    segment = view_open(directory, getpid());
    ck_assert_uint_eq(DEVICE_FLAG(MT_VK_DEVICE_FLAGS) & MT_VK_DEVICE_HAS_BUDGET, 0);
    ck_assert_uint_eq(fake.calls.GetPhysicalDeviceMemoryProperties2, 0);
    ck_assert_uint_eq(fake.calls.strict_violations, 0);
}
END_TEST

START_TEST(failed_creations_record_nothing)
{
    VkInstance failed = (VkInstance)(uintptr_t)0x123;
    fake.fail_instance = VK_ERROR_INCOMPATIBLE_DRIVER;
    ck_assert_int_eq(fake_create_instance(&plain, &failed), VK_ERROR_INCOMPATIBLE_DRIVER);
    ck_assert_ptr_eq(failed, (VkInstance)(uintptr_t)0x123);
    fake.fail_instance = VK_SUCCESS;
    ck_assert_int_eq(fake_create_instance(&plain, &instance), VK_SUCCESS);
    fake.fail_device = VK_ERROR_FEATURE_NOT_PRESENT;
    ck_assert_int_eq(fake_create_device(instance, 0, &device), VK_ERROR_FEATURE_NOT_PRESENT);
    segment = view_open(directory, getpid());
    ck_assert_uint_eq(view_count(segment, MT_VK_DEVICE), 0);
    ck_assert_uint_eq(view_heap_rows(segment), 0);
}
END_TEST

START_TEST(device_record)
{
    const struct mt_object *record = view_nth(segment, MT_VK_DEVICE, 0);
    ck_assert_str_eq(record->name, "fake device");
    ck_assert(!strncmp(record->text, "fake driver", 11));
    ck_assert_uint_eq(record->attr[MT_VK_DEVICE_API_VERSION], VK_API_VERSION_1_3);
    ck_assert_uint_eq(record->attr[MT_VK_DEVICE_IDS], UINT64_C(0x1234) << 32 | 0x5678);
    ck_assert_uint_eq(record->attr[MT_VK_DEVICE_LIMITS], UINT64_C(1024) << 32 | 64);
    ck_assert_uint_eq(record->attr[MT_VK_DEVICE_MAX_ALLOCATIONS], 4096);
    ck_assert_uint_eq(record->attr[MT_VK_DEVICE_FLAGS], 0);
    ck_assert_uint_eq(record->offset, 1);
    ck_assert_uint_eq(view_heap_rows(segment), FAKE_HEAPS + FAKE_TYPES + 1);
    ck_assert_uint_eq(view_heap(segment, MT_HEAP_DEVICE_HEAP, 0, 0)->size_bytes, FAKE_HEAP_BYTES);
    ck_assert_uint_eq(view_heap(segment, MT_HEAP_DEVICE_TYPE, 1, 0)->heap_index, 1);
}
END_TEST

START_TEST(software_device_is_marked)
{
    fake.type = VK_PHYSICAL_DEVICE_TYPE_CPU;
    ck_assert_int_eq(fake_create_instance(&plain, &instance), VK_SUCCESS);
    ck_assert_int_eq(fake_create_device(instance, 0, &device), VK_SUCCESS);
    segment = view_open(directory, getpid());
    ck_assert_uint_eq(DEVICE_FLAG(MT_VK_DEVICE_FLAGS) & MT_VK_DEVICE_IN_PROCESS, MT_VK_DEVICE_IN_PROCESS);
}
END_TEST

START_TEST(several_instances_and_devices_are_apart)
{
    VkInstance second;
    VkDevice others[2];
    ck_assert_int_eq(fake_create_instance(&plain, &second), VK_SUCCESS);
    ck_assert_int_eq(fake_create_device(second, 0, &others[0]), VK_SUCCESS);
    ck_assert_int_eq(fake_create_device(instance, 0, &others[1]), VK_SUCCESS);
    ck_assert_uint_eq(view_count(segment, MT_VK_DEVICE), 3);
    fake.handle_step = 0; /* the same handle on each device */
    VkDeviceMemory same = allocate_on(device, 1000, 0, NULL);
    ck_assert_int_eq((intptr_t)allocate_on(others[0], 2000, 0, NULL), (intptr_t)same);
    ck_assert_int_eq((intptr_t)allocate_on(others[1], 3000, 0, NULL), (intptr_t)same);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_int_eq(view_heap(segment, MT_HEAP_DEVICE_HEAP, 0, i)->current_bytes, 1000 * (i + 1));
    DEVICE_COMMAND(others[0], FreeMemory)(others[0], same, NULL);
    ck_assert_int_eq(view_heap(segment, MT_HEAP_DEVICE_HEAP, 0, 1)->current_bytes, 0);
    ck_assert_int_eq(view_heap(segment, MT_HEAP_DEVICE_HEAP, 0, 0)->current_bytes, 1000);
    DEVICE_COMMAND(others[0], DestroyDevice)(others[0], NULL);
    INSTANCE_COMMAND(second, DestroyInstance)(second, NULL);
    free_memory(same);
    ck_assert_int_eq(view_heap(segment, MT_HEAP_DEVICE_HEAP, 0, 0)->current_bytes, 0);
    ck_assert_ptr_nonnull((void *)layer_gipa(instance, "vkDeviceWaitIdle"));
}
END_TEST

START_TEST(destroy_goes_down_and_forgets)
{
    PFN_vkDestroyDevice destroy = DEVICE_COMMAND(device, DestroyDevice);
    destroy(VK_NULL_HANDLE, NULL);
    ck_assert_uint_eq(fake.calls.DestroyDevice, 0);
    destroy(device, NULL);
    ck_assert_uint_eq(fake.calls.DestroyDevice, 1);
    INSTANCE_COMMAND(instance, DestroyInstance)(instance, NULL);
    ck_assert_uint_eq(fake.calls.DestroyInstance, 1);
    ck_assert_uint_ne(DEVICE_FLAG(MT_VK_DEVICE_FLAGS) & MT_VK_DEVICE_DESTROYED, 0);
    ck_assert_uint_ne(DEVICE_FLAG(MT_VK_DEVICE_DESTROY_NS), 0);
}
END_TEST

static uint64_t cycle(bool leaks)
{
    ck_assert_int_eq(fake_create_instance(&plain, &instance), VK_SUCCESS);
    ck_assert_int_eq(fake_create_device(instance, 0, &device), VK_SUCCESS);
    VkDeviceMemory memory = allocate(1000, 0);
    VkBuffer buffer = create_buffer(100);
    DEVICE_COMMAND(device, BindBufferMemory)(device, buffer, memory, 0);
    destroy_buffer(buffer);
    if (!leaks) free_memory(memory);
    DEVICE_COMMAND(device, DestroyDevice)(device, NULL);
    INSTANCE_COMMAND(instance, DestroyInstance)(instance, NULL);
    return segment ? segment->used_bytes + segment->globals.private_bytes : 0;
}

START_TEST(a_thousand_cycles_do_not_grow)
{
    fake.has_budget = true; /* with the budget thread coming and going */
    cycle(false);
    segment = view_open(directory, getpid());
    uint64_t before = cycle(false), after = 0;
    for (unsigned i = 0; i < 1000; i++) after = cycle(false);
    ck_assert_uint_eq(after, before);
    ck_assert_uint_eq(view_count(segment, MT_VK_DEVICE), 1);
    ck_assert_uint_eq(view_nth(segment, MT_VK_DEVICE, 0)->offset, 1002);
    ck_assert_uint_eq(view_heap_rows(segment), FAKE_HEAPS + FAKE_TYPES + 1);
    check_heap(MT_HEAP_DEVICE_HEAP, 0, 0, 0, 1000, 1002000);
    ck_assert_uint_eq(segment->dropped[MT_DROPPED_HEAPS], 0);
}
END_TEST

START_TEST(the_layer_twice_in_one_chain_counts_once)
{
    for (unsigned how = 1; how <= 2; how++) {
        ck_assert_int_eq(
            fake_create_instance(
                &(struct fake_instance_options){.api_version = VK_API_VERSION_1_3, .self_again = how}, &instance),
            VK_SUCCESS);
        ck_assert_int_eq(fake_create_device(instance, how, &device), VK_SUCCESS);
        segment = view_open(directory, getpid());
        ck_assert_uint_eq(view_count(segment, MT_VK_DEVICE), 1);
        VkDeviceMemory memory = allocate(1000, 0);
        ck_assert_uint_eq(fake.calls.AllocateMemory, how);
        check_heap(MT_HEAP_DEVICE_HEAP, 0, 1000, 1, 1000, 1000 * how);
        ck_assert_ptr_nonnull((void *)layer_gipa(instance, "vkDeviceWaitIdle"));
        ck_assert_ptr_null((void *)layer_gipa(instance, "vkNoSuchCommand"));
        free_memory(memory);
        DEVICE_COMMAND(device, DestroyDevice)(device, NULL);
        INSTANCE_COMMAND(instance, DestroyInstance)(instance, NULL);
    }
}
END_TEST

START_TEST(an_instance_destroyed_before_its_device)
{
    allocate(1000, 0);
    INSTANCE_COMMAND(instance, DestroyInstance)(instance, NULL);
    ck_assert(view_event(segment, "vulkan", "1 devices alive"));
    ck_assert_uint_eq(DEVICE_FLAG(MT_VK_DEVICE_LEAKED), 1);
    DEVICE_COMMAND(device, DestroyDevice)(device, NULL); /* wrong, but it must come down */
    ck_assert_uint_eq(fake.calls.DestroyDevice, 1);
}
END_TEST

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

/* ---- resources ------------------------------------------------------------------------------------- */

START_TEST(buffers_and_their_binding)
{
    VkDeviceMemory memory = allocate(65536, 0);
    VkBuffer buffer = create_buffer(3000);
    const struct mt_object *record = RECORD(MT_VK_BUFFER, buffer);
    ck_assert_uint_eq(record->size_bytes, 3000);
    ck_assert_uint_eq(record->attr[MT_VK_RESOURCE_USAGE], VK_BUFFER_USAGE_VERTEX_BUFFER_BIT);
    ck_assert_uint_eq(record->attr[MT_VK_RESOURCE_REQUIRED_BYTES], 0);
    VkMemoryRequirements required;
    DEVICE_COMMAND(device, GetBufferMemoryRequirements)(device, buffer, &required);
    ck_assert_uint_eq(record->attr[MT_VK_RESOURCE_REQUIRED_BYTES], 4096);
    ck_assert_uint_eq(record->attr[MT_VK_RESOURCE_ALIGNMENT], 256);
    ck_assert_uint_eq(record->attr[MT_VK_RESOURCE_TYPE_BITS], 7);
    ck_assert_int_eq(DEVICE_COMMAND(device, BindBufferMemory)(device, buffer, memory, 8192), VK_SUCCESS);
    ck_assert_uint_eq(fake.calls.GetBufferMemoryRequirements, 1); /* known already */
    ck_assert_uint_eq(record->offset, 8192);
    ck_assert_ptr_eq(view_at(segment, record->link), RECORD(MT_VK_MEMORY, memory));
    ck_assert_uint_eq(record->attr[MT_VK_RESOURCE_FLAGS], MT_VK_RESOURCE_BOUND);
    ck_assert_uint_ne(record->attr[MT_VK_RESOURCE_BIND_NS], 0);
    ck_assert_uint_eq(RECORD(MT_VK_MEMORY, memory)->attr[MT_VK_MEMORY_BOUND], 1);
    destroy_buffer(buffer);
    ck_assert_uint_eq(view_count(segment, MT_VK_BUFFER), 0);
    ck_assert_uint_eq(RECORD(MT_VK_MEMORY, memory)->attr[MT_VK_MEMORY_BOUND], 0);
}
END_TEST

START_TEST(requirements_are_asked_at_bind_when_unknown)
{
    VkDeviceMemory memory = allocate(65536, 0);
    VkBuffer buffer = create_buffer(3000);
    VkImage image = create_image(NULL, 0);
    DEVICE_COMMAND(device, BindBufferMemory)(device, buffer, memory, 0);
    DEVICE_COMMAND(device, BindImageMemory)(device, image, memory, 4096);
    ck_assert_uint_eq(fake.calls.GetBufferMemoryRequirements, 1);
    ck_assert_uint_eq(fake.calls.GetImageMemoryRequirements, 1);
    ck_assert_uint_eq(RECORD(MT_VK_BUFFER, buffer)->attr[MT_VK_RESOURCE_REQUIRED_BYTES], 4096);
    ck_assert_uint_eq(RECORD(MT_VK_IMAGE, image)->size_bytes, 4096);
    ck_assert_uint_eq(RECORD(MT_VK_MEMORY, memory)->attr[MT_VK_MEMORY_BOUND], 2);
}
END_TEST

START_TEST(images_and_their_requirements)
{
    VkImage image = create_image(NULL, VK_IMAGE_CREATE_SPARSE_BINDING_BIT);
    const struct mt_object *record = RECORD(MT_VK_IMAGE, image);
    ck_assert_uint_eq(record->size_bytes, 0);
    ck_assert_uint_eq(record->attr[MT_VK_IMAGE_EXTENT], 640 | UINT64_C(480) << 32);
    ck_assert_uint_eq(record->attr[MT_VK_IMAGE_DEPTH_LAYERS], 1 | UINT64_C(6) << 32);
    ck_assert_uint_eq(record->attr[MT_VK_IMAGE_MIPS_SAMPLES], 5 | UINT64_C(4) << 32);
    ck_assert_uint_eq(record->attr[MT_VK_IMAGE_FORMAT], VK_FORMAT_R8G8B8A8_UNORM);
    ck_assert_uint_eq(record->attr[MT_VK_IMAGE_TYPE], VK_IMAGE_TYPE_2D);
    ck_assert_uint_eq(record->attr[MT_VK_RESOURCE_FLAGS], MT_VK_RESOURCE_SPARSE);
    VkImageMemoryRequirementsInfo2 info = {VK_STRUCTURE_TYPE_IMAGE_MEMORY_REQUIREMENTS_INFO_2, NULL, image};
    VkMemoryRequirements2 required = {.sType = VK_STRUCTURE_TYPE_MEMORY_REQUIREMENTS_2};
    DEVICE_COMMAND(device, GetImageMemoryRequirements2KHR)(device, &info, &required);
    ck_assert_uint_eq(record->size_bytes, 4096);
    DEVICE_COMMAND(device, GetImageMemoryRequirements2)(device, &info, &required);
    ck_assert_uint_eq(record->size_bytes, 4096);
    ck_assert_uint_eq(fake.calls.GetImageMemoryRequirements2KHR, 1);
    ck_assert_uint_eq(fake.calls.GetImageMemoryRequirements2, 1);
}
END_TEST

START_TEST(planes_add_up_and_bind_apart)
{
    VkDeviceMemory a = allocate(65536, 0), b = allocate(65536, 0);
    VkImage image = create_image(NULL, VK_IMAGE_CREATE_DISJOINT_BIT);
    const struct mt_object *record = RECORD(MT_VK_IMAGE, image);
    VkImagePlaneMemoryRequirementsInfo plane = {VK_STRUCTURE_TYPE_IMAGE_PLANE_MEMORY_REQUIREMENTS_INFO, NULL,
                                                VK_IMAGE_ASPECT_PLANE_0_BIT};
    VkImageMemoryRequirementsInfo2 info = {VK_STRUCTURE_TYPE_IMAGE_MEMORY_REQUIREMENTS_INFO_2, &plane, image};
    VkMemoryRequirements2 required = {.sType = VK_STRUCTURE_TYPE_MEMORY_REQUIREMENTS_2};
    PFN_vkGetImageMemoryRequirements2 ask = DEVICE_COMMAND(device, GetImageMemoryRequirements2);
    ask(device, &info, &required);
    ask(device, &info, &required); /* asked again: not added again */
    plane.planeAspect = VK_IMAGE_ASPECT_PLANE_1_BIT;
    ask(device, &info, &required);
    ck_assert_uint_eq(record->size_bytes, 8192);
    VkBindImagePlaneMemoryInfo planes[2] = {
        {VK_STRUCTURE_TYPE_BIND_IMAGE_PLANE_MEMORY_INFO, NULL, VK_IMAGE_ASPECT_PLANE_0_BIT},
        {VK_STRUCTURE_TYPE_BIND_IMAGE_PLANE_MEMORY_INFO, NULL, VK_IMAGE_ASPECT_PLANE_1_BIT}};
    VkBindImageMemoryInfo binds[2] = {{VK_STRUCTURE_TYPE_BIND_IMAGE_MEMORY_INFO, &planes[0], image, a, 0},
                                      {VK_STRUCTURE_TYPE_BIND_IMAGE_MEMORY_INFO, &planes[1], image, b, 256}};
    ck_assert_int_eq(DEVICE_COMMAND(device, BindImageMemory2)(device, 2, binds), VK_SUCCESS);
    ck_assert_ptr_eq(view_at(segment, record->link), RECORD(MT_VK_MEMORY, b));
    ck_assert_uint_eq(record->attr[MT_VK_RESOURCE_FLAGS], MT_VK_RESOURCE_BOUND | MT_VK_RESOURCE_DISJOINT);
    ck_assert_uint_eq(RECORD(MT_VK_MEMORY, a)->attr[MT_VK_MEMORY_BOUND], 0);
    ck_assert_uint_eq(RECORD(MT_VK_MEMORY, b)->attr[MT_VK_MEMORY_BOUND], 1);
    ck_assert_uint_eq(fake.calls.GetImageMemoryRequirements, 0); /* must not be asked plainly */
    DEVICE_COMMAND(device, DestroyImage)(device, image, NULL);
    ck_assert_uint_eq(RECORD(MT_VK_MEMORY, b)->attr[MT_VK_MEMORY_BOUND], 0);
}
END_TEST

START_TEST(binding_several_at_once)
{
    VkDeviceMemory memory = allocate(65536, 0);
    VkBuffer buffers[3] = {create_buffer(1), create_buffer(2), create_buffer(3)};
    VkResult results[3] = {VK_SUCCESS, VK_ERROR_OUT_OF_DEVICE_MEMORY, VK_SUCCESS};
    struct mt_bind_status status[3];
    VkBindBufferMemoryInfo binds[3];
    for (unsigned i = 0; i < 3; i++) {
        status[i] = (struct mt_bind_status){(VkStructureType)MT_STYPE_BIND_MEMORY_STATUS, NULL, &results[i]};
        binds[i] = (VkBindBufferMemoryInfo){VK_STRUCTURE_TYPE_BIND_BUFFER_MEMORY_INFO, NULL, buffers[i], memory,
                                            i * 256};
    }
    fake.fail = VK_ERROR_OUT_OF_DEVICE_MEMORY;
    ck_assert_int_eq(DEVICE_COMMAND(device, BindBufferMemory2)(device, 3, binds), VK_ERROR_OUT_OF_DEVICE_MEMORY);
    ck_assert_uint_eq(RECORD(MT_VK_MEMORY, memory)->attr[MT_VK_MEMORY_BOUND], 0);
    for (unsigned i = 0; i < 3; i++) binds[i].pNext = &status[i];
    DEVICE_COMMAND(device, BindBufferMemory2)(device, 3, binds);
    ck_assert_uint_eq(RECORD(MT_VK_MEMORY, memory)->attr[MT_VK_MEMORY_BOUND], 2);
    ck_assert_uint_eq(RECORD(MT_VK_BUFFER, buffers[1])->attr[MT_VK_RESOURCE_FLAGS], 0);
    fake.fail = VK_SUCCESS;
    DEVICE_COMMAND(device, BindBufferMemory2KHR)(device, 1, &binds[1]);
    ck_assert_uint_eq(RECORD(MT_VK_BUFFER, buffers[1])->offset, 256);
    ck_assert_uint_eq(RECORD(MT_VK_MEMORY, memory)->attr[MT_VK_MEMORY_BOUND], 3);
    ck_assert_uint_eq(fake.calls.BindBufferMemory2KHR, 1);
}
END_TEST

START_TEST(memory_freed_before_its_resources)
{
    VkDeviceMemory memory = allocate(65536, 0);
    VkBuffer buffers[3];
    VkImage image = create_image(NULL, 0);
    for (unsigned i = 0; i < 3; i++) {
        buffers[i] = create_buffer(10);
        DEVICE_COMMAND(device, BindBufferMemory)(device, buffers[i], memory, 0);
    }
    DEVICE_COMMAND(device, BindImageMemory)(device, image, memory, 0);
    destroy_buffer(buffers[1]); /* out of the middle of the list */
    free_memory(memory);
    check_heap(MT_HEAP_DEVICE_HEAP, 0, 0, 0, 65536, 65536);
    ck_assert_uint_eq(RECORD(MT_VK_BUFFER, buffers[0])->attr[MT_VK_RESOURCE_FLAGS],
                      MT_VK_RESOURCE_BOUND | MT_VK_RESOURCE_MEMORY_FREED);
    ck_assert_uint_eq(RECORD(MT_VK_BUFFER, buffers[2])->link, 0);
    ck_assert_uint_ne(RECORD(MT_VK_IMAGE, image)->attr[MT_VK_RESOURCE_FLAGS] & MT_VK_RESOURCE_MEMORY_FREED, 0);
    destroy_buffer(buffers[0]);
    destroy_buffer(buffers[2]);
    DEVICE_COMMAND(device, DestroyImage)(device, image, NULL);
    ck_assert_uint_eq(view_count(segment, MT_VK_BUFFER) + view_count(segment, MT_VK_IMAGE), 0);
}
END_TEST

START_TEST(sparse_binds_are_counted)
{
    VkSparseMemoryBind memory_binds[3] = {{0}};
    VkSparseBufferMemoryBindInfo buffer_binds[2] = {{(VkBuffer)1, 3, memory_binds}, {(VkBuffer)2, 1, memory_binds}};
    VkBindSparseInfo info = {
        .sType = VK_STRUCTURE_TYPE_BIND_SPARSE_INFO, .bufferBindCount = 2, .pBufferBinds = buffer_binds};
    ck_assert_int_eq(DEVICE_COMMAND(device, QueueBindSparse)(fake_queue(device), 1, &info, VK_NULL_HANDLE),
                     VK_SUCCESS);
    ck_assert_uint_eq(fake.calls.QueueBindSparse, 1);
    ck_assert_uint_eq(view_nth(segment, MT_VK_DEVICE, 0)->size_bytes, 4);
}
END_TEST

/* ---- swapchains and frames ------------------------------------------------------------------------------ */

START_TEST(swapchains_old_and_new)
{
    VkSwapchainKHR first, second, failed = VK_NULL_HANDLE;
    uint32_t count = 2;
    VkImage images[FAKE_SWAPCHAIN_IMAGES];
    ck_assert_int_eq(create_swapchain(VK_NULL_HANDLE, &first), VK_SUCCESS);
    const struct mt_object *record = RECORD(MT_VK_SWAPCHAIN, first);
    ck_assert_uint_eq(record->size_bytes, 3 * 640 * 480 * 4);
    PFN_vkGetSwapchainImagesKHR get = DEVICE_COMMAND(device, GetSwapchainImagesKHR);
    ck_assert_int_eq(get(device, first, &count, images), VK_INCOMPLETE);
    ck_assert_uint_eq(record->attr[MT_VK_SWAPCHAIN_IMAGES], 3);
    ck_assert_int_eq(get(device, first, &count, NULL), VK_SUCCESS);
    ck_assert_uint_eq(record->size_bytes, FAKE_SWAPCHAIN_IMAGES * 640 * 480 * 4);
    ck_assert_int_eq(create_swapchain(first, &second), VK_SUCCESS);
    ck_assert_uint_eq(view_count(segment, MT_VK_SWAPCHAIN), 2);
    ck_assert_uint_eq(record->attr[MT_VK_SWAPCHAIN_RETIRED], 1);
    DEVICE_COMMAND(device, DestroySwapchainKHR)(device, first, NULL);
    ck_assert_uint_eq(view_count(segment, MT_VK_SWAPCHAIN), 1);
    fake.fail = VK_ERROR_SURFACE_LOST_KHR;
    ck_assert_int_eq(create_swapchain(second, &failed), VK_ERROR_SURFACE_LOST_KHR);
    ck_assert_uint_eq(view_count(segment, MT_VK_SWAPCHAIN), 1);
    ck_assert_uint_eq(RECORD(MT_VK_SWAPCHAIN, second)->attr[MT_VK_SWAPCHAIN_RETIRED], 1);
}
END_TEST

START_TEST(images_bound_to_a_swapchain)
{
    VkSwapchainKHR swapchain;
    ck_assert_int_eq(create_swapchain(VK_NULL_HANDLE, &swapchain), VK_SUCCESS);
    VkImageSwapchainCreateInfoKHR create = {VK_STRUCTURE_TYPE_IMAGE_SWAPCHAIN_CREATE_INFO_KHR, NULL, swapchain};
    VkImage image = create_image(&create, 0);
    VkBindImageMemorySwapchainInfoKHR info = {VK_STRUCTURE_TYPE_BIND_IMAGE_MEMORY_SWAPCHAIN_INFO_KHR, NULL,
                                              swapchain, 1};
    VkBindImageMemoryInfo bind = {VK_STRUCTURE_TYPE_BIND_IMAGE_MEMORY_INFO, &info, image, VK_NULL_HANDLE, 0};
    ck_assert_int_eq(DEVICE_COMMAND(device, BindImageMemory2)(device, 1, &bind), VK_SUCCESS);
    const struct mt_object *record = RECORD(MT_VK_IMAGE, image);
    ck_assert_uint_eq(record->attr[MT_VK_RESOURCE_FLAGS], MT_VK_RESOURCE_BOUND | MT_VK_RESOURCE_SWAPCHAIN);
    ck_assert_ptr_eq(view_at(segment, record->link), RECORD(MT_VK_SWAPCHAIN, swapchain));
    ck_assert_uint_eq(fake.calls.GetImageMemoryRequirements, 0);
    ck_assert_uint_eq(DEVICE_FLAG(MT_VK_DEVICE_UNKNOWN_FREES), 0);
}
END_TEST

START_TEST(presents_are_frames)
{
    VkSwapchainKHR swapchain;
    ck_assert_int_eq(create_swapchain(VK_NULL_HANDLE, &swapchain), VK_SUCCESS);
    VkPresentInfoKHR info = {
        .sType = VK_STRUCTURE_TYPE_PRESENT_INFO_KHR, .swapchainCount = 1, .pSwapchains = &swapchain};
    for (unsigned i = 0; i < 10; i++) {
        if (i) allocate(100, 0);
        ck_assert_int_eq(DEVICE_COMMAND(device, QueuePresentKHR)(fake_queue(device), &info), VK_SUCCESS);
    }
    fake.fail = VK_ERROR_OUT_OF_DATE_KHR;
    ck_assert_int_eq(DEVICE_COMMAND(device, QueuePresentKHR)(fake_queue(device), &info), VK_ERROR_OUT_OF_DATE_KHR);
    fake.fail = VK_SUCCESS;
    ck_assert_uint_eq(segment->frames.count, 11);
    ck_assert_uint_eq(segment->frames.source, MT_FRAME_VULKAN);
    ck_assert_uint_eq(segment->frames.ring[5].device_allocation_count, 1);
    ck_assert_uint_eq(segment->frames.ring[5].device_bytes, 100);
    ck_assert_uint_eq(RECORD(MT_VK_SWAPCHAIN, swapchain)->attr[MT_VK_SWAPCHAIN_PRESENTS], 11);
    ck_assert_uint_eq(RECORD(MT_VK_MEMORY, allocate(1, 0))->create_frame, 11);
}
END_TEST

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
    const struct mt_heap *heap = view_heap(segment, MT_HEAP_DEVICE_HEAP, 0, 0);
    for (unsigned i = 0; i < 2000 && heap->budget_bytes != expected; i++)
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    ck_assert_uint_eq(heap->budget_bytes, expected);
}

START_TEST(budgets_come_from_a_quiet_thread)
{
    fake.has_budget = true;
    fake.budget_bytes = 1000000;
    fake.usage_bytes = 2000;
    ck_assert_int_eq(fake_create_instance(&plain, &instance), VK_SUCCESS);
    ck_assert_int_eq(fake_create_device(instance, 0, &device), VK_SUCCESS);
    segment = view_open(directory, getpid());
    wait_for_budget(1000000);
    ck_assert_uint_eq(view_heap(segment, MT_HEAP_DEVICE_HEAP, 1, 0)->usage_bytes, 2000);
    ck_assert_uint_ne(DEVICE_FLAG(MT_VK_DEVICE_FLAGS) & MT_VK_DEVICE_HAS_BUDGET, 0);
    fake.budget_bytes = 900000;
    wait_for_budget(900000);
    fake.usage_bytes = UINT64_MAX - 5; /* drivers have said such things */
    const struct mt_heap *heap = view_heap(segment, MT_HEAP_DEVICE_HEAP, 0, 0);
    for (unsigned i = 0; i < 2000 && !heap->budget_rejected_count; i++)
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    ck_assert_uint_gt(heap->budget_rejected_count, 0);
    ck_assert_uint_eq(heap->usage_bytes, 2000);
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
    segment = view_open(directory, getpid());
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
    const struct mt_segment *own = view_open(directory, getpid());
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
    segment = view_open(directory, getpid());
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
    ck_assert_ptr_null(view_open(directory, getpid()));
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
    segment = view_open(directory, getpid());
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

static void add(Suite *suite, const char *name, void (*setup)(void), const TTest *const *tests, size_t count)
{
    TCase *tests_case = tcase_create(name);
    tcase_add_checked_fixture(tests_case, setup, NULL);
    tcase_set_timeout(tests_case, 60);
    for (size_t i = 0; i < count; i++) tcase_add_test(tests_case, tests[i]);
    suite_add_tcase(suite, tests_case);
}

static void remove_directory(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", directory);
    if (system(command)) fprintf(stderr, "left behind: %s\n", directory);
}

int main(void)
{
    const TTest *const bare[] = {negotiation_refuses_old_and_foreign_interfaces,
                                 commands_without_an_instance,
                                 unknown_instances_and_devices_give_nothing,
                                 enumerates_itself_only,
                                 instance_without_application_info_is_version_1_0,
                                 failed_creations_record_nothing,
                                 software_device_is_marked,
                                 a_thousand_cycles_do_not_grow,
                                 the_layer_twice_in_one_chain_counts_once,
                                 budgets_come_from_a_quiet_thread,
                                 a_slow_budget_is_waited_for_only_by_the_instances_end,
                                 budgets_by_the_extension_on_version_1_0,
                                 devices_come_and_go_on_eight_threads,
                                 switched_off_it_forwards_only,
                                 a_small_segment_drops_and_counts};
    const TTest *const with_device[] = {device_extensions_are_the_drivers,
                                        device_commands_are_reachable_through_the_instance,
                                        commands_of_absent_extensions_are_hidden,
                                        instance_commands_are_not_device_commands,
                                        device_record,
                                        several_instances_and_devices_are_apart,
                                        destroy_goes_down_and_forgets,
                                        an_instance_destroyed_before_its_device,
                                        memory_is_counted_on_its_heap_and_type,
                                        failed_allocations_are_counted_as_failed_only,
                                        imports_are_counted_apart,
                                        allocation_chains_are_noted,
                                        null_handles_pass_through,
                                        unknown_handles_are_counted_and_passed_on,
                                        a_handle_value_may_come_back,
                                        no_lock_is_held_across_a_call_down,
                                        mappings,
                                        names,
                                        buffers_and_their_binding,
                                        requirements_are_asked_at_bind_when_unknown,
                                        images_and_their_requirements,
                                        planes_add_up_and_bind_apart,
                                        binding_several_at_once,
                                        memory_freed_before_its_resources,
                                        sparse_binds_are_counted,
                                        swapchains_old_and_new,
                                        images_bound_to_a_swapchain,
                                        presents_are_frames,
                                        leaks_stay_in_the_report,
                                        a_forks_child_counts_for_itself,
                                        eight_threads,
                                        a_hundred_thousand_objects};
    const char *build = getenv("MEMTRACK_BUILD");
    snprintf(layer_path, sizeof layer_path, "%s/libVkLayer_memtrack.so", build ? build : "build");
    if (!mkdtemp(directory)) return 1;
    unsetenv("MEMTRACK_BUILD"); /* the layer would complain of an unknown option */
    setenv("MEMTRACK_SESSION", directory, 1);
    setenv("MEMTRACK_COLLECTOR", "none", 1);
    setenv("MEMTRACK_VULKAN_BUDGET_INTERVAL", "0.1", 1);
    Suite *suite = suite_create("layer");
    add(suite, "bare", start_layer, bare, sizeof bare / sizeof *bare);
    add(suite, "with a device", start_device, with_device, sizeof with_device / sizeof *with_device);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    remove_directory();
    return failed != 0;
}
