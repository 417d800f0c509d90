/*
 * Chunks of slices with one bit for each: free, dirty (has memory behind it),
 * aged (was free and dirty at the last look) and huge (of a unit of 2 MiB for
 * which huge pages were asked for, all at once, before anything in it was
 * touched). One lock guards everything.
 */
#include "spans.h"
#include "core.h"
#include "lock.h"
#include "os.h"
#include "balance.h"
#include "stats.h"
#include "tables.h"

#include <string.h>

enum {
    CHUNK_SLICES = 512, /* 32 MiB: one page table's worth of 16 huge pages */
    CHUNK_WORDS = CHUNK_SLICES / 64,
    UNIT_SLICES = 32,        /* 2 MiB: a huge page */
    SMALL_CHUNK_SLICES = 64, /* tried where 32 MiB cannot be had */
    RECORD_BATCH_BYTES = 1024,
    SLICE_PAGES = MT_SLICE_BYTES / MT_OS_PAGE,
    ALLOWED_BYTES_PER_US = 16, /* 16 MB a second: four thousand page faults */
    ALLOWED_MOST_NS = 250000000,
    CALL_BYTES = 16 << 10, /* a call of the system costs as much as so many bytes */
    PURGE_SLICES = 4,      /* that go back at once where not much is wanted */
    DIRTY_LOOKS = 32,      /* runs that were used before, of which the best one is taken */
};

struct mt_span_chunk {
    char *base;
    unsigned slices, free_count;
    struct mt_span_chunk *next, *previous; /* in the list of chunks */
    uint64_t free[CHUNK_WORDS], dirty[CHUNK_WORDS], aged[CHUNK_WORDS], huge[CHUNK_WORDS];
    uint8_t touched_pages[CHUNK_SLICES]; /* of slices that are free and dirty */
};

struct record {
    struct record *next;
};

static struct {
    struct mt_lock lock;
    struct mt_span_chunk *chunks; /* those with free slices come first */
    struct mt_span_counters counters;
    uint64_t purge_delay_ns, last_look_ns, huge_from_bytes;
    uint64_t most_used_bytes; /* so far */
    int64_t allowed_bytes;    /* to be given back because others grow */
    uint64_t allowed_ns;      /* when they were last reckoned */
    struct record *records;
    char *record_area, *record_end;
} spans = {.purge_delay_ns = UINT64_C(1000000000), .huge_from_bytes = UINT64_MAX};

/* ---- records ------------------------------------------------------------------ */

static void *record_new_locked(void)
{
    struct record *record = spans.records;
    if (record) {
        spans.records = record->next;
        memset(record, 0, MT_RECORD_ALIGN);
        return record;
    }
    if (spans.record_area == spans.record_end) {
        char *area = mt_table_new(RECORD_BATCH_BYTES); /* never dropped: a stale pointer leads to a record still */
        if (!area) return NULL;
        spans.record_area = area;
        spans.record_end = area + RECORD_BATCH_BYTES;
    }
    char *at = spans.record_area;
    spans.record_area += MT_RECORD_ALIGN;
    return at;
}

void *mt_record_new(void)
{
    mt_lock_take(&spans.lock);
    void *record = record_new_locked();
    mt_lock_give(&spans.lock);
    return record;
}

void mt_record_drop(void *pointer)
{
    struct record *record = pointer;
    mt_lock_take(&spans.lock);
    record->next = spans.records;
    spans.records = record;
    mt_lock_give(&spans.lock);
}

/* ---- chunks ---------------------------------------------------------------------- */

static void list_remove(struct mt_span_chunk *chunk)
{
    if (chunk->next) chunk->next->previous = chunk->previous;
    if (chunk->previous)
        chunk->previous->next = chunk->next;
    else
        spans.chunks = chunk->next;
}

static void list_push(struct mt_span_chunk *chunk)
{
    chunk->previous = NULL;
    chunk->next = spans.chunks;
    if (spans.chunks) spans.chunks->previous = chunk;
    spans.chunks = chunk;
}

static struct mt_span_chunk *chunk_map(unsigned slices)
{
    size_t bytes = (size_t)slices * MT_SLICE_BYTES;
    struct mt_span_chunk *chunk = mt_table_new(sizeof *chunk);
    if (!chunk) return NULL;
    char *base = mt_os_map_aligned(bytes, slices >= CHUNK_SLICES ? (size_t)2 << 20 : 4 * MT_SLICE_BYTES);
    if (base && mt_pagemap_reserve(base, bytes)) {
        chunk->base = base;
        chunk->slices = chunk->free_count = slices;
        for (unsigned i = 0; i < slices; i++) chunk->free[i / 64] |= UINT64_C(1) << (i % 64);
        return chunk;
    }
    if (base) mt_os_unmap(base, bytes);
    mt_table_drop(chunk, sizeof *chunk);
    return NULL;
}

static bool chunk_new(unsigned slices)
{
    struct mt_span_chunk *chunk = mt_os_is_tight() ? NULL : chunk_map(CHUNK_SLICES);
    if (!chunk) chunk = chunk_map(SMALL_CHUNK_SLICES);
    if (!chunk) chunk = chunk_map(slices);
    if (!chunk) {
        spans.counters.failed_count++;
        return false;
    }
    list_push(chunk);
    spans.counters.reserved_bytes += (uint64_t)chunk->slices * MT_SLICE_BYTES;
    spans.counters.chunk_count++;
    return true;
}

/* Gives a chunk of which no slice is used or dirty back to the system. */
static void chunk_drop(struct mt_span_chunk *chunk)
{
    list_remove(chunk);
    spans.counters.reserved_bytes -= (uint64_t)chunk->slices * MT_SLICE_BYTES;
    spans.counters.chunk_count--;
    for (unsigned i = 0; i < CHUNK_WORDS; i++)
        spans.counters.huge_page_bytes -= (uint64_t)__builtin_popcountll(chunk->huge[i]) * MT_SLICE_BYTES;
    mt_os_unmap(chunk->base, (size_t)chunk->slices * MT_SLICE_BYTES);
    mt_table_drop(chunk, sizeof *chunk);
}

/* ---- taking and giving ------------------------------------------------------------- */

static uint64_t run_mask(unsigned slices)
{
    return slices == 64 ? ~UINT64_C(0) : (UINT64_C(1) << slices) - 1;
}

/* Bits of a word at which a run of 1 or 4 set bits starts, for 4 at multiples of 4 only. */
static uint64_t run_starts(uint64_t word, unsigned slices)
{
    if (slices == 1) return word;
    word &= word >> 1;
    word &= word >> 2;
    return word & UINT64_C(0x1111111111111111);
}

/* Those of them in whose run one of some other bits is set. */
static uint64_t starts_with(uint64_t starts, unsigned slices, uint64_t bits)
{
    if (slices == 1) return starts & bits;
    bits |= bits >> 1;
    return starts & (bits | bits >> 2);
}

/* Which free slices a search looks at. */
enum choice { ANY, IN_HUGE, NOT_IN_HUGE, NEW_UNIT };

/* Bits of the units of a word in which all slices are free and nothing was ever touched. */
static uint64_t new_units(const struct mt_span_chunk *chunk, unsigned word)
{
    uint64_t fresh = chunk->free[word] & ~chunk->dirty[word] & ~chunk->huge[word], low = run_mask(UNIT_SLICES);
    return ((fresh & low) == low ? low : 0) | (fresh >> UNIT_SLICES == low ? low << UNIT_SLICES : 0);
}

static uint64_t choose(const struct mt_span_chunk *chunk, unsigned word, enum choice choice)
{
    uint64_t free = chunk->free[word];
    switch (choice) {
    case IN_HUGE: return free & chunk->huge[word];
    case NOT_IN_HUGE: return free & ~chunk->huge[word];
    case NEW_UNIT: return chunk->slices == CHUNK_SLICES ? new_units(chunk, word) : 0; /* aligned to huge pages */
    default: return free;
    }
}

/* The first run in a chunk, -1 when there is none. */
static int find_run(const struct mt_span_chunk *chunk, unsigned slices, enum choice choice)
{
    for (unsigned i = 0; i < CHUNK_WORDS; i++) {
        uint64_t starts = run_starts(choose(chunk, i, choice), slices);
        if (starts) return (int)(i * 64 + (unsigned)__builtin_ctzll(starts));
    }
    return -1;
}

/* The last byte of a run that may have memory behind it. */
static uint32_t touched_of(const struct mt_span_chunk *chunk, unsigned first, unsigned slices)
{
    for (unsigned i = slices; i-- > 0;)
        if (chunk->dirty[first / 64] >> ((first + i) % 64) & 1)
            return i * MT_SLICE_BYTES + chunk->touched_pages[first + i] * (uint32_t)MT_OS_PAGE;
    return 0;
}

/* What the dirty ones of some slices of a word have behind them. */
static uint64_t dirty_bytes_of(const struct mt_span_chunk *chunk, unsigned word, uint64_t dirty)
{
    uint64_t pages = 0;
    for (; dirty; dirty &= dirty - 1) pages += chunk->touched_pages[word * 64 + (unsigned)__builtin_ctzll(dirty)];
    return pages * MT_OS_PAGE;
}

static void take_run(struct mt_span_chunk *chunk, unsigned first, unsigned slices, struct mt_span *span)
{
    uint64_t mask = run_mask(slices) << (first % 64);
    uint64_t dirty = chunk->dirty[first / 64] & mask;
    span->touched_bytes = touched_of(chunk, first, slices);
    spans.counters.dirty_bytes -= dirty_bytes_of(chunk, first / 64, dirty);
    chunk->free[first / 64] &= ~mask;
    chunk->aged[first / 64] &= ~mask;
    chunk->dirty[first / 64] |= mask;
    chunk->free_count -= slices;
    spans.counters.used_bytes += (uint64_t)slices * MT_SLICE_BYTES;
    span->start = chunk->base + (size_t)first * MT_SLICE_BYTES;
    span->chunk = chunk;
    span->is_zero = !dirty;
}

/* ---- huge pages -------------------------------------------------------------------------- */

static void change_huge(struct mt_span_chunk *chunk, unsigned word, uint64_t unit, bool is_wanted)
{
    char *at = chunk->base + ((size_t)word * 64 + (unsigned)__builtin_ctzll(unit)) * MT_SLICE_BYTES;
    size_t bytes = (size_t)UNIT_SLICES * MT_SLICE_BYTES;
    if (!mt_os_advise_huge(at, bytes, is_wanted) && is_wanted) {
        spans.huge_from_bytes = UINT64_MAX; /* a system without them */
        return;
    }
    chunk->huge[word] ^= unit;
    spans.counters.huge_page_bytes += is_wanted ? bytes : 0 - bytes;
}

static void make_huge(struct mt_span_chunk *chunk, unsigned first)
{
    change_huge(chunk, first / 64, run_mask(UNIT_SLICES) << (first % 64 & ~(UNIT_SLICES - 1u)), true);
}

/* Before a part of a unit is given back: the system would fill a huge page up again, in time. */
static void leave_huge(struct mt_span_chunk *chunk, unsigned word, uint64_t bits)
{
    for (unsigned half = 0; half < 64; half += UNIT_SLICES) {
        uint64_t unit = run_mask(UNIT_SLICES) << half;
        if ((chunk->huge[word] & unit) && (bits & unit) && (bits & unit) != unit)
            change_huge(chunk, word, unit, false);
    }
}

/* ---- the same, found ------------------------------------------------------------------------ */

/* A full chunk goes behind all others, so that a search ends at the first full one. */
static void put_last_if_full(struct mt_span_chunk *chunk)
{
    if (chunk->free_count || !chunk->next) return;
    struct mt_span_chunk *last = chunk->next;
    while (last->next && last->free_count) last = last->next;
    list_remove(chunk);
    chunk->previous = last;
    chunk->next = last->next;
    if (last->next) last->next->previous = chunk;
    last->next = chunk;
}

static bool take_locked(unsigned slices, enum choice choice, struct mt_span *span)
{
    for (struct mt_span_chunk *chunk = spans.chunks; chunk && chunk->free_count; chunk = chunk->next) {
        int first = find_run(chunk, slices, choice);
        if (first < 0) continue;
        if (choice == NEW_UNIT) make_huge(chunk, (unsigned)first);
        take_run(chunk, (unsigned)first, slices, span);
        put_last_if_full(chunk);
        return true;
    }
    return false;
}

/* How badly a run with so much memory behind it serves: as little more than is wanted is best, then as little less.
 */
static uint32_t misfit(uint32_t bytes, uint32_t wanted_bytes)
{
    return bytes >= wanted_bytes ? bytes - wanted_bytes : UINT32_MAX - bytes;
}

/* A run that has memory behind it: the best of the first few. */
static bool take_dirty_locked(unsigned slices, uint32_t wanted_bytes, struct mt_span *span)
{
    struct mt_span_chunk *best = NULL;
    unsigned best_first = 0, left = DIRTY_LOOKS;
    uint32_t least = 0;
    for (struct mt_span_chunk *chunk = spans.chunks; chunk && chunk->free_count && left; chunk = chunk->next)
        for (unsigned i = 0; i < CHUNK_WORDS && left; i++) {
            uint64_t dirty = chunk->free[i] & chunk->dirty[i];
            uint64_t starts = starts_with(run_starts(chunk->free[i], slices), slices, dirty);
            for (; starts && left; starts &= starts - 1, left--) {
                unsigned first = i * 64 + (unsigned)__builtin_ctzll(starts);
                uint32_t how_bad = misfit(touched_of(chunk, first, slices), wanted_bytes);
                if (best && how_bad >= least) continue;
                best = chunk;
                best_first = first;
                least = how_bad;
            }
        }
    if (!best) return false;
    take_run(best, best_first, slices, span);
    put_last_if_full(best);
    return true;
}

/* What was used before is used first; what is dense lies in huge pages, and what is not, if possible, does not. */
static bool take_best_locked(unsigned slices, unsigned wishes, uint32_t wanted_bytes, struct mt_span *span)
{
    bool is_dense = wishes & MT_SPAN_DENSE;
    if (spans.counters.dirty_bytes && take_dirty_locked(slices, wanted_bytes, span)) return true;
    bool has_huge = spans.counters.huge_page_bytes != 0;
    if (is_dense && has_huge && take_locked(slices, IN_HUGE, span)) return true;
    if (is_dense && spans.counters.used_bytes >= spans.huge_from_bytes && take_locked(slices, NEW_UNIT, span))
        return true;
    return (has_huge && take_locked(slices, NOT_IN_HUGE, span)) || take_locked(slices, ANY, span);
}

static size_t purge_bits(struct mt_span_chunk *chunk, unsigned word, uint64_t bits)
{
    size_t bytes = 0;
    leave_huge(chunk, word, bits);
    while (bits) {
        unsigned first = (unsigned)__builtin_ctzll(bits);
        uint64_t rest = ~(bits >> first);
        unsigned slices = rest ? (unsigned)__builtin_ctzll(rest) : 64 - first;
        if (slices > 64 - first) slices = 64 - first;
        uint64_t mask = run_mask(slices) << first;
        if (mt_os_purge(chunk->base + ((size_t)word * 64 + first) * MT_SLICE_BYTES,
                        (size_t)slices * MT_SLICE_BYTES)) {
            bytes += dirty_bytes_of(chunk, word, chunk->dirty[word] & mask);
            chunk->dirty[word] &= ~mask;
            spans.counters.purge_count++;
        }
        bits &= ~mask;
    }
    return bytes;
}

/* From the end, because what lies low is taken first again; little at once where little is enough. */
static size_t purge_word(struct mt_span_chunk *chunk, unsigned word, uint64_t bits, size_t enough)
{
    size_t bytes = 0;
    if (enough > 64 * (size_t)MT_SLICE_BYTES) return purge_bits(chunk, word, bits);
    for (unsigned at = 64; at > 0 && bytes < enough; at -= PURGE_SLICES)
        bytes += purge_bits(chunk, word, bits & run_mask(PURGE_SLICES) << (at - PURGE_SLICES));
    return bytes;
}

/* Purges what has been free since the last look, or everything that is free, until it is enough. */
static size_t purge_locked(bool is_all, size_t enough)
{
    size_t bytes = 0;
    struct mt_span_chunk *next;
    for (struct mt_span_chunk *chunk = spans.chunks; chunk && chunk->free_count && bytes < enough; chunk = next) {
        next = chunk->next;
        uint64_t any_dirty = 0;
        for (unsigned i = CHUNK_WORDS; i-- > 0;) {
            uint64_t dirty = chunk->free[i] & chunk->dirty[i];
            if (!is_all) dirty &= chunk->aged[i];
            if (bytes < enough) bytes += purge_word(chunk, i, dirty, enough - bytes);
            chunk->aged[i] = chunk->free[i] & chunk->dirty[i];
            any_dirty |= chunk->dirty[i];
        }
        if (!any_dirty && chunk->free_count == chunk->slices && spans.counters.chunk_count > 1) chunk_drop(chunk);
    }
    spans.counters.dirty_bytes -= bytes;
    spans.counters.purged_bytes += bytes;
    return bytes;
}

static void look_at_clock_locked(void)
{
    if (!spans.counters.dirty_bytes) return;
    uint64_t now = mt_now_coarse_ns();
    if (now - spans.last_look_ns < spans.purge_delay_ns) return;
    if (spans.last_look_ns) purge_locked(false, SIZE_MAX);
    spans.last_look_ns = now;
}

static void publish_locked(void)
{
    MT_POOL_STAT_SET(slab_reserved_bytes, spans.counters.reserved_bytes);
    MT_POOL_STAT_SET(slab_used_bytes, spans.counters.used_bytes);
    MT_POOL_STAT_SET(slab_dirty_bytes, spans.counters.dirty_bytes);
    MT_POOL_STAT_SET(slab_purged_bytes, spans.counters.purged_bytes);
    MT_POOL_STAT_SET(slab_purge_count, spans.counters.purge_count);
    MT_POOL_STAT_SET(slab_huge_page_bytes, spans.counters.huge_page_bytes);
}

bool mt_span_take(unsigned slices, unsigned wishes, uint32_t wanted_bytes, struct mt_span *span)
{
    mt_lock_take(&spans.lock);
    bool is_taken = take_best_locked(slices, wishes, wanted_bytes, span);
    if (!is_taken && (wishes & MT_SPAN_GROW) && chunk_new(slices))
        is_taken = take_best_locked(slices, wishes, wanted_bytes, span);
    bool has_grown = spans.counters.used_bytes > spans.most_used_bytes;
    if (has_grown) spans.most_used_bytes = spans.counters.used_bytes;
    publish_locked();
    mt_lock_give(&spans.lock);
    if (has_grown && span->is_zero) mt_keep_peak_down((size_t)slices * MT_SLICE_BYTES);
    return is_taken;
}

/* What was not touched is as new, but that a huge page was touched with all that lies in it. */
static void note_touched(struct mt_span_chunk *chunk, unsigned first, unsigned slices, uint32_t touched_bytes)
{
    uint32_t pages = (touched_bytes + MT_OS_PAGE - 1) / MT_OS_PAGE;
    uint64_t touched = 0;
    for (unsigned i = 0; i < slices; i++) {
        chunk->touched_pages[first + i] = (uint8_t)(pages < SLICE_PAGES ? pages : SLICE_PAGES);
        touched |= (uint64_t)(pages != 0) << (first % 64 + i);
        pages -= chunk->touched_pages[first + i];
    }
    chunk->dirty[first / 64] &= ~(run_mask(slices) << (first % 64)) | touched | chunk->huge[first / 64];
    spans.counters.dirty_bytes += dirty_bytes_of(chunk, first / 64, touched);
}

void mt_span_give(struct mt_span_chunk *chunk, char *start, unsigned slices, uint32_t touched_bytes)
{
    unsigned first = (unsigned)((size_t)(start - chunk->base) / MT_SLICE_BYTES);
    mt_pagemap_set(start, (size_t)slices * MT_SLICE_BYTES, 0);
    mt_lock_take(&spans.lock);
    note_touched(chunk, first, slices, touched_bytes);
    chunk->free[first / 64] |= run_mask(slices) << (first % 64);
    if (!chunk->free_count) {
        list_remove(chunk);
        list_push(chunk);
    }
    chunk->free_count += slices;
    spans.counters.used_bytes -= (uint64_t)slices * MT_SLICE_BYTES;
    look_at_clock_locked();
    publish_locked();
    mt_lock_give(&spans.lock);
}

size_t mt_span_purge_all(void)
{
    return mt_span_purge_some(SIZE_MAX);
}

size_t mt_span_purge_some(size_t enough)
{
    mt_lock_take(&spans.lock);
    size_t bytes = purge_locked(true, enough);
    publish_locked();
    mt_lock_give(&spans.lock);
    return bytes;
}

/*
 * What goes back to make room may soon be asked for again: a page costs a fault then. So there are bounds to it: so
 * much for each second, and not more than that of a fraction of one at once.
 */
static int64_t allowed_locked(void)
{
    uint64_t now = mt_now_coarse_ns(), since = now - spans.allowed_ns;
    if (since > ALLOWED_MOST_NS) since = ALLOWED_MOST_NS;
    spans.allowed_ns = now;
    spans.allowed_bytes += (int64_t)(since / 1000 * ALLOWED_BYTES_PER_US);
    int64_t most = (int64_t)(ALLOWED_MOST_NS / 1000 * ALLOWED_BYTES_PER_US);
    if (spans.allowed_bytes > most) spans.allowed_bytes = most;
    return spans.allowed_bytes;
}

static void use_up_locked(size_t bytes, uint64_t calls)
{
    spans.allowed_bytes -= (int64_t)(bytes + calls * CALL_BYTES);
}

bool mt_span_may_purge(void)
{
    mt_lock_take(&spans.lock);
    bool may = allowed_locked() > 0;
    mt_lock_give(&spans.lock);
    return may;
}

size_t mt_span_purge_surplus(size_t enough)
{
    size_t bytes = 0;
    mt_lock_take(&spans.lock);
    uint64_t calls = spans.counters.purge_count;
    if (allowed_locked() > 0) {
        bytes = purge_locked(true, enough);
        use_up_locked(bytes, spans.counters.purge_count - calls);
        publish_locked();
    }
    mt_lock_give(&spans.lock);
    return bytes;
}

void mt_span_note_purged(size_t bytes)
{
    mt_lock_take(&spans.lock);
    spans.counters.purged_bytes += bytes;
    spans.counters.purge_count++;
    use_up_locked(bytes, 1);
    publish_locked();
    mt_lock_give(&spans.lock);
}

void mt_span_look(void)
{
    mt_lock_take(&spans.lock);
    look_at_clock_locked();
    publish_locked();
    mt_lock_give(&spans.lock);
}

void mt_span_set_purge_delay(uint64_t nanoseconds)
{
    spans.purge_delay_ns = nanoseconds;
}

void mt_span_set_huge_from(uint64_t bytes)
{
    spans.huge_from_bytes = bytes;
}

void mt_span_visit_used(void (*visit)(void *context, char *slice), void *context)
{
    mt_lock_take(&spans.lock);
    for (const struct mt_span_chunk *chunk = spans.chunks; chunk; chunk = chunk->next)
        for (unsigned i = 0; i < chunk->slices; i++)
            if (!(chunk->free[i / 64] >> (i % 64) & 1)) visit(context, chunk->base + (size_t)i * MT_SLICE_BYTES);
    mt_lock_give(&spans.lock);
}

void mt_span_counters(struct mt_span_counters *counters)
{
    mt_lock_take(&spans.lock);
    *counters = spans.counters;
    mt_lock_give(&spans.lock);
}

void mt_span_lock(void)
{
    mt_lock_take(&spans.lock);
}

void mt_span_unlock(void)
{
    mt_lock_give(&spans.lock);
}

void mt_span_reset_lock(void)
{
    mt_lock_reset(&spans.lock);
}
