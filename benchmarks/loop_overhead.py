"""What the timed loop adds to each call of an empty function, beside `timeit` and pytest-benchmark.

    python benchmarks/loop_overhead.py

"The call itself" is measured without any loop around it: 1,000 calls written out one after the other. Every method
times the same empty function in turn, 20 times over; of each the fastest is kept, since everything else on the machine
only adds. A loop's overhead is its time per call less that of the written-out calls. pytest-benchmark, where it is
installed, runs in a pytest of its own; its figure is the least time per call that it reports.

Bar: the plugin's loop adds at most 100 ns a call. The exit status is 1 if it is missed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import timeit
from pathlib import Path
from typing import TYPE_CHECKING, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from pytest_gilprobe.workers.child.batch import timed  # noqa: E402 - the checkout beside this file
from pytest_gilprobe.workers.child.calls import in_advance  # noqa: E402 - the same

if TYPE_CHECKING:
    from collections.abc import Callable

BAR_NS: Final = 100.0
CALLS: Final = 200_000
WRITTEN_OUT: Final = 1_000
TURNS: Final = 20
PEER_TEST: Final = """
def nothing():
    pass

def test_nothing(benchmark):
    benchmark(nothing)
"""


def nothing() -> None:
    """Do nothing: the function whose call is timed."""


def main() -> int:
    """Time the empty function by every method in turn and print what each adds to a call."""
    written_out = _written_out()
    methods: dict[str, Callable[[], float]] = {
        "the call itself": lambda: _clocked(written_out, CALLS // WRITTEN_OUT),
        "gilprobe's loop": _by_gilprobe,
        "timeit": lambda: timeit.timeit(nothing, number=CALLS) / CALLS * 1e9,
    }
    found = {name: float("inf") for name in methods}
    for _ in range(TURNS):
        for name, method in methods.items():
            found[name] = min(found[name], method())
    if importlib.util.find_spec("pytest_benchmark") is not None:
        found["pytest-benchmark"] = _by_pytest_benchmark()
    print(f"{platform.python_implementation()} {platform.python_version()}, load {os.getloadavg()[0]:.2f}")
    itself = found["the call itself"]
    for name, per_call_ns in found.items():
        print(f"{name:<20}{per_call_ns:>8.1f} ns a call{per_call_ns - itself:>+9.1f} ns")
    added = found["gilprobe's loop"] - itself
    print(f"bar {BAR_NS:.0f} ns: {'met' if added <= BAR_NS else 'MISSED'}")
    return 0 if added <= BAR_NS else 1


def _written_out() -> Callable[[Callable[[], None]], None]:
    """Make a function that calls its argument many times without a loop."""
    namespace: dict[str, Callable[[Callable[[], None]], None]] = {}
    exec("def calls(call):\n" + "    call()\n" * WRITTEN_OUT, namespace)  # noqa: S102 - own text
    return namespace["calls"]


def _clocked(calls: Callable[[Callable[[], None]], None], times: int) -> float:
    start_ns = time.perf_counter_ns()
    for _ in range(times):
        calls(nothing)
    return (time.perf_counter_ns() - start_ns) / (times * WRITTEN_OUT)


def _by_gilprobe() -> float:
    reading = timed(in_advance(nothing, CALLS), CALLS)
    return (reading.end_ns - reading.start_ns) / CALLS


def _by_pytest_benchmark() -> float:
    with tempfile.TemporaryDirectory() as folder:
        test = Path(folder) / "test_nothing.py"
        test.write_text(PEER_TEST, "utf-8")
        figures = Path(folder) / "figures.json"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:gilprobe", f"--benchmark-json={figures}", str(test)]
        subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        best_s: float = json.loads(figures.read_text("utf-8"))["benchmarks"][0]["stats"]["min"]
    return best_s * 1e9


if __name__ == "__main__":
    sys.exit(main())
