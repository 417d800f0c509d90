/*
 * Writes report files: into a temporary file beside the target, then rename.
 * No fsync: a report of a running program is replaced in seconds anyway.
 */
#include "writer.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void mt_report_path_stem(char *buffer, size_t bytes, const char *directory, const char *executable, int pid,
                         unsigned image)
{
    static const char deleted[] =
        " (deleted)"; /* what the kernel puts behind the path of a file that was replaced */
    const char *base = strrchr(executable, '/');
    char name[160], number[16] = "";
    snprintf(name, sizeof name, "%s", base ? base + 1 : executable);
    size_t length = strlen(name);
    if (length >= sizeof deleted && !strcmp(name + length - sizeof deleted + 1, deleted))
        name[length - sizeof deleted + 1] = 0;
    for (char *at = name; *at; at++)
        if ((unsigned char)*at <= ' ' || *at == 127) *at = '_';
    if (image > 1) snprintf(number, sizeof number, ".%u", image);
    snprintf(buffer, bytes, "%s/memtrack.%s.%d%s", directory, *name ? name : "unknown", pid, number);
}

static int write_all(const char *data, size_t bytes, void *to)
{
    int fd = *(const int *)to;
    while (bytes) {
        ssize_t put = write(fd, data, bytes);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return -1;
        data += put;
        bytes -= (size_t)put;
    }
    return 0;
}

/* Collects small pieces, because jansson hands over one token at a time. */
struct output {
    int fd, error;
    size_t filled;
    char buffer[65536];
};

static int flush_output(struct output *output)
{
    if (!output->error && write_all(output->buffer, output->filled, &output->fd)) output->error = errno;
    output->filled = 0;
    return output->error ? -1 : 0;
}

static int put_piece(const char *data, size_t bytes, void *to)
{
    struct output *output = to;
    while (bytes) {
        size_t room = sizeof output->buffer - output->filled, part = bytes < room ? bytes : room;
        memcpy(output->buffer + output->filled, data, part);
        output->filled += part;
        data += part;
        bytes -= part;
        if (output->filled == sizeof output->buffer && flush_output(output)) return -1;
    }
    return 0;
}

static int dump_to(int fd, const json_t *report)
{
    static struct output output;
    output.fd = fd;
    output.error = 0;
    output.filled = 0;
    int failed = json_dump_callback(report, put_piece, &output, JSON_INDENT(1) | JSON_REAL_PRECISION(15));
    if (!failed) failed = put_piece("\n", 1, &output) || flush_output(&output);
    return !failed ? 0 : output.error ? -output.error : -ENOMEM;
}

static int replace(const json_t *report, const char *path)
{
    char temporary[PATH_MAX];
    if ((size_t)snprintf(temporary, sizeof temporary, "%s.%d.tmp", path, (int)getpid()) >= sizeof temporary)
        return -ENAMETOOLONG;
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0) return -errno;
    int error = dump_to(fd, report);
    if (close(fd) && !error) error = -errno;
    if (!error && rename(temporary, path)) error = -errno;
    if (error) unlink(temporary);
    return error;
}

/* The kept report is a second name of the newest one, which costs no second writing. */
static int keep_report(const json_t *report, const char *path, const char *stem, unsigned long sequence)
{
    char kept[PATH_MAX];
    snprintf(kept, sizeof kept, "%s.%06lu.json", stem, sequence);
    unlink(kept);
    return link(path, kept) ? replace(report, kept) : 0;
}

int mt_report_write(const json_t *report, const char *stem, bool keep, unsigned long sequence)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s.json", stem);
    int error = replace(report, path);
    return error || !keep ? error : keep_report(report, path, stem, sequence);
}

/* Adds the line as a whole or not at all. */
static int append_line(int fd, const char *line, size_t bytes)
{
    off_t before = lseek(fd, 0, SEEK_END);
    if (before < 0) return -errno;
    if (!write_all(line, bytes, &fd)) return 0;
    int error = -errno;
    int cut = ftruncate(fd, before);
    (void)cut;
    return error;
}

int mt_report_write_line(const json_t *row, const char *stem, bool first)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s.jsonl", stem);
    char *text = json_dumps(row, JSON_COMPACT | JSON_REAL_PRECISION(15));
    if (!text) return -ENOMEM;
    size_t length = strlen(text);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_APPEND | (first ? O_TRUNC : 0), 0644);
    int error = fd < 0 ? -errno : 0;
    if (!error) {
        text[length] = '\n'; /* the place of the NUL: only `length + 1` bytes are written */
        error = append_line(fd, text, length + 1);
        close(fd);
    }
    free(text);
    return error;
}
