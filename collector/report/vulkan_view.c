/*
 * What several parts of the report ask of a device's records: which ranges of
 * its memory are covered, what kind a resource is, its rows of counters. Pure
 * functions over a snapshot.
 */
#include "vulkan_view.h"

#include "vulkan_names.h"
#include "vulkan_records.h"

#include <stdlib.h>

bool mt_vulkan_is_resource(const struct mt_object *record)
{
    return record->kind == MT_VK_BUFFER || record->kind == MT_VK_IMAGE || record->kind == MT_VK_ACCEL ||
           record->kind == MT_VK_TENSOR || mt_vulkan_is_session(record);
}

bool mt_vulkan_is_session(const struct mt_object *record)
{
    return record->kind == MT_VK_VIDEO_SESSION || record->kind == MT_VK_GRAPH_SESSION;
}

/* Lies in memory itself: not in a buffer, not in several places. */
static bool is_placed(const struct mt_object *record)
{
    return record->kind == MT_VK_BUFFER || record->kind == MT_VK_IMAGE || record->kind == MT_VK_VIDEO_MEMORY ||
           record->kind == MT_VK_SPARSE_RANGE || record->kind == MT_VK_TENSOR ||
           (record->kind == MT_VK_ACCEL && record->attr[MT_VK_ACCEL_API] == MT_VK_ACCEL_NV);
}

uint64_t mt_vulkan_occupied_bytes(const struct mt_object *record)
{
    uint64_t required = record->attr[MT_VK_RESOURCE_REQUIRED_BYTES];
    return required ? required : record->size_bytes;
}

bool mt_vulkan_is_bound(const struct mt_object *record)
{
    uint64_t flags = record->attr[MT_VK_RESOURCE_FLAGS];
    uint64_t elsewhere = MT_VK_RESOURCE_MEMORY_FREED | MT_VK_RESOURCE_SWAPCHAIN;
    return record->link && (flags & MT_VK_RESOURCE_BOUND) && !(flags & elsewhere);
}

/* ---- what is bound where ------------------------------------------------------ */

static int by_memory_and_start(const void *a, const void *b)
{
    const struct mt_vulkan_binding *left = a, *right = b;
    if (left->memory != right->memory) return left->memory < right->memory ? -1 : 1;
    return left->start < right->start ? -1 : left->start > right->start;
}

static struct mt_vulkan_binding *collect_bindings(const struct mt_snapshot *snapshot, size_t *count)
{
    struct mt_vulkan_binding *list = malloc((snapshot->object_count + 1) * sizeof *list);
    *count = 0;
    for (size_t i = 0; list && i < snapshot->object_count; i++) {
        const struct mt_object *record = &snapshot->objects[i].record;
        if (!is_placed(record) || !mt_vulkan_is_bound(record)) continue;
        uint64_t end = record->offset + mt_vulkan_occupied_bytes(record);
        if (end < record->offset) end = UINT64_MAX;
        list[(*count)++] = (struct mt_vulkan_binding){record->link, record->offset, end, record};
    }
    if (list) qsort(list, *count, sizeof *list, by_memory_and_start);
    return list;
}

static int by_resource_and_start(const void *a, const void *b)
{
    const uint64_t *left = (*(const struct mt_object *const *)a)->attr,
                   *right = (*(const struct mt_object *const *)b)->attr;
    unsigned key = left[MT_VK_SPARSE_RESOURCE] != right[MT_VK_SPARSE_RESOURCE] ? MT_VK_SPARSE_RESOURCE
                                                                               : MT_VK_SPARSE_START;
    return left[key] < right[key] ? -1 : left[key] > right[key];
}

static const struct mt_object **collect_ranges(const struct mt_snapshot *snapshot, size_t *count)
{
    size_t all = 0;
    for (size_t i = 0; i < snapshot->object_count; i++)
        all += snapshot->objects[i].record.kind == MT_VK_SPARSE_RANGE;
    const struct mt_object **list = malloc((all + 1) * sizeof *list);
    *count = 0;
    for (size_t i = 0; list && i < snapshot->object_count; i++)
        if (snapshot->objects[i].record.kind == MT_VK_SPARSE_RANGE) list[(*count)++] = &snapshot->objects[i].record;
    if (list) qsort(list, *count, sizeof *list, by_resource_and_start);
    return list;
}

size_t mt_vulkan_first_range(const struct mt_vulkan_view *device, uint32_t resource)
{
    size_t low = 0, high = device->range_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (device->ranges[middle]->attr[MT_VK_SPARSE_RESOURCE] < resource)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

uint64_t mt_vulkan_sparse_bytes(const struct mt_vulkan_view *device, uint32_t resource)
{
    uint64_t sum = 0;
    for (size_t i = mt_vulkan_first_range(device, resource);
         i < device->range_count && device->ranges[i]->attr[MT_VK_SPARSE_RESOURCE] == resource; i++)
        if (mt_vulkan_is_bound(device->ranges[i])) sum += device->ranges[i]->size_bytes;
    return sum;
}

size_t mt_vulkan_first_binding(const struct mt_vulkan_view *device, uint32_t memory)
{
    size_t low = 0, high = device->binding_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (device->bindings[middle].memory < memory)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The union of the bound ranges, what is left, and what is covered more than once. */
static void add_gap(struct mt_vulkan_usage *sum, uint64_t bytes)
{
    if (!bytes) return;
    sum->gap_count++;
    if (bytes > sum->largest_gap) sum->largest_gap = bytes;
}

/* Not all that sparse resources have of this memory could be recorded. */
static bool is_unknown(const struct mt_vulkan_view *device, uint32_t memory)
{
    const struct mt_object *record = mt_snapshot_object(device->snapshot, memory);
    return record && (record->attr[MT_VK_MEMORY_FLAGS] & MT_VK_MEMORY_SPARSE_UNKNOWN);
}

struct mt_vulkan_usage mt_vulkan_usage_of(const struct mt_vulkan_view *device, uint32_t memory, uint64_t size)
{
    struct mt_vulkan_usage sum = {0};
    uint64_t covered_to = 0, lengths = 0;
    for (size_t i = mt_vulkan_first_binding(device, memory);
         i < device->binding_count && device->bindings[i].memory == memory; i++) {
        uint64_t start = device->bindings[i].start, end = device->bindings[i].end;
        if (end > size) end = size;
        sum.resource_count++;
        if (start >= end) continue;
        lengths += end - start;
        if (start > covered_to) add_gap(&sum, start - covered_to);
        if (start < covered_to) start = covered_to;
        if (end > start) {
            sum.bound += end - start;
            covered_to = end;
        }
    }
    add_gap(&sum, size - covered_to);
    if (is_unknown(device, memory)) sum.gap_count = sum.largest_gap = 0;
    sum.unbound = sum.gap_count ? size - sum.bound : 0;
    sum.aliased = lengths - sum.bound;
    return sum;
}

static int by_index(const void *a, const void *b)
{
    const struct mt_heap *left = *(const struct mt_heap *const *)a, *right = *(const struct mt_heap *const *)b;
    return left->index < right->index ? -1 : left->index > right->index;
}

size_t mt_vulkan_heaps_of(const struct mt_vulkan_view *device, enum mt_heap_kind kind,
                          const struct mt_heap *found[MT_HEAP_MAX])
{
    size_t count = 0;
    for (unsigned i = 0; i < MT_HEAP_MAX; i++) {
        const struct mt_heap *heap = &device->snapshot->segment->heaps[i];
        if (MT_GET(heap->kind) == (uint32_t)kind && heap->owner == device->id) found[count++] = heap;
    }
    qsort(found, count, sizeof *found, by_index);
    return count;
}

int64_t mt_vulkan_current_bytes(const struct mt_vulkan_view *device)
{
    const struct mt_heap *heaps[MT_HEAP_MAX];
    size_t count = mt_vulkan_heaps_of(device, MT_HEAP_DEVICE_HEAP, heaps);
    int64_t sum = 0;
    for (size_t i = 0; i < count; i++) sum += MT_GET(heaps[i]->current_bytes);
    return sum;
}

static bool memory_is_host_visible(const struct mt_snapshot *snapshot, const struct mt_object *resource)
{
    const struct mt_object *memory = mt_snapshot_object(snapshot, resource->link);
    return memory && memory->kind == MT_VK_MEMORY && (memory->attr[MT_VK_MEMORY_PROPERTIES] & 2u);
}

const char *mt_vulkan_kind_of(const struct mt_snapshot *snapshot, const struct mt_object *record)
{
    uint64_t usage = record->attr[MT_VK_RESOURCE_USAGE];
    if (record->kind == MT_VK_ACCEL)
        return mt_vk_accel_kind(record->attr[MT_VK_ACCEL_TYPE],
                                record->attr[MT_VK_ACCEL_API] == MT_VK_ACCEL_MICROMAP);
    if (record->kind == MT_VK_VIDEO_SESSION) return mt_vk_video_kind(record->attr[MT_VK_VIDEO_CODEC]);
    if (record->kind == MT_VK_TENSOR) return "tensor";
    if (record->kind == MT_VK_GRAPH_SESSION) return "data_graph";
    if (record->kind == MT_VK_BUFFER) return mt_vk_buffer_kind(usage, memory_is_host_visible(snapshot, record));
    return mt_vk_image_kind(usage, (uint32_t)record->attr[MT_VK_IMAGE_FORMAT],
                            record->attr[MT_VK_RESOURCE_FLAGS] & MT_VK_RESOURCE_SWAPCHAIN);
}

const char *mt_vulkan_type_of(const struct mt_object *record)
{
    switch (record->kind) {
    case MT_VK_MEMORY: return "memory";
    case MT_VK_BUFFER: return "buffer";
    case MT_VK_IMAGE: return "image";
    case MT_VK_SWAPCHAIN: return "swapchain";
    case MT_VK_VIDEO_SESSION: return "video_session";
    case MT_VK_GRAPH_SESSION: return "data_graph_session";
    case MT_VK_TENSOR: return "tensor";
    case MT_VK_ACCEL:
        return record->attr[MT_VK_ACCEL_API] == MT_VK_ACCEL_MICROMAP ? "micromap" : "acceleration_structure";
    default: return NULL;
    }
}

uint32_t mt_vulkan_buffer_of(const struct mt_snapshot *snapshot, const struct mt_object *accel)
{
    const struct mt_object *buffer = mt_snapshot_object(snapshot, accel->link);
    if (!buffer || buffer->kind != MT_VK_BUFFER || buffer->handle != accel->attr[MT_VK_ACCEL_BUFFER]) return 0;
    return accel->link;
}

void mt_vulkan_view_start(struct mt_vulkan_view *view, const struct mt_snapshot *snapshot)
{
    *view = (struct mt_vulkan_view){.snapshot = snapshot};
    view->bindings = collect_bindings(snapshot, &view->binding_count);
    view->ranges = collect_ranges(snapshot, &view->range_count);
}

void mt_vulkan_view_end(struct mt_vulkan_view *view)
{
    free(view->bindings);
    free(view->ranges);
    view->bindings = NULL;
    view->ranges = NULL;
    view->binding_count = view->range_count = 0;
}
