#!/bin/bash
# timeout: 400
# gcc and clang build everything without a warning.
set -u
problems=0
for compiler in gcc clang; do
    command -v $compiler >/dev/null || { echo "skip $compiler: not installed"; continue; }
    if log=$(make --no-print-directory CC=$compiler BUILD="${MEMTRACK_BUILD##*/}-$compiler" CFLAGS=-Werror all 2>&1); then
        echo "ok $compiler"
    else
        printf '%s\n' "$log" | grep -vE '^  (CC|LINK|AS|GEN) ' | tail -n 40
        echo "FAIL $compiler"
        problems=1
    fi
done
exit $problems
