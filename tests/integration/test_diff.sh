#!/bin/bash
# Two points of one run: kept reports are compared in full, lines of the timeline by their totals, and what was
# taken is said. Wrong points get one line.
# timeout: 120
. "$(dirname "$0")/lib/common.sh"
compile grower <<'C'
#include <stdlib.h>
#include <time.h>
static void *volatile kept[64];
__attribute__((noinline)) static void *early(void) { return malloc(1000000); }
__attribute__((noinline)) static void *late(void) { return malloc(3000000); }
int main(void)
{
    /* Blocks come between the points: a report is no picture of one moment. */
    struct timespec step = {0, 50000000}, start = {0, 125000000};
    nanosleep(&start, NULL);
    for (int i = 0; i < 32; i++) {
        kept[i] = i < 16 ? early() : late();
        for (int k = 0; k < 10; k++) free(malloc(100));
        nanosleep(&step, NULL);
    }
    return 0;
}
C
RUN_OPTIONS=(--interval=0.2 --keep --stacks=all)
tracked "$TEST_TMP/grower"
stem=$(find "$OUT" -name 'memtrack.grower.*.jsonl')
stem=${stem%.jsonl}
report=$stem.json
[ "$(wc -l <"$stem.jsonl")" -ge 5 ] || problem "only $(wc -l <"$stem.jsonl") points"
compare() { "$MEMTRACK" diff "$@" >"$TEST_TMP/diff.out" 2>"$TEST_TMP/diff.err"; }
refused() { # refused WORDS ARGUMENTS...: fails with one line that says so
    local words=$1
    shift
    compare "$@" && problem "diff $* succeeds"
    [ "$(wc -l <"$TEST_TMP/diff.err")" = 1 ] && grep -q -- "$words" "$TEST_TMP/diff.err" ||
        problem "diff $*: '$(cat "$TEST_TMP/diff.err")' and not $words"
}
# check WHAT KEPT FROM TO: the totals are those of the lines nearest to the times; with KEPT=yes there are lists, which
# add up to the same.
check() {
    "$PYTHON" - "$TEST_TMP/diff.out" "$stem.jsonl" "$2" "$3" "$4" <<'P' || problem "$1"
import json, sys
found, lines = json.load(open(sys.argv[1])), [json.loads(line) for line in open(sys.argv[2])]
kept, wanted = sys.argv[3] == "yes", [float(t) for t in sys.argv[4:]]
points = [min(lines, key=lambda line: abs(line["t_s"] - t)) for t in wanted]
assert points[0] is not points[1]
for side, point in zip(("before", "after"), points):
    for ours, theirs in (("current_bytes", "cpu_current_bytes"), ("allocation_count", "cpu_allocation_count"),
                         ("vulkan_current_bytes", "vulkan_current_bytes"), ("frame_count", "frame")):
        assert found["totals"][ours][side] == point[theirs], (ours, side, found["totals"][ours], point)
between, seconds = found["between"], points[1]["t_s"] - points[0]["t_s"]
assert abs(between["from_s"] - points[0]["t_s"]) < 0.01 and abs(between["to_s"] - points[1]["t_s"]) < 0.01, between
grown = points[1]["cpu_current_bytes"] - points[0]["cpu_current_bytes"]
assert abs(between["heap_bytes_per_s"] * seconds / grown - 1) < 0.1, (between, grown)
assert between["allocations_per_frame"] is None
assert kept == bool(found["reports"]) == ("stacks" in found) == ("peak_bytes" in found["totals"])
if kept:
    assert len(set(found["reports"])) == 2
    stacks = sum(row["live_after"] - row["live_before"] for row in found["stacks"])
    assert stacks == grown, (stacks, grown)
P
}
end=$(value_of "$report" process.uptime_s)
compare --json "$report" --from 0.5 --to end || problem "diff --from --to: $(cat "$TEST_TMP/diff.err")"
check "kept reports" yes 0.5 "$end"
compare "$report" --from 0.5s || problem "--from alone"
grep -q '^Between .* allocations/s$' "$TEST_TMP/diff.out" || problem "no rates between the points"
grep -q 'late' "$TEST_TMP/diff.out" || problem "the stack that grew is not shown"
# The same by the name of a kept report, and of the timeline.
compare --json "$(find "$OUT" -name 'memtrack.grower.*.000001.json')" --from 0.5 --to 0.02h || problem "a kept report's name"
check "a kept report's name" yes 0.5 72
compare --json "$stem.jsonl" --to 1.0 || problem "the timeline's name"
check "the timeline's name" yes 0 1.0
# By one list; and two kept reports as two reports are one process.
compare --json --by stack "$report" --from 0.5 && "$PYTHON" -c '
import json, sys; d = json.load(open(sys.argv[1])); assert "stacks" in d and "tags" not in d' "$TEST_TMP/diff.out" || problem "--by stack"
compare --json "$(find "$OUT" -name 'memtrack.grower.*.000002.json')" "$report" && grep -q '"from_s"' "$TEST_TMP/diff.out" ||
    problem "two reports of one process have no rates"

refused 'nearest to both' "$report" --from 0.5 --to 0.5001
refused 'end comes after 0.3' "$report" --from end --to 0.3
refused '--from takes a time' "$report" --from soon
refused '--to takes a time' "$report" --to
refused '--to takes a time' "$report" --to -3
refused 'points of one report' "$report" "$report" --from 1
refused 'two reports are needed' "$report"

# Without kept reports: totals, and the word why there is no more.
find "$OUT" -name 'memtrack.grower.*.0*.json' -delete
compare --json "$report" --from 0.5 --to 1.0 || problem "lines: $(cat "$TEST_TMP/diff.err")"
check "lines of the timeline" no 0.5 1.0
compare "$report" --from 0.5 --to 1.0 && grep -q 'they have no tags' "$TEST_TMP/diff.out" || problem "what lines lack is not said"
refused 'run with --keep' "$report" --from 0.5 --to 1.0 --by tag
# Damaged lines and one that is being written are left out, and the first are counted.
{ cat "$stem.jsonl"; echo '{"t_s": "x"}'; echo 'garbage'; printf '{"t_s": 99.0, "cpu_cur'; } >"$stem.new" && mv "$stem.new" "$stem.jsonl"
compare "$report" --from 0.5 --to 1.0 && grep -q ': 2 lines of the timeline cannot be read$' "$TEST_TMP/diff.err" || problem "damaged lines"
# Without the file of lines the report's own timeline is taken.
rm "$stem.jsonl"
compare "$report" --from 0.5 --to 1.0 || problem "the report's own timeline: $(cat "$TEST_TMP/diff.err")"
refused 'No such file' "$TEST_TMP/nothing.json" --from 1
# A frame of a made-up timeline: the first point in or after it.
for i in 0 1 2 3 4; do
    echo "{\"t_s\": $i.5, \"cpu_current_bytes\": $((i * 1000)), \"cpu_allocation_count\": $((i * 600)), \"vulkan_current_bytes\": 0, \"rss_bytes\": null, \"frame\": $((i * 60))}"
done >"$TEST_TMP/made.jsonl"
compare "$TEST_TMP/made.jsonl" --from frame:61 --to frame:1000 || problem "frames: $(cat "$TEST_TMP/diff.err")"
grep -q '^frames  *120  *240  *+120$' "$TEST_TMP/diff.out" || problem "points by frame: $(grep '^frames' "$TEST_TMP/diff.out")"
grep -q '^Between 2.5 s and 4.5 s: heap +1000 B/s, 600 allocations/s, 10.0 allocations/frame$' "$TEST_TMP/diff.out" ||
    problem "rates: $(grep '^Between' "$TEST_TMP/diff.out")"
verdict
