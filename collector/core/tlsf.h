/*
 * TLSF: two-level segregated fit over ranges of 64-bit offsets. The engine
 * never touches what it manages, so the ranges may be addresses of the process
 * or offsets into device memory. Its records lie in memory that the caller
 * supplies, and the caller serialises all calls. Allocate, free, resize and
 * coalesce take constant time; mt_tlsf_check(), mt_tlsf_visit_free() and
 * mt_tlsf_extend_chunk() do not.
 *
 * Words: a chunk is one contiguous range given to the engine; it is cut into
 * blocks; blocks that touch each other are left and right neighbours. Two free
 * neighbours never exist. A block is named by its id, which is never 0. Sizes
 * and offsets are multiples of the granule, and no block, used or free, is
 * smaller than the smallest: what would be stays with its left neighbour.
 */
#ifndef MT_TLSF_H
#define MT_TLSF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MT_TLSF_SECOND_BITS = 5, /* 32 lists per doubling: good fit within 3.1 % */
    MT_TLSF_SECOND = 1 << MT_TLSF_SECOND_BITS,
    MT_TLSF_FIRST = 48,
    MT_TLSF_RECORDS_NEEDED = 2, /* the most that one call takes */
};

enum mt_tlsf_state { MT_TLSF_SPARE = 0, MT_TLSF_FREE = 1, MT_TLSF_USED = 2 };

struct mt_tlsf_block {
    uint64_t offset, bytes;
    uint32_t left, right;    /* neighbours in the chunk, 0 = the chunk ends */
    uint32_t previous, next; /* in a free list; next also links spare records */
    uint16_t state;          /* enum mt_tlsf_state */
    uint16_t marks; /* the caller's, who may set them: what is cut off has the same, what is joined those of both */
    uint32_t user;  /* the caller's; inherited from the chunk by every block cut from it */
};

struct mt_tlsf {
    struct mt_tlsf_block *blocks; /* blocks[0] is not used */
    uint32_t capacity;            /* records in blocks */
    uint32_t untouched;           /* records from here on have never been used */
    uint32_t spare;               /* list of records given back */
    uint32_t spare_count;
    unsigned granule_shift;
    uint32_t smallest_bytes;
    uint64_t used_bytes, free_bytes;
    uint32_t used_count, free_count, chunk_count;
    uint64_t first_bitmap;
    uint32_t second_bitmap[MT_TLSF_FIRST];
    uint32_t heads[MT_TLSF_FIRST][MT_TLSF_SECOND];
};

/*
 * An empty engine. All sizes are rounded up to granule_bytes, a power of two, and to smallest_bytes, a multiple of
 * it below 2^32. records is zeroed memory for `capacity` records, of which one is lost.
 */
void mt_tlsf_init(struct mt_tlsf *tlsf, uint64_t granule_bytes, uint64_t smallest_bytes,
                  struct mt_tlsf_block *records, uint32_t capacity);

/*
 * Replaces the record memory by a larger one, to which the caller has copied
 * the old one and whose rest is zeroed. Ids stay valid.
 */
void mt_tlsf_move_records(struct mt_tlsf *tlsf, struct mt_tlsf_block *records, uint32_t capacity);

/* Records left. With fewer than MT_TLSF_RECORDS_NEEDED a call may fail for want of them. */
static inline uint32_t mt_tlsf_records_left(const struct mt_tlsf *tlsf)
{
    return tlsf->spare_count + (tlsf->capacity - tlsf->untouched);
}

/*
 * Adds a chunk, whose offset and size are multiples of the granule and which is no smaller than the smallest block.
 * Returns the id of the free block that covers it, 0 when there is no record left.
 */
uint32_t mt_tlsf_add_chunk(struct mt_tlsf *tlsf, uint64_t offset, uint64_t bytes, uint32_t user);
/*
 * Adds a multiple of the granule, at least the smallest block, to the end of a chunk, whose first block has the id
 * that mt_tlsf_add_chunk() returned as long as the chunk exists. Returns the id of the free block that the addition
 * lies in, 0 when there is no record left. Walks the chunk's blocks.
 */
uint32_t mt_tlsf_extend_chunk(struct mt_tlsf *tlsf, uint32_t first, uint64_t bytes);
/* True for a free block that covers a whole chunk, which may then be removed. */
bool mt_tlsf_is_whole_chunk(const struct mt_tlsf *tlsf, uint32_t block);
void mt_tlsf_remove_chunk(struct mt_tlsf *tlsf, uint32_t block);

/*
 * A block of at least `bytes` (not 0) at a multiple of `alignment` (a power of
 * two; 1 will do). What lies before an aligned start and behind the end stays
 * free; behind the end less than the smallest block is the block's. Returns its id, 0 when nothing fits or a record
 * is missing.
 */
uint32_t mt_tlsf_allocate(struct mt_tlsf *tlsf, uint64_t bytes, uint64_t alignment);

/* Frees a used block and joins it with free neighbours. Returns the id of the free block it lies in now. */
uint32_t mt_tlsf_free(struct mt_tlsf *tlsf, uint32_t block);

/* Grows or shrinks a used block where it is, to at least so many bytes. False, with nothing changed, when its right
 * neighbour does not allow it. */
bool mt_tlsf_resize(struct mt_tlsf *tlsf, uint32_t block, uint64_t bytes);

static inline const struct mt_tlsf_block *mt_tlsf_block(const struct mt_tlsf *tlsf, uint32_t block)
{
    return &tlsf->blocks[block];
}

/* The size of the largest free block, of at most 3.1 % less where there are many that large. */
uint64_t mt_tlsf_largest_free(const struct mt_tlsf *tlsf);

/* Calls visit for every free block, those of larger lists first, until it returns false. It changes nothing here.
 */
void mt_tlsf_visit_free(const struct mt_tlsf *tlsf, bool (*visit)(void *context, const struct mt_tlsf_block *block),
                        void *context);

/* Checks everything that must hold. NULL when it does, else what does not. Walks all records. */
const char *mt_tlsf_check(const struct mt_tlsf *tlsf);

#endif
