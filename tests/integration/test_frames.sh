#!/bin/bash
# Frames of a program that is known: the stacks of the worst frame, hitches, who allocates per frame, and the views of them.
# timeout: 120
. "$(dirname "$0")/lib/common.sh"
need gcc
gcc -shared -fPIC -O1 -o "$TEST_TMP/libfakegl.so" "$TEST_SOURCE/tests/fixtures/libfakegl.c" || problem "cannot build libfakegl"
cat >"$TEST_TMP/game.c" <<'C'
#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
extern void glXSwapBuffers(void *, unsigned long);
static pthread_barrier_t begin, end;
static void *volatile sink;
static void allocate(int blocks, size_t bytes)
{
    for (int i = 0; i < blocks; i++) {
        sink = malloc(bytes);
        free(sink);
    }
}
__attribute__((noinline)) static void draw_world(void) { allocate(3, 1000); __asm__(""); }
__attribute__((noinline)) static void stream_level(void) { allocate(500, 2000); __asm__(""); }
__attribute__((noinline)) static void simulate(void) { allocate(5, 100); __asm__(""); }
static void *work(void *argument)
{
    pthread_setname_np(pthread_self(), "physics");
    for (;;) {
        pthread_barrier_wait(&begin);
        simulate();
        pthread_barrier_wait(&end);
    }
    return argument;
}
int main(void)
{
    pthread_t thread;
    pthread_barrier_init(&begin, NULL, 2);
    pthread_barrier_init(&end, NULL, 2);
    pthread_create(&thread, NULL, work, NULL);
    allocate(100000, 64); /* loading: no frame */
    for (int frame = 1; frame <= 200; frame++) {
        pthread_barrier_wait(&begin);
        draw_world();
        if (frame == 120) {
            stream_level();
            usleep(100000);
        }
        usleep(4000);
        pthread_barrier_wait(&end);
        glXSwapBuffers(NULL, 1);
    }
    return 0;
}
C
gcc -g -O1 -fno-optimize-sibling-calls -o "$TEST_TMP/game" "$TEST_TMP/game.c" "$TEST_TMP/libfakegl.so" -Wl,-rpath,"$TEST_TMP" -lpthread ||
    problem "cannot build the game"
function_of='{s.id: next((f.function for f in s.frames if f.function in ("draw_world", "stream_level", "simulate")), None) for s in cpu.stacks}'
per_frame='{n: {row.name.split("/")[-1]: row.count for row in frames.rates.run[n]} for n in ("threads", "modules", "tags")}'
for stacks in all sampled; do
    rm -f "$OUT"/*
    RUN_OPTIONS=("--stacks=$stacks" --stack-rate=1K --interval=0.3)
    tracked "$TEST_TMP/game"
    expect "exit status" "$tracked_status" 0
    # The first swap ends loading, so the burst lies in frame 120 of the report too.
    check_report game 'frames.count == 200' 'frames.source == "glx"' 'frames.worst[0].frame == 120' \
        'frames.worst[0].allocation_count == 508' 'frames.allocations_per_frame.p50 == 8' \
        "(${function_of})[frames.worst[0].stacks[0].stack] == 'stream_level'" \
        'frames.hitches.count >= 1' 'frames.hitches.longest[0].frame == 120 or frames.hitches.longest[0].duration_ns > 104000000' \
        'any(h.frame == 120 for h in frames.hitches.longest)' 'frames.hitches.recent.with_many_allocations >= 1' \
        'frames.hitches.threshold_ns >= 2 * frames.hitches.median_ns' \
        "4.5 < (${per_frame})['threads']['physics'] < 5.5" "5 < (${per_frame})['threads']['game'] < 9" \
        'frames.rates.run.to_frame == 200' 'frames.rates.run.from_frame < 60' \
        "9 < (${per_frame})['modules']['game'] < 15 or '$stacks' == 'sampled'"
done
# With all stacks the numbers of a frame are exact; what the sampler says above is near them.
rm -f "$OUT"/*
RUN_OPTIONS=(--stacks=all --interval=0.3)
tracked "$TEST_TMP/game"
check_report game "{(${function_of})[s.stack]: (s.count, s.bytes) for s in frames.worst[0].stacks} == {'stream_level': (500, 1000000), 'simulate': (5, 500), 'draw_world': (3, 3000)}" \
    'not frames.worst[0].stacks_estimated' 'frames.worst[0].other_count == 0' \
    "all({(${function_of})[s.stack]: s.count for s in w.stacks} == {'simulate': 5, 'draw_world': 3} for w in frames.worst[1:] if 2 < w.frame != 120)"
report=$(report_of game)
"$MEMTRACK" report "$report" >"$TEST_TMP/text" || problem "report"
grep -q 'per frame .*by thread' "$TEST_TMP/text" || problem "the summary does not say who allocates per frame"
grep -q 'hitches .* of 200 frames took more than' "$TEST_TMP/text" || problem "the summary has no hitches"
"$MEMTRACK" report "$report" --by frame --sort time --top 1 >"$TEST_TMP/frame" || problem "--by frame"
grep -q 'allocate <- stream_level (game)' "$TEST_TMP/frame" || problem "--by frame shows no stack: $(cat "$TEST_TMP/frame")"
"$MEMTRACK" report "$report" --by thread --sort frame --json |
    "$PYTHON" -c 'import json, sys; r = json.load(sys.stdin); assert [x["name"].split()[0] for x in r[:2]] == ["game", "physics"], r' ||
    problem "--by thread --sort frame --json"
for view in tag module thread stack size; do
    "$MEMTRACK" report "$report" --by $view >"$TEST_TMP/view" && [ "$(wc -l <"$TEST_TMP/view")" -ge 3 ] || problem "--by $view"
done
"$MEMTRACK" diff "$report" "$report" | grep -q '^allocations / frame  *8  *8  *0$' || problem "diff does not compare frames"
"$MEMTRACK" report "$report" --by heap | grep -q 'no rows' || problem "--by heap of a program without devices"
for bad in "--by colour" "--by size --sort peak" "--sort colour" "--top 0"; do
    status=0
    # shellcheck disable=SC2086
    "$MEMTRACK" report "$report" $bad >/dev/null 2>"$TEST_TMP/bad" || status=$?
    expect "report $bad" "$status $(wc -l <"$TEST_TMP/bad")" "2 1"
done
verdict
