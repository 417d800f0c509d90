/*
 * Threads: claims and retires shards, counts stacks, follows names. The hooks
 * of pthread_create, pthread_setname_np and prctl are here. Called by every
 * thread for itself; allocates nothing.
 */
#include "thread.h"
#include "through.h"

#include "api.h"
#include "count.h"
#include "export.h"
#include "init.h"
#include "rlimit.h"
#include "next.h"
#include "pooled.h"
#include "record.h"
#include "scope.h"
#include "sys.h"
#include "trace.h"

#include <errno.h>
#include <limits.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define FETCH_ADD(field, value) atomic_fetch_add_explicit(&(field), value, memory_order_relaxed)

enum { KERNEL_NAME_BYTES = 16, START_SLOTS = 512 };

_Thread_local struct mt_thread mt_thread __attribute__((tls_model("initial-exec")));

static pthread_key_t key;
static _Atomic bool has_key;

/* ---- the shard --------------------------------------------------------------- */

/* Names that threads gave to other threads so far. */
static _Atomic uint32_t renames;

/*
 * A new thread has its creator's name, and later ones come through the hooks
 * below. The kernel is asked where that may be wrong.
 */
static const char *own_name(struct mt_thread *thread)
{
    if (!thread->name[0] || thread->renames != atomic_load_explicit(&renames, memory_order_relaxed))
        syscall(SYS_prctl, PR_GET_NAME, thread->name, 0, 0, 0);
    thread->name[KERNEL_NAME_BYTES - 1] = 0;
    return thread->name;
}

/* A thread's CPU clock id holds its thread id in the bits above the lowest three, inverted: no system call. */
static int32_t tid_of(pthread_t thread)
{
    clockid_t clock;
    return pthread_getcpuclockid(thread, &clock) ? 0 : (int32_t) ~(clock >> 3);
}

static void raise_u64(_Atomic uint64_t *field, uint64_t value)
{
    uint64_t seen = atomic_load_explicit(field, memory_order_relaxed);
    while (seen < value && !atomic_compare_exchange_weak_explicit(field, &seen, value, memory_order_relaxed,
                                                                  memory_order_relaxed)) {
    }
}

static uint32_t epoch_mark(void)
{
    return atomic_load_explicit(&mt_core.epoch, memory_order_relaxed) + 1;
}

/* Once for each segment: a fork's child keeps its thread's stack, and counts it in its own. */
static void count_stack(struct mt_thread *thread)
{
    struct mt_globals *globals = &mt_core.segment->globals;
    if (!thread->stack_bytes || thread->stack_epoch == epoch_mark()) return;
    thread->stack_epoch = epoch_mark();
    FETCH_ADD(globals->stack_count, 1);
    raise_u64(&globals->stack_peak_bytes,
              FETCH_ADD(globals->stack_bytes, thread->stack_bytes) + thread->stack_bytes);
}

static void uncount_stack(struct mt_thread *thread)
{
    struct mt_globals *globals = &mt_core.segment->globals;
    if (thread->stack_bytes && thread->stack_epoch == epoch_mark()) {
        FETCH_ADD(globals->stack_count, UINT64_MAX);
        FETCH_ADD(globals->stack_bytes, 0 - thread->stack_bytes);
    }
    thread->stack_bytes = 0;
}

static void arm(struct mt_thread *thread)
{
    if (atomic_load_explicit(&has_key, memory_order_acquire)) pthread_setspecific(key, thread);
}

/* Sets all that follows from having a shard, or none. The pools' heap is attached before and detached before. */
static void set_shard(struct mt_thread *thread, struct mt_shard *shard)
{
    bool has_stacks = mt_trace_mode() != MT_STACKS_OFF;
    thread->shard = shard;
    mt_through_set_shard(shard);
    struct mt_through *by_header = mt_next.has_chunk_header ? thread->through : NULL;
    thread->sampled = has_stacks ? by_header : NULL;
    uintptr_t heap = mt_record() ? 0 : (uintptr_t)mt_theap_self;
    thread->self = by_header && !has_stacks ? (uintptr_t)by_header + 1 : heap;
}

static void claim(struct mt_thread *thread)
{
    count_stack(thread);
    struct mt_shard *shard = mt_shard_claim(&mt_core, tid_of(pthread_self()), own_name(thread));
    bool is_shared = mt_shard_is_shared(&mt_core, shard);
    thread->state = is_shared ? MT_THREAD_SHARED : MT_THREAD_OWN;
    if (!is_shared) arm(thread);
    if (mt_pooled() && !is_shared) mt_pools_attach(shard, thread->context);
    set_shard(thread, is_shared ? NULL : shard);
}

static bool enter(struct mt_thread *thread)
{
    if (!mt_next_is_ready() && !mt_next_resolve()) return false;
    enum mt_init_verdict verdict = mt_init_ready();
    if (verdict == MT_INIT_ON && thread->state == MT_THREAD_NEW) claim(thread);
    return verdict != MT_INIT_TOO_EARLY;
}

__attribute__((cold, noinline)) bool mt_thread_enter(void)
{
    struct mt_thread *thread = &mt_thread;
    if (thread->is_busy) return false;
    if (mt_init_passes_through()) return true;
    if (thread->state > MT_THREAD_OWN && mt_core_is_on(&mt_core)) return true;
    int saved = errno;
    thread->is_busy = true;
    bool ok = enter(thread);
    thread->is_busy = false;
    errno = saved;
    return ok;
}

bool mt_thread_counts_shared(void)
{
    return (mt_thread.state > MT_THREAD_OWN || mt_thread.is_busy) && !mt_init_passes_through() &&
           mt_core_is_on(&mt_core);
}

void mt_thread_allocated_slow(uint64_t requested_bytes, uint64_t usable_bytes)
{
    if (mt_thread_counts_shared()) mt_shard_allocated_shared(&mt_core, NULL, requested_bytes, usable_bytes);
}

void mt_thread_freed_slow(uint64_t usable_bytes)
{
    if (mt_thread_counts_shared()) mt_shard_freed_shared(&mt_core, NULL, usable_bytes);
}

void mt_thread_failed(void)
{
    struct mt_shard *shard = mt_thread.shard;
    if (shard)
        MT_ADD(shard->failed_count, 1);
    else if (mt_thread_counts_shared())
        FETCH_ADD(mt_core.segment->shards[0].failed_count, 1);
}

void mt_thread_reallocated(void)
{
    struct mt_shard *shard = mt_thread.shard;
    if (shard)
        MT_ADD(shard->realloc_count, 1);
    else if (mt_thread_counts_shared())
        FETCH_ADD(mt_core.segment->shards[0].realloc_count, 1);
}

MT_COLD void mt_count_flush_and_free(void *block)
{
    mt_shard_flush(&mt_core, mt_thread.shard);
    mt_next_free(block);
}

__attribute__((noinline)) void *mt_count_due(void *block, size_t requested_bytes)
{
    struct mt_shard *shard = mt_thread.shard;
    int64_t live = atomic_load_explicit(&shard->live_bytes, memory_order_relaxed);
    if (live - atomic_load_explicit(&shard->flushed_bytes, memory_order_relaxed) >=
        (int64_t)mt_core.segment->globals.batch_bytes)
        mt_shard_flush(&mt_core, shard);
    if (mt_shard_is_sample_due(shard)) mt_trace_allocated(shard, block, requested_bytes, mt_next_usable(block));
    return block;
}

__attribute__((noinline)) void *mt_count_beside(void *block, size_t requested_bytes, const void *caller)
{
    mt_through_count(requested_bytes, caller);
    mt_count_allocated(block, requested_bytes);
    return block;
}

static void change_context(struct mt_thread *thread)
{
    uint32_t context = mt_scope_context(&mt_core, thread->tag, thread->scope);
    thread->context = (uint16_t)context;
    thread->scope_key = mt_site_scope_key(context);
    mt_pools_change_scope(context);
    mt_through_changed();
}

uint32_t mt_thread_change_scope(uint32_t scope)
{
    uint32_t previous = mt_thread.scope;
    mt_thread.scope = (uint16_t)scope;
    change_context(&mt_thread);
    return previous;
}

void mt_thread_change_tag(uint32_t tag)
{
    mt_thread.tag = (uint16_t)tag;
    change_context(&mt_thread);
}

uint32_t mt_thread_tag(void)
{
    return mt_thread.tag;
}

/* ---- the end of a thread ------------------------------------------------------ */

static void retire(struct mt_thread *thread)
{
    struct mt_shard *shard = thread->shard;
    mt_pools_detach();
    set_shard(thread, NULL);
    thread->state = MT_THREAD_ENDED;
    mt_api_thread_end();
    if (!mt_core_is_on(&mt_core)) return;
    uncount_stack(thread);
    mt_trace_thread_end();
    if (shard) mt_shard_retire(&mt_core, shard);
}

/* Other keys' destructors may free blocks: stay until the last round that the system promises. */
static void end_of_thread(void *value)
{
    struct mt_thread *thread = value;
    int saved = errno;
    thread->is_busy = true;
    if (++thread->rounds < PTHREAD_DESTRUCTOR_ITERATIONS)
        pthread_setspecific(key, thread);
    else
        retire(thread);
    thread->is_busy = false;
    errno = saved;
}

void mt_thread_start(void)
{
    if (pthread_key_create(&key, end_of_thread)) return;
    atomic_store_explicit(&has_key, true, memory_order_release); /* pairs with the acquire in arm() */
}

void mt_thread_after_fork_in_child(void)
{
    struct mt_thread *thread = &mt_thread;
    set_shard(thread, NULL);
    if (thread->state != MT_THREAD_ENDED) thread->state = MT_THREAD_NEW;
}

/* ---- pthread_create ------------------------------------------------------------- */

/* What a new thread is told. A slot is taken by the parent and given back by the child at once. */
struct start_slot {
    _Atomic bool is_taken;
    void *(*routine)(void *);
    void *argument;
    uint64_t stack_bytes;
    uint32_t renames;
    char name[KERNEL_NAME_BYTES]; /* the creator's, which the kernel gives to the new thread */
};
static struct start_slot start_slots[START_SLOTS];

/* The first one that is free: most programs start one thread at a time and touch one page of them. */
static struct start_slot *take_slot(void)
{
    for (unsigned i = 0; i < START_SLOTS; i++) {
        struct start_slot *slot = &start_slots[i];
        bool is_taken = false;
        if (atomic_load_explicit(&slot->is_taken, memory_order_relaxed)) continue;
        /* Acquire pairs with the release of the thread that read the slot before. */
        if (atomic_compare_exchange_strong_explicit(&slot->is_taken, &is_taken, true, memory_order_acquire,
                                                    memory_order_relaxed))
            return slot;
    }
    return NULL;
}

static void *begin_thread(void *argument)
{
    struct start_slot *slot = argument;
    struct mt_thread *thread = &mt_thread;
    void *(*routine)(void *) = slot->routine;
    void *routine_argument = slot->argument;
    thread->stack_bytes = slot->stack_bytes;
    memcpy(thread->name, slot->name, sizeof thread->name);
    thread->renames = slot->renames;
    atomic_store_explicit(&slot->is_taken, false, memory_order_release);
    thread->is_busy = true;
    if (mt_core_is_on(&mt_core)) count_stack(thread);
    arm(thread);
    thread->is_busy = false;
    return routine(routine_argument);
}

/* The stack that the system will map; 0 when the program brings its own. */
static uint64_t stack_bytes_of(const pthread_attr_t *attributes)
{
    pthread_attr_t defaults;
    size_t bytes = 0;
    void *address = NULL;
    if (attributes) {
        if (!pthread_attr_getstack(attributes, &address, &bytes) && (uintptr_t)address + bytes) return 0;
        return pthread_attr_getstacksize(attributes, &bytes) ? 0 : bytes;
    }
    if (pthread_getattr_default_np(&defaults)) return 0;
    if (pthread_attr_getstacksize(&defaults, &bytes)) bytes = 0;
    pthread_attr_destroy(&defaults);
    return bytes;
}

typedef int create_function(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
static struct {
    void *_Atomic pthread_create, *_Atomic pthread_setname_np, *_Atomic prctl;
} next;

void mt_thread_find_next(void)
{
    mt_next_find_once(&next.pthread_create, "pthread_create");
    mt_next_find_once(&next.pthread_setname_np, "pthread_setname_np");
    mt_next_find_once(&next.prctl, "prctl");
}

/* What is free in the pools may be what the new thread's stack lacks. */
static int create_somehow(create_function *create, pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*routine)(void *), void *argument)
{
    int error = create(thread, attributes, routine, argument);
    return error == EAGAIN && mt_rlimit_make_room() ? create(thread, attributes, routine, argument) : error;
}

static int create_counted(create_function *create, struct start_slot *slot, pthread_t *thread,
                          const pthread_attr_t *attributes)
{
    int error = create_somehow(create, thread, attributes, begin_thread, slot);
    if (error) atomic_store_explicit(&slot->is_taken, false, memory_order_release);
    return error;
}

MT_EXPORT int pthread_create(pthread_t *restrict thread, const pthread_attr_t *restrict attributes,
                             void *(*routine)(void *), void *restrict argument)
{
    create_function *create = (create_function *)(uintptr_t)mt_next_find_once(&next.pthread_create,
                                                                              "pthread_create");
    if (!create) return EAGAIN;
    mt_count_enter();
    mt_pools_before_thread();
    uint64_t stack_bytes = mt_init_wants_mappings() ? stack_bytes_of(attributes) : 0;
    struct start_slot *slot = stack_bytes ? take_slot() : NULL;
    if (!slot) return create_somehow(create, thread, attributes, routine, argument);
    slot->routine = routine;
    slot->argument = argument;
    slot->stack_bytes = stack_bytes;
    slot->renames = atomic_load_explicit(&renames, memory_order_relaxed);
    memcpy(slot->name, mt_thread.name, sizeof slot->name);
    return create_counted(create, slot, thread, attributes);
}

/* ---- names ------------------------------------------------------------------------- */

/* The kernel cuts a name at 15 bytes. */
static void rename_self(const char *name)
{
    mt_format(mt_thread.name, sizeof mt_thread.name, "%s", name);
    if (mt_thread.shard && mt_core_is_on(&mt_core)) mt_shard_rename(&mt_core, mt_thread.shard, mt_thread.name);
    mt_pools_renamed();
    mt_through_changed();
}

static void rename_other(pthread_t thread, const char *name)
{
    int32_t tid = tid_of(thread);
    if (!tid || !mt_core_is_on(&mt_core)) return;
    struct mt_segment *segment = mt_core.segment;
    unsigned limit = atomic_load_explicit(&segment->shard_limit, memory_order_relaxed);
    for (unsigned i = 1; i < limit && i < MT_SHARD_MAX; i++) {
        struct mt_shard *shard = &segment->shards[i];
        if (atomic_load_explicit(&shard->tid, memory_order_relaxed) != tid ||
            atomic_load_explicit(&shard->state, memory_order_acquire) != MT_SHARD_LIVE)
            continue;
        mt_shard_rename(&mt_core, shard, name);
        return;
    }
}

MT_EXPORT int pthread_setname_np(pthread_t thread, const char *name)
{
    int (*real)(pthread_t, const char *) = (int (*)(pthread_t, const char *))(uintptr_t)mt_next_find_once(
        &next.pthread_setname_np, "pthread_setname_np");
    bool is_self = pthread_equal(thread, pthread_self());
    if (!is_self) FETCH_ADD(renames, 1); /* before, for a thread that is just about to take its name over */
    int error = real ? real(thread, name) : ENOSYS;
    if (error) return error;
    if (is_self)
        rename_self(name);
    else
        rename_other(thread, name);
    return 0;
}

static _Thread_local bool is_confined __attribute__((tls_model("initial-exec")));

static bool self_is_confined(void)
{
    return is_confined;
}

/*
 * The calling thread has but read, write and exit from now on: it takes no call stacks, and no memory from the
 * system, where the pools have none left it gets NULL. Who calls seccomp(2) without libc is not seen here.
 */
static void confine_self(void)
{
    is_confined = true;
    atomic_store_explicit(&mt_sys_is_confined, self_is_confined, memory_order_relaxed);
    mt_trace_thread_end();
}

MT_EXPORT int prctl(int operation, ...)
{
    va_list list;
    va_start(list, operation);
    unsigned long a = va_arg(list, unsigned long), b = va_arg(list, unsigned long);
    unsigned long c = va_arg(list, unsigned long), d = va_arg(list, unsigned long);
    va_end(list);
    int (*real)(int, ...) = (int (*)(int, ...))(uintptr_t)mt_next_find_once(&next.prctl, "prctl");
    bool confines = operation == PR_SET_SECCOMP && a == SECCOMP_MODE_STRICT;
    if (confines) mt_thread_enter(); /* what a thread's beginning asks the system for */
    int result = real ? real(operation, a, b, c, d) : (int)syscall(SYS_prctl, operation, a, b, c, d);
    if (confines && !result) confine_self();
    if (operation == PR_SET_NAME && !result) rename_self((const char *)a);
    return result;
}
