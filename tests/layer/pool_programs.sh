#!/bin/bash
# timeout: 400
# shellcheck disable=SC2154 # problems, status and tracked_status are set by common.sh
# Programs with device-memory pools on: the same pictures as without, nothing new from validation below,
# and no broken rule in verify mode.
# shellcheck source=tests/layer/common.sh
. "$(dirname "$0")/common.sh"
export MEMTRACK_COLLECTOR=auto
seen=0
result() { # result NAME: the line for what was found since the last one
    if [ "$problems" -eq "$seen" ]; then echo "ok $1"; else echo "FAIL $1"; fi
    seen=$problems
}

# pooled MODE COMMAND...: runs it under memtrack with pools. Leaves tracked.out, the report, tracked_status.
pooled() {
    local mode=$1
    shift
    rm -rf "${OUT:?}"/*
    MEMTRACK_VULKAN_POOL=$mode steady tracked "$@"
    expect "exit status of $1 in mode $mode" "$tracked_status" 0
}

# sound MODE EXECUTABLE EXPRESSION...: what every pooled run must show.
sound() {
    local mode=$1 program=$2
    shift 2
    check_report "$program" "all(d.pools.violation_count == 0 and d.pools.stale_handle_count == 0 for d in vulkan.devices)" \
        "any(d.pools.mode == '$mode' for d in vulkan.devices)" 'all(d.pools.verdict for d in vulkan.devices)' "$@"
}

# A headless program whose picture depends on every byte.
wanted=$("$PROGRAMS/pool_render" 40 "$TEST_TMP/plain.ppm") || problem "pool_render fails"
for mode in off arena tlsf verify; do
    pooled $mode "$PROGRAMS/pool_render" 40 "$TEST_TMP/$mode.ppm"
    expect "pictures in mode $mode" "$(cat "$TEST_TMP/tracked.out")" "$wanted"
    cmp -s "$TEST_TMP/plain.ppm" "$TEST_TMP/$mode.ppm" || problem "the last picture in mode $mode"
    [ $mode = off ] || sound $mode pool_render 'sum(r.hit_count for r in dev.pools.rows) > 900' \
        'sum(r.current_count for r in dev.pools.rows) == 0' 'dev.pools.saved_call_count > 1500'
    result "pictures_$mode"
done

# Validation below the pools says nothing that it does not say without them.
messages() { # messages LAYERS MODE COMMAND...: leaves in `found` what validation says, as counted kinds of message
    local layers=$1 mode=$2
    shift 2
    cat >"$TEST_TMP/vk_layer_settings.txt" <<SETTINGS
khronos_validation.debug_action = VK_DBG_LAYER_ACTION_LOG_MSG
khronos_validation.report_flags = error,warn
khronos_validation.log_filename = $TEST_TMP/messages
khronos_validation.enable_message_limit = false
SETTINGS
    : >"$TEST_TMP/messages"
    with_layers "$layers" VK_LAYER_SETTINGS_PATH="$TEST_TMP/vk_layer_settings.txt" MEMTRACK_VULKAN_POOL="$mode" MEMTRACK_COLLECTOR=none "$@"
    expect "exit status of $1 with validation" "$status" 0
    found=$(grep -oE '^[A-Za-z]+[-A-Za-z0-9_]+\([A-Z/ ]+\)' "$TEST_TMP/messages" | sort | uniq -c)
}
no_worse() { # no_worse NAME COMMAND...
    local name=$1 without
    shift
    session "$name"
    messages VK_LAYER_KHRONOS_validation off "$@"
    without=$found
    for mode in arena verify; do
        messages "$MEMTRACK_LAYER:VK_LAYER_KHRONOS_validation" $mode "$@"
        expect "messages for $name in mode $mode" "$found" "$without"
    done
    result "validation_below_$name"
}
if [ -e "$SYSTEM_EXPLICIT/VkLayer_khronos_validation.json" ]; then
    no_worse pool_render "$PROGRAMS/pool_render" 6
else
    echo "skip validation: package vulkan-validationlayers"
fi

if ! command -v Xvfb >/dev/null; then
    echo "skip programs: package xvfb"
    verdict
fi
start_x 640x480
if command -v vkcube >/dev/null; then
    [ ! -e "$SYSTEM_EXPLICIT/VkLayer_khronos_validation.json" ] || no_worse vkcube vkcube --c 60
    for mode in arena verify; do
        pooled $mode vkcube --c 120
        sound $mode vkcube 'frames.count == 120' 'sum(r.hit_count for r in dev.pools.rows) >= 1' 'not dev.leaks' \
            'dev.heaps[0].allocation_count == 5 and dev.heaps[0].peak_bytes == 777792'
        result "vkcube_$mode"
    done
fi
if [ -x /usr/lib/qt6/bin/qml ]; then
    export QSG_RHI_BACKEND=vulkan QT_QPA_PLATFORM=xcb QT_VK_PHYSICAL_DEVICE_INDEX=0
    picture() { /usr/lib/qt6/bin/qml "$TEST_SOURCE/tests/layer/pool_scene.qml" -- "$1"; }
    picture "$TEST_TMP/qml.plain.png" >"$TEST_TMP/qml.out" 2>&1 || problem "qml fails"
    for mode in off arena verify; do
        pooled $mode /usr/lib/qt6/bin/qml "$TEST_SOURCE/tests/layer/pool_scene.qml" -- "$TEST_TMP/qml.$mode.png"
        cmp -s "$TEST_TMP/qml.plain.png" "$TEST_TMP/qml.$mode.png" || problem "the picture of Qt Quick in mode $mode"
        [ $mode = off ] || sound $mode qml 'sum(r.hit_count for r in dev.pools.rows) > 10'
        result "qt_quick_$mode"
    done
    unset QSG_RHI_BACKEND QT_QPA_PLATFORM QT_VK_PHYSICAL_DEVICE_INDEX
fi
if command -v glmark2 >/dev/null; then
    export MESA_LOADER_DRIVER_OVERRIDE=zink GALLIUM_DRIVER=zink LIBGL_ALWAYS_SOFTWARE=1 LIBGL_KOPPER_DRI2=1
    for mode in arena verify; do # --validate compares points of each scene's picture with known ones
        pooled $mode glmark2 --validate --size 320x240 -b build -b texture -b shading -b bump -b effect2d
        grep -q 'Success' "$TEST_TMP/tracked.out" || problem "glmark2 validates nothing"
        if grep -q 'Failure' "$TEST_TMP/tracked.out"; then problem "glmark2: a wrong picture in mode $mode"; fi
        check_report glmark2 "all(d.pools.violation_count == 0 and d.pools.stale_handle_count == 0 for d in vulkan.devices)" \
            'vulkan.devices'
        result "glmark2_$mode"
    done
    unset MESA_LOADER_DRIVER_OVERRIDE GALLIUM_DRIVER LIBGL_ALWAYS_SOFTWARE LIBGL_KOPPER_DRI2
fi
verdict
