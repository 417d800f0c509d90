/*
 * Allocations and frees where every block is recorded and the pools serve.
 * Called by the hooks on the thread that allocates or frees.
 */
#include "record.h"

#include "own_memory.h"
#include "pooled.h"
#include "thread.h"
#include "trace.h"
#include "trace_all.h"

#include <errno.h>

_Atomic bool mt_record_is_on;

/* mt_pools_usable(), from the lines that the pools' own path has just used or is about to. */
static inline size_t usable_of(const void *block)
{
    const struct mt_theap *heap = mt_theap_self;
    uint64_t entry = mt_pagemap_entry(block);
    if (__builtin_expect(heap && mt_entry_mark(entry) == heap->mark, 1))
        return heap->bins[mt_entry_bin(entry)].bytes;
    return mt_pools_usable(block);
}

/* The pools' link to the next free block would pass for the program's pointer to it once that is handed out. */
static inline void unlink_for_scan(void *block)
{
    if (__builtin_expect(mt_own_memory_kept(), 0)) *(void **)block = NULL;
}

static inline void *recorded(void *block, size_t bytes)
{
    unlink_for_scan(block);
    return mt_trace_all_allocated(mt_thread.shard, block, bytes, usable_of(block));
}

void *mt_record_malloc(size_t bytes, const void *caller)
{
    void *block = mt_pools_allocate(bytes, caller);
    if (__builtin_expect(block != NULL, 1)) return recorded(block, bytes);
    mt_thread_failed();
    errno = ENOMEM;
    return NULL;
}

void *mt_record_operator(unsigned index, size_t bytes, uintptr_t second, const void *caller)
{
    void *block = mt_pools_allocate(bytes, caller);
    if (__builtin_expect(!block, 0)) return mt_cxx_new_failed(index, bytes, second, caller);
    return recorded(block, bytes);
}

void *mt_record_block(void *block, size_t bytes)
{
    return block ? recorded(block, bytes) : NULL;
}

bool mt_record_free(void *block)
{
    struct mt_theap *heap = mt_theap_self;
    uint64_t entry = mt_pagemap_entry(block);
    if (__builtin_expect(heap && (uint16_t)mt_entry_mark(entry) == heap->mark, 1)) {
        struct mt_bin *bin = &heap->bins[mt_entry_bin(entry)];
        mt_trace_all_freed(mt_thread.shard, block, bin->bytes);
        if (mt_pools_free_into(heap, bin, block) == MT_POOLS_DUE) mt_pools_after_free(heap, bin);
        return true;
    }
    if (!entry) return false;
    mt_trace_all_freed(mt_thread.shard, block, mt_pools_usable(block));
    return mt_pools_free(block);
}

void *mt_record_reallocate(void *block, size_t bytes)
{
    struct mt_shard *shard = mt_thread.shard;
    size_t old_usable = usable_of(block);
    mt_trace_all_begin(shard);
    uint64_t word = mt_trace_all_detach(block);
    void *moved = mt_pools_reallocate(block, bytes);
    if (!moved)
        mt_trace_all_restore(block, word);
    else if (moved == block)
        mt_trace_all_resized(shard, block, word, old_usable, bytes, usable_of(block));
    else
        mt_trace_all_moved(shard, block, word, old_usable, moved, bytes, usable_of(moved));
    return moved;
}
