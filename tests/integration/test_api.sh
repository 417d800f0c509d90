#!/bin/bash
# timeout: 240
# memtrack.h: tags of heap blocks by exact counts, in C and C++, one thread and eight, over fork, with pools, without,
# and with all stacks; frames that the program marks; answers to the program; and nothing at all without memtrack.
. "$(dirname "$0")/lib/common.sh"
need "${CC:=cc}" gcc
need "${CXX:=c++}" g++
sources=$TEST_SOURCE/tests/api
build() { # build COMPILER NAME SOURCE [FLAGS...]
    "$1" "${@:4}" -O1 -g -fno-builtin -w -pthread -I"$TEST_SOURCE/include" -o "$TEST_TMP/$2" "$sources/$3" || problem "cannot compile $2"
}
build "$CC" tags tags.c
build "$CXX" tags_cxx tags.cpp -std=c++11
build "$CC" tags_static tags.c -static 2>/dev/null || echo "skip static programs: no static libc"

# A tag's row: calls, live blocks, bytes in all.
row() { echo "[(t.allocation_count, t.current_count, t.total_bytes, t.source) for t in cpu.tags if t.tag == $1]"; }
counts() { # counts PROGRAM FACTOR [TEXTURES [DROPPED]]: what each thread does, that many times
    local factor=$2
    check_report "$1" \
        "$(row '"loading"') == [(103 * $factor, 103 * $factor, 700000 * $factor, 'api')]" \
        "${3:-$(row '"textures"') == [(50 * $factor, 20 * $factor, 150000 * $factor, 'api')]}" \
        'sum(t.current_bytes for t in cpu.tags) == cpu.current_bytes' \
        'sum(t.allocation_count for t in cpu.tags) == cpu.allocation_count' \
        'all(t.is_exact for t in cpu.tags if t.source == "api")' "r.dropped.tags ${4:-== 0}"
    rm -rf "${OUT:?}"/*
}
for option in MEMTRACK_STACKS=sampled MEMTRACK_STACKS=off 'MEMTRACK_STACKS=all MEMTRACK_POOLS=off' MEMTRACK_STACKS=all; do
    # shellcheck disable=SC2163,SC2086
    export $option
    tracked "$TEST_TMP/tags" 1
    expect "exit status with $option" "$tracked_status" 0
    counts tags 1
    tracked "$TEST_TMP/tags" 8
    counts tags 8
    tracked "$TEST_TMP/tags_cxx"
    expect "exit status in C++ with $option" "$tracked_status" 0
    check_report tags_cxx "$(row '"level 17"') == [(5, 5, 5500, 'api')]" \
        "$(row '"same block, another tag"') == [(6, 6, 6600, 'api')]"
    # The exception that was thrown inside of the tag is of the tag, too.
    counts tags_cxx 1 '[50 <= t.allocation_count <= 54 and 20 == t.current_count and t.total_bytes < 151000 for t in cpu.tags if t.tag == "textures"] == [True]'
    unset MEMTRACK_POOLS MEMTRACK_STACKS
done

# By sampled stacks alone: estimates, within their error.
MEMTRACK_POOLS=off MEMTRACK_STACK_RATE=1024 tracked "$TEST_TMP/tags" 8
check_report tags '[t.source for t in cpu.tags if t.tag in ("loading", "textures")] == ["api", "api"]' \
    'all(abs(t.total_bytes - {"loading": 5600000, "textures": 1200000}[t.tag]) < 300000 for t in cpu.tags if t.source == "api")'
rm -rf "${OUT:?}"/*

# What the program is told.
tracked "$TEST_TMP/tags" 8
expect "answers" "$(cat "$TEST_TMP/tracked.out")" "loading 1 known 7 calls 824 frees 0 total 5600000 live 824 peak 1
textures 1 known 7 calls 400 frees 240 total 1200000 live 160 peak 1
never 0 known 0 calls 0 frees 0 total 0 live 0 peak 0
heap 0 known 0 calls 0 frees 0 total 0 live 0 peak 0
all 1 1
tracking 1"
rm -rf "${OUT:?}"/*
MEMTRACK_POOLS=off tracked "$TEST_TMP/tags" 8
expect "an answer with the pools off" "$(head -n 1 "$TEST_TMP/tracked.out")" "loading 1 known 1 calls 824 frees 0 total 5600000 live 0 peak 0"
rm -rf "${OUT:?}"/*

for threads in 1 8; do
    tracked "$TEST_TMP/tags" $threads peak
    expect "a tag's own peak with $threads threads" "$(cat "$TEST_TMP/tracked.out")" "rises 1 live 0 right 1 near 1"
done
rm -rf "${OUT:?}"/*

# A fork's child goes on inside of the tag.
tracked "$TEST_TMP/tags" 1 fork
check_report "$(report_of tags 1)" "$(row '"forked"') == [(12, 12, 20800, 'api')]" \
    '[t.budget_bytes for t in cpu.tags if t.tag == "forked"] == [10000]'
check_report "$(report_of tags 2)" "$(row '"forked"') == [(20, 24, 2000, 'api')]" \
    '[(t.budget_bytes, t.budget_state) for t in cpu.tags if t.tag == "forked"] == [(10000, "over")]' \
    "$(row '"in the child"') == [(6, 6, 1800, 'api')]" \
    '[(t.current_count, t.allocation_count) for t in cpu.tags if t.tag == "loading"] == [(103, 0)]'
rm -rf "${OUT:?}"/*

# Handlers that come at any moment and say tags of their own, in 100 times the work. Where
# memtrack has left an ending thread, their tags are refused, and counted.
for option in MEMTRACK_STACKS=sampled MEMTRACK_STACKS=all; do
    export "${option?}"
    tracked "$TEST_TMP/tags" 2 signals
    expect "exit status with handlers" "$tracked_status" 0
    counts tags 200 '' '< 100'
    unset MEMTRACK_STACKS
done

# A thread that ends inside of a tag, and pops that have no push.
tracked "$TEST_TMP/tags" 1 unbalanced
check_report tags "$(row '"left behind"') == [(5, 5, 4500, 'api')]" 'r.dropped.tags == 3'
expect "lines about pops" "$(grep -c 'memtrack_pop_tag() was called without a tag' "$TEST_TMP/tracked.err")" 1
rm -rf "${OUT:?}"/*

# More names than there is room for: counted, and the others' rows are right, whatever their bytes.
tracked "$TEST_TMP/tags" 1 many
check_report tags 'sum(t.source == "api" for t in cpu.tags) >= 400' 'r.dropped.tags > 0' \
    'all(t.total_bytes == 123 and t.current_count == 1 for t in cpu.tags if t.tag.startswith("tag "))'
"$MEMTRACK" report "$(report_of tags)" >"$TEST_TMP/text" || problem "no text of odd names"
rm -rf "${OUT:?}"/*

# A tag of the rules and of the program is one: its budget counts, and what the program says goes before rules.
cat >"$TEST_TMP/rules.json" <<'R'
{"tags": [{"tag": "textures", "budget": "50K", "match": [{"module": "no such module"}]},
          {"tag": "by thread", "match": [{"thread": "*"}]}]}
R
RUN_OPTIONS=(--tags="$TEST_TMP/rules.json")
tracked "$TEST_TMP/tags" 1
check_report tags '[(t.budget_bytes, t.budget_state, t.source, t.current_count) for t in cpu.tags if t.tag == "textures"] == [(51200, "over", "api", 20)]' \
    '[t.source for t in cpu.tags if t.tag == "by thread"] == ["rule"]' '[t.current_count for t in cpu.tags if t.tag == "loading"] == [103]' \
    'any(e.kind == "budget-over" and "textures" in e.text for e in r.events)'
"$MEMTRACK" report "$(report_of tags)" >"$TEST_TMP/text"
grep -q 'textures' "$TEST_TMP/text" || problem "the text lacks a tag"
# The same where the program gives budgets; the rules' goes before its own.
tracked "$TEST_TMP/tags" 1 budgets
check_report tags '[(t.budget_bytes, t.budget_state) for t in cpu.tags if t.tag == "textures"] == [(51200, "over")]'
RUN_OPTIONS=()
rm -rf "${OUT:?}"/*
tracked "$TEST_TMP/tags" 1 budgets
expect "budgets" "$(head -n 1 "$TEST_TMP/tracked.out")" "budgets 1"
check_report tags '[(t.tag, t.budget_bytes, t.budget_state, t.source) for t in cpu.tags if t.budget_bytes] == [("textures", 50000, "over", "api"), ("loading", 1 << 40, "ok", "api"), ("never said", 100, "ok", "api")]' \
    'any(e.kind == "budget-over" and "textures" in e.text for e in r.events)' 'r.dropped.tags == 0'
grep -q 'tag textures is over its budget' "$TEST_TMP/tracked.err" || problem "no line about a budget: $(cat "$TEST_TMP/tracked.err")"
rm -rf "${OUT:?}"/*
expect "budgets without memtrack" "$("$TEST_TMP/tags" 1 budgets | head -n 1)" "budgets 0"

# Frames.
tracked "$TEST_TMP/tags" 1 frames
check_report tags 'frames.source == "api"' 'frames.count == 10' 'frames.allocations_per_frame.max == 100' \
    'frames.allocations_per_frame.p50 == 2'
rm -rf "${OUT:?}"/*
MEMTRACK_FRAMES=vulkan tracked "$TEST_TMP/tags" 1 frames
check_report tags 'frames.count == 0'
rm -rf "${OUT:?}"/*

# Without memtrack, and where it passes through: the same program, and every answer is no.
silence="loading 0 known 0 calls 0 frees 0 total 0 live 0
textures 0 known 0 calls 0 frees 0 total 0 live 0
never 0 known 0 calls 0 frees 0 total 0 live 0
heap 0 known 0 calls 0 frees 0 total 0 live 0
all 0 0
tracking 0"
expect "answers without memtrack" "$("$TEST_TMP/tags" 2 unbalanced 2>&1 | sed 's/ peak.*//')" "$silence"
expect "answers of one that passes through" "$(MEMTRACK_DISABLE=1 LD_PRELOAD=$PRELOAD "$TEST_TMP/tags" 2 many | sed 's/ peak.*//')" "$silence"
"$TEST_TMP/tags_cxx" || problem "C++ without memtrack"
if [ -x "$TEST_TMP/tags_static" ]; then
    expect "answers of a static program" "$("$TEST_TMP/tags_static" 2 | sed 's/ peak.*//')" "$silence"
    expect "answers of a static program with the preload" "$(LD_PRELOAD=$PRELOAD "$TEST_TMP/tags_static" 2 | sed 's/ peak.*//')" "$silence"
fi
verdict
