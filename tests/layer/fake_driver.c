/*
 * The driver below the layer and the loader above it; see the header. Any
 * thread may call the commands.
 */
#include "fake_driver.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct fake fake;
PFN_vkGetInstanceProcAddr layer_gipa;
PFN_vkGetDeviceProcAddr layer_gdpa;
PFN_vkNegotiateLoaderLayerInterfaceVersion layer_negotiate;

/* Dispatchable objects: the first word is the key, shared by an instance and its physical device, a device and its
 * queue. */
struct dispatchable {
    void *key;
    struct dispatchable *child;
};

static char mapped_bytes[4096];

/* Quiet: for measurements, no line that threads share is written. */
#define COUNT(Name)                                                                                                \
    do {                                                                                                           \
        if (!fake.is_quiet) fake.calls.Name++;                                                                     \
    } while (0)

static struct dispatchable *new_pair(void)
{
    struct dispatchable *pair = calloc(2, sizeof *pair);
    pair[0].key = pair[1].key = pair;
    pair[0].child = &pair[1];
    return pair;
}

static uint64_t new_handle(void)
{
    static __thread uint64_t own;
    if (!fake.is_quiet) return atomic_fetch_add(&fake.next_handle, fake.handle_step);
    if (!own) own = atomic_fetch_add(&fake.next_handle, UINT64_C(1) << 40);
    return own += 0x100; /* as a driver that returns addresses */
}

void fake_reset(void)
{
    memset(&fake, 0, sizeof fake);
    fake.api_version = VK_API_VERSION_1_3;
    fake.type = VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
    fake.next_handle = 0x10000;
    fake.handle_step = 0x40;
    fake.required_bytes = 4096;
}

void fake_start(const char *layer_path)
{
    void *library = dlopen(layer_path, RTLD_LAZY | RTLD_LOCAL);
    if (library) *(void **)&layer_negotiate = dlsym(library, "vkNegotiateLoaderLayerInterfaceVersion");
    VkNegotiateLayerInterface interface = {.sType = LAYER_NEGOTIATE_INTERFACE_STRUCT,
                                           .loaderLayerInterfaceVersion = 2};
    if (!layer_negotiate || layer_negotiate(&interface)) {
        fprintf(stderr, "no layer in %s: %s\n", layer_path, library ? "negotiation failed" : dlerror());
        exit(1);
    }
    layer_gipa = interface.pfnGetInstanceProcAddr;
    layer_gdpa = interface.pfnGetDeviceProcAddr;
    fake_reset();
}

/* ---- instance and physical device --------------------------------------------- */

static VkResult VKAPI_CALL fake_CreateInstance(const VkInstanceCreateInfo *info,
                                               const VkAllocationCallbacks *allocator, VkInstance *instance)
{
    (void)info, (void)allocator;
    COUNT(CreateInstance);
    if (fake.fail_instance) return fake.fail_instance;
    *instance = (VkInstance)new_pair();
    return VK_SUCCESS;
}

static void VKAPI_CALL fake_DestroyInstance(VkInstance instance, const VkAllocationCallbacks *allocator)
{
    (void)allocator;
    COUNT(DestroyInstance);
    free(instance);
}

static VkResult VKAPI_CALL fake_CreateDevice(VkPhysicalDevice physical, const VkDeviceCreateInfo *info,
                                             const VkAllocationCallbacks *allocator, VkDevice *device)
{
    (void)physical, (void)info, (void)allocator;
    COUNT(CreateDevice);
    if (fake.fail_device) return fake.fail_device;
    *device = (VkDevice)new_pair();
    return VK_SUCCESS;
}

static VkResult VKAPI_CALL fake_EnumerateDeviceExtensionProperties(VkPhysicalDevice physical, const char *layer,
                                                                   uint32_t *count, VkExtensionProperties *list)
{
    (void)physical, (void)layer;
    if (!list)
        *count = fake.has_budget;
    else if (fake.has_budget && *count)
        strcpy(list[0].extensionName, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
    return VK_SUCCESS;
}

static void VKAPI_CALL fake_GetPhysicalDeviceProperties(VkPhysicalDevice physical,
                                                        VkPhysicalDeviceProperties *properties)
{
    (void)physical;
    memset(properties, 0, sizeof *properties);
    properties->apiVersion = fake.api_version;
    properties->driverVersion = VK_MAKE_VERSION(1, 2, 3);
    properties->vendorID = 0x1234;
    properties->deviceID = 0x5678;
    properties->deviceType = fake.type;
    strcpy(properties->deviceName, "fake device");
    properties->limits.maxMemoryAllocationCount = 4096;
    properties->limits.bufferImageGranularity = 1024;
    properties->limits.nonCoherentAtomSize = 64;
}

static void VKAPI_CALL fake_GetPhysicalDeviceProperties2(VkPhysicalDevice physical,
                                                         VkPhysicalDeviceProperties2 *properties)
{
    fake_GetPhysicalDeviceProperties(physical, &properties->properties);
    for (VkBaseOutStructure *at = properties->pNext; at; at = at->pNext)
        if (at->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES)
            strcpy(((VkPhysicalDeviceDriverProperties *)at)->driverName, "fake driver");
}

static void VKAPI_CALL fake_GetPhysicalDeviceMemoryProperties(VkPhysicalDevice physical,
                                                              VkPhysicalDeviceMemoryProperties *memory)
{
    (void)physical;
    memset(memory, 0, sizeof *memory);
    memory->memoryHeapCount = FAKE_HEAPS;
    memory->memoryHeaps[0] = (VkMemoryHeap){FAKE_HEAP_BYTES, VK_MEMORY_HEAP_DEVICE_LOCAL_BIT};
    memory->memoryHeaps[1] = (VkMemoryHeap){FAKE_HEAP_BYTES, 0};
    memory->memoryTypeCount = FAKE_TYPES;
    memory->memoryTypes[0] = (VkMemoryType){VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, 0};
    memory->memoryTypes[1] = (VkMemoryType){
        VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT, 1};
    memory->memoryTypes[2] = (VkMemoryType){
        VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT | VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT, 0};
}

static void VKAPI_CALL fake_GetPhysicalDeviceMemoryProperties2(VkPhysicalDevice physical,
                                                               VkPhysicalDeviceMemoryProperties2 *memory)
{
    fake_GetPhysicalDeviceMemoryProperties(physical, &memory->memoryProperties);
    COUNT(GetPhysicalDeviceMemoryProperties2);
    if (fake.budget_delay_ms) nanosleep(&(struct timespec){0, fake.budget_delay_ms * 1000000L}, NULL);
    for (VkBaseOutStructure *at = memory->pNext; at; at = at->pNext) {
        if (at->sType != VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT) continue;
        VkPhysicalDeviceMemoryBudgetPropertiesEXT *budget = (void *)at;
        for (unsigned i = 0; i < FAKE_HEAPS; i++) {
            budget->heapBudget[i] = fake.budget_bytes;
            budget->heapUsage[i] = fake.usage_bytes;
        }
    }
}

/* ---- device ----------------------------------------------------------------------- */

static void VKAPI_CALL fake_DestroyDevice(VkDevice device, const VkAllocationCallbacks *allocator)
{
    (void)allocator;
    COUNT(DestroyDevice);
    free(device);
}

static VkResult VKAPI_CALL fake_AllocateMemory(VkDevice device, const VkMemoryAllocateInfo *info,
                                               const VkAllocationCallbacks *allocator, VkDeviceMemory *memory)
{
    (void)info, (void)allocator;
    COUNT(AllocateMemory);
    if (fake.fail) return fake.fail;
    *memory = (VkDeviceMemory)new_handle();
    if (fake.during_allocate) fake.during_allocate(device);
    return VK_SUCCESS;
}

#define FAKE_CREATE(Name, Info, Handle)                                                                            \
    static VkResult VKAPI_CALL fake_##Name(VkDevice device, const Info *info,                                      \
                                           const VkAllocationCallbacks *allocator, Handle *handle)                 \
    {                                                                                                              \
        (void)device, (void)info, (void)allocator;                                                                 \
        COUNT(Name);                                                                                               \
        if (fake.fail) return fake.fail;                                                                           \
        *handle = (Handle)new_handle();                                                                            \
        return VK_SUCCESS;                                                                                         \
    }
#define FAKE_DESTROY(Name, Handle)                                                                                 \
    static void VKAPI_CALL fake_##Name(VkDevice device, Handle handle, const VkAllocationCallbacks *allocator)     \
    {                                                                                                              \
        (void)device, (void)handle, (void)allocator;                                                               \
        COUNT(Name);                                                                                               \
    }
FAKE_CREATE(CreateBuffer, VkBufferCreateInfo, VkBuffer)
FAKE_CREATE(CreateImage, VkImageCreateInfo, VkImage)
FAKE_CREATE(CreateSwapchainKHR, VkSwapchainCreateInfoKHR, VkSwapchainKHR)
FAKE_CREATE(CreateAccelerationStructureKHR, VkAccelerationStructureCreateInfoKHR, VkAccelerationStructureKHR)
FAKE_CREATE(CreateAccelerationStructureNV, VkAccelerationStructureCreateInfoNV, VkAccelerationStructureNV)
FAKE_CREATE(CreateMicromapEXT, VkMicromapCreateInfoEXT, VkMicromapEXT)
FAKE_CREATE(CreateVideoSessionKHR, VkVideoSessionCreateInfoKHR, VkVideoSessionKHR)
FAKE_CREATE(CreateTensorARM, struct mt_tensor_create_info, uint64_t)
FAKE_CREATE(CreateDataGraphPipelineSessionARM, struct mt_graph_session_create_info, uint64_t)
FAKE_DESTROY(DestroyAccelerationStructureKHR, VkAccelerationStructureKHR)
FAKE_DESTROY(DestroyAccelerationStructureNV, VkAccelerationStructureNV)
FAKE_DESTROY(DestroyMicromapEXT, VkMicromapEXT)
FAKE_DESTROY(DestroyVideoSessionKHR, VkVideoSessionKHR)
FAKE_DESTROY(DestroyTensorARM, uint64_t)
FAKE_DESTROY(DestroyDataGraphPipelineSessionARM, uint64_t)
FAKE_DESTROY(FreeMemory, VkDeviceMemory)
FAKE_DESTROY(DestroyBuffer, VkBuffer)
FAKE_DESTROY(DestroyImage, VkImage)
FAKE_DESTROY(DestroySwapchainKHR, VkSwapchainKHR)

static VkResult VKAPI_CALL fake_CreateSharedSwapchainsKHR(VkDevice device, uint32_t count,
                                                          const VkSwapchainCreateInfoKHR *infos,
                                                          const VkAllocationCallbacks *allocator,
                                                          VkSwapchainKHR *swapchains)
{
    (void)device, (void)infos, (void)allocator;
    COUNT(CreateSharedSwapchainsKHR);
    if (fake.fail) return fake.fail;
    for (uint32_t i = 0; i < count; i++) swapchains[i] = (VkSwapchainKHR)new_handle();
    return VK_SUCCESS;
}

static VkResult VKAPI_CALL fake_MapMemory(VkDevice device, VkDeviceMemory memory, VkDeviceSize offset,
                                          VkDeviceSize bytes, VkMemoryMapFlags flags, void **data)
{
    (void)device, (void)memory, (void)offset, (void)bytes, (void)flags;
    COUNT(MapMemory);
    *data = mapped_bytes;
    return fake.fail;
}

#define FAKE_MAP2(Name)                                                                                            \
    static VkResult VKAPI_CALL fake_##Name(VkDevice device, const VkMemoryMapInfoKHR *info, void **data)           \
    {                                                                                                              \
        (void)device, (void)info;                                                                                  \
        COUNT(Name);                                                                                               \
        *data = mapped_bytes;                                                                                      \
        return fake.fail;                                                                                          \
    }
FAKE_MAP2(MapMemory2)
FAKE_MAP2(MapMemory2KHR)

static void VKAPI_CALL fake_UnmapMemory(VkDevice device, VkDeviceMemory memory)
{
    (void)device, (void)memory;
    COUNT(UnmapMemory);
}

#define FAKE_TWO(Name, Info)                                                                                       \
    static VkResult VKAPI_CALL fake_##Name(VkDevice device, const Info *info)                                      \
    {                                                                                                              \
        (void)device, (void)info;                                                                                  \
        COUNT(Name);                                                                                               \
        return fake.fail;                                                                                          \
    }
FAKE_TWO(UnmapMemory2, VkMemoryUnmapInfoKHR)
FAKE_TWO(UnmapMemory2KHR, VkMemoryUnmapInfoKHR)
FAKE_TWO(SetDebugUtilsObjectNameEXT, VkDebugUtilsObjectNameInfoEXT)
FAKE_TWO(DebugMarkerSetObjectNameEXT, VkDebugMarkerObjectNameInfoEXT)

static void VKAPI_CALL fake_SetDeviceMemoryPriorityEXT(VkDevice device, VkDeviceMemory memory, float priority)
{
    (void)device, (void)memory, (void)priority;
    COUNT(SetDeviceMemoryPriorityEXT);
}

static void require(VkMemoryRequirements *required)
{
    *required = (VkMemoryRequirements){fake.required_bytes, 256, 7};
}

#define FAKE_REQUIRE(Name, Handle)                                                                                 \
    static void VKAPI_CALL fake_##Name(VkDevice device, Handle handle, VkMemoryRequirements *required)             \
    {                                                                                                              \
        (void)device, (void)handle;                                                                                \
        COUNT(Name);                                                                                               \
        require(required);                                                                                         \
    }
#define FAKE_REQUIRE2(Name, Info)                                                                                  \
    static void VKAPI_CALL fake_##Name(VkDevice device, const Info *info, VkMemoryRequirements2 *required)         \
    {                                                                                                              \
        (void)device, (void)info;                                                                                  \
        COUNT(Name);                                                                                               \
        require(&required->memoryRequirements);                                                                    \
    }
FAKE_REQUIRE(GetBufferMemoryRequirements, VkBuffer)
FAKE_REQUIRE(GetImageMemoryRequirements, VkImage)
FAKE_REQUIRE2(GetBufferMemoryRequirements2, VkBufferMemoryRequirementsInfo2)
FAKE_REQUIRE2(GetBufferMemoryRequirements2KHR, VkBufferMemoryRequirementsInfo2)
FAKE_REQUIRE2(GetImageMemoryRequirements2, VkImageMemoryRequirementsInfo2)
FAKE_REQUIRE2(GetImageMemoryRequirements2KHR, VkImageMemoryRequirementsInfo2)

#define FAKE_BIND(Name, Handle)                                                                                    \
    static VkResult VKAPI_CALL fake_##Name(VkDevice device, Handle handle, VkDeviceMemory memory, VkDeviceSize at) \
    {                                                                                                              \
        (void)device, (void)handle, (void)memory, (void)at;                                                        \
        COUNT(Name);                                                                                               \
        return fake.fail;                                                                                          \
    }
#define FAKE_BIND2(Name, Info)                                                                                     \
    static VkResult VKAPI_CALL fake_##Name(VkDevice device, uint32_t count, const Info *infos)                     \
    {                                                                                                              \
        (void)device, (void)count, (void)infos;                                                                    \
        COUNT(Name);                                                                                               \
        return fake.fail;                                                                                          \
    }
FAKE_BIND(BindBufferMemory, VkBuffer)
FAKE_BIND(BindImageMemory, VkImage)
FAKE_BIND2(BindBufferMemory2, VkBindBufferMemoryInfo)
FAKE_BIND2(BindBufferMemory2KHR, VkBindBufferMemoryInfo)
FAKE_BIND2(BindImageMemory2, VkBindImageMemoryInfo)
FAKE_BIND2(BindImageMemory2KHR, VkBindImageMemoryInfo)

FAKE_BIND2(BindAccelerationStructureMemoryNV, VkBindAccelerationStructureMemoryInfoNV)
FAKE_BIND2(BindTensorMemoryARM, struct mt_bind_tensor_info)
FAKE_BIND2(BindDataGraphPipelineSessionMemoryARM, struct mt_bind_graph_session_info)
FAKE_REQUIRE2(GetTensorMemoryRequirementsARM, struct mt_tensor_requirements_info)
FAKE_REQUIRE2(GetDataGraphPipelineSessionMemoryRequirementsARM, struct mt_graph_requirements_info)

static VkResult VKAPI_CALL fake_BindVideoSessionMemoryKHR(VkDevice device, VkVideoSessionKHR session,
                                                          uint32_t count,
                                                          const VkBindVideoSessionMemoryInfoKHR *infos)
{
    (void)device, (void)session, (void)count, (void)infos;
    COUNT(BindVideoSessionMemoryKHR);
    return fake.fail;
}

static void VKAPI_CALL fake_GetAccelerationStructureMemoryRequirementsNV(
    VkDevice device, const VkAccelerationStructureMemoryRequirementsInfoNV *info, VkMemoryRequirements2 *required)
{
    (void)device, (void)info;
    require(&required->memoryRequirements);
}

static VkResult VKAPI_CALL fake_QueueBindSparse(VkQueue queue, uint32_t count, const VkBindSparseInfo *infos,
                                                VkFence fence)
{
    (void)queue, (void)count, (void)infos, (void)fence;
    COUNT(QueueBindSparse);
    return fake.fail;
}

/* Blocks of 128 x 128 texels. */
static void VKAPI_CALL fake_GetImageSparseMemoryRequirements(VkDevice device, VkImage image, uint32_t *count,
                                                             VkSparseImageMemoryRequirements *required)
{
    (void)device, (void)image;
    if (!required || !*count) {
        *count = 1;
        return;
    }
    *count = 1;
    *required = (VkSparseImageMemoryRequirements){.formatProperties = {VK_IMAGE_ASPECT_COLOR_BIT, {128, 128, 1}, 0},
                                                  .imageMipTailFirstLod = 3};
}

static VkResult VKAPI_CALL fake_GetSwapchainImagesKHR(VkDevice device, VkSwapchainKHR swapchain, uint32_t *count,
                                                      VkImage *images)
{
    (void)device, (void)swapchain;
    COUNT(GetSwapchainImagesKHR);
    if (images)
        for (uint32_t i = 0; i < *count && i < FAKE_SWAPCHAIN_IMAGES; i++) images[i] = (VkImage)(uint64_t)(i + 1);
    if (images && *count < FAKE_SWAPCHAIN_IMAGES) return VK_INCOMPLETE;
    *count = FAKE_SWAPCHAIN_IMAGES;
    return VK_SUCCESS;
}

static VkResult VKAPI_CALL fake_QueuePresentKHR(VkQueue queue, const VkPresentInfoKHR *info)
{
    (void)queue, (void)info;
    COUNT(QueuePresentKHR);
    return fake.fail;
}

/* A command that the layer does not hook. */
static VkResult VKAPI_CALL fake_DeviceWaitIdle(VkDevice device)
{
    (void)device;
    return VK_SUCCESS;
}

/* ---- lookups ---------------------------------------------------------------------------- */

static PFN_vkVoidFunction VKAPI_CALL driver_gdpa(VkDevice device, const char *name);

static VkResult VKAPI_CALL fake_GetDeviceProcAddr(void)
{
    return VK_SUCCESS; /* only its being there is looked at */
}

struct command {
    const char *name;
    PFN_vkVoidFunction function;
};

#define COMMAND(Name)                                                                                              \
    {                                                                                                              \
        "vk" #Name, (PFN_vkVoidFunction)fake_##Name                                                                \
    }
static const struct command device_commands[] = {
#define MT_DEVICE_HOOK(Name) COMMAND(Name),
#include "vklayer/hooks.def"
    COMMAND(DeviceWaitIdle),
    COMMAND(GetImageSparseMemoryRequirements),
    COMMAND(GetAccelerationStructureMemoryRequirementsNV),
};
static const struct command instance_commands[] = {
    COMMAND(DestroyInstance),
    COMMAND(CreateDevice),
    COMMAND(EnumerateDeviceExtensionProperties),
    COMMAND(GetPhysicalDeviceProperties),
    COMMAND(GetPhysicalDeviceProperties2),
    {"vkGetPhysicalDeviceProperties2KHR", (PFN_vkVoidFunction)fake_GetPhysicalDeviceProperties2},
    COMMAND(GetPhysicalDeviceMemoryProperties),
    COMMAND(GetPhysicalDeviceMemoryProperties2),
    {"vkGetPhysicalDeviceMemoryProperties2KHR", (PFN_vkVoidFunction)fake_GetPhysicalDeviceMemoryProperties2},
};

static PFN_vkVoidFunction search(const struct command *commands, size_t count, const char *name)
{
    for (unsigned i = 0; i < sizeof fake.hidden / sizeof *fake.hidden; i++)
        if (fake.hidden[i] && !strcmp(fake.hidden[i], name)) return NULL;
    for (size_t i = 0; i < count; i++)
        if (!strcmp(commands[i].name, name)) return commands[i].function;
    return NULL;
}

static PFN_vkVoidFunction VKAPI_CALL driver_gdpa(VkDevice device, const char *name)
{
    (void)device;
    return search(device_commands, sizeof device_commands / sizeof *device_commands, name);
}

PFN_vkVoidFunction fake_driver_command(const char *name)
{
    return driver_gdpa(NULL, name);
}

/* As strict as the specification: without an instance only the global commands. */
static PFN_vkVoidFunction VKAPI_CALL driver_gipa(VkInstance instance, const char *name)
{
    if (!strcmp(name, "vkCreateInstance")) return (PFN_vkVoidFunction)fake_CreateInstance;
    if (!instance) {
        fake.calls.strict_violations++;
        return NULL;
    }
    PFN_vkVoidFunction found = search(instance_commands, sizeof instance_commands / sizeof *instance_commands,
                                      name);
    return found ? found : driver_gdpa(NULL, name);
}

/* ---- another layer between the layer and itself --------------------------------------------- */

static PFN_vkGetInstanceProcAddr middle_next_gipa;
static PFN_vkGetDeviceProcAddr middle_next_gdpa;

static VkResult VKAPI_CALL middle_CreateInstance(const VkInstanceCreateInfo *info,
                                                 const VkAllocationCallbacks *allocator, VkInstance *instance)
{
    VkLayerInstanceCreateInfo *link = (VkLayerInstanceCreateInfo *)(uintptr_t)info->pNext;
    middle_next_gipa = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
    link->u.pLayerInfo = link->u.pLayerInfo->pNext;
    return ((PFN_vkCreateInstance)middle_next_gipa(NULL, "vkCreateInstance"))(info, allocator, instance);
}

static VkResult VKAPI_CALL middle_CreateDevice(VkPhysicalDevice physical, const VkDeviceCreateInfo *info,
                                               const VkAllocationCallbacks *allocator, VkDevice *device)
{
    VkLayerDeviceCreateInfo *link = (VkLayerDeviceCreateInfo *)(uintptr_t)info->pNext;
    PFN_vkGetInstanceProcAddr next = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
    middle_next_gdpa = link->u.pLayerInfo->pfnNextGetDeviceProcAddr;
    link->u.pLayerInfo = link->u.pLayerInfo->pNext;
    return ((PFN_vkCreateDevice)next((VkInstance)physical, "vkCreateDevice"))(physical, info, allocator, device);
}

static PFN_vkVoidFunction VKAPI_CALL middle_gdpa(VkDevice device, const char *name)
{
    return middle_next_gdpa(device, name);
}

static PFN_vkVoidFunction VKAPI_CALL middle_gipa(VkInstance instance, const char *name)
{
    if (!strcmp(name, "vkCreateInstance")) return (PFN_vkVoidFunction)middle_CreateInstance;
    if (!strcmp(name, "vkCreateDevice")) return (PFN_vkVoidFunction)middle_CreateDevice;
    return middle_next_gipa(instance, name);
}

/* ---- the loader's side -------------------------------------------------------------------------- */

VkResult fake_create_instance(const struct fake_instance_options *options, VkInstance *instance)
{
    VkLayerInstanceLink links[3] = {{NULL, driver_gipa, NULL}};
    if (options->self_again == 1) {
        links[0] = (VkLayerInstanceLink){&links[1], layer_gipa, NULL};
        links[1] = (VkLayerInstanceLink){NULL, driver_gipa, NULL};
    } else if (options->self_again == 2) {
        links[0] = (VkLayerInstanceLink){&links[1], middle_gipa, NULL};
        links[1] = (VkLayerInstanceLink){&links[2], layer_gipa, NULL};
        links[2] = (VkLayerInstanceLink){NULL, driver_gipa, NULL};
    }
    VkLayerInstanceCreateInfo link = {
        VK_STRUCTURE_TYPE_LOADER_INSTANCE_CREATE_INFO, NULL, VK_LAYER_LINK_INFO, {&links[0]}};
    VkLayerInstanceCreateInfo other = {
        VK_STRUCTURE_TYPE_LOADER_INSTANCE_CREATE_INFO, &link, VK_LOADER_FEATURES, {NULL}};
    static const char *const extensions[] = {VK_KHR_GET_PHYSICAL_DEVICE_PROPERTIES_2_EXTENSION_NAME};
    const VkApplicationInfo application = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
                                           .apiVersion = options->api_version};
    const VkInstanceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
                                       .pNext = options->self_again == 2 ? (void *)&link : (void *)&other,
                                       .pApplicationInfo = options->without_application_info ? NULL : &application,
                                       .enabledExtensionCount = options->with_properties2,
                                       .ppEnabledExtensionNames = extensions};
    const VkInstanceCreateInfo before = info;
    VkResult result = INSTANCE_COMMAND(NULL, CreateInstance)(&info, NULL, instance);
    if (memcmp(&before, &info, sizeof info)) abort(); /* the program's own structure */
    return result;
}

VkResult fake_create_device(VkInstance instance, unsigned self_again, VkDevice *device)
{
    VkLayerDeviceLink links[3] = {{NULL, driver_gipa, driver_gdpa}};
    if (self_again == 1) {
        links[0] = (VkLayerDeviceLink){&links[1], layer_gipa, layer_gdpa};
        links[1] = (VkLayerDeviceLink){NULL, driver_gipa, driver_gdpa};
    } else if (self_again == 2) {
        links[0] = (VkLayerDeviceLink){&links[1], middle_gipa, middle_gdpa};
        links[1] = (VkLayerDeviceLink){&links[2], layer_gipa, layer_gdpa};
        links[2] = (VkLayerDeviceLink){NULL, driver_gipa, driver_gdpa};
    }
    VkLayerDeviceCreateInfo link = {
        VK_STRUCTURE_TYPE_LOADER_DEVICE_CREATE_INFO, NULL, VK_LAYER_LINK_INFO, {&links[0]}};
    static const char *const extensions[] = {VK_KHR_SWAPCHAIN_EXTENSION_NAME};
    const VkDeviceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                                     .pNext = &link,
                                     .enabledExtensionCount = 1,
                                     .ppEnabledExtensionNames = extensions};
    const VkDeviceCreateInfo before = info;
    VkResult result = INSTANCE_COMMAND(instance, CreateDevice)(fake_physical_device(instance), &info, NULL, device);
    if (memcmp(&before, &info, sizeof info)) abort();
    return result;
}

VkPhysicalDevice fake_physical_device(VkInstance instance)
{
    return (VkPhysicalDevice)((struct dispatchable *)instance)->child;
}

VkQueue fake_queue(VkDevice device)
{
    return (VkQueue)((struct dispatchable *)device)->child;
}

PFN_vkVoidFunction fake_device_command(VkDevice device, const char *name)
{
    return layer_gdpa(device, name);
}
