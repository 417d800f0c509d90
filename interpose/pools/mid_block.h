/*
 * What is known of a block in an arena's chunk, beside the chunk: for the two
 * files that serve such blocks. Whoever holds the block writes its mark; what a
 * free of a wrong pointer may meet is atomic.
 */
#ifndef MT_POOLS_MID_BLOCK_H
#define MT_POOLS_MID_BLOCK_H

#include "pools.h"

enum { MT_MID_GRANULE_SHIFT = 12, MT_MID_GRANULE = 1 << MT_MID_GRANULE_SHIFT };

/* Where a block starts: how large it is, its id in the engine, and what was noted of it. 0 elsewhere. */
struct mt_mid_mark {
    _Atomic uint16_t granules; /* 0 also while the block waits in a cache */
    uint16_t room;             /* granules behind them that are the block's too, for it to grow into */
    uint32_t id;               /* with MT_MID_USED_AGAIN where it has waited in a cache: its content is old */
    uint32_t requested;
    uint16_t origin;
    bool is_sampled; /* it may have a call stack */
};
_Static_assert(MT_MID_MAX >> MT_MID_GRANULE_SHIFT < UINT16_MAX / 2, "a block and its room fit into their fields");

#define MT_MID_USED_AGAIN (UINT32_C(1) << 31)

struct mt_mid_chunk {
    _Alignas(MT_RECORD_ALIGN) char *base;
    size_t bytes;
    struct arena *arena;
    struct mt_mid_mark *marks;
    _Atomic uint64_t *touched; /* one bit per granule: has been part of a freed block, so may hold old content */
    _Atomic uint64_t *aged;    /* was free and touched at the last look */
    size_t side_bytes;
    struct mt_mid_chunk *next;
};
_Static_assert(sizeof(struct mt_mid_chunk) == MT_RECORD_ALIGN, "a chunk's record has the size of all records");

/*
 * Blocks of one size begin at even distances, often powers of two, so that their marks would share a few sets of
 * the processor's caches: they are spread within groups.
 */
enum { MT_MID_MARK_GROUP = 64 };
static inline struct mt_mid_mark *mt_mid_mark_at(const struct mt_mid_chunk *chunk, size_t granule)
{
    return &chunk->marks[granule ^ (granule / MT_MID_MARK_GROUP % MT_MID_MARK_GROUP)];
}

static inline struct mt_mid_mark *mt_mid_mark_of(const struct mt_mid_chunk *chunk, const void *block)
{
    return mt_mid_mark_at(chunk, (size_t)((const char *)block - chunk->base) >> MT_MID_GRANULE_SHIFT);
}

/* A block that has waited, all of whose bytes are usable now, is handed out. */
static inline void mt_mid_begin_again(struct mt_mid_mark *mark, size_t bytes, size_t requested, unsigned origin)
{
    mark->id |= MT_MID_USED_AGAIN;
    mark->room = 0;
    mark->requested = (uint32_t)requested;
    mark->origin = (uint16_t)origin;
    mark->is_sampled = false;
    atomic_store_explicit(&mark->granules, (uint16_t)(bytes >> MT_MID_GRANULE_SHIFT), memory_order_relaxed);
}

#endif
