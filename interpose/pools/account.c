/*
 * Counting by origin, and the sub-heaps of origins that allocate much. See
 * account.h for who may call what. Takes no lock; errno is untouched.
 */
#include "account.h"
#include "alone.h"

#include "arena_serve.h"
#include "groups.h"
#include "heaps.h"
#include "large.h"
#include "origin.h"
#include "slab.h"
#include "waiting.h"

#include <string.h>

#define LOAD(field)             atomic_load_explicit(&(field), memory_order_relaxed)
#define FETCH_ADD(field, value) atomic_fetch_add_explicit(&(field), value, memory_order_relaxed)

/*
 * A bin of its own costs a part of a page, and what its origin has in mixed
 * slabs by then stays there: an origin must have asked for so much in all, and
 * for so much of the size class.
 */
enum { OWN_BYTES = 64 * 1024, OWN_CLASS_BYTES = 4096, OWN_CLASS_COUNT = 8, NOTE_BYTES = 64 };

struct mt_origin_cell mt_idle_cell;
struct mt_bin mt_no_bins[MT_SLAB_CLASSES];

static struct mt_core *the_core;
static struct mt_pools_client the_client;
static bool is_in_company; /* or about to be: the process has, or has had, a second thread */

void mt_account_start(struct mt_core *core, const struct mt_pools_client *client)
{
    the_core = core;
    if (client) the_client = *client;
}

/* ---- counters --------------------------------------------------------------------------- */

struct mt_origin_counts *mt_account_find_counts(struct mt_theap *heap, unsigned origin)
{
    struct mt_origin_counts **cached = &heap->counts[origin % MT_ORIGIN_CACHED];
    if (!*cached || (*cached)->origin != origin) *cached = mt_origin_counts(the_core, heap->shard, origin);
    heap->shard->is_followed = 1;
    return *cached;
}

/* Of shard 0. NULL while nothing is counted, or for want of memory. */
static struct mt_origin_counts *shared_counts_of(unsigned origin)
{
    return mt_origin_counts(the_core, &the_core->segment->shards[0], origin);
}

/*
 * So far may a thread's bytes rise before they are handed over. As long as it is alone, nobody could tell the
 * difference below the process's peak; a look at own peaks follows no later than without that.
 */
static inline void set_batch(struct mt_theap *heap)
{
    const struct mt_globals *globals = &the_core->segment->globals;
    int64_t batch = (int64_t)globals->batch_bytes, most = batch * MT_GROUP_BATCHES_ALONE;
    heap->batch_bytes = batch;
    if (is_in_company || !mt_is_alone()) return; /* and leave lines alone that threads share */
    int64_t below = LOAD(globals->peak_bytes) - LOAD(globals->current_bytes);
    if (below > batch) heap->batch_bytes = below < most ? below : most;
}

void mt_account_end_alone(struct mt_theap *heap)
{
    is_in_company = true;
    mt_account_flush(heap);
}

/* A child that was made by raw clone finds itself in a new segment after a flush. */
void mt_account_flush(struct mt_theap *heap)
{
    mt_shard_flush(the_core, heap->shard);
    set_batch(heap);
    if (__builtin_expect(LOAD(the_core->epoch) == heap->epoch, 1)) return;
    struct mt_shard *shard = heap->shard;
    mt_subs_forget_shard(heap);
    mt_subs_change_shard(heap, shard);
}

void mt_account_flush_if_due(struct mt_theap *heap)
{
    struct mt_shard *shard = heap->shard;
    bool is_due = LOAD(shard->live_bytes) - LOAD(shard->flushed_bytes) >= heap->batch_bytes;
    /* A sample is a good occasion to look: it comes after so many bytes, whether the live bytes change or not. With
     * several threads what groups are told the process's total is told too, so that neither is ahead of the other.
     */
    bool is_look = !is_due && mt_shard_is_sample_due(shard) && mt_groups_are_many(the_core, shard);
    if (is_due || (is_look && !mt_is_alone()))
        mt_account_flush(heap);
    else if (is_look)
        mt_shard_look(the_core, shard);
}

void mt_account_flush_if_low(struct mt_theap *heap)
{
    struct mt_shard *shard = heap->shard;
    if (LOAD(shard->live_bytes) < LOAD(shard->low_limit_bytes)) mt_account_flush(heap);
}

static bool note_allocated(struct mt_theap *heap, size_t requested, size_t usable)
{
    if (!mt_pools_count_allocated(heap, requested, usable)) return false;
    mt_account_flush_if_due(heap);
    return mt_shard_is_sample_due(heap->shard);
}

static void allocated_shared(unsigned origin, unsigned class, size_t requested)
{
    if (!mt_core_is_on(the_core)) return;
    struct mt_origin_counts *counts = shared_counts_of(origin);
    mt_shard_allocated_shared(the_core, counts ? &counts->classes[class] : NULL, requested, mt_class_bytes(class));
    if (counts) mt_groups_add(the_core, counts, (int64_t)mt_class_bytes(class));
}

void mt_account_cell(struct mt_theap *heap, unsigned origin, unsigned class, size_t requested)
{
    struct mt_origin_counts *counts = mt_account_counts(heap, origin);
    struct mt_bin *own = mt_sub_bin(heap, origin, class);
    if (counts) {
        MT_ADD(counts->classes[class].allocation_count, 1);
        MT_ADD(counts->classes[class].requested_bytes, requested);
        mt_groups_changed(heap->shard, counts, class);
        if (own) own->adjust++;
    } else {
        MT_ADD(heap->shard->classes[class].allocation_count, 1);
        MT_ADD(heap->shard->allocation_count, 1);
    }
}

bool mt_account_allocated(struct mt_theap *heap, unsigned origin, unsigned class, size_t requested)
{
    if (!heap) {
        allocated_shared(origin, class, requested);
        return false;
    }
    mt_account_cell(heap, origin, class, requested);
    return note_allocated(heap, requested, mt_class_bytes(class));
}

static void freed_shared(unsigned origin, unsigned class)
{
    if (!mt_core_is_on(the_core)) return;
    struct mt_origin_counts *counts = shared_counts_of(origin);
    mt_shard_freed_shared(the_core, counts ? &counts->classes[class] : NULL, mt_class_bytes(class));
    if (counts) mt_groups_add(the_core, counts, -(int64_t)mt_class_bytes(class));
}

void mt_account_freed(struct mt_theap *heap, unsigned origin, unsigned class)
{
    if (!heap) {
        freed_shared(origin, class);
        return;
    }
    struct mt_origin_counts *counts = mt_account_counts(heap, origin);
    struct mt_bin *own = mt_sub_bin(heap, origin, class);
    if (counts) {
        MT_ADD(counts->classes[class].free_count, 1);
        mt_groups_changed(heap->shard, counts, class);
        if (own) own->adjust--;
    } else {
        MT_ADD(heap->shard->classes[class].free_count, 1);
        MT_ADD(heap->shard->free_count, 1);
    }
    if (mt_pools_count_freed(heap, mt_class_bytes(class))) mt_account_flush(heap);
}

static void add_large_shared(unsigned origin, bool is_free, size_t requested, size_t usable)
{
    if (!mt_core_is_on(the_core)) return;
    struct mt_origin_counts *counts = shared_counts_of(origin);
    if (is_free)
        mt_shard_freed_shared(the_core, NULL, usable);
    else
        mt_shard_allocated_shared(the_core, NULL, requested, usable);
    if (!counts) return;
    FETCH_ADD(*(is_free ? &counts->large_free_count : &counts->large_allocation_count), 1);
    FETCH_ADD(*(is_free ? &counts->large_requested_freed_bytes : &counts->large_requested_bytes), requested);
    FETCH_ADD(*(is_free ? &counts->large_freed_bytes : &counts->large_allocated_bytes), usable);
    mt_groups_add(the_core, counts, is_free ? -(int64_t)usable : (int64_t)usable);
}

bool mt_account_large_allocated_own(struct mt_theap *heap, unsigned origin, size_t requested, size_t usable)
{
    struct mt_origin_counts *counts = mt_account_counts(heap, origin);
    MT_ADD(mt_account_class(heap, usable)->allocation_count, 1);
    if (counts) {
        MT_ADD(counts->large_allocation_count, 1);
        MT_ADD(counts->large_requested_bytes, requested);
        MT_ADD(counts->large_allocated_bytes, usable);
    }
    MT_ADD(heap->shard->allocation_count, 1);
    return mt_pools_count_allocated(heap, requested, usable);
}

bool mt_account_large_freed_own(struct mt_theap *heap, unsigned origin, size_t requested, size_t usable)
{
    struct mt_origin_counts *counts = mt_account_counts(heap, origin);
    MT_ADD(mt_account_class(heap, usable)->free_count, 1);
    if (counts) {
        MT_ADD(counts->large_free_count, 1);
        MT_ADD(counts->large_requested_freed_bytes, requested);
        MT_ADD(counts->large_freed_bytes, usable);
    }
    MT_ADD(heap->shard->free_count, 1);
    return mt_pools_count_freed(heap, usable);
}

struct mt_size_counts *mt_account_size(struct mt_theap *heap, unsigned origin, size_t requested, size_t usable)
{
    struct mt_origin_counts *counts = mt_account_counts(heap, origin);
    return counts ? mt_size_counts_find(the_core, counts, requested, usable) : NULL;
}

bool mt_account_large_allocated(struct mt_theap *heap, unsigned origin, size_t requested, size_t usable)
{
    if (!heap) {
        add_large_shared(origin, false, requested, usable);
        return false;
    }
    if (!mt_account_large_allocated_own(heap, origin, requested, usable)) return false;
    mt_account_flush_if_due(heap);
    return mt_shard_is_sample_due(heap->shard);
}

void mt_account_large_freed(struct mt_theap *heap, unsigned origin, size_t requested, size_t usable)
{
    if (!heap) {
        add_large_shared(origin, true, requested, usable);
        return;
    }
    if (mt_account_large_freed_own(heap, origin, requested, usable)) mt_account_flush(heap);
}

/* ---- bins and the cells that they count in -------------------------------------------------- */

/* The length of the list stays what it is. counts: NULL for a heap that counts nowhere. */
static void set_cell(struct mt_theap *heap, struct mt_bin *bin, int64_t length, struct mt_origin_counts *counts)
{
    struct mt_origin_cell *cell = counts ? &counts->classes[bin->class] : &mt_idle_cell;
    if (counts) {
        mt_groups_open(heap->shard, counts);
        mt_groups_use(counts, bin->class);
    }
    uint64_t frees = LOAD(cell->free_count), allocations = LOAD(cell->allocation_count);
    bin->cell = cell;
    bin->adjust = length - (int64_t)(frees - allocations);
}

static void set_cells(struct mt_theap *heap, unsigned sub, struct mt_origin_counts *counts, bool is_known)
{
    for (unsigned word = 0; word < 2; word++) {
        for (uint64_t bits = heap->subs[sub].open[word]; bits; bits &= bits - 1) {
            unsigned class = word * 64 + (unsigned)__builtin_ctzll(bits);
            struct mt_bin *bin = &heap->bins[sub * MT_SLAB_CLASSES + class];
            set_cell(heap, bin, is_known ? mt_waiting_length(bin) : 0, counts);
        }
    }
}

/* Blocks of a sub-heap go on as mixed ones of its origin; the slabs keep their memory. */
static void close_sub(struct mt_theap *heap, unsigned sub)
{
    struct mt_sub *at = &heap->subs[sub];
    mt_slab_mix(heap, sub);
    mt_theap_origin(heap, at->origin)->sub = 0;
    memset(&heap->bins[sub * MT_SLAB_CLASSES], 0, MT_SLAB_CLASSES * sizeof heap->bins[0]);
    memset(at, 0, sizeof *at);
    mt_sites_forget(heap);
}

void mt_subs_change_shard(struct mt_theap *heap, struct mt_shard *shard)
{
    bool is_idle = mt_theap_is_idle_shard(shard);
    heap->shard = shard;
    heap->epoch = LOAD(the_core->epoch);
    memset(heap->counts, 0, sizeof heap->counts);
    mt_large_forget(heap);
    mt_arena_forget_counts(heap);
    for (unsigned sub = 1; sub < MT_SUBS; sub++) {
        struct mt_sub *at = &heap->subs[sub];
        if (!at->counts) continue;
        struct mt_origin_counts *counts = is_idle ? NULL : mt_account_counts(heap, at->origin);
        set_cells(heap, sub, counts, true);
        if (counts)
            at->counts = counts;
        else if (!is_idle)
            close_sub(heap, sub); /* no memory to count in */
    }
}

void mt_subs_forget_shard(struct mt_theap *heap)
{
    for (unsigned sub = 1; sub < MT_SUBS; sub++)
        if (heap->subs[sub].counts) set_cells(heap, sub, NULL, false);
    memset(heap->counts, 0, sizeof heap->counts);
    mt_large_forget(heap);
    mt_arena_forget_counts(heap);
}

void mt_subs_begin_anew(struct mt_theap *heap)
{
    for (unsigned sub = 1; sub < MT_SUBS; sub++) heap->subs[sub].is_current = false;
}

static unsigned find_free_sub(struct mt_theap *heap)
{
    unsigned left = 0;
    for (unsigned sub = 1; sub < MT_SUBS; sub++) {
        if (!heap->subs[sub].counts) return sub;
        if (!heap->subs[sub].is_current) left = sub;
    }
    if (left) close_sub(heap, left); /* of a thread that had this heap before */
    return left;
}

static unsigned open_sub(struct mt_theap *heap, unsigned origin, struct mt_origin_counts *counts)
{
    unsigned sub = find_free_sub(heap);
    if (!sub) return 0;
    heap->subs[sub] = (struct mt_sub){.counts = counts, .origin = (uint16_t)origin, .is_current = true};
    mt_theap_origin(heap, origin)->sub = (uint8_t)sub;
    return sub;
}

static struct mt_bin *open_bin(struct mt_theap *heap, unsigned sub, unsigned class)
{
    struct mt_sub *at = &heap->subs[sub];
    struct mt_bin *bin = &heap->bins[sub * MT_SLAB_CLASSES + class];
    mt_theap_fill_bin(heap, bin);
    at->open[class / 64] |= UINT64_C(1) << (class % 64);
    set_cell(heap, bin, 0, at->counts);
    mt_slab_take_over(heap, bin, at->origin);
    return bin;
}

/* Notes a block that comes from the mixed sub-heap. True when its origin has asked for much. */
static bool is_heavy(struct mt_theap *heap, unsigned origin, uint32_t bytes)
{
    struct mt_theap_origin *at = mt_theap_origin(heap, origin);
    uint32_t noted = at->asked + (bytes + NOTE_BYTES - 1) / NOTE_BYTES;
    at->asked = (uint16_t)(noted < UINT16_MAX ? noted : UINT16_MAX);
    return noted >= OWN_BYTES / NOTE_BYTES;
}

struct mt_bin *mt_sub_bin_for(struct mt_theap *heap, unsigned origin, unsigned class)
{
    struct mt_bin *mixed = &heap->bins[class], *own = mt_sub_bin(heap, origin, class);
    if (own) return own;
    struct mt_origin_counts *counts = mt_account_counts(heap, origin);
    if (!counts) return mixed;
    if (!is_heavy(heap, origin, mixed->bytes)) return mixed;
    uint64_t count = LOAD(counts->classes[class].allocation_count);
    if (count < OWN_CLASS_COUNT || count * mixed->bytes < OWN_CLASS_BYTES) return mixed;
    unsigned sub = mt_theap_origin(heap, origin)->sub;
    if (!sub) sub = open_sub(heap, origin, counts);
    return sub ? open_bin(heap, sub, class) : mixed;
}

/* ---- sites ------------------------------------------------------------------------------------- */

static _Atomic uint32_t sites_epoch; /* grows when all sites are to be forgotten */

static unsigned ask(const void *caller, const char *thread, uint32_t scope)
{
    return MT_TRACKING && the_client.origin ? the_client.origin(caller, thread, scope) : 0;
}

/* Another thread may be clearing keys: sites_epoch has grown then. See mt_site_of(). */
static void set_key(struct mt_site *site, uintptr_t key)
{
    atomic_exchange_explicit(&site->key, key, memory_order_seq_cst);
}

static void copy_site(struct mt_site *to, const struct mt_site *from)
{
    set_key(to, 0); /* a signal handler must not find it half written */
    to->bins = from->bins;
    to->origin = from->origin;
    to->arena = from->arena;
    to->cell = from->cell;
    to->data = from->data;
}

static void swap_ways(struct mt_site *first)
{
    uintptr_t keys[2] = {LOAD(first[0].key), LOAD(first[1].key)};
    struct mt_site kept = {0};
    copy_site(&kept, &first[0]);
    copy_site(&first[0], &first[1]);
    copy_site(&first[1], &kept);
    set_key(&first[0], keys[1]);
    set_key(&first[1], keys[0]);
}

static void fill_site(struct mt_theap *heap, struct mt_site *site, const void *caller, uintptr_t key)
{
    unsigned origin = ask(caller, heap->thread, mt_site_scope_of(heap->scope_key));
    bool is_known = origin < MT_ORIGIN_MAX; /* else the next call from here asks again */
    copy_site(site, &(struct mt_site){.origin = (uint16_t)(is_known ? origin : 0), .bins = mt_no_bins});
    if (is_known) {
        mt_arena_fill_site(heap, site, caller);
        set_key(site, key);
    }
    heap->subs[mt_theap_origin(heap, site->origin)->sub].is_current = true;
}

/* The site comes first; what was found while all sites were to be forgotten may be old, and is looked for again. */
static void bring_site(struct mt_theap *heap, struct mt_site *first, const void *caller, uintptr_t key)
{
    uint32_t epoch;
    do {
        epoch = atomic_load_explicit(&sites_epoch, memory_order_seq_cst);
        if (heap->sites_epoch != epoch) mt_sites_forget(heap);
        heap->sites_epoch = epoch;
        if (LOAD(first->key) != key) swap_ways(first);
        if (LOAD(first->key) != key) fill_site(heap, first, caller, key);
        /* The exchange in set_key() and this load are in one order with the addition in mt_sites_forget_all(). */
    } while (atomic_load_explicit(&sites_epoch, memory_order_seq_cst) != epoch);
}

struct mt_site *mt_site_of(struct mt_theap *heap, const void *caller)
{
    uintptr_t key = (uintptr_t)caller + heap->scope_key;
    struct mt_site *first = mt_site_first(heap->sites, key);
    if (LOAD(first->key) != key || LOAD(sites_epoch) != heap->sites_epoch) bring_site(heap, first, caller, key);
    if (!first->arena) first->bins = mt_sub_bins(heap, first->origin);
    return first;
}

unsigned mt_site_origin(const void *caller)
{
    unsigned origin = ask(caller, "", 0);
    return origin < MT_ORIGIN_MAX ? origin : 0;
}

void mt_sites_forget(struct mt_theap *heap)
{
    for (unsigned i = 0; i < MT_SITE_SETS * MT_SITE_WAYS; i++)
        if (LOAD(heap->sites[i].key)) atomic_store_explicit(&heap->sites[i].key, 0, memory_order_relaxed);
}

void mt_sites_forget_all(void)
{
    atomic_fetch_add_explicit(&sites_epoch, 1, memory_order_seq_cst);
    for (unsigned id = 1; id <= mt_theap_count(); id++) {
        struct mt_theap *heap = mt_theap_of(id);
        if (heap) mt_sites_forget(heap);
    }
}

void mt_pools_renamed(void)
{
    struct mt_theap *heap = mt_theap_self;
    if (!heap || !strncmp(heap->thread, heap->shard->name, sizeof heap->thread - 1)) return;
    memcpy(heap->thread, heap->shard->name, sizeof heap->thread - 1);
    mt_sites_forget(heap);
    mt_subs_begin_anew(heap);
}
