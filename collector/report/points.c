/*
 * Finds points of a run. A line of the timeline and a full report belong
 * together when they tell the same number of allocations at about the same
 * time: both are made of one look at the process.
 */
#include "points.h"

#include "json_build.h"
#include "load.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEQUENCE_DIGITS = 6 }; /* at least so many are in the name of a kept report */
/* The end of a program that was killed is known a little later than what its last line tells. */
static const double SAME_TIME_S = 0.5;

static bool parse_value(const char *text, bool is_time, double *value)
{
    char *end;
    errno = 0;
    *value = strtod(text, &end);
    if (end == text || errno || !(*value >= 0 && *value < 1e12)) return false;
    if (!*end) return true;
    if (!is_time || end[1]) return false;
    *value *= *end == 'm' ? 60 : *end == 'h' ? 3600 : 1;
    return *end == 's' || *end == 'm' || *end == 'h';
}

bool mt_point_parse(const char *text, struct mt_point_wish *wish)
{
    static const char frame[] = "frame:";
    wish->value = 0;
    if (!text) return false;
    bool is_frame = !strncmp(text, frame, sizeof frame - 1);
    wish->kind = !strcmp(text, "start") ? MT_POINT_FIRST
                 : !strcmp(text, "end") ? MT_POINT_LAST
                 : is_frame             ? MT_POINT_FRAME
                                        : MT_POINT_TIME;
    if (wish->kind == MT_POINT_FIRST || wish->kind == MT_POINT_LAST) return true;
    return parse_value(is_frame ? text + sizeof frame - 1 : text, !is_frame, &wish->value);
}

/* ---- names of files ----------------------------------------------------------------- */

static bool cut_end(char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    if (length <= tail || strcmp(text + length - tail, end)) return false;
    text[length - tail] = 0;
    return true;
}

/* The number behind the last dot of a kept report's stem; 0 for any other. */
static unsigned long sequence_of(const char *stem)
{
    const char *dot = strrchr(stem, '.');
    size_t digits = dot ? strspn(dot + 1, "0123456789") : 0;
    return digits >= SEQUENCE_DIGITS && !dot[1 + digits] && dot[1] != '/' ? strtoul(dot + 1, NULL, 10) : 0;
}

/*
 * What the names of a run's files begin with. A process id has fewer digits than the number of a kept report or is
 * not the last part, but for ids of six digits and more: those are told by the file of lines beside them.
 */
static bool stem_of(const char *path, char *stem, size_t bytes)
{
    char lines[PATH_MAX];
    if ((size_t)snprintf(stem, bytes, "%s", path) >= bytes) return false;
    if (cut_end(stem, ".jsonl") || !cut_end(stem, ".json")) return true;
    FILE *file = (size_t)snprintf(lines, sizeof lines, "%s.jsonl", stem) < sizeof lines ? fopen(lines, "re") : NULL;
    if (file)
        fclose(file);
    else if (sequence_of(stem))
        *strrchr(stem, '.') = 0;
    return true;
}

/* ---- lines ---------------------------------------------------------------------------- */

/* A line without an end is one that is being written. */
static json_t *read_lines(FILE *file, size_t *broken_count)
{
    json_t *lines = json_array();
    char *text = NULL;
    size_t room = 0;
    ssize_t length;
    while ((length = getline(&text, &room, file)) > 0) {
        json_t *line = text[length - 1] == '\n' ? json_loadb(text, (size_t)length, 0, NULL) : NULL;
        if (json_is_number(mt_json_get(line, "t_s")))
            json_array_append(lines, line);
        else
            *broken_count += text[length - 1] == '\n';
        json_decref(line);
    }
    free(text);
    return lines;
}

static json_t *lines_of_report(const char *path, char *why, size_t why_bytes)
{
    json_t *report = mt_report_load(path, why, why_bytes);
    json_t *lines = report ? json_incref(json_object_get(report, "timeline")) : NULL;
    if (report && !json_array_size(lines)) {
        snprintf(why, why_bytes, "it has no timeline; a segment and a report made of one hold one moment");
        json_decref(lines);
        lines = NULL;
    }
    json_decref(report);
    return lines;
}

json_t *mt_points_load(const char *path, size_t *broken_count, char *why, size_t why_bytes)
{
    char stem[PATH_MAX - 8], name[PATH_MAX];
    *broken_count = 0;
    if (!stem_of(path, stem, sizeof stem)) {
        snprintf(why, why_bytes, "%s", strerror(ENAMETOOLONG));
        return NULL;
    }
    snprintf(name, sizeof name, "%s.jsonl", stem);
    FILE *file = fopen(name, "re");
    json_t *lines = file ? read_lines(file, broken_count) : NULL;
    if (file) fclose(file);
    if (json_array_size(lines)) return lines;
    json_decref(lines);
    return lines_of_report(path, why, why_bytes);
}

size_t mt_points_find(const json_t *lines, struct mt_point_wish wish)
{
    size_t count = json_array_size(lines), best = 0;
    if (wish.kind == MT_POINT_FIRST) return 0;
    if (wish.kind == MT_POINT_LAST) return count - 1;
    for (size_t i = 0; i < count; i++) {
        const json_t *line = json_array_get(lines, i), *known = json_array_get(lines, best);
        if (wish.kind == MT_POINT_FRAME && (double)mt_json_get_i64(line, "frame") >= wish.value) return i;
        if (wish.kind == MT_POINT_FRAME ||
            fabs(mt_json_get_real(line, "t_s") - wish.value) < fabs(mt_json_get_real(known, "t_s") - wish.value))
            best = i;
    }
    return best;
}

/* ---- full reports ------------------------------------------------------------------------ */

/* 0 when the report was written with this line; below and above 0 for one that was written before and after it. */
static double distance(const json_t *report, const json_t *line)
{
    const json_t *process = mt_json_get(report, "process"), *cpu = mt_json_get(report, "cpu");
    double seconds = mt_json_get_real(process, "uptime_s") - mt_json_get_real(line, "t_s");
    bool is_same = fabs(seconds) <= SAME_TIME_S &&
                   mt_json_get_i64(cpu, "allocation_count") == mt_json_get_i64(line, "cpu_allocation_count");
    return is_same ? 0 : seconds < 0 ? -1 : 1;
}

/* The kept report with this number, or the newest for 0. */
static json_t *load_one(const char *stem, unsigned long sequence, char *name, size_t bytes)
{
    char why[300];
    int length = sequence ? snprintf(name, bytes, "%s.%06lu.json", stem, sequence)
                          : snprintf(name, bytes, "%s.json", stem);
    return (size_t)length < bytes ? mt_report_load(name, why, sizeof why) : NULL;
}

static int lower(const void *a, const void *b)
{
    unsigned long left = *(const unsigned long *)a, right = *(const unsigned long *)b;
    return left < right ? -1 : left > right;
}

/* The numbers of the kept reports of a run, in their order. */
static unsigned long *kept_reports(const char *stem, size_t *count)
{
    char directory[PATH_MAX];
    const char *slash = strrchr(stem, '/'), *base = slash ? slash + 1 : stem;
    size_t length = strlen(base), room = 0;
    unsigned long *found = NULL;
    snprintf(directory, sizeof directory, "%.*s", slash ? (int)(slash + 1 - stem) : 1, slash ? stem : ".");
    *count = 0;
    DIR *folder = opendir(directory);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        char name[sizeof entry->d_name];
        snprintf(name, sizeof name, "%s", entry->d_name);
        if (strncmp(name, base, length) || !cut_end(name, ".json") || strrchr(name, '.') != name + length) continue;
        if (*count == room) {
            unsigned long *larger = realloc(found, (room = room * 2 + 64) * sizeof *found);
            if (!larger) break;
            found = larger;
        }
        if ((found[*count] = sequence_of(name))) ++*count;
    }
    if (folder) closedir(folder);
    if (*count) qsort(found, *count, sizeof *found, lower);
    return found;
}

/* Their times grow with their numbers. One that cannot be read ends the search on its side. */
static json_t *search_kept(const char *stem, const json_t *line, char *name, size_t bytes)
{
    size_t low = 0, high;
    unsigned long *kept = kept_reports(stem, &high);
    json_t *found = NULL;
    while (low < high && !found) {
        size_t middle = low + (high - low) / 2;
        json_t *report = load_one(stem, kept[middle], name, bytes);
        double side = report ? distance(report, line) : 1;
        if (side == 0)
            found = json_incref(report);
        else if (side < 0)
            low = middle + 1;
        else
            high = middle;
        json_decref(report);
    }
    free(kept);
    return found;
}

json_t *mt_points_report(const char *path, const json_t *line, char *name, size_t name_bytes)
{
    char stem[PATH_MAX - 32];
    if (!stem_of(path, stem, sizeof stem)) return NULL;
    json_t *newest = load_one(stem, 0, name, name_bytes);
    if (newest && distance(newest, line) == 0) return newest;
    json_decref(newest);
    return search_kept(stem, line, name, name_bytes);
}
