/* Numbers as people read them; see human.h. */
#include "human.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *mt_human_bytes(char buffer[MT_HUMAN_BYTES], int64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = bytes < 0 ? -(double)bytes : (double)bytes;
    unsigned unit = 0;
    while (value >= 1023.95 && unit < 6) {
        value /= 1024;
        unit++;
    }
    const char *sign = bytes < 0 ? "-" : "";
    if (!unit)
        snprintf(buffer, MT_HUMAN_BYTES, "%s%.0f B", sign, value);
    else
        snprintf(buffer, MT_HUMAN_BYTES, "%s%.*f %s", sign, value < 99.95 ? 1 : 0, value, units[unit]);
    return buffer;
}

const char *mt_human_count(char buffer[MT_HUMAN_BYTES], int64_t count)
{
    char digits[MT_HUMAN_BYTES];
    snprintf(digits, sizeof digits, "%" PRIu64, count < 0 ? 0 - (uint64_t)count : (uint64_t)count);
    size_t length = strlen(digits), at = 0;
    if (count < 0) buffer[at++] = '-';
    for (size_t i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0) buffer[at++] = ',';
        buffer[at++] = digits[i];
    }
    buffer[at] = 0;
    return buffer;
}

const char *mt_human_ns(char buffer[MT_HUMAN_BYTES], int64_t nanoseconds)
{
    double value = (double)nanoseconds;
    if (value < 1e3)
        snprintf(buffer, MT_HUMAN_BYTES, "%.0f ns", value);
    else if (value < 1e6)
        snprintf(buffer, MT_HUMAN_BYTES, "%.1f us", value / 1e3);
    else if (value < 1e9)
        snprintf(buffer, MT_HUMAN_BYTES, "%.2f ms", value / 1e6);
    else
        snprintf(buffer, MT_HUMAN_BYTES, "%.2f s", value / 1e9);
    return buffer;
}

const char *mt_human_seconds(char buffer[MT_HUMAN_BYTES], double seconds)
{
    uint64_t whole = seconds > 0 ? (uint64_t)seconds : 0;
    if (whole < 60)
        snprintf(buffer, MT_HUMAN_BYTES, "%.1f s", seconds);
    else if (whole < 3600)
        snprintf(buffer, MT_HUMAN_BYTES, "%" PRIu64 " min %02" PRIu64 " s", whole / 60, whole % 60);
    else
        snprintf(buffer, MT_HUMAN_BYTES, "%" PRIu64 " h %02" PRIu64 " min", whole / 3600, whole / 60 % 60);
    return buffer;
}
