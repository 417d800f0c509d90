/*
 * Asks for device memory reports and counts them, by kind of object and by
 * heap. Events that come before the device has its records (inside
 * vkCreateDevice) are kept and added later. Locks are held for a few additions
 * only, never across a call; the callback may come while the driver holds its own.
 */
#include "memory_report.h"

#include <string.h>

enum { ROWS = MT_REPORT_ROWS };

struct row {
    uint64_t key;
    uint64_t numbers[12]; /* as attr[] of its record */
};

struct mt_memory_report {
    struct mt_core *core;
    uint32_t epoch;                /* of the core: in a fork's child nothing is counted */
    struct mt_lock lock;           /* guards what follows */
    struct mt_device_stats *stats; /* NULL: not attached yet, rows are used */
    uint32_t row_count;
    struct row rows[ROWS];
    struct mt_arena arena;
    struct mt_handle_map live; /* by memoryObjectId; type: heap, object: VkObjectType */
};

/* ---- rows ----------------------------------------------------------------------- */

static uint64_t key_of_object(uint32_t type)
{
    return (uint64_t)MT_VK_REPORT_BY_OBJECT << 32 | type;
}

static uint64_t key_of_heap(uint32_t heap, uint32_t type)
{
    uint32_t is_internal = type != VK_OBJECT_TYPE_DEVICE_MEMORY;
    return (uint64_t)MT_VK_REPORT_BY_HEAP << 32 | is_internal << 8 | (heap & 0xff);
}

static uint64_t *own_row(struct mt_memory_report *report, uint64_t key)
{
    for (uint32_t i = 0; i < report->row_count; i++)
        if (report->rows[i].key == key) return report->rows[i].numbers;
    if (report->row_count == ROWS) return NULL;
    struct row *row = &report->rows[report->row_count++];
    row->key = key;
    return row->numbers;
}

/* A row's record, of the last device of this kind when there was one. */
static struct mt_object *record_of(struct mt_memory_report *report, uint64_t key)
{
    struct mt_device_stats *stats = report->stats;
    struct mt_object *record = NULL;
    uint32_t i = 0, id;
    mt_lock_enter(&stats->report_lock);
    while (i < stats->report_count && stats->reports[i].key != key) i++;
    if (i < stats->report_count) {
        record = mt_object_at(report->core, stats->reports[i].record);
    } else if (i < ROWS && (record = mt_object_new(report->core, MT_VK_MEMORY_REPORT, &id))) {
        record->owner = stats->object;
        record->attr[MT_VK_REPORT_KEY] = key;
        mt_object_publish(record);
        stats->reports[i].key = key;
        stats->reports[i].record = id;
        stats->report_count++;
    }
    mt_lock_leave(&stats->report_lock);
    return record;
}

/* The caller holds the report's lock. NULL, counted, when there is no room. */
static uint64_t *numbers_of(struct mt_memory_report *report, uint64_t key)
{
    struct mt_object *record = report->stats ? record_of(report, key) : NULL;
    uint64_t *numbers = report->stats ? (record ? record->attr : NULL) : own_row(report, key);
    if (!numbers) mt_core_drop(report->core, MT_DROPPED_OBJECTS);
    return numbers;
}

/* Two devices that follow each other may share a row for a moment. */
static uint64_t add(uint64_t *numbers, unsigned which, uint64_t value)
{
    return __atomic_add_fetch(&numbers[which], value, __ATOMIC_RELAXED);
}

static void raise_peak(uint64_t *numbers, uint64_t value)
{
    uint64_t seen = __atomic_load_n(&numbers[MT_VK_REPORT_PEAK_BYTES], __ATOMIC_RELAXED);
    while (seen < value && !__atomic_compare_exchange_n(&numbers[MT_VK_REPORT_PEAK_BYTES], &seen, value, true,
                                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
}

/* ---- events ------------------------------------------------------------------------ */

enum event { ALLOCATED, FREED, IMPORTED, UNIMPORTED, FAILED, UNKNOWN, LOST };

static void count(uint64_t *numbers, enum event event, uint64_t bytes)
{
    if (!numbers) return;
    switch (event) {
    case ALLOCATED:
        add(numbers, MT_VK_REPORT_ALLOCATIONS, 1);
        add(numbers, MT_VK_REPORT_TOTAL_BYTES, bytes);
        raise_peak(numbers, add(numbers, MT_VK_REPORT_CURRENT_BYTES, bytes));
        break;
    case FREED:
        add(numbers, MT_VK_REPORT_FREES, 1);
        add(numbers, MT_VK_REPORT_CURRENT_BYTES, 0 - bytes);
        break;
    case IMPORTED:
        add(numbers, MT_VK_REPORT_IMPORTS, 1);
        add(numbers, MT_VK_REPORT_IMPORTED_BYTES, bytes);
        break;
    case UNIMPORTED:
        add(numbers, MT_VK_REPORT_UNIMPORTS, 1);
        add(numbers, MT_VK_REPORT_IMPORTED_BYTES, 0 - bytes);
        break;
    case FAILED: add(numbers, MT_VK_REPORT_FAILED, 1); break;
    case UNKNOWN: add(numbers, MT_VK_REPORT_UNKNOWN, 1); break;
    case LOST:
        add(numbers, MT_VK_REPORT_LOST, 1);
        add(numbers, MT_VK_REPORT_CURRENT_BYTES, 0 - bytes);
        break;
    }
}

static void count_both(struct mt_memory_report *report, enum event event, uint32_t type, uint32_t heap,
                       uint64_t bytes)
{
    mt_lock_enter(&report->lock);
    count(numbers_of(report, key_of_object(type)), event, bytes);
    count(numbers_of(report, key_of_heap(heap, type)), event, bytes);
    mt_lock_leave(&report->lock);
}

static void made(struct mt_memory_report *report, const VkDeviceMemoryReportCallbackDataEXT *data, bool is_import)
{
    struct mt_node node = {.handle = data->memoryObjectId, .size_bytes = data->size};
    node.object = (uint32_t)data->objectType;
    node.type = (uint8_t)data->heapIndex;
    node.flags = is_import ? MT_NODE_IMPORT : 0;
    if (mt_handles_add(&report->live, &node))
        count_both(report, is_import ? IMPORTED : ALLOCATED, node.object, node.type, node.size_bytes);
}

/* What was freed is known by its number alone: the driver need not say how large it was. */
static void gone(struct mt_memory_report *report, const VkDeviceMemoryReportCallbackDataEXT *data, bool is_import)
{
    struct mt_node *node = mt_handles_take(&report->live, data->memoryObjectId);
    if (!node) {
        mt_lock_enter(&report->lock);
        count(numbers_of(report, key_of_object((uint32_t)data->objectType)), UNKNOWN, 0);
        mt_lock_leave(&report->lock);
        return;
    }
    count_both(report, is_import ? UNIMPORTED : FREED, node->object, node->type, node->size_bytes);
    mt_handles_give_back(&report->live, node);
}

static bool is_counting(const struct mt_memory_report *report)
{
    return atomic_load_explicit(&report->core->epoch, memory_order_relaxed) == report->epoch &&
           mt_core_ready(report->core);
}

static VKAPI_ATTR void VKAPI_CALL receive(const VkDeviceMemoryReportCallbackDataEXT *data, void *context)
{
    struct mt_memory_report *report = context;
    if (!is_counting(report)) return;
    switch (data->type) {
    case VK_DEVICE_MEMORY_REPORT_EVENT_TYPE_ALLOCATE_EXT: made(report, data, false); break;
    case VK_DEVICE_MEMORY_REPORT_EVENT_TYPE_FREE_EXT: gone(report, data, false); break;
    case VK_DEVICE_MEMORY_REPORT_EVENT_TYPE_IMPORT_EXT: made(report, data, true); break;
    case VK_DEVICE_MEMORY_REPORT_EVENT_TYPE_UNIMPORT_EXT: gone(report, data, true); break;
    case VK_DEVICE_MEMORY_REPORT_EVENT_TYPE_ALLOCATION_FAILED_EXT:
        count_both(report, FAILED, (uint32_t)data->objectType, data->heapIndex, data->size);
        break;
    default: break;
    }
}

/* ---- asking --------------------------------------------------------------------------- */

static const void *find_structure(const void *chain, VkStructureType type)
{
    const VkBaseInStructure *at = chain;
    while (at && at->sType != type) at = at->pNext;
    return at;
}

static bool lists(const char *const *names, uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < count; i++)
        if (!strcmp(names[i], name)) return true;
    return false;
}

static bool has_extension(struct mt_core *core, const struct mt_instance *instance, VkPhysicalDevice device)
{
    PFN_vkEnumerateDeviceExtensionProperties enumerate = instance->next.EnumerateDeviceExtensionProperties;
    uint32_t count = 0;
    bool is_found = false;
    if (!enumerate || enumerate(device, NULL, &count, NULL) || !count) return false;
    size_t bytes = count * sizeof(VkExtensionProperties);
    VkExtensionProperties *list = mt_layer_map(core, bytes);
    if (!list) return false;
    if (enumerate(device, NULL, &count, list) >= 0)
        for (uint32_t i = 0; i < count; i++)
            is_found |= !strcmp(list[i].extensionName, VK_EXT_DEVICE_MEMORY_REPORT_EXTENSION_NAME);
    mt_layer_unmap(core, list, bytes);
    return is_found;
}

static bool has_feature(const struct mt_instance *instance, VkPhysicalDevice device)
{
    VkPhysicalDeviceDeviceMemoryReportFeaturesEXT wanted = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DEVICE_MEMORY_REPORT_FEATURES_EXT};
    VkPhysicalDeviceFeatures2 features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, .pNext = &wanted};
    PFN_vkGetPhysicalDeviceFeatures2 ask = instance->next.GetPhysicalDeviceFeatures2;
    VkPhysicalDeviceProperties properties;
    instance->next.GetPhysicalDeviceProperties(device, &properties);
    if (properties.apiVersion < VK_API_VERSION_1_1 || !ask) ask = instance->next.GetPhysicalDeviceFeatures2KHR;
    if (ask) ask(device, &features);
    return wanted.deviceMemoryReport;
}

static enum mt_vulkan_report_status judge(struct mt_core *core, const struct mt_instance *instance,
                                          VkPhysicalDevice device, const VkDeviceCreateInfo *info)
{
    const VkPhysicalDeviceDeviceMemoryReportFeaturesEXT *program = find_structure(
        info->pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DEVICE_MEMORY_REPORT_FEATURES_EXT);
    if (!core || !mt_core_ready(core) || !core->options.number[MT_OPT_VULKAN_MEMORY_REPORT])
        return MT_VK_REPORT_OFF;
    if (!has_extension(core, instance, device) || !has_feature(instance, device)) return MT_VK_REPORT_ABSENT;
    return program && !program->deviceMemoryReport ? MT_VK_REPORT_DISABLED : MT_VK_REPORT_ON;
}

static bool add_extension(struct mt_report_request *request, struct mt_core *core)
{
    VkDeviceCreateInfo *info = &request->info;
    uint32_t count = info->enabledExtensionCount;
    if (lists(info->ppEnabledExtensionNames, count, VK_EXT_DEVICE_MEMORY_REPORT_EXTENSION_NAME)) return true;
    request->names_bytes = (count + 1) * sizeof *request->names;
    request->names = mt_layer_map(core, request->names_bytes);
    if (!request->names) return false;
    for (uint32_t i = 0; i < count; i++) request->names[i] = info->ppEnabledExtensionNames[i];
    request->names[count] = VK_EXT_DEVICE_MEMORY_REPORT_EXTENSION_NAME;
    info->ppEnabledExtensionNames = request->names;
    info->enabledExtensionCount = count + 1;
    return true;
}

/* In front of the program's chain; its own request, of which there may be several, stays where it is. */
static void add_structures(struct mt_report_request *request)
{
    const void *chain = request->info.pNext;
    if (!find_structure(chain, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DEVICE_MEMORY_REPORT_FEATURES_EXT)) {
        request->features = (VkPhysicalDeviceDeviceMemoryReportFeaturesEXT){
            VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DEVICE_MEMORY_REPORT_FEATURES_EXT, (void *)(uintptr_t)chain, VK_TRUE};
        chain = &request->features;
    }
    request->create = (VkDeviceDeviceMemoryReportCreateInfoEXT){
        VK_STRUCTURE_TYPE_DEVICE_DEVICE_MEMORY_REPORT_CREATE_INFO_EXT, chain, 0, receive, request->report};
    request->info.pNext = &request->create;
}

static struct mt_memory_report *make_report(struct mt_core *core)
{
    struct mt_memory_report *report = mt_layer_map(core, sizeof *report);
    if (!report) return NULL;
    report->core = core;
    report->epoch = atomic_load_explicit(&core->epoch, memory_order_relaxed);
    mt_arena_start(&report->arena, core);
    report->live.arena = &report->arena;
    return report;
}

static void release_names(struct mt_report_request *request)
{
    if (request->names) mt_layer_unmap(mt_process_core(), request->names, request->names_bytes);
    request->names = NULL;
}

const VkDeviceCreateInfo *mt_report_prepare(struct mt_report_request *request, const struct mt_instance *instance,
                                            VkPhysicalDevice physical_device, const VkDeviceCreateInfo *info)
{
    struct mt_core *core = mt_process_core();
    memset(request, 0, sizeof *request);
    request->info = *info;
    request->status = judge(core, instance, physical_device, info);
    if (request->status != MT_VK_REPORT_ON) return info;
    request->report = make_report(core);
    if (!request->report || !add_extension(request, core)) {
        mt_report_end(request->report);
        request->report = NULL;
        request->status = MT_VK_REPORT_ABSENT;
        return info;
    }
    add_structures(request);
    return &request->info;
}

void mt_report_refused(struct mt_report_request *request)
{
    release_names(request);
    mt_report_end(request->report);
    request->report = NULL;
    request->status = MT_VK_REPORT_REFUSED;
}

/* ---- the device's life ------------------------------------------------------------------ */

static void move_row(struct mt_memory_report *report, const struct row *row)
{
    uint64_t *numbers = numbers_of(report, row->key);
    for (unsigned i = 0; numbers && i < 12; i++)
        if (i != MT_VK_REPORT_KEY && i != MT_VK_REPORT_PEAK_BYTES) add(numbers, i, row->numbers[i]);
    if (numbers) raise_peak(numbers, numbers[MT_VK_REPORT_CURRENT_BYTES]);
    if (numbers) raise_peak(numbers, row->numbers[MT_VK_REPORT_PEAK_BYTES]);
}

void mt_report_attach(struct mt_report_request *request, struct mt_device *device)
{
    struct mt_memory_report *report = request->report;
    release_names(request);
    device->report = report;
    if (!report || !device->is_tracked) return;
    mt_lock_enter(&report->lock);
    report->stats = device->stats;
    for (uint32_t i = 0; i < report->row_count; i++) move_row(report, &report->rows[i]);
    mt_lock_leave(&report->lock);
}

static void lose(struct mt_node *node, void *context)
{
    struct mt_memory_report *report = context;
    count_both(report, node->flags & MT_NODE_IMPORT ? UNIMPORTED : LOST, node->object, node->type,
               node->size_bytes);
}

/* What the driver never said to be free went with the device all the same. */
void mt_report_end(struct mt_memory_report *report)
{
    if (!report) return;
    if (report->stats && is_counting(report)) mt_handles_visit(&report->live, lose, report);
    mt_arena_end(&report->arena);
    mt_layer_unmap(report->core, report, sizeof *report);
}
