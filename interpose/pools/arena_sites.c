/*
 * The table of sites that allocate from arenas, the addresses that are being
 * learned, and how sites come and go. See arena_sites.h for who may call what.
 */
#include "arena_sites.h"
#include "arena.h"
#include "arena_rules.h"
#include "lock.h"
#include "module.h"
#include "origin.h"
#include "sites.h"
#include "stats.h"

#include <string.h>

#define LOAD(field)         atomic_load_explicit(&(field), memory_order_relaxed)
#define STORE(field, value) atomic_store_explicit(&(field), value, memory_order_relaxed)

enum { ARENA_AUTO, ARENA_RULES, ARENA_OFF }; /* the choices of MEMTRACK_ARENA */

enum {
    SETS = 128,
    WAYS = 4,
    BACK_OFF_MOST = 6,
    DOUBTS_FIRST = 2, /* a site must show some windows that are good */
    DOUBTS_MOST = 6,
    DOUBTS_STEP = 2, /* for each that is not */
    TRIES = 1000,
    ALL_PINNED =
        16, /* times the limit of one site: more than that in all, and a part of it is too much for a site */
};

/* A demoted site stays away so long, and twice as long each time. */
static const uint64_t BACK_OFF_NS = UINT64_C(30000000000);

/* An address whose blocks are sampled. */
struct place {
    uintptr_t address; /* 0 = unused */
    enum { LEARNING, TAKEN_UP, DEMOTED } state;
    unsigned demotions;
    uint64_t until_ns; /* DEMOTED until then */
    struct mt_arena_window window;
    unsigned doubts; /* windows that must be good before a good one counts: by chance some of many always are */
    uint64_t sample_count, young_count;
};

static struct {
    struct mt_lock lock;
    struct mt_core *core;
    uint64_t mode, pin_limit;
    unsigned count;                  /* of rows, row 0 included */
    struct mt_arena_site *published; /* the segment's copy of rows, NULL = none */
    _Atomic uint64_t return_ns;      /* when the next demoted site may come back, 0 = none is waiting */
} sites = {.mode = ARENA_OFF, .count = 1};

static struct mt_arena_rules rules;

static struct mt_arena_site rows[MT_ARENA_SITE_MAX];
static struct place places[SETS * WAYS]; /* in the order in which their addresses were first met */
static unsigned place_count;
static uint16_t place_index[SETS][WAYS]; /* index into places + 1; 0 = none yet */

/* A signal handler may have interrupted the thread that holds it: nobody waits for ever. */
static bool lock_politely(void)
{
    for (unsigned i = 0; i < TRIES; i++) {
        if (mt_lock_try(&sites.lock)) return true;
        mt_lock_pause();
    }
    return false;
}

/* ---- start --------------------------------------------------------------------------- */

/* The first mistakes are told one by one, the others by their number. */
enum { TOLD_MISTAKES = 8 };
static unsigned mistake_count;

static void complain(const char *rule, int length, const char *mistake)
{
    if (++mistake_count > TOLD_MISTAKES) return;
    char text[MT_ARENA_GLOB_BYTES + 1];
    memcpy(text, rule, (size_t)length);
    text[length] = 0;
    mt_say("MEMTRACK_ARENA_SITES: \"%s\" is left out: %s", text, mistake);
}

void mt_arena_sites_start(struct mt_core *core)
{
    sites.core = core;
    sites.mode = core->options.number[MT_OPT_ARENA];
    sites.pin_limit = core->options.number[MT_OPT_ARENA_PIN];
    const char *text = core->options.text[MT_OPT_ARENA_SITES];
    if (text[0]) mt_arena_rules_parse(&rules, text, complain);
    if (mistake_count > TOLD_MISTAKES)
        mt_say("MEMTRACK_ARENA_SITES: %u more rules are left out", mistake_count - TOLD_MISTAKES);
    if (core->options.number[MT_OPT_STACKS] == MT_STACKS_ALL) sites.mode = ARENA_OFF; /* every block has a stack */
    if (sites.mode == ARENA_OFF && rules.count)
        mt_say("MEMTRACK_ARENA_SITES has no effect: MEMTRACK_ARENA=off and MEMTRACK_STACKS=all do without arenas");
}

bool mt_arena_is_wanted(void)
{
    return sites.mode == ARENA_AUTO || (sites.mode == ARENA_RULES && rules.count);
}

/* ---- the rows, here and in the segment -------------------------------------------------- */

static void show_all(void)
{
    uint64_t offset = mt_core_alloc(sites.core, sizeof rows);
    if (!offset) return;
    sites.published = (struct mt_arena_site *)(void *)((char *)sites.core->segment + offset);
    memcpy(sites.published, rows, sites.count * sizeof *rows);
    /* Release: whoever finds the rows finds them filled in. */
    atomic_store_explicit(&sites.core->segment->pools.arena_sites, offset, memory_order_release);
}

void mt_arena_sites_publish(struct mt_core *core)
{
    sites.core = core;
    sites.published = NULL;
    if (sites.count > 1) show_all();
}

#define BOTH(site, operation)                                                                                      \
    do {                                                                                                           \
        struct mt_arena_site *row = &rows[site];                                                                   \
        operation;                                                                                                 \
        row = sites.published ? &sites.published[site] : NULL;                                                     \
        if (row) operation;                                                                                        \
    } while (0)

static void set_state(unsigned site, enum mt_arena_site_state state)
{
    uint64_t now = mt_now_coarse_ns();
    if (LOAD(rows[site].state) == state) return;
    if (state == MT_ARENA_SITE_DEMOTED)
        BOTH(site, atomic_fetch_add_explicit(&row->demotion_count, 1, memory_order_relaxed));
    else if (state == MT_ARENA_SITE_LEARNED)
        BOTH(site, atomic_fetch_add_explicit(&row->promotion_count, 1, memory_order_relaxed));
    BOTH(site, STORE(row->changed_ns, now));
    BOTH(site, atomic_store_explicit(&row->state, state, memory_order_release));
}

static unsigned row_find(uintptr_t address, uint32_t origin)
{
    for (unsigned i = 1; i < sites.count; i++)
        if (rows[i].address == address && rows[i].origin == origin) return i;
    return 0;
}

static unsigned row_new(uintptr_t address, uint32_t origin, const struct place *place)
{
    if (sites.count == MT_ARENA_SITE_MAX) {
        MT_POOL_STAT_ADD(arena_lost_site_count, 1);
        return 0;
    }
    unsigned site = sites.count++;
    rows[site].address = address;
    rows[site].origin = origin;
    rows[site].generation = mt_module_generation(sites.core);
    STORE(rows[site].sample_count, place ? place->sample_count : 0);
    STORE(rows[site].young_count, place ? place->young_count : 0);
    if (sites.published)
        memcpy(&sites.published[site], &rows[site], sizeof *rows);
    else
        show_all();
    return site;
}

/* ---- addresses ----------------------------------------------------------------------------- */

static uint16_t *set_of(uintptr_t address)
{
    return place_index[(address * UINT64_C(0x9e3779b97f4a7c15)) >> 57];
}

static struct place *place_find(uintptr_t address)
{
    const uint16_t *set = set_of(address);
    for (unsigned i = 0; i < WAYS && set[i]; i++)
        if (places[set[i] - 1].address == address) return &places[set[i] - 1];
    return NULL;
}

/* How little is lost when an address is forgotten; 0 = it must stay. */
static unsigned uselessness(const struct place *place, uint64_t now)
{
    if (place->state == TAKEN_UP || (place->state == DEMOTED && now < place->until_ns)) return 0;
    return 1u + MT_ARENA_WINDOW - place->window.born;
}

/* In place of the least useful one of its set, where that is full. NULL when all must stay. */
static struct place *place_make(uintptr_t address, uint64_t now)
{
    uint16_t *set = set_of(address);
    struct place *found = place_find(address);
    unsigned most = 0;
    if (found) return found;
    for (unsigned i = 0; i < WAYS; i++) {
        if (!set[i]) set[i] = (uint16_t)++place_count;
        struct place *place = &places[set[i] - 1];
        unsigned useless = place->address ? uselessness(place, now) : UINT32_MAX;
        if (useless <= most) continue;
        most = useless;
        found = place;
        if (!place->address) break;
    }
    if (!found) return NULL;
    *found = (struct place){.address = address, .window.serial = found->window.serial, .doubts = DOUBTS_FIRST};
    return found;
}

static bool is_away(const struct place *place, uint64_t now)
{
    return place && place->state == DEMOTED && now < place->until_ns;
}

/* ---- sites come and go ------------------------------------------------------------------------ */

static void take_up(struct place *place)
{
    place->state = TAKEN_UP;
    MT_POOL_STAT_ADD(arena_promotion_count, 1);
    mt_sites_forget_all();
}

static void demote(uintptr_t address, uint64_t now)
{
    struct place *place = place_make(address, now);
    if (!place || is_away(place, now)) return;
    unsigned shift = place->demotions < BACK_OFF_MOST ? place->demotions : BACK_OFF_MOST;
    place->state = DEMOTED;
    place->demotions++;
    place->until_ns = now + (BACK_OFF_NS << shift);
    place->window.born = place->window.young = place->window.old = 0;
    uint64_t next = LOAD(sites.return_ns);
    if (!next || place->until_ns < next) STORE(sites.return_ns, place->until_ns);
    for (unsigned i = 1; i < sites.count; i++)
        if (rows[i].address == address) set_state(i, MT_ARENA_SITE_DEMOTED);
    MT_POOL_STAT_ADD(arena_demotion_count, 1);
    mt_sites_forget_all();
}

unsigned mt_arena_site_of(uintptr_t address, uint32_t origin, const char *thread, const char *module)
{
    if (!mt_arena_is_wanted()) return 0;
    const char *slash = strrchr(module, '/');
    struct mt_arena_caller caller = {
        .names = {slash ? slash + 1 : module, thread, rules.wants_symbols ? mt_arena_symbol_of(address) : ""}};
    bool is_named = mt_arena_rules_match(&rules, &caller) != 0;
    if (!lock_politely()) return 0;
    const struct place *place = place_find(address);
    unsigned site = 0;
    if ((is_named || (place && place->state == TAKEN_UP)) && !is_away(place, mt_now_coarse_ns())) {
        site = row_find(address, origin);
        if (!site) site = row_new(address, origin, place);
        if (site) set_state(site, is_named ? MT_ARENA_SITE_NAMED : MT_ARENA_SITE_LEARNED);
    }
    mt_lock_give(&sites.lock);
    return site;
}

bool mt_arena_site_is_in(unsigned site)
{
    return LOAD(rows[site].state) != MT_ARENA_SITE_DEMOTED;
}

uint32_t mt_arena_site_origin(unsigned site)
{
    return rows[site].origin;
}

static bool pins_too_much(unsigned site)
{
    uint64_t pinned = LOAD(rows[site].pinned_bytes), all = LOAD(mt_pools_stats.arena_pinned_bytes);
    return pinned > sites.pin_limit ||
           (all > ALL_PINNED * sites.pin_limit && pinned > sites.pin_limit / ALL_PINNED);
}

void mt_arena_site_pinned(unsigned site, int64_t bytes)
{
    MT_POOL_STAT_ADD(arena_pinned_bytes, bytes);
    BOTH(site, atomic_fetch_add_explicit(&row->pinned_bytes, (uint64_t)bytes, memory_order_relaxed));
    if (bytes < 0 || !pins_too_much(site) || !lock_politely()) return;
    demote(rows[site].address, mt_now_coarse_ns());
    mt_lock_give(&sites.lock);
}

void mt_arena_sites_look_at_clock(void)
{
    uint64_t next = LOAD(sites.return_ns);
    if (!next || mt_now_coarse_ns() < next || !lock_politely()) return;
    uint64_t now = mt_now_coarse_ns();
    next = 0;
    for (unsigned i = 0; i < place_count; i++) {
        const struct place *place = &places[i];
        if (is_away(place, now) && (!next || place->until_ns < next)) next = place->until_ns;
    }
    STORE(sites.return_ns, next);
    mt_sites_forget_all();
    mt_lock_give(&sites.lock);
}

/* ---- what the sampler tells ---------------------------------------------------------------------- */

static void judge(struct place *place, const struct mt_arena_now *now)
{
    bool is_in = place->state == TAKEN_UP, lives_on = place->window.old > 0;
    enum mt_arena_verdict verdict = mt_arena_window_judge(&place->window, is_in, now);
    if (verdict == MT_ARENA_LIVES_ON && is_in) demote(place->address, now->ns);
    if (verdict == MT_ARENA_LIVES_ON && !is_in && lives_on) place->doubts += DOUBTS_STEP;
    if (place->doubts > DOUBTS_MOST) place->doubts = DOUBTS_MOST;
    if (verdict != MT_ARENA_DIES_YOUNG || is_in) return;
    if (place->doubts)
        place->doubts--;
    else
        take_up(place);
}

static struct mt_arena_now moment(void)
{
    return (struct mt_arena_now){.ns = mt_now_coarse_ns(), .frame = mt_frame_now(sites.core)};
}

uint16_t mt_arena_sample_born(uintptr_t address, uint64_t requested_bytes)
{
    if (sites.mode != ARENA_AUTO || requested_bytes > MT_ARENA_LEARN_MAX || !lock_politely()) return 0;
    struct mt_arena_now now = moment();
    struct place *place = place_make(address, now.ns);
    uint16_t serial = 0;
    if (place && !is_away(place, now.ns)) {
        if (place->state == DEMOTED) place->state = LEARNING;
        judge(place, &now);
        if (place->state != DEMOTED) serial = mt_arena_window_born(&place->window, &now);
    }
    mt_lock_give(&sites.lock);
    return serial;
}

static void count_sample(struct place *place, bool is_young)
{
    place->sample_count++;
    place->young_count += is_young;
    for (unsigned i = 1; i < sites.count; i++) {
        if (rows[i].address != place->address) continue;
        BOTH(i, STORE(row->sample_count, place->sample_count));
        BOTH(i, STORE(row->young_count, place->young_count));
    }
}

void mt_arena_sample_died(uintptr_t address, uint16_t serial, const struct mt_arena_life *life)
{
    if (!serial || sites.mode != ARENA_AUTO || !lock_politely()) return;
    struct mt_arena_now now = moment();
    struct place *place = place_find(address);
    if (place) {
        count_sample(place, mt_arena_is_young(life));
        mt_arena_window_died(&place->window, serial, mt_arena_is_young(life), life->bytes);
        if (place->state != DEMOTED) judge(place, &now);
    }
    mt_lock_give(&sites.lock);
}

/* ---- fork ----------------------------------------------------------------------------------------- */

static struct {
    int64_t bytes, count;
} left[MT_ARENA_SITE_MAX]; /* live in the parent at a fork */

static void add_row(const struct mt_origin_counts *counts)
{
    if (!counts->site || counts->site >= MT_ARENA_SITE_MAX) return;
    for (unsigned class = 0; class < MT_POOL_CLASSES; class ++) {
        const struct mt_origin_cell *cell = &counts->classes[class];
        int64_t live = (int64_t)(LOAD(cell->allocation_count) - LOAD(cell->free_count));
        left[counts->site].count += live;
        left[counts->site].bytes += live * (int64_t)mt_class_bytes(class);
    }
}

void mt_arena_sites_before_fork(void)
{
    mt_lock_take(&sites.lock);
    if (sites.count == 1 || !mt_core_is_on(sites.core)) return;
    const struct mt_segment *segment = sites.core->segment;
    for (unsigned i = 1; i < sites.count; i++) {
        left[i].bytes = rows[i].inherited_bytes;
        left[i].count = rows[i].inherited_count;
    }
    for (unsigned i = 0; i < LOAD(segment->shard_limit) && i < MT_SHARD_MAX; i++) {
        const struct mt_origin_counts *counts = NULL;
        while ((counts = mt_origin_counts_next(segment, sites.core->mapped_bytes, &segment->shards[i], counts)))
            add_row(counts);
    }
}

void mt_arena_sites_after_fork_in_parent(void)
{
    mt_lock_give(&sites.lock);
}

void mt_arena_sites_after_fork_in_child(void)
{
    mt_lock_reset(&sites.lock);
    for (unsigned i = 1; i < sites.count; i++) {
        rows[i].inherited_bytes = left[i].bytes;
        rows[i].inherited_count = left[i].count;
    }
}
