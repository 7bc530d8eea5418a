"""Compare the shares of the places that hold the GIL with the truth, and measure what finding them costs.

A child process runs mixtures of functions in turn and times each one inside, so that the truth is what happened: by the
thread's CPU clock, as a wait for a CPU is nobody's share. A function that lets go of the GIL (``zlib.compress``) has a
true share of 0: its time with the GIL is a few microseconds. A mixture whose packages are missing is left out.

    python benchmarks/holders.py                   an otherwise idle machine, about a minute
    python benchmarks/holders.py --busy 2          with two busy loops beside it; slow-down is not measured
    python benchmarks/holders.py --python PYTHON   mixtures run by another Python; it needs no package installed

Prints Markdown; ends every process that it starts.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pickle
import platform
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from pytest_gilprobe.model.readings import BatchReading, GilSamples, LaneReading, WorkerReading  # noqa: E402
from pytest_gilprobe.observe.frame_search import locate_frames  # noqa: E402
from pytest_gilprobe.observe.gil_address import locate  # noqa: E402
from pytest_gilprobe.observe.gil_sampler import GilSampler  # noqa: E402
from pytest_gilprobe.stats.holders import holders  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RELEASES: Final = frozenset({"compress", "sha", "matrix"})
PACKAGES: Final = "packages (numpy, lxml, orjson)"
BATCH_S: Final = 0.4
BATCHES: Final = 8
MEAN_S: Final = 0.000_5
SLOWDOWN_PAIRS: Final = 200
BARS: Final = {False: (0.02, 0.05), True: (0.05, 0.08)}
"""Greatest mean and maximum absolute error allowed, by whether the machine is busy."""
RELEASED_BAR: Final = 0.02
"""Greatest share that a function that lets go of the GIL may be given."""


# The child: functions, and mixtures of them


def build() -> dict[str, list[Callable[[], object]]]:  # noqa: C901 - a list of functions
    """Return the mixtures: functions that are called in turn, timed each by its name."""
    import hashlib  # noqa: PLC0415 - the child's own
    import random  # noqa: PLC0415
    import re  # noqa: PLC0415
    import zlib  # noqa: PLC0415

    text = json.dumps([{"a": at, "b": str(at) * 3, "c": [at, at / 3]} for at in range(600)])
    data, numbers = text.encode() * 20, [random.random() for _ in range(20_000)]

    def loop(length: int) -> int:
        total = 0
        for at in range(length):
            total += at * at
        return total

    def nine() -> int:
        total = 0
        for at in range(36_000):
            total += at * at
        return total

    def one() -> int:
        return loop(4_000)

    def seven() -> int:
        total = 0
        for at in range(28_000):
            total += at * at
        return total

    def three() -> int:
        return loop(12_000)

    def half() -> int:
        return loop(20_000)

    def other() -> int:
        total = 0
        for at in range(20_000):
            total += at * at
        return total

    def recursion(depth: int = 40) -> int:
        return recursion(depth - 1) if depth else other_inside()

    def other_inside() -> int:
        return len([at * at for at in range(20_000)])

    # they drop what they make themselves: to free it is part of their time
    def parse() -> None:
        json.loads(text)

    def order() -> None:
        sorted(numbers)

    def find() -> None:
        re.findall(r"(\d+)[^\d]+?(\d+)", text)

    def compress() -> None:
        zlib.compress(data, 1)

    def sha() -> None:
        hashlib.sha256(data).digest()

    mixtures: dict[str, list[Callable[[], object]]] = {
        "two loops, 0.9 and 0.1": [nine, one],
        "two loops, 0.7 and 0.3": [seven, three],
        "two loops, 0.5 and 0.5": [half, other],
        "C functions": [parse, order, find, other],
        "C functions that release": [parse, compress, other, sha],
        "recursion and comprehension": [recursion, nine],
    }
    with contextlib.suppress(ImportError):
        mixtures[PACKAGES] = [*packages(text, numbers), other]
    return mixtures


def packages(text: str, numbers: list[float]) -> list[Callable[[], object]]:
    """Return calls of packages, of which ``matrix`` releases the GIL. Raises `ImportError` if they are not there."""
    import numpy as np  # noqa: PLC0415
    import orjson  # type: ignore[import-not-found, unused-ignore] # noqa: PLC0415
    from lxml import etree  # noqa: PLC0415

    array = np.array(numbers * 5)
    large = np.random.default_rng(1).random((150, 150))
    tree = etree.fromstring("<all>" + '<a b="1"><c/></a>' * 2000 + "</all>")

    def orjson_loads() -> None:
        orjson.loads(text)

    def numpy_list() -> None:
        array.tolist()

    def lxml_string() -> None:
        for node in tree.iter():
            node.get("b")

    def matrix() -> None:
        large.dot(large)

    return [orjson_loads, numpy_list, lxml_string, matrix]


def child(mixture: str) -> None:
    """Run batches of a mixture when asked, and tell how long each function took."""
    functions = build().get(mixture)
    if functions is None:
        return
    clock, used = time.perf_counter_ns, time.thread_time_ns
    print(pickle.dumps((locate().address, locate_frames().layout)).hex(), flush=True)
    for line in sys.stdin:
        spent = dict.fromkeys((function.__name__ for function in functions), 0)
        calls, start, cpu, queued = 0, clock(), time.thread_time_ns(), queue_ns()
        while clock() - start < float(line) * 1e9:
            for function in functions:
                before = used()
                function()
                spent[function.__name__] += used() - before
            calls += 1
        end, cpu = clock(), time.thread_time_ns() - cpu
        found = {"start": start, "end": end, "cpu": cpu, "queued": queue_ns() - queued, "calls": calls}
        print(json.dumps(found | {"spent": spent}), flush=True)


def queue_ns() -> int:
    """Return how long this thread has waited for a CPU, in nanoseconds."""
    return int(Path("/proc/thread-self/schedstat").read_text(encoding="ascii").split()[1])


# The watcher


@contextlib.contextmanager
def running(python: str, mixture: str) -> Iterator[tuple[subprocess.Popen[str], Any]]:
    """Start a child, and end it in any case."""
    process = subprocess.Popen(
        [python, str(Path(__file__).resolve()), "--child", mixture],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHON_GIL": "1"},  # of a free-threaded build
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        yield process, pickle.loads(bytes.fromhex(line)) if line else None  # noqa: S301 - its own child
    finally:
        process.kill()
        process.communicate()


def asked(process: subprocess.Popen[str], seconds: float, sampler: GilSampler | None) -> dict[str, Any]:
    """Have the child run one batch, sampled or not."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{seconds}\n")
    process.stdin.flush()
    if sampler is not None:
        assert sampler.sample_until(process.stdout.fileno(), 60)
    found: dict[str, Any] = json.loads(process.stdout.readline())
    return found


def reading(found: dict[str, Any], samples: GilSamples) -> BatchReading:
    """Return a batch as a probe has it."""
    lane = LaneReading(
        calls=found["calls"],
        start_ns=found["start"],
        end_ns=found["end"],
        cpu_ns=found["cpu"],
        run_queue_ns=found["queued"],
    )
    worker = WorkerReading(lanes=(lane,), process_cpu_ns=found["cpu"], peak_rss_bytes=None, gil_enabled=True)
    return BatchReading(workers=(worker,), gil=samples)


def measured(python: str, mixture: str) -> tuple[dict[str, float], dict[str, float], float, int, int] | None:
    """Return true and found shares by function, the watcher's CPU share, the stacks read and those dropped.

    ``None`` if this Python lacks a package of the mixture.
    """
    spent: defaultdict[str, float] = defaultdict(float)
    batches, watched_s, cpu_s = [], 0.0, 0.0
    with running(python, mixture) as (process, where):
        if where is None:
            return None
        address, layout = where
        if address is None or layout is None:
            sys.exit(f"{python}: no GIL, or its frames are not found")
        asked(process, 0.1, None)
        for _ in range(BATCHES):
            with GilSampler(process.pid, address, mean_interval_s=MEAN_S, frames=layout, max_samples=20_000) as sampler:
                cpu = time.thread_time()
                found = asked(process, BATCH_S, sampler)
                cpu_s += time.thread_time() - cpu
            watched_s += (found["end"] - found["start"]) / 1e9
            for name, ns in found["spent"].items():
                spent[name] += 0.0 if name in RELEASES else ns
            batches.append(reading(found, sampler.samples()))
    total = sum(spent.values())
    shares: dict[str, float] = dict.fromkeys(spent, 0.0)
    for one in holders(batches, BATCH_S) or ():
        names = [part for part in one.function.split(".") if part in shares]
        inner = {
            "loop": next((name for name in ("half", "three") if name in shares), "one"),
            "other_inside": "recursion",
        }
        last = one.function.replace(".<locals>.<listcomp>", "").rpartition(".")[2]
        name = names[-1] if names else inner.get(last, last)
        shares[name] = shares.get(name, 0.0) + one.share.value
    read = sum(at >= 0 for batch in batches if batch.gil for at in batch.gil.stack)
    torn = sum(batch.gil.torn for batch in batches if batch.gil)
    return {name: ns / total for name, ns in spent.items()}, shares, cpu_s / watched_s, read, torn


def slowdown(python: str) -> tuple[float, float, float]:
    """Return by how much sampling with stacks slows the child down: median ratio of CPU time per call, its interval.

    The order within a pair alternates. The interval is that of order statistics, at 95 %.
    """
    ratios = []
    with running(python, "two loops, 0.5 and 0.5") as (process, (address, layout)):
        for pair in range(SLOWDOWN_PAIRS):
            used: dict[bool, float] = {}
            for watched in (pair % 2 == 0, pair % 2 == 1):
                if watched:
                    with GilSampler(process.pid, address, mean_interval_s=MEAN_S, frames=layout) as sampler:
                        found = asked(process, 0.05, sampler)
                else:
                    found = asked(process, 0.05, None)
                used[watched] = found["cpu"] / found["calls"]
            ratios.append(used[True] / used[False])
    ratios.sort()
    away = round(0.98 * len(ratios) ** 0.5)
    middle = len(ratios) // 2
    return statistics.median(ratios) - 1, ratios[middle - away] - 1, ratios[middle + away] - 1


@contextlib.contextmanager
def busy(loops: int) -> Iterator[None]:
    """Run busy loops beside the measurement."""
    started = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def main() -> int:
    """Print the table; return 1 if an error, or the share of a function that lets go of the GIL, is above its bar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--busy", type=int, default=0)
    parser.add_argument("--python", default=sys.executable)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child)
        return 0
    errors: list[float] = []
    released: dict[str, float] = {}
    print(
        f"{arguments.python.rpartition('/')[2]}, watched by Python {platform.python_version()}, "
        f"{arguments.busy} busy loops\n"
    )
    print("| mixture | true shares | found | largest error | stacks | dropped | watcher |")
    print("|---|---|---|---|---|---|---|")
    with busy(arguments.busy):
        for mixture in dict.fromkeys([*build(), PACKAGES]):
            result = measured(arguments.python, mixture)
            if result is None:
                continue
            true, found, cpu, read, torn = result
            each = [abs(found.get(name, 0.0) - share) for name, share in true.items()]
            errors += each
            released |= {name: found.get(name, 0.0) for name in true if name in RELEASES}
            said = [", ".join(f"{name} {shares.get(name, 0.0):.3f}" for name in true) for shares in (true, found)]
            print(f"| {mixture} | {said[0]} | {said[1]} | {max(each):.3f} | {read} | {torn} | {cpu:.1%} |", flush=True)
    mean, most = statistics.mean(errors), max(errors)
    print(f"\nmean error {mean:.3f}, largest {most:.3f}")
    print(
        "given to functions that let go of the GIL: " + ", ".join(f"{name} {got:.3f}" for name, got in released.items())
    )
    if not arguments.busy:
        value, low, high = slowdown(arguments.python)
        print(f"slow-down {value:+.1%} [{low:+.1%}, {high:+.1%}]")
    bar = BARS[arguments.busy > 0]
    return int(mean > bar[0] or most > bar[1] or max(released.values(), default=0.0) > RELEASED_BAR)


if __name__ == "__main__":
    sys.exit(main())
