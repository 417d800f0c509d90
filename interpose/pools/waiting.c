/*
 * Lists of waiting blocks. See waiting.h for who may call what.
 */
#include "waiting.h"
#include "slab.h"

#include <string.h>

enum {
    SHORTEN_MOST = 1024, /* blocks that go home at once, so that no call takes long */
    SHORTEN_STEPS = 16,  /* bins in which one is looked for whose list may be too long */
    LIST_SHARE = 4,      /* of what a heap holds may wait in one list that has become longer */
    PARTIAL_MANY = 4,    /* slabs with free blocks, so that no more need wait in the bin's list */
    /* A fall of live bytes: so many, and this part of what the heap holds. It took longer to free them than it
     * takes to send so many blocks of each bin home. */
    FALL_BYTES = 64 << 10,
    FALL_SHARE = 4,
    FALL_MOST = 32 << 10,
    WHOLE = UINT16_MAX,
    CHANGE_SHARE = 4, /* of the bytes asked for that are of other sizes than the last ones, so that it matters */
};

static uint64_t own_load(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

int64_t mt_waiting_length(const struct mt_bin *bin)
{
    int64_t length = bin->adjust +
                     (int64_t)(own_load(&bin->cell->free_count) - own_load(&bin->cell->allocation_count));
    return length > 0 ? length : 0;
}

/* Of the sub-heaps that are not mixed, whose bins count in cells. */
static void visit_own_bins(struct mt_theap *heap, mt_waiting_visit *visit)
{
    for (unsigned sub = 1; sub < MT_SUBS; sub++)
        for (unsigned word = 0; word < 2; word++)
            for (uint64_t bits = heap->subs[sub].open[word]; bits; bits &= bits - 1)
                visit(heap, &heap->bins[sub * MT_SLAB_CLASSES + word * 64 + (unsigned)__builtin_ctzll(bits)]);
}

void mt_waiting_visit_bins(struct mt_theap *heap, mt_waiting_visit *visit)
{
    for (unsigned class = 0; class < MT_SLAB_CLASSES; class ++) visit(heap, &heap->bins[class]);
    visit_own_bins(heap, visit);
}

/* ---- home ------------------------------------------------------------------------------- */

/* How many of a list's blocks, from the first one on, lie in a slab one after the other, at most so many. */
static uint32_t row_in(const struct mt_slab *slab, void *first, uint32_t most, void **last)
{
    size_t bytes = (size_t)slab->slices * MT_SLICE_BYTES;
    uint32_t count = 1;
    void *block = first;
    for (void *next = *(void **)block; count < most && (uintptr_t)next - (uintptr_t)slab->start < bytes; count++) {
        block = next;
        next = *(void **)block;
    }
    *last = block;
    return count;
}

void mt_waiting_send_home(struct mt_theap *heap, struct mt_bin *bin, uint32_t keep, uint32_t most)
{
    void **link = &bin->head;
    for (uint32_t i = 0; i < keep && *link; i++) link = (void **)*link;
    void *rest = *link;
    *link = NULL;
    while (rest && most) {
        struct mt_slab *slab = mt_entry_record(mt_pagemap_entry(rest));
        void *first = rest, *last;
        uint32_t count = row_in(slab, first, most, &last);
        rest = *(void **)last;
        most -= count;
        bin->adjust -= count;
        mt_slab_return(heap, slab, first, last, count);
    }
    *link = rest;
}

void mt_waiting_trim(struct mt_theap *heap, struct mt_bin *bin, uint32_t keep)
{
    mt_waiting_send_home(heap, bin, keep, UINT32_MAX);
}

static void trim(struct mt_theap *heap, struct mt_bin *bin)
{
    mt_waiting_trim(heap, bin, 0);
}

void mt_waiting_trim_all(struct mt_theap *heap)
{
    mt_waiting_visit_bins(heap, trim);
}

/* ---- how long ----------------------------------------------------------------------------- */

void mt_waiting_shorten(struct mt_theap *heap, struct mt_bin *bin)
{
    int64_t length = mt_waiting_length(bin);
    if (length < bin->max_count) return;
    bin->is_shortened = true;
    mt_waiting_send_home(heap, bin, bin->max_count / 2, SHORTEN_MOST);
}

/* Bins of the mixed sub-heap look after themselves. */
void mt_waiting_shorten_next(struct mt_theap *heap)
{
    unsigned at = heap->looked_at;
    for (unsigned step = 0; step < SHORTEN_STEPS; step++) {
        if (++at >= MT_SUBS * MT_SLAB_CLASSES) at = MT_SLAB_CLASSES;
        unsigned sub = at / MT_SLAB_CLASSES;
        if (!heap->subs[sub].counts) {
            at = (sub + 1) * MT_SLAB_CLASSES - 1;
        } else if (heap->bins[at].head) {
            mt_waiting_shorten(heap, &heap->bins[at]);
            break;
        }
    }
    heap->looked_at = at;
}

/* Where blocks were sent home before, the list may be twice as long from now on. Bursts that come again wait in it
 * then, and do not go home and back one by one. */
void mt_waiting_lengthen(const struct mt_theap *heap, struct mt_bin *bin)
{
    if (!bin->is_shortened) return;
    bin->is_shortened = false;
    uint32_t count = 2u * bin->max_count;
    if (count > UINT16_MAX || count * bin->bytes > heap->held_bytes / LIST_SHARE) return;
    bin->doublings++;
    bin->max_count = (uint16_t)count;
}

/* Nothing comes from it any more. */
static void forget_length(struct mt_bin *bin)
{
    bin->max_count >>= bin->doublings;
    bin->doublings = 0;
    bin->is_shortened = false;
}

static bool has_many_partial(const struct mt_bin *bin)
{
    return mt_slab_partial_behind(bin, PARTIAL_MANY - 1) != NULL;
}

/* A busy bin may show the same head twice: then it is filled again from its slabs. */
static void trim_if_idle(struct mt_theap *heap, struct mt_bin *bin)
{
    uint16_t head = (uint16_t)((uintptr_t)bin->head >> 4);
    if (bin->seen != head) {
        bin->seen = head;
        if (has_many_partial(bin))
            mt_waiting_send_home(heap, bin, 0, SHORTEN_MOST);
        else
            mt_waiting_shorten(heap, bin);
        return;
    }
    if (bin->head) mt_waiting_trim(heap, bin, 0);
    forget_length(bin);
    bin->seen = 0;
    mt_slab_release_unused(heap, bin);
}

void mt_waiting_trim_idle(struct mt_theap *heap)
{
    mt_waiting_visit_bins(heap, trim_if_idle);
}

/* ---- falls ---------------------------------------------------------------------------------- */

static uint32_t group_of(const struct mt_bin *bin)
{
    return bin->class / (MT_SLAB_CLASSES / MT_FALL_GROUPS);
}

static void add_asked(struct mt_theap *heap, struct mt_bin *bin)
{
    uint64_t bytes = own_load(&bin->cell->allocation_count) * bin->bytes;
    heap->fall.asked[group_of(bin)] += (uint32_t)(bytes / MT_FALL_UNIT);
}

/* Whether what was asked for since the last fall shares out among the sizes in another way than what was asked for
 * between the two before it. How much it was is another matter: not every burst is seen to fall. */
static bool has_changed(struct mt_theap *heap)
{
    struct mt_fall *fall = &heap->fall;
    uint32_t before[MT_FALL_GROUPS], now[MT_FALL_GROUPS];
    uint64_t all = 0, moved = 0;
    memcpy(before, fall->asked, sizeof before);
    memset(fall->asked, 0, sizeof fall->asked);
    visit_own_bins(heap, add_asked);
    for (unsigned i = 0; i < MT_FALL_GROUPS; i++) all += now[i] = fall->asked[i] - before[i];
    if (all < FALL_BYTES / MT_FALL_UNIT) { /* larger blocks were freed; these are looked at next time */
        memcpy(fall->asked, before, sizeof before);
        return false;
    }
    for (unsigned i = 0; i < MT_FALL_GROUPS; i++) {
        uint64_t share = (uint64_t)now[i] * WHOLE / all, last = fall->shares[i];
        if (share > last) moved += share - last;
        fall->shares[i] = (uint16_t)share;
    }
    return moved > WHOLE / CHANGE_SHARE;
}

static void empty(struct mt_theap *heap, struct mt_bin *bin)
{
    mt_waiting_send_home(heap, bin, 0, FALL_MOST);
    forget_length(bin);
    bin->seen = 0;
}

void mt_waiting_look(struct mt_theap *heap)
{
    int64_t live = atomic_load_explicit(&heap->shard->live_bytes, memory_order_relaxed);
    int64_t fallen = heap->fall.highest_bytes - live;
    bool is_fall = fallen >= FALL_BYTES && fallen >= (int64_t)(heap->held_bytes / FALL_SHARE);
    if (fallen < 0 || is_fall) heap->fall.highest_bytes = live;
    if (is_fall && has_changed(heap)) mt_waiting_visit_bins(heap, empty);
}
