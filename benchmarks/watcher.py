"""How much of another CPU does the watcher of the GIL take in a probe?

    python benchmarks/watcher.py [--probes 3]

Functions are probed with ``Prober``. The CPU time of the thread that samples, from the first sample of a batch to the
last, is compared with the time of these batches, and with the time of the whole probe. Prints a row for each function:
medians of the probes. Exit status 1 if the watcher takes more than 12 % of a CPU over a whole probe. Run it on an idle
machine.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pytest_gilprobe import Prober
from pytest_gilprobe.observe.gil_sampler import GilSampler

if TYPE_CHECKING:
    from collections.abc import Iterator

BAR: Final = 0.12
DOCUMENT: Final = json.dumps([{"number": at, "text": str(at) * 3} for at in range(3000)])


def json_loads() -> object:
    """Parse a document in native code."""
    return json.loads(DOCUMENT)


def python_loop() -> int:
    """Compute in Python."""
    total = 0
    for at in range(200_000):
        total += at * at
    return total


def recursion(depth: int = 60) -> int:
    """Compute below many frames."""
    return recursion(depth - 1) if depth else python_loop()


def find_numbers() -> list[Any]:
    """Search a text in native code."""
    return re.findall(r"(\d+)[^\d]+?(\d+)", DOCUMENT)


def wait() -> None:
    """Wait."""
    time.sleep(0.01)


@dataclass
class Use:
    """What the sampling thread used: CPU seconds, the seconds for which it sampled, and the samples."""

    cpu_s: float = 0.0
    sampling_s: float = 0.0
    samples: int = 0


@contextmanager
def measured() -> Iterator[Use]:
    """Add up what samplers use meanwhile."""
    use, usual = Use(), GilSampler.sample_until

    def timed(sampler: GilSampler, fd: int, timeout_s: float) -> bool:
        cpu_s, began_s = time.thread_time(), time.perf_counter()
        try:
            return usual(sampler, fd, timeout_s)
        finally:
            use.cpu_s += time.thread_time() - cpu_s
            use.sampling_s += time.perf_counter() - began_s
            use.samples += len(sampler.samples().at_ns)

    GilSampler.sample_until = timed  # type: ignore[assignment, method-assign]
    try:
        yield use
    finally:
        GilSampler.sample_until = usual  # type: ignore[method-assign]


def shares(function: Callable[[], object]) -> tuple[float, float, float]:
    """Probe a function; return the watcher's share of a CPU over the probe, while it samples, and CPU us a sample."""
    with measured() as use:
        began_s = time.perf_counter()
        Prober(max_time=5).probe(function)
        took_s = time.perf_counter() - began_s
    return use.cpu_s / took_s, use.cpu_s / use.sampling_s, use.cpu_s * 1e6 / use.samples


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--probes", type=int, default=3)
    probes = parser.parse_args().probes
    print(f"CPython {platform.python_version()}\n")
    print("| function | of a CPU, over the probe | while it samples | CPU time of a sample |\n|---|---:|---:|---:|")
    worst = 0.0
    for function in (json_loads, python_loop, recursion, find_numbers, wait):
        found = zip(*(shares(function) for _ in range(probes)), strict=True)
        over, sampling, each = (statistics.median(values) for values in found)
        worst = max(worst, over)
        print(f"| {function.__name__} | {over:.1%} | {sampling:.1%} | {each:.0f} µs |", flush=True)
    return int(worst > BAR)


if __name__ == "__main__":
    sys.exit(main())
