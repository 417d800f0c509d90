/*
 * Chunks of arenas: begun, full, empty again, pinned by a block that is kept,
 * left by threads that end. See arena.h for who may call what.
 */
#include "arena.h"
#include "arena_sites.h"
#include "spans.h"
#include "stats.h"

#include <string.h>

enum {
    EMPTY_MOST = 1024, /* empty chunks that an arena keeps, as long as they are needed */
    LOOK_EVERY = 32,   /* turns between two looks at what was never needed, and thrice its chunks besides */
    CYCLES = 3,
    LOOK_AT = 4,    /* full chunks looked at in one turn for what others have freed */
    OLD_TURNS = 48, /* a full chunk is old after so many more: 3 MiB */
    OLD_FRAMES = 2, /* where there are frames, after so many of them */
};

_Static_assert(sizeof(struct mt_arena_chunk) <= MT_ARENA_HEAD >> MT_ARENA_CELL_SHIFT << 1,
               "the record lies where the head's own cells would lie");

/* ---- lists ---------------------------------------------------------------------- */

static void list_append(struct mt_arena *arena, enum mt_arena_list list, struct mt_arena_chunk *chunk)
{
    chunk->list = list;
    chunk->next = NULL;
    chunk->previous = arena->lists[list].last;
    if (chunk->previous)
        chunk->previous->next = chunk;
    else
        arena->lists[list].first = chunk;
    arena->lists[list].last = chunk;
    arena->counts[list]++;
}

static void list_remove(struct mt_arena *arena, struct mt_arena_chunk *chunk)
{
    if (chunk->next)
        chunk->next->previous = chunk->previous;
    else
        arena->lists[chunk->list].last = chunk->previous;
    if (chunk->previous)
        chunk->previous->next = chunk->next;
    else
        arena->lists[chunk->list].first = chunk->next;
    arena->counts[chunk->list]--;
}

/* Blocks of a chunk that has an owner, who calls this. */
static uint32_t live_count(const struct mt_arena_chunk *chunk)
{
    /* Acquire pairs with the release in mt_arena_give_remote(). */
    return chunk->live - (uint32_t)atomic_load_explicit(&chunk->remote, memory_order_acquire);
}

/* ---- chunks come and go ------------------------------------------------------------ */

static struct mt_arena_chunk *chunk_new(const struct mt_arena *arena)
{
    struct mt_span span;
    if (!mt_span_take(1, MT_SPAN_GROW, MT_SLICE_BYTES, &span)) return NULL;
    struct mt_arena_chunk *chunk = (struct mt_arena_chunk *)(void *)span.start;
    if (!span.is_zero) memset(chunk, 0, MT_ARENA_HEAD);
    chunk->span = span.chunk;
    atomic_store_explicit(&chunk->owner, arena->owner, memory_order_relaxed);
    mt_pagemap_set(chunk, MT_SLICE_BYTES, mt_entry_make(chunk, 0, false, MT_ENTRY_ARENA));
    MT_POOL_STAT_ADD(arena_chunk_count, 1);
    return chunk;
}

static void chunk_drop(struct mt_arena_chunk *chunk)
{
    struct mt_span_chunk *span = chunk->span;
    MT_POOL_STAT_ADD(arena_chunk_count, -1);
    mt_span_give(span, (char *)chunk, 1, MT_SLICE_BYTES);
}

static void unpin(struct mt_arena_chunk *chunk)
{
    if (!chunk->pinned_by) return;
    mt_arena_site_pinned(chunk->pinned_by, -(int64_t)chunk->pinned_bytes);
    chunk->pinned_bytes = chunk->pinned_by = 0;
}

/* Nobody else knows the chunk any more: its last block is gone. */
static void make_empty(struct mt_arena *arena, struct mt_arena_chunk *chunk)
{
    list_remove(arena, chunk);
    unpin(chunk);
    chunk->live = 0;
    atomic_store_explicit(&chunk->remote, 0, memory_order_relaxed);
    if (arena->counts[MT_ARENA_EMPTY] < EMPTY_MOST)
        list_append(arena, MT_ARENA_EMPTY, chunk);
    else
        chunk_drop(chunk);
}

static void restart(struct mt_arena *arena)
{
    struct mt_arena_chunk *chunk = arena->current;
    chunk->live = 0;
    atomic_store_explicit(&chunk->remote, 0, memory_order_relaxed);
    arena->at = (char *)chunk + MT_ARENA_HEAD;
}

void mt_arena_emptied(struct mt_arena *arena, struct mt_arena_chunk *chunk)
{
    if (chunk == arena->current)
        restart(arena);
    else
        make_empty(arena, chunk);
}

void mt_arena_give_remote(void *block)
{
    struct mt_arena_chunk *chunk = mt_arena_chunk_of(block);
    atomic_store_explicit(mt_arena_cell_of(block), 0, memory_order_relaxed);
    /* Release: whoever finds the chunk empty comes after this use of it. Acquire: the last one comes after all. */
    if (atomic_fetch_add_explicit(&chunk->remote, 1, memory_order_acq_rel) + 1 == 0) {
        unpin(chunk);
        chunk_drop(chunk);
    }
}

/* ---- pinned chunks ------------------------------------------------------------------- */

/* What keeps a chunk: the live bytes, and the site with the most of them. */
static uint32_t live_bytes(struct mt_arena_chunk *chunk, unsigned *most_at)
{
    uint32_t bytes[MT_ARENA_SITE_MAX] = {0}, all = 0;
    mt_arena_cell *cells = (mt_arena_cell *)(void *)chunk;
    *most_at = 0;
    for (unsigned i = MT_ARENA_HEAD >> MT_ARENA_CELL_SHIFT; i < MT_SLICE_BYTES >> MT_ARENA_CELL_SHIFT; i++) {
        uint16_t cell = atomic_load_explicit(&cells[i], memory_order_relaxed);
        if (!cell) continue;
        unsigned site = mt_arena_cell_site(cell);
        uint32_t block = (uint32_t)mt_class_bytes(mt_arena_cell_class(cell));
        all += block;
        bytes[site] += block;
        if (bytes[site] > bytes[*most_at]) *most_at = site;
    }
    return all;
}

/* Accounts the part of the chunk that is not live to the site that keeps most of the rest. */
static void pin(struct mt_arena_chunk *chunk)
{
    unsigned site;
    chunk->seen_live = live_count(chunk);
    uint32_t live = live_bytes(chunk, &site);
    unpin(chunk);
    if (!site) return; /* its last blocks have just gone */
    chunk->pinned_by = (uint8_t)site;
    chunk->pinned_bytes = MT_SLICE_BYTES - MT_ARENA_HEAD - live;
    mt_arena_site_pinned(site, chunk->pinned_bytes);
}

static bool is_old(const struct mt_arena *arena, const struct mt_arena_chunk *chunk, uint64_t frame)
{
    if (frame) return frame - chunk->frame >= OLD_FRAMES;
    return arena->turn - chunk->turn >= OLD_TURNS;
}

/*
 * The oldest of the full chunks, which come first, are pinned when they are
 * old. One with most of its blocks still lets nothing lie idle; it comes again later.
 */
static void look_at_full(struct mt_arena *arena, uint64_t frame)
{
    struct mt_arena_chunk *next, *chunk = arena->lists[MT_ARENA_FULL].first;
    for (unsigned i = 0; chunk && i < LOOK_AT; i++, chunk = next) {
        next = chunk->next;
        if (mt_arena_is_empty(chunk)) {
            make_empty(arena, chunk);
        } else if (is_old(arena, chunk, frame)) {
            bool is_used = live_count(chunk) > chunk->seen_live / 2;
            list_remove(arena, chunk);
            list_append(arena, is_used ? MT_ARENA_FULL : MT_ARENA_PINNED, chunk);
            chunk->turn = arena->turn;
            chunk->frame = frame;
            if (!is_used) pin(chunk);
        }
    }
}

/* One after the other in turn: others may have freed what was left, or the owner a part of it. */
static void look_at_pinned(struct mt_arena *arena)
{
    struct mt_arena_chunk *chunk = arena->lists[MT_ARENA_PINNED].first;
    if (!chunk) return;
    if (mt_arena_is_empty(chunk)) {
        make_empty(arena, chunk);
        return;
    }
    list_remove(arena, chunk);
    list_append(arena, MT_ARENA_PINNED, chunk);
    if (live_count(chunk) != chunk->seen_live) pin(chunk);
}

/* ---- the next chunk -------------------------------------------------------------------- */

/* Gives half of the empty chunks back that were not needed for some time. */
static void drop_idle(struct mt_arena *arena)
{
    for (uint32_t drop = (arena->idle_count + 1) / 2; drop && arena->lists[MT_ARENA_EMPTY].first; drop--) {
        struct mt_arena_chunk *chunk = arena->lists[MT_ARENA_EMPTY].first;
        list_remove(arena, chunk);
        chunk_drop(chunk);
    }
    arena->idle_count = arena->counts[MT_ARENA_EMPTY];
    arena->look = arena->turn + LOOK_EVERY;
    for (unsigned list = 0; list < MT_ARENA_LISTS; list++) arena->look += CYCLES * arena->counts[list];
}

/* The one that became empty last, whose memory is still in the caches. */
static struct mt_arena_chunk *take_empty(struct mt_arena *arena)
{
    struct mt_arena_chunk *chunk = arena->lists[MT_ARENA_EMPTY].last;
    if (!chunk) return NULL;
    list_remove(arena, chunk);
    if (arena->counts[MT_ARENA_EMPTY] < arena->idle_count) arena->idle_count = arena->counts[MT_ARENA_EMPTY];
    MT_POOL_STAT_ADD(arena_reuse_count, 1);
    return chunk;
}

static void begin(struct mt_arena *arena, struct mt_arena_chunk *chunk)
{
    chunk->list = MT_ARENA_CURRENT;
    arena->current = chunk;
    arena->at = (char *)chunk + MT_ARENA_HEAD;
    arena->end = (char *)chunk + MT_SLICE_BYTES;
}

bool mt_arena_turn(struct mt_arena *arena, uint64_t frame)
{
    struct mt_arena_chunk *full = arena->current;
    if (full && mt_arena_is_empty(full)) {
        restart(arena);
        return true;
    }
    look_at_full(arena, frame);
    look_at_pinned(arena);
    struct mt_arena_chunk *chunk = take_empty(arena);
    if (!chunk) chunk = chunk_new(arena);
    if (!chunk) return false;
    if (full) {
        full->turn = arena->turn;
        full->frame = frame;
        full->seen_live = live_count(full);
        list_append(arena, MT_ARENA_FULL, full);
    }
    begin(arena, chunk);
    if (++arena->turn >= arena->look) drop_idle(arena);
    return true;
}

/* ---- rarer ways to a block ------------------------------------------------------------------ */

void *mt_arena_take_aligned(struct mt_arena *arena, size_t alignment, unsigned class, uint32_t class_bytes,
                            unsigned site)
{
    char *before = arena->at;
    size_t gap = (0 - (uintptr_t)before) & (alignment - 1);
    if ((size_t)(arena->end - before) < gap) return NULL;
    arena->at = before + gap;
    void *block = mt_arena_take(arena, class, class_bytes, site);
    if (!block) arena->at = before;
    return block;
}

bool mt_arena_resize(struct mt_arena *arena, void *block, uint32_t class_bytes, unsigned new_class,
                     uint32_t new_class_bytes)
{
    uint64_t stride = mt_arena_stride(new_class_bytes);
    if ((char *)block + mt_arena_stride(class_bytes) != arena->at) return false;
    if (stride > (size_t)(arena->end - (char *)block)) return false;
    mt_arena_cell *cell = mt_arena_cell_of(block);
    unsigned site = mt_arena_cell_site(atomic_load_explicit(cell, memory_order_relaxed));
    atomic_store_explicit(cell, mt_arena_cell_make(new_class, site), memory_order_relaxed);
    arena->at = (char *)block + stride;
    return true;
}

/* ---- giving back ------------------------------------------------------------------------------ */

void mt_arena_trim(struct mt_arena *arena)
{
    struct mt_arena_chunk *next;
    for (enum mt_arena_list list = MT_ARENA_FULL; list <= MT_ARENA_PINNED; list++)
        for (struct mt_arena_chunk *chunk = arena->lists[list].first; chunk; chunk = next) {
            next = chunk->next;
            if (mt_arena_is_empty(chunk)) make_empty(arena, chunk);
        }
    while ((next = arena->lists[MT_ARENA_EMPTY].first)) {
        list_remove(arena, next);
        chunk_drop(next);
    }
    arena->idle_count = 0;
    if (!arena->current || !mt_arena_is_empty(arena->current)) return;
    chunk_drop(arena->current);
    arena->current = NULL;
    arena->at = arena->end = NULL;
}

void mt_arena_tidy(struct mt_arena *arena)
{
    if (arena->turn == arena->tidied) mt_arena_trim(arena);
    arena->tidied = arena->turn;
}

/*
 * From here on every free of the chunk is a remote one and brings remote
 * nearer to 0. True when all were freed already: nobody else will come.
 */
static bool orphan(struct mt_arena_chunk *chunk)
{
    int32_t live = (int32_t)chunk->live;
    atomic_store_explicit(&chunk->owner, 0, memory_order_relaxed);
    /* Release and acquire as in mt_arena_give_remote(). */
    bool is_last = atomic_fetch_sub_explicit(&chunk->remote, live, memory_order_acq_rel) == live;
    if (!is_last) MT_POOL_STAT_ADD(arena_orphan_count, 1);
    return is_last;
}

static void leave(struct mt_arena_chunk *chunk)
{
    if (!orphan(chunk)) return;
    unpin(chunk);
    chunk_drop(chunk);
}

void mt_arena_leave(struct mt_arena *arena)
{
    mt_arena_trim(arena);
    for (enum mt_arena_list list = MT_ARENA_FULL; list <= MT_ARENA_PINNED; list++)
        for (struct mt_arena_chunk *chunk; (chunk = arena->lists[list].first);) {
            list_remove(arena, chunk);
            leave(chunk);
        }
    if (arena->current) leave(arena->current);
    arena->current = NULL;
    arena->at = arena->end = NULL;
}

static struct mt_arena_chunk *orphans; /* without a live block */

unsigned mt_arena_owner(const void *chunk)
{
    return atomic_load_explicit(&((const struct mt_arena_chunk *)chunk)->owner, memory_order_relaxed);
}

void mt_arena_orphan(void *slice)
{
    struct mt_arena_chunk *chunk = slice;
    if (!orphan(chunk)) return;
    chunk->next = orphans;
    orphans = chunk;
}

void mt_arena_drop_orphans(void)
{
    while (orphans) {
        struct mt_arena_chunk *chunk = orphans;
        orphans = chunk->next;
        unpin(chunk);
        chunk_drop(chunk);
    }
}
