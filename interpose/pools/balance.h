/*
 * Keeps the pools' highest use of memory down: what one pool has free but not
 * given back is given back when another one would grow beyond that mark. Any
 * thread, with no lock of the pools held.
 */
#ifndef MT_POOLS_BALANCE_H
#define MT_POOLS_BALANCE_H

#include <stdbool.h>
#include <stddef.h>

/* Off: the pools keep what they have. */
void mt_balance_start(bool is_on);

/* A heap has grown by more than a little: what slabs have left over goes back but for a part of it. */
void mt_keep_surplus_down(void);

/* A pool is about to touch so many bytes that had no memory behind them. */
void mt_keep_peak_down(size_t fresh_bytes);

#endif
