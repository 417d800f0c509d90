#!/bin/bash
# timeout: 300
# shellcheck disable=SC2154 # problems and status are set by common.sh
# A WebGPU program on Dawn: the same pictures with and without the layer and its pools, and totals equal to
# the calls that gfxreconstruct logs below the layer, to the byte.
NODE_DIRECTORY=${TEST_NODE_DIRECTORY:-${XDG_CACHE_HOME:-${HOME-}/.cache}/memtrack/node} # of the real home
. "$(dirname "$0")/common.sh"
command -v node >/dev/null || skip "node is missing (package nodejs; scripts/install-deps test)"
[ -e "$NODE_DIRECTORY/node_modules/webgpu/index.js" ] || skip "Dawn, npm's package webgpu, is missing (scripts/install-deps full)"
MORE=VK_LAYER_MEMTRACK_more_features
cat >"$TEST_TMP/layers/more_features.json" <<MANIFEST
{"file_format_version": "1.2.0", "layer": {"name": "$MORE", "type": "GLOBAL", "api_version": "1.3.0",
 "library_path": "$PROGRAMS/libmore_features.so", "implementation_version": "1", "description": "for tests"}}
MANIFEST
program=(node "$TEST_SOURCE/tests/layer/dawn_program.mjs" "$NODE_DIRECTORY" 40)
seen=0
result() { # result NAME: the line for what was found since the last one
    if [ "$problems" -eq "$seen" ]; then echo "ok $1"; else echo "FAIL $1"; fi
    seen=$problems
}

session plain
with_layers "$MORE" "${program[@]}"
[ "$status" -ne 77 ] || skip "Dawn finds no adapter: $(head -n 1 "$TEST_TMP/err")"
expect "exit status without the layer" "$status" 0
wanted=$(tail -n 1 "$TEST_TMP/out")
[ ${#wanted} -eq 64 ] || problem "the program prints no hash: $wanted"
for mode in off arena verify; do
    session $mode
    with_layers "$MORE:$MEMTRACK_LAYER" MEMTRACK_VULKAN_POOL=$mode "${program[@]}"
    expect "exit status in mode $mode" "$status" 0
    expect "pictures in mode $mode" "$(tail -n 1 "$TEST_TMP/out")" "$wanted"
    expect "handles not known in mode $mode" "$(total unknown)" 0
    [ "$(total allocations)" -gt 1 ] || problem "only $(total allocations) allocations in mode $mode"
    if [ $mode != off ]; then
        "$MEMTRACK" report --json "$MEMTRACK_SESSION"/*.seg >"$TEST_TMP/report.json"
        "$PYTHON" - "$TEST_TMP/report.json" <<'P' || problem "pools in mode $mode"
import json, sys
pools = [d["pools"] for d in json.load(open(sys.argv[1]))["vulkan"]["devices"]]
hits = sum(row["hit_count"] for p in pools for row in p["rows"])
broken = sum(p["violation_count"] + p["stale_handle_count"] for p in pools)
print(f"    {hits} allocations from pools, {broken} broken rules")
sys.exit(not hits or broken)
P
    fi
    result "pictures_$mode"
done

if ! command -v gfxrecon-convert >/dev/null; then
    echo "skip call_log: package gfxreconstruct"
    verdict
fi
session logged
with_layers "$MORE:$MEMTRACK_LAYER:VK_LAYER_LUNARG_gfxreconstruct" GFXRECON_CAPTURE_FILE="$TEST_TMP/calls.gfxr" \
    GFXRECON_LOG_LEVEL=error GFXRECON_MEMORY_TRACKING_MODE=unassisted "${program[@]}"
expect "exit status above gfxreconstruct" "$status" 0
gfxrecon-convert --output "$TEST_TMP/calls.jsonl" "$TEST_TMP"/calls*.gfxr >/dev/null 2>&1
logged=$("$PYTHON" "$TEST_SOURCE/tests/layer/call_log.py" "$TEST_TMP/calls.jsonl")
counted=$(totals | sed -e 's/^device=[0-9]* //' -e 's/ buffers=.*\( frames=[0-9]*\).*/\1/')
expect "totals" "$counted" "$logged"
[ -n "$logged" ] || problem "nothing was logged"
echo "    $counted"
result call_log
verdict
