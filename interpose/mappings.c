/*
 * The set of the program's mappings: a sorted array of ranges, neighbours
 * merged, behind a lock that is tried for a bounded time. A thread holds it
 * only over a binary search and a move; it never sleeps, allocates from the
 * heap or calls the program while it does.
 *
 * A removal is recorded before the system call and an addition after it, so
 * that another thread that is given the same addresses meanwhile is not lost.
 * What the next allocator maps for its heap is left out: its blocks are
 * counted already.
 */
#include "mappings.h"

#include "core.h"
#include "count.h"
#include "export.h"
#include "init.h"
#include "rlimit.h"
#include "next.h"

#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

#define FETCH_ADD(field, value) atomic_fetch_add_explicit(&(field), value, memory_order_relaxed)
#define STORE(field, value)     atomic_store_explicit(&(field), value, memory_order_relaxed)

enum { FIRST_RANGES = 256, MAX_RANGES = 1 << 20, TRIES = 20000, PAGE = 4096 };

struct range {
    uintptr_t low, high;
};

static struct range first_ranges[FIRST_RANGES];
static struct {
    _Atomic bool is_locked;
    struct range *ranges;
    size_t count, room;
    uint64_t bytes, peak_bytes;
    uint64_t map_count, unmap_count;
} set = {.ranges = first_ranges, .room = FIRST_RANGES};

/* ---- the lock --------------------------------------------------------------------- */

static bool try_lock(void)
{
    for (unsigned i = 0; i < TRIES; i++) {
        /* Acquire pairs with the release in unlock(). */
        if (!atomic_load_explicit(&set.is_locked, memory_order_relaxed) &&
            !atomic_exchange_explicit(&set.is_locked, true, memory_order_acquire))
            return true;
        if (i > 100) sched_yield();
    }
    return false;
}

/*
 * Fails where waiting could last for ever: in a signal handler that
 * interrupted the holder, and when the holder has been stopped. The thread's
 * own mark is set before the lock is taken and cleared after it is given back.
 */
static bool lock(void)
{
    struct mt_thread *thread = &mt_thread;
    if (!thread->holds_mappings) {
        thread->holds_mappings = true;
        atomic_signal_fence(memory_order_seq_cst);
        if (try_lock()) return true;
        thread->holds_mappings = false;
    }
    mt_core_drop(&mt_core, MT_DROPPED_MAPPINGS);
    return false;
}

static void unlock(void)
{
    atomic_store_explicit(&set.is_locked, false, memory_order_release);
    atomic_signal_fence(memory_order_seq_cst);
    mt_thread.holds_mappings = false;
}

/* The lock is kept over the fork; holds_mappings remembers that it is. */
void mt_mappings_before_fork(void)
{
    lock();
}

void mt_mappings_after_fork_in_parent(void)
{
    if (mt_thread.holds_mappings) unlock();
}

void mt_mappings_after_fork_in_child(void)
{
    if (!mt_thread.holds_mappings) { /* another thread was changing the set: begin anew */
        set.count = 0;
        set.bytes = 0;
    }
    set.peak_bytes = set.bytes;
    set.map_count = 0;
    set.unmap_count = 0;
    unlock();
}

/* ---- the set ------------------------------------------------------------------------- */

/* The first range that ends at or after an address. */
static size_t find(uintptr_t low)
{
    size_t from = 0, to = set.count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (set.ranges[middle].high < low)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

static bool grow(void)
{
    if (set.room >= MAX_RANGES) return false;
    struct range *larger = mt_private_map(&mt_core, set.room * 2 * sizeof *larger);
    if (!larger) return false;
    memcpy(larger, set.ranges, set.count * sizeof *larger);
    if (set.ranges != first_ranges) mt_private_unmap(&mt_core, set.ranges, set.room * sizeof *larger);
    set.ranges = larger;
    set.room *= 2;
    return true;
}

/* Makes room for `more` ranges in place of `fewer` ones. */
static bool resize_at(size_t at, size_t fewer, size_t more)
{
    if (set.count - fewer + more > set.room && !grow()) return false;
    memmove(&set.ranges[at + more], &set.ranges[at + fewer], (set.count - at - fewer) * sizeof *set.ranges);
    set.count = set.count - fewer + more;
    return true;
}

/* Takes a range out; returns how many of its bytes were in the set. */
static uint64_t take_out(uintptr_t low, uintptr_t high)
{
    size_t at = find(low + 1), end = at;
    uint64_t bytes = 0;
    for (; end < set.count && set.ranges[end].low < high; end++) {
        uintptr_t from = set.ranges[end].low > low ? set.ranges[end].low : low;
        uintptr_t to = set.ranges[end].high < high ? set.ranges[end].high : high;
        bytes += to - from;
    }
    if (at == end) return 0;
    struct range left = {set.ranges[at].low, low}, right = {high, set.ranges[end - 1].high};
    size_t more = (left.low < left.high) + (right.low < right.high);
    if (!resize_at(at, end - at, more)) {
        mt_core_drop(&mt_core, MT_DROPPED_MAPPINGS);
        return 0;
    }
    if (left.low < left.high) set.ranges[at++] = left;
    if (right.low < right.high) set.ranges[at] = right;
    set.bytes -= bytes;
    return bytes;
}

/* Puts in a range that overlaps none; joins it with its neighbours. */
static void put_in(uintptr_t low, uintptr_t high)
{
    size_t at = find(low), end = at;
    struct range range = {low, high};
    while (end < set.count && set.ranges[end].low <= high) end++;
    if (end > at) {
        if (set.ranges[at].low < low) range.low = set.ranges[at].low;
        if (set.ranges[end - 1].high > high) range.high = set.ranges[end - 1].high;
    }
    if (!resize_at(at, end - at, 1)) {
        mt_core_drop(&mt_core, MT_DROPPED_MAPPINGS);
        return;
    }
    set.ranges[at] = range;
    set.bytes += high - low;
    if (set.bytes > set.peak_bytes) set.peak_bytes = set.bytes;
}

static void publish(void)
{
    if (!mt_core_is_on(&mt_core)) return;
    struct mt_globals *globals = &mt_core.segment->globals;
    STORE(globals->mapped_bytes, set.bytes);
    STORE(globals->mapped_peak_bytes, set.peak_bytes);
    STORE(globals->mapped_count, set.count);
    STORE(globals->map_count, set.map_count);
    STORE(globals->unmap_count, set.unmap_count);
}

void mt_mappings_publish(void)
{
    if (!lock()) return;
    if (mt_core.options.number[MT_OPT_MAPPINGS]) publish();
    unlock();
}

bool mt_mappings_after(uintptr_t address, uintptr_t *low, uintptr_t *high)
{
    if (!lock()) return false;
    size_t at = find(address + 1);
    bool is_there = at < set.count;
    if (is_there) {
        *low = set.ranges[at].low > address ? set.ranges[at].low : address;
        *high = set.ranges[at].high;
    }
    unlock();
    return is_there;
}

/* ---- recording -------------------------------------------------------------------------- */

static uintptr_t page_up(uintptr_t value)
{
    return (value + PAGE - 1) & ~(uintptr_t)(PAGE - 1);
}

static void record_mapped(void *address, size_t bytes)
{
    uintptr_t low = (uintptr_t)address, high = low + page_up(bytes);
    if (!lock()) return;
    take_out(low, high); /* MAP_FIXED replaces what was there */
    put_in(low, high);
    set.map_count++;
    publish();
    unlock();
}

static uint64_t record_unmapped(void *address, size_t bytes)
{
    uintptr_t low = (uintptr_t)address, high = low + page_up(bytes);
    if (low % PAGE || high <= low || !lock()) return 0;
    uint64_t removed = take_out(low, high);
    if (removed) set.unmap_count++;
    publish();
    unlock();
    return removed;
}

/* A call failed whose removal is recorded: put the range back when all of it was in the set. */
static void undo_unmapped(void *address, size_t bytes, uint64_t removed)
{
    uintptr_t low = (uintptr_t)address, high = low + page_up(bytes);
    if (!removed || !lock()) return;
    if (removed == high - low)
        put_in(low, high);
    else
        mt_core_drop(&mt_core, MT_DROPPED_MAPPINGS);
    set.unmap_count--;
    publish();
    unlock();
}

/* The next allocator's own mappings hold blocks that are counted one by one. */
static bool is_wanted(const void *caller)
{
    if (mt_thread.is_busy || !mt_init_wants_mappings()) return false;
    return (uintptr_t)caller - mt_next.low >= mt_next.high - mt_next.low;
}

/* ---- the hooks ------------------------------------------------------------------------------ */

static struct {
    void *_Atomic mmap, *_Atomic munmap, *_Atomic mremap, *_Atomic sbrk, *_Atomic brk;
} next;

void mt_mappings_find_next(void)
{
    mt_next_find_once(&next.mmap, "mmap");
    mt_next_find_once(&next.munmap, "munmap");
    mt_next_find_once(&next.mremap, "mremap");
    mt_next_find_once(&next.sbrk, "sbrk");
    mt_next_find_once(&next.brk, "brk");
}

static void *map_next(void *address, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    void *real = mt_thread.is_busy ? NULL : mt_next_find_once(&next.mmap, "mmap");
    if (real)
        return ((void *(*)(void *, size_t, int, int, int, off_t))(uintptr_t)real)(address, bytes, protection, flags,
                                                                                  fd, offset);
    return (void *)syscall(SYS_mmap, address, bytes, protection, flags, fd, offset);
}

static void *map(void *address, size_t bytes, int protection, int flags, int fd, off_t offset, const void *caller)
{
    void *mapped = map_next(address, bytes, protection, flags, fd, offset);
    if (mapped == MAP_FAILED && errno == ENOMEM && mt_rlimit_make_room())
        mapped = map_next(address, bytes, protection, flags, fd, offset);
    if (mapped == MAP_FAILED || !is_wanted(caller)) return mapped;
    int saved = errno;
    record_mapped(mapped, bytes);
    errno = saved;
    return mapped;
}

MT_EXPORT void *mmap(void *address, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    return map(address, bytes, protection, flags, fd, offset, __builtin_return_address(0));
}

MT_EXPORT void *mmap64(void *address, size_t bytes, int protection, int flags, int fd, off64_t offset)
{
    return map(address, bytes, protection, flags, fd, offset, __builtin_return_address(0));
}

static int unmap_next(void *address, size_t bytes)
{
    void *real = mt_thread.is_busy ? NULL : mt_next_find_once(&next.munmap, "munmap");
    if (real) return ((int (*)(void *, size_t))(uintptr_t)real)(address, bytes);
    return (int)syscall(SYS_munmap, address, bytes);
}

MT_EXPORT int munmap(void *address, size_t bytes)
{
    if (!is_wanted(__builtin_return_address(0))) return unmap_next(address, bytes);
    int saved = errno;
    uint64_t removed = record_unmapped(address, bytes);
    errno = saved;
    int result = unmap_next(address, bytes);
    if (!result) return 0;
    saved = errno;
    undo_unmapped(address, bytes, removed);
    errno = saved;
    return result;
}

static void *remap_next(void *address, size_t old_bytes, size_t new_bytes, int flags, void *where)
{
    void *real = mt_thread.is_busy ? NULL : mt_next_find_once(&next.mremap, "mremap");
    if (real)
        return ((void *(*)(void *, size_t, size_t, int, ...))(uintptr_t)real)(address, old_bytes, new_bytes, flags,
                                                                              where);
    return (void *)syscall(SYS_mremap, address, old_bytes, new_bytes, flags, where);
}

MT_EXPORT void *mremap(void *address, size_t old_bytes, size_t new_bytes, int flags, ...)
{
    va_list list;
    va_start(list, flags);
    void *where = va_arg(list, void *);
    va_end(list);
    if (!is_wanted(__builtin_return_address(0))) return remap_next(address, old_bytes, new_bytes, flags, where);
    int saved = errno;
    /* With MREMAP_DONTUNMAP, and with no old size, the old range stays mapped. */
    bool stays = !old_bytes || (flags & MREMAP_DONTUNMAP);
    uint64_t removed = stays ? 0 : record_unmapped(address, old_bytes);
    errno = saved;
    void *mapped = remap_next(address, old_bytes, new_bytes, flags, where);
    saved = errno;
    if (mapped == MAP_FAILED)
        undo_unmapped(address, old_bytes, removed);
    else
        record_mapped(mapped, new_bytes);
    errno = saved;
    return mapped;
}

/* glibc's own heap moves the break without these calls. */
static void record_break(intptr_t change)
{
    if (!change || !mt_core_is_on(&mt_core)) return;
    FETCH_ADD(mt_core.segment->globals.brk_bytes, change);
}

MT_EXPORT void *sbrk(intptr_t change)
{
    void *real = mt_next_find_once(&next.sbrk, "sbrk");
    if (!real) {
        errno = ENOMEM;
        return (void *)-1;
    }
    void *before = ((void *(*)(intptr_t))(uintptr_t)real)(change);
    if (before != (void *)-1 && is_wanted(__builtin_return_address(0))) record_break(change);
    return before;
}

MT_EXPORT int brk(void *end)
{
    void *real = mt_next_find_once(&next.brk, "brk");
    void *real_sbrk = mt_next_find_once(&next.sbrk, "sbrk");
    if (!real || !real_sbrk) {
        errno = ENOMEM;
        return -1;
    }
    char *before = ((void *(*)(intptr_t))(uintptr_t)real_sbrk)(0);
    int result = ((int (*)(void *))(uintptr_t)real)(end);
    if (!result && is_wanted(__builtin_return_address(0))) record_break((char *)end - before);
    return result;
}
