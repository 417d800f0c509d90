/*
 * Blocks above 32 KiB that wait in a slot of their thread's heap, or come from
 * there, in few instructions: no lock, no atomic operation. A slot is for
 * blocks of one requested size and origin, and knows where those are counted:
 * a block that was allocated so often that one of its size was waiting gets
 * the slot of its size (mt_large_prepare()), and from then on a free compares
 * its note with the slot's, and an allocation its size and origin. Everything
 * else is the slow paths'. The inline functions are for the hooks, which end
 * in a tail call. The heap is the calling thread's.
 *
 * A large block alone is as much as a thread holds back of its change before
 * it hands it to the process's total (see shard.h), so that the free of one
 * and the next allocation would each do that, the second one to take back what
 * the first one did. In a process of one thread, where nobody could tell the
 * difference, the free owes it until the next large allocation: one by the same
 * origin pays what the two changed together, which is nothing where the sizes
 * are the same. Every other free pays at once.
 */
#ifndef MT_POOLS_LARGE_H
#define MT_POOLS_LARGE_H

#include "account.h"
#include "alone.h"
#include "huge.h"
#include "mid_block.h"
#include "mid_cache.h"

extern struct mt_pools_client mt_pools_clients __attribute__((visibility("hidden")));

/* NULL when there is no memory; false when the block is not the pools'. */
void *mt_pools_allocate_large_slow(struct mt_theap *heap, unsigned origin, size_t bytes) __attribute__((noinline));
bool mt_pools_free_large_slow(struct mt_theap *heap, void *block) __attribute__((noinline));
/* What is seldom due after an allocation; returns the block. And after a free: is_flush_due, or it is time to look
 * at the clock. */
void *mt_pools_large_due(struct mt_theap *heap, void *block, size_t bytes) __attribute__((noinline));
void mt_pools_large_freed(struct mt_theap *heap, bool is_flush_due) __attribute__((noinline));

/* ---- call stacks ---------------------------------------------------------------------- */

/* From the next block on as if nothing was known. */
static inline void mt_large_sampler_begin(struct mt_large_sampler *sampler, uint64_t from_bytes)
{
    *sampler = (struct mt_large_sampler){.from_bytes = from_bytes};
}

/*
 * Before a block is counted: it is one of those that are counted off; and this one is passed over, or gets a call
 * stack by the sampler (mt_large_counts_off()). Any redraw of the blocks that are left is without bias, because
 * whether a block gets one depends on no other.
 */
static inline bool mt_large_is_counted(const struct mt_theap *heap, size_t bytes)
{
    return bytes >= heap->near.sampler.from_bytes;
}
static inline bool mt_large_pass_over(struct mt_theap *heap, size_t bytes)
{
    if (__builtin_expect(!heap->near.sampler.left, 0)) return false;
    heap->near.sampler.left--;
    MT_ADD(heap->shard->sample_countdown_bytes, bytes);
    return true;
}
static inline bool mt_large_counts_off(struct mt_theap *heap, size_t bytes)
{
    if (!mt_large_is_counted(heap, bytes) || mt_large_pass_over(heap, bytes)) return false;
    heap->near.sampler.left--;
    MT_ADD(heap->shard->sample_countdown_bytes, bytes);
    return true;
}

/* ---- flushes that are owed ------------------------------------------------------------------ */

/* Says whose free it was: sizes are multiples of 4 KiB, and there are fewer origins. 0: nothing is owed. */
static inline uint64_t mt_large_owed(unsigned origin, size_t usable)
{
    _Static_assert((int)MT_ORIGIN_MAX <= (int)MT_MID_GRANULE, "an origin fits below a size");
    return usable + origin;
}

/* A flush is due after the free of a large block, and batches are not 0. True when it can be owed: mt_large_owed()
 * of the block. */
static inline bool mt_large_owe(struct mt_theap *heap, uint64_t own)
{
    if (heap->near.owed || !mt_is_alone()) return false;
    heap->near.owed = own;
    return true;
}

/* A large block was allocated and counted. False when what is owed has to be flushed. */
static inline bool mt_large_settle(struct mt_theap *heap, uint64_t own)
{
    uint64_t owed = heap->near.owed;
    if (__builtin_expect(owed != own, 0)) return !owed;
    heap->near.owed = 0;
    return true;
}

/* What is owed is paid after an allocation by an origin, which was counted. */
void mt_large_pay(struct mt_theap *heap, unsigned origin);

static inline void mt_large_flush(struct mt_theap *heap)
{
    heap->near.owed = 0;
    mt_account_flush(heap);
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

/* Blocks like this one, which had waited and was handed out again, have the slot of their size from now on. */
void mt_large_prepare(struct mt_theap *heap, unsigned origin, size_t requested, size_t usable);
/* The place of a slot is given up: what waits there goes elsewhere. */
void mt_large_clear(struct mt_theap *heap, struct mt_large_slot *slot);
/* The heap counts elsewhere from now on; what waits in slots goes on waiting. */
static inline void mt_large_forget(struct mt_theap *heap)
{
    for (unsigned i = 0; i < MT_LARGE_SLOTS; i++) heap->near.slots[i].note = heap->near.slots[i].requested = 0;
}

/*
 * DONE: *block is it. MISS: nothing was done, mt_pools_allocate_large_slow() does it, as it does for a block that
 * gets a call stack by the sampler. DUE: mt_pools_large_due() is to be called.
 */
static inline __attribute__((always_inline)) enum mt_pools_end mt_large_take(struct mt_theap *heap, unsigned origin,
                                                                             size_t bytes, char **block)
{
    struct mt_large_slot *slot = mt_large_slot_of(heap, bytes);
    if (__builtin_expect(slot->requested != bytes, 0)) return MT_POOLS_MISS;
    if (__builtin_expect(mt_note_origin(slot->note) != origin, 0)) return MT_POOLS_MISS;
    *block = slot->block;
    if (__builtin_expect(!*block, 0)) return MT_POOLS_MISS;
    if (mt_large_is_counted(heap, bytes) && !mt_large_pass_over(heap, bytes)) return MT_POOLS_MISS;
    struct mt_origin_counts *counts = slot->counts; /* before the stores, which the compiler knows nothing of */
    struct mt_class_counter *class = slot->class;
    size_t usable = slot->usable;
    slot->block = NULL;
    mt_note_store(slot->note_at, slot->note);
    MT_ADD(class->allocation_count, 1);
    MT_ADD(counts->large_allocation_count, 1);
    MT_ADD(counts->large_requested_bytes, bytes);
    MT_ADD(counts->large_allocated_bytes, usable);
    if (__builtin_expect(mt_pools_count_allocated(heap, bytes, usable), 0)) return MT_POOLS_DUE;
    return __builtin_expect(mt_large_settle(heap, slot->owed), 1) ? MT_POOLS_DONE : MT_POOLS_DUE;
}

/*
 * MISS: nothing was done, mt_pools_free_large_slow() does it. DUE: it is done, and mt_pools_large_freed() is to be
 * called. note_at: of the block, which begins there and has so many usable bytes.
 */
static inline __attribute__((always_inline)) enum mt_pools_end
mt_large_give(struct mt_theap *heap, void *block, _Atomic uint64_t *note_at, size_t usable, bool *is_flush_due)
{
    uint64_t note = mt_note_load(note_at);
    struct mt_large_slot *slot = mt_large_slot_of(heap, (uint32_t)note);
    if (__builtin_expect(slot->note != note, 0)) return MT_POOLS_MISS;
    if (__builtin_expect(slot->usable != usable, 0)) return MT_POOLS_MISS;
    if (__builtin_expect(slot->block != NULL, 0)) return MT_POOLS_MISS;
    struct mt_origin_counts *counts = slot->counts;
    struct mt_class_counter *class = slot->class;
    size_t requested = slot->requested;
    slot->block = block;
    slot->note_at = note_at;
    mt_note_store(note_at, 0);
    MT_ADD(class->free_count, 1);
    MT_ADD(counts->large_free_count, 1);
    MT_ADD(counts->large_requested_freed_bytes, requested);
    MT_ADD(counts->large_freed_bytes, usable);
    *is_flush_due = mt_pools_count_freed(heap, usable) && !mt_large_owe(heap, slot->owed);
    if (__builtin_expect(*is_flush_due, 0)) return MT_POOLS_DUE;
    return __builtin_expect(--heap->near.looks_in == 0, 0) ? MT_POOLS_DUE : MT_POOLS_DONE;
}

static inline __attribute__((always_inline)) enum mt_pools_end mt_large_give_mid(struct mt_theap *heap, void *block,
                                                                                 uint64_t entry, bool *is_flush_due)
{
    struct mt_mid_chunk *chunk = mt_entry_record(entry);
    size_t way = (size_t)((const char *)block - chunk->base);
    if (__builtin_expect(way % MT_MID_GRANULE != 0, 0)) return MT_POOLS_MISS;
    struct mt_mid_mark *mark = mt_mid_mark_behind(chunk, way);
    /* With room behind it, it is larger here than any slot is for. */
    size_t usable = (size_t)mt_mid_shape_of(mark) << MT_MID_GRANULE_SHIFT;
    return mt_large_give(heap, block, &mark->note, usable, is_flush_due);
}

static inline __attribute__((always_inline)) enum mt_pools_end
mt_large_give_huge(struct mt_theap *heap, void *block, uint64_t entry, bool *is_flush_due)
{
    struct mt_huge *huge = mt_entry_record(entry);
    if (__builtin_expect(huge->base != block, 0)) return MT_POOLS_MISS;
    size_t usable = atomic_load_explicit(&huge->bytes, memory_order_relaxed);
    return mt_large_give(heap, block, &huge->note, usable, is_flush_due);
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
    MT_ADD(shard->realloc_count, 1);
}

/*
 * A block of an arena grows within its room: one free and one allocation, which change nothing but its mark and
 * counters. MISS: nothing was done, mt_pools_reallocate() does it. DUE: mt_pools_stretched() is to be called.
 */
static inline __attribute__((always_inline)) enum mt_pools_end mt_large_stretch(struct mt_theap *heap, void *block,
                                                                                size_t bytes, uint64_t entry)
{
    struct mt_mid_chunk *chunk = mt_entry_record(entry);
    size_t way = (size_t)((const char *)block - chunk->base);
    if (__builtin_expect(way % MT_MID_GRANULE != 0, 0)) return MT_POOLS_MISS;
    struct mt_mid_mark *mark = mt_mid_mark_behind(chunk, way);
    uint64_t note = mt_note_load(&mark->note);
    if ((note & (MT_NOTE_LIVES | MT_NOTE_SAMPLED)) != MT_NOTE_LIVES) return MT_POOLS_MISS;
    struct mt_origin_counts *counts = heap->counts[mt_note_origin(note) % MT_ORIGIN_CACHED];
    if (__builtin_expect(!counts || counts->origin != mt_note_origin(note), 0)) return MT_POOLS_MISS;
    size_t requested = mt_note_requested(note), used = mt_mid_granules(mark), all = used + mt_mid_room(mark);
    if (bytes < requested || bytes > all << MT_MID_GRANULE_SHIFT) return MT_POOLS_MISS;
    size_t wanted = (bytes + MT_MID_GRANULE - 1) >> MT_MID_GRANULE_SHIFT, grown = wanted > used ? wanted : used;
    if (grown > used) mt_mid_set_shape(mark, grown, all - grown);
    if (grown > used) *mt_large_grown(heap, block) = block;
    mt_note_store(&mark->note, note + (bytes - requested));
    mt_large_count_stretched(heap->shard, counts, (struct mt_large){requested, used << MT_MID_GRANULE_SHIFT},
                             (struct mt_large){bytes, grown << MT_MID_GRANULE_SHIFT});
    return mt_pools_count_allocated(heap, bytes, (grown - used) << MT_MID_GRANULE_SHIFT) ? MT_POOLS_DUE
                                                                                         : MT_POOLS_DONE;
}

#endif
