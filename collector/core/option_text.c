/*
 * Reads the texts of options that are more than one number: sizes by heap, and
 * which calls are to fail. Pure functions, used where mt_options_read() is and
 * by those who act on the options.
 */
#include "options.h"

#include <string.h>

static bool read_digits(const char **at, uint64_t *value)
{
    const char *start = *at;
    for (*value = 0; **at >= '0' && **at <= '9'; ++*at) {
        if (*value > UINT64_MAX / 16) return false;
        *value = *value * 10 + (uint64_t)(**at - '0');
    }
    return *at > start;
}

static bool read_size(const char **at, uint64_t *bytes)
{
    static const char suffixes[] = "KMGT";
    if (!read_digits(at, bytes)) return false;
    const char *suffix = **at ? strchr(suffixes, **at & ~32) : NULL;
    if (suffix && **at != ',') {
        unsigned shift = 10u * (unsigned)(suffix - suffixes + 1);
        if (*bytes > UINT64_MAX >> shift) return false;
        *bytes <<= shift;
        ++*at;
    }
    return *bytes > 0;
}

bool mt_option_heaps(const char *text, uint64_t bytes[MT_OPTION_HEAPS])
{
    uint64_t heap, size;
    const char *at = text;
    memset(bytes, 0, MT_OPTION_HEAPS * sizeof *bytes);
    for (;;) {
        if (!read_digits(&at, &heap) || heap >= MT_OPTION_HEAPS || *at++ != ':' || !read_size(&at, &size))
            return false;
        if (bytes[heap]) return false;
        bytes[heap] = size;
        if (!*at) return true;
        if (*at++ != ',') return false;
    }
}

/* A part from 0 (exclusive) to 1, as a share of 2^64. */
static bool read_part(const char *text, uint64_t *share)
{
    double value = 0, scale = 1;
    const char *at = text;
    while (*at >= '0' && *at <= '9') value = value * 10 + (*at++ - '0');
    if (*at == '.')
        for (at++; *at >= '0' && *at <= '9'; at++) value += (*at - '0') * (scale /= 10);
    if (*at || at == text || value <= 0 || value > 1) return false;
    *share = value >= 1 ? UINT64_MAX : (uint64_t)(value * 18446744073709551616.0);
    return true;
}

bool mt_option_failures(const char *text, struct mt_failures *failures)
{
    memset(failures, 0, sizeof *failures);
    if (!strncmp(text, "rate:", 5)) {
        failures->mode = MT_FAIL_RATE;
        return read_part(text + 5, &failures->chance);
    }
    failures->mode = strncmp(text, "every:", 6) ? MT_FAIL_ONCE : MT_FAIL_EVERY;
    if (failures->mode == MT_FAIL_EVERY) text += 6;
    return read_digits(&text, &failures->number) && !*text && failures->number;
}
