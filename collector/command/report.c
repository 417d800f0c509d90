/* `memtrack report FILE`: a JSON report or a segment as text, one view of it, or JSON. */
#include "command.h"

#include "report/json_build.h"
#include "report/load.h"
#include "report/report_text.h"
#include "report/views_text.h"

#include <stdio.h>
#include <string.h>

struct report_arguments {
    const char *file, *sort;
    enum mt_view view; /* MT_VIEW_COUNT: all of the report */
    bool as_json;
    long rows; /* 0: as many as are usual */
};

/* Without a view any list's key will do. */
static bool is_any_key(const char *key)
{
    for (int view = 0; view < MT_VIEW_COUNT; view++)
        if (mt_view_key((enum mt_view)view, key) >= 0) return true;
    return false;
}

static int check_sort(const struct report_arguments *arguments)
{
    char keys[200];
    if (!arguments->sort) return 0;
    if (arguments->view < MT_VIEW_COUNT && mt_view_key(arguments->view, arguments->sort) < 0)
        return mt_usage_error("report", "--sort of %s takes %s", mt_view_name(arguments->view),
                              mt_view_keys(arguments->view, keys, sizeof keys));
    if (!is_any_key(arguments->sort))
        return mt_usage_error("report", "no list can be sorted by %s; see --sort", arguments->sort);
    return 0;
}

static int parse(int argc, char **argv, struct report_arguments *arguments)
{
    const char *value;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--json")) {
            arguments->as_json = true;
        } else if (mt_option_argument(argc, argv, &i, "--top", &value)) {
            if (!mt_parse_number(value, 1, 1000000, &arguments->rows))
                return mt_usage_error("report", "--top takes a number from 1 to 1000000");
        } else if (mt_option_argument(argc, argv, &i, "--by", &value)) {
            arguments->view = mt_view_of(value);
            if (arguments->view == MT_VIEW_COUNT) return mt_usage_error("report", "--by takes %s", mt_view_names());
        } else if (mt_option_argument(argc, argv, &i, "--sort", &value)) {
            if (!value) return mt_usage_error("report", "--sort needs a key");
            arguments->sort = value;
        } else if (argv[i][0] == '-' || arguments->file) {
            return mt_usage_error("report", "unknown argument %s", argv[i]);
        } else {
            arguments->file = argv[i];
        }
    }
    if (!arguments->file) return mt_usage_error("report", "which report? give a JSON file or a segment");
    return check_sort(arguments);
}

static void print_view(const json_t *report, const struct report_arguments *arguments)
{
    size_t rows = arguments->rows ? (size_t)arguments->rows : 20;
    if (!mt_view_text(stdout, report, arguments->view, arguments->sort, rows))
        printf("The report has no rows by %s.\n", mt_view_name(arguments->view));
}

/* One view as JSON: its rows in their order, with their names and numbers. */
static void print_view_json(const json_t *report, const struct report_arguments *arguments)
{
    json_t *rows = mt_view_json(report, arguments->view, arguments->sort, (size_t)arguments->rows);
    json_dumpf(rows, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(15));
    putchar('\n');
    json_decref(rows);
}

int mt_command_report(int argc, char **argv)
{
    struct report_arguments arguments = {.view = MT_VIEW_COUNT};
    char why[300];
    int status = parse(argc, argv, &arguments);
    if (status) return status;
    json_t *report = mt_report_load(arguments.file, why, sizeof why);
    if (!report) {
        mt_tell("%s: %s", arguments.file, why);
        return MT_EXIT_FAILURE;
    }
    if (arguments.as_json && arguments.view < MT_VIEW_COUNT) {
        print_view_json(report, &arguments);
    } else if (arguments.as_json) {
        json_dumpf(report, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(15));
        putchar('\n');
    } else if (arguments.view < MT_VIEW_COUNT) {
        print_view(report, &arguments);
    } else {
        mt_report_text(stdout, report, (size_t)arguments.rows, arguments.sort);
    }
    json_decref(report);
    return 0;
}
