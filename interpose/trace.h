/*
 * Gives blocks their call stacks: decides which blocks are recorded, walks the
 * stack, puts the block into the store of live blocks, and settles the account
 * when it is freed. Off unless MEMTRACK_STACKS says otherwise.
 *
 * A thread is asked to record when its cumulative requested bytes pass
 * shard->sample_countdown_bytes (sampled), or at every block (all: its fast
 * path is closed). Preserves errno.
 */
#ifndef MT_TRACE_H
#define MT_TRACE_H

#include "live.h"

/* Which mode is in force; before the core has started: what it will be is not known and this is off. */
enum mt_stacks_mode mt_trace_mode(void);

/* Records a block that was just handed out and counted, if it is the one to be recorded. NULL: a thread without a
 * shard of its own. */
void mt_trace_allocated(struct mt_shard *shard, const void *block, uint64_t requested_bytes, uint64_t usable_bytes);

/* The same, in mode sampled, for a larger block that a sampler of the pools has come to; chooses the next one. */
struct mt_large_sampler;
void mt_trace_large_allocated(struct mt_shard *shard, const void *block, uint64_t requested_bytes,
                              uint64_t usable_bytes, struct mt_large_sampler *sampler);

/*
 * For a thread without a shard of its own, in mode sampled: true when the next block that mt_trace_allocated() is
 * told of there will be recorded, if it is of so many bytes.
 */
bool mt_trace_is_near(uint64_t requested_bytes);

/* The same where every block is recorded, walked from the frame of a function that is being executed. */
void mt_trace_record(struct mt_shard *shard, const void *block, uint64_t requested_bytes, uint64_t usable_bytes,
                     const uintptr_t *own);

/* Every recorded block that is freed, in mode all; and one that was taken out of the shadow already, by its word.
 */
void mt_trace_all_freed(struct mt_shard *shard, const void *block, uint64_t usable_bytes);
void mt_trace_all_ended(struct mt_shard *shard, const void *block, uint64_t word, uint64_t usable_bytes);

/* A block is about to be freed; only when mt_live_may_hold() says so. It has been counted. */
void mt_trace_freed(struct mt_shard *shard, const void *block, uint64_t usable_bytes);

/* The same in two halves, around a realloc that may fail. */
bool mt_trace_detach(const void *block, struct mt_live_block *what);
void mt_trace_restore(const void *block, const struct mt_live_block *what);
void mt_trace_ended(struct mt_shard *shard, const void *block, struct mt_live_block *what, uint64_t usable_bytes);

/* Around dlclose. */
void mt_trace_closing(bool begins);
/* The thread ends: gives back what it holds. */
void mt_trace_thread_end(void);

/* ---- arithmetic of the sampler, apart for tests ----------------------------------- */

/* -ln(u) for u in (0, 1]. */
double mt_trace_minus_log(double u);
/* 1 - e^-x for x >= 0. */
double mt_trace_hit_probability(double x);
/* What a sampled block stands for at a rate; and where it is one of so many that could have been it. */
struct mt_stack_weight mt_trace_weight(uint64_t requested_bytes, uint64_t usable_bytes, uint64_t rate_bytes);
struct mt_stack_weight mt_trace_weight_of(uint64_t requested_bytes, uint64_t usable_bytes, double blocks);
/*
 * A thread that allocates so fast that its samples would cost more than they tell takes them farther apart: after
 * MT_PACE_MANY of them within a tick the distance doubles, and it halves again when few come. What a sample stands
 * for is told by the rate that its own mark was drawn with, so that the estimates stay without bias.
 */
enum { MT_PACE_TICK_BITS = 22, MT_PACE_MANY = 128, MT_PACE_FEW = 48, MT_PACE_DOUBLINGS = 6 };
struct mt_trace_pace {
    uint64_t tick; /* of 2^MT_PACE_TICK_BITS ns */
    unsigned count;
};
/* A sample was taken that was drawn with so many doublings of the rate; returns how many the next one is drawn
 * with.
 */
unsigned mt_trace_pace(struct mt_trace_pace *pace, uint64_t now_ns, unsigned doublings);
/* The same of larger blocks that are handed out again, which are sampled by a mark of their own. */
enum { MT_PACE_MANY_LARGE = 32, MT_PACE_FEW_LARGE = 12, MT_PACE_DOUBLINGS_LARGE = 24 };
unsigned mt_trace_pace_large(struct mt_trace_pace *pace, uint64_t now_ns, unsigned doublings);
/* The distance in bytes to the next sample, at least 1. */
uint64_t mt_trace_distance(uint64_t *random_state, uint64_t rate_bytes);

#endif
