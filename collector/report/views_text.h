/* Views as text: the sections of `memtrack report` and its `--by`. One thread. */
#ifndef MT_VIEWS_TEXT_H
#define MT_VIEWS_TEXT_H

#include "views.h"

#include <stdio.h>

/*
 * A table with its title, at most `rows` rows of it; nothing where the report
 * has no such rows. `sort` is a key; NULL, or one that the view lacks: `otherwise`,
 * or where the report has no number for that, the view's own.
 */
void mt_view_section(FILE *out, const json_t *report, enum mt_view view, const char *sort, const char *otherwise,
                     size_t rows);
/* The same with all that is known of each row: the frames of a stack, the stacks of a frame. False: no such rows.
 */
bool mt_view_text(FILE *out, const json_t *report, enum mt_view view, const char *sort, size_t rows);

/* The frames of a stack, innermost first, at most `limit`, each indented by `indent`. */
void mt_stack_frames_text(FILE *out, const json_t *stack, size_t limit, int indent);
/* The stacks that allocated in a frame, at most `limit`, by their numbers and headlines. */
void mt_frame_stacks_text(FILE *out, const json_t *report, const json_t *frame, size_t limit);
/* The stack of a number; NULL where the report does not list it. */
const json_t *mt_report_stack(const json_t *report, int64_t id);

#endif
