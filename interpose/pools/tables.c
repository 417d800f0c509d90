/*
 * Small tables beside the blocks. See tables.h.
 */
#include "tables.h"

#include "lock.h"
#include "os.h"
#include "pagemap.h"

#include <string.h>

enum { LEAST_SHIFT = 5, LISTS = 9, CHUNK_BYTES = 64 * 1024 };
_Static_assert(1 << (LEAST_SHIFT + LISTS - 1) == MT_TABLE_MAX, "a list for each power of two");

static struct {
    struct mt_lock lock;
    void *lists[LISTS]; /* linked through their first word */
    char *at, *end;     /* the room left in the newest chunk */
} tables;

static unsigned list_of(size_t bytes)
{
    unsigned list = 0;
    while ((size_t)1 << (LEAST_SHIFT + list) < bytes) list++;
    return list;
}

/* At a multiple of its size as far as records need it. */
static void *carve_locked(size_t bytes)
{
    size_t alignment = bytes < MT_RECORD_ALIGN ? bytes : MT_RECORD_ALIGN;
    tables.at += (0 - (uintptr_t)tables.at) & (alignment - 1);
    if ((size_t)(tables.end - tables.at) < bytes) {
        char *chunk = mt_os_map(CHUNK_BYTES);
        if (!chunk) return NULL;
        tables.at = chunk;
        tables.end = chunk + CHUNK_BYTES;
    }
    void *table = tables.at;
    tables.at += bytes;
    return table;
}

void *mt_table_new(size_t bytes)
{
    if (bytes > MT_TABLE_MAX) return NULL;
    unsigned list = list_of(bytes);
    mt_lock_take(&tables.lock);
    void *table = tables.lists[list];
    bool is_used = table != NULL;
    if (is_used)
        tables.lists[list] = *(void **)table;
    else
        table = carve_locked((size_t)1 << (LEAST_SHIFT + list));
    mt_lock_give(&tables.lock);
    return is_used ? memset(table, 0, bytes) : table;
}

void mt_table_drop(void *table, size_t bytes)
{
    unsigned list = list_of(bytes);
    mt_lock_take(&tables.lock);
    *(void **)table = tables.lists[list];
    tables.lists[list] = table;
    mt_lock_give(&tables.lock);
}

void mt_tables_lock(void)
{
    mt_lock_take(&tables.lock);
}

void mt_tables_unlock(void)
{
    mt_lock_give(&tables.lock);
}

void mt_tables_reset_lock(void)
{
    mt_lock_reset(&tables.lock);
}
