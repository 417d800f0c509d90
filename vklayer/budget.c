/*
 * The quiet thread that asks VK_EXT_memory_budget, because a driver may take
 * milliseconds to answer. It starts with the first device that can be asked
 * and ends with the last instance. It holds no lock while it asks; only
 * vkDestroyInstance and the end of the process wait for an answer on its way,
 * because the physical device must not go meanwhile.
 */
#include "layer.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>

/* Drivers run on this stack, and the C library puts the thread's TLS there. Taken as touched. */
enum { STACK_BYTES = 512 * 1024, GUARD_BYTES = 4096 };
/* At exit a driver that never answers must not keep the process. */
enum { EXIT_TRIES = 100, EXIT_WAIT_NS = 10000000 };
/* A driver that was loaded after the handler tears down before it, so the handler is set again. */
enum { EXIT_HANDLERS = 4 };

/* One device whose heaps have rows to fill. */
struct watch {
    struct watch *next;
    const struct mt_instance *instance;
    const struct mt_device *device; /* compared only */
    VkPhysicalDevice physical_device;
    PFN_vkGetPhysicalDeviceMemoryProperties2 ask;
    struct mt_core *core;
    uint32_t epoch, heap_count;
    uint64_t next_ns;
    bool is_busy; /* the thread is asking */
    bool is_gone; /* dropped while it asks: the thread takes it off the list */
    unsigned rows[VK_MAX_MEMORY_HEAPS];
    uint8_t told[VK_MAX_MEMORY_HEAPS]; /* of pressure.c; the thread's own */
};

/* Lies at the top of its own stack's mapping. */
struct asker {
    pthread_t thread;
    char *mapping;
    struct mt_core *core;
    _Atomic uint32_t wake; /* changes when the list does */
    _Atomic uint32_t stop;
};

static struct mt_lock budget_lock; /* guards all below */
static struct watch *watches, *spare;
static struct asker *the_asker;
static uint32_t exit_handlers;
static _Atomic uint32_t answers; /* grows with each answer; who waits for one sleeps on it */

/* ---- the thread ----------------------------------------------------------------- */

static struct watch *take_due(uint64_t now_ns)
{
    mt_lock_enter(&budget_lock);
    struct watch *watch = watches;
    while (watch && (watch->is_busy || watch->is_gone || watch->next_ns > now_ns)) watch = watch->next;
    if (watch) watch->is_busy = true;
    mt_lock_leave(&budget_lock);
    return watch;
}

static void take_off(struct watch *watch)
{
    struct watch **at = &watches;
    while (*at != watch) at = &(*at)->next;
    *at = watch->next;
    watch->next = spare;
    spare = watch;
}

static void put_back(struct watch *watch, uint64_t next_ns)
{
    mt_lock_enter(&budget_lock);
    watch->is_busy = false;
    watch->next_ns = next_ns;
    if (watch->is_gone) take_off(watch);
    mt_lock_leave(&budget_lock);
    atomic_fetch_add_explicit(&answers, 1, memory_order_release);
    mt_futex_wake_all(&answers);
}

static void ask(struct watch *watch)
{
    VkPhysicalDeviceMemoryBudgetPropertiesEXT budget = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT};
    VkPhysicalDeviceMemoryProperties2 memory = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2,
                                                .pNext = &budget};
    watch->ask(watch->physical_device, &memory);
    mt_simulate_budget(&memory);
    if (atomic_load_explicit(&watch->core->epoch, memory_order_relaxed) != watch->epoch) return;
    for (uint32_t i = 0; i < watch->heap_count; i++)
        if (mt_heap_budget(watch->core, watch->rows[i], budget.heapBudget[i], budget.heapUsage[i]))
            mt_pressure_budget(watch->core, &memory.memoryProperties, i, &budget, &watch->told[i]);
}

static void *run(void *argument)
{
    struct asker *asker = argument;
    uint64_t interval_ns = asker->core->options.number[MT_OPT_BUDGET_INTERVAL];
    for (;;) {
        uint32_t seen = atomic_load_explicit(&asker->wake, memory_order_acquire);
        uint64_t now_ns = mt_now_ns();
        struct watch *watch;
        while (!atomic_load_explicit(&asker->stop, memory_order_acquire) && (watch = take_due(now_ns))) {
            ask(watch);
            put_back(watch, now_ns + interval_ns);
        }
        if (atomic_load_explicit(&asker->stop, memory_order_acquire)) return NULL;
        mt_futex_wait(&asker->wake, seen, interval_ns);
    }
}

static void wake(struct asker *asker)
{
    atomic_fetch_add_explicit(&asker->wake, 1, memory_order_release);
    mt_futex_wake_all(&asker->wake);
}

/* ---- its start and end ---------------------------------------------------------------- */

static bool is_anyone_busy(void)
{
    mt_lock_enter(&budget_lock);
    struct watch *watch = watches;
    while (watch && !watch->is_busy) watch = watch->next;
    mt_lock_leave(&budget_lock);
    return watch != NULL;
}

/* Before the drivers' own handlers tear them down under a question. */
static void at_exit(void)
{
    mt_lock_enter(&budget_lock);
    struct asker *asker = the_asker;
    if (asker) atomic_store_explicit(&asker->stop, 1, memory_order_release);
    mt_lock_leave(&budget_lock);
    for (int i = 0; asker && i < EXIT_TRIES; i++) {
        uint32_t seen = atomic_load_explicit(&answers, memory_order_acquire);
        if (!is_anyone_busy()) return;
        mt_futex_wait(&answers, seen, EXIT_WAIT_NS);
    }
}

static int create_on_own_stack(struct asker *asker)
{
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes)) return -1;
    int error = pthread_attr_setstack(&attributes, asker->mapping + GUARD_BYTES,
                                      STACK_BYTES - GUARD_BYTES - sizeof(struct asker));
    if (!error) error = pthread_create(&asker->thread, &attributes, run, asker);
    pthread_attr_destroy(&attributes);
    return error;
}

static int create_thread(struct asker *asker)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = create_on_own_stack(asker);
    /* A program's thread-local data, which lies on the stack, may be larger than ours. */
    if (error) error = pthread_create(&asker->thread, NULL, run, asker);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!error) pthread_setname_np(asker->thread, "memtrack-budget");
    return error;
}

static struct asker *start_asker(struct mt_core *core)
{
    char *mapping = mt_layer_map(core, STACK_BYTES);
    if (!mapping) return NULL;
    mprotect(mapping, GUARD_BYTES, PROT_NONE);
    struct asker *asker = (struct asker *)(mapping + STACK_BYTES) - 1;
    asker->mapping = mapping;
    asker->core = core;
    if (!create_thread(asker)) return asker;
    mt_layer_unmap(core, mapping, STACK_BYTES);
    return NULL;
}

static void end_asker(struct asker *asker)
{
    atomic_store_explicit(&asker->stop, 1, memory_order_release);
    wake(asker);
    pthread_join(asker->thread, NULL);
    mt_layer_unmap(asker->core, asker->mapping, STACK_BYTES);
}

/* The thread for a list that has just got its first entry. */
static void ensure_asker(struct mt_core *core)
{
    mt_lock_enter(&budget_lock);
    struct asker *asker = the_asker;
    mt_lock_leave(&budget_lock);
    if (asker) {
        wake(asker); /* it ends only with the last watch, and ours is on the list */
        return;
    }
    asker = start_asker(core);
    if (!asker) return;
    mt_lock_enter(&budget_lock);
    struct asker *other = the_asker;
    if (!other) the_asker = asker;
    bool sets_handler = !other && exit_handlers < EXIT_HANDLERS && ++exit_handlers;
    mt_lock_leave(&budget_lock);
    if (other) end_asker(asker); /* two devices were made at once */
    if (sets_handler) atexit(at_exit);
}

/* ---- what is watched ---------------------------------------------------------------------- */

static struct watch *new_watch(struct mt_core *core)
{
    mt_lock_enter(&budget_lock);
    struct watch *watch = spare;
    if (watch) spare = watch->next;
    mt_lock_leave(&budget_lock);
    return watch ? watch : mt_layer_map(core, sizeof *watch);
}

void mt_budget_watch(struct mt_device *device, const struct mt_instance *instance)
{
    PFN_vkGetPhysicalDeviceMemoryProperties2 next = instance->next.GetPhysicalDeviceMemoryProperties2;
    if (!next) next = instance->next.GetPhysicalDeviceMemoryProperties2KHR;
    struct watch *watch = next ? new_watch(device->core) : NULL;
    if (!watch) return;
    *watch = (struct watch){.instance = instance,
                            .device = device,
                            .physical_device = device->physical_device,
                            .ask = next,
                            .core = device->core,
                            .epoch = device->epoch,
                            .heap_count = device->memory.memoryHeapCount};
    for (uint32_t i = 0; i < VK_MAX_MEMORY_HEAPS; i++) watch->rows[i] = device->stats->heaps[i];
    mt_lock_enter(&budget_lock);
    watch->next = watches;
    watches = watch;
    mt_lock_leave(&budget_lock);
    ensure_asker(device->core);
}

void mt_budget_forget_device(const struct mt_device *device)
{
    mt_lock_enter(&budget_lock);
    for (struct watch *watch = watches, *next; watch; watch = next) {
        next = watch->next;
        if (watch->device != device) continue;
        watch->device = NULL;
        if (watch->is_busy)
            watch->is_gone = true;
        else
            take_off(watch);
    }
    mt_lock_leave(&budget_lock);
}

/* Takes the instance's watches off; true when one has a question on its way. */
static bool drop_watches(const struct mt_instance *instance)
{
    bool is_busy = false;
    mt_lock_enter(&budget_lock);
    for (struct watch *watch = watches, *next; watch; watch = next) {
        next = watch->next;
        if (watch->instance != instance) continue;
        if (!watch->is_busy)
            take_off(watch);
        else
            is_busy = watch->is_gone = true;
    }
    mt_lock_leave(&budget_lock);
    return is_busy;
}

static struct asker *take_idle_asker(void)
{
    mt_lock_enter(&budget_lock);
    struct asker *asker = watches ? NULL : the_asker;
    if (asker) the_asker = NULL;
    mt_lock_leave(&budget_lock);
    return asker;
}

void mt_budget_forget_instance(const struct mt_instance *instance)
{
    uint32_t seen = atomic_load_explicit(&answers, memory_order_acquire);
    while (drop_watches(instance)) {
        mt_futex_wait(&answers, seen, 0);
        seen = atomic_load_explicit(&answers, memory_order_acquire);
    }
    struct asker *asker = take_idle_asker();
    if (asker) end_asker(asker);
}

/* The thread did not come along, and a lock may have been held by it. */
void mt_budget_after_fork(void)
{
    atomic_store_explicit(&budget_lock.state, 0, memory_order_relaxed);
    watches = NULL;
    the_asker = NULL;
}
