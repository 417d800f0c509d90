/*
 * The library's file pages after its start. The kernel brings up to 64 KiB of
 * a mapped file with each fault, so a library whose parts are needed at
 * different times is soon resident as a whole: more than many a program takes
 * for itself. injected.ld lays the parts apart; here those that have done
 * their work are given back, and a boundary is put around them that faults do
 * not look across. Only clean pages of this library's code and constants.
 */
#include "resident.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdint.h>
#include <sys/mman.h>

#ifndef MADV_DONTDUMP
#define MADV_DONTDUMP 16
#endif

enum { PAGE_BYTES = 4096, PIECE_PAGES = 4 };

/* Where the parts begin, from injected.ld; without it nothing is given back. */
#define PART(name) extern const char name[] __attribute__((weak, visibility("hidden")))
PART(mt_part_relocations);
PART(mt_part_stacks);
PART(mt_part_large);
PART(mt_part_always);
PART(mt_part_unwind);
PART(mt_part_end);

static uintptr_t page_of(const char *address)
{
    return (uintptr_t)address & ~(uintptr_t)(PAGE_BYTES - 1);
}

static uintptr_t page_after(const char *address)
{
    return page_of(address + PAGE_BYTES - 1);
}

static void advise(uintptr_t low, uintptr_t high, int advice)
{
    if (low < high) madvise((void *)low, high - low, advice);
}

/*
 * Core dumps hold no code that its file has. Told so of one part and not of
 * its neighbour, the kernel keeps the two as mappings of their own, and a
 * fault in one brings no page of the other. A long part becomes an odd number
 * of pieces, so that each differs from its neighbours and the outermost ones
 * from what lies around the part.
 */
static void keep_apart(uintptr_t low, uintptr_t high)
{
    if (low >= high) return;
    uintptr_t pages = (high - low) / PAGE_BYTES, count = ((pages + PIECE_PAGES - 1) / PIECE_PAGES) | 1;
    for (uintptr_t i = 0; i < count; i += 2)
        advise(low + pages * i / count * PAGE_BYTES, low + pages * (i + 1) / count * PAGE_BYTES, MADV_DONTDUMP);
}

/*
 * The loader has read libc's symbol tables for this library, and its start has read some of libc's constants: most
 * of it nobody needs again. Code stays, where a debugger may have put its marks.
 */
static void release_libc(void)
{
    Dl_info info;
    if (!dladdr((const void *)(uintptr_t)&madvise, &info) || !info.dli_fbase) return;
    const char *base = info.dli_fbase;
    const ElfW(Ehdr) *header = (const ElfW(Ehdr) *)(const void *)base;
    const ElfW(Phdr) *part = (const ElfW(Phdr) *)(const void *)(base + header->e_phoff);
    for (unsigned i = 0; i < header->e_phnum; i++)
        if (part[i].p_type == PT_LOAD && part[i].p_flags == PF_R)
            advise(page_after(base + part[i].p_vaddr), page_of(base + part[i].p_vaddr + part[i].p_filesz),
                   MADV_DONTNEED);
}

void mt_resident_release_tables(void)
{
    int saved = errno;
    if (mt_part_always) advise(page_after(mt_part_unwind), page_after(mt_part_end), MADV_DONTNEED);
    errno = saved;
}

void mt_resident_settle(void)
{
    int saved = errno;
    if (!mt_part_always) return;
    keep_apart(page_after(mt_part_relocations), page_of(mt_part_stacks));
    keep_apart(page_of(mt_part_large), page_of(mt_part_always));
    advise(page_after(mt_part_unwind), page_after(mt_part_end), MADV_DONTDUMP);
    advise(page_after(mt_part_relocations), page_of(mt_part_always), MADV_DONTNEED);
    release_libc();
    advise(page_after(mt_part_unwind), page_after(mt_part_end), MADV_DONTNEED);
    errno = saved;
}
