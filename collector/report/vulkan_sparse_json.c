/*
 * The ranges of sparse resources as JSON; see the header.
 */
#include "vulkan_sparse_json.h"

#include "json_build.h"
#include "vulkan_records.h"

enum { DEVICE_BITS = 3, LAYER_BITS = 12, LEVEL_BITS = 5 };

static uint64_t field(uint64_t start, unsigned shift, unsigned bits)
{
    return start >> shift & ((UINT64_C(1) << bits) - 1);
}

static const char *aspect_name(uint64_t aspect)
{
    static const char *const names[] = {"color", "depth", "stencil", "metadata", "plane_0", "plane_1", "plane_2"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (aspect == UINT64_C(1) << i) return names[i];
    return NULL;
}

/* The blocks of one mip level and layer that a range covers, in the order x, y, z. */
static json_t *blocks_json(const struct mt_object *range)
{
    uint64_t start = range->attr[MT_VK_SPARSE_START], block_bytes = range->attr[MT_VK_SPARSE_BLOCK_BYTES];
    if (!(start & MT_VK_SPARSE_BLOCKS) || !block_bytes) return json_null();
    uint64_t byte = field(start, 0, MT_VK_SPARSE_LEVEL_SHIFT);
    json_t *part = json_object();
    mt_json_set_text(part, "aspect", aspect_name(range->attr[MT_VK_SPARSE_ASPECT]));
    mt_json_set_u64(part, "mip_level", field(start, MT_VK_SPARSE_LEVEL_SHIFT, LEVEL_BITS));
    mt_json_set_u64(part, "array_layer", field(start, MT_VK_SPARSE_LAYER_SHIFT, LAYER_BITS));
    mt_json_set_u64(part, "first", byte / block_bytes);
    mt_json_set_u64(part, "count", range->size_bytes / block_bytes);
    mt_json_set_u64(part, "block_bytes", block_bytes);
    return part;
}

static json_t *range_json(const struct mt_object *range)
{
    uint64_t start = range->attr[MT_VK_SPARSE_START];
    bool is_bound = mt_vulkan_is_bound(range), is_blocks = start & MT_VK_SPARSE_BLOCKS;
    json_t *row = json_object();
    mt_json_set(row, "offset", is_blocks ? NULL : mt_json_u64(field(start, 0, MT_VK_SPARSE_DEVICE_SHIFT)));
    mt_json_set_bool(row, "metadata", !is_blocks && (start & MT_VK_SPARSE_METADATA));
    mt_json_set(row, "blocks", blocks_json(range));
    mt_json_set_u64(row, "device_index", field(start, MT_VK_SPARSE_DEVICE_SHIFT, DEVICE_BITS));
    mt_json_set_u64(row, "bytes", range->size_bytes);
    mt_json_set(row, "memory", is_bound ? mt_json_u64(range->link) : NULL);
    mt_json_set(row, "memory_offset", is_bound ? mt_json_u64(range->offset) : NULL);
    return row;
}

json_t *mt_vulkan_sparse_json(const struct mt_vulkan_view *device, uint32_t resource)
{
    json_t *part = json_object(), *rows = json_array();
    for (size_t i = mt_vulkan_first_range(device, resource);
         i < device->range_count && device->ranges[i]->attr[MT_VK_SPARSE_RESOURCE] == resource; i++)
        json_array_append_new(rows, range_json(device->ranges[i]));
    mt_json_set_u64(part, "bound_bytes", mt_vulkan_sparse_bytes(device, resource));
    mt_json_set(part, "ranges", rows);
    return part;
}
