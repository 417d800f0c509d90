/*
 * Nanoseconds per malloc+free pair: `bench_pairs THREADS [SECONDS]`. Each
 * thread keeps a window of blocks of mixed small sizes and replaces one per
 * step, as programs do. Prints one number, the mean over the threads of their
 * own processor time: other load on the machine must not count.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { WINDOW = 512, BATCH = 1 << 16, MAX_THREADS = 64 };

struct worker {
    pthread_t thread;
    double seconds, ns_per_pair;
};

/* The thread's own processor time: more threads than cores, or a busy machine, change nothing. */
static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* xorshift64: cheap, and the same sizes in every run. */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void replace_blocks(void **window, uint64_t *state)
{
    for (unsigned i = 0; i < BATCH; i++) {
        uint64_t random = next_random(state);
        unsigned at = (unsigned)random % WINDOW;
        free(window[at]);
        char *block = malloc(16 + (size_t)(random >> 32) % 240);
        if (!block) abort();
        *(volatile char *)block = 1;
        window[at] = block;
    }
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    void *window[WINDOW] = {0};
    uint64_t state = 88172645463325252u, pairs = 0;
    replace_blocks(window, &state);
    double start = now(), end;
    do {
        replace_blocks(window, &state);
        pairs += BATCH;
        end = now();
    } while (end - start < worker->seconds);
    worker->ns_per_pair = (end - start) * 1e9 / (double)pairs;
    for (unsigned i = 0; i < WINDOW; i++) free(window[i]);
    return NULL;
}

int main(int argc, char **argv)
{
    static struct worker workers[MAX_THREADS];
    int threads = argc > 1 ? atoi(argv[1]) : 1;
    double seconds = argc > 2 ? atof(argv[2]) : 0.5, sum = 0;
    if (threads < 1 || threads > MAX_THREADS) return 2;
    for (int i = 0; i < threads; i++) {
        workers[i].seconds = seconds;
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i])) return 1;
    }
    for (int i = 0; i < threads; i++) {
        pthread_join(workers[i].thread, NULL);
        sum += workers[i].ns_per_pair;
    }
    printf("%.2f\n", sum / threads);
    return 0;
}
