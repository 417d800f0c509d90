/*
 * The hooks of presentation calls and of the functions that hand them out.
 *
 * An exported hook goes on to the next definition after this library, or to
 * the one its caller can see. A function found by name gets a hook of its
 * own that remembers it: two libraries may each have a glXSwapBuffers.
 */
#include "frames.h"

#include "count.h"
#include "elf.h"
#include "export.h"
#include "next.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>

/* One line per presentation call: its name and the source of frames it belongs to. */
#define PRESENT_CALLS(ONE)                                                                                         \
    ONE(glXSwapBuffers, MT_FRAME_GLX)                                                                              \
    ONE(eglSwapBuffers, MT_FRAME_EGL)                                                                              \
    ONE(eglSwapBuffersWithDamageKHR, MT_FRAME_EGL)                                                                 \
    ONE(eglSwapBuffersWithDamageEXT, MT_FRAME_EGL)                                                                 \
    ONE(SDL_GL_SwapWindow, MT_FRAME_SDL)                                                                           \
    ONE(SDL_RenderPresent, MT_FRAME_SDL)                                                                           \
    ONE(glfwSwapBuffers, MT_FRAME_GLFW)

/* Functions that return functions by name; the name is their last argument. */
#define ADDRESS_CALLS(ONE)                                                                                         \
    ONE(glXGetProcAddress)                                                                                         \
    ONE(glXGetProcAddressARB)                                                                                      \
    ONE(eglGetProcAddress)                                                                                         \
    ONE(SDL_GL_GetProcAddress)                                                                                     \
    ONE(glfwGetProcAddress)

enum call {
#define ONE(name, source) CALL_##name,
    PRESENT_CALLS(ONE)
#undef ONE
#define ONE(name) CALL_##name,
        ADDRESS_CALLS(ONE)
#undef ONE
            CALL_COUNT,
    FIRST_ADDRESS_CALL = CALL_glXGetProcAddress
};

static const char *const names[CALL_COUNT] = {
#define ONE(name, source) #name,
    PRESENT_CALLS(ONE)
#undef ONE
#define ONE(name) #name,
        ADDRESS_CALLS(ONE)
#undef ONE
};

static const uint8_t sources[CALL_COUNT] = {
#define ONE(name, source) source,
    PRESENT_CALLS(ONE)
#undef ONE
};

/*
 * The calls take up to four integers or pointers and return one or nothing.
 * Handing four on, of which the callee reads its own, fits the calling
 * conventions of all 64-bit Linux systems.
 */
typedef uintptr_t present_function(uintptr_t, uintptr_t, uintptr_t, uintptr_t);
typedef void *address_function(const char *);

enum { WRAP_SLOTS = 3 };

static void *_Atomic exported_next[CALL_COUNT];
static void *_Atomic wrapped[CALL_COUNT][WRAP_SLOTS];

static void *const exported_hooks[CALL_COUNT];
static void *const wrap_hooks[CALL_COUNT][WRAP_SLOTS];

static int call_of(const char *name)
{
    if (!name || (name[0] != 'g' && name[0] != 'e' && name[0] != 'S')) return -1;
    for (int i = 0; i < CALL_COUNT; i++)
        if (!strcmp(name, names[i])) return i;
    return -1;
}

bool mt_frames_is_hooked(const char *name)
{
    return call_of(name) >= 0;
}

/*
 * Where the calls from one place in the program go when there is no next
 * definition for all. Written once, never changed: `from` is stored last.
 */
struct route {
    _Atomic uintptr_t from;
    void *_Atomic real;
};
enum { ROUTES = 4, ROUTE_IN_WRITING = 1 };
static struct route routes[CALL_COUNT][ROUTES];

static void remember_route(int call, const void *from, void *real)
{
    for (int i = 0; i < ROUTES; i++) {
        struct route *route = &routes[call][i];
        uintptr_t unused = 0;
        if (!atomic_compare_exchange_strong(&route->from, &unused, ROUTE_IN_WRITING)) continue;
        atomic_store_explicit(&route->real, real, memory_order_relaxed);
        /* Release pairs with the acquire in route_from(). */
        atomic_store_explicit(&route->from, (uintptr_t)from, memory_order_release);
        return;
    }
}

static void *route_from(int call, const void *from)
{
    for (int i = 0; i < ROUTES; i++)
        if (atomic_load_explicit(&routes[call][i].from, memory_order_acquire) == (uintptr_t)from)
            return atomic_load_explicit(&routes[call][i].real, memory_order_relaxed);
    return NULL;
}

static void *next_for_all(int call)
{
    return atomic_load_explicit(&exported_next[call], memory_order_relaxed);
}

/* The function behind an exported hook for a caller; NULL when there is none. */
static void *next_of(int call, const void *caller)
{
    void *found = next_for_all(call);
    if (!found) found = route_from(call, caller);
    if (found) return found;
    struct mt_elf_symbol exists; /* a look-up that fails changes what dlerror tells the program */
    found = mt_elf_find(names[call], MT_ELF_AFTER_US, &exists) ? mt_next_find(names[call]) : NULL;
    if (found) {
        atomic_store_explicit(&exported_next[call], found, memory_order_relaxed);
        return found;
    }
    found = mt_next_find_in(names[call], caller);
    if (found == exported_hooks[call]) return NULL;
    if (found) remember_route(call, caller, found);
    return found;
}

/* The hook whose slot holds `real`, or takes a slot for it. */
static void *hook_for(int call, void *real)
{
    for (int i = 0; i < WRAP_SLOTS; i++) {
        if (real == wrap_hooks[call][i]) return real;
        void *seen = NULL;
        if (atomic_compare_exchange_strong_explicit(&wrapped[call][i], &seen, real, memory_order_relaxed,
                                                    memory_order_relaxed) ||
            seen == real)
            return wrap_hooks[call][i];
    }
    mt_core_drop(&mt_core, MT_DROPPED_FRAMES);
    return real;
}

void *mt_frames_wrap(const char *name, void *real, const void *caller)
{
    int call = call_of(name);
    if (call < 0 || !real) return real;
    if (real != exported_hooks[call]) return hook_for(call, real);
    void *next = next_of(call, caller);
    if (!next) mt_next_fail(name);
    return next && !next_for_all(call) ? hook_for(call, next) : next ? real : NULL;
}

void *mt_frames_default(const char *name, const void *caller)
{
    return mt_frames_wrap(name, exported_hooks[call_of(name)], caller);
}

/* ---- what the hooks do ---------------------------------------------------------------------- */

static bool begin(enum mt_frame_source source)
{
    int saved = errno;
    mt_count_enter();
    bool ends_frame = mt_frame_begin(&mt_core, source);
    errno = saved;
    return ends_frame;
}

static void end(enum mt_frame_source source)
{
    int saved = errno;
    mt_frame_end(&mt_core, source);
    errno = saved;
}

/* A presentation call inside another one (a wrapper library's) belongs to the outer one's frame. */
static uintptr_t present(int call, void *real, uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d)
{
    present_function *next = (present_function *)(uintptr_t)real;
    if (!next) return 0;
    if (mt_thread.is_presenting) return next(a, b, c, d);
    mt_thread.is_presenting = true;
    bool ends_frame = begin((enum mt_frame_source)sources[call]);
    uintptr_t result = next(a, b, c, d);
    mt_thread.is_presenting = false;
    if (ends_frame) end((enum mt_frame_source)sources[call]);
    return result;
}

/* A library's reference to its own function may have been bound to the hook: the function is looked for there. */
static void *address(void *real, const char *name)
{
    address_function *next = (address_function *)(uintptr_t)real;
    return next ? mt_frames_wrap(name, next(name), real) : NULL;
}

#define CALLER __builtin_return_address(0)

/* ---- the exported hooks and the hooks of functions found by name ------------------------------- */

#define WRAP_PRESENT(name, slot)                                                                                   \
    static uintptr_t name##_##slot(uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d)                             \
    {                                                                                                              \
        return present(CALL_##name, atomic_load_explicit(&wrapped[CALL_##name][slot], memory_order_relaxed), a, b, \
                       c, d);                                                                                      \
    }
#define PRESENT_HOOKS(name, source)                                                                                \
    MT_EXPORT uintptr_t name(uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d);                                  \
    MT_EXPORT uintptr_t name(uintptr_t a, uintptr_t b, uintptr_t c, uintptr_t d)                                   \
    {                                                                                                              \
        return present(CALL_##name, next_of(CALL_##name, CALLER), a, b, c, d);                                     \
    }                                                                                                              \
    WRAP_PRESENT(name, 0)                                                                                          \
    WRAP_PRESENT(name, 1)                                                                                          \
    WRAP_PRESENT(name, 2)
PRESENT_CALLS(PRESENT_HOOKS)

#define WRAP_ADDRESS(name, slot)                                                                                   \
    static void *name##_##slot(const char *function)                                                               \
    {                                                                                                              \
        return address(atomic_load_explicit(&wrapped[CALL_##name][slot], memory_order_relaxed), function);         \
    }
#define ADDRESS_HOOKS(name)                                                                                        \
    MT_EXPORT void *name(const char *function);                                                                    \
    MT_EXPORT void *name(const char *function)                                                                     \
    {                                                                                                              \
        return address(next_of(CALL_##name, CALLER), function);                                                    \
    }                                                                                                              \
    WRAP_ADDRESS(name, 0)                                                                                          \
    WRAP_ADDRESS(name, 1)                                                                                          \
    WRAP_ADDRESS(name, 2)
ADDRESS_CALLS(ADDRESS_HOOKS)

static void *const exported_hooks[CALL_COUNT] = {
#define ONE(name, source) (void *)(uintptr_t)name,
    PRESENT_CALLS(ONE)
#undef ONE
#define ONE(name) (void *)(uintptr_t)name,
        ADDRESS_CALLS(ONE)
#undef ONE
};

static void *const wrap_hooks[CALL_COUNT][WRAP_SLOTS] = {
#define ONE(name, source) {(void *)(uintptr_t)name##_0, (void *)(uintptr_t)name##_1, (void *)(uintptr_t)name##_2},
    PRESENT_CALLS(ONE)
#undef ONE
#define ONE(name) {(void *)(uintptr_t)name##_0, (void *)(uintptr_t)name##_1, (void *)(uintptr_t)name##_2},
        ADDRESS_CALLS(ONE)
#undef ONE
};
