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
    MT_MID_NEAR_BYTES = 1 << 20, /* near one thread, and in its slots; blocks above are the large ones */
    MT_MID_CACHE_SLOTS = 17,     /* the last one is for blocks with a mapping of their own */
    MT_MID_CACHE_ENTRIES = 4,
    MT_MID_SLOT_BYTES = 32 << 20,
    MT_MID_FREES_PER_LOOK = 8, /* see mt_mid_look() */
};

/*
 * So much larger than a request may a block be that waited. Large blocks out of arenas are for requests of their
 * own size: they would fit many, but what waits for those is missing in the arena, whose ranges join.
 */
static inline size_t mt_mid_cache_slack(size_t bytes)
{
    return bytes > MT_MID_NEAR_BYTES && bytes <= MT_MID_MAX ? 4095 : bytes / 8;
}

/* A smaller block gives a difference above 2^64 - size, whatever bytes is. */
static inline bool mt_mid_cache_fits(size_t size, size_t bytes, size_t slack)
{
    return size - bytes <= slack;
}

/* ---- near: only the heap's thread ------------------------------------------------------- */

enum { MT_MID_NEAR_ALL = MT_MID_NEAR + MT_LARGE_SLOTS };

/* A block of at least bytes and mt_mid_cache_slack() more, the newest of several. False when none waits. */
bool mt_mid_near_take(struct mt_mid_near *near, size_t bytes, struct mt_mid_cached *found);
/* The one that has waited longest; there is one. */
struct mt_mid_cached mt_mid_near_oldest(struct mt_mid_near *near);
/* Lets a block wait. False, with nothing done, where others would have to go first. */
bool mt_mid_near_put(struct mt_mid_near *near, struct mt_mid_cached block);

/* The same for a large block, and a request of its size, which tell what to do with the next one: where large ones
 * were asked for again, others go first. Those come back with their number, which may include the block itself. */
unsigned mt_mid_near_put_large(struct mt_mid_near *near, struct mt_mid_cached block,
                               struct mt_mid_cached others[MT_MID_NEAR_ALL + 1]);
bool mt_mid_near_take_large(struct mt_mid_near *near, size_t bytes, struct mt_mid_cached *found);

/* What the former says, in short, where it is that the block may not wait and nothing else has to go. */
static inline bool mt_mid_near_turns_away(struct mt_mid_near *near, size_t bytes)
{
    if (near->trust || near->bytes > MT_MID_NEAR_BYTES) return false;
    near->missed_bytes[near->missed_count++ % MT_MID_MISSED] = bytes;
    return true;
}

/* Takes out what waits; with is_idle_only what has waited since this was last asked. Returns the number. */
unsigned mt_mid_near_empty(struct mt_mid_near *near, bool is_idle_only,
                           struct mt_mid_cached others[MT_MID_NEAR_ALL]);

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
/* So many bytes of blocks that are as large as this one may wait in one place. */
size_t mt_mid_cache_most(size_t bytes);
/* What waits in the slots and near the calling thread, about. */
size_t mt_mid_cache_bytes(void);

#endif
