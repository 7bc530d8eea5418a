"""What is left of the speed-up of short calls in an executor: measured, and as a probe predicts it.

    python benchmarks/dispatch.py           calls of 10 us to 1.6 ms, about a minute on an idle machine
    python benchmarks/dispatch.py --added   what an executor adds to a task, idle and beside 1 and 2 busy loops

Hashing, which releases the GIL, in two threads; a Python loop in two processes. Each is called for a tenth of a second
serially and through ``executor.map``, one call a task, nine times in turn: the measured speed-up is the median of the
nine. Then the same call is probed. Prints Markdown.

With ``--added``, tasks that compute are timed as a session times them: how much CPU time the executor adds to a task,
and, without busy loops, how many times as long a worker loses with it.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import sys
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from verdicts import busy_loops  # noqa: E402

from pytest_gilprobe import probe  # noqa: E402
from pytest_gilprobe.model import numbers  # noqa: E402
from pytest_gilprobe.strategies.registry import BUILT_IN  # noqa: E402
from pytest_gilprobe.workers.child import dispatch  # noqa: E402
from pytest_gilprobe.workers.executor_messages import DispatchMeasured, MeasureDispatch, TrialTimes  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from pytest_gilprobe.model.results import WorkloadResult

LENGTHS_S: Final = (10e-6, 20e-6, 50e-6, 100e-6, 200e-6, 400e-6, 800e-6, 1600e-6)
WORKERS: Final = 2
ROUNDS: Final = 9
BATCH_S: Final = 0.1
MUCH: Final = 200_000

_size = 0
_block = b""


def loop(_: object = None) -> None:
    """Hold the GIL for a while."""
    for _number in range(_size):
        pass


def hashing(_: object = None) -> None:
    """Compute without the GIL for a while."""
    hashlib.sha256(_block).digest()


def sized(call: Callable[[], None], length_s: float) -> None:
    """Make a call take about so long."""
    global _size, _block
    _size, _block = MUCH, bytes(MUCH)
    size = max(1, round(MUCH * length_s / min(seconds(call) for _ in range(ROUNDS))))
    _size, _block = size, bytes(size)


def seconds(action: Callable[[], object]) -> float:
    """Time an action."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def speedup(call: Callable[[object], None], executor: Executor, calls: int) -> float:
    """Return how much faster a real executor is than serial calls."""
    with executor:
        list(executor.map(call, range(WORKERS * 4)))
        ratios = [
            seconds(lambda: list(map(call, range(calls)))) / seconds(lambda: list(executor.map(call, range(calls))))
            for _ in range(ROUNDS)
        ]
    return median(ratios)


def row(name: str, length_s: float, measured: float, found: WorkloadResult) -> str:
    """Write a line of the table."""
    part = found.strategies[name]
    bare = numbers.NOT_AVAILABLE if part.speedup is None else f"{part.speedup.value:.2f}x"
    predicted = numbers.NOT_AVAILABLE if part.pool_speedup is None else numbers.speedup(part.pool_speedup)
    length = numbers.seconds(length_s)
    return f"| {name} | {length} | {bare} | {predicted} | {measured:.2f}x | {found.verdict.strategy} |"


def added() -> None:
    """Time tasks that compute in each executor, idle and beside busy loops; print what it adds to a task."""
    print("| workers | busy loops | CPU time added to a task, median (range) | lost by a worker, in that CPU time |")
    print("|---|---:|---:|---:|")
    names = ("threads", "processes", "interpreters")[: 2 + (sys.version_info >= (3, 14))]
    for strategy in (BUILT_IN[name] for name in names):
        question = MeasureDispatch(strategy=strategy.name, workers=WORKERS, start_method="fork")
        for loops in (0, 1, 2):
            with busy_loops(loops):
                found = [dispatch.measure(strategy, question) for _ in range(ROUNDS + 1)]
            timed = [one.work for one in found if isinstance(one, DispatchMeasured) and one.work]
            both = [(work.more_cpu_s or 0.0, lost(work)) for work in timed]
            more, times = [cpu_s for cpu_s, _ in both], [lost_s / max(cpu_s, 1e-9) for cpu_s, lost_s in both]
            text = f"{median(times):.2f} ({min(times):.2f} to {max(times):.2f})" if not loops else ""
            least, middle, most = (numbers.seconds(one) for one in (min(more), median(more), max(more)))
            print(f"| {strategy.name} | {loops} | {middle} ({least} to {most}) | {text} |", flush=True)


def lost(work: TrialTimes) -> float:
    """Return the seconds that a worker loses with a task, on a machine that gives two workers all of two CPUs."""
    pairs = ((work.pooled_s, work.alone_s), (work.pooled_least_s, work.alone_least_s))
    return sum(WORKERS * pooled - alone for pooled, alone in pairs) / len(pairs)


def main() -> None:
    """Measure, probe, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--added", action="store_true", help="show what executors add to tasks")
    asked = parser.parse_args()
    print(f"CPython {platform.python_version()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f} at the start\n")
    if asked.added:
        added()
        return
    print("| pool of 2 | a call | calls alone gain | in a pool, predicted | in a pool, measured | advice |")
    print("|---|---:|---:|---:|---:|---|")
    for name, call in (("threads", hashing), ("processes", loop)):
        for length_s in LENGTHS_S:
            sized(call, length_s)
            executor = BUILT_IN[name].executor(WORKERS, "fork")
            assert executor is not None
            measured = speedup(call, executor, round(BATCH_S / length_s))
            print(row(name, length_s, measured, probe(call).result), flush=True)


if __name__ == "__main__":
    main()
