/*
 * One process under the collector's eyes: its segment, what was sampled of it,
 * and its report files. One thread.
 */
#ifndef MT_WATCHED_H
#define MT_WATCHED_H

#include "report/budgets.h"
#include "report/procfs.h"
#include "report/report_json.h"
#include "report/segment_file.h"
#include "report/timeline.h"

struct mt_watched {
    struct mt_watched *next_in_bucket;
    struct mt_segment_file file; /* fd -1: given up, the file stays where it is */
    int32_t pid;                 /* as the process sees it, which is the one in names */
    int32_t host_pid;            /* as this process sees it: another one when that one is in a container */
    uint64_t start_ticks;
    unsigned number;
    int pidfd;
    bool gone;    /* the process was seen to be gone */
    bool awaited; /* its end is told by wait_status */
    bool end_noted;
    int wait_status;
    bool keep_reports;
    bool lines_started;
    bool complained; /* that its segment cannot be read */
    bool written;    /* there is a report of this run under stem */
    char stem[1400];
    unsigned long sequence;
    uint64_t met_ns; /* when the collector saw it first */
    uint64_t interval_ns, next_report_ns, next_sample_ns, next_mappings_ns, next_tags_ns, next_names_ns,
        exec_seen_ns, dump_seen;
    struct mt_proc_memory memory;
    struct mt_memory_split split; /* of the same moment */
    struct mt_seen_peak seen_peak;
    struct mt_proc_mappings mappings;
    struct mt_timeline timeline;
    struct mt_budget_watch budgets;
    json_t *advice; /* on device memory, so far; see mt_vulkan_advice_keep() */
    struct mt_suspects suspects;
    struct mt_rates rates;
    bool needs_tags; /* there are budgets on tags */
};

/* How many images of one program name and pid a collector has seen in one output directory, this one included. */
typedef unsigned mt_image_counter(void *context, const char *stem);

/*
 * Opens a segment and prepares everything. 0; -EAGAIN when its process has not
 * finished it; another -errno with one line in `why`.
 */
int mt_watched_open(struct mt_watched *watched, const char *path, mt_image_counter *count_image, void *context,
                    char *why, size_t why_bytes);
void mt_watched_close(struct mt_watched *watched);

enum mt_watched_verdict {
    MT_WATCHED_RUNS,
    MT_WATCHED_DONE,  /* its last report is written */
    MT_WATCHED_STUCK, /* its last report cannot be written; the segment must stay */
};
/* Samples, writes what is due, and finishes when the process has ended. */
enum mt_watched_verdict mt_watched_step(struct mt_watched *watched, bool newer_image_exists);
/* A report now. 0 or -errno. */
int mt_watched_report(struct mt_watched *watched, const char *reason, const struct mt_process_end *end);

#endif
