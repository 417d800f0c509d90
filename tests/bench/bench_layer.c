/*
 * What one call through the Vulkan layer costs, over a driver that does
 * nothing: processor time of the calling thread, less that of the same calls
 * straight to that driver. Prints a table in Markdown. One process, up to 8
 * threads of its own.
 *
 *   bench_layer [LAYER [MOST-LIVE]]
 *
 * "Live" is the number of buffers and as many allocations that the layer holds
 * meanwhile. Its segment lies in a folder of its own, which goes at the end;
 * no report is written.
 */
#include "fake_driver.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 256, MOST_THREADS = 8, REPEATS = 5, MOST_LIVE = 1000000, PRESENTS = 16 };

struct commands {
    PFN_vkAllocateMemory AllocateMemory;
    PFN_vkFreeMemory FreeMemory;
    PFN_vkMapMemory MapMemory;
    PFN_vkUnmapMemory UnmapMemory;
    PFN_vkCreateBuffer CreateBuffer;
    PFN_vkGetBufferMemoryRequirements GetBufferMemoryRequirements;
    PFN_vkBindBufferMemory BindBufferMemory;
    PFN_vkDestroyBuffer DestroyBuffer;
    PFN_vkQueuePresentKHR QueuePresentKHR;
};

enum call { ALLOCATE, FREE, MAP, CREATE, REQUIRE, BIND, DESTROY, PRESENT, CALLS };
static const char *const call_names[CALLS] = {"vkAllocateMemory",
                                              "vkFreeMemory",
                                              "vkMapMemory + vkUnmapMemory",
                                              "vkCreateBuffer",
                                              "vkGetBufferMemoryRequirements",
                                              "vkBindBufferMemory",
                                              "vkDestroyBuffer",
                                              "vkQueuePresentKHR"};

struct timing {
    double ns[CALLS];
};

static VkDevice device;
static struct commands layer, driver;
static VkDeviceMemory homes[MOST_THREADS]; /* each thread binds to a memory of its own */

static double now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now); /* other processes on the machine do not count */
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void load(struct commands *commands, bool is_layer)
{
#define LOAD(Name)                                                                                                 \
    commands->Name = (PFN_vk##Name)(is_layer ? fake_device_command(device, "vk" #Name)                             \
                                             : fake_driver_command("vk" #Name));
    LOAD(AllocateMemory)
    LOAD(FreeMemory)
    LOAD(MapMemory)
    LOAD(UnmapMemory)
    LOAD(CreateBuffer)
    LOAD(GetBufferMemoryRequirements)
    LOAD(BindBufferMemory)
    LOAD(DestroyBuffer)
    LOAD(QueuePresentKHR)
#undef LOAD
}

static const VkMemoryAllocateInfo memory_info = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
                                                 .allocationSize = 65536};
static const VkBufferCreateInfo buffer_info = {.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, .size = 4096};

static void time_memory(const struct commands *to, struct timing *timing)
{
    VkDeviceMemory memories[BATCH];
    void *data;
    double start = now_ns();
    for (unsigned i = 0; i < BATCH; i++) to->AllocateMemory(device, &memory_info, NULL, &memories[i]);
    double allocated = now_ns();
    for (unsigned i = 0; i < BATCH; i++) {
        to->MapMemory(device, memories[i], 0, VK_WHOLE_SIZE, 0, &data);
        to->UnmapMemory(device, memories[i]);
    }
    double mapped = now_ns();
    for (unsigned i = 0; i < BATCH; i++) to->FreeMemory(device, memories[i], NULL);
    double freed = now_ns();
    timing->ns[ALLOCATE] += allocated - start;
    timing->ns[MAP] += mapped - allocated;
    timing->ns[FREE] += freed - mapped;
}

static void time_buffers(const struct commands *to, VkDeviceMemory home, struct timing *timing)
{
    VkBuffer buffers[BATCH];
    VkMemoryRequirements required;
    double start = now_ns();
    for (unsigned i = 0; i < BATCH; i++) to->CreateBuffer(device, &buffer_info, NULL, &buffers[i]);
    double created = now_ns();
    for (unsigned i = 0; i < BATCH; i++) to->GetBufferMemoryRequirements(device, buffers[i], &required);
    double asked = now_ns();
    for (unsigned i = 0; i < BATCH; i++) to->BindBufferMemory(device, buffers[i], home, i);
    double bound = now_ns();
    for (unsigned i = 0; i < BATCH; i++) to->DestroyBuffer(device, buffers[i], NULL);
    double destroyed = now_ns();
    timing->ns[CREATE] += created - start;
    timing->ns[REQUIRE] += asked - created;
    timing->ns[BIND] += bound - asked;
    timing->ns[DESTROY] += destroyed - bound;
}

/* Scaled to a batch of the other calls. */
static void time_presents(const struct commands *to, struct timing *timing)
{
    const VkPresentInfoKHR info = {.sType = VK_STRUCTURE_TYPE_PRESENT_INFO_KHR};
    double start = now_ns();
    for (unsigned i = 0; i < PRESENTS; i++) to->QueuePresentKHR(fake_queue(device), &info);
    timing->ns[PRESENT] += (now_ns() - start) * BATCH / PRESENTS;
}

struct job {
    pthread_t thread;
    const struct commands *to;
    VkDeviceMemory home;
    unsigned rounds;
    bool presents; /* one thread of a program does */
    struct timing timing;
};

static void *work(void *argument)
{
    struct job *job = argument;
    for (unsigned i = 0; i < job->rounds; i++) {
        time_memory(job->to, &job->timing);
        time_buffers(job->to, job->home, &job->timing);
        if (job->presents) time_presents(job->to, &job->timing);
    }
    for (unsigned i = 0; i < CALLS; i++) job->timing.ns[i] /= (double)job->rounds * BATCH;
    return NULL;
}

/* Nanoseconds a call, the mean over the threads. */
static struct timing run(const struct commands *to, unsigned threads)
{
    struct job jobs[MOST_THREADS];
    struct timing mean = {{0}};
    memset(jobs, 0, sizeof jobs);
    for (unsigned i = 0; i < threads; i++) {
        jobs[i].to = to;
        jobs[i].home = homes[i];
        jobs[i].presents = i == 0;
        jobs[i].rounds = 200 / threads;
        pthread_create(&jobs[i].thread, NULL, work, &jobs[i]);
    }
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(jobs[i].thread, NULL);
        for (unsigned call = 0; call < PRESENT; call++) mean.ns[call] += jobs[i].timing.ns[call] / threads;
    }
    mean.ns[PRESENT] = jobs[0].timing.ns[PRESENT];
    return mean;
}

/* What the layer adds to each call: the least of several runs with it over the least without it. */
static struct timing added(unsigned threads)
{
    struct timing least[2] = {run(&driver, threads), run(&layer, threads)};
    for (unsigned i = 1; i < REPEATS; i++) {
        struct timing now[2] = {run(&driver, threads), run(&layer, threads)};
        for (unsigned call = 0; call < CALLS; call++)
            for (unsigned k = 0; k < 2; k++)
                if (now[k].ns[call] < least[k].ns[call]) least[k].ns[call] = now[k].ns[call];
    }
    for (unsigned call = 0; call < CALLS; call++) least[1].ns[call] -= least[0].ns[call];
    return least[1];
}

static void print_row(const char *title, unsigned threads, const struct timing *timing)
{
    printf("| %s | %u |", title, threads);
    for (unsigned call = 0; call < CALLS; call++) printf(" %.0f |", timing->ns[call]);
    printf("\n");
    fflush(stdout);
}

static void print_head(void)
{
    printf("| live | threads |");
    for (unsigned call = 0; call < CALLS; call++) printf(" %s |", call_names[call]);
    printf("\n|---|---|");
    for (unsigned call = 0; call < CALLS; call++) printf("---|");
    printf("\n");
}

static void start(const char *path)
{
    VkInstance instance;
    struct fake_instance_options options = {.api_version = VK_API_VERSION_1_3};
    fake_start(path);
    fake.is_quiet = true;
    if (fake_create_instance(&options, &instance) || fake_create_device(instance, 0, &device)) {
        fprintf(stderr, "no device through %s\n", path);
        exit(1);
    }
    load(&layer, true);
    load(&driver, false);
    for (unsigned i = 0; i < MOST_THREADS; i++) layer.AllocateMemory(device, &memory_info, NULL, &homes[i]);
}

static void make_live(unsigned from, unsigned to)
{
    VkBuffer buffer;
    VkDeviceMemory memory;
    for (unsigned i = from; i < to; i++) {
        layer.AllocateMemory(device, &memory_info, NULL, &memory);
        layer.CreateBuffer(device, &buffer_info, NULL, &buffer);
        layer.BindBufferMemory(device, buffer, memory, 0);
    }
}

static void remove_session(void)
{
    char line[300];
    snprintf(line, sizeof line, "rm -rf '%s'", getenv("MEMTRACK_SESSION"));
    if (system(line)) fprintf(stderr, "%s is left\n", getenv("MEMTRACK_SESSION"));
}

/* The layer reads its options at the first instance. */
static void set_environment(void)
{
    static char session[] = "/tmp/memtrack-bench.XXXXXX";
    unsetenv("MEMTRACK_BUILD");
    if (!mkdtemp(session)) exit(1);
    setenv("MEMTRACK_SESSION", session, 1);
    setenv("MEMTRACK_OUTPUT", session, 1);
    setenv("MEMTRACK_COLLECTOR", "none", 1);
    atexit(remove_session);
}

int main(int count, char **arguments)
{
    static const unsigned threads[] = {1, 2, 4, 8};
    char path[4096];
    const char *build = getenv("MEMTRACK_BUILD");
    snprintf(path, sizeof path, "%s%s",
             count > 1 ? arguments[1]
             : build   ? build
                       : "build",
             count > 1 ? "" : "/libVkLayer_memtrack.so");
    unsigned most = count > 2 ? (unsigned)atoi(arguments[2]) : MOST_LIVE;
    set_environment();
    start(path);
    print_head();
    for (unsigned live = 100, made = 0; live <= most; live *= 10) {
        char title[16];
        make_live(made, live);
        made = live;
        snprintf(title, sizeof title, "%u", live);
        for (unsigned i = 0; i < sizeof threads / sizeof *threads; i++) {
            struct timing timing = added(threads[i]);
            print_row(title, threads[i], &timing);
        }
    }
    return 0;
}
