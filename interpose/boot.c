/*
 * The bootstrap pool: a bump pointer moved by compare-and-swap over static
 * memory. Any thread, also inside a signal handler. Never gives memory back.
 */
#include "boot.h"

#include <errno.h>
#include <stdatomic.h>

enum { HEADER_BYTES = 16 };

_Alignas(4096) unsigned char mt_boot_pool[MT_BOOT_BYTES];
static _Atomic size_t used_bytes;

void *mt_boot_alloc(size_t bytes, size_t alignment)
{
    if (alignment < HEADER_BYTES) alignment = HEADER_BYTES;
    size_t used = atomic_load_explicit(&used_bytes, memory_order_relaxed);
    size_t at;
    do {
        at = (used + HEADER_BYTES + alignment - 1) & ~(alignment - 1);
        if (alignment > MT_BOOT_BYTES / 2 || bytes > MT_BOOT_BYTES || at > MT_BOOT_BYTES - bytes) {
            errno = ENOMEM;
            return NULL;
        }
    } while (!atomic_compare_exchange_weak_explicit(&used_bytes, &used, at + bytes, memory_order_relaxed,
                                                    memory_order_relaxed));
    ((size_t *)(void *)(mt_boot_pool + at))[-1] = bytes << 3 | MT_BOOT_MARK;
    return mt_boot_pool + at;
}

size_t mt_boot_size(const void *pointer)
{
    return (((const size_t *)pointer)[-1] & ~MT_BOOT_MARK) >> 3;
}
