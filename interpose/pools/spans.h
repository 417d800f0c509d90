/*
 * Spans: runs of 64 KiB slices for slabs, cut from chunks that come straight
 * from the system. All functions may be called from any thread; they take one
 * lock, which is also taken around fork. Freed spans keep their memory for a
 * delay and are then given back to the system part by part. Where much is in
 * use, spans of slabs that are certain to be filled lie in huge pages.
 */
#ifndef MT_POOLS_SPANS_H
#define MT_POOLS_SPANS_H

#include "pagemap.h"

struct mt_span_chunk;

struct mt_span {
    char *start;
    struct mt_span_chunk *chunk;
    bool is_zero;           /* never used since the system gave it */
    uint32_t touched_bytes; /* from its start, that have memory behind them */
};

struct mt_span_counters {
    uint64_t reserved_bytes;            /* address space of the chunks */
    uint64_t used_bytes;                /* spans handed out */
    uint64_t dirty_bytes;               /* of free spans, that still have memory behind them */
    uint64_t purged_bytes, purge_count; /* cumulative */
    uint64_t chunk_count, failed_count;
    uint64_t huge_page_bytes; /* for which the system was asked for huge pages */
};

/* What is wanted: a span for something that will soon have touched all of it; the chunks may grow. */
enum mt_span_wish { MT_SPAN_DENSE = 1, MT_SPAN_GROW = 2 };

/* A span of 1 or 4 slices (4: at a multiple of 4 slices), of which so much is likely to be touched soon. False when
 * there is none or, without MT_SPAN_GROW, none left. */
bool mt_span_take(unsigned slices, unsigned wishes, uint32_t wanted_bytes, struct mt_span *span);
/* Nothing behind the first touched_bytes was written to since the span was taken. */
void mt_span_give(struct mt_span_chunk *chunk, char *start, unsigned slices, uint32_t touched_bytes);

/* Gives the memory of free spans back now: all of it, or about so many bytes. Returns the bytes given back. */
size_t mt_span_purge_all(void);
size_t mt_span_purge_some(size_t bytes);
/* About so many bytes because others grow, as far as that may be now. */
size_t mt_span_purge_surplus(size_t bytes);
/* Whether parts of spans in use may be given back now for that reason; and so much was. */
bool mt_span_may_purge(void);
void mt_span_note_purged(size_t bytes);
/* Gives back what was free at the last look, a purge delay ago. */
void mt_span_look(void);
void mt_span_set_purge_delay(uint64_t nanoseconds);
/* Dense spans come in huge pages once so much is in use; UINT64_MAX: never. */
void mt_span_set_huge_from(uint64_t bytes);
/* Calls visit for every slice that is in use. It must not call back here. */
void mt_span_visit_used(void (*visit)(void *context, char *slice), void *context);
void mt_span_counters(struct mt_span_counters *counters);

/* Records of 128 bytes and 128-byte alignment for slabs and chunks, zeroed. NULL when there is no memory. */
void *mt_record_new(void);
void mt_record_drop(void *record);

void mt_span_lock(void);
void mt_span_unlock(void);
void mt_span_reset_lock(void);

#endif
