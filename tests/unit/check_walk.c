/* The walker against glibc's backtrace(), in plain frames, realigned ones, signal handlers and other stacks. */
#include "core_support.h"
#include "stack.h"
#include "walk.h"
#include "run_suite.h"

#include <alloca.h>
#include <check.h>
#include <execinfo.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <ucontext.h>

static struct mt_core core;
static struct mt_walker *walker;

static void set_up(void)
{
    setenv("MEMTRACK_STACKS", "all", 1);
    set_up_core(&core);
    ck_assert(mt_stack_ready(&core));
    walker = mt_walker_take(&core);
}

static void tear_down(void)
{
    mt_walker_give_back(&core, walker);
    tear_down_core(&core);
}

/* The sanitizers put a frame of their own around backtrace(). */
#if defined(__has_feature)
#define HAS_FEATURE(name) __has_feature(name)
#else
#define HAS_FEATURE(name) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || HAS_FEATURE(address_sanitizer) ||             \
    HAS_FEATURE(thread_sanitizer)
enum { AROUND = 1 };
#else
enum { AROUND = 0 };
#endif

/* What this library calls in handlers, to fail with, is not for handlers. */
const char *__tsan_default_options(void) __attribute__((visibility("default")));
const char *__tsan_default_options(void)
{
    return "report_signal_unsafe=0";
}

/* What glibc finds: the caller's address is the innermost, and in the place of the call. */
static inline __attribute__((always_inline)) int find_expected(void **frames, int limit)
{
    int count = backtrace(frames, limit) - AROUND;
    if (AROUND) memmove(frames, frames + AROUND, (size_t)count * sizeof *frames);
    return count;
}

/* Compares the walk with backtrace(): the same addresses, but for the innermost, which is another call of this
 * function. */
static __attribute__((noinline)) void compare(void)
{
    void *expected[MT_STACK_DEPTH_MAX];
    unsigned count = mt_walk_here(&core, walker, 0, 0);
    int expected_count = find_expected(expected, MT_STACK_DEPTH_MAX);
    ck_assert_int_ge(expected_count, 4);
    ck_assert(!walker->is_cut);
    ck_assert_uint_eq(count, (unsigned)expected_count);
    for (unsigned i = 1; i < count; i++)
        ck_assert_uint_eq(walker->frames[count - 1 - i].pc, (uintptr_t)expected[i]);
    uint64_t hash = 0;
    for (unsigned i = 0; i < count; i++) hash = mt_walk_hash(hash, walker->frames[i].pc);
    ck_assert_uint_eq(hash, walker->frames[count - 1].hash);
}

static volatile int sink;

/* Recursion beyond what a walk holds, from depths that change: the innermost frames are right. */
static __attribute__((noinline)) void walk_deep(void)
{
    static void *expected[2 * MT_STACK_DEPTH_MAX];
    unsigned count = mt_walk_here(&core, walker, 0, 0);
    int expected_count = find_expected(expected, 2 * MT_STACK_DEPTH_MAX);
    unsigned wanted = expected_count > MT_STACK_DEPTH_MAX ? MT_STACK_DEPTH_MAX : (unsigned)expected_count;
    ck_assert_uint_eq(count, wanted);
    ck_assert_int_eq(walker->is_cut, expected_count > MT_STACK_DEPTH_MAX);
    for (unsigned i = 1; i < count; i++)
        ck_assert_uint_eq(walker->frames[count - 1 - i].pc, (uintptr_t)expected[i]);
}

static __attribute__((noinline)) void recurse(int depth, int walk_from)
{
    if (depth > walk_from) walk_deep();
    if (depth)
        recurse(depth - 1, walk_from);
    else
        walk_deep();
    sink++;
}

static __attribute__((noinline)) void deeper(int depth)
{
    if (depth)
        deeper(depth - 1);
    else
        compare();
    sink++;
}

START_TEST(plain_frames)
{
    for (int depth = 0; depth < 40; depth += 7) deeper(depth);
    for (int i = 0; i < 5; i++) deeper(3); /* from memory */
}
END_TEST

static __attribute__((noinline, optimize("no-omit-frame-pointer"))) void with_pointer(int depth, int bytes)
{
    volatile char *space = alloca((size_t)bytes);
    space[0] = 1;
    if (depth)
        with_pointer(depth - 1, bytes * 2);
    else
        deeper(2);
    sink += space[0];
}

START_TEST(deep_recursion)
{
    for (int depth = 200; depth < 400; depth += 23) {
        recurse(depth, depth);
        recurse(depth, depth - 3);
        recurse(depth / 2, depth);
    }
}
END_TEST

START_TEST(frame_pointers_and_alloca)
{
    with_pointer(5, 16);
    with_pointer(5, 48);
    with_pointer(4, 48);
}
END_TEST

static __attribute__((noinline)) void realigned(int depth)
{
    _Alignas(64) volatile char space[64] = {0};
    if (depth)
        realigned(depth - 1);
    else
        deeper(1);
    sink += space[3];
}

START_TEST(realigned_stacks)
{
    realigned(3);
    realigned(3);
    realigned(1);
}
END_TEST

/* The same return addresses with other frame pointers in between: nothing stale may be taken. */
START_TEST(alternating_callers)
{
    for (int i = 0; i < 50; i++) {
        if (i % 2)
            with_pointer(i % 5, 32);
        else
            deeper(i % 7);
        if (i % 3 == 0) realigned(i % 4);
    }
}
END_TEST

static void on_signal(int number)
{
    (void)number;
    unsigned count = mt_walk_here(&core, walker, 0, 0);
    void *expected[MT_STACK_DEPTH_MAX];
    int expected_count = find_expected(expected, MT_STACK_DEPTH_MAX);
    ck_assert_uint_eq(count, (unsigned)expected_count);
    unsigned same = 0;
    for (unsigned i = 3; i < count; i++) same += walker->frames[count - 1 - i].pc == (uintptr_t)expected[i];
    ck_assert_uint_ge(same + 1, count - 3); /* the interrupted instruction is named one byte on */
}

static __attribute__((noinline)) void raise_here(int depth)
{
    if (depth)
        raise_here(depth - 1);
    else
        raise(SIGUSR1);
    sink++;
}

START_TEST(signal_frames)
{
    signal(SIGUSR1, on_signal);
    raise_here(3);
    raise_here(3);
    signal(SIGUSR1, SIG_DFL);
}
END_TEST

/* A handler's stack above or below the one it interrupts: the walk goes on there. */
START_TEST(alternate_stacks)
{
    static char low[128 * 1024];
    stack_t stack = {.ss_sp = low, .ss_size = sizeof low}, none = {.ss_flags = SS_DISABLE};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
    sigaltstack(&stack, NULL);
    sigaction(SIGUSR1, &action, NULL);
    for (int i = 0; i < 5; i++) {
        raise_here(i);
        deeper(i);
    }
    sigaltstack(&none, NULL);
    signal(SIGUSR1, SIG_DFL);
}
END_TEST

static sigjmp_buf after_overflow;
static volatile unsigned overflow_count;

static void on_overflow(int number)
{
    (void)number;
    overflow_count = mt_walk_here(&core, walker, 0, 0);
    siglongjmp(after_overflow, 1);
}

static __attribute__((noinline)) int overflow(int depth)
{
    volatile char space[4096];
    space[depth & 4095] = 1;
    return depth < 1 << 30 ? overflow(depth + 1) + space[0] : 0;
}

static void *overflow_thread(void *argument)
{
    static char memory[128 * 1024];
    stack_t stack = {.ss_sp = memory, .ss_size = sizeof memory}, before;
    walker = mt_walker_take(&core);
    sigaltstack(&stack, &before);
    if (!sigsetjmp(after_overflow, 1)) sink += overflow(0);
    compare();
    sigaltstack(&before, NULL); /* a sanitizer's own */
    return argument;
}

/* Where a stack is used up the handler's walk ends with the handler, or goes on as far as there is memory. */
START_TEST(used_up_stacks)
{
    struct sigaction action = {.sa_handler = on_overflow, .sa_flags = SA_ONSTACK};
    pthread_t thread;
    sigaction(SIGSEGV, &action, NULL);
    pthread_create(&thread, NULL, overflow_thread, NULL);
    pthread_join(thread, NULL);
    signal(SIGSEGV, SIG_DFL);
    ck_assert_uint_ge(overflow_count, 1);
}
END_TEST

static ucontext_t back, fiber;
static unsigned fiber_count;

static void in_fiber(void)
{
    for (;;) {
        fiber_count = mt_walk_here(&core, walker, 0, 0);
        swapcontext(&fiber, &back);
    }
}

START_TEST(fibers)
{
    size_t bytes = 64 * 1024;
    char *stack = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    getcontext(&fiber);
    fiber.uc_stack.ss_sp = stack;
    fiber.uc_stack.ss_size = bytes;
    makecontext(&fiber, in_fiber, 0);
    for (int i = 0; i < 10; i++) {
        swapcontext(&back, &fiber);
        ck_assert_uint_ge(fiber_count, 1);
        ck_assert_uint_lt(fiber_count, 4);
        deeper(i);
    }
    munmap(stack, bytes);
}
END_TEST

static void *in_thread(void *argument)
{
    struct mt_walker *own = mt_walker_take(&core);
    unsigned count = mt_walk_here(&core, own, 0, 0);
    void *expected[64];
    ck_assert_uint_eq(count, (unsigned)find_expected(expected, 64));
    mt_walker_give_back(&core, own);
    return argument;
}

START_TEST(threads_with_small_stacks)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 64 * 1024);
    for (int i = 0; i < 20; i++) {
        pthread_t thread;
        ck_assert_int_eq(pthread_create(&thread, &attributes, in_thread, NULL), 0);
        pthread_join(thread, NULL);
    }
    pthread_attr_destroy(&attributes);
}
END_TEST

START_TEST(depth_limit_is_kept)
{
    core.options.number[MT_OPT_STACK_DEPTH] = 64;
    uint32_t id = mt_stack_here(&core, 0, 0);
    ck_assert_uint_ne(id, 0);
    ck_assert_uint_eq(mt_stack_at(&core, id)->is_cut, 0);
    core.options.number[MT_OPT_STACK_DEPTH] = 4;
    id = mt_stack_here(&core, 0, 0);
    ck_assert_uint_eq(mt_stack_at(&core, id)->depth, 4);
    ck_assert_uint_eq(mt_stack_at(&core, id)->is_cut, 1);
}
END_TEST

#define FOUR(calls) calls calls calls calls
#define MANY(call)  FOUR(FOUR(FOUR(FOUR(FOUR(call)))))
enum { CALLS = 1024 };

static unsigned compared_count;

static __attribute__((noinline)) void compare_once(void)
{
    compare();
    compared_count++;
}

/* As many return addresses, each with a rule of its own. */
static __attribute__((noinline)) void compare_often(void)
{
    MANY(compare_once();)
}

/* A table of rules that gets full doubles; what it has forgotten by that is read again. */
START_TEST(many_rules)
{
    unsigned before = mt_walk_rule_slots(&core), after = 0;
    for (volatile int round = 0; round < 3; round++) {
        compare_often();
        ck_assert_uint_ge(mt_walk_rule_slots(&core), after);
        after = mt_walk_rule_slots(&core);
    }
    ck_assert_uint_eq(compared_count, 3 * CALLS);
    ck_assert_uint_ge(after, 4 * before);
    ck_assert_uint_ge(after, 2 * CALLS);
    mt_walk_forget(&core);
    compare_often();
    ck_assert_uint_le(mt_walk_rule_slots(&core), 16 * CALLS);
}
END_TEST

START_TEST(modules_are_known)
{
    deeper(0);
    const struct mt_modules *modules = &core.segment->attribution.modules;
    ck_assert_uint_ge(modules->count, 2);
    bool has_libc = false, has_program = false;
    for (unsigned i = 0; i < modules->count; i++) {
        has_libc |= strstr(modules->rows[i].path, "libc.so") != NULL;
        has_program |= strstr(modules->rows[i].path, "check_walk") != NULL;
        ck_assert_uint_lt(modules->rows[i].start, modules->rows[i].end);
    }
    ck_assert(has_libc && has_program);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("walk");
    TCase *tests = tcase_create("walk");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, plain_frames);
    tcase_add_test(tests, deep_recursion);
    tcase_add_test(tests, frame_pointers_and_alloca);
    tcase_add_test(tests, realigned_stacks);
    tcase_add_test(tests, alternating_callers);
    tcase_add_test(tests, signal_frames);
    tcase_add_test(tests, alternate_stacks);
    tcase_add_test(tests, used_up_stacks);
    tcase_add_test(tests, fibers);
    tcase_add_test(tests, threads_with_small_stacks);
    tcase_add_test(tests, depth_limit_is_kept);
    tcase_add_test(tests, many_rules);
    tcase_add_test(tests, modules_are_known);
    suite_add_tcase(suite, tests);
    return run_suite(suite, CK_FORK_GETENV);
}
