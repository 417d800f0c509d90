/*
 * Which live blocks have a call stack: from an address to what is known of the
 * block. Two stores, one in use: the shadow where all blocks are recorded (see
 * shadow.h), a hash table where few are sampled.
 *
 * A block is put in by the thread that was handed it and taken out by the
 * thread that frees it, before the address can be handed out again, so no two
 * threads work on the same address at once. In memory of memtrack's own.
 */
#ifndef MT_LIVE_H
#define MT_LIVE_H

#include "stack.h"

struct mt_live_block {
    uint32_t stack;
    bool is_exact;                  /* stands for itself alone: weight is filled in on free */
    uint64_t birth_ns, birth_frame; /* coarse; the frame may be known in its low 16 bits only (is_exact) */
    uint64_t thread_count;          /* its thread's allocations when it was made (sampled) */
    uint16_t window;                /* of mt_arena_sample_born(), 0 = none (sampled) */
    uintptr_t site;                 /* its call's return address, where window is not 0 (sampled) */
    uint32_t birth_shard;           /* number of its thread's shard (sampled) */
    uint64_t birth_bytes;           /* that the shard had asked for (sampled) */
    struct mt_stack_weight weight;
};

enum { MT_LIVE_FILTER = 1 << 16 };

/*
 * A byte for every hash of an address: 0 when no recorded block lies there.
 * With mask 0 the first byte alone decides: never (off) or always (all).
 */
extern _Atomic uint8_t mt_live_filter[MT_LIVE_FILTER];
extern uint32_t mt_live_mask;

/*
 * Where an address is counted: 16 MiB of address space share a page of the filter, and blocks at the beginnings of
 * slabs lie in it apart.
 */
static inline uintptr_t mt_live_hash(const void *block)
{
    enum { PAGE_MASK = 4095, SLICE_STEP = 37 };
    uintptr_t address = (uintptr_t)block;
    return (((address >> 4) + (address >> 16) * SLICE_STEP) & PAGE_MASK) | (address >> 12 & ~(uintptr_t)PAGE_MASK);
}

static inline bool mt_live_may_hold(const void *block)
{
    return __builtin_expect(
        atomic_load_explicit(&mt_live_filter[mt_live_hash(block) & mt_live_mask], memory_order_relaxed), 0);
}

/* Chooses the store for a mode; forgets what is in it (a new segment). */
void mt_live_start(struct mt_core *core, enum mt_stacks_mode mode);
/* False when there was no memory for it. */
bool mt_live_put(struct mt_core *core, const void *block, const struct mt_live_block *what);
/* Takes a block out; false when it is not there. */
bool mt_live_take(struct mt_core *core, const void *block, struct mt_live_block *what);

#endif
