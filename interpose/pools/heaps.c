/*
 * Thread heaps: made, left by threads that end, taken by threads that start,
 * absorbed by others, and what happens to them around fork. One lock guards
 * the list of heaps without a thread; a heap taken from that list belongs to
 * the taker alone, but for its inbox.
 */
#include "heaps.h"
#include "large.h"
#include "account.h"
#include "arena.h"
#include "arena_serve.h"
#include "arena_sites.h"
#include "lock.h"
#include "mid.h"
#include "os.h"
#include "slab.h"
#include "stats.h"
#include "tables.h"

#include <string.h>

enum {
    HEAP_MAX = MT_ENTRY_OWNER_MAX,
    HEAPS_AT_ONCE = 8,
    LIST_BYTES = 32 * 1024, /* of blocks that may wait in one bin */
    LIST_MAX = 256,
    LIST_MIN = 4,
    TIDY_HEAPS = 4,      /* heaps without a thread that one look takes over */
    STRATEGY_FACTOR = 4, /* speed: so many times more; memory: less */
    HUGE_FACTOR = 8,     /* speed: huge pages from so much less on */
};

/* A thread must have been gone this long before its slabs go to another one: threads are often replaced at once. */
static const uint64_t ABSORB_AFTER_NS = UINT64_C(100000000);
static const uint64_t LEAST_TIDY_NS = UINT64_C(100000000);
/* What a huge page takes at once and may never need is one or two per cent of this. */
static const uint64_t HUGE_FROM_BYTES = UINT64_C(64) << 20;

_Thread_local struct mt_theap *mt_theap_self __attribute__((tls_model("initial-exec")));

/* A heap that its thread may not use for the moment, for fork's child. */
static _Thread_local struct mt_theap *kept_for_child __attribute__((tls_model("initial-exec")));

static struct mt_shard idle_shard; /* the shard of heaps without a thread: always zero */

static struct {
    struct mt_lock lock;
    struct mt_theap *dead, *last_dead;
    _Atomic bool has_dead;  /* to be asked without the lock */
    _Atomic uint32_t count; /* changed under the lock */
    struct mt_theap_place *area, *area_end;
    int64_t batch_bytes;
    bool has_sampler;
    uint64_t large_from_bytes;
    uint32_t list_bytes, list_max;
    uint64_t tidy_delay_ns;
} heaps;

static struct mt_theap *_Atomic heap_table[HEAP_MAX + 1];

struct mt_theap *mt_theap_of(unsigned owner)
{
    return atomic_load_explicit(&heap_table[owner], memory_order_acquire); /* pairs with the store in heap_new() */
}

uint32_t mt_theap_count(void)
{
    return heaps.count;
}

/* ---- making heaps ---------------------------------------------------------------- */

bool mt_theap_is_idle_shard(const struct mt_shard *shard)
{
    return shard == &idle_shard;
}

void mt_theap_fill_bin(struct mt_theap *heap, struct mt_bin *bin)
{
    size_t index = (size_t)(bin - heap->bins);
    bin->index = (uint16_t)index;
    bin->sub = (uint8_t)(index / MT_SLAB_CLASSES);
    bin->class = (uint8_t)(index % MT_SLAB_CLASSES);
    bin->bytes = (uint32_t)mt_class_bytes(bin->class);
    uint32_t most = heaps.list_bytes / bin->bytes;
    bin->max_count = most > heaps.list_max ? heaps.list_max : most < LIST_MIN ? LIST_MIN : most;
}

static void fill(struct mt_theap *heap, unsigned id)
{
    heap->id = (uint16_t)id;
    heap->mark = (uint16_t)(id * 2);
    heap->shard = &idle_shard;
    for (size_t i = 0; i < sizeof heap->small_bin / sizeof heap->small_bin[0]; i++)
        heap->small_bin[i] = (uint16_t)(mt_class_of(i * 16) * sizeof(struct mt_bin));
    for (unsigned class = 0; class < MT_SLAB_CLASSES; class ++) {
        mt_theap_fill_bin(heap, &heap->bins[class]);
        heap->bins[class].cell = &mt_idle_cell;
    }
}

static struct mt_theap *heap_new_locked(void)
{
    if (heaps.count >= HEAP_MAX) return NULL;
    if (heaps.area == heaps.area_end) {
        struct mt_theap_place *area = mt_os_map(HEAPS_AT_ONCE * sizeof *area);
        if (!area) return NULL;
        heaps.area = area;
        heaps.area_end = area + HEAPS_AT_ONCE;
    }
    struct mt_theap *heap = &heaps.area++->heap;
    fill(heap, ++heaps.count);
    atomic_store_explicit(&heap_table[heap->id], heap, memory_order_release);
    MT_POOL_STAT_ADD(heap_count, 1);
    return heap;
}

static void note_dead_locked(void)
{
    atomic_store_explicit(&heaps.has_dead, heaps.dead != NULL, memory_order_relaxed);
}

static struct mt_theap *pop_dead_locked(void)
{
    struct mt_theap *heap = heaps.dead;
    if (!heap) return NULL;
    heaps.dead = heap->next_dead;
    if (!heaps.dead) heaps.last_dead = NULL;
    note_dead_locked();
    atomic_store_explicit(&heap->is_dead, 0, memory_order_relaxed);
    return heap;
}

static struct mt_theap *take(enum mt_theap_use use)
{
    mt_lock_take(&heaps.lock);
    struct mt_theap *heap = pop_dead_locked();
    if (!heap) heap = heap_new_locked();
    if (heap) atomic_store_explicit(&heap->use, use, memory_order_relaxed);
    mt_lock_give(&heaps.lock);
    return heap;
}

struct mt_theap *mt_theap_take(void)
{
    return take(MT_THEAP_LOCKED);
}

/* A heap with slabs goes to the front, where the next thread finds it warm; an empty one to the end. */
void mt_theap_leave(struct mt_theap *heap)
{
    heap->dead_since_ns = mt_now_coarse_ns();
    mt_lock_take(&heaps.lock);
    atomic_store_explicit(&heap->is_dead, 1, memory_order_relaxed);
    atomic_store_explicit(&heap->use, MT_THEAP_IDLE, memory_order_relaxed);
    if (heap->slabs || !heaps.dead) {
        heap->next_dead = heaps.dead;
        heaps.dead = heap;
        if (!heap->next_dead) heaps.last_dead = heap;
    } else {
        heap->next_dead = NULL;
        heaps.last_dead->next_dead = heap;
        heaps.last_dead = heap;
    }
    note_dead_locked();
    mt_lock_give(&heaps.lock);
}

/* ---- orphans: heaps whose threads did not come along with a fork ---------------------- */

static _Atomic bool has_orphans;

static bool is_orphan(unsigned owner)
{
    return atomic_load_explicit(&mt_theap_of(owner)->use, memory_order_relaxed) == MT_THEAP_ORPHAN;
}

static void adopt_slab(void *heap, char *slice)
{
    uint64_t entry = mt_pagemap_entry(slice);
    if (mt_entry_class(entry) == MT_ENTRY_ARENA) {
        unsigned owner = mt_arena_owner(slice);
        if (owner && is_orphan(owner)) mt_arena_orphan(slice);
        return;
    }
    if (!mt_entry_owner(entry) || mt_entry_class(entry) >= MT_SLAB_CLASSES) return;
    struct mt_slab *slab = mt_entry_record(entry);
    if (slab->start == slice && is_orphan(mt_entry_owner(entry))) mt_slab_adopt(heap, slab);
}

/*
 * An orphan's lists are what its thread left in the middle of a change, so
 * they are not looked at: its slabs go over with all blocks as handed out, and
 * come to use again as these are freed. The page map says which slabs those
 * are; a slab that was just being made or given back is in no entry and lost.
 * Its inbox is whole at any time. Chunks of its arena go with their last block.
 */
static bool adopt_orphans(struct mt_theap *heap)
{
    mt_lock_take(&heaps.lock);
    bool is_mine = atomic_exchange_explicit(&has_orphans, false, memory_order_relaxed);
    if (is_mine) mt_span_visit_used(adopt_slab, heap);
    if (is_mine) mt_arena_drop_orphans();
    for (unsigned id = 1; id <= heaps.count && is_mine; id++)
        if (is_orphan(id)) mt_slab_forward(mt_theap_of(id));
    mt_lock_give(&heaps.lock);
    return is_mine;
}

bool mt_theap_is_left(unsigned owner)
{
    return atomic_load_explicit(&mt_theap_of(owner)->is_dead, memory_order_relaxed) || is_orphan(owner);
}

/* In the child, which has one thread. Only says who the orphans are: most children call exec soon. */
static void find_orphans(const struct mt_theap *own)
{
    bool is_any = false;
    for (unsigned id = 1; id <= heaps.count; id++) {
        struct mt_theap *heap = mt_theap_of(id);
        if (heap == own || atomic_load_explicit(&heap->use, memory_order_relaxed) < MT_THEAP_IN_USE) continue;
        atomic_store_explicit(&heap->use, MT_THEAP_ORPHAN, memory_order_relaxed);
        is_any = true;
    }
    if (is_any) atomic_store_explicit(&has_orphans, true, memory_order_relaxed);
}

/* ---- absorbing --------------------------------------------------------------------- */

static bool is_worth_taking(const struct mt_theap *heap, uint64_t now)
{
    return now - heap->dead_since_ns >= ABSORB_AFTER_NS &&
           (heap->slabs || atomic_load_explicit(&heap->inbox, memory_order_relaxed));
}

static struct mt_theap *take_old_dead(void)
{
    uint64_t now = mt_now_coarse_ns();
    mt_lock_take(&heaps.lock);
    struct mt_theap **link = &heaps.dead, *before = NULL;
    while (*link && !is_worth_taking(*link, now)) {
        before = *link;
        link = &(*link)->next_dead;
    }
    struct mt_theap *heap = *link;
    if (heap) {
        *link = heap->next_dead;
        if (heaps.last_dead == heap) heaps.last_dead = before;
        note_dead_locked();
        atomic_store_explicit(&heap->is_dead, 0, memory_order_relaxed);
        atomic_store_explicit(&heap->use, MT_THEAP_IN_USE, memory_order_relaxed);
    }
    mt_lock_give(&heaps.lock);
    return heap;
}

bool mt_theap_absorb(struct mt_theap *heap)
{
    if (atomic_load_explicit(&heap->use, memory_order_relaxed) == MT_THEAP_LOCKED) return false;
    if (atomic_load_explicit(&has_orphans, memory_order_relaxed) && adopt_orphans(heap)) return true;
    if (!atomic_load_explicit(&heaps.has_dead, memory_order_relaxed)) return false;
    struct mt_theap *dead = take_old_dead();
    if (!dead) return false;
    mt_slab_move_all(heap, dead);
    mt_theap_leave(dead);
    MT_POOL_STAT_ADD(absorbed_heap_count, 1);
    return true;
}

void mt_theap_tidy(struct mt_theap *heap)
{
    uint64_t now = mt_now_coarse_ns();
    if (now - heap->tidied_ns < heaps.tidy_delay_ns) return;
    bool is_first = !heap->tidied_ns;
    heap->tidied_ns = now;
    if (is_first) return;
    mt_slab_trim_idle(heap);
    mt_arena_tidy_heap(heap);
    mt_mid_tidy_heap(heap);
    for (unsigned i = 0; i < TIDY_HEAPS && mt_theap_absorb(heap); i++) {
    }
    mt_span_look();
}

/* ---- threads ------------------------------------------------------------------------- */

bool mt_pools_attach(struct mt_shard *shard, uint32_t scope)
{
    struct mt_theap *heap = kept_for_child;
    kept_for_child = NULL;
    if (!heap) heap = take(MT_THEAP_IN_USE);
    if (!heap) return false;
    heap->batch_bytes = heaps.batch_bytes;
    heap->scope_key = mt_site_scope_key(scope);
    mt_subs_change_shard(heap, shard);
    if (!heaps.has_sampler) /* nobody else would ever move the sampler's mark */
        atomic_store_explicit(&shard->sample_countdown_bytes, INT64_MAX, memory_order_relaxed);
    mt_large_sampler_begin(&heap->near.sampler, heaps.large_from_bytes);
    mt_theap_self = heap;
    mt_pools_renamed(); /* another thread may have had this heap before */
    return true;
}

void mt_pools_detach(void)
{
    struct mt_theap *heap = mt_theap_self;
    mt_theap_self = NULL;
    if (!heap) return;
    mt_remote_flush_all(heap);
    mt_arena_leave_heap(heap);
    mt_mid_leave_heap(heap);
    mt_subs_change_shard(heap, &idle_shard);
    mt_theap_leave(heap);
}

/* ---- start and fork --------------------------------------------------------------------- */

void mt_heaps_set_tidy_delay(uint64_t nanoseconds)
{
    heaps.tidy_delay_ns = nanoseconds > LEAST_TIDY_NS ? nanoseconds : LEAST_TIDY_NS;
}

static uint64_t huge_from_bytes(enum mt_huge_pages wanted, enum mt_pools_strategy strategy)
{
    if (wanted == MT_HUGE_PAGES_OFF || mt_os_is_tight()) return UINT64_MAX;
    if (wanted == MT_HUGE_PAGES_ON) return 0;
    if (strategy == MT_POOLS_MEMORY) return UINT64_MAX;
    return strategy == MT_POOLS_SPEED ? HUGE_FROM_BYTES / HUGE_FACTOR : HUGE_FROM_BYTES;
}

void mt_heaps_start(struct mt_core *core, bool has_sampler, bool has_large_sampler)
{
    enum mt_pools_strategy strategy = (enum mt_pools_strategy)core->options.number[MT_OPT_STRATEGY];
    heaps.list_bytes = LIST_BYTES;
    heaps.list_max = LIST_MAX;
    if (strategy == MT_POOLS_SPEED) {
        heaps.list_bytes *= STRATEGY_FACTOR;
        heaps.list_max *= STRATEGY_FACTOR;
    } else if (strategy == MT_POOLS_MEMORY) {
        heaps.list_bytes /= STRATEGY_FACTOR;
        heaps.list_max /= STRATEGY_FACTOR;
    }
    mt_span_set_huge_from(huge_from_bytes((enum mt_huge_pages)core->options.number[MT_OPT_HUGE_PAGES], strategy));
    heaps.has_sampler = has_sampler;
    bool is_sampled = has_large_sampler && core->options.number[MT_OPT_STACKS] == MT_STACKS_SAMPLED;
    heaps.large_from_bytes = is_sampled ? 0 : UINT64_MAX;
    heaps.batch_bytes = (int64_t)core->segment->globals.batch_bytes;
}

void mt_pools_before_fork(void)
{
    mt_arena_sites_before_fork();
    mt_shared_heap_lock();
    mt_lock_take(&heaps.lock);
    mt_mid_lock_all();
    mt_span_lock();
    mt_tables_lock();
}

void mt_pools_after_fork_in_parent(void)
{
    mt_tables_unlock();
    mt_span_unlock();
    mt_mid_unlock_all();
    mt_lock_give(&heaps.lock);
    mt_shared_heap_unlock();
    mt_arena_sites_after_fork_in_parent();
}

/* The other threads' heaps are as they were in the middle of whatever their threads did; see adopt_orphans(). */
void mt_pools_after_fork_in_child(void)
{
    mt_tables_reset_lock();
    mt_span_reset_lock();
    mt_mid_reset_locks();
    mt_shared_heap_reset_lock();
    mt_lock_reset(&heaps.lock);
    mt_arena_sites_after_fork_in_child();
    find_orphans(mt_theap_self ? mt_theap_self : kept_for_child);
    if (!mt_theap_self) return;
    kept_for_child = mt_theap_self;
    mt_subs_forget_shard(kept_for_child);
    kept_for_child->shard = &idle_shard;
    mt_theap_self = NULL;
}
