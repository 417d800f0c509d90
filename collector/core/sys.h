/*
 * Memory mapping by raw system call. The preloaded library interposes mmap and
 * its kin to count the program's mappings; memtrack's own must not go there.
 */
#ifndef MT_SYS_H
#define MT_SYS_H

#include "own_memory.h"

#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Set by the preloaded library when a thread first gives its system calls up (SECCOMP_MODE_STRICT): whether the
 * calling thread did. */
extern _Atomic(bool (*)(void)) mt_sys_is_confined __attribute__((visibility("hidden")));

/* False where a system call for memory would end the thread. */
static inline bool mt_sys_may_call(void)
{
    bool (*is_confined)(void) = atomic_load_explicit(&mt_sys_is_confined, memory_order_relaxed);
    return !is_confined || !is_confined();
}

static inline void *mt_sys_mmap(void *where, size_t bytes, int protection, int flags, int fd)
{
    if (!mt_sys_may_call()) return MAP_FAILED;
    void *at = (void *)syscall(SYS_mmap, where, bytes, protection, flags, fd, 0L); /* MAP_FAILED is -1 too */
    if (at != MAP_FAILED) mt_own_memory_add(at, bytes);
    return at;
}

static inline int mt_sys_munmap(void *where, size_t bytes)
{
    if (!mt_sys_may_call()) return -1; /* it stays, and nobody knows of it */
    mt_own_memory_remove(where, bytes);
    return (int)syscall(SYS_munmap, where, bytes);
}

#endif
