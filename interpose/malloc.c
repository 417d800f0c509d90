/*
 * The C allocation functions. Each one counts and goes to the next allocator;
 * none takes a lock, allocates for itself or changes errno beyond what the
 * next allocator does. A free is counted before the block goes back, because
 * another thread may be given the same address at once.
 */
#include "boot.h"
#include "count.h"
#include "elf.h"
#include "export.h"
#include "next.h"
#include "pooled.h"
#include "pools/arena_serve.h"
#include "pools/large.h"
#include "record.h"
#include "through.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MINIMUM_ALIGNMENT = 16, PAGE_BYTES = 4096 };

static void *out_of_memory(void)
{
    mt_thread_failed();
    errno = ENOMEM;
    return NULL;
}

static MT_COLD void *failed(void)
{
    mt_thread_failed();
    return NULL;
}

/* Counts what an allocating function returned. */
static inline void *counted(void *block, size_t requested_bytes, const void *caller)
{
    if (MT_UNLIKELY(!block)) return failed();
    mt_count_allocated(block, requested_bytes);
    mt_through_count(requested_bytes, caller);
    return block;
}

/* The same for a block of the pools, which count for themselves. */
static inline void *pooled(void *block, size_t requested_bytes)
{
    if (MT_UNLIKELY(!block)) return out_of_memory();
    return mt_record() ? mt_record_block(block, requested_bytes) : block;
}

/* ---- malloc and calloc ------------------------------------------------------------ */

static __attribute__((noinline)) void *malloc_slow(size_t bytes, const void *caller)
{
    if (mt_init_passes_through()) return mt_next_malloc(bytes);
    if (!mt_count_enter()) {
        void *block = mt_boot_alloc(bytes, MINIMUM_ALIGNMENT);
        return block || !mt_next_is_ready() ? block : mt_next_malloc(bytes);
    }
    if (mt_pooled()) return pooled(mt_pools_allocate_slow(bytes, caller), bytes);
    return counted(mt_next_malloc(bytes), bytes, caller);
}

static __attribute__((noinline)) void *malloc_sampled(size_t bytes, const void *caller)
{
    struct mt_through *through = mt_thread.sampled;
    if (mt_record()) return mt_record_malloc(bytes, caller);
    if (MT_UNLIKELY(!through)) return malloc_slow(bytes, caller);
    void *block = mt_next_malloc(bytes);
    return MT_LIKELY(block != NULL) ? mt_count_sampled(through, block, bytes, caller) : failed();
}

/*
 * A function of its own, so that the pools' path needs no stack frame. Where malloc ends in a jump to it, which any
 * optimising compiler makes of the call, the return address is still malloc's, and need not be kept.
 */
static __attribute__((noinline)) void *malloc_counted(size_t bytes, uintptr_t self)
{
    void *block = mt_next_malloc(bytes);
    if (MT_UNLIKELY(!block)) return failed();
    return mt_count_through(mt_thread_through(self), block, bytes, MT_CALLER);
}

static __attribute__((noinline)) void *malloc_counted_for(size_t bytes, struct mt_through *through,
                                                          const void *caller)
{
    void *block = mt_next_malloc(bytes);
    return MT_LIKELY(block != NULL) ? mt_count_through(through, block, bytes, caller) : failed();
}

static __attribute__((noinline)) void *malloc_bumped_slow(struct mt_theap *heap, const struct mt_site *site,
                                                          size_t bytes)
{
    void *block = mt_arena_allocate_slowly(heap, site, bytes);
    return MT_LIKELY(block != NULL) ? block : out_of_memory();
}

/* Where every block is recorded nobody comes here. */
static __attribute__((noinline)) void *malloc_bumped(struct mt_theap *heap, const struct mt_site *site,
                                                     const struct mt_bin *bin, size_t bytes)
{
    void *block;
    switch (mt_arena_bump(heap, site, bin, bytes, &block)) {
    case MT_POOLS_DONE: return block;
    case MT_POOLS_DUE: return mt_arena_due(heap, block, bytes);
    default: return malloc_bumped_slow(heap, site, bytes);
    }
}

static __attribute__((noinline)) void *malloc_large_slow(struct mt_theap *heap, const struct mt_site *site,
                                                         size_t bytes)
{
    void *block = mt_pools_allocate_large_slow(heap, site->origin, bytes);
    return MT_LIKELY(block != NULL) ? block : out_of_memory();
}

/* Nor here. */
static __attribute__((noinline)) void *malloc_large(struct mt_theap *heap, const struct mt_site *site, size_t bytes)
{
    char *block;
    switch (mt_large_take(heap, site->origin, bytes, &block)) {
    case MT_POOLS_DONE: return block;
    case MT_POOLS_DUE: return mt_pools_large_due(heap, block, bytes);
    default: return malloc_large_slow(heap, site, bytes);
    }
}

static inline __attribute__((always_inline)) void *malloc_for(size_t bytes, const void *caller)
{
    uintptr_t self = mt_thread.self;
    if (mt_thread_is_through(self)) return malloc_counted_for(bytes, mt_thread_through(self), caller);
    struct mt_theap *heap = (struct mt_theap *)self;
    void *block;
    const struct mt_bin *bin;
    switch (mt_pools_allocate_fast(heap, bytes, mt_thread_site_key(caller), &block, &bin)) {
    case MT_POOLS_DONE: return block;
    case MT_POOLS_DUE: return mt_pools_due(heap, block, bytes);
    case MT_POOLS_ARENA: return malloc_bumped(heap, block, bin, bytes);
    case MT_POOLS_LARGE: return malloc_large(heap, block, bytes);
    default: return malloc_sampled(bytes, caller);
    }
}

MT_EXPORT MT_HOT void *malloc(size_t bytes)
{
    uintptr_t self = mt_thread.self;
    if (mt_thread_is_through(self)) return malloc_counted(bytes, self);
    return malloc_for(bytes, MT_CALLER);
}

MT_EXPORT void *calloc(size_t count, size_t bytes)
{
    size_t all = 0;
    bool overflows = __builtin_mul_overflow(count, bytes, &all);
    uintptr_t self = mt_thread.self;
    if (mt_thread_is_through(self) && !overflows) {
        void *block = mt_next_calloc(count, bytes);
        return MT_LIKELY(block != NULL) ? mt_count_through(mt_thread_through(self), block, all, MT_CALLER)
                                        : failed();
    }
    if (MT_UNLIKELY(!mt_count_enter())) return overflows ? out_of_memory() : mt_boot_alloc(all, MINIMUM_ALIGNMENT);
    if (mt_pooled()) return overflows ? out_of_memory() : pooled(mt_pools_allocate_zeroed(all, MT_CALLER), all);
    return counted(mt_next_calloc(count, bytes), all, MT_CALLER);
}

/* ---- free --------------------------------------------------------------------------- */

static __attribute__((noinline)) void free_slow(void *block)
{
    if (!block || mt_pools_free_slow(block) || mt_boot_owns(block)) return;
    if (mt_init_passes_through() && !mt_pooled()) {
        mt_next_free(block);
        return;
    }
    mt_count_enter();
    if (!mt_next_is_ready()) return;
    if (mt_pooled())
        mt_pooled_count_foreign();
    else
        mt_count_freed(block, mt_next_usable(block));
    mt_next_free(block);
}

static __attribute__((noinline)) void free_sampled(void *block)
{
    if (mt_record()) {
        if (!mt_record_free(block)) free_slow(block);
    } else if (!mt_count_free_sampled(mt_thread.sampled, block))
        free_slow(block);
}

static __attribute__((noinline)) void free_large_slow(struct mt_theap *heap, void *block)
{
    if (!mt_pools_free_large_slow(heap, block)) free_slow(block);
}

static __attribute__((noinline)) void free_mid(struct mt_theap *heap, void *block, uint64_t entry)
{
    switch (mt_large_give_mid(heap, block, entry)) {
    case MT_POOLS_DONE: return;
    case MT_POOLS_DUE: mt_pools_large_freed(heap); return;
    default: free_large_slow(heap, block);
    }
}

static __attribute__((noinline)) void free_huge(struct mt_theap *heap, void *block, uint64_t entry)
{
    switch (mt_large_give_huge(heap, block, entry)) {
    case MT_POOLS_DONE: return;
    case MT_POOLS_DUE: mt_pools_large_freed(heap); return;
    default: free_large_slow(heap, block);
    }
}

static inline __attribute__((always_inline)) void free_bumped(struct mt_theap *heap, void *block)
{
    switch (mt_arena_free_fast(heap, block)) {
    case MT_POOLS_DONE: return;
    case MT_POOLS_DUE: mt_arena_after_free(heap, block); return;
    default: mt_arena_free(heap, block);
    }
}

/* Every call in it is a tail call, so that it needs no stack frame. */
MT_EXPORT MT_HOT void free(void *block)
{
    uintptr_t self = mt_thread.self;
    if (mt_thread_is_through(self)) {
        if (!mt_count_free_small(mt_thread_through(self), block)) free_slow(block);
        return;
    }
    struct mt_theap *heap = (struct mt_theap *)self;
    struct mt_bin *bin;
    uint64_t entry;
    switch (mt_pools_free_fast(heap, block, &bin, &entry)) {
    case MT_POOLS_DONE: return;
    case MT_POOLS_DUE: mt_pools_after_free(heap, bin); return;
    case MT_POOLS_ARENA: free_bumped(heap, block); return;
    case MT_POOLS_LARGE:
        if (mt_entry_bin(entry) == MT_ENTRY_MID)
            free_mid(heap, block, entry);
        else
            free_huge(heap, block, entry);
        return;
    default: free_sampled(block);
    }
}

MT_EXPORT void cfree(void *block);
MT_EXPORT void free_sized(void *block, size_t bytes);
MT_EXPORT void free_aligned_sized(void *block, size_t alignment, size_t bytes);

MT_EXPORT void cfree(void *block)
{
    free(block);
}

MT_EXPORT void free_sized(void *block, size_t bytes)
{
    (void)bytes;
    free(block);
}

MT_EXPORT void free_aligned_sized(void *block, size_t alignment, size_t bytes)
{
    (void)alignment;
    (void)bytes;
    free(block);
}

/* ---- realloc -------------------------------------------------------------------------- */

/* A block of the bootstrap pool moves to the next allocator as soon as there is one. */
static MT_COLD void *realloc_boot(void *block, size_t bytes, const void *caller)
{
    size_t old_bytes = mt_boot_size(block);
    if (!bytes) return NULL;
    void *moved = malloc_for(bytes, caller);
    if (moved) memcpy(moved, block, old_bytes < bytes ? old_bytes : bytes);
    return moved;
}

/* realloc(p, 0) is a free where the next allocator treats it as one (glibc does), and not a failure. */
static MT_COLD void *realloc_gave_null(size_t bytes, size_t old_usable)
{
    if (bytes) return failed();
    mt_count_freed_bytes(old_usable);
    mt_thread_reallocated();
    return NULL;
}

/* The same for a block that may have a call stack: its record goes before another thread can be handed the address.
 */
static __attribute__((noinline)) void *realloc_recorded(void *block, size_t bytes, const void *caller)
{
    struct mt_live_block record;
    size_t old_usable = mt_next_usable(block);
    bool has_record = mt_trace_detach(block, &record);
    void *moved = mt_next_realloc(block, bytes);
    if (!moved && bytes) {
        if (has_record) mt_trace_restore(block, &record);
        return failed();
    }
    mt_count_freed_bytes(old_usable);
    if (has_record) mt_trace_ended(mt_thread.shard, block, &record, old_usable);
    if (moved) {
        mt_count_allocated(moved, bytes);
        mt_through_count(bytes, caller);
    }
    mt_thread_reallocated();
    return moved;
}

static __attribute__((noinline)) void *realloc_pooled(void *block, size_t bytes)
{
    if (bytes) {
        void *moved = mt_record() ? mt_record_reallocate(block, bytes) : mt_pools_reallocate(block, bytes);
        return MT_LIKELY(moved != NULL) ? moved : out_of_memory();
    }
    if (mt_record())
        mt_record_free(block);
    else
        mt_pools_free(block);
    mt_thread_reallocated();
    return NULL;
}

/* glibc serves and the block was small. */
static void *realloc_counted(struct mt_through *through, void *block, size_t bytes, const void *caller)
{
    struct mt_shard *shard = through->shard;
    size_t old_chunk = mt_next_chunk(block);
    void *moved = mt_next_realloc(block, bytes);
    if (MT_UNLIKELY(!moved)) return realloc_gave_null(bytes, old_chunk - sizeof(size_t));
    if (mt_shard_step_freed(shard, old_chunk)) mt_shard_flush(&mt_core, shard);
    MT_ADD(shard->realloc_count, 1);
    return mt_count_through(through, moved, bytes, caller);
}

/* And it was not. What becomes of it may have to be counted by other ways. */
static void *realloc_counted_large(struct mt_through *through, void *block, size_t bytes, const void *caller)
{
    struct mt_shard *shard = through->shard;
    size_t old_usable = mt_next_usable(block);
    void *moved = mt_next_realloc(block, bytes);
    if (MT_UNLIKELY(!moved)) return realloc_gave_null(bytes, old_usable);
    const struct mt_through_site *site = mt_through_find(through, caller);
    MT_ADD(shard->realloc_count, 1);
    if (MT_UNLIKELY(!site || mt_next_chunk(moved) <= MT_NEXT_SMALL)) {
        mt_count_freed_bytes(old_usable);
        return mt_count_through(through, moved, bytes, caller);
    }
    struct mt_origin_counts *counts = site->counts;
    MT_ADD(counts->large_allocation_count, 1);
    MT_ADD(counts->large_requested_bytes, bytes);
    bool is_due = mt_shard_count_changed(shard, old_usable, bytes, mt_next_usable(moved), &through->batch_bytes);
    return is_due ? mt_count_due(moved, bytes) : moved;
}

/* One free and one allocation, in this order so that the peak does not hold both. */
static __attribute__((noinline)) void *realloc_slow(void *block, size_t bytes, const void *caller)
{
    if (!block) return malloc_for(bytes, caller);
    uintptr_t self = mt_thread.self;
    if (mt_thread_is_through(self) && mt_next_chunk(block) <= MT_NEXT_SMALL)
        return realloc_counted(mt_thread_through(self), block, bytes, caller);
    if (mt_pools_owns(block)) return realloc_pooled(block, bytes);
    if (MT_UNLIKELY(mt_boot_owns(block))) return realloc_boot(block, bytes, caller);
    if (mt_thread_is_through(self)) return realloc_counted_large(mt_thread_through(self), block, bytes, caller);
    mt_count_enter();
    if (mt_pooled()) {
        mt_pooled_count_foreign();
        return mt_next_realloc(block, bytes);
    }
    if (mt_live_may_hold(block)) return realloc_recorded(block, bytes, caller);
    size_t old_usable = mt_next_usable(block);
    void *moved = mt_next_realloc(block, bytes);
    if (MT_UNLIKELY(!moved)) return realloc_gave_null(bytes, old_usable);
    mt_count_freed_bytes(old_usable);
    mt_count_allocated(moved, bytes);
    mt_through_count(bytes, caller);
    mt_thread_reallocated();
    return moved;
}

static __attribute__((noinline)) void *realloc_mid(struct mt_theap *heap, void *block, size_t bytes, uint64_t entry)
{
    switch (mt_large_stretch(heap, block, bytes, entry)) {
    case MT_POOLS_DONE: return block;
    case MT_POOLS_DUE: return mt_pools_stretched(heap, block, bytes);
    default: return realloc_pooled(block, bytes);
    }
}

/* Every call in it is a tail call, so that it needs no stack frame. */
static inline __attribute__((always_inline)) void *realloc_for(void *block, size_t bytes, const void *caller)
{
    uintptr_t self = mt_thread.self;
    struct mt_theap *heap = MT_UNLIKELY(mt_thread_is_through(self)) ? NULL : (struct mt_theap *)self;
    uint64_t entry;
    switch (mt_pools_reallocate_fast(heap, block, bytes, &entry)) {
    case MT_POOLS_DONE: return block;
    case MT_POOLS_DUE: return mt_pools_reallocate_due(heap, block, bytes);
    case MT_POOLS_LARGE: return realloc_mid(heap, block, bytes, entry);
    default: return realloc_slow(block, bytes, caller);
    }
}

MT_EXPORT MT_HOT void *realloc(void *block, size_t bytes)
{
    return realloc_for(block, bytes, MT_CALLER);
}

MT_EXPORT void *reallocarray(void *block, size_t count, size_t bytes)
{
    size_t all;
    if (__builtin_mul_overflow(count, bytes, &all)) {
        mt_count_enter();
        return out_of_memory();
    }
    return realloc_for(block, all, MT_CALLER);
}

/* ---- aligned blocks ------------------------------------------------------------------- */

static void *boot_aligned(size_t alignment, size_t bytes)
{
    return mt_boot_alloc(bytes, alignment & (alignment - 1) ? MINIMUM_ALIGNMENT : alignment);
}

enum { HIGHEST_ALIGNMENT_BIT = 62 };

/* As glibc has it: an alignment that is no power of two is raised to the next one. */
static MT_COLD void *pooled_aligned(size_t alignment, size_t bytes, const void *caller)
{
    if (alignment > (size_t)1 << HIGHEST_ALIGNMENT_BIT << 1) {
        errno = EINVAL;
        return NULL;
    }
    size_t power = MINIMUM_ALIGNMENT;
    while (power < alignment) power *= 2;
    return pooled(mt_pools_allocate_aligned(power, bytes, caller), bytes);
}

MT_EXPORT void *memalign(size_t alignment, size_t bytes)
{
    if (MT_UNLIKELY(!mt_count_enter())) return boot_aligned(alignment, bytes);
    if (mt_pooled()) return pooled_aligned(alignment, bytes, MT_CALLER);
    return counted(mt_next.memalign(alignment, bytes), bytes, MT_CALLER);
}

MT_EXPORT void *aligned_alloc(size_t alignment, size_t bytes)
{
    if (MT_UNLIKELY(!mt_count_enter())) return boot_aligned(alignment, bytes);
    if (mt_pooled()) return pooled_aligned(alignment, bytes, MT_CALLER);
    return counted(mt_next.aligned_alloc(alignment, bytes), bytes, MT_CALLER);
}

static MT_COLD int pooled_posix(void **block, size_t alignment, size_t bytes, const void *caller)
{
    if (alignment % sizeof(void *) || !alignment || alignment & (alignment - 1)) return EINVAL;
    void *found = mt_pools_allocate_aligned(alignment, bytes, caller);
    if (!found) {
        mt_thread_failed();
        return ENOMEM;
    }
    *block = pooled(found, bytes);
    return 0;
}

MT_EXPORT int posix_memalign(void **block, size_t alignment, size_t bytes)
{
    if (MT_UNLIKELY(!mt_count_enter())) {
        void *found = boot_aligned(alignment, bytes);
        if (found) *block = found;
        return found ? 0 : ENOMEM;
    }
    if (mt_pooled()) return pooled_posix(block, alignment, bytes, MT_CALLER);
    int error = mt_next.posix_memalign(block, alignment, bytes);
    if (!error) {
        mt_count_allocated(*block, bytes);
        mt_through_count(bytes, MT_CALLER);
    } else if (error == ENOMEM)
        mt_thread_failed();
    return error;
}

MT_EXPORT void *valloc(size_t bytes)
{
    if (MT_UNLIKELY(!mt_count_enter())) return boot_aligned(4096, bytes);
    if (mt_pooled()) return pooled_aligned(PAGE_BYTES, bytes, MT_CALLER);
    return counted(mt_next.valloc(bytes), bytes, MT_CALLER);
}

MT_EXPORT void *pvalloc(size_t bytes)
{
    if (MT_UNLIKELY(!mt_count_enter())) return boot_aligned(4096, bytes);
    if (mt_pooled()) return pooled_aligned(PAGE_BYTES, bytes, MT_CALLER); /* whose usable size is whole pages */
    return counted(mt_next.pvalloc(bytes), bytes, MT_CALLER);
}

static __attribute__((noinline)) size_t usable_slow(void *block)
{
    if (!block) return 0;
    if (mt_pools_owns(block)) return mt_pools_usable(block);
    if (MT_UNLIKELY(mt_boot_owns(block))) return mt_boot_size(block);
    mt_count_enter();
    return mt_next.usable_size(block);
}

/* Programs that count for themselves ask for each block that they allocate, and again when they free it. */
MT_EXPORT MT_HOT size_t malloc_usable_size(void *block)
{
    uintptr_t self = mt_thread.self;
    if (MT_UNLIKELY(mt_thread_is_through(self))) return usable_slow(block);
    size_t bytes = mt_pools_usable_fast((const struct mt_theap *)self, block);
    return MT_LIKELY(bytes != 0) ? bytes : usable_slow(block);
}

/* ---- questions to the next allocator -------------------------------------------------------- */

/* Not by dlsym, which ends what dlerror would tell the program and frees the text. */
static void *find(void *_Atomic *slot, const char *name)
{
    struct mt_elf_symbol symbol;
    mt_count_enter();
    void *found = atomic_load_explicit(slot, memory_order_relaxed);
    if (found || !mt_elf_find(name, MT_ELF_AFTER_US, &symbol)) return found;
    atomic_store_explicit(slot, symbol.address, memory_order_relaxed);
    return symbol.address;
}

MT_EXPORT int malloc_trim(size_t pad)
{
    static void *_Atomic slot;
    int (*next)(size_t) = (int (*)(size_t))(uintptr_t)find(&slot, "malloc_trim");
    if (mt_pooled()) return mt_pools_trim(); /* what libc's own holds beside them is next to nothing */
    return next ? next(pad) : 0;
}

MT_EXPORT int mallopt(int parameter, int value)
{
    static void *_Atomic slot;
    static _Atomic bool is_asked;
    int (*next)(int, int) = (int (*)(int, int))(uintptr_t)find(&slot, "mallopt");
    /* While the pools serve, this may be libc's first call: two threads must not make it at once, and glibc's
     * before 2.37 may end a thread that was cancelled, and leave its heap half made. */
    if (mt_pooled() && atomic_exchange_explicit(&is_asked, true, memory_order_acquire)) return 1;
    int cancel_state;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
    int result = next ? next(parameter, value) : 0;
    pthread_setcancelstate(cancel_state, NULL);
    atomic_store_explicit(&is_asked, false, memory_order_release);
    return result;
}

/* What malloc_stats() of glibc says, in the pools' numbers. */
static void say_stats(void)
{
    struct mt_pools_info info;
    mt_pools_info(&info);
    mt_say("pools: %lu bytes live, %lu held, %lu of address space, %lu of them in %lu blocks of their own",
           (unsigned long)info.live_bytes, (unsigned long)info.held_bytes, (unsigned long)info.reserved_bytes,
           (unsigned long)info.huge_bytes, (unsigned long)info.huge_count);
}

MT_EXPORT void malloc_stats(void)
{
    static void *_Atomic slot;
    void (*next)(void) = (void (*)(void))(uintptr_t)find(&slot, "malloc_stats");
    if (mt_pooled())
        say_stats();
    else if (next)
        next();
}

/* The element names of glibc, one heap. */
static int pooled_info(FILE *stream)
{
    struct mt_pools_info info;
    char text[512];
    mt_pools_info(&info);
    mt_format(text, sizeof text,
              "<malloc version=\"1\">\n<heap nr=\"0\">\n<sizes>\n</sizes>\n</heap>\n"
              "<total type=\"rest\" count=\"0\" size=\"%lu\"/>\n<total type=\"mmap\" count=\"%lu\" size=\"%lu\"/>\n"
              "<system type=\"current\" size=\"%lu\"/>\n</malloc>\n",
              (unsigned long)(info.held_bytes - info.huge_bytes - (info.live_bytes - info.huge_bytes)),
              (unsigned long)info.huge_count, (unsigned long)info.huge_bytes, (unsigned long)info.held_bytes);
    return fputs(text, stream) < 0 ? -1 : 0;
}

MT_EXPORT int malloc_info(int options, FILE *stream)
{
    static void *_Atomic slot;
    int (*next)(int, FILE *) = (int (*)(int, FILE *))(uintptr_t)find(&slot, "malloc_info");
    if (mt_pooled() && !options) return pooled_info(stream);
    if (next) return next(options, stream);
    errno = ENOSYS;
    return -1;
}

static struct mallinfo2 pooled_mallinfo(void)
{
    struct mt_pools_info info;
    mt_pools_info(&info);
    size_t arena = info.held_bytes - info.huge_bytes, used = info.live_bytes - info.huge_bytes;
    return (struct mallinfo2){.arena = arena,
                              .hblks = info.huge_count,
                              .hblkhd = info.huge_bytes,
                              .uordblks = used,
                              .fordblks = arena - used};
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
MT_EXPORT struct mallinfo mallinfo(void)
{
    if (mt_pooled()) {
        struct mallinfo2 wide = pooled_mallinfo();
        return (struct mallinfo){.arena = (int)wide.arena,
                                 .hblks = (int)wide.hblks,
                                 .hblkhd = (int)wide.hblkhd,
                                 .uordblks = (int)wide.uordblks,
                                 .fordblks = (int)wide.fordblks};
    }
    static void *_Atomic slot;
    struct mallinfo (*next)(void) = (struct mallinfo(*)(void))(uintptr_t)find(&slot, "mallinfo");
    return next ? next() : (struct mallinfo){0};
}
#pragma GCC diagnostic pop

MT_EXPORT struct mallinfo2 mallinfo2(void)
{
    if (mt_pooled()) return pooled_mallinfo();
    static void *_Atomic slot;
    struct mallinfo2 (*next)(void) = (struct mallinfo2(*)(void))(uintptr_t)find(&slot, "mallinfo2");
    return next ? next() : (struct mallinfo2){0};
}
