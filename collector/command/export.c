/* `memtrack export REPORT`: a report in the format of another tool. */
#include "command.h"

#include "report/export.h"
#include "report/json_build.h"
#include "report/load.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    mt_export_writer *write;
    enum { STACKS, DEVICES, NOTHING } needs;
} formats[] = {
    {"folded", mt_export_folded, STACKS},  {"speedscope", mt_export_speedscope, STACKS},
    {"pprof", mt_export_pprof, STACKS},    {"massif", mt_export_massif, STACKS},
    {"dhat", mt_export_dhat, STACKS},      {"perfetto", mt_export_chrome, NOTHING},
    {"chrome", mt_export_chrome, NOTHING}, {"vma", mt_export_vma, DEVICES},
    {"csv", mt_export_csv, NOTHING},
};

static const struct {
    const char *name, *member;
} measures[] = {{"live", "live_bytes"},   {"peak", "peak_bytes"},           {"total", "total_bytes"},
                {"count", "total_count"}, {"temporary", "temporary_count"}, {"live-count", "live_count"}};

static const char *measure_of(const char *name)
{
    for (size_t i = 0; name && i < sizeof measures / sizeof *measures; i++)
        if (!strcmp(measures[i].name, name)) return measures[i].member;
    return NULL;
}

static int format_of(const char *name)
{
    for (size_t i = 0; name && i < sizeof formats / sizeof *formats; i++)
        if (!strcmp(formats[i].name, name)) return (int)i;
    return -1;
}

static int write_to(const char *path, int format, const struct mt_export *job)
{
    struct mt_export named = *job;
    if (path) named.out = fopen(path, "wbe");
    if (!named.out) {
        mt_tell("cannot write %s: %s", path, strerror(errno));
        return MT_EXIT_FAILURE;
    }
    bool is_whole = formats[format].write(&named) && !ferror(named.out);
    if (path && fclose(named.out)) is_whole = false;
    if (!is_whole) mt_tell("cannot write %s", path ? path : "to standard output");
    return is_whole ? 0 : MT_EXIT_FAILURE;
}

static int export_file(const char *file, const char *path, int format, const char *measure)
{
    char why[300];
    json_t *report = mt_report_load(file, why, sizeof why);
    if (!report) {
        mt_tell("%s: %s", file, why);
        return MT_EXIT_FAILURE;
    }
    struct mt_export job = {report, stdout, measure};
    int status = MT_EXIT_FAILURE;
    const json_t *devices = mt_json_get(mt_json_get(report, "vulkan"), "devices");
    if (formats[format].needs == STACKS && !json_array_size(mt_export_stacks(&job)))
        mt_tell("%s: the report has no call stacks; run with MEMTRACK_STACKS=sampled or all", file);
    else if (formats[format].needs == DEVICES && !json_array_size(devices))
        mt_tell("%s: the report has no Vulkan device", file);
    else
        status = write_to(path, format, &job);
    json_decref(report);
    return status;
}

int mt_command_export(int argc, char **argv)
{
    const char *file = NULL, *path = NULL, *value, *measure = "live_bytes";
    int format = format_of("folded");
    for (int i = 1; i < argc; i++) {
        if (mt_option_argument(argc, argv, &i, "--format", &value)) {
            format = format_of(value);
            if (format < 0)
                return mt_usage_error(
                    "export",
                    "--format takes folded, speedscope, pprof, massif, dhat, perfetto, chrome, vma or csv");
        } else if (mt_option_argument(argc, argv, &i, "--by", &value)) {
            measure = measure_of(value);
            if (!measure)
                return mt_usage_error("export", "--by takes live, peak, total, count, temporary or live-count");
        } else if (mt_option_argument(argc, argv, &i, "--output", &path)) {
            if (!path) return mt_usage_error("export", "--output takes a file");
        } else if (argv[i][0] == '-' || file) {
            return mt_usage_error("export", "unknown argument %s", argv[i]);
        } else {
            file = argv[i];
        }
    }
    if (!file) return mt_usage_error("export", "which report? give a JSON file or a segment");
    return export_file(file, path, format, measure);
}
