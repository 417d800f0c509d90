/*
 * Report files: where they lie, written so that a reader sees the old one or
 * the new one and never a part. One thread.
 */
#ifndef MT_WRITER_H
#define MT_WRITER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * "DIRECTORY/memtrack.EXE.PID[.IMAGE]" for a process; image 1 is the first
 * program image of that name and pid and has no number. EXE is the last part
 * of the executable's path; what is no printable character becomes '_'.
 */
void mt_report_path_stem(char *buffer, size_t bytes, const char *directory, const char *executable, int pid,
                         unsigned image);

/* Writes STEM.json; with `keep` also as STEM.SEQUENCE.json. 0, or -errno: then the old file is as it was. */
int mt_report_write(const json_t *report, const char *stem, bool keep, unsigned long sequence);

/* Adds one line to STEM.jsonl; `first` starts the file anew. 0 or -errno. */
int mt_report_write_line(const json_t *row, const char *stem, bool first);

#endif
