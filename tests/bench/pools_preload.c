/*
 * The pools alone as a library for LD_PRELOAD: malloc and its family on the
 * pools, counted in a segment, without the hooks of libmemtrack.so. For
 * measurements of the pools only; it knows nothing of fork or mappings.
 */
#include "pools.h"
#include "stats.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#define CALLER __builtin_return_address(0)
#define EXPORT __attribute__((visibility("default")))

static struct mt_core core;
static _Atomic int stage; /* 0 = new, 1 = starting, 2 = on */
static pthread_key_t key;
static char early[65536];
static _Atomic size_t early_used;

static _Thread_local int has_ended __attribute__((tls_model("initial-exec")));

static void end_of_thread(void *shard)
{
    has_ended = 1;
    mt_pools_detach();
    mt_shard_retire(&core, shard);
}

static void thread_start(void);

static void start(void)
{
    static const struct mt_pools_client client = {.thread_start = thread_start};
    int fresh = 0;
    if (!atomic_compare_exchange_strong(&stage, &fresh, 1)) return;
    if (!mt_core_start(&core, MT_CLIENT_PRELOAD)) return;
    mt_pools_start(&core, &client);
    mt_pools_publish(&core);
    pthread_key_create(&key, end_of_thread);
    atomic_store(&stage, 2);
}

static void thread_start(void)
{
    static _Thread_local int inside __attribute__((tls_model("initial-exec")));
    if (atomic_load(&stage) == 0) start();
    if (atomic_load(&stage) != 2 || inside || has_ended) return;
    inside = 1;
    struct mt_shard *shard = mt_shard_claim(&core, mt_gettid(), "thread");
    if (!mt_shard_is_shared(&core, shard) && mt_pools_attach(shard, 0)) pthread_setspecific(key, shard);
    inside = 0;
}

static void *bootstrap(size_t alignment, size_t bytes)
{
    size_t at = atomic_fetch_add(&early_used, (bytes + alignment + 31) & ~(size_t)15);
    if (at + bytes + alignment > sizeof early) return NULL;
    return (void *)(((uintptr_t)early + at + alignment - 1) & ~(uintptr_t)(alignment - 1));
}

static int is_on(void)
{
    if (__builtin_expect(atomic_load_explicit(&stage, memory_order_relaxed) == 2, 1)) return 1;
    start();
    return atomic_load_explicit(&stage, memory_order_relaxed) == 2;
}

static void *failed(void)
{
    errno = ENOMEM;
    return NULL;
}

static __attribute__((noinline, cold)) void *malloc_slow(size_t bytes, const void *caller)
{
    void *block = is_on() ? mt_pools_allocate_slow(bytes, caller) : bootstrap(16, bytes);
    return block ? block : failed();
}

EXPORT void *malloc(size_t bytes)
{
    struct mt_theap *heap = mt_theap_self;
    void *block;
    const struct mt_bin *bin;
    switch (mt_pools_allocate_fast(heap, bytes, (uintptr_t)CALLER, &block, &bin)) {
    case MT_POOLS_DONE: return block;
    case MT_POOLS_DUE: return mt_pools_due(heap, block, bytes);
    default: return malloc_slow(bytes, CALLER);
    }
}

EXPORT void free(void *block)
{
    mt_pools_free(block);
}

EXPORT void *calloc(size_t count, size_t bytes)
{
    size_t total;
    if (__builtin_mul_overflow(count, bytes, &total)) return failed();
    void *block = is_on() ? mt_pools_allocate_zeroed(total, CALLER) : bootstrap(16, total);
    return block ? block : failed();
}

EXPORT void *realloc(void *block, size_t bytes)
{
    if (!block) return malloc(bytes);
    if (!bytes) {
        free(block);
        return NULL;
    }
    if (!mt_pools_owns(block)) {
        void *copy = malloc(bytes);
        size_t left = (size_t)(early + sizeof early - (char *)block);
        return copy ? memcpy(copy, block, bytes < left ? bytes : left) : NULL;
    }
    void *result = mt_pools_reallocate(block, bytes);
    return result ? result : failed();
}

EXPORT void *memalign(size_t alignment, size_t bytes)
{
    void *block = is_on() ? mt_pools_allocate_aligned(alignment, bytes, CALLER) : bootstrap(alignment, bytes);
    return block ? block : failed();
}

EXPORT void *aligned_alloc(size_t alignment, size_t bytes)
{
    return memalign(alignment, bytes);
}

EXPORT int posix_memalign(void **result, size_t alignment, size_t bytes)
{
    void *block = memalign(alignment, bytes);
    if (!block) return ENOMEM;
    *result = block;
    return 0;
}

EXPORT void *valloc(size_t bytes)
{
    return memalign(4096, bytes);
}

EXPORT void *reallocarray(void *block, size_t count, size_t bytes)
{
    size_t total;
    if (__builtin_mul_overflow(count, bytes, &total)) return failed();
    return realloc(block, total);
}

EXPORT size_t malloc_usable_size(void *block)
{
    return mt_pools_usable(block);
}

EXPORT int malloc_trim(size_t pad)
{
    (void)pad;
    return mt_pools_trim();
}

/* operator new and delete of every kind that compilers call. */
#define NEW(name, ...)                                                                                             \
    EXPORT void *name(size_t bytes __VA_ARGS__);                                                                   \
    EXPORT void *name(size_t bytes __VA_ARGS__)
#define DELETE(name, ...)                                                                                          \
    EXPORT void name(void *block __VA_ARGS__);                                                                     \
    EXPORT void name(void *block __VA_ARGS__)

NEW(_Znwm)
{
    return malloc(bytes);
}
NEW(_Znam)
{
    return malloc(bytes);
}
NEW(_ZnwmRKSt9nothrow_t, , const void *tag)
{
    (void)tag;
    return malloc(bytes);
}
NEW(_ZnamRKSt9nothrow_t, , const void *tag)
{
    (void)tag;
    return malloc(bytes);
}
DELETE(_ZdlPv)
{
    mt_pools_free(block);
}
DELETE(_ZdaPv)
{
    mt_pools_free(block);
}
DELETE(_ZdlPvm, , size_t bytes)
{
    (void)bytes;
    mt_pools_free(block);
}
DELETE(_ZdaPvm, , size_t bytes)
{
    (void)bytes;
    mt_pools_free(block);
}
