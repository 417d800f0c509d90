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


def total(rows, field):
    return sum(row[field] or 0 for row in rows)


def largest_block(cpu):
    return max((row.max_bytes or cpu.peak_bytes for row in cpu.size_classes if row.allocation_count), default=0)


def share_problems(cpu, has_dropped_memory):
    """What the tables of an ended process share out: every row's part of what was counted."""
    summary, found = cpu.stack_summary, []
    is_all, by_origin = summary["mode"] == "all", cpu.pools["mode"] == "on"

    def same(what, value, wanted, slack=0):
        if abs(value - wanted) > slack:
            found.append(f"does not add up: {what} {value} is not {wanted}")

    same("threads' bytes", total(cpu.threads, "current_bytes") + cpu.inherited_bytes, cpu.current_bytes)
    same("threads' total_bytes", total(cpu.threads, "total_bytes"), cpu.total_bytes)
    # A thread that was stopped by the process's end may have been between two counters.
    stopped = max(cpu.thread_count_live - 1, 0)
    same("size classes' count", total(cpu.size_classes, "current_count") + cpu.inherited_count, cpu.current_count, stopped)
    if not cpu.inherited_count:
        low, high = total(cpu.size_classes, "current_bytes_low"), total(cpu.size_classes, "current_bytes_high")
        if not low <= cpu.current_bytes or (None not in [c.current_bytes_high for c in cpu.size_classes] and
                                            not cpu.current_bytes <= high):
            found.append(f"does not add up: size classes {low} to {high} bytes, current_bytes {cpu.current_bytes}")
    # Where all stacks were recorded but for some that are counted as lost, tables by stack lack those.
    complete = not any(summary.lost.values()) if is_all else by_origin

    def shared_out(what, value, field):
        same(what, value, cpu[field], stopped * (1 if field.endswith("count") else largest_block(cpu)))

    if cpu.tags and complete:
        for field in ("current_bytes", "current_count", "total_bytes", "allocation_count", "free_count"):
            shared_out(f"tags' {field}", total(cpu.tags, field), field)
    # With all stacks, nothing is known of what was live at a fork but its sum.
    if cpu.modules and complete and not (is_all and cpu.inherited_count) and all(m.is_exact for m in cpu.modules):
        for field, wanted in (("live_bytes", "current_bytes"), ("live_count", "current_count"),
                              ("total_bytes", "total_bytes"), ("allocation_count", "allocation_count"),
                              ("free_count", "free_count")):
            shared_out(f"modules' {field}", total(cpu.modules, field), wanted)
    # Estimates are rounded row by row.
    rounding = 0 if is_all else summary.stack_count
    for field in ("live_bytes", "live_count", "peak_bytes", "total_bytes", "total_count", "temporary_count",
                  "same_frame_count", "sample_count"):
        same(f"stacks' {field}", total(cpu.stacks, field) + summary.not_listed[field], summary[field], rounding)
    if is_all and complete and not cpu.inherited_count:
        shared_out("stacks' live bytes", summary.live_bytes, "current_bytes")
        shared_out("stacks' allocations", summary.total_count, "allocation_count")
    if is_all and complete and not cpu.inherited_count and not has_dropped_memory:
        shared_out("ages of freed blocks", total(cpu.lifetimes.time_ns, "count"), "free_count")
    return found


def peak_problems(cpu):
    """Own peaks: at least what is live, at most what they were a part of; and parts of the process's peak."""
    found = []
    highest = cpu.peak_bytes + cpu.peak_error_bytes
    for name, rows in (("tag", cpu.tags), ("module", cpu.modules), ("thread", cpu.threads)):
        for row in rows:
            live, peak, error = row.get("current_bytes", row.get("live_bytes")), row.peak_bytes, row.peak_error_bytes
            if peak is None or error is None or live is None or row.get("thread_count", 1) != 1:
                continue  # ended threads of one name: the highest of any one of them
            what = f"{name} {row.get('tag') or row.get('name') or row.get('path')}"
            if live > peak + error:
                found.append(f"{what}: live {live} is above its peak {peak} +- {error}")
            if name != "thread" and peak - error > highest:
                found.append(f"{what}: its peak {peak} +- {error} is above the process's {highest}")
    if cpu.stack_summary["mode"] == "all" and not any(cpu.stack_summary.lost.values()) and not cpu.inherited_count:
        for name, rows in (("tags", cpu.tags), ("modules", cpu.modules)):
            parts = total(rows, "at_peak_bytes")
            # Another thread's newest block may be part of the peak, and not yet written down.
            error = cpu.peak_error_bytes + min(max(cpu.thread_count - 1, 0), 16) * largest_block(cpu)
            if abs(parts - cpu.peak_bytes) > error:
                found.append(f"does not add up: {name}' at_peak_bytes {parts} is not {cpu.peak_bytes} +- {error}")
    return found


def device_problems(vulkan, ended):
    """What a device's tables say of the same memory."""
    found = []

    def same(what, value, wanted):
        if value != wanted:
            found.append(f"does not add up: {what} {value} is not {wanted}")

    same("devices", total(vulkan.devices, "current_bytes"), vulkan.current_bytes)
    for device in vulkan.devices:
        same("heaps", total(device.heaps, "current_bytes"), device.current_bytes)
        own = [a for a in device.allocations if not a.imported_from]
        same("live allocations", [total(own, "size_bytes"), len(own)], [device.memory.bytes, device.memory["count"]])
        if ended and not device.leaked_count:
            same("allocations of a device", device.memory.bytes, device.current_bytes)
        for row in device.allocations:
            if not row.sparse_unknown:
                same("bound and unbound bytes", row.bound_bytes + row.unbound_bytes, row.size_bytes)
        for name in ("buffers", "images"):
            for field in ("count", "requested_bytes", "required_bytes", "bound_bytes"):
                same(f"{name} by kind: {field}", total(device[name].by_kind, field), device[name][field])
    return found


def course_problems(report, ended):
    """Frames and the timeline: what only grows, and where it ends."""
    found, last = [], None
    for name, of_all in (("allocations", "allocation_count"), ("frees", "free_count"), ("bytes", "total_bytes")):
        row = report.frames[f"{name}_per_frame"]
        # A frame of a program that runs may be counted here and not there yet.
        is_same = abs(row["count"] - report.frames["count"]) <= (0 if ended else 1)
        if not is_same or (ended and (row["sum"] or 0) > report.cpu[of_all]):
            found.append(f"does not add up: {name} per frame: {row['count']} frames, {row['sum']} in all")
    for point in report.timeline:
        if last and (point.t_s < last.t_s or point.frame < last.frame or
                     point.cpu_allocation_count < last.cpu_allocation_count):
            found.append(f"the timeline goes back at {point.t_s} s")
        last = point
    if last and ended and last.cpu_allocation_count != report.cpu.allocation_count:
        found.append("the last point of the timeline is not the report's")
    return found


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
    slack = max(cpu.thread_count_live - 1, 0) if ended else 1000000 if report.process.exit.state == "running" else max(1, len(cpu.threads))
    for field in ("allocation_count", "free_count"):
        for table in ("size_classes", "threads"):
            total = sum(row[field] for row in cpu[table])
            must(abs(total - cpu[field]) <= slack, f"{table}' {field} {total} is not {cpu[field]}")
    memory = cpu.memory
    if memory.rss_bytes is not None:
        parts = memory.heap_bytes + memory.mappings_bytes + memory.memtrack_bytes + memory.rest_bytes - memory.untouched_bytes
        must(parts == memory.rss_bytes, f"resident memory: {parts} is not {memory.rss_bytes}")
    must(cpu.mapped_bytes == cpu.mappings.current_bytes <= cpu.mappings.peak_bytes, "mappings")
    found += course_problems(report, ended) + device_problems(report.vulkan, ended)
    if ended:
        found += share_problems(cpu, report.dropped.memory > 0) + peak_problems(cpu)
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
