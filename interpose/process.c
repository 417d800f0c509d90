/*
 * Fork, exec and exit as the program calls them. A vfork child runs these
 * hooks in its parent's memory: they write nothing there but what the core
 * guards by the process id. Raw system calls are not seen; the core finds a
 * child made that way by its fork mark, and the collector an end by the pid.
 * clone() is seen where it makes what fork makes.
 */
#include "process.h"

#include "count.h"
#include "dlclose.h"
#include "export.h"
#include "leaks.h"
#include "rlimit.h"
#include "locked.h"
#include "mappings.h"
#include "next.h"
#include "pooled.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef int exec_function(const char *, char *const[]);
typedef int exec_env_function(const char *, char *const[], char *const[]);
typedef int fexec_function(int, char *const[], char *const[]);
typedef int execat_function(int, const char *, char *const[], char *const[], int);

static struct {
    void *_Atomic execve, *_Atomic execv, *_Atomic execvp, *_Atomic execvpe, *_Atomic fexecve, *_Atomic execveat;
    void *_Atomic exit, *_Atomic Exit, *_Atomic quick_exit, *_Atomic Fork, *_Atomic clone;
} next;

/* ---- fork ------------------------------------------------------------------------------ */

static void before_fork(void)
{
    mt_mappings_before_fork();
    if (mt_pooled()) mt_pools_before_fork();
    mt_core_before_fork(&mt_core);
}

static void after_fork_in_parent(void)
{
    if (mt_pooled()) mt_pools_after_fork_in_parent();
    mt_mappings_after_fork_in_parent();
}

static void after_fork_in_child(void)
{
    if (mt_pooled()) mt_pools_after_fork_in_child();
    mt_mappings_after_fork_in_child();
    mt_thread_after_fork_in_child();
    mt_core_after_fork_in_child(&mt_core);
}

MT_EXPORT pid_t _Fork(void);

/* fork without handlers: glibc's fork calls its own, so this is only the program's. */
MT_EXPORT pid_t _Fork(void)
{
    pid_t (*real)(void) = (pid_t(*)(void))(uintptr_t)mt_next_find_once(&next.Fork, "_Fork");
    if (!real) {
        errno = ENOSYS;
        return -1;
    }
    before_fork();
    pid_t pid = real();
    int saved = errno;
    if (pid == 0)
        after_fork_in_child();
    else
        after_fork_in_parent();
    errno = saved;
    return pid;
}

typedef int clone_function(int (*)(void *), void *, int, void *, ...);

struct cloned {
    int (*run)(void *);
    void *argument;
};

/* The child's own copy of what its parent had on the stack. What it returns ends it without _exit. */
static int begin_cloned(void *argument)
{
    struct cloned cloned = *(const struct cloned *)argument;
    after_fork_in_child();
    int status = cloned.run(cloned.argument);
    mt_leaks_at_exit();
    mt_core_mark_exit(&mt_core, status);
    return status;
}

/* A child with memory and a thread pointer of its own, for which its parent does not wait: a fork's. */
static bool is_fork(int (*run)(void *), const void *stack, int flags)
{
    return run && stack && !(flags & (CLONE_VM | CLONE_VFORK | CLONE_SETTLS));
}

MT_EXPORT int clone(int (*run)(void *), void *stack, int flags, void *argument, ...)
{
    va_list list;
    va_start(list, argument);
    void *parent_tid = va_arg(list, void *), *tls = va_arg(list, void *), *child_tid = va_arg(list, void *);
    va_end(list);
    clone_function *real = (clone_function *)(uintptr_t)mt_next_find_once(&next.clone, "clone");
    if (!real) {
        errno = ENOSYS;
        return -1;
    }
    if (!is_fork(run, stack, flags)) return real(run, stack, flags, argument, parent_tid, tls, child_tid);
    struct cloned cloned = {run, argument};
    before_fork();
    int pid = real(begin_cloned, stack, flags, &cloned, parent_tid, tls, child_tid);
    int saved = errno;
    after_fork_in_parent();
    errno = saved;
    return pid;
}

/* ---- exec -------------------------------------------------------------------------------- */

static int failed_exec(int result)
{
    int saved = errno;
    mt_core_unmark_exec(&mt_core);
    errno = saved;
    return result;
}

static void mark_exec(void)
{
    int saved = errno;
    mt_core_mark_exec(&mt_core);
    errno = saved;
}

MT_EXPORT int execve(const char *path, char *const argv[], char *const envp[])
{
    exec_env_function *real = (exec_env_function *)(uintptr_t)mt_next_find_once(&next.execve, "execve");
    mark_exec();
    return failed_exec(real ? real(path, argv, envp) : (int)syscall(SYS_execve, path, argv, envp));
}

static int exec_missing(void)
{
    errno = ENOSYS;
    return -1;
}

MT_EXPORT int execv(const char *path, char *const argv[])
{
    exec_function *real = (exec_function *)(uintptr_t)mt_next_find_once(&next.execv, "execv");
    mark_exec();
    return failed_exec(real ? real(path, argv) : exec_missing());
}

MT_EXPORT int execvp(const char *file, char *const argv[])
{
    exec_function *real = (exec_function *)(uintptr_t)mt_next_find_once(&next.execvp, "execvp");
    mark_exec();
    return failed_exec(real ? real(file, argv) : exec_missing());
}

MT_EXPORT int execvpe(const char *file, char *const argv[], char *const envp[])
{
    exec_env_function *real = (exec_env_function *)(uintptr_t)mt_next_find_once(&next.execvpe, "execvpe");
    mark_exec();
    return failed_exec(real ? real(file, argv, envp) : exec_missing());
}

MT_EXPORT int fexecve(int fd, char *const argv[], char *const envp[])
{
    fexec_function *real = (fexec_function *)(uintptr_t)mt_next_find_once(&next.fexecve, "fexecve");
    mark_exec();
    return failed_exec(real ? real(fd, argv, envp) : exec_missing());
}

MT_EXPORT int execveat(int directory, const char *path, char *const argv[], char *const envp[], int flags)
{
    execat_function *real = (execat_function *)(uintptr_t)mt_next_find_once(&next.execveat, "execveat");
    mark_exec();
    return failed_exec(real ? real(directory, path, argv, envp, flags) : exec_missing());
}

/* The arguments of execl and its kin from the second on, up to and with the NULL that ends them. */
static size_t count_arguments(va_list *list)
{
    size_t count = 1;
    while (va_arg(*list, char *)) count++;
    return count;
}

static void copy_arguments(char **argv, size_t count, const char *first, va_list *list)
{
    argv[0] = (char *)(uintptr_t)first;
    for (size_t i = 1; i <= count; i++) argv[i] = va_arg(*list, char *);
}

/* On the stack, as the system's own execl does: the heap may not be used after vfork. */
#define ARGUMENT_ARRAY(argv, count, first)                                                                         \
    va_list list;                                                                                                  \
    va_start(list, first);                                                                                         \
    size_t count = count_arguments(&list);                                                                         \
    va_end(list);                                                                                                  \
    char **argv = __builtin_alloca((count + 1) * sizeof *argv);                                                    \
    va_start(list, first);                                                                                         \
    copy_arguments(argv, count, first, &list)

MT_EXPORT int execl(const char *path, const char *first, ...)
{
    ARGUMENT_ARRAY(argv, count, first);
    va_end(list);
    return execv(path, argv);
}

MT_EXPORT int execlp(const char *file, const char *first, ...)
{
    ARGUMENT_ARRAY(argv, count, first);
    va_end(list);
    return execvp(file, argv);
}

MT_EXPORT int execle(const char *path, const char *first, ...)
{
    ARGUMENT_ARRAY(argv, count, first);
    char *const *envp = va_arg(list, char *const *);
    va_end(list);
    return execve(path, argv, envp);
}

/* ---- exit ------------------------------------------------------------------------------------ */

/* Registered before anything of the program, so it runs after the program's own handlers. */
static void at_exit(int status, void *unused)
{
    (void)unused;
    mt_leaks_at_exit();
    mt_core_mark_exit(&mt_core, status);
}

static void leave(void *_Atomic *slot, const char *name, int status)
{
    void (*real)(int) = (void (*)(int))(uintptr_t)mt_next_find_once(slot, name);
    mt_leaks_at_exit();
    mt_core_mark_exit(&mt_core, status);
    if (real) real(status);
    for (;;) syscall(SYS_exit_group, status);
}

MT_EXPORT void _exit(int status)
{
    leave(&next.exit, "_exit", status);
    __builtin_unreachable();
}

MT_EXPORT void _Exit(int status)
{
    leave(&next.Exit, "_Exit", status);
    __builtin_unreachable();
}

/* Its handlers run after the mark; one that ends the process otherwise marks it anew. */
MT_EXPORT void quick_exit(int status)
{
    leave(&next.quick_exit, "quick_exit", status);
    __builtin_unreachable();
}

void mt_process_start(void)
{
    /* Found now: a vfork child may not take the loader's lock, and dlsym ends what dlerror would tell the program.
     */
    mt_thread_find_next();
    mt_mappings_find_next();
    mt_dlclose_find_next();
    mt_rlimit_find_next();
    mt_locked_find_next();
    mt_next_find_once(&next.execve, "execve");
    mt_next_find_once(&next.execv, "execv");
    mt_next_find_once(&next.execvp, "execvp");
    mt_next_find_once(&next.execvpe, "execvpe");
    mt_next_find_once(&next.exit, "_exit");
    mt_next_find_once(&next.Exit, "_Exit");
    mt_next_find_once(&next.quick_exit, "quick_exit");
    mt_next_find_once(&next.fexecve, "fexecve");
    mt_next_find_once(&next.clone, "clone");
    on_exit(at_exit, NULL);
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}
