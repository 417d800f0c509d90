/*
 * Chunks of slices with one bit for each: free, dirty (has memory behind it)
 * and aged (was free and dirty at the last look). One lock guards everything.
 */
#include "spans.h"
#include "core.h"
#include "lock.h"
#include "os.h"
#include "balance.h"
#include "stats.h"

#include <string.h>

enum {
    CHUNK_SLICES = 512, /* 32 MiB: one page table's worth of 16 huge pages */
    CHUNK_WORDS = CHUNK_SLICES / 64,
    SMALL_CHUNK_SLICES = 64, /* tried where 32 MiB cannot be had */
    RECORD_BATCH_BYTES = 64 * 1024,
    SLICE_PAGES = MT_SLICE_BYTES / MT_OS_PAGE,
};

struct mt_span_chunk {
    char *base;
    unsigned slices, free_count;
    struct mt_span_chunk *next, *previous; /* in the list of chunks */
    uint64_t free[CHUNK_WORDS], dirty[CHUNK_WORDS], aged[CHUNK_WORDS];
    uint8_t touched_pages[CHUNK_SLICES]; /* of slices that are free and dirty */
};

struct record {
    struct record *next;
};

static struct {
    struct mt_lock lock;
    struct mt_span_chunk *chunks; /* those with free slices come first */
    struct mt_span_counters counters;
    uint64_t purge_delay_ns, last_look_ns;
    struct record *records;
    char *record_area, *record_end;
} spans = {.purge_delay_ns = UINT64_C(1000000000)};

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
        char *area = mt_os_map(RECORD_BATCH_BYTES);
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
    size_t head = (sizeof(struct mt_span_chunk) + MT_OS_PAGE - 1) & ~(size_t)(MT_OS_PAGE - 1);
    struct mt_span_chunk *chunk = mt_os_map(head);
    if (!chunk) return NULL;
    char *base = mt_os_map_aligned(bytes, slices >= CHUNK_SLICES ? (size_t)2 << 20 : 4 * MT_SLICE_BYTES);
    if (base && mt_pagemap_reserve(base, bytes)) {
        chunk->base = base;
        chunk->slices = chunk->free_count = slices;
        for (unsigned i = 0; i < slices; i++) chunk->free[i / 64] |= UINT64_C(1) << (i % 64);
        return chunk;
    }
    if (base) mt_os_unmap(base, bytes);
    mt_os_unmap(chunk, head);
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
    size_t head = (sizeof *chunk + MT_OS_PAGE - 1) & ~(size_t)(MT_OS_PAGE - 1);
    list_remove(chunk);
    spans.counters.reserved_bytes -= (uint64_t)chunk->slices * MT_SLICE_BYTES;
    spans.counters.chunk_count--;
    mt_os_unmap(chunk->base, (size_t)chunk->slices * MT_SLICE_BYTES);
    mt_os_unmap(chunk, head);
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

/* The first run in a chunk, -1 when there is none. */
static int find_run(const struct mt_span_chunk *chunk, unsigned slices, bool is_dirty)
{
    for (unsigned i = 0; i < CHUNK_WORDS; i++) {
        uint64_t starts = run_starts(is_dirty ? chunk->free[i] & chunk->dirty[i] : chunk->free[i], slices);
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

static void take_run(struct mt_span_chunk *chunk, unsigned first, unsigned slices, struct mt_span *span)
{
    uint64_t mask = run_mask(slices) << (first % 64);
    uint64_t dirty = chunk->dirty[first / 64] & mask;
    span->touched_bytes = touched_of(chunk, first, slices);
    chunk->free[first / 64] &= ~mask;
    chunk->aged[first / 64] &= ~mask;
    chunk->dirty[first / 64] |= mask;
    chunk->free_count -= slices;
    spans.counters.dirty_bytes -= (uint64_t)__builtin_popcountll(dirty) * MT_SLICE_BYTES;
    spans.counters.used_bytes += (uint64_t)slices * MT_SLICE_BYTES;
    span->start = chunk->base + (size_t)first * MT_SLICE_BYTES;
    span->chunk = chunk;
    span->is_zero = !dirty;
}

static bool take_locked(unsigned slices, bool is_dirty, struct mt_span *span)
{
    for (struct mt_span_chunk *chunk = spans.chunks; chunk && chunk->free_count; chunk = chunk->next) {
        int first = find_run(chunk, slices, is_dirty);
        if (first < 0) continue;
        take_run(chunk, (unsigned)first, slices, span);
        if (chunk->free_count || !chunk->next) return true;
        /* A full chunk goes behind all others, so that a search ends at the first full one. */
        struct mt_span_chunk *last = chunk->next;
        while (last->next && last->free_count) last = last->next;
        list_remove(chunk);
        chunk->previous = last;
        chunk->next = last->next;
        if (last->next) last->next->previous = chunk;
        last->next = chunk;
        return true;
    }
    return false;
}

static size_t purge_bits(struct mt_span_chunk *chunk, unsigned word, uint64_t bits)
{
    size_t bytes = 0;
    while (bits) {
        unsigned first = (unsigned)__builtin_ctzll(bits);
        uint64_t rest = ~(bits >> first);
        unsigned slices = rest ? (unsigned)__builtin_ctzll(rest) : 64 - first;
        if (slices > 64 - first) slices = 64 - first;
        uint64_t mask = run_mask(slices) << first;
        size_t length = (size_t)slices * MT_SLICE_BYTES;
        if (mt_os_purge(chunk->base + ((size_t)word * 64 + first) * MT_SLICE_BYTES, length)) {
            chunk->dirty[word] &= ~mask;
            bytes += length;
            spans.counters.purge_count++;
        }
        bits &= ~mask;
    }
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
        for (unsigned i = CHUNK_WORDS; i-- > 0;) { /* from the end: what lies low is taken first again */
            uint64_t dirty = chunk->free[i] & chunk->dirty[i];
            if (bytes < enough) bytes += purge_bits(chunk, i, is_all ? dirty : dirty & chunk->aged[i]);
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
}

bool mt_span_take(unsigned slices, bool may_grow, struct mt_span *span)
{
    mt_lock_take(&spans.lock);
    bool is_taken = (spans.counters.dirty_bytes && take_locked(slices, true, span)) ||
                    take_locked(slices, false, span);
    if (!is_taken && may_grow && chunk_new(slices)) is_taken = take_locked(slices, false, span);
    publish_locked();
    mt_lock_give(&spans.lock);
    if (is_taken && span->is_zero) mt_keep_peak_down((size_t)slices * MT_SLICE_BYTES);
    return is_taken;
}

static void note_touched(struct mt_span_chunk *chunk, unsigned first, unsigned slices, uint32_t touched_bytes)
{
    uint32_t pages = (touched_bytes + MT_OS_PAGE - 1) / MT_OS_PAGE;
    for (unsigned i = 0; i < slices; i++) {
        chunk->touched_pages[first + i] = (uint8_t)(pages < SLICE_PAGES ? pages : SLICE_PAGES);
        pages -= chunk->touched_pages[first + i];
    }
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
    spans.counters.dirty_bytes += (uint64_t)slices * MT_SLICE_BYTES;
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
