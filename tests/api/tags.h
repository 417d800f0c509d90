/*
 * What tags.c and tags.cpp do under tags, in numbers that test_api.sh knows: each thread keeps blocks of sizes
 * that no library asks for.
 */
#ifndef TAGS_H
#define TAGS_H

#include <memtrack.h>

#include <stdlib.h>

enum {
    LOADING = 100,
    LOADING_BYTES = 1000,
    TEXTURES = 50,
    TEXTURES_BYTES = 3000,
    TEXTURES_FREED = 30,
    UNTAGGED = 10,
    UNTAGGED_BYTES = 700,
    LARGE = 3,
    LARGE_BYTES = 200000,
};

static inline void keep(int count, size_t bytes, int freed)
{
    for (int i = 0; i < count; i++) {
        void *volatile block = malloc(bytes);
        if (i < freed) free(block);
    }
}

#endif
