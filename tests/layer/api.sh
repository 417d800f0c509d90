#!/bin/bash
# timeout: 120
# shellcheck disable=SC2154 # problems, tracked_status and the like are set by common.sh
# memtrack.h and device objects, on the mock driver: the layer alone, with the preload, and neither. Tags that a
# program says before there is an instance reach the layer too, once it has come.
# shellcheck source=tests/layer/common.sh
. "$(dirname "$0")/common.sh"
export MEMTRACK_COLLECTOR=auto MOCK_ICD='host=1000'
export VK_ICD_FILENAMES=$PROGRAMS/mock_icd/mock_icd.json
"${CC:=cc}" -O1 -g -w -pthread -I"$TEST_SOURCE/include" -o "$TEST_TMP/device" "$TEST_SOURCE/tests/api/device.c" -lvulkan ||
    problem "cannot compile device"

tag() { echo "[(t.current_bytes, t.current_count, t.source) for t in dev.tags if t.tag == \"$1\"]"; }
device_tags=(
    "$(tag terrain) == [(1048576 - 65536 + 2 * 65536, 4, 'api')]"
    "$(tag water) == [(65536, 1, 'api')]"
    "$(tag shadows) == [(5 * 131072, 5, 'api')]"
    'sum(t.current_bytes for t in dev.tags) == sum(a.size_bytes for a in dev.allocations) == 1048576 + 131072 + 655360 + 262144'
    '[a.tag for a in dev.allocations if a.size_bytes == 1048576] == ["terrain"]'
    'sorted(x.tag for x in dev.resources) == ["terrain", "water", "water"]'
    '[t.vulkan_bytes for t in cpu.tags if t.tag == "shadows"] == [655360]'
    '[(t.budget_bytes, t.budget_state) for t in cpu.tags if t.tag == "shadows"] == [(600000, "over")]'
    'frames.source == "api" and frames.count == 1'
)

# Both: one state. What the driver takes inside of a tag is of the tag and of its command.
tracked "$TEST_TMP/device"
expect "exit status" "$tracked_status" 0
expect "answer" "$(cat "$TEST_TMP/tracked.out")" "pushed 0 tracking 1 heap 1 calls 9 live 9 bytes 2097152 peak 1 size 1"
check_report device "${device_tags[@]}" 'r.dropped.tags == 0' \
    '[(t.allocation_count, t.total_bytes) for t in cpu.tags if t.tag == "water"] == [(2, 2000)]' \
    '[c.malloc.allocation_count for c in vulkan.host.commands if c.command == "vkCreateBuffer"] == [2]' \
    '[c.malloc.allocation_count for c in vulkan.host.commands if c.command == "vkCreateImage"] == [1]'
rm -rf "${OUT:?}"/*

# The layer alone finds the program.
alone() {
    tracked_status=0
    env VK_LAYER_PATH="$EXPLICIT" VK_INSTANCE_LAYERS=$MEMTRACK_LAYER MEMTRACK_OUTPUT="$OUT" MEMTRACK_COLLECTOR=none MEMTRACK_SESSION="$TEST_TMP" \
        "$@" >"$TEST_TMP/tracked.out" 2>"$TEST_TMP/tracked.err" </dev/null || tracked_status=$?
    "$MEMTRACK" report --json "$TEST_TMP"/*.seg >"$TEST_TMP/memtrack.device.json" || problem "no report of $*"
    rm -f "$TEST_TMP"/*.seg
}
alone "$TEST_TMP/device"
expect "exit status, layer alone" "$tracked_status" 0
expect "answer, layer alone" "$(cat "$TEST_TMP/tracked.out")" "pushed 0 tracking 1 heap 1 calls 9 live 9 bytes 2097152 peak 1 size 1"
check_report "$TEST_TMP/memtrack.device.json" "${device_tags[@]}" 'cpu.allocation_count == 0'
alone "$TEST_TMP/device" early
expect "answer, a tag before the layer" "$(cat "$TEST_TMP/tracked.out")" "pushed 0 tracking 1 heap 1 calls 9 live 9 bytes 2097152 peak 1 size 1"
check_report "$TEST_TMP/memtrack.device.json" "${device_tags[@]}" 'not any(t.tag == "early" for t in dev.tags)'
rm -rf "${OUT:?}"/*

# All of it in a shared object of the program, which has a way of its own.
mkdir "$TEST_TMP/shared"
"$CC" -O1 -g -w -shared -fPIC -Dmain=device_main -I"$TEST_SOURCE/include" -o "$TEST_TMP/shared/libdevice.so" "$TEST_SOURCE/tests/api/device.c" -lvulkan &&
    echo 'int device_main(int, char **); int main(int n, char **words) { return device_main(n, words); }' |
    "$CC" -o "$TEST_TMP/shared/device" -x c - -x none "$TEST_TMP/shared/libdevice.so" -Wl,-rpath,'$ORIGIN' || problem "cannot compile libdevice.so"
alone "$TEST_TMP/shared/device"
check_report "$TEST_TMP/memtrack.device.json" "${device_tags[@]}"
tracked "$TEST_TMP/shared/device"
check_report device "${device_tags[@]}"
rm -rf "${OUT:?}"/*

# With the preload the early tag counts for what has none of its own.
tracked "$TEST_TMP/device" early
check_report device "${device_tags[@]}" "$(tag early) == [(262144, 1, 'api')]"

expect "answer without memtrack" "$("$TEST_TMP/device" early)" "pushed 0 tracking 0 heap 0 calls 0 live 0 bytes 0 peak 0 size 0"
exit "$((problems > 0))"
