/*
 * cpu.pools.arena of the report, and its lines in the text. One thread.
 */
#ifndef MT_ARENA_JSON_H
#define MT_ARENA_JSON_H

#include "snapshot.h"

#include <jansson.h>
#include <stdio.h>

json_t *mt_arena_json(const struct mt_snapshot *snapshot);
/* arena: that part of a document. Prints nothing where no arena was ever used. */
void mt_arena_text(FILE *out, const json_t *arena, size_t rows);

#endif
