/*
 * The part cpu.pools of the report, and what follows from the pools' own
 * metadata. One thread.
 */
#ifndef MT_POOLS_JSON_H
#define MT_POOLS_JSON_H

#include "snapshot.h"

#include <jansson.h>
#include <stdio.h>

/* Parts of pools that serve nothing are empty. */
json_t *mt_pools_json(const struct mt_snapshot *snapshot);
/* Requested bytes of the live blocks, an estimate; NULL where nothing is known. */
json_t *mt_pools_requested_json(const struct mt_snapshot *snapshot);

/* The size classes that hold most, for the text report: at most so many rows. */
void mt_pools_text(FILE *out, const json_t *pools, size_t rows);

#endif
