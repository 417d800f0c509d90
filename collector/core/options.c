/*
 * Reads options from the environment by the table options.def. Runs at start
 * on one thread inside the program, and in the command. It allocates nothing
 * and calls nothing that could allocate or depend on the locale.
 */
#include "options.h"
#include "core.h"

#include <errno.h>
#include <string.h>

#define BOOL     MT_TYPE_BOOL
#define INT      MT_TYPE_INT
#define SIZE     MT_TYPE_SIZE
#define SECONDS  MT_TYPE_SECONDS
#define CHOICE   MT_TYPE_CHOICE
#define TEXT     MT_TYPE_TEXT
#define HEAPS    MT_TYPE_HEAPS
#define FAILURES MT_TYPE_FAILURES

const struct mt_option_info mt_option_table[MT_OPT_COUNT] = {
#define MT_OPTION(id, name, type, def, min, max, choices, help) {#id, name, type, def, min, max, choices, help},
#include "options.def"
#undef MT_OPTION
};

#undef BOOL
#undef INT
#undef SIZE
#undef SECONDS
#undef CHOICE
#undef TEXT
#undef HEAPS
#undef FAILURES

static bool equals_any(const char *text, const char *const *words)
{
    for (; *words; words++)
        if (!strcmp(text, *words)) return true;
    return false;
}

static int parse_bool(const char *text, uint64_t *value)
{
    static const char *const yes[] = {"1", "on", "yes", "true", NULL};
    static const char *const no[] = {"0", "off", "no", "false", NULL};
    if (equals_any(text, yes))
        *value = 1;
    else if (equals_any(text, no))
        *value = 0;
    else
        return -EINVAL;
    return 0;
}

/* A decimal number without sign; *end is the first character behind it. */
static int parse_decimal(const char *text, double *value, const char **end)
{
    const char *at = text;
    double result = 0, scale = 1;
    while (*at >= '0' && *at <= '9') result = result * 10 + (*at++ - '0');
    if (*at == '.')
        for (at++; *at >= '0' && *at <= '9'; at++) result += (*at - '0') * (scale /= 10);
    if (at == text || (at == text + 1 && *text == '.')) return -EINVAL;
    *value = result;
    *end = at;
    return 0;
}

static int parse_size(const char *text, double *value)
{
    const char *end;
    if (parse_decimal(text, value, &end)) return -EINVAL;
    static const char suffixes[] = "KMGT";
    for (unsigned i = 0; *end && suffixes[i]; i++) {
        if ((*end | 32) != (suffixes[i] | 32)) continue;
        *value *= (double)(UINT64_C(1) << (10 * (i + 1)));
        end++;
        break;
    }
    if ((*end | 32) == 'i' && end > text && !(end[-1] >= '0' && end[-1] <= '9')) end++;
    if ((*end | 32) == 'b') end++;
    return *end ? -EINVAL : 0;
}

static int parse_choice(const char *text, const char *choices, uint64_t *value)
{
    size_t length = strlen(text);
    for (uint64_t index = 0; choices; index++) {
        const char *bar = strchr(choices, '|');
        size_t width = bar ? (size_t)(bar - choices) : strlen(choices);
        if (width == length && !memcmp(choices, text, length)) {
            *value = index;
            return 0;
        }
        choices = bar ? bar + 1 : NULL;
    }
    return -EINVAL;
}

static int parse_number(const struct mt_option_info *info, const char *text, uint64_t *value)
{
    double number;
    const char *end = "";
    int error = info->type == MT_TYPE_SIZE ? parse_size(text, &number) : parse_decimal(text, &number, &end);
    if (!error && info->type == MT_TYPE_SECONDS && *end == 's') end++;
    if (error || *end) return -EINVAL;
    if (number < info->min || number > info->max) return -ERANGE;
    if (info->type == MT_TYPE_INT && number != (double)(uint64_t)number) return -EINVAL;
    *value = (uint64_t)(info->type == MT_TYPE_SECONDS ? number * 1e9 : number);
    return 0;
}

static int parse(const struct mt_option_info *info, const char *text, uint64_t *value)
{
    uint64_t heaps[MT_OPTION_HEAPS];
    struct mt_failures failures;
    switch (info->type) {
    case MT_TYPE_BOOL: return parse_bool(text, value);
    case MT_TYPE_CHOICE: return parse_choice(text, info->choices, value);
    case MT_TYPE_TEXT: *value = 0; return 0;
    case MT_TYPE_HEAPS: *value = 0; return !*text || mt_option_heaps(text, heaps) ? 0 : -EINVAL;
    case MT_TYPE_FAILURES: *value = 0; return !*text || mt_option_failures(text, &failures) ? 0 : -EINVAL;
    case MT_TYPE_INT:
    case MT_TYPE_SIZE:
    case MT_TYPE_SECONDS: return parse_number(info, text, value);
    }
    return -EINVAL;
}

static void print_number(const struct mt_option_info *info, double number, char *buffer, size_t bytes)
{
    uint64_t value = (uint64_t)number;
    if (info->type == MT_TYPE_SECONDS && number > 0 && number < 1)
        mt_format(buffer, bytes, "0.%lu s", (unsigned long)(number * 10));
    else if (info->type == MT_TYPE_SECONDS)
        mt_format(buffer, bytes, "%lu s", (unsigned long)value);
    else if (info->type == MT_TYPE_SIZE && value >= 1u << 30 && !(value & ((1u << 30) - 1)))
        mt_format(buffer, bytes, "%luG", (unsigned long)(value >> 30));
    else if (info->type == MT_TYPE_SIZE && value >= 1u << 20 && !(value & ((1u << 20) - 1)))
        mt_format(buffer, bytes, "%luM", (unsigned long)(value >> 20));
    else if (info->type == MT_TYPE_SIZE && value >= 1024 && !(value & 1023))
        mt_format(buffer, bytes, "%luK", (unsigned long)(value >> 10));
    else
        mt_format(buffer, bytes, "%lu", (unsigned long)value);
}

static void describe_expected(const struct mt_option_info *info, char *buffer, size_t bytes)
{
    char low[32], high[32];
    switch (info->type) {
    case MT_TYPE_BOOL: mt_format(buffer, bytes, "on or off"); return;
    case MT_TYPE_CHOICE: mt_format(buffer, bytes, "one of %s", info->choices); return;
    case MT_TYPE_TEXT: mt_format(buffer, bytes, "a text"); return;
    case MT_TYPE_HEAPS: mt_format(buffer, bytes, "HEAP:SIZE[,HEAP:SIZE...], such as 0:4G,1:512M"); return;
    case MT_TYPE_FAILURES: mt_format(buffer, bytes, "N, every:N or rate:P with P up to 1"); return;
    case MT_TYPE_INT:
    case MT_TYPE_SIZE:
    case MT_TYPE_SECONDS: break;
    }
    print_number(info, info->min, low, sizeof low);
    print_number(info, info->max, high, sizeof high);
    const char *what = info->type == MT_TYPE_SIZE  ? "a size"
                       : info->type == MT_TYPE_INT ? "a whole number"
                                                   : "a number";
    mt_format(buffer, bytes, "%s from %s to %s", what, low, high);
}

int mt_option_set(struct mt_option_values *values, enum mt_option option, const char *text, char *message,
                  size_t message_bytes)
{
    const struct mt_option_info *info = &mt_option_table[option];
    uint64_t value = 0;
    int error = parse(info, text, &value);
    if (error) {
        char expected[160];
        describe_expected(info, expected, sizeof expected);
        mt_format(message, message_bytes, "%s=%s: expected %s; using %s", info->name, text, expected,
                  values->text[option] && *values->text[option] ? values->text[option] : "the default");
        return -EINVAL;
    }
    values->number[option] = value;
    values->text[option] = text;
    return 0;
}

static int find_option(const char *entry, const char **value)
{
    const char *equals = strchr(entry, '=');
    if (!equals) return -1;
    for (int i = 0; i < MT_OPT_COUNT; i++) {
        size_t length = strlen(mt_option_table[i].name);
        if ((size_t)(equals - entry) == length && !memcmp(entry, mt_option_table[i].name, length)) {
            *value = equals + 1;
            return i;
        }
    }
    return -1;
}

static void complain_unknown(const char *entry, mt_option_complaint *complain)
{
    char name[80], line[200];
    const char *equals = strchr(entry, '=');
    size_t length = equals ? (size_t)(equals - entry) : strlen(entry);
    if (length >= sizeof name) length = sizeof name - 1;
    memcpy(name, entry, length);
    name[length] = 0;
    mt_format(line, sizeof line, "unknown option %s is ignored; `memtrack env` lists the options", name);
    complain(line);
}

unsigned mt_options_read(struct mt_option_values *values, char *const *environment, mt_option_complaint *complain)
{
    unsigned problems = 0;
    char message[512];
    for (int i = 0; i < MT_OPT_COUNT; i++) {
        values->text[i] = NULL;
        mt_option_set(values, (enum mt_option)i, mt_option_table[i].default_text, message, sizeof message);
    }
    for (; environment && *environment; environment++) {
        const char *value;
        if (strncmp(*environment, "MEMTRACK_", 9) || !strncmp(*environment, "MEMTRACK_OVER_", 14)) continue;
        int option = find_option(*environment, &value);
        if (option >= 0 &&
            (!*value || !mt_option_set(values, (enum mt_option)option, value, message, sizeof message)))
            continue;
        problems++;
        if (!complain) continue;
        if (option < 0)
            complain_unknown(*environment, complain);
        else
            complain(message);
    }
    return problems;
}

size_t mt_options_print(const struct mt_option_values *values, char *buffer, size_t bytes)
{
    size_t at = 0;
    if (bytes) buffer[0] = 0;
    for (int i = 0; i < MT_OPT_COUNT && at + 1 < bytes; i++)
        at += mt_format(buffer + at, bytes - at, "%s=%s\n", mt_option_table[i].name, values->text[i]);
    return at;
}
