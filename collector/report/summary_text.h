/* The first answers of a report: who allocates per frame, what stood at the peak, what leaks. One thread. */
#ifndef MT_SUMMARY_TEXT_H
#define MT_SUMMARY_TEXT_H

#include <jansson.h>
#include <stdio.h>

void mt_summary_text(FILE *out, const json_t *report);

#endif
