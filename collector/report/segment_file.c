/*
 * Opens, checks and reads a segment's file with pread(2) only. Called by the
 * snapshot and the collector's loop, one thread per file. It trusts nothing
 * that the file says about itself before it was compared with the file's size.
 */
#include "segment_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int refuse(struct mt_segment_file *file, int error, char *why, size_t why_bytes, const char *reason)
{
    snprintf(why, why_bytes, "%s", reason);
    mt_segment_file_close(file);
    return error;
}

int mt_segment_file_read(const struct mt_segment_file *file, uint64_t offset, void *buffer, size_t bytes)
{
    char *at = buffer;
    while (bytes) {
        ssize_t got = pread(file->fd, at, bytes, (off_t)offset);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return -errno;
        if (!got) return -ENODATA;
        at += got;
        offset += (uint64_t)got;
        bytes -= (size_t)got;
    }
    return 0;
}

/* The first fields of a segment, which say whether the rest can be understood. */
struct opening {
    char magic[8];
    uint32_t layout_version, header_bytes;
    uint64_t virtual_bytes;
};

static int check_opening(struct mt_segment_file *file, const struct opening *head, char *why, size_t why_bytes)
{
    static const char none[8] = {0};
    if (!memcmp(head->magic, none, sizeof none))
        return refuse(file, -EAGAIN, why, why_bytes, "the segment was not finished by its process");
    if (memcmp(head->magic, MT_SEGMENT_MAGIC, sizeof head->magic))
        return refuse(file, -EINVAL, why, why_bytes, "not a memtrack segment");
    if (head->layout_version != MT_LAYOUT_VERSION && head->layout_version) {
        char text[120];
        snprintf(text, sizeof text, "the segment has layout version %" PRIu32 ", this memtrack reads version %u",
                 head->layout_version, MT_LAYOUT_VERSION);
        return refuse(file, -EPROTO, why, why_bytes, text);
    }
    if (!head->virtual_bytes)
        return refuse(file, -EAGAIN, why, why_bytes, "the segment was not finished by its process");
    if (head->header_bytes != sizeof(struct mt_segment))
        return refuse(file, -EPROTO, why, why_bytes, "the segment's header has another size than this memtrack's");
    if (head->virtual_bytes < sizeof(struct mt_segment) || head->virtual_bytes > file->file_bytes)
        return refuse(file, -EINVAL, why, why_bytes, "the segment is truncated or its size field is wrong");
    return 0;
}

static int check_state(struct mt_segment_file *file, char *why, size_t why_bytes)
{
    struct mt_segment_glance glance;
    int error = mt_segment_file_glance(file, &glance);
    if (error) return refuse(file, error, why, why_bytes, strerror(-error));
    if (glance.state == MT_STATE_STARTING)
        return refuse(file, -EAGAIN, why, why_bytes, "the segment was not finished by its process");
    if (glance.state > MT_STATE_EXECED)
        return refuse(file, -EINVAL, why, why_bytes, "the segment is corrupt: impossible process state");
    return 0;
}

int mt_segment_file_open(struct mt_segment_file *file, const char *path, char *why, size_t why_bytes)
{
    struct stat info;
    struct opening head;
    snprintf(file->path, sizeof file->path, "%s", path);
    file->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (file->fd < 0 || fstat(file->fd, &info)) return refuse(file, -errno, why, why_bytes, strerror(errno));
    if (!S_ISREG(info.st_mode)) return refuse(file, -EINVAL, why, why_bytes, "not a regular file");
    file->file_bytes = (uint64_t)info.st_size;
    if (!info.st_size) return refuse(file, -EAGAIN, why, why_bytes, "the segment was not finished by its process");
    int error = mt_segment_file_read(file, 0, &head, sizeof head);
    if (error) return refuse(file, error, why, why_bytes, "not a memtrack segment (too short)");
    error = check_opening(file, &head, why, why_bytes);
    return error ? error : check_state(file, why, why_bytes);
}

void mt_segment_file_close(struct mt_segment_file *file)
{
    if (file->fd >= 0) close(file->fd);
    file->fd = -1;
}

int mt_segment_file_glance(const struct mt_segment_file *file, struct mt_segment_glance *glance)
{
    enum { PROCESS = offsetof(struct mt_segment, process), GLOBALS = offsetof(struct mt_segment, globals) };
    enum { FIRST = offsetof(struct mt_process, clients), LAST = offsetof(struct mt_process, command_line_bytes) };
    char part[LAST - FIRST];
    uint64_t dump[2];
    int error = mt_segment_file_read(file, PROCESS + FIRST, part, sizeof part);
    if (!error)
        error = mt_segment_file_read(file, GLOBALS + offsetof(struct mt_globals, dump_requested), dump,
                                     sizeof dump);
    if (error) return error;
    memcpy(&glance->state, part + offsetof(struct mt_process, state) - FIRST, sizeof glance->state);
    memcpy(&glance->exit_code, part + offsetof(struct mt_process, exit_code) - FIRST, sizeof glance->exit_code);
    memcpy(&glance->end_ns, part + offsetof(struct mt_process, end_ns) - FIRST, sizeof glance->end_ns);
    glance->dump_requested = dump[0];
    glance->dump_done = dump[1];
    return 0;
}

int mt_segment_file_answer_dump(const char *path, uint64_t dump_done)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return -errno;
    uint64_t offset = offsetof(struct mt_segment, globals) + offsetof(struct mt_globals, dump_done);
    ssize_t put = pwrite(fd, &dump_done, sizeof dump_done, (off_t)offset);
    int error = put == (ssize_t)sizeof dump_done ? 0 : put < 0 ? -errno : -EIO;
    close(fd);
    return error;
}

uint64_t mt_segment_file_allocated_bytes(const struct mt_segment_file *file)
{
    struct stat info;
    return fstat(file->fd, &info) ? 0 : (uint64_t)info.st_blocks * 512u;
}

bool mt_segment_file_parse_name(const char *name, int32_t *pid, uint64_t *start_ticks, unsigned *number)
{
    int length = 0;
    if (name[0] < '0' || name[0] > '9') return false;
    return sscanf(name, "%" SCNd32 ".%" SCNu64 ".%u.seg%n", pid, start_ticks, number, &length) == 3 && length > 0 &&
           !name[length];
}
