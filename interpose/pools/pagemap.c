/*
 * The page map's memory: one table of pointers that lies in zeroed memory, and
 * tables of entries made on demand. Nothing is given back. Any thread.
 */
#include "pagemap.h"
#include "os.h"

_Atomic(mt_pagemap_sub *) mt_pagemap_top[MT_PAGEMAP_TOP];

static bool make_sub(size_t index)
{
    if (index >= MT_PAGEMAP_TOP) return false;
    if (atomic_load_explicit(&mt_pagemap_top[index], memory_order_acquire)) return true;
    size_t bytes = MT_PAGEMAP_SUB * sizeof(mt_pagemap_sub);
    mt_pagemap_sub *sub = mt_os_map(bytes), *seen = NULL;
    if (!sub) return false;
    /* Release: a reader that finds the table finds it zeroed. Pairs with mt_pagemap_entry(). */
    if (!atomic_compare_exchange_strong_explicit(&mt_pagemap_top[index], &seen, sub, memory_order_acq_rel,
                                                 memory_order_acquire))
        mt_os_unmap(sub, bytes);
    return true;
}

bool mt_pagemap_reserve(const void *start, size_t bytes)
{
    uintptr_t first = (uintptr_t)start >> 32, last = ((uintptr_t)start + bytes - 1) >> 32;
    for (uintptr_t index = first; index <= last; index++)
        if (!make_sub(index)) return false;
    return true;
}

void mt_pagemap_set(const void *start, size_t bytes, uint64_t entry)
{
    uintptr_t first = (uintptr_t)start >> MT_SLICE_SHIFT, last = ((uintptr_t)start + bytes - 1) >> MT_SLICE_SHIFT;
    for (uintptr_t slice = first; slice <= last; slice++) {
        mt_pagemap_sub *sub = atomic_load_explicit(&mt_pagemap_top[slice >> 16], memory_order_relaxed);
        atomic_store_explicit(&sub[slice & 0xffff], entry, memory_order_relaxed);
    }
}
