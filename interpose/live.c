/*
 * The two stores of live blocks. Called on the path of recorded allocations
 * and frees, with the thread's busy mark set. Takes memory from mmap only.
 */
#include "live.h"

#include "shadow.h"
#include "sys.h"

#include <sched.h>
#include <string.h>
#include <sys/mman.h>

#define LOAD(field)         atomic_load_explicit(&(field), memory_order_relaxed)
#define STORE(field, value) atomic_store_explicit(&(field), value, memory_order_relaxed)

_Alignas(4096) _Atomic uint8_t mt_live_filter[MT_LIVE_FILTER];
uint32_t mt_live_mask;

static enum mt_stacks_mode store;

/* ---- the shadow --------------------------------------------------------------------------- */

static bool shadow_put(struct mt_core *core, const void *block, const struct mt_live_block *what)
{
    return !(what->stack >> 24) &&
           mt_shadow_put(core, block, mt_shadow_word(what->stack, what->birth_ns, what->birth_frame));
}

static bool shadow_take(const void *block, struct mt_live_block *what)
{
    uint64_t word = mt_shadow_take(block);
    what->stack = mt_shadow_stack(word);
    what->birth_ns = (word >> 16 & ((1u << MT_SHADOW_TIME_BITS) - 1)) << MT_SHADOW_TIME_SHIFT;
    what->birth_frame = word & 0xffff;
    what->window = 0;
    what->is_exact = true;
    return word != 0;
}

/* ---- the hash table of sampled blocks ---------------------------------------------------- */

enum {
    REGION_BUCKETS = 512, /* one page of them for each 16 MiB of address space, in turn */
    REGIONS = 8,
    REGION_SHIFT = 24,
    LOCKS = 32,
    FIRST_ENTRIES = 18,
    AREA_BYTES = 65536,
    SPINS = 64,
    SLICE_STEP = 37,
};

struct entry {
    struct entry *next;
    uintptr_t address;
    struct mt_live_block what;
};

/* A program with few sampled blocks touches the first page and one page of buckets. */
struct table {
    struct {
        _Alignas(64) _Atomic uint32_t word;
        struct entry *free;
    } locks[LOCKS];
    _Alignas(64) _Atomic uint32_t area_lock; /* taken with a bucket's lock held */
    struct entry *area, *area_end;           /* never used yet; touched as they are needed */
    struct entry first[FIRST_ENTRIES];
    _Alignas(4096) struct entry *buckets[REGIONS * REGION_BUCKETS];
};
_Static_assert(offsetof(struct table, buckets) == 4096, "all else lies in the first page");

static struct table *table;

/* Blocks at the beginnings of slabs lie apart. */
static unsigned bucket_of(uintptr_t address)
{
    unsigned region = (unsigned)(address >> REGION_SHIFT) % REGIONS;
    return region * REGION_BUCKETS + (unsigned)((address >> 4) + (address >> 16) * SLICE_STEP) % REGION_BUCKETS;
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

/* Counts the blocks that hash to a byte; a byte that is full stays so. */
static void change_filter(uintptr_t address, int change)
{
    _Atomic uint8_t *byte = &mt_live_filter[mt_live_hash((const void *)address) % MT_LIVE_FILTER];
    uint8_t seen = LOAD(*byte);
    while (seen != UINT8_MAX &&
           !atomic_compare_exchange_weak_explicit(byte, &seen, (uint8_t)(seen + change), memory_order_relaxed,
                                                  memory_order_relaxed)) {
    }
}

/* One from the area that all locks share, so that a lock's first block touches no page of its own. */
static struct entry *take_fresh(struct mt_core *core)
{
    lock_word(&table->area_lock);
    if (table->area == table->area_end) {
        table->area = mt_private_map(core, AREA_BYTES);
        table->area_end = table->area ? table->area + AREA_BYTES / sizeof *table->area : NULL;
    }
    struct entry *entry = table->area ? table->area++ : NULL;
    atomic_store_explicit(&table->area_lock, 0, memory_order_release);
    return entry;
}

/* With the bucket's lock held. */
static struct entry *take_entry(struct mt_core *core, unsigned bucket)
{
    struct entry **free = &table->locks[bucket % LOCKS].free, *entry = *free;
    if (!entry) return take_fresh(core);
    *free = entry->next;
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
    if (mt_sys_madvise(table, sizeof *table, MADV_DONTNEED)) memset(table, 0, sizeof *table);
    for (unsigned i = 0; i < MT_LIVE_FILTER; i++)
        if (LOAD(mt_live_filter[i])) STORE(mt_live_filter[i], 0); /* pages that were never used stay so */
}

static void table_start(struct mt_core *core)
{
    if (table)
        table_clear();
    else
        table = mt_private_map(core, sizeof *table);
    if (!table) return;
    table->area = table->first;
    table->area_end = table->first + FIRST_ENTRIES;
}

/* ---- both ------------------------------------------------------------------------------------ */

void mt_live_start(struct mt_core *core, enum mt_stacks_mode mode)
{
    if (mode == MT_STACKS_ALL) {
        STORE(mt_live_filter[0], mt_shadow_start());
    } else if (mode == MT_STACKS_SAMPLED) {
        table_start(core);
        mt_live_mask = MT_LIVE_FILTER - 1;
    }
    store = mode;
}

bool mt_live_put(struct mt_core *core, const void *block, const struct mt_live_block *what)
{
    return store == MT_STACKS_ALL ? shadow_put(core, block, what) : table_put(core, (uintptr_t)block, what);
}

bool mt_live_take(struct mt_core *core, const void *block, struct mt_live_block *what)
{
    (void)core;
    return store == MT_STACKS_ALL ? shadow_take(block, what) : table_take((uintptr_t)block, what);
}
