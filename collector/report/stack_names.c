/* Names of stacks and frames as people read them; see stack_names.h. */
#include "stack_names.h"

#include "json_build.h"

#include <stdio.h>
#include <string.h>

const char *mt_base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

bool mt_frame_is_library(const json_t *frame)
{
    static const char *const starts[] = {
        "std::",       "void std::", "__gnu_cxx::", "llvm::SmallVector", "__libc_", "__strdup", "strdup",
        "__vasprintf", "_IO_",       "g_malloc",    "g_realloc",         "xmalloc", "xrealloc"};
    static const char own[] = "libVkLayer_memtrack.so";
    const char *function = mt_json_get_text(frame, "function");
    if (!strcmp(mt_base_name(mt_json_get_text(frame, "module")), own) || strstr(function, "operator new"))
        return true;
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
        if (!strncmp(function, starts[i], strlen(starts[i]))) return true;
    return false;
}

void mt_frame_text(const json_t *frame, char *text, size_t bytes)
{
    const char *function = mt_json_get_text(frame, "function");
    const char *module = mt_base_name(mt_json_get_text(frame, "module"));
    if (*function && *module)
        snprintf(text, bytes, "%.200s (%s)", function, module);
    else if (*function || !*module)
        snprintf(text, bytes, "%.200s", *function ? function : mt_json_get_text(frame, "address"));
    else
        snprintf(text, bytes, "%s+%s", module, mt_json_get_text(frame, "offset"));
}

static const json_t *first_own_frame(const json_t *frames)
{
    for (size_t i = 0; i < json_array_size(frames); i++)
        if (!mt_frame_is_library(json_array_get(frames, i))) return json_array_get(frames, i);
    return json_array_get(frames, 0);
}

static const json_t *first_frame_of(const json_t *frames, const char *module)
{
    for (size_t i = 0; i < json_array_size(frames); i++)
        if (!strcmp(mt_json_get_text(json_array_get(frames, i), "module"), module))
            return json_array_get(frames, i);
    return NULL;
}

void mt_stack_headline(const json_t *stack, const char *program, char *text, size_t bytes)
{
    const json_t *frames = mt_json_get(stack, "frames"), *first = first_own_frame(frames);
    char part[400];
    snprintf(text, bytes, "(no frames)");
    if (!first) return;
    mt_frame_text(first, text, bytes);
    const json_t *own = first_frame_of(frames, program);
    size_t at = strlen(text);
    if (!own || !strcmp(mt_json_get_text(first, "module"), program) || at + 1 >= bytes) return;
    const char *function = mt_json_get_text(own, "function");
    if (*function)
        snprintf(part, sizeof part, "%.200s", function);
    else
        mt_frame_text(own, part, sizeof part);
    snprintf(text + at, bytes - at, " <- %s", part);
}
