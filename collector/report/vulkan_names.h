/*
 * Names of Vulkan's numbers and the kinds that the report sorts resources
 * into. Pure functions; needs no Vulkan header.
 */
#ifndef MT_VULKAN_NAMES_H
#define MT_VULKAN_NAMES_H

#include <stdbool.h>
#include <stdint.h>

struct mt_flag_name {
    uint64_t bit;
    const char *name;
};

/* Tables that end with {0, NULL}. */
extern const struct mt_flag_name mt_vk_memory_properties[];
extern const struct mt_flag_name mt_vk_heap_flags[];
extern const struct mt_flag_name mt_vk_buffer_usages[];
extern const struct mt_flag_name mt_vk_image_usages[];
extern const struct mt_flag_name mt_vk_handle_types[];

/* NULL for a number without a name here. */
const char *mt_vk_format_name(uint32_t format);
const char *mt_vk_driver_name(uint32_t driver_id);
const char *mt_vk_device_type_name(uint32_t type);
const char *mt_vk_present_mode_name(uint32_t mode);
bool mt_vk_format_is_depth(uint32_t format);

/* "gpu_only", "cpu_visible" or "both" out of VkMemoryPropertyFlags. */
const char *mt_vk_property_class(uint64_t properties);

/*
 * The one kind of a resource out of its usage bits: the first rule that fits
 * wins. The order is written down in docs/report.md.
 */
const char *mt_vk_buffer_kind(uint64_t usage, bool memory_is_host_visible);
const char *mt_vk_image_kind(uint64_t usage, uint32_t format, bool is_swapchain);
/* The level of an acceleration structure; the codec and direction of a video session. */
const char *mt_vk_accel_kind(uint64_t type, bool is_micromap);
const char *mt_vk_video_kind(uint64_t codec_operation);

#endif
