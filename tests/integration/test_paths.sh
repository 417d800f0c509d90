#!/bin/bash
# Every block under its true chain of calls: ways that differ in one return address or in the size of a frame only,
# handlers on stacks of their own, generated code; by one thread and by several, which count apart and add up.
# timeout: 300
. "$(dirname "$0")/lib/common.sh"
need gcc
[[ $(uname -m) == x86_64 ]] || skip "the fixture's generated code is for x86-64"
calls='[(s.total_count, s.is_cut, [f.function for f in s.frames]) for s in cpu.stacks]'
ways="[c for c, _, f in $calls if 'down' in f]"
names="[tuple(n for n in f if n in ('left', 'middle', 'right')) for _, _, f in $calls if 'down' in f]"
generated="[f[:2] + f[3:5] for _, _, f in $calls if 'behind_generated' in f]"
for flags in "-O2" "-O2 -fno-omit-frame-pointer" "-O0"; do
    # shellcheck disable=SC2086
    gcc -g -w $flags -o "$TEST_TMP/paths" "$TEST_SOURCE/tests/fixtures/attribution/paths.c" -lpthread || problem "cannot build paths"
    for pools in on off; do
        for threads in 1 4; do
            rm -f "$OUT"/*
            RUN_OPTIONS=(--stacks=all "--pools=$pools")
            tracked "$TEST_TMP/paths" 20 $threads
            others=$((20 * (threads - 1)))
            check_report paths "sorted(set($ways)) == sorted({20, $others} - {0})" \
                "sorted($ways).count(20) == 243 and len($ways) == ($threads > 1 and 486 or 243)" "len(set($names)) == 243" \
                "all(len(n) == 5 for n in $names)" "sum(c for c, _, f in $calls if 'with_space' in f) == 20 * 9 * $threads" \
                "sum(c for c, _, f in $calls if f[:2] == ['get_and_free', 'handle']) == 20 * $threads" \
                "sum(c for c, _, f in $calls if 'behind_generated' in f) == 20 * $threads" \
                "all(g == ['get_and_free', 'behind_generated', 'through_generated', 'work'] for g in $generated)" \
                "not any(cut for _, cut, f in $calls if 'down' in f or 'behind_generated' in f)" \
                'cpu.stack_summary.total_count == cpu.allocation_count' 'cpu.stack_summary.live_bytes == cpu.current_bytes' \
                'not any(v for k, v in vars(cpu.stack_summary.lost).items())' \
                'sum(s.temporary_count for s in cpu.stacks) >= 243 * 20'
        done
    done
done
verdict
