/*
 * The report's part "memory_report" of a device: what the driver itself told
 * of its device memory (VK_EXT_device_memory_report). Called with a snapshot;
 * keeps nothing.
 */
#include "vulkan_memory_report_json.h"

#include "json_build.h"
#include "vulkan_records.h"

#include <stddef.h>
#include <stdio.h>

/* VkObjectType without its prefix. */
static const struct {
    uint32_t type;
    const char *name;
} object_types[] = {
    /* clang-format off */
    {0, "UNKNOWN"},
    {1, "INSTANCE"},
    {2, "PHYSICAL_DEVICE"},
    {3, "DEVICE"},
    {4, "QUEUE"},
    {5, "SEMAPHORE"},
    {6, "COMMAND_BUFFER"},
    {7, "FENCE"},
    {8, "DEVICE_MEMORY"},
    {9, "BUFFER"},
    {10, "IMAGE"},
    {11, "EVENT"},
    {12, "QUERY_POOL"},
    {13, "BUFFER_VIEW"},
    {14, "IMAGE_VIEW"},
    {15, "SHADER_MODULE"},
    {16, "PIPELINE_CACHE"},
    {17, "PIPELINE_LAYOUT"},
    {18, "RENDER_PASS"},
    {19, "PIPELINE"},
    {20, "DESCRIPTOR_SET_LAYOUT"},
    {21, "SAMPLER"},
    {22, "DESCRIPTOR_POOL"},
    {23, "DESCRIPTOR_SET"},
    {24, "FRAMEBUFFER"},
    {25, "COMMAND_POOL"},
    {1000156000, "SAMPLER_YCBCR_CONVERSION"},
    {1000085000, "DESCRIPTOR_UPDATE_TEMPLATE"},
    {1000295000, "PRIVATE_DATA_SLOT"},
    {1000000000, "SURFACE_KHR"},
    {1000001000, "SWAPCHAIN_KHR"},
    {1000002000, "DISPLAY_KHR"},
    {1000002001, "DISPLAY_MODE_KHR"},
    {1000011000, "DEBUG_REPORT_CALLBACK_EXT"},
    {1000023000, "VIDEO_SESSION_KHR"},
    {1000023001, "VIDEO_SESSION_PARAMETERS_KHR"},
    {1000029000, "CU_MODULE_NVX"},
    {1000029001, "CU_FUNCTION_NVX"},
    {1000128000, "DEBUG_UTILS_MESSENGER_EXT"},
    {1000150000, "ACCELERATION_STRUCTURE_KHR"},
    {1000160000, "VALIDATION_CACHE_EXT"},
    {1000165000, "ACCELERATION_STRUCTURE_NV"},
    {1000210000, "PERFORMANCE_CONFIGURATION_INTEL"},
    {1000268000, "DEFERRED_OPERATION_KHR"},
    {1000277000, "INDIRECT_COMMANDS_LAYOUT_NV"},
    {1000366000, "BUFFER_COLLECTION_FUCHSIA"},
    {1000396000, "MICROMAP_EXT"},
    {1000464000, "OPTICAL_FLOW_SESSION_NV"},
    /* clang-format on */
};

static json_t *object_type_json(uint32_t type)
{
    char number[24];
    for (size_t i = 0; i < sizeof object_types / sizeof *object_types; i++)
        if (object_types[i].type == type) return json_string(object_types[i].name);
    snprintf(number, sizeof number, "%u", (unsigned)type);
    return json_string(number);
}

static const char *status_name(const struct mt_object *device)
{
    static const char *const names[] = {"switched off", "not offered by the driver", "on",
                                        "left off by the program", "refused by the driver"};
    uint64_t status = device ? device->attr[MT_VK_DEVICE_FLAGS] >> MT_VK_DEVICE_REPORT_SHIFT & 0xff
                             : MT_VK_REPORT_OFF;
    return names[status < sizeof names / sizeof *names ? status : MT_VK_REPORT_OFF];
}

static void set_numbers(json_t *row, const uint64_t *attr)
{
    mt_json_set_i64(row, "current_bytes", (int64_t)attr[MT_VK_REPORT_CURRENT_BYTES]);
    mt_json_set_i64(row, "current_count",
                    (int64_t)(attr[MT_VK_REPORT_ALLOCATIONS] - attr[MT_VK_REPORT_FREES] - attr[MT_VK_REPORT_LOST]));
    mt_json_set_u64(row, "peak_bytes", attr[MT_VK_REPORT_PEAK_BYTES]);
    mt_json_set_u64(row, "total_bytes", attr[MT_VK_REPORT_TOTAL_BYTES]);
    mt_json_set_u64(row, "allocation_count", attr[MT_VK_REPORT_ALLOCATIONS]);
    mt_json_set_u64(row, "free_count", attr[MT_VK_REPORT_FREES]);
    mt_json_set_u64(row, "import_count", attr[MT_VK_REPORT_IMPORTS]);
    mt_json_set_u64(row, "unimport_count", attr[MT_VK_REPORT_UNIMPORTS]);
    mt_json_set_i64(row, "imported_bytes", (int64_t)attr[MT_VK_REPORT_IMPORTED_BYTES]);
    mt_json_set_u64(row, "failed_count", attr[MT_VK_REPORT_FAILED]);
    mt_json_set_u64(row, "unknown_free_count", attr[MT_VK_REPORT_UNKNOWN]);
    mt_json_set_u64(row, "unreported_free_count", attr[MT_VK_REPORT_LOST]);
}

static json_t *object_row(const struct mt_object *record)
{
    json_t *row = json_object();
    mt_json_set(row, "object_type", object_type_json((uint32_t)record->attr[MT_VK_REPORT_KEY]));
    set_numbers(row, record->attr);
    return row;
}

static json_t *heap_row(const struct mt_object *record)
{
    uint64_t key = record->attr[MT_VK_REPORT_KEY];
    json_t *row = json_object();
    mt_json_set_u64(row, "heap_index", key & 0xff);
    mt_json_set_bool(row, "driver_internal", (key >> 8 & 1) != 0);
    set_numbers(row, record->attr);
    return row;
}

static bool is_of(const struct mt_object *record, uint32_t device, uint64_t by)
{
    return record->kind == MT_VK_MEMORY_REPORT && record->owner == device &&
           record->attr[MT_VK_REPORT_KEY] >> 32 == by;
}

static json_t *rows_json(const struct mt_vulkan_view *device, uint64_t by,
                         json_t *make(const struct mt_object *record))
{
    json_t *rows = json_array();
    for (size_t i = 0; i < device->snapshot->object_count; i++)
        if (is_of(&device->snapshot->objects[i].record, device->id, by))
            json_array_append_new(rows, make(&device->snapshot->objects[i].record));
    return rows;
}

static int64_t internal_bytes(const struct mt_vulkan_view *device)
{
    int64_t sum = 0;
    for (size_t i = 0; i < device->snapshot->object_count; i++) {
        const struct mt_object *record = &device->snapshot->objects[i].record;
        if (is_of(record, device->id, MT_VK_REPORT_BY_HEAP) && record->attr[MT_VK_REPORT_KEY] >> 8 & 1)
            sum += (int64_t)record->attr[MT_VK_REPORT_CURRENT_BYTES];
    }
    return sum;
}

json_t *mt_vulkan_memory_report_json(const struct mt_vulkan_view *device)
{
    json_t *part = json_object();
    mt_json_set_text(part, "status", status_name(device->record));
    mt_json_set_i64(part, "driver_internal_bytes", internal_bytes(device));
    mt_json_set(part, "by_object_type", rows_json(device, MT_VK_REPORT_BY_OBJECT, object_row));
    mt_json_set(part, "by_heap", rows_json(device, MT_VK_REPORT_BY_HEAP, heap_row));
    return part;
}
