/*
 * Between the sampler and the arenas: which call site a block belongs to and
 * how long it lived. See learn.h.
 */
#include "learn.h"

#include "init.h"
#include "pooled.h"
#include "pools/arena_sites.h"
#include "trace_thread.h"

#define LOAD(field) atomic_load_explicit(&(field), memory_order_relaxed)

/* The innermost return address of the calling thread's last walk, which is the hook's; 0 = not known. */
static uintptr_t site_of_walk(void)
{
    const struct mt_walker *walker = mt_trace_thread.walker;
    unsigned count = walker ? walker->count - walker->own_count : 0;
    return count ? walker->frames[count - 1].pc : 0;
}

static uint32_t number_of(const struct mt_shard *shard)
{
    return (uint32_t)(shard - mt_core.segment->shards);
}

void mt_learn_born(struct mt_live_block *what, const struct mt_shard *shard, uint64_t requested_bytes)
{
    what->site = mt_pooled() ? site_of_walk() : 0;
    what->window = what->site ? mt_arena_sample_born(what->site, requested_bytes) : 0;
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
    mt_arena_sample_died(what->site, what->window, &life);
}
