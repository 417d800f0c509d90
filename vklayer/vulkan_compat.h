/*
 * The Vulkan headers, and the few declarations that the layer needs and that
 * headers older than the command lack (VK_KHR_map_memory2 came with 1.3.244,
 * Vulkan 1.4 with 1.4.303). Included by every file of the layer; no code.
 */
#ifndef MT_VULKAN_COMPAT_H
#define MT_VULKAN_COMPAT_H

#include <vulkan/vulkan.h>
#include <vulkan/vk_layer.h>

#ifndef VK_KHR_map_memory2
typedef VkFlags VkMemoryUnmapFlagsKHR;
typedef struct VkMemoryMapInfoKHR {
    VkStructureType sType;
    const void *pNext;
    VkMemoryMapFlags flags;
    VkDeviceMemory memory;
    VkDeviceSize offset;
    VkDeviceSize size;
} VkMemoryMapInfoKHR;
typedef struct VkMemoryUnmapInfoKHR {
    VkStructureType sType;
    const void *pNext;
    VkMemoryUnmapFlagsKHR flags;
    VkDeviceMemory memory;
} VkMemoryUnmapInfoKHR;
typedef VkResult(VKAPI_PTR *PFN_vkMapMemory2KHR)(VkDevice device, const VkMemoryMapInfoKHR *info, void **data);
typedef VkResult(VKAPI_PTR *PFN_vkUnmapMemory2KHR)(VkDevice device, const VkMemoryUnmapInfoKHR *info);
#endif

#ifndef VK_VERSION_1_4
typedef PFN_vkMapMemory2KHR PFN_vkMapMemory2;
typedef PFN_vkUnmapMemory2KHR PFN_vkUnmapMemory2;
#endif

/* The flat status structure of VK_KHR_maintenance6 under a name of our own. */
struct mt_bind_status {
    VkStructureType sType;
    const void *pNext;
    VkResult *pResult;
};

/* Newer structures that name device memory, under names of our own; the handles before it are opaque here. */
struct mt_bind_tensor_info {
    VkStructureType sType;
    const void *pNext;
    uint64_t tensor;
    VkDeviceMemory memory;
    VkDeviceSize memoryOffset;
};
struct mt_bind_graph_session_info {
    VkStructureType sType;
    const void *pNext;
    uint64_t session;
    uint32_t bind_point;
    uint32_t object_index;
    VkDeviceMemory memory;
    VkDeviceSize memoryOffset;
};
struct mt_tensor_create_info { /* as far as it is looked at */
    VkStructureType sType;
    const void *pNext;
    uint64_t flags;
    const void *description;
};
struct mt_tensor_requirements_info {
    VkStructureType sType;
    const void *pNext;
    uint64_t tensor;
};
struct mt_graph_session_create_info {
    VkStructureType sType;
    const void *pNext;
    uint64_t flags;
    VkPipeline pipeline;
};
struct mt_graph_requirements_info {
    VkStructureType sType;
    const void *pNext;
    uint64_t session;
    uint32_t bind_point;
    uint32_t object_index;
};
typedef VkResult(VKAPI_PTR *mt_create_tensor)(VkDevice, const struct mt_tensor_create_info *,
                                              const VkAllocationCallbacks *, uint64_t *);
typedef VkResult(VKAPI_PTR *mt_create_graph_session)(VkDevice, const struct mt_graph_session_create_info *,
                                                     const VkAllocationCallbacks *, uint64_t *);
typedef void(VKAPI_PTR *mt_destroy_newer)(VkDevice, uint64_t, const VkAllocationCallbacks *);
typedef void(VKAPI_PTR *mt_ask_tensor)(VkDevice, const struct mt_tensor_requirements_info *,
                                       VkMemoryRequirements2 *);
typedef void(VKAPI_PTR *mt_ask_graph_session)(VkDevice, const struct mt_graph_requirements_info *,
                                              VkMemoryRequirements2 *);
#define PFN_vkCreateTensorARM                                  mt_create_tensor
#define PFN_vkDestroyTensorARM                                 mt_destroy_newer
#define PFN_vkGetTensorMemoryRequirementsARM                   mt_ask_tensor
#define PFN_vkCreateDataGraphPipelineSessionARM                mt_create_graph_session
#define PFN_vkDestroyDataGraphPipelineSessionARM               mt_destroy_newer
#define PFN_vkGetDataGraphPipelineSessionMemoryRequirementsARM mt_ask_graph_session
typedef VkResult(VKAPI_PTR *mt_bind_tensor)(VkDevice, uint32_t, const struct mt_bind_tensor_info *);
typedef VkResult(VKAPI_PTR *mt_bind_graph_session)(VkDevice, uint32_t, const struct mt_bind_graph_session_info *);
#define PFN_vkBindTensorMemoryARM                   mt_bind_tensor
#define PFN_vkBindDataGraphPipelineSessionMemoryARM mt_bind_graph_session

/* The usage of a buffer in 64 bits (VK_KHR_maintenance5, Vulkan 1.4); stands in for the one in the creation info.
 */
struct mt_buffer_usage {
    VkStructureType sType;
    const void *pNext;
    uint64_t usage;
};

/* Likewise object types. */
enum { MT_OBJECT_TENSOR = 1000460000, MT_OBJECT_GRAPH_SESSION = 1000507000 };

/* Structure types by number, because the headers of the build may not know them. */
enum {
    MT_STYPE_BIND_MEMORY_STATUS = 1000545002,
    MT_STYPE_BUFFER_USAGE = 1000470006,
    MT_STYPE_IMPORT_WIN32_NV = 1000057000,
    MT_STYPE_IMPORT_WIN32 = 1000073000,
    MT_STYPE_IMPORT_FD = 1000074000,
    MT_STYPE_IMPORT_ANDROID = 1000129003,
    MT_STYPE_IMPORT_HOST_POINTER = 1000178000,
    MT_STYPE_IMPORT_METAL_BUFFER = 1000311005,
    MT_STYPE_IMPORT_ZIRCON = 1000364000,
    MT_STYPE_IMPORT_BUFFER_COLLECTION = 1000366001,
    MT_STYPE_IMPORT_SCI_BUF = 1000374000,
    MT_STYPE_IMPORT_SCREEN = 1000529000,
    MT_STYPE_IMPORT_NATIVE_BUFFER = 1000452001,
    MT_STYPE_IMPORT_METAL = 1000602000,
    MT_STYPE_EXPORT_NV = 1000056001,
    MT_STYPE_EXPORT_WIN32_NV = 1000057001,
    MT_STYPE_EXPORT_WIN32 = 1000073001,
    MT_STYPE_EXPORT_SCI_BUF = 1000374001,
    MT_STYPE_DEDICATED_NV = 1000026002,
    MT_STYPE_TENSOR_REQUIREMENTS = 1000460007,
    MT_STYPE_DEDICATED_TENSOR = 1000460014,
    MT_STYPE_GRAPH_REQUIREMENTS = 1000507004,
    MT_STYPE_DEVICE_MEMORY_REPORT = 1000284001,
    MT_STYPE_FEATURES_1_2 = 51,
    MT_STYPE_FEATURES_DEVICE_ADDRESS_EXT = 1000244000,
    MT_STYPE_FEATURES_DEVICE_ADDRESS = 1000257000,
    MT_STYPE_FEATURES_MAP_PLACED = 1000272000,
    MT_STYPE_FEATURES_MEMORY_REPORT = 1000284000,
    MT_STYPE_FEATURES_ADDRESS_BINDING = 1000354000,
    MT_STYPE_FEATURES_PAGEABLE = 1000412000,
};

#endif
