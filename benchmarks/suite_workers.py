"""Check what a scan says of ``pytest -n N`` against real runs of public suites with pytest-xdist.

Usage: ``python benchmarks/suite_workers.py FOLDER [-o docs/suite-workers.md] [--only NAME ...]``, where FOLDER holds
source distributions, as for ``benchmarks/suites.py``, which also says what the suites need::

    pip download --no-binary :all: --no-deps -d FOLDER tenacity more-itertools python-dateutil click

Each suite is scanned and run with ``-n 0``, 2, 4 and 8, all in turn, `--rounds` times on an otherwise idle machine; the
medians count. Exit status 1 if a prediction is more than `CLOSE` beside the run.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from suites import PLUGINS, SUITES, Suite, archives, environment, unpack

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROUNDS: Final = 3
COUNTS: Final = (0, 2, 4, 8)
CLOSE: Final = 0.2
"""A prediction is close if it is at most this share of the run's time beside it."""
SUITE_S: Final = 600
XDIST: Final = "pytest-xdist"


def main() -> int:
    """Run the suites that are there and print the table."""
    names = [suite.name for suite in SUITES]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--environment", type=Path, help="keep the virtual environments here, or use those here")
    asked = parser.parse_args()
    chosen = [suite for suite in SUITES if suite.name in asked.only and archives(suite, asked.folder)]
    rows: list[str] = []
    good = bool(chosen)
    with tempfile.TemporaryDirectory(prefix="suite-workers-") as name:
        for suite in chosen:
            own = (
                asked.environment or Path(name) / "venvs"
            ) / suite.name  # a plugin of one suite would slow the others
            python = environment(own, [suite, Suite(name=XDIST, needs=(XDIST,))])
            for row, fine in measured(suite, unpack(suite, asked.folder, Path(name)), python, asked.rounds):
                print(row, flush=True)
                rows.append(row)
                good = good and fine
            if asked.output is not None:
                asked.output.write_text(head(asked.rounds) + "\n".join(rows) + "\n", encoding="utf-8")
    return 0 if good else 1


def head(rounds: int) -> str:
    """Say what the table shows and how it was made."""
    python, cpus = sys.version.split()[0], os.cpu_count()
    return f"""# How many workers for a suite: predicted and run

Written by `python benchmarks/suite_workers.py FOLDER -o docs/suite-workers.md`. [A scan](scan.md) of each suite
predicts how long `pytest -n N` takes; then it is run. Medians of {rounds} runs, Python {python}, {cpus} CPUs. *Serial*
is a run without pytest-xdist, *CPU* its CPU time of its wall time; *off* is how far the prediction is from the run.

| suite | tests | serial | CPU | workers | predicted | run | off |
|---|---|---|---|---|---|---|---|
"""


def measured(suite: Suite, folder: Path, python: Path, rounds: int) -> list[tuple[str, bool]]:
    """Scan a suite and run it with each number of workers; return a row, and whether it is close, for each number."""
    run(suite, folder, python, 0)  # byte code is compiled once
    scans: list[Mapping[str, Any]] = []
    took_s: dict[int, list[float]] = {count: [] for count in COUNTS}
    for _ in range(rounds):
        scans.append(scanned(suite, folder, python))
        for count in COUNTS:
            took_s[count].append(run(suite, folder, python, count))
    serial = f"{statistics.median(took_s[0]):.1f} s"
    busy = statistics.median(scan["suite_workers"]["cpu_s"] / scan["suite_workers"]["wall_s"] for scan in scans)
    rows = []
    for count in COUNTS[1:]:
        predicted_s = statistics.median(predicted(scan, count) for scan in scans)
        real_s = statistics.median(took_s[count])
        off = predicted_s / real_s - 1
        cells = [suite.name, scans[0]["tests"], serial, f"{busy:.0%}".replace("%", " %"), count]
        cells += [f"{predicted_s:.1f} s", f"{real_s:.1f} s", f"{off:+.0%}".replace("%", " %")]
        rows.append(("| " + " | ".join(map(str, cells)) + " |", abs(off) <= CLOSE))
    return rows


def predicted(scan: Mapping[str, Any], count: int) -> float:
    """Return the predicted time of a run with a number of workers."""
    return next(float(one["wall_s"]) for one in scan["suite_workers"]["runs"] if one["workers"] == count)


def scanned(suite: Suite, folder: Path, python: Path) -> Mapping[str, Any]:
    """Scan a suite and return what its report says of the whole."""
    reports = folder / "gilprobe-reports"
    run(suite, folder, python, 0, "--gilprobe-scan", "--gilprobe-report", f"--gilprobe-report-dir={reports}")
    scan: Mapping[str, Any] = json.loads((reports / "gilprobe.json").read_text("utf-8"))["scan"]
    return scan


def run(suite: Suite, folder: Path, python: Path, count: int, *flags: str) -> float:
    """Run a suite once with ``-n COUNT`` and return how long that took, in seconds."""
    paths = os.pathsep.join([str(folder / "src"), str(folder / "lib"), str(folder), str(folder.parent)])
    absent = [f"-pno:{plugin}" for need, plugin in PLUGINS.items() if need not in suite.needs]
    command = command_of(python, (*absent, f"-n{count}", *suite.flags, *flags, *suite.tests))
    started = time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, timeout=SUITE_S, check=False
    )
    took_s = time.perf_counter() - started
    if done.returncode not in (0, 1):
        sys.exit(
            f"{suite.name} -n {count}: exit status {done.returncode}\n{done.stdout.decode()}{done.stderr.decode()}"
        )
    return took_s


def command_of(python: Path, arguments: Sequence[str]) -> list[str]:
    """Return the command of one session."""
    return [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]


if __name__ == "__main__":
    sys.exit(main())
