/*
 * What the report makes of the records of Vulkan devices beyond counting:
 * advice, each rule with a device where it speaks and one where it is silent,
 * and the aliasing estimate against plain models.
 */
#include "vulkan_support.h"

#include "report/json_build.h"
#include "report/vulkan_advice.h"
#include "run_suite.h"

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
    segment->heaps[3].flags = LOCAL_FLAGS; /* not for staging */
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

START_TEST(memory_of_sparse_resources_is_not_wasted)
{
    put_device();
    put_memory(TYPE_LOCAL, 64 * MIB, MT_VK_MEMORY_IS_SPARSE | MT_VK_MEMORY_SPARSE_UNKNOWN);
    expect_silence();
    json_t *report = load();
    ck_assert_int_eq(number(report, "vulkan.devices.0.memory.unbound_bytes"), 0);
    ck_assert(json_is_true(at(report, "vulkan.devices.0.allocations.0.sparse_bound")));
    ck_assert(json_is_true(at(report, "vulkan.devices.0.allocations.0.sparse_unknown")));
    json_decref(report);
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
        ((struct mt_object *)(void *)((char *)segment + MT_GET(segment->object_chunks[0])))[i].kind = 0;
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

START_TEST(before_the_first_frame_time_tells)
{
    put_device();
    put_frames(50, 0);
    uint32_t memory = put_memory(TYPE_LOCAL, 100 * KIB, 0);
    struct mt_object *one = put_past(memory, 0, 40 * KIB, 0, 0), *two = put_past(memory, 40 * KIB, 40 * KIB, 0, 0);
    one->create_ns = 1000;
    one->attr[MT_VK_PAST_END_NS] = 2000;
    two->create_ns = 2001;
    two->attr[MT_VK_PAST_END_NS] = 3000;
    put_image(memory, 80 * KIB, 20 * KIB, COLOR)->create_frame = 1;
    json_t *report = load();
    ck_assert_int_eq(number(report, ALIASING "packed_bytes"), 40 * (int64_t)KIB);
    two->create_ns = 2000;
    json_decref(report);
    report = load();
    ck_assert_int_eq(number(report, ALIASING "packed_bytes"), 80 * (int64_t)KIB);
    json_decref(report);
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

int main(void)
{
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
                                   memory_of_sparse_resources_is_not_wasted,
                                   allocating_in_every_frame,
                                   near_the_number_of_allocations,
                                   below_the_number_of_allocations,
                                   near_the_size_of_a_heap,
                                   near_the_budget_of_the_driver,
                                   pools_where_the_driver_is_slow,
                                   no_pools_where_the_driver_is_fast_or_hardly_called,
                                   advice_stays_after_its_reason_is_gone};
    const TTest *const aliasing[] = {attachments_that_never_met,
                                     before_the_first_frame_time_tells,
                                     attachments_that_never_met_are_worth_an_advice,
                                     attachments_that_shared_their_memory_already,
                                     past_attachments_of_memory_that_is_gone_do_not_count,
                                     memory_types_are_packed_apart,
                                     without_frames_nothing_is_promised};
    Suite *suite = suite_create("vulkan");
    ADD(suite, advice);
    ADD(suite, aliasing);
    return run_suite(suite, CK_FORK_GETENV);
}
