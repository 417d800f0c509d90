/*
 * What waits near the threads, and the slots. Nothing here knows arenas: what
 * has to go is handed back to the caller. An entry of a slot is one word, so
 * that whoever exchanges it owns the block: its address, which is a multiple of
 * the slot's unit, with its size in units in the bits that addresses leave, the
 * upper sixteen of it in the upper ones.
 */
#include "mid_cache.h"
#include "alone.h"
#include "mid_block.h"
#include "stats.h"

#include <string.h>

#define LOAD(field)         atomic_load_explicit(&(field), memory_order_relaxed)
#define STORE(field, value) atomic_store_explicit(&(field), value, memory_order_relaxed)

enum {
    HIGH_SHIFT = 48,
    TRUST = 4, /* blocks that may leave a slot unused before none waits there any more */
};

struct slot {
    _Alignas(128) _Atomic uint64_t entries[MT_MID_CACHE_ENTRIES];
    _Atomic uint64_t missed_bytes; /* the size of the last block that was not let in */
    _Atomic uint32_t victim;       /* the entry that goes next */
    _Atomic uint32_t trust;        /* 0: blocks of this size were not asked for again of late */
    _Atomic bool is_used;          /* since the last look */
};

static struct slot slots[MT_MID_CACHE_SLOTS];

/* Of blocks with a mapping of their own: pages; else the steps at which blocks begin. */
static inline unsigned unit_shift(const struct slot *slot)
{
    return slot == &slots[MT_MID_CACHE_SLOTS - 1] ? MT_MID_PAGE_SHIFT : MT_MID_STEP_SHIFT;
}

static inline uint64_t low_mask(unsigned shift)
{
    return (UINT64_C(1) << shift) - 1;
}

/* ---- near ------------------------------------------------------------------------------- */

static struct mt_mid_cached remove_at(struct mt_mid_near *near, unsigned at)
{
    struct mt_mid_cached found = near->blocks[at];
    near->count--;
    near->bytes -= found.bytes;
    for (unsigned i = at; i < near->count; i++) near->blocks[i] = near->blocks[i + 1];
    if (near->idle_count > at) near->idle_count--;
    return found;
}

static bool empty_slot(struct mt_large_slot *slot, struct mt_mid_cached *found)
{
    *found = (struct mt_mid_cached){slot->block, slot->usable};
    slot->block = NULL;
    return found->block;
}

static bool take_from_slots(struct mt_mid_near *near, size_t bytes, struct mt_mid_cached *found)
{
    size_t slack = mt_mid_cache_slack(bytes);
    for (unsigned i = 0; i < MT_LARGE_SLOTS && near->has_slots; i++)
        if (mt_mid_cache_fits(near->slots[i].usable, bytes, slack) && empty_slot(&near->slots[i], found))
            return true;
    return false;
}

bool mt_mid_near_take(struct mt_mid_near *near, size_t bytes, struct mt_mid_cached *found)
{
    size_t slack = mt_mid_cache_slack(bytes);
    for (unsigned i = near->count; i-- > 0;) {
        if (!mt_mid_cache_fits(near->blocks[i].bytes, bytes, slack)) continue;
        *found = remove_at(near, i);
        return true;
    }
    return take_from_slots(near, bytes, found);
}

struct mt_mid_cached mt_mid_near_oldest(struct mt_mid_near *near)
{
    return remove_at(near, 0);
}

bool mt_mid_near_put(struct mt_mid_near *near, struct mt_mid_cached block)
{
    if (near->most_bytes < MT_MID_NEAR_BYTES) near->most_bytes = MT_MID_NEAR_BYTES; /* a new heap's is 0 */
    if (near->count == MT_MID_NEAR || near->bytes + block.bytes > near->most_bytes) return false;
    near->blocks[near->count++] = block;
    near->bytes += block.bytes;
    return true;
}

/* What waits in slots begins to idle; where there is no room for that, it goes. */
static unsigned age_slots(struct mt_mid_near *near, bool is_idle_only, struct mt_mid_cached *others)
{
    struct mt_mid_cached found;
    unsigned count = 0;
    for (unsigned i = 0; i < MT_LARGE_SLOTS; i++)
        if (empty_slot(&near->slots[i], &found) && !(is_idle_only && mt_mid_near_put(near, found)))
            others[count++] = found;
    return count;
}

unsigned mt_mid_near_empty(struct mt_mid_near *near, bool is_idle_only,
                           struct mt_mid_cached others[MT_MID_NEAR_ALL])
{
    unsigned count = 0, most = is_idle_only ? near->idle_count : near->count;
    while (count < most) others[count++] = remove_at(near, 0);
    count += age_slots(near, is_idle_only, &others[count]);
    near->idle_count = near->count;
    return count;
}

/* So much may wait of blocks with a mapping of their own: no more than is in use of all of them. */
static size_t most_huge_bytes(void)
{
    size_t half = (mt_pools_tlsf_used(&mt_pools_stats) + LOAD(mt_pools_stats.huge_bytes)) / 2;
    return half > 2 * (size_t)MT_MID_SLOT_BYTES ? half : 2 * (size_t)MT_MID_SLOT_BYTES;
}

size_t mt_mid_cache_most(size_t bytes)
{
    return bytes > MT_MID_MAX ? most_huge_bytes() : MT_MID_SLOT_BYTES;
}

unsigned mt_mid_near_put_large(struct mt_mid_near *near, struct mt_mid_cached block,
                               struct mt_mid_cached others[MT_MID_NEAR_ALL + 1])
{
    unsigned count = 0;
    size_t most = mt_mid_cache_most(block.bytes);
    near->most_bytes = MT_MID_NEAR_BYTES + (near->trust ? most : 0);
    while (near->trust && block.bytes <= most) {
        if (mt_mid_near_put(near, block)) return count;
        others[count] = mt_mid_near_oldest(near);
        if (others[count++].bytes > MT_MID_NEAR_BYTES) near->trust--;
    }
    near->most_bytes = MT_MID_NEAR_BYTES; /* or the block is larger than all that may wait */
    while (near->bytes > near->most_bytes) others[count++] = mt_mid_near_oldest(near);
    near->missed_bytes[near->missed_count++ % MT_MID_MISSED] = block.bytes;
    others[count++] = block;
    return count;
}

bool mt_mid_near_take_large(struct mt_mid_near *near, size_t bytes, struct mt_mid_cached *found)
{
    bool waits = near->bytes > MT_MID_NEAR_BYTES || near->has_slots; /* a large one, maybe */
    bool is_found = waits && mt_mid_near_take(near, bytes, found);
    size_t slack = mt_mid_cache_slack(bytes);
    if (is_found && near->trust < TRUST) near->trust++;
    for (unsigned i = 0; i < MT_MID_MISSED && !is_found && !near->trust; i++)
        if (mt_mid_cache_fits(near->missed_bytes[i], bytes, slack)) near->trust = 1; /* the next one is let in */
    return is_found;
}

/* ---- slots -------------------------------------------------------------------------------- */

static struct slot *slot_for(const struct mt_theap *heap, size_t bytes)
{
    if (bytes > MT_MID_MAX) return &slots[MT_MID_CACHE_SLOTS - 1];
    return &slots[heap ? heap->id % (MT_MID_CACHE_SLOTS - 1) : 0];
}

static inline size_t bytes_of(const struct slot *slot, uint64_t entry)
{
    unsigned shift = unit_shift(slot);
    return ((entry & low_mask(shift)) | entry >> HIGH_SHIFT << shift) << shift;
}

static uint64_t pack(const struct slot *slot, struct mt_mid_cached block)
{
    unsigned shift = unit_shift(slot);
    uint64_t units = block.bytes >> shift;
    return (uint64_t)(uintptr_t)block.block | (units & low_mask(shift)) | units >> shift << HIGH_SHIFT;
}

static struct mt_mid_cached unpack(const struct slot *slot, uint64_t entry)
{
    uint64_t address = entry & low_mask(HIGH_SHIFT) & ~low_mask(unit_shift(slot));
    return (struct mt_mid_cached){.block = (char *)(uintptr_t)address, .bytes = bytes_of(slot, entry)};
}

/* Whether its size has room in an entry. */
static bool can_pack(const struct slot *slot, size_t bytes)
{
    return !(bytes >> (2 * unit_shift(slot)) >> (64 - HIGH_SHIFT));
}

/* Acquire: what the thread wrote that let the block wait. Pairs with the release in change() of that thread. */
static bool change(_Atomic uint64_t *entry, uint64_t from, uint64_t to)
{
    if (mt_is_alone()) {
        bool is_same = LOAD(*entry) == from;
        if (is_same) STORE(*entry, to);
        return is_same;
    }
    return atomic_compare_exchange_strong_explicit(entry, &from, to, memory_order_acq_rel, memory_order_relaxed);
}

static bool slot_take(struct slot *slot, size_t bytes, struct mt_mid_cached *found)
{
    size_t slack = mt_mid_cache_slack(bytes);
    for (unsigned i = 0; i < MT_MID_CACHE_ENTRIES; i++) {
        uint64_t entry = LOAD(slot->entries[i]);
        if (!mt_mid_cache_fits(bytes_of(slot, entry), bytes, slack) || !change(&slot->entries[i], entry, 0))
            continue;
        *found = unpack(slot, entry);
        STORE(slot->is_used, true);
        unsigned trust = LOAD(slot->trust);
        if (trust < TRUST) STORE(slot->trust, trust + 1);
        return true;
    }
    if (mt_mid_cache_fits(LOAD(slot->missed_bytes), bytes, slack) && !LOAD(slot->trust))
        STORE(slot->trust, 1); /* the next one is let in */
    return false;
}

static size_t slot_bytes(const struct slot *slot)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < MT_MID_CACHE_ENTRIES; i++) bytes += bytes_of(slot, LOAD(slot->entries[i]));
    return bytes;
}

size_t mt_mid_cache_bytes(void)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < MT_MID_CACHE_SLOTS; i++) bytes += slot_bytes(&slots[i]);
    const struct mt_mid_near *near = mt_theap_self ? &mt_theap_self->near : NULL;
    for (unsigned i = 0; i < MT_LARGE_SLOTS && near; i++)
        if (near->slots[i].block) bytes += near->slots[i].usable;
    return bytes + (near ? near->bytes : 0);
}

static size_t most_bytes(const struct slot *slot)
{
    return slot == &slots[MT_MID_CACHE_SLOTS - 1] ? most_huge_bytes() : MT_MID_SLOT_BYTES;
}

/* Takes one block out, in turn; 0 where others were faster. It has waited in vain. */
static uint64_t evict(struct slot *slot)
{
    unsigned at = LOAD(slot->victim), trust = LOAD(slot->trust);
    STORE(slot->victim, at + 1);
    uint64_t entry = atomic_exchange_explicit(&slot->entries[at % MT_MID_CACHE_ENTRIES], 0, memory_order_acquire);
    if (entry && trust) STORE(slot->trust, trust - 1);
    return entry;
}

static bool put_if_empty(struct slot *slot, uint64_t fresh)
{
    for (unsigned i = 0; i < MT_MID_CACHE_ENTRIES; i++)
        if (!LOAD(slot->entries[i]) && change(&slot->entries[i], 0, fresh)) return true;
    return false;
}

static unsigned slot_put(struct slot *slot, struct mt_mid_cached block, struct mt_mid_cached *others)
{
    unsigned count = 0;
    size_t most = most_bytes(slot);
    bool is_small_enough = can_pack(slot, block.bytes);
    for (unsigned i = 0; i <= MT_MID_CACHE_ENTRIES && is_small_enough && LOAD(slot->trust); i++) {
        if (slot_bytes(slot) + block.bytes <= most && put_if_empty(slot, pack(slot, block))) return count;
        uint64_t other = evict(slot);
        if (other) others[count++] = unpack(slot, other);
    }
    STORE(slot->missed_bytes, block.bytes);
    others[count++] = block;
    return count;
}

unsigned mt_mid_cache_empty(unsigned index, bool is_idle_only, struct mt_mid_cached others[MT_MID_CACHE_ENTRIES])
{
    struct slot *slot = &slots[index];
    unsigned count = 0;
    bool is_idle = !LOAD(slot->is_used);
    STORE(slot->is_used, false);
    for (unsigned i = 0; i < MT_MID_CACHE_ENTRIES && (is_idle || !is_idle_only); i++) {
        if (!LOAD(slot->entries[i])) continue;
        uint64_t entry = atomic_exchange_explicit(&slot->entries[i], 0, memory_order_acquire);
        if (entry) others[count++] = unpack(slot, entry);
    }
    return count;
}

bool mt_mid_cache_take(const struct mt_theap *heap, size_t bytes, struct mt_mid_cached *found)
{
    return slot_take(slot_for(heap, bytes), bytes, found);
}

unsigned mt_mid_cache_put(const struct mt_theap *heap, struct mt_mid_cached block,
                          struct mt_mid_cached others[MT_MID_CACHE_ENTRIES + 2])
{
    return slot_put(slot_for(heap, block.bytes), block, others);
}
