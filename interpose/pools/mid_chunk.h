/*
 * The memory of an arena's chunk: address space of which a part is open, that
 * is, can be used and is in the page map; and what is known of its pages,
 * beside it. The arena's lock guards all of it.
 */
#ifndef MT_POOLS_MID_CHUNK_H
#define MT_POOLS_MID_CHUNK_H

#include "mid_block.h"

/* A chunk with bytes open and room for so many more that they are reserved_bytes. Both are whole slices. NULL when
 * it cannot be had. */
struct mt_mid_chunk *mt_mid_chunk_new(size_t bytes, size_t reserved_bytes);
/* Opens so many more bytes at its end, whole slices. False, with nothing changed, when they cannot be had. */
bool mt_mid_chunk_open(struct mt_mid_chunk *chunk, size_t bytes);
/* Gives back what is not open: it grows no more. */
void mt_mid_chunk_close(struct mt_mid_chunk *chunk);
/* No block lies in it. */
void mt_mid_chunk_drop(struct mt_mid_chunk *chunk);

#endif
