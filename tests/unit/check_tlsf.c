/* The TLSF engine: what it promises, step by step and against a model. */
#include "tlsf_model.h"
#include "run_suite.h"

#include <check.h>

static struct model model;

static uint64_t random_state = 1;

static uint32_t random_below(uint32_t bound)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((random_state >> 33) % bound);
}

START_TEST(an_empty_engine_gives_nothing)
{
    model_start(&model, 16);
    ck_assert_uint_eq(mt_tlsf_allocate(&model.tlsf, 16, 1), 0);
    ck_assert_uint_eq(mt_tlsf_largest_free(&model.tlsf), 0);
    ck_assert_ptr_null(mt_tlsf_check(&model.tlsf));
}
END_TEST

START_TEST(a_whole_chunk_can_be_one_block)
{
    model_start(&model, 4096);
    model_add_chunk(&model, 1 << 20);
    uint32_t id = mt_tlsf_allocate(&model.tlsf, 1 << 20, 1);
    ck_assert_uint_ne(id, 0);
    ck_assert_uint_eq(model.tlsf.free_bytes, 0);
    ck_assert_uint_eq(mt_tlsf_allocate(&model.tlsf, 1, 1), 0);
    uint32_t back = mt_tlsf_free(&model.tlsf, id);
    ck_assert(mt_tlsf_is_whole_chunk(&model.tlsf, back));
    mt_tlsf_remove_chunk(&model.tlsf, back);
    ck_assert_uint_eq(model.tlsf.free_bytes, 0);
    ck_assert_uint_eq(model.tlsf.chunk_count, 0);
    ck_assert_ptr_null(mt_tlsf_check(&model.tlsf));
}
END_TEST

struct visit {
    uint64_t bytes, last;
    uint32_t count, most;
};

/* Lists are 1/32 apart, within which the order is not said. */
static bool note_visit(void *context, const struct mt_tlsf_block *block)
{
    struct visit *visit = context;
    ck_assert_uint_eq(block->state, MT_TLSF_FREE);
    if (visit->last) ck_assert_uint_le(block->bytes, visit->last + visit->last / MT_TLSF_SECOND + 16);
    visit->last = block->bytes;
    visit->bytes += block->bytes;
    return ++visit->count < visit->most;
}

START_TEST(free_blocks_are_visited_from_the_largest_down)
{
    uint32_t ids[400];
    model_start(&model, 16);
    model_add_chunk(&model, 8 << 20);
    for (unsigned i = 0; i < 400; i++) ids[i] = mt_tlsf_allocate(&model.tlsf, 16 + random_below(15000), 1);
    for (unsigned i = 0; i < 400; i += 2) mt_tlsf_free(&model.tlsf, ids[i]);
    struct visit all = {.most = UINT32_MAX}, few = {.most = 5};
    mt_tlsf_visit_free(&model.tlsf, note_visit, &all);
    ck_assert_uint_eq(all.count, model.tlsf.free_count);
    ck_assert_uint_eq(all.bytes, model.tlsf.free_bytes);
    mt_tlsf_visit_free(&model.tlsf, note_visit, &few);
    ck_assert_uint_eq(few.count, 5);
}
END_TEST

START_TEST(neighbours_join_in_any_order)
{
    static const unsigned orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (unsigned i = 0; i < 6; i++) {
        model_start(&model, 16);
        model_add_chunk(&model, 4096);
        uint32_t ids[3];
        for (unsigned k = 0; k < 3; k++) ids[k] = mt_tlsf_allocate(&model.tlsf, 100, 1);
        for (unsigned k = 0; k < 3; k++) {
            mt_tlsf_free(&model.tlsf, ids[orders[i][k]]);
            ck_assert_ptr_null(mt_tlsf_check(&model.tlsf));
        }
        ck_assert_uint_eq(model.tlsf.free_count, 1);
        ck_assert_uint_eq(mt_tlsf_largest_free(&model.tlsf), 4096);
    }
}
END_TEST

START_TEST(chunks_that_touch_stay_apart)
{
    model_start(&model, 16);
    uint32_t one = mt_tlsf_add_chunk(&model.tlsf, 4096, 4096, 1),
             two = mt_tlsf_add_chunk(&model.tlsf, 8192, 4096, 2);
    ck_assert(mt_tlsf_is_whole_chunk(&model.tlsf, one));
    ck_assert(mt_tlsf_is_whole_chunk(&model.tlsf, two));
    ck_assert_uint_eq(mt_tlsf_allocate(&model.tlsf, 8192, 1), 0);
    uint32_t id = mt_tlsf_allocate(&model.tlsf, 4096, 1);
    ck_assert_uint_ne(mt_tlsf_block(&model.tlsf, id)->user, 0);
    ck_assert_ptr_null(mt_tlsf_check(&model.tlsf));
}
END_TEST

START_TEST(a_chunk_that_grows_is_one_range)
{
    model_start(&model, 16);
    model_add_chunk(&model, 4096);
    model_allocate(&model, 1024, 1);
    model_extend_chunk(&model, 4096);
    ck_assert_uint_eq(model.tlsf.free_count, 1);
    model_allocate(&model, 8192 - 1024, 1);
    ck_assert_uint_eq(model.tlsf.free_count, 0);
    model_extend_chunk(&model, 64); /* behind a used block */
    model_free(&model, 0);
    model_free(&model, 0);
    ck_assert_uint_eq(mt_tlsf_largest_free(&model.tlsf), 8192 + 64);
    ck_assert(mt_tlsf_is_whole_chunk(&model.tlsf, model.chunks[0].id));
}
END_TEST

START_TEST(of_two_blocks_that_fit_the_lower_is_taken)
{
    uint32_t ids[6];
    model_start(&model, 16);
    model_add_chunk(&model, 65536);
    for (unsigned i = 0; i < 6; i++) ids[i] = mt_tlsf_allocate(&model.tlsf, i % 2 ? 64 : 2048 - i * 256, 1);
    uint64_t lower = mt_tlsf_block(&model.tlsf, ids[2])->offset;
    for (unsigned i = 0; i < 6; i += 2) mt_tlsf_free(&model.tlsf, ids[i]); /* 2048, 1536 and 1024 bytes */
    uint32_t id = mt_tlsf_allocate(&model.tlsf, 1024, 1);
    ck_assert_uint_eq(mt_tlsf_block(&model.tlsf, id)->offset, lower);
    ck_assert_ptr_null(mt_tlsf_check(&model.tlsf));
}
END_TEST

START_TEST(alignment_wastes_nothing)
{
    model_start(&model, 16);
    ck_assert_uint_ne(mt_tlsf_add_chunk(&model.tlsf, 16, 8192 - 16, 1), 0);
    uint32_t id = mt_tlsf_allocate(&model.tlsf, 1024, 4096);
    ck_assert_uint_ne(id, 0);
    ck_assert_uint_eq(mt_tlsf_block(&model.tlsf, id)->offset, 4096);
    ck_assert_uint_eq(model.tlsf.free_bytes, 8192 - 16 - 1024);
    ck_assert_uint_eq(model.tlsf.free_count, 2);                       /* before and behind */
    ck_assert_uint_ne(mt_tlsf_allocate(&model.tlsf, 4096 - 16, 1), 0); /* what lay before it is usable */
    ck_assert_ptr_null(mt_tlsf_check(&model.tlsf));
}
END_TEST

START_TEST(what_is_smaller_than_the_smallest_block_stays_with_its_neighbour)
{
    model_start_with(&model, 64, 4096);
    struct mt_tlsf *tlsf = &model.tlsf;
    ck_assert_uint_ne(mt_tlsf_add_chunk(tlsf, 65536 + 64, 65536, 1), 0);
    uint32_t one = mt_tlsf_allocate(tlsf, 5000, 1), two = mt_tlsf_allocate(tlsf, 5000, 1);
    ck_assert_uint_eq(mt_tlsf_block(tlsf, one)->bytes, 5056);
    ck_assert_uint_eq(mt_tlsf_block(tlsf, two)->offset, 65536 + 64 + 5056);
    ck_assert_uint_eq(mt_tlsf_block(tlsf, mt_tlsf_allocate(tlsf, 1, 1))->bytes, 4096);
    ck_assert(mt_tlsf_resize(tlsf, one, 4096)); /* the rest is too small to be free */
    ck_assert_uint_eq(mt_tlsf_block(tlsf, one)->bytes, 5056);
    mt_tlsf_free(tlsf, two);
    ck_assert(mt_tlsf_resize(tlsf, one, 5056 + 1024)); /* leaves 4032 bytes, which it takes */
    ck_assert_uint_eq(mt_tlsf_block(tlsf, one)->bytes, 2 * 5056);
    uint32_t aligned = mt_tlsf_allocate(tlsf, 8192, 128);
    uint64_t last = 65536 + 64 + 2 * 5056 + 4096; /* 16 bytes before a multiple: the next one, a block further */
    ck_assert_uint_ge(mt_tlsf_block(tlsf, aligned)->offset, last);
    ck_assert_uint_eq(mt_tlsf_block(tlsf, aligned)->offset % 128, 0);
    ck_assert_ptr_null(mt_tlsf_check(tlsf));
}
END_TEST

START_TEST(a_block_grows_into_its_free_neighbour)
{
    model_start(&model, 16);
    model_add_chunk(&model, 4096);
    uint32_t one = mt_tlsf_allocate(&model.tlsf, 512, 1), two = mt_tlsf_allocate(&model.tlsf, 512, 1);
    ck_assert(!mt_tlsf_resize(&model.tlsf, one, 1024));
    ck_assert(mt_tlsf_resize(&model.tlsf, two, 4096 - 512));
    ck_assert_uint_eq(model.tlsf.free_bytes, 0);
    ck_assert(mt_tlsf_resize(&model.tlsf, two, 512));
    ck_assert(mt_tlsf_resize(&model.tlsf, one, 100));
    ck_assert_uint_eq(mt_tlsf_block(&model.tlsf, one)->bytes, 112);
    ck_assert_uint_eq(model.tlsf.used_bytes, 112 + 512);
    ck_assert(!mt_tlsf_resize(&model.tlsf, one, 0));
    ck_assert_ptr_null(mt_tlsf_check(&model.tlsf));
}
END_TEST

START_TEST(marks_go_along_with_what_is_cut_and_joined)
{
    model_start(&model, 16);
    model_add_chunk(&model, 4096);
    struct mt_tlsf *tlsf = &model.tlsf;
    uint32_t ids[4];
    for (unsigned i = 0; i < 4; i++) {
        ids[i] = mt_tlsf_allocate(tlsf, 512, 1);
        ck_assert_uint_eq(tlsf->blocks[ids[i]].marks, 0);
        tlsf->blocks[ids[i]].marks = (uint16_t)(1u << i);
    }
    mt_tlsf_free(tlsf, ids[1]);
    ck_assert_uint_eq(tlsf->blocks[mt_tlsf_free(tlsf, ids[0])].marks,
                      1 | 2); /* with its right neighbour, at the chunk's begin */
    ck_assert_uint_eq(tlsf->blocks[mt_tlsf_free(tlsf, ids[2])].marks, 1 | 2 | 4);
    ck_assert_uint_eq(tlsf->blocks[mt_tlsf_free(tlsf, ids[3])].marks, 1 | 2 | 4 | 8); /* between two free ones */
    uint32_t first = mt_tlsf_allocate(tlsf, 512, 1), second = mt_tlsf_allocate(tlsf, 512, 1);
    ck_assert_uint_eq(tlsf->blocks[first].marks & tlsf->blocks[second].marks, 15);
    tlsf->blocks[second].marks = 0;
    ck_assert(mt_tlsf_resize(tlsf, second, 256));
    ck_assert_uint_eq(tlsf->blocks[second].marks, 0);
    ck_assert(mt_tlsf_resize(tlsf, second, 1024)); /* a part of its neighbour has that one's */
    ck_assert_uint_eq(tlsf->blocks[second].marks, 15);
    ck_assert_ptr_null(mt_tlsf_check(tlsf));
}
END_TEST

START_TEST(without_records_it_fails_and_stays_whole)
{
    static struct mt_tlsf tlsf;
    static struct mt_tlsf_block few[6], more[64];
    mt_tlsf_init(&tlsf, 16, 16, few, 6);
    ck_assert_uint_ne(mt_tlsf_add_chunk(&tlsf, 0, 65536, 0), 0);
    uint32_t ids[8];
    unsigned got = 0;
    while (got < 8 && (ids[got] = mt_tlsf_allocate(&tlsf, 64, 1))) got++;
    ck_assert_uint_eq(got, 3);
    ck_assert_ptr_null(mt_tlsf_check(&tlsf));
    memcpy(more, few, sizeof few);
    mt_tlsf_move_records(&tlsf, more, 64);
    ck_assert_uint_ne(mt_tlsf_allocate(&tlsf, 64, 1), 0);
    mt_tlsf_free(&tlsf, ids[1]);
    ck_assert_ptr_null(mt_tlsf_check(&tlsf));
}
END_TEST

START_TEST(impossible_sizes_are_refused)
{
    model_start(&model, 16);
    model_add_chunk(&model, 1 << 20);
    ck_assert_uint_eq(mt_tlsf_allocate(&model.tlsf, UINT64_MAX, 1), 0);
    ck_assert_uint_eq(mt_tlsf_allocate(&model.tlsf, UINT64_MAX / 2, 1), 0);
    ck_assert_uint_eq(mt_tlsf_allocate(&model.tlsf, 16, UINT64_C(1) << 63), 0);
    ck_assert_uint_eq(mt_tlsf_allocate(&model.tlsf, 2 << 20, 1), 0);
    ck_assert_uint_eq(model.tlsf.used_bytes, 0);
    ck_assert_ptr_null(mt_tlsf_check(&model.tlsf));
}
END_TEST

START_TEST(terabytes_are_no_more_work_than_bytes)
{
    model_start(&model, 65536);
    model_add_chunk(&model, UINT64_C(1) << 46);
    for (unsigned i = 0; i < 500; i++)
        model_allocate(&model, (uint64_t)random_below(1u << 30) << random_below(8) | 1, 1);
    model_end(&model);
}
END_TEST

static void random_step(uint32_t largest)
{
    uint32_t bits = 1 + random_below(31u - (unsigned)__builtin_clz(largest));
    uint64_t bytes = 1 + random_below(UINT32_C(1) << bits);
    switch (random_below(8)) {
    case 0: model_allocate(&model, bytes, UINT64_C(1) << random_below(14)); break;
    case 1:
    case 2:
    case 3: model_allocate(&model, bytes, 1); break;
    case 4: model_resize(&model, random_below(MODEL_BLOCKS), bytes); break;
    default: model_free(&model, random_below(MODEL_BLOCKS)); break;
    }
}

/* Waves of more allocations than frees and the reverse, checked after every step. */
START_TEST(a_long_random_run_agrees_with_the_model)
{
    static const uint64_t granules[6] = {1, 16, 256, 4096, 64, 16}, smallest[6] = {1, 16, 256, 4096, 4096, 48};
    random_state = (uint64_t)_i + 1;
    model_start_with(&model, granules[_i % 6], smallest[_i % 6]);
    model_add_chunk(&model, 1 << 20);
    for (unsigned step = 0; step < 12000; step++) {
        bool is_filling = step / 1000 % 2 == 0;
        if (random_below(3000) == 0) model_add_chunk(&model, 4096 + random_below(1 << 20));
        if (random_below(2000) == 0) model_extend_chunk(&model, 1 + random_below(1 << 18));
        if (is_filling && random_below(3) == 0)
            model_allocate(&model, 1 + random_below(8192), 1);
        else
            random_step(1 << 16);
    }
    model_end(&model);
}
END_TEST

START_TEST(a_million_steps_leave_no_trace)
{
    model_start(&model, 16);
    model.check_every = 5000;
    for (unsigned i = 0; i < 8; i++) model_add_chunk(&model, 1 << 20);
    for (unsigned step = 0; step < 1000000; step++) random_step(1 << 14);
    model.check_every = 1;
    model_end(&model);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tlsf");
    TCase *tests = tcase_create("tlsf");
    tcase_set_timeout(tests, 300);
    tcase_add_test(tests, an_empty_engine_gives_nothing);
    tcase_add_test(tests, a_whole_chunk_can_be_one_block);
    tcase_add_test(tests, neighbours_join_in_any_order);
    tcase_add_test(tests, chunks_that_touch_stay_apart);
    tcase_add_test(tests, chunks_that_touch_stay_apart);
    tcase_add_test(tests, a_chunk_that_grows_is_one_range);
    tcase_add_test(tests, of_two_blocks_that_fit_the_lower_is_taken);
    tcase_add_test(tests, alignment_wastes_nothing);
    tcase_add_test(tests, what_is_smaller_than_the_smallest_block_stays_with_its_neighbour);
    tcase_add_test(tests, a_block_grows_into_its_free_neighbour);
    tcase_add_test(tests, marks_go_along_with_what_is_cut_and_joined);
    tcase_add_test(tests, without_records_it_fails_and_stays_whole);
    tcase_add_test(tests, impossible_sizes_are_refused);
    tcase_add_test(tests, free_blocks_are_visited_from_the_largest_down);
    tcase_add_test(tests, terabytes_are_no_more_work_than_bytes);
    tcase_add_loop_test(tests, a_long_random_run_agrees_with_the_model, 0, 6);
    tcase_add_test(tests, a_million_steps_leave_no_trace);
    suite_add_tcase(suite, tests);
    return run_suite(suite, CK_NOFORK);
}
