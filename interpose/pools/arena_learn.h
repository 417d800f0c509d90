/*
 * Whether the blocks of a call site die young: sampled blocks are looked at in
 * windows of a fixed number, and a window is judged when all its blocks are
 * gone or have had time to go. Pure functions of their arguments; the caller
 * keeps two threads from one window.
 */
#ifndef MT_POOLS_ARENA_LEARN_H
#define MT_POOLS_ARENA_LEARN_H

#include <stdbool.h>
#include <stdint.h>

enum {
    MT_ARENA_WINDOW = 64,           /* blocks of a window: with 64 of 64, 95 % certain that less than 5 % live on */
    MT_ARENA_YOUNG_PERCENT = 99,    /* so many must die young for a site to be taken up */
    MT_ARENA_KEEP_PERCENT = 95,     /* and so many for it to stay */
    MT_ARENA_YOUNG_FRAMES = 1,      /* young: freed in its own frame or in the next one */
    MT_ARENA_YOUNG_BYTES = 4 << 20, /* without frames: before its thread asked for so many bytes more */
    /*
     * Slabs are as fast where blocks come back while the caches still hold
     * them: on average a site's must live so long, in bytes that their thread
     * asks for meanwhile, to be taken up, and a part of that to stay.
     */
    MT_ARENA_WORTH_BYTES = 1 << 20,
    MT_ARENA_WORTH_PART = 8,
};

struct mt_arena_window {
    uint16_t serial;         /* of the window; 0 = none was begun */
    uint16_t born, young;    /* its blocks, and those that died young */
    uint16_t old;            /* and those that died later */
    uint64_t young_bytes;    /* that their threads asked for while the young ones lived */
    uint64_t full_ns, frame; /* when its last block was made */
};

struct mt_arena_now {
    uint64_t ns;    /* CLOCK_MONOTONIC */
    uint64_t frame; /* frames ended so far; 0 = there are none */
};

enum mt_arena_verdict { MT_ARENA_OPEN, MT_ARENA_DIES_YOUNG, MT_ARENA_LIVES_ON };

/* A sampled block was made. Returns the serial that it is to be remembered by, 0 when it does not count. */
uint16_t mt_arena_window_born(struct mt_arena_window *window, const struct mt_arena_now *now);
/* A block that was remembered by a serial is freed. lived_bytes: what its thread asked for meanwhile. */
void mt_arena_window_died(struct mt_arena_window *window, uint16_t serial, bool is_young, uint64_t lived_bytes);
/*
 * The verdict on a window, for a site that is taken up or one that is not;
 * when it is not OPEN, the next block begins the next window.
 */
enum mt_arena_verdict mt_arena_window_judge(struct mt_arena_window *window, bool is_taken_up,
                                            const struct mt_arena_now *now);

/* What is known of a freed block's life. */
struct mt_arena_life {
    bool has_frames;    /* the program had ended a frame when it was made */
    uint64_t frames;    /* ended since */
    bool is_own_thread; /* it is freed by the thread that made it */
    uint64_t bytes;     /* that thread has asked for since */
};
bool mt_arena_is_young(const struct mt_arena_life *life);

#endif
