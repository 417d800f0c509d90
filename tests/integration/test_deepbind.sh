#!/bin/bash
# A library that is opened with RTLD_DEEPBIND finds libc's malloc before memtrack's. With the pools on the flag is taken
# out and everything is counted; with the pools off the report says whose calls pass memtrack by.
. "$(dirname "$0")/lib/common.sh"
compile opener <<'C'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <stdio.h>
int main(int count, char **words)
{
    void *library = count > 1 ? dlopen(words[1], RTLD_NOW | RTLD_DEEPBIND) : NULL;
    if (!library) return 1;
    void *(*make)(size_t) = (void *(*)(size_t))dlsym(library, "plugin_make");
    void (*drop)(void *) = (void (*)(void *))dlsym(library, "plugin_drop");
    for (int i = 0; i < 100; i++) free(make(100000));
    for (int i = 0; i < 10; i++) drop(malloc(100000));
    return puts("done") < 0;
}
C
plugin=$BUILD_DIR/fixtures/libplugin.so
[ -e "$plugin" ] || skip "the fixtures are not built"
for pools in on off; do
    MEMTRACK_POOLS=$pools same_as_plain "$TEST_TMP/opener" "$plugin"
    expect "status with the pools $pools" "$tracked_status" 0
    case $pools in
    on) check_report opener 'cpu.allocation_count >= 110' 'cpu.current_bytes < 100000' 'cpu.net_count >= 0' \
        '[e.kind for e in r.events] == ["dlopen"] and "taken out" in r.events[0].text' ;;
    off) # What the library allocated is missing, so that nothing has to add up but this.
        expect "missing allocations" "$(value_of opener 'cpu.free_count >= 100 and cpu.allocation_count < 100')" True
        expect "events" "$(value_of opener '[e.kind for e in r.events]')" "['dlopen']"
        expect "the library's name" "$(value_of opener '"passes memtrack by" in r.events[0].text and "libplugin" in r.events[0].text')" True ;;
    esac
    rm -f "$OUT"/*
done
verdict
