/*
 * What the kernel says about a process: whether it lives, what is resident,
 * how its threads are called. Reads /proc only, never stops or traces the
 * process. Everything here may fail because the process is gone; then it says so.
 */
#ifndef MT_PROCFS_H
#define MT_PROCFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum mt_liveness {
    MT_ALIVE = 0,
    MT_GONE = 1,   /* no such process, or a zombie */
    MT_REUSED = 2, /* another process has that pid now */
};
enum mt_liveness mt_proc_liveness(int32_t pid, uint64_t start_ticks);

/*
 * The pid under which this process sees one that may be in a container, whose
 * own pid is given: found by its start ticks and its last NSpid. The given pid
 * when there is no such process. Reads all of /proc when the pid itself does
 * not fit, so do not ask again and again.
 */
int32_t mt_proc_host_pid(int32_t pid, uint64_t start_ticks);

/* The pid of a process as it sees itself; 0 when there is no such process. */
int32_t mt_proc_own_pid(int32_t host_pid);

/* A descriptor that becomes readable when the process ends; -1 when the kernel or the pid gives none. */
int mt_proc_open_pidfd(int32_t pid, uint64_t start_ticks);

/* Sizes from /proc/PID/status: the kernel's own counters, read without its memory lock. */
struct mt_proc_memory {
    bool known;
    uint64_t taken_ns; /* CLOCK_MONOTONIC */
    uint64_t rss_bytes, rss_peak_bytes, anonymous_bytes, file_bytes, shared_bytes, swap_bytes, virtual_bytes;
    uint64_t thread_count;
};
bool mt_proc_read_memory(int32_t pid, struct mt_proc_memory *memory);

/* Where resident memory lies, by the kind of mapping; their rss_bytes add up to the RSS. */
enum mt_proc_category {
    MT_PROC_HEAP,      /* [heap], the program break */
    MT_PROC_ANONYMOUS, /* anonymous mappings: malloc's larger blocks and arenas, thread stacks, ... */
    MT_PROC_STACK,     /* [stack], the main thread's */
    MT_PROC_CODE,      /* files mapped executable */
    MT_PROC_FILE,      /* files mapped otherwise */
    MT_PROC_SHARED,    /* shared memory: memfd, /dev/shm, SysV */
    MT_PROC_DEVICE,    /* /dev/..., e.g. /dev/dri */
    MT_PROC_MEMTRACK,  /* the segment and memtrack's own libraries */
    MT_PROC_OTHER,     /* [vdso] and its kin */
    MT_PROC_CATEGORIES
};
struct mt_proc_mappings {
    bool known;
    uint64_t taken_ns;
    struct {
        uint64_t count, size_bytes, rss_bytes;
    } category[MT_PROC_CATEGORIES];
};
extern const char *const mt_proc_category_name[MT_PROC_CATEGORIES];

/*
 * Reads /proc/PID/smaps. The kernel holds the process's mapping lock meanwhile
 * (milliseconds for a large process), so do it seldom. segment_name is the last
 * part of the segment's path.
 */
bool mt_proc_read_mappings(int32_t pid, const char *segment_name, struct mt_proc_mappings *mappings);

/* The name of a thread now; false when it is gone. */
bool mt_proc_thread_name(int32_t pid, int32_t tid, char *name, size_t bytes);

#endif
