/*
 * Names for addresses: functions, inlined calls, files and lines, read with
 * elfutils from the object, its separate debug file (by build-id) or, when
 * asked for, a debuginfod server. What was found is kept for the next report.
 * One thread.
 */
#ifndef MT_SYMBOLS_H
#define MT_SYMBOLS_H

#include "core.h"

struct mt_symbol {
    const char *function; /* demangled; NULL: not known */
    const char *file;     /* NULL: not known */
    int line;             /* 0: not known */
    bool is_inlined;      /* into the next symbol */
};

struct mt_symbol_list {
    const struct mt_symbol *symbols; /* innermost first; at least one */
    size_t count;
};

struct mt_symbols;

/* For the life of the process. NULL when there is no memory. */
struct mt_symbols *mt_symbols_new(bool may_ask_debuginfod);

/*
 * Names for the call in front of a return address of a module (the byte
 * before it is what is looked up). The strings live as long as `symbols`.
 */
struct mt_symbol_list mt_symbols_of_return(struct mt_symbols *symbols, const struct mt_module *module,
                                           uint64_t return_address);

#endif
