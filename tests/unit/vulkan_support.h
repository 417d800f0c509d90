/*
 * Records of a Vulkan device in a synthetic segment, for tests of what the
 * report makes of them. Used by one test at a time.
 */
#ifndef MT_VULKAN_SUPPORT_H
#define MT_VULKAN_SUPPORT_H

#include "report_support.h"

#include "vulkan_records.h"

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
enum { DEVICE = 1, TYPE_LOCAL = 0, TYPE_VISIBLE = 1, LOCAL_FLAGS = 1, VISIBLE_FLAGS = 6 };
enum { SAMPLED = 4, COLOR = 0x10, DEPTH = 0x20, TRANSIENT = 0x40 };

static uint32_t next_id;

static inline struct mt_object *put_object(uint16_t kind, uint64_t size)
{
    uint64_t offset = (sizeof *segment + 4095u) & ~(uint64_t)4095;
    SET(segment->object_chunks[0], offset);
    struct mt_object *record = (struct mt_object *)(void *)((char *)segment + offset) + next_id++;
    ck_assert_uint_lt(next_id, MT_OBJECT_CHUNK);
    record->kind = kind;
    record->owner = DEVICE;
    record->size_bytes = size;
    record->handle = UINT64_C(0xabc00000000) + next_id;
    SET(record->seq, 2);
    SET(segment->objects.used_slots, next_id);
    return record;
}

static inline struct mt_heap *put_row(unsigned at, enum mt_heap_kind kind, uint32_t index, uint32_t flags,
                                      uint64_t bytes)
{
    struct mt_heap *row = &segment->heaps[at];
    row->owner = DEVICE;
    row->index = index;
    row->flags = flags;
    row->size_bytes = bytes;
    SET(row->kind, kind);
    return row;
}

/* A card with 1 GiB of its own and a type that the CPU can map. */
static inline void put_device(void)
{
    next_id = 0;
    struct mt_object *device = put_object(MT_VK_DEVICE, 0);
    device->owner = 0;
    device->attr[MT_VK_DEVICE_MAX_ALLOCATIONS] = 400;
    put_row(0, MT_HEAP_DEVICE_HEAP, 0, 1, 1024 * MIB);
    put_row(1, MT_HEAP_DEVICE_HEAP, 1, 0, 4096 * MIB);
    put_row(2, MT_HEAP_DEVICE_TYPE, TYPE_LOCAL, LOCAL_FLAGS, 1024 * MIB);
    put_row(3, MT_HEAP_DEVICE_TYPE, TYPE_VISIBLE, VISIBLE_FLAGS, 4096 * MIB);
}

static inline uint32_t put_memory(uint32_t type, uint64_t bytes, uint64_t flags)
{
    struct mt_object *memory = put_object(MT_VK_MEMORY, bytes);
    memory->attr[MT_VK_MEMORY_TYPE] = memory->attr[MT_VK_MEMORY_HEAP] = type;
    memory->attr[MT_VK_MEMORY_PROPERTIES] = type == TYPE_LOCAL ? LOCAL_FLAGS : VISIBLE_FLAGS;
    memory->attr[MT_VK_MEMORY_FLAGS] = flags;
    memory->create_ns = 5000000000u + next_id;
    return next_id;
}

static inline struct mt_object *put_image(uint32_t memory, uint64_t offset, uint64_t bytes, uint64_t usage)
{
    struct mt_object *image = put_object(MT_VK_IMAGE, bytes);
    image->link = memory;
    image->offset = offset;
    image->attr[MT_VK_RESOURCE_REQUIRED_BYTES] = bytes;
    image->attr[MT_VK_RESOURCE_ALIGNMENT] = 4096;
    image->attr[MT_VK_RESOURCE_USAGE] = usage;
    image->attr[MT_VK_RESOURCE_FLAGS] = MT_VK_RESOURCE_BOUND;
    return image;
}

/* Whole allocations with one texture in each, so that nothing is unbound. */
static inline void put_textures(unsigned count, uint64_t bytes, uint32_t type, uint64_t flags)
{
    for (unsigned i = 0; i < count; i++) put_image(put_memory(type, bytes, flags), 0, bytes, SAMPLED);
}

static inline void put_calls(const char *name, uint64_t count, uint64_t each_ns)
{
    static unsigned at;
    if (!MT_GET(segment->histograms[0].used)) at = 0;
    struct mt_histogram *calls = &segment->histograms[at++];
    calls->owner = DEVICE;
    snprintf(calls->name, sizeof calls->name, "%s type 0", name);
    SET(calls->count, count);
    SET(calls->sum, count * each_ns);
    SET(calls->buckets[mt_histogram_bucket(each_ns)], count);
    SET(calls->used, 1);
}

static inline void put_frames(uint64_t count, uint64_t device_allocations)
{
    SET(segment->frames.count, count);
    for (uint64_t n = 1; n <= count; n++) {
        segment->frames.ring[n - 1].device_allocation_count = device_allocations;
        SET(segment->frames.ring[n - 1].index, n);
    }
}

static inline struct mt_object *put_buffer(uint32_t memory, uint64_t bytes)
{
    struct mt_object *buffer = put_image(memory, 0, bytes, 0x2);
    buffer->kind = MT_VK_BUFFER;
    return buffer;
}

/* A case of its own, named as the array of its tests, each with a fresh segment. */
static inline void add(Suite *suite, const char *name, const TTest *const *tests, size_t count)
{
    TCase *cases = with_segment(name);
    for (size_t i = 0; i < count; i++) tcase_add_test(cases, tests[i]);
    suite_add_tcase(suite, cases);
}
#define ADD(suite, tests) add(suite, #tests, tests, sizeof(tests) / sizeof *(tests))

#endif
