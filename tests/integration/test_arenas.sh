#!/bin/bash
# A program of frames: the site whose blocks die young is learned and stays, the one that keeps a few is sent
# back to the slabs, and the report tells both; the same with rules and without arenas.
. "$(dirname "$0")/lib/common.sh"
command -v cc >/dev/null || skip "no C compiler"
fixtures=$TEST_SOURCE/tests/fixtures
cc -shared -fPIC -o "$TEST_TMP/libfakegl.so" "$fixtures/libfakegl.c" &&
    cc -D_GNU_SOURCE -O1 -g -fno-builtin -Wno-sign-compare -o "$TEST_TMP/arena_frames" "$fixtures/arena_frames.c" \
        -L"$TEST_TMP" -Wl,-rpath,"$TEST_TMP" -lfakegl -pthread || skip "the fixture does not compile"
IGNORE_STDERR=1
site() { echo "[s for s in cpu.pools.arena.sites if s.function == '$1']"; }

export MEMTRACK_POOLS=on MEMTRACK_STACK_RATE=8K MEMTRACK_ARENA=auto
same_as_plain "$TEST_TMP/arena_frames"
counts='(cpu.current_count <= 3, cpu.total_bytes // 100000, cpu.modules and 1)'
auto=$(value_of arena_frames "$counts")
check_report arena_frames "cpu.pools.arena.promotion_count >= 2" "cpu.pools.arena.demotion_count >= 1" \
    "$(site particle)[0].promotion_count >= 1" "$(site particle)[0].died_young_ratio > 0.9" \
    "$(site particle)[0].hit_count > 100000" "$(site keeper)[0].demotion_count >= 1" \
    "sum(s.hit_count for s in cpu.pools.arena.sites) == cpu.pools.arena.hit_count" \
    "cpu.pools.arena.hit_count < cpu.allocation_count" "cpu.pools.arena.current_count == 0" \
    "cpu.pools.arena.pinned_bytes == 0" "cpu.pools.arena.reuse_count > 500" \
    "cpu.pools.arena.chunk_count * 65536 == cpu.pools.arena.reserved_bytes"
child=$(report_of arena_frames 2)
check_report "$child" "process.is_fork" "cpu.inherited_count > 1000" "0 <= cpu.pools.arena.current_count <= 30" \
    "all(s.current_count >= 0 for s in cpu.pools.arena.sites)"
"$MEMTRACK" report "$(report_of arena_frames)" >"$TEST_TMP/text"
grep -q ' blocks, .* died young  particle (arena_frames)' "$TEST_TMP/text" || problem "the text report lacks the site"

rm -f "$OUT"/*
MEMTRACK_ARENA=rules MEMTRACK_ARENA_SITES='symbol:no_such_*,module:arena_frames&thread:arena_*' tracked "$TEST_TMP/arena_frames"
check_report arena_frames "cpu.pools.arena.promotion_count == 0" "$(site particle)[0].hit_count > 300000" \
    "$(site keeper)[0].demotion_count == 1" "cpu.pools.arena.current_count == 0"
expect "totals with rules" "$(value_of arena_frames "$counts")" "$auto"

rm -f "$OUT"/*
MEMTRACK_ARENA=off tracked "$TEST_TMP/arena_frames"
check_report arena_frames "cpu.pools.arena.hit_count == 0" "not cpu.pools.arena.sites"
expect "totals without arenas" "$(value_of arena_frames "$counts")" "$auto"
verdict
