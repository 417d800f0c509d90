/*
 * The segment's memory: where its file lies, how it is made and how it grows.
 * Used by core.c inside the program; mt_segment_base_directory() also by the command.
 */
#ifndef MT_SEGMENT_H
#define MT_SEGMENT_H

#include "core.h"

/*
 * The directory for the segments of this user: XDG_RUNTIME_DIR/memtrack when
 * that lies in memory, else /dev/shm/memtrack-UID, else XDG_RUNTIME_DIR/memtrack,
 * else /tmp/memtrack-UID. Made with mode 0700 when missing. Returns 0, or
 * -errno when none can be had or it belongs to somebody else.
 */
int mt_segment_base_directory(char *buffer, size_t bytes);

/*
 * Makes the segment of this process (a file in core->directory, else anonymous
 * memory) at core->segment when that is not NULL, else anywhere. Sets
 * segment, mapped_bytes, is_file and path. Returns 0 or -errno; the header's
 * magic, sizes and free lists are filled in, the rest is zero.
 */
int mt_segment_create(struct mt_core *core);

/*
 * Makes sure that a part of the segment has memory behind it, so that writing
 * there cannot end in SIGBUS on a full file system. False (counted) when it has not.
 */
bool mt_segment_commit(struct mt_core *core, const void *from, size_t bytes);
/* Takes what will not be looked at for long out of the process's resident memory. The file keeps it. */
void mt_segment_rest(struct mt_core *core, const void *from, size_t bytes);

/*
 * Address space is about to be limited to so many bytes: gives back what of the mapping is not in use, but for a
 * fair share. Any thread. The file keeps its size.
 */
void mt_segment_shrink(struct mt_core *core, uint64_t limit_bytes);

/* The same for a whole table that is not part of the start; cheap once done. */
enum mt_table {
    MT_TABLE_EVENTS,
    MT_TABLE_ENDED_THREADS,
    MT_TABLE_FRAMES,
    MT_TABLE_ORIGINS,
    MT_TABLE_MODULES,
    MT_TABLE_OBJECTS,
    MT_TABLE_ENDED_FEW, /* the first MT_ENDED_FEW rows of the ended threads, one page */
};
enum { MT_ENDED_FEW = 30 };
bool mt_segment_commit_table(struct mt_core *core, enum mt_table table);

/* Starts a collector for core->directory where none holds its lock. Never fails the caller; one line on stderr when
 * it cannot. */
void mt_collector_ensure(struct mt_core *core);

/* Reads a small file (as of /proc) into a buffer, ended with NUL. Returns its length or -errno. */
long mt_read_file(const char *path, char *buffer, size_t bytes);

/*
 * In a process under a seccomp filter: until mt_seccomp_leave(), a system
 * call that the filter traps returns ENOSYS instead of ending the process.
 */
struct mt_seccomp {
    bool guarded;
    unsigned char saved[256]; /* struct sigaction */
};
void mt_seccomp_enter(struct mt_seccomp *guard);
void mt_seccomp_leave(struct mt_seccomp *guard);

#endif
