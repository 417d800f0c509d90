#!/bin/bash
# Memory that runs out: address space limits, memory cgroups, every n-th mmap failing; and 20,000
# threads. Programs get NULL and ENOMEM, go on, and the counts stay right.
# timeout: 300
. "$(dirname "$0")/lib/common.sh"

compile limited <<'C'
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* limited ROUNDS LOG2-OF-LARGEST: two threads replace blocks of all sizes and check what they get. */
enum { SLOTS = 200, THREADS = 2 };
static _Atomic unsigned long allocations, frees, failures;
static unsigned rounds, log_most;
struct slot { unsigned char *block; size_t bytes; unsigned char mark; };
static void fail(const char *what) { fprintf(stderr, "wrong: %s\n", what); abort(); }
static uint32_t next(uint64_t *state) { return (*state = *state * 6364136223846793005u + 1442695040888963407u) >> 33; }
static void check(const struct slot *slot, size_t bytes)
{
    if (bytes > slot->bytes) bytes = slot->bytes;
    for (size_t i = 0; i < bytes; i += bytes / 7 + 1)
        if (slot->block[i] != slot->mark) fail("content");
}
static void fill(struct slot *slot, size_t bytes, unsigned char mark)
{
    slot->bytes = bytes;
    slot->mark = mark;
    memset(slot->block, mark, bytes);
}
static void *get(unsigned how, size_t bytes)
{
    void *block = NULL;
    errno = 0;
    if (how == 0) block = calloc(1, bytes);
    else if (how == 1) block = memalign(4096, bytes);
    else if (how == 2) { if (posix_memalign(&block, 64, bytes) == ENOMEM) errno = ENOMEM; }
    else block = malloc(bytes);
    if (!block && errno != ENOMEM) fail("errno");
    if (block && how == 0)
        for (size_t i = 0; i < bytes; i += 61)
            if (((unsigned char *)block)[i]) fail("calloc");
    return block;
}
static void step(struct slot *slot, uint64_t *random)
{
    size_t bytes = 1 + next(random) % (1u << (4 + next(random) % (log_most - 3)));
    unsigned char mark = next(random);
    unsigned how = next(random) % 8;
    if (slot->block && how > 4) {
        check(slot, slot->bytes);
        errno = 0;
        unsigned char *moved = realloc(slot->block, bytes);
        if (!moved) {
            if (errno != ENOMEM) fail("errno of realloc");
            failures++;
            check(slot, slot->bytes);
            return;
        }
        slot->block = moved;
        check(slot, bytes);
        allocations++, frees++;
        fill(slot, bytes, mark);
        return;
    }
    if (slot->block) {
        check(slot, slot->bytes);
        free(slot->block);
        frees++;
    }
    slot->block = get(how, bytes);
    slot->block ? allocations++ : failures++;
    if (slot->block) fill(slot, bytes, mark);
}
static void *work(void *seed)
{
    static struct slot all[THREADS][SLOTS];
    struct slot *slots = all[(uintptr_t)seed];
    uint64_t random = (uintptr_t)seed + 1;
    for (unsigned i = 0; i < rounds; i++) step(&slots[next(&random) % SLOTS], &random);
    for (unsigned i = 0; i < SLOTS; i++)
        if (slots[i].block) { check(&slots[i], slots[i].bytes); free(slots[i].block); frees++; }
    return NULL;
}
int main(int count, char **words)
{
    pthread_t thread;
    (void)count;
    rounds = atoi(words[1]);
    log_most = atoi(words[2]);
    int is_alone = pthread_create(&thread, NULL, work, (void *)1);
    work((void *)0);
    if (is_alone) work((void *)1); else pthread_join(thread, NULL);
    if (allocations != frees) fail("counts");
    char line[100];
    int length = snprintf(line, sizeof line, "%lu %lu\n", allocations, failures);
    return write(1, line, length) != length;
}
C

# with_library COMMAND...: the preloaded library, no collector; the report is made from the segment later.
with_library() {
    export MEMTRACK_SESSION=$TEST_TMP/session
    rm -rf "$MEMTRACK_SESSION" "$OUT"
    mkdir -m 700 "$MEMTRACK_SESSION"
    mkdir "$OUT"
    limited_status=0
    MEMTRACK_COLLECTOR=none MEMTRACK_OUTPUT=$OUT "$@" >"$TEST_TMP/limited.out" 2>"$TEST_TMP/limited.err" || limited_status=$?
    unset MEMTRACK_SESSION
}

# The program's own numbers against the report's, less what the program's start and its threads allocate.
check_counts() { # check_counts WHAT
    local segment allocations failures
    expect "exit status, $1" "$limited_status" 0
    [ "$limited_status" = 0 ] || head -n 5 "$TEST_TMP/limited.err"
    read -r allocations failures <"$TEST_TMP/limited.out" || problem "$1: no output"
    segment=$(find "$TEST_TMP/session" -name '*.seg' | head -n 1)
    [ -n "$segment" ] || { problem "$1: no segment"; return 0; }
    "$MEMTRACK" report --json "$segment" >"$TEST_TMP/limited.json" || problem "$1: no report"
    check_report "$TEST_TMP/limited.json" "0 <= cpu.allocation_count - ${allocations:-0} < 60" \
        "0 <= cpu.failed_count - ${failures:-0} < 40" 'cpu.net_count < 40' 'cpu.current_bytes < 100000'
    echo "$1: ${allocations:-0} allocations, ${failures:-0} failures"
}

# Address space: 96 MiB for a program that wants more, and enough for one that has always run so.
with_library bash -c "ulimit -v 98304; LD_PRELOAD='$PRELOAD' exec '$TEST_TMP/limited' 30000 23"
check_counts "96 MiB of address space"
[ "$(cut -d' ' -f2 "$TEST_TMP/limited.out")" -gt 0 ] || problem "nothing failed at 96 MiB: the test shows nothing"
with_library bash -c "ulimit -v 200000; LD_PRELOAD='$PRELOAD' exec '$TEST_TMP/limited' 3000 20"
check_counts "200 MB of address space"
expect "failures where there is enough" "$(cut -d' ' -f2 "$TEST_TMP/limited.out")" 0

# Every n-th request for memory fails, from the one after the program's start on.
if command -v strace >/dev/null && strace -qq -o /dev/null -e inject=mmap:error=ENOMEM:when=900 true 2>/dev/null; then
    for when in 15+1 17+2 22+1 24+1 26+2; do
        with_library strace -f -qq -o /dev/null -E "LD_PRELOAD=$PRELOAD" -e trace=mmap,mremap,madvise \
            -e inject=mmap,mremap:error=ENOMEM:when=$when "$TEST_TMP/limited" 3000 21
        check_counts "mmap fails at $when"
    done
    # Every request fails, soon after the program's start: the break serves, as it would without memtrack.
    for when in 20+1 24+1 40+1; do
        with_library strace -f -qq -o /dev/null -E "LD_PRELOAD=$PRELOAD" -e trace=mmap,mremap \
            -e inject=mmap,mremap:error=ENOMEM:when=$when "$TEST_TMP/limited" 3000 21
        check_counts "mmap fails from $when on"
        expect "failures where the break can be moved" "$(cut -d' ' -f2 "$TEST_TMP/limited.out")" 0
    done
    # Each request fails once, also where a shell forks: its child's report is right without what the parent knew.
    for command in "'$TEST_TMP/limited' 300 21" "bash -c 'x=({1..500}); echo \$(unset x)'"; do
        failing=20
        while true; do
            eval "with_library strace -f -qq -o '$TEST_TMP/injected' -E 'LD_PRELOAD=$PRELOAD' -e trace=mmap,mremap \
                -e inject=mmap,mremap:error=ENOMEM:when=$failing $command"
            grep -q INJECTED "$TEST_TMP/injected" || break
            # An object that the loader cannot map is no matter of memtrack's.
            grep -qE 'loading shared libraries|cannot be preloaded|TLS data' "$TEST_TMP/limited.err" && limited_status=0
            expect "exit status of $command, request $failing fails" "$limited_status" 0
            for segment in "$TEST_TMP"/session/*.seg; do
                [ -e "$segment" ] || continue
                "$MEMTRACK" report --json "$segment" >"$TEST_TMP/limited.json" || problem "no report of $command at $failing"
                check_report "$TEST_TMP/limited.json" 'cpu.current_bytes < 1 << 20'
            done
            failing=$((failing + 1))
        done
        echo "$command: each of $((failing - 1)) requests failed once"
    done
    # What the statistics and the pools ask of memory that they have fails: what is lost is said, and the rest adds up.
    for first in {28..38}; do
        for command in "'$TEST_TMP/limited' 600 21" "bash -c 'x=({1..5000}); echo \${#x[@]}'"; do
            eval "with_library strace -f -qq -o /dev/null -E 'LD_PRELOAD=$PRELOAD' -E MEMTRACK_STACKS=all \
                -e trace=mprotect,madvise -e inject=mprotect,madvise:error=ENOMEM:when=$first+11 $command"
            expect "exit status of $command, advice fails at $first+11" "$limited_status" 0
            "$MEMTRACK" report --json "$TEST_TMP"/session/*.seg >"$TEST_TMP/limited.json" || problem "no report of $command"
            check_report "$TEST_TMP/limited.json" 'cpu.allocation_count > 100'
        done
    done
else
    echo "note: no strace that injects errors: failing mmap is left out"
fi

# A memory cgroup: within it as without; beyond it the kernel kills, and what was counted is not lost.
cgroup=/sys/fs/cgroup/memory/memtrack-test.$$
limit_file=memory.limit_in_bytes
[ -d /sys/fs/cgroup/memory ] || { cgroup=/sys/fs/cgroup/memtrack-test.$$; limit_file=memory.max; }
if mkdir "$cgroup" 2>/dev/null && [ -w "$cgroup/$limit_file" ] && echo 64M >"$cgroup/$limit_file" 2>/dev/null; then
    at_end+=("sleep 0.2; rmdir '$cgroup'")
    with_library bash -c "echo \$\$ >'$cgroup/cgroup.procs'; LD_PRELOAD='$PRELOAD' exec '$TEST_TMP/limited' 20000 17"
    check_counts "64 MiB in a cgroup"
    with_library bash -c "echo \$\$ >'$cgroup/cgroup.procs'; LD_PRELOAD='$PRELOAD' exec '$TEST_TMP/limited' 20000 25"
    expect "exit status beyond the cgroup's limit" "$limited_status" 137
    segment=$(find "$TEST_TMP/session" -name '*.seg' | head -n 1)
    "$MEMTRACK" report --json "$segment" >"$TEST_TMP/limited.json" &&
        check_report "$TEST_TMP/limited.json" 'cpu.allocation_count > 10' 'cpu.current_bytes > 16 << 20' 'process.exit.state == "killed"'
else
    rmdir "$cgroup" 2>/dev/null
    echo "note: no memory cgroup can be made here: that part is left out"
fi

# Threads that come and go leave nothing behind.
compile many <<'C'
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
enum { AT_ONCE = 8, BLOCKS = 50 };
static _Atomic(void *) left[AT_ONCE * BLOCKS];
/* What one thread leaves, a later one frees. */
static void *live(void *argument)
{
    size_t at = (size_t)argument;
    for (size_t i = 0; i < BLOCKS; i++) {
        char *block = malloc(16 + i * 97), *large = i % 10 ? NULL : calloc(1, 50000);
        memset(block, 1, 16 + i * 97);
        free(atomic_exchange(&left[(at * BLOCKS + i * 7) % (AT_ONCE * BLOCKS)], block));
        free(large);
    }
    return NULL;
}
static long rss_kib(void)
{
    char line[200];
    long kib = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file)) sscanf(line, "VmRSS: %ld", &kib);
    if (file) fclose(file);
    return kib;
}
int main(void)
{
    long after_warm_up = 0;
    for (int round = 0; round < 20000 / AT_ONCE; round++) {
        pthread_t threads[AT_ONCE];
        for (size_t i = 0; i < AT_ONCE; i++)
            if (pthread_create(&threads[i], NULL, live, (void *)i)) return 1;
        for (int i = 0; i < AT_ONCE; i++) pthread_join(threads[i], NULL);
        if (round == 10000 / AT_ONCE) after_warm_up = rss_kib();
    }
    long grown = rss_kib() - after_warm_up;
    if (grown > 8192) fprintf(stderr, "grown by %ld KiB\n", grown);
    return grown > 8192; /* by 10,000 threads: a kilobyte that each left would show */
}
C
same_as_plain "$TEST_TMP/many"
expect "status of 20,000 threads" "$tracked_status" 0
check_report many 'cpu.thread_count >= 20000' 'cpu.thread_count_live == 1' 'cpu.allocation_count >= 1000000'
verdict
