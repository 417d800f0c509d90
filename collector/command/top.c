/*
 * `memtrack top`: a live view of one process. It reads the segment, which
 * costs the program nothing, and draws with plain terminal sequences: the
 * tables of `memtrack report --by`, switched and sorted by keys. --batch prints
 * looks one after the other, for scripts.
 */
#include "command.h"

#include "report/human.h"
#include "report/json_build.h"
#include "report/report_json.h"
#include "report/views.h"
#include "session.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { BATCH_COLUMNS = 130, BATCH_ROWS = 20 };

struct view {
    struct mt_segment_file file;
    struct mt_segment_name segment;
    enum mt_view shown;
    int keys[MT_VIEW_COUNT]; /* the column that each view is sorted by */
    size_t first;            /* the first row on the screen */
    long rows;               /* at most so many; 0: as many as fit */
    double interval_s, elapsed_s;
    uint64_t last_ns;
    json_t *report;                /* of the newest look */
    json_t *counts[MT_VIEW_COUNT]; /* of the look before, for rates */
    int64_t allocations, frames;   /* of the look before */
    bool live_screen;
    size_t lines, lines_left, columns;
};

/* ---- drawing -------------------------------------------------------------------------- */

/* One line, cut at the window's width; nothing below its last line. */
static void put_styled(struct view *view, const char *text, bool is_title)
{
    if (!view->live_screen) {
        puts(text);
        return;
    }
    if (view->lines_left < 1) return;
    view->lines_left--;
    printf("%s%.*s\033[K%s%s", is_title ? "\033[7m" : "", (int)view->columns, text, is_title ? "\033[0m" : "",
           view->lines_left ? "\r\n" : "");
}

static void put_line(struct view *view, const char *text)
{
    put_styled(view, text, false);
}

static void measure_window(struct view *view)
{
    struct winsize size;
    bool known = view->live_screen && !ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_row > 1 &&
                 size.ws_col > 10;
    view->lines = known ? size.ws_row : 24;
    view->columns = known ? size.ws_col : BATCH_COLUMNS;
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
                      ? (double)(mt_json_get_i64(cpu, "allocation_count") - view->allocations) / view->elapsed_s
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
    bool has_untouched = mt_json_get_i64(memory, "untouched_bytes") > 0;
    snprintf(line, sizeof line, "RSS    %s = heap + mappings %s + memtrack %s %s %s",
             size_of(memory, "rss_bytes", a), size_of(memory, "mappings_bytes", b),
             size_of(memory, "memtrack_bytes", c), has_untouched ? "- untouched" : "+ rest",
             size_of(memory, has_untouched ? "untouched_bytes" : "rest_bytes", d));
    put_line(view, line);
}

static void draw_frames(struct view *view, const json_t *report)
{
    const json_t *frames = mt_json_get(report, "frames"), *per_frame = mt_json_get(frames, "allocations_per_frame");
    int64_t count = mt_json_get_i64(frames, "count");
    if (!count) return;
    char line[512], a[MT_HUMAN_BYTES], b[MT_HUMAN_BYTES], c[MT_HUMAN_BYTES], d[MT_HUMAN_BYTES];
    double rate = view->elapsed_s > 0 ? (double)(count - view->frames) / view->elapsed_s : 0;
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

/* ---- the table ---------------------------------------------------------------------------- */

static void draw_bar(struct view *view)
{
    char line[400];
    size_t at = 0;
    for (int i = 0; i < MT_VIEW_COUNT; i++)
        at += (size_t)snprintf(line + at, sizeof line - at, (enum mt_view)i == view->shown ? "[%d %s]" : " %d %s ",
                               i + 1, mt_view_name((enum mt_view)i));
    snprintf(line + at, sizeof line - at, "  s sort: %s",
             mt_view_key_name(view->shown, (size_t)view->keys[view->shown]));
    put_line(view, line);
}

static void draw_rows(struct view *view, const struct mt_view_table *table)
{
    char line[700];
    size_t room = view->live_screen ? view->lines_left : BATCH_ROWS;
    if (view->rows && (size_t)view->rows < (view->live_screen ? room : SIZE_MAX)) room = (size_t)view->rows;
    if (view->first + room > table->count) view->first = table->count > room ? table->count - room : 0;
    for (size_t i = view->first; i < table->count && i < view->first + room; i++) {
        mt_view_row_line(table, i, view->columns, line, sizeof line);
        put_line(view, line);
    }
    if (!table->count) put_line(view, "  (nothing yet)");
}

static void draw_table(struct view *view)
{
    char line[700];
    struct mt_view_before before = {
        view->counts[view->shown], view->elapsed_s,
        (double)(mt_json_get_i64(mt_json_get(view->report, "frames"), "count") - view->frames)};
    struct mt_view_table table = mt_view_make(view->report, view->shown, view->keys[view->shown], &before);
    mt_view_head_line(&table, view->columns, line, sizeof line);
    if (view->live_screen) { /* the title is as wide as the window */
        size_t length = strlen(line);
        while (length < view->columns && length + 1 < sizeof line) line[length++] = ' ';
        line[length] = 0;
    }
    put_styled(view, line, true);
    draw_rows(view, &table);
    mt_view_free(&table);
}

static void draw(struct view *view)
{
    char line[160];
    measure_window(view);
    if (view->live_screen) fputs("\033[H", stdout);
    draw_head(view, view->report);
    draw_devices(view, view->report);
    draw_frames(view, view->report);
    draw_bar(view);
    if (view->live_screen) {
        size_t below = view->lines_left > 1 ? 1 : 0;
        view->lines_left -= below;
        draw_table(view);
        fputs("\033[J", stdout);
        view->lines_left = below;
        snprintf(line, sizeof line, "q quit  Tab, 1-7 view  s, S sort  arrows scroll  +/- interval: %g s",
                 view->interval_s);
        if (below) {
            printf("\033[%zu;1H", view->lines);
            put_line(view, line);
        }
    } else {
        draw_table(view);
    }
    fflush(stdout);
}

/* ---- looking -------------------------------------------------------------------------------- */

/* What the newest look counted becomes what the next one is compared with. */
static void remember(struct view *view)
{
    if (!view->report) return;
    view->allocations = mt_json_get_i64(mt_json_get(view->report, "cpu"), "allocation_count");
    view->frames = mt_json_get_i64(mt_json_get(view->report, "frames"), "count");
    for (int i = 0; i < MT_VIEW_COUNT; i++) {
        struct mt_view_table table = mt_view_make(view->report, (enum mt_view)i, -1, NULL);
        json_decref(view->counts[i]);
        view->counts[i] = mt_view_counts(&table);
        mt_view_free(&table);
    }
    json_decref(view->report);
    view->report = NULL;
}

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
    remember(view);
    view->elapsed_s = view->last_ns ? (double)(snapshot.taken_ns - view->last_ns) / 1e9 : 0;
    view->report = mt_report_json(&snapshot, &context);
    if (view->report) mt_json_make_plain(view->report);
    view->last_ns = snapshot.taken_ns;
    mt_snapshot_free(&snapshot);
    draw(view);
    return context.end.state == MT_EXIT_RUNNING;
}

/* ---- the terminal ------------------------------------------------------------------------------ */

static struct termios terminal_before;
static volatile sig_atomic_t stop_requested;

static void request_stop(int signal_number)
{
    (void)signal_number;
    stop_requested = 1;
}

static void note_resize(int signal_number)
{
    (void)signal_number;
}

static void enter_screen(void)
{
    struct termios mode;
    struct sigaction action = {.sa_handler = request_stop};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    action.sa_handler = note_resize;
    sigaction(SIGWINCH, &action, NULL); /* without SA_RESTART: the wait ends, and all is drawn anew */
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

static void show_view(struct view *view, int number)
{
    view->shown = (enum mt_view)((number + MT_VIEW_COUNT) % MT_VIEW_COUNT);
    view->first = 0;
}

static void change_sort(struct view *view, int step)
{
    int count = (int)mt_view_key_count(view->shown);
    view->keys[view->shown] = (view->keys[view->shown] + step + count) % count;
}

static void scroll(struct view *view, long rows)
{
    view->first = rows < 0 && view->first < (size_t)-rows ? 0 : (size_t)((long)view->first + rows);
}

/* An arrow or page key: ESC [ and a letter, or a number and ~. Returns its length. */
static size_t obey_sequence(struct view *view, const char *keys, size_t count)
{
    if (count < 3 || keys[1] != '[') return 1;
    switch (keys[2]) {
    case 'A': scroll(view, -1); break;
    case 'B': scroll(view, 1); break;
    case 'C': show_view(view, (int)view->shown + 1); break;
    case 'D':
    case 'Z': show_view(view, (int)view->shown - 1); break;
    case '5': scroll(view, -10); break;
    case '6': scroll(view, 10); break;
    default: break;
    }
    return keys[2] >= '0' && keys[2] <= '9' && count > 3 ? 4 : 3;
}

/* Obeys the keys that are there. False on q. */
static bool obey_keys(struct view *view)
{
    char keys[64];
    ssize_t got = read(STDIN_FILENO, keys, sizeof keys);
    size_t count = got > 0 ? (size_t)got : 0;
    for (size_t i = 0; i < count; i++) {
        char key = keys[i];
        if (key == 'q' || key == 'Q') return false;
        if (key == 's') change_sort(view, 1);
        if (key == 'S') change_sort(view, -1);
        if (key == '\t') show_view(view, (int)view->shown + 1);
        if (key >= '1' && key < '1' + MT_VIEW_COUNT) show_view(view, key - '1');
        if (key == '+' && view->interval_s > 0.2) view->interval_s /= 2;
        if (key == '-' && view->interval_s < 60) view->interval_s *= 2;
        if (key == 'j') scroll(view, 1);
        if (key == 'k') scroll(view, -1);
        if (key == '\033') i += obey_sequence(view, keys + i, count - i) - 1;
    }
    return true;
}

/* Waits until the next look is due and obeys keys meanwhile; a new window size draws again. False to end. */
static bool wait_and_obey(struct view *view)
{
    uint64_t due = view->last_ns + (uint64_t)(view->interval_s * 1e9);
    for (;;) {
        uint64_t now = mt_now_ns();
        struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
        int ready = now < due ? poll(&input, 1, (int)((due - now) / 1000000) + 1) : 0;
        if (stop_requested) return false;
        if (!ready) return true;
        if (ready > 0 && ((input.revents & (POLLHUP | POLLERR)) || !obey_keys(view))) return false;
        due = view->last_ns + (uint64_t)(view->interval_s * 1e9);
        draw(view);
    }
}

static void watch(struct view *view)
{
    enter_screen();
    bool running = true;
    while (running && !stop_requested) {
        running = look(view);
        if (running && !wait_and_obey(view)) break;
    }
    leave_screen();
    if (!running) mt_tell("process %d has ended", (int)view->segment.pid);
}

/* ---- arguments ------------------------------------------------------------------------------------ */

struct top_arguments {
    long pid, looks; /* 0: until the process ends */
    bool is_batch;
    const char *sort;
};

static int parse_interval(const char *value, struct view *view)
{
    char *end = NULL;
    view->interval_s = value ? strtod(value, &end) : 0;
    if (!value || *end || !(view->interval_s >= 0.1 && view->interval_s <= 3600))
        return mt_usage_error("top", "--interval takes seconds from 0.1 to 3600");
    return 0;
}

/* One argument at argv[*at]; moves *at over a value of its own. */
static int parse_one(int argc, char **argv, int *at, struct view *view, struct top_arguments *arguments)
{
    const char *argument = argv[*at], *value;
    if (!strcmp(argument, "--once")) {
        arguments->is_batch = true;
        arguments->looks = 1;
    } else if (!strcmp(argument, "--batch") || !strcmp(argument, "-b")) {
        arguments->is_batch = true;
    } else if (mt_option_argument(argc, argv, at, "-n", &value)) {
        if (!mt_parse_number(value, 1, 1000000000, &arguments->looks))
            return mt_usage_error("top", "-n takes the number of looks");
    } else if (mt_option_argument(argc, argv, at, "--interval", &value)) {
        return parse_interval(value, view);
    } else if (mt_option_argument(argc, argv, at, "--top", &value)) {
        if (!mt_parse_number(value, 1, 1000000, &view->rows))
            return mt_usage_error("top", "--top takes a number from 1 to 1000000");
    } else if (mt_option_argument(argc, argv, at, "--by", &value)) {
        view->shown = mt_view_of(value);
        if (view->shown == MT_VIEW_COUNT) return mt_usage_error("top", "--by takes %s", mt_view_names());
    } else if (mt_option_argument(argc, argv, at, "--sort", &arguments->sort)) {
        if (!arguments->sort) return mt_usage_error("top", "--sort needs a key");
    } else if (arguments->pid || !mt_parse_number(argument, 1, INT32_MAX, &arguments->pid)) {
        return mt_usage_error("top", "expected one process id, not %s", argument);
    }
    return 0;
}

/* The key is that of the view that is shown first, and of all others that have it. */
static int apply_sort(struct view *view, const char *sort)
{
    char keys[200];
    for (int i = 0; i < MT_VIEW_COUNT; i++) {
        int key = sort ? mt_view_key((enum mt_view)i, sort) : -1;
        view->keys[i] = key >= 0 ? key : mt_view_key((enum mt_view)i, NULL);
    }
    if (sort && mt_view_key(view->shown, sort) < 0)
        return mt_usage_error("top", "--sort of %s takes %s", mt_view_name(view->shown),
                              mt_view_keys(view->shown, keys, sizeof keys));
    return 0;
}

static int parse(int argc, char **argv, struct view *view, struct top_arguments *arguments)
{
    for (int i = 1; i < argc; i++) {
        int status = parse_one(argc, argv, &i, view, arguments);
        if (status) return status;
    }
    return apply_sort(view, arguments->sort);
}

static void print_looks(struct view *view, long looks)
{
    for (long i = 0; !looks || i < looks; i++) {
        if (i) {
            struct timespec pause = {(time_t)view->interval_s,
                                     (long)((view->interval_s - (double)(time_t)view->interval_s) * 1e9)};
            nanosleep(&pause, NULL);
            putchar('\n');
        }
        if (!look(view)) return;
    }
}

static int open_segment(struct view *view, long pid)
{
    char why[160];
    if (!mt_session_find((int32_t)pid, &view->segment)) {
        if (pid)
            mt_tell("process %ld does not run under memtrack", pid);
        else
            mt_tell("no process runs under memtrack");
        return MT_EXIT_FAILURE;
    }
    if (mt_segment_file_open(&view->file, view->segment.path, why, sizeof why)) {
        mt_tell("cannot read %s: %s", view->segment.path, why);
        return MT_EXIT_FAILURE;
    }
    return 0;
}

int mt_command_top(int argc, char **argv)
{
    struct view view = {.interval_s = 1, .shown = MT_VIEW_THREAD};
    struct top_arguments arguments = {0};
    int status = parse(argc, argv, &view, &arguments);
    if (!status) status = open_segment(&view, arguments.pid);
    if (status) return status;
    view.live_screen = !arguments.is_batch && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    if (view.live_screen)
        watch(&view);
    else
        print_looks(&view, arguments.is_batch ? arguments.looks : 1);
    remember(&view);
    for (int i = 0; i < MT_VIEW_COUNT; i++) json_decref(view.counts[i]);
    mt_segment_file_close(&view.file);
    return 0;
}
