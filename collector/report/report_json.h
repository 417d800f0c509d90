/*
 * From a snapshot to the report's document: the names and meanings are those
 * of docs/report.md and docs/report.schema.json. One thread per document; reads
 * nothing but its arguments and, for a living process, thread names in /proc.
 */
#ifndef MT_REPORT_JSON_H
#define MT_REPORT_JSON_H

#include "procfs.h"
#include "rates.h"
#include "snapshot.h"
#include "suspects.h"
#include "timeline.h"

#include <jansson.h>

#define MT_REPORT_SCHEMA         "memtrack-report"
#define MT_REPORT_SCHEMA_VERSION 1

enum mt_exit_state { MT_EXIT_RUNNING, MT_EXIT_EXITED, MT_EXIT_KILLED, MT_EXIT_LOST };

struct mt_process_end {
    enum mt_exit_state state;
    bool code_known, exec;
    int code;
    int signal;      /* 0 = not known */
    uint64_t end_ns; /* CLOCK_MONOTONIC, 0 = not known or still running */
};

/* What a segment and the kernel say about the end of a process that nobody waited for. */
struct mt_process_end mt_process_end_of(const struct mt_segment_glance *glance, enum mt_liveness liveness);

/* The parts of the resident memory that memtrack counts, at the moment when the kernel was asked for the rest. */
struct mt_memory_split {
    bool known;
    int64_t heap_bytes, mappings_bytes, memtrack_bytes;
};
struct mt_memory_split mt_memory_split_of(const struct mt_snapshot *snapshot);

/*
 * The highest heap that the reader itself has met. The recorded peak of many
 * threads lags behind what they have not flushed; a look at all threads does not.
 */
struct mt_seen_peak {
    int64_t bytes; /* 0 = none */
    uint64_t when_ns, frame;
};
void mt_seen_peak_look(struct mt_seen_peak *peak, const struct mt_snapshot *snapshot);

struct mt_report_context {
    struct mt_seen_peak seen_peak;
    struct mt_process_end end;
    struct mt_memory_split split;            /* of the moment of `memory`; not known: of the snapshot */
    const struct mt_proc_memory *memory;     /* may be NULL */
    const struct mt_proc_mappings *mappings; /* may be NULL */
    const struct mt_timeline *timeline;      /* may be NULL */
    bool in_container;                       /* its pid and tids are those of another namespace */
    const struct mt_suspects *suspects;      /* may be NULL */
    struct mt_rates *rates;                  /* notes this report's counters; may be NULL */
    json_t *events;                          /* of the collector, told after the program's own; may be NULL */
    const char *segment_path;
    const char *reason; /* "interval", "dump", "exit", "request" */
    uint64_t sequence;  /* number of this report of the process, from 1 */
};

/* The whole document; NULL when there is no memory. */
json_t *mt_report_json(const struct mt_snapshot *snapshot, const struct mt_report_context *context);

/* The part "vulkan", in vulkan_json.c. */
json_t *mt_report_vulkan_json(const struct mt_snapshot *snapshot);
/* {count, sum, mean, p50, p95, p99, max} of a histogram. */
json_t *mt_histogram_json(const struct mt_histogram *histogram);
/* CLOCK_MONOTONIC as seconds since the process's start; null for 0. */
json_t *mt_report_time_json(const struct mt_snapshot *snapshot, uint64_t when_ns);
/* Sets peak_bytes, peak_error_bytes, peak_s and peak_frame; all null where peak is NULL. */
void mt_report_set_own_peak(json_t *part, const struct mt_snapshot *snapshot, const struct mt_own_peak *peak);

#endif
