/*
 * The slots of waiting blocks. Nothing here knows arenas: what has to go is
 * handed back to the caller. An entry is one word, so that whoever exchanges
 * it owns the block: its address, which is a multiple of 4 KiB, and its size
 * in units of 4 KiB.
 */
#include "mid_cache.h"
#include "pools.h"

#define LOAD(field)         atomic_load_explicit(&(field), memory_order_relaxed)
#define STORE(field, value) atomic_store_explicit(&(field), value, memory_order_relaxed)

enum { UNIT_SHIFT = 12, UNIT_MASK = (1 << UNIT_SHIFT) - 1 };
_Static_assert(MT_MID_CACHE_BYTES >> UNIT_SHIFT <= UNIT_MASK, "the size fits beside the address");

struct slot {
    _Alignas(128) _Atomic uintptr_t entries[MT_MID_CACHE_ENTRIES];
    _Atomic uint32_t victim; /* the entry that goes next */
    _Atomic bool is_used;    /* since the last look */
};

static struct slot slots[MT_MID_CACHE_SLOTS];

static struct slot *own_slot(void)
{
    return &slots[mt_theap_self ? mt_theap_self->id % MT_MID_CACHE_SLOTS : 0];
}

static size_t bytes_of(uintptr_t entry)
{
    return (entry & UNIT_MASK) << UNIT_SHIFT;
}

static struct mt_mid_cached unpack(uintptr_t entry)
{
    return (struct mt_mid_cached){(char *)(entry & ~(uintptr_t)UNIT_MASK), bytes_of(entry)};
}

/* Acquire: what the thread wrote that let the block wait. Pairs with the release in change() of that thread. */
static bool change(_Atomic uintptr_t *entry, uintptr_t from, uintptr_t to)
{
    return atomic_compare_exchange_strong_explicit(entry, &from, to, memory_order_acq_rel, memory_order_relaxed);
}

bool mt_mid_cache_take(size_t bytes, struct mt_mid_cached *found)
{
    struct slot *slot = own_slot();
    for (unsigned i = 0; i < MT_MID_CACHE_ENTRIES; i++) {
        uintptr_t entry = LOAD(slot->entries[i]);
        size_t size = bytes_of(entry);
        if (size < bytes || size - bytes > bytes / 8 || !change(&slot->entries[i], entry, 0)) continue;
        *found = unpack(entry);
        STORE(slot->is_used, true);
        return true;
    }
    return false;
}

static bool put_if_empty(struct slot *slot, uintptr_t fresh)
{
    for (unsigned i = 0; i < MT_MID_CACHE_ENTRIES; i++)
        if (!LOAD(slot->entries[i]) && change(&slot->entries[i], 0, fresh)) return true;
    return false;
}

static size_t waiting_bytes(const struct slot *slot)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < MT_MID_CACHE_ENTRIES; i++) bytes += bytes_of(LOAD(slot->entries[i]));
    return bytes;
}

/* Takes one block out, in turn; 0 where others were faster. */
static uintptr_t evict(struct slot *slot)
{
    unsigned at = LOAD(slot->victim);
    STORE(slot->victim, at + 1);
    return atomic_exchange_explicit(&slot->entries[at % MT_MID_CACHE_ENTRIES], 0, memory_order_acquire);
}

unsigned mt_mid_cache_put(struct mt_mid_cached block, struct mt_mid_cached others[MT_MID_CACHE_ENTRIES + 1])
{
    struct slot *slot = own_slot();
    uintptr_t fresh = (uintptr_t)block.block | block.bytes >> UNIT_SHIFT;
    unsigned count = 0;
    STORE(slot->is_used, true);
    for (unsigned tries = 0; tries < MT_MID_CACHE_ENTRIES; tries++) {
        if (waiting_bytes(slot) + block.bytes <= MT_MID_CACHE_BYTES && put_if_empty(slot, fresh)) return count;
        uintptr_t other = evict(slot);
        if (other) others[count++] = unpack(other);
    }
    if (!put_if_empty(slot, fresh)) others[count++] = block;
    return count;
}

unsigned mt_mid_cache_empty(unsigned index, bool is_idle_only,
                            struct mt_mid_cached others[MT_MID_CACHE_ENTRIES + 1])
{
    struct slot *slot = &slots[index];
    unsigned count = 0;
    bool is_idle = !LOAD(slot->is_used);
    STORE(slot->is_used, false);
    for (unsigned i = 0; i < MT_MID_CACHE_ENTRIES && (is_idle || !is_idle_only); i++) {
        uintptr_t entry = atomic_exchange_explicit(&slot->entries[i], 0, memory_order_acquire);
        if (entry) others[count++] = unpack(entry);
    }
    return count;
}
