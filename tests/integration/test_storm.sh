#!/bin/bash
# Threads, dlopen and dlclose, forks and signals at full speed while every block is recorded, or some: nothing hangs or
# crashes, and the counts are those of the program.
# timeout: 120
. "$(dirname "$0")/lib/common.sh"
need gcc
sources=$TEST_SOURCE/tests/fixtures/attribution
gcc -g -O1 -w -fno-builtin -o "$TEST_TMP/storm" "$sources/storm.c" -pthread || problem "cannot build storm"
gcc -g -O1 -w -fno-builtin -shared -fPIC -o "$TEST_TMP/libplugin.so" "$sources/storm_plugin.c" || problem "cannot build the plugin"

total='sum(s.total_count for s in cpu.stacks if any((f.function or "") == "%s" for f in s.frames))'
live='sum(s.live_count for s in cpu.stacks if any((f.function or "") == "storm_malloc" for f in s.frames))'
for pools in on off; do
    RUN_OPTIONS=(--stacks=all "--pools=$pools" --report-stacks=1000000)
    rm -f "$OUT"/*
    tracked timeout -k 5 60 "$TEST_TMP/storm" "$TEST_TMP/libplugin.so" 2
    expect "exit status with all stacks, pools $pools" "$tracked_status" 0
    read -r made plugin_made kept <"$TEST_TMP/tracked.out"
    # shellcheck disable=SC2059
    check_report storm "$(printf "$total" storm_malloc) == $made" "$(printf "$total" plugin_make) == $plugin_made" \
        "$live == $kept" 'cpu.stack_summary.total_count == cpu.allocation_count' \
        'cpu.stack_summary.live_bytes == cpu.current_bytes' 'all(v == 0 for v in cpu.stack_summary.lost.values())'

    RUN_OPTIONS=(--stacks=sampled "--pools=$pools" --stack-rate=16K)
    rm -f "$OUT"/*
    tracked timeout -k 5 60 "$TEST_TMP/storm" "$TEST_TMP/libplugin.so" 2
    expect "exit status with sampled stacks, pools $pools" "$tracked_status" 0
    check_report storm 'abs(cpu.stack_summary.total_bytes / cpu.total_bytes - 1) < 0.05'
done
verdict
