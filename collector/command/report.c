/* `memtrack report FILE`: a JSON report or a segment as text, or as JSON. */
#include "command.h"

#include "report/load.h"
#include "report/report_text.h"

#include <stdio.h>
#include <string.h>

int mt_command_report(int argc, char **argv)
{
    const char *file = NULL, *value;
    bool as_json = false;
    long rows = 10;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--json"))
            as_json = true;
        else if (mt_option_argument(argc, argv, &i, "--top", &value)) {
            if (!mt_parse_number(value, 1, 1000000, &rows))
                return mt_usage_error("report", "--top takes a number from 1 to 1000000");
        } else if (argv[i][0] == '-' || file)
            return mt_usage_error("report", "unknown argument %s", argv[i]);
        else
            file = argv[i];
    }
    if (!file) return mt_usage_error("report", "which report? give a JSON file or a segment");
    char why[300];
    json_t *report = mt_report_load(file, why, sizeof why);
    if (!report) {
        mt_tell("%s: %s", file, why);
        return MT_EXIT_FAILURE;
    }
    if (as_json) {
        json_dumpf(report, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(15));
        putchar('\n');
    } else
        mt_report_text(stdout, report, (size_t)rows);
    json_decref(report);
    return 0;
}
