#!/bin/bash
# timeout: 120
# Programs built with a sanitizer, whose runtime must come before any preloaded library: they run as without
# memtrack, untracked and told so in one line, from a shell that is tracked as well as alone.
. "$(dirname "$0")/lib/common.sh"
cd "$TEST_TMP" || exit 1
cat >program.c <<'C'
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
static void *work(void *argument)
{
    for (int i = 0; i < 20000; i++) free(malloc((size_t)(i % 1000 + 1)));
    return argument;
}
int main(int argc, char **argv)
{
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, work, NULL);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    const char *preload = getenv("LD_PRELOAD");
    printf("%d %s %s\n", argc, argv[argc - 1], preload && *preload ? preload : "alone");
    return 9;
}
C
built=0
for compiler in gcc clang; do
    for sanitizer in address thread leak memory; do
        name=$compiler-$sanitizer
        "$compiler" -g "-fsanitize=$sanitizer" program.c -o "$name" -pthread 2>/dev/null || continue
        # A runtime may refuse the machine's own address layout.
        [ "$("./$name" 'x y' 2>&1)" = "2 x y alone" ] || continue
        built=$((built + 1))
        expect "$name: its output" "$(MEMTRACK_COLLECTOR=none LD_PRELOAD=$PRELOAD "./$name" 'x y' 2>err)" "2 x y alone"
        expect "$name: one line" "$(grep -c "^memtrack: .*/$name is built with .*Sanitizer" err) $(wc -l <err)" "1 1"
        status=0
        "$MEMTRACK" run --output out -- sh -c "./$name z; exit \$?" >child.out 2>/dev/null || status=$?
        expect "$name: status below a tracked shell" $status 9
        expect "$name: output below a tracked shell" "$(cat child.out)" "2 z alone"
    done
done
[ $built -gt 0 ] || skip "no compiler here links a sanitizer's runtime"
if [ -x gcc-leak ]; then
    expect "memtrack alone is taken out of the list" \
        "$(MEMTRACK_COLLECTOR=none LD_PRELOAD="libm.so.6:$PRELOAD:libdl.so.2" ./gcc-leak a 2>/dev/null)" \
        "2 a libm.so.6:libdl.so.2"
fi
if gcc -g -fsanitize=undefined program.c -o undefined -pthread 2>/dev/null; then
    expect "a runtime that replaces nothing is tracked" \
        "$(MEMTRACK_COLLECTOR=none LD_PRELOAD=$PRELOAD ./undefined b 2>/dev/null)" "2 b $PRELOAD"
fi
verdict
