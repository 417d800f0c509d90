/*
 * Call stacks where every block is recorded (MEMTRACK_STACKS=all). Called by
 * the hooks on the thread that allocates or frees, once for each block; takes
 * no lock and, but for stacks, blocks and threads met for the first time, no
 * memory. Nothing here touches errno: what makes system calls keeps it.
 */
#include "shadow.h"
#include "stack_own.h"
#include "trace.h"
#include "trace_all.h"
#include "trace_thread.h"

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
    uint64_t now_ns = mt_now_coarse_ns();
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

void *mt_trace_all_allocated(struct mt_shard *shard, void *block, uint64_t requested_bytes, uint64_t usable_bytes)
{
    struct mt_trace_thread *thread = &mt_trace_thread;
    if (!begin(thread)) return block;
    note_peak_behind(shard);
    record(thread, shard, block, requested_bytes, usable_bytes, __builtin_frame_address(0));
    set_busy(false);
    return block;
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
    settle(shard, block, word, usable_bytes, mt_now_coarse_ns());
    set_busy(was_busy);
}

/* In a signal handler that met its thread here. */
static __attribute__((noinline, cold)) bool lose_nested(void)
{
    mt_trace_lose(MT_LOST_NESTED);
    return true;
}

uint64_t mt_trace_all_detach(const void *block)
{
    uint64_t word = mt_trace_is_usable() ? mt_shadow_take(block) : 0;
    return word && mt_thread.is_busy && lose_nested() ? 0 : word;
}

void mt_trace_all_restore(const void *block, uint64_t word)
{
    if (word) mt_shadow_put(&mt_core, block, word);
}

void mt_trace_all_freed(struct mt_shard *shard, const void *block, uint64_t usable_bytes)
{
    const struct mt_trace_thread *thread = &mt_trace_thread;
    bool is_thread_ready = is_ready(thread);
    if (__builtin_expect(!is_thread_ready, 0) && !mt_trace_is_usable()) return;
    uint64_t word = mt_shadow_take(block);
    if (!word || (__builtin_expect(mt_thread.is_busy, 0) && lose_nested())) return;
    set_busy(true);
    note_peak(shard);
    uint64_t now_ns = mt_now_coarse_ns();
    if (!is_thread_ready || !settle_short(thread, shard, block, word, usable_bytes, now_ns))
        settle(shard, block, word, usable_bytes, now_ns);
    set_busy(false);
}

/* ---- reallocations ------------------------------------------------------------------------ */

void mt_trace_all_begin(const struct mt_shard *shard)
{
    if (!mt_trace_is_usable() || mt_thread.is_busy) return;
    set_busy(true);
    note_peak_behind(shard);
    set_busy(false);
}

void mt_trace_all_resized(struct mt_shard *shard, const void *block, uint64_t word, uint64_t old_usable_bytes,
                          uint64_t requested_bytes, uint64_t usable_bytes)
{
    struct mt_trace_thread *thread = &mt_trace_thread;
    bool is_begun = begin(thread);
    if (is_begun) note_peak_behind(shard); /* it shrank; where it grew, the peak has the new size */
    if (word) settle(shard, block, word, old_usable_bytes, mt_now_coarse_ns());
    if (!is_begun) return;
    record_beside(thread, shard, block, requested_bytes, usable_bytes, __builtin_frame_address(0));
    set_busy(false);
}

void mt_trace_all_moved(struct mt_shard *shard, const void *block, uint64_t word, uint64_t old_usable_bytes,
                        const void *moved, uint64_t requested_bytes, uint64_t usable_bytes)
{
    struct mt_trace_thread *thread = &mt_trace_thread;
    if (begin(thread)) {
        record_beside(thread, shard, moved, requested_bytes, usable_bytes, __builtin_frame_address(0));
        set_busy(false);
    }
    if (word) mt_trace_all_ended(shard, block, word, old_usable_bytes);
}
