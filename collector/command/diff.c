/* `memtrack diff`: what changed between two reports, or between two points of one run. */
#include "command.h"

#include "report/diff_text.h"
#include "report/json_build.h"
#include "report/load.h"
#include "report/points.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

struct diff_job {
    const char *files[2];
    const char *from, *to; /* points of files[0]; NULL: not given */
    const char *by;        /* the name of a list; NULL: all */
    bool as_json;
    size_t rows;
};

static json_t *load(const char *path)
{
    char why[300];
    json_t *report = mt_report_load(path, why, sizeof why);
    if (!report) mt_tell("%s: %s", path, why);
    return report;
}

static const char *list_of(const char *by)
{
    static const struct {
        const char *by, *list;
    } names[] = {{"tag", "tags"},          {"module", "modules"}, {"thread", "threads"},
                 {"size", "size_classes"}, {"stack", "stacks"},   {"heap", "heaps"}};
    for (size_t i = 0; by && i < sizeof names / sizeof *names; i++)
        if (!strcmp(by, names[i].by)) return names[i].list;
    return NULL;
}

static int print(json_t *diff, const struct diff_job *job)
{
    if (job->as_json) {
        json_dumpf(diff, stdout, JSON_INDENT(1));
        putchar('\n');
    } else {
        mt_diff_text(diff, job->rows);
    }
    json_decref(diff);
    return 0;
}

static int compare_files(const struct diff_job *job)
{
    json_t *before = load(job->files[0]), *after = before ? load(job->files[1]) : NULL;
    int status = after ? print(mt_diff_json(before, after, job->by), job) : MT_EXIT_FAILURE;
    json_decref(before);
    json_decref(after);
    return status;
}

/* ---- two points of one run ------------------------------------------------------------- */

static json_t *diff_of_reports(json_t *const reports[2], char (*const names)[PATH_MAX], const char *by)
{
    json_t *diff = mt_diff_json(reports[0], reports[1], by), *files = json_array();
    for (int i = 0; i < 2; i++) json_array_append_new(files, mt_json_text(names[i]));
    mt_json_set(diff, "reports", files);
    return diff;
}

static json_t *diff_of_lines(const json_t *const lines[2])
{
    json_t *diff = mt_diff_lines_json(lines[0], lines[1]);
    mt_json_set(diff, "reports", NULL);
    return diff;
}

static int compare_lines(const struct diff_job *job, const json_t *const lines[2])
{
    static char names[2][PATH_MAX];
    json_t *reports[2] = {NULL, NULL};
    for (int i = 0; i < 2 && (!i || reports[0]); i++)
        reports[i] = mt_points_report(job->files[0], lines[i], names[i], sizeof names[i]);
    int status = MT_EXIT_FAILURE;
    if (reports[1])
        status = print(diff_of_reports(reports, names, job->by), job);
    else if (job->by)
        mt_tell(
            "no full report was kept of both points, and a line of the timeline has totals only; run with --keep");
    else
        status = print(diff_of_lines(lines), job);
    if (!reports[1] && !status && !job->as_json)
        puts("\nTotals from the lines of the timeline: they have no tags, modules, threads, stacks or heaps.\n"
             "Reports of both points, which have, stay with `memtrack run --keep`.");
    json_decref(reports[0]);
    json_decref(reports[1]);
    return status;
}

static int compare_places(const struct diff_job *job, const json_t *lines, const struct mt_point_wish wishes[2])
{
    size_t count = json_array_size(lines), from = mt_points_find(lines, wishes[0]),
           to = mt_points_find(lines, wishes[1]);
    const json_t *points[2] = {json_array_get(lines, from), json_array_get(lines, to)};
    double first = mt_json_get_real(json_array_get(lines, 0), "t_s");
    double last = mt_json_get_real(json_array_get(lines, count - 1), "t_s");
    if (from < to) return compare_lines(job, points);
    if (from == to)
        mt_tell("%s: the point nearest to both is that at %.3f s; there are %zu, from %.3f s to %.3f s",
                job->files[0], mt_json_get_real(points[0], "t_s"), count, first, last);
    else
        mt_tell("%s: %s comes after %s; there are %zu points, from %.3f s to %.3f s", job->files[0],
                job->from ? job->from : "the start", job->to ? job->to : "the end", count, first, last);
    return MT_EXIT_FAILURE;
}

static int compare_points(const struct diff_job *job)
{
    struct mt_point_wish wishes[2] = {{MT_POINT_FIRST, 0}, {MT_POINT_LAST, 0}};
    static const char takes[] = "a time such as 10, 2.5s, 3m or 1h, a frame such as frame:600, start or end";
    if (job->from && !mt_point_parse(job->from, &wishes[0]))
        return mt_usage_error("diff", "--from takes %s", takes);
    if (job->to && !mt_point_parse(job->to, &wishes[1])) return mt_usage_error("diff", "--to takes %s", takes);
    char why[300];
    size_t broken_count;
    json_t *lines = mt_points_load(job->files[0], &broken_count, why, sizeof why);
    if (!lines) {
        mt_tell("%s: %s", job->files[0], why);
        return MT_EXIT_FAILURE;
    }
    if (broken_count) mt_tell("%s: %zu lines of the timeline cannot be read", job->files[0], broken_count);
    int status = compare_places(job, lines, wishes);
    json_decref(lines);
    return status;
}

int mt_command_diff(int argc, char **argv)
{
    struct diff_job job = {.rows = 10};
    const char *value;
    int count = 0;
    long rows;
    bool has_points = false;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--json")) {
            job.as_json = true;
        } else if (mt_option_argument(argc, argv, &i, "--top", &value)) {
            if (!mt_parse_number(value, 1, 1000000, &rows))
                return mt_usage_error("diff", "--top takes a number from 1 to 1000000");
            job.rows = (size_t)rows;
        } else if (mt_option_argument(argc, argv, &i, "--by", &value)) {
            job.by = list_of(value);
            if (!job.by) return mt_usage_error("diff", "--by takes tag, module, thread, size, stack or heap");
        } else if (mt_option_argument(argc, argv, &i, "--from", &value)) {
            job.from = value ? value : "";
            has_points = true;
        } else if (mt_option_argument(argc, argv, &i, "--to", &value)) {
            job.to = value ? value : "";
            has_points = true;
        } else if (argv[i][0] == '-' || count == 2) {
            return mt_usage_error("diff", "unknown argument %s", argv[i]);
        } else {
            job.files[count++] = argv[i];
        }
    }
    if (has_points && count != 1) return mt_usage_error("diff", "--from and --to are points of one report");
    if (has_points) return compare_points(&job);
    if (count < 2)
        return mt_usage_error("diff",
                              "two reports are needed, the one before and the one after, or one with --from "
                              "or --to");
    return compare_files(&job);
}
