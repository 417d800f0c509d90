/*
 * The arena of a thread heap as the pools use it: blocks of the call sites
 * that are taken up, counted like all others, in a row of their site's own. A
 * heap's thread calls these with its heap; where NULL is allowed, any thread.
 */
#ifndef MT_POOLS_ARENA_SERVE_H
#define MT_POOLS_ARENA_SERVE_H

#include "pools.h"

/* In fill_site(): makes a new site one of the arenas' if it is to be. */
void mt_arena_fill_site(struct mt_theap *heap, struct mt_site *site, const void *caller);

/* A block for a site that has an arena number; from slabs where the arena cannot. NULL when there is no memory. */
void *mt_arena_allocate(struct mt_theap *heap, const struct mt_site *site, size_t bytes);
/* At a multiple of an alignment, a power of two that the class's size is a multiple of. NULL: ask the slabs. */
void *mt_arena_allocate_aligned(struct mt_theap *heap, const struct mt_site *site, size_t alignment, unsigned class,
                                size_t bytes);

/* Frees what lies at an address of an arena's chunk; nothing when no live block begins there. heap may be NULL.
 * True. */
bool mt_arena_free(struct mt_theap *heap, void *block);
/* 0 when no live block begins there. */
size_t mt_arena_usable(const void *block);

/* Changes the size where the block lies, and counts one free and one allocation. NULL, with nothing done, when it
 * cannot. */
void *mt_arena_reallocate(struct mt_theap *heap, void *block, size_t bytes, bool may_stay);
/* Another block for the same site, for the content of this one. NULL: ask the slabs, for the block's origin. */
void *mt_arena_allocate_like(struct mt_theap *heap, const void *block, size_t bytes, unsigned *origin);

/* ---- life ----------------------------------------------------------------------------- */

void mt_arena_start(struct mt_core *core);
/* The heap counts in another shard from now on. */
void mt_arena_forget_counts(struct mt_theap *heap);
/* The thread ends. */
void mt_arena_leave_heap(struct mt_theap *heap);
/* Gives empty chunks back. */
void mt_arena_trim_heap(struct mt_theap *heap);

#endif
