/*
 * Mappings of freed huge blocks that wait for the next one of about their
 * size: without memory behind them, so that only address space is held, and
 * none of that where it is limited. Any thread; errno is preserved.
 */
#ifndef MT_POOLS_HUGE_KEPT_H
#define MT_POOLS_HUGE_KEPT_H

#include <stddef.h>

/* Takes a mapping over; its content goes. */
void mt_huge_give(char *base, size_t bytes);
/* A mapping of at least bytes and at most an eighth more, all zero; its size comes back in *bytes. NULL: none. */
char *mt_huge_take(size_t *bytes);
/* Gives all of them back to the system. */
void mt_huge_drop_all(void);

void mt_huge_lock(void);
void mt_huge_unlock(void);
void mt_huge_reset_lock(void);

#endif
