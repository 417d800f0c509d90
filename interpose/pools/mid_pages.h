/*
 * Which pages of an arena's chunk hold old content. Blocks may share their
 * first and last page with their neighbours; such a page counts as touched
 * from then on, so that one that was not touched lies in one block or in one
 * free range as a whole, and needs no look at neighbours. Under the arena's
 * lock, but for mt_mid_pages_over().
 */
#ifndef MT_POOLS_MID_PAGES_H
#define MT_POOLS_MID_PAGES_H

#include "mid_arena.h"
#include "mid_bits.h"

/* By number in the chunk, up to the end, which does not belong to them. */
struct mt_mid_pages {
    size_t first, end;
};

static inline size_t mt_mid_pages_count(struct mt_mid_pages pages)
{
    return pages.end > pages.first ? pages.end - pages.first : 0;
}

/* Those that a range of addresses lies in, and those that lie in it. */
static inline struct mt_mid_pages mt_mid_pages_over(const struct mt_mid_chunk *chunk, uint64_t from, uint64_t to)
{
    uint64_t base = (uintptr_t)chunk->base;
    return (struct mt_mid_pages){(from - base) >> MT_MID_PAGE_SHIFT,
                                 (to - base + MT_MID_PAGE - 1) >> MT_MID_PAGE_SHIFT};
}

static inline struct mt_mid_pages mt_mid_pages_inside(const struct mt_mid_chunk *chunk, uint64_t from, uint64_t to)
{
    uint64_t base = (uintptr_t)chunk->base;
    return (struct mt_mid_pages){(from - base + MT_MID_PAGE - 1) >> MT_MID_PAGE_SHIFT,
                                 (to - base) >> MT_MID_PAGE_SHIFT};
}

static inline void mt_mid_pages_set(struct mt_mid_chunk *chunk, struct mt_mid_pages pages, bool is_touched)
{
    mt_mid_bits_put(chunk->touched, pages.first, mt_mid_pages_count(pages), is_touched);
}

static inline void mt_mid_pages_set_busy(struct mt_mid_chunk *chunk, struct mt_mid_pages pages)
{
    size_t from = pages.first >> MT_MID_UNIT_SHIFT, to = (pages.end - 1) >> MT_MID_UNIT_SHIFT;
    mt_mid_bits_put(chunk->busy, from, to + 1 - from, true);
}

/* What of a range is not touched. */
static inline size_t mt_mid_pages_fresh(const struct mt_mid_chunk *chunk, uint64_t from, uint64_t to)
{
    struct mt_mid_pages over = mt_mid_pages_over(chunk, from, to);
    return mt_mid_pages_count(over) - mt_mid_bits_count(chunk->touched, over.first, mt_mid_pages_count(over));
}

/* The page at the end of a block is touched from now on if it may hold the begin of another one. */
static inline void mt_mid_pages_share(struct mt_mid_chunk *chunk, uint64_t end)
{
    if (end & (MT_MID_PAGE - 1)) mt_mid_pages_set(chunk, mt_mid_pages_over(chunk, end - 1, end), true);
}

/*
 * A part of a used block, or all of it, was free until now. Returns how many of the pages that it lies in hold no
 * old content.
 */
static inline size_t mt_mid_pages_taken(struct mt_mid_arena *arena, struct mt_mid_chunk *chunk,
                                        const struct mt_tlsf_block *block, uint64_t from, uint64_t to)
{
    if (!(block->marks & MT_MID_PARTLY_FRESH)) return 0;
    size_t fresh = mt_mid_pages_fresh(chunk, from, to);
    if (!fresh) return 0;
    arena->fresh_pages -= fresh;
    if (from & (MT_MID_PAGE - 1)) mt_mid_pages_share(chunk, from);
    mt_mid_pages_share(chunk, to);
    return fresh;
}

#endif
