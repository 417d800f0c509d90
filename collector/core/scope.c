/*
 * The tables of scopes, tags and contexts. Rows are appended and never change;
 * a row is found through buckets that are filled by compare-and-swap, so that
 * nobody waits. They lie in struct mt_core, not in the segment, because they
 * outlive it in a fork's child. Called when a tag is pushed and on the slow
 * paths of allocation.
 */
#include "scope.h"

#include "segment.h"

#include <string.h>

enum { PROBES = 64 };

_Static_assert(sizeof(struct mt_tag_stack) <= 4096, "one page");

/* ---- names ----------------------------------------------------------------------------- */

static uint64_t word_at(const char *name)
{
    uint64_t word;
    memcpy(&word, name, sizeof word);
    return word;
}

/* Eight bytes at a time; the last ones of a longer name are taken twice. Multiplier: 2^64 / golden ratio. */
static uint32_t hash_of(const char *name, size_t length, bool is_tag)
{
    uint64_t hash = length * 2 + is_tag;
    if (length < sizeof(uint64_t)) {
        for (size_t i = 0; i < length; i++) hash = hash << 8 ^ hash >> 56 ^ (unsigned char)name[i];
    } else {
        for (size_t i = 0; i + sizeof(uint64_t) < length; i += sizeof(uint64_t))
            hash = (hash ^ word_at(name + i)) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= word_at(name + length - sizeof(uint64_t)) + (hash << 7);
    }
    hash *= UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)((hash ^ hash >> 29) >> 16);
}

static bool is_row(const struct mt_scope_name *row, const char *name, size_t length, uint32_t hash, bool is_tag)
{
    return row->hash == hash && row->length == length && row->is_tag == is_tag && !memcmp(row->name, name, length);
}

/* Cuts a name that is too long, and keeps UTF-8 whole. */
static size_t length_of(const char *name)
{
    size_t length = strnlen(name, MT_SCOPE_BYTES);
    if (length < MT_SCOPE_BYTES) return length;
    length = MT_SCOPE_BYTES - 1;
    while (length > MT_SCOPE_BYTES - 4 && ((unsigned char)name[length] & 0xc0) == 0x80) length--;
    return length;
}

/* 0 when the table is full. */
static uint32_t make(struct mt_core *core, const char *name, size_t length, uint32_t hash, bool is_tag)
{
    uint32_t count = atomic_load_explicit(&core->scope_count, memory_order_relaxed);
    do {
        if (count >= MT_SCOPE_MAX - 1) {
            mt_core_drop(core, MT_DROPPED_TAGS);
            return 0;
        }
    } while (!atomic_compare_exchange_weak_explicit(&core->scope_count, &count, count + 1, memory_order_relaxed,
                                                    memory_order_relaxed));
    struct mt_scope_name *row = &core->scopes[count + 1];
    row->hash = hash;
    row->length = (uint8_t)length;
    row->is_tag = is_tag;
    memcpy(row->name, name, length);
    if (name[length]) mt_core_drop(core, MT_DROPPED_NAMES);
    return count + 1;
}

/* There is always an empty bucket: there are twice as many as rows. */
static inline uint32_t find(struct mt_core *core, const char *name, bool is_tag, bool makes)
{
    size_t length = length_of(name);
    uint32_t hash = hash_of(name, length, is_tag), made = 0;
    for (uint32_t at = hash;; at++) {
        _Atomic uint16_t *bucket = &core->scope_buckets[at % MT_SCOPE_BUCKETS];
        /* Acquire pairs with the release below: who finds the number finds the row. */
        uint16_t number = atomic_load_explicit(bucket, memory_order_acquire);
        if (!number) {
            if (!made && makes) made = make(core, name, length, hash, is_tag);
            if (!made) return 0;
            if (atomic_compare_exchange_strong_explicit(bucket, &number, (uint16_t)made, memory_order_release,
                                                        memory_order_acquire))
                return made;
        }
        /* Where another thread was faster with this name, the row made here stays unused. */
        if (is_row(&core->scopes[number], name, length, hash, is_tag)) return number;
    }
}

uint32_t mt_scope_find(struct mt_core *core, const char *name)
{
    return find(core, name, false, true);
}

uint32_t mt_scope_find_tag(struct mt_core *core, const char *name)
{
    return find(core, name, true, true);
}

uint32_t mt_scope_known_tag(struct mt_core *core, const char *name)
{
    return find(core, name, true, false);
}

void mt_scope_tell(struct mt_core *core, uint32_t number)
{
    struct mt_scope_name *row = &core->scopes[number];
    uint32_t epoch = atomic_load_explicit(&core->epoch, memory_order_relaxed) + 1;
    if (!number || atomic_load_explicit(&row->told, memory_order_relaxed) == epoch) return;
    char *to = core->segment->origins.scopes[number];
    if (!mt_segment_commit(core, to, MT_SCOPE_BYTES)) return;
    memcpy(to, row->name, MT_SCOPE_BYTES); /* the same bytes, whoever writes them, for readers */
    mt_segment_rest(core, core->segment->origins.scopes, sizeof core->segment->origins.scopes);
    uint64_t budget_bytes = atomic_load_explicit(&row->budget_bytes, memory_order_relaxed);
    _Atomic uint64_t *budget = &core->segment->origins.budgets[number];
    if (budget_bytes && mt_segment_commit(core, budget, sizeof *budget))
        atomic_store_explicit(budget, budget_bytes, memory_order_relaxed);
    atomic_store_explicit(&row->told, epoch, memory_order_relaxed);
}

bool mt_scope_set_budget(struct mt_core *core, const char *tag, uint64_t bytes)
{
    uint32_t number = mt_scope_find_tag(core, tag);
    if (!number || !mt_core_ready(core)) return false;
    atomic_store_explicit(&core->scopes[number].budget_bytes, bytes, memory_order_relaxed);
    mt_scope_tell(core, number); /* the name, and what the next segment is told; here the newest budget counts */
    _Atomic uint64_t *budget = &core->segment->origins.budgets[number];
    if (!mt_segment_commit(core, budget, sizeof *budget)) return false;
    atomic_store_explicit(budget, bytes, memory_order_relaxed);
    return true;
}

/* ---- contexts ---------------------------------------------------------------------------- */

/* A pair is one word, and its place in the table is its number: nothing else has to be seen with it. */
uint32_t mt_scope_context(struct mt_core *core, uint32_t tag, uint32_t scope)
{
    if (!tag || !scope) return tag | scope;
    uint32_t pair = tag << 16 | scope, first = pair * UINT32_C(0x9e3779b1) >> 16;
    for (uint32_t i = 0; i < PROBES; i++) {
        uint32_t at = (first + i) % MT_CONTEXT_PAIRS, seen = 0;
        if (atomic_load_explicit(&core->contexts[at], memory_order_relaxed) == pair ||
            atomic_compare_exchange_strong_explicit(&core->contexts[at], &seen, pair, memory_order_relaxed,
                                                    memory_order_relaxed) ||
            seen == pair)
            return MT_SCOPE_MAX + at;
    }
    mt_core_drop(core, MT_DROPPED_TAGS);
    return tag;
}

struct mt_scope_parts mt_scope_parts(const struct mt_core *core, uint32_t context)
{
    if (context >= MT_SCOPE_MAX + MT_CONTEXT_PAIRS) return (struct mt_scope_parts){0, 0};
    if (context >= MT_SCOPE_MAX) {
        uint32_t pair = atomic_load_explicit(&core->contexts[context - MT_SCOPE_MAX], memory_order_relaxed);
        return (struct mt_scope_parts){pair >> 16, pair & 0xffff};
    }
    return core->scopes[context].is_tag ? (struct mt_scope_parts){context, 0} : (struct mt_scope_parts){0, context};
}

/* ---- for records of objects ---------------------------------------------------------------- */

uint32_t mt_scope_tag_told(struct mt_core *core)
{
    uint32_t (*ask)(void) = atomic_load_explicit(&core->tag_in_force, memory_order_relaxed);
    uint32_t tag = ask ? ask() : 0;
    if (tag) mt_scope_tell(core, tag);
    return tag;
}
