/*
 * The classic patterns of allocation, one a run: bench_patterns PATTERN [SCALE].
 * Each does a fixed amount of work, touches what it allocates and checks a byte
 * of it, so that runs under different allocators are comparable in time and size.
 */
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 20000, THREADS = 2, QUEUE = 1 << 14 };

static unsigned scale = 10;

static uint32_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*state >> 33);
}

static char *make(size_t bytes)
{
    char *block = malloc(bytes);
    if (!block) abort();
    block[0] = block[bytes - 1] = (char)bytes;
    return block;
}

static void drop(char *block, size_t bytes)
{
    if (block[0] != (char)bytes || block[bytes - 1] != (char)bytes) abort();
    free(block);
}

/* Random blocks replaced in a table; sizes up to limit, small ones more often. */
static void replace(size_t limit, unsigned steps, unsigned slots, uint64_t seed)
{
    char **blocks = calloc(slots, sizeof *blocks);
    size_t *sizes = calloc(slots, sizeof *sizes);
    for (unsigned step = 0; step < steps; step++) {
        unsigned i = next_random(&seed) % slots;
        if (blocks[i]) drop(blocks[i], sizes[i]);
        sizes[i] = 8 + next_random(&seed) % (next_random(&seed) % limit + 1);
        blocks[i] = make(sizes[i]);
    }
    for (unsigned i = 0; i < slots; i++)
        if (blocks[i]) drop(blocks[i], sizes[i]);
    free(blocks);
    free(sizes);
}

static void churn(void)
{
    for (unsigned i = 0; i < 6000000 * scale; i++) {
        size_t bytes = 16 + i % 16 * 24;
        drop(make(bytes), bytes);
    }
}

static void random_sizes(void)
{
    replace(2000, 700000 * scale, SLOTS, 1);
}

static void large(void)
{
    replace(8 << 20, 80000 * scale, 40, 2);
}

static void growth(void)
{
    for (unsigned round = 0; round < 18000 * scale; round++) {
        size_t bytes = 16;
        char *text = make(bytes), *list = NULL;
        for (unsigned i = 1; bytes < 400000; i++) {
            bytes += bytes / 8 + 16;
            text = realloc(text, bytes);
            list = realloc(list, i * sizeof(void *));
            if (!text || !list) abort();
            text[bytes - 1] = 1;
        }
        free(text);
        free(list);
    }
}

static void *serve(void *seed)
{
    replace(1000, 1000000 * scale, 5000, (uint64_t)(uintptr_t)seed);
    return NULL;
}

static void on_threads(void *(*work)(void *), unsigned count)
{
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < count; i++) pthread_create(&threads[i], NULL, work, (void *)(i + 1));
    for (unsigned i = 0; i < count; i++) pthread_join(threads[i], NULL);
}

static void server(void)
{
    on_threads(serve, THREADS);
}

static char *_Atomic queue[QUEUE];

/* One thread allocates and the other one frees. */
static void *hand_over(void *number)
{
    unsigned count = 1000000 * scale;
    for (unsigned i = 0; i < count; i++) {
        char *_Atomic *slot = &queue[i % QUEUE];
        size_t bytes = 16 + i % 64 * 8;
        char *block = (uintptr_t)number == 1 ? make(bytes) : NULL;
        if (block) {
            while (*slot) sched_yield();
            *slot = block;
        } else {
            while (!(block = *slot)) sched_yield();
            *slot = NULL;
            drop(block, bytes);
        }
    }
    return NULL;
}

static void remote(void)
{
    on_threads(hand_over, 2);
}

static void *live_shortly(void *seed)
{
    replace(500, 500, 100, (uint64_t)(uintptr_t)seed);
    return NULL;
}

static void threads(void)
{
    for (unsigned i = 0; i < 1500 * scale; i++) on_threads(live_shortly, THREADS);
}

/* A burst of blocks that all die at the frame's end, beside a few that stay. */
static void frames(void)
{
    enum { BLOCKS = 3000 };
    char *blocks[BLOCKS], *kept[64] = {0};
    size_t sizes[BLOCKS];
    uint64_t seed = 3;
    for (unsigned frame = 0; frame < 400 * scale; frame++) {
        for (unsigned i = 0; i < BLOCKS; i++) blocks[i] = make(sizes[i] = 16 + next_random(&seed) % 800);
        free(kept[frame % 64]);
        kept[frame % 64] = make(5000);
        for (unsigned i = BLOCKS; i-- > 0;) drop(blocks[i], sizes[i]);
    }
    for (unsigned i = 0; i < 64; i++) free(kept[i]);
}

static const struct {
    const char *name;
    void (*run)(void);
} patterns[] = {{"churn", churn},   {"random", random_sizes}, {"large", large},     {"growth", growth},
                {"server", server}, {"remote", remote},       {"threads", threads}, {"frames", frames}};

int main(int count, char **words)
{
    if (count > 2) scale = (unsigned)strtoul(words[2], NULL, 10);
    for (unsigned i = 0; count > 1 && i < sizeof patterns / sizeof *patterns; i++)
        if (!strcmp(words[1], patterns[i].name)) {
            patterns[i].run();
            return 0;
        }
    for (unsigned i = 0; i < sizeof patterns / sizeof *patterns; i++) puts(patterns[i].name);
    return 2;
}
