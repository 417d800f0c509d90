/*
 * Memory from the system for the pools, by raw system call: the program's own
 * mappings are counted elsewhere. Any thread; errno is preserved; nothing here
 * is on a fast path.
 */
#ifndef MT_POOLS_OS_H
#define MT_POOLS_OS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MT_OS_PAGE = 4096 };

/* Zeroed memory, whole pages; NULL when there is none, not by moving the break either. mt_os_map_aligned() for
 * alignments above a page. */
void *mt_os_map(size_t bytes);
void *mt_os_map_aligned(size_t bytes, size_t alignment);
/* The same for what a program asked for in one piece: more than the machine can ever give is refused, as by libc.
 */
void *mt_os_map_block(size_t bytes, size_t alignment);
/* Address space alone, and whole pages of it that can be used from now on. NULL and false where that cannot be had.
 */
void *mt_os_reserve(size_t bytes, size_t alignment);
bool mt_os_open(void *at, size_t bytes);
void mt_os_unmap(void *at, size_t bytes);
/* Changes the size in place. False, with nothing changed, when it cannot. */
bool mt_os_resize(void *at, size_t old_bytes, size_t new_bytes);
/* Moves the pages of a mapping to another one, which they replace. False, with nothing changed, when it cannot. */
bool mt_os_move(void *from, size_t old_bytes, void *to, size_t new_bytes);
/*
 * Moves the memory behind whole pages to another place of the same size,
 * whose own memory goes back; the old place stays and reads as zero. False,
 * with nothing changed, where the system cannot.
 */
bool mt_os_move_content(void *from, void *to, size_t bytes);
/* Gives the memory behind whole pages back; they read as zero afterwards. False when they keep their content. */
bool mt_os_purge(void *at, size_t bytes);

/* Asks for huge pages in a range, or to use none there (any more). False where it cannot be asked
 * for them. */
bool mt_os_advise_huge(void *at, size_t bytes, bool is_wanted);

/* True where address space is limited to less than this, so that none should be taken in advance. */
#define MT_OS_PLENTY (UINT64_C(16) << 30)
bool mt_os_is_tight(void);
/* A limit was set meanwhile. */
void mt_os_limits_changed(void);

/* For tests: the request for memory with this number, counted from now, fails; negative = none does, every later
 * one too. */
extern _Atomic int64_t mt_os_fail_at;
/* For tests: true makes every request from fail_at on fail, not only one. */
extern _Atomic bool mt_os_fail_on;

#endif
