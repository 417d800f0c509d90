/*
 * Blocks above 32 KiB: up to 32 MiB from TLSF chunks of a few arenas, each
 * under its lock; larger ones ("huge") from a mapping of their own. Any thread.
 * Nothing here counts allocations: that is the caller's. errno is untouched.
 */
#ifndef MT_POOLS_MID_H
#define MT_POOLS_MID_H

#include "pools.h"

/* Starts the arenas, which grow by chunk_bytes at a time. False when there is no memory. */
bool mt_mid_start(size_t chunk_bytes);

/*
 * A block of at least bytes at a multiple of alignment (a power of two); its
 * usable size comes back in *usable, and whether it reads as zero in *is_zero.
 * room: choose a place where the block can grow to so many times its size, or
 * nearly so; 1 = anywhere. home picks the arena.
 */
void *mt_mid_allocate(size_t bytes, size_t alignment, unsigned room, unsigned home, size_t *usable, bool *is_zero);

/* Remembers with a block whose it is and how many bytes were asked for. Whoever holds the block calls these. */
void mt_mid_note(const void *block, uint64_t entry, unsigned origin, size_t requested);
unsigned mt_mid_origin(const void *block, uint64_t entry, size_t *requested);

/* For entries of kind MT_ENTRY_MID and MT_ENTRY_HUGE. 0 where no block starts. */
size_t mt_mid_usable(const void *block, uint64_t entry);
void mt_mid_free(void *block, uint64_t entry);
/* Changes the size where the block lies or, for huge ones, by moving its pages. The block, or NULL with nothing
 * changed. */
void *mt_mid_resize(void *block, uint64_t entry, size_t bytes, size_t *usable);
/*
 * Takes the content of a block to another one that is no smaller, and frees
 * the block: by moving its pages where that is cheaper than copying.
 */
void mt_mid_move(void *from, uint64_t entry, void *to);
/* Sets a block that does not read as zero to zero; leaves pages alone that were never used. */
void mt_mid_clear(void *block, size_t bytes);

/* Gives the memory of free blocks back now: all of it, or about so many bytes. Returns the bytes given back. */
size_t mt_mid_purge_all(void);
size_t mt_mid_purge_some(size_t bytes);
void mt_mid_set_purge_delay(uint64_t nanoseconds);

void mt_mid_lock_all(void);
void mt_mid_unlock_all(void);
void mt_mid_reset_locks(void);

#endif
