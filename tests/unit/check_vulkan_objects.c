/*
 * The report's tags of device memory, and its rows of acceleration structures
 * and video sessions.
 */
#include "vulkan_support.h"
#include "run_suite.h"

/* ---- tags ------------------------------------------------------------------------------------ */

static void use_rules(const char *rules)
{
    char file[160];
    snprintf(file, sizeof file, "%s/rules-%d.json", folder, rand());
    FILE *out = fopen(file, "w");
    ck_assert_ptr_nonnull(out);
    fputs(rules, out);
    fclose(out);
    struct mt_process *process = &segment->process;
    process->options_bytes = (uint32_t)snprintf(process->options, sizeof process->options, "MEMTRACK_TAGS=%s\n",
                                                file);
}

static void name_threads(void)
{
    static const char *const names[] = {"loader", "render"};
    SET(segment->attribution.mode, MT_STACKS_SAMPLED);
    for (unsigned i = 0; i < 2; i++) {
        snprintf(segment->attribution.thread_names[i].name, sizeof segment->attribution.thread_names[i].name, "%s",
                 names[i]);
        SET(segment->attribution.thread_names[i].state, 1);
    }
}

/* The bytes of a tag on the device; -1 where it has no row. And as cpu.tags has them, which must be the same. */
static int64_t tagged(const json_t *report, const char *tag)
{
    size_t index;
    int64_t bytes = -1;
    const json_t *row;
    json_array_foreach((json_t *)at(report, "vulkan.devices.0.tags"), index, row)
    {
        if (!strcmp(word(row, "tag"), tag)) bytes = number(row, "current_bytes");
    }
    json_array_foreach((json_t *)at(report, "cpu.tags"), index, row)
    {
        if (!strcmp(word(row, "tag"), tag)) ck_assert_int_eq(number(row, "vulkan_bytes"), bytes < 0 ? 0 : bytes);
    }
    return bytes;
}

static int64_t tagged_in_all(const json_t *report)
{
    size_t index;
    int64_t sum = 0;
    const json_t *row;
    json_array_foreach((json_t *)at(report, "vulkan.devices.0.tags"), index, row)
    {
        sum += number(row, "current_bytes");
    }
    return sum;
}

START_TEST(each_byte_has_one_tag)
{
    put_device();
    uint32_t memory = put_memory(TYPE_LOCAL, MIB, 0);
    snprintf(put_image(memory, 0, 1000, SAMPLED)->name, MT_NAME_BYTES, "tex_wall");
    snprintf(put_image(memory, 500, 1000, SAMPLED)->name, MT_NAME_BYTES, "tex_door"); /* 500 bytes on the wall */
    snprintf(put_image(memory, 4000, 100, COLOR)->name, MT_NAME_BYTES, "gbuffer");
    put_image(memory, 8000, 50, SAMPLED);
    put_memory(TYPE_LOCAL, 7777, MT_VK_MEMORY_IS_IMPORT);
    use_rules("{\"tags\": [{\"tag\": \"walls\", \"match\": [{\"vulkan_name\": \"tex_w*\"}]},"
              "{\"tag\": \"textures\", \"match\": [{\"vulkan_name\": \"tex_*\"}]},"
              "{\"tag\": \"targets\", \"budget\": 90, \"match\": [{\"vulkan_kind\": \"color_target\"}]}]}");
    json_t *report = load();
    ck_assert_int_eq(tagged(report, "walls"), 1000);
    ck_assert_int_eq(tagged(report, "textures"), 500);
    ck_assert_int_eq(tagged(report, "targets"), 100);
    ck_assert_int_eq(tagged(report, "(unknown)"), (int64_t)MIB - 1600);
    ck_assert_int_eq(tagged_in_all(report), (int64_t)MIB);
    ck_assert_str_eq(word(report, "vulkan.devices.0.resources.0.tag"), "walls");
    ck_assert_str_eq(word(report, "vulkan.devices.0.resources.3.tag"), "(unknown)");
    json_decref(report);
}
END_TEST

START_TEST(tags_by_thread)
{
    put_device();
    name_threads();
    put_object(MT_VK_MEMORY, 1000)->thread = 1;
    put_object(MT_VK_MEMORY, 300)->thread = 2;
    put_object(MT_VK_MEMORY, 20);
    use_rules("{\"tags\": [{\"tag\": \"loading\", \"match\": [{\"thread\": \"load*\"}]},"
              "{\"tag\": \"drawing\", \"match\": [{\"thread\": \"render\", \"vulkan_kind\": \"memory\"}]}]}");
    json_t *report = load();
    ck_assert_int_eq(tagged(report, "loading"), 1000);
    ck_assert_int_eq(tagged(report, "drawing"), 300);
    ck_assert_int_eq(tagged(report, "(unknown)"), 20);
    json_decref(report);
}
END_TEST

START_TEST(tags_by_kind)
{
    static const char *const kinds[] = {"buffer", "staging", "video_session", "decode_h264"};
    put_device();
    uint32_t memory = put_memory(TYPE_VISIBLE, MIB, MT_VK_MEMORY_WAS_MAPPED);
    put_buffer(memory, 1000)->attr[MT_VK_RESOURCE_USAGE] = 1;
    struct mt_object *session = put_object(MT_VK_VIDEO_SESSION, 64);
    session->attr[MT_VK_VIDEO_CODEC] = 1;
    uint32_t session_id = next_id;
    struct mt_object *binding = put_image(memory, 4096, 64, 0);
    binding->kind = MT_VK_VIDEO_MEMORY;
    binding->attr[MT_VK_VIDEO_SESSION_ID] = session_id;
    for (unsigned i = 0; i < 4; i++) {
        char rules[160];
        snprintf(rules, sizeof rules, "{\"tags\": [{\"tag\": \"it\", \"match\": [{\"vulkan_kind\": \"%s\"}]}]}",
                 kinds[i]);
        use_rules(rules);
        json_t *report = load();
        ck_assert_int_eq(tagged(report, "it"), i < 2 ? 1000 : 64);
        ck_assert_int_eq(tagged_in_all(report), (int64_t)MIB);
        json_decref(report);
    }
}
END_TEST

START_TEST(a_tags_budget_counts_device_memory)
{
    put_device();
    put_textures(1, MIB, TYPE_LOCAL, 0);
    use_rules("{\"tags\": [{\"tag\": \"all\", \"budget\": \"1M\", \"match\": [{\"vulkan_kind\": \"memory\"}]}]}");
    json_t *report = load();
    const json_t *row = json_array_get(at(report, "cpu.tags"), json_array_size(at(report, "cpu.tags")) - 1);
    ck_assert_str_eq(word(row, "tag"), "all");
    ck_assert_str_eq(word(row, "budget_state"), "warning");
    json_decref(report);
    put_textures(1, 1, TYPE_LOCAL, 0);
    report = load();
    row = json_array_get(at(report, "cpu.tags"), json_array_size(at(report, "cpu.tags")) - 1);
    ck_assert_str_eq(word(row, "budget_state"), "over");
    json_decref(report);
}
END_TEST

/* ---- unbound ranges ------------------------------------------------------------------------- */

START_TEST(ranges_that_nothing_is_bound_to)
{
    put_device();
    uint32_t memory = put_memory(TYPE_LOCAL, 10000, 0);
    put_image(memory, 1000, 500, SAMPLED);
    put_image(memory, 1200, 800, SAMPLED); /* to 2000 */
    put_image(memory, 2000, 1000, SAMPLED);
    put_image(memory, 7000, 3000, SAMPLED);
    put_memory(TYPE_LOCAL, 5000, 0);
    put_textures(1, 700, TYPE_LOCAL, 0);
    json_t *report = load();
    ck_assert_int_eq(number(report, "vulkan.devices.0.allocations.0.unbound_range_count"), 2);
    ck_assert_int_eq(number(report, "vulkan.devices.0.allocations.0.largest_unbound_bytes"), 4000);
    ck_assert_int_eq(number(report, "vulkan.devices.0.allocations.0.unbound_bytes"), 5000);
    ck_assert_int_eq(number(report, "vulkan.devices.0.allocations.1.unbound_range_count"), 1);
    ck_assert_int_eq(number(report, "vulkan.devices.0.allocations.2.unbound_range_count"), 0);
    ck_assert_int_eq(number(report, "vulkan.devices.0.memory.unbound_range_count"), 3);
    ck_assert_int_eq(number(report, "vulkan.devices.0.memory.largest_unbound_bytes"), 5000);
    json_decref(report);
}
END_TEST

/* ---- other resources ------------------------------------------------------------------------ */

START_TEST(acceleration_structures_are_listed_with_their_buffer)
{
    put_device();
    uint32_t memory = put_memory(TYPE_LOCAL, MIB, 0);
    struct mt_object *buffer = put_image(memory, 0, MIB, 0x100000), *accel, *old;
    buffer->kind = MT_VK_BUFFER;
    uint32_t buffer_id = next_id;
    accel = put_image(buffer_id, 4096, 5000, 0);
    accel->kind = MT_VK_ACCEL;
    accel->attr[MT_VK_ACCEL_TYPE] = 1;
    accel->attr[MT_VK_ACCEL_BUFFER] = buffer->handle;
    old = put_image(buffer_id, 0, 100, 0);
    old->kind = MT_VK_ACCEL;
    old->attr[MT_VK_ACCEL_BUFFER] = buffer->handle + 1; /* its buffer is gone, another one has the record */
    json_t *report = load();
    ck_assert_str_eq(word(report, "vulkan.devices.0.resources.1.type"), "acceleration_structure");
    ck_assert_str_eq(word(report, "vulkan.devices.0.resources.1.kind"), "bottom_level");
    ck_assert_int_eq(number(report, "vulkan.devices.0.resources.1.buffer"), buffer_id);
    ck_assert_int_eq(number(report, "vulkan.devices.0.resources.1.offset"), 4096);
    ck_assert_str_eq(word(report, "vulkan.devices.0.resources.2.binding"), "memory_freed");
    ck_assert_int_eq(number(report, "vulkan.devices.0.acceleration_structures.count"), 2);
    ck_assert_int_eq(number(report, "vulkan.devices.0.acceleration_structures.requested_bytes"), 5100);
    ck_assert_int_eq(number(report, "vulkan.devices.0.acceleration_structures.bound_bytes"), 5000);
    ck_assert_int_eq(number(report, "vulkan.devices.0.allocations.0.resource_count"), 1);
    json_decref(report);
}
END_TEST

START_TEST(video_sessions_are_listed_with_their_places)
{
    put_device();
    uint32_t memory = put_memory(TYPE_LOCAL, MIB, 0);
    struct mt_object *session = put_object(MT_VK_VIDEO_SESSION, 3000);
    uint32_t session_id = next_id;
    session->attr[MT_VK_VIDEO_CODEC] = 1;
    session->attr[MT_VK_VIDEO_BINDINGS] = 2;
    session->attr[MT_VK_VIDEO_EXTENT] = 1920 | UINT64_C(1080) << 32;
    for (unsigned i = 0; i < 2; i++) {
        struct mt_object *binding = put_image(memory, i * 4096u, 1000 + 1000 * i, 0);
        binding->kind = MT_VK_VIDEO_MEMORY;
        binding->attr[MT_VK_VIDEO_SESSION_ID] = session_id;
        binding->attr[MT_VK_VIDEO_BIND_INDEX] = i;
    }
    json_t *report = load();
    ck_assert_str_eq(word(report, "vulkan.devices.0.resources.0.type"), "video_session");
    ck_assert_str_eq(word(report, "vulkan.devices.0.resources.0.kind"), "decode_h264");
    ck_assert_int_eq(number(report, "vulkan.devices.0.resources.0.video.height"), 1080);
    ck_assert_int_eq(number(report, "vulkan.devices.0.resources.0.video.bindings.1.offset"), 4096);
    ck_assert_int_eq(number(report, "vulkan.devices.0.resources.0.video.bindings.1.bytes"), 2000);
    ck_assert_int_eq(number(report, "vulkan.devices.0.video_sessions.bound_bytes"), 3000);
    ck_assert_int_eq(number(report, "vulkan.devices.0.allocations.0.bound_bytes"), 3000);
    json_decref(report);
}
END_TEST

START_TEST(tensors_and_sessions_of_data_graphs_are_listed)
{
    put_device();
    uint32_t memory = put_memory(TYPE_LOCAL, MIB, 0);
    struct mt_object *tensor = put_image(memory, 8192, 5000, 0), *session = put_object(MT_VK_GRAPH_SESSION, 1000);
    uint32_t session_id = next_id;
    tensor->kind = MT_VK_TENSOR;
    session->attr[MT_VK_VIDEO_BINDINGS] = 1;
    struct mt_object *binding = put_image(memory, 0, 1000, 0);
    binding->kind = MT_VK_VIDEO_MEMORY;
    binding->attr[MT_VK_VIDEO_SESSION_ID] = session_id;
    binding->attr[MT_VK_VIDEO_BIND_INDEX] = UINT64_C(3) << 32;
    json_t *report = load();
    ck_assert_str_eq(word(report, "vulkan.devices.0.resources.0.type"), "tensor");
    ck_assert_str_eq(word(report, "vulkan.devices.0.resources.0.kind"), "tensor");
    ck_assert_int_eq(number(report, "vulkan.devices.0.resources.0.offset"), 8192);
    ck_assert_str_eq(word(report, "vulkan.devices.0.resources.1.type"), "data_graph_session");
    ck_assert_str_eq(word(report, "vulkan.devices.0.resources.1.kind"), "data_graph");
    ck_assert_int_eq(number(report, "vulkan.devices.0.resources.1.data_graph.bindings.0.index"), INT64_C(3) << 32);
    ck_assert_int_eq(number(report, "vulkan.devices.0.tensors.bound_bytes"), 5000);
    ck_assert_int_eq(number(report, "vulkan.devices.0.data_graph_sessions.bound_bytes"), 1000);
    ck_assert_int_eq(number(report, "vulkan.devices.0.video_sessions.count"), 0);
    ck_assert_int_eq(number(report, "vulkan.devices.0.allocations.0.bound_bytes"), 6000);
    json_decref(report);
}
END_TEST

static void put_range(uint32_t resource, uint64_t start, uint64_t bytes, uint32_t memory, uint64_t offset)
{
    struct mt_object *range = put_image(memory, offset, bytes, 0);
    range->kind = MT_VK_SPARSE_RANGE;
    range->attr[MT_VK_SPARSE_RESOURCE] = resource;
    range->attr[MT_VK_SPARSE_START] = start;
    if (start & MT_VK_SPARSE_BLOCKS) {
        range->attr[MT_VK_SPARSE_ASPECT] = 1;
        range->attr[MT_VK_SPARSE_BLOCK_BYTES] = 64 * KIB;
    }
}

START_TEST(sparse_resources_have_the_ranges_that_lie_in_memory)
{
    put_device();
    uint32_t memory = put_memory(TYPE_LOCAL, MIB, MT_VK_MEMORY_IS_SPARSE);
    struct mt_object *buffer = put_buffer(0, 16 * MIB);
    uint32_t buffer_id = next_id;
    buffer->attr[MT_VK_RESOURCE_FLAGS] = MT_VK_RESOURCE_SPARSE;
    snprintf(buffer->name, sizeof buffer->name, "terrain");
    struct mt_object *image = put_image(0, 0, 16 * MIB, SAMPLED);
    uint32_t image_id = next_id;
    image->attr[MT_VK_RESOURCE_FLAGS] = MT_VK_RESOURCE_SPARSE;
    put_range(buffer_id, 8 * MIB, 128 * KIB, memory, 0);
    put_range(buffer_id, 0, 64 * KIB, memory, 128 * KIB);
    put_range(buffer_id, 4 * MIB, 64 * KIB, memory, 128 * KIB); /* the same memory once more */
    put_range(image_id,
              MT_VK_SPARSE_BLOCKS | UINT64_C(7) << MT_VK_SPARSE_LAYER_SHIFT |
                  UINT64_C(2) << MT_VK_SPARSE_LEVEL_SHIFT | 5 * 64 * KIB,
              256 * KIB, memory, 512 * KIB);
    put_range(image_id, 15 * MIB | MT_VK_SPARSE_METADATA, 4 * KIB, 0, 0); /* its memory was freed */
    use_rules("{\"tags\": [{\"tag\": \"land\", \"match\": [{\"vulkan_name\": \"terrain\"}]}]}");
    json_t *report = load();
    const json_t *device = at(report, "vulkan.devices.0");
    ck_assert_int_eq(number(device, "allocations.0.resource_count"), 4);
    ck_assert_int_eq(number(device, "allocations.0.bound_bytes"), 448 * KIB);
    ck_assert_int_eq(number(device, "allocations.0.aliased_bytes"), 64 * KIB);
    ck_assert_int_eq(number(device, "allocations.0.unbound_bytes"), (1024 - 448) * KIB);
    ck_assert_int_eq(number(device, "allocations.0.largest_unbound_bytes"), 320 * KIB);
    ck_assert_int_eq(number(device, "buffers.bound_bytes"), 256 * KIB);
    ck_assert_int_eq(number(device, "images.bound_bytes"), 256 * KIB);
    ck_assert_str_eq(word(device, "resources.0.binding"), "sparse");
    ck_assert_int_eq(number(device, "resources.0.sparse_binding.bound_bytes"), 256 * KIB);
    ck_assert_uint_eq(json_array_size(at(device, "resources.0.sparse_binding.ranges")), 3);
    ck_assert_int_eq(number(device, "resources.0.sparse_binding.ranges.1.offset"), 4 * MIB);
    ck_assert_int_eq(number(device, "resources.0.sparse_binding.ranges.1.memory_offset"), 128 * KIB);
    ck_assert(json_is_true(at(device, "resources.1.sparse_binding.ranges.0.metadata")));
    ck_assert(json_is_null(at(device, "resources.1.sparse_binding.ranges.0.memory")));
    ck_assert_int_eq(number(device, "resources.1.sparse_binding.ranges.1.blocks.array_layer"), 7);
    ck_assert_int_eq(number(device, "resources.1.sparse_binding.ranges.1.blocks.mip_level"), 2);
    ck_assert_int_eq(number(device, "resources.1.sparse_binding.ranges.1.blocks.first"), 5);
    ck_assert_int_eq(number(device, "resources.1.sparse_binding.ranges.1.blocks.count"), 4);
    ck_assert_int_eq(tagged(report, "land"), 192 * KIB);
    json_decref(report);
}
END_TEST

int main(void)
{
    const TTest *const tags[] = {each_byte_has_one_tag, tags_by_thread, tags_by_kind,
                                 a_tags_budget_counts_device_memory};
    const TTest *const resources[] = {
        ranges_that_nothing_is_bound_to, acceleration_structures_are_listed_with_their_buffer,
        video_sessions_are_listed_with_their_places, tensors_and_sessions_of_data_graphs_are_listed,
        sparse_resources_have_the_ranges_that_lie_in_memory};
    Suite *suite = suite_create("vulkan objects");
    ADD(suite, tags);
    ADD(suite, resources);
    return run_suite(suite, CK_FORK_GETENV);
}
