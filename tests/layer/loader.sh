#!/bin/bash
# timeout: 120
# shellcheck disable=SC2154 # problems and status are set by common.sh
# The Vulkan loader loaded and unloaded a hundred times in one process, the layer with it or pinned: one
# segment, every device and allocation counted, nothing left. On the mock driver.
. "$(dirname "$0")/common.sh"
export VK_ICD_FILENAMES=$PROGRAMS/mock_icd/mock_icd.json
seen=0
cycles() { # cycles NAME LAYERS [NAME=VALUE...]
    local name=$1 layers=$2
    shift 2
    session "$name"
    with_layers "$layers" "$@" "$PROGRAMS/loader_cycles" 100
    expect "exit status" "$status" 0
    expect "what it says" "$(cat "$TEST_TMP/out" "$TEST_TMP/err")" "100 cycles, the loader is gone"
    expect "segments" "$(find "$MEMTRACK_SESSION" -name '*.seg' | wc -l)" 1
    expect "devices, allocations, frees" "$(total device) $(total allocations) $(total frees)" "100 100 100"
    expect "current, leaked, unknown" "$(total current_bytes) $(total leaked) $(total unknown)" "0 0 0"
    if [ "$problems" -eq "$seen" ]; then echo "ok $name"; else echo "FAIL $name"; fi
    seen=$problems
}
cycles explicit $MEMTRACK_LAYER
cycles implicit "" XDG_DATA_DIRS="$BUILD_DIR/manifests:/usr/local/share:/usr/share" MEMTRACK_VULKAN=1
[ ! -e "$PRELOAD" ] || cycles with_the_preloaded_library $MEMTRACK_LAYER LD_PRELOAD="$PRELOAD"
cycles with_pools $MEMTRACK_LAYER MEMTRACK_VULKAN_POOL=verify
verdict
