"""How often a gate is wrong: workloads exactly on their expectation, and workloads that break it.

    python benchmarks/gate_rates.py                     200 probes of each beside a busy loop: about 50 minutes
    python benchmarks/gate_rates.py --runs 20 --busy 0  a quick look, without it
    python benchmarks/gate_rates.py --only locked       one row; ``--only`` may be given several times
    python benchmarks/gate_rates.py --only held-limit --only released --only held --only kept-hold --only long-hold
                                                        the gates on the GIL

Real pytest sessions of marked tests, as in a build: a test that the gate fails is counted. *On its expectation*:
the limit is the median of what a first session's probes found, so that half of the probes lie on its wrong side. A
gate that flakes fails many of these; it may fail 1 %. So it may where a limit is kept. *Broken*: the gate must fail
99 %. Probes that were inconclusive count as passed, as in a session, and are counted apart. Prints Markdown; ends
every process that it starts.

- *native* (``expect="threads"``, ``min_speedup`` on its expectation), *locked* (a lock around the hot loop), *python*
  (the native call replaced by Python), both under a ``min_speedup`` of 1.5.
- *held-limit*: about half of each call holds the GIL (``max_gil_held`` on its expectation); *held*: the same under
  ``max_gil_held=0.2``; *released*: calls that let go of it, under that limit, too.
- *kept-hold*: threads of Python code, which let go of the GIL every 5 ms (``max_gil_hold=0.015``); *long-hold*: native
  code that holds it for 30 ms in each call (the same).
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
    from collections.abc import Callable, Iterator

    from pytest_gilprobe.model.results import WorkloadResult

MOST_FAILING: Final = 0.01
LEAST_CAUGHT: Final = 0.99
PILOT: Final = 30
"""Probes of the session that tells what the workload's speed-up is."""
A_SESSION: Final = 20
"""Probes in one session: what is measured once a session (the machine's ceiling, the pools) is measured so often."""
TESTS: Final = """\
import ctypes
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


def half():
    native()
    python()


def holds():
    ctypes.PyDLL(None).usleep(30_000)
    native()


@pytest.mark.parametrize("number", range({runs}))
@pytest.mark.gilprobe({marks})
def test_work(number):
    {work}()
"""
"""About 5 ms of work in a call: outside the GIL, the same under a lock, with the GIL, half with it; and a long hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One row: a function of `TESTS`, the marker's arguments, and whether the gate must fail.

    Attributes:
        name: what ``--only`` calls it.
        told: the row's words; may have ``{limit}``.
        work: the function that is probed.
        marks: the marker's arguments; may have ``{limit}``.
        broken: whether the gate must fail; otherwise it must not.
        figure: what the row shows of each probe, in the unit of its limit; ``None`` where a probe does not know it.
        set_by: whether ``{limit}`` is the median of that figure in a session without a gate.
    """

    name: str
    told: str
    work: str
    marks: str
    broken: bool
    figure: Callable[[WorkloadResult], float | None]
    set_by: bool = False


def speedup(result: WorkloadResult) -> float | None:
    """Return the speed-up of a pool of threads."""
    found = result.strategies["threads"].pool_speedup
    return None if found is None else found.value


def held(result: WorkloadResult) -> float | None:
    """Return the share of serial calls' time for which the GIL was held."""
    found = result.gil.held_fraction
    return None if found is None else found.value


def hold_s(result: WorkloadResult) -> float | None:
    """Return the longest hold in threads, in seconds."""
    return result.gil.longest_hold_s


_THREADS: Final = "expect='threads', min_speedup="
_HELD: Final = "strategies='threads', max_gil_held="
_HOLD: Final = "strategies='threads', max_gil_hold=0.015"
KINDS: Final = (
    Kind(
        name="native",
        told="hashing, `min_speedup={limit:.3f}`: on its expectation",
        work="native",
        marks=_THREADS + "{limit}",
        broken=False,
        figure=speedup,
        set_by=True,
    ),
    Kind(
        name="locked",
        told="a lock around the hot loop, `min_speedup=1.5`",
        work="locked",
        marks=_THREADS + "1.5",
        broken=True,
        figure=speedup,
    ),
    Kind(
        name="python",
        told="native call replaced by Python, `min_speedup=1.5`",
        work="python",
        marks=_THREADS + "1.5",
        broken=True,
        figure=speedup,
    ),
    Kind(
        name="held-limit",
        told="holds the GIL for about half of its time, `max_gil_held={limit:.3f}`: on its expectation",
        work="half",
        marks=_HELD + "{limit}",
        broken=False,
        figure=held,
        set_by=True,
    ),
    Kind(
        name="released",
        told="lets go of the GIL, `max_gil_held=0.2`",
        work="native",
        marks=_HELD + "0.2",
        broken=False,
        figure=held,
    ),
    Kind(
        name="held",
        told="holds the GIL for about half of its time, `max_gil_held=0.2`",
        work="half",
        marks=_HELD + "0.2",
        broken=True,
        figure=held,
    ),
    Kind(
        name="kept-hold",
        told="Python code, `max_gil_hold=0.015`",
        work="python",
        marks=_HOLD,
        broken=False,
        figure=hold_s,
    ),
    Kind(
        name="long-hold",
        told="native code that holds the GIL for 30 ms, `max_gil_hold=0.015`",
        work="holds",
        marks=_HOLD,
        broken=True,
        figure=hold_s,
    ),
)


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


def figures(kind: Kind, found: list[Probe]) -> list[float]:
    """List the row's figure of all probes that know it."""
    known = [kind.figure(one.result) for one in found]
    return [one for one in known if one is not None]


def count(kind: Kind, runs: int, max_time_s: float | None) -> tuple[list[Probe], bool]:
    """Probe one kind of workload, print its row, and tell whether its gate kept its rate."""
    limit = None
    if kind.set_by:
        limit = statistics.median(figures(kind, session(kind.work, "", min(PILOT, runs), max_time_s)))
    found = probes(kind.work, kind.marks.format(limit=limit), runs, max_time_s)
    failed = sum(one.failed for one in found)
    unclear = sum(one.result.verdict.strategy == INCONCLUSIVE for one in found)
    known, took = figures(kind, found), statistics.median(one.result.probe_time_s for one in found)
    middle = f"{statistics.median(known):.3g} ({min(known):.3g} to {max(known):.3g})" if known else "none"
    share = failed / len(found)
    told = kind.told.format(limit=limit) if limit is not None else kind.told
    may = "must fail" if kind.broken else "must pass"
    print(
        f"| {told} | {len(found)} | {middle} | {took:.1f} s | {unclear} | {may} | {failed} | {share:.1%} |", flush=True
    )
    return found, share >= LEAST_CAUGHT if kind.broken else share <= MOST_FAILING


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
    names = [kind.name for kind in KINDS]
    parser.add_argument("--only", choices=names, action="append", help="a row of the table (may be given again)")
    asked = parser.parse_args()
    started = time.monotonic()
    print(
        f"{platform.python_implementation()} {platform.python_version()}, {machine.usable_cpus()} CPUs, "
        f"load {machine.load_average_1min():.1f} before, {asked.busy} busy loops beside it, "
        f"{'no max_time set' if asked.max_time is None else f'max_time={asked.max_time:g}'}\n"
    )
    print("| workload, gate | probes | figure: median (range) | a probe | inconclusive | gate | failed | share |")
    print("|---|---:|---:|---:|---:|---|---:|---:|")
    kept, seen = True, list[Probe]()
    with busy(asked.busy):
        for kind in KINDS:
            if asked.only is None or kind.name in asked.only:
                seen, well = count(kind, asked.runs, asked.max_time)
                kept = kept and well
    print(
        f"\nThe machine: {queued(seen)}. At most 1 % and at least 99 %: {'kept' if kept else 'NOT kept'}; "
        f"{math.ceil((time.monotonic() - started) / 60)} min."
    )


if __name__ == "__main__":
    main()
