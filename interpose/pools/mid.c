/*
 * TLSF arenas, and the way of larger blocks through the caches. An arena's
 * lock guards its engine, its chunks and their bitmaps; what a reader needs
 * about a live block (its mark) can be read without it.
 */
#include "mid.h"
#include "alone.h"
#include "balance.h"
#include "huge.h"
#include "huge_kept.h"
#include "large.h"
#include "lock.h"
#include "mid_cache.h"
#include "mid_chunk.h"
#include "mid_pages.h"
#include "os.h"
#include "spans.h"
#include "stats.h"

#include <string.h>

enum {
    ARENAS = 4,
    OPEN_BYTES = 8 << 20,     /* by so much an arena grows */
    MORE_RECORDS = 1600,      /* of 40 bytes each in 64 KiB, and twice as many each time */
    CALLS_PER_LARGEST = 16,   /* that is told so often */
    ROOM_STEP = 8,            /* from much room to some */
    DOUBLED_ROOM = 512 << 10, /* to here a block that creeps may grow to twice its size without a lock, */
    MOST_ROOM = 64 << 10,     /* and beyond by so much or a quarter */
    HUGE_ROOM = 1 << 20,
    MOVE_PAGES_FROM = 1 << 20, /* below, copying is cheaper than changing page tables */
};

static struct mt_mid_arena arenas[ARENAS];
_Static_assert(sizeof mt_pools_stats.tlsf / sizeof *mt_pools_stats.tlsf == ARENAS, "each has its statistics");
static size_t chunk_bytes = 256 << 20; /* address space taken at once */
static uint64_t purge_delay_ns = UINT64_C(1000000000);

/* ---- sizes ---------------------------------------------------------------------------- */

static size_t whole_steps(size_t bytes)
{
    return (bytes + MT_MID_STEP - 1) & ~(size_t)(MT_MID_STEP - 1);
}

static size_t whole_pages(size_t bytes)
{
    return (bytes + MT_MID_PAGE - 1) & ~(size_t)(MT_MID_PAGE - 1);
}

/* ---- chunks ---------------------------------------------------------------------------- */

static void publish_largest(struct mt_mid_arena *arena)
{
    uint64_t own = mt_tlsf_largest_free(&arena->tlsf), largest = 0;
    atomic_store_explicit(&arena->largest_free, own, memory_order_relaxed);
    for (unsigned i = 0; i < ARENAS; i++) {
        uint64_t other = atomic_load_explicit(&arenas[i].largest_free, memory_order_relaxed);
        if (other > largest) largest = other;
    }
    MT_POOL_STAT_SET(tlsf_largest_free_bytes, largest);
}

static inline void tell(struct mt_pools *to, const struct mt_mid_arena *arena)
{
    const struct mt_tlsf *tlsf = &arena->tlsf;
    size_t i = (size_t)(arena - arenas);
    uint64_t dirty_bytes = mt_mid_arena_dirty_bytes(arena);
    atomic_store_explicit(&to->tlsf[i].used_bytes, tlsf->used_bytes, memory_order_relaxed);
    atomic_store_explicit(&to->tlsf[i].dirty_bytes, dirty_bytes, memory_order_relaxed);
    atomic_store_explicit(&to->tlsf[i].used_count, tlsf->used_count, memory_order_relaxed);
    atomic_store_explicit(&to->tlsf[i].free_count, tlsf->free_count, memory_order_relaxed);
    atomic_store_explicit(&to->tlsf[i].allocation_count, arena->allocation_count, memory_order_relaxed);
}

/* The largest free range may be some calls old. */
static inline void publish(struct mt_mid_arena *arena)
{
    tell(&mt_pools_stats, arena);
    if (mt_pools_published != &mt_pools_stats) tell(mt_pools_published, arena);
    if (arena->call_count++ % CALLS_PER_LARGEST == 0) publish_largest(arena);
}

static inline bool has_records(const struct mt_mid_arena *arena)
{
    return mt_tlsf_records_left(&arena->tlsf) >= MT_TLSF_RECORDS_NEEDED + 1;
}

static bool ensure_records(struct mt_mid_arena *arena)
{
    if (has_records(arena)) return true;
    struct mt_tlsf_block *old = arena->tlsf.blocks;
    uint32_t had = arena->records, count = had * 2 < MORE_RECORDS ? MORE_RECORDS : had * 2;
    if (count > MT_MID_IDS) return false;
    struct mt_tlsf_block *records = mt_os_map(count * sizeof *records);
    if (!records) return false;
    memcpy(records, old, had * sizeof *records);
    mt_tlsf_move_records(&arena->tlsf, records, count);
    if (old != arena->first_records) mt_os_unmap(old, had * sizeof *records);
    arena->records = count;
    return true;
}

static bool chunk_new(struct mt_mid_arena *arena, size_t bytes, size_t reserved_bytes)
{
    struct mt_mid_chunk *chunk = mt_mid_chunk_new(bytes, reserved_bytes);
    if (!chunk) return false;
    chunk->first_id = mt_tlsf_add_chunk(&arena->tlsf, (uint64_t)(uintptr_t)chunk->base, bytes, 0);
    if (!chunk->first_id) {
        mt_mid_chunk_drop(chunk);
        return false;
    }
    arena->tlsf.blocks[chunk->first_id].marks = MT_MID_PARTLY_FRESH;
    chunk->arena = arena;
    arena->fresh_pages += bytes >> MT_MID_PAGE_SHIFT;
    chunk->next = arena->chunks;
    arena->chunks = chunk;
    MT_POOL_STAT_ADD(tlsf_chunk_count, 1);
    MT_POOL_STAT_ADD(tlsf_reserved_bytes, bytes);
    return true;
}

/* Only the newest chunk may have room left. */
static bool chunk_open(struct mt_mid_arena *arena, size_t need)
{
    struct mt_mid_chunk *chunk = arena->chunks;
    size_t left = chunk ? chunk->reserved_bytes - chunk->bytes : 0;
    if (left < need) return false;
    size_t bytes = need > OPEN_BYTES ? need : left < OPEN_BYTES ? left : (size_t)OPEN_BYTES;
    if (!ensure_records(arena) || !mt_mid_chunk_open(chunk, bytes)) return false;
    arena->tlsf.blocks[mt_tlsf_extend_chunk(&arena->tlsf, chunk->first_id, bytes)].marks |= MT_MID_PARTLY_FRESH;
    arena->fresh_pages += bytes >> MT_MID_PAGE_SHIFT;
    MT_POOL_STAT_ADD(tlsf_reserved_bytes, bytes);
    return true;
}

static size_t whole_slices(size_t bytes)
{
    return (bytes + MT_SLICE_BYTES - 1) & ~(size_t)(MT_SLICE_BYTES - 1);
}

static bool grow_arena(struct mt_mid_arena *arena, size_t need)
{
    size_t exact = whole_slices(need), some = exact > OPEN_BYTES ? exact : (size_t)OPEN_BYTES;
    if (chunk_open(arena, exact)) return true;
    if (mt_os_is_tight()) /* no room is left that is too small for the next one */
        some = exact > OPEN_BYTES ? exact : whole_slices(OPEN_BYTES / need * need);
    else if (some <= chunk_bytes && chunk_new(arena, some, chunk_bytes))
        return true;
    return chunk_new(arena, some, some) || chunk_new(arena, exact, exact);
}

static size_t empty_caches(bool is_idle_only);

/* ---- purging ---------------------------------------------------------------------------- */

size_t mt_mid_purge_all(void)
{
    return mt_mid_purge_some(SIZE_MAX);
}

static size_t purge_arenas(size_t enough)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < ARENAS && bytes < enough; i++) {
        mt_lock_take(&arenas[i].lock);
        if (arenas[i].is_started)
            bytes += enough < SIZE_MAX ? mt_mid_arena_purge_some(&arenas[i], enough - bytes)
                                       : mt_mid_arena_purge(&arenas[i], true);
        publish(&arenas[i]);
        mt_lock_give(&arenas[i].lock);
    }
    return bytes;
}

/* What waits for its own size is worth more than what lies in an arena. */
size_t mt_mid_purge_some(size_t enough)
{
    size_t bytes = enough < SIZE_MAX ? purge_arenas(enough) : 0;
    if (bytes >= enough) return bytes;
    bytes += empty_caches(false);
    mt_huge_drop_all();
    return bytes + (bytes < enough ? purge_arenas(enough < SIZE_MAX ? enough - bytes : SIZE_MAX) : 0);
}

void mt_mid_close(void)
{
    for (unsigned i = 0; i < ARENAS; i++) {
        mt_lock_take(&arenas[i].lock);
        for (struct mt_mid_chunk *chunk = arenas[i].chunks; chunk; chunk = chunk->next) mt_mid_chunk_close(chunk);
        mt_lock_give(&arenas[i].lock);
    }
}

void mt_mid_set_purge_delay(uint64_t nanoseconds)
{
    purge_delay_ns = nanoseconds;
}

/* ---- blocks of an arena -------------------------------------------------------------------- */

static void start_arena(struct mt_mid_arena *arena)
{
    if (arena->is_started) return;
    mt_tlsf_init(&arena->tlsf, MT_MID_STEP, MT_MID_PAGE, arena->first_records, MT_MID_FIRST_RECORDS);
    arena->records = MT_MID_FIRST_RECORDS;
    atomic_store_explicit(&arena->is_started, true, memory_order_relaxed);
}

void mt_mid_start(size_t bytes)
{
    if (bytes) chunk_bytes = (bytes + MT_SLICE_BYTES - 1) & ~(size_t)(MT_SLICE_BYTES - 1);
}

/* Addresses are cheap: what a creeping block takes in advance is touched only when it is used. */
static size_t room_for(size_t bytes)
{
    const size_t most = MT_MID_MOST_ROOM * MT_MID_PAGE;
    size_t room = bytes <= DOUBLED_ROOM ? bytes : bytes / 4 < MOST_ROOM ? bytes / 4 : MOST_ROOM;
    return room < most ? room : most;
}

/* How many whole pages of its range a block may still grow into, up to the size of the largest ones. */
static size_t room_pages(const struct mt_tlsf_block *block, size_t bytes)
{
    size_t pages = (block->bytes - bytes) >> MT_MID_PAGE_SHIFT, most = (MT_MID_MAX - bytes) >> MT_MID_PAGE_SHIFT;
    if (most > MT_MID_MOST_ROOM) most = MT_MID_MOST_ROOM;
    return pages < most ? pages : most;
}

/* A place where the block can grow to room times its size, or at least to twice. */
static uint32_t take_with_room(struct mt_mid_arena *arena, size_t bytes, size_t alignment, unsigned room)
{
    uint32_t id = 0;
    size_t kept = bytes + (room == MT_MID_CREEPS ? room_for(bytes) : 0), most = bytes * room;
    for (; room > 1 && !id; room /= ROOM_STEP) {
        id = mt_tlsf_allocate(&arena->tlsf, bytes * room, alignment);
        if (!id && most <= OPEN_BYTES && chunk_open(arena, OPEN_BYTES))
            id = mt_tlsf_allocate(&arena->tlsf, most, alignment);
    }
    if (id) mt_tlsf_resize(&arena->tlsf, id, kept);
    return id;
}

static __attribute__((noinline)) uint32_t take_id_slow(struct mt_mid_arena *arena, size_t bytes, size_t alignment,
                                                       unsigned room)
{
    start_arena(arena);
    if (!ensure_records(arena)) return 0;
    uint32_t id = room > 1 ? take_with_room(arena, bytes, alignment, room) : 0;
    if (!id) id = mt_tlsf_allocate(&arena->tlsf, bytes, alignment);
    /* A range for an aligned block is found by the next larger class. */
    size_t need = bytes + (alignment > MT_MID_STEP ? MT_MID_PAGE + alignment + (bytes + alignment) / 8 : 0);
    if (id || !grow_arena(arena, need) || !ensure_records(arena)) return id;
    return mt_tlsf_allocate(&arena->tlsf, bytes, alignment);
}

static inline uint32_t take_id(struct mt_mid_arena *arena, size_t bytes, size_t alignment, unsigned room)
{
    /* One that is not started has no record. */
    bool is_plain = room <= 1 && has_records(arena);
    uint32_t id = is_plain ? mt_tlsf_allocate(&arena->tlsf, bytes, alignment) : 0;
    return id ? id : take_id_slow(arena, bytes, alignment, room);
}

/*
 * The range for so many bytes. That of a block which may begin at any step has an odd number of steps: blocks of
 * one size begin at all places of a page in turn then, and do not share the same few sets of the processor's
 * caches.
 */
static inline size_t range_for(size_t bytes, size_t alignment)
{
    return alignment > MT_MID_STEP ? bytes : bytes | MT_MID_STEP;
}

static char *take_locked(struct mt_mid_arena *arena, size_t bytes, size_t alignment, unsigned room, uint64_t note,
                         size_t *fresh_bytes, bool *is_zero)
{
    uint32_t id = take_id(arena, range_for(bytes, alignment), alignment, room);
    if (!id) return NULL;
    struct mt_tlsf_block *block = &arena->tlsf.blocks[id];
    char *at = (char *)(uintptr_t)block->offset;
    __builtin_prefetch(at, 1); /* whoever asked writes there soon, mostly for the first time in a long while */
    __builtin_prefetch(at + bytes - 1, 1);
    struct mt_mid_chunk *chunk = mt_mid_chunk_at(block->offset);
    uint64_t end = block->offset + block->bytes;
    size_t fresh = mt_mid_pages_taken(arena, chunk, block, block->offset, end);
    if (!fresh) block->marks = 0;
    arena->allocation_count++;
    arena->taken_bytes += block->bytes;
    size_t reached = (size_t)(end - (uintptr_t)chunk->base);
    if (reached > chunk->reached) chunk->reached = reached;
    struct mt_mid_mark *mark = mt_mid_mark_of(chunk, at);
    mt_mid_set_range(mark, id, room == MT_MID_CREEPS ? room_pages(block, bytes) : 0);
    mt_mid_set_shape(mark, at, bytes);
    mt_note_store(&mark->note, note);
    *fresh_bytes = fresh << MT_MID_PAGE_SHIFT;
    *is_zero = fresh && fresh == mt_mid_pages_count(mt_mid_pages_over(chunk, block->offset, end));
    return at;
}

static inline bool try_one(struct mt_mid_arena *arena)
{
    return atomic_load_explicit(&arena->is_started, memory_order_relaxed) && mt_lock_try(&arena->lock);
}

static __attribute__((noinline)) struct mt_mid_arena *lock_another(unsigned home)
{
    for (unsigned i = 0; i < ARENAS; i++) {
        struct mt_mid_arena *other = &arenas[(home + i) % ARENAS];
        if (try_one(other)) return other;
    }
    struct mt_mid_arena *arena = &arenas[home % ARENAS];
    mt_lock_take(&arena->lock);
    return arena;
}

/* Where the arena has more memory than that free, but in other places, giving it back would be for nothing: it is
 * used again soon. */
static void *arena_allocate(size_t bytes, size_t alignment, unsigned room, unsigned home, uint64_t note,
                            bool *is_zero)
{
    struct mt_mid_arena *arena = &arenas[home % ARENAS];
    if (!try_one(arena)) arena = lock_another(home);
    size_t fresh_bytes;
    char *at = take_locked(arena, bytes, alignment, room, note, &fresh_bytes, is_zero);
    bool is_rising = at && fresh_bytes > bytes / 2 && mt_mid_arena_dirty_bytes(arena) < fresh_bytes;
    publish(arena);
    mt_lock_give(&arena->lock);
    if (!at) return NULL;
    if (is_rising) mt_keep_peak_down(fresh_bytes);
    return at;
}

/*
 * The block's mark says already that no block lies there. The whole pages of its first clean_bytes read as zero.
 * What is idle goes back when mt_mid_look() looks.
 */
static void arena_free(struct mt_mid_chunk *chunk, const void *at, size_t clean_bytes)
{
    struct mt_mid_arena *arena = chunk->arena;
    mt_lock_take(&arena->lock);
    uint32_t id = mt_mid_id(mt_mid_mark_of(chunk, at));
    struct mt_tlsf_block *block = &arena->tlsf.blocks[id];
    uint64_t from = block->offset, to = from + block->bytes;
    struct mt_mid_pages over = mt_mid_pages_over(chunk, from, to);
    if (block->marks & MT_MID_PARTLY_FRESH) mt_mid_pages_set(chunk, over, true);
    block->marks = 0;
    if (clean_bytes) {
        struct mt_mid_pages clean = mt_mid_pages_inside(chunk, from, from + clean_bytes);
        mt_mid_pages_set(chunk, clean, false);
        arena->fresh_pages += mt_mid_pages_count(clean);
        block->marks = MT_MID_PARTLY_FRESH;
    }
    mt_mid_pages_set_busy(chunk, over);
    id = mt_tlsf_free(&arena->tlsf, id);
    bool is_end = !mt_tlsf_block(&arena->tlsf, id)->right;
    if (is_end && mt_balance_is_wanted()) mt_mid_arena_trim(arena, chunk, id);
    publish(arena);
    mt_lock_give(&arena->lock);
}

/* ---- blocks that wait ------------------------------------------------------------------------ */

/* Gives back the whole pages of a block. */
static bool purge_block(const struct mt_mid_chunk *chunk, struct mt_mid_cached block)
{
    uint64_t from = (uintptr_t)block.block;
    struct mt_mid_pages pages = mt_mid_pages_inside(chunk, from, from + block.bytes);
    size_t bytes = mt_mid_pages_count(pages) << MT_MID_PAGE_SHIFT;
    if (!bytes || !mt_os_purge(chunk->base + (pages.first << MT_MID_PAGE_SHIFT), bytes)) return false;
    MT_POOL_STAT_ADD(tlsf_purged_bytes, bytes);
    MT_POOL_STAT_ADD(tlsf_purge_count, 1);
    return true;
}

/* is_idle: it has waited for the purge delay already, so that its memory goes back with it. */
static void let_go_mid(struct mt_mid_chunk *chunk, struct mt_mid_cached block, bool is_idle)
{
    arena_free(chunk, block.block, is_idle && purge_block(chunk, block) ? block.bytes : 0);
}

/* Returns the bytes of a huge one, which go back to the system. */
static inline size_t let_go_one(uint64_t entry, struct mt_mid_cached block, bool is_idle)
{
    if (mt_entry_bin(entry) == MT_ENTRY_MID) {
        let_go_mid(mt_entry_record(entry), block, is_idle);
        return 0;
    }
    mt_huge_release(mt_entry_record(entry), block.bytes);
    return block.bytes;
}

/* Blocks that waited in vain. */
static size_t let_go(const struct mt_mid_cached *others, unsigned count, bool is_idle)
{
    size_t huge_bytes = 0;
    while (count-- > 0) huge_bytes += let_go_one(mt_pagemap_entry(others[count].block), others[count], is_idle);
    return huge_bytes;
}

static void empty_near(struct mt_theap *heap, bool is_idle_only)
{
    struct mt_mid_cached others[MT_MID_NEAR_ALL];
    let_go(others, mt_mid_near_empty(&heap->near, is_idle_only, others), is_idle_only);
}

/* All slots, and what waits near the calling thread. */
static size_t empty_caches(bool is_idle_only)
{
    struct mt_mid_cached others[MT_MID_CACHE_ENTRIES];
    size_t bytes = 0;
    for (unsigned slot = 0; slot < MT_MID_CACHE_SLOTS; slot++)
        bytes += let_go(others, mt_mid_cache_empty(slot, is_idle_only, others), is_idle_only);
    if (mt_theap_self) empty_near(mt_theap_self, is_idle_only);
    return bytes;
}

void mt_mid_leave_heap(struct mt_theap *heap)
{
    empty_near(heap, false);
    heap->near.most_bytes = MT_MID_NEAR_BYTES;
}

void mt_mid_tidy_heap(struct mt_theap *heap)
{
    empty_near(heap, true);
    mt_mid_look(heap);
}

/* What was sampled seldom for a while is sampled as usual again. */
static void look_at_sampler(struct mt_large_sampler *sampler, uint64_t now_ns)
{
    enum { SECOND_BITS = 30 };
    if (now_ns >> SECOND_BITS == sampler->second) return;
    mt_large_sampler_begin(sampler, sampler->from_bytes);
    sampler->second = now_ns >> SECOND_BITS;
}

void mt_mid_look(struct mt_theap *heap)
{
    static _Atomic uint64_t next_look_ns;
    uint64_t now = mt_now_coarse_ns(), next = atomic_load_explicit(&next_look_ns, memory_order_relaxed);
    if (heap && now != heap->near.looked_ns) heap->near.looks = 0;
    if (heap) heap->near.looked_ns = now;
    if (heap) look_at_sampler(&heap->near.sampler, now);
    if (now < next) return;
    atomic_store_explicit(&next_look_ns, now + purge_delay_ns, memory_order_relaxed);
    if (!next) return;
    empty_caches(true);
    for (unsigned i = 0; i < ARENAS; i++) {
        if (!atomic_load_explicit(&arenas[i].is_started, memory_order_relaxed)) continue;
        mt_lock_take(&arenas[i].lock);
        mt_mid_arena_look(&arenas[i], purge_delay_ns);
        publish(&arenas[i]);
        mt_lock_give(&arenas[i].lock);
    }
}

static bool take_waiting(struct mt_theap *heap, size_t bytes, struct mt_mid_cached *found)
{
    if (heap && bytes <= MT_MID_NEAR_BYTES) return mt_mid_near_take(&heap->near, bytes, found);
    if (heap && mt_is_alone()) return mt_mid_near_take_large(&heap->near, bytes, found);
    return mt_mid_cache_take(heap, bytes, found);
}

/* NULL also where the first one that would do is not aligned: it goes on waiting. */
static void *allocate_waiting(struct mt_theap *heap, size_t bytes, size_t alignment, size_t requested,
                              unsigned origin, size_t *usable)
{
    struct mt_mid_cached found;
    if (!take_waiting(heap, bytes, &found)) return NULL;
    if ((uintptr_t)found.block & (alignment - 1)) {
        mt_mid_wait(heap, found);
        return NULL;
    }
    uint64_t entry = mt_pagemap_entry(found.block);
    *usable = found.bytes;
    if (mt_entry_bin(entry) == MT_ENTRY_HUGE)
        mt_huge_begin_again(mt_entry_record(entry), requested, origin);
    else
        mt_mid_begin_again(mt_mid_mark_of(mt_entry_record(entry), found.block), found.block, found.bytes, requested,
                           origin);
    return found.block;
}

void *mt_mid_allocate_waiting(struct mt_theap *heap, size_t bytes, size_t requested, unsigned origin,
                              size_t *usable)
{
    return allocate_waiting(heap, bytes, 1, requested, origin, usable);
}

/* Where the note of a block lies; NULL where no live block can start. */
static inline _Atomic uint64_t *note_of(const void *block, uint64_t entry)
{
    struct mt_huge *huge = mt_entry_record(entry);
    if (mt_entry_bin(entry) == MT_ENTRY_HUGE) return huge->base == block ? &huge->note : NULL;
    struct mt_mid_mark *mark = mt_mid_mark_of(mt_entry_record(entry), block);
    return mt_mid_is_begin(mt_mid_shape_of(mark), (uintptr_t)block) ? &mark->note : NULL;
}

/* Its usable size, and with its room. */
static inline void read_sizes(const void *block, uint64_t entry, struct mt_mid_block *what)
{
    struct mt_huge *huge = mt_entry_record(entry);
    if (mt_entry_bin(entry) == MT_ENTRY_HUGE) {
        what->usable = what->all = atomic_load_explicit(&huge->bytes, memory_order_relaxed);
        return;
    }
    const struct mt_mid_mark *mark = mt_mid_mark_of(mt_entry_record(entry), block);
    what->usable = mt_mid_shape_bytes(mt_mid_shape_of(mark));
    what->all = what->usable + mt_mid_room(mark) * MT_MID_PAGE;
}

static inline bool read_block(const void *block, uint64_t entry, const _Atomic uint64_t *at,
                              struct mt_mid_block *what)
{
    uint64_t note = at ? mt_note_load(at) : 0;
    if (!(note & MT_NOTE_LIVES)) return false;
    read_sizes(block, entry, what);
    what->requested = mt_note_requested(note);
    what->origin = mt_note_origin(note);
    what->is_sampled = note & MT_NOTE_SAMPLED;
    return true;
}

bool mt_mid_end(const void *block, uint64_t entry, struct mt_mid_block *what)
{
    _Atomic uint64_t *at = note_of(block, entry);
    if (!read_block(block, entry, at, what)) return false;
    mt_note_store(at, 0);
    return true;
}

void mt_mid_wait(struct mt_theap *heap, struct mt_mid_cached block)
{
    struct mt_mid_cached others[MT_MID_NEAR_ALL + 1];
    _Static_assert(MT_MID_NEAR_ALL + 1 >= MT_MID_CACHE_ENTRIES + 2, "what leaves a slot fits too");
    bool is_small = block.bytes <= MT_MID_NEAR_BYTES;
    if (heap && (is_small || mt_is_alone()) && mt_mid_near_put(&heap->near, block)) return;
    if (heap && is_small) {
        do {
            others[0] = mt_mid_near_oldest(&heap->near);
            let_go(others, 1, false);
        } while (!mt_mid_near_put(&heap->near, block));
        return;
    }
    unsigned count = heap && mt_is_alone() ? mt_mid_near_put_large(&heap->near, block, others)
                                           : mt_mid_cache_put(heap, block, others);
    if (count) let_go(others, count, false);
}

static bool is_look_due(struct mt_mid_near *near)
{
    if (near->looks_in > MT_MID_FREES_PER_LOOK) near->looks_in = MT_MID_FREES_PER_LOOK;
    if (near->looks_in && --near->looks_in) return false;
    near->looks_in = MT_MID_FREES_PER_LOOK;
    return true;
}

/* Large ones that nobody asks for again, where nothing that waits goes with them. */
static inline bool is_turned_away(struct mt_theap *heap, size_t bytes)
{
    return bytes > MT_MID_NEAR_BYTES && heap && mt_is_alone() && mt_mid_near_turns_away(&heap->near, bytes);
}

void mt_mid_give(struct mt_theap *heap, void *block, uint64_t entry, size_t usable, size_t all)
{
    struct mt_mid_cached what = {block, all};
    if (all != usable || is_turned_away(heap, all))
        let_go_one(entry, what, false);
    else
        mt_mid_wait(heap, what);
    /* What idles goes back also while all requests are served by the caches. */
    if (!heap || is_look_due(&heap->near)) mt_mid_look(heap);
}

/* ---- changing a block's size ----------------------------------------------------------------- */

/* A block's range ends elsewhere than before. used_to: the end of what held content. Returns the bytes of fresh
 * pages. */
static size_t range_changed(struct mt_mid_chunk *chunk, const struct mt_tlsf_block *block, uint64_t used_to,
                            uint64_t old_to)
{
    struct mt_mid_arena *arena = chunk->arena;
    uint64_t to = block->offset + block->bytes;
    if (to > old_to) return mt_mid_pages_taken(arena, chunk, block, old_to, to) << MT_MID_PAGE_SHIFT;
    if (to == old_to) return 0;
    if (to < used_to) mt_mid_pages_set(chunk, mt_mid_pages_over(chunk, to, used_to), true);
    mt_mid_pages_share(chunk, to);
    arena->fresh_pages += mt_mid_pages_fresh(chunk, to, old_to);
    mt_mid_pages_set_busy(chunk, mt_mid_pages_over(chunk, to, old_to));
    return 0;
}

static bool arena_resize(struct mt_mid_chunk *chunk, void *block, size_t bytes, bool creeps, size_t *usable)
{
    struct mt_mid_arena *arena = chunk->arena;
    size_t wanted = creeps ? whole_pages(bytes) : whole_steps(bytes), fresh = 0;
    struct mt_mid_mark *mark = mt_mid_mark_of(chunk, block);
    mt_lock_take(&arena->lock);
    uint32_t id = mt_mid_id(mark);
    const struct mt_tlsf_block *range = mt_tlsf_block(&arena->tlsf, id);
    uint64_t used_to = range->offset + mt_mid_shape_bytes(mt_mid_shape_of(mark)),
             old_to = range->offset + range->bytes;
    bool is_done = (creeps && mt_tlsf_resize(&arena->tlsf, id, wanted + room_for(wanted))) ||
                   mt_tlsf_resize(&arena->tlsf, id, wanted);
    if (is_done) {
        fresh = range_changed(chunk, range, used_to, old_to);
        mt_mid_set_shape(mark, block, wanted);
        mt_mid_set_range(mark, id, creeps ? room_pages(range, wanted) : 0);
    }
    publish(arena);
    mt_lock_give(&arena->lock);
    *usable = wanted;
    if (is_done) MT_POOL_STAT_ADD(tlsf_resize_count, 1);
    if (fresh) mt_keep_peak_down(fresh);
    return is_done;
}

static void clear_pages(const struct mt_mid_chunk *chunk, char *block, size_t bytes, struct mt_mid_pages pages)
{
    char *from = chunk->base + (pages.first << MT_MID_PAGE_SHIFT),
         *to = chunk->base + (pages.end << MT_MID_PAGE_SHIFT);
    if (from < block) from = block;
    if (to > block + bytes) to = block + bytes;
    memset(from, 0, (size_t)(to - from));
}

void mt_mid_clear(void *block, size_t bytes)
{
    uint64_t entry = mt_pagemap_entry(block);
    if (mt_entry_class(entry) != MT_ENTRY_MID) {
        mt_huge_clear(mt_entry_record(entry), bytes);
        return;
    }
    struct mt_mid_chunk *chunk = mt_entry_record(entry);
    if (mt_note_load(&mt_mid_mark_of(chunk, block)->note) & MT_NOTE_AGAIN) {
        memset(block, 0, bytes);
        return;
    }
    struct mt_mid_pages over = mt_mid_pages_over(chunk, (uintptr_t)block, (uintptr_t)block + bytes);
    for (size_t i = over.first; i < over.end; i++) {
        size_t from = i;
        while (i < over.end && mt_mid_bit(chunk->touched, i)) i++;
        if (i > from) clear_pages(chunk, block, bytes, (struct mt_mid_pages){from, i});
    }
}

/* ---- the interface ------------------------------------------------------------------------------ */

static void *huge_allocate(size_t bytes, size_t alignment, uint64_t note, size_t *usable)
{
    void *block = mt_huge_allocate(bytes, alignment, usable);
    if (block) mt_note_store(note_of(block, mt_pagemap_entry(block)), note);
    return block;
}

void *mt_mid_allocate(struct mt_theap *heap, size_t requested, size_t alignment, unsigned room, unsigned origin,
                      size_t *usable, bool *is_zero)
{
    size_t bytes = requested > MT_SLAB_MAX ? requested : MT_SLAB_MAX + 1; /* sizes below are the slabs' */
    void *cached = room == MT_MID_ANYWHERE && alignment <= MT_MID_PAGE
                       ? allocate_waiting(heap, bytes, alignment, requested, origin, usable)
                       : NULL;
    if (cached) {
        *is_zero = false;
        return cached;
    }
    uint64_t note = mt_note_make(requested, origin);
    if (bytes <= MT_MID_MAX && alignment <= MT_MID_MAX / 2) {
        *usable = room == MT_MID_CREEPS ? whole_pages(bytes) : whole_steps(bytes);
        if (room > MT_MID_ANYWHERE && bytes >= MOVE_PAGES_FROM / 2) alignment = MT_MID_PAGE;
        return arena_allocate(*usable, alignment, room, heap ? heap->id : 0, note, is_zero);
    }
    *is_zero = true;
    return huge_allocate(bytes, alignment, note, usable);
}

void mt_mid_note(const void *block, uint64_t entry, unsigned origin, size_t requested)
{
    _Atomic uint64_t *at = note_of(block, entry);
    mt_note_store(at, mt_note_make(requested, origin) | (mt_note_load(at) & (MT_NOTE_AGAIN | MT_NOTE_SAMPLED)));
}

void mt_mid_note_sampled(const void *block, uint64_t entry)
{
    _Atomic uint64_t *at = note_of(block, entry);
    mt_note_store(at, mt_note_load(at) | MT_NOTE_SAMPLED);
}

bool mt_mid_take_sampled(const void *block, uint64_t entry)
{
    _Atomic uint64_t *at = note_of(block, entry);
    uint64_t note = mt_note_load(at);
    mt_note_store(at, note & ~MT_NOTE_SAMPLED);
    return note & MT_NOTE_SAMPLED;
}

unsigned mt_mid_origin(const void *block, uint64_t entry, size_t *requested)
{
    uint64_t note = mt_note_load(note_of(block, entry));
    *requested = mt_note_requested(note);
    return mt_note_origin(note);
}

size_t mt_mid_usable(const void *block, uint64_t entry)
{
    struct mt_mid_block what;
    return read_block(block, entry, note_of(block, entry), &what) ? what.usable : 0;
}

bool mt_mid_is_freed(const void *block, uint64_t entry)
{
    const struct mt_huge *huge = mt_entry_record(entry);
    return mt_entry_class(entry) == MT_ENTRY_MID || huge->base == block;
}

/* The whole pages go, and what lies before and behind them is copied. */
static bool move_pages(const struct mt_mid_chunk *chunk, char *from, char *to, size_t bytes)
{
    if (bytes < MOVE_PAGES_FROM || (((uintptr_t)from ^ (uintptr_t)to) & (MT_MID_PAGE - 1))) return false;
    struct mt_mid_pages pages = mt_mid_pages_inside(chunk, (uintptr_t)from, (uintptr_t)from + bytes);
    size_t before = (size_t)(chunk->base + (pages.first << MT_MID_PAGE_SHIFT) - from);
    size_t moved = mt_mid_pages_count(pages) << MT_MID_PAGE_SHIFT, behind = before + moved;
    if (!mt_os_move_content(from + before, to + before, moved)) return false;
    memcpy(to, from, before);
    memcpy(to + behind, from + behind, bytes - behind);
    return true;
}

void mt_mid_move(struct mt_theap *heap, void *from, uint64_t entry, void *to)
{
    struct mt_mid_block what;
    mt_mid_end(from, entry, &what);
    if (mt_entry_class(entry) == MT_ENTRY_MID && move_pages(mt_entry_record(entry), from, to, what.usable)) {
        /* What lies in its room is not known. */
        arena_free(mt_entry_record(entry), from, what.all == what.usable ? what.usable : 0);
        return;
    }
    memcpy(to, from, what.usable);
    mt_mid_give(heap, from, entry, what.usable, what.all);
}

static void *huge_resize(struct mt_huge *huge, size_t bytes, bool creeps, size_t *usable)
{
    void *block = creeps ? mt_huge_resize(huge, bytes + HUGE_ROOM, usable) : NULL;
    return block ? block : mt_huge_resize(huge, bytes, usable);
}

void *mt_mid_resize(void *block, uint64_t entry, size_t bytes, bool creeps, size_t *usable)
{
    if (mt_entry_class(entry) == MT_ENTRY_HUGE) return huge_resize(mt_entry_record(entry), bytes, creeps, usable);
    if (bytes > MT_MID_MAX || bytes <= MT_SLAB_MAX) return NULL;
    return arena_resize(mt_entry_record(entry), block, bytes, creeps, usable) ? block : NULL;
}

void mt_mid_lock_all(void)
{
    for (unsigned i = 0; i < ARENAS; i++) mt_lock_take(&arenas[i].lock);
    mt_huge_lock();
}

void mt_mid_unlock_all(void)
{
    mt_huge_unlock();
    for (unsigned i = ARENAS; i-- > 0;) mt_lock_give(&arenas[i].lock);
}

void mt_mid_reset_locks(void)
{
    mt_huge_reset_lock();
    for (unsigned i = 0; i < ARENAS; i++) mt_lock_reset(&arenas[i].lock);
}
