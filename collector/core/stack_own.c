/*
 * Records of one's own: made, found, and kept. A record belongs to a walker;
 * it outlives the walker's thread and goes on counting for the next one. Only
 * the rare paths here wait for another thread's few stores.
 */
#include "stack_own.h"

#include "module.h"
#include "trail.h"

#include <string.h>

#define LOAD(field)         atomic_load_explicit(&(field), memory_order_relaxed)
#define STORE(field, value) atomic_store_explicit(&(field), value, memory_order_relaxed)

enum {
    LEAF = 1024, /* ids in one leaf: a page */
    LEAVES = MT_STACK_CHUNK * MT_STACK_CHUNKS / LEAF,
};

/* What a walker owns beside the stacks' own records: for each stack the id of its twin. */
struct mt_stack_owner {
    uint32_t epoch;  /* of the core */
    uint32_t number; /* of the walker, in this segment */
    uint32_t *leaves[LEAVES];
};

/* ---- owners ------------------------------------------------------------------------ */

/* A fork's child begins anew. */
static void begin(struct mt_core *core, struct mt_stack_owner *owner)
{
    for (unsigned i = 0; i < LEAVES; i++)
        if (owner->leaves[i]) memset(owner->leaves[i], 0, LEAF * sizeof owner->leaves[i][0]);
    owner->epoch = LOAD(core->epoch) + 1;
    owner->number = atomic_fetch_add_explicit(&core->segment->attribution.walker_count, 1, memory_order_relaxed) +
                    1;
}

static inline struct mt_stack_owner *owner_of(struct mt_core *core, struct mt_walker *walker)
{
    if (__builtin_expect(!walker->owner_of, 0)) walker->owner_of = mt_private_map(core, sizeof *walker->owner_of);
    struct mt_stack_owner *owner = walker->owner_of;
    if (owner && __builtin_expect(owner->epoch != LOAD(core->epoch) + 1, 0)) {
        if (!walker->known_all)
            walker->known_all = mt_private_map(core, MT_WALK_KNOWN_ALL * sizeof walker->known_all[0]);
        begin(core, owner);
    }
    return owner;
}

bool mt_stack_own_begin(struct mt_core *core, struct mt_walker *walker)
{
    const struct mt_stack_owner *owner = owner_of(core, walker);
    if (owner) walker->number = owner->number;
    mt_trail_forget(walker);
    return owner != NULL;
}

/* ---- twins ------------------------------------------------------------------------- */

static struct mt_stack *make_twin(struct mt_core *core, const struct mt_stack *stack, uint32_t stack_id,
                                  uint32_t number)
{
    uint32_t id = mt_stack_make(core);
    struct mt_stack *twin = mt_stack_at(core, id);
    if (!twin) {
        atomic_fetch_add_explicit(&core->segment->attribution.lost[MT_LOST_STACKS], 1, memory_order_relaxed);
        return NULL;
    }
    twin->id = id;
    twin->twin_of = stack_id;
    twin->first_ns = stack->first_ns;
    twin->max_bytes = MT_STACK_HAND_OVER;
    twin->epoch = LOAD(core->segment->attribution.peak_epoch);
    STORE(twin->is_shared, 1);
    STORE(twin->owner, number);
    return twin;
}

/* Puts a twin behind a record of the list. */
static void link_behind(struct mt_stack *before, struct mt_stack *twin)
{
    uint32_t next = LOAD(before->twins);
    do STORE(twin->twins, next);
    /* Release: whoever finds the twin finds its fields. */
    while (!atomic_compare_exchange_weak_explicit(&before->twins, &next, twin->id, memory_order_release,
                                                  memory_order_relaxed));
}

/*
 * The twin that belongs to nobody, made when the stack gets its first twin:
 * from then on it keeps the maximum. NULL when there is no room.
 */
static struct mt_stack *nobody_of(struct mt_core *core, struct mt_stack *stack, uint32_t stack_id)
{
    /* Acquire pairs with the release below. */
    uint32_t first = atomic_load_explicit(&stack->twins, memory_order_acquire);
    if (first) return mt_stack_at(core, first);
    struct mt_stack *nobody = make_twin(core, stack, stack_id, MT_STACK_OF_NOBODY);
    if (!nobody) return NULL;
    nobody->max_bytes = __atomic_load_n(&stack->max_bytes, __ATOMIC_RELAXED);
    nobody->max_count = __atomic_load_n(&stack->max_count, __ATOMIC_RELAXED);
    uint32_t none = 0;
    if (!atomic_compare_exchange_strong_explicit(&stack->twins, &none, nobody->id, memory_order_acq_rel,
                                                 memory_order_acquire))
        return mt_stack_at(core, none); /* the one made here stays empty */
    STORE(stack->is_shared, 1);
    __atomic_store_n(&stack->max_bytes, INT64_MIN, __ATOMIC_RELAXED); /* its owner hands over with its next block */
    return nobody;
}

/* The walker's record when it does not own the one it was given. */
static __attribute__((noinline)) struct mt_stack *find_twin(struct mt_core *core, struct mt_stack_owner *owner,
                                                            struct mt_stack *stack, uint32_t stack_id)
{
    uint32_t none = 0;
    if (atomic_compare_exchange_strong_explicit(&stack->owner, &none, owner->number, memory_order_relaxed,
                                                memory_order_relaxed) ||
        none == owner->number) {
        stack->id = stack_id;
        return stack;
    }
    uint32_t **leaf = &owner->leaves[stack_id / LEAF];
    if (!*leaf) *leaf = mt_private_map(core, LEAF * sizeof **leaf);
    if (!*leaf) return NULL;
    uint32_t *id = &(*leaf)[stack_id % LEAF];
    if (*id) return mt_stack_at(core, *id);
    struct mt_stack *nobody = nobody_of(core, stack, stack_id);
    struct mt_stack *twin = nobody ? make_twin(core, stack, stack_id, owner->number) : NULL;
    if (!twin) return NULL;
    link_behind(nobody, twin);
    *id = twin->id;
    return twin;
}

struct mt_stack *mt_stack_own_of(struct mt_core *core, struct mt_walker *walker, uint32_t id)
{
    struct mt_stack_owner *owner = owner_of(core, walker);
    struct mt_stack *record = mt_stack_at(core, id);
    if (!owner || !record) return NULL;
    if (__builtin_expect(LOAD(record->owner) == owner->number, 1)) return record;
    uint32_t stack_id = record->twin_of ? record->twin_of : id;
    return find_twin(core, owner, mt_stack_at(core, stack_id), stack_id);
}

struct mt_stack *mt_stack_own_walk(struct mt_core *core, struct mt_walker *walker, const uintptr_t *own,
                                   uintptr_t skip_low, uintptr_t skip_high)
{
    struct mt_trail_start start;
    mt_trail_begin(core, &start);
    mt_walk_from(core, walker, own, skip_low, skip_high);
    struct mt_stack *record = mt_stack_own_of(core, walker, mt_stack_of_walk(core, walker));
    if (record) mt_trail_add(core, walker, own, &start, record);
    return record;
}

/* ---- counting --------------------------------------------------------------------- */

/* A reader in another process sees the parts of live moved or not moved. */
static void begin_move(struct mt_stack *record)
{
    /* Acquire: the changes stay behind it. */
    atomic_exchange_explicit(&record->lock, 1, memory_order_acquire);
}

static void end_move(struct mt_stack *record)
{
    atomic_store_explicit(&record->lock, 0, memory_order_release);
}

void mt_stack_own_rebase(struct mt_stack *record, uint32_t epoch)
{
    begin_move(record);
    mt_stack_rebase(record, epoch);
    end_move(record);
}

/* Adds what a record holds, unless its owner moves it just now. */
static void add_live(const struct mt_stack *record, int64_t *bytes, int64_t *count)
{
    uint32_t epoch = __atomic_load_n(&record->epoch, __ATOMIC_RELAXED);
    /* Acquire pairs with end_move(). */
    if (atomic_load_explicit(&record->lock, memory_order_acquire)) return;
    int64_t live_bytes = __atomic_load_n(&record->at_peak_bytes, __ATOMIC_RELAXED) +
                         __atomic_load_n(&record->since_bytes, __ATOMIC_RELAXED);
    int64_t live_count = __atomic_load_n(&record->at_peak_count, __ATOMIC_RELAXED) +
                         __atomic_load_n(&record->since_count, __ATOMIC_RELAXED);
    atomic_thread_fence(memory_order_acquire);
    if (LOAD(record->lock) || __atomic_load_n(&record->epoch, __ATOMIC_RELAXED) != epoch) return;
    *bytes += live_bytes;
    *count += live_count;
}

/* What the stack's own record holds has not come to nobody's twin before its owner hands over for the first time.
 */
static void raise_max(struct mt_stack *nobody, const struct mt_stack *stack, const struct mt_stack *record)
{
    int64_t bytes = nobody->at_peak_bytes + nobody->since_bytes;
    int64_t count = nobody->at_peak_count + nobody->since_count;
    if (stack != record) add_live(stack, &bytes, &count);
    if (bytes <= nobody->max_bytes) return;
    nobody->max_bytes = bytes;
    nobody->max_count = count;
}

/* Gives the live part to the twin that belongs to nobody, which keeps the maximum. */
static void hand_over(struct mt_core *core, struct mt_stack *record)
{
    struct mt_stack *stack = record->twin_of ? mt_stack_at(core, record->twin_of) : record;
    /* Acquire pairs with the release of whoever put the twin there. */
    uint32_t first = stack ? atomic_load_explicit(&stack->twins, memory_order_acquire) : 0;
    struct mt_stack *nobody = mt_stack_at(core, first);
    __atomic_store_n(&record->max_bytes, MT_STACK_HAND_OVER, __ATOMIC_RELAXED);
    if (!nobody) return;
    mt_stack_lock(nobody);
    uint32_t epoch = LOAD(core->segment->attribution.peak_epoch);
    begin_move(record);
    mt_stack_rebase(record, epoch);
    mt_stack_rebase(nobody, epoch);
    nobody->at_peak_bytes += record->at_peak_bytes;
    nobody->at_peak_count += record->at_peak_count;
    nobody->since_bytes += record->since_bytes;
    nobody->since_count += record->since_count;
    __atomic_store_n(&record->at_peak_bytes, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&record->at_peak_count, 0, __ATOMIC_RELAXED);
    mt_stack_own_change(record, -record->since_bytes, -record->since_count);
    end_move(record);
    raise_max(nobody, stack, record);
    mt_stack_unlock(nobody);
}

void mt_stack_own_grew(struct mt_core *core, struct mt_stack *record)
{
    if (LOAD(record->is_shared)) {
        hand_over(core, record);
        return;
    }
    __atomic_store_n(&record->max_bytes, record->at_peak_bytes + record->since_bytes, __ATOMIC_RELAXED);
    __atomic_store_n(&record->max_count, record->at_peak_count + record->since_count, __ATOMIC_RELAXED);
}

void mt_stack_own_shrank(struct mt_core *core, struct mt_stack *record)
{
    if (LOAD(record->is_shared)) hand_over(core, record);
}

void mt_stack_nobody_freed(struct mt_core *core, uint32_t id, uint64_t usable_bytes, const struct mt_stack_end *end)
{
    struct mt_stack *record = mt_stack_at(core, id);
    if (!record) return;
    uint32_t stack_id = record->twin_of ? record->twin_of : id;
    struct mt_stack *stack = mt_stack_at(core, stack_id);
    struct mt_stack *nobody = stack ? nobody_of(core, stack, stack_id) : NULL;
    if (!nobody) return;
    mt_stack_lock(nobody);
    mt_stack_rebase(nobody, LOAD(core->segment->attribution.peak_epoch));
    nobody->since_bytes -= (int64_t)usable_bytes;
    nobody->since_count -= MT_SCALE;
    nobody->lifetime_ms += end->lifetime_ms * MT_SCALE;
    if (end->is_same_frame) nobody->same_frame_count += MT_SCALE;
    mt_stack_unlock(nobody);
}
