/*
 * Call stacks in one line: the place that says most about a block. Pure
 * functions over the rows of a report's stacks.
 */
#ifndef MT_STACK_NAMES_H
#define MT_STACK_NAMES_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* True for frames of the C++ library, of containers and of memtrack's layer: every caller has the same. */
bool mt_frame_is_library(const json_t *frame);
/* "function (module)", "module+0x12", or an address. */
void mt_frame_text(const json_t *frame, char *text, size_t bytes);
/*
 * The innermost frame that is not the library's with its caller in the same
 * module, and, where that is not the program, the innermost frame of the
 * program itself: "a <- b (liba.so) <- main".
 */
void mt_stack_headline(const json_t *stack, const char *program, char *text, size_t bytes);
/* The last part of a path. */
const char *mt_base_name(const char *path);

#endif
