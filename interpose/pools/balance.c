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
    SURPLUS_BYTES = 64 << 10, /* slabs may have so much more memory than they ever used */
    SURPLUS_SHARE = 16,       /* and this part of that */
    IDLE_SHARE = 4,           /* free memory below this part of the used memory is left alone */
    IDLE_BYTES = 1 << 20,     /* and so much in any case */
    PURGE_AT_LEAST = 1 << 20, /* fewer calls of the system */
};

static _Atomic uint64_t highest_bytes;
static _Atomic uint64_t held_bytes, highest_held_bytes; /* in slabs and arenas */
static bool is_wanted = true;

void mt_balance_start(bool is_on)
{
    is_wanted = is_on;
}

bool mt_balance_is_wanted(void)
{
    return is_wanted;
}

void mt_balance_hold(int64_t bytes)
{
    mt_alone_add(&held_bytes, (uint64_t)bytes);
}

static uint64_t held_now(void)
{
    return atomic_load_explicit(&held_bytes, memory_order_relaxed) +
           mt_pools_stats.arena_chunk_count * (uint64_t)MT_SLICE_BYTES;
}

/* What lies free may stay where it was in use before: it is asked for again by whoever grew then. */
size_t mt_balance_excess(void)
{
    uint64_t held = held_now(), all = held + mt_pools_stats.slab_dirty_bytes;
    uint64_t limit = atomic_load_explicit(&highest_held_bytes, memory_order_relaxed);
    if (held <= limit) limit += limit / SURPLUS_SHARE + SURPLUS_BYTES;
    if (!is_wanted || all <= limit) return 0;
    size_t excess = all - limit, done = mt_span_purge_surplus(excess);
    return done < excess ? excess - done : 0;
}

void mt_balance_settle(void)
{
    uint64_t held = held_now();
    if (held > atomic_load_explicit(&highest_held_bytes, memory_order_relaxed))
        atomic_store_explicit(&highest_held_bytes, held, memory_order_relaxed);
}

void mt_keep_peak_down(size_t fresh_bytes)
{
    const struct mt_pools *stats = &mt_pools_stats;
    uint64_t slabs = stats->slab_used_bytes, large = mt_pools_tlsf_used(stats) + stats->huge_bytes;
    uint64_t idle = stats->slab_dirty_bytes + mt_pools_tlsf_dirty(stats);
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
