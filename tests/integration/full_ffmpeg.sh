#!/bin/bash
# timeout: 300
# Video filters on Vulkan without a window: host pointers are imported, which is no new memory.
. "$(dirname "$0")/lib/common.sh"
need ffmpeg
ffmpeg -hide_banner -loglevel error -nostdin -f lavfi -i testsrc2=size=320x180:rate=30:duration=3 -c:v mpeg4 -q:v 5 \
    "$TEST_TMP/clip.mp4" || skip "ffmpeg cannot make a test clip"
filter="format=yuv420p,hwupload,libplacebo=w=480:h=270:format=yuv420p:deband=1,hwdownload,format=yuv420p"
game=(ffmpeg -hide_banner -loglevel warning -nostdin -init_hw_device vulkan=vk:0 -filter_hw_device vk
    -i "$TEST_TMP/clip.mp4" -frames:v 60 -vf "$filter" -f framemd5 -)
plain "${game[@]}"
[ "$plain_status" -eq 0 ] || skip "ffmpeg's Vulkan filters do not run here: $(tail -n 1 "$TEST_TMP/plain.err")"
tracked "${game[@]}"
expect "exit status" "$tracked_status" "$plain_status"
cmp "$TEST_TMP/plain.out" "$TEST_TMP/tracked.out" || problem "the frames' checksums differ"
check_report ffmpeg 'process.exit.code == 0' 'cpu.allocation_count > 50000' 'len(vulkan.devices) >= 1' 'dev.imported.import_count > 100' \
    'sum(h.allocation_count for h in dev.heaps) == sum(h.free_count for h in dev.heaps)'
verdict
