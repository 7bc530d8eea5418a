"""What it costs to have a plugin installed that nobody uses: this one beside four others, each in its own environment.

    python benchmarks/idle_cost.py --keep FOLDER            everything: 40 pairs, half an hour of an idle machine
    python benchmarks/idle_cost.py --only instructions         one of: run, collect, instructions
    python benchmarks/idle_cost.py --pairs 5 --tests 500       a look, not a figure

Makes one virtual environment with pytest alone and one more for each plugin, and a suite of trivial tests without any
marker. Then runs pytest bare, with a plugin, bare, with the next plugin, and so on: every run with a plugin is divided
by the mean of the two bare runs around it, so that a machine that gets busier cancels out. The figure is user CPU
time of the whole process (`os.wait4`); user and system time together are shown beside it, because Linux shares the
exact sum out between the two by samples.
Printed are the medians of these ratios with a 95 % interval from order statistics, and, because what disturbs a run
can only add to its CPU time, the mean of the fastest quarter of the runs with a plugin over that of the bare runs.

Instructions are counted beside it: user-space ones, by `perf stat` where the machine has such a counter, else by
Valgrind's callgrind, which counts the same on a busy machine as on an idle one. Two small suites are enough to tell
start-up from what a test adds, and both together what a suite of any size costs. They say nothing of the time that an
instruction takes.

Bars, held against the fastest quarters and against the instructions: `gilprobe` at most 1.01 for 2,000 tests, and
below every other plugin; at most 1.01 for ``--collect-only`` of 20,000. The exit status is 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HERE: Final = Path(__file__).resolve().parent.parent
BAR: Final = 1.01
PLUGINS: Final = {
    "bare": (),
    "gilprobe": (str(HERE),),
    "pytest-benchmark": ("pytest-benchmark",),
    "pytest-run-parallel": ("pytest-run-parallel",),
    "pytest-memray": ("pytest-memray",),
    "pytest-xdist": ("pytest-xdist",),
}
TESTS_PER_FILE: Final = 100
COUNTED: Final = (200, 600)
"""Sizes of the two suites in which instructions are counted, by a counter that makes them fifty times slower."""
SECTIONS: Final = ("run", "collect", "instructions")


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU seconds of one process."""

    user_s: float
    total_s: float


@dataclass(frozen=True, slots=True)
class Ratio:
    """A median with a 95 % interval from order statistics; the ratio of the fastest quarters, and their difference."""

    value: float
    low: float
    high: float
    fastest: float
    extra_ms: float


def main() -> int:
    """Measure both suites and hold them against the bars."""
    arguments = _parser().parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(arguments.keep or scratch)
        pythons = {name: _environment(home / name, packages) for name, packages in PLUGINS.items()}
        print(f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} CPUs, ", end="")
        print(f"load {os.getloadavg()[0]:.2f} at the start, {arguments.pairs} pairs")
        few = {name: pythons[name] for name in ("bare", "gilprobe")}
        collecting = ("--collect-only",)
        run, collect = Path(scratch) / "run", Path(scratch) / "collect"
        sections: dict[str, Callable[[], bool]] = {
            "run": lambda: _contest(pythons, _suite(run, arguments.tests), (), arguments.pairs),
            "collect": lambda: _contest(few, _suite(collect, arguments.collected), collecting, arguments.pairs),
            "instructions": lambda: all(
                (
                    _count(pythons, Path(scratch) / "few", (), arguments.tests),
                    _count(few, Path(scratch) / "few-collected", collecting, arguments.collected),
                )
            ),
        }
        met = [sections[name]() for name in arguments.only or SECTIONS]
        print(f"load {os.getloadavg()[0]:.2f} at the end")
    return 0 if all(met) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=SECTIONS, action="append", help="default: all of them")
    parser.add_argument("--pairs", type=int, default=40, help="runs of every plugin, 40 by default")
    parser.add_argument("--tests", type=int, default=2_000, help="trivial tests to run")
    parser.add_argument("--collected", type=int, default=20_000, help="trivial tests to collect")
    parser.add_argument("--keep", help="folder in which the environments stay for a later call")
    return parser


def _environment(folder: Path, packages: Sequence[str]) -> str:
    """Make a virtual environment with pytest and ``packages``; the project itself is always installed anew."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        _install(python, "pytest", *packages)
    elif str(HERE) in packages:
        _install(python, "--force-reinstall", "--no-deps", *packages)
    return str(python)


def _install(python: Path, *arguments: str) -> None:
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


def _suite(folder: Path, tests: int) -> Path:
    """Write a suite of empty tests, a hundred to a file."""
    folder.mkdir()
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -q -p no:cacheprovider\n", "utf-8")
    for number in range(tests // TESTS_PER_FILE):
        body = "".join(f"def test_{case}():\n    pass\n\n\n" for case in range(TESTS_PER_FILE))
        (folder / f"test_{number}.py").write_text(body, "utf-8")
    return folder


def _contest(pythons: dict[str, str], suite: Path, flags: Sequence[str], pairs: int) -> bool:
    """Run everything in alternation, print a table, and tell whether the bars are met."""
    names = [name for name in pythons if name != "bare"]
    for python in pythons.values():
        _run(python, suite, flags)  # writes the byte code
    costs: dict[str, list[tuple[Cost, Cost, Cost]]] = {name: [] for name in names}
    before = _run(pythons["bare"], suite, flags)
    for turn in range(pairs):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            cost = _run(pythons[name], suite, flags)
            after = _run(pythons["bare"], suite, flags)
            costs[name].append((before, cost, after))
            before = after
    print(f"\n{' '.join(['pytest', *flags])}, {sum(1 for _ in suite.glob('test_*.py')) * TESTS_PER_FILE} tests")
    print(f"{'installed':<22}{'user CPU':>24}{'fastest':>9}{'extra':>10}{'user + system':>26}{'fastest':>9}")
    found = {}
    for name in names:
        found[name], total = (_ratio(costs[name], which) for which in ("user_s", "total_s"))
        user = found[name]
        print(f"{name:<22}{_said(user)}{user.fastest:>9.4f}{user.extra_ms:>7.1f} ms{_said(total)}{total.fastest:>9.4f}")
    return _held_against_the_bars({name: ratio.fastest for name, ratio in found.items()})


def _held_against_the_bars(ratios: dict[str, float]) -> bool:
    """Say whether this plugin's ratio is below the bar, and below each peer's where there are any."""
    ours, *others = ratios.pop("gilprobe"), *ratios.values()
    below = all(ours < other for other in others)
    print(f"bar {BAR}: {'met' if ours <= BAR else 'MISSED'}", end="")
    print(f"; below every other plugin: {'yes' if below else 'NO'}" if others else "")
    return ours <= BAR and below


def _count(pythons: dict[str, str], folder: Path, flags: Sequence[str], tests: int) -> bool:
    """Count instructions in two small suites, and say what a suite of ``tests`` tests costs by them."""
    counter = _counter()
    if counter is None:
        print("\ninstructions: not counted, neither perf (with a hardware counter) nor valgrind is here")
        return True
    folder.mkdir()
    small, large = (_suite(folder / str(size), size) for size in COUNTED)
    print(f"\n{' '.join(['pytest', *flags])}, millions of instructions by {counter[0]}")
    print(f"{'installed':<22}{'start-up':>12}{'a test':>12}{f'{tests} tests':>14}{'of bare':>10}")
    totals, ratios = {}, {}
    for name, python in pythons.items():
        few, many = (_instructions(counter, python, suite, flags) for suite in (small, large))
        each = (many - few) / (COUNTED[1] - COUNTED[0])
        start = few - each * COUNTED[0]
        totals[name] = start + each * tests
        ratios[name] = totals[name] / totals["bare"]
        print(f"{name:<22}{start:>12.1f}{each:>12.4f}{totals[name]:>14.1f}{ratios[name]:>10.4f}")
    del ratios["bare"]
    return _held_against_the_bars(ratios)


def _counter() -> Sequence[str] | None:
    """Give the command that counts a program's instructions, if there is one."""
    perf = ("perf", "stat", "-x,", "-e", "instructions:u")
    if shutil.which("perf") is not None:
        said = subprocess.run([*perf, "true"], capture_output=True, text=True, check=False).stderr
        if re.search(r"^\d+,", said, re.MULTILINE):
            return perf
    valgrind = ("valgrind", "--tool=callgrind", f"--callgrind-out-file={os.devnull}")
    return valgrind if shutil.which("valgrind") is not None else None


def _instructions(counter: Sequence[str], python: str, suite: Path, flags: Sequence[str]) -> float:
    """Run pytest once more than needed, for its byte code, and give millions of instructions."""
    _run(python, suite, flags)
    done = subprocess.run([*counter, python, "-m", "pytest", *flags], cwd=suite, capture_output=True, text=True,
                          env=_bare_environment() | {"PYTHONHASHSEED": "0"}, check=False)  # fmt: skip
    found = re.findall(r"^(\d+),", done.stderr, re.MULTILINE) or re.findall(r"refs:\s+([\d,]+)", done.stderr)
    if done.returncode or not found:
        sys.exit(f"{counter[0]} {python} -m pytest ended with {done.returncode}: {done.stderr[-300:]}")
    return int(found[-1].replace(",", "")) * 1e-6


def _said(ratio: Ratio) -> str:
    return f"{ratio.value:.4f} [{ratio.low:.4f}, {ratio.high:.4f}]".rjust(26)


def _ratio(costs: Sequence[tuple[Cost, Cost, Cost]], which: str) -> Ratio:
    """Divide each run by the mean of its neighbours; the interval holds the median with 95 % (order statistics)."""
    rows = [[getattr(cost, which) for cost in row] for row in costs]
    ratios = sorted(cost / ((before + after) / 2) for before, cost, after in rows)
    quiet, quiet_bare = _fastest([cost for _, cost, _ in rows]), _fastest([bare for bare, _, _ in rows])
    count = len(ratios)
    rank = max(0, math.floor(count / 2 - 1.96 * math.sqrt(count) / 2))
    return Ratio(
        value=statistics.median(ratios),
        low=ratios[rank],
        high=ratios[count - 1 - rank],
        fastest=quiet / quiet_bare,
        extra_ms=(quiet - quiet_bare) * 1e3,
    )


def _fastest(costs: Sequence[float]) -> float:
    """Mean of the fastest quarter."""
    return statistics.fmean(sorted(costs)[: max(1, len(costs) // 4)])


def _bare_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON"))}


def _run(python: str, suite: Path, flags: Sequence[str]) -> Cost:
    """Run pytest once and return what it used."""
    with Path(os.devnull).open("wb") as nowhere:
        process = subprocess.Popen(
            [python, "-m", "pytest", *flags], cwd=suite, env=_bare_environment(), stdout=nowhere, stderr=nowhere
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{python} -m pytest ended with {process.returncode}")
    return Cost(usage.ru_utime, usage.ru_utime + usage.ru_stime)


if __name__ == "__main__":
    sys.exit(main())
