/*
 * Tells when device memory runs out: allocations that were refused (any
 * thread, on the path of the failure alone), and what the budget thread reads.
 * The user's own budgets are compared by the collector, not here.
 *
 * Staging is exhausted when an allocation from a memory type that the CPU can
 * map was refused, or when 95 % of the budget of a heap that has only such
 * types, beside a heap with others, are used.
 */
#include "layer.h"

enum { TOLD_REFUSALS = 16, STAGING_PERCENT = 95, RELIEF_PERCENT = 90 };
enum { TOLD_OVER = 1, TOLD_STAGING = 2 };

static bool is_out_of_memory(VkResult result)
{
    return result == VK_ERROR_OUT_OF_DEVICE_MEMORY || result == VK_ERROR_OUT_OF_HOST_MEMORY ||
           result == VK_ERROR_TOO_MANY_OBJECTS;
}

static const char *name_of(VkResult result)
{
    switch (result) {
    case VK_ERROR_OUT_OF_DEVICE_MEMORY: return "VK_ERROR_OUT_OF_DEVICE_MEMORY";
    case VK_ERROR_OUT_OF_HOST_MEMORY: return "VK_ERROR_OUT_OF_HOST_MEMORY";
    default: return "VK_ERROR_TOO_MANY_OBJECTS";
    }
}

void mt_pressure_refused(struct mt_device *device, const VkMemoryAllocateInfo *info, VkResult result)
{
    uint32_t type = info->memoryTypeIndex;
    if (!is_out_of_memory(result) || type >= device->memory.memoryTypeCount || !mt_core_ready(device->core)) return;
    if (atomic_fetch_add_explicit(&device->stats->refused_count, 1, memory_order_relaxed) >= TOLD_REFUSALS) return;
    const VkMemoryType *row = &device->memory.memoryTypes[type];
    bool is_staging = row->propertyFlags & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT;
    mt_event(device->core, is_staging ? "staging-exhausted" : "allocation-refused",
             "vkAllocateMemory of %lu bytes of memory type %u (heap %u) returned %s",
             (unsigned long)info->allocationSize, type, row->heapIndex, name_of(result));
}

/* All types of the heap can be mapped, and another heap has one that cannot. */
static bool is_for_staging(const VkPhysicalDeviceMemoryProperties *memory, uint32_t heap)
{
    bool has_any = false, has_other = false;
    for (uint32_t i = 0; i < memory->memoryTypeCount; i++) {
        bool is_visible = memory->memoryTypes[i].propertyFlags & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT;
        if (memory->memoryTypes[i].heapIndex != heap)
            has_other |= !is_visible;
        else if (!is_visible)
            return false;
        else
            has_any = true;
    }
    return has_any && has_other;
}

/* Changes the bit when it is due; true when something is to be told. */
static bool turns(uint8_t *told, uint8_t bit, bool is_up, bool is_down)
{
    if (*told & bit ? !is_down : !is_up) return false;
    *told ^= bit;
    return true;
}

void mt_pressure_budget(struct mt_core *core, const VkPhysicalDeviceMemoryProperties *memory, uint32_t heap,
                        const VkPhysicalDeviceMemoryBudgetPropertiesEXT *budget, uint8_t *told)
{
    uint64_t limit = budget->heapBudget[heap], used = budget->heapUsage[heap];
    uint64_t percent = limit / 100 ? used / (limit / 100) : 0;
    if (!limit) return;
    if (turns(told, TOLD_OVER, used > limit, percent < STAGING_PERCENT))
        mt_event(core, "driver-budget", "memory heap %u is %s the driver's budget: %lu of %lu bytes", heap,
                 *told & TOLD_OVER ? "over" : "back below", (unsigned long)used, (unsigned long)limit);
    if (is_for_staging(memory, heap) &&
        turns(told, TOLD_STAGING, percent >= STAGING_PERCENT, percent < RELIEF_PERCENT))
        mt_event(core, "staging-exhausted", "memory heap %u, for staging, is %s: %lu of %lu bytes are used", heap,
                 *told & TOLD_STAGING ? "nearly full" : "no longer full", (unsigned long)used,
                 (unsigned long)limit);
}
