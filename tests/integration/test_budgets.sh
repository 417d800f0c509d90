#!/bin/bash
# Budgets while the program runs: of the heap, of a tag, of a device's heap; what is told, when, and the command that runs.
# timeout: 120
. "$(dirname "$0")/lib/common.sh"
need gcc
compile eater <<'C'
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
__attribute__((noinline)) static char *load_level(size_t bytes)
{
    char *level = malloc(bytes);
    memset(level, 1, bytes);
    return level;
}
static void say(const char *word)
{
    puts(word);
    fflush(stdout);
    sleep(2);
}
int main(int count, char **words)
{
    char *first = load_level(9 << 20);
    say("near");
    char *second = load_level(8 << 20);
    say("over");
    free(second);
    free(first);
    say("below");
    if (count > 1 && !strcmp(words[1], "spike")) {
        void *volatile spike = malloc(30 << 20); /* shorter than any look */
        free(spike);
        sleep(1);
    }
    return 0;
}
C
# Near at 9 MiB of 10, over at 17, below again; a spike to 30 that nobody sees happen: told once each, as they come.
RUN_OPTIONS=(--budget=10M --interval=60 --stacks=all "--on-over-budget=echo \"\$MEMTRACK_OVER_KIND/\$MEMTRACK_OVER_NAME/\$MEMTRACK_OVER_BYTES/\$MEMTRACK_OVER_BUDGET/\$MEMTRACK_OVER_PID\" >>$TEST_TMP/ran; trap >>$TEST_TMP/ran")
"$MEMTRACK" run --output "$OUT" "${RUN_OPTIONS[@]}" -- "$TEST_TMP/eater" spike >"$TEST_TMP/out" 2>"$TEST_TMP/err" &
runner=$!
wait_for 15 grep -q over "$TEST_TMP/out" || problem "the program did not get far"
wait_for 2 grep -q 'the heap is over its budget' "$TEST_TMP/err" || problem "not told while it lasts: $(cat "$TEST_TMP/err")"
wait "$runner"
expect "exit status" "$?" 0
expect "lines: near" "$(grep -c '^memtrack: process [0-9]*: the heap is near its budget: 9\.[0-9] MiB of 10.0 MiB$' "$TEST_TMP/err")" 1
expect "lines: over" "$(grep -c '^memtrack: process [0-9]*: the heap is over its budget: 17\.[0-9] MiB of 10.0 MiB$' "$TEST_TMP/err")" 1
expect "lines: was over" "$(grep -c '^memtrack: process [0-9]*: the heap was over its budget: 30\.[0-9] MiB of 10.0 MiB$' "$TEST_TMP/err")" 1
check_report eater "[e.kind for e in r.events if e.kind.startswith('budget')] == ['budget-warning', 'budget-over', 'budget', 'budget-over', 'budget']" \
    'all(a.t_s <= b.t_s for a, b in zip(r.events, r.events[1:]))' 'cpu.budget_bytes == 10 << 20' 'cpu.budget_state == "ok"'
wait_for 5 test "$(grep -c '^heap//[0-9]*/10485760/[0-9]*$' "$TEST_TMP/ran" 2>/dev/null)" -eq 2 || problem "the command: $(cat "$TEST_TMP/ran" 2>&1)"

# A tag's budget: seen within about a second, though reports come once a minute.
cat >"$TEST_TMP/rules.json" <<'R'
{"tags": [{"tag": "level", "budget": "10M", "match": [{"symbol": "load_level"}]}]}
R
rm -f "$OUT"/* "$TEST_TMP/ran"
"$MEMTRACK" run --output "$OUT" --interval=60 --stacks=all --tags="$TEST_TMP/rules.json" -- "$TEST_TMP/eater" >"$TEST_TMP/out" 2>"$TEST_TMP/err" &
runner=$!
wait_for 15 grep -q over "$TEST_TMP/out" || problem "the program did not get far"
wait_for 4 grep -q 'tag level is over its budget: 17.0 MiB of 10.0 MiB' "$TEST_TMP/err" || problem "a tag over its budget is not told: $(cat "$TEST_TMP/err")"
wait "$runner"
check_report eater "[e.kind for e in r.events] == ['budget-warning', 'budget-over', 'budget']"

# Without budgets nothing is told.
rm -f "$OUT"/*
RUN_OPTIONS=(--quiet)
tracked "$TEST_TMP/eater"
expect "lines without a budget" "$(grep -c budget "$TEST_TMP/tracked.err")" 0
check_report eater 'r.events == []'

# A device's heap.
if command -v vkcube >/dev/null && command -v Xvfb >/dev/null; then
    start_x 320x240
    rm -f "$OUT"/*
    RUN_OPTIONS=(--vulkan-budget=0:500K)
    tracked vkcube --c 300
    expect "lines of the device" "$(grep -c 'device [0-9]* heap 0 [a-z]* over its budget: [0-9.]* KiB of 500 KiB' "$TEST_TMP/tracked.err")" 1
    check_report vkcube "any(e.kind == 'budget-over' and 'heap 0' in e.text for e in r.events)"
    RUN_OPTIONS=(--vulkan-budget=0:5M)
    rm -f "$OUT"/*
    tracked vkcube --c 100
    check_report vkcube "not any(e.kind.startswith('budget') for e in r.events)"
else
    echo "note: vkcube or Xvfb is missing, the device's heap is not tested"
fi
verdict
