/*
 * The program's VkAllocationCallbacks with counting in front: by scope
 * (VkSystemAllocationScope) in rows of heaps, by command in records. A set of
 * callbacks gets its counting twin once and for good, because drivers keep
 * what they were given for as long as an object lives. Nothing is put in front
 * of blocks: sizes are kept beside them, so that a block may be freed through
 * either set. Called by drivers on any thread.
 */
#include "host.h"

#include <string.h>

enum { TWINS = 256, SCOPES = 5, KINDS = 2 /* through callbacks, internal */ };

struct twin {
    VkAllocationCallbacks program;  /* what the program passed */
    VkAllocationCallbacks counting; /* pUserData: this twin */
    struct mt_core *core;
};

static struct {
    struct mt_lock lock; /* guards making twins, rows and records */
    _Atomic uint32_t twin_count;
    struct twin twins[TWINS];
    struct mt_arena arena;
    struct mt_handle_map blocks; /* by address; type: scope, object: command */
    bool is_started;
    _Atomic uint32_t epoch; /* of the core that rows and records are of, + 1 */
    _Atomic unsigned rows[KINDS][SCOPES];
    _Atomic uint32_t records[MT_HOST_COMMANDS];
} host;

void mt_host_after_fork(void)
{
    atomic_store_explicit(&host.lock.state, 0, memory_order_relaxed);
}

/* ---- counting -------------------------------------------------------------------- */

static void make_rows(struct mt_core *core, uint32_t epoch)
{
    static const char *const scopes[SCOPES] = {"command", "object", "cache", "device", "instance"};
    char name[MT_NAME_BYTES];
    mt_lock_enter(&host.lock);
    if (atomic_load_explicit(&host.epoch, memory_order_relaxed) != epoch + 1) {
        for (unsigned i = 0; i < KINDS * SCOPES; i++) {
            mt_format(name, sizeof name, "%s%s", i < SCOPES ? "" : "internal ", scopes[i % SCOPES]);
            host.rows[i / SCOPES][i % SCOPES] = mt_heap_new(core, MT_HEAP_HOST, 0, i, 0, i >= SCOPES, 0, name);
        }
        for (unsigned i = 0; i < MT_HOST_COMMANDS; i++) host.records[i] = 0;
        atomic_store_explicit(&host.epoch, epoch + 1, memory_order_release);
    }
    mt_lock_leave(&host.lock);
}

static uint32_t make_record(struct mt_core *core, unsigned command)
{
    uint32_t id;
    mt_lock_enter(&host.lock);
    id = atomic_load_explicit(&host.records[command], memory_order_relaxed);
    struct mt_object *record = id ? NULL : mt_object_new(core, MT_VK_HOST_COMMAND, &id);
    if (record) {
        mt_copy_name(core, record->name, sizeof record->name, mt_host_command_name(command));
        mt_object_publish(record);
        atomic_store_explicit(&host.records[command], id, memory_order_release);
    }
    mt_lock_leave(&host.lock);
    return id;
}

static void add(uint64_t *field, uint64_t value)
{
    __atomic_fetch_add(field, value, __ATOMIC_RELAXED);
}

static uint64_t *numbers_of(struct mt_core *core, unsigned command)
{
    uint32_t id = atomic_load_explicit(&host.records[command], memory_order_acquire);
    if (!id) id = make_record(core, command);
    struct mt_object *record = mt_object_at(core, id);
    return record ? record->attr : NULL;
}

static bool is_counting(struct mt_core *core)
{
    if (!mt_core_ready(core)) return false;
    uint32_t epoch = atomic_load_explicit(&core->epoch, memory_order_relaxed);
    if (atomic_load_explicit(&host.epoch, memory_order_acquire) != epoch + 1) make_rows(core, epoch);
    return true;
}

static unsigned row_of(unsigned kind, unsigned scope)
{
    return host.rows[kind][scope < SCOPES ? scope : 0];
}

static void raise(uint64_t *field, uint64_t value)
{
    uint64_t seen = __atomic_load_n(field, __ATOMIC_RELAXED);
    while (seen < value &&
           !__atomic_compare_exchange_n(field, &seen, value, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
}

static void count_allocation(struct mt_core *core, unsigned kind, unsigned scope, unsigned command, uint64_t bytes)
{
    uint64_t *numbers = numbers_of(core, command);
    mt_lane_allocated(core, mt_process_lane(core), row_of(kind, scope), bytes);
    if (!numbers) return;
    add(&numbers[kind ? MT_VK_HOST_INTERNAL_BYTES : MT_VK_HOST_TOTAL_BYTES], bytes);
    add(&numbers[kind ? MT_VK_HOST_INTERNAL_COUNT : MT_VK_HOST_ALLOCATIONS], 1);
    if (kind) return; /* an internal block's end does not say where it came from */
    raise(&numbers[MT_VK_HOST_PEAK_BYTES],
          __atomic_add_fetch(&numbers[MT_VK_HOST_CURRENT_BYTES], bytes, __ATOMIC_RELAXED));
}

static void count_free(struct mt_core *core, const struct mt_node *block)
{
    uint64_t *numbers = numbers_of(core, block->object);
    mt_lane_freed(core, mt_process_lane(core), row_of(0, block->type), block->size_bytes);
    if (!numbers) return;
    add(&numbers[MT_VK_HOST_CURRENT_BYTES], 0 - block->size_bytes);
    add(&numbers[MT_VK_HOST_FREES], 1);
}

/* ---- blocks ------------------------------------------------------------------------- */

static void remember(struct mt_core *core, const void *block, uint64_t bytes, unsigned scope)
{
    if (!is_counting(core)) return;
    struct mt_node node = {.handle = (uint64_t)(uintptr_t)block, .size_bytes = bytes, .type = (uint8_t)scope};
    node.object = mt_process_self(core)->command;
    if (mt_handles_add(&host.blocks, &node)) count_allocation(core, 0, scope, node.object, bytes);
}

/* Before the block goes, because its address may come back on another thread at once. */
static struct mt_node *forget(struct mt_core *core, const void *block)
{
    if (!block || !is_counting(core)) return NULL;
    return mt_handles_take(&host.blocks, (uint64_t)(uintptr_t)block);
}

static void end(struct mt_core *core, struct mt_node *node)
{
    if (!node) return;
    count_free(core, node);
    mt_handles_give_back(&host.blocks, node);
}

static void note_failure(struct mt_core *core, unsigned scope)
{
    if (is_counting(core)) mt_heap_failed(core, row_of(0, scope));
}

/* ---- the callbacks ---------------------------------------------------------------------- */

static VKAPI_ATTR void *VKAPI_CALL allocate(void *context, size_t bytes, size_t alignment,
                                            VkSystemAllocationScope scope)
{
    struct twin *twin = context;
    void *block = twin->program.pfnAllocation(twin->program.pUserData, bytes, alignment, scope);
    if (block)
        remember(twin->core, block, bytes, (unsigned)scope);
    else if (bytes)
        note_failure(twin->core, (unsigned)scope);
    return block;
}

/* A block that could not be made larger is as it was, and in the books again. */
static VKAPI_ATTR void *VKAPI_CALL reallocate(void *context, void *original, size_t bytes, size_t alignment,
                                              VkSystemAllocationScope scope)
{
    struct twin *twin = context;
    struct mt_node *node = forget(twin->core, original);
    void *block = twin->program.pfnReallocation(twin->program.pUserData, original, bytes, alignment, scope);
    if (block || !bytes) {
        end(twin->core, node);
        if (block) remember(twin->core, block, bytes, (unsigned)scope);
        return block;
    }
    note_failure(twin->core, (unsigned)scope);
    if (node && mt_handles_add(&host.blocks, node))
        mt_handles_give_back(&host.blocks, node);
    else
        end(twin->core, node);
    return NULL;
}

static VKAPI_ATTR void VKAPI_CALL release(void *context, void *block)
{
    struct twin *twin = context;
    end(twin->core, forget(twin->core, block));
    twin->program.pfnFree(twin->program.pUserData, block);
}

static VKAPI_ATTR void VKAPI_CALL internal_allocated(void *context, size_t bytes, VkInternalAllocationType type,
                                                     VkSystemAllocationScope scope)
{
    struct twin *twin = context;
    if (is_counting(twin->core))
        count_allocation(twin->core, 1, (unsigned)scope, mt_process_self(twin->core)->command, bytes);
    if (twin->program.pfnInternalAllocation)
        twin->program.pfnInternalAllocation(twin->program.pUserData, bytes, type, scope);
}

/* Nobody says by which command the memory was taken: by commands only what was taken is known. */
static VKAPI_ATTR void VKAPI_CALL internal_freed(void *context, size_t bytes, VkInternalAllocationType type,
                                                 VkSystemAllocationScope scope)
{
    struct twin *twin = context;
    if (is_counting(twin->core))
        mt_lane_freed(twin->core, mt_process_lane(twin->core), row_of(1, (unsigned)scope), bytes);
    if (twin->program.pfnInternalFree) twin->program.pfnInternalFree(twin->program.pUserData, bytes, type, scope);
}

/* ---- twins ---------------------------------------------------------------------------------- */

static struct twin *find(const VkAllocationCallbacks *program, uint32_t from, uint32_t count)
{
    for (uint32_t i = from; i < count; i++)
        if (!memcmp(&host.twins[i].program, program, sizeof *program)) return &host.twins[i];
    return NULL;
}

static void start(struct mt_core *core)
{
    if (host.is_started) return;
    mt_arena_start(&host.arena, core);
    host.blocks.arena = &host.arena;
    host.is_started = true;
}

static struct twin *make(struct mt_core *core, const VkAllocationCallbacks *program, uint32_t known)
{
    mt_lock_enter(&host.lock);
    start(core);
    uint32_t count = atomic_load_explicit(&host.twin_count, memory_order_relaxed);
    struct twin *twin = find(program, known, count);
    if (!twin && count < TWINS) {
        twin = &host.twins[count];
        *twin = (struct twin){.program = *program, .core = core};
        twin->counting = (VkAllocationCallbacks){twin,    allocate,           reallocate,
                                                 release, internal_allocated, internal_freed};
        /* Release: pairs with the acquire in mt_host_callbacks(). */
        atomic_store_explicit(&host.twin_count, count + 1, memory_order_release);
    }
    mt_lock_leave(&host.lock);
    return twin;
}

const VkAllocationCallbacks *mt_host_callbacks(struct mt_core *core, const VkAllocationCallbacks *callbacks)
{
    if (callbacks->pfnAllocation == allocate)
        return callbacks; /* from a layer above that keeps what it was given */
    uint32_t known = atomic_load_explicit(&host.twin_count, memory_order_acquire);
    struct twin *twin = find(callbacks, 0, known);
    if (!twin) twin = make(core, callbacks, known);
    if (twin) return &twin->counting;
    mt_core_drop(core, MT_DROPPED_HEAPS);
    return callbacks;
}
