/*
 * Slabs: runs of slices cut into blocks of one size class, owned by one thread
 * heap. Only the owner's thread (or whoever holds the lock of a heap without a
 * thread) calls these, but for mt_slab_send(), which any thread may call.
 * Nothing here counts allocations: that is the caller's.
 */
#ifndef MT_POOLS_SLAB_H
#define MT_POOLS_SLAB_H

#include "pools.h"
#include "spans.h"

/* Lies outside the blocks, so that a program that writes past a block does not destroy it. */
struct mt_slab {
    _Alignas(MT_RECORD_ALIGN) char *start;
    void *free; /* blocks that have come back */
    uint32_t free_count, cut_count, capacity, block_bytes;
    struct mt_slab *next, *previous; /* in the bin's list of partial slabs */
    struct mt_slab *fresh_next, *fresh_previous;
    struct mt_slab *heap_next, *heap_previous;
    struct mt_span_chunk *chunk;
    _Atomic(_Atomic uint16_t *) origins; /* the mark of each block; NULL = all have the one below; release */
    uint64_t holes;                      /* bits: pages without memory, see holes.h */
    uint32_t inverse;                    /* 2^32 / block_bytes, rounded up */
    uint32_t touched_bytes;              /* by whoever had its memory before, or before it was cut anew */
    uint16_t owner, bin, origin;
    uint16_t sleeping_count; /* blocks in holes */
    uint16_t examined_count; /* blocks that were out when free pages were last looked for; 0: never */
    uint8_t class, slices;
    bool is_marked;            /* origin stands for live blocks */
    bool is_partial, is_fresh; /* which of the bin's lists it is in */
    bool is_zero;              /* what was never cut is zero */
};

_Static_assert(sizeof(struct mt_slab) == MT_RECORD_ALIGN, "a slab's record has the size of all records");

/* Fills an empty bin. False when there is no memory. */
bool mt_slab_refill(struct mt_theap *heap, struct mt_bin *bin);
/* A block that was never used, which reads as zero and was in no list; NULL when there is none at hand. */
void *mt_slab_take_zero(struct mt_theap *heap, struct mt_bin *bin);
/* Blocks come home to their slab, count of them linked from first to last. */
void mt_slab_return(struct mt_theap *heap, struct mt_slab *slab, void *first, void *last, uint32_t count);
/* The bin's slab with free blocks behind so many others; NULL: it has no more. */
struct mt_slab *mt_slab_partial_behind(const struct mt_bin *bin, unsigned count);
/* Gives a bin's only slab back where none of its blocks was used since it was empty. */
void mt_slab_release_unused(struct mt_theap *heap, struct mt_bin *bin);
/* mt_waiting_trim_idle(); the memory of idle bins goes back, and free pages of some slabs. */
void mt_slab_trim_idle(struct mt_theap *heap);
/* Before the heap's arena takes another chunk: now and then what slabs do not use goes back first. */
void mt_slab_make_room(struct mt_theap *heap);
/* A free block of a heap that keeps nothing: the slab goes with its last one, unless its blocks are small. */
void mt_slab_take_back(struct mt_theap *heap, void *block);
/* Takes in what other threads have freed. */
void mt_slab_drain(struct mt_theap *heap);
/* Gives every slab back of which all blocks are home. */
void mt_slab_release_empty(struct mt_theap *heap);
/* Gives free pages of all other slabs back. */
void mt_slab_make_holes(struct mt_theap *heap);

/*
 * Whose block it is: its mark is the number of its origin and, in slabs that
 * serve several size classes, how many classes it is below the slab's.
 * mt_slab_mark() sets the mark of a block that is about to be handed out, and
 * returns what will be answered: a mixed slab without memory for a table keeps
 * the mark it has. The owner alone marks; any thread that was handed the block
 * may ask.
 */
static inline unsigned mt_slab_mark_make(unsigned origin, unsigned classes_below)
{
    _Static_assert(MT_ORIGIN_MAX <= 1 << 10, "a mark has 10 bits for the origin, 6 for the class");
    return origin | classes_below << 10;
}
static inline uint32_t mt_slab_index(const struct mt_slab *slab, const void *block)
{
    return (uint32_t)((uint64_t)((const char *)block - slab->start) * slab->inverse >> 32);
}
unsigned mt_slab_mark(void *block, unsigned mark);
unsigned mt_slab_mark_of(const struct mt_slab *slab, const void *block);
static inline unsigned mt_slab_origin(const struct mt_slab *slab, const void *block)
{
    return mt_slab_mark_of(slab, block) & (MT_ORIGIN_MAX - 1);
}
/* The class that the block was asked for and is counted in. */
static inline unsigned mt_slab_class(const struct mt_slab *slab, const void *block)
{
    return slab->class - (mt_slab_mark_of(slab, block) >> 10);
}
/* Gives a bin that was just opened the mixed slabs in which all blocks are of its origin. */
void mt_slab_take_over(struct mt_theap *heap, struct mt_bin *own, unsigned origin);
/* Makes the slabs of a sub-heap mixed ones. */
void mt_slab_mix(struct mt_theap *heap, unsigned sub);

/*
 * Makes a slab the heap's own that was another one's, of which nothing but its
 * place and its block size is certain: every block counts as handed out.
 */
void mt_slab_adopt(struct mt_theap *heap, struct mt_slab *slab);

/* Sends the blocks in the inbox of a heap that will not be used again to their slabs' present owners. */
void mt_slab_forward(struct mt_theap *heap);

/* Makes all slabs of a heap without a thread another one's. */
void mt_slab_move_all(struct mt_theap *to, struct mt_theap *from);

/* Puts a chain of count blocks into the inbox of the heap that owns them. */
void mt_slab_send(unsigned owner, void *head, void *tail, uint32_t count);

/* ---- heaps ------------------------------------------------------------------------- */

/* A heap to be used under a lock: one left by a thread that ended, or a new one. NULL when there is none. */
struct mt_theap *mt_theap_take(void);
/* Leaves a heap to others. */
void mt_theap_leave(struct mt_theap *heap);
/* Makes the slabs of heaps that have had no thread for some time the heap's own. True when there was one. */
bool mt_theap_absorb(struct mt_theap *heap);
/* Once in a purge delay: sends home what the heap and heaps without a thread do not use. Its thread calls this. */
void mt_theap_tidy(struct mt_theap *heap);
/* Whether blocks of that owner are better taken over than sent home. */
bool mt_theap_is_left(unsigned owner);
struct mt_theap *mt_theap_of(unsigned owner);
uint32_t mt_theap_count(void);
bool mt_theap_is_idle_shard(const struct mt_shard *shard);
/* Opens a bin, whose place says what it is for, but for its cell. */
void mt_theap_fill_bin(struct mt_theap *heap, struct mt_bin *bin);

#endif
