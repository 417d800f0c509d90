#!/bin/bash
# Plain preload where the command cannot be found or started: the program runs, the segment stays, and is readable later.
. "$(dirname "$0")/lib/common.sh"
mkdir "$TEST_TMP/alone" "$TEST_TMP/session"
chmod 700 "$TEST_TMP/session"
cp "$PRELOAD" "$TEST_TMP/alone/"
program=(sh -c 'echo working; exit 3')
try() { # try WHAT LIBRARY COLLECTOR
    local status=0 output
    output=$(MEMTRACK_SESSION=$TEST_TMP/session MEMTRACK_OUTPUT=$OUT MEMTRACK_COLLECTOR=$3 LD_PRELOAD=$2 "${program[@]}" 2>"$TEST_TMP/err") || status=$?
    expect "$1" "$status $output" "3 working"
    expect "$1: lines that are not memtrack's" "$(others_lines "$TEST_TMP/err" | wc -l)" 0
    [ "$(wc -l <"$TEST_TMP/err")" -le 1 ] || problem "$1: more than one line: $(cat "$TEST_TMP/err")"
}
try "no command beside the library" "$TEST_TMP/alone/libmemtrack.so" auto
try "a collector that is not there" "$PRELOAD" /nonexistent/memtrack
echo 'not a program' >"$TEST_TMP/broken"
chmod +x "$TEST_TMP/broken"
try "a collector that does not run" "$PRELOAD" "$TEST_TMP/broken"
try "no collector wanted" "$PRELOAD" none
[ "$(find "$OUT" -type f | wc -l)" -eq 0 ] || problem "a report, though there was no collector"
segments=$(find "$TEST_TMP/session" -name '*.seg' | wc -l)
[ "$segments" -ge 4 ] || problem "$segments segments kept of 4"
for segment in "$TEST_TMP"/session/*.seg; do
    "$MEMTRACK" report "$segment" >"$TEST_TMP/text" 2>"$TEST_TMP/err" || problem "report of $segment: $(cat "$TEST_TMP/err")"
    grep -qE 'dash|sh' "$TEST_TMP/text" || problem "the text does not name the program"
    "$MEMTRACK" report --json "$segment" >"$TEST_TMP/segment.json"
    check_report "$TEST_TMP/segment.json" 'process.exit.state == "exited" and process.exit.code == 3' 'cpu.allocation_count > 0'
done
verdict
