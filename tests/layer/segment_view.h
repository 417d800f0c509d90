/*
 * The tests' look into a segment from outside: mapped read-only, found by the
 * process id in the session directory. One thread.
 */
#ifndef SEGMENT_VIEW_H
#define SEGMENT_VIEW_H

#include "layout.h"
#include "vulkan_records.h"

#include <stdbool.h>

/* The newest segment of a process in a directory; NULL when there is none. */
const struct mt_segment *view_open(const char *directory, int pid);
const struct mt_segment *view_open_file(const char *path);

const struct mt_object *view_at(const struct mt_segment *segment, uint32_t id);
/* The n-th (from 0) live object of a kind, NULL beyond the last. */
const struct mt_object *view_nth(const struct mt_segment *segment, uint16_t kind, unsigned n);
unsigned view_count(const struct mt_segment *segment, uint16_t kind);
const struct mt_object *view_handle(const struct mt_segment *segment, uint16_t kind, uint64_t handle);
/* The row of a kind and index, of the n-th device that has one. */
const struct mt_heap *view_heap(const struct mt_segment *segment, uint32_t kind, uint32_t index, unsigned n);
/* The row of an index into heaps. */
const struct mt_heap *view_row(const struct mt_segment *segment, unsigned i);
unsigned view_heap_rows(const struct mt_segment *segment);
const struct mt_histogram *view_histogram(const struct mt_segment *segment, const char *name);
/* True when an event of this kind has a text with this part. */
bool view_event(const struct mt_segment *segment, const char *kind, const char *part);

#endif
