/*
 * What stands beside a block above 32 KiB, in one word: how many bytes were
 * asked for, by which origin, and whether it lives, so that one comparison
 * tells whether two blocks are counted alike. Whoever holds the block writes
 * it; a free of a wrong pointer and a look for leaks may read it meanwhile.
 */
#ifndef MT_POOLS_NOTE_H
#define MT_POOLS_NOTE_H

#include "layout.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MT_NOTE_ORIGIN_SHIFT = 52,
    MT_NOTE_REQUESTED_BITS = 48, /* no address space is larger */
};
#define MT_NOTE_AGAIN   (UINT64_C(1) << 48) /* it has waited: its content is old */
#define MT_NOTE_SAMPLED (UINT64_C(1) << 49) /* it may have a call stack */
#define MT_NOTE_LIVES   (UINT64_C(1) << 50) /* else the word is 0: no block, or one that waits */
#define MT_NOTE_NEVER   (UINT64_C(1) << 51) /* stands beside no block */
_Static_assert(MT_ORIGIN_MAX <= 1 << (64 - MT_NOTE_ORIGIN_SHIFT), "an origin fits into its bits");

static inline uint64_t mt_note_make(size_t requested, unsigned origin)
{
    return MT_NOTE_LIVES | requested | (uint64_t)origin << MT_NOTE_ORIGIN_SHIFT;
}

static inline size_t mt_note_requested(uint64_t note)
{
    return note & ((UINT64_C(1) << MT_NOTE_REQUESTED_BITS) - 1);
}

static inline unsigned mt_note_origin(uint64_t note)
{
    return (unsigned)(note >> MT_NOTE_ORIGIN_SHIFT);
}

static inline uint64_t mt_note_load(const _Atomic uint64_t *at)
{
    return atomic_load_explicit(at, memory_order_relaxed);
}

static inline void mt_note_store(_Atomic uint64_t *at, uint64_t note)
{
    atomic_store_explicit(at, note, memory_order_relaxed);
}

#endif
