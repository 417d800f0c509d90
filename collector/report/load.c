/*
 * Loads a report. A segment is told from JSON by its first bytes; both are
 * checked before anything is believed.
 */
#include "load.h"

#include "json_build.h"
#include "report_json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static json_t *load_segment(const char *path, char *why, size_t why_bytes)
{
    struct mt_segment_file file;
    struct mt_segment_glance glance;
    struct mt_snapshot snapshot;
    struct mt_proc_memory memory = {0};
    struct mt_proc_mappings mappings = {0};
    if (mt_segment_file_open(&file, path, why, why_bytes)) return NULL;
    json_t *report = NULL;
    if (mt_segment_file_glance(&file, &glance))
        snprintf(why, why_bytes, "the segment is truncated");
    else if (!mt_snapshot_take(&snapshot, &file, why, why_bytes)) {
        const struct mt_process *process = &snapshot.segment->process;
        int32_t pid = mt_proc_host_pid(process->pid, process->start_ticks);
        enum mt_liveness liveness = mt_proc_liveness(pid, process->start_ticks);
        const char *slash = strrchr(path, '/');
        struct mt_report_context context = {
            .end = mt_process_end_of(&glance, liveness),
            .memory = &memory,
            .mappings = &mappings,
            .in_container = pid != process->pid,
            .segment_path = path,
            .reason = "request",
            .sequence = 1,
        };
        if (liveness == MT_ALIVE && mt_proc_read_memory(pid, &memory))
            mt_proc_read_mappings(pid, slash ? slash + 1 : path, &mappings);
        report = mt_report_json(&snapshot, &context);
        if (!report) snprintf(why, why_bytes, "no memory");
        mt_snapshot_free(&snapshot);
    }
    mt_segment_file_close(&file);
    return report;
}

static json_t *load_json(const char *path, char *why, size_t why_bytes)
{
    json_error_t error;
    json_t *report = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
    if (!report) {
        snprintf(why, why_bytes, "neither a memtrack segment nor JSON (line %d: %s)", error.line, error.text);
        return NULL;
    }
    int64_t version = mt_json_get_i64(report, "schema_version");
    if (strcmp(mt_json_get_text(report, "schema"), MT_REPORT_SCHEMA))
        snprintf(why, why_bytes, "JSON, but not a memtrack report");
    else if (version != MT_REPORT_SCHEMA_VERSION)
        snprintf(why, why_bytes, "a report of schema version %lld, this memtrack reads version %d",
                 (long long)version, MT_REPORT_SCHEMA_VERSION);
    else if (!json_is_object(mt_json_get(report, "process")) || !json_is_object(mt_json_get(report, "cpu")))
        snprintf(why, why_bytes, "a damaged report: \"process\" or \"cpu\" is missing");
    else
        return report;
    json_decref(report);
    return NULL;
}

/* 1 for a segment, 0 for anything else, -errno. An empty or unfinished segment is known by its name only. */
static int is_segment(const char *path)
{
    char magic[8] = "";
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) return -errno;
    int error = fstat(fd, &info) ? -errno : S_ISDIR(info.st_mode) ? -EISDIR : !S_ISREG(info.st_mode) ? -EINVAL : 0;
    ssize_t got = error ? 0 : read(fd, magic, sizeof magic);
    close(fd);
    if (error) return error;
    size_t length = strlen(path);
    bool named = length > 4 && !strcmp(path + length - 4, ".seg");
    return named || (got == (ssize_t)sizeof magic && !memcmp(magic, MT_SEGMENT_MAGIC, sizeof magic));
}

json_t *mt_report_load(const char *path, char *why, size_t why_bytes)
{
    int kind = is_segment(path);
    if (kind == -EINVAL)
        snprintf(why, why_bytes, "not a regular file");
    else if (kind < 0)
        snprintf(why, why_bytes, "%s", strerror(-kind));
    if (kind < 0) return NULL;
    json_t *report = kind ? load_segment(path, why, why_bytes) : load_json(path, why, why_bytes);
    if (report) mt_json_make_plain(report);
    return report;
}
