#!/bin/bash
# An OpenGL program on Vulkan: frames come from the OpenGL side, device memory from the layer.
. "$(dirname "$0")/lib/common.sh"
need glmark2 glmark2-x11
start_x 640x480
use_zink
scenes=(-b build:nframes=40:use-vbo=false -b texture:nframes=40 -b buffer:nframes=20:columns=40:rows=10:update-method=map)
steady plain glmark2 --size 320x240 "${scenes[@]}"
[ "$plain_status" -eq 0 ] || skip "glmark2 on zink does not run here"
steady tracked glmark2 --size 320x240 "${scenes[@]}"
expect "exit status" "$tracked_status" "$plain_status"
same() { grep -E 'GL_RENDERER|GL_VERSION' "$1"; }
expect "renderer" "$(same "$TEST_TMP/tracked.out")" "$(same "$TEST_TMP/plain.out")"
# One frame more for each scene is shown than is measured.
check_report glmark2 'process.exit.code == 0' 'cpu.allocation_count > 50000' 'len(vulkan.devices) >= 1' \
    'sum(h.allocation_count for d in vulkan.devices for h in d.heaps) >= 8' \
    'sum(h.peak_bytes for d in vulkan.devices for h in d.heaps) > 4 << 20' \
    'frames.source in ("glx", "egl")' '100 <= frames.count <= 115' 'dev.in_process_memory' \
    'sum(b for b in [dev.buffers.count, dev.images.count]) >= 0'
verdict
