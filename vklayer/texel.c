/*
 * Bytes of one texel of the formats that swapchains have. Pure; any thread.
 */
#include "layer.h"

/* Runs of the core formats with the same size: the last format of each run. */
static const struct {
    uint16_t last;
    uint8_t bytes;
} runs[] = {
    {VK_FORMAT_UNDEFINED, 0},
    {VK_FORMAT_R4G4_UNORM_PACK8, 1},
    {VK_FORMAT_A1R5G5B5_UNORM_PACK16, 2},
    {VK_FORMAT_R8_SRGB, 1},
    {VK_FORMAT_R8G8_SRGB, 2},
    {VK_FORMAT_B8G8R8_SRGB, 3},
    {VK_FORMAT_A2B10G10R10_SINT_PACK32, 4},
    {VK_FORMAT_R16_SFLOAT, 2},
    {VK_FORMAT_R16G16_SFLOAT, 4},
    {VK_FORMAT_R16G16B16_SFLOAT, 6},
    {VK_FORMAT_R16G16B16A16_SFLOAT, 8},
    {VK_FORMAT_R32_SFLOAT, 4},
    {VK_FORMAT_R32G32_SFLOAT, 8},
    {VK_FORMAT_R32G32B32_SFLOAT, 12},
    {VK_FORMAT_R32G32B32A32_SFLOAT, 16},
    {VK_FORMAT_R64_SFLOAT, 8},
    {VK_FORMAT_R64G64_SFLOAT, 16},
    {VK_FORMAT_R64G64B64_SFLOAT, 24},
    {VK_FORMAT_R64G64B64A64_SFLOAT, 32},
    {VK_FORMAT_E5B9G9R9_UFLOAT_PACK32, 4},
};

uint32_t mt_texel_bytes(VkFormat format)
{
    if (format == VK_FORMAT_A4R4G4B4_UNORM_PACK16 || format == VK_FORMAT_A4B4G4R4_UNORM_PACK16) return 2;
    for (unsigned i = 0; i < sizeof runs / sizeof *runs; i++)
        if ((uint32_t)format <= runs[i].last) return runs[i].bytes;
    return 0;
}
