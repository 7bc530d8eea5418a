"""Does a pool do what a probe predicts? Each sample workload's advice, run in a real pool of the standard library.

    python benchmarks/prediction.py             all sample workloads, about three minutes
    python benchmarks/prediction.py hashing     those whose names contain a word

Every workload is probed in a session of its own; then, in another process, so many calls as take a quarter of a
second are made serially and in the pool that was advised, in turn, after the pool has started. The table holds
prediction and measurement; 15 % is allowed. A plain Python loop runs between them, serially and in two processes: where
it gains anything but 2x, or where the probe's own batches had to queue for a CPU, other programs were at work and the
row says nothing, which it says. Prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import platform
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from pytest_gilprobe import Prober  # noqa: E402
from pytest_gilprobe.model import report_json  # noqa: E402 - the checkout beside this file is what is measured
from pytest_gilprobe.model.results import WorkloadResult  # noqa: E402
from pytest_gilprobe.observe import machine  # noqa: E402 - the checkout beside this file is what is measured
from pytest_gilprobe.report import snippets  # noqa: E402 - the checkout beside this file is what is measured
from pytest_gilprobe.stats.rounds import QUIET  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ALLOWED: Final = 0.15
OFF: Final = 0.15
"""How far from 2 the gain of a plain Python loop in two processes may be for the machine to count as idle."""
ROUNDS: Final = 8
BATCH_S: Final = 0.25
CONTROL_CALLS: Final = 6
CONTROL_LOOPS: Final = 1_000_000
"""One call of the control takes about 25 ms: of a pool that has slept, shorter ones tell how long it takes to wake."""
RESULT: Final = "GILPROBE_PREDICTION"
INNER: Final = "GILPROBE_PREDICTION_ADVICE"

_call: Callable[[], object] | None = None
"""The call, where workers of a forked pool find it: a test's fixtures cannot be pickled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advised:
    """What a probe advised: the strategy, the workers, the calls in a task, and how long one call takes."""

    strategy: str
    workers: int
    chunk: int
    call_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """The speed-up of a real pool, and that of the control which ran between its rounds."""

    pool: float
    control: float


def one_call(_: object) -> None:
    """Make one call; the task that both pools are given."""
    assert _call is not None
    _call()


def control_call(_: object) -> None:
    """Compute a little: the control's task."""
    for _number in range(CONTROL_LOOPS):
        pass


def measure(call: Callable[[], object], advised: Advised) -> Gain:
    """Return the speed-up of a real pool over serial calls: the best of rounds in turn; others only slow it."""
    global _call  # noqa: PLW0603 - see there
    _call = call
    calls = max(advised.workers * 2, math.ceil(BATCH_S / advised.call_s))
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(2, mp_context=context) as beside:
        list(beside.map(control_call, range(8)))  # before there are threads, which a fork does not copy
        pool: Any = (
            ThreadPoolExecutor(advised.workers)
            if advised.strategy == "threads"
            else ProcessPoolExecutor(advised.workers, mp_context=context)
        )
        with pool:
            list(pool.map(one_call, range(advised.workers * 4)))
            timed = [
                (
                    _round(pool, one_call, calls, advised.chunk if advised.strategy == "processes" else 1),
                    _round(beside, control_call, CONTROL_CALLS, 1),
                )
                for _ in range(ROUNDS)
            ]
    return Gain(pool=_gain([own for own, _ in timed]), control=_gain([control for _, control in timed]))


def _gain(timed: list[tuple[float, float]]) -> float:
    return min(serial for serial, _ in timed) / min(pooled for _, pooled in timed)


def _round(pool: Any, task: Callable[[object], None], calls: int, chunk: int) -> tuple[float, float]:
    """Return the seconds that the calls take serially and in the pool."""
    started = time.perf_counter()
    for at in range(calls):
        task(at)
    between = time.perf_counter()
    list(pool.map(task, range(calls), chunksize=chunk))
    return between - started, time.perf_counter() - between


class Measured:
    """A plugin that, in place of a test's call, runs it in the advised pool and writes the speed-up down."""

    def pytest_pyfunc_call(self, pyfuncitem: Any) -> bool:
        """Measure, and say that the test was called."""
        names = pyfuncitem._fixtureinfo.argnames  # noqa: SLF001 - as pytest's own call does
        given = {name: pyfuncitem.funcargs[name] for name in names}
        gain = measure(lambda: pyfuncitem.obj(**given), Advised(**json.loads(os.environ[INNER])))
        Path(os.environ[RESULT]).write_text(json.dumps(asdict(gain)), encoding="ascii")
        return True


def in_a_pool(workload: WorkloadResult, strategy: str) -> Gain | None:
    """Run one workload in a real pool, in a pytest session of its own; None if that failed."""
    assert workload.serial is not None
    advised = Advised(
        strategy=strategy,
        workers=workload.workers,
        chunk=snippets.calls_per_task(workload),
        call_s=workload.serial.call_s.value,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "gain")
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
            env={**os.environ, RESULT: str(path), INNER: json.dumps(asdict(advised))},
            stdout=subprocess.DEVNULL,
            check=False,
            timeout=120,
        )
        return Gain(**json.loads(path.read_text("ascii"))) if path.exists() else None


def probed(word: str, max_time_s: float) -> tuple[WorkloadResult, ...]:
    """Probe the sample workloads in a session of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pytest", "sample_workloads", "-q", "-p", "no:cacheprovider", "-k", word]
        command += ["--gilprobe-report", f"--gilprobe-report-dir={folder}", f"--gilprobe-max-time={max_time_s:g}"]
        subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
        return report_json.read(Path(folder, "gilprobe.json")).workloads


def disturbed(workload: WorkloadResult, gain: Gain) -> str | None:
    """Say what shows that other programs were at work while one was probed or run in its pool, or None."""
    parts = [workload.strategies[name] for name in ("serial", workload.verdict.strategy) if name in workload.strategies]
    queued = max((part.run_queue_share or 0.0 for part in parts), default=0.0)
    if queued > QUIET:
        return f"the probe queued for {queued:.0%} of its time"
    if abs(2 - gain.control) > OFF:
        return f"a plain loop gained {gain.control:.2f}x"
    return None


def row(workload: WorkloadResult, gain: Gain | None) -> tuple[str, bool | None]:
    """Hold one prediction against a real pool; give the table's line and whether it is within what is allowed.

    None is: nothing to compare, or not on a machine that was at work for others.
    """
    name, predicted = workload.nodeid.rpartition("::")[2], workload.verdict.speedup
    head = f"| {name} | {workload.verdict.strategy} |"
    if pool_of(workload) is None:
        return f"{head} | | | |", None
    if predicted is None or gain is None:
        return f"{head} | not measured | | |", False
    error, why = predicted / gain.pool - 1, disturbed(workload, gain)
    line = f"{head} {predicted:.2f} | {gain.pool:.2f} | {error:+.0%} | {why or ''} |"
    return line, None if why is not None else abs(error) <= ALLOWED


def pool_of(workload: WorkloadResult) -> str | None:
    """Return the kind of pool that was advised, if any was."""
    advised = workload.verdict.strategy
    return advised if workload.serial is not None and advised in {"threads", "processes"} else None


def compared(word: str, max_time_s: float) -> Iterator[tuple[str, bool | None]]:
    """Probe the sample workloads, run each that has a pool in that, and give the rows."""
    for workload in probed(word, max_time_s):
        kind = pool_of(workload)
        yield row(workload, None if kind is None else in_a_pool(workload, kind))


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
    found = Prober(workers=2).probe(func, data).result
    pool_speedup = found.strategies["processes"].pool_speedup
    if pool_speedup is None or found.serial is None:
        return f"| {name} | {found.verdict.strategy} | | | |"
    calls = max(4, math.ceil(BATCH_S / found.serial.call_s.value))
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
        list(pool.map(func, [data] * 4))
        timed = [_shipped(pool, func, [data] * calls) for _ in range(ROUNDS)]
    predicted = pool_speedup.value
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
        f"{platform.python_implementation()} {platform.python_version()}, {machine.usable_cpus()} CPUs, "
        f"load {machine.load_average_1min()}\n"
    )
    print("| workload | advice | predicted | in a real pool | error | disturbed |")
    print("|---|---|---:|---:|---:|---|")
    kept = []
    for line, within in compared(asked.word, asked.max_time):
        print(line, flush=True)
        kept.append(within)
    print("\n| data handed to a process pool | advice | predicted | in a real pool | error |")
    print("|---|---|---:|---:|---:|")
    for name in SHIPPED:
        print(shipping_row(name), flush=True)
    known = [within for within in kept if within is not None]
    print(f"\nWithin {ALLOWED:.0%}: {sum(known)} of the {len(known)} that were not disturbed.")


if __name__ == "__main__":
    main()
