"""Probe every test of well-known projects' suites and compare each outcome with a run without the plugin.

Usage: ``python benchmarks/suites.py FOLDER [-o docs/suites.md] [--only NAME]``, where FOLDER holds the projects'
source distributions::

    pip download --no-binary :all: --no-deps -d FOLDER pluggy attrs more-itertools click jinja2 h11 python-dateutil
    packaging

It makes a virtual environment with this checkout in it, runs each suite twice, and counts the outcomes that differ,
the statuses of the probes and the processes that are left. Of long suites it takes some files. Exit status 1 if
anything differs, fails inside or is left.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
import uuid
import venv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import psutil

ROOT = Path(__file__).resolve().parents[1]
NEEDS = ("hypothesis", "trio", "anyio", "freezegun", "pretend")
MARK = "GILPROBE_SUITES"
SUITE_S = 900
BUDGET_S = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A project's tests: the name its distribution starts with, and the files to run."""

    name: str
    tests: tuple[str, ...]


SUITES = (
    Suite(name="pluggy", tests=("testing",)),
    Suite(
        name="attrs",
        tests=("tests/test_slots.py", "tests/test_funcs.py", "tests/test_converters.py", "tests/test_hooks.py"),
    ),
    Suite(name="more_itertools", tests=("tests/test_recipes.py",)),
    Suite(name="click", tests=("tests/test_context.py", "tests/test_formatting.py", "tests/test_testing.py")),
    Suite(name="jinja2", tests=("tests/test_async.py", "tests/test_loader.py")),
    Suite(name="h11", tests=("h11/tests",)),
    Suite(name="python_dateutil", tests=("tests/test_easter.py", "tests/test_utils.py", "tests/test_import_star.py")),
    Suite(name="packaging", tests=("tests/test_utils.py", "tests/test_elffile.py", "tests/test_musllinux.py")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of a suite: each test's outcome, and what was left behind."""

    outcomes: dict[str, str]
    took_s: float
    left: int
    output: str


def main() -> int:
    """Run the suites that are there and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--only")
    asked = parser.parse_args()
    rows, good = [], True
    with tempfile.TemporaryDirectory(prefix="suites-") as folder:
        python = environment(Path(folder))
        for suite in SUITES:
            if asked.only in {None, suite.name}:
                row, fine = compared(suite, unpack(suite, asked.folder, Path(folder)), python)
                rows.append(row)
                good = good and fine
                print(row, flush=True)
    if asked.output is not None:
        asked.output.write_text(HEAD + "\n".join(rows) + "\n", encoding="utf-8")
    return 0 if good else 1


HEAD = f"""# Other projects' suites

Written by `python benchmarks/suites.py FOLDER -o docs/suites.md`, which tells how to fill FOLDER. Every test of the
files is probed (`--gilprobe-all --gilprobe-max-time={BUDGET_S}`). *Differ* counts tests whose outcome is not that of
the run without the plugin; *errors* counts failures inside the plugin; *left* counts processes that outlived the
session. Python {sys.version.split()[0]}, {os.cpu_count()} CPUs.

| project | tests | passed | failed | skipped | differ | probed | not probed | errors | left | without | with |
|---|---|---|---|---|---|---|---|---|---|---|---|
"""


def environment(folder: Path) -> Path:
    """Make a virtual environment with this checkout in it; return its Python."""
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "-e", str(ROOT), *NEEDS], check=True)
    return python


def unpack(suite: Suite, sources: Path, folder: Path) -> Path:
    """Unpack a suite's source distribution; return its folder."""
    (archive,) = sources.glob(f"{suite.name}-[0-9]*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


def compared(suite: Suite, folder: Path, python: Path) -> tuple[str, bool]:
    """Run a suite without and with the plugin; return a line of the table, and whether all is well."""
    plain = run(suite, folder, python, "-p", "no:gilprobe")
    reports = folder / "gilprobe-reports"
    flags = [
        "--gilprobe-all",
        f"--gilprobe-max-time={BUDGET_S}",
        "--gilprobe-report",
        f"--gilprobe-report-dir={reports}",
    ]
    probed = run(suite, folder, python, *flags)
    differ = sorted(
        name for name in plain.outcomes | probed.outcomes if plain.outcomes.get(name) != probed.outcomes.get(name)
    )
    path = reports / "gilprobe.json"
    workloads = json.loads(path.read_text("utf-8"))["workloads"] if path.exists() else []
    statuses = Counter(workload["status"] for workload in workloads)
    unexplained = [
        workload["nodeid"] for workload in workloads if workload["status"] != "probed" and not workload["reason"]
    ]
    for name in [*differ, *unexplained]:
        print(f"{suite.name}: {name}: {plain.outcomes.get(name)} without, {probed.outcomes.get(name)} with")
    for workload in workloads:
        if workload["status"] == "error":
            print(f"{suite.name}: {workload['nodeid']}: {workload['reason']}")
    if "INTERNALERROR" in probed.output or not workloads:
        print(probed.output)
    counts = Counter(plain.outcomes.values())
    cells = [suite.name, len(plain.outcomes), counts["passed"], counts["failed"], counts["skipped"], len(differ)]
    cells += [statuses["probed"], statuses["not_probed"], statuses["error"], probed.left]
    cells += [f"{plain.took_s:.1f} s", f"{probed.took_s:.0f} s"]
    good = bool(workloads) and not (differ or unexplained or statuses["error"] or probed.left)
    return "| " + " | ".join(map(str, cells)) + " |", good


def run(suite: Suite, folder: Path, python: Path, *flags: str) -> Run:
    """Run a suite once, with its own settings."""
    mark, result = uuid.uuid4().hex, folder / "gilprobe-junit.xml"
    result.unlink(missing_ok=True)
    paths = os.pathsep.join([str(folder / "src"), str(folder)])
    known = os.environ | {MARK: mark, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [
        str(python),
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        f"--junitxml={result}",
        *flags,
        *suite.tests,
    ]
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=known, capture_output=True, text=True, timeout=SUITE_S, check=False)
    took = time.perf_counter() - started
    outcomes = outcomes_in(result) if result.exists() else {}
    return Run(outcomes=outcomes, took_s=took, left=left_of(mark), output=done.stdout + done.stderr)


def outcomes_in(result: Path) -> dict[str, str]:
    """Read each test's outcome from JUnit XML."""
    found = {}
    for case in ET.parse(result).iter("testcase"):  # noqa: S314 - written by the run before
        kinds = {child.tag for child in case} & {"failure", "error", "skipped"}
        outcome = "failed" if kinds & {"failure", "error"} else "skipped" if kinds else "passed"
        found[f"{case.get('classname')}::{case.get('name')}"] = outcome
    return found


def left_of(mark: str) -> int:
    """Count, and end, the processes of a run that are still there."""
    time.sleep(0.2)
    left = 0
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                left += 1
                process.kill()
        except psutil.Error:
            continue
    return left


if __name__ == "__main__":
    sys.exit(main())
