/*
 * The shadow's memory: a table of leaves, each a sparse mapping that is made
 * when the first block lies in its range and stays. Any thread; takes memory
 * from mmap only and preserves errno.
 */
#include "shadow.h"

#include "sys.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define LOAD(field)         atomic_load_explicit(&(field), memory_order_relaxed)
#define STORE(field, value) atomic_store_explicit(&(field), value, memory_order_relaxed)

enum { PAGE = 4096 };

struct mt_shadow_leaf *_Atomic *mt_shadow_leaves;

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

static struct mt_shadow_leaf *add_leaf(struct mt_core *core, struct mt_shadow_leaf *_Atomic *slot)
{
    struct mt_shadow_leaf *seen = NULL, *fresh = map_sparse(sizeof *fresh);
    if (!fresh) return NULL;
    /* Release: pairs with the acquire of whoever finds the leaf. */
    if (atomic_compare_exchange_strong_explicit(slot, &seen, fresh, memory_order_acq_rel, memory_order_acquire)) {
        count_private(core, 2 * PAGE); /* the slot's own page and the touch bytes */
        return fresh;
    }
    mt_sys_munmap(fresh, sizeof *fresh);
    return seen;
}

bool mt_shadow_put_first(struct mt_core *core, uintptr_t address, uint64_t word)
{
    if (address >> MT_SHADOW_ADDRESS_BITS || !mt_shadow_leaves) return false;
    struct mt_shadow_leaf *leaf = mt_shadow_leaf_of(address);
    if (!leaf) leaf = add_leaf(core, &mt_shadow_leaves[address >> MT_SHADOW_LEAF_BITS]);
    if (!leaf) return false;
    unsigned index = mt_shadow_index(address);
    STORE(leaf->is_touched[index / MT_SHADOW_PAGE_WORDS], 1);
    count_private(core, PAGE);
    STORE(leaf->words[index], word);
    return true;
}

static void visit_page(uintptr_t base, const struct mt_shadow_leaf *leaf, unsigned page,
                       void (*visit)(void *, uintptr_t, uint32_t), void *context)
{
    for (unsigned i = page * MT_SHADOW_PAGE_WORDS; i < (page + 1) * MT_SHADOW_PAGE_WORDS; i++) {
        uint64_t word = LOAD(leaf->words[i]);
        if (word) visit(context, base + (uintptr_t)i * 16, mt_shadow_stack(word));
    }
}

void mt_shadow_each(void (*visit)(void *context, uintptr_t address, uint32_t stack), void *context)
{
    for (unsigned i = 0; mt_shadow_leaves && i < MT_SHADOW_LEAVES; i++) {
        const struct mt_shadow_leaf *leaf = LOAD(mt_shadow_leaves[i]);
        if (!leaf) continue;
        for (unsigned page = 0; page < MT_SHADOW_PAGES; page++)
            if (LOAD(leaf->is_touched[page]))
                visit_page((uintptr_t)i << MT_SHADOW_LEAF_BITS, leaf, page, visit, context);
    }
}

/* Where the system keeps what it is told to forget, such as behind a seccomp filter: words of before would be taken
 * for this segment's. */
static void clear_leaf(struct mt_shadow_leaf *leaf)
{
    if (!mt_sys_madvise(leaf, sizeof *leaf, MADV_DONTNEED)) return;
    for (unsigned page = 0; page < MT_SHADOW_PAGES; page++)
        if (LOAD(leaf->is_touched[page]))
            memset((void *)&leaf->words[page * MT_SHADOW_PAGE_WORDS], 0,
                   MT_SHADOW_PAGE_WORDS * sizeof leaf->words[0]);
    memset((void *)leaf->is_touched, 0, sizeof leaf->is_touched);
}

static void clear(void)
{
    for (unsigned i = 0; i < MT_SHADOW_LEAVES; i++) {
        struct mt_shadow_leaf *leaf = LOAD(mt_shadow_leaves[i]);
        if (leaf) clear_leaf(leaf);
    }
}

bool mt_shadow_start(void)
{
    if (mt_shadow_leaves)
        clear();
    else
        mt_shadow_leaves = map_sparse(MT_SHADOW_LEAVES * sizeof *mt_shadow_leaves);
    return mt_shadow_leaves != NULL;
}
