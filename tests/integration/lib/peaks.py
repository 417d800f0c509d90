#!/usr/bin/env python3
"""Checks the own peaks of a report of tests/fixtures/attribution/peaks.c against what it wrote itself.

usage: peaks.py REPORTS TRUTH BATCHES
BATCHES bounds the stated error, in batches of 64 KiB; "threads": only the threads' peaks are checked.
"""
import glob
import json
import os
import sys

SLACK = 64 * 1024  # libc's and the loader's own blocks, which a thread's peak holds too


def problems_of(report, truth, batches):
    cpu = report["cpu"]
    if batches != "threads":
        for number, (tag, plugin) in enumerate((("first", "one"), ("second", "two"))):
            rows = [row for row in cpu["tags"] if row["tag"] == tag]
            rows += [row for row in cpu["modules"] if (row["path"] or "").endswith(f"libpeaks-{plugin}.so")]
            if len(rows) != 2:
                yield f"{len(rows)} rows for {tag}"
            for row in rows:
                error = row["peak_error_bytes"]
                if error is None or error > int(batches) * 65536:
                    yield f"{row.get('tag', row.get('path'))}: an error of {error}"
                elif abs(row["peak_bytes"] - truth["plugins"][number]) > error:
                    yield (f"{row.get('tag', row.get('path'))}: {row['peak_bytes']} +- {error}, "
                           f"the truth is {truth['plugins'][number]}")
                if row["peak_s"] is None:
                    yield f"{row.get('tag', row.get('path'))}: nobody knows when"
    for number, true in enumerate(truth["threads"]):
        rows = [row for row in cpu["threads"] if row["name"] == (f"peak-{number}" if number else "peaks")]
        if len(rows) != 1 or not 0 <= rows[0]["peak_bytes"] - true <= (SLACK if not number else 2048):
            yield f"thread {number}: {[row['peak_bytes'] for row in rows]}, the truth is {true}"
        elif rows[0]["peak_error_bytes"] != 0:
            yield f"thread {number}: its peak is not called exact"


def main():
    report = json.load(open(glob.glob(os.path.join(sys.argv[1], "*.json"))[0], encoding="utf-8"))
    found = list(problems_of(report, json.load(open(sys.argv[2], encoding="utf-8")), sys.argv[3]))
    for problem in found:
        print(problem)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
