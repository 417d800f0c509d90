/* Lanes: one thread's own counters, whose sums with the shared rows must be exact. */
#include "core_support.h"
#include "lane.h"
#include "run_suite.h"

#include <check.h>
#include <pthread.h>
#include <stdlib.h>

enum { THREADS = 8, STEPS = 20000 };

static struct mt_core core;
static unsigned heap;

static void set_up(void)
{
    set_up_core(&core);
    heap = mt_heap_new(&core, MT_HEAP_DEVICE_HEAP, 1, 0, 0, 1, 1 << 30, "heap");
}

static void tear_down(void)
{
    tear_down_core(&core);
}

static struct mt_heap_sum sum_now(void)
{
    struct mt_heap_sum sum;
    mt_heap_sum(core.segment, heap - 1, &sum);
    return sum;
}

START_TEST(one_lane_counts_exactly_with_its_peak)
{
    struct mt_lane *lane = mt_lane_claim(&core, 1);
    uint64_t batch = mt_lane_batch_bytes(core.segment);
    int64_t live = 0, peak = 0;
    ck_assert_ptr_nonnull(lane);
    srand(7);
    for (int i = 0; i < 10000; i++) {
        uint64_t bytes = (uint64_t)(rand() % 5000) * batch / 10000;
        if (rand() % 2 && live >= (int64_t)bytes) {
            mt_lane_freed(&core, lane, heap, bytes);
            live -= (int64_t)bytes;
        } else {
            mt_lane_allocated(&core, lane, heap, bytes);
            live += (int64_t)bytes;
        }
        if (live > peak) peak = live;
        struct mt_heap_sum sum = sum_now();
        ck_assert_int_eq(sum.current_bytes, live);
        ck_assert_int_eq(sum.peak_bytes, peak);
        ck_assert_uint_eq(sum.allocation_count + sum.free_count, (uint64_t)i + 1);
    }
    ck_assert_uint_eq(sum_now().peak_error_bytes, 0);
}
END_TEST

START_TEST(without_a_lane_the_shared_row_counts)
{
    mt_lane_allocated(&core, NULL, heap, 1000);
    mt_lane_freed(&core, NULL, heap, 400);
    struct mt_lane *lane = mt_lane_claim(&core, 1);
    mt_lane_allocated(&core, lane, heap, 50);
    mt_lane_allocated(&core, lane, 0, 50); /* no heap: nothing happens */
    ck_assert_int_eq(sum_now().current_bytes, 650);
    ck_assert_int_eq(sum_now().current_count, 1);
    ck_assert_int_eq(sum_now().peak_bytes, 1000);
    ck_assert_uint_eq(sum_now().total_bytes, 1050);
}
END_TEST

START_TEST(a_peak_knows_its_frame)
{
    struct mt_lane *lane = mt_lane_claim(&core, 1);
    mt_lane_allocated(&core, lane, heap, 100); /* too little to look at the clock */
    ck_assert_uint_eq(core.segment->heaps[heap - 1].peak_ns, 0);
    core.segment->frames.count = 7;
    mt_lane_allocated(&core, lane, heap, mt_lane_batch_bytes(core.segment));
    ck_assert_uint_eq(core.segment->heaps[heap - 1].peak_frame, 7);
    ck_assert_uint_gt(core.segment->heaps[heap - 1].peak_ns, 0);
}
END_TEST

/* Allocates by one lane what another one frees. */
static void *churn(void *argument)
{
    struct mt_lane *lane = mt_lane_claim(&core, (int32_t)(uintptr_t)argument);
    struct mt_object *object;
    uint32_t ids[100], count = 0;
    for (unsigned i = 0; i < STEPS; i++) {
        if (count == 100)
            while (count) mt_object_free_in(&core, lane, ids[--count]);
        object = mt_object_new_in(&core, lane, 2, &ids[count++]);
        object->handle = (uint64_t)(uintptr_t)argument;
        mt_object_publish(object);
        mt_lane_allocated(&core, lane, heap, 4096);
        mt_lane_freed(&core, lane, heap, 4096);
        mt_lane_histogram_add(&core, lane, &core.segment->histograms[0], i);
    }
    for (uint32_t i = 0; i < count; i++) {
        ck_assert_uint_eq(mt_object_at(&core, ids[i])->handle, (uint64_t)(uintptr_t)argument);
        mt_object_free_in(&core, lane, ids[i]);
    }
    mt_lane_release(&core, lane);
    return NULL;
}

START_TEST(threads_add_up_and_share_no_object)
{
    pthread_t threads[THREADS];
    struct mt_histogram *row = mt_histogram_new(&core, 0, "row", "ns");
    ck_assert_ptr_eq(row, &core.segment->histograms[0]);
    for (uintptr_t i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, churn, (void *)(i + 1));
    for (unsigned i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    struct mt_heap_sum sum = sum_now();
    uint64_t recorded = row->count;
    for (unsigned i = 0; i < core.segment->lane_limit; i++) {
        uint64_t at = core.segment->lanes[i].histograms[0];
        if (at) recorded += ((struct mt_histogram *)(void *)((char *)core.segment + at))->count;
    }
    ck_assert_uint_eq(recorded, THREADS * STEPS);
    ck_assert_uint_eq(sum.allocation_count, THREADS * STEPS);
    ck_assert_uint_eq(sum.free_count, THREADS * STEPS);
    ck_assert_int_eq(sum.current_bytes, 0);
    ck_assert_int_ge(sum.peak_bytes, 4096);
    ck_assert_int_le(sum.peak_bytes, (int64_t)(THREADS * 4096 + sum.peak_error_bytes));
    ck_assert_int_eq(mt_object_count(core.segment), 0);
    ck_assert_uint_eq(core.segment->lanes_taken, 0);
    ck_assert_uint_le(core.segment->objects.used_slots, THREADS * (100 + 64));
}
END_TEST

static _Atomic bool is_over;

/* As a thread does whose head of the free list was taken by another one: it reads what comes behind any id, fresh
 * ones too, and finds an id or none. */
static void *look_late(void *argument)
{
    while (!is_over)
        for (uint32_t id = 1; mt_object_at(&core, id); id++) {
            uint32_t next = __atomic_load_n(&mt_object_at(&core, id)->next_free, __ATOMIC_RELAXED);
            ck_assert(!next || mt_object_at(&core, next));
        }
    return argument;
}

START_TEST(ids_may_be_looked_at_late)
{
    pthread_t looker, threads[2];
    is_over = false;
    mt_histogram_new(&core, 0, "row", "ns");
    pthread_create(&looker, NULL, look_late, NULL);
    for (uintptr_t i = 0; i < 2; i++) pthread_create(&threads[i], NULL, churn, (void *)(i + 1));
    for (unsigned i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    is_over = true;
    pthread_join(looker, NULL);
    ck_assert_int_eq(mt_object_count(core.segment), 0);
}
END_TEST

START_TEST(an_exact_peak_on_demand)
{
    core.segment->globals.batch_bytes = 0;
    struct mt_lane *one = mt_lane_claim(&core, 1), *two = mt_lane_claim(&core, 2);
    mt_lane_allocated(&core, one, heap, 100);
    mt_lane_allocated(&core, two, heap, 100);
    mt_lane_freed(&core, one, heap, 100);
    mt_lane_allocated(&core, two, heap, 50);
    ck_assert_int_eq(sum_now().peak_bytes, 200);
    ck_assert_uint_eq(sum_now().peak_error_bytes, 0);
    ck_assert_int_eq(core.segment->heaps[heap - 1].current_bytes, 150);
}
END_TEST

START_TEST(more_threads_than_lanes_have_none)
{
    struct mt_lane *lane = NULL;
    for (int i = 0; i < MT_LANE_MAX; i++) ck_assert_ptr_nonnull(lane = mt_lane_claim(&core, i + 1));
    ck_assert_ptr_null(mt_lane_claim(&core, 100));
    mt_lane_release(&core, lane);
    ck_assert_ptr_eq(mt_lane_claim(&core, 101), lane);
}
END_TEST

/* What one thread made and another one frees goes round: no id is lost. */
START_TEST(ids_wander_between_lanes)
{
    struct mt_lane *maker = mt_lane_claim(&core, 1), *ender = mt_lane_claim(&core, 2);
    for (int round = 0; round < 1000; round++) {
        uint32_t ids[40];
        for (int i = 0; i < 40; i++) mt_object_publish(mt_object_new_in(&core, maker, 3, &ids[i]));
        for (int i = 0; i < 40; i++) mt_object_free_in(&core, ender, ids[i]);
    }
    ck_assert_int_eq(mt_object_count(core.segment), 0);
    ck_assert_uint_le(core.segment->objects.used_slots, 256);
}
END_TEST

static bool is_ending(const struct mt_lane *lane, uint32_t id)
{
    bool is_there = false;
    for (unsigned i = 0; i < MT_LANE_ENDING; i++) is_there |= lane->ending[i] == id;
    return is_there;
}

/* A record is not written at its free but a few frees later, or with the lane's end; meanwhile its id tells. */
START_TEST(freed_objects_end_a_few_frees_later)
{
    struct mt_lane *lane = mt_lane_claim(&core, 1);
    uint32_t ids[MT_LANE_ENDING + 2], again;
    for (int i = 0; i < MT_LANE_ENDING + 2; i++) mt_object_publish(mt_object_new_in(&core, lane, 4, &ids[i]));
    mt_object_free_in(&core, lane, ids[0]);
    ck_assert_int_eq(mt_object_count(core.segment), MT_LANE_ENDING + 1);
    ck_assert(is_ending(lane, ids[0]));
    mt_object_publish(mt_object_new_in(&core, lane, 4, &again));
    ck_assert_uint_ne(again, ids[0]);
    for (int i = 1; i <= MT_LANE_ENDING; i++) mt_object_free_in(&core, lane, ids[i]);
    ck_assert(!is_ending(lane, ids[0]));
    ck_assert_uint_eq(mt_object_at(&core, ids[0])->kind, 0);
    mt_object_publish(mt_object_new_in(&core, lane, 4, &again));
    ck_assert_uint_eq(again, ids[0]);
    mt_lane_release(&core, lane);
    for (int i = 1; i <= MT_LANE_ENDING; i++) {
        ck_assert(!is_ending(lane, ids[i]));
        ck_assert_uint_eq(mt_object_at(&core, ids[i])->kind, 0);
    }
    ck_assert_uint_eq(mt_object_at(&core, ids[MT_LANE_ENDING + 1])->kind, 4);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("lane");
    TCase *cases = tcase_create("lane");
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, one_lane_counts_exactly_with_its_peak);
    tcase_add_test(cases, without_a_lane_the_shared_row_counts);
    tcase_add_test(cases, a_peak_knows_its_frame);
    tcase_add_test(cases, threads_add_up_and_share_no_object);
    tcase_add_test(cases, ids_may_be_looked_at_late);
    tcase_add_test(cases, an_exact_peak_on_demand);
    tcase_add_test(cases, more_threads_than_lanes_have_none);
    tcase_add_test(cases, ids_wander_between_lanes);
    tcase_add_test(cases, freed_objects_end_a_few_frees_later);
    suite_add_tcase(suite, cases);
    return run_suite(suite, CK_FORK_GETENV);
}
