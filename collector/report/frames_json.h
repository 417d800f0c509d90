/*
 * The report's part "frames": distributions, the worst and the longest frames
 * with their stacks, hitches. One thread; reads a snapshot.
 */
#ifndef MT_FRAMES_JSON_H
#define MT_FRAMES_JSON_H

#include "rates.h"
#include "snapshot.h"

#include <jansson.h>

/* The whole part; rates may be NULL. */
json_t *mt_frames_json(const struct mt_snapshot *snapshot, const struct mt_rates *rates);
/* The stacks that kept frames name, in ascending order; they must be in the report's list of stacks. */
enum { MT_FRAMES_STACK_IDS = 2 * MT_WORST_FRAMES * MT_FRAME_STACKS };
int mt_compare_u32(const void *a, const void *b); /* for bsearch() in it */
size_t mt_frames_stack_ids(const struct mt_snapshot *snapshot, uint32_t ids[MT_FRAMES_STACK_IDS]);

#endif
