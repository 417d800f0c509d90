/*
 * The pools without the hooks: what every block promises, counts that are
 * exact, other threads' frees, threads that end, fork, and memory that runs out.
 * Each test runs in a process of its own.
 */
#include "stats.h"
#include "mid.h"
#include "origin.h"
#include "os.h"
#include "pools_support.h"
#include "spans.h"
#include "run_suite.h"

#include <check.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/wait.h>

static uint64_t random_state = 1;

static size_t random_below(size_t bound)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (size_t)(random_state >> 33) % bound;
}

static void fill(void *block, size_t bytes, unsigned seed)
{
    memset(block, (int)(seed % 255 + 1), bytes);
}

static int is_filled(const void *block, size_t bytes, unsigned seed)
{
    const unsigned char *at = block;
    for (size_t i = 0; i < bytes; i++)
        if (at[i] != seed % 255 + 1) return 0;
    return 1;
}

static int is_zero(const void *block, size_t bytes)
{
    const unsigned char *at = block;
    for (size_t i = 0; i < bytes; i++)
        if (at[i]) return 0;
    return 1;
}

/* ---- blocks ------------------------------------------------------------------- */

START_TEST(every_size_is_aligned_usable_and_in_its_class)
{
    for (size_t bytes = 0; bytes < 200000; bytes += bytes < 5000 ? 1 : 777) {
        void *block = mt_pools_allocate(bytes);
        ck_assert_ptr_nonnull(block);
        ck_assert_uint_eq((uintptr_t)block % 16, 0);
        size_t usable = mt_pools_usable(block);
        ck_assert_uint_ge(usable, bytes);
        ck_assert_uint_eq(mt_class_of(usable), mt_class_of(bytes ? usable : 16));
        if (bytes > 128) ck_assert_uint_le(usable, bytes + bytes / 8 + 4096 * (bytes > MT_SLAB_MAX));
        memset(block, 0xff, usable);
        ck_assert(mt_pools_owns(block));
        ck_assert(mt_pools_free(block));
    }
    ck_assert_int_eq(sum().live_bytes, 0);
}
END_TEST

/* Each class's slab begins at a multiple of 64 KiB: the first blocks shall not all lie in one set of a cache. */
START_TEST(first_blocks_of_classes_lie_in_many_lines_of_their_pages)
{
    uint64_t lines = 0;
    for (size_t bytes = 16; bytes <= 256; bytes += 16)
        lines |= UINT64_C(1) << ((uintptr_t)mt_pools_allocate(bytes) & 4095) / 64;
    ck_assert_int_ge(__builtin_popcountll(lines), 12);
}
END_TEST

START_TEST(live_blocks_never_overlap)
{
    enum { COUNT = 20000 };
    static unsigned char *blocks[COUNT];
    static size_t sizes[COUNT];
    for (unsigned step = 0; step < 400000; step++) {
        size_t i = random_below(COUNT);
        if (blocks[i]) {
            ck_assert(is_filled(blocks[i], sizes[i] < 64 ? sizes[i] : 64, (unsigned)i));
            ck_assert(is_filled(blocks[i] + sizes[i] - (sizes[i] < 64 ? sizes[i] : 64),
                                sizes[i] < 64 ? sizes[i] : 64, (unsigned)i));
            ck_assert(mt_pools_free(blocks[i]));
            blocks[i] = NULL;
        } else {
            sizes[i] = 1 + random_below((size_t)1 << (1 + random_below(17)));
            blocks[i] = mt_pools_allocate(sizes[i]);
            fill(blocks[i], sizes[i], (unsigned)i);
        }
    }
    for (unsigned i = 0; i < COUNT; i++)
        if (blocks[i]) ck_assert(is_filled(blocks[i], sizes[i], i) && mt_pools_free(blocks[i]));
    ck_assert_int_eq(sum().live_bytes, 0);
    ck_assert_uint_eq(sum().allocation_count, sum().free_count);
}
END_TEST

START_TEST(every_alignment_is_kept)
{
    for (size_t alignment = 1; alignment <= (size_t)64 << 20; alignment *= 2) {
        static const size_t sizes[] = {0, 1, 24, 100, 1000, 4096, 5000, 32768, 40000, 1 << 20, 40 << 20};
        for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            void *blocks[3];
            for (unsigned k = 0; k < 3; k++) {
                blocks[k] = mt_pools_allocate_aligned(alignment, sizes[i]);
                ck_assert_ptr_nonnull(blocks[k]);
                ck_assert_uint_eq((uintptr_t)blocks[k] & (alignment - 1), 0);
                ck_assert_uint_ge(mt_pools_usable(blocks[k]), sizes[i]);
                memset(blocks[k], 1, sizes[i] < 100000 ? sizes[i] : 100000);
            }
            for (unsigned k = 0; k < 3; k++) ck_assert(mt_pools_free(blocks[k]));
        }
    }
    ck_assert_int_eq(sum().live_bytes, 0);
}
END_TEST

START_TEST(zeroed_blocks_are_zero_also_when_used_before)
{
    static const size_t sizes[] = {1,     16,    100,    1024,    1025,    3000,    9000,
                                   32768, 32769, 100000, 1 << 20, 5 << 20, 40 << 20};
    for (unsigned round = 0; round < 6; round++)
        for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            void *blocks[4];
            for (unsigned k = 0; k < 4; k++) {
                blocks[k] = mt_pools_allocate_zeroed(sizes[i]);
                ck_assert(is_zero(blocks[k], sizes[i]));
                memset(blocks[k], 0xaa, mt_pools_usable(blocks[k]));
            }
            for (unsigned k = 0; k < 4; k++) ck_assert(mt_pools_free(blocks[(k * 3 + round) % 4]));
            if (round == 3) mt_pools_trim();
        }
}
END_TEST

START_TEST(reallocation_keeps_the_content)
{
    for (unsigned round = 0; round < 300; round++) {
        size_t bytes = 1 + random_below(100);
        unsigned char *block = mt_pools_allocate(bytes);
        fill(block, bytes, round);
        for (unsigned step = 0; step < 12; step++) {
            size_t next = 1 + random_below((size_t)1 << (4 + random_below(round % 10 ? 14 : 23)));
            block = mt_pools_reallocate(block, next);
            ck_assert(is_filled(block, bytes < next ? bytes : next, round));
            fill(block, next, round);
            bytes = next;
        }
        mt_pools_free(block);
    }
    ck_assert_int_eq(sum().live_bytes, 0);
    ck_assert_uint_eq(sum().realloc_count, 3600);
    ck_assert_uint_eq(sum().allocation_count, 3900);
    ck_assert_uint_eq(sum().free_count, 3900);
}
END_TEST

START_TEST(a_block_that_is_resized_where_it_is_counts_as_such)
{
    void *block = mt_pools_allocate(100000), *grown = mt_pools_reallocate(block, 300000);
    ck_assert_ptr_eq(grown, block);
    ck_assert_uint_eq(core.segment->pools.tlsf_resize_count, 1);
    mt_pools_free(block);
}
END_TEST

START_TEST(huge_blocks_grow_and_shrink)
{
    size_t bytes = (size_t)33 << 20;
    unsigned char *block = mt_pools_allocate(bytes);
    fill(block, bytes, 7);
    for (unsigned i = 0; i < 5; i++) {
        void *other = mt_pools_allocate(bytes);
        block = mt_pools_reallocate(block, bytes + ((size_t)8 << 20) * (i + 1));
        ck_assert(is_filled(block, bytes, 7));
        mt_pools_free(other);
    }
    ck_assert_uint_eq(core.segment->pools.huge_remap_count, 5);
    block = mt_pools_reallocate(block, 1 << 20);
    ck_assert(is_filled(block, 1 << 20, 7));
    block = mt_pools_reallocate(block, 100);
    ck_assert(is_filled(block, 100, 7));
    mt_pools_free(block);
    ck_assert_int_eq(sum().live_bytes, 0);
    mt_pools_trim();
    struct mt_pools_info info;
    mt_pools_info(&info);
    ck_assert_uint_eq(info.huge_count, 0);
    ck_assert_uint_eq(info.huge_bytes, 0);
}
END_TEST

START_TEST(pointers_of_others_are_left_alone)
{
    int on_stack = 0;
    static int in_data;
    void *mapped = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void *from_libc = malloc(100);
    void *strangers[] = {NULL,
                         &on_stack,
                         &in_data,
                         mapped,
                         from_libc,
                         (void *)1,
                         (void *)(uintptr_t)-16,
                         (void *)((uintptr_t)1 << 47),
                         (void *)((uintptr_t)0xdead << 48)};
    for (unsigned i = 0; i < sizeof strangers / sizeof *strangers; i++) {
        ck_assert(!mt_pools_owns(strangers[i]));
        ck_assert(!mt_pools_free(strangers[i]));
        ck_assert_uint_eq(mt_pools_usable(strangers[i]), 0);
    }
    ck_assert_uint_eq(sum().free_count, 0);
    free(from_libc);
}
END_TEST

/* ---- counts ---------------------------------------------------------------------- */

START_TEST(counts_are_exact)
{
    void *blocks[64];
    uint64_t requested = 0;
    int64_t usable = 0, highest = 0;
    for (unsigned i = 0; i < 64; i++) {
        size_t bytes = (size_t)1 << (i % 27);
        blocks[i] = mt_pools_allocate(bytes);
        requested += bytes;
        usable += (int64_t)mt_pools_usable(blocks[i]);
    }
    highest = usable;
    struct mt_shard_sum now = sum();
    ck_assert_uint_eq(now.allocation_count, 64);
    ck_assert_uint_eq(now.requested_bytes, requested);
    ck_assert_int_eq(now.live_bytes, usable);
    ck_assert_int_eq(now.peak_bytes, highest);
    for (unsigned i = 0; i < 64; i++) mt_pools_free(blocks[i]);
    now = sum();
    ck_assert_uint_eq(now.free_count, 64);
    ck_assert_int_eq(now.live_bytes, 0);
    ck_assert_int_eq(now.peak_bytes, highest);
    uint64_t allocations = 0, frees = 0;
    for (unsigned class = 0; class < MT_CLASS_COUNT; class ++) {
        allocations += mt_theap_self->shard->classes[class].allocation_count;
        frees += mt_theap_self->shard->classes[class].free_count;
    }
    struct mt_origin_sum sums[MT_ORIGIN_MAX] = {0};
    mt_origins_sum(core.segment, core.mapped_bytes, sums);
    ck_assert_uint_eq(sums[0].allocation_count, 64);
    ck_assert_uint_eq(sums[0].requested_bytes, requested);
    ck_assert_int_eq(sums[0].live_bytes, 0);
    for (unsigned class = 0; class < MT_POOL_CLASSES; class ++) {
        allocations += mt_theap_self->counts[0]->classes[class].allocation_count;
        frees += mt_theap_self->counts[0]->classes[class].free_count;
    }
    ck_assert_uint_eq(allocations, 64);
    ck_assert_uint_eq(frees, 64);
}
END_TEST

START_TEST(the_peak_of_one_thread_is_exact)
{
    int64_t live = 0, highest = 0;
    void *blocks[500] = {0};
    for (unsigned step = 0; step < 20000; step++) {
        size_t i = random_below(500);
        if (blocks[i]) {
            live -= (int64_t)mt_pools_usable(blocks[i]);
            mt_pools_free(blocks[i]);
            blocks[i] = NULL;
        } else {
            blocks[i] = mt_pools_allocate(random_below(5000));
            live += (int64_t)mt_pools_usable(blocks[i]);
            if (live > highest) highest = live;
        }
    }
    ck_assert_int_eq(sum().live_bytes, live);
    ck_assert_int_eq(sum().peak_bytes, highest);
}
END_TEST

/* ---- call stacks ------------------------------------------------------------------------------ */

static const void *sampled_blocks[100000];
static unsigned sampled_count, sample_freed_count;

static void note_sampled(struct mt_shard *shard, const void *block, uint64_t requested, uint64_t usable)
{
    ck_assert_uint_le(requested, usable);
    ck_assert_uint_eq(mt_pools_usable(block), usable);
    sampled_blocks[sampled_count++] = block;
    atomic_store(&shard->sample_countdown_bytes, (int64_t)atomic_load(&shard->requested_bytes) + 10000);
}

static void note_sample_freed(struct mt_shard *shard, const void *block, uint64_t usable)
{
    (void)shard;
    ck_assert_uint_gt(usable, 0);
    for (unsigned i = 0; i < sampled_count; i++)
        if (sampled_blocks[i] == block) {
            sampled_blocks[i] = NULL;
            sample_freed_count++;
            return;
        }
}

START_TEST(every_sampled_block_is_told_of_when_it_ends)
{
    static const struct mt_pools_client client = {.sampled = note_sampled, .sample_freed = note_sample_freed};
    mt_pools_start(&core, &client);
    atomic_store(&mt_theap_self->shard->sample_countdown_bytes, 1);
    unsigned char *blocks[500] = {0};
    size_t sizes[500];
    for (unsigned step = 0; step < 50000; step++) {
        size_t i = random_below(500), bytes = 1 + random_below(step % 50 ? 900 : 90000);
        if (blocks[i]) ck_assert(is_filled(blocks[i], sizes[i] < 50 ? sizes[i] : 50, (unsigned)i));
        if (blocks[i] && step % 3) {
            mt_pools_free(blocks[i]);
            blocks[i] = NULL;
            continue;
        }
        blocks[i] = blocks[i] ? mt_pools_reallocate(blocks[i], bytes) : mt_pools_allocate(bytes);
        fill(blocks[i], sizes[i] = bytes, (unsigned)i);
    }
    for (unsigned i = 0; i < 500; i++)
        if (blocks[i]) mt_pools_free(blocks[i]);
    ck_assert_uint_gt(sampled_count, 1000);
    ck_assert_uint_eq(sample_freed_count, sampled_count);
    ck_assert_uint_eq(sum().allocation_count, sum().free_count);
    ck_assert_int_eq(sum().live_bytes, 0);
}
END_TEST

/* ---- threads ------------------------------------------------------------------------- */

enum { WORKERS = 4, EXCHANGE = 4096 };
static _Atomic(void *) exchange[EXCHANGE];

/* Every thread frees what any other thread put into the table, and puts in its own. */
static void *worker(void *argument)
{
    uint64_t state = (uint64_t)(uintptr_t)argument;
    attach();
    for (unsigned step = 0; step < 200000; step++) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        size_t bytes = 1 + (state >> 40) % (step % 100 ? 600 : 60000);
        unsigned *block = mt_pools_allocate(bytes + sizeof(unsigned));
        *block = (unsigned)bytes;
        memset(block + 1, (int)(bytes & 0xff), bytes);
        unsigned *old = atomic_exchange(&exchange[(state >> 33) % EXCHANGE], block);
        if (!old) continue;
        unsigned char *data = (unsigned char *)(old + 1);
        if (data[0] != (*old & 0xff) || data[*old - 1] != (*old & 0xff)) abort();
        mt_pools_free(old);
    }
    detach();
    return NULL;
}

static void run_workers(void)
{
    pthread_t threads[WORKERS];
    for (uintptr_t i = 0; i < WORKERS; i++) pthread_create(&threads[i], NULL, worker, (void *)(i + 1));
    for (unsigned i = 0; i < WORKERS; i++) pthread_join(threads[i], NULL);
}

START_TEST(blocks_cross_threads_and_counts_stay_exact)
{
    for (unsigned round = 0; round < 3; round++) run_workers();
    for (unsigned i = 0; i < EXCHANGE; i++) mt_pools_free(atomic_exchange(&exchange[i], NULL));
    struct mt_shard_sum now = sum();
    ck_assert_uint_eq(now.allocation_count, 3 * WORKERS * 200000);
    ck_assert_uint_eq(now.free_count, 3 * WORKERS * 200000);
    ck_assert_int_eq(now.live_bytes, 0);
    ck_assert_uint_gt(core.segment->pools.remote_free_count, 0);
}
END_TEST

enum { SENT = 5000 };
static pthread_barrier_t both;

static void *makes_and_stays(void *argument)
{
    void **blocks = argument;
    attach();
    for (unsigned i = 0; i < SENT; i++) blocks[i] = mt_pools_allocate(i % 2 ? 48 : 2000);
    pthread_barrier_wait(&both);
    pthread_barrier_wait(&both);
    detach();
    return NULL;
}

START_TEST(what_another_living_thread_frees_is_counted_once)
{
    static void *blocks[SENT];
    pthread_t thread;
    pthread_barrier_init(&both, NULL, 2);
    pthread_create(&thread, NULL, makes_and_stays, blocks);
    pthread_barrier_wait(&both);
    for (unsigned i = 0; i < SENT; i++) mt_pools_free(blocks[i]);
    detach(); /* sends what is not on its way yet */
    ck_assert_uint_eq(core.segment->pools.remote_free_count, SENT);
    pthread_barrier_wait(&both);
    pthread_join(thread, NULL);
    ck_assert_uint_eq(sum().free_count, SENT);
}
END_TEST

static void *makes_a_lot(void *argument)
{
    void **blocks = argument;
    attach();
    for (unsigned i = 0; i < 100000; i++) blocks[i] = mt_pools_allocate(200);
    detach();
    return NULL;
}

START_TEST(what_ended_threads_left_is_taken_over)
{
    static void *blocks[100000];
    pthread_t thread;
    pthread_create(&thread, NULL, makes_a_lot, blocks);
    pthread_join(thread, NULL);
    uint64_t reserved = core.segment->pools.slab_used_bytes;
    ck_assert_uint_gt(reserved, 20000000);
    usleep(200000);
    for (unsigned i = 0; i < 100000; i++) mt_pools_free(blocks[i]);
    mt_pools_trim();
    ck_assert_uint_lt(core.segment->pools.slab_used_bytes, reserved / 20);
    ck_assert_uint_eq(core.segment->pools.slab_dirty_bytes, 0);
    ck_assert_uint_ge(core.segment->pools.absorbed_heap_count, 1);
}
END_TEST

static void *short_life(void *argument)
{
    attach();
    void *one = mt_pools_allocate(100), *two = mt_pools_allocate(50000);
    mt_pools_free(one);
    mt_pools_free(two);
    detach();
    return argument;
}

START_TEST(ten_thousand_threads_need_few_heaps)
{
    for (unsigned i = 0; i < 10000; i++) {
        pthread_t thread;
        ck_assert_int_eq(pthread_create(&thread, NULL, short_life, NULL), 0);
        pthread_join(thread, NULL);
    }
    ck_assert_uint_le(core.segment->pools.heap_count, 4);
    ck_assert_uint_eq(sum().allocation_count, 20000);
    ck_assert_int_eq(sum().live_bytes, 0);
}
END_TEST

static void *without_a_heap(void *argument)
{
    void **blocks = argument;
    for (unsigned i = 0; i < 1000; i++) blocks[i] = mt_pools_allocate(i * 50);
    for (unsigned i = 0; i < 500; i++) mt_pools_free(blocks[i]);
    return NULL;
}

START_TEST(threads_without_a_heap_are_served_and_counted)
{
    static void *blocks[4][1000];
    pthread_t threads[4];
    for (unsigned i = 0; i < 4; i++) pthread_create(&threads[i], NULL, without_a_heap, blocks[i]);
    for (unsigned i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    ck_assert_uint_eq(sum().allocation_count, 4000);
    ck_assert_uint_eq(sum().free_count, 2000);
    for (unsigned i = 0; i < 4; i++)
        for (unsigned k = 500; k < 1000; k++) ck_assert(mt_pools_free(blocks[i][k]));
    ck_assert_int_eq(sum().live_bytes, 0);
}
END_TEST

START_TEST(after_its_heap_a_thread_still_allocates_and_frees)
{
    void *before = mt_pools_allocate(100);
    detach();
    void *after = mt_pools_allocate(100);
    ck_assert_ptr_nonnull(after);
    ck_assert_ptr_ne(after, before);
    ck_assert(mt_pools_free(before));
    ck_assert(mt_pools_free(after));
    ck_assert_int_eq(sum().live_bytes, 0);
    ck_assert_uint_eq(sum().free_count, 2);
}
END_TEST

/* ---- fork ---------------------------------------------------------------------------------- */

static _Atomic bool stop;

static void *churn(void *argument)
{
    attach();
    while (!atomic_load(&stop)) {
        void *blocks[50];
        for (unsigned i = 0; i < 50; i++) blocks[i] = mt_pools_allocate(i * 997);
        for (unsigned i = 0; i < 50; i++) mt_pools_free(blocks[i]);
    }
    detach();
    return argument;
}

static void child(void *inherited)
{
    mt_pools_after_fork_in_child();
    mt_core_after_fork_in_child(&core);
    if (!mt_core_ready(&core)) _exit(2);
    mt_pools_publish(&core);
    attach();
    for (unsigned i = 0; i < 2000; i++) {
        void *small = mt_pools_allocate(i), *large = mt_pools_allocate(i * 100);
        if (!small || !large) _exit(3);
        memset(small, 1, i);
        mt_pools_free(small);
        mt_pools_free(large);
    }
    mt_pools_free(inherited);
    if (core.path[0]) unlink(core.path);
    _exit(0);
}

START_TEST(a_child_forked_beside_busy_threads_works)
{
    pthread_t threads[3];
    void *inherited = mt_pools_allocate(100);
    for (unsigned i = 0; i < 3; i++) pthread_create(&threads[i], NULL, churn, NULL);
    for (unsigned i = 0; i < 200; i++) {
        mt_pools_before_fork();
        mt_core_before_fork(&core);
        pid_t pid = fork();
        if (!pid) child(inherited);
        mt_pools_after_fork_in_parent();
        int status;
        ck_assert_int_eq(waitpid(pid, &status, 0), pid);
        ck_assert_int_eq(status, 0);
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    mt_pools_free(inherited);
    ck_assert_int_eq(sum().live_bytes, 0);
}
END_TEST

/* ---- no memory ------------------------------------------------------------------------------- */

/* One of everything; what was had is freed again. Returns how many requests failed. */
static unsigned ask_for_everything(void)
{
    static const size_t sizes[] = {1, 100, 1000, 5000, 20000, 40000, 1 << 20, 20 << 20, 50 << 20};
    void *blocks[64];
    unsigned count = 0, failures = 0;
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        void *made[5] = {mt_pools_allocate(sizes[i]), mt_pools_allocate_zeroed(sizes[i]),
                         mt_pools_allocate_aligned(4096, sizes[i]), mt_pools_allocate(sizes[i]), NULL};
        void *moved = made[3] ? mt_pools_reallocate(made[3], sizes[i] * 3) : NULL;
        if (made[3] && !moved) failures++;
        if (moved) made[3] = moved;
        for (unsigned k = 0; k < 4; k++) {
            if (!made[k])
                failures++;
            else
                memset(made[k], 3, sizes[i] < 100000 ? sizes[i] : 100000);
            if (made[k]) blocks[count++] = made[k];
        }
    }
    for (unsigned i = 0; i < count; i++) ck_assert(mt_pools_free(blocks[i]));
    return failures;
}

START_TEST(each_request_for_memory_may_fail)
{
    unsigned n = 0, failed_ever = 0, misses = 0;
    for (; misses < 3; n++) {
        mt_os_fail_on = n % 2;
        mt_os_fail_at = n / 2;
        unsigned failures = ask_for_everything();
        bool was_reached = mt_os_fail_at < 0 || (n % 2 && mt_os_fail_at == 0);
        mt_os_fail_at = -1;
        ck_assert_int_eq(sum().live_bytes, 0);
        failed_ever += failures;
        misses = was_reached ? 0 : misses + 1;
        mt_pools_trim();
    }
    ck_assert_uint_gt(failed_ever, 0);
    ck_assert_uint_eq(ask_for_everything(), 0);
    ck_assert_int_eq(sum().live_bytes, 0);
}
END_TEST

START_TEST(sizes_that_cannot_be_are_refused)
{
    static const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 15, (size_t)PTRDIFF_MAX + 1, PTRDIFF_MAX, (size_t)1 << 48};
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        void *block = mt_pools_allocate(100);
        ck_assert_ptr_null(mt_pools_allocate(sizes[i]));
        ck_assert_ptr_null(mt_pools_allocate_zeroed(sizes[i]));
        ck_assert_ptr_null(mt_pools_allocate_aligned(64, sizes[i]));
        ck_assert_ptr_null(mt_pools_allocate_aligned((size_t)1 << 62, 100));
        ck_assert_ptr_null(mt_pools_reallocate(block, sizes[i]));
        mt_pools_free(block);
    }
    void *huge = mt_pools_allocate((size_t)40 << 20);
    ck_assert_ptr_null(mt_pools_reallocate(huge, (size_t)1 << 48));
    ck_assert_ptr_null(mt_pools_reallocate(huge, SIZE_MAX));
    mt_pools_free(huge);
    ck_assert_int_eq(sum().live_bytes, 0);
}
END_TEST

/* ---- memory goes back --------------------------------------------------------------------------- */

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
enum { SHADOWS_ARE_RESIDENT = 1 };
#else
enum { SHADOWS_ARE_RESIDENT = 0 };
#endif

static size_t resident_bytes(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%*d %ld", &pages) != 1) pages = 0;
    if (file) fclose(file);
    return (size_t)pages * 4096;
}

START_TEST(trimming_gives_memory_back)
{
    enum { COUNT = 200000 };
    static void *blocks[COUNT];
    size_t before = resident_bytes();
    for (unsigned i = 0; i < COUNT; i++) memset(blocks[i] = mt_pools_allocate(i % 1000), 1, i % 1000);
    void *large[20];
    for (unsigned i = 0; i < 20; i++) memset(large[i] = mt_pools_allocate(3 << 20), 1, 3 << 20);
    size_t full = resident_bytes();
    for (unsigned i = 0; i < COUNT; i++) mt_pools_free(blocks[i]);
    for (unsigned i = 0; i < 20; i++) mt_pools_free(large[i]);
    ck_assert(mt_pools_trim());
    size_t after = resident_bytes();
    ck_assert_uint_gt(full - before, 150000000);
    if (!SHADOWS_ARE_RESIDENT) ck_assert_uint_lt(after - before, 8000000);
    ck_assert_uint_eq(mt_pools_tlsf_used(&core.segment->pools), 0);
    ck_assert_uint_ge(core.segment->pools.tlsf_purged_bytes, (uint64_t)60 << 20);
    ck_assert_uint_le(core.segment->pools.tlsf_purged_bytes, (uint64_t)61 << 20);
    ck_assert(!mt_pools_trim());
}
END_TEST

START_TEST(idle_memory_goes_back_after_the_delay)
{
    mt_span_set_purge_delay(20000000);
    mt_mid_set_purge_delay(20000000);
    for (unsigned round = 0; round < 4; round++) {
        void *large[20];
        for (unsigned i = 0; i < 20; i++) memset(large[i] = mt_pools_allocate(3 << 20), 1, round ? 100 : 3 << 20);
        for (unsigned i = 0; i < 20; i++) mt_pools_free(large[i]);
        for (unsigned look = 0; look < 3; look++) {
            for (unsigned i = 0; i < 8; i++) mt_pools_free(mt_pools_allocate(100000));
            usleep(30000);
        }
    }
    ck_assert_uint_gt(core.segment->pools.tlsf_purged_bytes, (uint64_t)40 << 20);
    ck_assert_uint_lt(mt_pools_tlsf_dirty(&core.segment->pools), (uint64_t)2 << 20);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pools");
    TCase *tests = tcase_create("pools");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_set_timeout(tests, 300);
    tcase_add_test(tests, every_size_is_aligned_usable_and_in_its_class);
    tcase_add_test(tests, first_blocks_of_classes_lie_in_many_lines_of_their_pages);
    tcase_add_test(tests, live_blocks_never_overlap);
    tcase_add_test(tests, every_alignment_is_kept);
    tcase_add_test(tests, zeroed_blocks_are_zero_also_when_used_before);
    tcase_add_test(tests, reallocation_keeps_the_content);
    tcase_add_test(tests, a_block_that_is_resized_where_it_is_counts_as_such);
    tcase_add_test(tests, huge_blocks_grow_and_shrink);
    tcase_add_test(tests, pointers_of_others_are_left_alone);
    tcase_add_test(tests, counts_are_exact);
    tcase_add_test(tests, the_peak_of_one_thread_is_exact);
    tcase_add_test(tests, every_sampled_block_is_told_of_when_it_ends);
    tcase_add_test(tests, blocks_cross_threads_and_counts_stay_exact);
    tcase_add_test(tests, what_another_living_thread_frees_is_counted_once);
    tcase_add_test(tests, what_ended_threads_left_is_taken_over);
    tcase_add_test(tests, ten_thousand_threads_need_few_heaps);
    tcase_add_test(tests, threads_without_a_heap_are_served_and_counted);
    tcase_add_test(tests, after_its_heap_a_thread_still_allocates_and_frees);
    tcase_add_test(tests, a_child_forked_beside_busy_threads_works);
    tcase_add_test(tests, each_request_for_memory_may_fail);
    tcase_add_test(tests, sizes_that_cannot_be_are_refused);
    tcase_add_test(tests, trimming_gives_memory_back);
    tcase_add_test(tests, idle_memory_goes_back_after_the_delay);
    suite_add_tcase(suite, tests);
    return run_suite(suite, CK_FORK_GETENV);
}
