/*
 * The core as its clients see it: one struct mt_core per process holds the
 * segment and the few words that must be known without it.
 *
 * The preloaded library and the Vulkan layer are each linked with this code.
 * Where both are in a process, the preloaded library owns the core and hands
 * it to the layer (memtrack_core_v1()), so that both write one segment. The
 * core knows heaps, tags, objects, frames and integers; it knows neither
 * malloc hooks nor Vulkan types. It never allocates from the program's heap,
 * uses no stdio and no thread-local storage, and never ends the process.
 *
 * Every function may be called from any thread unless it says otherwise.
 */
#ifndef MT_CORE_H
#define MT_CORE_H

#include "layout.h"
#include "options.h"

#include <stdbool.h>
#include <stddef.h>

#ifndef MT_VERSION
#define MT_VERSION "0.1.0"
#endif

enum mt_core_state {
    MT_CORE_NEW = 0,      /* not started yet */
    MT_CORE_STARTING = 1, /* one thread is inside mt_core_start() */
    MT_CORE_ON = 2,
    MT_CORE_OFF = 3,    /* memtrack passes through: MEMTRACK_DISABLE, set-user-id, no memory */
    MT_CORE_FORKED = 4, /* a fork's child that has not made its own segment yet */
};

/* The name of a scope or of a tag; see scope.h. Written once, before its number is found in a bucket. */
struct mt_scope_name {
    _Atomic uint32_t told;         /* the core's epoch + 1 when the segment was given the name */
    _Atomic uint64_t budget_bytes; /* of a tag; 0 = none */
    uint32_t hash;
    uint8_t length;
    bool is_tag;
    char name[MT_SCOPE_BYTES];
};
enum { MT_SCOPE_BUCKETS = 2 * MT_SCOPE_MAX, MT_CONTEXT_PAIRS = 1024 };

struct mt_core {
    uint32_t version; /* MT_LAYOUT_VERSION of the owner */
    uint32_t size;    /* sizeof(struct mt_core) of the owner */
    char build[64];
    _Atomic uint32_t state;           /* enum mt_core_state; ON is stored with release */
    _Atomic uint32_t epoch;           /* grows by one in every fork's child: ids of older epochs are void */
    struct mt_segment *segment;       /* keeps its address for the life of the process */
    _Atomic uint64_t mapped_bytes;    /* size of the mapping; becomes less where address space is limited */
    _Atomic uint64_t committed_bytes; /* offsets below this are backed by memory */
    bool is_file;                     /* false: anonymous memory, nobody else can read it */
    bool is_private;                  /* options came from a set-user-id program's owner: ignored */
    int32_t pid;
    volatile uint32_t *fork_mark; /* 1; reads 0 in a child that no handler was told of */
    const void *program_headers;  /* those of the executable */
    struct mt_option_values options;
    char directory[1024];                /* of the segment */
    char path[1200];                     /* of the segment's file; "" when anonymous */
    struct mt_walk_shared *_Atomic walk; /* what all stack walkers share; see walk.c */
    /* taken by fork's parent just before the fork, used by the child */
    uint64_t fork_live_bytes, fork_live_count;
    uint32_t fork_origin_count;
    void *fork_origins;
    _Atomic(uint32_t (*)(uint32_t)) change_scope; /* set by the preloaded library; see scope.h */
    _Atomic(void (*)(void)) left_parent;      /* told to a thread that finds itself in a child made by raw clone */
    _Atomic(uint32_t (*)(void)) tag_in_force; /* of the calling thread; set by whoever serves memtrack.h */
    _Atomic uint32_t scope_count;             /* rows of scopes taken, from 1 on */
    _Atomic uint16_t scope_buckets[MT_SCOPE_BUCKETS]; /* row of a name; 0 = empty; release */
    struct mt_scope_name scopes[MT_SCOPE_MAX];        /* the first ones beside the buckets */
    _Atomic uint32_t contexts[MT_CONTEXT_PAIRS];      /* tag << 16 | scope; 0 = empty */
};

/*
 * Starts the core of this process if it is not started: reads the options,
 * makes the segment, fills its header, starts a collector where one is wanted
 * and none is there. Returns true when the segment can be written. Costs one
 * load once started. Two threads may come at once: the second one returns
 * false while the first is at work, and counts nothing. Preserves errno.
 */
bool mt_core_start(struct mt_core *core, enum mt_client client);

/* True when the segment may be written now. A fork's child makes its own segment here. */
static inline bool mt_core_is_on(struct mt_core *core)
{
    return atomic_load_explicit(&core->state, memory_order_acquire) == MT_CORE_ON;
}
bool mt_core_ready_slow(struct mt_core *core);
static inline bool mt_core_ready(struct mt_core *core)
{
    return __builtin_expect(mt_core_is_on(core), 1) || mt_core_ready_slow(core);
}

/* Called by fork's handlers, in the parent before the fork and in the child after it. */
void mt_core_before_fork(struct mt_core *core);
void mt_core_after_fork_in_child(struct mt_core *core);

/*
 * Marks the end of the process, once its exit status is known (state EXITED),
 * or around exec: mt_core_mark_exec() before, mt_core_unmark_exec() when exec
 * failed. A vfork child that shares this memory but has another pid changes nothing.
 */
void mt_core_mark_exit(struct mt_core *core, int exit_code);
void mt_core_mark_exec(struct mt_core *core);
void mt_core_unmark_exec(struct mt_core *core);

/* Adds one to a dropped counter. */
void mt_core_drop(struct mt_core *core, enum mt_dropped what);

/*
 * Memory of the segment behind the fixed tables, zeroed, 64-byte aligned,
 * never given back. Returns its offset, 0 when there is none (counted).
 */
uint64_t mt_core_alloc(struct mt_core *core, uint64_t bytes);

/*
 * Memory of memtrack's own outside the segment, straight from mmap, zeroed,
 * counted in private_bytes. NULL when there is none. Whole pages; both
 * preserve errno.
 */
void *mt_private_map(struct mt_core *core, size_t bytes);
void mt_private_unmap(struct mt_core *core, void *pointer, size_t bytes);

/* ---- clocks -------------------------------------------------------------- */

uint64_t mt_now_ns(void);        /* CLOCK_MONOTONIC */
uint64_t mt_now_coarse_ns(void); /* CLOCK_MONOTONIC_COARSE: cheaper, 1 to 4 ms old */
int32_t mt_gettid(void);         /* a system call; cache it */

/* ---- lines on stderr -------------------------------------------------------- */

/*
 * Writes "memtrack: " and the formatted text as one line to stderr with one
 * write(2). Understands %s %d %u %lu %ld %zu %x and %%. No allocation, no
 * stdio, preserves errno. mt_verbose() only with MEMTRACK_VERBOSE.
 */
void mt_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void mt_verbose(struct mt_core *core, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same formatter into a buffer; always ends it with NUL; returns the length that fits. */
size_t mt_format(char *buffer, size_t bytes, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Copies a string into a field and ends it with NUL. A cut name is counted as dropped. */
void mt_copy_name(struct mt_core *core, char *field, size_t field_bytes, const char *name);

/* ---- events, histograms -------------------------------------------------- */

/* Writes an event into the ring: kind is a short word, text one line. */
void mt_event(struct mt_core *core, const char *kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A named histogram of the segment; NULL when the table is full (counted). */
struct mt_histogram *mt_histogram_new(struct mt_core *core, uint32_t owner, const char *name, const char *unit);
/* Adds a value; NULL is allowed. Shared atomics: for values that do not come by the million. */
void mt_histogram_add(struct mt_histogram *histogram, uint64_t value);
/* The same without read-modify-writes, where the caller keeps other writers out. */
void mt_histogram_add_alone(struct mt_histogram *histogram, uint64_t value);

/* ---- heaps counted with shared atomics (device memory) ---------------------- */

/*
 * Registers a heap. Returns its index + 1, 0 when the table is full (counted;
 * the functions below accept 0 and do nothing). mt_heap_release() gives the
 * row back only when nothing was ever counted in it; otherwise it stays for the report.
 */
unsigned mt_heap_new(struct mt_core *core, enum mt_heap_kind kind, uint32_t owner, uint32_t index,
                     uint32_t heap_index, uint32_t flags, uint64_t size_bytes, const char *name);
void mt_heap_release(struct mt_core *core, unsigned heap);
void mt_heap_allocated(struct mt_core *core, unsigned heap, uint64_t bytes);
void mt_heap_freed(struct mt_core *core, unsigned heap, uint64_t bytes);
void mt_heap_failed(struct mt_core *core, unsigned heap);
/* The numbers of a row of heaps (its index, not a number from mt_heap_new()) with what the lanes hold of it. */
struct mt_heap_sum {
    uint64_t allocation_count, free_count, total_bytes;
    int64_t current_bytes, current_count, peak_bytes;
    uint64_t peak_error_bytes; /* the most by which the peak may be off; 0 = exact */
};
void mt_heap_sum(const struct mt_segment *segment, unsigned row, struct mt_heap_sum *sum);
/* Adds what a row (an index into heaps) ever counted; less to read than mt_heap_sum(). */
void mt_heap_add_totals(const struct mt_segment *segment, unsigned row, uint64_t *allocation_count,
                        uint64_t *total_bytes);
/* A reading of the driver's budget; one that cannot be true (usage or budget of 2^63 and more, or budget
 * above 4 times the size) is counted as rejected instead: false. */
bool mt_heap_budget(struct mt_core *core, unsigned heap, uint64_t budget_bytes, uint64_t usage_bytes);

/* ---- objects -------------------------------------------------------------- */

/*
 * A new object of a kind, with seq odd: fill it in, then publish it. Its
 * create_ns, create_frame are set. Returns NULL when there is no room (counted).
 * *id is never 0. Only one thread may write one object at a time.
 */
struct mt_object *mt_object_new(struct mt_core *core, uint16_t kind, uint32_t *id);
void mt_object_publish(struct mt_object *object);
/* The object of an id; NULL for 0 or an id never handed out. */
struct mt_object *mt_object_at(struct mt_core *core, uint32_t id);
/* Around a change of a published object. */
void mt_object_begin(struct mt_object *object);
void mt_object_end(struct mt_object *object);
/* Gives the slot back. */
void mt_object_free(struct mt_core *core, uint32_t id);

/* ---- frames ----------------------------------------------------------------- */

/*
 * A presentation call begins: returns true when it is the one that ends
 * frames now, so that its caller calls mt_frame_end() when the call has
 * returned. Vulkan presents that happen inside or beside a GL or SDL source
 * of frames are counted as ignored. The source with the highest number in
 * enum mt_frame_source wins for good.
 */
bool mt_frame_begin(struct mt_core *core, enum mt_frame_source source);
void mt_frame_end(struct mt_core *core, enum mt_frame_source source);
/* The program says that a frame ends here. Where it is the first that is known of all, it only begins one. */
void mt_frame_mark(struct mt_core *core);
/* The number of frames ended so far. */
static inline uint64_t mt_frame_now(const struct mt_core *core)
{
    return atomic_load_explicit(&core->segment->frames.count, memory_order_relaxed);
}

/* ---- the core shared by two clients ------------------------------------------ */

/*
 * The name under which the preloaded library exports `struct mt_core
 * *memtrack_core_v1(void)`, the only way the layer finds it.
 */
#define MT_CORE_SYMBOL "memtrack_core_v1"
/* True when a core found that way was built from the same sources as the caller. */
bool mt_core_matches(const struct mt_core *core);

#endif
