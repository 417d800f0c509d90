#!/bin/bash
# What the two libraries export is what their version scripts list, and they need nothing but libc.
set -u
build=$MEMTRACK_BUILD problems=0
problem() { problems=1; echo "$*"; }
listed() { # the global names of a version script
    sed -e 's|/\*.*\*/||g' -e 's/#.*//' "$1" | tr '{};' '\n\n\n' |
        awk '/global:/ { on = 1; sub(/.*global:/, "") } /local:/ { on = 0 } on { gsub(/[ \t"]/, ""); if ($0 != "") print }' | sort -u
}
exported() { nm -D --defined-only "$1" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort -u; }
check() { # check LIBRARY VERSION_SCRIPT
    local difference
    difference=$(diff <(listed "$2") <(exported "$1"))
    [ -z "$difference" ] || problem "$(basename "$1") exports (>) other names than its version script lists (<):
$difference"
    local needed
    needed=$(readelf -d "$1" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' | grep -vE '^(libc\.so\.6|ld-linux-.*)$')
    [ -z "$needed" ] || problem "$(basename "$1") needs $needed"
    readelf -d "$1" | grep -q NODELETE || problem "$(basename "$1") may be unloaded"
    readelf -d "$1" | grep -q TEXTREL && problem "$(basename "$1") has text relocations"
    readelf -lW "$1" | grep -q 'GNU_STACK.*RWE' && problem "$(basename "$1") asks for an executable stack"
    # Neither stdio nor the program's end are memtrack's to use; malloc_info() has to write to a FILE.
    local taboo
    taboo=$(nm -D --undefined-only "$1" | awk '{ sub(/@.*/, "", $2); print $2 }' |
        grep -xE '(f|v|vf|s|vs)?printf|puts|fopen|fwrite|abort|exit|__assert_fail|perror' | tr '\n' ' ')
    [ -z "$taboo" ] || problem "$(basename "$1") calls $taboo"
}
check "$build/libmemtrack.so" interpose/libmemtrack.map
check "$build/libVkLayer_memtrack.so" vklayer/libVkLayer_memtrack.map
# Thread-local storage of the preloaded library comes out of the loader's small static reserve.
tls=$(readelf -lW "$build/libmemtrack.so" | awk '$1 == "TLS" { print $6 }')
[ "$((${tls:-0}))" -le 256 ] || problem "libmemtrack.so has $((tls)) bytes of static thread-local storage"
exit $problems
