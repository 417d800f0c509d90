/*
 * Reads the dynamic symbol tables of the loaded objects (ELF gABI, GNU hash).
 * Any thread, at start. Allocates nothing.
 */
#include "elf.h"

#include <elf.h>
#include <link.h>
#include <string.h>

struct tables {
    const ElfW(Sym) * symbols;
    const char *strings;
    const uint32_t *gnu_hash;
    const uint32_t *sysv_hash;
    const ElfW(Half) * versions;
};

/* The loader relocates the addresses of most dynamic sections, but not of all (the vDSO's). */
static const void *pointer_of(const struct dl_phdr_info *info, ElfW(Addr) value)
{
    return (const void *)(value < info->dlpi_addr ? value + info->dlpi_addr : value);
}

static const ElfW(Dyn) * dynamic_of(const struct dl_phdr_info *info)
{
    for (unsigned i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_DYNAMIC)
            return (const ElfW(Dyn) *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
    return NULL;
}

static bool read_tables(const struct dl_phdr_info *info, struct tables *tables)
{
    memset(tables, 0, sizeof *tables);
    const ElfW(Dyn) *entry = dynamic_of(info);
    for (; entry && entry->d_tag != DT_NULL; entry++) {
        const void *at = pointer_of(info, entry->d_un.d_ptr);
        switch (entry->d_tag) {
        case DT_SYMTAB: tables->symbols = at; break;
        case DT_STRTAB: tables->strings = at; break;
        case DT_GNU_HASH: tables->gnu_hash = at; break;
        case DT_HASH: tables->sysv_hash = at; break;
        case DT_VERSYM: tables->versions = at; break;
        default: break;
        }
    }
    return tables->symbols && tables->strings && (tables->gnu_hash || tables->sysv_hash);
}

/* Whether an object lists another, by its name in itself, among the libraries that it needs. */
static bool needs(const struct dl_phdr_info *info, const struct tables *tables, const char *name)
{
    for (const ElfW(Dyn) *entry = dynamic_of(info); entry && entry->d_tag != DT_NULL; entry++)
        if (entry->d_tag == DT_NEEDED && !strcmp(tables->strings + entry->d_un.d_val, name)) return true;
    return false;
}

static const char *own_name(const struct dl_phdr_info *info, const struct tables *tables)
{
    for (const ElfW(Dyn) *entry = dynamic_of(info); entry && entry->d_tag != DT_NULL; entry++)
        if (entry->d_tag == DT_SONAME) return tables->strings + entry->d_un.d_val;
    return NULL;
}

/* A defined function; among several versions the default one, which is not marked hidden. */
static bool is_match(const struct tables *tables, uint32_t index, const char *name, bool *is_default)
{
    const ElfW(Sym) *symbol = &tables->symbols[index];
    unsigned type = symbol->st_info & 0xf;
    if (symbol->st_shndx == SHN_UNDEF || !symbol->st_value) return false;
    if (type != STT_FUNC && type != STT_GNU_IFUNC && type != STT_NOTYPE) return false;
    if (strcmp(tables->strings + symbol->st_name, name)) return false;
    *is_default = !tables->versions || !(tables->versions[index] & 0x8000);
    return true;
}

static uint32_t gnu_hash_of(const char *name)
{
    uint32_t hash = 5381;
    for (; *name; name++) hash = hash * 33 + (unsigned char)*name;
    return hash;
}

static uint32_t sysv_hash_of(const char *name)
{
    uint32_t hash = 0;
    for (; *name; name++) {
        hash = (hash << 4) + (unsigned char)*name;
        hash = (hash ^ ((hash & 0xf0000000u) >> 24)) & 0x0fffffffu;
    }
    return hash;
}

static const ElfW(Sym) * find_gnu(const struct tables *tables, const char *name)
{
    const uint32_t *table = tables->gnu_hash;
    uint32_t bucket_count = table[0], first = table[1], bloom_count = table[2], shift = table[3];
    const ElfW(Addr) *bloom = (const ElfW(Addr) *)(const void *)(table + 4);
    const uint32_t *buckets = (const uint32_t *)(const void *)(bloom + bloom_count);
    const uint32_t *chain = buckets + bucket_count;
    enum { WORD_BITS = sizeof(ElfW(Addr)) * 8 };
    if (!bucket_count || !bloom_count) return NULL;
    uint32_t hash = gnu_hash_of(name);
    ElfW(Addr) word = bloom[(hash / WORD_BITS) % bloom_count];
    if (!((word >> (hash % WORD_BITS)) & (word >> ((hash >> shift) % WORD_BITS)) & 1)) return NULL;
    const ElfW(Sym) *found = NULL;
    uint32_t index = buckets[hash % bucket_count];
    if (index < first) return NULL;
    for (;; index++) {
        bool is_default = false;
        if (!((chain[index - first] ^ hash) >> 1) && is_match(tables, index, name, &is_default)) {
            found = &tables->symbols[index];
            if (is_default) return found;
        }
        if (chain[index - first] & 1) return found;
    }
}

static const ElfW(Sym) * find_sysv(const struct tables *tables, const char *name)
{
    uint32_t bucket_count = tables->sysv_hash[0];
    const uint32_t *buckets = tables->sysv_hash + 2, *chain = buckets + bucket_count;
    if (!bucket_count) return NULL;
    const ElfW(Sym) *found = NULL;
    for (uint32_t index = buckets[sysv_hash_of(name) % bucket_count]; index; index = chain[index]) {
        bool is_default = false;
        if (!is_match(tables, index, name, &is_default)) continue;
        found = &tables->symbols[index];
        if (is_default) break;
    }
    return found;
}

static const ElfW(Sym) * find_in(const struct tables *tables, const char *name)
{
    return tables->gnu_hash ? find_gnu(tables, name) : find_sysv(tables, name);
}

static bool contains(const struct dl_phdr_info *info, const void *address)
{
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        if (part->p_type == PT_LOAD && (uintptr_t)address - (info->dlpi_addr + part->p_vaddr) < part->p_memsz)
            return true;
    }
    return false;
}

struct search {
    const char *name;
    enum mt_elf_where where;
    bool seen_us;
    struct mt_elf_symbol *symbol;
};

static bool is_libc(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    return !strncmp(base, "libc.so", 7) || !strncmp(base, "libc-2", 6) || !strncmp(base, "libdl.so", 8) ||
           !strncmp(base, "libdl-2", 7);
}

static bool is_wanted(struct search *search, const char *path, bool is_ours)
{
    bool was_seen = search->seen_us;
    search->seen_us |= is_ours;
    switch (search->where) {
    case MT_ELF_FIRST: return true;
    case MT_ELF_OTHER: return !is_ours;
    case MT_ELF_AFTER_US: return was_seen;
    default: return is_libc(path);
    }
}

static int look_in(struct dl_phdr_info *info, size_t bytes, void *argument)
{
    (void)bytes;
    struct search *search = argument;
    struct tables tables;
    const char *path = info->dlpi_name ? info->dlpi_name : "";
    bool is_ours = contains(info, (const void *)(uintptr_t)&look_in);
    if (!is_wanted(search, path, is_ours) || !read_tables(info, &tables)) return 0;
    const ElfW(Sym) *found = find_in(&tables, search->name);
    if (!found) return 0;
    search->symbol->address = (void *)(info->dlpi_addr + found->st_value);
    search->symbol->object = path;
    search->symbol->base = info->dlpi_addr;
    search->symbol->is_ours = is_ours;
    return 1;
}

bool mt_elf_find(const char *name, enum mt_elf_where where, struct mt_elf_symbol *symbol)
{
    struct search search = {name, where, false, symbol};
    return dl_iterate_phdr(look_in, &search) != 0;
}

struct range {
    const void *address;
    uintptr_t low, high;
};

static int measure(struct dl_phdr_info *info, size_t bytes, void *argument)
{
    (void)bytes;
    struct range *range = argument;
    if (!contains(info, range->address)) return 0;
    range->low = UINTPTR_MAX;
    range->high = 0;
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        uintptr_t low = info->dlpi_addr + part->p_vaddr;
        if (part->p_type != PT_LOAD) continue;
        if (low < range->low) range->low = low;
        if (low + part->p_memsz > range->high) range->high = low + part->p_memsz;
    }
    return 1;
}

bool mt_elf_range(const void *address, uintptr_t *low, uintptr_t *high)
{
    struct range range = {address, 0, 0};
    if (!dl_iterate_phdr(measure, &range)) return false;
    *low = range.low;
    *high = range.high;
    return true;
}

/* ---- what a library is used for ------------------------------------------------------ */

struct usage {
    const void *address;         /* in the library */
    const char *const *harmless; /* names, up to NULL */
    struct tables library, ours;
    const char *name; /* of the library; NULL: not found, or without one */
    bool is_needed, is_used;
};

static int find_library(struct dl_phdr_info *info, size_t bytes, void *argument)
{
    (void)bytes;
    struct usage *usage = argument;
    if (contains(info, (const void *)(uintptr_t)&find_library)) read_tables(info, &usage->ours);
    if (contains(info, usage->address) && read_tables(info, &usage->library))
        usage->name = own_name(info, &usage->library);
    return 0;
}

/* A name that the library gives and memtrack does not, and that does more than tell. */
static bool is_own_function(const struct usage *usage, const char *name)
{
    if (!find_in(&usage->library, name) || find_in(&usage->ours, name)) return false;
    for (unsigned i = 0; usage->harmless[i]; i++)
        if (!strcmp(usage->harmless[i], name)) return false;
    return true;
}

/* The undefined symbols that relocations ask for: those are all that an object takes from others. */
static bool takes_own_function(const struct usage *usage, const struct tables *tables,
                               const ElfW(Rela) * relocations, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t index = __ELF_NATIVE_CLASS == 64 ? ELF64_R_SYM(relocations[i].r_info)
                                                : ELF32_R_SYM(relocations[i].r_info);
        const ElfW(Sym) *symbol = &tables->symbols[index];
        if (index && symbol->st_shndx == SHN_UNDEF && is_own_function(usage, tables->strings + symbol->st_name))
            return true;
    }
    return false;
}

static int look_at_user(struct dl_phdr_info *info, size_t bytes, void *argument)
{
    (void)bytes;
    struct usage *usage = argument;
    struct tables tables;
    const ElfW(Rela) * relocations[2] = {NULL, NULL};
    size_t sizes[2] = {0, 0};
    if (contains(info, usage->address) || !read_tables(info, &tables)) return 0;
    usage->is_needed |= needs(info, &tables, usage->name);
    for (const ElfW(Dyn) *entry = dynamic_of(info); entry->d_tag != DT_NULL; entry++) {
        switch (entry->d_tag) {
        case DT_RELA: relocations[0] = pointer_of(info, entry->d_un.d_ptr); break;
        case DT_RELASZ: sizes[0] = entry->d_un.d_val; break;
        case DT_JMPREL: relocations[1] = pointer_of(info, entry->d_un.d_ptr); break;
        case DT_PLTRELSZ: sizes[1] = entry->d_un.d_val; break;
        case DT_REL: usage->is_used = true; return 1; /* not read here */
        default: break;
        }
    }
    for (unsigned i = 0; i < 2; i++)
        usage->is_used |= takes_own_function(usage, &tables, relocations[i], sizes[i] / sizeof *relocations[i]);
    return usage->is_used;
}

bool mt_elf_is_replaceable(const void *address, const char *const *harmless)
{
    struct usage usage = {.address = address, .harmless = harmless};
    dl_iterate_phdr(find_library, &usage);
    if (!usage.name) return false;
    dl_iterate_phdr(look_at_user, &usage);
    return usage.is_needed && !usage.is_used;
}
