#!/usr/bin/python3
"""Compares reports with the truth that tests/fixtures/attribution/origins.c tells: origins.py [--totals] REPORTS TRUTH.

--totals: the pools were off; only what was allocated by each module is exact, and nothing else may say it is.
"""
import collections
import fnmatch
import glob
import json
import os
import sys

FIELDS = ("allocation_count", "free_count", "total_bytes", "live_bytes")
problems = []


def read_truth(path):
    with open(path, encoding="utf-8") as file:
        return [(line.split()[0], line.split()[1], [int(word) for word in line.split()[2:]]) for line in file]


def add(table, name, numbers):
    table[name] = [a + b for a, b in zip(table[name], numbers)]


def difference(path):
    """What a fork's child did itself: its truth begins with its parent's."""
    before = {(module, thread): numbers for module, thread, numbers in read_truth(path)}
    rows = []
    for module, thread, numbers in read_truth(path + ".child"):
        old = before.get((module, thread), [0, 0, 0, 0])
        rows.append((module, thread, [numbers[0] - old[0], numbers[1] - old[1], numbers[2] - old[2], numbers[3]]))
    return rows


def tag_of(module, thread):
    if thread == "work-0" and fnmatch.fnmatch(module, "liborigin-*"):
        return "first worker"
    if thread.startswith("churn-"):
        return "churn"
    return "plugin b" if module == "liborigin-b.so" else "plugins" if module != "host" else None


def compare(what, name, found, wanted):
    if list(found) != list(wanted):
        problems.append(f"{what} {name}: {dict(zip(FIELDS, found))}, true are {dict(zip(FIELDS, wanted))}")


def check(cpu, truth):
    modules, tags = collections.defaultdict(lambda: [0] * 4), collections.defaultdict(lambda: [0] * 4)
    true_modules, true_tags = collections.defaultdict(lambda: [0] * 4), collections.defaultdict(lambda: [0] * 4)
    for module, thread, numbers in truth:
        add(true_modules, module, numbers)
        if tag_of(module, thread):
            add(true_tags, tag_of(module, thread), numbers)
    for row in cpu["modules"]:
        name = os.path.basename(row["path"] or "?")
        add(modules, "host" if name == "origins" else name, [row[field] for field in FIELDS])
        if not row["is_exact"]:
            problems.append(f"{name} is not exact")
    for row in cpu["tags"]:
        tags[row["tag"]] = [row["allocation_count"], row["free_count"], row["total_bytes"], row["current_bytes"]]
        if row["tag"] in true_tags and (not row["is_exact"] or row["estimated_bytes"]):
            problems.append(f"{row['tag']} is not exact")
        if row["tag"] == "plugin b" and row["budget_state"] != "over":
            problems.append(f"plugin b is {row['budget_state']}, not over its budget")
    for name, numbers in true_modules.items():
        compare("module", name, modules[name], numbers)
    for name, numbers in true_tags.items():
        compare("tag", name, tags[name], numbers)
    totals = [cpu["allocation_count"], cpu["free_count"], cpu["total_bytes"], cpu["current_bytes"]]
    for what, table in (("modules", modules), ("tags", tags)):
        compare(f"the sum over", what, [sum(row[i] for row in table.values()) for i in range(4)], totals)


def check_totals(cpu, truth):
    found, true = collections.defaultdict(lambda: [0, 0]), collections.defaultdict(lambda: [0, 0])
    for module, _, numbers in truth:
        add(true, module, [numbers[0], numbers[2]])
    for row in cpu["modules"]:
        name = os.path.basename(row["path"] or "?")
        add(found, "host" if name == "origins" else name, [row["allocation_count"], row["total_bytes"]])
        if row["is_exact"] or not row["is_total_exact"]:
            problems.append(f"{name} says that it is exact, or that its totals are not")
    for name, numbers in true.items():
        if found[name] != numbers:
            problems.append(f"module {name}: {found[name]} allocations and bytes, true are {numbers}")
    sums = [sum(numbers[i] for numbers in found.values()) for i in range(2)]
    if sums != [cpu["allocation_count"], cpu["total_bytes"]]:
        problems.append(f"the sum over modules: {sums}")


only_totals = sys.argv[1] == "--totals"
directory, true_file = sys.argv[-2:]
reports = [json.load(open(path, encoding="utf-8")) for path in glob.glob(directory + "/memtrack.origins.*.json")]
parents = [report for report in reports if not report["process"]["is_fork"]]
children = [report for report in reports if report["process"]["is_fork"]]
if len(parents) != 1 or len(children) != 1:
    sys.exit(f"{len(parents)} reports of parents, {len(children)} of children")
(check_totals if only_totals else check)(parents[0]["cpu"], read_truth(true_file))
(check_totals if only_totals else check)(children[0]["cpu"], difference(true_file))
for problem in problems:
    print(problem)
sys.exit(bool(problems))
