/*
 * The count of pages with old content in free ranges. Under the arena's lock.
 */
#include "mid_pages.h"

static inline uint64_t end_of(const struct mt_tlsf_block *block)
{
    return block->offset + block->bytes;
}

static inline bool is_free(const struct mt_mid_arena *arena, uint32_t id)
{
    return id && arena->tlsf.blocks[id].state == MT_TLSF_FREE;
}

/* Of the pages that a range lies in, those that lay in the free range which it was a part of. */
static inline struct mt_mid_pages were_free(const struct mt_mid_arena *arena, const struct mt_mid_chunk *chunk,
                                            const struct mt_tlsf_block *block, uint64_t from, uint64_t to)
{
    struct mt_mid_pages over = mt_mid_pages_over(chunk, from, to);
    if (from == block->offset && is_free(arena, block->left)) from = arena->tlsf.blocks[block->left].offset;
    if (to == end_of(block) && is_free(arena, block->right)) to = end_of(&arena->tlsf.blocks[block->right]);
    return mt_mid_pages_of_both(over, mt_mid_pages_inside(chunk, from, to));
}

size_t mt_mid_pages_taken(struct mt_mid_arena *arena, const struct mt_mid_chunk *chunk,
                          const struct mt_tlsf_block *block, uint64_t from, uint64_t to)
{
    struct mt_mid_pages whole = were_free(arena, chunk, block, from, to);
    if (!(block->marks & MT_MID_PARTLY_FRESH)) {
        arena->dirty_pages -= mt_mid_pages_count(whole);
        return 0;
    }
    struct mt_mid_pages over = mt_mid_pages_over(chunk, from, to);
    arena->dirty_pages -= mt_mid_pages_touched(chunk, whole);
    return mt_mid_pages_count(over) - mt_mid_pages_touched(chunk, over);
}

void mt_mid_pages_given(struct mt_mid_arena *arena, const struct mt_mid_chunk *chunk,
                        const struct mt_tlsf_block *block, uint64_t from, uint64_t to)
{
    struct mt_mid_pages whole = mt_mid_pages_of_both(mt_mid_pages_over(chunk, from, to),
                                                     mt_mid_pages_inside(chunk, block->offset, end_of(block)));
    bool is_partly = block->marks & MT_MID_PARTLY_FRESH;
    arena->dirty_pages += is_partly ? mt_mid_pages_touched(chunk, whole) : mt_mid_pages_count(whole);
}
