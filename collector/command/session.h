/*
 * Session directories and the segments in them: made, listed, searched. The
 * segments of one user lie in a base directory and, for `memtrack run`, in a
 * directory of their own below it.
 */
#ifndef MT_SESSION_H
#define MT_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Makes BASE/run.PID.NONCE with mode 0700. 0 or -errno. */
int mt_session_make(char *directory, size_t bytes);

struct mt_segment_name {
    char path[1280];
    int32_t pid;      /* as its process sees it */
    int32_t host_pid; /* as this process sees it; set by mt_session_find() */
    uint64_t start_ticks;
    unsigned number;
    uint64_t modified_ns; /* when the file was last changed by a write or made */
};

/*
 * The newest living segment of a process, by either of its pids, in all session
 * directories of this user; pid 0 means of any process. False when there is none.
 */
bool mt_session_find(int32_t pid, struct mt_segment_name *found);

/* Calls `each` for every segment in one directory; stops when it returns false. 0 or -errno. */
typedef bool mt_session_visitor(const struct mt_segment_name *segment, void *context);
int mt_session_visit(const char *directory, mt_session_visitor *each, void *context);

#endif
