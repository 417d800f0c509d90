#!/bin/bash
# A function, a file and a thread may be named with any bytes. No name breaks a format: not its separators, not its
# lines, not the reader's terminal, and sums stay what they are.
# timeout: 120
NODE_DIRECTORY=${TEST_NODE_DIRECTORY:-${XDG_CACHE_HOME:-${HOME-}/.cache}/memtrack/node} # of the real home
. "$(dirname "$0")/lib/common.sh"
export NODE_PATH=$NODE_DIRECTORY/node_modules
readers=$TEST_SOURCE/tests/readers
lengthy=$(printf 'x%.0s' $(seq 1500))
sed "s/LENGTHY/$lengthy/" >"$TEST_TMP/names.c" <<'C'
#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>
void *volatile kept[8];
#define ODD(name, bytes) __attribute__((noinline, noclone)) void name(int i) { kept[i] = malloc(bytes); }
ODD(placeholder_of_separators, 1024)
ODD(placeholder_of_new_lines_and_escapes, 2048)
ODD(placeholder_of_markup______, 4096)
ODD(placeholder_of_letters_____, 8192)
ODD(LENGTHY, 16384)
static void *work(void *unused)
{
    pthread_setname_np(pthread_self(), "t;\n\"\033[2J,\377");
    placeholder_of_separators(0), placeholder_of_new_lines_and_escapes(1), placeholder_of_markup______(2);
    placeholder_of_letters_____(3), LENGTHY(4);
    return unused;
}
int main(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, work, NULL);
    return pthread_join(thread, NULL);
}
C
compile plain_names <"$TEST_TMP/names.c"
# Names that no compiler takes: put into the file's tables of names.
"$PYTHON" - "$TEST_TMP" <<'P'
import os, sys
program = open(sys.argv[1] + "/plain_names", "rb").read()
for name, odd in ((b"placeholder_of_separators", b'a;b c, "d" 17'), (b"placeholder_of_new_lines_and_escapes", b"new\nline\x1b[31mred"),
                  (b"placeholder_of_markup______", b"</script><b>&amp;"), (b"placeholder_of_letters_____", b"gr\xc3\xbcn \xff\xfe")):
    assert name + b"\0" in program, name
    program = program.replace(name + b"\0", odd.ljust(len(name) + 1, b"\0"))
path = sys.argv[1] + '/odd;program, "quoted" <b>'
open(path, "wb").write(program)
os.chmod(path, 0o755)
P
RUN_OPTIONS=(--stacks=all)
(cd "$TEST_TMP" && tracked "./odd;program, \"quoted\" <b>" "an argument
of two lines; and more") || true
report=$(find "$OUT" -name 'memtrack.odd*.json')
[ -e "$report" ] || { problem "no report: $(ls "$OUT")"; verdict; }
check_report "$report" 'sum(s.live_bytes for s in cpu.stacks if any("main" == f.function for f in s.frames)) >= 0' \
    'any("a;b c" in (f.function or "") for s in cpu.stacks for f in s.frames)' \
    'any("</script>" in (f.function or "") for s in cpu.stacks for f in s.frames)'
live=$(value_of "$report" 'sum(s.live_bytes for s in cpu.stacks)')
for format in folded speedscope pprof massif dhat perfetto csv; do
    "$MEMTRACK" export --format=$format --output "$TEST_TMP/odd.$format" "$report" || problem "export --format=$format"
done
"$MEMTRACK" report "$report" >"$TEST_TMP/odd.text" || problem "report"
"$MEMTRACK" diff "$report" "$report" >"$TEST_TMP/odd.diff" || problem "diff"
"$PYTHON" - "$TEST_TMP" "$live" <<'P' || problem "a name breaks a format"
import csv, gzip, json, re, sys
folder, live = sys.argv[1], int(sys.argv[2])
def text(kind):
    return open(f"{folder}/odd.{kind}", encoding="utf-8", newline="").read()
for kind in ("folded", "massif", "csv", "text", "diff"):
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text(kind)), f"{kind}: control characters"
folded = text("folded").split("\n")
assert folded.pop() == "" and all(re.fullmatch(r"[^;]+(;[^;]+)* [1-9][0-9]*", line) for line in folded)
assert sum(int(line.rsplit(" ", 1)[1]) for line in folded) == live
for wanted in ('a:b c, "d" 17 1024', "new?line?[31mred 2048", "</script><b>&amp: 4096", "gr\u00fcn \ufffd\ufffd 8192", "xx 16384"):
    assert sum(line.endswith(wanted) for line in folded) == 1, wanted
shared = json.loads(text("speedscope"))
profile = shared["profiles"][0]
assert sum(profile["weights"]) == live and max(max(s) for s in profile["samples"]) < len(shared["shared"]["frames"])
assert any(frame["name"] == 'a;b c, "d" 17' for frame in shared["shared"]["frames"])
# massif: every line of the tree is "nCHILDREN: BYTES LABEL", as many children as it says, one deeper each.
tree = [re.fullmatch(r"( *)n([0-9]+): ([0-9]+) (.+)", line) for line in text("massif").split("\n") if re.match(r" *n[0-9]", line)]
assert all(tree) and tree[0].group(1) == ""
def walk(at, depth):
    row = tree[at]
    assert len(row.group(1)) == depth, row.group(0)
    next_at = at + 1
    for _ in range(int(row.group(2))):
        next_at = walk(next_at, depth + 1)
    return next_at
assert walk(0, 0) == len(tree)
assert sum(line.startswith("cmd:") for line in text("massif").split("\n")) == 1
dhat = json.loads(text("dhat"))
assert sum(point["eb"] for point in dhat["pps"]) == live and any('a;b c, "d" 17' in name for name in dhat["ftbl"])
trace = json.loads(text("perfetto"))
assert trace["traceEvents"][0]["args"]["name"].endswith('odd;program, "quoted" <b>')
rows = list(csv.reader(open(f"{folder}/odd.csv", newline="")))
assert rows and all(len(row) == len(rows[0]) for row in rows)
assert b'a;b c, "d" 17' in gzip.decompress(open(f"{folder}/odd.pprof", "rb").read())
P
if command -v ms_print >/dev/null; then
    ms_print "$TEST_TMP/odd.massif" >"$TEST_TMP/ms" 2>"$TEST_TMP/ms.err" || problem "ms_print: $(head -n 1 "$TEST_TMP/ms.err")"
    grep -qF 'a;b c, "d" 17' "$TEST_TMP/ms" || problem "ms_print lost a name"
fi
viewer=$(find /usr/libexec/valgrind /usr/lib/valgrind /usr/lib/x86_64-linux-gnu/valgrind -name dh_view.js 2>/dev/null | head -n 1)
if command -v node >/dev/null && [ -n "$viewer" ]; then
    node "$readers/dhat.js" "$viewer" "$TEST_TMP/odd.dhat" >"$TEST_TMP/dhat" || problem "dh_view.js"
fi
if command -v node >/dev/null && [ -d "$NODE_PATH/speedscope" ]; then
    node "$readers/speedscope.js" "$TEST_TMP"/odd.{speedscope,folded,pprof} >"$TEST_TMP/speed" || problem "speedscope"
    "$PYTHON" -c 'import json, sys
for row in map(json.loads, open(sys.argv[1])):
    assert row["profiles"][0]["total"] == int(sys.argv[2]), row["file"]' "$TEST_TMP/speed" "$live" || problem "speedscope's totals"
    node "$readers/pprof.js" "$TEST_TMP/odd.pprof" >/dev/null || problem "pprof-format"
fi
# A damaged report whose frames have no names at all.
"$PYTHON" - "$report" "$TEST_TMP/bare.json" <<'P'
import json, sys
report = json.load(open(sys.argv[1]))
for stack in report["cpu"]["stacks"]:
    for frame in stack["frames"]:
        frame.update(function=None, module=None, address=None, file=7)
report["cpu"]["stacks"].append({"frames": "none", "live_bytes": "many"})
report["timeline"].append(3)
json.dump(report, open(sys.argv[2], "w"))
P
for format in folded speedscope pprof massif dhat perfetto csv; do
    "$MEMTRACK" export --format=$format --output "$TEST_TMP/bare.$format" "$TEST_TMP/bare.json" || problem "bare names: $format"
done
grep -qE '^(\?;)*\? [1-9][0-9]*$' "$TEST_TMP/bare.folded" || problem "frames without names: $(head -n 1 "$TEST_TMP/bare.folded")"
grep -qvE '^(\?;)*\? [1-9][0-9]*$' "$TEST_TMP/bare.folded" && problem "frames without names: $(head -n 1 "$TEST_TMP/bare.folded")"
"$PYTHON" -c 'import csv, sys; rows = list(csv.reader(open(sys.argv[1]))); assert all(len(row) == len(rows[0]) for row in rows)' "$TEST_TMP/bare.csv" ||
    problem "CSV of a damaged report"
verdict
