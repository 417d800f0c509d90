/*
 * An arena of blocks up to 32 MiB: its engine, and what is known of its chunks
 * beside that. All of it is under the arena's lock, which the callers of these
 * functions hold, but for what is atomic.
 */
#ifndef MT_POOLS_MID_ARENA_H
#define MT_POOLS_MID_ARENA_H

#include "lock.h"
#include "mid_block.h"
#include "tlsf.h"

/*
 * Mark of a block in the engine: not all pages that it lies in have been part of a freed block, the chunk's map
 * tells which. Of all others every bit is set there.
 */
enum { MT_MID_PARTLY_FRESH = 1 };

enum { MT_MID_FIRST_RECORDS = 32 }; /* for programs with few such blocks */

struct mt_mid_arena {
    _Alignas(64) struct mt_lock lock;
    struct mt_mid_chunk *chunks;
    uint64_t fresh_pages; /* in free ranges: not touched */
    uint64_t last_look_ns;
    uint64_t allocation_count;
    uint64_t taken_bytes; /* since it was last trimmed */
    unsigned call_count;
    _Atomic uint64_t largest_free;
    uint32_t records;
    _Atomic bool is_started;
    struct mt_tlsf tlsf;
    struct mt_tlsf_block first_records[MT_MID_FIRST_RECORDS];
};

/* What lies free and may have memory behind it, in part: a page of which may be shared with a block. */
static inline uint64_t mt_mid_arena_dirty_bytes(const struct mt_mid_arena *arena)
{
    return arena->tlsf.free_bytes - (arena->fresh_pages << MT_MID_PAGE_SHIFT);
}

static inline struct mt_mid_chunk *mt_mid_chunk_at(uint64_t address)
{
    return mt_entry_record(mt_pagemap_entry((const void *)(uintptr_t)address));
}

/* Gives free memory back: what has been idle since the last time, or all of it, and whole chunks; or about so many
 * bytes, from what is used again last. Returns the bytes. */
size_t mt_mid_arena_purge(struct mt_mid_arena *arena, bool is_all);
size_t mt_mid_arena_purge_some(struct mt_mid_arena *arena, size_t enough);
/*
 * What is free at the end of a chunk is used again last, and when it was used so far up it may not be for long:
 * where at least half of what was ever reached is free there, the upper quarter of that goes back. A block in the
 * engine is free and ends the chunk.
 */
void mt_mid_arena_trim(struct mt_mid_arena *arena, struct mt_mid_chunk *chunk, uint32_t id);
/* The same as mt_mid_arena_purge() for what is idle, once in a delay. */
void mt_mid_arena_look(struct mt_mid_arena *arena, uint64_t delay_ns);

#endif
