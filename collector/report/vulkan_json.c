/*
 * The report's part "vulkan": devices with their heaps, types, allocations and
 * resources, out of the records that the layer left in the segment
 * (vulkan_records.h). Called with a snapshot; keeps nothing.
 */
#include "json_build.h"
#include "report_json.h"
#include "tags.h"
#include "vulkan_advice.h"
#include "vulkan_aliasing.h"
#include "vulkan_host_json.h"
#include "vulkan_memory_report_json.h"
#include "vulkan_names.h"
#include "vulkan_pools_json.h"
#include "vulkan_records.h"
#include "vulkan_sparse_json.h"
#include "vulkan_view.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *flags_json(const struct mt_flag_name *names, uint64_t flags)
{
    json_t *list = json_array();
    for (; names->name; names++) {
        if (flags & names->bit) json_array_append_new(list, json_string(names->name));
        flags &= ~names->bit;
    }
    if (flags) json_array_append_new(list, mt_json_handle(flags)); /* bits without a name here */
    return list;
}

/* ---- heaps and types ----------------------------------------------------------- */

static json_t *heap_json(const struct mt_snapshot *snapshot, const struct mt_heap *heap)
{
    json_t *row = json_object();
    uint64_t read_ns = MT_GET(heap->budget_ns);
    mt_json_set_u64(row, "index", heap->index);
    mt_json_set(row, "flags", flags_json(mt_vk_heap_flags, heap->flags));
    mt_json_set_u64(row, "size_bytes", heap->size_bytes);
    mt_vulkan_set_heap_counts(row, snapshot, heap);
    mt_json_set(row, "budget_bytes", read_ns ? mt_json_u64(MT_GET(heap->budget_bytes)) : NULL);
    mt_json_set(row, "usage_bytes", read_ns ? mt_json_u64(MT_GET(heap->usage_bytes)) : NULL);
    mt_json_set(row, "budget_s", mt_report_time_json(snapshot, read_ns));
    mt_json_set_u64(row, "budget_rejected_count", MT_GET(heap->budget_rejected_count));
    return row;
}

static json_t *type_json(const struct mt_snapshot *snapshot, const struct mt_heap *heap)
{
    json_t *row = json_object();
    mt_json_set_u64(row, "index", heap->index);
    mt_json_set_u64(row, "heap_index", heap->heap_index);
    mt_json_set(row, "flags", flags_json(mt_vk_memory_properties, heap->flags));
    mt_json_set_text(row, "property_class", mt_vk_property_class(heap->flags));
    mt_vulkan_set_heap_counts(row, snapshot, heap);
    return row;
}

static json_t *heaps_json(const struct mt_vulkan_view *device, enum mt_heap_kind kind)
{
    const struct mt_heap *heaps[MT_HEAP_MAX];
    size_t count = mt_vulkan_heaps_of(device, kind, heaps);
    json_t *rows = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(rows, kind == MT_HEAP_DEVICE_HEAP ? heap_json(device->snapshot, heaps[i])
                                                                : type_json(device->snapshot, heaps[i]));
    return rows;
}

static json_t *imported_json(const struct mt_vulkan_view *device)
{
    const struct mt_heap *heaps[MT_HEAP_MAX];
    size_t count = mt_vulkan_heaps_of(device, MT_HEAP_DEVICE_IMPORT, heaps);
    int64_t live = 0, bytes = 0;
    uint64_t total = 0;
    for (size_t i = 0; i < count; i++) {
        live += MT_GET(heaps[i]->current_count);
        bytes += MT_GET(heaps[i]->current_bytes);
        total += MT_GET(heaps[i]->allocation_count);
    }
    json_t *part = json_object();
    mt_json_set_i64(part, "count", live);
    mt_json_set_i64(part, "bytes", bytes);
    mt_json_set_u64(part, "import_count", total);
    return part;
}

/* ---- allocations ---------------------------------------------------------------- */

static json_t *dedicated_json(const struct mt_object *record)
{
    uint64_t flags = record->attr[MT_VK_MEMORY_FLAGS];
    if (!(flags & MT_VK_MEMORY_IS_DEDICATED)) return json_null();
    json_t *part = json_object();
    mt_json_set_text(part, "kind", flags & MT_VK_MEMORY_FOR_BUFFER ? "buffer" : "image");
    mt_json_set(part, "handle", mt_json_handle(record->attr[MT_VK_MEMORY_DEDICATED]));
    return part;
}

static json_t *priority_json(const struct mt_object *record)
{
    if (!(record->attr[MT_VK_MEMORY_FLAGS] & MT_VK_MEMORY_HAS_PRIORITY)) return json_null();
    uint32_t bits = (uint32_t)record->attr[MT_VK_MEMORY_PRIORITY];
    float priority;
    memcpy(&priority, &bits, sizeof priority);
    return json_real((double)priority); /* null when it is not a number */
}

static json_t *mapped_json(const struct mt_object *record)
{
    if (!(record->attr[MT_VK_MEMORY_FLAGS] & MT_VK_MEMORY_IS_MAPPED)) return json_null();
    json_t *part = json_object();
    mt_json_set_u64(part, "offset", record->attr[MT_VK_MEMORY_MAP_OFFSET]);
    mt_json_set_u64(part, "bytes", record->attr[MT_VK_MEMORY_MAP_BYTES]);
    return part;
}

static json_t *imported_from_json(const struct mt_object *record)
{
    const uint64_t nv_bits = UINT64_C(1) << 32, no_bits = UINT64_C(1) << 33;
    uint64_t type = record->attr[MT_VK_MEMORY_IMPORT_TYPE];
    if (!(record->attr[MT_VK_MEMORY_FLAGS] & MT_VK_MEMORY_IS_IMPORT)) return json_null();
    if (!(type & (nv_bits | no_bits))) return flags_json(mt_vk_handle_types, type);
    json_t *list = json_array();
    char text[40];
    snprintf(text, sizeof text, "NV_0x%x", (unsigned)type);
    json_array_append_new(list, json_string(type & nv_bits ? text : "OTHER"));
    return list;
}

static void set_origin(json_t *row, const struct mt_vulkan_view *device, const struct mt_object *record)
{
    const struct mt_snapshot *snapshot = device->snapshot;
    mt_json_set_text(row, "tag", device->tagger ? mt_tagger_object(device->tagger, record) : NULL);
    mt_json_set(row, "tid", record->create_tid ? json_integer(record->create_tid) : NULL);
    mt_json_set_u64(row, "frame", record->create_frame);
    mt_json_set(row, "created_s", mt_report_time_json(snapshot, record->create_ns));
    mt_json_set(row, "age_s",
                record->create_ns && snapshot->taken_ns > record->create_ns
                    ? mt_json_seconds(snapshot->taken_ns - record->create_ns)
                    : NULL);
    mt_json_set_known(row, "stack", record->stack);
}

static void set_usage(json_t *row, const struct mt_vulkan_usage *usage)
{
    mt_json_set_u64(row, "resource_count", usage->resource_count);
    mt_json_set_u64(row, "bound_bytes", usage->bound);
    mt_json_set_u64(row, "unbound_bytes", usage->unbound);
    mt_json_set_u64(row, "unbound_range_count", usage->gap_count);
    mt_json_set_u64(row, "largest_unbound_bytes", usage->largest_gap);
    mt_json_set_u64(row, "aliased_bytes", usage->aliased);
}

static json_t *allocation_json(const struct mt_vulkan_view *device, uint32_t id, const struct mt_object *record)
{
    uint64_t flags = record->attr[MT_VK_MEMORY_FLAGS], properties = record->attr[MT_VK_MEMORY_PROPERTIES];
    struct mt_vulkan_usage usage = mt_vulkan_usage_of(device, id, record->size_bytes);
    json_t *row = json_object();
    mt_json_set_u64(row, "id", id);
    mt_json_set(row, "handle", mt_json_handle(record->handle));
    mt_json_set_name(row, "name", record->name);
    mt_json_set_u64(row, "size_bytes", record->size_bytes);
    mt_json_set_u64(row, "heap_index", record->attr[MT_VK_MEMORY_HEAP]);
    mt_json_set_u64(row, "type_index", record->attr[MT_VK_MEMORY_TYPE]);
    mt_json_set(row, "flags", flags_json(mt_vk_memory_properties, properties));
    mt_json_set_text(row, "property_class", mt_vk_property_class(properties));
    mt_json_set(row, "dedicated", dedicated_json(record));
    mt_json_set(row, "imported_from", imported_from_json(record));
    mt_json_set(row, "exportable_as",
                flags & MT_VK_MEMORY_IS_EXPORT
                    ? flags_json(mt_vk_handle_types, record->attr[MT_VK_MEMORY_EXPORT_TYPES])
                    : NULL);
    mt_json_set_bool(row, "device_address", (flags & MT_VK_MEMORY_HAS_ADDRESS) != 0);
    mt_json_set_bool(row, "capture_replay", (flags & MT_VK_MEMORY_CAPTURE_REPLAY) != 0);
    mt_json_set_bool(row, "device_mask", (flags & MT_VK_MEMORY_HAS_DEVICE_MASK) != 0);
    mt_json_set_bool(row, "zero_initialized", (flags & MT_VK_MEMORY_ZERO_INITIALIZE) != 0);
    mt_json_set_bool(row, "sparse_bound", (flags & MT_VK_MEMORY_IS_SPARSE) != 0);
    mt_json_set_bool(row, "sparse_unknown", (flags & MT_VK_MEMORY_SPARSE_UNKNOWN) != 0);
    mt_json_set_bool(row, "pooled", (flags & MT_VK_MEMORY_IS_SLICE) != 0);
    mt_json_set(row, "unknown_structure", flags & MT_VK_MEMORY_OTHER_PNEXT ? mt_json_u64(flags >> 32) : NULL);
    mt_json_set(row, "priority", priority_json(record));
    mt_json_set(row, "mapped", mapped_json(record));
    set_usage(row, &usage);
    mt_json_set_known(row, "allocate_ns", record->attr[MT_VK_MEMORY_CALL_NS]);
    mt_json_set_bool(row, "leaked", (flags & MT_VK_MEMORY_LEAKED) != 0);
    set_origin(row, device, record);
    return row;
}

/* ---- buffers and images ------------------------------------------------------------ */

static bool lies_in_buffer(const struct mt_object *record)
{
    return record->kind == MT_VK_ACCEL && record->attr[MT_VK_ACCEL_API] != MT_VK_ACCEL_NV;
}

static const char *binding_name(const struct mt_snapshot *snapshot, const struct mt_object *record)
{
    uint64_t flags = record->attr[MT_VK_RESOURCE_FLAGS];
    if (mt_vulkan_is_session(record)) return record->attr[MT_VK_VIDEO_BINDINGS] ? "bound" : "unbound";
    if (lies_in_buffer(record)) return mt_vulkan_buffer_of(snapshot, record) ? "bound" : "memory_freed";
    if (flags & MT_VK_RESOURCE_MEMORY_FREED) return "memory_freed";
    if (flags & MT_VK_RESOURCE_SWAPCHAIN) return "swapchain";
    if (flags & MT_VK_RESOURCE_SPARSE) return "sparse";
    return flags & MT_VK_RESOURCE_BOUND ? "bound" : "unbound";
}

static json_t *format_json(uint32_t format)
{
    json_t *part = json_object();
    mt_json_set_u64(part, "number", format);
    mt_json_set_text(part, "name", mt_vk_format_name(format));
    return part;
}

static json_t *image_json(const struct mt_object *record)
{
    static const char *const tilings[] = {"optimal", "linear"};
    static const char *const types[] = {"1d", "2d", "3d"};
    uint64_t extent = record->attr[MT_VK_IMAGE_EXTENT], depth = record->attr[MT_VK_IMAGE_DEPTH_LAYERS];
    uint64_t mips = record->attr[MT_VK_IMAGE_MIPS_SAMPLES], format = record->attr[MT_VK_IMAGE_FORMAT];
    uint64_t type = record->attr[MT_VK_IMAGE_TYPE], tiling = format >> 32;
    json_t *part = json_object();
    mt_json_set_text(part, "type", type < 3 ? types[type] : NULL);
    mt_json_set(part, "format", format_json((uint32_t)format));
    mt_json_set_u64(part, "width", (uint32_t)extent);
    mt_json_set_u64(part, "height", extent >> 32);
    mt_json_set_u64(part, "depth", (uint32_t)depth);
    mt_json_set_u64(part, "array_layers", depth >> 32);
    mt_json_set_u64(part, "mip_levels", (uint32_t)mips);
    mt_json_set_u64(part, "samples", mips >> 32);
    mt_json_set_text(part, "tiling",
                     tiling < 2              ? tilings[tiling]
                     : tiling == 1000158000u ? "drm_format_modifier"
                                             : NULL);
    return part;
}

/* The places of a session in memory. */
static json_t *places_json(const struct mt_snapshot *snapshot, uint32_t id)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < snapshot->object_count; i++) {
        const struct mt_object *binding = &snapshot->objects[i].record;
        if (binding->kind != MT_VK_VIDEO_MEMORY || binding->attr[MT_VK_VIDEO_SESSION_ID] != id) continue;
        bool is_bound = mt_vulkan_is_bound(binding);
        json_t *row = json_object();
        mt_json_set_u64(row, "index", binding->attr[MT_VK_VIDEO_BIND_INDEX]);
        mt_json_set(row, "memory", is_bound ? mt_json_u64(binding->link) : NULL);
        mt_json_set(row, "offset", is_bound ? mt_json_u64(binding->offset) : NULL);
        mt_json_set_u64(row, "bytes", binding->size_bytes);
        json_array_append_new(rows, row);
    }
    return rows;
}

static json_t *video_json(const struct mt_snapshot *snapshot, uint32_t id, const struct mt_object *record)
{
    json_t *part = json_object();
    mt_json_set_u64(part, "width", (uint32_t)record->attr[MT_VK_VIDEO_EXTENT]);
    mt_json_set_u64(part, "height", record->attr[MT_VK_VIDEO_EXTENT] >> 32);
    mt_json_set(part, "format", format_json((uint32_t)record->attr[MT_VK_VIDEO_FORMATS]));
    mt_json_set_u64(part, "dpb_slot_count", (uint32_t)record->attr[MT_VK_VIDEO_DPB]);
    mt_json_set(part, "bindings", places_json(snapshot, id));
    return part;
}

static json_t *data_graph_json(const struct mt_snapshot *snapshot, uint32_t id)
{
    json_t *part = json_object();
    mt_json_set(part, "bindings", places_json(snapshot, id));
    return part;
}

static json_t *usage_json(const struct mt_object *record)
{
    bool has_usage = record->kind == MT_VK_BUFFER || record->kind == MT_VK_IMAGE;
    return flags_json(record->kind == MT_VK_BUFFER ? mt_vk_buffer_usages : mt_vk_image_usages,
                      has_usage ? record->attr[MT_VK_RESOURCE_USAGE] : 0);
}

/* Null for a session: it has several places. */
static void set_place(json_t *row, const struct mt_snapshot *snapshot, const struct mt_object *record)
{
    uint64_t flags = record->attr[MT_VK_RESOURCE_FLAGS];
    uint32_t buffer = lies_in_buffer(record) ? mt_vulkan_buffer_of(snapshot, record) : 0;
    bool is_swapchain = (flags & MT_VK_RESOURCE_SWAPCHAIN) && record->link;
    bool is_bound = !mt_vulkan_is_session(record) && !lies_in_buffer(record) && mt_vulkan_is_bound(record);
    mt_json_set_text(row, "binding", binding_name(snapshot, record));
    mt_json_set_bool(row, "sparse", (flags & MT_VK_RESOURCE_SPARSE) != 0);
    mt_json_set(row, "memory", is_bound ? mt_json_u64(record->link) : NULL);
    mt_json_set(row, "buffer", buffer ? mt_json_u64(buffer) : NULL);
    mt_json_set(row, "swapchain", is_swapchain ? mt_json_u64(record->link) : NULL);
    mt_json_set(row, "offset", is_bound || buffer ? mt_json_u64(record->offset) : NULL);
    mt_json_set(row, "bound_s",
                mt_vulkan_is_session(record) ? NULL
                                             : mt_report_time_json(snapshot, record->attr[MT_VK_RESOURCE_BIND_NS]));
}

static json_t *resource_json(const struct mt_vulkan_view *device, uint32_t id, const struct mt_object *record)
{
    bool is_image = record->kind == MT_VK_IMAGE, is_video = record->kind == MT_VK_VIDEO_SESSION;
    bool is_session = mt_vulkan_is_session(record);
    uint64_t flags = record->attr[MT_VK_RESOURCE_FLAGS];
    const struct mt_snapshot *snapshot = device->snapshot;
    json_t *row = json_object();
    mt_json_set_u64(row, "id", id);
    mt_json_set_text(row, "type", mt_vulkan_type_of(record));
    mt_json_set_text(row, "kind", mt_vulkan_kind_of(snapshot, record));
    mt_json_set(row, "handle", mt_json_handle(record->handle));
    mt_json_set_name(row, "name", record->name);
    mt_json_set(row, "requested_bytes", is_image ? NULL : mt_json_u64(record->size_bytes));
    mt_json_set_known(row, "required_bytes",
                      is_session ? record->size_bytes : record->attr[MT_VK_RESOURCE_REQUIRED_BYTES]);
    mt_json_set_known(row, "alignment", is_session ? 0 : record->attr[MT_VK_RESOURCE_ALIGNMENT]);
    mt_json_set(row, "usage", usage_json(record));
    mt_json_set_u64(row, "create_flags", record->attr[MT_VK_RESOURCE_CREATE_FLAGS]);
    set_place(row, snapshot, record);
    mt_json_set(row, "image", is_image ? image_json(record) : NULL);
    mt_json_set(row, "video", is_video ? video_json(snapshot, id, record) : NULL);
    mt_json_set(row, "data_graph", is_session && !is_video ? data_graph_json(snapshot, id) : NULL);
    mt_json_set(row, "sparse_binding", flags & MT_VK_RESOURCE_SPARSE ? mt_vulkan_sparse_json(device, id) : NULL);
    mt_json_set_bool(row, "leaked", (flags & MT_VK_RESOURCE_LEAKED) != 0);
    set_origin(row, device, record);
    return row;
}

struct kind_sum {
    const char *kind;
    uint64_t count, requested, required, bound;
};

static void add_to_kind(struct kind_sum *sums, size_t *count, const struct mt_vulkan_view *device,
                        const struct mt_snapshot_object *object)
{
    const struct mt_snapshot *snapshot = device->snapshot;
    const struct mt_object *record = &object->record;
    const char *kind = mt_vulkan_kind_of(snapshot, record);
    size_t i = 0;
    while (i < *count && strcmp(sums[i].kind, kind)) i++;
    if (i == *count) sums[(*count)++] = (struct kind_sum){.kind = kind};
    sums[i].count++;
    sums[i].requested += record->size_bytes;
    if (mt_vulkan_is_session(record)) { /* what it requires is known as far as it is bound */
        sums[i].required += record->size_bytes;
        sums[i].bound += record->size_bytes;
        return;
    }
    sums[i].required += record->attr[MT_VK_RESOURCE_REQUIRED_BYTES];
    if (lies_in_buffer(record) ? mt_vulkan_buffer_of(snapshot, record) : mt_vulkan_is_bound(record))
        sums[i].bound += mt_vulkan_occupied_bytes(record);
    sums[i].bound += mt_vulkan_sparse_bytes(device, object->id);
}

static int larger_kind_first(const void *a, const void *b)
{
    const struct kind_sum *left = a, *right = b;
    if (left->bound != right->bound) return left->bound < right->bound ? 1 : -1;
    return strcmp(left->kind, right->kind);
}

static void set_kind_sum(json_t *row, const struct kind_sum *sum)
{
    mt_json_set_u64(row, "count", sum->count);
    mt_json_set_u64(row, "requested_bytes", sum->requested);
    mt_json_set_u64(row, "required_bytes", sum->required);
    mt_json_set_u64(row, "bound_bytes", sum->bound);
}

/* {count, requested_bytes, required_bytes, bound_bytes, by_kind[]} of the buffers or images of a device. */
static json_t *resource_sum_json(const struct mt_vulkan_view *device, uint16_t record_kind)
{
    struct kind_sum sums[32], all = {0};
    size_t count = 0;
    for (size_t i = 0; i < device->snapshot->object_count; i++) {
        const struct mt_snapshot_object *object = &device->snapshot->objects[i];
        if (object->record.kind == record_kind && object->record.owner == device->id)
            add_to_kind(sums, &count, device, object);
    }
    qsort(sums, count, sizeof *sums, larger_kind_first);
    json_t *part = json_object(), *rows = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *row = json_object();
        mt_json_set_text(row, "kind", sums[i].kind);
        set_kind_sum(row, &sums[i]);
        json_array_append_new(rows, row);
        all.count += sums[i].count;
        all.requested += sums[i].requested;
        all.required += sums[i].required;
        all.bound += sums[i].bound;
    }
    set_kind_sum(part, &all);
    mt_json_set(part, "by_kind", rows);
    return part;
}

/* ---- swapchains, leaks, call times ---------------------------------------------------- */

static json_t *swapchain_json(const struct mt_vulkan_view *device, uint32_t id, const struct mt_object *record)
{
    uint64_t extent = record->attr[MT_VK_SWAPCHAIN_EXTENT];
    json_t *row = json_object();
    mt_json_set_u64(row, "id", id);
    mt_json_set(row, "handle", mt_json_handle(record->handle));
    mt_json_set_name(row, "name", record->name);
    mt_json_set_known(row, "estimated_bytes", record->size_bytes);
    mt_json_set_u64(row, "image_count", record->attr[MT_VK_SWAPCHAIN_IMAGES]);
    mt_json_set_u64(row, "width", (uint32_t)extent);
    mt_json_set_u64(row, "height", extent >> 32);
    mt_json_set_u64(row, "array_layers", record->attr[MT_VK_SWAPCHAIN_LAYERS]);
    mt_json_set(row, "format", format_json((uint32_t)record->attr[MT_VK_SWAPCHAIN_FORMAT]));
    mt_json_set(row, "usage", flags_json(mt_vk_image_usages, record->attr[MT_VK_SWAPCHAIN_USAGE]));
    mt_json_set_text(row, "present_mode",
                     mt_vk_present_mode_name((uint32_t)record->attr[MT_VK_SWAPCHAIN_PRESENT_MODE]));
    mt_json_set_u64(row, "present_count", record->attr[MT_VK_SWAPCHAIN_PRESENTS]);
    mt_json_set_bool(row, "retired", record->attr[MT_VK_SWAPCHAIN_RETIRED] != 0);
    mt_json_set_bool(row, "leaked", record->attr[MT_VK_SWAPCHAIN_LEAKED] != 0);
    set_origin(row, device, record);
    return row;
}

static bool is_leaked(const struct mt_object *record)
{
    if (record->kind == MT_VK_MEMORY) return record->attr[MT_VK_MEMORY_FLAGS] & MT_VK_MEMORY_LEAKED;
    if (record->kind == MT_VK_SWAPCHAIN) return record->attr[MT_VK_SWAPCHAIN_LEAKED];
    return mt_vulkan_is_resource(record) && (record->attr[MT_VK_RESOURCE_FLAGS] & MT_VK_RESOURCE_LEAKED);
}

static json_t *leak_json(const struct mt_vulkan_view *device, uint32_t id, const struct mt_object *record)
{
    json_t *row = json_object();
    mt_json_set_u64(row, "id", id);
    mt_json_set_text(row, "type", mt_vulkan_type_of(record));
    mt_json_set(row, "handle", mt_json_handle(record->handle));
    mt_json_set_name(row, "name", record->name);
    mt_json_set_u64(row, "bytes",
                    record->kind == MT_VK_BUFFER || record->kind == MT_VK_IMAGE ? mt_vulkan_occupied_bytes(record)
                                                                                : record->size_bytes);
    set_origin(row, device, record);
    return row;
}

static json_t *call_time_json(const struct mt_histogram *histogram, int type_index)
{
    json_t *row = json_object();
    mt_json_set(row, "type_index", type_index >= 0 ? json_integer(type_index) : NULL);
    mt_json_set_text(row, "unit", histogram->unit);
    json_t *numbers = mt_histogram_json(histogram);
    json_object_update(row, numbers);
    json_decref(numbers);
    return row;
}

/* "vkAllocateMemory type 3" goes into the list "vkAllocateMemory". */
static void add_call_time(json_t *part, const struct mt_histogram *histogram)
{
    char command[MT_NAME_BYTES];
    int type_index = -1;
    snprintf(command, sizeof command, "%s", histogram->name);
    char *type = strstr(command, " type ");
    if (type) {
        type_index = atoi(type + strlen(" type "));
        *type = 0;
    }
    json_t *key = mt_json_text(command), *rows = json_object_get(part, json_string_value(key));
    if (!rows) {
        rows = json_array();
        json_object_set_new(part, json_string_value(key), rows);
    }
    json_array_append_new(rows, call_time_json(histogram, type_index));
    json_decref(key);
}

static json_t *call_times_json(const struct mt_vulkan_view *device)
{
    json_t *part = json_object();
    for (unsigned i = 0; i < MT_HISTOGRAM_MAX; i++) {
        const struct mt_histogram *histogram = &device->snapshot->segment->histograms[i];
        if (MT_GET(histogram->used) && histogram->owner == device->id && MT_GET(histogram->count))
            add_call_time(part, histogram);
    }
    return part;
}

/* ---- devices ------------------------------------------------------------------------------ */

typedef bool wanted_record(const struct mt_object *record);
typedef json_t *record_row(const struct mt_vulkan_view *device, uint32_t id, const struct mt_object *record);

static bool want_memory(const struct mt_object *record)
{
    return record->kind == MT_VK_MEMORY;
}

static bool want_swapchain(const struct mt_object *record)
{
    return record->kind == MT_VK_SWAPCHAIN;
}

static json_t *rows_json(const struct mt_vulkan_view *device, wanted_record *wanted, record_row *row)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < device->snapshot->object_count; i++) {
        const struct mt_snapshot_object *object = &device->snapshot->objects[i];
        if (object->record.owner == device->id && wanted(&object->record))
            json_array_append_new(rows, row(device, object->id, &object->record));
    }
    return rows;
}

/* Sums over all memory objects that are not imports. */
static json_t *memory_sum_json(const struct mt_vulkan_view *device)
{
    struct mt_vulkan_usage all = {0};
    uint64_t count = 0, bytes = 0;
    for (size_t i = 0; i < device->snapshot->object_count; i++) {
        const struct mt_snapshot_object *object = &device->snapshot->objects[i];
        if (object->record.kind != MT_VK_MEMORY || object->record.owner != device->id) continue;
        if (object->record.attr[MT_VK_MEMORY_FLAGS] & MT_VK_MEMORY_IS_IMPORT) continue;
        struct mt_vulkan_usage usage = mt_vulkan_usage_of(device, object->id, object->record.size_bytes);
        count++;
        bytes += object->record.size_bytes;
        all.resource_count += usage.resource_count;
        all.bound += usage.bound;
        all.unbound += usage.unbound;
        all.gap_count += usage.gap_count;
        if (usage.largest_gap > all.largest_gap) all.largest_gap = usage.largest_gap;
        all.aliased += usage.aliased;
    }
    json_t *part = json_object();
    mt_json_set_u64(part, "count", count);
    mt_json_set_u64(part, "bytes", bytes);
    set_usage(part, &all);
    return part;
}

static json_t *version_json(uint64_t version)
{
    char text[40];
    if (!version) return json_null();
    snprintf(text, sizeof text, "%u.%u.%u", (unsigned)(version >> 22 & 0x7f), (unsigned)(version >> 12 & 0x3ff),
             (unsigned)(version & 0xfff));
    return json_string(text);
}

static void set_identity(json_t *row, const struct mt_vulkan_view *device)
{
    static const struct mt_object unknown;
    const struct mt_object *record = device->record ? device->record : &unknown;
    const uint64_t *attr = record->attr;
    mt_json_set_u64(row, "id", device->id);
    mt_json_set_name(row, "name", record->name);
    mt_json_set_name(row, "driver", record->text);
    mt_json_set_text(row, "driver_id", mt_vk_driver_name((uint32_t)attr[MT_VK_DEVICE_DRIVER_ID]));
    mt_json_set_u64(row, "driver_version", attr[MT_VK_DEVICE_DRIVER_VERSION]);
    mt_json_set(row, "api_version", version_json(attr[MT_VK_DEVICE_API_VERSION]));
    mt_json_set(row, "vendor_id", mt_json_handle(attr[MT_VK_DEVICE_IDS] >> 32));
    mt_json_set(row, "device_id", mt_json_handle(attr[MT_VK_DEVICE_IDS] & 0xffffffffu));
    mt_json_set_text(row, "type",
                     device->record ? mt_vk_device_type_name((uint32_t)attr[MT_VK_DEVICE_TYPE]) : NULL);
    mt_json_set(row, "created_s", mt_report_time_json(device->snapshot, record->create_ns));
    mt_json_set(row, "destroyed_s", mt_report_time_json(device->snapshot, attr[MT_VK_DEVICE_DESTROY_NS]));
    mt_json_set_known(row, "max_memory_allocation_count", attr[MT_VK_DEVICE_MAX_ALLOCATIONS]);
    mt_json_set_known(row, "buffer_image_granularity", attr[MT_VK_DEVICE_LIMITS] >> 32);
    mt_json_set_known(row, "non_coherent_atom_size", attr[MT_VK_DEVICE_LIMITS] & 0xffffffffu);
    mt_json_set_bool(row, "has_memory_budget", (attr[MT_VK_DEVICE_FLAGS] & MT_VK_DEVICE_HAS_BUDGET) != 0);
    mt_json_set_u64(row, "leaked_count", attr[MT_VK_DEVICE_LEAKED]);
    mt_json_set_u64(row, "leaked_bytes", attr[MT_VK_DEVICE_LEAKED_BYTES]);
    mt_json_set_u64(row, "device_count", record->offset);
    mt_json_set_u64(row, "sparse_bind_count", record->size_bytes);
    mt_json_set_u64(row, "unknown_free_count", attr[MT_VK_DEVICE_UNKNOWN_FREES]);
}

static json_t *device_json(const struct mt_vulkan_view *device)
{
    bool in_process = device->record && (device->record->attr[MT_VK_DEVICE_FLAGS] & MT_VK_DEVICE_IN_PROCESS);
    json_t *row = json_object();
    set_identity(row, device);
    mt_json_set_i64(row, "current_bytes", mt_vulkan_current_bytes(device));
    mt_json_set(row, "heaps", heaps_json(device, MT_HEAP_DEVICE_HEAP));
    mt_json_set(row, "memory_types", heaps_json(device, MT_HEAP_DEVICE_TYPE));
    mt_json_set(row, "imported", imported_json(device));
    mt_json_set(row, "memory_report", mt_vulkan_memory_report_json(device));
    mt_json_set_bool(row, "in_process_memory", in_process);
    mt_json_set_i64(row, "in_process_bytes", in_process ? mt_vulkan_current_bytes(device) : 0);
    mt_json_set(row, "memory", memory_sum_json(device));
    mt_json_set(row, "buffers", resource_sum_json(device, MT_VK_BUFFER));
    mt_json_set(row, "images", resource_sum_json(device, MT_VK_IMAGE));
    mt_json_set(row, "acceleration_structures", resource_sum_json(device, MT_VK_ACCEL));
    mt_json_set(row, "video_sessions", resource_sum_json(device, MT_VK_VIDEO_SESSION));
    mt_json_set(row, "tensors", resource_sum_json(device, MT_VK_TENSOR));
    mt_json_set(row, "data_graph_sessions", resource_sum_json(device, MT_VK_GRAPH_SESSION));
    mt_json_set(row, "allocations", rows_json(device, want_memory, allocation_json));
    mt_json_set(row, "resources", rows_json(device, mt_vulkan_is_resource, resource_json));
    mt_json_set(row, "swapchains", rows_json(device, want_swapchain, swapchain_json));
    mt_json_set(row, "leaks", rows_json(device, is_leaked, leak_json));
    mt_json_set(row, "call_times", call_times_json(device));
    mt_json_set(row, "pools", mt_vulkan_pools_json(device->snapshot, device->id));
    mt_json_set(row, "tags", device->tagger ? mt_tagger_device_json(device->tagger, device->id) : json_array());
    mt_json_set(row, "aliasing", mt_vulkan_aliasing_json(device));
    mt_json_set(row, "advice", mt_vulkan_advice_json(device, json_object_get(row, "aliasing")));
    return row;
}

/* Ids of devices of which only counters are left: their record is gone, their heaps are not. */
static size_t orphan_owners(const struct mt_snapshot *snapshot, uint32_t owners[MT_HEAP_MAX])
{
    size_t count = 0;
    for (unsigned i = 0; i < MT_HEAP_MAX; i++) {
        const struct mt_heap *heap = &snapshot->segment->heaps[i];
        if (MT_GET(heap->kind) != MT_HEAP_DEVICE_HEAP) continue;
        const struct mt_object *record = mt_snapshot_object(snapshot, heap->owner);
        bool known = record && record->kind == MT_VK_DEVICE;
        for (size_t k = 0; k < count && !known; k++) known = owners[k] == heap->owner;
        if (!known) owners[count++] = heap->owner;
    }
    return count;
}

static json_t *devices_json(struct mt_vulkan_view *device)
{
    const struct mt_snapshot *snapshot = device->snapshot;
    uint32_t orphans[MT_HEAP_MAX];
    json_t *rows = json_array();
    for (size_t i = 0; i < snapshot->object_count; i++) {
        if (snapshot->objects[i].record.kind != MT_VK_DEVICE) continue;
        device->id = snapshot->objects[i].id;
        device->record = &snapshot->objects[i].record;
        json_array_append_new(rows, device_json(device));
    }
    size_t count = orphan_owners(snapshot, orphans);
    for (size_t i = 0; i < count; i++) {
        device->id = orphans[i];
        device->record = NULL;
        json_array_append_new(rows, device_json(device));
    }
    return rows;
}

/* The layer's own memory: what it maps for itself, and its records and lanes in the segment. */
static json_t *overhead_json(const struct mt_snapshot *snapshot)
{
    const struct mt_segment *segment = snapshot->segment;
    uint64_t private_bytes = MT_GET(segment->globals.layer_bytes), chunks = 0, parts = 0;
    uint32_t lanes = MT_GET(segment->lane_limit);
    for (unsigned i = 0; i < MT_OBJECT_CHUNKS; i++) chunks += MT_GET(segment->object_chunks[i]) != 0;
    for (uint32_t i = 0; i < lanes; i++)
        for (unsigned h = 0; h < MT_HISTOGRAM_MAX; h++) parts += MT_GET(segment->lanes[i].histograms[h]) != 0;
    uint64_t record_bytes = chunks * MT_OBJECT_CHUNK * sizeof(struct mt_object) + lanes * sizeof(struct mt_lane) +
                            parts * sizeof(struct mt_histogram);
    json_t *part = json_object();
    mt_json_set_u64(part, "private_bytes", private_bytes);
    mt_json_set_u64(part, "record_bytes", record_bytes);
    mt_json_set_u64(part, "total_bytes", private_bytes + record_bytes);
    return part;
}

json_t *mt_report_vulkan_json(const struct mt_snapshot *snapshot)
{
    struct mt_vulkan_view view;
    struct mt_tagger *tagger = mt_tagger_new(snapshot);
    mt_vulkan_view_start(&view, snapshot);
    view.tagger = tagger;
    struct mt_timeline_point now = mt_timeline_point_of(snapshot, NULL);
    json_t *part = json_object();
    mt_json_set_i64(part, "current_bytes", now.vulkan_current_bytes);
    mt_json_set(part, "devices", devices_json(&view));
    mt_json_set(part, "host", mt_vulkan_host_json(snapshot));
    mt_json_set(part, "overhead", overhead_json(snapshot));
    mt_vulkan_view_end(&view);
    mt_tagger_free(tagger);
    return part;
}
