/*
 * What allocating and freeing device memory costs: the driver alone, under
 * the layer without pools, and with each kind of pool; with 10^2 to 10^6 live
 * allocations and 1 to 8 threads. Processor time of the calling threads per
 * pair of vkAllocateMemory and vkFreeMemory, in a Markdown table. Each row is
 * a process of its own, because the layer reads its options once. "Pool alone"
 * is what the pool itself takes, without hooks, records and counters; there
 * the layer is linked into this program, over the mock driver.
 *
 *   bench_pool [BUILD-FOLDER [DRIVER-MANIFEST [MOST-LIVE]]]
 */
#include "vklayer/pool.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BYTES = 4096, REPEATS = 5, PAIRS = 20000, MOST_THREADS = 8 };

static VkDevice device;
static uint32_t memory_type;
static PFN_vkAllocateMemory allocate;
static PFN_vkFreeMemory release;
static _Atomic unsigned refused;

struct worker {
    pthread_t thread;
    VkDeviceMemory *live;
    unsigned count;
    double best_ns;
};

static double now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now); /* other processes on the machine do not count */
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static VkDeviceMemory make(void)
{
    VkMemoryAllocateInfo info = {VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, NULL, BYTES, memory_type};
    VkDeviceMemory memory = VK_NULL_HANDLE;
    if (allocate(device, &info, NULL, &memory) != VK_SUCCESS) refused++;
    return memory;
}

/* Frees one of the live ones, scattered, and makes another in its place. */
static void *work(void *argument)
{
    struct worker *worker = argument;
    unsigned at = 0;
    for (unsigned i = 0; i < worker->count; i++) worker->live[i] = make();
    worker->best_ns = 1e18;
    for (unsigned repeat = 0; repeat < REPEATS; repeat++) {
        double start = now_ns();
        for (unsigned i = 0; i < PAIRS; i++) {
            at = (at + 7919) % worker->count;
            release(device, worker->live[at], NULL);
            worker->live[at] = make();
        }
        double spent = (now_ns() - start) / PAIRS;
        if (spent < worker->best_ns) worker->best_ns = spent;
    }
    for (unsigned i = 0; i < worker->count; i++) release(device, worker->live[i], NULL);
    return NULL;
}

static double run(unsigned live, unsigned threads)
{
    struct worker workers[MOST_THREADS];
    double sum = 0;
    for (unsigned i = 0; i < threads; i++) {
        workers[i].count = live / threads ? live / threads : 1;
        workers[i].live = calloc(workers[i].count, sizeof(VkDeviceMemory));
        pthread_create(&workers[i].thread, NULL, work, &workers[i]);
    }
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(workers[i].thread, NULL);
        free(workers[i].live);
        sum += workers[i].best_ns;
    }
    return sum / threads;
}

static bool start(void)
{
    float priority = 1;
    uint32_t count = 1;
    VkInstance instance;
    VkPhysicalDevice physical;
    VkPhysicalDeviceMemoryProperties memory;
    VkApplicationInfo application = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO, .apiVersion = VK_API_VERSION_1_1};
    VkInstanceCreateInfo instance_info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
                                          .pApplicationInfo = &application};
    VkDeviceQueueCreateInfo queue = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, .queueCount = 1, .pQueuePriorities = &priority};
    VkDeviceCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO, .queueCreateInfoCount = 1, .pQueueCreateInfos = &queue};
    if (vkCreateInstance(&instance_info, NULL, &instance) ||
        vkEnumeratePhysicalDevices(instance, &count, &physical) < 0 || !count)
        return false;
    vkGetPhysicalDeviceMemoryProperties(physical, &memory);
    for (uint32_t i = memory.memoryTypeCount; i-- > 0;)
        if (memory.memoryTypes[i].propertyFlags == VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT) memory_type = i;
    if (vkCreateDevice(physical, &info, NULL, &device)) return false;
    allocate = (PFN_vkAllocateMemory)vkGetDeviceProcAddr(device, "vkAllocateMemory");
    release = (PFN_vkFreeMemory)vkGetDeviceProcAddr(device, "vkFreeMemory");
    return true;
}

/* ---- the pool without the layer around it --------------------------------------- */

static struct mt_device_pool *pools;

static VKAPI_ATTR VkResult VKAPI_CALL allocate_alone(VkDevice which, const VkMemoryAllocateInfo *info,
                                                     const VkAllocationCallbacks *callbacks, VkDeviceMemory *memory)
{
    uint64_t call_ns;
    (void)which;
    return mt_pool_allocate(pools, mt_process_self(pools->device->core), info, callbacks, memory, &call_ns);
}

static VKAPI_ATTR void VKAPI_CALL release_alone(VkDevice which, VkDeviceMemory memory,
                                                const VkAllocationCallbacks *callbacks)
{
    if (mt_pool_owns(pools, MT_HANDLE(memory)))
        mt_pool_free(pools, mt_process_self(pools->device->core), MT_HANDLE(memory),
                     mt_pool_word(pools, MT_HANDLE(memory)));
    else
        mt_device_find(device)->next.FreeMemory(which, memory, callbacks);
}

/* Links the layer in front of the mock driver as the loader would. */
static bool start_alone(const char *build)
{
    char path[600];
    snprintf(path, sizeof path, "%s/tests/layer/mock_icd/libmock_icd.so", build);
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    PFN_vkGetInstanceProcAddr next = NULL;
    if (library) *(void **)&next = dlsym(library, "vk_icdGetInstanceProcAddr");
    if (!next) return false;
    float priority = 1;
    uint32_t count = 1;
    VkInstance instance;
    VkPhysicalDevice physical;
    VkLayerInstanceLink link = {NULL, next, NULL};
    VkLayerInstanceCreateInfo chain = {.sType = VK_STRUCTURE_TYPE_LOADER_INSTANCE_CREATE_INFO,
                                       .function = VK_LAYER_LINK_INFO,
                                       .u.pLayerInfo = &link};
    VkInstanceCreateInfo instance_info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO, .pNext = &chain};
    if (memtrack_CreateInstance(&instance_info, NULL, &instance)) return false;
    ((PFN_vkEnumeratePhysicalDevices)next(instance, "vkEnumeratePhysicalDevices"))(instance, &count, &physical);
    VkLayerDeviceLink device_link = {NULL, next, (PFN_vkGetDeviceProcAddr)next(instance, "vkGetDeviceProcAddr")};
    VkLayerDeviceCreateInfo device_chain = {.sType = VK_STRUCTURE_TYPE_LOADER_DEVICE_CREATE_INFO,
                                            .function = VK_LAYER_LINK_INFO,
                                            .u.pLayerInfo = &device_link};
    VkDeviceQueueCreateInfo queue = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, .queueCount = 1, .pQueuePriorities = &priority};
    VkDeviceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                               .pNext = &device_chain,
                               .queueCreateInfoCount = 1,
                               .pQueueCreateInfos = &queue};
    if (memtrack_CreateDevice(physical, &info, NULL, &device)) return false;
    pools = mt_device_find(device)->pool;
    allocate = allocate_alone;
    release = release_alone;
    return pools != NULL;
}

static void print_row(const char *name, const char *alone_in, unsigned most)
{
    static const unsigned lives[] = {100, 1000, 10000, 100000, 1000000}, threads[] = {2, 4, 8};
    char line[400];
    int at = snprintf(line, sizeof line, "| %s |", name);
    if (!(alone_in ? start_alone(alone_in) : start())) {
        printf("%s no device |\n", line);
        return;
    }
    for (unsigned i = 0; i < 5; i++) {
        if (lives[i] > most)
            at += snprintf(line + at, sizeof line - (size_t)at, " - |");
        else
            at += snprintf(line + at, sizeof line - (size_t)at, " %.0f |", run(lives[i], 1));
    }
    for (unsigned i = 0; i < 3; i++)
        at += snprintf(line + at, sizeof line - (size_t)at, " %.0f |",
                       run(most < 10000 ? most : 10000, threads[i]));
    printf("%s%s\n", line, refused ? " (some were refused)" : "");
    fflush(stdout);
}

static void set_layer(const char *build, const char *pool)
{
    char path[600];
    snprintf(path, sizeof path, "%s/manifests/vulkan/explicit_layer.d", build);
    setenv("VK_LAYER_PATH", path, 1);
    setenv("VK_INSTANCE_LAYERS", "VK_LAYER_MEMTRACK_memtrack", 1);
    setenv("MEMTRACK_COLLECTOR", "none", 1);
    setenv("MEMTRACK_VULKAN_POOL", pool, 1);
}

static void row(const char *name, const char *build, const char *pool, bool is_alone, unsigned most)
{
    char session[] = "/tmp/memtrack-bench.XXXXXX", line[100];
    if (!mkdtemp(session)) return;
    setenv("MEMTRACK_SESSION", session, 1);
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        if (pool) set_layer(build, pool);
        if (!pool || is_alone) unsetenv("VK_INSTANCE_LAYERS");
        print_row(name, is_alone ? build : NULL, most);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    snprintf(line, sizeof line, "rm -rf %s", session);
    if (system(line)) return;
}

int main(int count, char **words)
{
    char manifest[600];
    const char *build = count > 1 ? words[1] : getenv("MEMTRACK_BUILD") ? getenv("MEMTRACK_BUILD") : "build";
    unsigned most = count > 3 ? (unsigned)strtoul(words[3], NULL, 10) : 1000000;
    snprintf(manifest, sizeof manifest, "%s/tests/layer/mock_icd/mock_icd.json", build);
    setenv("VK_ICD_FILENAMES", count > 2 ? words[2] : manifest, 1);
    printf("ns per vkAllocateMemory + vkFreeMemory of %d bytes (processor time)\n\n", BYTES);
    printf("| | 10^2 live | 10^3 | 10^4 | 10^5 | 10^6 | 2 threads | 4 threads | 8 threads "
           "|\n|---|---|---|---|---|---|---|---|---|\n");
    row("driver alone", build, NULL, false, most);
    row("layer, no pools", build, "off", false, most);
    row("layer, arena", build, "arena", false, most);
    row("layer, tlsf", build, "tlsf", false, most);
    if (count > 2) return 0; /* another driver: the pool alone does not depend on it */
    row("pool alone, arena", build, "arena", true, most);
    row("pool alone, tlsf", build, "tlsf", true, most);
    return 0;
}
