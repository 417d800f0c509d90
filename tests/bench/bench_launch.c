/*
 * Runs a command and writes its wall time, processor time, largest resident
 * size in KiB and wait status into a file. The kernel's own figure for the
 * largest size leaves out what each processor has not handed in yet, several
 * hundred KiB, and starts with the size of whoever made the process; so the
 * command is stopped as it exits, where its status file adds all of it up.
 * bench_launch FILE LD_PRELOAD-OR-EMPTY COMMAND...
 */
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void become(char **words)
{
    if (*words[2]) setenv("LD_PRELOAD", words[2], 1);
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
    execvp(words[3], words + 3);
    _exit(127);
}

/* The largest size of a process that still has its memory; 0 when that cannot be read. */
static long largest_kib(pid_t pid)
{
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "r");
    long kib = 0;
    while (file && !kib && fgets(line, sizeof line, file))
        if (sscanf(line, "VmHWM: %ld", &kib) != 1) kib = 0;
    if (file) fclose(file);
    return kib;
}

/*
 * Lets the process go on to its end. Where it cannot be traced, or a child of its own was larger, the largest size
 * is the kernel's figure.
 */
static bool see_through(pid_t pid, int *status, struct rusage *usage)
{
    long kib = 0;
    bool is_told = false;
    while (wait4(pid, status, __WALL, usage) == pid) {
        if (!WIFSTOPPED(*status)) {
            if (usage->ru_maxrss < kib) usage->ru_maxrss = kib;
            return true;
        }
        int event = *status >> 16;
        bool is_own = event || (!is_told && WSTOPSIG(*status) == SIGTRAP); /* the first one is that of its exec */
        if (event == PTRACE_EVENT_EXIT) kib = largest_kib(pid);
        if (!is_told) ptrace(PTRACE_SETOPTIONS, pid, NULL, (void *)(PTRACE_O_TRACEEXIT | PTRACE_O_TRACEEXEC));
        is_told = true;
        ptrace(PTRACE_CONT, pid, NULL, (void *)(uintptr_t)(is_own ? 0 : WSTOPSIG(*status)));
    }
    return false;
}

int main(int count, char **words)
{
    if (count < 4) return 2;
    double start = now();
    pid_t pid = fork();
    if (!pid) become(words);
    int status = 0;
    struct rusage usage;
    if (pid < 0 || !see_through(pid, &status, &usage)) return 1;
    double wall = now() - start;
    double cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                 (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    FILE *file = fopen(words[1], "w");
    if (!file) return 1;
    fprintf(file, "%.6f %.6f %ld %d\n", wall, cpu, usage.ru_maxrss, status);
    return fclose(file) ? 1 : 0;
}
