/*
 * Lists of blocks that wait in a heap's bins for the next request of their
 * size: how long they may be, and when what waits goes home to its slabs. Only
 * the owner's thread (or whoever holds the lock of a heap without a thread)
 * calls these. Nothing here counts allocations: that is the caller's.
 */
#ifndef MT_POOLS_WAITING_H
#define MT_POOLS_WAITING_H

#include "pools.h"

typedef void mt_waiting_visit(struct mt_theap *heap, struct mt_bin *bin);

/* How many blocks wait in the bin's list. */
int64_t mt_waiting_length(const struct mt_bin *bin);
/* Calls visit for every bin that is open. */
void mt_waiting_visit_bins(struct mt_theap *heap, mt_waiting_visit *visit);

/* Leaves keep blocks in the bin's list and sends the next ones home to their slabs, at most so many. */
void mt_waiting_send_home(struct mt_theap *heap, struct mt_bin *bin, uint32_t keep, uint32_t most);
/* The same with all of the others. */
void mt_waiting_trim(struct mt_theap *heap, struct mt_bin *bin, uint32_t keep);
/* The same with 0 for all bins. */
void mt_waiting_trim_all(struct mt_theap *heap);
/* For bins that nothing came from or went to since this was last asked: all blocks go home. What waits in others
 * is looked after. */
void mt_waiting_trim_idle(struct mt_theap *heap);

/*
 * Sends a part of a list home that is too long. Nothing bounds it while it
 * grows: the owner looks at it when its thread's live bytes have fallen by a
 * batch, by the way when another bin is filled, and before the heap grows.
 */
void mt_waiting_shorten(struct mt_theap *heap, struct mt_bin *bin);
/* The same for the next bin in turn. */
void mt_waiting_shorten_next(struct mt_theap *heap);
/* The bin's list is empty, and was asked for a block. */
void mt_waiting_lengthen(const struct mt_theap *heap, struct mt_bin *bin);

/*
 * Called where a bin is filled: after the thread has freed much, and if it
 * asks for other sizes than before, all lists are emptied. The few blocks of a
 * size that were freed last may lie in all slabs of their bin; those that are
 * handed out again would keep all of them from another size.
 */
void mt_waiting_look(struct mt_theap *heap);

#endif
