/* Objects, heaps, tags, histograms, events: the tables behind device memory. */
#include "core_support.h"
#include "run_suite.h"

#include <check.h>
#include <stdio.h>
#include <pthread.h>

static struct mt_core core;

static void set_up(void)
{
    set_up_core(&core);
}

static void tear_down(void)
{
    tear_down_core(&core);
}

START_TEST(a_new_object_is_odd_until_published)
{
    uint32_t id = 0;
    struct mt_object *object = mt_object_new(&core, 2, &id);
    ck_assert_uint_ne(id, 0);
    ck_assert_uint_eq(object->seq & 1, 1);
    object->size_bytes = 4096;
    mt_object_publish(object);
    ck_assert_uint_eq(object->seq & 1, 0);
    ck_assert_ptr_eq(mt_object_at(&core, id), object);
    ck_assert_ptr_null(mt_object_at(&core, 0));
    ck_assert_ptr_null(mt_object_at(&core, id + 1));
    mt_object_free(&core, id);
    ck_assert_uint_eq(object->kind, 0);
    mt_object_free(&core, id); /* a second free changes nothing */
    ck_assert_uint_eq(core.segment->objects.live_count, 0);
}
END_TEST

START_TEST(slots_are_reused_and_cleared)
{
    uint32_t first, second;
    struct mt_object *object = mt_object_new(&core, 3, &first);
    object->attr[5] = 77;
    mt_object_publish(object);
    mt_object_free(&core, first);
    object = mt_object_new(&core, 4, &second);
    ck_assert_uint_eq(first, second);
    ck_assert_uint_eq(object->attr[5], 0);
    mt_object_publish(object);
}
END_TEST

static void *object_churn(void *argument)
{
    uintptr_t mark = (uintptr_t)argument;
    static _Thread_local uint32_t ids[64];
    for (int round = 0; round < 400; round++) {
        for (int i = 0; i < 64; i++) {
            struct mt_object *object = mt_object_new(&core, 2, &ids[i]);
            ck_assert_ptr_nonnull(object);
            object->handle = mark << 32 | ids[i];
            mt_object_publish(object);
        }
        for (int i = 0; i < 64; i++) {
            ck_assert_uint_eq(mt_object_at(&core, ids[i])->handle, mark << 32 | ids[i]);
            mt_object_free(&core, ids[i]);
        }
    }
    return NULL;
}

START_TEST(eight_threads_never_share_a_slot)
{
    pthread_t threads[8];
    for (uintptr_t i = 0; i < 8; i++) pthread_create(&threads[i], NULL, object_churn, (void *)(i + 1));
    for (int i = 0; i < 8; i++) pthread_join(threads[i], NULL);
    ck_assert_uint_eq(core.segment->objects.live_count, 0);
    ck_assert_uint_le(core.segment->objects.used_slots, 8 * 64);
}
END_TEST

START_TEST(a_full_segment_drops_and_counts)
{
    uint32_t id;
    uint64_t made = 0;
    core.mapped_bytes = core.segment->used_bytes + 3 * MT_OBJECT_CHUNK * sizeof(struct mt_object);
    while (mt_object_new(&core, 2, &id)) made++;
    ck_assert_uint_eq(made, 3 * MT_OBJECT_CHUNK);
    ck_assert_uint_eq(core.segment->dropped[MT_DROPPED_OBJECTS], 1);
    core.mapped_bytes = core.segment->virtual_bytes;
}
END_TEST

START_TEST(heaps_count_exactly)
{
    unsigned heap = mt_heap_new(&core, MT_HEAP_DEVICE_HEAP, 1, 0, 0, 1, 1 << 30, "heap");
    ck_assert_uint_ne(heap, 0);
    struct mt_heap *row = &core.segment->heaps[heap - 1];
    mt_heap_allocated(&core, heap, 1000);
    mt_heap_allocated(&core, heap, 500);
    mt_heap_freed(&core, heap, 1000);
    mt_heap_failed(&core, heap);
    ck_assert_int_eq(row->current_bytes, 500);
    ck_assert_int_eq(row->current_count, 1);
    ck_assert_int_eq(row->peak_bytes, 1500);
    ck_assert_uint_eq(row->total_bytes, 1500);
    ck_assert_uint_eq(row->allocation_count, 2);
    ck_assert_uint_eq(row->free_count, 1);
    ck_assert_uint_eq(row->failed_count, 1);
    mt_heap_release(&core, heap);
    ck_assert_uint_eq(row->kind, MT_HEAP_DEVICE_HEAP); /* it counted something: it stays */
    mt_heap_allocated(&core, 0, 1000);                 /* no heap: nothing happens */
}
END_TEST

START_TEST(a_thousand_unused_heaps_do_not_fill_the_table)
{
    for (int i = 0; i < 1000; i++)
        mt_heap_release(&core, mt_heap_new(&core, MT_HEAP_DEVICE_HEAP, 1, 0, 0, 0, 1, "h"));
    ck_assert_uint_eq(core.segment->dropped[MT_DROPPED_HEAPS], 0);
    for (int i = 0; i < MT_HEAP_MAX; i++)
        ck_assert_uint_ne(mt_heap_new(&core, MT_HEAP_DEVICE_HEAP, 1, 0, 0, 0, 1, "h"), 0);
    ck_assert_uint_eq(mt_heap_new(&core, MT_HEAP_DEVICE_HEAP, 1, 0, 0, 0, 1, "h"), 0);
    ck_assert_uint_eq(core.segment->dropped[MT_DROPPED_HEAPS], 1);
}
END_TEST

START_TEST(an_impossible_budget_is_rejected)
{
    unsigned heap = mt_heap_new(&core, MT_HEAP_DEVICE_HEAP, 1, 0, 0, 1, 1 << 30, "heap");
    struct mt_heap *row = &core.segment->heaps[heap - 1];
    mt_heap_budget(&core, heap, 1 << 29, 12345);
    mt_heap_budget(&core, heap, 1 << 29, UINT64_MAX - 4);
    mt_heap_budget(&core, heap, UINT64_C(1) << 40, 1);
    ck_assert_uint_eq(row->budget_bytes, 1 << 29);
    ck_assert_uint_eq(row->usage_bytes, 12345);
    ck_assert_uint_eq(row->budget_rejected_count, 2);
}
END_TEST

START_TEST(buckets_are_narrow_and_in_order)
{
    unsigned last = 0;
    for (uint64_t value = 1; value < UINT64_C(1) << 60; value += 1 + value / 37) {
        unsigned bucket = mt_histogram_bucket(value);
        ck_assert_uint_lt(bucket, MT_HISTOGRAM_BUCKETS);
        ck_assert_uint_ge(bucket, last);
        ck_assert_uint_le(mt_histogram_bucket_low(bucket), value);
        ck_assert_uint_gt(mt_histogram_bucket_low(bucket + 1), value);
        last = bucket;
    }
    ck_assert_uint_eq(mt_histogram_bucket(UINT64_MAX), MT_HISTOGRAM_BUCKETS - 1);
}
END_TEST

START_TEST(events_wrap_and_the_lost_ones_are_counted)
{
    for (int i = 0; i < MT_EVENT_MAX + 3; i++) mt_event(&core, "test", "number %d of %s", i, "many");
    ck_assert_uint_eq(core.segment->event_count, MT_EVENT_MAX + 3);
    ck_assert_uint_eq(core.segment->dropped[MT_DROPPED_EVENTS], 3);
    ck_assert_str_eq(core.segment->events[2].text, "number 258 of many");
    ck_assert_str_eq(core.segment->events[3].text, "number 3 of many");
    ck_assert_uint_eq(core.segment->events[2].sequence, MT_EVENT_MAX + 3);
}
END_TEST

START_TEST(a_long_name_is_cut_whole_and_counted)
{
    char field[8];
    mt_copy_name(&core, field, sizeof field, "short");
    ck_assert_str_eq(field, "short");
    ck_assert_uint_eq(core.segment->dropped[MT_DROPPED_NAMES], 0);
    mt_copy_name(&core, field, sizeof field, "123456\xc3\xa4z");
    ck_assert_str_eq(field, "123456");
    mt_copy_name(&core, field, sizeof field, "12345678");
    ck_assert_str_eq(field, "1234567");
    ck_assert_uint_eq(core.segment->dropped[MT_DROPPED_NAMES], 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("object");
    TCase *tests = tcase_create("object");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, a_new_object_is_odd_until_published);
    tcase_add_test(tests, slots_are_reused_and_cleared);
    tcase_add_test(tests, eight_threads_never_share_a_slot);
    tcase_add_test(tests, a_full_segment_drops_and_counts);
    tcase_add_test(tests, heaps_count_exactly);
    tcase_add_test(tests, a_thousand_unused_heaps_do_not_fill_the_table);
    tcase_add_test(tests, an_impossible_budget_is_rejected);
    tcase_add_test(tests, buckets_are_narrow_and_in_order);
    tcase_add_test(tests, events_wrap_and_the_lost_ones_are_counted);
    tcase_add_test(tests, a_long_name_is_cut_whole_and_counted);
    suite_add_tcase(suite, tests);
    return run_suite(suite, CK_NOFORK);
}
