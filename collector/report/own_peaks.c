/*
 * Puts together what groups hold and what each thread has not handed over yet.
 * See own_peaks.h, and collector/core/groups.h for the arithmetic.
 */
#include "own_peaks.h"

#include "groups.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define GET(field) atomic_load_explicit(&(field), memory_order_relaxed)

/* What is found out of one group. */
struct found {
    bool is_there;
    int64_t current;       /* all that is live */
    int64_t least, most;   /* how much higher it may have been since the last hand-over: at least, at most */
    int64_t lag;           /* the sum over threads */
    unsigned thread_count; /* that have a part of it */
    /* of the shard at hand */
    struct mt_group_step step;
    int64_t shard_lag;
    bool is_touched;
};

struct work {
    const struct mt_segment_file *file;
    const struct mt_segment *copy;
    const struct mt_origins_copy *origins;
    struct found found[MT_GROUP_KINDS][MT_GROUP_MAX];
    struct found *touched[MT_GROUP_KINDS * MT_GROUP_MAX];
    size_t touched_count;
    struct mt_group_step all; /* of the shard at hand */
};

static struct found *touch(struct work *work, unsigned kind, unsigned id)
{
    struct found *found = &work->found[kind][id < MT_GROUP_MAX ? id : 0];
    if (found->is_touched) return found;
    found->is_touched = true;
    found->step = (struct mt_group_step){0, 0};
    found->shard_lag = 0;
    work->touched[work->touched_count++] = found;
    return found;
}

static unsigned id_of(const struct mt_origins_copy *origins, unsigned kind, unsigned origin)
{
    const struct mt_origin *row = &origins->rows[origin];
    return kind == MT_GROUP_ORIGIN ? origin : kind == MT_GROUP_MODULE ? row->module : row->tag_group;
}

static bool is_inside(const struct work *work, uint64_t offset, size_t bytes)
{
    return offset % 64 == 0 && offset >= sizeof(struct mt_segment) && offset <= work->file->file_bytes &&
           work->file->file_bytes - offset >= bytes;
}

static void add_row(struct work *work, struct mt_origin_counts *counts, bool is_shared)
{
    counts->used = UINT64_MAX;
    counts->used_above = UINT8_MAX;
    struct mt_group_told told;
    struct mt_group_step small = mt_group_of_classes(counts, &told), large = mt_group_of_large(counts);
    struct mt_group_step total = {small.allocated + large.allocated, small.freed + large.freed};
    struct mt_group_step step = {total.allocated -
                                     (int64_t)(GET(counts->told_allocated) + GET(counts->told_large_allocated)),
                                 total.freed - (int64_t)(GET(counts->told_freed) + GET(counts->told_large_freed))};
    for (unsigned kind = 0; kind < MT_GROUP_KINDS; kind++) {
        struct found *found = touch(work, kind, id_of(work->origins, kind, counts->origin));
        found->is_there |= total.allocated || total.freed;
        found->current += total.allocated - total.freed;
        if (is_shared) continue; /* handed over already */
        found->step.allocated += step.allocated;
        found->step.freed += step.freed;
    }
    work->all.allocated += step.allocated;
    work->all.freed += step.freed;
}

static int read_rows(struct work *work, const struct mt_shard *shard, bool is_shared)
{
    struct mt_origin_counts counts;
    uint64_t offset = GET(shard->origins);
    for (unsigned n = 0; offset && n < MT_ORIGIN_MAX + MT_ARENA_SITE_MAX;
         n++) { /* a damaged file may have a ring */
        int error = mt_origins_read_row(work->file, offset, &counts, NULL);
        if (error) return error;
        if (counts.origin < work->origins->count) add_row(work, &counts, is_shared);
        offset = counts.next;
    }
    return 0;
}

static int read_parts(struct work *work, const struct mt_shard *shard)
{
    struct mt_group_part part;
    uint64_t offset = GET(shard->group_parts);
    for (unsigned n = 0; offset && n < MT_GROUP_KINDS * MT_GROUP_MAX; n++) {
        if (!is_inside(work, offset, sizeof part)) return -EINVAL;
        int error = mt_segment_file_read(work->file, offset, &part, sizeof part);
        if (error) return error;
        if (part.kind < MT_GROUP_KINDS) touch(work, part.kind, part.id)->shard_lag = GET(part.lag_bytes);
        offset = part.next;
    }
    return 0;
}

/* What the shard's thread has not handed over goes to the groups, whose other threads stay where they are. */
static void settle_shard(struct work *work, const struct mt_shard *shard)
{
    int64_t batch = (int64_t)work->copy->globals.batch_bytes;
    struct mt_group_range range = mt_group_range_of(shard, batch, work->all);
    for (size_t i = 0; i < work->touched_count; i++) {
        struct found *found = work->touched[i];
        struct mt_group_bounds bounds = mt_group_bounds_of(found->step, work->all, range);
        found->is_touched = false;
        if (bounds.least > found->least) found->least = bounds.least;
        found->most += bounds.most;
        found->lag += bounds.lag > found->shard_lag ? bounds.lag : found->shard_lag;
        found->thread_count += bounds.lag || found->shard_lag || found->step.allocated || found->step.freed;
    }
    work->touched_count = 0;
    work->all = (struct mt_group_step){0, 0};
}

static int read_shards(struct work *work, uint32_t shard_limit)
{
    int error = 0;
    for (uint32_t i = 0; i < shard_limit && !error; i++) {
        const struct mt_shard *shard = &work->copy->shards[i];
        error = read_rows(work, shard, !i);
        if (!error && i) error = read_parts(work, shard);
        settle_shard(work, shard);
    }
    for (uint32_t id = 0; id < work->origins->count; id++)
        for (unsigned kind = 0; kind < MT_GROUP_KINDS; kind++) {
            unsigned group = id_of(work->origins, kind, id);
            work->found[kind][group < MT_GROUP_MAX ? group : 0].current += work->origins->rows[id].inherited_bytes;
        }
    return error;
}

static struct mt_own_peak put_together(const struct mt_group *group, const struct found *found,
                                       struct mt_own_peaks_moment moment)
{
    int64_t handed = GET(group->current_bytes), limit = GET(group->limit_bytes);
    struct mt_own_peak peak = {GET(group->peak_bytes), 0, GET(group->peak_ns), GET(group->peak_frame)};
    int64_t now = handed + found->least > found->current ? handed + found->least : found->current;
    if (now > peak.bytes) peak = (struct mt_own_peak){now, 0, moment.when_ns, moment.frame};
    if (handed + found->most > limit) limit = handed + found->most;
    if (limit > peak.bytes) peak.error_bytes = limit - peak.bytes;
    if (found->thread_count > 1 && found->lag > peak.error_bytes) peak.error_bytes = found->lag;
    return peak;
}

static int take(struct mt_own_peaks *peaks, struct work *work, uint32_t shard_limit,
                struct mt_own_peaks_moment moment)
{
    static struct mt_group groups[MT_GROUP_MAX][MT_GROUP_KINDS];
    int error = mt_segment_file_read(work->file, offsetof(struct mt_segment, groups), groups, sizeof groups);
    if (!error) error = read_shards(work, shard_limit);
    for (unsigned kind = 0; kind < MT_GROUP_KINDS && !error; kind++)
        for (unsigned id = 0; id < MT_GROUP_MAX; id++)
            peaks->of[kind][id] = put_together(&groups[id][kind], &work->found[kind][id], moment);
    return error;
}

int mt_own_peaks_take(struct mt_own_peaks **peaks, const struct mt_segment_file *file,
                      const struct mt_segment *copy, uint32_t shard_limit, const struct mt_origins_copy *origins,
                      struct mt_own_peaks_moment moment)
{
    *peaks = NULL;
    if (!origins->count || !origins->knows_live) return 0;
    struct work *work = calloc(1, sizeof *work);
    struct mt_own_peaks *made = calloc(1, sizeof *made);
    int error = work && made ? 0 : -ENOMEM;
    if (!error) {
        work->file = file;
        work->copy = copy;
        work->origins = origins;
        error = take(made, work, shard_limit, moment);
    }
    free(work);
    if (error)
        free(made);
    else
        *peaks = made;
    return error;
}
