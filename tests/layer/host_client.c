/*
 * A program on the mock driver whose host memory is known: the driver takes
 * 1,000 bytes from malloc for each object. For host.sh; one thread makes
 * fences and buffers, another one destroys a part of them.
 */
#include <vulkan/vulkan.h>

#include <pthread.h>
#include <stdlib.h>

enum { FENCES = 200, KEPT = 30, BUFFERS = 50, MEMORIES = 100, MEMORIES_KEPT = 40 };

static VkDevice device;
static VkFence fences[FENCES];
static VkDeviceMemory memories[MEMORIES];

static void check(VkResult result)
{
    if (result != VK_SUCCESS) exit(2);
}

static void *destroy_some(void *unused)
{
    (void)unused;
    for (int i = KEPT; i < FENCES; i++) vkDestroyFence(device, fences[i], NULL);
    for (int i = MEMORIES_KEPT; i < MEMORIES; i++) vkFreeMemory(device, memories[i], NULL);
    return NULL;
}

int main(void)
{
    float priority = 1;
    uint32_t count = 1;
    VkInstance instance;
    VkPhysicalDevice physical;
    VkBuffer buffer;
    pthread_t thread;
    VkApplicationInfo application = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO, .apiVersion = VK_API_VERSION_1_1};
    VkInstanceCreateInfo instance_info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
                                          .pApplicationInfo = &application};
    VkDeviceQueueCreateInfo queue = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, .queueCount = 1, .pQueuePriorities = &priority};
    VkDeviceCreateInfo device_info = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO, .queueCreateInfoCount = 1, .pQueueCreateInfos = &queue};
    VkBufferCreateInfo buffer_info = {
        .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, .size = 4096, .usage = VK_BUFFER_USAGE_VERTEX_BUFFER_BIT};
    VkMemoryAllocateInfo memory_info = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, .allocationSize = 100000};
    VkFenceCreateInfo fence_info = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    check(vkCreateInstance(&instance_info, NULL, &instance));
    check(vkEnumeratePhysicalDevices(instance, &count, &physical));
    check(vkCreateDevice(physical, &device_info, NULL, &device));
    for (int i = 0; i < BUFFERS; i++) check(vkCreateBuffer(device, &buffer_info, NULL, &buffer));
    for (int i = 0; i < FENCES; i++) check(vkCreateFence(device, &fence_info, NULL, &fences[i]));
    for (int i = 0; i < MEMORIES; i++) check(vkAllocateMemory(device, &memory_info, NULL, &memories[i]));
    if (pthread_create(&thread, NULL, destroy_some, NULL) || pthread_join(thread, NULL)) return 3;
    return 0; /* the buffers, 30 fences and 40 allocations are never destroyed */
}
