/*
 * Registers loaded objects. Called by stack walkers when they meet an address
 * for the first time, with the object known to be loaded. One thread at a time
 * writes the table; the others wait for it the few microseconds that takes.
 */
#include "module.h"

#include "segment.h"

#include <elf.h>
#include <link.h>
#include <sched.h>
#include <string.h>

#define LOAD(field) atomic_load_explicit(&(field), memory_order_relaxed)

bool mt_module_ready(struct mt_core *core)
{
    if (!mt_segment_commit_table(core, MT_TABLE_MODULES)) return false;
    uint32_t unused = 0; /* generations count from 1 */
    atomic_compare_exchange_strong_explicit(&core->segment->attribution.modules.generation, &unused, 1,
                                            memory_order_relaxed, memory_order_relaxed);
    return true;
}

static unsigned row_count(const struct mt_modules *modules)
{
    /* Acquire pairs with the release in add_row(). */
    unsigned count = atomic_load_explicit(&modules->count, memory_order_acquire);
    return count < MT_MODULE_MAX ? count : MT_MODULE_MAX;
}

int mt_module_find(struct mt_core *core, uintptr_t address)
{
    struct mt_modules *modules = &core->segment->attribution.modules;
    for (unsigned i = row_count(modules); i-- > 0;) {
        const struct mt_module *row = &modules->rows[i];
        if (address >= row->start && address < row->end && !LOAD(row->end_generation)) return (int)i;
    }
    return -1;
}

/* The program itself has no name here, and lies where it lies. */
static bool is_row_of(const struct mt_module *row, const char *path, uint64_t base, uint64_t start, uint64_t end)
{
    return row->base == base && row->start == start && row->end == end &&
           (!path[0] || !strncmp(row->path, path, sizeof row->path - 1));
}

/* The GNU build-id note; memory of the object's own mapped segments. */
static void read_build_id(struct mt_module *row, const unsigned char *notes, size_t bytes)
{
    for (size_t at = 0; at + 12 <= bytes;) {
        ElfW(Nhdr) note;
        memcpy(&note, notes + at, sizeof note);
        size_t name = at + sizeof note, text = name + ((note.n_namesz + 3u) & ~3u);
        size_t next = text + ((note.n_descsz + 3u) & ~3u);
        if (next > bytes || next <= at) return;
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && !memcmp(notes + name, "GNU", 4) &&
            note.n_descsz <= sizeof row->build_id) {
            row->build_id_bytes = note.n_descsz;
            memcpy(row->build_id, notes + text, note.n_descsz);
            return;
        }
        at = next;
    }
}

static void read_headers(struct mt_module *row)
{
    const unsigned char *start = (const unsigned char *)(uintptr_t)row->start;
    const ElfW(Ehdr) *header = (const ElfW(Ehdr) *)(const void *)start;
    uint64_t bytes = row->end - row->start;
    if (bytes < 4096 || memcmp(header->e_ident, ELFMAG, SELFMAG)) return;
    if (header->e_phoff > 4096 - sizeof *header ||
        header->e_phoff + (uint64_t)header->e_phnum * sizeof(ElfW(Phdr)) > 4096)
        return;
    const ElfW(Phdr) *program = (const ElfW(Phdr) *)(const void *)(start + header->e_phoff);
    for (unsigned i = 0; i < header->e_phnum; i++) {
        uint64_t from = row->base + program[i].p_vaddr;
        if (program[i].p_type != PT_NOTE || from < row->start || from + program[i].p_memsz > row->end) continue;
        read_build_id(row, (const unsigned char *)(uintptr_t)from, program[i].p_memsz);
        if (row->build_id_bytes) return;
    }
}

static void fill_path(struct mt_core *core, struct mt_module *row, const char *path)
{
    const char *program = core->segment->process.executable;
    mt_copy_name(core, row->path, sizeof row->path, path[0] ? path : program);
    if (!path[0]) mt_segment_rest(core, core->segment, offsetof(struct mt_segment, process.pid));
}

/* Rows that the new one overlaps are gone: another object lies there now. */
static void end_overlapped(struct mt_modules *modules, const struct mt_module *fresh)
{
    bool has_ended = false;
    uint32_t generation = LOAD(modules->generation);
    for (unsigned i = 0; i < row_count(modules); i++) {
        struct mt_module *row = &modules->rows[i];
        if (LOAD(row->end_generation) || row->end <= fresh->start || row->start >= fresh->end) continue;
        atomic_store_explicit(&row->end_generation, generation + 1, memory_order_relaxed);
        has_ended = true;
    }
    if (has_ended) atomic_store_explicit(&modules->generation, generation + 1, memory_order_relaxed);
}

/* The first row of the same file, by path and build id. */
static uint32_t first_of(const struct mt_modules *modules, const struct mt_module *fresh)
{
    for (const struct mt_module *row = modules->rows; row < fresh; row++)
        if (row->build_id_bytes == fresh->build_id_bytes && !strcmp(row->path, fresh->path) &&
            !memcmp(row->build_id, fresh->build_id, sizeof row->build_id))
            return (uint32_t)(row - modules->rows) + 1;
    return (uint32_t)(fresh - modules->rows) + 1;
}

static int add_row(struct mt_core *core, const char *path, uint64_t base, uint64_t start, uint64_t end)
{
    struct mt_modules *modules = &core->segment->attribution.modules;
    unsigned at = LOAD(modules->count);
    if (at >= MT_MODULE_MAX) {
        atomic_fetch_add_explicit(&core->segment->attribution.lost[MT_LOST_MODULES], 1, memory_order_relaxed);
        return -1;
    }
    struct mt_module *row = &modules->rows[at];
    if (!mt_segment_commit(core, row, sizeof *row)) return -1;
    row->base = base;
    row->start = start;
    row->end = end;
    fill_path(core, row, path);
    read_headers(row);
    row->first = first_of(modules, row);
    end_overlapped(modules, row);
    row->first_generation = LOAD(modules->generation);
    atomic_store_explicit(&row->state, 1, memory_order_release);
    atomic_store_explicit(&modules->count, at + 1, memory_order_release);
    return (int)at;
}

int mt_module_seen(struct mt_core *core, const struct link_map *map, uintptr_t start, uintptr_t end)
{
    struct mt_modules *modules = &core->segment->attribution.modules;
    if (!map) return -1;
    const char *path = map->l_name ? map->l_name : "";
    int row = mt_module_find(core, start);
    if (row >= 0 && is_row_of(&modules->rows[row], path, map->l_addr, start, end)) return row;
    uint32_t idle = 0;
    while (!atomic_compare_exchange_weak_explicit(&modules->busy, &idle, 1, memory_order_acquire,
                                                  memory_order_relaxed)) {
        idle = 0;
        sched_yield();
    }
    row = mt_module_find(core, start);
    if (row < 0 || !is_row_of(&modules->rows[row], path, map->l_addr, start, end))
        row = add_row(core, path, map->l_addr, start, end);
    atomic_store_explicit(&modules->busy, 0, memory_order_release);
    return row;
}
