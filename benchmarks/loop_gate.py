"""How often is the gate on blocks of the event loop wrong, idle and beside busy loops, and how often are its peers?

    python benchmarks/loop_gate.py [--probes 200] [--busy 0,2,4,suite] [--tally FILE]

Two coroutines are probed, each so many times, with ``max_loop_block=0.02``: one blocks its loop for 30 ms in each call,
the other for 5 ms. The gate must fail the first and pass the second. In the same run, under the same load, the same
coroutines are run with asyncio's debug mode (``slow_callback_duration = 0.02``, any message counts as a failure), and
beside a heartbeat task that wakes up every 10 ms and fails if it was late by more than 20 ms. Exit status 1 if the gate
failed a clean coroutine, or missed more than 1 % of the other. What runs beside is a number of busy loops, or with
``suite`` a ``pytest -n 2`` of another suite. With ``--tally FILE`` the counts of each run are added to those in the
file, and the table and the exit status are of the sums, so that 200 probes can be cut into pieces; ``--probes 0``
prints the sums alone. Every process that this starts it also ends.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from verdicts import busy_loops

LIMIT_S = 0.02
CALLS = 8
"""Calls of a peer's run: as many as the gate times at least."""
BLOCKS_S = {"blocks": 0.03, "clean": 0.005}
TESTS = """
import asyncio
import time

import pytest


def spin(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def run(gilprobe, seconds):
    async def call():
        await asyncio.sleep(0.002)
        spin(seconds)

    async def main():
        await gilprobe(call)

    asyncio.run(main())


@pytest.mark.gilprobe(max_loop_block={limit}, strategies="serial", max_time=2)
@pytest.mark.parametrize("number", range({probes}))
@pytest.mark.parametrize("name", {names})
def test_it(gilprobe, name, number):
    run(gilprobe, {seconds}[name])
"""


SUITE = """
import json
import subprocess
import sys

import pytest


@pytest.mark.parametrize("number", range(5000))
def test_other(number, tmp_path):
    rows = [{"at": at, "third": at / 3} for at in range(20_000)]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    assert json.loads((tmp_path / "rows.json").read_text()) == rows
    if number % 10 == 0:
        subprocess.run([sys.executable, "-c", "import json"], check=True)
"""


@contextmanager
def suite_beside() -> Iterator[None]:
    """Run another suite with pytest-xdist's two workers for as long as this context lasts."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "test_other.py").write_text(SUITE, encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", "-p", "no:gilprobe"]
        command += ["--basetemp", f"{folder}/kept", "-o", "tmp_path_retention_policy=none", "test_other.py"]
        suite = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, start_new_session=True)
        try:
            time.sleep(3)  # its workers collect
            yield
            assert suite.poll() is None, "the suite beside ended before the probes did"
        finally:
            os.killpg(suite.pid, signal.SIGKILL)
            suite.wait()


def spin(seconds: float) -> None:
    """Compute in Python for so long, on this thread's CPU clock."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


async def calls(seconds: float) -> None:
    """Make the calls that are probed, one after the other."""
    for _ in range(CALLS):
        await asyncio.sleep(0.002)
        spin(seconds)


class Kept(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        """Start with nothing."""
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        self.records.append(record)


def debug_mode_complains(seconds: float) -> bool:
    """Run the calls in asyncio's debug mode; return whether it reports a slow callback."""
    handler = Kept()
    logger = logging.getLogger("asyncio")
    logger.addHandler(handler)
    logger.propagate = False

    async def main() -> None:
        asyncio.get_running_loop().slow_callback_duration = LIMIT_S
        await calls(seconds)

    try:
        asyncio.run(main(), debug=True)
    finally:
        logger.removeHandler(handler)
    return any("took" in record.getMessage() for record in handler.records)


def heartbeat_complains(seconds: float) -> bool:
    """Run the calls beside a task that wakes up every 10 ms; return whether it was late by more than the limit."""
    late: list[float] = []

    async def beat() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.01)
            late.append(time.perf_counter() - before - 0.01)

    async def main() -> None:
        task = asyncio.ensure_future(beat())
        await asyncio.sleep(0)
        await calls(seconds)
        await asyncio.sleep(0.001)
        task.cancel()

    asyncio.run(main())
    return max(late, default=0.0) > LIMIT_S


def gate_fails(probes: int) -> dict[str, tuple[int, int]]:
    """Probe each coroutine so many times; return how often the gate failed it, and how often it left it open."""
    with tempfile.TemporaryDirectory() as folder:
        source = TESTS.format(limit=LIMIT_S, probes=probes, names=list(BLOCKS_S), seconds=BLOCKS_S)
        Path(folder, "test_it.py").write_text(source, encoding="utf-8")
        Path(folder, "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "pytest_gilprobe.plugin"}
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-rf",
            "-p",
            "no:cacheprovider",
            "--gilprobe-report",
            "--tb=no",
        ]
        done = subprocess.run(
            [*command, "test_it.py"], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        report = Path(folder, "reports/gilprobe.json")
        if not report.exists():
            raise SystemExit(done.stdout + done.stderr)
        workloads = json.loads(report.read_text("utf-8"))["workloads"]
    found = {}
    for name in BLOCKS_S:
        mine = [one for one in workloads if f"[{name}-" in one["nodeid"]]
        assert len(mine) == probes
        failed = sum(f"FAILED {one['nodeid']} " in done.stdout for one in mine)
        cautions = [caution for one in mine for caution in one["verdict"]["cautions"]]
        left_open = [one["message"] for one in cautions if one["slug"] == "expectation-unchecked"]
        for message in left_open:
            print(f"left open: {message}", file=sys.stderr)
        found[name] = failed, len(left_open)
    return found


def counted(beside: str, probes: int) -> dict[str, list[int]]:
    """Return per coroutine: runs, how often the gate failed it and left it open, how often each peer complained."""
    found = {}
    with suite_beside() if beside == "suite" else busy_loops(int(beside)):
        gate = gate_fails(probes)
        for name, seconds in BLOCKS_S.items():
            debug = sum(debug_mode_complains(seconds) for _ in range(probes))
            beats = sum(heartbeat_complains(seconds) for _ in range(probes))
            found[name] = [probes, *gate[name], debug, beats]
    return found


def added(tally: Path | None, beside: str, found: dict[str, list[int]]) -> dict[str, list[int]]:
    """Add a run's counts to those of a file, under what ran beside; return the sums."""
    if tally is None:
        return found
    sums = json.loads(tally.read_text("utf-8")) if tally.exists() else {}
    before = sums.get(beside, {})
    sums[beside] = {
        name: [one + other for one, other in zip(counts, before.get(name, [0] * len(counts)), strict=True)]
        for name, counts in found.items()
    }
    tally.write_text(json.dumps(sums), encoding="utf-8")
    return dict(sums[beside])


def is_bad(name: str, runs: int, failed: int) -> bool:
    """Return whether the gate failed a clean coroutine, or missed more than 1 % of those that block."""
    return failed > 0 if name == "clean" else failed < runs * 0.99


def main() -> int:
    """Count, print a table, and say whether the gate is as good as it must be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--probes", type=int, default=200)
    parser.add_argument("--busy", default="0,2,4", help="numbers of busy loops beside the probes, or suite")
    parser.add_argument("--tally", type=Path, help="a file whose counts this run adds to")
    options = parser.parse_args()
    print(f"CPython {platform.python_version()}, {os.cpu_count()} CPUs, {options.probes} more probes of each\n")
    print("| beside | a block of | runs | gate fails | gate leaves open | debug mode complains | heartbeat complains |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    bad = False
    for beside in options.busy.split(","):
        said = "`pytest -n 2`" if beside == "suite" else f"{beside} busy loops" if beside != "0" else "nothing"
        new = counted(beside, options.probes) if options.probes else {name: [0] * 5 for name in BLOCKS_S}
        for name, counts in added(options.tally, beside, new).items():
            cells = [said, f"{BLOCKS_S[name] * 1000:.0f} ms", *counts]
            print(f"| {' | '.join(map(str, cells))} |", flush=True)
            bad |= is_bad(name, counts[0], counts[1])
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
