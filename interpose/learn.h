/*
 * Tells the arenas how long sampled blocks live, by the return address of the
 * hook that made them. Called by trace.c with the thread's busy mark set.
 */
#ifndef MT_LEARN_H
#define MT_LEARN_H

#include "live.h"

/* A sampled block has got its stack; fills in what it is to be remembered by. */
void mt_learn_born(struct mt_live_block *what, const struct mt_shard *shard, uint64_t requested_bytes);
/* It is freed; shard is the freeing thread's, NULL = it has none. frames: ended since it was made. */
void mt_learn_died(const struct mt_live_block *what, const struct mt_shard *shard, uint64_t frames);

#endif
