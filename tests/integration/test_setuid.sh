#!/bin/bash
# A set-user-id program that is linked with the library (the dynamic linker keeps preloads out of it): nothing of the
# caller's environment may be believed, nothing written, the program runs as ever.
. "$(dirname "$0")/lib/common.sh"
[ "$(id -u)" -eq 0 ] || skip "only root can make a set-user-id program of another user's"
need setpriv util-linux
need "${CC:=cc}" gcc
mkdir "$TEST_TMP/trusted" "$TEST_TMP/session"
cp "$PRELOAD" "$TEST_TMP/trusted/"
"$CC" -o "$TEST_TMP/linked" -x c - -x none -Wl,--no-as-needed "$TEST_TMP/trusted/libmemtrack.so" \
    -Wl,-rpath,"$TEST_TMP/trusted" <<'SOURCE' || problem "cannot compile"
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <unistd.h>
int main(void)
{
    char *text = malloc(100);
    snprintf(text, 100, "secure %lu real %u effective %u", getauxval(AT_SECURE), getuid(), geteuid());
    text = realloc(text, 100000);
    puts(text);
    free(text);
    return 3;
}
SOURCE
chmod 711 "$TEST_TMP"
chmod 755 "$TEST_TMP/trusted" "$TEST_TMP/trusted/libmemtrack.so"
chmod 777 "$TEST_TMP/session" "$OUT"
chmod 4755 "$TEST_TMP/linked"
as_nobody() { setpriv --reuid 65534 --regid 65534 --clear-groups env MEMTRACK_SESSION="$TEST_TMP/session" MEMTRACK_OUTPUT="$OUT" "$@"; }

status=0
output=$(as_nobody "$TEST_TMP/linked" 2>"$TEST_TMP/err") || status=$?
[[ $output != "secure 0"* ]] || skip "set-user-id has no effect in $TEST_TMP"
expect "the program" "$status $output" "3 secure 1 real 65534 effective 0"
expect "lines on stderr" "$(cat "$TEST_TMP/err")" ""
expect "files written" "$(find "$TEST_TMP/session" "$OUT" -type f | wc -l)" 0

# The same file without the bit is tracked: the test above would see it.
chmod 755 "$TEST_TMP/linked"
output=$(as_nobody MEMTRACK_COLLECTOR=none "$TEST_TMP/linked" 2>"$TEST_TMP/err") || status=$?
expect "the program without the bit" "$status $output" "3 secure 0 real 65534 effective 65534"
expect "segments" "$(find "$TEST_TMP/session" -name '*.seg' | wc -l)" 1
verdict
