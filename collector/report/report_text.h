/* A report's document as readable text. One thread; needs nothing but the document. */
#ifndef MT_REPORT_TEXT_H
#define MT_REPORT_TEXT_H

#include <jansson.h>
#include <stdio.h>

/*
 * Prints everything, at most `rows` rows of each list (0: 10, and 5 of those that
 * take several lines a row). Lists that have the key `sort` are sorted by it;
 * NULL: each by what says most.
 */
void mt_report_text(FILE *out, const json_t *report, size_t rows, const char *sort);

#endif
