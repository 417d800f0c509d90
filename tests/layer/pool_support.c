/*
 * See the header. The paths of the driver and the layer come from
 * MEMTRACK_BUILD; the session is a fresh directory of this process.
 */
#include "pool_support.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

VkInstance instance;
VkPhysicalDevice physical;
VkDevice device;
const struct mt_segment *segment;
struct mock_state *driver;
static char directory[] = "/tmp/memtrack-pool.XXXXXX";
static void (*driver_set)(const char *text);

static const char *build_folder(void)
{
    const char *folder = getenv("MEMTRACK_BUILD");
    return folder ? folder : "build";
}

const char *session_directory(void)
{
    return directory;
}

void set_driver(const char *text)
{
    driver_set(text);
}

static void set_options(const char *options)
{
    char copy[1024], *save = NULL;
    snprintf(copy, sizeof copy, "%s", options);
    for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
        char *value = strchr(word, '=');
        *value = 0;
        setenv(word, value + 1, 1);
    }
}

static void set_environment(const char *driver_script, const char *options)
{
    char path[600];
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/tests/layer/mock_icd/mock_icd.json", build_folder());
    setenv("VK_ICD_FILENAMES", path, 1);
    snprintf(path, sizeof path, "%s/manifests/vulkan/explicit_layer.d", build_folder());
    setenv("VK_LAYER_PATH", path, 1);
    setenv("VK_INSTANCE_LAYERS", "VK_LAYER_MEMTRACK_memtrack", 1);
    setenv("VK_LOADER_LAYERS_DISABLE", "~implicit~", 1);
    setenv("MEMTRACK_SESSION", directory, 1);
    setenv("MEMTRACK_COLLECTOR", "none", 1);
    setenv("MOCK_ICD", driver_script, 1);
    setenv("MOCK_ICD_TELL", "1", 1);
    set_options(options);
}

static void open_driver(void)
{
    char path[600];
    snprintf(path, sizeof path, "%s/tests/layer/mock_icd/libmock_icd.so", build_folder());
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    ck_assert_msg(library != NULL, "%s", dlerror());
    mock_state_function *state;
    *(void **)&state = dlsym(library, "mock_state");
    *(void **)&driver_set = dlsym(library, "mock_set");
    driver = state();
}

static void remove_session(void)
{
    char line[100];
    snprintf(line, sizeof line, "rm -rf %s", directory);
    if (system(line)) return;
}

void start_instance(const char *driver_script, const char *options)
{
    set_environment(driver_script, options);
    open_driver();
    atexit(remove_session);
    VkApplicationInfo application = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO, .apiVersion = VK_API_VERSION_1_3};
    const char *const extensions[] = {VK_EXT_DEBUG_UTILS_EXTENSION_NAME};
    VkInstanceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
                                 .pApplicationInfo = &application,
                                 .enabledExtensionCount = 1,
                                 .ppEnabledExtensionNames = extensions};
    uint32_t count = 1;
    ck_assert_int_eq(vkCreateInstance(&info, NULL, &instance), VK_SUCCESS);
    ck_assert_int_ge(vkEnumeratePhysicalDevices(instance, &count, &physical), VK_SUCCESS);
    segment = view_open(directory, getpid());
    ck_assert_ptr_nonnull(segment);
}

VkResult make_device(const char *extensions, const void *chain, const VkPhysicalDeviceFeatures *features,
                     VkDevice *made)
{
    char copy[2048], *save = NULL;
    const char *names[64];
    float priority = 1;
    VkDeviceQueueCreateInfo queue = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, .queueCount = 1, .pQueuePriorities = &priority};
    VkDeviceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                               .pNext = chain,
                               .queueCreateInfoCount = 1,
                               .pQueueCreateInfos = &queue,
                               .pEnabledFeatures = features,
                               .ppEnabledExtensionNames = names};
    snprintf(copy, sizeof copy, "%s", extensions);
    for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save))
        names[info.enabledExtensionCount++] = word;
    return vkCreateDevice(physical, &info, NULL, made);
}

void start_device(const char *driver_script, const char *options)
{
    start_instance(driver_script, options);
    ck_assert_int_eq(make_device("VK_KHR_bind_memory2 VK_KHR_get_memory_requirements2", NULL, NULL, &device),
                     VK_SUCCESS);
}

void expect_no_breach(void)
{
    ck_assert_msg(!atomic_load(&driver->breach_count), "%s", driver->first_breach);
    if (view_nth(segment, MT_VK_POOLS, 0)) {
        ck_assert_uint_eq(pools_number(MT_VK_POOLS_VIOLATIONS), 0);
        ck_assert_uint_eq(pools_number(MT_VK_POOLS_STALE), 0);
    }
}

void end_device(void)
{
    vkDestroyDevice(device, NULL);
    expect_no_breach();
    ck_assert_uint_eq(driver->live_memory_count, 0);
    vkDestroyInstance(instance, NULL);
}

PFN_vkVoidFunction command(const char *name)
{
    PFN_vkVoidFunction found = vkGetDeviceProcAddr(device, name);
    ck_assert_msg(found != NULL, "no %s", name);
    return found;
}

VkResult try_allocate(uint64_t bytes, uint32_t type, const void *chain, VkDeviceMemory *memory)
{
    VkMemoryAllocateInfo info = {VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, chain, bytes, type};
    return vkAllocateMemory(device, &info, NULL, memory);
}

VkDeviceMemory allocate(uint64_t bytes, uint32_t type)
{
    VkDeviceMemory memory = VK_NULL_HANDLE;
    ck_assert_int_eq(try_allocate(bytes, type, NULL, &memory), VK_SUCCESS);
    return memory;
}

void free_memory(VkDeviceMemory memory)
{
    vkFreeMemory(device, memory, NULL);
}

VkBuffer create_buffer(uint64_t bytes)
{
    VkBufferCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, .size = bytes, .usage = VK_BUFFER_USAGE_VERTEX_BUFFER_BIT};
    VkBuffer buffer = VK_NULL_HANDLE;
    ck_assert_int_eq(vkCreateBuffer(device, &info, NULL, &buffer), VK_SUCCESS);
    return buffer;
}

VkImage create_image(uint32_t width)
{
    VkImageCreateInfo info = {.sType = VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO,
                              .imageType = VK_IMAGE_TYPE_2D,
                              .format = VK_FORMAT_R8G8B8A8_UNORM,
                              .extent = {width, width, 1},
                              .mipLevels = 1,
                              .arrayLayers = 1,
                              .samples = VK_SAMPLE_COUNT_1_BIT,
                              .usage = VK_IMAGE_USAGE_SAMPLED_BIT};
    VkImage image = VK_NULL_HANDLE;
    ck_assert_int_eq(vkCreateImage(device, &info, NULL, &image), VK_SUCCESS);
    return image;
}

/* The driver's own handles carry its mark; a slice's is an address. */
bool is_slice(VkDeviceMemory memory)
{
    return MOCK_HANDLE(memory) >> 48 != 0x00d1;
}

uint64_t pools_number(unsigned which)
{
    const struct mt_object *record = view_nth(segment, MT_VK_POOLS, 0);
    ck_assert_ptr_nonnull(record);
    return record->attr[which];
}

const char *pools_reason(void)
{
    const struct mt_object *record = view_nth(segment, MT_VK_POOLS, 0);
    return record ? record->text : "";
}

uint64_t misses(enum mt_vulkan_pool_miss reason)
{
    return pools_number(MT_VK_POOLS_MISSES + (unsigned)reason);
}

static uint64_t sum_of(uint16_t kind, unsigned which)
{
    uint64_t sum = 0;
    const struct mt_object *record;
    for (unsigned n = 0; (record = view_nth(segment, kind, n)); n++) sum += record->attr[which];
    return sum;
}

uint64_t pool_sum(unsigned which)
{
    return sum_of(MT_VK_POOL, which) + sum_of(MT_VK_POOL_PART, which);
}

uint64_t times_sum(unsigned which)
{
    return sum_of(MT_VK_POOL_TIMES, which) + sum_of(MT_VK_POOL_TIMES_PART, which);
}

const struct mt_heap *heap_row(uint32_t index)
{
    const struct mt_heap *row = view_heap(segment, MT_HEAP_DEVICE_HEAP, index, 0);
    ck_assert_ptr_nonnull(row);
    return row;
}
