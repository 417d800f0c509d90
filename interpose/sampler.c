/*
 * The arithmetic of the sampler: exponential distances and the weights that
 * make the estimates unbiased. Pure functions, without libm.
 */
#include "trace.h"

#include <string.h>

double mt_trace_minus_log(double u)
{
    uint64_t bits;
    memcpy(&bits, &u, sizeof bits);
    int exponent = (int)(bits >> 52) - 1023;
    bits = (bits & ((UINT64_C(1) << 52) - 1)) | (UINT64_C(1023) << 52);
    double m;
    memcpy(&m, &bits, sizeof m); /* u = m * 2^exponent with 1 <= m < 2 */
    double s = (m - 1) / (m + 1), square = s * s, term = s, sum = 0;
    for (int k = 1; k < 40; k += 2, term *= square) sum += term / k; /* ln m = 2 artanh s */
    return -(2 * sum + exponent * 0.693147180559945309417);
}

double mt_trace_hit_probability(double x)
{
    if (x > 40) return 1;
    int doublings = 0;
    for (; x > 0.25; x /= 2) doublings++;
    double term = -x, sum = 0; /* e^-x - 1 */
    for (int k = 2; k < 16; k++) {
        sum += term;
        term *= -x / k;
    }
    for (; doublings; doublings--) sum *= sum + 2; /* e^-2x - 1 = (e^-x - 1)(e^-x + 1) */
    return -sum;
}

static int64_t nearest(double value)
{
    return (int64_t)(value + 0.5);
}

struct mt_stack_weight mt_trace_weight(uint64_t requested_bytes, uint64_t usable_bytes, uint64_t rate_bytes)
{
    double asked = (double)(requested_bytes ? requested_bytes : 1);
    return mt_trace_weight_of(requested_bytes, usable_bytes,
                              1 / mt_trace_hit_probability(asked / (double)rate_bytes));
}

struct mt_stack_weight mt_trace_weight_of(uint64_t requested_bytes, uint64_t usable_bytes, double blocks)
{
    double kib = (double)usable_bytes / 1024;
    return (struct mt_stack_weight){
        .live_bytes = nearest((double)usable_bytes * blocks),
        .count = nearest(MT_SCALE * blocks),
        .total_bytes = (uint64_t)nearest((double)requested_bytes * blocks),
        .variance = nearest(kib * kib * blocks * (blocks - 1)),
    };
}

/* In (0, 1). */
static double next_random(uint64_t *random_state)
{
    uint64_t x = *random_state; /* xorshift64*, Vigna 2016 */
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *random_state = x;
    return ((double)((x * UINT64_C(0x2545f4914f6cdd1d)) >> 11) + 0.5) * 0x1p-53;
}

uint64_t mt_trace_distance(uint64_t *random_state, uint64_t rate_bytes)
{
    double distance = mt_trace_minus_log(next_random(random_state)) * (double)rate_bytes;
    return distance < 1 ? 1 : (uint64_t)(distance + 0.5);
}

struct limits {
    unsigned many, few, doublings;
};

static unsigned keep_pace(struct mt_trace_pace *pace, uint64_t now_ns, unsigned doublings, struct limits limits)
{
    uint64_t tick = now_ns >> MT_PACE_TICK_BITS, gone = tick - pace->tick;
    if (gone) {
        if (gone > 1 || pace->count < limits.few) doublings -= gone < doublings ? (unsigned)gone : doublings;
        pace->tick = tick;
        pace->count = 0;
    }
    if (++pace->count < limits.many) return doublings;
    pace->count = 0;
    return doublings < limits.doublings ? doublings + 1 : doublings;
}

unsigned mt_trace_pace(struct mt_trace_pace *pace, uint64_t now_ns, unsigned doublings)
{
    return keep_pace(pace, now_ns, doublings, (struct limits){MT_PACE_MANY, MT_PACE_FEW, MT_PACE_DOUBLINGS});
}

unsigned mt_trace_pace_large(struct mt_trace_pace *pace, uint64_t now_ns, unsigned doublings)
{
    return keep_pace(pace, now_ns, doublings,
                     (struct limits){MT_PACE_MANY_LARGE, MT_PACE_FEW_LARGE, MT_PACE_DOUBLINGS_LARGE});
}
