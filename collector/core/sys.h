/*
 * System calls for memory, made in place. The preloaded library interposes mmap
 * and its kin to count the program's mappings; memtrack's own must not go there.
 * Nor do they go through libc: a function of it that the program itself does not
 * call brings up to 64 KiB of libc into the program's memory.
 */
#ifndef MT_SYS_H
#define MT_SYS_H

#include "own_memory.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
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

/* The result, or -1 with errno set, which is left alone otherwise. */
static inline long mt_sys_call(long number, long a, long b, long c, long d, long e, long f)
{
#if defined(__x86_64__)
    long result;
    register long fourth __asm__("r10") = d, fifth __asm__("r8") = e, sixth __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth), "r"(fifth), "r"(sixth)
                     : "rcx", "r11", "memory");
    if (__builtin_expect((unsigned long)result < -4095ul, 1)) return result;
    errno = (int)-result;
    return -1;
#else
    return syscall(number, a, b, c, d, e, f);
#endif
}

static inline int mt_sys_madvise(void *at, size_t bytes, int advice)
{
    return (int)mt_sys_call(SYS_madvise, (long)(uintptr_t)at, (long)bytes, advice, 0, 0, 0);
}

static inline int mt_sys_mprotect(void *at, size_t bytes, int protection)
{
    return (int)mt_sys_call(SYS_mprotect, (long)(uintptr_t)at, (long)bytes, protection, 0, 0, 0);
}

static inline void *mt_sys_mremap(void *at, size_t old_bytes, size_t new_bytes, int flags, void *to)
{
    return (void *)mt_sys_call(SYS_mremap, (long)(uintptr_t)at, (long)old_bytes, (long)new_bytes, flags,
                               (long)(uintptr_t)to, 0);
}

static inline void *mt_sys_mmap(void *where, size_t bytes, int protection, int flags, int fd)
{
    if (!mt_sys_may_call()) return MAP_FAILED;
    void *at = (void *)mt_sys_call(SYS_mmap, (long)(uintptr_t)where, (long)bytes, protection, flags, fd,
                                   0); /* MAP_FAILED is -1 too */
    if (at != MAP_FAILED) mt_own_memory_add(at, bytes);
    return at;
}

static inline int mt_sys_munmap(void *where, size_t bytes)
{
    if (!mt_sys_may_call()) return -1; /* it stays, and nobody knows of it */
    mt_own_memory_remove(where, bytes);
    return (int)mt_sys_call(SYS_munmap, (long)(uintptr_t)where, (long)bytes, 0, 0, 0, 0);
}

#endif
