/*
 * A few freed middle blocks that wait for the next request of their size, so
 * that it need not go through an arena. Threads share slots by their heap's
 * id; a block enters or leaves a slot by one atomic exchange. Any thread, no
 * locks; after fork the child has the slots as they were.
 */
#ifndef MT_POOLS_MID_CACHE_H
#define MT_POOLS_MID_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MT_MID_CACHE_SLOTS = 16,
    MT_MID_CACHE_ENTRIES = 8,
    MT_MID_CACHE_BYTES = 1 << 20, /* in one slot, about; larger blocks do not wait */
};

struct mt_mid_cached {
    char *block;
    size_t bytes;
};

/* A block of at least bytes and at most an eighth more. False when none waits. */
bool mt_mid_cache_take(size_t bytes, struct mt_mid_cached *found);
/*
 * Lets a block of at most MT_MID_CACHE_BYTES wait, in place of others, which
 * come back with their number (which may include the block itself). The caller frees those.
 */
unsigned mt_mid_cache_put(struct mt_mid_cached block, struct mt_mid_cached others[MT_MID_CACHE_ENTRIES + 1]);
/* Empties a slot; with is_idle_only only one that was not used since this was last asked. */
unsigned mt_mid_cache_empty(unsigned slot, bool is_idle_only,
                            struct mt_mid_cached others[MT_MID_CACHE_ENTRIES + 1]);

#endif
