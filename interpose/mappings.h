/*
 * The memory that the program maps itself: mmap, munmap, mremap, brk and sbrk,
 * kept as a set of address ranges in memory of memtrack's own and published
 * as totals in the segment. Any thread, also inside a signal handler: a change
 * that cannot be recorded at once is counted as dropped, never waited for.
 */
#ifndef MT_MAPPINGS_H
#define MT_MAPPINGS_H

#include <stdbool.h>
#include <stdint.h>

/* Writes the totals into the segment; when a segment is new. */
void mt_mappings_publish(void);

/* The first of the program's mappings that ends behind an address, as far as it lies there; neighbours are one.
 * False when there is none, or it cannot be told now. */
bool mt_mappings_after(uintptr_t address, uintptr_t *low, uintptr_t *high);

/* Finds the next functions, from the constructor. */
void mt_mappings_find_next(void);

/* Around fork, so that the child gets a whole set. */
void mt_mappings_before_fork(void);
void mt_mappings_after_fork_in_parent(void);
void mt_mappings_after_fork_in_child(void);

#endif
