/* The sampler's arithmetic against libm, its bias over many seeds, and the coverage of the error it states. */
#include "interpose/trace.h"
#include "run_suite.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>

START_TEST(logarithm_is_right)
{
    for (double u = 1e-16; u < 1; u *= 1.37)
        ck_assert_double_eq_tol(mt_trace_minus_log(u), -log(u), 1e-9 * fabs(log(u)) + 1e-15);
    ck_assert_double_eq_tol(mt_trace_minus_log(1), 0, 1e-15);
}
END_TEST

START_TEST(probability_is_right)
{
    for (double x = 1e-9; x < 100; x *= 1.31)
        ck_assert_double_eq_tol(mt_trace_hit_probability(x), -expm1(-x), 1e-12 * -expm1(-x));
}
END_TEST

START_TEST(weights_are_inverse_probabilities)
{
    struct mt_stack_weight large = mt_trace_weight(100 << 20, (100 << 20) + 8, 1 << 19);
    ck_assert_int_eq(large.live_bytes, (100 << 20) + 8);
    ck_assert_int_eq(large.count, MT_SCALE);
    ck_assert_int_eq(large.variance, 0);
    struct mt_stack_weight small = mt_trace_weight(16, 24, 1 << 19);
    ck_assert_int_eq(small.count, (int64_t)(MT_SCALE / -expm1(-16.0 / (1 << 19)) + 0.5));
}
END_TEST

static const uint64_t sizes[] = {16, 24, 100, 1000, 4000, 30000, 200000, 3000000};
enum { SIZES = sizeof sizes / sizeof sizes[0], BLOCKS = 40000, RATE = 65536, SEEDS = 400 };

struct estimate {
    double bytes, count, variance;
};

/* The stream of blocks of a program, sampled as the hooks do it. */
static struct estimate sample(uint64_t seed, double *true_bytes)
{
    struct estimate estimate = {0};
    uint64_t random = seed * UINT64_C(0x9e3779b97f4a7c15) | 1, stream = 12345, asked = 0;
    uint64_t mark = mt_trace_distance(&random, RATE);
    *true_bytes = 0;
    for (int i = 0; i < BLOCKS; i++) {
        stream = stream * UINT64_C(6364136223846793005) + 1442695040888963407u;
        unsigned draw = (unsigned)(stream >> 40) % 1000;
        uint64_t bytes = sizes[draw < 600 ? draw % 3 : draw < 950 ? 3 + draw % 2 : draw < 997 ? 5 + draw % 2 : 7];
        asked += bytes;
        *true_bytes += (double)bytes;
        if (asked < mark) continue;
        mark = asked + mt_trace_distance(&random, RATE);
        struct mt_stack_weight weight = mt_trace_weight(bytes, bytes, RATE);
        estimate.bytes += (double)weight.live_bytes;
        estimate.count += (double)weight.count / MT_SCALE;
        estimate.variance += (double)weight.variance * 1024 * 1024;
    }
    return estimate;
}

START_TEST(estimates_are_unbiased)
{
    double truth = 0, bytes = 0, count = 0, squares = 0, stated = 0;
    int covered = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct estimate estimate = sample(seed, &truth);
        bytes += estimate.bytes / SEEDS;
        count += estimate.count / SEEDS;
        squares += (estimate.bytes - truth) * (estimate.bytes - truth) / SEEDS;
        stated += estimate.variance / SEEDS;
        covered += fabs(estimate.bytes - truth) <= 1.96 * sqrt(estimate.variance);
    }
    ck_assert_double_eq_tol(bytes, truth, 0.01 * truth);
    ck_assert_double_eq_tol(count, BLOCKS, 0.03 * BLOCKS);
    ck_assert_double_eq_tol(sqrt(stated), sqrt(squares),
                            0.15 * sqrt(squares)); /* the stated error is the real one */
    ck_assert_int_ge(covered, SEEDS * 91 / 100);
    ck_assert_int_le(covered, SEEDS * 99 / 100);
}
END_TEST

/* A thread that asks for so many bytes a second, sampled with a pace; returns its samples in a second. */
static unsigned samples_paced(uint64_t bytes_per_second, unsigned *doublings)
{
    struct mt_trace_pace pace = {0};
    uint64_t random = 77, now_ns = UINT64_C(5000000000), end_ns = now_ns + 1000000000, asked = 0, begin_ns = now_ns;
    unsigned count = 0;
    *doublings = 0;
    for (; now_ns < end_ns; count++) {
        asked += mt_trace_distance(&random, (uint64_t)(512 << 10) << *doublings);
        now_ns = begin_ns + (uint64_t)((double)asked * 1e9 / (double)bytes_per_second);
        *doublings = mt_trace_pace(&pace, now_ns & ~UINT64_C(0x3fffff), *doublings); /* a coarse clock */
    }
    return count;
}

START_TEST(samples_keep_their_rate_until_they_come_by_the_ten_thousand)
{
    unsigned doublings;
    unsigned count = samples_paced(UINT64_C(8) << 30, &doublings); /* 16,384 a second */
    ck_assert_uint_eq(doublings, 0);
    ck_assert_double_eq_tol(count, 16384, 600);
    count = samples_paced(UINT64_C(100) << 30, &doublings); /* would be 204,800 */
    ck_assert_uint_gt(doublings, 1);
    ck_assert_uint_lt(count, 40000);
    ck_assert_uint_gt(count, 8000);
    count = samples_paced(UINT64_C(100000) << 30, &doublings);
    ck_assert_uint_eq(doublings, MT_PACE_DOUBLINGS);
}
END_TEST

START_TEST(a_thread_that_becomes_quiet_is_sampled_finely_again)
{
    struct mt_trace_pace pace = {0};
    unsigned doublings = 0;
    for (unsigned i = 0; i < 10 * MT_PACE_MANY; i++) doublings = mt_trace_pace(&pace, 1 << 23, doublings);
    ck_assert_uint_eq(doublings, MT_PACE_DOUBLINGS);
    for (uint64_t tick = 3; tick < 5; tick++)
        doublings = mt_trace_pace(&pace, tick << MT_PACE_TICK_BITS, doublings);
    ck_assert_uint_lt(doublings, MT_PACE_DOUBLINGS);
    doublings = mt_trace_pace(&pace, UINT64_C(1000) << MT_PACE_TICK_BITS, doublings);
    ck_assert_uint_eq(doublings, 0);
}
END_TEST

START_TEST(estimates_are_unbiased_while_the_pace_changes)
{
    double sum = 0;
    unsigned changes = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct mt_trace_pace pace = {0};
        uint64_t random = seed * UINT64_C(0x9e3779b97f4a7c15) | 1, asked = 0, now_ns = 0;
        unsigned doublings = 0;
        uint64_t mark = mt_trace_distance(&random, RATE);
        for (uint64_t i = 0; i < BLOCKS; i++) {
            uint64_t bytes = sizes[i % 6];
            now_ns += i / 8000 % 2 ? 50000 : 400; /* fast and slow by turns */
            asked += bytes;
            if (asked < mark) continue;
            sum += (double)mt_trace_weight(bytes, bytes, (uint64_t)RATE << doublings).live_bytes / SEEDS;
            unsigned before = doublings;
            doublings = mt_trace_pace(&pace, now_ns, doublings);
            changes += before != doublings;
            mark = asked + mt_trace_distance(&random, (uint64_t)RATE << doublings);
        }
    }
    double truth = 0;
    for (uint64_t i = 0; i < BLOCKS; i++) truth += (double)sizes[i % 6];
    ck_assert_uint_gt(changes, SEEDS);
    ck_assert_double_eq_tol(sum / truth, 1, 0.01);
}
END_TEST

/* Blocks that waited: the first one is taken for certain, as it is each second, the others by a mark of their own.
 */
START_TEST(estimates_of_larger_blocks_are_unbiased_while_the_pace_changes)
{
    enum { LARGER = 256 << 10 };
    double sum = 0;
    unsigned highest = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct mt_trace_pace pace = {0};
        uint64_t random = seed * UINT64_C(0x9e3779b97f4a7c15) | 1, now_ns = 0, rate = 0;
        int64_t left = 0;
        unsigned doublings = 0;
        for (uint64_t i = 0; i < BLOCKS; i++) {
            now_ns += i / 8000 % 2 ? 500000 : 400; /* fast and slow by turns */
            if (i % 5000 == 0) rate = doublings = (unsigned)(left = 0);
            if ((left -= LARGER) >= 0) continue;
            struct mt_stack_weight weight = rate ? mt_trace_weight(LARGER, LARGER, rate)
                                                 : mt_trace_weight_of(LARGER, LARGER, 1);
            sum += (double)weight.count / MT_SCALE / SEEDS;
            doublings = mt_trace_pace_large(&pace, now_ns, doublings);
            highest = highest < doublings ? doublings : highest;
            rate = (uint64_t)RATE * 8 << doublings;
            left = (int64_t)mt_trace_distance(&random, rate);
        }
    }
    ck_assert_uint_gt(highest, 3);
    ck_assert_double_eq_tol(sum / BLOCKS, 1, 0.01);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sampler");
    TCase *tests = tcase_create("sampler");
    tcase_add_test(tests, logarithm_is_right);
    tcase_add_test(tests, probability_is_right);
    tcase_add_test(tests, weights_are_inverse_probabilities);
    tcase_add_test(tests, estimates_are_unbiased);
    tcase_add_test(tests, estimates_are_unbiased_while_the_pace_changes);
    tcase_add_test(tests, samples_keep_their_rate_until_they_come_by_the_ten_thousand);
    tcase_add_test(tests, a_thread_that_becomes_quiet_is_sampled_finely_again);
    tcase_add_test(tests, estimates_of_larger_blocks_are_unbiased_while_the_pace_changes);
    tcase_set_timeout(tests, 60);
    suite_add_tcase(suite, tests);
    return run_suite(suite, CK_FORK_GETENV);
}
