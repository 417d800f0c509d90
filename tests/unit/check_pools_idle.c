/*
 * What slabs do with memory that a program does not use any more: long lists,
 * idle size classes, slabs that go to another class, holes in slabs, blocks of call stacks.
 * Each test runs in a process of its own.
 */
#include "account.h"
#include "pools_support.h"
#include "run_suite.h"
#include "slab.h"
#include "spans.h"
#include "stats.h"
#include "waiting.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE = 4096 };

static uint64_t used_bytes(void)
{
    struct mt_span_counters counters;
    mt_span_counters(&counters);
    return counters.used_bytes;
}

START_TEST(a_list_that_grows_too_long_goes_home_while_others_are_filled)
{
    enum { COUNT = 200000, SMALL = 32, OTHER = 48 };
    static void *blocks[COUNT];
    for (unsigned i = 0; i < COUNT; i++) blocks[i] = mt_pools_allocate(SMALL);
    uint64_t full = used_bytes();
    ck_assert_uint_gt(full, COUNT * SMALL);
    /* What is live stays the same: nothing but the filling of another class looks at the list. */
    for (unsigned i = 0; i < COUNT; i += 3) {
        for (unsigned k = i; k < i + 3 && k < COUNT; k++) mt_pools_free(blocks[k]);
        for (unsigned k = i; k < i + 2 && k < COUNT; k++) blocks[k] = mt_pools_allocate(OTHER);
    }
    ck_assert_uint_lt(used_bytes(), full + full / 4);
    struct mt_bin *bin = mt_sub_bin(mt_theap_self, 0, mt_class_of(SMALL));
    ck_assert_ptr_nonnull(bin);
    ck_assert_int_lt(mt_waiting_length(bin), 4 * (int64_t)bin->max_count);
}
END_TEST

START_TEST(no_call_sends_a_long_list_home_at_once)
{
    enum { COUNT = 100000, MOST = 1024 };
    static void *blocks[COUNT];
    for (unsigned i = 0; i < COUNT; i++) blocks[i] = mt_pools_allocate(16);
    struct mt_bin *bin = mt_sub_bin(mt_theap_self, 0, 0);
    ck_assert_ptr_nonnull(bin);
    mt_theap_self->shard->low_limit_bytes = INT64_MIN; /* no flush looks at the list */
    for (unsigned i = 0; i < COUNT; i++) mt_pools_free(blocks[i]);
    int64_t length = mt_waiting_length(bin);
    ck_assert_int_gt(length, COUNT - MOST);
    mt_waiting_shorten(mt_theap_self, bin);
    ck_assert_int_eq(mt_waiting_length(bin), length - MOST);
    while (mt_waiting_length(bin) >= bin->max_count) mt_waiting_shorten(mt_theap_self, bin);
    int64_t counted = 0;
    for (void *block = bin->head; block; block = *(void **)block) counted++;
    ck_assert_int_eq(counted, mt_waiting_length(bin));
}
END_TEST

START_TEST(idle_classes_make_room_before_the_heap_grows)
{
    enum { BYTES = 48 << 10, MOST_SLABS = 36 };
    unsigned classes = 0;
    for (unsigned class = 7; mt_class_bytes(class) <= 4096; class ++, classes++) {
        void *blocks[BYTES / 128];
        unsigned count = (unsigned)(BYTES / mt_class_bytes(class));
        for (unsigned i = 0; i < count; i++) blocks[i] = mt_pools_allocate(mt_class_bytes(class));
        for (unsigned i = 0; i < count; i++) mt_pools_free(blocks[i]);
    }
    ck_assert_uint_gt(classes, 40);
    ck_assert_uint_lt(used_bytes(), (uint64_t)MOST_SLABS * MT_SLICE_BYTES);
}
END_TEST

static unsigned resident_pages(void *start)
{
    unsigned char pages[MT_SLICE_BYTES / PAGE];
    unsigned count = 0;
    ck_assert_int_eq(mincore(start, MT_SLICE_BYTES, pages), 0);
    for (unsigned i = 0; i < sizeof pages; i++) count += pages[i] & 1;
    return count;
}

START_TEST(a_class_that_begins_does_not_keep_what_another_one_touched)
{
    enum { COUNT = MT_SLICE_BYTES / 64, FIRST_PAGES = 2 };
    void *blocks[COUNT];
    for (unsigned i = 0; i < COUNT; i++) blocks[i] = mt_pools_allocate(64);
    char *slice = (char *)((uintptr_t)blocks[0] & ~(uintptr_t)(MT_SLICE_BYTES - 1));
    ck_assert_uint_eq(resident_pages(slice), MT_SLICE_BYTES / PAGE);
    for (unsigned i = 0; i < COUNT; i++) mt_pools_free(blocks[i]);
    mt_waiting_trim_all(mt_theap_self);
    mt_slab_release_empty(mt_theap_self);
    ck_assert_uint_eq(resident_pages(slice), MT_SLICE_BYTES / PAGE);
    char *first = mt_pools_allocate(1024);
    ck_assert_ptr_eq((char *)((uintptr_t)first & ~(uintptr_t)(MT_SLICE_BYTES - 1)), slice);
    ck_assert_uint_le(resident_pages(slice), FIRST_PAGES);
    ck_assert(mt_pools_free(first));
}
END_TEST

static unsigned resident_between(const char *from, const char *to)
{
    unsigned count = 0;
    for (uintptr_t at = (uintptr_t)from & ~(uintptr_t)(MT_SLICE_BYTES - 1); at <= (uintptr_t)to;
         at += MT_SLICE_BYTES)
        count += resident_pages((void *)at);
    return count;
}

static void mark(void *block, uint32_t bytes, uint32_t number)
{
    memset(block, (int)(number & 0x7f), bytes);
    memcpy(block, &number, sizeof number);
}

static bool is_marked(const void *block, uint32_t bytes, uint32_t number)
{
    const unsigned char *at = block;
    if (memcmp(at, &number, sizeof number)) return false;
    for (uint32_t i = sizeof number; i < bytes; i++)
        if (at[i] != (number & 0x7f)) return false;
    return true;
}

/* Blocks in one page, in two, and in more than that. */
static const uint32_t sizes_with_holes[] = {16, 48, 64, 640, 3072, 6656};

START_TEST(pages_without_a_live_block_go_back_and_come_again)
{
    enum { BYTES = 8 * MT_SLICE_BYTES, APART = 24 << 10 };
    static char *blocks[BYTES / 16];
    const uint32_t bytes = sizes_with_holes[_i], count = BYTES / bytes, kept = APART / bytes;
    const char *from = (const char *)UINTPTR_MAX, *to = NULL;
    for (uint32_t i = 0; i < count; i++) {
        mark(blocks[i] = mt_pools_allocate(bytes), bytes, i);
        if (blocks[i] < from) from = blocks[i];
        if (blocks[i] > to) to = blocks[i];
    }
    unsigned full = resident_between(from, to);
    uint64_t used = used_bytes();
    for (unsigned round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < count; i++)
            if (i % kept) ck_assert(mt_pools_free(blocks[i]));
        mt_waiting_trim_all(mt_theap_self);
        size_t held = mt_theap_self->held_bytes;
        mt_slab_make_holes(mt_theap_self);
        ck_assert_uint_le(resident_between(from, to), full * 3 / 4);
        ck_assert_uint_le(mt_theap_self->held_bytes, held * 3 / 4);
        for (uint32_t i = 0; i < count; i++)
            if (i % kept) mark(blocks[i] = mt_pools_allocate(bytes), bytes, i);
        for (uint32_t i = 0; i < count; i++) ck_assert(is_marked(blocks[i], bytes, i));
        /* They lie where they lay, but for those of a slab that blocks of others may share. */
        ck_assert_uint_le(used_bytes(), used + MT_SLICE_BYTES);
    }
    for (uint32_t i = 0; i < count; i++) ck_assert(mt_pools_free(blocks[i]));
    mt_waiting_trim_all(mt_theap_self);
    mt_slab_release_empty(mt_theap_self);
    ck_assert_uint_le(used_bytes(), 2 * MT_SLICE_BYTES);
    ck_assert_int_eq(sum().live_bytes, 0);
}
END_TEST

START_TEST(bursts_that_come_again_find_their_memory)
{
    enum { COUNT = 20000, ROUNDS = 40, MOST_GIVEN_BACK = 4 << 20 };
    static void *blocks[COUNT];
    uint32_t random = 1;
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < COUNT; i++) {
            random = random * 1664525 + 1013904223;
            blocks[i] = mt_pools_allocate(16 + (random >> 16) % 400);
        }
        for (unsigned i = 0; i < COUNT; i++) ck_assert(mt_pools_free(blocks[i]));
    }
    struct mt_span_counters counters;
    mt_span_counters(&counters);
    ck_assert_uint_lt(counters.purged_bytes, MOST_GIVEN_BACK + ROUNDS * (uint64_t)(128 << 10));
}
END_TEST

START_TEST(a_list_that_was_shortened_in_vain_may_be_longer_until_its_class_is_idle)
{
    enum { COUNT = 3000, SIZE = 256, OTHERS = 60000, ROUNDS = 8, SHARE = 16 };
    static void *blocks[COUNT];
    for (unsigned i = 0; i < OTHERS; i++) ck_assert_ptr_nonnull(mt_pools_allocate(512)); /* a share of much */
    unsigned first = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < COUNT; i++) blocks[i] = mt_pools_allocate(SIZE);
        if (!round) first = mt_sub_bin(mt_theap_self, 0, mt_class_of(SIZE))->max_count;
        for (unsigned i = 0; i < COUNT; i++) ck_assert(mt_pools_free(blocks[i]));
    }
    struct mt_bin *bin = mt_sub_bin(mt_theap_self, 0, mt_class_of(SIZE));
    ck_assert_uint_ge(bin->max_count, COUNT);
    ck_assert_uint_le(bin->max_count * (size_t)SIZE, mt_theap_self->held_bytes / SHARE);
    ck_assert_int_ge(mt_waiting_length(bin), COUNT); /* none went home */
    mt_slab_trim_idle(mt_theap_self);
    mt_slab_trim_idle(mt_theap_self);
    ck_assert_uint_eq(bin->max_count, first);
    ck_assert_ptr_null(bin->head);
}
END_TEST

START_TEST(blocks_freed_in_any_order_leave_their_slabs_to_another_size)
{
    enum { COUNT = 30000, SIZE = 64, OTHER = 144, OTHERS = COUNT * SIZE / OTHER, STEP = 7919, EVERY = 20 };
    static void *blocks[COUNT], *others[OTHERS], *few[OTHERS / EVERY + 1];
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < COUNT; i++) blocks[i] = mt_pools_allocate(SIZE);
        uint64_t full = used_bytes();
        for (unsigned i = 0; i < COUNT; i++) ck_assert(mt_pools_free(blocks[(uint64_t)i * STEP % COUNT]));
        for (unsigned i = 0; i < OTHERS; i++) {
            others[i] = mt_pools_allocate(OTHER);
            if (i % EVERY == 0) few[i / EVERY] = mt_pools_allocate(SIZE);
        }
        ck_assert_uint_le(used_bytes(), full + full / 8);
        for (unsigned i = 0; i < OTHERS; i++) {
            ck_assert(mt_pools_free(others[(uint64_t)i * STEP % OTHERS]));
            if (i % EVERY == 0) ck_assert(mt_pools_free(few[i / EVERY]));
        }
    }
}
END_TEST

START_TEST(bursts_of_the_same_sizes_stay_in_their_lists)
{
    enum { COUNT = 200, SIZE = 512, ROUNDS = 5 };
    void *blocks[COUNT];
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < COUNT; i++) blocks[i] = mt_pools_allocate(SIZE);
        for (unsigned i = 0; i < COUNT; i++) ck_assert(mt_pools_free(blocks[i]));
        struct mt_bin *bin = mt_sub_bin(mt_theap_self, 0, mt_class_of(SIZE));
        int64_t waiting = mt_waiting_length(bin);
        ck_assert_int_gt(waiting, 0);
        mt_waiting_look(mt_theap_self);
        if (!round)
            ck_assert_int_eq(mt_waiting_length(bin), 0); /* none were asked for before */
        else
            ck_assert_int_eq(mt_waiting_length(bin), waiting);
    }
}
END_TEST

START_TEST(large_blocks_that_are_freed_leave_the_lists_of_small_ones_alone)
{
    enum { COUNT = 200, SIZE = 512, FEW = 4, OTHER = 2048, OTHERS = 16, LARGE = 8 << 20 };
    void *blocks[COUNT];
    for (unsigned i = 0; i < COUNT; i++) blocks[i] = mt_pools_allocate(SIZE);
    for (unsigned i = 0; i < COUNT; i++) ck_assert(mt_pools_free(blocks[i]));
    for (unsigned i = 0; i < OTHERS; i++) blocks[i] = mt_pools_allocate(OTHER);
    for (unsigned i = 0; i < OTHERS; i++) ck_assert(mt_pools_free(blocks[i]));
    mt_waiting_look(mt_theap_self);
    for (unsigned i = 0; i < FEW; i++) blocks[i] = mt_pools_allocate(SIZE);
    for (unsigned i = 0; i < FEW; i++) ck_assert(mt_pools_free(blocks[i]));
    struct mt_bin *bin = mt_sub_bin(mt_theap_self, 0, mt_class_of(SIZE));
    int64_t waiting = mt_waiting_length(bin);
    ck_assert_int_gt(waiting, 0);
    for (unsigned i = 0; i < FEW; i++) blocks[i] = mt_pools_allocate(OTHER);
    void *large = mt_pools_allocate(LARGE);
    mt_waiting_look(mt_theap_self);
    ck_assert(mt_pools_free(large));
    mt_waiting_look(mt_theap_self);
    ck_assert_int_eq(mt_waiting_length(bin), waiting);
    for (unsigned i = 0; i < FEW; i++) ck_assert(mt_pools_free(blocks[i]));
}
END_TEST

static void note_sampled(struct mt_shard *shard, const void *block, uint64_t requested, uint64_t usable)
{
    (void)block, (void)requested, (void)usable;
    atomic_store(&shard->sample_countdown_bytes, (int64_t)atomic_load(&shard->requested_bytes) + 1);
}

START_TEST(slabs_of_sampled_blocks_go_with_their_last_one)
{
    static const struct mt_pools_client client = {.sampled = note_sampled};
    mt_pools_start(&core, &client);
    mt_theap_self->shard->sample_countdown_bytes = 1;
    mt_pools_free(mt_pools_allocate(300));
    uint64_t before = used_bytes();
    void *blocks[MT_SLAB_CLASSES];
    for (unsigned class = 16; class < MT_SLAB_CLASSES; class ++)
        blocks[class] = mt_pools_allocate(mt_class_bytes(class));
    uint64_t full = used_bytes();
    for (unsigned class = 16; class < MT_SLAB_CLASSES; class ++) ck_assert(mt_pools_free(blocks[class]));
    uint64_t gone = full - used_bytes();
    ck_assert_uint_ge(2 * gone, full - before); /* the other half is the thread's own */
    ck_assert_uint_ge(gone, 40 * MT_SLICE_BYTES);
    ck_assert_int_eq(sum().live_bytes, 0);
}
END_TEST

/* The sum says nothing: what one class has too much another one has too little. */
static uint64_t reserved_of(unsigned class)
{
    return atomic_load(&mt_pools_stats.classes[class].reserved_bytes);
}

START_TEST(sampled_blocks_of_several_classes_share_slabs)
{
    enum { CLASSES = 48, SLABS_MOST = 10 };
    static const struct mt_pools_client client = {.sampled = note_sampled};
    mt_pools_start(&core, &client);
    mt_theap_self->shard->sample_countdown_bytes = 1;
    mt_pools_free(mt_pools_allocate(300));
    void *blocks[CLASSES];
    const void *slabs[CLASSES];
    unsigned count = 0;
    for (unsigned class = 0; class < CLASSES; class ++) {
        blocks[class] = mt_pools_allocate(mt_class_bytes(class));
        ck_assert_uint_eq(mt_pools_usable(blocks[class]), mt_class_bytes(class));
        ck_assert_uint_ge(reserved_of(class), mt_class_bytes(class));
        const void *slab = mt_entry_record(mt_pagemap_entry(blocks[class]));
        unsigned i = 0;
        while (i < count && slabs[i] != slab) i++;
        if (i == count) slabs[count++] = slab;
    }
    ck_assert_uint_le(count, SLABS_MOST);
    for (unsigned class = 0; class < CLASSES; class ++) ck_assert(mt_pools_free(blocks[class]));
    ck_assert_int_eq(sum().live_bytes, 0);
    for (unsigned class = 0; class < CLASSES; class ++) ck_assert_uint_eq(reserved_of(class) % MT_SLICE_BYTES, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pools_idle");
    TCase *tests = tcase_create("pools_idle");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, a_list_that_grows_too_long_goes_home_while_others_are_filled);
    tcase_add_test(tests, no_call_sends_a_long_list_home_at_once);
    tcase_add_test(tests, idle_classes_make_room_before_the_heap_grows);
    tcase_add_test(tests, a_class_that_begins_does_not_keep_what_another_one_touched);
    tcase_add_loop_test(tests, pages_without_a_live_block_go_back_and_come_again, 0,
                        sizeof sizes_with_holes / sizeof sizes_with_holes[0]);
    tcase_add_test(tests, bursts_that_come_again_find_their_memory);
    tcase_add_test(tests, a_list_that_was_shortened_in_vain_may_be_longer_until_its_class_is_idle);
    tcase_add_test(tests, blocks_freed_in_any_order_leave_their_slabs_to_another_size);
    tcase_add_test(tests, bursts_of_the_same_sizes_stay_in_their_lists);
    tcase_add_test(tests, large_blocks_that_are_freed_leave_the_lists_of_small_ones_alone);
    tcase_add_test(tests, slabs_of_sampled_blocks_go_with_their_last_one);
    tcase_add_test(tests, sampled_blocks_of_several_classes_share_slabs);
    suite_add_tcase(suite, tests);
    return run_suite(suite, CK_FORK_GETENV);
}
