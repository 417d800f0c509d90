#!/bin/bash
# Python with its own allocator switched off: every object is a malloc; children of subprocess are tracked too.
. "$(dirname "$0")/lib/common.sh"
need python3
export PYTHONMALLOC=malloc PYTHONHASHSEED=0
cat >"$TEST_TMP/work.py" <<'P'
import collections, json, os, re, subprocess, sys, threading
rows = [{"id": i, "name": str(i) * 3, "values": [i * j for j in range(8)]} for i in range(8000)]
text = json.dumps(rows)
print(len(text), len(json.loads(text)), len(collections.Counter(re.findall(r"\d+", text))))
threads = [threading.Thread(target=lambda: [bytes(n) for n in range(2000)]) for _ in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]
print(subprocess.run(["/bin/echo", "from a child"], capture_output=True, text=True).stdout, end="")
child = os.fork()
if child == 0:
    keep = [bytes(100) for _ in range(1000)]
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
sys.exit(5)
P
same_as_plain /usr/bin/python3 "$TEST_TMP/work.py"
expect "exit status" "$tracked_status" 5
main="" fork=""
for file in "$OUT"/memtrack.python3*.json; do
    case $(value_of "$file" 'process.exit.code') in 5) main=$file ;; 7) fork=$file ;; esac
done
check_report "${main:-python3}" 'cpu.allocation_count > 300000' 'cpu.peak_bytes > 4 << 20' \
    'sum(t.get("thread_count") or 1 for t in cpu.threads) >= 9'
check_report "${fork:-no-report-of-the-fork}" 'process.exit.state == "exited"' 'cpu.allocation_count >= 1000' 'cpu.current_bytes > 0'
check_report echo 'process.exit.code == 0'
verdict
