#!/bin/bash
# The tree keeps its own rules: one way of dependencies, files and functions of a readable length, nothing unfinished.
set -u
problems=0
problem() { problems=1; echo "$*"; }
cd "$TEST_SOURCE" || exit 1
found=$(grep -rnE '#include "(\.\./)?(interpose|vklayer)/' collector interpose vklayer --include='*.[ch]' |
    grep -vE '^interpose/.*"interpose/|^vklayer/.*"vklayer/')
[ -z "$found" ] || problem "includes against the direction of dependencies: $found"
found=$(grep -rlE '#include <vulkan' collector interpose --include='*.[ch]')
[ -z "$found" ] || problem "Vulkan headers outside of the layer: $found"
found=$(grep -rnEw 'TODO|FIXME|XXX|HACK' collector interpose vklayer tests --include='*.[ch]' | head -n 5)
[ -z "$found" ] || problem "unfinished places: $found"
while read -r file; do
    [ "$(wc -l <"$file")" -le 800 ] || problem "$file has $(wc -l <"$file") lines"
done < <(find collector interpose vklayer tests scripts -name '*.[ch]' -o -name '*.sh' -o -name '*.py')
for file in README.md CHANGELOG.md LICENSE VkLayer_memtrack.json docs/design.md docs/report.md docs/report.schema.json \
    docs/options.md docs/benchmarks.md man/memtrack.1 man/memtrack.h.3 include/memtrack.h; do
    [ -s "$file" ] || problem "$file is missing"
done
exit $problems
