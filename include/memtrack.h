/*
 * memtrack.h: what a program that can be rebuilt may tell memtrack, and ask it.
 *
 * Nothing has to be linked. In a process without memtrack every call here is
 * one load and one branch that leads nowhere; that is also so in programs that
 * are linked statically. With libmemtrack.so preloaded, with the Vulkan layer,
 * or with both, the calls reach it. On other systems than Linux, and where
 * MEMTRACK_NO_API is defined, they are empty.
 *
 * C99 or C++11 and later; gcc or clang. All functions may be called from any
 * thread at any time. None of them takes memory from the program's heap or a
 * lock, but for the first call of all in a program, which asks the loader once,
 * and the first tag of a thread where the layer is alone.
 *
 *     #include <memtrack.h>
 *
 *     void load_level(const char *path)
 *     {
 *         MEMTRACK_TAG("loading");        // until the end of this block
 *         ...
 *     }
 */
#ifndef MEMTRACK_H
#define MEMTRACK_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#ifdef __GNUC__ /* what is written for C as well */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wold-style-cast"
#pragma GCC diagnostic ignored "-Wzero-as-null-pointer-constant"
#endif
extern "C" {
#endif

/* ---- statistics ---------------------------------------------------------------------- */

/* What memtrack_query_*() knows; bits of memtrack_statistics.known. */
enum {
    MEMTRACK_KNOWS_COUNTS = 1,  /* allocation_count, total_bytes */
    MEMTRACK_KNOWS_CURRENT = 2, /* current_bytes, current_count, free_count */
    MEMTRACK_KNOWS_PEAK = 4,    /* peak_bytes, to within peak_error_bytes */
    MEMTRACK_KNOWS_BUDGET = 8   /* size_bytes, budget_bytes, usage_bytes as the driver gives them */
};

/* Fields are only ever added at the end. What is not known is 0. */
struct memtrack_statistics {
    uint64_t known;
    uint64_t allocation_count, free_count; /* cumulative */
    uint64_t total_bytes;                  /* cumulative, as requested */
    uint64_t current_bytes, current_count; /* live now, in usable bytes: at least what was requested */
    uint64_t peak_bytes, peak_error_bytes;
    uint64_t size_bytes, budget_bytes, usage_bytes; /* of a heap of device memory */
};

/* What the calls below are made through; programs do not use it themselves. */
enum memtrack_subject { MEMTRACK_OF_ALL = 0, MEMTRACK_OF_TAG = 1, MEMTRACK_OF_DEVICE_HEAP = 2 };
struct memtrack_api {
    uint32_t version; /* 1 */
    uint32_t bytes;   /* sizeof(struct memtrack_api) of the library; it only grows */
    int (*push_tag)(const char *name);
    void (*pop_tag)(void);
    void (*mark_frame)(void);
    int (*is_tracking)(void);
    int (*query)(enum memtrack_subject subject, const char *tag, uint32_t index,
                 struct memtrack_statistics *statistics, size_t bytes);
    int (*set_budget)(const char *tag, uint64_t bytes);
};

#ifndef MEMTRACK_LIBRARY /* the rest is for programs */

/* ---- the way to the library ---------------------------------------------------------- */

#if defined(__linux__) && defined(__ELF__) && defined(__GNUC__) && defined(__LP64__) && !defined(MEMTRACK_NO_API)

/*
 * One word for each program or shared object that includes this header: 0, not
 * looked for yet; 1, there is no library; else where its functions are. The
 * note tells the Vulkan layer where that word is: a layer comes later than the
 * first call, and the loader shows it to nobody.
 */
__attribute__((weak, visibility("hidden"), used)) const struct memtrack_api *memtrack_link = 0;
__asm__(".pushsection .note.memtrack,\"a\",%note\n"
        ".balign 4\n"
        ".long 9, 8, 1\n"
        ".asciz \"memtrack\"\n"
        ".balign 4\n"
        ".quad memtrack_link - .\n"
        ".popsection\n");

/* Both are 0 in a program that is linked statically. */
__attribute__((weak)) void *memtrack_find_symbol(void *where, const char *name) __asm__("dlsym");
__attribute__((weak)) char *memtrack_forget_error(void) __asm__("dlerror");

__attribute__((noinline, cold, unused)) static const struct memtrack_api *memtrack_look(void)
{
    const struct memtrack_api *(*get)(void), *found = 0, *none = 0;
    void *symbol = memtrack_find_symbol ? memtrack_find_symbol(0, "memtrack_api_v1") : 0;
    if (symbol) {
        __builtin_memcpy(&get, &symbol, sizeof get);
        found = get();
    } else if (memtrack_forget_error) {
        memtrack_forget_error();
    }
    if (!found) found = (const struct memtrack_api *)(uintptr_t)1;
    if (__atomic_compare_exchange_n(&memtrack_link, &none, found, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        return found;
    return none;
}

/* NULL where there is no library. */
static inline const struct memtrack_api *memtrack_library(void)
{
    const struct memtrack_api *api = __atomic_load_n(&memtrack_link, __ATOMIC_ACQUIRE);
    if (__builtin_expect((uintptr_t)api > 1, 0)) return api;
    if (__builtin_expect(!api, 0)) api = memtrack_look();
    return (uintptr_t)api > 1 ? api : 0;
}

#else

static inline const struct memtrack_api *memtrack_library(void)
{
    return 0;
}

#endif

/* ---- tags ------------------------------------------------------------------------------ */

/*
 * What the calling thread does from here on has this tag: the heap blocks that
 * it allocates, and the device memory, buffers and images that it makes. A tag
 * said here goes before all rules and before the module that called. Tags nest,
 * at least 1,000 deep; the innermost one counts. "" or NULL: no tag, as if none
 * was said. A block keeps the tag that it was allocated under.
 *
 * The name is copied, up to 55 bytes of it; it may be built anew for each call,
 * and may be the name of a tag in the rules, whose budget then counts for it.
 * There is room for 511 names, with those of the Vulkan commands in use and of
 * the default tags; what is above that gets its tag from the rules and is counted
 * in the report ("dropped": "tags"). 10 to 20 ns; may be called from a signal handler that
 * takes its tags back before it returns.
 *
 * Returns 1 when the tag is to be taken back, 0 when nothing is there to be told.
 */
static inline int memtrack_push_tag(const char *name)
{
    const struct memtrack_api *api = memtrack_library();
    return api ? api->push_tag(name) : 0;
}

/* Takes the newest tag of this thread back. One too many does nothing (counted, and said once on stderr). A thread
 * that ends inside of a tag leaves it. A fork's child goes on inside of its parent's tags. */
static inline void memtrack_pop_tag(void)
{
    const struct memtrack_api *api = memtrack_library();
    if (api) api->pop_tag();
}

/*
 * Gives a tag a budget for its heap blocks and its device memory together, as a
 * file of rules does; one that the rules give goes before it. 0: none. The
 * collector compares about once a second: it tells on stderr, in the report's
 * events and by MEMTRACK_ON_OVER_BUDGET when a tag comes near its budget or
 * passes it. A program that wants to act itself asks memtrack_query_tag().
 *
 * Returns 1, or 0 without memtrack or when there is no room for the name.
 */
static inline int memtrack_set_budget(const char *tag, uint64_t bytes)
{
    const struct memtrack_api *api = memtrack_library();
    return api ? api->set_budget(tag, bytes) : 0;
}

/* ---- frames ------------------------------------------------------------------------------ */

/*
 * Ends a frame here. From the first call on, marks of the program alone end
 * frames; presentation calls, which do so otherwise, no longer do. What came
 * before the first mark is loading and belongs to no frame. Costs about a
 * microsecond; one thread at a time should call it.
 */
static inline void memtrack_mark_frame(void)
{
    const struct memtrack_api *api = memtrack_library();
    if (api) api->mark_frame();
}

/* ---- questions ----------------------------------------------------------------------------- */

/* 1 when memtrack is in the process and counts, else 0. */
static inline int memtrack_is_tracking(void)
{
    const struct memtrack_api *api = memtrack_library();
    return api ? api->is_tracking() : 0;
}

static inline int memtrack_ask(enum memtrack_subject subject, const char *tag, uint32_t index,
                               struct memtrack_statistics *statistics)
{
    const struct memtrack_api *api = memtrack_library();
    struct memtrack_statistics empty = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    *statistics = empty;
    return api ? api->query(subject, tag, index, statistics, sizeof *statistics) : 0;
}

/*
 * Numbers as they are now; each looks at all threads' counters, which takes
 * microseconds. They return 1 and fill *statistics, or 0 and leave it all zero:
 * without memtrack, and for a tag or a heap that is not there.
 *
 * all: the heap blocks of the process.
 * tag: heap blocks of a tag that the program said, or that a rule or the module
 *      gives, as far as no call stack has to be asked for it. What is live of it,
 *      and its own peak, are known where memtrack's pools serve.
 * device_heap: a Vulkan memory heap by its index; where several devices are in
 *      use, their heaps of this index together, of which no peak is known.
 */
static inline int memtrack_query_all(struct memtrack_statistics *statistics)
{
    return memtrack_ask(MEMTRACK_OF_ALL, 0, 0, statistics);
}

static inline int memtrack_query_tag(const char *tag, struct memtrack_statistics *statistics)
{
    return memtrack_ask(MEMTRACK_OF_TAG, tag, 0, statistics);
}

static inline int memtrack_query_device_heap(uint32_t index, struct memtrack_statistics *statistics)
{
    return memtrack_ask(MEMTRACK_OF_DEVICE_HEAP, 0, index, statistics);
}

#endif /* MEMTRACK_LIBRARY */

#ifdef __cplusplus
} /* extern "C" */
#ifdef __GNUC__
#pragma GCC diagnostic pop
#endif
#endif

/* ---- tags for a block of code ------------------------------------------------------------------ */

#ifndef MEMTRACK_LIBRARY

#define MEMTRACK_JOIN_(a, b) a##b
#define MEMTRACK_JOIN(a, b)  MEMTRACK_JOIN_(a, b)

/* MEMTRACK_TAG(name): the tag holds until the end of the enclosing block, by whatever way that is left (in C: but
 * for longjmp). */
#ifdef __cplusplus

namespace memtrack
{
/* The same as an object; it must be destroyed by the thread that made it. */
class tag
{
  public:
    explicit tag(const char *name) : is_pushed(memtrack_push_tag(name) != 0) {}
    ~tag()
    {
        if (is_pushed) memtrack_pop_tag();
    }
    tag(const tag &) = delete;
    tag &operator=(const tag &) = delete;

  private:
    bool is_pushed;
};
} // namespace memtrack

#define MEMTRACK_TAG(name) const ::memtrack::tag MEMTRACK_JOIN(memtrack_tag_, __LINE__)(name)

#elif defined(__GNUC__)

__attribute__((unused)) static inline void memtrack_end_tag(const int *is_pushed)
{
    if (*is_pushed) memtrack_pop_tag();
}

#define MEMTRACK_TAG(name)                                                                                         \
    __attribute__((cleanup(memtrack_end_tag), unused)) const int MEMTRACK_JOIN(memtrack_tag_,                      \
                                                                               __LINE__) = memtrack_push_tag(name)

#endif

#endif /* MEMTRACK_LIBRARY */

#endif
