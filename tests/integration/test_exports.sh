#!/bin/bash
# Every export is opened by a reader that is not ours, and says what the report says.
# timeout: 240
NODE_DIRECTORY=${TEST_NODE_DIRECTORY:-${XDG_CACHE_HOME:-${HOME-}/.cache}/memtrack/node} # of the real home
. "$(dirname "$0")/lib/common.sh"
need gcc
export NODE_PATH=$NODE_DIRECTORY/node_modules
sources=$TEST_SOURCE/tests/fixtures/attribution
readers=$TEST_SOURCE/tests/readers
for plugin in first second; do
    gcc -g -O2 -shared -fPIC -w "-DPLUGIN_FUNCTION=${plugin}_plugin_allocates" "$sources/plugin.c" -o "$TEST_TMP/lib$plugin.so" ||
        problem "cannot build the plugins"
done
gcc -g -O2 -w "$sources/host.c" -o "$TEST_TMP/host" -ldl || problem "cannot build the host"
RUN_OPTIONS=(--stacks=all)
# The plugins are deleted while their stacks stay: two stacks have the same addresses of different modules.
tracked "$TEST_TMP/host" "$TEST_TMP/libfirst.so" "$TEST_TMP/libsecond.so" "$TEST_TMP/libfirst.so"
report=$(report_of host)
cp "$report" "$TEST_TMP/host.json"
for format in folded speedscope pprof massif dhat perfetto csv; do
    "$MEMTRACK" export --format=$format --output "$TEST_TMP/host.$format" "$report" || problem "export --format=$format"
done
"$MEMTRACK" export --by total "$report" >"$TEST_TMP/total.folded" || problem "export --by total"
"$MEMTRACK" export --format=vma "$report" >/dev/null 2>"$TEST_TMP/no-device" && problem "vma without a device"
grep -q 'no Vulkan device' "$TEST_TMP/no-device" || problem "vma does not say that there is no device"

# Several devices: one file each, or the one that was asked for; ranges of sparse resources are parts of their memory.
"$PYTHON" - "$TEST_TMP/host.json" "$TEST_TMP/devices.json" <<'P'
import json, sys
def resource(number, memory, offset, size, ranges=()):
    return {"id": number, "type": "buffer", "kind": "storage", "name": f"buffer {number}", "binding": "sparse" if ranges else "bound",
            "memory": None if ranges else memory, "offset": None if ranges else offset, "required_bytes": size, "usage": [],
            "sparse_binding": {"bound_bytes": sum(r[2] for r in ranges),
                               "ranges": [{"memory": r[0], "memory_offset": r[1], "bytes": r[2]} for r in ranges]} if ranges else None}
def device(name, kind, size, resources):
    return {"name": name, "type": kind, "current_bytes": size, "resources": resources,
            "heaps": [{"index": 0, "flags": ["DEVICE_LOCAL"], "size_bytes": 1 << 30}],
            "memory_types": [{"index": 0, "heap_index": 0, "flags": []}],
            "allocations": [{"id": 5, "type_index": 0, "size_bytes": size}]}
report = json.load(open(sys.argv[1]))
report["vulkan"]["devices"] = [
    device("small", "integrated_gpu", 65536, [resource(7, 5, 0, 65536)]),
    device("large", "discrete_gpu", 1 << 20, [resource(8, 5, 0, 4096),
                                              resource(9, 0, 0, 1 << 24, [(5, 131072, 65536), (5, 262144, 65536), (None, None, 65536)])])]
json.dump(report, open(sys.argv[2], "w"))
P
export_devices() { "$MEMTRACK" export --format=vma "$@" "$TEST_TMP/devices.json"; }
export_devices >"$TEST_TMP/most.vma" 2>"$TEST_TMP/most.err" || problem "vma of two devices"
grep -q 'one of 2 devices' "$TEST_TMP/most.err" || problem "vma does not say that there are more devices"
export_devices --device 1 --output "$TEST_TMP/one.vma" || problem "vma of device 1"
export_devices --device all --output "$TEST_TMP/out.d/each.vma" 2>/dev/null && problem "vma into a folder that is not there"
export_devices --device all --output "$TEST_TMP/each.vma" || problem "vma of all devices"
for words in "--device 3" "--device 0" "--device x" "--device all"; do
    # shellcheck disable=SC2086
    export_devices $words >/dev/null 2>&1 && problem "vma took $words"
done
"$MEMTRACK" export --device 1 "$TEST_TMP/devices.json" >/dev/null 2>&1 && problem "--device without vma"
cmp -s "$TEST_TMP/one.vma" "$TEST_TMP/each.1.vma" && cmp -s "$TEST_TMP/most.vma" "$TEST_TMP/each.2.vma" || problem "vma: other devices than asked for"
"$PYTHON" - "$TEST_TMP/each.1.vma" "$TEST_TMP/each.2.vma" <<'P' || problem "vma's devices"
import json, sys
small, large = (json.load(open(path)) for path in sys.argv[1:])
assert small["General"]["GPU"] == "small" and small["General"]["deviceType"] == 1 and large["General"]["deviceType"] == 2
assert small["Total"]["BlockBytes"] == 65536 and len(small["DefaultPools"]["Type 0"]["DedicatedAllocations"]) == 1
block = large["DefaultPools"]["Type 0"]["Blocks"]["5"]
assert [(r["Offset"], r["Size"], r.get("Name")) for r in block["Suballocations"]] == [
    (0, 4096, "buffer 8"), (4096, 126976, None), (131072, 65536, "buffer 9"), (196608, 65536, None), (262144, 65536, "buffer 9"), (327680, 720896, None)]
assert block["UnusedBytes"] == (1 << 20) - 4096 - 131072 and block["Allocations"] == block["UnusedRanges"] == 3
P

sum() { value_of host "sum(s.$1 for s in cpu.stacks)"; }
live=$(sum live_bytes) peak=$(sum peak_bytes) total=$(sum total_bytes) calls=$(sum total_count)

# Folded stacks: the grammar of flamegraph.pl's input, and the sums.
"$PYTHON" - "$TEST_TMP/host.folded" "$live" "$TEST_TMP/total.folded" "$total" <<'P' || problem "folded stacks"
import re, sys
for path, wanted in (sys.argv[1:3], sys.argv[3:5]):
    lines = open(path, encoding="utf-8").read().splitlines()
    assert lines and all(re.fullmatch(r"[^;\x00-\x1f]+(;[^;\x00-\x1f]+)* [1-9][0-9]*", line) for line in lines), path
    assert sum(int(line.rsplit(" ", 1)[1]) for line in lines) == int(wanted), path
P
first=$(value_of host 'sum(s.live_bytes for s in cpu.stacks if s.frames[0].function == "first_plugin_allocates")')
expect "live bytes of the first plugin" "$(sed -n 's/^.*;main;plugin_entry;first_plugin_allocates //p' "$TEST_TMP/host.folded" | awk '{ sum += $1 } END { print sum + 0 }')" "$first"

# massif: ms_print.
if command -v ms_print >/dev/null; then
    ms_print "$TEST_TMP/host.massif" >"$TEST_TMP/ms" 2>"$TEST_TMP/ms.err" || problem "ms_print: $(head -n 1 "$TEST_TMP/ms.err")"
    grep -q 'first_plugin_allocates' "$TEST_TMP/ms" || problem "ms_print shows no plugin"
    grep -q '(peak)' "$TEST_TMP/ms" || problem "ms_print knows no peak"
    echo "ok ms_print"
else
    echo "skip ms_print: it is missing (package valgrind)"
fi

# DHAT: the viewer that valgrind installs.
viewer=$(find /usr/libexec/valgrind /usr/lib/valgrind /usr/lib/x86_64-linux-gnu/valgrind -name dh_view.js 2>/dev/null | head -n 1)
if command -v node >/dev/null && [ -n "$viewer" ]; then
    node "$readers/dhat.js" "$viewer" "$TEST_TMP/host.dhat" >"$TEST_TMP/dhat" || problem "dh_view.js"
    "$PYTHON" - "$TEST_TMP/dhat" "$total" "$calls" "$peak" "$live" <<'P' && echo "ok dh_view" || problem "DHAT's totals"
import json, sys
seen = json.load(open(sys.argv[1]))
assert [seen[k] for k in ("bytes", "blocks", "peak_bytes", "end_bytes")] == [int(n) for n in sys.argv[2:6]], seen
assert "second_plugin_allocates" in seen["drawn"]
P
else
    echo "skip dh_view: node or valgrind's dh_view.js is missing (packages nodejs, valgrind)"
fi

# speedscope's own importers read its format, folded stacks, pprof and the trace.
if command -v node >/dev/null && [ -d "$NODE_PATH/speedscope" ]; then
    node "$readers/speedscope.js" "$TEST_TMP"/host.{speedscope,folded,pprof} >"$TEST_TMP/speed" || problem "speedscope"
    "$PYTHON" - "$TEST_TMP/speed" "$live" "$peak" "$total" "$calls" <<'P' && echo "ok speedscope" || problem "speedscope's totals"
import json, sys
live, peak, total, calls = (int(n) for n in sys.argv[2:6])
files = {row["file"].split(".")[1]: row for row in map(json.loads, open(sys.argv[1]))}
own = {p["name"]: (p["total"], p["unit"]) for p in files["speedscope"]["profiles"]}
assert own["live"] == (live, "bytes") and own["at the peak"] == (peak, "bytes"), own
assert own["allocated in all"] == (total, "bytes") and own["allocations"] == (calls, "none"), own
assert files["folded"]["profiles"][0]["total"] == live
assert files["pprof"]["profiles"][0]["total"] == live and files["pprof"]["profiles"][0]["unit"] == "bytes"
for kind in ("speedscope", "folded", "pprof"):
    assert "first_plugin_allocates" in files[kind]["frames"], kind
P
    node "$readers/pprof.js" "$TEST_TMP/host.pprof" >"$TEST_TMP/pprof" || problem "pprof-format"
    "$PYTHON" - "$TEST_TMP/pprof" "$live" "$peak" "$total" "$calls" <<'P' && echo "ok pprof-format" || problem "pprof's totals"
import json, sys
seen, (live, peak, total, calls) = json.load(open(sys.argv[1])), (int(n) for n in sys.argv[2:6])
sums = dict(zip(seen["types"], seen["sums"]))
assert (sums["inuse_space/bytes"], sums["alloc_space/bytes"], sums["peak_space/bytes"], sums["alloc_objects/count"]) == (live, total, peak, calls), sums
assert "second_plugin_allocates" in seen["names"] and any(f.endswith("/host") for f in seen["files"]), seen
P
else
    echo "skip speedscope: node or $NODE_PATH/speedscope is missing (scripts/install-deps test, with npm and a network)"
fi
if command -v protoc >/dev/null; then
    zcat "$TEST_TMP/host.pprof" | protoc --decode_raw >"$TEST_TMP/raw" && grep -q '"first_plugin_allocates"' "$TEST_TMP/raw" || problem "protoc"
    echo "ok protoc"
else
    echo "skip protoc: it is missing (package protobuf-compiler)"
fi

# The trace and the timeline, by the rules of their formats; with frames where a Vulkan program can run.
frames=0
if command -v vkcube >/dev/null && command -v Xvfb >/dev/null; then
    start_x 320x240
    rm -f "$OUT"/*
    RUN_OPTIONS=(--interval=0.2)
    tracked vkcube --c 900
    cube=$(report_of vkcube) && frames=1 && "$MEMTRACK" export --format=vma --output "$TEST_TMP/cube.vma" "$cube" || problem "vma of vkcube"
    "$MEMTRACK" export --format=chrome --output "$TEST_TMP/cube.perfetto" "$cube" || problem "chrome of vkcube"
    "$MEMTRACK" export --format=csv --output "$TEST_TMP/cube.csv" "$cube" || problem "csv of vkcube"
    if [ -d "$NODE_PATH/speedscope" ]; then
        node "$readers/speedscope.js" "$TEST_TMP/cube.perfetto" >"$TEST_TMP/speed" || problem "speedscope does not read the trace"
        grep -q 'allocations' "$TEST_TMP/speed" || problem "the trace has no frames in speedscope"
    fi
else
    echo "skip vma: vkcube or Xvfb is missing (packages vulkan-tools, xvfb)"
fi
"$PYTHON" - "$TEST_TMP" $frames "$TEST_TMP/host.json" "${cube-}" <<'P' || problem "trace events, CSV or VMA's JSON"
import csv, json, os, sys
folder, frames = sys.argv[1], sys.argv[2] == "1"

# What the format's documentation lists for each phase; times are microseconds.
PHASES = {"M": {"args"}, "C": {"args"}, "X": {"args", "dur"}, "i": {"args", "s"}}

def trace(path, report, wants_frames):
    document, report = json.load(open(path)), json.load(open(report))
    assert set(document) <= {"traceEvents", "displayTimeUnit"} and document["displayTimeUnit"] in ("ms", "ns")
    slices, kinds, counters, instants, named = [], set(), {}, [], set()
    for event in document["traceEvents"]:
        assert isinstance(event["name"], str) and event["name"], event
        assert type(event["pid"]) is int and event["tid"] == event["pid"] == report["process"]["pid"], event
        assert type(event["ts"]) is int and event["ts"] >= 0, event
        assert set(event) == {"name", "ph", "pid", "tid", "ts"} | PHASES[event["ph"]] and isinstance(event["args"], dict), event
        kinds.add(event["ph"])
        if event["ph"] == "X":
            assert type(event["dur"]) is int and event["dur"] >= 0, event
            slices.append((event["ts"], event["ts"] + event["dur"], event))
        elif event["ph"] == "C":
            assert len(event["args"]) == 1 and all(type(v) in (int, float) for v in event["args"].values()), event
            counters.setdefault(event["name"], []).append((event["ts"], *event["args"].values()))
        elif event["ph"] == "i":
            assert event["s"] in ("g", "p", "t"), event
            instants.append((event["name"], event["args"]["text"]))
        else:
            assert event["name"] in ("process_name", "thread_name") and set(event["args"]) == {"name"}, event
            named.add(event["name"])
    slices.sort(key=lambda row: row[:2])
    assert all(a[1] <= b[0] for a, b in zip(slices, slices[1:])), "slices of one track overlap"
    assert {"M", "C"} <= kinds and ("X" in kinds) == wants_frames, kinds
    assert named == {"process_name"} | ({"thread_name"} if wants_frames else set()), named
    # All of the report is there: its points, its events, its frames in their order, and their time.
    for name, key in (("heap", "cpu_current_bytes"), ("device memory", "vulkan_current_bytes"), ("resident", "rss_bytes")):
        wanted = {(round(p["t_s"] * 1e6), p[key]) for p in report["timeline"] if p[key] is not None}
        found = set(counters.get(name, []))
        assert all((t, v) in found or (t - 1, v) in found for t, v in wanted), name
    assert instants == [(e["kind"], e["text"]) for e in report["events"]]
    if wants_frames:
        frames, recent = [row[2]["args"]["frame"] for row in slices], report["frames"]["recent"]
        assert frames == sorted(set(frames)) and set(recent["frame"]) <= set(frames), frames
        assert set(frames) == set(recent["frame"]) | {row["frame"] for row in report["frames"]["worst"] + report["frames"]["hitches"]["longest"]}
        assert abs(slices[-1][1] / 1e6 - report["frames"]["last_s"]) < 1e-5
        ours = [row[2]["args"]["duration_ns"] for row in slices if row[2]["args"]["frame"] in set(recent["frame"])]
        assert ours == recent["duration_ns"]
        assert all(abs(row[1] - row[0] - row[2]["args"]["duration_ns"] / 1000) <= 2 for row in slices)

def table(path):
    rows = list(csv.DictReader(open(path)))
    assert rows and all(None not in row and None not in row.values() for row in rows), rows[:2]
    times = [float(row["t_s"]) for row in rows]
    assert times == sorted(times) and all(int(row["cpu_current_bytes"]) >= 0 for row in rows)

def vma(path):
    document = json.load(open(path))
    assert document["General"]["API"] == "Vulkan" and document["MemoryInfo"]["Heap 0"]["Size"] > 0
    known = {"FREE", "UNKNOWN", "BUFFER", "IMAGE_OPTIMAL", "IMAGE_LINEAR", "IMAGE_UNKNOWN"}
    total = 0
    for pool in document["DefaultPools"].values():
        for row in pool["DedicatedAllocations"]:
            assert row["Type"] in known - {"FREE"} and row["Size"] > 0 and isinstance(row["Usage"], int), row
            total += row["Size"]
        for block in pool["Blocks"].values():
            at = 0
            for row in block["Suballocations"]:
                assert row["Type"] in known and row["Offset"] == at and row["Size"] > 0, row
                assert row["Type"] == "FREE" or isinstance(row["Usage"], int), row
                at += row["Size"]
            assert at == block["TotalBytes"], block
            total += at
    assert document["Total"]["BlockBytes"] == total

trace(os.path.join(folder, "host.perfetto"), sys.argv[3], False)
table(os.path.join(folder, "host.csv"))
if frames:
    trace(os.path.join(folder, "cube.perfetto"), sys.argv[4], True)
    table(os.path.join(folder, "cube.csv"))
    vma(os.path.join(folder, "cube.vma"))
P
"$MEMTRACK" diff "$TEST_TMP/host.json" "$TEST_TMP/host.json" | grep -q 'no change' || problem "a report differs from itself"
if [ $frames = 1 ]; then
    "$MEMTRACK" diff "$TEST_TMP/host.json" "$cube" --by heap >"$TEST_TMP/heaps" || problem "diff --by heap"
    grep -q 'heap 0, .*device-local' "$TEST_TMP/heaps" || problem "diff has no heaps of device memory: $(cat "$TEST_TMP/heaps")"
fi
verdict
