/*
 * Presentation calls of OpenGL programs: each one that is seen ends a frame.
 * Programs reach them by linking, through dlsym or through a GetProcAddress
 * function; all three lead to the hooks in frames.c. Any thread.
 */
#ifndef MT_FRAMES_H
#define MT_FRAMES_H

#include <stdbool.h>

/* True for the names that have a hook; costs a look at one character for nearly all others. */
bool mt_frames_is_hooked(const char *name);

/*
 * The hook for a function that the program found by name; `real` itself when
 * there is none for it or no room for one more. NULL stays NULL. `caller` is
 * an address in the object that asks, or that answered.
 */
void *mt_frames_wrap(const char *name, void *real, const void *caller);

/* What dlsym(RTLD_DEFAULT, name) gives its caller: the exported hook when there is a function behind it. */
void *mt_frames_default(const char *name, const void *caller);

#endif
