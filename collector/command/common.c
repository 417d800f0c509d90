/* What the subcommands share: lines on stderr, arguments, directories, places. */
#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

static char log_path[PATH_MAX];

void mt_log_to(const char *path)
{
    snprintf(log_path, sizeof log_path, "%s", path);
}

static void write_line(const char *line, size_t bytes)
{
    int fd = STDERR_FILENO;
    if (*log_path) fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    ssize_t ignored = fd >= 0 ? write(fd, line, bytes) : 0;
    (void)ignored;
    if (*log_path && fd >= 0) close(fd);
}

/* A message may quote a damaged file or a path with any bytes in it: none of them may move the cursor. */
static void keep_to_one_line(char *line, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if ((unsigned char)line[i] < ' ' || line[i] == 0x7f) line[i] = '?';
}

static void tell(const char *format, va_list arguments)
{
    char line[4096];
    int at = snprintf(line, sizeof line, "memtrack: ");
    int length = vsnprintf(line + at, sizeof line - (size_t)at - 1, format, arguments);
    size_t end = (size_t)at + (size_t)(length < 0 ? 0 : length);
    if (end > sizeof line - 2) end = sizeof line - 2;
    keep_to_one_line(line, end);
    line[end++] = '\n';
    write_line(line, end);
}

void mt_tell(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    tell(format, arguments);
    va_end(arguments);
}

int mt_usage_error(const char *subcommand, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    mt_tell("%s; see `memtrack help%s%s`", text, *subcommand ? " " : "", subcommand);
    return MT_EXIT_USAGE;
}

bool mt_option_argument(int argc, char **argv, int *at, const char *name, const char **value)
{
    size_t length = strlen(name);
    const char *argument = argv[*at];
    if (strncmp(argument, name, length)) return false;
    if (argument[length] == '=') {
        *value = argument + length + 1;
        return true;
    }
    if (argument[length]) return false;
    *value = *at + 1 < argc ? argv[++*at] : NULL;
    return true;
}

bool mt_parse_number(const char *text, long low, long high, long *number)
{
    char *end;
    if (!text || !*text) return false;
    errno = 0;
    *number = strtol(text, &end, 10);
    return !errno && !*end && *number >= low && *number <= high;
}

int mt_make_directories(const char *path, unsigned mode)
{
    char part[PATH_MAX];
    if ((size_t)snprintf(part, sizeof part, "%s", path) >= sizeof part) return -ENAMETOOLONG;
    for (char *at = part + 1; *at; at++) {
        if (*at != '/') continue;
        *at = 0;
        if (mkdir(part, mode) && errno != EEXIST && errno != EACCES && errno != EROFS) return -errno;
        *at = '/';
    }
    struct stat info;
    if (!mkdir(part, mode)) return 0;
    int error = -errno;
    return error == -EEXIST && !stat(part, &info) && S_ISDIR(info.st_mode) ? 0
           : error == -EEXIST                                              ? -ENOTDIR
                                                                           : error;
}

/* Without /proc by the name that the kernel was given. */
static bool own_path(char buffer[PATH_MAX])
{
    ssize_t length = readlink("/proc/self/exe", buffer, PATH_MAX - 1);
    if (length > 0) {
        buffer[length] = 0;
        return true;
    }
    const char *given = (const char *)(uintptr_t)getauxval(AT_EXECFN);
    return given && realpath(given, buffer);
}

static bool own_directory(char buffer[PATH_MAX])
{
    if (!own_path(buffer)) return false;
    char *slash = strrchr(buffer, '/');
    if (!slash) return false;
    *slash = 0;
    return true;
}

/* The first place below `own` that has `inside`; "" when none has it. */
static void find_place(char *found, size_t bytes, const char *own, const char *const *places, const char *inside)
{
    for (; *places; places++) {
        char path[PATH_MAX], real[PATH_MAX];
        snprintf(path, sizeof path, "%s/%s%s", own, *places, inside);
        if (access(path, R_OK)) continue;
        snprintf(path, sizeof path, "%s/%s", own, *places);
        if (realpath(path, real) && (size_t)snprintf(found, bytes, "%s", real) < bytes) return;
    }
    *found = 0;
}

void mt_find_places(struct mt_places *places)
{
    static const char *const libraries[] = {"libmemtrack.so",
                                            "../lib/libmemtrack.so",
                                            "../lib64/libmemtrack.so",
                                            "../lib/x86_64-linux-gnu/libmemtrack.so",
                                            "../lib/aarch64-linux-gnu/libmemtrack.so",
                                            NULL};
    static const char *const data[] = {"manifests", "../share", NULL};
    char own[PATH_MAX] = "";
    places->preload[0] = places->data_directory[0] = 0;
    if (!own_directory(own)) return;
    find_place(places->preload, sizeof places->preload, own, libraries, "");
    find_place(places->data_directory, sizeof places->data_directory, own, data,
               "/vulkan/implicit_layer.d/VkLayer_memtrack.json");
}
