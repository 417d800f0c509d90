/*
 * Watches the budgets of a process for the collector: tells once when a tag, a
 * device's memory heap or the whole CPU heap comes near its budget, passes it,
 * or is back below. One thread.
 */
#ifndef MT_BUDGETS_H
#define MT_BUDGETS_H

#include "snapshot.h"

#include <jansson.h>

struct mt_budget_watch {
    json_t *told;   /* by budget: the last state told, and the highest bytes seen */
    json_t *events; /* all that was told, rows as in the report's events */
};

/*
 * Compare with what was told before: new states become events, a line on
 * stderr, and, when over, the user's command. The totals need counters alone
 * (mt_snapshot_take_counters()) and are meant for every look at the process;
 * what passed its budget between two looks is found by its peak.
 */
void mt_budget_watch_totals(struct mt_budget_watch *watch, const struct mt_snapshot *snapshot);
void mt_budget_watch_all(struct mt_budget_watch *watch, const struct mt_snapshot *snapshot);
/* True when there is any budget on tags, so that all of a snapshot is worth a look. */
bool mt_budget_watch_needs_tags(const struct mt_snapshot *snapshot);
void mt_budget_watch_free(struct mt_budget_watch *watch);

#endif
