/*
 * Scopes, tags and their pairs: one number for each whoever asks, told when
 * they find no room; and the tags that a thread is inside of.
 */
#include "core_support.h"
#include "origin.h"
#include "scope.h"
#include "run_suite.h"

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { THREADS = 8, NAMES = 100 };

static struct mt_core core;

static void set_up(void)
{
    set_up_core(&core);
}

static void tear_down(void)
{
    tear_down_core(&core);
}

START_TEST(a_tag_and_a_scope_of_one_name_are_two_things)
{
    uint32_t scope = mt_scope_find(&core, "vkCreateImage"), tag = mt_scope_find_tag(&core, "vkCreateImage");
    ck_assert_uint_ne(scope, tag);
    ck_assert_uint_eq(mt_scope_find(&core, "vkCreateImage"), scope);
    ck_assert_uint_eq(mt_scope_find_tag(&core, "vkCreateImage"), tag);
    ck_assert_uint_eq(mt_scope_parts(&core, scope).scope, scope);
    ck_assert_uint_eq(mt_scope_parts(&core, scope).tag, 0);
    ck_assert_uint_eq(mt_scope_parts(&core, tag).tag, tag);
    ck_assert_uint_eq(mt_scope_parts(&core, tag).scope, 0);
}
END_TEST

START_TEST(only_names_that_were_given_are_known)
{
    ck_assert_uint_eq(mt_scope_known_tag(&core, "loading"), 0);
    uint32_t scope = mt_scope_find(&core, "loading");
    ck_assert_uint_ne(scope, 0);
    ck_assert_uint_eq(mt_scope_known_tag(&core, "loading"), 0);
    uint32_t tag = mt_scope_find_tag(&core, "loading");
    ck_assert_uint_eq(mt_scope_known_tag(&core, "loading"), tag);
}
END_TEST

START_TEST(names_of_all_lengths_are_told_apart)
{
    char name[MT_SCOPE_BYTES] = "";
    uint32_t numbers[MT_SCOPE_BYTES];
    for (unsigned length = 1; length < MT_SCOPE_BYTES; length++) {
        memset(name, 'x', length);
        numbers[length] = mt_scope_find_tag(&core, name);
        name[length / 2] = 'y';
        uint32_t other = mt_scope_find_tag(&core, name);
        ck_assert_uint_ne(other, numbers[length]);
        for (unsigned i = 1; i < length; i++) ck_assert_uint_ne(numbers[i], numbers[length]);
    }
    ck_assert_uint_eq(core.segment->dropped[MT_DROPPED_NAMES], 0);
}
END_TEST

START_TEST(a_long_name_is_cut_between_characters_and_counted_once)
{
    char name[80];
    memset(name, 'a', sizeof name);
    memcpy(name + 54, "\xc3\xa4", 2); /* its second byte has no room */
    name[79] = 0;
    uint32_t tag = mt_scope_find_tag(&core, name);
    ck_assert_uint_eq(mt_scope_find_tag(&core, name), tag);
    name[60] = 'b';
    ck_assert_uint_eq(mt_scope_find_tag(&core, name), tag);
    ck_assert_uint_eq(strlen(core.scopes[tag].name), 54);
    ck_assert_uint_eq(core.segment->dropped[MT_DROPPED_NAMES], 1);
}
END_TEST

START_TEST(a_context_is_a_pair_and_an_origin_has_both)
{
    uint32_t image = mt_scope_find(&core, "vkCreateImage"), buffer = mt_scope_find(&core, "vkCreateBuffer"),
             tag = mt_scope_find_tag(&core, "terrain");
    uint32_t context = mt_scope_context(&core, tag, image);
    ck_assert_uint_ge(context, MT_SCOPE_MAX);
    ck_assert_uint_eq(mt_scope_context(&core, tag, image), context);
    ck_assert_uint_ne(mt_scope_context(&core, tag, buffer), context);
    ck_assert_uint_eq(mt_scope_parts(&core, context).tag, tag);
    ck_assert_uint_eq(mt_scope_parts(&core, context).scope, image);
    ck_assert_uint_eq(mt_scope_context(&core, tag, 0), tag);
    ck_assert_uint_eq(mt_scope_context(&core, 0, image), image);
    ck_assert_uint_eq(mt_scope_context(&core, 0, 0), 0);

    unsigned origin = mt_origin_find(&core, 1, "main", context);
    ck_assert_uint_ne(mt_origin_find(&core, 1, "main", image), origin);
    ck_assert_uint_ne(mt_origin_find(&core, 1, "main", tag), origin);
    ck_assert_uint_eq(core.segment->origins.rows[origin].tag, tag);
    ck_assert_uint_eq(core.segment->origins.rows[origin].scope, image);
    ck_assert_str_eq(core.segment->origins.scopes[tag], "terrain");
    ck_assert_str_eq(core.segment->origins.scopes[image], "vkCreateImage");
}
END_TEST

START_TEST(what_finds_no_room_has_no_tag_or_no_scope_and_is_counted)
{
    char name[32];
    for (unsigned i = 1; i < MT_SCOPE_MAX; i++) {
        snprintf(name, sizeof name, "tag %u", i);
        ck_assert_uint_eq(mt_scope_find_tag(&core, name), i);
    }
    ck_assert_uint_eq(mt_scope_find_tag(&core, "one more"), 0);
    ck_assert_uint_eq(mt_scope_find_tag(&core, "tag 300"), 300);
    ck_assert_uint_eq(core.segment->dropped[MT_DROPPED_TAGS], 1);
    unsigned pairs = 0;
    for (unsigned i = 0; i < 2 * MT_CONTEXT_PAIRS; i++) {
        uint32_t tag = 1 + i % 500, context = mt_scope_context(&core, tag, 1 + i / 500);
        struct mt_scope_parts parts = mt_scope_parts(&core, context);
        ck_assert_uint_eq(parts.tag, tag);
        pairs += context >= MT_SCOPE_MAX;
        if (context >= MT_SCOPE_MAX) ck_assert_uint_eq(parts.scope, 1 + i / 500);
    }
    ck_assert_uint_le(pairs, MT_CONTEXT_PAIRS);
    ck_assert_uint_eq(core.segment->dropped[MT_DROPPED_TAGS], 1 + 2 * MT_CONTEXT_PAIRS - pairs);
}
END_TEST

static uint32_t found[THREADS][NAMES], paired[THREADS][NAMES];
static _Atomic unsigned waiting;

static void *find_all(void *argument)
{
    size_t self = (size_t)argument;
    char name[32];
    waiting++;
    while (waiting < THREADS)
        ;
    for (unsigned i = 0; i < NAMES; i++) {
        unsigned at = (i * 7 + (unsigned)self * 13) % NAMES;
        snprintf(name, sizeof name, "a name of some length %u", at / 2);
        found[self][at] = at % 2 ? mt_scope_find_tag(&core, name) : mt_scope_find(&core, name);
        paired[self][at] = mt_scope_context(&core, 1 + at, 1 + at / 10);
    }
    return NULL;
}

START_TEST(threads_agree_on_numbers)
{
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, find_all, (void *)i);
    for (size_t i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    for (unsigned at = 0; at < NAMES; at++) {
        ck_assert_uint_ne(found[0][at], 0);
        for (unsigned i = 1; i < THREADS; i++) {
            ck_assert_uint_eq(found[i][at], found[0][at]);
            ck_assert_uint_eq(paired[i][at], paired[0][at]);
        }
        for (unsigned other = 0; other < at; other++) {
            ck_assert_uint_ne(found[0][other], found[0][at]);
            ck_assert_uint_ne(paired[0][other], paired[0][at]);
        }
    }
}
END_TEST

START_TEST(tags_nest_and_come_back_in_order)
{
    struct mt_tag_stack *stack = mt_tag_stack_make(&core);
    ck_assert(!mt_tag_stack_pop(stack));
    ck_assert_uint_eq(mt_tag_stack_top(stack), 0);
    for (uint32_t i = 1; i <= MT_TAG_DEPTH; i++) ck_assert(mt_tag_stack_push(stack, i));
    ck_assert(!mt_tag_stack_push(stack, 7)); /* the last one that had room stays in force */
    ck_assert_uint_eq(mt_tag_stack_top(stack), MT_TAG_DEPTH);
    ck_assert(mt_tag_stack_pop(stack));
    for (uint32_t i = MT_TAG_DEPTH; i; i--) {
        ck_assert_uint_eq(mt_tag_stack_top(stack), i);
        ck_assert(mt_tag_stack_pop(stack));
    }
    ck_assert(!mt_tag_stack_pop(stack));
    mt_tag_stack_drop(&core, stack);
}
END_TEST

static uint32_t tag_here;
static uint32_t ask(void)
{
    return tag_here;
}

START_TEST(the_tag_in_force_is_told_to_the_segment)
{
    ck_assert_uint_eq(mt_scope_tag_told(&core), 0);
    tag_here = mt_scope_find_tag(&core, "audio");
    core.tag_in_force = ask;
    ck_assert_str_eq(core.segment->origins.scopes[tag_here], "");
    ck_assert_uint_eq(mt_scope_tag_told(&core), tag_here);
    ck_assert_str_eq(core.segment->origins.scopes[tag_here], "audio");
}
END_TEST

START_TEST(a_budget_is_told_with_the_name_also_to_the_next_segment)
{
    ck_assert(mt_scope_set_budget(&core, "audio", 1000));
    uint32_t tag = mt_scope_known_tag(&core, "audio");
    ck_assert_uint_eq(core.segment->origins.budgets[tag], 1000);
    ck_assert_str_eq(core.segment->origins.scopes[tag], "audio");
    ck_assert(mt_scope_set_budget(&core, "audio", 2000));
    ck_assert_uint_eq(core.segment->origins.budgets[tag], 2000);
    memset(&core.segment->origins, 0, sizeof core.segment->origins); /* as if it were new */
    core.epoch++;
    mt_scope_tell(&core, tag);
    ck_assert_uint_eq(core.segment->origins.budgets[tag], 2000);
    ck_assert(mt_scope_set_budget(&core, "audio", 0));
    ck_assert_uint_eq(core.segment->origins.budgets[tag], 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("scope");
    TCase *tests = tcase_create("scopes");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, a_tag_and_a_scope_of_one_name_are_two_things);
    tcase_add_test(tests, only_names_that_were_given_are_known);
    tcase_add_test(tests, names_of_all_lengths_are_told_apart);
    tcase_add_test(tests, a_long_name_is_cut_between_characters_and_counted_once);
    tcase_add_test(tests, a_context_is_a_pair_and_an_origin_has_both);
    tcase_add_test(tests, what_finds_no_room_has_no_tag_or_no_scope_and_is_counted);
    tcase_add_test(tests, threads_agree_on_numbers);
    tcase_add_test(tests, tags_nest_and_come_back_in_order);
    tcase_add_test(tests, the_tag_in_force_is_told_to_the_segment);
    tcase_add_test(tests, a_budget_is_told_with_the_name_also_to_the_next_segment);
    suite_add_tcase(suite, tests);
    return run_suite(suite, CK_FORK_GETENV);
}
