/*
 * A lock for short sections on the layer's own tables, asleep on a futex when
 * it has to wait. It is never held across a call down the chain. Any thread.
 */
#ifndef MT_LOCK_H
#define MT_LOCK_H

#include <stdatomic.h>
#include <stdint.h>

struct mt_lock {
    _Atomic uint32_t state; /* 0 free, 1 held, 2 held and somebody may sleep */
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

static inline void mt_lock_leave(struct mt_lock *lock)
{
    if (__builtin_expect(atomic_exchange_explicit(&lock->state, 0, memory_order_release) == 2, 0))
        mt_lock_wake(lock);
}

/* Sleeps while *word is expected, at most timeout_ns (0 = without end). Preserves errno. */
void mt_futex_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t timeout_ns);
void mt_futex_wake_all(_Atomic uint32_t *word);

#endif
