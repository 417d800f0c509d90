/*
 * Reading a segment in the tests; see the header. One thread.
 */
#include "segment_view.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

const struct mt_segment *view_open_file(const char *path)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info)) return NULL;
    void *at = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    return at == MAP_FAILED ? NULL : at;
}

const struct mt_segment *view_open(const char *directory, int pid)
{
    char prefix[32], path[2048] = "";
    DIR *folder = opendir(directory);
    if (!folder) return NULL;
    snprintf(prefix, sizeof prefix, "%d.", pid);
    for (struct dirent *entry; (entry = readdir(folder));)
        if (!strncmp(entry->d_name, prefix, strlen(prefix)) && strstr(entry->d_name, ".seg"))
            snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
    closedir(folder);
    return path[0] ? view_open_file(path) : NULL;
}

const struct mt_object *view_at(const struct mt_segment *segment, uint32_t id)
{
    if (!id || id > segment->objects.used_slots) return NULL;
    uint64_t chunk = segment->object_chunks[(id - 1) / MT_OBJECT_CHUNK];
    return (const struct mt_object *)((const char *)segment + chunk) + (id - 1) % MT_OBJECT_CHUNK;
}

/* Of its kind, and not one that was freed and has yet to be marked so. */
static bool is_a(const struct mt_segment *segment, uint32_t id, uint16_t kind)
{
    if (view_at(segment, id)->kind != kind) return false;
    for (unsigned l = 0; l < segment->lane_limit; l++)
        for (unsigned i = 0; i < MT_LANE_ENDING; i++)
            if (segment->lanes[l].ending[i] == id) return false;
    return true;
}

const struct mt_object *view_nth(const struct mt_segment *segment, uint16_t kind, unsigned n)
{
    for (uint32_t id = 1; id <= segment->objects.used_slots; id++) {
        const struct mt_object *object = view_at(segment, id);
        if (is_a(segment, id, kind) && !n--) return object;
    }
    return NULL;
}

unsigned view_count(const struct mt_segment *segment, uint16_t kind)
{
    unsigned count = 0;
    for (uint32_t id = 1; id <= segment->objects.used_slots; id++) count += is_a(segment, id, kind);
    return count;
}

const struct mt_object *view_handle(const struct mt_segment *segment, uint16_t kind, uint64_t handle)
{
    for (uint32_t id = 1; id <= segment->objects.used_slots; id++) {
        const struct mt_object *object = view_at(segment, id);
        if (object->handle == handle && is_a(segment, id, kind)) return object;
    }
    return NULL;
}

/* A row with what the lanes counted for it. The copy is of now: it does not change later. */
const struct mt_heap *view_row(const struct mt_segment *segment, unsigned i)
{
    static struct mt_heap rows[MT_HEAP_MAX];
    struct mt_heap *row = &rows[i];
    int64_t flushed = segment->heaps[i].current_bytes;
    memcpy(row, &segment->heaps[i], sizeof *row);
    for (unsigned l = 0; l < segment->lane_limit; l++) {
        const struct mt_lane_heap *lane = &segment->lanes[l].heaps[i];
        row->allocation_count += lane->allocation_count;
        row->free_count += lane->free_count;
        row->total_bytes += lane->total_bytes;
        row->current_count += (int64_t)(lane->allocation_count - lane->free_count);
        row->current_bytes += lane->live_bytes - lane->flushed_bytes;
        int64_t high = flushed + lane->high_bytes - lane->flushed_bytes;
        if (high > row->peak_bytes) row->peak_bytes = high;
    }
    return row;
}

const struct mt_heap *view_heap(const struct mt_segment *segment, uint32_t kind, uint32_t index, unsigned n)
{
    for (unsigned i = 0; i < MT_HEAP_MAX; i++)
        if (segment->heaps[i].kind == kind && segment->heaps[i].index == index && !n--) return view_row(segment, i);
    return NULL;
}

unsigned view_heap_rows(const struct mt_segment *segment)
{
    unsigned count = 0;
    for (unsigned i = 0; i < MT_HEAP_MAX; i++) count += segment->heaps[i].kind != MT_HEAP_UNUSED;
    return count;
}

static const struct mt_histogram *whole_histogram(const struct mt_segment *segment, unsigned i)
{
    static struct mt_histogram rows[MT_HISTOGRAM_MAX];
    struct mt_histogram *row = &rows[i];
    memcpy(row, &segment->histograms[i], sizeof *row);
    for (unsigned l = 0; l < segment->lane_limit; l++) {
        if (!segment->lanes[l].histograms[i]) continue;
        const struct mt_histogram *part = (const void *)((const char *)segment + segment->lanes[l].histograms[i]);
        row->count += part->count;
        row->sum += part->sum;
        if (part->max > row->max) row->max = part->max;
        for (unsigned b = 0; b < MT_HISTOGRAM_BUCKETS; b++) row->buckets[b] += part->buckets[b];
    }
    return row;
}

const struct mt_histogram *view_histogram(const struct mt_segment *segment, const char *name)
{
    for (unsigned i = 0; i < MT_HISTOGRAM_MAX; i++)
        if (segment->histograms[i].used && !strcmp(segment->histograms[i].name, name))
            return whole_histogram(segment, i);
    return NULL;
}

bool view_event(const struct mt_segment *segment, const char *kind, const char *part)
{
    for (unsigned i = 0; i < MT_EVENT_MAX; i++)
        if (segment->events[i].sequence && !strcmp(segment->events[i].kind, kind) &&
            strstr(segment->events[i].text, part))
            return true;
    return false;
}
