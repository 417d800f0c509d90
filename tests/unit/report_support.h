/*
 * A synthetic segment for tests of the reader side: a file that the test maps
 * and fills. Used by one test at a time.
 */
#ifndef MT_REPORT_SUPPORT_H
#define MT_REPORT_SUPPORT_H

#include "report/load.h"
#include "report/report_json.h"
#include "report/snapshot.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static char folder[] = "/tmp/memtrack-check-XXXXXX";
static char path[128];
static struct mt_segment *segment;
static size_t segment_bytes;

#define SET(field, value) atomic_store_explicit(&(field), value, memory_order_relaxed)

/* A segment with an honest header in a file that this process maps and changes. */
static inline void make_segment(void)
{
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/4000000.77.0.seg", folder);
    segment_bytes = (sizeof *segment + (8u << 20) + 4095u) & ~(size_t)4095;
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, (off_t)segment_bytes), 0);
    segment = mmap(NULL, segment_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ck_assert_ptr_ne(segment, MAP_FAILED);
    close(fd);
    memcpy(segment->magic, MT_SEGMENT_MAGIC, sizeof segment->magic);
    segment->layout_version = MT_LAYOUT_VERSION;
    segment->header_bytes = sizeof *segment;
    segment->virtual_bytes = segment_bytes;
    snprintf(segment->build, sizeof segment->build, "check");
    struct mt_process *process = &segment->process;
    process->pid = 4000000; /* above the highest pid there can be by default: never alive */
    process->start_ticks = 77;
    process->start_ns = 1000000000;
    process->start_realtime_ns = UINT64_C(1700000000123000000);
    snprintf(process->executable, sizeof process->executable, "/usr/games/check game");
    memcpy(process->command_line, "game\0-f\0", 8);
    process->command_line_bytes = 8;
    snprintf(process->output_directory, sizeof process->output_directory, "%s", folder);
    process->options_bytes = (uint32_t)snprintf(process->options, sizeof process->options,
                                                "MEMTRACK_INTERVAL=3\nMEMTRACK_OUTPUT=%s\n", folder);
    SET(segment->shard_limit, 1);
    segment->globals.batch_bytes = 65536;
    SET(process->state, MT_STATE_RUNNING);
}

static inline void drop_segment(void)
{
    char command[200];
    munmap(segment, segment_bytes);
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    ck_assert_int_eq(system(command), 0);
    strcpy(folder + strlen(folder) - 6, "XXXXXX");
}

static inline json_t *load(void)
{
    char why[300] = "";
    json_t *report = mt_report_load(path, why, sizeof why);
    ck_assert_msg(report != NULL, "%s", why);
    return report;
}

/* A value by a path such as "cpu.threads.0.name". */
static inline const json_t *at(const json_t *value, const char *where)
{
    char part[64];
    while (*where) {
        size_t length = strcspn(where, ".");
        memcpy(part, where, length);
        part[length] = 0;
        value = json_is_array(value) ? json_array_get(value, (size_t)atoi(part)) : json_object_get(value, part);
        ck_assert_msg(value != NULL, "no %s", where);
        where += length + (where[length] == '.');
    }
    return value;
}

static inline int64_t number(const json_t *report, const char *where)
{
    const json_t *value = at(report, where);
    ck_assert_msg(json_is_integer(value), "%s is no integer", where);
    return json_integer_value(value);
}

static inline const char *word(const json_t *report, const char *where)
{
    const json_t *value = at(report, where);
    return json_is_null(value) ? "null" : json_string_value(value);
}

static inline TCase *with_segment(const char *name)
{
    TCase *tests = tcase_create(name);
    tcase_add_checked_fixture(tests, make_segment, drop_segment);
    tcase_set_timeout(tests, 120);
    return tests;
}

#endif
