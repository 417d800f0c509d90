/*
 * The two stores of live blocks. Called on the path of recorded allocations
 * and frees, with the thread's busy mark set. Takes memory from mmap only.
 */
#include "live.h"

#include "sys.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

#define LOAD(field)         atomic_load_explicit(&(field), memory_order_relaxed)
#define STORE(field, value) atomic_store_explicit(&(field), value, memory_order_relaxed)

enum { PAGE = 4096 };

_Atomic uint8_t mt_live_filter[MT_LIVE_FILTER];
uint32_t mt_live_mask;

static enum mt_stacks_mode store;

/* ---- the shadow: one word for every 16 bytes of address space ------------------------- */

enum {
    ADDRESS_BITS = 47,
    LEAF_BITS = 26, /* address space of one leaf */
    LEAF_WORDS = 1 << (LEAF_BITS - 4),
    LEAF_PAGES = LEAF_WORDS * 8 / PAGE,
    LEAF_COUNT = 1 << (ADDRESS_BITS - LEAF_BITS),
};

/* A word: stack id 24 bits, coarse time 24 bits, frame 16 bits. */
enum { TIME_SHIFT = 22, TIME_BITS = 24 };

struct leaf {
    _Atomic uint64_t words[LEAF_WORDS];
    _Atomic uint8_t is_touched[LEAF_PAGES];
};

static struct leaf *_Atomic *leaves;

static void *map_sparse(size_t bytes)
{
    int saved = errno;
    void *at = mt_sys_mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
    errno = saved;
    return at == MAP_FAILED ? NULL : at;
}

/* Sparse mappings are counted by the pages that are in use. */
static void count_private(struct mt_core *core, uint64_t bytes)
{
    atomic_fetch_add_explicit(&core->segment->globals.private_bytes, bytes, memory_order_relaxed);
}

static struct leaf *add_leaf(struct mt_core *core, struct leaf *_Atomic *slot)
{
    struct leaf *seen = NULL, *fresh = map_sparse(sizeof *fresh);
    if (!fresh) return NULL;
    /* Release: pairs with the acquire of whoever finds the leaf. */
    if (atomic_compare_exchange_strong_explicit(slot, &seen, fresh, memory_order_acq_rel, memory_order_acquire)) {
        count_private(core, 2 * PAGE); /* the slot's own page and the touch bytes */
        return fresh;
    }
    mt_sys_munmap(fresh, sizeof *fresh);
    return seen;
}

static inline struct leaf *leaf_of(uintptr_t address)
{
    if (address >> ADDRESS_BITS || !leaves) return NULL;
    return atomic_load_explicit(&leaves[address >> LEAF_BITS], memory_order_acquire);
}

static inline unsigned word_index(uintptr_t address)
{
    return (unsigned)(address >> 4) % LEAF_WORDS;
}

static bool shadow_put(struct mt_core *core, uintptr_t address, const struct mt_live_block *what)
{
    struct leaf *leaf = leaf_of(address);
    if (!leaf && !(address >> ADDRESS_BITS) && leaves) leaf = add_leaf(core, &leaves[address >> LEAF_BITS]);
    if (!leaf || what->stack >> 24) return false;
    unsigned index = word_index(address);
    _Atomic uint8_t *touched = &leaf->is_touched[index / (PAGE / 8)];
    if (__builtin_expect(!LOAD(*touched), 0)) {
        STORE(*touched, 1);
        count_private(core, PAGE);
    }
    uint64_t time = (what->birth_ns >> TIME_SHIFT) & ((1u << TIME_BITS) - 1);
    STORE(leaf->words[index], (uint64_t)what->stack << 40 | time << 16 | (what->birth_frame & 0xffff));
    return true;
}

static bool shadow_take(uintptr_t address, struct mt_live_block *what)
{
    struct leaf *leaf = leaf_of(address);
    uint64_t word = leaf ? LOAD(leaf->words[word_index(address)]) : 0;
    if (!word) return false;
    STORE(leaf->words[word_index(address)], 0);
    what->stack = (uint32_t)(word >> 40);
    what->birth_ns = ((word >> 16) & ((1u << TIME_BITS) - 1)) << TIME_SHIFT;
    what->birth_frame = word & 0xffff;
    what->window = 0;
    what->is_exact = true;
    return true;
}

static void visit_page(uintptr_t base, const struct leaf *leaf, unsigned page,
                       void (*visit)(void *, uintptr_t, uint32_t), void *context)
{
    enum { WORDS = PAGE / 8 };
    for (unsigned i = page * WORDS; i < (page + 1) * WORDS; i++) {
        uint64_t word = LOAD(leaf->words[i]);
        if (word) visit(context, base + (uintptr_t)i * 16, (uint32_t)(word >> 40));
    }
}

void mt_live_each(void (*visit)(void *context, uintptr_t address, uint32_t stack), void *context)
{
    for (unsigned i = 0; leaves && i < LEAF_COUNT; i++) {
        const struct leaf *leaf = LOAD(leaves[i]);
        if (!leaf) continue;
        for (unsigned page = 0; page < LEAF_PAGES; page++)
            if (LOAD(leaf->is_touched[page])) visit_page((uintptr_t)i << LEAF_BITS, leaf, page, visit, context);
    }
}

static void shadow_clear(void)
{
    for (unsigned i = 0; i < LEAF_COUNT; i++) {
        struct leaf *leaf = LOAD(leaves[i]);
        if (!leaf) continue;
        madvise(leaf, sizeof *leaf, MADV_DONTNEED);
    }
}

/* ---- the hash table of sampled blocks ---------------------------------------------------- */

enum { BUCKETS = 4096, LOCKS = 64, AREA_BYTES = 65536, BATCH = 2, SPINS = 64, SLICE_STEP = 37 };

struct entry {
    struct entry *next;
    uintptr_t address;
    struct mt_live_block what;
};

struct table {
    struct {
        _Alignas(64) _Atomic uint32_t word;
        struct entry *free;
    } locks[LOCKS];
    struct entry *buckets[BUCKETS];
    _Alignas(64) _Atomic uint32_t area_lock; /* taken with a bucket's lock held */
    struct entry *area, *area_end;           /* never used yet; touched as they are needed */
};

static struct table *table;

/* Blocks that lie side by side, and those at the beginnings of slabs, share a few pages of the table. */
static unsigned bucket_of(uintptr_t address)
{
    return (unsigned)((address >> 4) + (address >> 16) * SLICE_STEP) % BUCKETS;
}

static void lock_word(_Atomic uint32_t *word)
{
    for (unsigned spin = 1;; spin++) {
        uint32_t idle = 0;
        if (atomic_compare_exchange_weak_explicit(word, &idle, 1, memory_order_acquire, memory_order_relaxed))
            return;
        if (spin % SPINS == 0) sched_yield();
    }
}

static void lock(unsigned bucket)
{
    lock_word(&table->locks[bucket % LOCKS].word);
}

static void unlock(unsigned bucket)
{
    atomic_store_explicit(&table->locks[bucket % LOCKS].word, 0, memory_order_release);
}

static _Atomic uint8_t *filter_of(uintptr_t address)
{
    return &mt_live_filter[((address >> 4) ^ (address >> 20)) % MT_LIVE_FILTER];
}

/* Counts the blocks that hash to a byte; a byte that is full stays so. */
static void change_filter(uintptr_t address, int change)
{
    _Atomic uint8_t *byte = filter_of(address);
    uint8_t seen = LOAD(*byte);
    while (seen != UINT8_MAX &&
           !atomic_compare_exchange_weak_explicit(byte, &seen, (uint8_t)(seen + change), memory_order_relaxed,
                                                  memory_order_relaxed)) {
    }
}

/* A few entries from the area that all locks share, so that a lock's first block touches no page of its own. */
static struct entry *take_batch(struct mt_core *core)
{
    lock_word(&table->area_lock);
    if (table->area_end - table->area < BATCH) {
        table->area = mt_private_map(core, AREA_BYTES);
        table->area_end = table->area ? table->area + AREA_BYTES / sizeof *table->area : NULL;
    }
    struct entry *batch = table->area;
    if (batch) table->area += BATCH;
    atomic_store_explicit(&table->area_lock, 0, memory_order_release);
    return batch;
}

/* With the bucket's lock held. */
static struct entry *take_entry(struct mt_core *core, unsigned bucket)
{
    struct entry **free = &table->locks[bucket % LOCKS].free;
    if (!*free) {
        struct entry *batch = take_batch(core);
        for (unsigned i = 0; batch && i < BATCH; i++) {
            batch[i].next = *free;
            *free = &batch[i];
        }
    }
    struct entry *entry = *free;
    if (entry) *free = entry->next;
    return entry;
}

static bool table_put(struct mt_core *core, uintptr_t address, const struct mt_live_block *what)
{
    if (!table) return false;
    unsigned bucket = bucket_of(address);
    lock(bucket);
    struct entry *entry = take_entry(core, bucket);
    if (entry) {
        entry->address = address;
        entry->what = *what;
        entry->next = table->buckets[bucket];
        table->buckets[bucket] = entry;
        change_filter(address, 1);
    }
    unlock(bucket);
    return entry != NULL;
}

static bool table_take(uintptr_t address, struct mt_live_block *what)
{
    if (!table) return false;
    unsigned bucket = bucket_of(address);
    lock(bucket);
    struct entry **link = &table->buckets[bucket];
    while (*link && (*link)->address != address) link = &(*link)->next;
    struct entry *entry = *link;
    if (entry) {
        *link = entry->next;
        *what = entry->what;
        entry->next = table->locks[bucket % LOCKS].free;
        table->locks[bucket % LOCKS].free = entry;
        change_filter(address, -1);
    }
    unlock(bucket);
    return entry != NULL;
}

/* In a fork's child: another thread may have held a lock, so the table is begun anew. */
static void table_clear(void)
{
    if (madvise(table, sizeof *table, MADV_DONTNEED)) memset(table, 0, sizeof *table);
    for (unsigned i = 0; i < MT_LIVE_FILTER; i++)
        if (LOAD(mt_live_filter[i])) STORE(mt_live_filter[i], 0); /* pages that were never used stay so */
}

/* ---- both ------------------------------------------------------------------------------------ */

void mt_live_start(struct mt_core *core, enum mt_stacks_mode mode)
{
    if (mode == MT_STACKS_ALL) {
        if (leaves)
            shadow_clear();
        else
            leaves = map_sparse(LEAF_COUNT * sizeof *leaves);
        STORE(mt_live_filter[0], leaves != NULL);
    } else if (mode == MT_STACKS_SAMPLED) {
        if (table)
            table_clear();
        else
            table = mt_private_map(core, sizeof *table);
        mt_live_mask = MT_LIVE_FILTER - 1;
    }
    store = mode;
}

bool mt_live_put(struct mt_core *core, const void *block, const struct mt_live_block *what)
{
    return store == MT_STACKS_ALL ? shadow_put(core, (uintptr_t)block, what)
                                  : table_put(core, (uintptr_t)block, what);
}

bool mt_live_take(struct mt_core *core, const void *block, struct mt_live_block *what)
{
    (void)core;
    return store == MT_STACKS_ALL ? shadow_take((uintptr_t)block, what) : table_take((uintptr_t)block, what);
}
