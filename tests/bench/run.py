#!/usr/bin/env python3
"""Timings of memtrack against plain runs and against the peers that are installed.

Every round runs all variants of a workload one after another, in a new order each time, so that
whatever else the machine does falls on all of them alike. A ratio is a variant's number over the
plain run's: of the least wall time, the least user plus system time and the median resident size of
all rounds, because other programs can make a run slower and never faster. Nothing here passes or fails.
"""
import argparse
import datetime
import os
import platform
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
import workloads  # noqa: E402 (no compiled copy of it beside the sources)
from workloads import Work, search_path  # noqa: E402

SOURCE = workloads.SOURCE
BEGIN, END = "<!-- made by make {}: begin -->", "<!-- end -->"
SECTIONS = {"bench-docs": ("pairs", "patterns", "arenas", "programs", "layer"), "bench-scale": ("scale",),
            "bench-tracking": ("tracking",), "bench-suite": ("suite",)}
LIMIT_S = 600  # for one run
LIBRARIES = "/usr/lib/" + platform.machine() + "-linux-gnu"
PEERS = {"jemalloc": "libjemalloc.so.2", "mimalloc": "libmimalloc.so.2.0", "tcmalloc": "libtcmalloc_minimal.so.4"}


def built(build, name):
    """A program of the build folder, wherever its part puts it."""
    for folder, _, files in os.walk(build):
        if name in files and os.access(os.path.join(folder, name), os.X_OK):
            return os.path.join(folder, name)
    return None


def added_seconds(found, name):
    """What a variant adds to the least wall time and processor time of the plain run; None where it failed."""
    rows, plain = found.get(name), found["plain"]
    if not rows or any(row[3] for row in rows + plain):
        return None
    return [min(row[i] for row in rows) - min(row[i] for row in plain) for i in range(2)]


def added_text(added):
    """Recording every stack against heaptrack, which does the same: over all rows together, and the worst row."""
    rows = [row for row in added if row[1] and row[2] and min(row[2]) > 0]
    if not rows:
        return []
    words = []
    for i, what in enumerate(("wall time", "processor time")):
        total = sum(row[1][i] for row in rows) / sum(row[2][i] for row in rows)
        worst = max(rows, key=lambda row: row[1][i] / row[2][i])
        words.append(f"{total:.0%} of the {what} that heaptrack adds ({worst[0]}: {worst[1][i] / worst[2][i]:.0%})")
    return ["", "Recording all stacks adds, over all rows together (and in the worst one), " + " and ".join(words) + "."]


def launched(path):
    """What bench_launch wrote: wall time, processor time, KiB, exit status."""
    if not os.path.exists(path):
        return 0.0, 0.0, 0, 127
    with open(path, encoding="utf-8") as file:
        wall, cpu, rss, status = file.read().split()
    return float(wall), float(cpu), int(rss), os.waitstatus_to_exitcode(int(status))


class Bench:
    def __init__(self, options, folder):
        self.options, self.folder, self.build = options, folder, options.build
        self.reports = os.path.join(folder, "reports")
        os.makedirs(self.reports)
        # Segments of programs without a collector stay: in a folder of ours, on shared memory as they are else.
        self.session = tempfile.mkdtemp(prefix="memtrack-bench.", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else folder)
        self.screen = None
        self.sections = []

    def close(self):
        shutil.rmtree(self.session, ignore_errors=True)
        if self.screen:
            self.screen[0].terminate()
            self.screen[0].wait()

    def environment(self, extra):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("MEMTRACK_", "VK_", "LD_"))}
        env.update(PATH=search_path(), HOME=self.folder, LC_ALL="C.UTF-8", MESA_SHADER_CACHE_DISABLE="true",
                   SDL_AUDIODRIVER="dummy")
        if self.screen:
            env["DISPLAY"] = self.screen[1]
        env.update(extra)
        return env

    def run(self, work, words, extra):
        """Seconds of wall time and of processor time, KiB of the largest process, status."""
        outer, inner, printed = (os.path.join(self.folder, name) for name in ("outer", "inner", "printed"))
        launcher = built(self.build, "bench_launch")
        extra = {**work.environment, **extra}
        # A resident size begins with that of the process it was made by, so a small one makes them; a tool
        # before the command has a second one behind it, which sees the program alone.
        command = [launcher, outer, extra.pop("LD_PRELOAD", "")]
        command += [*words, launcher, inner, "", *work.command] if words else work.command
        for path in (outer, inner):
            if os.path.exists(path):
                os.unlink(path)
        if work.prepare:
            work.prepare()
        with open(work.stdin, "rb") as stdin, open(printed, "wb") as stdout:
            process = subprocess.Popen(command, env=self.environment(extra), cwd=self.folder, stdin=stdin, stdout=stdout,
                                       stderr=subprocess.DEVNULL, start_new_session=True)
            is_void = False
            try:
                is_void = work.beside is not None and not work.beside()
                process.wait(LIMIT_S)
            except subprocess.TimeoutExpired:
                note(f"{work.title} is ended after {LIMIT_S} seconds")
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        wall, cpu, rss, status = launched(outer)
        if words:
            _, _, rss, status = launched(inner)
        if is_void:
            return wall, cpu, rss, 1
        if work.own_seconds and status == 0:
            with open(printed, encoding="latin-1") as file:
                own = work.own_seconds(file.read())
            if own is None:
                return wall, cpu, rss, 1
            wall, cpu = own, cpu * own / wall if work.has_fixed_time else cpu
        return wall, cpu, rss, status

    def preload(self):
        return {"LD_PRELOAD": os.path.join(self.build, "libmemtrack.so"), "MEMTRACK_OUTPUT": self.reports,
                "MEMTRACK_COLLECTOR": "none", "MEMTRACK_SESSION": self.session}

    def variants(self):
        """Name, words before the command, environment; the plain run comes first."""
        alone = self.preload()
        command = [os.path.join(self.build, "memtrack"), "run", "--output", self.reports, "--"]
        rows = [("plain", [], {}), ("counting", [], {**alone, "MEMTRACK_POOLS": "off", "MEMTRACK_STACKS": "off"}),
                ("pools", [], {**alone, "MEMTRACK_POOLS": "on", "MEMTRACK_STACKS": "off"}),
                ("sampled stacks", [], {**alone, "MEMTRACK_STACKS": "sampled"}),
                ("all stacks", [], {**alone, "MEMTRACK_STACKS": "all"}), ("memtrack run", command, {})]
        if not self.options.no_peers:
            for name, library in PEERS.items():
                path = os.path.join(LIBRARIES, library)
                if os.path.exists(path):
                    rows.append((name, [], {"LD_PRELOAD": path}))
            if shutil.which("heaptrack"):
                rows.append(("heaptrack", ["heaptrack", "--raw"], {}))
        return rows

    def measure(self, work, variants, rounds):
        """For each variant the lists of wall, processor time, RSS and status over all rounds."""
        found = {name: [] for name, _, _ in variants}
        slow = {"heaptrack"}
        start = time.monotonic()
        if work.needs_screen and not self.screen:
            self.screen = self.start_x()
        for number in range(rounds):
            order = variants[:]
            random.Random(number).shuffle(order)
            for name, words, env in order:
                if name in slow and number >= max(1, rounds // 3):
                    continue
                for _ in range(4):  # OpenGL on Vulkan may end by an X error, with and without memtrack
                    row = self.run(work, words, env)
                    self.clean()
                    if row[3] == 0:
                        break
                found[name].append(row)
            if number and self.options.row_seconds and time.monotonic() - start > self.options.row_seconds:
                break
        return found

    def clean(self):
        for folder in (self.reports, self.session):
            for name in os.listdir(folder):
                if name.endswith((".seg", ".json", ".jsonl")):
                    os.unlink(os.path.join(folder, name))
        for name in os.listdir(self.folder):
            if name.startswith("heaptrack."):
                os.unlink(os.path.join(self.folder, name))

    def ratios(self, found, name):
        plain, mine = found["plain"], found[name]
        if any(row[3] for row in mine + plain):
            return None
        wall = min(m[0] for m in mine) / max(1e-9, min(p[0] for p in plain))
        cpu = min(m[1] for m in mine) / max(1e-9, min(p[1] for p in plain))
        rss = statistics.median(m[2] for m in mine) / statistics.median(p[2] for p in plain)
        return wall, cpu, rss

    def present(self, rows):
        """Those that can be run here; the others are said."""
        for work in rows:
            why = workloads.missing(work)
            if why:
                note(f"skip {work.title}: {why}")
        wanted = self.options.programs.split(",") if self.options.programs else None
        return [work for work in rows if not workloads.missing(work) and (not wanted or work.title in wanted)]

    def programs(self):
        self.table(workloads.programs(self.folder), "Whole programs")

    def suite(self):
        rows = workloads.suite(self.options.suite or os.environ.get("SUITE") or "")
        wanted = [("plain", [], {}), ("memtrack", [], self.preload()),
                  ("pools, counting only", [], {**self.preload(), "MEMTRACK_STACKS": "off"})]
        wanted += [variant for variant in self.variants() if variant[0] in PEERS]
        self.table(rows, "The public malloc suite", wanted,
                   "Programs of [mimalloc-bench](https://github.com/daanx/mimalloc-bench), with its own arguments but where a run would "
                   "be shorter than half a second or needlessly long. Each cell: wall time / processor time / resident size, as "
                   "ratios to the plain run. `memtrack` is the preloaded library with its default options: pools, exact counts "
                   "and sampled call stacks. larson, xmalloc-test, rptest and glibc-thread report rates: the time is that for "
                   f"the same work at that rate. Up to {self.options.rounds} interleaved rounds"
                   + (f"; a row ends after the second one, or any later, in which it has taken {self.options.row_seconds:g} seconds."
                      if self.options.row_seconds else "."))

    def patterns(self):
        program = built(self.build, "bench_patterns")
        if not program:
            note("bench_patterns is not built: the patterns are left out")
            return
        names = subprocess.run([program], capture_output=True, text=True, check=False).stdout.split()
        rows = [Work(name, [program, name]) for name in names]
        containers = built(self.build, "bench_containers")
        if containers:
            rows.append(Work("C++ containers", [containers]))
        self.table(rows, "Patterns of allocation", self.with_empty(self.variants()))

    def with_empty(self, variants):
        """The control: a preloaded library that does nothing, behind the plain run."""
        path = os.path.join(self.build, "tests", "libempty.so")
        return variants[:1] + ([("empty library", [], {"LD_PRELOAD": path})] if os.path.exists(path) else []) + variants[1:]

    def arenas(self):
        program = built(self.build, "bench_bursts")
        if not program:
            note("bench_bursts is not built: arenas are left out")
            return
        preload = self.preload()
        peers = [v for v in self.variants() if v[0] in PEERS]
        variants = [("plain", [], {}), ("slabs", [], {**preload, "MEMTRACK_ARENA": "off"}),
                    ("learned", [], {**preload, "MEMTRACK_ARENA": "auto"}),
                    ("named", [], {**preload, "MEMTRACK_ARENA": "rules", "MEMTRACK_ARENA_SITES": "module:bench_bursts"})] + peers
        rows = [Work(f"{blocks:,} blocks{', ' + how if how else ''}", [program, str(blocks), how])
                for blocks, how in ((50, ""), (1000, ""), (3000, ""), (3000, "shuffled"), (3000, "kept"), (20000, ""),
                                    (20000, "shuffled"), (100000, ""))]
        self.table(rows, "Bursts and arenas", variants,
                   "Bursts of so many blocks of 16 to 815 bytes that die together, from the last to the first, shuffled, or but for "
                   "one in 200. Each cell: wall time / processor time / resident size, as ratios to the plain run. `slabs` is "
                   "memtrack without arenas, `learned` with its default options, `named` with a rule that puts the call site into "
                   f"arenas from the start; {self.options.rounds} interleaved rounds.")

    def table(self, rows, heading, variants=None, text=None):
        variants = variants or self.variants()
        names = [name for name, _, _ in variants if name != "plain"]
        lines = ["| program | plain, s | " + " | ".join(names) + " |", "|---|---|" + "---|" * len(names)]
        overall = {name: [] for name in names}
        added = []
        for work in self.present(rows):
            found = self.measure(work, variants, self.options.rounds)
            added.append((work.title, added_seconds(found, "all stacks"), added_seconds(found, "heaptrack")))
            cells = []
            for name in names:
                ratio = self.ratios(found, name)
                cells.append("fails" if ratio is None else f"{ratio[0]:.2f} / {ratio[1]:.2f} / {ratio[2]:.2f}")
                if ratio:
                    overall[name].append(ratio)
            lines.append(f"| {work.title} | {min(r[0] for r in found['plain']):.2f} | " + " | ".join(cells) + " |")
            note(lines[-1])
        for word, function in (("geometric mean", statistics.geometric_mean), ("worst row", max)):
            cells = [" / ".join(f"{function([r[i] for r in overall[n]]):.2f}" for i in range(3)) if overall[n] else "-"
                     for n in names]
            lines.append(f"| **{word}** | | " + " | ".join(f"**{cell}**" for cell in cells) + " |")
            note(lines[-1])
        lines += added_text(added)
        absent = [f"{work.title}: {workloads.missing(work)}" for work in rows if workloads.missing(work)]
        if absent:
            lines += ["", "Left out: " + "; ".join(absent) + "."]
        self.sections.append((heading, text or "Each cell: wall time / processor time / resident size of the program "
                              f"alone, as ratios to the plain run; {self.options.rounds} interleaved rounds. "
                              + ("`empty library` is a preloaded one that does nothing. " if "empty library" in names else "")
                              + "`counting` is the preloaded library "
                              "over the program's own allocator, `pools` the library with its pools, the two `stacks` "
                              "columns pools and call stacks, `memtrack run` the whole command with default options, its "
                              "collector, its start and its end.", lines))

    # ---- what grows -------------------------------------------------------------

    def scale_variants(self):
        return [v for v in self.variants() if v[0] not in ("memtrack run", "all stacks", "heaptrack", "counting")]

    def scale_table(self, heading, text, kind, values, rounds, control=None):
        """Least nanoseconds of a pair of malloc and free over all rounds, and how much that differs along the column."""
        program = built(self.build, "bench_scale")
        if not program:
            note("bench_scale is not built: what grows is left out")
            return
        variants = [(name, kind, env) for name, _, env in self.scale_variants()]
        if control:
            variants.append(("memory alone", control, {}))
        lines = ["| " + kind + " | " + " | ".join(v[0] for v in variants) + " |", "|---|" + "---|" * len(variants)]
        columns = {name: [] for name, _, _ in variants}
        for value, shown in values:
            best = {name: [] for name, _, _ in variants}
            for number in range(rounds):
                order = variants[:]
                random.Random(number).shuffle(order)
                for name, what, env in order:
                    text_out = subprocess.run([program, what, str(value)], env=self.environment(env), capture_output=True,
                                              text=True, check=False).stdout
                    self.clean()
                    if re.fullmatch(r"[0-9]+\.[0-9]+\n", text_out):
                        best[name].append(float(text_out))
            for name in best:
                columns[name].append(min(best[name]) if best[name] else None)
            lines.append(f"| {shown} | " + " | ".join(f"{min(best[n]):.1f}" if best[n] else "fails" for n in best) + " |")
            note(lines[-1])
        lines.append("| **highest / lowest** | " + " | ".join(range_text(c) for c in columns.values()) + " |")
        note(lines[-1])
        if control:
            alone = columns.pop("memory alone")
            added = [[a - b if a is not None and b is not None else None for a, b in zip(c, alone)] for c in columns.values()]
            lines.append("| **the same of what is added to memory alone** | " + " | ".join(range_text(c) for c in added) + " | |")
            note(lines[-1])
        self.sections.append((heading, text.format(rounds), lines))

    def scale(self):
        rounds = min(3, self.options.rounds)
        common = "Least nanoseconds of the thread's own processor time for one malloc and one free, of {} " \
                 "interleaved runs of five repeats and more; each block's first byte is written. "
        sizes = [8, 64, 256, 1024, 4096, 16384, 32768, 65536, 1 << 18, 1 << 20, 1 << 22, 32 << 20, 64 << 20, 1 << 30]
        alone = "\"Memory alone\" is the same walk without an allocator, over blocks that lie one behind the other: it writes the " \
                "pointer and the block where it lies. The last row leaves it out: it compares what allocators add. Where memory is most " \
                "of a row, the processor does much of an allocator's work meanwhile, so that little seems to be added; - where nothing does."
        self.scale_table("Sizes", common + "A few hundred blocks of one size (fewer of the large ones), replaced in turn. " + alone,
                         "size", [(size, human(size)) for size in sizes], rounds, "size-alone")
        counts = [10 ** power for power in range(3, 9) if 10 ** power <= self.options.most_live]
        live = [(count, f"10^{len(str(count)) - 1}") for count in counts]
        rounds_of_live = 1 if counts[-1] > 10 ** 7 else rounds
        self.scale_table("Live blocks", common + "That many live blocks of 16 bytes; 64 neighbours are replaced at a random place. " + alone,
                         "live", live, rounds_of_live, "live-alone")
        self.scale_table("Live blocks, the oldest replaced", common + "That many live blocks of 16 bytes; the one that has lived longest is "
                         "replaced each time, so that the processor knows what memory comes next. " + alone,
                         "oldest", live, rounds_of_live, "oldest-alone")
        counts = [(count, str(count)) for count in (1, 2, 4, 8, 16, 32, 64)]
        self.scale_table("Threads", common + "Each thread replaces small blocks of mixed sizes in a window of 512.", "threads", counts, rounds)
        self.scale_table("Threads with large blocks", common + "Each thread replaces 64 blocks of 1 MiB in turn; all begin "
                         "together. " + alone, "large", counts, rounds, "large-alone")

    # ---- what tracking costs ------------------------------------------------------

    def tracking(self):
        untracked = os.path.join(self.build.rstrip("/") + "-untracked", "libmemtrack.so")
        if not os.path.exists(untracked):
            note(f"{untracked} is not there: make bench-tracking builds it")
            return
        base = {**self.preload(), "MEMTRACK_POOLS": "on"}
        variants = [("plain", [], {**base, "LD_PRELOAD": untracked, "MEMTRACK_STACKS": "off"}),
                    ("counted", [], {**base, "MEMTRACK_STACKS": "off"}), ("counted, sampled stacks", [], base)]
        self.table(workloads.programs(self.folder), "What tracking costs", variants,
                   "Each cell: wall time / processor time / resident size of the pools as they are, as ratios to the same pools "
                   f"without counting (`make TRACKING=0`), whose seconds are in the second column; {self.options.rounds} "
                   "interleaved rounds; processor time is the least of each.")

    def pairs(self):
        program = built(self.build, "bench_pairs")
        if not program:
            note("bench_pairs is not built: pairs are left out")
            return
        variants = [v for v in self.variants() if v[0] not in ("memtrack run", "heaptrack")]
        names = [name for name, _, _ in variants]
        lines = ["| threads | " + " | ".join(names) + " | counting adds |", "|---|" + "---|" * (len(names) + 1)]
        for threads in ("1", "2", "8"):
            best = {name: [] for name in names}
            for number in range(self.options.rounds):
                order = variants[:]
                random.Random(number).shuffle(order)
                for name, _, env in order:
                    text = subprocess.run([program, threads, "0.4"], env=self.environment(env), capture_output=True, text=True,
                                          check=False).stdout
                    self.clean()
                    value = re.search(r"[0-9]+\.[0-9]+", text)
                    if value:
                        best[name].append(float(value.group()))
            cells = [f"{statistics.median(best[n]):.1f} ({min(best[n]):.1f})" if best[n] else "-" for n in names]
            added = min(best["counting"]) - min(best["plain"]) if best["counting"] and best["plain"] else float("nan")
            lines.append(f"| {threads} | " + " | ".join(cells) + f" | {added:+.1f} ns |")
            note(lines[-1])
        self.sections.append(("Pairs of malloc and free", "Nanoseconds for one pair and thread: median (least) of "
                              f"{self.options.rounds} interleaved rounds.", lines))

    def start_x(self):
        display = os.path.join(self.folder, "display")
        with open(display, "w", encoding="utf-8") as file:
            server = subprocess.Popen(["Xvfb", "-displayfd", "1", "-screen", "0", "640x480x24", "-nolisten", "tcp"],
                                      stdout=file, stderr=subprocess.DEVNULL)
        for _ in range(100):
            number = open(display, encoding="utf-8").read().strip()
            if number:
                return server, ":" + number
            time.sleep(0.1)
        server.kill()
        server.wait()
        return None

    def layer(self):
        layer = {"VK_LAYER_PATH": os.path.join(self.build, "manifests", "vulkan", "explicit_layer.d"),
                 "VK_INSTANCE_LAYERS": "VK_LAYER_MEMTRACK_memtrack", "MEMTRACK_COLLECTOR": "none", "MEMTRACK_OUTPUT": self.reports,
                 "MEMTRACK_SESSION": self.session}
        both = {**layer, "LD_PRELOAD": os.path.join(self.build, "libmemtrack.so")}
        variants = [("plain", [], {}), ("layer", [], layer), ("layer and library", [], both)]
        lines = ["| program | plain, ms a frame | layer | layer and library |", "|---|---|---|---|"]
        for work in self.present(workloads.drawing()):
            found = self.measure(work, variants, self.options.rounds)
            cells = []
            for name in ("layer", "layer and library"):
                ratio = self.ratios(found, name)
                cells.append("fails" if ratio is None else f"{ratio[0]:.3f} / {ratio[1]:.3f}")
            plain = min(row[0] for row in found["plain"]) * 1000 / work.frames
            lines.append(f"| {work.title} | {plain:.3f} | {cells[0]} | {cells[1]} |")
            note(lines[-1])
        self.sections.append(("Frames with the Vulkan layer", "Wall time / processor time of the whole run as ratios to the "
                              "run without the layer, on the software driver.", lines))
        self.layer_calls()

    def layer_calls(self):
        program = built(self.build, "bench_layer")
        if not program:
            note("bench_layer is not built: the cost of a call is left out")
            return
        text = subprocess.run([program, os.path.join(self.build, "libVkLayer_memtrack.so")],
                              env=self.environment({"MEMTRACK_COLLECTOR": "none"}), cwd=self.folder,
                              capture_output=True, text=True, check=False).stdout
        note(text)
        self.sections.append(("One call through the Vulkan layer", "Nanoseconds that the layer adds to a call, over a driver that does "
                              "nothing, with as many live buffers and as many live allocations; each thread binds to memory of its "
                              "own, and one of them presents.", text.rstrip().splitlines()))
        self.pool_calls()

    def pool_calls(self):
        program = built(self.build, "bench_pool")
        if not program:
            note("bench_pool is not built: pools of device memory are left out")
            return
        text = subprocess.run([program, self.build], env=self.environment({"MEMTRACK_COLLECTOR": "none"}), cwd=self.folder,
                              capture_output=True, text=True, check=False).stdout
        note(text)
        lines = [line for line in text.splitlines() if line.startswith("|")]
        self.sections.append(("Device memory: pools against the driver's own calls", "Nanoseconds for a pair of vkAllocateMemory and "
                              "vkFreeMemory of 4,096 bytes, one scattered among the live ones, over a mock driver; the threads have "
                              "10,000 live ones together. \"Pool alone\" is without hooks, records and counters.", lines))

    def document(self, target):
        model = "unknown processor"
        for line in open("/proc/cpuinfo", encoding="utf-8"):
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
        system = re.search(r'^PRETTY_NAME="(.*)"', open("/etc/os-release", encoding="utf-8").read(), re.M)
        out = [f"Machine: {model}, {os.cpu_count()} cores, {system.group(1) if system else 'Linux'}, "
               f"{platform.libc_ver()[0]} {platform.libc_ver()[1]}. Measured on {datetime.date.today()} with "
               f"`make {target}{' BENCH_ARGS=' + repr(' '.join(self.options.said)) if self.options.said else ''}`.", ""]
        for title, text, lines in self.sections:
            out += [f"## {title}", "", text, ""] + lines + [""]
        return "\n".join(out)


def note(text):
    print(text, file=sys.stderr, flush=True)


def range_text(values):
    """The highest over the lowest of a column, without what failed; "-" where that says nothing."""
    found = [value for value in values if value is not None]
    return f"**{max(found) / min(found):.1f}**" if found and min(found) > 0 else "-"


def human(size):
    for unit, shift in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 1 << shift:
            return f"{size >> shift} {unit}"
    return f"{size} B"


def write(path, text, target):
    old = open(path, encoding="utf-8").read()
    begin = BEGIN.format(target)
    head, rest = old.split(begin, 1)
    tail = rest.split(END, 1)[1]
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(head + begin + "\n" + text + "\n" + END + tail)
    os.replace(path + ".new", path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(SOURCE, "build"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", choices=sum(SECTIONS.values(), ()), action="append")
    parser.add_argument("--target", choices=SECTIONS, default="bench-docs", help="the tables of this make target")
    parser.add_argument("--most-live", type=int, default=10 ** 7, help="live blocks of the largest row; 10^8 take 2.4 GB")
    parser.add_argument("--no-peers", action="store_true", help="leave the other allocators and heaptrack out")
    parser.add_argument("--suite", metavar="FOLDER", help="a built daanx/mimalloc-bench, for --target bench-suite")
    parser.add_argument("--row-seconds", type=float, help="a row ends after two or more rounds that took so long together; 0: all "
                        "rounds (default: 20 for the suite, else 0)")
    parser.add_argument("--programs", metavar="NAME,...", help="only these rows of the tables")
    parser.add_argument("--write", metavar="FILE", help="put the tables into this document")
    options = parser.parse_args()
    options.build = os.path.abspath(options.build)
    options.said = ([f"--rounds {options.rounds}"] if options.rounds != 7 else []) + (["--no-peers"] if options.no_peers else []) + \
        ([f"--most-live {options.most_live}"] if options.most_live != 10 ** 7 else []) + \
        ([f"--row-seconds {options.row_seconds:g}"] if options.row_seconds is not None else []) + \
        ([f"--programs {options.programs}"] if options.programs else [])
    if options.row_seconds is None:
        options.row_seconds = 20 if options.target == "bench-suite" else 0
    if not built(options.build, "bench_launch"):
        parser.error(f"bench_launch is not in {options.build}: `make bench` builds it")
    with tempfile.TemporaryDirectory(prefix="memtrack-bench.") as folder:
        bench = Bench(options, folder)
        try:
            for section in SECTIONS[options.target] if not options.only else sum(SECTIONS.values(), ()):
                if not options.only or section in options.only:
                    getattr(bench, section)()
        except FileNotFoundError as error:
            sys.exit(f"bench: {error}")
        finally:
            bench.close()
        text = bench.document(options.target)
    print(text)
    if options.write:
        write(options.write, text, options.target)


main()
