/*
 * Which tag an origin has, as far as the process itself can tell: by the rules
 * of MEMTRACK_TAGS, else by its module, from a table of the libraries that
 * games use. The collector decides for the report, by the same table; it
 * believes what the process found only where both agree.
 *
 * Any thread. Nothing here allocates from the program's heap; errno is
 * preserved by the callers.
 */
#ifndef MT_TAG_TABLE_H
#define MT_TAG_TABLE_H

#include "core.h"

/*
 * The default tag of a module by its path: "" for one that is the same in every
 * program and passes the question on to its caller, NULL for one that no line
 * of the table names, which is then MT_TAG_ENGINE.
 */
const char *mt_tag_table_of_module(const char *path);
#define MT_TAG_ENGINE "engine"

/* As many as the table's default tags, for who keeps one row for each. */
unsigned mt_tag_table_count(void);

/* Patterns of the shell: * ? [...], and \ before one of them. */
bool mt_glob_matches(const char *pattern, const char *text);

/* Reads the file of rules, where there is one. One thread, at the start. */
void mt_tag_table_start(struct mt_core *core);

/* The number of the tag of an origin of that module (NULL: of none), thread and scope (""), as
 * mt_scope_find_tag() gives it; 0 where it depends on the call stack, or on rules that the process cannot read. */
uint32_t mt_tag_table_find(struct mt_core *core, const char *module, const char *thread, const char *scope);

#endif
