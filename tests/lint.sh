#!/bin/bash
# make lint: cppcheck, clang-tidy and shellcheck over the whole tree. Takes the build folder; prints only what is found.
set -u
cd "$(dirname "$0")/.." || exit 1
status=0
export TEST_SOURCE=$PWD
flags=(-std=c11 -D_GNU_SOURCE '-DMT_VERSION="0"' -Icollector/core -Icollector -I.)
tests/static/scripts.sh || status=1
if command -v cppcheck >/dev/null; then
    cppcheck --quiet --std=c11 --enable=warning,portability --inline-suppr --error-exitcode=1 -D_GNU_SOURCE -D__x86_64__ \
        '-DMT_VERSION="0"' -Icollector/core -Icollector -I. --suppress=missingIncludeSystem \
        --suppress=unknownMacro collector interpose vklayer || status=1
else
    echo "lint: cppcheck is missing"
fi
if command -v clang-tidy >/dev/null; then
    # shellcheck disable=SC2046
    clang-tidy --quiet --checks='-*,bugprone-*,clang-analyzer-*,-bugprone-easily-swappable-parameters,-bugprone-reserved-identifier,-bugprone-assignment-in-if-condition,-clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling,-bugprone-narrowing-conversions,-bugprone-suspicious-string-compare,-bugprone-sizeof-expression,-bugprone-implicit-widening-of-multiplication-result' \
        --warnings-as-errors='*' $(find collector interpose vklayer -name '*.c') -- "${flags[@]}" $(pkg-config --cflags jansson libdw 2>/dev/null) 2>/dev/null || status=1
else
    echo "lint: clang-tidy is missing"
fi
exit $status
