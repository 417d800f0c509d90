/*
 * The pools as the hooks see them: blocks up to 32 KiB from slabs of the
 * thread's own heap, up to 32 MiB from TLSF chunks, larger ones straight from
 * the system. The inline functions are the hot path: no lock, no atomic
 * read-modify-write, one rarely taken branch per concern. Counting is part of
 * them: every call here is exact in the thread's shard.
 *
 * Any thread, any time after mt_pools_start(), also before main and after the
 * thread's heap is gone. Nothing here touches errno but where it says so.
 */
#ifndef MT_POOLS_H
#define MT_POOLS_H

#include "pagemap.h"
#include "shard.h"

enum {
    MT_SLAB_CLASSES = 72, /* mt_class_of() of 1 to 32768 bytes */
    MT_SLAB_MAX = 32768,
    MT_SMALL_MAX = 1024, /* classes up to here come from a table */
    MT_MID_MAX = 32 << 20,
    MT_REMOTE_SLOTS = 8,
    MT_GROWN_SLOTS = 4,
};

struct mt_slab;

/* The blocks of one size class in one thread heap. */
struct mt_bin {
    void *head;              /* blocks to hand out, linked through their first word */
    uint64_t free_limit;     /* the shard's free_count of this class at which the list's length is looked at */
    uint32_t bytes;          /* of a block */
    uint32_t max_count;      /* blocks that may wait in the list */
    int64_t adjust;          /* list length = adjust + frees - allocations of this class in the shard */
    struct mt_slab *fresh;   /* slabs with room that was never handed out; the first is being cut */
    struct mt_slab *partial; /* slabs to which blocks have come back */
    uint32_t slab_count, reserved;
    uint64_t padding;
};

/* Blocks of another heap on their way home. */
struct mt_remote_slot {
    void *head, *tail;
    uint32_t owner, count;
};

/*
 * A thread heap. Only its thread writes it, but for the inbox. A thread that
 * ends leaves it as it is to the next thread that starts.
 */
struct mt_theap {
    _Alignas(128) struct mt_shard *shard;
    int64_t batch_bytes; /* of the core */
    uint16_t id;
    uint8_t small_class[MT_SMALL_MAX / 16 + 1];
    struct mt_bin bins[MT_SLAB_CLASSES];
    struct mt_remote_slot remote[MT_REMOTE_SLOTS];
    struct mt_slab *slabs; /* all that it owns */
    struct mt_theap *next_dead;
    uint64_t dead_since_ns;
    const void *grown[MT_GROWN_SLOTS];   /* blocks that realloc has let grow of late, by hash of the address */
    _Alignas(128) _Atomic(void *) inbox; /* blocks freed by other threads */
    _Atomic uint32_t is_dead;
};

/* The calling thread's heap; NULL while it has none. */
extern _Thread_local struct mt_theap *mt_theap_self
    __attribute__((tls_model("initial-exec"), visibility("hidden")));

/* ---- start, threads, fork ------------------------------------------------------- */

/* What the pools ask of their client. Each may be NULL. */
struct mt_pools_client {
    /* Gives the calling thread, which has no heap, a shard and calls mt_pools_attach(), where that can be done now.
     */
    void (*thread_start)(void);
    /* A block was handed out and counted that may get a call stack; and it is about to be freed, counted too. */
    void (*sampled)(struct mt_shard *shard, const void *block, uint64_t requested_bytes, uint64_t usable_bytes);
    void (*sample_freed)(struct mt_shard *shard, const void *block, uint64_t usable_bytes);
};

/* Makes the pools usable. The core is on. Returns false when there is no memory for it. */
bool mt_pools_start(struct mt_core *core, const struct mt_pools_client *client);

/*
 * Gives the calling thread a heap that counts in its shard (not shard 0).
 * False when there is none; the thread may still call everything.
 */
bool mt_pools_attach(struct mt_shard *shard);
/* Before the thread's shard is retired. Afterwards the thread uses the shared heap. */
void mt_pools_detach(void);

/* Around fork, on the forking thread. The child has one thread, whose shard may be void until it attaches again. */
void mt_pools_before_fork(void);
void mt_pools_after_fork_in_parent(void);
void mt_pools_after_fork_in_child(void);

/* ---- slow paths -------------------------------------------------------------------- */

/* The same as the inline functions for whatever they do not do. NULL when there is no memory; the caller counts
 * that. */
void *mt_pools_allocate_slow(size_t bytes) __attribute__((noinline, cold));
/* alignment: a power of two. */
void *mt_pools_allocate_aligned(size_t alignment, size_t bytes);
void *mt_pools_allocate_zeroed(size_t bytes);
/* False, with nothing done, when the block is not the pools'. NULL is not. */
bool mt_pools_free_slow(void *block) __attribute__((noinline));

/* For a block of the pools (mt_pools_owns()), bytes not 0. NULL when there is no memory; the block is then as it
 * was. */
void *mt_pools_reallocate(void *block, size_t bytes);
/* 0 when the block is not the pools'. */
size_t mt_pools_usable(const void *block);

static inline bool mt_pools_owns(const void *block)
{
    return mt_pagemap_entry(block) != 0;
}

/* Gives what can be given back to the system; for malloc_trim(). True when that was anything. */
bool mt_pools_trim(void);

struct mt_pools_info {
    uint64_t reserved_bytes; /* address space of chunks and huge blocks */
    uint64_t held_bytes;     /* the part that has memory behind it, at most */
    uint64_t live_bytes;     /* usable bytes of live blocks */
    uint64_t huge_bytes, huge_count;
};
void mt_pools_info(struct mt_pools_info *info);

/* ---- the hot path ------------------------------------------------------------------ */

/*
 * Each ends a call of the hot path, so that it needs no stack frame: the
 * pools' rarer duties, then the result. A block that gets a call stack is
 * exchanged for one from slabs that no thread owns, so that the free of every
 * other block need not ask.
 */
void *mt_pools_due(struct mt_theap *heap, void *block, size_t bytes) __attribute__((noinline, cold));
bool mt_pools_after_free(struct mt_theap *heap, unsigned class) __attribute__((noinline, cold));

static inline struct mt_bin *mt_pools_bin(struct mt_theap *heap, size_t class)
{
    return &heap->bins[class];
}

/* True when mt_pools_due() is to be called. */
static inline bool mt_pools_count_allocated(struct mt_theap *heap, size_t class, size_t requested, uint64_t usable)
{
    struct mt_shard *shard = heap->shard;
    MT_ADD(shard->allocation_count, 1);
    MT_ADD(shard->requested_bytes, requested);
    MT_ADD(shard->classes[class].allocation_count, 1);
    int64_t live = atomic_load_explicit(&shard->live_bytes, memory_order_relaxed) + (int64_t)usable;
    atomic_store_explicit(&shard->live_bytes, live, memory_order_relaxed);
    if (__builtin_expect(live <= atomic_load_explicit(&shard->high_bytes, memory_order_relaxed), 1))
        return mt_shard_is_sample_due(shard);
    atomic_store_explicit(&shard->high_bytes, live, memory_order_relaxed);
    if (mt_shard_is_sample_due(shard)) return true;
    return __builtin_expect(
        live - atomic_load_explicit(&shard->flushed_bytes, memory_order_relaxed) >= heap->batch_bytes, 0);
}

/* True when mt_shard_flush() is due. */
static inline bool mt_pools_count_freed(struct mt_theap *heap, size_t class, uint64_t usable)
{
    struct mt_shard *shard = heap->shard;
    MT_ADD(shard->free_count, 1);
    MT_ADD(shard->classes[class].free_count, 1);
    int64_t live = atomic_load_explicit(&shard->live_bytes, memory_order_relaxed) - (int64_t)usable;
    atomic_store_explicit(&shard->live_bytes, live, memory_order_relaxed);
    return __builtin_expect(live < atomic_load_explicit(&shard->low_limit_bytes, memory_order_relaxed), 0);
}

/* The class of 1 to MT_SLAB_MAX bytes, or of 0. */
static inline size_t mt_pools_class(const struct mt_theap *heap, size_t bytes)
{
    if (__builtin_expect(bytes <= MT_SMALL_MAX, 1)) return heap->small_class[(bytes + 15) / 16];
    uint64_t last = bytes - 1;
    unsigned exponent = 63u - (unsigned)__builtin_clzll(last);
    return (size_t)exponent * 8 + (last >> (exponent - 3)) - 56;
}

/*
 * The two halves of the hot path as their callers need them, so that each of
 * the three ends can be a tail call: MISS = nothing was done, ask the slow
 * function; DONE; DUE = done, and mt_pools_due() or mt_pools_after_free() is to be called.
 */
enum mt_pools_end { MT_POOLS_MISS, MT_POOLS_DONE, MT_POOLS_DUE };

static inline __attribute__((always_inline)) enum mt_pools_end mt_pools_allocate_fast(struct mt_theap *heap,
                                                                                      size_t bytes, void **block)
{
    if (__builtin_expect(!heap || bytes > MT_SLAB_MAX, 0)) return MT_POOLS_MISS;
    size_t class = mt_pools_class(heap, bytes);
    struct mt_bin *bin = mt_pools_bin(heap, class);
    *block = bin->head;
    if (__builtin_expect(!*block, 0)) return MT_POOLS_MISS;
    bin->head = *(void **)*block;
    return mt_pools_count_allocated(heap, class, bytes, bin->bytes) ? MT_POOLS_DUE : MT_POOLS_DONE;
}

/* A miss: blocks of other heaps, blocks that are not the pools', and NULL. */
static inline __attribute__((always_inline)) enum mt_pools_end mt_pools_free_fast(struct mt_theap *heap,
                                                                                  void *block, unsigned *in_class)
{
    if (__builtin_expect(!heap, 0)) return MT_POOLS_MISS;
    uint64_t entry = mt_pagemap_entry(block);
    if (__builtin_expect(mt_entry_owner(entry) != heap->id, 0)) return MT_POOLS_MISS;
    size_t class = mt_entry_class(entry);
    struct mt_bin *bin = mt_pools_bin(heap, class);
    *in_class = (unsigned)class;
    *(void **)block = bin->head;
    bin->head = block;
    if (mt_pools_count_freed(heap, class, bin->bytes)) return MT_POOLS_DUE;
    return __builtin_expect(atomic_load_explicit(&heap->shard->classes[class].free_count, memory_order_relaxed) >=
                                bin->free_limit,
                            0)
               ? MT_POOLS_DUE
               : MT_POOLS_DONE;
}

static inline void *mt_pools_allocate(size_t bytes)
{
    struct mt_theap *heap = mt_theap_self;
    void *block;
    switch (mt_pools_allocate_fast(heap, bytes, &block)) {
    case MT_POOLS_DONE: return block;
    case MT_POOLS_DUE: return mt_pools_due(heap, block, bytes);
    default: return mt_pools_allocate_slow(bytes);
    }
}

/* False, with nothing done, when the block is not the pools'. */
static inline bool mt_pools_free(void *block)
{
    struct mt_theap *heap = mt_theap_self;
    unsigned class;
    switch (mt_pools_free_fast(heap, block, &class)) {
    case MT_POOLS_DONE: return true;
    case MT_POOLS_DUE: return mt_pools_after_free(heap, class);
    default: return mt_pools_free_slow(block);
    }
}

#endif
