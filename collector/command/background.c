/*
 * Collectors in the background: of processes that outlive the program that
 * `memtrack run` started, and of sessions whose collector is gone. Each is a
 * process in a session of its own without a terminal; SIGTERM ends it after
 * last reports.
 */
#include "background.h"

#include "command.h"
#include "segment.h"
#include "session.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile bool stop_requested;

static void request_stop(int signal_number)
{
    (void)signal_number;
    stop_requested = true;
}

static void set_signals(void)
{
    sigset_t none;
    for (int number = 1; number < SIGRTMIN; number++) signal(number, SIG_DFL);
    signal(SIGHUP, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGQUIT, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    signal(SIGTERM, request_stop);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void leave_terminal(const char *directory)
{
    char log[1100];
    setsid();
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd < 3 && null >= 0; fd++) dup2(null, fd);
    if (chdir("/")) _exit(MT_EXIT_FAILURE);
    snprintf(log, sizeof log, "%s/collector.log", directory);
    mt_log_to(log);
}

/* Twice fork: the parent has no child left that it would have to wait for. 1 in the new process, 0 in this one, or
 * -errno. */
static int detach(const char *directory)
{
    fflush(NULL);
    pid_t first = fork();
    if (first < 0) return -errno;
    if (first) {
        int status;
        while (waitpid(first, &status, 0) < 0 && errno == EINTR) {
        }
        return 0;
    }
    leave_terminal(directory);
    set_signals();
    pid_t second = fork();
    if (second) _exit(second < 0);
    return 1;
}

static void serve(struct mt_collector *collector, uint64_t linger_ns)
{
    mt_collector_serve(collector, linger_ns, &stop_requested);
    mt_collector_close(collector);
    _exit(0);
}

int mt_background_serve(struct mt_collector *collector, const char *directory, uint64_t linger_ns)
{
    int result = detach(directory);
    if (result > 0) serve(collector, linger_ns);
    return result;
}

/* ---- sessions without a collector ------------------------------------------------------ */

/* A session whose last reports cannot be written is marked, so that it is not tried again by every start. */
static void mark_path(char *buffer, size_t bytes, const char *directory)
{
    snprintf(buffer, bytes, "%s/kept", directory);
}

static bool note_segment(const struct mt_segment_name *segment, void *context)
{
    (void)segment;
    *(bool *)context = true;
    return false;
}

/* Not one that `memtrack run` has just made: its first segment comes after its lock. */
static bool is_established(const char *directory)
{
    enum { OLD_S = 10 };
    struct stat info;
    bool has_segment = false;
    mt_session_visit(directory, note_segment, &has_segment);
    return has_segment || (!stat(directory, &info) && time(NULL) - info.st_mtime > OLD_S);
}

static bool is_abandoned(const char *directory)
{
    char path[1400];
    mark_path(path, sizeof path, directory);
    if (!access(path, F_OK) || !is_established(directory)) return false;
    snprintf(path, sizeof path, "%s/collector.lock", directory);
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return false; /* being made or being removed */
    bool is_free = !flock(fd, LOCK_EX | LOCK_NB);
    close(fd);
    return is_free;
}

static void adopt(const char *directory)
{
    char path[1400];
    int error;
    if (detach(directory) <= 0) return;
    struct mt_collector *collector = mt_collector_open(directory, &error);
    if (!collector) _exit(0);
    mt_collector_serve(collector, 0, &stop_requested);
    if (mt_collector_result(collector)->stuck_count || mt_collector_result(collector)->unreadable_count) {
        mark_path(path, sizeof path, directory);
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd >= 0) close(fd);
    }
    mt_collector_close(collector);
    _exit(0);
}

void mt_background_adopt(void)
{
    char base[1024], directory[1024 + 256];
    if (mt_segment_base_directory(base, sizeof base)) return;
    DIR *folder = opendir(base);
    if (!folder) return;
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (strncmp(entry->d_name, "run.", 4)) continue;
        snprintf(directory, sizeof directory, "%s/%s", base, entry->d_name);
        if (is_abandoned(directory)) adopt(directory);
    }
    closedir(folder);
}
