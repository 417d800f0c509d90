/*
 * Runs a command and writes its wall time, processor time, largest resident
 * size in KiB and wait status into a file. The resident size of a process
 * starts with that of the one it was made by, so the maker has to be small.
 * bench_launch FILE LD_PRELOAD-OR-EMPTY COMMAND...
 */
#include <stdio.h>
#include <stdlib.h>
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

int main(int count, char **words)
{
    if (count < 4) return 2;
    double start = now();
    pid_t pid = fork();
    if (!pid) {
        if (*words[2]) setenv("LD_PRELOAD", words[2], 1);
        execvp(words[3], words + 3);
        _exit(127);
    }
    int status = 0;
    struct rusage usage;
    if (pid < 0 || wait4(pid, &status, 0, &usage) < 0) return 1;
    double wall = now() - start;
    double cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                 (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    FILE *file = fopen(words[1], "w");
    if (!file) return 1;
    fprintf(file, "%.6f %.6f %ld %d\n", wall, cpu, usage.ru_maxrss, status);
    return fclose(file) ? 1 : 0;
}
