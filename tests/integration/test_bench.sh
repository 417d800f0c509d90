#!/bin/bash
# The benchmarks' runner: tables are whole, figures are those that programs print, nothing stays behind. No time is judged.
# timeout: 240
. "$(dirname "$0")/lib/common.sh"
need make
need lua5.4
build=$(realpath --relative-to="$TEST_SOURCE" "$BUILD_DIR")
make -s -C "$TEST_SOURCE" BUILD="$build" "$build/tests/bench_launch" >"$TEST_TMP/log" 2>&1 || { cat "$TEST_TMP/log"; problem "bench_launch"; }
bench=("$("$PYTHON" -c 'import sys; print(sys.executable)')" "$TEST_SOURCE/tests/bench/run.py" --build "$BUILD_DIR" --rounds 1 --no-peers)
segments() { find /dev/shm -maxdepth 1 -name 'memtrack-bench.*' 2>/dev/null | sort; }
before=$(segments)

# Whole programs; those that are missing are named.
mkdir "$TEST_TMP/bin"
for tool in lua5.4 sh env; do ln -s "$(command -v $tool)" "$TEST_TMP/bin/"; done
"${bench[@]}" --only programs --programs lua >"$TEST_TMP/out" 2>"$TEST_TMP/err" || problem "programs: $(tail -n 3 "$TEST_TMP/err")"
"$PYTHON" - "$TEST_TMP/out" <<'P' || problem "the table of programs"
import re, sys
rows = [[cell.strip(" *") for cell in line.split("|")[1:-1]] for line in open(sys.argv[1]) if line.startswith("|")]
assert rows[0][:2] == ["program", "plain, s"] and rows[0][2:] == ["counting", "pools", "sampled stacks", "all stacks", "memtrack run"], rows[0]
names = [row[0] for row in rows[2:]]
assert names == ["lua", "geometric mean", "worst row"], names
for row in rows[2:]:
    assert all(re.fullmatch(r"[0-9]+\.[0-9]{2}( / [0-9]+\.[0-9]{2}){2}", cell) for cell in row[2:]), row
# Resident sizes are of the program alone: the command beside it is ten times as large as lua at this size.
lua = {name: float(cell.split(" / ")[2]) for name, cell in zip(rows[0][2:], rows[2][2:])}
assert 0.5 < lua["memtrack run"] < 3, lua
P
PATH=$TEST_TMP/bin "${bench[@]}" --only programs --programs lua >"$TEST_TMP/out" 2>"$TEST_TMP/err"
grep -q '^Left out: .*redis: redis-server is missing (Debian packages redis-server, redis-tools)' "$TEST_TMP/out" || problem "what is missing is not named"

# The public suite, played by scripts that print what its programs print.
suite=$TEST_TMP/suite
mkdir -p "$suite/build" "$suite/bench/barnes" "$suite/bench/espresso"
touch "$suite/bench/barnes/input" "$suite/bench/espresso/largest.espresso"
for program in alloc-test barnes cache-scratch cache-thrash cfrac espresso glibc-simple malloc-large mleak mstress; do
    printf '#!/bin/sh\nexit 0\n' >"$suite/build/$program"
done
printf '#!/bin/sh\necho "Throughput = 8 operations per second, relative time: 80.50s."\n' | tee "$suite/build/larson" >"$suite/build/larson-sized"
printf '#!/bin/sh\necho "rtime: 5.25, free/sec: 16.901 M"\n' >"$suite/build/xmalloc-test"
printf '#!/bin/sh\necho "crt 2 threads: ........1000000 memory ops/CPU second (33MiB peak)"\n' >"$suite/build/rptest"
printf '#!/bin/sh\necho "50000000 iterations"\n' >"$suite/build/glibc-thread"
chmod +x "$suite"/build/*
document=$TEST_TMP/document.md
printf 'head\n<!-- made by make bench-suite: begin -->\nold\n<!-- end -->\ntail\n' >"$document"
"${bench[@]}" --target bench-suite --suite "$suite" --write "$document" >/dev/null 2>"$TEST_TMP/err" || problem "suite: $(tail -n 3 "$TEST_TMP/err")"
"$PYTHON" - "$document" <<'P' || problem "the table of the suite"
import sys
text = open(sys.argv[1]).read()
assert text.startswith("head\n<!-- made by make bench-suite: begin -->\nMachine: ") and text.endswith("<!-- end -->\ntail\n") and "old" not in text
rows = {line.split("|")[1].strip(" *"): [cell.strip() for cell in line.split("|")[2:-1]] for line in text.splitlines() if line.startswith("|")}
assert len(rows) == 2 + 19 + 2, list(rows)
wanted = {"larson": "80.50", "larson-sized": "80.50", "xmalloc-test": "5.25", "rptest": "2.00", "glibc-thread": "2.00"}
assert {name: rows[name][0] for name in wanted} == wanted, rows
assert all(rows[name][1].split(" / ")[0] == "1.00" for name in wanted), rows
P
# A program that fails, and one that does not print its figure, are no number.
printf '#!/bin/sh\nexit 3\n' >"$suite/build/cfrac"
printf '#!/bin/sh\necho nothing\n' >"$suite/build/larson"
"${bench[@]}" --target bench-suite --suite "$suite" --programs cfrac,larson >"$TEST_TMP/out" 2>/dev/null
grep -q '^| larson |.*| fails |' "$TEST_TMP/out" || problem "larson without a figure: $(grep larson "$TEST_TMP/out")"
"${bench[@]}" --target bench-suite --suite "$TEST_TMP/none" >/dev/null 2>"$TEST_TMP/err" && problem "a suite that is not there"
grep -q 'no programs of the suite in .*make bench-suite SUITE=FOLDER' "$TEST_TMP/err" || problem "a suite that is not there: $(cat "$TEST_TMP/err")"
expect "folders left behind" "$(segments)" "$before"
verdict
