/* The report's part "memory_report" of a device; see vulkan_memory_report_json.c. */
#ifndef MT_VULKAN_MEMORY_REPORT_JSON_H
#define MT_VULKAN_MEMORY_REPORT_JSON_H

#include "vulkan_view.h"

#include <jansson.h>

json_t *mt_vulkan_memory_report_json(const struct mt_vulkan_view *device);

#endif
