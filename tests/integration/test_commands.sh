#!/bin/bash
# dump, top, report and the periodic reports of a program that runs.
. "$(dirname "$0")/lib/common.sh"
cat >"$TEST_TMP/loop.py" <<'P'
import sys, time
keep = []
for n in range(300):
    keep.append(bytes(10000))
    time.sleep(0.02)
    if n == 5: print("up", flush=True)
P
"$MEMTRACK" run --output "$OUT" --interval 0.5 --keep -- /usr/bin/python3 "$TEST_TMP/loop.py" >"$TEST_TMP/out" 2>"$TEST_TMP/err" &
runner=$!
wait_for 10 grep -q up "$TEST_TMP/out" || problem "the program did not start"
child=$(cut -d' ' -f1 "/proc/$runner/task/$runner/children")
sleep 1.2
check_report "$(find "$OUT" -name "memtrack.python3*.$child.json")" 'process.exit.state == "running"' "process.pid == $child" \
    'len(timeline) >= 1' 'cpu.current_bytes > 100000' 'cpu.rss_bytes > 1 << 20' 'process.uptime_s > 0.5'
path=$("$MEMTRACK" dump "$child" 2>"$TEST_TMP/dump.err") || problem "dump fails: $(cat "$TEST_TMP/dump.err")"
case $path in *"$child"*json*) [ -f "${path##* }" ] || problem "dump names no file: $path" ;; *) problem "dump printed '$path'" ;; esac
timeout 3 "$MEMTRACK" top "$child" >"$TEST_TMP/top" 2>&1 </dev/null
status=$?
[ "$status" -eq 124 ] || [ "$status" -eq 0 ] || problem "top without a terminal: status $status: $(head -n 2 "$TEST_TMP/top")"
"$PYTHON" - "$MEMTRACK" "$child" <<'P' || problem "top on a terminal"
import os, pty, select, sys, time
pid, terminal = pty.fork()
if pid == 0:
    os.environ["TERM"] = "xterm"
    os.execv(sys.argv[1], [sys.argv[1], "top", sys.argv[2]])
seen, end, sent = b"", time.time() + 8, False
while time.time() < end:
    if select.select([terminal], [], [], 0.1)[0]:
        try:
            data = os.read(terminal, 65536)
        except OSError:
            break
        if not data:
            break
        seen += data
    if not sent and time.time() > end - 6:
        os.write(terminal, b"q")
        sent = True
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
assert status == 0, (status, seen[-300:])
assert b"python3" in seen, seen[:500]
P
wait "$runner"
expect "exit status" "$?" 0
kept=$(find "$OUT" -name "memtrack.python3*.$child.*.json" | wc -l)
[ "$kept" -ge 3 ] || problem "--keep kept $kept reports"
final=$(find "$OUT" -name "memtrack.python3*.$child.json")
check_report "$final" 'process.exit.state == "exited"' 'len(timeline) >= 5' \
    'all(a.t_s <= b.t_s for a, b in zip(timeline, timeline[1:]))' 'timeline[-1].cpu_allocation_count <= cpu.allocation_count'
"$PYTHON" - "${final%.json}.jsonl" <<'P' || problem "the timeline file"
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
assert len(lines) >= 5, len(lines)
P
"$MEMTRACK" report "$final" >"$TEST_TMP/text" || problem "report fails"
"$MEMTRACK" report --json "$final" | "$PYTHON" -m json.tool >/dev/null || problem "report --json is no JSON"
[ "$(head -n 24 "$TEST_TMP/text" | grep -ciE 'heap|rss')" -ge 2 ] || problem "the first screen does not tell where the memory is"
status=0; "$MEMTRACK" dump 999999 >/dev/null 2>"$TEST_TMP/err" || status=$?
expect "dump of a process that is not there" "$status $(wc -l <"$TEST_TMP/err")" "1 1"
status=0; "$MEMTRACK" dump $$ >/dev/null 2>"$TEST_TMP/err" || status=$?
expect "dump of a process without memtrack" "$status $(wc -l <"$TEST_TMP/err")" "1 1"
no_leftovers
verdict
