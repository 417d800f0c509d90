/*
 * Keeps the pools' highest use of memory down: what one pool has free but not
 * given back is given back when another one would grow beyond that mark. Any
 * thread, with no lock of the pools held.
 */
#ifndef MT_POOLS_BALANCE_H
#define MT_POOLS_BALANCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Off: the pools keep what they have. */
void mt_balance_start(bool is_on);
bool mt_balance_is_wanted(void);

/* Slabs have touched so much more, or less. */
void mt_balance_hold(int64_t bytes);
/*
 * A heap has grown by more than a little. Where slabs with what lies free have more memory than they ever used, so
 * much of what lies free goes back. Returns what is still too much.
 */
size_t mt_balance_excess(void);
/* What is held now was needed. */
void mt_balance_settle(void);

/* A pool is about to touch so many bytes that had no memory behind them. */
void mt_keep_peak_down(size_t fresh_bytes);

#endif
