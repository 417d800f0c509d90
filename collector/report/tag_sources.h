/* Who gave a tag its name: the program, a rule, or the table of modules. Reads a snapshot. */
#ifndef MT_TAG_SOURCES_H
#define MT_TAG_SOURCES_H

#include "tags.h"

/* The tags that the program said through memtrack.h, or gave a budget, by number. */
struct mt_said_tags {
    bool is_said[MT_SCOPE_MAX];
};

void mt_tags_said(const struct mt_snapshot *snapshot, struct mt_said_tags *said);
/* "api", "rule" or "module": the first of them that knows the tag by this name. */
const char *mt_tag_source(const struct mt_snapshot *snapshot, const struct mt_said_tags *said,
                          const struct mt_tag_rules *rules, const char *tag);

#endif
