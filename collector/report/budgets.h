/*
 * Watches the budgets of a process for the collector: tells once when a tag or
 * the whole heap comes near its budget, passes it, or is back below. One thread.
 */
#ifndef MT_BUDGETS_H
#define MT_BUDGETS_H

#include "snapshot.h"

#include <jansson.h>

struct mt_budget_watch {
    json_t *states; /* by tag: the last state told */
    json_t *events; /* all that was told, rows as in the report's events */
};

/* Compares with what was told before: new states become events, a line on stderr and, when over, the user's
 * command. */
void mt_budget_watch_check(struct mt_budget_watch *watch, const struct mt_snapshot *snapshot);
void mt_budget_watch_free(struct mt_budget_watch *watch);

#endif
