/*
 * Frames: the thread that ends a frame reads what all threads counted, writes
 * one row of the ring and the histograms. Any thread may present; one at a
 * time writes.
 */
#include "frame_stacks.h"
#include "lane.h"
#include "segment.h"
#include "shard.h"

#include <string.h>

#define LOAD(field)             atomic_load_explicit(&(field), memory_order_relaxed)
#define STORE(field, value)     atomic_store_explicit(&(field), value, memory_order_relaxed)
#define FETCH_ADD(field, value) atomic_fetch_add_explicit(&(field), value, memory_order_relaxed)

enum { FRAMES_AUTO, FRAMES_VULKAN, FRAMES_GL, FRAMES_API, FRAMES_OFF }; /* the choices of MEMTRACK_FRAMES */

static bool is_source_allowed(const struct mt_core *core, enum mt_frame_source source)
{
    switch (core->options.number[MT_OPT_FRAMES]) {
    case FRAMES_AUTO: return true;
    case FRAMES_VULKAN: return source == MT_FRAME_VULKAN;
    case FRAMES_GL: return source > MT_FRAME_VULKAN && source < MT_FRAME_API;
    case FRAMES_API: return source == MT_FRAME_API;
    default: return false;
    }
}

static void mark_start(struct mt_core *core);

bool mt_frame_begin(struct mt_core *core, enum mt_frame_source source)
{
    if (!mt_core_ready(core) || !is_source_allowed(core, source)) return false;
    struct mt_frames *frames = &core->segment->frames;
    uint32_t seen = LOAD(frames->source);
    if (!mt_segment_commit_table(core, MT_TABLE_FRAMES)) return false;
    while (seen < (uint32_t)source) {
        if (!atomic_compare_exchange_weak_explicit(&frames->source, &seen, source, memory_order_acq_rel,
                                                   memory_order_relaxed))
            continue;
        if (seen == MT_FRAME_NONE) mark_start(core);
        seen = source;
    }
    if (seen == (uint32_t)source) return true;
    FETCH_ADD(frames->ignored_presents, 1);
    return false;
}

/*
 * What a shard counted. Adding up its cells takes time, so the sums of a shard whose bytes are what they were at
 * the last frame are taken from there (blocks of 0 bytes that came and went come with a later frame). is_alone: no
 * other thread is here.
 */
static struct mt_shard_counts shard_counts(const struct mt_segment *segment, struct mt_shard *shard, bool is_alone)
{
    _Atomic uint64_t *last = shard->frame_counts;
    uint64_t requested = LOAD(shard->requested_bytes), live = (uint64_t)LOAD(shard->live_bytes);
    if (is_alone && LOAD(last[0]) == requested && LOAD(last[1]) == live)
        return (struct mt_shard_counts){LOAD(last[2]), LOAD(last[3])};
    struct mt_shard_counts counts = mt_shard_counts(segment, shard);
    if (!is_alone) return counts;
    STORE(last[0], requested);
    STORE(last[1], live);
    STORE(last[2], counts.allocation_count);
    STORE(last[3], counts.free_count);
    return counts;
}

static void sum_cpu(struct mt_segment *segment, struct mt_frame *now, bool is_alone)
{
    unsigned limit = LOAD(segment->shard_limit);
    now->current_bytes = (int64_t)segment->globals.inherited_bytes;
    for (unsigned i = 0; i < limit && i < MT_SHARD_MAX; i++) {
        struct mt_shard *shard = &segment->shards[i];
        struct mt_shard_counts counts = shard_counts(segment, shard, is_alone);
        now->allocation_count += counts.allocation_count;
        now->free_count += counts.free_count;
        now->requested_bytes += LOAD(shard->requested_bytes);
        now->current_bytes += LOAD(shard->live_bytes);
    }
}

/* The rows of device heaps are few among many; a frame looks at no other. */
static void sum_devices(const struct mt_segment *segment, struct mt_frame *now)
{
    for (unsigned word = 0; word < MT_HEAP_MAX / 64; word++) {
        for (uint64_t bits = LOAD(segment->device_heaps[word]); bits; bits &= bits - 1)
            mt_heap_add_totals(segment, word * 64 + (unsigned)__builtin_ctzll(bits), &now->device_allocation_count,
                               &now->device_bytes);
    }
}

/* Turns the totals in *now into what came since the last frame, and remembers the totals. */
static void subtract_last(struct mt_frames *frames, struct mt_frame *now)
{
    struct mt_frame total = *now;
    now->allocation_count -= frames->last_allocation_count;
    now->free_count -= frames->last_free_count;
    now->requested_bytes -= frames->last_requested_bytes;
    now->device_allocation_count -= frames->last_device_allocation_count;
    now->device_bytes -= frames->last_device_bytes;
    now->device_call_ns -= frames->last_device_call_ns;
    now->duration_ns = now->end_ns - LOAD(frames->last_ns);
    frames->last_allocation_count = total.allocation_count;
    frames->last_free_count = total.free_count;
    frames->last_requested_bytes = total.requested_bytes;
    frames->last_device_allocation_count = total.device_allocation_count;
    frames->last_device_bytes = total.device_bytes;
    frames->last_device_call_ns = total.device_call_ns;
    STORE(frames->last_ns, now->end_ns);
}

static void take_totals(struct mt_core *core, struct mt_frame *now, bool is_alone)
{
    memset(now, 0, sizeof *now);
    now->end_ns = mt_now_ns();
    sum_cpu(core->segment, now, is_alone);
    sum_devices(core->segment, now);
    now->device_call_ns = mt_lanes_call_ns(core->segment);
}

/* What was allocated before the first presentation call is loading, not a frame. */
static void mark_start(struct mt_core *core)
{
    struct mt_frames *frames = &core->segment->frames;
    struct mt_frame now;
    take_totals(core, &now, false);
    STORE(frames->last_ns, now.end_ns);
    STORE(frames->first_ns, now.end_ns);
    subtract_last(frames, &now);
}

/* A row is not valid while it is written: no store behind this one comes before it. Pairs with the reader, who
 * takes the index first and again last. */
static void hide(_Atomic uint64_t *index)
{
    atomic_exchange_explicit(index, 0, memory_order_acq_rel);
}

static void write_row(struct mt_frame *row, const struct mt_frame *frame, uint64_t index)
{
    hide(&row->index);
    memcpy((char *)row + sizeof row->index, (const char *)frame + sizeof frame->index,
           sizeof *row - sizeof row->index);
    atomic_store_explicit(&row->index, index, memory_order_release);
}

typedef bool is_before(const struct mt_frame *a, const struct mt_frame *b);

static bool allocates_more(const struct mt_frame *a, const struct mt_frame *b)
{
    if (a->allocation_count != b->allocation_count) return a->allocation_count > b->allocation_count;
    return a->duration_ns > b->duration_ns;
}

static bool lasts_longer(const struct mt_frame *a, const struct mt_frame *b)
{
    return a->duration_ns > b->duration_ns;
}

static bool is_kept(const struct mt_kept_frame *list, const struct mt_frame *frame, is_before *before)
{
    const struct mt_frame *last = &list[MT_WORST_FRAMES - 1].frame;
    return !LOAD(last->index) || before(frame, last);
}

static void write_kept(struct mt_kept_frame *row, const struct mt_kept_frame *kept, uint64_t index)
{
    hide(&row->frame.index);
    memcpy((char *)row + sizeof index, (const char *)kept + sizeof index, sizeof *row - sizeof index);
    atomic_store_explicit(&row->frame.index, index, memory_order_release);
}

/* The frames of a list are kept in order. */
static void keep(struct mt_kept_frame *list, const struct mt_kept_frame *kept, uint64_t index, is_before *before)
{
    int at = MT_WORST_FRAMES - 1;
    for (; at > 0; at--) {
        const struct mt_kept_frame *above = &list[at - 1];
        if (LOAD(above->frame.index) && !before(&kept->frame, &above->frame)) break;
        if (LOAD(above->frame.index)) write_kept(&list[at], above, LOAD(above->frame.index));
    }
    write_kept(&list[at], kept, index);
}

/* Most frames are in neither list, and nobody looks at their stacks. */
static void keep_where_due(struct mt_core *core, const struct mt_frame *frame, uint64_t index)
{
    struct mt_frames *frames = &core->segment->frames;
    bool is_worst = is_kept(frames->worst, frame, allocates_more);
    bool is_longest = is_kept(frames->longest, frame, lasts_longer);
    if (!is_worst && !is_longest) return;
    struct mt_kept_frame kept = {.frame = *frame};
    mt_frame_stacks_collect(core, &kept, index);
    if (is_worst) keep(frames->worst, &kept, index, allocates_more);
    if (is_longest) keep(frames->longest, &kept, index, lasts_longer);
}

static void record(struct mt_core *core, const struct mt_frame *frame)
{
    struct mt_frames *frames = &core->segment->frames;
    uint64_t index = LOAD(frames->count) + 1;
    write_row(&frames->ring[(index - 1) % MT_FRAME_RING], frame, index);
    keep_where_due(core, frame, index);
    mt_frame_stacks_begin_next(core, index);
    if (!frame->allocation_count) STORE(frames->zero_allocation_frames, LOAD(frames->zero_allocation_frames) + 1);
    mt_histogram_add_alone(&frames->allocations, frame->allocation_count);
    mt_histogram_add_alone(&frames->frees, frame->free_count);
    mt_histogram_add_alone(&frames->bytes, frame->requested_bytes);
    mt_histogram_add_alone(&frames->duration, frame->duration_ns);
    atomic_store_explicit(&frames->count, index, memory_order_release);
}

void mt_frame_end(struct mt_core *core, enum mt_frame_source source)
{
    if (!mt_core_ready(core)) return;
    struct mt_frames *frames = &core->segment->frames;
    if (LOAD(frames->source) != (uint32_t)source) return; /* an outer source appeared meanwhile */
    uint32_t idle = 0;
    if (!atomic_compare_exchange_strong_explicit(&frames->busy, &idle, 1, memory_order_acquire,
                                                 memory_order_relaxed)) {
        mt_core_drop(core, MT_DROPPED_FRAMES);
        return;
    }
    struct mt_frame now;
    take_totals(core, &now, true);
    subtract_last(frames, &now);
    record(core, &now);
    atomic_store_explicit(&frames->busy, 0, memory_order_release); /* pairs with the acquire above */
}

void mt_frame_mark(struct mt_core *core)
{
    if (!mt_core_ready(core)) return;
    bool is_first = LOAD(core->segment->frames.source) == MT_FRAME_NONE;
    if (mt_frame_begin(core, MT_FRAME_API) && !is_first) mt_frame_end(core, MT_FRAME_API);
}
