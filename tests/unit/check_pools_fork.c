/*
 * A fork's child beside threads that did not come along: what their heaps
 * held is used again, what is freed to them arrives, and what is live stays
 * as it is.
 */
#include "pools_support.h"
#include "run_suite.h"

#include <check.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/wait.h>

/* ThreadSanitizer ends a child of a process with threads that starts one. */
#if defined(__SANITIZE_THREAD__)
#define CHILD_MAY_START_THREADS 0
#else
#define CHILD_MAY_START_THREADS 1
#endif

enum { THREADS = 3, COUNT = 30000, BYTES = 100 };

static unsigned char *blocks[THREADS][COUNT];
static pthread_barrier_t filled, done;

static void *fills(void *number)
{
    attach();
    for (unsigned i = 0; i < COUNT; i++) {
        blocks[(uintptr_t)number][i] = mt_pools_allocate(BYTES);
        memset(blocks[(uintptr_t)number][i], (int)(i % 251), BYTES);
    }
    pthread_barrier_wait(&filled);
    pthread_barrier_wait(&done);
    return NULL;
}

static bool is_as_it_was(const unsigned char *block, unsigned i)
{
    for (unsigned k = 0; k < BYTES; k++)
        if (block[k] != i % 251) return false;
    return true;
}

static void become_child(void)
{
    mt_pools_after_fork_in_child();
    mt_core_after_fork_in_child(&core);
    if (!mt_core_ready(&core)) _exit(2);
    mt_pools_publish(&core);
    attach();
}

static uint64_t used_bytes(void)
{
    return atomic_load(&mt_pools_stats.slab_used_bytes);
}

/* Frees every second block that the vanished threads made. */
static void free_half(void)
{
    for (unsigned t = 0; t < THREADS; t++)
        for (unsigned i = 0; i < COUNT; i += 2) {
            if (!mt_pools_free(blocks[t][i])) _exit(3);
            blocks[t][i] = NULL;
        }
}

static void child(void)
{
    become_child();
    for (unsigned i = 0; i < 3000; i++) mt_pools_free(mt_pools_allocate(BYTES)); /* as a program that runs */
    uint64_t before = used_bytes();
    free_half();
    for (unsigned i = 0; i < THREADS * COUNT / 2 - 3000; i++) {
        void *block = mt_pools_allocate(BYTES);
        if (!block) _exit(4);
        memset(block, 0xff, BYTES);
    }
    if (used_bytes() > before + 10 * MT_SLICE_BYTES) _exit(5); /* the memory was not used again */
    for (unsigned t = 0; t < THREADS; t++)
        for (unsigned i = 1; i < COUNT; i += 2) {
            if (!is_as_it_was(blocks[t][i], i)) _exit(6);
            if (!mt_pools_free(blocks[t][i])) _exit(7);
        }
    if (core.path[0]) unlink(core.path);
    _exit(0);
}

static int status_of_child(void (*run)(void))
{
    mt_pools_before_fork();
    mt_core_before_fork(&core);
    pid_t pid = fork();
    if (!pid) run();
    mt_pools_after_fork_in_parent();
    int status = -1;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void with_threads(void (*run)(void))
{
    pthread_t threads[THREADS];
    pthread_barrier_init(&filled, NULL, THREADS + 1);
    pthread_barrier_init(&done, NULL, THREADS + 1);
    for (uintptr_t i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, fills, (void *)i);
    pthread_barrier_wait(&filled);
    ck_assert_int_eq(status_of_child(run), 0);
    pthread_barrier_wait(&done);
    for (unsigned i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
}

START_TEST(the_child_uses_what_vanished_threads_had)
{
    with_threads(child);
    for (unsigned t = 0; t < THREADS; t++) /* and the parent has all of it still */
        for (unsigned i = 0; i < COUNT; i++) ck_assert(is_as_it_was(blocks[t][i], i));
}
END_TEST

static void *frees_in_child(void *number)
{
    attach();
    for (unsigned i = (unsigned)(uintptr_t)number; i < COUNT; i += 2)
        for (unsigned t = 0; t < THREADS; t++)
            if (!is_as_it_was(blocks[t][i], i) || !mt_pools_free(blocks[t][i])) _exit(8);
    for (unsigned i = 0; i < 2 * COUNT; i++) memset(mt_pools_allocate(BYTES), 0xff, BYTES);
    return NULL;
}

/* Threads that the child starts, of which one takes over while the other one frees. */
static void child_with_threads(void)
{
    become_child();
    pthread_t threads[2];
    for (uintptr_t i = 0; i < 2; i++)
        if (pthread_create(&threads[i], NULL, frees_in_child, (void *)i)) _exit(9);
    for (unsigned i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    if (core.path[0]) unlink(core.path);
    _exit(0);
}

START_TEST(threads_of_the_child_take_over_too)
{
    if (CHILD_MAY_START_THREADS) with_threads(child_with_threads);
}
END_TEST

static void child_of_child(void)
{
    become_child();
    for (unsigned i = 0; i < 1000; i++) mt_pools_allocate(BYTES);
    if (status_of_child(child)) _exit(11); /* nothing was taken over before the second fork */
    if (core.path[0]) unlink(core.path);
    _exit(0);
}

START_TEST(a_child_of_a_child_takes_over_as_well)
{
    with_threads(child_of_child);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pools_fork");
    TCase *tests = tcase_create("fork");
    tcase_set_timeout(tests, 120);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, the_child_uses_what_vanished_threads_had);
    tcase_add_test(tests, threads_of_the_child_take_over_too);
    tcase_add_test(tests, a_child_of_a_child_takes_over_as_well);
    suite_add_tcase(suite, tests);
    return run_suite(suite, CK_FORK_GETENV);
}
