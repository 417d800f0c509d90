/*
 * Symbolises with libdwfl, one Dwfl per object file, opened on the first
 * question and kept. Demangling uses the C++ runtime's __cxa_demangle where
 * the runtime is installed. Only the memtrack command calls this.
 */
#include "symbols.h"

#include <dlfcn.h>
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUCKETS = 4096, INLINES_MAX = 32 };

/* A symbol of code; `reach` is the highest end of this one and all before it. */
struct code_symbol {
    uint64_t start, end, reach;
    const char *name;
    bool is_local;
};

/* One object file, told apart by path and build-id. */
struct object {
    struct object *next;
    char *path;
    unsigned char build_id[32];
    uint32_t build_id_bytes;
    Dwfl *dwfl;
    Dwfl_Module *module; /* NULL: nothing to read */
    Dwarf_Addr bias;
    struct code_symbol *symbols; /* sorted by start; NULL: not read yet, or none */
    size_t symbol_count;
    bool has_read_symbols;
};

struct answer {
    struct answer *next;
    const struct object *object;
    uint64_t address;
    struct mt_symbol_list list;
};

struct text {
    struct text *next;
    char bytes[];
};

struct mt_symbols {
    struct object *objects;
    struct answer *answers[BUCKETS];
    struct text *texts[BUCKETS];
    char *(*demangle)(const char *, char *, size_t *, int *);
    char *debug_path;
    Dwfl_Callbacks callbacks;
};

struct mt_symbols *mt_symbols_new(bool may_ask_debuginfod)
{
    struct mt_symbols *symbols = calloc(1, sizeof *symbols);
    if (!symbols) return NULL;
    if (!may_ask_debuginfod) unsetenv("DEBUGINFOD_URLS");
    void *runtime = dlopen("libstdc++.so.6", RTLD_LAZY | RTLD_LOCAL);
    void *function = runtime ? dlsym(runtime, "__cxa_demangle") : NULL;
    symbols->demangle = (char *(*)(const char *, char *, size_t *, int *))(uintptr_t)function;
    symbols->callbacks.find_elf = dwfl_build_id_find_elf;
    symbols->callbacks.find_debuginfo = dwfl_standard_find_debuginfo;
    symbols->callbacks.section_address = dwfl_offline_section_address;
    symbols->callbacks.debuginfo_path = &symbols->debug_path;
    return symbols;
}

/* ---- strings ------------------------------------------------------------------------ */

static unsigned hash_text(const char *text)
{
    unsigned hash = 2166136261u; /* FNV-1a, 32 bit */
    for (; *text; text++) hash = (hash ^ (unsigned char)*text) * 16777619u;
    return hash % BUCKETS;
}

static const char *keep(struct mt_symbols *symbols, const char *bytes)
{
    if (!bytes || !*bytes) return NULL;
    struct text **bucket = &symbols->texts[hash_text(bytes)];
    for (struct text *text = *bucket; text; text = text->next)
        if (!strcmp(text->bytes, bytes)) return text->bytes;
    struct text *text = malloc(sizeof *text + strlen(bytes) + 1);
    if (!text) return NULL;
    strcpy(text->bytes, bytes);
    text->next = *bucket;
    *bucket = text;
    return text->bytes;
}

static const char *keep_function(struct mt_symbols *symbols, const char *name)
{
    if (!name || !*name) return NULL;
    bool is_mangled = symbols->demangle && name[0] == '_' && (name[1] == 'Z' || name[1] == '_');
    char *readable = is_mangled ? symbols->demangle(name, NULL, NULL, &(int){0}) : NULL;
    const char *kept = keep(symbols, readable ? readable : name);
    free(readable);
    return kept;
}

/* ---- objects ------------------------------------------------------------------------- */

static bool has_build_id(Dwfl_Module *module, const struct mt_module *row)
{
    const unsigned char *bits;
    GElf_Addr where;
    int bytes = dwfl_module_build_id(module, &bits, &where);
    if (!row->build_id_bytes) return bytes <= 0;
    return bytes == (int)row->build_id_bytes && !memcmp(bits, row->build_id, row->build_id_bytes);
}

static bool open_file(struct mt_symbols *symbols, struct object *object, const struct mt_module *row,
                      const char *path)
{
    object->dwfl = dwfl_begin(&symbols->callbacks);
    if (!object->dwfl) return false;
    object->module = dwfl_report_offline(object->dwfl, path, path, -1);
    dwfl_report_end(object->dwfl, NULL, NULL);
    GElf_Addr bias = 0;
    if (object->module && dwfl_module_getelf(object->module, &bias) && has_build_id(object->module, row)) {
        object->bias = bias;
        return true;
    }
    dwfl_end(object->dwfl);
    object->dwfl = NULL;
    object->module = NULL;
    return false;
}

/* The debug file that distributions install for a build-id also holds the symbol table. */
static bool open_debug_file(struct mt_symbols *symbols, struct object *object, const struct mt_module *row)
{
    char path[160];
    int at = snprintf(path, sizeof path, "/usr/lib/debug/.build-id/");
    if (row->build_id_bytes < 2) return false;
    for (uint32_t i = 0; i < row->build_id_bytes; i++)
        at += snprintf(path + at, sizeof path - (size_t)at, i == 1 ? "/%02x" : "%02x", row->build_id[i]);
    snprintf(path + at, sizeof path - (size_t)at, ".debug");
    return !access(path, R_OK) && open_file(symbols, object, row, path);
}

static bool is_object_of(const struct object *object, const struct mt_module *row)
{
    return object->build_id_bytes == row->build_id_bytes &&
           !memcmp(object->build_id, row->build_id, row->build_id_bytes) && !strcmp(object->path, row->path);
}

static struct object *object_of(struct mt_symbols *symbols, const struct mt_module *row)
{
    for (struct object *object = symbols->objects; object; object = object->next)
        if (is_object_of(object, row)) return object;
    struct object *object = calloc(1, sizeof *object);
    if (!object) return NULL;
    object->path = strdup(row->path);
    object->build_id_bytes = row->build_id_bytes;
    memcpy(object->build_id, row->build_id, sizeof object->build_id);
    if (!object->path) {
        free(object);
        return NULL;
    }
    struct stat info;
    bool is_file = row->path[0] == '/' && !stat(row->path, &info) && S_ISREG(info.st_mode);
    if (!is_file || !open_file(symbols, object, row, row->path)) open_debug_file(symbols, object, row);
    object->next = symbols->objects;
    symbols->objects = object;
    return object;
}

/* ---- the symbol table --------------------------------------------------------------------- */

static int by_start(const void *a, const void *b)
{
    const struct code_symbol *left = a, *right = b;
    if (left->start != right->start) return left->start < right->start ? -1 : 1;
    if (left->is_local != right->is_local)
        return left->is_local ? -1 : 1; /* a global name is found first from behind */
    return left->end < right->end ? -1 : left->end > right->end;
}

static bool is_code(const GElf_Sym *symbol)
{
    int type = GELF_ST_TYPE(symbol->st_info);
    return symbol->st_shndx != SHN_UNDEF && (type == STT_FUNC || type == STT_GNU_IFUNC || type == STT_NOTYPE);
}

/* libdwfl goes through the whole table for each address; the large libraries of drivers have 100,000 symbols. */
static void read_symbols(struct object *object)
{
    int count = dwfl_module_getsymtab(object->module);
    object->has_read_symbols = true;
    if (count <= 0) return;
    object->symbols = calloc((size_t)count, sizeof *object->symbols);
    for (int i = 0; object->symbols && i < count; i++) {
        GElf_Sym symbol;
        GElf_Addr start;
        const char *name = dwfl_module_getsym_info(object->module, i, &symbol, &start, NULL, NULL, NULL);
        if (!name || !*name || *name == '$' || !is_code(&symbol)) continue;
        object->symbols[object->symbol_count++] = (struct code_symbol){start, start + symbol.st_size, 0, name,
                                                                       GELF_ST_BIND(symbol.st_info) == STB_LOCAL};
    }
    if (object->symbol_count) qsort(object->symbols, object->symbol_count, sizeof *object->symbols, by_start);
    uint64_t reach = 0;
    for (size_t i = 0; i < object->symbol_count; i++) {
        if (object->symbols[i].end > reach) reach = object->symbols[i].end;
        object->symbols[i].reach = reach;
    }
}

/*
 * The name of the symbol that the address lies in, the nearest where several
 * do; else of a label without a size, where nothing else comes in between.
 */
static const char *symbol_at(struct object *object, uint64_t address)
{
    if (!object->has_read_symbols) read_symbols(object);
    size_t low = 0, high = object->symbol_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (object->symbols[middle].start <= address)
            low = middle + 1;
        else
            high = middle;
    }
    for (size_t i = low; i-- > 0 && object->symbols[i].reach > address;)
        if (object->symbols[i].end > address) return object->symbols[i].name;
    const struct code_symbol *nearest = low ? &object->symbols[low - 1] : NULL;
    return nearest && nearest->end == nearest->start ? nearest->name : NULL;
}

/* ---- looking up ------------------------------------------------------------------------- */

static const char *name_of_die(Dwarf_Die *die)
{
    Dwarf_Attribute attribute;
    const char *linkage = dwarf_formstring(dwarf_attr_integrate(die, DW_AT_linkage_name, &attribute)
                                               ? &attribute
                                               : dwarf_attr_integrate(die, DW_AT_MIPS_linkage_name, &attribute));
    return linkage ? linkage : dwarf_diename(die);
}

static void set_call_site(struct mt_symbols *symbols, struct mt_symbol *symbol, Dwarf_Die *inlined, Dwarf_Die *unit)
{
    Dwarf_Attribute attribute;
    Dwarf_Word file = 0, line = 0;
    Dwarf_Files *files = NULL;
    size_t count = 0;
    if (!dwarf_formudata(dwarf_attr(inlined, DW_AT_call_line, &attribute), &line)) symbol->line = (int)line;
    if (!dwarf_formudata(dwarf_attr(inlined, DW_AT_call_file, &attribute), &file) &&
        !dwarf_getsrcfiles(unit, &files, &count) && file < count)
        symbol->file = keep(symbols, dwarf_filesrc(files, file, NULL, NULL));
}

/* The function and what was inlined into it at the address, innermost first. Returns their number. */
static size_t look_up_scopes(struct mt_symbols *symbols, const struct object *object, Dwarf_Addr address,
                             struct mt_symbol *found)
{
    Dwarf_Addr bias;
    Dwarf_Die *unit = dwfl_module_addrdie(object->module, address, &bias), *around = NULL, *scopes = NULL;
    if (!unit) return 0;
    size_t count = 0;
    int around_count = dwarf_getscopes(unit, address - bias, &around);
    int scope_count = around_count > 0 ? dwarf_getscopes_die(&around[0], &scopes) : 0;
    for (int i = 0; i < scope_count && count < INLINES_MAX; i++) {
        int tag = dwarf_tag(&scopes[i]);
        if (tag != DW_TAG_inlined_subroutine && tag != DW_TAG_subprogram) continue;
        found[count].function = keep_function(symbols, name_of_die(&scopes[i]));
        found[count].is_inlined = tag == DW_TAG_inlined_subroutine;
        count++;
        if (tag == DW_TAG_subprogram) break;
        if (count < INLINES_MAX) set_call_site(symbols, &found[count], &scopes[i], unit);
    }
    free(around);
    free(scopes);
    if (count) found[count - 1].is_inlined = false;
    return count;
}

static size_t look_up(struct mt_symbols *symbols, struct object *object, uint64_t address, struct mt_symbol *found)
{
    if (!object || !object->module) return 1;
    Dwarf_Addr where = address + object->bias;
    size_t count = look_up_scopes(symbols, object, where, found);
    Dwfl_Line *line = dwfl_module_getsrc(object->module, where);
    const char *file = line ? dwfl_lineinfo(line, NULL, &found[0].line, NULL, NULL, NULL) : NULL;
    found[0].file = keep(symbols, file);
    if (count && found[count - 1].function) return count;
    if (!count) count = 1;
    found[count - 1].function = keep_function(symbols, symbol_at(object, where));
    return count;
}

static struct answer *answer_of(struct mt_symbols *symbols, struct object *object, uint64_t address)
{
    unsigned at = (unsigned)((address ^ ((uintptr_t)object >> 4)) * UINT64_C(0x9e3779b97f4a7c15) >> 52) % BUCKETS;
    for (struct answer *answer = symbols->answers[at]; answer; answer = answer->next)
        if (answer->object == object && answer->address == address) return answer;
    struct mt_symbol found[INLINES_MAX + 1];
    memset(found, 0, sizeof found);
    size_t count = look_up(symbols, object, address, found);
    struct answer *answer = calloc(1, sizeof *answer);
    struct mt_symbol *copy = malloc(count * sizeof *copy);
    if (!answer || !copy) {
        free(answer);
        free(copy);
        return NULL;
    }
    memcpy(copy, found, count * sizeof *copy);
    *answer = (struct answer){symbols->answers[at], object, address, {copy, count}};
    symbols->answers[at] = answer;
    return answer;
}

struct mt_symbol_list mt_symbols_of_return(struct mt_symbols *symbols, const struct mt_module *module,
                                           uint64_t return_address)
{
    static const struct mt_symbol unknown;
    struct answer *answer = NULL;
    if (symbols && module)
        answer = answer_of(symbols, object_of(symbols, module), return_address - 1 - module->base);
    return answer ? answer->list : (struct mt_symbol_list){&unknown, 1};
}
