/* Frames: which call ends one, what is counted in it, percentiles' data, the worst ones. */
#include "core_support.h"
#include "shard.h"

#include <check.h>

static struct mt_core core;
static struct mt_shard *shard;

static void set_up(void)
{
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
    const struct mt_frame *worst = core.segment->frames.worst;
    for (int i = 0; i < MT_WORST_FRAMES; i++) {
        ck_assert_uint_eq(worst[i].allocation_count, 100 - i);
        ck_assert_uint_ne(worst[i].index, 0);
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

int main(void)
{
    Suite *suite = suite_create("frame");
    TCase *tests = tcase_create("frame");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, loading_is_not_a_frame);
    tcase_add_test(tests, an_outer_source_takes_over);
    tcase_add_test(tests, the_option_restricts_the_source);
    tcase_add_test(tests, quiet_frames_and_histograms_are_counted);
    tcase_add_test(tests, the_worst_frames_are_kept_in_order);
    tcase_add_test(tests, the_ring_keeps_the_last_frames);
    tcase_add_test(tests, device_memory_is_part_of_a_frame);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
