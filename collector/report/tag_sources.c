/*
 * Finds which tags the program said itself: those that an origin, a call stack
 * or an object has. The table of names alone does not tell them from scopes.
 */
#include "tag_sources.h"

#include "tag_rules.h"

#include <string.h>

static void note(struct mt_said_tags *said, uint32_t number)
{
    if (number && number < MT_SCOPE_MAX) said->is_said[number] = true;
}

void mt_tags_said(const struct mt_snapshot *snapshot, struct mt_said_tags *said)
{
    memset(said, 0, sizeof *said);
    for (uint32_t i = 0; i < MT_SCOPE_MAX; i++)
        if (snapshot->origins.budgets[i]) note(said, i);
    for (size_t i = 0; i < snapshot->origins.count; i++) note(said, snapshot->origins.rows[i].tag);
    for (size_t i = 0; i < snapshot->stacks.count; i++) note(said, snapshot->stacks.stacks[i].record.tag);
    for (size_t i = 0; i < snapshot->object_count; i++) note(said, snapshot->objects[i].record.tag);
}

const char *mt_tag_source(const struct mt_snapshot *snapshot, const struct mt_said_tags *said,
                          const struct mt_tag_rules *rules, const char *tag)
{
    for (unsigned i = 1; i < MT_SCOPE_MAX; i++)
        if (said->is_said[i] && !strcmp(snapshot->origins.scopes[i], tag)) return "api";
    for (size_t i = 0; i < rules->count; i++)
        if (!strcmp(rules->rules[i].name, tag)) return "rule";
    return "module";
}
