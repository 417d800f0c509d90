/*
 * Holes in slabs: pages of which no block is live, whose memory has gone back
 * to the system although the slab stays. Their blocks sleep: they are in no
 * list until the page is filled again. Whoever may change the slab calls these.
 */
#ifndef MT_POOLS_HOLES_H
#define MT_POOLS_HOLES_H

#include "slab.h"

/* Gives the pages back of which all blocks are in the slab's own list. True when there were any. */
bool mt_holes_make(struct mt_slab *slab);
/* Takes a page's memory again and puts its blocks in front of a list. Returns their number, 0 without a hole. */
uint32_t mt_holes_fill(struct mt_slab *slab, void **list);

#endif
