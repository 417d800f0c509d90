/*
 * Marks what can be reached and sorts out what cannot. Runs alone in a copy of
 * the process (leaks.c), where memory stands still.
 */
#include "leak_scan.h"

#include "boot.h"
#include "next.h"
#include "own_memory.h"
#include "pooled.h"
#include "shadow.h"
#include "sys.h"

#include <fcntl.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>

enum { MAPS = 1 << 20, BUFFER = 1 << 18, PAGE = 4096 };

extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char _end[] __attribute__((visibility("hidden")));

enum state { UNSEEN, REACHABLE, DIRECT, INDIRECT };

struct block {
    uintptr_t start;
    uint64_t bytes;
    uint32_t stack;
    uint32_t state;
};

/* A writable private mapping. */
struct area {
    uintptr_t low, high;
    bool is_heap; /* the next allocator's: "[heap]" */
};

static struct {
    struct mt_core *core;
    struct block *blocks;
    uint32_t *pending; /* blocks whose content is still to be looked at */
    size_t count, room, pending_count;
    uintptr_t low, high; /* of all blocks */
    struct area *areas;
    size_t area_count;
    char *buffer;
    uint32_t leader; /* of the leaks being sorted, + 1 */
} work;

static void *take(size_t bytes)
{
    void *at = mt_sys_mmap(NULL, bytes ? bytes : PAGE, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
    return at == MAP_FAILED ? NULL : at;
}

/* ---- blocks ---------------------------------------------------------------------------- */

static void count_block(void *context, uintptr_t address, uint32_t stack)
{
    (void)context, (void)address, (void)stack;
    work.room++;
}

static uint64_t bytes_of(uintptr_t address)
{
    size_t bytes = mt_pools_usable((void *)address);
    return bytes ? bytes : mt_next_usable((void *)address);
}

static void add_block(void *context, uintptr_t address, uint32_t stack)
{
    (void)context;
    if (work.count == work.room) return;
    work.blocks[work.count++] = (struct block){address, bytes_of(address), stack, UNSEEN};
}

static bool find_blocks(void)
{
    mt_shadow_each(count_block, NULL);
    work.blocks = take(work.room * sizeof *work.blocks);
    work.pending = take(work.room * sizeof *work.pending);
    if (!work.blocks || !work.pending) return false;
    mt_shadow_each(add_block, NULL); /* in the order of their addresses */
    if (!work.count) return true;
    const struct block *last = &work.blocks[work.count - 1];
    work.low = work.blocks[0].start;
    work.high = last->start + last->bytes;
    return true;
}

/*
 * The block that an address lies in, one past its end not included; NULL when
 * there is none. Where a 32-bit 0 was written over half of an address, what is
 * left looks like one into a large block that goes across a multiple of 4 GiB
 * (in one of 100 runs for 40 MiB): that counts for the start of a block alone.
 */
static struct block *block_at(uintptr_t address)
{
    if (address < work.low || address >= work.high) return NULL;
    size_t low = 0, high = work.count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (work.blocks[middle].start <= address)
            low = middle;
        else
            high = middle;
    }
    struct block *block = &work.blocks[low];
    if (address != block->start && !(uint32_t)address) return NULL;
    return address - block->start < block->bytes ? block : NULL;
}

/* ---- marking ----------------------------------------------------------------------------- */

static void push(struct block *block)
{
    work.pending[work.pending_count++] = (uint32_t)(block - work.blocks);
}

static void mark_reachable(uintptr_t word)
{
    struct block *block = block_at(word);
    if (!block || block->state != UNSEEN) return;
    block->state = REACHABLE;
    push(block);
}

/* From a block that is lost: what it leads to is lost through it, also what was taken for a beginning before. */
static void mark_indirect(uintptr_t word)
{
    struct block *block = block_at(word);
    if (!block || block->state == REACHABLE || block->state == INDIRECT) return;
    if ((size_t)(block - work.blocks) + 1 == work.leader) return;
    bool is_new = block->state == UNSEEN;
    block->state = INDIRECT;
    if (is_new) push(block);
}

/* Reads through the kernel: a page that cannot be read is left out, not a crash. */
static void look_through(uintptr_t low, uintptr_t high, void (*mark)(uintptr_t))
{
    low = (low + sizeof low - 1) & ~(uintptr_t)(sizeof low - 1);
    while (low + sizeof low <= high) {
        size_t bytes = high - low < BUFFER ? high - low : BUFFER;
        struct iovec to = {work.buffer, bytes}, from = {(void *)low, bytes};
        long got = syscall(SYS_process_vm_readv, work.core->pid, &to, 1L, &from, 1L, 0L);
        if (got < (long)sizeof low) {
            low = (low & ~(uintptr_t)(PAGE - 1)) + PAGE;
            continue;
        }
        const uintptr_t *words = (const uintptr_t *)(const void *)work.buffer;
        for (size_t i = 0; i < (size_t)got / sizeof *words; i++) mark(words[i]);
        low += (size_t)got & ~(sizeof low - 1);
    }
}

static void follow(void (*mark)(uintptr_t))
{
    while (work.pending_count) {
        const struct block *block = &work.blocks[work.pending[--work.pending_count]];
        look_through(block->start, block->start + block->bytes, mark);
    }
}

/* ---- the program's mappings ----------------------------------------------------------------- */

static uintptr_t parse(const char **text)
{
    uintptr_t value = 0;
    for (;; (*text)++) {
        char c = **text;
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                                                : 16;
        if (digit == 16) return value;
        value = value * 16 + digit;
    }
}

/* "low-high rw-p ..." */
static void read_line(const char *line)
{
    uintptr_t low = parse(&line);
    if (*line++ != '-') return;
    uintptr_t high = parse(&line);
    if (strncmp(line, " rw-p", 5) != 0 && strncmp(line, " rwxp", 5) != 0) return;
    const char *end = strchr(line, '\n');
    size_t length = end ? (size_t)(end - line) : strlen(line);
    bool is_heap = length > 6 && !strncmp(line + length - 6, "[heap]", 6);
    work.areas[work.area_count++] = (struct area){low, high, is_heap};
}

static bool read_maps(void)
{
    char *text = take(MAPS);
    work.areas = take(MAPS);
    long fd = syscall(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (!text || !work.areas || fd < 0) return false;
    size_t used = 0;
    for (long got = 1; got > 0 && used<MAPS - 1; used += got> 0 ? (size_t)got : 0)
        got = syscall(SYS_read, fd, text + used, MAPS - 1 - used);
    syscall(SYS_close, fd);
    if (used >= MAPS - 1) return false; /* more than could be read: nothing is better than half */
    for (const char *line = text; line && *line && work.area_count < MAPS / sizeof *work.areas;) {
        read_line(line);
        line = strchr(line, '\n');
        if (line) line++;
    }
    return true;
}

/* ---- roots ---------------------------------------------------------------------------------- */

/* What is left of a stretch when memtrack's own data are taken out, but for the pool of the start. */
static void look_at_data(uintptr_t low, uintptr_t high)
{
    uintptr_t own_low = (uintptr_t)__ehdr_start, own_high = (uintptr_t)_end;
    uintptr_t boot = (uintptr_t)mt_boot_pool;
    if (high <= own_low || low >= own_high) {
        look_through(low, high, mark_reachable);
        return;
    }
    if (low < own_low) look_through(low, own_low, mark_reachable);
    if (boot >= low && boot + MT_BOOT_BYTES <= high) look_through(boot, boot + MT_BOOT_BYTES, mark_reachable);
    if (high > own_high) look_through(own_high, high, mark_reachable);
}

/* A stretch without memory of memtrack's own. */
static void look_outside_own(uintptr_t low, uintptr_t high)
{
    while (low < high) {
        uintptr_t next, end = mt_own_memory_gap(low, high, &next);
        if (end > low) look_at_data(low, end);
        low = next > low ? next : high;
    }
}

/* Where the next allocator serves: from the first to the last block of a mapping all is its heap. */
static void look_outside_heap(const struct area *area, uintptr_t low)
{
    size_t first = 0, end = work.count;
    while (first < end) {
        size_t middle = first + (end - first) / 2;
        if (work.blocks[middle].start < low)
            first = middle + 1;
        else
            end = middle;
    }
    if (first == work.count || work.blocks[first].start >= area->high) {
        look_outside_own(low, area->high);
        return;
    }
    size_t last = first;
    while (last + 1 < work.count && work.blocks[last + 1].start < area->high) last++;
    look_outside_own(low, work.blocks[first].start);
    look_outside_own(work.blocks[last].start + work.blocks[last].bytes, area->high);
}

/* Below what a thread uses of it a stack is not looked at. */
static uintptr_t used_from(const struct area *area, const struct mt_leak_threads *threads)
{
    for (unsigned i = 0; i < threads->count; i++) {
        uintptr_t stack = threads->stack[i];
        if (stack >= area->low && stack < area->high) return stack & ~(uintptr_t)(sizeof stack - 1);
    }
    return area->low;
}

static void look_at_roots(const struct mt_leak_threads *threads)
{
    for (size_t i = 0; i < work.area_count; i++) {
        const struct area *area = &work.areas[i];
        if (area->is_heap) continue;
        uintptr_t low = used_from(area, threads);
        if (mt_pooled())
            look_outside_own(low, area->high);
        else
            look_outside_heap(area, low);
    }
}

/* ---- registers of the other threads ---------------------------------------------------------- */

#if defined(__x86_64__)
/* A thread that does not stop soon (the kernel is busy with it) is let go when the copy ends. */
static bool stops(int32_t tid)
{
    enum { TRIES = 200 };
    const struct timespec pause = {0, 500000};
    for (unsigned i = 0; i < TRIES; i++) {
        int status;
        if (syscall(SYS_wait4, (long)tid, &status, (long)(__WALL | WNOHANG), NULL) == tid)
            return WIFSTOPPED(status);
        syscall(SYS_nanosleep, &pause, NULL);
    }
    return false;
}

/* A pointer may be in a register alone, as in a thread that waits in a system call. */
static void look_at_registers(const struct mt_leak_threads *threads)
{
    for (unsigned i = 1; i < threads->count; i++) {
        struct user_regs_struct registers;
        long tid = threads->tid[i];
        if (syscall(SYS_ptrace, PTRACE_SEIZE, tid, 0L, 0L) < 0) continue;
        if (syscall(SYS_ptrace, PTRACE_INTERRUPT, tid, 0L, 0L) == 0 && stops((int32_t)tid)) {
            if (syscall(SYS_ptrace, PTRACE_GETREGS, tid, 0L, &registers) == 0) {
                const unsigned long long *words = (const unsigned long long *)(const void *)&registers;
                for (size_t k = 0; k < sizeof registers / sizeof *words; k++) mark_reachable((uintptr_t)words[k]);
            }
            syscall(SYS_ptrace, PTRACE_DETACH, tid, 0L, 0L);
        }
    }
}
#else
static void look_at_registers(const struct mt_leak_threads *threads)
{
    (void)threads;
}
#endif

/* ---- the result -------------------------------------------------------------------------------- */

/* One pass in the order of addresses; a circle of lost blocks has its first one as its beginning. */
static void sort_out_lost(void)
{
    for (size_t i = 0; i < work.count; i++) {
        if (work.blocks[i].state != UNSEEN) continue;
        work.blocks[i].state = DIRECT;
        work.leader = (uint32_t)i + 1;
        push(&work.blocks[i]);
        follow(mark_indirect);
    }
}

static void add_up(struct mt_leak *rows, uint32_t row_count, struct mt_leak *reachable)
{
    for (size_t i = 0; i < work.count; i++) {
        const struct block *block = &work.blocks[i];
        const struct mt_stack *record = mt_stack_at(work.core, block->stack);
        uint32_t stack = record && record->twin_of ? record->twin_of : block->stack;
        struct mt_leak *row = block->state == REACHABLE ? reachable : stack < row_count ? &rows[stack] : NULL;
        if (!row) continue;
        if (block->state == INDIRECT) {
            row->indirect_bytes += block->bytes;
            row->indirect_count++;
        } else {
            row->direct_bytes += block->bytes;
            row->direct_count++;
        }
    }
}

bool mt_leak_scan(struct mt_core *core, const struct mt_leak_threads *threads, struct mt_leak *rows,
                  uint32_t row_count, struct mt_leak *reachable)
{
    mt_own_memory_enter_copy();
    work.core = core;
    core->pid = (int32_t)syscall(SYS_getpid); /* of this copy: it reads its own memory */
    if (!mt_own_memory_is_complete() || !read_maps() || !find_blocks()) return false;
    work.buffer = take(BUFFER);
    if (!work.buffer) return false;
    look_at_registers(threads);
    look_at_roots(threads);
    follow(mark_reachable);
    sort_out_lost();
    add_up(rows, row_count, reachable);
    return true;
}
