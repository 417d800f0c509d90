/*
 * Tells how arenas serve: chunks, what is pinned, and each call site with its
 * blocks. See arena_json.h.
 */
#include "arena_json.h"

#include "human.h"
#include "json_build.h"
#include "stacks_json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- JSON ------------------------------------------------------------------------ */

static const char *state_name(uint32_t state)
{
    static const char *const names[] = {"unused", "named", "learned", "demoted"};
    return state < sizeof names / sizeof *names ? names[state] : "unused";
}

/* What the debug information says of the innermost function at the site. */
static void set_place(json_t *row, const struct mt_snapshot *snapshot, const struct mt_arena_site *site)
{
    const struct mt_module *module = mt_stacks_module(&snapshot->stacks, site->address, site->generation);
    struct mt_symbol_list list = mt_stacks_json_symbols(snapshot, module, site->address);
    const struct mt_symbol *symbol = &list.symbols[0];
    mt_json_set(row, "function", symbol->function ? mt_json_text(symbol->function) : NULL);
    mt_json_set(row, "module", module ? mt_json_text(module->path) : NULL);
    mt_json_set(row, "file", symbol->file ? mt_json_text(symbol->file) : NULL);
    mt_json_set(row, "line", symbol->line ? json_integer(symbol->line) : NULL);
    mt_json_set(row, "address", mt_json_handle(site->address));
    mt_json_set(row, "offset", module ? mt_json_handle(site->address - module->base) : NULL);
}

/* Live blocks, those from before a fork included: their number in allocation_count, and live_bytes. */
static void add_live(struct mt_arena_sum *live, const struct mt_arena_site *site, const struct mt_arena_sum *sum)
{
    live->allocation_count += (uint64_t)site->inherited_count + sum->allocation_count - sum->free_count;
    live->live_bytes += site->inherited_bytes + sum->live_bytes;
}

static json_t *site_json(const struct mt_snapshot *snapshot, unsigned index)
{
    const struct mt_arena_site *site = &snapshot->arenas->sites[index];
    const struct mt_arena_sum *sum = &snapshot->arenas->sums[index];
    struct mt_arena_sum live = {0};
    add_live(&live, site, sum);
    uint64_t samples = MT_GET(site->sample_count);
    json_t *row = json_object();
    set_place(row, snapshot, site);
    mt_json_set_text(row, "state", state_name(MT_GET(site->state)));
    mt_json_set_u64(row, "hit_count", sum->allocation_count);
    mt_json_set_u64(row, "total_bytes", sum->requested_bytes);
    mt_json_set_i64(row, "current_bytes", live.live_bytes);
    mt_json_set_i64(row, "current_count", (int64_t)live.allocation_count);
    mt_json_set_u64(row, "pinned_bytes", MT_GET(site->pinned_bytes));
    mt_json_set_u64(row, "sample_count", samples);
    mt_json_set(row, "died_young_ratio",
                samples ? json_real((double)MT_GET(site->young_count) / (double)samples) : NULL);
    mt_json_set_u64(row, "promotion_count", MT_GET(site->promotion_count));
    mt_json_set_u64(row, "demotion_count", MT_GET(site->demotion_count));
    mt_json_set(row, "changed_s", mt_report_time_json(snapshot, MT_GET(site->changed_ns)));
    return row;
}

static json_t *sites_json(const struct mt_snapshot *snapshot, struct mt_arena_sum *all, struct mt_arena_sum *live)
{
    json_t *rows = json_array();
    for (unsigned i = 1; snapshot->arenas && i < MT_ARENA_SITE_MAX; i++) {
        const struct mt_arena_sum *sum = &snapshot->arenas->sums[i];
        if (MT_GET(snapshot->arenas->sites[i].state) == MT_ARENA_SITE_UNUSED) continue;
        json_array_append_new(rows, site_json(snapshot, i));
        all->allocation_count += sum->allocation_count;
        all->requested_bytes += sum->requested_bytes;
        add_live(live, &snapshot->arenas->sites[i], sum);
    }
    return rows;
}

json_t *mt_arena_json(const struct mt_snapshot *snapshot)
{
    const struct mt_pools *pools = &snapshot->segment->pools;
    struct mt_arena_sum all = {0}, live = {0};
    json_t *part = json_object(), *sites = sites_json(snapshot, &all, &live);
    mt_json_set_u64(part, "chunk_count", MT_GET(pools->arena_chunk_count));
    mt_json_set_u64(part, "reserved_bytes", MT_GET(pools->arena_chunk_count) * MT_ARENA_CHUNK_BYTES);
    mt_json_set_i64(part, "current_bytes", live.live_bytes);
    mt_json_set_i64(part, "current_count", (int64_t)live.allocation_count);
    mt_json_set_u64(part, "hit_count", all.allocation_count);
    mt_json_set_u64(part, "total_bytes", all.requested_bytes);
    mt_json_set_u64(part, "reuse_count", MT_GET(pools->arena_reuse_count));
    mt_json_set_u64(part, "orphan_count", MT_GET(pools->arena_orphan_count));
    mt_json_set_u64(part, "pinned_bytes", MT_GET(pools->arena_pinned_bytes));
    mt_json_set_u64(part, "promotion_count", MT_GET(pools->arena_promotion_count));
    mt_json_set_u64(part, "demotion_count", MT_GET(pools->arena_demotion_count));
    mt_json_set_u64(part, "lost_site_count", MT_GET(pools->arena_lost_site_count));
    mt_json_set(part, "sites", sites);
    return part;
}

/* ---- text -------------------------------------------------------------------------- */

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static void print_site(FILE *out, const json_t *site)
{
    char hits[MT_HUMAN_BYTES], live[MT_HUMAN_BYTES], pinned[MT_HUMAN_BYTES];
    const char *function = mt_json_get_text(site, "function"),
               *module = base_name(mt_json_get_text(site, "module"));
    fprintf(out, "      %-8s %10s blocks, %s live, %s pinned", mt_json_get_text(site, "state"),
            mt_human_count(hits, mt_json_get_i64(site, "hit_count")),
            mt_human_bytes(live, mt_json_get_i64(site, "current_bytes")),
            mt_human_bytes(pinned, mt_json_get_i64(site, "pinned_bytes")));
    if (mt_json_get_i64(site, "sample_count"))
        fprintf(out, ", %.1f %% died young", 100 * mt_json_get_real(site, "died_young_ratio"));
    if (*function)
        fprintf(out, "  %s (%s)\n", function, module);
    else if (*module)
        fprintf(out, "  %s+%s\n", module, mt_json_get_text(site, "offset"));
    else
        fprintf(out, "  %s\n", mt_json_get_text(site, "address"));
}

void mt_arena_text(FILE *out, const json_t *arena, size_t rows)
{
    char hits[MT_HUMAN_BYTES], live[MT_HUMAN_BYTES], reserved[MT_HUMAN_BYTES], pinned[MT_HUMAN_BYTES];
    const json_t *sites = mt_json_get(arena, "sites");
    size_t count;
    if (!json_array_size(sites)) return;
    fprintf(out,
            "    arenas       %s blocks bumped at %zu call sites, %s live in %s, %s pinned; %" PRId64
            " sites learned, %" PRId64 " demoted\n",
            mt_human_count(hits, mt_json_get_i64(arena, "hit_count")), json_array_size(sites),
            mt_human_bytes(live, mt_json_get_i64(arena, "current_bytes")),
            mt_human_bytes(reserved, mt_json_get_i64(arena, "reserved_bytes")),
            mt_human_bytes(pinned, mt_json_get_i64(arena, "pinned_bytes")),
            mt_json_get_i64(arena, "promotion_count"), mt_json_get_i64(arena, "demotion_count"));
    struct mt_json_row *sorted = mt_json_sort_rows(sites, "hit_count", &count);
    for (size_t i = 0; i < count && i < rows; i++) print_site(out, sorted[i].row);
    if (count > rows) fprintf(out, "      ... %zu more sites\n", count - rows);
    free(sorted);
}
