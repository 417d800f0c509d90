/*
 * Programs built with a sanitizer. Its runtime must be the first to replace
 * malloc, mmap, dlsym and the like, and ends or crashes a program in which a
 * preloaded library comes before it. So such a program is started again
 * without memtrack, before any code of its own has run.
 *
 * The runtime starts before every constructor. What runs earlier still is the
 * resolver of an indirect function, while the dynamic loader relocates this
 * library: one thread, the libraries that it depends on relocated already.
 * Nothing here may call memcpy, strlen or their like, which the runtime
 * replaces too: the loops are written so that no compiler makes them into it.
 */
#include "export.h"

#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* Entry points of the runtimes that replace allocation functions; NULL where the program has none of them. */
extern void __asan_init(void) __attribute__((weak));
extern void __hwasan_init(void) __attribute__((weak));
extern void __lsan_init(void) __attribute__((weak));
extern void __msan_init(void) __attribute__((weak));
extern void __tsan_init(void) __attribute__((weak));

/* The kernel's start block: argc, argv, NULL, environment, NULL. Kept by the dynamic loader. */
extern void *__libc_stack_end;

static const char *sanitizer_of_program(void)
{
    return __asan_init     ? "AddressSanitizer"
           : __hwasan_init ? "HWAddressSanitizer"
           : __tsan_init   ? "ThreadSanitizer"
           : __msan_init   ? "MemorySanitizer"
           : __lsan_init   ? "LeakSanitizer"
                           : NULL;
}

/* Keeps a loop over bytes a loop. */
static inline void keep_loop(void)
{
    __asm__ volatile("" ::: "memory");
}

static size_t length_of(const char *text)
{
    size_t length = 0;
    for (; text[length]; length++) keep_loop();
    return length;
}

static bool is_equal(const char *a, const char *b, size_t bytes)
{
    for (; bytes && *a == *b; a++, b++, bytes--) keep_loop();
    return !bytes;
}

static bool is_this_library(const char *path, size_t length)
{
    static const char name[] = "libmemtrack.so";
    size_t wanted = sizeof name - 1;
    return length >= wanted && is_equal(path + length - wanted, name, wanted) &&
           (length == wanted || path[length - wanted - 1] == '/');
}

/* Takes memtrack out of a list of libraries, in place; false when it is not in it. */
static bool take_out(char *list)
{
    bool found = false;
    char *to = list;
    for (const char *from = list; *from;) {
        size_t length = 0;
        for (; from[length] && from[length] != ':' && from[length] != ' '; length++) keep_loop();
        bool is_ours = is_this_library(from, length);
        length += from[length] != 0;
        for (; length; length--, from++) {
            if (!is_ours) *to++ = *from;
            keep_loop();
        }
        found |= is_ours;
    }
    *to = 0;
    return found;
}

static void say(const char *program, const char *sanitizer, const char *rest)
{
    const char *parts[5];
    struct iovec pieces[5];
    parts[0] = "memtrack: ";
    parts[1] = program;
    parts[2] = " is built with ";
    parts[3] = sanitizer;
    parts[4] = rest;
    for (int i = 0; i < 5; i++) {
        pieces[i].iov_base = (void *)(uintptr_t)parts[i];
        pieces[i].iov_len = length_of(parts[i]);
    }
    syscall(SYS_writev, STDERR_FILENO, pieces, 5);
}

static void start_again_without_us(const char *sanitizer)
{
    static const char preload[] = "LD_PRELOAD=";
    char **arguments = (char **)__libc_stack_end + 1, **environment = arguments;
    char path[PATH_MAX];
    bool found = false;
    while (*environment) environment++;
    environment++;
    for (char **at = environment; *at; at++)
        if (is_equal(*at, preload, sizeof preload - 1)) found |= take_out(*at + sizeof preload - 1);
    /* Linked with the library or loaded in another way: starting again would change nothing. */
    if (!found) return;
    long length = syscall(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", path, sizeof path - 1);
    if (length <= 0) return;
    path[length] = 0;
    say(path, sanitizer, ", which cannot work beside it: it runs untracked\n");
    syscall(SYS_execve, path, arguments, environment);
    say(path, sanitizer, ", and could not be started again without memtrack\n");
}

static void nothing(void) {}

/* Named in the attribute below, which not every compiler counts as a use. */
__attribute__((used)) static void (*resolve(void))(void)
{
    const char *sanitizer = sanitizer_of_program();
    if (MT_UNLIKELY(sanitizer != NULL)) start_again_without_us(sanitizer);
    return nothing;
}

static void look_for_sanitizer(void) __attribute__((ifunc("resolve")));

/* For the linker too, which leaves out what nothing refers to. */
#if __has_attribute(retain)
#define KEPT __attribute__((used, retain))
#else
#define KEPT __attribute__((used))
#endif

/* A pointer to the function: relocating it is what calls the resolver. */
KEPT __attribute__((visibility("hidden"))) void (*const mt_sanitizer_looked_for)(void) = look_for_sanitizer;
