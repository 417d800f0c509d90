"""What `make bench` runs: one Work for each row of a table, with fixed work wherever time is compared.

Programs that are not installed are named, with their Debian packages, by `missing()`.
"""
import dataclasses
import glob
import os
import re
import shutil
import socket
import subprocess
import time

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DATA = os.path.join(SOURCE, "tests", "integration", "data")


@dataclasses.dataclass
class Work:
    title: str
    command: list
    environment: dict = dataclasses.field(default_factory=dict)
    stdin: str = os.devnull
    packages: str = ""
    needs_screen: bool = False
    frames: int = 0  # presented in one run
    # Called with nothing before each run, and with nothing while the program runs; false: the run is void.
    prepare: object = None
    beside: object = None
    # Takes what the program printed and returns its own figure in seconds, or None; the wall time otherwise.
    own_seconds: object = None
    # It runs for a fixed time: what it uses of the processor is compared for the same work.
    has_fixed_time: bool = False


PYTHON_WORK = """
import collections, json, re
rows = [{"id": i, "name": str(i) * 3, "values": [i * j for j in range(10)]} for i in range(25000)]
for _ in range(4):
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
my %h; for my $n (1 .. 1200000) { $h{"key " . ($n * 7919 % 100003)} .= "value $n"; }
my @s = sort { $a cmp $b } map { $_ . $h{$_} } keys %h; print scalar(@s), " ", length(join "", @s), "\\n";
"""
# Lua and SQLite ask for most of their memory by realloc.
WESNOTH = ["wesnoth", "--nogui", "--multiplayer", "--nosound", "--rng-seed", "7", "--exit-at-end", "--nodelay",
           "--scenario=multiplayer_The_Freelands", "--controller=1:ai", "--controller=2:ai", "--side=1:Loyalists",
           "--side=2:Rebels", "--turns=4"]
GLMARK2_SCENES = ["-b", "build:nframes=150:use-vbo=false", "-b", "texture:nframes=150", "-b",
                  "buffer:nframes=100:columns=40:rows=10:update-method=map"]


def search_path():
    return os.environ.get("PATH", "") + ":/usr/games"


def missing(work):
    """Why this row cannot be run here; None when it can."""
    tools = [work.command[0]] + (["redis-benchmark", "redis-cli"] if work.title == "redis" else []) + \
        (["Xvfb"] if work.needs_screen else [])
    for tool in tools:
        if not shutil.which(tool, path=search_path()):
            return f"{tool} is missing (Debian packages {work.packages})"
    return None


# ---- programs without a screen ----------------------------------------------------


def sqlite(folder):
    path = os.path.join(folder, "shop.sql")
    with open(os.path.join(DATA, "shop.sql"), encoding="utf-8") as file:
        text = file.read().replace("40000", "300000")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return Work("sqlite", ["sqlite3", ":memory:", f".read {path}"], packages="sqlite3")


def wait_for(path, seconds):
    """In small steps: they are part of what is measured."""
    end = time.monotonic() + seconds
    while not os.path.exists(path) and time.monotonic() < end:
        time.sleep(0.002)


def redis(folder):
    """A server; its client, which is not tracked, gives it a fixed number of requests and ends it."""
    path = os.path.join(folder, "redis.sock")
    tests = "set,get,incr,lpush,sadd,hset,zadd,lrange_100"

    def prepare():
        if os.path.exists(path):
            os.unlink(path)

    def beside():
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": False}
        wait_for(path, 20)
        client = subprocess.run(["redis-benchmark", "-s", path, "-q", "-n", "60000", "-r", "60000", "-d", "200", "-P", "16", "-t", tests],
                                timeout=120, **quiet)
        subprocess.run(["redis-cli", "-s", path, "shutdown", "nosave"], timeout=20, **quiet)
        return client.returncode == 0

    command = ["redis-server", "--port", "0", "--unixsocket", path, "--save", "", "--appendonly", "no", "--maxmemory", "200mb",
               "--maxmemory-policy", "allkeys-lru", "--daemonize", "no"]
    return Work("redis", command, packages="redis-server, redis-tools", prepare=prepare, beside=beside)


def free_port():
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        probe.bind(("::", 0))
        return probe.getsockname()[1]


def minetest(folder):
    """A server that makes the same part of the same world each time, by two threads and Lua, and ends."""
    world = os.path.join(folder, "world")

    def prepare():
        shutil.rmtree(world, ignore_errors=True)
        shutil.copytree(os.path.join(DATA, "minetest"), world)

    command = ["minetestserver", "--world", world, "--gameid", "minetest", "--config", os.path.join(world, "server.conf"),
               "--port", str(free_port()), "--quiet"]
    return Work("minetestserver", command, packages="minetest-server, minetest-data", prepare=prepare)


def compiler():
    """What g++ runs to compile: heaptrack does not follow children, so that of g++ itself it would see the driver alone."""
    if not shutil.which("g++"):
        return "g++"
    found = subprocess.run(["g++", "-print-prog-name=cc1plus"], capture_output=True, text=True, check=False).stdout.strip()
    return shutil.which(found) or "cc1plus"


def programs(folder):
    """The whole programs, those that draw at the end."""
    return [
        Work("lua", ["lua5.4", os.path.join(DATA, "tables.lua"), "18"], packages="lua5.4"),
        sqlite(folder),
        Work("python", ["/usr/bin/python3", "-c", PYTHON_WORK], {"PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0"},
             packages="python3"),
        Work("g++", [compiler(), "-quiet", "-O1", "-o", "/dev/null", os.path.join(DATA, "templates.cpp")], packages="g++"),
        redis(folder),
        Work("node", ["node", "-e", NODE_WORK], packages="nodejs"),
        Work("perl", ["perl", "-e", PERL_WORK], {"PERL_HASH_SEED": "0"}, packages="perl"),
        Work("wesnoth", WESNOTH, {"SDL_VIDEODRIVER": "dummy"}, packages="wesnoth, wesnoth-1.16-core"),
        minetest(folder),
    ] + drawing()


# ---- programs with a screen ----------------------------------------------------------


def drawing():
    """Fixed numbers of frames on the software driver: one program of Vulkan, one of OpenGL on Vulkan."""
    drivers = glob.glob("/usr/share/vulkan/icd.d/lvp_icd.*.json")
    base = {"VK_ICD_FILENAMES": drivers[0]} if drivers else {}
    zink = {"MESA_LOADER_DRIVER_OVERRIDE": "zink", "GALLIUM_DRIVER": "zink", "LIBGL_ALWAYS_SOFTWARE": "1", "LIBGL_KOPPER_DRI2": "1"}
    return [Work("vkcube", ["vkcube", "--c", "1500"], base, packages="vulkan-tools, mesa-vulkan-drivers, xvfb", needs_screen=True,
                 frames=1500),
            Work("glmark2 on zink", ["glmark2", "--size", "320x240"] + GLMARK2_SCENES, {**base, **zink},
                 packages="glmark2-x11, mesa-vulkan-drivers, xvfb", needs_screen=True, frames=403)]


# ---- the public suite -----------------------------------------------------------------

SUITE_HINT = "give the folder of a built daanx/mimalloc-bench: make bench-suite SUITE=FOLDER"
SUITE_PROGRAMS = ("alloc-test", "barnes", "cache-scratch", "cache-thrash", "cfrac", "espresso", "glibc-simple", "glibc-thread",
                  "larson", "larson-sized", "malloc-large", "mleak", "mstress", "rptest", "xmalloc-test")


def figure(pattern, work=None):
    """Seconds that a program prints itself, or those in which `work` is done at the rate that it prints."""
    def read(text):
        found = re.search(pattern, text, re.M)
        number = float(found.group(1)) if found else 0
        return None if not number else work / number if work else number
    return read


def suite_folders(folder):
    """Where the suite's programs and its inputs are; whatever is not found is None."""
    for build in (folder, os.path.join(folder, "out", "bench"), os.path.join(folder, "build")):
        if os.path.exists(os.path.join(build, "cfrac")):
            break
    else:
        return None, None
    sources = [os.path.join(folder, "bench"), os.path.join(folder, "..", "bench"), os.path.join(folder, "..", "..", "bench")]
    cache = os.path.join(build, "CMakeCache.txt")
    if os.path.exists(cache):
        with open(cache, encoding="utf-8") as file:
            sources += re.findall(r"^CMAKE_HOME_DIRECTORY:INTERNAL=(.*)$", file.read(), re.M)
    for source in sources:
        if os.path.exists(os.path.join(source, "barnes", "input")):
            return os.path.abspath(build), os.path.abspath(source)
    return os.path.abspath(build), None


def suite(folder):
    """The rows of the public suite, with its own arguments but where a run would be too short or needlessly long."""
    build, source = suite_folders(folder)
    if not build or not source:
        raise FileNotFoundError(f"no {'inputs' if build else 'programs'} of the suite in {folder}; {SUITE_HINT}")
    cores = str(min(8, os.cpu_count() or 2))
    rows = [
        ("cfrac", "17545186520507317056371138836327483792789528", {}),
        ("espresso", os.path.join(source, "espresso", "largest.espresso"), {}),
        ("barnes", "", {"stdin": os.path.join(source, "barnes", "input")}),
        ("alloc-test", "1", {}),
        ("alloc-test", cores, {}),
        ("larson", f"1 8 1000 5000 100 4141 {cores}", {"own_seconds": figure(r" time: ([0-9.]+)"), "has_fixed_time": True}),
        ("larson-sized", f"1 8 1000 5000 100 4141 {cores}", {"own_seconds": figure(r" time: ([0-9.]+)"), "has_fixed_time": True}),
        ("xmalloc-test", f"-w {cores} -t 1 -s 64", {"own_seconds": figure(r"^rtime: ([0-9.]+)"), "has_fixed_time": True}),
        ("mstress", f"{cores} 50 150", {}),
        ("rptest", f"{cores} 0 1 2 4000 1000 100 8 16000", {"own_seconds": figure(r"\.\.\.([0-9]+) memory ops", 2e6)}),
        ("glibc-simple", "", {}),
        ("glibc-thread", cores, {"own_seconds": figure(r"^([0-9]+) iterations", 1e8), "has_fixed_time": True}),
        ("malloc-large", "", {}),
        ("mleak", "15", {}),
        ("mleak", "50", {}),
        ("cache-scratch", f"1 1000 1 1000000 {cores}", {}),
        ("cache-scratch", f"{cores} 1000 1 1000000 {cores}", {}),
        ("cache-thrash", f"1 1000 1 1000000 {cores}", {}),
        ("cache-thrash", f"{cores} 1000 1 1000000 {cores}", {}),
    ]
    names = {"mleak 15": "mleak10", "mleak 50": "mleak100"}
    found = []
    for program, arguments, more in rows:
        title = names.get(f"{program} {arguments}") or (f"{program} {arguments.split()[0]}"
                                                        if program in ("alloc-test", "cache-scratch", "cache-thrash") else program)
        found.append(Work(title, [os.path.join(build, program)] + arguments.split(), **more))
    return found
