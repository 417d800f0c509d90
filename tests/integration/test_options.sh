#!/bin/bash
# Bad options: one clear line each, the default in force, the program unharmed.
. "$(dirname "$0")/lib/common.sh"
program=(sh -c 'echo working; exit 3')
# Segments in a folder of our own; in a session it is memtrack run that speaks of bad options.
XDG_RUNTIME_DIR=$(mktemp -d /dev/shm/memtrack-test.XXXXXX)
at_end+=("rm -rf '$XDG_RUNTIME_DIR'")
try() { # try NAME=VALUE WORD: stderr has exactly one line that names the option
    local status=0 output
    output=$(env "$1" MEMTRACK_COLLECTOR=none LD_PRELOAD="$PRELOAD" "${program[@]}" 2>"$TEST_TMP/err") || status=$?
    expect "$1" "$status $output" "3 working"
    expect "lines about $1" "$(grep -c "^memtrack: .*${1%%=*}" "$TEST_TMP/err")/$(wc -l <"$TEST_TMP/err")" 1/1
}
try MEMTRACK_INTERVAL=soon
try MEMTRACK_INTERVAL=-1
try MEMTRACK_INTERVAL=1e99
try MEMTRACK_STACK_DEPTH=4.5
try MEMTRACK_PEAK=sometimes
try MEMTRACK_PEAK_BATCH=1Q
try MEMTRACK_SEGMENT_SIZE=1
try MEMTRACK_SEGMENT_SIZE=99999999999999999999
try MEMTRACK_CPU=perhaps
try MEMTRACK_NO_SUCH_OPTION=1
try "MEMTRACK_FRAMES=$(printf '%%s%%n%.0s' $(seq 50))"
try "MEMTRACK_PEAK=$(head -c 5000 /dev/zero | tr '\0' x)"
for segment in "$XDG_RUNTIME_DIR"/memtrack/*.seg; do
    "$MEMTRACK" report --json "$segment" >"$TEST_TMP/json" 2>"$TEST_TMP/err" || problem "report: $(cat "$TEST_TMP/err")"
done
check_report "$TEST_TMP/json" 'config["MEMTRACK_PEAK"] == "batched"'
# An empty value is as good as none.
LINES_EMPTY=$(env MEMTRACK_INTERVAL= MEMTRACK_COLLECTOR=none LD_PRELOAD="$PRELOAD" /bin/true 2>&1 | wc -l)
expect "lines about an empty value" "$LINES_EMPTY" 0
try MEMTRACK_VULKAN_HEAP_LIMIT=4G
try MEMTRACK_VULKAN_FAIL=every:
# memtrack run says it once, however many processes there are.
status=0
output=$(MEMTRACK_INTERVAL=soon MEMTRACK_NO_SUCH=1 "$MEMTRACK" run --output "$OUT" -- sh -c 'seq 3 | sort | tail -n 1; exit 3' 2>"$TEST_TMP/err") || status=$?
expect "run with bad options in the environment" "$status $output" "3 3"
expect "lines about them" "$(grep -c 'MEMTRACK_INTERVAL' "$TEST_TMP/err") $(grep -c 'MEMTRACK_NO_SUCH' "$TEST_TMP/err")" "1 1"
# The command's own arguments.
for bad in --no-such-option --interval=never --vulkan=maybe --interval --vulkan-heap-limit=4G --vulkan-fail=rate:2 -o; do
    status=0
    "$MEMTRACK" run "$bad" -- touch "$TEST_TMP/ran" >"$TEST_TMP/out" 2>"$TEST_TMP/err" || status=$?
    expect "status of run $bad" "$status" 2
    [ "$(grep -c . "$TEST_TMP/err")" -ge 1 ] || problem "run $bad says nothing"
    [ ! -e "$TEST_TMP/ran" ] || problem "run $bad ran the program"
done
"$MEMTRACK" run -o "$TEST_TMP/short" --quiet -- true && [ -n "$(find "$TEST_TMP/short" -name '*.json')" ] || problem "run -o DIR"
"$MEMTRACK" run -o"$TEST_TMP/joined" --quiet -- true && [ -n "$(find "$TEST_TMP/joined" -name '*.json')" ] || problem "run -oDIR"
status=0; "$MEMTRACK" no-such-command 2>"$TEST_TMP/err" >/dev/null || status=$?
expect "status of an unknown command" "$status" 2
status=0; "$MEMTRACK" run 2>/dev/null >/dev/null || status=$?
expect "status of run without a program" "$status" 2
"$MEMTRACK" --help >"$TEST_TMP/help" || problem "--help fails"
"$MEMTRACK" --version | grep -q '[0-9]' || problem "--version"
for word in run collect report top dump env; do grep -qw "$word" "$TEST_TMP/help" || problem "--help lacks $word"; done
# Every option of the table is in `memtrack env`, in the man page and in docs/options.md, with its default.
sed -n 's/^MT_OPTION([A-Z_]*, *"\(MEMTRACK_[A-Z_]*\)".*/\1/p' "$TEST_SOURCE/collector/core/options.def" >"$TEST_TMP/names"
[ "$(wc -l <"$TEST_TMP/names")" -ge 10 ] || problem "the option table was not understood"
"$MEMTRACK" env >"$TEST_TMP/env" || problem "memtrack env fails"
while read -r name; do
    grep -qw "$name" "$TEST_TMP/env" || problem "memtrack env lacks $name"
    sed 's/\\//g' "$TEST_SOURCE/man/memtrack.1" | grep -qw "$name" || problem "the man page lacks $name"
    grep -qw "$name" "$TEST_SOURCE/docs/options.md" || problem "docs/options.md lacks $name"
done <"$TEST_TMP/names"
MEMTRACK_INTERVAL=7 "$MEMTRACK" env | grep -w MEMTRACK_INTERVAL | grep -qw 7 || problem "memtrack env does not show the value in force"
"$MEMTRACK" env --json | "$PYTHON" -m json.tool >/dev/null || problem "env --json is no JSON"
verdict
