#!/bin/bash
# timeout: 240
# Corrupt segments and JSON files given to memtrack report: one clear line and status 1, or a report, and never a crash.
. "$(dirname "$0")/lib/common.sh"
mkdir -m 700 "$TEST_TMP/s"
MEMTRACK_SESSION=$TEST_TMP/s MEMTRACK_COLLECTOR=none LD_PRELOAD=$PRELOAD sort /etc/passwd >/dev/null
tracked sort /etc/passwd
"$PYTHON" - "$MEMTRACK" "$(find "$TEST_TMP/s" -name '*.seg')" "$(report_of sort)" "$TEST_TMP" <<'P' || problem "see above"
import os, random, subprocess, sys
memtrack, segment, report, folder = sys.argv[1:5]
random.seed(5)
wrong = []
def give(data, what, sparse_size=None, must_fail=False):
    path = os.path.join(folder, "damaged")
    if os.path.exists(path):
        os.unlink(path)
    with open(path, "wb") as file:
        file.write(data)
        if sparse_size:
            file.truncate(sparse_size)
    done = subprocess.run([memtrack, "report", path], capture_output=True, timeout=20)
    lines = done.stderr.decode(errors="replace").splitlines()
    if done.returncode not in (0, 1):
        wrong.append(f"{what}: status {done.returncode} {lines[:2]}")
    elif done.returncode == 1 and (len(lines) != 1 or not lines[0].startswith("memtrack: ")):
        wrong.append(f"{what}: {len(lines)} lines: {lines[:3]}")
    elif must_fail and done.returncode == 0:
        wrong.append(f"{what}: accepted")
size = os.path.getsize(segment)
with open(segment, "rb") as file:
    head = bytearray(file.read(1 << 20))
text = open(report, "rb").read()
give(head, "the segment as it is", size)
give(text, "the report as it is")
give(b"", "empty file", must_fail=True)
give(b"MEMTRACK", "magic only", must_fail=True)
give(bytes(4096), "zeroes", must_fail=True)
for first in range(256):
    give(bytes([first]) + random.randbytes(1000), f"noise that begins with {first:#x}", must_fail=True)
give(b"{}", "empty object", must_fail=True)
give(b"[]", "array", must_fail=True)
give(b'{"schema": "memtrack-report"}', "schema only", must_fail=True)
give(b'{"schema": "other", "schema_version": 1}', "another schema", must_fail=True)
give(b"\xff\xfe{", "not UTF-8", must_fail=True)
give(b"[" * 100000, "deep nesting", must_fail=True)
for n in (1, 10, 100, len(text) // 2, len(text) - 3):
    give(text[:n], f"JSON cut at {n}", must_fail=True)
for n in (7, 8, 12, 100, 1000, 5000, 70000, len(head)):
    give(head[:n], f"segment cut at {n}")
for offset in (0, 8, 12, 16):
    damaged = bytearray(head); damaged[offset:offset + 4] = b"\xff\xff\xff\x7f"
    give(damaged, f"header word at {offset}", size, must_fail=offset < 12)
for round in range(150):
    damaged = bytearray(head)
    for _ in range(random.choice((1, 5, 50, 2000))):
        # Most of the damage where the header is.
        at = random.randrange(random.choice((64, 10000, len(damaged))))
        damaged[at] = random.choice((0, 255, 127, 128, random.randrange(256)))
    damaged[:16] = head[:16] if random.random() < 0.8 else damaged[:16]
    give(damaged, f"segment damaged, round {round}", size)
for round in range(60):
    damaged = bytearray(text)
    for _ in range(random.choice((1, 3, 30))):
        damaged[random.randrange(len(damaged))] = random.choice(b'0-9{}[]",:ntf\x00\xff')
    give(damaged, f"JSON damaged, round {round}")
# Valid JSON with the wrong types in it.
import json
document = json.loads(text)
for key in list(document):
    for value in (None, 5, "text", [], {}, [1], {"a": []}):
        changed = dict(document); changed[key] = value
        give(json.dumps(changed).encode(), f"{key} = {value!r}")
print("\n".join(wrong[:20]))
sys.exit(bool(wrong))
P
expect "a file that is not there" "$("$MEMTRACK" report /nonexistent.json 2>&1 >/dev/null | grep -c '^memtrack: .*nonexistent')" 1
expect "a folder" "$("$MEMTRACK" report / 2>&1 >/dev/null | grep -c '^memtrack: ')" 1
verdict
