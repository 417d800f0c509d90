/*
 * dlsym and dlvsym below memtrack, and the hook in front of them that hands
 * out frame hooks to programs that fetch presentation calls by name.
 */
#ifndef MT_DL_H
#define MT_DL_H

#include <stdbool.h>
#include <stdint.h>

typedef void *mt_dlsym_function(void *handle, const char *name);
typedef void *mt_dlvsym_function(void *handle, const char *name, const char *version);

/* libc's own dlsym and dlvsym, for memtrack's questions; NULL when it cannot be found. */
mt_dlsym_function *mt_dl_libc_sym(void);
mt_dlvsym_function *mt_dl_libc_vsym(void);

/* Finds the functions that programs ask most, from the constructor. */
void mt_dl_start(void);

/* What the entry code does after the hook has looked at a question. */
struct mt_dl_answer {
    void *value;       /* answered: the result; otherwise the function to jump to */
    uint64_t answered; /* 0: jump, with the caller's own return address in place */
};
struct mt_dl_answer mt_dl_ask_sym(void *handle, const char *name, const void *caller);
struct mt_dl_answer mt_dl_ask_vsym(void *handle, const char *name, const char *version, const void *caller);

/*
 * The flags to open a library with. With the pools on, RTLD_DEEPBIND is taken
 * out: such a library would free the pools' blocks by libc's own free.
 */
struct mt_dl_open {
    void *function; /* the next dlopen */
    uint64_t flags;
};
struct mt_dl_open mt_dl_ask_open(const char *path, int flags);

#endif
