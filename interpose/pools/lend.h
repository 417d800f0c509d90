/*
 * Blocks of a somewhat larger size class in place of memory that was never
 * touched. Where blocks of many sizes replace each other at random, the
 * classes reach their highest numbers at different times, and the sum of all
 * these would be half as much again as what is ever live. The heap's own
 * thread alone calls this.
 */
#ifndef MT_POOLS_LEND_H
#define MT_POOLS_LEND_H

#include "pools.h"

/* A bin with blocks in its list that can spare one for an empty bin of the same origin; NULL: that one is to grow.
 */
struct mt_bin *mt_lend_find(struct mt_theap *heap, struct mt_bin *empty);

#endif
