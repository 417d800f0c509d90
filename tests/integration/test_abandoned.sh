#!/bin/bash
# memtrack run is killed and its program goes on: the next start finds the session and its report is written after all.
. "$(dirname "$0")/lib/common.sh"
"$MEMTRACK" run --output "$OUT" -- sleep 3 2>/dev/null &
runner=$!
started() { [ -n "$(cat "/proc/$runner/task/$runner/children" 2>/dev/null)" ]; }
wait_for 10 started || problem "the program did not start"
sleep 0.5
kill -9 "$runner"
wait "$runner" 2>/dev/null
tracked true
expect "exit status of the next program" "$tracked_status" 0
written() { [ "$(value_of sleep 'process.exit.code')" = 0 ]; }
wait_for 20 written || problem "no report of the abandoned program: $(ls "$OUT")"
check_report sleep 'process.exit.state == "exited"'
no_leftovers
verdict
