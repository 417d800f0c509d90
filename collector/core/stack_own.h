/*
 * Counting where every block is recorded: each thread counts a call stack in a
 * record of its own, so that threads that allocate from the same place share
 * no line. The first one takes the stack's record itself, others get twins of
 * it; see struct mt_stack. What has no walker (threads that have ended) counts
 * in the twin that belongs to nobody, one thread at a time.
 *
 * Used by the thread that holds the walker; not re-entered.
 */
#ifndef MT_STACK_OWN_H
#define MT_STACK_OWN_H

#include "frame_stacks.h"
#include "stack.h"
#include "trail.h"

/* Makes the walker ready for the calling thread and this segment; true when it is. */
bool mt_stack_own_begin(struct mt_core *core, struct mt_walker *walker);

/*
 * The record of the calling thread's stack, walked from the frame of a function
 * that is being executed, less the frames in [skip_low, skip_high) at its inner
 * end. NULL when it could not be read or found no room.
 */
struct mt_stack *mt_stack_own_walk(struct mt_core *core, struct mt_walker *walker, const uintptr_t *own,
                                   uintptr_t skip_low, uintptr_t skip_high) __attribute__((noinline));
static inline struct mt_stack *mt_stack_own_here(struct mt_core *core, struct mt_walker *walker,
                                                 const uintptr_t *own, uintptr_t skip_low, uintptr_t skip_high)
{
    struct mt_stack *record = mt_trail_find(core, walker, own);
    return __builtin_expect(record != NULL, 1) ? record : mt_stack_own_walk(core, walker, own, skip_low, skip_high);
}
/* The walker's record for the stack that another record (by its id) counts; NULL when there is no room. */
struct mt_stack *mt_stack_own_of(struct mt_core *core, struct mt_walker *walker, uint32_t id);

/* The rare parts of the functions below. */
void mt_stack_own_rebase(struct mt_stack *record, uint32_t epoch);
void mt_stack_own_grew(struct mt_core *core, struct mt_stack *record);
void mt_stack_own_shrank(struct mt_core *core, struct mt_stack *record);

/* The owner alone writes its record; a thread that hands its own part over may read it. */
static inline void mt_stack_own_change(struct mt_stack *record, int64_t bytes, int64_t count)
{
    __atomic_store_n(&record->since_bytes, record->since_bytes + bytes, __ATOMIC_RELAXED);
    __atomic_store_n(&record->since_count, record->since_count + count, __ATOMIC_RELAXED);
}

/* One block more. After mt_stack_note_peak() where that is due. */
static inline __attribute__((always_inline)) void mt_stack_own_allocated(struct mt_core *core,
                                                                         struct mt_stack *record,
                                                                         uint64_t usable_bytes,
                                                                         uint64_t requested_bytes, uint64_t now_ns)
{
    struct mt_segment *segment = core->segment;
    uint32_t epoch = atomic_load_explicit(&segment->attribution.peak_epoch, memory_order_relaxed);
    if (__builtin_expect(record->epoch != epoch, 0)) mt_stack_own_rebase(record, epoch);
    mt_stack_own_change(record, (int64_t)usable_bytes, MT_SCALE);
    record->total_bytes += requested_bytes;
    record->total_count += MT_SCALE;
    record->last_ns = now_ns;
    if (record->at_peak_bytes + record->since_bytes > __atomic_load_n(&record->max_bytes, __ATOMIC_RELAXED))
        mt_stack_own_grew(core, record);
    if (atomic_load_explicit(&segment->frames.source, memory_order_relaxed) != MT_FRAME_NONE)
        mt_frame_note(core, &record->in_frame, record->twin_of ? record->twin_of : record->id, MT_SCALE,
                      requested_bytes);
}

static inline void mt_stack_own_freed(struct mt_core *core, struct mt_stack *record, uint64_t usable_bytes,
                                      const struct mt_stack_end *end)
{
    uint32_t epoch = atomic_load_explicit(&core->segment->attribution.peak_epoch, memory_order_relaxed);
    if (__builtin_expect(record->epoch != epoch, 0)) mt_stack_own_rebase(record, epoch);
    mt_stack_own_change(record, -(int64_t)usable_bytes, -MT_SCALE);
    if (end->lifetime_ms) record->lifetime_ms += end->lifetime_ms * MT_SCALE;
    if (end->is_temporary) record->temporary_count += MT_SCALE;
    if (end->is_same_frame) record->same_frame_count += MT_SCALE;
    if (__builtin_expect(record->at_peak_bytes + record->since_bytes < -MT_STACK_HAND_OVER, 0))
        mt_stack_own_shrank(core, record);
}

/* The same for a thread without a walker; `id` is of any record of the stack. */
void mt_stack_nobody_freed(struct mt_core *core, uint32_t id, uint64_t usable_bytes,
                           const struct mt_stack_end *end);

#endif
