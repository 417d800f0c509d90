#!/bin/bash
# A real Vulkan program while it runs: its objects' call stacks, and tags by the kind of object and by who made it.
# timeout: 120
. "$(dirname "$0")/lib/common.sh"
need vkcube vulkan-tools
start_x 320x240
cat >"$TEST_TMP/rules.json" <<'R'
{"tags": [{"tag": "cube textures", "budget": "1K", "match": [{"vulkan_kind": "image", "module": "vkcube"}]},
          {"tag": "cube buffers", "match": [{"vulkan_kind": "buf*"}]},
          {"tag": "nobody", "match": [{"vulkan_name": "no object has this name"}]},
          {"tag": "device memory", "match": [{"vulkan_kind": "memory", "module": "vkcube"}]}]}
R
"$MEMTRACK" run --output "$OUT" --interval 0.5 --stacks=all --tags="$TEST_TMP/rules.json" -- vkcube >"$TEST_TMP/out" 2>"$TEST_TMP/err" &
runner=$!
at_end+=("kill $runner 2>/dev/null")
child() { pgrep -P "$runner" vkcube; }
wait_for 10 child || problem "vkcube does not start: $(cat "$TEST_TMP/err")"
report() { find "$OUT" -name 'memtrack.vkcube.*.json' | head -n 1; }
has_frames() { [ -n "$(report)" ] && [ "$(value_of "$(report)" 'frames.count > 30 and bool(dev.allocations)')" = True ]; }
wait_for 20 has_frames || problem "no report with frames: $(ls "$OUT")"
# The report is replaced while we look at it: a copy is one state.
cp "$(report)" "$TEST_TMP/memtrack.vkcube.json"
tag='{t.tag: t for t in cpu.tags}'
stack='{s.id: s.frames for s in vulkan.stacks}'
check_report "$TEST_TMP/memtrack.vkcube.json" \
    'sum(t.vulkan_bytes for t in cpu.tags) == vulkan.current_bytes > 0' \
    "(${tag})['cube textures'].vulkan_bytes > 1024 and (${tag})['cube textures'].budget_state == 'over'" \
    "(${tag})['cube buffers'].vulkan_bytes == sum(r.required_bytes for r in dev.resources if r.type == 'buffer' and r.binding == 'bound') > 0" \
    "'nobody' not in (${tag}) or (${tag})['nobody'].vulkan_count == 0" \
    "any(e.kind == 'budget-over' and 'cube textures' in e.text for e in r.events)" \
    'len(vulkan.stacks) >= 3' 'all(a.stack for a in dev.allocations)' \
    "all(a.stack  in (${stack}) for a in dev.allocations) and all(x.stack  in (${stack}) for x in dev.resources if x.stack)" \
    "all(any((f.module or '').endswith('/vkcube') for f in (${stack})[a.stack]) for a in dev.allocations)" \
    "not any('libVkLayer_memtrack' in (f.module or '') for s in vulkan.stacks for f in s.frames)"
kill "$(child)"
wait "$runner"
verdict
