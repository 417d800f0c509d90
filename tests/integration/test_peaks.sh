#!/bin/bash
# Own peaks of tags, modules and threads: two plugins that are high at different times, in one thread and in eight.
# timeout: 300
. "$(dirname "$0")/lib/common.sh"
need gcc
sources=$TEST_SOURCE/tests/fixtures/attribution
for name in one two; do
    gcc -O1 -w -shared -fPIC -fno-builtin "$sources/peaks_plugin.c" -o "$TEST_TMP/libpeaks-$name.so" || problem "cannot build a plugin"
done
gcc -O1 -w -fno-builtin "$sources/peaks.c" -o "$TEST_TMP/peaks" -ldl -lpthread || problem "cannot build peaks"
cat >"$TEST_TMP/rules.json" <<'RULES'
{"tags": [{"tag": "nobody", "budget": "1M", "match": [{"vulkan_name": "*"}, {"module": "libpeaks*", "thread": "no-*"}]},
          {"match": [{"module": "lib[p]eaks-one.s?"}], "tag": "first"},
          {"tag": "second", "budget": 1000000, "match": [{"module": "libpeaks-two*", "thread": "p*"}]}]}
RULES

# peaks THREADS BATCHES RUN-OPTION...: all peaks are the true ones within what the report states, and that is at most
# so many batches of 64 KiB.
peaks() {
    rm -rf "$OUT"
    RUN_OPTIONS=("--tags=$TEST_TMP/rules.json" "${@:3}")
    tracked "$TEST_TMP/peaks" "$TEST_TMP"/libpeaks-{one,two}.so "$1" "$TEST_TMP/truth"
    expect "exit status" "$tracked_status" 0
    "$PYTHON" "$LIB/peaks.py" "$OUT" "$TEST_TMP/truth" "$2" || problem "peaks are wrong: $*"
}

peaks 1 0
peaks 1 0 --stacks=off
peaks 1 0 --stacks=all
peaks 1 0 --peak=exact
peaks 8 0 --peak=exact
peaks 8 64
peaks 8 64 --stacks=off
peaks 8 64 --stacks=all
peaks 8 128 --peak-batch=256K

# Other than that, with the pools off: threads' peaks are exact there too.
peaks 1 threads --pools=off
peaks 8 threads --pools=off --stacks=all

# The peaks lie where they were: the first plugin's in the first phase, the second one's in the third.
peaks 8 64
check_report peaks "[t.peak_s for t in cpu.tags if t.tag == 'first'][0] <= [t.peak_s for t in cpu.tags if t.tag == 'second'][0]" \
    "[t.at_peak_bytes for t in cpu.tags if t.tag == 'second'][0] < [t.peak_bytes for t in cpu.tags if t.tag == 'second'][0] / 2"
verdict
