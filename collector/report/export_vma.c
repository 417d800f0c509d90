/*
 * The JSON of the Vulkan Memory Allocator's statistics with its detailed map,
 * as its viewers read it (GpuMemDumpVis). A VkDeviceMemory with one resource
 * that fills it is a dedicated allocation, any other a block; a bound range of a
 * sparse resource is a part of one. One device, as an allocator has one.
 */
#include "export.h"

#include "json_build.h"
#include "vulkan_names.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct piece {
    const json_t *resource;
    int64_t memory, start, end;
};

/* A device with what lies where in its allocations, by allocation and start. */
struct map {
    const json_t *device;
    struct piece *pieces;
    size_t count;
};

struct stats {
    int64_t block_count, block_bytes, allocation_count, allocation_bytes, unused_count;
};

static void add_stats(struct stats *sum, const struct stats *part)
{
    sum->block_count += part->block_count;
    sum->block_bytes += part->block_bytes;
    sum->allocation_count += part->allocation_count;
    sum->allocation_bytes += part->allocation_bytes;
    sum->unused_count += part->unused_count;
}

static json_t *stats_json(const struct stats *stats)
{
    json_t *part = json_object();
    mt_json_set_i64(part, "BlockCount", stats->block_count);
    mt_json_set_i64(part, "BlockBytes", stats->block_bytes);
    mt_json_set_i64(part, "AllocationCount", stats->allocation_count);
    mt_json_set_i64(part, "AllocationBytes", stats->allocation_bytes);
    mt_json_set_i64(part, "UnusedRangeCount", stats->unused_count);
    return part;
}

/* ---- resources -------------------------------------------------------------------- */

static const char *type_of(const json_t *resource)
{
    const char *type = mt_json_get_text(resource, "type");
    const char *tiling = mt_json_get_text(mt_json_get(resource, "image"), "tiling");
    if (!strcmp(type, "buffer")) return "BUFFER";
    if (strcmp(type, "image")) return "UNKNOWN";
    return !strcmp(tiling, "optimal")  ? "IMAGE_OPTIMAL"
           : !strcmp(tiling, "linear") ? "IMAGE_LINEAR"
                                       : "IMAGE_UNKNOWN";
}

/* The bits of VkBufferUsageFlags or VkImageUsageFlags that the report names. */
static int64_t usage_of(const json_t *resource)
{
    bool is_image = !strcmp(mt_json_get_text(resource, "type"), "image");
    const json_t *names = mt_json_get(resource, "usage"), *name;
    uint64_t bits = 0;
    size_t index;
    json_array_foreach((json_t *)names, index, name)
    {
        const struct mt_flag_name *flag = is_image ? mt_vk_image_usages : mt_vk_buffer_usages;
        for (; flag->name; flag++)
            if (!strcmp(flag->name, json_string_value(name))) bits |= flag->bit;
    }
    return (int64_t)bits;
}

static int64_t size_of(const json_t *resource)
{
    int64_t required = mt_json_get_i64(resource, "required_bytes");
    return required ? required : mt_json_get_i64(resource, "requested_bytes");
}

static void set_resource(json_t *row, const json_t *resource, int64_t bytes)
{
    mt_json_set_text(row, "Type", type_of(resource));
    mt_json_set_i64(row, "Size", bytes);
    mt_json_set_i64(row, "Usage", usage_of(resource));
    if (*mt_json_get_text(resource, "name")) mt_json_set_text(row, "Name", mt_json_get_text(resource, "name"));
    mt_json_set_text(row, "CustomData", mt_json_get_text(resource, "kind"));
}

/* ---- blocks -------------------------------------------------------------------------- */

static int by_place(const void *a, const void *b)
{
    const struct piece *left = a, *right = b;
    if (left->memory != right->memory) return left->memory < right->memory ? -1 : 1;
    return left->start < right->start ? -1 : left->start > right->start;
}

static void add_piece(struct map *map, const json_t *resource, const json_t *memory, int64_t start, int64_t bytes)
{
    if (json_is_integer(memory))
        map->pieces[map->count++] = (struct piece){resource, json_integer_value(memory), start, start + bytes};
}

static const json_t *ranges_of(const json_t *resource)
{
    return mt_json_get(mt_json_get(resource, "sparse_binding"), "ranges");
}

/* Every place of every resource. False: no memory. */
static bool start_map(struct map *map, const json_t *device)
{
    const json_t *resources = mt_json_get(device, "resources"), *resource, *range;
    size_t index, at, most = json_array_size(resources);
    json_array_foreach((json_t *)resources, index, resource) most += json_array_size(ranges_of(resource));
    *map = (struct map){device, calloc(most + 1, sizeof *map->pieces), 0};
    if (!map->pieces) return false;
    json_array_foreach((json_t *)resources, index, resource)
    {
        if (!strcmp(mt_json_get_text(resource, "binding"), "bound"))
            add_piece(map, resource, mt_json_get(resource, "memory"), mt_json_get_i64(resource, "offset"),
                      size_of(resource));
        json_array_foreach((json_t *)ranges_of(resource), at, range)
            add_piece(map, resource, mt_json_get(range, "memory"), mt_json_get_i64(range, "memory_offset"),
                      mt_json_get_i64(range, "bytes"));
    }
    qsort(map->pieces, map->count, sizeof *map->pieces, by_place);
    return true;
}

/* The places in an allocation, none beyond its end; *count of them. */
static struct piece *pieces_of(const struct map *map, const json_t *allocation, size_t *count)
{
    int64_t id = mt_json_get_i64(allocation, "id"), bytes = mt_json_get_i64(allocation, "size_bytes");
    size_t low = 0, high = map->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (map->pieces[middle].memory < id)
            low = middle + 1;
        else
            high = middle;
    }
    *count = 0;
    for (size_t i = low; i < map->count && map->pieces[i].memory == id; i++, ++*count) {
        if (map->pieces[i].end > bytes) map->pieces[i].end = bytes;
        if (map->pieces[i].start > map->pieces[i].end) map->pieces[i].start = map->pieces[i].end;
    }
    return map->pieces + low;
}

static void add_free(json_t *list, int64_t offset, int64_t bytes, struct stats *stats)
{
    json_t *row = json_object();
    mt_json_set_i64(row, "Offset", offset);
    mt_json_set_text(row, "Type", "FREE");
    mt_json_set_i64(row, "Size", bytes);
    json_array_append_new(list, row);
    stats->unused_count++;
}

/* Pieces and gaps cover the block without overlap: of resources that alias, the first shows. */
static json_t *block_json(const json_t *allocation, const struct piece *pieces, size_t count, struct stats *stats)
{
    int64_t bytes = mt_json_get_i64(allocation, "size_bytes"), at = 0, used = 0;
    json_t *block = json_object(), *list = json_array();
    for (size_t i = 0; i < count; i++) {
        int64_t start = pieces[i].start > at ? pieces[i].start : at;
        if (pieces[i].end <= start) continue;
        if (start > at) add_free(list, at, start - at, stats);
        json_t *row = json_object();
        mt_json_set_i64(row, "Offset", start);
        set_resource(row, pieces[i].resource, pieces[i].end - start);
        json_array_append_new(list, row);
        used += pieces[i].end - start;
        stats->allocation_count++;
        at = pieces[i].end;
    }
    if (at < bytes) add_free(list, at, bytes - at, stats);
    stats->allocation_bytes += used;
    mt_json_set_i64(block, "MapRefCount", json_is_object(mt_json_get(allocation, "mapped")));
    mt_json_set_i64(block, "TotalBytes", bytes);
    mt_json_set_i64(block, "UnusedBytes", bytes - used);
    mt_json_set_u64(block, "Allocations", json_array_size(list) - (size_t)stats->unused_count);
    mt_json_set_i64(block, "UnusedRanges", stats->unused_count);
    mt_json_set(block, "Suballocations", list);
    return block;
}

static bool is_dedicated(const json_t *allocation, const struct piece *pieces, size_t count)
{
    int64_t bytes = mt_json_get_i64(allocation, "size_bytes");
    return count == 1 && !pieces[0].start &&
           (pieces[0].end == bytes || json_is_object(mt_json_get(allocation, "dedicated")));
}

static void add_allocation(const struct map *map, const json_t *allocation, json_t *blocks, json_t *dedicated,
                           struct stats *sum)
{
    size_t count;
    char id[24];
    const struct piece *pieces = pieces_of(map, allocation, &count);
    struct stats stats = {.block_count = 1, .block_bytes = mt_json_get_i64(allocation, "size_bytes")};
    if (is_dedicated(allocation, pieces, count)) {
        json_t *row = json_object();
        set_resource(row, pieces[0].resource, stats.block_bytes);
        json_array_append_new(dedicated, row);
        stats.allocation_count = 1;
        stats.allocation_bytes = stats.block_bytes;
    } else {
        snprintf(id, sizeof id, "%" PRId64, mt_json_get_i64(allocation, "id"));
        json_object_set_new(blocks, id, block_json(allocation, pieces, count, &stats));
    }
    add_stats(sum, &stats);
}

/* The pool of one memory type, out of the allocations that are new memory. */
static json_t *pool_json(const struct map *map, int64_t type, struct stats *stats)
{
    json_t *pool = json_object(), *blocks = json_object(), *dedicated = json_array();
    const json_t *allocation;
    size_t index;
    json_array_foreach((json_t *)mt_json_get(map->device, "allocations"), index,
                       allocation) if (mt_json_get_i64(allocation, "type_index") == type &&
                                       !json_is_array(mt_json_get(allocation, "imported_from")))
        add_allocation(map, allocation, blocks, dedicated, stats);
    mt_json_set_i64(pool, "PreferredBlockSize", 0);
    mt_json_set(pool, "Blocks", blocks);
    mt_json_set(pool, "DedicatedAllocations", dedicated);
    return pool;
}

/* ---- the document ------------------------------------------------------------------------ */

static const json_t *device_of(const struct mt_export *job)
{
    const json_t *devices = mt_json_get(mt_json_get(job->report, "vulkan"), "devices"), *device, *best = NULL;
    size_t index;
    if (job->device) return json_array_get(devices, job->device - 1);
    json_array_foreach((json_t *)devices, index, device) if (!best || mt_json_get_i64(device, "current_bytes") >
                                                                          mt_json_get_i64(best, "current_bytes"))
        best = device;
    return best;
}

/* VkPhysicalDeviceType, as the format has it. */
static int64_t device_type(const json_t *device)
{
    int64_t type = 0;
    while (type < 5 && strcmp(mt_vk_device_type_name((uint32_t)type), mt_json_get_text(device, "type"))) type++;
    return type < 5 ? type : 0;
}

static json_t *general_json(const json_t *device)
{
    json_t *part = json_object();
    mt_json_set_text(part, "API", "Vulkan");
    mt_json_set_text(part, "apiVersion", mt_json_get_text(device, "api_version"));
    mt_json_set_text(part, "GPU", mt_json_get_text(device, "name"));
    mt_json_set_i64(part, "deviceType", device_type(device));
    mt_json_set_i64(part, "maxMemoryAllocationCount", mt_json_get_i64(device, "max_memory_allocation_count"));
    mt_json_set_i64(part, "bufferImageGranularity", mt_json_get_i64(device, "buffer_image_granularity"));
    mt_json_set_i64(part, "nonCoherentAtomSize", mt_json_get_i64(device, "non_coherent_atom_size"));
    mt_json_set_u64(part, "memoryHeapCount", json_array_size(mt_json_get(device, "heaps")));
    mt_json_set_u64(part, "memoryTypeCount", json_array_size(mt_json_get(device, "memory_types")));
    return part;
}

static json_t *type_json(const json_t *type, const struct stats *stats)
{
    json_t *part = json_object();
    json_object_set(part, "Flags", (json_t *)mt_json_get(type, "flags"));
    mt_json_set(part, "Stats", stats_json(stats));
    return part;
}

static json_t *heap_json(const json_t *heap, const struct stats *stats, json_t *pools)
{
    json_t *part = json_object(), *budget = json_object();
    json_object_set(part, "Flags", (json_t *)mt_json_get(heap, "flags"));
    mt_json_set_i64(part, "Size", mt_json_get_i64(heap, "size_bytes"));
    mt_json_set_i64(budget, "BudgetBytes", mt_json_get_i64(heap, "budget_bytes"));
    mt_json_set_i64(budget, "UsageBytes", mt_json_get_i64(heap, "usage_bytes"));
    mt_json_set(part, "Budget", budget);
    mt_json_set(part, "Stats", stats_json(stats));
    mt_json_set(part, "MemoryPools", pools);
    return part;
}

/* A heap's types: their pools join `all`. */
static json_t *heap_part(const struct map *map, const json_t *heap, json_t *all, struct stats *total)
{
    json_t *pools = json_object();
    struct stats sum = {0};
    const json_t *type;
    size_t index;
    json_array_foreach((json_t *)mt_json_get(map->device, "memory_types"), index, type)
    {
        char name[32];
        struct stats stats = {0};
        if (mt_json_get_i64(type, "heap_index") != mt_json_get_i64(heap, "index")) continue;
        snprintf(name, sizeof name, "Type %" PRId64, mt_json_get_i64(type, "index"));
        json_object_set_new(all, name, pool_json(map, mt_json_get_i64(type, "index"), &stats));
        json_object_set_new(pools, name, type_json(type, &stats));
        add_stats(&sum, &stats);
    }
    add_stats(total, &sum);
    return heap_json(heap, &sum, pools);
}

bool mt_export_vma(const struct mt_export *job)
{
    const json_t *device = device_of(job), *heap;
    struct map map;
    if (!start_map(&map, device)) return false;
    json_t *document = json_object(), *memory = json_object(), *pools = json_object();
    struct stats total = {0};
    size_t index;
    json_array_foreach((json_t *)mt_json_get(device, "heaps"), index, heap)
    {
        char name[32];
        snprintf(name, sizeof name, "Heap %" PRId64, mt_json_get_i64(heap, "index"));
        json_object_set_new(memory, name, heap_part(&map, heap, pools, &total));
    }
    mt_json_set(document, "General", general_json(device));
    mt_json_set(document, "Total", stats_json(&total));
    mt_json_set(document, "MemoryInfo", memory);
    mt_json_set(document, "DefaultPools", pools);
    mt_json_set(document, "CustomPools", json_object());
    int error = json_dumpf(document, job->out, JSON_COMPACT);
    fputc('\n', job->out);
    json_decref(document);
    free(map.pieces);
    return !error;
}
