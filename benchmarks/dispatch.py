"""What is left of the speed-up of short calls in an executor: measured, and as a probe predicts it.

    python benchmarks/dispatch.py     calls of 10 us to 1.6 ms, about a minute on an idle machine

Hashing, which releases the GIL, in two threads; a Python loop in two processes. Each is called for a tenth of a second
serially and through ``executor.map``, one call a task, nine times in turn: the measured speed-up is the median of the
nine. Then the same call is probed. Prints Markdown.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from pytest_gilprobe import probe  # noqa: E402
from pytest_gilprobe.model import numbers  # noqa: E402
from pytest_gilprobe.strategies.registry import BUILT_IN  # noqa: E402

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


def main() -> None:
    """Measure, probe, print."""
    print(f"CPython {platform.python_version()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f} at the start\n")
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
