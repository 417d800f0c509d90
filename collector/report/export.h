/*
 * Writes a report's document in the formats of other tools. Each writer reads
 * the document alone and writes to a stream; the caller looks for its errors.
 * One thread.
 */
#ifndef MT_EXPORT_REPORT_H
#define MT_EXPORT_REPORT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* Which number of a stack is exported by formats that hold one. */
struct mt_export {
    const json_t *report;
    FILE *out;
    const char *measure; /* a member of the rows of cpu.stacks: "live_bytes", "peak_bytes", "total_bytes", ... */
    size_t device; /* of formats that hold one: its number in vulkan.devices, from 1; 0: that with most memory */
};

typedef bool mt_export_writer(const struct mt_export *job); /* false: no memory */

mt_export_writer mt_export_folded, mt_export_speedscope, mt_export_massif, mt_export_dhat, mt_export_pprof,
    mt_export_chrome, mt_export_csv, mt_export_vma;

/* What the writers share: the rows of cpu.stacks, a frame's name in `buffer`, and its frames innermost first. */
const json_t *mt_export_stacks(const struct mt_export *job);
const char *mt_export_frame_name(const json_t *frame, char *buffer, size_t bytes);

#endif
