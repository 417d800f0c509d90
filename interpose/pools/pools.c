/*
 * The pools' slow paths: threads without a heap, blocks of other threads'
 * heaps, alignments, reallocation, larger blocks, trimming. Any thread.
 */
#include "pools.h"
#include "account.h"
#include "arena_serve.h"
#include "arena_sites.h"
#include "balance.h"
#include "heaps.h"
#include "large.h"
#include "locked_heaps.h"
#include "mid.h"
#include "mid_cache.h"
#include "os.h"
#include "slab.h"
#include "stats.h"
#include "waiting.h"

#include <string.h>

#define MT_POOLS_COLD __attribute__((noinline, cold))

enum {
    REMOTE_COUNT = 32, /* blocks of one other heap that wait before they are sent */
    REMOTE_BYTES = 16 * 1024,
    DELAY_FACTOR = 10,    /* of the strategies that are not the default */
    CREEP_DOUBLES = 1024, /* a block that grows by little gets half its size in advance, or as much again */
    /* A block that grows by little goes to the arenas from here on, where it grows in place: a fifth of the least
     * there. */
    CREEP_TO_MID = 6 << 10,
};

struct mt_pools mt_pools_stats;
struct mt_pools *mt_pools_published = &mt_pools_stats;

static struct mt_core *the_core;
struct mt_pools_client mt_pools_clients;

static void set_delays(struct mt_core *core)
{
    enum mt_pools_strategy strategy = (enum mt_pools_strategy)core->options.number[MT_OPT_STRATEGY];
    uint64_t delay = core->options.number[MT_OPT_POOL_PURGE_DELAY];
    if (strategy == MT_POOLS_SPEED) delay *= DELAY_FACTOR;
    if (strategy == MT_POOLS_MEMORY) delay /= DELAY_FACTOR;
    mt_span_set_purge_delay(delay);
    mt_mid_set_purge_delay(delay);
    mt_heaps_set_tidy_delay(delay);
    mt_balance_start(strategy != MT_POOLS_SPEED);
}

void mt_pools_start(struct mt_core *core, const struct mt_pools_client *client)
{
    the_core = core;
    if (client) mt_pools_clients = *client;
    mt_account_start(core, client);
    mt_heaps_start(core, mt_pools_clients.sampled, mt_pools_clients.large_sampled);
    set_delays(core);
    mt_arena_start(core);
    mt_mid_start(core->options.number[MT_OPT_POOL_CHUNK]);
}

void mt_pools_publish(struct mt_core *core)
{
    struct mt_pools *to = &core->segment->pools;
    _Atomic uint64_t *from_words = &mt_pools_stats.slab_reserved_bytes, *to_words = &to->slab_reserved_bytes;
    size_t words = (sizeof *to - offsetof(struct mt_pools, slab_reserved_bytes)) / sizeof *to_words;
    for (size_t i = 0; i < words; i++)
        atomic_store_explicit(&to_words[i], atomic_load_explicit(&from_words[i], memory_order_relaxed),
                              memory_order_relaxed);
    memcpy(to->reason, mt_pools_stats.reason, sizeof to->reason);
    atomic_store_explicit(&to->is_on, mt_pools_stats.is_on, memory_order_release);
    mt_pools_published = to;
    mt_arena_sites_publish(core);
}

/* ---- counting where there may be no heap ------------------------------------------------ */

static struct mt_theap *own_heap(void)
{
    if (__builtin_expect(!mt_theap_self, 0) && mt_pools_clients.thread_start) mt_pools_clients.thread_start();
    return mt_theap_self;
}

static void count_mid_freed(struct mt_theap *heap, const void *block, uint64_t entry, size_t usable)
{
    size_t requested;
    unsigned origin = mt_mid_origin(block, entry, &requested);
    mt_account_large_freed(heap, origin, requested, usable);
}

static void count_reallocated(struct mt_theap *heap)
{
    if (heap)
        MT_ADD(heap->shard->realloc_count, 1);
    else if (mt_core_is_on(the_core))
        atomic_fetch_add_explicit(&the_core->segment->shards[0].realloc_count, 1, memory_order_relaxed);
}

/* ---- allocating --------------------------------------------------------------------------- */

static void *pop(struct mt_bin *bin)
{
    void *block = bin->head;
    bin->head = *(void **)block;
    return block;
}

static bool is_sample_near(const struct mt_theap *heap, size_t bytes)
{
    return !heap && mt_pools_clients.sample_is_near && mt_pools_clients.sample_is_near(bytes);
}

/* Tells of a block that has been counted and lies where its free is told of, too. */
static void tell_sampled(struct mt_theap *heap, const void *block, size_t requested, size_t usable)
{
    if (mt_pools_clients.sampled) mt_pools_clients.sampled(heap ? heap->shard : NULL, block, requested, usable);
}

static void tell_sampled_large(struct mt_theap *heap, const void *block, size_t requested, size_t usable)
{
    if (!mt_pools_clients.sampled) return;
    mt_mid_note_sampled(block, mt_pagemap_entry(block));
    mt_pools_clients.sampled(heap ? heap->shard : NULL, block, requested, usable);
}

/* From the thread's own heap, or from a shared one. Not counted yet. */
static void *take_small(struct mt_theap *heap, unsigned class, size_t bytes, unsigned *origin)
{
    if (!heap) {
        void *near = is_sample_near(heap, bytes) ? mt_sampled_take(class, *origin) : NULL;
        return near ? near : mt_shared_take(class, origin);
    }
    struct mt_bin *bin = mt_sub_bin_for(heap, *origin, class);
    if (!bin->head && !mt_slab_refill(heap, bin)) return NULL;
    void *block = pop(bin);
    bin->adjust--;
    if (!bin->sub) *origin = mt_slab_mark(block, *origin);
    return block;
}

void *mt_pools_take_twin(struct mt_theap *heap, const void *block, unsigned class, unsigned origin,
                         size_t requested)
{
    if (!mt_pools_clients.sampled) return NULL;
    if (!atomic_load_explicit(&heap->shard->sample_countdown_bytes, memory_order_relaxed)) {
        /* A new shard's mark is 0: its first block only sets the mark. */
        mt_pools_clients.sampled(heap->shard, block, requested, mt_class_bytes(class));
        return NULL;
    }
    void *twin = mt_sampled_take(class, origin);
    if (twin) mt_pools_clients.sampled(heap->shard, twin, requested, mt_class_bytes(class));
    return twin;
}

static bool has_grown(struct mt_theap *heap, const void *block)
{
    return *mt_large_grown(heap, block) == block;
}

/* What a block was exchanged for goes on growing as it would have. */
static void pass_growth_on(struct mt_theap *heap, const void *block, const void *to)
{
    if (has_grown(heap, block)) *mt_large_grown(heap, to) = to;
}

/*
 * A block in place of another one of the thread's heap, which goes back
 * uncounted: with a call stack. The block itself where none can be had.
 */
static void *exchange(struct mt_theap *heap, void *block, size_t requested, size_t used)
{
    uint64_t entry = mt_pagemap_entry(block);
    struct mt_bin *bin = &heap->bins[mt_entry_bin(entry)];
    void *twin = mt_pools_take_twin(heap, block, mt_entry_class(entry),
                                    mt_slab_origin(mt_entry_record(entry), block), requested);
    if (!twin) return block;
    memcpy(twin, block, used);
    pass_growth_on(heap, block, twin);
    *(void **)block = bin->head;
    bin->head = block;
    bin->adjust += 1; /* its allocation stays counted */
    return twin;
}

void *mt_pools_due(struct mt_theap *heap, void *block, size_t bytes)
{
    mt_account_flush_if_due(heap);
    return mt_shard_is_sample_due(heap->shard) ? exchange(heap, block, bytes, 0) : block;
}

/* Where no slab can be had, the smallest middle block will do. */
static MT_POOLS_COLD void *allocate_spare(struct mt_theap *heap, size_t bytes, unsigned origin)
{
    bool is_zero;
    size_t usable;
    void *block = mt_mid_allocate(heap, bytes, MT_SLAB_MAX, MT_MID_ANYWHERE, origin, &usable, &is_zero);
    if (!block) return NULL;
    if (mt_account_large_allocated(heap, origin, bytes, usable) || !heap)
        tell_sampled_large(heap, block, bytes, usable);
    return block;
}

/* Out of memory: chunks of middle blocks that are free make room for slabs. */
static MT_POOLS_COLD void *take_small_again(struct mt_theap *heap, unsigned class, size_t bytes, unsigned *origin)
{
    mt_mid_purge_all();
    return take_small(heap, class, bytes, origin);
}

/* As the fast path does, for an origin that is known already. NULL, with nothing done, where its bin has no block.
 */
static void *allocate_own(struct mt_theap *heap, unsigned class, size_t bytes, unsigned origin)
{
    struct mt_bin *bin = heap && MT_TRACKING ? mt_sub_bin(heap, origin, class) : NULL;
    void *block = bin ? bin->head : NULL;
    if (!block) return NULL;
    bin->head = *(void **)block;
    MT_ADD(bin->cell->allocation_count, 1);
    MT_ADD(bin->cell->requested_bytes, bytes);
    return mt_pools_count_allocated(heap, bytes, bin->bytes) ? mt_pools_due(heap, block, bytes) : block;
}

static void *allocate_small(struct mt_theap *heap, unsigned class, size_t bytes, unsigned origin)
{
    void *block = allocate_own(heap, class, bytes, origin);
    if (block) return block;
    block = take_small(heap, class, bytes, &origin);
    if (__builtin_expect(!block, 0)) block = take_small_again(heap, class, bytes, &origin);
    if (__builtin_expect(!block, 0)) return allocate_spare(heap, bytes, origin);
    if (mt_account_allocated(heap, origin, class, bytes)) return exchange(heap, block, bytes, 0);
    if (!heap) tell_sampled(NULL, block, bytes, mt_class_bytes(class));
    return block;
}

/* is_sampled: by the thread's sampler. */
static MT_POOLS_COLD void large_due(struct mt_theap *heap, void *block, size_t bytes, size_t usable,
                                    bool is_sampled)
{
    mt_account_flush_if_due(heap);
    if (is_sampled) {
        mt_mid_note_sampled(block, mt_pagemap_entry(block));
        mt_pools_clients.large_sampled(heap->shard, block, bytes, usable, &heap->near.sampler);
    } else if (mt_shard_is_sample_due(heap->shard)) {
        tell_sampled_large(heap, block, bytes, usable);
    }
}

void *mt_pools_large_due(struct mt_theap *heap, void *block, size_t bytes)
{
    mt_account_flush_if_due(heap);
    if (mt_shard_is_sample_due(heap->shard)) tell_sampled_large(heap, block, bytes, mt_pools_usable(block));
    return block;
}

static void *allocate_mid(struct mt_theap *heap, size_t bytes, size_t alignment, unsigned room, unsigned origin,
                          bool *is_zero)
{
    size_t usable;
    void *block = NULL;
    if (bytes <= PTRDIFF_MAX) block = mt_mid_allocate(heap, bytes, alignment, room, origin, &usable, is_zero);
    if (!block) return NULL;
    bool is_sampled = mt_account_large_allocated(heap, origin, bytes, usable) || !heap;
    if (is_sampled) tell_sampled_large(heap, block, bytes, usable);
    return block;
}

void *mt_pools_allocate_large_slow(struct mt_theap *heap, unsigned origin, size_t bytes)
{
    bool is_zero;
    size_t usable;
    void *block = bytes <= PTRDIFF_MAX ? mt_mid_allocate_waiting(heap, bytes, bytes, origin, &usable) : NULL;
    if (!block) return allocate_mid(heap, bytes, 1, MT_MID_FRESH, origin, &is_zero);
    bool is_sampled = mt_large_is_sampled(heap, bytes);
    bool is_due = mt_account_large_allocated_own(heap, origin, bytes, usable);
    mt_large_prepare(heap, origin, bytes, usable);
    if (is_due || is_sampled) large_due(heap, block, bytes, usable, is_sampled);
    return block;
}

void mt_pools_before_thread(void)
{
    struct mt_theap *heap = mt_theap_self;
    if (!heap || !mt_is_alone()) return;
    mt_large_narrow(heap);
    for (unsigned i = 0; i < MT_LARGE_SLOTS; i++)
        if (heap->near.slots[i].usable > MT_MID_NEAR_BYTES) mt_large_clear(heap, &heap->near.slots[i]);
    if (heap->near.most_bytes > MT_MID_NEAR_BYTES) mt_mid_leave_heap(heap);
}

static unsigned origin_of(struct mt_theap *heap, const void *caller)
{
    return heap ? mt_site_of(heap, caller)->origin : mt_site_origin(caller);
}

void *mt_pools_allocate_for(struct mt_theap *heap, size_t bytes, unsigned origin)
{
    bool is_zero;
    if (bytes > MT_SLAB_MAX) return allocate_mid(heap, bytes, 1, 1, origin, &is_zero);
    return allocate_small(heap, mt_class_of(bytes), bytes, origin);
}

void *mt_pools_allocate_slow(size_t bytes, const void *caller)
{
    struct mt_theap *heap = own_heap();
    const struct mt_site *site = heap ? mt_site_of(heap, caller) : NULL;
    if (site && site->arena) return mt_arena_allocate(heap, site, bytes);
    return mt_pools_allocate_for(heap, bytes, site ? site->origin : mt_site_origin(caller));
}

/* The smallest class whose blocks all lie at multiples of the alignment. */
static unsigned aligned_class(size_t alignment, size_t bytes)
{
    unsigned class = mt_class_of(bytes < alignment ? alignment : bytes);
    while (mt_class_bytes(class) & (alignment - 1)) class ++;
    return class;
}

void *mt_pools_allocate_aligned(size_t alignment, size_t bytes, const void *caller)
{
    if (alignment <= 16) return mt_pools_allocate(bytes, caller);
    struct mt_theap *heap = own_heap();
    const struct mt_site *site = heap ? mt_site_of(heap, caller) : NULL;
    unsigned origin = site ? site->origin : mt_site_origin(caller);
    bool is_zero;
    if (bytes > MT_SLAB_MAX || alignment > MT_SLAB_MAX)
        return allocate_mid(heap, bytes, alignment, 1, origin, &is_zero);
    unsigned class = aligned_class(alignment, bytes);
    void *bumped = site && site->arena ? mt_arena_allocate_aligned(heap, site, alignment, class, bytes) : NULL;
    return bumped ? bumped : allocate_small(heap, class, bytes, origin);
}

/* Memory that reads as zero already, for a block that is worth the question. NULL when there is none at hand. */
static void *allocate_fresh(struct mt_theap *heap, size_t bytes, const struct mt_site *site)
{
    unsigned class = mt_class_of(bytes), origin = site->origin;
    if (site->arena) return NULL;
    struct mt_bin *bin = mt_sub_bin_for(heap, origin, class);
    void *fresh = mt_slab_take_zero(heap, bin);
    if (!fresh) return NULL;
    if (!bin->sub) origin = mt_slab_mark(fresh, origin);
    return mt_account_allocated(heap, origin, class, bytes) ? exchange(heap, fresh, bytes, bytes) : fresh;
}

void *mt_pools_allocate_zeroed(size_t bytes, const void *caller)
{
    struct mt_theap *heap = mt_theap_self;
    if (bytes <= MT_SLAB_MAX) {
        void *fresh = bytes > MT_SMALL_MAX && heap ? allocate_fresh(heap, bytes, mt_site_of(heap, caller)) : NULL;
        if (fresh) return fresh;
        void *block = mt_pools_allocate(bytes, caller);
        return block ? memset(block, 0, bytes) : NULL;
    }
    bool is_zero;
    heap = own_heap();
    void *block = allocate_mid(heap, bytes, 1, 1, origin_of(heap, caller), &is_zero);
    if (block && !is_zero) mt_mid_clear(block, bytes);
    return block;
}

/* ---- freeing --------------------------------------------------------------------------------- */

static void remote_flush(struct mt_remote_slot *slot)
{
    if (slot->head) mt_slab_send(slot->owner, slot->head, slot->tail, slot->count);
    slot->head = NULL;
    slot->count = 0;
}

void mt_remote_flush_all(struct mt_theap *heap)
{
    for (unsigned i = 0; i < MT_REMOTE_SLOTS; i++) remote_flush(&heap->remote[i]);
}

static void free_remote(struct mt_theap *heap, void *block, unsigned owner, unsigned class)
{
    uint32_t bytes = (uint32_t)mt_class_bytes(class);
    struct mt_remote_slot *slot = &heap->remote[owner % MT_REMOTE_SLOTS];
    if (slot->owner != owner || !slot->head) {
        remote_flush(slot);
        slot->owner = owner;
        slot->tail = block;
    }
    *(void **)block = slot->head;
    slot->head = block;
    slot->count++;
    if (slot->count >= REMOTE_COUNT || slot->count * bytes >= REMOTE_BYTES) {
        remote_flush(slot);
        if (mt_theap_is_left(owner)) mt_theap_absorb(heap);
    }
}

static bool free_mid(struct mt_theap *heap, void *block, uint64_t entry)
{
    struct mt_mid_block what;
    if (__builtin_expect(!mt_mid_end(block, entry, &what), 0)) return mt_mid_is_freed(block, entry);
    if (heap) mt_large_widen(heap, what.usable);
    mt_account_large_freed(heap, what.origin, what.requested, what.usable);
    if (what.is_sampled) mt_pools_clients.sample_freed(heap ? heap->shard : NULL, block, what.usable);
    mt_mid_give(heap, block, entry, what.usable, what.all);
    return true;
}

bool mt_pools_free_large_slow(struct mt_theap *heap, void *block)
{
    return free_mid(heap, block, mt_pagemap_entry(block));
}

/* A block of the heap's own mixed slabs, whose bins keep their lengths in adjust alone. */
static void free_mixed(struct mt_theap *heap, void *block, unsigned class)
{
    struct mt_bin *bin = &heap->bins[class];
    *(void **)block = bin->head;
    bin->head = block;
    if (++bin->adjust >= bin->max_count) mt_waiting_trim(heap, bin, bin->max_count / 2);
}

bool mt_pools_free_slow(void *block)
{
    uint64_t entry = mt_pagemap_entry(block);
    if (!entry) return false;
    struct mt_theap *heap = own_heap();
    unsigned class = mt_entry_class(entry), owner = mt_entry_owner(entry);
    if (class == MT_ENTRY_ARENA) return mt_arena_free(heap, block);
    if (class >= MT_SLAB_CLASSES) return free_mid(heap, block, entry);
    if (heap && mt_entry_mark(entry) == heap->mark) return mt_pools_free(block); /* the heap came just now */
    bool is_twin = mt_sampled_owns(owner);
    if (is_twin) class = mt_slab_class(mt_entry_record(entry), block);
    mt_account_freed(heap, mt_slab_origin(mt_entry_record(entry), block), class);
    if (is_twin && mt_pools_clients.sample_freed)
        mt_pools_clients.sample_freed(heap ? heap->shard : NULL, block, mt_class_bytes(class));
    if (is_twin)
        mt_sampled_give(block, class);
    else if (!heap)
        mt_slab_send(owner, block, block, 1);
    else if (owner == heap->id)
        free_mixed(heap, block, class);
    else
        free_remote(heap, block, owner, class);
    return true;
}

bool mt_pools_after_free(struct mt_theap *heap, struct mt_bin *bin)
{
    mt_account_flush_if_low(heap);
    mt_waiting_shorten(heap, bin);
    return true;
}

/* ---- reallocating --------------------------------------------------------------------------------- */

size_t mt_pools_usable(const void *block)
{
    uint64_t entry = mt_pagemap_entry(block);
    if (!entry) return 0;
    struct mt_theap *heap = mt_theap_self;
    if (heap && mt_entry_mark(entry) == heap->mark) return heap->bins[mt_entry_bin(entry)].bytes;
    unsigned class = mt_entry_class(entry);
    if (class == MT_ENTRY_ARENA) return mt_arena_usable(block);
    if (class >= MT_SLAB_CLASSES) return mt_mid_usable(block, entry);
    return mt_class_bytes(mt_sampled_owns(mt_entry_owner(entry)) ? mt_slab_class(mt_entry_record(entry), block)
                                                                 : class);
}

/* The block grew here before, and again by little: it will go on. Blocks that double need no help. */
static bool creeps(struct mt_theap *heap, const void *block, size_t usable, size_t bytes)
{
    return heap && bytes > usable && bytes - usable <= usable / 4 && has_grown(heap, block);
}

static void move_mid(struct mt_theap *heap, void *block, size_t usable, void *to)
{
    uint64_t entry = mt_pagemap_entry(block);
    count_mid_freed(heap, block, entry, usable);
    if (mt_mid_take_sampled(block, entry)) mt_pools_clients.sample_freed(heap ? heap->shard : NULL, block, usable);
    mt_mid_move(heap, block, entry, to);
}

/* A block that creeps gets so much from the slabs; 0: it goes to the arenas. */
static size_t creeping_bytes(size_t bytes)
{
    if (bytes > CREEP_TO_MID) return 0;
    return bytes + (bytes < CREEP_DOUBLES ? bytes / 2 : bytes);
}

/* A place for a block that has to move. One that could stay but for its call stack keeps the room that it has. */
static void *place(struct mt_theap *heap, const void *block, size_t usable, size_t bytes, unsigned origin,
                   bool *is_zero)
{
    bool is_creeping = creeps(heap, block, usable, bytes);
    bool keeps_room = usable <= MT_SLAB_MAX && mt_pools_may_stay(usable, bytes);
    size_t roomy = is_creeping ? creeping_bytes(bytes) : keeps_room ? usable : bytes;
    if (roomy && bytes <= MT_SLAB_MAX) return allocate_small(heap, mt_class_of(roomy), bytes, origin);
    if (is_creeping && bytes <= MT_MID_MAX) return allocate_mid(heap, bytes, 1, MT_MID_CREEPS, origin, is_zero);
    bool is_growing = bytes > usable && bytes <= MT_MID_MAX && usable > MT_SLAB_MAX;
    return allocate_mid(heap, bytes, 1, is_growing ? MT_MID_GROWS : MT_MID_ANYWHERE, origin, is_zero);
}

/* A block stays with the origin that it was allocated by. */
static unsigned origin_of_block(const void *block, uint64_t entry)
{
    size_t requested;
    return mt_entry_class(entry) < MT_SLAB_CLASSES ? mt_slab_origin(mt_entry_record(entry), block)
                                                   : mt_mid_origin(block, entry, &requested);
}

static void *move(struct mt_theap *heap, void *block, uint64_t entry, size_t usable, size_t bytes)
{
    bool is_zero = false;
    bool is_growing = bytes > usable && usable > MT_SLAB_MAX;
    bool is_arena = mt_entry_class(entry) == MT_ENTRY_ARENA;
    unsigned origin = is_arena ? 0 : origin_of_block(block, entry);
    void *moved = is_arena ? mt_arena_allocate_like(heap, block, bytes, &origin) : NULL;
    if (!moved) moved = place(heap, block, usable, bytes, origin, &is_zero);
    if (!moved) return NULL;
    /* Into memory that was never touched the pages themselves may go; elsewhere copying is cheaper. */
    if (is_growing && is_zero && mt_entry_class(mt_pagemap_entry(moved)) == MT_ENTRY_MID) {
        move_mid(heap, block, usable, moved);
        return moved;
    }
    memcpy(moved, block, bytes < usable ? bytes : usable);
    if (heap) pass_growth_on(heap, block, moved);
    mt_pools_free(block);
    return moved;
}

/* Changes a block where it lies (or its pages move). NULL where that cannot be. */
static void *resize(struct mt_theap *heap, void *block, uint64_t entry, size_t usable, size_t bytes, size_t *after)
{
    if (mt_sampled_owns(mt_entry_owner(entry))) return NULL; /* its call stack ends here */
    *after = usable;
    bool is_small = mt_entry_class(entry) < MT_SLAB_CLASSES;
    if (is_small && is_sample_near(heap, bytes)) return NULL;
    if (mt_pools_may_stay(usable, bytes)) return block;
    if (is_small || bytes <= MT_SLAB_MAX || bytes > PTRDIFF_MAX) return NULL;
    return mt_mid_resize(block, entry, bytes, creeps(heap, block, usable, bytes), after);
}

/* A block of a bin that counts by itself: the bin's list stays as long as it is. */
static void *resized_own(struct mt_theap *heap, void *block, uint64_t entry, size_t bytes)
{
    struct mt_bin *bin = &heap->bins[mt_entry_bin(entry)];
    MT_ADD(bin->cell->free_count, 1);
    if (mt_pools_count_freed(heap, bin->bytes)) mt_account_flush(heap);
    MT_ADD(bin->cell->allocation_count, 1);
    MT_ADD(bin->cell->requested_bytes, bytes);
    if (!mt_pools_count_allocated(heap, bytes, bin->bytes)) return block;
    mt_account_flush_if_due(heap);
    return mt_shard_is_sample_due(heap->shard) ? exchange(heap, block, bytes, bytes) : block;
}

static void *resized_small(struct mt_theap *heap, void *block, uint64_t entry, size_t bytes)
{
    if (heap && MT_TRACKING && mt_entry_mark(entry) == heap->mark) return resized_own(heap, block, entry, bytes);
    unsigned class = mt_entry_class(entry), origin = mt_slab_origin(mt_entry_record(entry), block);
    mt_account_freed(heap, origin, class);
    bool is_due = mt_account_allocated(heap, origin, class, bytes);
    if (!heap) tell_sampled(NULL, block, bytes, mt_class_bytes(class));
    if (!is_due) return block;
    return mt_entry_owner(entry) == heap->id ? exchange(heap, block, bytes, bytes) : block;
}

/* One free and one allocation, in this order so that the peak does not hold both. */
static void *resized(struct mt_theap *heap, void *before, void *block, size_t usable, size_t bytes, size_t after)
{
    uint64_t entry = mt_pagemap_entry(block);
    if (mt_entry_class(entry) < MT_SLAB_CLASSES) return resized_small(heap, block, entry, bytes);
    size_t requested;
    unsigned origin = mt_mid_origin(block, entry, &requested);
    mt_account_large_freed(heap, origin, requested, usable);
    if (mt_mid_take_sampled(block, entry)) mt_pools_clients.sample_freed(heap ? heap->shard : NULL, before, usable);
    mt_mid_note(block, entry, origin, bytes);
    if (mt_account_large_allocated(heap, origin, bytes, after) || !heap)
        tell_sampled_large(heap, block, bytes, after);
    return block;
}

/* What every realloc that worked ends with. */
static void *reallocated(struct mt_theap *heap, void *block, bool has_grown)
{
    MT_ADD(heap->shard->realloc_count, 1);
    if (has_grown) *mt_large_grown(heap, block) = block;
    return block;
}

/*
 * From one bin to another one of the same origin, which both count by
 * themselves. NULL, with nothing done, where that cannot be.
 */
static void *move_own(struct mt_theap *heap, void *block, uint64_t entry, size_t bytes)
{
    struct mt_bin *from = &heap->bins[mt_entry_bin(entry)];
    size_t usable = from->bytes, used = bytes < usable ? bytes : usable;
    size_t roomy = creeps(heap, block, usable, bytes) ? creeping_bytes(bytes) : bytes;
    if (!roomy || roomy > MT_SLAB_MAX || mt_pools_may_stay(usable, bytes)) return NULL;
    struct mt_bin *to = from - from->class + mt_class_of_block(roomy);
    void *moved = to->head;
    if (!moved) return NULL;
    to->head = *(void **)moved;
    MT_ADD(to->cell->allocation_count, 1);
    MT_ADD(to->cell->requested_bytes, bytes);
    bool is_due = mt_pools_count_allocated(heap, bytes, to->bytes);
    memcpy(moved, block, used);
    if (__builtin_expect(is_due, 0)) {
        mt_account_flush_if_due(heap);
        if (mt_shard_is_sample_due(heap->shard)) moved = exchange(heap, moved, bytes, used);
    }
    mt_pools_free(block);
    return reallocated(heap, moved, bytes > usable);
}

void *mt_pools_stretched(struct mt_theap *heap, void *block, size_t bytes)
{
    mt_account_flush_if_due(heap);
    if (mt_shard_is_sample_due(heap->shard)) tell_sampled_large(heap, block, bytes, mt_pools_usable(block));
    return block;
}

/* As the hooks do it; a call stack ends here. */
static enum mt_pools_end stretch_sampled(struct mt_theap *heap, void *block, uint64_t entry, size_t bytes)
{
    size_t usable = mt_mid_usable(block, entry);
    if (!usable || !mt_mid_take_sampled(block, entry)) return MT_POOLS_MISS;
    enum mt_pools_end end = mt_large_stretch(heap, block, bytes, entry);
    if (end == MT_POOLS_MISS)
        mt_mid_note_sampled(block, entry);
    else
        mt_pools_clients.sample_freed(heap->shard, block, usable);
    return end;
}

/* A block of an arena where it lies. NULL, with nothing done, where it cannot stay there without more ado. */
static void *stretch(struct mt_theap *heap, void *block, uint64_t entry, size_t bytes)
{
    enum mt_pools_end end = mt_large_stretch(heap, block, bytes, entry);
    if (end == MT_POOLS_MISS) end = stretch_sampled(heap, block, entry, bytes);
    if (end == MT_POOLS_DUE) return mt_pools_stretched(heap, block, bytes);
    return end == MT_POOLS_DONE ? block : NULL;
}

void *mt_pools_reallocate_due(struct mt_theap *heap, void *block, size_t bytes)
{
    return exchange(heap, block, bytes, bytes);
}

/* The ways that need not ask much. NULL, with nothing done, where there is none. */
static inline void *reallocate_shortly(struct mt_theap *heap, void *block, uint64_t entry, size_t bytes)
{
    if (!heap || !MT_TRACKING) return NULL;
    if (mt_entry_mark(entry) == heap->mark)
        return bytes <= MT_SLAB_MAX ? move_own(heap, block, entry, bytes) : NULL;
    return mt_entry_class(entry) == MT_ENTRY_MID ? stretch(heap, block, entry, bytes) : NULL;
}

void *mt_pools_reallocate(void *block, size_t bytes)
{
    uint64_t entry = mt_pagemap_entry(block);
    struct mt_theap *heap = own_heap();
    void *done = reallocate_shortly(heap, block, entry, bytes);
    if (__builtin_expect(done != NULL, 1)) return done;
    size_t usable = mt_pools_usable(block), after = usable;
    bool is_arena = mt_entry_class(entry) == MT_ENTRY_ARENA;
    void *result = is_arena ? mt_arena_reallocate(heap, block, bytes, mt_pools_may_stay(usable, bytes))
                            : resize(heap, block, entry, usable, bytes, &after);
    if (!result)
        result = move(heap, block, entry, usable, bytes);
    else if (!is_arena)
        result = resized(heap, block, result, usable, bytes, after);
    if (result) count_reallocated(heap);
    if (heap && result && bytes > usable) *mt_large_grown(heap, result) = result;
    return result;
}

/* ---- giving back ------------------------------------------------------------------------------------- */

static void release_all(struct mt_theap *heap)
{
    mt_slab_drain(heap);
    mt_waiting_trim_all(heap);
    mt_slab_release_empty(heap);
    mt_slab_make_holes(heap);
}

void mt_pools_limit(uint64_t bytes)
{
    if (bytes < MT_OS_PLENTY) mt_mid_close();
}

void mt_pools_limits_changed(void)
{
    mt_os_limits_changed();
}

bool mt_pools_make_room(void)
{
    return mt_os_is_tight() && mt_pools_trim();
}

bool mt_pools_trim(void)
{
    struct mt_theap *heap = own_heap();
    if (heap) {
        mt_remote_flush_all(heap);
        mt_arena_trim_heap(heap);
        while (mt_theap_absorb(heap)) {
        }
        release_all(heap);
    }
    mt_shared_visit(release_all);
    size_t bytes = mt_span_purge_all();
    bytes += mt_mid_purge_all();
    return bytes != 0;
}

void mt_pools_info(struct mt_pools_info *info)
{
    const struct mt_pools *stats = &mt_pools_stats;
    struct mt_shard_sum sum = {0};
    if (mt_core_is_on(the_core)) mt_shards_sum(the_core->segment, &sum);
    info->huge_bytes = stats->huge_bytes;
    info->huge_count = stats->huge_count;
    info->reserved_bytes = stats->slab_reserved_bytes + stats->tlsf_reserved_bytes + stats->huge_bytes;
    info->held_bytes = stats->slab_used_bytes + stats->slab_dirty_bytes + mt_pools_tlsf_used(stats) +
                       mt_pools_tlsf_dirty(stats) + stats->huge_bytes;
    info->live_bytes = (uint64_t)sum.live_bytes;
}
