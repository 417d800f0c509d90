#!/bin/bash
# timeout: 400
# Counts and bytes equal valgrind's "total heap usage" exactly, on programs that allocate the same way every time.
#
# Known differences, and how they are kept out: valgrind frees libc's and libstdc++'s own blocks at the end
# (--run-libc-freeres=no --run-cxx-freeres=no), and it counts a realloc of a live block as one allocation and
# one free, as memtrack does. Both runs have the same environment but for LD_PRELOAD, so that what the loader
# and libc allocate while they start is the same.
. "$(dirname "$0")/../integration/lib/common.sh"
need valgrind
compile heap_mix <"$TEST_SOURCE/tests/oracle/heap_mix.c"
usage() { # usage CMD...: allocations, frees and bytes as valgrind counts them
    valgrind --tool=memcheck --leak-check=no --undef-value-errors=no --run-libc-freeres=no --run-cxx-freeres=no \
        --log-file="$TEST_TMP/valgrind" "$@" >/dev/null 2>&1
    sed -n 's/.*total heap usage: \([0-9,]*\) allocs, \([0-9,]*\) frees, \([0-9,]*\) bytes.*/\1 \2 \3/p' "$TEST_TMP/valgrind" | tr -d ,
}
ours() { # ours EXECUTABLE CMD...: the same as memtrack counts them
    local name=$1
    shift
    rm -f "$OUT"/*
    tracked "$@"
    value_of "$name" '"%d %d %d" % (cpu.allocation_count, cpu.free_count, cpu.total_bytes)'
}
compare() { # compare WHAT EXECUTABLE CMD...
    local what=$1 name=$2 theirs mine
    shift 2
    theirs=$(usage "$@")
    mine=$(ours "$name" "$@")
    if [ -n "$theirs" ] && [ "$mine" = "$theirs" ]; then
        echo "ok $what"
    else
        echo "FAIL $what: memtrack '$mine', valgrind '$theirs' (allocations frees bytes)"
    fi
}
compare "malloc and free" heap_mix "$TEST_TMP/heap_mix" 0
compare "calloc" heap_mix "$TEST_TMP/heap_mix" 1
compare "realloc and reallocarray" heap_mix "$TEST_TMP/heap_mix" 2
compare "aligned blocks" heap_mix "$TEST_TMP/heap_mix" 3
compare "strdup" heap_mix "$TEST_TMP/heap_mix" 4
compare "all of them" heap_mix "$TEST_TMP/heap_mix"
command -v lua5.4 >/dev/null && compare "lua" lua5.4 lua5.4 "$TEST_SOURCE/tests/integration/data/tables.lua" 9
command -v sqlite3 >/dev/null && compare "sqlite" sqlite3 sqlite3 :memory: "create table t(a, b); insert into t values(1, 'x'), (2, 'y'); select count(*) from t;"
compare "sort" sort sort /etc/passwd
if command -v g++ >/dev/null; then
    g++ -O1 -o "$TEST_TMP/containers" -x c++ - <<'C'
#include <map>
#include <memory>
#include <string>
#include <vector>
int main()
{
    std::map<int, std::string> names;
    std::vector<std::unique_ptr<int[]>> blocks;
    for (int n = 0; n < 3000; n++) {
        names[n * 7919 % 2003] = std::string(n % 90, 'x');
        blocks.emplace_back(new int[n % 300]);
        if (n % 3 == 0) blocks[n / 2].reset();
    }
    try { throw std::string("thrown"); } catch (const std::string &text) { names[0] = text; }
    struct alignas(64) Line { char bytes[64]; };
    delete new Line;
    return names.size() > 3000;
}
C
    compare "C++ containers" containers "$TEST_TMP/containers"
fi
exit 0
