#!/bin/bash
# timeout: 300
# Doom's demo drawn by OpenGL on Vulkan: heavy device memory traffic, the same demo to its end.
. "$(dirname "$0")/lib/common.sh"
need dsda-doom
wad=/usr/share/games/doom/freedoom2.wad
need "$wad" freedoom
"$PYTHON" - "$wad" "$TEST_TMP/demo.lmp" <<'P' || problem "no demo in the game's data"
import struct, sys
data = open(sys.argv[1], "rb").read()
count, directory = struct.unpack_from("<ii", data, 4)
for at in range(directory, directory + 16 * count, 16):
    offset, size, name = struct.unpack_from("<ii8s", data, at)
    if name.rstrip(b"\0") == b"DEMO1":
        open(sys.argv[2], "wb").write(data[offset:offset + size])
        sys.exit(0)
sys.exit(1)
P
start_x 640x480
use_zink
game=(dsda-doom -iwad "$wad" -nosound -nomusic -geom 320x240w -vidmode gl -timedemo "$TEST_TMP/demo.lmp")
steady plain "${game[@]}"
steady tracked "${game[@]}"
expect "exit status" "$tracked_status" "$plain_status"
tics() { grep -ohE 'Timed [0-9]+ gametics' "$1.out" "$1.err" | head -n 1; }
expect "game tics" "$(tics "$TEST_TMP/tracked")" "$(tics "$TEST_TMP/plain")"
check_report dsda-doom 'cpu.allocation_count > 1000000' 'frames.count > 500' 'frames.source in ("sdl", "glx", "egl")' \
    'sum(h.allocation_count for d in vulkan.devices for h in d.heaps) > 50' \
    'sum(h.peak_bytes for d in vulkan.devices for h in d.heaps) > 50 << 20'
verdict
