/*
 * Whole walks that a thread has made before, where every block is recorded. A
 * walk is known again when the words on the stack that it went by are all what
 * they were: then its result is the same, and nothing has to be walked, hashed
 * or searched. One cache for each walker, used by the walker's thread alone;
 * memory of memtrack's own, taken as needed up to a limit.
 */
#ifndef MT_WALK_CACHE_H
#define MT_WALK_CACHE_H

#include "walk.h"

struct mt_stack;

/* What a walk's result depends on besides the stack. */
struct mt_walk_validity {
    uint32_t epoch, rules, modules, thread;
};

/* Where a walk begins, and how far it was looked for. */
struct mt_walk_start {
    const uintptr_t *own; /* frame of the function that the walk starts in */
    uintptr_t key;
    struct mt_walk_validity valid;
};

/*
 * The thread's record of the stack that a walk from the frame `own` would give, without
 * the frames in [skip_low, skip_high); NULL when it is not known. Fills `start`.
 */
struct mt_stack *mt_walk_cache_find(struct mt_core *core, struct mt_walker *walker, const uintptr_t *own,
                                    uintptr_t skip_low, uintptr_t skip_high, struct mt_walk_start *start);
/* Keeps the walk that the walker has just made from there, with its record. */
void mt_walk_cache_add(struct mt_core *core, struct mt_walker *walker, const struct mt_walk_start *start,
                       struct mt_stack *stack);

#endif
