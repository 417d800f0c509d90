#!/bin/bash
# shellcheck on every shell script.
command -v shellcheck >/dev/null || { echo "skip: shellcheck is missing"; exit 77; }
cd "$TEST_SOURCE" || exit 1
# SC1091, SC2034, SC2317: what is sourced, set for it, or called by name there. SC2015, SC2016: meant.
find scripts .ci tests -type f -size +0 | while read -r file; do
    case $(head -n 1 "$file") in '#!/bin/bash' | '#!/bin/sh' | '#!/usr/bin/env bash') printf '%s\n' "$file" ;; esac
done | xargs shellcheck -x -S warning -e SC1091,SC2034,SC2317
