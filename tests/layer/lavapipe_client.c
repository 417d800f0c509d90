/*
 * A small Vulkan program without a window. It knows exactly what it does with
 * device memory and compares that with its own segment, as another process
 * would read it, while it runs. Started through the real loader by
 * tests/layer/lavapipe.sh, which sets where the layer and the driver are.
 *
 *   lavapipe_client SESSION once      every kind of object, checked step by step
 *   lavapipe_client SESSION cycles N  N instances and devices, no growth
 *   lavapipe_client SESSION forks N   N children with devices of their own, ended by _exit
 */
#include "segment_view.h"

#include <vulkan/vulkan.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *session;
static unsigned checks, failures;

#define CHECK(condition) check(condition, #condition, __LINE__)
#define EQUAL(a, b)      equal((long long)(a), (long long)(b), #a, __LINE__)

static void check(bool good, const char *text, int line)
{
    checks++;
    if (good) return;
    failures++;
    fprintf(stderr, "line %d: %s\n", line, text);
}

static void equal(long long a, long long b, const char *text, int line)
{
    checks++;
    if (a == b) return;
    failures++;
    fprintf(stderr, "line %d: %s is %lld, not %lld\n", line, text, a, b);
}

struct client {
    VkInstance instance;
    VkPhysicalDevice physical;
    VkDevice device;
    const struct mt_segment *segment;
};

static bool has_instance_extension(const char *name)
{
    VkExtensionProperties list[64];
    uint32_t count = 64;
    vkEnumerateInstanceExtensionProperties(NULL, &count, list);
    for (uint32_t i = 0; i < count; i++)
        if (!strcmp(list[i].extensionName, name)) return true;
    return false;
}

static bool start(struct client *client)
{
    static const char *const extensions[] = {VK_EXT_DEBUG_UTILS_EXTENSION_NAME};
    VkApplicationInfo application = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO, .apiVersion = VK_API_VERSION_1_1};
    VkInstanceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
                                 .pApplicationInfo = &application,
                                 .enabledExtensionCount = has_instance_extension(extensions[0]),
                                 .ppEnabledExtensionNames = extensions};
    float priority = 1;
    VkDeviceQueueCreateInfo queue = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, .queueCount = 1, .pQueuePriorities = &priority};
    VkDeviceCreateInfo device = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO, .queueCreateInfoCount = 1, .pQueueCreateInfos = &queue};
    uint32_t count = 1;
    if (vkCreateInstance(&info, NULL, &client->instance)) return false;
    if (vkEnumeratePhysicalDevices(client->instance, &count, &client->physical) < 0 || !count) return false;
    if (vkCreateDevice(client->physical, &device, NULL, &client->device)) return false;
    if (!client->segment) client->segment = view_open(session, getpid());
    return client->segment != NULL;
}

static void stop(struct client *client)
{
    vkDestroyDevice(client->device, NULL);
    vkDestroyInstance(client->instance, NULL);
}

static VkDeviceMemory allocate(struct client *client, uint64_t bytes)
{
    VkMemoryAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, .allocationSize = bytes};
    VkDeviceMemory memory = VK_NULL_HANDLE;
    EQUAL(vkAllocateMemory(client->device, &info, NULL, &memory), VK_SUCCESS);
    return memory;
}

static void totals(struct client *client, int64_t current, int64_t count, int64_t peak, uint64_t total)
{
    const struct mt_heap *heap = view_heap(client->segment, MT_HEAP_DEVICE_HEAP, 0, 0);
    const struct mt_heap *type = view_heap(client->segment, MT_HEAP_DEVICE_TYPE, 0, 0);
    if (!heap || !type) {
        CHECK(heap && type);
        return;
    }
    EQUAL(heap->current_bytes, current);
    EQUAL(heap->current_count, count);
    EQUAL(heap->peak_bytes, peak);
    EQUAL(heap->total_bytes, total);
    EQUAL(type->current_bytes, current);
    EQUAL(type->total_bytes, total);
}

static VkBuffer make_buffer(struct client *client, uint64_t bytes, VkBufferUsageFlags usage)
{
    VkBufferCreateInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, .size = bytes, .usage = usage};
    VkBuffer buffer = VK_NULL_HANDLE;
    EQUAL(vkCreateBuffer(client->device, &info, NULL, &buffer), VK_SUCCESS);
    return buffer;
}

static VkImage make_image(struct client *client, VkImageUsageFlags usage)
{
    VkImageCreateInfo info = {.sType = VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO,
                              .imageType = VK_IMAGE_TYPE_2D,
                              .format = VK_FORMAT_R8G8B8A8_UNORM,
                              .extent = {256, 128, 1},
                              .mipLevels = 1,
                              .arrayLayers = 1,
                              .samples = VK_SAMPLE_COUNT_1_BIT,
                              .tiling = VK_IMAGE_TILING_OPTIMAL,
                              .usage = usage};
    VkImage image = VK_NULL_HANDLE;
    EQUAL(vkCreateImage(client->device, &info, NULL, &image), VK_SUCCESS);
    return image;
}

static void name_memory(struct client *client, VkDeviceMemory memory, const char *name)
{
    PFN_vkSetDebugUtilsObjectNameEXT set = (PFN_vkSetDebugUtilsObjectNameEXT)vkGetDeviceProcAddr(
        client->device, "vkSetDebugUtilsObjectNameEXT");
    VkDebugUtilsObjectNameInfoEXT info = {.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_OBJECT_NAME_INFO_EXT,
                                          .objectType = VK_OBJECT_TYPE_DEVICE_MEMORY,
                                          .objectHandle = (uint64_t)memory,
                                          .pObjectName = name};
    if (!set) return;
    EQUAL(set(client->device, &info), VK_SUCCESS);
    const struct mt_object *record = view_handle(client->segment, MT_VK_MEMORY, (uint64_t)memory);
    CHECK(record && !strcmp(record->name, name));
}

static void use_memory(struct client *client, VkDeviceMemory memory)
{
    VkBuffer buffer = make_buffer(client, 5000, VK_BUFFER_USAGE_VERTEX_BUFFER_BIT);
    VkImage image = make_image(client, VK_IMAGE_USAGE_SAMPLED_BIT);
    VkMemoryRequirements for_buffer, for_image;
    void *data = NULL;
    vkGetBufferMemoryRequirements(client->device, buffer, &for_buffer);
    vkGetImageMemoryRequirements(client->device, image, &for_image);
    uint64_t at = (for_buffer.size + for_image.alignment - 1) & ~(for_image.alignment - 1);
    EQUAL(vkBindBufferMemory(client->device, buffer, memory, 0), VK_SUCCESS);
    EQUAL(vkBindImageMemory(client->device, image, memory, at), VK_SUCCESS);
    const struct mt_object *record = view_handle(client->segment, MT_VK_BUFFER, (uint64_t)buffer);
    EQUAL(record->size_bytes, 5000);
    EQUAL(record->attr[MT_VK_RESOURCE_REQUIRED_BYTES], for_buffer.size);
    record = view_handle(client->segment, MT_VK_IMAGE, (uint64_t)image);
    EQUAL(record->size_bytes, for_image.size);
    EQUAL(record->offset, at);
    record = view_at(client->segment, record->link);
    EQUAL(record->handle, (uint64_t)memory);
    EQUAL(record->attr[MT_VK_MEMORY_BOUND], 2);
    EQUAL(vkMapMemory(client->device, memory, 4096, VK_WHOLE_SIZE, 0, &data), VK_SUCCESS);
    EQUAL(record->attr[MT_VK_MEMORY_MAP_BYTES], record->size_bytes - 4096);
    memset(data, 1, 100);
    vkUnmapMemory(client->device, memory);
    EQUAL(record->attr[MT_VK_MEMORY_MAP_BYTES], 0);
    vkDestroyBuffer(client->device, buffer, NULL);
    vkDestroyImage(client->device, image, NULL);
    EQUAL(record->attr[MT_VK_MEMORY_BOUND], 0);
}

static void once(void)
{
    struct client client = {0};
    if (!start(&client)) {
        CHECK(!"no instance, device or segment");
        return;
    }
    const struct mt_object *device = view_nth(client.segment, MT_VK_DEVICE, 0);
    CHECK(device && strstr(device->name, "llvmpipe"));
    CHECK(device && device->attr[MT_VK_DEVICE_FLAGS] & MT_VK_DEVICE_IN_PROCESS);
    VkDeviceMemory a = allocate(&client, 1 << 20), b = allocate(&client, 3 << 20);
    totals(&client, 4 << 20, 2, 4 << 20, 4 << 20);
    name_memory(&client, a, "a heap of the test");
    use_memory(&client, a);
    vkFreeMemory(client.device, a, NULL);
    vkFreeMemory(client.device, VK_NULL_HANDLE, NULL);
    totals(&client, 3 << 20, 1, 4 << 20, 4 << 20);
    for (unsigned i = 0; i < 100; i++) vkFreeMemory(client.device, allocate(&client, 4096), NULL);
    totals(&client, 3 << 20, 1, 4 << 20, (4 << 20) + 100 * 4096);
    CHECK(vkGetDeviceProcAddr(client.device, "vkGetSwapchainImagesKHR") == NULL); /* the extension is off */
    vkFreeMemory(client.device, b, NULL);
    totals(&client, 0, 0, 4 << 20, (4 << 20) + 100 * 4096);
    EQUAL(device->attr[MT_VK_DEVICE_UNKNOWN_FREES], 0);
    stop(&client);
    EQUAL(device->attr[MT_VK_DEVICE_LEAKED], 0);
    CHECK(device->attr[MT_VK_DEVICE_FLAGS] & MT_VK_DEVICE_DESTROYED);
    EQUAL(view_count(client.segment, MT_VK_MEMORY) + view_count(client.segment, MT_VK_BUFFER) +
              view_count(client.segment, MT_VK_IMAGE),
          0);
}

static unsigned count_entries(const char *path)
{
    unsigned count = 0;
    DIR *folder = opendir(path);
    while (folder && readdir(folder)) count++;
    if (folder) closedir(folder);
    return count;
}

static void cycles(unsigned count)
{
    struct client client = {0};
    unsigned files = 0, threads = 0;
    uint64_t used = 0;
    for (unsigned i = 0; i < count; i++) {
        if (!start(&client)) {
            CHECK(!"no instance, device or segment");
            return;
        }
        vkFreeMemory(client.device, allocate(&client, 65536), NULL);
        stop(&client);
        if (i != 4) continue; /* settled */
        files = count_entries("/proc/self/fd");
        threads = count_entries("/proc/self/task");
        used = client.segment->used_bytes + client.segment->globals.private_bytes;
    }
    EQUAL(count_entries("/proc/self/fd"), files);
    EQUAL(count_entries("/proc/self/task"), threads);
    EQUAL(client.segment->used_bytes + client.segment->globals.private_bytes, used);
    totals(&client, 0, 0, 65536, 65536 * (uint64_t)count);
    EQUAL(view_count(client.segment, MT_VK_DEVICE), 1);
    EQUAL(view_nth(client.segment, MT_VK_DEVICE, 0)->offset, count);
}

static void child(unsigned number)
{
    struct client client = {0};
    if (!start(&client)) _exit(2);
    VkDeviceMemory memory = allocate(&client, 4096 * (uint64_t)(number + 1));
    (void)memory;
    totals(&client, 4096 * (int64_t)(number + 1), 1, 4096 * (int64_t)(number + 1), 4096 * (uint64_t)(number + 1));
    _exit(failures ? 3 : 0); /* with the device alive, as probing children of engines do */
}

static void forks(unsigned count)
{
    struct client client = {0};
    if (!start(&client)) {
        CHECK(!"no instance, device or segment");
        return;
    }
    VkDeviceMemory memory = allocate(&client, 12345);
    for (unsigned i = 0; i < count; i++) {
        int status = -1;
        pid_t pid = fork();
        if (!pid) child(i);
        waitpid(pid, &status, 0);
        EQUAL(status, 0);
    }
    totals(&client, 12345, 1, 12345, 12345);
    vkFreeMemory(client.device, memory, NULL);
    stop(&client);
}

int main(int count, char **arguments)
{
    unsigned number = count > 3 ? (unsigned)atoi(arguments[3]) : 1;
    if (count < 3) return 2;
    session = arguments[1];
    if (!strcmp(arguments[2], "once"))
        once();
    else if (!strcmp(arguments[2], "cycles"))
        cycles(number);
    else if (!strcmp(arguments[2], "forks"))
        forks(number);
    else
        return 2;
    printf("%u checks, %u failures\n", checks, failures);
    return failures != 0;
}
