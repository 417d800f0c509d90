/*
 * System calls of the start of a process, made in place, for the reason that
 * sys.h gives: most programs that are tracked are small, and each of libc's
 * functions brings up to 64 KiB of it. They are libc's functions but for that:
 * -1 with errno set where they fail.
 */
#ifndef MT_SYS_FILE_H
#define MT_SYS_FILE_H

#include "sys.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>

static inline int mt_sys_open(const char *path, int flags, int mode)
{
    return (int)mt_sys_call(SYS_openat, AT_FDCWD, (long)(uintptr_t)path, flags, mode, 0, 0);
}

static inline long mt_sys_read(int fd, void *buffer, size_t bytes)
{
    return mt_sys_call(SYS_read, fd, (long)(uintptr_t)buffer, (long)bytes, 0, 0, 0);
}

static inline int mt_sys_close(int fd)
{
    return (int)mt_sys_call(SYS_close, fd, 0, 0, 0, 0, 0);
}

static inline int mt_sys_access(const char *path, int mode)
{
    return (int)mt_sys_call(SYS_faccessat, AT_FDCWD, (long)(uintptr_t)path, mode, 0, 0, 0);
}

static inline long mt_sys_readlink(const char *path, char *buffer, size_t bytes)
{
    return mt_sys_call(SYS_readlinkat, AT_FDCWD, (long)(uintptr_t)path, (long)(uintptr_t)buffer, (long)bytes, 0, 0);
}

static inline int mt_sys_mkdir(const char *path, int mode)
{
    return (int)mt_sys_call(SYS_mkdirat, AT_FDCWD, (long)(uintptr_t)path, mode, 0, 0, 0);
}

static inline int mt_sys_unlink(const char *path)
{
    return (int)mt_sys_call(SYS_unlinkat, AT_FDCWD, (long)(uintptr_t)path, 0, 0, 0, 0);
}

static inline int mt_sys_lstat(const char *path, struct stat *info)
{
    return (int)mt_sys_call(SYS_newfstatat, AT_FDCWD, (long)(uintptr_t)path, (long)(uintptr_t)info,
                            AT_SYMLINK_NOFOLLOW, 0, 0);
}

static inline int mt_sys_statfs(const char *path, struct statfs *info)
{
    return (int)mt_sys_call(SYS_statfs, (long)(uintptr_t)path, (long)(uintptr_t)info, 0, 0, 0, 0);
}

static inline int mt_sys_ftruncate(int fd, uint64_t bytes)
{
    return (int)mt_sys_call(SYS_ftruncate, fd, (long)bytes, 0, 0, 0, 0);
}

static inline int mt_sys_getrlimit(int resource, struct rlimit *limit)
{
    return (int)mt_sys_call(SYS_prlimit64, 0, resource, 0, (long)(uintptr_t)limit, 0, 0);
}

static inline unsigned mt_sys_geteuid(void)
{
    return (unsigned)mt_sys_call(SYS_geteuid, 0, 0, 0, 0, 0, 0);
}

#endif
