/*
 * Shards: the per-thread counters and the way they add up to the process's
 * current and peak bytes. The inline functions are the whole cost of counting
 * on the allocation path: plain loads and stores of one thread's own lines,
 * and one branch that is rarely taken.
 *
 * Words: live_bytes is what this thread allocated minus what it freed, in
 * usable bytes, and can be negative. The thread hands the change since the
 * last time to the shared total (a flush) when it grew or shrank by
 * batch_bytes, so that the total is never off by more than batch_bytes per
 * thread. high_bytes remembers the highest point in between; with one thread
 * the peak is therefore exact. With batch_bytes 0 every call flushes.
 */
#ifndef MT_SHARD_H
#define MT_SHARD_H

#include "core.h"

/*
 * A shard for the calling thread; shard 0 when all are taken (counted). name
 * may be NULL. The caller keeps the pointer and gives it back at thread end.
 * The address stays valid across fork; in a fork's child all shards are free again.
 */
struct mt_shard *mt_shard_claim(struct mt_core *core, int32_t tid, const char *name);
/* Flushes, adds the thread's own share to the table of ended threads, frees the shard. */
void mt_shard_retire(struct mt_core *core, struct mt_shard *shard);
/* Sets the thread's name in its shard. Only the owner calls it. */
void mt_shard_rename(struct mt_core *core, struct mt_shard *shard, const char *name);
/* Hands the change since the last flush to the shared total and raises the peak. */
void mt_shard_flush(struct mt_core *core, struct mt_shard *shard);
/* Raises the peaks, those of groups too where it is time to look at them, and hands nothing over: what is left of
 * the batch, up and down, stays as it is. */
void mt_shard_look(struct mt_core *core, struct mt_shard *shard);

static inline bool mt_shard_is_shared(const struct mt_core *core, const struct mt_shard *shard)
{
    return shard == &core->segment->shards[0];
}

/* The same counting with atomic read-modify-write, for shard 0. cell: of the block's origin and size class; NULL:
 * it is counted in no cell. */
void mt_shard_allocated_shared(struct mt_core *core, struct mt_origin_cell *cell, uint64_t requested_bytes,
                               uint64_t usable_bytes);
void mt_shard_freed_shared(struct mt_core *core, struct mt_origin_cell *cell, uint64_t usable_bytes);

/*
 * Adds to a counter that only this thread writes. One instruction where there
 * is one, so that a signal handler that allocates in between loses no count.
 */
#if defined(__x86_64__)
#define MT_ADD(field, value)                                                                                       \
    __asm__("addq %1, %0" : "+m"(*(volatile uint64_t *)&(field)) : "er"((uint64_t)(value)) : "cc")
#else
#define MT_ADD(field, value)                                                                                       \
    atomic_store_explicit(&(field), atomic_load_explicit(&(field), memory_order_relaxed) + (value),                \
                          memory_order_relaxed)
#endif

/*
 * A counter that only this thread writes, read by a plain load: where it is compared, it can be an operand of the
 * comparison.
 */
#define MT_OWN(type, field) (*(const type *)(const void *)&(field))

/*
 * &shard->classes[mt_class_of_block(usable_bytes)] in the fewest instructions:
 * with s the exponent minus 3, the class is 8 * s + (last >> s) - 32.
 */
static inline struct mt_class_counter *mt_shard_class(struct mt_shard *shard, uint64_t usable_bytes)
{
    enum {
        CLASS_BYTES = sizeof(struct mt_class_counter),
        BASE = offsetof(struct mt_shard, classes) - 32 * CLASS_BYTES
    };
    uint64_t last = usable_bytes - 1;
    unsigned shift = (63u ^ (unsigned)__builtin_clzll(last | 128)) - 3u;
    uint64_t offset = ((uint64_t)shift * 8 + (last >> shift)) * CLASS_BYTES;
    return (struct mt_class_counter *)(void *)((char *)shard + offset + BASE);
}

/* True when the requested bytes have passed the mark of the stack sampler; a new shard's mark is 0. */
static inline bool mt_shard_is_sample_due(const struct mt_shard *shard)
{
    return __builtin_expect(atomic_load_explicit(&shard->requested_bytes, memory_order_relaxed) >=
                                MT_OWN(uint64_t, shard->sample_countdown_bytes),
                            0);
}

/* Adds to what is live. True when mt_shard_flush() is due. batch_bytes: read only where live is higher than ever.
 */
static inline bool mt_shard_grow(struct mt_shard *shard, uint64_t usable_bytes, const volatile int64_t *batch_bytes)
{
    int64_t live = atomic_load_explicit(&shard->live_bytes, memory_order_relaxed) + (int64_t)usable_bytes;
    atomic_store_explicit(&shard->live_bytes, live, memory_order_relaxed);
    if (__builtin_expect(live <= MT_OWN(int64_t, shard->high_bytes), 1)) return false;
    atomic_store_explicit(&shard->high_bytes, live, memory_order_relaxed);
    return __builtin_expect(
        live - atomic_load_explicit(&shard->flushed_bytes, memory_order_relaxed) >= *batch_bytes, 0);
}

/* Takes from what is live. True when mt_shard_flush() is due. */
static inline bool mt_shard_shrink(struct mt_shard *shard, uint64_t usable_bytes)
{
    int64_t live = atomic_load_explicit(&shard->live_bytes, memory_order_relaxed) - (int64_t)usable_bytes;
    atomic_store_explicit(&shard->live_bytes, live, memory_order_relaxed);
    return __builtin_expect(live < MT_OWN(int64_t, shard->low_limit_bytes), 0);
}

/*
 * Counts one allocation by the owner of a shard that is not shard 0. usable_bytes is at least 1 and less than
 * 2^48. True when mt_shard_flush() is due.
 */
static inline bool mt_shard_count_allocated(struct mt_core *core, struct mt_shard *shard, uint64_t requested_bytes,
                                            uint64_t usable_bytes)
{
    MT_ADD(shard->allocation_count, 1);
    MT_ADD(shard->requested_bytes, requested_bytes);
    MT_ADD(mt_shard_class(shard, usable_bytes)->allocation_count, 1);
    return mt_shard_grow(shard, usable_bytes, (const volatile int64_t *)&core->segment->globals.batch_bytes);
}

static inline void mt_shard_allocated(struct mt_core *core, struct mt_shard *shard, uint64_t requested_bytes,
                                      uint64_t usable_bytes)
{
    if (mt_shard_count_allocated(core, shard, requested_bytes, usable_bytes)) mt_shard_flush(core, shard);
}

/*
 * Counts one free by the owner of a shard that is not shard 0. usable_bytes
 * as above. Returns true when mt_shard_flush() is due.
 */
static inline bool mt_shard_count_freed(struct mt_shard *shard, uint64_t usable_bytes)
{
    MT_ADD(shard->free_count, 1);
    MT_ADD(mt_shard_class(shard, usable_bytes)->free_count, 1);
    return mt_shard_shrink(shard, usable_bytes);
}

/* One free and one allocation by the owner in this order, as realloc counts. True when mt_shard_flush() is due. */
static inline bool mt_shard_count_changed(struct mt_shard *shard, uint64_t old_usable_bytes,
                                          uint64_t requested_bytes, uint64_t usable_bytes,
                                          const volatile int64_t *batch_bytes)
{
    MT_ADD(shard->free_count, 1);
    MT_ADD(mt_shard_class(shard, old_usable_bytes)->free_count, 1);
    MT_ADD(shard->allocation_count, 1);
    MT_ADD(shard->requested_bytes, requested_bytes);
    MT_ADD(mt_shard_class(shard, usable_bytes)->allocation_count, 1);
    if (usable_bytes >= old_usable_bytes) return mt_shard_grow(shard, usable_bytes - old_usable_bytes, batch_bytes);
    return mt_shard_shrink(shard, old_usable_bytes - usable_bytes);
}

static inline void mt_shard_freed(struct mt_core *core, struct mt_shard *shard, uint64_t usable_bytes)
{
    if (mt_shard_count_freed(shard, usable_bytes)) mt_shard_flush(core, shard);
}

/*
 * The same with fewer stores, for a client whose small blocks all have 16 * n - 8 usable bytes: step_bytes is 16 *
 * n, at most MT_SHARD_STEPPED, and the counter's place follows from it without arithmetic. Such a block is counted
 * in its step alone, which readers add to the shard's sums and classes. shard->is_stepped is set.
 */
enum { MT_SHARD_STEPPED = 16 * (MT_STEP_COUNT - 1) };

static inline struct mt_class_counter *mt_shard_step(struct mt_shard *shard, size_t step_bytes)
{
    _Static_assert(sizeof(struct mt_class_counter) == 16, "as many bytes as a step");
    return (struct mt_class_counter *)(void *)((char *)shard->steps + step_bytes);
}

static inline bool mt_shard_step_allocated(struct mt_shard *shard, uint64_t requested_bytes, size_t step_bytes,
                                           const volatile int64_t *batch_bytes)
{
    MT_ADD(mt_shard_step(shard, step_bytes)->allocation_count, 1);
    MT_ADD(shard->requested_bytes, requested_bytes);
    return mt_shard_grow(shard, step_bytes - 8, batch_bytes);
}

static inline bool mt_shard_step_freed(struct mt_shard *shard, size_t step_bytes)
{
    MT_ADD(mt_shard_step(shard, step_bytes)->free_count, 1);
    return mt_shard_shrink(shard, step_bytes - 8);
}

struct mt_shard_counts {
    uint64_t allocation_count, free_count;
};
/* How many blocks the cells of a row say were allocated and freed; bits: the first one and up to 63 behind it. */
static inline void mt_shard_add_cells(struct mt_shard_counts *sum, const struct mt_origin_cell *first,
                                      uint64_t bits)
{
    for (; bits; bits &= bits - 1) {
        const struct mt_origin_cell *cell = &first[__builtin_ctzll(bits)];
        sum->allocation_count += atomic_load_explicit(&cell->allocation_count, memory_order_relaxed);
        sum->free_count += atomic_load_explicit(&cell->free_count, memory_order_relaxed);
    }
}

/* How many blocks a shard's threads allocated and freed, those in steps and in cells too. Any thread. */
static inline struct mt_shard_counts mt_shard_counts(const struct mt_segment *segment, const struct mt_shard *shard)
{
    struct mt_shard_counts sum = {atomic_load_explicit(&shard->allocation_count, memory_order_relaxed),
                                  atomic_load_explicit(&shard->free_count, memory_order_relaxed)};
    bool is_stepped = atomic_load_explicit(&shard->is_stepped, memory_order_relaxed);
    for (unsigned n = 1; is_stepped && n < MT_STEP_COUNT; n++) {
        sum.allocation_count += atomic_load_explicit(&shard->steps[n].allocation_count, memory_order_relaxed);
        sum.free_count += atomic_load_explicit(&shard->steps[n].free_count, memory_order_relaxed);
    }
    /* Acquire pairs with the release that publishes a row. */
    uint64_t at = atomic_load_explicit(&shard->origins, memory_order_acquire);
    while (at) {
        const struct mt_origin_counts *row = (const void *)((const char *)segment + at);
        bool is_marked = !row->site && shard != &segment->shards[0];
        uint64_t used = atomic_load_explicit(&row->used, memory_order_relaxed);
        uint8_t used_above = atomic_load_explicit(&row->used_above, memory_order_relaxed);
        mt_shard_add_cells(&sum, row->classes, is_marked ? used : UINT64_MAX);
        mt_shard_add_cells(&sum, &row->classes[64], is_marked ? used_above : UINT8_MAX);
        at = row->next;
    }
    return sum;
}

/* What all shards add up to now. Consistent when no thread allocates. */
struct mt_shard_sum {
    uint64_t allocation_count, free_count, requested_bytes;
    uint64_t realloc_count, failed_count, foreign_free_count;
    int64_t live_bytes;
    int64_t peak_bytes; /* the recorded peak, raised by what is not flushed yet */
};
void mt_shards_sum(const struct mt_segment *segment, struct mt_shard_sum *sum);

#endif
