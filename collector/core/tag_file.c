/*
 * A small reader of JSON for one kind of file. See tag_file.h. Strings are ended
 * in place; anything that is not expected makes the whole file strange.
 */
#include "tag_file.h"

#include "segment.h"

#include <string.h>

enum { TEXT_BYTES = 256 * 1024, DEPTH_MAX = 16 };

struct reader {
    char *at;
    bool is_strange;
    struct mt_tag_file *file;
};

static bool strange(struct reader *reader)
{
    reader->is_strange = true;
    return false;
}

static void skip_space(struct reader *reader)
{
    while (*reader->at && strchr(" \t\r\n", *reader->at)) reader->at++;
}

/* Takes one character, with space around it. */
static bool take(struct reader *reader, char what)
{
    skip_space(reader);
    if (*reader->at != what) return false;
    reader->at++;
    skip_space(reader);
    return true;
}

/* Escapes of more than one letter are not understood. */
static char *take_string(struct reader *reader)
{
    if (!take(reader, '"')) return strange(reader), NULL;
    char *start = reader->at, *to = reader->at;
    while (*reader->at && *reader->at != '"') {
        if (*reader->at == '\\') {
            if (!*++reader->at || !strchr("\"\\/", *reader->at)) return strange(reader), NULL;
        }
        *to++ = *reader->at++;
    }
    if (!*reader->at) return strange(reader), NULL;
    reader->at++;
    *to = 0;
    return start;
}

static bool is_simple(char letter)
{
    return letter && !strchr(",]} \t\r\n", letter);
}

/* Whatever it is. Brackets in strings are passed over with them. */
static bool skip_value(struct reader *reader)
{
    unsigned depth = 0;
    do {
        skip_space(reader);
        if (*reader->at == '"') {
            if (!take_string(reader)) return false;
        } else if (*reader->at == '{' || *reader->at == '[') {
            if (++depth > DEPTH_MAX) return strange(reader);
            reader->at++;
        } else if (*reader->at == '}' || *reader->at == ']') {
            if (!depth--) return strange(reader);
            reader->at++;
        } else if (depth && (*reader->at == ',' || *reader->at == ':')) {
            reader->at++;
        } else {
            if (!is_simple(*reader->at)) return strange(reader);
            while (is_simple(*reader->at)) reader->at++;
        }
    } while (depth);
    return true;
}

/* Calls a function for each member of an object; the value is its to take. */
static bool each_member(struct reader *reader, bool (*one)(struct reader *, const char *key, void *), void *to)
{
    if (!take(reader, '{')) return strange(reader);
    if (take(reader, '}')) return true;
    do {
        char *key = take_string(reader);
        if (!key || !take(reader, ':')) return strange(reader);
        if (!one(reader, key, to)) return strange(reader);
    } while (take(reader, ','));
    return take(reader, '}') || strange(reader);
}

static bool each_item(struct reader *reader, bool (*one)(struct reader *))
{
    if (!take(reader, '[')) return strange(reader);
    if (take(reader, ']')) return true;
    do {
        if (!one(reader)) return strange(reader);
    } while (take(reader, ','));
    return take(reader, ']') || strange(reader);
}

static bool read_pattern(struct reader *reader, const char *key, void *to)
{
    static const char *const names[MT_LINE_PATTERNS] = {"module", "symbol", "thread", "scope"};
    struct mt_tag_line *line = to;
    const char *pattern = take_string(reader);
    if (!pattern) return false;
    line->is_vulkan |= !strncmp(key, "vulkan_", 7);
    for (unsigned i = 0; i < MT_LINE_PATTERNS; i++)
        if (!strcmp(key, names[i])) line->pattern[i] = pattern;
    return true;
}

static bool read_match(struct reader *reader)
{
    if (reader->file->count == MT_TAG_LINES) return strange(reader);
    struct mt_tag_line *line = &reader->file->lines[reader->file->count++];
    *line = (struct mt_tag_line){0};
    return each_member(reader, read_pattern, line);
}

static bool read_of_tag(struct reader *reader, const char *key, void *to)
{
    char **name = to;
    if (!strcmp(key, "tag")) return (*name = take_string(reader)) != NULL;
    return !strcmp(key, "match") ? each_item(reader, read_match) : skip_value(reader);
}

static bool read_tag(struct reader *reader)
{
    char *name = NULL;
    unsigned first = reader->file->count;
    if (!each_member(reader, read_of_tag, &name) || !name) return strange(reader);
    for (unsigned i = first; i < reader->file->count; i++) reader->file->lines[i].tag = name;
    return true;
}

static bool read_top(struct reader *reader, const char *key, void *to)
{
    (void)to;
    return !strcmp(key, "tags") ? each_item(reader, read_tag) : skip_value(reader);
}

void mt_tag_file_parse(struct mt_tag_file *file, char *text, struct mt_tag_line *lines)
{
    struct reader reader = {.at = text, .file = file};
    file->lines = lines;
    file->count = 0;
    bool is_read = each_member(&reader, read_top, NULL) && !*reader.at && !reader.is_strange;
    file->state = is_read ? MT_TAG_FILE_READ : MT_TAG_FILE_STRANGE;
    if (!is_read) file->count = 0;
}

void mt_tag_file_read(struct mt_core *core, struct mt_tag_file *file, const char *path)
{
    size_t lines_bytes = MT_TAG_LINES * sizeof(struct mt_tag_line);
    char *memory = mt_private_map(core, lines_bytes + TEXT_BYTES);
    file->state = MT_TAG_FILE_STRANGE;
    if (!memory) return;
    long length = mt_read_file(path, memory + lines_bytes, TEXT_BYTES);
    if (length > 0 && length < TEXT_BYTES - 1)
        mt_tag_file_parse(file, memory + lines_bytes, (struct mt_tag_line *)(void *)memory);
}
