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

static size_t first_own_frame(const json_t *frames)
{
    for (size_t i = 0; i < json_array_size(frames); i++)
        if (!mt_frame_is_library(json_array_get(frames, i))) return i;
    return 0;
}

static const json_t *first_frame_of(const json_t *frames, const char *module)
{
    for (size_t i = 0; i < json_array_size(frames); i++)
        if (!strcmp(mt_json_get_text(json_array_get(frames, i), "module"), module))
            return json_array_get(frames, i);
    return NULL;
}

/* Many programs have an allocator's front of their own: its caller says more. */
static void add_caller(const json_t *first, const json_t *caller, char *text, size_t bytes)
{
    const char *function = mt_json_get_text(caller, "function"), *module = mt_json_get_text(first, "module");
    bool is_same_module = !strcmp(mt_json_get_text(caller, "module"), module);
    if (!*mt_json_get_text(first, "function") || !*function || !is_same_module) return;
    snprintf(text, bytes, "%.120s <- %.120s (%s)", mt_json_get_text(first, "function"), function,
             mt_base_name(module));
}

void mt_stack_headline(const json_t *stack, const char *program, char *text, size_t bytes)
{
    const json_t *frames = mt_json_get(stack, "frames");
    size_t at = first_own_frame(frames);
    const json_t *first = json_array_get(frames, at), *own = first_frame_of(frames, program);
    char part[400];
    snprintf(text, bytes, "(no frames)");
    if (!first) return;
    mt_frame_text(first, text, bytes);
    add_caller(first, json_array_get(frames, at + 1), text, bytes);
    size_t length = strlen(text);
    if (!own || !strcmp(mt_json_get_text(first, "module"), program) || length + 1 >= bytes) return;
    const char *function = mt_json_get_text(own, "function");
    if (*function)
        snprintf(part, sizeof part, "%.200s", function);
    else
        mt_frame_text(own, part, sizeof part);
    snprintf(text + length, bytes - length, " <- %s", part);
}
