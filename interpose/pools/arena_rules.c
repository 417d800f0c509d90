/*
 * Parses and matches the rules of MEMTRACK_ARENA_SITES. See arena_rules.h.
 */
#include "arena_rules.h"

#include <string.h>

static const char *const keys[MT_ARENA_CONDITIONS] = {"module:", "thread:", "symbol:"};

/* ---- parsing ------------------------------------------------------------------- */

static int condition_of(const char *text, size_t length)
{
    for (int i = 0; i < MT_ARENA_CONDITIONS; i++)
        if (length >= strlen(keys[i]) && !strncmp(text, keys[i], strlen(keys[i]))) return i;
    return -1;
}

/* Adds one condition to a rule. NULL, or what is wrong with it. */
static const char *add_condition(struct mt_arena_rule *rule, const char *text, size_t length)
{
    int which = condition_of(text, length);
    if (which < 0) return "a condition is module:GLOB, thread:GLOB or symbol:GLOB";
    const char *glob = text + strlen(keys[which]);
    size_t bytes = length - strlen(keys[which]);
    if (!bytes) return "there is nothing behind the colon";
    if (bytes >= MT_ARENA_GLOB_BYTES) return "a pattern is longer than 79 characters";
    if (rule->globs[which][0]) return "a kind of condition is there twice";
    if (which == MT_ARENA_MODULE && memchr(glob, '/', bytes))
        return "a module goes by its file name, without directories";
    memcpy(rule->globs[which], glob, bytes);
    return NULL;
}

static const char *parse_rule(struct mt_arena_rule *rule, const char *text, size_t length)
{
    const char *end = text + length;
    if (!length) return "an empty rule";
    for (;;) {
        const char *and = memchr(text, '&', (size_t)(end - text));
        const char *mistake = add_condition(rule, text, (size_t)((and? and : end) - text));
        if (mistake || !and) return mistake;
        text = and+1;
    }
}

static void add_rule(struct mt_arena_rules *rules, const char *text, size_t length, mt_arena_complaint *complain)
{
    struct mt_arena_rule rule = {0};
    const char *mistake = rules->count == MT_ARENA_RULES_MAX ? "more than 32 rules"
                                                             : parse_rule(&rule, text, length);
    if (mistake) {
        complain(text, length < MT_ARENA_GLOB_BYTES ? (int)length : MT_ARENA_GLOB_BYTES, mistake);
        return;
    }
    if (rule.globs[MT_ARENA_SYMBOL][0]) rules->wants_symbols = true;
    rules->rules[rules->count++] = rule;
}

void mt_arena_rules_parse(struct mt_arena_rules *rules, const char *text, mt_arena_complaint *complain)
{
    rules->count = 0;
    rules->wants_symbols = false;
    while (*text) {
        size_t length = strcspn(text, ",");
        add_rule(rules, text, length, complain);
        text += length;
        if (*text && !*++text) add_rule(rules, text, 0, complain); /* a comma at the end */
    }
}

/* ---- matching ------------------------------------------------------------------- */

/* Without recursion: a mismatch goes back to the last star and lets it take one character more. */
bool mt_arena_glob_matches(const char *glob, const char *text)
{
    const char *star = NULL, *taken = NULL;
    while (*text) {
        if (*glob == '*') {
            star = ++glob;
            taken = text;
        } else if (*glob == '?' || *glob == *text) {
            glob++;
            text++;
        } else if (star) {
            glob = star;
            text = ++taken;
        } else {
            return false;
        }
    }
    while (*glob == '*') glob++;
    return !*glob;
}

static bool meets(const struct mt_arena_rule *rule, const struct mt_arena_caller *caller)
{
    for (unsigned i = 0; i < MT_ARENA_CONDITIONS; i++) {
        if (!rule->globs[i][0]) continue;
        if (!caller->names[i][0] || !mt_arena_glob_matches(rule->globs[i], caller->names[i])) return false;
    }
    return true;
}

unsigned mt_arena_rules_match(const struct mt_arena_rules *rules, const struct mt_arena_caller *caller)
{
    for (unsigned i = 0; i < rules->count; i++)
        if (meets(&rules->rules[i], caller)) return i + 1;
    return 0;
}
