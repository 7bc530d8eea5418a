"""Do executors do what a probe predicts? Break-even and size of tasks, against real runs of the same executor.

    python benchmarks/executors.py [--only NAME ...]

For each executor, a call that computes without the GIL for a fraction of a millisecond is probed with default settings.
The probe says from how many calls per task the executor pays off, from which length of a call, and how many calls per
task give 90 % of its best speed. Then, without any of the project's own measuring, the same factory's executor is
given tasks of 1, 2, 4 ... such calls, and single calls of growing length, each in turn with serial calls; medians of
the ratios count, and what lies between two sizes is interpolated. Allowed is a difference of 25 %, or of one call. A
number of calls per task is also right if real tasks of this size are as fast as they were said to be.

Executors: threads, processes and, from CPython 3.14 on, interpreters of the standard library; loky, Dask and mpi4py
where they are installed. Prints Markdown; exit status 1 if a prediction is wrong. Needs an idle machine.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from executor_calls import BYTES, digest, many  # noqa: E402 - beside this file

from pytest_gilprobe import Prober  # noqa: E402 - the checkout beside this file is what is measured
from pytest_gilprobe.model import numbers  # noqa: E402
from pytest_gilprobe.model.thresholds import WORTH_IT  # noqa: E402

if TYPE_CHECKING:
    from pytest_gilprobe.model.executors import ExecutorResult

CLOSE: Final = 1.25
WORKERS: Final = 2
ROUNDS: Final = 7
SERIES_S: Final = 0.1
"""Seconds of serial work in one series of a real run."""
SHORT: Final = {"dask": 128 << 10}
"""Bytes that a probed call hashes, by executor: short enough for a task of its own not to pay off."""
OTHERS: Final = 64 << 10
EFFICIENT: Final = 0.9
MOST_CALLS: Final = 1024


# The executors: factories that the probe and the real runs share


def threads() -> Executor:
    """Return a pool of threads."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    return ThreadPoolExecutor(WORKERS)


def processes() -> Executor:
    """Return a pool of processes."""
    from concurrent.futures import ProcessPoolExecutor  # noqa: PLC0415

    return ProcessPoolExecutor(WORKERS)


def interpreters() -> Executor:
    """Return a pool of subinterpreters, which find this module."""
    import site  # noqa: PLC0415
    from concurrent import futures  # noqa: PLC0415

    return futures.InterpreterPoolExecutor(  # type: ignore[attr-defined, no-any-return, unused-ignore]
        WORKERS, initializer=site.addsitedir, initargs=(str(Path(__file__).resolve().parent),)
    )


def loky_reusable() -> Executor:
    """Return loky's reusable executor."""
    import loky  # type: ignore[import-not-found, import-untyped, unused-ignore] # noqa: PLC0415

    found: Executor = loky.get_reusable_executor(WORKERS)
    return found


@contextmanager
def dask() -> Iterator[Executor]:
    """Start a scheduler and workers on this machine."""
    from pytest_gilprobe.strategies.dask import local_cluster  # noqa: PLC0415

    with local_cluster() as executor:
        yield executor


def mpi() -> Executor:
    """Return a pool of MPI processes."""
    from mpi4py.futures import MPIPoolExecutor  # type: ignore[import-not-found, unused-ignore] # noqa: PLC0415

    found: Executor = MPIPoolExecutor(WORKERS, path=sys.path)
    return found


FACTORIES: Final[dict[str, Callable[[], Any]]] = {
    "threads": threads,
    "processes": processes,
    "interpreters": interpreters,
    "loky": loky_reusable,
    "dask": dask,
    "mpi": mpi,
}
NEEDS: Final = {"interpreters": "concurrent.interpreters", "loky": "loky", "dask": "distributed", "mpi": "mpi4py"}


def is_there(name: str) -> bool:
    """Return whether the module that an executor needs can be imported."""
    return name not in NEEDS or find_spec(NEEDS[name]) is not None


# Real runs


@dataclass(frozen=True, slots=True)
class Gain:
    """The speed-up over serial calls in tasks of ``size``, which is calls per task, or seconds per call."""

    size: float
    speedup: float


def wall_s(work: Callable[[], object]) -> float:
    """Return how long something takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def gain_of(executor: Executor, task: tuple[Any, ...], calls: int, serial: Callable[[], object]) -> float:
    """Return the median speed-up of a series of equal tasks, over so many serial calls, in rounds."""
    serial_s = wall_s(serial)
    tasks = max(4 * WORKERS, math.ceil(SERIES_S / max(serial_s * calls, 1e-7)))

    def series() -> None:
        for future in [executor.submit(*task) for _ in range(tasks)]:
            future.result()

    series()
    ratios = []
    for _ in range(ROUNDS):
        alone = wall_s(lambda: [serial() for _ in range(max(1, tasks * calls // 4))])
        ratios.append(alone / max(1, tasks * calls // 4) * tasks * calls / wall_s(series))
    return median(ratios)


def real_runs(name: str, size: int) -> tuple[list[Gain], list[Gain]]:
    """Return what tasks of more and more calls give, and what longer and longer single calls give."""
    with ExitStack() as stack:
        executor = stack.enter_context(FACTORIES[name]())
        for future in [executor.submit(digest, size) for _ in range(4 * WORKERS)]:
            future.result()
        by_calls: list[Gain] = []
        by_length: list[Gain] = []
        count = 1
        while count <= MOST_CALLS and (len(by_calls) < 3 or flat(by_calls) < 2):
            task = (digest, size) if count == 1 else (many, count, size)
            by_calls.append(Gain(count, gain_of(executor, task, count, partial(digest, size))))
            count *= 2
        length = size
        while not by_length or (by_length[-1].speedup < WORTH_IT * 1.1 and length <= 64 * BYTES):
            call = partial(digest, length)
            by_length.append(Gain(median(wall_s(call) for _ in range(ROUNDS)), gain_of(executor, (call,), 1, call)))
            length *= 2
    return by_calls, by_length


def flat(found: Sequence[Gain]) -> int:
    """Return how many of the last sizes gained hardly more than the best before them."""
    number = 0
    for at in range(len(found) - 1, 0, -1):
        if found[at].speedup > max(one.speedup for one in found[:at]) * 1.05:
            break
        number += 1
    return number


def size_for(found: Sequence[Gain], speedup: float) -> float | None:
    """Return the size at which a speed-up is reached, between two sizes along a straight line in logarithms."""
    for before, after in zip((None, *found), found, strict=False):
        if after.speedup >= speedup:
            if before is None:
                return float(after.size)
            part = math.log(speedup / before.speedup) / math.log(after.speedup / before.speedup)
            return math.exp(math.log(before.size) + part * math.log(after.size / before.size))
    return None


def speed_at(found: Sequence[Gain], size: float) -> float:
    """Return the speed-up at a size, interpolated likewise."""
    if size <= found[0].size:
        return found[0].speedup
    for before, after in pairwise(found):
        if before.size <= size <= after.size:
            part = math.log(size / before.size) / math.log(after.size / before.size)
            return math.exp(math.log(before.speedup) + part * math.log(after.speedup / before.speedup))
    return found[-1].speedup


# The comparison


@dataclass(frozen=True, slots=True)
class Compared:
    """A prediction, what real runs gave, both as text, and whether they agree."""

    said: str
    real: str
    agrees: bool


def calls_compared(said: int | None, real: float | None, found: Sequence[Gain], speedup: float) -> Compared:
    """Compare a predicted number of calls per task with the real one, with which ``speedup`` is reached."""
    if said is None or real is None:
        return missing(said, real, "{:.1f}".format)
    near = ratio(said, real) <= CLOSE or abs(math.ceil(real) - said) <= 1
    as_fast = ratio(speed_at(found, said), speedup) <= CLOSE**0.5
    return Compared(f"{said}", f"{real:.1f}", near or as_fast)


def lengths_compared(said: float | None, real: float | None) -> Compared:
    """Compare a predicted length of a call, in seconds, with the real one."""
    if said is None or real is None:
        return missing(said, real, numbers.seconds)
    return Compared(numbers.seconds(said), numbers.seconds(real), ratio(said, real) <= CLOSE)


def missing(said: float | None, real: float | None, show: Callable[[float], str]) -> Compared:
    """Compare two figures of which one is missing: they agree if the other is missing, too."""
    first, second = ("never" if one is None else show(one) for one in (said, real))
    return Compared(first, second, said is None and real is None)


def ratio(one: float, other: float) -> float:
    """Return by which factor two figures differ, 1 or more."""
    return max(one / other, other / one)


def row(name: str) -> tuple[str, int]:
    """Probe one executor and run it; return its row, and how many predictions were wrong."""
    size = SHORT.get(name, OTHERS)
    prober = Prober(strategies=f"executor:{name}", executors=f"{name}=executors:{FACTORIES[name].__name__}", max_time=4)
    part = prober.probe(digest, size).result.strategies
    found, serial = part[f"executor:{name}"].executor, part["serial"]
    if found is None:
        error = part[f"executor:{name}"].error or "no answer"
        return f"| {name} | - | {str(error).strip().splitlines()[-1]} |", 1
    by_calls, by_length = real_runs(name, size)
    best = max(one.speedup for one in by_calls) * EFFICIENT
    each = [
        calls_compared(found.pays_from_calls, size_for(by_calls, WORTH_IT), by_calls, WORTH_IT),
        lengths_compared(found.pays_from_s, size_for(by_length, WORTH_IT)),
        calls_compared(found.efficient_calls, size_for(by_calls, best), by_calls, best),
    ]
    cells = [f"{one.said} / {one.real}{'' if one.agrees else ' !'}" for one in each]
    return f"| {' | '.join([name, *described(found, serial.call_s.value), *cells])} |", sum(
        not one.agrees for one in each
    )


def described(found: ExecutorResult, call_s: float) -> list[str]:
    """Return the cells on the call and what a task costs."""
    return [numbers.seconds(call_s), numbers.seconds(found.task_s), numbers.seconds(found.round_trip_s)]


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=tuple(FACTORIES), default=tuple(FACTORIES), metavar="NAME")
    asked = parser.parse_args()
    load = os.getloadavg()[0]
    print(f"CPython {platform.python_version()}, {os.cpu_count()} CPUs, load {load:.1f} at the start\n")
    print(
        f"Predicted / real: calls per task and length of a call from which {WORTH_IT}x is reached, calls per task for "
        f"{EFFICIENT:.0%} of the best speed.\n"
    )
    print("| executor | a call | a task, of many | alone | pays off from calls | from a call of | 90 % from calls |")
    print("|---|---|---|---|---|---|---|")
    wrong = 0
    for name in filter(is_there, asked.only):
        text, bad = row(name)
        wrong += bad
        print(text, flush=True)
    print(f"\n{wrong} predictions wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    import executors  # what is pickled must have a name that workers can import

    sys.exit(executors.main())
