/*
 * The exported function that holds an address, read from the loaded object's
 * own symbol table: for rules that name functions. Takes no lock: the loader
 * is asked only through _dl_find_object. Any thread, never on a fast path.
 */
#include "arena_sites.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>

extern int _dl_find_object(void *address, struct dl_find_object *result) __attribute__((weak));

struct symbols {
    const ElfW(Sym) * table;
    const char *names;
    const uint32_t *gnu_hash, *hash;
};

static struct symbols symbols_of(const struct link_map *map)
{
    struct symbols found = {0};
    for (const ElfW(Dyn) *entry = map->l_ld; entry && entry->d_tag != DT_NULL; entry++) {
        uintptr_t at = entry->d_un.d_ptr;
        switch (entry->d_tag) {
        case DT_SYMTAB: found.table = (const ElfW(Sym) *)at; break;
        case DT_STRTAB: found.names = (const char *)at; break;
        case DT_GNU_HASH: found.gnu_hash = (const uint32_t *)at; break;
        case DT_HASH: found.hash = (const uint32_t *)at; break;
        default: break;
        }
    }
    return found;
}

/* The GNU table has no count: it is one more than the last symbol of the last chain. */
static uint32_t count_by_gnu_hash(const uint32_t *table)
{
    uint32_t bucket_count = table[0], first = table[1], filter_words = table[2], last = 0;
    const uint32_t *buckets = table + 4 + filter_words * (sizeof(ElfW(Addr)) / sizeof *table);
    const uint32_t *chains = buckets + bucket_count;
    for (uint32_t i = 0; i < bucket_count; i++)
        if (buckets[i] > last) last = buckets[i];
    if (last < first) return first;
    while (!(chains[last - first] & 1)) last++;
    return last + 1;
}

static uint32_t count_of(const struct symbols *symbols)
{
    if (symbols->hash) return symbols->hash[1];
    return symbols->gnu_hash ? count_by_gnu_hash(symbols->gnu_hash) : 0;
}

const char *mt_arena_symbol_of(uintptr_t return_address)
{
    struct dl_find_object object;
    uintptr_t address = return_address - 1;
    if (!_dl_find_object || _dl_find_object((void *)address, &object)) return "";
    struct symbols symbols = symbols_of(object.dlfo_link_map);
    if (!symbols.table || !symbols.names) return "";
    uintptr_t relative = address - object.dlfo_link_map->l_addr;
    uint32_t count = count_of(&symbols);
    for (uint32_t i = 1; i < count; i++) {
        const ElfW(Sym) *symbol = &symbols.table[i];
        if (ELF64_ST_TYPE(symbol->st_info) == STT_FUNC && symbol->st_shndx != SHN_UNDEF &&
            relative >= symbol->st_value && relative - symbol->st_value < symbol->st_size)
            return symbols.names + symbol->st_name;
    }
    return "";
}
