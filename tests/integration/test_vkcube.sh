#!/bin/bash
# The first thing anybody runs: CPU, Vulkan and frames in one report, with known device totals.
. "$(dirname "$0")/lib/common.sh"
need vkcube vulkan-tools
start_x 640x480
same_as_plain vkcube --c 300
software='dev.heaps[0].allocation_count == 5 and dev.heaps[0].free_count == 5 and dev.heaps[0].peak_bytes == 777792'
[ -z "${TEST_GPU-}" ] || software='dev.heaps[0].size_bytes > 0'
check_report vkcube 'process.exit.state == "exited" and process.exit.code == 0' 'cpu.allocation_count > 10000' \
    'cpu.peak_bytes > 1 << 20' 'len(vulkan.devices) == 1' "$software" \
    'sum(h.allocation_count for h in dev.heaps) == 5' 'sum(h.current_bytes for h in dev.heaps) == 0' \
    'dev.imported.count == 0' 'not dev.leaks' 'dev.name and dev.api_version' \
    'frames.count == 300' 'frames.source == "vulkan"' 'frames.allocations_per_frame.p50 >= 0' \
    'frames.allocations_per_frame.p50 <= frames.allocations_per_frame.p99 <= frames.allocations_per_frame.max' \
    'frames.worst' "'vkcube' in process.executable"
[ -n "${TEST_GPU-}" ] || check_report vkcube 'dev.in_process_memory'
"$MEMTRACK" report "$(report_of vkcube)" >"$TEST_TMP/text" || problem "memtrack report fails"
grep -qi 'vulkan' "$TEST_TMP/text" && grep -qi 'frame' "$TEST_TMP/text" || problem "the text lacks Vulkan or frames"
# Without the layer: the CPU alone, and --vulkan=off really leaves Vulkan alone.
rm -f "$OUT"/*
RUN_OPTIONS=(--vulkan=off)
tracked vkcube --c 30
expect "exit status without the layer" "$tracked_status" 0
check_report vkcube 'cpu.allocation_count > 1000' 'not vulkan.devices'
no_leftovers
verdict
