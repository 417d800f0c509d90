/*
 * Blocks above 32 KiB that wait in a slot of their thread's heap, or come from
 * there, in few instructions: no lock, no atomic operation. A slot is for
 * blocks of one requested size and origin, which are counted in a cell of their
 * own: a size of which a block was waiting twice in a row when it was asked for
 * gets its slot (mt_large_prepare()), and from then on a free compares
 * its note with the slot's, and an allocation its size and origin. Everything
 * else is the slow paths'. The inline functions are for the hooks, which end
 * in a tail call. The heap is the calling thread's.
 *
 * A large block alone is as much as a thread holds back of its change before
 * it hands it to the process's total (see shard.h), so that the free of one
 * and the next allocation would each do that, the second one to take back what
 * the first one did. In a process of one thread, where nobody could tell the
 * difference, a thread may fall by the largest such block that it ever freed
 * before it hands its change over (mt_large_widen()).
 */
#ifndef MT_POOLS_LARGE_H
#define MT_POOLS_LARGE_H

#include "account.h"
#include "alone.h"
#include "huge.h"
#include "mid_block.h"
#include "mid_cache.h"
#include "size_counts.h"

extern struct mt_pools_client mt_pools_clients __attribute__((visibility("hidden")));

/* NULL when there is no memory; false when the block is not the pools'. */
void *mt_pools_allocate_large_slow(struct mt_theap *heap, unsigned origin, size_t bytes) __attribute__((noinline));
bool mt_pools_free_large_slow(struct mt_theap *heap, void *block) __attribute__((noinline));
/* What is seldom due after an allocation; returns the block. And after a free: a flush, or a look at the clock. */
void *mt_pools_large_due(struct mt_theap *heap, void *block, size_t bytes) __attribute__((noinline));
void mt_pools_large_freed(struct mt_theap *heap) __attribute__((noinline));

/* ---- call stacks ---------------------------------------------------------------------- */

/* From the next block on as if nothing was known: it gets a call stack. from_bytes: 0, or UINT64_MAX for none. */
static inline void mt_large_sampler_begin(struct mt_large_sampler *sampler, uint64_t from_bytes)
{
    *sampler = (struct mt_large_sampler){.from_bytes = from_bytes, .left_bytes = from_bytes ? INT64_MAX : 0};
}

/* Before a block is counted that has waited: it is passed over, or gets a call stack by the sampler. A new shard's
 * mark is drawn first. */
static inline bool mt_large_is_sampled(struct mt_theap *heap, size_t bytes)
{
    struct mt_large_sampler *sampler = &heap->near.sampler;
    if (sampler->from_bytes) sampler->left_bytes = INT64_MAX; /* what mt_large_take() took away */
    if (sampler->from_bytes || !MT_OWN(int64_t, heap->shard->sample_countdown_bytes)) return false;
    MT_ADD(heap->shard->sample_countdown_bytes, bytes);
    if (sampler->left_bytes >= 0) sampler->left_bytes -= (int64_t)bytes; /* else mt_large_take() did that */
    return sampler->left_bytes < 0;
}

/* ---- flushes that need not be --------------------------------------------------------------- */

/* Before a free is counted that no slot serves. */
static inline void mt_large_widen(struct mt_theap *heap, size_t usable)
{
    struct mt_shard *shard = heap->shard;
    int64_t more = (int64_t)usable - MT_OWN(int64_t, shard->slack_bytes);
    if (more <= 0 || !mt_is_alone() || !heap->batch_bytes) return;
    MT_ADD(shard->slack_bytes, more);
    MT_ADD(shard->low_limit_bytes, -(uint64_t)more);
}

/* The process has more than one thread from now on. */
static inline void mt_large_narrow(struct mt_theap *heap)
{
    atomic_store_explicit(&heap->shard->slack_bytes, 0, memory_order_relaxed);
    mt_account_end_alone(heap);
}

/* ---- slots ------------------------------------------------------------------------------------ */

static inline struct mt_large_slot *mt_large_slot_of(struct mt_theap *heap, size_t requested)
{
    enum { BITS = 2, BYTES = sizeof(struct mt_large_slot) };
    _Static_assert(MT_LARGE_SLOTS == 1 << BITS && BYTES == 64, "the hash's upper bits are a slot's way in bytes");
    uint32_t way = (uint32_t)requested * UINT32_C(0x9e3779b1) >> 24 & 0xc0; /* 2^32 / golden ratio */
    char *slot = (char *)heap->near.slots + way;
    __asm__("" : "+r"(slot)); /* one address, not one for each use */
    return (struct mt_large_slot *)(void *)slot;
}

/* A block had waited and was handed out again: blocks like it get the slot of their size the second time. */
void mt_large_prepare(struct mt_theap *heap, unsigned origin, size_t requested, size_t usable);
/* The place of a slot is given up: what waits there goes elsewhere. */
void mt_large_clear(struct mt_theap *heap, struct mt_large_slot *slot);
/* The heap counts elsewhere from now on, or begins to count; what waits in slots goes on waiting. */
static inline void mt_large_forget(struct mt_theap *heap)
{
    for (unsigned i = 0; i < MT_LARGE_SLOTS; i++) {
        heap->near.slots[i].note = MT_NOTE_NEVER;
        heap->near.slots[i].requested = 0;
    }
}

/*
 * DONE: *block is it. MISS: nothing was done, but that the sampler may have come to the block;
 * mt_pools_allocate_large_slow() does it. DUE: mt_pools_large_due() is to be called.
 */
static inline __attribute__((always_inline)) enum mt_pools_end mt_large_take(struct mt_theap *heap, unsigned origin,
                                                                             size_t bytes, char **block)
{
    struct mt_large_slot *slot = mt_large_slot_of(heap, bytes);
    if (__builtin_expect(slot->requested != bytes, 0)) return MT_POOLS_MISS;
    if (__builtin_expect(slot->origin != origin, 0)) return MT_POOLS_MISS;
    *block = slot->block;
    if (__builtin_expect(!*block, 0)) return MT_POOLS_MISS;
    __builtin_prefetch(*block, 1); /* whoever asks for it writes it soon */
    if (__builtin_expect((heap->near.sampler.left_bytes -= (int64_t)bytes) < 0, 0)) return MT_POOLS_MISS;
    struct mt_size_counts *cell = slot->cell; /* before the stores, which the compiler knows nothing of */
    struct mt_shard *shard = heap->shard;
    _Atomic uint64_t *note_at = slot->note_at;
    size_t usable = slot->usable;
    slot->block = NULL;
    mt_note_store(note_at, slot->note);
    MT_ADD(cell->allocation_count, 1);
    MT_ADD(shard->allocation_count, 1);
    MT_ADD(shard->requested_bytes, bytes);
    MT_ADD(shard->sample_countdown_bytes, bytes);
    return mt_shard_grow(shard, usable, &heap->batch_bytes) ? MT_POOLS_DUE : MT_POOLS_DONE;
}

/*
 * MISS: nothing was done, mt_pools_free_large_slow() does it. DUE: it is done, and mt_pools_large_freed() is to be
 * called. note_at: of the block, which begins there and has so many usable bytes.
 */
static inline __attribute__((always_inline)) enum mt_pools_end
mt_large_give(struct mt_theap *heap, void *block, _Atomic uint64_t *note_at, size_t usable)
{
    uint64_t note = mt_note_load(note_at);
    struct mt_large_slot *slot = mt_large_slot_of(heap, (uint32_t)note);
    if (__builtin_expect(slot->note != note, 0)) return MT_POOLS_MISS;
    if (__builtin_expect(slot->usable != usable, 0)) return MT_POOLS_MISS;
    if (__builtin_expect(slot->block != NULL, 0)) return MT_POOLS_MISS;
    slot->block = block;
    slot->note_at = note_at;
    mt_note_store(note_at, 0);
    struct mt_shard *shard = heap->shard;
    MT_ADD(slot->cell->free_count, 1);
    MT_ADD(shard->free_count, 1);
    if (mt_shard_shrink(shard, usable)) return MT_POOLS_DUE;
    return __builtin_expect(--heap->near.looks_in == 0, 0) ? MT_POOLS_DUE : MT_POOLS_DONE;
}

static inline __attribute__((always_inline)) enum mt_pools_end mt_large_give_mid(struct mt_theap *heap, void *block,
                                                                                 uint64_t entry)
{
    struct mt_mid_mark *mark = mt_mid_mark_of(mt_entry_record(entry), block);
    uint32_t shape = mt_mid_shape_of(mark);
    if (__builtin_expect(!mt_mid_is_begin(shape, (uintptr_t)block), 0)) return MT_POOLS_MISS;
    return mt_large_give(heap, block, &mark->note, mt_mid_shape_bytes(shape));
}

static inline __attribute__((always_inline)) enum mt_pools_end mt_large_give_huge(struct mt_theap *heap,
                                                                                  void *block, uint64_t entry)
{
    struct mt_huge *huge = mt_entry_record(entry);
    if (__builtin_expect(huge->base != block, 0)) return MT_POOLS_MISS;
    size_t usable = atomic_load_explicit(&huge->bytes, memory_order_relaxed);
    return mt_large_give(heap, block, &huge->note, usable);
}

/* ---- growing ---------------------------------------------------------------------------------- */

/* Blocks that realloc has let grow of late are remembered here, by address: many are a slab's first. */
static inline const void **mt_large_grown(struct mt_theap *heap, const void *block)
{
    uintptr_t address = (uintptr_t)block;
    return &heap->grown[(address >> 4 ^ address >> 12 ^ address >> 16) % MT_GROWN_SLOTS];
}

static inline void mt_large_count_stretched(struct mt_shard *shard, struct mt_origin_counts *counts,
                                            struct mt_large before, struct mt_large after)
{
    MT_ADD(shard->classes[mt_class_of_block(before.usable)].free_count, 1);
    MT_ADD(shard->classes[mt_class_of_block(after.usable)].allocation_count, 1);
    MT_ADD(counts->large_allocation_count, 1);
    MT_ADD(counts->large_requested_bytes, after.requested);
    MT_ADD(counts->large_free_count, 1);
    MT_ADD(counts->large_requested_freed_bytes, before.requested);
    MT_ADD(counts->large_allocated_bytes, after.usable);
    MT_ADD(counts->large_freed_bytes, before.usable);
    MT_ADD(shard->free_count, 1);
    MT_ADD(shard->allocation_count, 1);
    MT_ADD(shard->realloc_count, 1);
}

/*
 * A block of an arena grows within its room: one free and one allocation, which change nothing but its mark and
 * counters. MISS: nothing was done, mt_pools_reallocate() does it. DUE: mt_pools_stretched() is to be called.
 */
static inline __attribute__((always_inline)) enum mt_pools_end mt_large_stretch(struct mt_theap *heap, void *block,
                                                                                size_t bytes, uint64_t entry)
{
    struct mt_mid_mark *mark = mt_mid_mark_of(mt_entry_record(entry), block);
    uint32_t shape = mt_mid_shape_of(mark);
    if (__builtin_expect(!mt_mid_is_begin(shape, (uintptr_t)block), 0)) return MT_POOLS_MISS;
    uint64_t note = mt_note_load(&mark->note);
    if ((note & (MT_NOTE_LIVES | MT_NOTE_SAMPLED)) != MT_NOTE_LIVES) return MT_POOLS_MISS;
    struct mt_origin_counts *counts = heap->counts[mt_note_origin(note) % MT_ORIGIN_CACHED];
    if (__builtin_expect(!counts || counts->origin != mt_note_origin(note), 0)) return MT_POOLS_MISS;
    size_t requested = mt_note_requested(note), used = mt_mid_shape_bytes(shape), room = mt_mid_room(mark);
    if (bytes < requested || !bytes || bytes > used + (room << MT_MID_PAGE_SHIFT)) return MT_POOLS_MISS;
    size_t pages = bytes > used ? (bytes - used + MT_MID_PAGE - 1) >> MT_MID_PAGE_SHIFT : 0;
    size_t grown = used + (pages << MT_MID_PAGE_SHIFT);
    if (pages) {
        mt_mid_set_shape(mark, block, grown);
        mt_mid_set_range(mark, mt_mid_id(mark), room - pages);
        *mt_large_grown(heap, block) = block;
    }
    mt_note_store(&mark->note, note + (bytes - requested));
    mt_large_count_stretched(heap->shard, counts, (struct mt_large){requested, used},
                             (struct mt_large){bytes, grown});
    return mt_pools_count_allocated(heap, bytes, grown - used) ? MT_POOLS_DUE : MT_POOLS_DONE;
}

#endif
