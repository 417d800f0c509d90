/*
 * Slabs and the bins of thread heaps. See slab.h for who may call what.
 */
#include "slab.h"
#include "account.h"
#include "balance.h"
#include "holes.h"
#include "os.h"
#include "stats.h"
#include "tables.h"
#include "waiting.h"

enum {
    BEGIN_STEP = 1344, /* from one bin's first block to the next bin's, in their pages: 21 lines of the cache */
    CUT_BYTES = 4096,  /* blocks are made ready for one page of memory at a time */
    WAIT_BYTES = 256,  /* blocks that wait where larger ones go home at once */
    GROWTH_LEAST = 32 << 10,  /* bytes of fresh memory after which a heap looks for what it does not use */
    GROWTH_SHARE = 16,        /* and this part of those that it has */
    TAIL_BYTES = 8 << 10,     /* worth a call of the system */
    PARTIAL_MANY = 4,         /* slabs with free blocks, so that no more need wait in the bin's list */
    EXAMINES_LEAST = 64,      /* slabs in which free pages are looked for at once */
    EXAMINE_BYTES = 32 << 10, /* and one for each so many bytes that the heap has grown by */
    DENSE_SLABS = 16,         /* a bin with so many goes on growing */
    SMALL_SLAB_BLOCK = 8192,  /* larger blocks come from slabs of four slices */
};

static struct mt_bin *bin_of(struct mt_theap *heap, const struct mt_slab *slab)
{
    return &heap->bins[slab->bin];
}

/* ---- origins ------------------------------------------------------------------------ */

unsigned mt_slab_mark_of(const struct mt_slab *slab, const void *block)
{
    /* Acquire pairs with the release in origins_new(). */
    const _Atomic uint16_t *origins = atomic_load_explicit(&slab->origins, memory_order_acquire);
    return origins ? atomic_load_explicit(&origins[mt_slab_index(slab, block)], memory_order_relaxed)
                   : slab->origin;
}

static _Atomic uint16_t *origins_new(struct mt_slab *slab)
{
    _Atomic uint16_t *origins = mt_table_new(slab->capacity * sizeof *origins);
    if (!origins) return NULL;
    for (uint32_t i = 0; i < slab->cut_count; i++)
        atomic_store_explicit(&origins[i], slab->origin, memory_order_relaxed);
    atomic_store_explicit(&slab->origins, origins, memory_order_release);
    return origins;
}

unsigned mt_slab_mark(void *block, unsigned mark)
{
    struct mt_slab *slab = mt_entry_record(mt_pagemap_entry(block));
    _Atomic uint16_t *origins = atomic_load_explicit(&slab->origins, memory_order_relaxed);
    if (!origins && !slab->is_marked) {
        slab->origin = (uint16_t)mark;
        slab->is_marked = true;
    }
    if (!origins && slab->origin == mark) return mark;
    if (!origins) origins = origins_new(slab);
    if (!origins) return slab->origin;
    atomic_store_explicit(&origins[mt_slab_index(slab, block)], (uint16_t)mark, memory_order_relaxed);
    return mark;
}

/* ---- lists -------------------------------------------------------------------------- */

static void partial_push(struct mt_bin *bin, struct mt_slab *slab)
{
    slab->is_partial = true;
    slab->previous = NULL;
    slab->next = bin->partial;
    if (bin->partial) bin->partial->previous = slab;
    bin->partial = slab;
}

static void partial_remove(struct mt_bin *bin, struct mt_slab *slab)
{
    slab->is_partial = false;
    if (slab->next) slab->next->previous = slab->previous;
    if (slab->previous)
        slab->previous->next = slab->next;
    else
        bin->partial = slab->next;
}

static void fresh_push(struct mt_bin *bin, struct mt_slab *slab)
{
    slab->is_fresh = true;
    slab->fresh_previous = NULL;
    slab->fresh_next = bin->fresh;
    if (bin->fresh) bin->fresh->fresh_previous = slab;
    bin->fresh = slab;
}

static void fresh_remove(struct mt_bin *bin, struct mt_slab *slab)
{
    if (!slab->is_fresh) return;
    if (slab->fresh_next) slab->fresh_next->fresh_previous = slab->fresh_previous;
    if (slab->fresh_previous)
        slab->fresh_previous->fresh_next = slab->fresh_next;
    else
        bin->fresh = slab->fresh_next;
    slab->is_fresh = false;
}

static uint32_t page_up(uint32_t bytes)
{
    return (bytes + MT_OS_PAGE - 1) & ~(uint32_t)(MT_OS_PAGE - 1);
}

/* So many of the slab's first bytes may have been touched. */
static uint32_t extent_bytes(const struct mt_slab *slab)
{
    uint32_t cut_bytes = slab->cut_count * slab->block_bytes;
    return slab->touched_bytes > cut_bytes ? slab->touched_bytes : cut_bytes;
}

/* And so many have memory behind them. */
static uint32_t held_bytes(const struct mt_slab *slab)
{
    return extent_bytes(slab) - (uint32_t)__builtin_popcountll(slab->holes) * MT_OS_PAGE;
}

/* Whether more blocks can be made ready. */
static bool has_room(const struct mt_slab *slab)
{
    return slab->cut_count < slab->capacity || slab->holes;
}

/* Blocks that are live, or in the bin's list. */
static uint32_t out_count(const struct mt_slab *slab)
{
    return slab->cut_count - slab->free_count - slab->sleeping_count;
}

static void change_held(struct mt_theap *heap, int64_t bytes)
{
    heap->held_bytes += (size_t)bytes;
    mt_balance_hold(bytes);
}

static void heap_push(struct mt_theap *heap, struct mt_slab *slab)
{
    slab->owner = heap->id;
    slab->heap_previous = NULL;
    slab->heap_next = heap->slabs;
    if (heap->slabs) heap->slabs->heap_previous = slab;
    heap->slabs = slab;
    bin_of(heap, slab)->slab_count++;
    heap->slab_count++;
    change_held(heap, held_bytes(slab));
    mt_pagemap_set(slab->start, (size_t)slab->slices * MT_SLICE_BYTES,
                   mt_entry_make(slab, heap->id, slab->bin < MT_SLAB_CLASSES, slab->bin));
}

static void heap_remove(struct mt_theap *heap, struct mt_slab *slab)
{
    if (slab->heap_next) slab->heap_next->heap_previous = slab->heap_previous;
    if (slab->heap_previous)
        slab->heap_previous->heap_next = slab->heap_next;
    else
        heap->slabs = slab->heap_next;
    bin_of(heap, slab)->slab_count--;
    heap->slab_count--;
    change_held(heap, -(int64_t)held_bytes(slab));
}

/* ---- slabs come and go --------------------------------------------------------------- */

static bool take_span(struct mt_theap *heap, unsigned slices, unsigned wishes, uint32_t wanted_bytes,
                      struct mt_span *span)
{
    if (heap->empty_count && !atomic_load_explicit(&mt_pools_stats.slab_dirty_bytes, memory_order_relaxed))
        mt_slab_release_empty(heap);
    if (mt_span_take(slices, wishes, wanted_bytes, span)) return true;
    if (mt_theap_absorb(heap) && mt_span_take(slices, wishes, wanted_bytes, span)) return true;
    return mt_span_take(slices, wishes | MT_SPAN_GROW, wanted_bytes, span);
}

/* A bin that begins may stay small. */
static uint32_t first_bytes(const struct mt_bin *bin)
{
    return page_up((uint32_t)bin->bytes);
}

/* A bin that begins may stay small, and what another one touched before it would lie idle behind its blocks. */
static void purge_tail(struct mt_slab *slab, uint32_t kept)
{
    size_t bytes = slab->touched_bytes > kept ? slab->touched_bytes - kept : 0;
    if (!bytes || !mt_span_may_purge() || !mt_os_purge(slab->start + kept, bytes)) return;
    mt_span_note_purged(bytes);
    slab->touched_bytes = kept;
}

/* The bin has no slab; where slabs come and go with a block, it never had one. */
static bool is_first(struct mt_theap *heap, const struct mt_bin *bin)
{
    if (!heap->keeps_nothing) return !bin->slab_count;
    uint64_t bit = UINT64_C(1) << bin->class % 64, seen = heap->begun[bin->class / 64];
    heap->begun[bin->class / 64] |= bit;
    return !(seen & bit);
}

static struct mt_slab *slab_new(struct mt_theap *heap, struct mt_bin *bin)
{
    struct mt_span span;
    unsigned slices = bin->bytes > SMALL_SLAB_BLOCK ? 4 : 1;
    struct mt_slab *slab = mt_record_new();
    if (!slab) return NULL;
    /* Programs touch small blocks all over, and a bin that has many slabs will fill this one too. */
    bool is_dense = bin->slab_count >= DENSE_SLABS && bin->bytes <= MT_OS_PAGE;
    bool is_begun = is_first(heap, bin);
    uint32_t wanted_bytes = is_begun ? first_bytes(bin) : slices * (uint32_t)MT_SLICE_BYTES;
    if (!take_span(heap, slices, is_dense ? MT_SPAN_DENSE : 0, wanted_bytes, &span)) {
        mt_record_drop(slab);
        return NULL;
    }
    slab->start = span.start;
    slab->chunk = span.chunk;
    slab->is_zero = span.is_zero;
    slab->slices = (uint8_t)slices;
    slab->class = bin->class;
    slab->bin = bin->index;
    slab->origin = heap->subs[bin->sub].origin;
    slab->is_marked = bin->sub != 0;
    slab->block_bytes = bin->bytes;
    slab->inverse = (uint32_t)((UINT64_C(0x100000000) + bin->bytes - 1) / bin->bytes);
    slab->capacity = slices * (uint32_t)MT_SLICE_BYTES / bin->bytes;
    slab->touched_bytes = span.touched_bytes;
    if (is_begun) purge_tail(slab, wanted_bytes);
    heap_push(heap, slab);
    fresh_push(bin, slab);
    MT_POOL_STAT_ADD(classes[slab->class].slab_count, 1);
    MT_POOL_STAT_ADD(classes[slab->class].reserved_bytes, slices * (uint32_t)MT_SLICE_BYTES);
    return slab;
}

/* No block of the slab is live. */
static void forget_origins(struct mt_slab *slab)
{
    _Atomic uint16_t *origins = atomic_load_explicit(&slab->origins, memory_order_relaxed);
    if (!origins) return;
    atomic_store_explicit(&slab->origins, NULL, memory_order_relaxed);
    mt_table_drop((void *)origins, slab->capacity * sizeof *origins);
}

static void note_touched(struct mt_slab *slab)
{
    slab->touched_bytes = extent_bytes(slab);
}

/* Gives back a slab of which all blocks are home. */
static void slab_release(struct mt_theap *heap, struct mt_slab *slab)
{
    struct mt_bin *bin = bin_of(heap, slab);
    if (slab->is_partial) partial_remove(bin, slab);
    fresh_remove(bin, slab);
    heap_remove(heap, slab);
    forget_origins(slab);
    MT_POOL_STAT_ADD(classes[slab->class].slab_count, -1);
    MT_POOL_STAT_ADD(classes[slab->class].reserved_bytes, -(int64_t)slab->slices * MT_SLICE_BYTES);
    note_touched(slab);
    mt_span_give(slab->chunk, slab->start, slab->slices, slab->touched_bytes);
    mt_record_drop(slab);
}

/* All blocks are home: cut it anew from its start, so that blocks leave it in the order of their addresses. */
static void slab_restart(struct mt_theap *heap, struct mt_bin *bin, struct mt_slab *slab)
{
    heap->empty_count++;
    if (slab->is_partial) partial_remove(bin, slab);
    if (!slab->is_fresh) fresh_push(bin, slab);
    note_touched(slab);
    if (slab->holes) change_held(heap, slab->touched_bytes - held_bytes(slab));
    slab->holes = 0;
    slab->free = NULL;
    slab->free_count = slab->cut_count = 0;
    slab->sleeping_count = slab->examined_count = 0;
    slab->is_zero = false;
    slab->is_marked = bin->sub != 0;
    forget_origins(slab);
}

void mt_slab_return(struct mt_theap *heap, struct mt_slab *slab, void *head, void *tail, uint32_t count)
{
    struct mt_bin *bin = bin_of(heap, slab);
    *(void **)tail = slab->free;
    slab->free = head;
    slab->free_count += count;
    if (!out_count(slab)) {
        if (bin->slab_count > 1 || heap->keeps_nothing)
            slab_release(heap, slab);
        else
            slab_restart(heap, bin, slab);
    } else if (!slab->is_partial) {
        partial_push(bin, slab);
    }
}

static void return_one(struct mt_theap *heap, void *block)
{
    mt_slab_return(heap, mt_entry_record(mt_pagemap_entry(block)), block, block, 1);
}

void mt_slab_release_empty(struct mt_theap *heap)
{
    struct mt_slab *next;
    heap->empty_count = 0;
    for (struct mt_slab *slab = heap->slabs; slab; slab = next) {
        next = slab->heap_next;
        if (!out_count(slab)) slab_release(heap, slab);
    }
}

/* ---- filling a bin --------------------------------------------------------------------- */

/*
 * Where the list of a bin's first page begins. Slabs begin at multiples of 64 KiB: the first blocks of all bins
 * would lie in one set of the processor's cache, and those of a small program are its busiest.
 */
static uint32_t first_handed_out(const struct mt_bin *bin, const struct mt_slab *slab, uint32_t count)
{
    if (slab->cut_count || bin->slab_count > 1) return 0;
    return bin->index * (uint32_t)BEGIN_STEP % CUT_BYTES / slab->block_bytes % count;
}

/* More blocks of the slab are ready, which held so much before. */
static void note_grown(struct mt_theap *heap, struct mt_bin *bin, struct mt_slab *slab, uint32_t before)
{
    uint32_t grown = held_bytes(slab) - before;
    if (grown) change_held(heap, grown);
    heap->grown_bytes += grown;
    if (!has_room(slab)) fresh_remove(bin, slab);
}

static void fill_hole(struct mt_theap *heap, struct mt_bin *bin, struct mt_slab *slab)
{
    uint32_t before = held_bytes(slab);
    bin->adjust += mt_holes_fill(slab, &bin->head);
    note_grown(heap, bin, slab, before);
}

/* Makes the next blocks of a slab ready: as many as end in the page of memory where the first one begins. */
static void cut(struct mt_theap *heap, struct mt_bin *bin, struct mt_slab *slab)
{
    uint32_t bytes = slab->block_bytes;
    char *first = slab->start + (size_t)slab->cut_count * bytes;
    uint32_t room = CUT_BYTES - (uint32_t)((uintptr_t)first & (CUT_BYTES - 1));
    uint32_t count = room / bytes ? room / bytes : 1;
    if (count > slab->capacity - slab->cut_count) count = slab->capacity - slab->cut_count;
    if (heap->keeps_nothing) count = 1;
    char *last = first + (size_t)(count - 1) * bytes;
    for (char *block = first; block < last; block += bytes) *(void **)(void *)block = block + bytes;
    char *head = first + (size_t)first_handed_out(bin, slab, count) * bytes;
    *(void **)(void *)last = head > first ? first : bin->head;
    if (head > first) *(void **)(void *)(head - bytes) = bin->head;
    bin->head = head;
    bin->adjust += count;
    uint32_t before = held_bytes(slab);
    slab->cut_count += count;
    note_grown(heap, bin, slab, before);
}

static void take_partial(struct mt_bin *bin)
{
    struct mt_slab *slab = bin->partial;
    partial_remove(bin, slab);
    bin->head = slab->free;
    bin->adjust += slab->free_count;
    slab->free = NULL;
    slab->free_count = 0;
    slab->examined_count = 0;
}

static void look_if_grown(struct mt_theap *heap);

bool mt_slab_refill(struct mt_theap *heap, struct mt_bin *bin)
{
    mt_theap_tidy(heap);
    mt_waiting_shorten_next(heap);
    if (atomic_load_explicit(&heap->inbox, memory_order_relaxed)) mt_slab_drain(heap);
    if (bin->head) return true;
    mt_waiting_look(heap);
    mt_waiting_lengthen(heap, bin);
    if (bin->partial) {
        take_partial(bin);
        return true;
    }
    look_if_grown(heap);
    struct mt_slab *slab = bin->fresh ? bin->fresh : slab_new(heap, bin);
    if (bin->head) return true; /* heaps were absorbed on the way */
    if (!slab) return false;
    if (slab->holes)
        fill_hole(heap, bin, slab);
    else
        cut(heap, bin, slab);
    return true;
}

void *mt_slab_take_zero(struct mt_theap *heap, struct mt_bin *bin)
{
    if (bin->head || bin->partial || atomic_load_explicit(&heap->inbox, memory_order_relaxed)) return NULL;
    look_if_grown(heap);
    struct mt_slab *slab = bin->fresh ? bin->fresh : slab_new(heap, bin);
    if (!slab || !slab->is_zero || slab->cut_count == slab->capacity || bin->head) return NULL;
    char *block = slab->start + (size_t)slab->cut_count * slab->block_bytes;
    uint32_t before = held_bytes(slab);
    slab->cut_count++;
    note_grown(heap, bin, slab, before);
    return block;
}

/* Worth a look: less than half of the blocks are out, and less than at the last look by a quarter. */
static bool may_have_free_pages(const struct mt_slab *slab)
{
    uint32_t out = out_count(slab), examined = slab->examined_count;
    return slab->free_count * slab->block_bytes >= 2 * MT_OS_PAGE && out <= slab->cut_count / 2 &&
           (!examined || out <= examined - (examined + 3) / 4);
}

/* Memory of a slab's has gone back. */
static void note_shrunk(struct mt_theap *heap, const struct mt_slab *slab, uint32_t before)
{
    uint32_t bytes = before - held_bytes(slab);
    change_held(heap, -(int64_t)bytes);
    heap->excess_bytes -= bytes < heap->excess_bytes ? bytes : heap->excess_bytes;
}

static void make_holes(struct mt_theap *heap, struct mt_bin *bin, struct mt_slab *slab)
{
    uint32_t before = held_bytes(slab);
    bool is_made = mt_holes_make(slab);
    slab->examined_count = (uint16_t)out_count(slab);
    if (!is_made) return;
    note_shrunk(heap, slab, before);
    if (!slab->free) partial_remove(bin, slab);
    if (!slab->is_fresh) fresh_push(bin, slab);
}

/* In a bin's partial slabs from one on. */
static void make_some_holes(struct mt_theap *heap, struct mt_bin *bin, struct mt_slab *slab)
{
    struct mt_slab *next;
    for (; slab && heap->examines_left && heap->excess_bytes; slab = next) {
        next = slab->next;
        if (!may_have_free_pages(slab)) continue;
        if (!mt_span_may_purge()) return;
        heap->examines_left--;
        make_holes(heap, bin, slab);
    }
}

/* What another bin touched lies idle behind a slab's blocks. */
static void give_tail(struct mt_theap *heap, struct mt_slab *slab)
{
    uint32_t cut_bytes = slab->cut_count * slab->block_bytes, before = held_bytes(slab);
    uint32_t start = page_up(cut_bytes), end = page_up(slab->touched_bytes);
    if (end < start + TAIL_BYTES || !mt_span_may_purge() || !mt_os_purge(slab->start + start, end - start)) return;
    mt_span_note_purged(end - start);
    slab->touched_bytes = cut_bytes;
    note_shrunk(heap, slab, before);
}

struct mt_slab *mt_slab_partial_behind(const struct mt_bin *bin, unsigned count)
{
    struct mt_slab *slab = bin->partial;
    for (; slab && count; count--) slab = slab->next;
    return slab;
}

void mt_slab_release_unused(struct mt_theap *heap, struct mt_bin *bin)
{
    if (bin->slab_count == 1 && bin->fresh && !bin->fresh->cut_count) slab_release(heap, bin->fresh);
}

/* Pages that no block needs, while there is an excess. A busy bin keeps those of its first slabs. */
static void give_pages(struct mt_theap *heap, struct mt_bin *bin)
{
    if (!heap->excess_bytes || heap->keeps_nothing) return;
    bool is_idle = !bin->head && !bin->seen;
    if (bin->fresh && bin->slab_count == 1) give_tail(heap, bin->fresh);
    make_some_holes(heap, bin, is_idle ? bin->partial : mt_slab_partial_behind(bin, PARTIAL_MANY));
}

static void give_pages_of_all(struct mt_theap *heap, size_t excess)
{
    heap->excess_bytes = excess;
    heap->examines_left = (uint32_t)(EXAMINES_LEAST + heap->grown_bytes / EXAMINE_BYTES);
    mt_waiting_visit_bins(heap, give_pages);
}

void mt_slab_trim_idle(struct mt_theap *heap)
{
    mt_waiting_trim_idle(heap);
    give_pages_of_all(heap, SIZE_MAX);
}

/* Before a heap grows by much it looks for what it does not use. */
static void look_if_grown(struct mt_theap *heap)
{
    size_t limit = heap->held_bytes / GROWTH_SHARE;
    if (heap->grown_bytes < (limit > GROWTH_LEAST ? limit : GROWTH_LEAST)) return;
    mt_waiting_trim_idle(heap);
    size_t excess = mt_balance_excess();
    if (excess) give_pages_of_all(heap, excess);
    mt_balance_settle();
    heap->grown_bytes = 0;
}

void mt_slab_make_room(struct mt_theap *heap)
{
    look_if_grown(heap);
    heap->grown_bytes += MT_SLICE_BYTES;
}

void mt_slab_take_back(struct mt_theap *heap, void *block)
{
    struct mt_bin *bin = &heap->bins[mt_entry_bin(mt_pagemap_entry(block))];
    if (bin->bytes <= WAIT_BYTES) {
        *(void **)block = bin->head;
        bin->head = block;
        bin->adjust++;
        return;
    }
    mt_waiting_trim(heap, bin, 0);
    return_one(heap, block);
}

void mt_slab_make_holes(struct mt_theap *heap)
{
    for (struct mt_slab *slab = heap->slabs; slab; slab = slab->heap_next)
        if (slab->is_partial && !heap->keeps_nothing) make_holes(heap, bin_of(heap, slab), slab);
}

/* ---- blocks freed by other threads ------------------------------------------------------- */

static bool is_locked_heap(const struct mt_theap *heap)
{
    return atomic_load_explicit(&heap->use, memory_order_relaxed) == MT_THEAP_LOCKED;
}

void mt_slab_send(unsigned owner, void *head, void *tail, uint32_t count)
{
    struct mt_theap *heap = mt_theap_of(owner);
    void *seen = atomic_load_explicit(&heap->inbox, memory_order_relaxed);
    do *(void **)tail = seen;
    /* Release: the owner sees the links. Pairs with the exchange in mt_slab_drain(). */
    while (!atomic_compare_exchange_weak_explicit(&heap->inbox, &seen, head, memory_order_release,
                                                  memory_order_relaxed));
    if (is_locked_heap(heap)) return; /* its blocks belong to no thread: they come home, but from nobody else's */
    MT_POOL_STAT_ADD(remote_free_count, count);
    MT_POOL_STAT_ADD(remote_batch_count, 1);
}

void mt_slab_drain(struct mt_theap *heap)
{
    void *block = atomic_exchange_explicit(&heap->inbox, NULL, memory_order_acquire);
    while (block) {
        void *next = *(void **)block;
        uint64_t entry = mt_pagemap_entry(block);
        unsigned owner = mt_entry_owner(entry);
        struct mt_bin *bin = &heap->bins[mt_entry_bin(entry)];
        if (owner != heap->id) {
            mt_slab_send(owner, block, block, 1); /* its slab has gone to another heap meanwhile */
        } else if (heap->keeps_nothing) {
            mt_slab_take_back(heap, block);
        } else if (mt_waiting_length(bin) < bin->max_count) {
            *(void **)block = bin->head;
            bin->head = block;
            bin->adjust++;
        } else {
            return_one(heap, block);
        }
        block = next;
    }
}

/* ---- a heap takes over what another one had ------------------------------------------------ */

/* To a bin of another sub-heap or heap. No block of the slab is in a bin's list. */
static void move_slab(struct mt_theap *to, struct mt_theap *from, struct mt_slab *slab, struct mt_bin *bin)
{
    struct mt_bin *old = bin_of(from, slab);
    if (slab->is_partial) partial_remove(old, slab);
    fresh_remove(old, slab);
    heap_remove(from, slab);
    slab->bin = bin->index;
    heap_push(to, slab);
    if (slab->free_count) partial_push(bin, slab);
    if (has_room(slab)) fresh_push(bin, slab);
}

/* Where a slab of another heap belongs. */
static struct mt_bin *home_bin(struct mt_theap *to, const struct mt_slab *slab)
{
    bool is_mixed = slab->bin < MT_SLAB_CLASSES;
    struct mt_bin *own = is_mixed ? NULL : mt_sub_bin(to, slab->origin, slab->class);
    return own ? own : &to->bins[slab->class];
}

void mt_slab_move_all(struct mt_theap *to, struct mt_theap *from)
{
    mt_slab_drain(from);
    mt_waiting_trim_all(from);
    mt_slab_release_empty(from);
    while (from->slabs) {
        struct mt_slab *slab = from->slabs;
        move_slab(to, from, slab, home_bin(to, slab));
    }
}

/* All blocks of the slab are home, or the origin's. */
static bool is_of_one(const struct mt_slab *slab, unsigned origin)
{
    bool has_table = atomic_load_explicit(&slab->origins, memory_order_relaxed);
    return !has_table && (!slab->is_marked || slab->origin == origin);
}

static void adopt(struct mt_theap *heap, struct mt_slab *slab, struct mt_bin *own, unsigned origin)
{
    if (!is_of_one(slab, origin)) return;
    if (!slab->is_marked) slab->origin = (uint16_t)origin; /* no block is out, so nobody asks */
    slab->is_marked = true;
    move_slab(heap, heap, slab, own);
}

void mt_slab_take_over(struct mt_theap *heap, struct mt_bin *own, unsigned origin)
{
    struct mt_bin *mixed = &heap->bins[own->class];
    struct mt_slab *next;
    mt_waiting_trim(heap, mixed, 0);
    for (struct mt_slab *slab = mixed->fresh; slab; slab = next) {
        next = slab->fresh_next;
        adopt(heap, slab, own, origin);
    }
    for (struct mt_slab *slab = mixed->partial; slab; slab = next) {
        next = slab->next;
        adopt(heap, slab, own, origin);
    }
}

void mt_slab_mix(struct mt_theap *heap, unsigned sub)
{
    struct mt_slab *next;
    for (unsigned class = 0; class < MT_SLAB_CLASSES; class ++)
        mt_waiting_trim(heap, &heap->bins[sub * MT_SLAB_CLASSES + class], 0);
    for (struct mt_slab *slab = heap->slabs; slab; slab = next) {
        next = slab->heap_next;
        if (slab->bin / MT_SLAB_CLASSES == sub) move_slab(heap, heap, slab, &heap->bins[slab->class]);
    }
}

void mt_slab_forward(struct mt_theap *heap)
{
    void *block = atomic_exchange_explicit(&heap->inbox, NULL, memory_order_acquire);
    while (block) {
        void *next = *(void **)block;
        unsigned owner = mt_entry_owner(mt_pagemap_entry(block));
        if (owner != heap->id) mt_slab_send(owner, block, block, 1);
        block = next;
    }
}

void mt_slab_adopt(struct mt_theap *heap, struct mt_slab *slab)
{
    slab->free = NULL;
    slab->free_count = 0;
    slab->cut_count = slab->capacity;
    slab->holes = 0;
    slab->sleeping_count = slab->examined_count = 0;
    slab->is_partial = slab->is_fresh = slab->is_zero = false;
    slab->is_marked = true;
    slab->bin = home_bin(heap, slab)->index;
    heap_push(heap, slab);
}
