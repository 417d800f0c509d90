#!/bin/bash
# timeout: 400
# A shooter with bots, started by a shell script, OpenGL on Vulkan.
. "$(dirname "$0")/lib/common.sh"
need openarena
start_x 640x480
use_zink
game=(openarena +set r_fullscreen 0 +set r_mode -1 +set r_customwidth 320 +set r_customheight 240 +set s_initsound 0
    +set com_introplayed 1 +set cl_renderer opengl1 +set bot_enable 1 +set bot_minplayers 4 +map oa_dm1 +wait 200 +quit)
steady plain "${game[@]}"
steady tracked "${game[@]}"
expect "exit status" "$tracked_status" "$plain_status"
main=""
for file in "$OUT"/memtrack.*.json; do
    [ "$(value_of "$file" 'len(vulkan.devices) > 0 and frames.count > 0')" = True ] && main=$file
done
[ -n "$main" ] || { problem "no report with frames: $(ls "$OUT")"; verdict; }
check_report "$main" 'process.exit.state == "exited"' 'cpu.allocation_count > 200000' 'frames.count > 50' \
    'sum(h.allocation_count for d in vulkan.devices for h in d.heaps) >= 20' \
    'sum(h.peak_bytes for d in vulkan.devices for h in d.heaps) > 30 << 20'
verdict
