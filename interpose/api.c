/*
 * What programs call through memtrack.h, found by the name memtrack_api_v1:
 * tags of threads, frame marks, numbers. Called by the program's threads at any
 * time, also from signal handlers; takes no lock and no memory but a page for
 * the tags of each thread that uses some.
 */
#include "api.h"

#include "count.h"
#include "export.h"
#include "init.h"
#include "query.h"
#include "scope.h"

#include <errno.h>

/* ---- tags ------------------------------------------------------------------------------- */

static MT_COLD struct mt_tag_stack *make_stack(struct mt_thread *thread)
{
    if (thread->state != MT_THREAD_ENDED && !thread->tags) thread->tags = mt_tag_stack_make(&mt_core);
    return thread->tags;
}

static MT_COLD int refuse(void)
{
    mt_core_drop(&mt_core, MT_DROPPED_TAGS);
    return 0;
}

static int push_tag(const char *name)
{
    struct mt_thread *thread = &mt_thread;
    struct mt_tag_stack *tags = MT_LIKELY(thread->tags != NULL) ? thread->tags : make_stack(thread);
    if (MT_UNLIKELY(!tags)) return refuse();
    uint32_t tag = name && *name ? mt_scope_find_tag(&mt_core, name) : 0;
    if (MT_LIKELY(mt_tag_stack_push(tags, tag)))
        mt_thread_change_tag(tag);
    else
        refuse();
    return 1;
}

static MT_COLD void tell_unbalanced(void)
{
    static _Atomic bool is_told;
    refuse();
    if (!atomic_exchange_explicit(&is_told, true, memory_order_relaxed))
        mt_say("memtrack_pop_tag() was called without a tag; ignored, and counted in the report");
}

static void pop_tag(void)
{
    struct mt_tag_stack *tags = mt_thread.tags;
    if (MT_UNLIKELY(!tags || !mt_tag_stack_pop(tags)))
        tell_unbalanced();
    else
        mt_thread_change_tag(mt_tag_stack_top(tags));
}

void mt_api_thread_end(void)
{
    struct mt_thread *thread = &mt_thread;
    struct mt_tag_stack *tags = thread->tags;
    if (!tags) return;
    thread->tags = NULL; /* first: a signal handler that pushes here must not find what goes */
    atomic_signal_fence(memory_order_seq_cst);
    mt_tag_stack_drop(&mt_core, tags);
    mt_thread_change_tag(0);
}

/* ---- the rest ----------------------------------------------------------------------------- */

static bool is_counting(void)
{
    mt_count_enter();
    return mt_core_ready(&mt_core);
}

static void mark_frame(void)
{
    int saved = errno;
    if (is_counting()) mt_frame_mark(&mt_core);
    errno = saved;
}

static int is_tracking(void)
{
    return is_counting();
}

static int query(enum memtrack_subject subject, const char *tag, uint32_t index,
                 struct memtrack_statistics *statistics, size_t bytes)
{
    return is_counting() ? mt_query(&mt_core, subject, tag, index, statistics, bytes) : 0;
}

static int set_budget(const char *tag, uint64_t bytes)
{
    return is_counting() && tag && *tag && mt_scope_set_budget(&mt_core, tag, bytes);
}

static const struct memtrack_api the_api = {
    .version = 1,
    .bytes = sizeof the_api,
    .push_tag = push_tag,
    .pop_tag = pop_tag,
    .mark_frame = mark_frame,
    .is_tracking = is_tracking,
    .query = query,
    .set_budget = set_budget,
};

MT_EXPORT const struct memtrack_api *memtrack_api_v1(void);

/* NULL where memtrack passes through for good. */
MT_EXPORT const struct memtrack_api *memtrack_api_v1(void)
{
    int saved = errno;
    mt_count_enter();
    errno = saved;
    return mt_init_passes_through() && !mt_core_is_on(&mt_core) ? NULL : &the_api;
}
