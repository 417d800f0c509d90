/*
 * Counting by origin on the pools' slow paths, and the sub-heaps that let the
 * fast path count without asking: the bins of a sub-heap hold blocks of one
 * origin, and each counts in that origin's cell. A heap's thread calls these
 * with its heap; with NULL, any thread: what it does is counted in shard 0.
 */
#ifndef MT_POOLS_ACCOUNT_H
#define MT_POOLS_ACCOUNT_H

#include "pools.h"

/* For the cells of bins that do not count by themselves: always zero. */
extern struct mt_origin_cell mt_idle_cell __attribute__((visibility("hidden")));

void mt_account_start(struct mt_core *core, const struct mt_pools_client *client);

/*
 * A block of a slab's size class, or an arena's, was handed out. True when
 * mt_pools_due() is called for; what follows from the batch is done here.
 */
bool mt_account_allocated(struct mt_theap *heap, unsigned origin, unsigned class, size_t requested);
/* The origin's part of that alone. */
void mt_account_cell(struct mt_theap *heap, unsigned origin, unsigned class, size_t requested);
/* And is about to go back. */
void mt_account_freed(struct mt_theap *heap, unsigned origin, unsigned class);
/* The same for TLSF blocks and mappings, whose requested size is remembered. */
bool mt_account_large_allocated(struct mt_theap *heap, unsigned origin, size_t requested, size_t usable);
void mt_account_large_freed(struct mt_theap *heap, unsigned origin, size_t requested, size_t usable);

/* The counters of an origin in the heap's shard; NULL where there is no memory for them. */
struct mt_origin_counts *mt_account_find_counts(struct mt_theap *heap, unsigned origin);
static inline struct mt_origin_counts *mt_account_counts(struct mt_theap *heap, unsigned origin)
{
    struct mt_origin_counts *cached = heap->counts[origin % MT_ORIGIN_CACHED];
    return __builtin_expect(cached && cached->origin == origin, 1) ? cached : mt_account_find_counts(heap, origin);
}

/* Where the heap counts blocks of one size of an origin, and nowhere else; NULL where there is no room for that. */
struct mt_size_counts *mt_account_size(struct mt_theap *heap, unsigned origin, size_t requested, size_t usable);

/* Where the heap's shard counts the size class of so many usable bytes. */
static inline struct mt_class_counter *mt_account_class(struct mt_theap *heap, size_t usable)
{
    return &heap->shard->classes[mt_class_of_block(usable)];
}

/* The same two by the heap's own thread. True when mt_account_flush_if_due() and a call stack may be due; when
 * mt_account_flush() is. */
bool mt_account_large_allocated_own(struct mt_theap *heap, unsigned origin, size_t requested, size_t usable);
bool mt_account_large_freed_own(struct mt_theap *heap, unsigned origin, size_t requested, size_t usable);

/* What is counted of such a block. */
struct mt_large {
    size_t requested, usable;
};
/* Hands the thread's change to the shared total if that is due. */
void mt_account_flush_if_due(struct mt_theap *heap);
/* The same after a free. */
void mt_account_flush_if_low(struct mt_theap *heap);
void mt_account_flush(struct mt_theap *heap);
/* The same where the process, which had this one thread, is about to get a second one. */
void mt_account_end_alone(struct mt_theap *heap);

/* ---- sub-heaps ------------------------------------------------------------------------ */

/* Makes bins count in another shard; &mt_idle_shard for a heap that has no thread. */
void mt_subs_change_shard(struct mt_theap *heap, struct mt_shard *shard);
/* In a fork's child: its counters are gone with the parent's segment. */
void mt_subs_forget_shard(struct mt_theap *heap);
/* None of the sub-heaps belongs to the present thread's origins any more, as far as is known. */
void mt_subs_begin_anew(struct mt_theap *heap);

/* The bin of a size class that an origin has for itself; NULL where it has none. */
static inline struct mt_bin *mt_sub_bin(struct mt_theap *heap, unsigned origin, unsigned class)
{
    unsigned sub = mt_theap_origin(heap, origin)->sub;
    struct mt_bin *bin = &heap->bins[sub * MT_SLAB_CLASSES + class];
    return sub && bin->bytes ? bin : NULL;
}

/* The bin that blocks of an origin and a size class come from now. It opens one of its own to those that allocate
 * much. */
struct mt_bin *mt_sub_bin_for(struct mt_theap *heap, unsigned origin, unsigned class);
/* The bins of an origin, for its sites: mt_no_bins where it has none. */
static inline struct mt_bin *mt_sub_bins(struct mt_theap *heap, unsigned origin)
{
    unsigned sub = mt_theap_origin(heap, origin)->sub;
    return sub ? &heap->bins[sub * MT_SLAB_CLASSES] : mt_no_bins;
}

#endif
