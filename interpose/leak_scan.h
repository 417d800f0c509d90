/*
 * The scan itself, in a process of its own that shares nothing with the
 * program but the segment: a copy with one thread. Uses system calls only.
 */
#ifndef MT_LEAK_SCAN_H
#define MT_LEAK_SCAN_H

#include "core.h"

enum { MT_LEAK_THREADS = 512 };

/*
 * The threads of the process: where their stacks are in use, from their stack
 * pointers upwards (0: not known, all of it). The first one is at the exit.
 */
struct mt_leak_threads {
    unsigned count;
    int32_t tid[MT_LEAK_THREADS];
    uintptr_t stack[MT_LEAK_THREADS];
};

/* Fills rows (by the number of the stack) with what cannot be reached. False when it could not be found out. */
bool mt_leak_scan(struct mt_core *core, const struct mt_leak_threads *threads, struct mt_leak *rows,
                  uint32_t row_count, struct mt_leak *reachable);

#endif
