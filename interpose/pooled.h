/*
 * The pools below the hooks: whether they serve this process, and the few
 * places where the hooks meet them. With the pools on, every block that is
 * counted comes from them or from the bootstrap pool; a block of the next
 * allocator is a foreign one then.
 */
#ifndef MT_POOLED_H
#define MT_POOLED_H

#include "pools/pools.h"

extern _Atomic bool mt_pooled_is_on __attribute__((visibility("hidden")));

static inline bool mt_pooled(void)
{
    return atomic_load_explicit(&mt_pooled_is_on, memory_order_relaxed);
}

/* Decides once for the process whether the pools serve, and tells each segment why. The core is on. */
void mt_pooled_ready(void);

/* A block of the next allocator is freed or resized while the pools serve. */
void mt_pooled_count_foreign(void);

#endif
