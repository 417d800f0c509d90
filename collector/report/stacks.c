/*
 * Copies the stack table, the modules and the lifetimes of a segment. Trusts
 * no offset and no length in it. One thread; takes memory from malloc.
 */
#include "stacks.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define GET(field) atomic_load_explicit(&(field), memory_order_relaxed)

/* A record that is being changed is read again so many times, then taken as it is. */
enum { TRIES = 8 };

static int read_range(const struct mt_segment_file *file, uint64_t offset, void *buffer, uint64_t bytes)
{
    if (offset < sizeof(struct mt_segment) || bytes > file->file_bytes || offset > file->file_bytes - bytes)
        return -EINVAL;
    return mt_segment_file_read(file, offset, buffer, (size_t)bytes);
}

static int read_head(struct mt_stacks *stacks, const struct mt_segment_file *file, struct mt_attribution *head)
{
    uint64_t at = offsetof(struct mt_segment, attribution);
    enum { FRONT = offsetof(struct mt_attribution, mode), BACK = offsetof(struct mt_attribution, chunks) };
    int error = mt_segment_file_read(file, at + FRONT, (char *)head + FRONT, BACK - FRONT);
    if (!error)
        error = mt_segment_file_read(file, at + offsetof(struct mt_attribution, thread_names), head->thread_names,
                                     sizeof head->thread_names);
    if (error) return error;
    stacks->mode = GET(head->mode);
    stacks->rate_bytes = head->rate_bytes;
    stacks->coarsest_rate_bytes = GET(head->coarsest_rate_bytes);
    if (stacks->coarsest_rate_bytes < head->rate_bytes) stacks->coarsest_rate_bytes = head->rate_bytes;
    stacks->peak_epoch = GET(head->peak_epoch);
    stacks->noted_peak_bytes = GET(head->noted_peak_bytes);
    stacks->leaks_state = GET(head->leaks_state);
    stacks->leak_count = head->leak_count;
    stacks->leaks_reachable = head->leaks_reachable;
    for (unsigned i = 0; i < MT_LOST_COUNT; i++) stacks->lost[i] = GET(head->lost[i]);
    memcpy(stacks->thread_names, head->thread_names, sizeof stacks->thread_names);
    for (unsigned i = 0; i < MT_THREAD_NAMES; i++)
        stacks->thread_names[i].name[sizeof stacks->thread_names[i].name - 1] = 0;
    return 0;
}

/* ---- stacks --------------------------------------------------------------------- */

static int read_chunk(const struct mt_segment_file *file, uint64_t offset, struct mt_stack *chunk)
{
    int error = read_range(file, offset, chunk, MT_STACK_CHUNK * sizeof *chunk);
    for (unsigned i = 0; i < MT_STACK_CHUNK && !error; i++)
        for (unsigned tries = 0; (GET(chunk[i].lock) & 1) && tries < TRIES && !error; tries++)
            error = read_range(file, offset + i * sizeof *chunk, &chunk[i], sizeof *chunk);
    return error;
}

static int read_frames(const struct mt_segment_file *file, struct mt_stacks *stacks)
{
    size_t words = 0;
    for (size_t i = 0; i < stacks->count; i++) {
        if (stacks->stacks[i].record.depth > MT_STACK_DEPTH_MAX) return -EINVAL;
        words += stacks->stacks[i].record.depth;
    }
    stacks->frame_words = malloc((words + 1) * sizeof(uint64_t));
    if (!stacks->frame_words) return -ENOMEM;
    uint64_t *at = stacks->frame_words;
    for (size_t i = 0; i < stacks->count; i++) {
        struct mt_stack_copy *copy = &stacks->stacks[i];
        int error = read_range(file, (uint64_t)copy->record.frames * sizeof(uint64_t), at,
                               copy->record.depth * sizeof(uint64_t));
        if (error) return error;
        copy->frames = at;
        at += copy->record.depth;
    }
    return 0;
}

/* Records without frames were made by a thread that found the same stack of another one. */
static void keep(struct mt_stacks *stacks, const struct mt_stack *chunk, uint32_t first_id, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!chunk[i].depth || !chunk[i].frames) continue;
        struct mt_stack_copy *copy = &stacks->stacks[stacks->count++];
        copy->record = chunk[i];
        copy->id = first_id + i;
        copy->max_error_bytes = 0;
    }
}

static int read_stacks(struct mt_stacks *stacks, const struct mt_segment_file *file, uint32_t used)
{
    if (used > MT_STACK_CHUNK * MT_STACK_CHUNKS) return -EINVAL;
    uint32_t chunks = (used + MT_STACK_CHUNK - 1) / MT_STACK_CHUNK;
    uint64_t *offsets = calloc(chunks + 1, sizeof *offsets);
    struct mt_stack *chunk = aligned_alloc(64, MT_STACK_CHUNK * sizeof *chunk);
    stacks->stacks = aligned_alloc(64, (used + 1) * sizeof *stacks->stacks);
    int error = offsets && chunk && stacks->stacks ? 0 : -ENOMEM;
    uint64_t table = offsetof(struct mt_segment, attribution) + offsetof(struct mt_attribution, chunks);
    if (!error && chunks) error = mt_segment_file_read(file, table, offsets, chunks * sizeof *offsets);
    for (uint32_t i = 0; i < chunks && !error; i++) {
        uint32_t left = used - i * MT_STACK_CHUNK;
        if (!offsets[i]) continue; /* being added just now */
        error = read_chunk(file, offsets[i], chunk);
        if (!error) keep(stacks, chunk, i * MT_STACK_CHUNK + 1, left < MT_STACK_CHUNK ? left : MT_STACK_CHUNK);
    }
    free(offsets);
    free(chunk);
    return error ? error : read_frames(file, stacks);
}

/* ---- twins ------------------------------------------------------------------------- */

/* All that is not since the newest peak goes to the part that stands at it. */
static void settle(struct mt_stack *record, uint32_t epoch)
{
    if (record->epoch == epoch) return;
    record->at_peak_bytes += record->since_bytes;
    record->at_peak_count += record->since_count;
    record->since_bytes = record->since_count = 0;
    record->epoch = epoch;
}

static void raise_max(struct mt_stack *record, int64_t bytes, int64_t count)
{
    if (bytes <= record->max_bytes) return;
    record->max_bytes = bytes;
    record->max_count = count;
}

static void fold(struct mt_stack *record, struct mt_stack *twin, uint32_t epoch)
{
    settle(record, epoch);
    settle(twin, epoch);
    record->at_peak_bytes += twin->at_peak_bytes;
    record->at_peak_count += twin->at_peak_count;
    record->since_bytes += twin->since_bytes;
    record->since_count += twin->since_count;
    record->total_bytes += twin->total_bytes;
    record->total_count += twin->total_count;
    record->temporary_count += twin->temporary_count;
    record->same_frame_count += twin->same_frame_count;
    record->lifetime_ms += twin->lifetime_ms;
    if (twin->last_ns > record->last_ns) record->last_ns = twin->last_ns;
    if (GET(twin->owner) == MT_STACK_OF_NOBODY) raise_max(record, twin->max_bytes, twin->max_count);
}

static void fold_chunk(struct mt_stacks *stacks, struct mt_stack *chunk, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct mt_stack_copy *found = chunk[i].twin_of ? mt_stacks_find(stacks, chunk[i].twin_of) : NULL;
        if (!found) continue;
        struct mt_stack_copy *copy = (struct mt_stack_copy *)(uintptr_t)found;
        fold(&copy->record, &chunk[i], stacks->peak_epoch);
        if (GET(chunk[i].owner) != MT_STACK_OF_NOBODY) copy->max_error_bytes += MT_STACK_HAND_OVER;
    }
}

static int fold_twins(struct mt_stacks *stacks, const struct mt_segment_file *file, uint32_t used)
{
    uint32_t chunks = (used + MT_STACK_CHUNK - 1) / MT_STACK_CHUNK;
    uint64_t *offsets = calloc(chunks + 1, sizeof *offsets);
    struct mt_stack *chunk = aligned_alloc(64, MT_STACK_CHUNK * sizeof *chunk);
    int error = offsets && chunk ? 0 : -ENOMEM;
    uint64_t table = offsetof(struct mt_segment, attribution) + offsetof(struct mt_attribution, chunks);
    if (!error && chunks) error = mt_segment_file_read(file, table, offsets, chunks * sizeof *offsets);
    for (uint32_t i = 0; i < chunks && !error; i++) {
        if (!offsets[i]) continue;
        error = read_chunk(file, offsets[i], chunk);
        if (!error) fold_chunk(stacks, chunk, MT_STACK_CHUNK);
    }
    free(offsets);
    free(chunk);
    return error;
}

/* In mode all the fields of the sampler are used for something else: from here on they say what they mean. */
static int finish_exact(struct mt_stacks *stacks, const struct mt_segment_file *file, uint32_t used)
{
    for (size_t i = 0; i < stacks->count; i++) {
        struct mt_stack *record = &stacks->stacks[i].record;
        if (!GET(record->is_shared)) continue;
        record->max_bytes = record->max_count = 0; /* the twins know */
        stacks->stacks[i].max_error_bytes = MT_STACK_HAND_OVER;
    }
    int error = fold_twins(stacks, file, used);
    for (size_t i = 0; i < stacks->count && !error; i++) {
        struct mt_stack *record = &stacks->stacks[i].record;
        raise_max(record, record->at_peak_bytes + record->since_bytes, record->at_peak_count + record->since_count);
        record->sample_count = record->total_count / MT_SCALE;
        record->live_variance = 0;
    }
    return error;
}

/* ---- modules and lifetimes -------------------------------------------------------- */

static int read_modules(struct mt_stacks *stacks, const struct mt_segment_file *file)
{
    uint64_t at = offsetof(struct mt_segment, attribution) + offsetof(struct mt_attribution, modules);
    uint32_t count = 0;
    int error = mt_segment_file_read(file, at + offsetof(struct mt_modules, count), &count, sizeof count);
    if (error) return error;
    if (count > MT_MODULE_MAX) return -EINVAL;
    stacks->modules = calloc(count + 1, sizeof *stacks->modules);
    if (!stacks->modules) return -ENOMEM;
    if (count)
        error = mt_segment_file_read(file, at + offsetof(struct mt_modules, rows), stacks->modules,
                                     count * sizeof *stacks->modules);
    stacks->module_count = count;
    for (uint32_t i = 0; i < count; i++) {
        struct mt_module *row = &stacks->modules[i];
        row->path[sizeof row->path - 1] = 0;
        if (row->build_id_bytes > sizeof row->build_id) row->build_id_bytes = 0;
    }
    return error;
}

static void add_counters(struct mt_stacks *stacks, const struct mt_shard_attribution *part)
{
    for (unsigned i = 0; i < MT_LIFETIME_BUCKETS; i++) {
        stacks->lifetime_time[i] += GET(part->lifetime_time[i]);
        stacks->lifetime_frames[i] += GET(part->lifetime_frames[i]);
    }
    for (unsigned i = 0; i < MT_POOL_CLASSES; i++) stacks->live_slack_bytes[i] += GET(part->live_slack_bytes[i]);
    stacks->live_slack_variance += GET(part->live_slack_variance);
}

static int read_counters(struct mt_stacks *stacks, const struct mt_segment_file *file,
                         const struct mt_shard *shards, uint32_t shard_count)
{
    struct mt_shard_attribution *part = malloc(sizeof *part);
    int error = part ? 0 : -ENOMEM;
    for (uint32_t i = 0; i < shard_count && !error; i++) {
        uint64_t offset = GET(shards[i].attribution);
        if (!offset) continue;
        error = read_range(file, offset, part, sizeof *part);
        if (!error) add_counters(stacks, part);
    }
    free(part);
    return error;
}

static int read_leaks(struct mt_stacks *stacks, const struct mt_segment_file *file, uint64_t offset)
{
    if (stacks->leaks_state != MT_LEAKS_DONE) return 0;
    if (stacks->leak_count > MT_STACK_CHUNK * MT_STACK_CHUNKS + 1) return -EINVAL;
    stacks->leaks = calloc(stacks->leak_count + 1, sizeof *stacks->leaks);
    if (!stacks->leaks) return -ENOMEM;
    return read_range(file, offset, stacks->leaks, stacks->leak_count * sizeof *stacks->leaks);
}

int mt_stacks_take(struct mt_stacks *stacks, const struct mt_segment_file *file, const struct mt_shard *shards,
                   uint32_t shard_count)
{
    memset(stacks, 0, sizeof *stacks);
    struct mt_attribution *head = aligned_alloc(4096, sizeof *head);
    if (!head) return -ENOMEM;
    int error = read_head(stacks, file, head);
    uint32_t used = GET(head->used_stacks);
    uint64_t leaks = head->leaks;
    free(head);
    if (!error) error = read_counters(stacks, file, shards, shard_count);
    if (!error) error = read_modules(stacks, file);
    if (!error && stacks->mode != MT_STACKS_OFF) error = read_stacks(stacks, file, used);
    if (!error && stacks->mode == MT_STACKS_ALL) error = finish_exact(stacks, file, used);
    if (!error) error = read_leaks(stacks, file, leaks);
    if (error) mt_stacks_free(stacks);
    return error;
}

void mt_stacks_free(struct mt_stacks *stacks)
{
    free(stacks->stacks);
    free(stacks->modules);
    free(stacks->frame_words);
    free(stacks->leaks);
    memset(stacks, 0, sizeof *stacks);
}

/* ---- questions ---------------------------------------------------------------------- */

const struct mt_stack_copy *mt_stacks_find(const struct mt_stacks *stacks, uint32_t id)
{
    size_t low = 0, high = stacks->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (stacks->stacks[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < stacks->count && stacks->stacks[low].id == id ? &stacks->stacks[low] : NULL;
}

const struct mt_module *mt_stacks_module(const struct mt_stacks *stacks, uint64_t address, uint32_t generation)
{
    for (size_t i = stacks->module_count; i-- > 0;) {
        const struct mt_module *row = &stacks->modules[i];
        uint32_t end = GET(row->end_generation);
        if (address < row->start || address >= row->end || generation < row->first_generation) continue;
        if (!end || generation < end) return row;
    }
    return NULL;
}

int64_t mt_stack_live_bytes(const struct mt_stack *stack)
{
    return stack->at_peak_bytes + stack->since_bytes;
}

double mt_stack_live_count(const struct mt_stack *stack)
{
    return (double)(stack->at_peak_count + stack->since_count) / MT_SCALE;
}

/* True when the record's since_ part belongs to the peak too. */
static bool since_is_at_peak(const struct mt_stacks *stacks, const struct mt_stack *stack, int64_t peak_bytes)
{
    bool is_at_peak_now = peak_bytes > stacks->noted_peak_bytes; /* nothing was freed since it was reached */
    return is_at_peak_now || stack->epoch != stacks->peak_epoch;
}

int64_t mt_stack_peak_bytes(const struct mt_stacks *stacks, const struct mt_stack *stack, int64_t peak_bytes)
{
    return stack->at_peak_bytes + (since_is_at_peak(stacks, stack, peak_bytes) ? stack->since_bytes : 0);
}

int64_t mt_stack_peak_count(const struct mt_stacks *stacks, const struct mt_stack *stack, int64_t peak_bytes)
{
    return stack->at_peak_count + (since_is_at_peak(stacks, stack, peak_bytes) ? stack->since_count : 0);
}

int64_t mt_stack_error_bytes(const struct mt_stack *stack)
{
    if (stack->live_variance <= 0) return 0;
    return (int64_t)(1.96 * 1024 * sqrt((double)stack->live_variance));
}
