"""This plugin beside its peers, on what they do: same workloads, same machine, one run; prints Markdown.

    python benchmarks/peers.py                     everything, on an otherwise idle machine: about forty minutes
    python benchmarks/peers.py --only timing       one of: timing, threads, neighbours, held, cost; may be repeated
    python benchmarks/peers.py --pairs 2 --repeat 1    a look, not a figure
    python benchmarks/peers.py --tool NAME         for `held` and `cost`: only tools whose name has this in it
    python benchmarks/peers.py --project NAME==VERSION   for `cost`: whose source distribution's tests to run
    python benchmarks/peers.py --suite FOLDER      for `cost`: a folder with tests instead
    python benchmarks/peers.py --keep FOLDER       keep the environments for another call

Every peer has a virtual environment of its own. A peer that cannot be installed, does not run here or hangs is listed
with the reason. Nothing is tuned for anybody: each is called as its documentation says. All processes are ended, those
of a tool that hangs with all that it has started.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import platform
import re
import shlex
import signal
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import venv
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROOT: Final = Path(__file__).resolve().parent.parent
PACKAGES: Final = {
    "gilprobe": (str(ROOT),),
    "pytest-benchmark": ("pytest", "pytest-benchmark"),
    "pyperf": ("pyperf",),
    "pytest-run-parallel": ("pytest", "pytest-run-parallel"),
    "py-spy": ("py-spy",),
    "gilknocker": ("gilknocker",),
    "gil_load": ("gil_load",),
    "pyinstrument": ("pytest", "pyinstrument"),
    "scalene": ("pytest", "scalene"),
    "bare": ("pytest",),
}
PROJECT: Final = "more-itertools==10.8.0"
"""Its tests need nothing but pytest, and are Python from end to end: the dearest case for whoever traces Python."""
SCAN_BAR: Final = 1.02
SAMPLER: Final = "python3.15"
"""The first Python with `profiling.sampling` in its standard library."""
TIMEOUT_S: Final = 600
HUNG_S: Final = 60
"""A tool that watches a program of 4 s has hung when it takes as long as this."""
THREADS: Final = 2
Readings = tuple[float, float, float]
"""A share told, the true one of the time that it is told of, and the seconds of a fixed piece of work watched."""
WORK: Final = """
import hashlib, json, time
BLOCK = b"x" * (1 << 20)
TEXT = json.dumps(list(range(5000)))
def loop(): sum(i * i for i in range(20_000))
def hashing(): hashlib.sha256(BLOCK).digest()
def parsing(): json.loads(TEXT)
def waiting(): time.sleep(0.002)
"""
KNOWN: Final = {"loop": 1.0, "hashing": 2.0, "parsing": 1.0, "waiting": 2.0}
"""Speed-up of two threads on two idle cores: the GIL is held, released, held, released."""
RIGHT_WITHIN: Final = 0.25
MIXTURE: Final = """
import hashlib, sys, time
clock = time.perf_counter_ns
BLOCK = b"x" * (1 << 16)
share = float(sys.argv[1])
def window():
    held = free = 0
    for _ in range(300):
        begun = clock()
        while clock() - begun < share * 10_000_000: pass
        held += clock() - begun
        begun = clock()
        while clock() - begun < (1 - share) * 10_000_000: hashlib.sha256(BLOCK).digest()
        free += clock() - begun
    return held, free
def work():
    begun = clock()
    for _ in range(3_000): sum(range(2_000))
    return clock() - begun
held, free = window()
extra = work()
print(held / 1e9, free / 1e9, extra / 1e9)
"""
"""It tells for how long it held the GIL and for how long not, in `window`, and how long the work after it took, which
holds it. So a tool that tells of the whole program has a known truth, and one that names functions has the window's."""
KNOCKED: Final = """
import runpy, gilknocker
knocker = gilknocker.KnockKnock(1_000)
knocker.start()
runpy.run_path("mixture.py", run_name="__main__")
print("told", knocker.contention_metric)
knocker.stop()
"""
LOADED: Final = """
import runpy, gil_load
gil_load.init()
gil_load.start()
runpy.run_path("mixture.py", run_name="__main__")
gil_load.stop()
print("told", gil_load.get()[0]["held"])
"""
PRIVILEGES: Final = {
    "gilprobe watch": "to trace: same user and, under Yama, an ancestor, or root",
    "py-spy --gil": "to trace: same user and, under Yama, an ancestor, or root",
    "profiling.sampling --mode gil": "to trace: same user and, under Yama, an ancestor, or root",
    "gilknocker": "none: a thread inside the program, which must import it",
    "gil_load": "none: a thread inside the program, started under `python -m gil_load` with LD_PRELOAD",
}
OWN_CPU: Final = """
import atexit, os, resource
def tell():
    used = resource.getrusage(resource.RUSAGE_SELF)
    with open(os.environ["PEERS_CPU"], "a", encoding="ascii") as said: said.write(f"{used.ru_utime + used.ru_stime}\\n")
if "PEERS_CPU" in os.environ: atexit.register(tell)
"""
"""As `sitecustomize`: every Python tells at its end how much CPU time it took; the one that ran the tests took most."""
PTIME: Final = """
import sys, threading, time, peer_work
call, calls = getattr(peer_work, sys.argv[1]), int(sys.argv[2])
def run():
    for _ in range(calls): call()
def timed(threads):
    start = time.perf_counter()
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    return time.perf_counter() - start
run()
one = min(timed([threading.Thread(target=run)]) for _ in range(3))
two = min(timed([threading.Thread(target=run) for _ in range(2)]) for _ in range(3))
print(2 * one / two)
"""


@dataclass(frozen=True, slots=True)
class Bench:
    """Where everything lies: environments by name, or the reason why one is missing."""

    pythons: dict[str, str]
    missing: dict[str, str]
    folder: Path
    suite: Path | None
    project: str
    pairs: int
    repeat: int
    tools: tuple[str, ...]

    def run(self, name: str, *arguments: str) -> str:
        """Run a peer's Python and return what it printed; an error has the end of what it said."""
        return "".join(self.execute([self.pythons[name], *arguments]))

    def execute(self, command: Sequence[str], timeout_s: float = TIMEOUT_S) -> tuple[str, str]:
        """Run a command and give its output and errors; one that hangs ends with all that it has started."""
        with subprocess.Popen(command, cwd=self.folder, env=_environment(self.folder), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, start_new_session=True) as run:  # fmt: skip
            try:
                said, complained = run.communicate(timeout=timeout_s)
            except subprocess.TimeoutExpired:
                os.killpg(run.pid, signal.SIGKILL)
                run.communicate()
                msg = f"hung, and was ended after {timeout_s} s"
                raise RuntimeError(msg) from None
        if run.returncode:
            msg = f"{Path(command[0]).name} ended with {run.returncode}: {(complained or said)[-300:]}"
            raise RuntimeError(msg)
        return said, complained

    def wanted(self, tool: str) -> bool:
        """Whether a tool was asked for, or none was."""
        return not self.tools or any(name in tool for name in self.tools)


def main() -> int:
    """Make the environments, run the sections that were asked for, print a table each."""
    sections: dict[str, Callable[[Bench], None]] = {
        "timing": timing,
        "threads": threads,
        "neighbours": neighbours,
        "held": held,
        "cost": cost,
    }
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=sections, action="append")
    parser.add_argument("--busy", type=int, default=0, metavar="N", help="busy loops to run beside")
    parser.add_argument("--suite", type=Path)
    parser.add_argument("--project", default=PROJECT)
    parser.add_argument("--repeat", type=int, default=5, help="runs of each tool and workload, but for `cost`")
    parser.add_argument("--pairs", type=int, default=10, help="runs of each tool in `cost`")
    parser.add_argument("--tool", action="append", default=[], metavar="NAME", help="for `held` and `cost`")
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, _neighbours(arguments.busy):
        folder = Path(scratch)
        (folder / "peer_work.py").write_text(WORK, "utf-8")
        pythons, missing = _environments(arguments.keep or folder)
        bench = Bench(pythons, missing, folder, arguments.suite, arguments.project, arguments.pairs,
                      arguments.repeat, tuple(arguments.tool))  # fmt: skip
        print(f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} CPUs, ", end="")
        print(f"load {os.getloadavg()[0]:.2f} at the start, {arguments.busy} busy loops beside")
        for name in arguments.only or sections:
            sections[name](bench)
        for name, reason in missing.items():
            print(f"\n{name} is not here: {reason}")
    return 0


# Timing


def timing(bench: Bench) -> None:
    """One call of a Python loop of about 1 ms, as each tool tells it, the tools in alternation."""
    tools: dict[str, Callable[[], float]] = {
        "timeit": lambda: _timeit(bench),
        "pyperf": lambda: _pyperf(bench),
        "pytest-benchmark": lambda: _pytest_benchmark(bench),
        "gilprobe": lambda: float(_gilprobe(bench, "loop")["strategies"]["serial"]["wall_s_per_call"]["value"]),
    }
    found = _alternated(tools, bench.repeat)
    told = {name: runs for name, runs in found.items() if not isinstance(runs, str)}
    reference = statistics.median(told["pyperf"]) if "pyperf" in told else math.nan
    table = [
        (name, runs, "", "")
        if isinstance(runs, str)
        else (
            name,
            f"{statistics.median(runs) * 1e6:.1f} us",
            f"{min(runs) * 1e6:.1f} to {max(runs) * 1e6:.1f} us",
            f"{statistics.median(runs) / reference:.3f}",
        )
        for name, runs in found.items()
    ]
    _print(f"Time of one call, median of {bench.repeat} runs", ("tool", "per call", "runs", "of pyperf's"), table)


def _alternated(tools: dict[str, Callable[[], float]], repeat: int) -> dict[str, list[float] | str]:
    """Run all tools in turn, and again; a tool that failed is not asked again, and the reason given in its place."""
    found: dict[str, list[float] | str] = {name: [] for name in tools}
    for _ in range(repeat):
        for name, tool in tools.items():
            runs = found[name]
            if isinstance(runs, list):
                told = _attempt(tool)
                found[name] = told if isinstance(told, str) else [*runs, told]
    return found


def _timeit(bench: Bench) -> float:
    said = bench.run("bare", "-m", "timeit", "-u", "nsec", "-s", "from peer_work import loop", "loop()")
    return float(re.findall(r"([\d.e+]+) nsec", said)[0]) * 1e-9


def _pyperf(bench: Bench) -> float:
    out = bench.folder / "pyperf.json"
    out.unlink(missing_ok=True)
    bench.run("pyperf", "-m", "pyperf", "timeit", "--fast", "-q", "-o", str(out), "--inherit-environ=PYTHONPATH",
              "-s", "from peer_work import loop", "loop()")  # fmt: skip
    runs = json.loads(out.read_text("utf-8"))["benchmarks"][0]["runs"]
    values: list[float] = [value for run in runs for value in run.get("values", ())]
    return statistics.median(values)


def _pytest_benchmark(bench: Bench) -> float:
    test, out = bench.folder / "test_benchmark.py", bench.folder / "benchmark.json"
    test.write_text("from peer_work import loop\ndef test_loop(benchmark): benchmark(loop)\n", "utf-8")
    bench.run("pytest-benchmark", "-m", "pytest", "-q", f"--benchmark-json={out}", str(test))
    return float(json.loads(out.read_text("utf-8"))["benchmarks"][0]["stats"]["median"])


def _gilprobe(bench: Bench, work: str) -> dict[str, Any]:
    test, out = bench.folder / f"test_probe_{work}.py", bench.folder / "probe"
    mark = f"@pytest.mark.gilprobe(workers={THREADS})"
    test.write_text(f"import pytest, peer_work\n{mark}\ndef test_it(): peer_work.{work}()\n", "utf-8")
    bench.run("gilprobe", "-m", "pytest", "-q", "--gilprobe-report", f"--gilprobe-report-dir={out}", str(test))
    workload: dict[str, Any] = json.loads((out / "gilprobe.json").read_text("utf-8"))["workloads"][0]
    if workload["status"] != "probed":
        raise RuntimeError(workload["reason"])
    return workload


# Threads


def threads(bench: Bench) -> None:
    """Speed-up of two threads over serial calls, as each tool tells it."""
    _speedups(bench, f"Speed-up of {THREADS} threads")


def neighbours(bench: Bench) -> None:
    """The same with a busy loop on every core beside it: who is still right?"""
    count = os.cpu_count() or 1
    with _neighbours(count):
        _speedups(bench, f"Speed-up of {THREADS} threads, with {count} busy loops beside")


def _speedups(bench: Bench, title: str) -> None:
    methods = (_threads_by_gilprobe, _threads_by_ptime, _threads_by_run_parallel)
    table = []
    for work, known in KNOWN.items():
        tools: dict[str, Callable[[], float]] = {method.__name__: partial(method, bench, work) for method in methods}
        cells = [_speedup_cell(runs, known) for runs in _alternated(tools, bench.repeat).values()]
        table.append((work, f"{known:.0f}x", *cells))
    headers = ("workload", "known, idle", "gilprobe", "plain threads, best of 3 (ptime)", "pytest-run-parallel")
    _print(f"{title}: median of {bench.repeat} runs, lowest to highest", headers, table)
    print(f"\nBeside it: how many runs were further than {RIGHT_WITHIN:.0%} from what is known.")


def _speedup_cell(runs: Sequence[float] | str, known: float) -> str:
    if isinstance(runs, str):
        return runs
    wrong = sum(abs(found - known) > RIGHT_WITHIN * known for found in runs)
    return f"{statistics.median(runs):.2f}x ({min(runs):.2f} to {max(runs):.2f}), {wrong} off"


def _threads_by_gilprobe(bench: Bench, work: str) -> float:
    found = _gilprobe(bench, work)["strategies"]["threads"]["speedup"]
    if found is None:
        msg = "no speed-up was measured"
        raise RuntimeError(msg)
    return float(found["value"])


def _threads_by_ptime(bench: Bench, work: str) -> float:
    return float(bench.run("bare", "-c", PTIME, work, "100").split()[-1])


def _threads_by_run_parallel(bench: Bench, work: str) -> float:
    test, out = bench.folder / f"test_parallel_{work}.py", bench.folder / "parallel.xml"
    test.write_text(f"import peer_work\ndef test_it(): peer_work.{work}()\n", "utf-8")
    times = []
    for count, iterations in ((1, 100 * THREADS), (THREADS, 100)):
        flags = (f"--parallel-threads={count}", f"--iterations={iterations}", f"--junitxml={out}")
        bench.run("pytest-run-parallel", "-m", "pytest", "-q", "-p", "no:cacheprovider", *flags, str(test))
        case = ET.parse(out).getroot().find(".//testcase")  # noqa: S314 - written a line above
        if case is None:
            msg = "no test case in its JUnit XML"
            raise RuntimeError(msg)
        times.append(float(case.attrib["time"]))
    return times[0] / times[1]


# GIL-held share


def held(bench: Bench) -> None:
    """GIL-held share of mixtures of a Python loop and hashing, and what the watching costs the workload."""
    (bench.folder / "mixture.py").write_text(MIXTURE, "utf-8")
    (bench.folder / "knocked.py").write_text(KNOCKED, "utf-8")
    (bench.folder / "loaded.py").write_text(LOADED, "utf-8")
    methods: dict[str, Callable[[Bench, str], Readings]] = {
        "gilprobe watch": _held_by_watch,
        "py-spy --gil": _held_by_py_spy,
        "profiling.sampling --mode gil": _held_by_sampler,
        "gilknocker": lambda bench, share: _held_inside(bench, "gilknocker", share, "knocked.py"),
        "gil_load": lambda bench, share: _held_inside(bench, "gil_load", share, "-m", "gil_load", "loaded.py"),
    }
    table = []
    for name, method in methods.items():
        python = SAMPLER if "sampling" in name else bench.pythons["bare"]
        for share in ("0.1", "0.5", "0.9") if bench.wanted(name) else ():
            found = _attempt(lambda m=method, p=python, s=share: _repeated(bench, m, p, s))  # type: ignore[misc]
            cells = ("", "", found, "") if isinstance(found, str) else found
            table.append((name, share, *cells, PRIVILEGES[name]))
            if isinstance(found, str):
                break
    _print("GIL-held share", ("tool", "known, about", "mean error", "largest error", "slowed to", "needs"), table)
    print(f"\nSlowed to: the workload's own time, of unwatched, median of {bench.repeat} pairs.")
    print("gilknocker tells contention, not the share.")


def _repeated(bench: Bench, method: Callable[[Bench, str], Readings], python: str, share: str) -> tuple[str, ...]:
    """Run a tool's workload with it and without, in alternation; give errors and slow-down."""
    errors, slower = [], []
    for _ in range(bench.repeat):
        _, _, alone_s = _own_readings(bench.execute([python, "mixture.py", share])[0])
        told, truth, work_s = method(bench, share)
        errors.append(told - truth)
        slower.append(work_s / alone_s)
    largest = max(errors, key=abs)
    return f"{statistics.fmean(errors):+.3f}", f"{largest:+.3f}", f"{statistics.median(slower):.3f}"


def _own_readings(said: str) -> Readings:
    """Read what the mixture prints: for how long, in seconds, it held the GIL, did not, and worked after it."""
    held_s, free_s, work_s = re.findall(r"^([\d.e-]+) ([\d.e-]+) ([\d.e-]+)$", said, re.MULTILINE)[0]
    return float(held_s), float(free_s), float(work_s)


def _of_the_program(told: float, said: str) -> Readings:
    """Set a tool that tells of the whole program against the truth of all of it: the work after the window holds."""
    held_s, free_s, work_s = _own_readings(said)
    return told, (held_s + work_s) / (held_s + free_s + work_s), work_s


def _of_the_window(stacks: Path, per_s: float, said: str) -> Readings:
    """Set a tool that names functions against the window's truth: its samples there, of those taken in that time.

    Start-up, in which much is imported with the GIL held, is so left out.
    """
    held_s, free_s, work_s = _own_readings(said)
    lines = [line for line in stacks.read_text("utf-8").splitlines() if re.search(r"\bwindow\b", line)]
    samples = sum(int(line.rpartition(" ")[2]) for line in lines)
    return samples / (per_s * (held_s + free_s)), held_s / (held_s + free_s), work_s


def _held_inside(bench: Bench, name: str, share: str, *arguments: str) -> Readings:
    """Ask a tool that runs inside the program."""
    said, _ = bench.execute([bench.pythons[name], *arguments, share], HUNG_S)
    return _of_the_program(float(re.findall(r"^told ([\d.e-]+)", said, re.MULTILINE)[0]), said)


def _held_by_sampler(bench: Bench, share: str) -> Readings:
    out = bench.folder / "sampled.txt"
    command = (SAMPLER, "-m", "profiling.sampling", "run", "--mode", "gil", "--collapsed", "-o", str(out))
    said, complained = bench.execute([*command, "mixture.py", share], HUNG_S)
    taken = re.search(r"Captured ([\d,]+) samples in ([\d.]+) seconds", said + complained)
    if taken is None:
        raise RuntimeError((complained or said)[-200:])
    return _of_the_window(out, int(taken[1].replace(",", "")) / float(taken[2]), said)


def _held_by_watch(bench: Bench, share: str) -> Readings:
    watch = (bench.pythons["gilprobe"], "-m", "pytest_gilprobe", "watch", "--")
    said, complained = bench.execute([*watch, bench.pythons["bare"], "mixture.py", share], HUNG_S)
    told = re.search(r"GIL\s+held\s+<?([\d.]+)\s+%\s+of\s+the\s+time", complained)
    if told is None:
        raise RuntimeError(complained[-200:])
    return _of_the_program(float(told[1]) / 100, said)


def _held_by_py_spy(bench: Bench, share: str) -> Readings:
    out, rate = bench.folder / "spy.txt", 100
    spy = (str(Path(bench.pythons["py-spy"]).with_name("py-spy")), "record", "--gil", "-r", str(rate), "-f", "raw")
    said, _ = bench.execute([*spy, "-o", str(out), "--", bench.pythons["bare"], "mixture.py", share], HUNG_S)
    return _of_the_window(out, rate, said)


# Cost on a suite


def cost(bench: Bench) -> None:
    """How much longer a suite takes: each tool in pairs with bare pytest, in alternation."""
    suite = bench.suite or _real_suite(bench) or _suite(bench.folder / "suite")
    profile = str(bench.folder / "profile")
    plain = ("-m", "pytest", "-q", "-p", "no:cacheprovider")
    tools = {
        "gilprobe, idle": ("gilprobe", plain),
        "gilprobe --gilprobe-scan": ("gilprobe", (*plain, "--gilprobe-scan")),
        "pyinstrument": ("pyinstrument", ("-m", "pyinstrument", "-o", profile, *plain)),
        "scalene --cpu-only": (
            "scalene",
            ("-m", "scalene", "run", "--cpu-only", "--profile-all", "-o", profile, "---", *plain),
        ),
        "cProfile": ("bare", ("-m", "cProfile", "-o", profile, *plain)),
    }
    (bench.folder / "sitecustomize.py").write_text(OWN_CPU, "utf-8")
    table, scan = [], math.nan
    for title, (name, arguments) in tools.items():
        if not bench.wanted(title):
            continue
        found = _attempt(lambda name=name, arguments=arguments: _ratios(bench, suite, name, arguments))  # type: ignore[misc]
        table.append((title, found, "", "") if isinstance(found, str) else (title, *map(_with_interval, found)))
        scan = statistics.median(found[0]) if "scan" in title and not isinstance(found, str) else scan
    title = f"A suite ({suite.name}), of without: median of {bench.pairs} pairs, its interval"
    _print(title, ("with", "wall time", "CPU time of pytest's process", "CPU time of all its processes"), table)
    if not math.isnan(scan):
        print(f"\nbar {SCAN_BAR} for the scan's wall time: {'met' if scan <= SCAN_BAR else 'MISSED'}")


def _with_interval(ratios: Sequence[float]) -> str:
    """Give the median, and order statistics around it that hold it with 95 %: the extremes where there are few."""
    count = len(ratios)
    rank = max(0, math.floor(count / 2 - 1.96 * math.sqrt(count) / 2))
    ordered = sorted(ratios)
    return f"{statistics.median(ordered):.3f} [{ordered[rank]:.3f}, {ordered[count - 1 - rank]:.3f}]"


def _real_suite(bench: Bench) -> Path | None:
    """Fetch a project's source distribution; None where that fails, with a word about it."""
    command = ("-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "-d", str(bench.folder / "sources"))
    found = _attempt(lambda: bench.run("bare", *command, bench.project))
    archives = list((bench.folder / "sources").glob("*.tar.gz"))
    if not archives:
        print(f"\n{bench.project} was not fetched, a made-up suite stands in: {found}")
        return None
    with tarfile.open(archives[0]) as archive:
        archive.extractall(bench.folder / "sources", filter="data")
    return next(path for path in (bench.folder / "sources").iterdir() if path.is_dir())


def _ratios(bench: Bench, suite: Path, name: str, arguments: Sequence[str]) -> tuple[list[float], ...]:
    """Divide each run's wall time, own and whole CPU time by the mean of the bare runs before and after it."""
    plain = ("-m", "pytest", "-q", "-p", "no:cacheprovider")
    _timed(bench, suite, name, arguments)
    before, ratios = _timed(bench, suite, "bare", plain), []
    for _ in range(bench.pairs):
        own, after = _timed(bench, suite, name, arguments), _timed(bench, suite, "bare", plain)
        ratios.append([2 * mine / (one + other) for one, mine, other in zip(before, own, after, strict=True)])
        before = after
    return tuple(map(list, zip(*ratios, strict=True)))


def _timed(bench: Bench, suite: Path, name: str, arguments: Sequence[str]) -> tuple[float, float, float]:
    """Run the suite and give seconds: wall time, CPU time of the process that ran the tests, and of all processes."""
    said = bench.folder / "cpu.txt"
    said.unlink(missing_ok=True)
    with (bench.folder / "suite.txt").open("w+b") as out:
        start = time.perf_counter()
        run = subprocess.Popen([bench.pythons[name], *arguments], cwd=suite, stdout=out, stderr=out,
                               env=_environment(bench.folder) | {"PEERS_CPU": str(said)})  # fmt: skip
        _, status, used = os.wait4(run.pid, 0)
        wall_s = time.perf_counter() - start
        run.returncode = os.waitstatus_to_exitcode(status)
        if run.returncode:
            out.seek(0)
            msg = f"{name} ended with {run.returncode}: {out.read().decode(errors='replace')[-300:]}"
            raise RuntimeError(msg)
    return wall_s, max(map(float, said.read_text("ascii").split())), used.ru_utime + used.ru_stime


def _suite(folder: Path) -> Path:
    folder.mkdir()
    mark = "@pytest.mark.parametrize('n', range(100))"
    body = f"import pytest\n{mark}\ndef test_it(n): sum(i * i for i in range(60_000))\n"
    for number in range(4):
        (folder / f"test_{number}.py").write_text(body, "utf-8")
    return folder


# Environments


def _environments(home: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Make what is missing; tell which could not be made, and why."""
    pythons, missing = {}, {}
    for name, packages in PACKAGES.items():
        python = home / name / "bin" / "python"
        fresh = not python.exists()
        if fresh:
            venv.create(home / name, with_pip=True)
        if fresh or name == "gilprobe":
            command = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages]
            command += [] if fresh else ["--force-reinstall", "--no-deps"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                missing[name] = shlex.join(packages) + ": " + (done.stderr.strip().splitlines() or ["?"])[-1]
        pythons[name] = str(python)
    return pythons, missing


def _environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON"))}
    return {**kept, "PYTHONPATH": str(folder)}


@contextlib.contextmanager
def _neighbours(count: int) -> Iterator[None]:
    """Keep cores busy; the loops end with this process in any case, as they look for it."""
    code = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: sum(range(100_000))"
    busy = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def _attempt(measure: Callable[[], Any]) -> Any:
    """Measure, or say why not: a peer that fails is a row, not the end."""
    try:
        return measure()
    except (RuntimeError, OSError, subprocess.SubprocessError, ValueError, KeyError, IndexError) as error:
        return f"did not run: {' '.join(str(error).split())[-120:]}"


def _print(title: str, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print(f"\n### {title}\n")
    for row in (headers, ["---"] * len(headers), *rows):
        print(f"| {' | '.join(map(str, row))} |")


if __name__ == "__main__":
    sys.exit(main())
