/*
 * A simple model beside the TLSF engine: which byte ranges are used, by
 * plain lists. Every step is done in both and then compared, with the
 * engine's own invariants checked after each one. Used by the unit test and
 * by the fuzz target; abort() on the first difference.
 */
#ifndef MT_TLSF_MODEL_H
#define MT_TLSF_MODEL_H

#include "tlsf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MODEL_BLOCKS = 4096, MODEL_CHUNKS = 16, MODEL_RECORDS = 3 * MODEL_BLOCKS };

struct model_range {
    uint64_t offset, bytes;
    uint32_t id;
};

struct model {
    struct mt_tlsf tlsf;
    struct mt_tlsf_block records[MODEL_RECORDS];
    uint64_t granule, smallest;
    struct model_range blocks[MODEL_BLOCKS], chunks[MODEL_CHUNKS];
    unsigned block_count, chunk_count;
    uint64_t next_offset;
    unsigned check_every, steps;
};

#define MODEL_MUST(condition)                                                                                      \
    do {                                                                                                           \
        if (!(condition)) {                                                                                        \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);                              \
            abort();                                                                                               \
        }                                                                                                          \
    } while (0)

static inline void model_start_with(struct model *model, uint64_t granule, uint64_t smallest)
{
    memset(model, 0, sizeof *model);
    model->granule = granule;
    model->smallest = smallest;
    model->next_offset = granule;
    model->check_every = 1;
    mt_tlsf_init(&model->tlsf, granule, smallest, model->records, MODEL_RECORDS);
}

static inline void model_start(struct model *model, uint64_t granule)
{
    model_start_with(model, granule, granule);
}

static inline uint64_t model_chunk_bytes(const struct model *model, uint64_t bytes)
{
    bytes = (bytes + model->granule - 1) / model->granule * model->granule;
    return bytes > model->smallest ? bytes : model->smallest;
}

/* A block has the bytes that were asked for, in granules, and less than the smallest block beside. */
static inline int model_is_size_of(const struct model *model, uint64_t size, uint64_t bytes)
{
    uint64_t least = model_chunk_bytes(model, bytes);
    return size >= least && size - least < model->smallest;
}

static inline void model_check(struct model *model)
{
    uint64_t used = 0;
    if (model->steps++ % model->check_every) return;
    const char *problem = mt_tlsf_check(&model->tlsf);
    if (problem) fprintf(stderr, "after step %u: %s\n", model->steps, problem);
    MODEL_MUST(!problem);
    for (unsigned i = 0; i < model->block_count; i++) used += model->blocks[i].bytes;
    MODEL_MUST(used == model->tlsf.used_bytes);
    MODEL_MUST(model->block_count == model->tlsf.used_count);
    MODEL_MUST(model->chunk_count == model->tlsf.chunk_count);
}

static inline int model_lies_in_a_chunk(const struct model *model, uint64_t offset, uint64_t bytes)
{
    for (unsigned i = 0; i < model->chunk_count; i++)
        if (offset >= model->chunks[i].offset && offset + bytes <= model->chunks[i].offset + model->chunks[i].bytes)
            return 1;
    return 0;
}

static inline int model_overlaps(const struct model *model, uint64_t offset, uint64_t bytes, unsigned except)
{
    for (unsigned i = 0; i < model->block_count; i++)
        if (i != except && offset < model->blocks[i].offset + model->blocks[i].bytes &&
            model->blocks[i].offset < offset + bytes)
            return 1;
    return 0;
}

static inline void model_add_chunk(struct model *model, uint64_t bytes)
{
    if (model->chunk_count == MODEL_CHUNKS) return;
    bytes = model_chunk_bytes(model, bytes);
    uint32_t id = mt_tlsf_add_chunk(&model->tlsf, model->next_offset, bytes, model->chunk_count + 1);
    MODEL_MUST(id);
    model->chunks[model->chunk_count++] = (struct model_range){model->next_offset, bytes, id};
    model->next_offset += bytes + (model->chunk_count % 3) * model->granule; /* some chunks touch, some do not */
    model_check(model);
}

/* The newest chunk, behind which nothing lies yet. */
static inline void model_extend_chunk(struct model *model, uint64_t bytes)
{
    if (!model->chunk_count) return;
    struct model_range *chunk = &model->chunks[model->chunk_count - 1];
    bytes = model_chunk_bytes(model, bytes);
    MODEL_MUST(mt_tlsf_extend_chunk(&model->tlsf, chunk->id, bytes));
    chunk->bytes += bytes;
    if (model->next_offset < chunk->offset + chunk->bytes) model->next_offset = chunk->offset + chunk->bytes;
    model_check(model);
}

static inline void model_allocate(struct model *model, uint64_t bytes, uint64_t alignment)
{
    if (model->block_count == MODEL_BLOCKS) return;
    uint64_t largest = mt_tlsf_largest_free(&model->tlsf);
    uint32_t id = mt_tlsf_allocate(&model->tlsf, bytes, alignment);
    if (!id) {
        /* Good fit may pass over a block of the size's own list, but never one that is a list larger. */
        MODEL_MUST(largest < (bytes + alignment + model->smallest) * 33 / 32 + 2 * model->smallest);
        return;
    }
    struct mt_tlsf_block block = *mt_tlsf_block(&model->tlsf, id);
    MODEL_MUST(block.state == MT_TLSF_USED);
    MODEL_MUST(block.offset % alignment == 0);
    MODEL_MUST(model_is_size_of(model, block.bytes, bytes));
    MODEL_MUST(model_lies_in_a_chunk(model, block.offset, block.bytes));
    MODEL_MUST(!model_overlaps(model, block.offset, block.bytes, MODEL_BLOCKS));
    model->blocks[model->block_count++] = (struct model_range){block.offset, block.bytes, id};
    model_check(model);
}

static inline void model_free(struct model *model, unsigned index)
{
    if (!model->block_count) return;
    index %= model->block_count;
    mt_tlsf_free(&model->tlsf, model->blocks[index].id);
    model->blocks[index] = model->blocks[--model->block_count];
    model_check(model);
}

static inline void model_resize(struct model *model, unsigned index, uint64_t bytes)
{
    if (!model->block_count) return;
    index %= model->block_count;
    struct model_range *range = &model->blocks[index];
    bool is_done = mt_tlsf_resize(&model->tlsf, range->id, bytes);
    struct mt_tlsf_block block = *mt_tlsf_block(&model->tlsf, range->id);
    MODEL_MUST(block.offset == range->offset);
    if (is_done) {
        MODEL_MUST(model_is_size_of(model, block.bytes, bytes));
        MODEL_MUST(!model_overlaps(model, block.offset, block.bytes, index));
        MODEL_MUST(model_lies_in_a_chunk(model, block.offset, block.bytes));
        range->bytes = block.bytes;
    } else {
        MODEL_MUST(block.bytes == range->bytes && bytes > range->bytes);
    }
    model_check(model);
}

/* Frees everything and takes every chunk away again. */
static inline void model_end(struct model *model)
{
    while (model->block_count) model_free(model, model->block_count - 1);
    MODEL_MUST(model->tlsf.free_count == model->chunk_count);
    for (uint32_t id = 1; id < MODEL_RECORDS; id++)
        if (model->records[id].state == MT_TLSF_FREE) {
            MODEL_MUST(mt_tlsf_is_whole_chunk(&model->tlsf, id));
            mt_tlsf_remove_chunk(&model->tlsf, id);
            model->chunk_count--;
        }
    model_check(model);
    MODEL_MUST(!model->tlsf.used_bytes && !model->tlsf.free_bytes && !model->tlsf.first_bitmap);
    MODEL_MUST(mt_tlsf_records_left(&model->tlsf) == MODEL_RECORDS - 1);
}

#endif
