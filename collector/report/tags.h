/*
 * Tags: which subsystem a call stack or a Vulkan object belongs to. Rules come
 * from a file, the first that matches wins; what no rule takes is named by the
 * module that called, by a table of the libraries that games use. One thread.
 */
#ifndef MT_TAGS_H
#define MT_TAGS_H

#include "snapshot.h"

#include <jansson.h>

struct mt_tag_rules;

/*
 * Reads a file of rules; "" or NULL gives the default tags alone. NULL with one
 * line in `why` for a file that cannot be read or has any mistake.
 */
struct mt_tag_rules *mt_tag_rules_load(const char *path, char *why, size_t why_bytes);
void mt_tag_rules_free(struct mt_tag_rules *rules);
/* True when a rule asks for thread names. */
bool mt_tag_rules_need_threads(const struct mt_tag_rules *rules);

bool mt_tag_rules_have_budgets(const struct mt_tag_rules *rules);

/*
 * What a tag holds. Exact where the pools count by origin, but for the part
 * that only call stacks can tell apart; in sampled mode all that comes from
 * stacks is an estimate.
 */
struct mt_tag_sum {
    const char *tag;
    const char *source;                       /* see mt_tag_source(); NULL: nobody's, what is not told apart */
    int64_t live_bytes, live_count, variance; /* counts in 1/MT_SCALE, variance in KiB squared */
    int64_t at_peak_bytes;                    /* live when the process stood at its peak */
    struct mt_own_peak own_peak;
    uint64_t total_bytes, total_count;
    int64_t inherited_count;            /* live at the fork that made the process, also in 1/MT_SCALE */
    bool has_estimates;                 /* some of the numbers above were estimated from sampled stacks */
    int64_t estimated_bytes;            /* the part of live_bytes that was */
    int64_t vulkan_bytes, vulkan_count; /* device memory of the objects that the tag took */
    uint64_t budget_bytes;              /* 0 = none */
};

/* Sums of all tags that hold or held anything or have a budget, in order of the rules. The caller frees *sums. */
size_t mt_tags_sum(const struct mt_tag_rules *rules, const struct mt_snapshot *snapshot, struct mt_tag_sum **sums);

enum mt_budget_state { MT_BUDGET_NONE, MT_BUDGET_OK, MT_BUDGET_WARNING, MT_BUDGET_OVER };
enum mt_budget_state mt_budget_state(int64_t bytes, uint64_t budget_bytes, unsigned warning_percent);
extern const char *const mt_budget_state_name[];
/* A budget as options print it ("64M", "0"); 0 = none. */
uint64_t mt_budget_of_text(const char *text);
unsigned mt_budget_warning_percent(const struct mt_snapshot *snapshot);

/* The rules of a snapshot's process: its MEMTRACK_TAGS, kept between reports; the default ones where that has
 * mistakes. */
const struct mt_tag_rules *mt_tag_rules_of(const struct mt_snapshot *snapshot);

/*
 * The tags of Vulkan objects of one snapshot. Each byte of device memory has one
 * tag: that of the first rule that fits the buffer, image or the like that
 * covers it, else that of the allocation: the first rule that fits, else by the
 * module that called, else "(unknown)".
 */
struct mt_tagger;
/* NULL when there is no memory. */
struct mt_tagger *mt_tagger_new(const struct mt_snapshot *snapshot);
void mt_tagger_free(struct mt_tagger *tagger);
/* The tag of one object; valid as long as the tagger and the snapshot. */
const char *mt_tagger_object(const struct mt_tagger *tagger, const struct mt_object *object);
/* {tag, current_bytes, current_count} for each tag that holds memory of a device; the bytes add up to all of it. */
json_t *mt_tagger_device_json(const struct mt_tagger *tagger, uint32_t device);

/* Whether they are told by origins. With all stacks these know more, and are exact too. */
bool mt_tags_are_by_origin(const struct mt_snapshot *snapshot);

/* The tags of a report: one row each. */
json_t *mt_tags_json(const struct mt_snapshot *snapshot);

#endif
