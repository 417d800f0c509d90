/*
 * The tables of Vulkan's names. Numbers are those of the Vulkan registry and
 * never change once published; a number that is not here is printed as it is.
 */
#include "vulkan_names.h"

#include <stddef.h>

const struct mt_flag_name mt_vk_memory_properties[] = {
    {0x1u, "DEVICE_LOCAL"},         {0x2u, "HOST_VISIBLE"},
    {0x4u, "HOST_COHERENT"},        {0x8u, "HOST_CACHED"},
    {0x10u, "LAZILY_ALLOCATED"},    {0x20u, "PROTECTED"},
    {0x40u, "DEVICE_COHERENT_AMD"}, {0x80u, "DEVICE_UNCACHED_AMD"},
    {0x100u, "RDMA_CAPABLE_NV"},    {0, NULL},
};

const struct mt_flag_name mt_vk_heap_flags[] = {
    {0x1u, "DEVICE_LOCAL"},
    {0x2u, "MULTI_INSTANCE"},
    {0, NULL},
};

const struct mt_flag_name mt_vk_buffer_usages[] = {
    {0x1u, "TRANSFER_SRC"},
    {0x2u, "TRANSFER_DST"},
    {0x4u, "UNIFORM_TEXEL_BUFFER"},
    {0x8u, "STORAGE_TEXEL_BUFFER"},
    {0x10u, "UNIFORM_BUFFER"},
    {0x20u, "STORAGE_BUFFER"},
    {0x40u, "INDEX_BUFFER"},
    {0x80u, "VERTEX_BUFFER"},
    {0x100u, "INDIRECT_BUFFER"},
    {0x20000u, "SHADER_DEVICE_ADDRESS"},
    {0x2000u, "VIDEO_DECODE_SRC_KHR"},
    {0x4000u, "VIDEO_DECODE_DST_KHR"},
    {0x800u, "TRANSFORM_FEEDBACK_BUFFER_EXT"},
    {0x1000u, "TRANSFORM_FEEDBACK_COUNTER_BUFFER_EXT"},
    {0x200u, "CONDITIONAL_RENDERING_EXT"},
    {0x80000u, "ACCELERATION_STRUCTURE_BUILD_INPUT_READ_ONLY_KHR"},
    {0x100000u, "ACCELERATION_STRUCTURE_STORAGE_KHR"},
    {0x400u, "SHADER_BINDING_TABLE_KHR"},
    {0x8000u, "VIDEO_ENCODE_DST_KHR"},
    {0x10000u, "VIDEO_ENCODE_SRC_KHR"},
    {0x200000u, "SAMPLER_DESCRIPTOR_BUFFER_EXT"},
    {0x400000u, "RESOURCE_DESCRIPTOR_BUFFER_EXT"},
    {0x4000000u, "PUSH_DESCRIPTORS_DESCRIPTOR_BUFFER_EXT"},
    {0x800000u, "MICROMAP_BUILD_INPUT_READ_ONLY_EXT"},
    {0x1000000u, "MICROMAP_STORAGE_EXT"},
    {0, NULL},
};

const struct mt_flag_name mt_vk_image_usages[] = {
    {0x1u, "TRANSFER_SRC"},
    {0x2u, "TRANSFER_DST"},
    {0x4u, "SAMPLED"},
    {0x8u, "STORAGE"},
    {0x10u, "COLOR_ATTACHMENT"},
    {0x20u, "DEPTH_STENCIL_ATTACHMENT"},
    {0x40u, "TRANSIENT_ATTACHMENT"},
    {0x80u, "INPUT_ATTACHMENT"},
    {0x400u, "VIDEO_DECODE_DST_KHR"},
    {0x800u, "VIDEO_DECODE_SRC_KHR"},
    {0x1000u, "VIDEO_DECODE_DPB_KHR"},
    {0x200u, "FRAGMENT_DENSITY_MAP_EXT"},
    {0x100u, "FRAGMENT_SHADING_RATE_ATTACHMENT_KHR"},
    {0x2000u, "VIDEO_ENCODE_DST_KHR"},
    {0x4000u, "VIDEO_ENCODE_SRC_KHR"},
    {0x8000u, "VIDEO_ENCODE_DPB_KHR"},
    {0x80000u, "ATTACHMENT_FEEDBACK_LOOP_EXT"},
    {0x40000u, "INVOCATION_MASK_HUAWEI"},
    {0x100000u, "SAMPLE_WEIGHT_QCOM"},
    {0x200000u, "SAMPLE_BLOCK_MATCH_QCOM"},
    {0, NULL},
};

const struct mt_flag_name mt_vk_handle_types[] = {
    {0x1u, "OPAQUE_FD"},
    {0x2u, "OPAQUE_WIN32"},
    {0x4u, "OPAQUE_WIN32_KMT"},
    {0x8u, "D3D11_TEXTURE"},
    {0x10u, "D3D11_TEXTURE_KMT"},
    {0x20u, "D3D12_HEAP"},
    {0x40u, "D3D12_RESOURCE"},
    {0x200u, "DMA_BUF_EXT"},
    {0x400u, "ANDROID_HARDWARE_BUFFER_ANDROID"},
    {0x80u, "HOST_ALLOCATION_EXT"},
    {0x100u, "HOST_MAPPED_FOREIGN_MEMORY_EXT"},
    {0x800u, "ZIRCON_VMO_FUCHSIA"},
    {0x1000u, "RDMA_ADDRESS_NV"},
    {0, NULL},
};

/* Formats 0 to 184, in order. */
static const char *const core_formats[] = {
    "UNDEFINED",
    "R4G4_UNORM_PACK8",
    "R4G4B4A4_UNORM_PACK16",
    "B4G4R4A4_UNORM_PACK16",
    "R5G6B5_UNORM_PACK16",
    "B5G6R5_UNORM_PACK16",
    "R5G5B5A1_UNORM_PACK16",
    "B5G5R5A1_UNORM_PACK16",
    "A1R5G5B5_UNORM_PACK16",
    "R8_UNORM",
    "R8_SNORM",
    "R8_USCALED",
    "R8_SSCALED",
    "R8_UINT",
    "R8_SINT",
    "R8_SRGB",
    "R8G8_UNORM",
    "R8G8_SNORM",
    "R8G8_USCALED",
    "R8G8_SSCALED",
    "R8G8_UINT",
    "R8G8_SINT",
    "R8G8_SRGB",
    "R8G8B8_UNORM",
    "R8G8B8_SNORM",
    "R8G8B8_USCALED",
    "R8G8B8_SSCALED",
    "R8G8B8_UINT",
    "R8G8B8_SINT",
    "R8G8B8_SRGB",
    "B8G8R8_UNORM",
    "B8G8R8_SNORM",
    "B8G8R8_USCALED",
    "B8G8R8_SSCALED",
    "B8G8R8_UINT",
    "B8G8R8_SINT",
    "B8G8R8_SRGB",
    "R8G8B8A8_UNORM",
    "R8G8B8A8_SNORM",
    "R8G8B8A8_USCALED",
    "R8G8B8A8_SSCALED",
    "R8G8B8A8_UINT",
    "R8G8B8A8_SINT",
    "R8G8B8A8_SRGB",
    "B8G8R8A8_UNORM",
    "B8G8R8A8_SNORM",
    "B8G8R8A8_USCALED",
    "B8G8R8A8_SSCALED",
    "B8G8R8A8_UINT",
    "B8G8R8A8_SINT",
    "B8G8R8A8_SRGB",
    "A8B8G8R8_UNORM_PACK32",
    "A8B8G8R8_SNORM_PACK32",
    "A8B8G8R8_USCALED_PACK32",
    "A8B8G8R8_SSCALED_PACK32",
    "A8B8G8R8_UINT_PACK32",
    "A8B8G8R8_SINT_PACK32",
    "A8B8G8R8_SRGB_PACK32",
    "A2R10G10B10_UNORM_PACK32",
    "A2R10G10B10_SNORM_PACK32",
    "A2R10G10B10_USCALED_PACK32",
    "A2R10G10B10_SSCALED_PACK32",
    "A2R10G10B10_UINT_PACK32",
    "A2R10G10B10_SINT_PACK32",
    "A2B10G10R10_UNORM_PACK32",
    "A2B10G10R10_SNORM_PACK32",
    "A2B10G10R10_USCALED_PACK32",
    "A2B10G10R10_SSCALED_PACK32",
    "A2B10G10R10_UINT_PACK32",
    "A2B10G10R10_SINT_PACK32",
    "R16_UNORM",
    "R16_SNORM",
    "R16_USCALED",
    "R16_SSCALED",
    "R16_UINT",
    "R16_SINT",
    "R16_SFLOAT",
    "R16G16_UNORM",
    "R16G16_SNORM",
    "R16G16_USCALED",
    "R16G16_SSCALED",
    "R16G16_UINT",
    "R16G16_SINT",
    "R16G16_SFLOAT",
    "R16G16B16_UNORM",
    "R16G16B16_SNORM",
    "R16G16B16_USCALED",
    "R16G16B16_SSCALED",
    "R16G16B16_UINT",
    "R16G16B16_SINT",
    "R16G16B16_SFLOAT",
    "R16G16B16A16_UNORM",
    "R16G16B16A16_SNORM",
    "R16G16B16A16_USCALED",
    "R16G16B16A16_SSCALED",
    "R16G16B16A16_UINT",
    "R16G16B16A16_SINT",
    "R16G16B16A16_SFLOAT",
    "R32_UINT",
    "R32_SINT",
    "R32_SFLOAT",
    "R32G32_UINT",
    "R32G32_SINT",
    "R32G32_SFLOAT",
    "R32G32B32_UINT",
    "R32G32B32_SINT",
    "R32G32B32_SFLOAT",
    "R32G32B32A32_UINT",
    "R32G32B32A32_SINT",
    "R32G32B32A32_SFLOAT",
    "R64_UINT",
    "R64_SINT",
    "R64_SFLOAT",
    "R64G64_UINT",
    "R64G64_SINT",
    "R64G64_SFLOAT",
    "R64G64B64_UINT",
    "R64G64B64_SINT",
    "R64G64B64_SFLOAT",
    "R64G64B64A64_UINT",
    "R64G64B64A64_SINT",
    "R64G64B64A64_SFLOAT",
    "B10G11R11_UFLOAT_PACK32",
    "E5B9G9R9_UFLOAT_PACK32",
    "D16_UNORM",
    "X8_D24_UNORM_PACK32",
    "D32_SFLOAT",
    "S8_UINT",
    "D16_UNORM_S8_UINT",
    "D24_UNORM_S8_UINT",
    "D32_SFLOAT_S8_UINT",
    "BC1_RGB_UNORM_BLOCK",
    "BC1_RGB_SRGB_BLOCK",
    "BC1_RGBA_UNORM_BLOCK",
    "BC1_RGBA_SRGB_BLOCK",
    "BC2_UNORM_BLOCK",
    "BC2_SRGB_BLOCK",
    "BC3_UNORM_BLOCK",
    "BC3_SRGB_BLOCK",
    "BC4_UNORM_BLOCK",
    "BC4_SNORM_BLOCK",
    "BC5_UNORM_BLOCK",
    "BC5_SNORM_BLOCK",
    "BC6H_UFLOAT_BLOCK",
    "BC6H_SFLOAT_BLOCK",
    "BC7_UNORM_BLOCK",
    "BC7_SRGB_BLOCK",
    "ETC2_R8G8B8_UNORM_BLOCK",
    "ETC2_R8G8B8_SRGB_BLOCK",
    "ETC2_R8G8B8A1_UNORM_BLOCK",
    "ETC2_R8G8B8A1_SRGB_BLOCK",
    "ETC2_R8G8B8A8_UNORM_BLOCK",
    "ETC2_R8G8B8A8_SRGB_BLOCK",
    "EAC_R11_UNORM_BLOCK",
    "EAC_R11_SNORM_BLOCK",
    "EAC_R11G11_UNORM_BLOCK",
    "EAC_R11G11_SNORM_BLOCK",
    "ASTC_4x4_UNORM_BLOCK",
    "ASTC_4x4_SRGB_BLOCK",
    "ASTC_5x4_UNORM_BLOCK",
    "ASTC_5x4_SRGB_BLOCK",
    "ASTC_5x5_UNORM_BLOCK",
    "ASTC_5x5_SRGB_BLOCK",
    "ASTC_6x5_UNORM_BLOCK",
    "ASTC_6x5_SRGB_BLOCK",
    "ASTC_6x6_UNORM_BLOCK",
    "ASTC_6x6_SRGB_BLOCK",
    "ASTC_8x5_UNORM_BLOCK",
    "ASTC_8x5_SRGB_BLOCK",
    "ASTC_8x6_UNORM_BLOCK",
    "ASTC_8x6_SRGB_BLOCK",
    "ASTC_8x8_UNORM_BLOCK",
    "ASTC_8x8_SRGB_BLOCK",
    "ASTC_10x5_UNORM_BLOCK",
    "ASTC_10x5_SRGB_BLOCK",
    "ASTC_10x6_UNORM_BLOCK",
    "ASTC_10x6_SRGB_BLOCK",
    "ASTC_10x8_UNORM_BLOCK",
    "ASTC_10x8_SRGB_BLOCK",
    "ASTC_10x10_UNORM_BLOCK",
    "ASTC_10x10_SRGB_BLOCK",
    "ASTC_12x10_UNORM_BLOCK",
    "ASTC_12x10_SRGB_BLOCK",
    "ASTC_12x12_UNORM_BLOCK",
    "ASTC_12x12_SRGB_BLOCK",
};

static const struct {
    uint32_t number;
    const char *name;
} extension_formats[] = {
    {1000156000u, "G8B8G8R8_422_UNORM"},
    {1000156001u, "B8G8R8G8_422_UNORM"},
    {1000156002u, "G8_B8_R8_3PLANE_420_UNORM"},
    {1000156003u, "G8_B8R8_2PLANE_420_UNORM"},
    {1000156004u, "G8_B8_R8_3PLANE_422_UNORM"},
    {1000156005u, "G8_B8R8_2PLANE_422_UNORM"},
    {1000156006u, "G8_B8_R8_3PLANE_444_UNORM"},
    {1000156007u, "R10X6_UNORM_PACK16"},
    {1000156008u, "R10X6G10X6_UNORM_2PACK16"},
    {1000156009u, "R10X6G10X6B10X6A10X6_UNORM_4PACK16"},
    {1000156010u, "G10X6B10X6G10X6R10X6_422_UNORM_4PACK16"},
    {1000156011u, "B10X6G10X6R10X6G10X6_422_UNORM_4PACK16"},
    {1000156012u, "G10X6_B10X6_R10X6_3PLANE_420_UNORM_3PACK16"},
    {1000156013u, "G10X6_B10X6R10X6_2PLANE_420_UNORM_3PACK16"},
    {1000156014u, "G10X6_B10X6_R10X6_3PLANE_422_UNORM_3PACK16"},
    {1000156015u, "G10X6_B10X6R10X6_2PLANE_422_UNORM_3PACK16"},
    {1000156016u, "G10X6_B10X6_R10X6_3PLANE_444_UNORM_3PACK16"},
    {1000156017u, "R12X4_UNORM_PACK16"},
    {1000156018u, "R12X4G12X4_UNORM_2PACK16"},
    {1000156019u, "R12X4G12X4B12X4A12X4_UNORM_4PACK16"},
    {1000156020u, "G12X4B12X4G12X4R12X4_422_UNORM_4PACK16"},
    {1000156021u, "B12X4G12X4R12X4G12X4_422_UNORM_4PACK16"},
    {1000156022u, "G12X4_B12X4_R12X4_3PLANE_420_UNORM_3PACK16"},
    {1000156023u, "G12X4_B12X4R12X4_2PLANE_420_UNORM_3PACK16"},
    {1000156024u, "G12X4_B12X4_R12X4_3PLANE_422_UNORM_3PACK16"},
    {1000156025u, "G12X4_B12X4R12X4_2PLANE_422_UNORM_3PACK16"},
    {1000156026u, "G12X4_B12X4_R12X4_3PLANE_444_UNORM_3PACK16"},
    {1000156027u, "G16B16G16R16_422_UNORM"},
    {1000156028u, "B16G16R16G16_422_UNORM"},
    {1000156029u, "G16_B16_R16_3PLANE_420_UNORM"},
    {1000156030u, "G16_B16R16_2PLANE_420_UNORM"},
    {1000156031u, "G16_B16_R16_3PLANE_422_UNORM"},
    {1000156032u, "G16_B16R16_2PLANE_422_UNORM"},
    {1000156033u, "G16_B16_R16_3PLANE_444_UNORM"},
    {1000330000u, "G8_B8R8_2PLANE_444_UNORM"},
    {1000330001u, "G10X6_B10X6R10X6_2PLANE_444_UNORM_3PACK16"},
    {1000330002u, "G12X4_B12X4R12X4_2PLANE_444_UNORM_3PACK16"},
    {1000330003u, "G16_B16R16_2PLANE_444_UNORM"},
    {1000340000u, "A4R4G4B4_UNORM_PACK16"},
    {1000340001u, "A4B4G4R4_UNORM_PACK16"},
    {1000066000u, "ASTC_4x4_SFLOAT_BLOCK"},
    {1000066001u, "ASTC_5x4_SFLOAT_BLOCK"},
    {1000066002u, "ASTC_5x5_SFLOAT_BLOCK"},
    {1000066003u, "ASTC_6x5_SFLOAT_BLOCK"},
    {1000066004u, "ASTC_6x6_SFLOAT_BLOCK"},
    {1000066005u, "ASTC_8x5_SFLOAT_BLOCK"},
    {1000066006u, "ASTC_8x6_SFLOAT_BLOCK"},
    {1000066007u, "ASTC_8x8_SFLOAT_BLOCK"},
    {1000066008u, "ASTC_10x5_SFLOAT_BLOCK"},
    {1000066009u, "ASTC_10x6_SFLOAT_BLOCK"},
    {1000066010u, "ASTC_10x8_SFLOAT_BLOCK"},
    {1000066011u, "ASTC_10x10_SFLOAT_BLOCK"},
    {1000066012u, "ASTC_12x10_SFLOAT_BLOCK"},
    {1000066013u, "ASTC_12x12_SFLOAT_BLOCK"},
    {1000054000u, "PVRTC1_2BPP_UNORM_BLOCK_IMG"},
    {1000054001u, "PVRTC1_4BPP_UNORM_BLOCK_IMG"},
    {1000054002u, "PVRTC2_2BPP_UNORM_BLOCK_IMG"},
    {1000054003u, "PVRTC2_4BPP_UNORM_BLOCK_IMG"},
    {1000054004u, "PVRTC1_2BPP_SRGB_BLOCK_IMG"},
    {1000054005u, "PVRTC1_4BPP_SRGB_BLOCK_IMG"},
    {1000054006u, "PVRTC2_2BPP_SRGB_BLOCK_IMG"},
    {1000054007u, "PVRTC2_4BPP_SRGB_BLOCK_IMG"},
    {1000464000u, "R16G16_S10_5_NV"},
};

static const char *const drivers[] = {
    [1] = "amd_proprietary",
    [2] = "amd_open_source",
    [3] = "mesa_radv",
    [4] = "nvidia_proprietary",
    [5] = "intel_proprietary_windows",
    [6] = "intel_open_source_mesa",
    [7] = "imagination_proprietary",
    [8] = "qualcomm_proprietary",
    [9] = "arm_proprietary",
    [10] = "google_swiftshader",
    [11] = "ggp_proprietary",
    [12] = "broadcom_proprietary",
    [13] = "mesa_llvmpipe",
    [14] = "moltenvk",
    [15] = "coreavi_proprietary",
    [16] = "juice_proprietary",
    [17] = "verisilicon_proprietary",
    [18] = "mesa_turnip",
    [19] = "mesa_v3dv",
    [20] = "mesa_panvk",
    [21] = "samsung_proprietary",
    [22] = "mesa_venus",
    [23] = "mesa_dozen",
    [24] = "mesa_nvk",
    [25] = "imagination_open_source_mesa",
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

const char *mt_vk_format_name(uint32_t format)
{
    if (format < COUNT(core_formats)) return core_formats[format];
    for (size_t i = 0; i < COUNT(extension_formats); i++)
        if (extension_formats[i].number == format) return extension_formats[i].name;
    return NULL;
}

bool mt_vk_format_is_depth(uint32_t format)
{
    return format >= 124 && format <= 130; /* D16_UNORM to D32_SFLOAT_S8_UINT */
}

const char *mt_vk_driver_name(uint32_t driver_id)
{
    return driver_id < COUNT(drivers) ? drivers[driver_id] : NULL;
}

const char *mt_vk_device_type_name(uint32_t type)
{
    static const char *const names[] = {"other", "integrated_gpu", "discrete_gpu", "virtual_gpu", "cpu"};
    return type < COUNT(names) ? names[type] : NULL;
}

const char *mt_vk_present_mode_name(uint32_t mode)
{
    static const char *const names[] = {"IMMEDIATE", "MAILBOX", "FIFO", "FIFO_RELAXED"};
    if (mode < COUNT(names)) return names[mode];
    return mode == 1000111000u ? "SHARED_DEMAND_REFRESH" : mode == 1000111001u ? "SHARED_CONTINUOUS_REFRESH" : NULL;
}

const char *mt_vk_property_class(uint64_t properties)
{
    enum { DEVICE_LOCAL = 1, HOST_VISIBLE = 2 };
    if (!(properties & HOST_VISIBLE)) return "gpu_only";
    return properties & DEVICE_LOCAL ? "both" : "cpu_visible";
}

enum {
    BUFFER_TRANSFER = 0x3,
    BUFFER_TEXEL = 0xc,
    BUFFER_UNIFORM = 0x10,
    BUFFER_STORAGE = 0x20,
    BUFFER_INDEX = 0x40,
    BUFFER_VERTEX = 0x80,
    BUFFER_INDIRECT = 0x100,
    BUFFER_ADDRESS = 0x20000,
    BUFFER_TRANSFORM_FEEDBACK = 0x1800,
    BUFFER_VIDEO = 0x1e000,
    BUFFER_ACCELERATION = 0x1900400, /* acceleration structure, micromap, shader binding table */
    BUFFER_DESCRIPTOR = 0x4600000,
    BUFFER_EVERY_DRAW = BUFFER_VERTEX | BUFFER_INDEX | BUFFER_UNIFORM,
};

const char *mt_vk_buffer_kind(uint64_t usage, bool memory_is_host_visible)
{
    static const struct {
        uint64_t bits;
        const char *kind;
    } rules[] =
        {
            {BUFFER_ACCELERATION, "acceleration_structure"},
            {BUFFER_DESCRIPTOR, "descriptor"},
            {BUFFER_VIDEO, "video"},
        },
      later[] = {
          {BUFFER_INDEX, "index"},
          {BUFFER_VERTEX, "vertex"},
          {BUFFER_INDIRECT, "indirect"},
          {BUFFER_UNIFORM, "uniform"},
          {BUFFER_TEXEL, "texel"},
          {BUFFER_STORAGE, "storage"},
          {BUFFER_TRANSFORM_FEEDBACK, "transform_feedback"},
      };
    for (size_t i = 0; i < COUNT(rules); i++)
        if (usage & rules[i].bits) return rules[i].kind;
    if ((usage & BUFFER_EVERY_DRAW) == BUFFER_EVERY_DRAW) return "general";
    for (size_t i = 0; i < COUNT(later); i++)
        if (usage & later[i].bits) return later[i].kind;
    bool only_transfer = (usage & BUFFER_TRANSFER) && !(usage & ~(uint64_t)(BUFFER_TRANSFER | BUFFER_ADDRESS));
    if (only_transfer) return memory_is_host_visible ? "staging" : "transfer";
    return "other";
}

const char *mt_vk_image_kind(uint64_t usage, uint32_t format, bool is_swapchain)
{
    enum { TRANSFER = 0x3, SAMPLED = 0x84, STORAGE = 0x8, COLOR = 0x10, DEPTH = 0x20, TRANSIENT = 0x40 };
    enum { SHADING_RATE = 0x300, VIDEO = 0xfc00 };
    if (is_swapchain) return "swapchain";
    if (usage & VIDEO) return "video";
    if (usage & TRANSIENT) return "transient";
    if ((usage & DEPTH) || ((usage & COLOR) && mt_vk_format_is_depth(format))) return "depth";
    if (usage & SHADING_RATE) return "shading_rate";
    if (usage & COLOR) return "color_target";
    if (usage & STORAGE) return "storage";
    if (usage & SAMPLED) return "texture";
    return usage & TRANSFER ? "transfer" : "other";
}

const char *mt_vk_accel_kind(uint64_t type, bool is_micromap)
{
    static const char *const levels[] = {"top_level", "bottom_level", "generic"};
    if (is_micromap) return "micromap";
    return type < COUNT(levels) ? levels[type] : "other";
}

const char *mt_vk_video_kind(uint64_t codec_operation)
{
    static const struct {
        uint64_t bit;
        const char *kind;
    } kinds[] = {{0x1, "decode_h264"},     {0x2, "decode_h265"},     {0x4, "decode_av1"},    {0x8, "decode_vp9"},
                 {0x10000, "encode_h264"}, {0x20000, "encode_h265"}, {0x40000, "encode_av1"}};
    for (size_t i = 0; i < COUNT(kinds); i++)
        if (codec_operation & kinds[i].bit) return kinds[i].kind;
    return "other";
}
