/*
 * Large blocks of one requested size and origin, counted by one thread in a
 * cell of their own: two counters, from which what the other counters of large
 * blocks would say follows. Only sizes that come again and again have cells;
 * a row of an origin (struct mt_origin_counts) has a list of them, in which
 * they stay. The row's owner finds and counts, any thread and other processes
 * read. No lock; nothing here allocates from the program's heap.
 */
#ifndef MT_SIZE_COUNTS_H
#define MT_SIZE_COUNTS_H

#include "core.h"

enum { MT_SIZE_COUNTS_MAX = 32 }; /* of a row: who adds them up goes through all */

struct mt_size_counts {
    uint64_t requested_bytes, usable_bytes; /* of each block */
    _Atomic uint64_t allocation_count, free_count;
    uint32_t next; /* of the row's, by offset / 64; 0 = the last one */
};

static inline uint64_t mt_size_counts_load(const _Atomic uint64_t *field)
{
    return atomic_load_explicit(field, memory_order_relaxed);
}

/* What a row's large blocks add up to, those in cells too. Cumulative. */
struct mt_large_sum {
    uint64_t allocation_count, free_count;
    uint64_t requested_bytes, requested_freed_bytes;
    uint64_t allocated_bytes, freed_bytes; /* usable */
};

/* The row's cell for a size, made when new; NULL where it has as many as it may, or where there is no memory. */
struct mt_size_counts *mt_size_counts_find(struct mt_core *core, struct mt_origin_counts *row, uint64_t requested,
                                           uint64_t usable);

/* The cell at an offset / 64; NULL for 0, and for what does not lie in the segment, of which so many bytes are
 * mapped. */
static inline struct mt_size_counts *mt_size_counts_at(const struct mt_segment *segment, uint64_t bytes,
                                                       uint32_t at)
{
    uint64_t offset = (uint64_t)at * 64;
    if (offset < sizeof *segment || offset > bytes || bytes - offset < sizeof(struct mt_size_counts)) return NULL;
    return (struct mt_size_counts *)((uintptr_t)segment + offset);
}

/* Adds one cell. */
static inline void mt_size_counts_add(struct mt_large_sum *sum, const struct mt_size_counts *cell)
{
    uint64_t allocations = mt_size_counts_load(&cell->allocation_count),
             frees = mt_size_counts_load(&cell->free_count);
    sum->allocation_count += allocations;
    sum->free_count += frees;
    sum->requested_bytes += allocations * cell->requested_bytes;
    sum->requested_freed_bytes += frees * cell->requested_bytes;
    sum->allocated_bytes += allocations * cell->usable_bytes;
    sum->freed_bytes += frees * cell->usable_bytes;
}

/* All of a row. */
static inline struct mt_large_sum mt_size_counts_sum(const struct mt_segment *segment, uint64_t bytes,
                                                     const struct mt_origin_counts *row)
{
    struct mt_large_sum sum = {.allocation_count = mt_size_counts_load(&row->large_allocation_count),
                               .free_count = mt_size_counts_load(&row->large_free_count),
                               .requested_bytes = mt_size_counts_load(&row->large_requested_bytes),
                               .requested_freed_bytes = mt_size_counts_load(&row->large_requested_freed_bytes),
                               .allocated_bytes = mt_size_counts_load(&row->large_allocated_bytes),
                               .freed_bytes = mt_size_counts_load(&row->large_freed_bytes)};
    /* Acquire pairs with the release in mt_size_counts_find(). */
    uint32_t at = atomic_load_explicit(&row->sizes, memory_order_acquire);
    const struct mt_size_counts *cell = mt_size_counts_at(segment, bytes, at);
    for (unsigned n = 0; cell && n < MT_SIZE_COUNTS_MAX; n++) { /* a damaged file may have a ring */
        mt_size_counts_add(&sum, cell);
        cell = mt_size_counts_at(segment, bytes, cell->next);
    }
    return sum;
}

#endif
