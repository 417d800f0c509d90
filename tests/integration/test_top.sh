#!/bin/bash
# memtrack top: its views on a terminal of 80 x 24, its keys, a new window size, and --batch.
# timeout: 120
. "$(dirname "$0")/lib/common.sh"
need gcc
compile busy <<'C'
#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <stdio.h>
#include <unistd.h>
static void *work(void *argument)
{
    void *kept[64] = {0};
    pthread_setname_np(pthread_self(), "the-worker");
    for (unsigned i = 0;; i++) {
        free(kept[i % 64]);
        kept[i % 64] = malloc(1000 + i % 64);
        memset(kept[i % 64], 1, 1000);
        if (i % 100 == 0) usleep(1000);
    }
    return argument;
}
int main(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, work, NULL);
    puts("up");
    fflush(stdout);
    sleep(60);
    return 0;
}
C
"$MEMTRACK" run --output "$OUT" --stacks=sampled --stack-rate=16K -- "$TEST_TMP/busy" >"$TEST_TMP/out" 2>"$TEST_TMP/err" &
runner=$!
at_end+=("kill $runner 2>/dev/null")
wait_for 10 grep -q up "$TEST_TMP/out" || problem "the program did not start"
child=$(cut -d' ' -f1 "/proc/$runner/task/$runner/children")

# --batch: two looks of each view, the second with rates.
for view in tag module thread stack size; do
    "$MEMTRACK" top "$child" --batch -n 2 --interval 0.3 --by "$view" >"$TEST_TMP/$view" 2>&1 || problem "top --batch --by $view"
    [ "$(grep -c 'memtrack top - busy' "$TEST_TMP/$view")" -eq 2 ] || problem "--by $view: not two looks: $(head -n 3 "$TEST_TMP/$view")"
    grep -q 'alloc/s' "$TEST_TMP/$view" || problem "--by $view has no rates: $(tail -n 3 "$TEST_TMP/$view")"
done
grep -q 'the-worker' "$TEST_TMP/thread" || problem "no thread of the name"
grep -q 'work.*(busy)' "$TEST_TMP/stack" || problem "no stack with its function: $(tail -n 4 "$TEST_TMP/stack")"
"$MEMTRACK" top "$child" -b -n 1 --by thread --top 1 | tail -n 1 | grep -q . || problem "--top 1"
for bad in "--by colour" "--sort peak --by size" "--sort" "--interval 0" "-n 0" "x"; do
    status=0
    # shellcheck disable=SC2086
    "$MEMTRACK" top $bad "$child" >/dev/null 2>"$TEST_TMP/bad" || status=$?
    expect "status of top $bad" "$status" 2
    expect "lines of top $bad" "$(wc -l <"$TEST_TMP/bad")" 1
done

"$PYTHON" - "$MEMTRACK" "$child" <<'P' || problem "top on a terminal"
import fcntl, os, pty, re, select, signal, struct, sys, termios, time

class Screen:
    """Enough of a terminal for what top writes."""
    def __init__(self, lines, columns):
        self.resize(lines, columns)
        self.wrapped = 0
    def resize(self, lines, columns):
        self.lines, self.columns, self.row, self.column = lines, columns, 0, 0
        self.cells = [[" "] * columns for _ in range(lines)]
    def feed(self, text):
        for sequence, char in re.findall(r"\x1b\[([?0-9;]*[A-Za-z])|([^\x1b])", text):
            if sequence:
                numbers, letter = sequence[:-1], sequence[-1]
                if letter == "H":
                    self.row, self.column = (int(n or 1) - 1 for n in (numbers + ";1").split(";")[:2]) if numbers else (0, 0)
                elif letter == "K":
                    self.cells[self.row][self.column:] = [" "] * (self.columns - self.column)
                elif letter == "J":
                    self.cells[self.row][self.column:] = [" "] * (self.columns - self.column)
                    for row in range(self.row + 1, self.lines):
                        self.cells[row] = [" "] * self.columns
            elif char == "\r":
                self.column = 0
            elif char == "\n":
                assert self.row + 1 < self.lines, "it scrolls"
                self.row += 1
            else:
                if self.column >= self.columns:
                    self.wrapped += 1
                    continue
                self.cells[self.row][self.column] = char
                self.column += 1
    def text(self):
        return "\n".join("".join(row).rstrip() for row in self.cells)

pid, terminal = pty.fork()
if pid == 0:
    os.environ["TERM"] = "xterm"
    time.sleep(0.2)
    os.execv(sys.argv[1], [sys.argv[1], "top", sys.argv[2], "--interval", "0.5"])
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
screen = Screen(24, 80)

def see(wanted, seconds=10):
    end = time.time() + seconds
    while time.time() < end:
        if select.select([terminal], [], [], 0.1)[0]:
            screen.feed(os.read(terminal, 65536).decode())
        elif re.search(wanted, screen.text(), re.M):
            return
    raise SystemExit(f"never saw {wanted!r}:\n{screen.text()}")

def press(keys):
    os.write(terminal, keys.encode())

see(r"memtrack top - busy")
see(r"\[3 thread\]"); see(r"the-worker"); see(r"q quit")
assert screen.text().splitlines()[-1].startswith("q quit"), screen.text()
see(r"alloc/s")
press("1"); see(r"\[1 tag\]")
press("2"); see(r"\[2 module\]"); see(r" busy$")
press("4"); see(r"\[4 stack\]"); see(r"work.*\(busy\)")
press("s"); see(r"sort: peak"); press("S"); see(r"sort: live")
press("\t"); see(r"\[5 size\]"); see(r"up to 1\.0 KiB")
press("\x1b[B"); press("\x1b[A")
press("\x1b[D"); see(r"\[4 stack\]")
press("6"); see(r"\(nothing yet\)")
press("7"); see(r"\[7 frame\]")
press("3"); see(r"the-worker")
press("-"); see(r"interval: 1 s")
assert screen.wrapped == 0, "lines longer than the window"
screen.resize(12, 60)
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 12, 60, 0, 0))
see(r"memtrack top - busy"); see(r"the-worker")
assert screen.text().splitlines()[11].startswith("q quit"), screen.text()
assert screen.wrapped == 0, "lines longer than the small window"
press("q")
end = time.time() + 5
while time.time() < end:
    try:
        if not select.select([terminal], [], [], 0.1)[0] or os.read(terminal, 65536):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                sys.exit(os.waitstatus_to_exitcode(status))
    except OSError:
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
sys.exit("q does not end it")
P
kill "$child"
wait "$runner" 2>/dev/null
status=0
"$MEMTRACK" top "$child" 2>"$TEST_TMP/gone" || status=$?
expect "top of a process that is gone" "$status $(wc -l <"$TEST_TMP/gone")" "1 1"
verdict
