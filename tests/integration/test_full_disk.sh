#!/bin/bash
# A full disk, for the reports and for the segment: one clear line, the program unharmed.
. "$(dirname "$0")/lib/common.sh"
small=$TEST_TMP/small
mkdir "$small"
mount -t tmpfs -o size=64k memtrack-test "$small" 2>/dev/null || skip "mounting a small file system is not allowed here"
at_end+=("umount '$small'")
fill() { dd if=/dev/zero of="$small/filling" bs=1k count=1000 2>/dev/null; }
program=(sh -c 'seq 20000 | sort -r | tail -n 1; exit 4')
lines() { grep -c '^memtrack: ' "$TEST_TMP/tracked.err"; }

fill
OUT=$small
same_as_plain "${program[@]}"
expect "exit status with full reports folder" "$tracked_status" 4
grep -qi 'no space' "$TEST_TMP/tracked.err" || problem "nothing said about the full disk: $(head -n 3 "$TEST_TMP/tracked.err")"
[ "$(lines)" -le 6 ] || problem "$(lines) lines about it"
find "$small" -name 'memtrack.*' -size 0 | grep . && problem "an empty report was left"
find "$small" -name '*.json' | while read -r file; do
    "$PYTHON" -m json.tool "$file" >/dev/null || echo broken
done | grep -q broken && problem "a broken report was left"

# An old report stays when the new one does not fit.
rm -f "$small"/*
OUT=$TEST_TMP/reports
RUN_OPTIONS=()
# The segment: its folder is on the full file system, so anonymous memory has to do.
XDG_RUNTIME_DIR=$small/xdg
mkdir -m 700 "$XDG_RUNTIME_DIR"
fill
plain "${program[@]}"
tracked_status=0
MEMTRACK_OUTPUT=$OUT LD_PRELOAD=$PRELOAD "${program[@]}" >"$TEST_TMP/tracked.out" 2>"$TEST_TMP/tracked.err" || tracked_status=$?
expect "exit status with full runtime folder" "$tracked_status" 4
cmp "$TEST_TMP/plain.out" "$TEST_TMP/tracked.out" || problem "stdout differs with full runtime folder"
expect "lines that are not memtrack's" "$(others_lines "$TEST_TMP/tracked.err" | wc -l)" 0
same_as_plain "${program[@]}"
verdict
