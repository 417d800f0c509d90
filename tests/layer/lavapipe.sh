#!/bin/bash
# timeout: 300
# The layer through the real loader on the software driver: a client that compares its own segment step by step.
. "$(dirname "$0")/common.sh"
try() { # try NAME LAYERS [NAME=VALUE...] -- ARGUMENTS...: the client in this environment
    local name=$1 layers=$2 environment=()
    shift 2
    while [ "$1" != -- ]; do environment+=("$1"); shift; done
    shift
    session client
    with_layers "$layers" "${environment[@]}" "$PROGRAMS/lavapipe_client" "$MEMTRACK_SESSION" "$@"
    if [ "$status" -eq 0 ] && grep -q ' 0 failures' "$TEST_TMP/out"; then echo "ok $name"
    else
        echo "FAIL $name"
        cat "$TEST_TMP/out" "$TEST_TMP/err"
    fi
}
implicit=(XDG_DATA_DIRS="$BUILD_DIR/manifests:/usr/local/share:/usr/share" MEMTRACK_VULKAN=1)
try explicit $MEMTRACK_LAYER -- once
try implicit "" "${implicit[@]}" -- once
try implicit_and_explicit $MEMTRACK_LAYER "${implicit[@]}" -- once
# A second copy under another name: the loader cannot know that it is the same layer.
sed "s/$MEMTRACK_LAYER/VK_LAYER_MEMTRACK_second/" "$EXPLICIT"/VkLayer_memtrack.json >"$TEST_TMP/layers/second.json"
try twice_under_two_names "$MEMTRACK_LAYER:VK_LAYER_MEMTRACK_second" -- once
mkdir -p "$TEST_TMP/copy"
cp "$BUILD_DIR/libVkLayer_memtrack.so" "$TEST_TMP/copy/"
sed "s|\"library_path\".*|\"library_path\": \"$TEST_TMP/copy/libVkLayer_memtrack.so\",|" "$TEST_TMP/layers/second.json" >"$TEST_TMP/layers/copy.json"
rm "$TEST_TMP/layers/second.json"
try twice_from_two_files "$MEMTRACK_LAYER:VK_LAYER_MEMTRACK_second" -- once
rm "$TEST_TMP/layers/copy.json"
[ -e "$PRELOAD" ] && try with_the_preloaded_library $MEMTRACK_LAYER LD_PRELOAD="$PRELOAD" -- once
try without_unloading $MEMTRACK_LAYER VK_LOADER_DISABLE_DYNAMIC_LIBRARY_UNLOADING=1 -- cycles 20
try a_thousand_cycles $MEMTRACK_LAYER -- cycles 1000
try forks $MEMTRACK_LAYER -- forks 20
[ -e "$PRELOAD" ] && try forks_with_the_preloaded_library $MEMTRACK_LAYER LD_PRELOAD="$PRELOAD" -- forks 20
[ -e "$SYSTEM_EXPLICIT/VkLayer_khronos_validation.json" ] &&
    try above_validation "$MEMTRACK_LAYER:VK_LAYER_KHRONOS_validation" -- once
exit 0
