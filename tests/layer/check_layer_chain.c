/*
 * The contract of a layer: negotiation, lookups, enumeration, instances and
 * devices, in tests that are a process each.
 */
#include "layer_support.h"

#include <string.h>
#include <stdlib.h>
#include <unistd.h>

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
    segment = view_open(session_directory, getpid());
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
    segment = view_open(session_directory, getpid());
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
    ck_assert_uint_eq(record->attr[MT_VK_DEVICE_FLAGS] & 0xff, 0);
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
    segment = view_open(session_directory, getpid());
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
    segment = view_open(session_directory, getpid());
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
        segment = view_open(session_directory, getpid());
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

void add_chain_tests(Suite *suite)
{
    const TTest *const bare[] = {negotiation_refuses_old_and_foreign_interfaces,
                                 commands_without_an_instance,
                                 unknown_instances_and_devices_give_nothing,
                                 enumerates_itself_only,
                                 instance_without_application_info_is_version_1_0,
                                 failed_creations_record_nothing,
                                 software_device_is_marked,
                                 a_thousand_cycles_do_not_grow,
                                 the_layer_twice_in_one_chain_counts_once};
    const TTest *const with_device[] = {device_extensions_are_the_drivers,
                                        device_commands_are_reachable_through_the_instance,
                                        commands_of_absent_extensions_are_hidden,
                                        instance_commands_are_not_device_commands,
                                        device_record,
                                        several_instances_and_devices_are_apart,
                                        destroy_goes_down_and_forgets,
                                        an_instance_destroyed_before_its_device};
    add_tests(suite, "chain", start_layer, bare, sizeof bare / sizeof *bare);
    add_tests(suite, "chain with a device", start_device, with_device, sizeof with_device / sizeof *with_device);
}
