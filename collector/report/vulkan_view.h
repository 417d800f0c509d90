/*
 * One device's records as several parts of the report look at them: what is
 * bound where, kinds of resources, rows of counters. One thread per view.
 */
#ifndef MT_VULKAN_VIEW_H
#define MT_VULKAN_VIEW_H

#include "snapshot.h"

/* A range of a memory object that a resource is bound to. */
struct mt_vulkan_binding {
    uint32_t memory; /* object id */
    uint64_t start, end;
    const struct mt_object *resource;
};

/* Everything about one device that several parts need. */
struct mt_vulkan_view {
    const struct mt_snapshot *snapshot;
    uint32_t id;
    const struct mt_object *record;     /* NULL: the layer dropped it, only counters are left */
    struct mt_vulkan_binding *bindings; /* of all devices, by memory and start */
    size_t binding_count;
    const struct mt_object **ranges; /* bound ranges of sparse resources of all devices, by resource and start */
    size_t range_count;
    const struct mt_tagger *tagger; /* NULL: objects are given no tags */
};

struct mt_vulkan_usage {
    uint64_t bound, unbound, aliased, resource_count;
    uint64_t gap_count, largest_gap; /* ranges that nothing is bound to */
};

/* Collects the bindings of all devices; id and record are the caller's to set. Without memory there are none. */
void mt_vulkan_view_start(struct mt_vulkan_view *view, const struct mt_snapshot *snapshot);
void mt_vulkan_view_end(struct mt_vulkan_view *view);

/* A buffer, an image, an acceleration structure, a micromap or a video session. */
bool mt_vulkan_is_resource(const struct mt_object *record);
/* True for a session, of video or of a data graph: bound in several places. */
bool mt_vulkan_is_session(const struct mt_object *record);
/* True while it lies in memory that is recorded. */
bool mt_vulkan_is_bound(const struct mt_object *record);
/* Bytes that it covers where it is bound: what it requires, else its size. */
uint64_t mt_vulkan_occupied_bytes(const struct mt_object *record);
/* The id of the buffer that an acceleration structure of KHR or EXT lies in; 0 when that is gone. */
uint32_t mt_vulkan_buffer_of(const struct mt_snapshot *snapshot, const struct mt_object *accel);
/* "memory", "buffer", "image", ...; NULL for records that are no objects of the program. */
const char *mt_vulkan_type_of(const struct mt_object *record);
/* The one kind of a resource, see vulkan_names.h. */
const char *mt_vulkan_kind_of(const struct mt_snapshot *snapshot, const struct mt_object *record);
/* Index of the first range of a sparse resource; they follow each other, by start. */
size_t mt_vulkan_first_range(const struct mt_vulkan_view *device, uint32_t resource);
/* Bytes of a sparse resource that lie in memory. */
uint64_t mt_vulkan_sparse_bytes(const struct mt_vulkan_view *device, uint32_t resource);
/* Index of the first binding of an allocation; they follow each other, by start. */
size_t mt_vulkan_first_binding(const struct mt_vulkan_view *device, uint32_t memory);
/* The union of the bound ranges of an allocation, what is left, and what is covered more than once. */
struct mt_vulkan_usage mt_vulkan_usage_of(const struct mt_vulkan_view *device, uint32_t memory, uint64_t size);

/* The device's rows of one kind, by index. */
size_t mt_vulkan_heaps_of(const struct mt_vulkan_view *device, enum mt_heap_kind kind,
                          const struct mt_heap *found[MT_HEAP_MAX]);
/* Sum over its memory heaps. */
int64_t mt_vulkan_current_bytes(const struct mt_vulkan_view *device);

#endif
