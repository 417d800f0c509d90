/*
 * What heaps.c and pools.c ask of each other. Any thread.
 */
#ifndef MT_POOLS_HEAPS_H
#define MT_POOLS_HEAPS_H

#include "pools.h"

/* The choices of MEMTRACK_STRATEGY. */
enum mt_pools_strategy { MT_POOLS_DEFAULT, MT_POOLS_SPEED, MT_POOLS_MEMORY };
enum mt_huge_pages { MT_HUGE_PAGES_AUTO, MT_HUGE_PAGES_ON, MT_HUGE_PAGES_OFF };

void mt_heaps_start(struct mt_core *core, bool has_sampler, bool has_large_sampler);
/* How often threads look for what they do not use. */
void mt_heaps_set_tidy_delay(uint64_t nanoseconds);
/* Sends everything that waits in the heap's remote slots; its thread calls this. */
void mt_remote_flush_all(struct mt_theap *heap);

/* The lock of the heap that serves threads without one. */
void mt_shared_heap_lock(void);
void mt_shared_heap_unlock(void);
void mt_shared_heap_reset_lock(void);

#endif
