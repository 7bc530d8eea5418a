"""How often a gate is wrong: workloads exactly on their expectation, and workloads that break it.

    python benchmarks/gate_rates.py                     200 probes of each, about ten minutes
    python benchmarks/gate_rates.py --runs 20 --busy 2  a quick look, with two busy loops beside it

*On its expectation*: hashing in threads, probed again and again; then ``min_speedup`` is set to the median of all
the speed-ups found, which half of the probes lie under, and each probe is held against it. A gate that flakes fails
many; it may fail 1 %. *Broken*: the same with a lock around the hot loop, and with the native call replaced by
Python, held against ``expect="threads"`` and a ``min_speedup`` of 1.5; it must fail 99 %. Probes that were
inconclusive count as passed, as in a session, and are counted apart. Prints Markdown; ends every process that it
starts.
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import statistics
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from pytest_gilprobe import gate, host, probe  # noqa: E402 - the checkout beside this file is what is measured
from pytest_gilprobe.config import Expectation  # noqa: E402
from pytest_gilprobe.model import Recommendation, Strategy  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_gilprobe.model import WorkloadResult

DATA: Final = bytes(range(256)) * 4096
LOCK: Final = threading.Lock()
WANTED: Final = Expectation(strategies=frozenset({Strategy.THREADS}), min_speedup=1.5)
MOST_FAILING: Final = 0.01
LEAST_CAUGHT: Final = 0.99
EACH: Final = 4
"""Hashes in one call: about 5 ms."""


def hashing() -> None:
    """Work outside the GIL."""
    for _ in range(EACH):
        hashlib.sha512(DATA).digest()


def hashing_under_a_lock() -> None:
    """The same with a lock around it: nothing overlaps."""
    with LOCK:
        hashing()


def hashing_in_python() -> None:
    """The native call replaced by Python: the GIL is held."""
    total = 0
    for byte in DATA[:60_000]:
        total = (total * 31 + byte) & 0xFFFFFFFF


@contextmanager
def busy(loops: int) -> Iterator[None]:
    """Keep so many busy loops running beside the block."""
    command = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(command) for _ in range(loops)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def probes(work: Callable[[], None], runs: int, max_time_s: float) -> list[WorkloadResult]:
    """Probe a function again and again."""
    return [probe(work, gilprobe_workers=2, gilprobe_max_time=max_time_s).result for _ in range(runs)]


def row(name: str, found: list[WorkloadResult], expectation: Expectation) -> tuple[str, float]:
    """Hold every probe against an expectation; give the table's line and the share that failed."""
    failed = sum(bool(gate.check(expectation, one).failures) for one in found)
    unclear = sum(one.verdict.strategy is Recommendation.INCONCLUSIVE for one in found)
    gains = [one.threads.pool_speedup.value for one in found if one.threads.pool_speedup is not None]
    middle = f"{statistics.median(gains):.2f} ({min(gains):.2f} to {max(gains):.2f})" if gains else "none"
    share = failed / len(found)
    return f"| {name} | {len(found)} | {middle} | {unclear} | {failed} | {share:.1%} |", share


def main() -> None:
    """Print the table, and whether both rates are kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200, metavar="N", help="probes of each workload (default: 200)")
    parser.add_argument("--busy", type=int, default=0, metavar="N", help="busy loops beside it (default: 0)")
    parser.add_argument("--max-time", type=float, default=1.5, metavar="S", help="budget of a probe (default: 1.5)")
    asked = parser.parse_args()
    started = time.monotonic()
    print(
        f"{platform.python_implementation()} {platform.python_version()}, {host.usable_cpus()} CPUs, "
        f"load {host.load_average_1min()}, "
        f"{asked.busy} busy loops beside it, max_time={asked.max_time:g}\n"
    )
    print("| workload | probes | speed-up in threads: median (range) | inconclusive | gate failed | share |")
    print("|---|---:|---:|---:|---:|---:|")
    with busy(asked.busy):
        right = probes(hashing, asked.runs, asked.max_time)
        gains = [one.threads.pool_speedup.value for one in right if one.threads.pool_speedup is not None]
        exactly = Expectation(strategies=frozenset({Strategy.THREADS}), min_speedup=statistics.median(gains))
        line, flaking = row(f"on its expectation, min_speedup={exactly.min_speedup:.3f}", right, exactly)
        print(line, flush=True)
        caught = []
        for name, work in (
            ("a lock around the hot loop", hashing_under_a_lock),
            ("native call replaced by Python", hashing_in_python),
        ):
            line, share = row(name, probes(work, asked.runs, asked.max_time), WANTED)
            print(line, flush=True)
            caught.append(share)
    kept = flaking <= MOST_FAILING and min(caught) >= LEAST_CAUGHT
    print(f"\nAt most 1 % and at least 99 %: {'kept' if kept else 'NOT kept'}; {time.monotonic() - started:.0f} s.")


if __name__ == "__main__":
    main()
