/*
 * The page map: which memory belongs to the pools, by slices of 64 KiB. A look
 * is two loads and right for every pointer there is. Entries of a live block's
 * slice do not change but for the owner, and that only while the owner has no
 * thread. Any thread reads; whoever holds the memory of a slice writes its entry.
 *
 * An entry is 0 for memory that is not the pools', else
 *   bits 6-16          the bin of a slab's blocks in their heap, or MT_ENTRY_MID, MT_ENTRY_HUGE, MT_ENTRY_ARENA
 *   bits 0-5 and 17-50 the address of the slice's record, which is 128-byte aligned
 *   bit 51             the slab is of the mixed sub-heap: only the slow path may free its blocks
 *   bits 52-63         the thread heap that owns the slab, 0 for MID and HUGE
 *
 * Where the bin's number lies, it is the bin's distance from the heap's first one in bytes, which free() adds as it
 * is; the record, which free() does not look at, has the bits that this leaves.
 */
#ifndef MT_POOLS_PAGEMAP_H
#define MT_POOLS_PAGEMAP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MT_SLICE_SHIFT = 16,
    MT_SLICE_BYTES = 1 << MT_SLICE_SHIFT,
    MT_PAGEMAP_TOP = 1 << 16, /* each entry of the top covers 4 GiB */
    MT_PAGEMAP_SUB = 1 << 16,
    MT_ENTRY_MID = 0x7f0,
    MT_ENTRY_HUGE = 0x7f1,
    MT_ENTRY_ARENA = 0x7f2,
    MT_ENTRY_BIN_SHIFT = 6, /* a bin has 64 bytes */
    MT_ENTRY_BINS = 0x7ff << MT_ENTRY_BIN_SHIFT,
    MT_ENTRY_RECORD_SHIFT = 17, /* of all but its lowest six bits */
    MT_ENTRY_CLASSES = 72,      /* bins of one sub-heap */
    MT_ENTRY_OWNER_MAX = 0xfff,
    MT_RECORD_ALIGN = 128,
};

typedef _Atomic uint64_t mt_pagemap_sub;

extern _Atomic(mt_pagemap_sub *) mt_pagemap_top[MT_PAGEMAP_TOP];

static inline uint64_t mt_pagemap_entry(const void *pointer)
{
    uintptr_t address = (uintptr_t)pointer;
    /* Acquire pairs with the release in mt_pagemap_reserve(); on x86 it is a plain load. */
    mt_pagemap_sub *sub = atomic_load_explicit(&mt_pagemap_top[(address >> 32) & 0xffff], memory_order_acquire);
    if (__builtin_expect(!sub, 0)) return 0;
    return atomic_load_explicit(&sub[(address >> MT_SLICE_SHIFT) & 0xffff], memory_order_relaxed);
}

static inline unsigned mt_entry_bin(uint64_t entry)
{
    return (unsigned)(entry & MT_ENTRY_BINS) >> MT_ENTRY_BIN_SHIFT;
}

/* The same in bytes. */
static inline size_t mt_entry_bin_way(uint64_t entry)
{
    return entry & MT_ENTRY_BINS;
}

/* The size class of a slab's blocks; what is not a slab has a number above all classes. */
static inline unsigned mt_entry_class(uint64_t entry)
{
    unsigned bin = mt_entry_bin(entry);
    return bin < MT_ENTRY_MID ? bin % MT_ENTRY_CLASSES : bin;
}

/* The owner with the mixed bit as its lowest: what the fast path of free() compares. */
static inline unsigned mt_entry_mark(uint64_t entry)
{
    return (unsigned)(entry >> 51);
}

static inline bool mt_entry_is_mixed(uint64_t entry)
{
    return entry >> 51 & 1;
}

static inline unsigned mt_entry_owner(uint64_t entry)
{
    return (unsigned)(entry >> 52);
}

static inline void *mt_entry_record(uint64_t entry)
{
    uint64_t high = entry >> MT_ENTRY_RECORD_SHIFT & UINT64_C(0x3ffffffff);
    return (void *)(uintptr_t)((high << 6 | (entry & 63)) << 7);
}

static inline uint64_t mt_entry_make(const void *record, unsigned owner, bool is_mixed, unsigned bin_or_kind)
{
    uint64_t number = (uint64_t)(uintptr_t)record >> 7;
    return (number & 63) | (uint64_t)bin_or_kind << MT_ENTRY_BIN_SHIFT | number >> 6 << MT_ENTRY_RECORD_SHIFT |
           (uint64_t)(owner * 2 + is_mixed) << 51;
}

/* Makes sure that entries for the range can be written. False when there is no memory for them. */
bool mt_pagemap_reserve(const void *start, size_t bytes);
/* Writes one entry for every slice that begins or lies in the range; the range is reserved. */
void mt_pagemap_set(const void *start, size_t bytes, uint64_t entry);

#endif
