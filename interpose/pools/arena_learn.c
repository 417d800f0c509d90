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

void mt_arena_window_died(struct mt_arena_window *window, uint16_t serial, bool is_young, uint64_t lived_bytes)
{
    if (!serial || serial != window->serial || window->young + window->old >= window->born) return;
    if (!is_young) {
        window->old++;
        return;
    }
    window->young++;
    window->young_bytes += lived_bytes;
}

/* No block of the window can die young any more. */
static bool is_settled(const struct mt_arena_window *window, const struct mt_arena_now *now)
{
    if (!is_full(window)) return false;
    if (window->young + window->old == window->born) return true;
    if (window->frame) return now->frame - window->frame >= SETTLED_FRAMES;
    return now->ns - window->full_ns >= SETTLED_NS;
}

enum mt_arena_verdict mt_arena_window_judge(struct mt_arena_window *window, bool is_taken_up,
                                            const struct mt_arena_now *now)
{
    unsigned percent = is_taken_up ? MT_ARENA_KEEP_PERCENT : MT_ARENA_YOUNG_PERCENT;
    unsigned needed = (MT_ARENA_WINDOW * percent + 99) / 100;
    uint64_t worth = is_taken_up ? MT_ARENA_WORTH_BYTES / MT_ARENA_WORTH_PART : MT_ARENA_WORTH_BYTES;
    bool is_lost = window->old > MT_ARENA_WINDOW - needed;
    if (!is_lost && !is_settled(window, now)) return MT_ARENA_OPEN;
    bool dies_young = !is_lost && window->young >= needed && window->young_bytes / window->young >= worth;
    begin(window);
    return dies_young ? MT_ARENA_DIES_YOUNG : MT_ARENA_LIVES_ON;
}

bool mt_arena_is_young(const struct mt_arena_life *life)
{
    if (life->has_frames) return life->frames <= MT_ARENA_YOUNG_FRAMES;
    return life->is_own_thread && life->bytes <= MT_ARENA_YOUNG_BYTES;
}
