/*
 * The trail. Called on the path of every recorded block by the thread whose
 * stack it is; reads nothing outside of the stack's mapping and never waits.
 *
 * A node stands for a frame at its place on the stack with all its callers, so
 * it is right as long as its word on the stack and those of its callers are
 * what they were. The path holds copies of its nodes' words in one row. What
 * still stands of it may be left from calls that have returned; a search below
 * it then leads nowhere and goes on from further outside. What is found is
 * never wrong, because every word of the walk was compared.
 */
#include "trail.h"

#include "module.h"
#include "sys.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define LOAD(field) atomic_load_explicit(&(field), memory_order_relaxed)

enum {
    NODES = 512 * 1024, /* 32 MiB; then everything is forgotten */
    PIECE = 1024,       /* nodes that are counted as memory in use together */
    LOOKS = 48,         /* nodes that a search looks at before the stack is walked instead */
};

/* A word on the stack, and what it holds. */
struct word {
    const uintptr_t *at;
    uintptr_t value;
};

/*
 * A frame's own word is its return address, below the frame. Where its callers
 * depend on the frame pointer, the place where its function saved it is
 * another one. Node 0 is the root, outside of the outermost frame.
 */
struct node {
    struct word pc, saved;      /* saved.at NULL: does not matter */
    struct mt_stack *record;    /* of the walk that begins in this frame; NULL: none did */
    uintptr_t frame;            /* the frame pointer in this frame, where needs_frame */
    uint32_t callee;            /* a frame that this one has called, the one of the last search; 0 = none */
    uint32_t sibling;           /* the next callee of the same caller, in a ring */
    uint16_t depth, first_word; /* nodes and words on the way from the root */
    bool needs_frame;
};
_Static_assert(sizeof(struct node) == 64, "one line of the cache");

struct mt_trail {
    uint64_t stamp;                                /* what all nodes depend on besides the stack; see stamp_of() */
    uintptr_t low, room;                           /* the thread's own stack; room 0: to be asked for */
    uintptr_t high;                                /* end of the stack that the path lies on */
    uint32_t node_count;                           /* the root included */
    uint32_t piece_count;                          /* pieces of nodes that were ever used */
    uint32_t count;                                /* frames of the path, outermost first */
    uint32_t ids[MT_STACK_DEPTH_MAX + 2];          /* its nodes, from the root on */
    uint32_t frames[2 * MT_STACK_DEPTH_MAX + 3];   /* how many frames stand when the words before this one do */
    struct word words[2 * MT_STACK_DEPTH_MAX + 3]; /* ends with a place of NULL */
    _Alignas(64) struct node nodes[NODES];
};

/* Acquire pairs with whoever made rules void. */
static inline uint64_t stamp_of(struct mt_core *core)
{
    const struct mt_walk_shared_head *head = mt_walk_head(core);
    uint64_t rules = head ? atomic_load_explicit(&head->generation, memory_order_acquire) : 0;
    return rules << 32 | mt_module_generation(core);
}

/* ---- finding ----------------------------------------------------------------------- */

/* The first of the path's words that is not what it was, or not on the stack any more. */
MT_READS_STACK static inline const struct word *first_changed(const struct mt_trail *trail, const uintptr_t *own)
{
    const struct word *word = trail->words;
    while (word->at > own && *word->at == word->value) word++;
    return word;
}

/* For a node whose callers are on the stack. */
MT_READS_STACK static inline bool is_on_stack(const struct node *node, const uintptr_t *own, uintptr_t high)
{
    if (node->pc.at <= own || (uintptr_t)node->pc.at >= high || *node->pc.at != node->pc.value) return false;
    if (__builtin_expect(!node->saved.at, 1)) return true;
    return (uintptr_t)node->saved.at < high && *node->saved.at == node->saved.value;
}

/* The same for where walks begin. */
MT_READS_STACK static inline bool begins_at(const struct node *node, const uintptr_t *own)
{
    return node->pc.at == own + 1 && node->record && (!node->needs_frame || node->frame == own[0]);
}

static inline uint32_t words_of(const struct node *node)
{
    return node->depth ? node->saved.at ? 2 : 1 : 0;
}

/* Puts a node onto the path, whose callers are there. */
static inline void put(struct mt_trail *trail, uint32_t id)
{
    const struct node *node = &trail->nodes[id];
    uint32_t depth = node->depth, at = node->first_word;
    trail->ids[depth] = id;
    trail->words[at] = node->pc;
    trail->frames[at] = depth - 1;
    if (__builtin_expect(!node->saved.at, 1)) return;
    trail->words[at + 1] = node->saved;
    trail->frames[at + 1] = depth - 1;
}

/* Ends the path with the node at a depth. */
static inline void end_path(struct mt_trail *trail, uint32_t depth)
{
    const struct node *node = &trail->nodes[trail->ids[depth]];
    uint32_t at = node->first_word + words_of(node);
    trail->count = trail->frames[at] = depth;
    trail->words[at].at = NULL;
}

/* Where the stack ends that the calling thread is on; 0 when it is not known. */
static __attribute__((noinline)) uintptr_t find_high(struct mt_core *core, struct mt_walker *walker,
                                                     const uintptr_t *own)
{
    struct mt_trail *trail = walker->trail;
    uintptr_t high = mt_walk_stack_end(core, walker, (uintptr_t)own);
    const struct mt_walk_range *range = &walker->ranges[0];
    if (trail->high != high) end_path(trail, 0);
    trail->high = high;
    trail->room = 0;
    if (high && walker->range_count && range->is_own && range->high == high) {
        trail->low = range->low;
        trail->room = high - range->low;
    }
    return high;
}

/* The path has come to where a walk begins: next time the search looks here first. */
static inline struct mt_stack *arrive(struct mt_trail *trail, uint32_t top, uint32_t depth)
{
    end_path(trail, depth);
    for (uint32_t i = depth; i > top; i--) trail->nodes[trail->ids[i - 1]].callee = trail->ids[i];
    return trail->nodes[trail->ids[depth]].record;
}

/*
 * Looks below the path's node at a depth for a walk that begins at `own`, and
 * puts the nodes on the way onto the path. *looks is what may still be looked at.
 */
static inline struct mt_stack *search(struct mt_trail *trail, uint32_t depth, const uintptr_t *own, int *looks)
{
    uint32_t id = trail->nodes[trail->ids[depth]].callee, top = depth;
    if (!id) return NULL;
    for (;;) {
        const struct node *node = &trail->nodes[id];
        if (!--*looks) return NULL;
        if (is_on_stack(node, own, trail->high)) {
            put(trail, id);
            if (begins_at(node, own)) return arrive(trail, top, depth + 1);
            if (node->callee) {
                depth++;
                id = node->callee;
                continue;
            }
        }
        for (id = node->sibling; id == trail->nodes[trail->ids[depth]].callee; id = trail->nodes[id].sibling) {
            if (depth == top) return NULL;
            id = trail->ids[depth--]; /* all that it called has been looked at */
        }
    }
}

/* From the innermost frame that stands outwards. */
static struct mt_stack *search_outwards(struct mt_trail *trail, uint32_t depth, const uintptr_t *own)
{
    struct mt_stack *record = NULL;
    int looks = LOOKS;
    for (;; depth--) {
        record = search(trail, depth, own, &looks);
        if (record || !depth || looks <= 0) break;
    }
    if (!record) end_path(trail, depth);
    return record;
}

struct mt_stack *mt_trail_find(struct mt_core *core, struct mt_walker *walker, const uintptr_t *own)
{
    struct mt_trail *trail = walker->trail;
    if (__builtin_expect(!trail || trail->stamp != stamp_of(core), 0)) return NULL;
    if (__builtin_expect((uintptr_t)own - trail->low >= trail->room, 0) && !find_high(core, walker, own))
        return NULL;
    uint32_t standing = trail->frames[first_changed(trail, own) - trail->words];
    const struct node *last = &trail->nodes[trail->ids[standing]];
    if (begins_at(last, own)) return last->record;
    return search_outwards(trail, standing, own);
}

/* ---- keeping ----------------------------------------------------------------------- */

static void forget(struct mt_trail *trail)
{
    trail->nodes[0].callee = 0;
    trail->node_count = 1;
    end_path(trail, 0);
}

/* Its nodes are counted as memory in use piece by piece. */
static struct mt_trail *make(struct mt_core *core)
{
    int saved = errno;
    struct mt_trail *trail = mt_sys_mmap(NULL, sizeof *trail, PROT_READ | PROT_WRITE,
                                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
    errno = saved;
    if (trail == MAP_FAILED) return NULL;
    atomic_fetch_add_explicit(&core->segment->globals.private_bytes, offsetof(struct mt_trail, nodes),
                              memory_order_relaxed);
    trail->node_count = 1;
    return trail;
}

void mt_trail_forget(struct mt_walker *walker)
{
    if (!walker->trail) return;
    forget(walker->trail);
    walker->trail->room = 0;
}

void mt_trail_begin(struct mt_core *core, struct mt_trail_start *start)
{
    start->stamp = stamp_of(core);
}

/*
 * NULL when the walk must not be kept: around dlclose rules are missing, and
 * what was in force when the walk began may not be any more.
 */
static struct mt_trail *ready(struct mt_core *core, struct mt_walker *walker, const struct mt_trail_start *start)
{
    const struct mt_walk_shared_head *head = mt_walk_head(core);
    if (!head || atomic_load_explicit(&head->closing, memory_order_seq_cst) || stamp_of(core) != start->stamp)
        return NULL;
    if (!walker->trail) walker->trail = make(core);
    struct mt_trail *trail = walker->trail;
    if (trail && trail->stamp != start->stamp) {
        forget(trail);
        trail->stamp = start->stamp;
    }
    return trail;
}

/* Where the frame pointer of a frame's caller lies, when it matters. */
static inline struct word saved_of(const struct mt_walker *walker, unsigned at)
{
    const struct mt_walk_frame *caller = at ? &walker->frames[at - 1] : NULL;
    bool matters = caller && caller->needs_frame && caller->frame_saved_at;
    return matters ? (struct word){caller->frame_saved_at, caller->frame} : (struct word){NULL, 0};
}

/* True when the node is that of a walk's frame, given that of its caller. */
static inline bool is_of(const struct node *node, const struct mt_walker *walker, unsigned at)
{
    const struct mt_walk_frame *frame = &walker->frames[at];
    struct word saved = saved_of(walker, at);
    return (uintptr_t)(node->pc.at + 1) == frame->stack && node->pc.value == frame->pc &&
           node->saved.at == saved.at && node->saved.value == saved.value &&
           node->needs_frame == frame->needs_frame && (!frame->needs_frame || node->frame == frame->frame);
}

/* The node of a walk's frame below that of its caller; 0 when there is no room. */
static uint32_t intern(struct mt_core *core, struct mt_trail *trail, uint32_t caller,
                       const struct mt_walker *walker, unsigned at)
{
    struct node *parent = &trail->nodes[caller];
    const struct mt_walk_frame *frame = &walker->frames[at];
    uint32_t id = parent->callee;
    do {
        if (id && is_of(&trail->nodes[id], walker, at)) return id;
        id = trail->nodes[id].sibling;
    } while (id != parent->callee);
    if (trail->node_count == NODES) return 0;
    id = trail->node_count++;
    if (id / PIECE >= trail->piece_count) {
        trail->piece_count++;
        atomic_fetch_add_explicit(&core->segment->globals.private_bytes, PIECE * sizeof(struct node),
                                  memory_order_relaxed);
    }
    trail->nodes[id] = (struct node){.pc = {(const uintptr_t *)frame->stack - 1, frame->pc},
                                     .saved = saved_of(walker, at),
                                     .frame = frame->frame,
                                     .sibling = parent->callee ? trail->nodes[parent->callee].sibling : id,
                                     .depth = (uint16_t)(parent->depth + 1),
                                     .first_word = (uint16_t)(parent->first_word + words_of(parent)),
                                     .needs_frame = frame->needs_frame};
    if (parent->callee) trail->nodes[parent->callee].sibling = id;
    parent->callee = id;
    return id;
}

/* Puts a walk's frames onto the path, as many as can be trusted; false when there was no room for one. */
static bool lay(struct mt_core *core, struct mt_trail *trail, const struct mt_walker *walker)
{
    unsigned at = 0;
    while (at < trail->count && at < walker->trusted_count && is_of(&trail->nodes[trail->ids[at + 1]], walker, at))
        at++;
    for (; at < walker->trusted_count; at++) {
        uint32_t id = intern(core, trail, trail->ids[at], walker, at);
        if (!id) return false;
        put(trail, id);
    }
    end_path(trail, at);
    return true;
}

/* Words that are not in the order of the frames cannot be told from the end of the stack in use. */
static bool is_regular(const struct mt_walker *walker, const uintptr_t *own, uintptr_t high)
{
    const struct mt_walk_frame *frames = walker->frames;
    /* Of a handler on an alternate stack the outer frames lie elsewhere. */
    if (frames[0].stack > high || frames[0].stack <= (uintptr_t)own) return false;
    if (frames[0].stack - frames[walker->count - 1].stack >= UINT32_MAX / 2) return false;
    for (unsigned i = 0; i + 1 < walker->trusted_count; i++) {
        if (frames[i].stack <= frames[i + 1].stack) return false;
        if (frames[i].needs_frame && frames[i].frame_saved_at &&
            (uintptr_t)frames[i].frame_saved_at < frames[i + 1].stack)
            return false;
    }
    return true;
}

void mt_trail_add(struct mt_core *core, struct mt_walker *walker, const uintptr_t *own,
                  const struct mt_trail_start *start, struct mt_stack *record)
{
    struct mt_trail *trail = walker->count ? ready(core, walker, start) : NULL;
    if (!trail || !find_high(core, walker, own)) return;
    if (!is_regular(walker, own, trail->high)) {
        end_path(trail, 0);
        return;
    }
    if (!lay(core, trail, walker)) {
        forget(trail);
        return;
    }
    if (walker->trusted_count != walker->count) return;
    trail->nodes[trail->ids[trail->count]].record = record;
}
