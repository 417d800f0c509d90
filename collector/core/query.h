/*
 * Numbers for the program itself, of its own segment as it is now. Any thread;
 * no lock, no memory; costs a look at the counters of all threads.
 */
#ifndef MT_QUERY_H
#define MT_QUERY_H

#ifndef MEMTRACK_LIBRARY
#define MEMTRACK_LIBRARY
#endif
#include "include/memtrack.h"

#include "core.h"

/* See memtrack_query_*() in memtrack.h. Fills the first `bytes` bytes of *statistics, as far as they are known
 * here; returns 1, or 0 with nothing changed. */
int mt_query(struct mt_core *core, enum memtrack_subject subject, const char *tag, uint32_t index,
             struct memtrack_statistics *statistics, size_t bytes);

#endif
