#!/bin/bash
# timeout: 240
# kill -9 at random moments: the last report says so, and its counts are those of that moment.
. "$(dirname "$0")/lib/common.sh"
compile counted <<'C'
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
/* Counts its own mallocs and frees in a file that outlives it. */
int main(int argc, char **argv)
{
    int file = open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (file < 0 || ftruncate(file, 4096)) return 1;
    _Atomic unsigned long *count = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    void *ring[64] = {0};
    (void)argc;
    for (unsigned long n = 0;; n++) {
        void *volatile block = malloc(n * 37 % 5000);
        atomic_fetch_add(&count[0], 1);
        if (ring[n % 64]) {
            free(ring[n % 64]);
            atomic_fetch_add(&count[1], 1);
        }
        ring[n % 64] = block;
    }
}
C
allocated() { od -An -tu8 -N8 "$1" | tr -d ' '; }
freed() { od -An -tu8 -j8 -N8 "$1" | tr -d ' '; }
RUN_OPTIONS=(--interval 0.2)
# Loading the program allocates a few blocks before it starts to count: the same number every time.
slack=64
for round in 1 2 3 4 5 6 7 8; do
    rm -rf "$OUT" && mkdir "$OUT"
    status=0
    "$MEMTRACK" run --output "$OUT" "${RUN_OPTIONS[@]}" -- "$TEST_TMP/counted" "$TEST_TMP/count" 2>"$TEST_TMP/err" &
    runner=$!
    wait_for 10 test -s "$TEST_TMP/count" || problem "the program did not start"
    sleep "0.$((RANDOM % 8))$((RANDOM % 10))"
    # The program is the runner's child.
    child=$(tr -d " " <"/proc/$runner/task/$runner/children" 2>/dev/null)
    [ -n "$child" ] || { problem "no child"; kill -9 "$runner"; continue; }
    kill -9 "$child"
    wait "$runner" 2>/dev/null || status=$?
    expect "round $round: status of memtrack run" "$status" 137
    own=$(allocated "$TEST_TMP/count")
    own_freed=$(freed "$TEST_TMP/count")
    check_report counted 'process.exit.state == "killed"' 'process.exit.signal == 9' 'process.exit.code is None' \
        "$own <= cpu.allocation_count <= $own + $slack" "$own_freed <= cpu.free_count <= $own_freed + $slack" 'cpu.net_count >= 63'
    rm -f "$TEST_TMP/count"
done
# The collector itself is killed: the program goes on, and its segment tells everything later.
cat >"$TEST_TMP/slow.sh" <<'S'
for n in 1 2 3 4 5 6 7 8 9 10; do x="$x $(printf %1000d "$n")"; sleep 0.2; done
echo "done" >"$1"; exit 3
S
"$MEMTRACK" run --output "$OUT" -- bash "$TEST_TMP/slow.sh" "$TEST_TMP/finished" 2>/dev/null &
runner=$!
sleep 0.7
session=$(tr '\0' '\n' <"/proc/$(cut -d' ' -f1 "/proc/$runner/task/$runner/children")/environ" | sed -n 's/^MEMTRACK_SESSION=//p')
kill -9 "$runner"
wait "$runner" 2>/dev/null
wait_for 20 test -s "$TEST_TMP/finished" || problem "the program did not survive its collector"
sleep 0.3
segment=$(find "$session" -name '*.seg' 2>/dev/null | head -n 1)
if [ -n "$segment" ]; then
    "$MEMTRACK" report "$segment" >"$TEST_TMP/text" 2>&1 || problem "memtrack report of the segment left behind fails: $(head -n 2 "$TEST_TMP/text")"
    grep -q bash "$TEST_TMP/text" || problem "the segment's text does not name bash"
    rm -rf "$session"
else
    # A child that found no collector has started one.
    final() { grep -lq '"code": 3' "$OUT"/memtrack.bash.*.json; }
    wait_for 10 final || problem "neither a segment in '$session' nor a report of the script's end in $(find "$OUT" | wc -l) files"
fi
no_leftovers
verdict
