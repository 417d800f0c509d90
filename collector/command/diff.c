/* `memtrack diff BEFORE AFTER`: what changed between two reports. */
#include "command.h"

#include "report/diff_text.h"
#include "report/load.h"

#include <stdio.h>
#include <string.h>

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
    } names[] = {{"tag", "tags"},
                 {"module", "modules"},
                 {"thread", "threads"},
                 {"size", "size_classes"},
                 {"stack", "stacks"}};
    for (size_t i = 0; by && i < sizeof names / sizeof *names; i++)
        if (!strcmp(by, names[i].by)) return names[i].list;
    return NULL;
}

static int compare(const char *const files[2], const char *by, bool as_json, size_t rows)
{
    json_t *before = load(files[0]), *after = before ? load(files[1]) : NULL;
    int status = MT_EXIT_FAILURE;
    if (after) {
        json_t *diff = mt_diff_json(before, after, by);
        if (as_json) {
            json_dumpf(diff, stdout, JSON_INDENT(1));
            putchar('\n');
        } else {
            mt_diff_text(diff, rows);
        }
        json_decref(diff);
        status = 0;
    }
    json_decref(before);
    json_decref(after);
    return status;
}

int mt_command_diff(int argc, char **argv)
{
    const char *files[2] = {NULL, NULL}, *value, *by = NULL;
    int count = 0;
    bool as_json = false;
    long rows = 10;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--json")) {
            as_json = true;
        } else if (mt_option_argument(argc, argv, &i, "--top", &value)) {
            if (!mt_parse_number(value, 1, 1000000, &rows))
                return mt_usage_error("diff", "--top takes a number from 1 to 1000000");
        } else if (mt_option_argument(argc, argv, &i, "--by", &value)) {
            by = list_of(value);
            if (!by) return mt_usage_error("diff", "--by takes tag, module, thread, size or stack");
        } else if (argv[i][0] == '-' || count == 2) {
            return mt_usage_error("diff", "unknown argument %s", argv[i]);
        } else {
            files[count++] = argv[i];
        }
    }
    if (count < 2) return mt_usage_error("diff", "two reports are needed: the one before and the one after");
    return compare(files, by, as_json, (size_t)rows);
}
