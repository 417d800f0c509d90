/*
 * Records the call stacks of blocks: what both modes share, and the sampler.
 * Called by the hooks on the thread that allocates or frees. While it works,
 * the thread's busy mark is set: a signal handler that allocates meanwhile is
 * counted, but gets no stack.
 */
#include "trace.h"

#include "learn.h"
#include "pools/pools.h"
#include "shadow.h"
#include "trail.h"
#include "trace_thread.h"

#include <errno.h>
#include <string.h>

#define LOAD(field)         atomic_load_explicit(&(field), memory_order_relaxed)
#define STORE(field, value) atomic_store_explicit(&(field), value, memory_order_relaxed)

_Thread_local struct mt_trace_thread mt_trace_thread;

enum { USUAL_RATE = 512 << 10 };

_Atomic uint32_t mt_trace_live_epoch; /* the core's epoch + 1 that the store of live blocks belongs to */

/* ---- start ------------------------------------------------------------------------- */

enum mt_stacks_mode mt_trace_mode(void)
{
    return mt_core_is_on(&mt_core) ? (enum mt_stacks_mode)mt_core.options.number[MT_OPT_STACKS] : MT_STACKS_OFF;
}

void mt_trace_lose(enum mt_attribution_dropped what)
{
    if (mt_stack_ready(&mt_core))
        atomic_fetch_add_explicit(&mt_core.segment->attribution.lost[what], 1, memory_order_relaxed);
}

static bool start_store(void)
{
    static _Atomic uint32_t starting;
    uint32_t idle = 0, epoch = LOAD(mt_core.epoch) + 1;
    if (!atomic_compare_exchange_strong_explicit(&starting, &idle, 1, memory_order_acquire, memory_order_relaxed))
        return false; /* another thread is at it: this block goes without */
    if (atomic_load_explicit(&mt_trace_live_epoch, memory_order_acquire) != epoch) {
        mt_live_start(&mt_core, mt_trace_mode());
        atomic_store_explicit(&mt_trace_live_epoch, epoch, memory_order_release);
    }
    atomic_store_explicit(&starting, 0, memory_order_release);
    return true;
}

/* Acquire pairs with the release in start_store(). */
static inline bool is_store_ready(void)
{
    return atomic_load_explicit(&mt_trace_live_epoch, memory_order_acquire) == LOAD(mt_core.epoch) + 1 ||
           start_store();
}

static bool take_walker(struct mt_trace_thread *thread)
{
    if (thread->walker) return true;
    if (!thread->has_no_walker) {
        thread->walker = mt_walker_take(&mt_core);
        thread->has_no_walker = !thread->walker;
    }
    if (!thread->walker) mt_trace_lose(MT_LOST_THREADS);
    return thread->walker != NULL;
}

bool mt_trace_prepare(struct mt_trace_thread *thread)
{
    return is_store_ready() && mt_stack_ready(&mt_core) && take_walker(thread);
}

/* ---- allocations --------------------------------------------------------------------- */

void mt_trace_note_peak_behind(const struct mt_shard *shard)
{
    const struct mt_globals *globals = &mt_core.segment->globals;
    if (!shard) {
        if (LOAD(globals->peak_bytes) > LOAD(globals->current_bytes)) mt_stack_note_peak(&mt_core, NULL);
        return;
    }
    int64_t now = LOAD(globals->current_bytes) + LOAD(shard->live_bytes) - LOAD(shard->flushed_bytes);
    int64_t high = now + LOAD(shard->high_bytes) - LOAD(shard->live_bytes);
    if (LOAD(globals->peak_bytes) > now || (LOAD(shard->high_bytes) != INT64_MIN && high > now))
        mt_stack_note_peak(&mt_core, shard);
}

void mt_trace_name_thread(struct mt_trace_thread *thread, const struct mt_shard *shard)
{
    const char *name = shard ? shard->name : "(shared)";
    uint32_t epoch = LOAD(mt_core.epoch) + 1;
    if (thread->walker->thread && thread->name_epoch == epoch &&
        !strncmp(thread->name, name, sizeof thread->name - 1))
        return;
    thread->name_epoch = epoch;
    mt_format(thread->name, sizeof thread->name, "%s", name);
    thread->walker->thread = (uint16_t)mt_stack_thread(&mt_core, thread->name);
    mt_trail_forget(thread->walker);
}

static void add_slack(struct mt_shard *shard, uint64_t usable_bytes, const struct mt_stack_weight *weight,
                      int64_t sign);

static void note_rate(uint64_t rate_bytes)
{
    _Atomic uint64_t *coarsest = &mt_core.segment->attribution.coarsest_rate_bytes;
    uint64_t seen = LOAD(*coarsest);
    while (__builtin_expect(seen < rate_bytes, 0) &&
           !atomic_compare_exchange_weak_explicit(coarsest, &seen, rate_bytes, memory_order_relaxed,
                                                  memory_order_relaxed)) {
    }
}

static void record_sampled(struct mt_shard *shard, const void *block, uint64_t requested_bytes,
                           uint64_t usable_bytes, const struct mt_stack_weight *weight, const uintptr_t *own)
{
    struct mt_trace_thread *thread = &mt_trace_thread;
    mt_trace_note_peak_behind(shard);
    if (mt_core.options.number[MT_OPT_STACK_THREADS]) mt_trace_name_thread(thread, shard);
    thread->walker->tag = mt_thread.tag;
    unsigned depth = mt_walk_from(&mt_core, thread->walker, own, (uintptr_t)__ehdr_start, (uintptr_t)_end);
    struct mt_live_block what = {.stack = mt_stack_of_walk(&mt_core, thread->walker),
                                 .birth_ns = mt_now_coarse_ns(),
                                 .birth_frame = mt_frame_now(&mt_core),
                                 .thread_count = shard ? LOAD(shard->allocation_count) : 0};
    if (!what.stack) { /* no room for another stack (counted there), or a stack that could not be read */
        if (!depth) mt_trace_lose(MT_LOST_BLOCKS);
        return;
    }
    what.weight = *weight;
    if (shard) mt_learn_born(&what, shard, requested_bytes);
    struct mt_live_block old;
    if (mt_live_may_hold(block) && mt_live_take(&mt_core, block, &old)) {
        mt_trace_lose(MT_LOST_BLOCKS); /* it was freed behind our back */
        mt_stack_freed(&mt_core, old.stack, &old.weight, &(struct mt_stack_end){0});
    }
    if (!mt_live_put(&mt_core, block, &what)) {
        mt_trace_lose(MT_LOST_BLOCKS);
        return;
    }
    mt_stack_allocated(&mt_core, what.stack, &what.weight, what.birth_ns);
    add_slack(shard, usable_bytes, &what.weight, 1);
    mt_trace_remember_last(thread, shard, block);
}

static uint64_t base_rate(void)
{
    return mt_core.options.number[MT_OPT_STACK_RATE];
}

/* A finer rate than the usual one was asked for with its cost. */
static bool is_paced(void)
{
    return base_rate() >= USUAL_RATE;
}

static uint64_t *random_state(struct mt_trace_thread *thread)
{
    if (!thread->random_state)
        thread->random_state = ((mt_now_ns() * UINT64_C(0x9e3779b97f4a7c15)) ^ (uint64_t)(uintptr_t)thread) | 1;
    return &thread->random_state;
}

static uint64_t draw_distance(struct mt_trace_thread *thread, uint64_t rate_bytes)
{
    return mt_trace_distance(random_state(thread), rate_bytes);
}

/* In mode sampled. A shard's first mark is drawn when it is first asked, from before that block on. */
static bool passes_mark(struct mt_shard *shard, struct mt_trace_thread *thread, uint64_t requested_bytes)
{
    uint64_t asked = LOAD(shard->requested_bytes), mark = (uint64_t)LOAD(shard->sample_countdown_bytes);
    unsigned doublings = (unsigned)LOAD(shard->sample_doublings);
    thread->rate_bytes = base_rate() << doublings;
    if (!mark) mark = asked - requested_bytes + draw_distance(thread, thread->rate_bytes);
    bool is_passed = asked >= mark;
    if (is_passed) {
        if (is_paced()) doublings = mt_trace_pace(&thread->pace, mt_now_coarse_ns(), doublings);
        STORE(shard->sample_doublings, doublings);
        mark = asked + draw_distance(thread, base_rate() << doublings);
    }
    STORE(shard->sample_countdown_bytes, (int64_t)mark);
    return is_passed;
}

/* A thread without a shard of its own keeps its mark itself. */
static bool is_own_mark_near(struct mt_trace_thread *thread, uint64_t requested_bytes)
{
    if (!thread->mark) thread->mark = draw_distance(thread, base_rate());
    return thread->asked_bytes + requested_bytes >= thread->mark;
}

static bool passes_own_mark(struct mt_trace_thread *thread, uint64_t requested_bytes)
{
    bool is_passed = is_own_mark_near(thread, requested_bytes);
    thread->asked_bytes += requested_bytes;
    thread->rate_bytes = base_rate();
    if (is_passed) thread->mark = thread->asked_bytes + draw_distance(thread, base_rate());
    return is_passed;
}

bool mt_trace_is_near(uint64_t requested_bytes)
{
    return !mt_thread.is_busy && mt_trace_mode() == MT_STACKS_SAMPLED &&
           is_own_mark_near(&mt_trace_thread, requested_bytes);
}

/* True when this block is to be recorded. Nothing is made ready for a process that is never sampled. */
static bool is_due(struct mt_shard *shard, struct mt_trace_thread *thread, uint64_t requested_bytes)
{
    bool is_on = mt_core.options.number[MT_OPT_STACKS] == MT_STACKS_SAMPLED;
    if (!shard && is_on) return passes_own_mark(thread, requested_bytes);
    if (!is_on && shard) STORE(shard->sample_countdown_bytes, INT64_MAX);
    return is_on && passes_mark(shard, thread, requested_bytes);
}

__attribute__((noinline)) void mt_trace_allocated(struct mt_shard *shard, const void *block,
                                                  uint64_t requested_bytes, uint64_t usable_bytes)
{
    struct mt_trace_thread *thread = &mt_trace_thread;
    if (!mt_core_is_on(&mt_core)) return;
    if (mt_core.options.number[MT_OPT_STACKS] == MT_STACKS_ALL) {
        mt_trace_record(shard, block, requested_bytes, usable_bytes, __builtin_frame_address(0));
        return;
    }
    if (mt_thread.is_busy) return;
    int saved = errno;
    mt_thread.is_busy = true;
    if (is_due(shard, thread, requested_bytes) && mt_trace_prepare(thread)) {
        struct mt_stack_weight weight = mt_trace_weight(requested_bytes, usable_bytes, thread->rate_bytes);
        note_rate(thread->rate_bytes);
        record_sampled(shard, block, requested_bytes, usable_bytes, &weight, __builtin_frame_address(0));
    }
    mt_thread.is_busy = false;
    errno = saved;
}

/* How far away the next one is. A rate finer than the usual one was asked for with its cost. */
static void choose_next_large(struct mt_trace_thread *thread, struct mt_large_sampler *sampler)
{
    struct mt_trace_pace pace = {sampler->tick, sampler->count};
    unsigned doublings = sampler->doublings;
    if (is_paced()) doublings = mt_trace_pace_large(&pace, mt_now_coarse_ns(), doublings);
    sampler->tick = pace.tick;
    sampler->count = pace.count;
    sampler->doublings = doublings;
    sampler->rate_bytes = base_rate() << doublings;
    sampler->left_bytes = (int64_t)draw_distance(thread, sampler->rate_bytes);
}

__attribute__((noinline)) void mt_trace_large_allocated(struct mt_shard *shard, const void *block,
                                                        uint64_t requested_bytes, uint64_t usable_bytes,
                                                        struct mt_large_sampler *sampler)
{
    struct mt_trace_thread *thread = &mt_trace_thread;
    if (mt_thread.is_busy || !mt_core_is_on(&mt_core)) {
        sampler->left_bytes = sampler->rate_bytes = 0; /* the next one instead */
        return;
    }
    int saved = errno;
    mt_thread.is_busy = true;
    struct mt_stack_weight weight = sampler->rate_bytes
                                        ? mt_trace_weight(requested_bytes, usable_bytes, sampler->rate_bytes)
                                        : mt_trace_weight_of(requested_bytes, usable_bytes, 1);
    choose_next_large(thread, sampler);
    if (mt_trace_prepare(thread))
        record_sampled(shard, block, requested_bytes, usable_bytes, &weight, __builtin_frame_address(0));
    mt_thread.is_busy = false;
    errno = saved;
}

/* ---- frees ------------------------------------------------------------------------------ */

static uint64_t frames_lived(const struct mt_live_block *what)
{
    uint64_t lived = LOAD(mt_core.segment->frames.count) - what->birth_frame;
    return lived < MT_FRAME_RING ? lived : MT_FRAME_RING;
}

static unsigned bucket_of(uint64_t value)
{
    unsigned bucket = value ? 64u - (unsigned)__builtin_clzll(value) : 0;
    return bucket < MT_LIFETIME_BUCKETS ? bucket : MT_LIFETIME_BUCKETS - 1;
}

struct mt_shard_attribution *mt_trace_counters_slow(struct mt_shard *shard)
{
    uint64_t offset = 0, made = mt_core_alloc(&mt_core, sizeof(struct mt_shard_attribution));
    /* Release: readers find it zeroed. Shard 0 may be given one by several threads. */
    if (atomic_compare_exchange_strong_explicit(&shard->attribution, &offset, made, memory_order_release,
                                                memory_order_relaxed))
        offset = made;
    return offset ? (struct mt_shard_attribution *)(void *)((char *)mt_core.segment + offset) : NULL;
}

/* What the allocator gave beyond what was asked for: added when a sampled block comes, taken away when it goes. */
static void add_slack(struct mt_shard *shard, uint64_t usable_bytes, const struct mt_stack_weight *weight,
                      int64_t sign)
{
    unsigned class = mt_class_of(usable_bytes);
    if (class >= MT_POOL_CLASSES || weight->count <= 0) return;
    struct mt_shard_attribution *counters = mt_trace_counters(shard ? shard : &mt_core.segment->shards[0]);
    if (!counters) return;
    int64_t slack = weight->live_bytes - (int64_t)weight->total_bytes;
    double blocks = (double)weight->count / MT_SCALE, one = (double)slack / blocks;
    int64_t variance = (int64_t)((blocks * blocks - blocks) * one * one);
    atomic_fetch_add_explicit(&counters->live_slack_bytes[class], sign * slack, memory_order_relaxed);
    atomic_fetch_add_explicit(&counters->live_slack_variance, sign * variance, memory_order_relaxed);
}

/* Threads without a shard of their own share shard 0. */
void mt_trace_add_lifetime(struct mt_shard *shard, uint64_t time, uint64_t frames, uint64_t count)
{
    struct mt_shard_attribution *counters = mt_trace_counters(shard ? shard : &mt_core.segment->shards[0]);
    if (!counters) return;
    _Atomic uint64_t *in_time = &counters->lifetime_time[bucket_of(time)];
    _Atomic uint64_t *in_frames = &counters->lifetime_frames[bucket_of(frames)];
    if (!shard) {
        atomic_fetch_add_explicit(in_time, count, memory_order_relaxed);
        atomic_fetch_add_explicit(in_frames, count, memory_order_relaxed);
        return;
    }
    STORE(*in_time, LOAD(*in_time) + count);
    STORE(*in_frames, LOAD(*in_frames) + count);
}

static void settle(struct mt_shard *shard, const void *block, struct mt_live_block *what, uint64_t usable_bytes)
{
    uint64_t lived_ns = mt_now_coarse_ns() - what->birth_ns, frames = frames_lived(what);
    struct mt_stack_end end = {.lifetime_ms = lived_ns / 1000000,
                               .is_same_frame = !frames && LOAD(mt_core.segment->frames.count),
                               .is_temporary = mt_trace_is_last(&mt_trace_thread, shard, block)};
    mt_stack_note_peak(&mt_core, shard);
    mt_stack_freed(&mt_core, what->stack, &what->weight, &end);
    mt_trace_add_lifetime(shard, lived_ns >> MT_SHADOW_TIME_SHIFT, frames, (uint64_t)what->weight.count);
    add_slack(shard, usable_bytes, &what->weight, -1);
    mt_learn_died(what, shard, frames);
}

bool mt_trace_detach(const void *block, struct mt_live_block *what)
{
    if (!mt_trace_is_usable()) return false;
    if (mt_thread.is_busy) { /* in a signal handler that met its thread here */
        if (mt_trace_mode() == MT_STACKS_ALL && mt_live_take(&mt_core, block, what)) mt_trace_lose(MT_LOST_NESTED);
        return false;
    }
    mt_thread.is_busy = true;
    bool found = mt_live_take(&mt_core, block, what);
    mt_thread.is_busy = false;
    return found;
}

void mt_trace_restore(const void *block, const struct mt_live_block *what)
{
    bool was_busy = mt_thread_set_busy(true);
    mt_live_put(&mt_core, block, what);
    mt_thread.is_busy = was_busy;
}

void mt_trace_ended(struct mt_shard *shard, const void *block, struct mt_live_block *what, uint64_t usable_bytes)
{
    if (what->is_exact) {
        mt_trace_all_ended(shard, block, mt_shadow_word(what->stack, what->birth_ns, what->birth_frame),
                           usable_bytes);
        return;
    }
    int saved = errno;
    bool was_busy = mt_thread_set_busy(true);
    settle(shard, block, what, usable_bytes);
    mt_thread.is_busy = was_busy;
    errno = saved;
}

__attribute__((noinline)) void mt_trace_freed(struct mt_shard *shard, const void *block, uint64_t usable_bytes)
{
    struct mt_live_block what;
    if (mt_core.options.number[MT_OPT_STACKS] == MT_STACKS_ALL)
        mt_trace_all_freed(shard, block, usable_bytes);
    else if (mt_trace_detach(block, &what))
        mt_trace_ended(shard, block, &what, usable_bytes);
}

/* ---- life ---------------------------------------------------------------------------------- */

void mt_trace_closing(bool begins)
{
    if (!mt_core_is_on(&mt_core)) return;
    int saved = errno;
    if (!begins) mt_walk_forget(&mt_core);
    if (mt_trace_thread.walker) mt_trace_thread.walker->may_close = begins;
    mt_walk_closing(&mt_core, begins);
    errno = saved;
}

void mt_trace_thread_end(void)
{
    struct mt_trace_thread *thread = &mt_trace_thread;
    if (thread->walker && mt_core_is_on(&mt_core)) mt_walker_give_back(&mt_core, thread->walker);
    thread->walker = NULL;
    thread->ready_epoch = 0;
    thread->has_no_walker = true;
}
