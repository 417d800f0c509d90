# Sourced by the layer's test scripts: the layer and the programs to use, on the software driver.
# shellcheck shell=bash
# shellcheck source=tests/integration/lib/common.sh
. "${TEST_SOURCE:=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}/tests/integration/lib/common.sh"

PROGRAMS=$BUILD_DIR/tests/layer
EXPLICIT=$BUILD_DIR/manifests/vulkan/explicit_layer.d
SYSTEM_EXPLICIT=/usr/share/vulkan/explicit_layer.d
MEMTRACK_LAYER=VK_LAYER_MEMTRACK_memtrack
export MEMTRACK_COLLECTOR=none # the segments stay, to be read
[ -n "${MEMTRACK_TEST_GPU-}" ] || export VK_ICD_FILENAMES=${VK_ICD_FILENAMES-$(ls /usr/share/vulkan/icd.d/lvp_icd.*.json 2>/dev/null | head -n 1)}
[ -n "${MEMTRACK_TEST_GPU-}" ] || [ -e "$VK_ICD_FILENAMES" ] || skip "no software Vulkan driver (package mesa-vulkan-drivers)"
unset MEMTRACK_TEST_GPU

# session NAME: a new folder for segments, in MEMTRACK_SESSION.
session() {
    MEMTRACK_SESSION=$TEST_TMP/session.$1
    rm -rf "$MEMTRACK_SESSION"
    mkdir -p "$MEMTRACK_SESSION"
    export MEMTRACK_SESSION
}

# totals: the lines of segment_totals for all segments of the session.
totals() { "$PROGRAMS/segment_totals" "$MEMTRACK_SESSION"/*.seg; }
# total WORD: that word's value in the first line.
total() { totals | sed -n "1s/.*\\b$1=\\([0-9]*\\).*/\\1/p"; }

# forget: drops what an earlier try of with_layers left; a script that reads more than the segments adds to it.
forget() { rm -f "$MEMTRACK_SESSION"/*.seg; }

# with_layers "A:B" [NAME=VALUE...] COMMAND...: runs it with explicit layers, the first above. Leaves out and err,
# sets status. Runs it again, as steady does and for its reason, where it ended by an X error.
with_layers() {
    local layers=$1 try
    shift
    for try in 1 2 3 4 5; do
        forget
        status=0
        env VK_LAYER_PATH="$TEST_TMP/layers:$EXPLICIT:$SYSTEM_EXPLICIT" VK_INSTANCE_LAYERS="$layers" "$@" \
            >"$TEST_TMP/out" 2>"$TEST_TMP/err" </dev/null || status=$?
        grep -q 'X Error of failed request' "$TEST_TMP/out" "$TEST_TMP/err" || return 0
        echo "note: an X error, try $try"
    done
}
mkdir -p "$TEST_TMP/layers"
