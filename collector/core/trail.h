/*
 * Where every block is recorded: the walks that a thread has made, kept as a
 * tree of the words on the stack that they read, and the last one as a path in
 * it. A thread finds how much of the path still stands by comparing words, and
 * the rest by one look at how it has gone on from there before; nothing has to
 * be walked, hashed or searched for a stack that it has met.
 *
 * One trail for each walker, used by the walker's thread alone, not re-entered;
 * memory of memtrack's own, taken as needed up to a limit.
 */
#ifndef MT_TRAIL_H
#define MT_TRAIL_H

#include "walk.h"

struct mt_stack;

/* What was in force when a walk began. */
struct mt_trail_start {
    uint64_t stamp;
};

/* The record of the stack that a walk from the frame `own` would give; NULL when it is not known. */
struct mt_stack *mt_trail_find(struct mt_core *core, struct mt_walker *walker, const uintptr_t *own);
/*
 * For a walk that was not found: before it is made, and when it has been made
 * and has its record.
 */
void mt_trail_begin(struct mt_core *core, struct mt_trail_start *start);
void mt_trail_add(struct mt_core *core, struct mt_walker *walker, const uintptr_t *own,
                  const struct mt_trail_start *start, struct mt_stack *record);
/* The walker has another thread, or its walks have other records than before. */
void mt_trail_forget(struct mt_walker *walker);

#endif
