#!/bin/bash
# timeout: 300
# A staged install runs from where it is, and uninstall leaves nothing.
. "$(dirname "$0")/lib/common.sh"
need make
root=$TEST_TMP/root
build=$(realpath --relative-to="$TEST_SOURCE" "$BUILD_DIR")
make -s -C "$TEST_SOURCE" BUILD="$build" DESTDIR="$root" PREFIX=/opt/memtrack install >"$TEST_TMP/log" 2>&1 ||
    { cat "$TEST_TMP/log"; problem "make install fails"; }
cd "$TEST_TMP" || exit 1
prefix=$root/opt/memtrack
for file in bin/memtrack lib/libmemtrack.so lib/libVkLayer_memtrack.so share/man/man1/memtrack.1 \
    share/vulkan/implicit_layer.d/VkLayer_memtrack.json share/vulkan/explicit_layer.d/VkLayer_memtrack.json \
    share/bash-completion/completions/memtrack include/memtrack.h lib/pkgconfig/memtrack.pc share/man/man3/memtrack.h.3 \
    share/man/man3/memtrack_push_tag.3; do
    [ -s "$prefix/$file" ] || problem "$file is not installed"
done
library=$("$PYTHON" -c 'import json, sys; print(json.load(open(sys.argv[1]))["layer"]["library_path"])' \
    "$prefix/share/vulkan/implicit_layer.d/VkLayer_memtrack.json")
expect "the manifest's library path" "$library" /opt/memtrack/lib/libVkLayer_memtrack.so
flags=$(PKG_CONFIG_PATH=$prefix/lib/pkgconfig pkg-config --define-variable=includedir="$prefix/include" --cflags memtrack) || problem "memtrack.pc"
# shellcheck disable=SC2086
printf '#include <memtrack.h>\nint main(void) { MEMTRACK_TAG("all"); return memtrack_is_tracking(); }\n' |
    cc -x c $flags -o "$TEST_TMP/api" - || problem "memtrack.h as installed"
expect "pkg-config's include folder" "$(PKG_CONFIG_PATH=$prefix/lib/pkgconfig pkg-config --cflags memtrack | xargs)" "-I/opt/memtrack/include"
grep -rlF "$BUILD_DIR" "$prefix/share" "$prefix/lib/pkgconfig" && problem "paths of the build folder in installed files"

# As a package would be: at its place. The library path is absolute, so the tree has to be there.
if [ "$(id -u)" -eq 0 ] && [ ! -e /opt/memtrack ] && mkdir -p /opt && mv "$prefix" /opt/memtrack; then
    at_end+=("rm -rf /opt/memtrack")
    MEMTRACK=/opt/memtrack/bin/memtrack
    tracked sort /etc/passwd
    expect "exit status" "$tracked_status" 0
    check_report sort 'cpu.allocation_count > 0'
    if command -v vkcube >/dev/null && command -v Xvfb >/dev/null; then
        start_x 640x480
        tracked vkcube --c 20
        check_report vkcube 'len(vulkan.devices) == 1' 'frames.count == 20' 'cpu.allocation_count > 1000'
    fi
    # Plain preload finds its collector from the library's place.
    rm -f "$OUT"/*
    MEMTRACK_OUTPUT=$OUT LD_PRELOAD=/opt/memtrack/lib/libmemtrack.so seq 3 >/dev/null
    final() { [ "$(value_of seq 'process.exit.state')" = exited ]; }
    wait_for 15 final || problem "the installed library finds no collector"
    mkdir -p "$prefix" && rmdir "$prefix" && mv /opt/memtrack "$prefix"
fi
make -s -C "$TEST_SOURCE" BUILD="$build" DESTDIR="$root" PREFIX=/opt/memtrack uninstall >"$TEST_TMP/log" 2>&1 || problem "make uninstall fails"
left=$(find "$root" -type f -o -type l)
[ -z "$left" ] || problem "uninstall leaves: $left"
verdict
