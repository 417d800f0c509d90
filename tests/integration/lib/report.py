#!/usr/bin/env python3
"""Checks one JSON report: against the schema, that it adds up, and that the given expressions hold.

usage: report.py [--print] REPORT [EXPRESSION]...
An expression is Python over r, process, cpu, vulkan, frames, timeline, config and dev (the first
Vulkan device); fields are attributes. --print prints its value instead of checking it.
"""
import json
import os
import sys

SOURCE = os.environ.get("TEST_SOURCE") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..")


class Fields(dict):
    """A dict whose keys are attributes too."""

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(f"the report has no field {name}") from error


def load(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file, object_pairs_hook=Fields)


def schema_problems(report):
    try:
        import jsonschema
    except ImportError:
        print("note: python3-jsonschema is missing, the schema is not checked")
        return []
    path = os.path.join(SOURCE, "docs", "report.schema.json")
    if not os.path.exists(path):
        return ["schema: docs/report.schema.json is missing"] if "TEST_NO_SCHEMA" not in os.environ else []
    schema = load(path)
    validator = jsonschema.validators.validator_for(schema)(schema)
    return [f"schema: {'/'.join(map(str, e.absolute_path))}: {e.message[:200]}" for e in validator.iter_errors(report)]


def sum_problems(report):
    """What must hold in every report, whatever the program did."""
    found = []

    def must(truth, text):
        if not truth:
            found.append("does not add up: " + text)

    cpu = report.cpu
    for device in report.vulkan.devices:
        held = sum(a.size_bytes for a in device.allocations if not a.imported_from)
        tagged = sum(t.current_bytes for t in device.tags)
        must(tagged == held, f"tags of device memory: {tagged} bytes of {held}")
        broken = device.pools.get("violation_count") or 0, device.pools.get("stale_handle_count") or 0
        must(broken == (0, 0), f"pools of device memory: {broken[0]} broken rules, {broken[1]} stale handles")
    must(report.schema == "memtrack-report" and report.schema_version == 1, "schema name and version")
    must(cpu.net_count == cpu.allocation_count - cpu.free_count, "net_count")
    must(cpu.current_bytes <= cpu.peak_bytes + cpu.peak_error_bytes,
         f"current_bytes {cpu.current_bytes} above peak_bytes {cpu.peak_bytes} + {cpu.peak_error_bytes}")
    # A thread that was killed, or goes on, may have been between two counters.
    ended = report.process.exit.state == "exited"
    slack = 0 if ended else 1000000 if report.process.exit.state == "running" else max(1, len(cpu.threads))
    for field in ("allocation_count", "free_count"):
        for table in ("size_classes", "threads"):
            total = sum(row[field] for row in cpu[table])
            must(abs(total - cpu[field]) <= slack, f"{table}' {field} {total} is not {cpu[field]}")
    for device in report.vulkan.devices if report.vulkan else []:
        for heap in device.heaps:
            must(heap.current_bytes <= heap.peak_bytes, f"heap {heap.index} above its peak")
            must(heap.current_count == heap.allocation_count - heap.free_count, f"heap {heap.index} counts")
            types = [t for t in device.memory_types if t.heap_index == heap.index]
            for field in ("current_bytes", "allocation_count", "free_count"):
                must(sum(t[field] for t in types) == heap[field], f"memory types of heap {heap.index}: {field}")
    return found


def main():
    arguments = sys.argv[1:]
    printing = arguments[:1] == ["--print"]
    if printing:
        arguments = arguments[1:]
    report = load(arguments[0])
    vulkan = report.get("vulkan") or Fields(devices=[])
    names = {"r": report, "process": report.process, "cpu": report.cpu, "vulkan": vulkan,
             "frames": report.get("frames"), "timeline": report.get("timeline"), "config": report.get("config"),
             "dev": vulkan.devices[0] if vulkan.devices else None}
    if printing:
        print(eval(arguments[1], names))  # the tests' own expressions
        return 0
    problems = schema_problems(report) + sum_problems(report)
    for expression in arguments[1:]:
        try:
            if not eval(expression, names):
                problems.append(f"not true: {expression}")
        except Exception as error:
            problems.append(f"{expression}: {type(error).__name__}: {error}")
    for line in problems[:20]:
        print(line)
    if problems:
        for name in ("process", "cpu"):
            text = {k: v for k, v in report[name].items() if not isinstance(v, (list, dict)) or k == "exit"}
            print(f"  {name}: {json.dumps(text)}")
    return 1 if problems else 0


sys.exit(main())
