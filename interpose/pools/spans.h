/*
 * Spans: runs of 64 KiB slices for slabs, cut from chunks that come straight
 * from the system. All functions may be called from any thread; they take one
 * lock, which is also taken around fork. Freed spans keep their memory for a
 * delay and are then given back to the system part by part.
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
    uint64_t dirty_bytes;               /* free spans that still have their memory */
    uint64_t purged_bytes, purge_count; /* cumulative */
    uint64_t chunk_count, failed_count;
};

/* A span of 1 or 4 slices (4: at a multiple of 4 slices). False when there is none or, without may_grow, none left.
 */
bool mt_span_take(unsigned slices, bool may_grow, struct mt_span *span);
/* Nothing behind the first touched_bytes was written to since the span was taken. */
void mt_span_give(struct mt_span_chunk *chunk, char *start, unsigned slices, uint32_t touched_bytes);

/* Gives the memory of free spans back now: all of it, or about so many bytes. Returns the bytes given back. */
size_t mt_span_purge_all(void);
size_t mt_span_purge_some(size_t bytes);
/* Gives back what was free at the last look, a purge delay ago. */
void mt_span_look(void);
void mt_span_set_purge_delay(uint64_t nanoseconds);
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
