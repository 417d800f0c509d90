/*
 * Options: one table (options.def) read from the environment. Used by the
 * injected libraries at start, on one thread, and by the command. Allocates nothing.
 */
#ifndef MT_OPTIONS_H
#define MT_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum mt_option {
#define MT_OPTION(id, name, type, def, min, max, choices, help) MT_OPT_##id,
#include "options.def"
#undef MT_OPTION
    MT_OPT_COUNT
};

enum mt_option_type {
    MT_TYPE_BOOL,
    MT_TYPE_INT,
    MT_TYPE_SIZE,
    MT_TYPE_SECONDS,
    MT_TYPE_CHOICE,
    MT_TYPE_TEXT,
    MT_TYPE_HEAPS,    /* a text for mt_option_heaps(), or empty */
    MT_TYPE_FAILURES, /* a text for mt_option_failures(), or empty */
};

struct mt_option_info {
    const char *id;   /* "OUTPUT" */
    const char *name; /* "MEMTRACK_OUTPUT" */
    enum mt_option_type type;
    const char *default_text;
    double min, max;
    const char *choices;
    const char *help;
};

extern const struct mt_option_info mt_option_table[MT_OPT_COUNT];

struct mt_option_values {
    uint64_t number[MT_OPT_COUNT];  /* BOOL 0/1, INT, SIZE in bytes, SECONDS in nanoseconds, CHOICE index */
    const char *text[MT_OPT_COUNT]; /* the text in force; points into the environment or the table */
};

/* How many problems mt_options_read() found. Each is told to `complain` as one whole line. */
typedef void mt_option_complaint(const char *line);

/*
 * Fills values from the environment; a bad value keeps the default. Variables
 * that start with MEMTRACK_ and are not in the table are complained of too, but
 * not those that MEMTRACK_ON_OVER_BUDGET's command gets (MEMTRACK_OVER_...).
 * complain may be NULL. environment is a NULL-ended array as `environ`, or
 * NULL for defaults only.
 */
unsigned mt_options_read(struct mt_option_values *values, char *const *environment, mt_option_complaint *complain);

/* Sets one option from a text. Returns 0, or -EINVAL with one line in message. */
int mt_option_set(struct mt_option_values *values, enum mt_option option, const char *text, char *message,
                  size_t message_bytes);

/* "0:4G,1:512M": sizes by heap, each heap once; 0 where none is given. False for anything else. */
enum { MT_OPTION_HEAPS = 16 };
bool mt_option_heaps(const char *text, uint64_t bytes[MT_OPTION_HEAPS]);

/* "7", "every:10" or "rate:0.01": which calls are to fail. False for anything else. */
enum mt_failure_mode { MT_FAIL_NEVER, MT_FAIL_ONCE, MT_FAIL_EVERY, MT_FAIL_RATE };
struct mt_failures {
    enum mt_failure_mode mode;
    uint64_t number; /* of ONCE and EVERY */
    uint64_t chance; /* of RATE, of 2^64 */
};
bool mt_option_failures(const char *text, struct mt_failures *failures);

/* Writes "NAME=value\n" for all options; returns the bytes written, without the NUL. */
size_t mt_options_print(const struct mt_option_values *values, char *buffer, size_t bytes);

#endif
