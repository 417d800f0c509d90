/*
 * Middle blocks that share pages with their neighbours: what is zero, what
 * goes back to the system, what moves, and what is no block.
 */
#include "balance.h"
#include "alone.h"
#include "mid.h"
#include "mid_block.h"
#include "pools_support.h"
#include "run_suite.h"

#include <check.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

enum { BLOCKS = 32, SIZE = 50000 };

static uint64_t random_state = 7;

static size_t random_below(size_t bound)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (size_t)(random_state >> 33) % bound;
}

static uintptr_t page_of(const void *address)
{
    return (uintptr_t)address / MT_MID_PAGE;
}

static void check_filled(const unsigned char *block, size_t bytes, unsigned char filling)
{
    for (size_t i = 0; i < bytes; i++)
        if (block[i] != filling) ck_abort_msg("byte %zu of %zu is %u and not %u", i, bytes, block[i], filling);
}

static unsigned char *filled(size_t bytes, unsigned char filling)
{
    unsigned char *block = mt_pools_allocate(bytes);
    ck_assert_ptr_nonnull(block);
    memset(block, filling, mt_pools_usable(block));
    return block;
}

static void fill_row(unsigned char **row)
{
    for (unsigned i = 0; i < BLOCKS; i++) row[i] = filled(SIZE, (unsigned char)(i + 1));
}

static void free_row(unsigned char **row)
{
    for (unsigned i = 0; i < BLOCKS; i++) mt_pools_free(row[i]);
    ck_assert_int_eq(sum().live_bytes, 0);
    mt_pools_trim();
    ck_assert_uint_eq(mt_pools_tlsf_used(&core.segment->pools), 0);
    ck_assert_uint_eq(mt_pools_tlsf_dirty(&core.segment->pools), 0);
}

START_TEST(neighbours_share_a_page)
{
    unsigned char *row[BLOCKS];
    unsigned shared = 0;
    fill_row(row);
    for (unsigned i = 0; i < BLOCKS; i++)
        for (unsigned k = 0; k < BLOCKS; k++) shared += i != k && page_of(row[i] + SIZE - 1) == page_of(row[k]);
    ck_assert_uint_ge(shared, BLOCKS / 2);
    for (unsigned i = 0; i < BLOCKS; i++) check_filled(row[i], SIZE, (unsigned char)(i + 1));
    free_row(row);
}
END_TEST

/* Every other block goes, its memory too, and comes back as zero: those between keep their bytes. */
START_TEST(what_lies_between_live_blocks_goes_back_without_them)
{
    unsigned char *row[BLOCKS];
    fill_row(row);
    for (unsigned round = 0; round < 4; round++) {
        for (unsigned i = round % 2; i < BLOCKS; i += 2) mt_pools_free(row[i]);
        if (round < 2) mt_pools_trim();
        if (round < 2) /* the ends of live blocks' pages */
            ck_assert_uint_le(mt_pools_tlsf_dirty(&core.segment->pools), BLOCKS * MT_MID_PAGE);
        for (unsigned i = round % 2; i < BLOCKS; i += 2) {
            row[i] = mt_pools_allocate_zeroed(SIZE);
            check_filled(row[i], SIZE, 0);
            memset(row[i], (int)(i + 1), mt_pools_usable(row[i]));
        }
        for (unsigned i = 0; i < BLOCKS; i++) check_filled(row[i], SIZE, (unsigned char)(i + 1));
    }
    free_row(row);
}
END_TEST

START_TEST(a_pointer_to_elsewhere_in_a_page_is_no_block)
{
    unsigned char *row[BLOCKS];
    fill_row(row);
    uint64_t frees = sum().free_count;
    for (unsigned i = 0; i < BLOCKS; i++) {
        for (size_t way = 1; way < 2 * MT_MID_PAGE; way += way < 70 ? 1 : 61) {
            ck_assert_uint_eq(mt_pools_usable(row[i] + way), 0);
            ck_assert(mt_pools_free(row[i] + way));
        }
        ck_assert_uint_eq(mt_pools_usable(row[i]), SIZE + (0u - SIZE) % MT_MID_STEP);
    }
    ck_assert_uint_eq(sum().free_count, frees);
    free_row(row);
}
END_TEST

START_TEST(blocks_of_one_size_begin_at_all_places_of_a_page)
{
    enum { COUNT = MT_MID_PAGE / MT_MID_STEP };
    size_t bytes = (size_t)MT_MID_PAGE * 10 * ((size_t)_i + 1);
    unsigned char *blocks[COUNT];
    bool has_begin[COUNT] = {0};
    unsigned places = 0;
    for (unsigned i = 0; i < COUNT; i++) {
        blocks[i] = mt_pools_allocate(bytes);
        bool *place = &has_begin[(uintptr_t)blocks[i] % MT_MID_PAGE / MT_MID_STEP];
        places += !*place;
        *place = true;
    }
    ck_assert_uint_ge(places, COUNT * 3 / 4); /* all, but that the range had to grow in between */
    for (unsigned i = 0; i < COUNT; i++) mt_pools_free(blocks[i]);
}
END_TEST

/* By pages or by bytes, with neighbours in the first and the last page. */
START_TEST(what_grows_and_moves_takes_nothing_of_its_neighbours)
{
    for (size_t bytes = 300000 + 64 * (size_t)_i; bytes < 12000000; bytes += bytes / 2) {
        unsigned char *before = filled(SIZE, 1), *block = filled(bytes, 2), *behind = filled(SIZE, 3);
        for (unsigned step = 0; step < 4; step++) {
            size_t old = bytes;
            bytes += bytes / 3;
            block = mt_pools_reallocate(block, bytes);
            check_filled(block, old, 2);
            memset(block, 2, mt_pools_usable(block));
            unsigned char *other = mt_pools_allocate_zeroed(old); /* what it left behind reads as zero */
            check_filled(other, old, 0);
            memset(other, 4, old);
            mt_pools_free(other);
        }
        check_filled(before, SIZE, 1);
        check_filled(behind, SIZE, 3);
        mt_pools_free(before);
        mt_pools_free(behind);
        check_filled(block, bytes, 2);
        mt_pools_free(block);
        bytes /= 3;
    }
    mt_pools_trim();
    ck_assert_uint_eq(mt_pools_tlsf_dirty(&core.segment->pools), 0);
}
END_TEST

START_TEST(a_block_of_an_arena_grows_to_the_largest_size_and_no_further)
{
    size_t bytes = MT_MID_MAX - 1000000;
    unsigned char *block = filled(bytes, 2);
    for (unsigned moved = 0; moved < 4; bytes += 5000) {
        unsigned char *grown = mt_pools_reallocate(block, bytes);
        bool is_huge = mt_entry_bin(mt_pagemap_entry(grown)) == MT_ENTRY_HUGE;
        ck_assert(is_huge || mt_pools_usable(grown) <= MT_MID_MAX);
        moved += is_huge;
        block = grown;
        block[bytes - 1] = 2;
    }
    check_filled(block, MT_MID_MAX - 1000000, 2);
    mt_pools_free(block);
    mt_pools_trim();
    ck_assert_uint_eq(mt_pools_tlsf_used(&core.segment->pools), 0);
}
END_TEST

/* Each time in an arena that has none yet, or has only what another one left. */
START_TEST(aligned_blocks_of_all_sizes_are_to_be_had)
{
    for (size_t bytes = 33000; bytes < (size_t)40 << 20; bytes = bytes * 2 + 12345) {
        for (size_t alignment = 16; alignment <= (size_t)64 << 20; alignment *= 2) {
            unsigned char *small = filled(SIZE + alignment % 777, 5);
            unsigned char *block = mt_pools_allocate_aligned(alignment, bytes);
            ck_assert_ptr_nonnull(block);
            ck_assert_uint_eq((uintptr_t)block % alignment, 0);
            ck_assert_uint_ge(mt_pools_usable(block), bytes);
            block[0] = block[bytes - 1] = 6;
            check_filled(small, SIZE, 5);
            mt_pools_free(block);
            mt_pools_free(small);
            if (alignment % 3 == 1) mt_pools_trim();
        }
    }
    ck_assert_int_eq(sum().live_bytes, 0);
}
END_TEST

START_TEST(a_waiting_block_that_is_not_aligned_goes_on_waiting)
{
    unsigned char *first = filled(SIZE, 1), *second = filled(SIZE, 2);
    unsigned char *wanted = (uintptr_t)second % MT_MID_PAGE ? second : first;
    ck_assert_uint_ne((uintptr_t)wanted % MT_MID_PAGE, 0);
    mt_pools_free(wanted);
    unsigned char *aligned = mt_pools_allocate_aligned(MT_MID_PAGE, SIZE);
    ck_assert_uint_eq((uintptr_t)aligned % MT_MID_PAGE, 0);
    ck_assert_ptr_eq(mt_pools_allocate(SIZE), wanted);
    mt_pools_free(aligned);
    ck_assert_ptr_eq(mt_pools_allocate_aligned(MT_MID_PAGE, SIZE), aligned);
}
END_TEST

/* The memory of a block that waited for longer than the delay goes back with it, but for pages that it shares. */
START_TEST(what_idles_goes_back_without_its_neighbours)
{
    unsigned char *row[BLOCKS];
    mt_mid_set_purge_delay(1000000);
    fill_row(row);
    uint64_t purged = core.segment->pools.tlsf_purged_bytes;
    for (unsigned i = 1; i < BLOCKS; i += 4) mt_pools_free(row[i]);
    for (unsigned look = 0; look < 4; look++) {
        usleep(10000);
        for (unsigned i = 0; i < 16; i++) mt_pools_free(mt_pools_allocate(200000));
    }
    ck_assert_uint_gt(core.segment->pools.tlsf_purged_bytes, purged);
    for (unsigned i = 1; i < BLOCKS; i += 4) {
        row[i] = mt_pools_allocate_zeroed(SIZE);
        check_filled(row[i], SIZE, 0);
        memset(row[i], (int)(i + 1), mt_pools_usable(row[i]));
    }
    for (unsigned i = 0; i < BLOCKS; i++) check_filled(row[i], SIZE, (unsigned char)(i + 1));
    free_row(row);
}
END_TEST

/* Sizes of which none waits for another. */
static void hand_out(uint64_t bytes)
{
    for (uint64_t done = 0, size = 4000000; done < bytes; done += size) {
        size = size < 20000000 ? size + 500000 : 4000000;
        mt_pools_free(mt_pools_allocate(size));
    }
}

static uint64_t purged_by_falling(unsigned count)
{
    enum { LARGE = 2000000 };
    unsigned char *blocks[60];
    uint64_t purged = core.segment->pools.tlsf_purged_bytes;
    for (unsigned i = 0; i < count; i++) blocks[i] = filled(LARGE, (unsigned char)(i + 1));
    for (unsigned i = count; i-- > 4;) mt_pools_free(blocks[i]);
    for (unsigned i = 0; i < 4; i++) check_filled(blocks[i], LARGE, (unsigned char)(i + 1));
    purged = core.segment->pools.tlsf_purged_bytes - purged;
    for (unsigned i = 4; i < count; i++) { /* what went back reads as zero, and what did not is cleared */
        blocks[i] = mt_pools_allocate_zeroed(LARGE);
        check_filled(blocks[i], LARGE, 0);
    }
    for (unsigned i = 0; i < count; i++) mt_pools_free(blocks[i]);
    return purged;
}

START_TEST(a_part_of_what_is_free_at_the_end_goes_back)
{
    /* In a program that a sanitizer gave a second thread, what is freed first waits at the end for all threads. */
    if (!mt_is_alone()) return;
    mt_mid_set_purge_delay(UINT64_C(1000000000000)); /* nothing idles for so long */
    ck_assert_uint_eq(purged_by_falling(8), 0);      /* too little to be worth it */
    mt_pools_trim();
    ck_assert_uint_eq(purged_by_falling(60), 0); /* too soon */
    hand_out(UINT64_C(6) << 30);
    uint64_t purged = purged_by_falling(60);
    ck_assert_uint_ge(purged, 8000000);
    ck_assert_uint_le(purged, 24000000); /* once, not again and again */
    mt_pools_trim();
    ck_assert_uint_eq(mt_pools_tlsf_dirty(&core.segment->pools), 0);
    mt_balance_start(false);
    hand_out(UINT64_C(6) << 30);
    ck_assert_uint_eq(purged_by_falling(60), 0);
}
END_TEST

struct entry {
    unsigned char *block, filling;
    size_t bytes;
};

static void replace(struct entry *entry, unsigned char filling)
{
    size_t bytes = 33000 + random_below(random_below(8) ? 100000 : 2000000);
    unsigned kind = (unsigned)random_below(8);
    if (entry->block) check_filled(entry->block, entry->bytes, entry->filling);
    if (entry->block && kind < 2) {
        entry->block = mt_pools_reallocate(entry->block, bytes);
        check_filled(entry->block, bytes < entry->bytes ? bytes : entry->bytes, entry->filling);
    } else {
        mt_pools_free(entry->block);
        entry->block = kind == 2  ? mt_pools_allocate_aligned((size_t)16 << random_below(12), bytes)
                       : kind < 5 ? mt_pools_allocate_zeroed(bytes)
                                  : mt_pools_allocate(bytes);
        if (kind > 2 && kind < 5) check_filled(entry->block, bytes, 0);
    }
    entry->bytes = mt_pools_usable(entry->block);
    ck_assert_uint_ge(entry->bytes, bytes);
    entry->filling = filling;
    memset(entry->block, filling, entry->bytes);
}

/* All bytes of all blocks are written and looked at, while memory goes back now and then. */
START_TEST(random_blocks_keep_every_byte)
{
    static struct entry entries[24];
    for (unsigned step = 0; step < 3000; step++) {
        replace(&entries[random_below(24)], (unsigned char)(step % 255 + 1));
        if (step % 400 == 399) mt_pools_trim();
        if (step % 100 == 50) mt_mid_purge_some(1 << 20);
        const struct mt_pools *stats = &core.segment->pools;
        ck_assert_uint_le(mt_pools_tlsf_dirty(stats) + mt_pools_tlsf_used(stats), stats->tlsf_reserved_bytes);
    }
    for (unsigned i = 0; i < 24; i++) mt_pools_free(entries[i].block);
    mt_pools_trim();
    ck_assert_int_eq(sum().live_bytes, 0);
    ck_assert_uint_eq(mt_pools_tlsf_used(&core.segment->pools), 0);
    ck_assert_uint_eq(mt_pools_tlsf_dirty(&core.segment->pools), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pools_pages");
    TCase *tests = tcase_create("pages");
    tcase_set_timeout(tests, 120);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, neighbours_share_a_page);
    tcase_add_test(tests, what_lies_between_live_blocks_goes_back_without_them);
    tcase_add_test(tests, a_pointer_to_elsewhere_in_a_page_is_no_block);
    tcase_add_loop_test(tests, blocks_of_one_size_begin_at_all_places_of_a_page, 0, 4);
    tcase_add_loop_test(tests, what_grows_and_moves_takes_nothing_of_its_neighbours, 0, 4);
    tcase_add_test(tests, a_block_of_an_arena_grows_to_the_largest_size_and_no_further);
    tcase_add_test(tests, aligned_blocks_of_all_sizes_are_to_be_had);
    tcase_add_test(tests, a_waiting_block_that_is_not_aligned_goes_on_waiting);
    tcase_add_test(tests, what_idles_goes_back_without_its_neighbours);
    tcase_add_test(tests, a_part_of_what_is_free_at_the_end_goes_back);
    tcase_add_test(tests, random_blocks_keep_every_byte);
    suite_add_tcase(suite, tests);
    return run_suite(suite, CK_FORK_GETENV);
}
