#!/bin/bash
# timeout: 120
# shellcheck disable=SC2154 # problems and tracked_status are set by common.sh
# Host memory that a driver takes from malloc, by Vulkan command: the mock driver takes 1,000 bytes for each object.
# And what two threads counted apart is one in the report.
# shellcheck source=tests/layer/common.sh
. "$(dirname "$0")/common.sh"
export MEMTRACK_COLLECTOR=auto MOCK_ICD='host=1000;extensions=VK_EXT_device_memory_report'
export VK_ICD_FILENAMES=$PROGRAMS/mock_icd/mock_icd.json

tracked "$PROGRAMS/host_client"
expect "exit status" "$tracked_status" 0
# The driver's own table of objects comes with the first one of them.
check_report host_client \
    'vulkan.devices[0].memory_report.status == "on"' \
    'vulkan.devices[0].memory_report.driver_internal_bytes == 1 << 20' \
    'sum(r.malloc.allocation_count for r in vulkan.host.commands if r.command == "vkCreateFence") == 200' \
    'sum(r.malloc.total_bytes for r in vulkan.host.commands if r.command == "vkCreateFence") == 200000' \
    'sum(r.malloc.current_count for r in vulkan.host.commands if r.command == "vkCreateFence") == 30' \
    '30000 <= sum(r.malloc.current_bytes for r in vulkan.host.commands if r.command == "vkCreateFence") <= 34000' \
    'sum(r.malloc.allocation_count for r in vulkan.host.commands if r.command == "vkCreateBuffer") in (50, 51)' \
    'any(r.command == "vkCreateInstance" and r.malloc.allocation_count > 0 for r in vulkan.host.commands)' \
    'all(r.command != "vkDestroyFence" for r in vulkan.host.commands)' \
    'dev.heaps[0].allocation_count == 100 and dev.heaps[0].free_count == 60' \
    'dev.heaps[0].current_count == 40 and dev.heaps[0].current_bytes == 4000000' \
    'dev.heaps[0].total_bytes == 10000000' \
    '10000000 - dev.heaps[0].peak_error_bytes <= dev.heaps[0].peak_bytes <= 10000000 + dev.heaps[0].peak_error_bytes' \
    'sum(r.count for r in dev.call_times.vkAllocateMemory) == 100' 'sum(r.count for r in dev.call_times.vkFreeMemory) == 60' \
    'len(dev.allocations) == 40' \
    'vulkan.overhead.total_bytes > 0 and vulkan.overhead.total_bytes <= cpu.overhead_bytes'

"$MEMTRACK" report "$(report_of host_client)" >"$TEST_TMP/text" || problem "no text"
grep -q 'the driver reports 1.0 MiB of its own.*: DEVICE 1.0 MiB' "$TEST_TMP/text" || problem "the text lacks the driver's report"
grep -Eq 'vkCreateFence +malloc: live +30.* KiB +200 calls' "$TEST_TMP/text" || problem "the text lacks a command"
rm -rf "${OUT:?}"/*
MEMTRACK_VULKAN_HOST=off MEMTRACK_VULKAN_MEMORY_REPORT=off tracked "$PROGRAMS/host_client"
check_report host_client 'not vulkan.host.commands' 'vulkan.devices[0].memory_report.status == "switched off"'
exit "$((problems > 0))"
