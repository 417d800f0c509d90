/*
 * Bursts of blocks that die together, as a frame of a game makes them:
 * bench_bursts BLOCKS [shuffled|kept]. About twelve million blocks of 16 to 815
 * bytes in all, four times as many in short bursts, which take less time, freed from the last to the first, or in
 * another order, or with one in 200 that stays. Each block's first and last byte are written.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { ALL = 12000000, SHORT = 1000, KEPT_OF = 200 };

static uint32_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(*state >> 33);
}

static unsigned common_divisor(unsigned a, unsigned b)
{
    return b ? common_divisor(b, a % b) : a;
}

int main(int count, char **words)
{
    unsigned blocks = count > 1 ? (unsigned)strtoul(words[1], NULL, 10) : 3000, step = blocks - 1;
    int is_kept = count > 2 && !strcmp(words[2], "kept");
    unsigned all = blocks < SHORT ? 4 * ALL : ALL;
    if (!blocks) return 2;
    if (count > 2 && !strcmp(words[2], "shuffled"))
        for (step = blocks / 3 + 1; common_divisor(step, blocks) != 1; step++)
            ;
    char **made = calloc(blocks, sizeof *made), **kept = calloc(all / KEPT_OF + blocks, sizeof *kept);
    uint64_t seed = 3;
    unsigned kept_count = 0;
    if (!made || !kept) return 1;
    for (unsigned number = 0; number < all; number += blocks) {
        for (unsigned i = 0; i < blocks; i++) {
            size_t bytes = 16 + next_random(&seed) % 800;
            made[i] = malloc(bytes);
            if (!made[i]) return 1;
            made[i][0] = made[i][bytes - 1] = 1;
        }
        unsigned at = blocks - 1;
        for (unsigned i = 0; i < blocks; i++, at = (unsigned)(((uint64_t)at + step) % blocks))
            if (is_kept && (number + i) % KEPT_OF == 0)
                kept[kept_count++] = made[at];
            else
                free(made[at]);
    }
    while (kept_count) free(kept[--kept_count]);
    free(kept);
    free(made);
    return 0;
}
