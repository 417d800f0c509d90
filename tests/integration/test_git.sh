#!/bin/bash
# git: short-lived processes, mmap'ed packs, fork and exec of its own helpers.
. "$(dirname "$0")/lib/common.sh"
need git
git init -q "$TEST_TMP/repo" && cd "$TEST_TMP/repo" || skip "git init fails"
git config user.name nobody && git config user.email nobody@example.org
for n in $(seq 60); do seq "$n" $((n * 9)) >"file$n"; done
git add . && GIT_AUTHOR_DATE='2020-01-01T00:00:00Z' GIT_COMMITTER_DATE='2020-01-01T00:00:00Z' git commit -qm one
seq 5000 >file7
same_as_plain git status --short
same_as_plain git log --stat --format=%H
same_as_plain git diff
same_as_plain git gc -q
same_as_plain git fsck --no-progress
check_report git 'process.exit.code == 0' 'cpu.allocation_count > 100'
verdict
