/*
 * Allocations and frees where every block is recorded and the pools serve.
 * Called by the hooks on the thread that allocates or frees.
 */
#include "record.h"

#include "own_memory.h"
#include "pooled.h"
#include "thread.h"
#include "trace.h"

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

void *mt_record_malloc(size_t bytes, const void *caller)
{
    void *block = mt_pools_allocate(bytes, caller);
    if (__builtin_expect(block != NULL, 1)) {
        unlink_for_scan(block);
        mt_trace_record(mt_thread.shard, block, bytes, usable_of(block), __builtin_frame_address(0), true);
        return block;
    }
    mt_thread_failed();
    errno = ENOMEM;
    return NULL;
}

void *mt_record_operator(unsigned index, size_t bytes, uintptr_t second, const void *caller)
{
    void *block = mt_pools_allocate(bytes, caller);
    if (__builtin_expect(!block, 0)) return mt_cxx_new_failed(index, bytes, second, caller);
    unlink_for_scan(block);
    mt_trace_record(mt_thread.shard, block, bytes, usable_of(block), __builtin_frame_address(0), true);
    return block;
}

void *mt_record_block(void *block, size_t bytes)
{
    if (!block) return NULL;
    unlink_for_scan(block);
    mt_trace_record(mt_thread.shard, block, bytes, usable_of(block), __builtin_frame_address(0), true);
    return block;
}

void mt_record_free(void *block)
{
    mt_trace_all_freed(mt_thread.shard, block, usable_of(block));
    mt_pools_free(block);
}

void *mt_record_reallocate(void *block, size_t bytes)
{
    struct mt_live_block record;
    size_t old_usable = mt_pools_usable(block);
    bool has_record = mt_trace_detach(block, &record);
    void *moved = mt_pools_reallocate(block, bytes);
    if (!moved) {
        if (has_record) mt_trace_restore(block, &record);
        return NULL;
    }
    /* A block that moves is counted twice for a moment, which may have been the peak; one that stays is not. */
    bool stays = moved == block;
    if (has_record && stays) mt_trace_ended(mt_thread.shard, block, &record, old_usable);
    mt_trace_record(mt_thread.shard, moved, bytes, mt_pools_usable(moved), __builtin_frame_address(0), stays);
    if (has_record && !stays) mt_trace_ended(mt_thread.shard, block, &record, old_usable);
    return moved;
}
