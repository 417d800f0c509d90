/*
 * Small helpers over jansson: members of a document that cannot fail on odd
 * bytes. A program may name itself, its threads and its textures with any
 * bytes; JSON wants UTF-8. One thread per document.
 */
#ifndef MT_JSON_BUILD_H
#define MT_JSON_BUILD_H

#include <jansson.h>
#include <stdint.h>

/* A JSON string out of any bytes: what is not UTF-8 becomes U+FFFD. */
json_t *mt_json_text(const char *text);
json_t *mt_json_text_n(const char *text, size_t bytes);
/* An integer; what does not fit into 63 bits becomes null. */
json_t *mt_json_u64(uint64_t value);
/* "0x..." */
json_t *mt_json_handle(uint64_t value);
/* Seconds with at most six decimals. */
json_t *mt_json_seconds(uint64_t nanoseconds);

/* Sets a member; takes the value over. NULL becomes null, so that every key is there. */
void mt_json_set(json_t *object, const char *key, json_t *value);
void mt_json_set_u64(json_t *object, const char *key, uint64_t value);
void mt_json_set_i64(json_t *object, const char *key, int64_t value);
void mt_json_set_text(json_t *object, const char *key, const char *text);
void mt_json_set_bool(json_t *object, const char *key, int value);
/* Null when the value is 0, which stands for "not known" in the segment. */
void mt_json_set_known(json_t *object, const char *key, uint64_t value);
/* Null for "". */
void mt_json_set_name(json_t *object, const char *key, const char *text);

/* Readers for a document that may come from another program: absent is 0 or "". */
int64_t mt_json_get_i64(const json_t *object, const char *key);
double mt_json_get_real(const json_t *object, const char *key);
const char *mt_json_get_text(const json_t *object, const char *key);
const json_t *mt_json_get(const json_t *object, const char *key);

/*
 * Control characters in every text of a document become '?', so that printing a name cannot move a terminal's
 * cursor nor break a line. Changes the document in place.
 */
void mt_json_make_plain(json_t *document);

/* The rows of a list, the largest value of `key` first; key is that value. The caller frees it; NULL with count 0.
 */
struct mt_json_row {
    const json_t *row;
    int64_t key;
};
struct mt_json_row *mt_json_sort_rows(const json_t *list, const char *key, size_t *count);

#endif
