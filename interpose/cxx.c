/*
 * The C++ allocation operators, by their mangled names on 64-bit systems.
 *
 * The C++ runtime's operators call malloc and free, so these do it directly
 * (DIRECT). Where any operator is replaced by the program or by a library
 * that is not the runtime or the next allocator, all of them only forward
 * (FORWARD): the runtime's default operators build on the replaced ones. When
 * memory runs out the runtime's own operator decides: it calls the new
 * handler and throws bad_alloc, so that memtrack needs no C++ runtime.
 */
#include "cxx.h"

#include "boot.h"
#include "count.h"
#include "elf.h"
#include "export.h"
#include "next.h"
#include "pooled.h"
#include "pools/arena_serve.h"
#include "record.h"
#include "through.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What each operator takes: size or block, then size, alignment, nothrow mark. Their number is all that matters
 * here. */
#define OPERATORS(ONE)                                                                                             \
    ONE(NEW, "_Znwm")                                                                                              \
    ONE(NEW_ARRAY, "_Znam")                                                                                        \
    ONE(NEW_NOTHROW, "_ZnwmRKSt9nothrow_t")                                                                        \
    ONE(NEW_ARRAY_NOTHROW, "_ZnamRKSt9nothrow_t")                                                                  \
    ONE(NEW_ALIGNED, "_ZnwmSt11align_val_t")                                                                       \
    ONE(NEW_ARRAY_ALIGNED, "_ZnamSt11align_val_t")                                                                 \
    ONE(NEW_ALIGNED_NOTHROW, "_ZnwmSt11align_val_tRKSt9nothrow_t")                                                 \
    ONE(NEW_ARRAY_ALIGNED_NOTHROW, "_ZnamSt11align_val_tRKSt9nothrow_t")                                           \
    ONE(DELETE, "_ZdlPv")                                                                                          \
    ONE(DELETE_ARRAY, "_ZdaPv")                                                                                    \
    ONE(DELETE_SIZED, "_ZdlPvm")                                                                                   \
    ONE(DELETE_ARRAY_SIZED, "_ZdaPvm")                                                                             \
    ONE(DELETE_NOTHROW, "_ZdlPvRKSt9nothrow_t")                                                                    \
    ONE(DELETE_ARRAY_NOTHROW, "_ZdaPvRKSt9nothrow_t")                                                              \
    ONE(DELETE_ALIGNED, "_ZdlPvSt11align_val_t")                                                                   \
    ONE(DELETE_ARRAY_ALIGNED, "_ZdaPvSt11align_val_t")                                                             \
    ONE(DELETE_SIZED_ALIGNED, "_ZdlPvmSt11align_val_t")                                                            \
    ONE(DELETE_ARRAY_SIZED_ALIGNED, "_ZdaPvmSt11align_val_t")                                                      \
    ONE(DELETE_ALIGNED_NOTHROW, "_ZdlPvSt11align_val_tRKSt9nothrow_t")                                             \
    ONE(DELETE_ARRAY_ALIGNED_NOTHROW, "_ZdaPvSt11align_val_tRKSt9nothrow_t")

enum operator_index {
#define ONE(name, symbol) name,
    OPERATORS(ONE)
#undef ONE
        OPERATOR_COUNT
};

static const char *const symbols[OPERATOR_COUNT] = {
#define ONE(name, symbol) symbol,
    OPERATORS(ONE)
#undef ONE
};

enum mode { UNKNOWN = 0, DIRECT, FORWARD };
static _Atomic int mode;
static void *_Atomic next_operators[OPERATOR_COUNT];

/* All operators take at most three integers or pointers; extra ones are ignored by every calling convention in use.
 */
typedef void *operator_function(uintptr_t, uintptr_t, uintptr_t);

/* ---- which mode ------------------------------------------------------------------------------ */

static bool is_runtime(const struct mt_elf_symbol *symbol)
{
    const char *slash = strrchr(symbol->object, '/');
    const char *base = slash ? slash + 1 : symbol->object;
    if ((uintptr_t)symbol->address - mt_next.low < mt_next.high - mt_next.low) return true;
    return !strncmp(base, "libstdc++", 9) || !strncmp(base, "libc++", 6) || !strncmp(base, "libcxxrt", 8) ||
           !strncmp(base, "libsupc++", 9);
}

static bool is_replaced(const char *name)
{
    struct mt_elf_symbol symbol;
    if (mt_elf_find(name, MT_ELF_FIRST, &symbol) && !symbol.is_ours) return true;
    return mt_elf_find(name, MT_ELF_AFTER_US, &symbol) && !is_runtime(&symbol);
}

static enum mode decide(void)
{
    for (unsigned i = 0; i < OPERATOR_COUNT; i++)
        if (is_replaced(symbols[i])) return FORWARD;
    return DIRECT;
}

static MT_COLD enum mode find_mode(void)
{
    int saved = errno;
    int now = atomic_load_explicit(&mode, memory_order_relaxed);
    if (now == UNKNOWN) {
        now = decide();
        atomic_store_explicit(&mode, now, memory_order_relaxed);
    }
    errno = saved;
    return (enum mode)now;
}

static enum mode current_mode(void)
{
    int now = atomic_load_explicit(&mode, memory_order_relaxed);
    return now == UNKNOWN ? find_mode() : (enum mode)now;
}

void mt_cxx_start(void)
{
    struct mt_elf_symbol runtime;
    if (mt_elf_find(symbols[NEW], MT_ELF_AFTER_US, &runtime)) find_mode();
}

static inline bool is_direct(void)
{
    return MT_LIKELY(atomic_load_explicit(&mode, memory_order_relaxed) == DIRECT);
}

/* ---- the ways that are not direct --------------------------------------------------------------- */

static operator_function *next_operator(enum operator_index index, const void *caller)
{
    void *found = atomic_load_explicit(&next_operators[index], memory_order_relaxed);
    if (found) return (operator_function *)(uintptr_t)found;
    found = mt_next_find_for(symbols[index], caller);
    atomic_store_explicit(&next_operators[index], found, memory_order_relaxed);
    return (operator_function *)(uintptr_t)found;
}

static void *allocate(size_t bytes, size_t alignment, const void *caller)
{
    if (!mt_count_enter()) return mt_boot_alloc(bytes, alignment);
    if (mt_pooled()) {
        void *found = alignment ? mt_pools_allocate_aligned(alignment, bytes, caller)
                                : mt_pools_allocate_slow(bytes, caller);
        return mt_record() ? mt_record_block(found, bytes) : found;
    }
    void *block = alignment ? mt_next.memalign(alignment, bytes) : mt_next_malloc(bytes);
    if (block) {
        mt_count_allocated(block, bytes);
        mt_through_count(bytes, caller);
    }
    return block;
}

static MT_COLD void *new_slow(enum operator_index index, size_t bytes, size_t alignment, uintptr_t second,
                              uintptr_t third, const void *caller)
{
    bool forwards = mt_count_enter() && current_mode() == FORWARD;
    void *block = forwards ? NULL : allocate(bytes, alignment, caller);
    if (block) return block;
    operator_function *next = next_operator(index, caller);
    if (next) return next(bytes, second, third);
    block = forwards ? allocate(bytes, alignment, caller) : NULL;
    if (!block) mt_thread_failed();
    return block;
}

static MT_COLD void delete_slow(enum operator_index index, void *block, uintptr_t second, uintptr_t third,
                                const void *caller)
{
    if (!block || mt_boot_owns(block)) return;
    operator_function *next = mt_count_enter() && current_mode() == FORWARD ? next_operator(index, caller) : NULL;
    if (next)
        next((uintptr_t)block, second, third);
    else
        free(block);
}

void *mt_cxx_new_failed(unsigned index, size_t bytes, uintptr_t second, const void *caller)
{
    return new_slow((enum operator_index)index, bytes, 0, second, 0, caller);
}

/* ---- the operators -------------------------------------------------------------------------------- */

static __attribute__((noinline)) void *new_sampled(enum operator_index index, size_t bytes, uintptr_t second,
                                                   const void *caller)
{
    struct mt_through *through = is_direct() ? mt_thread.sampled : NULL;
    if (mt_record() && is_direct()) return mt_record_operator(index, bytes, second, caller);
    void *block = MT_LIKELY(through != NULL) ? mt_next_malloc(bytes) : NULL;
    if (MT_UNLIKELY(!block)) return new_slow(index, bytes, 0, second, 0, caller);
    return mt_count_sampled(through, block, bytes, caller);
}

/* A function of its own, so that the pools' path needs no stack frame. */
static __attribute__((noinline)) void *new_counted(struct mt_through *through, enum operator_index index,
                                                   size_t bytes, uintptr_t second, const void *caller)
{
    void *block = mt_next_malloc(bytes);
    if (MT_UNLIKELY(!block)) return new_slow(index, bytes, 0, second, 0, caller);
    return mt_count_through(through, block, bytes, caller);
}

static __attribute__((noinline)) void *new_bumped_slow(struct mt_theap *heap, const struct mt_site *site,
                                                       enum operator_index index, size_t bytes, uintptr_t second,
                                                       const void *caller)
{
    void *block = mt_arena_allocate_slowly(heap, site, bytes);
    return MT_LIKELY(block != NULL) ? block : new_slow(index, bytes, 0, second, 0, caller);
}

static __attribute__((noinline)) void *new_bumped(struct mt_theap *heap, const struct mt_site *site,
                                                  enum operator_index index, size_t bytes, uintptr_t second,
                                                  const void *caller)
{
    void *block;
    switch (mt_arena_bump(heap, site, mt_arena_bin(heap, site, bytes), bytes, &block)) {
    case MT_POOLS_DONE: return block;
    case MT_POOLS_DUE: return mt_arena_due(heap, block, bytes);
    default: return new_bumped_slow(heap, site, index, bytes, second, caller);
    }
}

static __attribute__((noinline)) void *new_large(struct mt_theap *heap, const struct mt_site *site,
                                                 enum operator_index index, size_t bytes, uintptr_t second,
                                                 const void *caller)
{
    void *block = mt_pools_allocate_large(heap, site, bytes);
    return MT_LIKELY(block != NULL) ? block : new_slow(index, bytes, 0, second, 0, caller);
}

static inline __attribute__((always_inline)) void *new_block(enum operator_index index, size_t bytes,
                                                             uintptr_t second, const void *caller)
{
    uintptr_t self = is_direct() ? mt_thread.self : 0;
    if (MT_UNLIKELY(mt_thread_is_through(self)))
        return new_counted(mt_thread_through(self), index, bytes, second, caller);
    struct mt_theap *heap = (struct mt_theap *)self;
    const struct mt_bin *bin;
    void *found;
    switch (mt_pools_allocate_fast(heap, bytes, mt_thread_site_key(caller), &found, &bin)) {
    case MT_POOLS_DONE: return found;
    case MT_POOLS_DUE: return mt_pools_due(heap, found, bytes);
    case MT_POOLS_ARENA: return new_bumped(heap, found, index, bytes, second, caller);
    case MT_POOLS_LARGE: return new_large(heap, found, index, bytes, second, caller);
    default: return new_sampled(index, bytes, second, caller);
    }
}

static inline void *new_aligned(enum operator_index index, size_t bytes, size_t alignment, uintptr_t third,
                                const void *caller)
{
    void *block = is_direct() && mt_thread.shard ? allocate(bytes, alignment, caller) : NULL;
    return MT_LIKELY(block != NULL) ? block : new_slow(index, bytes, alignment, alignment, third, caller);
}

static __attribute__((noinline)) void delete_beside(enum operator_index index, void *block, uintptr_t second,
                                                    uintptr_t third, const void *caller)
{
    uintptr_t self = is_direct() ? mt_thread.self : 0;
    if (mt_thread_is_through(self) && mt_count_free_small(mt_thread_through(self), block)) return;
    if (is_direct() && mt_count_free_sampled(mt_thread.sampled, block)) return;
    delete_slow(index, block, second, third, caller);
}

static __attribute__((noinline)) void delete_large(struct mt_theap *heap, enum operator_index index, void *block,
                                                   uintptr_t second, uintptr_t third, const void *caller)
{
    if (!mt_pools_free_large(heap, block, mt_pagemap_entry(block)))
        delete_slow(index, block, second, third, caller);
}

static inline __attribute__((always_inline)) void
delete_block(enum operator_index index, void *block, uintptr_t second, uintptr_t third, const void *caller)
{
    uintptr_t self = is_direct() ? mt_thread.self : 0;
    struct mt_theap *heap = MT_UNLIKELY(mt_thread_is_through(self)) ? NULL : (struct mt_theap *)self;
    struct mt_bin *bin;
    uint64_t entry;
    switch (mt_pools_free_fast(heap, block, &bin, &entry)) {
    case MT_POOLS_DONE: return;
    case MT_POOLS_DUE: mt_pools_after_free(heap, bin); return;
    case MT_POOLS_ARENA: mt_arena_free(heap, block); return;
    case MT_POOLS_LARGE: delete_large(heap, index, block, second, third, caller); return;
    default: delete_beside(index, block, second, third, caller);
    }
}

#define NEW_1(function, index)                                                                                     \
    MT_EXPORT void *function(size_t bytes);                                                                        \
    MT_EXPORT MT_HOT void *function(size_t bytes)                                                                  \
    {                                                                                                              \
        return new_block(index, bytes, 0, MT_CALLER);                                                              \
    }
#define NEW_2(function, index)                                                                                     \
    MT_EXPORT void *function(size_t bytes, uintptr_t nothrow);                                                     \
    MT_EXPORT void *function(size_t bytes, uintptr_t nothrow)                                                      \
    {                                                                                                              \
        return new_block(index, bytes, nothrow, MT_CALLER);                                                        \
    }
#define NEW_ALIGNED_2(function, index)                                                                             \
    MT_EXPORT void *function(size_t bytes, size_t alignment);                                                      \
    MT_EXPORT void *function(size_t bytes, size_t alignment)                                                       \
    {                                                                                                              \
        return new_aligned(index, bytes, alignment, 0, MT_CALLER);                                                 \
    }
#define NEW_ALIGNED_3(function, index)                                                                             \
    MT_EXPORT void *function(size_t bytes, size_t alignment, uintptr_t nothrow);                                   \
    MT_EXPORT void *function(size_t bytes, size_t alignment, uintptr_t nothrow)                                    \
    {                                                                                                              \
        return new_aligned(index, bytes, alignment, nothrow, MT_CALLER);                                           \
    }
#define DELETE_1(function, index)                                                                                  \
    MT_EXPORT void function(void *block);                                                                          \
    MT_EXPORT MT_HOT void function(void *block)                                                                    \
    {                                                                                                              \
        delete_block(index, block, 0, 0, MT_CALLER);                                                               \
    }
#define DELETE_2(function, index)                                                                                  \
    MT_EXPORT void function(void *block, uintptr_t second);                                                        \
    MT_EXPORT MT_HOT void function(void *block, uintptr_t second)                                                  \
    {                                                                                                              \
        delete_block(index, block, second, 0, MT_CALLER);                                                          \
    }
#define DELETE_3(function, index)                                                                                  \
    MT_EXPORT void function(void *block, uintptr_t second, uintptr_t third);                                       \
    MT_EXPORT void function(void *block, uintptr_t second, uintptr_t third)                                        \
    {                                                                                                              \
        delete_block(index, block, second, third, MT_CALLER);                                                      \
    }

NEW_1(_Znwm, NEW)
NEW_1(_Znam, NEW_ARRAY)
NEW_2(_ZnwmRKSt9nothrow_t, NEW_NOTHROW)
NEW_2(_ZnamRKSt9nothrow_t, NEW_ARRAY_NOTHROW)
NEW_ALIGNED_2(_ZnwmSt11align_val_t, NEW_ALIGNED)
NEW_ALIGNED_2(_ZnamSt11align_val_t, NEW_ARRAY_ALIGNED)
NEW_ALIGNED_3(_ZnwmSt11align_val_tRKSt9nothrow_t, NEW_ALIGNED_NOTHROW)
NEW_ALIGNED_3(_ZnamSt11align_val_tRKSt9nothrow_t, NEW_ARRAY_ALIGNED_NOTHROW)
DELETE_1(_ZdlPv, DELETE)
DELETE_1(_ZdaPv, DELETE_ARRAY)
DELETE_2(_ZdlPvm, DELETE_SIZED)
DELETE_2(_ZdaPvm, DELETE_ARRAY_SIZED)
DELETE_2(_ZdlPvRKSt9nothrow_t, DELETE_NOTHROW)
DELETE_2(_ZdaPvRKSt9nothrow_t, DELETE_ARRAY_NOTHROW)
DELETE_2(_ZdlPvSt11align_val_t, DELETE_ALIGNED)
DELETE_2(_ZdaPvSt11align_val_t, DELETE_ARRAY_ALIGNED)
DELETE_3(_ZdlPvmSt11align_val_t, DELETE_SIZED_ALIGNED)
DELETE_3(_ZdaPvmSt11align_val_t, DELETE_ARRAY_SIZED_ALIGNED)
DELETE_3(_ZdlPvSt11align_val_tRKSt9nothrow_t, DELETE_ALIGNED_NOTHROW)
DELETE_3(_ZdaPvSt11align_val_tRKSt9nothrow_t, DELETE_ARRAY_ALIGNED_NOTHROW)
