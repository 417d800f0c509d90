/*
 * The collector's table of processes, its directory scan and its loop. Runs
 * in `memtrack run` and `memtrack collect`, on one thread. It never touches
 * the processes that it watches but for reading /proc.
 */
#include "collector.h"

#include "command.h"
#include "report/writer.h"
#include "session.h"
#include "watched.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BUCKETS = 4096, STEP_MS = 100 };

/* Counts the images of each report name, so that a second one of the same pid gets a name of its own. */
struct image_counts {
    struct image_count {
        uint64_t hash;
        unsigned count;
    } * rows;
    size_t used, room;
};

struct mt_collector {
    char directory[1024];
    int lock;
    struct mt_watched *buckets[BUCKETS];
    size_t watched_count, live_count, given_up_count;
    int32_t awaited_pid;
    bool end_noted;
    int wait_status;
    struct image_counts images;
    struct mt_collector_result result;
};

/* ---- lock ------------------------------------------------------------------------ */

/* A process that asks whether there is a collector holds a shared lock for a moment, hence the attempts. */
static int take_lock(struct mt_collector *collector)
{
    char path[1100];
    snprintf(path, sizeof path, "%s/collector.lock", collector->directory);
    collector->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (collector->lock < 0) return -errno;
    for (int attempt = 0; attempt < 20; attempt++) {
        if (!flock(collector->lock, LOCK_EX | LOCK_NB)) return 0;
        if (errno != EWOULDBLOCK) return -errno;
        struct timespec pause = {0, 5000000};
        nanosleep(&pause, NULL);
    }
    return -EBUSY;
}

static void allow_many_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit)) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

struct mt_collector *mt_collector_open(const char *directory, int *error)
{
    struct mt_collector *collector = calloc(1, sizeof *collector);
    *error = -ENOMEM;
    if (!collector) return NULL;
    snprintf(collector->directory, sizeof collector->directory, "%s", directory);
    *error = take_lock(collector);
    if (!*error) {
        allow_many_descriptors();
        return collector;
    }
    if (collector->lock >= 0) close(collector->lock);
    free(collector);
    return NULL;
}

static void remove_session_directory(const char *directory)
{
    const char *name = strrchr(directory, '/');
    char path[1100];
    if (!name || strncmp(name, "/run.", 5)) return;
    snprintf(path, sizeof path, "%s/collector.lock", directory);
    unlink(path);
    snprintf(path, sizeof path, "%s/libmemtrack.so", directory); /* the link for a library whose path has a space */
    unlink(path);
    rmdir(directory); /* fails where a log or a segment stays, as it must */
}

void mt_collector_close(struct mt_collector *collector)
{
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct mt_watched *watched = collector->buckets[i], *next; watched; watched = next) {
            next = watched->next_in_bucket;
            mt_watched_close(watched);
            free(watched);
        }
    }
    if (!collector->watched_count) remove_session_directory(collector->directory);
    close(collector->lock);
    free(collector->images.rows);
    free(collector);
}

/* ---- images of one name -------------------------------------------------------------- */

static struct image_count *image_row(struct image_count *rows, size_t room, uint64_t hash)
{
    size_t at = hash & (room - 1);
    while (rows[at].hash && rows[at].hash != hash) at = (at + 1) & (room - 1);
    return &rows[at];
}

static bool grow_images(struct image_counts *images)
{
    size_t room = images->room ? images->room * 2 : 256;
    struct image_count *rows = calloc(room, sizeof *rows);
    if (!rows) return false;
    for (size_t i = 0; i < images->room; i++)
        if (images->rows[i].hash) *image_row(rows, room, images->rows[i].hash) = images->rows[i];
    free(images->rows);
    images->rows = rows;
    images->room = room;
    return true;
}

static unsigned count_image(void *context, const char *stem)
{
    struct image_counts *images = &((struct mt_collector *)context)->images;
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a, 64 bit */
    for (const char *at = stem; *at; at++) hash = (hash ^ (unsigned char)*at) * UINT64_C(0x100000001b3);
    hash |= 1;
    if (images->used * 2 >= images->room && !grow_images(images)) return 1;
    struct image_count *row = image_row(images->rows, images->room, hash);
    if (!row->hash) images->used++;
    row->hash = hash;
    return ++row->count;
}

/* ---- the table ------------------------------------------------------------------------- */

static size_t bucket_of(int32_t pid, uint64_t start_ticks)
{
    return ((size_t)pid * 31u + (size_t)start_ticks) % BUCKETS;
}

static struct mt_watched *find(struct mt_collector *collector, const struct mt_segment_name *segment)
{
    struct mt_watched *watched = collector->buckets[bucket_of(segment->pid, segment->start_ticks)];
    while (watched && !(watched->pid == segment->pid && watched->start_ticks == segment->start_ticks &&
                        watched->number == segment->number))
        watched = watched->next_in_bucket;
    return watched;
}

/* Another program image of the same process whose segment was made later. */
static bool newer_image_exists(const struct mt_collector *collector, const struct mt_watched *watched)
{
    const struct mt_watched *other = collector->buckets[bucket_of(watched->pid, watched->start_ticks)];
    for (; other; other = other->next_in_bucket)
        if (other->pid == watched->pid && other->start_ticks == watched->start_ticks &&
            other->number > watched->number && other->file.fd >= 0)
            return true;
    return false;
}

static void insert(struct mt_collector *collector, struct mt_watched *watched)
{
    struct mt_watched **bucket = &collector->buckets[bucket_of(watched->pid, watched->start_ticks)];
    watched->next_in_bucket = *bucket;
    *bucket = watched;
    collector->watched_count++;
}

static bool is_shortage(int error)
{
    return error == -EMFILE || error == -ENFILE || error == -ENOMEM;
}

/* A segment that its process never finished holds nothing; when the process is gone it goes too. */
static void drop_unfinished(const struct mt_segment_name *segment)
{
    int32_t pid = mt_proc_host_pid(segment->pid, segment->start_ticks);
    if (mt_proc_liveness(pid, segment->start_ticks) != MT_ALIVE) unlink(segment->path);
}

static bool meet(const struct mt_segment_name *segment, void *context)
{
    struct mt_collector *collector = context;
    char why[160];
    if (find(collector, segment)) return true;
    struct mt_watched *watched = calloc(1, sizeof *watched);
    if (!watched) return false;
    watched->pid = segment->pid;
    watched->start_ticks = segment->start_ticks;
    watched->number = segment->number;
    watched->pidfd = -1;
    int error = mt_watched_open(watched, segment->path, count_image, collector, why, sizeof why);
    if (error == -EAGAIN || error == -ENOENT || is_shortage(error)) {
        if (error == -EAGAIN) drop_unfinished(segment);
        free(watched);
        return !is_shortage(error);
    }
    if (error) {
        if (!collector->result.unreadable_count++)
            mt_tell("cannot read %s: %s; it stays there", segment->path, why);
        watched->file.fd = -1;
        collector->given_up_count++;
    }
    watched->awaited = segment->pid == collector->awaited_pid;
    insert(collector, watched);
    return true;
}

/* ---- steps ---------------------------------------------------------------------------------- */

/* The reports of the awaited process come first, in their order; the others as they end. */
static void remember_result(struct mt_collector *collector, const struct mt_watched *watched)
{
    struct mt_collector_result *result = &collector->result;
    size_t at = watched->awaited ? result->awaited_count++ : result->final_count;
    result->final_count++;
    if (at >= MT_COLLECTOR_PATHS) return;
    memmove(result->paths[at + 1], result->paths[at], (MT_COLLECTOR_PATHS - 1 - at) * sizeof *result->paths);
    snprintf(result->paths[at], sizeof result->paths[at], "%s.json", watched->stem);
}

static void remove_files(const struct mt_watched *watched)
{
    char note[1300];
    mt_collector_note_path(note, sizeof note, watched->file.path);
    unlink(watched->file.path);
    unlink(note);
}

/* Steps one process; true when its row must go. */
static bool step_one(struct mt_collector *collector, struct mt_watched *watched)
{
    if (watched->file.fd < 0) return false;
    if (watched->awaited && collector->end_noted) {
        watched->end_noted = true;
        watched->wait_status = collector->wait_status;
    }
    enum mt_watched_verdict verdict = mt_watched_step(watched, newer_image_exists(collector, watched));
    if (verdict == MT_WATCHED_RUNS) {
        if (!watched->gone) collector->live_count++;
        return false;
    }
    if (verdict == MT_WATCHED_STUCK) {
        mt_watched_close(watched);
        collector->given_up_count++;
        collector->result.stuck_count++;
        return false;
    }
    remember_result(collector, watched);
    remove_files(watched);
    return true;
}

void mt_collector_step(struct mt_collector *collector)
{
    mt_session_visit(collector->directory, meet, collector);
    collector->live_count = 0;
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct mt_watched **link = &collector->buckets[i]; *link;) {
            struct mt_watched *watched = *link;
            if (!step_one(collector, watched)) {
                link = &watched->next_in_bucket;
                continue;
            }
            *link = watched->next_in_bucket;
            mt_watched_close(watched);
            free(watched);
            collector->watched_count--;
        }
    }
}

void mt_collector_wait(struct mt_collector *collector, int fd, int milliseconds)
{
    struct pollfd fds[65] = {{.fd = fd, .events = POLLIN}};
    nfds_t count = 1;
    for (size_t i = 0; i < BUCKETS && count < 65; i++)
        for (const struct mt_watched *watched = collector->buckets[i]; watched && count < 65;
             watched = watched->next_in_bucket)
            if (watched->pidfd >= 0 && !watched->gone)
                fds[count++] = (struct pollfd){.fd = watched->pidfd, .events = POLLIN};
    poll(fds, count, milliseconds);
}

void mt_collector_await(struct mt_collector *collector, int32_t pid)
{
    collector->awaited_pid = pid;
}

void mt_collector_note_end(struct mt_collector *collector, int wait_status)
{
    collector->end_noted = true;
    collector->wait_status = wait_status;
}

void mt_collector_write_all(struct mt_collector *collector)
{
    struct mt_process_end running = {.state = MT_EXIT_RUNNING};
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct mt_watched *watched = collector->buckets[i]; watched; watched = watched->next_in_bucket)
            if (watched->file.fd >= 0) mt_watched_report(watched, "collector_end", &running);
}

static bool is_idle(const struct mt_collector *collector)
{
    return collector->watched_count == collector->given_up_count;
}

struct search_for_new {
    struct mt_collector *collector;
    bool found;
};

static bool is_known(const struct mt_segment_name *segment, void *context)
{
    struct search_for_new *search = context;
    search->found = !find(search->collector, segment);
    return !search->found;
}

bool mt_collector_is_needed_again(struct mt_collector *collector)
{
    struct search_for_new search = {collector, false};
    flock(collector->lock, LOCK_UN);
    mt_session_visit(collector->directory, is_known, &search);
    return search.found && !flock(collector->lock, LOCK_EX | LOCK_NB);
}

void mt_collector_serve(struct mt_collector *collector, uint64_t linger_ns, volatile bool *stop)
{
    uint64_t busy_ns = mt_now_ns();
    while (!*stop) {
        mt_collector_step(collector);
        uint64_t now = mt_now_ns();
        bool idle = is_idle(collector);
        if (!idle) busy_ns = now;
        if (!idle || now - busy_ns < linger_ns)
            mt_collector_wait(collector, -1, STEP_MS);
        else if (mt_collector_is_needed_again(collector))
            busy_ns = now;
        else
            return;
    }
    mt_collector_step(collector);
    mt_collector_write_all(collector);
}

size_t mt_collector_live_count(const struct mt_collector *collector)
{
    return collector->live_count;
}

const struct mt_collector_result *mt_collector_result(const struct mt_collector *collector)
{
    return &collector->result;
}

void mt_collector_note_path(char *buffer, size_t bytes, const char *segment_path)
{
    snprintf(buffer, bytes, "%s.report", segment_path);
}

/* ---- the status line -------------------------------------------------------------------------- */

static struct mt_watched *shown_process(struct mt_collector *collector)
{
    struct mt_watched *best = NULL;
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct mt_watched *watched = collector->buckets[i]; watched; watched = watched->next_in_bucket) {
            if (watched->file.fd < 0) continue;
            bool larger = best && watched->memory.rss_bytes > best->memory.rss_bytes;
            if (!best || larger) best = watched;
        }
    return best;
}

struct mt_collector_glance mt_collector_look(struct mt_collector *collector)
{
    struct mt_collector_glance look = {.process_count = collector->watched_count - collector->given_up_count};
    struct mt_watched *watched = shown_process(collector);
    struct mt_snapshot snapshot;
    char why[160];
    if (!watched || mt_snapshot_take(&snapshot, &watched->file, why, sizeof why)) return look;
    struct mt_timeline_point point = mt_timeline_point_of(&snapshot, &watched->memory);
    const char *executable = snapshot.segment->process.executable, *slash = strrchr(executable, '/');
    snprintf(look.name, sizeof look.name, "%.63s", slash ? slash + 1 : executable);
    look.known = true;
    look.cpu_bytes = point.cpu_current_bytes;
    look.vulkan_bytes = point.vulkan_current_bytes;
    look.rss_bytes = point.rss_bytes;
    look.frames = point.frame;
    look.allocation_count = point.cpu_allocation_count;
    look.uptime_s = (double)point.t_ns / 1e9;
    mt_snapshot_free(&snapshot);
    return look;
}
