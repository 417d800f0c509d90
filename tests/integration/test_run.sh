#!/bin/bash
# memtrack run as a launcher: exit statuses, signals, arguments, standard streams, a terminal.
. "$(dirname "$0")/lib/common.sh"
run() { "$MEMTRACK" run --output "$OUT" -- "$@"; }
status_of() { local status=0; "$@" >/dev/null 2>&1 </dev/null || status=$?; echo "$status"; }
for code in 0 1 2 77 126 127 128 255; do
    expect "exit status" "$(status_of run sh -c "exit $code")" "$code"
done
for signal in TERM INT KILL ABRT SEGV HUP USR1; do
    number=$(kill -l "$signal")
    expect "death by SIG$signal" "$(status_of run sh -c "ulimit -c 0; kill -$signal \$\$; sleep 5")" "$((128 + number))"
done
check_report "$(report_of dash "$(find "$OUT" -name 'memtrack.dash.*.json' | wc -l)" || report_of sh)" 'process.exit.state in ("exited", "killed")'
expect "a program that is not there" "$(status_of run /nonexistent/program)" 127
expect "a name that is not in PATH" "$(status_of run no-such-program-anywhere)" 127
echo text >"$TEST_TMP/text"
expect "a file that is not a program" "$(status_of run "$TEST_TMP/text")" 126
run /nonexistent/program 2>&1 | grep -q '^memtrack: .*nonexistent' || problem "no clear line about a missing program"

expect "arguments" "$(run printf '%s|' 'a b' '' '*' '--help' "it's" 2>/dev/null)" "a b||*|--help|it's|"
expect "stdin" "$(echo from a pipe | run cat 2>/dev/null)" "from a pipe"
expect "nothing of memtrack's on stdout" "$(run true 2>/dev/null | wc -c)" 0
expect "environment" "$(A_VARIABLE='x y' run sh -c 'echo $A_VARIABLE' 2>/dev/null)" "x y"
expect "working folder" "$(cd / && run pwd 2>/dev/null)" /
expect "other preloaded libraries stay" "$(LD_PRELOAD=libm.so.6 run sh -c 'echo $LD_PRELOAD' 2>/dev/null | grep -c libm.so.6)" 1
expect "signal dispositions" "$(trap '' USR2; run grep SigIgn /proc/self/status 2>/dev/null)" "$(trap '' USR2; grep SigIgn /proc/self/status)"
expect "signal mask" "$(run grep SigBlk /proc/self/status 2>/dev/null)" "$(grep SigBlk /proc/self/status)"
expect "open files" "$(run sh -c 'ls /proc/self/fd | wc -l' 2>/dev/null)" "$(sh -c 'ls /proc/self/fd | wc -l')"
report_line=$(run true 2>&1 >/dev/null | grep -c '^memtrack: report in ')
expect "one closing line with the report's path" "$report_line" 1

# memtrack under memtrack, a script without #!, and a static program, which no library can be loaded into.
expect "run within run" "$(status_of run "$MEMTRACK" run --output "$OUT" -- sh -c 'exit 11')" 11
if ${CC:-cc} -static -o "$TEST_TMP/static" -x c - <<<'int main(void) { return 12; }' 2>/dev/null; then
    expect "a static program" "$(status_of run "$TEST_TMP/static")" 12
fi

# SIGTERM to memtrack reaches the program, whose answer counts.
"$MEMTRACK" run --output "$OUT" -- bash -c 'trap "exit 42" TERM; echo up >"$1"; while :; do sleep 0.05; done' - "$TEST_TMP/up" 2>/dev/null &
runner=$!
wait_for 10 test -s "$TEST_TMP/up"
kill -TERM "$runner"
wait "$runner"
expect "SIGTERM is passed on" "$?" 42

# A terminal: the program sees one, Ctrl-C ends it and not memtrack before its report is written.
"$PYTHON" - "$MEMTRACK" "$OUT/tty" <<'P' || problem "on a terminal"
import os, pty, select, subprocess, sys, time, glob, json
memtrack, out = sys.argv[1:3]
os.makedirs(out)
def on_terminal(command, keys=None, after="ready"):
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(memtrack, [memtrack, "run", "--output", out, "--"] + command)
    seen, sent, end = b"", keys is None, time.time() + 20
    while time.time() < end:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                data = os.read(terminal, 4096)
            except OSError:
                break
            if not data:
                break
            seen += data
        if not sent and after.encode() in seen:
            os.write(terminal, keys)
            sent = True
    return os.waitpid(pid, 0)[1], seen.decode(errors="replace")
status, seen = on_terminal(["sh", "-c", "test -t 0 && test -t 1 && test -t 2 && echo a terminal; exit 5"])
assert os.waitstatus_to_exitcode(status) == 5, (status, seen)
assert "a terminal" in seen, seen
status, seen = on_terminal(["bash", "-c", "trap 'echo caught; exit 8' INT; echo ready; while :; do sleep 0.1; done"], b"\x03")
assert os.waitstatus_to_exitcode(status) == 8, (os.waitstatus_to_exitcode(status), seen)
assert "caught" in seen, seen
status, seen = on_terminal(["sleep", "30"], b"\x03", after="")
assert os.waitstatus_to_exitcode(status) in (-2, 130), (status, seen)
states = {json.load(open(p))["process"]["exit"]["state"] for p in glob.glob(out + "/memtrack.sleep.*.json")}
assert "killed" in states, states
P
# Few files may be open, or there is no /proc: the program runs, and what is missing is named.
said=$( (ulimit -n 6; run sh -c 'echo runs; exit 3') 2>&1)
[[ $said == *"may be open at once"*runs* ]] || problem "with 6 files: $said"
if unshare -m umount -l /proc 2>/dev/null; then
    rm -rf "$OUT" && mkdir "$OUT"
    said=$(unshare -m sh -c "umount -l /proc; '$MEMTRACK' run --output '$OUT' -- sh -c 'echo runs; exit 3'; echo \$?" 2>/dev/null)
    expect "without /proc" "$said" $'runs\n3'
    [ -n "$(find "$OUT" -name 'memtrack.*.json')" ] || problem "no report without /proc"
fi
# A program that is left behind by its parent is still collected.
rm -rf "$OUT" && mkdir "$OUT"
run sh -c 'sleep 1.5 & echo started' >/dev/null 2>&1
later() { [ "$(value_of sleep 'process.exit.state')" = exited ]; }
wait_for 15 later || problem "the report of a program that outlived its parent: $(ls "$OUT")"
no_leftovers
verdict
