#!/bin/bash
# A program in a pid namespace of its own, as in a container: its pid means something else outside.
. "$(dirname "$0")/lib/common.sh"
need unshare util-linux
unshare -p -f true 2>/dev/null || skip "making a pid namespace is not allowed here"
RUN_OPTIONS=(--interval 0.3)
tracked unshare -p -f /usr/bin/python3 -c '
import time
keep = []
for n in range(15):
    keep.append(bytes(100000))
    time.sleep(0.1)
raise SystemExit(6)'
expect "exit status" "$tracked_status" 6
check_report "$(find "$OUT" -name 'memtrack.python3*.1.json')" 'process.exit.state == "exited"' 'process.exit.code == 6' \
    'process.pid == 1' 'len(timeline) >= 3' 'cpu.peak_bytes >= 1500000' 'cpu.rss_bytes > 1 << 20'
no_leftovers
verdict
