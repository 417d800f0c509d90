/*
 * Watches one process for the collector: samples the kernel's numbers, writes
 * reports when they are due or asked for, and decides how the process ended.
 */
#include "watched.h"

#include "collector.h"
#include "command.h"
#include "report/json_build.h"
#include "report/stacks_json.h"
#include "report/vulkan_advice.h"
#include "report/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const uint64_t SECOND_NS = UINT64_C(1000000000);
/* How old the last known RSS of a process can be when it ends. */
static const uint64_t SAMPLE_EVERY_NS = UINT64_C(250000000);
/* Budgets of tags need all of the segment. */
static const uint64_t TAGS_EVERY_NS = UINT64_C(1000000000);
/* The kernel walks the whole page table for smaps under the mapping lock: not more often than this. */
static const uint64_t MAPPINGS_EVERY_NS = UINT64_C(30000000000);
/* An exec that failed goes back to RUNNING within microseconds; after this time it has succeeded. */
static const uint64_t EXEC_SETTLED_NS = UINT64_C(300000000);

/* The age at which a program's stacks are looked at first; then at double the age each time, until reports do it.
 */
static const uint64_t LOOK_AHEAD_NS = UINT64_C(200000000);
/* Other processes wait for the collector meanwhile. */
static const uint64_t LOOK_AHEAD_WORK_NS = UINT64_C(50000000);

static uint64_t option_seconds(const struct mt_snapshot *snapshot, const char *name, double fallback)
{
    char text[32];
    double seconds = mt_snapshot_option(snapshot, name, text, sizeof text) ? strtod(text, NULL) : 0;
    if (!(seconds >= 0.1 && seconds <= 86400)) seconds = fallback;
    return (uint64_t)(seconds * 1e9);
}

static bool option_is_on(const struct mt_snapshot *snapshot, const char *name)
{
    char text[32];
    mt_snapshot_option(snapshot, name, text, sizeof text);
    return !strcmp(text, "1") || !strcmp(text, "on") || !strcmp(text, "yes") || !strcmp(text, "true");
}

static void choose_stem(struct mt_watched *watched, const struct mt_process *process, mt_image_counter *count_image,
                        void *context)
{
    const char *directory = process->output_directory[0] ? process->output_directory : "/tmp";
    mt_report_path_stem(watched->stem, sizeof watched->stem, directory, process->executable, process->pid, 1);
    unsigned image = count_image(context, watched->stem);
    mt_report_path_stem(watched->stem, sizeof watched->stem, directory, process->executable, process->pid, image);
}

int mt_watched_open(struct mt_watched *watched, const char *path, mt_image_counter *count_image, void *context,
                    char *why, size_t why_bytes)
{
    struct mt_snapshot snapshot;
    int error = mt_segment_file_open(&watched->file, path, why, why_bytes);
    if (error) return error;
    error = mt_snapshot_take(&snapshot, &watched->file, why, why_bytes);
    if (error) {
        mt_segment_file_close(&watched->file);
        return error;
    }
    uint64_t now = mt_now_ns();
    watched->interval_ns = option_seconds(&snapshot, "MEMTRACK_INTERVAL", 5);
    watched->keep_reports = option_is_on(&snapshot, "MEMTRACK_KEEP");
    watched->met_ns = now;
    watched->next_report_ns = now + watched->interval_ns;
    watched->next_names_ns = now + LOOK_AHEAD_NS;
    watched->next_mappings_ns = now + SECOND_NS;
    watched->dump_seen = MT_GET(snapshot.segment->globals.dump_done);
    watched->needs_tags = mt_budget_watch_needs_tags(&snapshot);
    bool running = MT_GET(snapshot.segment->process.state) == MT_STATE_RUNNING;
    watched->host_pid = running ? mt_proc_host_pid(watched->pid, watched->start_ticks) : watched->pid;
    watched->pidfd = mt_proc_open_pidfd(watched->host_pid, watched->start_ticks);
    choose_stem(watched, &snapshot.segment->process, count_image, context);
    mt_snapshot_free(&snapshot);
    return 0;
}

void mt_watched_close(struct mt_watched *watched)
{
    mt_segment_file_close(&watched->file);
    if (watched->pidfd >= 0) close(watched->pidfd);
    watched->pidfd = -1;
    mt_timeline_free(&watched->timeline);
    mt_budget_watch_free(&watched->budgets);
    json_decref(watched->advice);
    watched->advice = NULL;
    mt_suspects_free(&watched->suspects);
    mt_rates_free(&watched->rates);
}

/* ---- files --------------------------------------------------------------------- */

/*
 * Directories that were complained of, so that a thousand processes with one
 * full disk make one line. A report that is written there wipes the slate.
 */
static struct {
    uint64_t directory;
    int error;
    bool at_end;
} complaints[32];
static unsigned complaint_count;

static uint64_t directory_key(const char *stem)
{
    const char *slash = strrchr(stem, '/');
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a, 64 bit */
    for (const char *at = stem; slash && at < slash; at++)
        hash = (hash ^ (unsigned char)*at) * UINT64_C(0x100000001b3);
    return hash;
}

static bool is_new_complaint(const char *stem, int error, bool at_end)
{
    uint64_t directory = directory_key(stem);
    for (unsigned i = 0; i < complaint_count; i++)
        if (complaints[i].directory == directory && complaints[i].error == error && complaints[i].at_end == at_end)
            return false;
    if (complaint_count < sizeof complaints / sizeof *complaints) {
        complaints[complaint_count].directory = directory;
        complaints[complaint_count].error = error;
        complaints[complaint_count++].at_end = at_end;
    }
    return true;
}

static void forget_complaints(const char *stem)
{
    uint64_t directory = directory_key(stem);
    for (unsigned i = 0; i < complaint_count;) {
        if (complaints[i].directory == directory)
            complaints[i] = complaints[--complaint_count];
        else
            i++;
    }
}

static void complain(const struct mt_watched *watched, const char *path, int error)
{
    if (is_new_complaint(watched->stem, error, false))
        mt_tell("cannot write %s: %s%s", path, strerror(-error), watched->written ? "; the last report stays" : "");
}

static void complain_of_report(struct mt_watched *watched, int error)
{
    char path[1420];
    snprintf(path, sizeof path, "%s.json", watched->stem);
    if (error) complain(watched, path, error);
}

/* The output directory may have been asked for and not be there yet. */
static int make_output_directory(const char *stem)
{
    char directory[1400];
    snprintf(directory, sizeof directory, "%s", stem);
    char *slash = strrchr(directory, '/');
    if (!slash) return -ENOENT;
    *slash = 0;
    return mt_make_directories(directory, 0777);
}

static int write_report(struct mt_watched *watched, const json_t *report)
{
    int error = mt_report_write(report, watched->stem, watched->keep_reports, watched->sequence);
    if (error == -ENOENT && !make_output_directory(watched->stem))
        error = mt_report_write(report, watched->stem, watched->keep_reports, watched->sequence);
    if (error) return error;
    watched->written = true;
    forget_complaints(watched->stem);
    return 0;
}

static void write_timeline_line(struct mt_watched *watched, const struct mt_timeline_point *point)
{
    json_t *row = mt_timeline_point_json(point);
    int error = mt_report_write_line(row, watched->stem, !watched->lines_started);
    if (!error) watched->lines_started = true;
    json_decref(row);
    char path[1420];
    snprintf(path, sizeof path, "%s.jsonl", watched->stem);
    if (error) complain(watched, path, error);
}

static json_t *build_document(struct mt_watched *watched, const struct mt_snapshot *snapshot, const char *reason,
                              const struct mt_process_end *end)
{
    mt_budget_watch_all(&watched->budgets, snapshot);
    watched->needs_tags = mt_budget_watch_needs_tags(snapshot); /* the program may give budgets at any time */
    mt_suspects_add(&watched->suspects, snapshot);
    struct mt_report_context context = {
        .end = *end,
        .suspects = &watched->suspects,
        .rates = &watched->rates,
        .events = watched->budgets.events,
        .seen_peak = watched->seen_peak,
        .split = watched->split,
        .memory = &watched->memory,
        .mappings = &watched->mappings,
        .timeline = &watched->timeline,
        .in_container = watched->host_pid != watched->pid,
        .segment_path = watched->file.path,
        .reason = reason,
        .sequence = ++watched->sequence,
    };
    json_t *report = mt_report_json(snapshot, &context);
    if (!watched->advice) watched->advice = json_object();
    mt_vulkan_advice_keep(report, watched->advice);
    return report;
}

int mt_watched_report(struct mt_watched *watched, const char *reason, const struct mt_process_end *end)
{
    struct mt_snapshot snapshot;
    char why[160];
    int error = mt_snapshot_take(&snapshot, &watched->file, why, sizeof why);
    if (error) {
        if (!watched->complained) mt_tell("cannot read %s: %s", watched->file.path, why);
        watched->complained = true;
        return error;
    }
    struct mt_timeline_point point = mt_timeline_point_of(&snapshot, &watched->memory);
    mt_timeline_add(&watched->timeline, &point);
    json_t *report = build_document(watched, &snapshot, reason, end);
    error = report ? write_report(watched, report) : -ENOMEM;
    if (!error) write_timeline_line(watched, &point);
    json_decref(report);
    mt_snapshot_free(&snapshot);
    return error;
}

/* ---- an unreadable segment --------------------------------------------------------- */

/* The last report that was written stays as the best that is known, marked as lost. */
static int mark_lost(struct mt_watched *watched)
{
    char path[1420];
    snprintf(path, sizeof path, "%s.json", watched->stem);
    if (!watched->written) return -ENODATA;
    json_t *report = json_load_file(path, 0, NULL);
    json_t *end = json_object_get(json_object_get(report, "process"), "exit");
    int error = -ENODATA;
    if (end) {
        mt_json_set_text(end, "state", "lost");
        error = mt_report_write(report, watched->stem, false, 0);
    }
    json_decref(report);
    return error;
}

/* ---- the end ------------------------------------------------------------------------- */

static bool process_is_gone(struct mt_watched *watched, enum mt_liveness *liveness)
{
    if (watched->pidfd >= 0) {
        struct pollfd ready = {.fd = watched->pidfd, .events = POLLIN};
        bool gone = poll(&ready, 1, 0) == 1;
        *liveness = gone ? MT_GONE : MT_ALIVE;
        return gone;
    }
    *liveness = mt_proc_liveness(watched->host_pid, watched->start_ticks);
    return *liveness != MT_ALIVE;
}

/* What wait(2) said about the awaited process goes before what the segment says. */
static void apply_wait_status(struct mt_process_end *end, int status)
{
    if (WIFSIGNALED(status)) {
        end->state = MT_EXIT_KILLED;
        end->code_known = false;
        end->signal = WTERMSIG(status);
    } else if (WIFEXITED(status)) {
        end->state = MT_EXIT_EXITED;
        end->code_known = true;
        end->code = WEXITSTATUS(status);
    }
}

/* True when the program in this segment is over; *end says how. */
static bool has_ended(struct mt_watched *watched, const struct mt_segment_glance *glance, bool newer_image_exists,
                      struct mt_process_end *end)
{
    enum mt_liveness liveness;
    uint64_t now = mt_now_ns();
    bool gone = process_is_gone(watched, &liveness);
    watched->gone = gone;
    if (glance->state == MT_STATE_EXECED && !watched->exec_seen_ns) watched->exec_seen_ns = now;
    if (glance->state != MT_STATE_EXECED) watched->exec_seen_ns = 0;
    bool replaced = watched->exec_seen_ns && (newer_image_exists || now - watched->exec_seen_ns >= EXEC_SETTLED_NS);
    if (!gone && !replaced) return false;
    if (gone && watched->awaited && !watched->end_noted) return false; /* wait(2) comes first */
    *end = mt_process_end_of(glance, liveness);
    if (watched->awaited && gone && !end->exec) apply_wait_status(end, watched->wait_status);
    if (!end->end_ns) end->end_ns = now;
    return true;
}

static enum mt_watched_verdict finish(struct mt_watched *watched, const struct mt_process_end *end)
{
    int error = mt_watched_report(watched, "exit", end);
    if (!error) return MT_WATCHED_DONE;
    if (is_new_complaint(watched->stem, error, true))
        mt_tell("cannot write %s.json: %s; the statistics stay in %s (memtrack report shows them)", watched->stem,
                strerror(-error), watched->file.path);
    return MT_WATCHED_STUCK;
}

/* ---- while it runs ---------------------------------------------------------------------- */

/* The rates per frame begin with the first frames that are seen. */
static void begin_rates(struct mt_watched *watched, const struct mt_snapshot *counters)
{
    struct mt_snapshot snapshot;
    char why[160];
    if (watched->rates.first || !MT_GET(counters->segment->frames.count)) return;
    if (mt_snapshot_take(&snapshot, &watched->file, why, sizeof why)) return;
    struct mt_report_context context = {.rates = &watched->rates, .in_container = true};
    json_decref(mt_report_json(&snapshot, &context));
    mt_snapshot_free(&snapshot);
}

static void check_tags(struct mt_watched *watched, uint64_t now)
{
    struct mt_snapshot snapshot;
    char why[160];
    watched->next_tags_ns = now + TAGS_EVERY_NS;
    if (mt_snapshot_take(&snapshot, &watched->file, why, sizeof why)) return;
    mt_budget_watch_all(&watched->budgets, &snapshot);
    mt_snapshot_free(&snapshot);
}

static void sample(struct mt_watched *watched, bool with_mappings)
{
    const char *slash = strrchr(watched->file.path, '/');
    uint64_t now = mt_now_ns();
    struct mt_snapshot counters;
    if (mt_proc_read_memory(watched->host_pid, &watched->memory) &&
        !mt_snapshot_take_counters(&counters, &watched->file)) {
        watched->split = mt_memory_split_of(&counters);
        mt_seen_peak_look(&watched->seen_peak, &counters);
        mt_budget_watch_totals(&watched->budgets, &counters);
        begin_rates(watched, &counters);
        mt_snapshot_free(&counters);
    }
    if (watched->needs_tags && now >= watched->next_tags_ns) check_tags(watched, now);
    /* Most programs that end soon grow until they do: at first every step counts. */
    bool is_young = now - watched->met_ns < 2 * SECOND_NS;
    watched->next_sample_ns = is_young ? now : now + SAMPLE_EVERY_NS;
    if (!with_mappings) return;
    mt_proc_read_mappings(watched->host_pid, slash ? slash + 1 : watched->file.path, &watched->mappings);
    watched->next_mappings_ns = now + MAPPINGS_EVERY_NS;
}

/*
 * Debug information is read while the program runs, on another processor, and
 * not when it has ended and its user waits for the report.
 */
static void look_ahead(struct mt_watched *watched, uint64_t now)
{
    struct mt_snapshot snapshot;
    char why[200];
    uint64_t age = now - watched->met_ns;
    watched->next_names_ns = now + (age > LOOK_AHEAD_NS ? age : LOOK_AHEAD_NS);
    if (mt_snapshot_take(&snapshot, &watched->file, why, sizeof why)) return;
    bool is_done = mt_stacks_json_look_ahead(&snapshot, now + LOOK_AHEAD_WORK_NS);
    if (!is_done) watched->next_names_ns = now + LOOK_AHEAD_NS;
    mt_snapshot_free(&snapshot);
}

static void note_path(const struct mt_watched *watched)
{
    char path[1300];
    mt_collector_note_path(path, sizeof path, watched->file.path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return;
    ssize_t ignored = write(fd, watched->stem, strlen(watched->stem));
    ignored = write(fd, ".json\n", 6);
    (void)ignored;
    close(fd);
}

static void answer_dump(struct mt_watched *watched, uint64_t asked)
{
    struct mt_process_end running = {.state = MT_EXIT_RUNNING};
    sample(watched, true);
    watched->dump_seen = asked;
    int error = mt_watched_report(watched, "dump", &running);
    complain_of_report(watched, error);
    if (!error) note_path(watched);
    mt_segment_file_answer_dump(watched->file.path, asked);
}

static void write_interval_report(struct mt_watched *watched, uint64_t now)
{
    struct mt_process_end running = {.state = MT_EXIT_RUNNING};
    sample(watched, now >= watched->next_mappings_ns);
    complain_of_report(watched, mt_watched_report(watched, "interval", &running));
    watched->next_report_ns += watched->interval_ns;
    if (watched->next_report_ns <= now) watched->next_report_ns = now + watched->interval_ns;
}

static enum mt_watched_verdict lose(struct mt_watched *watched)
{
    int error = mark_lost(watched);
    mt_tell("the segment %s cannot be read any more%s", watched->file.path,
            error ? "" : "; the last report is marked as lost");
    return MT_WATCHED_STUCK;
}

enum mt_watched_verdict mt_watched_step(struct mt_watched *watched, bool newer_image_exists)
{
    struct mt_segment_glance glance;
    struct mt_process_end end;
    if (mt_segment_file_glance(&watched->file, &glance)) return lose(watched);
    /* Looked at twice: what a process wrote before it ended must be in the second look. */
    if (has_ended(watched, &glance, newer_image_exists, &end)) {
        if (mt_segment_file_glance(&watched->file, &glance)) return lose(watched);
        if (has_ended(watched, &glance, newer_image_exists, &end)) return finish(watched, &end);
    }
    if (watched->gone) return MT_WATCHED_RUNS;
    uint64_t now = mt_now_ns();
    if (glance.dump_requested != watched->dump_seen)
        answer_dump(watched, glance.dump_requested);
    else if (now >= watched->next_report_ns)
        write_interval_report(watched, now);
    else if (now >= watched->next_sample_ns)
        sample(watched, now >= watched->next_mappings_ns);
    if (now >= watched->next_names_ns) look_ahead(watched, now);
    return MT_WATCHED_RUNS;
}
