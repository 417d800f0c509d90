/*
 * The short way of blocks above 32 KiB, and where it ends in the pools' slow
 * paths. The heap is the calling thread's.
 */
#ifndef MT_POOLS_LARGE_H
#define MT_POOLS_LARGE_H

#include "pools.h"

extern struct mt_pools_client mt_pools_clients __attribute__((visibility("hidden")));

void *mt_pools_allocate_large_slow(struct mt_theap *heap, unsigned origin, size_t bytes) __attribute__((noinline));
bool mt_pools_free_large_slow(struct mt_theap *heap, void *block) __attribute__((noinline));
/* What is seldom due after an allocation; returns the block. */
void *mt_pools_large_due(struct mt_theap *heap, void *block, size_t bytes, size_t usable) __attribute__((noinline));

#endif
