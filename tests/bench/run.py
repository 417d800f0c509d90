#!/usr/bin/env python3
"""Timings of memtrack against plain runs and against the peers that are installed.

Every round runs all variants of a workload one after another, in a new order each time, so that
whatever else the machine does falls on all of them alike. A ratio is a variant's time over the
plain run's: `cpu` from the least user plus system time of each, `wall` from the median of the
rounds' own ratios, `rss` from the largest resident size. Nothing here passes or fails.
"""
import argparse
import datetime
import os
import platform
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DATA = os.path.join(SOURCE, "tests", "integration", "data")
BEGIN, END = "<!-- made by make {}: begin -->", "<!-- end -->"
SECTIONS = {"bench-docs": ("pairs", "patterns", "arenas", "programs", "layer"), "bench-scale": ("scale",), "bench-tracking": ("tracking",)}
LIBRARIES = "/usr/lib/" + platform.machine() + "-linux-gnu"
PEERS = {"jemalloc": "libjemalloc.so.2", "mimalloc": "libmimalloc.so.2.0", "tcmalloc": "libtcmalloc_minimal.so.4"}

PYTHON_WORK = """
import collections, json, re
rows = [{"id": i, "name": str(i) * 3, "values": [i * j for j in range(10)]} for i in range(25000)]
for _ in range(3):
    text = json.dumps(rows); rows = json.loads(text)
words = collections.Counter(re.findall(r"[0-9]+", text))
table = {}
for i in range(250000):
    table[str(i)] = bytes(i % 300); table.pop(str(i - 2000), None)
print(len(text), len(words), len(table))
"""
NODE_WORK = """
let rows = [];
for (let i = 0; i < 150000; i++) { rows.push({ i, text: String(i).repeat(5), data: Buffer.alloc(i % 4096) });
  if (rows.length > 20000) rows.splice(0, 10000); }
let text = JSON.stringify(rows.map(r => r.text));
const zlib = require("zlib");
for (let k = 0; k < 30; k++) zlib.inflateSync(zlib.deflateSync(Buffer.from(text.slice(0, 300000))));
console.log(text.length);
"""
PERL_WORK = """
my %h; for my $n (1 .. 400000) { $h{"key " . ($n * 7919 % 100003)} .= "value $n"; }
my @s = sort { $a cmp $b } map { $_ . $h{$_} } keys %h; print scalar(@s), " ", length(join "", @s), "\\n";
"""


def programs(folder):
    """Name, command and extra environment of the allocation-heavy programs that are installed."""
    sql = open(os.path.join(DATA, "shop.sql"), encoding="utf-8").read().replace("40000", "300000")
    sql_file = os.path.join(folder, "shop.sql")
    with open(sql_file, "w", encoding="utf-8") as file:
        file.write(sql)
    wesnoth = ["wesnoth", "--nogui", "--multiplayer", "--nosound", "--rng-seed", "7", "--exit-at-end", "--nodelay",
               "--scenario=multiplayer_The_Freelands", "--controller=1:ai", "--controller=2:ai",
               "--side=1:Loyalists", "--side=2:Rebels", "--turns=4"]
    rows = [
        ("lua", ["lua5.4", os.path.join(DATA, "tables.lua"), "17"], {}),
        ("sqlite", ["sqlite3", ":memory:", f".read {sql_file}"], {}),
        ("python", ["/usr/bin/python3", "-c", PYTHON_WORK], {"PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0"}),
        ("g++", ["g++", "-O1", "-c", "-o", "/dev/null", os.path.join(DATA, "templates.cpp")], {}),
        ("node", ["node", "-e", NODE_WORK], {}),
        ("perl", ["perl", "-e", PERL_WORK], {"PERL_HASH_SEED": "0"}),
        ("wesnoth", wesnoth, {"SDL_VIDEODRIVER": "dummy"}),
    ]
    return [row for row in rows if shutil.which(row[1][0], path=search_path())]


def search_path():
    return os.environ.get("PATH", "") + ":/usr/games"


def built(build, name):
    """A program of the build folder, wherever its part puts it."""
    for folder, _, files in os.walk(build):
        if name in files and os.access(os.path.join(folder, name), os.X_OK):
            return os.path.join(folder, name)
    return None


class Bench:
    def __init__(self, options, folder):
        self.options, self.folder, self.build = options, folder, options.build
        self.reports = os.path.join(folder, "reports")
        os.makedirs(self.reports)
        self.sections = []

    def environment(self, extra):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("MEMTRACK_", "VK_", "LD_"))}
        env.update(PATH=search_path(), HOME=self.folder, LC_ALL="C.UTF-8", MESA_SHADER_CACHE_DISABLE="true",
                   SDL_AUDIODRIVER="dummy")
        env.update(extra)
        return env

    def run(self, command, extra):
        """Seconds of wall time and of processor time, KiB of the largest process, status."""
        launcher = built(self.build, "bench_launch")
        if launcher:
            return self.launch(launcher, command, extra)
        start = time.perf_counter()
        process = subprocess.Popen(command, env=self.environment(extra), stdin=subprocess.DEVNULL, cwd=self.folder,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - start
        return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss, process.returncode

    def launch(self, launcher, command, extra):
        """The same from a small process: a resident size begins with that of the process it was made by."""
        file = os.path.join(self.folder, "launched")
        extra = dict(extra)
        subprocess.run([launcher, file, extra.pop("LD_PRELOAD", ""), *command], env=self.environment(extra), cwd=self.folder,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        wall, cpu, rss, status = open(file, encoding="utf-8").read().split()
        return float(wall), float(cpu), int(rss), os.waitstatus_to_exitcode(int(status))

    def variants(self):
        """Name, words before the command, environment; the plain run comes first."""
        preload = {"LD_PRELOAD": os.path.join(self.build, "libmemtrack.so"), "MEMTRACK_OUTPUT": self.reports}
        alone = {**preload, "MEMTRACK_COLLECTOR": "none"}
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

    def measure(self, command, extra, variants, rounds):
        """For each variant the lists of wall, processor time and RSS over all rounds; None where it fails."""
        found = {name: [] for name, _, _ in variants}
        slow = {"heaptrack"}
        for number in range(rounds):
            order = variants[:]
            random.Random(number).shuffle(order)
            for name, words, env in order:
                if name in slow and number >= max(1, rounds // 3):
                    continue
                for _ in range(4):  # OpenGL on Vulkan may end by an X error, with and without memtrack
                    wall, cpu, rss, status = self.run(words + command, {**extra, **env})
                    if status == 0:
                        break
                found[name].append((wall, cpu, rss, status))
            self.clean()
        return found

    def clean(self):
        shutil.rmtree(self.reports, ignore_errors=True)
        os.makedirs(self.reports)
        for name in os.listdir(self.folder):
            if name.startswith("heaptrack."):
                os.unlink(os.path.join(self.folder, name))

    def ratios(self, found, name):
        plain, mine = found["plain"], found[name]
        if any(row[3] != plain[0][3] for row in mine):
            return None
        wall = statistics.median(m[0] / p[0] for m, p in zip(mine, plain))
        cpu = min(m[1] for m in mine) / max(1e-9, min(p[1] for p in plain))
        rss = statistics.median(m[2] for m in mine) / statistics.median(p[2] for p in plain)
        return wall, cpu, rss

    def programs(self):
        self.table(programs(self.folder), "Whole programs")

    def patterns(self):
        program = built(self.build, "bench_patterns")
        if not program:
            note("bench_patterns is not built: the patterns are left out")
            return
        names = subprocess.run([program], capture_output=True, text=True, check=False).stdout.split()
        rows = [(name, [program, name], {}) for name in names]
        containers = built(self.build, "bench_containers")
        if containers:
            rows.append(("C++ containers", [containers], {}))
        self.table(rows, "Patterns of allocation")

    def arenas(self):
        program = built(self.build, "bench_bursts")
        if not program:
            note("bench_bursts is not built: arenas are left out")
            return
        preload = {"LD_PRELOAD": os.path.join(self.build, "libmemtrack.so"), "MEMTRACK_COLLECTOR": "none",
                   "MEMTRACK_OUTPUT": self.reports}
        peers = [v for v in self.variants() if v[0] in PEERS]
        variants = [("plain", [], {}), ("slabs", [], {**preload, "MEMTRACK_ARENA": "off"}),
                    ("learned", [], {**preload, "MEMTRACK_ARENA": "auto"}),
                    ("named", [], {**preload, "MEMTRACK_ARENA": "rules", "MEMTRACK_ARENA_SITES": "module:bench_bursts"})] + peers
        rows = [(f"{blocks:,} blocks{', ' + how if how else ''}", [program, str(blocks), how], {})
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
        for title, command, extra in rows:
            found = self.measure(command, extra, variants, self.options.rounds)
            cells = []
            for name in names:
                ratio = self.ratios(found, name)
                cells.append("fails" if ratio is None else f"{ratio[0]:.2f} / {ratio[1]:.2f} / {ratio[2]:.2f}")
                if ratio:
                    overall[name].append(ratio)
            lines.append(f"| {title} | {statistics.median(r[0] for r in found['plain']):.2f} | " + " | ".join(cells) + " |")
            note(lines[-1])
        for word, function in (("geometric mean", statistics.geometric_mean), ("worst row", max)):
            cells = [" / ".join(f"{function([r[i] for r in overall[n]]):.2f}" for i in range(3)) if overall[n] else "-"
                     for n in names]
            lines.append(f"| **{word}** | | " + " | ".join(f"**{cell}**" for cell in cells) + " |")
            note(lines[-1])
        self.sections.append((heading, text or "Each cell: wall time / processor time / resident size, as ratios to the "
                              f"plain run; {self.options.rounds} interleaved rounds. `counting` is the preloaded library "
                              "over the program's own allocator, `pools` the library with its pools, the two `stacks` "
                              "columns pools and call stacks, `memtrack run` the whole command with default options, its "
                              "collector, its start and its end.", lines))

    # ---- what grows -------------------------------------------------------------

    def scale_variants(self):
        return [v for v in self.variants() if v[0] not in ("memtrack run", "all stacks", "heaptrack", "counting")]

    def scale_table(self, heading, text, kind, values, rounds):
        """Least nanoseconds of a pair of malloc and free over all rounds, and how much that differs along the column."""
        program = built(self.build, "bench_scale")
        if not program:
            note("bench_scale is not built: what grows is left out")
            return
        variants = self.scale_variants()
        lines = ["| " + kind + " | " + " | ".join(v[0] for v in variants) + " |", "|---|" + "---|" * len(variants)]
        columns = {name: [] for name, _, _ in variants}
        for value, shown in values:
            best = {name: [] for name, _, _ in variants}
            for number in range(rounds):
                order = variants[:]
                random.Random(number).shuffle(order)
                for name, _, env in order:
                    text_out = subprocess.run([program, kind, str(value)], env=self.environment(env), capture_output=True,
                                              text=True, check=False).stdout
                    if re.fullmatch(r"[0-9]+\.[0-9]+\n", text_out):
                        best[name].append(float(text_out))
            for name in best:
                if best[name]:
                    columns[name].append(min(best[name]))
            lines.append(f"| {shown} | " + " | ".join(f"{min(best[n]):.1f}" if best[n] else "fails" for n in best) + " |")
            note(lines[-1])
        ranges = [f"**{max(c) / min(c):.1f}**" if c else "-" for c in columns.values()]
        lines.append("| **highest / lowest** | " + " | ".join(ranges) + " |")
        note(lines[-1])
        self.sections.append((heading, text.format(rounds), lines))

    def scale(self):
        rounds = min(3, self.options.rounds)
        common = "Least nanoseconds of the thread's own processor time for one malloc and one free, of {} " \
                 "interleaved runs of five repeats; each block's first byte is written. "
        sizes = [8, 64, 256, 1024, 4096, 16384, 32768, 65536, 1 << 18, 1 << 20, 1 << 22, 32 << 20, 64 << 20, 1 << 30]
        self.scale_table("Sizes", common + "A few hundred blocks of one size (fewer of the large ones), replaced in turn.",
                         "size", [(size, human(size)) for size in sizes], rounds)
        counts = [10 ** power for power in range(3, 9) if 10 ** power <= self.options.most_live]
        self.scale_table("Live blocks", common + "That many live blocks of 16 bytes; 64 neighbours are replaced at a random place. "
                         "From 10^6 on most of the time is the processor's memory.", "live",
                         [(count, f"10^{len(str(count)) - 1}") for count in counts], 1 if counts[-1] > 10 ** 7 else rounds)
        self.scale_table("Threads", common + "Each thread replaces small blocks of mixed sizes in a window of 512.", "threads",
                         [(count, str(count)) for count in (1, 2, 4, 8, 16, 32, 64)], rounds)

    # ---- what tracking costs ------------------------------------------------------

    def tracking(self):
        untracked = os.path.join(self.build.rstrip("/") + "-untracked", "libmemtrack.so")
        if not os.path.exists(untracked):
            note(f"{untracked} is not there: make bench-tracking builds it")
            return
        base = {"MEMTRACK_COLLECTOR": "none", "MEMTRACK_OUTPUT": self.reports, "MEMTRACK_POOLS": "on"}
        tracked = os.path.join(self.build, "libmemtrack.so")
        variants = [("plain", [], {"LD_PRELOAD": untracked, **base, "MEMTRACK_STACKS": "off"}),
                    ("counted", [], {"LD_PRELOAD": tracked, **base, "MEMTRACK_STACKS": "off"}),
                    ("counted, sampled stacks", [], {"LD_PRELOAD": tracked, **base})]
        self.table(programs(self.folder), "What tracking costs", variants,
                   "Each cell: wall time / processor time / resident size of the pools as they are, as ratios to the same pools "
                   f"without counting (`make TRACKING=0`), whose seconds are in the second column; {self.options.rounds} "
                   "interleaved rounds; processor time is the least of each.")

    def pairs(self):
        program = built(self.build, "bench_pairs")
        if not program:
            note("bench_pairs is not built: pairs are left out")
            return
        variants = [v for v in self.variants() if v[0] not in ("memtrack run", "all stacks", "heaptrack")]
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
        if not shutil.which("Xvfb"):
            return None
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
        server = self.start_x()
        if not server:
            note("no Xvfb: the layer is left out")
            return
        layer = {"VK_LAYER_PATH": os.path.join(self.build, "manifests", "vulkan", "explicit_layer.d"),
                 "VK_INSTANCE_LAYERS": "VK_LAYER_MEMTRACK_memtrack", "MEMTRACK_COLLECTOR": "none", "MEMTRACK_OUTPUT": self.reports}
        both = {**layer, "LD_PRELOAD": os.path.join(self.build, "libmemtrack.so")}
        variants = [("plain", [], {}), ("layer", [], layer), ("layer and library", [], both)]
        base = {"DISPLAY": server[1], "VK_ICD_FILENAMES": "/usr/share/vulkan/icd.d/lvp_icd.x86_64.json"}
        zink = {"MESA_LOADER_DRIVER_OVERRIDE": "zink", "GALLIUM_DRIVER": "zink", "LIBGL_ALWAYS_SOFTWARE": "1",
                "LIBGL_KOPPER_DRI2": "1"}
        scenes = ["-b", "build:nframes=150:use-vbo=false", "-b", "texture:nframes=150", "-b",
                  "buffer:nframes=100:columns=40:rows=10:update-method=map"]
        rows = [("vkcube", ["vkcube", "--c", "1500"], base, 1500),
                ("glmark2 on zink", ["glmark2", "--size", "320x240"] + scenes, {**base, **zink}, 403)]
        lines = ["| program | plain, ms a frame | layer | layer and library |", "|---|---|---|---|"]
        try:
            for title, command, extra, frames in rows:
                if not shutil.which(command[0]):
                    continue
                found = self.measure(command, extra, variants, self.options.rounds)
                cells = []
                for name in ("layer", "layer and library"):
                    ratio = self.ratios(found, name)
                    cells.append("fails" if ratio is None else f"{ratio[0]:.3f} / {ratio[1]:.3f}")
                plain = statistics.median(row[0] for row in found["plain"]) * 1000 / frames
                lines.append(f"| {title} | {plain:.3f} | {cells[0]} | {cells[1]} |")
                note(lines[-1])
        finally:
            server[0].terminate()
            server[0].wait()
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
    parser.add_argument("--write", metavar="FILE", help="put the tables into this document")
    options = parser.parse_args()
    options.build = os.path.abspath(options.build)
    options.said = ([f"--rounds {options.rounds}"] if options.rounds != 7 else []) + (["--no-peers"] if options.no_peers else []) + \
        ([f"--most-live {options.most_live}"] if options.most_live != 10 ** 7 else [])
    with tempfile.TemporaryDirectory(prefix="memtrack-bench.") as folder:
        bench = Bench(options, folder)
        for section in SECTIONS[options.target] if not options.only else sum(SECTIONS.values(), ()):
            if not options.only or section in options.only:
                getattr(bench, section)()
        text = bench.document(options.target)
    print(text)
    if options.write:
        write(options.write, text, options.target)


main()
