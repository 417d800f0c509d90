/*
 * The hook of mlockall. The system would fill with memory, and lock, all of the address space that memtrack has
 * taken in advance: a gigabyte for the statistics, tens of megabytes for a pool. So everything is locked as it is
 * touched, and what the program itself has mapped by then is filled, as it expects. Any thread; keeps errno,
 * allocates nothing.
 */
#include "locked.h"

#include "count.h"
#include "export.h"
#include "mappings.h"
#include "next.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MCL_ONFAULT
#define MCL_ONFAULT 4
#endif

static void *_Atomic slot;

void mt_locked_find_next(void)
{
    mt_next_find_once(&slot, "mlockall");
}

/* "low-high rw-p offset device inode   name" */
enum field { LOW, HIGH, PERMISSIONS, OFFSET, DEVICE, INODE, NAME };

struct line {
    enum field field;
    uintptr_t low, high;
    uint64_t inode;
    bool is_readable, has_stack_or_heap;
};

static unsigned digit_of(char c)
{
    if (c >= '0' && c <= '9') return (unsigned)(c - '0');
    return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 0;
}

static void feed(struct line *line, char c)
{
    bool is_end = line->field == LOW ? c == '-' : line->field != NAME && c == ' ';
    if (is_end) {
        line->field++;
        return;
    }
    switch (line->field) {
    case LOW: line->low = line->low * 16 + digit_of(c); return;
    case HIGH: line->high = line->high * 16 + digit_of(c); return;
    case PERMISSIONS: line->is_readable |= c == 'r'; return;
    case INODE: line->inode = line->inode * 10 + digit_of(c); return;
    case NAME: line->has_stack_or_heap |= c == '['; return;
    default: return;
    }
}

static bool is_segment(uintptr_t low)
{
    uintptr_t own = (uintptr_t)mt_core.segment;
    return low >= own && low - own < mt_core.mapped_bytes;
}

/* Files, the stack and the break. */
static void fill_line(const struct line *line)
{
    if (!line->is_readable || is_segment(line->low)) return;
    if (line->inode || line->has_stack_or_heap) mlock((void *)line->low, line->high - line->low);
}

static void fill_lines(int fd)
{
    char text[512];
    struct line line = {.field = LOW};
    ssize_t got;
    while ((got = syscall(SYS_read, fd, text, sizeof text)) > 0) {
        for (ssize_t i = 0; i < got; i++) {
            if (text[i] != '\n') {
                feed(&line, text[i]);
                continue;
            }
            fill_line(&line);
            line = (struct line){.field = LOW};
        }
    }
}

static void fill_mapped(void)
{
    uintptr_t low = 0, high = 0;
    while (mt_mappings_after(high, &low, &high)) mlock((void *)low, high - low);
}

/* What a program with a filter of system calls may open is not known. */
static void fill_all(void)
{
    fill_mapped();
    if (syscall(SYS_prctl, PR_GET_SECCOMP, 0, 0, 0, 0)) return;
    long fd = syscall(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    fill_lines((int)fd);
    syscall(SYS_close, fd);
}

MT_EXPORT int mlockall(int flags)
{
    mt_count_enter();
    int (*next)(int) = (int (*)(int))(uintptr_t)mt_next_find_once(&slot, "mlockall");
    if (!next) return (int)syscall(SYS_mlockall, flags);
    if (!mt_core_is_on(&mt_core) || flags & MCL_ONFAULT || !(flags & (MCL_CURRENT | MCL_FUTURE)))
        return next(flags);
    int saved = errno;
    int result = next(flags | MCL_ONFAULT);
    if (result && errno == EINVAL) result = next(flags); /* wrong, or a kernel before 4.4 */
    if (result) return result;
    if (flags & MCL_CURRENT) fill_all();
    errno = saved;
    return 0;
}
