/*
 * The part "sparse_binding" of a sparse buffer or image: which of its ranges
 * lie where in which memory. Called with a view of its device; keeps nothing.
 */
#ifndef MT_VULKAN_SPARSE_JSON_H
#define MT_VULKAN_SPARSE_JSON_H

#include "vulkan_view.h"

#include <jansson.h>

/* {bound_bytes, ranges[]} of the resource with this id. The caller owns it. */
json_t *mt_vulkan_sparse_json(const struct mt_vulkan_view *device, uint32_t resource);

#endif
