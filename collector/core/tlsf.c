/*
 * The TLSF engine. Callers serialise; nothing here locks, allocates or touches
 * the managed ranges.
 */
#include "tlsf.h"

#include <string.h>

/* How many blocks of a size's own list are looked at when no larger list holds any. */
enum { OWN_LIST_LOOKS = 8 };
struct list {
    unsigned first, second;
};

/* The list in which a free block of this many granules lies. */
static struct list list_of(uint64_t granules)
{
    if (granules < MT_TLSF_SECOND) return (struct list){0, (unsigned)granules};
    unsigned exponent = 63u - (unsigned)__builtin_clzll(granules);
    unsigned second = (unsigned)(granules >> (exponent - MT_TLSF_SECOND_BITS)) - MT_TLSF_SECOND;
    return (struct list){exponent - MT_TLSF_SECOND_BITS + 1, second};
}

/* The first list of which every block has at least this many granules. */
static struct list list_above(uint64_t granules)
{
    if (granules >= MT_TLSF_SECOND) {
        unsigned exponent = 63u - (unsigned)__builtin_clzll(granules);
        granules += (UINT64_C(1) << (exponent - MT_TLSF_SECOND_BITS)) - 1;
    }
    return list_of(granules);
}

static uint64_t round_up(const struct mt_tlsf *tlsf, uint64_t bytes)
{
    uint64_t mask = (UINT64_C(1) << tlsf->granule_shift) - 1;
    return (bytes + mask) & ~mask;
}

/* ---- records --------------------------------------------------------------- */

static uint32_t take_record(struct mt_tlsf *tlsf)
{
    uint32_t id = tlsf->spare;
    if (id) {
        tlsf->spare = tlsf->blocks[id].next;
        tlsf->spare_count--;
        return id;
    }
    return tlsf->untouched < tlsf->capacity ? tlsf->untouched++ : 0;
}

static void drop_record(struct mt_tlsf *tlsf, uint32_t id)
{
    tlsf->blocks[id] = (struct mt_tlsf_block){.state = MT_TLSF_SPARE, .next = tlsf->spare};
    tlsf->spare = id;
    tlsf->spare_count++;
}

/* ---- free lists -------------------------------------------------------------- */

static void link_free(struct mt_tlsf *tlsf, uint32_t id)
{
    struct mt_tlsf_block *block = &tlsf->blocks[id];
    struct list list = list_of(block->bytes >> tlsf->granule_shift);
    uint32_t *head = &tlsf->heads[list.first][list.second];
    block->state = MT_TLSF_FREE;
    block->previous = 0;
    block->next = *head;
    if (*head) tlsf->blocks[*head].previous = id;
    *head = id;
    tlsf->second_bitmap[list.first] |= UINT32_C(1) << list.second;
    tlsf->first_bitmap |= UINT64_C(1) << list.first;
    tlsf->free_bytes += block->bytes;
    tlsf->free_count++;
}

static void unlink_free(struct mt_tlsf *tlsf, uint32_t id)
{
    struct mt_tlsf_block *block = &tlsf->blocks[id];
    tlsf->free_bytes -= block->bytes;
    tlsf->free_count--;
    if (block->next) tlsf->blocks[block->next].previous = block->previous;
    if (block->previous) {
        tlsf->blocks[block->previous].next = block->next;
        return;
    }
    struct list list = list_of(block->bytes >> tlsf->granule_shift);
    tlsf->heads[list.first][list.second] = block->next;
    if (block->next) return;
    tlsf->second_bitmap[list.first] &= ~(UINT32_C(1) << list.second);
    if (!tlsf->second_bitmap[list.first]) tlsf->first_bitmap &= ~(UINT64_C(1) << list.first);
}

/* The head of the first list at or above `from` that is not empty, 0 when there is none. */
static inline uint32_t head_at_or_above(const struct mt_tlsf *tlsf, struct list from)
{
    if (from.first >= MT_TLSF_FIRST) return 0;
    uint32_t second = tlsf->second_bitmap[from.first] & (~UINT32_C(0) << from.second);
    if (!second) {
        if (from.first + 1 >= MT_TLSF_FIRST) return 0;
        uint64_t first = tlsf->first_bitmap & (~UINT64_C(0) << (from.first + 1));
        if (!first) return 0;
        from.first = (unsigned)__builtin_ctzll(first);
        second = tlsf->second_bitmap[from.first];
    }
    return tlsf->heads[from.first][(unsigned)__builtin_ctz(second)];
}

static bool fits(const struct mt_tlsf *tlsf, uint32_t id, uint64_t bytes, uint64_t alignment)
{
    const struct mt_tlsf_block *block = &tlsf->blocks[id];
    uint64_t pad = (0 - block->offset) & (alignment - 1);
    return pad <= block->bytes && bytes <= block->bytes - pad;
}

/* A block of the size's own list may fit too, although not every one does. */
static uint32_t look_in_own_list(const struct mt_tlsf *tlsf, uint64_t bytes, uint64_t alignment)
{
    struct list list = list_of(bytes >> tlsf->granule_shift);
    if (list.first >= MT_TLSF_FIRST) return 0;
    uint32_t id = tlsf->heads[list.first][list.second];
    for (unsigned looks = 0; id && looks < OWN_LIST_LOOKS; looks++, id = tlsf->blocks[id].next)
        if (fits(tlsf, id, bytes, alignment)) return id;
    return 0;
}

/* The next free block, of the same list or the first larger one that is not empty. */
static uint32_t next_free(const struct mt_tlsf *tlsf, uint32_t id)
{
    const struct mt_tlsf_block *block = &tlsf->blocks[id];
    if (block->next) return block->next;
    struct list list = list_of(block->bytes >> tlsf->granule_shift);
    if (++list.second == MT_TLSF_SECOND) list = (struct list){list.first + 1, 0};
    return head_at_or_above(tlsf, list);
}

/*
 * A free block that fits, or the next one where that lies lower: what lies high is used seldom then and touched
 * late, if at all. More looks change little.
 */
static uint32_t lower(const struct mt_tlsf *tlsf, uint32_t id, uint64_t bytes, uint64_t alignment)
{
    uint32_t next = next_free(tlsf, id);
    bool is_lower = next && tlsf->blocks[next].offset < tlsf->blocks[id].offset;
    return is_lower && fits(tlsf, next, bytes, alignment) ? next : id;
}

static uint32_t find(const struct mt_tlsf *tlsf, uint64_t bytes, uint64_t alignment)
{
    uint64_t granules = bytes >> tlsf->granule_shift;
    uint32_t id = head_at_or_above(tlsf, list_above(granules));
    if (id && fits(tlsf, id, bytes, alignment)) return lower(tlsf, id, bytes, alignment);
    uint64_t extra = alignment >> tlsf->granule_shift;
    if (extra > 1) {
        id = head_at_or_above(tlsf, list_above(granules + extra - 1));
        if (id && fits(tlsf, id, bytes, alignment)) return lower(tlsf, id, bytes, alignment);
    }
    return look_in_own_list(tlsf, bytes, alignment);
}

/* ---- cutting and joining ------------------------------------------------------- */

/* Cuts a block in two; the new right part has no list yet. The caller made sure of a record. */
static uint32_t cut(struct mt_tlsf *tlsf, uint32_t id, uint64_t bytes)
{
    uint32_t right_id = take_record(tlsf);
    struct mt_tlsf_block *block = &tlsf->blocks[id], *right = &tlsf->blocks[right_id];
    *right = (struct mt_tlsf_block){.offset = block->offset + bytes,
                                    .bytes = block->bytes - bytes,
                                    .left = id,
                                    .right = block->right,
                                    .state = MT_TLSF_USED,
                                    .user = block->user};
    if (block->right) tlsf->blocks[block->right].left = right_id;
    block->right = right_id;
    block->bytes = bytes;
    return right_id;
}

/* Joins a block with its right neighbour, whose record is given back. Neither is in a list. */
static void join_right(struct mt_tlsf *tlsf, uint32_t id)
{
    struct mt_tlsf_block *block = &tlsf->blocks[id];
    uint32_t right_id = block->right;
    struct mt_tlsf_block *right = &tlsf->blocks[right_id];
    block->bytes += right->bytes;
    block->right = right->right;
    if (right->right) tlsf->blocks[right->right].left = id;
    drop_record(tlsf, right_id);
}

static bool is_free(const struct mt_tlsf *tlsf, uint32_t id)
{
    return id && tlsf->blocks[id].state == MT_TLSF_FREE;
}

/* ---- the interface ---------------------------------------------------------------- */

/* What is zero already is only read: memory that was never written stays untouched. */
static void clear(struct mt_tlsf *tlsf)
{
    _Static_assert(sizeof *tlsf % sizeof(uint64_t) == 0, "whole words");
    uint64_t *words = (uint64_t *)(void *)tlsf;
    for (size_t i = 0; i < sizeof *tlsf / sizeof *words; i++)
        if (words[i]) words[i] = 0;
}

void mt_tlsf_init(struct mt_tlsf *tlsf, uint64_t granule_bytes, struct mt_tlsf_block *records, uint32_t capacity)
{
    clear(tlsf);
    tlsf->blocks = records;
    tlsf->capacity = capacity;
    tlsf->untouched = 1;
    tlsf->granule_shift = (unsigned)__builtin_ctzll(granule_bytes);
}

void mt_tlsf_move_records(struct mt_tlsf *tlsf, struct mt_tlsf_block *records, uint32_t capacity)
{
    tlsf->blocks = records;
    tlsf->capacity = capacity;
}

uint32_t mt_tlsf_add_chunk(struct mt_tlsf *tlsf, uint64_t offset, uint64_t bytes, uint32_t user)
{
    uint32_t id = take_record(tlsf);
    if (!id) return 0;
    tlsf->blocks[id] = (struct mt_tlsf_block){.offset = offset, .bytes = bytes, .user = user};
    link_free(tlsf, id);
    tlsf->chunk_count++;
    return id;
}

bool mt_tlsf_extend_chunk(struct mt_tlsf *tlsf, uint32_t first, uint64_t bytes)
{
    uint32_t last = first;
    while (tlsf->blocks[last].right) last = tlsf->blocks[last].right;
    struct mt_tlsf_block *block = &tlsf->blocks[last];
    if (block->state == MT_TLSF_FREE) {
        unlink_free(tlsf, last);
        block->bytes += bytes;
        link_free(tlsf, last);
        return true;
    }
    uint32_t id = take_record(tlsf);
    if (!id) return false;
    tlsf->blocks[id] = (struct mt_tlsf_block){
        .offset = block->offset + block->bytes, .bytes = bytes, .left = last, .user = block->user};
    block->right = id;
    link_free(tlsf, id);
    return true;
}

bool mt_tlsf_is_whole_chunk(const struct mt_tlsf *tlsf, uint32_t id)
{
    const struct mt_tlsf_block *block = &tlsf->blocks[id];
    return block->state == MT_TLSF_FREE && !block->left && !block->right;
}

void mt_tlsf_remove_chunk(struct mt_tlsf *tlsf, uint32_t id)
{
    unlink_free(tlsf, id);
    drop_record(tlsf, id);
    tlsf->chunk_count--;
}

uint32_t mt_tlsf_allocate(struct mt_tlsf *tlsf, uint64_t bytes, uint64_t alignment)
{
    if (bytes > UINT64_MAX / 2 || alignment > UINT64_MAX / 4 || mt_tlsf_records_left(tlsf) < MT_TLSF_RECORDS_NEEDED)
        return 0;
    bytes = round_up(tlsf, bytes);
    uint32_t id = find(tlsf, bytes, alignment);
    if (!id) return 0;
    unlink_free(tlsf, id);
    uint64_t pad = (0 - tlsf->blocks[id].offset) & (alignment - 1);
    if (pad) {
        uint32_t before = id;
        id = cut(tlsf, before, pad);
        link_free(tlsf, before);
    }
    if (tlsf->blocks[id].bytes > bytes) link_free(tlsf, cut(tlsf, id, bytes));
    tlsf->blocks[id].state = MT_TLSF_USED;
    tlsf->used_bytes += bytes;
    tlsf->used_count++;
    return id;
}

uint32_t mt_tlsf_free(struct mt_tlsf *tlsf, uint32_t id)
{
    tlsf->used_bytes -= tlsf->blocks[id].bytes;
    tlsf->used_count--;
    uint32_t right = tlsf->blocks[id].right, left = tlsf->blocks[id].left;
    if (is_free(tlsf, right)) {
        unlink_free(tlsf, right);
        join_right(tlsf, id);
    }
    if (is_free(tlsf, left)) {
        unlink_free(tlsf, left);
        join_right(tlsf, left);
        id = left;
    }
    link_free(tlsf, id);
    return id;
}

static bool shrink(struct mt_tlsf *tlsf, uint32_t id, uint64_t bytes)
{
    uint32_t right = tlsf->blocks[id].right;
    uint64_t less = tlsf->blocks[id].bytes - bytes;
    if (is_free(tlsf, right)) {
        unlink_free(tlsf, right);
        tlsf->blocks[right].offset -= less;
        tlsf->blocks[right].bytes += less;
        tlsf->blocks[id].bytes = bytes;
        link_free(tlsf, right);
    } else {
        if (!mt_tlsf_records_left(tlsf)) return false;
        link_free(tlsf, cut(tlsf, id, bytes));
    }
    tlsf->used_bytes -= less;
    return true;
}

static bool grow(struct mt_tlsf *tlsf, uint32_t id, uint64_t bytes)
{
    uint32_t right = tlsf->blocks[id].right;
    uint64_t more = bytes - tlsf->blocks[id].bytes;
    if (!is_free(tlsf, right) || tlsf->blocks[right].bytes < more) return false;
    unlink_free(tlsf, right);
    if (tlsf->blocks[right].bytes == more) {
        join_right(tlsf, id);
    } else {
        tlsf->blocks[right].offset += more;
        tlsf->blocks[right].bytes -= more;
        tlsf->blocks[id].bytes = bytes;
        link_free(tlsf, right);
    }
    tlsf->used_bytes += more;
    return true;
}

bool mt_tlsf_resize(struct mt_tlsf *tlsf, uint32_t id, uint64_t bytes)
{
    if (!bytes || bytes > UINT64_MAX / 2) return false;
    bytes = round_up(tlsf, bytes);
    uint64_t now = tlsf->blocks[id].bytes;
    if (bytes == now) return true;
    return bytes < now ? shrink(tlsf, id, bytes) : grow(tlsf, id, bytes);
}

uint64_t mt_tlsf_largest_free(const struct mt_tlsf *tlsf)
{
    if (!tlsf->first_bitmap) return 0;
    unsigned first = 63u - (unsigned)__builtin_clzll(tlsf->first_bitmap);
    unsigned second = 31u - (unsigned)__builtin_clz(tlsf->second_bitmap[first]);
    uint64_t largest = 0;
    uint32_t id = tlsf->heads[first][second];
    for (unsigned looks = 0; id && looks < OWN_LIST_LOOKS; looks++, id = tlsf->blocks[id].next)
        if (tlsf->blocks[id].bytes > largest) largest = tlsf->blocks[id].bytes;
    return largest;
}

static bool visit_list(const struct mt_tlsf *tlsf, uint32_t id,
                       bool (*visit)(void *context, const struct mt_tlsf_block *block), void *context)
{
    for (; id; id = tlsf->blocks[id].next)
        if (!visit(context, &tlsf->blocks[id])) return false;
    return true;
}

void mt_tlsf_visit_free(const struct mt_tlsf *tlsf, bool (*visit)(void *context, const struct mt_tlsf_block *block),
                        void *context)
{
    for (unsigned first = MT_TLSF_FIRST; first-- > 0;) {
        for (uint32_t bits = tlsf->second_bitmap[first]; bits;) {
            unsigned second = 31u - (unsigned)__builtin_clz(bits);
            bits &= ~(UINT32_C(1) << second);
            if (!visit_list(tlsf, tlsf->heads[first][second], visit, context)) return;
        }
    }
}

/* ---- what must hold ------------------------------------------------------------------ */

static const char *check_block(const struct mt_tlsf *tlsf, uint32_t id)
{
    const struct mt_tlsf_block *block = &tlsf->blocks[id];
    const struct mt_tlsf_block *right = &tlsf->blocks[block->right], *left = &tlsf->blocks[block->left];
    uint64_t mask = (UINT64_C(1) << tlsf->granule_shift) - 1;
    if (!block->bytes || ((block->bytes | block->offset) & mask)) return "a block that is not made of granules";
    if (block->right && (right->left != id || right->state == MT_TLSF_SPARE))
        return "a right neighbour that does not know it";
    if (block->left && (left->right != id || left->state == MT_TLSF_SPARE))
        return "a left neighbour that does not know it";
    if (block->right && right->offset != block->offset + block->bytes) return "a gap between neighbours";
    if (block->right && right->user != block->user) return "neighbours of two chunks";
    if (block->right && block->state == MT_TLSF_FREE && right->state == MT_TLSF_FREE) return "two free neighbours";
    return NULL;
}

static const char *check_list(const struct mt_tlsf *tlsf, unsigned first, unsigned second, uint32_t *seen)
{
    bool has_bit = tlsf->second_bitmap[first] >> second & 1;
    uint32_t previous = 0, id = tlsf->heads[first][second];
    if (has_bit != (id != 0)) return "a bitmap that differs from its list";
    for (; id; previous = id, id = tlsf->blocks[id].next) {
        const struct mt_tlsf_block *block = &tlsf->blocks[id];
        struct list list = list_of(block->bytes >> tlsf->granule_shift);
        if (block->state != MT_TLSF_FREE) return "a used block in a free list";
        if (block->previous != previous) return "a free list broken backwards";
        if (list.first != first || list.second != second) return "a block in the wrong free list";
        if (++*seen > tlsf->free_count) return "more blocks in the lists than are free";
    }
    return NULL;
}

static const char *check_records(const struct mt_tlsf *tlsf)
{
    uint64_t used_bytes = 0, free_bytes = 0;
    uint32_t used = 0, free_blocks = 0, chunks = 0, spare = 0;
    for (uint32_t id = 1; id < tlsf->untouched; id++) {
        const struct mt_tlsf_block *block = &tlsf->blocks[id];
        if (block->state == MT_TLSF_SPARE) {
            spare++;
            continue;
        }
        const char *problem = check_block(tlsf, id);
        if (problem) return problem;
        bool is_used = block->state == MT_TLSF_USED;
        *(is_used ? &used : &free_blocks) += 1;
        *(is_used ? &used_bytes : &free_bytes) += block->bytes;
        if (!block->left) chunks++;
    }
    if (spare != tlsf->spare_count) return "lost records";
    if (used != tlsf->used_count || used_bytes != tlsf->used_bytes) return "wrong statistics of used blocks";
    if (free_blocks != tlsf->free_count || free_bytes != tlsf->free_bytes) return "wrong statistics of free blocks";
    return chunks == tlsf->chunk_count ? NULL : "a wrong number of chunks";
}

const char *mt_tlsf_check(const struct mt_tlsf *tlsf)
{
    const char *problem = check_records(tlsf);
    uint32_t seen = 0;
    for (unsigned first = 0; !problem && first < MT_TLSF_FIRST; first++) {
        if ((tlsf->first_bitmap >> first & 1) != (tlsf->second_bitmap[first] != 0))
            return "a bitmap that differs from the lists below it";
        for (unsigned second = 0; !problem && second < MT_TLSF_SECOND; second++)
            problem = check_list(tlsf, first, second, &seen);
    }
    if (!problem && seen != tlsf->free_count) problem = "a free block in no list";
    return problem;
}
