/*
 * Where every block is recorded (MEMTRACK_STACKS=all): its call stack, and the
 * way of the hooks where the pools serve. Called on the thread that allocates
 * or frees, once for each block; takes no lock and, but for stacks, blocks and
 * threads met for the first time, no memory. What is recorded leaves errno as
 * it is: what makes system calls keeps it.
 */
#include "clock.h"
#include "own_memory.h"
#include "pooled.h"
#include "record.h"
#include "shadow.h"
#include "stack_own.h"
#include "trace.h"
#include "trace_thread.h"

#include <errno.h>

#define LOAD(field)         atomic_load_explicit(&(field), memory_order_relaxed)
#define STORE(field, value) atomic_store_explicit(&(field), value, memory_order_relaxed)

/* A signal handler of this thread sees the mark before what it guards, and after it. */
static inline void set_busy(bool is_busy)
{
    atomic_signal_fence(memory_order_seq_cst);
    mt_thread.is_busy = is_busy;
    atomic_signal_fence(memory_order_seq_cst);
}

static __attribute__((noinline)) bool prepare(struct mt_trace_thread *thread)
{
    if (!mt_core_is_on(&mt_core)) return false;
    set_busy(true);
    bool is_ready = mt_trace_prepare(thread) && mt_stack_own_begin(&mt_core, thread->walker);
    if (!is_ready && !thread->has_no_walker)
        mt_trace_lose(MT_LOST_BLOCKS); /* no memory, or another thread is at it */
    if (is_ready) thread->ready_epoch = LOAD(mt_core.epoch) + 1;
    set_busy(false);
    return is_ready;
}

static inline bool is_ready(const struct mt_trace_thread *thread)
{
    return mt_core_is_on(&mt_core) && thread->ready_epoch == LOAD(mt_core.epoch) + 1;
}

/* ---- allocations --------------------------------------------------------------------- */

/* No room for another stack (counted there), or a stack that could not be read. */
static __attribute__((noinline)) void lose_stack(const struct mt_walker *walker)
{
    if (walker->count <= walker->own_count) mt_trace_lose(MT_LOST_BLOCKS);
}

static inline void note_peak_behind(const struct mt_shard *shard)
{
    if (__builtin_expect(mt_stack_is_peak_new(&mt_core, shard), 0)) mt_trace_note_peak_behind(shard);
}

static inline __attribute__((always_inline)) void record(struct mt_trace_thread *thread, struct mt_shard *shard,
                                                         const void *block, uint64_t requested_bytes,
                                                         uint64_t usable_bytes, const uintptr_t *own)
{
    if (__builtin_expect(mt_core.options.number[MT_OPT_STACK_THREADS], 0)) mt_trace_name_thread(thread, shard);
    thread->walker->tag = mt_thread.tag;
    struct mt_stack *stack = mt_stack_own_here(&mt_core, thread->walker, own, (uintptr_t)__ehdr_start,
                                               (uintptr_t)_end);
    if (__builtin_expect(!stack, 0)) {
        lose_stack(thread->walker);
        return;
    }
    uint64_t now_ns = mt_clock_ns(CLOCK_MONOTONIC_COARSE);
    if (!mt_shadow_put(&mt_core, block, mt_shadow_word(stack->id, now_ns, mt_frame_now(&mt_core)))) {
        mt_trace_lose(MT_LOST_BLOCKS);
        return;
    }
    mt_stack_own_allocated(&mt_core, stack, usable_bytes, requested_bytes, now_ns);
    mt_trace_remember_last(thread, shard, block);
}

/* False: in a signal handler that met its thread here, or a thread that cannot record. */
static inline bool begin(struct mt_trace_thread *thread)
{
    if (__builtin_expect(mt_thread.is_busy, 0)) {
        mt_trace_lose(MT_LOST_NESTED);
        return false;
    }
    if (__builtin_expect(!is_ready(thread), 0) && !prepare(thread)) return false;
    set_busy(true);
    return true;
}

static inline __attribute__((always_inline)) void allocated(const void *block, uint64_t requested_bytes,
                                                            uint64_t usable_bytes, const uintptr_t *own)
{
    struct mt_trace_thread *thread = &mt_trace_thread;
    struct mt_shard *shard = mt_thread.shard;
    if (!begin(thread)) return;
    note_peak_behind(shard);
    record(thread, shard, block, requested_bytes, usable_bytes, own);
    set_busy(false);
}

/* For whoever is not on the hot path. */
static __attribute__((noinline)) void record_beside(struct mt_trace_thread *thread, struct mt_shard *shard,
                                                    const void *block, uint64_t requested_bytes,
                                                    uint64_t usable_bytes, const uintptr_t *own)
{
    record(thread, shard, block, requested_bytes, usable_bytes, own);
}

void mt_trace_record(struct mt_shard *shard, const void *block, uint64_t requested_bytes, uint64_t usable_bytes,
                     const uintptr_t *own)
{
    struct mt_trace_thread *thread = &mt_trace_thread;
    if (!begin(thread)) return;
    note_peak_behind(shard);
    record_beside(thread, shard, block, requested_bytes, usable_bytes, own);
    set_busy(false);
}

/* ---- frees ----------------------------------------------------------------------------- */

/* True when the block is older than the frames that the ring still holds. */
static bool is_before_ring(const struct mt_frames *frames, uint64_t now_frame, uint64_t birth_ns)
{
    const struct mt_frame *oldest = &frames->ring[now_frame % MT_FRAME_RING];
    return oldest->end_ns > birth_ns;
}

/* Whole frames between birth and now, at most MT_FRAME_RING; of the birth the low 16 bits are known. */
static uint64_t frames_lived(const struct mt_frames *frames, uint64_t word, uint64_t lived_ns, uint64_t now_ns)
{
    uint64_t now = LOAD(frames->count), lived = (now - word) & 0xffff;
    if (now >= 0x10000 && lived_ns >= UINT64_C(8000000000) && is_before_ring(frames, now, now_ns - lived_ns))
        return MT_FRAME_RING;
    return lived < MT_FRAME_RING ? lived : MT_FRAME_RING;
}

/* The thread's own record of the block's stack; NULL for a thread that has ended, or that finds no memory. */
static inline struct mt_stack *own_record(struct mt_trace_thread *thread, uint32_t id)
{
    if (__builtin_expect(!is_ready(thread), 0) &&
        (thread->has_no_walker || !mt_trace_prepare(thread) || !mt_stack_own_begin(&mt_core, thread->walker)))
        return NULL;
    struct mt_stack *record = mt_stack_known(&mt_core, id);
    if (__builtin_expect(LOAD(record->owner) == thread->walker->number, 1)) return record;
    return mt_stack_own_of(&mt_core, thread->walker, id);
}

/* Of a block that lived for less than a step of time, and for no whole frame. */
static inline void add_shortest_life(struct mt_shard_attribution *counters)
{
    MT_ADD(counters->lifetime_time[0], MT_SCALE);
    MT_ADD(counters->lifetime_frames[0], MT_SCALE);
}

static __attribute__((noinline)) void settle(struct mt_shard *shard, const void *block, uint64_t word,
                                             uint64_t usable_bytes, uint64_t now_ns)
{
    struct mt_trace_thread *thread = &mt_trace_thread;
    const struct mt_frames *frames = &mt_core.segment->frames;
    uint64_t age = mt_shadow_age(word, now_ns), lived_frames = 0;
    struct mt_stack_end end = {.is_temporary = mt_trace_is_last(thread, shard, block),
                               .lifetime_ms = (age << MT_SHADOW_TIME_SHIFT) / 1000000};
    if (LOAD(frames->count)) {
        lived_frames = frames_lived(frames, word, age << MT_SHADOW_TIME_SHIFT, now_ns);
        end.is_same_frame = !lived_frames;
    }
    struct mt_stack *stack = own_record(thread, mt_shadow_stack(word));
    if (__builtin_expect(stack != NULL, 1))
        mt_stack_own_freed(&mt_core, stack, usable_bytes, &end);
    else
        mt_stack_nobody_freed(&mt_core, mt_shadow_stack(word), usable_bytes, &end);
    mt_trace_add_lifetime(shard, age, lived_frames, MT_SCALE);
}

/*
 * The same for a block that lived for less than a step of time and no whole
 * frame, and that the thread's own record counts. False, with nothing done, for another one.
 */
static inline __attribute__((always_inline)) bool settle_short(const struct mt_trace_thread *thread,
                                                               struct mt_shard *shard, const void *block,
                                                               uint64_t word, uint64_t usable_bytes,
                                                               uint64_t now_ns)
{
    uint64_t frame = LOAD(mt_core.segment->frames.count);
    struct mt_stack *record = mt_stack_known(&mt_core, mt_shadow_stack(word));
    bool is_short = !mt_shadow_age(word, now_ns) && !((frame - word) & 0xffff);
    if (!is_short || !shard || !LOAD(shard->attribution) || LOAD(record->owner) != thread->walker->number)
        return false;
    struct mt_stack_end end = {.is_temporary = mt_trace_is_last(thread, shard, block), .is_same_frame = frame != 0};
    mt_stack_own_freed(&mt_core, record, usable_bytes, &end);
    add_shortest_life(mt_trace_counters(shard));
    return true;
}

/* What is recorded until now stood at a peak that was reached since. */
static inline void note_peak(const struct mt_shard *shard)
{
    if (__builtin_expect(mt_stack_is_peak_new(&mt_core, shard), 0)) mt_stack_note_peak(&mt_core, shard);
}

void mt_trace_all_ended(struct mt_shard *shard, const void *block, uint64_t word, uint64_t usable_bytes)
{
    bool was_busy = mt_thread.is_busy;
    set_busy(true);
    note_peak(shard);
    settle(shard, block, word, usable_bytes, mt_clock_ns(CLOCK_MONOTONIC_COARSE));
    set_busy(was_busy);
}

/* In a signal handler that met its thread here. */
static __attribute__((noinline, cold)) bool lose_nested(void)
{
    mt_trace_lose(MT_LOST_NESTED);
    return true;
}

static inline uint64_t detach(const void *block)
{
    uint64_t word = mt_trace_is_usable() ? mt_shadow_take(block) : 0;
    return word && mt_thread.is_busy && lose_nested() ? 0 : word;
}

static inline void restore(const void *block, uint64_t word)
{
    if (word) mt_shadow_put(&mt_core, block, word);
}

static inline __attribute__((always_inline)) void freed(struct mt_shard *shard, const void *block,
                                                        uint64_t usable_bytes)
{
    const struct mt_trace_thread *thread = &mt_trace_thread;
    bool is_thread_ready = is_ready(thread);
    if (__builtin_expect(!is_thread_ready, 0) && !mt_trace_is_usable()) return;
    uint64_t word = mt_shadow_take(block);
    if (!word || (__builtin_expect(mt_thread.is_busy, 0) && lose_nested())) return;
    set_busy(true);
    note_peak(shard);
    uint64_t now_ns = mt_clock_ns(CLOCK_MONOTONIC_COARSE);
    if (!is_thread_ready || !settle_short(thread, shard, block, word, usable_bytes, now_ns))
        settle(shard, block, word, usable_bytes, now_ns);
    set_busy(false);
}

void mt_trace_all_freed(struct mt_shard *shard, const void *block, uint64_t usable_bytes)
{
    freed(shard, block, usable_bytes);
}

/* ---- reallocations ------------------------------------------------------------------------ */

static void begin_resize(const struct mt_shard *shard)
{
    if (!mt_trace_is_usable() || mt_thread.is_busy) return;
    set_busy(true);
    note_peak_behind(shard);
    set_busy(false);
}

static void resized(struct mt_shard *shard, const void *block, uint64_t word, uint64_t old_usable_bytes,
                    uint64_t requested_bytes, uint64_t usable_bytes)
{
    struct mt_trace_thread *thread = &mt_trace_thread;
    bool is_begun = begin(thread);
    if (is_begun) note_peak_behind(shard); /* it shrank; where it grew, the peak has the new size */
    if (word) settle(shard, block, word, old_usable_bytes, mt_clock_ns(CLOCK_MONOTONIC_COARSE));
    if (!is_begun) return;
    record_beside(thread, shard, block, requested_bytes, usable_bytes, __builtin_frame_address(0));
    set_busy(false);
}

static void moved_to(struct mt_shard *shard, const void *block, uint64_t word, uint64_t old_usable_bytes,
                     const void *moved, uint64_t requested_bytes, uint64_t usable_bytes)
{
    struct mt_trace_thread *thread = &mt_trace_thread;
    if (begin(thread)) {
        record_beside(thread, shard, moved, requested_bytes, usable_bytes, __builtin_frame_address(0));
        set_busy(false);
    }
    if (word) mt_trace_all_ended(shard, block, word, old_usable_bytes);
}

/* ---- the hooks' way where the pools serve ---------------------------------------------------- */

_Atomic bool mt_record_is_on;

void mt_record_start(void)
{
    atomic_store_explicit(&mt_record_is_on, true, memory_order_relaxed);
}

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
        allocated(block, bytes, usable_of(block), __builtin_frame_address(0));
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
    allocated(block, bytes, usable_of(block), __builtin_frame_address(0));
    return block;
}

void *mt_record_block(void *block, size_t bytes)
{
    if (!block) return NULL;
    unlink_for_scan(block);
    mt_trace_record(mt_thread.shard, block, bytes, usable_of(block), __builtin_frame_address(0));
    return block;
}

bool mt_record_free(void *block)
{
    struct mt_theap *heap = mt_theap_self;
    uint64_t entry = mt_pagemap_entry(block);
    if (__builtin_expect(heap && (uint16_t)mt_entry_mark(entry) == heap->mark, 1)) {
        struct mt_bin *bin = &heap->bins[mt_entry_bin(entry)];
        freed(mt_thread.shard, block, bin->bytes);
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
    begin_resize(shard);
    uint64_t word = detach(block);
    void *moved = mt_pools_reallocate(block, bytes);
    if (!moved)
        restore(block, word);
    else if (moved == block)
        resized(shard, block, word, old_usable, bytes, usable_of(block));
    else
        moved_to(shard, block, word, old_usable, moved, bytes, usable_of(moved));
    return moved;
}
