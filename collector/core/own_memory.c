/*
 * A table of ranges under a spin lock. Called when memtrack maps or unmaps
 * memory, never on the path of a small block.
 */
#include "own_memory.h"

#include <sched.h>

enum { RANGES = 8192 };

_Atomic bool mt_own_memory_is_kept;
_Atomic(bool (*)(void)) mt_sys_is_confined;

static struct range {
    uintptr_t low, high; /* high 0: unused */
} ranges[RANGES];
static size_t used;
static bool is_overfull;
static _Atomic bool is_locked;

static void lock(void)
{
    while (atomic_exchange_explicit(&is_locked, true, memory_order_acquire)) sched_yield();
}

static void unlock(void)
{
    atomic_store_explicit(&is_locked, false, memory_order_release);
}

/* With the lock held. */
static void add(uintptr_t low, uintptr_t high)
{
    size_t at = 0;
    while (at < used && ranges[at].high) at++;
    if (at == RANGES) {
        is_overfull = true;
        return;
    }
    if (at == used) used++;
    ranges[at] = (struct range){low, high};
}

void mt_own_memory_add_slow(uintptr_t low, size_t bytes)
{
    lock();
    add(low, low + bytes);
    unlock();
}

void mt_own_memory_remove_slow(uintptr_t low, size_t bytes)
{
    uintptr_t high = low + bytes;
    lock();
    for (size_t i = 0; i < used; i++) {
        struct range *range = &ranges[i], old = *range;
        if (!old.high || old.high <= low || old.low >= high) continue;
        *range = (struct range){0, 0};
        if (old.low < low) *range = (struct range){old.low, low};
        if (old.high > high) add(high, old.high);
    }
    unlock();
}

uintptr_t mt_own_memory_gap(uintptr_t low, uintptr_t high, uintptr_t *next)
{
    uintptr_t end = high, after = high;
    for (size_t i = 0; i < used; i++) {
        const struct range *range = &ranges[i];
        if (range->high <= low || range->low >= end) continue;
        end = range->low > low ? range->low : low;
        after = range->high;
    }
    *next = after < high ? after : high;
    return end;
}

void mt_own_memory_enter_copy(void)
{
    unlock();
}

bool mt_own_memory_is_complete(void)
{
    return !is_overfull;
}
