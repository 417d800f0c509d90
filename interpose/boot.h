/*
 * A small static pool for the few blocks that are asked for before the next
 * allocator is known, and for what the dynamic loader allocates while
 * memtrack itself asks it something. Blocks are never reused; a pointer into
 * the pool stays recognisable for the life of the process. Any thread.
 *
 * The word in front of a block has MT_BOOT_MARK set, bit 1 of which in glibc's
 * blocks means one mapped alone, and reads as a large size: the fast paths
 * leave both kinds to the slow path.
 */
#ifndef MT_BOOT_H
#define MT_BOOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MT_BOOT_BYTES = 128 * 1024 };
#define MT_BOOT_MARK ((size_t)1 << 62 | 2)

extern unsigned char mt_boot_pool[MT_BOOT_BYTES] __attribute__((visibility("hidden")));

static inline bool mt_boot_owns(const void *pointer)
{
    return (uintptr_t)pointer - (uintptr_t)mt_boot_pool < MT_BOOT_BYTES;
}

/* Zeroed memory, or NULL with ENOMEM when the pool is used up. alignment is a power of two. */
void *mt_boot_alloc(size_t bytes, size_t alignment);
/* The size that was asked for. */
size_t mt_boot_size(const void *pointer);

#endif
