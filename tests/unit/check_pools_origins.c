/*
 * The pools count by origin: whoever frees, whatever moves, however many
 * origins there are, the sums of each are exact. Each test runs in a process
 * of its own.
 */
#include "core_support.h"
#include "origin.h"
#include "pools.h"
#include "slab.h"
#include "stats.h"
#include "run_suite.h"

#include <check.h>
#include <pthread.h>
#include <stdint.h>

enum { CALLERS = 40, THREADS = 4, SLOTS = 3000, STEPS = 60000 };

static struct mt_core core;
static const char callers[CALLERS * 16];

struct truth {
    _Atomic uint64_t allocations, frees, requested;
    _Atomic int64_t live;
};
static struct truth truths[MT_ORIGIN_MAX];

/* Half of the callers' origins depend on the thread's name too. */
static unsigned origin_of(const void *caller, const char *thread, uint32_t scope)
{
    unsigned index = (unsigned)((const char *)caller - callers) / 16;
    if (scope) return 800 + index;
    return 1 + index + (index % 2 && thread[0] == 'b' ? 100 : 0);
}

static const struct mt_pools_client client = {.origin = origin_of};

static void set_up(void)
{
    set_up_core(&core);
    mt_pools_start(&core, &client);
    mt_pools_publish(&core);
}

static void tear_down(void)
{
    tear_down_core(&core);
}

static void attach(const char *name)
{
    ck_assert(mt_pools_attach(mt_shard_claim(&core, mt_gettid(), name), 0));
}

static void detach(void)
{
    struct mt_shard *shard = mt_theap_self->shard;
    mt_pools_detach();
    mt_shard_retire(&core, shard);
}

static void check_sums(void)
{
    static struct mt_origin_sum sums[MT_ORIGIN_MAX];
    struct mt_shard_sum all;
    struct mt_origin_sum total = {0};
    memset(sums, 0, sizeof sums);
    mt_origins_sum(core.segment, core.mapped_bytes, sums);
    for (unsigned i = 0; i < MT_ORIGIN_MAX; i++) {
        ck_assert_uint_eq(sums[i].allocation_count, truths[i].allocations);
        ck_assert_uint_eq(sums[i].free_count, truths[i].frees);
        ck_assert_uint_eq(sums[i].requested_bytes, truths[i].requested);
        ck_assert_int_eq(sums[i].live_bytes, truths[i].live);
        total.allocation_count += sums[i].allocation_count;
        total.free_count += sums[i].free_count;
        total.requested_bytes += sums[i].requested_bytes;
        total.live_bytes += sums[i].live_bytes;
    }
    mt_shards_sum(core.segment, &all);
    ck_assert_uint_eq(total.allocation_count, all.allocation_count);
    ck_assert_uint_eq(total.free_count, all.free_count);
    ck_assert_uint_eq(total.requested_bytes, all.requested_bytes);
    ck_assert_int_eq(total.live_bytes, all.live_bytes);
}

/* ---- blocks with their truth ------------------------------------------------------ */

struct slot {
    void *block;
    unsigned origin;
};

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static size_t size_of(uint64_t random)
{
    static const size_t limits[] = {16, 100, 100, 100, 1000, 1000, 9000, 33000, 200000};
    return 1 + (random >> 20) % limits[random % (sizeof limits / sizeof *limits)];
}

static void put(struct slot *slot, unsigned caller, const char *thread, uint32_t scope, uint64_t random)
{
    size_t bytes = size_of(random);
    const void *from = &callers[caller * 16];
    struct truth *truth = &truths[slot->origin = origin_of(from, thread, scope)];
    switch (random >> 60) {
    case 0: slot->block = mt_pools_allocate_zeroed(bytes, from); break;
    case 1: slot->block = mt_pools_allocate_aligned(256, bytes, from); break;
    default: slot->block = mt_pools_allocate(bytes, from); break;
    }
    ck_assert_ptr_nonnull(slot->block);
    truth->allocations++;
    truth->requested += bytes;
    truth->live += (int64_t)mt_pools_usable(slot->block);
}

static void drop(struct slot *slot)
{
    struct truth *truth = &truths[slot->origin];
    truth->frees++;
    truth->live -= (int64_t)mt_pools_usable(slot->block);
    mt_pools_free(slot->block);
    slot->block = NULL;
}

static void resize(struct slot *slot, uint64_t random)
{
    struct truth *truth = &truths[slot->origin];
    size_t bytes = size_of(random);
    truth->live -= (int64_t)mt_pools_usable(slot->block);
    slot->block = mt_pools_reallocate(slot->block, bytes);
    ck_assert_ptr_nonnull(slot->block);
    truth->live += (int64_t)mt_pools_usable(slot->block);
    truth->allocations++;
    truth->frees++;
    truth->requested += bytes;
}

/* ---- tests --------------------------------------------------------------------------- */

START_TEST(many_origins_in_one_thread)
{
    static struct slot slots[SLOTS];
    uint64_t state = 88172645463325252u;
    attach("a");
    for (unsigned step = 0; step < 4 * STEPS; step++) {
        uint64_t random = next_random(&state);
        struct slot *slot = &slots[random % SLOTS];
        unsigned caller = (unsigned)(random >> 40) % (step % 3 ? 4 : CALLERS); /* a few ask for most */
        if (!slot->block)
            put(slot, caller, "a", 0, random);
        else if (random >> 61)
            drop(slot);
        else
            resize(slot, random);
    }
    check_sums();
    for (unsigned i = 0; i < SLOTS; i++)
        if (slots[i].block) drop(&slots[i]);
    check_sums();
    mt_pools_trim();
    check_sums();
    detach();
}
END_TEST

START_TEST(origins_that_ask_for_much_get_slabs_of_their_own)
{
    static struct slot slots[2000];
    attach("a");
    for (unsigned i = 0; i < 2000; i++) put(&slots[i], 2, "a", 0, 1 | UINT64_C(3) << 60);
    uint64_t entry = mt_pagemap_entry(slots[1999].block);
    ck_assert(!mt_entry_is_mixed(entry));
    ck_assert_uint_eq(mt_slab_origin(mt_entry_record(entry), slots[1999].block), slots[0].origin);
    for (unsigned i = 0; i < 2000; i++) drop(&slots[i]);
    check_sums();
}
END_TEST

START_TEST(a_scope_and_another_name_are_other_origins)
{
    struct slot slots[300] = {{0}};
    attach("a");
    for (unsigned i = 0; i < 100; i++) put(&slots[i], 3, "a", 0, i);
    mt_pools_change_scope(7);
    for (unsigned i = 100; i < 200; i++) put(&slots[i], 3, "a", 7, i);
    mt_pools_change_scope(0);
    mt_shard_rename(&core, mt_theap_self->shard, "b");
    mt_pools_renamed();
    for (unsigned i = 200; i < 300; i++) put(&slots[i], 3, "b", 0, i);
    ck_assert_uint_ne(slots[0].origin, slots[100].origin);
    ck_assert_uint_ne(slots[0].origin, slots[200].origin);
    check_sums();
    for (unsigned i = 0; i < 300; i += 2) drop(&slots[i]);
    check_sums();
}
END_TEST

static struct slot shared_slots[THREADS][SLOTS];
static pthread_mutex_t locks[THREADS];
static _Atomic unsigned rounds;

/* Allocates into its own row, frees and resizes in another one's. */
static void *work(void *argument)
{
    unsigned self = (unsigned)(size_t)argument;
    const char *name = self % 2 ? "b" : "a";
    uint64_t state = 88172645463325252u + self;
    attach(name);
    for (unsigned step = 0; step < STEPS; step++) {
        uint64_t random = next_random(&state);
        unsigned row = step % 3 ? self : (unsigned)(random >> 8) % THREADS;
        struct slot *slot = &shared_slots[row][random % SLOTS];
        pthread_mutex_lock(&locks[row]);
        if (!slot->block)
            put(slot, (unsigned)(random >> 40) % (step % 4 ? 3 : CALLERS), name, 0, random);
        else if (random >> 62)
            drop(slot);
        else
            resize(slot, random);
        pthread_mutex_unlock(&locks[row]);
        if (step % 5000 == 0) mt_sites_forget_all(); /* as dlclose does, while the others go on */
    }
    detach();
    rounds++;
    return NULL;
}

static void run_threads(void)
{
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, work, (void *)i);
    for (size_t i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
}

/* The second round finds the heaps of the first, with sub-heaps of other names. */
START_TEST(threads_that_free_each_others_blocks)
{
    for (unsigned i = 0; i < THREADS; i++) pthread_mutex_init(&locks[i], NULL);
    run_threads();
    check_sums();
    run_threads();
    check_sums();
    attach("c");
    for (unsigned row = 0; row < THREADS; row++)
        for (unsigned i = 0; i < SLOTS; i++)
            if (shared_slots[row][i].block) drop(&shared_slots[row][i]);
    check_sums();
    for (unsigned i = 0; i < MT_ORIGIN_MAX; i++) ck_assert_int_eq(truths[i].live, 0);
}
END_TEST

START_TEST(a_thread_without_a_heap_counts_too)
{
    struct slot slots[200] = {{0}};
    for (unsigned i = 0; i < 200; i++) put(&slots[i], i % CALLERS, "", 0, i * UINT64_C(0x9e3779b97f4a7c15));
    check_sums();
    attach("a");
    for (unsigned i = 0; i < 200; i += 2) drop(&slots[i]);
    detach();
    for (unsigned i = 1; i < 200; i += 2) drop(&slots[i]);
    check_sums();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pools_origins");
    TCase *tests = tcase_create("origins");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, many_origins_in_one_thread);
    tcase_add_test(tests, origins_that_ask_for_much_get_slabs_of_their_own);
    tcase_add_test(tests, a_scope_and_another_name_are_other_origins);
    tcase_add_test(tests, threads_that_free_each_others_blocks);
    tcase_add_test(tests, a_thread_without_a_heap_counts_too);
    suite_add_tcase(suite, tests);
    return run_suite(suite, CK_FORK_GETENV);
}
