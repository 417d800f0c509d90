/*
 * Blocks above 32 MiB, each with a mapping of its own. Any thread, but each
 * block by one thread at a time. Nothing here counts allocations; errno is
 * untouched.
 */
#ifndef MT_POOLS_HUGE_H
#define MT_POOLS_HUGE_H

#include "note.h"
#include "pagemap.h"

/* The record of such a block. The page map has it for the block's first slice. */
struct mt_huge {
    _Alignas(MT_RECORD_ALIGN) char *base;
    _Atomic size_t bytes;
    _Atomic uint64_t note;
};
_Static_assert(sizeof(struct mt_huge) == MT_RECORD_ALIGN, "a huge block's record has the size of all records");

/* One that has waited is handed out. */
static inline void mt_huge_begin_again(struct mt_huge *huge, size_t requested, unsigned origin)
{
    mt_note_store(&huge->note, mt_note_make(requested, origin) | MT_NOTE_AGAIN);
}

/* All zero. NULL when there is no memory. */
void *mt_huge_allocate(size_t bytes, size_t alignment, size_t *usable);
/* Gives back a block of so many bytes that is nobody's. */
void mt_huge_release(struct mt_huge *huge, size_t bytes);
/* The block, maybe elsewhere; NULL with nothing changed. */
void *mt_huge_resize(struct mt_huge *huge, size_t bytes, size_t *usable);
/* Makes a block read as zero. */
void mt_huge_clear(struct mt_huge *huge, size_t bytes);

#endif
