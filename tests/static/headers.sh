#!/bin/bash
# Each header compiles alone, with gcc and with clang.
set -u
problems=0
for compiler in gcc clang; do
    command -v $compiler >/dev/null || continue
    while read -r header; do
        $compiler -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -Wno-unused-function -fsyntax-only -Icollector/core -Icollector -I. \
            -x c - <<<"#include \"$header\"" || { echo "$compiler: $header does not compile alone"; problems=1; }
    done < <(find collector interpose vklayer -name '*.h' ! -name 'tlsf_*')
done
# The installed one: each standard that it is meant for, without a warning; two files that include it link.
source=$(mktemp -d)
trap 'rm -rf "$source"' EXIT
strict="-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wundef -Wredundant-decls -Werror -Iinclude"
use='int use(void); int use(void) { struct memtrack_statistics s; MEMTRACK_TAG("a"); memtrack_mark_frame(); return memtrack_query_all(&s); }'
printf '#include <memtrack.h>\n%s\n' "$use" >"$source/use.c"
printf '#include <memtrack.h>\n#include <memtrack.h>\nint use(void);\nint main(void) { return memtrack_is_tracking() + use(); }\n' >"$source/main.c"
cp "$source/use.c" "$source/use.cpp" && cp "$source/main.c" "$source/main.cpp"
try() { # try COMPILER STANDARD EXTENSION [FLAGS...]
    local compiler=$1 standard=$2 extension=$3
    command -v "$compiler" >/dev/null || return 0
    # shellcheck disable=SC2086
    "$compiler" -std="$standard" $strict "${@:4}" "$source/use.$extension" "$source/main.$extension" -o "$source/main" &&
        "$source/main" || { echo "memtrack.h with $compiler -std=$standard ${*:4}"; problems=1; }
}
for standard in c99 c11 gnu17; do
    try gcc $standard c -O2
    try clang $standard c
done
for standard in c++11 c++17 c++20; do
    try g++ $standard cpp -Wold-style-cast -Wzero-as-null-pointer-constant
    try clang++ $standard cpp -O2 -Wold-style-cast -Wzero-as-null-pointer-constant
done
try gcc c11 c -O2 -flto
try gcc c11 c -no-pie -fno-pic
try gcc c11 c -O2 -ffunction-sections -fdata-sections -Wl,--gc-sections
try gcc c11 c -DMEMTRACK_NO_API
try g++ c++11 cpp -DMEMTRACK_NO_API
# What the layer reads is there, once the linker has left out what nobody needs.
gcc -O2 -Iinclude -ffunction-sections -Wl,--gc-sections "$source/use.c" "$source/main.c" -o "$source/main" &&
    readelf -nW "$source/main" | grep -q '^ *memtrack ' || { echo "a program that includes memtrack.h has no note"; problems=1; }
exit $problems
