/*
 * The stack walker. Called on the allocation path of sampled or all blocks by
 * the thread whose stack it is. Must not allocate, lock, or touch memory
 * outside of the stack's mapping.
 */
#include "walk.h"

#include "eh_frame.h"
#include "module.h"
#include "resident.h"
#include "sys.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define LOAD(field)         atomic_load_explicit(&(field), memory_order_relaxed)
#define STORE(field, value) atomic_store_explicit(&(field), value, memory_order_relaxed)

enum {
    RULE_BITS = 14,
    FIRST_RULE_BITS = 7,
    RULE_FILL = 4,
    RULE_WAYS = 2,
    MAIN_STACK_BYTES = 8 << 20,
    HOME_BITS = 7,
    LASTING = 4,
    LASTING_SELF = 1,
    LASTING_LIBC = 2,
    RELEASES = 16,
    CLOSING_YIELDS = 1000, /* an unloading waits no longer for a thread that was stopped while it read */
};

/* key is pc ^ rule, so that a torn pair is seen as no match. */
struct rule_slot {
    _Atomic uint64_t key, rule;
};

struct mt_walk_shared {
    struct mt_walk_shared_head head;
    _Atomic uint64_t free_walkers; /* pointer in the low 48 bits, a changing tag above */
    /* A walker waits where its thread looks first: what it knows of that thread's stack is worth a system call. */
    _Atomic(struct mt_walker *) homes[1 << HOME_BITS];
    /*
     * The first 1 << rule_bits slots are in use. When as many rules as every RULE_FILL-th of them have been read
     * their number doubles; what is not found then at its new place is read once more.
     */
    _Atomic uint32_t rule_bits, rule_count;
    _Atomic uint32_t readers; /* threads that read unwind tables now */
    _Atomic uint32_t release_count;
    struct {
        _Atomic uintptr_t start, bytes;
    } lasting[LASTING]; /* objects that stay */
    struct rule_slot slots[1u << RULE_BITS];
};

extern int _dl_find_object(void *address, struct dl_find_object *result) __attribute__((weak));

/* ---- the memory behind it -------------------------------------------------------- */

static struct mt_walk_shared *shared_of(struct mt_core *core)
{
    struct mt_walk_shared *shared = atomic_load_explicit(&core->walk, memory_order_acquire);
    if (__builtin_expect(shared != NULL, 1)) return shared;
    struct mt_walk_shared *fresh = mt_private_map(core, sizeof *fresh);
    if (!fresh) return NULL;
    STORE(fresh->head.generation, 1);
    STORE(fresh->rule_bits, FIRST_RULE_BITS);
    /* Release: whoever finds the pointer finds the table. */
    if (atomic_compare_exchange_strong_explicit(&core->walk, &shared, fresh, memory_order_acq_rel,
                                                memory_order_acquire))
        return fresh;
    mt_private_unmap(core, fresh, sizeof *fresh);
    return shared;
}

static const uint64_t pointer_mask = (UINT64_C(1) << 48) - 1;

/* What it knows of stacks is kept for the thread that used it last. */
static struct mt_walker *claim(struct mt_walker *walker)
{
    const void *thread = __builtin_thread_pointer();
    if (walker->owner != thread) walker->count = walker->trusted_count = walker->range_count = 0;
    walker->owner = thread;
    return walker;
}

static _Atomic(struct mt_walker *) *home_of_thread(struct mt_walk_shared *shared)
{
    uint64_t thread = (uint64_t)(uintptr_t)__builtin_thread_pointer();
    return &shared->homes[(thread * UINT64_C(0x9e3779b97f4a7c15)) >> (64 - HOME_BITS)]; /* multiplicative hash */
}

struct mt_walker *mt_walker_take(struct mt_core *core)
{
    struct mt_walk_shared *shared = shared_of(core);
    if (!shared) return NULL;
    struct mt_walker *own = atomic_exchange_explicit(home_of_thread(shared), NULL, memory_order_acquire);
    if (own) {
        own->may_close = false;
        own->thread = own->tag = 0;
        return claim(own);
    }
    /* Acquire pairs with the release in mt_walker_give_back(). Walkers are never unmapped. */
    uint64_t head = atomic_load_explicit(&shared->free_walkers, memory_order_acquire);
    while (head & pointer_mask) {
        struct mt_walker *walker = (struct mt_walker *)(uintptr_t)(head & pointer_mask);
        uint64_t next = (uint64_t)(uintptr_t)__atomic_load_n(&walker->next_free, __ATOMIC_RELAXED);
        uint64_t fresh = (((head >> 48) + 1) << 48) | next;
        if (!atomic_compare_exchange_weak_explicit(&shared->free_walkers, &head, fresh, memory_order_acquire,
                                                   memory_order_acquire))
            continue;
        walker->may_close = false;
        walker->thread = walker->tag = 0;
        return claim(walker);
    }
    struct mt_walker *walker = mt_private_map(core, sizeof *walker);
    return walker ? claim(walker) : NULL;
}

void mt_walker_give_back(struct mt_core *core, struct mt_walker *walker)
{
    struct mt_walk_shared *shared = shared_of(core);
    if (!shared || !walker) return;
    /* Release pairs with the acquire in mt_walker_take(); acquire for the walker that has to go. */
    walker = atomic_exchange_explicit(home_of_thread(shared), walker, memory_order_acq_rel);
    if (!walker) return;
    uint64_t head = LOAD(shared->free_walkers), fresh;
    do {
        __atomic_store_n(&walker->next_free, (struct mt_walker *)(uintptr_t)(head & pointer_mask),
                         __ATOMIC_RELAXED);
        fresh = (((head >> 48) + 1) << 48) | (uint64_t)(uintptr_t)walker;
    } while (!atomic_compare_exchange_weak_explicit(&shared->free_walkers, &head, fresh, memory_order_release,
                                                    memory_order_relaxed));
}

static void keep_object_of(struct mt_walk_shared *shared, unsigned at, const void *address)
{
    struct dl_find_object object;
    if (!_dl_find_object || !address || _dl_find_object((void *)(uintptr_t)address, &object)) return;
    STORE(shared->lasting[at].start, (uintptr_t)object.dlfo_map_start);
    STORE(shared->lasting[at].bytes, (uintptr_t)object.dlfo_map_end - (uintptr_t)object.dlfo_map_start);
}

void mt_walk_begin(struct mt_core *core)
{
    struct mt_walk_shared *shared = shared_of(core);
    if (!shared) return;
    keep_object_of(shared, 0, core->program_headers);
    keep_object_of(shared, LASTING_SELF, (const void *)(uintptr_t)mt_walk_begin);
    keep_object_of(shared, LASTING_LIBC, (const void *)(uintptr_t)&syscall);
    keep_object_of(shared, 3, (const void *)(uintptr_t)_dl_find_object);
    if (LOAD(core->epoch)) { /* in a fork's child, which has one thread */
        STORE(shared->readers, 0);
        STORE(shared->head.closing, 0);
    }
    mt_walk_forget(core);
}

void mt_walk_forget(struct mt_core *core)
{
    struct mt_walk_shared *shared = atomic_load_explicit(&core->walk, memory_order_acquire);
    if (!shared) return;
    unsigned used = 1u << LOAD(shared->rule_bits); /* pages that were never used stay so */
    for (unsigned i = 0; i < used; i++)
        if (LOAD(shared->slots[i].key)) STORE(shared->slots[i].key, 0);
    atomic_fetch_add_explicit(&shared->head.generation, 1, memory_order_release);
}

unsigned mt_walk_rule_slots(const struct mt_core *core)
{
    const struct mt_walk_shared *shared = atomic_load_explicit(&core->walk, memory_order_acquire);
    return shared ? 1u << LOAD(shared->rule_bits) : 0;
}

void mt_walk_closing(struct mt_core *core, bool begins)
{
    struct mt_walk_shared *shared = shared_of(core);
    if (!shared) return;
    if (begins) {
        atomic_fetch_add_explicit(&shared->head.closing, 1, memory_order_seq_cst);
        for (unsigned i = 0; i < CLOSING_YIELDS && atomic_load_explicit(&shared->readers, memory_order_seq_cst);
             i++)
            sched_yield();
        return;
    }
    /* In a fork's child the count may have begun anew. */
    uint32_t closing = LOAD(shared->head.closing);
    while (closing && !atomic_compare_exchange_weak_explicit(&shared->head.closing, &closing, closing - 1,
                                                             memory_order_seq_cst, memory_order_relaxed)) {
    }
}

/* ---- bounds ------------------------------------------------------------------------ */

struct line_reader {
    uint64_t number[2];
    unsigned field; /* 0: low, 1: high, 2: the rest */
    char last[8];   /* the line's last characters */
};

static bool is_main_stack(const struct line_reader *reader)
{
    return !memcmp(reader->last + 1, "[stack]", 7);
}

/* Feeds one character; true at the end of a line. */
static bool feed(struct line_reader *reader, char c)
{
    if (c == '\n') return true;
    unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                     : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                                            : 16;
    if (reader->field < 2) {
        if (digit < 16)
            reader->number[reader->field] = reader->number[reader->field] * 16 + digit;
        else
            reader->field++;
    }
    memmove(reader->last, reader->last + 1, 7);
    reader->last[7] = c;
    return false;
}

static bool take_line(const struct line_reader *reader, uintptr_t stack, struct mt_walk_range *range)
{
    bool is_main = is_main_stack(reader);
    uintptr_t low = (uintptr_t)reader->number[0], high = (uintptr_t)reader->number[1];
    if (is_main && high - low < MAIN_STACK_BYTES) low = high - MAIN_STACK_BYTES; /* it grows downwards */
    if (stack < low || stack >= high) return false;
    uintptr_t own = (uintptr_t)__builtin_thread_pointer();
    range->low = low;
    range->high = high;
    range->is_own = is_main ||
                    (own >= low && own < high); /* glibc keeps the thread's block at the top of its stack */
    return true;
}

static bool read_maps(int fd, struct mt_walker *walker, uintptr_t stack, struct mt_walk_range *range)
{
    struct line_reader reader;
    memset(&reader, 0, sizeof reader);
    for (;;) {
        char *text = (char *)walker->known;
        long bytes = syscall(SYS_read, fd, text, sizeof walker->known);
        if (bytes <= 0) return false;
        for (long i = 0; i < bytes; i++) {
            if (!feed(&reader, text[i])) continue;
            if (take_line(&reader, stack, range)) return true;
            memset(&reader, 0, sizeof reader);
        }
    }
}

/* Where the program's arguments begin, above the main thread's first frame; from the dynamic loader. */
extern void *__libc_stack_end __attribute__((weak));

static bool is_on_main_stack(uintptr_t stack, struct mt_walk_range *range)
{
    uintptr_t end = &__libc_stack_end ? (uintptr_t)__libc_stack_end & ~(sizeof(uintptr_t) - 1) : 0;
    if (stack >= end || end - stack >= MAIN_STACK_BYTES) return false;
    *range = (struct mt_walk_range){.low = end - MAIN_STACK_BYTES, .high = end, .is_own = true};
    return true;
}

/* A program under a system call filter may be ended for opening a file: then a stack that is not known yet is not
 * walked. */
static bool may_open_files(void)
{
    return syscall(SYS_prctl, PR_GET_SECCOMP, 0, 0, 0, 0) == 0;
}

static bool find_range(struct mt_core *core, struct mt_walker *walker, uintptr_t stack, struct mt_walk_range *range)
{
    int saved = errno;
    bool found = is_on_main_stack(stack, range);
    long fd = !found && may_open_files() ? syscall(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC)
                                         : -1;
    if (fd >= 0) {
        found = read_maps((int)fd, walker, stack, range);
        memset(walker->known, 0, sizeof walker->known);
        syscall(SYS_close, fd);
    }
    range->unmap_count = LOAD(core->segment->globals.unmap_count);
    errno = saved;
    return found;
}

uintptr_t mt_walk_stack_end_slow(struct mt_core *core, struct mt_walker *walker, uintptr_t stack)
{
    uint64_t unmap_count = LOAD(core->segment->globals.unmap_count);
    for (unsigned i = 0; i < walker->range_count; i++) {
        struct mt_walk_range *range = &walker->ranges[i];
        if (stack < range->low || stack >= range->high) continue;
        if (range->is_own || range->unmap_count == unmap_count) return range->high;
        return find_range(core, walker, stack, range) ? range->high : 0;
    }
    struct mt_walk_range found;
    if (!find_range(core, walker, stack, &found)) return 0;
    unsigned at = walker->range_count < MT_WALK_RANGES ? walker->range_count++
                                                       : walker->range_next++ % MT_WALK_RANGES;
    walker->ranges[at] = found;
    return found.high;
}

/*
 * The end of the stack that a signal's handler on an alternate one has
 * interrupted; 0 when it is not the thread's own, or has no memory there: a
 * stack that is used up is no place to read from.
 */
static uintptr_t interrupted_end(struct mt_core *core, struct mt_walker *walker, uintptr_t stack)
{
    uintptr_t high = mt_walk_stack_end(core, walker, stack);
    bool is_own = false;
    for (unsigned i = 0; i < walker->range_count; i++)
        is_own |= walker->ranges[i].is_own && stack >= walker->ranges[i].low && stack < walker->ranges[i].high;
    if (!high || !is_own || !may_open_files()) return 0;
    int saved = errno;
    unsigned char is_resident;
    bool is_there = !syscall(SYS_mincore, stack & ~(uintptr_t)4095, (size_t)4096, &is_resident);
    errno = saved;
    return is_there ? high : 0;
}

/* ---- rules ------------------------------------------------------------------------- */

static bool is_offset(int32_t offset, int32_t low, int32_t high)
{
    return offset >= low && offset <= high && offset % (int32_t)sizeof(uintptr_t) == 0;
}

/*
 * The common rules are checked here once, so that the walk need not: the CFA
 * lies above the stack pointer, the saved frame pointer between the two.
 */
static bool is_sane(const struct mt_unwind_rule *rule)
{
    if (!is_offset(rule->frame_pointer_offset, -(1 << 23), (1 << 23) - 1)) return false; /* it is kept in 24 bits */
    if (rule->cfa != MT_CFA_STACK) return true;
    if (rule->frame_pointer == MT_FP_AT_CFA && !is_offset(rule->frame_pointer_offset, -rule->cfa_offset, -16))
        return false;
    return is_offset(rule->cfa_offset, 8, 1 << 30) && rule->frame_pointer != MT_FP_AT_FRAME;
}

/* Packed: cfa 4 bits, frame pointer 4 bits, its offset 24 bits, the CFA's offset 32 bits. */
static uint64_t pack(struct mt_unwind_rule rule)
{
    if (!is_sane(&rule)) return MT_CFA_UNKNOWN;
    return (uint64_t)rule.cfa | (uint64_t)rule.frame_pointer << 4 |
           (uint64_t)((uint32_t)rule.frame_pointer_offset & 0xffffff) << 8 |
           (uint64_t)(uint32_t)rule.cfa_offset << 32;
}

/* The part of a loaded object that an address lies in, if it can only be read; NULL otherwise. */
static const ElfW(Phdr) * read_only_part(const char *base, const char *address)
{
    const ElfW(Ehdr) *header = (const ElfW(Ehdr) *)(const void *)base;
    const ElfW(Phdr) *part = (const ElfW(Phdr) *)(const void *)(base + header->e_phoff);
    for (unsigned i = 0; i < header->e_phnum; i++, part++)
        if (part->p_type == PT_LOAD && part->p_flags == PF_R && (size_t)(address - base) >= part->p_vaddr &&
            (size_t)(address - base) < part->p_vaddr + part->p_memsz)
            return part;
    return NULL;
}

/*
 * The few rules that every program needs of libc's tables and this library's
 * would keep a tenth of a small program's memory resident: the pages that were
 * read, and those that the kernel maps around them. They are the file's own
 * and stay in its cache.
 */
static void release_tables(struct mt_walk_shared *shared, const struct dl_find_object *object)
{
    enum { AROUND = 1 << 16 };
    const char *base = object->dlfo_map_start, *tables = object->dlfo_eh_frame;
    if ((uintptr_t)base == LOAD(shared->lasting[LASTING_SELF].start)) mt_resident_release_tables();
    if ((uintptr_t)base != LOAD(shared->lasting[LASTING_LIBC].start) || !tables ||
        LOAD(shared->release_count) >= RELEASES)
        return;
    atomic_fetch_add_explicit(&shared->release_count, 1, memory_order_relaxed);
    const ElfW(Phdr) *part = read_only_part(base, tables);
    if (!part) return;
    uintptr_t low = ((uintptr_t)base + part->p_vaddr) & ~(uintptr_t)4095,
              from = (uintptr_t)tables & ~(AROUND - 1ul);
    uintptr_t high = ((uintptr_t)base + part->p_vaddr + part->p_filesz) & ~(uintptr_t)4095;
    if (from < low) from = low;
    int saved = errno;
    if (from < high) mt_sys_madvise((void *)from, high - from, MADV_DONTNEED);
    errno = saved;
}

/* A return address belongs to the call in front of it. */
static uint64_t read_rule(struct mt_core *core, struct mt_walk_shared *shared, uintptr_t pc)
{
    struct dl_find_object object;
    if (!_dl_find_object || _dl_find_object((void *)(pc - 1), &object)) return MT_CFA_NONE;
    mt_module_seen(core, object.dlfo_link_map, (uintptr_t)object.dlfo_map_start, (uintptr_t)object.dlfo_map_end);
    uint64_t rule = pack(mt_eh_frame_rule(object.dlfo_eh_frame, pc - 1));
    release_tables(shared, &object);
    return rule;
}

static void count_rule(struct mt_walk_shared *shared)
{
    uint32_t bits = LOAD(shared->rule_bits);
    uint32_t count = atomic_fetch_add_explicit(&shared->rule_count, 1, memory_order_relaxed) + 1;
    if (count < (1u << bits) / RULE_FILL || bits == RULE_BITS) return;
    STORE(shared->rule_bits, bits + 1);
    STORE(shared->rule_count, 0);
}

/* The program itself, this library, libc and the dynamic loader are never unloaded. */
static bool is_lasting(const struct mt_walk_shared *shared, uintptr_t pc)
{
    for (unsigned i = 0; i < LASTING; i++)
        if (pc - LOAD(shared->lasting[i].start) < LOAD(shared->lasting[i].bytes)) return true;
    return false;
}

/*
 * Tables of an object that is being unloaded must not be read: who reads says
 * so first and then looks whether an unloading has begun, who unloads says so
 * first and then waits until nobody reads. Both ways sequentially consistent.
 */
static uint64_t fill_rule(struct mt_core *core, struct mt_walker *walker, struct mt_walk_shared *shared,
                          struct rule_slot *slot, uintptr_t pc)
{
    uint64_t rule = MT_CFA_UNKNOWN;
    atomic_fetch_add_explicit(&shared->readers, 1, memory_order_seq_cst);
    bool may_read = walker->may_close || !atomic_load_explicit(&shared->head.closing, memory_order_seq_cst) ||
                    is_lasting(shared, pc);
    if (may_read) rule = read_rule(core, shared, pc);
    atomic_fetch_sub_explicit(&shared->readers, 1, memory_order_seq_cst);
    if (!may_read) return rule;
    if (!LOAD(slot->key)) count_rule(shared);
    STORE(slot->rule, rule);
    STORE(slot->key, rule ^ pc);
    return rule;
}

static inline uint64_t find_rule(struct mt_core *core, struct mt_walker *walker, struct mt_walk_shared *shared,
                                 uintptr_t pc)
{
    unsigned at = (unsigned)((pc * UINT64_C(0x9e3779b97f4a7c15)) >> (64 - LOAD(shared->rule_bits)));
    for (unsigned way = 0; way < RULE_WAYS; way++) {
        struct rule_slot *slot = &shared->slots[at ^ way];
        uint64_t rule = LOAD(slot->rule);
        if (__builtin_expect((LOAD(slot->key) ^ rule) == pc, 1)) return rule;
    }
    struct rule_slot *slot = &shared->slots[at ^ (LOAD(shared->slots[at].key) ? 1u : 0u)];
    return fill_rule(core, walker, shared, slot, pc);
}

/* ---- steps -------------------------------------------------------------------------- */

struct step {
    uintptr_t pc, stack, frame, low, high;
    const uintptr_t *frame_saved_at;
    bool is_plain; /* all it read were the return address and the saved frame pointer */
    struct mt_core *core;
    struct mt_walker *walker;
    bool is_doubtful; /* a frame pointer was followed to a place where no chain goes on */
};

static inline bool is_readable(const struct step *step, uintptr_t address)
{
    return address >= step->low && address <= step->high - sizeof(uintptr_t) &&
           !(address & (sizeof(uintptr_t) - 1));
}

/* Without rules (generated code, hand-written assembly): frame pointer, return address. */
MT_READS_STACK static bool step_by_chain(struct step *step)
{
    uintptr_t frame = step->frame;
    if (frame < step->stack || !is_readable(step, frame) || !is_readable(step, frame + sizeof(uintptr_t)))
        return false;
    const uintptr_t *words = (const uintptr_t *)frame;
    /* Code that was compiled without frame pointers has anything in the register; its own rule must say how it goes
     * on. */
    step->is_doubtful = words[0] && words[0] <= frame;
    step->frame_saved_at = words;
    step->frame = words[0];
    step->pc = words[1];
    step->stack = frame + 2 * sizeof(uintptr_t);
    step->is_plain = true;
    return step->pc != 0;
}

#if defined(__x86_64__)
/* The kernel puts a ucontext where the handler returns to. The interrupted instruction is no call: name its own
 * address. */
MT_READS_STACK static bool step_signal(struct step *step)
{
    if (step->high - step->stack < sizeof(ucontext_t)) return false;
    const ucontext_t *context = (const ucontext_t *)step->stack;
    step->pc = (uintptr_t)context->uc_mcontext.gregs[REG_RIP] + 1;
    step->frame = (uintptr_t)context->uc_mcontext.gregs[REG_RBP];
    uintptr_t stack = (uintptr_t)context->uc_mcontext.gregs[REG_RSP];
    step->frame_saved_at = NULL;
    step->is_plain = false;
    bool is_same_stack = stack >= step->low && stack<step->high, is_outwards = stack> step->stack;
    step->stack = stack;
    if (is_same_stack) return is_outwards;
    step->low = stack;
    step->high = stack % sizeof(uintptr_t) ? 0 : interrupted_end(step->core, step->walker, stack);
    return step->high != 0;
}
#else
static bool step_signal(struct step *step)
{
    (void)step;
    return false;
}
#endif

MT_READS_STACK static inline bool find_cfa(struct step *step, uint64_t rule, uintptr_t *cfa)
{
    intptr_t offset = (int32_t)(rule >> 32);
    switch (rule & 15) {
    case MT_CFA_FRAME: *cfa = step->frame + (uintptr_t)offset; break;
    case MT_CFA_FRAME_MEM:
        if (!is_readable(step, step->frame + (uintptr_t)offset)) return false;
        *cfa = *(const uintptr_t *)(step->frame + (uintptr_t)offset);
        step->is_plain = false;
        break;
    default: return false;
    }
    return *cfa > step->stack && is_readable(step, *cfa - sizeof(uintptr_t));
}

MT_READS_STACK static inline bool find_frame_pointer(struct step *step, uint64_t rule, uintptr_t cfa)
{
    unsigned kind = (unsigned)(rule >> 4) & 15;
    step->frame_saved_at = NULL;
    if (kind == MT_FP_SAME) return true;
    if (kind == MT_FP_LOST) {
        step->frame = 0;
        step->is_plain = false;
        return true;
    }
    intptr_t offset = (int32_t)(uint32_t)rule >> 8;
    uintptr_t at = (kind == MT_FP_AT_CFA ? cfa : step->frame) + (uintptr_t)offset;
    if (!is_readable(step, at)) return false;
    step->frame_saved_at = (const uintptr_t *)at;
    step->frame = *step->frame_saved_at;
    return true;
}

/* The common case: the CFA is at a known distance from the stack pointer. The rule is sane. */
MT_READS_STACK static inline bool step_by_stack(struct step *step, uint64_t rule)
{
    uintptr_t cfa = step->stack + (rule >> 32);
    unsigned kind = (unsigned)(rule >> 4) & 15;
    if (__builtin_expect(cfa > step->high, 0)) return false;
    step->frame_saved_at = NULL;
    if (kind == MT_FP_AT_CFA) {
        step->frame_saved_at = (const uintptr_t *)(cfa + (uintptr_t)(intptr_t)((int32_t)(uint32_t)rule >> 8));
        step->frame = *step->frame_saved_at;
    } else if (__builtin_expect(kind == MT_FP_LOST, 0)) {
        step->frame = 0;
        step->is_plain = false;
    }
    step->pc = ((const uintptr_t *)cfa)[-1];
    step->stack = cfa;
    return true;
}

MT_READS_STACK static __attribute__((noinline)) bool step_by_other(struct step *step, uint64_t rule)
{
    uintptr_t cfa;
    unsigned kind = (unsigned)rule & 15;
    if (kind == MT_CFA_NONE) return step_by_chain(step);
    if (kind == MT_CFA_SIGNAL) return step_signal(step);
    if (!find_cfa(step, rule, &cfa) || !find_frame_pointer(step, rule, cfa)) return false;
    step->pc = *(const uintptr_t *)(cfa - sizeof(uintptr_t));
    step->stack = cfa;
    return true;
}

/* One frame outwards; false at the end, with *is_cut set when it is not the stack's own end. */
MT_READS_STACK static inline bool step_out(struct step *step, uint64_t rule, bool *is_cut)
{
    unsigned kind = (unsigned)rule & 15;
    step->is_plain = true;
    if (kind == MT_CFA_END) return false;
    bool is_ok = __builtin_expect(kind == MT_CFA_STACK, 1) ? step_by_stack(step, rule) : step_by_other(step, rule);
    if (!is_ok) *is_cut = true;
    return is_ok && step->pc;
}

/* ---- walks --------------------------------------------------------------------------- */

/*
 * A frame is what its state and the words that its callers' states were read
 * from make of it: when all of them are unchanged, so is the rest of the walk.
 */
MT_READS_STACK static bool is_unchanged(const struct mt_walker *walker, unsigned from)
{
    uintptr_t changed = 0;
    for (unsigned i = 0; i < from; i++) {
        const struct mt_walk_frame *frame = &walker->frames[i];
        changed |= ((const uintptr_t *)frame->stack)[-1] ^ frame->pc;
        if (frame->needs_frame && frame->frame_saved_at) changed |= *frame->frame_saved_at ^ frame->frame;
    }
    return !changed;
}

/* How many outer frames of the last walk are also this one's, the state's own frame included; 0 = none. */
static unsigned match(const struct mt_walker *walker, unsigned *candidate, const struct step *step)
{
    unsigned at = *candidate;
    while (at && walker->frames[at - 1].stack < step->stack) at--;
    *candidate = at;
    if (!at || at > walker->trusted_count) return 0;
    const struct mt_walk_frame *frame = &walker->frames[at - 1];
    if (frame->stack != step->stack || frame->pc != step->pc) return 0;
    if (frame->needs_frame && frame->frame != step->frame) return 0;
    return is_unchanged(walker, at - 1) ? at : 0;
}

static void append(struct mt_walker *walker, unsigned kept, unsigned fresh_count)
{
    uint64_t hash = kept ? walker->frames[kept - 1].hash : 0;
    for (unsigned i = 0; i < fresh_count; i++) {
        struct mt_walk_frame *frame = &walker->frames[kept + i];
        *frame = walker->fresh[MT_STACK_DEPTH_MAX - fresh_count + i];
        if (frame->passes_frame && kept + i && frame[-1].needs_frame) frame->needs_frame = true;
        hash = mt_walk_hash(hash, frame->pc);
        frame->hash = hash;
    }
    walker->count = kept + fresh_count;
}

static inline void keep_state(struct mt_walk_frame *frame, const struct step *step)
{
    frame->pc = step->pc;
    frame->stack = step->stack;
    frame->frame = step->frame;
    frame->frame_saved_at = step->frame_saved_at;
}

/* What the way out of a frame depends on. */
static inline void keep_rule(struct mt_walk_frame *frame, uint64_t rule)
{
    frame->needs_frame = (rule & 15) != MT_CFA_STACK && (rule & 15) != MT_CFA_END;
    frame->passes_frame = (rule >> 4 & 15) == MT_FP_SAME;
}

static bool has_rule(uint64_t rule)
{
    unsigned kind = (unsigned)rule & 15;
    return kind != MT_CFA_NONE && kind != MT_CFA_UNKNOWN;
}

/* Walks until the stack's end or a frame that the last walk knows; returns how many frames of that stay. */
static unsigned collect(struct mt_core *core, struct mt_walker *walker, struct mt_walk_shared *shared,
                        struct step *step, unsigned *fresh_count, unsigned *odd_count)
{
    unsigned candidate = walker->count, n = 0, kept = 0;
    bool is_cut = false, goes_on = true;
    *odd_count = 0;
    while (goes_on && n < MT_STACK_DEPTH_MAX) {
        kept = candidate ? match(walker, &candidate, step) : 0;
        if (kept) break;
        uint64_t rule = find_rule(core, walker, shared, step->pc);
        if (__builtin_expect(step->is_doubtful, 0)) {
            is_cut = !has_rule(rule);
            if (is_cut) break;
            step->is_doubtful = false;
        }
        struct mt_walk_frame *frame = &walker->fresh[MT_STACK_DEPTH_MAX - ++n];
        keep_state(frame, step);
        keep_rule(frame, rule);
        goes_on = step_out(step, rule, &is_cut);
        if (__builtin_expect(!step->is_plain, 0)) *odd_count = n; /* the caller's state is not in its words alone */
    }
    if (!kept) walker->is_cut = is_cut || goes_on;
    if (n && is_cut) walker->fresh[MT_STACK_DEPTH_MAX - n].needs_frame = true;
    *fresh_count = n;
    return kept;
}

static void forget_walks(struct mt_walker *walker, uint32_t generation)
{
    walker->count = walker->trusted_count = 0;
    walker->generation = generation;
    memset(walker->known, 0, sizeof walker->known);
    if (walker->known_all) memset(walker->known_all, 0, MT_WALK_KNOWN_ALL * sizeof walker->known_all[0]);
}

/* New frames inside of many known ones: the outermost go, so that the rest finds room. */
static unsigned make_room(struct mt_walker *walker, unsigned kept, unsigned fresh_count)
{
    unsigned drop = kept + fresh_count - MT_STACK_DEPTH_MAX;
    uint64_t hash = 0;
    memmove(walker->frames, walker->frames + drop, (kept - drop) * sizeof walker->frames[0]);
    for (unsigned i = 0; i < kept - drop; i++)
        walker->frames[i].hash = hash = mt_walk_hash(hash, walker->frames[i].pc);
    walker->is_cut = true;
    return kept - drop;
}

static unsigned count_own(const struct mt_walker *walker, uintptr_t skip_low, uintptr_t skip_high)
{
    unsigned count = 0;
    while (count < walker->count && walker->frames[walker->count - 1 - count].pc - skip_low < skip_high - skip_low)
        count++;
    return count;
}

MT_READS_STACK unsigned mt_walk_from(struct mt_core *core, struct mt_walker *walker, const uintptr_t *own,
                                     uintptr_t skip_low, uintptr_t skip_high)
{
    struct mt_walk_shared *shared = shared_of(core);
    struct step step = {.pc = own[1],
                        .stack = (uintptr_t)(own + 2),
                        .frame = own[0],
                        .frame_saved_at = own,
                        .core = core,
                        .walker = walker};
    if (!shared) return 0;
    step.low = (uintptr_t)own;
    step.high = mt_walk_stack_end(core, walker, step.low);
    if (!step.high) return walker->count = walker->trusted_count = walker->own_count = 0;
    uint32_t generation = atomic_load_explicit(&shared->head.generation, memory_order_acquire);
    if (walker->generation != generation) forget_walks(walker, generation);
    if (walker->count && walker->frames[0].stack > step.high) walker->count = walker->trusted_count = 0;
    unsigned fresh_count, odd_count;
    unsigned kept = collect(core, walker, shared, &step, &fresh_count, &odd_count);
    if (kept) walker->frames[kept - 1].frame_saved_at = step.frame_saved_at; /* another callee may have saved it */
    if (kept + fresh_count > MT_STACK_DEPTH_MAX) kept = make_room(walker, kept, fresh_count);
    append(walker, kept, fresh_count);
    /* A walk that ended for lack of room lacks its outer end: nothing to build on. */
    bool is_full = walker->count == MT_STACK_DEPTH_MAX;
    walker->trusted_count = is_full ? 0 : odd_count ? kept + fresh_count - odd_count : walker->count;
    walker->own_count = count_own(walker, skip_low, skip_high);
    return walker->count - walker->own_count;
}

__attribute__((noinline)) unsigned mt_walk_here(struct mt_core *core, struct mt_walker *walker, uintptr_t skip_low,
                                                uintptr_t skip_high)
{
    unsigned count = mt_walk_from(core, walker, __builtin_frame_address(0), skip_low, skip_high);
    __asm__ volatile("" : "+r"(count)); /* the frame it was given stays until here */
    return count;
}
