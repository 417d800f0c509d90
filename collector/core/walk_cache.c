/*
 * The cache of whole walks. Called on the path of every recorded block by the
 * thread whose stack it is; reads nothing outside of the stack's mapping and
 * never waits.
 *
 * The key of a walk is a hash of where it starts. Where walks with one key
 * part ways, a branch takes the key's place: it names the first word that
 * tells them apart, and that word's value makes their new keys. So a look goes
 * through as few words as tell the known walks apart, and then compares all.
 */
#include "walk_cache.h"

#include "module.h"

#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define NO_SANITIZE __attribute__((no_sanitize("address")))
#else
#define NO_SANITIZE
#endif

enum {
    INDEX_BITS = 14,
    INDEX = 1 << INDEX_BITS,
    PIECE_BYTES = 64 * 1024,
    PIECES = 64,
    OWN_FRAMES = 4,    /* of this library, at most, between the hook and the walk */
    MAX_BRANCHES = 24, /* on the way to one walk */
};

/* A walk, or (record NULL) a branch by the word at the offset `highest`. */
struct entry {
    uintptr_t key;
    struct mt_stack *record;
    uintptr_t pc, frame;
    uint32_t highest; /* offset of the highest word it reads */
    uint16_t word_count;
    bool needs_frame; /* the walk depends on the frame pointer it began with */
    /* The words that a walk went by; behind them, where they are: bytes above the place where the walk began. */
    uintptr_t values[];
};

enum { WORD_BYTES = sizeof(uintptr_t) + sizeof(uint32_t) };

static inline uint32_t *offsets_of(const struct entry *entry)
{
    return (uint32_t *)(uintptr_t)(entry->values + entry->word_count);
}

struct mt_walk_cache {
    struct mt_walk_validity valid;
    unsigned piece_count, piece; /* pieces that exist; the one being filled */
    uint32_t at;                 /* bytes used of it */
    char *pieces[PIECES];
    struct entry *index[INDEX];
    uintptr_t missed[INDEX]; /* keys that were missed once: a walk is kept when it comes again */
};

static inline uintptr_t mix(uintptr_t a, uintptr_t b)
{
    uintptr_t mixed = (a ^ b) * UINT64_C(0x9e3779b97f4a7c15);
    return mixed ^ mixed >> 32;
}

static inline unsigned slot_of(uintptr_t key)
{
    return (unsigned)(key % INDEX);
}

static inline struct mt_walk_validity validity_of(struct mt_core *core, const struct mt_walker *walker)
{
    const struct mt_walk_shared_head *head = mt_walk_head(core);
    return (struct mt_walk_validity){atomic_load_explicit(&core->epoch, memory_order_relaxed),
                                     head ? atomic_load_explicit(&head->generation, memory_order_acquire) : 0,
                                     mt_module_generation(core), walker->thread};
}

static inline bool is_same(const struct mt_walk_validity *a, const struct mt_walk_validity *b)
{
    return !((a->epoch ^ b->epoch) | (a->rules ^ b->rules) | (a->modules ^ b->modules) | (a->thread ^ b->thread));
}

/* ---- finding ----------------------------------------------------------------------- */

/*
 * The key takes the program's call from the chain of frame pointers where this
 * library's functions have them. Where they have not, it is a poorer key, but
 * no wrong result: a walk is compared in full.
 */
NO_SANITIZE static inline uintptr_t key_of(const uintptr_t *own, uintptr_t high, uintptr_t skip_low,
                                           uintptr_t skip_high)
{
    const uintptr_t *at = own;
    for (unsigned i = 0; i < OWN_FRAMES && at[1] - skip_low < skip_high - skip_low; i++) {
        uintptr_t next = at[0];
        if (next <= (uintptr_t)at || next >= high - 2 * sizeof next || next % sizeof next) break;
        at = (const uintptr_t *)next;
    }
    return mix(mix((uintptr_t)own, at[1]), (uintptr_t)at);
}

static inline struct entry *look_up(const struct mt_walk_cache *cache, uintptr_t key)
{
    struct entry *entry = cache->index[slot_of(key)];
    if (__builtin_expect(entry && entry->key == key, 1)) return entry;
    entry = cache->index[slot_of(key) ^ 1];
    return entry && entry->key == key ? entry : NULL;
}

NO_SANITIZE static inline uintptr_t word_at(const char *base, uintptr_t offset)
{
    return *(const uintptr_t *)(const void *)(base + offset);
}

NO_SANITIZE static inline bool holds(const struct entry *entry, const char *base)
{
    const uint32_t *offsets = offsets_of(entry);
    uintptr_t changed = 0;
    for (uint32_t i = 0; i < entry->word_count; i++) changed |= word_at(base, offsets[i]) ^ entry->values[i];
    return !changed;
}

static inline bool begins_at(const struct entry *entry, const uintptr_t *own)
{
    return entry->pc == own[1] && (!entry->needs_frame || entry->frame == own[0]);
}

NO_SANITIZE struct mt_stack *mt_walk_cache_find(struct mt_core *core, struct mt_walker *walker,
                                                const uintptr_t *own, uintptr_t skip_low, uintptr_t skip_high,
                                                struct mt_walk_start *start)
{
    const struct mt_walk_cache *cache = walker->cache;
    const char *base = (const char *)(own + 2);
    uintptr_t high = mt_walk_stack_end(core, walker, (uintptr_t)own);
    start->own = high ? own : NULL;
    if (!high) return NULL;
    start->valid = validity_of(core, walker);
    start->key = key_of(own, high, skip_low, skip_high);
    if (__builtin_expect(!cache || !is_same(&cache->valid, &start->valid), 0)) return NULL;
    uintptr_t room = high - (uintptr_t)base - sizeof(uintptr_t);
    for (unsigned i = 0; i < MAX_BRANCHES; i++) {
        const struct entry *entry = look_up(cache, start->key);
        if (!entry || entry->highest > room) return NULL;
        if (entry->record) return begins_at(entry, own) && holds(entry, base) ? entry->record : NULL;
        start->key = mix(start->key, word_at(base, entry->highest));
    }
    return NULL;
}

/* ---- keeping ----------------------------------------------------------------------- */

static void forget(struct mt_walk_cache *cache)
{
    memset(cache->index, 0, sizeof cache->index);
    cache->piece = 0;
    cache->at = 0;
}

/* Room for an entry; NULL when all is used, and then everything is forgotten. */
static struct entry *take(struct mt_core *core, struct mt_walk_cache *cache, size_t words)
{
    size_t bytes = (sizeof(struct entry) + words * WORD_BYTES + 7) & ~(size_t)7;
    if (cache->piece_count && cache->at + bytes > PIECE_BYTES) {
        cache->piece++;
        cache->at = 0;
    }
    if (cache->piece == PIECES) {
        forget(cache);
        return NULL;
    }
    if (cache->piece == cache->piece_count) {
        char *piece = mt_private_map(core, PIECE_BYTES);
        if (!piece) return NULL;
        cache->pieces[cache->piece_count++] = piece;
    }
    struct entry *entry = (struct entry *)(void *)(cache->pieces[cache->piece] + cache->at);
    cache->at += (uint32_t)bytes;
    return entry;
}

static bool has_saved_frame(const struct mt_walk_frame *frame)
{
    return frame->needs_frame && frame->frame_saved_at;
}

static unsigned count_words(const struct mt_walker *walker)
{
    unsigned count = walker->count - 1;
    for (unsigned i = 0; i + 1 < walker->count; i++) count += has_saved_frame(&walker->frames[i]);
    return count;
}

static void set_word(struct entry *entry, unsigned at, uintptr_t offset, uintptr_t value)
{
    entry->values[at] = value;
    offsets_of(entry)[at] = (uint32_t)offset;
    if (offset > entry->highest) entry->highest = (uint32_t)offset;
}

/* All that the walker compares before it builds on a walk; see is_unchanged() in walk.c. */
static void fill(struct entry *entry, const struct mt_walker *walker, unsigned word_count)
{
    const struct mt_walk_frame *inner = &walker->frames[walker->count - 1];
    entry->pc = inner->pc;
    entry->frame = inner->frame;
    entry->needs_frame = inner->needs_frame;
    entry->word_count = (uint16_t)word_count;
    entry->highest = 0;
    unsigned at = 0;
    for (unsigned i = walker->count - 1; i-- > 0;) {
        const struct mt_walk_frame *frame = &walker->frames[i];
        set_word(entry, at++, frame->stack - sizeof frame->pc - inner->stack, frame->pc);
        if (has_saved_frame(frame))
            set_word(entry, at++, (uintptr_t)frame->frame_saved_at - inner->stack, frame->frame);
    }
}

/* The newer one comes first. */
static void enter(struct mt_walk_cache *cache, struct entry *entry)
{
    unsigned slot = slot_of(entry->key);
    struct entry *first = cache->index[slot], *second = cache->index[slot ^ 1];
    if (second && second->key == entry->key) {
        cache->index[slot ^ 1] = entry;
        return;
    }
    if (first && first->key != entry->key) cache->index[slot ^ 1] = first;
    cache->index[slot] = entry;
}

/* The first word that tells two walks apart; -1 where there is none in both of them. */
static int difference(const struct entry *a, const struct entry *b)
{
    uint32_t count = a->word_count < b->word_count ? a->word_count : b->word_count;
    if (a->pc != b->pc) return -1;
    for (uint32_t i = 0; i < count; i++) {
        if (offsets_of(a)[i] != offsets_of(b)[i]) return -1;
        if (a->values[i] != b->values[i]) return (int)i;
    }
    return -1;
}

/* Puts a branch in the place of a walk that the new one has the key of. */
static void part(struct mt_core *core, struct mt_walk_cache *cache, struct entry *old, struct entry *entry)
{
    int at = difference(old, entry);
    struct entry *branch = at >= 0 ? take(core, cache, 0) : NULL;
    if (at >= 0 && !branch) return;
    if (branch) {
        *branch = (struct entry){.key = entry->key, .highest = offsets_of(entry)[at]};
        old->key = mix(branch->key, old->values[at]);
        entry->key = mix(branch->key, entry->values[at]);
        enter(cache, branch);
        enter(cache, old);
    }
    enter(cache, entry);
}

/*
 * NULL when the walk must not be kept: around dlclose rules are missing, and
 * what was in force when the walk began may not be any more.
 */
static struct mt_walk_cache *ready(struct mt_core *core, struct mt_walker *walker,
                                   const struct mt_walk_start *start)
{
    struct mt_walk_validity valid = validity_of(core, walker);
    const struct mt_walk_shared_head *head = mt_walk_head(core);
    if (!head || atomic_load_explicit(&head->closing, memory_order_seq_cst) || !is_same(&valid, &start->valid))
        return NULL;
    if (!walker->cache) walker->cache = mt_private_map(core, sizeof *walker->cache);
    struct mt_walk_cache *cache = walker->cache;
    if (!cache) return NULL;
    if (!is_same(&cache->valid, &valid)) forget(cache);
    cache->valid = valid;
    return cache;
}

/* True when a key is missed for the second time. */
static bool comes_again(struct mt_walk_cache *cache, uintptr_t key)
{
    uintptr_t *missed = &cache->missed[slot_of(key)];
    bool is_again = *missed == key;
    *missed = key;
    return is_again;
}

void mt_walk_cache_add(struct mt_core *core, struct mt_walker *walker, const struct mt_walk_start *start,
                       struct mt_stack *record)
{
    if (!start->own || !walker->count || walker->trusted_count != walker->count) return;
    if (walker->frames[0].stack - walker->frames[walker->count - 1].stack > UINT32_MAX) return;
    struct mt_walk_cache *cache = ready(core, walker, start);
    if (!cache || !comes_again(cache, start->key)) return;
    unsigned word_count = count_words(walker);
    struct entry *entry = take(core, cache, word_count);
    if (!entry) return;
    fill(entry, walker, word_count);
    entry->key = start->key;
    entry->record = record;
    struct entry *old = look_up(cache, entry->key);
    if (old && old->record)
        part(core, cache, old, entry);
    else if (!old)
        enter(cache, entry);
}
