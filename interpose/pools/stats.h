/*
 * What the pools' slow paths count: kept in private memory, which a fork's
 * child inherits, and copied word by word into the process's segment, where
 * the report finds it. Any thread.
 */
#ifndef MT_POOLS_STATS_H
#define MT_POOLS_STATS_H

#include "alone.h"
#include "core.h"

#include <stdatomic.h>
#include <stdint.h>

/* MT_POOL_STAT_SET() is for fields that one lock guards. */

/* The master copy, and the segment's copy; the latter is the master itself while there is no segment. */
extern struct mt_pools mt_pools_stats;
extern struct mt_pools *mt_pools_published;

#define MT_POOL_STAT_ADD(field, value)                                                                             \
    do {                                                                                                           \
        mt_alone_add(&mt_pools_stats.field, (uint64_t)(value));                                                    \
        if (mt_pools_published != &mt_pools_stats) mt_alone_add(&mt_pools_published->field, (uint64_t)(value));    \
    } while (0)

#define MT_POOL_STAT_SET(field, value)                                                                             \
    do {                                                                                                           \
        atomic_store_explicit(&mt_pools_stats.field, (uint64_t)(value), memory_order_relaxed);                     \
        atomic_store_explicit(&mt_pools_published->field, (uint64_t)(value), memory_order_relaxed);                \
    } while (0)

/* What is used of all TLSF arenas, or dirty. */
static inline uint64_t mt_pools_tlsf_used(const struct mt_pools *stats)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < sizeof stats->tlsf / sizeof *stats->tlsf; i++)
        bytes += atomic_load_explicit(&stats->tlsf[i].used_bytes, memory_order_relaxed);
    return bytes;
}

static inline uint64_t mt_pools_tlsf_dirty(const struct mt_pools *stats)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < sizeof stats->tlsf / sizeof *stats->tlsf; i++)
        bytes += atomic_load_explicit(&stats->tlsf[i].dirty_bytes, memory_order_relaxed);
    return bytes;
}

/* Copies the master into the segment of the core, which is on. */
void mt_pools_publish(struct mt_core *core);

#endif
