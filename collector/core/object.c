/*
 * Objects: records in chunks of the segment, their slots in a lock-free free
 * list. Ids are handed out from any thread; one object is written by one
 * thread at a time, under its seq.
 */
#include "lane.h"
#include "segment.h"

#include <sched.h>
#include <stddef.h>
#include <string.h>

#define LOAD(field) atomic_load_explicit(&(field), memory_order_relaxed)

/* Ids that a lane takes at once, and the most it keeps. */
enum { STORE_REFILL = 16, STORE_MOST = 64 };
/* Of a record, what ending it and making the next one in its place write. */
enum { ENDING_LINES = (offsetof(struct mt_object, name) + 63) / 64 };

static struct mt_object *slot(struct mt_core *core, uint32_t id)
{
    /* Acquire: pairs with the release that published the chunk. */
    uint64_t chunk = atomic_load_explicit(&core->segment->object_chunks[(id - 1) / MT_OBJECT_CHUNK],
                                          memory_order_acquire);
    if (!chunk) return NULL;
    return (struct mt_object *)((char *)core->segment + chunk) + (id - 1) % MT_OBJECT_CHUNK;
}

struct mt_object *mt_object_at(struct mt_core *core, uint32_t id)
{
    if (!id || id > LOAD(core->segment->objects.used_slots)) return NULL;
    return slot(core, id);
}

/* Takes up to `most` ids off the shared list, as a list; returns how many. */
static uint32_t pop_free(struct mt_core *core, uint32_t most, uint32_t *first)
{
    struct mt_objects *objects = &core->segment->objects;
    /* Acquire: pairs with the release in push_free(), so next_free is seen. */
    uint64_t head = atomic_load_explicit(&objects->free_head, memory_order_acquire);
    while ((uint32_t)head) {
        uint32_t count = 0, next = (uint32_t)head;
        for (; next && count < most; count++) /* what changes meanwhile changes the head too: the swap fails then */
            next = __atomic_load_n(&slot(core, next)->next_free, __ATOMIC_RELAXED);
        uint64_t new_head = ((head >> 32) + 1) << 32 | next; /* the upper half changes with every operation (ABA) */
        if (atomic_compare_exchange_weak_explicit(&objects->free_head, &head, new_head, memory_order_acquire,
                                                  memory_order_acquire)) {
            *first = (uint32_t)head;
            return count;
        }
    }
    return 0;
}

/* Puts a list of ids on the shared list. */
static void push_free(struct mt_core *core, uint32_t first, struct mt_object *last)
{
    struct mt_objects *objects = &core->segment->objects;
    uint64_t head = LOAD(objects->free_head), new_head;
    do {
        __atomic_store_n(&last->next_free, (uint32_t)head, __ATOMIC_RELAXED);
        new_head = ((head >> 32) + 1) << 32 | first;
    } while (!atomic_compare_exchange_weak_explicit(&objects->free_head, &head, new_head, memory_order_release,
                                                    memory_order_relaxed));
}

/* Makes sure that the chunk of a slot exists; one thread adds it, others wait for that system call. */
static bool ensure_chunk(struct mt_core *core, uint32_t id)
{
    struct mt_objects *objects = &core->segment->objects;
    _Atomic uint64_t *chunk = &core->segment->object_chunks[(id - 1) / MT_OBJECT_CHUNK];
    if (!mt_segment_commit_table(core, MT_TABLE_OBJECTS)) return false;
    while (!atomic_load_explicit(chunk, memory_order_acquire)) {
        uint32_t idle = 0;
        if (!atomic_compare_exchange_strong_explicit(&objects->growing, &idle, 1, memory_order_acquire,
                                                     memory_order_relaxed)) {
            sched_yield();
            continue;
        }
        uint64_t offset = atomic_load_explicit(chunk, memory_order_relaxed);
        if (!offset) offset = mt_core_alloc(core, MT_OBJECT_CHUNK * sizeof(struct mt_object));
        atomic_store_explicit(chunk, offset, memory_order_release);
        atomic_store_explicit(&objects->growing, 0, memory_order_release);
        if (!offset) return false;
    }
    return true;
}

/* Takes `count` ids that follow each other and were never handed out. */
static bool take_new(struct mt_core *core, uint32_t count, uint32_t *first)
{
    struct mt_objects *objects = &core->segment->objects;
    uint32_t used = LOAD(objects->used_slots);
    do {
        if (used + count > MT_OBJECT_CHUNK * MT_OBJECT_CHUNKS || !ensure_chunk(core, used + 1) ||
            !ensure_chunk(core, used + count))
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&objects->used_slots, &used, used + count, memory_order_relaxed,
                                                    memory_order_relaxed));
    *first = used + 1;
    return true;
}

/* ---- a lane's store of ids ---------------------------------------------------------- */

static bool refill(struct mt_core *core, struct mt_lane *lane)
{
    uint32_t first;
    lane->free_object_count = pop_free(core, STORE_REFILL, &lane->free_object);
    if (lane->free_object_count) return true;
    uint32_t count = take_new(core, STORE_REFILL, &first) ? STORE_REFILL : take_new(core, 1, &first) ? 1 : 0;
    for (uint32_t i = 0; i < count; i++) {
        struct mt_object *object = slot(core, first + i);
        /* A thread whose swap in pop_free() is going to fail may read it. */
        if (object) __atomic_store_n(&object->next_free, i + 1 < count ? first + i + 1 : 0, __ATOMIC_RELAXED);
    }
    lane->free_object = first;
    lane->free_object_count = count;
    return count;
}

static inline uint32_t take_from_store(struct mt_core *core, struct mt_lane *lane)
{
    if (__builtin_expect(!lane->free_object_count && !refill(core, lane), 0)) return 0;
    uint32_t id = lane->free_object;
    lane->free_object = __atomic_load_n(&slot(core, id)->next_free, __ATOMIC_RELAXED);
    lane->free_object_count--;
    return id;
}

/* Gives the `count` ids that were put there last to all threads. */
static __attribute__((noinline)) void spill(struct mt_core *core, struct mt_lane *lane, uint32_t count)
{
    uint32_t first = lane->free_object;
    if (!count) return;
    struct mt_object *last = slot(core, first);
    for (uint32_t i = 1; i < count; i++) last = slot(core, last->next_free);
    lane->free_object = last->next_free;
    lane->free_object_count -= count;
    push_free(core, first, last);
}

static inline void put_into_store(struct mt_core *core, struct mt_lane *lane, struct mt_object *object, uint32_t id)
{
    __atomic_store_n(&object->next_free, lane->free_object, __ATOMIC_RELAXED);
    lane->free_object = id;
    if (__builtin_expect(++lane->free_object_count >= STORE_MOST, 0)) spill(core, lane, STORE_MOST / 2);
}

/* ---- objects -------------------------------------------------------------------------- */

static uint32_t take_id(struct mt_core *core, struct mt_lane *lane)
{
    uint32_t id = 0;
    if (lane)
        id = take_from_store(core, lane);
    else if (!pop_free(core, 1, &id) && !take_new(core, 1, &id))
        id = 0;
    if (__builtin_expect(!id, 0)) mt_core_drop(core, MT_DROPPED_OBJECTS);
    return id;
}

static void count_object(struct mt_core *core, struct mt_lane *lane, int change)
{
    if (lane)
        MT_LANE_ADD(lane->live_objects, change);
    else
        atomic_fetch_add_explicit(&core->segment->objects.live_count, (uint32_t)change, memory_order_relaxed);
}

/* A line each: of one piece as large compilers make a string instruction, which takes longer than all the rest. */
static inline void clear(struct mt_object *object)
{
    enum { LINE = 64, HEAD = sizeof object->seq, TAIL = offsetof(struct mt_object, name) - 2 * LINE };
    char *bytes = (char *)object;
    memset(bytes + HEAD, 0, LINE - HEAD);
    memset(bytes + LINE, 0, LINE);
    memset(bytes + 2 * LINE, 0, TAIL);
    object->name[0] = 0; /* what comes behind the NUL is nobody's */
}

struct mt_object *mt_object_new_in(struct mt_core *core, struct mt_lane *lane, uint16_t kind, uint32_t *id)
{
    *id = 0;
    if (!mt_core_ready(core)) return NULL;
    *id = take_id(core, lane);
    struct mt_object *object = *id ? slot(core, *id) : NULL;
    if (!object) return NULL;
    mt_object_begin(object);
    clear(object);
    object->kind = kind;
    object->create_ns = mt_now_coarse_ns();
    object->create_frame = mt_frame_now(core);
    count_object(core, lane, 1);
    return object;
}

struct mt_object *mt_object_new(struct mt_core *core, uint16_t kind, uint32_t *id)
{
    struct mt_object *object = mt_object_new_in(core, NULL, kind, id);
    if (object) object->text[0] = 0;
    return object;
}

void mt_object_begin(struct mt_object *object)
{
    atomic_store_explicit(&object->seq, LOAD(object->seq) | 1u, memory_order_relaxed);
    atomic_thread_fence(memory_order_release); /* odd before any change; pairs with the reader's acquire fence */
}

void mt_object_end(struct mt_object *object)
{
    atomic_store_explicit(&object->seq, (LOAD(object->seq) | 1u) + 1u, memory_order_release);
}

void mt_object_publish(struct mt_object *object)
{
    mt_object_end(object);
}

static bool end(struct mt_object *object)
{
    if (!object || !object->kind) return false;
    mt_object_begin(object);
    object->kind = 0;
    mt_object_end(object);
    return true;
}

/* Where many live a record is far away: it is asked for now and written when the lane comes round to it again. */
static uint32_t exchange_ending(struct mt_core *core, struct mt_lane *lane, uint32_t id)
{
    _Atomic uint32_t *place = &lane->ending[lane->ending_at++ % MT_LANE_ENDING];
    const char *record = id ? (const char *)slot(core, id) : NULL;
    uint32_t before = LOAD(*place);
    for (unsigned line = 0; record && line < ENDING_LINES; line++) __builtin_prefetch(record + line * 64, 1);
    atomic_store_explicit(place, id, memory_order_relaxed);
    return before;
}

static void end_in_lane(struct mt_core *core, struct mt_lane *lane, uint32_t id)
{
    struct mt_object *object = id ? slot(core, id) : NULL;
    if (end(object)) put_into_store(core, lane, object, id);
}

void mt_object_give_back_store(struct mt_core *core, struct mt_lane *lane)
{
    for (unsigned i = 0; i < MT_LANE_ENDING; i++) end_in_lane(core, lane, exchange_ending(core, lane, 0));
    spill(core, lane, lane->free_object_count);
}

void mt_object_free_in(struct mt_core *core, struct mt_lane *lane, uint32_t id)
{
    if (!lane) {
        mt_object_free(core, id);
        return;
    }
    if (!mt_core_ready(core) || !id || id > LOAD(core->segment->objects.used_slots)) return;
    count_object(core, lane, -1);
    end_in_lane(core, lane, exchange_ending(core, lane, id));
}

void mt_object_free(struct mt_core *core, uint32_t id)
{
    if (!mt_core_ready(core)) return;
    struct mt_object *object = mt_object_at(core, id);
    if (!end(object)) return;
    count_object(core, NULL, -1);
    push_free(core, id, object);
}
