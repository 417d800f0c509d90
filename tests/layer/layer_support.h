/*
 * What the layer's tests share: the device under test, short forms of the
 * commands, checks of records and counters. One test is one process.
 */
#ifndef LAYER_SUPPORT_H
#define LAYER_SUPPORT_H

#include "fake_driver.h"
#include "segment_view.h"

#include <check.h>
#include <stddef.h>

extern char session_directory[], layer_path[4096];
extern VkInstance instance;
extern VkDevice device;
extern const struct mt_segment *segment;
extern const struct fake_instance_options plain;

/* The two fixtures: the layer opened; or also an instance, a device and the view of the segment. */
void start_layer(void);
void start_device(void);

/* Takes the layer's path from MEMTRACK_BUILD and makes the session directory; false when it cannot. */
bool prepare_tests(void);
/* Runs the suite; returns the program's exit status. */
int run_suite(Suite *suite);
void add_tests(Suite *suite, const char *name, void (*setup)(void), const TTest *const *tests, size_t count);

VkDeviceMemory allocate_on(VkDevice on, uint64_t bytes, uint32_t type, const void *chain);
VkDeviceMemory allocate(uint64_t bytes, uint32_t type);
void free_memory(VkDeviceMemory memory);
VkBuffer create_buffer(uint64_t bytes);
void destroy_buffer(VkBuffer buffer);
VkImage create_image(const void *chain, VkImageCreateFlags flags);
VkResult create_swapchain(VkSwapchainKHR old, VkSwapchainKHR *swapchain);
const struct mt_object *record_of(uint16_t kind, uint64_t handle);
void check_heap(uint32_t kind, uint32_t index, int64_t current, int64_t count, int64_t peak, uint64_t total);

#define RECORD(kind, handle)   record_of(kind, (uint64_t)(handle))
#define DEVICE_FLAG(attribute) (view_nth(segment, MT_VK_DEVICE, 0)->attr[attribute])

void add_chain_tests(Suite *suite);
void add_memory_tests(Suite *suite);
void add_resource_tests(Suite *suite);
void add_life_tests(Suite *suite);
void add_depth_tests(Suite *suite);
void add_rough_tests(Suite *suite);
void add_sparse_tests(Suite *suite);

#endif
