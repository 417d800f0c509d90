/* Shards: exact counts and peaks, the stated bound with threads, claims by the thousand. */
#include "core_support.h"
#include "groups.h"
#include "origin.h"
#include "shard.h"
#include "run_suite.h"

#include <check.h>
#include <stdio.h>
#include <pthread.h>

static struct mt_core core;

static void set_up(void)
{
    set_up_core(&core);
}

static void tear_down(void)
{
    tear_down_core(&core);
}

static struct mt_shard_sum sum_now(void)
{
    struct mt_shard_sum sum;
    mt_shards_sum(core.segment, &sum);
    return sum;
}

START_TEST(size_classes_are_steps_of_at_most_an_eighth)
{
    for (uint64_t bytes = 1; bytes < 1 << 22; bytes += 1 + bytes / 97) {
        unsigned index = mt_class_of(bytes);
        ck_assert_uint_ge(mt_class_bytes(index), bytes);
        if (index) ck_assert_uint_lt(mt_class_bytes(index - 1), bytes);
        if (bytes > 128) ck_assert_uint_le(mt_class_bytes(index) - bytes, bytes / 8);
    }
    ck_assert_uint_eq(mt_class_of(0), 0);
    ck_assert_uint_eq(mt_class_of(UINT64_MAX), MT_CLASS_COUNT - 1);
}
END_TEST

START_TEST(one_thread_has_an_exact_peak)
{
    struct mt_shard *shard = mt_shard_claim(&core, 1, "one");
    int64_t live = 0, peak = 0;
    uint64_t state = 88172645463325252u;
    static uint32_t blocks[512];
    for (int i = 0; i < 200000; i++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        uint32_t *block = &blocks[state % 512];
        if (*block) {
            mt_shard_freed(&core, shard, *block);
            live -= *block;
            *block = 0;
        } else {
            *block = 16 + (uint32_t)(state >> 40) % 9000;
            mt_shard_allocated(&core, shard, *block - 8, *block);
            live += *block;
        }
        if (live > peak) peak = live;
        if (i % 5000 == 0) ck_assert_int_eq(sum_now().peak_bytes, peak);
    }
    ck_assert_int_eq(sum_now().live_bytes, live);
    mt_shard_retire(&core, shard);
    ck_assert_int_eq(sum_now().peak_bytes, peak);
    ck_assert_int_eq(atomic_load(&core.segment->globals.current_bytes), live);
}
END_TEST

START_TEST(classes_add_up_to_the_counts)
{
    struct mt_shard *shard = mt_shard_claim(&core, 1, "classes");
    uint64_t allocated = 0, freed = 0;
    for (uint64_t bytes = 1; bytes < 100000; bytes += 7) mt_shard_allocated(&core, shard, bytes, bytes);
    for (uint64_t bytes = 1; bytes < 100000; bytes += 14) mt_shard_freed(&core, shard, bytes);
    for (unsigned i = 0; i < MT_CLASS_COUNT; i++) {
        allocated += shard->classes[i].allocation_count;
        freed += shard->classes[i].free_count;
    }
    ck_assert_uint_eq(allocated, shard->allocation_count);
    ck_assert_uint_eq(freed, shard->free_count);
}
END_TEST

START_TEST(what_is_counted_by_step_is_in_the_sums_and_keeps_the_peak)
{
    static const int64_t batch = 1 << 16;
    struct mt_shard *shard = mt_shard_claim(&core, 1, "steps");
    atomic_store(&shard->is_stepped, 1);
    int64_t live = 0;
    for (size_t chunk = 32; chunk <= MT_SHARD_STEPPED; chunk += 16) {
        if (mt_shard_step_allocated(shard, 1, chunk, &batch)) mt_shard_flush(&core, shard);
        live += (int64_t)chunk - 8;
    }
    mt_shard_allocated(&core, shard, 10, 4096);
    for (size_t chunk = 32; chunk <= MT_SHARD_STEPPED / 2; chunk += 16)
        if (mt_shard_step_freed(shard, chunk)) mt_shard_flush(&core, shard);
    ck_assert_uint_eq(sum_now().allocation_count, 64);
    ck_assert_uint_eq(sum_now().free_count, 31);
    ck_assert_uint_eq(sum_now().requested_bytes, 63 + 10);
    ck_assert_int_eq(sum_now().peak_bytes, live + 4096);
    ck_assert_uint_eq(shard->steps[2].allocation_count, 1); /* of 24 usable bytes */
    mt_shard_retire(&core, shard);
    shard = mt_shard_claim(&core, 2, "next"); /* begins where the other ended */
    ck_assert_uint_eq(shard->base_allocation_count, 64);
    ck_assert_uint_eq(shard->base_free_count, 31);
}
END_TEST

static void *churn(void *argument)
{
    (void)argument;
    struct mt_shard *shard = mt_shard_claim(&core, mt_gettid(), "churn");
    for (int round = 0; round < 50; round++) {
        for (int i = 0; i < 100; i++) mt_shard_allocated(&core, shard, 4000, 4096);
        for (int i = 0; i < 100; i++) mt_shard_freed(&core, shard, 4096);
    }
    for (int i = 0; i < 100; i++) mt_shard_allocated(&core, shard, 4000, 4096);
    mt_shard_retire(&core, shard);
    return NULL;
}

/* As the pools count a small block of an origin, which no counter of the shard's own does. */
static void count_in_cell(struct mt_shard *shard, unsigned origin, unsigned site, unsigned class, unsigned count)
{
    struct mt_origin_counts *row = mt_origin_counts_of_site(&core, shard, origin, site);
    if (!site) mt_groups_use(row, class);
    MT_ADD(row->classes[class].allocation_count, count);
    MT_ADD(row->classes[class].free_count, 1);
}

START_TEST(what_cells_count_is_in_the_sums_and_the_threads_own_share)
{
    struct mt_shard *shard = mt_shard_claim(&core, 1, "one");
    unsigned origin = mt_origin_find(&core, 1, "one", 0);
    count_in_cell(shard, origin, 0, 3, 5);
    count_in_cell(shard, origin, 0, 70, 7);
    count_in_cell(shard, origin, 4, 66, 100);
    mt_shard_retire(&core, shard);
    ck_assert_ptr_eq(mt_shard_claim(&core, 2, "two"), shard);
    count_in_cell(shard, origin, 0, 3, 1000);
    mt_shard_allocated(&core, shard, 16, 16);
    struct mt_origin_counts *shared = mt_origin_counts(&core, &core.segment->shards[0], origin);
    mt_shard_allocated_shared(&core, &shared->classes[9], 100, 112); /* nobody marks classes there */
    mt_shard_freed_shared(&core, &shared->classes[9], 112);
    ck_assert_uint_eq(sum_now().allocation_count, 112 + 1001 + 1);
    ck_assert_uint_eq(sum_now().free_count, 3 + 1 + 1);
    ck_assert_uint_eq(mt_shard_counts(core.segment, shard).allocation_count - shard->base_allocation_count, 1001);
    mt_shard_retire(&core, shard);
    for (unsigned i = 0; i < MT_THREAD_MAX; i++) {
        const struct mt_ended_threads *row = &core.segment->ended_threads[i];
        if (row->key) ck_assert_uint_eq(row->allocation_count, strcmp(row->name, "one") ? 1001 : 112);
    }
}
END_TEST

START_TEST(threads_keep_the_peak_within_the_stated_error)
{
    enum { THREADS = 8 };
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, churn, NULL);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    struct mt_shard_sum sum = sum_now();
    int64_t bound = (int64_t)(core.segment->globals.batch_bytes * core.segment->globals.live_shards_max);
    ck_assert_uint_eq(sum.allocation_count, THREADS * 5100);
    ck_assert_uint_eq(sum.free_count, THREADS * 5000);
    ck_assert_uint_eq(sum.requested_bytes, THREADS * UINT64_C(5100) * 4000);
    ck_assert_int_eq(sum.live_bytes, THREADS * 100 * 4096);
    ck_assert_int_ge(sum.peak_bytes, THREADS * 100 * 4096);
    ck_assert_int_le(sum.peak_bytes, THREADS * 200 * 4096 + bound);
}
END_TEST

START_TEST(exact_mode_misses_no_byte_between_threads)
{
    core.segment->globals.batch_bytes = 0;
    struct mt_shard *a = mt_shard_claim(&core, 1, "a"), *b = mt_shard_claim(&core, 2, "b");
    for (int i = 0; i < 100; i++) {
        mt_shard_allocated(&core, a, 10, 16);
        mt_shard_allocated(&core, b, 10, 32);
        ck_assert_int_eq(atomic_load(&core.segment->globals.peak_bytes), (i + 1) * 48);
        ck_assert_int_eq(atomic_load(&core.segment->globals.current_bytes), (i + 1) * 48);
    }
    for (int i = 0; i < 100; i++) mt_shard_freed(&core, a, 32); /* frees what the other thread allocated */
    ck_assert_int_eq(atomic_load(&core.segment->globals.current_bytes), 1600);
    ck_assert_int_eq(sum_now().peak_bytes, 4800);
}
END_TEST

static void *short_life(void *argument)
{
    (void)argument;
    struct mt_shard *shard = mt_shard_claim(&core, mt_gettid(), "short");
    for (int i = 0; i < 7; i++) mt_shard_allocated(&core, shard, 100, 112);
    for (int i = 0; i < 6; i++) mt_shard_freed(&core, shard, 112);
    mt_shard_retire(&core, shard);
    return NULL;
}

START_TEST(ten_thousand_threads_lose_no_count_and_reuse_shards)
{
    enum { THREADS = 10000, AT_ONCE = 8 };
    for (int i = 0; i < THREADS; i += AT_ONCE) {
        pthread_t threads[AT_ONCE];
        for (int k = 0; k < AT_ONCE; k++) ck_assert_int_eq(pthread_create(&threads[k], NULL, short_life, NULL), 0);
        for (int k = 0; k < AT_ONCE; k++) pthread_join(threads[k], NULL);
    }
    struct mt_shard_sum sum = sum_now();
    ck_assert_uint_eq(sum.allocation_count, THREADS * 7);
    ck_assert_uint_eq(sum.free_count, THREADS * 6);
    ck_assert_int_eq(sum.live_bytes, THREADS * 112);
    ck_assert_uint_le(core.segment->shard_limit, AT_ONCE + 1);
    uint64_t ended = 0, ended_allocations = 0;
    for (int i = 0; i < MT_THREAD_MAX; i++) {
        ended += core.segment->ended_threads[i].thread_count;
        ended_allocations += core.segment->ended_threads[i].allocation_count;
    }
    ck_assert_uint_eq(ended, THREADS);
    ck_assert_uint_eq(ended_allocations, THREADS * 7);
}
END_TEST

START_TEST(threads_without_a_shard_share_the_first_one)
{
    static struct mt_shard *all[MT_SHARD_MAX + 4];
    for (int i = 0; i < MT_SHARD_MAX + 4; i++) all[i] = mt_shard_claim(&core, i, "many");
    ck_assert_ptr_eq(all[MT_SHARD_MAX], &core.segment->shards[0]);
    ck_assert_uint_eq(core.segment->dropped[MT_DROPPED_SHARDS], 5);
    mt_shard_allocated_shared(&core, NULL, 100, 112);
    mt_shard_freed_shared(&core, NULL, 112);
    mt_shard_allocated_shared(&core, NULL, 50, 64);
    struct mt_shard_sum sum = sum_now();
    ck_assert_uint_eq(sum.allocation_count, 2);
    ck_assert_uint_eq(sum.free_count, 1);
    ck_assert_int_eq(sum.live_bytes, 64);
    ck_assert_int_eq(sum.peak_bytes, 112);
    for (int i = 0; i < MT_SHARD_MAX + 4; i++) mt_shard_retire(&core, all[i]);
    ck_assert_uint_eq(core.segment->globals.live_shards, 0);
}
END_TEST

START_TEST(more_thread_names_than_rows_go_under_other)
{
    for (int i = 0; i < 2 * MT_THREAD_MAX; i++) {
        char name[32];
        snprintf(name, sizeof name, "worker %d", i);
        struct mt_shard *shard = mt_shard_claim(&core, i, name);
        mt_shard_allocated(&core, shard, 1, 16);
        mt_shard_retire(&core, shard);
    }
    uint64_t ended = 0;
    for (int i = 0; i < MT_THREAD_MAX; i++) ended += core.segment->ended_threads[i].thread_count;
    ck_assert_uint_eq(ended, 2 * MT_THREAD_MAX);
    ck_assert_uint_gt(core.segment->dropped[MT_DROPPED_THREAD_NAMES], 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("shard");
    TCase *tests = tcase_create("shard");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, size_classes_are_steps_of_at_most_an_eighth);
    tcase_add_test(tests, one_thread_has_an_exact_peak);
    tcase_add_test(tests, classes_add_up_to_the_counts);
    tcase_add_test(tests, what_is_counted_by_step_is_in_the_sums_and_keeps_the_peak);
    tcase_add_test(tests, what_cells_count_is_in_the_sums_and_the_threads_own_share);
    tcase_add_test(tests, threads_keep_the_peak_within_the_stated_error);
    tcase_add_test(tests, exact_mode_misses_no_byte_between_threads);
    tcase_add_test(tests, ten_thousand_threads_lose_no_count_and_reuse_shards);
    tcase_add_test(tests, threads_without_a_shard_share_the_first_one);
    tcase_add_test(tests, more_thread_names_than_rows_go_under_other);
    suite_add_tcase(suite, tests);
    return run_suite(suite, CK_NOFORK);
}
