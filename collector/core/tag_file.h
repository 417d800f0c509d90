/*
 * The rules of MEMTRACK_TAGS as the process itself reads them: only what tells
 * an origin's tag. The collector reads the same file with all its checks; what
 * looks strange here is left to it. One thread, at the start.
 */
#ifndef MT_TAG_FILE_H
#define MT_TAG_FILE_H

#include "core.h"

enum { MT_TAG_LINES = 256 };
enum mt_line_pattern { MT_LINE_MODULE, MT_LINE_SYMBOL, MT_LINE_THREAD, MT_LINE_SCOPE, MT_LINE_PATTERNS };

/* One match of one tag. Patterns that are not there are NULL. */
struct mt_tag_line {
    const char *tag;
    const char *pattern[MT_LINE_PATTERNS];
    bool is_vulkan;
};

enum mt_tag_file_state { MT_TAG_FILE_NONE, MT_TAG_FILE_READ, MT_TAG_FILE_STRANGE };

struct mt_tag_file {
    enum mt_tag_file_state state;
    unsigned count;
    struct mt_tag_line *lines;
};

/* Reads a file; its text and lines stay in memory of memtrack's own. */
void mt_tag_file_read(struct mt_core *core, struct mt_tag_file *file, const char *path);
/* The same for a text that ends with NUL, which it changes and keeps; lines has MT_TAG_LINES rows. */
void mt_tag_file_parse(struct mt_tag_file *file, char *text, struct mt_tag_line *lines);

#endif
