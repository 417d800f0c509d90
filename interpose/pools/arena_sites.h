/*
 * Which call sites allocate from arenas: those that a rule names, and those
 * whose sampled blocks were seen to die young. A site is a return address and
 * the origin of its blocks; its number stands in every block's cell. A site
 * that pins too much goes back to the slabs for some time.
 *
 * Any thread, on slow paths only: a small lock is taken. The sampler's
 * functions are called with the thread's busy mark set.
 */
#ifndef MT_POOLS_ARENA_SITES_H
#define MT_POOLS_ARENA_SITES_H

#include "arena_learn.h"
#include "core.h"

/* Reads the options; says what is wrong with the rules, a line for each mistake. */
void mt_arena_sites_start(struct mt_core *core);
/* Shows the sites in the segment of the core, which is new. */
void mt_arena_sites_publish(struct mt_core *core);
/* False where no site will ever be taken up, so that nobody need ask. */
bool mt_arena_is_wanted(void);

/*
 * The number of the site that a caller's blocks are allocated at, 1 to
 * MT_ARENA_SITE_MAX - 1; 0 when they come from slabs. When an answer changes, all
 * heaps are made to forget theirs (mt_sites_forget_all()). thread: the thread's
 * name; module: the path of the object that holds the address; "" = unknown.
 */
unsigned mt_arena_site_of(uintptr_t address, uint32_t origin, const char *thread, const char *module);
/* True while blocks of the site come from arenas. */
bool mt_arena_site_is_in(unsigned site);
/* The origin of the blocks of a site. */
uint32_t mt_arena_site_origin(unsigned site);
/* Chunks hold so many bytes more, or less, that are unused and cannot be used because of a site's blocks. */
void mt_arena_site_pinned(unsigned site, int64_t bytes);

/* True when demoted sites may be taken up again; to be asked now and then. Costs a load. */
void mt_arena_sites_look_at_clock(void);

/* A sampled block was allocated from an address: what it is to be remembered by, 0 = nothing. */
uint16_t mt_arena_sample_born(uintptr_t address, uint64_t requested_bytes);
/* It is freed. */
void mt_arena_sample_died(uintptr_t address, uint16_t serial, const struct mt_arena_life *life);

/* The exported function that holds the address before a return address; "" when there is none. */
const char *mt_arena_symbol_of(uintptr_t return_address);

/* Around fork. What is live by site goes over to the child. */
void mt_arena_sites_before_fork(void);
void mt_arena_sites_after_fork_in_parent(void);
void mt_arena_sites_after_fork_in_child(void);

#endif
