/*
 * Between the hooks and a heap's arena: counting, sampled blocks, sites that
 * come and go. See arena_serve.h for who may call what.
 */
#include "arena_serve.h"

#include "account.h"
#include "arena.h"
#include "arena_sites.h"
#include "groups.h"
#include "origin.h"
#include "os.h"
#include "slab.h"

#include <string.h>

static struct mt_core *the_core;

void mt_arena_start(struct mt_core *core)
{
    the_core = core;
    mt_arena_sites_start(core);
}

/* ---- sites ----------------------------------------------------------------------- */

static const char *module_of(unsigned origin)
{
    const struct mt_segment *segment = the_core->segment;
    uint32_t module = segment->origins.rows[origin].module;
    return origin && module ? segment->attribution.modules.rows[module - 1].path : "";
}

void mt_arena_fill_site(struct mt_theap *heap, struct mt_site *site, const void *caller)
{
    if (!mt_arena_is_wanted() || !mt_core_is_on(the_core)) return;
    site->arena = (uint8_t)mt_arena_site_of((uintptr_t)caller, site->origin, heap->thread, module_of(site->origin));
    if (site->arena) site->cell = mt_arena_cell_make(0, site->arena);
}

/* ---- counters ------------------------------------------------------------------------- */

static void begin(struct mt_arena_heap *own, uint16_t id)
{
    own->arena.owner = id;
    for (unsigned i = 0; i < MT_SLAB_CLASSES; i++) {
        uint64_t bytes = mt_class_bytes(i);
        own->bins[i].bytes = bytes <= MT_ARENA_MAX ? bytes : MT_SLICE_BYTES;
        own->bins[i].class = (uint8_t)i;
    }
}

static struct mt_arena_heap *arenas_of(struct mt_theap *heap)
{
    if (heap->arenas) return heap->arenas;
    heap->arenas = mt_os_map(sizeof *heap->arenas);
    if (heap->arenas) begin(heap->arenas, heap->id);
    return heap->arenas;
}

static struct mt_origin_counts *ask_counts(struct mt_theap *heap, unsigned site)
{
    struct mt_arena_heap *own = arenas_of(heap);
    struct mt_origin_counts *counts = mt_origin_counts_of_site(the_core, heap->shard, mt_arena_site_origin(site),
                                                               site);
    if (own) own->counts[site] = counts;
    if (counts) mt_groups_open(heap->shard, counts);
    return counts;
}

/* Where the heap's thread counts for a site; NULL for want of memory. */
static inline struct mt_origin_counts *counts_of(struct mt_theap *heap, unsigned site)
{
    struct mt_origin_counts *counts = heap->arenas ? heap->arenas->counts[site] : NULL;
    return __builtin_expect(counts != NULL, 1) ? counts : ask_counts(heap, site);
}

static inline void count_free(struct mt_theap *heap, unsigned site, unsigned class)
{
    struct mt_origin_counts *counts = counts_of(heap, site);
    if (__builtin_expect(counts != NULL, 1)) {
        MT_ADD(counts->classes[class].free_count, 1);
    } else {
        MT_ADD(heap->shard->classes[class].free_count, 1);
        MT_ADD(heap->shard->free_count, 1);
    }
}

static void count_free_shared(unsigned site, unsigned class)
{
    if (!mt_core_is_on(the_core)) return;
    struct mt_shard *shard = &the_core->segment->shards[0];
    struct mt_origin_counts *counts = mt_origin_counts_of_site(the_core, shard, mt_arena_site_origin(site), site);
    mt_shard_freed_shared(the_core, counts ? &counts->classes[class] : NULL, mt_class_bytes(class));
    if (counts) mt_groups_add(the_core, counts, -(int64_t)mt_class_bytes(class));
}

/* ---- allocating ---------------------------------------------------------------------------- */

/*
 * The pools' rarer duties after an allocation. A block that gets a call stack
 * is exchanged for one of the slabs that no thread owns; that one is its
 * origin's and no longer the site's.
 */
static __attribute__((noinline, cold)) void *exchange(struct mt_theap *heap, void *block, size_t bytes, size_t used)
{
    uint16_t cell = mt_arena_look(block);
    unsigned class = mt_arena_cell_class(cell), site = mt_arena_cell_site(cell);
    mt_account_flush_if_due(heap);
    if (!mt_shard_is_sample_due(heap->shard)) return block;
    unsigned origin = mt_arena_site_origin(site);
    void *twin = mt_pools_take_twin(heap, block, class, origin, bytes);
    struct mt_origin_counts *counts = counts_of(heap, site);
    if (!twin) return block;
    memcpy(twin, block, used);
    if (counts) {
        MT_ADD(counts->classes[class].allocation_count, -1);
        MT_ADD(counts->classes[class].requested_bytes, 0 - (uint64_t)bytes);
    }
    mt_account_cell(heap, origin, class, bytes);
    mt_arena_give(&heap->arenas->arena, block, (uint32_t)mt_class_bytes(class));
    return twin;
}

void *mt_arena_due(struct mt_theap *heap, void *block, size_t bytes)
{
    return exchange(heap, block, bytes, 0);
}

static void *counted(struct mt_theap *heap, void *block, struct mt_origin_counts *counts, unsigned class,
                     size_t bytes)
{
    mt_arena_count(counts, class, bytes);
    return mt_pools_count_allocated(heap, bytes, mt_class_bytes(class)) ? mt_arena_due(heap, block, bytes) : block;
}

/* With another chunk where that is needed. The block is not counted yet. */
static __attribute__((noinline)) void *take_slowly(struct mt_theap *heap, unsigned site, size_t alignment,
                                                   unsigned class)
{
    struct mt_arena_heap *own = arenas_of(heap);
    uint32_t class_bytes = (uint32_t)mt_class_bytes(class);
    if (!own || !counts_of(heap, site)) return NULL;
    void *block = mt_arena_take_aligned(&own->arena, alignment, class, class_bytes, site);
    if (block) return block;
    mt_arena_sites_look_at_clock();
    if (!mt_arena_site_is_in(site)) return NULL;
    if (!own->arena.counts[MT_ARENA_EMPTY]) mt_slab_make_room(heap);
    if (!mt_arena_turn(&own->arena, mt_frame_now(the_core))) return NULL;
    return mt_arena_take_aligned(&own->arena, alignment, class, class_bytes, site);
}

void *mt_arena_allocate_slowly(struct mt_theap *heap, const struct mt_site *site, size_t bytes)
{
    unsigned class = mt_class_of(bytes), number = site->arena;
    void *block = bytes <= MT_ARENA_MAX ? take_slowly(heap, number, 1, class) : NULL;
    if (!block) return mt_pools_allocate_for(heap, bytes, site->origin);
    struct mt_site *served = (struct mt_site *)site; /* the heap's own, as it is */
    served->bins = heap->arenas->bins;
    served->data = counts_of(heap, number);
    return counted(heap, block, served->data, class, bytes);
}

void *mt_arena_allocate(struct mt_theap *heap, const struct mt_site *site, size_t bytes)
{
    void *block;
    if (bytes > MT_ARENA_MAX) return mt_arena_allocate_slowly(heap, site, bytes);
    switch (mt_arena_bump(heap, site, mt_arena_bin(heap, site, bytes), bytes, &block)) {
    case MT_POOLS_DONE: return block;
    case MT_POOLS_DUE: return mt_arena_due(heap, block, bytes);
    default: return mt_arena_allocate_slowly(heap, site, bytes);
    }
}

void *mt_arena_allocate_aligned(struct mt_theap *heap, const struct mt_site *site, size_t alignment, unsigned class,
                                size_t bytes)
{
    unsigned number = site->arena;
    if (mt_class_bytes(class) > MT_ARENA_MAX) return NULL;
    void *block = take_slowly(heap, number, alignment, class);
    return block ? counted(heap, block, counts_of(heap, number), class, bytes) : NULL;
}

/* ---- freeing --------------------------------------------------------------------------------- */

static __attribute__((noinline)) void free_without_heap(void *block, uint16_t cell)
{
    count_free_shared(mt_arena_cell_site(cell), mt_arena_cell_class(cell));
    mt_arena_give_remote(block);
}

/* Another thread's chunk, a thread without an arena or a heap, or no block. */
static __attribute__((noinline)) bool free_slowly(struct mt_theap *heap, void *block)
{
    uint16_t cell = mt_arena_look(block);
    unsigned class = mt_arena_cell_class(cell);
    if (!cell) return true;
    if (!heap) {
        free_without_heap(block, cell);
        return true;
    }
    count_free(heap, mt_arena_cell_site(cell), class);
    bool is_flush_due = mt_pools_count_freed(heap, mt_class_bytes(class));
    if (heap->arenas && mt_arena_owns(&heap->arenas->arena, block))
        mt_arena_give(&heap->arenas->arena, block, (uint32_t)mt_class_bytes(class));
    else
        mt_arena_give_remote(block);
    if (is_flush_due) mt_account_flush(heap);
    return true;
}

bool mt_arena_after_free(struct mt_theap *heap, void *block)
{
    struct mt_arena_chunk *chunk = mt_arena_chunk_of(block);
    if (mt_arena_is_empty(chunk)) mt_arena_emptied(&heap->arenas->arena, chunk);
    mt_account_flush_if_low(heap);
    return true;
}

bool mt_arena_free(struct mt_theap *heap, void *block)
{
    switch (heap ? mt_arena_free_fast(heap, block) : MT_POOLS_MISS) {
    case MT_POOLS_DONE: return true;
    case MT_POOLS_DUE: return mt_arena_after_free(heap, block);
    default: return free_slowly(heap, block);
    }
}

size_t mt_arena_usable(const void *block)
{
    uint16_t cell = mt_arena_look(block);
    return cell ? mt_class_bytes(mt_arena_cell_class(cell)) : 0;
}

/* ---- reallocating ------------------------------------------------------------------------------- */

/* One free and one allocation, in this order so that the peak does not hold both. */
static void *resized(struct mt_theap *heap, void *block, unsigned before, unsigned after, size_t bytes, size_t used)
{
    unsigned site = mt_arena_cell_site(mt_arena_look(block));
    struct mt_origin_counts *counts = counts_of(heap, site);
    count_free(heap, site, before);
    if (mt_pools_count_freed(heap, mt_class_bytes(before))) mt_account_flush(heap);
    counts = counts_of(heap, site);
    if (counts) {
        mt_arena_count(counts, after, bytes);
    } else {
        MT_ADD(heap->shard->classes[after].allocation_count, 1);
        MT_ADD(heap->shard->allocation_count, 1);
    }
    if (!mt_pools_count_allocated(heap, bytes, mt_class_bytes(after))) return block;
    bool is_own = heap->arenas && mt_arena_owns(&heap->arenas->arena, block);
    if (is_own && counts) return exchange(heap, block, bytes, used);
    mt_account_flush_if_due(heap);
    return block;
}

void *mt_arena_reallocate(struct mt_theap *heap, void *block, size_t bytes, bool may_stay)
{
    uint16_t cell = mt_arena_look(block);
    if (!cell || !heap) return NULL;
    unsigned before = mt_arena_cell_class(cell), after = may_stay ? before : mt_class_of(bytes);
    uint32_t old_bytes = (uint32_t)mt_class_bytes(before), new_bytes = (uint32_t)mt_class_bytes(after);
    size_t used = bytes < old_bytes ? bytes : old_bytes;
    if (may_stay) return resized(heap, block, before, after, bytes, used);
    if (bytes > MT_ARENA_MAX || !heap->arenas || !mt_arena_owns(&heap->arenas->arena, block)) return NULL;
    if (!mt_arena_resize(&heap->arenas->arena, block, old_bytes, after, new_bytes)) return NULL;
    return resized(heap, block, before, after, bytes, used);
}

void *mt_arena_allocate_like(struct mt_theap *heap, const void *block, size_t bytes, unsigned *origin)
{
    unsigned site = mt_arena_cell_site(mt_arena_look(block)), class = mt_class_of(bytes);
    *origin = mt_arena_site_origin(site);
    if (!heap || bytes > MT_ARENA_MAX || !mt_arena_site_is_in(site)) return NULL;
    void *like = take_slowly(heap, site, 1, class);
    return like ? counted(heap, like, counts_of(heap, site), class, bytes) : NULL;
}

/* ---- life ------------------------------------------------------------------------------------------ */

void mt_arena_forget_counts(struct mt_theap *heap)
{
    if (!heap->arenas) return;
    memset(heap->arenas->counts, 0, sizeof heap->arenas->counts);
    mt_sites_forget(heap);
}

void mt_arena_leave_heap(struct mt_theap *heap)
{
    if (heap->arenas) mt_arena_leave(&heap->arenas->arena);
}

void mt_arena_trim_heap(struct mt_theap *heap)
{
    if (heap->arenas) mt_arena_trim(&heap->arenas->arena);
}

void mt_arena_tidy_heap(struct mt_theap *heap)
{
    if (heap->arenas) mt_arena_tidy(&heap->arenas->arena);
}
