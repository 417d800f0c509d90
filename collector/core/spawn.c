/*
 * Starts the collector for a program that was started without `memtrack run`.
 * The collector must not be a child of the program (whose wait() would see
 * it), hold none of its descriptors, and not be tracked itself. Runs once, on
 * the thread that starts the core; allocates nothing.
 */
#include "segment.h"
#include "sys_file.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { STACK_BYTES = 64 * 1024, MAX_ENVIRONMENT = 4096 };

/* True when a collector holds DIRECTORY/collector.lock. */
static bool has_collector(const char *directory)
{
    char path[1100];
    mt_format(path, sizeof path, "%s/collector.lock", directory);
    int fd = mt_sys_open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0);
    if (fd < 0) return false;
    bool held = mt_sys_call(SYS_flock, fd, LOCK_SH | LOCK_NB, 0, 0, 0, 0) != 0;
    mt_sys_close(fd);
    return held;
}

static bool is_program(const char *path)
{
    return mt_sys_access(path, X_OK) == 0;
}

/* The command beside the library (a build folder) or in the bin of its prefix. */
static bool find_command(struct mt_core *core, char *path, size_t bytes)
{
    static const char *const places[] = {"memtrack", "../bin/memtrack", "../../bin/memtrack"};
    const char *asked = core->options.text[MT_OPT_COLLECTOR];
    if (strcmp(asked, "auto")) {
        mt_format(path, bytes, "%s", asked);
        return is_program(path);
    }
    Dl_info info;
    if (!dladdr((void *)(uintptr_t)&mt_collector_ensure, &info) || !info.dli_fname) return false;
    const char *slash = strrchr(info.dli_fname, '/');
    if (!slash) return false;
    for (unsigned i = 0; i < sizeof places / sizeof *places; i++) {
        char folder[900];
        size_t length = (size_t)(slash - info.dli_fname);
        if (length >= sizeof folder) return false;
        memcpy(folder, info.dli_fname, length);
        folder[length] = 0;
        mt_format(path, bytes, "%s/%s", folder, places[i]);
        if (is_program(path)) return true;
    }
    return false;
}

static bool is_for_the_program_only(const char *entry)
{
    static const char *const prefixes[] = {"LD_PRELOAD=", "LD_AUDIT=", "MEMTRACK_", "VK_INSTANCE_LAYERS=", NULL};
    for (const char *const *prefix = prefixes; *prefix; prefix++)
        if (!strncmp(entry, *prefix, strlen(*prefix))) return true;
    return false;
}

struct start {
    const char *command;
    const char *directory;
    char **environment;
    int error;
};

static void close_descriptors(void)
{
#ifdef SYS_close_range
    if (syscall(SYS_close_range, 3u, ~0u, 0u) == 0) return;
#endif
    for (int fd = 3; fd < 4096; fd++) close(fd);
}

static void become_collector(struct start *start)
{
    char *const arguments[] = {(char *)"memtrack",       (char *)"collect",    (char *)"--session",
                               (char *)start->directory, (char *)"--detached", NULL};
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve(start->command, arguments, start->environment);
    syscall(SYS_exit_group, 127);
}

/* Runs on its own stack in the program's memory while the starting thread waits (as vfork). */
static int launch(void *argument)
{
    struct start *start = argument;
    syscall(SYS_setsid);
    close_descriptors();
    for (int fd = 0; fd < 3; fd++) {
        close(fd);
        if (open("/dev/null", O_RDWR) < 0) break;
    }
    if (chdir("/")) start->error = errno;
    long child = syscall(SYS_clone, 0L, 0L, 0L, 0L, 0L); /* a plain fork without handlers */
    if (child == 0) become_collector(start);
    if (child < 0) start->error = errno;
    syscall(SYS_exit, 0);
    return 0;
}

static int run_launcher(struct mt_core *core, struct start *start)
{
    char *stack = mt_private_map(core, STACK_BYTES);
    if (!stack) return ENOMEM;
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    /* No termination signal: the program must not see SIGCHLD for it. */
    int pid = clone(launch, stack + STACK_BYTES, CLONE_VM | CLONE_VFORK, start);
    int error = pid < 0 ? errno : 0;
    if (pid > 0)
        while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR) {
        }
    sigprocmask(SIG_SETMASK, &before, NULL);
    mt_private_unmap(core, stack, STACK_BYTES);
    return error ? error : start->error;
}

static int spawn(struct mt_core *core, const char *command)
{
    char **environment = mt_private_map(core, (MAX_ENVIRONMENT + 1) * sizeof *environment);
    if (!environment) return ENOMEM;
    unsigned count = 0;
    for (char **entry = environ; entry && *entry && count < MAX_ENVIRONMENT; entry++)
        if (!is_for_the_program_only(*entry)) environment[count++] = *entry;
    struct start start = {command, core->directory, environment, 0};
    int error = run_launcher(core, &start);
    mt_private_unmap(core, environment, (MAX_ENVIRONMENT + 1) * sizeof *environment);
    return error;
}

void mt_collector_ensure(struct mt_core *core)
{
    char command[1024];
    if (!core->is_file || !strcmp(core->options.text[MT_OPT_COLLECTOR], "none") || has_collector(core->directory))
        return;
    bool found = find_command(core, command, sizeof command);
    int error = found ? spawn(core, command) : 0;
    if (!found)
        mt_say("no memtrack command beside the library to write reports (MEMTRACK_COLLECTOR=PATH names one); "
               "`memtrack report %s` renders the statistics later",
               core->path);
    else if (!error)
        mt_verbose(core, "started %s to write the reports", command);
    else
        mt_say("cannot start %s (%s); `memtrack report %s` renders the statistics later", command,
               strerrordesc_np(error), core->path);
}
