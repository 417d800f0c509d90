/* Session directories and the search for segments; see session.h. */
#include "session.h"

#include "report/procfs.h"
#include "report/segment_file.h"
#include "segment.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

int mt_session_make(char *directory, size_t bytes)
{
    char base[1024];
    int error = mt_segment_base_directory(base, sizeof base);
    if (error) return error;
    for (int attempt = 0; attempt < 100; attempt++) {
        uint32_t nonce = (uint32_t)mt_now_ns();
        if (getrandom(&nonce, sizeof nonce, GRND_NONBLOCK) < 0) nonce += (uint32_t)attempt;
        if ((size_t)snprintf(directory, bytes, "%s/run.%d.%08" PRIx32, base, (int)getpid(), nonce) >= bytes)
            return -ENAMETOOLONG;
        if (!mkdir(directory, 0700)) return 0;
        if (errno != EEXIST) return -errno;
    }
    return -EEXIST;
}

int mt_session_visit(const char *directory, mt_session_visitor *each, void *context)
{
    DIR *folder = opendir(directory);
    if (!folder) return -errno;
    struct mt_segment_name segment;
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (!mt_segment_file_parse_name(entry->d_name, &segment.pid, &segment.start_ticks, &segment.number))
            continue;
        if ((size_t)snprintf(segment.path, sizeof segment.path, "%s/%s", directory, entry->d_name) >=
            sizeof segment.path)
            continue;
        segment.modified_ns = 0;
        if (!each(&segment, context)) break;
    }
    closedir(folder);
    return 0;
}

struct search {
    int32_t pid;          /* as this process sees it; 0 = any */
    int32_t own_pid;      /* of that process, as it sees itself */
    bool with_containers; /* look for other pids of a process that is not there under its own: costs a walk of /proc
                           */
    bool found;
    struct mt_segment_name *best;
};

static void stamp(struct mt_segment_name *segment)
{
    struct stat info;
    if (!stat(segment->path, &info))
        segment->modified_ns = (uint64_t)info.st_mtim.tv_sec * UINT64_C(1000000000) +
                               (uint64_t)info.st_mtim.tv_nsec;
}

static bool is_better(const struct search *search, const struct mt_segment_name *segment)
{
    if (!search->found) return true;
    if (search->best->pid == segment->pid && search->best->start_ticks == segment->start_ticks)
        return segment->number > search->best->number;
    return segment->modified_ns > search->best->modified_ns;
}

/* The pid of a segment's process outside of its namespace; 0 when it is not the one that is looked for, or gone. */
static int32_t match(const struct search *search, const struct mt_segment_name *segment)
{
    int32_t pid = segment->pid;
    if (search->pid && segment->pid == search->own_pid)
        pid = search->pid;
    else if (search->pid && segment->pid != search->pid)
        return 0;
    else if (search->with_containers)
        pid = mt_proc_host_pid(segment->pid, segment->start_ticks);
    return mt_proc_liveness(pid, segment->start_ticks) == MT_ALIVE ? pid : 0;
}

static bool consider(const struct mt_segment_name *segment, void *context)
{
    struct search *search = context;
    struct mt_segment_name candidate = *segment;
    candidate.host_pid = match(search, segment);
    if (!candidate.host_pid) return true;
    stamp(&candidate);
    if (is_better(search, &candidate)) *search->best = candidate;
    search->found = true;
    return true;
}

static void search_base(const char *base, struct search *search)
{
    mt_session_visit(base, consider, search);
    DIR *folder = opendir(base);
    if (!folder) return;
    for (struct dirent *entry; (entry = readdir(folder));) {
        char path[1280];
        if (strncmp(entry->d_name, "run.", 4)) continue;
        if ((size_t)snprintf(path, sizeof path, "%s/%s", base, entry->d_name) < sizeof path)
            mt_session_visit(path, consider, search);
    }
    closedir(folder);
}

static void search_everywhere(struct search *search)
{
    char base[1024];
    const char *runtime = getenv("XDG_RUNTIME_DIR"), *session = getenv("MEMTRACK_SESSION");
    unsigned uid = (unsigned)geteuid();
    if (session && *session) mt_session_visit(session, consider, search);
    if (runtime && *runtime) {
        snprintf(base, sizeof base, "%s/memtrack", runtime);
        search_base(base, search);
    }
    snprintf(base, sizeof base, "/run/user/%u/memtrack", uid);
    if (!runtime || strncmp(base, runtime, strlen(runtime))) search_base(base, search);
    snprintf(base, sizeof base, "/dev/shm/memtrack-%u", uid);
    search_base(base, search);
    snprintf(base, sizeof base, "/tmp/memtrack-%u", uid);
    search_base(base, search);
}

bool mt_session_find(int32_t pid, struct mt_segment_name *found)
{
    struct search search = {.pid = pid, .best = found};
    if (pid) search.own_pid = mt_proc_own_pid(pid);
    search_everywhere(&search);
    if (search.found) return true;
    search.with_containers = true;
    search_everywhere(&search);
    return search.found;
}
