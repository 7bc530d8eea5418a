"""Does a pool do what a probe predicts? Each sample workload's advice, run in a real pool of the standard library.

    python benchmarks/prediction.py             all sample workloads, about two minutes
    python benchmarks/prediction.py hashing     those whose names contain a word

Every workload is probed in a process of its own; then, in another one, so many calls as take about a second are
made serially and in the pool that was advised, in turn, after the pool has started. The table holds prediction and
measurement; 15 % is allowed. Beside it stands what the calls did that were spread over both pools. Prints Markdown.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import platform
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from pytest_gilprobe import host, probe, serialize  # noqa: E402 - the checkout beside this file is what is measured
from pytest_gilprobe.model import Recommendation, WorkloadResult  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

ALLOWED: Final = 0.15
ROUNDS: Final = 8
BATCH_S: Final = 0.25
RESULT: Final = "GILPROBE_PREDICTION"
INNER: Final = "GILPROBE_PREDICTION_ADVICE"

_call: Callable[[], object] | None = None
"""The call, where workers of a forked pool find it: a test's fixtures cannot be pickled."""


def one_call(_: object) -> None:
    """Make one call; the task that both pools are given."""
    assert _call is not None
    _call()


def measure(call: Callable[[], object], call_s: float, strategy: str, workers: int) -> float:
    """Return the speed-up of a real pool over serial calls: the best of rounds in turn; others only slow it."""
    global _call  # noqa: PLW0603 - see there
    _call = call
    calls = max(workers * 2, math.ceil(BATCH_S / call_s))
    pool: Any = (
        ThreadPoolExecutor(workers)
        if strategy == "threads"
        else ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork"))
    )
    with pool:
        list(pool.map(one_call, range(workers * 4)))
        timed = [_round(pool, calls) for _ in range(ROUNDS)]
    return min(serial for serial, _ in timed) / min(pooled for _, pooled in timed)


def _round(pool: Any, calls: int) -> tuple[float, float]:
    """Return the seconds that the calls take serially and in the pool."""
    started = time.perf_counter()
    for at in range(calls):
        one_call(at)
    between = time.perf_counter()
    list(pool.map(one_call, range(calls)))
    return between - started, time.perf_counter() - between


class Measured:
    """A plugin that, in place of a test's call, runs it in the advised pool and writes the speed-up down."""

    def pytest_pyfunc_call(self, pyfuncitem: Any) -> bool:
        """Measure, and say that the test was called."""
        names = pyfuncitem._fixtureinfo.argnames  # noqa: SLF001 - as pytest's own call does
        given = {name: pyfuncitem.funcargs[name] for name in names}
        strategy, workers, call_s = os.environ[INNER].split()
        gain = measure(lambda: pyfuncitem.obj(**given), float(call_s), strategy, int(workers))
        Path(os.environ[RESULT]).write_text(str(gain), encoding="ascii")
        return True


def control(workers: int) -> float:
    """Return what a real process pool gives a plain Python loop now: this machine's ceiling for computing."""
    return measure(lambda: sum(range(200_000)), 0.002, "processes", workers)


def in_a_pool(workload: WorkloadResult, strategy: str) -> float | None:
    """Run one workload in a real pool, in a pytest session of its own; None if that failed."""
    assert workload.serial is not None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "gain")
        said = f"{strategy} {workload.workers} {workload.serial.wall_s_per_call.value}"
        code = (
            "import sys, pytest; sys.path.insert(0, 'benchmarks'); import prediction; "
            "pytest.main(sys.argv[1:], plugins=[prediction.Measured()])"
        )
        flags = [
            "-q",
            "-p",
            "no:cacheprovider",
            "--gilprobe-disable",
            "-W",
            "ignore::pytest.PytestAssertRewriteWarning",
        ]
        subprocess.run(
            [sys.executable, "-c", code, workload.nodeid, *flags],
            cwd=ROOT,
            env={**os.environ, RESULT: str(path), INNER: said},
            stdout=subprocess.DEVNULL,
            check=False,
            timeout=120,
        )
        return float(path.read_text("ascii")) if path.exists() else None


def probed(word: str, max_time_s: float) -> tuple[WorkloadResult, ...]:
    """Probe the sample workloads in a session of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pytest", "sample_workloads", "-q", "-p", "no:cacheprovider", "-k", word]
        command += ["--gilprobe-report", f"--gilprobe-report-dir={folder}", f"--gilprobe-max-time={max_time_s:g}"]
        subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
        return serialize.read(Path(folder, "gilprobe.json")).workloads


def row(workload: WorkloadResult) -> tuple[str, bool | None]:
    """Hold one prediction against a real pool; give the table's line and whether it is within what is allowed."""
    name, advice = workload.nodeid.rpartition("::")[2], workload.verdict.strategy
    strategies = {Recommendation.THREADS: "threads", Recommendation.PROCESSES: "processes"}
    if workload.serial is None or advice not in strategies:
        return f"| {name} | {advice} | | | |", None
    predicted = workload.verdict.speedup
    measured = in_a_pool(workload, strategies[advice])
    if predicted is None or measured is None:
        return f"| {name} | {advice} | | not measured | |", None
    error = predicted / measured - 1
    return f"| {name} | {advice} | {predicted:.2f} | {measured:.2f} | {error:+.0%} |", abs(error) <= ALLOWED


def total(data: list[int]) -> int:
    """Work on data that came with the call."""
    return sum(number * number for number in data)


def length(data: bytes) -> int:
    """Hardly work at all."""
    return data.count(b"a")


def echo(data: bytes) -> bytes:
    """Send it all back."""
    return data[::-1]


SHIPPED: Final[dict[str, tuple[Callable[[Any], Any], Any]]] = {
    "total of 10,000 ints": (total, list(range(10_000))),
    "total of 200,000 ints": (total, list(range(2**30, 2**30 + 200_000))),
    "count in 10 MiB": (length, b"abcd" * (10 * 2**18)),
    "1 MiB there and back": (echo, b"abcd" * 2**18),
}


def shipping_row(name: str) -> str:
    """Hold the prediction for a process pool that is handed its data against a real one."""
    func, data = SHIPPED[name]
    found = probe(func, data, gilprobe_workers=2).result
    if found.processes.pool_speedup is None or found.serial is None:
        return f"| {name} | {found.verdict.strategy} | | | |"
    calls = max(4, math.ceil(BATCH_S / found.serial.wall_s_per_call.value))
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
        list(pool.map(func, [data] * 4))
        timed = [_shipped(pool, func, [data] * calls) for _ in range(ROUNDS)]
    predicted = found.processes.pool_speedup.value
    measured = min(serial for serial, _ in timed) / min(pooled for _, pooled in timed)
    return f"| {name} | {found.verdict.strategy} | {predicted:.2f} | {measured:.2f} | {predicted / measured - 1:+.0%} |"


def _shipped(pool: ProcessPoolExecutor, func: Callable[[Any], Any], items: list[Any]) -> tuple[float, float]:
    started = time.perf_counter()
    for item in items:
        func(item)
    between = time.perf_counter()
    list(pool.map(func, items))
    return between - started, time.perf_counter() - between


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("word", nargs="?", default="test", help="leave out workloads without this word in their names")
    parser.add_argument("--max-time", type=float, default=5, metavar="S", help="budget of a probe (default: 5)")
    asked = parser.parse_args()
    print(
        f"{platform.python_implementation()} {platform.python_version()}, {host.usable_cpus()} CPUs, "
        f"load {host.load_average_1min()}\n"
    )
    print("| workload | advice | predicted | in a real pool | error |")
    print("|---|---|---:|---:|---:|")
    kept = []
    for workload in probed(asked.word, asked.max_time):
        line, within = row(workload)
        print(line, flush=True)
        kept.append(within)
    print("\n| data handed to a process pool | advice | predicted | in a real pool | error |")
    print("|---|---|---:|---:|---:|")
    for name in SHIPPED:
        print(shipping_row(name), flush=True)
    print(f"\nA plain Python loop in a pool of 2 processes, afterwards: {control(2):.2f}x.")
    known = [within for within in kept if within is not None]
    print(f"\nWithin {ALLOWED:.0%}: {sum(known)} of {len(known)}.")


if __name__ == "__main__":
    main()
