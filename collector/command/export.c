/* `memtrack export REPORT`: a report in the format of another tool. */
#include "command.h"

#include "report/export.h"
#include "report/json_build.h"
#include "report/load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
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

enum { MOST_MEMORY = 0, ALL_DEVICES = -1 };

/* "out.json" for device 2 is "out.2.json". */
static void name_of_device(const char *path, size_t device, char *name, size_t bytes)
{
    const char *slash = strrchr(path, '/'), *dot = strrchr(path, '.');
    int stem = dot && dot > path && (!slash || dot > slash + 1) ? (int)(dot - path) : (int)strlen(path);
    snprintf(name, bytes, "%.*s.%zu%s", stem, path, device, path + stem);
}

static int write_all_devices(const char *path, int format, struct mt_export *job, size_t count)
{
    char name[4096];
    int status = 0;
    for (job->device = 1; job->device <= count && !status; job->device++) {
        name_of_device(path, job->device, name, sizeof name);
        status = write_to(name, format, job);
    }
    return status;
}

/* Formats with one device: which one, or one file for each. */
static int write_devices(const char *path, int format, struct mt_export *job, size_t count, long device)
{
    if (device == ALL_DEVICES) return write_all_devices(path, format, job, count);
    if (device > (long)count) {
        mt_tell("the report has %zu Vulkan devices", count);
        return MT_EXIT_FAILURE;
    }
    job->device = (size_t)device;
    if (device == MOST_MEMORY && count > 1)
        mt_tell("one of %zu devices, that with most memory; --device chooses another, or all", count);
    return write_to(path, format, job);
}

static int export_file(const char *file, const char *path, int format, const char *measure, long device)
{
    char why[300];
    json_t *report = mt_report_load(file, why, sizeof why);
    if (!report) {
        mt_tell("%s: %s", file, why);
        return MT_EXIT_FAILURE;
    }
    struct mt_export job = {report, stdout, measure, 0};
    int status = MT_EXIT_FAILURE;
    const json_t *devices = mt_json_get(mt_json_get(report, "vulkan"), "devices");
    if (formats[format].needs == STACKS && !json_array_size(mt_export_stacks(&job)))
        mt_tell("%s: the report has no call stacks; run with MEMTRACK_STACKS=sampled or all", file);
    else if (formats[format].needs == DEVICES && !json_array_size(devices))
        mt_tell("%s: the report has no Vulkan device", file);
    else if (formats[format].needs == DEVICES)
        status = write_devices(path, format, &job, json_array_size(devices), device);
    else
        status = write_to(path, format, &job);
    json_decref(report);
    return status;
}

/* A number from 1, or "all"; false for anything else. */
static bool read_device(const char *value, long *device)
{
    char *end = NULL;
    if (!value) return false;
    *device = strcmp(value, "all") ? strtol(value, &end, 10) : ALL_DEVICES;
    return *device == ALL_DEVICES ? !end : end && !*end && *device > 0;
}

int mt_command_export(int argc, char **argv)
{
    long device = MOST_MEMORY;
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
        } else if (mt_option_argument(argc, argv, &i, "--device", &value)) {
            if (!read_device(value, &device))
                return mt_usage_error("export", "--device takes a number from 1, or all");
        } else if (argv[i][0] == '-' || file) {
            return mt_usage_error("export", "unknown argument %s", argv[i]);
        } else {
            file = argv[i];
        }
    }
    if (!file) return mt_usage_error("export", "which report? give a JSON file or a segment");
    if (device != MOST_MEMORY && formats[format].needs != DEVICES)
        return mt_usage_error("export", "--device is for --format vma");
    if (device == ALL_DEVICES && !path) return mt_usage_error("export", "--device all needs --output");
    return export_file(file, path, format, measure, device);
}
