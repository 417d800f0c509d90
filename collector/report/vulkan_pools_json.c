/*
 * The part "pools" of a device: what the layer's device-memory pools hold and
 * why they are on or off. Called with a snapshot; keeps nothing.
 */
#include "vulkan_pools_json.h"

#include "json_build.h"
#include "vulkan_records.h"

#include <inttypes.h>
#include <stdio.h>

static const char *mode_name(uint64_t mode)
{
    static const char *const names[] = {"off", "arena", "tlsf", "verify"};
    return mode < sizeof names / sizeof *names ? names[mode] : NULL;
}

/* The one record of a kind that belongs to `owner`. */
static const struct mt_object *find(const struct mt_snapshot *snapshot, uint16_t kind, uint32_t owner)
{
    for (size_t i = 0; i < snapshot->object_count; i++) {
        const struct mt_object *record = &snapshot->objects[i].record;
        if (record->kind == kind && record->owner == owner) return record;
    }
    return NULL;
}

static json_t *misses_json(const struct mt_object *record)
{
    static const char *const names[MT_VK_MISS_COUNT] = {
        [MT_VK_MISS_STRUCTURE] = "structure", [MT_VK_MISS_DEDICATED] = "dedicated",
        [MT_VK_MISS_EXTERNAL] = "external",   [MT_VK_MISS_FLAGS] = "flags",
        [MT_VK_MISS_PRIORITY] = "priority",   [MT_VK_MISS_TYPE] = "type",
        [MT_VK_MISS_SIZE] = "size",           [MT_VK_MISS_CHUNK] = "chunk",
        [MT_VK_MISS_BUSY] = "busy",
    };
    json_t *part = json_object();
    for (unsigned i = 1; i < MT_VK_MISS_COUNT; i++)
        mt_json_set_u64(part, names[i], record ? record->attr[MT_VK_POOLS_MISSES + i] : 0);
    return part;
}

/* Mean of a measured time; null where nothing was measured. */
static void set_mean(json_t *row, const char *key, uint64_t nanoseconds, uint64_t samples)
{
    mt_json_set(row, key, samples ? mt_json_u64(nanoseconds / samples) : NULL);
}

static void set_content(json_t *row, const struct mt_object *pool)
{
    const uint64_t *attr = pool->attr;
    static const char *const kinds[] = {"device", "staging", "image"};
    uint64_t type = attr[MT_VK_POOL_TYPE], kind = type >> 8 & 0xff;
    mt_json_set_u64(row, "type_index", type & 0xff);
    mt_json_set_text(row, "kind", kind < 3 ? kinds[kind] : NULL);
    mt_json_set_bool(row, "device_address", (type >> 16 & 1) != 0);
    mt_json_set_u64(row, "chunk_limit_bytes", pool->size_bytes);
    mt_json_set_u64(row, "granularity_bytes", pool->offset);
    mt_json_set_u64(row, "current_count", attr[MT_VK_POOL_LIVE]);
    mt_json_set_u64(row, "requested_bytes", attr[MT_VK_POOL_REQUESTED_BYTES]);
    mt_json_set_u64(row, "slice_bytes", attr[MT_VK_POOL_SLICE_BYTES]);
    mt_json_set_u64(row, "resting_bytes", attr[MT_VK_POOL_RESTING_BYTES]);
    mt_json_set_u64(row, "chunk_count", attr[MT_VK_POOL_CHUNKS]);
    mt_json_set_u64(row, "chunk_bytes", attr[MT_VK_POOL_CHUNK_BYTES]);
    mt_json_set_u64(row, "chunk_peak_bytes", attr[MT_VK_POOL_PEAK_CHUNK_BYTES]);
    mt_json_set_u64(row, "chunk_allocation_count", attr[MT_VK_POOL_CHUNK_CALLS] & 0xffffffffu);
    mt_json_set_u64(row, "chunk_free_count", attr[MT_VK_POOL_CHUNK_CALLS] >> 32);
    mt_json_set_u64(row, "hit_count", attr[MT_VK_POOL_HITS]);
    mt_json_set_u64(row, "cleared_bytes", attr[MT_VK_POOL_CLEARED_BYTES]);
    mt_json_set_u64(row, "uncleared_count", attr[MT_VK_POOL_UNCLEARED]);
}

static void set_times(json_t *row, const struct mt_object *times)
{
    const uint64_t *attr = times->attr;
    mt_json_set_u64(row, "total_bytes", attr[MT_VK_POOL_TOTAL_BYTES]);
    mt_json_set_u64(row, "free_count", attr[MT_VK_POOL_FREES]);
    mt_json_set_u64(row, "early_reuse_count", attr[MT_VK_POOL_SHORT_RESTS]);
    mt_json_set_u64(row, "largest_free_bytes", attr[MT_VK_POOL_LARGEST_FREE]);
    set_mean(row, "hit_mean_ns", attr[MT_VK_POOL_HIT_NS], attr[MT_VK_POOL_HIT_SAMPLES]);
    set_mean(row, "free_mean_ns", attr[MT_VK_POOL_FREE_NS], attr[MT_VK_POOL_FREE_SAMPLES]);
    mt_json_set_known(row, "driver_allocate_ns", attr[MT_VK_POOL_PROBE_ALLOCATE_NS]);
    mt_json_set_known(row, "driver_free_ns", attr[MT_VK_POOL_PROBE_FREE_NS]);
    mt_json_set_u64(row, "probe_count", attr[MT_VK_POOL_PROBES]);
    mt_json_set_u64(row, "chunk_ns", attr[MT_VK_POOL_CHUNK_NS]);
}

/* A pool's two records with what each thread counted beside them. */
struct pool {
    struct mt_object content, times;
};

static void add_attributes(struct mt_object *sum, const struct mt_object *part)
{
    for (size_t i = 0; i < sizeof part->attr / sizeof *part->attr; i++) sum->attr[i] += part->attr[i];
}

static void read_pool(const struct mt_snapshot *snapshot, const struct mt_snapshot_object *from, struct pool *pool)
{
    *pool = (struct pool){.content = from->record};
    for (size_t i = 0; i < snapshot->object_count; i++) {
        const struct mt_object *record = &snapshot->objects[i].record;
        if (record->owner != from->record.owner || record->link != from->id) continue;
        if (record->kind == MT_VK_POOL_TIMES || record->kind == MT_VK_POOL_TIMES_PART)
            add_attributes(&pool->times, record);
        else if (record->kind == MT_VK_POOL_PART)
            add_attributes(&pool->content, record);
    }
}

static json_t *rows_json(const struct mt_snapshot *snapshot, uint32_t device)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < snapshot->object_count; i++) {
        const struct mt_snapshot_object *record = &snapshot->objects[i];
        if (record->record.kind != MT_VK_POOL || record->record.owner != device) continue;
        struct pool pool;
        read_pool(snapshot, record, &pool);
        json_t *row = json_object();
        set_content(row, &pool.content);
        set_times(row, &pool.times);
        json_array_append_new(rows, row);
    }
    return rows;
}

/* ---- whether it pays ------------------------------------------------------------- */

/* Below this, a driver's pair of calls is cheap enough to leave it alone. */
#define CHEAP_PAIR_NS 5000.0

struct balance {
    int64_t saved_calls;
    uint64_t hits;
    double saved_ns, driver_ns, pooled_ns; /* the last two are sums over all hits of the time of one pair */
};

static double mean(uint64_t nanoseconds, uint64_t samples)
{
    return samples ? (double)nanoseconds / (double)samples : 0;
}

/* Every slice saved a call of the driver's; chunks and probes cost some. */
static void add_pool(struct balance *sum, const uint64_t *pool, const uint64_t *times)
{
    uint64_t hits = pool[MT_VK_POOL_HITS], frees = times[MT_VK_POOL_FREES], calls = pool[MT_VK_POOL_CHUNK_CALLS];
    double allocate = (double)times[MT_VK_POOL_PROBE_ALLOCATE_NS],
           release = (double)times[MT_VK_POOL_PROBE_FREE_NS];
    double hit = mean(times[MT_VK_POOL_HIT_NS], times[MT_VK_POOL_HIT_SAMPLES]);
    double back = mean(times[MT_VK_POOL_FREE_NS], times[MT_VK_POOL_FREE_SAMPLES]);
    sum->hits += hits;
    sum->saved_calls += (int64_t)(hits + frees) - (int64_t)((calls & 0xffffffffu) + (calls >> 32)) -
                        (int64_t)times[MT_VK_POOL_PROBES];
    sum->saved_ns += (double)hits * (allocate - hit) + (double)frees * (release - back) -
                     (double)times[MT_VK_POOL_CHUNK_NS];
    sum->driver_ns += (double)hits * (allocate + release);
    sum->pooled_ns += (double)hits * (hit + back);
}

static struct balance balance_of(const struct mt_snapshot *snapshot, uint32_t device)
{
    struct balance sum = {0};
    for (size_t i = 0; i < snapshot->object_count; i++) {
        const struct mt_snapshot_object *record = &snapshot->objects[i];
        if (record->record.kind != MT_VK_POOL || record->record.owner != device) continue;
        struct pool pool;
        read_pool(snapshot, record, &pool);
        add_pool(&sum, pool.content.attr, pool.times.attr);
    }
    return sum;
}

/* One sentence for the reader; NULL where pools were off. */
static json_t *verdict_json(const struct balance *sum, bool is_on)
{
    char text[300];
    if (!is_on) return NULL;
    if (!sum->hits) return json_string("Pools have served nothing yet.");
    double driver = sum->driver_ns / (double)sum->hits, pooled = sum->pooled_ns / (double)sum->hits;
    if (driver <= 0)
        return json_string("Whether pools pay is not known: the driver's own calls could not be timed.");
    bool pays = sum->saved_ns > 0 && driver >= CHEAP_PAIR_NS;
    snprintf(text, sizeof text,
             "%s: an allocation and its release take the driver %.1f us and the pools %.2f us; %" PRId64
             " driver calls were %s, and %.2f ms %s.",
             pays                ? "Pools pay on this driver"
             : sum->saved_ns > 0 ? "Pools are hardly worth it on this driver"
                                 : "Pools do not pay in this program",
             driver / 1000, pooled / 1000, sum->saved_calls < 0 ? -sum->saved_calls : sum->saved_calls,
             sum->saved_calls < 0 ? "added" : "saved", (sum->saved_ns < 0 ? -sum->saved_ns : sum->saved_ns) / 1e6,
             sum->saved_ns < 0 ? "lost" : "won");
    return json_string(text);
}

static void set_balance(json_t *part, const struct mt_snapshot *snapshot, uint32_t device, bool is_on)
{
    struct balance sum = balance_of(snapshot, device);
    mt_json_set_i64(part, "saved_call_count", sum.saved_calls);
    mt_json_set_i64(part, "saved_ns", (int64_t)sum.saved_ns);
    mt_json_set(part, "verdict", verdict_json(&sum, is_on));
}

json_t *mt_vulkan_pools_json(const struct mt_snapshot *snapshot, uint32_t device)
{
    const struct mt_object *record = find(snapshot, MT_VK_POOLS, device);
    const char *reason = record && record->text[0] ? record->text
                                                   : "device memory is counted and passed to the driver";
    json_t *part = json_object();
    mt_json_set_text(part, "mode", record ? mode_name(record->attr[MT_VK_POOLS_MODE]) : "off");
    mt_json_set_text(part, "reason", reason);
    mt_json_set(part, "misses", misses_json(record));
    mt_json_set_u64(part, "violation_count", record ? record->attr[MT_VK_POOLS_VIOLATIONS] : 0);
    mt_json_set_u64(part, "stale_handle_count", record ? record->attr[MT_VK_POOLS_STALE] : 0);
    set_balance(part, snapshot, device, record && record->attr[MT_VK_POOLS_MODE] != MT_POOL_OFF);
    mt_json_set(part, "rows", rows_json(snapshot, device));
    return part;
}
