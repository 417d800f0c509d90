/*
 * Prepares the tag rules of a run: checks the file before the program starts,
 * so that a mistake is told at once, and switches on what its rules need.
 */
#include "command.h"

#include "report/tags.h"

#include <stdlib.h>
#include <string.h>

/* What the user did not choose is chosen by the rules: they work on call stacks. */
static void set_needs(const struct mt_tag_rules *rules)
{
    const char *stacks = getenv("MEMTRACK_STACKS");
    if (!stacks || !*stacks) setenv("MEMTRACK_STACKS", "sampled", 1);
    if (mt_tag_rules_need_threads(rules)) setenv("MEMTRACK_STACK_THREADS", "on", 1);
}

void mt_run_prepare_tags(void)
{
    char why[512], absolute[4096];
    const char *path = getenv("MEMTRACK_TAGS");
    if (!path || !*path) return;
    struct mt_tag_rules *rules = mt_tag_rules_load(path, why, sizeof why);
    if (rules && realpath(path, absolute)) {
        setenv("MEMTRACK_TAGS", absolute, 1);
        set_needs(rules);
    } else {
        mt_tell("%s; the default tags are used", rules ? path : why);
        unsetenv("MEMTRACK_TAGS");
    }
    mt_tag_rules_free(rules);
}
