/*
 * Walks the calling thread's stack. Rules of how to get from a frame to its
 * caller are read from the objects' unwind tables once and kept in a table
 * that all threads of a core share; a thread's walker remembers its last walk,
 * so that frames that did not change are compared instead of walked again.
 *
 * Takes no lock, allocates nothing but the two mappings, asks the loader only
 * through _dl_find_object (lock-free). Every read stays inside the mapping
 * that holds the stack pointer. A walker is used by one thread at a time, not
 * re-entered (signal handlers see their thread's busy mark and stay away).
 */
#ifndef MT_WALK_H
#define MT_WALK_H

#include "core.h"

/* A function that reads words of other functions' frames, where AddressSanitizer allows nobody to. */
#if defined(__SANITIZE_ADDRESS__)
#define MT_READS_STACK __attribute__((no_sanitize("address")))
#else
#define MT_READS_STACK
#endif

enum { MT_WALK_RANGES = 4, MT_WALK_KNOWN = 64, MT_WALK_KNOWN_ALL = 8192, MT_WALK_SHALLOW = 29 };

/* A frame in the state in which its callee returns to it. */
struct mt_walk_frame {
    uint64_t pc;                     /* return address */
    uintptr_t stack, frame;          /* stack pointer, frame pointer */
    const uintptr_t *frame_saved_at; /* where `frame` was read from; NULL: carried over from the callee */
    uint64_t hash;                   /* of this frame and all its callers */
    bool passes_frame;               /* the way to its caller leaves the frame pointer as it is */
    bool needs_frame;                /* the way to its callers depends on `frame` */
};

struct mt_walk_range {
    uintptr_t low, high;
    uint64_t unmap_count; /* of the program when it was read */
    bool is_own;          /* the thread's own stack: stays mapped while it runs */
};

/* A stack that this walker has met before. */
struct mt_walk_known {
    uint64_t hash;
    uint32_t generation; /* of the module table */
    uint32_t stack;      /* its id, 0 = unused */
};

/* What walks of MT_WALK_SHALLOW frames need lies in one page, and they touch no other. */
struct mt_walker {
    char apart[MT_WALK_SHALLOW * sizeof(struct mt_walk_frame)];
    struct mt_walk_frame fresh[MT_STACK_DEPTH_MAX]; /* filled from its end on: outermost first */
    struct mt_walker *next_free;
    const void *owner;      /* the thread that used it last, by its thread pointer */
    unsigned count;         /* frames of the last walk, outermost first */
    unsigned own_count;     /* of these, the innermost ones that lie inside the code to be left out */
    unsigned trusted_count; /* of these, the frames that a later walk may reuse */
    uint32_t generation;    /* of the rules that the last walk used */
    uint16_t thread;        /* of mt_stack_thread(); 0 = not told apart */
    uint16_t tag;           /* that the program said (scope.h): stacks of several tags are told apart */
    bool is_cut;            /* the last walk ended before the stack did */
    bool may_close;         /* this thread is inside dlclose itself */
    unsigned range_count, range_next;
    struct mt_walk_range ranges[MT_WALK_RANGES];
    /* where every block is recorded */
    struct mt_walk_known *known_all; /* MT_WALK_KNOWN_ALL of them */
    struct mt_trail *trail;
    struct mt_stack_owner *owner_of;
    uint32_t number;                                 /* in the segment, of mt_stack_own_begin() */
    struct mt_walk_known known[MT_WALK_KNOWN];       /* forgotten where a stack's range is read from a file */
    struct mt_walk_frame frames[MT_STACK_DEPTH_MAX]; /* outermost first */
};
_Static_assert(offsetof(struct mt_walker, next_free) / 4096 ==
                   (offsetof(struct mt_walker, frames[MT_WALK_SHALLOW]) - 1) / 4096,
               "one page");

/* A walker of memtrack's own memory, kept for reuse when given back; NULL when there is none. */
struct mt_walker *mt_walker_take(struct mt_core *core);
void mt_walker_give_back(struct mt_core *core, struct mt_walker *walker);

/*
 * Walks the stack of the caller. Frames inside [skip_low, skip_high) at the
 * inner end are counted in own_count. Returns the number of the others; see the
 * walker's fields. 0 when nothing could be read.
 */
unsigned mt_walk_here(struct mt_core *core, struct mt_walker *walker, uintptr_t skip_low, uintptr_t skip_high);
/* The same from the frame of a function that is being executed, given by its __builtin_frame_address(0). */
unsigned mt_walk_from(struct mt_core *core, struct mt_walker *walker, const uintptr_t *own, uintptr_t skip_low,
                      uintptr_t skip_high);

/* The end of the mapping that holds an address of the calling thread's stack; 0 when it is not known. */
uintptr_t mt_walk_stack_end_slow(struct mt_core *core, struct mt_walker *walker, uintptr_t stack);
static inline uintptr_t mt_walk_stack_end(struct mt_core *core, struct mt_walker *walker, uintptr_t stack)
{
    const struct mt_walk_range *first = &walker->ranges[0];
    if (walker->range_count && first->is_own && stack >= first->low && stack < first->high) return first->high;
    return mt_walk_stack_end_slow(core, walker, stack);
}

/* The beginning of what all walkers of a core share. */
struct mt_walk_shared_head {
    _Atomic uint32_t generation; /* grows when rules that were read before may be wrong; release */
    _Atomic uint32_t closing;    /* threads inside dlclose() */
};

static inline const struct mt_walk_shared_head *mt_walk_head(const struct mt_core *core)
{
    return (const struct mt_walk_shared_head *)atomic_load_explicit(&core->walk, memory_order_acquire);
}

/* Hash of a chain of frames: of one more callee inside of it. */
static inline uint64_t mt_walk_hash(uint64_t callers, uint64_t pc)
{
    uint64_t mixed = (callers ^ pc) * UINT64_C(0x9e3779b97f4a7c15);
    return (mixed ^ (mixed >> 29)) + UINT64_C(0x632be59bd9b4e019);
}

/* In a segment that is new: nothing of a parent's threads is under way here. */
void mt_walk_begin(struct mt_core *core);
/* Forgets all rules: after objects were unloaded, and in a segment that is new. */
void mt_walk_forget(struct mt_core *core);
/* How many slots the table of rules has now. */
unsigned mt_walk_rule_slots(const struct mt_core *core);
/* Around dlclose: meanwhile other threads read no unwind tables that they have not read before. */
void mt_walk_closing(struct mt_core *core, bool begins);

#endif
