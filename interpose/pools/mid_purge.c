/*
 * How an arena's free memory goes back to the system. Called with the arena's
 * lock held; nothing here touches a block that is in use. errno is preserved.
 */
#include "mid_chunk.h"
#include "mid_pages.h"
#include "os.h"
#include "stats.h"

enum {
    TRIM_FROM = 16 << 20,
    TRIM_SELDOM = 32, /* so many times what lies free is handed out between two trims: each costs faults */
};

static void chunk_drop(struct mt_mid_arena *arena, struct mt_mid_chunk **link, uint32_t id)
{
    struct mt_mid_chunk *chunk = *link;
    *link = chunk->next;
    mt_tlsf_remove_chunk(&arena->tlsf, id);
    arena->fresh_pages -= chunk->bytes >> MT_MID_PAGE_SHIFT;
    MT_POOL_STAT_ADD(tlsf_chunk_count, -1);
    MT_POOL_STAT_ADD(tlsf_reserved_bytes, -(int64_t)chunk->bytes);
    mt_mid_chunk_drop(chunk);
}

static bool is_idle(const struct mt_mid_chunk *chunk, size_t page, bool is_all)
{
    return mt_mid_bit(chunk->touched, page) && (is_all || !mt_mid_bit(chunk->busy, page >> MT_MID_UNIT_SHIFT));
}

/* Purges those of the pages, all in a free block, that are touched and idle, or all that are touched. */
static size_t purge_pages(struct mt_mid_arena *arena, struct mt_mid_chunk *chunk, uint32_t id,
                          struct mt_mid_pages pages, bool is_all)
{
    size_t purged = 0, end = pages.end;
    for (size_t i = pages.first; i < end;) {
        if (!is_idle(chunk, i, is_all)) {
            i++;
            continue;
        }
        size_t from = i;
        while (i < end && is_idle(chunk, i, is_all)) i++;
        if (!mt_os_purge(chunk->base + from * MT_MID_PAGE, (i - from) * MT_MID_PAGE)) continue;
        mt_mid_bits_put(chunk->touched, from, i - from, false);
        purged += i - from;
        MT_POOL_STAT_ADD(tlsf_purge_count, 1);
    }
    if (purged) arena->tlsf.blocks[id].marks |= MT_MID_PARTLY_FRESH;
    arena->fresh_pages += purged;
    return purged * MT_MID_PAGE;
}

/* From now on units are busy where something is freed. */
static void begin_idling(struct mt_mid_arena *arena)
{
    for (struct mt_mid_chunk *chunk = arena->chunks; chunk; chunk = chunk->next)
        mt_mid_bits_put(chunk->busy, 0, (chunk->bytes >> MT_MID_PAGE_SHIFT >> MT_MID_UNIT_SHIFT) + 1, false);
}

static struct mt_mid_pages pages_in(const struct mt_mid_chunk *chunk, const struct mt_tlsf_block *block)
{
    return mt_mid_pages_inside(chunk, block->offset, block->offset + block->bytes);
}

/* Of what is idle, or of all; then whole chunks. */
size_t mt_mid_arena_purge(struct mt_mid_arena *arena, bool is_all)
{
    size_t bytes = 0;
    for (uint32_t id = 1; id < arena->tlsf.untouched; id++) {
        const struct mt_tlsf_block *block = mt_tlsf_block(&arena->tlsf, id);
        if (block->state != MT_TLSF_FREE) continue;
        struct mt_mid_chunk *chunk = mt_mid_chunk_at(block->offset);
        bytes += purge_pages(arena, chunk, id, pages_in(chunk, block), is_all);
        if (!mt_tlsf_is_whole_chunk(&arena->tlsf, id) || (arena->tlsf.chunk_count == 1 && !is_all)) continue;
        if (mt_mid_bits_count(chunk->touched, 0, chunk->bytes >> MT_MID_PAGE_SHIFT)) continue;
        struct mt_mid_chunk **link = &arena->chunks;
        while (*link != chunk) link = &(*link)->next;
        chunk_drop(arena, link, id);
    }
    if (!is_all) begin_idling(arena);
    MT_POOL_STAT_ADD(tlsf_purged_bytes, bytes);
    return bytes;
}

struct purge {
    struct mt_mid_arena *arena;
    size_t bytes, enough;
};

static bool purge_end(void *context, const struct mt_tlsf_block *block)
{
    struct purge *purge = context;
    struct mt_mid_chunk *chunk = mt_mid_chunk_at(block->offset);
    struct mt_mid_pages pages = pages_in(chunk, block);
    size_t wanted = (purge->enough - purge->bytes + MT_MID_PAGE - 1) >> MT_MID_PAGE_SHIFT;
    if (wanted < mt_mid_pages_count(pages)) pages.first = pages.end - wanted;
    uint32_t id = (uint32_t)(block - purge->arena->tlsf.blocks);
    purge->bytes += purge_pages(purge->arena, chunk, id, pages, true);
    return purge->bytes < purge->enough;
}

/* The largest free ranges are used again last, and their ends are. */
size_t mt_mid_arena_purge_some(struct mt_mid_arena *arena, size_t enough)
{
    struct purge purge = {arena, 0, enough};
    mt_tlsf_visit_free(&arena->tlsf, purge_end, &purge);
    MT_POOL_STAT_ADD(tlsf_purged_bytes, purge.bytes);
    return purge.bytes;
}

void mt_mid_arena_trim(struct mt_mid_arena *arena, struct mt_mid_chunk *chunk, uint32_t id)
{
    size_t begin = (size_t)(mt_tlsf_block(&arena->tlsf, id)->offset - (uintptr_t)chunk->base);
    size_t gap = chunk->reached > begin ? chunk->reached - begin : 0;
    /* So that what has to be touched again is a small part of what is handed out. */
    if (gap < TRIM_FROM || gap < chunk->reached / 2 || arena->taken_bytes < gap * TRIM_SELDOM) return;
    arena->taken_bytes = 0;
    chunk->reached -= gap / 4;
    uint64_t from = (uintptr_t)chunk->base + chunk->reached;
    struct mt_mid_pages pages = mt_mid_pages_inside(chunk, from, from + gap / 4 + MT_MID_PAGE - 1);
    size_t purged = purge_pages(arena, chunk, id, pages, true);
    MT_POOL_STAT_ADD(tlsf_purged_bytes, purged);
}

void mt_mid_arena_look(struct mt_mid_arena *arena, uint64_t delay_ns)
{
    if (!mt_mid_arena_dirty_bytes(arena)) return;
    uint64_t now = mt_now_coarse_ns();
    if (now - arena->last_look_ns < delay_ns) return;
    if (arena->last_look_ns) mt_mid_arena_purge(arena, false);
    arena->last_look_ns = now;
}
