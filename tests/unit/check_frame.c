/* Frames: which call ends one, what is counted in it, percentiles' data, the worst ones. */
#include "core_support.h"
#include "frame_stacks.h"
#include "groups.h"
#include "origin.h"
#include "shard.h"
#include "stack_own.h"
#include "run_suite.h"

#include <check.h>
#include <pthread.h>

static struct mt_core core;
static struct mt_shard *shard;

static void set_up(void)
{
    setenv("MEMTRACK_STACKS", "sampled", 1);
    set_up_core(&core);
    shard = mt_shard_claim(&core, 1, "main");
}

static void tear_down(void)
{
    tear_down_core(&core);
}

static void frame_with(int allocations)
{
    for (int i = 0; i < allocations; i++) mt_shard_allocated(&core, shard, 100, 112);
    if (mt_frame_begin(&core, MT_FRAME_VULKAN)) mt_frame_end(&core, MT_FRAME_VULKAN);
}

START_TEST(loading_is_not_a_frame)
{
    frame_with(1000);
    const struct mt_frames *frames = &core.segment->frames;
    ck_assert_uint_eq(frames->count, 1);
    ck_assert_uint_eq(frames->ring[0].allocation_count, 0);
    frame_with(3);
    ck_assert_uint_eq(frames->count, 2);
    ck_assert_uint_eq(frames->ring[1].allocation_count, 3);
    ck_assert_uint_eq(frames->ring[1].requested_bytes, 300);
    ck_assert_uint_eq(frames->ring[1].index, 2);
    ck_assert_int_eq(frames->ring[1].current_bytes, 1003 * 112);
}
END_TEST

START_TEST(an_outer_source_takes_over)
{
    const struct mt_frames *frames = &core.segment->frames;
    frame_with(1);
    ck_assert_uint_eq(frames->source, MT_FRAME_VULKAN);
    ck_assert(mt_frame_begin(&core, MT_FRAME_GLX));
    ck_assert(!mt_frame_begin(&core, MT_FRAME_VULKAN)); /* zink presents inside glXSwapBuffers */
    mt_frame_end(&core, MT_FRAME_GLX);
    ck_assert_uint_eq(frames->count, 2);
    ck_assert(!mt_frame_begin(&core, MT_FRAME_VULKAN));
    ck_assert_uint_eq(frames->ignored_presents, 2);
    mt_frame_end(&core, MT_FRAME_VULKAN);
    ck_assert_uint_eq(frames->count, 2);
}
END_TEST

START_TEST(the_option_restricts_the_source)
{
    core.options.number[MT_OPT_FRAMES] = 2; /* gl */
    ck_assert(!mt_frame_begin(&core, MT_FRAME_VULKAN));
    ck_assert(!mt_frame_begin(&core, MT_FRAME_API));
    ck_assert(mt_frame_begin(&core, MT_FRAME_SDL));
    core.options.number[MT_OPT_FRAMES] = 4; /* off */
    ck_assert(!mt_frame_begin(&core, MT_FRAME_SDL));
    core.options.number[MT_OPT_FRAMES] = 0;
}
END_TEST

START_TEST(what_cells_count_is_part_of_a_frame)
{
    const struct mt_frames *frames = &core.segment->frames;
    struct mt_origin_counts *row = mt_origin_counts(&core, shard, mt_origin_find(&core, 1, "main", 0));
    frame_with(2);
    mt_groups_use(row, 6);
    for (unsigned number = 1; number < 6; number++) {
        unsigned count = number % 3; /* nothing in one of them */
        MT_ADD(row->classes[6].allocation_count, count);
        MT_ADD(row->classes[6].free_count, count);
        MT_ADD(shard->requested_bytes, 110 * count);
        frame_with(0);
        ck_assert_uint_eq(frames->ring[number].allocation_count, count);
        ck_assert_uint_eq(frames->ring[number].free_count, count);
    }
    MT_ADD(row->classes[6].free_count, 1); /* all that is live */
    mt_shard_shrink(shard, 112);
    frame_with(0);
    ck_assert_uint_eq(frames->ring[6].free_count, 1);
}
END_TEST

START_TEST(quiet_frames_and_histograms_are_counted)
{
    frame_with(0);
    for (int i = 0; i < 50; i++) frame_with(i % 5);
    const struct mt_frames *frames = &core.segment->frames;
    ck_assert_uint_eq(frames->count, 51);
    ck_assert_uint_eq(frames->zero_allocation_frames, 11);
    ck_assert_uint_eq(frames->allocations.count, 51);
    ck_assert_uint_eq(frames->allocations.sum, 100);
    ck_assert_uint_eq(frames->allocations.max, 4);
    ck_assert_uint_eq(frames->bytes.sum, 10000);
}
END_TEST

START_TEST(the_worst_frames_are_kept_in_order)
{
    frame_with(0);
    for (int i = 0; i < 100; i++) frame_with((i * 37) % 101);
    const struct mt_kept_frame *worst = core.segment->frames.worst;
    for (int i = 0; i < MT_WORST_FRAMES; i++) {
        ck_assert_uint_eq(worst[i].frame.allocation_count, 100 - i);
        ck_assert_uint_ne(worst[i].frame.index, 0);
    }
}
END_TEST

START_TEST(the_ring_keeps_the_last_frames)
{
    for (int i = 0; i < MT_FRAME_RING + 10; i++) frame_with(0);
    const struct mt_frames *frames = &core.segment->frames;
    ck_assert_uint_eq(frames->ring[9].index, MT_FRAME_RING + 10);
    ck_assert_uint_eq(frames->ring[10].index, 11);
}
END_TEST

START_TEST(device_memory_is_part_of_a_frame)
{
    unsigned heap = mt_heap_new(&core, MT_HEAP_DEVICE_HEAP, 1, 0, 0, 0, 1 << 20, "heap");
    mt_heap_allocated(&core, heap, 1000);
    frame_with(0);
    mt_heap_allocated(&core, heap, 4096);
    mt_heap_allocated(&core, heap, 4096);
    frame_with(0);
    ck_assert_uint_eq(core.segment->frames.ring[1].device_allocation_count, 2);
    ck_assert_uint_eq(core.segment->frames.ring[1].device_bytes, 8192);
}
END_TEST

/* ---- stacks ------------------------------------------------------------------------ */

static uint32_t stack_number(uint64_t n)
{
    uint64_t frames[] = {1, n};
    return mt_stack_intern(&core, frames, 2, n, false);
}

static void allocate_from(uint32_t stack, int blocks)
{
    static const struct mt_stack_weight one = {112, MT_SCALE, 100, 0};
    for (int i = 0; i < blocks; i++) {
        mt_shard_allocated(&core, shard, 100, 112);
        mt_stack_allocated(&core, stack, &one, 1);
    }
}

START_TEST(a_kept_frame_knows_its_stacks)
{
    uint32_t a = stack_number(1), b = stack_number(2);
    allocate_from(a, 1000); /* loading */
    frame_with(0);
    allocate_from(b, 3);
    allocate_from(a, 5);
    frame_with(0);
    allocate_from(a, 1);
    frame_with(0);
    const struct mt_kept_frame *worst = &core.segment->frames.worst[0];
    ck_assert_uint_eq(worst->frame.index, 2);
    ck_assert_uint_eq(worst->stack_count, 2);
    ck_assert_uint_eq(worst->stacks[0].id, a);
    ck_assert_uint_eq(worst->stacks[0].count, 5 * MT_SCALE);
    ck_assert_uint_eq(worst->stacks[0].bytes, 500);
    ck_assert_uint_eq(worst->stacks[1].id, b);
    ck_assert_uint_eq(worst->stacks[1].sample_count, 3);
    ck_assert_uint_eq(core.segment->frames.worst[1].stacks[0].count, MT_SCALE);
}
END_TEST

START_TEST(stacks_beyond_the_list_are_summed_up)
{
    frame_with(0);
    for (unsigned i = 0; i < MT_TOUCHED_PARTS + 5; i++) allocate_from(stack_number(100 + i), i < 20 ? 2 : 1);
    frame_with(0);
    const struct mt_kept_frame *worst = &core.segment->frames.worst[0];
    ck_assert_uint_eq(worst->stack_count, MT_FRAME_STACKS);
    ck_assert_uint_eq(worst->is_cut, 1);
    for (int i = 0; i < MT_FRAME_STACKS; i++) ck_assert_uint_eq(worst->stacks[i].count, 2 * MT_SCALE);
    ck_assert_uint_eq(worst->other_count, (MT_TOUCHED_PARTS + 20 - 2 * MT_FRAME_STACKS) * MT_SCALE);
}
END_TEST

/* Threads have parts of their own where every block is recorded. */
START_TEST(parts_of_one_stack_are_added_up)
{
    uint32_t id = stack_number(7);
    struct mt_stack *records[2];
    atomic_store(&core.segment->attribution.mode, MT_STACKS_ALL);
    for (int i = 0; i < 2; i++) records[i] = mt_stack_own_of(&core, mt_walker_take(&core), id);
    ck_assert_ptr_eq(records[0], mt_stack_at(&core, id));
    ck_assert_uint_eq(records[1]->twin_of, id);
    for (int frame = 0; frame < 3; frame++) {
        for (int i = 0; i < 2; i++) mt_frame_note(&core, &records[i]->in_frame, id, MT_SCALE, 10 * (uint64_t)frame);
        allocate_from(stack_number(8), frame);
        frame_with(0);
    }
    const struct mt_kept_frame *worst = &core.segment->frames.worst[0];
    ck_assert_uint_eq(worst->frame.index, 3);
    ck_assert_uint_eq(worst->stack_count, 2);
    ck_assert_uint_eq(worst->stacks[1].id, id);
    ck_assert_uint_eq(worst->stacks[1].count, 2 * MT_SCALE);
    ck_assert_uint_eq(worst->stacks[1].bytes, 40);
}
END_TEST

static _Atomic bool is_over;

static void *allocate_meanwhile(void *argument)
{
    while (!atomic_load(&is_over)) {
        static const struct mt_stack_weight one = {112, MT_SCALE, 100, 0};
        mt_stack_allocated(&core, *(uint32_t *)argument, &one, 1);
    }
    return NULL;
}

START_TEST(threads_allocate_while_frames_end)
{
    pthread_t threads[2];
    uint32_t ids[2] = {stack_number(1), stack_number(2)};
    atomic_store(&is_over, false);
    for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, allocate_meanwhile, &ids[i]);
    for (int i = 0; i < 2000; i++) frame_with(1);
    atomic_store(&is_over, true);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < MT_WORST_FRAMES; i++) {
        const struct mt_kept_frame *kept = &core.segment->frames.longest[i];
        ck_assert_uint_le(kept->stack_count, 2);
        for (unsigned k = 0; k < kept->stack_count; k++)
            ck_assert(kept->stacks[k].id == ids[0] || kept->stacks[k].id == ids[1]);
    }
}
END_TEST

START_TEST(the_longest_frames_are_kept_in_order)
{
    for (int i = 0; i < 100; i++) frame_with(i % 7);
    const struct mt_kept_frame *longest = core.segment->frames.longest;
    uint64_t highest = 0;
    for (int i = 0; i < 100; i++)
        if (core.segment->frames.ring[i].duration_ns > highest) highest = core.segment->frames.ring[i].duration_ns;
    ck_assert_uint_eq(longest[0].frame.duration_ns, highest);
    for (int i = 1; i < MT_WORST_FRAMES; i++)
        ck_assert_uint_ge(longest[i - 1].frame.duration_ns, longest[i].frame.duration_ns);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("frame");
    TCase *tests = tcase_create("frame");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, loading_is_not_a_frame);
    tcase_add_test(tests, an_outer_source_takes_over);
    tcase_add_test(tests, the_option_restricts_the_source);
    tcase_add_test(tests, what_cells_count_is_part_of_a_frame);
    tcase_add_test(tests, quiet_frames_and_histograms_are_counted);
    tcase_add_test(tests, the_worst_frames_are_kept_in_order);
    tcase_add_test(tests, the_ring_keeps_the_last_frames);
    tcase_add_test(tests, device_memory_is_part_of_a_frame);
    tcase_add_test(tests, a_kept_frame_knows_its_stacks);
    tcase_add_test(tests, stacks_beyond_the_list_are_summed_up);
    tcase_add_test(tests, parts_of_one_stack_are_added_up);
    tcase_add_test(tests, threads_allocate_while_frames_end);
    tcase_add_test(tests, the_longest_frames_are_kept_in_order);
    suite_add_tcase(suite, tests);
    return run_suite(suite, CK_NOFORK);
}
