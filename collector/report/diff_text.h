/*
 * What changed between two reports, by tag, module, thread, size class, call
 * stack and memory heap, or between two lines of a timeline, which hold totals
 * alone. Reads the two documents alone. One thread.
 */
#ifndef MT_DIFF_TEXT_H
#define MT_DIFF_TEXT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * {totals{}, between, tags[], modules[], threads[], size_classes[], stacks[], heaps[]}; each row has a name and,
 * for every number, the values before and after. `by` is one of the lists, or NULL for all. Rows with the largest
 * change of live bytes come first. `between` is null but for two reports of one process.
 */
json_t *mt_diff_json(const json_t *before, const json_t *after, const char *by);
/* {totals{}, between{}} of two lines of one timeline. */
json_t *mt_diff_lines_json(const json_t *before, const json_t *after);
/* Prints such a document, at most `rows` rows of each list. */
void mt_diff_text(const json_t *diff, size_t rows);

#endif
