/*
 * A lock for short sections on the layer's own tables, asleep on a futex when
 * it has to wait. It is never held across a call down the chain. Any thread.
 */
#ifndef MT_LOCK_H
#define MT_LOCK_H

#include <stdatomic.h>
#include <stdint.h>

struct mt_lock {
    _Atomic uint32_t state;   /* 0 free, 1 held */
    _Atomic uint32_t waiters; /* threads that sleep or are about to */
};

void mt_lock_wait(struct mt_lock *lock);
void mt_lock_wake(struct mt_lock *lock);

/* Acquire: pairs with the release in mt_lock_leave(). */
static inline void mt_lock_enter(struct mt_lock *lock)
{
    uint32_t idle = 0;
    if (__builtin_expect(!atomic_compare_exchange_strong_explicit(&lock->state, &idle, 1, memory_order_acquire,
                                                                  memory_order_relaxed),
                         0))
        mt_lock_wait(lock);
}

/*
 * A plain store: a read-modify-write would cost as much as all that is done
 * under most of these locks. The look at the waiters may come too early for
 * one that is just about to sleep; sleeps are short for that reason.
 */
static inline void mt_lock_leave(struct mt_lock *lock)
{
    atomic_store_explicit(&lock->state, 0, memory_order_release);
    if (__builtin_expect(atomic_load_explicit(&lock->waiters, memory_order_relaxed), 0)) mt_lock_wake(lock);
}

/* Sleeps while *word is expected, at most timeout_ns (0 = without end). Preserves errno. */
void mt_futex_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t timeout_ns);
void mt_futex_wake_all(_Atomic uint32_t *word);

#endif
