/*
 * Where every block is recorded: one word for every 16 bytes of address space,
 * which says of the block that begins there which stack it came from and when.
 * The inline functions are on the path of every block; they touch one word.
 *
 * A word is written by the thread that was handed the block and taken by the
 * thread that frees it, before the address can be handed out again. In memory
 * of memtrack's own, touched where blocks lie.
 */
#ifndef MT_SHADOW_H
#define MT_SHADOW_H

#include "stack.h"

enum {
    MT_SHADOW_ADDRESS_BITS = 47,
    MT_SHADOW_LEAF_BITS = 26, /* address space of one leaf */
    MT_SHADOW_WORDS = 1 << (MT_SHADOW_LEAF_BITS - 4),
    MT_SHADOW_PAGE_WORDS = 4096 / 8,
    MT_SHADOW_PAGES = MT_SHADOW_WORDS / MT_SHADOW_PAGE_WORDS,
    MT_SHADOW_LEAVES = 1 << (MT_SHADOW_ADDRESS_BITS - MT_SHADOW_LEAF_BITS),
    MT_SHADOW_TIME_SHIFT = 22, /* a step of time is 4 ms */
    MT_SHADOW_TIME_BITS = 24,  /* counted modulo 19 hours */
};

struct mt_shadow_leaf {
    _Atomic uint64_t words[MT_SHADOW_WORDS];
    _Atomic uint8_t is_touched[MT_SHADOW_PAGES];
};

extern struct mt_shadow_leaf *_Atomic *mt_shadow_leaves __attribute__((visibility("hidden")));

/* Makes the shadow usable, or forgets what is in it. False when there is no memory. */
bool mt_shadow_start(void);
/* Every word that is not 0, in the order of addresses; for a process that stands still. */
void mt_shadow_each(void (*visit)(void *context, uintptr_t address, uint32_t stack), void *context);

/* A word: stack id 24 bits, coarse time 24 bits, frame 16 bits; never 0. The stack's id is below 2^24. */
static inline uint64_t mt_shadow_word(uint32_t stack, uint64_t now_ns, uint64_t frame)
{
    uint64_t time = (now_ns >> MT_SHADOW_TIME_SHIFT) & ((1u << MT_SHADOW_TIME_BITS) - 1);
    return (uint64_t)stack << 40 | time << 16 | (frame & 0xffff);
}
static inline uint32_t mt_shadow_stack(uint64_t word)
{
    return (uint32_t)(word >> 40);
}
/* Steps of time since the word was made. */
static inline uint64_t mt_shadow_age(uint64_t word, uint64_t now_ns)
{
    return ((now_ns >> MT_SHADOW_TIME_SHIFT) - (word >> 16)) & ((1u << MT_SHADOW_TIME_BITS) - 1);
}

static inline struct mt_shadow_leaf *mt_shadow_leaf_of(uintptr_t address)
{
    if (__builtin_expect(address >> MT_SHADOW_ADDRESS_BITS || !mt_shadow_leaves, 0)) return NULL;
    return atomic_load_explicit(&mt_shadow_leaves[address >> MT_SHADOW_LEAF_BITS], memory_order_acquire);
}

static inline unsigned mt_shadow_index(uintptr_t address)
{
    return (unsigned)(address >> 4) % MT_SHADOW_WORDS;
}

/* False when there is no memory. */
bool mt_shadow_put_first(struct mt_core *core, uintptr_t address, uint64_t word);
static inline bool mt_shadow_put(struct mt_core *core, const void *block, uint64_t word)
{
    uintptr_t address = (uintptr_t)block;
    struct mt_shadow_leaf *leaf = mt_shadow_leaf_of(address);
    unsigned index = mt_shadow_index(address);
    if (__builtin_expect(
            !leaf || !atomic_load_explicit(&leaf->is_touched[index / MT_SHADOW_PAGE_WORDS], memory_order_relaxed),
            0))
        return mt_shadow_put_first(core, address, word);
    atomic_store_explicit(&leaf->words[index], word, memory_order_relaxed);
    return true;
}

/* 0 when no recorded block begins there. */
static inline uint64_t mt_shadow_take(const void *block)
{
    uintptr_t address = (uintptr_t)block;
    struct mt_shadow_leaf *leaf = mt_shadow_leaf_of(address);
    if (__builtin_expect(!leaf, 0)) return 0;
    _Atomic uint64_t *at = &leaf->words[mt_shadow_index(address)];
    uint64_t word = atomic_load_explicit(at, memory_order_relaxed);
    if (word) atomic_store_explicit(at, 0, memory_order_relaxed);
    return word;
}

#endif
