/*
 * Small tables beside the blocks, such as the origins of a mixed slab's
 * blocks: zeroed memory in powers of two, taken back into lists. Those of
 * MT_RECORD_ALIGN bytes and more lie at multiples of that. Any thread; one
 * lock, inside that of the spans, which is also taken around fork.
 */
#ifndef MT_POOLS_TABLES_H
#define MT_POOLS_TABLES_H

#include <stddef.h>

enum { MT_TABLE_MAX = 8192 };

/* NULL when there is no memory, or bytes is above MT_TABLE_MAX. */
void *mt_table_new(size_t bytes);
/* bytes as it was asked for. */
void mt_table_drop(void *table, size_t bytes);

void mt_tables_lock(void);
void mt_tables_unlock(void);
void mt_tables_reset_lock(void);

#endif
