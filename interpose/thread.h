/*
 * The calling thread as memtrack knows it: a few words of initial-exec
 * thread-local storage with the thread's shard, and the slow path that every
 * hook takes while there is none.
 *
 * A thread claims its shard on the first allocation or free, and gives it
 * back in the last round of thread-specific destructors. What it allocates
 * after that, and what threads without a shard of their own do, is counted in
 * shard 0 with atomic operations.
 */
#ifndef MT_THREAD_H
#define MT_THREAD_H

#include "shard.h"

#include <stdbool.h>
#include <stdint.h>

struct mt_tag_stack;
struct mt_through;

enum mt_thread_state {
    MT_THREAD_NEW = 0, /* nothing seen of it yet, or a fork's child */
    MT_THREAD_OWN,     /* it has a shard */
    MT_THREAD_SHARED,  /* all shards were taken */
    MT_THREAD_ENDED,   /* its destructors have run */
};

struct mt_thread {
    uintptr_t self;             /* what the fast paths go by; see mt_thread_through() */
    uintptr_t scope_key;        /* mt_site_scope_key() of the context */
    struct mt_through *sampled; /* where glibc serves and call stacks are taken; else NULL */
    struct mt_through *through; /* how it counts where the next allocator serves; see through.h */
    struct mt_shard *shard;     /* NULL: the thread does not count by itself, the slow path decides */
    uint8_t state;              /* enum mt_thread_state */
    uint8_t is_busy;            /* inside memtrack's own code: blocks come from the bootstrap pool */
    uint8_t is_presenting;      /* inside a presentation call */
    uint8_t rounds;             /* of thread-specific destructors */
    uint8_t holds_mappings;     /* it has, or is about to take, the lock of the mappings */
    uint16_t context;           /* of tag and scope; see scope.h */
    char name[16];              /* as the kernel knows it; "" = not asked yet */
    uint16_t tag, scope;        /* that it is in */
    uint32_t renames;           /* names that threads gave to others, when `name` was taken over */
    uint32_t stack_epoch;       /* the core's epoch + 1 when stack_bytes was counted, 0 = not yet */
    uint64_t stack_bytes;       /* counted for this thread, 0 = none */
    struct mt_tag_stack *tags;  /* see api.c; NULL: it has had none */
};

extern _Thread_local struct mt_thread mt_thread __attribute__((tls_model("initial-exec"), visibility("hidden")));

/*
 * One word tells the fast paths where to go: an odd value is the thread's
 * struct mt_through plus 1, where glibc serves and no call stacks are taken;
 * another one is the thread's heap in the pools; 0 leaves it to the slow paths.
 */
static inline bool mt_thread_is_through(uintptr_t self)
{
    return __builtin_expect(self & 1, 1);
}

static inline struct mt_through *mt_thread_through(uintptr_t self)
{
    return (struct mt_through *)(self - 1);
}

/* What the pools know a call site by, in the scope of this thread. */
static inline uintptr_t mt_thread_site_key(const void *caller)
{
    return (uintptr_t)caller + mt_thread.scope_key;
}

/* Sets the busy mark; returns what it was. */
static inline bool mt_thread_set_busy(bool is_busy)
{
    bool was = mt_thread.is_busy;
    mt_thread.is_busy = is_busy;
    return was;
}

/*
 * The slow path of every hook: finds the next allocator, starts the core,
 * makes a fork's child its own segment and claims a shard, whatever is due.
 * Returns false when the block must come from the bootstrap pool. When it
 * returns true, mt_thread.shard says whether this thread counts by itself.
 * Preserves errno.
 */
bool mt_thread_enter(void);

/* Counting for a thread without a shard: in shard 0, or not at all when memtrack passes through. */
void mt_thread_allocated_slow(uint64_t requested_bytes, uint64_t usable_bytes);
void mt_thread_freed_slow(uint64_t usable_bytes);
/* True when such a thread counts in shard 0. */
bool mt_thread_counts_shared(void);
/* Calls that failed, and calls of realloc that moved or resized a block. */
void mt_thread_failed(void);
void mt_thread_reallocated(void);

/* In a fork's child, for the one thread there is. */
void mt_thread_after_fork_in_child(void);

/* Puts the calling thread into a scope, or into a tag beside it; the first returns the scope it was in. */
uint32_t mt_thread_change_scope(uint32_t scope);
void mt_thread_change_tag(uint32_t tag);
/* The tag that the calling thread is in. */
uint32_t mt_thread_tag(void);

/* Finds the next functions, from the constructor. */
void mt_thread_find_next(void);

/* Makes the key whose destructor retires shards. Called once, before the core starts. */
void mt_thread_start(void);

#endif
