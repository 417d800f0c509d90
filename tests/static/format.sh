#!/bin/bash
# The code is formatted as .clang-format says.
command -v clang-format >/dev/null || { echo "skip: clang-format is missing"; exit 77; }
git rev-parse HEAD >/dev/null 2>&1 || { echo "skip: not a git checkout"; exit 77; }
git ls-files '*.c' '*.h' | xargs clang-format --dry-run -Werror 2>&1 | grep -E 'error:' | cut -d: -f1 | sort | uniq -c |
    { ! grep . || { echo "lines to format in these files: run make format"; exit 1; }; }
