/*
 * Points of one run: the lines of its timeline, and the full reports that were
 * kept beside them. Reads files that another process may still be writing. One
 * thread.
 */
#ifndef MT_POINTS_H
#define MT_POINTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* Which point is asked for: the first, the last, the one nearest to a time, or the first in or after a frame. */
struct mt_point_wish {
    enum mt_point_kind { MT_POINT_FIRST, MT_POINT_LAST, MT_POINT_TIME, MT_POINT_FRAME } kind;
    double value; /* seconds since the program's start, or the number of the frame */
};

/* "start", "end", "10", "2.5s", "3m", "1h" or "frame:600"; false for anything else. */
bool mt_point_parse(const char *text, struct mt_point_wish *wish);

/*
 * The timeline of the report (or of the .jsonl or kept report) at `path`: an array of lines in order of time. The
 * file of lines goes before the report's own list, which may be thinned. NULL with *why when there is none.
 * *broken_count lines could not be read and are left out.
 */
json_t *mt_points_load(const char *path, size_t *broken_count, char *why, size_t why_bytes);

/* The place of the wished line; the lines must not be empty. */
size_t mt_points_find(const json_t *lines, struct mt_point_wish wish);

/* The full report that was written with this line: the newest one, or a kept one; NULL when there is none. */
json_t *mt_points_report(const char *path, const json_t *line, char *name, size_t name_bytes);

#endif
