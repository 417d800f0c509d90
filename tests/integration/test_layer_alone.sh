#!/bin/bash
# The Vulkan layer without the preloaded library, as explicit and as implicit layer, and both libraries without memtrack run.
. "$(dirname "$0")/lib/common.sh"
need vkcube vulkan-tools
start_x 640x480
export MEMTRACK_OUTPUT=$OUT
device='len(vulkan.devices) == 1 and sum(h.allocation_count for h in dev.heaps) == sum(h.free_count for h in dev.heaps) == 5'
final() { [ "$(value_of vkcube 'process.exit.state')" = exited ]; }
try() { # try WHAT [NAME=VALUE]...: a cube of 60 frames in this environment
    local what=$1 status=0
    shift
    rm -f "$OUT"/*
    env "$@" vkcube --c 60 >"$TEST_TMP/out" 2>"$TEST_TMP/err" || status=$?
    expect "$what: exit status" "$status" 0
    expect "$what: stdout" "$(cat "$TEST_TMP/out")" "$(cat "$TEST_TMP/plain.out")"
    wait_for 15 final || problem "$what: no final report"
    check_report vkcube "$device" 'frames.count == 60' 'frames.source == "vulkan"' 'process.exit.code == 0'
}
plain vkcube --c 60
try explicit VK_LAYER_PATH="$BUILD_DIR/manifests/vulkan/explicit_layer.d" VK_INSTANCE_LAYERS=VK_LAYER_MEMTRACK_memtrack
check_report vkcube 'cpu.allocation_count == 0'
implicit=$BUILD_DIR/manifests:/usr/local/share:/usr/share
try implicit XDG_DATA_DIRS="$implicit" MEMTRACK_VULKAN=1
check_report vkcube 'cpu.allocation_count == 0'
try both XDG_DATA_DIRS="$implicit" MEMTRACK_VULKAN=1 LD_PRELOAD="$PRELOAD"
check_report vkcube 'cpu.allocation_count > 1000'
try "implicit and explicit at once" XDG_DATA_DIRS="$implicit" MEMTRACK_VULKAN=1 LD_PRELOAD="$PRELOAD" \
    VK_LAYER_PATH="$BUILD_DIR/manifests/vulkan/explicit_layer.d" VK_INSTANCE_LAYERS=VK_LAYER_MEMTRACK_memtrack
# Without the variable an implicit layer stays out.
rm -f "$OUT"/*
env XDG_DATA_DIRS="$implicit" vkcube --c 10 >/dev/null 2>&1
sleep 1
[ -z "$(ls "$OUT")" ] || problem "the implicit layer ran without being asked to"
verdict
