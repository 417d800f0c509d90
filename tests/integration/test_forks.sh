#!/bin/bash
# timeout: 240
# 1,000 forks: the parent's counts are not disturbed, each child has a report, nothing is left behind.
. "$(dirname "$0")/lib/common.sh"
compile forker <<'C'
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void)
{
    int right = 0;
    for (int n = 0; n < 1000; n++) {
        void *volatile block = malloc(100);
        pid_t child = fork();
        if (child == 0) {
            for (int k = 0; k < 10; k++) {
                void *volatile mine = malloc(50);
                free(mine);
            }
            free(block);
            _exit(n % 7);
        }
        int status = 0;
        if (child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == n % 7) right++;
        free(block);
    }
    printf("%d\n", right);
    return right == 1000 ? 0 : 1;
}
C
same_as_plain "$TEST_TMP/forker"
expect "children that ended as they should" "$(cat "$TEST_TMP/tracked.out")" 1000
"$PYTHON" - "$OUT" <<'P' || problem "reports of the children"
import collections, glob, json, sys
reports = [json.load(open(path)) for path in glob.glob(sys.argv[1] + "/memtrack.forker.*.json")]
parents = [r for r in reports if r["cpu"]["allocation_count"] >= 1000]
children = [r for r in reports if r["cpu"]["allocation_count"] < 1000]
print(len(reports), "reports")
assert len(parents) == 1 and len(children) == 1000, (len(parents), len(children))
states = collections.Counter((r["process"]["exit"]["state"], r["process"]["exit"]["code"]) for r in children)
assert set(states) == {("exited", n) for n in range(7)}, states
counts = collections.Counter((r["cpu"]["allocation_count"], r["cpu"]["free_count"]) for r in children)
assert set(counts) == {(10, 11)}, counts
assert len({r["process"]["pid"] for r in reports}) == 1001
P
main=$(grep -l '"allocation_count": 10[0-9][0-9],' "$OUT"/memtrack.forker.*.json | head -n 1)
[ -z "$main" ] || check_report "$main" 'process.exit.code == 0' '1000 <= cpu.allocation_count <= 1010'
check_report "$(report_of forker 500)" 'process.exit.state == "exited"'

# Children that no handler is told of: what they count after they noticed adds up, and leads to their parent's origins.
compile cloner <<'C'
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
static char stack[1 << 18];
static void churn(int more)
{
    for (int n = 0; n < 2000; n++) {
        void *volatile block = malloc(100 + (n + more) % 50 * 300);
        free(block);
    }
}
static int live(void *argument)
{
    void *volatile large = malloc(1000000);
    (void)argument;
    churn(7);
    free(large);
    return 0;
}
int main(void)
{
    int status = 1;
    void *volatile kept = malloc(1000);
    churn(0);
    for (int n = 0; n < 3; n++) {
        pid_t child = clone(live, stack + sizeof stack, SIGCHLD, NULL);
        if (waitpid(child, &status, 0) != child || status) return 1;
    }
    free(kept);
    return 0;
}
C
# With every stack, what such a child counts before it notices is split: its counts are the parent's, its stack is its own.
rm -f "$OUT"/*
MEMTRACK_STACKS=sampled same_as_plain "$TEST_TMP/cloner"
for number in 1 2 3 4; do
    check_report "$(report_of cloner $number)" 'cpu.allocation_count > 1500' \
        'sum(c.allocation_count for c in cpu.size_classes) == cpu.allocation_count' \
        'cpu.inherited_count in (range(1, 20) if process.is_fork else [0])'
done
# Their call sites lead to rows of arenas in their own segment, not in their parent's.
rm -f "$OUT"/*
MEMTRACK_POOLS=on MEMTRACK_STACKS=sampled MEMTRACK_ARENA=rules MEMTRACK_ARENA_SITES=module:cloner same_as_plain "$TEST_TMP/cloner"
for number in 1 2 3 4; do
    check_report "$(report_of cloner $number)" 'cpu.pools.arena.hit_count > 500' \
        'sum(s.hit_count for s in cpu.pools.arena.sites) == cpu.pools.arena.hit_count'
done
no_leftovers
verdict
