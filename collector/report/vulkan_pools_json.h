/* The part "pools" of a Vulkan device in the report. One thread per document. */
#ifndef MT_VULKAN_POOLS_JSON_H
#define MT_VULKAN_POOLS_JSON_H

#include "snapshot.h"

#include <jansson.h>

/* device is the object id of the device's record. */
json_t *mt_vulkan_pools_json(const struct mt_snapshot *snapshot, uint32_t device);

#endif
