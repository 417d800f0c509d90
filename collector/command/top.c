/*
 * `memtrack top`: a live view of one process. It reads the segment, which
 * costs the program nothing, and draws with plain terminal sequences. Where
 * stdout is no terminal it prints one look and ends.
 */
#include "command.h"

#include "report/human.h"
#include "report/json_build.h"
#include "report/report_json.h"
#include "session.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

enum order { BY_LIVE, BY_TOTAL, BY_RATE, BY_COUNT, ORDER_COUNT };
static const char *const order_names[ORDER_COUNT] = {"live bytes", "total bytes", "allocations/s", "allocations"};

enum { MAX_THREADS = MT_SHARD_MAX + MT_THREAD_MAX };

/* Allocation counts of the last look, to make rates of them; found by tid and name. */
struct seen_thread {
    int64_t tid, allocation_count;
    char name[MT_NAME_BYTES];
};

struct view {
    struct mt_segment_file file;
    struct mt_segment_name segment;
    enum order order;
    double interval_s, elapsed_s;
    uint64_t last_ns;
    int64_t last_allocations, last_frames;
    struct seen_thread *seen;
    size_t seen_count;
    bool live_screen;
    size_t lines, lines_left, columns;
};

struct thread_line {
    const json_t *row;
    double rate;
    int64_t key;
};

/* ---- drawing -------------------------------------------------------------------------- */

/* One line, cut at the window's width; nothing below its last line. */
static void put_line(struct view *view, const char *text)
{
    if (!view->live_screen) {
        puts(text);
        return;
    }
    if (view->lines_left < 1) return;
    view->lines_left--;
    printf("%.*s\033[K%s", (int)view->columns, text, view->lines_left ? "\r\n" : "");
}

static void measure_window(struct view *view)
{
    struct winsize size;
    bool known = view->live_screen && !ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_row > 4 &&
                 size.ws_col > 20;
    view->lines = known ? size.ws_row : 24;
    view->columns = known ? size.ws_col : 200;
    view->lines_left = view->lines;
}

static const char *size_of(const json_t *object, const char *key, char buffer[MT_HUMAN_BYTES])
{
    const json_t *value = mt_json_get(object, key);
    return !value || json_is_null(value) ? "-" : mt_human_bytes(buffer, mt_json_get_i64(object, key));
}

/* The first look has nothing to compare with. */
static const char *rate_text(const struct view *view, double rate, char buffer[MT_HUMAN_BYTES])
{
    return view->elapsed_s > 0 ? mt_human_count(buffer, (int64_t)rate) : "-";
}

static void draw_head(struct view *view, const json_t *report)
{
    const json_t *process = mt_json_get(report, "process"), *cpu = mt_json_get(report, "cpu");
    const json_t *memory = mt_json_get(cpu, "memory");
    char line[512], a[MT_HUMAN_BYTES], b[MT_HUMAN_BYTES], c[MT_HUMAN_BYTES], d[MT_HUMAN_BYTES];
    const char *path = mt_json_get_text(process, "executable"), *slash = strrchr(path, '/');
    double rate = view->elapsed_s > 0
                      ? (double)(mt_json_get_i64(cpu, "allocation_count") - view->last_allocations) /
                            view->elapsed_s
                      : 0;
    snprintf(line, sizeof line, "memtrack top - %s (pid %" PRId64 "), %s, %s", slash ? slash + 1 : path,
             mt_json_get_i64(process, "pid"), mt_json_get_text(mt_json_get(process, "exit"), "state"),
             mt_human_seconds(a, mt_json_get_real(process, "uptime_s")));
    put_line(view, line);
    snprintf(line, sizeof line, "heap   %s live in %s blocks, peak %s", size_of(cpu, "current_bytes", a),
             mt_human_count(b, mt_json_get_i64(cpu, "current_count")), size_of(cpu, "peak_bytes", c));
    put_line(view, line);
    snprintf(line, sizeof line, "calls  %s allocations (%s/s), %s frees, %s asked for",
             mt_human_count(a, mt_json_get_i64(cpu, "allocation_count")), rate_text(view, rate, b),
             mt_human_count(c, mt_json_get_i64(cpu, "free_count")), size_of(cpu, "total_bytes", d));
    put_line(view, line);
    snprintf(line, sizeof line, "RSS    %s = heap + mappings %s + memtrack %s + rest %s",
             size_of(memory, "rss_bytes", a), size_of(memory, "mappings_bytes", b),
             size_of(memory, "memtrack_bytes", c), size_of(memory, "rest_bytes", d));
    put_line(view, line);
}

static void draw_frames(struct view *view, const json_t *report)
{
    const json_t *frames = mt_json_get(report, "frames"), *per_frame = mt_json_get(frames, "allocations_per_frame");
    int64_t count = mt_json_get_i64(frames, "count");
    if (!count) return;
    char line[512], a[MT_HUMAN_BYTES], b[MT_HUMAN_BYTES], c[MT_HUMAN_BYTES], d[MT_HUMAN_BYTES];
    double rate = view->elapsed_s > 0 ? (double)(count - view->last_frames) / view->elapsed_s : 0;
    snprintf(line, sizeof line, "frames %s (%s), %.1f/s, p50 %s; allocations/frame p50 %s p99 %s",
             mt_human_count(a, count), mt_json_get_text(frames, "source"), rate,
             mt_human_ns(b, mt_json_get_i64(mt_json_get(frames, "duration_ns"), "p50")),
             mt_human_count(c, mt_json_get_i64(per_frame, "p50")),
             mt_human_count(d, mt_json_get_i64(per_frame, "p99")));
    put_line(view, line);
}

static void draw_device_heap(struct view *view, const json_t *device, const json_t *heap)
{
    char line[512], a[MT_HUMAN_BYTES], b[MT_HUMAN_BYTES], c[MT_HUMAN_BYTES], d[MT_HUMAN_BYTES];
    if (!mt_json_get_i64(heap, "allocation_count")) return;
    snprintf(line, sizeof line, "GPU    heap %" PRId64 ": %s in %s, peak %s, budget %s  %s",
             mt_json_get_i64(heap, "index"), size_of(heap, "current_bytes", a),
             mt_human_count(b, mt_json_get_i64(heap, "current_count")), size_of(heap, "peak_bytes", c),
             size_of(heap, "budget_bytes", d), mt_json_get_text(device, "name"));
    put_line(view, line);
}

static void draw_devices(struct view *view, const json_t *report)
{
    size_t i, k;
    const json_t *device, *heap;
    json_array_foreach((json_t *)mt_json_get(mt_json_get(report, "vulkan"), "devices"), i, device)
        json_array_foreach((json_t *)mt_json_get(device, "heaps"), k, heap) draw_device_heap(view, device, heap);
}

static void draw_tags(struct view *view, const json_t *report)
{
    const json_t *tags = mt_json_get(mt_json_get(report, "cpu"), "tags"), *tag;
    size_t index;
    if (json_array_size(tags) < 2) return;
    json_array_foreach((json_t *)tags, index, tag)
    {
        char line[512], a[MT_HUMAN_BYTES], b[MT_HUMAN_BYTES];
        if (!mt_json_get_i64(tag, "allocation_count")) continue;
        snprintf(line, sizeof line, "tag    %-20s %11s in %s", mt_json_get_text(tag, "tag"),
                 size_of(tag, "current_bytes", a), mt_human_count(b, mt_json_get_i64(tag, "current_count")));
        put_line(view, line);
    }
}

/* ---- threads ------------------------------------------------------------------------------ */

static double rate_of(const struct view *view, const json_t *row)
{
    int64_t tid = mt_json_get_i64(row, "tid");
    const char *name = mt_json_get_text(row, "name");
    if (view->elapsed_s <= 0) return 0;
    for (size_t i = 0; i < view->seen_count; i++)
        if (view->seen[i].tid == tid && !strcmp(view->seen[i].name, name)) {
            int64_t more = mt_json_get_i64(row, "allocation_count") - view->seen[i].allocation_count;
            return more > 0 ? (double)more / view->elapsed_s : 0;
        }
    return 0;
}

static int64_t key_of(const struct view *view, const json_t *row, double rate)
{
    switch (view->order) {
    case BY_TOTAL: return mt_json_get_i64(row, "total_bytes");
    case BY_RATE: return (int64_t)rate;
    case BY_COUNT: return mt_json_get_i64(row, "allocation_count");
    case BY_LIVE:
    case ORDER_COUNT: break;
    }
    return mt_json_get_i64(row, "current_bytes");
}

static int larger_first(const void *a, const void *b)
{
    const struct thread_line *left = a, *right = b;
    return left->key < right->key ? 1 : left->key > right->key ? -1 : 0;
}

static void remember_threads(struct view *view, const json_t *threads)
{
    size_t index;
    const json_t *row;
    view->seen_count = 0;
    json_array_foreach((json_t *)threads, index, row)
    {
        if (view->seen_count == MAX_THREADS) break;
        struct seen_thread *seen = &view->seen[view->seen_count++];
        seen->tid = mt_json_get_i64(row, "tid");
        seen->allocation_count = mt_json_get_i64(row, "allocation_count");
        snprintf(seen->name, sizeof seen->name, "%.63s", mt_json_get_text(row, "name"));
    }
}

static void draw_thread(struct view *view, const struct thread_line *thread)
{
    char line[512], name[80], a[MT_HUMAN_BYTES], b[MT_HUMAN_BYTES], c[MT_HUMAN_BYTES], d[MT_HUMAN_BYTES];
    int64_t threads = mt_json_get_i64(thread->row, "thread_count");
    snprintf(name, sizeof name, threads > 1 ? "%.40s x%" PRId64 : "%.40s", mt_json_get_text(thread->row, "name"),
             threads);
    snprintf(line, sizeof line, "%8" PRId64 "  %-22.22s %-6s %12s %12s %14s %14s",
             mt_json_get_i64(thread->row, "tid"), name, mt_json_get_text(thread->row, "state"),
             mt_human_bytes(a, mt_json_get_i64(thread->row, "current_bytes")),
             mt_human_bytes(b, mt_json_get_i64(thread->row, "total_bytes")), rate_text(view, thread->rate, c),
             mt_human_count(d, mt_json_get_i64(thread->row, "allocation_count")));
    put_line(view, line);
}

static void draw_threads(struct view *view, const json_t *report)
{
    const json_t *threads = mt_json_get(mt_json_get(report, "cpu"), "threads");
    size_t count = json_array_size(threads);
    struct thread_line *lines = calloc(count + 1, sizeof *lines);
    char title[256];
    for (size_t i = 0; lines && i < count; i++) {
        lines[i].row = json_array_get(threads, i);
        lines[i].rate = rate_of(view, lines[i].row);
        lines[i].key = key_of(view, lines[i].row, lines[i].rate);
    }
    if (lines && count) qsort(lines, count, sizeof *lines, larger_first);
    put_line(view, "");
    snprintf(title, sizeof title, "%8s  %-22s %-6s %12s %12s %14s %14s", "tid", "thread", "state", "net live",
             "total", "allocations/s", "allocations");
    put_line(view, title);
    for (size_t i = 0; lines && i < count; i++) draw_thread(view, &lines[i]);
    free(lines);
    remember_threads(view, threads);
}

static void draw(struct view *view, const json_t *report)
{
    char line[160];
    measure_window(view);
    if (view->live_screen) fputs("\033[H", stdout);
    draw_head(view, report);
    draw_devices(view, report);
    draw_frames(view, report);
    draw_tags(view, report);
    if (view->live_screen) {
        snprintf(line, sizeof line, "q quit   s order: %s   +/- interval: %g s", order_names[view->order],
                 view->interval_s);
        put_line(view, line);
    }
    draw_threads(view, report);
    if (view->live_screen) fputs("\033[J", stdout);
    fflush(stdout);
}

/* ---- looking -------------------------------------------------------------------------------- */

/* Takes one look; false when the segment cannot be read any more or the process has ended. */
static bool look(struct view *view)
{
    struct mt_snapshot snapshot;
    struct mt_segment_glance glance;
    struct mt_proc_memory memory = {0};
    char why[160];
    if (mt_segment_file_glance(&view->file, &glance)) return false;
    if (mt_snapshot_take(&snapshot, &view->file, why, sizeof why)) return false;
    enum mt_liveness liveness = mt_proc_liveness(view->segment.host_pid, view->segment.start_ticks);
    struct mt_report_context context = {
        .end = mt_process_end_of(&glance, liveness),
        .memory = &memory,
        .in_container = view->segment.pid != view->segment.host_pid,
        .segment_path = view->segment.path,
        .reason = "request",
        .sequence = 1,
    };
    if (liveness == MT_ALIVE) mt_proc_read_memory(view->segment.host_pid, &memory);
    view->elapsed_s = view->last_ns ? (double)(snapshot.taken_ns - view->last_ns) / 1e9 : 0;
    json_t *report = mt_report_json(&snapshot, &context);
    draw(view, report);
    view->last_ns = snapshot.taken_ns;
    view->last_allocations = mt_json_get_i64(mt_json_get(report, "cpu"), "allocation_count");
    view->last_frames = mt_json_get_i64(mt_json_get(report, "frames"), "count");
    bool running = context.end.state == MT_EXIT_RUNNING;
    json_decref(report);
    mt_snapshot_free(&snapshot);
    return running;
}

/* ---- the terminal ------------------------------------------------------------------------------ */

static struct termios terminal_before;
static volatile sig_atomic_t stop_requested;

static void request_stop(int signal_number)
{
    (void)signal_number;
    stop_requested = 1;
}

static void enter_screen(void)
{
    struct termios mode;
    struct sigaction action = {.sa_handler = request_stop};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    tcgetattr(STDIN_FILENO, &terminal_before);
    mode = terminal_before;
    mode.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    mode.c_cc[VMIN] = 0;
    mode.c_cc[VTIME] = 0;
    tcsetattr(STDIN_FILENO, TCSANOW, &mode);
    fputs("\033[?1049h\033[?25l\033[2J", stdout); /* the other screen, no cursor */
}

static void leave_screen(void)
{
    fputs("\033[?25h\033[?1049l", stdout);
    fflush(stdout);
    tcsetattr(STDIN_FILENO, TCSANOW, &terminal_before);
}

/* Obeys the keys that are there. False on q or when the terminal is gone. */
static bool obey_keys(struct view *view)
{
    char keys[16];
    ssize_t count = read(STDIN_FILENO, keys, sizeof keys);
    for (ssize_t i = 0; i < count; i++) {
        if (keys[i] == 'q' || keys[i] == 'Q') return false;
        if (keys[i] == 's' || keys[i] == 'S') view->order = (enum order)((view->order + 1) % ORDER_COUNT);
        if (keys[i] == '+' && view->interval_s > 0.2) view->interval_s /= 2;
        if (keys[i] == '-' && view->interval_s < 60) view->interval_s *= 2;
    }
    return true;
}

static void watch(struct view *view)
{
    enter_screen();
    bool running = true;
    while (running && !stop_requested) {
        running = look(view);
        struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
        int ready = running ? poll(&input, 1, (int)(view->interval_s * 1000)) : 0;
        if (ready > 0 && ((input.revents & (POLLHUP | POLLERR)) || !obey_keys(view))) break;
    }
    leave_screen();
    if (!running) mt_tell("process %d has ended", (int)view->segment.pid);
}

/* ---- arguments ------------------------------------------------------------------------------------ */

static int parse(int argc, char **argv, struct view *view, long *pid, bool *once)
{
    for (int i = 1; i < argc; i++) {
        const char *value;
        if (!strcmp(argv[i], "--once"))
            *once = true;
        else if (mt_option_argument(argc, argv, &i, "--interval", &value)) {
            char *end = NULL;
            view->interval_s = value ? strtod(value, &end) : 0;
            if (!value || *end || !(view->interval_s >= 0.1 && view->interval_s <= 3600))
                return mt_usage_error("top", "--interval takes seconds from 0.1 to 3600");
        } else if (*pid || !mt_parse_number(argv[i], 1, INT32_MAX, pid))
            return mt_usage_error("top", "expected one process id, not %s", argv[i]);
    }
    return 0;
}

int mt_command_top(int argc, char **argv)
{
    struct view view = {.interval_s = 1};
    long pid = 0;
    bool once = false;
    char why[160];
    int status = parse(argc, argv, &view, &pid, &once);
    if (status) return status;
    if (!mt_session_find((int32_t)pid, &view.segment)) {
        if (pid)
            mt_tell("process %ld does not run under memtrack", pid);
        else
            mt_tell("no process runs under memtrack");
        return MT_EXIT_FAILURE;
    }
    if (mt_segment_file_open(&view.file, view.segment.path, why, sizeof why)) {
        mt_tell("cannot read %s: %s", view.segment.path, why);
        return MT_EXIT_FAILURE;
    }
    view.seen = calloc(MAX_THREADS, sizeof *view.seen);
    if (!view.seen) return MT_EXIT_FAILURE;
    view.live_screen = !once && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    if (view.live_screen)
        watch(&view);
    else
        look(&view);
    free(view.seen);
    mt_segment_file_close(&view.file);
    return 0;
}
