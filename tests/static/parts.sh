#!/bin/bash
# What collector/injected.ld names is there: a function that got another name would change its place unseen.
set -u
problems=0 names=0
problem() { problems=1; echo "$*"; }
cd "$TEST_SOURCE" || exit 1
while read -r object patterns; do
    source=$(ls "$object".[cS] 2>/dev/null)
    [ -n "$source" ] || { problem "injected.ld names $object.o, which no source makes"; continue; }
    for pattern in $patterns; do
        case $pattern in .text | '.text.*' | '.rodata*') continue ;; esac
        names=$((names + 1))
        name=${pattern#'.text*.'} after='\('
        case $pattern in .bss.*) name=${pattern#.bss.} after='[];[ ]' ;; esac
        grep -qE "(^|[^a-zA-Z0-9_])${name//\*/[a-zA-Z0-9_]*}$after" "$source" || problem "$source has no $name"
    done
done < <(tr '\n' ' ' <collector/injected.ld | sed 's|/\*[^*]*\*/||g' | grep -oE '\*/[a-z_/]+\.o\([^)]*\)' |
    sed -e 's|^\*/||' -e 's|\.o(| |' -e 's|)$||')
[ "$names" -gt 50 ] || problem "only $names names were found in injected.ld"
exit $problems
