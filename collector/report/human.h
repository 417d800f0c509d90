/* Numbers as people read them. Pure functions; the returned text is the buffer given. */
#ifndef MT_HUMAN_H
#define MT_HUMAN_H

#include <stddef.h>
#include <stdint.h>

enum { MT_HUMAN_BYTES = 32 };

/* "1.5 MiB", "12 B", "-3.0 KiB" */
const char *mt_human_bytes(char buffer[MT_HUMAN_BYTES], int64_t bytes);
/* "12", "1,234,567" */
const char *mt_human_count(char buffer[MT_HUMAN_BYTES], int64_t count);
/* "850 ns", "12.3 us", "4.56 ms", "1.20 s" */
const char *mt_human_ns(char buffer[MT_HUMAN_BYTES], int64_t nanoseconds);
/* "12.3 s", "4 min 05 s", "3 h 02 min" */
const char *mt_human_seconds(char buffer[MT_HUMAN_BYTES], double seconds);

#endif
