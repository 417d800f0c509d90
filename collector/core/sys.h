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

static inline void *mt_sys_mmap(void *where, size_t bytes, int protection, int flags, int fd)
{
    void *at = (void *)syscall(SYS_mmap, where, bytes, protection, flags, fd, 0L); /* MAP_FAILED is -1 too */
    if (at != MAP_FAILED) mt_own_memory_add(at, bytes);
    return at;
}

static inline int mt_sys_munmap(void *where, size_t bytes)
{
    mt_own_memory_remove(where, bytes);
    return (int)syscall(SYS_munmap, where, bytes);
}

#endif
