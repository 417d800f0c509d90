/*
 * Between the sampler and the arenas: which call site a block belongs to and
 * how long it lived. See learn.h.
 */
#include "learn.h"

#include "init.h"
#include "pooled.h"
#include "pools/arena_sites.h"

#define LOAD(field) atomic_load_explicit(&(field), memory_order_relaxed)

/* The innermost return address of a stack, which is the hook's; 0 = not known. */
static uintptr_t site_of(uint32_t id)
{
    const struct mt_stack *stack = mt_stack_at(&mt_core, id);
    if (!stack || !stack->depth) return 0;
    const uint64_t *frames = (const uint64_t *)(const void *)((const char *)mt_core.segment + stack->frames);
    return frames[stack->depth - 1];
}

static uint32_t number_of(const struct mt_shard *shard)
{
    return (uint32_t)(shard - mt_core.segment->shards);
}

void mt_learn_born(struct mt_live_block *what, const struct mt_shard *shard, uint64_t requested_bytes)
{
    uintptr_t site = mt_pooled() ? site_of(what->stack) : 0;
    what->window = site ? mt_arena_sample_born(site, requested_bytes) : 0;
    what->birth_shard = number_of(shard);
    what->birth_bytes = LOAD(shard->requested_bytes);
}

void mt_learn_died(const struct mt_live_block *what, const struct mt_shard *shard, uint64_t frames)
{
    if (!what->window) return;
    bool is_own = shard && number_of(shard) == what->birth_shard;
    struct mt_arena_life life = {.has_frames = what->birth_frame != 0,
                                 .frames = frames,
                                 .is_own_thread = is_own,
                                 .bytes = is_own ? LOAD(shard->requested_bytes) - what->birth_bytes : 0};
    mt_arena_sample_died(site_of(what->stack), what->window, &life);
}
