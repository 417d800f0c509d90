#!/bin/bash
# Plain LD_PRELOAD: the library starts the collector itself, children join, reports appear, nothing stays.
. "$(dirname "$0")/lib/common.sh"
export MEMTRACK_OUTPUT=$OUT MEMTRACK_INTERVAL=0.5
status=0
LD_PRELOAD=$PRELOAD bash -c 'for n in $(seq 20); do x="$x$n"; sleep 0.1; done; seq 10 | tail -n 1; exit 6' \
    >"$TEST_TMP/out" 2>"$TEST_TMP/err" || status=$?
expect "status and output" "$status $(cat "$TEST_TMP/out")" "6 10"
expect "lines on stderr" "$(grep -vc '^memtrack: ' "$TEST_TMP/err")" 0
have_final() { [ "$(value_of bash 'process.exit.state')" = exited ]; }
wait_for 15 have_final || problem "no final report of bash"
for file in "$OUT"/memtrack.bash.*.json; do
    [ "$(value_of "$file" 'process.exit.code')" = 6 ] && main=$file
done
check_report "${main:-bash}" 'process.exit.code == 6' 'cpu.allocation_count > 100' 'len(timeline) >= 2'
check_report seq 'process.exit.code == 0'
check_report tail 'process.exit.code == 0'
[ -f "${main%.json}.jsonl" ] || problem "no timeline file"
collectors() { pgrep -f "$MEMTRACK collect" | while read -r pid; do tr '\0' '\n' <"/proc/$pid/environ" 2>/dev/null | grep -qF "$TEST_TMP" && echo "$pid"; done; }
none_left() { [ -z "$(collectors)" ]; }
wait_for 20 none_left || problem "the collector does not end: $(collectors)"
no_leftovers
# Switched off by the environment: nothing happens at all.
rm -f "$OUT"/*
MEMTRACK_DISABLE=1 LD_PRELOAD=$PRELOAD seq 3 >/dev/null
sleep 1
[ -z "$(ls "$OUT")" ] || problem "reports although MEMTRACK_DISABLE is set"
verdict
