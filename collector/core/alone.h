/*
 * Whether the process has one thread, so that an atomic read-modify-write may
 * be a plain load and store: as glibc's own malloc asks, and no more often
 * wrong than that. It ends inside pthread_create(), before the second thread
 * begins, and never between the two halves of what a thread does here. Any
 * thread.
 */
#ifndef MT_ALONE_H
#define MT_ALONE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#define mt_is_alone() ((bool)__libc_single_threaded)
#else
#define mt_is_alone() false
#endif

/* Adds, relaxed; returns what was there before. */
static inline uint64_t mt_alone_add(_Atomic uint64_t *at, uint64_t more)
{
    if (!mt_is_alone()) return atomic_fetch_add_explicit(at, more, memory_order_relaxed);
    uint64_t before = atomic_load_explicit(at, memory_order_relaxed);
    atomic_store_explicit(at, before + more, memory_order_relaxed);
    return before;
}

/* The same for signed numbers. */
static inline int64_t mt_alone_add_signed(_Atomic int64_t *at, int64_t more)
{
    if (!mt_is_alone()) return atomic_fetch_add_explicit(at, more, memory_order_relaxed);
    int64_t before = atomic_load_explicit(at, memory_order_relaxed);
    atomic_store_explicit(at, before + more, memory_order_relaxed);
    return before;
}

#endif
