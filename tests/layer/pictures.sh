#!/bin/bash
# timeout: 200
# shellcheck disable=SC2154 # problems is set by common.sh
# What stands on the screen in one frame of programs that draw the same in every run: vkcube on Vulkan and an
# OpenGL program through zink, without the layer and with it, pools off and on. Every pixel must be equal.
. "$(dirname "$0")/common.sh"
need vkcube vulkan-tools
need Xvfb xvfb
HOLD=VK_LAYER_MEMTRACK_hold_frame
cat >"$TEST_TMP/layers/hold_frame.json" <<MANIFEST
{"file_format_version": "1.2.0", "layer": {"name": "$HOLD", "type": "GLOBAL", "api_version": "1.3.0",
 "library_path": "$PROGRAMS/libhold_frame.so", "implementation_version": "1", "description": "for tests"}}
MANIFEST
export HOLD_FILE=$TEST_TMP/hold HOLD_FRAME=40
seen=0

# A server that keeps its screen in a file, as xwd writes them.
mkdir "$TEST_TMP/screen"
Xvfb -displayfd 9 -screen 0 640x480x24 -fbdir "$TEST_TMP/screen" -nolisten tcp -noreset 9>"$TEST_TMP/display" >/dev/null 2>&1 &
server=$!
at_end+=("kill $server 2>/dev/null && wait $server 2>/dev/null")
wait_for 20 test -s "$TEST_TMP/display" || skip "Xvfb does not start"
DISPLAY=:$(cat "$TEST_TMP/display")
export DISPLAY

# photograph PICTURE LAYERS [NAME=VALUE...] COMMAND...: the screen while the program stands in its frame.
photograph() {
    local picture=$1 layers=$2
    shift 2
    rm -f "$HOLD_FILE"
    session picture
    with_layers "$layers$HOLD" "$@" &
    local program=$!
    if wait_for 30 test -e "$HOLD_FILE"; then
        sleep 0.3 # the X server draws what it was sent
        cp "$TEST_TMP/screen/Xvfb_screen0" "$picture"
    else
        problem "$picture: no frame $HOLD_FRAME"
    fi
    rm -f "$HOLD_FILE"
    wait "$program"
}

# compare NAME [NAME=VALUE...] COMMAND...: one picture without the layer and one in each mode.
compare() {
    local name=$1 mode
    shift
    photograph "$TEST_TMP/$name.plain" "" "$@"
    # A picture of something: more than a few colours.
    [ "$(od -An -v -tx4 -w4 "$TEST_TMP/$name.plain" | sort -u | wc -l)" -gt 100 ] || problem "$name: an empty screen"
    for mode in off arena verify; do
        photograph "$TEST_TMP/$name.$mode" "$MEMTRACK_LAYER:" MEMTRACK_VULKAN_POOL=$mode "$@"
        cmp -s "$TEST_TMP/$name.plain" "$TEST_TMP/$name.$mode" || problem "$name: another picture in mode $mode"
        [ "$(total allocations)" -ge 3 ] || problem "$name: the layer saw $(total allocations) allocations in mode $mode"
        if [ "$problems" -eq "$seen" ]; then echo "ok ${name}_$mode"; else echo "FAIL ${name}_$mode"; fi
        seen=$problems
    done
}
compare vkcube vkcube --c 60 --width 300 --height 300
if command -v glmark2 >/dev/null; then
    # Each frame of this scene is the same: its light stands still and its model is not turned by the clock.
    compare zink MESA_LOADER_DRIVER_OVERRIDE=zink GALLIUM_DRIVER=zink LIBGL_ALWAYS_SOFTWARE=1 LIBGL_KOPPER_DRI2=1 \
        glmark2 --size 320x240 -b effect2d:nframes=60:duration=60
else
    echo "skip zink: package glmark2-x11"
fi
verdict
