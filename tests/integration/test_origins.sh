#!/bin/bash
# Memory by module, thread and tag, exact to the byte: a program with a known truth, its plugins closed and opened
# again, blocks freed by other threads, short-lived threads, and a fork's child.
# timeout: 300
. "$(dirname "$0")/lib/common.sh"
need gcc
sources=$TEST_SOURCE/tests/fixtures/attribution
for letter in a b c; do
    gcc -O2 -w -shared -fPIC -fno-builtin "$sources/origin_plugin.c" -o "$TEST_TMP/liborigin-$letter.so" || problem "cannot build a plugin"
done
cat >"$TEST_TMP/rules.json" <<'RULES'
{"tags": [{"tag": "first worker", "match": [{"thread": "work-0", "module": "liborigin-*"}]},
          {"tag": "churn", "match": [{"thread": "churn-*"}]},
          {"tag": "plugin b", "budget": "1K", "match": [{"module": "liborigin-b.so"}]},
          {"tag": "plugins", "match": [{"module": "liborigin-*"}]}]}
RULES
for flags in "-O2" "-O2 -flto" "-O0"; do
    # shellcheck disable=SC2086
    gcc -w -fno-builtin $flags "$sources/origins.c" -o "$TEST_TMP/origins" -ldl -lpthread || problem "cannot build origins"
    rm -f "$OUT"/*
    RUN_OPTIONS=("--tags=$TEST_TMP/rules.json" --stacks=sampled)
    tracked "$TEST_TMP/origins" "$TEST_TMP"/liborigin-{a,b,c}.so -- "$TEST_TMP/truth"
    expect "exit status" "$tracked_status" 0
    "$PYTHON" "$LIB/origins.py" "$OUT" "$TEST_TMP/truth" || problem "the report differs from the truth ($flags)"
done

# With the pools off allocations are still exact by module; what is live is estimated, and marked so.
for stacks in sampled off; do
    rm -f "$OUT"/*
    RUN_OPTIONS=(--pools=off "--stacks=$stacks")
    tracked "$TEST_TMP/origins" "$TEST_TMP"/liborigin-{a,b,c}.so -- "$TEST_TMP/truth"
    "$PYTHON" "$LIB/origins.py" --totals "$OUT" "$TEST_TMP/truth" || problem "allocations differ from the truth (pools off, stacks $stacks)"
done

# What the pools give beyond what is asked for: exact for large blocks, estimated within its stated error for small ones.
gcc -O1 -w -fno-builtin "$sources/slack.c" -o "$TEST_TMP/slack" || problem "cannot build slack"
rm -f "$OUT"/*
RUN_OPTIONS=(--stacks=sampled --stack-rate=64K)
tracked "$TEST_TMP/slack"
read -r slabs large requested < <(others_lines "$TEST_TMP/tracked.err")
check_report slack "abs(cpu.pools.fragmentation.slab_internal_bytes - $slabs) <= 2.5 * cpu.pools.fragmentation.slab_internal_error_bytes" \
    "0 < cpu.pools.fragmentation.slab_internal_error_bytes < $slabs / 4" \
    "cpu.pools.fragmentation.large_internal_bytes == $large" \
    "abs(cpu.current_requested_bytes - $requested) <= 2.5 * cpu.pools.fragmentation.slab_internal_error_bytes + 8192" \
    "sum(c.internal_bytes for c in cpu.pools.slab.classes) == cpu.pools.fragmentation.slab_internal_bytes" \
    "sum(c.used_bytes for c in cpu.pools.slab.classes) + sum(c.external_bytes for c in cpu.pools.slab.classes) == sum(c.reserved_bytes for c in cpu.pools.slab.classes)"
verdict
