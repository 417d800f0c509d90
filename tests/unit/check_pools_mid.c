/*
 * Middle blocks that wait for their next use, and blocks that grow little by
 * little: what they promise, and that they do not pin memory.
 */
#include "stats.h"
#include "heaps.h"
#include "large.h"
#include "mid.h"
#include "mid_cache.h"
#include "origin.h"
#include "pools_support.h"
#include "size_counts.h"
#include "spans.h"
#include "run_suite.h"

#include <check.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>

START_TEST(a_middle_block_is_handed_out_again_at_once)
{
    void *first = mt_pools_allocate(100000);
    mt_pools_free(first);
    ck_assert_uint_eq(mt_pools_usable(first), 0); /* it is nobody's now */
    ck_assert(mt_pools_owns(first));
    void *other = mt_pools_allocate(200000), *second = mt_pools_allocate(99000);
    ck_assert_ptr_eq(second, first);
    ck_assert_ptr_ne(other, first);
    ck_assert_uint_ge(mt_pools_usable(second), 99000);
    mt_pools_free(other);
    mt_pools_free(second);
    ck_assert_int_eq(sum().live_bytes, 0);
    ck_assert_uint_eq(sum().allocation_count, 3);
    ck_assert_uint_eq(sum().free_count, 3);
}
END_TEST

START_TEST(a_middle_block_that_is_freed_twice_waits_once)
{
    void *block = mt_pools_allocate(100000);
    mt_pools_free(block);
    mt_pools_free(block);
    void *one = mt_pools_allocate(100000), *two = mt_pools_allocate(100000);
    ck_assert_ptr_ne(one, two);
    ck_assert_uint_eq(sum().free_count, 1);
}
END_TEST

START_TEST(a_middle_block_used_again_reads_as_zero_for_calloc)
{
    for (unsigned round = 0; round < 10; round++) {
        size_t bytes = 40000 + round * 100000;
        unsigned char *block = mt_pools_allocate_zeroed(bytes);
        ck_assert(!block[0] && !memcmp(block, block + 1, bytes - 1));
        memset(block, 0xee, mt_pools_usable(block));
        mt_pools_free(block);
    }
}
END_TEST

START_TEST(waiting_blocks_are_few_and_go_back_when_trimmed)
{
    void *blocks[100];
    for (unsigned i = 0; i < 100; i++) memset(blocks[i] = mt_pools_allocate(120000), 1, 120000);
    for (unsigned i = 0; i < 100; i++) mt_pools_free(blocks[i]);
    ck_assert_uint_le(mt_pools_tlsf_used(&core.segment->pools), MT_MID_NEAR_BYTES);
    mt_pools_trim();
    ck_assert_uint_eq(mt_pools_tlsf_used(&core.segment->pools), 0);
    ck_assert_uint_eq(mt_pools_tlsf_dirty(&core.segment->pools), 0);
}
END_TEST

enum { LARGE = 5 << 20, HUGE = 50 << 20 };

START_TEST(a_large_block_waits_once_its_size_was_asked_for_again)
{
    void *first = mt_pools_allocate(LARGE);
    mt_pools_free(first);
    ck_assert_uint_eq(mt_pools_tlsf_used(&core.segment->pools), 0); /* nobody knows yet that it is wanted again */
    void *second = mt_pools_allocate(LARGE);
    mt_pools_free(second);
    ck_assert_uint_eq(mt_pools_tlsf_used(&core.segment->pools), LARGE + MT_MID_STEP);
    ck_assert_uint_eq(mt_pools_usable(second), 0);
    ck_assert(mt_pools_free(second)); /* twice does no harm */
    ck_assert_ptr_eq(mt_pools_allocate(LARGE - 4000), second);
    ck_assert_uint_eq(mt_pools_usable(second), LARGE);
    mt_pools_free(second);
    /* Other sizes push it out. */
    for (size_t bytes = LARGE + 2000000; bytes < LARGE + 10000000; bytes += 2000000)
        mt_pools_free(mt_pools_allocate(bytes));
    ck_assert_uint_le(mt_mid_cache_bytes(), MT_MID_SLOT_BYTES);
    mt_pools_trim();
    ck_assert_uint_eq(mt_pools_tlsf_used(&core.segment->pools), 0);
    ck_assert_int_eq(sum().live_bytes, 0);
}
END_TEST

START_TEST(a_huge_block_that_is_asked_for_again_and_again_keeps_its_memory)
{
    unsigned char in_memory[HUGE / 4096], *block = NULL, *kept;
    for (unsigned round = 0; round < 3; round++) {
        block = mt_pools_allocate(HUGE);
        for (unsigned i = 0; i < HUGE; i += 50000) block[i] = 1;
        mt_pools_free(block);
    }
    ck_assert_int_eq(mincore(block, HUGE, in_memory), 0);
    ck_assert_uint_eq(in_memory[0] & 1, 1);
    ck_assert_uint_eq(mt_pools_usable(block), 0);
    ck_assert(mt_pools_free(block)); /* twice does no harm */
    kept = mt_pools_allocate_zeroed(HUGE - 1000000);
    ck_assert_ptr_eq(kept, block);
    for (unsigned i = 0; i < HUGE - 1000000; i += 50000) ck_assert_uint_eq(kept[i], 0);
    mt_pools_free(kept);
    mt_pools_trim();
    ck_assert_int_eq(mincore(block, HUGE, in_memory), -1);
    ck_assert_uint_eq(core.segment->pools.huge_bytes, 0);
    ck_assert_uint_eq(core.segment->pools.huge_count, 0);
    ck_assert_int_eq(sum().live_bytes, 0);
}
END_TEST

START_TEST(what_waits_goes_before_the_use_of_memory_rises)
{
    void *blocks[8];
    for (unsigned round = 0; round < 3; round++) mt_pools_free(mt_pools_allocate(HUGE));
    ck_assert_uint_ge(mt_mid_cache_bytes(), HUGE);
    for (unsigned i = 0; i < 8; i++) blocks[i] = mt_pools_allocate(LARGE * 2);
    ck_assert_uint_eq(mt_mid_cache_bytes(), 0);
    ck_assert_uint_eq(core.segment->pools.huge_bytes, 0);
    for (unsigned i = 0; i < 8; i++) mt_pools_free(blocks[i]);
}
END_TEST

START_TEST(what_waits_unused_goes_back_after_the_delay)
{
    size_t bytes = _i ? HUGE : LARGE;
    mt_mid_set_purge_delay(1000000);
    mt_pools_free(mt_pools_allocate(300000));
    mt_pools_free(mt_pools_allocate(100000));
    for (unsigned round = 0; round < 3; round++) mt_pools_free(mt_pools_allocate(bytes));
    ck_assert_uint_ge(mt_mid_cache_bytes(), bytes);
    for (unsigned look = 0; look < 4; look++) {
        usleep(10000);
        for (unsigned i = 0; i < 16; i++) mt_pools_free(mt_pools_allocate(100000));
    }
    ck_assert_uint_lt(mt_mid_cache_bytes(), 200000); /* the one that is in use all the time */
    ck_assert_uint_lt(mt_pools_tlsf_used(&core.segment->pools), 200000);
}
END_TEST

static unsigned large_sampled_count, sampled_count, sample_freed_count;

static void note_sampled(struct mt_shard *shard, const void *block, uint64_t requested, uint64_t usable)
{
    (void)shard, (void)block, (void)requested, (void)usable;
    sampled_count++;
}

static void note_sample_freed(struct mt_shard *shard, const void *block, uint64_t usable)
{
    (void)shard, (void)block, (void)usable;
    sample_freed_count++;
}

static void sample_every_fourth(struct mt_shard *shard, const void *block, uint64_t requested, uint64_t usable,
                                struct mt_large_sampler *sampler)
{
    (void)shard;
    ck_assert_uint_eq(sampler->from_bytes, 0);
    ck_assert_uint_eq(mt_pools_usable(block), usable);
    large_sampled_count++;
    sampler->left_bytes = 3 * (int64_t)requested;
}

/* The mark of all other blocks lies so far away that only what waits does not come to it. */
static void check_own_mark(size_t bytes)
{
    struct mt_theap *heap = mt_theap_self;
    for (unsigned i = 0; i < 3; i++) mt_pools_free(mt_pools_allocate(bytes)); /* a fresh one: by the shard's mark */
    mt_mid_look(heap);                                                        /* a second has begun */
    mt_large_sampler_begin(&heap->near.sampler, 0);
    heap->near.sampler.second = mt_now_coarse_ns() >> 30;
    large_sampled_count = sampled_count = sample_freed_count = 0;
    atomic_store(&heap->shard->sample_countdown_bytes,
                 (int64_t)atomic_load(&heap->shard->requested_bytes) + 600000);
    for (unsigned i = 0; i < 64; i++) mt_pools_free(mt_pools_allocate(bytes));
    ck_assert_uint_eq(large_sampled_count, 16);
    ck_assert_uint_eq(sampled_count, 0);
    ck_assert_uint_eq(sample_freed_count, 16);
    for (unsigned i = 0; i < 21; i++) mt_pools_free(mt_pools_allocate(30000));
    ck_assert_uint_eq(large_sampled_count, 16);
    ck_assert_uint_ge(sampled_count, 1);
}

START_TEST(larger_blocks_that_waited_have_a_mark_of_their_own)
{
    static const struct mt_pools_client client = {
        .sampled = note_sampled, .sample_freed = note_sample_freed, .large_sampled = sample_every_fourth};
    core.options.number[MT_OPT_STACKS] = MT_STACKS_SAMPLED;
    detach();
    mt_pools_start(&core, &client);
    attach();
    static const size_t sizes[] = {40000, 250000, 600000, LARGE, HUGE};
    for (unsigned i = 0; i < 5; i++) check_own_mark(sizes[i]);
}
END_TEST

START_TEST(without_a_sampler_larger_blocks_get_no_call_stack)
{
    mt_theap_self->near.sampler.left_bytes = 3 * LARGE;
    for (unsigned i = 0; i < 16; i++) mt_pools_free(mt_pools_allocate(LARGE));
    ck_assert_int_gt(mt_theap_self->near.sampler.left_bytes, INT64_MAX / 2);
}
END_TEST

START_TEST(a_free_of_a_block_that_waits_is_ignored_when_its_heap_counts_elsewhere)
{
    static const size_t sizes[] = {40000, 100000, 500000, LARGE};
    for (unsigned i = 0; i < 4; i++) {
        void *block = mt_pools_allocate(sizes[i]);
        for (unsigned k = 0; k < 4; k++) {
            mt_pools_free(block);
            ck_assert_ptr_eq(mt_pools_allocate(sizes[i]), block);
        }
        mt_pools_free(block);
        mt_large_forget(mt_theap_self);
        uint64_t frees = sum().free_count;
        ck_assert(mt_pools_free(block)); /* the pools', and freed already */
        ck_assert_uint_eq(sum().free_count, frees);
        ck_assert_int_eq(sum().live_bytes, 0);
    }
}
END_TEST

START_TEST(a_thread_alone_hands_over_less_and_the_peak_stays_exact)
{
    void *kept = mt_pools_allocate(LARGE);
    const struct mt_globals *globals = &core.segment->globals;
    for (unsigned i = 0; i < 8; i++) mt_pools_free(mt_pools_allocate(LARGE));
    int64_t highest = sum().peak_bytes, live = sum().live_bytes;
    for (unsigned i = 0; i < 8; i++) {
        mt_pools_free(kept);
        ck_assert_int_eq(sum().live_bytes, 0);
        kept = mt_pools_allocate(LARGE);
        ck_assert_int_eq(sum().live_bytes, live);
        ck_assert_int_eq(sum().peak_bytes, highest);
    }
    mt_pools_free(kept);
    mt_pools_before_thread(); /* another thread could see what is not handed over */
    ck_assert_int_eq(globals->current_bytes, 0);
    void *other = mt_pools_allocate(LARGE * 2);
    ck_assert_int_ge(globals->current_bytes, LARGE * 2);
    mt_pools_free(other);
    ck_assert_int_eq(sum().live_bytes, 0);
    ck_assert_int_eq(sum().peak_bytes, highest);
}
END_TEST

static void *leaves_a_block_waiting(void *argument)
{
    attach();
    mt_pools_free(mt_pools_allocate(900000));
    ck_assert_uint_gt(mt_pools_tlsf_used(&core.segment->pools), 800000);
    detach();
    return argument;
}

static unsigned count_cells(struct mt_large_sum *sum)
{
    const struct mt_origin_counts *row = NULL;
    unsigned count = 0;
    *sum = (struct mt_large_sum){0};
    while ((row = mt_origin_counts_next(core.segment, core.mapped_bytes, mt_theap_self->shard, row))) {
        const struct mt_size_counts *cell = mt_size_counts_at(core.segment, core.mapped_bytes, row->sizes);
        for (; cell; cell = mt_size_counts_at(core.segment, core.mapped_bytes, cell->next), count++)
            mt_size_counts_add(sum, cell);
    }
    return count;
}

START_TEST(a_size_that_comes_back_is_counted_in_a_cell_of_its_own)
{
    struct mt_large_sum cells;
    for (unsigned i = 0; i < 20; i++) mt_pools_free(mt_pools_allocate(60000 + 4096 * i));
    ck_assert_uint_eq(count_cells(&cells), 0); /* each of them came once */
    for (unsigned i = 0; i < 100; i++) mt_pools_free(mt_pools_allocate(200000));
    ck_assert_uint_eq(count_cells(&cells), 1);
    ck_assert_uint_ge(cells.allocation_count, 95);
    ck_assert_uint_ge(cells.free_count, 95);
    ck_assert_uint_eq(cells.requested_bytes, cells.allocation_count * 200000);
    ck_assert_uint_eq(sum().allocation_count, 120);
    ck_assert_uint_eq(sum().free_count, 120);
}
END_TEST

START_TEST(more_sizes_than_there_are_cells_are_counted_too)
{
    enum { SIZES = 3 * MT_SIZE_COUNTS_MAX, TIMES = 10 };
    static struct mt_origin_sum sums[MT_ORIGIN_MAX];
    struct mt_origin_sum all = {0};
    struct mt_large_sum cells;
    uint64_t requested = 0;
    int64_t live = 0;
    for (unsigned i = 0; i < SIZES; i++) {
        for (unsigned k = 0; k < TIMES; k++, requested += 50000 + 1000 * i) {
            void *block = mt_pools_allocate(50000 + 1000 * i);
            if (k == TIMES - 1)
                live += (int64_t)mt_pools_usable(block);
            else
                mt_pools_free(block);
        }
    }
    ck_assert_uint_eq(count_cells(&cells), MT_SIZE_COUNTS_MAX);
    mt_origins_sum(core.segment, core.mapped_bytes, sums);
    for (unsigned i = 0; i < MT_ORIGIN_MAX; i++) {
        all.allocation_count += sums[i].allocation_count;
        all.free_count += sums[i].free_count;
        all.requested_bytes += sums[i].requested_bytes;
        all.live_bytes += sums[i].live_bytes;
    }
    ck_assert_uint_eq(all.allocation_count, SIZES * TIMES);
    ck_assert_uint_eq(all.free_count, SIZES * (TIMES - 1));
    ck_assert_uint_eq(all.requested_bytes, requested);
    ck_assert_int_eq(all.live_bytes, live);
    ck_assert_int_eq(sum().live_bytes, live);
}
END_TEST

START_TEST(a_thread_that_ends_leaves_nothing_waiting)
{
    pthread_t thread;
    pthread_create(&thread, NULL, leaves_a_block_waiting, NULL);
    pthread_join(thread, NULL);
    ck_assert_uint_eq(mt_pools_tlsf_used(&core.segment->pools), 0);
}
END_TEST

/* Blocks of all sizes above 32 KiB in random order against a table of what they hold. */
struct model {
    unsigned char *block, mark;
    size_t bytes;
};

static size_t random_size(uint64_t *random)
{
    *random = *random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    unsigned shift = 15 + (unsigned)(*random >> 40) % 12;
    size_t bytes = ((size_t)1 << shift) + (*random >> 33) % ((size_t)1 << shift);
    return *random >> 62 ? bytes : (size_t)1 << (shift + 1); /* now and then sizes that come again */
}

static void check_ends(const struct model *model, size_t bytes)
{
    ck_assert_uint_eq(model->block[0], model->mark);
    ck_assert_uint_eq(model->block[bytes / 2], model->mark);
    ck_assert_uint_eq(model->block[bytes - 1], model->mark);
}

static void set_ends(struct model *model, unsigned char mark)
{
    ck_assert_ptr_nonnull(model->block);
    ck_assert_uint_ge(mt_pools_usable(model->block), model->bytes);
    model->mark = mark;
    model->block[0] = model->block[model->bytes / 2] = model->block[model->bytes - 1] = mark;
}

static void random_step(struct model *model, uint64_t *random, unsigned char mark)
{
    size_t bytes = random_size(random), old = model->bytes;
    bool is_zeroed = (*random >> 50) % 4 == 0;
    if (model->block) check_ends(model, old);
    if (model->block && (*random >> 52) % 4 == 0) {
        model->block = mt_pools_reallocate(model->block, bytes);
        ck_assert_uint_eq(model->block[0], model->mark);
        if (bytes > old) check_ends(model, old);
    } else {
        mt_pools_free(model->block);
        model->block = is_zeroed ? mt_pools_allocate_zeroed(bytes) : mt_pools_allocate(bytes);
        for (size_t i = 0; is_zeroed && i < bytes; i += 4001) ck_assert_uint_eq(model->block[i], 0);
    }
    model->bytes = bytes;
    set_ends(model, mark);
}

static int64_t usable_bytes(const struct model *models, unsigned count)
{
    int64_t bytes = 0;
    for (unsigned i = 0; i < count; i++)
        if (models[i].block) bytes += (int64_t)mt_pools_usable(models[i].block);
    return bytes;
}

START_TEST(random_large_blocks_agree_with_a_model)
{
    static struct model models[24];
    uint64_t random = 5;
    for (unsigned step = 0; step < 1500; step++) {
        random_step(&models[(random >> 20) % 24], &random, (unsigned char)(step | 1));
        if (step % 50 == 0) ck_assert_int_eq(sum().live_bytes, usable_bytes(models, 24));
        if (step % 400 == 399) mt_pools_trim();
    }
    for (unsigned i = 0; i < 24; i++) mt_pools_free(models[i].block);
    mt_pools_trim();
    ck_assert_int_eq(sum().live_bytes, 0);
    ck_assert_uint_eq(mt_pools_tlsf_used(&core.segment->pools), 0);
    ck_assert_uint_eq(mt_pools_tlsf_dirty(&core.segment->pools), 0);
    ck_assert_uint_eq(core.segment->pools.huge_bytes, 0);
}
END_TEST

static void *exchanges(void *argument)
{
    static _Atomic(unsigned char *) shared[16];
    attach();
    for (unsigned i = 0; i < 2000; i++) {
        size_t bytes = 40000 + i % 7 * 30000;
        unsigned char *block = mt_pools_allocate(bytes);
        block[0] = block[bytes - 1] = (unsigned char)(i % 7 + 1);
        unsigned char *old = atomic_exchange(&shared[i % 16], block);
        if (!old) continue;
        size_t kind = old[0] - 1u;
        ck_assert_uint_lt(kind, 7);
        ck_assert_uint_eq(old[40000 + kind * 30000 - 1], old[0]);
        old[0] = 0;
        mt_pools_free(old);
    }
    detach();
    return argument;
}

START_TEST(threads_never_share_a_middle_block)
{
    pthread_t threads[3];
    for (unsigned i = 0; i < 3; i++) pthread_create(&threads[i], NULL, exchanges, NULL);
    for (unsigned i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    ck_assert_uint_eq(sum().allocation_count - sum().free_count, 16);
}
END_TEST

START_TEST(a_block_that_creeps_moves_seldom_and_keeps_its_content)
{
    unsigned moves = 0, steps = 0;
    size_t bytes = 100, requested = bytes;
    unsigned char *text = mt_pools_allocate(bytes);
    memset(text, 7, bytes);
    for (; bytes < 2000000; steps++) {
        size_t next = bytes + bytes / 10 + 8;
        unsigned char *grown = mt_pools_reallocate(text, next);
        ck_assert_ptr_nonnull(grown);
        ck_assert_uint_ge(mt_pools_usable(grown), next);
        moves += grown != text;
        text = grown;
        for (size_t i = 0; i < bytes; i += bytes / 10 + 1) ck_assert_uint_eq(text[i], 7);
        ck_assert_uint_eq(text[bytes - 1], 7);
        memset(text, 7, next);
        bytes = next;
        requested += bytes;
        ck_assert_int_eq(sum().live_bytes, (int64_t)mt_pools_usable(text));
        ck_assert_uint_eq(sum().requested_bytes, requested);
        ck_assert_uint_eq(sum().allocation_count, sum().free_count + 1);
    }
    ck_assert_uint_gt(steps, 90);
    ck_assert_uint_le(moves, steps / 3);
    ck_assert_uint_le(mt_pools_usable(text), bytes + bytes / 4 + 4096);
    ck_assert_uint_eq(sum().realloc_count, steps);
    mt_pools_free(text);
    ck_assert_int_eq(sum().live_bytes, 0);
}
END_TEST

static unsigned char *creep_to(size_t bytes, size_t end, int filling)
{
    unsigned char *text = mt_pools_allocate(bytes);
    for (; bytes < end; bytes += bytes / 9 + 8) {
        text = mt_pools_reallocate(text, bytes);
        ck_assert_ptr_nonnull(text);
        memset(text, filling, mt_pools_usable(text));
    }
    return text;
}

START_TEST(what_grows_bit_by_bit_begins_where_the_last_one_did)
{
    unsigned char *first = creep_to(1000, 400000, 1);
    mt_pools_free(first);
    for (unsigned i = 0; i < 8; i++) {
        unsigned char *again = creep_to(1000, 400000, 2);
        ck_assert_ptr_eq(again, first);
        mt_pools_free(again);
    }
}
END_TEST

START_TEST(a_block_with_a_call_stack_grows_where_it_lies_and_loses_it)
{
    static const struct mt_pools_client client = {.sampled = note_sampled, .sample_freed = note_sample_freed};
    mt_pools_start(&core, &client);
    unsigned char *text = creep_to(1000, 15000, 5);
    ck_assert_uint_gt(mt_pools_usable(text), 32768);
    mt_mid_note_sampled(text, mt_pagemap_entry(text));
    sample_freed_count = 0;
    ck_assert_ptr_eq(mt_pools_reallocate(text, 16000), text);
    ck_assert_uint_eq(sample_freed_count, 1);
    ck_assert_ptr_eq(mt_pools_reallocate(text, 17000), text);
    ck_assert_uint_eq(sample_freed_count, 1);
    for (unsigned i = 0; i < 9000; i += 100) ck_assert_uint_eq(text[i], 5);
    mt_pools_free(text);
    ck_assert_int_eq(sum().live_bytes, 0);
}
END_TEST

static void check_zero_blocks(void)
{
    for (size_t bytes = 40000; bytes < 3000000; bytes += bytes / 3) {
        unsigned char *block = mt_pools_allocate_zeroed(bytes);
        for (size_t i = 0; i < bytes; i += 512) ck_assert_uint_eq(block[i], 0);
        mt_pools_free(block);
    }
}

START_TEST(the_room_of_a_block_is_known_to_be_used_when_it_goes_back)
{
    for (size_t end = 20000; end < 2000000; end *= 2) {
        unsigned char *one = creep_to(1000, end, 1), *two = creep_to(1000, end * 3, 2);
        mt_pools_free(one);
        check_zero_blocks();
        two = mt_pools_reallocate(two, end); /* shrinks where it lies */
        for (size_t i = 0; i < end; i += 100) ck_assert_uint_eq(two[i], 2);
        check_zero_blocks();
        mt_pools_free(two);
        check_zero_blocks();
    }
    ck_assert_int_eq(sum().live_bytes, 0);
    mt_pools_trim();
    ck_assert_uint_eq(mt_pools_tlsf_used(&core.segment->pools), 0);
    ck_assert_uint_eq(mt_pools_tlsf_dirty(&core.segment->pools), 0);
}
END_TEST

START_TEST(every_realloc_counts_as_one_free_and_one_allocation)
{
    uint64_t requested = 0, count = 0;
    for (unsigned round = 0; round < 300; round++) { /* enough for bins of their own */
        unsigned char *block = mt_pools_allocate(500);
        requested += 500;
        for (size_t bytes = 501; bytes < 90000; bytes += bytes / 7, count++) {
            block = mt_pools_reallocate(block, bytes);
            requested += bytes;
        }
        ck_assert_int_eq(sum().live_bytes, (int64_t)mt_pools_usable(block));
        mt_pools_free(block);
    }
    ck_assert_uint_eq(sum().realloc_count, count);
    ck_assert_uint_eq(sum().allocation_count, count + 300);
    ck_assert_uint_eq(sum().free_count, count + 300);
    ck_assert_uint_eq(sum().requested_bytes, requested);
    ck_assert_int_eq(sum().live_bytes, 0);
}
END_TEST

START_TEST(a_huge_block_used_again_is_zero_and_costs_no_memory)
{
    unsigned char *first = mt_pools_allocate(HUGE);
    for (unsigned i = 0; i < HUGE; i += 50000) first[i] = 1;
    mt_pools_free(first);
    ck_assert(!mt_pools_owns(first));
    ck_assert_uint_eq(core.segment->pools.huge_bytes, 0);
    unsigned char in_memory[HUGE / 4096];
    ck_assert_int_eq(mincore(first, HUGE, in_memory), 0); /* still mapped, with nothing behind it */
    for (unsigned i = 0; i < HUGE / 4096; i += 10) ck_assert_uint_eq(in_memory[i] & 1, 0);
    unsigned char *second = mt_pools_allocate_zeroed(HUGE - 1000000);
    ck_assert_ptr_eq(second, first);
    for (unsigned i = 0; i < HUGE - 1000000; i += 50000) ck_assert_uint_eq(second[i], 0);
    ck_assert_uint_ge(mt_pools_usable(second), HUGE - 1000000);
    mt_pools_free(second);
    mt_pools_trim();
    ck_assert_int_eq(mincore(first, HUGE, in_memory), -1); /* gone */
    ck_assert_int_eq(sum().live_bytes, 0);
}
END_TEST

START_TEST(a_block_that_doubles_gets_no_slack)
{
    void *block = mt_pools_allocate(64);
    for (size_t bytes = 128; bytes <= 16384; bytes *= 2) {
        block = mt_pools_reallocate(block, bytes);
        ck_assert_uint_eq(mt_pools_usable(block), bytes);
    }
}
END_TEST

static void leaves_a_lot_here(void **blocks)
{
    for (unsigned i = 0; i < 20000; i++) blocks[i] = mt_pools_allocate(16 + i % 2000);
    for (unsigned i = 0; i < 20000; i++) mt_pools_free(blocks[i]);
}

static void *leaves_a_lot(void *blocks)
{
    attach();
    leaves_a_lot_here(blocks);
    detach();
    return NULL;
}

/* What a program does that goes on quietly. */
static void wait_busily(void)
{
    for (unsigned i = 0; i < 4; i++) {
        void *blocks[300];
        usleep(150000);
        for (unsigned k = 0; k < 300; k++) blocks[k] = mt_pools_allocate(3000);
        for (unsigned k = 0; k < 300; k++) mt_pools_free(blocks[k]);
    }
}

START_TEST(what_is_not_used_any_more_goes_back_while_the_program_runs)
{
    static void *blocks[20000];
    pthread_t thread;
    mt_heaps_set_tidy_delay(0); /* as often as can be */
    mt_span_set_purge_delay(1000000);
    leaves_a_lot_here(blocks);
    pthread_create(&thread, NULL, leaves_a_lot, blocks);
    pthread_join(thread, NULL);
    uint64_t used = core.segment->pools.slab_used_bytes;
    ck_assert_uint_gt(used, 5000000);
    wait_busily();
    ck_assert_uint_lt(core.segment->pools.slab_used_bytes, 2500000);
    ck_assert_uint_ge(core.segment->pools.absorbed_heap_count, 1);
    ck_assert_int_eq(sum().live_bytes, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pools_mid");
    TCase *tests = tcase_create("mid");
    tcase_set_timeout(tests, 120);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, a_middle_block_is_handed_out_again_at_once);
    tcase_add_test(tests, a_middle_block_that_is_freed_twice_waits_once);
    tcase_add_test(tests, a_middle_block_used_again_reads_as_zero_for_calloc);
    tcase_add_test(tests, waiting_blocks_are_few_and_go_back_when_trimmed);
    tcase_add_test(tests, a_large_block_waits_once_its_size_was_asked_for_again);
    tcase_add_test(tests, a_huge_block_that_is_asked_for_again_and_again_keeps_its_memory);
    tcase_add_test(tests, what_waits_goes_before_the_use_of_memory_rises);
    tcase_add_loop_test(tests, what_waits_unused_goes_back_after_the_delay, 0, 2);
    tcase_add_test(tests, larger_blocks_that_waited_have_a_mark_of_their_own);
    tcase_add_test(tests, without_a_sampler_larger_blocks_get_no_call_stack);
    tcase_add_test(tests, a_free_of_a_block_that_waits_is_ignored_when_its_heap_counts_elsewhere);
    tcase_add_test(tests, a_thread_alone_hands_over_less_and_the_peak_stays_exact);
    tcase_add_test(tests, a_size_that_comes_back_is_counted_in_a_cell_of_its_own);
    tcase_add_test(tests, more_sizes_than_there_are_cells_are_counted_too);
    tcase_add_test(tests, a_thread_that_ends_leaves_nothing_waiting);
    tcase_add_test(tests, random_large_blocks_agree_with_a_model);
    tcase_add_test(tests, threads_never_share_a_middle_block);
    tcase_add_test(tests, a_block_that_creeps_moves_seldom_and_keeps_its_content);
    tcase_add_test(tests, what_grows_bit_by_bit_begins_where_the_last_one_did);
    tcase_add_test(tests, a_block_with_a_call_stack_grows_where_it_lies_and_loses_it);
    tcase_add_test(tests, the_room_of_a_block_is_known_to_be_used_when_it_goes_back);
    tcase_add_test(tests, every_realloc_counts_as_one_free_and_one_allocation);
    tcase_add_test(tests, a_huge_block_used_again_is_zero_and_costs_no_memory);
    tcase_add_test(tests, a_block_that_doubles_gets_no_slack);
    tcase_add_test(tests, what_is_not_used_any_more_goes_back_while_the_program_runs);
    suite_add_tcase(suite, tests);
    return run_suite(suite, CK_FORK_GETENV);
}
