#!/bin/bash
# Reports folders that cannot be written: one clear line, the same output and status as ever.
. "$(dirname "$0")/lib/common.sh"
# What cannot be reported stays: in a folder of our own, which goes with the test.
XDG_RUNTIME_DIR=$(mktemp -d /dev/shm/memtrack-test.XXXXXX)
at_end+=("rm -rf '$XDG_RUNTIME_DIR'")
echo x >"$TEST_TMP/file"
program=(sh -c 'echo working; exit 3')
for folder in "$TEST_TMP/file/below" /proc/none "$TEST_TMP/$(printf 'n%.0s' $(seq 300))"; do
    OUT=$folder
    same_as_plain "${program[@]}"
    expect "exit status" "$tracked_status" 3
    count=$(grep -c '^memtrack: ' "$TEST_TMP/tracked.err")
    [ "$count" -ge 1 ] && [ "$count" -le 3 ] || problem "$count lines for $folder: $(cat "$TEST_TMP/tracked.err")"
    # Under plain preload too, where the collector is a process of its own.
    status=0
    output=$(MEMTRACK_OUTPUT=$folder LD_PRELOAD=$PRELOAD "${program[@]}" 2>"$TEST_TMP/err") || status=$?
    expect "plain preload with $folder" "$status $output" "3 working"
    expect "lines that are not memtrack's" "$(others_lines "$TEST_TMP/err" | wc -l)" 0
done
mkdir "$TEST_TMP/readonly"
if mount -t tmpfs -o size=64k,ro memtrack-test "$TEST_TMP/readonly" 2>/dev/null; then
    at_end+=("umount '$TEST_TMP/readonly'")
    OUT=$TEST_TMP/readonly
    same_as_plain "${program[@]}"
    grep -qi 'read-only' "$TEST_TMP/tracked.err" || problem "nothing said about the read-only folder"
fi
# No runtime folder at all.
OUT=$TEST_TMP/reports
XDG_RUNTIME_DIR=/nonexistent same_as_plain "${program[@]}"
check_report "$(report_of dash || report_of sh)" 'process.exit.code == 3'
verdict
