/*
 * Starts memtrack in a program: from the first allocation, which may come
 * before any constructor, or else from the constructor below. Holds the core
 * that the Vulkan layer shares through memtrack_core_v1().
 */
#include "init.h"

#include "clock.h"
#include "count.h"
#include "cxx.h"
#include "dl.h"
#include "elf.h"
#include "export.h"
#include "mappings.h"
#include "next.h"
#include "pooled.h"
#include "process.h"
#include "resident.h"
#include "segment.h"
#include "through.h"

#include <unistd.h>

struct mt_core mt_core;

_Atomic bool mt_init_is_through;
static _Atomic bool was_tried;      /* mt_core_start() has answered once */
static _Atomic bool is_constructed; /* the constructor has run: its answer is the last one */
static _Atomic bool is_prepared;
static _Atomic uint32_t told_epoch; /* the core's epoch + 1 when its segment was told */

bool mt_init_wants_mappings(void)
{
    return !mt_init_passes_through() && (!mt_core_is_on(&mt_core) || mt_core.options.number[MT_OPT_MAPPINGS]);
}

static void begin_in_child(void);

/* What the preloaded library alone knows about the process; once for each segment. */
static void tell_segment(void)
{
    uint32_t epoch = atomic_load_explicit(&mt_core.epoch, memory_order_relaxed) + 1;
    if (atomic_load_explicit(&told_epoch, memory_order_relaxed) == epoch) return;
    atomic_store_explicit(&told_epoch, epoch, memory_order_relaxed);
    struct mt_process *process = &mt_core.segment->process;
    mt_copy_name(&mt_core, process->next_allocator, sizeof process->next_allocator, mt_next.path);
    mt_copy_name(&mt_core, process->foreign_allocator, sizeof process->foreign_allocator, mt_next.foreign);
    mt_segment_rest(&mt_core, mt_core.segment, offsetof(struct mt_segment, process.pid)); /* texts for readers */
    mt_mappings_publish();
    atomic_store_explicit(&mt_core.left_parent, begin_in_child, memory_order_relaxed);
    atomic_store_explicit(&mt_core.change_scope, mt_thread_change_scope, memory_order_relaxed);
    atomic_store_explicit(&mt_core.tag_in_force, mt_thread_tag, memory_order_relaxed);
}

/* In a child made by raw clone, which has its own segment now. */
static void begin_in_child(void)
{
    mt_through_forget_counters();
    if (!mt_core_is_on(&mt_core)) return;
    tell_segment();
    if (mt_pooled()) mt_pooled_ready();
}

static enum mt_init_verdict settle_off(void)
{
    if (atomic_load_explicit(&mt_core.state, memory_order_acquire) == MT_CORE_OFF)
        atomic_store_explicit(&mt_init_is_through, true, memory_order_relaxed);
    return MT_INIT_OFF;
}

static void prepare_once(void)
{
    if (!atomic_exchange_explicit(&is_prepared, true, memory_order_relaxed)) mt_thread_start();
}

enum mt_init_verdict mt_init_ready(void)
{
    if (MT_UNLIKELY(mt_core.fork_mark && !*mt_core.fork_mark)) mt_core_after_fork_in_child(&mt_core);
    if (!mt_core_is_on(&mt_core)) {
        /* libc learns the environment in its own constructor. */
        if (!environ && !atomic_load_explicit(&was_tried, memory_order_relaxed) &&
            !atomic_load_explicit(&is_constructed, memory_order_relaxed))
            return MT_INIT_TOO_EARLY;
        prepare_once();
        atomic_store_explicit(&was_tried, true, memory_order_relaxed);
        if (!mt_core_start(&mt_core, MT_CLIENT_PRELOAD)) return settle_off();
    }
    tell_segment();
    if (mt_core.options.number[MT_OPT_CPU]) {
        mt_pooled_ready();
        return MT_INIT_ON;
    }
    atomic_store_explicit(&mt_init_is_through, true, memory_order_relaxed);
    return MT_INIT_OFF;
}

/* Nothing that stands before libc's clock_gettime() is passed by. */
static void find_clock(void)
{
    struct mt_elf_symbol kernels, libcs;
    mt_clock_function *ours = clock_gettime; /* as the loader has resolved it */
    if (mt_elf_find("__vdso_clock_gettime", MT_ELF_FIRST, &kernels) &&
        mt_elf_find("clock_gettime", MT_ELF_LIBC, &libcs) && (uintptr_t)libcs.address == (uintptr_t)ours)
        atomic_store_explicit(&mt_clock_read, (mt_clock_function *)(uintptr_t)kernels.address,
                              memory_order_relaxed);
}

__attribute__((constructor)) static void construct(void)
{
    mt_resident_begin();
    find_clock();
    mt_count_enter();
    atomic_store_explicit(&is_constructed, true, memory_order_relaxed);
    mt_process_start();
    mt_count_enter();
    mt_cxx_start();
    mt_dl_start();
    mt_resident_settle();
}

MT_EXPORT struct mt_core *memtrack_core_v1(void);

/* For the Vulkan layer, which is built from the same sources (mt_core_matches()). */
MT_EXPORT struct mt_core *memtrack_core_v1(void)
{
    mt_count_enter();
    return &mt_core;
}
