/*
 * The layer against a model: random sequences of allocations, resources,
 * bindings, mappings and failures over the fake driver, with handle values
 * that come back, compared record by record with a plain list of what should
 * be there. Each seed is a process of its own.
 */
#include "layer_support.h"

#include <unistd.h>

enum {
    MEMORIES = 48,
    RESOURCES = 96,
    SESSIONS = 24,
    PLACES = 4,
    ACCELS = 24,
    STEPS = 20000,
    COMPARE_EVERY = 500,
    HANDLE_VALUES = 400,
    SEEDS = 8
};

struct model_memory {
    uint64_t handle, bytes;
    uint32_t type;
    bool is_import, is_mapped;
    char name;
};
struct model_resource {
    uint64_t handle, bytes, offset;
    bool is_image;
    int memory; /* index, -1 = none */
    bool is_bound, lost_memory;
};
struct model_place {
    int memory; /* index, -1 = freed since */
    uint64_t offset, bytes;
};
struct model_session {
    uint64_t handle;
    unsigned count;
    struct model_place places[PLACES];
};
struct model_accel { /* of the older kind, which is bound to memory */
    uint64_t handle;
    bool is_bound;
    struct model_place place;
};
struct model_row {
    int64_t current, count, peak;
    uint64_t total, failed;
};

static struct model_memory memories[MEMORIES];
static struct model_resource resources[RESOURCES];
static struct model_session sessions[SESSIONS];
static struct model_accel accels[ACCELS];
static struct model_row heaps[FAKE_HEAPS], types[FAKE_TYPES], imports;
static const uint32_t heap_of[FAKE_TYPES] = {0, 1, 0};
static uint64_t state;

static uint32_t below(uint32_t limit)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 20) % limit;
}

/* ---- handle values: few, so that they come back, but none live twice in its kind ------ */

static bool is_live(uint64_t handle, int kind)
{
    for (unsigned i = 0; kind == 0 && i < MEMORIES; i++)
        if (memories[i].handle == handle) return true;
    for (unsigned i = 0; (kind == 1 || kind == 2) && i < RESOURCES; i++)
        if (resources[i].handle == handle && resources[i].is_image == (kind == 2)) return true;
    for (unsigned i = 0; kind == 3 && i < SESSIONS; i++)
        if (sessions[i].handle == handle) return true;
    for (unsigned i = 0; kind == 4 && i < ACCELS; i++)
        if (accels[i].handle == handle) return true;
    return false;
}

static void choose_next_handle(int kind)
{
    uint64_t handle;
    do handle = 0x5000 + (uint64_t)below(HANDLE_VALUES) * 0x40;
    while (is_live(handle, kind));
    fake.next_handle = handle;
}

/* ---- steps: each on the layer and on the model ------------------------------------------ */

static void add(struct model_row *row, uint64_t bytes)
{
    row->current += (int64_t)bytes;
    row->count++;
    row->total += bytes;
    if (row->current > row->peak) row->peak = row->current;
}

static void take(struct model_row *row, uint64_t bytes)
{
    row->current -= (int64_t)bytes;
    row->count--;
}

static void make_memory(struct model_memory *at)
{
    VkImportMemoryFdInfoKHR import = {VK_STRUCTURE_TYPE_IMPORT_MEMORY_FD_INFO_KHR, NULL,
                                      VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT, 3};
    struct model_memory made = {.bytes = 1 + below(100000), .type = below(FAKE_TYPES), .is_import = !below(5)};
    VkMemoryAllocateInfo info = {VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, made.is_import ? &import : NULL,
                                 made.bytes, made.type};
    VkDeviceMemory memory;
    fake.fail = below(10) ? VK_SUCCESS : VK_ERROR_OUT_OF_DEVICE_MEMORY;
    choose_next_handle(0);
    ck_assert_int_eq(DEVICE_COMMAND(device, AllocateMemory)(device, &info, NULL, &memory), fake.fail);
    if (fake.fail) {
        types[made.type].failed++;
        heaps[heap_of[made.type]].failed++;
        fake.fail = VK_SUCCESS;
        return;
    }
    made.handle = (uint64_t)memory;
    *at = made;
    if (made.is_import)
        add(&imports, made.bytes);
    else {
        add(&types[made.type], made.bytes);
        add(&heaps[heap_of[made.type]], made.bytes);
    }
}

static void drop_memory(struct model_memory *at)
{
    DEVICE_COMMAND(device, FreeMemory)(device, (VkDeviceMemory)at->handle, NULL);
    for (unsigned i = 0; i < RESOURCES; i++) {
        if (!resources[i].handle || resources[i].memory != at - memories) continue;
        resources[i].memory = -1;
        resources[i].lost_memory = true;
    }
    for (unsigned i = 0; i < SESSIONS; i++)
        for (unsigned k = 0; k < sessions[i].count; k++)
            if (sessions[i].places[k].memory == at - memories) sessions[i].places[k].memory = -1;
    for (unsigned i = 0; i < ACCELS; i++)
        if (accels[i].is_bound && accels[i].place.memory == at - memories) accels[i].place.memory = -1;
    if (at->is_import)
        take(&imports, at->bytes);
    else {
        take(&types[at->type], at->bytes);
        take(&heaps[heap_of[at->type]], at->bytes);
    }
    *at = (struct model_memory){0};
}

static void map_or_unmap(struct model_memory *at)
{
    void *data;
    if (at->is_mapped)
        DEVICE_COMMAND(device, UnmapMemory)(device, (VkDeviceMemory)at->handle);
    else
        DEVICE_COMMAND(device, MapMemory)(device, (VkDeviceMemory)at->handle, 0, VK_WHOLE_SIZE, 0, &data);
    at->is_mapped = !at->is_mapped;
}

static void name(struct model_memory *at)
{
    char text[2] = {(char)('a' + below(26)), 0};
    VkDebugUtilsObjectNameInfoEXT info = {VK_STRUCTURE_TYPE_DEBUG_UTILS_OBJECT_NAME_INFO_EXT, NULL,
                                          VK_OBJECT_TYPE_DEVICE_MEMORY, at->handle, text};
    DEVICE_COMMAND(device, SetDebugUtilsObjectNameEXT)(device, &info);
    at->name = text[0];
}

static void make_resource(struct model_resource *at)
{
    struct model_resource made = {.bytes = 1 + below(5000), .is_image = below(2), .memory = -1};
    VkBufferCreateInfo buffer_info = {.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, .size = made.bytes};
    VkImageCreateInfo image_info = {.sType = VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO};
    VkBuffer buffer = VK_NULL_HANDLE;
    VkImage image = VK_NULL_HANDLE;
    fake.fail = below(10) ? VK_SUCCESS : VK_ERROR_OUT_OF_HOST_MEMORY;
    choose_next_handle(made.is_image ? 2 : 1);
    if (made.is_image)
        DEVICE_COMMAND(device, CreateImage)(device, &image_info, NULL, &image);
    else
        DEVICE_COMMAND(device, CreateBuffer)(device, &buffer_info, NULL, &buffer);
    if (!fake.fail) {
        made.handle = made.is_image ? (uint64_t)image : (uint64_t)buffer;
        *at = made;
    }
    fake.fail = VK_SUCCESS;
}

static void drop_resource(struct model_resource *at)
{
    if (at->is_image)
        DEVICE_COMMAND(device, DestroyImage)(device, (VkImage)at->handle, NULL);
    else
        DEVICE_COMMAND(device, DestroyBuffer)(device, (VkBuffer)at->handle, NULL);
    *at = (struct model_resource){0};
}

static void bind_resource(struct model_resource *at)
{
    unsigned index = below(MEMORIES);
    VkDeviceMemory memory = (VkDeviceMemory)memories[index].handle;
    if (!memory || at->is_bound) return;
    fake.fail = below(10) ? VK_SUCCESS : VK_ERROR_OUT_OF_DEVICE_MEMORY;
    at->offset = below(1000);
    VkBindBufferMemoryInfo buffer_info = {VK_STRUCTURE_TYPE_BIND_BUFFER_MEMORY_INFO, NULL, (VkBuffer)at->handle,
                                          memory, at->offset};
    VkBindImageMemoryInfo image_info = {VK_STRUCTURE_TYPE_BIND_IMAGE_MEMORY_INFO, NULL, (VkImage)at->handle, memory,
                                        at->offset};
    bool by_two = below(2);
    if (at->is_image && by_two)
        DEVICE_COMMAND(device, BindImageMemory2)(device, 1, &image_info);
    else if (at->is_image)
        DEVICE_COMMAND(device, BindImageMemory)(device, image_info.image, memory, at->offset);
    else if (by_two)
        DEVICE_COMMAND(device, BindBufferMemory2KHR)(device, 1, &buffer_info);
    else
        DEVICE_COMMAND(device, BindBufferMemory)(device, buffer_info.buffer, memory, at->offset);
    at->is_bound = !fake.fail;
    at->memory = fake.fail ? -1 : (int)index;
    fake.fail = VK_SUCCESS;
}

static void step_session(struct model_session *at)
{
    VkVideoSessionCreateInfoKHR info = {.sType = VK_STRUCTURE_TYPE_VIDEO_SESSION_CREATE_INFO_KHR};
    VkVideoSessionKHR made;
    int memory = (int)below(MEMORIES);
    if (!at->handle) {
        choose_next_handle(3);
        ck_assert_int_eq(DEVICE_COMMAND(device, CreateVideoSessionKHR)(device, &info, NULL, &made), VK_SUCCESS);
        at->handle = (uint64_t)made;
    } else if (!below(3)) {
        DEVICE_COMMAND(device, DestroyVideoSessionKHR)(device, (VkVideoSessionKHR)at->handle, NULL);
        *at = (struct model_session){0};
    } else if (at->count < PLACES && memories[memory].handle) {
        struct model_place place = {memory, below(1000), 1 + below(5000)};
        VkBindVideoSessionMemoryInfoKHR bind = {.memoryBindIndex = at->count,
                                                .memory = (VkDeviceMemory)memories[memory].handle,
                                                .memoryOffset = place.offset,
                                                .memorySize = place.bytes};
        fake.fail = below(10) ? VK_SUCCESS : VK_ERROR_OUT_OF_DEVICE_MEMORY;
        DEVICE_COMMAND(device, BindVideoSessionMemoryKHR)(device, (VkVideoSessionKHR)at->handle, 1, &bind);
        if (!fake.fail) at->places[at->count++] = place;
        fake.fail = VK_SUCCESS;
    }
}

static void step_accel(struct model_accel *at)
{
    VkAccelerationStructureCreateInfoNV info = {.compactedSize = 1};
    VkAccelerationStructureNV made;
    int memory = (int)below(MEMORIES);
    if (!at->handle) {
        choose_next_handle(4);
        ck_assert_int_eq(DEVICE_COMMAND(device, CreateAccelerationStructureNV)(device, &info, NULL, &made),
                         VK_SUCCESS);
        at->handle = (uint64_t)made;
    } else if (at->is_bound) {
        DEVICE_COMMAND(device, DestroyAccelerationStructureNV)(device, (VkAccelerationStructureNV)at->handle, NULL);
        *at = (struct model_accel){0};
    } else if (memories[memory].handle) {
        at->is_bound = true;
        at->place = (struct model_place){memory, below(1000), 0};
        VkBindAccelerationStructureMemoryInfoNV bind = {
            .accelerationStructure = (VkAccelerationStructureNV)at->handle,
            .memory = (VkDeviceMemory)memories[memory].handle,
            .memoryOffset = at->place.offset};
        DEVICE_COMMAND(device, BindAccelerationStructureMemoryNV)(device, 1, &bind);
    }
}

static void step(void)
{
    struct model_memory *memory = &memories[below(MEMORIES)];
    struct model_resource *resource = &resources[below(RESOURCES)];
    switch (below(12)) {
    case 10: step_session(&sessions[below(SESSIONS)]); break;
    case 11: step_accel(&accels[below(ACCELS)]); break;
    case 0:
    case 1:
        if (memory->handle)
            drop_memory(memory);
        else
            make_memory(memory);
        break;
    case 2:
        if (memory->handle) map_or_unmap(memory);
        break;
    case 3:
        if (memory->handle) name(memory);
        break;
    case 4:
    case 5:
    case 6:
        if (resource->handle)
            drop_resource(resource);
        else
            make_resource(resource);
        break;
    default:
        if (resource->handle) bind_resource(resource);
    }
}

/* ---- comparison ---------------------------------------------------------------------------- */

static void compare_row(uint32_t kind, uint32_t index, const struct model_row *row)
{
    const struct mt_heap *heap = view_heap(segment, kind, index, 0);
    ck_assert_int_eq(heap->current_bytes, row->current);
    ck_assert_int_eq(heap->current_count, row->count);
    ck_assert_int_eq(heap->peak_bytes, row->peak);
    ck_assert_uint_eq(heap->total_bytes, row->total);
    ck_assert_uint_eq(heap->failed_count, row->failed);
}

static unsigned compare_memory(const struct model_memory *memory)
{
    if (!memory->handle) return 0;
    const struct mt_object *record = view_handle(segment, MT_VK_MEMORY, memory->handle);
    uint64_t bound = 0;
    for (unsigned i = 0; i < RESOURCES; i++)
        bound += resources[i].handle && resources[i].memory == memory - memories;
    for (unsigned i = 0; i < SESSIONS; i++)
        for (unsigned k = 0; k < sessions[i].count; k++) bound += sessions[i].places[k].memory == memory - memories;
    for (unsigned i = 0; i < ACCELS; i++)
        bound += accels[i].is_bound && accels[i].place.memory == memory - memories;
    ck_assert_ptr_nonnull(record);
    ck_assert_uint_eq(record->size_bytes, memory->bytes);
    ck_assert_uint_eq(record->attr[MT_VK_MEMORY_TYPE], memory->type);
    ck_assert_uint_eq(record->attr[MT_VK_MEMORY_BOUND], bound);
    ck_assert_uint_eq(record->attr[MT_VK_MEMORY_MAP_BYTES], memory->is_mapped ? memory->bytes : 0);
    ck_assert_uint_eq(!!(record->attr[MT_VK_MEMORY_FLAGS] & MT_VK_MEMORY_IS_IMPORT), memory->is_import);
    ck_assert_int_eq(record->name[0], memory->name);
    return 1;
}

static unsigned compare_resource(const struct model_resource *resource)
{
    if (!resource->handle) return 0;
    const struct mt_object *record = view_handle(segment, resource->is_image ? MT_VK_IMAGE : MT_VK_BUFFER,
                                                 resource->handle);
    uint64_t flags = (resource->is_bound ? MT_VK_RESOURCE_BOUND : 0) |
                     (resource->lost_memory ? MT_VK_RESOURCE_MEMORY_FREED : 0);
    ck_assert_ptr_nonnull(record);
    ck_assert_uint_eq(record->attr[MT_VK_RESOURCE_FLAGS], flags);
    const struct mt_object *memory = view_at(segment, record->link);
    if (resource->memory < 0)
        ck_assert_ptr_null(memory);
    else {
        ck_assert_ptr_nonnull(memory);
        ck_assert_uint_eq(memory->handle, memories[resource->memory].handle);
        ck_assert_uint_eq(record->offset, resource->offset);
    }
    if (resource->is_bound) ck_assert_uint_eq(record->attr[MT_VK_RESOURCE_REQUIRED_BYTES], fake.required_bytes);
    if (!resource->is_image) ck_assert_uint_eq(record->size_bytes, resource->bytes);
    return 1;
}

static void compare_place(const struct mt_object *record, const struct model_place *place)
{
    const struct mt_object *memory = view_at(segment, record->link);
    bool is_freed = record->attr[MT_VK_RESOURCE_FLAGS] & MT_VK_RESOURCE_MEMORY_FREED;
    ck_assert_uint_eq(record->offset, place->offset);
    ck_assert_int_eq(is_freed, place->memory < 0);
    if (place->memory < 0)
        ck_assert_ptr_null(memory);
    else
        ck_assert_uint_eq(memory->handle, memories[place->memory].handle);
}

/* Returns how many places it has. */
static unsigned compare_session(const struct model_session *session)
{
    uint64_t bytes = 0;
    if (!session->handle) return 0;
    const struct mt_object *record = view_handle(segment, MT_VK_VIDEO_SESSION, session->handle), *binding;
    ck_assert_ptr_nonnull(record);
    for (unsigned n = 0; (binding = view_nth(segment, MT_VK_VIDEO_MEMORY, n)); n++) {
        if (binding->handle != session->handle) continue;
        const struct model_place *place = &session->places[binding->attr[MT_VK_VIDEO_BIND_INDEX]];
        ck_assert_uint_eq(binding->size_bytes, place->bytes);
        compare_place(binding, place);
    }
    for (unsigned k = 0; k < session->count; k++) bytes += session->places[k].bytes;
    ck_assert_uint_eq(record->size_bytes, bytes);
    ck_assert_uint_eq(record->attr[MT_VK_VIDEO_BINDINGS], session->count);
    return session->count;
}

static unsigned compare_accel(const struct model_accel *accel)
{
    if (!accel->handle) return 0;
    const struct mt_object *record = view_handle(segment, MT_VK_ACCEL, accel->handle);
    ck_assert_ptr_nonnull(record);
    ck_assert_uint_eq(record->size_bytes, fake.required_bytes);
    if (accel->is_bound) compare_place(record, &accel->place);
    return 1;
}

static void compare_others(void)
{
    unsigned places = 0, live_sessions = 0, live_accels = 0;
    for (unsigned i = 0; i < SESSIONS; i++) places += compare_session(&sessions[i]);
    for (unsigned i = 0; i < SESSIONS; i++) live_sessions += sessions[i].handle != 0;
    for (unsigned i = 0; i < ACCELS; i++) live_accels += compare_accel(&accels[i]);
    ck_assert_uint_eq(view_count(segment, MT_VK_VIDEO_MEMORY), places);
    ck_assert_uint_eq(view_count(segment, MT_VK_VIDEO_SESSION), live_sessions);
    ck_assert_uint_eq(view_count(segment, MT_VK_ACCEL), live_accels);
}

static void compare(void)
{
    unsigned live_memories = 0, live_resources = 0;
    compare_others();
    for (unsigned i = 0; i < FAKE_HEAPS; i++) compare_row(MT_HEAP_DEVICE_HEAP, i, &heaps[i]);
    for (unsigned i = 0; i < FAKE_TYPES; i++) compare_row(MT_HEAP_DEVICE_TYPE, i, &types[i]);
    compare_row(MT_HEAP_DEVICE_IMPORT, 0, &imports);
    for (unsigned i = 0; i < MEMORIES; i++) live_memories += compare_memory(&memories[i]);
    for (unsigned i = 0; i < RESOURCES; i++) live_resources += compare_resource(&resources[i]);
    ck_assert_uint_eq(view_count(segment, MT_VK_MEMORY), live_memories);
    ck_assert_uint_eq(view_count(segment, MT_VK_BUFFER) + view_count(segment, MT_VK_IMAGE), live_resources);
    ck_assert_uint_eq(view_nth(segment, MT_VK_DEVICE, 0)->attr[MT_VK_DEVICE_UNKNOWN_FREES], 0);
}

START_TEST(random_steps)
{
    state = UINT64_C(0x9e3779b97f4a7c15) * (uint64_t)(_i + 1);
    start_device();
    fake.handle_step = 0;
    for (unsigned i = 1; i <= STEPS; i++) {
        step();
        if (i % COMPARE_EVERY == 0) compare();
    }
    int64_t live = heaps[0].count + heaps[1].count + imports.count;
    DEVICE_COMMAND(device, DestroyDevice)(device, NULL);
    ck_assert_uint_eq(view_nth(segment, MT_VK_DEVICE, 0)->attr[MT_VK_DEVICE_LEAKED], (uint64_t)live);
    ck_assert_uint_eq(view_nth(segment, MT_VK_DEVICE, 0)->attr[MT_VK_DEVICE_LEAKED_BYTES],
                      (uint64_t)(heaps[0].current + heaps[1].current));
}
END_TEST

int main(void)
{
    if (!prepare_tests()) return 1;
    TCase *tests = tcase_create("model");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, random_steps, 0, SEEDS);
    Suite *suite = suite_create("layer model");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
