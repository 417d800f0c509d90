/*
 * The preloaded library's start: its core, and when it runs. Any thread.
 */
#ifndef MT_INIT_H
#define MT_INIT_H

#include "core.h"

extern struct mt_core mt_core __attribute__((visibility("hidden")));

enum mt_init_verdict {
    MT_INIT_ON,        /* count */
    MT_INIT_OFF,       /* do not count this call */
    MT_INIT_TOO_EARLY, /* before libc is ready: the bootstrap pool serves */
};

/*
 * Starts the core when that is due, makes a fork's child its segment and
 * tells the segment what the preloaded library knows. The caller has set its
 * busy mark and found the next allocator.
 */
enum mt_init_verdict mt_init_ready(void);

/* True once it is settled that allocations are not counted in this process. */
extern _Atomic bool mt_init_is_through __attribute__((visibility("hidden")));
static inline bool mt_init_passes_through(void)
{
    return atomic_load_explicit(&mt_init_is_through, memory_order_relaxed);
}

/* True while mappings and stacks are counted, or may be counted soon. */
bool mt_init_wants_mappings(void);

#endif
