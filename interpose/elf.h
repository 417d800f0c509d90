/*
 * Finds exported symbols by reading the hash tables of the loaded objects.
 * For what dlsym cannot be asked: where dlsym itself is, and whether a symbol
 * exists at all (a failed dlsym allocates and changes what dlerror returns).
 * Takes the loader's lock for a moment; must not be called under another lock.
 */
#ifndef MT_ELF_H
#define MT_ELF_H

#include <stdbool.h>
#include <stdint.h>

struct mt_elf_symbol {
    void *address;
    const char *object; /* path of the object as the loader has it; "" is the program itself */
    uintptr_t base;     /* load address of the object */
    bool is_ours;       /* it lies in this library */
};

enum mt_elf_where {
    MT_ELF_FIRST,    /* the first object in load order that defines it, this library included */
    MT_ELF_OTHER,    /* the first object that is not this library */
    MT_ELF_AFTER_US, /* the first object after this library */
    MT_ELF_LIBC,     /* libc.so or libdl.so */
};

bool mt_elf_find(const char *name, enum mt_elf_where where, struct mt_elf_symbol *symbol);

/* The address range of the object that holds an address; false when there is none. */
bool mt_elf_range(const void *address, uintptr_t *low, uintptr_t *high);

/*
 * Whether memtrack can stand in the place of the library that holds an address:
 * some object was linked with it (it was not put in front by LD_PRELOAD), and
 * no object takes a function of it that memtrack does not have, other than the
 * harmless ones listed, up to NULL. Objects opened later are not looked at.
 */
bool mt_elf_is_replaceable(const void *address, const char *const *harmless);

#endif
