/*
 * Simulation: smaller heaps, failing and slow allocations, so that a program
 * can be tried as on a smaller card. Off unless an option asks for it. Any
 * thread; the hooks of physical-device commands are answered only while heaps
 * are limited.
 */
#ifndef MT_SIMULATE_H
#define MT_SIMULATE_H

#include "vulkan_compat.h"

#include <stdbool.h>
#include <stdint.h>

struct mt_core;
struct mt_device;
struct mt_simulated_card;

/* Reads the options, once per process; says one line for each that makes no sense and ignores it. */
void mt_simulate_start(struct mt_core *core);
/* True while any heap is limited. */
bool mt_simulate_limits_heaps(void);

/* What the program, and the report, see of a physical device's memory and of an answer with its budget. */
void mt_simulate_memory(VkPhysicalDeviceMemoryProperties *memory);
void mt_simulate_budget(VkPhysicalDeviceMemoryProperties2 *memory);

/*
 * For a device that was just made: what it shares with other devices of the
 * same physical device. NULL when nothing is simulated for it.
 */
struct mt_simulated_card *mt_simulate_card(struct mt_core *core, uint64_t identity);

/*
 * Before an allocation goes down: waits, and decides. Any result but
 * VK_SUCCESS is to be returned to the program. After VK_SUCCESS the bytes
 * count against the heap until mt_simulate_freed(); that is also called when
 * the allocation failed below. Imports do not count against a heap.
 */
VkResult mt_simulate_allocate(struct mt_simulated_card *card, struct mt_core *core, uint32_t heap, uint64_t bytes);
void mt_simulate_freed(struct mt_simulated_card *card, uint32_t heap, uint64_t bytes);

VKAPI_ATTR void VKAPI_CALL memtrack_GetPhysicalDeviceMemoryProperties(VkPhysicalDevice,
                                                                      VkPhysicalDeviceMemoryProperties *);
VKAPI_ATTR void VKAPI_CALL memtrack_GetPhysicalDeviceMemoryProperties2(VkPhysicalDevice,
                                                                       VkPhysicalDeviceMemoryProperties2 *);
VKAPI_ATTR void VKAPI_CALL memtrack_GetPhysicalDeviceMemoryProperties2KHR(VkPhysicalDevice,
                                                                          VkPhysicalDeviceMemoryProperties2 *);

#endif
