/*
 * Bitmaps with one bit for each page of an arena's chunk, or for several. Their words go
 * downwards from the first one, which lies behind all others. Under the arena's
 * lock; a reader that holds the pages may look at single bits without it.
 */
#ifndef MT_POOLS_MID_BITS_H
#define MT_POOLS_MID_BITS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MT_MID_BITS = 64 }; /* of a word */

static inline bool mt_mid_bit(const _Atomic uint64_t *bits, size_t index)
{
    return atomic_load_explicit(bits - index / MT_MID_BITS, memory_order_relaxed) >> (index % MT_MID_BITS) & 1;
}

/* The machine's own instruction is not to be had everywhere, and most words are empty or full. */
static inline size_t mt_mid_bits_in(uint64_t word)
{
    if (!word) return 0;
    if (word == UINT64_MAX) return MT_MID_BITS;
    word -= word >> 1 & UINT64_C(0x5555555555555555);
    word = (word & UINT64_C(0x3333333333333333)) + (word >> 2 & UINT64_C(0x3333333333333333));
    word = (word + (word >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    return (size_t)(word * UINT64_C(0x0101010101010101) >> 56);
}

/* The bits of the range's first word that lie in it; count is not 0. */
static inline uint64_t mt_mid_first_mask(size_t first, size_t count)
{
    uint64_t mask = count < MT_MID_BITS ? (UINT64_C(1) << count) - 1 : UINT64_MAX;
    return mask << first % MT_MID_BITS;
}

static inline uint64_t mt_mid_last_mask(size_t end)
{
    return UINT64_MAX >> (MT_MID_BITS - 1 - (end - 1) % MT_MID_BITS);
}

/* How many bits of a range are set. */
static inline size_t mt_mid_bits_count(const _Atomic uint64_t *bits, size_t first, size_t count)
{
    if (!count) return 0;
    size_t end = first + count, at = first / MT_MID_BITS, last = (end - 1) / MT_MID_BITS;
    uint64_t mask = mt_mid_first_mask(first, count);
    size_t set = 0;
    for (; at < last; at++, mask = UINT64_MAX)
        set += mt_mid_bits_in(atomic_load_explicit(bits - at, memory_order_relaxed) & mask);
    return set +
           mt_mid_bits_in(atomic_load_explicit(bits - at, memory_order_relaxed) & mask & mt_mid_last_mask(end));
}

static inline void mt_mid_word_put(_Atomic uint64_t *word, uint64_t mask, bool is_set)
{
    uint64_t value = atomic_load_explicit(word, memory_order_relaxed);
    atomic_store_explicit(word, is_set ? value | mask : value & ~mask, memory_order_relaxed);
}

/* Sets or clears the bits of a range. */
static inline __attribute__((always_inline)) void mt_mid_bits_put(_Atomic uint64_t *bits, size_t first,
                                                                  size_t count, bool is_set)
{
    if (!count) return;
    size_t end = first + count, at = first / MT_MID_BITS, last = (end - 1) / MT_MID_BITS;
    uint64_t mask = mt_mid_first_mask(first, count);
    if (at < last) {
        mt_mid_word_put(bits - at++, mask, is_set);
        for (; at < last; at++) atomic_store_explicit(bits - at, is_set ? UINT64_MAX : 0, memory_order_relaxed);
        mask = UINT64_MAX;
    }
    mt_mid_word_put(bits - at, mask & mt_mid_last_mask(end), is_set);
}

#endif
