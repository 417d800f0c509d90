/*
 * Scopes: what a thread is doing, by names. Two kinds stand beside each other:
 * a tag is what the program itself says through memtrack.h ("loading"), a scope
 * what a client puts around what it calls ("vkCreateImage"). All that a thread
 * allocates meanwhile is counted under the pair of both, its context, which is
 * one small number; a tag is not replaced by a scope inside of it.
 *
 * Any thread; no lock. Nothing here allocates from the program's heap; all
 * preserve errno. Names and numbers are of the process and stay over fork.
 */
#ifndef MT_SCOPE_H
#define MT_SCOPE_H

#include "core.h"

/*
 * The number of a scope or of a tag by its name, made when new; 0 is "none" and
 * also the answer when the table is full (counted). Names are cut at
 * MT_SCOPE_BYTES - 1 bytes. A scope and a tag of one name are two things.
 */
uint32_t mt_scope_find(struct mt_core *core, const char *name);
uint32_t mt_scope_find_tag(struct mt_core *core, const char *name);
/* The number of a tag that has one already; else 0. */
uint32_t mt_scope_known_tag(struct mt_core *core, const char *name);

/* The context of a tag and a scope, either of which may be 0; that of the tag alone when the table is full
 * (counted). Less than MT_SCOPE_MAX + MT_CONTEXT_PAIRS. */
uint32_t mt_scope_context(struct mt_core *core, uint32_t tag, uint32_t scope);
struct mt_scope_parts {
    uint32_t tag, scope;
};
struct mt_scope_parts mt_scope_parts(const struct mt_core *core, uint32_t context);

/* Puts the name of a tag or scope, and its budget, into the segment, for readers; 0 is allowed. */
void mt_scope_tell(struct mt_core *core, uint32_t number);
/* Gives a tag a budget, or none with 0; readers compare. False when there is no room for its name. */
bool mt_scope_set_budget(struct mt_core *core, const char *tag, uint64_t bytes);

/*
 * Puts the calling thread into a scope, or into none with 0, and returns the
 * one it was in, which mt_scope_leave() takes back. Where the preloaded library
 * is not in the process this is one test. Async-signal-safe.
 */
static inline uint32_t mt_scope_enter(struct mt_core *core, uint32_t scope)
{
    uint32_t (*change)(uint32_t) = atomic_load_explicit(&core->change_scope, memory_order_relaxed);
    return change ? change(scope) : 0;
}

static inline void mt_scope_leave(struct mt_core *core, uint32_t previous)
{
    mt_scope_enter(core, previous);
}

/* ---- the tags of a thread ---------------------------------------------------------- */

enum { MT_TAG_DEPTH = 1022 };

/* The tags that a thread is inside of, in a page of memtrack's own. */
struct mt_tag_stack {
    uint32_t depth; /* pushes that were not taken back; those beyond MT_TAG_DEPTH change nothing */
    uint16_t tags[MT_TAG_DEPTH];
};

/* NULL when there is no memory. */
static inline struct mt_tag_stack *mt_tag_stack_make(struct mt_core *core)
{
    return mt_private_map(core, sizeof(struct mt_tag_stack));
}

static inline void mt_tag_stack_drop(struct mt_core *core, struct mt_tag_stack *stack)
{
    if (stack) mt_private_unmap(core, stack, sizeof *stack);
}

static inline uint32_t mt_tag_stack_top(const struct mt_tag_stack *stack)
{
    uint32_t depth = stack->depth < MT_TAG_DEPTH ? stack->depth : MT_TAG_DEPTH;
    return depth ? stack->tags[depth - 1] : 0;
}

/* Both return false, counted by the caller, when there is no room or nothing to take back. A signal handler
 * that pushes and pops in between finds its own place. */
static inline bool mt_tag_stack_push(struct mt_tag_stack *stack, uint32_t tag)
{
    uint32_t at = stack->depth++;
    atomic_signal_fence(memory_order_seq_cst);
    if (__builtin_expect(at >= MT_TAG_DEPTH, 0)) return false;
    stack->tags[at] = (uint16_t)tag;
    return true;
}

static inline bool mt_tag_stack_pop(struct mt_tag_stack *stack)
{
    if (__builtin_expect(!stack->depth, 0)) return false;
    stack->depth--;
    return true;
}

/*
 * The tag that the calling thread is in, whose name is in the segment from then
 * on: for records of objects. 0 where no client knows of tags.
 */
uint32_t mt_scope_tag_told(struct mt_core *core);

#endif
