/*
 * The trail. Called on the path of every recorded block by the thread whose
 * stack it is; reads nothing outside of the stack's mapping and never waits.
 *
 * A walk is determined by the words on the stack that it reads: return
 * addresses, and saved frame pointers where a frame's place depends on them. A
 * node stands for such a word at its place, with all that were read outside of
 * it, so it is right as long as these are what they were. The path holds copies
 * of its nodes' words in one row. What is found is never wrong, because every
 * word of the walk was compared.
 */
#include "trail.h"

#include "module.h"
#include "sys.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define LOAD(field) atomic_load_explicit(&(field), memory_order_relaxed)

enum {
    NODES = 1024 * 1024, /* 32 MiB; then everything is forgotten */
    PIECE = 2048,        /* nodes that are counted as memory in use together */
    HINT_BITS = 13,
    HINTS_TRIED = 4,
    LOOKS = 48,          /* nodes that are looked at before the stack is walked instead */
    LOOKS_TO_KEEP = 512, /* before a node is made */
    RECORD_SHIFT = 6,    /* records are lines of the cache */
    WORDS_MAX = 2 * MT_STACK_DEPTH_MAX + 2,
};

static const uint64_t golden = UINT64_C(0x9e3779b97f4a7c15); /* for multiplicative hashes */

/* A word on the stack, and what it holds. */
struct word {
    const uintptr_t *at;
    uintptr_t value;
};

/* Node 0 is nobody. Of depth 0 are the ends of stacks: the value is the address, the place the tag in force. */
struct node {
    uintptr_t value;
    uint32_t place;   /* words between the word and the stack's end */
    uint32_t record;  /* of the walk that ends with this word, in lines of the segment; 0: none does */
    uint32_t caller;  /* the node of the word before it */
    uint32_t callee;  /* a node behind it, the one that was met last; 0 = none */
    uint32_t sibling; /* the next one behind the same node, in a ring */
    uint32_t depth;
};
_Static_assert(sizeof(struct node) == 32, "half a line of the cache");

/* Where a walk has ended, by what stood on the stack; key tells most others apart without a look at the node. */
struct hint {
    uint32_t key, id;
};

struct mt_trail {
    uint64_t stamp;      /* what all nodes depend on besides the stack; see stamp_of() */
    uintptr_t low, room; /* the thread's own stack; room 0: to be asked for */
    uintptr_t high;      /* end of the stack that the path lies on */
    uintptr_t nothing;   /* 0, to end rows with */
    struct hint *hint;   /* of the walk that was not found last; NULL: none yet */
    uint32_t hint_key;
    uint32_t count;       /* words of the path, outermost first */
    uint32_t node_count;  /* nobody included */
    uint32_t piece_count; /* pieces of nodes that were ever used */
    uint16_t tag;         /* of the path */
    struct word words[WORDS_MAX + 4];
    uint32_t ids[WORDS_MAX + 1]; /* the nodes of the end and of the path's words */
    struct hint hints[1 << HINT_BITS];
    _Alignas(64) struct node nodes[NODES];
};

/* Acquire pairs with whoever made rules void. */
static inline uint64_t stamp_of(struct mt_core *core)
{
    const struct mt_walk_shared_head *head = mt_walk_head(core);
    uint64_t rules = head ? atomic_load_explicit(&head->generation, memory_order_acquire) : 0;
    return rules << 32 | mt_module_generation(core);
}

/* ---- nodes --------------------------------------------------------------------------- */

static void count_private(struct mt_core *core, uint64_t bytes)
{
    atomic_fetch_add_explicit(&core->segment->globals.private_bytes, bytes, memory_order_relaxed);
}

/* 0 when there is no room for one more. */
static uint32_t make_node(struct mt_core *core, struct mt_trail *trail, uint32_t caller, uint32_t place,
                          uintptr_t value)
{
    uint32_t id = trail->node_count;
    if (id == NODES) return 0;
    if (id / PIECE >= trail->piece_count) {
        trail->piece_count++;
        count_private(core, PIECE * sizeof(struct node));
    }
    trail->node_count++;
    struct node *parent = &trail->nodes[caller];
    uint32_t first = parent->callee;
    trail->nodes[id] = (struct node){.value = value,
                                     .place = place,
                                     .caller = caller,
                                     .sibling = first ? trail->nodes[first].sibling : id,
                                     .depth = caller ? parent->depth + 1 : 0};
    if (first) trail->nodes[first].sibling = id;
    parent->callee = id;
    return id;
}

/* The node of a word behind another one. Where very many are behind that there may be two of it, which does no
 * harm. */
static uint32_t intern(struct mt_core *core, struct mt_trail *trail, uint32_t caller, uint32_t place,
                       uintptr_t value)
{
    struct node *parent = &trail->nodes[caller];
    uint32_t first = parent->callee, id = first;
    for (unsigned looks = 0; first && looks < LOOKS_TO_KEEP; looks++) {
        if (trail->nodes[id].value == value && trail->nodes[id].place == place) return parent->callee = id;
        id = trail->nodes[id].sibling;
        if (id == first) break;
    }
    return make_node(core, trail, caller, place, value);
}

static void forget(struct mt_trail *trail)
{
    if (trail->node_count > 1) memset(trail->hints, 0, sizeof trail->hints);
    trail->node_count = 1;
    trail->nodes[0].callee = 0;
    trail->count = 0;
    trail->high = 0;
    trail->room = 0;
}

/* Only what is used of it takes memory, and is counted as that piece by piece. */
static struct mt_trail *make(struct mt_core *core)
{
    int saved = errno;
    struct mt_trail *trail = mt_sys_mmap(NULL, sizeof *trail, PROT_READ | PROT_WRITE,
                                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
    errno = saved;
    if (trail == MAP_FAILED) return NULL;
    count_private(core, offsetof(struct mt_trail, nodes));
    forget(trail);
    return trail;
}

/* ---- the path -------------------------------------------------------------------------- */

static inline const uintptr_t *place_of(const struct mt_trail *trail, uint32_t place)
{
    return (const uintptr_t *)trail->high - place;
}

/* Puts a node onto the path, whose callers are there. */
static inline void put(struct mt_trail *trail, uint32_t id, uint32_t depth, const uintptr_t *at, uintptr_t value)
{
    trail->ids[depth] = id;
    trail->words[depth - 1] = (struct word){at, value};
}

/*
 * The path is to begin at the end of the stack that the calling thread is on,
 * under the tag in force; false when that end is not known.
 */
static __attribute__((noinline)) bool begin_path(struct mt_core *core, struct mt_walker *walker,
                                                 const uintptr_t *own)
{
    struct mt_trail *trail = walker->trail;
    uintptr_t high = mt_walk_stack_end(core, walker, (uintptr_t)own);
    const struct mt_walk_range *range = &walker->ranges[0];
    if (trail->high != high || trail->tag != walker->tag) {
        trail->count = 0;
        trail->ids[0] = high ? intern(core, trail, 0, walker->tag, high) : 0;
        trail->high = trail->ids[0] ? high : 0;
        trail->tag = walker->tag;
    }
    bool is_own = trail->high && walker->range_count && range->is_own && range->high == high;
    trail->low = range->low;
    trail->room = is_own ? high - range->low : 0;
    return trail->high != 0;
}

/* How many of the path's words stand: they are on the stack that is in use, and are what they were. */
MT_READS_STACK static inline uint32_t count_standing(struct mt_trail *trail, const uintptr_t *own)
{
    struct word *end = trail->words + trail->count;
    const struct word *word = trail->words;
    while (end > word && end[-1].at < own) end--;
    *end = (struct word){&trail->nothing, 1};
    for (;; word += 4) {
        if (*word[0].at != word[0].value) return (uint32_t)(word - trail->words);
        if (*word[1].at != word[1].value) return (uint32_t)(word - trail->words) + 1;
        if (*word[2].at != word[2].value) return (uint32_t)(word - trail->words) + 2;
        if (*word[3].at != word[3].value) return (uint32_t)(word - trail->words) + 3;
    }
}

/* ---- finding --------------------------------------------------------------------------- */

static inline struct mt_stack *record_of(struct mt_core *core, const struct node *node)
{
    return (struct mt_stack *)(void *)((char *)core->segment + ((uint64_t)node->record << RECORD_SHIFT));
}

/* True when a walk from `own` ends with the node, if the node is on the stack. */
static inline bool ends_with(const struct mt_trail *trail, const struct node *node, const uintptr_t *own)
{
    return node->record && (uintptr_t)place_of(trail, node->place) - (uintptr_t)own <= sizeof *own;
}

/*
 * Where walks have ended: a node by what stood on the stack when it was found. A
 * hint alone; the node is compared with the stack before it is used.
 */
static inline uint64_t mix(uint64_t key, uint64_t more)
{
    return (key ^ more) * golden;
}

MT_READS_STACK static inline uint64_t key_of(const struct mt_trail *trail, uint32_t standing, const uintptr_t *own)
{
    uint64_t changed = *trail->words[standing].at; /* 0 at the path's end */
    return mix(own[1] ^ changed << 21, (uint64_t)(uintptr_t)own << 9 ^ (uint64_t)trail->ids[standing] << 43);
}

/*
 * Puts a node and its callers onto the path, up to those of its words that stand. Returns NULL, or the first word
 * that is another one on the stack, with *standing set to what is left of the path.
 */
MT_READS_STACK static inline const uintptr_t *follow(struct mt_trail *trail, uint32_t id, uint32_t *standing)
{
    struct node *node = &trail->nodes[id];
    for (uint32_t depth = node->depth;; depth--) {
        if (depth <= *standing) {
            if (trail->ids[depth] == id) return NULL;
            *standing = depth ? depth - 1 : 0;
            if (!depth) return &trail->nothing; /* on another stack */
        }
        const uintptr_t *at = place_of(trail, node->place);
        if (*at != node->value) return at;
        put(trail, id, depth, at, node->value);
        uint32_t callee = id;
        id = node->caller;
        node = &trail->nodes[id];
        node->callee = callee;
    }
}

/* A word that tells the walk from the one that a hint named leads to the next hint. */
MT_READS_STACK static inline struct mt_stack *find_hinted(struct mt_core *core, struct mt_trail *trail,
                                                          uint32_t *standing, const uintptr_t *own)
{
    uint64_t key = key_of(trail, *standing, own);
    for (unsigned tries = 0; tries < HINTS_TRIED; tries++) {
        trail->hint = &trail->hints[key >> (64 - HINT_BITS)];
        trail->hint_key = (uint32_t)(key >> 8);
        uint32_t id = trail->hint->id;
        const struct node *node = &trail->nodes[id];
        if (trail->hint->key != trail->hint_key || !ends_with(trail, node, own)) return NULL;
        const uintptr_t *other = follow(trail, id, standing);
        if (__builtin_expect(!other, 1)) {
            trail->count = node->depth;
            return record_of(core, node);
        }
        key = mix(key, *other ^ (uint64_t)(uintptr_t)other << 20);
    }
    return NULL;
}

/* One of the nodes behind another that is on the stack; 0 when none was found. *looks is what may still be looked
 * at. */
MT_READS_STACK static inline uint32_t find_callee(const struct mt_trail *trail, uint32_t id, const uintptr_t *own,
                                                  int *looks)
{
    uint32_t first = trail->nodes[id].callee, callee = first;
    while (callee && --*looks > 0) {
        const struct node *node = &trail->nodes[callee];
        const uintptr_t *at = place_of(trail, node->place);
        if (at >= own && *at == node->value) return callee;
        callee = node->sibling;
        if (callee == first) break;
    }
    return 0;
}

/* From the last word that stands inwards, by what was met there before. */
static __attribute__((noinline)) struct mt_stack *find_below(struct mt_core *core, struct mt_trail *trail,
                                                             uint32_t standing, const uintptr_t *own)
{
    int looks = LOOKS;
    uint32_t id = trail->ids[standing];
    for (uint32_t depth = standing + 1;; depth++) {
        trail->count = depth - 1;
        uint32_t callee = find_callee(trail, id, own, &looks);
        if (!callee) return NULL;
        trail->nodes[id].callee = callee;
        id = callee;
        const struct node *node = &trail->nodes[id];
        put(trail, id, depth, place_of(trail, node->place), node->value);
        if (!ends_with(trail, node, own)) continue;
        trail->count = depth;
        *trail->hint = (struct hint){trail->hint_key, id};
        return record_of(core, node);
    }
}

struct mt_stack *mt_trail_find(struct mt_core *core, struct mt_walker *walker, const uintptr_t *own)
{
    struct mt_trail *trail = walker->trail;
    if (__builtin_expect(!trail || trail->stamp != stamp_of(core), 0)) return NULL;
    bool is_another = (uintptr_t)own - trail->low >= trail->room || trail->tag != walker->tag;
    if (__builtin_expect(is_another, 0) && !begin_path(core, walker, own)) return NULL;
    uint32_t standing = count_standing(trail, own);
    const struct node *last = &trail->nodes[trail->ids[standing]];
    if (ends_with(trail, last, own)) {
        trail->count = standing;
        return record_of(core, last);
    }
    struct mt_stack *record = find_hinted(core, trail, &standing, own);
    return __builtin_expect(record != NULL, 1) ? record : find_below(core, trail, standing, own);
}

/* ---- keeping ----------------------------------------------------------------------- */

void mt_trail_forget(struct mt_walker *walker)
{
    if (walker->trail) forget(walker->trail);
}

void mt_trail_begin(struct mt_core *core, struct mt_trail_start *start)
{
    start->stamp = stamp_of(core);
}

/*
 * NULL when the walk must not be kept: around dlclose rules are missing, and
 * what was in force when the walk began may not be any more.
 */
static struct mt_trail *ready(struct mt_core *core, struct mt_walker *walker, const struct mt_trail_start *start)
{
    const struct mt_walk_shared_head *head = mt_walk_head(core);
    if (!head || atomic_load_explicit(&head->closing, memory_order_seq_cst) || stamp_of(core) != start->stamp)
        return NULL;
    if (!walker->trail) walker->trail = make(core);
    struct mt_trail *trail = walker->trail;
    if (trail && trail->stamp != start->stamp) {
        forget(trail);
        trail->stamp = start->stamp;
    }
    return trail;
}

/* Lays a word behind so many of the path's; false when it cannot be told where it lies, or finds no room. */
static bool lay_word(struct mt_core *core, struct mt_trail *trail, uint32_t depth, const uintptr_t *at,
                     uintptr_t value)
{
    uintptr_t outside = depth ? (uintptr_t)trail->words[depth - 1].at : trail->high;
    if ((uintptr_t)at >= outside || trail->high - (uintptr_t)at >= UINT32_MAX) return false;
    uint32_t place = (uint32_t)((const uintptr_t *)trail->high - at);
    uint32_t id = intern(core, trail, trail->ids[depth], place, value);
    if (id) put(trail, id, depth + 1, at, value);
    return id != 0;
}

/* Lays the words of a walk, as far as they can be trusted: a frame's return address, then its frame pointer. */
static bool lay(struct mt_core *core, struct mt_trail *trail, const struct mt_walker *walker)
{
    uint32_t depth = 0;
    for (unsigned i = 0; i < walker->trusted_count; i++) {
        const struct mt_walk_frame *frame = &walker->frames[i];
        if (!lay_word(core, trail, depth++, (const uintptr_t *)frame->stack - 1, frame->pc)) return false;
        if (!frame->needs_frame || !frame->frame_saved_at) continue;
        if (!lay_word(core, trail, depth++, frame->frame_saved_at, frame->frame)) return false;
    }
    trail->count = depth;
    return true;
}

void mt_trail_add(struct mt_core *core, struct mt_walker *walker, const uintptr_t *own,
                  const struct mt_trail_start *start, struct mt_stack *record)
{
    struct mt_trail *trail = walker->count ? ready(core, walker, start) : NULL;
    if (!trail) return;
    trail->count = 0;
    if (!begin_path(core, walker, own)) {
        if (trail->node_count == NODES) forget(trail);
        return;
    }
    /* Of a handler on an alternate stack the outer frames lie elsewhere. */
    if (walker->frames[0].stack > trail->high || walker->frames[0].stack <= (uintptr_t)own) return;
    if (!lay(core, trail, walker)) {
        trail->count = 0;
        if (trail->node_count == NODES) forget(trail);
        return;
    }
    if (walker->trusted_count != walker->count) return;
    uint32_t id = trail->ids[trail->count];
    trail->nodes[id].record = (uint32_t)((uint64_t)((char *)record - (char *)core->segment) >> RECORD_SHIFT);
    if (trail->hint) *trail->hint = (struct hint){trail->hint_key, id};
}
