#!/bin/bash
# timeout: 300
# A Godot project for 200 frames. Its probe children end by _exit with a device alive: their reports say so.
. "$(dirname "$0")/lib/common.sh"
need godot3-runner
start_x 640x480
use_zink
cp -r "$TEST_SOURCE/tests/integration/data/godot" "$TEST_TMP/game"
game=(godot3-runner --audio-driver Dummy --path "$TEST_TMP/game")
steady plain "${game[@]}"
steady tracked "${game[@]}"
expect "exit status" "$tracked_status" "$plain_status"
main=""
for file in "$OUT"/memtrack.godot*.json; do
    [ "$(value_of "$file" 'bool(frames) and frames.count > 100')" = True ] && main=$file
    check_report "$file"
done
check_report "${main:-no-report-of-the-game}" 'process.exit.state == "exited"' 'cpu.allocation_count > 200000' '195 <= frames.count <= 205' \
    'sum(h.allocation_count for d in vulkan.devices for h in d.heaps) == sum(h.free_count for d in vulkan.devices for h in d.heaps)' \
    'sum(h.peak_bytes for d in vulkan.devices for h in d.heaps) > 20 << 20'
verdict
