/* A report's document from a file of either kind: a JSON report or a segment. One thread. */
#ifndef MT_LOAD_H
#define MT_LOAD_H

#include <jansson.h>
#include <stddef.h>

/* The document, plain (mt_json_make_plain), or NULL with one line in `why`. */
json_t *mt_report_load(const char *path, char *why, size_t why_bytes);

#endif
