/*
 * The TLSF engine. Callers serialise; nothing here locks, allocates or touches
 * the managed ranges.
 */
#include "tlsf.h"

#include <string.h>

/* How many blocks of a size's own list are looked at when no larger list holds any. */
enum { OWN_LIST_LOOKS = 8 };
enum { NO_LIST = MT_TLSF_FIRST * MT_TLSF_SECOND };

/* The list in which a free block of this many granules lies: MT_TLSF_SECOND of them for each doubling. */
static inline unsigned list_of(uint64_t granules)
{
    if (granules < MT_TLSF_SECOND) return (unsigned)granules;
    unsigned shift = 63u - MT_TLSF_SECOND_BITS - (unsigned)__builtin_clzll(granules);
    return (shift << MT_TLSF_SECOND_BITS) + (unsigned)(granules >> shift);
}

/* The first list of which every block has at least this many granules. */
static inline unsigned list_above(uint64_t granules)
{
    if (granules >= MT_TLSF_SECOND) {
        unsigned exponent = 63u - (unsigned)__builtin_clzll(granules);
        granules += (UINT64_C(1) << (exponent - MT_TLSF_SECOND_BITS)) - 1;
    }
    return list_of(granules);
}

static inline unsigned list_of_block(const struct mt_tlsf *tlsf, const struct mt_tlsf_block *block)
{
    return list_of(block->bytes >> tlsf->granule_shift);
}

static inline uint32_t *head_of(struct mt_tlsf *tlsf, unsigned list)
{
    return &tlsf->heads[list / MT_TLSF_SECOND][list % MT_TLSF_SECOND];
}

static inline uint64_t round_up(const struct mt_tlsf *tlsf, uint64_t bytes)
{
    uint64_t mask = (UINT64_C(1) << tlsf->granule_shift) - 1;
    return bytes > tlsf->smallest_bytes ? (bytes + mask) & ~mask : tlsf->smallest_bytes;
}

/* ---- records --------------------------------------------------------------- */

/* Its fields are those that it had last. */
static inline uint32_t take_record(struct mt_tlsf *tlsf)
{
    uint32_t id = tlsf->spare;
    if (id) {
        tlsf->spare = tlsf->blocks[id].next;
        tlsf->spare_count--;
        return id;
    }
    return tlsf->untouched < tlsf->capacity ? tlsf->untouched++ : 0;
}

static inline void drop_record(struct mt_tlsf *tlsf, uint32_t id)
{
    tlsf->blocks[id].state = MT_TLSF_SPARE;
    tlsf->blocks[id].next = tlsf->spare;
    tlsf->spare = id;
    tlsf->spare_count++;
}

/* ---- free lists -------------------------------------------------------------- */

static inline void link_into(struct mt_tlsf *tlsf, uint32_t id, unsigned list)
{
    struct mt_tlsf_block *block = &tlsf->blocks[id];
    uint32_t *head = head_of(tlsf, list), next = *head;
    block->state = MT_TLSF_FREE;
    block->previous = 0;
    block->next = next;
    *head = id;
    if (next) {
        tlsf->blocks[next].previous = id;
        return;
    }
    tlsf->second_bitmap[list / MT_TLSF_SECOND] |= UINT32_C(1) << list % MT_TLSF_SECOND;
    tlsf->first_bitmap |= UINT64_C(1) << list / MT_TLSF_SECOND;
}

static inline void unlink_from(struct mt_tlsf *tlsf, const struct mt_tlsf_block *block, unsigned list)
{
    uint32_t next = block->next, previous = block->previous;
    if (next) tlsf->blocks[next].previous = previous;
    if (previous) {
        tlsf->blocks[previous].next = next;
        return;
    }
    *head_of(tlsf, list) = next;
    if (next) return;
    uint32_t left = tlsf->second_bitmap[list / MT_TLSF_SECOND] &= ~(UINT32_C(1) << list % MT_TLSF_SECOND);
    if (!left) tlsf->first_bitmap &= ~(UINT64_C(1) << list / MT_TLSF_SECOND);
}

static void link_free(struct mt_tlsf *tlsf, uint32_t id)
{
    link_into(tlsf, id, list_of_block(tlsf, &tlsf->blocks[id]));
    tlsf->free_count++;
}

static void unlink_free(struct mt_tlsf *tlsf, uint32_t id)
{
    unlink_from(tlsf, &tlsf->blocks[id], list_of_block(tlsf, &tlsf->blocks[id]));
    tlsf->free_count--;
}

/* A free block, in a list, has another size from now on. */
static inline void resize_in(struct mt_tlsf *tlsf, uint32_t id, unsigned list, uint64_t bytes)
{
    struct mt_tlsf_block *block = &tlsf->blocks[id];
    unsigned now = list_of(bytes >> tlsf->granule_shift);
    block->bytes = bytes;
    if (list == now) return;
    unlink_from(tlsf, block, list);
    link_into(tlsf, id, now);
}

static inline void resize_free(struct mt_tlsf *tlsf, uint32_t id, uint64_t bytes)
{
    resize_in(tlsf, id, list_of_block(tlsf, &tlsf->blocks[id]), bytes);
}

/* ---- finding ------------------------------------------------------------------- */

/* The first list at or above `from` that is not empty, NO_LIST when there is none. */
static inline unsigned list_at_or_above(const struct mt_tlsf *tlsf, unsigned from)
{
    unsigned first = from / MT_TLSF_SECOND;
    if (first >= MT_TLSF_FIRST) return NO_LIST;
    uint32_t second = tlsf->second_bitmap[first] & (~UINT32_C(0) << from % MT_TLSF_SECOND);
    if (!second) {
        uint64_t above = tlsf->first_bitmap & (~UINT64_C(1) << first);
        if (!above) return NO_LIST;
        first = (unsigned)__builtin_ctzll(above);
        second = tlsf->second_bitmap[first];
    }
    return first * MT_TLSF_SECOND + (unsigned)__builtin_ctz(second);
}

static inline uint32_t first_of(const struct mt_tlsf *tlsf, unsigned list)
{
    return list == NO_LIST ? 0 : tlsf->heads[list / MT_TLSF_SECOND][list % MT_TLSF_SECOND];
}

/* What lies before the first multiple of the alignment at which a block may start there: none, or a free block. */
static inline uint64_t pad_before(const struct mt_tlsf *tlsf, uint64_t offset, uint64_t alignment)
{
    uint64_t pad = (0 - offset) & (alignment - 1), smallest = tlsf->smallest_bytes;
    return !pad || pad >= smallest ? pad : pad + ((smallest - pad + alignment - 1) & ~(alignment - 1));
}

static inline bool fits(const struct mt_tlsf *tlsf, uint32_t id, uint64_t bytes, uint64_t alignment)
{
    const struct mt_tlsf_block *block = &tlsf->blocks[id];
    uint64_t pad = pad_before(tlsf, block->offset, alignment);
    return pad <= block->bytes && bytes <= block->bytes - pad;
}

/* A free block and the list that it is in. */
struct place {
    uint32_t id;
    unsigned list;
};

/* One of a list's first blocks that fits, although not every one of the list does. */
static struct place look_in_list(const struct mt_tlsf *tlsf, struct place place, uint64_t bytes, uint64_t alignment)
{
    for (unsigned looks = 0; place.id && looks < OWN_LIST_LOOKS; looks++, place.id = tlsf->blocks[place.id].next)
        if (fits(tlsf, place.id, bytes, alignment)) return place;
    return (struct place){0, 0};
}

/* In the list that a free block of the size would lie in. */
static inline struct place look_in_own_list(const struct mt_tlsf *tlsf, uint64_t bytes, uint64_t alignment)
{
    unsigned list = list_of(bytes >> tlsf->granule_shift);
    struct place first = {list < NO_LIST ? first_of(tlsf, list) : 0, list};
    return first.id ? look_in_list(tlsf, first, bytes, alignment) : first;
}

/*
 * A free block that fits, or the next one, of the same list or the first larger one that is not empty, where that
 * lies lower: what lies high is used seldom then and touched late, if at all. More looks change little.
 */
static inline struct place lower(const struct mt_tlsf *tlsf, struct place place, uint64_t bytes, uint64_t alignment)
{
    const struct mt_tlsf_block *block = &tlsf->blocks[place.id];
    struct place next = {block->next, place.list};
    if (!next.id) next.list = list_at_or_above(tlsf, place.list + 1);
    if (!next.id) next.id = first_of(tlsf, next.list);
    bool is_lower = next.id && tlsf->blocks[next.id].offset < block->offset;
    return is_lower && fits(tlsf, next.id, bytes, alignment) ? next : place;
}

/* In a list of which every block has so many granules. */
static inline struct place look_above(const struct mt_tlsf *tlsf, uint64_t granules)
{
    unsigned list = list_at_or_above(tlsf, list_above(granules));
    return (struct place){first_of(tlsf, list), list};
}

static struct place find_aligned(const struct mt_tlsf *tlsf, uint64_t bytes, uint64_t alignment)
{
    uint64_t granules = bytes >> tlsf->granule_shift;
    uint64_t extra = (alignment + tlsf->smallest_bytes) >> tlsf->granule_shift; /* more than any pad */
    struct place place = look_above(tlsf, granules);
    if (place.id && fits(tlsf, place.id, bytes, alignment)) return lower(tlsf, place, bytes, alignment);
    place = look_above(tlsf, granules + extra);
    if (place.id && fits(tlsf, place.id, bytes, alignment)) return lower(tlsf, place, bytes, alignment);
    return look_in_own_list(tlsf, bytes, alignment);
}

/*
 * The same where every block is aligned; one of the size's own list where none of those that are large for certain
 * lies lower. Of a size at which its own list begins every block there is large enough, else of the next list.
 */
static inline struct place find(const struct mt_tlsf *tlsf, uint64_t bytes)
{
    uint64_t granules = bytes >> tlsf->granule_shift;
    unsigned shift = granules < MT_TLSF_SECOND ? 0
                                               : 63u - MT_TLSF_SECOND_BITS - (unsigned)__builtin_clzll(granules);
    unsigned list = (shift << MT_TLSF_SECOND_BITS) + (unsigned)(granules >> shift);
    bool is_first = granules >> shift << shift == granules;
    struct place own = {0, list}, place = {0, list_at_or_above(tlsf, list + !is_first)};
    place.id = first_of(tlsf, place.list);
    if (place.id) place = lower(tlsf, place, bytes, 1);
    if (list < NO_LIST) own.id = first_of(tlsf, list);
    if (!is_first && own.id) own = look_in_list(tlsf, own, bytes, 1);
    return !own.id || (place.id && tlsf->blocks[place.id].offset < tlsf->blocks[own.id].offset) ? place : own;
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
                                    .marks = block->marks,
                                    .user = block->user};
    if (block->right) tlsf->blocks[block->right].left = right_id;
    block->right = right_id;
    block->bytes = bytes;
    return right_id;
}

/* A block takes the place of its right neighbour, which is in no list and whose record is given back. The caller
 * sees to its size. */
static inline void join_right(struct mt_tlsf *tlsf, uint32_t id)
{
    struct mt_tlsf_block *block = &tlsf->blocks[id];
    uint32_t right_id = block->right;
    const struct mt_tlsf_block *right = &tlsf->blocks[right_id];
    block->marks |= right->marks;
    block->right = right->right;
    if (right->right) tlsf->blocks[right->right].left = id;
    drop_record(tlsf, right_id);
}

static inline bool is_free(const struct mt_tlsf *tlsf, uint32_t id)
{
    return id && tlsf->blocks[id].state == MT_TLSF_FREE;
}

/* All of a free block becomes a used one, or its first part does: that gets a new record, so that what is left
 * stays in its list where it may, unless the chunk begins there. */
static inline uint32_t take_front(struct mt_tlsf *tlsf, struct place place, uint64_t bytes)
{
    uint32_t id = place.id;
    struct mt_tlsf_block *block = &tlsf->blocks[id];
    bool is_whole = block->bytes - bytes < tlsf->smallest_bytes;
    if (is_whole || !block->left) {
        unlink_free(tlsf, id);
        if (!is_whole) link_free(tlsf, cut(tlsf, id, bytes));
        block->state = MT_TLSF_USED;
        return id;
    }
    uint32_t made_id = take_record(tlsf);
    struct mt_tlsf_block *made = &tlsf->blocks[made_id];
    made->offset = block->offset;
    made->bytes = bytes;
    made->left = block->left;
    made->right = id;
    made->state = MT_TLSF_USED;
    made->marks = block->marks;
    made->user = block->user;
    tlsf->blocks[block->left].right = made_id;
    block->left = made_id;
    block->offset += bytes;
    resize_in(tlsf, id, place.list, block->bytes - bytes);
    return made_id;
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

void mt_tlsf_init(struct mt_tlsf *tlsf, uint64_t granule_bytes, uint64_t smallest_bytes,
                  struct mt_tlsf_block *records, uint32_t capacity)
{
    clear(tlsf);
    tlsf->blocks = records;
    tlsf->capacity = capacity;
    tlsf->untouched = 1;
    tlsf->granule_shift = (unsigned)__builtin_ctzll(granule_bytes);
    tlsf->smallest_bytes = (uint32_t)smallest_bytes;
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
    tlsf->free_bytes += bytes;
    tlsf->chunk_count++;
    return id;
}

uint32_t mt_tlsf_extend_chunk(struct mt_tlsf *tlsf, uint32_t first, uint64_t bytes)
{
    uint32_t last = first;
    while (tlsf->blocks[last].right) last = tlsf->blocks[last].right;
    struct mt_tlsf_block *block = &tlsf->blocks[last];
    if (block->state == MT_TLSF_FREE) {
        resize_free(tlsf, last, block->bytes + bytes);
        tlsf->free_bytes += bytes;
        return last;
    }
    uint32_t id = take_record(tlsf);
    if (!id) return 0;
    tlsf->blocks[id] = (struct mt_tlsf_block){
        .offset = block->offset + block->bytes, .bytes = bytes, .left = last, .user = block->user};
    block->right = id;
    link_free(tlsf, id);
    tlsf->free_bytes += bytes;
    return id;
}

bool mt_tlsf_is_whole_chunk(const struct mt_tlsf *tlsf, uint32_t id)
{
    const struct mt_tlsf_block *block = &tlsf->blocks[id];
    return block->state == MT_TLSF_FREE && !block->left && !block->right;
}

void mt_tlsf_remove_chunk(struct mt_tlsf *tlsf, uint32_t id)
{
    unlink_free(tlsf, id);
    tlsf->free_bytes -= tlsf->blocks[id].bytes;
    drop_record(tlsf, id);
    tlsf->chunk_count--;
}

static struct place skip_pad(struct mt_tlsf *tlsf, struct place place, uint64_t alignment)
{
    uint64_t pad = pad_before(tlsf, tlsf->blocks[place.id].offset, alignment);
    if (!pad) return place;
    unlink_free(tlsf, place.id);
    uint32_t id = cut(tlsf, place.id, pad);
    link_free(tlsf, place.id);
    link_free(tlsf, id);
    return (struct place){id, list_of_block(tlsf, &tlsf->blocks[id])};
}

uint32_t mt_tlsf_allocate(struct mt_tlsf *tlsf, uint64_t bytes, uint64_t alignment)
{
    if (bytes > UINT64_MAX / 2 || alignment > UINT64_MAX / 4 || mt_tlsf_records_left(tlsf) < MT_TLSF_RECORDS_NEEDED)
        return 0;
    bytes = round_up(tlsf, bytes);
    bool is_aligned = alignment >> tlsf->granule_shift <= 1;
    struct place place = is_aligned ? find(tlsf, bytes) : find_aligned(tlsf, bytes, alignment);
    if (!place.id) return 0;
    if (!is_aligned) place = skip_pad(tlsf, place, alignment);
    uint32_t id = take_front(tlsf, place, bytes);
    bytes = tlsf->blocks[id].bytes;
    tlsf->free_bytes -= bytes;
    tlsf->used_bytes += bytes;
    tlsf->used_count++;
    return id;
}

/* A block that is free now joins its left neighbour, and the right one does where that is free too. */
static inline uint32_t join_left(struct mt_tlsf *tlsf, uint32_t id, uint32_t left, uint32_t right)
{
    uint64_t bytes = tlsf->blocks[left].bytes + tlsf->blocks[id].bytes;
    if (is_free(tlsf, right)) {
        bytes += tlsf->blocks[right].bytes;
        unlink_free(tlsf, right);
        join_right(tlsf, id);
    }
    join_right(tlsf, left);
    resize_free(tlsf, left, bytes);
    return left;
}

/* The right neighbour takes its place. */
static inline uint32_t join_into_right(struct mt_tlsf *tlsf, uint32_t id, uint32_t left, uint32_t right)
{
    const struct mt_tlsf_block *block = &tlsf->blocks[id];
    struct mt_tlsf_block *other = &tlsf->blocks[right];
    other->offset = block->offset;
    other->left = left;
    other->marks |= block->marks;
    tlsf->blocks[left].right = right;
    resize_free(tlsf, right, other->bytes + block->bytes);
    drop_record(tlsf, id);
    return right;
}

/* The first block of a chunk keeps its record, and of two joined ones the one that is in a list already. */
uint32_t mt_tlsf_free(struct mt_tlsf *tlsf, uint32_t id)
{
    struct mt_tlsf_block *block = &tlsf->blocks[id];
    tlsf->used_bytes -= block->bytes;
    tlsf->free_bytes += block->bytes;
    tlsf->used_count--;
    uint32_t right = block->right, left = block->left;
    if (is_free(tlsf, left)) return join_left(tlsf, id, left, right);
    if (is_free(tlsf, right)) {
        if (left) return join_into_right(tlsf, id, left, right);
        unlink_free(tlsf, right);
        block->bytes += tlsf->blocks[right].bytes;
        join_right(tlsf, id);
    }
    link_free(tlsf, id);
    return id;
}

static bool shrink(struct mt_tlsf *tlsf, uint32_t id, uint64_t bytes)
{
    uint32_t right = tlsf->blocks[id].right;
    uint64_t less = tlsf->blocks[id].bytes - bytes;
    if (is_free(tlsf, right)) {
        tlsf->blocks[right].offset -= less;
        tlsf->blocks[right].marks |= tlsf->blocks[id].marks;
        tlsf->blocks[id].bytes = bytes;
        resize_free(tlsf, right, tlsf->blocks[right].bytes + less);
    } else {
        if (less < tlsf->smallest_bytes) return true;
        if (!mt_tlsf_records_left(tlsf)) return false;
        link_free(tlsf, cut(tlsf, id, bytes));
    }
    tlsf->used_bytes -= less;
    tlsf->free_bytes += less;
    return true;
}

static bool grow(struct mt_tlsf *tlsf, uint32_t id, uint64_t bytes)
{
    uint32_t right = tlsf->blocks[id].right;
    uint64_t more = bytes - tlsf->blocks[id].bytes;
    if (!is_free(tlsf, right) || tlsf->blocks[right].bytes < more) return false;
    if (tlsf->blocks[right].bytes - more < tlsf->smallest_bytes) {
        more = tlsf->blocks[right].bytes;
        unlink_free(tlsf, right);
        join_right(tlsf, id);
    } else {
        tlsf->blocks[right].offset += more;
        tlsf->blocks[id].marks |= tlsf->blocks[right].marks;
        resize_free(tlsf, right, tlsf->blocks[right].bytes - more);
    }
    tlsf->blocks[id].bytes += more;
    tlsf->used_bytes += more;
    tlsf->free_bytes -= more;
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
    if (block->bytes < tlsf->smallest_bytes) return "a block below the smallest";
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
        if (block->state != MT_TLSF_FREE) return "a used block in a free list";
        if (block->previous != previous) return "a free list broken backwards";
        if (list_of_block(tlsf, block) != first * MT_TLSF_SECOND + second) return "a block in the wrong free list";
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
