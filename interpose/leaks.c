/*
 * Makes the copy of the process for the scan and waits for it. See leaks.h.
 */
#include "leaks.h"

#include "init.h"
#include "leak_scan.h"
#include "thread.h"
#include "trace.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TEXT = 512, RED_ZONE = 128 /* below the stack pointer, which leaf functions use */ };

enum { LEAKS_ALL, LEAKS_REACHABLE }; /* the choices of MEMTRACK_LEAKS */

static struct mt_leak_threads threads;

/* ---- the other threads' stack pointers ----------------------------------------------- */

static size_t read_file(const char *path, char *text, size_t bytes)
{
    long fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    long got = fd < 0 ? 0 : syscall(SYS_read, fd, text, bytes - 1);
    if (fd >= 0) syscall(SYS_close, fd);
    text[got > 0 ? got : 0] = 0;
    return got > 0 ? (size_t)got : 0;
}

static uintptr_t parse_hex(const char *text)
{
    uintptr_t value = 0;
    if (!strncmp(text, "0x", 2)) text += 2;
    for (;; text++) {
        unsigned digit = *text >= '0' && *text <= '9'   ? (unsigned)(*text - '0')
                         : *text >= 'a' && *text <= 'f' ? (unsigned)(*text - 'a') + 10
                                                        : 16;
        if (digit == 16) return value;
        value = value * 16 + digit;
    }
}

/* /proc/self/task/TID/syscall ends with the stack pointer and the program counter; "running" for a running thread.
 */
static int32_t parse_number(const char *text)
{
    int32_t value = 0;
    for (; *text >= '0' && *text <= '9'; text++) value = value * 10 + (*text - '0');
    return value;
}

static void add_thread(const char *tid)
{
    char path[64], text[TEXT];
    mt_format(path, sizeof path, "/proc/self/task/%s/syscall", tid);
    if (threads.count == MT_LEAK_THREADS || !read_file(path, text, sizeof text)) return;
    char *last = strrchr(text, ' '), *stack = NULL;
    if (last) {
        *last = 0;
        stack = strrchr(text, ' ');
    }
    threads.tid[threads.count] = parse_number(tid);
    uintptr_t pointer = stack ? parse_hex(stack + 1) : 0;
    threads.stack[threads.count++] = pointer > RED_ZONE ? pointer - RED_ZONE : 0;
}

struct entry {
    uint64_t inode;
    int64_t offset;
    unsigned short length;
    unsigned char type;
    char name[];
};

/*
 * Of the calling thread all that its caller has on the stack is in use, with the registers that the caller put
 * there. What lies below is the copy's when it looks: frames of the scan, which know where blocks begin.
 */
static __attribute__((noinline)) void find_threads(void)
{
    enum { FRAME_RECORD = 2 * sizeof(void *) }; /* of this function */
    char buffer[1024] __attribute__((aligned(8)));
    long own = syscall(SYS_gettid);
    char own_name[24];
    mt_format(own_name, sizeof own_name, "%ld", own);
    threads.count = 0;
    threads.stack[threads.count++] = (uintptr_t)__builtin_frame_address(0) + FRAME_RECORD;
    long fd = syscall(SYS_openat, AT_FDCWD, "/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    for (long got; (got = syscall(SYS_getdents64, fd, buffer, sizeof buffer)) > 0;)
        for (long at = 0; at < got;) {
            const struct entry *entry = (const struct entry *)(const void *)(buffer + at);
            if (entry->name[0] != '.' && strcmp(entry->name, own_name) != 0) add_thread(entry->name);
            at += entry->length;
        }
    syscall(SYS_close, fd);
}

/* ---- the copy ---------------------------------------------------------------------------- */

/* A crash in the copy must not be the program's: its handlers are the program's own. */
static void drop_handlers(void)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    static const int numbers[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP};
    for (unsigned i = 0; i < sizeof numbers / sizeof *numbers; i++)
        syscall(SYS_rt_sigaction, numbers[i], &action, NULL, sizeof(uint64_t));
}

static void scan(struct mt_attribution *table, struct mt_leak *rows, uint32_t count)
{
    drop_handlers();
    bool is_done = mt_leak_scan(&mt_core, &threads, rows, count, &table->leaks_reachable);
    atomic_store_explicit(&table->leaks_state, is_done ? MT_LEAKS_DONE : MT_LEAKS_FAILED, memory_order_release);
    syscall(SYS_exit_group, 0);
}

/* Without an exit signal, so that the program's handlers and its wait() see nothing of it. */
static void run_copy(struct mt_attribution *table, struct mt_leak *rows, uint32_t count)
{
    __builtin_unwind_init(); /* all registers onto the stack */
    find_threads();
    /* The copy asks for the other threads' registers, which some systems allow only to whom they were told of. */
    if (threads.count > 1) syscall(SYS_prctl, PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0L, 0L, 0L);
    long pid = syscall(SYS_clone, 0L, NULL, NULL, NULL, NULL);
    if (pid == 0) scan(table, rows, count);
    int status;
    while (pid > 0 && syscall(SYS_wait4, pid, &status, __WALL, NULL) < 0 && errno == EINTR) {
    }
    if (threads.count > 1) syscall(SYS_prctl, PR_SET_PTRACER, 0L, 0L, 0L, 0L);
}

static bool is_wanted(void)
{
    if (!mt_core_is_on(&mt_core) || mt_core.options.number[MT_OPT_LEAKS] != LEAKS_REACHABLE) return false;
    return (int32_t)syscall(SYS_getpid) == mt_core.pid; /* not a vfork child */
}

void mt_leaks_at_exit(void)
{
    if (!is_wanted() || mt_thread_set_busy(true)) return;
    int saved = errno;
    struct mt_attribution *table = &mt_core.segment->attribution;
    uint32_t idle = MT_LEAKS_NONE, count = 0;
    if (mt_trace_mode() != MT_STACKS_ALL)
        mt_say("MEMTRACK_LEAKS=reachable needs MEMTRACK_STACKS=all: all live blocks are listed");
    else if (mt_stack_ready(&mt_core) &&
             atomic_compare_exchange_strong_explicit(&table->leaks_state, &idle, MT_LEAKS_FAILED,
                                                     memory_order_relaxed, memory_order_relaxed))
        count = atomic_load_explicit(&table->used_stacks, memory_order_relaxed) + 1;
    uint64_t offset = count ? mt_core_alloc(&mt_core, count * sizeof(struct mt_leak)) : 0;
    if (offset) {
        table->leaks = offset;
        table->leak_count = count;
        run_copy(table, (struct mt_leak *)(void *)((char *)mt_core.segment + offset), count);
    }
    mt_thread_set_busy(false);
    errno = saved;
}
