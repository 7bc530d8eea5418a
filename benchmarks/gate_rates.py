"""How often a gate is wrong: a workload exactly on its expectation, and workloads that break it.

    python benchmarks/gate_rates.py                     200 probes of each beside a busy loop: about 15 minutes
    python benchmarks/gate_rates.py --runs 20 --busy 0  a quick look, without it
    python benchmarks/gate_rates.py --only locked       one row: native (on its expectation), locked or python

Real pytest sessions of marked tests, as in a build: a test that the gate fails is counted. *On its expectation*:
hashing in threads with ``expect="threads"`` and, for ``min_speedup``, the median speed-up of a first session's
probes, so that half of the probes lie under it. A gate that flakes fails many; it may fail 1 %. *Broken*: the same
with a lock around the hot loop, and with the native call replaced by Python, under ``expect="threads"`` and a
``min_speedup`` of 1.5; the gate must fail 99 %. Probes that were inconclusive count as passed, as in a session, and
are counted apart. Prints Markdown; ends every process that it starts.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree as ET

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from pytest_gilprobe.model import report_json  # noqa: E402 - the checkout beside this file is what is measured
from pytest_gilprobe.model.words import INCONCLUSIVE  # noqa: E402
from pytest_gilprobe.observe import machine  # noqa: E402 - the checkout beside this file is what is measured
from pytest_gilprobe.plugin.gate_failures import FAILED_GATE  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_gilprobe.model.results import WorkloadResult

MOST_FAILING: Final = 0.01
LEAST_CAUGHT: Final = 0.99
PILOT: Final = 30
"""Probes of the session that tells what the workload's speed-up is."""
A_SESSION: Final = 20
"""Probes in one session: what is measured once a session (the machine's ceiling, the pools) is measured so often."""
TESTS: Final = """\
import hashlib
import threading

import pytest

DATA = bytes(range(256)) * 4096
LOCK = threading.Lock()


def native():
    for _ in range(4):
        hashlib.sha512(DATA).digest()


def locked():
    with LOCK:
        native()


def python():
    total = 0
    for byte in DATA[:60_000]:
        total = (total * 31 + byte) & 0xFFFFFFFF


@pytest.mark.parametrize("number", range({runs}))
@pytest.mark.gilprobe({marks})
def test_work(number):
    {work}()
"""
"""About 5 ms of work in a call: outside the GIL, the same under a lock, and with the GIL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One probe of one session, and whether the gate failed its test."""

    result: WorkloadResult
    failed: bool


@contextmanager
def busy(loops: int) -> Iterator[None]:
    """Keep so many busy loops running beside the block; they end with this process in any case, as they look for it."""
    code = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: sum(range(100_000))"
    command = [sys.executable, "-c", code]
    others = [subprocess.Popen(command) for _ in range(loops)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def session(work: str, marks: str, runs: int, max_time_s: float | None) -> list[Probe]:
    """Run one session of so many marked tests; return what was found and what pytest made of it."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "test_work.py").write_text(TESTS.format(work=work, marks=marks, runs=runs), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "pytest_gilprobe.plugin", "-p", "no:cacheprovider"]
        command += ["--gilprobe-report", "--gilprobe-workers=2"]
        command += [] if max_time_s is None else [f"--gilprobe-max-time={max_time_s:g}"]
        ended = subprocess.run(
            [*command, f"--rootdir={folder}", "--junit-xml=junit.xml", "test_work.py"],
            cwd=folder,
            env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        if not Path(folder, "reports", "gilprobe.json").exists():
            sys.exit(f"the session of {work} came to nothing:\n{ended.stdout}\n{ended.stderr}")
        cases = ET.parse(Path(folder, "junit.xml")).iter("testcase")  # noqa: S314 - pytest has just written it
        failed = {case.get("name"): _is_gate(case) for case in cases}
        found = report_json.read(Path(folder, "reports", "gilprobe.json")).workloads
    return [Probe(result=one, failed=failed[one.nodeid.rpartition("::")[2]]) for one in found]


def _is_gate(case: ET.Element) -> bool:
    """Tell whether a test failed by its gate; any other failure ends the benchmark."""
    failure = case.find("failure")
    if failure is None:
        return False
    if not (failure.get("message") or "").startswith(FAILED_GATE):
        sys.exit(f"{case.get('name')} failed, and not by its gate: {failure.get('message')}")
    return True


def probes(work: str, marks: str, runs: int, max_time_s: float | None) -> list[Probe]:
    """Probe a workload again and again, in as many sessions as that takes."""
    sizes = [min(A_SESSION, runs - begun) for begun in range(0, runs, A_SESSION)]
    return [one for size in sizes for one in session(work, marks, size, max_time_s)]


def gains(found: list[Probe]) -> list[float]:
    """List the speed-ups of pools of threads, where they were measured."""
    in_pools = [one.result.strategies["threads"].pool_speedup for one in found]
    return [speedup.value for speedup in in_pools if speedup is not None]


def row(name: str, found: list[Probe]) -> tuple[str, float]:
    """Give the table's line and the share that the gate failed."""
    failed = sum(one.failed for one in found)
    unclear = sum(one.result.verdict.strategy == INCONCLUSIVE for one in found)
    known, took = gains(found), statistics.median(one.result.probe_time_s for one in found)
    middle = f"{statistics.median(known):.2f} ({min(known):.2f} to {max(known):.2f})" if known else "none"
    share = failed / len(found)
    return f"| {name} | {len(found)} | {middle} | {took:.1f} s | {unclear} | {failed} | {share:.1%} |", share


def queued(found: list[Probe]) -> str:
    """Say how restless the machine was, by the workloads' own clocks."""
    shares = [one.result.serial.run_queue_share or 0.0 for one in found if one.result.serial is not None]
    return f"serial calls queued for {statistics.median(shares):.0%} of their time" if shares else "nothing measured"


def main() -> None:
    """Print the table, and whether both rates are kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200, metavar="N", help="probes of each workload (default: 200)")
    parser.add_argument("--busy", type=int, default=1, metavar="N", help="busy loops beside it (default: 1)")
    parser.add_argument("--max-time", type=float, metavar="S", help="budget of a probe (default: the plugin's own)")
    parser.add_argument("--only", choices=("native", "locked", "python"), help="one row of the table")
    asked = parser.parse_args()
    started = time.monotonic()
    print(
        f"{platform.python_implementation()} {platform.python_version()}, {machine.usable_cpus()} CPUs, "
        f"load {machine.load_average_1min():.1f} before, {asked.busy} busy loops beside it, "
        f"{'no max_time set' if asked.max_time is None else f'max_time={asked.max_time:g}'}\n"
    )
    print("| workload | probes | speed-up in threads: median (range) | a probe | inconclusive | gate failed | share |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    kept, seen = True, list[Probe]()
    with busy(asked.busy):
        if asked.only in {None, "native"}:
            middle = statistics.median(gains(session("native", "", min(PILOT, asked.runs), asked.max_time)))
            seen = probes("native", f"expect='threads', min_speedup={middle}", asked.runs, asked.max_time)
            line, flaking = row(f"on its expectation, min_speedup={middle:.3f}", seen)
            print(line, flush=True)
            kept = flaking <= MOST_FAILING
        for name, work in (("a lock around the hot loop", "locked"), ("native call replaced by Python", "python")):
            if asked.only in {None, work}:
                seen = probes(work, "expect='threads', min_speedup=1.5", asked.runs, asked.max_time)
                line, share = row(name, seen)
                print(line, flush=True)
                kept = kept and share >= LEAST_CAUGHT
    print(
        f"\nThe machine: {queued(seen)}. At most 1 % and at least 99 %: {'kept' if kept else 'NOT kept'}; "
        f"{math.ceil((time.monotonic() - started) / 60)} min."
    )


if __name__ == "__main__":
    main()
