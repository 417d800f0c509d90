/*
 * Interns call stacks and keeps their counters. Called on the path of sampled
 * or all allocations and frees. Must not allocate or wait for anything but
 * another thread's few stores to the same record.
 */
#include "stack.h"

#include "frame_stacks.h"
#include "module.h"
#include "scope.h"
#include "segment.h"

#include <sched.h>
#include <string.h>

#define LOAD(field)             atomic_load_explicit(&(field), memory_order_relaxed)
#define STORE(field, value)     atomic_store_explicit(&(field), value, memory_order_relaxed)
#define FETCH_ADD(field, value) atomic_fetch_add_explicit(&(field), value, memory_order_relaxed)

enum {
    FIRST_FRAMES_BYTES = 1024, /* with the first chunk of stacks in one page */
    FRAME_ARENA_BYTES = 16384,
    SPINS = 64,
    BUCKETS_PER_PAGE = 4096 / sizeof(uint32_t),
};
_Static_assert(MT_STACK_BUCKETS / BUCKETS_PER_PAGE <= 32 * sizeof((struct mt_attribution *)0)->bucket_pages / 4,
               "one bit for each page of buckets");
_Static_assert(offsetof(struct mt_attribution, buckets[MT_STACK_BUCKETS - MT_STACK_BUCKETS_SAMPLED]) % 4096 == 0 &&
                   offsetof(struct mt_attribution, chunks[64]) -
                           offsetof(struct mt_attribution, buckets[MT_STACK_BUCKETS - MT_STACK_BUCKETS_SAMPLED]) <=
                       4096,
               "mode sampled has its buckets, its counters and its first chunks in one page");

/* ---- start ------------------------------------------------------------------------ */

static void lock(_Atomic uint32_t *word)
{
    for (unsigned spin = 1;; spin++) {
        uint32_t idle = 0;
        if (atomic_compare_exchange_weak_explicit(word, &idle, 1, memory_order_acquire, memory_order_relaxed))
            return;
        if (spin % SPINS == 0) sched_yield();
    }
}

static void unlock(_Atomic uint32_t *word)
{
    atomic_store_explicit(word, 0, memory_order_release);
}

/* The page that mode sampled works in. */
static bool commit_head(struct mt_core *core, struct mt_attribution *table)
{
    return mt_segment_commit(core, &table->mode, sizeof table->mode);
}

static bool start(struct mt_core *core, uint32_t mode)
{
    struct mt_attribution *table = &core->segment->attribution;
    bool has_names = core->options.number[MT_OPT_STACK_THREADS] != 0;
    if (!commit_head(core, table) ||
        (has_names && !mt_segment_commit(core, table->thread_names, sizeof table->thread_names)) ||
        !mt_module_ready(core))
        return false;
    mt_walk_begin(core); /* rules that were read for a parent's segment would hide the modules from this one */
    STORE(table->peak_epoch, 1);
    table->rate_bytes = mode == MT_STACKS_SAMPLED ? core->options.number[MT_OPT_STACK_RATE] : 1;
    /* Release: pairs with the acquire in mt_stack_ready(). */
    atomic_store_explicit(&table->mode, mode, memory_order_release);
    return true;
}

bool mt_stack_ready_slow(struct mt_core *core)
{
    struct mt_attribution *table = &core->segment->attribution;
    uint32_t mode = (uint32_t)core->options.number[MT_OPT_STACKS];
    if (mode == MT_STACKS_OFF) return false;
    if (!commit_head(core, table)) return false;
    lock(&table->growing);
    bool is_on = atomic_load_explicit(&table->mode, memory_order_acquire) || start(core, mode);
    unlock(&table->growing);
    return is_on;
}

/* ---- the table ---------------------------------------------------------------------- */

struct mt_stack *mt_stack_at(struct mt_core *core, uint32_t id)
{
    struct mt_attribution *table = &core->segment->attribution;
    if (!id || id > LOAD(table->used_stacks)) return NULL;
    uint64_t chunk = atomic_load_explicit(&table->chunks[(id - 1) / MT_STACK_CHUNK], memory_order_acquire);
    if (!chunk) return NULL;
    return (struct mt_stack *)(void *)((char *)core->segment + chunk) + (id - 1) % MT_STACK_CHUNK;
}

/* With table->growing held. */
static bool grow_chunks(struct mt_core *core, struct mt_attribution *table)
{
    uint32_t used = LOAD(table->used_chunks);
    if (used >= MT_STACK_CHUNKS) return false;
    if (!mt_segment_commit(core, &table->chunks[used], sizeof table->chunks[0])) return false;
    uint64_t offset = mt_core_alloc(core, MT_STACK_CHUNK * sizeof(struct mt_stack));
    if (!offset) return false;
    atomic_store_explicit(&table->chunks[used], offset, memory_order_release);
    STORE(table->used_chunks, used + 1);
    return true;
}

/* Return addresses, outermost first, so many words apart. */
struct frames {
    const uint64_t *first;
    unsigned step, depth;
};

static inline uint64_t frame_at(const struct frames *frames, unsigned i)
{
    return frames->first[(size_t)i * frames->step];
}

/* A new place for frames, of which the process keeps what it writes. With table->growing held. */
static uint64_t add_frames(struct mt_core *core, struct mt_attribution *table, uint64_t bytes)
{
    bool is_first = !LOAD(table->frames_at) && bytes <= FIRST_FRAMES_BYTES;
    uint64_t room = is_first ? FIRST_FRAMES_BYTES : FRAME_ARENA_BYTES, at = mt_core_alloc(core, room);
    if (!at) return 0;
    if (!is_first) mt_segment_rest(core, (char *)core->segment + at, room);
    STORE(table->frames_begin, at);
    STORE(table->frames_end, at + room);
    return at;
}

/*
 * Writes a stack's frames; returns where, 0 when there is no room. Only readers look at them again: a page that is
 * full leaves the process. With table->growing held.
 */
static uint64_t put_frames(struct mt_core *core, struct mt_attribution *table, const struct frames *frames)
{
    enum { PAGE = 4096 };
    uint64_t bytes = frames->depth * sizeof(uint64_t), at = LOAD(table->frames_at);
    if (!at || at + bytes > LOAD(table->frames_end)) at = add_frames(core, table, bytes);
    if (!at || at / sizeof(uint64_t) > UINT32_MAX) return 0;
    uint64_t end = at + bytes, low = at & ~(uint64_t)(PAGE - 1);
    STORE(table->frames_at, end);
    char *segment = (char *)core->segment;
    uint64_t *to = (uint64_t *)(void *)(segment + at);
    for (unsigned i = 0; i < frames->depth; i++) to[i] = frame_at(frames, i);
    if (low < LOAD(table->frames_begin)) low = LOAD(table->frames_begin);
    if ((end ^ low) >= PAGE) mt_segment_rest(core, segment + low, end - low);
    return at;
}

static uint32_t make(struct mt_core *core, const struct frames *frames)
{
    struct mt_attribution *table = &core->segment->attribution;
    lock(&table->growing);
    uint32_t used = LOAD(table->used_stacks), id = 0;
    if (used < LOAD(table->used_chunks) * MT_STACK_CHUNK || grow_chunks(core, table)) {
        uint64_t at = frames->depth ? put_frames(core, table, frames) : 0;
        if (at || !frames->depth) {
            id = used + 1;
            STORE(table->used_stacks, id);
            mt_stack_at(core, id)->frames = (uint32_t)(at / sizeof(uint64_t));
        }
    }
    unlock(&table->growing);
    return id;
}

uint32_t mt_stack_make(struct mt_core *core)
{
    const struct frames none = {NULL, 0, 0};
    return make(core, &none);
}

/* What makes a stack another one. */
struct key {
    struct frames frames;
    uint32_t generation;
    uint16_t thread, tag;
    uint64_t hash;
};

/* Another hash than mt_walk_hash(): FNV's steps over the folded addresses. */
static uint32_t check_of(const struct frames *frames)
{
    uint32_t check = 2166136261u;
    for (unsigned i = 0; i < frames->depth; i++) {
        uint64_t address = frame_at(frames, i);
        check = (check ^ (uint32_t)(address ^ address >> 32)) * 16777619u;
    }
    return check;
}

static bool is_same(const struct mt_stack *stack, const struct key *key)
{
    return stack->hash == key->hash && stack->depth == key->frames.depth && stack->generation == key->generation &&
           stack->thread == key->thread && stack->tag == key->tag && stack->check == check_of(&key->frames);
}

/* Looks through a chain as far as `until`. */
static uint32_t search(struct mt_core *core, uint32_t id, uint32_t until, const struct key *key)
{
    while (id != until) {
        const struct mt_stack *stack = mt_stack_at(core, id);
        if (!stack) return 0;
        if (is_same(stack, key)) return id;
        id = LOAD(stack->next);
    }
    return 0;
}

static void fill(struct mt_stack *stack, const struct key *key, bool is_cut)
{
    stack->hash = key->hash;
    stack->check = check_of(&key->frames);
    stack->depth = (uint16_t)key->frames.depth;
    stack->generation = key->generation;
    stack->thread = key->thread;
    stack->tag = key->tag;
    stack->is_cut = is_cut;
    stack->first_ns = mt_now_coarse_ns();
}

static uint32_t add(struct mt_core *core, _Atomic uint32_t *bucket, uint32_t head, const struct key *key,
                    bool is_cut)
{
    uint32_t id = make(core, &key->frames);
    struct mt_stack *stack = mt_stack_at(core, id);
    if (!stack) {
        FETCH_ADD(core->segment->attribution.lost[MT_LOST_STACKS], 1);
        return 0;
    }
    fill(stack, key, is_cut);
    uint32_t seen = head;
    for (;;) {
        STORE(stack->next, seen);
        uint32_t expected = seen;
        /* Release: whoever finds the id finds the stack. Acquire: what others put there meanwhile. */
        if (atomic_compare_exchange_strong_explicit(bucket, &expected, id, memory_order_acq_rel,
                                                    memory_order_acquire))
            return id;
        uint32_t other = search(core, expected, seen, key);
        if (other) return other; /* the record made here stays without blocks */
        seen = expected;
    }
}

/* In mode all; buckets are committed by pages: a program with few stacks uses few of them. */
static bool commit_buckets(struct mt_core *core, struct mt_attribution *table, unsigned page)
{
    _Atomic uint32_t *pages = &table->bucket_pages[page / 32];
    uint32_t bit = UINT32_C(1) << page % 32;
    if (__builtin_expect(LOAD(*pages) & bit, 1)) return true;
    if (!mt_segment_commit(core, &table->buckets[page * BUCKETS_PER_PAGE], 4096)) return false;
    atomic_fetch_or_explicit(pages, bit, memory_order_relaxed);
    return true;
}

/* NULL when there is no memory. */
static _Atomic uint32_t *bucket_of(struct mt_core *core, uint64_t hash)
{
    struct mt_attribution *table = &core->segment->attribution;
    unsigned index = (unsigned)(hash ^ hash >> 32);
    if (LOAD(table->mode) != MT_STACKS_ALL)
        return &table->buckets[MT_STACK_BUCKETS - 1 - index % MT_STACK_BUCKETS_SAMPLED];
    index %= MT_STACK_BUCKETS;
    return commit_buckets(core, table, index / BUCKETS_PER_PAGE) ? &table->buckets[index] : NULL;
}

static uint32_t intern(struct mt_core *core, const struct key *key, bool is_cut)
{
    _Atomic uint32_t *bucket = bucket_of(core, key->hash);
    if (!bucket) {
        FETCH_ADD(core->segment->attribution.lost[MT_LOST_STACKS], 1);
        return 0;
    }
    uint32_t head = atomic_load_explicit(bucket, memory_order_acquire);
    uint32_t id = search(core, head, 0, key);
    return id ? id : add(core, bucket, head, key, is_cut);
}

uint32_t mt_stack_intern(struct mt_core *core, const uint64_t *frames, unsigned depth, uint64_t hash, bool is_cut)
{
    if (!depth || !mt_stack_ready(core)) return 0;
    if (depth > MT_STACK_DEPTH_MAX) depth = MT_STACK_DEPTH_MAX;
    struct key key = {{frames, 1, depth}, mt_module_generation(core), 0, 0, hash};
    return intern(core, &key, is_cut);
}

static void fill_thread_name(struct mt_thread_name *row, const char *name)
{
    size_t length = strnlen(name, sizeof row->name - 1);
    memcpy(row->name, name, length);
    row->name[length] = 0;
    atomic_store_explicit(&row->state, 1, memory_order_release);
}

uint32_t mt_stack_thread(struct mt_core *core, const char *name)
{
    struct mt_attribution *table = &core->segment->attribution;
    uint32_t found = 0;
    if (!mt_stack_ready(core)) return 0;
    lock(&table->growing);
    for (uint32_t i = 0; i < MT_THREAD_NAMES && !found; i++) {
        struct mt_thread_name *row = &table->thread_names[i];
        bool is_last = i == MT_THREAD_NAMES - 1;
        if (!LOAD(row->state)) fill_thread_name(row, is_last ? "(other)" : name);
        if (is_last || !strncmp(row->name, name, sizeof row->name - 1)) found = i + 1;
    }
    unlock(&table->growing);
    return found;
}

/* Two stacks with the same 64-bit hash in one thread's short memory would be taken for one: 1 in 2^56 pairs. */
static uint32_t intern_known(struct mt_core *core, struct mt_walker *walker, const struct key *key, bool is_cut)
{
    struct mt_walk_known *known = walker->known_all ? &walker->known_all[key->hash % MT_WALK_KNOWN_ALL]
                                                    : &walker->known[key->hash % MT_WALK_KNOWN];
    if (known->hash == key->hash && known->stack && known->generation == key->generation) return known->stack;
    uint32_t id = intern(core, key, is_cut);
    *known = (struct mt_walk_known){key->hash, key->generation, id};
    return id;
}

static uint64_t hash_of(const struct frames *frames)
{
    uint64_t hash = 1;
    for (unsigned i = 0; i < frames->depth; i++) hash = mt_walk_hash(hash, frame_at(frames, i));
    return hash;
}

uint32_t mt_stack_of_walk(struct mt_core *core, struct mt_walker *walker)
{
    unsigned limit = (unsigned)core->options.number[MT_OPT_STACK_DEPTH];
    unsigned count = walker->count - walker->own_count;
    if (!count || !mt_stack_ready(core)) return 0;
    bool is_cut = count > limit || walker->is_cut;
    struct key key = {{&walker->frames[0].pc, sizeof walker->frames[0] / sizeof(uint64_t), count},
                      mt_module_generation(core),
                      walker->thread,
                      walker->tag,
                      walker->frames[count - 1].hash};
    if (count > limit) {
        key.frames.first = &walker->frames[count - limit].pc;
        key.frames.depth = limit;
        key.hash = hash_of(&key.frames);
    }
    key.hash += (walker->thread + walker->tag * UINT64_C(0x10000)) * UINT64_C(0x9e3779b97f4a7c15);
    if (walker->tag) mt_scope_tell(core, walker->tag);
    return intern_known(core, walker, &key, is_cut);
}

uint32_t mt_stack_here(struct mt_core *core, uintptr_t skip_low, uintptr_t skip_high)
{
    if (!mt_core_ready(core) || !mt_stack_ready(core)) return 0;
    struct mt_walker *walker = mt_walker_take(core);
    if (!walker) {
        FETCH_ADD(core->segment->attribution.lost[MT_LOST_THREADS], 1);
        return 0;
    }
    mt_walk_here(core, walker, skip_low, skip_high);
    uint32_t id = mt_stack_of_walk(core, walker);
    mt_walker_give_back(core, walker);
    return id;
}

/* ---- counters ------------------------------------------------------------------------- */

void mt_stack_lock(struct mt_stack *stack)
{
    lock(&stack->lock);
}

void mt_stack_unlock(struct mt_stack *stack)
{
    unlock(&stack->lock);
}

void mt_stack_rebase(struct mt_stack *stack, uint32_t epoch)
{
    if (stack->epoch == epoch) return;
    __atomic_store_n(&stack->at_peak_bytes, stack->at_peak_bytes + stack->since_bytes, __ATOMIC_RELAXED);
    __atomic_store_n(&stack->at_peak_count, stack->at_peak_count + stack->since_count, __ATOMIC_RELAXED);
    __atomic_store_n(&stack->since_bytes, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&stack->since_count, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&stack->epoch, epoch, __ATOMIC_RELAXED);
}

void mt_stack_raise_max(struct mt_stack *stack)
{
    int64_t live = stack->at_peak_bytes + stack->since_bytes;
    if (live <= stack->max_bytes) return;
    stack->max_bytes = live;
    stack->max_count = stack->at_peak_count + stack->since_count;
}

void mt_stack_allocated(struct mt_core *core, uint32_t id, const struct mt_stack_weight *weight, uint64_t now_ns)
{
    struct mt_stack *stack = mt_stack_at(core, id);
    if (!stack) return;
    lock(&stack->lock);
    mt_stack_rebase(stack, LOAD(core->segment->attribution.peak_epoch));
    mt_frame_note(core, &stack->in_frame, id, (uint64_t)weight->count, weight->total_bytes);
    stack->since_bytes += weight->live_bytes;
    stack->since_count += weight->count;
    stack->total_bytes += weight->total_bytes;
    stack->total_count += (uint64_t)weight->count;
    stack->sample_count++;
    stack->live_variance += weight->variance;
    mt_stack_raise_max(stack);
    stack->last_ns = now_ns;
    unlock(&stack->lock);
}

void mt_stack_freed(struct mt_core *core, uint32_t id, const struct mt_stack_weight *weight,
                    const struct mt_stack_end *end)
{
    struct mt_stack *stack = mt_stack_at(core, id);
    if (!stack) return;
    lock(&stack->lock);
    mt_stack_rebase(stack, LOAD(core->segment->attribution.peak_epoch));
    stack->since_bytes -= weight->live_bytes;
    stack->since_count -= weight->count;
    stack->live_variance -= weight->variance;
    stack->lifetime_ms += end->lifetime_ms * (uint64_t)weight->count;
    if (end->is_temporary) stack->temporary_count += (uint64_t)weight->count;
    if (end->is_same_frame) stack->same_frame_count += (uint64_t)weight->count;
    unlock(&stack->lock);
}

void mt_stack_note_peak(struct mt_core *core, const struct mt_shard *shard)
{
    struct mt_attribution *table = &core->segment->attribution;
    int64_t peak = mt_stack_peak_seen(core, shard);
    int64_t noted = LOAD(table->noted_peak_bytes);
    while (__builtin_expect(peak > noted, 0)) {
        if (!atomic_compare_exchange_weak_explicit(&table->noted_peak_bytes, &noted, peak, memory_order_relaxed,
                                                   memory_order_relaxed))
            continue;
        FETCH_ADD(table->peak_epoch, 1);
        return;
    }
}
