/*
 * A headless Vulkan program whose picture depends on every byte of device
 * memory it uses: for some frames it makes buffers and images, each with an
 * allocation of its own, fills, uploads, copies, blits and resolves between
 * them, and frees half of them again. Prints one hash of all pictures, the
 * same with and without pools. One thread; writes the last picture where told.
 *
 *   pool_render [FRAMES [PICTURE.ppm]]
 */
#include <vulkan/vulkan.h>

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 128, OBJECTS = 24, TEXELS = SIDE * SIDE, BYTES = TEXELS * 4 };

struct object {
    VkBuffer upload;
    VkImage image;
    VkDeviceMemory upload_memory, image_memory;
    uint32_t *texels;
};

static VkPhysicalDevice physical;
static VkDevice device;
static VkQueue queue;
static VkCommandBuffer commands;
static struct object objects[OBJECTS];
static VkBuffer readback;
static VkDeviceMemory readback_memory;
static const uint32_t *picture;
static uint32_t random_state = 1;
static uint64_t hash = UINT64_C(0xcbf29ce484222325);

static void fail(const char *what, int result)
{
    fprintf(stderr, "%s: %d\n", what, result);
    exit(1);
}

#define TRY(call)                                                                                                  \
    do {                                                                                                           \
        VkResult result_ = call;                                                                                   \
        if (result_ < 0) fail(#call, result_);                                                                     \
    } while (0)

static uint32_t roll(void)
{
    return random_state = random_state * 1664525u + 1013904223u;
}

static uint32_t find_type(uint32_t bits, VkMemoryPropertyFlags wanted)
{
    VkPhysicalDeviceMemoryProperties memory;
    vkGetPhysicalDeviceMemoryProperties(physical, &memory);
    for (uint32_t i = 0; i < memory.memoryTypeCount; i++)
        if (bits >> i & 1 && (memory.memoryTypes[i].propertyFlags & wanted) == wanted) return i;
    fail("no memory type", (int)wanted);
    return 0;
}

static VkDeviceMemory allocate(const VkMemoryRequirements *required, VkMemoryPropertyFlags wanted)
{
    VkMemoryAllocateInfo info = {VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, NULL, required->size,
                                 find_type(required->memoryTypeBits, wanted)};
    VkDeviceMemory memory;
    TRY(vkAllocateMemory(device, &info, NULL, &memory));
    return memory;
}

static VkBuffer make_buffer(VkDeviceMemory *memory, void **data)
{
    VkBufferCreateInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
                               .size = BYTES,
                               .usage = VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT};
    VkBuffer buffer;
    VkMemoryRequirements required;
    TRY(vkCreateBuffer(device, &info, NULL, &buffer));
    vkGetBufferMemoryRequirements(device, buffer, &required);
    *memory = allocate(&required, VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT);
    TRY(vkBindBufferMemory(device, buffer, *memory, 0));
    TRY(vkMapMemory(device, *memory, 0, VK_WHOLE_SIZE, 0, data));
    return buffer;
}

static VkImage make_image(VkDeviceMemory *memory)
{
    VkImageCreateInfo info = {.sType = VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO,
                              .imageType = VK_IMAGE_TYPE_2D,
                              .format = VK_FORMAT_R8G8B8A8_UNORM,
                              .extent = {SIDE, SIDE, 1},
                              .mipLevels = 1,
                              .arrayLayers = 1,
                              .samples = VK_SAMPLE_COUNT_1_BIT,
                              .usage = VK_IMAGE_USAGE_TRANSFER_SRC_BIT | VK_IMAGE_USAGE_TRANSFER_DST_BIT};
    VkImage image;
    VkMemoryRequirements required;
    TRY(vkCreateImage(device, &info, NULL, &image));
    vkGetImageMemoryRequirements(device, image, &required);
    *memory = allocate(&required, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT);
    TRY(vkBindImageMemory(device, image, *memory, 0));
    return image;
}

static void make_object(struct object *object)
{
    void *data;
    object->upload = make_buffer(&object->upload_memory, &data);
    object->image = make_image(&object->image_memory);
    object->texels = data;
    for (unsigned i = 0; i < TEXELS; i++) object->texels[i] = roll();
}

static void end_object(struct object *object)
{
    vkDestroyBuffer(device, object->upload, NULL);
    vkDestroyImage(device, object->image, NULL);
    vkFreeMemory(device, object->upload_memory, NULL);
    vkFreeMemory(device, object->image_memory, NULL);
    memset(object, 0, sizeof *object);
}

static void barrier(VkImage image, VkImageLayout from, VkImageLayout to)
{
    VkImageMemoryBarrier change = {.sType = VK_STRUCTURE_TYPE_IMAGE_MEMORY_BARRIER,
                                   .srcAccessMask = VK_ACCESS_MEMORY_WRITE_BIT,
                                   .dstAccessMask = VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT,
                                   .oldLayout = from,
                                   .newLayout = to,
                                   .image = image,
                                   .subresourceRange = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1}};
    vkCmdPipelineBarrier(commands, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, 0, 0,
                         NULL, 0, NULL, 1, &change);
}

static const VkImageSubresourceLayers layers = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1};

static void upload(const struct object *object)
{
    VkBufferImageCopy all = {.imageSubresource = layers, .imageExtent = {SIDE, SIDE, 1}};
    barrier(object->image, VK_IMAGE_LAYOUT_UNDEFINED, VK_IMAGE_LAYOUT_GENERAL);
    vkCmdCopyBufferToImage(commands, object->upload, object->image, VK_IMAGE_LAYOUT_GENERAL, 1, &all);
    barrier(object->image, VK_IMAGE_LAYOUT_GENERAL, VK_IMAGE_LAYOUT_GENERAL);
}

/* A smaller copy of one image somewhere in another. */
static void mix(VkImage from, VkImage to)
{
    int32_t x = (int32_t)(roll() >> 16) % (SIDE / 2), y = (int32_t)(roll() >> 16) % (SIDE / 2);
    VkImageBlit blit = {layers, {{0, 0, 0}, {SIDE, SIDE, 1}}, layers, {{x, y, 0}, {x + SIDE / 2, y + SIDE / 2, 1}}};
    vkCmdBlitImage(commands, from, VK_IMAGE_LAYOUT_GENERAL, to, VK_IMAGE_LAYOUT_GENERAL, 1, &blit,
                   VK_FILTER_NEAREST);
    barrier(to, VK_IMAGE_LAYOUT_GENERAL, VK_IMAGE_LAYOUT_GENERAL);
}

static void submit(void)
{
    VkSubmitInfo info = {
        .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO, .commandBufferCount = 1, .pCommandBuffers = &commands};
    TRY(vkEndCommandBuffer(commands));
    TRY(vkQueueSubmit(queue, 1, &info, VK_NULL_HANDLE));
    TRY(vkQueueWaitIdle(queue));
}

static void draw(void)
{
    VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    VkBufferImageCopy all = {.imageSubresource = layers, .imageExtent = {SIDE, SIDE, 1}};
    TRY(vkBeginCommandBuffer(commands, &begin));
    for (unsigned i = 0; i < OBJECTS; i++) upload(&objects[i]);
    for (unsigned i = 0; i < OBJECTS; i++) mix(objects[i].image, objects[(i + 7) % OBJECTS].image);
    vkCmdCopyImageToBuffer(commands, objects[0].image, VK_IMAGE_LAYOUT_GENERAL, readback, 1, &all);
    submit();
    for (unsigned i = 0; i < TEXELS; i++) hash = (hash ^ picture[i]) * UINT64_C(0x100000001b3);
}

static void start(void)
{
    float priority = 1;
    uint32_t count = 1;
    VkInstance instance;
    VkApplicationInfo application = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO, .apiVersion = VK_API_VERSION_1_1};
    VkInstanceCreateInfo instance_info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
                                          .pApplicationInfo = &application};
    VkDeviceQueueCreateInfo queue_info = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, .queueCount = 1, .pQueuePriorities = &priority};
    VkDeviceCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO, .queueCreateInfoCount = 1, .pQueueCreateInfos = &queue_info};
    VkCommandPoolCreateInfo pool_info = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                         .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT};
    VkCommandPool pool;
    TRY(vkCreateInstance(&instance_info, NULL, &instance));
    TRY(vkEnumeratePhysicalDevices(instance, &count, &physical));
    TRY(vkCreateDevice(physical, &info, NULL, &device));
    vkGetDeviceQueue(device, 0, 0, &queue);
    TRY(vkCreateCommandPool(device, &pool_info, NULL, &pool));
    VkCommandBufferAllocateInfo buffers = {VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO, NULL, pool,
                                           VK_COMMAND_BUFFER_LEVEL_PRIMARY, 1};
    TRY(vkAllocateCommandBuffers(device, &buffers, &commands));
    void *data;
    readback = make_buffer(&readback_memory, &data);
    picture = data;
}

static void save(const char *path)
{
    FILE *file = fopen(path, "wb");
    if (!file) fail(path, 0);
    fprintf(file, "P6 %d %d 255\n", SIDE, SIDE);
    for (unsigned i = 0; i < TEXELS; i++) fwrite(&picture[i], 1, 3, file);
    fclose(file);
}

int main(int count, char **words)
{
    unsigned frames = count > 1 ? (unsigned)atoi(words[1]) : 50;
    start();
    for (unsigned i = 0; i < OBJECTS; i++) make_object(&objects[i]);
    for (unsigned frame = 0; frame < frames; frame++) {
        draw();
        for (unsigned i = frame % 2; i < OBJECTS; i += 2) {
            end_object(&objects[i]);
            make_object(&objects[i]);
        }
    }
    if (count > 2) save(words[2]);
    printf("%016llx\n", (unsigned long long)hash);
    for (unsigned i = 0; i < OBJECTS; i++) end_object(&objects[i]);
    vkDestroyBuffer(device, readback, NULL);
    vkFreeMemory(device, readback_memory, NULL);
    return 0;
}
