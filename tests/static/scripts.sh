#!/bin/bash
# Every shell script is clean under shellcheck.
command -v shellcheck >/dev/null || { echo "skip: shellcheck is missing"; exit 77; }
cd "$TEST_SOURCE" || exit 1
# SC1091, SC2034, SC2154, SC2317: what is sourced from the library, set for it, or called by its name there.
find scripts .ci tests -type f -size +0 | while read -r file; do
    case $(head -n 1 "$file") in '#!/bin/bash' | '#!/bin/sh' | '#!/usr/bin/env bash') printf '%s\n' "$file" ;; esac
done | xargs shellcheck -x -S warning -e SC1091,SC2034,SC2154,SC2317
