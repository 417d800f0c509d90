/*
 * Origins and scopes: interned once whoever asks, counted by shard, handed on
 * to a fork's child, and told when they find no room.
 */
#include "core_support.h"
#include "origin.h"
#include "shard.h"
#include "run_suite.h"

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>

enum { THREADS = 8, KINDS = 120 };

static struct mt_core core;

static void set_up(void)
{
    set_up_core(&core);
}

static void tear_down(void)
{
    tear_down_core(&core);
}

START_TEST(an_origin_is_its_module_thread_and_scope)
{
    unsigned one = mt_origin_find(&core, 3, "main", 0);
    ck_assert_uint_ne(one, 0);
    ck_assert_uint_eq(mt_origin_find(&core, 3, "main", 0), one);
    ck_assert_uint_ne(mt_origin_find(&core, 4, "main", 0), one);
    ck_assert_uint_ne(mt_origin_find(&core, 3, "main2", 0), one);
    ck_assert_uint_ne(mt_origin_find(&core, 3, "main", 1), one);
    const struct mt_origin *row = &core.segment->origins.rows[one];
    ck_assert_uint_eq(row->module, 3);
    ck_assert_str_eq(row->thread, "main");
    ck_assert_uint_eq(row->state, 1);
}
END_TEST

START_TEST(a_long_thread_name_is_cut_the_same_way_each_time)
{
    const char *name = "a thread name that is far longer than any kernel allows";
    unsigned one = mt_origin_find(&core, 1, name, 0);
    ck_assert_uint_ne(one, 0);
    ck_assert_uint_eq(mt_origin_find(&core, 1, name, 0), one);
}
END_TEST

START_TEST(what_finds_no_room_is_other_and_counted)
{
    for (unsigned i = 1; i < MT_ORIGIN_MAX; i++) ck_assert_uint_eq(mt_origin_find(&core, i, "x", 0), i);
    ck_assert_uint_eq(core.segment->dropped[MT_DROPPED_ORIGINS], 0);
    ck_assert_uint_eq(mt_origin_find(&core, MT_ORIGIN_MAX, "x", 0), 0);
    ck_assert_uint_eq(mt_origin_find(&core, MT_ORIGIN_MAX + 1, "x", 0), 0);
    ck_assert_uint_eq(core.segment->dropped[MT_DROPPED_ORIGINS], 2);
    ck_assert_uint_eq(mt_origin_find(&core, 77, "x", 0), 77);
}
END_TEST

START_TEST(scopes_are_found_by_name_and_told_to_the_segment_when_used)
{
    uint32_t image = mt_scope_find(&core, "vkCreateImage"), buffer = mt_scope_find(&core, "vkCreateBuffer");
    ck_assert_uint_ne(image, 0);
    ck_assert_uint_ne(image, buffer);
    ck_assert_uint_eq(mt_scope_find(&core, "vkCreateImage"), image);
    ck_assert_str_eq(core.segment->origins.scopes[image], "");
    mt_origin_find(&core, 1, "x", image);
    ck_assert_str_eq(core.segment->origins.scopes[image], "vkCreateImage");
    ck_assert_uint_eq(mt_scope_enter(&core, image), 0); /* nobody listens: nothing happens */
}
END_TEST

START_TEST(scopes_beyond_the_table_are_none_and_counted)
{
    char name[32];
    for (unsigned i = 1; i < MT_SCOPE_MAX; i++) {
        snprintf(name, sizeof name, "scope %u", i);
        ck_assert_uint_eq(mt_scope_find(&core, name), i);
    }
    ck_assert_uint_eq(mt_scope_find(&core, "one more"), 0);
    ck_assert_uint_eq(core.segment->dropped[MT_DROPPED_TAGS], 1);
}
END_TEST

static unsigned ids[THREADS][KINDS];
static _Atomic unsigned waiting;

static void *intern_all(void *argument)
{
    unsigned self = (unsigned)(size_t)argument;
    char name[16];
    struct mt_shard *shard = mt_shard_claim(&core, (int)self, "t");
    waiting++;
    while (waiting < THREADS)
        ;
    for (unsigned i = 0; i < KINDS; i++) {
        unsigned kind = (i * 7 + self * 13) % KINDS;
        snprintf(name, sizeof name, "n%u", kind % 5);
        ids[self][kind] = mt_origin_find(&core, 1 + kind / 5, name, 0);
        struct mt_origin_counts *own = mt_origin_counts(&core, shard, ids[self][kind]);
        struct mt_origin_counts *all = mt_origin_counts(&core, &core.segment->shards[0], ids[self][kind]);
        own->classes[0].allocation_count += 2;
        own->classes[0].free_count += 1;
        atomic_fetch_add(&all->classes[1].allocation_count, 1);
        atomic_fetch_add(&all->large_allocated_bytes, 100);
    }
    mt_shard_retire(&core, shard);
    return NULL;
}

START_TEST(threads_agree_on_ids_and_lose_no_count)
{
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, intern_all, (void *)i);
    for (size_t i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    static struct mt_origin_sum sums[MT_ORIGIN_MAX];
    mt_origins_sum(core.segment, core.mapped_bytes, sums);
    for (unsigned kind = 0; kind < KINDS; kind++) {
        unsigned id = ids[0][kind];
        ck_assert_uint_ne(id, 0);
        for (unsigned i = 1; i < THREADS; i++) ck_assert_uint_eq(ids[i][kind], id);
        for (unsigned other = 0; other < kind; other++) ck_assert_uint_ne(ids[0][other], id);
        ck_assert_uint_eq(sums[id].allocation_count, THREADS * 3);
        ck_assert_uint_eq(sums[id].free_count, THREADS);
        ck_assert_int_eq(sums[id].live_bytes, THREADS * (16 + 32 + 100));
    }
}
END_TEST

/* Exits with the line of the first thing that is not true. */
#define IN_CHILD(condition)                                                                                        \
    do {                                                                                                           \
        if (!(condition)) _exit(__LINE__ % 200 + 1);                                                               \
    } while (0)

static void be_child(unsigned origin, uint32_t scope)
{
    mt_core_after_fork_in_child(&core);
    IN_CHILD(mt_core_ready(&core));
    const struct mt_origin *row = &core.segment->origins.rows[origin];
    IN_CHILD(row->state == 1 && row->module == 5 && row->inherited_bytes == 3 * 16 && row->inherited_count == 3);
    IN_CHILD(!strcmp(core.segment->origins.scopes[scope], "loading"));
    IN_CHILD(mt_origin_find(&core, 5, "main", scope) == origin);
    IN_CHILD(mt_origin_find(&core, 6, "main", 0) > origin);
    static struct mt_origin_sum sums[MT_ORIGIN_MAX];
    mt_origins_sum(core.segment, core.mapped_bytes, sums);
    IN_CHILD(sums[origin].allocation_count == 0);
    _exit(0);
}

START_TEST(a_child_keeps_ids_and_what_was_live_by_origin)
{
    uint32_t scope = mt_scope_find(&core, "loading");
    unsigned origin = mt_origin_find(&core, 5, "main", scope);
    struct mt_shard *shard = mt_shard_claim(&core, 1, "main");
    struct mt_origin_counts *counts = mt_origin_counts(&core, shard, origin);
    counts->classes[0].allocation_count = 10;
    counts->classes[0].free_count = 7;
    mt_core_before_fork(&core);
    pid_t child = fork();
    if (!child) be_child(origin, scope);
    int status = 0;
    waitpid(child, &status, 0);
    ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(a_damaged_list_of_counters_ends)
{
    struct mt_shard *shard = mt_shard_claim(&core, 1, "x");
    struct mt_origin_counts *counts = mt_origin_counts(&core, shard, 1);
    static struct mt_origin_sum sums[MT_ORIGIN_MAX];
    counts->next = shard->origins; /* a ring */
    mt_origins_sum(core.segment, core.mapped_bytes, sums);
    counts->next = core.mapped_bytes - 64; /* beyond the end */
    mt_origins_sum(core.segment, core.mapped_bytes, sums);
    counts->next = 64; /* into the tables */
    mt_origins_sum(core.segment, core.mapped_bytes, sums);
    ck_assert_ptr_null(mt_origin_counts_next(core.segment, core.mapped_bytes, shard, counts));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("origin");
    TCase *tests = tcase_create("origin");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, an_origin_is_its_module_thread_and_scope);
    tcase_add_test(tests, a_long_thread_name_is_cut_the_same_way_each_time);
    tcase_add_test(tests, what_finds_no_room_is_other_and_counted);
    tcase_add_test(tests, scopes_are_found_by_name_and_told_to_the_segment_when_used);
    tcase_add_test(tests, scopes_beyond_the_table_are_none_and_counted);
    tcase_add_test(tests, threads_agree_on_ids_and_lose_no_count);
    tcase_add_test(tests, a_child_keeps_ids_and_what_was_live_by_origin);
    tcase_add_test(tests, a_damaged_list_of_counters_ends);
    suite_add_tcase(suite, tests);
    return run_suite(suite, CK_FORK_GETENV);
}
