/*
 * Host memory of drivers: what went through VkAllocationCallbacks, by scope
 * and by command, and what the process's malloc served inside each command,
 * which the preloaded library counts under a scope with the command's name.
 * Called with a snapshot; keeps nothing.
 */
#include "vulkan_host_json.h"

#include "json_build.h"
#include "report_json.h"
#include "vulkan_records.h"

#include <stdlib.h>
#include <string.h>

void mt_vulkan_set_heap_counts(json_t *row, const struct mt_snapshot *snapshot, const struct mt_heap *heap)
{
    mt_json_set_i64(row, "current_bytes", MT_GET(heap->current_bytes));
    mt_json_set_i64(row, "current_count", MT_GET(heap->current_count));
    mt_json_set_i64(row, "peak_bytes", MT_GET(heap->peak_bytes));
    mt_json_set_u64(row, "peak_error_bytes", snapshot->heap_peak_error_bytes[heap - snapshot->segment->heaps]);
    mt_json_set(row, "peak_s", mt_report_time_json(snapshot, MT_GET(heap->peak_ns)));
    mt_json_set(row, "peak_frame", MT_GET(heap->peak_ns) ? mt_json_u64(MT_GET(heap->peak_frame)) : NULL);
    mt_json_set_u64(row, "total_bytes", MT_GET(heap->total_bytes));
    mt_json_set_u64(row, "allocation_count", MT_GET(heap->allocation_count));
    mt_json_set_u64(row, "free_count", MT_GET(heap->free_count));
    mt_json_set_u64(row, "failed_count", MT_GET(heap->failed_count));
}

/* ---- by scope --------------------------------------------------------------------- */

/* flags: 0 through the callbacks, 1 told by the internal notifications. */
static json_t *scopes_json(const struct mt_snapshot *snapshot, uint32_t flags)
{
    static const char *const names[] = {"command", "object", "cache", "device", "instance"};
    json_t *rows = json_array();
    for (unsigned i = 0; i < MT_HEAP_MAX; i++) {
        const struct mt_heap *heap = &snapshot->segment->heaps[i];
        if (MT_GET(heap->kind) != MT_HEAP_HOST || heap->flags != flags) continue;
        json_t *row = json_object();
        mt_json_set_text(row, "scope", names[heap->index % 5]);
        mt_vulkan_set_heap_counts(row, snapshot, heap);
        json_array_append_new(rows, row);
    }
    return rows;
}

/* ---- by command --------------------------------------------------------------------- */

struct command {
    const char *name;
    const struct mt_object *callbacks; /* NULL: none of its memory went through callbacks */
    struct mt_origin_sum served;       /* by malloc, inside of it */
};

struct commands {
    size_t count, room;
    struct command *rows;
};

static struct command *command_of(struct commands *all, const char *name)
{
    for (size_t i = 0; i < all->count; i++)
        if (!strcmp(all->rows[i].name, name)) return &all->rows[i];
    if (all->count == all->room) {
        size_t room = all->room ? all->room * 2 : 64;
        struct command *rows = realloc(all->rows, room * sizeof *rows);
        if (!rows) return NULL;
        all->rows = rows;
        all->room = room;
    }
    all->rows[all->count] = (struct command){.name = name};
    return &all->rows[all->count++];
}

static void add_callbacks(struct commands *all, const struct mt_snapshot *snapshot)
{
    for (size_t i = 0; i < snapshot->object_count; i++) {
        const struct mt_object *record = &snapshot->objects[i].record;
        struct command *command = record->kind == MT_VK_HOST_COMMAND ? command_of(all, record->name) : NULL;
        if (command) command->callbacks = record;
    }
}

static void add_served(struct commands *all, const struct mt_snapshot *snapshot)
{
    const struct mt_origins_copy *origins = &snapshot->origins;
    for (size_t i = 0; i < origins->count; i++) {
        uint32_t scope = origins->rows[i].scope;
        const struct mt_origin_sum *sum = &origins->sums[i];
        if (!scope || scope >= MT_SCOPE_MAX || strncmp(origins->scopes[scope], "vk", 2)) continue;
        if (!sum->allocation_count && !sum->free_count) continue;
        struct command *command = command_of(all, origins->scopes[scope]);
        if (!command) return;
        command->served.allocation_count += sum->allocation_count;
        command->served.free_count += sum->free_count;
        command->served.requested_bytes += sum->requested_bytes;
        command->served.live_bytes += sum->live_bytes;
    }
}

static uint64_t weight(const struct command *command)
{
    return command->served.requested_bytes +
           (command->callbacks ? command->callbacks->attr[MT_VK_HOST_TOTAL_BYTES] : 0);
}

static int larger_first(const void *a, const void *b)
{
    const struct command *left = a, *right = b;
    if (weight(left) != weight(right)) return weight(left) < weight(right) ? 1 : -1;
    return strcmp(left->name, right->name);
}

static json_t *served_json(const struct command *command)
{
    const struct mt_origin_sum *sum = &command->served;
    if (!sum->allocation_count && !sum->free_count) return json_null();
    json_t *part = json_object();
    mt_json_set_i64(part, "current_bytes", sum->live_bytes);
    mt_json_set_i64(part, "current_count", (int64_t)(sum->allocation_count - sum->free_count));
    mt_json_set_u64(part, "total_bytes", sum->requested_bytes);
    mt_json_set_u64(part, "allocation_count", sum->allocation_count);
    mt_json_set_u64(part, "free_count", sum->free_count);
    return part;
}

static json_t *callbacks_json(const struct command *command)
{
    if (!command->callbacks) return json_null();
    const uint64_t *attr = command->callbacks->attr;
    json_t *part = json_object();
    mt_json_set_u64(part, "current_bytes", attr[MT_VK_HOST_CURRENT_BYTES]);
    mt_json_set_i64(part, "current_count", (int64_t)(attr[MT_VK_HOST_ALLOCATIONS] - attr[MT_VK_HOST_FREES]));
    mt_json_set_u64(part, "peak_bytes", attr[MT_VK_HOST_PEAK_BYTES]);
    mt_json_set_u64(part, "total_bytes", attr[MT_VK_HOST_TOTAL_BYTES]);
    mt_json_set_u64(part, "allocation_count", attr[MT_VK_HOST_ALLOCATIONS]);
    mt_json_set_u64(part, "free_count", attr[MT_VK_HOST_FREES]);
    mt_json_set_u64(part, "internal_total_bytes", attr[MT_VK_HOST_INTERNAL_BYTES]);
    mt_json_set_u64(part, "internal_count", attr[MT_VK_HOST_INTERNAL_COUNT]);
    return part;
}

static json_t *commands_json(const struct mt_snapshot *snapshot)
{
    struct commands all = {0};
    add_callbacks(&all, snapshot);
    add_served(&all, snapshot);
    if (all.count) qsort(all.rows, all.count, sizeof *all.rows, larger_first);
    json_t *rows = json_array();
    for (size_t i = 0; i < all.count; i++) {
        json_t *row = json_object();
        mt_json_set_text(row, "command", all.rows[i].name);
        mt_json_set(row, "malloc", served_json(&all.rows[i]));
        mt_json_set(row, "callbacks", callbacks_json(&all.rows[i]));
        json_array_append_new(rows, row);
    }
    free(all.rows);
    return rows;
}

json_t *mt_vulkan_host_json(const struct mt_snapshot *snapshot)
{
    json_t *part = json_object();
    mt_json_set(part, "scopes", scopes_json(snapshot, 0));
    mt_json_set(part, "internal", scopes_json(snapshot, 1));
    mt_json_set(part, "commands", commands_json(snapshot));
    return part;
}
