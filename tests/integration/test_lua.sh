#!/bin/bash
# Lua allocates the same way every time: the counts of two runs are equal, and the output is the plain run's.
. "$(dirname "$0")/lib/common.sh"
need lua5.4
same_as_plain lua5.4 "$TEST_SOURCE/tests/integration/data/tables.lua" 11
check_report lua5.4 'process.exit.state == "exited" and process.exit.code == 0' \
    'cpu.allocation_count > 40000' 'cpu.realloc_count > 50' 'cpu.peak_error_bytes == 0' \
    'cpu.current_bytes < cpu.peak_bytes' 'cpu.total_bytes > cpu.peak_bytes' \
    'cpu.failed_count == 0 and cpu.foreign_free_count == 0' 'cpu.rss_bytes is None or cpu.rss_bytes >= 0' \
    'len(cpu.threads) == 1' 'not vulkan.devices'
counts='(cpu.allocation_count, cpu.free_count, cpu.total_bytes, cpu.peak_bytes, cpu.current_bytes)'
first=$(value_of lua5.4 "$counts")
rm -f "$OUT"/*
tracked lua5.4 "$TEST_SOURCE/tests/integration/data/tables.lua" 11
expect "counts of the second run" "$(value_of lua5.4 "$counts")" "$first"
no_leftovers
verdict
