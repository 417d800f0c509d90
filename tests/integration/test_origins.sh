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
verdict
