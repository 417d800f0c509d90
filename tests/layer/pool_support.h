/*
 * What the tests of simulation and pools share: a Vulkan program on the mock
 * driver through the real loader, with the layer switched on by environment,
 * and short forms of the commands. Each test is a process of its own.
 */
#ifndef POOL_SUPPORT_H
#define POOL_SUPPORT_H

#include "mock_icd/mock.h"
#include "segment_view.h"

#include <check.h>

enum { DEVICE_TYPE = 0, STAGING_TYPE = 1, LAZY_TYPE = 4, INCOHERENT_TYPE = 5 };

extern VkInstance instance;
extern VkPhysicalDevice physical;
extern VkDevice device;
extern const struct mt_segment *segment;
extern struct mock_state *driver;

/* Sets the environment: "NAME=value NAME=value ..."; driver_script goes into MOCK_ICD. Makes the instance. */
void start_instance(const char *driver_script, const char *options);
/* And a device with these extensions ("A B C") and this chain and features. */
void start_device(const char *driver_script, const char *options);
VkResult make_device(const char *extensions, const void *chain, const VkPhysicalDeviceFeatures *features,
                     VkDevice *made);
/* Destroys both and expects the driver to hold nothing and to have seen no breach. */
void end_device(void);
/* Where the session's segments are; and a mark to set in the driver while it runs. */
const char *session_directory(void);
void set_driver(const char *text);

VkResult try_allocate(uint64_t bytes, uint32_t type, const void *chain, VkDeviceMemory *memory);
VkDeviceMemory allocate(uint64_t bytes, uint32_t type);
void free_memory(VkDeviceMemory memory);
VkBuffer create_buffer(uint64_t bytes);
VkImage create_image(uint32_t width);
PFN_vkVoidFunction command(const char *name);
#define COMMAND(Name) ((PFN_vk##Name)command("vk" #Name))

bool is_slice(VkDeviceMemory memory);
/* A number of the device's pools record, and the sum over its pools of a number of theirs. */
uint64_t pools_number(unsigned which);
uint64_t pool_sum(unsigned which);
uint64_t times_sum(unsigned which);
const char *pools_reason(void);
uint64_t misses(enum mt_vulkan_pool_miss reason);
const struct mt_heap *heap_row(uint32_t index);
void expect_no_breach(void);

Suite *simulation_suite(void);
Suite *pool_suite(void);
Suite *structures_suite(void);
Suite *devices_suite(void);
Suite *rays_suite(void);
Suite *sequences_suite(void);
Suite *threads_suite(void);

#endif
