/* The trail against walks from anew: whatever it finds is the stack that stands there, and it finds what it met. */
#include "core_support.h"
#include "stack.h"
#include "stack_own.h"
#include "trail.h"
#include "walk.h"
#include "run_suite.h"

#include <alloca.h>
#include <check.h>
#include <ucontext.h>

static struct mt_core core;
static struct mt_walker *walker, *fresh;
static unsigned found_count, walked_count;
static uint64_t random_state = 1;
static unsigned shapes; /* how many of the shapes below are drawn from */
static volatile int sink;

static void set_up(void)
{
    setenv("MEMTRACK_STACKS", "all", 1);
    set_up_core(&core);
    ck_assert(mt_stack_ready(&core));
    walker = mt_walker_take(&core);
    fresh = mt_walker_take(&core);
    ck_assert(mt_stack_own_begin(&core, walker));
    found_count = walked_count = 0;
    shapes = 4;
}

static void tear_down(void)
{
    mt_walker_give_back(&core, walker);
    mt_walker_give_back(&core, fresh);
    tear_down_core(&core);
}

static unsigned draw(unsigned limit)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(random_state >> 33) % limit;
}

/* As for a block: by the trail, else by a walk that it is told of. The record must be that of a walk from nothing.
 */
static __attribute__((noinline)) void allocate(void)
{
    const uintptr_t *own = __builtin_frame_address(0);
    struct mt_stack *record = mt_trail_find(&core, walker, own);
    found_count += record != NULL;
    if (!record) {
        walked_count++;
        record = mt_stack_own_walk(&core, walker, own, 0, 0);
    }
    ck_assert_ptr_nonnull(record);
    fresh->count = fresh->trusted_count = 0;
    fresh->tag = walker->tag;
    ck_assert_uint_ge(mt_walk_from(&core, fresh, own, 0, 0), 1);
    ck_assert_uint_eq(record->id, mt_stack_of_walk(&core, fresh));
    __asm__ volatile("" : : "r"(own) : "memory"); /* the frame stays until here */
}

/* ---- functions of many shapes ------------------------------------------------------------ */

static void visit(unsigned depth);

static __attribute__((noinline)) void visit_small(unsigned depth)
{
    visit(depth);
    sink++;
}

static __attribute__((noinline)) void visit_large(unsigned depth)
{
    volatile char room[300];
    room[draw(300)] = 1;
    visit(depth);
    sink += room[7];
}

/* Its frame has no fixed size, so that its callers are found by the frame pointer. */
static __attribute__((noinline)) void visit_varying(unsigned depth)
{
    volatile char *room = alloca(16 + 16 * draw(3));
    room[0] = 1;
    visit(depth);
    sink += room[0];
}

static __attribute__((noinline)) void visit_twice(unsigned depth)
{
    visit(depth);
    allocate();
    visit(depth > 2 ? 2 : 0);
    sink++;
}

static __attribute__((noinline)) void visit(unsigned depth)
{
    if (!depth) {
        allocate();
        return;
    }
    switch (draw(shapes)) {
    case 0: visit_small(depth - 1); break;
    case 1: visit_large(depth - 1); break;
    case 2: visit_twice(depth - 1); break;
    default: visit_varying(depth - 1); break;
    }
    sink++;
}

/* ---- tests --------------------------------------------------------------------------------- */

START_TEST(what_is_found_stands_there)
{
    for (unsigned i = 0; i < 20000; i++) visit(draw(8));
    ck_assert_uint_gt(found_count, walked_count);
}
END_TEST

static void repeat(unsigned seed, unsigned rounds)
{
    random_state = seed;
    for (unsigned i = 0; i < rounds; i++) visit(draw(7));
}

START_TEST(what_was_met_is_found_again)
{
    shapes = 3; /* a frame whose size varies may hide what was met below of another size */
    for (volatile int round = 0; round < 2; round++) {
        ck_assert(!round || walked_count > 100);
        walked_count = found_count = 0;
        repeat(7, 300);
    }
    ck_assert_uint_gt(found_count, 500);
    ck_assert_uint_le(walked_count, found_count / 50);
}
END_TEST

START_TEST(tags_are_told_apart)
{
    for (unsigned i = 0; i < 6000; i++) {
        walker->tag = (uint16_t)(i % 3);
        visit(i % 5 % 2);
    }
    ck_assert_uint_gt(found_count, 10 * walked_count);
    walker->tag = 0;
}
END_TEST

START_TEST(void_rules_are_not_used)
{
    repeat(3, 50);
    mt_walk_forget(&core);
    found_count = 0;
    const uintptr_t *own = __builtin_frame_address(0);
    ck_assert_ptr_null(mt_trail_find(&core, walker, own));
    for (volatile int round = 0; round < 2; round++) repeat(3, 50);
    ck_assert_uint_gt(found_count, 0);
}
END_TEST

static ucontext_t fibers[2], back;
static unsigned seed;

static void in_fiber(void)
{
    for (;;) {
        repeat(seed, 20);
        for (volatile int which = (int)draw(2); which >= 0; which = -1) swapcontext(&fibers[seed % 2], &back);
    }
}

/* The same calls at the same distances from the ends of several stacks. */
START_TEST(stacks_are_told_apart)
{
    enum { BYTES = 256 * 1024 };
    for (volatile int i = 0; i < 2; i++) {
        getcontext(&fibers[i]);
        fibers[i].uc_stack.ss_sp = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        fibers[i].uc_stack.ss_size = BYTES;
        makecontext(&fibers[i], in_fiber, 0);
    }
    for (volatile unsigned i = 0; i < 400; i++) {
        seed = i % 6;
        swapcontext(&back, &fibers[seed % 2]);
        repeat(seed, 5);
    }
    ck_assert_uint_gt(found_count, walked_count);
    for (int i = 0; i < 2; i++) munmap(fibers[i].uc_stack.ss_sp, BYTES);
}
END_TEST

/* Deep stacks in ever new shapes, until the tree has no room and is begun anew. */
START_TEST(a_full_trail_begins_anew)
{
    const _Atomic uint64_t *used = &core.segment->globals.private_bytes;
    uint64_t before = *used;
    shapes = 2;
    for (unsigned i = 0; i < 12000; i++) visit(60 + draw(20));
    uint64_t taken = *used - before;
    ck_assert_uint_ge(taken, 32 << 20);
    ck_assert_uint_le(taken, 40 << 20);
    walked_count = found_count = 0;
    for (volatile int round = 0; round < 3; round++) repeat(7, 100);
    ck_assert_uint_gt(found_count, walked_count);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("trail");
    TCase *tests = tcase_create("trail");
    tcase_set_timeout(tests, 120);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, what_is_found_stands_there);
    tcase_add_test(tests, what_was_met_is_found_again);
    tcase_add_test(tests, tags_are_told_apart);
    tcase_add_test(tests, void_rules_are_not_used);
    tcase_add_test(tests, stacks_are_told_apart);
    tcase_add_test(tests, a_full_trail_begins_anew);
    suite_add_tcase(suite, tests);
    return run_suite(suite, CK_FORK_GETENV);
}
