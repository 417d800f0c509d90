/*
 * Reads and checks a file of tag rules. Every mistake is told with the place
 * it is at; nothing that is not understood is passed over.
 *
 *   {"tags": [{"tag": "physics", "budget": "64M",
 *              "match": [{"module": "libbullet*"}, {"symbol": "bt*", "thread": "worker*"}]}]}
 *
 * A tag takes what at least one of its matches fits; a match fits when all of
 * its patterns do. Patterns are those of the shell: * ? [...].
 */
#include "tag_rules.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reader {
    char *why;
    size_t why_bytes;
    const char *path;
};

__attribute__((format(printf, 2, 3))) static bool fail(const struct reader *reader, const char *format, ...)
{
    char text[400];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    snprintf(reader->why, reader->why_bytes, "%s: %s", reader->path, text);
    return false;
}

static const char *type_name(const json_t *value)
{
    static const char *const names[] = {"an object", "an array", "a string", "a number",
                                        "a number",  "true",     "false",    "null"};
    return names[json_typeof(value)];
}

static const char *const pattern_names[MT_PATTERN_COUNT] = {"module", "symbol",      "thread",
                                                            "scope",  "vulkan_name", "vulkan_kind"};

static int pattern_of(const char *key)
{
    for (int i = 0; i < MT_PATTERN_COUNT; i++)
        if (!strcmp(key, pattern_names[i])) return i;
    return -1;
}

static bool read_match(const struct reader *reader, const char *where, json_t *value, struct mt_tag_match *match)
{
    const char *key;
    json_t *pattern;
    if (!json_is_object(value)) return fail(reader, "%s: an object is needed, this is %s", where, type_name(value));
    if (!json_object_size(value)) return fail(reader, "%s: it has no pattern and would take everything", where);
    json_object_foreach(value, key, pattern)
    {
        int which = pattern_of(key);
        if (which < 0)
            return fail(
                reader,
                "%s: unknown key \"%s\"; a match has module, symbol, thread, scope, vulkan_name or vulkan_kind",
                where, key);
        if (!json_is_string(pattern))
            return fail(reader, "%s.%s: a string is needed, this is %s", where, key, type_name(pattern));
        if (!*json_string_value(pattern)) return fail(reader, "%s.%s: the pattern is empty", where, key);
        match->pattern[which] = strdup(json_string_value(pattern));
        if (!match->pattern[which]) return fail(reader, "no memory");
    }
    bool is_vulkan = match->pattern[MT_PATTERN_VULKAN_NAME] || match->pattern[MT_PATTERN_VULKAN_KIND];
    if (is_vulkan && match->pattern[MT_PATTERN_SCOPE])
        return fail(reader, "%s: scope cannot be combined with vulkan_name or vulkan_kind", where);
    if (match->pattern[MT_PATTERN_SYMBOL] && match->pattern[MT_PATTERN_SCOPE])
        return fail(reader, "%s: symbol and scope cannot be combined, stacks do not know scopes", where);
    match->is_vulkan = is_vulkan;
    return true;
}

static bool read_matches(const struct reader *reader, const char *where, json_t *value, struct mt_tag_rule *rule)
{
    char here[96];
    if (!json_is_array(value))
        return fail(reader, "%s.match: an array is needed, this is %s", where, type_name(value));
    rule->match_count = json_array_size(value);
    rule->matches = calloc(rule->match_count + 1, sizeof *rule->matches);
    if (!rule->matches) return fail(reader, "no memory");
    for (size_t i = 0; i < rule->match_count; i++) {
        snprintf(here, sizeof here, "%s.match[%zu]", where, i);
        if (!read_match(reader, here, json_array_get(value, i), &rule->matches[i])) return false;
    }
    return true;
}

/* "64M", or a number of bytes. */
static bool read_budget(const struct reader *reader, const char *where, const json_t *value, uint64_t *bytes)
{
    static const char units[] = "KMGT";
    if (json_is_integer(value) && json_integer_value(value) > 0) {
        *bytes = (uint64_t)json_integer_value(value);
        return true;
    }
    const char *text = json_string_value(value), *unit;
    char *end = NULL;
    double number = text ? strtod(text, &end) : 0;
    if (!text || end == text || !(number > 0) || number > 1e15)
        return fail(reader, "%s: a size is needed, as 67108864, \"64M\" or \"1.5G\"", where);
    int shift = 0;
    if (*end && (unit = strchr(units, *end & ~0x20))) {
        shift = 10 * (int)(unit - units + 1);
        end++;
    }
    if (*end) return fail(reader, "%s: \"%s\" is not a size; the units are K, M, G and T", where, text);
    *bytes = (uint64_t)(number * (double)(UINT64_C(1) << shift));
    return true;
}

static bool read_name(const struct reader *reader, const char *where, const json_t *value, struct mt_tag_rule *rule)
{
    const char *name = json_string_value(value);
    if (!name) return fail(reader, "%s.tag: a string is needed, this is %s", where, type_name(value));
    if (!*name) return fail(reader, "%s.tag: the name is empty", where);
    if (strlen(name) >= sizeof rule->name)
        return fail(reader, "%s.tag: \"%.20s...\" is too long, at most %zu bytes", where, name,
                    sizeof rule->name - 1);
    strcpy(rule->name, name);
    return true;
}

static bool read_rule(const struct reader *reader, size_t index, json_t *value, struct mt_tag_rule *rule)
{
    char where[48], budget[64];
    const char *key;
    json_t *member;
    snprintf(where, sizeof where, "tags[%zu]", index);
    snprintf(budget, sizeof budget, "%s.budget", where);
    if (!json_is_object(value)) return fail(reader, "%s: an object is needed, this is %s", where, type_name(value));
    json_object_foreach(value, key, member)
    {
        bool is_read = !strcmp(key, "tag")     ? read_name(reader, where, member, rule)
                       : !strcmp(key, "match") ? read_matches(reader, where, member, rule)
                       : !strcmp(key, "budget")
                           ? read_budget(reader, budget, member, &rule->budget_bytes)
                           : fail(reader, "%s: unknown key \"%s\"; a tag has tag, match and budget", where, key);
        if (!is_read) return false;
    }
    if (!rule->name[0]) return fail(reader, "%s: \"tag\", its name, is missing", where);
    if (!rule->match_count && !rule->budget_bytes)
        return fail(reader, "%s: neither \"match\" nor \"budget\" is there", where);
    return true;
}

static bool check_names(const struct reader *reader, const struct mt_tag_rules *rules)
{
    for (size_t i = 0; i < rules->count; i++)
        for (size_t k = 0; k < i; k++)
            if (!strcmp(rules->rules[i].name, rules->rules[k].name))
                return fail(reader,
                            "tags[%zu]: \"%s\" is also the name of tags[%zu]; give both their matches in one", i,
                            rules->rules[i].name, k);
    return true;
}

static bool read_document(const struct reader *reader, json_t *document, struct mt_tag_rules *rules)
{
    const char *key;
    json_t *member;
    if (!json_is_object(document)) return fail(reader, "the file must hold an object with \"tags\"");
    json_object_foreach(document, key, member)
    {
        if (strcmp(key, "tags")) return fail(reader, "unknown key \"%s\"; the file has tags", key);
    }
    json_t *list = json_object_get(document, "tags");
    if (!json_is_array(list)) return fail(reader, "\"tags\", an array, is missing");
    rules->rules = calloc(json_array_size(list) + 1, sizeof *rules->rules);
    if (!rules->rules) return fail(reader, "no memory");
    rules->count = json_array_size(list);
    for (size_t i = 0; i < rules->count; i++)
        if (!read_rule(reader, i, json_array_get(list, i), &rules->rules[i])) return false;
    return check_names(reader, rules);
}

struct mt_tag_rules *mt_tag_rules_load(const char *path, char *why, size_t why_bytes)
{
    struct reader reader = {why, why_bytes, path};
    struct mt_tag_rules *rules = calloc(1, sizeof *rules);
    json_error_t error;
    if (!rules) snprintf(why, why_bytes, "no memory");
    if (!rules || !path || !*path) return rules;
    errno = 0;
    json_t *document = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    bool is_read = document         ? read_document(&reader, document, rules)
                   : error.line > 0 ? fail(&reader, "line %d, column %d: %s", error.line, error.column, error.text)
                                    : fail(&reader, "%s", errno ? strerror(errno) : error.text);
    json_decref(document);
    if (is_read) return rules;
    mt_tag_rules_free(rules);
    return NULL;
}

void mt_tag_rules_free(struct mt_tag_rules *rules)
{
    if (!rules) return;
    for (size_t i = 0; i < rules->count; i++) {
        for (size_t k = 0; rules->rules[i].matches && k < rules->rules[i].match_count; k++)
            for (int p = 0; p < MT_PATTERN_COUNT; p++) free(rules->rules[i].matches[k].pattern[p]);
        free(rules->rules[i].matches);
    }
    free(rules->rules);
    free(rules);
}

bool mt_tag_rules_have_budgets(const struct mt_tag_rules *rules)
{
    for (size_t i = 0; i < rules->count; i++)
        if (rules->rules[i].budget_bytes) return true;
    return false;
}

static bool has_pattern(const struct mt_tag_rules *rules, enum mt_pattern which)
{
    for (size_t i = 0; i < rules->count; i++)
        for (size_t k = 0; k < rules->rules[i].match_count; k++)
            if (rules->rules[i].matches[k].pattern[which]) return true;
    return false;
}

bool mt_tag_rules_need_threads(const struct mt_tag_rules *rules)
{
    return has_pattern(rules, MT_PATTERN_THREAD);
}
