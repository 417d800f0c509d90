/*
 * Blocks above 32 KiB: up to 32 MiB from TLSF chunks of a few arenas, each
 * under its lock; larger ones ("huge") from a mapping of their own; both from
 * what waits in caches, where there is a block of the size. Any thread.
 * Nothing here counts allocations: that is the caller's. errno is untouched.
 */
#ifndef MT_POOLS_MID_H
#define MT_POOLS_MID_H

#include "pools.h"

/* For `room`: how many times its size a block is to be able to grow to where it lies, or nearly so; FRESH: not one
 * that waits in a cache. */
enum { MT_MID_FRESH = 0, MT_MID_ANYWHERE = 1, MT_MID_GROWS = 2, MT_MID_CREEPS = 16 };

/* The arenas grow by chunk_bytes at a time; 0: by the usual ones. */
void mt_mid_start(size_t chunk_bytes);

/*
 * A block of at least the requested bytes at a multiple of alignment (a power of two), noted; its
 * usable size comes back in *usable, and whether it reads as zero in *is_zero.
 * A block that creeps has some of the room for itself. heap: of the calling thread, or NULL.
 */
void *mt_mid_allocate(struct mt_theap *heap, size_t requested, size_t alignment, unsigned room, unsigned origin,
                      size_t *usable, bool *is_zero);
/* A block of at least so many bytes that waits, near the heap or in a slot, noted; NULL where none fits. */
void *mt_mid_allocate_waiting(struct mt_theap *heap, size_t bytes, size_t requested, unsigned origin,
                              size_t *usable);

/* Remembers with a block whose it is and how many bytes were asked for. Whoever holds the block calls these. */
void mt_mid_note(const void *block, uint64_t entry, unsigned origin, size_t requested);
unsigned mt_mid_origin(const void *block, uint64_t entry, size_t *requested);
/* That it may have a call stack from now on; whether it may, which is forgotten with it. */
void mt_mid_note_sampled(const void *block, uint64_t entry);
bool mt_mid_take_sampled(const void *block, uint64_t entry);

/* For entries of kind MT_ENTRY_MID and MT_ENTRY_HUGE. 0 where no live block starts. */
size_t mt_mid_usable(const void *block, uint64_t entry);
/* True for a block that was freed and is still the pools'. */
bool mt_mid_is_freed(const void *block, uint64_t entry);

/* A free in two halves: what the block was, which nobody's look finds any more; false where no live block starts.
 */
struct mt_mid_block {
    size_t usable, all; /* all: with its room */
    size_t requested;
    unsigned origin;
    bool is_sampled;
};
bool mt_mid_end(const void *block, uint64_t entry, struct mt_mid_block *what);
/* all: with its room. One that has room grew bit by bit, and has a size that hardly comes again: it does not wait,
 * so that the next one that grows begins where it did. */
void mt_mid_give(struct mt_theap *heap, void *block, uint64_t entry, size_t usable, size_t all);
/* The part of it that is nobody's but the caches': lets a block wait, maybe in place of others. */
void mt_mid_wait(struct mt_theap *heap, struct mt_mid_cached block);

/*
 * Changes the size where the block lies or, for huge ones, by moving its
 * pages. The block, or NULL with nothing changed. creeps: takes more room for
 * the next time where there is some.
 */
void *mt_mid_resize(void *block, uint64_t entry, size_t bytes, bool creeps, size_t *usable);
/*
 * Takes the content of a block to another one that is no smaller, and frees
 * the block: by moving its pages where that is cheaper than copying.
 */
void mt_mid_move(struct mt_theap *heap, void *from, uint64_t entry, void *to);
/* Sets a block that does not read as zero to zero; leaves pages alone that were never used. */
void mt_mid_clear(void *block, size_t bytes);

/* What waits near a heap goes back: all, as its thread ends; what was not used since the last call. */
void mt_mid_leave_heap(struct mt_theap *heap);
void mt_mid_tidy_heap(struct mt_theap *heap);
/* Gives back what has been idle for the purge delay, if it is time to look at the clock, which costs a fifth of a
 * free that a cache takes. */
void mt_mid_look(struct mt_theap *heap);

/* Gives the memory of free blocks back now: all of it, or about so many bytes. Returns the bytes given back. */
size_t mt_mid_purge_all(void);
size_t mt_mid_purge_some(size_t bytes);
void mt_mid_set_purge_delay(uint64_t nanoseconds);
/* Gives address space back that the arenas took to grow into. */
void mt_mid_close(void);

void mt_mid_lock_all(void);
void mt_mid_unlock_all(void);
void mt_mid_reset_locks(void);

#endif
