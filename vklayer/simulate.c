/*
 * Simulation of a smaller or failing card; see the header. The options are
 * read once, before the first instance exists, and never change; what counts
 * during the run is atomic.
 */
#include "simulate.h"
#include "layer.h"

#include <errno.h>
#include <string.h>
#include <time.h>

enum { CARDS = 8, TOLD_FAILURES = 16 };

/* One physical device; several VkDevices share its heaps. */
struct mt_simulated_card {
    _Atomic uint64_t identity; /* 0 = unused */
    _Atomic uint64_t used_bytes[VK_MAX_MEMORY_HEAPS];
};

static struct {
    struct mt_lock lock; /* while the options are read */
    bool is_read, limits_heaps, is_on;
    uint64_t limit_bytes[MT_OPTION_HEAPS]; /* as many as VK_MAX_MEMORY_HEAPS; 0 = none */
    struct mt_failures fail;
    uint64_t delay_us;
    _Atomic uint64_t asked_count, failed_count;
    _Atomic uint32_t is_told;
    struct mt_simulated_card cards[CARDS];
} simulation;

/* ---- options ----------------------------------------------------------------------- */

void mt_simulate_start(struct mt_core *core)
{
    mt_lock_enter(&simulation.lock);
    if (!simulation.is_read) {
        const char *limits = core->options.text[MT_OPT_VULKAN_HEAP_LIMIT];
        const char *failures = core->options.text[MT_OPT_VULKAN_FAIL];
        simulation.limits_heaps = *limits && mt_option_heaps(limits, simulation.limit_bytes);
        if (*failures) mt_option_failures(failures, &simulation.fail);
        simulation.delay_us = core->options.number[MT_OPT_VULKAN_DELAY];
        simulation.is_on = simulation.limits_heaps || simulation.fail.mode != MT_FAIL_NEVER || simulation.delay_us;
        simulation.is_read = true;
    }
    mt_lock_leave(&simulation.lock);
}

bool mt_simulate_limits_heaps(void)
{
    return simulation.limits_heaps;
}

/* ---- what the program sees ------------------------------------------------------------- */

void mt_simulate_memory(VkPhysicalDeviceMemoryProperties *memory)
{
    for (uint32_t i = 0; i < memory->memoryHeapCount && i < VK_MAX_MEMORY_HEAPS; i++)
        if (simulation.limit_bytes[i] && memory->memoryHeaps[i].size > simulation.limit_bytes[i])
            memory->memoryHeaps[i].size = simulation.limit_bytes[i];
}

void mt_simulate_budget(VkPhysicalDeviceMemoryProperties2 *memory)
{
    mt_simulate_memory(&memory->memoryProperties);
    VkBaseOutStructure *at = memory->pNext;
    while (at && at->sType != VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT) at = at->pNext;
    if (!at) return;
    VkPhysicalDeviceMemoryBudgetPropertiesEXT *budget = (void *)at;
    for (uint32_t i = 0; i < VK_MAX_MEMORY_HEAPS; i++)
        if (simulation.limit_bytes[i] && budget->heapBudget[i] > simulation.limit_bytes[i])
            budget->heapBudget[i] = simulation.limit_bytes[i];
}

VKAPI_ATTR void VKAPI_CALL memtrack_GetPhysicalDeviceMemoryProperties(VkPhysicalDevice handle,
                                                                      VkPhysicalDeviceMemoryProperties *memory)
{
    struct mt_instance *instance = mt_instance_find(handle);
    if (!instance) return;
    instance->next.GetPhysicalDeviceMemoryProperties(handle, memory);
    mt_simulate_memory(memory);
}

static void memory_properties2(VkPhysicalDevice handle, PFN_vkGetPhysicalDeviceMemoryProperties2 next,
                               VkPhysicalDeviceMemoryProperties2 *memory)
{
    if (!next) return;
    next(handle, memory);
    mt_simulate_budget(memory);
}

VKAPI_ATTR void VKAPI_CALL memtrack_GetPhysicalDeviceMemoryProperties2(VkPhysicalDevice handle,
                                                                       VkPhysicalDeviceMemoryProperties2 *memory)
{
    struct mt_instance *instance = mt_instance_find(handle);
    if (instance) memory_properties2(handle, instance->next.GetPhysicalDeviceMemoryProperties2, memory);
}

VKAPI_ATTR void VKAPI_CALL memtrack_GetPhysicalDeviceMemoryProperties2KHR(VkPhysicalDevice handle,
                                                                          VkPhysicalDeviceMemoryProperties2 *memory)
{
    struct mt_instance *instance = mt_instance_find(handle);
    if (instance) memory_properties2(handle, instance->next.GetPhysicalDeviceMemoryProperties2KHR, memory);
}

/* ---- allocations ---------------------------------------------------------------------------- */

static void tell(struct mt_core *core)
{
    if (atomic_exchange_explicit(&simulation.is_told, 1, memory_order_relaxed)) return;
    for (uint32_t i = 0; i < VK_MAX_MEMORY_HEAPS; i++)
        if (simulation.limit_bytes[i])
            mt_event(core, "simulation", "memory heap %u is limited to %lu bytes", i,
                     (unsigned long)simulation.limit_bytes[i]);
    if (simulation.fail.mode != MT_FAIL_NEVER)
        mt_event(core, "simulation", "vkAllocateMemory is made to fail: %s",
                 core->options.text[MT_OPT_VULKAN_FAIL]);
    if (simulation.delay_us)
        mt_event(core, "simulation", "vkAllocateMemory is delayed by %lu us", (unsigned long)simulation.delay_us);
}

struct mt_simulated_card *mt_simulate_card(struct mt_core *core, uint64_t identity)
{
    if (!simulation.is_on) return NULL;
    tell(core);
    identity |= 1; /* 0 marks an unused row */
    for (unsigned i = 0; i < CARDS; i++) {
        uint64_t unused = 0;
        if (atomic_compare_exchange_strong(&simulation.cards[i].identity, &unused, identity) || unused == identity)
            return &simulation.cards[i];
    }
    return &simulation.cards[CARDS - 1]; /* more kinds of cards than rows: the last ones share */
}

static void wait_us(uint64_t us)
{
    int saved = errno;
    struct timespec left = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};
    while (nanosleep(&left, &left) && errno == EINTR) {
    }
    errno = saved;
}

/* Scatters the numbers 1, 2, 3, ... over 64 bits, the same in every run. */
static uint64_t scatter(uint64_t number)
{
    number *= UINT64_C(0x9e3779b97f4a7c15);
    number = (number ^ number >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    number = (number ^ number >> 27) * UINT64_C(0x94d049bb133111eb);
    return number ^ number >> 31;
}

static bool is_failing(uint64_t number)
{
    switch (simulation.fail.mode) {
    case MT_FAIL_NEVER: return false;
    case MT_FAIL_ONCE: return number == simulation.fail.number;
    case MT_FAIL_EVERY: return number % simulation.fail.number == 0;
    case MT_FAIL_RATE: return scatter(number) <= simulation.fail.chance;
    }
    return false;
}

static bool takes(struct mt_simulated_card *card, uint32_t heap, uint64_t bytes)
{
    uint64_t limit = simulation.limit_bytes[heap];
    uint64_t used = atomic_load_explicit(&card->used_bytes[heap], memory_order_relaxed);
    do {
        if (limit && (bytes > limit || used > limit - bytes)) return false;
    } while (!atomic_compare_exchange_weak_explicit(&card->used_bytes[heap], &used, used + bytes,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

VkResult mt_simulate_allocate(struct mt_simulated_card *card, struct mt_core *core, uint32_t heap, uint64_t bytes)
{
    uint64_t number = atomic_fetch_add_explicit(&simulation.asked_count, 1, memory_order_relaxed) + 1;
    if (simulation.delay_us) wait_us(simulation.delay_us);
    bool is_injected = is_failing(number);
    if (!is_injected && (heap >= VK_MAX_MEMORY_HEAPS || takes(card, heap, bytes))) return VK_SUCCESS;
    if (atomic_fetch_add_explicit(&simulation.failed_count, 1, memory_order_relaxed) < TOLD_FAILURES &&
        mt_core_ready(core))
        mt_event(core, "simulation", "vkAllocateMemory number %lu (%lu bytes from heap %u) failed: %s",
                 (unsigned long)number, (unsigned long)bytes, heap,
                 is_injected ? "chosen by MEMTRACK_VULKAN_FAIL" : "the limited heap is full");
    return VK_ERROR_OUT_OF_DEVICE_MEMORY;
}

void mt_simulate_freed(struct mt_simulated_card *card, uint32_t heap, uint64_t bytes)
{
    if (heap < VK_MAX_MEMORY_HEAPS) atomic_fetch_sub_explicit(&card->used_bytes[heap], bytes, memory_order_relaxed);
}
