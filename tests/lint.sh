#!/bin/bash
# make lint: shellcheck, cppcheck and clang-tidy over the whole tree. Prints only what is found.
set -u
cd "$(dirname "$0")/.." || exit 1
status=0
export TEST_SOURCE=$PWD
flags=(-D_GNU_SOURCE '-DMT_VERSION="0"' -Icollector/core -Icollector -Iinterpose/pools -I.)

tests/static/scripts.sh || status=1

if command -v cppcheck >/dev/null; then
    # Suppressed: what cppcheck 2.10 sees in designated initialisers and in pointers that are filled in by address.
    cppcheck --quiet --std=c11 --enable=warning,portability --inline-suppr --error-exitcode=1 -D__x86_64__ "${flags[@]}" \
        --suppress=missingIncludeSystem --suppress=unknownMacro --suppress=uninitvar --suppress=legacyUninitvar \
        --suppress=ctuuninitvar --suppress=arrayIndexOutOfBoundsCond --suppress=nullPointerArithmeticRedundantCheck \
        --suppress=objectIndex collector interpose vklayer || status=1
else
    echo "lint: cppcheck is missing"
fi

# Off: matters of taste, and checks that clang-tidy 14 gets wrong (va_list, seqlock copies, null after a test elsewhere).
off=(bugprone-easily-swappable-parameters bugprone-reserved-identifier bugprone-assignment-in-if-condition
    bugprone-narrowing-conversions bugprone-suspicious-string-compare bugprone-sizeof-expression bugprone-branch-clone
    bugprone-implicit-widening-of-multiplication-result bugprone-macro-parentheses bugprone-integer-division
    bugprone-suspicious-memory-comparison clang-analyzer-optin.performance.Padding clang-analyzer-deadcode.DeadStores
    clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling clang-analyzer-security.insecureAPI.strcpy
    clang-analyzer-security.FloatLoopCounter clang-analyzer-valist.Uninitialized
    clang-analyzer-core.NonNullParamChecker clang-analyzer-core.NullDereference)
if command -v clang-tidy >/dev/null; then
    # shellcheck disable=SC2046
    clang-tidy --quiet --checks="-*,bugprone-*,clang-analyzer-*$(printf ',-%s' "${off[@]}")" --warnings-as-errors='*' \
        $(find collector interpose vklayer -name '*.c') -- -std=c11 "${flags[@]}" \
        $(pkg-config --cflags jansson libdw 2>/dev/null) 2>/dev/null || status=1
else
    echo "lint: clang-tidy is missing"
fi
exit $status
