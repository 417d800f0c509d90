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

int main(void)
{
    Suite *suite = suite_create("sampler");
    TCase *tests = tcase_create("sampler");
    tcase_add_test(tests, logarithm_is_right);
    tcase_add_test(tests, probability_is_right);
    tcase_add_test(tests, weights_are_inverse_probabilities);
    tcase_add_test(tests, estimates_are_unbiased);
    tcase_set_timeout(tests, 60);
    suite_add_tcase(suite, tests);
    return run_suite(suite, CK_FORK_GETENV);
}
