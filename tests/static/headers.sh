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
exit $problems
