#!/bin/bash
# An in-memory database: the same answers, and the same counts every time.
. "$(dirname "$0")/lib/common.sh"
need sqlite3
same_as_plain sqlite3 :memory: ".read $TEST_SOURCE/tests/integration/data/shop.sql"
grep -q . "$TEST_TMP/plain.out" || problem "sqlite3 printed nothing"
check_report sqlite3 'process.exit.code == 0' 'cpu.allocation_count > 20000' 'cpu.realloc_count > 0' \
    'cpu.peak_bytes > 1 << 20' 'cpu.peak_error_bytes == 0' 'len(cpu.size_classes) > 10'
counts='(cpu.allocation_count, cpu.free_count, cpu.realloc_count, cpu.total_bytes, cpu.peak_bytes)'
first=$(value_of sqlite3 "$counts")
rm -f "$OUT"/*
tracked sqlite3 :memory: ".read $TEST_SOURCE/tests/integration/data/shop.sql"
expect "counts of the second run" "$(value_of sqlite3 "$counts")" "$first"
verdict
