/*
 * The tags of a report, one row each, from the sums of tags.c.
 */
#include "tags.h"

#include "json_build.h"
#include "report_json.h"

#include <math.h>
#include <stdlib.h>

static json_t *tag_json(const struct mt_snapshot *snapshot, const struct mt_tag_sum *sum, unsigned warning_percent)
{
    int64_t count = llround((double)sum->live_count / MT_SCALE),
            calls = llround((double)sum->total_count / MT_SCALE),
            inherited = llround((double)sum->inherited_count / MT_SCALE);
    enum mt_budget_state state = mt_budget_state(sum->live_bytes + sum->vulkan_bytes, sum->budget_bytes,
                                                 warning_percent);
    json_t *row = json_object();
    mt_json_set_text(row, "tag", sum->tag);
    mt_json_set(row, "source", sum->source ? json_string(sum->source) : json_null());
    mt_json_set_i64(row, "current_bytes", sum->live_bytes);
    mt_json_set_i64(row, "current_count", count);
    mt_json_set_i64(row, "current_error_bytes",
                    sum->variance > 0 ? (int64_t)(1.96 * 1024 * sqrt((double)sum->variance)) : 0);
    mt_json_set_i64(row, "estimated_bytes", sum->estimated_bytes);
    mt_json_set_bool(row, "is_exact", !sum->has_estimates);
    mt_report_set_own_peak(row, snapshot, &sum->own_peak);
    mt_json_set_i64(row, "at_peak_bytes", sum->at_peak_bytes);
    mt_json_set_u64(row, "total_bytes", sum->total_bytes);
    mt_json_set_i64(row, "allocation_count", calls);
    mt_json_set_i64(row, "free_count", calls + inherited - count);
    mt_json_set_i64(row, "vulkan_bytes", sum->vulkan_bytes);
    mt_json_set_i64(row, "vulkan_count", sum->vulkan_count);
    mt_json_set_known(row, "budget_bytes", sum->budget_bytes);
    mt_json_set_text(row, "budget_state", mt_budget_state_name[state]);
    return row;
}

/* Without stacks nobody knows who asked: all that was counted is one tag. With them, what was live at a fork. */
static struct mt_tag_sum rest_of(const struct mt_snapshot *snapshot)
{
    const struct mt_globals *globals = &snapshot->segment->globals;
    struct mt_tag_sum rest = {.tag = "inherited",
                              .live_bytes = (int64_t)globals->inherited_bytes,
                              .live_count = (int64_t)globals->inherited_count * MT_SCALE,
                              .own_peak = {.bytes = (int64_t)globals->inherited_bytes, .error_bytes = -1}};
    for (size_t i = 0; i < snapshot->origins.count && mt_tags_are_by_origin(snapshot); i++) {
        rest.live_bytes -= snapshot->origins.rows[i].inherited_bytes;
        rest.live_count -= snapshot->origins.rows[i].inherited_count * MT_SCALE;
    }
    rest.inherited_count = rest.live_count;
    if (snapshot->stacks.mode != MT_STACKS_OFF || mt_tags_are_by_origin(snapshot)) return rest;
    rest.tag = "default";
    rest.live_bytes += snapshot->cpu.live_bytes;
    rest.live_count += (int64_t)(snapshot->cpu.allocation_count - snapshot->cpu.free_count) * MT_SCALE;
    rest.at_peak_bytes = snapshot->cpu.peak_bytes;
    rest.own_peak = mt_snapshot_peak(snapshot);
    rest.total_bytes = snapshot->cpu.requested_bytes;
    rest.total_count = snapshot->cpu.allocation_count * MT_SCALE;
    return rest;
}

/*
 * Inherited blocks that were freed here left no trace with their stack. With
 * all stacks, what is left of them is what the stacks do not hold; with sampled
 * ones that cannot be told from the error. Where stacks were lost they hold
 * less, but what is left is no more than what there was.
 */
static void settle_inherited(struct mt_tag_sum *rest, const struct mt_snapshot *snapshot,
                             const struct mt_tag_sum *sums, size_t count)
{
    if (snapshot->stacks.mode != MT_STACKS_ALL || !rest->inherited_count) return;
    int64_t inherited_bytes = rest->live_bytes;
    rest->live_bytes += snapshot->cpu.live_bytes;
    rest->live_count += (int64_t)(snapshot->cpu.allocation_count - snapshot->cpu.free_count) * MT_SCALE;
    for (size_t i = 0; i < count; i++) {
        rest->live_bytes -= sums[i].live_bytes;
        rest->live_count -= sums[i].live_count;
    }
    if (rest->live_bytes > inherited_bytes) rest->live_bytes = inherited_bytes;
    if (rest->live_count > rest->inherited_count) rest->live_count = rest->inherited_count;
}

json_t *mt_tags_json(const struct mt_snapshot *snapshot)
{
    struct mt_tag_sum *sums = NULL;
    const struct mt_tag_rules *rules = mt_tag_rules_of(snapshot);
    json_t *rows = json_array();
    unsigned percent = mt_budget_warning_percent(snapshot);
    size_t count = rules ? mt_tags_sum(rules, snapshot, &sums) : 0;
    struct mt_tag_sum rest = rest_of(snapshot);
    settle_inherited(&rest, snapshot, sums, count);
    if (rest.total_count || rest.live_bytes || rest.inherited_count)
        json_array_append_new(rows, tag_json(snapshot, &rest, percent));
    for (size_t i = 0; i < count; i++) json_array_append_new(rows, tag_json(snapshot, &sums[i], percent));
    if (rules) free(sums);
    return rows;
}
