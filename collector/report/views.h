/*
 * Views: one table for each way to ask who holds or makes memory. `memtrack
 * report` and `memtrack top` show the same tables with the same keys. Made out
 * of a report's document, which must outlive them. One thread.
 */
#ifndef MT_VIEWS_H
#define MT_VIEWS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum mt_view {
    MT_VIEW_TAG,
    MT_VIEW_MODULE,
    MT_VIEW_THREAD,
    MT_VIEW_STACK,
    MT_VIEW_SIZE,
    MT_VIEW_HEAP,
    MT_VIEW_FRAME,
    MT_VIEW_COUNT
};

/* The view of a name ("tag", "module", ...); MT_VIEW_COUNT for any other. */
enum mt_view mt_view_of(const char *name);
const char *mt_view_name(enum mt_view view);
/* "Tags", "Modules that called malloc or new", ... */
const char *mt_view_title(enum mt_view view);
/* "tag, module, thread, stack, size, heap or frame" */
const char *mt_view_names(void);

/* The sort keys of a view, "live, peak, total"; and the place of a key among them, -1 for none. NULL: the default.
 */
const char *mt_view_keys(enum mt_view view, char *buffer, size_t bytes);
int mt_view_key(enum mt_view view, const char *key);
/* The number of keys, and their names. */
size_t mt_view_key_count(enum mt_view view);
const char *mt_view_key_name(enum mt_view view, size_t index);

/* The allocation counts of an earlier look at the same process, for rates. Without it the report's own are shown.
 */
struct mt_view_before {
    const json_t *counts; /* by row name; NULL: none */
    double seconds;       /* since then */
    double frames;        /* ended since then */
};

struct mt_view_row {
    const json_t *row;
    char name[512];
    double numbers[8]; /* one for each key; NAN = not known */
};

struct mt_view_table {
    enum mt_view view;
    struct mt_view_row *rows; /* sorted, the largest first */
    size_t count;
    int key;        /* the column that they are sorted by */
    unsigned shown; /* bits: columns in which any row has a number */
};

/* The rows of a view, sorted by a key. An empty table where the report has none or memory is short. */
struct mt_view_table mt_view_make(const json_t *report, enum mt_view view, int key,
                                  const struct mt_view_before *before);
void mt_view_free(struct mt_view_table *table);
/* {name: allocation count} of all rows, for the next look's mt_view_before. */
json_t *mt_view_counts(const struct mt_view_table *table);

/* [{name, KEY: number, ...}] in the order of a key (NULL: the default), at most `rows` of them, 0: all. */
json_t *mt_view_json(const json_t *report, enum mt_view view, const char *key, size_t rows);

/* One line each, without a line feed, at most `width` bytes; what does not fit is left out from the right. */
void mt_view_head_line(const struct mt_view_table *table, size_t width, char *line, size_t bytes);
void mt_view_row_line(const struct mt_view_table *table, size_t index, size_t width, char *line, size_t bytes);

#endif
