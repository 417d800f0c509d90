/*
 * The slow side of the layer's locks: sleeping and waking by futex. Any
 * thread; no allocation; preserves errno, because hooks may run between a
 * program's own call and its look at errno.
 */
#include "lock.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* A sleep that misses its wake ends after so long. */
enum { SPINS = 64, SLEEP_NS = 200000 };

void mt_futex_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t timeout_ns)
{
    int saved = errno;
    struct timespec timeout = {(time_t)(timeout_ns / 1000000000u), (long)(timeout_ns % 1000000000u)};
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, timeout_ns ? &timeout : NULL, NULL, 0);
    errno = saved;
}

void mt_futex_wake_all(_Atomic uint32_t *word)
{
    int saved = errno;
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
    errno = saved;
}

static bool try_to_take(struct mt_lock *lock)
{
    uint32_t idle = 0;
    return !atomic_load_explicit(&lock->state, memory_order_relaxed) &&
           atomic_compare_exchange_weak_explicit(&lock->state, &idle, 1, memory_order_acquire,
                                                 memory_order_relaxed);
}

void mt_lock_wait(struct mt_lock *lock)
{
    for (int i = 0; i < SPINS; i++)
        if (try_to_take(lock)) return;
    atomic_fetch_add_explicit(&lock->waiters, 1, memory_order_relaxed);
    while (!try_to_take(lock)) mt_futex_wait(&lock->state, 1, SLEEP_NS);
    atomic_fetch_sub_explicit(&lock->waiters, 1, memory_order_relaxed);
}

void mt_lock_wake(struct mt_lock *lock)
{
    int saved = errno;
    syscall(SYS_futex, &lock->state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    errno = saved;
}
