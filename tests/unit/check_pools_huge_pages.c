/*
 * When the slabs ask the system for huge pages, and that what lies in them is
 * as right as elsewhere. Whether the system gives any is not asked.
 */
#include "pools_support.h"
#include "spans.h"

#include <string.h>

enum { BYTES = 64, COUNT = 1 << 20, UNIT = 2 << 20, FROM = 16 << 20 };

static char *blocks[COUNT];
static const char zeros[BYTES];

static uint64_t huge_page_bytes(void)
{
    return atomic_load_explicit(&core.segment->pools.slab_huge_page_bytes, memory_order_relaxed);
}

static uint64_t used_bytes(void)
{
    return atomic_load_explicit(&core.segment->pools.slab_used_bytes, memory_order_relaxed);
}

static void allocate_all(void)
{
    for (size_t i = 0; i < COUNT; i++) {
        blocks[i] = mt_pools_allocate(BYTES);
        if (!blocks[i]) ck_abort_msg("no memory for block %zu", i);
        memcpy(blocks[i], &i, sizeof i);
    }
}

static void check_and_free(size_t i)
{
    if (memcmp(blocks[i], &i, sizeof i)) ck_abort_msg("block %zu has changed", i); /* an assertion each is slow */
    mt_pools_free(blocks[i]);
    blocks[i] = NULL;
}

START_TEST(slabs_of_a_class_that_grows_ask_for_huge_pages_beyond_the_bound)
{
    mt_span_set_huge_from(FROM);
    uint64_t before = 0;
    for (size_t i = 0; i < COUNT; i++) {
        blocks[i] = mt_pools_allocate(BYTES);
        memcpy(blocks[i], &i, sizeof i);
        if (used_bytes() <= FROM) before = huge_page_bytes();
    }
    ck_assert_uint_eq(before, 0);
    ck_assert_uint_gt(huge_page_bytes(), (uint64_t)COUNT * BYTES - FROM - UNIT);
    ck_assert_uint_le(huge_page_bytes(), (uint64_t)COUNT * BYTES - FROM + UNIT);
    ck_assert_uint_eq(huge_page_bytes() % UNIT, 0);
    for (size_t i = 0; i < COUNT; i++) check_and_free(i);
    ck_assert_int_eq(sum().live_bytes, 0);
}
END_TEST

START_TEST(what_may_stay_empty_asks_for_none)
{
    mt_span_set_huge_from(0);
    for (size_t bytes = 16; bytes <= 32768; bytes += 16) ck_assert_ptr_nonnull(mt_pools_allocate(bytes));
    for (unsigned i = 0; i < 400; i++) ck_assert_ptr_nonnull(mt_pools_allocate(20000));
    ck_assert_uint_gt(used_bytes(), (uint64_t)16 << 20);
    ck_assert_uint_eq(huge_page_bytes(), 0);
}
END_TEST

START_TEST(without_a_bound_there_are_none)
{
    mt_span_set_huge_from(UINT64_MAX);
    allocate_all();
    ck_assert_uint_eq(huge_page_bytes(), 0);
}
END_TEST

/* One block stays in each unit: all of its other slices go back, and read as zero when they are used again. */
START_TEST(a_unit_of_which_a_part_went_back_has_no_huge_page)
{
    mt_span_set_huge_from(0);
    allocate_all();
    uint64_t full = huge_page_bytes(), purged = core.segment->pools.slab_purged_bytes;
    ck_assert_uint_gt(full, (uint64_t)COUNT * BYTES / 2);
    for (size_t i = 0; i < COUNT; i++)
        if (i % (UNIT / BYTES)) check_and_free(i);
    mt_span_set_huge_from(UINT64_MAX);
    ck_assert(mt_pools_trim());
    ck_assert_uint_gt(core.segment->pools.slab_purged_bytes - purged, (uint64_t)COUNT * BYTES * 9 / 10);
    ck_assert_uint_eq(huge_page_bytes(), 0);
    for (size_t i = 0; i < COUNT; i++) {
        if (i % (UNIT / BYTES) == 0) continue;
        blocks[i] = mt_pools_allocate_zeroed(BYTES);
        if (memcmp(blocks[i], zeros, BYTES)) ck_abort_msg("block %zu is not zero", i);
        memcpy(blocks[i], &i, sizeof i);
    }
    for (size_t i = 0; i < COUNT; i++) check_and_free(i);
    ck_assert_int_eq(sum().live_bytes, 0);
}
END_TEST

START_TEST(whole_units_that_went_back_are_used_again_as_they_were)
{
    mt_span_set_huge_from(0);
    allocate_all();
    uint64_t full = huge_page_bytes();
    for (size_t i = 0; i < COUNT; i++) check_and_free(i);
    mt_pools_trim();
    allocate_all();
    ck_assert_uint_le(huge_page_bytes(), full + 2 * (uint64_t)UNIT);
    ck_assert_uint_ge(huge_page_bytes() + 2 * (uint64_t)UNIT, full);
    for (size_t i = 0; i < COUNT; i++) check_and_free(i);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("huge pages");
    TCase *tests = tcase_create("huge pages");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_set_timeout(tests, 300);
    tcase_add_test(tests, slabs_of_a_class_that_grows_ask_for_huge_pages_beyond_the_bound);
    tcase_add_test(tests, what_may_stay_empty_asks_for_none);
    tcase_add_test(tests, without_a_bound_there_are_none);
    tcase_add_test(tests, a_unit_of_which_a_part_went_back_has_no_huge_page);
    tcase_add_test(tests, whole_units_that_went_back_are_used_again_as_they_were);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
