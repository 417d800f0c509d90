/*
 * Which call stacks allocated in a frame. A thread that records a block counts
 * it in the stack's part (mt_frame_note()); the thread that ends a frame which
 * is kept looks at the parts that were touched (mt_frame_stacks_collect()).
 */
#ifndef MT_FRAME_STACKS_H
#define MT_FRAME_STACKS_H

#include "core.h"

/* The first block of a part in a frame. */
void mt_frame_note_first(struct mt_core *core, struct mt_frame_part *part, uint32_t stack, uint32_t frame);

/* Counts a block; `count` is in 1/MT_SCALE. Only one thread at a time may write one part. */
static inline void mt_frame_note(struct mt_core *core, struct mt_frame_part *part, uint32_t stack, uint64_t count,
                                 uint64_t bytes)
{
    const struct mt_frames *frames = &core->segment->frames;
    bool has_begun = atomic_load_explicit(&frames->source, memory_order_relaxed) != MT_FRAME_NONE;
    uint32_t frame = has_begun ? (uint32_t)mt_frame_now(core) + 2 : 1; /* the one that is being made, + 1 */
    if (__builtin_expect(frame != atomic_load_explicit(&part->frame, memory_order_relaxed), 0))
        mt_frame_note_first(core, part, stack, frame);
#define MT_ADD_TO(field, value)                                                                                    \
    atomic_store_explicit(&(field), atomic_load_explicit(&(field), memory_order_relaxed) + (value),                \
                          memory_order_relaxed)
    MT_ADD_TO(part->sample_count, 1);
    MT_ADD_TO(part->count, count);
    MT_ADD_TO(part->bytes, bytes);
#undef MT_ADD_TO
}

/* By the thread that ends frame `index`, before it counts as ended. */
void mt_frame_stacks_collect(struct mt_core *core, struct mt_kept_frame *kept, uint64_t index);
/* The same thread, when it is done with frame `index`: the list of the next one begins. */
void mt_frame_stacks_begin_next(struct mt_core *core, uint64_t index);

#endif
