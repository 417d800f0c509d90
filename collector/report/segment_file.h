/*
 * A segment's file as the reader sees it: opened read-only, checked once, read
 * by offset into the caller's memory. Nothing of it is ever mapped here, so a
 * file that is cut or overwritten while it is read can cause an error, never a
 * signal. One thread uses one struct.
 */
#ifndef MT_SEGMENT_FILE_H
#define MT_SEGMENT_FILE_H

#include "core.h"

struct mt_segment_file {
    int fd;
    uint64_t file_bytes;
    char path[1280];
};

/*
 * Opens and checks a segment. Returns 0; -EAGAIN when its process has not
 * finished making it; another -errno, with one line about the reason in `why`.
 * On failure nothing stays open.
 */
int mt_segment_file_open(struct mt_segment_file *file, const char *path, char *why, size_t why_bytes);
void mt_segment_file_close(struct mt_segment_file *file);

/* Reads exactly that range. 0 or -errno; -ENODATA when the file ends before it. */
int mt_segment_file_read(const struct mt_segment_file *file, uint64_t offset, void *buffer, size_t bytes);

/* The words that a collector looks at many times a second. */
struct mt_segment_glance {
    uint32_t state; /* enum mt_process_state */
    int32_t exit_code;
    uint64_t end_ns;
    uint64_t dump_requested, dump_done;
};
int mt_segment_file_glance(const struct mt_segment_file *file, struct mt_segment_glance *glance);

/* Tells the askers of `memtrack dump` that their request is done. 0 or -errno. */
int mt_segment_file_answer_dump(const char *path, uint64_t dump_done);

/* Bytes of memory or disk that the file really takes. */
uint64_t mt_segment_file_allocated_bytes(const struct mt_segment_file *file);

/* Process id, start ticks and number out of the name PID.STARTTICKS.N.seg. False for another name. */
bool mt_segment_file_parse_name(const char *name, int32_t *pid, uint64_t *start_ticks, unsigned *number);

#endif
