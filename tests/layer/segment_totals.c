/*
 * Prints what a segment says of device memory, one line for each device:
 * the counters that a call log can be added up to, too. For the test scripts.
 */
#include "segment_view.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void add_heaps(const struct mt_segment *segment, uint32_t kind, uint32_t owner, uint64_t sum[5])
{
    memset(sum, 0, 5 * sizeof *sum);
    for (unsigned i = 0; i < MT_HEAP_MAX; i++) {
        const struct mt_heap *heap = view_row(segment, i);
        if (heap->kind != kind || heap->owner != owner) continue;
        sum[0] += heap->allocation_count;
        sum[1] += heap->free_count;
        sum[2] += heap->total_bytes;
        sum[3] += (uint64_t)heap->current_bytes;
        sum[4] += (uint64_t)heap->peak_bytes; /* of all heaps together only where there is one */
    }
}

static unsigned count_owned(const struct mt_segment *segment, uint16_t kind, uint32_t owner)
{
    unsigned count = 0;
    const struct mt_object *object;
    for (unsigned n = 0; (object = view_nth(segment, kind, n)); n++) count += object->owner == owner;
    return count;
}

static void print_device(const struct mt_segment *segment, uint32_t id)
{
    const struct mt_object *device = view_at(segment, id);
    uint64_t heaps[5], imports[5];
    add_heaps(segment, MT_HEAP_DEVICE_HEAP, id, heaps);
    add_heaps(segment, MT_HEAP_DEVICE_IMPORT, id, imports);
    printf("device=%" PRIu64 " allocations=%" PRIu64 " frees=%" PRIu64 " total_bytes=%" PRIu64
           " current_bytes=%" PRIu64 " peak_bytes=%" PRIu64 " imports=%" PRIu64 " import_frees=%" PRIu64
           " import_bytes=%" PRIu64 " buffers=%u images=%u swapchains=%u leaked=%" PRIu64 " unknown=%" PRIu64
           " frames=%" PRIu64 " budget=%" PRIu64 "\n",
           device->offset, heaps[0], heaps[1], heaps[2], heaps[3], heaps[4], imports[0], imports[1], imports[2],
           count_owned(segment, MT_VK_BUFFER, id), count_owned(segment, MT_VK_IMAGE, id),
           count_owned(segment, MT_VK_SWAPCHAIN, id), device->attr[MT_VK_DEVICE_LEAKED],
           device->attr[MT_VK_DEVICE_UNKNOWN_FREES], segment->frames.count,
           view_heap(segment, MT_HEAP_DEVICE_HEAP, 0, 0)->budget_bytes);
}

int main(int count, char **arguments)
{
    for (int i = 1; i < count; i++) {
        const struct mt_segment *segment = view_open_file(arguments[i]);
        if (!segment || memcmp(segment->magic, MT_SEGMENT_MAGIC, sizeof segment->magic)) {
            fprintf(stderr, "%s is no segment\n", arguments[i]);
            return 1;
        }
        for (uint32_t id = 1; id <= segment->objects.used_slots; id++)
            if (view_at(segment, id)->kind == MT_VK_DEVICE) print_device(segment, id);
    }
    return 0;
}
