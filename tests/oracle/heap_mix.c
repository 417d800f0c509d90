/*
 * A deterministic single-threaded program for the comparison with valgrind:
 * every function of the family, sizes from 0 to megabytes, in an order drawn
 * from a fixed generator. argv[1] chooses one kind; without it, all of them.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SLOTS = 512 };
static void *slot[SLOTS];
static uint32_t state = 12345;
static volatile uintptr_t sink;

static uint32_t draw(uint32_t limit)
{
    state = state * 1664525u + 1013904223u;
    return (state >> 8) % limit;
}

static size_t draw_size(void)
{
    switch (draw(8)) {
    case 0: return draw(16);
    case 1: return draw(4096);
    case 2: return draw(200) == 0 ? draw(4u << 20) : draw(70000);
    default: return draw(400);
    }
}

static void keep(unsigned at, void *block)
{
    free(slot[at]);
    slot[at] = block;
    sink += (uintptr_t)block;
}

static void plain_blocks(void)
{
    for (int n = 0; n < 20000; n++) keep(draw(SLOTS), malloc(draw_size()));
}

static void zeroed_blocks(void)
{
    for (int n = 0; n < 10000; n++) keep(draw(SLOTS), calloc(draw(20), draw(300)));
}

static void moved_blocks(void)
{
    for (int n = 0; n < 20000; n++) {
        unsigned at = draw(SLOTS);
        void *block = realloc(slot[at], draw_size() + 1);
        if (block) slot[at] = block;
    }
    for (int n = 0; n < 2000; n++) {
        unsigned at = draw(SLOTS);
        void *block = reallocarray(slot[at], draw(30) + 1, draw(50) + 1);
        if (block) slot[at] = block;
    }
}

static void aligned_blocks(void)
{
    for (int n = 0; n < 6000; n++) {
        size_t alignment = (size_t)16 << draw(9);
        void *block = NULL;
        switch (draw(4)) {
        case 0: block = memalign(alignment, draw_size()); break;
        case 1: block = aligned_alloc(alignment, alignment * (draw(4) + 1)); break;
        case 2: block = valloc(draw(9000)); break;
        default:
            if (posix_memalign(&block, alignment, draw_size())) block = NULL;
            break;
        }
        keep(draw(SLOTS), block);
    }
}

static void library_blocks(void)
{
    for (int n = 0; n < 3000; n++) keep(draw(SLOTS), strdup("some words that are copied"));
    for (int n = 0; n < 3000; n++) keep(draw(SLOTS), strndup("some words that are copied", draw(20)));
}

int main(int argc, char **argv)
{
    static void (*const kinds[])(void) = {plain_blocks, zeroed_blocks, moved_blocks, aligned_blocks,
                                          library_blocks};
    int only = argc > 1 ? atoi(argv[1]) : -1;
    for (int n = 0; n < 5; n++) {
        if (only < 0 || only == n) kinds[n]();
    }
    /* Every second block is left to leak. */
    for (unsigned n = 0; n < SLOTS; n += 2) free(slot[n]);
    return 0;
}
