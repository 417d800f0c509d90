/*
 * A lock of one word on futex. The pools' slow paths use it; it does not
 * allocate, does not depend on the thread library, preserves errno and may be
 * held across fork (mt_lock_reset() in the child). It is not recursive.
 */
#ifndef MT_POOLS_LOCK_H
#define MT_POOLS_LOCK_H

#include "alone.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__) || defined(__i386__)
#define mt_lock_pause() __builtin_ia32_pause()
#else
#define mt_lock_pause() ((void)0)
#endif

enum { MT_LOCK_SPINS = 64 };

/* 0 = free, 1 = held, 2 = held and somebody may sleep on it. */
struct mt_lock {
    _Atomic uint32_t word;
};

static inline bool mt_lock_try(struct mt_lock *lock)
{
    uint32_t unheld = 0;
    if (mt_is_alone()) {
        if (atomic_load_explicit(&lock->word, memory_order_relaxed)) return false;
        atomic_store_explicit(&lock->word, 1, memory_order_relaxed);
        return true;
    }
    return atomic_compare_exchange_strong_explicit(&lock->word, &unheld, 1, memory_order_acquire,
                                                   memory_order_relaxed);
}

static inline void mt_lock_futex(struct mt_lock *lock, int operation, uint32_t value)
{
    int saved = errno;
    syscall(SYS_futex, &lock->word, operation | FUTEX_PRIVATE_FLAG, value, NULL);
    errno = saved;
}

static inline void mt_lock_take(struct mt_lock *lock)
{
    if (__builtin_expect(mt_lock_try(lock), 1)) return;
    for (int i = 0; i < MT_LOCK_SPINS; i++) {
        if (!atomic_load_explicit(&lock->word, memory_order_relaxed) && mt_lock_try(lock)) return;
        mt_lock_pause();
    }
    while (atomic_exchange_explicit(&lock->word, 2, memory_order_acquire)) mt_lock_futex(lock, FUTEX_WAIT, 2);
}

/* Release pairs with the acquire of the next holder. */
static inline void mt_lock_give(struct mt_lock *lock)
{
    if (mt_is_alone()) {
        atomic_store_explicit(&lock->word, 0, memory_order_relaxed);
        return;
    }
    if (atomic_exchange_explicit(&lock->word, 0, memory_order_release) == 2) mt_lock_futex(lock, FUTEX_WAKE, 1);
}

static inline void mt_lock_reset(struct mt_lock *lock)
{
    atomic_store_explicit(&lock->word, 0, memory_order_relaxed);
}

#endif
