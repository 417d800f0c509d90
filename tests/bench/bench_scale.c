/*
 * What a malloc and a free cost as something grows: nanoseconds of the
 * thread's own processor time for one pair, the least of several repeats.
 *   bench_scale size BYTES      a few blocks of one size, replaced in turn
 *   bench_scale live COUNT      that many live blocks of 16 bytes; neighbours replaced at random places
 *   bench_scale oldest COUNT    the same blocks; the oldest one is replaced each time
 *   bench_scale threads COUNT   each thread replaces small blocks of mixed sizes
 *   bench_scale large COUNT     each thread replaces blocks of 1 MiB in turn
 * Every block's first byte is written, as programs do. All but "threads" with
 * "-alone" behind the word are the same walk without an allocator, over blocks
 * that lie one behind the other: what the processor's memory alone costs.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { LEAST_REPEATS = 5, MOST_REPEATS = 60, MOST_THREADS = 64, WINDOW = 512, NEIGHBOURS = 64 };

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

static void *map(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) abort();
    return at;
}

static void replace(char **at, size_t bytes)
{
    free(*at);
    *at = malloc(bytes);
    if (!*at) abort();
    *(volatile char *)*at = 1;
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

/* ---- repeats ------------------------------------------------------------------------- */

struct best {
    double start, spent, least;
    double enough_ns; /* 0: the usual */
    unsigned repeats;
};

static const double usual_ns = 3e8;

/* Short ones are repeated more often: what else the machine does hits some of them. */
static bool goes_on(struct best *best)
{
    double enough_ns = best->enough_ns > 0 ? best->enough_ns : usual_ns;
    if (best->repeats >= MOST_REPEATS || (best->repeats > LEAST_REPEATS && best->spent > enough_ns)) return false;
    best->start = now_ns();
    return true;
}

/* The first one warms up. */
static void take(struct best *best, double pairs)
{
    double spent = now_ns() - best->start;
    best->spent += spent;
    if (best->repeats++ && (best->least == 0 || spent / pairs < best->least)) best->least = spent / pairs;
}

/* ---- one size ---------------------------------------------------------------------- */

static double of_size(size_t bytes, bool is_allocated)
{
    char *blocks[WINDOW] = {0};
    size_t window = ((size_t)256 << 20) / bytes, pairs = ((size_t)2 << 30) / bytes;
    if (window > WINDOW) window = WINDOW;
    if (window < 2) window = 2;
    if (pairs > 2000000) pairs = 2000000;
    if (pairs < 20000) pairs = 20000; /* the clock costs about as much as 50 of them */
    char *own = is_allocated ? NULL : map(window * bytes);
    for (size_t i = 0; own && i < window; i++) blocks[i] = own + i * bytes;
    struct best best = {0};
    while (goes_on(&best)) {
        for (size_t i = 0; i < pairs; i++) own ? touch(&blocks[i % window]) : replace(&blocks[i % window], bytes);
        take(&best, (double)pairs);
    }
    return best.least;
}

/* ---- live blocks --------------------------------------------------------------------- */

enum { BYTES = 16 };

static char **make_live(size_t count, bool is_allocated)
{
    char **blocks = map(count * sizeof *blocks), *own = is_allocated ? NULL : map(count * BYTES);
    for (size_t i = 0; i < count; i++) {
        if (own) blocks[i] = own + i * BYTES;
        own ? touch(&blocks[i]) : replace(&blocks[i], BYTES);
    }
    return blocks;
}

static double of_live(size_t count, bool is_allocated)
{
    enum { PLACES = 4000 };
    char **blocks = make_live(count, is_allocated);
    uint64_t random = 1;
    struct best best = {0};
    while (count >= NEIGHBOURS && goes_on(&best)) {
        for (unsigned place = 0; place < PLACES; place++) {
            size_t first = next_random(&random) % (count - NEIGHBOURS + 1);
            for (unsigned i = 0; i < NEIGHBOURS && is_allocated; i++) replace(&blocks[first + i], BYTES);
            for (unsigned i = 0; i < NEIGHBOURS && !is_allocated; i++) touch(&blocks[first + i]);
        }
        take(&best, PLACES * (double)NEIGHBOURS);
    }
    return best.least;
}

static double of_oldest(size_t count, bool is_allocated)
{
    enum { PAIRS = 256000 };
    char **blocks = make_live(count, is_allocated);
    size_t oldest = 0;
    struct best best = {0};
    while (goes_on(&best)) {
        for (unsigned i = 0; i < PAIRS; i++) {
            is_allocated ? replace(&blocks[oldest], BYTES) : touch(&blocks[oldest]);
            if (++oldest == count) oldest = 0;
        }
        take(&best, PAIRS);
    }
    return best.least;
}

/* ---- threads ---------------------------------------------------------------------------- */

struct worker {
    pthread_t thread;
    double enough_ns, best_ns;
};

static pthread_barrier_t all_are_there; /* the threads begin together */

static void *work(void *argument)
{
    enum { PAIRS = 100000 };
    struct worker *worker = argument;
    char *window[WINDOW] = {0};
    uint64_t random = (uint64_t)(uintptr_t)argument;
    struct best best = {0};
    pthread_barrier_wait(&all_are_there);
    while (goes_on(&best)) {
        for (unsigned i = 0; i < PAIRS; i++)
            replace(&window[next_random(&random) % WINDOW], 16 + next_random(&random) % 240);
        take(&best, PAIRS);
    }
    for (unsigned i = 0; i < WINDOW; i++) free(window[i]);
    worker->best_ns = best.least;
    return NULL;
}

enum { LARGE_BLOCKS = 64, LARGE_BYTES = 1 << 20 };

/* A repeat goes 200 times through the blocks, which is less than a thread's turn on a processor. */
static void repeat_large(struct worker *worker, char **window, bool is_allocated)
{
    enum { PAIRS = 200 * LARGE_BLOCKS };
    struct best best = {.enough_ns = worker->enough_ns};
    pthread_barrier_wait(&all_are_there);
    while (goes_on(&best)) {
        for (unsigned i = 0; i < PAIRS && is_allocated; i++) replace(&window[i % LARGE_BLOCKS], LARGE_BYTES);
        for (unsigned i = 0; i < PAIRS && !is_allocated; i++) touch(&window[i % LARGE_BLOCKS]);
        take(&best, PAIRS);
    }
    worker->best_ns = best.least;
}

static void *work_large(void *argument)
{
    char *window[LARGE_BLOCKS] = {0};
    repeat_large(argument, window, true);
    for (unsigned i = 0; i < LARGE_BLOCKS; i++) free(window[i]);
    return NULL;
}

static void *work_large_alone(void *argument)
{
    char *window[LARGE_BLOCKS], *own = map((size_t)LARGE_BLOCKS * LARGE_BYTES);
    for (size_t i = 0; i < LARGE_BLOCKS; i++) window[i] = own + i * LARGE_BYTES;
    repeat_large(argument, window, false);
    return NULL;
}

/* The more threads there are, the shorter each goes on, but for several turns on a processor. */
static double enough_of(size_t threads)
{
    const double least_ns = 2e7;
    double ns = 2 * usual_ns / (double)threads;
    return ns > usual_ns ? usual_ns : ns < least_ns ? least_ns : ns;
}

static double of_threads(size_t count, void *(*what)(void *))
{
    static struct worker workers[MOST_THREADS];
    double sum = 0;
    if (count > MOST_THREADS) count = MOST_THREADS;
    if (pthread_barrier_init(&all_are_there, NULL, (unsigned)count)) abort();
    for (size_t i = 0; i < count; i++) {
        workers[i].enough_ns = enough_of(count);
        if (pthread_create(&workers[i].thread, NULL, what, &workers[i])) abort();
    }
    for (size_t i = 0; i < count; i++) {
        pthread_join(workers[i].thread, NULL);
        sum += workers[i].best_ns;
    }
    return sum / (double)count;
}

static double measure(const char *what, size_t value)
{
    if (!strcmp(what, "size")) return of_size(value, true);
    if (!strcmp(what, "size-alone")) return of_size(value, false);
    if (!strcmp(what, "live")) return of_live(value, true);
    if (!strcmp(what, "live-alone")) return of_live(value, false);
    if (!strcmp(what, "oldest")) return of_oldest(value, true);
    if (!strcmp(what, "oldest-alone")) return of_oldest(value, false);
    if (!strcmp(what, "threads")) return of_threads(value, work);
    if (!strcmp(what, "large")) return of_threads(value, work_large);
    return strcmp(what, "large-alone") ? 0 : of_threads(value, work_large_alone);
}

int main(int count, char **words)
{
    size_t value = count > 2 ? strtoull(words[2], NULL, 10) : 0;
    double ns = value ? measure(words[1], value) : 0;
    if (ns <= 0) return 2;
    printf("%.1f\n", ns);
    return 0;
}
