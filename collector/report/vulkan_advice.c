/*
 * Advice on the use of device memory, see the header. Each rule reads facts
 * that one pass over the device's records has gathered, decides by constants
 * that stand below with their reason, and gives its evidence as integers.
 */
#include "vulkan_advice.h"

#include "human.h"
#include "json_build.h"
#include "report_json.h"
#include "vulkan_names.h"
#include "vulkan_records.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB (UINT64_C(1) << 20)

enum {
    /* Khronos' validation layer calls allocations below 256 KiB small (best practices). */
    SMALL_ALLOCATION_BYTES = 256 * 1024,
    /* Some dozens of small ones are what any program has: tables, queries, debug helpers. */
    MANY_LIVE = 64,
    MANY_EVER = 256,
    /* Below a MiB a dedicated allocation costs more than it wins (the same source). */
    LARGE_TARGET_BYTES = 1 << 20,
    /* Memory that is allocated over and over: its bytes went through the type this many times. */
    CHURN_TIMES = 8,
    /* A rate per frame needs some frames: one second at 60 Hz. */
    ENOUGH_FRAMES = 60,
    RECENT_FRAMES = 600,
    /* Waste and misplaced memory below this is not worth anybody's time. */
    WORTHWHILE_MIB = 16,
    UNBOUND_PERCENT = 25,
    ALIASING_PERCENT = 10,
    NEAR_LIMIT_PERCENT = 75,
    NEAR_BUDGET_PERCENT = 90,
    /* What pools cost for an allocation and its release, see docs/device-pools.md, rounded up. */
    POOLED_PAIR_NS = 1000,
    /* Drivers that take less for both calls gain nothing from pools. */
    SLOW_PAIR_NS = 5000,
    WORTHWHILE_SAVING_NS = 10 * 1000 * 1000,
    LOCAL = 1,   /* VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT */
    VISIBLE = 2, /* VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT */
};

struct amount {
    uint64_t count, bytes, largest;
};

struct facts {
    const struct mt_vulkan_view *device;
    uint64_t frames;
    struct amount live, small, targets, misplaced, unmapped;
    uint64_t unbound_bytes;
    const struct mt_heap *types[MT_HEAP_MAX], *heaps[MT_HEAP_MAX];
    size_t type_count, heap_count;
    bool has_gpu_only_type, is_pooled;
    uint64_t allocate_count, allocate_ns, free_count, free_ns, map_count, map_ns;
};

static void add(struct amount *amount, uint64_t bytes)
{
    amount->count++;
    amount->bytes += bytes;
    if (bytes > amount->largest) amount->largest = bytes;
}

/* ---- facts ------------------------------------------------------------------------- */

static void look_at_memory(struct facts *facts, uint32_t id, const struct mt_object *memory)
{
    uint64_t flags = memory->attr[MT_VK_MEMORY_FLAGS], properties = memory->attr[MT_VK_MEMORY_PROPERTIES];
    if (flags & MT_VK_MEMORY_IS_IMPORT) return;
    struct mt_vulkan_usage usage = mt_vulkan_usage_of(facts->device, id, memory->size_bytes);
    facts->unbound_bytes += usage.unbound;
    add(&facts->live, memory->size_bytes);
    bool is_own = !(flags & (MT_VK_MEMORY_IS_SLICE | MT_VK_MEMORY_IS_DEDICATED));
    if (is_own && memory->size_bytes < SMALL_ALLOCATION_BYTES) add(&facts->small, memory->size_bytes);
    if ((properties & VISIBLE) && !(flags & (MT_VK_MEMORY_IS_MAPPED | MT_VK_MEMORY_WAS_MAPPED)))
        add(&facts->unmapped, memory->size_bytes);
}

static bool is_render_target(const struct mt_object *image)
{
    enum { COLOR = 0x10, DEPTH = 0x20 };
    return image->attr[MT_VK_RESOURCE_USAGE] & (COLOR | DEPTH);
}

static void look_at_image(struct facts *facts, const struct mt_object *image)
{
    const struct mt_object *memory = mt_snapshot_object(facts->device->snapshot, image->link);
    if (!mt_vulkan_is_bound(image) || !memory || memory->kind != MT_VK_MEMORY) return;
    uint64_t bytes = mt_vulkan_occupied_bytes(image), flags = memory->attr[MT_VK_MEMORY_FLAGS];
    if (flags & MT_VK_MEMORY_IS_IMPORT) return;
    if (is_render_target(image) && bytes >= LARGE_TARGET_BYTES && !(flags & MT_VK_MEMORY_IS_DEDICATED))
        add(&facts->targets, bytes);
    bool is_optimal = !(image->attr[MT_VK_IMAGE_FORMAT] >> 32);
    if (is_optimal && !(memory->attr[MT_VK_MEMORY_PROPERTIES] & LOCAL)) add(&facts->misplaced, bytes);
}

/* Attachments that are gone already, as far as the layer remembers them. */
static void look_at_past_image(struct facts *facts, const struct mt_object *past)
{
    if (is_render_target(past) && past->size_bytes >= LARGE_TARGET_BYTES &&
        !(past->attr[MT_VK_PAST_MEMORY_FLAGS] & (MT_VK_MEMORY_IS_DEDICATED | MT_VK_MEMORY_IS_IMPORT)))
        add(&facts->targets, past->size_bytes);
}

static void look_at_records(struct facts *facts)
{
    const struct mt_snapshot *snapshot = facts->device->snapshot;
    for (size_t i = 0; i < snapshot->object_count; i++) {
        const struct mt_object *record = &snapshot->objects[i].record;
        if (record->owner != facts->device->id) continue;
        if (record->kind == MT_VK_MEMORY) look_at_memory(facts, snapshot->objects[i].id, record);
        if (record->kind == MT_VK_IMAGE) look_at_image(facts, record);
        if (record->kind == MT_VK_PAST_IMAGE) look_at_past_image(facts, record);
        if (record->kind == MT_VK_POOL) facts->is_pooled = true;
    }
}

static void look_at_calls(struct facts *facts)
{
    for (unsigned i = 0; i < MT_HISTOGRAM_MAX; i++) {
        const struct mt_histogram *calls = &facts->device->snapshot->segment->histograms[i];
        if (!MT_GET(calls->used) || calls->owner != facts->device->id) continue;
        uint64_t count = MT_GET(calls->count), spent = MT_GET(calls->sum);
        if (!strncmp(calls->name, MT_VK_HISTOGRAM_ALLOCATE " ", sizeof MT_VK_HISTOGRAM_ALLOCATE)) {
            facts->allocate_count += count;
            facts->allocate_ns += spent;
        } else if (!strncmp(calls->name, MT_VK_HISTOGRAM_FREE " ", sizeof MT_VK_HISTOGRAM_FREE)) {
            facts->free_count += count;
            facts->free_ns += spent;
        } else if (!strncmp(calls->name, MT_VK_HISTOGRAM_MAP " ", sizeof MT_VK_HISTOGRAM_MAP)) {
            facts->map_count += count;
            facts->map_ns += spent;
        }
    }
}

static void gather(struct facts *facts, const struct mt_vulkan_view *device)
{
    *facts = (struct facts){.device = device, .frames = MT_GET(device->snapshot->segment->frames.count)};
    facts->type_count = mt_vulkan_heaps_of(device, MT_HEAP_DEVICE_TYPE, facts->types);
    facts->heap_count = mt_vulkan_heaps_of(device, MT_HEAP_DEVICE_HEAP, facts->heaps);
    for (size_t i = 0; i < facts->type_count; i++)
        if ((facts->types[i]->flags & LOCAL) && !(facts->types[i]->flags & VISIBLE))
            facts->has_gpu_only_type = true;
    look_at_records(facts);
    look_at_calls(facts);
}

/* ---- rows -------------------------------------------------------------------------- */

struct number {
    const char *key;
    uint64_t value;
};

/* Up to `count` numbers become the evidence. */
static void advise(json_t *rows, const struct facts *facts, const char *kind, const struct number *numbers,
                   size_t count, const char *format, ...) __attribute__((format(printf, 6, 7)));
static void advise(json_t *rows, const struct facts *facts, const char *kind, const struct number *numbers,
                   size_t count, const char *format, ...)
{
    char text[400];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    json_t *row = json_object(), *evidence = json_object();
    mt_json_set_text(row, "kind", kind);
    mt_json_set_text(row, "text", text);
    mt_json_set_bool(row, "is_current", true);
    mt_json_set(row, "t_s", mt_report_time_json(facts->device->snapshot, facts->device->snapshot->taken_ns));
    for (size_t i = 0; i < count; i++) mt_json_set_u64(evidence, numbers[i].key, numbers[i].value);
    mt_json_set(row, "evidence", evidence);
    json_array_append_new(rows, row);
}
#define ADVISE(rows, facts, kind, numbers, ...)                                                                    \
    advise(rows, facts, kind, numbers, sizeof(numbers) / sizeof *(numbers), __VA_ARGS__)

static bool is_worthwhile(uint64_t bytes)
{
    return bytes >= WORTHWHILE_MIB * MIB;
}

static uint64_t ratio(uint64_t sum, uint64_t count)
{
    return count ? sum / count : 0;
}

/* Rounded down; safe for any value. */
static uint64_t percent_of(uint64_t part, uint64_t whole)
{
    return whole ? (uint64_t)((double)part * 100 / (double)whole) : 0;
}

/* ---- rules: sizes and places --------------------------------------------------------- */

static void on_small_allocations(const struct facts *facts, json_t *rows)
{
    char mean_text[MT_HUMAN_BYTES];
    uint64_t ever = 0, ever_bytes = 0;
    for (size_t i = 0; i < facts->type_count; i++) {
        ever += MT_GET(facts->types[i]->allocation_count);
        ever_bytes += MT_GET(facts->types[i]->total_bytes);
    }
    uint64_t mean = ratio(ever_bytes, ever);
    bool many_live = facts->small.count >= MANY_LIVE && facts->small.count * 2 >= facts->live.count;
    bool many_ever = ever >= MANY_EVER && mean < SMALL_ALLOCATION_BYTES && !facts->is_pooled;
    if (!many_live && !many_ever) return;
    const struct number numbers[] = {{"live_count", facts->live.count},
                                     {"live_small_count", facts->small.count},
                                     {"live_small_bytes", facts->small.bytes},
                                     {"allocation_count", ever},
                                     {"mean_bytes", mean},
                                     {"threshold_bytes", SMALL_ALLOCATION_BYTES}};
    static const char cure[] = "take blocks of some MiB and place resources inside them";
    if (many_live)
        ADVISE(rows, facts, "small_allocations", numbers,
               "%" PRIu64 " of %" PRIu64 " live allocations are below 256 KiB: %s", facts->small.count,
               facts->live.count, cure);
    else
        ADVISE(rows, facts, "small_allocations", numbers,
               "%" PRIu64 " allocations were made so far, of %s on average: %s", ever,
               mt_human_bytes(mean_text, (int64_t)mean), cure);
}

static void on_render_targets(const struct facts *facts, json_t *rows)
{
    char bytes[MT_HUMAN_BYTES];
    if (!facts->targets.count) return;
    const struct number numbers[] = {{"image_count", facts->targets.count},
                                     {"image_bytes", facts->targets.bytes},
                                     {"largest_bytes", facts->targets.largest},
                                     {"threshold_bytes", LARGE_TARGET_BYTES}};
    ADVISE(rows, facts, "no_dedicated_allocation", numbers,
           "%" PRIu64 " render targets of 1 MiB and more (%s) lie in shared allocations: with "
           "VkMemoryDedicatedAllocateInfo drivers can compress and place them better",
           facts->targets.count, mt_human_bytes(bytes, (int64_t)facts->targets.bytes));
}

static void on_misplaced_images(const struct facts *facts, json_t *rows)
{
    char bytes[MT_HUMAN_BYTES];
    if (!is_worthwhile(facts->misplaced.bytes)) return;
    for (size_t i = 0; i <= facts->type_count; i++) {
        if (i == facts->type_count) return; /* nothing better to choose */
        if (facts->types[i]->flags & LOCAL) break;
    }
    const struct number numbers[] = {{"image_count", facts->misplaced.count},
                                     {"image_bytes", facts->misplaced.bytes},
                                     {"threshold_bytes", WORTHWHILE_MIB * MIB}};
    ADVISE(rows, facts, "image_not_device_local", numbers,
           "%" PRIu64 " images with optimal tiling (%s) lie in memory that is not local to the device: the GPU "
           "reads them over the bus",
           facts->misplaced.count, mt_human_bytes(bytes, (int64_t)facts->misplaced.bytes));
}

static void on_unmapped_memory(const struct facts *facts, json_t *rows)
{
    char bytes[MT_HUMAN_BYTES];
    if (!facts->has_gpu_only_type || !is_worthwhile(facts->unmapped.bytes)) return;
    const struct number numbers[] = {{"allocation_count", facts->unmapped.count},
                                     {"allocation_bytes", facts->unmapped.bytes},
                                     {"threshold_bytes", WORTHWHILE_MIB * MIB}};
    ADVISE(rows, facts, "host_visible_never_mapped", numbers,
           "%" PRIu64 " allocations (%s) can be mapped but never were: a memory type for the GPU alone would do",
           facts->unmapped.count, mt_human_bytes(bytes, (int64_t)facts->unmapped.bytes));
}

static void on_unbound_bytes(const struct facts *facts, json_t *rows)
{
    char unbound[MT_HUMAN_BYTES], live[MT_HUMAN_BYTES];
    uint64_t percent = percent_of(facts->unbound_bytes, facts->live.bytes);
    if (!is_worthwhile(facts->unbound_bytes) || percent < UNBOUND_PERCENT) return;
    const struct number numbers[] = {{"unbound_bytes", facts->unbound_bytes},
                                     {"live_bytes", facts->live.bytes},
                                     {"percent", percent},
                                     {"threshold_percent", UNBOUND_PERCENT},
                                     {"threshold_bytes", WORTHWHILE_MIB * MIB}};
    ADVISE(rows, facts, "unbound_memory", numbers,
           "%s of %s (%" PRIu64 " %%) are allocated but no buffer or image lies there: smaller blocks, or give "
           "empty ones back",
           mt_human_bytes(unbound, (int64_t)facts->unbound_bytes), mt_human_bytes(live, (int64_t)facts->live.bytes),
           percent);
}

static void on_aliasing(const struct facts *facts, const json_t *aliasing, json_t *rows)
{
    char saving_text[MT_HUMAN_BYTES], held_text[MT_HUMAN_BYTES];
    int64_t saving = mt_json_get_i64(aliasing, "saving_bytes"), held = mt_json_get_i64(aliasing, "held_bytes");
    if (saving <= 0 || !is_worthwhile((uint64_t)saving)) return;
    if (percent_of((uint64_t)saving, (uint64_t)held) < ALIASING_PERCENT) return;
    const struct number numbers[] = {{"saving_bytes", (uint64_t)saving},
                                     {"held_bytes", (uint64_t)held},
                                     {"packed_bytes", (uint64_t)mt_json_get_i64(aliasing, "packed_bytes")},
                                     {"threshold_bytes", WORTHWHILE_MIB * MIB},
                                     {"threshold_percent", ALIASING_PERCENT}};
    ADVISE(rows, facts, "transient_aliasing", numbers,
           "attachments hold %s, but some of them never existed in the same frame: %s less if those shared memory",
           mt_human_bytes(held_text, held), mt_human_bytes(saving_text, saving));
}

/* ---- rules: calls ---------------------------------------------------------------------- */

static void on_staging_churn(const struct facts *facts, json_t *rows)
{
    char total[MT_HUMAN_BYTES], peak[MT_HUMAN_BYTES];
    for (size_t i = 0; i < facts->type_count; i++) {
        const struct mt_heap *type = facts->types[i];
        uint64_t count = MT_GET(type->allocation_count), bytes = MT_GET(type->total_bytes);
        int64_t highest = MT_GET(type->peak_bytes);
        if (!(type->flags & VISIBLE) || count < MANY_LIVE || highest <= 0 || facts->is_pooled) continue;
        if (bytes / CHURN_TIMES < (uint64_t)highest) continue;
        const struct number numbers[] = {{"type_index", type->index},    {"allocation_count", count},
                                         {"total_bytes", bytes},         {"peak_bytes", (uint64_t)highest},
                                         {"frame_count", facts->frames}, {"threshold_times", CHURN_TIMES}};
        ADVISE(rows, facts, "staging_churn", numbers,
               "memory type %u, which the CPU can map, was allocated %" PRIu64
               " times: %s in all where %s at once were enough; keep one ring of staging memory",
               type->index, count, mt_human_bytes(total, (int64_t)bytes), mt_human_bytes(peak, highest));
    }
}

static void on_map_churn(const struct facts *facts, json_t *rows)
{
    char spent[MT_HUMAN_BYTES];
    if (facts->frames < ENOUGH_FRAMES || facts->map_count < facts->frames) return;
    const struct number numbers[] = {
        {"map_count", facts->map_count}, {"frame_count", facts->frames}, {"map_ns", facts->map_ns}};
    ADVISE(rows, facts, "map_every_frame", numbers,
           "vkMapMemory was called %" PRIu64 " times in %" PRIu64 " frames (%s in all): memory may stay mapped for "
           "as long as it lives",
           facts->map_count, facts->frames, mt_human_ns(spent, (int64_t)facts->map_ns));
}

/* Sums the newest frames of the ring, at most RECENT_FRAMES. */
static uint64_t recent_device_allocations(const struct mt_frames *frames, uint64_t *frame_count, uint64_t *most)
{
    uint64_t last = MT_GET(frames->count), sum = 0;
    *frame_count = *most = 0;
    for (uint64_t n = last; n && last - n < RECENT_FRAMES; n--) {
        const struct mt_frame *frame = &frames->ring[(n - 1) % MT_FRAME_RING];
        if (MT_GET(frame->index) != n) continue; /* being written, or overwritten */
        ++*frame_count;
        sum += frame->device_allocation_count;
        if (frame->device_allocation_count > *most) *most = frame->device_allocation_count;
    }
    return sum;
}

static void on_allocations_per_frame(const struct facts *facts, json_t *rows)
{
    char spent[MT_HUMAN_BYTES];
    uint64_t frame_count, most, mean_ns = ratio(facts->allocate_ns, facts->allocate_count);
    uint64_t count = recent_device_allocations(&facts->device->snapshot->segment->frames, &frame_count, &most);
    if (frame_count < ENOUGH_FRAMES || count < frame_count || facts->is_pooled) return;
    const struct number numbers[] = {{"allocation_count", count},
                                     {"frame_count", frame_count},
                                     {"most_in_a_frame", most},
                                     {"mean_allocate_ns", mean_ns},
                                     {"ns_per_frame", count * mean_ns / frame_count}};
    ADVISE(rows, facts, "allocations_per_frame", numbers,
           "the last %" PRIu64 " frames made %" PRIu64 " device allocations, up to %" PRIu64
           " in one, about %s of driver time per frame: allocate before the frame loop or keep what is freed",
           frame_count, count, most, mt_human_ns(spent, (int64_t)(count * mean_ns / frame_count)));
}

static void on_pooling(const struct facts *facts, json_t *rows)
{
    char pair_text[MT_HUMAN_BYTES], saved_text[MT_HUMAN_BYTES];
    uint64_t allocate = ratio(facts->allocate_ns, facts->allocate_count),
             release = ratio(facts->free_ns, facts->free_count), spent = facts->allocate_ns + facts->free_ns,
             cost = facts->allocate_count * POOLED_PAIR_NS, saved = spent > cost ? spent - cost : 0;
    if (facts->is_pooled || facts->allocate_count < MANY_EVER || allocate + release < SLOW_PAIR_NS) return;
    if (saved < WORTHWHILE_SAVING_NS) return;
    const struct number numbers[] = {{"allocation_count", facts->allocate_count},
                                     {"free_count", facts->free_count},
                                     {"mean_allocate_ns", allocate},
                                     {"mean_free_ns", release},
                                     {"spent_ns", spent},
                                     {"estimated_saving_ns", saved},
                                     {"frame_count", facts->frames}};
    ADVISE(rows, facts, "pooling_would_save", numbers,
           "the driver takes %s for an allocation and its release, %" PRIu64
           " were made: suballocation, or MEMTRACK_VULKAN_POOL=arena, would save about %s",
           mt_human_ns(pair_text, (int64_t)(allocate + release)), facts->allocate_count,
           mt_human_ns(saved_text, (int64_t)saved));
}

/* ---- rules: limits ------------------------------------------------------------------------ */

static void on_allocation_limit(const struct facts *facts, json_t *rows)
{
    uint64_t limit = facts->device->record ? facts->device->record->attr[MT_VK_DEVICE_MAX_ALLOCATIONS] : 0;
    if (!limit || percent_of(facts->live.count, limit) < NEAR_LIMIT_PERCENT) return;
    const struct number numbers[] = {{"live_count", facts->live.count},
                                     {"max_memory_allocation_count", limit},
                                     {"percent", percent_of(facts->live.count, limit)},
                                     {"threshold_percent", NEAR_LIMIT_PERCENT}};
    ADVISE(rows, facts, "allocation_count_limit", numbers,
           "%" PRIu64 " allocations are alive, the device allows %" PRIu64 " (maxMemoryAllocationCount)",
           facts->live.count, limit);
}

/* The driver's own figures where they are known; else the highest point against the heap's size. */
static void on_heap_budgets(const struct facts *facts, json_t *rows)
{
    char used_text[MT_HUMAN_BYTES], limit_text[MT_HUMAN_BYTES];
    for (size_t i = 0; i < facts->heap_count; i++) {
        const struct mt_heap *heap = facts->heaps[i];
        int64_t peak = MT_GET(heap->peak_bytes);
        bool is_asked = MT_GET(heap->budget_ns) && MT_GET(heap->budget_bytes);
        uint64_t limit = is_asked ? MT_GET(heap->budget_bytes) : heap->size_bytes;
        uint64_t used = is_asked ? MT_GET(heap->usage_bytes) : peak > 0 ? (uint64_t)peak : 0;
        if (!limit || percent_of(used, limit) < NEAR_BUDGET_PERCENT) continue;
        const struct number numbers[] = {{"heap_index", heap->index},
                                         {"used_bytes", used},
                                         {"limit_bytes", limit},
                                         {"is_driver_budget", is_asked},
                                         {"percent", percent_of(used, limit)},
                                         {"threshold_percent", NEAR_BUDGET_PERCENT}};
        ADVISE(rows, facts, "heap_near_budget", numbers,
               "memory heap %u: %s of %s are used%s; beyond it the driver moves memory out or refuses it",
               heap->index, mt_human_bytes(used_text, (int64_t)used), mt_human_bytes(limit_text, (int64_t)limit),
               is_asked ? " (the driver's budget for this process)" : " at the highest point (the heap's size)");
    }
}

json_t *mt_vulkan_advice_json(const struct mt_vulkan_view *device, const json_t *aliasing)
{
    struct facts *facts = malloc(sizeof *facts);
    json_t *rows = json_array();
    if (!facts) return rows;
    gather(facts, device);
    on_small_allocations(facts, rows);
    on_render_targets(facts, rows);
    on_staging_churn(facts, rows);
    on_map_churn(facts, rows);
    on_misplaced_images(facts, rows);
    on_unmapped_memory(facts, rows);
    on_unbound_bytes(facts, rows);
    on_aliasing(facts, aliasing, rows);
    on_allocations_per_frame(facts, rows);
    on_allocation_limit(facts, rows);
    on_heap_budgets(facts, rows);
    on_pooling(facts, rows);
    free(facts);
    return rows;
}

/* ---- from report to report -------------------------------------------------------------------- */

/* One place for each kind, and each heap or type where it is about one. */
static void key_of(char key[96], const json_t *device, const json_t *row)
{
    const json_t *evidence = mt_json_get(row, "evidence");
    snprintf(key, 96, "%lld %.48s %lld %lld", (long long)mt_json_get_i64(device, "id"),
             mt_json_get_text(row, "kind"), (long long)mt_json_get_i64(evidence, "heap_index"),
             (long long)mt_json_get_i64(evidence, "type_index"));
}

static void keep_device(json_t *device, json_t *kept)
{
    char key[96], prefix[32];
    const char *name;
    size_t index;
    json_t *row, *rows = json_object_get(device, "advice"), *now = json_object();
    json_array_foreach(rows, index, row)
    {
        key_of(key, device, row);
        json_object_set(kept, key, row);
        json_object_set_new(now, key, json_true());
    }
    snprintf(prefix, sizeof prefix, "%lld ", (long long)mt_json_get_i64(device, "id"));
    json_object_foreach(kept, name, row)
    {
        if (strncmp(name, prefix, strlen(prefix)) || json_object_get(now, name)) continue;
        json_t *old = json_copy(row); /* its evidence is shared: nobody changes it */
        mt_json_set_bool(old, "is_current", false);
        json_array_append_new(rows, old);
    }
    json_decref(now);
}

void mt_vulkan_advice_keep(json_t *report, json_t *kept)
{
    size_t index;
    json_t *device;
    json_array_foreach((json_t *)mt_json_get(mt_json_get(report, "vulkan"), "devices"), index, device)
        keep_device(device, kept);
}
