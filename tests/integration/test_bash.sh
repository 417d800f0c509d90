#!/bin/bash
# A shell: pipelines, subshells, traps, exec. The same output and status, one report for each process.
. "$(dirname "$0")/lib/common.sh"
cat >"$TEST_TMP/work.sh" <<'S'
set -o pipefail
trap 'echo leaving' EXIT
seq 200 | while read -r n; do echo $((n * n)); done | sort -n | tail -n 3
( cd /; pwd; exit 4 ); echo "subshell $?"
array=({1..500}); echo "${#array[@]} ${array[*]: -2}"
x=$(printf '%s\n' a b c | grep -c .); echo "$x"
kill -0 $$ && echo alive
bash -c 'kill -TERM $$'; echo "term $?"
S
same_as_plain bash "$TEST_TMP/work.sh"
check_report bash 'process.exit.state in ("exited", "killed")'
for program in seq sort tail grep; do check_report "$program" 'process.exit.code == 0'; done
# exec replaces the image under the same pid: both images have a report, and the status is the second one's.
rm -f "$OUT"/*
same_as_plain bash -c 'echo before; exec /bin/sh -c "echo after; exit 9"'
expect "exit status after exec" "$tracked_status" 9
check_report "$(report_of dash || report_of sh)" 'process.exit.code == 9'
check_report bash 'cpu.allocation_count > 0'
verdict
