/*
 * What a malloc and a free cost as something grows: nanoseconds of the
 * thread's own processor time for one pair, the least of several repeats.
 *   bench_scale size BYTES      a few blocks of one size, replaced in turn
 *   bench_scale live COUNT      that many live blocks of 16 bytes; neighbours replaced at random places
 *   bench_scale touched COUNT   the same walk without an allocator: what the processor's memory alone costs
 *   bench_scale threads COUNT   each thread replaces small blocks of mixed sizes
 * Every block's first byte is written, as programs do.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { REPEATS = 5, MOST_THREADS = 64, WINDOW = 512, NEIGHBOURS = 64 };

static double now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time); /* other load on the machine does not count */
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static uint64_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

static void replace(char **at, size_t bytes)
{
    free(*at);
    *at = malloc(bytes);
    if (!*at) abort();
    *(volatile char *)*at = 1;
}

/* ---- one size ---------------------------------------------------------------------- */

static double of_size(size_t bytes)
{
    char *blocks[WINDOW] = {0};
    size_t window = ((size_t)256 << 20) / bytes, pairs = ((size_t)2 << 30) / bytes;
    if (window > WINDOW) window = WINDOW;
    if (window < 2) window = 2;
    if (pairs > 2000000) pairs = 2000000;
    if (pairs < 20000) pairs = 20000; /* the clock costs about as much as 50 of them */
    double best = 1e18;
    for (unsigned repeat = 0; repeat <= REPEATS; repeat++) { /* the first one warms up */
        double start = now_ns();
        for (size_t i = 0; i < pairs; i++) replace(&blocks[i % window], bytes);
        double spent = (now_ns() - start) / (double)pairs;
        if (repeat && spent < best) best = spent;
    }
    return best;
}

/* ---- live blocks --------------------------------------------------------------------- */

static void *map(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) abort();
    return at;
}

/* What is written at least where a block is freed and handed out again: its first word, the pointer, its first
 * byte. */
static __attribute__((noinline)) void touch(char **at)
{
    static char *volatile free_list;
    char *block = *at;
    *(char *volatile *)(void *)block = free_list;
    *(char *volatile *)at = block;
    *(volatile char *)block = 1;
}

static double of_live(size_t count, bool is_allocated)
{
    enum { BYTES = 16, PLACES = 4000 };
    if (count < NEIGHBOURS) return 0;
    char **blocks = map(count * sizeof *blocks), *own = is_allocated ? NULL : map(count * BYTES);
    for (size_t i = 0; i < count; i++) {
        if (own) blocks[i] = own + i * BYTES;
        own ? touch(&blocks[i]) : replace(&blocks[i], BYTES);
    }
    uint64_t random = 1;
    double best = 1e18;
    for (unsigned repeat = 0; repeat < REPEATS; repeat++) {
        double start = now_ns();
        for (unsigned place = 0; place < PLACES; place++) {
            size_t first = next_random(&random) % (count - NEIGHBOURS + 1);
            for (unsigned i = 0; i < NEIGHBOURS && is_allocated; i++) replace(&blocks[first + i], BYTES);
            for (unsigned i = 0; i < NEIGHBOURS && !is_allocated; i++) touch(&blocks[first + i]);
        }
        double spent = (now_ns() - start) / (PLACES * (double)NEIGHBOURS);
        if (spent < best) best = spent;
    }
    return best;
}

/* ---- threads ---------------------------------------------------------------------------- */

struct worker {
    pthread_t thread;
    double best_ns;
};

static void *work(void *argument)
{
    enum { PAIRS = 100000 };
    struct worker *worker = argument;
    char *window[WINDOW] = {0};
    uint64_t random = (uint64_t)(uintptr_t)argument;
    worker->best_ns = 1e18;
    for (unsigned repeat = 0; repeat < REPEATS; repeat++) {
        double start = now_ns();
        for (unsigned i = 0; i < PAIRS; i++)
            replace(&window[next_random(&random) % WINDOW], 16 + next_random(&random) % 240);
        double spent = (now_ns() - start) / PAIRS;
        if (spent < worker->best_ns) worker->best_ns = spent;
    }
    for (unsigned i = 0; i < WINDOW; i++) free(window[i]);
    return NULL;
}

static double of_threads(size_t count)
{
    static struct worker workers[MOST_THREADS];
    double sum = 0;
    if (count > MOST_THREADS) count = MOST_THREADS;
    for (size_t i = 0; i < count; i++)
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i])) abort();
    for (size_t i = 0; i < count; i++) {
        pthread_join(workers[i].thread, NULL);
        sum += workers[i].best_ns;
    }
    return sum / (double)count;
}

int main(int count, char **words)
{
    size_t value = count > 2 ? strtoull(words[2], NULL, 10) : 0;
    if (!value) return 2;
    double ns = 0;
    if (!strcmp(words[1], "size"))
        ns = of_size(value);
    else if (!strcmp(words[1], "live"))
        ns = of_live(value, true);
    else if (!strcmp(words[1], "touched"))
        ns = of_live(value, false);
    else if (!strcmp(words[1], "threads"))
        ns = of_threads(value);
    else
        return 2;
    printf("%.1f\n", ns);
    return 0;
}
