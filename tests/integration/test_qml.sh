#!/bin/bash
# Qt Quick on Vulkan: many threads, hundreds of device allocations made and freed, no loss.
. "$(dirname "$0")/lib/common.sh"
need /usr/lib/qt6/bin/qml qml-qt6
start_x 640x480
export QSG_RHI_BACKEND=vulkan QT_QPA_PLATFORM=xcb QT_VK_PHYSICAL_DEVICE_INDEX=0
IGNORE_STDERR=1 same_as_plain /usr/lib/qt6/bin/qml "$TEST_SOURCE/tests/integration/data/qml/scene.qml"
expect "exit status" "$tracked_status" 0
check_report qml 'process.exit.state == "exited"' 'cpu.allocation_count > 50000' 'len(vulkan.devices) == 1' \
    'sum(h.allocation_count for h in dev.heaps) > 20' \
    'sum(h.allocation_count for h in dev.heaps) == sum(h.free_count for h in dev.heaps)' \
    'sum(h.current_bytes for h in dev.heaps) == 0' 'frames.source == "vulkan"' '118 <= frames.count <= 124'
verdict
