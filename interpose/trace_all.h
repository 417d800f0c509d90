/*
 * Call stacks where every block is recorded (MEMTRACK_STACKS=all), for blocks
 * of the pools: what the hooks' way there (record.c) calls. trace.h has what
 * both modes share. On the thread that allocates or frees; preserves errno.
 */
#ifndef MT_TRACE_ALL_H
#define MT_TRACE_ALL_H

#include "shard.h"

/*
 * Records a block that was just handed out and counted; returns it. Best
 * called last, so that the walk begins next to the program's call.
 */
void *mt_trace_all_allocated(struct mt_shard *shard, void *block, uint64_t requested_bytes, uint64_t usable_bytes)
    __attribute__((noinline));

/* Around a realloc: takes a block's record out, 0 when it has none, and puts it back when nothing became of that.
 */
uint64_t mt_trace_all_detach(const void *block);
void mt_trace_all_restore(const void *block, uint64_t word);
/* Before it: a peak that lies behind was reached by what is recorded now. */
void mt_trace_all_begin(const struct mt_shard *shard);
/* The block has stayed where it is, with another size: one free and one allocation that were never live together.
 */
void mt_trace_all_resized(struct mt_shard *shard, const void *block, uint64_t word, uint64_t old_usable_bytes,
                          uint64_t requested_bytes, uint64_t usable_bytes);
/* It has moved: for a moment, which may have been the peak, both were live. */
void mt_trace_all_moved(struct mt_shard *shard, const void *block, uint64_t word, uint64_t old_usable_bytes,
                        const void *moved, uint64_t requested_bytes, uint64_t usable_bytes);

#endif
