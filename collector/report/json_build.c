/* Helpers over jansson; see json_build.h. No state, any thread. */
#include "json_build.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Length of the UTF-8 sequence at `at`, 0 when it is none. */
static size_t utf8_length(const unsigned char *at, size_t left)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (at[0] < 0x80) return 1;
    size_t length = at[0] >= 0xf0 && at[0] < 0xf5 ? 4 : at[0] >= 0xe0 ? 3 : at[0] >= 0xc2 ? 2 : 0;
    if (!length || at[0] >= 0xf5 || length > left) return 0;
    uint32_t code = at[0] & (0xffu >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80) return 0;
        code = code << 6 | (at[i] & 0x3fu);
    }
    return code < least[length] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000) ? 0 : length;
}

static json_t *repaired(const char *text, size_t bytes)
{
    static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */
    char *clean = malloc(bytes * 3 + 1);
    if (!clean) return NULL;
    size_t to = 0;
    for (size_t from = 0; from < bytes;) {
        size_t length = utf8_length((const unsigned char *)text + from, bytes - from);
        memcpy(clean + to, length ? text + from : replacement, length ? length : 3);
        to += length ? length : 3;
        from += length ? length : 1;
    }
    json_t *value = json_stringn(clean, to);
    free(clean);
    return value;
}

json_t *mt_json_text_n(const char *text, size_t bytes)
{
    json_t *value = json_stringn(text, bytes);
    return value ? value : repaired(text, bytes);
}

json_t *mt_json_text(const char *text)
{
    return mt_json_text_n(text, strlen(text));
}

json_t *mt_json_u64(uint64_t value)
{
    return value > INT64_MAX ? json_null() : json_integer((json_int_t)value);
}

json_t *mt_json_handle(uint64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "0x%" PRIx64, value);
    return json_string(text);
}

json_t *mt_json_seconds(uint64_t nanoseconds)
{
    return json_real((double)(nanoseconds / 1000u) / 1e6);
}

void mt_json_set(json_t *object, const char *key, json_t *value)
{
    json_object_set_new_nocheck(object, key, value ? value : json_null());
}

void mt_json_set_u64(json_t *object, const char *key, uint64_t value)
{
    mt_json_set(object, key, mt_json_u64(value));
}

void mt_json_set_i64(json_t *object, const char *key, int64_t value)
{
    mt_json_set(object, key, json_integer(value));
}

void mt_json_set_text(json_t *object, const char *key, const char *text)
{
    mt_json_set(object, key, text ? mt_json_text(text) : NULL);
}

void mt_json_set_bool(json_t *object, const char *key, int value)
{
    mt_json_set(object, key, json_boolean(value));
}

void mt_json_set_known(json_t *object, const char *key, uint64_t value)
{
    mt_json_set(object, key, value ? mt_json_u64(value) : NULL);
}

void mt_json_set_name(json_t *object, const char *key, const char *text)
{
    mt_json_set(object, key, *text ? mt_json_text(text) : NULL);
}

const json_t *mt_json_get(const json_t *object, const char *key)
{
    return json_object_get(object, key);
}

int64_t mt_json_get_i64(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_real(value) ? (int64_t)json_real_value(value) : json_integer_value(value);
}

double mt_json_get_real(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

const char *mt_json_get_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static int larger_first(const void *a, const void *b)
{
    const struct mt_json_row *left = a, *right = b;
    return left->key < right->key ? 1 : left->key > right->key ? -1 : 0;
}

struct mt_json_row *mt_json_sort_rows(const json_t *list, const char *key, size_t *count)
{
    *count = json_array_size(list);
    struct mt_json_row *rows = calloc(*count + 1, sizeof *rows);
    if (!rows) *count = 0;
    for (size_t i = 0; i < *count; i++) {
        rows[i].row = json_array_get(list, i);
        rows[i].key = mt_json_get_i64(rows[i].row, key);
    }
    if (*count) qsort(rows, *count, sizeof *rows, larger_first);
    return rows;
}

/* U+0000 to U+001F, U+007F, and U+0080 to U+009F as their two bytes. */
static size_t control_length(const char *at, size_t left)
{
    unsigned char first = (unsigned char)at[0];
    if (first < ' ' || first == 0x7f) return 1;
    return first == 0xc2 && left > 1 && (unsigned char)at[1] < 0xa0 ? 2 : 0;
}

static void make_text_plain(json_t *text)
{
    size_t bytes = json_string_length(text), from = 0, to = 0;
    const char *old = json_string_value(text);
    while (from < bytes && !control_length(old + from, bytes - from)) from++;
    if (from == bytes) return;
    char *plain = malloc(bytes);
    if (!plain) return;
    for (from = 0; from < bytes;) {
        size_t control = control_length(old + from, bytes - from);
        plain[to++] = control ? '?' : old[from];
        from += control ? control : 1;
    }
    json_string_setn_nocheck(text, plain, to);
    free(plain);
}

void mt_json_make_plain(json_t *document)
{
    size_t index;
    const char *key;
    json_t *value;
    if (json_is_string(document)) make_text_plain(document);
    json_array_foreach(document, index, value) mt_json_make_plain(value);
    json_object_foreach(document, key, value) mt_json_make_plain(value);
}
