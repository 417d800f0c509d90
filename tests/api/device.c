/*
 * Device memory, buffers and an image under tags, on the mock driver. `device [early]`: early says a tag before
 * there is an instance. Prints what memtrack answers.
 */
#include <memtrack.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vulkan/vulkan.h>

static VkInstance instance;
static VkDevice device;

static void check(VkResult result)
{
    if (result != VK_SUCCESS) exit(2);
}

static VkDeviceMemory allocate(VkDeviceSize bytes)
{
    VkDeviceMemory memory;
    VkMemoryAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, .allocationSize = bytes};
    check(vkAllocateMemory(device, &info, NULL, &memory));
    return memory;
}

static VkBuffer make_buffer(VkDeviceSize bytes)
{
    VkBuffer buffer;
    VkBufferCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, .size = bytes, .usage = VK_BUFFER_USAGE_VERTEX_BUFFER_BIT};
    check(vkCreateBuffer(device, &info, NULL, &buffer));
    return buffer;
}

static void make_image(void)
{
    VkImage image;
    VkImageCreateInfo info = {.sType = VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO,
                              .imageType = VK_IMAGE_TYPE_2D,
                              .format = VK_FORMAT_R8G8B8A8_UNORM,
                              .extent = {64, 64, 1},
                              .mipLevels = 1,
                              .arrayLayers = 1,
                              .samples = VK_SAMPLE_COUNT_1_BIT,
                              .usage = VK_IMAGE_USAGE_SAMPLED_BIT};
    check(vkCreateImage(device, &info, NULL, &image));
}

static void start(void)
{
    float priority = 1;
    uint32_t count = 1;
    VkPhysicalDevice physical;
    VkApplicationInfo application = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO, .apiVersion = VK_API_VERSION_1_1};
    VkInstanceCreateInfo instance_info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
                                          .pApplicationInfo = &application};
    VkDeviceQueueCreateInfo queue = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, .queueCount = 1, .pQueuePriorities = &priority};
    VkDeviceCreateInfo device_info = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO, .queueCreateInfoCount = 1, .pQueueCreateInfos = &queue};
    check(vkCreateInstance(&instance_info, NULL, &instance));
    check(vkEnumeratePhysicalDevices(instance, &count, &physical));
    check(vkCreateDevice(physical, &device_info, NULL, &device));
}

static void *allocate_shadows(void *unused)
{
    MEMTRACK_TAG("shadows");
    for (int i = 0; i < 5; i++) allocate(131072);
    return unused;
}

int main(int count, char **words)
{
    pthread_t thread;
    struct memtrack_statistics heap;
    (void)words;
    int is_pushed = count > 1 ? memtrack_push_tag("early") : 0;
    start();
    memtrack_set_budget("shadows", 600000);
    {
        MEMTRACK_TAG("terrain");
        VkDeviceMemory memory = allocate(1048576);
        for (int i = 0; i < 2; i++) allocate(65536);
        VkBuffer plain = make_buffer(65536);
        check(vkBindBufferMemory(device, plain, memory, 0));
        {
            MEMTRACK_TAG("water");
            VkBuffer buffer = make_buffer(65536);
            check(vkBindBufferMemory(device, buffer, memory, 131072));
            make_image();
        }
    }
    if (pthread_create(&thread, NULL, allocate_shadows, NULL) || pthread_join(thread, NULL)) return 3;
    allocate(262144);
    if (count > 1) memtrack_pop_tag();
    memtrack_mark_frame();
    memtrack_mark_frame();
    int is_known = memtrack_query_device_heap(0, &heap);
    printf("pushed %d tracking %d heap %d calls %" PRIu64 " live %" PRIu64 " bytes %" PRIu64 " peak %d size %d\n",
           is_pushed, memtrack_is_tracking(), is_known, heap.allocation_count, heap.current_count,
           heap.current_bytes, heap.peak_bytes >= heap.current_bytes && heap.peak_bytes > 0, heap.size_bytes > 0);
    return 0;
}
