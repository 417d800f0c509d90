/*
 * What changed between two reports, by tag, module, thread, size class and
 * call stack. Reads the two documents alone. One thread.
 */
#ifndef MT_DIFF_TEXT_H
#define MT_DIFF_TEXT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * {totals{}, tags[], modules[], threads[], size_classes[], stacks[]}; each row has a name and, for every number,
 * the values before and after. `by` is one of these names, or NULL for all. Rows with the largest change of live
 * bytes come first.
 */
json_t *mt_diff_json(const json_t *before, const json_t *after, const char *by);
/* Prints such a document, at most `rows` rows of each list. */
void mt_diff_text(const json_t *diff, size_t rows);

#endif
