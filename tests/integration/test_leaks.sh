#!/bin/bash
# What the program can no longer reach when it ends: exactly that, block by block.
# timeout: 200
. "$(dirname "$0")/lib/common.sh"
need gcc
sources=$TEST_SOURCE/tests/fixtures/attribution
lost='{n: (sum(l.live_count for l in cpu.leaks for s in cpu.stacks if s.id == l.stack and any((f.function or "") == n for f in s.frames)),
           sum(l.indirect_count for l in cpu.leaks for s in cpu.stacks if s.id == l.stack and any((f.function or "") == n for f in s.frames)))
       for n in ("bad_list", "bad_circle", "bad_large", "good_globals", "good_thread", "main")}'
wanted='{"bad_list": (10, 9), "bad_circle": (2, 1), "bad_large": (2, 0), "good_globals": (0, 0), "good_thread": (0, 0), "main": (14, 10)}'
for flags in "-O2" "-O0" "-O2 -fno-omit-frame-pointer"; do
    # shellcheck disable=SC2086
    gcc -g -w $flags -o "$TEST_TMP/lost" "$sources/lost.c" -lpthread || problem "cannot build lost"
    for pools in on off; do
        rm -f "$OUT"/*
        RUN_OPTIONS=(--stacks=all --leaks=reachable "--pools=$pools")
        tracked "$TEST_TMP/lost"
        expect "exit status" "$tracked_status" 0
        check_report lost "$lost == $wanted" 'cpu.leak_scan.mode == "reachable" and not cpu.leak_scan.failed' \
            'cpu.leak_scan.lost_count == 14' 'cpu.leak_scan.lost_count + cpu.leak_scan.reachable_count == cpu.current_count' \
            'cpu.leak_scan.lost_bytes + cpu.leak_scan.reachable_bytes == cpu.current_bytes' \
            'cpu.leak_scan.lost_bytes == sum(l.live_bytes for l in cpu.leaks)'
    done
done

# CWE-401 in pairs: to the block, and to the byte where the usable size is known.
gcc -g -w -O2 -o "$TEST_TMP/leaks" "$sources/leaks.c" || problem "cannot build leaks"
rm -f "$OUT"/*
RUN_OPTIONS=(--stacks=all --leaks=reachable)
tracked "$TEST_TMP/leaks" 50
pairs='{n: sum(l.live_count for l in cpu.leaks for s in cpu.stacks if s.id == l.stack and any((f.function or "") == n for f in s.frames))
        for n in ("bad_lost", "good_lost", "bad_realloc", "good_realloc", "bad_early", "good_early")}'
check_report leaks "$pairs == {'bad_lost': 50, 'good_lost': 0, 'bad_realloc': 50, 'good_realloc': 0, 'bad_early': 25, 'good_early': 0}" \
    'cpu.leak_scan.lost_bytes == 50 * 112 + 50 * 4096 + 25 * 256'

# Without all stacks it says so, and lists what is live.
rm -f "$OUT"/*
RUN_OPTIONS=(--stacks=sampled --leaks=reachable)
tracked "$TEST_TMP/leaks" 50
grep -q 'MEMTRACK_LEAKS=reachable needs MEMTRACK_STACKS=all' "$TEST_TMP/tracked.err" || problem "nothing is said without all stacks"
check_report leaks 'cpu.leak_scan.mode == "all"' 'cpu.leak_scan.lost_bytes is None'

# A forked child and a program that ends by _exit are looked through too; the parent's children are its own affair.
RUN_OPTIONS=(--stacks=all --leaks=reachable)
rm -f "$OUT"/*
tracked bash -c '(exec 3>&1; exit 3); exit $?'
expect "exit status of a shell with a child" "$tracked_status" 3
verdict
