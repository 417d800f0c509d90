/*
 * Call stacks: an append-only table of distinct stacks in the segment, found
 * by 96 bits of hashes, published without locks; and the counters of
 * each. Counters of one stack are changed by one thread at a time (a bit in
 * the stack's own record), so threads meet only where they allocate from the
 * same place at the same moment.
 *
 * Not re-entered: the caller has set its thread's busy mark, so that a signal
 * handler that allocates does not come here.
 */
#ifndef MT_STACK_H
#define MT_STACK_H

#include "core.h"
#include "walk.h"

/* True when stacks are recorded in this segment; makes the tables ready when that is due. */
bool mt_stack_ready_slow(struct mt_core *core);
static inline bool mt_stack_ready(struct mt_core *core)
{
    return __builtin_expect(
               atomic_load_explicit(&core->segment->attribution.mode, memory_order_acquire) != MT_STACKS_OFF, 1) ||
           mt_stack_ready_slow(core);
}

/* The id of a stack, outermost address first; 0 when the table is full (counted). */
uint32_t mt_stack_intern(struct mt_core *core, const uint64_t *frames, unsigned depth, uint64_t hash, bool is_cut);
/* The id of the walker's last walk, cut to the depth in force. */
uint32_t mt_stack_of_walk(struct mt_core *core, struct mt_walker *walker);
/*
 * The id of the caller's own stack without the frames in [skip_low, skip_high),
 * for clients that have no walker of their own (rare events); 0 when stacks are off.
 */
uint32_t mt_stack_here(struct mt_core *core, uintptr_t skip_low, uintptr_t skip_high);
/* The number of a thread name, for walkers that tell threads apart; 0 when stacks are off. Costs a search. */
uint32_t mt_stack_thread(struct mt_core *core, const char *name);
/* The record of an id; NULL for 0 and for ids never handed out. */
struct mt_stack *mt_stack_at(struct mt_core *core, uint32_t id);

/* The same for an id that was handed out in this segment. */
static inline struct mt_stack *mt_stack_known(struct mt_core *core, uint32_t id)
{
    /* Acquire pairs with the release that published the chunk; the id came by way of it. */
    uint64_t chunk = atomic_load_explicit(&core->segment->attribution.chunks[(id - 1) / MT_STACK_CHUNK],
                                          memory_order_acquire);
    return (struct mt_stack *)(void *)((char *)core->segment + chunk) + (id - 1) % MT_STACK_CHUNK;
}

/* A record without frames, in no bucket; 0 when there is no room. */
uint32_t mt_stack_make(struct mt_core *core);

/* Around a change of a stack's counters; with them: settles its account of an earlier peak, and keeps its maximum.
 */
void mt_stack_lock(struct mt_stack *stack);
void mt_stack_unlock(struct mt_stack *stack);
void mt_stack_rebase(struct mt_stack *stack, uint32_t epoch);
void mt_stack_raise_max(struct mt_stack *stack);

/* What one block stands for. */
struct mt_stack_weight {
    int64_t live_bytes;   /* usable */
    int64_t count;        /* in 1/MT_SCALE */
    uint64_t total_bytes; /* requested; not used on free */
    int64_t variance;     /* KiB squared */
};

void mt_stack_allocated(struct mt_core *core, uint32_t id, const struct mt_stack_weight *weight, uint64_t now_ns);

struct mt_stack_end {
    uint64_t lifetime_ms;
    bool is_temporary, is_same_frame;
};
void mt_stack_freed(struct mt_core *core, uint32_t id, const struct mt_stack_weight *weight,
                    const struct mt_stack_end *end);

/*
 * To be called before a change of the live bytes: when the process has stood
 * at a new peak since, all that is recorded until now stood there.
 */
void mt_stack_note_peak(struct mt_core *core, const struct mt_shard *shard);

/* The highest that the process's live bytes are known to have been, as a thread with that shard (or NULL) sees it.
 */
static inline int64_t mt_stack_peak_seen(struct mt_core *core, const struct mt_shard *shard)
{
    const struct mt_globals *globals = &core->segment->globals;
    int64_t peak = atomic_load_explicit(&globals->peak_bytes, memory_order_relaxed);
    int64_t high = shard ? atomic_load_explicit(&shard->high_bytes, memory_order_relaxed) : INT64_MIN;
    if (high == INT64_MIN) return peak;
    int64_t own = atomic_load_explicit(&globals->current_bytes, memory_order_relaxed) + high -
                  atomic_load_explicit(&shard->flushed_bytes, memory_order_relaxed);
    return own > peak ? own : peak;
}
/* False when mt_stack_note_peak() would do nothing. */
static inline bool mt_stack_is_peak_new(struct mt_core *core, const struct mt_shard *shard)
{
    return mt_stack_peak_seen(core, shard) >
           atomic_load_explicit(&core->segment->attribution.noted_peak_bytes, memory_order_relaxed);
}

#endif
