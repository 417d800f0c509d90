/*
 * The reader side on synthetic segments: what a snapshot and the document say
 * of known counters, and that no damage to a segment does more than an error.
 */
#include "report_support.h"

#include "report/json_build.h"
#include "report/report_text.h"
#include "report/vulkan_names.h"
#include "vulkan_records.h"
#include "run_suite.h"

#include <errno.h>

#define ADD(field, value) atomic_fetch_add_explicit(&(field), value, memory_order_relaxed)

/* ---- documents ------------------------------------------------------------------------ */

START_TEST(an_empty_segment_gives_a_whole_report)
{
    json_t *report = load();
    ck_assert_str_eq(word(report, "schema"), "memtrack-report");
    ck_assert_int_eq(number(report, "schema_version"), 1);
    ck_assert_int_eq(number(report, "process.pid"), 4000000);
    ck_assert_str_eq(word(report, "process.command_line.1"), "-f");
    ck_assert_str_eq(word(report, "process.start_time"), "2023-11-14T22:13:20.123Z");
    ck_assert_str_eq(word(report, "process.exit.state"), "killed");
    ck_assert_int_eq(number(report, "cpu.current_bytes"), 0);
    ck_assert(json_is_null(at(report, "cpu.rss_bytes")));
    ck_assert_str_eq(word(report, "config.MEMTRACK_INTERVAL"), "3");
    ck_assert_uint_eq(json_array_size(at(report, "cpu.tags")), 0);
    json_decref(report);
}
END_TEST

static void count(struct mt_shard *shard, unsigned allocated, unsigned freed, uint64_t size)
{
    ADD(shard->allocation_count, allocated);
    ADD(shard->free_count, freed);
    ADD(shard->requested_bytes, (allocated * size));
    ADD(shard->live_bytes, (int64_t)allocated * (int64_t)size - (int64_t)freed * (int64_t)size);
    ADD(shard->classes[mt_class_of(size)].allocation_count, allocated);
    ADD(shard->classes[mt_class_of(size)].free_count, freed);
}

START_TEST(threads_and_classes_add_up_to_the_totals)
{
    SET(segment->shard_limit, 4);
    count(&segment->shards[0], 1, 0, 16);
    count(&segment->shards[1], 10, 4, 100);
    count(&segment->shards[3], 5, 9, 100); /* frees what another thread made */
    snprintf(segment->shards[1].name, MT_NAME_BYTES, "main");
    SET(segment->shards[1].state, MT_SHARD_LIVE);
    SET(segment->shards[1].tid, 12);
    segment->shards[1].base_allocation_count = 3; /* from an earlier thread in the same shard */
    segment->shards[1].base_requested_bytes = 300;
    segment->shards[1].base_live_bytes = 300;
    SET(segment->globals.thread_count, 5);
    SET(segment->globals.live_shards, 1);
    SET(segment->globals.live_shards_max, 2);
    struct mt_ended_threads *ended = &segment->ended_threads[40];
    SET(ended->key, 9);
    snprintf(ended->name, MT_NAME_BYTES, "worker");
    SET(ended->thread_count, 2);
    SET(ended->allocation_count, 8);
    SET(ended->free_count, 9);
    segment->globals.inherited_bytes = 1000;
    segment->globals.inherited_count = 2;
    SET(segment->globals.peak_bytes, 5000);
    json_t *report = load();
    ck_assert_int_eq(number(report, "cpu.allocation_count"), 16);
    ck_assert_int_eq(number(report, "cpu.free_count"), 13);
    ck_assert_int_eq(number(report, "cpu.net_count"), 3);
    ck_assert_int_eq(number(report, "cpu.current_count"), 5);
    ck_assert_int_eq(number(report, "cpu.current_bytes"), 1000 + 16 + 600 - 400);
    ck_assert_int_eq(number(report, "cpu.total_bytes"), 16 + 1000 + 500);
    ck_assert_int_eq(number(report, "cpu.peak_error_bytes"), 2 * 65536);
    ck_assert_uint_eq(json_array_size(at(report, "cpu.size_classes")), 2);
    ck_assert_int_eq(number(report, "cpu.size_classes.1.current_count"), 2);
    ck_assert_int_eq(number(report, "cpu.size_classes.1.max_bytes"), 112);
    ck_assert_str_eq(word(report, "cpu.threads.0.name"), "main");
    ck_assert_int_eq(number(report, "cpu.threads.0.allocation_count"), 7);
    ck_assert_int_eq(number(report, "cpu.threads.0.current_bytes"), 300);
    ck_assert_str_eq(word(report, "cpu.threads.1.state"), "shared");
    ck_assert_str_eq(word(report, "cpu.threads.2.name"), "worker");
    ck_assert_int_eq(number(report, "cpu.tags.0.current_bytes"), number(report, "cpu.current_bytes"));
    json_decref(report);
}
END_TEST

START_TEST(the_peak_is_never_below_the_current_bytes)
{
    count(&segment->shards[0], 3, 0, 4096);
    SET(segment->globals.peak_bytes, 100);
    json_t *report = load();
    ck_assert_int_eq(number(report, "cpu.peak_bytes"), 3 * 4096);
    json_decref(report);
}
END_TEST

START_TEST(a_peak_that_was_seen_raises_the_recorded_one)
{
    struct mt_segment_file file;
    struct mt_snapshot snapshot;
    char why[100];
    SET(segment->globals.peak_bytes, 1000);
    SET(segment->globals.live_shards_max, 10);
    ck_assert_int_eq(mt_segment_file_open(&file, path, why, sizeof why), 0);
    ck_assert_int_eq(mt_snapshot_take(&snapshot, &file, why, sizeof why), 0);
    struct mt_report_context context = {.reason = "request",
                                        .seen_peak = {.bytes = 201000, .when_ns = 3000000000, .frame = 4}};
    json_t *report = mt_report_json(&snapshot, &context);
    ck_assert_int_eq(number(report, "cpu.peak_bytes"), 201000);
    ck_assert_int_eq(number(report, "cpu.peak_error_bytes"), 10 * 65536 - 200000);
    ck_assert_int_eq(number(report, "cpu.peak_frame"), 4);
    ck_assert(json_real_value(at(report, "cpu.peak_s")) == 2.0);
    json_decref(report);
    mt_snapshot_free(&snapshot);
    mt_segment_file_close(&file);
}
END_TEST

START_TEST(names_of_any_bytes_become_text)
{
    SET(segment->shard_limit, 2);
    SET(segment->shards[1].state, MT_SHARD_LIVE);
    memset(segment->shards[1].name, 0xff, MT_NAME_BYTES); /* not UTF-8, and without an end */
    memcpy(segment->shards[1].name, "\xed\xa0\x80\xf8z\xc3\xa4", 7);
    json_t *report = load();
    ck_assert_int_eq(strncmp(word(report, "cpu.threads.0.name"), "\xef\xbf\xbd", 3), 0);
    ck_assert_ptr_nonnull(strstr(word(report, "cpu.threads.0.name"), "z\xc3\xa4"));
    json_decref(report);
}
END_TEST

START_TEST(texts_are_made_plain_for_a_terminal)
{
    json_t *document = json_pack("{s:[s, {s:s}], s:i}", "a", "x\x1b[2J\n\x7f", "b",
                                 "\xc2\x9b"
                                 "31m \xc3\xa9\xc2\xa0",
                                 "n", 5);
    mt_json_make_plain(document);
    const json_t *list = json_object_get(document, "a");
    ck_assert_str_eq(json_string_value(json_array_get(list, 0)), "x?[2J??");
    ck_assert_str_eq(mt_json_get_text(json_array_get(list, 1), "b"), "?31m \xc3\xa9\xc2\xa0");
    ck_assert_int_eq(mt_json_get_i64(document, "n"), 5);
    json_decref(document);
}
END_TEST

START_TEST(the_end_of_a_process_is_told_apart)
{
    struct {
        uint32_t state;
        enum mt_liveness liveness;
        enum mt_exit_state expected;
        bool code_known, exec;
    } cases[] = {
        {MT_STATE_RUNNING, MT_ALIVE, MT_EXIT_RUNNING, false, false},
        {MT_STATE_RUNNING, MT_GONE, MT_EXIT_KILLED, false, false},
        {MT_STATE_RUNNING, MT_REUSED, MT_EXIT_LOST, false, false},
        {MT_STATE_EXITED, MT_GONE, MT_EXIT_EXITED, true, false},
        {MT_STATE_EXITED, MT_REUSED, MT_EXIT_EXITED, true, false},
        {MT_STATE_EXECED, MT_ALIVE, MT_EXIT_EXITED, false, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mt_segment_glance glance = {.state = cases[i].state, .exit_code = 3};
        struct mt_process_end end = mt_process_end_of(&glance, cases[i].liveness);
        ck_assert_int_eq(end.state, cases[i].expected);
        ck_assert_int_eq(end.code_known, cases[i].code_known);
        ck_assert_int_eq(end.exec, cases[i].exec);
        ck_assert_int_eq(end.signal, 0);
    }
}
END_TEST

START_TEST(events_come_in_their_order)
{
    for (unsigned i = 0; i < 3; i++) {
        static const uint64_t order[] = {3, 1, 2};
        SET(segment->events[i].sequence, order[i]);
        segment->events[i].time_ns = 1000000000 + order[i] * 500000000;
        snprintf(segment->events[i].kind, sizeof segment->events[i].kind, "kind%d", (int)order[i]);
    }
    SET(segment->event_count, 3);
    json_t *report = load();
    ck_assert_str_eq(word(report, "events.0.kind"), "kind1");
    ck_assert_str_eq(word(report, "events.2.kind"), "kind3");
    ck_assert(json_real_value(at(report, "events.0.t_s")) == 0.5);
    json_decref(report);
}
END_TEST

/* ---- frames and histograms --------------------------------------------------------------- */

static void add_to(struct mt_histogram *histogram, uint64_t value)
{
    ADD(histogram->count, 1);
    ADD(histogram->sum, value);
    ADD(histogram->buckets[mt_histogram_bucket(value)], 1);
    if (value > MT_GET(histogram->max)) SET(histogram->max, value);
}

START_TEST(percentiles_are_within_a_bucket_of_the_truth)
{
    struct mt_histogram *histogram = calloc(1, sizeof *histogram);
    ck_assert_uint_eq(mt_histogram_percentile(histogram, 0.5), 0);
    for (uint64_t value = 1; value <= 1000; value++) add_to(histogram, value * 10);
    static const double parts[] = {0.01, 0.5, 0.95, 0.99, 1.0};
    for (unsigned i = 0; i < 5; i++) {
        double truth = parts[i] * 10000, found = (double)mt_histogram_percentile(histogram, parts[i]);
        ck_assert_msg(found >= truth - 10 && found <= truth * 1.0625 + 10, "%g: %g for %g", parts[i], found, truth);
    }
    ck_assert_uint_eq(mt_histogram_percentile(histogram, 1.0), 10000);
    memset(histogram, 0, sizeof *histogram);
    add_to(histogram, UINT64_MAX);
    ck_assert_uint_eq(mt_histogram_percentile(histogram, 0.5), UINT64_MAX);
    free(histogram);
}
END_TEST

START_TEST(frames_are_listed_worst_first_and_newest_last)
{
    struct mt_frames *frames = &segment->frames;
    SET(frames->count, 3);
    SET(frames->source, MT_FRAME_VULKAN);
    for (uint64_t i = 0; i < 3; i++) {
        static const uint64_t allocations[] = {5, 70, 6};
        struct mt_frame frame = {.duration_ns = 16000000, .allocation_count = allocations[i]};
        SET(frame.index, i + 1);
        memcpy(&frames->ring[i], &frame, sizeof frame);
        memcpy(&frames->worst[(const int[]){2, 0, 1}[i]].frame, &frame, sizeof frame);
        add_to(&frames->allocations, allocations[i]);
    }
    json_t *report = load();
    ck_assert_str_eq(word(report, "frames.source"), "vulkan");
    ck_assert_int_eq(number(report, "frames.worst.0.frame"), 2);
    ck_assert_int_eq(number(report, "frames.worst.1.frame"), 3);
    ck_assert_int_eq(number(report, "frames.recent.frame.2"), 3);
    ck_assert_int_eq(number(report, "frames.allocations_per_frame.p50"), 6);
    ck_assert_int_eq(number(report, "frames.allocations_per_frame.max"), 70);
    json_decref(report);
}
END_TEST

/* ---- Vulkan ------------------------------------------------------------------------------------ */

static struct mt_object *chunk(void)
{
    uint64_t offset = (sizeof *segment + 4095u) & ~(uint64_t)4095;
    SET(segment->object_chunks[0], offset);
    return (struct mt_object *)(void *)((char *)segment + offset);
}

static struct mt_object *put_object(uint32_t id, uint16_t kind, uint32_t owner, uint64_t size)
{
    struct mt_object *record = chunk() + (id - 1);
    record->kind = kind;
    record->owner = owner;
    record->size_bytes = size;
    record->handle = UINT64_C(0xabc00000000) + id;
    SET(record->seq, 2);
    if (MT_GET(segment->objects.used_slots) < id) SET(segment->objects.used_slots, id);
    return record;
}

static struct mt_object *put_buffer(uint32_t id, uint64_t offset, uint64_t bytes, uint64_t usage)
{
    struct mt_object *record = put_object(id, MT_VK_BUFFER, 1, bytes);
    record->link = 2;
    record->offset = offset;
    record->attr[MT_VK_RESOURCE_REQUIRED_BYTES] = bytes;
    record->attr[MT_VK_RESOURCE_USAGE] = usage;
    record->attr[MT_VK_RESOURCE_FLAGS] = MT_VK_RESOURCE_BOUND;
    return record;
}

static void put_device(void)
{
    struct mt_object *device = put_object(1, MT_VK_DEVICE, 0, 0);
    snprintf(device->name, sizeof device->name, "card");
    device->attr[MT_VK_DEVICE_API_VERSION] = (1u << 22) | (3u << 12) | 250u;
    device->attr[MT_VK_DEVICE_FLAGS] = MT_VK_DEVICE_IN_PROCESS;
    for (unsigned i = 0; i < 2; i++) {
        struct mt_heap *heap = &segment->heaps[i];
        heap->owner = 1;
        heap->size_bytes = 1u << 30;
        heap->flags = i ? 7 : 1;
        SET(heap->current_bytes, 1000);
        SET(heap->allocation_count, 1);
        SET(heap->kind, i ? MT_HEAP_DEVICE_TYPE : MT_HEAP_DEVICE_HEAP);
    }
}

START_TEST(bound_unbound_and_aliased_bytes_of_an_allocation)
{
    put_device();
    struct mt_object *memory = put_object(2, MT_VK_MEMORY, 1, 1000);
    memory->attr[MT_VK_MEMORY_PROPERTIES] = 7;
    put_buffer(3, 0, 100, 0x80);
    put_buffer(4, 50, 100, 0x40);  /* 50 bytes twice */
    put_buffer(5, 900, 300, 0x3);  /* ends behind the memory */
    put_buffer(6, 2000, 10, 0x10); /* begins behind it */
    json_t *report = load();
    ck_assert_int_eq(number(report, "vulkan.devices.0.allocations.0.bound_bytes"), 250);
    ck_assert_int_eq(number(report, "vulkan.devices.0.allocations.0.unbound_bytes"), 750);
    ck_assert_int_eq(number(report, "vulkan.devices.0.allocations.0.aliased_bytes"), 50);
    ck_assert_int_eq(number(report, "vulkan.devices.0.allocations.0.resource_count"), 4);
    ck_assert_int_eq(number(report, "vulkan.devices.0.memory.unbound_bytes"), 750);
    ck_assert_str_eq(word(report, "vulkan.devices.0.allocations.0.property_class"), "both");
    ck_assert_str_eq(word(report, "vulkan.devices.0.resources.2.kind"), "staging");
    ck_assert_str_eq(word(report, "vulkan.devices.0.api_version"), "1.3.250");
    ck_assert_int_eq(number(report, "vulkan.devices.0.buffers.count"), 4);
    ck_assert_int_eq(number(report, "vulkan.devices.0.in_process_bytes"), 1000);
    ck_assert_int_eq(number(report, "vulkan.current_bytes"), 1000);
    ck_assert_str_eq(word(report, "vulkan.devices.0.memory_types.0.flags.2"), "HOST_COHERENT");
    json_decref(report);
}
END_TEST

START_TEST(a_record_in_the_middle_of_a_change_is_left_out_and_counted)
{
    put_device();
    struct mt_object *memory = put_object(2, MT_VK_MEMORY, 1, 1000);
    SET(memory->seq, 3);
    json_t *report = load();
    ck_assert_uint_eq(json_array_size(at(report, "vulkan.devices.0.allocations")), 0);
    ck_assert_int_eq(number(report, "dropped.unreadable_objects"), 1);
    json_decref(report);
}
END_TEST

START_TEST(heaps_whose_device_record_is_gone_are_still_reported)
{
    put_device();
    memset((void *)chunk(), 0, sizeof(struct mt_object));
    json_t *report = load();
    ck_assert_uint_eq(json_array_size(at(report, "vulkan.devices")), 1);
    ck_assert(json_is_null(at(report, "vulkan.devices.0.name")));
    ck_assert_int_eq(number(report, "vulkan.devices.0.heaps.0.current_bytes"), 1000);
    json_decref(report);
}
END_TEST

START_TEST(kinds_follow_the_written_order)
{
    ck_assert_str_eq(mt_vk_buffer_kind(0x80 | 0x40, false), "index");
    ck_assert_str_eq(mt_vk_buffer_kind(0x80 | 0x40 | 0x10, false), "general");
    ck_assert_str_eq(mt_vk_buffer_kind(0x80 | 0x3, false), "vertex");
    ck_assert_str_eq(mt_vk_buffer_kind(0x3, true), "staging");
    ck_assert_str_eq(mt_vk_buffer_kind(0x3, false), "transfer");
    ck_assert_str_eq(mt_vk_buffer_kind(0x20 | 0x20000, false), "storage");
    ck_assert_str_eq(mt_vk_buffer_kind(0x100000 | 0x80, false), "acceleration_structure");
    ck_assert_str_eq(mt_vk_buffer_kind(0, false), "other");
    ck_assert_str_eq(mt_vk_image_kind(0x10 | 0x4, 37, false), "color_target");
    ck_assert_str_eq(mt_vk_image_kind(0x10, 37, true), "swapchain");
    ck_assert_str_eq(mt_vk_image_kind(0x20 | 0x4, 126, false), "depth");
    ck_assert_str_eq(mt_vk_image_kind(0x40 | 0x10, 37, false), "transient");
    ck_assert_str_eq(mt_vk_image_kind(0x4 | 0x2, 37, false), "texture");
    ck_assert_str_eq(mt_vk_format_name(37), "R8G8B8A8_UNORM");
    ck_assert_str_eq(mt_vk_format_name(184), "ASTC_12x12_SRGB_BLOCK");
    ck_assert_str_eq(mt_vk_format_name(1000156003), "G8_B8R8_2PLANE_420_UNORM");
    ck_assert_ptr_null(mt_vk_format_name(999));
}
END_TEST

/* ---- damage -------------------------------------------------------------------------------------- */

/* Loads what there is; a document must survive its printing, an error must have a reason. */
static void survive(void)
{
    char why[300] = "";
    json_t *report = mt_report_load(path, why, sizeof why);
    if (!report) {
        ck_assert_str_ne(why, "");
        ck_assert_ptr_null(strchr(why, '\n'));
        return;
    }
    FILE *nowhere = fopen("/dev/null", "w");
    mt_report_text(nowhere, report, 5, NULL);
    fclose(nowhere);
    json_decref(report);
}

static const uint64_t odd_values[] = {0,         1,         0x7fffffff, 0x80000000, 0xffffffff, UINT64_C(1) << 40,
                                      INT64_MAX, UINT64_MAX};

/* Every word of the header region in turn, one value each time; strings lose their ends. */
START_TEST(any_damaged_word_of_the_header_is_survived)
{
    put_device();
    put_object(2, MT_VK_MEMORY, 1, 1000);
    size_t regions[][2] = {
        {0, offsetof(struct mt_segment, process) + offsetof(struct mt_process, executable)},
        {offsetof(struct mt_segment, globals), offsetof(struct mt_segment, device_heaps)},
        {offsetof(struct mt_segment, heaps), offsetof(struct mt_segment, heaps) + 2 * sizeof(struct mt_heap)},
        {offsetof(struct mt_segment, pools), offsetof(struct mt_segment, pools) + 256},
        {offsetof(struct mt_segment, objects), offsetof(struct mt_segment, objects) + sizeof segment->objects},
        {offsetof(struct mt_segment, object_chunks), offsetof(struct mt_segment, object_chunks) + 64},
        {offsetof(struct mt_segment, frames), offsetof(struct mt_segment, frames) + 64},
        {(sizeof *segment + 4095u) & ~(size_t)4095,
         ((sizeof *segment + 4095u) & ~(size_t)4095) + 2 * sizeof(struct mt_object)},
    };
    unsigned turn = 0;
    for (size_t r = 0; r < sizeof regions / sizeof *regions; r++)
        for (size_t offset = regions[r][0]; offset + 8 <= regions[r][1]; offset += 8) {
            uint64_t kept, value = odd_values[turn++ % 8];
            memcpy(&kept, (char *)segment + offset, 8);
            memcpy((char *)segment + offset, &value, 8);
            survive();
            memcpy((char *)segment + offset, &kept, 8);
        }
}
END_TEST

START_TEST(fields_that_say_how_much_are_survived_with_any_value)
{
    put_device();
    for (unsigned i = 0; i < 8; i++) {
        uint64_t value = odd_values[i];
        SET(segment->shard_limit, (uint32_t)value);
        survive();
        SET(segment->shard_limit, 1);
        SET(segment->event_count, value);
        survive();
        SET(segment->event_count, 0);
        SET(segment->objects.used_slots, (uint32_t)value);
        survive();
        SET(segment->objects.used_slots, 1);
        uint64_t kept = MT_GET(segment->object_chunks[0]);
        SET(segment->object_chunks[0], value);
        survive();
        SET(segment->object_chunks[0], kept);
        segment->process.command_line_bytes = (uint32_t)value;
        segment->process.options_bytes = (uint32_t)value;
        survive();
        SET(segment->frames.count, value);
        SET(segment->frames.source, (uint32_t)value);
        survive();
        SET(segment->frames.count, 0);
    }
    memset(segment->process.executable, 'x', sizeof segment->process.executable);
    memset(segment->process.command_line, 'x', sizeof segment->process.command_line);
    memset(segment->process.options, 'x', sizeof segment->process.options);
    memset(segment->process.next_allocator, 'x', sizeof segment->process.next_allocator);
    survive();
}
END_TEST

START_TEST(random_damage_is_survived)
{
    put_device();
    SET(segment->shard_limit, 3);
    srand(7);
    size_t head = offsetof(struct mt_segment, attribution), front = offsetof(struct mt_segment, frames.ring);
    size_t back = head - offsetof(struct mt_segment, heaps);
    unsigned char *bytes = (unsigned char *)segment, *kept = malloc(head);
    memcpy(kept, bytes, head);
    for (unsigned round = 0; round < 300; round++) {
        for (unsigned i = 0; i < 200; i++) {
            size_t offset = 24 + (size_t)rand() % (front + back - 24); /* in all but what frames leave unused */
            if (offset >= front) offset += head - back - front;
            bytes[offset] = (unsigned char)rand();
        }
        survive();
        memcpy(bytes, kept, head);
    }
    free(kept);
}
END_TEST

START_TEST(a_segment_cut_at_any_length_is_an_error)
{
    static const off_t lengths[] = {0, 1, 7, 8, 11, 15, 16, 24, 100, 4096, 20000, 1 << 20};
    char why[300];
    for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        ck_assert_int_eq(truncate(path, lengths[i]), 0);
        ck_assert_ptr_null(mt_report_load(path, why, sizeof why));
    }
}
END_TEST

START_TEST(a_segment_cut_while_it_is_read_is_an_error)
{
    struct mt_segment_file file;
    struct mt_snapshot snapshot;
    struct mt_segment_glance glance;
    char why[300];
    ck_assert_int_eq(mt_segment_file_open(&file, path, why, sizeof why), 0);
    ck_assert_int_eq(truncate(path, 4096), 0);
    ck_assert_int_eq(mt_snapshot_take(&snapshot, &file, why, sizeof why), -ENODATA);
    ck_assert_int_eq(mt_segment_file_glance(&file, &glance), -ENODATA);
    mt_segment_file_close(&file);
}
END_TEST

START_TEST(unfinished_segments_are_told_from_wrong_ones)
{
    struct mt_segment_file file;
    char why[300];
    SET(segment->process.state, MT_STATE_STARTING);
    ck_assert_int_eq(mt_segment_file_open(&file, path, why, sizeof why), -EAGAIN);
    SET(segment->process.state, 9);
    ck_assert_int_eq(mt_segment_file_open(&file, path, why, sizeof why), -EINVAL);
    SET(segment->process.state, MT_STATE_RUNNING);
    segment->layout_version++;
    ck_assert_int_eq(mt_segment_file_open(&file, path, why, sizeof why), -EPROTO);
    segment->layout_version--;
    memset(segment->magic, 0, sizeof segment->magic);
    ck_assert_int_eq(mt_segment_file_open(&file, path, why, sizeof why), -EAGAIN);
    memset(segment->magic, 'x', sizeof segment->magic);
    ck_assert_int_eq(mt_segment_file_open(&file, path, why, sizeof why), -EINVAL);
    ck_assert_int_eq(mt_segment_file_open(&file, folder, why, sizeof why), -EINVAL);
    ck_assert_int_eq(mt_segment_file_open(&file, "/nonexistent/x", why, sizeof why), -ENOENT);
}
END_TEST

static TCase *document_tests(void)
{
    TCase *tests = with_segment("documents");
    tcase_add_test(tests, an_empty_segment_gives_a_whole_report);
    tcase_add_test(tests, threads_and_classes_add_up_to_the_totals);
    tcase_add_test(tests, the_peak_is_never_below_the_current_bytes);
    tcase_add_test(tests, a_peak_that_was_seen_raises_the_recorded_one);
    tcase_add_test(tests, names_of_any_bytes_become_text);
    tcase_add_test(tests, texts_are_made_plain_for_a_terminal);
    tcase_add_test(tests, the_end_of_a_process_is_told_apart);
    tcase_add_test(tests, events_come_in_their_order);
    tcase_add_test(tests, percentiles_are_within_a_bucket_of_the_truth);
    tcase_add_test(tests, frames_are_listed_worst_first_and_newest_last);
    tcase_add_test(tests, bound_unbound_and_aliased_bytes_of_an_allocation);
    tcase_add_test(tests, a_record_in_the_middle_of_a_change_is_left_out_and_counted);
    tcase_add_test(tests, heaps_whose_device_record_is_gone_are_still_reported);
    tcase_add_test(tests, kinds_follow_the_written_order);
    return tests;
}

static TCase *damage_tests(void)
{
    TCase *tests = with_segment("damage");
    tcase_add_test(tests, any_damaged_word_of_the_header_is_survived);
    tcase_add_test(tests, fields_that_say_how_much_are_survived_with_any_value);
    tcase_add_test(tests, random_damage_is_survived);
    tcase_add_test(tests, a_segment_cut_at_any_length_is_an_error);
    tcase_add_test(tests, a_segment_cut_while_it_is_read_is_an_error);
    tcase_add_test(tests, unfinished_segments_are_told_from_wrong_ones);
    return tests;
}

static Suite *suite(void)
{
    Suite *all = suite_create("report");
    suite_add_tcase(all, document_tests());
    suite_add_tcase(all, damage_tests());
    return all;
}

int main(void)
{
    return run_suite(suite(), CK_FORK_GETENV);
}
