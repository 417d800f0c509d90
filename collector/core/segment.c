/*
 * Makes the segment's file and mapping and commits its memory part by part.
 * Runs inside the program at start, in a fork's child and when a table grows.
 * It keeps no file descriptor: programs close descriptors that they do not know.
 */
#include "segment.h"
#include "sys_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

enum { TMPFS_MAGIC_NUMBER = 0x01021994, PAGE = 4096 };

/* The least that a segment can work with behind its fixed tables. */
static const uint64_t MINIMUM_BYTES = (sizeof(struct mt_segment) + (1u << 20) + PAGE - 1) & ~(uint64_t)(PAGE - 1);

static bool is_in_memory(const char *path)
{
    struct statfs info;
    return mt_sys_statfs(path, &info) == 0 && info.f_type == TMPFS_MAGIC_NUMBER;
}

static int make_own_directory(const char *path)
{
    struct stat info;
    if (mt_sys_mkdir(path, 0700) && errno != EEXIST) return -errno;
    if (mt_sys_lstat(path, &info)) return -errno;
    if (!S_ISDIR(info.st_mode)) return -ENOTDIR;
    if (info.st_uid != mt_sys_geteuid() || (info.st_mode & 077)) return -EPERM;
    return mt_sys_access(path, W_OK | X_OK) ? -errno : 0;
}

int mt_segment_base_directory(char *buffer, size_t bytes)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    if (runtime && runtime[0] != '/') runtime = NULL;
    if (runtime && is_in_memory(runtime)) {
        mt_format(buffer, bytes, "%s/memtrack", runtime);
        if (!make_own_directory(buffer)) return 0;
    }
    mt_format(buffer, bytes, "/dev/shm/memtrack-%u", (unsigned)mt_sys_geteuid());
    int error = make_own_directory(buffer);
    if (!error) return 0;
    if (runtime) {
        mt_format(buffer, bytes, "%s/memtrack", runtime);
        if (!make_own_directory(buffer)) return 0;
    }
    mt_format(buffer, bytes, "/tmp/memtrack-%u", (unsigned)mt_sys_geteuid());
    return make_own_directory(buffer) ? error : 0;
}

static uint64_t field_of_stat(const char *stat, unsigned field)
{
    const char *at = strrchr(stat, ')'); /* the name in field 2 may hold anything */
    for (unsigned i = 2; at && i < field; i++) at = strchr(at + 1, ' ');
    uint64_t value = 0;
    for (at = at ? at + 1 : ""; *at >= '0' && *at <= '9'; at++) value = value * 10 + (uint64_t)(*at - '0');
    return value;
}

static uint64_t read_start_ticks(void)
{
    char stat[1024];
    return mt_read_file("/proc/self/stat", stat, sizeof stat) > 0 ? field_of_stat(stat, 22) : 0;
}

long mt_read_file(const char *path, char *buffer, size_t bytes)
{
    int fd = mt_sys_open(path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0) return -errno;
    size_t at = 0;
    long got;
    while (at + 1 < bytes && (got = mt_sys_read(fd, buffer + at, bytes - 1 - at)) > 0) at += (size_t)got;
    buffer[at] = 0;
    mt_sys_close(fd);
    return (long)at;
}

/* A new file that did not exist, for this process only; -errno when there can be none. */
static int open_segment_file(struct mt_core *core, uint64_t start_ticks)
{
    for (unsigned n = 0; n < 1000; n++) {
        mt_format(core->path, sizeof core->path, "%s/%d.%lu.%u.seg", core->directory, core->pid,
                  (unsigned long)start_ticks, n);
        int fd = mt_sys_open(core->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd >= 0 || errno != EEXIST) return fd >= 0 ? fd : -errno;
    }
    return -EEXIST;
}

/* ftruncate past the file size limit would raise SIGXFSZ. */
static uint64_t file_size_limit(void)
{
    struct rlimit limit;
    if (mt_sys_getrlimit(RLIMIT_FSIZE, &limit) || limit.rlim_cur == RLIM_INFINITY) return UINT64_MAX;
    return limit.rlim_cur & ~(uint64_t)(PAGE - 1);
}

/* Maps as much as can be had, from the wanted size down by halves. */
static void *map_shrinking(void *where, uint64_t *bytes, int flags, int fd)
{
    for (;;) {
        void *at = mt_sys_mmap(where, *bytes, PROT_READ | PROT_WRITE,
                               flags | MAP_NORESERVE | (where ? MAP_FIXED : 0), fd);
        if (at != MAP_FAILED || where || *bytes / 2 < MINIMUM_BYTES) return at;
        *bytes = (*bytes / 2) & ~(uint64_t)(PAGE - 1);
    }
}

static int map_file(struct mt_core *core, void *where, uint64_t start_ticks)
{
    uint64_t bytes = core->mapped_bytes, limit = file_size_limit();
    if (limit < bytes) {
        if (where || limit < MINIMUM_BYTES) return -EFBIG;
        bytes = limit;
    }
    int fd = open_segment_file(core, start_ticks);
    if (fd < 0) return fd;
    int error = 0;
    void *at = MAP_FAILED;
    if (mt_sys_ftruncate(fd, bytes))
        error = -errno;
    else if ((at = map_shrinking(where, &bytes, MAP_SHARED, fd)) == MAP_FAILED)
        error = -errno;
    else if (mt_sys_ftruncate(fd, bytes))
        error = -errno; /* the mapping may have shrunk */
    mt_sys_close(fd);
    if (error) {
        if (at != MAP_FAILED && !where) mt_sys_munmap(at, bytes);
        mt_sys_unlink(core->path);
        return error;
    }
    core->segment = at;
    core->mapped_bytes = bytes;
    core->is_file = true;
    return 0;
}

static int map_anonymous(struct mt_core *core, void *where)
{
    uint64_t bytes = core->mapped_bytes;
    void *at = map_shrinking(where, &bytes, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    if (at == MAP_FAILED) return -errno;
    core->segment = at;
    core->mapped_bytes = bytes;
    core->is_file = false;
    core->path[0] = 0;
    return 0;
}

/* Kernels before 5.14 cannot populate a mapping: give the file its blocks through its name. */
static bool commit_through_file(struct mt_core *core, uint64_t offset, uint64_t bytes)
{
    int fd = mt_sys_open(core->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0);
    if (fd < 0) return false;
    int failed = fallocate(fd, 0, (off_t)offset, (off_t)bytes);
    bool unsupported = failed && (errno == EOPNOTSUPP || errno == ENOSYS);
    mt_sys_close(fd);
    return !failed || unsupported;
}

/* The whole pages of a part stay in the file and leave the process, until they are touched. */
void mt_segment_rest(struct mt_core *core, const void *from, size_t bytes)
{
    int saved = errno;
    uint64_t start = (uint64_t)((const char *)from - (const char *)core->segment);
    uint64_t low = (start + PAGE - 1) & ~(uint64_t)(PAGE - 1), high = (start + bytes) & ~(uint64_t)(PAGE - 1);
    if (core->is_file && low < high && mt_sys_may_call())
        mt_sys_madvise((char *)core->segment + low, high - low, MADV_DONTNEED);
    errno = saved;
}

bool mt_segment_commit(struct mt_core *core, const void *from, size_t bytes)
{
    int saved = errno;
    uint64_t low = (uint64_t)((const char *)from - (const char *)core->segment) & ~(uint64_t)(PAGE - 1);
    uint64_t high = ((uint64_t)((const char *)from - (const char *)core->segment) + bytes + PAGE - 1) &
                    ~(uint64_t)(PAGE - 1);
    bool done = high <= core->mapped_bytes && mt_sys_may_call();
    if (done && core->is_file && mt_sys_madvise((char *)core->segment + low, high - low, MADV_POPULATE_WRITE))
        done = errno == EINVAL || errno == ENOSYS || errno == EPERM ? commit_through_file(core, low, high - low)
                                                                    : false;
    if (!done && low) mt_core_drop(core, MT_DROPPED_MEMORY); /* the counter itself lies in the first part */
    if (done && high - low > PAGE) mt_segment_rest(core, (char *)core->segment + low, high - low);
    errno = saved;
    return done;
}

bool mt_segment_commit_table(struct mt_core *core, enum mt_table table)
{
    struct mt_segment *segment = core->segment;
    if (atomic_load_explicit(&segment->committed_tables, memory_order_acquire) & (1u << table)) return true;
    const struct {
        const void *from;
        size_t bytes;
    } tables[] = {
        [MT_TABLE_EVENTS] = {segment->events, sizeof segment->events},
        [MT_TABLE_ENDED_THREADS] = {segment->ended_threads, sizeof segment->ended_threads},
        [MT_TABLE_OBJECTS] = {segment->object_chunks, sizeof segment->object_chunks},
        [MT_TABLE_ENDED_FEW] = {segment->ended_threads, MT_ENDED_FEW * sizeof segment->ended_threads[0]},
        [MT_TABLE_FRAMES] = {&segment->frames, sizeof segment->frames},
        [MT_TABLE_ORIGINS] = {&segment->origins, offsetof(struct mt_origins, rows[1])},
        [MT_TABLE_MODULES] = {&segment->attribution.modules, offsetof(struct mt_modules, rows)},
    };
    if (!mt_segment_commit(core, tables[table].from, tables[table].bytes)) return false;
    atomic_fetch_or_explicit(&segment->committed_tables, 1u << table, memory_order_release);
    return true;
}

static bool fill_fixed_part(struct mt_core *core, uint64_t start_ticks)
{
    struct mt_segment *segment = core->segment;
    /*
     * Programs without Vulkan need neither heaps nor objects; the first heap and the first object bring the rest.
     * The frame number and the heads of both are read everywhere: a page that is only read can raise SIGBUS too.
     */
    if (!mt_segment_commit(core, segment, offsetof(struct mt_segment, frames) + offsetof(struct mt_frames, ring)))
        return false;
    if (core->options.number[MT_OPT_STACKS] &&
        !mt_segment_commit(core, &segment->attribution.mode, sizeof(uint32_t)))
        return false;
    if (!mt_segment_commit(core, &segment->shards[0], 2 * sizeof(struct mt_shard))) return false;
    memcpy(segment->magic, MT_SEGMENT_MAGIC, sizeof segment->magic);
    segment->layout_version = MT_LAYOUT_VERSION;
    segment->header_bytes = sizeof *segment;
    segment->virtual_bytes = core->mapped_bytes;
    mt_format(segment->build, sizeof segment->build, "%s", core->build);
    segment->process.pid = core->pid;
    segment->process.start_ticks = start_ticks;
    atomic_store_explicit(&segment->used_bytes, (sizeof *segment + PAGE - 1) & ~(uint64_t)(PAGE - 1),
                          memory_order_relaxed);
    memset((void *)segment->shard_free_bits, 0xff, sizeof segment->shard_free_bits);
    atomic_store_explicit(&segment->shard_free_bits[0], ~UINT64_C(1),
                          memory_order_relaxed); /* shard 0 is everybody's */
    atomic_store_explicit(&segment->shard_limit, 1, memory_order_relaxed);
    return true;
}

/* Under a limit of address space the program needs it more than the statistics do. */
static uint64_t fair_bytes(uint64_t wanted, uint64_t limit)
{
    enum { SHARE = 16 };
    if (limit / SHARE >= wanted) return wanted;
    uint64_t fair = limit / SHARE & ~(uint64_t)(PAGE - 1);
    return fair > MINIMUM_BYTES ? fair : MINIMUM_BYTES;
}

static uint64_t address_space_limit(void)
{
    struct rlimit limit;
    return mt_sys_getrlimit(RLIMIT_AS, &limit) || limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : limit.rlim_cur;
}

void mt_segment_shrink(struct mt_core *core, uint64_t limit_bytes)
{
    enum { SPARE = 1 << 20 };
    struct mt_segment *segment = core->segment;
    uint64_t had = core->mapped_bytes, bytes = fair_bytes(had, limit_bytes);
    uint64_t used = atomic_load_explicit(&segment->used_bytes, memory_order_relaxed), least;
    do { /* all that is left is taken, so that nobody takes a part of it while it goes */
        least = (used + SPARE + PAGE - 1) & ~(uint64_t)(PAGE - 1);
        if (bytes < least) bytes = least;
        if (bytes >= had) return;
    } while (!atomic_compare_exchange_weak_explicit(&segment->used_bytes, &used, had, memory_order_relaxed,
                                                    memory_order_relaxed));
    int saved = errno;
    core->mapped_bytes = bytes;
    mt_sys_munmap((char *)segment + bytes, had - bytes);
    errno = saved;
    /* Release: whoever takes a part next knows the new end. */
    atomic_store_explicit(&segment->used_bytes, used, memory_order_release);
}

int mt_segment_create(struct mt_core *core)
{
    void *where = core->segment;
    if (!where) core->mapped_bytes = fair_bytes(core->mapped_bytes, address_space_limit());
    uint64_t start_ticks = read_start_ticks();
    int file_error = core->directory[0] ? map_file(core, where, start_ticks) : -ENOENT;
    if (!file_error && fill_fixed_part(core, start_ticks)) return 0;
    if (!file_error) {
        file_error = -ENOSPC;
        mt_sys_unlink(core->path);
        if (!where) mt_sys_munmap(core->segment, core->mapped_bytes);
        core->segment = where;
    }
    int error = map_anonymous(core, where);
    if (error) return error;
    mt_say(
        "no file for the statistics in %s (%s): memtrack counts in the program's own memory and writes no report",
        core->directory[0] ? core->directory : "any directory", strerrordesc_np(-file_error));
    return fill_fixed_part(core, start_ticks) ? 0 : -ENOMEM;
}
