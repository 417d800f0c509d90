/*
 * What the report makes of the records of Vulkan devices beyond counting:
 * advice, each rule with a device where it speaks and one where it is silent,
 * and the aliasing estimate against plain models.
 */
#include "report_support.h"

#include "report/json_build.h"
#include "report/vulkan_advice.h"
#include "vulkan_records.h"

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
enum { DEVICE = 1, TYPE_LOCAL = 0, TYPE_VISIBLE = 1, LOCAL_FLAGS = 1, VISIBLE_FLAGS = 6 };
enum { SAMPLED = 4, COLOR = 0x10, DEPTH = 0x20, TRANSIENT = 0x40 };

static uint32_t next_id;

static struct mt_object *put_object(uint16_t kind, uint64_t size)
{
    uint64_t offset = (sizeof *segment + 4095u) & ~(uint64_t)4095;
    SET(segment->objects.chunks[0], offset);
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

static struct mt_heap *put_row(unsigned at, enum mt_heap_kind kind, uint32_t index, uint32_t flags, uint64_t bytes)
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
static void put_device(void)
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

static uint32_t put_memory(uint32_t type, uint64_t bytes, uint64_t flags)
{
    struct mt_object *memory = put_object(MT_VK_MEMORY, bytes);
    memory->attr[MT_VK_MEMORY_TYPE] = memory->attr[MT_VK_MEMORY_HEAP] = type;
    memory->attr[MT_VK_MEMORY_PROPERTIES] = type == TYPE_LOCAL ? LOCAL_FLAGS : VISIBLE_FLAGS;
    memory->attr[MT_VK_MEMORY_FLAGS] = flags;
    memory->create_ns = 5000000000u + next_id;
    return next_id;
}

static struct mt_object *put_image(uint32_t memory, uint64_t offset, uint64_t bytes, uint64_t usage)
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
static void put_textures(unsigned count, uint64_t bytes, uint32_t type, uint64_t flags)
{
    for (unsigned i = 0; i < count; i++) put_image(put_memory(type, bytes, flags), 0, bytes, SAMPLED);
}

static void put_calls(const char *name, uint64_t count, uint64_t each_ns)
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

static void put_frames(uint64_t count, uint64_t device_allocations)
{
    SET(segment->frames.count, count);
    for (uint64_t n = 1; n <= count; n++) {
        segment->frames.ring[n - 1].device_allocation_count = device_allocations;
        SET(segment->frames.ring[n - 1].index, n);
    }
}

static const json_t *advice_of(const json_t *report, const char *kind)
{
    size_t index;
    const json_t *row, *found = NULL;
    json_array_foreach((json_t *)at(report, "vulkan.devices.0.advice"), index, row)
    {
        if (strcmp(word(row, "kind"), kind)) continue;
        ck_assert_ptr_null(found); /* each once here */
        found = row;
    }
    return found;
}

/* The evidence of the only advice there is; fails when there is another one. */
static int64_t evidence(const json_t *report, const char *kind, const char *key)
{
    const json_t *rows = at(report, "vulkan.devices.0.advice");
    ck_assert_msg(json_array_size(rows) == 1, "%s: %zu pieces of advice", kind, json_array_size(rows));
    const json_t *row = advice_of(report, kind);
    ck_assert_msg(row != NULL, "no advice %s", kind);
    ck_assert(json_is_true(at(row, "is_current")));
    ck_assert_uint_gt(strlen(word(row, "text")), 20);
    return number(at(row, "evidence"), key);
}

static void expect_silence(void)
{
    json_t *report = load();
    const json_t *rows = at(report, "vulkan.devices.0.advice");
    ck_assert_msg(!json_array_size(rows), "%s", word(json_array_get(rows, 0), "text"));
    json_decref(report);
}

/* ---- advice ------------------------------------------------------------------------------ */

START_TEST(a_device_without_anything_gets_no_advice)
{
    put_device();
    expect_silence();
}
END_TEST

START_TEST(many_small_allocations)
{
    put_device();
    put_textures(64, 256 * KIB - 1, TYPE_LOCAL, 0);
    put_textures(64, 256 * KIB, TYPE_LOCAL, 0);
    json_t *report = load();
    ck_assert_int_eq(evidence(report, "small_allocations", "live_small_count"), 64);
    ck_assert_int_eq(evidence(report, "small_allocations", "live_count"), 128);
    json_decref(report);
}
END_TEST

START_TEST(some_small_allocations_are_nothing)
{
    put_device();
    put_textures(63, 4 * KIB, TYPE_LOCAL, 0);
    put_textures(20, 256 * KIB, TYPE_LOCAL, 0);
    expect_silence();
}
END_TEST

START_TEST(small_allocations_among_many_large_ones_are_nothing)
{
    put_device();
    put_textures(64, 4 * KIB, TYPE_LOCAL, 0);
    put_textures(65, 256 * KIB, TYPE_LOCAL, 0);
    expect_silence();
}
END_TEST

START_TEST(small_slices_and_dedicated_ones_are_nothing)
{
    put_device();
    put_textures(80, 4 * KIB, TYPE_LOCAL, MT_VK_MEMORY_IS_SLICE);
    put_textures(80, 4 * KIB, TYPE_LOCAL, MT_VK_MEMORY_IS_DEDICATED);
    expect_silence();
}
END_TEST

START_TEST(small_allocations_that_are_gone)
{
    put_device();
    SET(segment->heaps[2].allocation_count, 256);
    SET(segment->heaps[2].total_bytes, 256 * 100 * KIB);
    json_t *report = load();
    ck_assert_int_eq(evidence(report, "small_allocations", "mean_bytes"), 100 * (int64_t)KIB);
    SET(segment->heaps[2].total_bytes, 256 * 256 * KIB);
    json_decref(report);
    expect_silence();
}
END_TEST

START_TEST(render_targets_in_shared_memory)
{
    put_device();
    uint32_t memory = put_memory(TYPE_LOCAL, 8 * MIB, 0);
    put_image(memory, 0, MIB, COLOR);
    put_image(memory, MIB, 3 * MIB, DEPTH);
    put_image(memory, 4 * MIB, 4 * MIB, SAMPLED);
    json_t *report = load();
    ck_assert_int_eq(evidence(report, "no_dedicated_allocation", "image_count"), 2);
    ck_assert_int_eq(evidence(report, "no_dedicated_allocation", "image_bytes"), 4 * (int64_t)MIB);
    ck_assert_int_eq(evidence(report, "no_dedicated_allocation", "largest_bytes"), 3 * (int64_t)MIB);
    json_decref(report);
}
END_TEST

START_TEST(small_and_dedicated_render_targets_are_nothing)
{
    put_device();
    put_image(put_memory(TYPE_LOCAL, MIB - 1, 0), 0, MIB - 1, COLOR);
    put_image(put_memory(TYPE_LOCAL, 9 * MIB, MT_VK_MEMORY_IS_DEDICATED), 0, 9 * MIB, COLOR);
    expect_silence();
}
END_TEST

START_TEST(staging_memory_that_comes_and_goes)
{
    put_device();
    SET(segment->heaps[3].allocation_count, 64);
    SET(segment->heaps[3].total_bytes, 64 * MIB);
    SET(segment->heaps[3].peak_bytes, 8 * (int64_t)MIB);
    json_t *report = load();
    ck_assert_int_eq(evidence(report, "staging_churn", "type_index"), TYPE_VISIBLE);
    ck_assert_int_eq(evidence(report, "staging_churn", "total_bytes"), 64 * (int64_t)MIB);
    json_decref(report);
    SET(segment->heaps[3].peak_bytes, 8 * (int64_t)MIB + 1);
    expect_silence();
    SET(segment->heaps[3].peak_bytes, (int64_t)MIB);
    SET(segment->heaps[3].flags, LOCAL_FLAGS); /* not for staging */
    expect_silence();
}
END_TEST

START_TEST(mapping_in_every_frame)
{
    put_device();
    put_frames(60, 0);
    put_calls("vkMapMemory", 60, 700);
    json_t *report = load();
    ck_assert_int_eq(evidence(report, "map_every_frame", "map_count"), 60);
    ck_assert_int_eq(evidence(report, "map_every_frame", "map_ns"), 42000);
    json_decref(report);
    put_frames(61, 0);
    expect_silence();
}
END_TEST

START_TEST(mapping_without_frames_is_nothing)
{
    put_device();
    put_frames(59, 0);
    put_calls("vkMapMemory", 5000, 700);
    expect_silence();
}
END_TEST

START_TEST(images_on_the_wrong_side_of_the_bus)
{
    put_device();
    put_textures(4, 4 * MIB, TYPE_VISIBLE, MT_VK_MEMORY_WAS_MAPPED);
    json_t *report = load();
    ck_assert_int_eq(evidence(report, "image_not_device_local", "image_count"), 4);
    ck_assert_int_eq(evidence(report, "image_not_device_local", "image_bytes"), 16 * (int64_t)MIB);
    json_decref(report);
    segment->heaps[2].flags = VISIBLE_FLAGS; /* a device without memory of its own: no choice */
    expect_silence();
}
END_TEST

START_TEST(linear_images_and_a_few_others_may_lie_with_the_host)
{
    put_device();
    put_textures(3, 5 * MIB, TYPE_VISIBLE, MT_VK_MEMORY_WAS_MAPPED);
    put_image(put_memory(TYPE_VISIBLE, 64 * MIB, MT_VK_MEMORY_IS_MAPPED), 0, 64 * MIB, SAMPLED)
        ->attr[MT_VK_IMAGE_FORMAT] = UINT64_C(1) << 32;
    expect_silence();
}
END_TEST

static struct mt_object *put_buffer(uint32_t memory, uint64_t bytes)
{
    struct mt_object *buffer = put_image(memory, 0, bytes, 0x2);
    buffer->kind = MT_VK_BUFFER;
    return buffer;
}

START_TEST(mappable_memory_that_nobody_maps)
{
    put_device();
    put_buffer(put_memory(TYPE_VISIBLE, 16 * MIB, 0), 16 * MIB);
    put_buffer(put_memory(TYPE_VISIBLE, 64 * MIB, MT_VK_MEMORY_WAS_MAPPED), 64 * MIB);
    json_t *report = load();
    ck_assert_int_eq(evidence(report, "host_visible_never_mapped", "allocation_count"), 1);
    ck_assert_int_eq(evidence(report, "host_visible_never_mapped", "allocation_bytes"), 16 * (int64_t)MIB);
    json_decref(report);
    segment->heaps[2].flags = LOCAL_FLAGS | VISIBLE_FLAGS; /* all memory can be mapped: no choice */
    expect_silence();
}
END_TEST

START_TEST(memory_that_is_mapped_is_used)
{
    put_device();
    put_buffer(put_memory(TYPE_VISIBLE, 15 * MIB, 0), 15 * MIB);
    put_buffer(put_memory(TYPE_VISIBLE, 64 * MIB, MT_VK_MEMORY_IS_MAPPED), 64 * MIB);
    expect_silence();
}
END_TEST

START_TEST(memory_with_nothing_bound_to_it)
{
    put_device();
    put_image(put_memory(TYPE_LOCAL, 64 * MIB, 0), 0, 48 * MIB, SAMPLED);
    json_t *report = load();
    ck_assert_int_eq(evidence(report, "unbound_memory", "unbound_bytes"), 16 * (int64_t)MIB);
    ck_assert_int_eq(evidence(report, "unbound_memory", "percent"), 25);
    json_decref(report);
    put_textures(1, MIB, TYPE_LOCAL, 0); /* less than a quarter now */
    expect_silence();
}
END_TEST

START_TEST(allocating_in_every_frame)
{
    put_device();
    put_frames(60, 2);
    put_calls("vkAllocateMemory", 120, 3000);
    json_t *report = load();
    ck_assert_int_eq(evidence(report, "allocations_per_frame", "allocation_count"), 120);
    ck_assert_int_eq(evidence(report, "allocations_per_frame", "ns_per_frame"), 6000);
    ck_assert_int_eq(evidence(report, "allocations_per_frame", "most_in_a_frame"), 2);
    json_decref(report);
    segment->frames.ring[10].device_allocation_count = 50; /* one burst of loading is not every frame */
    put_frames(60, 0);
    segment->frames.ring[10].device_allocation_count = 59;
    expect_silence();
}
END_TEST

START_TEST(near_the_number_of_allocations)
{
    put_device();
    put_textures(300, 256 * KIB, TYPE_LOCAL, 0);
    json_t *report = load();
    ck_assert_int_eq(evidence(report, "allocation_count_limit", "live_count"), 300);
    ck_assert_int_eq(evidence(report, "allocation_count_limit", "max_memory_allocation_count"), 400);
    json_decref(report);
}
END_TEST

START_TEST(below_the_number_of_allocations)
{
    put_device();
    put_textures(299, 256 * KIB, TYPE_LOCAL, 0);
    expect_silence();
}
END_TEST

START_TEST(near_the_size_of_a_heap)
{
    put_device();
    SET(segment->heaps[0].peak_bytes, 922 * (int64_t)MIB);
    json_t *report = load();
    ck_assert_int_eq(evidence(report, "heap_near_budget", "heap_index"), 0);
    ck_assert_int_eq(evidence(report, "heap_near_budget", "percent"), 90);
    ck_assert_int_eq(evidence(report, "heap_near_budget", "is_driver_budget"), 0);
    json_decref(report);
    SET(segment->heaps[0].peak_bytes, 921 * (int64_t)MIB);
    expect_silence();
}
END_TEST

START_TEST(near_the_budget_of_the_driver)
{
    put_device();
    SET(segment->heaps[1].budget_ns, 1);
    SET(segment->heaps[1].budget_bytes, 100 * MIB);
    SET(segment->heaps[1].usage_bytes, 95 * MIB);
    json_t *report = load();
    ck_assert_int_eq(evidence(report, "heap_near_budget", "heap_index"), 1);
    ck_assert_int_eq(evidence(report, "heap_near_budget", "is_driver_budget"), 1);
    ck_assert_int_eq(evidence(report, "heap_near_budget", "used_bytes"), 95 * (int64_t)MIB);
    json_decref(report);
    SET(segment->heaps[1].usage_bytes, 80 * MIB);
    expect_silence();
}
END_TEST

START_TEST(pools_where_the_driver_is_slow)
{
    put_device();
    put_calls("vkAllocateMemory", 1000, 15000);
    put_calls("vkFreeMemory", 1000, 5000);
    json_t *report = load();
    ck_assert_int_eq(evidence(report, "pooling_would_save", "mean_allocate_ns"), 15000);
    ck_assert_int_eq(evidence(report, "pooling_would_save", "spent_ns"), 20000000);
    ck_assert_int_eq(evidence(report, "pooling_would_save", "estimated_saving_ns"), 19000000);
    json_decref(report);
    put_object(MT_VK_POOL, 0); /* they are on */
    expect_silence();
}
END_TEST

START_TEST(no_pools_where_the_driver_is_fast_or_hardly_called)
{
    put_device();
    put_calls("vkAllocateMemory", 100000, 4000);
    put_calls("vkFreeMemory", 100000, 900);
    expect_silence();
    SET(segment->histograms[0].count, 255);
    SET(segment->histograms[0].sum, 255 * UINT64_C(100000000));
    expect_silence();
}
END_TEST

static json_t *kept_report(json_t *kept)
{
    json_t *report = load();
    mt_vulkan_advice_keep(report, kept);
    return report;
}

START_TEST(advice_stays_after_its_reason_is_gone)
{
    json_t *kept = json_object();
    put_device();
    put_textures(300, 256 * KIB, TYPE_LOCAL, 0);
    json_decref(kept_report(kept));
    for (uint32_t i = 1; i < next_id; i++) /* all is freed */
        ((struct mt_object *)(void *)((char *)segment + MT_GET(segment->objects.chunks[0])))[i].kind = 0;
    for (int again = 0; again < 3; again++) {
        json_t *report = kept_report(kept);
        ck_assert_uint_eq(json_array_size(at(report, "vulkan.devices.0.advice")), 1);
        ck_assert(json_is_false(at(report, "vulkan.devices.0.advice.0.is_current")));
        ck_assert_int_eq(number(report, "vulkan.devices.0.advice.0.evidence.live_count"), 300);
        json_decref(report);
    }
    json_decref(kept);
}
END_TEST

/* ---- the estimate --------------------------------------------------------------------------- */

static struct mt_object *put_past(uint32_t memory, uint64_t offset, uint64_t bytes, uint64_t first, uint64_t last)
{
    struct mt_object *past = put_image(memory, offset, bytes, COLOR);
    const struct mt_object *of = past - (next_id - memory);
    past->kind = MT_VK_PAST_IMAGE;
    past->handle = of->handle;
    past->create_frame = first;
    past->attr[MT_VK_PAST_LAST_FRAME] = last;
    past->attr[MT_VK_PAST_MEMORY_FLAGS] = MT_VK_MEMORY_IS_DEDICATED; /* no advice from these */
    past->attr[MT_VK_PAST_MEMORY_NS] = of->create_ns;
    return past;
}

#define ALIASING "vulkan.devices.0.aliasing."

START_TEST(attachments_that_never_met)
{
    put_device();
    put_frames(50, 0);
    uint32_t memory = put_memory(TYPE_LOCAL, 100 * KIB, 0);
    put_past(memory, 0, 40 * KIB, 1, 10);
    put_past(memory, 40 * KIB, 40 * KIB, 11, 20);
    put_image(memory, 80 * KIB, 20 * KIB, COLOR)->create_frame = 21; /* alive */
    put_image(memory, 0, 10 * KIB, SAMPLED);                         /* no attachment */
    json_t *report = load();
    ck_assert_int_eq(number(report, ALIASING "image_count"), 1);
    ck_assert_int_eq(number(report, ALIASING "past_image_count"), 2);
    ck_assert_int_eq(number(report, ALIASING "held_bytes"), 100 * (int64_t)KIB);
    ck_assert_int_eq(number(report, ALIASING "packed_bytes"), 40 * (int64_t)KIB);
    ck_assert_int_eq(number(report, ALIASING "minimum_bytes"), 40 * (int64_t)KIB);
    ck_assert_int_eq(number(report, ALIASING "saving_bytes"), 60 * (int64_t)KIB);
    ck_assert_int_eq(number(report, ALIASING "by_type.0.type_index"), TYPE_LOCAL);
    json_decref(report);
}
END_TEST

START_TEST(attachments_that_never_met_are_worth_an_advice)
{
    put_device();
    put_frames(50, 0);
    uint32_t memory = put_memory(TYPE_LOCAL, 32 * MIB, 0);
    put_past(memory, 0, 16 * MIB, 1, 10);
    put_past(memory, 16 * MIB, 16 * MIB, 11, 20);
    put_buffer(memory, 32 * MIB);
    json_t *report = load();
    ck_assert_int_eq(evidence(report, "transient_aliasing", "saving_bytes"), 16 * (int64_t)MIB);
    json_decref(report);
    put_past(memory, 0, MIB, 11, 12)->attr[MT_VK_PAST_LAST_FRAME] = 15; /* it met the second one */
    expect_silence();
}
END_TEST

START_TEST(attachments_that_shared_their_memory_already)
{
    put_device();
    put_frames(50, 0);
    uint32_t memory = put_memory(TYPE_LOCAL, 100 * KIB, 0);
    put_past(memory, 0, 40 * KIB, 1, 10);
    put_past(memory, 0, 40 * KIB, 11, 20);
    json_t *report = load();
    ck_assert_int_eq(number(report, ALIASING "held_bytes"), 40 * (int64_t)KIB);
    ck_assert_int_eq(number(report, ALIASING "saving_bytes"), 0);
    json_decref(report);
}
END_TEST

START_TEST(past_attachments_of_memory_that_is_gone_do_not_count)
{
    put_device();
    put_frames(50, 0);
    uint32_t memory = put_memory(TYPE_LOCAL, 100 * KIB, 0);
    put_past(memory, 0, 40 * KIB, 1, 10)->attr[MT_VK_PAST_MEMORY_NS]++;
    put_past(memory, 40 * KIB, 40 * KIB, 11, 20)->handle++;
    json_t *report = load();
    ck_assert_int_eq(number(report, ALIASING "past_image_count"), 0);
    ck_assert_int_eq(number(report, ALIASING "held_bytes"), 0);
    json_decref(report);
}
END_TEST

START_TEST(memory_types_are_packed_apart)
{
    put_device();
    put_frames(50, 0);
    put_past(put_memory(TYPE_LOCAL, 40 * KIB, 0), 0, 40 * KIB, 1, 10);
    put_past(put_memory(TYPE_VISIBLE, 40 * KIB, MT_VK_MEMORY_WAS_MAPPED), 0, 40 * KIB, 11, 20);
    json_t *report = load();
    ck_assert_uint_eq(json_array_size(at(report, ALIASING "by_type")), 2);
    ck_assert_int_eq(number(report, ALIASING "saving_bytes"), 0);
    json_decref(report);
}
END_TEST

START_TEST(without_frames_nothing_is_promised)
{
    put_device();
    uint32_t memory = put_memory(TYPE_LOCAL, 80 * KIB, 0);
    put_image(memory, 0, 40 * KIB, COLOR | TRANSIENT);
    put_image(memory, 40 * KIB, 30 * KIB, DEPTH);
    json_t *report = load();
    ck_assert(json_is_null(at(report, ALIASING "saving_bytes")));
    ck_assert_int_eq(number(report, ALIASING "packed_bytes"), 72 * (int64_t)KIB - 2048); /* 30 KiB is no multiple */
    ck_assert_int_eq(number(report, ALIASING "attachment_only_count"), 2);
    ck_assert_int_eq(number(report, ALIASING "attachment_only_saving_limit_bytes"), 30 * (int64_t)KIB);
    json_decref(report);
}
END_TEST

/* ---- tags ------------------------------------------------------------------------------------ */

static void use_rules(const char *rules)
{
    char file[160];
    snprintf(file, sizeof file, "%s/rules-%d.json", folder, rand());
    FILE *out = fopen(file, "w");
    ck_assert_ptr_nonnull(out);
    fputs(rules, out);
    fclose(out);
    struct mt_process *process = &segment->process;
    process->options_bytes = (uint32_t)snprintf(process->options, sizeof process->options, "MEMTRACK_TAGS=%s\n",
                                                file);
}

static void name_threads(void)
{
    static const char *const names[] = {"loader", "render"};
    SET(segment->attribution.mode, MT_STACKS_SAMPLED);
    for (unsigned i = 0; i < 2; i++) {
        snprintf(segment->attribution.thread_names[i].name, sizeof segment->attribution.thread_names[i].name, "%s",
                 names[i]);
        SET(segment->attribution.thread_names[i].state, 1);
    }
}

/* The bytes of a tag on the device; -1 where it has no row. And as cpu.tags has them, which must be the same. */
static int64_t tagged(const json_t *report, const char *tag)
{
    size_t index;
    int64_t bytes = -1;
    const json_t *row;
    json_array_foreach((json_t *)at(report, "vulkan.devices.0.tags"), index, row)
    {
        if (!strcmp(word(row, "tag"), tag)) bytes = number(row, "current_bytes");
    }
    json_array_foreach((json_t *)at(report, "cpu.tags"), index, row)
    {
        if (!strcmp(word(row, "tag"), tag)) ck_assert_int_eq(number(row, "vulkan_bytes"), bytes < 0 ? 0 : bytes);
    }
    return bytes;
}

static int64_t tagged_in_all(const json_t *report)
{
    size_t index;
    int64_t sum = 0;
    const json_t *row;
    json_array_foreach((json_t *)at(report, "vulkan.devices.0.tags"), index, row)
    {
        sum += number(row, "current_bytes");
    }
    return sum;
}

START_TEST(each_byte_has_one_tag)
{
    put_device();
    uint32_t memory = put_memory(TYPE_LOCAL, MIB, 0);
    snprintf(put_image(memory, 0, 1000, SAMPLED)->name, MT_NAME_BYTES, "tex_wall");
    snprintf(put_image(memory, 500, 1000, SAMPLED)->name, MT_NAME_BYTES, "tex_door"); /* 500 bytes on the wall */
    snprintf(put_image(memory, 4000, 100, COLOR)->name, MT_NAME_BYTES, "gbuffer");
    put_image(memory, 8000, 50, SAMPLED);
    put_memory(TYPE_LOCAL, 7777, MT_VK_MEMORY_IS_IMPORT);
    use_rules("{\"tags\": [{\"tag\": \"walls\", \"match\": [{\"vulkan_name\": \"tex_w*\"}]},"
              "{\"tag\": \"textures\", \"match\": [{\"vulkan_name\": \"tex_*\"}]},"
              "{\"tag\": \"targets\", \"budget\": 90, \"match\": [{\"vulkan_kind\": \"color_target\"}]}]}");
    json_t *report = load();
    ck_assert_int_eq(tagged(report, "walls"), 1000);
    ck_assert_int_eq(tagged(report, "textures"), 500);
    ck_assert_int_eq(tagged(report, "targets"), 100);
    ck_assert_int_eq(tagged(report, "(unknown)"), (int64_t)MIB - 1600);
    ck_assert_int_eq(tagged_in_all(report), (int64_t)MIB);
    ck_assert_str_eq(word(report, "vulkan.devices.0.resources.0.tag"), "walls");
    ck_assert_str_eq(word(report, "vulkan.devices.0.resources.3.tag"), "(unknown)");
    json_decref(report);
}
END_TEST

START_TEST(tags_by_thread)
{
    put_device();
    name_threads();
    put_object(MT_VK_MEMORY, 1000)->thread = 1;
    put_object(MT_VK_MEMORY, 300)->thread = 2;
    put_object(MT_VK_MEMORY, 20);
    use_rules("{\"tags\": [{\"tag\": \"loading\", \"match\": [{\"thread\": \"load*\"}]},"
              "{\"tag\": \"drawing\", \"match\": [{\"thread\": \"render\", \"vulkan_kind\": \"memory\"}]}]}");
    json_t *report = load();
    ck_assert_int_eq(tagged(report, "loading"), 1000);
    ck_assert_int_eq(tagged(report, "drawing"), 300);
    ck_assert_int_eq(tagged(report, "(unknown)"), 20);
    json_decref(report);
}
END_TEST

START_TEST(tags_by_kind)
{
    static const char *const kinds[] = {"buffer", "staging", "video_session", "decode_h264"};
    put_device();
    uint32_t memory = put_memory(TYPE_VISIBLE, MIB, MT_VK_MEMORY_WAS_MAPPED);
    put_buffer(memory, 1000)->attr[MT_VK_RESOURCE_USAGE] = 1;
    struct mt_object *session = put_object(MT_VK_VIDEO_SESSION, 64);
    session->attr[MT_VK_VIDEO_CODEC] = 1;
    uint32_t session_id = next_id;
    struct mt_object *binding = put_image(memory, 4096, 64, 0);
    binding->kind = MT_VK_VIDEO_MEMORY;
    binding->attr[MT_VK_VIDEO_SESSION_ID] = session_id;
    for (unsigned i = 0; i < 4; i++) {
        char rules[160];
        snprintf(rules, sizeof rules, "{\"tags\": [{\"tag\": \"it\", \"match\": [{\"vulkan_kind\": \"%s\"}]}]}",
                 kinds[i]);
        use_rules(rules);
        json_t *report = load();
        ck_assert_int_eq(tagged(report, "it"), i < 2 ? 1000 : 64);
        ck_assert_int_eq(tagged_in_all(report), (int64_t)MIB);
        json_decref(report);
    }
}
END_TEST

START_TEST(a_tags_budget_counts_device_memory)
{
    put_device();
    put_textures(1, MIB, TYPE_LOCAL, 0);
    use_rules("{\"tags\": [{\"tag\": \"all\", \"budget\": \"1M\", \"match\": [{\"vulkan_kind\": \"memory\"}]}]}");
    json_t *report = load();
    const json_t *row = json_array_get(at(report, "cpu.tags"), json_array_size(at(report, "cpu.tags")) - 1);
    ck_assert_str_eq(word(row, "tag"), "all");
    ck_assert_str_eq(word(row, "budget_state"), "warning");
    json_decref(report);
    put_textures(1, 1, TYPE_LOCAL, 0);
    report = load();
    row = json_array_get(at(report, "cpu.tags"), json_array_size(at(report, "cpu.tags")) - 1);
    ck_assert_str_eq(word(row, "budget_state"), "over");
    json_decref(report);
}
END_TEST

/* ---- other resources ------------------------------------------------------------------------ */

START_TEST(acceleration_structures_are_listed_with_their_buffer)
{
    put_device();
    uint32_t memory = put_memory(TYPE_LOCAL, MIB, 0);
    struct mt_object *buffer = put_image(memory, 0, MIB, 0x100000), *accel, *old;
    buffer->kind = MT_VK_BUFFER;
    uint32_t buffer_id = next_id;
    accel = put_image(buffer_id, 4096, 5000, 0);
    accel->kind = MT_VK_ACCEL;
    accel->attr[MT_VK_ACCEL_TYPE] = 1;
    accel->attr[MT_VK_ACCEL_BUFFER] = buffer->handle;
    old = put_image(buffer_id, 0, 100, 0);
    old->kind = MT_VK_ACCEL;
    old->attr[MT_VK_ACCEL_BUFFER] = buffer->handle + 1; /* its buffer is gone, another one has the record */
    json_t *report = load();
    ck_assert_str_eq(word(report, "vulkan.devices.0.resources.1.type"), "acceleration_structure");
    ck_assert_str_eq(word(report, "vulkan.devices.0.resources.1.kind"), "bottom_level");
    ck_assert_int_eq(number(report, "vulkan.devices.0.resources.1.buffer"), buffer_id);
    ck_assert_int_eq(number(report, "vulkan.devices.0.resources.1.offset"), 4096);
    ck_assert_str_eq(word(report, "vulkan.devices.0.resources.2.binding"), "memory_freed");
    ck_assert_int_eq(number(report, "vulkan.devices.0.acceleration_structures.count"), 2);
    ck_assert_int_eq(number(report, "vulkan.devices.0.acceleration_structures.requested_bytes"), 5100);
    ck_assert_int_eq(number(report, "vulkan.devices.0.acceleration_structures.bound_bytes"), 5000);
    ck_assert_int_eq(number(report, "vulkan.devices.0.allocations.0.resource_count"), 1);
    json_decref(report);
}
END_TEST

START_TEST(video_sessions_are_listed_with_their_places)
{
    put_device();
    uint32_t memory = put_memory(TYPE_LOCAL, MIB, 0);
    struct mt_object *session = put_object(MT_VK_VIDEO_SESSION, 3000);
    uint32_t session_id = next_id;
    session->attr[MT_VK_VIDEO_CODEC] = 1;
    session->attr[MT_VK_VIDEO_BINDINGS] = 2;
    session->attr[MT_VK_VIDEO_EXTENT] = 1920 | UINT64_C(1080) << 32;
    for (unsigned i = 0; i < 2; i++) {
        struct mt_object *binding = put_image(memory, i * 4096u, 1000 + 1000 * i, 0);
        binding->kind = MT_VK_VIDEO_MEMORY;
        binding->attr[MT_VK_VIDEO_SESSION_ID] = session_id;
        binding->attr[MT_VK_VIDEO_BIND_INDEX] = i;
    }
    json_t *report = load();
    ck_assert_str_eq(word(report, "vulkan.devices.0.resources.0.type"), "video_session");
    ck_assert_str_eq(word(report, "vulkan.devices.0.resources.0.kind"), "decode_h264");
    ck_assert_int_eq(number(report, "vulkan.devices.0.resources.0.video.height"), 1080);
    ck_assert_int_eq(number(report, "vulkan.devices.0.resources.0.video.bindings.1.offset"), 4096);
    ck_assert_int_eq(number(report, "vulkan.devices.0.resources.0.video.bindings.1.bytes"), 2000);
    ck_assert_int_eq(number(report, "vulkan.devices.0.video_sessions.bound_bytes"), 3000);
    ck_assert_int_eq(number(report, "vulkan.devices.0.allocations.0.bound_bytes"), 3000);
    json_decref(report);
}
END_TEST

static void add(Suite *suite, const char *name, const TTest *const *tests, size_t count)
{
    TCase *cases = with_segment(name);
    for (size_t i = 0; i < count; i++) tcase_add_test(cases, tests[i]);
    suite_add_tcase(suite, cases);
}
#define ADD(suite, tests) add(suite, #tests, tests, sizeof(tests) / sizeof *(tests))

int main(void)
{
    const TTest *const tags[] = {each_byte_has_one_tag, tags_by_thread, tags_by_kind,
                                 a_tags_budget_counts_device_memory};
    const TTest *const resources[] = {acceleration_structures_are_listed_with_their_buffer,
                                      video_sessions_are_listed_with_their_places};
    const TTest *const advice[] = {a_device_without_anything_gets_no_advice,
                                   many_small_allocations,
                                   some_small_allocations_are_nothing,
                                   small_allocations_among_many_large_ones_are_nothing,
                                   small_slices_and_dedicated_ones_are_nothing,
                                   small_allocations_that_are_gone,
                                   render_targets_in_shared_memory,
                                   small_and_dedicated_render_targets_are_nothing,
                                   staging_memory_that_comes_and_goes,
                                   mapping_in_every_frame,
                                   mapping_without_frames_is_nothing,
                                   images_on_the_wrong_side_of_the_bus,
                                   linear_images_and_a_few_others_may_lie_with_the_host,
                                   mappable_memory_that_nobody_maps,
                                   memory_that_is_mapped_is_used,
                                   memory_with_nothing_bound_to_it,
                                   allocating_in_every_frame,
                                   near_the_number_of_allocations,
                                   below_the_number_of_allocations,
                                   near_the_size_of_a_heap,
                                   near_the_budget_of_the_driver,
                                   pools_where_the_driver_is_slow,
                                   no_pools_where_the_driver_is_fast_or_hardly_called,
                                   advice_stays_after_its_reason_is_gone};
    const TTest *const aliasing[] = {attachments_that_never_met,
                                     attachments_that_never_met_are_worth_an_advice,
                                     attachments_that_shared_their_memory_already,
                                     past_attachments_of_memory_that_is_gone_do_not_count,
                                     memory_types_are_packed_apart,
                                     without_frames_nothing_is_promised};
    Suite *suite = suite_create("vulkan");
    ADD(suite, tags);
    ADD(suite, resources);
    ADD(suite, advice);
    ADD(suite, aliasing);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
