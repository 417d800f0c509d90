/*
 * The kernel's clocks. Any thread, also in a signal handler; nothing here
 * allocates, locks or sets errno. What calls often, or in every process, reads
 * them through here: straight from the kernel's own function where that is
 * known, without the way through libc and the part of it that would become
 * resident for that.
 */
#ifndef MT_CLOCK_H
#define MT_CLOCK_H

#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

typedef int mt_clock_function(clockid_t clock, struct timespec *now);

/* libc's clock_gettime() until somebody who has looked knows better. */
extern _Atomic(mt_clock_function *) mt_clock_read __attribute__((visibility("hidden")));

static inline uint64_t mt_clock_ns(clockid_t clock)
{
    struct timespec now;
    atomic_load_explicit(&mt_clock_read, memory_order_relaxed)(clock, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

#endif
