/*
 * Freed blocks above 32 KiB that wait for the next request of their size, so
 * that it need go neither through an arena nor to the system: small ones near,
 * in the heap of the thread that freed them, which alone touches them there;
 * larger ones, as long as such blocks are asked for again, near too where the
 * process has one thread, else in slots that threads share by their heap's id,
 * where a block enters or leaves by one atomic exchange. Any thread, no locks;
 * after fork the child has both as they were, but for what waited near in heaps
 * of threads that did not come along.
 */
#ifndef MT_POOLS_MID_CACHE_H
#define MT_POOLS_MID_CACHE_H

#include "pools.h"

enum {
    MT_MID_NEAR_BYTES = 1 << 20, /* near one thread, about; blocks above are the large ones */
    MT_MID_CACHE_SLOTS = 17,     /* the last one is for blocks with a mapping of their own */
    MT_MID_CACHE_ENTRIES = 4,
    MT_MID_SLOT_BYTES = 32 << 20,
    MT_MID_FREES_PER_LOOK = 8, /* see mt_mid_look() */
};

static inline bool mt_mid_cache_fits(size_t size, size_t bytes)
{
    return size - bytes <= size / 8;
}

/* ---- near: only the heap's thread ------------------------------------------------------- */

struct mt_mid_cached mt_mid_near_remove(struct mt_mid_near *near, unsigned at);

/* A block of at least bytes and at most an eighth more, the newest of several. False when none waits. */
static inline bool mt_mid_near_take(struct mt_mid_near *near, size_t bytes, struct mt_mid_cached *found)
{
    for (unsigned i = near->count; i-- > 0;) {
        if (!mt_mid_cache_fits(near->blocks[i].bytes, bytes)) continue;
        *found = near->blocks[i];
        if (__builtin_expect(i + 1 < near->count || i < near->idle_count, 0)) {
            mt_mid_near_remove(near, i);
        } else {
            near->count = i;
            near->bytes -= found->bytes;
        }
        return true;
    }
    return false;
}

/* Lets a block wait. False, with nothing done, where others would have to go first. */
static inline bool mt_mid_near_put(struct mt_mid_near *near, struct mt_mid_cached block)
{
    if (near->count == MT_MID_NEAR || near->bytes + block.bytes > MT_MID_NEAR_BYTES + near->extra_bytes)
        return false;
    near->blocks[near->count++] = block;
    near->bytes += block.bytes;
    return true;
}

/* The same for a large block, and a request of its size, which tell what to do with the next one: where large ones
 * were asked for again, others go first. Those come back with their number, which may include the block itself. */
unsigned mt_mid_near_put_large(struct mt_mid_near *near, struct mt_mid_cached block,
                               struct mt_mid_cached others[MT_MID_NEAR + 1]);
bool mt_mid_near_take_large(struct mt_mid_near *near, size_t bytes, struct mt_mid_cached *found);

/* Takes out what waits; with is_idle_only what has waited since this was last asked. Returns the number. */
unsigned mt_mid_near_empty(struct mt_mid_near *near, bool is_idle_only, struct mt_mid_cached others[MT_MID_NEAR]);

/* ---- slots: any thread, whose heap may be NULL --------------------------------------------- */

bool mt_mid_cache_take(const struct mt_theap *heap, size_t bytes, struct mt_mid_cached *found);
/*
 * Lets a block wait, in place of others, which come back with their number
 * (which may include the block itself). The caller frees those.
 */
unsigned mt_mid_cache_put(const struct mt_theap *heap, struct mt_mid_cached block,
                          struct mt_mid_cached others[MT_MID_CACHE_ENTRIES + 2]);
/* Empties a slot; with is_idle_only only one that was not used since this was last asked. */
unsigned mt_mid_cache_empty(unsigned slot, bool is_idle_only, struct mt_mid_cached others[MT_MID_CACHE_ENTRIES]);
/* What waits in the slots and near the calling thread, about. */
size_t mt_mid_cache_bytes(void);

#endif
