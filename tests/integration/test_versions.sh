#!/bin/bash
# A library of one build and a layer, command or segment of another: said once, and the program runs.
. "$(dirname "$0")/lib/common.sh"
need vkcube vulkan-tools
mkdir -p "$TEST_TMP/other/vulkan/explicit_layer.d"
# Another build of the layer: the version in its text is changed, byte for byte.
"$PYTHON" - "$BUILD_DIR/libVkLayer_memtrack.so" "$TEST_TMP/other/libVkLayer_memtrack.so" "$TEST_SOURCE/Makefile" <<'P' || problem "no version text in the layer"
import re, sys
version = re.search(r"^VERSION := (\S+)", open(sys.argv[3]).read(), re.M).group(1).encode()
data = open(sys.argv[1], "rb").read()
assert version + b"\0" in data or version in data
open(sys.argv[2], "wb").write(data.replace(version, b"9" + version[1:]))
P
sed "s|$BUILD_DIR/libVkLayer_memtrack.so|$TEST_TMP/other/libVkLayer_memtrack.so|" \
    "$BUILD_DIR/manifests/vulkan/explicit_layer.d/VkLayer_memtrack.json" >"$TEST_TMP/other/vulkan/explicit_layer.d/VkLayer_memtrack.json"
start_x 640x480
plain vkcube --c 30
status=0
MEMTRACK_OUTPUT=$OUT LD_PRELOAD=$PRELOAD VK_LAYER_PATH=$TEST_TMP/other/vulkan/explicit_layer.d \
    VK_INSTANCE_LAYERS=VK_LAYER_MEMTRACK_memtrack vkcube --c 30 >"$TEST_TMP/out" 2>"$TEST_TMP/err" || status=$?
expect "exit status" "$status" "$plain_status"
expect "stdout" "$(cat "$TEST_TMP/out")" "$(cat "$TEST_TMP/plain.out")"
expect "lines about the mismatch" "$(grep -c '^memtrack: ' "$TEST_TMP/err")" 1
final() { [ "$(find "$OUT" -name 'memtrack.vkcube.*.json' | wc -l)" -ge 1 ]; }
wait_for 15 final || problem "no report at all"
sleep 1
found=0
for file in "$OUT"/memtrack.vkcube.*.json; do
    [ "$(value_of "$file" 'cpu.allocation_count > 1000 or bool(vulkan.devices)')" = True ] && found=$((found + 1))
done
[ "$found" -ge 1 ] || problem "neither part's report is there"
# A segment of another layout.
mkdir -m 700 "$TEST_TMP/s"
MEMTRACK_SESSION=$TEST_TMP/s MEMTRACK_COLLECTOR=none LD_PRELOAD=$PRELOAD /bin/true
segment=$(find "$TEST_TMP/s" -name '*.seg')
printf '\143' | dd of="$segment" bs=1 seek=8 conv=notrunc 2>/dev/null
status=0
"$MEMTRACK" report "$segment" >/dev/null 2>"$TEST_TMP/err" || status=$?
expect "a segment of another layout" "$status $(wc -l <"$TEST_TMP/err")" "1 1"
grep -qi version "$TEST_TMP/err" || problem "the line does not speak of versions: $(cat "$TEST_TMP/err")"
verdict
