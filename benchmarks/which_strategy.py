"""What does each strategy give? The textbook's five scenarios, and calls that are given data, in all of them.

    python benchmarks/which_strategy.py [--max-time 5] [--only WORDS]

Every call is probed with all strategies that this Python has (threads, tasks for the same work as a coroutine,
processes, interpreters from CPython 3.14 on), and through two executors where they are installed: loky's, and Dask's
with a scheduler and workers on this machine. The figures are speed-ups with one call per task, data and dispatch
included. Prints Markdown.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import executor_calls as calls  # noqa: E402 - beside this file

from pytest_gilprobe import Prober  # noqa: E402 - the checkout beside this file is what is measured
from pytest_gilprobe.model import numbers  # noqa: E402

if TYPE_CHECKING:
    from pytest_gilprobe import StrategyResult

SERVER: Final = ROOT / "sample_workloads" / "server.py"
SETTINGS: Final = "title = Quarterly report\nformat = pdf\npages = 12\nlanguage = en\ndraft = no"
MOVED: Final = (1 << 10, 100 << 10, 1 << 20, 10 << 20)
"""Bytes that a call is given and gives back."""
EXECUTORS: Final = {
    "loky": ("loky", "executors:loky_reusable"),
    "dask": ("distributed", "pytest_gilprobe.strategies.dask:local_cluster"),
}
"""The module that an executor needs, and its factory, by its name."""
COLUMNS: Final = ("threads", "tasks", "processes", "interpreters", "executor:loky", "executor:dask")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A piece of work: as a function and as a coroutine function, with its arguments."""

    name: str
    plain: Callable[..., object]
    awaited: Callable[..., Any]
    arguments: tuple[Any, ...] = ()


def scenarios(port: int) -> Iterator[Scenario]:
    """List the textbook's five, then calls that are given data."""
    for name, path in (
        ("download 256 KiB, 30 ms away", "/file?wait_ms=30"),
        ("API call, 25 ms away", "/users/7?wait_ms=25"),
    ):
        yield Scenario(name=name, plain=calls.download, awaited=calls.download_awaited, arguments=(port, path))
    yield Scenario(name="picture, pixel by pixel", plain=calls.grey, awaited=calls.grey_awaited)
    yield Scenario(name="sum of squares", plain=calls.crunch, awaited=calls.crunch_awaited, arguments=(200_000,))
    yield Scenario(name="read a few settings", plain=calls.script, awaited=calls.script_awaited, arguments=(SETTINGS,))
    for size in MOVED:
        yield Scenario(
            name=f"compute, {numbers.size(size)} there and back",
            plain=calls.with_data,
            awaited=calls.with_data_awaited,
            arguments=(bytes(size),),
        )


@contextmanager
def late_server() -> Iterator[int]:
    """Start the server that answers late; yield its port."""
    with subprocess.Popen([sys.executable, str(SERVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        yield int(server.stdout.readline())
        server.terminate()


def row(scenario: Scenario, max_time: float) -> str:
    """Probe a scenario in all strategies; return its row."""
    named = [f"{name}={factory}" for name, (module, factory) in EXECUTORS.items() if find_spec(module) is not None]
    wanted = ["threads", "processes", *(f"executor:{text.partition('=')[0]}" for text in named)]
    if sys.version_info >= (3, 14):
        wanted.append("interpreters")
    plain = Prober(strategies=wanted, executors=named, max_time=max_time).probe(scenario.plain, *scenario.arguments)
    awaited = Prober(strategies="tasks", max_time=max_time).probe(scenario.awaited, *scenario.arguments)
    found = {**plain.result.strategies, "tasks": awaited.result.strategies["tasks"]}
    serial = found["serial"].call_s.value
    cells = [shown(found.get(name)) for name in COLUMNS]
    return f"| {scenario.name} | {numbers.seconds(serial)} | {' | '.join(cells)} | {plain.result.verdict.strategy} |"


def shown(part: StrategyResult | None) -> str:
    """Return a strategy's speed-up with one call per task."""
    if part is None or part.pool_speedup is None:
        return "-"
    return f"{part.pool_speedup.value:.2f}x"


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--max-time", type=float, default=5)
    parser.add_argument("--only", default="", help="words in the names of the scenarios that are probed")
    asked = parser.parse_args()
    load = os.getloadavg()[0]
    print(f"CPython {platform.python_version()}, {os.cpu_count()} CPUs, load {load:.1f} at the start\n")
    print(f"| one call | takes | {' | '.join(COLUMNS)} | answer |")
    print(f"|---|{'---:|' * (len(COLUMNS) + 1)}---|")
    with late_server() as port:
        for scenario in scenarios(port):
            if asked.only in scenario.name:
                print(row(scenario, asked.max_time), flush=True)
    return 0


if __name__ == "__main__":
    import which_strategy  # what is pickled must have a name that workers can import

    sys.exit(which_strategy.main())
