/*
 * Objects: records in chunks of the segment, their slots in a lock-free free
 * list. Ids are handed out from any thread; one object is written by one
 * thread at a time, under its seq.
 */
#include "core.h"

#include <sched.h>
#include <string.h>

#define LOAD(field) atomic_load_explicit(&(field), memory_order_relaxed)

static struct mt_object *slot(struct mt_core *core, uint32_t id)
{
    /* Acquire: pairs with the release that published the chunk. */
    uint64_t chunk = atomic_load_explicit(&core->segment->objects.chunks[(id - 1) / MT_OBJECT_CHUNK],
                                          memory_order_acquire);
    if (!chunk) return NULL;
    return (struct mt_object *)((char *)core->segment + chunk) + (id - 1) % MT_OBJECT_CHUNK;
}

struct mt_object *mt_object_at(struct mt_core *core, uint32_t id)
{
    if (!id || id > LOAD(core->segment->objects.used_slots)) return NULL;
    return slot(core, id);
}

static bool pop_free(struct mt_core *core, uint32_t *id)
{
    struct mt_objects *objects = &core->segment->objects;
    /* Acquire: pairs with the release in push_free(), so next_free is seen. */
    uint64_t head = atomic_load_explicit(&objects->free_head, memory_order_acquire);
    while ((uint32_t)head) {
        struct mt_object *object = slot(core, (uint32_t)head);
        uint32_t next = __atomic_load_n(&object->next_free, __ATOMIC_RELAXED);
        uint64_t new_head = ((head >> 32) + 1) << 32 | next; /* the upper half changes with every operation (ABA) */
        if (atomic_compare_exchange_weak_explicit(&objects->free_head, &head, new_head, memory_order_acquire,
                                                  memory_order_acquire)) {
            *id = (uint32_t)head;
            return true;
        }
    }
    return false;
}

static void push_free(struct mt_core *core, struct mt_object *object, uint32_t id)
{
    struct mt_objects *objects = &core->segment->objects;
    uint64_t head = LOAD(objects->free_head), new_head;
    do {
        __atomic_store_n(&object->next_free, (uint32_t)head, __ATOMIC_RELAXED);
        new_head = ((head >> 32) + 1) << 32 | id;
    } while (!atomic_compare_exchange_weak_explicit(&objects->free_head, &head, new_head, memory_order_release,
                                                    memory_order_relaxed));
}

/* Makes sure that the chunk of a slot exists; one thread adds it, others wait for that system call. */
static bool ensure_chunk(struct mt_core *core, uint32_t id)
{
    struct mt_objects *objects = &core->segment->objects;
    _Atomic uint64_t *chunk = &objects->chunks[(id - 1) / MT_OBJECT_CHUNK];
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

static bool take_new(struct mt_core *core, uint32_t *id)
{
    struct mt_objects *objects = &core->segment->objects;
    uint32_t used = LOAD(objects->used_slots);
    do {
        if (used >= MT_OBJECT_CHUNK * MT_OBJECT_CHUNKS || !ensure_chunk(core, used + 1)) return false;
    } while (!atomic_compare_exchange_weak_explicit(&objects->used_slots, &used, used + 1, memory_order_relaxed,
                                                    memory_order_relaxed));
    *id = used + 1;
    return true;
}

struct mt_object *mt_object_new(struct mt_core *core, uint16_t kind, uint32_t *id)
{
    if (!mt_core_ready(core)) return NULL;
    if (!pop_free(core, id) && !take_new(core, id)) {
        mt_core_drop(core, MT_DROPPED_OBJECTS);
        return NULL;
    }
    struct mt_object *object = slot(core, *id);
    if (!object) return NULL; /* not reached: both ways above found the chunk */
    mt_object_begin(object);
    memset((char *)object + sizeof object->seq, 0, sizeof *object - sizeof object->seq);
    object->kind = kind;
    object->create_ns = mt_now_coarse_ns();
    object->create_frame = mt_frame_now(core);
    atomic_fetch_add_explicit(&core->segment->objects.live_count, 1, memory_order_relaxed);
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

void mt_object_free(struct mt_core *core, uint32_t id)
{
    if (!mt_core_ready(core)) return;
    struct mt_object *object = mt_object_at(core, id);
    if (!object || !object->kind) return;
    mt_object_begin(object);
    object->kind = 0;
    mt_object_end(object);
    atomic_fetch_sub_explicit(&core->segment->objects.live_count, 1, memory_order_relaxed);
    push_free(core, object, id);
}
