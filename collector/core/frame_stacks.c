/*
 * The stacks of a frame: two lists in the segment of what was counted in, one
 * for the frame that is being made, one for the frame before, whose last blocks
 * may still be noted. Costs one comparison and two additions a block, and a
 * shared atomic for each stack and frame. Nothing here waits for another thread.
 */
#include "frame_stacks.h"

#include "stack.h"

#define LOAD(field)             atomic_load_explicit(&(field), memory_order_relaxed)
#define STORE(field, value)     atomic_store_explicit(&(field), value, memory_order_relaxed)
#define FETCH_ADD(field, value) atomic_fetch_add_explicit(&(field), value, memory_order_relaxed)

void mt_frame_note_first(struct mt_core *core, struct mt_frame_part *part, uint32_t stack, uint32_t frame)
{
    STORE(part->sample_count, 0);
    STORE(part->count, 0);
    STORE(part->bytes, 0);
    STORE(part->stack, stack);
    STORE(part->frame, frame);
    if (frame == 1) return; /* no frame has begun: the list has no memory yet */
    struct mt_touched_parts *touched = &core->segment->frames.touched[(frame - 1) % 2];
    uint32_t at = FETCH_ADD(touched->count, 1);
    if (at < MT_TOUCHED_PARTS) STORE(touched->parts[at], (uint64_t)((char *)part - (char *)core->segment));
}

static struct mt_frame_part *part_at(struct mt_core *core, const struct mt_touched_parts *touched, uint32_t at)
{
    uint64_t offset = LOAD(touched->parts[at]);
    return offset ? (struct mt_frame_part *)(void *)((char *)core->segment + offset) : NULL;
}

/* What a part counted in a frame; its thread may be counting on, so it is only read. */
static void add_part(struct mt_frame_stack *row, const struct mt_frame_part *part, uint32_t frame)
{
    if (LOAD(part->frame) != frame) return;
    row->sample_count += LOAD(part->sample_count);
    row->count += LOAD(part->count);
    row->bytes += LOAD(part->bytes);
}

/* With all stacks, threads that share a stack have parts of their own, in its twins. */
static void add_twins(struct mt_core *core, struct mt_frame_stack *row, const struct mt_stack *stack,
                      uint32_t frame)
{
    if (LOAD(core->segment->attribution.mode) != MT_STACKS_ALL) return;
    /* Acquire pairs with the release of whoever put the twin there. */
    uint32_t id = atomic_load_explicit(&stack->twins, memory_order_acquire);
    for (const struct mt_stack *twin; id && (twin = mt_stack_at(core, id)) != NULL;
         id = atomic_load_explicit(&twin->twins, memory_order_acquire))
        add_part(row, &twin->in_frame, frame);
}

/* By blocks really seen: an estimate out of one small block says little. With all stacks it is the same as by
 * count. */
static bool is_more(const struct mt_frame_stack *a, const struct mt_frame_stack *b)
{
    if (a->sample_count != b->sample_count) return a->sample_count > b->sample_count;
    return a->count != b->count ? a->count > b->count : a->bytes > b->bytes;
}

static void add_to_others(struct mt_kept_frame *kept, const struct mt_frame_stack *row)
{
    kept->other_count += row->count;
    kept->other_bytes += row->bytes;
}

/* Keeps the list in order; what falls off it joins the others. */
static void insert(struct mt_kept_frame *kept, const struct mt_frame_stack *row)
{
    uint32_t at = kept->stack_count;
    if (at == MT_FRAME_STACKS) {
        if (!is_more(row, &kept->stacks[at - 1])) {
            add_to_others(kept, row);
            return;
        }
        add_to_others(kept, &kept->stacks[--at]);
    } else {
        kept->stack_count++;
    }
    for (; at && is_more(row, &kept->stacks[at - 1]); at--) kept->stacks[at] = kept->stacks[at - 1];
    kept->stacks[at] = *row;
}

/* `told` belongs to the thread that ends frames. */
static void tell(struct mt_core *core, struct mt_kept_frame *kept, uint32_t id, uint32_t frame)
{
    struct mt_stack *stack = mt_stack_at(core, id);
    if (!stack || LOAD(stack->in_frame.told) == frame) return;
    STORE(stack->in_frame.told, frame);
    struct mt_frame_stack row = {.id = id};
    add_part(&row, &stack->in_frame, frame);
    add_twins(core, &row, stack, frame);
    if (row.sample_count) insert(kept, &row);
}

void mt_frame_stacks_collect(struct mt_core *core, struct mt_kept_frame *kept, uint64_t index)
{
    const struct mt_touched_parts *touched = &core->segment->frames.touched[(uint32_t)index % 2];
    uint32_t count = LOAD(touched->count), frame = (uint32_t)index + 1;
    kept->stack_count = 0;
    kept->other_count = kept->other_bytes = 0;
    kept->is_cut = count > MT_TOUCHED_PARTS;
    if (kept->is_cut) count = MT_TOUCHED_PARTS;
    for (uint32_t i = 0; i < count; i++) {
        const struct mt_frame_part *part = part_at(core, touched, i);
        if (part) tell(core, kept, LOAD(part->stack), frame);
    }
}

void mt_frame_stacks_begin_next(struct mt_core *core, uint64_t index)
{
    STORE(core->segment->frames.touched[((uint32_t)index + 1) % 2].count, 0);
}
