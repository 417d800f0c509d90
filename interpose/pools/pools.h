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
#include "sites.h"

/*
 * 0 leaves everything out of the hot path that an allocator without statistics
 * would not do, to measure what tracking costs (`make TRACKING=0`): its counts
 * are void, and no block gets a call stack.
 */
#ifndef MT_TRACKING
#define MT_TRACKING 1
#endif

enum {
    MT_SLAB_CLASSES = 72, /* mt_class_of() of 1 to 32768 bytes */
    MT_SLAB_MAX = 32768,
    MT_SMALL_MAX = 1024, /* classes up to here come from a table */
    MT_MID_MAX = 32 << 20,
    MT_REMOTE_SLOTS = 8,
    MT_GROWN_SLOTS = 16,
    MT_SUBS = 28,          /* sub-heaps of a thread heap, as many as the page map can name; 0 is the mixed one */
    MT_ORIGIN_CACHED = 32, /* counters that a heap finds without looking through its shard's list */
    MT_MID_NEAR = 8,       /* freed larger blocks that may wait with the heap of their thread */
    MT_MID_MISSED = 4,
    MT_LARGE_SLOTS = 4,
    MT_FALL_GROUPS = 36, /* of size classes */
    MT_FALL_UNIT = 256,
};

struct mt_slab;
struct mt_arena_heap;

/*
 * The blocks of one size class in one sub-heap. The bins of the sub-heaps 1
 * and up hold blocks of one origin each; sub-heap 0 is mixed. A bin of zeros
 * is not open: nothing comes from it.
 */
struct mt_bin {
    _Alignas(64) void *head;     /* blocks to hand out, linked through their first word */
    struct mt_origin_cell *cell; /* where its blocks are counted; all zero for the mixed sub-heap */
    uint64_t bytes;              /* of a block; 64 bits, as the counters are that it is added to */
    int64_t adjust;              /* list length = adjust + frees - allocations of the cell */
    struct mt_slab *fresh;       /* slabs with room that was never handed out; the first is being cut */
    struct mt_slab *partial;     /* slabs to which blocks have come back */
    uint32_t slab_count;
    uint16_t max_count; /* blocks that may wait in the list when somebody looks at its length */
    uint16_t index;     /* in the heap's bins; in a slab's page map entry */
    uint8_t class, sub;
    uint16_t seen;     /* the head when idle bins were last looked for, cut */
    uint8_t doublings; /* of max_count: blocks were asked for again that a part of the list was sent home for */
    bool is_shortened; /* that was done since blocks came from slabs */
};
_Static_assert(sizeof(struct mt_bin) == 1 << MT_ENTRY_BIN_SHIFT, "one line of the cache");
_Static_assert((int)MT_ENTRY_MID / MT_SLAB_CLASSES >= MT_SUBS, "the page map has a number for each bin");

/* What a heap has for an origin that allocates much. */
struct mt_sub {
    struct mt_origin_counts *counts; /* NULL: not in use */
    uint64_t open[2];                /* bits: size classes whose bin is open */
    uint16_t origin;
    bool is_current; /* a site of the present thread has this origin */
};

/* Blocks of another heap on their way home. */
struct mt_remote_slot {
    void *head, *tail;
    uint32_t owner, count;
};

/* A freed block above MT_SLAB_MAX that waits for the next request of its size. */
struct mt_mid_cached {
    char *block;
    size_t bytes;
};

/*
 * A place for one of them, beside all that counting a block of its size and origin takes: where blocks of one size
 * come and go, each call compares what it has with what is here and is done. See large.h.
 */
struct mt_large_slot {
    _Alignas(64) char *block;  /* the one that waits; NULL: none does */
    uint64_t note;             /* of every block that is counted so; MT_NOTE_NEVER: none is */
    size_t requested, usable;  /* of every such block; usable of the one that waits */
    _Atomic uint64_t *note_at; /* of the one that waits */
    struct mt_size_counts *cell;
    size_t wanted;   /* the size that was asked for last of those that have not got the slot, */
    uint16_t origin; /* as in the note */
    uint16_t wanted_origin;
};
_Static_assert(sizeof(struct mt_large_slot) == 64, "one line of the cache");

/*
 * Which larger blocks of a thread get a call stack, of those that have waited: by a mark of their own, so that they
 * do not move the shard's, which serves all others.
 */
struct mt_large_sampler {
    uint64_t from_bytes;   /* 0; UINT64_MAX: none gets one */
    int64_t left_bytes;    /* before the next one, which it lies in when this is negative */
    uint64_t rate_bytes;   /* that they were drawn with; 0: they were not, the next block gets one for certain */
    uint64_t second, tick; /* of the clock, when it was last looked at */
    uint32_t count, doublings;
};

/* Those of one heap, the newest last. */
struct mt_mid_near {
    uint32_t count, idle_count;         /* in blocks: all; those that have waited since the last look */
    uint32_t looks_in;                  /* frees, until the clock is looked at */
    uint32_t looks;                     /* by frees into slots, since the clock stands where it stood: */
    uint64_t looked_ns;                 /* there */
    size_t bytes;                       /* in blocks */
    size_t most_bytes;                  /* that may wait */
    size_t missed_bytes[MT_MID_MISSED]; /* the sizes of the last large ones that were not let in */
    uint32_t missed_count;
    uint16_t trust; /* 0: large blocks were not asked for again of late */
    bool has_slots; /* one of them was given to a size */
    struct mt_large_sampler sampler;
    struct mt_mid_cached blocks[MT_MID_NEAR];
    struct mt_large_slot slots[MT_LARGE_SLOTS];
};

/* What a heap remembers of its thread's last falls of live bytes. See waiting.h. */
struct mt_fall {
    int64_t highest_bytes;           /* live, since then, as far as was seen */
    uint32_t asked[MT_FALL_GROUPS];  /* what bins of neighbouring classes had been asked for by then, in units */
    uint16_t shares[MT_FALL_GROUPS]; /* and theirs in what was asked for between the last two */
};

/*
 * A thread heap. Only its thread writes it, but for the inbox. A thread that
 * ends leaves it as it is to the next thread that starts. What every thread
 * writes to lies in two pages, see struct mt_theap_place: the fields, then the
 * bins of the mixed sub-heap.
 */
struct mt_theap {
    struct mt_shard *shard;
    int64_t batch_bytes; /* of the core */
    uintptr_t scope_key; /* mt_site_scope_key() of the scope in force */
    uint16_t id, mark;   /* mark: id * 2, as mt_entry_mark() of the sub-heaps that are not mixed */
    uint16_t small_bin[MT_SMALL_MAX / 16 + 1]; /* by size in steps of 16: the way from class 0's bin, in bytes */
    uint32_t epoch;                            /* of the core, whose segment the counters lie in */
    uint32_t sites_epoch;                      /* when the sites were last made to forget */
    char thread[MT_ORIGIN_THREAD_BYTES];       /* the name that the sites' origins have */
    struct mt_sub subs[MT_SUBS];
    struct mt_origin_counts *counts[MT_ORIGIN_CACHED]; /* by origin modulo their number */
    struct mt_remote_slot remote[MT_REMOTE_SLOTS];
    struct mt_slab *slabs;  /* all that it owns */
    uint32_t slab_count;    /* of them */
    uint32_t looked_at;     /* the bin whose list's length was looked at last, by the way */
    size_t held_bytes;      /* of them, that may have memory behind them */
    size_t excess_bytes;    /* what one look still has to give back, */
    uint32_t examines_left; /* slabs in which free pages may be looked for in this look */
    uint32_t empty_count;   /* slabs that became empty and stayed with their bins since all such were given back */
    size_t grown_bytes;     /* fresh ones since it was last looked for what the heap does not use */
    bool keeps_nothing;     /* free blocks go home at once: few are asked for, of all classes */
    uint64_t begun[2];      /* bits, of a heap that keeps nothing: classes that had a slab */
    struct mt_theap *next_dead;
    uint64_t dead_since_ns;
    uint64_t tidied_ns; /* when its idle bins were last looked for */
    struct mt_fall fall;
    struct mt_mid_near near;
    struct mt_arena_heap *arenas;        /* NULL: no call site of its threads was ever taken up */
    const void *grown[MT_GROWN_SLOTS];   /* blocks that realloc has let grow of late, by hash of the address */
    _Alignas(128) _Atomic(void *) inbox; /* blocks freed by other threads */
    _Atomic uint32_t is_dead;
    _Atomic uint32_t use; /* enum mt_theap_use */
    struct mt_bin bins[MT_SUBS * MT_SLAB_CLASSES];
    _Alignas(64) struct mt_site sites[MT_SITE_SETS * MT_SITE_WAYS];
};

/* What it knows of an origin. */
struct mt_theap_origin {
    uint16_t asked; /* how much it has asked of the mixed sub-heap, in steps; see account.c */
    uint8_t sub;    /* 0 = none */
};

/* Most programs have few origins: the last ones of the table, just before the fields, are those met first. */
enum { MT_THEAP_AT = 896 };
struct mt_theap_place {
    _Alignas(4096) char apart[MT_THEAP_AT];
    struct mt_theap_origin origins[MT_ORIGIN_MAX];
    struct mt_theap heap;
};
_Static_assert(offsetof(struct mt_theap_place, heap) % 4096 == MT_THEAP_AT,
               "the origins before it end in its page");
_Static_assert(MT_THEAP_AT + offsetof(struct mt_theap, bins) + MT_SLAB_CLASSES * sizeof(struct mt_bin) <= 2 * 4096,
               "two pages");

static inline struct mt_theap_origin *mt_theap_origin(struct mt_theap *heap, unsigned origin)
{
    return (struct mt_theap_origin *)(void *)heap - 1 - origin;
}

/* LOCKED: used under a lock by many. ORPHAN: its thread vanished at a fork, maybe in the middle of something. */
enum mt_theap_use { MT_THEAP_IDLE, MT_THEAP_LOCKED, MT_THEAP_IN_USE, MT_THEAP_ORPHAN };

/* Bins that are always empty, for sites without a sub-heap. */
extern struct mt_bin mt_no_bins[MT_SLAB_CLASSES] __attribute__((visibility("hidden")));

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
    /* The same as sampled() for the block that a thread's sampler has come to; it sets the next one. */
    void (*large_sampled)(struct mt_shard *shard, const void *block, uint64_t requested_bytes,
                          uint64_t usable_bytes, struct mt_large_sampler *sampler);
    /* On a thread without a heap: true when a block of so many bytes is to get a call stack. It is handed to
     * sampled() with shard NULL, as all blocks of such threads are. */
    bool (*sample_is_near)(uint64_t requested_bytes);
    /* The origin of a return address for a thread of that name in that scope; MT_ORIGIN_MAX and more: not known
     * now. Without it all are origin 0. */
    unsigned (*origin)(const void *caller, const char *thread, uint32_t scope);
};

/* Makes the pools usable. The core is on. */
void mt_pools_start(struct mt_core *core, const struct mt_pools_client *client);

/*
 * Gives the calling thread a heap that counts in its shard (not shard 0).
 * False when there is none; the thread may still call everything.
 */
bool mt_pools_attach(struct mt_shard *shard, uint32_t scope);
/* The thread's name has changed, or its scope. Only the thread itself calls them. */
void mt_pools_renamed(void);
static inline void mt_pools_change_scope(uint32_t scope)
{
    if (mt_theap_self) mt_theap_self->scope_key = mt_site_scope_key(scope);
}
/* Before the thread's shard is retired. Afterwards the thread uses the shared heap. */
void mt_pools_detach(void);

/* The calling thread is about to make another one: ends what is only done in a process of one thread. */
void mt_pools_before_thread(void);

/* Around fork, on the forking thread. The child has one thread, whose shard may be void until it attaches again. */
void mt_pools_before_fork(void);
void mt_pools_after_fork_in_parent(void);
void mt_pools_after_fork_in_child(void);

/* ---- slow paths -------------------------------------------------------------------- */

/*
 * The same as the inline functions for whatever they do not do. caller is the
 * return address in the code that asked, never NULL. NULL when there is no
 * memory; the caller counts that.
 */
void *mt_pools_allocate_slow(size_t bytes, const void *caller) __attribute__((noinline));
/* alignment: a power of two. */
void *mt_pools_allocate_aligned(size_t alignment, size_t bytes, const void *caller);
void *mt_pools_allocate_zeroed(size_t bytes, const void *caller);
/* False, with nothing done, when the block is not the pools'. NULL is not. */
bool mt_pools_free_slow(void *block) __attribute__((noinline));

/* For a block of the pools (mt_pools_owns()), bytes not 0; it stays with who allocated it. NULL when there is no
 * memory; the block is then as it was. */
void *mt_pools_reallocate(void *block, size_t bytes);
/* 0 when the block is not the pools'. */
size_t mt_pools_usable(const void *block);

/* A block of the slabs, or a larger one, for an origin; counted. NULL when there is no memory. heap may be NULL. */
void *mt_pools_allocate_for(struct mt_theap *heap, size_t bytes, unsigned origin);
/*
 * In place of a block that is to get a call stack: one of the same class from
 * the slabs that no thread owns, which has got it and is not counted. NULL
 * when there is none, or when the time has not come.
 */
void *mt_pools_take_twin(struct mt_theap *heap, const void *block, unsigned class, unsigned origin,
                         size_t requested);

static inline bool mt_pools_owns(const void *block)
{
    return mt_pagemap_entry(block) != 0;
}

/* Gives what can be given back to the system; for malloc_trim(). True when that was anything. */
bool mt_pools_trim(void);
/* Address space is about to be limited to so many bytes: gives back what is only reserved. And when it is limited.
 */
void mt_pools_limit(uint64_t bytes);
void mt_pools_limits_changed(void);
/* The system has just refused the program memory: true where it is worth asking again. */
bool mt_pools_make_room(void);

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
bool mt_pools_after_free(struct mt_theap *heap, struct mt_bin *bin) __attribute__((noinline, cold));
/* See arena_serve.h. */
void *mt_arena_allocate(struct mt_theap *heap, const struct mt_site *site, size_t bytes) __attribute__((noinline));
bool mt_arena_free(struct mt_theap *heap, void *block) __attribute__((noinline));
/* Blocks above MT_SLAB_MAX; for free, of kind MT_ENTRY_MID or MT_ENTRY_HUGE. */
void *mt_pools_allocate_large(struct mt_theap *heap, const struct mt_site *site, size_t bytes)
    __attribute__((noinline));
bool mt_pools_free_large(struct mt_theap *heap, void *block, uint64_t entry) __attribute__((noinline));

/* What is seldom due after mt_large_stretch(). */
void *mt_pools_stretched(struct mt_theap *heap, void *block, size_t bytes) __attribute__((noinline));
/* A block that realloc left where it is may get a call stack. */
void *mt_pools_reallocate_due(struct mt_theap *heap, void *block, size_t bytes) __attribute__((noinline, cold));

/*
 * The part of counting that is the thread's own, but for how many there are: that is in the cells of origins, and
 * for what these do not count in allocation_count and free_count. True when mt_pools_due() is to be called.
 */
static inline bool mt_pools_count_allocated(struct mt_theap *heap, size_t requested, uint64_t usable)
{
    if (!MT_TRACKING) return false;
    struct mt_shard *shard = heap->shard;
    MT_ADD(shard->requested_bytes, requested);
    int64_t live = MT_OWN(int64_t, shard->live_bytes) + (int64_t)usable;
    atomic_store_explicit(&shard->live_bytes, live, memory_order_relaxed);
    if (__builtin_expect(live <= MT_OWN(int64_t, shard->high_bytes), 1)) return mt_shard_is_sample_due(shard);
    atomic_store_explicit(&shard->high_bytes, live, memory_order_relaxed);
    if (mt_shard_is_sample_due(shard)) return true;
    return __builtin_expect(live - MT_OWN(int64_t, shard->flushed_bytes) >= heap->batch_bytes, 0);
}

/* True when mt_shard_flush() is due. */
static inline bool mt_pools_count_freed(struct mt_theap *heap, uint64_t usable)
{
    if (!MT_TRACKING) return false;
    struct mt_shard *shard = heap->shard;
    int64_t live = MT_OWN(int64_t, shard->live_bytes) - (int64_t)usable;
    atomic_store_explicit(&shard->live_bytes, live, memory_order_relaxed);
    return __builtin_expect(live < MT_OWN(int64_t, shard->low_limit_bytes), 0);
}

/* The class of 1 to MT_SLAB_MAX bytes, or of 0. */
static inline size_t mt_pools_class(const struct mt_theap *heap, size_t bytes)
{
    return __builtin_expect(bytes <= MT_SMALL_MAX, 1) ? heap->small_bin[(bytes + 15) / 16] / sizeof(struct mt_bin)
                                                      : mt_class_of_block(bytes);
}

/*
 * The two halves of the hot path as their callers need them, so that each of
 * the three ends can be a tail call: MISS = nothing was done, ask the slow
 * function; DONE; DUE = done, and mt_pools_due() or mt_pools_after_free() is to be called;
 * ARENA = nothing was done, mt_arena_allocate() for the site that *block points to, or mt_arena_free(), does it;
 * LARGE = the same with mt_pools_allocate_large() or mt_pools_free_large().
 */
enum mt_pools_end { MT_POOLS_MISS, MT_POOLS_DONE, MT_POOLS_DUE, MT_POOLS_ARENA, MT_POOLS_LARGE };

/* Without tracking all blocks have one origin, and a bin's length is not a difference of statistics. */
static inline __attribute__((always_inline)) enum mt_pools_end
mt_pools_allocate_untracked(struct mt_theap *heap, size_t bytes, void **block)
{
    if (__builtin_expect(bytes > MT_SLAB_MAX, 0)) return MT_POOLS_MISS;
    struct mt_bin *bin = &heap->bins[MT_SLAB_CLASSES + mt_pools_class(heap, bytes)];
    *block = bin->head;
    if (__builtin_expect(!*block, 0)) return MT_POOLS_MISS;
    bin->head = *(void **)*block;
    bin->adjust--;
    return MT_POOLS_DONE;
}

/* key: the return address in the code that asked, plus the thread's mt_site_scope_key(). *in_bin: for an ARENA's
 * site, the one that was empty. */
static inline __attribute__((always_inline)) enum mt_pools_end mt_pools_allocate_fast(struct mt_theap *heap,
                                                                                      size_t bytes, uintptr_t key,
                                                                                      void **block,
                                                                                      const struct mt_bin **in_bin)
{
    if (__builtin_expect(!heap, 0)) return MT_POOLS_MISS;
    if (!MT_TRACKING) return mt_pools_allocate_untracked(heap, bytes, block);
    struct mt_site *site = mt_site_first(heap->sites, key);
    if (__builtin_expect(!mt_site_is(site, key), 0)) return MT_POOLS_MISS;
    size_t way;
    if (__builtin_expect(bytes <= MT_SMALL_MAX, 1))
        way = heap->small_bin[(bytes + 15) / 16];
    else if (bytes <= MT_SLAB_MAX)
        way = mt_class_of_block(bytes) * sizeof(struct mt_bin);
    else {
        *block = site;
        return MT_POOLS_LARGE;
    }
    struct mt_bin *bin = (struct mt_bin *)(void *)((char *)site->bins + way);
    *block = bin->head;
    if (__builtin_expect(!*block, 0)) {
        *block = site;
        *in_bin = bin;
        return site->arena ? MT_POOLS_ARENA : MT_POOLS_MISS;
    }
    struct mt_origin_cell *cell = bin->cell;
    uint64_t usable = bin->bytes; /* read before the stores that follow, which the compiler knows nothing of */
    void *next = *(void **)*block;
    bin->head = next;
    __builtin_prefetch(next, 1); /* the next request of the class reads and writes it; NULL is none */
    MT_ADD(cell->allocation_count, 1);
    MT_ADD(cell->requested_bytes, bytes);
    return mt_pools_count_allocated(heap, bytes, usable) ? MT_POOLS_DUE : MT_POOLS_DONE;
}

/* A block of the heap's own goes to where the next request of its class looks. */
static inline __attribute__((always_inline)) enum mt_pools_end mt_pools_free_into(struct mt_theap *heap,
                                                                                  struct mt_bin *bin, void *block)
{
    struct mt_origin_cell *cell = bin->cell;
    uint64_t usable = bin->bytes;
    *(void **)block = bin->head;
    bin->head = block;
    if (!MT_TRACKING) return ++bin->adjust < bin->max_count ? MT_POOLS_DONE : MT_POOLS_DUE;
    MT_ADD(cell->free_count, 1);
    return mt_pools_count_freed(heap, usable) ? MT_POOLS_DUE : MT_POOLS_DONE;
}

/* A miss: blocks of other heaps and of mixed slabs, blocks that are not the pools', and NULL. *at: the page map's
 * entry of a LARGE one. */
static inline __attribute__((always_inline)) enum mt_pools_end
mt_pools_free_fast(struct mt_theap *heap, void *block, struct mt_bin **in_bin, uint64_t *at)
{
    if (__builtin_expect(!heap, 0)) return MT_POOLS_MISS;
    uint64_t entry = mt_pagemap_entry(block);
    *at = entry;
    if (__builtin_expect((uint16_t)mt_entry_mark(entry) != heap->mark, 0)) {
        if (mt_entry_bin(entry) == MT_ENTRY_ARENA) return MT_POOLS_ARENA;
        return mt_entry_bin(entry) < MT_ENTRY_MID ? MT_POOLS_MISS : MT_POOLS_LARGE;
    }
    struct mt_bin *bin = (struct mt_bin *)(void *)((char *)heap->bins + mt_entry_bin_way(entry));
    __asm__("" : "+r"(bin)); /* one address, not one for each use */
    *in_bin = bin;
    return mt_pools_free_into(heap, bin, block);
}

/* A block keeps its place while it fits and does not waste more than half of it. */
static inline bool mt_pools_may_stay(size_t usable, size_t bytes)
{
    return bytes <= usable && (bytes > usable / 2 || usable <= 32);
}

/* realloc() of a block that keeps its place: one free and one allocation, which change nothing but counters. DUE:
 * mt_pools_reallocate_due() says where the block lies now. LARGE: nothing was done, see mt_large_stretch(); *at:
 * the page map's entry. */
static inline __attribute__((always_inline)) enum mt_pools_end
mt_pools_reallocate_fast(struct mt_theap *heap, const void *block, size_t bytes, uint64_t *at)
{
    if (!MT_TRACKING || __builtin_expect(!heap, 0)) return MT_POOLS_MISS;
    uint64_t entry = mt_pagemap_entry(block);
    *at = entry;
    if (__builtin_expect(mt_entry_mark(entry) != heap->mark, 0))
        return mt_entry_bin(entry) == MT_ENTRY_MID ? MT_POOLS_LARGE : MT_POOLS_MISS;
    struct mt_bin *bin = &heap->bins[mt_entry_bin(entry)];
    if (!mt_pools_may_stay(bin->bytes, bytes) || !bytes) return MT_POOLS_MISS;
    struct mt_origin_cell *cell = bin->cell;
    struct mt_shard *shard = heap->shard;
    MT_ADD(cell->free_count, 1);
    MT_ADD(cell->allocation_count, 1);
    MT_ADD(cell->requested_bytes, bytes);
    MT_ADD(shard->realloc_count, 1);
    MT_ADD(shard->requested_bytes, bytes);
    return mt_shard_is_sample_due(shard) ? MT_POOLS_DUE : MT_POOLS_DONE;
}

/* 0: the slow way knows. */
static inline size_t mt_pools_usable_fast(const struct mt_theap *heap, const void *block)
{
    uint64_t entry = mt_pagemap_entry(block);
    if (__builtin_expect(!heap, 0) || (uint16_t)mt_entry_mark(entry) != heap->mark) return 0;
    const char *bin = (const char *)heap->bins + mt_entry_bin_way(entry);
    return ((const struct mt_bin *)(const void *)bin)->bytes;
}

static inline void *mt_pools_allocate(size_t bytes, const void *caller)
{
    struct mt_theap *heap = mt_theap_self;
    const struct mt_bin *bin;
    void *block;
    switch (mt_pools_allocate_fast(heap, bytes, (uintptr_t)caller + (heap ? heap->scope_key : 0), &block, &bin)) {
    case MT_POOLS_DONE: return block;
    case MT_POOLS_DUE: return mt_pools_due(heap, block, bytes);
    case MT_POOLS_ARENA: return mt_arena_allocate(heap, block, bytes);
    case MT_POOLS_LARGE: return mt_pools_allocate_large(heap, block, bytes);
    default: return mt_pools_allocate_slow(bytes, caller);
    }
}

/* False, with nothing done, when the block is not the pools'. */
static inline bool mt_pools_free(void *block)
{
    struct mt_theap *heap = mt_theap_self;
    struct mt_bin *bin;
    uint64_t entry;
    switch (mt_pools_free_fast(heap, block, &bin, &entry)) {
    case MT_POOLS_DONE: return true;
    case MT_POOLS_DUE: return mt_pools_after_free(heap, bin);
    case MT_POOLS_ARENA: return mt_arena_free(heap, block);
    case MT_POOLS_LARGE: return mt_pools_free_large(heap, block, entry);
    default: return mt_pools_free_slow(block);
    }
}

#endif
