/*
 * Own peaks of groups: between what was surely reached and what cannot have been passed, with one thread and with
 * several; and the tags that origins are given.
 */
#include "core_support.h"
#include "groups.h"
#include "origin.h"
#include "run_suite.h"
#include "shard.h"
#include "tag_file.h"
#include "tag_table.h"

#include <check.h>
#include <fnmatch.h>
#include <pthread.h>
#include <stdio.h>

enum { ORIGINS = 4, THREADS = 4 };

static struct mt_core core;
static unsigned origins[ORIGINS];
static const uint32_t modules[ORIGINS] = {1, 2, 2, 3};

static void set_up(void)
{
    set_up_core(&core);
    for (unsigned i = 0; i < ORIGINS; i++) {
        char thread[8];
        snprintf(thread, sizeof thread, "t%u", i);
        origins[i] = mt_origin_find(&core, modules[i], thread, 0);
    }
}

static void tear_down(void)
{
    tear_down_core(&core);
}

/* Counts one call as the pools do: first the origin's part, then the thread's. A class of 72 is a large block. */
static void count(struct mt_shard *shard, unsigned origin, unsigned class, bool is_free)
{
    struct mt_origin_counts *row = mt_origin_counts(&core, shard, origins[origin]);
    int64_t batch = (int64_t)core.segment->globals.batch_bytes;
    uint64_t bytes = class < MT_POOL_CLASSES ? mt_class_bytes(class) : 150000;
    shard->is_followed = 1;
    if (class < MT_POOL_CLASSES) {
        MT_ADD(*(is_free ? &row->classes[class].free_count : &row->classes[class].allocation_count), 1);
        if (!is_free) MT_ADD(row->classes[class].requested_bytes, bytes);
        mt_groups_changed(shard, row, class);
    } else {
        MT_ADD(*(is_free ? &row->large_free_count : &row->large_allocation_count), 1);
        MT_ADD(*(is_free ? &row->large_freed_bytes : &row->large_allocated_bytes), bytes);
        if (!is_free) MT_ADD(row->large_requested_bytes, bytes);
        MT_ADD(*(is_free ? &shard->free_count : &shard->allocation_count), 1);
    }
    if (!is_free) MT_ADD(shard->requested_bytes, bytes);
    if (is_free ? mt_shard_shrink(shard, bytes) : mt_shard_grow(shard, bytes, &batch)) mt_shard_flush(&core, shard);
}

/* From here on nothing waits: what is not handed over yet is. */
static void hand_over_all(struct mt_shard *shard)
{
    core.segment->globals.batch_bytes = 0;
    mt_shard_flush(&core, shard);
}

static const struct mt_group *group_of(enum mt_group_kind kind, unsigned id)
{
    return &core.segment->groups[id][kind];
}

/* What is true of an origin or of a module. */
struct truth {
    int64_t live, peak;
};

static void note(struct truth *truth, int64_t change)
{
    truth->live += change;
    if (truth->live > truth->peak) truth->peak = truth->live;
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void check_bounds(const struct truth *truth, const struct mt_group *group)
{
    ck_assert_int_eq(group->current_bytes, truth->live);
    ck_assert_int_le(group->peak_bytes, truth->peak);
    ck_assert_int_ge(group->limit_bytes, truth->peak);
}

/* Of every few hundred calls most grow or most shrink one origin, so that peaks stand out. */
static void live_at_random(uint64_t seed, unsigned classes)
{
    enum { CALLS = 60000 };
    static uint32_t blocks[ORIGINS][MT_POOL_CLASSES + 1];
    struct truth of_origin[ORIGINS] = {0}, of_module[4] = {0};
    struct mt_shard *shard = mt_shard_claim(&core, 1, "one");
    uint64_t state = seed;
    memset(blocks, 0, sizeof blocks);
    for (unsigned i = 0; i < CALLS; i++) {
        uint64_t random = next_random(&state);
        unsigned origin = random % 8 < 6 ? i / 700 % ORIGINS : (unsigned)(random >> 8) % ORIGINS;
        unsigned class = (unsigned)(random >> 16) % classes;
        if (class == MT_POOL_CLASSES && (random >> 40) % 16) class = 3;
        bool is_free = blocks[origin][class] && (random >> 32) % 8 < (i / 1900 % 2 ? 6 : 3);
        int64_t bytes = class < MT_POOL_CLASSES ? (int64_t)mt_class_bytes(class) : 150000;
        blocks[origin][class] += is_free ? -1u : 1u;
        note(&of_origin[origin], is_free ? -bytes : bytes);
        note(&of_module[modules[origin]], is_free ? -bytes : bytes);
        count(shard, origin, class, is_free);
    }
    hand_over_all(shard);
    for (unsigned i = 0; i < ORIGINS; i++) check_bounds(&of_origin[i], group_of(MT_GROUP_ORIGIN, origins[i]));
    for (unsigned i = 1; i < 4; i++) check_bounds(&of_module[i], group_of(MT_GROUP_MODULE, i));
}

START_TEST(a_peak_lies_between_its_bounds)
{
    static const unsigned classes[] = {12, 40, MT_POOL_CLASSES + 1};
    live_at_random(88172645463325252u + (uint64_t)_i, classes[_i % 3]);
}
END_TEST

START_TEST(with_every_call_flushed_the_bounds_meet)
{
    core.segment->globals.batch_bytes = 0;
    live_at_random(88172645463325252u, MT_POOL_CLASSES + 1);
    for (unsigned i = 0; i < ORIGINS; i++) {
        const struct mt_group *group = group_of(MT_GROUP_ORIGIN, origins[i]);
        ck_assert_int_eq(group->peak_bytes, group->limit_bytes);
    }
}
END_TEST

START_TEST(what_changes_alone_is_exact)
{
    struct mt_shard *shard = mt_shard_claim(&core, 1, "one");
    for (unsigned i = 0; i < 5001; i++) count(shard, 0, 5, false);
    for (unsigned i = 0; i < 4900; i++) count(shard, 0, 5, true);
    for (unsigned i = 0; i < 33; i++) count(shard, 1, MT_POOL_CLASSES, false);
    for (unsigned i = 0; i < 33; i++) count(shard, 1, MT_POOL_CLASSES, true);
    for (unsigned i = 0; i < 700; i++) count(shard, 2, 70, false);
    hand_over_all(shard);
    const int64_t true_peaks[] = {5001 * 96, 33 * 150000, 700 * (int64_t)mt_class_bytes(70)};
    for (unsigned i = 0; i < 3; i++) {
        const struct mt_group *group = group_of(MT_GROUP_ORIGIN, origins[i]);
        ck_assert_int_eq(group->peak_bytes, true_peaks[i]);
        ck_assert_int_eq(group->limit_bytes, true_peaks[i]);
        ck_assert_uint_ne(group->peak_ns, 0);
    }
    ck_assert_int_eq(shard->own_peak_bytes, 101 * 96 + 700 * (int64_t)mt_class_bytes(70));
}
END_TEST

/* An arena marks no class as used; the look finds out, also where only frees were counted. */
START_TEST(classes_that_nobody_marked_are_found)
{
    struct mt_shard *shard = mt_shard_claim(&core, 1, "one");
    struct mt_origin_counts *row = mt_origin_counts_of_site(&core, shard, origins[0], 1);
    int64_t batch = (int64_t)core.segment->globals.batch_bytes;
    mt_groups_open(shard, row);
    for (unsigned i = 0; i < 3000; i++) {
        unsigned class = i % MT_POOL_CLASSES;
        MT_ADD(row->classes[class].allocation_count, 1);
        MT_ADD(row->classes[class].requested_bytes, mt_class_bytes(class));
        MT_ADD(shard->requested_bytes, mt_class_bytes(class));
        if (mt_shard_grow(shard, mt_class_bytes(class), &batch)) mt_shard_flush(&core, shard);
    }
    hand_over_all(shard);
    ck_assert_int_eq(group_of(MT_GROUP_ORIGIN, origins[0])->current_bytes, shard->live_bytes);
    ck_assert_int_eq(group_of(MT_GROUP_ORIGIN, origins[0])->limit_bytes, shard->live_bytes);
}
END_TEST

START_TEST(the_table_of_sizes_is_that_of_classes)
{
    static struct mt_origin_counts row;
    for (unsigned class = 0; class < MT_POOL_CLASSES; class ++) {
        memset(&row, 0, sizeof row);
        row.classes[class].allocation_count = 3;
        row.classes[class].free_count = 1;
        row.classes[class].requested_bytes = 5;
        mt_groups_use(&row, class);
        struct mt_group_told told;
        struct mt_group_step step = mt_group_of_classes(&row, &told);
        ck_assert_int_eq(step.allocated, 3 * (int64_t)mt_class_bytes(class));
        ck_assert_int_eq(step.freed, (int64_t)mt_class_bytes(class));
        ck_assert_uint_eq(told.calls, 4);
        ck_assert_uint_eq(told.print, mt_group_print(5, 2 * (int64_t)mt_class_bytes(class)));
    }
}
END_TEST

/* ---- several threads -------------------------------------------------------------------- */

static pthread_barrier_t barrier;
static int64_t held[THREADS], highest[THREADS];
static int64_t true_peak;

static void *rise_and_fall(void *argument)
{
    unsigned self = (unsigned)(size_t)argument;
    struct mt_shard *shard = mt_shard_claim(&core, (int)self + 1, "t");
    for (unsigned phase = 0; phase < 6; phase++) {
        for (unsigned i = 0; i < 4000 + self * 100 + phase * 10; i++) {
            unsigned class = i % 20;
            count(shard, 3, class, phase % 2);
            held[self] += (phase % 2 ? -1 : 1) * (int64_t)mt_class_bytes(class);
            if (held[self] > highest[self]) highest[self] = held[self];
        }
        pthread_barrier_wait(&barrier);
        int64_t sum = 0;
        for (unsigned i = 0; i < THREADS; i++) sum += held[i];
        if (!self && sum > true_peak) true_peak = sum;
        pthread_barrier_wait(&barrier);
    }
    mt_shard_retire(&core, shard);
    return NULL;
}

static int64_t lag_of(enum mt_group_kind kind, unsigned id)
{
    int64_t lag = 0;
    for (unsigned i = 1; i < core.segment->shard_limit; i++) {
        uint64_t offset = core.segment->shards[i].group_parts;
        while (offset) {
            const struct mt_group_part *part = (const void *)((const char *)core.segment + offset);
            if (part->kind == kind && part->id == id) lag += part->lag_bytes;
            offset = part->next;
        }
    }
    return lag;
}

START_TEST(several_threads_stay_within_their_lag)
{
    pthread_t threads[THREADS];
    int64_t sum = 0;
    pthread_barrier_init(&barrier, NULL, THREADS);
    for (size_t i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, rise_and_fall, (void *)i);
    for (size_t i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    const struct mt_group *group = group_of(MT_GROUP_MODULE, 3);
    int64_t lag = lag_of(MT_GROUP_MODULE, 3);
    for (unsigned i = 0; i < THREADS; i++) sum += highest[i];
    ck_assert_int_gt(lag, 0);
    ck_assert_int_le(lag, THREADS * 6 * 65536);
    ck_assert_int_ge(group->peak_bytes + lag, true_peak);
    ck_assert_int_le(group->peak_bytes - lag, sum);
}
END_TEST

START_TEST(what_shares_a_shard_is_handed_over_at_once)
{
    struct mt_origin_counts *row = mt_origin_counts(&core, &core.segment->shards[0], origins[1]);
    mt_groups_add(&core, row, 1000);
    mt_groups_add(&core, row, 500);
    mt_groups_add(&core, row, -1200);
    ck_assert_int_eq(group_of(MT_GROUP_ORIGIN, origins[1])->peak_bytes, 1500);
    ck_assert_int_eq(group_of(MT_GROUP_MODULE, 2)->limit_bytes, 1500);
    ck_assert_int_eq(group_of(MT_GROUP_MODULE, 2)->current_bytes, 300);
}
END_TEST

/* ---- tags ----------------------------------------------------------------------------------- */

START_TEST(patterns_mean_what_they_mean_to_the_shell)
{
    static const char *const patterns[] = {"*",      "a*c",     "lib*.so*", "?b?",     "[abc]*", "[!a]*", "[^a]?c",
                                           "[a-c]x", "[]a]b",   "a[",       "\\*x",    "a\\*",   "",      "**b*",
                                           "x[-z]",  "*a*b*c*", "abc",      "[a-c-e]", "*?"};
    static const char *const texts[] = {"",   "abc", "libz.so.1", "xbx", "bx",  "]b",      "a[", "*x",
                                        "a*", "cx",  "x-",        "[a-", "dbc", "xaxbxcx", "-",  "e"};
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
        for (size_t k = 0; k < sizeof texts / sizeof *texts; k++)
            ck_assert_msg(mt_glob_matches(patterns[i], texts[k]) == !fnmatch(patterns[i], texts[k], 0), "%s %s",
                          patterns[i], texts[k]);
}
END_TEST

static struct mt_tag_file parse(const char *rules)
{
    static char text[4096];
    static struct mt_tag_line lines[MT_TAG_LINES];
    struct mt_tag_file file = {0};
    snprintf(text, sizeof text, "%s", rules);
    mt_tag_file_parse(&file, text, lines);
    return file;
}

START_TEST(rules_are_read)
{
    struct mt_tag_file file = parse(
        " {\"tags\" : [ {\"match\": [{\"module\":\"lib\\\"a\\\\*\", \"thread\": \"w*\"},"
        "{\"symbol\": \"x\"}], \"tag\": \"one\", \"budget\": \"64M\"},\n"
        "{\"tag\": \"two\", \"budget\": 12.5e3}, {\"tag\": \"gpu\","
        "\"match\": [{\"vulkan_name\": \"*\"}, {\"scope\": \"vk*\"}]}], \"x\": [{\"a\": null}, 1]} ");
    ck_assert_int_eq(file.state, MT_TAG_FILE_READ);
    ck_assert_uint_eq(file.count, 4);
    ck_assert_str_eq(file.lines[0].tag, "one");
    ck_assert_str_eq(file.lines[0].pattern[MT_LINE_MODULE], "lib\"a\\*");
    ck_assert_str_eq(file.lines[0].pattern[MT_LINE_THREAD], "w*");
    ck_assert_ptr_null(file.lines[0].pattern[MT_LINE_SYMBOL]);
    ck_assert_str_eq(file.lines[1].pattern[MT_LINE_SYMBOL], "x");
    ck_assert(file.lines[2].is_vulkan && !file.lines[3].is_vulkan);
    ck_assert_str_eq(file.lines[3].tag, "gpu");
}
END_TEST

START_TEST(strange_rules_are_left_to_the_collector)
{
    static const char *const rules[] = {"",
                                        "{",
                                        "[]",
                                        "{\"tags\": [{\"tag\": \"a\"}]} x",
                                        "{\"tags\": [{\"tag\": \"\\u0041\"}]}",
                                        "{\"tags\": [{\"match\": [{\"module\": \"m\"}]}]}",
                                        "{\"tags\": [{\"tag\": \"a\", \"match\": [{\"module\": 3}]}]}",
                                        "{\"tags\": [{\"tag\": \"a\" \"match\": []}]}",
                                        "{\"x\": [[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]}",
                                        "{\"tags\": [{\"tag\": \"a}]}"};
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        struct mt_tag_file file = parse(rules[i]);
        ck_assert_msg(file.state == MT_TAG_FILE_STRANGE && !file.count, "%s", rules[i]);
    }
}
END_TEST

START_TEST(origins_have_the_default_tag_of_their_module)
{
    ck_assert_uint_eq(mt_tag_table_find(&core, NULL, "main", ""), 0);
    ck_assert_uint_eq(mt_tag_table_find(&core, "/usr/lib/libstdc++.so.6", "main", ""), 0);
    ck_assert_uint_eq(mt_tag_table_find(&core, "/usr/lib/libopenal.so.1", "main", ""),
                      mt_scope_find_tag(&core, "audio"));
    ck_assert_uint_eq(mt_tag_table_find(&core, "/opt/game", "main", ""), mt_scope_find_tag(&core, "engine"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("groups");
    TCase *test_case = tcase_create("groups");
    tcase_add_checked_fixture(test_case, set_up, tear_down);
    tcase_set_timeout(test_case, 60);
    tcase_add_loop_test(test_case, a_peak_lies_between_its_bounds, 0, 12);
    tcase_add_test(test_case, with_every_call_flushed_the_bounds_meet);
    tcase_add_test(test_case, what_changes_alone_is_exact);
    tcase_add_test(test_case, classes_that_nobody_marked_are_found);
    tcase_add_test(test_case, the_table_of_sizes_is_that_of_classes);
    tcase_add_test(test_case, several_threads_stay_within_their_lag);
    tcase_add_test(test_case, what_shares_a_shard_is_handed_over_at_once);
    tcase_add_test(test_case, patterns_mean_what_they_mean_to_the_shell);
    tcase_add_test(test_case, rules_are_read);
    tcase_add_test(test_case, strange_rules_are_left_to_the_collector);
    tcase_add_test(test_case, origins_have_the_default_tag_of_their_module);
    suite_add_tcase(suite, test_case);
    return run_suite(suite, CK_FORK_GETENV);
}
