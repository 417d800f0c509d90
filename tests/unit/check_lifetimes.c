/*
 * The packing of lifetimes that the aliasing estimate rests on: known cases,
 * and random ones against a model of bytes and frames.
 */
#include "report/vulkan_aliasing.h"
#include "run_suite.h"

#include <check.h>
#include <stdlib.h>

START_TEST(what_never_meets_shares_memory)
{
    struct mt_lifetime list[] = {{.bytes = 100, .first = 1, .last = 2},
                                 {.bytes = 60, .first = 3, .last = 9},
                                 {.bytes = 40, .first = 3, .last = 3},
                                 {.bytes = 10, .first = 2, .last = 4}};
    ck_assert_uint_eq(mt_lifetimes_minimum(list, 4), 110);
    ck_assert_uint_eq(mt_lifetimes_pack(list, 4), 110);
}
END_TEST

START_TEST(what_meets_in_one_frame_does_not)
{
    struct mt_lifetime list[] = {{.bytes = 100, .first = 1, .last = 5}, {.bytes = 100, .first = 5, .last = 9}};
    ck_assert_uint_eq(mt_lifetimes_pack(list, 2), 200);
    ck_assert_uint_eq(mt_lifetimes_pack(list, 0), 0);
}
END_TEST

START_TEST(packing_keeps_alignment)
{
    struct mt_lifetime list[] = {{.bytes = 100, .alignment = 64, .first = 1, .last = 5},
                                 {.bytes = 50, .alignment = 64, .first = 1, .last = 5}};
    ck_assert_uint_eq(mt_lifetimes_pack(list, 2), 178);
    ck_assert_uint_eq(list[1].offset, 128);
}
END_TEST

/* The model: frame by frame, byte by byte, nothing may lie on anything else. */
static void check_packing(const struct mt_lifetime *list, size_t count, uint64_t end, uint64_t minimum)
{
    uint64_t most = 0, highest = 0, all = 0;
    bool is_clean = true;
    for (uint64_t frame = 0; frame < 40; frame++) {
        uint64_t used[64] = {0}, sum = 0;
        for (size_t i = 0; i < count; i++) {
            if (frame < list[i].first || frame > list[i].last) continue;
            sum += list[i].bytes;
            for (uint64_t byte = list[i].offset; byte < list[i].offset + list[i].bytes; byte++) {
                is_clean &= byte < 64 * 64 && !(used[byte / 64 % 64] >> (byte % 64) & 1);
                used[byte / 64 % 64] |= UINT64_C(1) << (byte % 64);
            }
        }
        if (sum > most) most = sum;
    }
    ck_assert(is_clean);
    for (size_t i = 0; i < count; i++) {
        if (list[i].offset + list[i].bytes > highest) highest = list[i].offset + list[i].bytes;
        if (list[i].alignment) ck_assert_uint_eq(list[i].offset % list[i].alignment, 0);
        all += list[i].bytes + list[i].alignment;
    }
    ck_assert_uint_eq(highest, end);
    ck_assert_uint_eq(most, minimum);
    ck_assert_uint_ge(end, most);
    ck_assert_uint_le(end, all);
}

START_TEST(packing_against_a_model)
{
    srand(7);
    for (int round = 0; round < 300; round++) {
        struct mt_lifetime list[24];
        size_t count = 1 + (size_t)rand() % 24;
        for (size_t i = 0; i < count; i++) {
            uint64_t first = (uint64_t)rand() % 40;
            list[i] = (struct mt_lifetime){.bytes = 1 + (uint64_t)rand() % 100,
                                           .alignment = UINT64_C(1) << rand() % 5,
                                           .first = first,
                                           .last = first + (uint64_t)rand() % (40 - first)};
        }
        uint64_t minimum = mt_lifetimes_minimum(list, count);
        check_packing(list, count, mt_lifetimes_pack(list, count), minimum);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("lifetimes");
    TCase *packing = tcase_create("packing");
    tcase_set_timeout(packing, 120);
    tcase_add_test(packing, what_never_meets_shares_memory);
    tcase_add_test(packing, what_meets_in_one_frame_does_not);
    tcase_add_test(packing, packing_keeps_alignment);
    tcase_add_test(packing, packing_against_a_model);
    suite_add_tcase(suite, packing);
    return run_suite(suite, CK_FORK_GETENV);
}
