/* The rules of tags as they were read; shared by tag_rules.c and tags.c. */
#ifndef MT_TAG_RULES_H
#define MT_TAG_RULES_H

#include "tags.h"

enum mt_pattern {
    MT_PATTERN_MODULE, /* file name of the module that called, or its whole path where the pattern has a slash */
    MT_PATTERN_SYMBOL, /* any function of the stack */
    MT_PATTERN_THREAD,
    MT_PATTERN_SCOPE,       /* what the program or the Vulkan layer says it is doing */
    MT_PATTERN_VULKAN_NAME, /* debug name of the object */
    MT_PATTERN_VULKAN_KIND, /* what an object is (memory, buffer, image, ...) or what it is for (texture, ...) */
    MT_PATTERN_COUNT
};

struct mt_tag_match {
    char *pattern[MT_PATTERN_COUNT]; /* NULL: anything */
    bool is_vulkan;                  /* for Vulkan objects, not for heap blocks */
};

struct mt_tag_rule {
    char name[64];
    uint64_t budget_bytes;
    struct mt_tag_match *matches;
    size_t match_count;
};

struct mt_tag_rules {
    struct mt_tag_rule *rules;
    size_t count;
};

#endif
