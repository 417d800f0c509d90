/*
 * Binds of blocks of sparse images: turns a region of a mip level and layer
 * into ranges of bytes in the order of its blocks (x, y, z), in which memory
 * is bound to them. Asks the driver for the blocks' shape. Hooks on any thread,
 * no lock held.
 */
#include "layer.h"

enum { ASPECTS = 4 };

/* What is known of one image. */
struct image {
    uint64_t handle, block_bytes;
    VkExtent3D extent;
    uint32_t levels, layers;
    uint32_t aspect_count;
    VkSparseImageMemoryRequirements aspects[ASPECTS];
};

/* In blocks. */
struct grid {
    uint64_t x, y, z;
};

static uint64_t blocks_of(uint64_t texels, uint32_t block)
{
    return (texels + block - 1) / block;
}

static bool read_record(struct mt_device *device, struct image *image)
{
    struct mt_node *node = mt_handles_enter(&device->images, image->handle);
    if (!node) {
        mt_device_unknown(device);
        return false;
    }
    const struct mt_object *record = mt_node_object(device, node);
    if (record) {
        const uint64_t *attr = record->attr;
        image->extent.width = (uint32_t)attr[MT_VK_IMAGE_EXTENT];
        image->extent.height = (uint32_t)(attr[MT_VK_IMAGE_EXTENT] >> 32);
        image->extent.depth = (uint32_t)attr[MT_VK_IMAGE_DEPTH_LAYERS];
        image->layers = (uint32_t)(attr[MT_VK_IMAGE_DEPTH_LAYERS] >> 32);
        image->levels = (uint32_t)attr[MT_VK_IMAGE_MIPS_SAMPLES];
        image->block_bytes = attr[MT_VK_RESOURCE_ALIGNMENT]; /* of a sparse image: the size of its blocks */
    }
    mt_handles_leave(&device->images, node);
    return record != NULL;
}

static bool read_image(struct mt_device *device, VkImage handle, struct image *image)
{
    *image = (struct image){.handle = MT_HANDLE(handle), .aspect_count = ASPECTS};
    if (!read_record(device, image) || !device->GetImageSparseMemoryRequirements) return false;
    if (!image->block_bytes) {
        VkMemoryRequirements required;
        device->next.GetImageMemoryRequirements(device->handle, handle, &required);
        image->block_bytes = required.alignment;
    }
    device->GetImageSparseMemoryRequirements(device->handle, handle, &image->aspect_count, image->aspects);
    return image->block_bytes && image->aspect_count <= ASPECTS;
}

/* The number of an aspect in the driver's list; ASPECTS when it is not there. */
static uint32_t aspect_of(const struct image *image, VkImageAspectFlags aspect)
{
    uint32_t i = 0;
    while (i < image->aspect_count && !(image->aspects[i].formatProperties.aspectMask & aspect)) i++;
    return i < image->aspect_count ? i : ASPECTS;
}

static uint32_t level_size(uint32_t size, uint32_t level)
{
    return size >> level ? size >> level : 1;
}

static struct grid level_grid(const struct image *image, uint32_t level, VkExtent3D block)
{
    return (struct grid){blocks_of(level_size(image->extent.width, level), block.width),
                         blocks_of(level_size(image->extent.height, level), block.height),
                         blocks_of(level_size(image->extent.depth, level), block.depth)};
}

/* Rows that fill the level are one range with those behind them, and so are such layers of rows. */
static void join_rows(const struct grid *level, struct grid *part)
{
    if (part->x != level->x) return;
    part->x *= part->y;
    bool is_whole = part->y == level->y;
    part->y = 1;
    if (!is_whole) return;
    part->x *= part->z;
    part->z = 1;
}

static bool record_region(struct mt_device *device, struct mt_sparse_place *place, uint64_t base,
                          const struct grid *level, const struct grid *from, struct grid part)
{
    bool is_recorded = true;
    join_rows(level, &part);
    place->bytes = part.x * place->block_bytes;
    for (uint64_t z = 0; z < part.z; z++) {
        for (uint64_t y = 0; y < part.y; y++) {
            uint64_t block = ((from->z + z) * level->y + from->y + y) * level->x + from->x;
            place->start = base + block * place->block_bytes;
            is_recorded &= mt_sparse_record(device, place);
            if (place->memory) place->memory_offset += place->bytes;
        }
    }
    return is_recorded;
}

static bool record_bind(struct mt_device *device, const struct image *image, uint64_t group_device,
                        const VkSparseImageMemoryBind *bind)
{
    const VkImageSubresource *at = &bind->subresource;
    uint32_t aspect = aspect_of(image, at->aspectMask);
    if (aspect == ASPECTS || at->mipLevel >= image->levels || at->arrayLayer >= image->layers) return false;
    VkExtent3D block = image->aspects[aspect].formatProperties.imageGranularity;
    if (!block.width || !block.height || !block.depth || bind->offset.x < 0 || bind->offset.y < 0 ||
        bind->offset.z < 0)
        return false;
    struct grid level = level_grid(image, at->mipLevel, block);
    struct grid from = {(uint32_t)bind->offset.x / block.width, (uint32_t)bind->offset.y / block.height,
                        (uint32_t)bind->offset.z / block.depth};
    struct grid part = {blocks_of(bind->extent.width, block.width), blocks_of(bind->extent.height, block.height),
                        blocks_of(bind->extent.depth, block.depth)};
    if (from.x + part.x > level.x || from.y + part.y > level.y || from.z + part.z > level.z) return false;
    struct mt_sparse_place place = {.map = &device->images,
                                    .resource = image->handle,
                                    .aspect = at->aspectMask,
                                    .block_bytes = image->block_bytes,
                                    .memory = MT_HANDLE(bind->memory),
                                    .memory_offset = bind->memoryOffset};
    uint64_t base = MT_VK_SPARSE_BLOCKS | group_device << MT_VK_SPARSE_DEVICE_SHIFT |
                    (uint64_t)aspect << MT_VK_SPARSE_ASPECT_SHIFT |
                    (uint64_t)at->arrayLayer << MT_VK_SPARSE_LAYER_SHIFT |
                    (uint64_t)at->mipLevel << MT_VK_SPARSE_LEVEL_SHIFT;
    return record_region(device, &place, base, &level, &from, part);
}

bool mt_sparse_record_blocks(struct mt_device *device, uint64_t group_device,
                             const VkSparseImageMemoryBindInfo *info)
{
    struct image image;
    if (!read_image(device, info->image, &image)) return false;
    bool is_recorded = true;
    for (uint32_t i = 0; i < info->bindCount; i++)
        is_recorded &= record_bind(device, &image, group_device, &info->pBinds[i]);
    return is_recorded;
}
