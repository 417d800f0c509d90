/*
 * The allocator below memtrack and the next definition of any function that
 * memtrack interposes. The hooks call the allocator only through the inline
 * functions here, so that memtrack's own pools can be put in their place.
 *
 * mt_next is filled in once, before the first block is handed out by it, and
 * is constant afterwards. Looking up takes the loader's lock: never do it
 * under a lock of memtrack's own.
 */
#ifndef MT_NEXT_H
#define MT_NEXT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mt_next {
    void *(*malloc)(size_t);
    void (*free)(void *);
    void *(*calloc)(size_t, size_t);
    void *(*realloc)(void *, size_t);
    size_t (*usable_size)(void *);
    bool has_chunk_header; /* the size in front of a block may be read; see mt_next_usable() */
    bool is_glibc;         /* libc's own allocator, of a libc whose blocks are known, serves malloc */
    _Atomic bool is_ready;
    void *(*memalign)(size_t, size_t);
    void *(*aligned_alloc)(size_t, size_t);
    int (*posix_memalign)(void **, size_t, size_t);
    void *(*valloc)(size_t);
    void *(*pvalloc)(size_t);
    uintptr_t low, high; /* address range of the object that serves malloc */
    char path[256];      /* and its path */
    char foreign[256];   /* an allocator bundled with the program, or "" */
    bool is_replaceable; /* it is a library of which the program uses nothing but malloc and its family */
};

extern struct mt_next mt_next __attribute__((visibility("hidden")));

/* Acquire pairs with the release at the end of mt_next_resolve(). */
static inline bool mt_next_is_ready(void)
{
    return atomic_load_explicit(&mt_next.is_ready, memory_order_acquire);
}

/*
 * Finds the next allocator. Several threads may do it at once and find the
 * same. The caller has set its busy mark, so that what the loader allocates
 * comes from the bootstrap pool. False when there is none.
 */
bool mt_next_resolve(void);

/*
 * Looks whether the next allocator's blocks carry their size as known: for a process whose blocks come from there,
 * because it makes some. Under the same conditions.
 */
void mt_next_probe_headers(void);

/* The next definition of a function after this library, NULL when there is none. Leaves dlerror clean. */
void *mt_next_find(const char *name);

/*
 * A function as the object that holds an address sees it: in the object and
 * its libraries. For a plugin opened with RTLD_LOCAL that is the only way.
 */
void *mt_next_find_in(const char *name, const void *address);

/* The next definition, else the one that the caller of a hook can see. */
void *mt_next_find_for(const char *name, const void *caller);

/* Makes dlerror tell that there is no next definition of a function. */
void mt_next_fail(const char *name);

/* Looks a function up once: *slot keeps it. */
void *mt_next_find_once(void *_Atomic *slot, const char *name);

/* ---- the allocator that serves the hooks ---------------------------------- */

static inline void *mt_next_malloc(size_t bytes)
{
    return mt_next.malloc(bytes);
}

static inline void *mt_next_calloc(size_t count, size_t bytes)
{
    return mt_next.calloc(count, bytes);
}

static inline void *mt_next_realloc(void *block, size_t bytes)
{
    return mt_next.realloc(block, bytes);
}

static inline void mt_next_free(void *block)
{
    mt_next.free(block);
}

/*
 * glibc keeps the size of a chunk in the word in front of the block: bits 0 to
 * 2 are flags, bit 1 marks a chunk mapped alone, which has a header of two
 * words instead of one. Only where mt_next.has_chunk_header.
 */
static inline size_t mt_next_header(const void *block)
{
    return ((const size_t *)block)[-1];
}

static inline bool mt_next_is_mapped_alone(size_t header)
{
    return header & 2;
}

/* Usable bytes of a block that is not mapped alone. */
static inline size_t mt_next_usable_of(size_t header)
{
    return (header & ~(size_t)7) - sizeof(size_t);
}

/*
 * The chunk's size alone: a multiple of 16, 8 more than the usable bytes. More than MT_NEXT_SMALL for every chunk
 * mapped alone, whose header's bit 1 stays in it, because those take up the end of a page of their own.
 */
enum { MT_NEXT_SMALL = 1024 };

static inline size_t mt_next_chunk(const void *block)
{
    return mt_next_header(block) & ~(size_t)5;
}

/* Usable bytes of any live block; at least 1. */
static inline size_t mt_next_usable(void *block)
{
    if (__builtin_expect(!mt_next.has_chunk_header, 0)) {
        size_t bytes = mt_next.usable_size(block);
        return bytes + !bytes;
    }
    size_t header = mt_next_header(block);
    return mt_next_usable_of(header) - (mt_next_is_mapped_alone(header) ? sizeof(size_t) : 0);
}

#endif
