/*
 * The mappings of huge blocks and their records.
 */
#include "huge.h"
#include "balance.h"
#include "huge_kept.h"
#include "os.h"
#include "spans.h"
#include "stats.h"

#include <string.h>

static size_t whole_pages(size_t bytes)
{
    return (bytes + MT_OS_PAGE - 1) & ~(size_t)(MT_OS_PAGE - 1);
}

static char *map(size_t *bytes, size_t alignment)
{
    char *base = alignment <= MT_OS_PAGE ? mt_huge_take(bytes) : NULL;
    if (!base) base = mt_os_map_block(*bytes, alignment);
    if (base) return base;
    mt_huge_drop_all();
    return mt_os_map_block(*bytes, alignment);
}

static void set_entry(struct mt_huge *huge)
{
    mt_pagemap_set(huge->base, 1, mt_entry_make(huge, 0, false, MT_ENTRY_HUGE));
}

void *mt_huge_allocate(size_t bytes, size_t alignment, size_t *usable)
{
    bytes = whole_pages(bytes);
    struct mt_huge *huge = mt_record_new();
    if (!huge) return NULL;
    char *base = map(&bytes, alignment);
    if (!base || !mt_pagemap_reserve(base, 1)) {
        if (base) mt_os_unmap(base, bytes);
        mt_record_drop(huge);
        return NULL;
    }
    huge->base = base;
    atomic_store_explicit(&huge->bytes, bytes, memory_order_relaxed);
    mt_note_store(&huge->note, mt_note_make(0, 0));
    set_entry(huge);
    MT_POOL_STAT_ADD(huge_bytes, bytes);
    MT_POOL_STAT_ADD(huge_count, 1);
    MT_POOL_STAT_ADD(huge_allocation_count, 1);
    mt_keep_peak_down(bytes);
    *usable = bytes;
    return base;
}

void mt_huge_release(struct mt_huge *huge, size_t bytes)
{
    char *base = huge->base;
    mt_pagemap_set(base, 1, 0);
    mt_record_drop(huge);
    MT_POOL_STAT_ADD(huge_bytes, -(int64_t)bytes);
    MT_POOL_STAT_ADD(huge_count, -1);
    mt_huge_give(base, bytes);
}

/* Moves the pages to a range whose page map entry is certain to be had. */
static char *move(struct mt_huge *huge, size_t old_bytes, size_t bytes)
{
    char *to = mt_os_map_block(bytes, 1);
    if (!to) return NULL;
    if (!mt_pagemap_reserve(to, 1)) {
        mt_os_unmap(to, bytes);
        return NULL;
    }
    mt_pagemap_set(huge->base, 1, 0);
    if (!mt_os_move(huge->base, old_bytes, to, bytes)) {
        set_entry(huge);
        mt_os_unmap(to, bytes);
        return NULL;
    }
    huge->base = to;
    set_entry(huge);
    return to;
}

void *mt_huge_resize(struct mt_huge *huge, size_t bytes, size_t *usable)
{
    size_t old_bytes = atomic_load_explicit(&huge->bytes, memory_order_relaxed);
    bytes = whole_pages(bytes);
    char *at = huge->base;
    if (!mt_os_resize(at, old_bytes, bytes)) at = move(huge, old_bytes, bytes);
    if (!at) return NULL;
    atomic_store_explicit(&huge->bytes, bytes, memory_order_relaxed);
    MT_POOL_STAT_ADD(huge_bytes, (int64_t)bytes - (int64_t)old_bytes);
    MT_POOL_STAT_ADD(huge_remap_count, 1);
    *usable = bytes;
    return at;
}

void mt_huge_clear(struct mt_huge *huge, size_t bytes)
{
    uint64_t note = mt_note_load(&huge->note);
    if (!(note & MT_NOTE_AGAIN)) return;
    /* The system clears what is touched, when it is touched; that may be little. */
    if (!mt_os_purge(huge->base, whole_pages(bytes)))
        memset(huge->base, 0, bytes);
    else if (bytes >= atomic_load_explicit(&huge->bytes, memory_order_relaxed))
        mt_note_store(&huge->note, note & ~MT_NOTE_AGAIN);
}
