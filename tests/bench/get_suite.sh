#!/bin/bash
# Fetches and builds the programs of the public malloc suite, daanx/mimalloc-bench, outside of this tree, and
# prints the folder. Does nothing where they are there.
#   tests/bench/get_suite.sh [FOLDER]     (default: the user's cache folder)
# SUITE_REPOSITORY and SUITE_COMMIT say which; git, cmake, a C and a C++ compiler are needed.
set -u
folder=${1:-${XDG_CACHE_HOME:-${HOME-}/.cache}/memtrack/mimalloc-bench}
repository=${SUITE_REPOSITORY:-https://github.com/daanx/mimalloc-bench}
commit=${SUITE_COMMIT:-ce5784f1cef3d48ddc931479e4899ffad5ab3943}
programs=(alloc-test barnes cache-scratch cache-thrash cfrac espresso glibc-simple glibc-thread larson larson-sized
    malloc-large mleak mstress rptest xmalloc-test)

fail() { echo "get_suite: $*" >&2; exit 1; }
[ -e "$folder/build/is-whole" ] && { echo "$folder"; exit 0; }
for tool in git cmake cc c++; do
    command -v "$tool" >/dev/null || fail "$tool is missing (Debian packages git, cmake, g++)"
done
mkdir -p "$folder" || fail "cannot make $folder"
{
    # One commit of a known id, so that two machines run the same programs.
    [ -d "$folder/.git" ] || git init "$folder" || fail "cannot make a repository in $folder"
    git -C "$folder" cat-file -e "$commit" 2>/dev/null || git -C "$folder" fetch --depth 1 "$repository" "$commit" ||
        fail "cannot fetch $repository; without a network, give the folder of a built suite: make bench-suite SUITE=FOLDER"
    git -C "$folder" checkout --force "$commit" || fail "cannot check $commit out"
    # Two benchmarks are not in the repository; cmake only asks whether their files are there.
    touch "$folder/bench/shbench/sh6bench-new.c" "$folder/bench/shbench/sh8bench-new.c"
    cmake -S "$folder/bench" -B "$folder/build" -DCMAKE_BUILD_TYPE=Release &&
        cmake --build "$folder/build" --parallel 2 --target "${programs[@]}" ||
        fail "cannot build the suite in $folder"
    touch "$folder/build/is-whole"
} >&2
echo "$folder"
