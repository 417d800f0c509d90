# Sourced by the integration tests. Gives each a private home and reports folder, an X server where
# asked for, and functions that run a program plain and tracked and compare the two.
# shellcheck shell=bash
set -u

: "${TEST_SOURCE:=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)}"
: "${MEMTRACK_BUILD:=$TEST_SOURCE/build}"
: "${TEST_TMP:=$(mktemp -d)}"
: "${PYTHON:=python3}"
BUILD_DIR=$MEMTRACK_BUILD
unset MEMTRACK_BUILD # the program under test would complain of an unknown option
LIB=$TEST_SOURCE/tests/integration/lib
MEMTRACK=$BUILD_DIR/memtrack
PRELOAD=$BUILD_DIR/libmemtrack.so
OUT=$TEST_TMP/reports
export PATH=$PATH:/usr/games:/usr/lib/qt6/bin
export HOME=$TEST_TMP/home XDG_RUNTIME_DIR=$TEST_TMP/xdg TMPDIR=$TEST_TMP/tmp
export SDL_AUDIODRIVER=dummy ALSOFT_DRIVERS=null PYTHONDONTWRITEBYTECODE=1
mkdir -p "$OUT" "$HOME" "$XDG_RUNTIME_DIR" "$TMPDIR"
chmod 700 "$XDG_RUNTIME_DIR"
cd "$TEST_TMP" || exit 1

# TEST_OPTIONS="NAME=value ..." runs the same tests with other options of memtrack.
# shellcheck disable=SC2086,SC2163
for option in ${TEST_OPTIONS-}; do export "$option"; done

problems=0
at_end=()
finish() {
    local command
    for command in "${at_end[@]}"; do eval "$command"; done
}
trap finish EXIT

skip() { echo "skip: $*"; exit 77; }
problem() { problems=$((problems + 1)); echo "problem: $*"; }
# The last line of every test.
verdict() { if [ "$problems" -eq 0 ]; then exit 0; else exit 1; fi; }

# need COMMAND [PACKAGE]: skips the test where a program is missing.
need() {
    [ -e "$1" ] || command -v "$1" >/dev/null || skip "$1 is missing (package ${2:-$1}; scripts/install-deps test)"
}

expect() { # expect WHAT ACTUAL WANTED
    [ "$2" = "$3" ] || problem "$1: got '$2', wanted '$3'"
}

# plain CMD...: runs it without memtrack. Leaves plain.out, plain.err and sets plain_status.
plain() {
    plain_status=0
    "$@" >"$TEST_TMP/plain.out" 2>"$TEST_TMP/plain.err" </dev/null || plain_status=$?
}

# tracked [run options --] is not needed: RUN_OPTIONS holds them. Leaves tracked.out, tracked.err,
# reports in $OUT, and sets tracked_status.
RUN_OPTIONS=()
tracked() {
    tracked_status=0
    "$MEMTRACK" run --output "$OUT" "${RUN_OPTIONS[@]}" -- "$@" \
        >"$TEST_TMP/tracked.out" 2>"$TEST_TMP/tracked.err" </dev/null || tracked_status=$?
}

# stderr of a tracked run without memtrack's own lines.
others_lines() { grep -v '^memtrack: ' "$1" || true; }

# same_as_plain CMD...: both runs, and the three things that must be equal.
same_as_plain() {
    plain "$@"
    tracked "$@"
    expect "exit status of $1" "$tracked_status" "$plain_status"
    cmp -s "$TEST_TMP/plain.out" "$TEST_TMP/tracked.out" || {
        problem "stdout of $1 differs"
        diff "$TEST_TMP/plain.out" "$TEST_TMP/tracked.out" | head -n 5
    }
    if [ -z "${IGNORE_STDERR-}" ]; then
        diff <(others_lines "$TEST_TMP/plain.err") <(others_lines "$TEST_TMP/tracked.err") | head -n 5 | grep . &&
            problem "stderr of $1 differs"
    fi
    return 0
}

# report_of EXECUTABLE [INDEX]: the path of its report (a glob would also meet its timeline), those of forks after
# those of programs that were started.
report_of() {
    local found
    found=$(find "$OUT" -maxdepth 1 -name "memtrack.$1.*.json" | sort | while read -r file; do
        echo "$(grep -cm 1 '"is_fork": *true' "$file") $file"
    done | sort -s -n -k 1,1 | cut -d ' ' -f 2- | sed -n "${2:-1}p")
    [ -n "$found" ] || { echo "no report of $1 in $OUT: $(ls "$OUT")" >&2; return 1; }
    printf '%s\n' "$found"
}

# check_report EXECUTABLE|PATH EXPRESSION...: the report is valid, adds up, and each expression holds.
check_report() {
    local file=$1
    [[ $file == */* ]] || file=$(report_of "$1") || { problem "no report of $1"; return 0; }
    shift
    "$PYTHON" "$LIB/report.py" "$file" "$@" || problem "report $(basename "$file")"
}

# value_of EXECUTABLE|PATH EXPRESSION: prints it.
value_of() {
    local file=$1
    [[ $file == */* ]] || file=$(report_of "$1") || { echo "no report"; return 0; }
    "$PYTHON" "$LIB/report.py" --print "$file" "$2"
}

# No segment and no session of memtrack run may stay behind.
no_leftovers() {
    local left
    left=$(find "/dev/shm/memtrack-$(id -u)" "$XDG_RUNTIME_DIR" -name '*.seg' -newer "$TEST_TMP/home" 2>/dev/null |
        while read -r segment; do
            # Other tests run at the same time: only segments whose head names our folder count.
            head -c 65536 "$segment" | grep -aqF "$TEST_TMP" && echo "$segment"
        done)
    [ -z "$left" ] || problem "segments left behind: $left"
}

# wait_for SECONDS COMMAND...: until it succeeds.
wait_for() {
    local tries=$(($1 * 20))
    shift
    while ! "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || return 1
        sleep 0.05
    done
}

# Software Vulkan, unless the tests are to run on the machine's own driver.
export MESA_SHADER_CACHE_DISABLE=true
if [ -z "${TEST_GPU-}" ]; then
    for icd in /usr/share/vulkan/icd.d/lvp_icd.*.json; do export VK_ICD_FILENAMES=$icd; done
fi

# start_x [WxH]: a private X server; sets DISPLAY.
start_x() {
    need Xvfb xvfb
    local file=$TEST_TMP/display
    Xvfb -displayfd 9 -screen 0 "${1:-640x480}x24" -nolisten tcp -noreset 9>"$file" >/dev/null 2>&1 &
    local server=$!
    at_end+=("kill $server 2>/dev/null && wait $server 2>/dev/null")
    wait_for 20 test -s "$file" || skip "Xvfb does not start"
    DISPLAY=:$(cat "$file")
    export DISPLAY
}

# steady plain|tracked CMD...: runs it again, up to five times, where it ended by an X error. Mesa's zink may
# still present from its own thread when the window is already gone, with and without memtrack.
steady() {
    local what=$1 try
    shift
    for try in 1 2 3 4 5; do
        [ "$what" = plain ] || rm -f "$OUT"/*
        "$what" "$@"
        grep -q 'X Error of failed request' "$TEST_TMP/$what.out" "$TEST_TMP/$what.err" || return 0
        echo "note: an X error in the $what run, try $try"
    done
}

# OpenGL on Vulkan.
use_zink() {
    export MESA_LOADER_DRIVER_OVERRIDE=zink GALLIUM_DRIVER=zink LIBGL_ALWAYS_SOFTWARE=1 LIBGL_KOPPER_DRI2=1
}

# compile NAME < SOURCE: a small C program in TEST_TMP.
compile() {
    need "${CC:=cc}" gcc
    "$CC" -O1 -g -pthread -x c -o "$TEST_TMP/$1" - || { problem "cannot compile $1"; verdict; }
}
