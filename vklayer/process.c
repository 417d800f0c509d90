/*
 * Which core the layer writes to: the one of the preloaded library where it
 * is in the process, else the layer's own, which the layer then carries
 * through fork and exit. Called from vkCreateInstance on any thread.
 */
#include "api.h"
#include "layer.h"

#include "lane.h"
#include "stack.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

static struct mt_core own_core;
static struct mt_core *_Atomic the_core;
static _Atomic uint32_t are_handlers_set, is_mismatch_told;

static void before_fork(void)
{
    mt_core_before_fork(&own_core);
}

static void after_fork_in_child(void)
{
    if (the_core == &own_core) mt_core_after_fork_in_child(&own_core);
    mt_device_after_fork();
    mt_budget_after_fork();
}

static void at_exit(int status, void *unused)
{
    (void)unused;
    mt_core_mark_exit(&own_core, status);
}

/* The library stays loaded (nodelete), so handlers may be registered for good. */
static void set_handlers(bool owns_core)
{
    if (atomic_exchange_explicit(&are_handlers_set, 1, memory_order_relaxed)) return;
    pthread_atfork(owns_core ? before_fork : NULL, NULL, after_fork_in_child);
    if (owns_core) on_exit(at_exit, NULL);
}

static struct mt_core *shared_core(void)
{
    struct mt_core *(*exported)(void) = NULL;
    *(void **)&exported = dlsym(RTLD_DEFAULT, MT_CORE_SYMBOL);
    if (!exported) dlerror(); /* the program must not find this failure at its own next look */
    struct mt_core *core = exported ? exported() : NULL;
    if (!core || mt_core_matches(core)) return core;
    if (!atomic_exchange_explicit(&is_mismatch_told, 1, memory_order_relaxed))
        mt_say("libmemtrack.so and libVkLayer_memtrack.so are of different versions: Vulkan is recorded apart");
    return NULL;
}

/* Another thread may be inside mt_core_start(); it takes a millisecond or a few. */
static bool start(struct mt_core *core)
{
    for (int tries = 0; tries < 1000; tries++) {
        if (mt_core_start(core, MT_CLIENT_LAYER)) return true;
        if (atomic_load_explicit(&core->state, memory_order_acquire) != MT_CORE_STARTING) break;
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    return mt_core_ready(core);
}

struct mt_core *mt_process_core(void)
{
    return atomic_load_explicit(&the_core, memory_order_acquire);
}

static struct mt_core *choose_core(void)
{
    struct mt_core *chosen = shared_core(), *none = NULL;
    if (!chosen) chosen = &own_core;
    return atomic_compare_exchange_strong(&the_core, &none, chosen) ? chosen : none;
}

struct mt_core *mt_process_attach(void)
{
    struct mt_core *core = mt_process_core();
    if (!core) core = choose_core();
    if (!start(core)) return NULL;
    set_handlers(core == &own_core);
    if (core == &own_core) mt_layer_api_offer(core);
    return core;
}

/* Made at a thread's first record, given back when it ends. */
static __thread struct mt_self self;
static pthread_key_t end_key;
static _Atomic uint32_t end_key_state; /* 0 not made, 1 being made, 2 there, 3 none can be had */

static void thread_ends(void *core)
{
    struct mt_lane *lane = self.lane;
    struct mt_walker *walker = self.walker;
    bool is_current = self.epoch == atomic_load_explicit(&((struct mt_core *)core)->epoch, memory_order_relaxed);
    self.lane = NULL;
    self.walker = NULL;
    self.tid = 0; /* a hook in a later destructor of this thread starts anew */
    if (lane && is_current) mt_lane_release(core, lane);
    if (walker) mt_walker_give_back(core, walker);
}

/* True when the end of this thread will be told. Without that a lane would be lost with its thread. */
static bool watch_end(struct mt_core *core)
{
    uint32_t unmade = 0;
    if (atomic_compare_exchange_strong(&end_key_state, &unmade, 1))
        atomic_store_explicit(&end_key_state, pthread_key_create(&end_key, thread_ends) ? 3 : 2,
                              memory_order_release);
    return atomic_load_explicit(&end_key_state, memory_order_acquire) == 2 && !pthread_setspecific(end_key, core);
}

/* What rules for tags ask of objects. Without call stacks there is no table of names. */
static uint16_t number_of_name(struct mt_core *core)
{
    char name[16] = "";
    return prctl(PR_GET_NAME, name) ? 0 : (uint16_t)mt_stack_thread(core, name);
}

static __attribute__((noinline)) void start_thread(struct mt_core *core, uint32_t epoch)
{
    int saved = errno;
    self.tid = mt_gettid();
    self.epoch = epoch;
    self.is_watched = watch_end(core);
    self.lane = self.is_watched ? mt_lane_claim(core, self.tid) : NULL;
    self.lane_index = (uint16_t)(self.lane ? self.lane - core->segment->lanes : MT_LANE_MAX);
    self.thread = mt_core_ready(core) ? number_of_name(core) : 0;
    errno = saved;
}

struct mt_self *mt_process_self(struct mt_core *core)
{
    uint32_t epoch = atomic_load_explicit(&core->epoch, memory_order_relaxed);
    struct mt_self *own = &self;
    if (__builtin_expect(!own->tid || own->epoch != epoch, 0)) start_thread(core, epoch);
    return own;
}

struct mt_lane *mt_process_lane(struct mt_core *core)
{
    return mt_process_self(core)->lane;
}

int32_t mt_process_tid(struct mt_core *core)
{
    return mt_process_self(core)->tid;
}

/* ---- the layer's own memory ----------------------------------------------------------- */

void mt_layer_count(struct mt_core *core, int64_t bytes)
{
    if (!mt_core_is_on(core)) return;
    atomic_fetch_add_explicit(&core->segment->globals.layer_bytes, (uint64_t)bytes, memory_order_relaxed);
}

static uint64_t whole_pages(size_t bytes)
{
    return (bytes + 4095) & ~(uint64_t)4095;
}

void *mt_layer_map(struct mt_core *core, size_t bytes)
{
    void *mapping = mt_private_map(core, bytes);
    if (mapping) mt_layer_count(core, (int64_t)whole_pages(bytes));
    return mapping;
}

void mt_layer_unmap(struct mt_core *core, void *pointer, size_t bytes)
{
    mt_private_unmap(core, pointer, bytes);
    mt_layer_count(core, -(int64_t)whole_pages(bytes));
}

/* ---- call stacks --------------------------------------------------------------------- */

/* Set by the linker: where this library begins and ends. */
extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char _end[] __attribute__((visibility("hidden")));

/* A walker that is kept costs no shared line; NULL, counted, when there is none to be had. */
static struct mt_walker *walker_of(struct mt_core *core, struct mt_self *own)
{
    if (__builtin_expect(own->walker != NULL, 1)) return own->walker;
    if (own->is_watched) own->walker = mt_walker_take(core);
    if (!own->walker)
        atomic_fetch_add_explicit(&core->segment->attribution.lost[MT_LOST_THREADS], 1, memory_order_relaxed);
    return own->walker;
}

uint32_t mt_process_stack_of(struct mt_core *core, struct mt_self *own)
{
    if (!mt_core_ready(core) || !mt_stack_ready(core)) return 0;
    struct mt_walker *walker = walker_of(core, own);
    if (!walker) return 0;
    mt_walk_here(core, walker, (uintptr_t)__ehdr_start, (uintptr_t)_end);
    return mt_stack_of_walk(core, walker);
}

uint32_t mt_process_stack(struct mt_core *core)
{
    return mt_process_stack_of(core, mt_process_self(core));
}
