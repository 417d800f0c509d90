/*
 * Windows of sampled blocks and what they say of their call site. See
 * arena_learn.h.
 */
#include "arena_learn.h"

enum { SETTLED_FRAMES = MT_ARENA_YOUNG_FRAMES + 1 };

/* Without frames: what was not freed after so long has not died young. */
static const uint64_t SETTLED_NS = UINT64_C(1000000000);

static bool is_full(const struct mt_arena_window *window)
{
    return window->born >= MT_ARENA_WINDOW;
}

static void begin(struct mt_arena_window *window)
{
    uint16_t serial = (uint16_t)(window->serial + 1);
    *window = (struct mt_arena_window){.serial = serial ? serial : 1};
}

uint16_t mt_arena_window_born(struct mt_arena_window *window, const struct mt_arena_now *now)
{
    if (!window->serial) begin(window);
    if (is_full(window)) return 0;
    if (++window->born == MT_ARENA_WINDOW) {
        window->full_ns = now->ns;
        window->frame = now->frame;
    }
    return window->serial;
}

void mt_arena_window_died(struct mt_arena_window *window, uint16_t serial, bool is_young)
{
    if (!serial || serial != window->serial || window->young + window->old >= window->born) return;
    if (is_young)
        window->young++;
    else
        window->old++;
}

/* No block of the window can die young any more. */
static bool is_settled(const struct mt_arena_window *window, const struct mt_arena_now *now)
{
    if (!is_full(window)) return false;
    if (window->young + window->old == window->born) return true;
    if (window->frame) return now->frame - window->frame >= SETTLED_FRAMES;
    return now->ns - window->full_ns >= SETTLED_NS;
}

enum mt_arena_verdict mt_arena_window_judge(struct mt_arena_window *window, unsigned percent,
                                            const struct mt_arena_now *now)
{
    unsigned needed = (MT_ARENA_WINDOW * percent + 99) / 100;
    bool is_lost = window->old > MT_ARENA_WINDOW - needed;
    if (!is_lost && !is_settled(window, now)) return MT_ARENA_OPEN;
    bool dies_young = !is_lost && window->young >= needed;
    begin(window);
    return dies_young ? MT_ARENA_DIES_YOUNG : MT_ARENA_LIVES_ON;
}

bool mt_arena_is_young(const struct mt_arena_life *life)
{
    if (life->has_frames) return life->frames <= MT_ARENA_YOUNG_FRAMES;
    return life->is_own_thread && life->bytes <= MT_ARENA_YOUNG_BYTES;
}
