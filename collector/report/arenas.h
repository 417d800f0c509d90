/*
 * The arenas of a segment: the call sites whose blocks come from them, and
 * what all threads counted at each. A copy that never changes again; one thread.
 */
#ifndef MT_ARENAS_H
#define MT_ARENAS_H

#include "segment_file.h"

struct mt_arena_sum {
    uint64_t allocation_count, free_count, requested_bytes; /* cumulative */
    int64_t live_bytes;                                     /* usable */
};

struct mt_arenas {
    struct mt_arena_site sites[MT_ARENA_SITE_MAX]; /* row 0 is not used */
    struct mt_arena_sum sums[MT_ARENA_SITE_MAX];
};

/* Reads the arenas of a segment whose fixed part was copied; *arenas is NULL when it has none. 0 or -errno. */
int mt_arenas_take(struct mt_arenas **arenas, const struct mt_segment_file *file, const struct mt_segment *copy,
                   uint32_t shard_limit);

#endif
