/*
 * The system calls of the pools. They never touch errno and never allocate.
 */
#include "os.h"
#include "lock.h"
#include "sys_file.h"

#include <errno.h>

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

_Atomic int64_t mt_os_fail_at = -1;
_Atomic bool mt_os_fail_on;

static bool is_to_fail(void)
{
    int64_t left = atomic_load_explicit(&mt_os_fail_at, memory_order_relaxed);
    if (left < 0) return false;
    if (!left && atomic_load_explicit(&mt_os_fail_on, memory_order_relaxed)) return true;
    return atomic_fetch_sub_explicit(&mt_os_fail_at, 1, memory_order_relaxed) == 0;
}

/* 0: not known (any more), 1: no, 2: yes. */
static _Atomic int tightness;

static bool is_limited(int resource)
{
    struct rlimit limit;
    return !mt_sys_getrlimit(resource, &limit) && limit.rlim_cur < MT_OS_PLENTY;
}

bool mt_os_is_tight(void)
{
    int known = atomic_load_explicit(&tightness, memory_order_relaxed);
    if (known) return known == 2;
    int saved = errno;
    bool is_tight = is_limited(RLIMIT_AS) || is_limited(RLIMIT_DATA);
    errno = saved;
    atomic_store_explicit(&tightness, is_tight ? 2 : 1, memory_order_relaxed);
    return is_tight;
}

void mt_os_limits_changed(void)
{
    atomic_store_explicit(&tightness, 0, memory_order_relaxed);
}

/* ---- the break: where mmap gives nothing, as a program's own malloc would do ------------- */

static struct {
    struct mt_lock lock; /* only tried for, so that a fork's child cannot wait for it */
    _Atomic uintptr_t low, high;
} spare;

/* What lies here is never unmapped, because the range is the break's. */
static bool is_spare(const void *at)
{
    uintptr_t address = (uintptr_t)at;
    return address < atomic_load_explicit(&spare.high, memory_order_relaxed) &&
           address >= atomic_load_explicit(&spare.low, memory_order_relaxed);
}

static void *move_break(size_t bytes)
{
    void *at = sbrk((intptr_t)(bytes + MT_OS_PAGE));
    if (at == (void *)-1) return NULL;
    uintptr_t first = ((uintptr_t)at + MT_OS_PAGE - 1) & ~(uintptr_t)(MT_OS_PAGE - 1);
    if (!spare.low) atomic_store_explicit(&spare.low, first, memory_order_relaxed);
    atomic_store_explicit(&spare.high, first + bytes, memory_order_relaxed);
    mt_own_memory_add((void *)first, bytes);
    return (void *)first;
}

static void *map_spare(size_t bytes)
{
    if (bytes > PTRDIFF_MAX / 2 || !mt_sys_may_call() || !mt_lock_try(&spare.lock)) return NULL;
    void *at = move_break(bytes);
    mt_lock_give(&spare.lock);
    return at;
}

/* ---- mappings ------------------------------------------------------------------------------ */

static void *map(size_t bytes, int protection, int flags)
{
    if (is_to_fail()) return NULL;
    int saved = errno;
    void *at = mt_sys_mmap(NULL, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1);
    if (at == MAP_FAILED) {
        mt_os_limits_changed(); /* without a call of libc's */
        at = protection == PROT_NONE ? NULL : map_spare(bytes);
    }
    errno = saved;
    return at;
}

static void *map_aligned(size_t bytes, size_t alignment, int protection, int flags)
{
    if (alignment <= MT_OS_PAGE) return map(bytes, protection, flags);
    if (bytes > SIZE_MAX - alignment) return NULL;
    char *at = map(bytes + alignment, protection, flags);
    if (!at) return NULL;
    size_t pad = (0 - (uintptr_t)at) & (alignment - 1);
    if (pad) mt_os_unmap(at, pad);
    if (alignment - pad) mt_os_unmap(at + pad + bytes, alignment - pad);
    return at + pad;
}

void *mt_os_map(size_t bytes)
{
    return map(bytes, PROT_READ | PROT_WRITE, MAP_NORESERVE);
}

void *mt_os_map_aligned(size_t bytes, size_t alignment)
{
    return map_aligned(bytes, alignment, PROT_READ | PROT_WRITE, MAP_NORESERVE);
}

void *mt_os_reserve(size_t bytes, size_t alignment)
{
    return map_aligned(bytes, alignment, PROT_NONE, MAP_NORESERVE);
}

bool mt_os_open(void *at, size_t bytes)
{
    if (is_to_fail() || !mt_sys_may_call()) return false;
    int saved = errno;
    bool is_done = mt_sys_mprotect(at, bytes, PROT_READ | PROT_WRITE) == 0;
    errno = saved;
    return is_done;
}

void *mt_os_map_block(size_t bytes, size_t alignment)
{
    return map_aligned(bytes, alignment, PROT_READ | PROT_WRITE, 0);
}

void mt_os_unmap(void *at, size_t bytes)
{
    int saved = errno;
    if (!mt_sys_may_call()) return;
    if (is_spare(at))
        mt_sys_madvise(at, bytes, MADV_DONTNEED); /* lost but for that: it happens seldom */
    else
        mt_sys_munmap(at, bytes);
    errno = saved;
}

bool mt_os_resize(void *at, size_t old_bytes, size_t new_bytes)
{
    if (is_spare(at) || !mt_sys_may_call() || (new_bytes > old_bytes && is_to_fail())) return false;
    int saved = errno;
    bool is_done = mt_sys_mremap(at, old_bytes, new_bytes, 0, NULL) == at;
    errno = saved;
    if (is_done && mt_own_memory_kept()) {
        mt_own_memory_remove(at, old_bytes);
        mt_own_memory_add(at, new_bytes);
    }
    return is_done;
}

bool mt_os_move(void *from, size_t old_bytes, void *to, size_t new_bytes)
{
    if (is_spare(from) || is_spare(to) || !mt_sys_may_call()) return false;
    int saved = errno;
    bool is_done = mt_sys_mremap(from, old_bytes, new_bytes, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to;
    errno = saved;
    if (is_done) mt_own_memory_remove(from, old_bytes);
    return is_done;
}

bool mt_os_move_content(void *from, void *to, size_t bytes)
{
    if (is_spare(from) || is_spare(to) || !mt_sys_may_call()) return false;
    int saved = errno;
    bool is_done = mt_sys_mremap(from, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, to) == to;
    errno = saved;
    return is_done;
}

bool mt_os_purge(void *at, size_t bytes)
{
    int saved = errno;
    if (!mt_sys_may_call()) return false;
    bool is_done = mt_sys_madvise(at, bytes, MADV_DONTNEED) == 0;
    errno = saved;
    return is_done;
}

bool mt_os_advise_huge(void *at, size_t bytes, bool is_wanted)
{
    if (!mt_sys_may_call()) return false;
    int saved = errno;
    bool is_done = mt_sys_madvise(at, bytes, is_wanted ? MADV_HUGEPAGE : MADV_NOHUGEPAGE) == 0;
    errno = saved;
    return is_done;
}
