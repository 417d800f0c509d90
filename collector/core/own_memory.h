/*
 * Which memory is memtrack's own, for the scan that looks for blocks which the
 * program can still reach: what memtrack remembers of a block must not count
 * as the program's pointer to it. Kept only where such a scan is wanted. Any
 * thread; takes a lock that is never held over a wait.
 */
#ifndef MT_OWN_MEMORY_H
#define MT_OWN_MEMORY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

extern _Atomic bool mt_own_memory_is_kept;

void mt_own_memory_add_slow(uintptr_t low, size_t bytes);
void mt_own_memory_remove_slow(uintptr_t low, size_t bytes);

static inline bool mt_own_memory_kept(void)
{
    return atomic_load_explicit(&mt_own_memory_is_kept, memory_order_relaxed);
}

/* Around every mapping that memtrack makes and gives back. */
static inline void mt_own_memory_add(const void *start, size_t bytes)
{
    if (mt_own_memory_kept()) mt_own_memory_add_slow((uintptr_t)start, bytes);
}
static inline void mt_own_memory_remove(const void *start, size_t bytes)
{
    if (mt_own_memory_kept()) mt_own_memory_remove_slow((uintptr_t)start, bytes);
}

/*
 * The part of [low, high) in front of the first range of memtrack's own:
 * returns its end, and in *next where that range ends. For the one thread of
 * the scan; nothing changes meanwhile.
 */
uintptr_t mt_own_memory_gap(uintptr_t low, uintptr_t high, uintptr_t *next);
/* In a copy of the process, which has one thread: gives a lock back that another one may have held. */
void mt_own_memory_enter_copy(void);
/* False when there were more ranges than could be kept. */
bool mt_own_memory_is_complete(void);

#endif
