/*
 * Which pages of an arena's chunk hold old content. Blocks may share their
 * first and last page with their neighbours: such a page is dirty for none of
 * them, and goes back to the system only when all that lies in it is free.
 * Under the arena's lock, but for mt_mid_pages_over().
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

static inline struct mt_mid_pages mt_mid_pages_of_both(struct mt_mid_pages one, struct mt_mid_pages other)
{
    return (struct mt_mid_pages){one.first > other.first ? one.first : other.first,
                                 one.end < other.end ? one.end : other.end};
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

static inline size_t mt_mid_pages_touched(const struct mt_mid_chunk *chunk, struct mt_mid_pages pages)
{
    return mt_mid_bits_count(chunk->touched, pages.first, mt_mid_pages_count(pages));
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

/*
 * A part of a used block, or all of it, was free until now: its pages are not dirty any more. Returns how many of
 * the pages that it lies in hold no old content.
 */
size_t mt_mid_pages_taken(struct mt_mid_arena *arena, const struct mt_mid_chunk *chunk,
                          const struct mt_tlsf_block *block, uint64_t from, uint64_t to);
/* Addresses that were a used block's have become part of a free one; what of them holds content is set as touched.
 */
void mt_mid_pages_given(struct mt_mid_arena *arena, const struct mt_mid_chunk *chunk,
                        const struct mt_tlsf_block *block, uint64_t from, uint64_t to);

#endif
