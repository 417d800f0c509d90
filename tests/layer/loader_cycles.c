/*
 * Loads and unloads the Vulkan loader again and again, with an instance, a
 * device and an allocation each time, as programs do that only want to know
 * what the machine has. Not linked with the loader.
 *   loader_cycles N
 */
#define VK_NO_PROTOTYPES
#include <vulkan/vulkan.h>

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#define LOAD(from, handle, Name) PFN_vk##Name Name = (PFN_vk##Name)from(handle, "vk" #Name)

static int use_device(PFN_vkGetInstanceProcAddr get, VkInstance instance)
{
    LOAD(get, instance, EnumeratePhysicalDevices);
    LOAD(get, instance, CreateDevice);
    LOAD(get, instance, GetDeviceProcAddr);
    VkPhysicalDevice physical;
    VkDevice device;
    VkDeviceMemory memory;
    uint32_t count = 1;
    float priority = 1;
    VkDeviceQueueCreateInfo queue = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, .queueCount = 1, .pQueuePriorities = &priority};
    VkDeviceCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO, .queueCreateInfoCount = 1, .pQueueCreateInfos = &queue};
    if (EnumeratePhysicalDevices(instance, &count, &physical) < 0 || !count) return 2;
    if (CreateDevice(physical, &info, NULL, &device)) return 3;
    LOAD(GetDeviceProcAddr, device, AllocateMemory);
    LOAD(GetDeviceProcAddr, device, FreeMemory);
    LOAD(GetDeviceProcAddr, device, DestroyDevice);
    VkMemoryAllocateInfo allocation = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, .allocationSize = 4096};
    if (AllocateMemory(device, &allocation, NULL, &memory)) return 4;
    FreeMemory(device, memory, NULL);
    DestroyDevice(device, NULL);
    return 0;
}

static int cycle(void)
{
    void *library = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
    PFN_vkGetInstanceProcAddr get = NULL;
    if (library) *(void **)&get = dlsym(library, "vkGetInstanceProcAddr");
    if (!get) return 1;
    LOAD(get, NULL, CreateInstance);
    VkInstanceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO};
    VkInstance instance;
    if (CreateInstance(&info, NULL, &instance)) return 5;
    LOAD(get, instance, DestroyInstance);
    int status = use_device(get, instance);
    DestroyInstance(instance, NULL);
    dlclose(library);
    return status;
}

int main(int count, char **arguments)
{
    int cycles = count > 1 ? atoi(arguments[1]) : 1;
    for (int i = 0; i < cycles; i++) {
        int status = cycle();
        if (!status) continue;
        fprintf(stderr, "cycle %d: step %d failed\n", i, status);
        return status;
    }
    void *left = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_NOLOAD);
    printf("%d cycles, the loader is %s\n", cycles, left ? "still there" : "gone");
    return left ? 6 : 0;
}
