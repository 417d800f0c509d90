/* A report's document as text for a terminal. Works on a document from a file as well as on a fresh one. */
#ifndef MT_REPORT_TEXT_H
#define MT_REPORT_TEXT_H

#include <jansson.h>
#include <stdio.h>

/* Prints the report; lists show at most `rows` rows and say how many more there are. */
void mt_report_text(FILE *out, const json_t *report, size_t rows);

#endif
