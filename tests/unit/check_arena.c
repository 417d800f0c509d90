/*
 * Arenas without the hooks: what every block promises, chunks that begin anew,
 * other threads' frees, threads that leave, what is pinned and by whom, what
 * is learned of call sites, and the rules. Each test runs in a process of its own.
 */
#include "arena.h"
#include "arena_learn.h"
#include "arena_rules.h"
#include "arena_sites.h"
#include "core_support.h"
#include "spans.h"
#include "stats.h"
#include "run_suite.h"

#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>

static struct mt_core core;
static struct mt_arena arena;
static uint64_t random_state = 1;

enum { ROOM = MT_SLICE_BYTES - MT_ARENA_HEAD };

static void set_up(void)
{
    setenv("MEMTRACK_ARENA", "auto", 1);
    setenv("MEMTRACK_ARENA_PIN", "256K", 1);
    setenv("MEMTRACK_ARENA_SITES", "module:libgame.so*&thread:render-?,symbol:frame_*", 1);
    set_up_core(&core);
    mt_arena_sites_start(&core);
    mt_arena_sites_publish(&core);
    memset(&arena, 0, sizeof arena);
    arena.owner = 7;
}

static void tear_down(void)
{
    tear_down_core(&core);
}

static size_t random_below(size_t bound)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (size_t)(random_state >> 33) % bound;
}

static uint32_t bytes_of(unsigned class)
{
    return (uint32_t)mt_class_bytes(class);
}

static void *take_in(struct mt_arena *from, unsigned class, unsigned site)
{
    void *block = mt_arena_take(from, class, bytes_of(class), site);
    if (block) return block;
    ck_assert(mt_arena_turn(from, 0));
    return mt_arena_take(from, class, bytes_of(class), site);
}

static unsigned class_at(const void *block)
{
    return mt_arena_cell_class(mt_arena_look(block));
}

static void give(void *block)
{
    mt_arena_give(&arena, block, bytes_of(class_at(block)));
}

static uint64_t chunk_count(void)
{
    return atomic_load(&mt_pools_stats.arena_chunk_count);
}

/* ---- blocks -------------------------------------------------------------------- */

START_TEST(blocks_keep_what_is_written_and_their_class_whatever_comes_and_goes)
{
    enum { COUNT = 3000 };
    static unsigned char *blocks[COUNT];
    static unsigned classes[COUNT];
    for (unsigned step = 0; step < 300000; step++) {
        size_t i = random_below(COUNT);
        if (!blocks[i]) {
            classes[i] = mt_class_of(1 + random_below((size_t)1 << random_below(14)));
            blocks[i] = take_in(&arena, classes[i], (unsigned)(i % 255 + 1));
            ck_assert_uint_eq((uintptr_t)blocks[i] % 16, 0);
            memset(blocks[i], (int)(i % 255), bytes_of(classes[i]));
            continue;
        }
        ck_assert_uint_eq(class_at(blocks[i]), classes[i]);
        ck_assert_uint_eq(mt_arena_cell_site(mt_arena_look(blocks[i])), i % 255 + 1);
        ck_assert_uint_eq(blocks[i][0], i % 255);
        ck_assert_uint_eq(blocks[i][bytes_of(classes[i]) - 1], i % 255);
        unsigned class = mt_class_of(1 + random_below(MT_ARENA_MAX));
        if (step % 4 == 0 && mt_arena_resize(&arena, blocks[i], bytes_of(classes[i]), class, bytes_of(class))) {
            classes[i] = class;
            memset(blocks[i], (int)(i % 255), bytes_of(class));
        } else {
            give(blocks[i]);
            blocks[i] = NULL;
        }
    }
    for (unsigned i = 0; i < COUNT; i++)
        if (blocks[i]) give(blocks[i]);
    mt_arena_trim(&arena);
    ck_assert_uint_eq(chunk_count(), 0);
    ck_assert_uint_eq(atomic_load(&mt_pools_stats.arena_pinned_bytes), 0);
}
END_TEST

START_TEST(a_burst_begins_again_in_the_same_chunks)
{
    enum { COUNT = 20000 };
    static void *blocks[COUNT];
    uint64_t most = 0;
    for (unsigned round = 0; round < 50; round++) {
        for (unsigned i = 0; i < COUNT; i++) blocks[i] = take_in(&arena, mt_class_of(100), 1);
        if (!round) most = chunk_count();
        ck_assert_uint_le(chunk_count(), most + 1);
        for (unsigned i = 0; i < COUNT; i++) give(blocks[i]);
    }
    ck_assert_uint_ge(most, COUNT * 112 / MT_SLICE_BYTES);
    ck_assert_uint_gt(atomic_load(&mt_pools_stats.arena_reuse_count), 40 * (most - 1));
}
END_TEST

START_TEST(the_newest_block_gives_its_place_back)
{
    void *first = take_in(&arena, mt_class_of(64), 1), *second = take_in(&arena, mt_class_of(64), 1);
    give(second);
    ck_assert_ptr_eq(take_in(&arena, mt_class_of(1000), 1), second);
    ck_assert(mt_arena_resize(&arena, second, bytes_of(mt_class_of(1000)), mt_class_of(3000), 3072));
    ck_assert_uint_eq(class_at(second), mt_class_of(3000));
    ck_assert(!mt_arena_resize(&arena, first, 64, mt_class_of(128), 128));
    give(second);
    give(first);
    ck_assert_ptr_eq(take_in(&arena, mt_class_of(64), 1), first);
}
END_TEST

START_TEST(blocks_lie_at_the_alignment_asked_for)
{
    for (unsigned i = 0; i < 1000; i++) {
        size_t alignment = (size_t)16 << i % 10;
        unsigned class = mt_class_of(alignment < 32 ? 48 : alignment);
        void *block = mt_arena_take_aligned(&arena, alignment, class, bytes_of(class), 1);
        if (!block) {
            ck_assert(mt_arena_turn(&arena, 0));
            block = mt_arena_take_aligned(&arena, alignment, class, bytes_of(class), 1);
        }
        ck_assert_ptr_nonnull(block);
        ck_assert_uint_eq((uintptr_t)block % alignment, 0);
        ck_assert_uint_eq(class_at(block), class);
    }
}
END_TEST

START_TEST(only_live_blocks_are_found)
{
    char *block = take_in(&arena, mt_class_of(64), 3);
    ck_assert_uint_eq(mt_arena_cell_site(mt_arena_look(block)), 3);
    for (unsigned i = 1; i < 64; i++) ck_assert_uint_eq(mt_arena_look(block + i), 0);
    ck_assert_uint_eq(mt_arena_look(mt_arena_chunk_of(block)), 0);
    ck_assert_uint_eq(mt_arena_look((char *)mt_arena_chunk_of(block) + 320), 0);
    give(block);
    ck_assert_uint_eq(mt_arena_look(block), 0);
}
END_TEST

/* ---- threads ---------------------------------------------------------------------- */

enum { QUEUE = 4096, HANDED = 400000 };
static void *_Atomic queue[QUEUE];

static void *free_all(void *unused)
{
    for (unsigned i = 0; i < HANDED; i++) {
        void *block;
        while (!(block = atomic_exchange(&queue[i % QUEUE], NULL))) sched_yield();
        ck_assert_uint_eq(*(unsigned char *)block, i % 251);
        mt_arena_give_remote(block);
    }
    return unused;
}

START_TEST(what_other_threads_free_is_used_again)
{
    pthread_t thread;
    pthread_create(&thread, NULL, free_all, NULL);
    for (unsigned i = 0; i < HANDED; i++) {
        unsigned char *block = take_in(&arena, mt_class_of(16 + i % 300), 1), *own = take_in(&arena, 3, 1);
        *block = (unsigned char)(i % 251);
        while (queue[i % QUEUE]) sched_yield();
        atomic_store(&queue[i % QUEUE], block);
        give(own);
    }
    pthread_join(thread, NULL);
    ck_assert_uint_lt(chunk_count(), 60); /* of about 1,200 that were filled */
    mt_arena_trim(&arena);
    ck_assert_uint_eq(chunk_count(), 0);
}
END_TEST

START_TEST(a_chunk_that_its_thread_left_goes_with_its_last_block)
{
    enum { COUNT = 5000 };
    static void *blocks[COUNT];
    for (unsigned i = 0; i < COUNT; i++) blocks[i] = take_in(&arena, mt_class_of(200), 1);
    for (unsigned i = 0; i < COUNT; i += 2) give(blocks[i]);
    for (unsigned i = 1; i < COUNT; i += 4) mt_arena_give_remote(blocks[i]);
    uint64_t before = chunk_count();
    mt_arena_leave(&arena);
    ck_assert_uint_eq(chunk_count(), before);
    ck_assert(!mt_arena_owns(&arena, blocks[3]));
    for (unsigned i = 3; i < COUNT; i += 4) {
        ck_assert_uint_eq(class_at(blocks[i]), mt_class_of(200));
        mt_arena_give_remote(blocks[i]);
    }
    ck_assert_uint_eq(chunk_count(), 0);
    ck_assert_ptr_nonnull(take_in(&arena, 0, 1)); /* it can go on */
}
END_TEST

static pthread_barrier_t barrier;
static void *left[3000];

static void *free_while_leaving(void *unused)
{
    for (unsigned round = 0; round < 300; round++) {
        pthread_barrier_wait(&barrier);
        for (unsigned i = 0; i < 3000; i++) mt_arena_give_remote(left[i]);
        pthread_barrier_wait(&barrier);
    }
    return unused;
}

START_TEST(leaving_and_the_last_free_may_meet)
{
    pthread_t thread;
    pthread_barrier_init(&barrier, NULL, 2);
    pthread_create(&thread, NULL, free_while_leaving, NULL);
    for (unsigned round = 0; round < 300; round++) {
        for (unsigned i = 0; i < 3000; i++) left[i] = take_in(&arena, mt_class_of(100), 1);
        pthread_barrier_wait(&barrier);
        mt_arena_leave(&arena);
        pthread_barrier_wait(&barrier);
        ck_assert_uint_eq(chunk_count(), 0);
    }
    pthread_join(thread, NULL);
}
END_TEST

/* ---- what is pinned ------------------------------------------------------------------- */

START_TEST(a_site_that_keeps_few_blocks_is_accounted_and_demoted)
{
    enum { KEPT = 200 };
    static void *kept[KEPT];
    static void *short_lived[64];
    unsigned site = mt_arena_site_of(0x1000, 5, "render-1", "/opt/game/libgame.so.2"), count = 0;
    ck_assert_uint_eq(site, 1);
    ck_assert_uint_eq(mt_arena_site_origin(site), 5);
    for (unsigned round = 0; count < KEPT && mt_arena_site_is_in(site); round++) {
        for (unsigned i = 0; i < 64; i++) short_lived[i] = take_in(&arena, mt_class_of(1000), 2);
        kept[count++] = take_in(&arena, mt_class_of(32), site);
        for (unsigned i = 0; i < 64; i++) give(short_lived[i]);
    }
    ck_assert_uint_lt(count, KEPT);
    ck_assert_uint_gt(atomic_load(&mt_pools_stats.arena_pinned_bytes), 256 << 10);
    ck_assert_uint_lt(atomic_load(&mt_pools_stats.arena_pinned_bytes), 512 << 10);
    ck_assert_uint_eq(mt_arena_site_of(0x1000, 5, "render-1", "libgame.so.2"), 0);
    ck_assert_uint_eq(atomic_load(&mt_pools_stats.arena_demotion_count), 1);
    for (unsigned i = 0; i < count; i++) give(kept[i]);
    ck_assert_uint_eq(atomic_load(&mt_pools_stats.arena_pinned_bytes), 0);
    mt_arena_trim(&arena);
    ck_assert_uint_eq(chunk_count(), 0);
}
END_TEST

START_TEST(the_segment_shows_the_sites)
{
    ck_assert_uint_eq(atomic_load(&core.segment->pools.arena_sites), 0);
    ck_assert_uint_eq(mt_arena_site_of(0x2000, 9, "main", "libgame.so"), 0);
    ck_assert_uint_eq(mt_arena_site_of(0x2000, 9, "render-2", "libgame.so"), 1);
    ck_assert_uint_eq(mt_arena_site_of(0x2000, 10, "render-2", "libgame.so"), 2);
    ck_assert_uint_eq(mt_arena_site_of(0x2000, 9, "render-2", "libgame.so"), 1);
    const struct mt_arena_site *rows = (const void *)((const char *)core.segment +
                                                      atomic_load(&core.segment->pools.arena_sites));
    ck_assert_uint_eq(rows[1].address, 0x2000);
    ck_assert_uint_eq(rows[2].origin, 10);
    ck_assert_uint_eq(rows[2].state, MT_ARENA_SITE_NAMED);
    mt_arena_site_pinned(2, 1000);
    ck_assert_uint_eq(rows[2].pinned_bytes, 1000);
    mt_arena_site_pinned(2, -1000);
    ck_assert_uint_eq(rows[2].pinned_bytes, 0);
}
END_TEST

/* ---- learning --------------------------------------------------------------------------- */

static const struct mt_arena_life young = {.is_own_thread = true, .bytes = 2000000};
static const struct mt_arena_life at_once = {.is_own_thread = true, .bytes = 1000};
static const struct mt_arena_life old = {.is_own_thread = true, .bytes = 5 << 20};

enum { WINDOWS = 3 }; /* that must be good */

static void live_and_die(uintptr_t address, unsigned count, unsigned old_one_in)
{
    for (unsigned i = 0; i < count; i++) {
        uint16_t serial = mt_arena_sample_born(address, 100);
        mt_arena_sample_died(address, serial, old_one_in && i % old_one_in == 0 ? &old : &young);
    }
}

START_TEST(a_site_is_learned_when_all_its_samples_die_young)
{
    live_and_die(0x3000, WINDOWS * MT_ARENA_WINDOW - 1, 0);
    ck_assert_uint_eq(mt_arena_site_of(0x3000, 1, "t", "m"), 0);
    live_and_die(0x3000, 1, 0);
    ck_assert_uint_eq(atomic_load(&mt_pools_stats.arena_promotion_count), 1);
    unsigned site = mt_arena_site_of(0x3000, 1, "t", "m");
    ck_assert_uint_ne(site, 0);
    live_and_die(0x4000, 10 * MT_ARENA_WINDOW, 30);
    ck_assert_uint_eq(mt_arena_site_of(0x4000, 1, "t", "m"), 0);
    live_and_die(0x3000, 10 * MT_ARENA_WINDOW, 60); /* one in 60 is too much to be taken up, but not to stay */
    ck_assert_uint_eq(mt_arena_site_of(0x3000, 1, "t", "m"), site);
    live_and_die(0x3000, 2 * MT_ARENA_WINDOW, 10);
    ck_assert_uint_eq(mt_arena_site_of(0x3000, 1, "t", "m"), 0);
    live_and_die(0x3000, 2 * MT_ARENA_WINDOW, 0); /* not again for a while */
    ck_assert_uint_eq(mt_arena_site_of(0x3000, 1, "t", "m"), 0);
}
END_TEST

START_TEST(one_good_window_after_bad_ones_is_not_enough)
{
    for (unsigned i = 0; i < 20; i++) { /* every third window would pass */
        live_and_die(0x3000, MT_ARENA_WINDOW, MT_ARENA_WINDOW);
        if (i % 2) live_and_die(0x3000, MT_ARENA_WINDOW, 0);
    }
    ck_assert_uint_eq(mt_arena_site_of(0x3000, 1, "t", "m"), 0);
    live_and_die(0x3000, 7 * MT_ARENA_WINDOW, 0);
    ck_assert_uint_ne(mt_arena_site_of(0x3000, 1, "t", "m"), 0);
}
END_TEST

START_TEST(blocks_that_die_at_once_stay_with_the_slabs)
{
    for (unsigned i = 0; i < 10 * MT_ARENA_WINDOW; i++)
        mt_arena_sample_died(0x3000, mt_arena_sample_born(0x3000, 100), &at_once);
    ck_assert_uint_eq(mt_arena_site_of(0x3000, 1, "t", "m"), 0);
    live_and_die(0x3000, WINDOWS * MT_ARENA_WINDOW, 0);
    ck_assert_uint_ne(mt_arena_site_of(0x3000, 1, "t", "m"), 0);
    for (unsigned i = 0; i < 2 * MT_ARENA_WINDOW; i++)
        mt_arena_sample_died(0x3000, mt_arena_sample_born(0x3000, 100), &at_once);
    ck_assert_uint_eq(mt_arena_site_of(0x3000, 1, "t", "m"), 0);
}
END_TEST

START_TEST(a_window_waits_for_blocks_that_may_still_die_young)
{
    struct mt_arena_window window = {0};
    struct mt_arena_now now = {.ns = 1000, .frame = 10};
    for (unsigned i = 0; i < MT_ARENA_WINDOW; i++) {
        uint16_t serial = mt_arena_window_born(&window, &now);
        ck_assert_uint_ne(serial, 0);
        if (i) mt_arena_window_died(&window, serial, true, 1 << 20);
    }
    ck_assert_uint_eq(mt_arena_window_born(&window, &now), 0);
    now.frame = 11;
    ck_assert_int_eq(mt_arena_window_judge(&window, false, &now), MT_ARENA_OPEN);
    now.frame = 12;
    ck_assert_int_eq(mt_arena_window_judge(&window, false, &now), MT_ARENA_LIVES_ON);
    ck_assert_uint_ne(mt_arena_window_born(&window, &now), 0);
}
END_TEST

START_TEST(a_window_forgets_blocks_of_the_one_before)
{
    struct mt_arena_window window = {0};
    struct mt_arena_now now = {.ns = 1000};
    uint16_t first = mt_arena_window_born(&window, &now);
    for (unsigned i = 0; i < 2; i++) mt_arena_window_died(&window, mt_arena_window_born(&window, &now), false, 0);
    ck_assert_int_eq(mt_arena_window_judge(&window, false, &now), MT_ARENA_LIVES_ON);
    mt_arena_window_died(&window, first, true, 1 << 20);
    ck_assert_uint_eq(window.young, 0);
    ck_assert_uint_ne(mt_arena_window_born(&window, &now), first);
}
END_TEST

START_TEST(young_is_a_frame_or_a_short_distance_on_the_own_thread)
{
    struct mt_arena_life life = {.has_frames = true, .frames = 1};
    ck_assert(mt_arena_is_young(&life));
    life.frames = 2;
    ck_assert(!mt_arena_is_young(&life));
    ck_assert(mt_arena_is_young(&young));
    ck_assert(!mt_arena_is_young(&old));
    life = (struct mt_arena_life){.is_own_thread = false};
    ck_assert(!mt_arena_is_young(&life));
}
END_TEST

START_TEST(more_addresses_than_places_do_not_push_out_what_is_taken_up)
{
    live_and_die(0x3000, WINDOWS * MT_ARENA_WINDOW, 0);
    for (uintptr_t i = 0; i < 100000; i++) live_and_die(0x100000 + i * 5, 1, 0);
    ck_assert_uint_ne(mt_arena_site_of(0x3000, 1, "t", "m"), 0);
    live_and_die(0x5000, WINDOWS * MT_ARENA_WINDOW, 0);
    ck_assert_uint_ne(mt_arena_site_of(0x5000, 1, "t", "m"), 0);
}
END_TEST

START_TEST(sites_beyond_the_table_are_counted)
{
    for (uint32_t origin = 1; origin < MT_ARENA_SITE_MAX; origin++)
        ck_assert_uint_eq(mt_arena_site_of(0x2000, origin, "render-2", "libgame.so"), origin);
    ck_assert_uint_eq(mt_arena_site_of(0x2000, 1000, "render-2", "libgame.so"), 0);
    ck_assert_uint_eq(atomic_load(&mt_pools_stats.arena_lost_site_count), 1);
}
END_TEST

/* ---- rules ------------------------------------------------------------------------------- */

static unsigned mistakes;
static char last_mistake[200];

static void note(const char *rule, int length, const char *mistake)
{
    mistakes++;
    mt_format(last_mistake, sizeof last_mistake, "%s", mistake);
    ck_assert_int_le(length, (int)strlen(rule));
}

START_TEST(every_mistake_in_the_rules_is_told_and_the_rest_works)
{
    static const char *const wrong[] = {"x",         "module:",           "module:a&",  "thread:a&thread:b",
                                        "module:/a", "module:a,,",        "modul:a",    " module:a",
                                        "module:a&", "symbol:f&module:/", "thread:a,x", ","};
    static const unsigned counts[] = {1, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1, 2};
    struct mt_arena_rules rules;
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        mistakes = 0;
        mt_arena_rules_parse(&rules, wrong[i], note);
        ck_assert_msg(mistakes == counts[i], "\"%s\": %u mistakes", wrong[i], mistakes);
    }
    mistakes = 0;
    mt_arena_rules_parse(&rules, "", note);
    ck_assert_uint_eq(rules.count + mistakes, 0);
    mt_arena_rules_parse(&rules, "what,thread:w*", note);
    ck_assert_uint_eq(rules.count, 1);
    struct mt_arena_caller caller = {.names = {"", "worker", ""}};
    ck_assert_uint_eq(mt_arena_rules_match(&rules, &caller), 1);
    caller.names[MT_ARENA_THREAD] = "main";
    ck_assert_uint_eq(mt_arena_rules_match(&rules, &caller), 0);
}
END_TEST

START_TEST(patterns_match_like_a_shell)
{
    static const struct {
        const char *glob, *text;
        bool matches;
    } cases[] = {{"*", "", true},
                 {"a*b*c", "axxbxxc", true},
                 {"a*b*c", "axxbxx", false},
                 {"?", "", false},
                 {"lib?.so*", "liba.so.1", true},
                 {"*a", "aaab", false},
                 {"*ab", "aab", true},
                 {"", "", true},
                 {"abc", "abcd", false},
                 {"a**c", "abc", true}};
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++)
        ck_assert_msg(mt_arena_glob_matches(cases[i].glob, cases[i].text) == cases[i].matches, "%s on %s",
                      cases[i].glob, cases[i].text);
}
END_TEST

START_TEST(exported_functions_are_found_by_address)
{
    ck_assert(mt_arena_glob_matches("*sched_yield", mt_arena_symbol_of((uintptr_t)&sched_yield + 2)));
    ck_assert_str_eq(mt_arena_symbol_of(0x1000), "");
    ck_assert_str_eq(mt_arena_symbol_of((uintptr_t)&core), "");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("arena");
    TCase *cases = tcase_create("arena");
    tcase_set_timeout(cases, 120);
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, blocks_keep_what_is_written_and_their_class_whatever_comes_and_goes);
    tcase_add_test(cases, a_burst_begins_again_in_the_same_chunks);
    tcase_add_test(cases, the_newest_block_gives_its_place_back);
    tcase_add_test(cases, blocks_lie_at_the_alignment_asked_for);
    tcase_add_test(cases, only_live_blocks_are_found);
    tcase_add_test(cases, what_other_threads_free_is_used_again);
    tcase_add_test(cases, a_chunk_that_its_thread_left_goes_with_its_last_block);
    tcase_add_test(cases, leaving_and_the_last_free_may_meet);
    tcase_add_test(cases, a_site_that_keeps_few_blocks_is_accounted_and_demoted);
    tcase_add_test(cases, the_segment_shows_the_sites);
    tcase_add_test(cases, a_site_is_learned_when_all_its_samples_die_young);
    tcase_add_test(cases, one_good_window_after_bad_ones_is_not_enough);
    tcase_add_test(cases, blocks_that_die_at_once_stay_with_the_slabs);
    tcase_add_test(cases, a_window_waits_for_blocks_that_may_still_die_young);
    tcase_add_test(cases, a_window_forgets_blocks_of_the_one_before);
    tcase_add_test(cases, young_is_a_frame_or_a_short_distance_on_the_own_thread);
    tcase_add_test(cases, more_addresses_than_places_do_not_push_out_what_is_taken_up);
    tcase_add_test(cases, sites_beyond_the_table_are_counted);
    tcase_add_test(cases, every_mistake_in_the_rules_is_told_and_the_rest_works);
    tcase_add_test(cases, patterns_match_like_a_shell);
    tcase_add_test(cases, exported_functions_are_found_by_address);
    suite_add_tcase(suite, cases);
    return run_suite(suite, CK_FORK_GETENV);
}
