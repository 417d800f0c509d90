/*
 * Whose code called: from a return address to an origin. Runs on the slow path
 * of the first allocation at a call site, on any thread. Takes no lock of the
 * loader's; preserves errno.
 */
#ifndef MT_CALLER_H
#define MT_CALLER_H

#include <stdint.h>

/* The id of the origin; MT_ORIGIN_MAX where it cannot be told now. thread: the thread's name, "" = not known. */
unsigned mt_caller_origin(const void *caller, const char *thread, uint32_t scope);

#endif
