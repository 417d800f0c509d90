#!/bin/bash
# timeout: 300
# The layer among others: validation below it must say nothing new, overlays and capture layers above
# and below it must go on working.
. "$(dirname "$0")/common.sh"
need vkcube vulkan-tools
start_x 640x480
use_zink_for() { [ "$1" != glmark2 ] || echo MESA_LOADER_DRIVER_OVERRIDE=zink GALLIUM_DRIVER=zink LIBGL_ALWAYS_SOFTWARE=1 LIBGL_KOPPER_DRI2=1; }
cube=(vkcube --c 300)
mark=(glmark2 --size 320x240 -b build:nframes=60:use-vbo=false -b texture:nframes=60:texture-filter=mipmap -b shading:nframes=30)
result() { # result NAME: the line for what was found since the last one
    if [ "$problems" -eq "$seen" ]; then echo "ok $1"; else echo "FAIL $1"; fi
    seen=$problems
}
seen=0

messages() { # messages LAYERS COMMAND...: leaves in `found` what validation says, as counted kinds of message
    local layers=$1
    shift
    cat >"$TEST_TMP/vk_layer_settings.txt" <<SETTINGS
khronos_validation.debug_action = VK_DBG_LAYER_ACTION_LOG_MSG
khronos_validation.report_flags = error,warn,perf
khronos_validation.log_filename = $TEST_TMP/messages
khronos_validation.enables = VK_VALIDATION_FEATURE_ENABLE_BEST_PRACTICES_EXT
khronos_validation.enable_message_limit = false
SETTINGS
    forget() {
        rm -f "$MEMTRACK_SESSION"/*.seg
        : >"$TEST_TMP/messages"
    }
    # shellcheck disable=SC2046
    with_layers "$layers" VK_LAYER_SETTINGS_PATH="$TEST_TMP/vk_layer_settings.txt" $(use_zink_for "$1") "$@"
    found=$(grep -oE '^[A-Za-z]+[-A-Za-z0-9_]+\([A-Z/ ]+\)' "$TEST_TMP/messages" | sort | uniq -c)
}

compare_messages() { # compare_messages NAME COMMAND...
    local name=$1 without
    shift
    session "$name"
    messages VK_LAYER_KHRONOS_validation "$@"
    without=$found
    expect "exit status of $1 with validation" "$status" 0
    messages "$MEMTRACK_LAYER:VK_LAYER_KHRONOS_validation" "$@"
    expect "exit status of $1 with both" "$status" 0
    expect "messages for $1" "$found" "$without"
    [ -n "$found" ] || problem "validation says nothing at all: its log is not read"
    expect "handles of $1 not known" "$(total unknown)" 0
    result "validation_below_$name"
}
if [ -e "$SYSTEM_EXPLICIT/VkLayer_khronos_validation.json" ]; then
    compare_messages vkcube "${cube[@]}"
    command -v glmark2 >/dev/null && compare_messages glmark2 "${mark[@]}"
else
    echo "skip validation: package vulkan-validationlayers"
fi

# One program under the layer and another one, above and below.
stack() { # stack NAME LAYERS [NAME=VALUE...]
    local name=$1 layers=$2
    shift 2
    session "$name"
    with_layers "$layers" "$@" timeout 30 "${cube[@]}"
    expect "exit status" "$status" 0
    expect "frames" "$(total frames)" 300
    expect "handles not known" "$(total unknown)" 0
    [ "$(total allocations)" -ge 5 ] || problem "only $(total allocations) allocations"
    [ "$problems" -eq "$seen" ] || cat "$TEST_TMP/out" "$TEST_TMP/err"
    result "$name"
}

# Implicit layers lie above explicit ones, and among them the one that is found first lies above.
implicit=(XDG_DATA_DIRS="$BUILD_DIR/manifests:/usr/local/share:/usr/share" MEMTRACK_VULKAN=1)
other() { # other NAME MANIFEST [NAME=VALUE that switches it on]
    local name=$1 manifest=$2
    shift 2
    if [ ! -e "/usr/share/vulkan/implicit_layer.d/$manifest" ]; then
        echo "skip $name: no $manifest"
        return
    fi
    stack "${name}_above" $MEMTRACK_LAYER "$@"
    stack "${name}_below" "" "${implicit[@]}" "$@"
}
other mangohud MangoHud.json MANGOHUD=1
other vkbasalt vkBasalt.json ENABLE_VKBASALT=1
other renderdoc renderdoc_capture.json ENABLE_VULKAN_RENDERDOC_CAPTURE=1
other device_select VkLayer_MESA_device_select.json
[ -e "$SYSTEM_EXPLICIT/VkLayer_MESA_overlay.json" ] && {
    stack mesa_overlay_above "VK_LAYER_MESA_overlay:$MEMTRACK_LAYER"
    stack mesa_overlay_below "$MEMTRACK_LAYER:VK_LAYER_MESA_overlay"
}
stack all_at_once "$MEMTRACK_LAYER:VK_LAYER_KHRONOS_validation" MANGOHUD=1 ENABLE_VKBASALT=1
exit $((problems != 0))
