/*
 * The heaps without a thread. See locked_heaps.h.
 */
#include "locked_heaps.h"
#include "heaps.h"
#include "lock.h"
#include "slab.h"
#include "stats.h"

/* Blocks with a call stack are few: those of several classes share slabs, or each class would keep a page. */
enum {
    SHARED_CLASS_LEAST = 3, /* 64 bytes */
    SHARED_CLASS_MAX = 47,  /* 4 KiB, above which a block fills pages of its own */
};

struct locked_heap {
    struct mt_lock lock;
    struct mt_theap *heap;
    _Atomic uint32_t id; /* the heap's, 0 = none yet: to be asked without the lock by who has a block of it */
};
static struct locked_heap shared;  /* of threads that have none; they count in shard 0 */
static struct locked_heap sampled; /* of blocks with a call stack */

void mt_shared_heap_lock(void)
{
    mt_lock_take(&sampled.lock);
    mt_lock_take(&shared.lock);
}

void mt_shared_heap_unlock(void)
{
    mt_lock_give(&shared.lock);
    mt_lock_give(&sampled.lock);
}

void mt_shared_heap_reset_lock(void)
{
    mt_lock_reset(&shared.lock);
    mt_lock_reset(&sampled.lock);
}

static bool has_heap_locked(struct locked_heap *locked)
{
    if (locked->heap) return true;
    locked->heap = mt_theap_take();
    if (!locked->heap) return false;
    locked->heap->keeps_nothing = locked == &sampled;
    atomic_store_explicit(&locked->id, locked->heap->id, memory_order_relaxed);
    return true;
}

/* NULL when there is no memory. */
static void *take_locked(struct locked_heap *locked, unsigned class)
{
    if (!has_heap_locked(locked)) return NULL;
    struct mt_bin *bin = &locked->heap->bins[class];
    if (locked->heap->keeps_nothing) mt_slab_drain(locked->heap);
    if (!bin->head && !mt_slab_refill(locked->heap, bin)) return NULL;
    void *block = bin->head;
    bin->head = *(void **)block;
    bin->adjust--;
    return block;
}

void *mt_shared_take(unsigned class, unsigned *origin)
{
    mt_lock_take(&shared.lock);
    void *block = take_locked(&shared, class);
    if (block) *origin = mt_slab_mark(block, *origin);
    mt_lock_give(&shared.lock);
    return block;
}

void mt_shared_visit(void (*visit)(struct mt_theap *heap))
{
    mt_lock_take(&shared.lock);
    if (shared.heap) visit(shared.heap);
    mt_lock_give(&shared.lock);
}

/* ---- blocks with a call stack ------------------------------------------------------------ */

bool mt_sampled_owns(unsigned owner)
{
    return owner && owner == atomic_load_explicit(&sampled.id, memory_order_relaxed);
}

static unsigned class_of_slab(unsigned class)
{
    return class > SHARED_CLASS_MAX ? class : class <= SHARED_CLASS_LEAST ? SHARED_CLASS_LEAST : class | 7;
}

/* A block of a class has a place in a slab of another one, or (-1) has left it. */
static void count_place(unsigned class, unsigned of_slab, int change)
{
    int64_t bytes = (int64_t)mt_class_bytes(of_slab) * change;
    if (class == of_slab) return;
    MT_POOL_STAT_ADD(classes[class].reserved_bytes, bytes);
    MT_POOL_STAT_ADD(classes[of_slab].reserved_bytes, -bytes);
}

void *mt_sampled_take(unsigned class, unsigned origin)
{
    unsigned of_slab = class_of_slab(class), mark = mt_slab_mark_make(origin, of_slab - class);
    mt_lock_take(&sampled.lock);
    void *block = take_locked(&sampled, of_slab);
    if (block && mt_slab_mark(block, mark) != mark) {
        mt_slab_take_back(sampled.heap, block);
        block = NULL;
    }
    if (block) count_place(class, of_slab, 1);
    mt_lock_give(&sampled.lock);
    return block;
}

void mt_sampled_give(void *block, unsigned class)
{
    mt_lock_take(&sampled.lock);
    count_place(class, class_of_slab(class), -1);
    mt_slab_take_back(sampled.heap, block);
    mt_lock_give(&sampled.lock);
}
