/*
 * The report's part "vulkan.host": host memory of drivers by scope and by
 * command; and the counters of a row of heaps, which several parts print.
 */
#ifndef MT_VULKAN_HOST_JSON_H
#define MT_VULKAN_HOST_JSON_H

#include "snapshot.h"

#include <jansson.h>

json_t *mt_vulkan_host_json(const struct mt_snapshot *snapshot);
/* Sets current, peak, total and counts of a row of the snapshot's heaps. */
void mt_vulkan_set_heap_counts(json_t *row, const struct mt_snapshot *snapshot, const struct mt_heap *heap);

#endif
