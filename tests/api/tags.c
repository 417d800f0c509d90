/*
 * Blocks under tags, in C: `tags THREADS [fork|unbalanced|many|frames|budgets|signals|peak]`. Threads do the same
 * one beside the other. Prints what memtrack answers.
 */
#include "tags.h"

#include <inttypes.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static void textures(void)
{
    MEMTRACK_TAG("textures");
    keep(TEXTURES, TEXTURES_BYTES, TEXTURES_FREED);
}

static void *load(void *unused)
{
    char name[] = "loading"; /* names are copied */
    memtrack_push_tag(name);
    memset(name, 'x', sizeof name - 1);
    keep(LOADING, LOADING_BYTES, 0);
    textures();
    {
        MEMTRACK_TAG(NULL);
        keep(UNTAGGED, UNTAGGED_BYTES, 0);
    }
    keep(LARGE, LARGE_BYTES, 0);
    memtrack_pop_tag();
    return unused;
}

/* Comes at any moment, also in the middle of a push or of an allocation; leaves no trace. */
static void interrupt(int signal)
{
    (void)signal;
    MEMTRACK_TAG("in a handler");
    MEMTRACK_TAG("and deeper");
}

static void start_interrupts(void)
{
    struct sigaction action = {.sa_handler = interrupt, .sa_flags = SA_RESTART};
    struct itimerval often = {.it_interval = {.tv_usec = 50}, .it_value = {.tv_usec = 50}};
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
}

/* What load() does, for long enough. */
static void *load_often(void *unused)
{
    for (int i = 0; i < 100; i++) load(NULL);
    return unused;
}

/* The next thread may get what this one leaves, but not its tag. */
static void *end_inside(void *unused)
{
    memtrack_push_tag("left behind");
    keep(5, 900, 0);
    return unused;
}

static void *come_after(void *unused)
{
    keep(7, 900, 0);
    return unused;
}

static void run(int threads, void *(*routine)(void *))
{
    pthread_t all[64];
    for (int i = 0; i < threads; i++)
        if (pthread_create(&all[i], NULL, routine, NULL)) exit(2);
    for (int i = 0; i < threads; i++) pthread_join(all[i], NULL);
}

/* All threads hold their blocks at once, and free them; other blocks come and go meanwhile. */
static pthread_barrier_t barrier;
static _Atomic uint64_t held_bytes;

static void *rise_and_fall(void *unused)
{
    void *blocks[200];
    for (int i = 0; i < 200; i++) {
        MEMTRACK_TAG("rises");
        blocks[i] = malloc(300 + 90 * (size_t)i);
        held_bytes += malloc_usable_size(blocks[i]);
        MEMTRACK_TAG("beside");
        free(malloc(2000));
    }
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < 200; i++) free(blocks[i]);
    return unused;
}

/* The peak that is told, and its error, against what was held. */
static void check_peak(int threads)
{
    struct memtrack_statistics rises;
    pthread_barrier_init(&barrier, NULL, (unsigned)threads);
    if (threads > 1)
        run(threads, rise_and_fall);
    else
        rise_and_fall(NULL);
    int is_known = memtrack_query_tag("rises", &rises);
    uint64_t most = rises.peak_bytes + rises.peak_error_bytes, least = rises.peak_bytes - rises.peak_error_bytes;
    int holds = rises.peak_error_bytes <= rises.peak_bytes ? least <= held_bytes && held_bytes <= most
                                                           : held_bytes <= most;
    printf("rises %d live %" PRIu64 " right %d near %d\n", is_known, rises.current_bytes, holds,
           rises.peak_error_bytes < held_bytes / 2);
    if (!holds || rises.peak_error_bytes >= held_bytes / 2)
        printf("held %" PRIu64 ", told %" PRIu64 " +- %" PRIu64 "\n", held_bytes, rises.peak_bytes,
               rises.peak_error_bytes);
}

static void print(const char *what, int is_known, const struct memtrack_statistics *s)
{
    printf("%s %d known %" PRIu64 " calls %" PRIu64 " frees %" PRIu64 " total %" PRIu64 " live %" PRIu64
           " peak %d\n",
           what, is_known, s->known, s->allocation_count, s->free_count, s->total_bytes, s->current_count,
           s->peak_bytes >= s->current_bytes && s->peak_bytes > 0);
}

static void ask(void)
{
    struct memtrack_statistics statistics;
    int is_known = memtrack_query_tag("loading", &statistics);
    print("loading", is_known, &statistics);
    is_known = memtrack_query_tag("textures", &statistics);
    print("textures", is_known, &statistics);
    is_known = memtrack_query_tag("never said", &statistics);
    print("never", is_known, &statistics);
    is_known = memtrack_query_device_heap(0, &statistics);
    print("heap", is_known, &statistics);
    is_known = memtrack_query_all(&statistics);
    printf("all %d %d\n", is_known, statistics.allocation_count > 150 && statistics.peak_bytes > 200000);
    printf("tracking %d\n", memtrack_is_tracking());
}

static void fork_inside(void)
{
    MEMTRACK_TAG("forked");
    memtrack_set_budget("forked", 10000);
    keep(4, 5000, 0);
    pid_t child = fork();
    if (!child) {
        keep(20, 100, 0);
        {
            MEMTRACK_TAG("in the child");
            keep(6, 300, 0);
        }
        _exit(0);
    }
    keep(8, 100, 0);
    waitpid(child, NULL, 0);
}

/* More names than there is room for, of any bytes. */
static void say_many(void)
{
    char name[64];
    for (int i = 0; i < 600; i++) {
        snprintf(name, sizeof name, "tag \"%d\"\n\t\x80\xff<&>", i);
        MEMTRACK_TAG(name);
        keep(1, 123, 0);
    }
    for (int i = 0; i < 2000; i++) memtrack_push_tag("deep");
    keep(9, 50, 0);
    for (int i = 0; i < 2000; i++) memtrack_pop_tag();
}

static void mark_frames(void)
{
    keep(40, 60, 0);
    memtrack_mark_frame();
    for (int i = 0; i < 10; i++) {
        keep(i == 5 ? 100 : 2, 60, 0);
        memtrack_mark_frame();
    }
}

int main(int count, char **words)
{
    int threads = count > 1 ? atoi(words[1]) : 1;
    const char *what = count > 2 ? words[2] : "";
    if (!strcmp(what, "budgets")) {
        int is_set = memtrack_set_budget("textures", 50000) & memtrack_set_budget("loading", 1) &
                     memtrack_set_budget("loading", UINT64_C(1) << 40) & memtrack_set_budget("never said", 100) &
                     memtrack_set_budget("none", 100) & memtrack_set_budget("none", 0);
        printf("budgets %d\n", is_set);
    }
    if (!strcmp(what, "peak")) {
        check_peak(threads);
        return 0;
    }
    bool is_interrupted = !strcmp(what, "signals");
    if (is_interrupted) start_interrupts();
    if (threads > 1)
        run(threads, is_interrupted ? load_often : load);
    else
        load(NULL);
    if (!strcmp(what, "fork")) fork_inside();
    if (!strcmp(what, "unbalanced")) {
        run(1, end_inside);
        run(1, come_after);
        for (int i = 0; i < 3; i++) memtrack_pop_tag();
    }
    if (!strcmp(what, "many")) say_many();
    if (!strcmp(what, "frames")) mark_frames();
    ask();
    return 0;
}
