/*
 * The list of mappings that wait, the oldest first, under one lock.
 */
#include "huge_kept.h"
#include "lock.h"
#include "os.h"

#include <string.h>

enum { MOST_KEPT = 4 };
static const size_t MOST_BYTES = (size_t)2 << 30;

struct mapping {
    char *base;
    size_t bytes;
};

static struct {
    struct mt_lock lock;
    unsigned count;
    size_t bytes;
    struct mapping mappings[MOST_KEPT];
} kept;

static struct mapping remove_at(unsigned at)
{
    struct mapping mapping = kept.mappings[at];
    kept.count--;
    kept.bytes -= mapping.bytes;
    memmove(&kept.mappings[at], &kept.mappings[at + 1], (kept.count - at) * sizeof mapping);
    return mapping;
}

void mt_huge_give(char *base, size_t bytes)
{
    struct mapping others[MOST_KEPT];
    unsigned count = 0;
    if (bytes > MOST_BYTES || mt_os_is_tight() || !mt_os_purge(base, bytes)) {
        mt_os_unmap(base, bytes);
        return;
    }
    mt_lock_take(&kept.lock);
    while (kept.count == MOST_KEPT || (kept.count && kept.bytes + bytes > MOST_BYTES))
        others[count++] = remove_at(0);
    kept.mappings[kept.count++] = (struct mapping){base, bytes};
    kept.bytes += bytes;
    mt_lock_give(&kept.lock);
    while (count-- > 0) mt_os_unmap(others[count].base, others[count].bytes);
}

char *mt_huge_take(size_t *bytes)
{
    struct mapping found = {0};
    mt_lock_take(&kept.lock);
    for (unsigned i = kept.count; i-- > 0 && !found.base;)
        if (kept.mappings[i].bytes >= *bytes && kept.mappings[i].bytes - *bytes <= *bytes / 8) found = remove_at(i);
    mt_lock_give(&kept.lock);
    if (found.base) *bytes = found.bytes;
    return found.base;
}

void mt_huge_drop_all(void)
{
    struct mapping others[MOST_KEPT];
    mt_lock_take(&kept.lock);
    unsigned count = kept.count;
    memcpy(others, kept.mappings, count * sizeof others[0]);
    kept.count = 0;
    kept.bytes = 0;
    mt_lock_give(&kept.lock);
    while (count-- > 0) mt_os_unmap(others[count].base, others[count].bytes);
}

void mt_huge_lock(void)
{
    mt_lock_take(&kept.lock);
}

void mt_huge_unlock(void)
{
    mt_lock_give(&kept.lock);
}

void mt_huge_reset_lock(void)
{
    mt_lock_reset(&kept.lock);
}
