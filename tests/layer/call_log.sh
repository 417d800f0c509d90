#!/bin/bash
# timeout: 300
# Device-memory totals against an independent count: gfxreconstruct lies below the layer and logs the
# calls that come down; call_log.py adds them up. Every number must be equal.
. "$(dirname "$0")/common.sh"
need gfxrecon-convert gfxreconstruct
need vkcube vulkan-tools
start_x 640x480
compare() { # compare NAME [NAME=VALUE...] COMMAND...
    local name=$1 logged counted
    shift
    session "$name"
    forget() { rm -f "$MEMTRACK_SESSION"/*.seg "$TEST_TMP"/calls*; }
    with_layers "$MEMTRACK_LAYER:VK_LAYER_LUNARG_gfxreconstruct" GFXRECON_CAPTURE_FILE="$TEST_TMP/calls.gfxr" \
        GFXRECON_LOG_LEVEL=error GFXRECON_MEMORY_TRACKING_MODE=unassisted "$@"
    gfxrecon-convert --output "$TEST_TMP/calls.jsonl" "$TEST_TMP"/calls*.gfxr >/dev/null 2>&1
    logged=$("$PYTHON" "$TEST_SOURCE/tests/layer/call_log.py" "$TEST_TMP/calls.jsonl")
    counted=$(totals | sed -e 's/^device=[0-9]* //' -e 's/ buffers=.*\( frames=[0-9]*\).*/\1/')
    if [ -n "$logged" ] && [ "$logged" = "$counted" ] && [ "$status" -eq "${wanted_status:-0}" ]; then
        echo "ok $name"
        echo "    $counted"
    else
        echo "FAIL $name"
        printf 'exit status %s\nlogged  %s\ncounted %s\n' "$status" "$logged" "$counted"
    fi
}
compare vkcube vkcube --c 300
expect "allocations and peak of vkcube" "$(total allocations) $(total peak_bytes)" "5 777792"
if command -v glmark2 >/dev/null; then
    compare glmark2_zink MESA_LOADER_DRIVER_OVERRIDE=zink GALLIUM_DRIVER=zink LIBGL_ALWAYS_SOFTWARE=1 LIBGL_KOPPER_DRI2=1 \
        glmark2 --size 320x240 -b build:nframes=60 -b texture:nframes=60:texture-filter=mipmap -b shading:nframes=30
else
    echo "skip glmark2_zink: package glmark2-x11"
fi
if [ -x /usr/lib/qt6/bin/qml ] && [ -e "$TEST_SOURCE/tests/integration/data/qml/scene.qml" ]; then
    compare qt_quick QSG_RHI_BACKEND=vulkan QT_QPA_PLATFORM=xcb QT_VK_PHYSICAL_DEVICE_INDEX=0 \
        /usr/lib/qt6/bin/qml "$TEST_SOURCE/tests/integration/data/qml/scene.qml"
else
    echo "skip qt_quick: package qml-qt6"
fi
verdict
