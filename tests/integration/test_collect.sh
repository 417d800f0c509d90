#!/bin/bash
# The collector as a process of its own: one for a directory, last reports at SIGTERM, gone when nothing is left to do.
. "$(dirname "$0")/lib/common.sh"
session=$TEST_TMP/s
mkdir -m 700 "$session"
collector() { pgrep -f "memtrack collect --session $session " | head -n 1; }
export MEMTRACK_SESSION=$session MEMTRACK_OUTPUT=$OUT
LD_PRELOAD=$PRELOAD sleep 4 &
program=$!
started() { [ -n "$(collector)" ]; }
wait_for 10 started || problem "the library started no collector"
first=$(collector)
[ "$(tr '\0' '\n' <"/proc/$first/environ" | grep -cE '^(LD_PRELOAD|MEMTRACK_)')" -eq 0 ] || problem "the collector got the program's environment"
grep -q libmemtrack "/proc/$first/maps" && problem "the collector is tracked itself"
expect "its standard streams" "$(readlink "/proc/$first/fd/0" "/proc/$first/fd/1" "/proc/$first/fd/2" | sort -u)" /dev/null
status=0
timeout 10 "$MEMTRACK" collect --session "$session" 2>"$TEST_TMP/err" || status=$?
expect "a second collector" "$status $(grep -c 'another collector' "$TEST_TMP/err")" "1 1"
kill -TERM "$first"
ended() { [ ! -d "/proc/$first" ]; }
wait_for 10 ended || problem "SIGTERM does not end the collector"
check_report sleep 'process.exit.state == "running"' 'r.report.reason == "collector_end"' "process.pid == $program"
# The next program of the session starts a new one, which takes the old program over.
LD_PRELOAD=$PRELOAD sh -c 'exit 9'
wait "$program"
all_done() { [ "$(value_of sleep 'process.exit.code')" = 0 ] && [ -z "$(find "$session" -name '*.seg')" ]; }
wait_for 15 all_done || problem "the old program's last report: $(ls "$OUT" "$session")"
gone() { [ -z "$(collector)" ]; }
wait_for 15 gone || problem "the collector does not end"
check_report sleep 'process.exit.state == "exited"'
verdict
