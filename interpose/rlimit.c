/*
 * The hooks of setrlimit and prlimit. Address space that memtrack has taken in advance counts for a limit on it
 * (RLIMIT_AS): a gigabyte for the statistics, a quarter of one for each arena. What of it is not in use goes back
 * before such a limit holds, because the program would get no memory otherwise. Any thread; keeps errno, allocates
 * nothing. A vfork child limits itself, in memory that is its parent's: nothing goes back there.
 */
#include "rlimit.h"

#include "count.h"
#include "export.h"
#include "next.h"
#include "pooled.h"
#include "segment.h"

#include <errno.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef int set_function(__rlimit_resource_t, const struct rlimit *);
typedef int set64_function(__rlimit_resource_t, const struct rlimit64 *);
typedef int change_function(pid_t, __rlimit_resource_t, const struct rlimit *, struct rlimit *);
typedef int change64_function(pid_t, __rlimit_resource_t, const struct rlimit64 *, struct rlimit64 *);

static struct {
    void *_Atomic setrlimit, *_Atomic setrlimit64, *_Atomic prlimit, *_Atomic prlimit64;
} next;

void mt_rlimit_find_next(void)
{
    mt_next_find_once(&next.setrlimit, "setrlimit");
    mt_next_find_once(&next.setrlimit64, "setrlimit64");
    mt_next_find_once(&next.prlimit, "prlimit");
    mt_next_find_once(&next.prlimit64, "prlimit64");
}

static bool is_own(pid_t pid)
{
    pid_t self = (pid_t)syscall(SYS_getpid);
    return mt_core.pid == self && (!pid || pid == self);
}

/* Address space is about to be limited to so many bytes for a process, 0 = the calling one. */
static void limit(pid_t pid, uint64_t bytes)
{
    if (bytes == UINT64_MAX) return;
    int saved = errno;
    mt_count_enter(); /* a fork's child has its own segment from here on */
    if (mt_core_is_on(&mt_core) && is_own(pid)) {
        mt_segment_shrink(&mt_core, bytes);
        if (mt_pooled()) mt_pools_limit(bytes);
    }
    errno = saved;
}

bool mt_rlimit_make_room(void)
{
    if (!mt_pooled() || mt_thread.is_busy) return false;
    int saved = errno;
    bool is_made = mt_pools_make_room();
    errno = saved;
    return is_made;
}

static int done(int result)
{
    if (!result) mt_pools_limits_changed();
    return result;
}

static int missing(void)
{
    errno = ENOSYS;
    return -1;
}

/*
 * What the program hands over may lie anywhere, and it is for the kernel to say EFAULT. It reads the limits before
 * it looks which resource they are for, so that the call for one that does not exist tells whether they can be
 * read.
 */
static bool is_readable(const void *limits)
{
    enum { NO_RESOURCE = 1000000 };
    int saved = errno;
    bool can_read = limits && syscall(SYS_prlimit64, 0, NO_RESOURCE, limits, NULL) < 0 && errno == EINVAL;
    errno = saved;
    return can_read;
}

static uint64_t bytes_of(int resource, const struct rlimit *limits)
{
    if (resource != RLIMIT_AS || !is_readable(limits)) return UINT64_MAX;
    return limits->rlim_cur == RLIM_INFINITY ? UINT64_MAX : limits->rlim_cur;
}

static uint64_t bytes_of64(int resource, const struct rlimit64 *limits)
{
    return resource == RLIMIT_AS && is_readable(limits) ? limits->rlim_cur : UINT64_MAX;
}

MT_EXPORT int setrlimit(__rlimit_resource_t resource, const struct rlimit *limits)
{
    set_function *real = (set_function *)(uintptr_t)mt_next_find_once(&next.setrlimit, "setrlimit");
    if (!real) return missing();
    limit(0, bytes_of((int)resource, limits));
    return done(real(resource, limits));
}

MT_EXPORT int setrlimit64(__rlimit_resource_t resource, const struct rlimit64 *limits)
{
    set64_function *real = (set64_function *)(uintptr_t)mt_next_find_once(&next.setrlimit64, "setrlimit64");
    if (!real) return missing();
    limit(0, bytes_of64((int)resource, limits));
    return done(real(resource, limits));
}

MT_EXPORT int prlimit(pid_t pid, __rlimit_resource_t resource, const struct rlimit *limits, struct rlimit *before)
{
    change_function *real = (change_function *)(uintptr_t)mt_next_find_once(&next.prlimit, "prlimit");
    if (!real) return missing();
    limit(pid, bytes_of((int)resource, limits));
    return done(real(pid, resource, limits, before));
}

MT_EXPORT int prlimit64(pid_t pid, __rlimit_resource_t resource, const struct rlimit64 *limits,
                        struct rlimit64 *before)
{
    change64_function *real = (change64_function *)(uintptr_t)mt_next_find_once(&next.prlimit64, "prlimit64");
    if (!real) return missing();
    limit(pid, bytes_of64((int)resource, limits));
    return done(real(pid, resource, limits, before));
}
