/*
 * The life of the core: start, fork, exec, exit. Called from allocation hooks
 * and library constructors; it may therefore not allocate, and it must leave
 * the program running whatever goes wrong.
 */
#include "clock.h"
#include "origin.h"
#include "segment.h"
#include "shard.h"
#include "sys_file.h"
#include "tag_table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif
#ifndef MADV_DONTDUMP
#define MADV_DONTDUMP 16
#endif

#define LOAD(field)             atomic_load_explicit(&(field), memory_order_relaxed)
#define STORE(field, value)     atomic_store_explicit(&(field), value, memory_order_relaxed)
#define FETCH_ADD(field, value) atomic_fetch_add_explicit(&(field), value, memory_order_relaxed)

extern char **environ;

static int32_t process_id(void)
{
    return (int32_t)mt_sys_call(SYS_getpid, 0, 0, 0, 0, 0, 0);
}

static void complain(const char *line)
{
    mt_say("%s", line);
}

/* `memtrack run` has told its user of bad options already. */
static void read_options(struct mt_core *core)
{
    bool told = getenv("MEMTRACK_SESSION") != NULL;
    mt_options_read(&core->options, environ, told ? NULL : complain);
    atomic_store_explicit(&mt_own_memory_is_kept, core->options.number[MT_OPT_LEAKS] != 0, memory_order_relaxed);
}

static void choose_directory(struct mt_core *core)
{
    const char *session = core->options.text[MT_OPT_SESSION];
    if (session[0] == '/' && mt_sys_access(session, W_OK | X_OK) == 0 && strlen(session) < sizeof core->directory)
        mt_format(core->directory, sizeof core->directory, "%s", session);
    else if (mt_segment_base_directory(core->directory, sizeof core->directory))
        core->directory[0] = 0;
}

static void make_fork_mark(struct mt_core *core)
{
    core->fork_mark = NULL;
    void *page = mt_sys_mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    if (page == MAP_FAILED) return;
    if (mt_sys_madvise(page, 4096, MADV_WIPEONFORK)) {
        mt_sys_munmap(page, 4096);
        return;
    }
    core->fork_mark = page;
    *core->fork_mark = 1;
}

static void fill_executable(struct mt_process *process)
{
    long length = mt_sys_readlink("/proc/self/exe", process->executable, sizeof process->executable - 1);
    if (length < 0)
        length = (long)mt_format(process->executable, sizeof process->executable, "%s",
                                 program_invocation_name ? program_invocation_name : "unknown");
    process->executable[length] = 0;
    long bytes = mt_read_file("/proc/self/cmdline", process->command_line, sizeof process->command_line);
    process->command_line_bytes = bytes > 0 ? (uint32_t)bytes : 0;
}

static void fill_output_directory(struct mt_core *core)
{
    char here[900];
    const char *output = core->options.text[MT_OPT_OUTPUT];
    char *field = core->segment->process.output_directory;
    size_t bytes = sizeof core->segment->process.output_directory;
    if (output[0] == '/')
        mt_format(field, bytes, "%s", output);
    else if (!getcwd(here, sizeof here))
        mt_format(field, bytes, "/tmp");
    else
        mt_format(field, bytes, strcmp(output, ".") ? "%s/%s" : "%s", here, output);
}

static void fill_process(struct mt_core *core, enum mt_client client)
{
    struct mt_process *process = &core->segment->process;
    process->start_realtime_ns = mt_clock_ns(CLOCK_REALTIME);
    process->start_ns = mt_now_ns();
    process->parent_pid = (int32_t)mt_sys_call(SYS_getppid, 0, 0, 0, 0, 0, 0);
    fill_executable(process);
    fill_output_directory(core);
    process->options_bytes = (uint32_t)mt_options_print(&core->options, process->options, sizeof process->options);
    atomic_fetch_or_explicit(&process->clients, client, memory_order_relaxed);
    core->segment->globals.batch_bytes = core->options.number[MT_OPT_PEAK]
                                             ? 0
                                             : core->options.number[MT_OPT_PEAK_BATCH];
}

static bool is_wanted(void)
{
    return !getenv("MEMTRACK_DISABLE") && !getauxval(AT_SECURE);
}

static bool make_segment(struct mt_core *core, enum mt_client client)
{
    struct mt_seccomp guard;
    mt_seccomp_enter(&guard);
    core->pid = process_id();
    core->program_headers = (const void *)getauxval(AT_PHDR);
    choose_directory(core);
    if (!core->segment) core->mapped_bytes = core->options.number[MT_OPT_SEGMENT_SIZE];
    int error = mt_segment_create(core);
    if (error)
        mt_say("no memory for the statistics (%s): memtrack is off in process %d", strerrordesc_np(-error),
               core->pid);
    else {
        mt_sys_madvise(core->segment, core->mapped_bytes, MADV_DONTDUMP);
        make_fork_mark(core);
        fill_process(core, client);
        mt_tag_table_start(core);
        mt_segment_rest(core, &core->segment->process, sizeof core->segment->process); /* long texts, for readers */
    }
    mt_seccomp_leave(&guard);
    return !error;
}

static void publish(struct mt_core *core)
{
    mt_verbose(core, "process %d (%s): statistics in %s, %lu MiB of address space", core->pid,
               core->segment->process.executable, core->is_file ? core->path : "the program's own memory",
               (unsigned long)(core->mapped_bytes >> 20));
    /* Release: a reader that sees RUNNING sees the whole header. */
    atomic_store_explicit(&core->segment->process.state, MT_STATE_RUNNING, memory_order_release);
    /* Release: pairs with the acquire in mt_core_is_on(). */
    atomic_store_explicit(&core->state, MT_CORE_ON, memory_order_release);
}

static bool start(struct mt_core *core, enum mt_client client)
{
    core->version = MT_LAYOUT_VERSION;
    core->size = sizeof *core;
    mt_format(core->build, sizeof core->build, "memtrack " MT_VERSION);
    if (is_wanted()) {
        read_options(core);
        if (make_segment(core, client)) {
            publish(core);
            mt_collector_ensure(core);
            return true;
        }
    }
    atomic_store_explicit(&core->state, MT_CORE_OFF, memory_order_release);
    return false;
}

bool mt_core_start(struct mt_core *core, enum mt_client client)
{
    uint32_t seen = MT_CORE_NEW;
    int saved = errno;
    if (atomic_compare_exchange_strong_explicit(&core->state, &seen, MT_CORE_STARTING, memory_order_acq_rel,
                                                memory_order_acquire)) {
        bool on = start(core, client);
        errno = saved;
        return on;
    }
    if (seen == MT_CORE_FORKED) return mt_core_ready_slow(core);
    if (seen != MT_CORE_ON) return false;
    if (!(LOAD(core->segment->process.clients) & client))
        atomic_fetch_or_explicit(&core->segment->process.clients, client, memory_order_relaxed);
    return true;
}

/* In a fork's child: a segment of its own at the address of the parent's. */
static bool start_in_child(struct mt_core *core)
{
    uint32_t clients = LOAD(core->segment->process.clients);
    uint64_t private_bytes = LOAD(core->segment->globals.private_bytes);
    uint64_t layer_bytes = LOAD(core->segment->globals.layer_bytes);
    uint64_t mapped_bytes = LOAD(core->segment->globals.mapped_bytes);
    struct mt_origin_kept *kept = mt_origin_keep(core);
    if (!make_segment(core, (enum mt_client)clients)) return false;
    mt_origin_restore(core, kept);
    struct mt_globals *globals = &core->segment->globals;
    core->segment->process.is_fork = 1;
    globals->inherited_bytes = core->fork_live_bytes;
    globals->inherited_count = core->fork_live_count;
    STORE(globals->current_bytes, (int64_t)core->fork_live_bytes);
    STORE(globals->peak_bytes, (int64_t)core->fork_live_bytes);
    STORE(globals->peak_ns, core->segment->process.start_ns);
    STORE(globals->private_bytes, private_bytes);
    STORE(globals->layer_bytes, layer_bytes);
    STORE(globals->mapped_bytes, mapped_bytes);
    STORE(globals->mapped_peak_bytes, mapped_bytes);
    return true;
}

bool mt_core_ready_slow(struct mt_core *core)
{
    uint32_t seen = MT_CORE_FORKED;
    if (!atomic_compare_exchange_strong_explicit(&core->state, &seen, MT_CORE_STARTING, memory_order_acq_rel,
                                                 memory_order_acquire))
        return seen == MT_CORE_ON;
    int saved = errno;
    bool on = start_in_child(core);
    if (on) {
        publish(core);
        mt_collector_ensure(core);
    } else {
        atomic_store_explicit(&core->state, MT_CORE_OFF, memory_order_release);
    }
    errno = saved;
    return on;
}

void mt_core_before_fork(struct mt_core *core)
{
    if (!mt_core_is_on(core)) return;
    struct mt_shard_sum sum;
    mt_shards_sum(core->segment, &sum);
    const struct mt_globals *globals = &core->segment->globals;
    int64_t live = (int64_t)globals->inherited_bytes + sum.live_bytes;
    int64_t count = (int64_t)(globals->inherited_count + sum.allocation_count - sum.free_count);
    core->fork_live_bytes = live > 0 ? (uint64_t)live : 0;
    core->fork_live_count = count > 0 ? (uint64_t)count : 0;
    mt_origin_before_fork(core);
}

void mt_core_after_fork_in_child(struct mt_core *core)
{
    uint32_t state = LOAD(core->state);
    FETCH_ADD(core->epoch, 1);
    if (core->fork_mark) {
        mt_sys_munmap((void *)core->fork_mark, 4096);
        core->fork_mark = NULL;
    }
    if (state == MT_CORE_ON)
        STORE(core->state, MT_CORE_FORKED);
    else if (state == MT_CORE_STARTING)
        STORE(core->state, core->segment ? MT_CORE_FORKED : MT_CORE_NEW);
}

/* False in a vfork's child, which shares this memory but is another process. */
static bool is_this_process(struct mt_core *core)
{
    return mt_core_is_on(core) && process_id() == core->pid;
}

static void leave(struct mt_core *core, enum mt_process_state state, int exit_code)
{
    struct mt_process *process = &core->segment->process;
    STORE(process->exit_code, exit_code);
    STORE(process->end_ns, mt_now_ns());
    atomic_store_explicit(&process->state, state, memory_order_release); /* the reader sees the code */
}

void mt_core_mark_exit(struct mt_core *core, int exit_code)
{
    if (is_this_process(core)) leave(core, MT_STATE_EXITED, exit_code & 0xff);
}

void mt_core_mark_exec(struct mt_core *core)
{
    if (is_this_process(core)) leave(core, MT_STATE_EXECED, 0);
}

void mt_core_unmark_exec(struct mt_core *core)
{
    if (!is_this_process(core)) return;
    STORE(core->segment->process.end_ns, 0);
    atomic_store_explicit(&core->segment->process.state, MT_STATE_RUNNING, memory_order_release);
}

void mt_core_drop(struct mt_core *core, enum mt_dropped what)
{
    if (mt_core_is_on(core)) FETCH_ADD(core->segment->dropped[what], 1);
}

uint64_t mt_core_alloc(struct mt_core *core, uint64_t bytes)
{
    struct mt_segment *segment = core->segment;
    bytes = (bytes + 63) & ~UINT64_C(63);
    /* Acquire pairs with the release in mt_segment_shrink(). */
    uint64_t offset = atomic_load_explicit(&segment->used_bytes, memory_order_acquire);
    do {
        if (bytes > core->mapped_bytes || offset > core->mapped_bytes - bytes) {
            mt_core_drop(core, MT_DROPPED_MEMORY);
            return 0;
        }
    } while (!atomic_compare_exchange_weak_explicit(&segment->used_bytes, &offset, offset + bytes,
                                                    memory_order_acquire, memory_order_acquire));
    return mt_segment_commit(core, (char *)segment + offset, bytes) ? offset : 0;
}

void *mt_private_map(struct mt_core *core, size_t bytes)
{
    int saved = errno;
    bytes = (bytes + 4095) & ~(size_t)4095;
    void *at = mt_sys_mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
    errno = saved;
    if (at == MAP_FAILED) return NULL;
    if (mt_core_is_on(core)) FETCH_ADD(core->segment->globals.private_bytes, bytes);
    return at;
}

void mt_private_unmap(struct mt_core *core, void *pointer, size_t bytes)
{
    int saved = errno;
    bytes = (bytes + 4095) & ~(size_t)4095;
    mt_sys_munmap(pointer, bytes);
    errno = saved;
    if (mt_core_is_on(core)) FETCH_ADD(core->segment->globals.private_bytes, 0 - (uint64_t)bytes);
}

bool mt_core_matches(const struct mt_core *core)
{
    return core->version == MT_LAYOUT_VERSION && core->size == sizeof *core &&
           !strncmp(core->build, "memtrack " MT_VERSION, sizeof core->build);
}
