/*
 * Holes in slabs. See holes.h. A block that lies in two pages sleeps as soon
 * as one of them is a hole, and until none is.
 */
#include "holes.h"
#include "os.h"
#include "spans.h"

enum { PAGES_MAX = 4 * MT_SLICE_BYTES / MT_OS_PAGE };
_Static_assert((int)PAGES_MAX <= 64, "a slab has one bit for each of its pages");

struct pages {
    unsigned first, last;
};

static struct pages pages_of(const struct mt_slab *slab, uint32_t block)
{
    uint32_t start = block * slab->block_bytes;
    return (struct pages){start / MT_OS_PAGE, (start + slab->block_bytes - 1) / MT_OS_PAGE};
}

static uint64_t bits_of(struct pages pages)
{
    return (~UINT64_C(0) >> (63 - (pages.last - pages.first))) << pages.first;
}

static bool sleeps(const struct mt_slab *slab, uint32_t block)
{
    return slab->holes & bits_of(pages_of(slab, block));
}

static uint32_t first_block(const struct mt_slab *slab, unsigned page)
{
    return page * (uint32_t)MT_OS_PAGE / slab->block_bytes;
}

static uint32_t last_block(const struct mt_slab *slab, unsigned page)
{
    uint32_t block = ((page + 1) * (uint32_t)MT_OS_PAGE - 1) / slab->block_bytes;
    return block < slab->cut_count ? block : slab->cut_count - 1;
}

/* For each page the blocks in the slab's list that lie in it. */
static void count_free(const struct mt_slab *slab, uint16_t *counts)
{
    for (const void *block = slab->free; block; block = *(void *const *)block) {
        struct pages pages = pages_of(slab, mt_slab_index(slab, block));
        for (unsigned page = pages.first; page <= pages.last; page++) counts[page]++;
    }
}

/* How many blocks of a page do not sleep; only its first and its last one may, because they lie in another one too.
 */
static uint32_t count_awake(const struct mt_slab *slab, unsigned page)
{
    uint32_t first = first_block(slab, page), last = last_block(slab, page);
    return last - first + 1 - sleeps(slab, first) - (last != first && sleeps(slab, last));
}

static uint64_t find_free_pages(const struct mt_slab *slab)
{
    uint16_t counts[PAGES_MAX] = {0};
    unsigned pages = (unsigned)((size_t)slab->cut_count * slab->block_bytes / MT_OS_PAGE);
    uint64_t found = 0;
    count_free(slab, counts);
    for (unsigned page = 0; page < pages; page++)
        if (!(slab->holes >> page & 1) && counts[page] == count_awake(slab, page)) found |= UINT64_C(1) << page;
    return found;
}

/* Where the system keeps what is in them they are holes nevertheless. */
static void give_back(const struct mt_slab *slab, uint64_t pages)
{
    while (pages) {
        unsigned first = (unsigned)__builtin_ctzll(pages);
        uint64_t rest = ~(pages >> first);
        unsigned count = rest ? (unsigned)__builtin_ctzll(rest) : 64 - first;
        if (count > 64 - first) count = 64 - first;
        size_t bytes = (size_t)count * MT_OS_PAGE;
        if (mt_os_purge(slab->start + (size_t)first * MT_OS_PAGE, bytes)) mt_span_note_purged(bytes);
        pages &= ~bits_of((struct pages){first, first + count - 1});
    }
}

bool mt_holes_make(struct mt_slab *slab)
{
    uint64_t pages = find_free_pages(slab);
    if (!pages) return false;
    /* Before their memory goes, which the list leads through. */
    void *list = slab->free, **end = &slab->free;
    slab->holes |= pages;
    for (void *block = list; block; block = list) {
        list = *(void **)block;
        if (sleeps(slab, mt_slab_index(slab, block))) {
            slab->free_count--;
            slab->sleeping_count++;
            continue;
        }
        *end = block;
        end = (void **)block;
    }
    *end = NULL;
    give_back(slab, pages);
    return true;
}

uint32_t mt_holes_fill(struct mt_slab *slab, void **list)
{
    uint32_t count = 0;
    while (slab->holes && !count) {
        unsigned page = (unsigned)__builtin_ctzll(slab->holes);
        slab->holes &= slab->holes - 1;
        uint32_t first = first_block(slab, page), block = last_block(slab, page) + 1;
        while (block-- > first) {
            if (sleeps(slab, block)) continue;
            void **at = (void **)(void *)(slab->start + (size_t)block * slab->block_bytes);
            *at = *list;
            *list = at;
            count++;
        }
    }
    slab->sleeping_count = (uint16_t)(slab->sleeping_count - count);
    return count;
}
