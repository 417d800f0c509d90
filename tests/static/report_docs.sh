#!/bin/bash
# docs/report.md explains every key of the schema; docs/options.md and the man page are those of the command.
set -u
cd "$TEST_SOURCE" || exit 1
"${PYTHON:-python3}" - <<'P' || exit 1
import json, re, sys
schema = json.load(open("docs/report.schema.json"))
words = set(re.findall(r"[a-z0-9_]+", open("docs/report.md").read()))
keys = set()
def walk(node):
    if isinstance(node, dict):
        for name, value in node.get("properties", {}).items() if isinstance(node.get("properties"), dict) else []:
            keys.add(name)
        for value in node.values():
            walk(value)
    elif isinstance(node, list):
        for value in node:
            walk(value)
walk(schema)
missing = sorted(keys - words)
print("docs/report.md lacks:", " ".join(missing)) if missing else None
sys.exit(bool(missing))
P
scripts/update-docs "$MEMTRACK_BUILD" --check || exit 1
# The man page has every subcommand that `memtrack help` lists.
problems=0
for subcommand in $("$MEMTRACK_BUILD/memtrack" help | sed -n 's/^  \([a-z]*\)  *[a-z].*/\1/p'); do
    [ "$subcommand" = version ] || grep -qx "\.Cm $subcommand" man/memtrack.1 || { problems=1; echo "man/memtrack.1 lacks $subcommand"; }
done
exit $problems
