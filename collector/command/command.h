/*
 * The memtrack command: its subcommands and what they share. Every subcommand
 * gets argv from its own name on and returns an exit status.
 */
#ifndef MT_COMMAND_H
#define MT_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MT_EXIT_FAILURE = 1, MT_EXIT_USAGE = 2, MT_EXIT_NOT_EXECUTABLE = 126, MT_EXIT_NOT_FOUND = 127 };

int mt_command_run(int argc, char **argv);
int mt_command_collect(int argc, char **argv);
int mt_command_report(int argc, char **argv);
int mt_command_top(int argc, char **argv);
int mt_command_dump(int argc, char **argv);
int mt_command_env(int argc, char **argv);
int mt_command_diff(int argc, char **argv);
int mt_command_export(int argc, char **argv);

/* "memtrack: " and one line on stderr, or into the log that mt_log_to() named. */
void mt_tell(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* From now on lines go to the end of this file. */
void mt_log_to(const char *path);

/* A usage error: one line, and MT_EXIT_USAGE. */
int mt_usage_error(const char *subcommand, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The text of `memtrack help SUBCOMMAND`; prints it on stdout. */
int mt_command_help(const char *subcommand);

/*
 * Matches "--name=value" and "--name value" at argv[*at]: true with *value set
 * and *at moved past the value. A missing value gives true and *value NULL.
 */
bool mt_option_argument(int argc, char **argv, int *at, const char *name, const char **value);

/* A whole number in [low, high]; false for anything else. */
bool mt_parse_number(const char *text, long low, long high, long *number);

/* Makes a directory and what is missing above it. 0 or -errno. */
int mt_make_directories(const char *path, unsigned mode);

/* Checks the file of tag rules that the environment names, and sets what it needs in the environment. */
void mt_run_prepare_tags(void);

/* Where the parts of memtrack lie, found from the command's own file. */
struct mt_places {
    char preload[1024];        /* libmemtrack.so, "" when not found */
    char data_directory[1024]; /* holds vulkan/implicit_layer.d/VkLayer_memtrack.json, "" when not found */
};
void mt_find_places(struct mt_places *places);

#endif
