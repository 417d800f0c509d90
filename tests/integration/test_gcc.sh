#!/bin/bash
# A compiler driver and its children: the object file is the same, and every process has its own report.
. "$(dirname "$0")/lib/common.sh"
need g++
source=$TEST_SOURCE/tests/integration/data/templates.cpp
plain g++ -O1 -c -o "$TEST_TMP/plain.o" "$source"
tracked g++ -O1 -c -o "$TEST_TMP/tracked.o" "$source"
expect "exit status" "$tracked_status" "$plain_status"
cmp "$TEST_TMP/plain.o" "$TEST_TMP/tracked.o" || problem "the object files differ"
check_report "$(report_of 'x86_64-linux-gnu-g++-*' || report_of 'g++')" 'process.exit.code == 0' 'cpu.allocation_count > 100'
check_report cc1plus 'process.exit.code == 0' 'cpu.allocation_count > 100000' 'cpu.peak_bytes > 4 << 20' 'cpu.mapped_bytes > 10 << 20'
check_report "$(report_of 'x86_64-linux-gnu-as' || report_of 'as')" 'process.exit.code == 0' 'cpu.allocation_count > 100'
# An error of the child is the driver's error.
echo 'int main( {' >"$TEST_TMP/bad.cpp"
IGNORE_STDERR=1 same_as_plain g++ -c -o /dev/null "$TEST_TMP/bad.cpp"
expect "exit status for bad source" "$tracked_status" 1
verdict
