/*
 * Heaps that belong to no thread and are used under a lock each: one for
 * threads that have none of their own, one for blocks with a call stack. Both
 * are made when they are first needed. Any thread; nothing here counts
 * allocations.
 */
#ifndef MT_POOLS_LOCKED_HEAPS_H
#define MT_POOLS_LOCKED_HEAPS_H

#include "pools.h"

/* A block for a thread that has no heap; NULL when there is no memory. *origin becomes what its free will find. */
void *mt_shared_take(unsigned class, unsigned *origin);
/* Calls visit for that heap under its lock, if there is one. */
void mt_shared_visit(void (*visit)(struct mt_theap *heap));

/* A block for a call stack. NULL also where its slab has no memory for its mark: its free would count something
 * else.
 */
void *mt_sampled_take(unsigned class, unsigned origin);
/* It goes home at once: the next one of its class lies where it lay. class: mt_slab_class(). */
void mt_sampled_give(void *block, unsigned class);
/* Whether blocks of that owner are such. */
bool mt_sampled_owns(unsigned owner);

#endif
