/* Interning of stacks, their counters, the bytes at the peak, and many threads at once. */
#include "core_support.h"
#include "shard.h"
#include "stack.h"
#include "stack_own.h"
#include "run_suite.h"

#include <check.h>
#include <pthread.h>

static struct mt_core core;

static void set_up(void)
{
    setenv("MEMTRACK_STACKS", "all", 1);
    set_up_core(&core);
}

static void tear_down(void)
{
    tear_down_core(&core);
}

static uint64_t hash_of(const uint64_t *frames, unsigned depth)
{
    uint64_t hash = 0;
    for (unsigned i = 0; i < depth; i++) hash = mt_walk_hash(hash, frames[i]);
    return hash;
}

static uint32_t intern(const uint64_t *frames, unsigned depth)
{
    return mt_stack_intern(&core, frames, depth, hash_of(frames, depth), false);
}

static const struct mt_stack_weight one_kib = {1024, MT_SCALE, 1000, 0};

static int64_t peak_of(const struct mt_stack *stack)
{
    uint32_t epoch = core.segment->attribution.peak_epoch;
    return stack->at_peak_bytes + (stack->epoch == epoch ? 0 : stack->since_bytes);
}

START_TEST(same_stack_same_id)
{
    uint64_t a[] = {1, 2, 3}, b[] = {1, 2, 4}, c[] = {1, 2};
    uint32_t first = intern(a, 3);
    ck_assert_uint_ne(first, 0);
    ck_assert_uint_eq(intern(a, 3), first);
    ck_assert_uint_ne(intern(b, 3), first);
    ck_assert_uint_ne(intern(c, 2), first);
    const struct mt_stack *stack = mt_stack_at(&core, first);
    ck_assert_uint_eq(stack->depth, 3);
    ck_assert_mem_eq((char *)core.segment + (uint64_t)stack->frames * sizeof a[0], a, sizeof a);
}
END_TEST

START_TEST(equal_hashes_stay_apart)
{
    uint64_t a[] = {1, 2, 3}, b[] = {3, 2, 1};
    uint32_t first = mt_stack_intern(&core, a, 3, 77, false), second = mt_stack_intern(&core, b, 3, 77, false);
    ck_assert_uint_ne(first, second);
    ck_assert_uint_eq(mt_stack_intern(&core, a, 3, 77, false), first);
    ck_assert_uint_eq(mt_stack_intern(&core, b, 3, 77, false), second);
}
END_TEST

START_TEST(empty_and_unknown)
{
    ck_assert_uint_eq(mt_stack_intern(&core, NULL, 0, 0, false), 0);
    ck_assert_ptr_null(mt_stack_at(&core, 0));
    ck_assert_ptr_null(mt_stack_at(&core, 12345));
}
END_TEST

START_TEST(thousands_of_stacks)
{
    uint32_t ids[5000];
    for (uint64_t i = 0; i < 5000; i++) {
        uint64_t frames[] = {7, i, i * i};
        ids[i] = intern(frames, 3);
        ck_assert_uint_ne(ids[i], 0);
    }
    for (uint64_t i = 0; i < 5000; i++) {
        uint64_t frames[] = {7, i, i * i};
        ck_assert_uint_eq(intern(frames, 3), ids[i]);
    }
    ck_assert_uint_eq(core.segment->attribution.used_stacks, 5000);
}
END_TEST

START_TEST(counters_follow_blocks)
{
    uint64_t a[] = {1, 2, 3};
    uint32_t id = intern(a, 3);
    struct mt_stack *stack = mt_stack_at(&core, id);
    for (int i = 0; i < 3; i++) mt_stack_allocated(&core, id, &one_kib, 5);
    mt_stack_freed(&core, id, &one_kib, &(struct mt_stack_end){.lifetime_ms = 10, .is_temporary = true});
    ck_assert_int_eq(stack->at_peak_bytes + stack->since_bytes, 2048);
    ck_assert_int_eq(stack->at_peak_count + stack->since_count, 2 * MT_SCALE);
    ck_assert_uint_eq(stack->total_bytes, 3000);
    ck_assert_uint_eq(stack->total_count, 3 * MT_SCALE);
    ck_assert_uint_eq(stack->temporary_count, MT_SCALE);
    ck_assert_uint_eq(stack->same_frame_count, 0);
    ck_assert_uint_eq(stack->lifetime_ms, 10 * MT_SCALE);
    ck_assert_int_eq(stack->max_bytes, 3072);
}
END_TEST

/* One thread's events as the hooks make them. */
static void allocate(struct mt_shard *shard, uint32_t id, uint64_t bytes)
{
    mt_shard_allocated(&core, shard, bytes, bytes);
    struct mt_stack_weight weight = {(int64_t)bytes, MT_SCALE, bytes, 0};
    mt_stack_allocated(&core, id, &weight, 1);
}

static void release(struct mt_shard *shard, uint32_t id, uint64_t bytes)
{
    mt_shard_freed(&core, shard, bytes);
    mt_stack_note_peak(&core, shard);
    struct mt_stack_weight weight = {(int64_t)bytes, MT_SCALE, 0, 0};
    mt_stack_freed(&core, id, &weight, &(struct mt_stack_end){0});
}

START_TEST(peak_is_shared_out_exactly)
{
    uint64_t a[] = {1}, b[] = {2}, c[] = {3};
    uint32_t ids[] = {intern(a, 1), intern(b, 1), intern(c, 1)};
    struct mt_shard *shard = mt_shard_claim(&core, 1, "t");
    int64_t live[3] = {0}, at_peak[3] = {0}, now = 0, peak = 0;
    unsigned seed = 1;
    for (int i = 0; i < 100000; i++) {
        unsigned which = (unsigned)rand_r(&seed) % 3;
        uint64_t bytes = 1 + (unsigned)rand_r(&seed) % 5000;
        bool grows = (unsigned)rand_r(&seed) % 100 < (i < 50000 ? 55u : 45u);
        if (!grows && live[which] < (int64_t)bytes) continue;
        if (grows)
            allocate(shard, ids[which], bytes);
        else
            release(shard, ids[which], bytes);
        live[which] += grows ? (int64_t)bytes : -(int64_t)bytes;
        now += grows ? (int64_t)bytes : -(int64_t)bytes;
        if (now <= peak) continue;
        peak = now;
        memcpy(at_peak, live, sizeof live);
    }
    release(shard, ids[0], 0 + (uint64_t)(live[0] > 0));
    for (int k = 0; k < 3; k++) ck_assert_int_eq(peak_of(mt_stack_at(&core, ids[k])), at_peak[k]);
    ck_assert_int_eq(core.segment->attribution.noted_peak_bytes, peak);
}
END_TEST

enum { THREADS = 4, ROUNDS = 20000, STACKS = 64 };

static void *intern_many(void *argument)
{
    unsigned seed = (unsigned)(uintptr_t)argument;
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t frames[] = {1, (uint64_t)rand_r(&seed) % STACKS, 3};
        uint32_t id = intern(frames, 3);
        mt_stack_allocated(&core, id, &one_kib, 1);
        if (i % 2) mt_stack_freed(&core, id, &one_kib, &(struct mt_stack_end){0});
    }
    return NULL;
}

START_TEST(many_threads_lose_nothing)
{
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, intern_many, (void *)(i + 1));
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    uint64_t total = 0;
    int64_t live = 0;
    unsigned named = 0;
    for (uint32_t id = 1; id <= core.segment->attribution.used_stacks; id++) {
        const struct mt_stack *stack = mt_stack_at(&core, id);
        total += stack->total_count;
        live += stack->at_peak_bytes + stack->since_bytes;
        named += stack->total_count != 0;
    }
    ck_assert_uint_eq(named, STACKS);
    ck_assert_uint_eq(total, (uint64_t)THREADS * ROUNDS * MT_SCALE);
    ck_assert_int_eq(live, (int64_t)THREADS * ROUNDS / 2 * 1024);
}
END_TEST

/* ---- records of one's own -------------------------------------------------------- */

enum { OWNERS = 4, OWN_BLOCKS = 20000 };

struct own_job {
    uint32_t stack;
    uint32_t made[OWN_BLOCKS]; /* records that the blocks were counted in */
    struct own_job *other;     /* whose blocks this one frees */
    pthread_barrier_t *all;
};

static void *count_apart(void *argument)
{
    struct own_job *job = argument;
    struct mt_walker *walker = mt_walker_take(&core);
    struct mt_stack_end end = {.lifetime_ms = 1};
    for (unsigned i = 0; i < OWN_BLOCKS; i++) {
        struct mt_stack *own = mt_stack_own_of(&core, walker, job->stack);
        mt_stack_own_allocated(&core, own, 100, 90, i);
        job->made[i] = own->id;
    }
    pthread_barrier_wait(job->all);
    for (unsigned i = 0; i < OWN_BLOCKS / 2; i++)
        mt_stack_own_freed(&core, mt_stack_own_of(&core, walker, job->other->made[i]), 100, &end);
    mt_walker_give_back(&core, walker);
    return NULL;
}

struct own_sum {
    int64_t live_bytes, live_count;
    uint64_t total_bytes, total_count, lifetime_ms;
    unsigned records;
};

static struct own_sum sum_of(uint32_t id)
{
    struct own_sum sum = {0};
    for (uint32_t i = 1; i <= core.segment->attribution.used_stacks; i++) {
        const struct mt_stack *record = mt_stack_at(&core, i);
        if (i != id && record->twin_of != id) continue;
        sum.records++;
        sum.live_bytes += record->at_peak_bytes + record->since_bytes;
        sum.live_count += record->at_peak_count + record->since_count;
        sum.total_bytes += record->total_bytes;
        sum.total_count += record->total_count;
        sum.lifetime_ms += record->lifetime_ms;
    }
    return sum;
}

START_TEST(threads_count_apart_and_add_up)
{
    static struct own_job jobs[OWNERS];
    uint64_t frames[] = {4, 5, 6};
    uint32_t id = intern(frames, 3);
    pthread_t threads[OWNERS];
    pthread_barrier_t all;
    pthread_barrier_init(&all, NULL, OWNERS);
    for (unsigned i = 0; i < OWNERS; i++) {
        jobs[i] = (struct own_job){.stack = id, .other = &jobs[(i + 1) % OWNERS], .all = &all};
        pthread_create(&threads[i], NULL, count_apart, &jobs[i]);
    }
    for (unsigned i = 0; i < OWNERS; i++) pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&all);
    mt_stack_nobody_freed(&core, jobs[1].made[OWN_BLOCKS - 1], 100, &(struct mt_stack_end){0});
    struct own_sum sum = sum_of(id);
    ck_assert_int_eq(sum.live_count, (OWNERS * OWN_BLOCKS / 2 - 1) * MT_SCALE);
    ck_assert_int_eq(sum.live_bytes, (OWNERS * OWN_BLOCKS / 2 - 1) * 100);
    ck_assert_uint_eq(sum.total_count, (uint64_t)OWNERS * OWN_BLOCKS * MT_SCALE);
    ck_assert_uint_eq(sum.total_bytes, (uint64_t)OWNERS * OWN_BLOCKS * 90);
    ck_assert_uint_eq(sum.lifetime_ms, (uint64_t)OWNERS * OWN_BLOCKS / 2 * MT_SCALE);
    const struct mt_stack *nobody = mt_stack_at(&core, mt_stack_at(&core, id)->twins);
    ck_assert_uint_eq(nobody->owner, MT_STACK_OF_NOBODY);
    /* All blocks live at the same time, between the two halves of count_apart(). */
    int64_t most = (int64_t)OWNERS * OWN_BLOCKS * 100, slack = OWNERS * MT_STACK_HAND_OVER;
    ck_assert_int_le(nobody->max_bytes, most + slack);
    ck_assert_int_ge(nobody->max_bytes, most - slack);
    ck_assert_uint_le(sum.records, OWNERS + 1 + OWNERS); /* twins of nobody that lost the race stay empty */
}
END_TEST

START_TEST(one_thread_counts_in_the_stack_itself)
{
    uint64_t frames[] = {7, 8};
    uint32_t id = intern(frames, 2);
    struct mt_walker *walker = mt_walker_take(&core);
    struct mt_stack *own = mt_stack_own_of(&core, walker, id);
    ck_assert_ptr_eq(own, mt_stack_at(&core, id));
    for (int i = 0; i < 3; i++) mt_stack_own_allocated(&core, own, 1000, 900, 1);
    mt_stack_own_freed(&core, own, 1000, &(struct mt_stack_end){.is_temporary = true});
    mt_stack_own_allocated(&core, own, 500, 500, 2);
    ck_assert_int_eq(own->max_bytes, 3000);
    ck_assert_int_eq(own->max_count, 3 * MT_SCALE);
    ck_assert_int_eq(own->at_peak_bytes + own->since_bytes, 2500);
    ck_assert_uint_eq(own->temporary_count, MT_SCALE);
    ck_assert_uint_eq(own->twins, 0);
    mt_walker_give_back(&core, walker);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stack");
    TCase *tests = tcase_create("stack");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, same_stack_same_id);
    tcase_add_test(tests, equal_hashes_stay_apart);
    tcase_add_test(tests, empty_and_unknown);
    tcase_add_test(tests, thousands_of_stacks);
    tcase_add_test(tests, counters_follow_blocks);
    tcase_add_test(tests, peak_is_shared_out_exactly);
    tcase_add_test(tests, many_threads_lose_nothing);
    tcase_add_test(tests, one_thread_counts_in_the_stack_itself);
    tcase_add_test(tests, threads_count_apart_and_add_up);
    tcase_set_timeout(tests, 60);
    suite_add_tcase(suite, tests);
    return run_suite(suite, CK_FORK_GETENV);
}
