/*
 * The balance of free memory between spans and TLSF arenas. Reads the pools'
 * counters, which may be a call old.
 */
#include "balance.h"
#include "mid.h"
#include "mid_cache.h"
#include "spans.h"
#include "stats.h"

enum {
    SURPLUS_BYTES = 64 << 10, /* free memory that slabs may have while they grow */
    SURPLUS_SHARE = 32,       /* and this part of what they use */
    IDLE_SHARE = 4,           /* free memory below this part of the used memory is left alone */
    IDLE_BYTES = 1 << 20,     /* and so much in any case */
    PURGE_AT_LEAST = 1 << 20, /* fewer calls of the system */
};

static _Atomic uint64_t highest_bytes;
static bool is_wanted = true;

void mt_balance_start(bool is_on)
{
    is_wanted = is_on;
}

void mt_keep_surplus_down(void)
{
    const struct mt_pools *stats = &mt_pools_stats;
    uint64_t kept = SURPLUS_BYTES + stats->slab_used_bytes / SURPLUS_SHARE;
    if (is_wanted && stats->slab_dirty_bytes > kept) mt_span_purge_some(stats->slab_dirty_bytes - kept);
}

void mt_keep_peak_down(size_t fresh_bytes)
{
    const struct mt_pools *stats = &mt_pools_stats;
    uint64_t slabs = stats->slab_used_bytes, large = stats->tlsf_used_bytes + stats->huge_bytes;
    uint64_t idle = stats->slab_dirty_bytes + stats->tlsf_dirty_bytes;
    uint64_t highest = atomic_load_explicit(&highest_bytes, memory_order_relaxed);
    if (!is_wanted || slabs + large + idle <= highest) return;
    uint64_t waiting = mt_mid_cache_bytes();
    waiting = waiting < large ? waiting : large;
    large -= waiting;
    idle += waiting;
    if (idle > IDLE_BYTES + (slabs + large) / IDLE_SHARE) {
        size_t enough = fresh_bytes > PURGE_AT_LEAST ? fresh_bytes : PURGE_AT_LEAST;
        size_t done = mt_span_purge_some(enough);
        if (done < enough) done += mt_mid_purge_some(enough - done);
        idle = idle > done ? idle - done : 0;
    }
    uint64_t all = slabs + large + idle;
    if (all > highest) atomic_store_explicit(&highest_bytes, all, memory_order_relaxed);
}
