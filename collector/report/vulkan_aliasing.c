/*
 * The estimate of what aliasing attachments could save; see the header for
 * its method and its limits.
 */
#include "vulkan_aliasing.h"

#include "json_build.h"
#include "vulkan_records.h"

#include <stdlib.h>
#include <string.h>

/* More attachments of one memory type than this are packed the largest only; the others count as they lie. */
enum { PACKED_MAX = 2048 };
enum { COLOR = 0x10, DEPTH = 0x20, TRANSIENT = 0x40, INPUT = 0x80 };
static const uint64_t attachment_usages = COLOR | DEPTH | TRANSIENT | INPUT;

/* ---- packing -------------------------------------------------------------------------- */

static int larger_first(const void *a, const void *b)
{
    const struct mt_lifetime *left = a, *right = b;
    if (left->bytes != right->bytes) return left->bytes < right->bytes ? 1 : -1;
    if (left->first != right->first) return left->first < right->first ? -1 : 1;
    return left->last < right->last ? -1 : left->last > right->last;
}

static bool do_meet(const struct mt_lifetime *a, const struct mt_lifetime *b)
{
    return a->first <= b->last && b->first <= a->last;
}

static uint64_t align_up(uint64_t value, uint64_t alignment)
{
    return alignment > 1 ? (value + alignment - 1) / alignment * alignment : value;
}

/* `order` has the placed ones by offset. The lowest offset at which this one meets none of them. */
static uint64_t lowest_offset(const struct mt_lifetime *const *order, size_t placed, const struct mt_lifetime *one)
{
    uint64_t at = 0;
    for (size_t i = 0; i < placed; i++) {
        if (!do_meet(order[i], one)) continue;
        if (order[i]->offset >= at && order[i]->offset - at >= one->bytes) break;
        uint64_t end = order[i]->offset + order[i]->bytes;
        if (end > at) at = align_up(end, one->alignment);
    }
    return at;
}

static void insert_by_offset(const struct mt_lifetime **order, size_t placed, const struct mt_lifetime *one)
{
    size_t at = placed;
    while (at && order[at - 1]->offset > one->offset) {
        order[at] = order[at - 1];
        at--;
    }
    order[at] = one;
}

uint64_t mt_lifetimes_pack(struct mt_lifetime *list, size_t count)
{
    uint64_t end = 0;
    const struct mt_lifetime **order = malloc((count + 1) * sizeof *order);
    qsort(list, count, sizeof *list, larger_first);
    for (size_t i = 0; i < count; i++) {
        list[i].offset = order ? lowest_offset(order, i, &list[i]) : align_up(end, list[i].alignment);
        if (order) insert_by_offset(order, i, &list[i]);
        if (list[i].offset + list[i].bytes > end) end = list[i].offset + list[i].bytes;
    }
    free(order);
    return end;
}

uint64_t mt_lifetimes_minimum(const struct mt_lifetime *list, size_t count)
{
    uint64_t most = 0;
    for (size_t i = 0; i < count; i++) { /* the sum can only be highest where something begins */
        uint64_t sum = 0, frame = list[i].first;
        for (size_t k = 0; k < count; k++)
            if (list[k].first <= frame && frame <= list[k].last) sum += list[k].bytes;
        if (sum > most) most = sum;
    }
    return most;
}

/* ---- the attachments of a device --------------------------------------------------------- */

struct range {
    uint32_t memory;
    uint64_t start, end;
};

/* What one memory type holds for attachments. */
struct type_sum {
    struct mt_lifetime *lifetimes;
    struct range *ranges;
    size_t count;
    uint64_t past_count, left_out_count, left_out_bytes;
    uint64_t only_count, only_bytes, only_largest; /* live images that can be nothing but attachments */
};

struct result {
    uint64_t count, past, left_out, held, packed, minimum, only_count, only_bytes, only_saving;
};

static bool is_wanted(const struct mt_vulkan_view *device, const struct mt_object *record)
{
    if (record->owner != device->id || !(record->attr[MT_VK_RESOURCE_USAGE] & attachment_usages)) return false;
    return record->kind == MT_VK_PAST_IMAGE || (record->kind == MT_VK_IMAGE && mt_vulkan_is_bound(record));
}

/* The memory that an attachment lies in or lay in; NULL when that is gone. */
static const struct mt_object *memory_of(const struct mt_vulkan_view *device, const struct mt_object *record)
{
    const struct mt_object *memory = mt_snapshot_object(device->snapshot, record->link);
    if (!memory || memory->kind != MT_VK_MEMORY || memory->owner != device->id) return NULL;
    if (memory->attr[MT_VK_MEMORY_FLAGS] & MT_VK_MEMORY_IS_IMPORT) return NULL;
    if (record->kind != MT_VK_PAST_IMAGE) return memory;
    bool is_same = memory->handle == record->handle && memory->create_ns == record->attr[MT_VK_PAST_MEMORY_NS];
    return is_same ? memory : NULL; /* the record's place has been used again */
}

static uint64_t type_of(const struct mt_object *memory)
{
    return memory->attr[MT_VK_MEMORY_TYPE];
}

static void note_attachment_only(struct type_sum *sum, const struct mt_object *image, uint64_t bytes)
{
    if (image->kind != MT_VK_IMAGE || image->attr[MT_VK_RESOURCE_USAGE] & ~attachment_usages) return;
    sum->only_count++;
    sum->only_bytes += bytes;
    if (bytes > sum->only_largest) sum->only_largest = bytes;
}

/* Frames as they are counted; what happens before the first one is ended is ordered by time, and earlier. */
static uint64_t moment(uint64_t frame, uint64_t when_ns)
{
    return frame ? UINT64_MAX / 2 + frame : when_ns;
}

static void add_attachment(struct type_sum *sum, const struct mt_object *record, const struct mt_object *memory,
                           uint64_t frame_now)
{
    bool is_past = record->kind == MT_VK_PAST_IMAGE;
    uint64_t bytes = is_past ? record->size_bytes : mt_vulkan_occupied_bytes(record);
    uint64_t end = record->offset + bytes;
    if (end < record->offset || end > memory->size_bytes) end = memory->size_bytes;
    if (end <= record->offset) return;
    note_attachment_only(sum, record, end - record->offset);
    sum->past_count += is_past;
    sum->ranges[sum->count] = (struct range){record->link, record->offset, end};
    sum->lifetimes[sum->count++] = (struct mt_lifetime){
        .bytes = end - record->offset,
        .alignment = record->attr[MT_VK_RESOURCE_ALIGNMENT],
        .first = moment(record->create_frame, record->create_ns),
        .last = is_past ? moment(record->attr[MT_VK_PAST_LAST_FRAME], record->attr[MT_VK_PAST_END_NS])
                        : moment(frame_now, UINT64_MAX / 2),
    };
}

static void collect(const struct mt_vulkan_view *device, uint64_t type, struct type_sum *sum)
{
    const struct mt_snapshot *snapshot = device->snapshot;
    uint64_t frame_now = MT_GET(snapshot->segment->frames.count);
    for (size_t i = 0; i < snapshot->object_count; i++) {
        const struct mt_object *record = &snapshot->objects[i].record;
        if (!is_wanted(device, record)) continue;
        const struct mt_object *memory = memory_of(device, record);
        if (memory && type_of(memory) == type) add_attachment(sum, record, memory, frame_now);
    }
}

static int by_place(const void *a, const void *b)
{
    const struct range *left = a, *right = b;
    if (left->memory != right->memory) return left->memory < right->memory ? -1 : 1;
    return left->start < right->start ? -1 : left->start > right->start;
}

/* Bytes of the union of all ranges. */
static uint64_t held_bytes(struct range *ranges, size_t count)
{
    uint64_t sum = 0, covered_to = 0;
    uint32_t memory = 0;
    qsort(ranges, count, sizeof *ranges, by_place);
    for (size_t i = 0; i < count; i++) {
        if (ranges[i].memory != memory) covered_to = 0;
        memory = ranges[i].memory;
        uint64_t start = ranges[i].start > covered_to ? ranges[i].start : covered_to;
        if (ranges[i].end <= start) continue;
        sum += ranges[i].end - start;
        covered_to = ranges[i].end;
    }
    return sum;
}

/* Beyond PACKED_MAX only the largest are packed: what the others need is added as if nothing could be saved. */
static void cut(struct type_sum *sum)
{
    if (sum->count <= PACKED_MAX) return;
    qsort(sum->lifetimes, sum->count, sizeof *sum->lifetimes, larger_first);
    for (size_t i = PACKED_MAX; i < sum->count; i++) sum->left_out_bytes += sum->lifetimes[i].bytes;
    sum->left_out_count = sum->count - PACKED_MAX;
}

static void set_result(json_t *row, const struct result *result, bool has_frames)
{
    uint64_t saving = result->held > result->packed ? result->held - result->packed : 0;
    mt_json_set_u64(row, "image_count", result->count);
    mt_json_set_u64(row, "past_image_count", result->past);
    mt_json_set_u64(row, "unpacked_count", result->left_out);
    mt_json_set_u64(row, "held_bytes", result->held);
    mt_json_set_u64(row, "packed_bytes", result->packed);
    mt_json_set_u64(row, "minimum_bytes", result->minimum);
    mt_json_set(row, "saving_bytes", has_frames ? mt_json_u64(saving) : NULL);
    mt_json_set_u64(row, "attachment_only_count", result->only_count);
    mt_json_set_u64(row, "attachment_only_bytes", result->only_bytes);
    mt_json_set_u64(row, "attachment_only_saving_limit_bytes", result->only_saving);
}

static void add_result(struct result *all, const struct result *one)
{
    all->count += one->count;
    all->past += one->past;
    all->left_out += one->left_out;
    all->held += one->held;
    all->packed += one->packed;
    all->minimum += one->minimum;
    all->only_count += one->only_count;
    all->only_bytes += one->only_bytes;
    all->only_saving += one->only_saving;
}

static struct result settle(struct type_sum *sum)
{
    struct result result = {.past = sum->past_count, .only_count = sum->only_count, .only_bytes = sum->only_bytes};
    cut(sum);
    size_t packed = sum->count - (size_t)sum->left_out_count;
    result.count = sum->count - sum->past_count;
    result.left_out = sum->left_out_count;
    result.held = held_bytes(sum->ranges, sum->count);
    result.minimum = mt_lifetimes_minimum(sum->lifetimes, packed);
    result.packed = mt_lifetimes_pack(sum->lifetimes, packed) + sum->left_out_bytes;
    result.only_saving = sum->only_bytes - sum->only_largest;
    return result;
}

static size_t count_wanted(const struct mt_vulkan_view *device)
{
    size_t count = 0;
    for (size_t i = 0; i < device->snapshot->object_count; i++)
        count += is_wanted(device, &device->snapshot->objects[i].record);
    return count;
}

json_t *mt_vulkan_aliasing_json(const struct mt_vulkan_view *device)
{
    const struct mt_heap *types[MT_HEAP_MAX];
    size_t wanted = count_wanted(device), type_count = mt_vulkan_heaps_of(device, MT_HEAP_DEVICE_TYPE, types);
    bool has_frames = MT_GET(device->snapshot->segment->frames.count) >= 2;
    struct type_sum sum = {.lifetimes = malloc((wanted + 1) * sizeof *sum.lifetimes),
                           .ranges = malloc((wanted + 1) * sizeof *sum.ranges)};
    struct result all = {0};
    json_t *part = json_object(), *rows = json_array();
    for (size_t i = 0; wanted && sum.lifetimes && sum.ranges && i < type_count; i++) {
        struct type_sum of_type = {.lifetimes = sum.lifetimes, .ranges = sum.ranges};
        collect(device, types[i]->index, &of_type);
        if (!of_type.count) continue;
        struct result result = settle(&of_type);
        json_t *row = json_object();
        mt_json_set_u64(row, "type_index", types[i]->index);
        set_result(row, &result, has_frames);
        json_array_append_new(rows, row);
        add_result(&all, &result);
    }
    mt_json_set_text(part, "method", "lifetimes in frames, interval packing by memory type");
    set_result(part, &all, has_frames);
    mt_json_set(part, "by_type", rows);
    free(sum.lifetimes);
    free(sum.ranges);
    return part;
}
