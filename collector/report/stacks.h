/*
 * What a segment says about call stacks, modules and lifetimes, copied out of
 * its file. Belongs to a snapshot and to its thread.
 */
#ifndef MT_STACKS_H
#define MT_STACKS_H

#include "segment_file.h"

struct mt_stack_copy {
    struct mt_stack record;
    uint32_t id;
    const uint64_t *frames;  /* outermost first; record.depth of them */
    int64_t max_error_bytes; /* how far record.max_bytes may be off, in mode all */
};

struct mt_stacks {
    uint32_t mode; /* enum mt_stacks_mode */
    uint64_t rate_bytes, coarsest_rate_bytes;
    uint64_t lost[MT_LOST_COUNT];
    uint32_t peak_epoch;
    int64_t noted_peak_bytes;
    struct mt_stack_copy
        *stacks; /* in ascending order of id, only those that were ever counted in or that objects may name */
    size_t count;
    struct mt_module *modules;
    size_t module_count;
    uint64_t lifetime_time[MT_LIFETIME_BUCKETS], lifetime_frames[MT_LIFETIME_BUCKETS];
    int64_t live_slack_bytes[MT_POOL_CLASSES], live_slack_variance; /* estimates; see mt_shard_attribution */
    struct mt_thread_name thread_names[MT_THREAD_NAMES];
    uint64_t *frame_words;
    uint32_t leaks_state;  /* enum mt_leaks_state */
    struct mt_leak *leaks; /* by id, leak_count of them; NULL where nothing was looked for */
    uint32_t leak_count;
    struct mt_leak leaks_reachable;
};

/* Copies them; `shards` are those of the snapshot. Returns 0 or -errno; -EINVAL when an offset lies outside the
 * file. */
int mt_stacks_take(struct mt_stacks *stacks, const struct mt_segment_file *file, const struct mt_shard *shards,
                   uint32_t shard_count);
void mt_stacks_free(struct mt_stacks *stacks);

const struct mt_stack_copy *mt_stacks_find(const struct mt_stacks *stacks, uint32_t id);
/* The module that an address of a stack belongs to, in that stack's generation; NULL when there is none. */
const struct mt_module *mt_stacks_module(const struct mt_stacks *stacks, uint64_t address, uint32_t generation);

/* Live bytes, and bytes at the process's peak, whose true value the caller knows. */
int64_t mt_stack_live_bytes(const struct mt_stack *stack);
double mt_stack_live_count(const struct mt_stack *stack);
int64_t mt_stack_peak_bytes(const struct mt_stacks *stacks, const struct mt_stack *stack, int64_t peak_bytes);
/* In 1/MT_SCALE. */
int64_t mt_stack_peak_count(const struct mt_stacks *stacks, const struct mt_stack *stack, int64_t peak_bytes);
/* Half the width of the 95 % interval of the live bytes; 0 where they are exact. */
int64_t mt_stack_error_bytes(const struct mt_stack *stack);

#endif
