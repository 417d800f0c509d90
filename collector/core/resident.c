/*
 * The library's file pages after its start. The kernel brings up to 64 KiB of
 * a mapped file with each fault, so a library whose parts are needed at
 * different times is soon resident as a whole: more than many a program takes
 * for itself. injected.ld lays the parts apart; here those that have done
 * their work are given back, and a boundary is put around them that faults do
 * not look across. Only clean pages of this library's code and constants.
 */
#include "resident.h"

#include "sys_file.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/auxv.h>

#ifndef MADV_DONTDUMP
#define MADV_DONTDUMP 16
#endif

enum { PAGE_BYTES = 4096, PIECE_PAGES = 4, SYSTEM_OBJECTS = 2 };

/* Where the loader and libc lie. */
static const char *system_objects[SYSTEM_OBJECTS];

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
    if (low < high) mt_sys_madvise((void *)low, high - low, advice);
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

/* True when the file is what lies there: no debugger, probe or patch has put a page of its own in its place. */
static bool is_files_own(int pagemap, uintptr_t low, uintptr_t high)
{
    enum { BATCH = 192 };
    const uint64_t there = UINT64_C(3) << 62, of_file = UINT64_C(1) << 61; /* in memory or swapped out */
    uint64_t pages[BATCH];
    for (uintptr_t at = low; at < high; at += BATCH * PAGE_BYTES) {
        size_t count = (high - at) / PAGE_BYTES < BATCH ? (high - at) / PAGE_BYTES : BATCH;
        long got = mt_sys_call(SYS_pread64, pagemap, (long)(uintptr_t)pages, (long)(count * sizeof *pages),
                               (long)(at / PAGE_BYTES * sizeof *pages), 0, 0);
        if (got != (long)(count * sizeof *pages)) return false;
        for (size_t i = 0; i < count; i++)
            if ((pages[i] & there) && !(pages[i] & of_file)) return false;
    }
    return true;
}

static void release_object(const char *base, int pagemap)
{
    const ElfW(Ehdr) *header = (const ElfW(Ehdr) *)(const void *)base;
    const ElfW(Phdr) *part = (const ElfW(Phdr) *)(const void *)(base + header->e_phoff);
    for (unsigned i = 0; i < header->e_phnum; i++) {
        uintptr_t low = page_after(base + part[i].p_vaddr),
                  high = page_of(base + part[i].p_vaddr + part[i].p_filesz);
        if (part[i].p_type == PT_LOAD && !(part[i].p_flags & PF_W) && low < high &&
            is_files_own(pagemap, low, high))
            advise(low, high, MADV_DONTNEED);
    }
}

/*
 * The start of a process, the loader's part of it and this library's, goes through libc and the loader far and
 * wide, and most of it nobody needs again. No function of libc is called here, which would bring a part of it back.
 */
static void release_system(const char *const objects[SYSTEM_OBJECTS])
{
    int pagemap = mt_sys_open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC, 0);
    if (pagemap < 0) return;
    for (unsigned i = 0; i < SYSTEM_OBJECTS; i++)
        if (objects[i]) release_object(objects[i], pagemap);
    mt_sys_close(pagemap);
}

void mt_resident_release_tables(void)
{
    int saved = errno;
    if (mt_part_always) advise(page_after(mt_part_unwind), page_after(mt_part_end), MADV_DONTNEED);
    errno = saved;
}

void mt_resident_begin(void)
{
    Dl_info info;
    int saved = errno;
    if (!mt_part_always) return;
    system_objects[0] = (const char *)getauxval(AT_BASE);
    if (dladdr((const void *)(uintptr_t)&getauxval, &info)) system_objects[1] = info.dli_fbase;
    keep_apart(page_after(mt_part_relocations), page_of(mt_part_stacks));
    keep_apart(page_of(mt_part_large), page_of(mt_part_always));
    advise(page_after(mt_part_unwind), page_after(mt_part_end), MADV_DONTDUMP);
    release_system(system_objects);
    errno = saved;
}

void mt_resident_settle(void)
{
    int saved = errno;
    if (!mt_part_always) return;
    release_system(system_objects);
    advise(page_after(mt_part_relocations), page_of(mt_part_always), MADV_DONTNEED);
    advise(page_after(mt_part_unwind), page_after(mt_part_end), MADV_DONTNEED);
    errno = saved;
}
