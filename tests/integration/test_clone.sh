#!/bin/bash
# timeout: 300
# A first clone builds with `make` and runs, from what is committed alone.
. "$(dirname "$0")/lib/common.sh"
need git
need make
git -C "$TEST_SOURCE" rev-parse --verify -q HEAD >/dev/null || skip "not a git checkout"
git clone -q --no-hardlinks "$TEST_SOURCE" "$TEST_TMP/clone" || problem "git clone fails"
make -s -C "$TEST_TMP/clone" -j2 >"$TEST_TMP/log" 2>&1 || { tail -n 20 "$TEST_TMP/log"; problem "make fails in a clone"; verdict; }
grep -i warning "$TEST_TMP/log" && problem "the build warns"
MEMTRACK=$TEST_TMP/clone/build/memtrack
tracked sort /etc/passwd
check_report sort 'process.exit.code == 0' 'cpu.allocation_count > 0'
expect "files that the build leaves untracked" "$(git -C "$TEST_TMP/clone" status --porcelain | wc -l)" 0
for command in scripts/quickstart scripts/test; do
    head -n 40 "$TEST_TMP/clone/README.md" | grep -q "$command" || problem "README's first screen lacks $command"
done
verdict
