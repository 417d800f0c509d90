/*
 * Parsers of /proc/PID/{stat,status,smaps,task}. Called by the collector's
 * loop and the command; reads only.
 */
#include "procfs.h"
#include "core.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

const char *const mt_proc_category_name[MT_PROC_CATEGORIES] = {
    [MT_PROC_HEAP] = "heap",     [MT_PROC_ANONYMOUS] = "anonymous", [MT_PROC_STACK] = "stack",
    [MT_PROC_CODE] = "code",     [MT_PROC_FILE] = "file",           [MT_PROC_SHARED] = "shared",
    [MT_PROC_DEVICE] = "device", [MT_PROC_MEMTRACK] = "memtrack",   [MT_PROC_OTHER] = "other",
};

static ssize_t read_small(const char *path, char *buffer, size_t bytes)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -errno;
    ssize_t got = read(fd, buffer, bytes - 1);
    int error = got < 0 ? -errno : 0;
    close(fd);
    buffer[got > 0 ? got : 0] = 0;
    return error ? error : got;
}

struct stat_fields {
    char state;
    unsigned long thread_count;
    uint64_t start_ticks;
};

static bool read_stat(int32_t pid, struct stat_fields *fields)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%" PRId32 "/stat", pid);
    if (read_small(path, text, sizeof text) <= 0) return false;
    const char *behind_name = strrchr(text, ')'); /* the name may hold anything, also ')' */
    if (!behind_name) return false;
    return sscanf(behind_name + 1,
                  " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %lu %*d %" SCNu64,
                  &fields->state, &fields->thread_count, &fields->start_ticks) == 3;
}

enum mt_liveness mt_proc_liveness(int32_t pid, uint64_t start_ticks)
{
    struct stat_fields fields;
    if (pid <= 0 || !read_stat(pid, &fields)) return MT_GONE;
    if (start_ticks && fields.start_ticks != start_ticks) return MT_REUSED;
    /* A zombie whose other threads still run is a process whose main thread has ended. */
    bool ended = fields.state == 'X' || (fields.state == 'Z' && fields.thread_count <= 1);
    return ended ? MT_GONE : MT_ALIVE;
}

/* The last number of "NSpid: 4711 12" is the pid in the innermost namespace. */
int32_t mt_proc_own_pid(int32_t host_pid)
{
    char path[64], text[4096];
    snprintf(path, sizeof path, "/proc/%" PRId32 "/status", host_pid);
    if (read_small(path, text, sizeof text) <= 0) return 0;
    const char *line = strstr(text, "\nNSpid:"), *last = NULL;
    if (!line) return 0;
    for (const char *at = line + 7; *at && *at != '\n'; at++)
        if (*at == '\t' || *at == ' ') last = at + 1;
    return last ? (int32_t)strtol(last, NULL, 10) : 0;
}

int32_t mt_proc_host_pid(int32_t pid, uint64_t start_ticks)
{
    struct stat_fields fields;
    int32_t found = pid;
    if (!start_ticks || mt_proc_liveness(pid, start_ticks) == MT_ALIVE) return pid;
    DIR *folder = opendir("/proc");
    if (!folder) return pid;
    for (struct dirent *entry; found == pid && (entry = readdir(folder));) {
        int32_t candidate = (int32_t)strtol(entry->d_name, NULL, 10);
        if (candidate <= 0 || !read_stat(candidate, &fields) || fields.start_ticks != start_ticks) continue;
        if (fields.state != 'Z' && mt_proc_own_pid(candidate) == pid) found = candidate;
    }
    closedir(folder);
    return found;
}

int mt_proc_open_pidfd(int32_t pid, uint64_t start_ticks)
{
#ifdef SYS_pidfd_open
    int fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
    if (fd < 0) return -1;
    /* The pid may have been given to another process before the call. */
    if (mt_proc_liveness(pid, start_ticks) != MT_REUSED) return fd;
    close(fd);
#else
    (void)pid;
    (void)start_ticks;
#endif
    return -1;
}

static uint64_t kilobytes_of(const char *text, const char *key)
{
    const char *at = strstr(text, key);
    return at ? strtoull(at + strlen(key), NULL, 10) * 1024u : 0;
}

bool mt_proc_read_memory(int32_t pid, struct mt_proc_memory *memory)
{
    char path[64], text[4096];
    snprintf(path, sizeof path, "/proc/%" PRId32 "/status", pid);
    if (read_small(path, text, sizeof text) <= 0 || !strstr(text, "\nVmRSS:")) return false; /* a zombie has none */
    memory->known = true;
    memory->taken_ns = mt_now_ns();
    memory->rss_bytes = kilobytes_of(text, "\nVmRSS:");
    memory->rss_peak_bytes = kilobytes_of(text, "\nVmHWM:");
    memory->anonymous_bytes = kilobytes_of(text, "\nRssAnon:");
    memory->file_bytes = kilobytes_of(text, "\nRssFile:");
    memory->shared_bytes = kilobytes_of(text, "\nRssShmem:");
    memory->swap_bytes = kilobytes_of(text, "\nVmSwap:");
    memory->virtual_bytes = kilobytes_of(text, "\nVmSize:");
    memory->thread_count = kilobytes_of(text, "\nThreads:") / 1024u;
    return true;
}

static bool has_prefix(const char *text, const char *prefix)
{
    return !strncmp(text, prefix, strlen(prefix));
}

static enum mt_proc_category category_of(const char *permissions, const char *path, const char *segment_name)
{
    if (!*path || has_prefix(path, "[anon")) return permissions[3] == 's' ? MT_PROC_SHARED : MT_PROC_ANONYMOUS;
    if (has_prefix(path, "[heap]")) return MT_PROC_HEAP;
    if (has_prefix(path, "[stack")) return MT_PROC_STACK;
    if (*path == '[') return MT_PROC_OTHER;
    if (*segment_name && strstr(path, segment_name)) return MT_PROC_MEMTRACK;
    if (strstr(path, "/libmemtrack.so") || strstr(path, "/libVkLayer_memtrack.so")) return MT_PROC_MEMTRACK;
    if (has_prefix(path, "/dev/shm/") || has_prefix(path, "/memfd:") || has_prefix(path, "/SYSV"))
        return MT_PROC_SHARED;
    if (has_prefix(path, "/dev/zero")) return MT_PROC_SHARED;
    if (has_prefix(path, "/dev/")) return MT_PROC_DEVICE;
    return permissions[2] == 'x' ? MT_PROC_CODE : MT_PROC_FILE;
}

/* "7f12-7f13 rw-p 00000000 00:01 123   /path": false for the lines in between. */
static bool parse_mapping_line(const char *line, char permissions[5], const char **path)
{
    int at = 0;
    if (!isxdigit((unsigned char)line[0]) || sscanf(line, "%*x-%*x %4c %*x %*x:%*x %*u%n", permissions, &at) != 1 ||
        !at)
        return false;
    permissions[4] = 0;
    *path = line + at + strspn(line + at, " ");
    return true;
}

static void count_mapping_line(struct mt_proc_mappings *mappings, const char *line, const char *segment_name,
                               enum mt_proc_category *current)
{
    char permissions[5];
    const char *path;
    if (parse_mapping_line(line, permissions, &path)) {
        *current = category_of(permissions, path, segment_name);
        mappings->category[*current].count++;
    } else if (has_prefix(line, "Size:")) {
        mappings->category[*current].size_bytes += strtoull(line + 5, NULL, 10) * 1024u;
    } else if (has_prefix(line, "Rss:")) {
        mappings->category[*current].rss_bytes += strtoull(line + 4, NULL, 10) * 1024u;
    }
}

bool mt_proc_read_mappings(int32_t pid, const char *segment_name, struct mt_proc_mappings *mappings)
{
    char path[64], line[4400];
    snprintf(path, sizeof path, "/proc/%" PRId32 "/smaps", pid);
    FILE *file = fopen(path, "re");
    if (!file) return false;
    struct mt_proc_mappings found = {.taken_ns = mt_now_ns()};
    enum mt_proc_category current = MT_PROC_OTHER;
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        count_mapping_line(&found, line, segment_name, &current);
        found.known = true;
    }
    fclose(file);
    if (found.known) *mappings = found;
    return found.known;
}

bool mt_proc_thread_name(int32_t pid, int32_t tid, char *name, size_t bytes)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%" PRId32 "/task/%" PRId32 "/comm", pid, tid);
    if (read_small(path, name, bytes) <= 0) return false;
    name[strcspn(name, "\n")] = 0;
    return true;
}
