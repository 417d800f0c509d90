/*
 * Arenas behind the pools' own functions: blocks of a named site are like all
 * others in size, content and count, whoever frees, resizes or inherits them.
 * Each test runs in a process of its own.
 */
#include "arena_serve.h"
#include "arena_sites.h"
#include "core_support.h"
#include "origin.h"
#include "pools.h"
#include "stats.h"
#include "run_suite.h"

#include <check.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/wait.h>

static const char bumped, kept; /* two places that call */
static struct mt_core core;

static void attach(const char *name)
{
    struct mt_shard *shard = mt_shard_claim(&core, mt_gettid(), name);
    ck_assert(mt_pools_attach(shard, 0));
    mt_pools_renamed();
}

static void detach(void)
{
    struct mt_shard *shard = mt_theap_self->shard;
    mt_pools_detach();
    mt_shard_retire(&core, shard);
}

static void set_up(void)
{
    setenv("MEMTRACK_ARENA_SITES", "thread:test*", 1);
    set_up_core(&core);
    mt_pools_start(&core, NULL);
    mt_pools_publish(&core);
    attach("test");
}

static void tear_down(void)
{
    tear_down_core(&core);
}

static struct mt_shard_sum sum(void)
{
    struct mt_shard_sum result;
    mt_shards_sum(core.segment, &result);
    return result;
}

/* The origins' rows must add up to what the shards say. */
static void check_adds_up(void)
{
    static struct mt_origin_sum sums[MT_ORIGIN_MAX];
    struct mt_shard_sum all = sum();
    uint64_t allocations = 0, frees = 0, requested = 0;
    int64_t live = 0;
    memset(sums, 0, sizeof sums);
    mt_origins_sum(core.segment, core.mapped_bytes, sums);
    for (unsigned i = 0; i < MT_ORIGIN_MAX; i++) {
        allocations += sums[i].allocation_count;
        frees += sums[i].free_count;
        requested += sums[i].requested_bytes;
        live += sums[i].live_bytes;
    }
    ck_assert_uint_eq(allocations, all.allocation_count);
    ck_assert_uint_eq(frees, all.free_count);
    ck_assert_uint_eq(requested, all.requested_bytes);
    ck_assert_int_eq(live, all.live_bytes);
}

static bool is_bumped(const void *block)
{
    return mt_entry_class(mt_pagemap_entry(block)) == MT_ENTRY_ARENA;
}

static uint64_t random_state = 1;

static size_t random_below(uint64_t *state, size_t bound)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (size_t)(*state >> 33) % bound;
}

/* ---- like all others ---------------------------------------------------------------- */

START_TEST(blocks_are_as_large_and_as_aligned_as_those_of_slabs)
{
    for (size_t bytes = 0; bytes < 12000; bytes += bytes < 600 ? 1 : 97) {
        void *block = mt_pools_allocate(bytes, &bumped);
        ck_assert_ptr_nonnull(block);
        ck_assert_int_eq(is_bumped(block), bytes <= MT_ARENA_MAX);
        ck_assert_uint_eq(mt_pools_usable(block), mt_class_bytes(mt_class_of(bytes)));
        memset(block, 0xff, mt_pools_usable(block));
        char *zeroed = mt_pools_allocate_zeroed(bytes, &bumped);
        for (size_t i = 0; i < bytes; i++) ck_assert_int_eq(zeroed[i], 0);
        ck_assert(mt_pools_free(block));
        ck_assert(mt_pools_free(zeroed));
    }
    for (size_t alignment = 32; alignment <= 16384; alignment *= 2) {
        void *block = mt_pools_allocate_aligned(alignment, 100, &bumped);
        ck_assert_uint_eq((uintptr_t)block % alignment, 0);
        ck_assert_uint_eq(mt_pools_usable(block) % alignment, 0);
        ck_assert(mt_pools_free(block));
    }
    ck_assert_int_eq(sum().live_bytes, 0);
    check_adds_up();
}
END_TEST

START_TEST(resizing_keeps_contents_and_counts_one_free_and_one_allocation)
{
    enum { COUNT = 200 };
    static unsigned char *blocks[COUNT];
    static size_t sizes[COUNT];
    uint64_t calls = 0;
    for (unsigned step = 0; step < 40000; step++) {
        size_t i = random_below(&random_state, COUNT);
        size_t bytes = 1 + random_below(&random_state, (size_t)1 << (3 + random_below(&random_state, 13)));
        if (!blocks[i]) {
            blocks[i] = mt_pools_allocate(sizes[i] = bytes, i % 2 ? &bumped : &kept);
            memset(blocks[i], (int)i, bytes);
            continue;
        }
        size_t least = bytes < sizes[i] ? bytes : sizes[i];
        blocks[i] = mt_pools_reallocate(blocks[i], bytes);
        calls++;
        ck_assert_uint_eq(blocks[i][0], i);
        ck_assert_uint_eq(blocks[i][least - 1], i);
        memset(blocks[i], (int)i, sizes[i] = bytes);
    }
    ck_assert_uint_eq(sum().realloc_count, calls);
    ck_assert_uint_eq(sum().free_count, calls);
    check_adds_up();
    for (unsigned i = 0; i < COUNT; i++)
        if (blocks[i]) mt_pools_free(blocks[i]);
    ck_assert_int_eq(sum().live_bytes, 0);
    check_adds_up();
}
END_TEST

START_TEST(what_is_no_block_is_not_freed)
{
    char *block = mt_pools_allocate(100, &bumped);
    uint64_t frees = sum().free_count;
    ck_assert(mt_pools_free(block + 16));
    ck_assert(mt_pools_free(block + 1));
    ck_assert_uint_eq(sum().free_count, frees);
    ck_assert(mt_pools_free(block));
    ck_assert(mt_pools_free(block));
    ck_assert_uint_eq(sum().free_count, frees + 1);
    check_adds_up();
}
END_TEST

START_TEST(a_trim_gives_all_chunks_back)
{
    enum { COUNT = 4000 };
    static void *blocks[COUNT];
    for (unsigned i = 0; i < COUNT; i++) blocks[i] = mt_pools_allocate(500, &bumped);
    ck_assert_uint_ge(atomic_load(&mt_pools_stats.arena_chunk_count), COUNT * 512 / MT_SLICE_BYTES);
    for (unsigned i = 0; i < COUNT; i++) mt_pools_free(blocks[i]);
    ck_assert(mt_pools_trim());
    ck_assert_uint_eq(atomic_load(&mt_pools_stats.arena_chunk_count), 0);
}
END_TEST

/* ---- threads and fork ------------------------------------------------------------------ */

enum { THREADS = 4, SLOTS = 256, STEPS = 30000 };
static char *_Atomic slots[SLOTS];

/* Swaps blocks with the other threads: whoever finds one frees it. Even threads have no arena of their own. */
static void *swap(void *number)
{
    uint64_t state = (uintptr_t)number;
    attach((uintptr_t)number % 2 ? "test-worker" : "other");
    for (unsigned step = 0; step < STEPS; step++) {
        size_t bytes = 1 + random_below(&state, 700);
        char *block = step % 5 ? mt_pools_allocate(bytes, &bumped) : NULL;
        if (block) block[0] = block[bytes - 1] = 7;
        block = atomic_exchange(&slots[random_below(&state, SLOTS)], block);
        if (!block) continue;
        ck_assert_int_eq(block[0], 7);
        if (step % 3) block = mt_pools_reallocate(block, 1 + random_below(&state, 900));
        mt_pools_free(block);
    }
    detach();
    return NULL;
}

START_TEST(threads_swap_blocks_and_end_before_them)
{
    pthread_t threads[THREADS];
    for (unsigned round = 0; round < 3; round++) {
        for (uintptr_t i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, swap, (void *)(i + 1));
        for (unsigned i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
        check_adds_up();
    }
    for (unsigned i = 0; i < SLOTS; i++) mt_pools_free(slots[i]);
    ck_assert_int_eq(sum().live_bytes, 0);
    ck_assert_uint_eq(sum().allocation_count, sum().free_count);
    check_adds_up();
    mt_pools_trim();
    ck_assert_uint_eq(atomic_load(&mt_pools_stats.arena_chunk_count), 0);
}
END_TEST

START_TEST(a_thread_without_a_heap_frees_in_shard_0)
{
    void *block = mt_pools_allocate(100, &bumped);
    ck_assert(is_bumped(block));
    detach();
    ck_assert(mt_pools_free(block));
    ck_assert_int_eq(sum().live_bytes, 0);
    check_adds_up();
    ck_assert_uint_eq(atomic_load(&mt_pools_stats.arena_chunk_count), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("arena_serve");
    TCase *cases = tcase_create("arena_serve");
    tcase_set_timeout(cases, 120);
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, blocks_are_as_large_and_as_aligned_as_those_of_slabs);
    tcase_add_test(cases, resizing_keeps_contents_and_counts_one_free_and_one_allocation);
    tcase_add_test(cases, what_is_no_block_is_not_freed);
    tcase_add_test(cases, a_trim_gives_all_chunks_back);
    tcase_add_test(cases, threads_swap_blocks_and_end_before_them);
    tcase_add_test(cases, a_thread_without_a_heap_frees_in_shard_0);
    suite_add_tcase(suite, cases);
    return run_suite(suite, CK_FORK_GETENV);
}
