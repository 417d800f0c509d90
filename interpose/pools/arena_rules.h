/*
 * MEMTRACK_ARENA_SITES: call sites that a rule names. A rule is one or more
 * conditions joined by '&', rules are separated by commas:
 *
 *   module:GLOB   the file name of the object that calls (libphysics.so*)
 *   thread:GLOB   the name of the calling thread
 *   symbol:GLOB   the exported function that calls, as the linker spells it
 *
 * '*' stands for any text and '?' for one character. Parsed once at start;
 * afterwards any thread may ask. No locks, no memory beyond the arguments.
 */
#ifndef MT_POOLS_ARENA_RULES_H
#define MT_POOLS_ARENA_RULES_H

#include <stdbool.h>
#include <stddef.h>

enum { MT_ARENA_RULES_MAX = 32, MT_ARENA_GLOB_BYTES = 80 };

enum mt_arena_condition { MT_ARENA_MODULE, MT_ARENA_THREAD, MT_ARENA_SYMBOL, MT_ARENA_CONDITIONS };

struct mt_arena_rule {
    char globs[MT_ARENA_CONDITIONS][MT_ARENA_GLOB_BYTES]; /* "" = any */
};

struct mt_arena_rules {
    unsigned count;
    bool wants_symbols;
    struct mt_arena_rule rules[MT_ARENA_RULES_MAX];
};

/* Told once for each mistake; the rule that has it is left out. The text is cut at length. */
typedef void mt_arena_complaint(const char *rule, int length, const char *mistake);

void mt_arena_rules_parse(struct mt_arena_rules *rules, const char *text, mt_arena_complaint *complain);

/* Who calls; an unknown name is "" and meets no condition. */
struct mt_arena_caller {
    const char *names[MT_ARENA_CONDITIONS]; /* the module's without directories */
};
/* The number of the first rule that a caller meets, from 1; 0 = none. */
unsigned mt_arena_rules_match(const struct mt_arena_rules *rules, const struct mt_arena_caller *caller);

bool mt_arena_glob_matches(const char *glob, const char *text);

#endif
