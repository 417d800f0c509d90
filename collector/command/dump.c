/*
 * `memtrack dump PID`: asks for a report now. The wish is a counter in the
 * segment; the collector that sees it writes the report. Where no collector is
 * at work, the command writes the report itself.
 */
#include "command.h"

#include "collector.h"
#include "report/segment_file.h"
#include "session.h"
#include "watched.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* Adds one to dump_requested through a shared mapping of its page; *wish is the new value. 0 or -errno. */
static int ask(const char *path, uint64_t *wish)
{
    size_t at = offsetof(struct mt_segment, globals) + offsetof(struct mt_globals, dump_requested);
    size_t page = at & ~(size_t)4095;
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return -errno;
    char *mapping = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)page);
    int error = mapping == MAP_FAILED ? -errno : 0;
    close(fd);
    if (error) return error;
    _Atomic uint64_t *counter = (_Atomic uint64_t *)(void *)(mapping + (at - page));
    *wish = atomic_fetch_add_explicit(counter, 1, memory_order_relaxed) + 1;
    munmap(mapping, 4096);
    return 0;
}

/* A collector holds an exclusive lock on DIRECTORY/collector.lock for its whole life. */
static bool has_collector(const char *segment_path)
{
    char path[1300];
    snprintf(path, sizeof path, "%s", segment_path);
    char *slash = strrchr(path, '/');
    if (!slash) return false;
    snprintf(slash, sizeof path - (size_t)(slash - path), "/collector.lock");
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return false;
    bool held = flock(fd, LOCK_SH | LOCK_NB) != 0;
    close(fd);
    return held;
}

static bool wait_for_answer(const struct mt_segment_file *file, uint64_t wish, double seconds)
{
    uint64_t limit = mt_now_ns() + (uint64_t)(seconds * 1e9);
    struct mt_segment_glance glance;
    do {
        if (mt_segment_file_glance(file, &glance)) return false;
        if (glance.dump_done >= wish) return true;
        struct timespec pause = {0, 20000000};
        nanosleep(&pause, NULL);
    } while (mt_now_ns() < limit);
    return false;
}

static bool print_noted_path(const char *segment_path)
{
    char path[1400], text[1500];
    mt_collector_note_path(path, sizeof path, segment_path);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t length = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (fd >= 0) close(fd);
    if (length <= 0) return false;
    text[length] = 0;
    fputs(text, stdout);
    return true;
}

static unsigned first_image(void *context, const char *stem)
{
    (void)context;
    (void)stem;
    return 1;
}

static int write_myself(const struct mt_segment_name *segment)
{
    struct mt_watched watched = {.pid = segment->pid, .start_ticks = segment->start_ticks, .pidfd = -1};
    struct mt_process_end running = {.state = MT_EXIT_RUNNING};
    const char *slash = strrchr(segment->path, '/');
    char why[160];
    int error = mt_watched_open(&watched, segment->path, first_image, NULL, why, sizeof why);
    if (error) {
        mt_tell("cannot read %s: %s", segment->path, why);
        return MT_EXIT_FAILURE;
    }
    watched.lines_started = true; /* goes on in the timeline that is there */
    mt_proc_read_memory(segment->host_pid, &watched.memory);
    mt_proc_read_mappings(segment->host_pid, slash ? slash + 1 : segment->path, &watched.mappings);
    error = mt_watched_report(&watched, "dump", &running);
    if (!error) printf("%s.json\n", watched.stem);
    mt_watched_close(&watched);
    return error ? MT_EXIT_FAILURE : 0;
}

static int ask_collector(const struct mt_segment_name *segment, double seconds)
{
    struct mt_segment_file file;
    char why[160];
    uint64_t wish = 0;
    int error = mt_segment_file_open(&file, segment->path, why, sizeof why);
    if (error) {
        mt_tell("cannot read %s: %s", segment->path, why);
        return MT_EXIT_FAILURE;
    }
    error = ask(segment->path, &wish);
    bool done = !error && wait_for_answer(&file, wish, seconds);
    mt_segment_file_close(&file);
    if (error)
        mt_tell("cannot ask through %s: %s", segment->path, strerror(-error));
    else if (!done)
        mt_tell("the collector of process %d did not answer in %g s", (int)segment->pid, seconds);
    else if (!print_noted_path(segment->path))
        mt_tell("the report of process %d could not be written", (int)segment->pid);
    else
        return 0;
    return MT_EXIT_FAILURE;
}

int mt_command_dump(int argc, char **argv)
{
    long pid = 0, seconds = 10;
    for (int i = 1; i < argc; i++) {
        const char *value;
        if (mt_option_argument(argc, argv, &i, "--timeout", &value)) {
            if (!mt_parse_number(value, 1, 3600, &seconds))
                return mt_usage_error("dump", "--timeout takes whole seconds from 1 to 3600");
        } else if (pid || !mt_parse_number(argv[i], 1, INT32_MAX, &pid))
            return mt_usage_error("dump", "expected one process id, not %s", argv[i]);
    }
    if (!pid) return mt_usage_error("dump", "which process? give its id");
    struct mt_segment_name segment;
    if (!mt_session_find((int32_t)pid, &segment)) {
        mt_tell("process %ld does not run under memtrack", pid);
        return MT_EXIT_FAILURE;
    }
    return has_collector(segment.path) ? ask_collector(&segment, (double)seconds) : write_myself(&segment);
}
