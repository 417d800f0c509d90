/*
 * Chunks. A large one is address space first, so that an arena can grow in one
 * piece, where free ranges join; a small one is mapped as it is.
 */
#include "mid_chunk.h"
#include "os.h"
#include "spans.h"

enum { HUGE_PAGE_BYTES = 2 << 20 };

enum { FIRST_BITS_BYTES = 512 }; /* of a map, in a page with the first marks */

static bool map_side(struct mt_mid_chunk *chunk, size_t bytes)
{
    size_t pages = bytes >> MT_MID_PAGE_SHIFT, map_bytes = (pages + 63) / 64 * sizeof(uint64_t);
    size_t busy_bytes = ((pages >> MT_MID_UNIT_SHIFT) + 64) / 64 * sizeof(uint64_t);
    size_t groups = (pages + MT_MID_MARK_GROUP - 1) / MT_MID_MARK_GROUP;
    size_t mark_bytes = groups * MT_MID_MARK_GROUP * sizeof(struct mt_mid_mark);
    size_t before = ((map_bytes + busy_bytes + MT_OS_PAGE - 1) & ~(size_t)(MT_OS_PAGE - 1)) + FIRST_BITS_BYTES;
    chunk->side_bytes = (before + mark_bytes + MT_OS_PAGE - 1) & ~(size_t)(MT_OS_PAGE - 1);
    chunk->side = mt_os_map(chunk->side_bytes);
    if (!chunk->side) return false;
    chunk->marks = (struct mt_mid_mark *)(void *)(chunk->side + before);
    chunk->busy = (_Atomic uint64_t *)(void *)(chunk->side + before) - 1;
    chunk->touched = (_Atomic uint64_t *)(void *)(chunk->side + before - busy_bytes) - 1;
    return true;
}

static char *map_range(size_t bytes, size_t reserved_bytes)
{
    size_t alignment = reserved_bytes >= HUGE_PAGE_BYTES ? (size_t)HUGE_PAGE_BYTES : MT_SLICE_BYTES;
    if (bytes == reserved_bytes) return mt_os_map_aligned(bytes, alignment);
    char *base = mt_os_reserve(reserved_bytes, alignment);
    if (!base || mt_os_open(base, bytes)) return base;
    mt_os_unmap(base, reserved_bytes);
    return NULL;
}

static bool fill(struct mt_mid_chunk *chunk, size_t bytes, size_t reserved_bytes)
{
    if (!map_side(chunk, reserved_bytes)) return false;
    chunk->base = map_range(bytes, reserved_bytes);
    if (chunk->base && mt_pagemap_reserve(chunk->base, reserved_bytes)) {
        chunk->bytes = bytes;
        chunk->reserved_bytes = reserved_bytes;
        return true;
    }
    if (chunk->base) mt_os_unmap(chunk->base, reserved_bytes);
    mt_os_unmap(chunk->side, chunk->side_bytes);
    return false;
}

static void set_entries(struct mt_mid_chunk *chunk, size_t from)
{
    mt_pagemap_set(chunk->base + from, chunk->bytes - from, mt_entry_make(chunk, 0, false, MT_ENTRY_MID));
}

struct mt_mid_chunk *mt_mid_chunk_new(size_t bytes, size_t reserved_bytes)
{
    struct mt_mid_chunk *chunk = mt_record_new();
    if (!chunk) return NULL;
    if (!fill(chunk, bytes, reserved_bytes)) {
        mt_record_drop(chunk);
        return NULL;
    }
    set_entries(chunk, 0);
    return chunk;
}

bool mt_mid_chunk_open(struct mt_mid_chunk *chunk, size_t bytes)
{
    if (bytes > chunk->reserved_bytes - chunk->bytes || !mt_os_open(chunk->base + chunk->bytes, bytes))
        return false;
    chunk->bytes += bytes;
    set_entries(chunk, chunk->bytes - bytes);
    return true;
}

void mt_mid_chunk_close(struct mt_mid_chunk *chunk)
{
    if (chunk->reserved_bytes > chunk->bytes)
        mt_os_unmap(chunk->base + chunk->bytes, chunk->reserved_bytes - chunk->bytes);
    chunk->reserved_bytes = chunk->bytes;
}

void mt_mid_chunk_drop(struct mt_mid_chunk *chunk)
{
    mt_pagemap_set(chunk->base, chunk->bytes, 0);
    mt_os_unmap(chunk->base, chunk->reserved_bytes);
    mt_os_unmap(chunk->side, chunk->side_bytes);
    mt_record_drop(chunk);
}
