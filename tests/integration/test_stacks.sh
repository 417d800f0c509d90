#!/bin/bash
# Call stacks of programs whose chains of calls, leaks and counts are known.
# timeout: 300
. "$(dirname "$0")/lib/common.sh"
need gcc
need g++
sources=$TEST_SOURCE/tests/fixtures/attribution
build() { # build COMPILER OUTPUT FLAGS... SOURCE
    local compiler=$1 output=$2
    shift 2
    "$compiler" -g -w "$@" -o "$TEST_TMP/$output" || problem "cannot build $output"
}
RUN_OPTIONS=(--stacks=all)

# Leaks: each bad function loses exactly what it does, the good ones nothing; plain and optimised, with and without frame pointers.
leaks='{n: (sum(s.live_count for s in cpu.stacks if any((f.function or "") == n for f in s.frames)),
            sum(s.total_count for s in cpu.stacks if any((f.function or "") == n for f in s.frames)))
        for n in ("bad_lost", "good_lost", "bad_realloc", "good_realloc", "bad_early", "good_early")}'
wanted='{"bad_lost": (50, 50), "good_lost": (0, 50), "bad_realloc": (50, 100), "good_realloc": (0, 100), "bad_early": (25, 50), "good_early": (0, 50)}'
for flags in "-O0" "-O2 -fomit-frame-pointer" "-O2 -fno-omit-frame-pointer" "-O3 -fno-asynchronous-unwind-tables -fno-unwind-tables -fno-omit-frame-pointer"; do
    # shellcheck disable=SC2086
    build gcc leaks $flags "$sources/leaks.c"
    rm -f "$OUT"/*
    tracked "$TEST_TMP/leaks" 50
    check_report leaks "$leaks == $wanted" 'cpu.stack_summary.live_bytes == cpu.current_bytes' \
        'cpu.stack_summary.total_count == cpu.allocation_count' 'cpu.stack_summary.total_bytes == cpu.total_bytes' \
        'cpu.stack_summary.peak_bytes == cpu.peak_bytes' 'sum(l.live_count for l in cpu.leaks) == cpu.current_count' \
        'sum(t.current_bytes for t in cpu.tags) == cpu.current_bytes' 'sum(m.total_count for m in cpu.modules) == cpu.allocation_count'
done

# What realloc makes larger or smaller stands at the peak with the size that it had then.
build gcc resized -O2 "$sources/resized.c"
for pools in on off; do
    RUN_OPTIONS=(--stacks=all "--pools=$pools")
    for what in grows shrinks moves; do
        rm -f "$OUT"/*
        tracked "$TEST_TMP/resized" "$what"
        check_report resized 'cpu.stack_summary.peak_bytes == cpu.peak_bytes' 'cpu.stack_summary.live_bytes == cpu.current_bytes' \
            'cpu.stack_summary.total_count == cpu.allocation_count' 'cpu.stack_summary.lost.blocks == 0'
    done
done
RUN_OPTIONS=(--stacks=all)

# Chains: through inlined functions, an exception, a fiber, a thread.
names='[[f.function for f in s.frames] for s in cpu.stacks if s.frames[0].function == "innermost(int)"]'
for flags in "-O2" "-O0" "-O2 -fno-omit-frame-pointer" "-O1 -mstackrealign"; do
    # shellcheck disable=SC2086
    build g++ chain $flags "$sources/chain.cpp" -lpthread
    rm -f "$OUT"/*
    same_as_plain "$TEST_TMP/chain"
    check_report chain \
        "any(n[1:7] == ['inlined_one', 'inlined_two', 'game::World::load(int)', 'thrower(int)', 'catcher()', 'main'] or n[1:7] == ['inlined_one(int)', 'inlined_two(int)', 'game::World::load(int)', 'thrower(int)', 'catcher()', 'main'] for n in $names)" \
        "any(n[1:3] == ['catcher()', 'main'] for n in $names)" \
        "any(n[1] == 'fiber_work()' for n in $names)" "any(n[1] == 'thread_work()' and not 'main' in n for n in $names)" \
        "len($names) == 4" 'all(s.frames[0].file.endswith("chain.cpp") for s in cpu.stacks if s.frames[0].function == "innermost(int)")'
done

# Threads told apart by a rule.
cat >"$TEST_TMP/rules.json" <<'RULES'
{"tags": [{"tag": "worker", "budget": "1K", "match": [{"thread": "the-*", "symbol": "innermost*"}]},
          {"tag": "load", "match": [{"symbol": "game::World::*"}]}]}
RULES
rm -f "$OUT"/*
RUN_OPTIONS=(--stacks=all "--tags=$TEST_TMP/rules.json")
tracked "$TEST_TMP/chain"
check_report chain "[t.allocation_count for t in cpu.tags if t.tag == 'worker'] == [1]" \
    "[t.allocation_count for t in cpu.tags if t.tag == 'load'] == [1]" \
    "[t.budget_state for t in cpu.tags if t.tag == 'worker'] == ['over']" "any(e.kind == 'budget-over' for e in r.events)"
echo '{"tags": [{"tag": "x", "match": [{"modul": "a"}]}]}' >"$TEST_TMP/rules.json"
tracked "$TEST_TMP/chain"
grep -q 'rules.json: tags\[0\].match\[0\]: unknown key "modul"' "$TEST_TMP/tracked.err" || problem "a mistake in the rules is not told"
expect "exit status with bad rules" "$tracked_status" 0

# Plugins that lie where another one lay, and whose files are gone when the report is made.
RUN_OPTIONS=(--stacks=all --pools=off)
build gcc host -O2 "$sources/host.c" -ldl
build gcc libone.so -O2 -shared -fPIC -DPLUGIN_FUNCTION=first_plugin_allocates "$sources/plugin.c"
build gcc libtwo.so -O2 -shared -fPIC -DPLUGIN_FUNCTION=second_plugin_allocates "$sources/plugin.c"
rm -f "$OUT"/*
tracked "$TEST_TMP/host" "$TEST_TMP/libone.so" "$TEST_TMP/libtwo.so" "$TEST_TMP/libone.so"
per_function="{n: sum(s.live_bytes for s in cpu.stacks if s.frames[0].function == n) for n in ('first_plugin_allocates', 'second_plugin_allocates')}"
check_report host "$per_function == {'first_plugin_allocates': 5 * 1000 + 5 * 3000, 'second_plugin_allocates': 5 * 2008}"

# Sampled: the estimates of a long run are near the truth.
build gcc leaks -O2 "$sources/leaks.c"
rm -f "$OUT"/*
RUN_OPTIONS=(--stacks=sampled --stack-rate=16K)
tracked "$TEST_TMP/leaks" 20000
check_report leaks 'abs(cpu.stack_summary.live_bytes - cpu.current_bytes) <= 2.5 * cpu.stack_summary.live_error_bytes' \
    '0.9 < cpu.stack_summary.total_bytes / cpu.total_bytes < 1.1' 'cpu.stack_summary.lost.blocks == 0'

# The same for a thread that has neither a shard nor a heap of its own: 81,920 allocations, 32,768 of them live.
build gcc crowd -O1 "$sources/crowd.c" -pthread
rm -f "$OUT"/*
tracked "$TEST_TMP/crowd"
crowded='sum(s.{} for s in cpu.stacks if any("crowded_out" in (f.function or "") for f in s.frames))'
check_report crowd 'r.dropped.shards > 0' "abs(${crowded/\{\}/total_count} / 81920 - 1) < 0.1" \
    "abs(${crowded/\{\}/live_count} / 32768 - 1) < 0.12"
verdict
