/*
 * Call sites: which origin the code that calls an allocating function belongs
 * to, by its exact return address, in a small cache of each thread heap. Only
 * the heap's thread reads and fills it; any thread may make it forget
 * (mt_sites_forget_all(), after dlclose). Nothing here touches errno.
 *
 * A site's key is the return address plus the heap's scope key, so that a
 * change of scope needs nothing but another scope key.
 */
#ifndef MT_POOLS_SITES_H
#define MT_POOLS_SITES_H

#include "core.h"

struct mt_bin;
struct mt_theap;

enum {
    MT_SITE_SETS = 256,
    MT_SITE_WAYS = 2, /* the fast path looks at the first only, which is the one used last */
    MT_SITE_BYTES = 32,
};

struct mt_site {
    _Atomic uintptr_t key; /* 0 = empty */
    struct mt_bin *bins;   /* of the origin's sub-heap; mt_no_bins where it has none */
    uint16_t origin;
    uint8_t arena; /* for the arenas: their number of this site, 0 = none; else bins is mt_no_bins */
    uint8_t spare;
    uint32_t cell; /* theirs too: of its blocks of the least size class */
    void *data;    /* and where they are counted; NULL: not known yet */
};

_Static_assert(sizeof(struct mt_site) == MT_SITE_BYTES, "a set is one line of the cache");

/* What is added to a return address inside a scope. The upper 16 bits tell scopes apart, the lower ones spread
 * them. */
static inline uintptr_t mt_site_scope_key(uint32_t scope)
{
    return ((uintptr_t)scope << 48) + (uintptr_t)scope * 0x124;
}

static inline uint32_t mt_site_scope_of(uintptr_t scope_key)
{
    return (uint32_t)(scope_key >> 48);
}

/* The first way of a key's set: call sites a few bytes apart lie in different sets. */
static inline struct mt_site *mt_site_first(struct mt_site *sites, uintptr_t key)
{
    uintptr_t set = (uint8_t)key;
    __asm__("" : "+r"(set)); /* the low byte in one instruction */
    return &sites[set * MT_SITE_WAYS];
}

/* What another thread may set to 0 meanwhile; a plain load, so that it can be an operand of the comparison. */
static inline bool mt_site_is(const struct mt_site *site, uintptr_t key)
{
#ifdef __SANITIZE_THREAD__
    return atomic_load_explicit(&site->key, memory_order_relaxed) == key;
#else
    return *(const uintptr_t *)&site->key == key;
#endif
}

/*
 * The site of a caller in the calling thread's heap, found or made, and put
 * where the fast path finds it. caller is a return address, not NULL.
 */
struct mt_site *mt_site_of(struct mt_theap *heap, const void *caller);

/* The origin of a caller on a thread that has no heap. */
unsigned mt_site_origin(const void *caller);

/* Forgets what a heap knows (the thread has another name), or what all know (an object was unloaded). */
void mt_sites_forget(struct mt_theap *heap);
void mt_sites_forget_all(void);

#endif
